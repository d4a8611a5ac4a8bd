//! The one thread that writes a shard.
//!
//! Writes of many clients are committed together: each runs in a savepoint of its own, one COMMIT (one wait for the
//! disk) makes them all durable, and only then is each answered. A write that fails takes back nothing but itself. When
//! an error makes SQLite roll everything back (an interrupt in the midst of a write, a full disk), the others of the
//! group, none of which was answered, run again without the culprit. How many it waits for is up to `pace`.
//!
//! A transaction that is told its statements one by one holds the writer from BEGIN to COMMIT. It commits alone: a
//! group that joined it could have it rolled back, and it cannot be run again.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use super::checkpoint::{Checkpoints, log_length, watch_log_length};
use super::connection::Backend;
use super::execute;
use super::failure::Failure;
use super::outlet::Held;
use super::pace::Pace;
use super::pool::Pool;
use super::queue::{Job, Loan, LoanJob, TransactionJob, WriteJob};
use super::serving::Serving;
use super::shared::{Counters, Shared};
use crate::error::{Error, Result, Retry, SqlState};
use crate::shard::Written;

pub(super) struct Writer {
    shared: Arc<Shared>,
    backend: Backend,
    readers: Arc<Pool>,
    pace: Pace,
    checkpoints: Checkpoints,
}

/// Bytes of rows that a group may hold before it is committed.
const GROUP_BYTES: usize = 16 * 1024 * 1024;

/// Answers that are sent one by one; more go to a task, which wakes their receivers from within the runtime.
const FEW_ANSWERS: usize = 2;

/// How often a writer whose place is lent looks whether it must end.
const LOOK_AROUND: Duration = Duration::from_millis(100);

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, backend: Backend, readers: Arc<Pool>) -> Writer {
        watch_log_length(&backend.connection);
        Writer { shared, backend, readers, pace: Pace::new(), checkpoints: Checkpoints::default() }
    }

    /// Works until the queue is closed.
    pub(super) fn run(mut self) {
        let _last_words = LastWords(Arc::clone(&self.shared));
        while let Some(job) = self.shared.queue.next() {
            self.shared.metrics.queue_wait(job.place().since.elapsed());
            if self.shared.log_is_long() {
                // Its next frame can be the first again, when nobody keeps a snapshot.
                self.readers.end_idle_snapshots();
            }
            match job {
                Job::Write(job) => self.commit_group(job),
                Job::Transaction(job) => self.serve_transaction(job),
                Job::Loan(job) => self.lend(job),
            }
            self.checkpoint_when_long();
            self.shared.metrics.writer_queue().set(i64::try_from(self.shared.queue.len()).unwrap_or(i64::MAX));
        }
        // What the log holds is durable; moving it spares the next start the work.
        self.readers.end_idle_snapshots();
        let _ = self.backend.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    }

    fn commit_group(&mut self, first: WriteJob) {
        let mut waiting = VecDeque::from([first]);
        let mut breaks = 0;
        while !waiting.is_empty() {
            // After a second break the rest commit one by one: the disk or memory may be full for all of them.
            let alone = breaks > 1;
            match Group::gather(self, &mut waiting, alone) {
                Gathered::Whole(group) => group.commit(self),
                Gathered::Broken(unanswered) => {
                    breaks += 1;
                    let again = unanswered.len();
                    Counters::add(&self.shared.counters.repeated_writes, again as u64);
                    for job in unanswered.into_iter().rev() {
                        waiting.push_front(job);
                    }
                }
            }
        }
    }

    fn serve_transaction(&mut self, job: TransactionJob) {
        Counters::add(&self.shared.counters.transactions, 1);
        let connection = &self.backend.connection;
        if job.schema {
            // Only possible between transactions.
            let _ = connection.pragma_update(None, "foreign_keys", false);
        }
        match Serving::begin_writing(&self.shared, &self.backend, job.schema) {
            Ok(serving) => {
                if job.granted.send(Ok(())).is_ok() {
                    serving.serve(&job.work, &job.ended);
                }
            }
            Err(error) => {
                let _ = job.granted.send(Err(self.shared.translate(&error)));
            }
        }
        if job.schema {
            let _ = connection.pragma_update(None, "foreign_keys", true);
        }
    }

    fn lend(&mut self, job: LoanJob) {
        let (loan, ended) = Loan::new();
        if job.granted.send(loan).is_err() {
            return;
        }
        // Whoever has the loan ends by itself when it is idle for too long, or when the queue closes.
        while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(LOOK_AROUND) {}
    }

    /// Moves the log into the database when it has grown long. After the answers, so that none of them waits for it.
    fn checkpoint_when_long(&mut self) {
        let pages = log_length();
        self.shared.set_log_is_long(pages >= self.shared.limits.log_pages);
        if !self.checkpoints.due(pages, self.shared.limits.log_pages) {
            return;
        }
        self.readers.end_idle_snapshots();
        let moved = self.backend.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
        if let Err(error) = moved {
            tracing::warn!(shard = %self.shared.name, %error, "the write-ahead log could not be moved into the database");
        }
    }
}

