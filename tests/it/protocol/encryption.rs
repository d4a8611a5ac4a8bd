//! TLS at the Postgres door: how it begins, who may do without, and certificates that change while clients are connected.

use std::io::{Read, Write};
use std::process::Command;
use std::time::{Duration, Instant};

use postgres_protocol::password::scram_sha_256;
use tokio_rustls::rustls::ClientConfig;

use super::sqlstate;
use crate::support::client::{DATABASE, USER};
use crate::support::frames::{Message, Writer};
use crate::support::tls::{Authority, Begin, TlsClient, encrypted, ssl_request, tcp};
use crate::support::{PATIENCE, Shardd, signal};

/// A server with TLS and one user, whose password is `secret`.
pub(super) struct Secured {
    pub(super) authority: Authority,
    pub(super) server: Shardd,
}

impl Secured {
    /// `tls` is added to the section on TLS, `user` to the user.
    pub(super) fn start(tls: &str, user: &str) -> Secured {
        let authority = Authority::new();
        authority.serve_as(&["localhost", "127.0.0.1"]);
        let verifier = scram_sha_256(b"secret");
        let configuration = authority.configuration();
        let server = Shardd::start_with(&format!(
            "{configuration}{tls}\n[[users]]\nname = '{USER}'\nverifier = '{verifier}'\n{user}\n"
        ));
        Secured { authority, server }
    }

    pub(super) fn port(&self) -> u16 {
        self.server.ports.postgres
    }

    /// What psql says to one statement, with these additions to its connection string.
    pub(super) fn psql(&self, options: &str) -> Result<String, String> {
        let conninfo = format!("port={} dbname={DATABASE} connect_timeout=30 {options}", self.port());
        let mut command = Command::new("psql");
        command.args(["-X", "-A", "-t", "-c", "SELECT 'in'", "-d", &conninfo]).env("LC_ALL", "C.UTF-8");
        // Nothing of the home directory of whoever runs the tests.
        command.env("HOME", self.server.directory()).env_remove("PGSSLROOTCERT");
        let output = command.output().expect("psql runs");
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    fn root(&self) -> String {
        format!("sslrootcert={}", self.authority.root().display())
    }
}

const LOCALHOST: &str = "host=localhost hostaddr=127.0.0.1 user=app password=secret";

/// ALPN for the Postgres protocol.
pub(super) fn naming_the_protocol(mut config: ClientConfig) -> ClientConfig {
    config.alpn_protocols = vec![b"postgresql".to_vec()];
    config
}

pub(super) fn startup(user: &str) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.startup(&[("user", user), ("database", DATABASE)]);
    writer.bytes
}

#[test]
fn psql_connects_by_every_sslmode_and_believes_nobody_else() {
    let secured = Secured::start("", "");
    let root = secured.root();
    for mode in [
        "sslmode=disable".to_owned(),
        "sslmode=prefer".to_owned(),
        "sslmode=require".to_owned(),
        format!("sslmode=verify-ca {root}"),
        format!("sslmode=verify-full {root}"),
        format!("sslmode=verify-full channel_binding=require {root}"),
        "sslmode=require channel_binding=require".to_owned(),
        "sslmode=require channel_binding=disable".to_owned(),
        "sslmode=require ssl_min_protocol_version=TLSv1.3".to_owned(),
        "sslmode=require ssl_max_protocol_version=TLSv1.2 channel_binding=require".to_owned(),
    ] {
        assert_eq!(secured.psql(&format!("{LOCALHOST} {mode}")), Ok("in".to_owned()), "{mode}");
    }

    let stranger = Authority::new();
    for (options, complaint) in [
        (
            format!("{LOCALHOST} sslmode=verify-full sslrootcert={}", stranger.root().display()),
            "certificate verify failed",
        ),
        (
            format!("host=elsewhere hostaddr=127.0.0.1 user=app password=secret sslmode=verify-full {root}"),
            "does not match",
        ),
        (format!("{LOCALHOST} sslmode=disable channel_binding=require"), "channel binding"),
        ("host=127.0.0.1 user=app password=wrong sslmode=require".to_owned(), "password authentication failed"),
        (format!("{LOCALHOST} sslmode=require ssl_max_protocol_version=TLSv1.1 ssl_min_protocol_version=TLSv1"), "SSL"),
    ] {
        let refused = secured.psql(&options).expect_err("it should fail");
        assert!(refused.contains(complaint), "{options}\n{refused}");
    }
}

