//! The connections to one shard for one login, shared by the clients of this process.
//!
//! An idle connection is given out under one lock, without a wait and without memory. Otherwise a client waits its turn
//! while a connection is made for it, or another client's comes back, whichever is first; connections are made by tasks
//! of their own, so that a client who leaves wastes none.
//!
//! A client that gets none is told why: the shard is down (the server's or the network's own reason, most often 08006),
//! the queue is full (53300), or its wait was too long (57014, as a statement that takes too long; PgBouncer's
//! `query_wait_timeout` ends the client's connection instead). Nothing was executed in any of these.

mod breaker;
mod limits;
mod pooled;
mod state;
mod upkeep;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, timeout_at};

pub use limits::{PoolLimits, PoolState, Totals};
pub(super) use pooled::KeptCount;
use pooled::{Granted, Held};
pub use pooled::{Pooled, Use};
use state::{Down, State, Waiter};

use super::backend::Backend;
use super::target::Target;
use crate::error::{Error, Fault, Result, Retry, SqlState};

/// How long it may take to tell a server that nobody waits for a statement any more.
const CANCEL_TIME: Duration = Duration::from_secs(5);

/// What helps where every connection is kept.
const ALL_KEPT: &str = "Sessions keep them: clients of the session listener, and those that hold an advisory lock. End \
                        some of them, let them idle for less time (limits.idle_session_timeout_ms), or raise pool.size.";

/// Connections that were ever made.
static CONNECTIONS: AtomicU64 = AtomicU64::new(0);

pub struct Pool {
    /// The shard's name, for messages.
    name: String,
    target: Arc<Target>,
    limits: PoolLimits,
    state: Mutex<State>,
    runtime: Handle,
    /// Ends the upkeep.
    stop: Arc<Notify>,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pool({:?}, {})", self.name, self.target)
    }
}

