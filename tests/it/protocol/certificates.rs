//! Client certificates, SCRAM bound to the channel, and how many connections a user may have.

use std::io::Write;
use std::time::Instant;

use super::encryption::{Secured, startup};
use super::sqlstate;
use crate::support::frames::{Message, Writer};
use crate::support::tls::{Authority, Begin, Identity, encrypted};
use crate::support::{PATIENCE, Postgres};

const ENCRYPTED: &str = "host=localhost hostaddr=127.0.0.1 sslmode=require";

fn showing(identity: &Identity) -> String {
    format!("{ENCRYPTED} sslcert={} sslkey={}", identity.certificate.display(), identity.key.display())
}

/// A server whose users show a certificate: `robot` instead of a password, `alias` one of another name, `both` beside it.
fn with_certificates() -> Secured {
    let verifier = postgres_protocol::password::scram_sha_256(b"secret");
    Secured::start(
        "",
        &format!(
            "[[users]]\nname = 'robot'\nauthentication = 'certificate'\n\
             [[users]]\nname = 'alias'\nauthentication = 'certificate'\ncertificate_name = 'robot.internal'\n\
             [[users]]\nname = 'both'\nauthentication = 'both'\nverifier = '{verifier}'\n"
        ),
    )
}

#[test]
fn a_certificate_lets_in_the_user_that_it_names() {
    let secured = with_certificates();
    let [robot, alias, both] = ["robot", "robot.internal", "both"].map(|name| showing(&secured.authority.client(name)));
    for options in [
        format!("{robot} user=robot"),
        format!("{alias} user=alias"),
        format!("{both} user=both password=secret"),
        // A certificate is not looked at where a password is asked for.
        format!("{robot} user=app password=secret"),
    ] {
        assert_eq!(secured.psql(&options), Ok("in".to_owned()), "{options}");
    }
    for (options, complaint) in [
        (format!("{ENCRYPTED} user=robot"), "connection requires a valid client certificate"),
        (format!("{ENCRYPTED} user=robot password=secret"), "connection requires a valid client certificate"),
        ("host=127.0.0.1 sslmode=disable user=robot".to_owned(), "connection requires a valid client certificate"),
        (format!("{robot} user=alias"), "certificate authentication failed for user \"alias\""),
        (format!("{alias} user=robot"), "certificate authentication failed for user \"robot\""),
        (format!("{robot} user=both password=secret"), "certificate authentication failed for user \"both\""),
        (format!("{ENCRYPTED} user=both password=secret"), "connection requires a valid client certificate"),
        (format!("{both} user=both password=wrong"), "password authentication failed"),
        (format!("{ENCRYPTED} user=both password=wrong"), "password authentication failed"),
        (format!("{robot} user=ghost password=secret"), "password authentication failed"),
    ] {
        let refused = secured.psql(&options).expect_err("it should be refused");
        assert!(refused.contains(complaint), "{options}\n{refused}");
    }
}

