//! Who is connected, as others see it: a cancel request that looks for a statement, a shutdown that asks clients to go.
//!
//! A connection sleeps in one place and may be woken by any of these. Instead of a channel for each, it leaves its task's
//! waker here and looks at one atomic whenever it wakes: that costs the hot path nothing but a load.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::task::{Poll, Waker};

use parking_lot::Mutex;

use crate::engine::CancelHandle;
use crate::wire::scram::constant_time_eq;
use crate::wire::startup::CancelRequest;

/// Connections that have not said yet who they are, beyond the clients: so that a cancel request gets in when the door is
/// full, and a flood of silent connections stays bounded.
const UNSEATED_LIMIT: usize = 128;

/// How far a shutdown has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Stage {
    Serving,
    /// Whoever has no transaction open goes.
    Draining,
    /// Everyone goes.
    Closing,
}

struct Cancel {
    key: Vec<u8>,
    handle: CancelHandle,
}

/// One connection.
pub(super) struct Peer {
    stage: AtomicU8,
    waker: Mutex<Option<Waker>>,
    /// Set once the client is authenticated.
    cancel: Mutex<Option<Cancel>>,
}

impl Peer {
    fn advance(&self, stage: Stage) {
        self.stage.store(stage as u8, Ordering::SeqCst);
        // Whoever registers its waker after this lock sees the stage, whoever did before is woken.
        self.wake();
    }

    fn wake(&self) {
        if let Some(waker) = &*self.waker.lock() {
            waker.wake_by_ref();
        }
    }

    pub(super) fn has_reached(&self, stage: Stage) -> bool {
        self.stage() >= stage
    }

    fn stage(&self) -> Stage {
        match self.stage.load(Ordering::SeqCst) {
            0 => Stage::Serving,
            1 => Stage::Draining,
            _ => Stage::Closing,
        }
    }

    /// Ready once the shutdown has come this far. To be awaited by the task that called [`Registration::wake_here`].
    pub(super) fn reached(&self, stage: Stage) -> impl Future<Output = ()> + '_ {
        std::future::poll_fn(move |_| if self.stage() >= stage { Poll::Ready(()) } else { Poll::Pending })
    }
}

/// Connections by the process numbers that their clients were told.
type Table = HashMap<i32, Arc<Peer>>;

/// All connections.
pub(super) struct Peers {
    table: Arc<Mutex<Table>>,
    client_limit: usize,
    seated: Arc<AtomicUsize>,
    /// Connections of those users whose number is limited.
    by_user: Arc<Mutex<HashMap<String, usize>>>,
}

impl Peers {
    pub(super) fn new(client_limit: usize) -> Peers {
        Peers { table: Arc::default(), client_limit, seated: Arc::default(), by_user: Arc::default() }
    }

    /// A place in the table under a process number of its own; `None` when too many connections are open.
    pub(super) fn register(&self) -> Option<Registration> {
        let mut table = self.table.lock();
        if table.len() >= self.client_limit.saturating_add(UNSEATED_LIMIT) {
            return None;
        }
        // Not counted up: the number is as good as a part of the key, of which old protocols have four bytes only.
        let process = loop {
            let process = rand::random_range(1..=i32::MAX);
            if !table.contains_key(&process) {
                break process;
            }
        };
        let peer = Arc::new(Peer {
            stage: AtomicU8::new(Stage::Serving as u8),
            waker: Mutex::new(None),
            cancel: Mutex::new(None),
        });
        table.insert(process, Arc::clone(&peer));
        Some(Registration { process, peer, table: Arc::clone(&self.table) })
    }

    /// A client's seat, of which there are as many as the limit says.
    pub(super) fn seat(&self) -> Option<Seat> {
        let taken = self.seated.fetch_update(Ordering::AcqRel, Ordering::Acquire, |seated| {
            (seated < self.client_limit).then_some(seated + 1)
        });
        taken.is_ok().then(|| Seat(Arc::clone(&self.seated)))
    }

    /// One of the `limit` connections that this user may have.
    pub(super) fn user_seat(&self, user: &str, limit: usize) -> Option<UserSeat> {
        let mut by_user = self.by_user.lock();
        let seated = by_user.get(user).copied().unwrap_or(0);
        if seated >= limit {
            return None;
        }
        by_user.insert(user.to_owned(), seated + 1);
        Some(UserSeat { user: user.to_owned(), by_user: Arc::clone(&self.by_user) })
    }

