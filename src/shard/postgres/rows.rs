//! Rows on their way from a Postgres shard, taken from its connection only as fast as they are asked for.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, timeout_at};

use super::call::Aftermath;
use super::clean;
use super::conversation::proceed;
use super::exchange::{Exchange, Progress};
use super::pool::Pooled;
use crate::error::{Error, Result, SqlState};
use crate::shard::{CancelFlag, RowBatch};
use crate::wire::backend::Readiness;

/// Rows of a suspended portal that are kept when its transaction goes on with another statement.
const PARKED_BYTES: usize = 64 << 20;

/// When nobody wants a statement's rows any more, so much is taken in the hope of its end before the server is asked to
/// cancel it: that costs the server more.
const LEFTOVER_BYTES: usize = 256 << 10;
const LEFTOVER_TIME: Duration = Duration::from_millis(50);
/// And so much after it was asked, before the connection is closed instead.
const CANCELED_BYTES: usize = 16 << 20;
const CANCELED_TIME: Duration = Duration::from_secs(5);

/// The rows of one statement after its first. Dropping it ends the statement, unless it is in a transaction.
#[derive(Debug)]
pub struct RowStream {
    first: RowBatch,
    rest: Rest,
}

#[derive(Debug)]
enum Rest {
    /// The statement stands alone: its connection goes back to the pool when it ends.
    Own(Box<Running>, Aftermath),
    /// In a transaction, whose connection it is.
    In(Arc<Place>, u64),
    Ended,
}

/// A statement that has not ended, and its connection.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) connection: Pooled,
    pub(super) exchange: Exchange,
    pub(super) cancel: CancelFlag,
    pub(super) shard: Arc<str>,
}

impl Running {
    /// The next rows; `None` when the statement has ended.
    ///
    /// # Errors
    /// The shard's error, with the statement ended; or the connection was lost.
    async fn next(&mut self) -> Result<Option<RowBatch>> {
        if self.exchange.ended() {
            return self.exchange.error.take().map_or(Ok(None), Err);
        }
        let mut rows = RowBatch::default();
        let Running { connection, exchange, cancel, shard } = self;
        proceed(connection, exchange, &mut rows, cancel, shard).await?;
        if rows.rows > 0 {
            return Ok(Some(rows));
        }
        exchange.error.take().map_or(Ok(None), Err)
    }

    /// Ends a statement whose rows nobody wants. Gives the connection, in step; otherwise it is closed.
    async fn end(mut self) -> Option<(Pooled, Option<Readiness>)> {
        if !self.discard(LEFTOVER_BYTES, LEFTOVER_TIME).await? {
            if let Err(error) = self.connection.tell_to_cancel(CANCELED_TIME).await {
                tracing::warn!(shard = &*self.shard, %error, "a statement that nobody waits for could not be canceled");
                return None;
            }
            if !self.discard(CANCELED_BYTES, CANCELED_TIME).await? {
                return None;
            }
        }
        Some((self.connection, self.exchange.status))
    }

    /// Takes up to so many bytes, for so long. Whether the statement has ended; `None` if the connection is lost.
    async fn discard(&mut self, bytes: usize, time: Duration) -> Option<bool> {
        let until = Instant::now() + time;
        let mut taken = 0;
        loop {
            let mut rows = RowBatch::default();
            if self.exchange.ended() || self.exchange.advance(&mut self.connection, &mut rows).ok()? == Progress::Ended
            {
                return Some(true);
            }
            taken += rows.frames.len();
            if taken + self.connection.input().len() > bytes {
                return Some(false);
            }
            match timeout_at(until, self.connection.fill()).await {
                Ok(Ok(1..)) => {}
                Ok(_) => return None,
                Err(_) => return Some(false),
            }
        }
    }

    /// The same, in the background: the connection goes back to the pool when no transaction is open on it.
    fn end_in_background(self, aftermath: Aftermath) {
        let pool = Arc::clone(self.connection.pool());
        pool.spawn(async move {
            if let Some((connection, Some(Readiness::Idle))) = self.end().await {
                clean::release(connection, aftermath);
            }
        });
    }
}

impl RowStream {
    pub(super) fn own(first: RowBatch, running: Running, aftermath: Aftermath) -> RowStream {
        RowStream { first, rest: Rest::Own(Box::new(running), aftermath) }
    }

    pub(super) fn in_transaction(first: RowBatch, place: Arc<Place>, statement: u64) -> RowStream {
        RowStream { first, rest: Rest::In(place, statement) }
    }

    /// The next batch of rows, or `None` at the end.
    ///
    /// # Errors
    /// The shard failed after the rows had begun.
    pub async fn next(&mut self) -> Result<Option<RowBatch>> {
        if self.first.rows > 0 {
            return Ok(Some(std::mem::take(&mut self.first)));
        }
        match &mut self.rest {
            Rest::Ended => Ok(None),
            Rest::In(place, statement) => place.next(*statement).await,
            Rest::Own(running, _) => {
                let next = running.next().await;
                if matches!(next, Ok(Some(_))) {
                    return next;
                }
                // Ended in step, or lost: then it is closed by being dropped.
                if let Rest::Own(running, aftermath) = std::mem::replace(&mut self.rest, Rest::Ended)
                    && running.exchange.status == Some(Readiness::Idle)
                {
                    clean::release(running.connection, aftermath);
                }
                next
            }
        }
    }
}

impl Drop for RowStream {
    fn drop(&mut self) {
        match std::mem::replace(&mut self.rest, Rest::Ended) {
            Rest::Ended => {}
            Rest::Own(running, aftermath) => running.end_in_background(aftermath),
            Rest::In(place, statement) => place.forget(statement),
        }
    }
}

