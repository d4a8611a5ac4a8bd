//! Runs programs on one SQLite file: one writer with group commit, several readers, transactions.
//!
//! WAL with synchronous=FULL: what was answered is on disk. A client reads its own writes and everybody's that were
//! answered, since a read begins its own snapshot.

mod call;
mod cancel;
mod changeset;
mod checkpoint;
mod connection;
mod constraint;
mod diagnosis;
mod execute;
mod failure;
mod guard;
mod limits;
mod outlet;
mod pace;
mod pool;
mod presence;
mod queue;
mod reader;
mod redo;
mod respelling;
mod row_text;
mod schema;
mod scratch;
mod sequence;
mod serving;
mod shared;
mod snapshot;
mod statistics;
mod system_catalog;
mod transaction;
mod writer;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;

pub use call::{Call, Environment, Whereabouts};
pub use guard::{StoredGuard, drop_guard_statements, guard_triggers, store_slots_statement};
pub use limits::Limits;
pub use redo::RedoStep;
pub use schema::{forget_table_statements, store_table_statement};
pub use scratch::{Scratch, ScratchTables};
pub use sequence::STEP;
pub use statistics::Statistics;
pub use transaction::SqliteTransaction;

use crate::error::{Error, Fault, Result, SqlState};
use crate::metrics::ShardMetrics;
use crate::shard::Rows;
use crate::shard::{CancelFlag, TransactionMode, Written};
use crate::topology::Schema;
use crate::types::ShardId;
use connection::{Backend, Role};
use pool::Pool;
use queue::{Job, Place, TransactionJob, WriteJob};
use reader::Readers;
use serving::Serving;
use shared::{Counters, Shared};
use transaction::Ends;
use writer::Writer;

/// What a shard is opened with.
#[derive(Clone, Debug)]
pub struct Opening {
    pub name: String,
    pub id: ShardId,
    /// The cluster's identity: a file that belongs to another is refused.
    pub cluster: String,
    pub path: PathBuf,
    pub file: ShardFile,
    pub limits: Limits,
    pub metrics: Arc<ShardMetrics>,
}

/// Whether a shard's file may be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShardFile {
    /// The shard holds nothing yet: a file that does not exist is made.
    MayBeNew,
    /// The shard holds rows: a file that is missing or empty was lost, and nothing is put in its place.
    Known,
}

/// A shard in a SQLite file. Cheap to share; it is closed by [`SqliteShard::shutdown`], or when the last user drops it.
pub struct SqliteShard {
    readers: Readers,
    pool: Arc<Pool>,
    snapshots: Arc<Pool>,
    writer: Mutex<Option<JoinHandle<()>>>,
    /// The last to be dropped, since it holds a handle of the file: see `presence`.
    shared: Arc<Shared>,
}

impl SqliteShard {
    /// Opens the file, makes it if it may be new, and starts the writer. Blocks; needs a tokio runtime around it.
    ///
    /// # Errors
    /// The file is missing, belongs to another cluster or shard, is damaged, or cannot be opened.
    pub fn open(opening: Opening) -> Result<SqliteShard> {
        let runtime = tokio::runtime::Handle::try_current()
            .map_err(|_| Error::internal("a SQLite shard was opened outside of a runtime"))?;
        let shared = Arc::new(Shared::new(&opening, runtime));
        let translate = |error: rusqlite::Error| shared.translate(&error);
        if opening.file == ShardFile::Known {
            // Before SQLite sees it: for an empty file it would throw the log beside it away.
            shared.check_header()?;
        }
        schema::recognise(&opening)?;
        let writer = Backend::open(Role::Writer, &shared).map_err(translate)?;
        schema::claim(&writer.connection, &opening).map_err(|claim| claim.error(&shared))?;
        let stored = schema::read(&writer.connection).map_err(translate)??;
        shared.schema.store(Arc::new(stored));
        shared.sequences.reload(&writer.connection).map_err(translate)?;
        shared.guards.reload(&writer.connection).map_err(translate)?;
        let pool = Arc::new(Pool::new(Role::Reader, shared.limits.readers, "readers"));
        pool.fill(&shared).map_err(translate)?;
        shared.note_files();
        let snapshots = Arc::new(Pool::new(Role::Snapshot, shared.limits.snapshots, "snapshots"));
        let thread = start(&shared, writer, &pool)?;
        Ok(SqliteShard {
            readers: Readers::new(Arc::clone(&pool)),
            shared,
            pool,
            snapshots,
            writer: Mutex::new(Some(thread)),
        })
    }

