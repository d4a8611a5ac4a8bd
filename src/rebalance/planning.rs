//! Which moves an operator's wish takes.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::stages::{server, sharded_tables};
use super::{Rebalancer, Shared};
use crate::catalog::NewMove;
use crate::error::{Error, Result, SqlState};
use crate::shard::postgres::{MoveParts, PostgresMove};
use crate::topology::{KV_KEYSPACE, Keyspace, SlotSet, Topology, rebalance};
use crate::types::ShardId;

/// What an operator wants to be moved.
#[derive(Clone, Debug)]
pub enum Wanted {
    /// These slots, wherever they are, to one shard. Without a keyspace: the only one of the user's.
    Slots { keyspace: Option<String>, slots: SlotSet, to: String },
    /// As many slots of every keyspace as the shards' weights ask for.
    Balance,
}

/// A move that is not recorded yet, and an estimate of what it moves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedMove {
    pub moved: NewMove,
    pub rows: u64,
    pub bytes: u64,
}

impl Rebalancer {
    /// The moves for a wish: one for each pair of shards. None, where all is so already.
    ///
    /// # Errors
    /// There is no such keyspace or shard; moves are under way; slots of SQLite shards; a shard cannot be asked.
    pub async fn plan(&self, wanted: &Wanted) -> Result<Vec<PlannedMove>> {
        let topology = self.0.live.snapshot();
        let moves = match wanted {
            Wanted::Slots { keyspace, slots, to } => {
                let keyspace = keyspace_of(&topology, keyspace.as_deref())?;
                let to = topology.shard_named(to).ok_or_else(|| unknown("shard", to))?.id;
                grouped(&keyspace, slots.iter().map(|slot| (slot, keyspace.owner(slot), to)))
            }
            Wanted::Balance => {
                if let Some(first) = self.0.catalog.unfinished_moves().await?.first() {
                    let message = format!("move {} has not ended", first.id);
                    return Err(Error::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, message)
                        .hint("Wait until all have ended (`shardctl moves`), or cancel them."));
                }
                let mut all = Vec::new();
                for keyspace in &topology.keyspaces {
                    let moves = rebalance(&keyspace.owners, &topology.weights(keyspace))
                        .map_err(|error| Error::from(crate::catalog::CatalogError::from(error)))?;
                    all.extend(grouped(keyspace, moves.into_iter().map(|one| (one.slot, one.from, one.to))));
                }
                all
            }
        };
        let mut planned = Vec::with_capacity(moves.len());
        for moved in moves {
            planned.push(self.0.estimated(&topology, moved).await?);
        }
        Ok(planned)
    }
}

impl Shared {
    async fn estimated(&self, topology: &Topology, moved: NewMove) -> Result<PlannedMove> {
        let keyspace = keyspace_of(topology, Some(&moved.keyspace))?;
        let mut shards = PostgresMove::new(MoveParts {
            id: 0,
            cluster: self.cluster.clone(),
            keyspace: moved.keyspace.clone(),
            token: String::new(),
            from: server(topology, moved.from)?,
            to: server(topology, moved.to)?,
            slots: moved.slots.clone(),
            tables: sharded_tables(topology, &moved.keyspace),
        });
        let (rows, bytes) = shards.estimate(&keyspace.slots_of(moved.from)).await?;
        Ok(PlannedMove { moved, rows, bytes })
    }
}

/// One move for each pair of shards; nothing for slots that are where they are to be.
fn grouped(keyspace: &Keyspace, slots: impl Iterator<Item = (crate::types::Slot, ShardId, ShardId)>) -> Vec<NewMove> {
    let mut pairs: BTreeMap<(ShardId, ShardId), SlotSet> = BTreeMap::new();
    for (slot, from, to) in slots.filter(|(_, from, to)| from != to) {
        pairs.entry((from, to)).or_default().insert(slot);
    }
    let of = |((from, to), slots)| NewMove { keyspace: keyspace.name.clone(), from, to, slots };
    pairs.into_iter().map(of).collect()
}

fn keyspace_of(topology: &Topology, name: Option<&str>) -> Result<Arc<Keyspace>> {
    if let Some(name) = name {
        return topology.keyspace(name).cloned().ok_or_else(|| unknown("keyspace", name));
    }
    let mut own = topology.keyspaces.iter().filter(|keyspace| keyspace.name != KV_KEYSPACE);
    match (own.next(), own.next()) {
        (Some(only), None) => Ok(Arc::clone(only)),
        _ => Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, "there are several keyspaces, or none of your own")
            .hint("Name one with --keyspace; `shardctl status` lists them.")),
    }
}

pub(super) fn unknown(what: &str, name: &str) -> Error {
    Error::new(SqlState::UNDEFINED_OBJECT, format!("there is no {what} \"{name}\""))
        .hint("`shardctl status` and `shardctl shards` list what there is.")
}