/// A writer that dies of a defect takes nobody's time: the shard says so at once.
struct LastWords(Arc<Shared>);

impl Drop for LastWords {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let reason = Error::internal(format!("the writer of shard \"{}\" ended by a defect", self.0.name));
            self.0
                .suspend(Some(reason.detail("A restart of shardd brings the shard back; what was answered is kept.")));
            self.0.queue.close();
        }
    }
}

/// Writes that ran, in one open transaction.
struct Group {
    ran: Vec<Ran>,
    bytes: usize,
    /// It has waited for more.
    waited: bool,
}

enum Gathered {
    Whole(Group),
    /// The transaction is gone. These had run, and were not answered.
    Broken(VecDeque<WriteJob>),
}

impl Group {
    /// Begins a transaction and runs what waits in it, as much as comes.
    fn gather(writer: &Writer, waiting: &mut VecDeque<WriteJob>, alone: bool) -> Gathered {
        let began = Instant::now();
        if let Err(error) = run_plain(writer, "BEGIN IMMEDIATE") {
            let error = writer.shared.translate(&error);
            for job in waiting.drain(..) {
                let _ = job.answer.send(Err(error.clone()));
            }
            return Gathered::Broken(VecDeque::new());
        }
        let mut group = Group {
            ran: Vec::with_capacity(writer.pace.wanted().min(writer.shared.limits.group_writes)),
            bytes: 0,
            waited: false,
        };
        while let Some(job) = group.next(writer, waiting, began, alone) {
            let result = group.run(writer, &job);
            if writer.backend.connection.is_autocommit() {
                let _ = job.answer.send(result.and_then(|_| Err(Error::internal("a write ended its transaction"))));
                writer.shared.sequences.store_again();
                return Gathered::Broken(group.ran.into_iter().map(|(job, _)| job).collect());
            }
            group.ran.push((job, result));
        }
        Gathered::Whole(group)
    }

    fn next(
        &mut self,
        writer: &Writer,
        waiting: &mut VecDeque<WriteJob>,
        began: Instant,
        alone: bool,
    ) -> Option<WriteJob> {
        let limits = &writer.shared.limits;
        let most = writer.pace.most().min(limits.group_writes);
        let room = most.saturating_sub(self.ran.len());
        let full = room == 0 || self.bytes >= GROUP_BYTES || began.elapsed() >= limits.group_time;
        if !self.ran.is_empty() && (alone || full) {
            return None;
        }
        if let Some(job) = waiting.pop_front() {
            return Some(job);
        }
        let queue = &writer.shared.queue;
        queue.take_writes(room, waiting);
        let wanted = writer.pace.wanted().min(most);
        if waiting.is_empty() && self.ran.len() < wanted && !std::mem::replace(&mut self.waited, true) {
            let until = (Instant::now() + writer.pace.patience()).min(began + limits.group_time);
            queue.wait_for_writes(wanted - self.ran.len(), until);
            queue.take_writes(room, waiting);
        }
        for job in waiting.iter() {
            writer.shared.metrics.queue_wait(job.place.since.elapsed());
        }
        waiting.pop_front()
    }

    /// Runs one write in its savepoint.
    fn run(&mut self, writer: &Writer, job: &WriteJob) -> Result<Written> {
        job.call.check_schema(&writer.shared.schema.load())?;
        let told = |error: rusqlite::Error| writer.shared.translate(&error);
        run_plain(writer, "SAVEPOINT job").map_err(told)?;
        writer.shared.sequences.begin_statement();
        let backend = &writer.backend;
        let mut held = Held { limit: writer.shared.limits.held_bytes };
        let ended = execute::run(backend, &job.call, None, &mut held);
        match ended {
            Ok(ended) => {
                run_plain(writer, "RELEASE job").map_err(told)?;
                self.bytes += ended.rest.frames.len();
                let numbers = writer.shared.sequences.numbers();
                Ok(Written { rows: ended.rest, affected: ended.affected, numbers, ..Written::default() })
            }
            Err(failure) => Err(take_back(writer, job, failure)),
        }
    }

