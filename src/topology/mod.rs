//! What is where: the ring that proposes owners, and the epoch-numbered truth that rules.
//!
//! Pure: a topology is a value. It is stored by `catalog` and published by `live_topology`.

mod schema;

use std::sync::Arc;

pub use schema::{Check, Column, ForeignKey, ForeignKeyAction, Identity, Index, Schema, Table, TableKind, UniqueKey};

use crate::types::{Epoch, Key, KeyType, ShardId, Slot};

/// One version of the truth. Never changed in place: a change makes the next epoch.
#[derive(Clone, Debug)]
pub struct Topology {
    pub epoch: Epoch,
    pub shards: Vec<Shard>,
    pub keyspaces: Vec<Arc<Keyspace>>,
    pub schema: Arc<Schema>,
}

#[derive(Clone, Debug, PartialEq)]
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
}

impl Topology {
    pub fn keyspace(&self, name: &str) -> Option<&Arc<Keyspace>> {
        self.keyspaces.iter().find(|keyspace| keyspace.name == name)
    }

    pub fn shard(&self, id: ShardId) -> Option<&Shard> {
        self.shards.iter().find(|shard| shard.id == id)
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

/// The slot of a key: the top 14 bits of Postgres's own extended hash of its type.
pub fn slot_of(_key: &Key) -> Slot {
    todo!()
}
