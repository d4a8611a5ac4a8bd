//! An HTTP/1.1 listener whose connections, waits and buffers are bounded, and which drains when it is told to stop.

use std::future::Future;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::problem::{PROBLEM_JSON, Problem};
use crate::metrics::DoorMetrics;

/// Room for a request's head. More ends the connection with 431.
const HEAD_BUFFER_BYTES: usize = 64 * 1024;
/// How long to wait after the machine refused a connection (no descriptors left).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    pub max_connections: usize,
    /// From a connection's start, or the end of a request, to the end of the next request's head.
    pub head_timeout: Duration,
    /// From the order to stop until what is unfinished is cut off.
    pub drain_timeout: Duration,
}

/// A bound port that does not accept yet.
#[derive(Debug)]
pub struct Listener {
    tcp: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// # Errors
    /// The address is in use, or not this machine's.
    pub async fn bind(address: SocketAddr) -> io::Result<Listener> {
        let tcp = TcpListener::bind(address).await?;
        let address = tcp.local_addr()?;
        Ok(Listener { tcp, address })
    }

    /// With the port that was given, when 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts until `shutdown`, then lets requests that have begun finish, for as long as the limits say.
    pub async fn serve(
        self,
        router: Router,
        limits: ConnectionLimits,
        metrics: Arc<DoorMetrics>,
        shutdown: impl Future<Output = ()>,
    ) {
        let (stop, stopping) = watch::channel(false);
        let places = Arc::new(Semaphore::new(limits.max_connections));
        let mut connections = JoinSet::new();
        tokio::pin!(shutdown);
        loop {
            let accepted = tokio::select! {
                () = &mut shutdown => break,
                Some(_) = connections.join_next() => continue,
                accepted = self.tcp.accept() => accepted,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    pause_after(&error).await;
                    continue;
                }
            };
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                metrics.sessions_refused.inc();
                turn_away(&stream);
                continue;
            };
            let connection = Connection { router: router.clone(), limits, stopping: stopping.clone() };
            let metrics = Arc::clone(&metrics);
            connections.spawn(async move {
                let _place = place;
                metrics.sessions_total.inc();
                metrics.sessions.inc();
                let _open = OpenSession(metrics);
                connection.run(stream).await;
            });
        }
        drop(self.tcp);
        let _ = stop.send(true);
        drain(connections, limits.drain_timeout).await;
    }
}

struct OpenSession(Arc<DoorMetrics>);

impl Drop for OpenSession {
    fn drop(&mut self) {
        self.0.sessions.dec();
    }
}

struct Connection {
    router: Router,
    limits: ConnectionLimits,
    stopping: watch::Receiver<bool>,
}

impl Connection {
    async fn run(mut self, stream: TcpStream) {
        let _ = stream.set_nodelay(true);
        let mut server = http1::Builder::new();
        server.timer(TokioTimer::new()).header_read_timeout(self.limits.head_timeout).max_buf_size(HEAD_BUFFER_BYTES);
        let connection = server.serve_connection(TokioIo::new(stream), TowerToHyperService::new(self.router));
        tokio::pin!(connection);
        tokio::select! {
            _ = connection.as_mut() => return,
            _ = self.stopping.wait_for(|stopping| *stopping) => connection.as_mut().graceful_shutdown(),
        }
        // A broken connection concerns its client alone, and the client knows.
        let _ = connection.await;
    }
}

/// One answer, as far as it goes without waiting: a client past the limit must not cost more than that.
fn turn_away(stream: &TcpStream) {
    let problem = Problem::overloaded("too many connections are open");
    let body = serde_json::Value::Object(problem.body()).to_string();
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\ncontent-type: {PROBLEM_JSON}\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    let _ = stream.try_write(answer.as_bytes());
}

async fn pause_after(error: &io::Error) {
    let from_client = [ErrorKind::ConnectionAborted, ErrorKind::ConnectionReset, ErrorKind::ConnectionRefused];
    if !from_client.contains(&error.kind()) {
        tracing::warn!(%error, "cannot accept HTTP connections");
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}

async fn drain(mut connections: JoinSet<()>, time: Duration) {
    let all = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(time, all).await.is_err() {
        tracing::warn!(connections = connections.len(), "cut off HTTP connections that did not finish in time");
        connections.shutdown().await;
    }
}
