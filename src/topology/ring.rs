//! The consistent-hash ring: points of shards on the circle of 64-bit hashes, in proportion to weight.
//!
//! The ring only *proposes* an owner for a slot: the shard of the first point at or after the slot's middle. A shard's
//! points depend on its number and weight alone, so a shard that comes or goes changes the proposals for its own arcs only.
//! What is balanced and what moves is decided by `assignment`, which takes the ring's word among equals.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::assignment::Weight;
use crate::types::{ShardId, Slot};

/// Points of a shard of weight 1. More points make arcs more even, and the ring slower to build.
const POINTS_PER_WEIGHT: f64 = 64.0;

/// Seed of the points ("ring" in ASCII). Never changed: it would change every proposal.
const POINT_SEED: u64 = 0x7269_6e67;

#[derive(Debug)]
pub struct Ring {
    /// Ordered by position, then by shard.
    points: Vec<(u64, ShardId)>,
}

impl Ring {
    /// A ring of these shards. A shard of weight 0 has no point; any other has at least one.
    pub fn new(weights: &[Weight]) -> Ring {
        let mut points = Vec::new();
        for weight in weights.iter().filter(|weight| weight.weight > 0.0) {
            let count = (weight.weight * POINTS_PER_WEIGHT).round().max(1.0) as u32;
            points.extend((0..count).map(|number| (position_of_point(weight.shard, number), weight.shard)));
        }
        points.sort_unstable();
        Ring { points }
    }

    /// The shard that the ring proposes for a slot; `None` when the ring is empty.
    pub fn owner(&self, slot: Slot) -> Option<ShardId> {
        self.from(slot).next()
    }

    /// The shards met when walking the circle once from a slot, with repetitions.
    pub fn from(&self, slot: Slot) -> impl Iterator<Item = ShardId> {
        let start = self.points.partition_point(|(position, _)| *position < middle_of(slot));
        self.points[start..].iter().chain(&self.points[..start]).map(|(_, shard)| *shard)
    }
}

fn position_of_point(shard: ShardId, number: u32) -> u64 {
    let mut bytes = [0; 6];
    bytes[..2].copy_from_slice(&shard.0.to_le_bytes());
    bytes[2..].copy_from_slice(&number.to_le_bytes());
    xxh3_64_with_seed(&bytes, POINT_SEED)
}

fn middle_of(slot: Slot) -> u64 {
    u64::from(slot.number()) << 50 | 1 << 49
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weights(list: &[(u16, f64)]) -> Vec<Weight> {
        list.iter().map(|(shard, weight)| Weight { shard: ShardId(*shard), weight: *weight }).collect()
    }

    #[test]
    fn an_empty_ring_proposes_nobody() {
        assert_eq!(Ring::new(&weights(&[(1, 0.0)])).owner(Slot::of_hash(0)), None);
    }

    #[test]
    fn proposals_change_only_towards_a_new_shard() {
        let before = Ring::new(&weights(&[(1, 1.0), (2, 1.0), (3, 2.0)]));
        let after = Ring::new(&weights(&[(1, 1.0), (2, 1.0), (3, 2.0), (4, 1.0)]));
        let mut moved = 0;
        for slot in Slot::all() {
            if before.owner(slot) != after.owner(slot) {
                assert_eq!(after.owner(slot), Some(ShardId(4)));
                moved += 1;
            }
        }
        assert!((2_000..5_000).contains(&moved), "about a fifth of the circle, not {moved} slots");
    }

    #[test]
    fn the_walk_goes_round_once_and_starts_at_the_owner() {
        let ring = Ring::new(&weights(&[(1, 1.0), (2, 0.001)]));
        let last = Slot::of_hash(u64::MAX);
        let walk: Vec<ShardId> = ring.from(last).collect();
        assert_eq!(walk.len(), 65, "64 points, and one for the smallest of weights");
        assert_eq!(walk.first().copied(), ring.owner(last));
    }
}
