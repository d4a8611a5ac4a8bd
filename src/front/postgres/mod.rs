//! The Postgres door: what a driver that was given a `DATABASE_URL` talks to.
//!
//! A task per client: the `handshake` authenticates it, then `client` turns its messages into calls on an
//! [`engine::Session`](crate::engine::Session) and the answers into frames; what goes straight to one shard is sent on as it
//! lies (`pass_through`). Rows arrive from the shards as frames and
//! leave as such. The door owns what belongs to a connection (portals, time limits, cancel keys); everything that
//! belongs to SQL is the session's.
//!
//! <https://www.postgresql.org/docs/current/protocol-flow.html>

mod ahead;
mod alarm;
mod authentication;
mod client;
mod connection;
mod copying;
mod events;
mod extended;
mod handshake;
mod in_place;
mod pass_through;
mod peers;
mod portals;
mod simple;
mod socket;
mod spare;
mod stream;
mod users;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, UnixStream};
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tracing::{debug, info, warn};

use crate::engine::Engine;
use crate::metrics::{Door, DoorMetrics};
use crate::tls::LiveTls;
use peers::{Peers, Stage};
use socket::Socket;
use stream::{Origin, Stream};
pub use users::{Account, Credential, Found, LiveUsers, Lookup, Users};

/// How long the door waits before it accepts again when the process has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// What clients have to react to their statements being cancelled, once the grace is over.
const LAST_GRACE: Duration = Duration::from_secs(2);
/// A client whose machine vanished is noticed after this, even while its session is idle.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// What the configuration decides about this door.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Who may log in. While there is nobody, everyone on this machine is trusted and nobody else is let in.
    pub users: Arc<LiveUsers>,
    /// What connections are encrypted with; without it they are not.
    pub tls: Option<Arc<LiveTls>>,
    /// Only encrypted connections are let in, and those by the Unix socket.
    pub require_tls: bool,
    /// While there are no users, trust other machines too: the network itself keeps strangers out.
    pub trust_network: bool,
    /// Clients beyond this many are refused with 53300.
    pub client_limit: usize,
    /// The longest message of an authenticated client.
    pub message_limit_bytes: usize,
    /// From the connection to the end of authentication.
    pub startup_timeout: Duration,
    /// What a client gets that does not set `statement_timeout` itself.
    pub statement_timeout: Option<Duration>,
    /// What a client gets that does not set `idle_in_transaction_session_timeout` itself.
    pub idle_in_transaction_timeout: Option<Duration>,
    /// How long open transactions may go on after a shutdown began.
    pub shutdown_grace: Duration,
}

impl Settings {
    /// The settings that a session has unless its client sets others, and that RESET goes back to.
    fn session_defaults(&self, read_only: bool) -> Vec<(String, String)> {
        let timeouts = [
            ("statement_timeout", self.statement_timeout),
            ("idle_in_transaction_session_timeout", self.idle_in_transaction_timeout),
        ];
        let given = timeouts.into_iter().filter_map(|(name, limit)| Some((name, limit?)));
        let given = given.map(|(name, limit)| (name.to_owned(), limit.as_millis().to_string()));
        let read_only = read_only.then(|| ("default_transaction_read_only".to_owned(), "on".to_owned()));
        given.chain(read_only).collect()
    }
}

/// A bound door, which answers nobody yet.
#[derive(Debug)]
pub struct PostgresDoor {
    listener: Listener,
    /// Where sessions keep the connections to shards that they use.
    session_listener: Option<Listener>,
}

#[derive(Debug)]
struct Listener {
    tcp: TcpListener,
    address: SocketAddr,
    socket: Option<Socket>,
}

/// How long a client keeps a connection to a shard: by the listener that it came by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pooling {
    /// A transaction.
    Transaction,
    /// Its whole session.
    Session,
}

impl Pooling {
    /// As metrics and the engine call the door.
    const fn door(self) -> Door {
        match self {
            Pooling::Transaction => Door::Postgres,
            Pooling::Session => Door::PostgresSession,
        }
    }
}

/// What is said of clients that keep connections to shards.
#[derive(Clone, Debug)]
pub struct Sessions {
    pub metrics: Arc<DoorMetrics>,
    /// How long they may send nothing between their transactions; `None`: no limit.
    pub idle_timeout: Option<Duration>,
}

