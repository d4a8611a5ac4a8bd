//! A throw-away Postgres 15 with the locale that shardd promises: C collation, UTF-8.

use std::fs::OpenOptions;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use tempfile::TempDir;

use super::client::{Client, DATABASE, USER};
use super::tls::Authority;
use super::{PATIENCE, free_port, signal};

/// A running server, ended when it is dropped.
pub struct Postgres {
    process: Child,
    pub port: u16,
    directory: TempDir,
    /// `name=value` of its own.
    settings: Vec<String>,
}

impl Postgres {
    pub fn start() -> Postgres {
        Postgres::start_with(|_| Vec::new())
    }

    /// A server with these settings (`name=value`).
    pub fn start_set(settings: &[&str]) -> Postgres {
        Postgres::start_with(|_| settings.iter().map(|setting| (*setting).to_owned()).collect())
    }

    /// A server that takes encrypted connections only: from its user by the password `secret`, from `robot` by a
    /// certificate of the authority, which has made the server's own before.
    pub fn start_secured(authority: &Authority) -> Postgres {
        let postgres = Postgres::start_with(|directory| {
            let settings = [("cert", "server.pem"), ("key", "server.key"), ("ca", "authority.pem")];
            let settings = settings.map(|(setting, file)| {
                let copy = directory.join(file);
                std::fs::copy(authority.path().join(file), &copy).expect("copied");
                if let Some((uid, gid)) = server_user() {
                    chown(&copy, Some(uid), Some(gid)).expect("chown");
                }
                format!("ssl_{setting}_file={}", copy.display())
            });
            [&["ssl=on".to_owned()][..], &settings].concat()
        });
        let mut client = postgres.client();
        client.run("SET password_encryption = 'scram-sha-256'");
        client.run(&format!("ALTER USER {USER} PASSWORD 'secret'"));
        client.run("CREATE USER robot");
        let rules = "hostssl all robot 127.0.0.1/32 cert\nhostssl all all 127.0.0.1/32 scram-sha-256\n";
        std::fs::write(postgres.directory.path().join("data/pg_hba.conf"), rules).expect("written");
        client.run("SELECT pg_reload_conf()");
        let begin = Instant::now();
        while Client::connect(postgres.port).is_ok() {
            assert!(begin.elapsed() < PATIENCE, "Postgres still trusts everybody");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        postgres
    }

    /// `settings` may put files into the server's directory, and gives what to set.
    fn start_with(settings: impl FnOnce(&Path) -> Vec<String>) -> Postgres {
        let directory = tempfile::Builder::new().prefix("shardd-postgres-").tempdir().expect("a directory");
        let owner = server_user();
        if let Some((uid, gid)) = owner {
            chown(directory.path(), Some(uid), Some(gid)).expect("chown");
        }
        let data = directory.path().join("data");
        let mut initdb = as_user(&binary("initdb"), owner);
        initdb.args(["--locale=C", "--encoding=UTF8", "--auth=trust", "--no-sync", "--username", USER, "-D"]);
        let made = initdb.arg(&data).output().expect("initdb runs");
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));

