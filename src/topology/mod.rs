//! What is where: the ring that proposes owners, and the epoch-numbered truth that rules.
//!
//! Pure: a topology is a value. It is stored by `catalog` and published by `live_topology`.
//!
//! Invariant: a [`Topology`] that went through [`Topology::validated`] names every slot's owner, and that owner is a shard
//! of the slot's keyspace.

mod assignment;
mod change;
mod drift;
pub mod hash;
mod placement;
mod ranges;
mod ring;
mod schema;
pub mod server;
mod shard_url;
mod slot_set;
mod strays;

use std::sync::Arc;

pub use assignment::{Move, WEIGHT_MAX, Weight, assign, count, rebalance};
pub use drift::{Drift, Finding, Misfit, Severity, Spoils, UnlikeType};
pub use placement::{Misplaced, Placed, Placement, Placements, can_be_key, place, place_as};
pub use ranges::SlotRange;
pub use ring::Ring;
pub use schema::{
    Check, Column, ForeignKey, ForeignKeyAction, Identity, Index, NamedType, NamedTypeKind, Refused, Schema, Table,
    TableKind, UniqueKey,
};

use crate::types::{Epoch, Key, KeyType, SLOTS, ShardId, Slot};
pub use change::{KeyspaceSpec, ShardSpec};
pub use shard_url::{ShardUrl, ShardUrlError, redacted_url};
pub use slot_set::{SlotSet, SlotSetError};
pub use strays::Strays;

/// The keyspace of the HTTP door's key-value entries. It is always there; no configuration can name it.
pub const KV_KEYSPACE: &str = "kv";

/// The tables of [`KV_KEYSPACE`]. They begin with `shardd_` so that no user's table is in their way, and are the only ones
/// of that prefix that CREATE TABLE lets through and that users may read.
pub const KV_TABLES: [&str; 2] = ["shardd_kv", "shardd_kv_idempotency"];

/// The largest number that a shard can have: ids step by it, so that residues never collide.
pub const SHARD_NUMBER_MAX: u16 = 1_024;

/// One version of the truth. Never changed in place: a change makes the next epoch.
#[derive(Clone, Debug)]
pub struct Topology {
    pub epoch: Epoch,
    pub shards: Vec<Shard>,
    pub keyspaces: Vec<Arc<Keyspace>>,
    pub schema: Arc<Schema>,
}

#[derive(Clone, PartialEq)]
pub struct Shard {
    pub id: ShardId,
    pub name: String,
    /// `sqlite:PATH` or `postgres://...`. May hold a password: never printed as it is.
    pub url: String,
    pub weight: f64,
}

/// Tables that shard by the same key, and the owner of every slot.
#[derive(Clone, Debug)]
pub struct Keyspace {
    pub name: String,
    /// The column that makes a table sharded.
    pub key_column: String,
    pub key_type: KeyType,
    /// Tables whose key column has another name: (table, column).
    pub key_columns: Vec<(String, String)>,
    /// The shards that hold this keyspace; some may own no slots yet.
    pub shards: Vec<ShardId>,
    /// Indexed by slot number; as long as there are slots.
    pub owners: Box<[ShardId]>,
    /// Of moves under way, whose runner knows them: not stored with the keyspace. Empty at most times.
    pub strays: Vec<Strays>,
    /// Slots for which new work waits, some moments, until a newer epoch is published that does not hold them.
    pub held: SlotSet,
}

/// What [`is_shard_name`] asks, in words.
pub const SHARD_NAME_RULE: &str = "a shard's name is 1 to 63 of a-z, 0-9, '-', '_' and '.', and begins with a-z or 0-9";

/// Whether a shard may have this name. It is a label in metrics, and written in commands and URLs.
pub fn is_shard_name(name: &str) -> bool {
    const MAX_BYTES: usize = 63;
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    (1..=MAX_BYTES).contains(&name.len())
        && name.bytes().next().is_some_and(plain)
        && name.bytes().all(|byte| plain(byte) || matches!(byte, b'-' | b'_' | b'.'))
}

