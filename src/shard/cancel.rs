//! How a statement is told to stop, by whoever waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::sync::Notify;

use crate::error::{Error, Retry, SqlState};

const RUNNING: u8 = 0;
const CANCELED: u8 = 1;
const TIMED_OUT: u8 = 2;
const DEADLOCKED: u8 = 3;

/// Ends a statement that waits or runs. Clones share the flag; one that was raised stays so.
#[derive(Clone, Debug, Default)]
pub struct CancelFlag(Arc<Flag>);

#[derive(Debug, Default)]
struct Flag {
    state: AtomicU8,
    raised: Notify,
}

impl CancelFlag {
    pub fn new() -> CancelFlag {
        CancelFlag::default()
    }

    /// The client asked for it.
    pub fn cancel(&self) {
        self.raise(CANCELED);
    }

    /// `statement_timeout` passed.
    pub fn time_out(&self) {
        self.raise(TIMED_OUT);
    }

    /// It waits for a transaction that waits for its own, or has waited for too long to be sure that it does not.
    pub fn deadlock(&self) {
        self.raise(DEADLOCKED);
    }

    /// What a shard says of a statement that was canceled is not why it was.
    #[must_use]
    pub fn reason_of(&self, error: Error) -> Error {
        match self.0.state.load(Ordering::Acquire) == DEADLOCKED && error.sqlstate() == SqlState::QUERY_CANCELED {
            true => deadlock(),
            false => error,
        }
    }

    /// The next statement begins: a cancel that came too late for the last is forgotten.
    pub fn clear(&self) {
        self.0.state.store(RUNNING, Ordering::Release);
    }

    fn raise(&self, reason: u8) {
        let _ = self.0.state.compare_exchange(RUNNING, reason, Ordering::AcqRel, Ordering::Acquire);
        self.0.raised.notify_waiters();
    }

    /// The error that the statement ends with, when the flag was raised.
    pub fn error(&self) -> Option<Error> {
        let reason = match self.0.state.load(Ordering::Acquire) {
            RUNNING => return None,
            DEADLOCKED => return Some(deadlock()),
            CANCELED => "canceling statement due to user request",
            _ => "canceling statement due to statement timeout",
        };
        Some(Error::new(SqlState::QUERY_CANCELED, reason))
    }

    pub fn is_raised(&self) -> bool {
        self.0.state.load(Ordering::Acquire) != RUNNING
    }

    /// Completes when the flag is raised.
    pub async fn raised(&self) -> Error {
        loop {
            let notified = self.0.raised.notified();
            if let Some(error) = self.error() {
                return error;
            }
            notified.await;
        }
    }
}

/// 40P01, for a circle that goes over several shards.
pub fn deadlock() -> Error {
    Error::new(SqlState::DEADLOCK_DETECTED, "deadlock detected")
        .detail("The transaction waits on one shard for another one, which waits for it on another shard.")
        .hint("Run the whole transaction again.")
        .retry(Retry::Safe)
}
