//! shardd's own connections to real Postgres servers: every login method, every sslmode, cancels and pools.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use shardd::error::{Error, SqlState};
use shardd::shard::postgres::{Backend, Next, Pool, PoolLimits, Target};
use shardd::wire::response::report;

use crate::support::Postgres;
use crate::support::client::DATABASE;

const PASSWORD: &str = "canary pä$$w0rd";
const ENCODED: &str = "canary%20p%C3%A4%24%24w0rd";
const PATIENCE: Duration = Duration::from_secs(20);

const ACCESS: &str = "
local   all scram_user              scram-sha-256
local   all clear_user              password
local   all all                     trust
host    all scram_user 127.0.0.1/32 scram-sha-256
host    all md5_user   127.0.0.1/32 md5
host    all clear_user 127.0.0.1/32 password
hostssl all tls_user   127.0.0.1/32 scram-sha-256
hostnossl all plain_user 127.0.0.1/32 scram-sha-256
hostssl all cert_user  127.0.0.1/32 cert
host    all tls_user,plain_user,cert_user,nobody 127.0.0.1/32 reject
host    all all        127.0.0.1/32 trust
";

fn server() -> Postgres {
    let postgres = Postgres::start();
    let mut client = postgres.client();
    for user in ["scram_user", "clear_user", "tls_user", "plain_user"] {
        client.run(&format!("CREATE ROLE {user} LOGIN PASSWORD '{PASSWORD}'"));
    }
    client.run("SET password_encryption = md5");
    client.run(&format!("CREATE ROLE md5_user LOGIN PASSWORD '{PASSWORD}'"));
    client.run("CREATE ROLE cert_user LOGIN");
    client.run("CREATE ROLE nobody LOGIN");
    postgres.write_data_file("pg_hba.conf", ACCESS.as_bytes());
    postgres.reload();
    postgres
}

/// Certificates under the server's directory, made by `openssl`.
struct Certificates(PathBuf);

impl Certificates {
    /// An authority; a server's certificate from it for 127.0.0.1, with a key of these arguments; a client's.
    fn make(directory: &Path, key: &[&str]) -> Certificates {
        let made = Certificates(directory.join("tls"));
        std::fs::create_dir_all(&made.0).expect("a directory");
        made.openssl(&[
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=authority",
            "-keyout",
            "ca.key",
            "-out",
            "ca.crt",
        ]);
        let sign = [
            "-CA",
            "ca.crt",
            "-CAkey",
            "ca.key",
            "-days",
            "2",
            "-nodes",
            "-x509",
            "-addext",
            "basicConstraints=CA:FALSE",
        ];
        let server = [
            "-subj",
            "/CN=db",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
            "-keyout",
            "server.key",
            "-out",
            "server.crt",
        ];
        made.openssl(&[&["req"], key, &sign[..], &server[..]].concat());
        let client = ["-newkey", "rsa:2048", "-subj", "/CN=cert_user", "-keyout", "client.key", "-out", "client.crt"];
        made.openssl(&[&["req"], &sign[..], &client[..]].concat());
        // An authority's own certificate as a server's, as quick guides have it.
        made.openssl(&[
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=db",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
            "-keyout",
            "self.key",
            "-out",
            "self.crt",
        ]);
        made
    }

