"""The ticket flow with asyncpg: prepared statements, binary values, a pool that resets its connections, cursors."""

import asyncio
import datetime as dt
import os
import uuid
from decimal import Decimal

import asyncpg

URL = os.environ["DATABASE_URL"]
STARTS = dt.datetime(2026, 3, 1, 20, 0, 0, 250000, tzinfo=dt.timezone.utc)
PUBLIC = uuid.UUID("a1b2c3d4-e5f6-4711-8899-aabbccddeeff")
EVENT = (3, 1, "Jazz Night", STARTS, Decimal("19.90"), b"\x00\xff", PUBLIC, True, 0.1, 7, '{"vip": [1, 2]}',
         dt.date(2026, 3, 1), dt.datetime(2026, 3, 1, 19, 30))
HOLD = """UPDATE seats SET status = 'held', hold_id = $1, hold_expires_at = now() + interval '5 minutes', version = version + 1
          WHERE event_id = $2 AND seat_id = ANY($3) AND (status = 'free' OR (status = 'held' AND hold_expires_at < now()))
          RETURNING seat_id, version"""


async def fill(connection):
    await connection.execute("INSERT INTO venues VALUES ($1, $2, $3, $4)", 1, "Hall", "Köln", '{"seats": 10}')
    for event_id in range(1, 9):
        tag = await connection.execute(
            "INSERT INTO events VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)", event_id, *EVENT[1:]
        )
        assert tag == "INSERT 0 1", tag
        await connection.executemany(
            "INSERT INTO seats (event_id, seat_id, price) VALUES ($1, $2, $3)",
            [(event_id, seat, Decimal("10.50")) for seat in range(1, 11)],
        )
    row = await connection.fetchrow("SELECT * FROM events WHERE event_id = $1", 3)
    assert tuple(row) == EVENT, tuple(row)
    rows = await connection.fetch("SELECT event_id FROM events ORDER BY event_id DESC LIMIT $1", 3)
    assert [row["event_id"] for row in rows] == [8, 7, 6], rows


async def hold(connection, hold_id, seats):
    rows = await connection.fetch(HOLD, hold_id, 3, seats)
    return sorted(row["seat_id"] for row in rows)


async def flow(connection):
    hold_id = uuid.uuid4()
    async with connection.transaction():
        assert await hold(connection, hold_id, [1, 2, 3]) == [1, 2, 3]
        await connection.execute("INSERT INTO holds VALUES ($1, $2, $3, $4, now() + $5)", 3, hold_id, "Ann", 3, dt.timedelta(minutes=5))
    transaction = connection.transaction()
    await transaction.start()
    assert await hold(connection, uuid.uuid4(), [3, 4]) == [4]
    await transaction.rollback()
    order = """INSERT INTO orders (event_id, customer, idempotency_key, total) VALUES ($1, $2, $3, $4)
               ON CONFLICT (event_id, idempotency_key) DO NOTHING RETURNING order_id"""
    async with connection.transaction():
        order_id = await connection.fetchval(order, 3, "Ann", "key-1", Decimal("31.50"))
        tag = await connection.execute(
            "UPDATE seats SET status = 'sold', order_id = $1 WHERE event_id = $2 AND hold_id = $3 AND status = 'held'",
            order_id, 3, hold_id,
        )
        assert tag == "UPDATE 3", tag
    assert await connection.fetchval(order, 3, "Ann", "key-1", Decimal("31.50")) is None
    async with connection.transaction():
        rows = await connection.fetch(
            "SELECT seat_id FROM seats WHERE event_id = $1 AND status = 'free' ORDER BY price, seat_id LIMIT $2 FOR UPDATE SKIP LOCKED", 3, 2
        )
        assert [row["seat_id"] for row in rows] == [4, 5], rows
        await connection.execute("UPDATE seats SET status = 'held' WHERE event_id = $1 AND seat_id = ANY($2::int[])", 3, [4, 5])


async def errors(connection):
    for error, statement, *parameters in [
        (asyncpg.UniqueViolationError, "INSERT INTO seats (event_id, seat_id) VALUES ($1, $2)", 3, 1),
        (asyncpg.CheckViolationError, "UPDATE seats SET status = $1 WHERE event_id = 3 AND seat_id = 1", "lost"),
        (asyncpg.UndefinedColumnError, "SELECT nope FROM seats"),
        (asyncpg.DivisionByZeroError, "SELECT 1 / $1::int", 0),
        (asyncpg.PostgresSyntaxError, "SELEC"),
    ]:
        try:
            await connection.fetch(statement, *parameters)
        except error:
            continue
        raise AssertionError(f"{statement} should fail with {error}")
    async with connection.transaction():
        await connection.execute("UPDATE seats SET version = 100 WHERE event_id = 3 AND seat_id = 9")
        try:
            async with connection.transaction():
                await connection.execute("UPDATE seats SET version = 200 WHERE event_id = 3 AND seat_id = 9")
                await connection.execute("SELECT 1 / 0")
        except asyncpg.DivisionByZeroError:
            pass
    assert await connection.fetchval("SELECT version FROM seats WHERE event_id = 3 AND seat_id = 9") == 100


async def reports(connection):
    rows = await connection.fetch("SELECT status, count(*) AS seats, sum(price) AS value FROM seats GROUP BY status ORDER BY status")
    assert [tuple(row) for row in rows] == [
        ("free", 75, Decimal("787.50")), ("held", 2, Decimal("21.00")), ("sold", 3, Decimal("31.50"))
    ], rows
    statement = await connection.prepare("SELECT seat_id, price FROM seats WHERE event_id = $1 ORDER BY seat_id")
    assert [parameter.name for parameter in statement.get_parameters()] == ["int8"]
    assert [attribute.name for attribute in statement.get_attributes()] == ["seat_id", "price"]
    async with connection.transaction():
        # A portal that is suspended after each batch.
        seats = [row["seat_id"] async for row in statement.cursor(5, prefetch=3)]
    assert seats == list(range(1, 11)), seats


async def main():
    connection = await asyncpg.connect(URL)
    await fill(connection)
    await flow(connection)
    await errors(connection)
    await reports(connection)
    await connection.close()

    async with asyncpg.create_pool(URL, min_size=2, max_size=4) as pool:
        async def count(event_id):
            async with pool.acquire() as connection:
                return event_id, await connection.fetchval("SELECT count(*) FROM seats WHERE event_id = $1", event_id)
        counts = await asyncio.gather(*(count(event_id) for event_id in list(range(1, 9)) * 4))
        assert all(seats == 10 for _, seats in counts), counts
        try:
            async with pool.acquire() as connection:
                await connection.execute("SELECT seat_id FROM seats WHERE event_id = 1", timeout=30)
        except asyncio.TimeoutError:
            raise AssertionError("a point read took 30 s") from None
    print("flow complete")


asyncio.run(main())
