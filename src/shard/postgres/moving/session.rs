//! A connection of a move's own to one server, with transactions and COPY both ways.
//!
//! It is beside the pools, so that a move waits for no client and no client for a move. Within a transaction it never connects
//! anew: what would run outside the transaction then is refused.

use std::sync::Arc;
use std::time::Duration;

use bytes::BufMut;

use super::super::backend::Backend;
use super::super::frames::Next;
use super::super::own_connection::TextRows;
use super::super::target::Target;
use crate::error::{Error, Fault, Result, Retry, SqlState};
use crate::wire::backend::Readiness;
use crate::wire::{request, response};

/// How long a connection may take to be made.
const CONNECT_TIME: Duration = Duration::from_secs(10);
/// Rows are sent in messages of about this size.
const MESSAGE_BYTES: usize = 64 << 10;

/// Values are written by both servers alike, names mean Postgres's own, nothing waits for ever, and row security hides nothing:
/// it is an error instead. Keys are looked up, and
/// read in order, by their index: how many rows are of some slots no planner knows.
const SETTINGS: &str = "SET search_path = pg_catalog, pg_temp; SET DateStyle = 'ISO, YMD'; SET IntervalStyle = 'postgres'; \
     SET TimeZone = 'UTC'; SET extra_float_digits = 3; SET bytea_output = 'hex'; SET lc_monetary = 'C'; \
     SET standard_conforming_strings = on; SET statement_timeout = 0; SET lock_timeout = '5s'; \
     SET idle_in_transaction_session_timeout = '5min'; SET default_transaction_isolation = 'read committed'; \
     SET default_transaction_read_only = off; SET synchronous_commit = on; SET row_security = off; \
     SET enable_mergejoin = off; SET enable_hashjoin = off; SET enable_sort = off; SET application_name = 'shardd move'";

/// Made when something is asked, and kept while it works.
#[derive(Debug)]
pub(super) struct MovingSession {
    shard: Arc<str>,
    target: Arc<Target>,
    backend: Option<Box<Backend>>,
    /// Of the last answer.
    status: Readiness,
    /// Users' triggers and foreign keys do not act on what it writes.
    replica_role: bool,
}

/// What one exchange has brought.
#[derive(Debug, Default)]
struct Answer {
    rows: TextRows,
    copied: Vec<u8>,
    /// More was to be copied than was asked for.
    too_much: bool,
    affected: u64,
    error: Option<Error>,
}

impl MovingSession {
    pub(super) fn new(shard: &str, target: Target) -> MovingSession {
        MovingSession {
            shard: shard.into(),
            target: Arc::new(target),
            backend: None,
            status: Readiness::Idle,
            replica_role: false,
        }
    }

    pub(super) fn shard(&self) -> &str {
        &self.shard
    }

    /// Lets users' triggers and foreign keys be, from now on.
    ///
    /// # Errors
    /// 42501: the role may not; what to grant. Nothing has changed then.
    pub(super) async fn be_replica(&mut self) -> Result<()> {
        self.ask("SET session_replication_role = replica").await?;
        self.replica_role = true;
        Ok(())
    }

    /// Runs statements, each for itself outside of any transaction, or all as one where there are several. Gives their rows.
    ///
    /// # Errors
    /// The server's, or it cannot be reached.
    pub(super) async fn ask(&mut self, text: &str) -> Result<TextRows> {
        self.open().await?;
        self.run(text).await
    }

    /// Begins a transaction by a text that begins with BEGIN. Gives its rows.
    ///
    /// # Errors
    /// As [`MovingSession::ask`].
    pub(super) async fn begin(&mut self, text: &str) -> Result<TextRows> {
        self.open().await?;
        self.run(text).await
    }

    /// Ends the transaction.
    ///
    /// # Errors
    /// It was rolled back; or, where the connection was lost, it may have been committed.
    pub(super) async fn commit(&mut self) -> Result<()> {
        let failed = self.status == Readiness::InFailedTransaction;
        self.run("COMMIT").await?;
        match failed {
            true => Err(Error::new(SqlState::IN_FAILED_SQL_TRANSACTION, "a transaction of a move was rolled back")),
            false => Ok(()),
        }
    }

    /// Takes back what is open. Where that cannot be done, the connection is closed, which comes to the same.
    pub(super) async fn roll_back(&mut self) {
        if self.status != Readiness::Idle && self.run("ROLLBACK").await.is_err() {
            self.backend = None;
            self.status = Readiness::Idle;
        }
    }

    /// Runs statements within the transaction.
    ///
    /// # Errors
    /// As [`MovingSession::ask`].
    pub(super) async fn run(&mut self, text: &str) -> Result<TextRows> {
        Ok(self.exchange(text, None, usize::MAX).await?.rows)
    }

