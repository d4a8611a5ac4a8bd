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

impl PoolState {
    /// Everything, by the names that operators see.
    pub fn counted(&self) -> [(&'static str, u64); 14] {
        let totals = &self.totals;
        [
            ("connections_idle", self.idle as u64),
            ("connections_active", self.active as u64),
            ("connections_connecting", self.connecting as u64),
            ("waiting", self.waiting as u64),
            ("breaker_open", u64::from(self.breaker_open)),
            ("checkouts", totals.checkouts),
            ("checkouts_after_a_wait", totals.waits),
            ("connected", totals.connected),
            ("connect_failures", totals.connect_failures),
            ("closed_unclean", totals.discarded),
            ("closed_retired", totals.retired),
            ("closed_stale", totals.stale),
            ("refused_queue_full", totals.refused),
            ("refused_too_late", totals.timed_out),
        ]
    }

    /// Two pools of one shard together.
    pub(in crate::shard::postgres) fn and(self, other: PoolState) -> PoolState {
        PoolState {
            idle: self.idle + other.idle,
            active: self.active + other.active,
            connecting: self.connecting + other.connecting,
            waiting: self.waiting + other.waiting,
            breaker_open: self.breaker_open || other.breaker_open,
            totals: self.totals.and(other.totals),
        }
    }
}

impl Totals {
    fn and(self, other: Totals) -> Totals {
        Totals {
            checkouts: self.checkouts + other.checkouts,
            waits: self.waits + other.waits,
            connected: self.connected + other.connected,
            connect_failures: self.connect_failures + other.connect_failures,
            discarded: self.discarded + other.discarded,
            retired: self.retired + other.retired,
            stale: self.stale + other.stale,
            refused: self.refused + other.refused,
            timed_out: self.timed_out + other.timed_out,
        }
    }
}
