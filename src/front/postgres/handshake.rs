//! From an accepted socket to an authenticated user.
//!
//! A straight line: encryption is begun, or declined where there is none, at most one of each kind; a cancel request is
//! carried out and nothing is said; a start-up message is answered with negotiation where it needs it, and authentication.
//! Only the message that is due is accepted at each step.
//!
//! <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-START-UP>

use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use tracing::info;

use super::Gate;
use super::authentication::{Channel, authenticate, unencrypted};
use super::connection::{Connection, Ended};
use super::peers::{Seat, Stage, UserSeat};
use super::stream::{Origin, Stream};
use crate::error::{Error, Fault, Retry, SqlState};
use crate::tls::LiveTls;
use crate::wire::backend::{self, Severity};
use crate::wire::startup::{self, Startup, StartupPacket};
use crate::wire::take_startup_packet;

/// An authenticated client. AuthenticationOk is written but not sent yet.
pub(super) struct Admitted {
    pub(super) startup: Startup,
    /// Given back when the client leaves.
    pub(super) seats: (Seat, Option<UserSeat>),
    /// The session begins with `default_transaction_read_only`.
    pub(super) read_only: bool,
}

/// Everything up to AuthenticationOk.
pub(super) async fn handshake(connection: &mut Connection, origin: Origin, gate: &Gate) -> Result<Admitted, Ended> {
    let (startup, channel) = opening(connection, origin, gate).await?;
    admit(connection, startup, &channel, origin, gate).await
}

async fn admit(
    connection: &mut Connection,
    startup: Startup,
    channel: &Channel,
    origin: Origin,
    gate: &Gate,
) -> Result<Admitted, Ended> {
    if gate.settings.require_tls && matches!(channel, Channel::Plain) {
        return Err(Ended::Fatal(unencrypted("this door")));
    }
    let seat = gate.peers.seat().ok_or_else(|| Ended::Fatal(too_many_clients()))?;
    if startup.needs_negotiation() {
        let options = &startup.protocol_options;
        backend::negotiate_protocol_version(&mut connection.output, startup.version(), options);
    }
    if startup.replication {
        let error = Error::unsupported("replication", "Replicate the shards themselves.");
        return Err(Ended::Fatal(error));
    }
    let entry = authenticate(connection, &startup.user, origin, channel, gate).await?;
    backend::authentication_ok(&mut connection.output);
    Ok(Admitted { startup, seats: (seat, entry.seat), read_only: entry.read_only })
}

fn too_many_clients() -> Error {
    Error::new(SqlState::TOO_MANY_CONNECTIONS, "sorry, too many clients already")
        .hint("Close idle connections, use a smaller pool in the application, or raise the limit on clients.")
        .fault(Fault::Proxy)
        .retry(Retry::Safe)
}

/// Tells a connection that is not even read that there is no room, if its socket takes the words at once.
pub(super) fn refuse(stream: &Stream) {
    let mut output = BytesMut::new();
    backend::error_response(&mut output, Severity::Fatal, &too_many_clients());
    let _ = stream.try_write(&output);
}

