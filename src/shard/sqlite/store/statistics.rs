//! What a shard can say of itself.

use std::sync::atomic::Ordering;

use super::shared::Shared;

/// A shard's numbers. Counts are since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Statistics {
    /// Of the file, and of its write-ahead log.
    pub file_bytes: u64,
    pub log_bytes: u64,
    pub in_flight: u64,
    pub waiting_writes: u64,
    pub reads: u64,
    pub moved_reads: u64,
    pub writes: u64,
    pub groups: u64,
    pub largest_group: u64,
    pub repeated_writes: u64,
    pub transactions: u64,
}

pub(super) fn collect(shared: &Shared) -> Statistics {
    let size = |path: &std::path::Path| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    let mut log = shared.path.clone().into_os_string();
    log.push("-wal");
    let counters = &shared.counters;
    Statistics {
        file_bytes: size(&shared.path),
        log_bytes: size(log.as_ref()),
        in_flight: counters.in_flight.load(Ordering::Relaxed),
        waiting_writes: shared.queue.len() as u64,
        reads: counters.reads.load(Ordering::Relaxed),
        moved_reads: counters.moved_reads.load(Ordering::Relaxed),
        writes: counters.writes.load(Ordering::Relaxed),
        groups: counters.groups.load(Ordering::Relaxed),
        largest_group: counters.largest_group.load(Ordering::Relaxed),
        repeated_writes: counters.repeated_writes.load(Ordering::Relaxed),
        transactions: counters.transactions.load(Ordering::Relaxed),
    }
}