        let port = free_port();
        let settings = settings(directory.path());
        let process = serve(directory.path(), port, &settings);
        let postgres = Postgres { process, port, directory, settings };
        postgres.wait_until_ready();
        postgres.client_of("postgres").run(&format!("CREATE DATABASE {DATABASE}"));
        postgres
    }

    /// A streaming replica of this server, on a port of its own.
    pub fn start_replica(&self) -> Postgres {
        let directory = tempfile::Builder::new().prefix("shardd-replica-").tempdir().expect("a directory");
        let owner = server_user();
        if let Some((uid, gid)) = owner {
            chown(directory.path(), Some(uid), Some(gid)).expect("chown");
        }
        let mut copy = as_user(&binary("pg_basebackup"), owner);
        copy.args(["--host=127.0.0.1", &format!("--port={}", self.port), "--username", USER]);
        copy.args(["--write-recovery-conf", "--checkpoint=fast", "--no-sync", "-D"]);
        let copied = copy.arg(directory.path().join("data")).output().expect("pg_basebackup runs");
        assert!(copied.status.success(), "pg_basebackup: {}", String::from_utf8_lossy(&copied.stderr));
        let port = free_port();
        let process = serve(directory.path(), port, &self.settings);
        let replica = Postgres { process, port, directory, settings: self.settings.clone() };
        replica.wait_until_ready();
        replica
    }

    /// Ends the server at once, as `pg_ctl stop -m immediate` does. [`Postgres::start_again`] starts it.
    pub fn kill(&mut self) {
        signal("QUIT", self.process.id());
        self.process.wait().expect("wait");
    }

    /// Ends the server as `pg_ctl stop -m fast` does: its clients are told, and nothing is lost.
    pub fn stop(&mut self) {
        signal("INT", self.process.id());
        self.process.wait().expect("wait");
    }

    /// Starts it again after [`Postgres::stop`], on the same port.
    pub fn start_again(&mut self) {
        self.process = serve(self.directory.path(), self.port, &self.settings);
        self.wait_until_ready();
    }

    fn wait_until_ready(&self) {
        let begin = Instant::now();
        while Client::connect_with(self.port, &[("user", USER), ("database", "postgres")]).is_err() {
            if begin.elapsed() > PATIENCE {
                let log = std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
                panic!("Postgres did not start:\n{log}");
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }

    /// Where its Unix socket is, and room for a test's own files.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Writes a file into the data directory, for the server alone to read.
    pub fn write_data_file(&self, name: &str, content: &[u8]) {
        let path = self.directory.path().join("data").join(name);
        std::fs::write(&path, content).expect("a file");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("chmod");
        if let Some((uid, gid)) = server_user() {
            chown(&path, Some(uid), Some(gid)).expect("chown");
        }
    }

    /// Has the server read its configuration anew, and waits until it has.
    pub fn reload(&self) {
        self.client().run("SELECT pg_reload_conf()");
        std::thread::sleep(std::time::Duration::from_millis(300));
    }

    /// A connection to the tests' database.
    pub fn client(&self) -> Client {
        self.client_of(DATABASE)
    }

    /// Makes databases `s1`, `s2`, ... whose clients are those of one shardd.
    pub fn make_shards(&self, count: usize) -> Vec<String> {
        self.make_shards_with(count, "")
    }

    /// The same, with these clauses of CREATE DATABASE.
    pub fn make_shards_with(&self, count: usize, clauses: &str) -> Vec<String> {
        let mut client = self.client_of("postgres");
        let names: Vec<String> = (1..=count).map(|number| format!("s{number}")).collect();
        names.iter().for_each(|name| client.run(&format!("CREATE DATABASE {name} {clauses}")));
        names
    }

    /// Makes a database with the tables of another one and none of its rows, whose sequences are those of this shard's number.
    pub fn copy_tables(&self, from: &str, to: &str, shard: usize) {
        self.client_of("postgres").run(&format!("CREATE DATABASE \"{to}\""));
        let address = ["--host=127.0.0.1".to_owned(), format!("--port={}", self.port), format!("--username={USER}")];
        let dump = Command::new(binary("pg_dump")).args(&address).args(["--schema-only", from]).output();
        let dump = dump.expect("pg_dump runs");
        assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
        let file = self.directory.path().join(format!("{to}.sql"));
        std::fs::write(&file, dump.stdout).expect("written");
        let load = Command::new("psql")
            .args(&address)
            .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-f"])
            .arg(&file)
            .arg(to)
            .output();
        let load = load.expect("psql runs");
        assert!(load.status.success(), "{}", String::from_utf8_lossy(&load.stderr));
        let mut client = self.client_of(to);
        for row in client.query("SELECT oid::regclass FROM pg_class WHERE relkind = 'S'").texts() {
            let sequence = row[0].as_deref().expect("a name");
            client.run(&format!("ALTER SEQUENCE {sequence} INCREMENT BY 1024 RESTART WITH {shard}"));
        }
    }

    pub fn client_of(&self, database: &str) -> Client {
        Client::connect_with(self.port, &[("user", USER), ("database", database), ("TimeZone", "UTC")])
            .expect("Postgres accepts a client")
    }
}

/// Runs the server of a directory that initdb has made.
fn serve(directory: &Path, port: u16, settings: &[String]) -> Child {
    let log = OpenOptions::new().create(true).append(true).open(directory.join("log")).expect("a log");
    let mut server = as_user(&binary("postgres"), server_user());
    server.arg("-D").arg(directory.join("data")).args(["-c", &format!("port={port}")]);
    server.args(["-c", &format!("unix_socket_directories={}", directory.display())]);
    for setting in ["listen_addresses=127.0.0.1", "fsync=off", "full_page_writes=off", "TimeZone=UTC"] {
        server.args(["-c", setting]);
    }
    server.args(["-c", "max_prepared_transactions=200", "-c", "max_connections=200"]);
    for setting in settings {
        server.args(["-c", setting]);
    }
    server.stdin(Stdio::null()).stdout(log.try_clone().expect("a log")).stderr(log);
    server.spawn().expect("postgres runs")
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // It may have been stopped.
        if matches!(self.process.try_wait(), Ok(None)) {
            signal("QUIT", self.process.id());
        }
        let _ = self.process.wait();
    }
}

/// Postgres refuses to run as root: the account it runs as then, as (uid, gid).
fn server_user() -> Option<(u32, u32)> {
    use std::os::unix::fs::MetadataExt;
    let me = std::fs::metadata("/proc/self").expect("/proc").uid();
    if me != 0 {
        return None;
    }
    let accounts = std::fs::read_to_string("/etc/passwd").expect("/etc/passwd");
    let account = accounts.lines().find(|line| line.starts_with("postgres:")).expect("an account named postgres");
    let fields: Vec<&str> = account.split(':').collect();
    Some((fields[2].parse().expect("a uid"), fields[3].parse().expect("a gid")))
}

fn as_user(program: &Path, owner: Option<(u32, u32)>) -> Command {
    let mut command = Command::new(program);
    command.current_dir("/").env("LC_ALL", "C");
    if let Some((uid, gid)) = owner {
        command.uid(uid).gid(gid);
    }
    command
}

/// A program of Postgres 15, where Debian keeps it, or else on the PATH.
pub fn binary(name: &str) -> PathBuf {
    let debian = Path::new("/usr/lib/postgresql/15/bin").join(name);
    if debian.exists() { debian } else { PathBuf::from(name) }
}
