//! What a shard may use: of time, of memory, of connections. Every queue and buffer of the store has its bound here.

use std::time::Duration;

/// The bounds of one shard.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections that read.
    pub readers: usize,
    /// Transactions that hold a snapshot at the same time.
    pub snapshots: usize,
    /// Writes and transactions that wait for the writer.
    pub queued_writes: usize,
    /// How long a statement waits for its turn (writer or reader) before it fails with 55P03 or 53300.
    pub queue_deadline: Duration,
    /// How long a transaction that holds the writer may wait for its client's next statement.
    pub idle_in_transaction: Duration,
    /// Writes that one commit carries.
    pub group_writes: usize,
    /// How long a group is gathered for before it is committed.
    pub group_time: Duration,
    /// Bytes of a statement's rows that are held in memory at once, where they cannot stream: RETURNING, and rows that
    /// were still on their way when a transaction's next statement came.
    pub held_bytes: usize,
    /// How long a client may leave its rows untaken, before its statement ends.
    pub stalled_stream: Duration,
    /// Bytes of one value or row inside SQLite.
    pub value_bytes: usize,
    /// Prepared statements that a connection keeps.
    pub statements: usize,
    /// Page cache of the writer and of each reader.
    pub writer_cache_bytes: usize,
    pub reader_cache_bytes: usize,
    /// Size that the write-ahead log may reach before the writer moves it into the database.
    pub log_pages: u32,
}

/// Rows leave a shard in batches of about this size. A read that returns more is streamed.
pub(super) const BATCH_BYTES: usize = 64 * 1024;

/// Batches between a statement and whoever takes its rows.
pub(super) const STREAMED_BATCHES: usize = 4;

/// Ticks ([`super::cancel::INSTRUCTIONS_PER_TICK`]) that a read may take on the thread of whoever asked. A point read
/// takes a small part of the first.
pub(super) const INLINE_TICKS: u32 = 4;

impl Default for Limits {
    fn default() -> Limits {
        let cores = std::thread::available_parallelism().map_or(4, usize::from);
        Limits {
            readers: (cores * 2).clamp(4, 16),
            snapshots: 64,
            queued_writes: 8_192,
            queue_deadline: Duration::from_secs(5),
            idle_in_transaction: Duration::from_secs(60),
            group_writes: 1_024,
            group_time: Duration::from_millis(5),
            held_bytes: 64 * 1024 * 1024,
            stalled_stream: Duration::from_secs(300),
            value_bytes: 256 * 1024 * 1024,
            statements: 256,
            writer_cache_bytes: 32 * 1024 * 1024,
            reader_cache_bytes: 8 * 1024 * 1024,
            log_pages: 4_000,
        }
    }
}
