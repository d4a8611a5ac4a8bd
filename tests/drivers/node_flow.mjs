// The ticket flow with node-postgres: unnamed and named statements, a pool, transactions, errors.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';

const require = createRequire(process.env.SHARDD_NODE_MODULES + '/');
const pg = require('pg');
const url = process.env.DATABASE_URL;
const publicId = 'a1b2c3d4-e5f6-4711-8899-aabbccddeeff';
const starts = new Date('2026-03-01T20:00:00.250Z');

async function fill(client) {
  await client.query('INSERT INTO venues VALUES ($1, $2, $3, $4)', [1, 'Hall', 'Köln', { seats: 10 }]);
  for (let event = 1; event <= 8; event += 1) {
    await client.query('INSERT INTO events VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)', [
      event, 1, 'Jazz Night', starts, '19.90', Buffer.from([0, 255]), publicId, true, 0.1, 7, { vip: [1, 2] }, '2026-03-01', '2026-03-01 19:30:00',
    ]);
    const rows = Array.from({ length: 10 }, (_, seat) => `(${event}, ${seat + 1}, 10.50)`).join(', ');
    const result = await client.query(`INSERT INTO seats (event_id, seat_id, price) VALUES ${rows}`);
    assert.equal(result.rowCount, 10);
  }
  const { rows: [row], fields } = await client.query('SELECT * FROM events WHERE event_id = $1', [3]);
  assert.deepEqual(fields.map((field) => field.dataTypeID), [20, 23, 25, 1184, 1700, 17, 2950, 16, 701, 21, 3802, 1082, 1114]);
  assert.equal(row.event_id, '3');
  assert.deepEqual([row.title, row.price, row.public_id, row.on_sale, row.popularity, row.grade], ['Jazz Night', '19.90', publicId, true, 0.1, 7]);
  assert.deepEqual([row.tags, row.poster, row.starts_at], [{ vip: [1, 2] }, Buffer.from([0, 255]), starts]);
  const binary = await client.query({ text: 'SELECT event_id, grade, on_sale FROM events WHERE event_id = $1', values: [3], binary: true });
  assert.deepEqual([binary.rows[0].grade, binary.rows[0].on_sale], [7, true]);
}

const HOLD = `UPDATE seats SET status = 'held', hold_id = $1, hold_expires_at = now() + interval '5 minutes', version = version + 1
  WHERE event_id = $2 AND seat_id = ANY($3) AND (status = 'free' OR (status = 'held' AND hold_expires_at < now()))
  RETURNING seat_id, version`;

async function flow(client) {
  const holdId = '11111111-2222-4333-8444-555555555555';
  await client.query('BEGIN');
  const held = await client.query(HOLD, [holdId, 3, [1, 2, 3]]);
  assert.deepEqual(held.rows.map((row) => row.seat_id).sort(), [1, 2, 3]);
  await client.query("INSERT INTO holds VALUES ($1, $2, $3, $4, now() + interval '5 minutes')", [3, holdId, 'Ann', 3]);
  await client.query('COMMIT');
  await client.query('BEGIN');
  assert.equal((await client.query(HOLD, [publicId, 3, [3, 4]])).rowCount, 1);
  await client.query('ROLLBACK');

  const order = {
    name: 'order',
    text: `INSERT INTO orders (event_id, customer, idempotency_key, total) VALUES ($1, $2, $3, $4)
           ON CONFLICT (event_id, idempotency_key) DO NOTHING RETURNING order_id`,
    values: [3, 'Ann', 'key-1', '31.50'],
  };
  await client.query('BEGIN');
  const { rows: [{ order_id: orderId }] } = await client.query(order);
  assert.ok(Number.isSafeInteger(Number(orderId)), orderId);
  const sold = await client.query("UPDATE seats SET status = 'sold', order_id = $1 WHERE event_id = $2 AND hold_id = $3 AND status = 'held'", [orderId, 3, holdId]);
  assert.equal(sold.rowCount, 3);
  await client.query('COMMIT');
  assert.equal((await client.query(order)).rowCount, 0);

  await client.query('BEGIN');
  const free = await client.query(
    "SELECT seat_id FROM seats WHERE event_id = $1 AND status = 'free' ORDER BY price, seat_id LIMIT $2 FOR UPDATE SKIP LOCKED", [3, 2]);
  assert.deepEqual(free.rows, [{ seat_id: 4 }, { seat_id: 5 }]);
  await client.query("UPDATE seats SET status = 'held' WHERE event_id = $1 AND seat_id = ANY($2)", [3, [4, 5]]);
  await client.query('COMMIT');
}

async function errors(client) {
  for (const [code, text, values] of [
    ['23505', 'INSERT INTO seats (event_id, seat_id) VALUES ($1, $2)', [3, 1]],
    ['23514', 'UPDATE seats SET status = $1 WHERE event_id = 3 AND seat_id = 1', ['lost']],
    ['42703', 'SELECT nope FROM seats', []],
    ['22012', 'SELECT 1 / $1::int', [0]],
    ['22P02', 'SELECT $1::int', ['x']],
    ['42601', 'SELEC', []],
  ]) {
    await assert.rejects(client.query(text, values), { code });
  }
  await client.query('BEGIN');
  await assert.rejects(client.query('SELECT 1 / 0'), { code: '22012' });
  await assert.rejects(client.query('SELECT 1'), { code: '25P02' });
  await client.query('ROLLBACK');
  const answers = await client.query("SELECT 1 AS one; SELECT 'b' AS two; UPDATE seats SET version = 5 WHERE event_id = 3 AND seat_id = 9");
  assert.deepEqual(answers.map((answer) => answer.command), ['SELECT', 'SELECT', 'UPDATE']);
}

async function reports(pool) {
  const { rows } = await pool.query('SELECT status, count(*) AS seats, sum(price) AS value FROM seats GROUP BY status ORDER BY status');
  assert.deepEqual(rows, [
    { status: 'free', seats: '75', value: '787.50' },
    { status: 'held', seats: '2', value: '21.00' },
    { status: 'sold', seats: '3', value: '31.50' },
  ]);
  const events = Array.from({ length: 64 }, (_, query) => 1 + (query % 8));
  const answers = await Promise.all(events.map((event) =>
    pool.query({ name: 'one-seat', text: 'SELECT event_id, seat_id FROM seats WHERE event_id = $1 AND seat_id = $2', values: [event, event] })));
  answers.forEach((answer, query) => assert.deepEqual(answer.rows, [{ event_id: String(events[query]), seat_id: events[query] }]));
}

const client = new pg.Client({ connectionString: url, application_name: 'ticket flow', statement_timeout: 30000 });
await client.connect();
await fill(client);
await flow(client);
await errors(client);
await client.end();
const pool = new pg.Pool({ connectionString: url, max: 6 });
await reports(pool);
await pool.end();
console.log('flow complete');