    pub fn name(&self) -> &str {
        &self.shared.name
    }

    pub fn id(&self) -> ShardId {
        self.shared.id
    }

    /// Whether the shard can do its work: its files are there, are readable, and hold what they should.
    ///
    /// # Errors
    /// What is wrong.
    pub async fn inspect(&self) -> Result<()> {
        self.shared.check_serving()?;
        let shared = Arc::clone(&self.shared);
        let looked_at = tokio::task::spawn_blocking(move || shared.check_files().and_then(|()| shared.check_header()));
        looked_at.await.map_err(|_| Error::internal("looking at a shard's files failed"))??;
        let lease = self.pool.take(&self.shared, &CancelFlag::new()).await?;
        let read = lease.backend().connection.query_row("SELECT count(*) FROM shardd_meta", [], |_| Ok(()));
        read.map_err(|error| self.shared.translate(&error))
    }

    /// The tables as the users declared them, for the texts of errors and the kinds of sequences.
    pub fn set_schema(&self, schema: Arc<Schema>) {
        self.shared.schema.store(schema);
    }

    /// The schema that is stored in the file.
    pub async fn schema(&self) -> Result<Schema> {
        let lease = self.pool.take(&self.shared, &CancelFlag::new()).await?;
        let backend = lease.backend();
        let read = backend.end_snapshot().and_then(|()| schema::read(&backend.connection));
        read.map_err(|error| self.shared.translate(&error))?
    }

    /// The guard that is stored in the file.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn stored_guard(&self) -> Result<StoredGuard> {
        let lease = self.pool.take(&self.shared, &CancelFlag::new()).await?;
        let backend = lease.backend();
        let read = backend.end_snapshot().and_then(|()| guard::read(&backend.connection));
        read.map_err(|error| self.shared.translate(&error))
    }

    /// Runs a read in a snapshot of its own: it sees everything that was answered before it was called.
    pub async fn read(&self, call: Call) -> Result<Rows> {
        self.shared.check_serving()?;
        self.readers.read(&self.shared, call).await
    }

    /// Runs a write and commits it, together with others. When it returns, it is on disk.
    ///
    /// # Errors
    /// Nothing was written, unless the error's `Retry` is `Unknown`.
    pub async fn write(&self, call: Call) -> Result<Written> {
        self.submit(call)?.written().await
    }

    /// Puts a write into the writer's line, behind those that were put there before.
    ///
    /// # Errors
    /// The line is too long, or the shard may not be used: nothing will be written.
    pub fn submit(&self, call: Call) -> Result<SubmittedWrite> {
        self.shared.check_serving()?;
        let place = Place::new();
        let cancel = call.cancel.clone();
        let (answer, answered) = oneshot::channel();
        let runtime = tokio::runtime::Handle::try_current().unwrap_or_else(|_| self.shared.runtime.clone());
        self.shared.push(Job::Write(WriteJob { call, place: place.clone(), answer, runtime }))?;
        Ok(SubmittedWrite { shared: Arc::clone(&self.shared), place, cancel, answered })
    }

    /// Begins a transaction. `cancel` ends the wait for the writer.
    pub async fn begin(&self, mode: TransactionMode, cancel: &CancelFlag) -> Result<SqliteTransaction> {
        self.shared.check_serving()?;
        self.begin_unchecked(mode, cancel).await
    }

    async fn begin_unchecked(&self, mode: TransactionMode, cancel: &CancelFlag) -> Result<SqliteTransaction> {
        match mode {
            TransactionMode::Write => self.begin_writing(false, cancel).await,
            TransactionMode::Schema => self.begin_writing(true, cancel).await,
            TransactionMode::Snapshot => self.begin_snapshot(cancel).await,
        }
    }

    /// Does this shard's part of the record `gid`, unless it has done it. `true`: it was done now. Works on a shard that
    /// is quarantined, too.
    ///
    /// # Errors
    /// Nothing was done.
    pub async fn apply_redo(&self, gid: &str, steps: Vec<RedoStep>) -> Result<bool> {
        let changes_schema = steps.iter().any(|step| matches!(step, RedoStep::Statements(_)));
        let mode = if changes_schema { TransactionMode::Schema } else { TransactionMode::Write };
        let mut transaction = self.begin_unchecked(mode, &CancelFlag::new()).await?;
        let done = transaction.redo(gid, steps).await?;
        transaction.commit().await?;
        Ok(done)
    }

    /// The records are finished everywhere: this shard need not know them any more. Not waited for, and not durable
    /// before the shard's next commit; what is forgotten too late is only a row.
    pub fn forget_redo(&self, gids: Vec<String>) {
        self.shared.finished.lock().extend(gids);
    }

    /// Every record is finished: forgets all marks. For the end of a recovery.
    ///
    /// # Errors
    /// The marks stay, which harms nothing.
    pub async fn forget_all_redo(&self) -> Result<()> {
        let mut transaction = self.begin_unchecked(TransactionMode::Write, &CancelFlag::new()).await?;
        transaction.run_batch(vec!["DELETE FROM shardd_applied".to_owned()]).await?;
        transaction.commit().await
    }

    async fn begin_writing(&self, schema: bool, cancel: &CancelFlag) -> Result<SqliteTransaction> {
        let Ends { transaction, work, ended } = SqliteTransaction::ends(&self.shared);
        let place = Place::new();
        let (granted, mut answer) = oneshot::channel();
        self.shared.push(Job::Transaction(TransactionJob { place: place.clone(), granted, work, ended, schema }))?;
        self.shared.wait_for_writer(&place, &mut answer, cancel).await??;
        Ok(transaction)
    }

    async fn begin_snapshot(&self, cancel: &CancelFlag) -> Result<SqliteTransaction> {
        let lease = self.snapshots.take(&self.shared, cancel).await?.detach(&self.snapshots);
        let Ends { transaction, work, ended } = SqliteTransaction::ends(&self.shared);
        let (began, answer) = oneshot::channel();
        let shared = Arc::clone(&self.shared);
        self.shared.runtime.spawn_blocking(move || match Serving::begin_reading(&shared, lease.backend()) {
            Ok(serving) => {
                if began.send(Ok(())).is_ok() {
                    serving.serve(&work, &ended);
                }
            }
            Err(error) => {
                let _ = began.send(Err(shared.translate(&error)));
            }
        });
        answer.await.map_err(|_| self.shared.closing())??;
        Counters::add(&self.shared.counters.transactions, 1);
        Ok(transaction)
    }

    /// The shard's rows are what they should be again: it answers.
    pub fn lift_quarantine(&self) {
        self.shared.suspend(None);
    }

    pub fn statistics(&self) -> Statistics {
        statistics::collect(&self.shared, &self.pool, &self.snapshots)
    }

    /// Ends what waits and what is idle, finishes what runs, and closes the file.
    pub async fn shutdown(&self) {
        self.shared.suspend(Some(self.shared.closing()));
        self.shared.queue.close();
        let writer = self.writer.lock().take();
        if let Some(writer) = writer {
            let joined = tokio::task::spawn_blocking(move || writer.join()).await;
            if !matches!(joined, Ok(Ok(()))) {
                tracing::error!(shard = %self.shared.name, "the writer ended in a panic");
            }
        }
        self.pool.close(CLOSING).await;
        self.snapshots.close(CLOSING).await;
    }
}