    fn commit(self, writer: &mut Writer) {
        let shared = &writer.shared;
        let since = Instant::now();
        let connection = &writer.backend.connection;
        if let Err(error) = shared.check_files() {
            let _ = run_plain(writer, "ROLLBACK");
            shared.sequences.store_again();
            for (job, _) in self.ran {
                let _ = job.answer.send(Err(error.clone()));
            }
            return;
        }
        let finished = std::mem::take(&mut *shared.finished.lock());
        let committed = super::redo::forget(connection, &finished)
            .and_then(|()| shared.sequences.store(connection))
            .and_then(|()| run_plain(writer, "COMMIT"));
        shared.committed();
        let count = self.ran.len();
        let now = Instant::now();
        let waiting = shared.queue.len();
        shared.metrics.group_commit(count, now - since);
        Counters::add(&shared.counters.groups, 1);
        Counters::add(&shared.counters.writes, count as u64);
        shared.counters.largest_group.fetch_max(count as u64, std::sync::atomic::Ordering::Relaxed);
        let last = self.ran.iter().map(|(job, _)| job.place.since).max().unwrap_or(since);
        writer.pace.committed(count, waiting, last, since, now);
        match committed {
            Ok(()) => {
                answer(self.ran);
            }
            Err(error) => {
                let error = commit_error(shared, &error);
                if !writer.backend.connection.is_autocommit() {
                    let _ = run_plain(writer, "ROLLBACK");
                }
                shared.sequences.store_again();
                for (job, _) in self.ran {
                    let _ = job.answer.send(Err(error.clone()));
                }
            }
        }
    }
}

/// A write that ran, and what it gave.
type Ran = (WriteJob, Result<Written>);

/// Sends the answers. Each that is sent from this thread may wake another one; many are sent by a task where they are
/// waited for, so that one wake-up does for all.
fn answer(ran: Vec<Ran>) {
    let mut of_runtimes: Vec<(Handle, Vec<Ran>)> = Vec::new();
    for (job, result) in ran {
        match of_runtimes.iter_mut().find(|(runtime, _)| runtime.id() == job.runtime.id()) {
            Some((_, answers)) => answers.push((job, result)),
            None => of_runtimes.push((job.runtime.clone(), vec![(job, result)])),
        }
    }
    for (runtime, answers) in of_runtimes {
        let few = answers.len() <= FEW_ANSWERS;
        let send = move || {
            for (job, result) in answers {
                let _ = job.answer.send(result);
            }
        };
        if few {
            send();
        } else {
            runtime.spawn(async move { send() });
        }
    }
}

/// Undoes a failed write, and finds out what its client is to be told.
fn take_back(writer: &Writer, job: &WriteJob, failure: Failure) -> Error {
    let backend = &writer.backend;
    if backend.connection.is_autocommit() {
        return super::reader::told(&writer.shared, failure);
    }
    let rolled_back = run_plain(writer, "ROLLBACK TO job");
    let error = super::constraint::told(&writer.shared, backend, &job.call, failure);
    let released = rolled_back.and_then(|()| run_plain(writer, "RELEASE job"));
    if let Err(failed) = released {
        // The savepoint cannot be trusted: let the whole group go, it runs again.
        tracing::error!(shard = %writer.shared.name, error = %failed, "a failed write could not be taken back alone");
        let _ = run_plain(writer, "ROLLBACK");
    }
    error
}

fn run_plain(writer: &Writer, statement: &str) -> rusqlite::Result<()> {
    writer.backend.connection.prepare_cached(statement)?.execute([]).map(|_| ())
}

/// What the clients of a commit that failed are told.
pub(super) fn commit_error(shared: &Shared, error: &rusqlite::Error) -> Error {
    let told = shared.translate(error);
    if told.sqlstate() == SqlState::DISK_FULL {
        // SQLite writes the commit's last frame after all others: without room for it there is no commit.
        return told.retry(Retry::Safe);
    }
    told.retry(Retry::Unknown).detail(
        "The commit failed. The changes are not visible, but if the machine fails now they may be found after its restart.",
    )
}
