//! What the threads of one shard share.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::{ArcSwap, ArcSwapOption};
use parking_lot::Mutex;
use rusqlite::ffi;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::guard::Guards;
use super::limits::Limits;
use super::outlet::Patience;
use super::presence::Presence;
use super::queue::{Job, Place, Queue, Refused};
use super::sequence::Sequences;
use super::{Opening, ShardFile};
use crate::error::{Error, Fault, Result, Retry, SqlState};
use crate::metrics::ShardMetrics;
use crate::shard::CancelFlag;
use crate::topology::Schema;
use crate::types::ShardId;

pub(super) struct Shared {
    pub(super) name: String,
    pub(super) id: ShardId,
    pub(super) path: PathBuf,
    pub(super) file: ShardFile,
    pub(super) limits: Limits,
    pub(super) metrics: Arc<ShardMetrics>,
    pub(super) runtime: Handle,
    pub(super) queue: Queue,
    pub(super) schema: Arc<ArcSwap<Schema>>,
    pub(super) sequences: Arc<Sequences>,
    pub(super) guards: Arc<Guards>,
    pub(super) counters: Counters,
    /// Redo records that are finished, whose marks go with the next commit.
    pub(super) finished: Mutex<Vec<String>>,
    /// Commits that are visible. Whoever was answered was counted before.
    commits: AtomicU64,
    /// The log is to begin anew, which a snapshot that somebody keeps would prevent.
    log_is_long: AtomicBool,
    /// Set once the files are open.
    presence: OnceLock<Presence>,
    suspended: AtomicBool,
    suspension: ArcSwapOption<Error>,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    /// Reads that did not end on the thread that asked.
    pub(super) moved_reads: AtomicU64,
    pub(super) writes: AtomicU64,
    pub(super) groups: AtomicU64,
    pub(super) transactions: AtomicU64,
    pub(super) largest_group: AtomicU64,
    /// Writes that were run again because another one of their group broke the transaction.
    pub(super) repeated_writes: AtomicU64,
}

impl Counters {
    pub(super) fn add(counter: &AtomicU64, amount: u64) {
        counter.fetch_add(amount, Ordering::Relaxed);
    }
}

impl Shared {
    pub(super) fn new(opening: &Opening, runtime: Handle) -> Shared {
        let schema = Arc::<ArcSwap<Schema>>::default();
        Shared {
            name: opening.name.clone(),
            id: opening.id,
            path: opening.path.clone(),
            file: opening.file,
            limits: opening.limits.clone(),
            metrics: Arc::clone(&opening.metrics),
            runtime,
            queue: Queue::new(opening.limits.queued_writes),
            sequences: Arc::new(Sequences::new(opening.id, Arc::clone(&schema))),
            guards: Arc::default(),
            schema,
            counters: Counters::default(),
            finished: Mutex::default(),
            commits: AtomicU64::new(0),
            log_is_long: AtomicBool::new(false),
            presence: OnceLock::new(),
            suspended: AtomicBool::new(false),
            suspension: ArcSwapOption::empty(),
        }
    }

    /// How many commits a read that begins now must see. A number that is the same as before means that a snapshot from
    /// then is as good as a new one.
    pub(super) fn commits(&self) -> u64 {
        self.commits.load(Ordering::SeqCst)
    }

    pub(super) fn log_is_long(&self) -> bool {
        self.log_is_long.load(Ordering::SeqCst)
    }

    pub(super) fn set_log_is_long(&self, long: bool) {
        self.log_is_long.store(long, Ordering::SeqCst);
    }

    /// To be called after a COMMIT, however it ended, and before anybody is told of it.
    pub(super) fn committed(&self) {
        self.commits.fetch_add(1, Ordering::SeqCst);
    }

    /// Fails while the shard may not be used.
    pub(super) fn check_serving(&self) -> Result<()> {
        if !self.suspended.load(Ordering::Acquire) {
            return Ok(());
        }
        Err(self.suspension.load().as_deref().cloned().unwrap_or_else(|| self.closing()))
    }

    pub(super) fn suspend(&self, reason: Option<Error>) {
        let suspended = reason.is_some();
        self.suspension.store(reason.map(Arc::new));
        self.suspended.store(suspended, Ordering::Release);
    }

    /// Remembers which files were opened.
    pub(super) fn note_files(&self) {
        self.presence.get_or_init(|| Presence::note(&self.path));
    }

