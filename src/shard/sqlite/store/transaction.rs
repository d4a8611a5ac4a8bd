//! A transaction that is told its statements one by one.
//!
//! It is served by a thread of its own for as long as it lasts: the writer's thread, which it holds, or a blocking
//! thread with a connection that keeps a snapshot. The client's side sends work over a channel and waits for each
//! answer; when it goes away, the channel closes and the transaction is rolled back.

use std::fmt::Write;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::call::{Call, Output};
use super::cancel::{CancelFlag, Gone};
use super::changeset::{Applying, Recording};
use super::connection::Backend;
use super::execute;
use super::failure::Failure;
use super::outlet::{Held, Hurry, Interest, Outlet};
use super::queue::{Job, Loan, LoanJob, Place};
use super::redo::RedoStep;
use super::shared::Shared;
use crate::error::{Error, Result, Retry, SqlState};
use crate::shard::Rows;
use crate::shard::sqlite::Effect;

/// What a transaction is begun for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionMode {
    /// Takes the writer before anything else: what it reads cannot change before it commits.
    Write,
    /// As `Write`, for changes of the schema: foreign keys are not enforced while tables are rebuilt.
    Schema,
    /// Reads one snapshot. Its first write takes the writer, and fails with 40001 when somebody committed since.
    Snapshot,
}

