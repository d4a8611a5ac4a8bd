//! Which statements are being answered and which transactions are open, as far as it takes to wait for those that are older
//! than a change.

use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use crate::types::ShardId;

/// How often those that are waited for are looked at.
const LOOKING_PAUSE: Duration = Duration::from_millis(2);

/// Every statement holds the turn in which it began; a new one begins whenever somebody waits.
#[derive(Debug, Default)]
pub struct Turns {
    now: ArcSwap<()>,
    /// Those of before. A wait that was given up has left its own to the next.
    earlier: Mutex<Vec<Weak<()>>>,
}

impl Turns {
    /// A place in the turn of now, for as long as it is held.
    pub fn take(&self) -> Arc<()> {
        self.now.load_full()
    }

    /// Waits until every place of before is free. Who may not wait for ever bounds it: a wait that was given up can be begun again.
    pub async fn have_ended(&self) {
        let before = self.now.swap(Arc::default());
        self.earlier.lock().push(Arc::downgrade(&before));
        drop(before);
        while self.is_any_held() {
            tokio::time::sleep(LOOKING_PAUSE).await;
        }
    }

    fn is_any_held(&self) -> bool {
        let mut earlier = self.earlier.lock();
        earlier.retain(|turn| turn.strong_count() > 0);
        !earlier.is_empty()
    }
}

/// The turns of every shard's transactions: each takes its place when it first touches the shard, and holds it to its end.
#[derive(Debug, Default)]
pub(super) struct TurnsOfShards(ArcSwap<Vec<(ShardId, Arc<Turns>)>>);

impl TurnsOfShards {
    pub(super) fn of(&self, shard: ShardId) -> Arc<Turns> {
        let find = |known: &[(ShardId, Arc<Turns>)]| {
            known.iter().find(|(id, _)| *id == shard).map(|(_, turns)| Arc::clone(turns))
        };
        if let Some(turns) = find(&self.0.load()) {
            return turns;
        }
        let new = Arc::new(Turns::default());
        self.0.rcu(|known| {
            let mut known = Vec::clone(known);
            if find(&known).is_none() {
                known.push((shard, Arc::clone(&new)));
            }
            known
        });
        // Another may have come first.
        find(&self.0.load()).unwrap_or(new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn transactions_of_other_shards_are_not_waited_for() {
        let shards = TurnsOfShards::default();
        let _other = shards.of(ShardId(1)).take();
        let own = shards.of(ShardId(2)).take();
        let turns = shards.of(ShardId(2));
        let wait = || tokio::time::timeout(Duration::from_millis(20), turns.have_ended());
        assert!(wait().await.is_err());
        drop(own);
        turns.have_ended().await;
    }

    #[tokio::test]
    async fn a_wait_that_is_tried_again_waits_for_what_the_first_has_waited_for() {
        let turns = Turns::default();
        let oldest = turns.take();
        let wait = || tokio::time::timeout(Duration::from_millis(20), turns.have_ended());
        assert!(wait().await.is_err());
        let younger = turns.take();
        assert!(wait().await.is_err());
        drop(younger);
        assert!(wait().await.is_err());
        drop(oldest);
        turns.have_ended().await;
    }
}
