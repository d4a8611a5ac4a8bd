//! Connections of one role, lent to one user at a time.
//!
//! A thread asks the same place first each time, so that threads neither meet nor move a connection's page cache from
//! core to core. Whoever finds every place taken waits in line.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering, fence};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::connection::{Backend, Role};
use super::shared::Shared;
use crate::error::{Error, Fault, Result, Retry, SqlState};
use crate::shard::CancelFlag;

pub(super) struct Pool {
    places: Box<[Place]>,
    /// How many wait. While somebody does, nobody takes a place past them.
    waiting: AtomicUsize,
    given_back: Notify,
    /// How many lent connections have given up their place.
    aside: AtomicUsize,
    role: Role,
    what: &'static str,
}

/// Connections that may be lent without a place, beside the pool's own.
const ASIDE_LIMIT: usize = 32;

/// On a cache line of its own.
#[repr(align(128))]
struct Place {
    state: Mutex<State>,
}

impl Place {
    /// Closes the connection when it is here, or in any case. `false`: it is lent.
    fn close(&self, in_any_case: bool) -> bool {
        let mut state = self.state.lock();
        let closed = in_any_case || !matches!(*state, State::Lent);
        if closed {
            *state = State::Closed;
        }
        closed
    }

    fn give_back(&self, backend: Option<Backend>) {
        let mut state = self.state.lock();
        if !matches!(*state, State::Closed) {
            *state = backend.map_or(State::Unopened, State::Idle);
        }
    }
}

enum State {
    /// Nobody needed it yet.
    Unopened,
    Idle(Backend),
    Lent,
    Closed,
}

impl State {
    /// Lends what is here, if it is.
    fn take(&mut self) -> Option<Found> {
        match std::mem::replace(self, State::Lent) {
            State::Idle(backend) => Some(Found::Opened(backend)),
            State::Unopened => Some(Found::Unopened),
            other => {
                *self = other;
                None
            }
        }
    }
}

thread_local! {
    /// Where this thread looks first.
    static FIRST: Cell<Option<usize>> = const { Cell::new(None) };
}

static THREADS: AtomicUsize = AtomicUsize::new(0);

fn first() -> usize {
    FIRST.get().unwrap_or_else(|| {
        let number = THREADS.fetch_add(1, Ordering::Relaxed);
        FIRST.set(Some(number));
        number
    })
}

/// A place that was found.
enum Found {
    Opened(Backend),
    Unopened,
}

impl Pool {
    pub(super) fn new(role: Role, size: usize, what: &'static str) -> Pool {
        let places = (0..size.max(1)).map(|_| Place { state: Mutex::new(State::Unopened) }).collect();
        let (waiting, aside) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Pool { places, waiting, given_back: Notify::new(), aside, role, what }
    }

    /// Opens all connections now, so that no client waits for it.
    pub(super) fn fill(&self, shared: &Shared) -> rusqlite::Result<()> {
        for place in &self.places {
            *place.state.lock() = State::Idle(Backend::open(self.role, shared)?);
        }
        Ok(())
    }

