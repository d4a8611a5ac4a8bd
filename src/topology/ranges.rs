//! Slots of one owner that lie side by side: how ownership is stored and shown.

use crate::types::{SLOTS, ShardId};

use super::{Keyspace, TopologyError};

/// Slots from `first` to `last`, both included, that one shard owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SlotRange {
    pub first: u16,
    pub last: u16,
    pub owner: ShardId,
}

impl Keyspace {
    /// The owners as the fewest ranges, in order of slots.
    pub fn ranges(&self) -> Vec<SlotRange> {
        SlotRange::of(&self.owners)
    }

    /// The ranges of one shard.
    pub fn ranges_of(&self, shard: ShardId) -> Vec<SlotRange> {
        self.ranges().into_iter().filter(|range| range.owner == shard).collect()
    }
}

impl SlotRange {
    /// Owners, indexed by slot number, as ranges.
    pub fn of(owners: &[ShardId]) -> Vec<SlotRange> {
        let mut ranges: Vec<SlotRange> = Vec::new();
        for (slot, owner) in (0..SLOTS).zip(owners) {
            match ranges.last_mut() {
                Some(range) if range.owner == *owner => range.last = slot,
                _ => ranges.push(SlotRange { first: slot, last: slot, owner: *owner }),
            }
        }
        ranges
    }

    /// Ranges as owners, indexed by slot number.
    ///
    /// # Errors
    /// The ranges leave a slot out, name one twice, or are not in order.
    pub fn owners(ranges: &[SlotRange]) -> Result<Box<[ShardId]>, TopologyError> {
        let mut owners = Vec::with_capacity(usize::from(SLOTS));
        for range in ranges {
            if usize::from(range.first) != owners.len() || range.last < range.first || range.last >= SLOTS {
                return Err(TopologyError::SlotCount(owners.len()));
            }
            owners.resize(usize::from(range.last) + 1, range.owner);
        }
        if owners.len() != usize::from(SLOTS) {
            return Err(TopologyError::SlotCount(owners.len()));
        }
        Ok(owners.into_boxed_slice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: u16, last: u16, owner: u16) -> SlotRange {
        SlotRange { first, last, owner: ShardId(owner) }
    }

    #[test]
    fn ranges_and_owners_are_the_same_thing() {
        let ranges = [range(0, 9, 1), range(10, 10, 2), range(11, 16_382, 1), range(16_383, 16_383, 3)];
        let owners = SlotRange::owners(&ranges).unwrap();
        assert_eq!(SlotRange::of(&owners), ranges);
    }

    #[test]
    fn ranges_with_a_gap_or_an_overlap_are_refused() {
        for bad in [
            vec![],
            vec![range(0, 16_382, 1)],
            vec![range(1, 16_383, 1)],
            vec![range(0, 9, 1), range(9, 16_383, 2)],
            vec![range(0, 9, 1), range(11, 16_383, 2)],
            vec![range(0, 16_384, 1)],
            vec![range(0, 9, 1), range(10, 9, 2), range(10, 16_383, 1)],
        ] {
            assert!(SlotRange::owners(&bad).is_err(), "{bad:?}");
        }
    }
}