/// What all clients of the door share.
struct Shared {
    engine: Arc<Engine>,
    gate: Gate,
    sessions: Sessions,
}

impl Shared {
    fn metrics(&self, pooling: Pooling) -> &Arc<DoorMetrics> {
        match pooling {
            Pooling::Transaction => &self.gate.metrics,
            Pooling::Session => &self.sessions.metrics,
        }
    }
}

/// An accepted client, of whom nothing is known yet.
struct Arrival {
    stream: Stream,
    origin: Origin,
    pooling: Pooling,
}

/// What decides who comes in, and who has to go.
struct Gate {
    settings: Settings,
    metrics: Arc<DoorMetrics>,
    peers: Peers,
}

impl Gate {
    fn new(settings: Settings, metrics: Arc<DoorMetrics>) -> Gate {
        Gate { peers: Peers::new(settings.client_limit), metrics, settings }
    }
}

impl PostgresDoor {
    /// Takes the address, so that a busy port is known before anything is started.
    ///
    /// # Errors
    /// The address is in use, or not this machine's.
    pub async fn bind(address: SocketAddr) -> io::Result<PostgresDoor> {
        Ok(PostgresDoor { listener: Listener::bind(address).await?, session_listener: None })
    }

    /// Listens on another address for clients whose sessions keep the connections to shards that they use.
    ///
    /// # Errors
    /// As [`PostgresDoor::bind`].
    pub async fn bind_for_sessions(&mut self, address: SocketAddr) -> io::Result<()> {
        self.session_listener = Some(Listener::bind(address).await?);
        Ok(())
    }

    /// Listens on Unix sockets in `directory`, too: one for each address. Gives their paths.
    ///
    /// # Errors
    /// Somebody listens there, or no socket can be made there; with the path.
    pub fn listen_in(&mut self, directory: &Path) -> Result<Vec<PathBuf>, (PathBuf, io::Error)> {
        let listeners = std::iter::once(&mut self.listener).chain(&mut self.session_listener);
        listeners.map(|listener| listener.listen_in(directory)).collect()
    }

    /// The address that clients connect to: the real port where 0 was asked for.
    pub fn local_addr(&self) -> SocketAddr {
        self.listener.address
    }

    /// The same for sessions that keep their connections.
    pub fn session_addr(&self) -> Option<SocketAddr> {
        self.session_listener.as_ref().map(|listener| listener.address)
    }

    /// Serves clients until `shutdown` is ready and all of them are gone: on the workers in turn, or on this runtime when
    /// there are none. The first worker takes them in: those that it serves itself wake no other thread.
    pub async fn serve(
        self,
        engine: Arc<Engine>,
        settings: Settings,
        metrics: Arc<DoorMetrics>,
        sessions: Sessions,
        workers: &[Handle],
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) {
        let shared = Arc::new(Shared { engine, gate: Gate::new(settings, metrics), sessions });
        let Some((first, others)) = workers.split_first() else {
            return self.take_clients(shared, Vec::new(), shutdown).await;
        };
        let others = others.to_vec();
        let served = first.spawn(async move {
            match self.moved_here() {
                Ok(door) => door.take_clients(shared, others, shutdown).await,
                Err(error) => tracing::error!(%error, "the Postgres door's sockets could not be given to a worker"),
            }
        });
        note_end(served.await);
    }

    /// Watched by this runtime.
    fn moved_here(self) -> io::Result<PostgresDoor> {
        Ok(PostgresDoor {
            listener: self.listener.moved_here()?,
            session_listener: self.session_listener.map(Listener::moved_here).transpose()?,
        })
    }

    /// Serves clients here and on the others in turn.
    async fn take_clients(self, shared: Arc<Shared>, others: Vec<Handle>, shutdown: impl Future<Output = ()>) {
        let mut clients = JoinSet::new();
        let mut shutdown = std::pin::pin!(shutdown);
        let mut turn = 0_usize;
        let mut next_worker = || {
            turn = (turn + 1) % (others.len() + 1);
            turn.checked_sub(1).and_then(|other| others.get(other))
        };
        loop {
            let (accepted, pooling) = tokio::select! {
                biased;
                () = &mut shutdown => break,
                Some(ended) = clients.join_next(), if !clients.is_empty() => {
                    note_end(ended);
                    continue;
                }
                accepted = self.listener.accept() => (accepted, Pooling::Transaction),
                accepted = accept(self.session_listener.as_ref()) => (accepted, Pooling::Session),
            };
            match accepted {
                Ok((stream, origin)) => {
                    admit(Arrival { stream, origin, pooling }, &shared, &mut clients, next_worker());
                }
                Err(error) => pause(&error).await,
            }
        }
        drop((self.listener, self.session_listener));
        drain(&shared.gate, &mut clients).await;
    }
}

