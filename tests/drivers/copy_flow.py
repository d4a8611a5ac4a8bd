"""Rows in and out by COPY, as psycopg and asyncpg send it: text, CSV and binary, by rows and by blocks."""

import asyncio
import io
import os

import asyncpg
import psycopg

URL = os.environ["DATABASE_URL"]
ROWS = [(event, seat, f"row {event}\t{seat}\nünï \\ \"quoted\", here", None if seat % 3 else "x") for event in range(1, 41) for seat in range(1, 6)]
COLUMNS = ["event_id", "seat_id", "title", "note"]
READ = "SELECT event_id, seat_id, title, note FROM copied ORDER BY event_id, seat_id"


def with_psycopg():
    with psycopg.connect(URL, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS copied")
        connection.execute(
            "CREATE TABLE copied (event_id bigint, seat_id int, title text, note text, PRIMARY KEY (event_id, seat_id))"
        )
        cursor = connection.cursor()
        for binary in (False, True):
            form = " (FORMAT binary)" if binary else ""
            with cursor.copy(f"COPY copied ({', '.join(COLUMNS)}) FROM STDIN{form}") as copy:
                if binary:
                    copy.set_types(["int8", "int4", "text", "text"])
                for row in ROWS:
                    copy.write_row(row)
            assert cursor.rowcount == len(ROWS), cursor.rowcount
            assert connection.execute(READ).fetchall() == ROWS
            with cursor.copy(f"COPY ({READ}) TO STDOUT{form}") as copy:
                copy.set_types(["int8", "int4", "text", "text"])
                assert list(copy.rows()) == ROWS
            connection.execute("DELETE FROM copied")
        try:
            with cursor.copy("COPY copied FROM STDIN") as copy:
                copy.write_row(ROWS[0])
                raise KeyError("given up")
        except KeyError:
            pass
        try:
            with cursor.copy("COPY copied FROM STDIN") as copy:
                for row in ROWS + ROWS:
                    copy.write_row(row)
            raise AssertionError("a duplicate was taken")
        except psycopg.errors.UniqueViolation:
            pass
        assert connection.execute("SELECT count(*) FROM copied").fetchone() == (0,)
    with psycopg.connect(URL) as connection:
        with connection.cursor().copy("COPY copied FROM STDIN") as copy:
            for row in ROWS:
                copy.write_row(row)
        assert connection.execute("SELECT count(*) FROM copied").fetchone() == (len(ROWS),)
        connection.rollback()
        assert connection.execute("SELECT count(*) FROM copied").fetchone() == (0,)


async def with_asyncpg():
    connection = await asyncpg.connect(URL)
    tag = await connection.copy_records_to_table("copied", records=ROWS, columns=COLUMNS)
    assert tag == f"COPY {len(ROWS)}", tag
    assert [tuple(row) for row in await connection.fetch(READ)] == ROWS
    out = io.BytesIO()
    tag = await connection.copy_from_query(READ, output=out, format="csv", header=True)
    assert tag == f"COPY {len(ROWS)}", tag
    await connection.execute("DELETE FROM copied")
    out.seek(0)
    await connection.copy_to_table("copied", source=out, columns=COLUMNS, format="csv", header=True)
    assert [tuple(row) for row in await connection.fetch(READ)] == ROWS
    out = io.BytesIO()
    await connection.copy_from_table("copied", output=out, columns=COLUMNS, format="binary")
    try:
        async with connection.transaction():
            await connection.execute("DELETE FROM copied")
            out.seek(0)
            await connection.copy_to_table("copied", source=out, columns=COLUMNS, format="binary")
            assert [tuple(row) for row in await connection.fetch(READ)] == ROWS
            raise KeyError("take it back")
    except KeyError:
        pass
    assert [tuple(row) for row in await connection.fetch(READ)] == ROWS
    await connection.close()


with_psycopg()
asyncio.run(with_asyncpg())
print("flow complete")
