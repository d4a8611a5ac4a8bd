//! The guards of SQLite shards' files: triggers on every sharded table, and the slots that the shard owns.
//!
//! A change of the schema brings those of its tables along; those of a file that has none, or others, are put right when it is
//! opened. As on servers, slots that another shard's guard claims are not taken.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Engine;
use super::guards::{Mended, settle, unsettled};
use crate::error::Result;
use crate::shard::postgres::schema::GuardState;
use crate::shard::sqlite::dialect::SchemaChange;
use crate::shard::sqlite::{StoredGuard, drop_guard_statements, guard_triggers, store_slots_statement};
use crate::shard::{CancelFlag, Shard, TransactionMode};
use crate::topology::{Schema, SlotSet, Table, Topology};
use crate::types::ShardId;

/// The statements of a change of the schema, with those that keep the guards of its tables.
pub(super) fn around(before: &Schema, change: &SchemaChange) -> Vec<String> {
    let differ = |table: &&Arc<Table>, other: &Schema| {
        other.table(&table.name) != Some(*table) || change.rebuilt.contains(&table.name)
    };
    let gone = before.tables.values().filter(|table| differ(table, &change.schema));
    let made = change.schema.tables.values().filter(|table| differ(table, before));
    let dropped =
        gone.filter(|table| table.key_column().is_some()).flat_map(|table| drop_guard_statements(&table.name));
    let guarded = made.flat_map(|table| guard_triggers(table).into_values());
    dropped.chain(change.statements.iter().cloned()).chain(guarded).collect()
}

/// Of a table that is made another kind: what takes its guard away, and what brings the one that it is to have.
pub(super) fn remade(table: &Table) -> (Vec<String>, Vec<String>) {
    (drop_guard_statements(&table.name), guard_triggers(table).into_values().collect())
}

/// All of a file that holds no rows of sharded tables yet.
pub(super) fn of_new_shard(schema: &Schema, topology: &Topology) -> Vec<String> {
    let triggers = schema.tables.values().flat_map(|table| guard_triggers(table).into_values());
    let none = SlotSet::default();
    let slots = topology.keyspaces.iter().map(|keyspace| store_slots_statement(&keyspace.name, &none));
    triggers.chain(slots).collect()
}

/// What is wrong with the guard of one file, and what puts it right.
#[derive(Debug, Default)]
struct Examined {
    wrong: Vec<(Option<String>, GuardState, SlotSet)>,
    statements: Vec<String>,
}

fn examine(shard: ShardId, stored: &BTreeMap<ShardId, StoredGuard>, schema: &Schema, topology: &Topology) -> Examined {
    let mut examined = Examined::default();
    let Some(own) = stored.get(&shard) else { return examined };
    let mut unknown = own.triggers.clone();
    for table in schema.tables.values() {
        let wanted = guard_triggers(table);
        let found: Vec<_> = wanted.keys().filter_map(|name| unknown.remove(name).map(|text| (name, text))).collect();
        if found.len() == wanted.len() && found.iter().all(|(name, text)| wanted.get(*name) == Some(text)) {
            continue;
        }
        let state = if found.len() < wanted.len() { GuardState::Missing } else { GuardState::Other };
        examined.wrong.push((Some(table.name.clone()), state, SlotSet::default()));
        examined.statements.extend(drop_guard_statements(&table.name).into_iter().chain(wanted.into_values()));
    }
    if !unknown.is_empty() {
        examined.wrong.push((None, GuardState::Superfluous, SlotSet::default()));
        let drop = |name: &String| format!("DROP TRIGGER \"{}\"", name.replace('"', "\"\""));
        examined.statements.extend(unknown.keys().map(drop));
    }
    for keyspace in &topology.keyspaces {
        let owned = keyspace.slots_of(shard);
        let claim = |id: &ShardId| stored.get(id).and_then(|stored| stored.slots.get(&keyspace.name));
        let others = stored.keys().filter(|id| **id != shard).filter_map(claim);
        let others = others.fold(SlotSet::default(), |all, slots| all.union(slots));
        let all = topology.shards.iter().all(|shard| claim(&shard.id).is_some());
        let before = claim(&shard);
        let settled = settle(&owned, before, &others, all, &unsettled(keyspace));
        if before == Some(&settled.slots) && settled.contested.is_empty() {
            continue;
        }
        let state = if before.is_none() { GuardState::Missing } else { GuardState::Other };
        examined.wrong.push((None, state, settled.contested));
        examined.statements.push(store_slots_statement(&keyspace.name, &settled.slots));
    }
    examined
}

impl Engine {
    /// Looks at the guards of the open files, and of `only` one that is about to be opened. With `repair` what is wrong is put
    /// right on those, or on `only` that one. `schema`: the one that all hold.
    pub(super) async fn mend_file_guards(
        &self,
        only: Option<&Arc<Shard>>,
        repair: bool,
        schema: &Schema,
        topology: &Topology,
    ) -> Vec<Mended> {
        let open = self.shards.load_full();
        let all: Vec<&Arc<Shard>> = open.open.values().map(|open| &open.shard).chain(only).collect();
        let (mut stored, mut mended) = (BTreeMap::new(), Vec::new());
        for shard in &all {
            let read = match shard.sqlite() {
                Ok(shard) => shard.stored_guard().await,
                Err(error) => Err(error),
            };
            match read {
                Ok(guard) => drop(stored.insert(shard.id(), guard)),
                Err(error) => mended.push(of_shard(shard.id(), Err(error))),
            }
        }
        for shard in all.iter().filter(|shard| only.is_none_or(|only| only.id() == shard.id())) {
            let Examined { wrong, statements } = examine(shard.id(), &stored, schema, topology);
            if wrong.is_empty() {
                continue;
            }
            let outcome = if repair { run(shard, statements).await } else { Ok(()) };
            mended.extend(wrong.into_iter().map(|(table, state, contested)| Mended {
                table,
                state,
                contested,
                ..of_shard(shard.id(), outcome.clone())
            }));
        }
        if repair {
            mended.iter().for_each(|mended| self.log_mended(mended));
        }
        mended
    }
}

fn of_shard(shard: ShardId, outcome: Result<()>) -> Mended {
    Mended { shard, table: None, state: GuardState::Other, contested: SlotSet::default(), outcome }
}

async fn run(shard: &Arc<Shard>, statements: Vec<String>) -> Result<()> {
    let mut transaction = shard.sqlite()?.begin(TransactionMode::Schema, &CancelFlag::new()).await?;
    transaction.run_batch(statements).await?;
    transaction.commit().await
}