    pub(super) fn advance(&self, stage: Stage) {
        let peers: Vec<_> = self.table.lock().values().cloned().collect();
        peers.iter().for_each(|peer| peer.advance(stage));
    }

    /// Cancels the running statement of the client that holds this key, if there is one. Tells nobody whether.
    pub(super) fn cancel(&self, request: &CancelRequest) {
        let Some(peer) = self.table.lock().get(&request.process).cloned() else { return };
        if let Some(cancel) = &*peer.cancel.lock()
            && constant_time_eq(&cancel.key, &request.key)
        {
            cancel.handle.cancel();
            peer.wake();
        }
    }
}

/// A connection's place in the table, given up when dropped.
pub(super) struct Registration {
    /// What the client is told as its backend's process number.
    pub(super) process: i32,
    pub(super) peer: Arc<Peer>,
    table: Arc<Mutex<Table>>,
}

impl Registration {
    /// Makes this task the one that a shutdown wakes.
    pub(super) async fn wake_here(&self) {
        std::future::poll_fn(|context| {
            *self.peer.waker.lock() = Some(context.waker().clone());
            Poll::Ready(())
        })
        .await;
    }

    /// From now on a cancel request with this key ends the client's statement.
    pub(super) fn allow_cancel(&self, key: Vec<u8>, handle: CancelHandle) {
        *self.peer.cancel.lock() = Some(Cancel { key, handle });
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.table.lock().remove(&self.process);
    }
}

/// One of the clients that the limit allows.
pub(super) struct Seat(Arc<AtomicUsize>);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// One of the connections that a user's limit allows.
pub(super) struct UserSeat {
    user: String,
    by_user: Arc<Mutex<HashMap<String, usize>>>,
}

impl Drop for UserSeat {
    fn drop(&mut self) {
        let mut by_user = self.by_user.lock();
        if let Some(seated) = by_user.get_mut(&self.user) {
            *seated -= 1;
            if *seated == 0 {
                by_user.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_s_seats_are_its_own_and_come_back() {
        let peers = Peers::new(10);
        let (first, second) = (peers.user_seat("app", 2), peers.user_seat("app", 2));
        assert!(first.is_some() && second.is_some() && peers.user_seat("app", 2).is_none());
        assert!(peers.user_seat("other", 1).is_some());
        drop(first);
        assert!(peers.user_seat("app", 2).is_some());
        drop(second);
        assert!(peers.by_user.lock().is_empty());
    }

    #[test]
    fn seats_are_as_many_as_the_limit_and_come_back() {
        let peers = Peers::new(2);
        let (first, _second) = (peers.seat(), peers.seat());
        assert!(first.is_some() && peers.seat().is_none());
        drop(first);
        assert!(peers.seat().is_some());
    }

    #[test]
    fn connections_beyond_the_clients_are_bounded_and_leave_the_table() {
        let peers = Peers::new(1);
        let all: Vec<_> = std::iter::from_fn(|| peers.register()).take(1000).collect();
        assert_eq!(all.len(), 1 + UNSEATED_LIMIT);
        drop(all);
        assert!(peers.table.lock().is_empty());
    }

    #[test]
    fn process_numbers_are_positive_and_do_not_follow_each_other() {
        let peers = Peers::new(100);
        let all: Vec<_> = (0..100).map(|_| peers.register().expect("room").process).collect();
        assert!(all.iter().all(|process| *process > 0));
        assert!(all.windows(2).filter(|pair| pair[0].abs_diff(pair[1]) < 1000).count() < 5, "{all:?}");
    }

    #[tokio::test]
    async fn a_sleeping_connection_is_woken_by_the_shutdown() {
        let peers = Arc::new(Peers::new(1));
        let registration = peers.register().expect("room");
        let (ready, asleep) = tokio::sync::oneshot::channel();
        let sleeper = tokio::spawn(async move {
            registration.wake_here().await;
            ready.send(()).expect("a listener");
            registration.peer.reached(Stage::Draining).await;
        });
        asleep.await.expect("it sleeps");
        peers.advance(Stage::Draining);
        tokio::time::timeout(std::time::Duration::from_secs(5), sleeper).await.expect("it wakes").expect("no panic");
    }
}