    /// What COPY TO STDOUT gives; `None`, and the transaction is gone, where it is more than `most_bytes`.
    ///
    /// # Errors
    /// As [`MovingSession::ask`].
    pub(super) async fn copy_out(&mut self, text: &str, most_bytes: usize) -> Result<Option<Vec<u8>>> {
        let answer = self.exchange(text, None, most_bytes).await?;
        Ok((!answer.too_much).then_some(answer.copied))
    }

    /// Gives COPY FROM STDIN its rows, and tells how many they were.
    ///
    /// # Errors
    /// As [`MovingSession::ask`].
    pub(super) async fn copy_in(&mut self, text: &str, rows: &[u8]) -> Result<u64> {
        Ok(self.exchange(text, Some(rows), usize::MAX).await?.affected)
    }

    /// Sees to it that there is a connection, with no transaction on it.
    ///
    /// # Errors
    /// The server cannot be reached.
    pub(super) async fn open(&mut self) -> Result<()> {
        self.roll_back().await;
        if self.backend.as_ref().is_some_and(|backend| backend.is_quiet()) {
            return Ok(());
        }
        self.backend = Some(Box::new(Backend::connect(&self.target, CONNECT_TIME).await?));
        self.status = Readiness::Idle;
        self.run(SETTINGS).await?;
        // Whoever may not set it waits longer for autovacuum, which gives way after this time.
        match self.run("SET deadlock_timeout = '100ms'").await {
            Err(error) if error.sqlstate() != SqlState::INSUFFICIENT_PRIVILEGE => return Err(error),
            _ => {}
        }
        if self.replica_role {
            self.run("SET session_replication_role = replica").await?;
        }
        Ok(())
    }

    /// Runs one statement within the transaction, and tells how many rows it has changed.
    ///
    /// # Errors
    /// As [`MovingSession::ask`].
    pub(super) async fn change(&mut self, text: &str) -> Result<u64> {
        Ok(self.exchange(text, None, usize::MAX).await?.affected)
    }

    async fn exchange(&mut self, text: &str, give: Option<&[u8]>, most_bytes: usize) -> Result<Answer> {
        let Some(mut backend) = self.backend.take() else { return Err(self.lost("it was closed")) };
        request::query(backend.output(), text);
        let mut answer = Answer::default();
        let status = loop {
            backend.flush().await.map_err(|error| self.lost(error))?;
            if let Some(status) = take(&mut backend, &mut answer, give, most_bytes)? {
                break status;
            }
            if answer.too_much {
                // The connection goes, and the server's transaction with it.
                self.status = Readiness::Idle;
                return Ok(answer);
            }
            if backend.output().is_empty() && backend.fill().await.map_err(|error| self.lost(error))? == 0 {
                return Err(answer.error.unwrap_or_else(|| self.lost("the server closed it")));
            }
        };
        self.status = status;
        self.backend = Some(backend);
        match answer.error.take() {
            Some(error) => Err(error),
            None => Ok(answer),
        }
    }

    fn lost(&self, reason: impl std::fmt::Display) -> Error {
        let message = format!("a move's connection to shard \"{}\" was lost: {reason}", self.shard);
        Error::new(SqlState::CONNECTION_FAILURE, message).fault(Fault::Shard).retry(Retry::Unknown)
    }
}

/// Takes what has come; the last of it tells the transaction's state.
fn take(
    backend: &mut Backend,
    answer: &mut Answer,
    give: Option<&[u8]>,
    most_bytes: usize,
) -> Result<Option<Readiness>> {
    while let Next::Whole(header) = backend.next()? {
        let frame = backend.take_bytes(header.frame_bytes);
        let body = &frame[5..];
        match header.kind {
            b'D' => {
                let values = response::data_row(&frame)?.into_iter();
                let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
                answer.rows.push(values.map(|value| value.map(text)).collect());
            }
            b'd' if answer.copied.len() + body.len() > most_bytes && !answer.copied.is_empty() => {
                answer.too_much = true;
                return Ok(None);
            }
            b'd' => answer.copied.extend_from_slice(body),
            b'G' => {
                let output = backend.output();
                for part in give.unwrap_or_default().chunks(MESSAGE_BYTES) {
                    output.put_u8(b'd');
                    output.put_u32(part.len() as u32 + 4);
                    output.put_slice(part);
                }
                request::copy_done(output);
                return Ok(None);
            }
            b'C' => answer.affected = response::affected_rows(body)?,
            b'E' => _ = answer.error.get_or_insert(response::report(body)),
            b'Z' => return response::ready_for_query(body).map(Some),
            b'S' => _ = backend.note_parameter(body)?,
            _ => {}
        }
    }
    Ok(None)
}
