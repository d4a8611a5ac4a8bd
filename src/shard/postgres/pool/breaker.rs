//! Keeps clients from waiting for a shard that cannot be reached, and the shard from being stormed when it returns.
//!
//! Only attempts to connect that failed open it; how busy a pool is says nothing about its shard.

use std::time::Duration;

use tokio::time::Instant;

use crate::error::{Error, SqlState};

const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub(super) enum Breaker {
    #[default]
    Closed,
    /// Connecting failed this often in a row. From `until` on, one attempt at a time is made.
    Open { failures: u32, until: Instant, reason: Error },
}

impl Breaker {
    /// Whether a connection may be tried while `connecting` others are.
    pub(super) fn permits(&self, now: Instant, connecting: usize) -> bool {
        match self {
            Breaker::Closed => true,
            Breaker::Open { until, .. } => now >= *until && connecting == 0,
        }
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self, Breaker::Open { .. })
    }

    pub(super) fn succeed(&mut self) {
        *self = Breaker::Closed;
    }

    /// Attempts that were made at the same time count as one.
    pub(super) fn fail(&mut self, now: Instant, error: Error) {
        let failures = match self {
            Breaker::Closed => 1,
            Breaker::Open { until, reason, .. } if now < *until => {
                *reason = error;
                return;
            }
            Breaker::Open { failures, .. } => failures.saturating_add(1),
        };
        let delay = FIRST_DELAY.saturating_mul(1 << (failures - 1).min(16)).min(LONGEST_DELAY);
        let until = now + delay.mul_f64(rand::random_range(0.75..=1.0));
        *self = Breaker::Open { failures, until, reason: error };
    }

    /// Why connecting last failed, and how long it is until the next attempt.
    pub(super) fn reason(&self, now: Instant) -> Option<(&Error, Duration)> {
        match self {
            Breaker::Closed => None,
            Breaker::Open { until, reason, .. } => Some((reason, until.saturating_duration_since(now))),
        }
    }

    /// The shard is alive and has no room for one connection more.
    pub(super) fn shard_is_full(&self) -> bool {
        matches!(self, Breaker::Open { reason, .. } if reason.sqlstate() == SqlState::TOO_MANY_CONNECTIONS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn down() -> Error {
        Error::new(SqlState::CONNECTION_FAILURE, "down")
    }

    #[test]
    fn attempts_become_rarer_up_to_a_bound() {
        let mut breaker = Breaker::default();
        let mut now = Instant::now();
        let mut delays = Vec::new();
        for _ in 0..40 {
            breaker.fail(now, down());
            let (_, delay) = breaker.reason(now).expect("open");
            delays.push(delay);
            assert!(!breaker.permits(now, 0));
            now += delay;
            assert!(breaker.permits(now, 0));
            assert!(!breaker.permits(now, 1), "one probe at a time");
        }
        assert!(delays[0] <= FIRST_DELAY && delays[0] >= FIRST_DELAY / 2);
        assert!(delays[39] <= LONGEST_DELAY && delays[39] >= LONGEST_DELAY / 2);
    }

    #[test]
    fn failures_of_one_moment_count_once_and_a_success_forgets_them() {
        let mut breaker = Breaker::default();
        let now = Instant::now();
        (0..20).for_each(|_| breaker.fail(now, down()));
        assert!(breaker.reason(now).expect("open").1 <= FIRST_DELAY);
        breaker.succeed();
        assert!(breaker.permits(now, 63));
        assert!(breaker.reason(now).is_none());
    }
}
