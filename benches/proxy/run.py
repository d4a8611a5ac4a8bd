#!/usr/bin/env python3
"""What shardd costs beside PgBouncer and a bare forwarder, on loopback, in one run.

Starts two throw-away Postgres servers, a forwarder of bytes (floor.c), PgBouncer and two shardd (one with one shard, one
with two), runs the same pgbench workloads through all of them in turn, and prints medians: transactions per second,
processor microseconds per transaction of the proxy's process alone, latency at the middle and at 99 %, system calls per
transaction. Then what one client waits longer than without a proxy, and what an idle client takes. shardd routes by key
where two shards are meant; PgBouncer and the forwarder lead everything to one server, which holds all rows.

    cargo build --release && benches/proxy/run.py [--seconds 4] [--rounds 5] [--clients 16] [--only read]

Needs the Postgres binaries, gcc and, to be compared, pgbouncer; system calls are counted where perf may. As root it runs
the servers as user `postgres`. Nothing listens beyond 127.0.0.1; everything is ended by its process id.
"""

import argparse
import glob
import os
import re
import socket
import statistics
import struct
import subprocess
import time

from servers import HOST, ROWS, Servers, run

READ = f"\\set id random(1, {ROWS})\nSELECT v, pad FROM kv WHERE id = :id;\n"
UPDATE = f"\\set id random(1, {ROWS})\nUPDATE kv SET v = v + 1 WHERE id = :id;\n"
TRANSACTION = (
    f"\\set id random(1, {ROWS})\nBEGIN;\nSELECT v FROM kv WHERE id = :id;\n"
    "UPDATE kv SET v = v + 1 WHERE id = :id;\nCOMMIT;\n"
)

# name: protocol, script or built-in, shards, arguments of pgbench
WORKLOADS = {
    "select-only, simple": ("simple", "select-only", 1, []),
    "select-only, extended": ("extended", "select-only", 1, []),
    "select-only, prepared": ("prepared", "select-only", 1, []),
    "point read over two shards, simple": ("simple", READ, 2, []),
    "point read over two shards, extended": ("extended", READ, 2, []),
    "point read over two shards, prepared": ("prepared", READ, 2, []),
    "point update over two shards, simple": ("simple", UPDATE, 2, []),
    "point update over two shards, prepared": ("prepared", UPDATE, 2, []),
    "read and update in a transaction, prepared": ("prepared", TRANSACTION, 2, []),
    "TPC-B, simple": ("simple", "tpcb-like", 1, []),
    "TPC-B, prepared": ("prepared", "tpcb-like", 1, []),
    "connection per transaction": ("simple", "select-only", 1, ["-C"]),
}
IDLE_CLIENTS = 1000


