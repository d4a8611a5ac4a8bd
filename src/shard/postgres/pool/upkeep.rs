//! Closes what nobody uses, and keeps the minimum open.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::limits::PoolLimits;
use super::pooled::Held;
use super::{Pool, State};

const SHORTEST_PERIOD: Duration = Duration::from_millis(10);
const LONGEST_PERIOD: Duration = Duration::from_secs(1);

/// Ends when `stop` is notified, at the pool's end.
pub(super) async fn run(pool: Weak<Pool>, stop: Arc<Notify>, limits: PoolLimits) {
    let shortest = [limits.idle_timeout, limits.max_lifetime].into_iter().flatten().min().unwrap_or(LONGEST_PERIOD);
    let period = (shortest / 4).clamp(SHORTEST_PERIOD, LONGEST_PERIOD);
    loop {
        match pool.upgrade() {
            Some(pool) => pool.look_after(),
            None => return,
        }
        if timeout(period, stop.notified()).await.is_ok() {
            return;
        }
    }
}

impl Pool {
    fn look_after(self: &Arc<Self>) {
        let now = Instant::now();
        let (retired, begun) = {
            let mut state = self.state.lock();
            let retired = unused(&mut state, &self.limits, now);
            state.totals.retired += retired.len() as u64;
            (retired, state.begin_connecting(&self.limits, now))
        };
        for held in retired {
            held.backend.terminate();
        }
        self.connect(begun);
    }
}

/// Takes out the idle connections that are too old, and those unused for too long that are more than the minimum.
fn unused(state: &mut State, limits: &PoolLimits, now: Instant) -> Vec<Held> {
    let mut spare = state.open().saturating_sub(limits.minimum);
    // The longest unused come first.
    let leave = state.idle.extract_if(.., |held| {
        let rested = now.saturating_duration_since(held.idle_since);
        let unused = spare > 0 && limits.idle_timeout.is_some_and(|limit| rested >= limit);
        let leaves = unused || held.is_expired(now);
        spare = spare.saturating_sub(usize::from(leaves));
        leaves
    });
    leave.collect()
}
