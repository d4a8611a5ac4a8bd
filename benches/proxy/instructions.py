#!/usr/bin/env python3
"""Instructions of shardd for each transaction, in user space, as valgrind's callgrind counts them.

Counts hardly depend on the machine or on what else runs there. Each is the difference of two runs, one twice as long as the
other, so that connecting and what shardd does by itself fall out of it.

    cargo build --release && benches/proxy/instructions.py [--transactions 400] [--clients 16] [--only read]

Needs what run.py needs, and valgrind. With --keep DIRECTORY callgrind's files stay there, for callgrind_annotate.
"""

import argparse
import glob
import os
import subprocess
import tempfile
import time

import servers
from run import READ, TRANSACTION, UPDATE
from servers import HOST, Servers, run

servers.START_SECONDS = 180
# What shardd has read of the servers' settings is old after this.
SETTINGS_SECONDS = 5.2

WORKLOADS = {
    f"{name}, {protocol}": (protocol, script)
    for name, script in (("read", READ), ("update", UPDATE), ("read and update in a transaction", TRANSACTION))
    for protocol in ("simple", "extended", "prepared")
}


class Counting:
    """A shardd under callgrind, over two Postgres servers."""

    def __init__(self, arguments, directory):
        self.arguments, self.directory = arguments, directory
        wrapper = f"{directory}/shardd"
        with open(wrapper, "w") as file:
            valgrind = f"valgrind --tool=callgrind --callgrind-out-file={directory}/counted"
            file.write(f'#!/bin/sh\nexec {valgrind} {os.path.abspath(arguments.shardd)} "$@"\n')
        os.chmod(wrapper, 0o755)
        self.servers = Servers(argparse.Namespace(shardd=wrapper, clients=arguments.clients))

    def start(self):
        shards = [self.servers.postgres(number) for number in range(2)]
        self.port, self.process = self.servers.shardd("shardd", shards)

    def transactions(self, protocol, script, count):
        path = f"{self.servers.directory}/script.sql"
        with open(path, "w") as file:
            file.write(script)
        clients = str(self.arguments.clients)
        argv = ["pgbench", "-n", "-h", HOST, "-p", str(self.port), "-U", "app", "-M", protocol, "-c", clients, "-j", "2"]
        run([*argv, "-t", str(count), "-f", path, "tickets"])

    def control(self, what):
        subprocess.run(["callgrind_control", what, str(self.process.pid)], check=True, capture_output=True)

    def counted(self, protocol, script, count):
        # Sessions that begin have the servers' settings read again when they were read long ago: now, and not within the count.
        time.sleep(SETTINGS_SECONDS)
        self.transactions(protocol, script, 1)
        time.sleep(3)
        self.control("-z")
        self.transactions(protocol, script, count)
        before = set(glob.glob(f"{self.directory}/counted.*"))
        self.control("-d")
        while not (written := set(glob.glob(f"{self.directory}/counted.*")) - before):
            time.sleep(0.1)
        time.sleep(0.5)
        with open(written.pop()) as file:
            return next(int(line.split()[1]) for line in file if line.startswith(("summary:", "totals:")))

    def each(self, protocol, script):
        count = self.arguments.transactions
        self.transactions(protocol, script, 50)
        once, twice = (self.counted(protocol, script, times * count) for times in (1, 2))
        return (twice - once) / (count * self.arguments.clients)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--transactions", type=int, default=400, help="of each client, in the shorter run")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--only", default="", help="workloads whose name contains this")
    parser.add_argument("--shardd", default="target/release/shardd")
    parser.add_argument("--keep", help="where callgrind's files stay")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="shardd-instructions-") as directory:
        counting = Counting(arguments, arguments.keep or directory)
        try:
            counting.start()
            print("| transaction | instructions |\n|---|---|")
            for name, (protocol, script) in WORKLOADS.items():
                if arguments.only in name:
                    print(f"| {name} | {counting.each(protocol, script):.0f} |", flush=True)
        finally:
            counting.servers.end()


if __name__ == "__main__":
    main()
