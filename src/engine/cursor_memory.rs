//! What the rows of cursors take in memory, of all sessions together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::{Error, Result, SqlState};
use crate::metrics::Metrics;

#[derive(Debug)]
pub(super) struct CursorMemory {
    used: AtomicUsize,
    max_bytes: usize,
    metrics: Arc<Metrics>,
}

/// A cursor's part of it, until it is dropped.
#[derive(Debug)]
pub(super) struct CursorPart {
    memory: Arc<CursorMemory>,
    bytes: usize,
}

impl CursorMemory {
    pub(super) fn new(max_bytes: usize, metrics: Arc<Metrics>) -> Arc<CursorMemory> {
        Arc::new(CursorMemory { used: AtomicUsize::new(0), max_bytes, metrics })
    }

    /// A part without any bytes.
    pub(super) fn part(self: &Arc<Self>) -> CursorPart {
        CursorPart { memory: Arc::clone(self), bytes: 0 }
    }

    /// Whether there was room.
    fn take(&self, bytes: usize) -> bool {
        let more = |used: usize| used.checked_add(bytes).filter(|used| *used <= self.max_bytes);
        let is_taken = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok();
        if is_taken {
            self.metrics.cursor_bytes.add(gauged(bytes));
        }
        is_taken
    }

    fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
        self.metrics.cursor_bytes.sub(gauged(bytes));
    }
}

impl CursorPart {
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// `bytes`: all that the cursor takes now, no less than before.
    ///
    /// # Errors
    /// 53200: with all others it would be more than there may be.
    pub(super) fn grow_to(&mut self, bytes: usize) -> Result<()> {
        if !self.memory.take(bytes.saturating_sub(self.bytes)) {
            let max_bytes = self.memory.max_bytes;
            return Err(Error::new(
                SqlState::OUT_OF_MEMORY,
                format!("the rows of all sessions' cursors would take more than {max_bytes} bytes (limits.cursors_max_bytes)"),
            )
            .hint(
                "Try again when others have closed theirs, use the protocol's portals (a fetch size in the driver), which \
                 keep no rows, or raise limits.cursors_max_bytes.",
            ));
        }
        self.bytes = bytes;
        Ok(())
    }
}

impl Drop for CursorPart {
    fn drop(&mut self) {
        self.memory.give_back(self.bytes);
    }
}

fn gauged(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_cursor_gives_back_another_may_take() {
        let metrics = Arc::new(Metrics::new());
        let memory = CursorMemory::new(100, Arc::clone(&metrics));
        let (mut first, mut second) = (memory.part(), memory.part());
        first.grow_to(40).unwrap();
        first.grow_to(70).unwrap();
        assert_eq!(second.grow_to(31).unwrap_err().sqlstate().code(), "53200");
        second.grow_to(30).unwrap();
        assert_eq!(metrics.cursor_bytes.get(), 100);
        drop(first);
        second.grow_to(100).unwrap();
        drop(second);
        assert_eq!(metrics.cursor_bytes.get(), 0);
    }
}
