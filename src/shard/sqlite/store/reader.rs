//! Reads that stand alone: on the caller's own thread while they are short, on a blocking thread when they are not.
//!
//! A read is repeatable until its first row was sent, so one that turns out to be long is dropped and run again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{Semaphore, oneshot};

use super::call::{Call, Output};
use super::cancel::CancelFlag;
use super::connection::{Backend, Role};
use super::execute;
use super::failure::Failure;
use super::limits::INLINE_TICKS;
use super::outlet::{Hurry, Interest, OneBatch, Outlet};
use super::shared::{Counters, Shared};
use crate::error::{Error, Fault, Result, Retry, SqlState};
use crate::shard::Rows;
use crate::shard::sqlite::Program;

/// Connections of one role that nobody uses at the moment, and places for those who want one.
pub(super) struct Pool {
    idle: Mutex<Vec<Backend>>,
    places: Semaphore,
    size: usize,
    role: Role,
    what: &'static str,
}

impl Pool {
    pub(super) fn new(role: Role, size: usize, what: &'static str) -> Pool {
        Pool { idle: Mutex::new(Vec::with_capacity(size)), places: Semaphore::new(size), size, role, what }
    }

    /// Opens all connections now, so that no client waits for it.
    pub(super) fn fill(&self, shared: &Shared) -> rusqlite::Result<()> {
        for _ in 0..self.size {
            let backend = Backend::open(self.role, shared)?;
            self.idle.lock().push(backend);
        }
        Ok(())
    }

    /// A connection, or 53300 when none is given back in time.
    pub(super) async fn take<'a>(&'a self, shared: &'a Shared, cancel: &CancelFlag) -> Result<Lease<'a>> {
        match self.places.try_acquire() {
            Ok(place) => place.forget(),
            Err(_) => self.wait(shared, cancel).await?,
        }
        let mut lease = Lease { backend: None, pool: self };
        let idle = self.idle.lock().pop();
        lease.backend = Some(match idle {
            Some(backend) => backend,
            None => Backend::open(self.role, shared).map_err(|error| shared.translate(&error))?,
        });
        Ok(lease)
    }

    async fn wait(&self, shared: &Shared, cancel: &CancelFlag) -> Result<()> {
        let since = Instant::now();
        let deadline = shared.limits.queue_deadline;
        let place = tokio::select! {
            biased;
            place = self.places.acquire() => place.map_err(|_| shared.closing())?,
            error = cancel.raised() => return Err(error),
            () = tokio::time::sleep(deadline) => return Err(self.busy(shared, since.elapsed())),
        };
        place.forget();
        shared.metrics.queue_wait(since.elapsed());
        Ok(())
    }

    fn busy(&self, shared: &Shared, waited: Duration) -> Error {
        Error::new(
            SqlState::TOO_MANY_CONNECTIONS,
            format!("all {} {} of shard \"{}\" are in use", self.size, self.what, shared.name),
        )
        .detail(format!("Waited {} ms.", waited.as_millis()))
        .hint("Send fewer long statements at the same time, or try again later.")
        .fault(Fault::Shard)
        .retry(Retry::Safe)
    }

    fn give_back(&self, backend: Option<Backend>) {
        if let Some(backend) = backend {
            self.idle.lock().push(backend);
        }
        self.places.add_permits(1);
    }

    /// Waits until all connections are back, and closes them. No more are given out.
    pub(super) async fn close(&self, limit: Duration) {
        let all = u32::try_from(self.size).unwrap_or(u32::MAX);
        let _ = tokio::time::timeout(limit, self.places.acquire_many(all)).await;
        self.places.close();
        self.idle.lock().clear();
    }
}

/// A connection that goes back to its pool.
pub(super) struct Lease<'a> {
    backend: Option<Backend>,
    pool: &'a Pool,
}

impl Lease<'_> {
    pub(super) fn backend(&self) -> Option<&Backend> {
        self.backend.as_ref()
    }

    /// Takes the connection along to another thread; it must be returned by [`OwnedLease`].
    pub(super) fn detach(mut self, of: impl Fn() -> Arc<Pool>) -> OwnedLease {
        let backend = self.backend.take();
        let pool = of();
        std::mem::forget(self);
        OwnedLease { backend, pool }
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        self.pool.give_back(self.backend.take());
    }
}

/// A connection that is used on another thread, and goes back to its pool.
pub(super) struct OwnedLease {
    backend: Option<Backend>,
    pool: Arc<Pool>,
}

impl Drop for OwnedLease {
    fn drop(&mut self) {
        self.pool.give_back(self.backend.take());
    }
}

/// Programs that were too long for the caller's thread the last time. Forgetful: two programs may share a place.
pub(super) struct LongPrograms(Box<[AtomicUsize]>);

