//! The line in front of a shard's writer: first come, first served, bounded in length and in time.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use parking_lot::{Condvar, Mutex};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::call::Call;
use super::transaction::Work;
use crate::error::{Error, Result};
use crate::shard::Written;

/// A place in the line. Whoever waits may leave it; once the writer has taken the job, it runs.
#[derive(Clone, Debug)]
pub(super) struct Place {
    state: Arc<AtomicU8>,
    pub(super) since: Instant,
}

const WAITING: u8 = 0;
const TAKEN: u8 = 1;
const LEFT: u8 = 2;

impl Place {
    pub(super) fn new() -> Place {
        Place { state: Arc::new(AtomicU8::new(WAITING)), since: Instant::now() }
    }

    fn change(&self, to: u8) -> bool {
        self.state.compare_exchange(WAITING, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// The writer's turn: false when whoever waited has left.
    pub(super) fn take(&self) -> bool {
        self.change(TAKEN)
    }

    /// The waiter gives up: false when the job was taken already.
    pub(super) fn leave(&self) -> bool {
        self.change(LEFT)
    }
}

/// What the writer is asked to do.
pub(super) enum Job {
    /// One statement that commits by itself, together with others.
    Write(WriteJob),
    /// A transaction that is told its statements one by one.
    Transaction(TransactionJob),
    /// Another connection writes: the writer rests until the loan is dropped.
    Loan(LoanJob),
}

pub(super) struct WriteJob {
    pub(super) call: Call,
    pub(super) place: Place,
    pub(super) answer: oneshot::Sender<Result<Written>>,
    /// Where the answer is waited for.
    pub(super) runtime: Handle,
}

pub(super) struct TransactionJob {
    pub(super) place: Place,
    pub(super) granted: oneshot::Sender<Result<()>>,
    pub(super) work: mpsc::Receiver<Work>,
    pub(super) ended: Arc<OnceLock<Error>>,
    /// Foreign keys are not enforced, as tables are rebuilt.
    pub(super) schema: bool,
}

pub(super) struct LoanJob {
    pub(super) place: Place,
    pub(super) granted: oneshot::Sender<Loan>,
}

/// The writer's place, held by another connection.
#[derive(Debug)]
pub(super) struct Loan {
    _end: mpsc::Sender<()>,
}

impl Loan {
    /// A loan, and what reports its end by hanging up.
    pub(super) fn new() -> (Loan, mpsc::Receiver<()>) {
        let (end, ended) = mpsc::channel();
        (Loan { _end: end }, ended)
    }
}

impl Job {
    pub(super) fn place(&self) -> &Place {
        match self {
            Job::Write(job) => &job.place,
            Job::Transaction(job) => &job.place,
            Job::Loan(job) => &job.place,
        }
    }
}

#[derive(Default)]
struct Line {
    jobs: VecDeque<Job>,
    /// The writer sleeps until the line is this long: to wake it for each job would cost more than most jobs do.
    wanted: usize,
    closed: bool,
}

impl Line {
    fn is_worth_waking(&self) -> bool {
        let is_write = |job: Option<&Job>| matches!(job, Some(Job::Write(_)));
        self.jobs.len() >= self.wanted || !is_write(self.jobs.front()) || !is_write(self.jobs.back())
    }
}

pub(super) struct Queue {
    line: Mutex<Line>,
    arrived: Condvar,
    capacity: usize,
}

/// Why a job was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    Full,
    Closed,
}

impl Queue {
    pub(super) fn new(capacity: usize) -> Queue {
        Queue { line: Mutex::default(), arrived: Condvar::new(), capacity }
    }

    pub(super) fn push(&self, job: Job) -> std::result::Result<(), Refused> {
        let mut line = self.line.lock();
        if line.closed {
            return Err(Refused::Closed);
        }
        if line.jobs.len() >= self.capacity {
            // Those who left still stand in the line until the writer comes by.
            line.jobs.retain(|job| job.place().state.load(Ordering::Relaxed) == WAITING);
            if line.jobs.len() >= self.capacity {
                return Err(Refused::Full);
            }
        }
        line.jobs.push_back(job);
        if line.is_worth_waking() {
            drop(line);
            self.arrived.notify_one();
        }
        Ok(())
    }

    /// The next job, or `None` when the queue was closed.
    pub(super) fn next(&self) -> Option<Job> {
        let mut line = self.line.lock();
        loop {
            if line.closed {
                return None;
            }
            while let Some(job) = line.jobs.pop_front() {
                if job.place().take() {
                    return Some(job);
                }
            }
            self.arrived.wait(&mut line);
        }
    }

    /// Takes the writes at the head of the line, at most so many.
    pub(super) fn take_writes(&self, most: usize, into: &mut VecDeque<WriteJob>) {
        let mut line = self.line.lock();
        let mut taken = 0;
        while taken < most {
            match line.jobs.pop_front() {
                Some(Job::Write(job)) => {
                    if job.place.take() {
                        into.push_back(job);
                        taken += 1;
                    }
                }
                Some(other) => {
                    line.jobs.push_front(other);
                    return;
                }
                None => return,
            }
        }
    }

    /// Waits until there are so many writes in the line, or something else, or `until`.
    pub(super) fn wait_for_writes(&self, wanted: usize, until: Instant) {
        let mut line = self.line.lock();
        line.wanted = wanted;
        while !line.closed && (line.jobs.is_empty() || !line.is_worth_waking()) {
            if self.arrived.wait_until(&mut line, until).timed_out() {
                break;
            }
        }
        line.wanted = 0;
    }

    pub(super) fn len(&self) -> usize {
        self.line.lock().jobs.len()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.line.lock().closed
    }

    /// No more jobs: those that wait are dropped, and with them their answers.
    pub(super) fn close(&self) {
        let dropped = {
            let mut line = self.line.lock();
            line.closed = true;
            std::mem::take(&mut line.jobs)
        };
        self.arrived.notify_all();
        drop(dropped);
    }
}
