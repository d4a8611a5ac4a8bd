//! The serving side of a transaction: a connection with an open transaction, and what is done on it.

use std::fmt::Write;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::call::Call;
use super::cancel::Gone;
use super::changeset::{Applying, Recording};
use super::connection::Backend;
use super::execute;
use super::failure::Failure;
use super::outlet::{Held, Hurry, Outlet};
use super::queue::{Job, Loan, LoanJob, Place};
use super::redo::RedoStep;
use super::shared::Shared;
use super::transaction::Work;
use crate::error::{Error, Result, Retry, SqlState};
use crate::shard::CancelFlag;
use crate::shard::Output;
use crate::shard::Rows;
use crate::shard::sqlite::Effect;
use crate::topology::Schema;

/// A savepoint's name for SQLite, which does not tell upper from lower case.
fn savepoint_name(name: &str) -> String {
    name.bytes().fold(String::from("s"), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// The table that a statement of the dialect drops.
fn dropped_table(statement: &str) -> Option<String> {
    let rest = statement.strip_prefix("DROP TABLE ")?;
    let rest = rest.strip_prefix("IF EXISTS ").unwrap_or(rest).trim();
    let quoted = rest.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    Some(quoted.map_or_else(|| rest.to_owned(), |name| name.replace("\"\"", "\"")))
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

/// Whether SQLite looks at foreign keys as rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ForeignKeys {
    Enforced,
    /// While tables are rebuilt.
    NotEnforced,
    /// Rows were written in the meantime, which have to be looked at before the commit.
    Owed,
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
    /// Of a snapshot: the schema that it sees.
    snapshot_schema: Option<Arc<Schema>>,
    /// It ran statements that change the schema.
    changes_schema: bool,
    stored_sequences: bool,
    keys: ForeignKeys,
}

impl<'c> Serving<'c> {
    /// Begins on the writer's connection.
    pub(super) fn begin_writing(
        shared: &'c Arc<Shared>,
        backend: &'c Backend,
        schema: bool,
    ) -> rusqlite::Result<Serving<'c>> {
        backend.connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        let keys = if schema { ForeignKeys::NotEnforced } else { ForeignKeys::Enforced };
        let mut serving = Serving::new(shared, backend, Stage::Writing);
        serving.keys = keys;
        Ok(serving)
    }

    /// Begins a snapshot, and fixes it.
    pub(super) fn begin_reading(shared: &'c Arc<Shared>, backend: &'c Backend) -> rusqlite::Result<Serving<'c>> {
        backend.connection.prepare_cached("BEGIN")?.execute([])?;
        let mut serving = Serving::new(shared, backend, Stage::Reading);
        backend.connection.prepare_cached("SELECT 1 FROM shardd_meta LIMIT 1")?.exists([])?;
        serving.snapshot_schema = Some(shared.schema.load_full());
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
            snapshot_schema: None,
            changes_schema: false,
            stored_sequences: false,
            keys: ForeignKeys::Enforced,
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

    pub(super) fn run(&mut self, call: Call, reply: oneshot::Sender<Result<Output>>, gone: Gone, hurry: Arc<Hurry>) {
        hurry.reset();
        if call.program.effect == Effect::Write {
            // The client's side may be gone; the channel tells soon enough.
            let _ = reply.send(self.write(&call, gone));
            return;
        }
        let patience = self.shared.patience_of_transactions();
        let mut outlet = Outlet::new(reply, hurry, patience, self.shared.runtime.clone());
        let ended = self.check_alive().and_then(|()| self.check_schema(&call)).and_then(|()| {
            execute::run_while(self.backend, &call, Some(gone), &mut outlet)
                .map_err(|failure| self.told(&call, failure))
        });
        outlet.finish(ended);
    }

    fn write(&mut self, call: &Call, gone: Gone) -> Result<Output> {
        self.check_alive()?;
        self.take_writer(&call.cancel)?;
        self.check_schema(call)?;
        self.shared.sequences.begin_statement();
        let mut held = Held { limit: self.shared.limits.held_bytes };
        let ended = execute::run_while(self.backend, call, Some(gone), &mut held)
            .map_err(|failure| self.told(call, failure))?;
        if self.keys == ForeignKeys::NotEnforced {
            self.keys = ForeignKeys::Owed;
        }
        let numbers = self.shared.sequences.numbers();
        Ok(Output { rows: Rows::Ready(ended.rest), affected: ended.affected, numbers, ..Output::default() })
    }

    /// Nobody changes the schema under a transaction: a snapshot keeps what it saw, and a writer is alone.
    fn check_schema(&self, call: &Call) -> Result<()> {
        match &self.snapshot_schema {
            Some(seen) => call.check_schema(seen),
            None => call.check_schema(&self.shared.schema.load()),
        }
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
        // Whether its changes will be asked for is not known yet, and what was not recorded cannot be told.
        if self.recording.is_none() { self.record_changes() } else { Ok(()) }
    }

    pub(super) fn run_batch(&mut self, statements: &[String]) -> Result<()> {
        self.check_alive()?;
        self.take_writer(&CancelFlag::new())?;
        self.reload_sequences = true;
        self.changes_schema = true;
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
        if self.keys == ForeignKeys::Enforced {
            self.check_drop(statement)?;
        }
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

    /// While foreign keys are enforced, dropping a table deletes its rows first, with all that follows ON DELETE: a table
    /// that is rebuilt would take its children's rows with it.
    fn check_drop(&self, statement: &str) -> Result<(), Failure> {
        let Some(dropped) = dropped_table(statement) else { return Ok(()) };
        let sql = "SELECT count(*) FROM sqlite_schema AS child, pragma_foreign_key_list(child.name) AS key \
                   WHERE child.type = 'table' AND key.\"table\" = ?1 COLLATE NOCASE AND child.name <> ?1 COLLATE NOCASE";
        let children: i64 = self.backend.connection.prepare_cached(sql)?.query_row([&dropped], |row| row.get(0))?;
        if children == 0 {
            return Ok(());
        }
        Err(Failure::Told(Error::unsupported(
            format!("changing table \"{dropped}\", which others refer to, after rows in the same transaction"),
            "Change the schema at the transaction's beginning, or in one of its own.",
        )))
    }

    pub(super) fn savepoint(&mut self, word: &str, name: &str) -> Result<()> {
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

    pub(super) fn rollback_to(&mut self, name: &str) -> Result<()> {
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

    pub(super) fn record_changes(&mut self) -> Result<()> {
        self.check_alive()?;
        self.recording = None;
        self.recording =
            Some(Recording::begin(&self.backend.connection).map_err(|error| self.shared.translate(&error))?);
        Ok(())
    }

    pub(super) fn holds_writer(&self) -> bool {
        matches!(self.stage, Stage::Writing)
    }

    pub(super) fn take_changes(&mut self) -> Result<Vec<u8>> {
        self.check_alive()?;
        if !self.holds_writer() {
            return Ok(Vec::new());
        }
        self.store_sequences().map_err(|error| self.shared.translate(&error))?;
        let recording = self.recording.take().ok_or_else(|| Error::internal("no changes were being recorded"))?;
        let changes = recording.changes().map_err(|error| self.shared.translate(&error))?;
        self.record_changes()?;
        Ok(changes)
    }

    pub(super) fn redo(&mut self, gid: &str, steps: &[RedoStep]) -> Result<bool> {
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

    pub(super) fn apply_changes(&mut self, changes: &[u8], applying: Applying) -> Result<()> {
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
        let applied = applied.map_err(|unapplied| match unapplied {
            super::changeset::Unapplied::ForeignKey => {
                super::constraint::told_of_changes(self.shared, self.backend, changes)
            }
            other => other.error(self.shared),
        });
        self.notice_loss();
        applied
    }

    pub(super) fn mark_applied(&mut self, gid: &str) -> Result<bool> {
        self.check_alive()?;
        self.take_writer(&CancelFlag::new())?;
        let marked = super::redo::mark(&self.backend.connection, gid);
        marked.map_err(|error| self.shared.translate(&error))
    }

    pub(super) fn commit(&mut self) -> Result<()> {
        self.check_alive()?;
        self.recording = None;
        let since = Instant::now();
        let writes = matches!(self.stage, Stage::Writing);
        if writes && let Err(error) = self.before_commit() {
            self.rollback();
            return Err(error);
        }
        let before = self.changes_schema.then(|| self.leave_schema());
        let done = self.backend.connection.prepare_cached("COMMIT").and_then(|mut commit| commit.execute([]));
        self.shared.committed();
        if let Err(error) = done {
            let error = super::writer::commit_error(self.shared, &error);
            self.rollback();
            if let Some(before) = before {
                self.shared.schema.store(before);
            }
            return Err(error);
        }
        if self.changes_schema {
            // Before anybody else writes.
            if let Err(error) = self.shared.guards.reload(&self.backend.connection) {
                tracing::error!(shard = %self.shared.name, %error, "the guard cannot be read: no row is let through");
            }
        }
        if writes {
            self.shared.metrics.group_commit(1, since.elapsed());
        }
        self.reload_sequences = false;
        self.end();
        Ok(())
    }

    /// From before the commit, the shard has a schema that no program was translated for, until the engine publishes the
    /// one that is committed. Gives the one before.
    fn leave_schema(&self) -> Arc<Schema> {
        let before = self.shared.schema.load_full();
        self.shared.schema.store(Arc::new(Schema::clone(&before)));
        before
    }

    /// Commits a part of what was decided. If that fails the shard answers nothing from now on: its rows are not what
    /// they should be, and the writer is free for somebody else as soon as this returns.
    pub(super) fn commit_as(&mut self, gid: &str) -> Result<()> {
        let committed = self.mark_applied(gid).and_then(|_| self.commit());
        if committed.is_err() {
            self.shared.suspend(Some(self.shared.incomplete()));
        }
        committed
    }

    fn before_commit(&mut self) -> Result<()> {
        self.shared.check_files()?;
        self.store_sequences().map_err(|error| self.shared.translate(&error))?;
        if self.keys != ForeignKeys::Owed {
            return Ok(());
        }
        self.run_plain("PRAGMA foreign_key_check").map_err(|failure| {
            super::constraint::told_of_batch(self.shared, failure).hint(
                "Foreign keys, and what they do ON DELETE and ON UPDATE, rest while a transaction changes the schema. \
                 Change rows in a transaction of their own.",
            )
        })
    }

    pub(super) fn rollback(&mut self) {
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
    let (granted, mut answer) = oneshot::channel();
    shared.push(Job::Loan(LoanJob { place: place.clone(), granted }))?;
    shared.wait_for_writer(&place, &mut answer, cancel).await
}
