"""asyncpg over TLS, asked for and begun directly, with and without a client certificate."""

import asyncio
import os
import ssl

import asyncpg


def context(certificate=False):
    made = ssl.create_default_context(cafile=os.environ["TLS_ROOT"])
    if certificate:
        made.load_cert_chain(os.environ["TLS_CERTIFICATE"], os.environ["TLS_KEY"])
    return made


async def answers(**changes):
    # Loopback's other address may be asked first; the door listens on one.
    base = dict(host="localhost", port=int(os.environ["PGPORT"]), user="app", password="secret", ssl=context(), timeout=30)
    connection = await asyncpg.connect(database=os.environ["PGDATABASE"], **{**base, **changes})
    try:
        rows = await connection.fetch("SELECT n, repeat('x', 300) AS text FROM generate_series(1, 5000) AS t (n)")
        assert len(rows) == 5000 and rows[4999]["text"] == "x" * 300
        assert await connection.fetchval("SELECT length($1::text)", "y" * 3_000_000) == 3_000_000
    finally:
        await connection.close()


async def main():
    await answers()
    # asyncpg names no protocol by itself when it begins directly; Postgres 17 asks for that, too.
    direct = context()
    direct.set_alpn_protocols(["postgresql"])
    if "TLS_DIRECTLY" in os.environ:
        await answers(ssl=direct, direct_tls=True)
    await answers(user="robot", password=None, ssl=context(certificate=True))
    for changes in (dict(password="wrong"), dict(user="robot", password=None), dict(ssl=False)):
        try:
            await answers(**changes)
        except asyncpg.InvalidAuthorizationSpecificationError:
            continue
        raise AssertionError(f"{changes} got in")


asyncio.run(main())
print("flow complete")
