//! Reads that stand alone: on the caller's own thread while they are short, on a blocking thread when they are not.
//!
//! A read is repeatable until its first row was sent, so one that turns out to be long is dropped and run again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::call::Call;
use super::connection::Backend;
use super::execute;
use super::failure::Failure;
use super::limits::INLINE_TICKS;
use super::outlet::{Hurry, Interest, OneBatch, Outlet};
use super::pool::{OwnedLease, Pool, Seat};
use super::shared::{Counters, Shared};
use crate::error::{Error, Result, SqlState};
use crate::shard::Output;
use crate::shard::Rows;
use crate::shard::sqlite::Program;

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
            let backend = lease.backend();
            let renewed = match shared.log_is_long() {
                true => backend.end_snapshot(),
                false => backend.renew_snapshot(shared.commits()),
            };
            renewed.map_err(|error| shared.translate(&error))?;
            match execute::run(backend, &call, Some(INLINE_TICKS), &mut OneBatch) {
                Ok(ended) => return Ok(Rows::Ready(ended.rest)),
                Err(Failure::TooLong) => self.long.insert(&call.program),
                Err(failure) => return Err(told(shared, failure)),
            }
        }
        lease.backend().end_snapshot().map_err(|error| shared.translate(&error))?;
        let lease = lease.detach(&self.pool);
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
    fn backend(&self) -> &Backend;

    fn seat(&self) -> Arc<Seat>;
}

impl Held for OwnedLease {
    fn backend(&self) -> &Backend {
        OwnedLease::backend(self)
    }

    fn seat(&self) -> Arc<Seat> {
        OwnedLease::seat(self)
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
    let mut outlet = Outlet::new(reply, Arc::<Hurry>::default(), shared.patience_of_reads(), shared.runtime.clone())
        .stepping_aside(lease.seat());
    let interest = Interest::default();
    let gone = interest.gone();
    let shared_there = Arc::clone(shared);
    shared.runtime.spawn_blocking(move || {
        let since = Instant::now();
        let ended = execute::run_while(lease.backend(), &call, Some(gone), &mut outlet)
            .map_err(|failure| told(&shared_there, failure));
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
