//! The one cell where a new epoch is published.
//!
//! Readers take a snapshot without a lock and keep it for one statement; a change is a new value, and never an older one.

mod turns;

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::{ArcSwap, Cache};
use tokio::sync::watch;

use crate::topology::{Schema, Topology};
use crate::types::{Epoch, ShardId};
pub use turns::Turns;
use turns::TurnsOfShards;

/// The topology that rules now.
#[derive(Debug)]
pub struct LiveTopology {
    current: ArcSwap<Topology>,
    epochs: watch::Sender<Epoch>,
    /// What [`Topology::is_moving`] says of it, for whoever asks with every statement.
    is_moving: AtomicBool,
    turns: Turns,
    transactions: TurnsOfShards,
}

/// A topology that was looked at, and is looked at anew only when there is a newer one.
pub type SeenTopology = Cache<Cell, Arc<Topology>>;

/// Where the topology is found.
#[derive(Clone, Debug)]
pub struct Cell(Arc<LiveTopology>);

impl Deref for Cell {
    type Target = ArcSwap<Topology>;

    fn deref(&self) -> &ArcSwap<Topology> {
        &self.0.current
    }
}

/// A topology that is not newer than the one that rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("epoch {offered} cannot follow epoch {current}: plan the change again from the current topology")]
pub struct NotNewer {
    pub offered: Epoch,
    pub current: Epoch,
}

impl LiveTopology {
    pub fn new(topology: Topology) -> LiveTopology {
        let (epochs, _) = watch::channel(topology.epoch);
        LiveTopology {
            is_moving: AtomicBool::new(topology.is_moving()),
            current: ArcSwap::from_pointee(topology),
            epochs,
            turns: Turns::default(),
            transactions: TurnsOfShards::default(),
        }
    }

    /// The topology as it is now. It stays what it is for whoever holds it.
    pub fn snapshot(&self) -> Arc<Topology> {
        self.current.load_full()
    }

    /// Whether slots move now: what holds then need not be looked at otherwise.
    pub fn is_moving(&self) -> bool {
        self.is_moving.load(Ordering::Acquire)
    }

    /// For whoever looks at it again and again.
    pub fn seen(self: &Arc<Self>) -> SeenTopology {
        Cache::new(Cell(Arc::clone(self)))
    }

    /// The same, for a look that lasts no longer than the caller's own work.
    pub fn load(&self) -> arc_swap::Guard<Arc<Topology>> {
        self.current.load()
    }

    /// Makes this the topology that rules.
    ///
    /// # Errors
    /// Its epoch is not newer; the current one stays.
    pub fn publish(&self, topology: Topology) -> Result<(), NotNewer> {
        let offered = topology.epoch;
        let topology = Arc::new(topology);
        let mut refused = None;
        // The sender's lock makes publishers take turns; readers never wait for it.
        self.epochs.send_if_modified(|epoch| {
            if offered <= *epoch {
                refused = Some(NotNewer { offered, current: *epoch });
                return false;
            }
            // Never unset while the topology still moves, as one that is looked at after this may say.
            let is_moving = topology.is_moving();
            self.is_moving.fetch_or(is_moving, Ordering::AcqRel);
            self.current.store(topology);
            self.is_moving.store(is_moving, Ordering::Release);
            *epoch = offered;
            true
        });
        refused.map_or(Ok(()), Err)
    }

    /// Completes a topology whose schema was not known yet, as at the start: the epoch stays.
    ///
    /// # Errors
    /// Another epoch was published meanwhile.
    pub fn complete(&self, of: &Topology, schema: Arc<Schema>) -> Result<(), NotNewer> {
        let completed = Arc::new(Topology { schema, ..of.clone() });
        let mut refused = None;
        self.epochs.send_if_modified(|epoch| {
            if *epoch == of.epoch {
                self.current.store(completed);
            } else {
                refused = Some(NotNewer { offered: of.epoch, current: *epoch });
            }
            false
        });
        refused.map_or(Ok(()), Err)
    }

    /// The turns of statements. Each takes its place before it looks at the topology, and holds it until it has been answered: who
    /// has published an epoch and then waits for these knows that no statement goes by an earlier one.
    pub fn turns(&self) -> &Turns {
        &self.turns
    }

    /// The turns of the transactions that have touched a shard. Who has waited for the statements of before and then for
    /// these, knows that no transaction reads there by an earlier epoch.
    pub fn transactions(&self, shard: ShardId) -> Arc<Turns> {
        self.transactions.of(shard)
    }

    /// Tells when a newer epoch was published.
    pub fn changed(&self) -> watch::Receiver<Epoch> {
        self.epochs.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topology(epoch: u64) -> Topology {
        Topology { epoch: Epoch(epoch), shards: vec![], keyspaces: vec![], schema: Arc::default() }
    }

    #[tokio::test]
    async fn a_newer_epoch_is_seen_and_an_older_one_refused() {
        let live = LiveTopology::new(topology(3));
        let before = live.snapshot();
        let mut changed = live.changed();
        live.publish(topology(5)).unwrap();
        changed.changed().await.unwrap();
        assert_eq!(*changed.borrow_and_update(), Epoch(5));
        for old in [4, 5] {
            let refused = live.publish(topology(old));
            assert_eq!(refused, Err(NotNewer { offered: Epoch(old), current: Epoch(5) }));
        }
        assert_eq!(live.snapshot().epoch, Epoch(5));
        assert_eq!(before.epoch, Epoch(3), "a snapshot stays what it was");
        assert!(!changed.has_changed().unwrap());
    }

    #[test]
    fn of_many_publishers_the_newest_epoch_wins() {
        let live = LiveTopology::new(topology(0));
        std::thread::scope(|scope| {
            for first in 1..=8 {
                let live = &live;
                scope.spawn(move || {
                    for step in 0..50 {
                        let _ = live.publish(topology(first + step * 8));
                    }
                });
            }
        });
        assert_eq!(live.snapshot().epoch, Epoch(400));
    }
}
