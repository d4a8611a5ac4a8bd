//! Which shards give a sequence's numbers, and that no two give the same.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::topology::{Keyspace, Schema, Table, TableKind};
use crate::types::ShardId;

/// The shards that give a sequence's numbers: those of sharded tables, each of which has its own, and those that fill in reference
/// tables' rows.
pub(super) fn giving_for<'t>(
    tables: impl Iterator<Item = &'t Arc<Table>>,
    keyspaces: &[Arc<Keyspace>],
) -> (BTreeSet<ShardId>, BTreeSet<ShardId>) {
    let (mut own, mut filling) = (BTreeSet::new(), BTreeSet::new());
    for table in tables {
        let keyspace = keyspaces.iter().find(|keyspace| keyspace.name == table.keyspace);
        let shards = keyspace.into_iter().flat_map(|keyspace| keyspace.shards.iter().copied());
        match table.kind {
            TableKind::Sharded { .. } => own.extend(shards),
            TableKind::Reference => filling.extend(shards.min()),
        }
    }
    (own, filling)
}

/// A sequence that is asked on two shards, and not by their own numbers, would give a number twice.
///
/// # Errors
/// 0A000: a change makes one do so.
pub(super) fn refuse_two_givers(before: &Schema, after: &Schema, keyspaces: &[Arc<Keyspace>]) -> Result<()> {
    for (sequence, filled) in &after.filled_by {
        let tables: Vec<&Arc<Table>> = filled.iter().filter_map(|table| after.table(table)).collect();
        let was_filled = |table: &&Arc<Table>| {
            let known = before.filled_by.get(sequence).is_some_and(|filled| filled.contains(&table.name));
            known && before.table(&table.name).is_some_and(|known| known.kind == table.kind)
        };
        let (own, filling) = giving_for(tables.iter().copied(), keyspaces);
        let others = filling.difference(&own).count();
        let is_one = if own.is_empty() { others < 2 } else { others == 0 };
        if is_one || tables.iter().all(was_filled) {
            continue;
        }
        let names: Vec<String> = tables.iter().map(|table| format!("\"{}\"", table.name)).collect();
        return Err(Error::unsupported(
            format!(
                "one sequence, {sequence}, for the tables {}, whose keyspaces have other shards,",
                names.join(" and ")
            ),
            "Give each table a sequence of its own: two shards would give the same numbers.",
        ));
    }
    Ok(())
}
