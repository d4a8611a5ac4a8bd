//! Logins that work, and servers that must not be believed.

use postgres_protocol::authentication::md5_hash;

use super::fake::{Fake, Peer};
use super::*;
use crate::error::SqlState;
use crate::wire::{backend as encode, frontend, scram};

async fn connect(port: u16, options: &str) -> Result<Backend, Error> {
    let connected = Backend::connect(&target(port, options), PATIENCE).await;
    if let Err(error) = &connected {
        assert_without_secret(error);
    }
    connected
}

async fn refuse(peer: &mut Peer, sqlstate: SqlState) {
    let error = Error::new(sqlstate, "password authentication failed for user \"app\"");
    peer.write(|out| encode::error_response(out, encode::Severity::Fatal, &error)).await;
}

/// A server that lets in whoever knows `password` by SCRAM, and proves it if `honest`.
async fn scram_server(password: &'static str, honest: bool) -> Fake {
    Fake::start(move |mut peer, number| async move {
        let _ = scram_login(&mut peer, password, honest, number).await;
    })
    .await
}

async fn scram_login(peer: &mut Peer, password: &str, honest: bool, number: usize) -> Option<()> {
    peer.packet().await?;
    peer.write(|out| encode::authentication_sasl(out, &[scram::MECHANISM])).await?;
    let (_, body) = peer.message().await?;
    let (mechanism, first) = frontend::sasl_initial_response(&body).expect("well-formed");
    assert_eq!(mechanism, scram::MECHANISM);
    let verifier = scram::Verifier::from_password(password, [7; 16]);
    let (server_first, exchange) =
        scram::begin(scram::MECHANISM, first, verifier, &[9; scram::NONCE_BYTES], scram::Channel::Unbound)
            .expect("well-formed");
    peer.write(|out| encode::authentication_sasl_continue(out, &server_first)).await?;
    let (_, client_final) = peer.message().await?;
    match exchange.finish(&client_final) {
        Ok(_) if !honest => {
            let forged = "v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
            peer.write(|out| encode::authentication_sasl_final(out, forged)).await?;
        }
        Ok(signature) => peer.write(|out| encode::authentication_sasl_final(out, &signature)).await?,
        Err(_) => {
            refuse(peer, SqlState::INVALID_PASSWORD).await;
            return None;
        }
    }
    peer.welcome(number).await?;
    peer.until_closed().await;
    Some(())
}

#[tokio::test]
async fn scram_lets_in_who_knows_the_password() {
    let server = scram_server(CANARY, true).await;
    assert!(connect(server.port, "").await.is_ok());
    assert!(connect(server.port, "require_auth=scram-sha-256").await.is_ok());
}

#[tokio::test]
async fn a_wrong_password_is_told_in_the_server_s_words_with_a_hint() {
    let server = scram_server("another", true).await;
    let error = connect(server.port, "").await.expect_err("refused");
    assert_eq!(error.sqlstate(), SqlState::INVALID_PASSWORD);
    assert_eq!(error.message(), "password authentication failed for user \"app\"");
    assert!(error.get_hint().expect("a hint").contains("password_file"));
}

#[tokio::test]
async fn a_server_that_cannot_prove_itself_is_refused() {
    let server = scram_server(CANARY, false).await;
    let error = connect(server.port, "").await.expect_err("refused");
    assert!(error.message().contains("did not prove"), "{error}");
}

#[tokio::test]
async fn a_login_that_is_cut_short_before_the_proof_is_refused() {
    let server = Fake::start(|mut peer, _| async move {
        peer.packet().await;
        peer.write(|out| encode::authentication_sasl(out, &[scram::MECHANISM])).await;
        peer.message().await;
        peer.welcome(0).await;
        peer.until_closed().await;
    })
    .await;
    let error = connect(server.port, "").await.expect_err("refused");
    assert_eq!(error.sqlstate(), SqlState::PROTOCOL_VIOLATION);
}

#[tokio::test]
async fn md5_is_answered_with_the_salted_hash() {
    let server = Fake::start(|mut peer, number| async move {
        peer.packet().await;
        peer.send(b"R\0\0\0\x0c\0\0\0\x05salt").await;
        let Some((kind, body)) = peer.message().await else { return };
        let expected = format!("{}\0", md5_hash(b"app", CANARY.as_bytes(), *b"salt"));
        assert_eq!((kind, &body[..]), (b'p', expected.as_bytes()));
        peer.welcome(number).await;
        peer.until_closed().await;
    })
    .await;
    assert!(connect(server.port, "").await.is_ok());
    let error = connect(server.port, "require_auth=scram-sha-256").await.expect_err("refused");
    assert!(error.message().contains("\"md5\", which require_auth does not allow"), "{error}");
}