/// One piece of a transaction's work, done on the thread that serves it.
pub(super) type Work = Box<dyn FnOnce(&mut Serving<'_>) + Send>;

/// The client's side. Dropping it rolls back.
#[derive(Debug)]
pub struct SqliteTransaction {
    shared: Arc<Shared>,
    work: mpsc::Sender<Work>,
    /// Why the other side ended the transaction by itself.
    ended: Arc<OnceLock<Error>>,
    hurry: Arc<Hurry>,
}

/// The two ends of a transaction's channel.
pub(super) struct Ends {
    pub(super) transaction: SqliteTransaction,
    pub(super) work: mpsc::Receiver<Work>,
    pub(super) ended: Arc<OnceLock<Error>>,
}

impl SqliteTransaction {
    pub(super) fn ends(shared: &Arc<Shared>) -> Ends {
        let (sender, work) = mpsc::channel();
        let ended = Arc::<OnceLock<Error>>::default();
        let transaction = SqliteTransaction {
            shared: Arc::clone(shared),
            work: sender,
            ended: Arc::clone(&ended),
            hurry: Arc::default(),
        };
        Ends { transaction, work, ended }
    }

    /// Has a piece of work done, and waits for its result.
    async fn ask<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Serving<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        self.send(Box::new(move |serving| {
            let _ = reply.send(work(serving));
        }))?;
        answer.await.unwrap_or_else(|_| Err(self.gone()))
    }

    fn send(&self, work: Work) -> Result<()> {
        self.hurry.ask();
        self.work.send(work).map_err(|_| self.gone())
    }

    fn gone(&self) -> Error {
        self.ended.get().cloned().unwrap_or_else(|| self.shared.closing())
    }

    /// Runs one statement.
    ///
    /// # Errors
    /// The statement failed. What it had changed may still be there: only a rollback, whole or to a savepoint, may follow.
    pub async fn run(&mut self, call: Call) -> Result<Output> {
        let (reply, answer) = oneshot::channel();
        let interest = Interest::default();
        let gone = interest.gone();
        let hurry = Arc::clone(&self.hurry);
        self.send(Box::new(move |serving| serving.run(call, reply, gone, hurry)))?;
        let _waiting = interest.guard();
        answer.await.unwrap_or_else(|_| Err(self.gone()))
    }

    /// Runs SQLite statements as they are: a change of the schema. They are done again by themselves, so what they change is
    /// not recorded; take what was recorded before them first.
    pub async fn run_batch(&mut self, statements: Vec<String>) -> Result<()> {
        self.ask(move |serving| serving.run_batch(&statements)).await
    }

    pub async fn savepoint(&mut self, name: &str) -> Result<()> {
        let name = name.to_owned();
        self.ask(move |serving| serving.savepoint("SAVEPOINT", &name)).await
    }

    pub async fn rollback_to(&mut self, name: &str) -> Result<()> {
        let name = name.to_owned();
        self.ask(move |serving| serving.rollback_to(&name)).await
    }

    pub async fn release(&mut self, name: &str) -> Result<()> {
        let name = name.to_owned();
        self.ask(move |serving| serving.savepoint("RELEASE", &name)).await
    }

    /// From now on, records what is changed, for [`SqliteTransaction::take_changes`].
    pub async fn record_changes(&mut self) -> Result<()> {
        self.ask(|serving| serving.record_changes()).await
    }

    /// What was changed since the recording began, or since the last time; empty when nothing was. The recording goes on.
    pub async fn take_changes(&mut self) -> Result<Vec<u8>> {
        self.ask(|serving| serving.take_changes()).await
    }

    /// Does to this shard's copies of reference tables what another shard recorded.
    ///
    /// # Errors
    /// The copies were not equal; nothing was changed.
    pub async fn apply_changes(&mut self, changes: Vec<u8>) -> Result<()> {
        self.ask(move |serving| serving.apply_changes(&changes, Applying::Copy)).await
    }

    /// Does what this shard recorded and lost. `false`: it had been done, and nothing was done now.
    pub(super) async fn redo(&mut self, gid: &str, steps: Vec<RedoStep>) -> Result<bool> {
        let gid = gid.to_owned();
        self.ask(move |serving| serving.redo(&gid, &steps)).await
    }

    /// # Errors
    /// Nothing was committed, unless the error's [`Retry`] is `Unknown`.
    pub async fn commit(mut self) -> Result<()> {
        self.ask(|serving| serving.commit()).await
    }

    /// Commits a part of what was decided, under the record's id, so that recovery knows that it was done.
    ///
    /// # Errors
    /// The part is not done. The shard answers nothing until [`SqliteShard::apply_redo`](super::SqliteShard::apply_redo)
    /// has done it: its rows are not what they should be.
    pub async fn commit_as(mut self, gid: &str) -> Result<()> {
        let shared = Arc::clone(&self.shared);
        let gid = gid.to_owned();
        let committed = self
            .ask(move |serving| {
                let committed = serving.mark_applied(&gid).and_then(|_| serving.commit());
                if committed.is_err() {
                    // Before the writer is free for anybody else.
                    serving.shared.suspend(Some(serving.shared.incomplete()));
                }
                committed
            })
            .await;
        if committed.is_err() {
            shared.suspend(Some(shared.incomplete()));
        }
        committed
    }

    /// Takes everything back. If the shard cannot answer, it does so by itself.
    pub async fn rollback(mut self) {
        let _ = self
            .ask(|serving| {
                serving.rollback();
                Ok(())
            })
            .await;
    }
}