    /// A connection, or 53300 when none is given back in time.
    pub(super) async fn take(&self, shared: &Shared, cancel: &CancelFlag) -> Result<Lease<'_>> {
        let free = if self.waiting.load(Ordering::Relaxed) == 0 { self.try_take() } else { None };
        let (place, found) = match free {
            Some(found) => found,
            None => self.wait(shared, cancel).await?,
        };
        // From here on the lease gives the place back.
        let mut lease = Lease { backend: None, pool: self, place };
        lease.backend = Some(match found {
            Found::Opened(backend) => backend,
            Found::Unopened => Backend::open(self.role, shared).map_err(|error| shared.translate(&error))?,
        });
        Ok(lease)
    }

    fn try_take(&self) -> Option<(usize, Found)> {
        let first = first();
        let mut contended = false;
        for offset in 0..self.places.len() {
            let place = (first + offset) % self.places.len();
            match self.places[place].state.try_lock() {
                Some(mut state) => {
                    if let Some(found) = state.take() {
                        return Some((place, found));
                    }
                }
                None => contended = true,
            }
        }
        if !contended {
            return None;
        }
        // Somebody looked at a place at that moment. It may be free, and then nobody gives it back.
        (0..self.places.len()).find_map(|place| Some((place, self.places[place].state.lock().take()?)))
    }

    async fn wait(&self, shared: &Shared, cancel: &CancelFlag) -> Result<(usize, Found)> {
        let _waiting = Waiting::new(&self.waiting);
        let since = Instant::now();
        let deadline = tokio::time::sleep(shared.limits.queue_deadline);
        tokio::pin!(deadline);
        loop {
            let given_back = self.given_back.notified();
            tokio::pin!(given_back);
            given_back.as_mut().enable();
            shared.check_serving()?;
            // Whoever gives back after this look sees that somebody waits.
            fence(Ordering::SeqCst);
            if let Some(found) = self.try_take() {
                shared.metrics.queue_wait(since.elapsed());
                return Ok(found);
            }
            tokio::select! {
                biased;
                () = &mut given_back => {}
                error = cancel.raised() => return Err(error),
                () = &mut deadline => return Err(self.busy(shared, since.elapsed())),
            }
        }
    }

    fn busy(&self, shared: &Shared, waited: Duration) -> Error {
        Error::new(
            SqlState::TOO_MANY_CONNECTIONS,
            format!("all {} {} of shard \"{}\" are in use", self.places.len(), self.what, shared.name),
        )
        .detail(format!("Waited {} ms.", waited.as_millis()))
        .hint("Send fewer long statements at the same time, or try again later.")
        .fault(Fault::Shard)
        .retry(Retry::Safe)
    }

    fn give_back(&self, place: usize, backend: Option<Backend>) {
        self.places[place].give_back(backend);
        fence(Ordering::SeqCst);
        if self.waiting.load(Ordering::Relaxed) > 0 {
            self.given_back.notify_one();
        }
    }

    /// Idle connections keep no snapshot any more; those that are lent look for themselves.
    pub(super) fn end_idle_snapshots(&self) {
        for place in &self.places {
            let mut state = place.state.lock();
            if let State::Idle(backend) = &*state
                && backend.end_snapshot().is_err()
            {
                // It cannot be trusted: another is opened when it is needed.
                *state = State::Unopened;
            }
        }
    }

    /// How many are lent.
    pub(super) fn in_use(&self) -> usize {
        self.places.iter().filter(|place| matches!(*place.state.lock(), State::Lent)).count()
    }

    /// Waits until all connections are back, for as long as `limit`, and closes them. No more are lent.
    pub(super) async fn close(&self, limit: Duration) {
        let until = Instant::now() + limit;
        for place in &self.places {
            while !place.close(Instant::now() >= until) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        self.given_back.notify_waiters();
    }
}

/// Counted among those who wait, until it is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Waiting<'a> {
        count.fetch_add(1, Ordering::SeqCst);
        Waiting(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A connection that goes back to its pool.
pub(super) struct Lease<'a> {
    /// There until it is given back or detached.
    backend: Option<Backend>,
    pool: &'a Pool,
    place: usize,
}

impl Lease<'_> {
    #[expect(clippy::expect_used, reason = "a lease holds its connection until it is dropped or detached")]
    pub(super) fn backend(&self) -> &Backend {
        self.backend.as_ref().expect("a lease holds its connection")
    }

    /// Takes the connection along to another thread. `pool` is the one that it came from.
    pub(super) fn detach(mut self, pool: &Arc<Pool>) -> OwnedLease {
        debug_assert!(std::ptr::eq(self.pool, Arc::as_ptr(pool)), "a lease goes back to where it came from");
        let seat = Seat { pool: Arc::clone(pool), place: Mutex::new(Some(self.place)) };
        let owned = OwnedLease { backend: self.backend.take(), seat: Arc::new(seat) };
        std::mem::forget(self);
        owned
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        self.pool.give_back(self.place, self.backend.take());
    }
}

/// A connection that is used on another thread, and goes back to its pool.
pub(super) struct OwnedLease {
    backend: Option<Backend>,
    seat: Arc<Seat>,
}

/// The place in the pool of a connection that is lent.
pub(super) struct Seat {
    pool: Arc<Pool>,
    /// `None` once it was given up: the connection is closed after use.
    place: Mutex<Option<usize>>,
}

impl Seat {
    /// Whether somebody waits for this place.
    pub(super) fn is_wanted(&self) -> bool {
        self.place.lock().is_some() && self.pool.waiting.load(Ordering::Relaxed) > 0
    }

    /// Gives up the place to whoever waits, and keeps the connection. `false`: too many have done so.
    pub(super) fn step_aside(&self) -> bool {
        let mut place = self.place.lock();
        let Some(own) = *place else { return true };
        let counted = self
            .pool
            .aside
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |aside| (aside < ASIDE_LIMIT).then_some(aside + 1));
        if counted.is_err() {
            return false;
        }
        *place = None;
        self.pool.give_back(own, None);
        true
    }
}

impl OwnedLease {
    #[expect(clippy::expect_used, reason = "a lease holds its connection until it is dropped")]
    pub(super) fn backend(&self) -> &Backend {
        self.backend.as_ref().expect("a lease holds its connection")
    }

    pub(super) fn seat(&self) -> Arc<Seat> {
        Arc::clone(&self.seat)
    }
}

impl Drop for OwnedLease {
    fn drop(&mut self) {
        let backend = self.backend.take();
        match self.seat.place.lock().take() {
            Some(place) => self.seat.pool.give_back(place, backend),
            None => {
                drop(backend);
                self.seat.pool.aside.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }
}