#[test]
fn a_certificate_of_another_authority_ends_the_handshake() {
    let secured = with_certificates();
    let stranger = Authority::new();
    let forged = stranger.client("robot");
    // With TLS 1.3 a client learns it when it reads.
    let config = secured.authority.client_config(Some(&forged));
    let refused = encrypted(secured.port(), config, Begin::Asking).and_then(|mut stream| {
        stream.write_all(&startup("robot"))?;
        Message::read(&mut stream)
    });
    let refused = refused.expect_err("an alert").to_string();
    assert!(refused.contains("UnknownCA") || refused.contains("reset"), "{refused}");
    // The client may know it before the server has written it down.
    let begin = std::time::Instant::now();
    while !secured.server.log().contains("a TLS handshake failed") {
        assert!(begin.elapsed() < crate::support::PATIENCE, "{}", secured.server.log());
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

#[test]
fn a_user_who_shows_certificates_is_not_let_in_where_none_can_be_shown() {
    use base64::Engine as _;
    let secured = with_certificates();
    let answer = |user: &str| {
        let login = base64::engine::general_purpose::STANDARD.encode(format!("{user}:secret"));
        let header = format!("Basic {login}");
        let headers = [("authorization", header.as_str())];
        secured.server.http(&crate::support::shardd::Request::new("GET", "/v1/kv/none", &headers, b"")).status
    };
    assert_eq!(answer("app"), 404);
    assert_eq!((answer("robot"), answer("both")), (401, 401));
    let anonymous = secured.server.http(&crate::support::shardd::Request::get("/v1/kv/none"));
    assert_eq!(anonymous.status, 401);
}

/// The answer to a first SASL message, over TLS.
fn first_answer(authority: &Authority, port: u16, mechanism: &str, client_first: &str) -> Message {
    let mut stream = encrypted(port, authority.client_config(None), Begin::Asking).expect("encrypted");
    stream.write_all(&startup("app")).expect("sent");
    assert_eq!(Message::read(&mut stream).expect("a question").kind, b'R');
    let mut writer = Writer::default();
    writer.message(b'p', |body| {
        body.extend(mechanism.as_bytes());
        body.push(0);
        body.extend(u32::try_from(client_first.len()).expect("short").to_be_bytes());
        body.extend(client_first.as_bytes());
    });
    stream.write_all(&writer.bytes).expect("sent");
    Message::read(&mut stream).expect("an answer")
}

#[test]
fn a_client_that_was_made_to_believe_that_binding_is_not_offered_is_refused() {
    let secured = Secured::start("", "");
    let postgres = Postgres::start_secured(&secured.authority);
    let ports = [postgres.port, secured.port()];
    let on_both = |mechanism: &str, client_first: &str| {
        ports.map(|port| first_answer(&secured.authority, port, mechanism, client_first))
    };
    for (mechanism, flag) in [("SCRAM-SHA-256", "n"), ("SCRAM-SHA-256-PLUS", "p=tls-server-end-point")] {
        let answers = on_both(mechanism, &format!("{flag},,n=,r=abcdef"));
        assert!(answers.iter().all(|answer| answer.kind == b'R'), "{answers:?}");
    }
    for (mechanism, client_first, expected) in [
        ("SCRAM-SHA-256", "y,,n=,r=abcdef", "28000"),
        ("SCRAM-SHA-256", "p=tls-server-end-point,,n=,r=abcdef", "08P01"),
        ("SCRAM-SHA-256-PLUS", "n,,n=,r=abcdef", "08P01"),
        ("SCRAM-SHA-256-PLUS", "y,,n=,r=abcdef", "08P01"),
        ("SCRAM-SHA-256-PLUS", "p=tls-unique,,n=,r=abcdef", "08P01"),
        ("PLAIN", "n,,n=,r=abcdef", "08P01"),
    ] {
        let answers = on_both(mechanism, client_first).map(|answer| sqlstate(&answer));
        assert_eq!(answers, [expected; 2], "{mechanism} {client_first}");
    }
}

#[test]
fn a_user_has_as_many_connections_as_it_may_and_gets_them_back() {
    let user = "max_clients = 2\n[[users]]\nname = 'other'\nauthentication = 'certificate'\n";
    let secured = Secured::start("", user);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let url = format!("host=127.0.0.1 port={} user=app password=secret dbname=tickets", secured.port());
    runtime.block_on(async {
        let connect = || async {
            let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await?;
            Ok::<_, tokio_postgres::Error>((client, tokio::spawn(connection)))
        };
        let (first, second) = (connect().await.expect("the first"), connect().await.expect("the second"));
        let Err(refused) = connect().await else { panic!("one too many is let in") };
        let error = refused.as_db_error().expect("an answer");
        assert_eq!((error.code().code(), error.message()), ("53300", "too many connections for role \"app\""));
        assert!(error.hint().is_some_and(|hint| hint.contains("max_clients")));
        drop(first);
        let begin = Instant::now();
        while connect().await.is_err() {
            assert!(begin.elapsed() < PATIENCE, "a connection that ended is still counted");
        }
        second.0.simple_query("SELECT 1").await.expect("it goes on");
    });
    let other = showing(&secured.authority.client("other"));
    assert_eq!(secured.psql(&format!("{other} user=other")), Ok("in".to_owned()));
}