/// A transaction's connection, which is with the transaction or with the statement whose rows are still on their way.
#[derive(Debug)]
pub(super) struct Place(Mutex<Content>);

#[derive(Debug, Default)]
struct Content {
    connection: Option<Pooled>,
    running: Option<(u64, Box<Running>)>,
    /// The statement that runs has lost whoever wanted its rows.
    unwanted: bool,
    /// Rows of a statement that had to make room for the next, and how it ended.
    parked: Option<Parked>,
}

#[derive(Debug)]
struct Parked {
    statement: u64,
    batches: VecDeque<RowBatch>,
    end: Option<Error>,
}

impl Place {
    pub(super) fn new(connection: Pooled) -> Arc<Place> {
        Arc::new(Place(Mutex::new(Content { connection: Some(connection), ..Content::default() })))
    }

    /// Takes the connection for the next statement, if no other has it.
    pub(super) fn take_free(&self) -> Option<Pooled> {
        self.0.lock().connection.take()
    }

    /// Takes the connection for the next statement, once the last one has ended. Its rows are kept for its portal.
    ///
    /// # Errors
    /// The connection was lost; or the last statement's rows are too many to be kept (53400).
    pub(super) async fn take(&self) -> Result<Pooled> {
        self.take_after(false).await
    }

    /// The same at the end of a transaction, where nobody can ask for rows any more.
    ///
    /// # Errors
    /// The connection was lost, or the last statement failed.
    pub(super) async fn take_without_rows(&self) -> Result<Pooled> {
        self.take_after(true).await
    }

    /// The same for a rollback: what runs is canceled. `None`: the connection is lost.
    pub(super) async fn take_for_rollback(&self) -> Option<Pooled> {
        let (free, running) = {
            let mut content = self.0.lock();
            (content.connection.take(), content.running.take())
        };
        match (free, running) {
            (Some(connection), _) => Some(connection),
            (None, Some((_, running))) => Some(running.end().await?.0),
            (None, None) => None,
        }
    }

    async fn take_after(&self, at_the_end: bool) -> Result<Pooled> {
        let (free, running, unwanted) = {
            let mut content = self.0.lock();
            (content.connection.take(), content.running.take(), std::mem::take(&mut content.unwanted))
        };
        if let Some(connection) = free {
            return Ok(connection);
        }
        let Some((statement, mut running)) = running else { return Err(gone()) };
        let discard = at_the_end || unwanted;
        let mut parked = Parked { statement, batches: VecDeque::new(), end: None };
        let mut bytes = 0;
        loop {
            match running.next().await {
                Ok(Some(_)) if discard => {}
                Ok(Some(batch)) => {
                    bytes += batch.frames.len();
                    if bytes > PARKED_BYTES {
                        return Err(too_many());
                    }
                    parked.batches.push_back(batch);
                }
                Ok(None) => break,
                // The transaction has failed on the shard: nobody else would learn why.
                Err(error) if running.exchange.ended() && discard => {
                    self.put(running.connection);
                    return Err(error);
                }
                Err(error) if running.exchange.ended() => {
                    parked.end = Some(error);
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        if !discard {
            self.0.lock().parked = Some(parked);
        }
        Ok(running.connection)
    }

    /// Nobody wants the rest of a statement's rows. It runs to its end all the same: canceling it would fail the
    /// transaction.
    fn forget(&self, statement: u64) {
        let mut content = self.0.lock();
        content.unwanted |= content.running.as_ref().is_some_and(|(running, _)| *running == statement);
        if content.parked.as_ref().is_some_and(|parked| parked.statement == statement) {
            content.parked = None;
        }
    }

    /// Gives the connection back after a statement that has ended.
    pub(super) fn put(&self, connection: Pooled) {
        self.0.lock().connection = Some(connection);
    }

    /// Leaves the connection with a statement that goes on.
    pub(super) fn leave_running(&self, statement: u64, running: Running) {
        let mut content = self.0.lock();
        content.running = Some((statement, Box::new(running)));
        content.unwanted = false;
    }

    async fn next(&self, statement: u64) -> Result<Option<RowBatch>> {
        let mut running = {
            let mut content = self.0.lock();
            if let Some(parked) = content.parked.as_mut().filter(|parked| parked.statement == statement) {
                return match (parked.batches.pop_front(), parked.end.take()) {
                    (Some(batch), end) => {
                        parked.end = end;
                        Ok(Some(batch))
                    }
                    (None, Some(error)) => Err(error),
                    (None, None) => Ok(None),
                };
            }
            match content.running.take() {
                Some((number, running)) if number == statement => running,
                other => {
                    content.running = other;
                    return Ok(None);
                }
            }
        };
        let next = running.next().await;
        if running.exchange.ended() {
            self.0.lock().connection = Some(running.connection);
        } else if next.is_ok() {
            self.0.lock().running = Some((statement, running));
        }
        next
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some((_, running)) = self.0.get_mut().running.take() {
            running.end_in_background(Aftermath::Close);
        }
    }
}

fn gone() -> Error {
    Error::new(SqlState::CONNECTION_FAILURE, "the transaction's connection to its shard was lost")
        .fault(crate::error::Fault::Shard)
        .retry(crate::error::Retry::Safe)
        .hint("The transaction was rolled back: run the whole of it again.")
}

fn too_many() -> Error {
    Error::new(
        SqlState::CONFIGURATION_LIMIT_EXCEEDED,
        format!("a portal still has more than {PARKED_BYTES} bytes of rows while another statement begins"),
    )
    .hint("Read the portal to its end or close it first.")
}