impl LongPrograms {
    const PLACES: usize = 1_024;

    pub(super) fn new() -> LongPrograms {
        LongPrograms((0..LongPrograms::PLACES).map(|_| AtomicUsize::new(0)).collect())
    }

    fn place(&self, program: &Arc<Program>) -> (&AtomicUsize, usize) {
        let identity = Arc::as_ptr(program) as usize;
        (&self.0[(identity >> 4) % LongPrograms::PLACES], identity)
    }

    fn contains(&self, program: &Arc<Program>) -> bool {
        let (place, identity) = self.place(program);
        place.load(Ordering::Relaxed) == identity
    }

    fn insert(&self, program: &Arc<Program>) {
        let (place, identity) = self.place(program);
        place.store(identity, Ordering::Relaxed);
    }

    fn remove(&self, program: &Arc<Program>) {
        let (place, identity) = self.place(program);
        let _ = place.compare_exchange(identity, 0, Ordering::Relaxed, Ordering::Relaxed);
    }
}

/// A read that ends within this time on a blocking thread is tried on the caller's own the next time.
const SHORT: Duration = Duration::from_micros(200);

pub(super) struct Readers {
    pool: Arc<Pool>,
    long: Arc<LongPrograms>,
}

impl Readers {
    pub(super) fn new(pool: Arc<Pool>) -> Readers {
        Readers { pool, long: Arc::new(LongPrograms::new()) }
    }

    pub(super) async fn read(&self, shared: &Arc<Shared>, call: Call) -> Result<Rows> {
        let lease = self.pool.take(shared, &call.cancel).await?;
        if !self.long.contains(&call.program) {
            let backend = lease.backend().ok_or_else(lost)?;
            match execute::run(&backend.connection, &backend.watch, &call, Some(INLINE_TICKS), &mut OneBatch) {
                Ok(ended) => return Ok(Rows::Ready(ended.rest)),
                Err(Failure::TooLong) => self.long.insert(&call.program),
                Err(failure) => return Err(told(shared, failure)),
            }
        }
        let lease = lease.detach(|| Arc::clone(&self.pool));
        self.read_elsewhere(shared, call, lease).await
    }

    async fn read_elsewhere(&self, shared: &Arc<Shared>, call: Call, lease: OwnedLease) -> Result<Rows> {
        Counters::add(&shared.counters.moved_reads, 1);
        let (long, program) = (Arc::clone(&self.long), Arc::clone(&call.program));
        let done = move |took: Duration| {
            if took < SHORT {
                long.remove(&program);
            }
        };
        read_on_thread(shared, call, lease, done).await
    }
}

/// A connection that can be taken to another thread.
pub(super) trait Held: Send + 'static {
    fn backend(&self) -> Option<&Backend>;
}

impl Held for OwnedLease {
    fn backend(&self) -> Option<&Backend> {
        self.backend.as_ref()
    }
}

/// Runs a read to its end on a blocking thread, and tells how long it took there.
pub(super) async fn read_on_thread(
    shared: &Arc<Shared>,
    call: Call,
    lease: impl Held,
    done: impl FnOnce(Duration) + Send + 'static,
) -> Result<Rows> {
    let (reply, answer) = oneshot::channel();
    let mut outlet = Outlet::new(reply, Arc::<Hurry>::default(), shared.patience_of_reads(), shared.runtime.clone());
    let interest = Interest::default();
    let gone = interest.gone();
    let shared_there = Arc::clone(shared);
    shared.runtime.spawn_blocking(move || {
        let since = Instant::now();
        let ended = match lease.backend() {
            Some(backend) => execute::run_while(&backend.connection, &backend.watch, &call, Some(gone), &mut outlet)
                .map_err(|failure| told(&shared_there, failure)),
            None => Err(lost()),
        };
        // The connection is free before the answer is sent: who waits for the one may ask for the other.
        drop(lease);
        outlet.finish(ended);
        done(since.elapsed());
    });
    let _waiting = interest.guard();
    let output: Result<Output> = answer.await.map_err(|_| shared.closing())?;
    output.map(|output| output.rows)
}

/// A failure of a statement that changed nothing.
pub(super) fn told(shared: &Shared, failure: Failure) -> Error {
    match failure {
        Failure::Told(error) => error,
        Failure::Sqlite(error) => shared.translate(&error),
        Failure::TooLong => Error::internal("a statement without a budget used it up"),
        Failure::Abandoned => Error::new(SqlState::QUERY_CANCELED, "canceling statement because nobody waits for it"),
    }
}

pub(super) fn lost() -> Error {
    Error::internal("a connection was used after it was given back")
}