    /// Before a commit. A shard whose file is gone answers nothing more: its rows would be gone after a restart.
    pub(super) fn check_files(&self) -> Result<()> {
        let checked = self.presence.get().map_or(Ok(()), |presence| presence.check(&self.name));
        checked.inspect_err(|error| {
            tracing::error!(shard = %self.name, %error, "the shard is out of service");
            self.suspend(Some(error.clone()));
        })
    }

    pub(super) fn check_header(&self) -> Result<()> {
        let not_sqlite = || self.translate(&rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_NOTADB), None));
        let read = match self.presence.get() {
            Some(presence) => presence.read_header(),
            None => super::presence::read_header(&self.path),
        };
        read.map_err(|error| match error {
            None => not_sqlite(),
            Some(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => not_sqlite(),
            Some(error) if error.kind() == std::io::ErrorKind::NotFound => {
                super::presence::missing(&self.name, &self.path)
            }
            Some(error) => {
                Error::new(SqlState::IO_ERROR, format!("the file of shard \"{}\" cannot be read", self.name))
                    .detail(error.to_string())
                    .hint("Check its permissions, its disk and its file system.")
                    .fault(Fault::Shard)
            }
        })
    }

    /// A decided statement's part is missing here.
    pub(super) fn incomplete(&self) -> Error {
        Error::new(SqlState::CANNOT_CONNECT_NOW, format!("shard \"{}\" has yet to finish a commit", self.name))
            .detail("A statement that spans shards was committed on others, and could not be committed here.")
            .hint("See the server's log for the reason. A restart of shardd finishes it.")
            .fault(Fault::Shard)
            .retry(Retry::Safe)
    }

    pub(super) fn closing(&self) -> Error {
        Error::new(SqlState::ADMIN_SHUTDOWN, format!("shard \"{}\" is shutting down", self.name))
            .fault(Fault::Proxy)
            .retry(Retry::Safe)
    }

    /// Puts a job into the writer's line.
    pub(super) fn push(&self, job: Job) -> Result<()> {
        self.queue.push(job).map_err(|refused| match refused {
            Refused::Closed => self.closing(),
            Refused::Full => Error::new(
                SqlState::TOO_MANY_CONNECTIONS,
                format!("{} writes are waiting for shard \"{}\"", self.limits.queued_writes, self.name),
            )
            .hint("It is given more writes than its disk takes. Try again later, or move keys to other shards.")
            .fault(Fault::Shard)
            .retry(Retry::Safe),
        })
    }

    /// Waits for the answer to a job in the line; leaves the line at its deadline, or when the statement is canceled.
    /// Once the writer has taken the job, its answer decides.
    pub(super) async fn wait_for_writer<T>(
        &self,
        place: &Place,
        answer: &mut oneshot::Receiver<T>,
        cancel: &CancelFlag,
    ) -> Result<T> {
        let _leaving = LeaveOnDrop(place);
        let gave_up = tokio::select! {
            biased;
            answer = &mut *answer => return answer.map_err(|_| self.closing()),
            error = cancel.raised() => error,
            () = tokio::time::sleep_until((place.since + self.limits.queue_deadline).into()) => self.writer_busy(place),
        };
        if place.leave() {
            return Err(gave_up);
        }
        answer.await.map_err(|_| self.closing())
    }

    fn writer_busy(&self, place: &Place) -> Error {
        Error::new(
            SqlState::LOCK_NOT_AVAILABLE,
            format!("could not obtain the writer of shard \"{}\" in time", self.name),
        )
        .detail(format!("Waited {} ms; nothing was executed.", place.since.elapsed().as_millis()))
        .hint("Another transaction holds it, or it has more to write than it can. Keep transactions short, and try again.")
        .fault(Fault::Shard)
        .retry(Retry::Safe)
    }

    pub(super) fn translate(&self, error: &rusqlite::Error) -> Error {
        super::failure::translate(&self.name, error)
    }

    /// Of streams that hold nothing but a reader.
    pub(super) fn patience_of_reads(&self) -> Patience {
        Patience { held_bytes: self.limits.held_bytes, stalled: self.limits.stalled_stream }
    }

    /// Of streams inside a transaction that may hold the writer.
    pub(super) fn patience_of_transactions(&self) -> Patience {
        let stalled = self.limits.stalled_stream.min(self.limits.idle_in_transaction);
        Patience { held_bytes: self.limits.held_bytes, stalled }
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Whoever stops waiting leaves the line.
struct LeaveOnDrop<'a>(&'a Place);

impl Drop for LeaveOnDrop<'_> {
    fn drop(&mut self) {
        self.0.leave();
    }
}
