//! A server on loopback whose connections are handled by a closure.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::wire::backend as encode;

pub(super) struct Fake {
    pub(super) port: u16,
    /// Connections that were accepted.
    pub(super) accepted: Arc<AtomicUsize>,
    /// Of those, the ones that are open.
    pub(super) open: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Fake {
    /// Handles each connection with `handle`, which gets its number too.
    pub(super) async fn start<F, T>(handle: F) -> Fake
    where
        F: Fn(Peer, usize) -> T + Send + Sync + 'static,
        T: Future<Output = ()> + Send + 'static,
    {
        Fake::on(TcpListener::bind("127.0.0.1:0").await.expect("a port"), handle)
    }

    pub(super) fn on<F, T>(listener: TcpListener, handle: F) -> Fake
    where
        F: Fn(Peer, usize) -> T + Send + Sync + 'static,
        T: Future<Output = ()> + Send + 'static,
    {
        let port = listener.local_addr().expect("an address").port();
        let (accepted, open) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (counted, opened) = (Arc::clone(&accepted), Arc::clone(&open));
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let number = counted.fetch_add(1, Ordering::SeqCst);
                opened.fetch_add(1, Ordering::SeqCst);
                let (handled, opened) = (handle(Peer(stream), number), Arc::clone(&opened));
                connections.spawn(async move {
                    handled.await;
                    opened.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Fake { port, accepted, open, task }
    }

    /// Lets everyone in, and keeps each connection until the other side closes it.
    pub(super) async fn friendly() -> Fake {
        Fake::start(|mut peer, number| async move {
            if peer.let_in(number).await.is_some() {
                peer.until_closed().await;
            }
        })
        .await
    }

    pub(super) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }
}

/// The server's end of a connection. Reads give `None` once the client has gone.
pub(super) struct Peer(pub(super) TcpStream);

impl Peer {
    /// A packet without a type, without its length.
    pub(super) async fn packet(&mut self) -> Option<Bytes> {
        let length = self.0.read_u32().await.ok()?;
        let mut body = vec![0; length.checked_sub(4)? as usize];
        self.0.read_exact(&mut body).await.ok()?;
        Some(body.into())
    }

    pub(super) async fn message(&mut self) -> Option<(u8, Bytes)> {
        let kind = self.0.read_u8().await.ok()?;
        Some((kind, self.packet().await?))
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) -> Option<()> {
        self.0.write_all(bytes).await.ok()
    }

    pub(super) async fn write(&mut self, write: impl FnOnce(&mut BytesMut)) -> Option<()> {
        let mut out = BytesMut::new();
        write(&mut out);
        self.send(&out).await
    }

    /// The login that needs nothing, and the messages after it.
    pub(super) async fn let_in(&mut self, number: usize) -> Option<Bytes> {
        let startup = self.packet().await?;
        self.welcome(number).await?;
        Some(startup)
    }

    pub(super) async fn welcome(&mut self, number: usize) -> Option<()> {
        self.write(|out| {
            encode::authentication_ok(out);
            encode::parameter_status(out, "client_encoding", "UTF8");
            encode::parameter_status(out, "server_version", "15.1");
            encode::backend_key_data(out, number as i32, b"key!");
            encode::ready_for_query(out, encode::Readiness::Idle);
        })
        .await
    }

    /// Reads until the client closes; what it sent.
    pub(super) async fn until_closed(&mut self) -> Vec<u8> {
        let mut sent = Vec::new();
        let _ = self.0.read_to_end(&mut sent).await;
        sent
    }
}