class Measured:
    """One run of one workload through one target."""

    def __init__(self, output, latencies, spent):
        self.transactions = int(re.search(r"transactions actually processed: (\d+)", output).group(1))
        self.rate = float(re.search(r"tps = ([\d.]+)", output).group(1))
        self.processor = spent / self.transactions * 1e6
        latencies.sort()
        self.middle = latencies[len(latencies) // 2]
        self.late = latencies[len(latencies) * 99 // 100]


class Bench:
    def __init__(self, arguments):
        self.arguments = arguments
        self.servers = Servers(arguments)

    def pgbench(self, target, workload, clients, seconds):
        """The arguments of pgbench for one run."""
        protocol, script, shards, more = WORKLOADS[workload]
        if script in ("select-only", "tpcb-like"):
            what = ["-b", script]
        else:
            path = f"{self.servers.directory}/script.sql"
            with open(path, "w") as file:
                file.write(script)
            what = ["-f", path]
        # PgBouncer before 1.21 knows no prepared statements in transaction mode.
        database = "session" if target.name == "PgBouncer" and protocol == "prepared" else "tickets"
        return (
            ["pgbench", "-n", "-h", HOST, "-p", str(target.ports[shards - 1]), "-U", "app", "-M", protocol]
            + ["-c", str(clients), "-j", str(min(clients, 2)), "-T", str(seconds), *what, *more, database]
        )

    def measure(self, target, workload, clients):
        process = target.processes[WORKLOADS[workload][2] - 1]
        log = f"{self.servers.directory}/latency"
        before = processor_seconds(process)
        argv = self.pgbench(target, workload, clients, self.arguments.seconds)
        output = run([*argv[:-1], "-l", f"--log-prefix={log}", argv[-1]], whom=f"{target.name}, {workload}")
        spent = processor_seconds(process) - before
        assert re.search(r"failed transactions: 0 ", output), f"{target.name}: {output}"
        latencies = []
        for path in glob.glob(f"{log}.*"):
            with open(path) as file:
                latencies += [int(line.split(" ", 3)[2]) for line in file]
            os.remove(path)
        return Measured(output, latencies, spent)

    def system_calls(self, target, workload):
        """Per transaction, counted by the kernel during a second of the load; None where it may not be asked."""
        process = target.processes[WORKLOADS[workload][2] - 1]
        if process is None:
            return None
        # The transactions of that second are those that pgbench says it had, by its own progress, a second at a time.
        load = subprocess.Popen(
            [*self.pgbench(target, workload, self.arguments.clients, 3), "-P", "1"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        time.sleep(1)
        try:
            counted = subprocess.run(
                ["perf", "stat", "-x", ";", "-e", "raw_syscalls:sys_enter", "-p", str(process.pid), "--", "sleep", "1"],
                capture_output=True,
                text=True,
            ).stderr
        except FileNotFoundError:
            counted = ""
        progress = load.communicate()[1]
        count = re.search(r"^(\d+);", counted, re.MULTILINE)
        rates = re.findall(r"progress: [\d.]+ s, ([\d.]+) tps", progress)
        return int(count.group(1)) / float(rates[1]) if count and len(rates) > 1 else None

    def workloads(self, targets):
        print("| workload | through | tps | processor us | to PgBouncer | to the floor | p50 us | p99 us | system calls |")
        print("|---" * 9 + "|")
        for workload in WORKLOADS:
            if self.arguments.only not in workload:
                continue
            results = {target.name: [] for target in targets}
            for _ in range(self.arguments.rounds):
                for target in targets:
                    results[target.name].append(self.measure(target, workload, self.arguments.clients))
            for target in targets:
                self.row(workload, target, results)

    def row(self, workload, target, results):
        own = results[target.name]

        def median(field):
            return statistics.median(getattr(one, field) for one in own)

        def ratio(other):
            """The median over rounds of the ratio within a round."""
            if other not in results or target.name in ("direct", other):
                return ""
            pairs = zip(own, results[other])
            return f"{statistics.median(one.processor / its.processor for one, its in pairs):.2f}"

        calls = self.system_calls(target, workload)
        cells = [workload, target.name, f"{median('rate'):.0f}"]
        cells += ["", "", ""] if target.name == "direct" else [f"{median('processor'):.1f}", ratio("PgBouncer"), ratio("floor")]
        cells += [f"{median('middle'):.0f}", f"{median('late'):.0f}", "" if calls is None else f"{calls:.1f}"]
        print("| " + " | ".join(cells) + " |", flush=True)

    def one_client(self, targets):
        print("\n| one client, select-only | p50 us | added us |\n|---|---|---|")
        for protocol in ("simple", "prepared"):
            results = {target.name: [] for target in targets}
            for _ in range(self.arguments.rounds):
                for target in targets:
                    results[target.name].append(self.measure(target, f"select-only, {protocol}", 1).middle)
            base = statistics.median(results["direct"])
            for target in targets:
                middle = statistics.median(results[target.name])
                print(f"| {protocol}, {target.name} | {middle:.0f} | {middle - base:.0f} |", flush=True)

    def idle(self, targets):
        print(f"\n| memory of the process, MiB | idle | {IDLE_CLIENTS} clients that asked once | KiB for each |\n|---|---|---|---|")
        for target in targets:
            if target.processes[0] is None or target.name == "floor":
                continue
            # The buffers and threads that any load needs are there before the idle ones are counted.
            self.measure(target, "select-only, simple", self.arguments.clients)
            before = resident(target.processes[0])
            clients = [client(target.ports[0]) for _ in range(IDLE_CLIENTS)]
            time.sleep(2)
            after = resident(target.processes[0])
            for connection in clients:
                connection.close()
            print(f"| {target.name} | {before / 1024:.1f} | {after / 1024:.1f} | {(after - before) / IDLE_CLIENTS:.1f} |", flush=True)

    def run(self):
        targets = self.servers.targets()
        self.workloads(targets)
        if not self.arguments.only:
            self.one_client(targets)
            self.idle(targets)


def client(port):
    """A client that logged in, asked one question and says no more."""
    connection = socket.create_connection((HOST, port), 10)
    settings = b"user\0app\0database\0tickets\0\0"
    connection.sendall(struct.pack("!II", len(settings) + 8, 196608) + settings)
    until_ready(connection)
    question = b"SELECT abalance FROM pgbench_accounts WHERE aid = 1\0"
    connection.sendall(b"Q" + struct.pack("!I", len(question) + 4) + question)
    until_ready(connection)
    return connection


def until_ready(connection):
    with connection.makefile("rb") as answer:
        while True:
            kind, length = struct.unpack("!cI", answer.read(5))
            body = answer.read(length - 4)
            assert kind != b"E", body
            if kind == b"Z":
                return


def processor_seconds(process):
    """Of all threads, user and system, by the kernel's clock for the process."""
    if process is None:
        return 0.0
    return time.clock_gettime_ns(((~process.pid) << 3) | 2) / 1e9


def resident(process):
    """KiB."""
    with open(f"/proc/{process.pid}/status") as file:
        return int(re.search(r"VmRSS:\s+(\d+)", file.read()).group(1))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=4, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--only", default="", help="workloads whose name contains this")
    parser.add_argument("--shardd", default="target/release/shardd")
    parser.add_argument("--pgbouncer", default="/usr/sbin/pgbouncer")
    arguments = parser.parse_args()
    arguments.shardd = os.path.abspath(arguments.shardd)
    bench = Bench(arguments)
    try:
        bench.run()
    finally:
        bench.servers.end()


if __name__ == "__main__":
    main()
