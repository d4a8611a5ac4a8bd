//! Rows on their way from a Postgres shard, taken from its connection only as fast as they are asked for.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;

use super::call::Aftermath;
use super::clean;
use super::conversation::proceed;
use super::exchange::Exchange;
use super::pool::Pooled;
use crate::error::{Error, Result, SqlState};
use crate::shard::{CancelFlag, RowBatch};
use crate::wire::response::Status;

/// Rows of a suspended portal that are kept when its transaction goes on with another statement.
const PARKED_BYTES: usize = 64 << 20;

/// The rows of one statement after its first.
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
                    && running.exchange.status == Some(Status::Idle)
                {
                    clean::release(running.connection, aftermath);
                }
                next
            }
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

    /// Takes the connection for the next statement, once the last one has ended.
    ///
    /// # Errors
    /// The connection was lost; or the last statement's rows are too many to be kept (53400).
    pub(super) async fn take(&self) -> Result<Pooled> {
        let (free, running) = {
            let mut content = self.0.lock();
            (content.connection.take(), content.running.take())
        };
        if let Some(connection) = free {
            return Ok(connection);
        }
        let Some((statement, mut running)) = running else { return Err(gone()) };
        let mut parked = Parked { statement, batches: VecDeque::new(), end: None };
        let mut bytes = 0;
        loop {
            match running.next().await {
                Ok(Some(batch)) => {
                    bytes += batch.frames.len();
                    if bytes > PARKED_BYTES {
                        return Err(too_many());
                    }
                    parked.batches.push_back(batch);
                }
                Ok(None) => break,
                Err(error) if running.exchange.ended() => {
                    parked.end = Some(error);
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        self.0.lock().parked = Some(parked);
        Ok(running.connection)
    }

    /// Gives the connection back after a statement that has ended.
    pub(super) fn put(&self, connection: Pooled) {
        self.0.lock().connection = Some(connection);
    }

    /// Leaves the connection with a statement that goes on.
    pub(super) fn leave_running(&self, statement: u64, running: Running) {
        self.0.lock().running = Some((statement, Box::new(running)));
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
