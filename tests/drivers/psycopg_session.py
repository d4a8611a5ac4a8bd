"""psycopg on the port that pools by session: a temporary table, a lock, and notifications while nothing is asked."""
import os
import psycopg

key = os.environ["KEY"]
session = psycopg.connect(os.environ["SESSION_URL"], autocommit=True)
other = psycopg.connect(os.environ["DATABASE_URL"], autocommit=True)

with session.cursor() as cursor:
    cursor.execute("SELECT set_config('shardd.key', %s, false)", (key,))
    cursor.execute("CREATE TEMP TABLE wanted (event_id bigint, seat int)")
    cursor.executemany("INSERT INTO wanted VALUES (%s, %s)", [(int(key), seat) for seat in range(1, 21)])
    with session.transaction():
        cursor.execute("DELETE FROM wanted WHERE seat > %s", (10,))
    cursor.execute("SELECT count(*), max(seat) FROM wanted")
    assert cursor.fetchone() == (10, 10)
    cursor.execute("SELECT status FROM seats JOIN wanted USING (event_id, seat) WHERE seats.event_id = %s", (int(key),))
    assert cursor.fetchall() == [("free",)]
    cursor.execute("RESET shardd.key")
    cursor.execute("SELECT pg_try_advisory_lock(%s)", (4099502219157459105,))
    assert cursor.fetchone() == (True,)

assert other.execute("SELECT pg_try_advisory_lock(4099502219157459105)").fetchone() == (False,)
session.execute("LISTEN news")
for number in range(5):
    other.execute("SELECT pg_notify('news', %s)", (str(number),))
heard = [notification.payload for notification in session.notifies(timeout=20, stop_after=5)]
assert heard == ["0", "1", "2", "3", "4"], heard

# Held by a server-side cursor of the driver's own.
with psycopg.connect(os.environ["SESSION_URL"], autocommit=True) as holding:
    with holding.cursor(name="held", withhold=True) as cursor:
        cursor.execute("SELECT seat FROM seats WHERE event_id = %s", (int(key),))
        assert cursor.fetchall() == [(1,)]

session.close()
for _ in range(100):
    if other.execute("SELECT pg_try_advisory_lock(4099502219157459105)").fetchone() == (True,):
        break
else:
    raise AssertionError("the lock outlived its session")
print("flow complete")