/// Why something is no topology.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TopologyError {
    #[error("the weight of shard {shard} is {weight}: give it one from 0 to {WEIGHT_MAX}")]
    Weight { shard: String, weight: f64 },
    #[error("no shard has a weight above 0: at least one must, to own the slots")]
    NoWeight,
    #[error("shard {0} is named twice: give every shard a name and a number of its own")]
    DuplicateShard(String),
    #[error("two shards have the same URL, {0}: each shard needs a database of its own")]
    DuplicateUrl(String),
    #[error("the URL of shard \"{shard}\" cannot be used: {error}")]
    Url { shard: String, error: ShardUrlError },
    #[error("keyspace \"{0}\" is named twice: give every keyspace a name of its own")]
    DuplicateKeyspace(String),
    #[error("shard number {0} is not from 1 to {SHARD_NUMBER_MAX}")]
    ShardNumber(u16),
    #[error("keyspace \"{keyspace}\" names shard {shard}, which does not exist")]
    UnknownShard { keyspace: String, shard: String },
    #[error("there is no keyspace \"{0}\"")]
    UnknownKeyspace(String),
    #[error("there are {0} slot owners where there are {SLOTS} slots")]
    SlotCount(usize),
    #[error("slot {slot} of keyspace \"{keyspace}\" belongs to shard {shard}, which is none of the keyspace's shards")]
    StrangeOwner { keyspace: String, slot: Slot, shard: ShardId },
}

impl Topology {
    pub fn keyspace(&self, name: &str) -> Option<&Arc<Keyspace>> {
        self.keyspaces.iter().find(|keyspace| keyspace.name == name)
    }

    pub fn shard(&self, id: ShardId) -> Option<&Shard> {
        self.shards.iter().find(|shard| shard.id == id)
    }

    /// The shard of what belongs to no key and has to be on one shard: the same for every client and instance, as long as
    /// that shard is not removed.
    pub fn home_shard(&self) -> Option<ShardId> {
        self.shards.iter().map(|shard| shard.id).min()
    }

    pub fn shard_named(&self, name: &str) -> Option<&Shard> {
        self.shards.iter().find(|shard| shard.name == name)
    }
}

impl Keyspace {
    pub fn owner(&self, slot: Slot) -> ShardId {
        self.owners[usize::from(slot.number())]
    }

    pub fn owner_of(&self, key: &Key) -> ShardId {
        self.owner(slot_of(key))
    }

    /// The name of the column that a table called `table` shards by, if it has it.
    pub fn key_column_of(&self, table: &str) -> &str {
        self.key_columns.iter().find(|(name, _)| name == table).map_or(&self.key_column, |(_, column)| column)
    }
}

/// The slot of a text key.
pub fn slot_of_text(key: &str) -> Slot {
    Slot::of_hash(hash::hash_text(key))
}

/// The slot of a key: the top 14 bits of Postgres's own extended hash of its type.
pub fn slot_of(key: &Key) -> Slot {
    Slot::of_hash(match key {
        Key::Bigint(key) => hash::hash_bigint(*key),
        Key::Text(key) => hash::hash_text(key),
        Key::Uuid(key) => hash::hash_uuid(key),
    })
}

impl std::fmt::Debug for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shard")
            .field("id", &self.id)
            .field("name", &self.name)
            .field("url", &redacted_url(&self.url))
            .field("weight", &self.weight)
            .finish()
    }
}

#[cfg(test)]
mod golden;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_column_may_have_another_name_in_one_table() {
        let keyspace = Keyspace {
            name: "tickets".into(),
            key_column: "event_id".into(),
            key_type: KeyType::Bigint,
            key_columns: vec![("events".into(), "id".into())],
            shards: vec![ShardId(1)],
            owners: vec![ShardId(1); usize::from(SLOTS)].into(),
            strays: Vec::new(),
            held: SlotSet::default(),
        };
        assert_eq!(keyspace.key_column_of("events"), "id");
        assert_eq!(keyspace.key_column_of("seats"), "event_id");
    }
}
