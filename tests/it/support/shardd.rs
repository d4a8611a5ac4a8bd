//! A shardd of our own: the built binary, four SQLite shards in a temporary directory or Postgres databases, free ports.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::client::{ASKS_FOR_A_PASSWORD, Client, DATABASE, USER, WANTS_TLS};
use super::postgres::Postgres;
use super::{PATIENCE, free_port, signal};

/// The listeners of one server.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    pub postgres: u16,
    pub session: u16,
    pub http: u16,
    pub admin: u16,
}

impl Ports {
    pub fn free() -> Ports {
        loop {
            let ports = Ports { postgres: free_port(), session: free_port(), http: free_port(), admin: free_port() };
            // Each was free when it was asked for; two of them may be the same.
            let mut all = [ports.postgres, ports.session, ports.http, ports.admin];
            all.sort_unstable();
            if all.windows(2).all(|pair| pair[0] != pair[1]) {
                return ports;
            }
        }
    }
}

/// The databases that are shards.
const POSTGRES_SHARDS: usize = 3;

/// What `abort()` raises.
const SIGABRT: i32 = 6;

/// A running server, ended when it is dropped; its log is shown when the test failed.
pub struct Shardd {
    process: Option<Child>,
    pub ports: Ports,
    directory: TempDir,
    /// What its shards are on, when they are nobody else's.
    servers: Option<Postgres>,
}

impl Shardd {
    /// A server with the default shards and an empty data directory.
    pub fn start() -> Shardd {
        Shardd::start_with("")
    }

    /// A server whose configuration file holds these lines too.
    pub fn start_with(configuration: &str) -> Shardd {
        let directory = tempfile::Builder::new().prefix("shardd-").tempdir().expect("a directory");
        std::fs::write(directory.path().join("shardd.toml"), configuration).expect("a configuration");
        let mut server = Shardd { process: None, ports: Ports::free(), directory, servers: None };
        server.launch();
        server
    }

    /// A server whose shards are three databases of this Postgres.
    pub fn start_over(postgres: &Postgres) -> Shardd {
        Shardd::start_over_with(postgres, "")
    }

    /// The same, with these lines in its configuration, too.
    pub fn start_over_with(postgres: &Postgres, configuration: &str) -> Shardd {
        Shardd::start_on(postgres, &postgres.make_shards(POSTGRES_SHARDS), configuration)
    }

    /// A server whose shards are these databases.
    pub fn start_on(postgres: &Postgres, shards: &[String], configuration: &str) -> Shardd {
        let mut configuration = configuration.to_owned();
        for shard in shards {
            let url = format!("postgres://{USER}@127.0.0.1:{}/{shard}", postgres.port);
            configuration += &format!("\n[[shards]]\nname = \"{shard}\"\nurl = \"{url}\"\n");
        }
        Shardd::start_with(&configuration)
    }

    /// A server over three databases of a Postgres of its own.
    pub fn start_over_postgres() -> Shardd {
        Shardd::start_over_postgres_with("")
    }

    /// The same, with these lines in its configuration.
    pub fn start_over_postgres_with(configuration: &str) -> Shardd {
        let postgres = Postgres::start();
        let mut server = Shardd::start_over_with(&postgres, configuration);
        server.servers = Some(postgres);
        server
    }

    /// A server over SQLite shards, then one over Postgres shards: a test that names neither holds for both.
    pub fn of_each_kind() -> impl Iterator<Item = Shardd> {
        Shardd::of_each_kind_with("")
    }

    /// The same, with these lines in their configuration.
    pub fn of_each_kind_with(configuration: &str) -> impl Iterator<Item = Shardd> {
        [Shardd::start_with, Shardd::start_over_postgres_with].into_iter().map(move |start| start(configuration))
    }

    /// The names of its shards.
    pub fn shard_names(&self) -> Vec<String> {
        let shards = self.admin(&Request::get("/v1/shards")).json();
        let names = shards.as_array().expect("a list").iter().filter_map(|shard| shard["shard"].as_str());
        names.map(str::to_owned).collect()
    }

    /// The Postgres of its own whose databases are its shards.
    pub fn postgres(&self) -> Option<&Postgres> {
        self.servers.as_ref()
    }

    /// The URL of a database that can join the others: a file that is not there, or a database with the tables of the others.
    pub fn joining(&self, name: &str) -> String {
        match &self.servers {
            None => format!("sqlite:{}", self.directory().join(format!("{name}.db")).display()),
            Some(postgres) => {
                postgres.copy_tables("s1", name, self.shard_names().len() + 1);
                format!("postgres://{USER}@127.0.0.1:{}/{name}", postgres.port)
            }
        }
    }