/// A savepoint's name for SQLite, which does not tell upper from lower case.
fn savepoint_name(name: &str) -> String {
    name.bytes().fold(String::from("s"), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// How far a transaction is.
enum Stage {
    /// Holds a snapshot, and not the writer.
    Reading,
    Writing,
    /// SQLite rolled the whole transaction back, savepoints and all.
    Lost,
    Over,
}

/// The serving side: a connection with an open transaction.
pub(super) struct Serving<'c> {
    shared: &'c Arc<Shared>,
    backend: &'c Backend,
    stage: Stage,
    loan: Option<Loan>,
    recording: Option<Recording<'c>>,
    /// The schema or whole rows were changed from outside the statements: what is known of sequences is not certain.
    reload_sequences: bool,
    stored_sequences: bool,
}

impl<'c> Serving<'c> {
    /// Begins on the writer's connection.
    pub(super) fn begin_writing(shared: &'c Arc<Shared>, backend: &'c Backend) -> rusqlite::Result<Serving<'c>> {
        backend.connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        Ok(Serving::new(shared, backend, Stage::Writing))
    }

    /// Begins a snapshot, and fixes it.
    pub(super) fn begin_reading(shared: &'c Arc<Shared>, backend: &'c Backend) -> rusqlite::Result<Serving<'c>> {
        backend.connection.prepare_cached("BEGIN")?.execute([])?;
        let serving = Serving::new(shared, backend, Stage::Reading);
        backend.connection.prepare_cached("SELECT 1 FROM shardd_meta LIMIT 1")?.exists([])?;
        Ok(serving)
    }

    fn new(shared: &'c Arc<Shared>, backend: &'c Backend, stage: Stage) -> Serving<'c> {
        Serving {
            shared,
            backend,
            stage,
            loan: None,
            recording: None,
            reload_sequences: false,
            stored_sequences: false,
        }
    }

    /// Does what it is told until the transaction is over, its client is gone, or has been silent for too long.
    pub(super) fn serve(mut self, work: &mpsc::Receiver<Work>, ended: &OnceLock<Error>) {
        let mut idle_since = Instant::now();
        while !matches!(self.stage, Stage::Over) {
            match work.recv_timeout(LOOK_AROUND) {
                Ok(work) => {
                    work(&mut self);
                    idle_since = Instant::now();
                }
                Err(RecvTimeoutError::Disconnected) => self.rollback(),
                Err(RecvTimeoutError::Timeout) => {
                    if let Some(error) = self.must_end(idle_since.elapsed()) {
                        let _ = ended.set(error);
                        self.rollback();
                    }
                }
            }
        }
    }

    fn must_end(&self, idle: Duration) -> Option<Error> {
        if self.shared.queue.is_closed() {
            return Some(self.shared.closing());
        }
        (idle >= self.shared.limits.idle_in_transaction).then(|| {
            Error::new(
                SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
                "terminating transaction due to idle-in-transaction timeout",
            )
            .detail(format!("It held shard \"{}\" for {} s without a statement.", self.shared.name, idle.as_secs()))
            .hint("Its changes were rolled back. Commit sooner, or raise the limit idle_in_transaction.")
            .retry(Retry::Safe)
        })
    }

    fn run(&mut self, call: Call, reply: oneshot::Sender<Result<Output>>, gone: Gone, hurry: Arc<Hurry>) {
        hurry.reset();
        if call.program.effect == Effect::Write {
            // The client's side may be gone; the channel tells soon enough.
            let _ = reply.send(self.write(&call, gone));
            return;
        }
        let patience = self.shared.patience_of_transactions();
        let mut outlet = Outlet::new(reply, hurry, patience, self.shared.runtime.clone());
        let ended = self.check_alive().and_then(|()| {
            execute::run_while(&self.backend.connection, &self.backend.watch, &call, Some(gone), &mut outlet)
                .map_err(|failure| self.told(&call, failure))
        });
        outlet.finish(ended);
    }

    fn write(&mut self, call: &Call, gone: Gone) -> Result<Output> {
        self.check_alive()?;
        self.take_writer(&call.cancel)?;
        self.shared.sequences.begin_statement();
        let mut held = Held { limit: self.shared.limits.held_bytes };
        let ended = execute::run_while(&self.backend.connection, &self.backend.watch, call, Some(gone), &mut held)
            .map_err(|failure| self.told(call, failure))?;
        Ok(Output { rows: Rows::Ready(ended.rest), affected: ended.affected })
    }

    fn told(&mut self, call: &Call, failure: Failure) -> Error {
        let error = super::constraint::told(self.shared, self.backend, call, failure);
        self.notice_loss();
        error
    }

    /// SQLite rolls the whole transaction back when a write is interrupted, and when the disk or memory is full.
    fn notice_loss(&mut self) {
        if matches!(self.stage, Stage::Reading | Stage::Writing) && self.backend.connection.is_autocommit() {
            self.recording = None;
            self.stage = Stage::Lost;
            let _ = self.forget_stored_sequences();
        }
    }

    fn check_alive(&mut self) -> Result<()> {
        self.notice_loss();
        match self.stage {
            Stage::Reading | Stage::Writing => Ok(()),
            Stage::Lost => Err(Error::new(
                SqlState::IN_FAILED_SQL_TRANSACTION,
                "the transaction was rolled back as a whole, and its savepoints with it",
            )
            .detail("SQLite does so when a write is canceled in its midst, and when disk or memory is full.")
            .hint("End it with ROLLBACK and begin again.")),
            Stage::Over => Err(Error::new(SqlState::NO_ACTIVE_SQL_TRANSACTION, "the transaction is over")),
        }
    }

    /// Before the first write of a snapshot: waits for the writer's place.
    fn take_writer(&mut self, cancel: &CancelFlag) -> Result<()> {
        if !matches!(self.stage, Stage::Reading) {
            return Ok(());
        }
        let loan = self.shared.runtime.block_on(borrow_writer(self.shared, cancel))?;
        let upgraded = self
            .backend
            .connection
            .pragma_update(None, "query_only", false)
            // A write of nothing: takes SQLite's lock, or says that the snapshot is old.
            .and_then(|()| self.backend.connection.execute("DELETE FROM shardd_applied WHERE gid IS NULL", []));
        if let Err(error) = upgraded {
            let _ = self.backend.connection.pragma_update(None, "query_only", true);
            return Err(self.shared.translate(&error));
        }
        self.loan = Some(loan);
        self.stage = Stage::Writing;
        Ok(())
    }

    fn run_batch(&mut self, statements: &[String]) -> Result<()> {
        self.check_alive()?;
        self.take_writer(&CancelFlag::new())?;
        self.reload_sequences = true;
        self.store_sequences().map_err(|error| self.shared.translate(&error))?;
        // The session extension fails with SQLITE_SCHEMA when a table that it recorded gets other columns.
        let recorded = self.recording.take().is_some();
        let done = statements.iter().try_for_each(|statement| self.run_plain(statement));
        let reloaded = done.and_then(|()| Ok(self.shared.sequences.reload(&self.backend.connection)?));
        self.notice_loss();
        reloaded.map_err(|failure| super::constraint::told_of_batch(self.shared, failure))?;
        if recorded { self.record_changes() } else { Ok(()) }
    }

    /// One statement. A row of `PRAGMA foreign_key_check` is a violation.
    fn run_plain(&self, statement: &str) -> Result<(), Failure> {
        let mut statement = self.backend.connection.prepare(statement)?;
        let checks = statement.column_count() == 4 && statement.column_name(3).is_ok_and(|name| name == "fkid");
        let mut rows = statement.raw_query();
        while let Some(row) = rows.next()? {
            if checks {
                let (table, parent): (String, String) = (row.get(0)?, row.get(2)?);
                return Err(Failure::Told(super::constraint::broken_foreign_key(&table, &parent)));
            }
        }
        Ok(())
    }

    fn savepoint(&mut self, word: &str, name: &str) -> Result<()> {
        self.check_alive()?;
        let statement = format!("{word} {}", savepoint_name(name));
        let done = self.backend.connection.prepare_cached(&statement).and_then(|mut statement| statement.execute([]));
        done.map(|_| ()).map_err(|error| match super::failure::parts(&error) {
            Some((_, text)) if text.starts_with("no such savepoint") => {
                Error::new(SqlState::SAVEPOINT_EXCEPTION, format!("savepoint \"{name}\" does not exist"))
            }
            _ => self.shared.translate(&error),
        })
    }

    fn rollback_to(&mut self, name: &str) -> Result<()> {
        self.savepoint("ROLLBACK TO", name)?;
        self.forget_stored_sequences().map_err(|error| self.shared.translate(&error))
    }

    /// What was stored of sequences may have been rolled back.
    fn forget_stored_sequences(&mut self) -> rusqlite::Result<()> {
        if self.stored_sequences {
            self.shared.sequences.store_again();
        }
        if self.reload_sequences { self.shared.sequences.reload(&self.backend.connection) } else { Ok(()) }
    }

    fn store_sequences(&mut self) -> rusqlite::Result<()> {
        self.stored_sequences = true;
        self.shared.sequences.store(&self.backend.connection)
    }

    fn record_changes(&mut self) -> Result<()> {
        self.check_alive()?;
        self.recording = None;
        self.recording =
            Some(Recording::begin(&self.backend.connection).map_err(|error| self.shared.translate(&error))?);
        Ok(())
    }

    fn take_changes(&mut self) -> Result<Vec<u8>> {
        self.check_alive()?;
        self.store_sequences().map_err(|error| self.shared.translate(&error))?;
        let recording = self.recording.take().ok_or_else(|| Error::internal("no changes were being recorded"))?;
        let changes = recording.changes().map_err(|error| self.shared.translate(&error))?;
        self.record_changes()?;
        Ok(changes)
    }

    fn redo(&mut self, gid: &str, steps: &[RedoStep]) -> Result<bool> {
        if !self.mark_applied(gid)? {
            return Ok(false);
        }
        for step in steps {
            match step {
                RedoStep::Statements(statements) => self.run_batch(statements)?,
                RedoStep::Changes(changes) => self.apply_changes(changes, Applying::Own)?,
            }
        }
        Ok(true)
    }

    fn apply_changes(&mut self, changes: &[u8], applying: Applying) -> Result<()> {
        self.check_alive()?;
        self.take_writer(&CancelFlag::new())?;
        self.reload_sequences = true;
        self.store_sequences().map_err(|error| self.shared.translate(&error))?;
        let applied = super::changeset::apply(&self.backend.connection, changes, applying, &|table| {
            self.shared.sequences.is_reference(table)
        });
        let applied = applied.and_then(|()| {
            self.shared.sequences.reload(&self.backend.connection).map_err(super::changeset::Unapplied::Sqlite)
        });
        self.notice_loss();
        applied.map_err(|unapplied| unapplied.error(self.shared))
    }

    fn mark_applied(&mut self, gid: &str) -> Result<bool> {
        self.check_alive()?;
        self.take_writer(&CancelFlag::new())?;
        let marked = super::redo::mark(&self.backend.connection, gid);
        marked.map_err(|error| self.shared.translate(&error))
    }

    fn commit(&mut self) -> Result<()> {
        self.check_alive()?;
        self.recording = None;
        let since = Instant::now();
        let writes = matches!(self.stage, Stage::Writing);
        if writes && let Err(error) = self.store_sequences() {
            let error = self.shared.translate(&error);
            self.rollback();
            return Err(error);
        }
        let done = self.backend.connection.prepare_cached("COMMIT").and_then(|mut commit| commit.execute([]));
        if let Err(error) = done {
            let error = super::writer::commit_error(self.shared, &error);
            self.rollback();
            return Err(error);
        }
        if writes {
            self.shared.metrics.group_commit(1, since.elapsed());
        }
        self.reload_sequences = false;
        self.end();
        Ok(())
    }

    fn rollback(&mut self) {
        self.recording = None;
        if !self.backend.connection.is_autocommit() {
            // It cannot fail in a way that leaves the transaction open; if it did, the next BEGIN would say so.
            let _ = self.backend.connection.prepare_cached("ROLLBACK").and_then(|mut rollback| rollback.execute([]));
        }
        let _ = self.forget_stored_sequences();
        self.end();
    }

    fn end(&mut self) {
        if self.loan.is_some() {
            let _ = self.backend.connection.pragma_update(None, "query_only", true);
            self.loan = None;
        }
        self.stage = Stage::Over;
    }
}

impl Drop for Serving<'_> {
    fn drop(&mut self) {
        if !matches!(self.stage, Stage::Over) {
            self.rollback();
        }
    }
}

/// How often a transaction that waits looks whether it must end.
const LOOK_AROUND: Duration = Duration::from_millis(100);

async fn borrow_writer(shared: &Arc<Shared>, cancel: &CancelFlag) -> Result<Loan> {
    let place = Place::new();
    let (granted, answer) = oneshot::channel();
    shared.push(Job::Loan(LoanJob { place: place.clone(), granted }))?;
    shared.wait_for_writer(&place, answer, cancel).await
}