#[test]
fn a_door_that_requires_tls_says_so_and_how() {
    let secured = Secured::start("required = true\n", "");
    assert_eq!(secured.psql(&format!("{LOCALHOST} sslmode=require")), Ok("in".to_owned()));
    let refused = secured.psql(&format!("{LOCALHOST} sslmode=disable")).expect_err("in the clear");
    assert!(refused.contains("this door takes encrypted connections only") && refused.contains("HINT:"), "{refused}");
    let mut stream = tcp(secured.port());
    stream.write_all(&startup(USER)).expect("sent");
    assert_eq!(sqlstate(&Message::read(&mut stream).expect("an error")), "28000");
    assert_eq!(stream.read(&mut [0; 16]).expect("closed"), 0);
}

#[test]
fn a_user_that_requires_tls_is_not_told_apart_from_nobody() {
    let verifier = scram_sha_256(b"secret");
    let other = format!("require_tls = true\n[[users]]\nname = 'legacy'\nverifier = '{verifier}'\n");
    let secured = Secured::start("", &other);
    let first = |user: &str| {
        let mut stream = tcp(secured.port());
        stream.write_all(&startup(user)).expect("sent");
        Message::read(&mut stream).expect("an answer")
    };
    assert_eq!(first("legacy").kind, b'R');
    let (known, unknown) = (first(USER), first("ghost"));
    assert_eq!(sqlstate(&known), "28000");
    assert_eq!(known, unknown);
    assert_eq!(secured.psql(&format!("{LOCALHOST} sslmode=require")), Ok("in".to_owned()));
}

#[test]
fn tls_may_begin_with_the_first_byte_where_the_client_names_the_protocol() {
    let secured = Secured::start("", "");
    let config = secured.authority.client_config(None);
    for begin in [Begin::Asking, Begin::Directly] {
        let mut stream = encrypted(secured.port(), naming_the_protocol(config.clone()), begin).expect("encrypted");
        assert_eq!(stream.conn.alpn_protocol(), Some(&b"postgresql"[..]));
        stream.write_all(&startup(USER)).expect("sent");
        let question = Message::read(&mut stream).expect("a question");
        assert_eq!(question.body, b"\0\0\0\x0aSCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0");
    }
    // Without a name it may be asked for, as older clients do, and not begun directly.
    let mut asking = encrypted(secured.port(), config.clone(), Begin::Asking).expect("encrypted");
    asking.write_all(&startup(USER)).expect("sent");
    assert_eq!(Message::read(&mut asking).expect("a question").kind, b'R');
    let mut directly = encrypted(secured.port(), config.clone(), Begin::Directly).expect("encrypted");
    assert_eq!(sqlstate(&Message::read(&mut directly).expect("an error")), "08P01");
    // A client that means another protocol.
    let mut other = config;
    other.alpn_protocols = vec![b"http/1.1".to_vec()];
    for begin in [Begin::Asking, Begin::Directly] {
        assert!(encrypted(secured.port(), other.clone(), begin).is_err());
    }
}

#[test]
fn bytes_stuffed_around_the_beginning_of_tls_are_never_taken_for_encrypted_ones() {
    let secured = Secured::start("", "");
    // Sent together with the request: refused before anything is encrypted.
    let mut stream = tcp(secured.port());
    stream.write_all(&[ssl_request(), startup(USER)].concat()).expect("sent");
    let mut words = Vec::new();
    let _ = stream.read_to_end(&mut words);
    assert_eq!(words.first(), Some(&b'E'), "{words:?}");
    assert!(words.windows(5).any(|window| window == b"08P01"), "{words:?}");
    // Sent after the answer: they are no handshake.
    let mut stream = tcp(secured.port());
    stream.write_all(&ssl_request()).expect("sent");
    let mut answer = [0];
    stream.read_exact(&mut answer).expect("an answer");
    assert_eq!(answer, *b"S");
    stream.write_all(&startup(USER)).expect("sent");
    let mut words = Vec::new();
    let _ = stream.read_to_end(&mut words);
    // At most an alert of TLS, and nothing of the protocol.
    assert!(words.is_empty() || words[0] == 0x15, "{words:?}");
}

