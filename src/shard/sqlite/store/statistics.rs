//! What a shard can say of itself.

use std::sync::atomic::Ordering;

use super::pool::Pool;
use super::shared::Shared;

/// A shard's numbers. Counts are since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Statistics {
    /// Of the file, and of its write-ahead log.
    pub file_bytes: u64,
    pub log_bytes: u64,
    /// Readers and snapshots that are in use.
    pub reading: u64,
    pub snapshots: u64,
    pub waiting_writes: u64,
    /// Reads that were too long for the thread of whoever asked.
    pub moved_reads: u64,
    pub writes: u64,
    pub groups: u64,
    pub largest_group: u64,
    pub repeated_writes: u64,
    pub transactions: u64,
}

pub(super) fn collect(shared: &Shared, readers: &Pool, snapshots: &Pool) -> Statistics {
    let size = |path: &std::path::Path| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    let mut log = shared.path.clone().into_os_string();
    log.push("-wal");
    let counters = &shared.counters;
    Statistics {
        file_bytes: size(&shared.path),
        log_bytes: size(log.as_ref()),
        reading: readers.in_use() as u64,
        snapshots: snapshots.in_use() as u64,
        waiting_writes: shared.queue.len() as u64,
        moved_reads: counters.moved_reads.load(Ordering::Relaxed),
        writes: counters.writes.load(Ordering::Relaxed),
        groups: counters.groups.load(Ordering::Relaxed),
        largest_group: counters.largest_group.load(Ordering::Relaxed),
        repeated_writes: counters.repeated_writes.load(Ordering::Relaxed),
        transactions: counters.transactions.load(Ordering::Relaxed),
    }
}
