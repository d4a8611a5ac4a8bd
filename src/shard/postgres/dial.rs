//! Opens a connection's bytes: names, sockets, and the encryption that the target asks for.
//!
//! <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-SSL>

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::time::{Instant, timeout_at};

use super::failure::{misconfigured, unreachable};
use super::stream::{Stream, set_options};
use super::target::{Host, SslMode, Target};
use super::tls;
use crate::error::{Error, Result};

/// Its length, and 1234 << 16 | 5679.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// Whether a connection is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encryption {
    Plain,
    Tls,
}

impl Encryption {
    /// What to try, in turn. libpq's `prefer` goes on without TLS also where the server refuses a login over it.
    pub(super) fn attempts(target: &Target) -> &'static [Encryption] {
        match (&target.host, target.tls.mode) {
            // As libpq: there is no TLS over a Unix socket.
            (Host::Unix(_), _) | (_, SslMode::Disable) => &[Encryption::Plain],
            (_, SslMode::Prefer) => &[Encryption::Tls, Encryption::Plain],
            _ => &[Encryption::Tls],
        }
    }
}

/// Why there is no connection.
#[derive(Debug)]
pub(super) enum DialError {
    /// There is none of any kind.
    Unreachable(Error),
    /// There would be one without TLS.
    Tls(Error),
}

impl From<DialError> for Error {
    fn from(error: DialError) -> Error {
        match error {
            DialError::Unreachable(error) | DialError::Tls(error) => error,
        }
    }
}

/// # Errors
/// There is no connection before the deadline, or not the encryption that is demanded.
pub(super) async fn dial(target: &Target, encryption: Encryption, deadline: Instant) -> Result<Stream, DialError> {
    let stream = connect(target, deadline).await.map_err(DialError::Unreachable)?;
    match (stream, encryption) {
        (Stream::Tcp(stream), Encryption::Tls) => {
            let encrypted = timeout_at(deadline, encrypt(target, stream)).await;
            encrypted.unwrap_or_else(|_| Err(timed_out(target, "negotiating TLS"))).map_err(DialError::Tls)
        }
        (stream, _) => Ok(stream),
    }
}

async fn connect(target: &Target, deadline: Instant) -> Result<Stream> {
    match &target.host {
        Host::Tcp(host) => connect_tcp(target, host, deadline).await.map(Stream::Tcp),
        Host::Unix(directory) => {
            let path = target.socket_path(directory);
            match timeout_at(deadline, UnixStream::connect(path)).await {
                Ok(Ok(stream)) => Ok(Stream::Unix(stream)),
                Ok(Err(error)) => Err(unreachable(target, error).hint("Check that the server runs and listens on it.")),
                Err(_) => Err(timed_out(target, "connecting")),
            }
        }
    }
}

pub(super) fn timed_out(target: &Target, doing: &str) -> Error {
    unreachable(target, format_args!("timed out while {doing}"))
        .hint("Check the shard's address and the firewalls between, or raise connect_timeout in its URL.")
}

async fn connect_tcp(target: &Target, host: &str, deadline: Instant) -> Result<TcpStream> {
    let addresses = match timeout_at(deadline, lookup_host((host, target.port))).await {
        Ok(Ok(addresses)) => addresses.collect::<Vec<_>>(),
        Ok(Err(error)) => return Err(unreachable(target, error).hint("Check the host's name in the shard's URL.")),
        Err(_) => return Err(timed_out(target, "resolving its name")),
    };
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "its name has no address");
    for (at, address) in addresses.iter().enumerate() {
        // One address that does not answer leaves the others their share of the time.
        let share = deadline.saturating_duration_since(Instant::now()) / (addresses.len() - at) as u32;
        match timeout_at(Instant::now() + share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                set_options(&stream).map_err(|error| unreachable(target, error))?;
                return Ok(stream);
            }
            Ok(Err(error)) => failure = error,
            Err(_) => failure = io::Error::new(io::ErrorKind::TimedOut, "connection timed out"),
        }
    }
    Err(unreachable(target, failure).hint("Check that the server runs, and the host and port in the shard's URL."))
}

async fn encrypt(target: &Target, mut stream: TcpStream) -> Result<Stream> {
    let failed = |error: io::Error| unreachable(target, error);
    stream.write_all(&SSL_REQUEST).await.map_err(failed)?;
    // One byte and no more: what follows it before the handshake was not sent by whom we are about to verify.
    match stream.read_u8().await.map_err(failed)? {
        b'S' => tls::handshake(target, stream).await,
        b'N' if target.tls.mode == SslMode::Prefer => Ok(Stream::Tcp(stream)),
        b'N' => Err(misconfigured(target, "the server does not support TLS")
            .hint("Set ssl = on on the server, or a weaker sslmode in the shard's URL.")),
        _ => Err(unreachable(target, "the answer to the request for TLS is not Postgres's")
            .hint("Check that the shard's URL leads to a Postgres server.")),
    }
}
