//! How far a move is, as its runner knows it.

use std::time::Instant;

/// Of one move, while it is worked on.
#[derive(Clone, Debug)]
pub struct Progress {
    /// Estimated before the first row is copied.
    pub rows_expected: u64,
    pub rows: u64,
    pub bytes: u64,
    /// Since this process began to copy.
    pub rows_per_second: u64,
    /// Changed rows that were caught up with last time: how far the copy is behind.
    pub rows_behind: u64,
    /// How long new work was held by the last cutover, in milliseconds.
    pub held_ms: Option<u64>,
    /// How much was copied before this process began.
    before: u64,
    begun: Instant,
}

impl Progress {
    pub(super) fn new(rows_expected: u64, (rows, bytes): (u64, u64)) -> Progress {
        Progress {
            rows_expected,
            rows,
            bytes,
            rows_per_second: 0,
            rows_behind: 0,
            held_ms: None,
            before: rows,
            begun: Instant::now(),
        }
    }

    pub(super) fn add(&mut self, rows: u64, bytes: u64) {
        self.rows += rows;
        self.bytes += bytes;
        let milliseconds = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX).max(1);
        self.rows_per_second = (self.rows - self.before).saturating_mul(1_000) / milliseconds;
    }

    /// From 0 to 100; below 100 until all is copied, since what was expected is an estimate.
    pub fn percent(&self) -> u64 {
        (self.rows.saturating_mul(100) / self.rows_expected.max(1)).min(99)
    }
}
