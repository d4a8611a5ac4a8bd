//! When the write-ahead log is moved into the database.

use std::cell::Cell;

use rusqlite::Connection;

thread_local! {
    /// Pages in the log after this thread's last commit. One thread writes one shard, so that a thread has one log.
    static LOG_PAGES: Cell<u32> = const { Cell::new(0) };
}

/// Has SQLite tell the length of the log after each commit on this thread.
pub(super) fn watch_log_length(connection: &Connection) {
    connection.wal_hook(Some(|_, pages| {
        LOG_PAGES.set(u32::try_from(pages).unwrap_or(0));
        Ok(())
    }));
}

pub(super) fn log_length() -> u32 {
    LOG_PAGES.get()
}

/// A reader that keeps an old snapshot keeps the log from starting again; then it is tried as the log grows, not after
/// every commit.
#[derive(Debug, Default)]
pub(super) struct Checkpoints {
    /// Length of the log at the last one.
    last: u32,
}

impl Checkpoints {
    /// Whether a log of `pages` is to be moved now, once every `step` pages.
    pub(super) fn due(&mut self, pages: u32, step: u32) -> bool {
        if pages < self.last {
            // It started again.
            self.last = 0;
        }
        let due = pages >= self.last.saturating_add(step);
        if due {
            self.last = pages;
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::Checkpoints;

    #[test]
    fn a_log_that_a_reader_holds_is_tried_once_per_step() {
        let mut checkpoints = Checkpoints::default();
        assert!(!checkpoints.due(99, 100));
        assert!(checkpoints.due(100, 100));
        assert!(!checkpoints.due(101, 100));
        assert!(!checkpoints.due(199, 100));
        assert!(checkpoints.due(200, 100));
    }

    #[test]
    fn a_log_that_started_again_counts_from_its_beginning() {
        let mut checkpoints = Checkpoints::default();
        assert!(checkpoints.due(500, 100));
        assert!(!checkpoints.due(3, 100));
        assert!(checkpoints.due(103, 100));
    }
}
