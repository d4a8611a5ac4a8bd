//! Who gets in, and what a client is told when it starts.

use std::io::{Read, Write};
use std::net::TcpStream;

use postgres_protocol::password::scram_sha_256;

use super::sqlstate;
use crate::support::frames::{Message, Writer};
use crate::support::{Client, PATIENCE, Shardd};

fn with_a_user() -> Shardd {
    let verifier = scram_sha_256(b"correct horse");
    Shardd::start_with(&format!("[[users]]\nname = \"app\"\nverifier = \"{verifier}\"\n"))
}

pub(super) fn log_in(server: &Shardd, user: &str, password: &str) -> Result<String, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let url = format!("host=127.0.0.1 port={} user={user} password='{password}' dbname=tickets", server.ports.postgres);
    runtime.block_on(async {
        let refused = |error: tokio_postgres::Error| match error.as_db_error() {
            Some(error) => error.code().code().to_owned(),
            None => error.to_string(),
        };
        let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.map_err(refused)?;
        let driving = tokio::spawn(connection);
        let row = client.query_one("SELECT $1::text", &[&"in"]).await.map_err(refused)?;
        driving.abort();
        Ok(row.get(0))
    })
}

#[test]
fn a_user_gets_in_with_the_password_and_nobody_learns_who_exists() {
    let server = with_a_user();
    assert_eq!(log_in(&server, "app", "correct horse"), Ok("in".to_owned()));
    assert_eq!(log_in(&server, "app", "wrong"), Err("28P01".to_owned()));
    assert_eq!(log_in(&server, "ghost", "correct horse"), Err("28P01".to_owned()));
}

#[test]
fn a_second_startup_message_does_not_change_the_user() {
    let server = with_a_user();
    let mut stream = TcpStream::connect(("127.0.0.1", server.ports.postgres)).expect("the door listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time limit");
    let mut writer = Writer::default();
    writer.startup(&[("user", "ghost"), ("database", "tickets")]);
    writer.startup(&[("user", "app"), ("database", "tickets")]);
    stream.write_all(&writer.bytes).expect("sent");
    assert_eq!(Message::read(&mut stream).expect("a question").kind, b'R');
    assert_eq!(sqlstate(&Message::read(&mut stream).expect("an error")), "08P01");
    assert_eq!(stream.read(&mut [0; 16]).unwrap_or(0), 0, "the connection ends");
}

/// A start-up message of any version, answered up to ReadyForQuery or the end.
fn start(server: &Shardd, version: u32, settings: &[(&str, &str)]) -> Vec<Message> {
    let mut stream = TcpStream::connect(("127.0.0.1", server.ports.postgres)).expect("the door listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time limit");
    let mut writer = Writer::default();
    writer.startup(settings);
    writer.bytes[4..8].copy_from_slice(&version.to_be_bytes());
    stream.write_all(&writer.bytes).expect("sent");
    let mut messages = Vec::new();
    while let Ok(message) = Message::read(&mut stream) {
        let last = message.kind == b'Z';
        messages.push(message);
        if last {
            break;
        }
    }
    messages
}

fn of_kind(messages: &[Message], kind: u8) -> Vec<&Message> {
    messages.iter().filter(|message| message.kind == kind).collect()
}

const WHO: [(&str, &str); 2] = [("user", "app"), ("database", "tickets")];

#[test]
fn versions_and_extensions_are_negotiated_exactly_once() {
    let server = Shardd::start();
    let plain = start(&server, 3 << 16, &WHO);
    assert!(of_kind(&plain, b'v').is_empty());
    assert_eq!(of_kind(&plain, b'K')[0].body.len(), 8);

    let newer = start(&server, 3 << 16 | 2, &WHO);
    assert!(of_kind(&newer, b'v').is_empty());
    assert_eq!(of_kind(&newer, b'K')[0].body.len(), 36);

    // As the libpq of Postgres 19 does.
    let greased = [&WHO[..], &[("_pq_.test_protocol_negotiation", ""), ("_pq_.other", "1")]].concat();
    let greased = start(&server, 3 << 16 | 9999, &greased);
    let negotiation = of_kind(&greased, b'v');
    assert_eq!(negotiation.len(), 1);
    let mut reader = negotiation[0].reader();
    assert_eq!((reader.u32(), reader.u32()), (3 << 16 | 2, 2));
    assert_eq!((reader.string(), reader.string()), ("_pq_.test_protocol_negotiation".into(), "_pq_.other".into()));
    assert_eq!((greased[0].kind, greased.last().map(|message| message.kind)), (b'v', Some(b'Z')));

    assert_eq!(sqlstate(&start(&server, 4 << 16, &WHO)[0]), "0A000");
}

