//! Statements that surely go to one shard, found without a list of shards being made: most of most applications.

use super::key::{KeyExpression, Keys as KeysOf, keys_of};
use super::{Keys, Pin, Plan, ReadSource, Route};
use crate::topology::{Topology, slot_of};
use crate::types::{Datum, Key, KeyType, ShardId};

/// What says which shard a statement goes to.
#[derive(Clone, Debug, PartialEq)]
pub struct Straight {
    keyspace: String,
    /// `$n` that holds the key. `None`: only a keyspace of one shard leaves no choice.
    parameter: Option<usize>,
    /// It is the key of a row to be written, and not compared with one.
    of_row: bool,
    /// It writes to a reference table.
    to_reference: bool,
    /// It takes a writer's place.
    pub writes: bool,
}

impl Straight {
    /// `None` when it takes more to tell.
    pub fn of(plan: &Plan) -> Option<Straight> {
        let by_route = |route: &Route, writes| {
            let parameter = match &route.keys {
                Keys::Of(pins) => Some(parameter_of(pins)?),
                Keys::Any | Keys::Every => None,
            };
            Some(Straight { keyspace: route.keyspace.clone(), parameter, of_row: false, to_reference: false, writes })
        };
        match plan {
            Plan::Read(read) if read.mixes_keyspaces => None,
            Plan::Write(write) if write.mixes_keyspaces => None,
            Plan::Read(read) if read.source == ReadSource::Shards => by_route(&read.route, read.locks_rows),
            Plan::Write(write) => {
                by_route(&write.route, true).map(|route| Straight { to_reference: write.to_reference, ..route })
            }
            Plan::WriteReference(write) => {
                let keyspace = write.keyspace.clone();
                Some(Straight { keyspace, parameter: None, of_row: false, to_reference: true, writes: true })
            }
            Plan::Insert(insert) => match insert.row_keys.as_slice() {
                [KeyExpression::Parameter(number)] if insert.key_length.is_none() => Some(Straight {
                    keyspace: insert.keyspace.clone(),
                    parameter: Some(*number),
                    of_row: true,
                    to_reference: false,
                    writes: true,
                }),
                _ => None,
            },
            _ => None,
        }
    }

    /// The parameter, from 1, that [`Straight::shard`] has to be given.
    pub fn parameter(&self) -> Option<usize> {
        self.parameter
    }

    /// The one shard; `None` where the value does not show it, or new work on its slot waits.
    #[inline]
    pub fn shard(&self, value: Option<&Datum>, topology: &Topology) -> Option<ShardId> {
        let keyspace = topology.keyspace(&self.keyspace)?;
        if self.parameter.is_none() {
            return match keyspace.shards.as_slice() {
                [only] if !(self.to_reference && topology.schema.joining) => Some(*only),
                _ => None,
            };
        }
        let key = match (keyspace.key_type, value?) {
            (KeyType::Bigint, Datum::Int8(key)) => Key::Bigint(*key),
            (KeyType::Bigint, Datum::Int4(key)) => Key::Bigint(i64::from(*key)),
            (KeyType::Bigint, Datum::Int2(key)) => Key::Bigint(i64::from(*key)),
            (KeyType::Uuid, Datum::Uuid(_)) | (KeyType::Text, Datum::Text(_)) => Key::from_datum(value?)?,
            (key_type, datum) if !self.of_row => match keys_of(datum, key_type) {
                KeysOf::These(keys) => only(keys)?,
                KeysOf::Unknown => return None,
            },
            _ => return None,
        };
        let slot = slot_of(&key);
        (!keyspace.held.contains(slot)).then(|| keyspace.owner(slot))
    }
}

fn only(keys: Vec<Key>) -> Option<Key> {
    <[Key; 1]>::try_from(keys).ok().map(|[key]| key)
}

fn parameter_of(pins: &[Pin]) -> Option<usize> {
    let [Pin { all_of }] = pins else { return None };
    let [expressions] = all_of.as_slice() else { return None };
    let [KeyExpression::Parameter(number)] = expressions.as_slice() else { return None };
    Some(*number)
}
