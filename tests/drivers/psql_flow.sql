-- The ticket flow with psql: one statement after another, as an operator types them.
\set ON_ERROR_STOP on
\pset format unaligned
\pset tuples_only on
INSERT INTO venues VALUES (1, 'Hall', 'Köln', '{"seats": 10}');
INSERT INTO events (event_id, venue_id, title, starts_at, price, popularity)
  SELECT 1, 1, 'Jazz Night', '2026-03-01 20:00+00', 19.90, 0.1;
INSERT INTO events (event_id, venue_id, title, starts_at, price) VALUES (2, 1, 'Opera', '2026-03-02 20:00+00', 50);
INSERT INTO events (event_id, venue_id, title, starts_at, price) VALUES (3, 1, 'Rock', '2026-03-03 20:00+00', 45.5);
INSERT INTO events (event_id, venue_id, title, starts_at, price) VALUES (4, 1, 'Folk', '2026-03-04 20:00+00', 12);
INSERT INTO seats (event_id, seat_id, price) SELECT 3, n, 10.50 FROM generate_series(1, 10) n;
BEGIN;
UPDATE seats SET status = 'held', hold_id = 'a1b2c3d4-e5f6-4711-8899-aabbccddeeff', hold_expires_at = now() + interval '5 minutes'
  WHERE event_id = 3 AND seat_id = ANY('{1,2,3}') AND status = 'free' RETURNING seat_id;
INSERT INTO holds VALUES (3, 'a1b2c3d4-e5f6-4711-8899-aabbccddeeff', 'Ann', 3, now() + interval '5 minutes');
COMMIT;
BEGIN;
SAVEPOINT before;
UPDATE seats SET status = 'sold' WHERE event_id = 3;
ROLLBACK TO SAVEPOINT before;
UPDATE seats SET status = 'sold' WHERE event_id = 3 AND hold_id = 'a1b2c3d4-e5f6-4711-8899-aabbccddeeff';
INSERT INTO orders (event_id, customer, idempotency_key, total) VALUES (3, 'Ann', 'key-1', 31.50)
  ON CONFLICT (event_id, idempotency_key) DO NOTHING RETURNING customer, total;
COMMIT;
INSERT INTO orders (event_id, customer, idempotency_key, total) VALUES (3, 'Ann', 'key-1', 31.50)
  ON CONFLICT (event_id, idempotency_key) DO NOTHING RETURNING customer, total;
SELECT seat_id FROM seats WHERE event_id = 3 AND status = 'free' ORDER BY price, seat_id LIMIT 2 FOR UPDATE SKIP LOCKED;
SELECT status, count(*), sum(price) FROM seats GROUP BY status ORDER BY status;
SELECT e.event_id, e.title, v.name FROM events e JOIN venues v USING (venue_id) ORDER BY e.event_id DESC LIMIT 3;
PREPARE one (bigint) AS SELECT title FROM events WHERE event_id = $1;
EXECUTE one (2);
EXECUTE one (4);
DEALLOCATE one;
\set ON_ERROR_STOP off
\set VERBOSITY sqlstate
INSERT INTO seats (event_id, seat_id) VALUES (3, 1);
SELECT 1 / 0;
SELEC;
\gset
SELECT title FROM events WHERE event_id = 3 \gx
SELECT event_id, title FROM events ORDER BY event_id \g (format=csv)
\echo flow complete
