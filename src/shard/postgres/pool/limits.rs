//! The bounds of a pool, and what it counts.

use std::time::Duration;

/// How a pool's connections and the clients that wait for them are bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolLimits {
    /// Connections at most, in whatever state.
    pub size: usize,
    /// Connections that are kept though nobody uses them.
    pub minimum: usize,
    /// Clients that wait for a connection at most. One more is refused with 53300.
    pub queue: usize,
    /// How long a client waits for a connection; 57014 past it.
    pub checkout_deadline: Duration,
    /// How long a connection may take to be made and logged in; the shard's URL may say less. Where it is shorter than the
    /// checkout's deadline, clients of a shard that does not answer learn the reason.
    pub connect_timeout: Duration,
    /// A connection is not given out again this long after it was made, give or take a tenth. `None`: no limit.
    pub max_lifetime: Option<Duration>,
    /// A connection that nobody used for so long is closed. `None`: no limit.
    pub idle_timeout: Option<Duration>,
    /// A connection that nobody used for so long is looked at, to see whether the server closed it, before it is given
    /// out: one system call.
    pub check_idle_after: Duration,
}

impl Default for PoolLimits {
    fn default() -> PoolLimits {
        PoolLimits {
            size: 20,
            minimum: 0,
            queue: 1_000,
            checkout_deadline: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(3),
            max_lifetime: Some(Duration::from_secs(3_600)),
            idle_timeout: Some(Duration::from_secs(600)),
            check_idle_after: Duration::from_secs(1),
        }
    }
}

/// A pool at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolState {
    pub idle: usize,
    pub active: usize,
    pub connecting: usize,
    pub waiting: usize,
    /// The last attempt to connect failed.
    pub breaker_open: bool,
    pub totals: Totals,
}

/// What has happened since the pool was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Connections that were given out.
    pub checkouts: u64,
    /// Of those, after a wait.
    pub waits: u64,
    pub connected: u64,
    pub connect_failures: u64,
    /// Connections that were closed because their state was not known to be clean.
    pub discarded: u64,
    /// Connections that had come to their age, or that nobody used.
    pub retired: u64,
    /// Connections that the server had closed while nobody used them.
    pub stale: u64,
    /// Clients that were refused because the queue was full.
    pub refused: u64,
    /// Clients whose wait was too long.
    pub timed_out: u64,
}
