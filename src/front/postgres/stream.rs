//! A client's socket: TCP, a Unix socket, or TLS over TCP.
//!
//! An enum, and not a trait object: what every message passes through is one comparison beside the socket's own call.
//! TLS alone is boxed, so that its state takes no room in the tasks of those who do without.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::server::TlsStream;

use crate::tls::ALPN_POSTGRES;
use crate::wire::certificate::common_name;

/// The first byte of a TLS handshake, which no packet of Postgres begins with: as a length it would be far too long.
const TLS_HANDSHAKE: u8 = 0x16;

/// Where a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Network(SocketAddr),
    /// This machine: it came by a Unix socket.
    Socket,
}

impl Origin {
    pub(super) fn is_this_machine(self) -> bool {
        match self {
            Origin::Network(address) => address.ip().to_canonical().is_loopback(),
            Origin::Socket => true,
        }
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Origin::Network(address) => address.fmt(f),
            Origin::Socket => f.write_str("[local]"),
        }
    }
}

#[derive(Debug)]
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<TlsStream<TcpStream>>),
    /// A handshake took the socket and has not given it back: it failed, or is under way.
    Gone,
}

impl Stream {
    /// Whether something may have come, as far as the runtime was told. Under TLS that cannot be told before it is read.
    #[inline]
    pub(super) fn is_readable(&self) -> bool {
        match self {
            Stream::Tcp(stream) => stream.try_io(Interest::READABLE, || Ok(())).is_ok(),
            Stream::Unix(stream) => stream.try_io(Interest::READABLE, || Ok(())).is_ok(),
            Stream::Tls(_) | Stream::Gone => true,
        }
    }

    /// Ready when something may have come; otherwise the task is woken then.
    pub(super) fn poll_readable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Stream::Tcp(stream) => stream.poll_read_ready(context),
            Stream::Unix(stream) => stream.poll_read_ready(context),
            Stream::Tls(_) | Stream::Gone => Poll::Ready(Ok(())),
        }
    }

    /// The same socket, watched by the runtime that this runs in.
    ///
    /// # Errors
    /// The runtime cannot watch it.
    pub(super) fn moved_here(self) -> io::Result<Stream> {
        Ok(match self {
            Stream::Tcp(stream) => Stream::Tcp(TcpStream::from_std(stream.into_std()?)?),
            Stream::Unix(stream) => Stream::Unix(UnixStream::from_std(stream.into_std()?)?),
            other => other,
        })
    }
}

/// What a handshake has shown of the client.
#[derive(Debug)]
pub(super) struct Shown {
    /// It means to speak the Postgres protocol.
    pub(super) names_protocol: bool,
    /// Its certificate was verified; the common name in it, where there is exactly one.
    pub(super) certificate: Option<Option<String>>,
}

impl Stream {
    /// Sends what the socket takes at once.
    pub(super) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.try_write(bytes),
            Stream::Unix(stream) => stream.try_write(bytes),
            Stream::Tls(_) | Stream::Gone => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    pub(super) fn is_tcp(&self) -> bool {
        matches!(self, Stream::Tcp(_))
    }

    /// Whether the client begins with a TLS handshake. Waits for its first byte, and takes none.
    ///
    /// # Errors
    /// The connection broke, or the client closed it (`UnexpectedEof`).
    pub(super) async fn begins_with_tls(&self) -> io::Result<bool> {
        let Stream::Tcp(stream) = self else { return Ok(false) };
        let mut first = [0];
        match stream.peek(&mut first).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(first[0] == TLS_HANDSHAKE),
        }
    }

    /// The server's side of a TLS handshake, after which everything is encrypted. When it fails, or is dropped in its
    /// midst, the socket is closed.
    ///
    /// # Errors
    /// The client broke off, does not speak TLS, or showed a certificate that is not believed.
    pub(super) async fn start_tls(&mut self, config: Arc<ServerConfig>) -> io::Result<Shown> {
        let Stream::Tcp(socket) = std::mem::replace(self, Stream::Gone) else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        let stream = TlsAcceptor::from(config).accept(socket).await?;
        let (_, session) = stream.get_ref();
        let certificate = session.peer_certificates().and_then(|chain| chain.first()).map(|own| common_name(own));
        let shown = Shown { names_protocol: session.alpn_protocol() == Some(ALPN_POSTGRES), certificate };
        *self = Stream::Tls(Box::new(stream));
        Ok(shown)
    }
}

/// Calls the same on whatever the stream is.
macro_rules! on_each {
    ($stream:expr, $method:ident($($argument:expr),*)) => {
        match $stream.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).$method($($argument),*),
            Stream::Unix(stream) => Pin::new(stream).$method($($argument),*),
            Stream::Tls(stream) => Pin::new(stream).$method($($argument),*),
            Stream::Gone => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        on_each!(self, poll_read(context, buffer))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        on_each!(self, poll_write(context, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        on_each!(self, poll_write_vectored(context, parts))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_each!(self, poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_each!(self, poll_shutdown(context))
    }
}