#[test]
fn encryption_is_asked_for_once_and_not_within_itself() {
    let secured = Secured::start("", "");
    let config = naming_the_protocol(secured.authority.client_config(None));
    let gss: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x30";
    for begin in [Begin::Asking, Begin::Directly] {
        for request in [&ssl_request()[..], gss] {
            let mut stream = encrypted(secured.port(), config.clone(), begin).expect("encrypted");
            stream.write_all(request).expect("sent");
            assert_eq!(sqlstate(&Message::read(&mut stream).expect("an error")), "08P01");
        }
    }
    // GSS is declined first, as libpq asks.
    let mut stream = tcp(secured.port());
    for (request, expected) in [(gss, b'N'), (&ssl_request()[..], b'S')] {
        stream.write_all(request).expect("sent");
        let mut answer = [0];
        stream.read_exact(&mut answer).expect("an answer");
        assert_eq!(answer[0], expected);
    }
}

/// A statement on a connection whose user is trusted.
fn ask(stream: &mut TlsClient, sql: &str) -> Vec<Message> {
    let mut writer = Writer::default();
    writer.query(sql);
    stream.write_all(&writer.bytes).expect("sent");
    until_ready(stream)
}

fn until_ready(stream: &mut TlsClient) -> Vec<Message> {
    let mut messages = Vec::new();
    loop {
        let message = Message::read(stream).expect("a message");
        if message.kind == b'Z' {
            return messages;
        }
        messages.push(message);
    }
}

/// A server with TLS and without users.
fn trusting() -> (Authority, Shardd) {
    let authority = Authority::new();
    authority.serve_as(&["localhost"]);
    let server = Shardd::start_with(&authority.configuration());
    (authority, server)
}

fn logged_in(port: u16, config: &ClientConfig) -> TlsClient {
    let mut stream = encrypted(port, config.clone(), Begin::Asking).expect("encrypted");
    stream.write_all(&startup(USER)).expect("sent");
    until_ready(&mut stream);
    stream
}

#[test]
fn large_messages_pass_both_ways() {
    let (authority, server) = trusting();
    let mut stream = logged_in(server.ports.postgres, &authority.client_config(None));
    let rows = ask(&mut stream, "SELECT n, repeat('x', 200) FROM generate_series(1, 50000) AS t (n)");
    assert_eq!(rows.iter().filter(|message| message.kind == b'D').count(), 50_000);
    let text = "y".repeat(8 << 20);
    let answer = ask(&mut stream, &format!("SELECT length('{text}')"));
    let row = answer.iter().find(|message| message.kind == b'D').expect("a row");
    assert_eq!(row.body, [&b"\0\x01\0\0\0\x07"[..], b"8388608"].concat());
}

#[test]
fn a_statement_is_cancelled_through_an_encrypted_connection() {
    let (authority, server) = trusting();
    let config = authority.client_config(None);
    let mut holder = server.client();
    holder.run(super::SEATS);
    holder.run("INSERT INTO seats VALUES (1, 1, 'free')");
    holder.run("BEGIN; UPDATE seats SET status = 'held' WHERE event_id = 1");
    let mut waiter = server.client();
    super::send(&mut waiter, |writer| writer.query("UPDATE seats SET status = 'sold' WHERE event_id = 1"));
    std::thread::sleep(Duration::from_millis(200));
    let mut stream = encrypted(server.ports.postgres, config, Begin::Asking).expect("encrypted");
    let mut writer = Writer::default();
    writer.untyped(|body| {
        body.extend(80_877_102_u32.to_be_bytes());
        body.extend(&waiter.cancel_key);
    });
    stream.write_all(&writer.bytes).expect("sent");
    assert_eq!(waiter.answers().expect("answered")[0].sqlstate(), "57014");
}