#[tokio::test]
async fn a_password_goes_in_the_clear_only_where_that_was_asked_for() {
    let server = Fake::start(|mut peer, number| async move {
        peer.packet().await;
        peer.send(b"R\0\0\0\x08\0\0\0\x03").await;
        let Some((_, body)) = peer.message().await else { return };
        assert_eq!(&body[..], b"canary\0");
        peer.welcome(number).await;
        peer.until_closed().await;
    })
    .await;
    let error = connect(server.port, "").await.expect_err("refused");
    assert!(error.message().contains("in the clear"), "{error}");
    assert!(connect(server.port, "require_auth=password").await.is_ok());
}

#[tokio::test]
async fn a_server_that_asks_for_nothing_is_refused_where_a_login_is_demanded() {
    let server = Fake::friendly().await;
    assert!(connect(server.port, "").await.is_ok());
    let error = connect(server.port, "require_auth=scram-sha-256,md5").await.expect_err("refused");
    assert!(error.message().contains("\"none\""), "{error}");
}

#[tokio::test]
async fn an_unknown_method_is_named() {
    let server = Fake::start(|mut peer, _| async move {
        peer.packet().await;
        peer.send(b"R\0\0\0\x08\0\0\0\x07").await;
        peer.until_closed().await;
    })
    .await;
    let error = connect(server.port, "").await.expect_err("refused");
    assert!(error.message().contains("GSSAPI") && error.get_hint().is_some(), "{error}");
}

#[tokio::test]
async fn what_a_hostile_server_sends_at_the_start_is_an_error_and_takes_no_memory() {
    let claims = [&b"R\xff\xff\xff\xff"[..], b"R\0\0\0\0", b"R\x7f\xff\xff\xff", b"E\x40\0\0\0", b"D\x40\0\0\0\0"];
    let others = [
        &b"R\0\0\0\x04"[..],
        b"R\0\0\0\x06\0\0",
        b"R\0\0\0\x08\0\0\0\x0b",
        b"R\0\0\0\x0a\0\0\0\x05ab",
        b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05T",
        b"R\0\0\0\x08\0\0\0\0R\0\0\0\x08\0\0\0\0",
        b"R\0\0\0\x08\0\0\0\0K\0\0\0\x05x",
        b"Z\0\0\0\x05I",
        b"S\0\0\0\x08abc\0",
        b"v\0\0\0\x0c\0\x03\0\0\0\0\0\0",
        b"HTTP/1.1 400 Bad Request\r\n",
        b"",
    ];
    for bytes in claims.into_iter().chain(others) {
        let server = Fake::start(move |mut peer, _| async move {
            peer.packet().await;
            peer.send(bytes).await;
        })
        .await;
        let error = connect(server.port, "").await.expect_err("refused");
        let sqlstate = error.sqlstate();
        let known = [SqlState::PROTOCOL_VIOLATION, SqlState::CONNECTION_FAILURE];
        assert!(known.contains(&sqlstate), "{bytes:?}: {error}");
    }
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up() {
    let server = Fake::start(|mut peer, _| async move {
        peer.until_closed().await;
    })
    .await;
    let error = Backend::connect(&target(server.port, ""), Duration::from_millis(50)).await.expect_err("late");
    assert_eq!(error.sqlstate(), SqlState::CONNECTION_FAILURE);
    assert!(error.message().contains("timed out while logging in"), "{error}");
}

#[tokio::test]
async fn encryption_that_is_demanded_and_refused_is_an_error() {
    let server = Fake::start(|mut peer, number| async move {
        let asked = peer.packet().await;
        assert_eq!(asked.as_deref(), Some(&b"\x04\xd2\x16\x2f"[..]));
        peer.send(b"N").await;
        if peer.let_in(number).await.is_some() {
            peer.until_closed().await;
        }
    })
    .await;
    let url = |mode| format!("postgres://app:{CANARY}@127.0.0.1:{}/x?sslmode={mode}", server.port);
    let connect = async |mode| Backend::connect(&Arc::new(Target::parse(&url(mode)).unwrap()), PATIENCE).await;
    let error = connect("require").await.expect_err("refused");
    assert!(error.message().contains("does not support TLS"), "{error}");
    assert!(!connect("prefer").await.expect("without").is_encrypted());
}

#[tokio::test]
async fn a_preferred_encryption_that_fails_is_done_without() {
    let server = Fake::start(|mut peer, number| async move {
        let first = peer.packet().await.unwrap_or_default();
        if first.len() == 4 {
            peer.send(b"Sno handshake at all").await;
        } else {
            peer.welcome(number).await;
            peer.until_closed().await;
        }
    })
    .await;
    let url = |mode| format!("postgres://app:{CANARY}@127.0.0.1:{}/x?sslmode={mode}", server.port);
    let connect = async |mode| Backend::connect(&Arc::new(Target::parse(&url(mode)).unwrap()), PATIENCE).await;
    assert!(!connect("prefer").await.expect("without").is_encrypted());
    let error = connect("require").await.expect_err("refused");
    assert!(error.message().contains("TLS failed"), "{error}");
}