fn note_end(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        warn!(%error, "a Postgres client's task failed; only that client was disconnected");
    }
}

impl Listener {
    async fn bind(address: SocketAddr) -> io::Result<Listener> {
        let tcp = TcpListener::bind(address).await?;
        // Linux gives its clients' sockets what the listener's has.
        keep_alive(SockRef::from(&tcp));
        let address = tcp.local_addr()?;
        Ok(Listener { tcp, address, socket: None })
    }

    fn moved_here(self) -> io::Result<Listener> {
        Ok(Listener {
            tcp: TcpListener::from_std(self.tcp.into_std()?)?,
            address: self.address,
            socket: self.socket.map(Socket::moved_here).transpose()?,
        })
    }

    fn listen_in(&mut self, directory: &Path) -> Result<PathBuf, (PathBuf, io::Error)> {
        let path = socket::path_for(directory, self.address.port());
        match Socket::bind(path.clone()) {
            Ok(socket) => self.socket = Some(socket),
            Err(error) => return Err((path, error)),
        }
        Ok(path)
    }

    async fn accept(&self) -> io::Result<(Stream, Origin)> {
        tokio::select! {
            biased;
            accepted = self.tcp.accept() => {
                let (stream, address) = accepted?;
                if !cfg!(target_os = "linux") {
                    keep_alive(SockRef::from(&stream));
                }
                Ok((Stream::Tcp(stream), Origin::Network(address)))
            }
            accepted = accept_local(self.socket.as_ref()) => Ok((Stream::Unix(accepted?), Origin::Socket)),
        }
    }
}

async fn accept(listener: Option<&Listener>) -> io::Result<(Stream, Origin)> {
    match listener {
        Some(listener) => listener.accept().await,
        None => std::future::pending().await,
    }
}

async fn accept_local(socket: Option<&Socket>) -> io::Result<UnixStream> {
    match socket {
        Some(socket) => socket.accept().await,
        None => std::future::pending().await,
    }
}

async fn pause(error: &io::Error) {
    warn!(%error, "cannot accept Postgres clients");
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

fn keep_alive(socket: SockRef<'_>) {
    let _ = socket.set_tcp_nodelay(true);
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 6);
    let _ = socket.set_tcp_keepalive(&keepalive);
}

fn admit(arrival: Arrival, shared: &Arc<Shared>, clients: &mut JoinSet<()>, worker: Option<&Handle>) {
    let Some(registration) = shared.gate.peers.register() else {
        shared.metrics(arrival.pooling).sessions_refused.inc();
        handshake::refuse(&arrival.stream);
        return;
    };
    let shared = Arc::clone(shared);
    match worker {
        None => drop(clients.spawn(client::serve(arrival, registration, shared))),
        Some(worker) => drop(clients.spawn_on(
            async move {
                let Arrival { stream, origin, pooling } = arrival;
                // The socket is watched where its client is served.
                match stream.moved_here() {
                    Ok(stream) => client::serve(Arrival { stream, origin, pooling }, registration, shared).await,
                    Err(error) => warn!(%error, "a Postgres client's socket could not be given to its worker"),
                }
            },
            worker,
        )),
    }
}

/// Lets idle clients go at once, the others when their transaction ends or the grace is over.
async fn drain(gate: &Gate, clients: &mut JoinSet<()>) {
    let ended = async |clients: &mut JoinSet<()>, patience| {
        tokio::time::timeout(patience, async { while clients.join_next().await.is_some() {} }).await.is_ok()
    };
    info!(clients = clients.len(), "the Postgres door is closing");
    gate.peers.advance(Stage::Draining);
    if ended(clients, gate.settings.shutdown_grace).await {
        return;
    }
    info!(clients = clients.len(), "ending the transactions that are still open");
    gate.peers.advance(Stage::Closing);
    if !ended(clients, LAST_GRACE).await {
        debug!(clients = clients.len(), "disconnecting clients that did not react");
        clients.shutdown().await;
    }
}