/// The certificate that a connection is shown which begins now.
fn shown(port: u16, config: &ClientConfig) -> Vec<u8> {
    let stream = encrypted(port, config.clone(), Begin::Asking).expect("encrypted");
    stream.conn.peer_certificates().expect("a certificate")[0].to_vec()
}

fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn new_certificates_are_taken_without_disturbing_anybody_and_bad_ones_are_not() {
    let (authority, server) = trusting();
    let (port, config) = (server.ports.postgres, authority.client_config(None));
    let mut open = logged_in(port, &config);
    let first = shown(port, &config);

    let next = authority.serve_as(&["localhost"]);
    assert_eq!(shown(port, &config), first, "nobody has said so yet");
    signal("HUP", server.pid());
    wait_for("the new certificate is not taken", || shown(port, &config) != first);
    let second = shown(port, &config);
    assert_eq!(ask(&mut open, "SELECT 1").len(), 3, "who is connected stays so");

    // The key of another certificate, no key at all, and nothing.
    let stranger = Authority::new();
    let other = stranger.serve_as(&["localhost"]);
    let damages: [&dyn Fn(); 3] = [
        &|| std::fs::write(&next.key, std::fs::read(&other.key).expect("a key")).expect("written"),
        &|| std::fs::write(&next.key, "no key").expect("written"),
        &|| std::fs::remove_file(&next.key).expect("removed"),
    ];
    for (count, damage) in damages.into_iter().enumerate() {
        damage();
        signal("HUP", server.pid());
        wait_for("nothing is logged", || server.log().matches("cannot take the new configuration").count() > count);
        assert_eq!(shown(port, &config), second);
    }
    authority.serve_as(&["localhost"]);
    signal("HUP", server.pid());
    wait_for("the repaired files are not taken", || shown(port, &config) != second);
    assert_eq!(ask(&mut open, "SELECT 1").len(), 3);
}

#[test]
fn without_tls_a_client_that_insists_is_refused_in_words_it_can_read() {
    let server = Shardd::start();
    let mut stream = tcp(server.ports.postgres);
    stream.write_all(&ssl_request()).expect("sent");
    let mut answer = [0];
    stream.read_exact(&mut answer).expect("an answer");
    assert_eq!(answer, *b"N");
    assert!(encrypted(server.ports.postgres, Authority::new().client_config(None), Begin::Directly).is_err());
    assert_eq!(server.client().query("SELECT 1").value(), "1");
}

#[test]
fn a_handshake_that_stalls_is_given_up() {
    let authority = Authority::new();
    authority.serve_as(&["localhost"]);
    let server = Shardd::start_with(&format!("{}[limits]\nlogin_timeout_ms = 300\n", authority.configuration()));
    // A record's head, whose rest never comes, asked for and at once.
    for asking in [true, false] {
        let mut stream = tcp(server.ports.postgres);
        if asking {
            stream.write_all(&ssl_request()).expect("sent");
            stream.read_exact(&mut [0]).expect("an answer");
        }
        stream.write_all(b"\x16\x03\x01").expect("sent");
        let begin = Instant::now();
        assert_eq!(stream.read(&mut [0; 16]).unwrap_or(0), 0, "it is closed");
        assert!(begin.elapsed() < PATIENCE / 2);
    }
}

#[test]
fn an_encrypted_client_hears_the_last_words_and_a_clean_end() {
    let (authority, mut server) = trusting();
    let mut stream = logged_in(server.ports.postgres, &authority.client_config(None));
    signal("TERM", server.pid());
    assert_eq!(sqlstate(&Message::read(&mut stream).expect("the last words")), "57P01");
    // Without TLS's own farewell this would be an error: somebody may have cut the answer short.
    assert_eq!(stream.read(&mut [0; 16]).expect("a clean end"), 0);
    assert!(server.stop_waiting().success());
}
