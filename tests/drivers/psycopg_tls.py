"""psycopg over TLS: every way to begin, the channel bound and not, and a client certificate."""

import os

import psycopg

base = dict(
    host="localhost",
    hostaddr="127.0.0.1",
    port=os.environ["PGPORT"],
    user="app",
    password="secret",
    dbname=os.environ["PGDATABASE"],
    sslmode="verify-full",
    sslrootcert=os.environ["TLS_ROOT"],
    connect_timeout=30,
)


def answers(**changes):
    with psycopg.connect(**{**base, **changes}) as connection:
        assert connection.pgconn.ssl_in_use
        rows = connection.execute("SELECT n, repeat('x', 300) FROM generate_series(1, 5000) AS t (n)").fetchall()
        assert len(rows) == 5000 and rows[4999] == (5000, "x" * 300), rows[-1]
        assert connection.execute("SELECT length(%s)", ("y" * 3_000_000,)).fetchone() == (3_000_000,)


for negotiation in ("postgres", "direct") if "TLS_DIRECTLY" in os.environ else ("postgres",):
    for binding in ("require", "prefer", "disable"):
        answers(sslnegotiation=negotiation, channel_binding=binding)
answers(user="robot", password=None, sslcert=os.environ["TLS_CERTIFICATE"], sslkey=os.environ["TLS_KEY"])

for changes in (dict(password="wrong"), dict(user="robot"), dict(sslmode="disable")):
    try:
        answers(**changes)
    except psycopg.OperationalError:
        continue
    raise AssertionError(f"{changes} got in")

# libpq 17 cancels through a connection that is encrypted, too.
with psycopg.connect(**base) as connection:
    connection.cancel_safe(timeout=30)
    assert connection.execute("SELECT 1").fetchone() == (1,)

print("flow complete")
