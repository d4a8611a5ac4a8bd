"""psycopg's server-side cursors over rows of several shards: a few at a time, to and fro, and after the transaction."""
import os
import psycopg

url = os.environ["DATABASE_URL"]
expected = list(range(1, 25))

with psycopg.connect(url) as connection:
    with connection.cursor(name="rows") as cursor:
        cursor.itersize = 5
        cursor.execute("SELECT event_id, price, day FROM events WHERE event_id > %s ORDER BY event_id", (0,))
        assert [column.name for column in cursor.description] == ["event_id", "price", "day"]
        assert [row[0] for row in cursor] == expected
    with connection.cursor(name="to and fro", scrollable=True, binary=True) as cursor:
        cursor.execute("SELECT event_id, rank() OVER (ORDER BY event_id DESC) FROM events ORDER BY event_id")
        assert cursor.fetchone() == (1, 24)
        cursor.scroll(-1)
        assert cursor.fetchmany(2) == [(1, 24), (2, 23)]
        cursor.scroll(20, mode="absolute")
        assert [row[0] for row in cursor.fetchall()] == [21, 22, 23, 24]
    # What is left of it is closed with the transaction.
    abandoned = connection.cursor(name="abandoned")
    abandoned.execute("SELECT event_id FROM events")
    abandoned.fetchone()

with psycopg.connect(url, autocommit=True) as connection:
    with connection.cursor(name="held", withhold=True) as cursor:
        cursor.execute("SELECT event_id FROM events ORDER BY event_id")
        with connection.transaction():
            connection.execute("DELETE FROM seats WHERE event_id = 3")
        assert [row[0] for row in cursor.fetchall()] == expected

print("flow complete")
