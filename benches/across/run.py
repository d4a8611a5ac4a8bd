#!/usr/bin/env python3
"""What statements over several shards cost beside one Postgres that holds all rows, on loopback, in one run.

Starts five throw-away Postgres servers, four of them behind shardd, fills both sides with the same rows by COPY, and runs the same
statements on both in turn. Prints the medians of each and their ratio. fsync is off on all servers: the disk is not what is measured.

    cargo build --release && benches/across/run.py [--rows 2000000] [--rounds 5]

Needs the Postgres binaries, as benches/proxy does.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "proxy"))
from servers import HOST, Servers, run  # noqa: E402

SHARDS = 4
GATHERED = 100_000
TABLES = [
    "CREATE TABLE orders (id bigint PRIMARY KEY, customer int NOT NULL, amount numeric(10,2) NOT NULL, note text NOT NULL)",
    "CREATE TABLE visits (id bigint PRIMARY KEY, customer int NOT NULL)",
]
READS = {
    "top ten by an expression": "SELECT id, amount FROM orders ORDER BY amount DESC, id LIMIT 10",
    "count": "SELECT count(*) FROM orders",
    "group by": "SELECT customer % 100, count(*), sum(amount), avg(amount) FROM orders GROUP BY 1 ORDER BY 1",
    f"gather of a join, {GATHERED} rows and {GATHERED}": (
        "SELECT count(*), sum(o.amount) FROM visits v JOIN orders o ON o.customer = v.customer "
        f"WHERE o.id <= {GATHERED} AND o.id <> v.id"
    ),
    "window over rows of many keys": (
        f"SELECT max(r) FROM (SELECT rank() OVER (ORDER BY amount DESC, id) AS r FROM orders WHERE id <= {GATHERED}) x"
    ),
}


def psql(port, *arguments, stdin=None):
    command = ["psql", "-qXAt", "-v", "ON_ERROR_STOP=1", "-h", HOST, "-p", str(port), "-U", "app", "-d", "tickets", *arguments]
    done = subprocess.run(command, stdin=stdin, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stderr}")
    return done.stdout


def timed(what):
    begun = time.perf_counter()
    what()
    return time.perf_counter() - begun


def write_rows(path, rows):
    with open(path, "w") as file:
        for number in range(1, rows + 1):
            file.write(f"{number}\t{number * 7919 % 50_000}\t{number * 31 % 100_000 / 100}\tnote of order {number}\n")


def latency(port, directory, script):
    path = f"{directory}/script.sql"
    with open(path, "w") as file:
        file.write(script)
    output = run(
        ["pgbench", "-n", "-h", HOST, "-p", str(port), "-U", "app", "-M", "prepared", "-c", "1", "-T", "3", "-f", path, "tickets"]
    )
    return float(re.search(r"latency average = ([\d.]+) ms", output).group(1)) / 1000


def row(what, single, shardd):
    print(f"| {what} | {single * 1000:.2f} | {shardd * 1000:.2f} | {shardd / single:.2f} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--shardd", default="target/release/shardd")
    arguments = parser.parse_args()
    arguments.shardd, arguments.clients, arguments.pgbouncer = os.path.abspath(arguments.shardd), 16, ""
    servers = Servers(arguments)
    try:
        measure(servers, arguments)
    finally:
        servers.end()


def measure(servers, arguments):
    single = servers.postgres(SHARDS, fill=False)
    shards = [servers.postgres(number, fill=False) for number in range(SHARDS)]
    port, _ = servers.shardd("four", shards)
    data = f"{servers.directory}/rows"
    write_rows(data, arguments.rows)
    print(f"| {arguments.rows} rows over {SHARDS} shards | one Postgres, ms | shardd, ms | ratio |\n|---|---|---|---|")
    for table in TABLES:
        psql(single, "-c", table)
        psql(port, "-c", table)

    def copy_in(to):
        with open(data) as rows:
            psql(to, "-c", "COPY orders FROM STDIN", stdin=rows)

    into = {to: [] for to in (single, port)}
    for _ in range(3):
        for to in into:
            psql(to, "-c", "TRUNCATE orders")
            into[to].append(timed(lambda to=to: copy_in(to)))
    row("COPY in", *(statistics.median(times) for times in into.values()))
    for to in (single, port):
        copied = f"COPY visits FROM PROGRAM 'head -{GATHERED} {data} | cut -f1,2'"
        if to == single:
            psql(to, "-c", copied)
        else:
            cut = subprocess.run(f"head -{GATHERED} {data} | cut -f1,2", shell=True, capture_output=True).stdout
            part = f"{servers.directory}/visits"
            with open(part, "wb") as file:
                file.write(cut)
            with open(part) as rows:
                psql(port, "-c", "COPY visits FROM STDIN", stdin=rows)
    for server in [single, *shards]:
        psql(server, "-c", "VACUUM ANALYZE")

    def compared(what, statement):
        times = {to: [] for to in (single, port)}
        answers = set()
        for _ in range(arguments.rounds):
            for to in times:
                begun = time.perf_counter()
                answers.add(psql(to, "-c", statement))
                times[to].append(time.perf_counter() - begun)
        assert len(answers) == 1, f"{what}: {answers}"
        row(what, *(statistics.median(all) for all in times.values()))

    out = {to: [] for to in (single, port)}
    for _ in range(3):
        for to in out:
            out[to].append(timed(lambda to=to: psql(to, "-o", "/dev/null", "-c", "COPY orders TO STDOUT")))
    row("COPY out", *(statistics.median(times) for times in out.values()))
    for what, statement in READS.items():
        compared(what, statement)

    one = f"\\set id random(1, {arguments.rows})\nUPDATE orders SET amount = amount + 1 WHERE id = :id;\n"
    two = (
        f"\\set a random(1, {arguments.rows})\n\\set b random(1, {arguments.rows})\nBEGIN;\n"
        "UPDATE orders SET amount = amount + 1 WHERE id = :a;\nUPDATE orders SET amount = amount - 1 WHERE id = :b;\nCOMMIT;\n"
    )
    row("an update of one key", latency(single, servers.directory, one), latency(port, servers.directory, one))
    row(
        "a transaction of two keys, three quarters of them on two shards",
        latency(single, servers.directory, two),
        latency(port, servers.directory, two),
    )


if __name__ == "__main__":
    main()
