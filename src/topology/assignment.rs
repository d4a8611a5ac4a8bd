//! Who owns how many slots, and which move when that changes.
//!
//! At creation the ring proposes, with a bound: no shard takes more than its weight's share, within one slot. Later the
//! planner starts from today's owners: exactly as many slots move as the new shares require, only from shards over their
//! share to shards under it. So balance and movement are both optimal, which a ring alone cannot give.

use std::collections::BTreeMap;

use super::TopologyError;
use super::ring::Ring;
use crate::types::{SLOTS, ShardId, Slot};

/// The largest weight: it bounds the points of the ring.
pub const WEIGHT_MAX: f64 = 100.0;

/// A shard's claim on slots, relative to the other shards'. 0 means that it should own none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weight {
    pub shard: ShardId,
    pub weight: f64,
}

/// One slot going from one shard to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    pub slot: Slot,
    pub from: ShardId,
    pub to: ShardId,
}

/// Owners for every slot of a new keyspace, indexed by slot number.
///
/// # Errors
/// A weight is not between 0 and [`WEIGHT_MAX`], all are 0, or a shard is named twice.
pub fn assign(weights: &[Weight]) -> Result<Box<[ShardId]>, TopologyError> {
    let targets = targets(weights, &BTreeMap::new())?;
    let ring = Ring::new(weights);
    let mut room = targets;
    let mut owners: Vec<Option<ShardId>> = vec![None; usize::from(SLOTS)];
    for slot in Slot::all() {
        owners[usize::from(slot.number())] = ring.owner(slot).filter(|owner| take_one(&mut room, *owner));
    }
    // The targets add up to the number of slots, so whoever has room takes what the full ones left.
    for slot in Slot::all() {
        let owner = &mut owners[usize::from(slot.number())];
        if owner.is_none() {
            *owner = ring.from(slot).find(|shard| take_one(&mut room, *shard));
        }
    }
    let assigned: Option<Vec<ShardId>> = owners.into_iter().collect();
    assigned.map(Vec::into_boxed_slice).ok_or(TopologyError::NoWeight)
}

/// The fewest moves that bring every shard within one slot of its weight's share, ordered by slot. A shard that owns slots and
/// is not among the weights counts as weight 0.
///
/// # Errors
/// As [`assign`]; also when `owners` is not as long as there are slots.
pub fn rebalance(owners: &[ShardId], weights: &[Weight]) -> Result<Vec<Move>, TopologyError> {
    if owners.len() != usize::from(SLOTS) {
        return Err(TopologyError::SlotCount(owners.len()));
    }
    let counts = count(owners);
    let targets = targets(weights, &counts)?;
    let target_of = |shard: &ShardId| targets.get(shard).copied().unwrap_or(0);
    let count_of = |shard: &ShardId| counts.get(shard).copied().unwrap_or(0);
    let mut surplus: BTreeMap<ShardId, u16> =
        counts.iter().map(|(shard, count)| (*shard, count.saturating_sub(target_of(shard)))).collect();
    let mut deficit: BTreeMap<ShardId, u16> =
        targets.iter().map(|(shard, target)| (*shard, target.saturating_sub(count_of(shard)))).collect();

    let ring = Ring::new(weights);
    let mut moves: Vec<Option<Move>> = vec![None; owners.len()];
    for preference in [Preference::ToItsRingOwner, Preference::NotWithItsRingOwner, Preference::Any] {
        for slot in Slot::all() {
            let from = owners[usize::from(slot.number())];
            let done = &mut moves[usize::from(slot.number())];
            if done.is_some() || surplus.get(&from).copied().unwrap_or(0) == 0 {
                continue;
            }
            let to = match preference {
                Preference::ToItsRingOwner => ring.owner(slot).filter(|owner| take_one(&mut deficit, *owner)),
                Preference::NotWithItsRingOwner if ring.owner(slot) == Some(from) => None,
                Preference::NotWithItsRingOwner | Preference::Any => {
                    ring.from(slot).find(|shard| take_one(&mut deficit, *shard))
                }
            };
            if let Some(to) = to {
                take_one(&mut surplus, from);
                *done = Some(Move { slot, from, to });
            }
        }
    }
    Ok(moves.into_iter().flatten().collect())
}

/// Which slots of a shard over its share leave it first.
#[derive(Clone, Copy)]
enum Preference {
    ToItsRingOwner,
    NotWithItsRingOwner,
    Any,
}

/// How many slots each shard owns, in order of shards.
pub fn count(owners: &[ShardId]) -> BTreeMap<ShardId, u16> {
    let mut counts = BTreeMap::new();
    for owner in owners {
        *counts.entry(*owner).or_insert(0) += 1;
    }
    counts
}

/// Each shard's number of slots: its share rounded down, plus one for as many as are needed to give every slot an owner. Those
/// go first to shards that would otherwise have to give a slot away, then to shards that receive slots anyway (so that nothing
/// moves between two others), then by the largest remainder, then by number.
fn targets(weights: &[Weight], counts: &BTreeMap<ShardId, u16>) -> Result<BTreeMap<ShardId, u16>, TopologyError> {
    check(weights)?;
    let mut weights = weights.to_vec();
    weights.sort_by_key(|weight| weight.shard);
    let total: f64 = weights.iter().map(|weight| weight.weight).sum();
    if total <= 0.0 {
        return Err(TopologyError::NoWeight);
    }
    let share_of = |weight: &Weight| f64::from(SLOTS) * weight.weight / total;
    let mut targets: BTreeMap<ShardId, u16> =
        weights.iter().map(|weight| (weight.shard, share_of(weight).floor() as u16)).collect();
    let left_over = SLOTS.saturating_sub(targets.values().sum());

    let preference = |weight: &Weight| {
        let floor = share_of(weight).floor() as u16;
        match counts.get(&weight.shard).copied().unwrap_or(0) {
            owned if owned > floor && share_of(weight).fract() > 0.0 => 0,
            owned if owned < floor || owned == 0 => 1,
            _ => 2,
        }
    };
    let mut order: Vec<&Weight> = weights.iter().filter(|weight| weight.weight > 0.0).collect();
    order.sort_by(|left, right| {
        preference(left)
            .cmp(&preference(right))
            .then(share_of(right).fract().total_cmp(&share_of(left).fract()))
            .then(left.shard.cmp(&right.shard))
    });
    // There are fewer left over than shards with a remainder, save for rounding in the sum.
    for weight in order.iter().cycle().take(usize::from(left_over)) {
        *targets.entry(weight.shard).or_insert(0) += 1;
    }
    Ok(targets)
}

fn check(weights: &[Weight]) -> Result<(), TopologyError> {
    let mut seen = std::collections::BTreeSet::new();
    for weight in weights {
        if !(0.0..=WEIGHT_MAX).contains(&weight.weight) {
            return Err(TopologyError::Weight { shard: weight.shard.to_string(), weight: weight.weight });
        }
        if !seen.insert(weight.shard) {
            return Err(TopologyError::DuplicateShard(weight.shard.to_string()));
        }
    }
    Ok(())
}

/// Takes one from a shard's allowance; false when there is none left.
fn take_one(allowance: &mut BTreeMap<ShardId, u16>, shard: ShardId) -> bool {
    match allowance.get_mut(&shard) {
        Some(left) if *left > 0 => {
            *left -= 1;
            true
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests;