#[test]
fn unknown_settings_are_accepted_and_known_ones_reported() {
    let server = Shardd::start();
    let settings = [
        ("user", "app"),
        ("database", "tickets"),
        ("application_name", "a test"),
        ("extra_float_digits", "2"),
        ("made_up_setting", "yes"),
        ("options", "-c geqo=off --made-up=1 -c statement_timeout=1h"),
    ];
    let mut client = Client::connect_with(server.ports.postgres, &settings).expect("accepted");
    for reported in [
        "application_name",
        "client_encoding",
        "DateStyle",
        "default_transaction_read_only",
        "in_hot_standby",
        "integer_datetimes",
        "IntervalStyle",
        "is_superuser",
        "server_encoding",
        "server_version",
        "session_authorization",
        "standard_conforming_strings",
        "TimeZone",
    ] {
        assert!(client.settings.contains_key(reported), "{reported} is not reported: {:?}", client.settings);
    }
    assert_eq!(client.settings["application_name"], "a test");
    assert_eq!(client.settings["server_version"], shardd::SERVER_VERSION);
    assert_eq!(client.query("SHOW statement_timeout").value(), "1h");
    client.run("SET application_name = 'another'");
    assert_eq!(client.settings["application_name"], "another");
}

#[test]
fn a_database_that_does_not_exist_and_replication_are_refused() {
    let server = Shardd::start();
    let refused = |settings: &[(&str, &str)]| {
        let messages = start(&server, 3 << 16, settings);
        sqlstate(messages.iter().find(|message| message.kind == b'E').expect("an error"))
    };
    assert_eq!(refused(&[("user", "app"), ("database", "nope")]), "3D000");
    assert_eq!(refused(&[WHO[0], WHO[1], ("replication", "database")]), "0A000");
    assert_eq!(refused(&[("database", "tickets")]), "28000");
}

#[test]
fn the_client_over_the_limit_is_refused_and_can_still_cancel() {
    let server = Shardd::start_with("[limits]\nmax_clients = 2\n");
    let (first, mut second) = (seated(&server), seated(&server));
    let messages = start(&server, 3 << 16, &WHO);
    assert_eq!(sqlstate(&messages[0]), "53300");
    assert_eq!(second.query("SELECT 1").value(), "1");
    drop(first);
    let begin = std::time::Instant::now();
    while sqlstate_or_in(&start(&server, 3 << 16, &WHO)) != "in" {
        assert!(begin.elapsed() < PATIENCE, "a client that left keeps its seat");
    }
}

/// A client that got a seat: the one that waited for the server's start may not have left its own yet.
fn seated(server: &Shardd) -> Client {
    let begin = std::time::Instant::now();
    loop {
        match Client::connect(server.ports.postgres) {
            Ok(client) => return client,
            Err(error) => assert!(begin.elapsed() < PATIENCE, "no seat: {error}"),
        }
    }
}

fn sqlstate_or_in(messages: &[Message]) -> String {
    messages.iter().find(|message| message.kind == b'E').map_or_else(|| "in".to_owned(), sqlstate)
}

#[test]
fn a_silent_connection_is_closed_after_the_time_for_logging_in() {
    let server = Shardd::start_with("[limits]\nlogin_timeout_ms = 300\n");
    let mut stream = TcpStream::connect(("127.0.0.1", server.ports.postgres)).expect("the door listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time limit");
    stream.write_all(&[0, 0]).expect("sent");
    assert_eq!(stream.read(&mut [0; 16]).expect("closed, not silent"), 0);
}
