"""The servers and the proxies of the comparison: throw-away, on loopback, ended by their process ids."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

HOST = "127.0.0.1"
ROWS = 100_000
# How long a program may take until it listens.
START_SECONDS = 20


class Target:
    def __init__(self, name, ports, processes):
        """`ports` and `processes`: for one shard and for two."""
        self.name, self.ports, self.processes = name, ports, processes


class Servers:
    def __init__(self, arguments):
        self.arguments = arguments
        self.directory = tempfile.mkdtemp(prefix="shardd-proxy-")
        os.chmod(self.directory, 0o777)
        self.running = []
        self.binaries = subprocess.run(["pg_config", "--bindir"], capture_output=True, text=True).stdout.strip()
        if not self.binaries or not os.path.exists(f"{self.binaries}/initdb"):
            found = sorted(
                (int(version), f"/usr/lib/postgresql/{version}/bin")
                for version in os.listdir("/usr/lib/postgresql")
                if version.isdigit()
            )
            self.binaries = found[-1][1]

    def start(self, argv, log, port, as_postgres=False):
        """Starts a program and waits until it listens."""
        user = {}
        if as_postgres and os.geteuid() == 0:
            entry = pwd.getpwnam("postgres")
            user = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
        out = open(f"{self.directory}/{log}", "ab")
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=self.directory, **user)
        self.running.append(process)
        deadline = time.time() + START_SECONDS
        while time.time() < deadline:
            try:
                socket.create_connection((HOST, port), 0.2).close()
                return process
            except OSError:
                if process.poll() is not None:
                    break
                time.sleep(0.05)
        sys.exit(f"{argv[0]} did not start:\n" + open(f"{self.directory}/{log}").read())

    def postgres(self, number, fill=True):
        port = free_port()
        data = f"{self.directory}/pg{number}"
        prefix = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
        subprocess.run(
            [*prefix, f"{self.binaries}/initdb", "-D", data, "-U", "app", "-A", "trust", "-E", "UTF8", "--locale=C"],
            check=True,
            capture_output=True,
            cwd=self.directory,
        )
        with open(f"{data}/postgresql.conf", "a") as file:
            file.write(
                f"listen_addresses = '{HOST}'\nport = {port}\nunix_socket_directories = ''\nmax_connections = 200\nmax_prepared_transactions = 64\n"
                "shared_buffers = 256MB\nautovacuum = off\nmax_wal_size = 4GB\ncheckpoint_timeout = 1h\njit = off\n"
                # The disk is not what is measured.
                "fsync = off\nsynchronous_commit = off\n"
            )
        self.start([f"{self.binaries}/postgres", "-D", data], f"pg{number}.log", port, as_postgres=True)
        run(["psql", "-qX", "-h", HOST, "-p", str(port), "-U", "app", "-d", "postgres", "-c", "CREATE DATABASE tickets"])
        if not fill:
            return port
        run(["pgbench", "-i", "-q", "-s", "10", "-h", HOST, "-p", str(port), "-U", "app", "tickets"])
        kv = (
            "CREATE TABLE kv (id bigint PRIMARY KEY, v bigint NOT NULL, pad text NOT NULL) WITH (fillfactor = 80);"
            f"INSERT INTO kv SELECT g, g * 7, repeat('x', 60) FROM generate_series(1, {ROWS}) g; VACUUM ANALYZE;"
        )
        for statement in kv.split(";")[:-1]:
            run(["psql", "-qX", "-h", HOST, "-p", str(port), "-U", "app", "-d", "tickets", "-c", statement])
        return port

    def shardd(self, name, servers):
        port = free_port()
        shards = "".join(
            f'[[shards]]\nname = "pg-{number}"\nurl = "postgres://app@{HOST}:{server}/tickets"\n'
            for number, server in enumerate(servers)
        )
        configuration = (
            f'data_dir = "{self.directory}/{name}"\n[listen]\npostgres_session = ""\npostgres = "{HOST}:{port}"\nhttp = "{HOST}:{free_port()}"\n'
            f'admin = "{HOST}:{free_port()}"\n[limits]\nmax_clients = 3000\n{shards}'
            '[[keyspaces]]\nname = "tickets"\nkey_column = "id"\nkey_type = "bigint"\n'
            'key_columns = { pgbench_accounts = "aid", pgbench_tellers = "tid", pgbench_branches = "bid", pgbench_history = "aid" }\n'
        )
        path = f"{self.directory}/{name}.toml"
        with open(path, "w") as file:
            file.write(configuration)
        return port, self.start([self.arguments.shardd, "--config", path], f"{name}.log", port)

    def pgbouncer(self, server):
        port = free_port()
        path = f"{self.directory}/pgbouncer.ini"
        with open(path, "w") as file:
            file.write(
                f"[databases]\ntickets = host={HOST} port={server} dbname=tickets user=app\n"
                f"session = host={HOST} port={server} dbname=tickets user=app pool_mode=session\n"
                f"[pgbouncer]\nlisten_addr = {HOST}\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n"
                f"pool_mode = transaction\ndefault_pool_size = {self.arguments.clients}\nmax_client_conn = 3000\n"
                "log_connections = 0\nlog_disconnections = 0\nlog_stats = 0\n"
                "ignore_startup_parameters = extra_float_digits\n"
            )
        return port, self.start([self.arguments.pgbouncer, path], "pgbouncer.log", port, as_postgres=True)

    def targets(self):
        servers = [self.postgres(number) for number in range(2)]
        targets = [Target("direct", [servers[0]] * 2, [None] * 2)]
        source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "floor.c")
        floor = f"{self.directory}/floor"
        run(["gcc", "-O2", "-o", floor, source])
        port = free_port()
        process = self.start([floor, str(port), str(servers[0])], "floor.log", port)
        targets.append(Target("floor", [port] * 2, [process] * 2))
        if shutil.which(self.arguments.pgbouncer):
            port, process = self.pgbouncer(servers[0])
            targets.append(Target("PgBouncer", [port] * 2, [process] * 2))
        one, two = self.shardd("one", servers[:1]), self.shardd("two", servers)
        targets.append(Target("shardd", [one[0], two[0]], [one[1], two[1]]))
        return targets

    def end(self):
        for process in reversed(self.running):
            process.send_signal(signal.SIGINT)
        for process in reversed(self.running):
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
        shutil.rmtree(self.directory, ignore_errors=True)


def free_port():
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        return listener.getsockname()[1]


def run(argv, whom=""):
    done = subprocess.run(argv, capture_output=True, text=True, env=dict(os.environ, LC_ALL="C"))
    if done.returncode:
        sys.exit(f"{whom}\n{' '.join(argv)}\n{done.stdout}{done.stderr}")
    return done.stdout