    /// The program under test: `SHARDD_TEST_BINARY` (a release build, say), or the one built with the tests.
    pub fn binary() -> PathBuf {
        std::env::var_os("SHARDD_TEST_BINARY")
            .map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_shardd")), PathBuf::from)
    }

    /// The command that starts a server on `directory`, with its listeners on `ports`.
    pub fn command(directory: &Path, ports: Ports) -> Command {
        let mut command = Command::new(Shardd::binary());
        // The tests' own variables are none of the server's.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("SHARDD_") {
                command.env_remove(name);
            }
        }
        command.arg("--config").arg(directory.join("shardd.toml"));
        command.arg("--data-dir").arg(directory.join("data"));
        command.env("SHARDD_LISTEN_POSTGRES", format!("127.0.0.1:{}", ports.postgres));
        command.env("SHARDD_LISTEN_POSTGRES_SESSION", format!("127.0.0.1:{}", ports.session));
        command.env("SHARDD_LISTEN_HTTP", format!("127.0.0.1:{}", ports.http));
        command.env("SHARDD_LISTEN_ADMIN", format!("127.0.0.1:{}", ports.admin));
        command.stdin(Stdio::null()).current_dir(directory);
        command
    }

    /// Starts the server again, on the same directory and ports, after it has ended.
    pub fn launch(&mut self) {
        self.launch_with(&[]);
    }

    /// The same, with these variables in its environment.
    pub fn launch_with(&mut self, environment: &[(&str, &str)]) {
        assert!(self.process.is_none(), "it runs already");
        let log = OpenOptions::new().create(true).append(true).open(self.log_path()).expect("a log");
        let mut command = Shardd::command(self.directory.path(), self.ports);
        command.envs(environment.iter().copied());
        command.stdout(log.try_clone().expect("a log")).stderr(log);
        self.process = Some(command.spawn().expect("shardd runs"));
        self.wait_until_ready();
    }

    fn wait_until_ready(&mut self) {
        let begin = Instant::now();
        loop {
            match Client::connect(self.ports.postgres) {
                Ok(_) => return,
                Err(error) if error.to_string() == ASKS_FOR_A_PASSWORD => return,
                Err(error) if error.to_string().ends_with(WANTS_TLS) => return,
                Err(_) => {}
            }
            let ended = self.process.as_mut().expect("a process").try_wait().expect("wait");
            if ended.is_some() || begin.elapsed() > PATIENCE {
                panic!("shardd did not start ({ended:?}):\n{}", self.log());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn data_dir(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub fn pid(&self) -> u32 {
        self.process.as_ref().expect("a running server").id()
    }

    fn log_path(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    /// Everything the server printed.
    pub fn log(&self) -> String {
        let mut text = String::new();
        if let Ok(mut file) = File::open(self.log_path()) {
            let _ = file.read_to_string(&mut text);
        }
        text
    }

    /// A connection to the Postgres door.
    pub fn client(&self) -> Client {
        Client::connect(self.ports.postgres).expect("shardd accepts a client")
    }

    /// A connection to the listener that pools by session.
    pub fn session_client(&self) -> Client {
        Client::connect(self.ports.session).expect("shardd accepts a client")
    }

    pub fn url(&self) -> String {
        format!("postgres://{USER}@127.0.0.1:{}/{DATABASE}", self.ports.postgres)
    }

    pub fn admin_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.admin)
    }

    /// Ends the server as `kill -9` does.
    pub fn kill(&mut self) {
        let mut process = self.process.take().expect("a running server");
        signal("KILL", process.id());
        process.wait().expect("wait");
    }

    /// Waits until the server, which was told to crash, has done so.
    pub fn crashed(&mut self) {
        let status = self.stop_waiting();
        assert_eq!(status.signal(), Some(SIGABRT), "{status:?}");
    }

    /// Waits until the server has crashed where it was told to; one that never came there is killed.
    pub fn ended(&mut self) {
        let begin = Instant::now();
        while matches!(self.process.as_mut().expect("a process").try_wait(), Ok(None)) {
            if begin.elapsed() > Duration::from_secs(2) {
                return self.kill();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        self.process = None;
    }

    /// Asks the server to drain, and waits until it has ended.
    pub fn stop(&mut self) -> ExitStatus {
        signal("TERM", self.pid());
        self.stop_waiting()
    }

    /// Waits until the server, which was asked to drain, has ended.
    pub fn stop_waiting(&mut self) -> ExitStatus {
        let begin = Instant::now();
        let mut process = self.process.take().expect("a running server");
        loop {
            if let Some(status) = process.try_wait().expect("wait") {
                return status;
            }
            if begin.elapsed() > PATIENCE {
                signal("KILL", process.id());
                let _ = process.wait();
                panic!("shardd did not end after SIGTERM:\n{}", self.log());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Keys of a table whose rows are on this shard.
    pub fn keys_on(&self, table: &str, shard: &str, count: usize) -> Vec<u32> {
        let owner = |key: u32| {
            let path = format!("/v1/route?table={table}&key={key}");
            self.admin(&Request::get(&path)).json()["shard"].as_str().map(str::to_owned)
        };
        let keys: Vec<u32> = (1..200).filter(|key| owner(*key).as_deref() == Some(shard)).take(count).collect();
        assert_eq!(keys.len(), count, "every shard has keys");
        keys
    }

    /// Whether a shard is up, as `/readyz` has it: ready, since one shard's trouble does not take the server away.
    pub fn is_up(&self, shard: &str) -> bool {
        let ready = self.admin(&Request::get("/readyz"));
        assert_eq!(ready.status, 200, "{}", ready.text());
        let shards = ready.json()["shards"].as_array().expect("shards").clone();
        let health = shards.iter().find(|health| health["shard"] == shard).expect("the shard");
        health["up"].as_bool().expect("up or not")
    }

    /// Sends one HTTP request to the HTTP door.
    pub fn http(&self, request: &Request<'_>) -> Response {
        request.send(self.ports.http)
    }

    /// Sends one HTTP request to the admin door.
    pub fn admin(&self, request: &Request<'_>) -> Response {
        request.send(self.ports.admin)
    }
}

impl Drop for Shardd {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            // It may have ended already, which is no reason to panic while another panic unwinds.
            let _ = process.kill();
            let _ = process.wait();
        }
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let tail = &lines[lines.len().saturating_sub(80)..];
            eprintln!("--- the end of shardd's log ---\n{}\n---", tail.join("\n"));
        }
    }
}

/// An HTTP/1.1 request, sent on a connection of its own.
pub struct Request<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub headers: &'a [(&'a str, &'a str)],
    pub body: &'a [u8],
}

impl<'a> Request<'a> {
    pub fn get(path: &'a str) -> Request<'a> {
        Request { method: "GET", path, headers: &[], body: &[] }
    }

    pub fn new(method: &'a str, path: &'a str, headers: &'a [(&'a str, &'a str)], body: &'a [u8]) -> Request<'a> {
        Request { method, path, headers, body }
    }

    /// Sends it to a port of the loopback and reads the whole answer.
    pub fn send(&self, port: u16) -> Response {
        self.send_as(&format!("127.0.0.1:{port}"), port)
    }

    /// Sends it under another name of the host.
    pub fn send_as(&self, host: &str, port: u16) -> Response {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the door listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let mut head = format!("{} {} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n", self.method, self.path);
        for (name, value) in self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("content-length: {}\r\n\r\n", self.body.len()));
        stream.write_all(head.as_bytes()).expect("the request is sent");
        // A server that refuses a large body may close before it has read all of it.
        let _ = stream.write_all(self.body);
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        Response::parse(&bytes)
    }
}

#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    fn parse(bytes: &[u8]) -> Response {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("no HTTP answer: {:?}", String::from_utf8_lossy(bytes)));
        let head = String::from_utf8_lossy(&bytes[..end]);
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok());
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let body = bytes[end + 4..].to_vec();
        let mut response = Response { status: status.expect("a status line"), headers, body };
        if response.header("transfer-encoding") == Some("chunked") {
            response.body = unchunk(&response.body);
        }
        response
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
}

fn unchunk(mut bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = bytes.windows(2).position(|window| window == b"\r\n") {
        let size = String::from_utf8_lossy(&bytes[..end]);
        let size = usize::from_str_radix(size.split(';').next().unwrap_or("").trim(), 16).expect("a chunk's size");
        if size == 0 {
            break;
        }
        body.extend(&bytes[end + 2..end + 2 + size]);
        bytes = &bytes[end + 2 + size + 2..];
    }
    body
}
