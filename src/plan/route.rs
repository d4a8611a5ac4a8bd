//! Which rows of a keyspace a statement can touch, and on which shards they are.

use super::key::{KeyExpression, Keys as KeysOf};
use crate::error::{Error, Result};
use crate::topology::{Keyspace, Topology, slot_of};
use crate::types::{Datum, Key, KeyType, ShardId, Slot};

/// Which rows of a keyspace a statement can touch.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    pub keyspace: String,
    pub keys: Keys,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Keys {
    /// Only reference tables, or none: every shard gives the same answer.
    Any,
    /// The rows of all these together: one for each sharded table, equal ones once.
    Of(Vec<Pin>),
    /// Rows of any key.
    Every,
}

/// The rows whose key is in every one of these unions.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pin {
    pub all_of: Vec<Vec<KeyExpression>>,
}

/// The shards that a statement runs on.
#[derive(Clone, Debug, PartialEq)]
pub struct Targets {
    /// In the order of their numbers, each once. Never empty: a statement that touches no row runs on one shard, and
    /// answers what an empty table gives.
    pub shards: Vec<ShardId>,
    pub slots: Slots,
}

/// The slots that a statement touches.
#[derive(Clone, Debug, PartialEq)]
pub enum Slots {
    /// None: reference tables only.
    Any,
    /// In order, each once.
    These(Vec<Slot>),
    All,
}

impl Targets {
    /// Every shard of the keyspace gives the same answer.
    pub fn touches_no_slot(&self) -> bool {
        match &self.slots {
            Slots::Any => true,
            Slots::These(slots) => slots.is_empty(),
            Slots::All => false,
        }
    }
}

impl Route {
    /// # Errors
    /// The keyspace is unknown to the topology, or has no shards: the plan is older than it.
    pub fn shards(&self, parameters: &[Datum], topology: &Topology) -> Result<Targets> {
        let keyspace = topology
            .keyspace(&self.keyspace)
            .ok_or_else(|| Error::internal(format!("keyspace \"{}\" is not in the topology", self.keyspace)))?;
        let Some(&first) = keyspace.shards.first() else {
            return Err(Error::internal(format!("keyspace \"{}\" has no shards", self.keyspace)));
        };
        match &self.keys {
            Keys::Any => Ok(Targets { shards: vec![first], slots: Slots::Any }),
            Keys::Every => Ok(every(keyspace)),
            Keys::Of(pins) => match only_integer(pins, keyspace, parameters) {
                Some(key) => {
                    let slot = slot_of(&Key::Bigint(key));
                    Ok(Targets { shards: vec![keyspace.owner(slot)], slots: Slots::These(vec![slot]) })
                }
                None => match union(pins, keyspace, parameters) {
                    Some(keys) => Ok(targets(&keys, keyspace, first)),
                    None => Ok(every(keyspace)),
                },
            },
        }
    }

    /// The keys that the statement is confined to, when it is.
    pub fn keys(&self, parameters: &[Datum], keyspace: &Keyspace) -> Option<Vec<Key>> {
        match &self.keys {
            Keys::Any | Keys::Every => None,
            Keys::Of(pins) => union(pins, keyspace, parameters),
        }
    }
}

fn every(keyspace: &Keyspace) -> Targets {
    let mut shards = keyspace.shards.clone();
    shards.sort_unstable();
    shards.dedup();
    Targets { shards, slots: Slots::All }
}

fn targets(keys: &[Key], keyspace: &Keyspace, first: ShardId) -> Targets {
    let mut slots: Vec<Slot> = keys.iter().map(slot_of).collect();
    slots.sort_unstable();
    slots.dedup();
    let mut shards: Vec<ShardId> = slots.iter().map(|slot| keyspace.owner(*slot)).collect();
    shards.sort_unstable();
    shards.dedup();
    if shards.is_empty() {
        shards.push(first);
    }
    Targets { shards, slots: Slots::These(slots) }
}

/// The key of most statements: one integer, without a list that would have to be made for it.
fn only_integer(pins: &[Pin], keyspace: &Keyspace, parameters: &[Datum]) -> Option<i64> {
    let [Pin { all_of }] = pins else { return None };
    let [expressions] = all_of.as_slice() else { return None };
    let [KeyExpression::Parameter(number)] = expressions.as_slice() else { return None };
    match (keyspace.key_type, parameters.get(number.checked_sub(1)?)?) {
        (KeyType::Bigint, Datum::Int8(key)) => Some(*key),
        (KeyType::Bigint, Datum::Int4(key)) => Some(i64::from(*key)),
        _ => None,
    }
}

/// `None` when a pin is none after all.
fn union(pins: &[Pin], keyspace: &Keyspace, parameters: &[Datum]) -> Option<Vec<Key>> {
    let mut all = Vec::new();
    for pin in pins {
        all.extend(intersection(pin, keyspace, parameters)?);
    }
    Some(all)
}

fn intersection(pin: &Pin, keyspace: &Keyspace, parameters: &[Datum]) -> Option<Vec<Key>> {
    let mut common: Option<Vec<Key>> = None;
    for expressions in &pin.all_of {
        let Some(keys) = keys_of(expressions, keyspace, parameters) else { continue };
        common = Some(match common {
            None => keys,
            Some(mut before) if before.len() <= 8 => {
                before.retain(|key| keys.contains(key));
                before
            }
            Some(mut before) => {
                let keys: std::collections::HashSet<Key> = keys.into_iter().collect();
                before.retain(|key| keys.contains(key));
                before
            }
        });
    }
    common
}

fn keys_of(expressions: &[KeyExpression], keyspace: &Keyspace, parameters: &[Datum]) -> Option<Vec<Key>> {
    let mut all = Vec::with_capacity(expressions.len());
    for expression in expressions {
        match expression.keys(keyspace.key_type, parameters) {
            KeysOf::These(keys) => all.extend(keys),
            KeysOf::Unknown => return None,
        }
    }
    Some(all)
}