impl Pool {
    /// A pool without connections; it makes them when they are asked for. To be called within a runtime, whose tasks
    /// then make the connections.
    pub fn new(name: &str, target: Target, limits: PoolLimits) -> Arc<Pool> {
        let stop = Arc::new(Notify::new());
        let pool = Arc::new(Pool {
            name: name.to_owned(),
            target: Arc::new(target),
            state: Mutex::new(State::new(&limits)),
            limits,
            runtime: Handle::current(),
            stop: Arc::clone(&stop),
        });
        pool.runtime.spawn(upkeep::run(Arc::downgrade(&pool), stop, limits));
        pool
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn target(&self) -> &Arc<Target> {
        &self.target
    }

    /// A connection, at once where one is idle, or else in turn. Safe to abandon.
    ///
    /// # Errors
    /// The shard is down, the queue is full, the wait was too long, or the pool is closed. Nothing was executed.
    #[inline]
    pub async fn checkout(self: &Arc<Self>) -> Result<Pooled> {
        match self.try_checkout() {
            Some(pooled) => Ok(pooled),
            None => self.wait_for_one().await,
        }
    }

    /// A connection that is idle now.
    pub fn try_checkout(self: &Arc<Self>) -> Option<Pooled> {
        self.checkout_idle(Instant::now())
    }

    /// As [`Pool::try_checkout`], for who knows what time it is.
    #[inline]
    pub fn checkout_idle(self: &Arc<Self>, now: Instant) -> Option<Pooled> {
        loop {
            let held = {
                let mut state = self.state.lock();
                let held = state.idle.pop()?;
                state.active += 1;
                state.totals.checkouts += 1;
                held
            };
            let stale = !held.backend.is_quiet();
            if !stale && !held.is_expired(now) {
                return Some(Pooled::new(Arc::clone(self), held));
            }
            self.not_taken(held, stale);
        }
    }

    /// The connection of this use, if it is idle and nobody has used it since.
    pub fn checkout_again(self: &Arc<Self>, used: Use) -> Option<Pooled> {
        let held = {
            let mut state = self.state.lock();
            let at = state.idle.iter().position(|held| held.as_used() == used)?;
            let held = state.idle.remove(at);
            state.active += 1;
            state.totals.checkouts += 1;
            held
        };
        if held.backend.is_quiet() {
            return Some(Pooled::again(Arc::clone(self), held));
        }
        self.not_taken(held, true);
        None
    }

    #[cold]
    fn not_taken(self: &Arc<Self>, held: Held, stale: bool) {
        held.backend.terminate();
        self.closed_one(|totals| {
            totals.checkouts -= 1;
            *(if stale { &mut totals.stale } else { &mut totals.retired }) += 1;
        });
    }

    /// Whether there are as many connections as there may be.
    pub fn is_full(&self) -> bool {
        let state = self.state.lock();
        state.idle.len() + state.active + state.connecting >= self.limits.size
    }

    async fn wait_for_one(self: &Arc<Self>) -> Result<Pooled> {
        let begin = Instant::now();
        let (number, mut receiver) = self.line_up(begin)?;
        let _place = Place { pool: self, number };
        let answer = match timeout_at(begin + self.limits.checkout_deadline, &mut receiver).await {
            Ok(answer) => answer.ok(),
            Err(_) => {
                // It may have been granted in this moment.
                receiver.close();
                match receiver.try_recv() {
                    Ok(answer) => Some(answer),
                    Err(_) => return Err(self.too_late()),
                }
            }
        };
        let granted = answer.unwrap_or_else(|| Err(self.closed_error()))?;
        let pooled = granted.into_pooled().ok_or_else(|| Error::internal("a connection was granted twice"))?;
        let totals = &mut self.state.lock().totals;
        totals.checkouts += 1;
        totals.waits += 1;
        Ok(pooled)
    }

    /// Takes a place in the queue, and has connections made if there may be more.
    fn line_up(self: &Arc<Self>, now: Instant) -> Result<(u64, oneshot::Receiver<Result<Granted>>)> {
        let (sender, receiver) = oneshot::channel();
        let (number, begun) = {
            let mut state = self.state.lock();
            if state.closed {
                return Err(self.closed_error());
            }
            if let Some(down) = state.why_down(now) {
                return Err(self.down(&down));
            }
            if state.waiters.len() >= self.limits.queue {
                state.totals.refused += 1;
                return Err(self.exhausted(&state));
            }
            let number = state.next_number;
            state.next_number += 1;
            state.waiters.push_back(Waiter { number, sender });
            (number, state.begin_connecting(&self.limits, now))
        };
        self.connect(begun);
        // One may have come back between the look at the idle ones and now.
        self.serve_from_idle();
        Ok((number, receiver))
    }

    /// Restores the invariant that nobody waits while a connection is idle.
    fn serve_from_idle(self: &Arc<Self>) {
        loop {
            let held = {
                let mut state = self.state.lock();
                if state.waiters.is_empty() {
                    return;
                }
                let Some(held) = state.idle.pop() else { return };
                state.active += 1;
                held
            };
            self.receive(held, Instant::now());
        }
    }

    /// Takes back a connection that is counted as active: for the first that waits, or among the idle.
    fn receive(self: &Arc<Self>, mut held: Held, now: Instant) {
        if !held.backend.is_clean() {
            drop(held);
            return self.discarded();
        }
        held.backend.rest();
        loop {
            let waiter = {
                let mut state = self.state.lock();
                if state.closed || held.is_expired(now) {
                    drop(state);
                    return self.retire(held);
                }
                let Some(waiter) = state.waiters.pop_front() else {
                    state.active -= 1;
                    held.idle_since = now;
                    state.idle.push(held);
                    return;
                };
                waiter
            };
            let granted = Granted::new(Pooled::new(Arc::clone(self), held));
            match waiter.sender.send(Ok(granted)) {
                Ok(()) => return,
                // That client has gone.
                Err(refused) => match refused.ok().and_then(Granted::into_held) {
                    Some(back) => held = back,
                    None => return,
                },
            }
        }
    }

    fn retire(self: &Arc<Self>, held: Held) {
        held.backend.terminate();
        self.closed_one(|totals| totals.retired += 1);
    }

    /// Closes a connection in the middle of something. Its place is free when the server was told to end that.
    fn give_up(self: &Arc<Self>, mut held: Held) {
        if !held.backend.is_busy() {
            drop(held);
            return self.discarded();
        }
        let pool = Arc::clone(self);
        self.runtime.spawn(async move {
            let told = held.backend.tell_to_cancel(CANCEL_TIME).await;
            if let Err(error) = told {
                tracing::warn!(shard = pool.name, %error, "a statement that nobody waits for could not be canceled");
            }
            drop(held);
            pool.discarded();
        });
    }

    /// Whether the server lets somebody in, asked over a connection that is closed again.
    ///
    /// # Errors
    /// It does not, for another reason than that it has no room.
    pub async fn knock(&self) -> Result<()> {
        match Backend::connect(&self.target, self.limits.connect_timeout).await {
            Ok(backend) => backend.terminate(),
            Err(error) if error.sqlstate() == SqlState::TOO_MANY_CONNECTIONS => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Runs what a connection has still to do when its client has gone.
    pub(super) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(work);
    }

    fn discarded(self: &Arc<Self>) {
        self.closed_one(|totals| totals.discarded += 1);
    }

    /// A connection that was counted as active is closed: its place may be taken by another.
    fn closed_one(self: &Arc<Self>, count: impl FnOnce(&mut Totals)) {
        let begun = {
            let mut state = self.state.lock();
            state.active -= 1;
            count(&mut state.totals);
            state.begin_connecting(&self.limits, Instant::now())
        };
        self.connect(begun);
    }

    /// Starts as many attempts, which are counted already.
    fn connect(self: &Arc<Self>, count: usize) {
        for _ in 0..count {
            let mut attempt = Attempt { pool: Some(Arc::clone(self)) };
            self.runtime.spawn(async move {
                let connected = match &attempt.pool {
                    Some(pool) => Backend::connect(&pool.target, pool.limits.connect_timeout).await,
                    None => return,
                };
                let Some(pool) = attempt.pool.take() else { return };
                match connected {
                    Ok(backend) => pool.connected(backend),
                    Err(error) => pool.failed(error),
                }
            });
        }
    }

    fn connected(self: &Arc<Self>, backend: Backend) {
        let now = Instant::now();
        let lifetime = self.limits.max_lifetime.map(|lifetime| lifetime.mul_f64(rand::random_range(0.9..=1.1)));
        let expires = lifetime.and_then(|lifetime| now.checked_add(lifetime));
        {
            let mut state = self.state.lock();
            state.connecting -= 1;
            state.active += 1;
            state.breaker.succeed();
            state.totals.connected += 1;
        }
        let number = CONNECTIONS.fetch_add(1, Ordering::Relaxed);
        self.receive(Held { backend: Box::new(backend), expires, idle_since: now, number, uses: 0 }, now);
        // Those whom the breaker held back; after the first of them was served.
        let begun = self.state.lock().begin_connecting(&self.limits, now);
        self.connect(begun);
    }

    fn failed(self: &Arc<Self>, error: Error) {
        let now = Instant::now();
        tracing::warn!(shard = self.name, %error, hint = error.get_hint(), "cannot connect to a shard");
        let (told, error) = {
            let mut state = self.state.lock();
            state.connecting -= 1;
            state.totals.connect_failures += 1;
            state.breaker.fail(now, error);
            // While other attempts are under way, they may yet serve those who wait.
            match state.why_down(now) {
                Some(down) if state.connecting == 0 => {
                    let error = self.down(&down);
                    (std::mem::take(&mut state.waiters), error)
                }
                _ => return,
            }
        };
        for waiter in told {
            let _ = waiter.sender.send(Err(error.clone()));
        }
    }

    /// Closes what is idle, refuses those who wait, and closes what is active when it is given back.
    pub fn close(&self) {
        let (idle, waiters) = {
            let mut state = self.state.lock();
            state.closed = true;
            (std::mem::take(&mut state.idle), std::mem::take(&mut state.waiters))
        };
        self.stop.notify_one();
        for held in idle {
            held.backend.terminate();
        }
        for waiter in waiters {
            let _ = waiter.sender.send(Err(self.closed_error()));
        }
    }

    /// Whether the last attempt to connect has failed.
    pub fn is_down(&self) -> bool {
        self.state.lock().breaker.is_open()
    }

    pub fn state(&self) -> PoolState {
        let state = self.state.lock();
        PoolState {
            idle: state.idle.len(),
            active: state.active,
            connecting: state.connecting,
            waiting: state.waiters.len(),
            breaker_open: state.breaker.is_open(),
            totals: state.totals,
        }
    }

    fn down(&self, down: &Down<'_>) -> Error {
        let again = if down.connecting {
            "a new attempt is under way".to_owned()
        } else {
            format!("the next attempt is in {} ms", down.delay.as_millis())
        };
        let message = format!("shard \"{}\" is down: {}; {again}", self.name, down.reason.message());
        // Whatever is wrong with shardd's login there, it is not the client's that was refused.
        let sqlstate = match down.reason.sqlstate() {
            full @ SqlState::TOO_MANY_CONNECTIONS => full,
            _ => SqlState::CONNECTION_FAILURE,
        };
        down.reason.clone().with_message(message).with_sqlstate(sqlstate).retry(Retry::Safe)
    }

    fn exhausted(&self, state: &State) -> Error {
        let message = format!(
            "too many clients wait for shard \"{}\": {} wait, and its {} connections are in use",
            self.name,
            state.waiters.len(),
            state.active
        );
        let hint = match self.is_all_kept(state) {
            true => ALL_KEPT,
            false => "Try again later. Shorter transactions or a larger pool serve more clients at once.",
        };
        Error::new(SqlState::TOO_MANY_CONNECTIONS, message).fault(Fault::Proxy).retry(Retry::Safe).hint(hint)
    }

    /// No transaction's end would free one.
    fn is_all_kept(&self, state: &State) -> bool {
        state.kept > 0 && state.kept >= state.active && state.idle.is_empty()
    }

    fn too_late(&self) -> Error {
        let mut state = self.state.lock();
        state.totals.timed_out += 1;
        if self.is_all_kept(&state) {
            let message = format!(
                "all {} connections to shard \"{}\" are kept by sessions, and none became free within {} ms",
                state.kept,
                self.name,
                self.limits.checkout_deadline.as_millis()
            );
            return Error::new(SqlState::TOO_MANY_CONNECTIONS, message)
                .fault(Fault::Proxy)
                .retry(Retry::Safe)
                .hint(ALL_KEPT);
        }
        let message = format!(
            "no connection to shard \"{}\" became free within {} ms: {} are in use, {} are being made",
            self.name,
            self.limits.checkout_deadline.as_millis(),
            state.active,
            state.connecting
        );
        Error::new(SqlState::QUERY_CANCELED, message)
            .fault(Fault::Proxy)
            .retry(Retry::Safe)
            .hint("Nothing was executed. Shorter transactions or a larger pool serve more clients at once.")
    }

    fn closed_error(&self) -> Error {
        Error::new(SqlState::ADMIN_SHUTDOWN, format!("the connections to shard \"{}\" are being closed", self.name))
            .fault(Fault::Proxy)
            .retry(Retry::Safe)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.stop.notify_one();
    }
}

/// An attempt to connect, which counts until it ends, also when its task is ended with the runtime.
struct Attempt {
    pool: Option<Arc<Pool>>,
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.take() {
            pool.state.lock().connecting -= 1;
        }
    }
}

/// A place in the queue, left when the client leaves.
struct Place<'a> {
    pool: &'a Pool,
    number: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.pool.state.lock().remove_waiter(self.number);
    }
}
