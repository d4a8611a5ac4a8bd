//! Any set of slots: what a shard owns, what a move takes along.

use std::fmt;
use std::str::FromStr;

use super::Keyspace;
use crate::types::{SLOTS, ShardId, Slot};

const WORDS: usize = SLOTS as usize / 64;

/// A set of slots, one bit for each. Written as ranges, as in `0-99,120`.
#[derive(Clone, PartialEq, Eq)]
pub struct SlotSet(Box<[u64; WORDS]>);

/// A text that is no set of slots.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is no set of slots: give numbers from 0 to {last} and ranges of them, as in 0-99,120", last = SLOTS - 1)]
pub struct SlotSetError(String);

impl SlotSet {
    pub fn contains(&self, slot: Slot) -> bool {
        let number = usize::from(slot.number());
        self.0[number / 64] >> (number % 64) & 1 == 1
    }

    pub fn insert(&mut self, slot: Slot) {
        let number = usize::from(slot.number());
        self.0[number / 64] |= 1 << (number % 64);
    }

    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    /// How many slots there are in it.
    pub fn len(&self) -> u16 {
        self.0.iter().map(|word| word.count_ones() as u16).sum()
    }

    /// Its slots, in order.
    pub fn iter(&self) -> impl Iterator<Item = Slot> + '_ {
        Slot::all().filter(|slot| self.contains(*slot))
    }

    /// The slots of either.
    #[must_use]
    pub fn union(&self, other: &SlotSet) -> SlotSet {
        self.combined(other, |left, right| left | right)
    }

    /// The slots of both.
    #[must_use]
    pub fn intersection(&self, other: &SlotSet) -> SlotSet {
        self.combined(other, |left, right| left & right)
    }

    /// Its slots without the other's.
    #[must_use]
    pub fn difference(&self, other: &SlotSet) -> SlotSet {
        self.combined(other, |left, right| left & !right)
    }

    /// The fewest ranges, first and last slot of each, in order.
    pub fn ranges(&self) -> Vec<(u16, u16)> {
        let mut ranges: Vec<(u16, u16)> = Vec::new();
        for slot in self.iter().map(Slot::number) {
            match ranges.last_mut() {
                Some((_, last)) if *last + 1 == slot => *last = slot,
                _ => ranges.push((slot, slot)),
            }
        }
        ranges
    }

    /// One bit for each slot as 2,048 bytes, the bit of slot 0 the lowest of the first byte: as `get_bit(bytea, slot)` of
    /// Postgres counts them.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    fn combined(&self, other: &SlotSet, combine: fn(u64, u64) -> u64) -> SlotSet {
        let mut words = self.0.clone();
        for (word, other) in words.iter_mut().zip(other.0.iter()) {
            *word = combine(*word, *other);
        }
        SlotSet(words)
    }
}

impl Keyspace {
    /// The slots that a shard owns.
    pub fn slots_of(&self, shard: ShardId) -> SlotSet {
        Slot::all().filter(|slot| self.owner(*slot) == shard).collect()
    }
}

impl Default for SlotSet {
    fn default() -> SlotSet {
        SlotSet(Box::new([0; WORDS]))
    }
}

impl FromIterator<Slot> for SlotSet {
    fn from_iter<I: IntoIterator<Item = Slot>>(slots: I) -> SlotSet {
        let mut set = SlotSet::default();
        slots.into_iter().for_each(|slot| set.insert(slot));
        set
    }
}

impl FromStr for SlotSet {
    type Err = SlotSetError;

    fn from_str(text: &str) -> Result<SlotSet, SlotSetError> {
        let wrong = || SlotSetError(text.chars().take(80).collect());
        let slot = |digits: &str| {
            let number = digits.trim().parse().ok().filter(|_| digits.trim().bytes().all(|byte| byte.is_ascii_digit()));
            number.and_then(Slot::new).ok_or_else(wrong)
        };
        let mut set = SlotSet::default();
        for range in text.split(',') {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let (first, last) = (slot(first)?, slot(last)?);
            if last < first {
                return Err(wrong());
            }
            Slot::all().filter(|slot| (first..=last).contains(slot)).for_each(|slot| set.insert(slot));
        }
        Ok(set)
    }
}

impl fmt::Display for SlotSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (first, last)) in self.ranges().into_iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            match first == last {
                true => write!(f, "{comma}{first}")?,
                false => write!(f, "{comma}{first}-{last}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for SlotSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{self}}}")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn set(text: &str) -> SlotSet {
        text.parse().unwrap()
    }

    #[test]
    fn a_set_is_written_as_its_ranges() {
        assert_eq!(set("5,1-3,2,4,16383").to_string(), "1-5,16383");
        assert_eq!(set("0-16383").len(), SLOTS);
        assert_eq!(SlotSet::default().to_string(), "");
        for wrong in ["", "-", "1-", "3-1", "16384", "+1", "1,,2", "a", "0-99999999999999999999"] {
            assert!(wrong.parse::<SlotSet>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn bits_are_where_postgres_counts_them() {
        let bytes = set("0,9,16383").to_bytes();
        assert_eq!((bytes.len(), bytes[0], bytes[1], bytes[2047]), (2_048, 1, 2, 128));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn sets_are_what_sets_of_numbers_are(left in prop::collection::btree_set(0..SLOTS, 0..200), right in prop::collection::btree_set(0..SLOTS, 0..200)) {
            let of = |numbers: &std::collections::BTreeSet<u16>| numbers.iter().copied().filter_map(Slot::new).collect::<SlotSet>();
            let numbers = |set: &SlotSet| set.iter().map(Slot::number).collect::<std::collections::BTreeSet<_>>();
            let (one, other) = (of(&left), of(&right));
            prop_assert_eq!(numbers(&one.union(&other)), &left | &right);
            prop_assert_eq!(numbers(&one.intersection(&other)), &left & &right);
            prop_assert_eq!(numbers(&one.difference(&other)), &left - &right);
            prop_assert_eq!(usize::from(one.len()), left.len());
            prop_assert!(left.is_empty() || one.to_string().parse() == Ok(one));
        }
    }
}
