#!/usr/bin/env python3
"""What the guard costs a Postgres shard: pgbench's keyed update with and without it, in turns.

What counts is the processor time of all of the server's processes: each run has a server of its own, which is started for
it and waited for, so that the kernel tells what it and its children have used. The guard is the one that shardd installs.

    cargo build --release && benches/guard/run.py [--shardd target/release/shardd] [--rounds 5] [--transactions 20000]

Needs Postgres's programs (--bin, or the newest of /usr/lib/postgresql/*/bin), and as root a user to run the server as.
"""

import argparse
import glob
import os
import pathlib
import shutil
import socket
import statistics
import subprocess
import tempfile
import time

USER = "bench"
SCRIPT = r"""\set aid random(1, 100000 * :scale)
\set delta random(-5000, 5000)
UPDATE pgbench_accounts SET abalance = abalance + :delta WHERE aid = :aid;
"""
CONFIGURATION = """data_dir = "{directory}"
[[shards]]
name = "s1"
url = "postgres://{user}@127.0.0.1:{port}/{user}"
[[keyspaces]]
name = "accounts"
key_column = "aid"
key_type = "bigint"
"""


def newest():
    found = glob.glob("/usr/lib/postgresql/*/bin")
    return max(found, key=lambda path: int(path.split("/")[4]), default="")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", default=newest(), help="where postgres, initdb and pgbench are")
    parser.add_argument("--shardd", default="target/release/shardd")
    parser.add_argument("--as", dest="role", default="postgres", help="the user that the server runs as, where this is root")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=int, default=10)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--transactions", type=int, default=20_000, help="of each client")
    return parser.parse_args()


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Bench:
    def __init__(self, given, directory):
        self.given, self.directory, self.port = given, directory, free_port()
        self.as_user = ["setpriv", f"--reuid={given.role}", f"--regid={given.role}", "--clear-groups"] if os.getuid() == 0 else []

    def program(self, name, *rest):
        return [f"{self.given.bin}/{name}", *rest]

    def run(self, command, **more):
        return subprocess.run(command, check=True, capture_output=True, text=True, **more)

    def start(self, data):
        settings = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "shared_buffers": "512MB",
            "max_wal_size": "8GB",
            "autovacuum": "off",
            "max_prepared_transactions": 10,
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        server = subprocess.Popen(
            self.as_user + self.program("postgres", "-D", str(data), *options), stderr=subprocess.DEVNULL
        )
        ready = self.program("pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port))
        while subprocess.run(ready).returncode != 0:
            if server.poll() is not None:
                raise SystemExit("the server did not start")
            time.sleep(0.05)
        return server

    def stop(self, server):
        """Seconds of processor time of the server and of all that it had started."""
        server.terminate()
        _, _, used = os.wait4(server.pid, 0)
        server.returncode = 0
        return used.ru_utime + used.ru_stime

    def make(self):
        plain, guarded = self.directory / "plain", self.directory / "guarded"
        self.run(self.as_user + self.program("initdb", "-D", str(plain), "-U", USER, "-A", "trust", "--no-sync", "-E", "UTF8"))
        address = ["-h", "127.0.0.1", "-p", str(self.port), "-U", USER]
        server = self.start(plain)
        self.run(self.program("createdb", *address, USER))
        self.run(self.program("pgbench", *address, "-i", "-q", "-s", str(self.given.scale), USER))
        self.stop(server)
        self.run(["cp", "-a", str(plain), str(guarded)])
        server = self.start(guarded)
        self.guard(address)
        self.stop(server)
        return {"plain": plain, "guarded": guarded}

    def guard(self, address):
        ports = [free_port() for _ in range(4)]
        home = self.directory / "shardd"
        home.mkdir()
        (home / "shardd.toml").write_text(CONFIGURATION.format(directory=home / "data", user=USER, port=self.port))
        names = ["POSTGRES", "POSTGRES_SESSION", "HTTP", "ADMIN"]
        environment = {f"SHARDD_LISTEN_{name}": f"127.0.0.1:{port}" for name, port in zip(names, ports)}
        shardd = subprocess.Popen(
            [str(pathlib.Path(self.given.shardd).resolve()), "--config", "shardd.toml"],
            cwd=home, env=os.environ | environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        asked = "SELECT count(*) FROM pg_trigger WHERE tgname = 'shardd_guard' AND tgrelid = 'pgbench_accounts'::regclass"
        for _ in range(600):
            found = self.run(["psql", "-X", "-A", "-t", *address, "-c", asked, USER]).stdout.strip()
            if found == "1":
                break
            time.sleep(0.1)
        shardd.terminate()
        shardd.wait()
        if found != "1":
            raise SystemExit("shardd installed no guard")

    def measure(self, template):
        data = self.directory / "run"
        self.run(["cp", "-a", str(template), str(data)])
        script = self.directory / "update.sql"
        script.write_text(SCRIPT)
        script.chmod(0o644)
        address = ["-h", "127.0.0.1", "-p", str(self.port), "-U", USER]
        server = self.start(data)
        self.run(self.program(
            "pgbench", *address, "-n", "-M", "prepared", "-f", str(script), "-c", str(self.given.clients), "-j", "2",
            "-t", str(self.given.transactions), "-s", str(self.given.scale), USER))
        used = self.stop(server)
        shutil.rmtree(data)
        return used / (self.given.clients * self.given.transactions) * 1e6


def main():
    given = arguments()
    with tempfile.TemporaryDirectory(prefix="guard-") as name:
        directory = pathlib.Path(name)
        directory.chmod(0o777)
        bench = Bench(given, directory)
        templates = bench.make()
        taken = {kind: [] for kind in templates}
        for round in range(given.rounds):
            # Which comes first changes, so that neither has the better half.
            kinds = list(templates) if round % 2 == 0 else list(reversed(templates))
            for kind in kinds:
                taken[kind].append(bench.measure(templates[kind]))
            print(f"round {round + 1}: " + ", ".join(f"{kind} {taken[kind][-1]:.1f} us" for kind in templates), flush=True)
        plain, guarded = (statistics.median(taken[kind]) for kind in ("plain", "guarded"))
        ratios = [b / a for a, b in zip(taken["plain"], taken["guarded"])]
        print(f"processor time per update: {plain:.1f} us without the guard, {guarded:.1f} us with it: ratio of the medians "
              f"{guarded / plain:.3f}, of each round {min(ratios):.3f} to {max(ratios):.3f}")


main()
