//! What a pool holds under its lock.

use std::collections::VecDeque;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::breaker::Breaker;
use super::limits::{PoolLimits, Totals};
use super::pooled::{Granted, Held};
use crate::error::{Error, Result};

/// A client that waits, and by what it is told.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) number: u64,
    pub(super) sender: oneshot::Sender<Result<Granted>>,
}

/// Invariant: while a connection is idle, nobody waits.
#[derive(Debug)]
pub(super) struct State {
    /// Last in, first out, so that those that are not needed grow old. Never longer than the pool's size.
    pub(super) idle: Vec<Held>,
    pub(super) active: usize,
    /// Of the active ones, those that sessions keep.
    pub(super) kept: usize,
    pub(super) connecting: usize,
    /// First in, first out.
    pub(super) waiters: VecDeque<Waiter>,
    pub(super) next_number: u64,
    pub(super) breaker: Breaker,
    pub(super) closed: bool,
    pub(super) totals: Totals,
}

impl State {
    pub(super) fn new(limits: &PoolLimits) -> State {
        State {
            idle: Vec::with_capacity(limits.size),
            active: 0,
            kept: 0,
            connecting: 0,
            waiters: VecDeque::new(),
            next_number: 0,
            breaker: Breaker::default(),
            closed: false,
            totals: Totals::default(),
        }
    }

    pub(super) fn open(&self) -> usize {
        self.idle.len() + self.active + self.connecting
    }

    /// Counts as connecting what is missing and may be tried, and says how many that is.
    pub(super) fn begin_connecting(&mut self, limits: &PoolLimits, now: Instant) -> usize {
        let mut begun = 0;
        while !self.closed && self.open() < limits.size && self.breaker.permits(now, self.connecting) {
            let unserved = self.waiters.len().saturating_sub(self.idle.len());
            let wanted = self.connecting < unserved || self.open() < limits.minimum;
            if !wanted {
                break;
            }
            self.connecting += 1;
            begun += 1;
        }
        begun
    }

    /// Why a client that finds no idle connection must not wait; `None` where it may.
    pub(super) fn why_down(&self, now: Instant) -> Option<Down<'_>> {
        let (reason, delay) = self.breaker.reason(now)?;
        let may_wait = self.breaker.shard_is_full() && self.active > 0;
        // Past the delay, the first that comes is served by the attempt that it brings about.
        let may_try = self.breaker.permits(now, self.connecting);
        (!may_wait && !may_try).then_some(Down { reason, delay, connecting: self.connecting > 0 })
    }

    pub(super) fn remove_waiter(&mut self, number: u64) {
        // In the order of their numbers.
        if let Ok(at) = self.waiters.binary_search_by_key(&number, |waiter| waiter.number) {
            self.waiters.remove(at);
        }
    }
}

/// A shard that cannot be reached.
pub(super) struct Down<'a> {
    pub(super) reason: &'a Error,
    pub(super) delay: std::time::Duration,
    /// An attempt is under way.
    pub(super) connecting: bool,
}