/// A write that waits for the writer, or runs. Dropping it takes it out of the line, if it still stands there.
#[derive(Debug)]
pub struct SubmittedWrite {
    shared: Arc<Shared>,
    place: Place,
    cancel: CancelFlag,
    answered: oneshot::Receiver<Result<Written>>,
}

impl SubmittedWrite {
    /// Its outcome. When it is a success, the write is on disk.
    ///
    /// # Errors
    /// Nothing was written, unless the error's `Retry` is `Unknown`.
    pub async fn written(mut self) -> Result<Written> {
        self.shared.wait_for_writer(&self.place, &mut self.answered, &self.cancel).await?
    }
}

impl Drop for SubmittedWrite {
    fn drop(&mut self) {
        self.place.leave();
    }
}

/// How long a shard that is closed waits for its readers.
const CLOSING: Duration = Duration::from_secs(5);

fn start(shared: &Arc<Shared>, backend: Backend, readers: &Arc<Pool>) -> Result<JoinHandle<()>> {
    let writer = Writer::new(Arc::clone(shared), backend, Arc::clone(readers));
    std::thread::Builder::new().name(format!("writer {}", shared.name)).spawn(move || writer.run()).map_err(|error| {
        Error::new(
            SqlState::INSUFFICIENT_RESOURCES,
            format!("the writer of shard \"{}\" cannot start: {error}", shared.name),
        )
        .hint("Raise the limit on threads.")
        .fault(Fault::Proxy)
    })
}

impl Drop for SqliteShard {
    fn drop(&mut self) {
        self.shared.queue.close();
    }
}

impl std::fmt::Debug for SqliteShard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteShard").field("name", &self.shared.name).finish_non_exhaustive()
    }
}
