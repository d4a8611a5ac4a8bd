"""The ticket flow with psycopg 3: parameters bound by the server, text and binary, transactions, a pipeline."""

import datetime as dt
import os
import uuid
from decimal import Decimal

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

URL = os.environ["DATABASE_URL"]
STARTS = dt.datetime(2026, 3, 1, 20, 0, 0, 250000, tzinfo=dt.timezone.utc)
PUBLIC = uuid.UUID("a1b2c3d4-e5f6-4711-8899-aabbccddeeff")
EVENT = (3, 1, "Jazz Night", STARTS, Decimal("19.90"), b"\x00\xff", PUBLIC, True, 0.1, 7, Jsonb({"vip": [1, 2]}),
         dt.date(2026, 3, 1), dt.datetime(2026, 3, 1, 19, 30))
HOLD = """UPDATE seats SET status = 'held', hold_id = %s, hold_expires_at = now() + interval '5 minutes', version = version + 1
          WHERE event_id = %s AND seat_id = ANY(%s) AND (status = 'free' OR (status = 'held' AND hold_expires_at < now()))
          RETURNING seat_id, version"""


def fill(connection):
    with connection.transaction():
        connection.execute("INSERT INTO venues VALUES (%s, %s, %s, %s)", (1, "Hall", "Köln", Jsonb({"seats": 10})))
    for event_id in range(1, 9):
        connection.execute(
            "INSERT INTO events VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)", (event_id, *EVENT[1:])
        )
        with connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO seats (event_id, seat_id, price) VALUES (%s, %s, %s)",
                [(event_id, seat, Decimal("10.50")) for seat in range(1, 11)],
            )
            assert cursor.rowcount == 10, cursor.rowcount


def read_back(connection):
    for binary in (False, True):
        with connection.cursor(binary=binary) as cursor:
            row = cursor.execute("SELECT * FROM events WHERE event_id = %s", (3,)).fetchone()
            assert row == (*EVENT[:10], {"vip": [1, 2]}, *EVENT[11:]), (binary, row)
            row = cursor.execute("SELECT poster, title FROM events WHERE public_id = %b AND event_id = %s", (PUBLIC, 3)).fetchone()
            assert row == (b"\x00\xff", "Jazz Night"), row
            rows = cursor.execute("SELECT event_id FROM events ORDER BY event_id DESC LIMIT %s", (3,)).fetchall()
            assert rows == [(8,), (7,), (6,)], rows


def hold_and_confirm(connection):
    hold_id = uuid.uuid4()
    with connection.transaction():
        held = connection.execute(HOLD, (hold_id, 3, [1, 2, 3])).fetchall()
        assert sorted(held) == [(1, 1), (2, 1), (3, 1)], held
        connection.execute(
            "INSERT INTO holds VALUES (%s, %s, %s, %s, now() + interval '5 minutes')", (3, hold_id, "Ann", 3)
        )
    # The same seats again: fewer rows than asked for, so the whole hold is given up.
    try:
        with connection.transaction():
            again = connection.execute(HOLD, (uuid.uuid4(), 3, [3, 4])).fetchall()
            assert [row[0] for row in again] == [4], again
            raise psycopg.Rollback()
    except psycopg.Rollback:
        pass
    order = """INSERT INTO orders (event_id, customer, idempotency_key, total) VALUES (%s, %s, %s, %s)
               ON CONFLICT (event_id, idempotency_key) DO NOTHING RETURNING order_id"""
    with connection.transaction():
        order_id = connection.execute(order, (3, "Ann", "key-1", Decimal("31.50"))).fetchone()[0]
        sold = connection.execute(
            "UPDATE seats SET status = 'sold', order_id = %s WHERE event_id = %s AND hold_id = %s AND status = 'held'",
            (order_id, 3, hold_id),
        )
        assert sold.rowcount == 3, sold.rowcount
    assert connection.execute(order, (3, "Ann", "key-1", Decimal("31.50"))).fetchone() is None
    row = connection.execute("SELECT order_id, total FROM orders WHERE event_id = %s AND idempotency_key = %s", (3, "key-1")).fetchone()
    assert row == (order_id, Decimal("31.50")), row