    fn openssl(&self, arguments: &[&str]) {
        let output = Command::new("openssl").args(arguments).current_dir(&self.0).output().expect("openssl runs");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    /// Has the server show the certificate `name`.
    fn install(&self, postgres: &Postgres, name: &str) {
        for file in [format!("{name}.crt"), format!("{name}.key"), "ca.crt".to_owned()] {
            postgres.write_data_file(&file, &std::fs::read(self.0.join(&file)).expect("a file"));
        }
        let mut client = postgres.client();
        client.run(&format!("ALTER SYSTEM SET ssl_cert_file = '{name}.crt'"));
        client.run(&format!("ALTER SYSTEM SET ssl_key_file = '{name}.key'"));
        client.run("ALTER SYSTEM SET ssl_ca_file = 'ca.crt'");
        client.run("ALTER SYSTEM SET ssl = on");
        postgres.reload();
    }
}

fn target(url: &str) -> Arc<Target> {
    Arc::new(Target::parse(url).unwrap_or_else(|error| panic!("{url}: {error}")))
}

async fn connect(postgres: &Postgres, login: &str, options: &str) -> Result<Backend, Error> {
    let url = format!("postgres://{login}@127.0.0.1:{}/{DATABASE}?{options}", postgres.port);
    let connected = Backend::connect(&target(&url), PATIENCE).await;
    if let Err(error) = &connected {
        assert!(!format!("{error:?}").contains("canary"), "{error:?}");
    }
    connected
}

async fn connected(postgres: &Postgres, login: &str, options: &str) -> Backend {
    connect(postgres, login, options).await.unwrap_or_else(|error| panic!("{login} {options}: {error:?}"))
}

async fn refused(postgres: &Postgres, login: &str, options: &str) -> Error {
    match connect(postgres, login, options).await {
        Ok(_) => panic!("{login} {options} was let in"),
        Err(error) => error,
    }
}

fn put_query(backend: &mut Backend, text: &str) {
    let output = backend.output();
    output.extend_from_slice(b"Q");
    output.extend_from_slice(&(text.len() as u32 + 5).to_be_bytes());
    output.extend_from_slice(text.as_bytes());
    output.extend_from_slice(b"\0");
}

/// The first column of the last row, or the error.
async fn answer(backend: &mut Backend) -> Result<String, Error> {
    let mut result = Ok(String::new());
    loop {
        while let Some(frame) = backend.take_frame().expect("a frame") {
            match frame.kind {
                b'D' => result = Ok(String::from_utf8_lossy(&frame.body[6..]).into_owned()),
                b'E' => result = Err(report(&frame.body)),
                b'Z' => return result,
                _ => {}
            }
        }
        assert!(backend.fill().await.expect("a read") > 0, "the server closed");
    }
}

async fn ask(backend: &mut Backend, text: &str) -> Result<String, Error> {
    put_query(backend, text);
    backend.flush().await.expect("a write");
    answer(backend).await
}

async fn cancels_what_runs(backend: &mut Backend) {
    put_query(backend, "SELECT pg_sleep(30)");
    backend.flush().await.expect("a write");
    let begin = Instant::now();
    let cancel = backend.cancel_key();
    tokio::time::sleep(Duration::from_millis(50)).await;
    cancel.send(PATIENCE).await.expect("passed on");
    let error = answer(backend).await.expect_err("canceled");
    assert_eq!(error.sqlstate(), SqlState::QUERY_CANCELED);
    assert!(begin.elapsed() < Duration::from_secs(10));
    // Nothing of it reaches what comes next.
    for _ in 0..20 {
        cancel.send(PATIENCE).await.expect("passed on");
        assert_eq!(ask(backend, "SELECT 7").await.expect("a row"), "7");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_login_method_works_over_tcp_and_over_a_unix_socket() {
    let postgres = server();
    for user in ["scram_user", "md5_user"] {
        let mut backend = connected(&postgres, &format!("{user}:{ENCODED}"), "").await;
        assert_eq!(ask(&mut backend, "SELECT current_user").await.expect("a row"), user);
        assert_eq!(backend.parameter("client_encoding"), Some("UTF8"));
        let error = refused(&postgres, &format!("{user}:canary"), "").await;
        assert_eq!(error.sqlstate(), SqlState::INVALID_PASSWORD);
        assert_eq!(error.message(), format!("password authentication failed for user \"{user}\""));
        let error = refused(&postgres, user, "").await;
        assert!(error.message().contains("has none for user"), "{error}");
    }
    let clear = format!("clear_user:{ENCODED}");
    assert!(refused(&postgres, &clear, "").await.message().contains("in the clear"));
    connected(&postgres, &clear, "require_auth=password").await;
    connected(&postgres, "app", "").await;
    refused(&postgres, "app", "require_auth=scram-sha-256").await;

    let file = postgres.directory().join("password");
    std::fs::write(&file, format!("{PASSWORD}\n")).expect("a file");
    for user in ["scram_user", "clear_user"] {
        let place = format!("host={}&port={}", postgres.directory().display(), postgres.port);
        let url = format!("postgres:///{DATABASE}?user={user}&password_file={}&{place}", file.display());
        let mut backend = Backend::connect(&target(&url), PATIENCE).await.expect("connected");
        assert_eq!(ask(&mut backend, "SELECT current_user").await.expect("a row"), user);
        cancels_what_runs(&mut backend).await;
    }
    let error = refused(&postgres, "nobody", "").await;
    assert_eq!(error.sqlstate(), SqlState::INVALID_AUTHORIZATION_SPECIFICATION);
    assert!(error.get_hint().expect("a hint").contains("pg_hba.conf"));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_sslmode_accepts_what_it_should_and_nothing_else() {
    let postgres = server();
    let made = Certificates::make(postgres.directory(), &["-newkey", "rsa:2048"]);
    let error = refused(&postgres, "app", "sslmode=require").await;
    assert!(error.message().contains("does not support TLS"), "{error}");
    assert!(!connected(&postgres, "app", "sslmode=prefer").await.is_encrypted());

    made.install(&postgres, "server");
    let (authority, stranger) = (made.path("ca.crt"), made.path("self.crt"));
    for mode in ["prefer", "require"] {
        assert!(connected(&postgres, "app", &format!("sslmode={mode}")).await.is_encrypted(), "{mode}");
    }
    assert!(!connected(&postgres, "app", "sslmode=disable").await.is_encrypted());
    for mode in ["require", "verify-ca", "verify-full"] {
        let mut backend = connected(&postgres, "app", &format!("sslmode={mode}&sslrootcert={authority}")).await;
        assert!(backend.is_encrypted(), "{mode}");
        let error = refused(&postgres, "app", &format!("sslmode={mode}&sslrootcert={stranger}")).await;
        assert!(error.message().contains("TLS failed") && error.get_hint().is_some(), "{error}");
        cancels_what_runs(&mut backend).await;
    }
    let by_name =
        |mode| format!("postgres://app@localhost:{}/{DATABASE}?sslmode={mode}&sslrootcert={authority}", postgres.port);
    let error = Backend::connect(&target(&by_name("verify-full")), PATIENCE).await.expect_err("another name");
    assert!(error.message().contains("TLS failed"), "{error}");
    Backend::connect(&target(&by_name("verify-ca")), PATIENCE).await.expect("the name does not matter");
    let error = refused(&postgres, "app", "sslmode=verify-full&sslrootcert=system").await;
    assert!(error.message().contains("TLS failed") || error.message().contains("no bundle"), "{error}");

    // pg_hba.conf decides by the encryption; `prefer` takes what is let in.
    let (tls, plain) = (format!("tls_user:{ENCODED}"), format!("plain_user:{ENCODED}"));
    assert!(connected(&postgres, &tls, "").await.is_encrypted());
    assert!(!connected(&postgres, &plain, "").await.is_encrypted());
    refused(&postgres, &tls, "sslmode=disable").await;
    refused(&postgres, &plain, "sslmode=require").await;
    connected(&postgres, &format!("clear_user:{ENCODED}"), "sslmode=require").await;

    let (certificate, key) = (made.path("client.crt"), made.path("client.key"));
    connected(&postgres, "cert_user", &format!("sslmode=require&sslcert={certificate}&sslkey={key}")).await;
    refused(&postgres, "cert_user", "sslmode=require").await;
    let missing = refused(&postgres, "cert_user", "sslmode=require&sslcert=/nowhere&sslkey=/nowhere").await;
    assert!(missing.message().contains("/nowhere (sslcert"), "{missing}");

    made.install(&postgres, "self");
    for mode in ["verify-ca", "verify-full"] {
        connected(&postgres, "app", &format!("sslmode={mode}&sslrootcert={stranger}")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn scram_is_bound_to_the_certificate_whatever_signed_it() {
    let postgres = server();
    let keys: [&[&str]; 4] = [
        &["-newkey", "rsa:2048", "-sha512"],
        &["-newkey", "rsa:2048", "-sigopt", "rsa_padding_mode:pss", "-sha384"],
        &["-newkey", "rsa:2048", "-sha256"],
        &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:secp384r1"],
    ];
    let login = format!("scram_user:{ENCODED}");
    for key in keys {
        let made = Certificates::make(postgres.directory(), key);
        made.install(&postgres, "server");
        for binding in ["require", "prefer", "disable"] {
            let options = format!("sslmode=require&channel_binding={binding}");
            assert!(connected(&postgres, &login, &options).await.is_encrypted(), "{key:?} {binding}");
        }
        let error = refused(&postgres, &format!("md5_user:{ENCODED}"), "sslmode=require&channel_binding=require").await;
        assert!(error.message().contains("channel_binding=require"), "{error}");
        std::fs::remove_dir_all(made.0).expect("removed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_says_at_the_start_keeps_its_sqlstate() {
    let postgres = server();
    let url = |database, options| format!("postgres://app@127.0.0.1:{}/{database}?{options}", postgres.port);
    let error = Backend::connect(&target(&url("nowhere", "")), PATIENCE).await.expect_err("no such database");
    assert_eq!(error.sqlstate(), SqlState::INVALID_CATALOG_NAME);
    assert_eq!(error.message(), "database \"nowhere\" does not exist");
    let options = "application_name=mine&options=-c%20statement_timeout%3D1234";
    let mut backend = Backend::connect(&target(&url(DATABASE, options)), PATIENCE).await.expect("connected");
    assert_eq!(ask(&mut backend, "SHOW statement_timeout").await.expect("a row"), "1234ms");
    assert_eq!(backend.parameter("application_name"), Some("mine"));
    let closed = format!("postgres://app@127.0.0.1:{}/x", crate::support::free_port());
    let error = Backend::connect(&target(&closed), PATIENCE).await.expect_err("nobody listens");
    assert_eq!(error.sqlstate(), SqlState::CONNECTION_FAILURE);
    let unknown = target("postgres://app@no-such-host.invalid/x");
    let error = Backend::connect(&unknown, PATIENCE).await.expect_err("no such host");
    assert!(error.message().contains("no-such-host.invalid"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_of_64_mebibytes_passes_in_parts() {
    let postgres = server();
    let mut backend = connected(&postgres, "app", "").await;
    put_query(&mut backend, "SELECT repeat('x', 64 << 20)");
    backend.flush().await.expect("a write");
    let (mut taken, mut left, mut largest) = (0, 0, 0);
    loop {
        if left > 0 {
            let part = backend.take_bytes(left);
            largest = largest.max(part.len());
            (taken, left) = (taken + part.len(), left - part.len());
        }
        match (left, backend.next().expect("frames")) {
            (0, Next::Whole(header) | Next::Partial(header)) if header.kind == b'D' => left = header.frame_bytes,
            (0, Next::Whole(_)) => {
                let frame = backend.take_frame().expect("a frame").expect("whole");
                if frame.kind == b'Z' {
                    break;
                }
            }
            _ => assert!(backend.fill().await.expect("a read") > 0),
        }
    }
    assert_eq!(taken, (64 << 20) + 11);
    assert!(largest < 1 << 20, "{largest}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cold_pool_serves_64_clients_within_a_second_and_finds_its_server_again() {
    let postgres = server();
    let url = format!("postgres://scram_user:{ENCODED}@127.0.0.1:{}/{DATABASE}?sslmode=disable", postgres.port);
    let limits = PoolLimits { size: 8, ..PoolLimits::default() };
    let pool = Pool::new("a", Target::parse(&url).expect("a target"), limits);
    let clients = |count: usize| {
        let begin = Instant::now();
        let clients = (0..count).map(|number| {
            let pool = Arc::clone(&pool);
            tokio::spawn(async move {
                let mut pooled = pool.checkout().await.expect("a connection");
                let answer = ask(&mut pooled, &format!("SELECT {number}")).await.expect("a row");
                assert_eq!(answer, number.to_string());
                pooled.give_back();
                begin.elapsed()
            })
        });
        clients.collect::<Vec<_>>()
    };
    let mut slowest = Duration::ZERO;
    for client in clients(64) {
        slowest = slowest.max(client.await.expect("served"));
    }
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    let before = pool.state();
    assert!(before.totals.connected <= 8 && before.totals.checkouts == 64, "{before:?}");

    postgres.client().run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'scram_user'");
    tokio::time::sleep(Duration::from_millis(100)).await;
    for client in clients(64) {
        client.await.expect("served");
    }
    assert!(pool.state().totals.stale > 0, "{:?}", pool.state());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_that_is_quiet_is_given_out_again_whatever_carries_it() {
    let postgres = server();
    let made = Certificates::make(postgres.directory(), &["-newkey", "rsa:2048"]);
    made.install(&postgres, "server");
    let tcp = |options| format!("postgres://app@127.0.0.1:{}/{DATABASE}?{options}", postgres.port);
    let socket = postgres.directory().display().to_string();
    let unix = format!("postgres:///{DATABASE}?user=app&port={}&host={socket}", postgres.port);
    for url in [tcp("sslmode=disable"), tcp("sslmode=require"), unix] {
        let limits = PoolLimits::default();
        let pool = Pool::new("a", Target::parse(&url).expect("a target"), limits);
        for _ in 0..5 {
            let mut pooled = pool.checkout().await.expect("a connection");
            assert_eq!(ask(&mut pooled, "SELECT 7").await.expect("a row"), "7");
            pooled.give_back();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(pool.state().totals.connected, 1, "{url}");
        // A server that is told to read its settings anew says so with the next answer, and not before.
        postgres.reload();
        assert_eq!(ask(&mut pool.checkout().await.expect("a connection"), "SELECT 7").await.expect("a row"), "7");
        assert_eq!((pool.state().totals.connected, pool.state().totals.stale), (1, 0), "{url}");
    }
}
