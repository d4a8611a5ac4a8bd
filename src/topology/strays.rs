//! What is different while slots move: rows that lie where they do not belong, and slots whose new work waits.

use std::sync::Arc;

use super::{Keyspace, SlotSet, Topology};
use crate::types::ShardId;

/// Rows of slots that lie on a shard which does not own them: copies that a move is making, or what it has still to delete.
/// Whatever reads or writes several shards leaves them out there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Strays {
    pub shard: ShardId,
    pub slots: SlotSet,
}

impl Topology {
    /// Whether a shard holds strays, or slots are held.
    pub fn is_moving(&self) -> bool {
        self.keyspaces.iter().any(|keyspace| keyspace.is_moving())
    }

    /// The same topology with the other's strays and held slots, which no catalog stores.
    #[must_use]
    pub fn moving_as(mut self, other: &Topology) -> Topology {
        for keyspace in &mut self.keyspaces {
            let moving = other.keyspace(&keyspace.name).filter(|other| other.is_moving() || keyspace.is_moving());
            if let Some(other) = moving {
                let keyspace = Arc::make_mut(keyspace);
                keyspace.strays.clone_from(&other.strays);
                keyspace.held.clone_from(&other.held);
            }
        }
        self
    }

    /// Whether new work waits for some slots.
    pub fn holds_slots(&self) -> bool {
        self.keyspaces.iter().any(|keyspace| !keyspace.held.is_empty())
    }
}

impl Keyspace {
    /// Whether a shard holds strays, or slots are held.
    pub fn is_moving(&self) -> bool {
        !self.strays.is_empty() || !self.held.is_empty()
    }

    /// The slots whose rows are to be left out on a shard; `None`: it holds no others than its own.
    pub fn strays_on(&self, shard: ShardId) -> Option<SlotSet> {
        let mut here = self.strays.iter().filter(|strays| strays.shard == shard);
        let first = here.next()?.slots.clone();
        Some(here.fold(first, |all, strays| all.union(&strays.slots))).filter(|slots| !slots.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::Shard;
    use crate::types::KeyType;

    #[test]
    fn strays_of_several_moves_are_told_together() {
        let shard =
            |number| Shard { id: ShardId(number), name: number.to_string(), url: "sqlite:a.db".into(), weight: 1.0 };
        let mut keyspace = Keyspace::create("tickets", "event_id", KeyType::Bigint, &[shard(1), shard(2)]).unwrap();
        assert!(!keyspace.is_moving());
        let slots = |text: &str| text.parse::<SlotSet>().unwrap();
        for (shard, text) in [(1, "0-9"), (2, "20"), (1, "30")] {
            keyspace.strays.push(Strays { shard: ShardId(shard), slots: slots(text) });
        }
        assert!(keyspace.is_moving());
        assert_eq!(keyspace.strays_on(ShardId(1)), Some(slots("0-9,30")));
        assert_eq!(keyspace.strays_on(ShardId(3)), None);
    }
}