def best_available(connection):
    with connection.transaction():
        seats = connection.execute(
            "SELECT seat_id FROM seats WHERE event_id = %s AND status = 'free' ORDER BY price, seat_id LIMIT %s FOR UPDATE SKIP LOCKED",
            (3, 2),
        ).fetchall()
        assert seats == [(4,), (5,)], seats
        connection.execute("UPDATE seats SET status = 'held' WHERE event_id = %s AND seat_id = ANY(%s)", (3, [4, 5]))


def errors(connection):
    for statement, parameters, error in [
        ("INSERT INTO seats (event_id, seat_id) VALUES (%s, %s)", (3, 1), psycopg.errors.UniqueViolation),
        ("UPDATE seats SET status = %s WHERE event_id = 3 AND seat_id = 1", ("lost",), psycopg.errors.CheckViolation),
        ("INSERT INTO holds VALUES (4711, %s, 'x', 1, now())", (uuid.uuid4(),), psycopg.errors.ForeignKeyViolation),
        ("SELECT nope FROM seats", (), psycopg.errors.UndefinedColumn),
        ("SELECT 1 / %s::int", (0,), psycopg.errors.DivisionByZero),
        ("SELEC", (), psycopg.errors.SyntaxError),
    ]:
        try:
            connection.execute(statement, parameters)
        except error:
            continue
        raise AssertionError(f"{statement} should fail with {error}")
    with connection.transaction():
        connection.execute("UPDATE seats SET version = 100 WHERE event_id = 3 AND seat_id = 9")
        try:
            with connection.transaction():  # a savepoint
                connection.execute("UPDATE seats SET version = 200 WHERE event_id = 3 AND seat_id = 9")
                connection.execute("SELECT 1 / 0")
        except psycopg.errors.DivisionByZero:
            pass
    assert connection.execute("SELECT version FROM seats WHERE event_id = 3 AND seat_id = 9").fetchone() == (100,)


def pipeline(connection):
    with connection.pipeline():
        cursors = [connection.execute("SELECT seat_id, event_id FROM seats WHERE event_id = %s AND seat_id = %s", (event, event))
                   for event in range(1, 9)]
        rows = [cursor.fetchone() for cursor in cursors]
    assert rows == [(event, event) for event in range(1, 9)], rows
    # An error ends its pipeline up to the next synchronisation, and nothing after it.
    try:
        with connection.pipeline():
            connection.execute("SELECT 1 / 0")
            connection.execute("UPDATE seats SET version = 300 WHERE event_id = 3 AND seat_id = 9")
    except psycopg.Error:
        pass
    assert connection.execute("SELECT version FROM seats WHERE event_id = 3 AND seat_id = 9").fetchone() == (100,)


def reports(connection):
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(
            "SELECT status, count(*) AS seats, sum(price) AS value FROM seats GROUP BY status ORDER BY status"
        ).fetchall()
    assert rows == [
        {"status": "free", "seats": 75, "value": Decimal("787.50")},
        {"status": "held", "seats": 2, "value": Decimal("21.00")},
        {"status": "sold", "seats": 3, "value": Decimal("31.50")},
    ], rows
    # The same statement often enough that psycopg prepares it.
    for event_id in list(range(1, 9)) * 3:
        row = connection.execute("SELECT count(*) FROM seats WHERE event_id = %s", (event_id,)).fetchone()
        assert row == (10,), row
    row = connection.execute("SELECT v.name, e.title FROM events e JOIN venues v USING (venue_id) WHERE e.event_id = %s", (8,)).fetchone()
    assert row == ("Hall", "Jazz Night"), row
    with connection.cursor() as cursor:
        rows = list(cursor.stream("SELECT event_id, seat_id FROM seats ORDER BY event_id, seat_id"))
    assert len(rows) == 80 and rows == sorted(rows), rows


with psycopg.connect(URL, autocommit=True) as connection:
    connection.prepare_threshold = 3
    fill(connection)
    read_back(connection)
    hold_and_confirm(connection)
    best_available(connection)
    errors(connection)
    pipeline(connection)
    reports(connection)

# psycopg's own default: a transaction begins with the first statement.
with psycopg.connect(URL) as connection:
    assert connection.execute("SELECT count(*) FROM orders").fetchone() == (1,)
    connection.rollback()
    connection.execute("UPDATE events SET on_sale = false WHERE event_id = 1")
with psycopg.connect(URL, cursor_factory=psycopg.ClientCursor) as connection:
    row = connection.execute("SELECT on_sale FROM events WHERE event_id = %s AND title = %s", (1, "Jazz Night")).fetchone()
    assert row == (False,), row
print("flow complete")