/// Everything up to the start-up message.
async fn opening(connection: &mut Connection, origin: Origin, gate: &Gate) -> Result<(Startup, Channel), Ended> {
    let mut channel = if connection.stream.is_tcp() { Channel::Plain } else { Channel::Local };
    let (mut ssl_asked, mut gss_asked) = (false, false);
    // Since Postgres 17 clients may begin with TLS at once.
    if let Some(tls) = &gate.settings.tls
        && begins_with_tls(connection).await?
    {
        channel = encrypt(connection, origin, tls, Negotiated::Directly).await?;
        (ssl_asked, gss_asked) = (true, true);
    }
    loop {
        let packet = loop {
            match take_startup_packet(&mut connection.input).map_err(Ended::Fatal)? {
                Some(packet) => break packet,
                None => read(connection).await?,
            }
        };
        let (asked, tls) = match startup::decode(&packet).map_err(Ended::Fatal)? {
            StartupPacket::Startup(startup) => return Ok((startup, channel)),
            StartupPacket::Cancel(request) => {
                gate.peers.cancel(&request);
                return Err(Ended::Quietly);
            }
            StartupPacket::SslRequest => (&mut ssl_asked, gate.settings.tls.as_ref()),
            StartupPacket::GssencRequest => (&mut gss_asked, None),
        };
        if std::mem::replace(asked, true) {
            return Err(violation("encryption was asked for twice"));
        }
        // Whoever sends on before our answer means it to be read as if it had been encrypted.
        if !connection.input.is_empty() {
            return Err(violation("received unencrypted data after SSL request"));
        }
        match tls.filter(|_| connection.stream.is_tcp()) {
            None => {
                connection.output.put_u8(backend::ENCRYPTION_REFUSED);
                connection.flush().await?;
            }
            Some(tls) => {
                connection.output.put_u8(backend::ENCRYPTION_ACCEPTED);
                connection.flush().await?;
                channel = encrypt(connection, origin, tls, Negotiated::ByRequest).await?;
                gss_asked = true;
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Negotiated {
    ByRequest,
    /// The first byte was TLS already: then the client has to say that it means this protocol, since one that means
    /// another could be led here.
    Directly,
}

async fn encrypt(
    connection: &mut Connection,
    origin: Origin,
    tls: &LiveTls,
    negotiated: Negotiated,
) -> Result<Channel, Ended> {
    let tls = tls.current();
    let peer = Arc::clone(&connection.peer);
    let shown = tokio::select! {
        biased;
        () = peer.reached(Stage::Draining) => return Err(Ended::Lost(std::io::ErrorKind::ConnectionAborted.into())),
        shown = connection.stream.start_tls(Arc::clone(&tls.config)) => shown.inspect_err(|error| {
            info!(%origin, %error, "a TLS handshake failed");
        })?,
    };
    if negotiated == Negotiated::Directly && !shown.names_protocol {
        return Err(violation("received direct SSL connection request without ALPN protocol negotiation extension"));
    }
    Ok(Channel::Tls { endpoint_hash: tls.endpoint_hash.clone(), certificate: shown.certificate })
}

pub(super) fn violation(message: &'static str) -> Ended {
    Ended::Fatal(Error::new(SqlState::PROTOCOL_VIOLATION, message))
}

fn shutting_down() -> Ended {
    Ended::Fatal(Error::new(SqlState::CANNOT_CONNECT_NOW, "the database system is shutting down"))
}

pub(super) async fn read(connection: &mut Connection) -> Result<(), Ended> {
    let peer = Arc::clone(&connection.peer);
    tokio::select! {
        biased;
        () = peer.reached(Stage::Draining) => Err(shutting_down()),
        read = connection.read() => Ok(read?),
    }
}

async fn begins_with_tls(connection: &Connection) -> Result<bool, Ended> {
    tokio::select! {
        biased;
        () = connection.peer.reached(Stage::Draining) => Err(shutting_down()),
        begins = connection.stream.begins_with_tls() => Ok(begins?),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::front::postgres::peers::Registration;
    use crate::front::postgres::{Account, Credential, LiveUsers, Lookup, Settings, Users};
    use crate::metrics::{Door, Metrics};
    use crate::wire::scram::Verifier;

    const SSL: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x2f";
    const GSS: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x30";

    fn gate(users: &[(&str, &str)], client_limit: usize) -> Gate {
        let account = |password: &str| Account::with_password(Verifier::from_password(password, [5; 16]));
        let named = users.iter().map(|(user, password)| ((*user).to_owned(), account(password)));
        let settings = Settings {
            users: Arc::new(LiveUsers::new(Users { named: named.collect(), lookup: None })),
            tls: None,
            require_tls: false,
            trust_network: false,
            client_limit,
            message_limit_bytes: 1 << 20,
            startup_timeout: Duration::from_secs(5),
            statement_timeout: None,
            idle_in_transaction_timeout: None,
            shutdown_grace: Duration::ZERO,
        };
        Gate::new(settings, Arc::clone(Metrics::new().door(Door::Postgres)))
    }

    struct Peer {
        client: TcpStream,
        connection: Connection,
        origin: Origin,
        _registration: Registration,
    }

    async fn connect(gate: &Gate) -> Peer {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let client = TcpStream::connect(listener.local_addr().expect("an address")).await.expect("a connection");
        let (stream, address) = listener.accept().await.expect("a connection");
        let registration = gate.peers.register().expect("room");
        registration.wake_here().await;
        let connection = Connection::new(Stream::Tcp(stream), Arc::clone(&registration.peer));
        Peer { client, connection, origin: Origin::Network(address), _registration: registration }
    }

    fn startup(user: &str) -> Vec<u8> {
        let body = [&b"\0\x03\0\0user\0"[..], user.as_bytes(), b"\0\0"].concat();
        [&(body.len() as u32 + 4).to_be_bytes()[..], &body].concat()
    }

    /// What comes of bytes that are all sent at once: the handshake's outcome, and what the client received.
    async fn outcome(gate: &Gate, sent: &[u8]) -> (Result<Admitted, Ended>, Vec<u8>) {
        let mut peer = connect(gate).await;
        peer.client.write_all(sent).await.expect("sent");
        peer.client.shutdown().await.expect("closed");
        let result = handshake(&mut peer.connection, peer.origin, gate).await;
        peer.connection.flush().await.expect("flushed");
        drop(peer.connection);
        let mut received = Vec::new();
        let _ = peer.client.read_to_end(&mut received).await;
        (result, received)
    }

    fn sqlstate(outcome: &(Result<Admitted, Ended>, Vec<u8>)) -> &str {
        match &outcome.0 {
            Err(Ended::Fatal(error)) => error.code(),
            Err(Ended::Lost(_)) => "lost",
            Err(Ended::Quietly) => "quiet",
            Ok(_) => "admitted",
        }
    }

    #[tokio::test]
    async fn a_local_client_is_trusted_while_there_are_no_users() {
        let outcome = outcome(&gate(&[], 1), &startup("app")).await;
        assert_eq!(outcome.1, b"R\0\0\0\x08\0\0\0\0");
        assert_eq!(outcome.0.ok().map(|admitted| admitted.startup.user), Some("app".to_owned()));
    }

    #[tokio::test]
    async fn a_client_from_elsewhere_is_not() {
        let gate = gate(&[], 1);
        let mut peer = connect(&gate).await;
        let from = |address: &str| Origin::Network(address.parse().expect("an address"));
        let elsewhere = authenticate(&mut peer.connection, "app", from("192.0.2.1:5000"), &Channel::Plain, &gate).await;
        let Err(Ended::Fatal(error)) = elsewhere else { panic!("refused") };
        assert_eq!(error.sqlstate(), SqlState::INVALID_AUTHORIZATION_SPECIFICATION);
        for here in [from("[::ffff:127.0.0.1]:5000"), Origin::Socket] {
            assert!(authenticate(&mut peer.connection, "app", here, &Channel::Plain, &gate).await.is_ok());
        }
    }

    #[tokio::test]
    async fn encryption_is_declined_once_each_and_then_the_client_goes_on() {
        let gate = gate(&[], 1);
        let mut peer = connect(&gate).await;
        let client = async {
            for request in [GSS, SSL] {
                peer.client.write_all(request).await.expect("sent");
                assert_eq!(peer.client.read_u8().await.expect("an answer"), b'N');
            }
            peer.client.write_all(&startup("app")).await.expect("sent");
        };
        let (result, ()) = tokio::join!(handshake(&mut peer.connection, peer.origin, &gate), client);
        assert!(result.is_ok());
    }

    #[tokio::test]
    async fn a_second_request_for_encryption_and_bytes_stuffed_behind_one_are_violations() {
        let gate = gate(&[], 1);
        for request in [SSL, GSS] {
            for stuffed in [&startup("app")[..], request, b"\0"] {
                let outcome = outcome(&gate, &[request, stuffed].concat()).await;
                assert_eq!((sqlstate(&outcome), outcome.1.as_slice()), ("08P01", &b""[..]));
            }
            let mut peer = connect(&gate).await;
            let client = async {
                peer.client.write_all(request).await.expect("sent");
                assert_eq!(peer.client.read_u8().await.expect("an answer"), b'N');
                peer.client.write_all(request).await.expect("sent");
            };
            let (result, ()) = tokio::join!(handshake(&mut peer.connection, peer.origin, &gate), client);
            assert_eq!(sqlstate(&(result, Vec::new())), "08P01");
        }
    }

    #[tokio::test]
    async fn negotiation_is_sent_once_and_before_authentication() {
        let body = b"\0\x03\x27\x0fuser\0app\0_pq_.test_protocol_negotiation\0\0\0";
        let packet = [&(body.len() as u32 + 4).to_be_bytes()[..], body].concat();
        let (result, received) = outcome(&gate(&[], 1), &packet).await;
        assert_eq!(result.ok().map(|admitted| admitted.startup.version()), Some(startup::Version::V3_2));
        let expected = b"v\0\0\0\x2b\0\x03\0\x02\0\0\0\x01_pq_.test_protocol_negotiation\0R\0\0\0\x08\0\0\0\0";
        assert_eq!(received, expected);
    }

    #[tokio::test]
    async fn the_client_over_the_limit_is_told_so_and_its_seat_comes_back() {
        let gate = gate(&[], 1);
        let first = outcome(&gate, &startup("app")).await;
        assert_eq!(sqlstate(&outcome(&gate, &startup("app")).await), "53300");
        drop(first);
        assert_eq!(sqlstate(&outcome(&gate, &startup("app")).await), "admitted");
    }

    #[tokio::test]
    async fn replication_is_refused() {
        let body = b"\0\x03\0\0user\0app\0replication\0true\0\0";
        let packet = [&(body.len() as u32 + 4).to_be_bytes()[..], body].concat();
        assert_eq!(sqlstate(&outcome(&gate(&[], 1), &packet).await), "0A000");
    }

    #[tokio::test]
    async fn every_message_but_a_password_ends_an_unauthenticated_connection() {
        let gate = gate(&[("app", "secret")], 10);
        for kind in (0..=255u8).filter(|kind| *kind != b'p') {
            for length in [4u32, 8, 1 << 30] {
                let message = [&[kind][..], &length.to_be_bytes(), &[0; 4]].concat();
                let outcome = outcome(&gate, &[&startup("app")[..], &message].concat()).await;
                assert_eq!(sqlstate(&outcome), "08P01", "{kind} {length}");
                assert!(!outcome.1.windows(9).any(|window| window == b"R\0\0\0\x08\0\0\0\0"), "{kind}");
            }
        }
        // A second start-up message, which would change the user.
        let twice = [startup("app"), startup("admin")].concat();
        assert_eq!(sqlstate(&outcome(&gate, &twice).await), "08P01");
        // A password message before anybody asked for one.
        assert_eq!(sqlstate(&outcome(&gate, b"p\0\0\0\x08abcd").await), "08P01");
    }

    #[tokio::test]
    async fn password_messages_of_other_kinds_end_the_connection() {
        let gate = gate(&[("app", "secret")], 10);
        let bodies: [&[u8]; 5] = [
            b"secret\0",
            b"",
            b"PLAIN\0\0\0\0\x01x",
            b"SCRAM-SHA-256-PLUS\0\0\0\0\x04p=x,",
            b"SCRAM-SHA-256\0\x7f\xff\xff\xff",
        ];
        for body in bodies {
            let message = [&b"p"[..], &(body.len() as u32 + 4).to_be_bytes(), body].concat();
            let outcome = outcome(&gate, &[&startup("app")[..], &message].concat()).await;
            assert_eq!(sqlstate(&outcome), "08P01", "{body:?}");
        }
    }

    async fn message(client: &mut TcpStream) -> (u8, Vec<u8>) {
        let kind = client.read_u8().await.expect("a message");
        let length = client.read_u32().await.expect("a length") as usize;
        let mut body = vec![0; length - 4];
        client.read_exact(&mut body).await.expect("a body");
        (kind, body)
    }

    /// A login as a driver does it. Gives the salt and count that the client saw, too.
    async fn log_in(gate: &Gate, user: &str, password: &str) -> (String, String) {
        let mut peer = connect(gate).await;
        let client = async {
            let client = &mut peer.client;
            client.write_all(&startup(user)).await.expect("sent");
            assert_eq!(message(client).await, (b'R', b"\0\0\0\x0aSCRAM-SHA-256\0\0".to_vec()));
            let mut scram = ScramSha256::new(password.as_bytes(), ChannelBinding::unsupported());
            let first = scram.message();
            let body = [&b"SCRAM-SHA-256\0"[..], &(first.len() as u32).to_be_bytes(), first].concat();
            client.write_all(&[&b"p"[..], &(body.len() as u32 + 4).to_be_bytes(), &body].concat()).await.expect("sent");
            let (_, server_first) = message(client).await;
            scram.update(&server_first[4..]).expect("valid");
            let last = scram.message();
            client.write_all(&[&b"p"[..], &(last.len() as u32 + 4).to_be_bytes(), last].concat()).await.expect("sent");
            let text = String::from_utf8(server_first[4..].to_vec()).expect("text");
            text.split_once(",").expect("a nonce").1.to_owned()
        };
        let (result, salt) = tokio::join!(handshake(&mut peer.connection, peer.origin, gate), client);
        (sqlstate(&(result, Vec::new())).to_owned(), salt)
    }

    #[tokio::test]
    async fn a_password_lets_its_user_in_and_nobody_learns_who_exists() {
        let gate = gate(&[("app", "secret")], 10);
        assert_eq!(log_in(&gate, "app", "secret").await.0, "admitted");
        assert_eq!(log_in(&gate, "app", "wrong").await.0, "28P01");
        let (first, again) = (log_in(&gate, "ghost", "secret").await, log_in(&gate, "ghost", "x").await);
        assert_eq!((first.0.as_str(), &first.1), ("28P01", &again.1));
        assert_eq!(first.1.len(), log_in(&gate, "app", "wrong").await.1.len());
    }

    #[tokio::test]
    async fn a_user_who_is_not_named_is_looked_up_and_nobody_learns_whether_it_exists() {
        let gate = gate(&[], 10);
        let lookup = Some(Lookup::new(|user| {
            Box::pin(async move {
                match user {
                    "stored" => Ok(Some(Credential::Password(Verifier::from_password("secret", [6; 16])))),
                    "broken" => Err(Error::new(SqlState::CONNECTION_FAILURE, "the shard does not answer")),
                    _ => Ok(None),
                }
            })
        }));
        gate.settings.users.replace(Users { lookup, ..Users::default() });
        assert_eq!(log_in(&gate, "stored", "secret").await.0, "admitted");
        assert_eq!(log_in(&gate, "stored", "wrong").await.0, "28P01");
        let (first, again) = (log_in(&gate, "ghost", "secret").await, log_in(&gate, "ghost", "x").await);
        assert_eq!((first.0.as_str(), &first.1), ("28P01", &again.1));
        assert_eq!(sqlstate(&outcome(&gate, &startup("broken")).await), "08006");
    }

    #[tokio::test]
    async fn a_silent_connection_is_sent_away_by_a_shutdown() {
        let gate = gate(&[], 1);
        let mut peer = connect(&gate).await;
        gate.peers.advance(Stage::Draining);
        let result = handshake(&mut peer.connection, peer.origin, &gate).await;
        assert_eq!(sqlstate(&(result, Vec::new())), "57P03");
    }

    #[tokio::test]
    async fn a_cancel_request_is_answered_with_nothing() {
        let outcome = outcome(&gate(&[], 1), b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\x01abcd").await;
        assert_eq!((sqlstate(&outcome), outcome.1.as_slice()), ("quiet", &b""[..]));
    }
}
