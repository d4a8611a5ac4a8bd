//! All shards' schemas side by side: the one that statements are planned by, what differs, and which statements it spoils.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::diff::{diff_database, diff_table};
use super::{Aspect, Difference, Fingerprint, Severity, ShardSchema};
use crate::topology::{Drift, Finding, Keyspace, Misfit, Schema, Spoils, UnlikeType};
use crate::types::ShardId;

const HINT_TABLE: &str = "Make the table on this shard what it is on the others, with a statement for this server alone; then run \
     `shardctl schema diff`, which reads the servers anew.";
const HINT_NO_MAJORITY: &str = "No definition is held by more than half of the shards: make the tables equal on the servers; then run \
     `shardctl schema diff`, which reads the servers anew.";
const HINT_ENUM: &str = "Clients are told that it is text.";
const HINT_TYPE: &str = "Answers that carry it are refused: cast it to text where it meets a client.";
/// As a [`super::UserType`] names its kind.
const ENUM: &str = "an enum";
const HINT_DATABASE: &str = "Make the databases alike in this, on the servers.";

/// The schema of shards that may differ. `keyspaces` tell how many shards there are, with those that were not read.
pub fn survey(shards: &[(ShardId, ShardSchema)], keyspaces: &[Arc<Keyspace>]) -> Schema {
    let mut drift = Drift { unlike_types: unlike_types(shards), ..Drift::default() };
    let mut schema = ShardSchema::combine(shards.iter().map(|(_, schema)| schema));
    compare_databases(shards, &mut drift);
    let names: BTreeSet<&String> = shards.iter().flat_map(|(_, schema)| schema.tables.keys()).collect();
    for name in names {
        let opinions = Opinions::of(name, shards, keyspaces);
        if let Some(table) = opinions.reference.1.tables.get(name)
            && schema.tables.contains_key(name)
        {
            // Planned as the majority has it.
            let own = ShardSchema::combine([&opinions.reference.1]).tables.remove(&table.table.name);
            schema.tables.extend(own.map(|table| (name.clone(), table)));
        }
        opinions.compare(&mut drift);
    }
    judge_each(shards, &mut drift);
    drift.findings.sort_by(|a, b| (b.severity, &a.table).cmp(&(a.severity, &b.table)));
    schema.drift = Arc::new(drift);
    schema
}

/// What the shards of a table's keyspace say of it.
struct Opinions<'s> {
    name: &'s str,
    holders: Vec<&'s (ShardId, ShardSchema)>,
    /// Of those that hold the most common definition, the first.
    reference: &'s (ShardId, ShardSchema),
    /// More than half of all hold it: the others are wrong.
    rules: bool,
}

impl<'s> Opinions<'s> {
    fn of(name: &'s str, shards: &'s [(ShardId, ShardSchema)], keyspaces: &[Arc<Keyspace>]) -> Opinions<'s> {
        let with_table = |(_, schema): &&(ShardId, ShardSchema)| schema.tables.contains_key(name);
        let first = shards.iter().find(with_table).unwrap_or(&shards[0]);
        let keyspace = first.1.tables.get(name).map_or("", |table| &table.table.keyspace);
        let all = keyspaces.iter().find(|known| known.name == keyspace).map_or(0, |known| known.shards.len());
        let holders: Vec<_> = shards.iter().filter(|(_, schema)| schema.keyspaces.contains(keyspace)).collect();
        let print = |schema: &ShardSchema| schema.tables.get(name).map(super::ShardTable::fingerprint);
        let mut votes: Vec<(Fingerprint, usize, &(ShardId, ShardSchema))> = Vec::new();
        for holder in &holders {
            let Some(own) = print(&holder.1) else { continue };
            match votes.iter_mut().find(|(print, ..)| *print == own) {
                Some((_, count, _)) => *count += 1,
                None => votes.push((own, 1, holder)),
            }
        }
        let (mut most, mut reference) = (0, first);
        for (_, count, holder) in votes {
            if count > most {
                (most, reference) = (count, holder);
            }
        }
        Opinions { name, rules: most * 2 > all, holders, reference }
    }

    fn compare(&self, drift: &mut Drift) {
        for other in self.holders.iter().filter(|other| other.0 != self.reference.0) {
            for difference in diff_table(self.name, &self.reference.1, &other.1) {
                let spoils = difference.spoils();
                let of_one = self.rules || spoils == Spoils::Everything;
                let shards: BTreeSet<ShardId> = match of_one {
                    true => [other.0].into(),
                    false => self.holders.iter().map(|holder| holder.0).collect(),
                };
                let hint = match (difference.severity, of_one) {
                    (Severity::Harmless, _) => "",
                    (_, true) => HINT_TABLE,
                    (_, false) => HINT_NO_MAJORITY,
                };
                add(drift, difference, (&self.reference.1, &other.1), hint, spoils, shards);
            }
        }
    }
}

fn compare_databases(shards: &[(ShardId, ShardSchema)], drift: &mut Drift) {
    let Some((first, others)) = shards.split_first() else { return };
    for other in others {
        for mut difference in diff_database(&first.1, &other.1) {
            let of_type = difference.aspect == Aspect::TypeOid;
            let is_enum = |name: &String| first.1.types.get(name).is_some_and(|known| known.kind == ENUM);
            let hint = match difference.severity {
                _ if of_type && difference.column.as_ref().is_some_and(is_enum) => {
                    difference.severity = Severity::Harmless;
                    HINT_ENUM
                }
                _ if of_type => HINT_TYPE,
                Severity::Harmless => "",
                _ => HINT_DATABASE,
            };
            // What a database makes wrong by itself is among its problems.
            add(drift, difference, (&first.1, &other.1), hint, Spoils::Nothing, BTreeSet::new());
        }
    }
}

fn add(
    drift: &mut Drift,
    difference: Difference,
    (a, b): (&ShardSchema, &ShardSchema),
    hint: &str,
    spoils: Spoils,
    shards: BTreeSet<ShardId>,
) {
    let Difference { severity, table, message, .. } = difference;
    if spoils != Spoils::Nothing {
        let (table, message, hint) = (table.clone(), message.clone(), hint.to_owned());
        drift.misfits.push(Misfit { table, shards, spoils, message, hint });
    }
    let shards = vec![a.shard.clone(), b.shard.clone()];
    drift.findings.push(Finding { severity, table, shards, message, hint: hint.to_owned() });
}

/// What is wrong with each shard by itself.
fn judge_each(shards: &[(ShardId, ShardSchema)], drift: &mut Drift) {
    for (id, schema) in shards {
        for problem in schema.problems(id.0) {
            let super::Problem { severity, table, message, hint, spoils } = problem;
            if spoils != Spoils::Nothing {
                let (table, message, hint) = (table.clone(), message.clone(), hint.clone());
                drift.misfits.push(Misfit { table, shards: [*id].into(), spoils, message, hint });
            }
            drift.findings.push(Finding { severity, table, shards: vec![schema.shard.clone()], message, hint });
        }
    }
}

/// Types whose OIDs are not the same on all shards.
fn unlike_types(shards: &[(ShardId, ShardSchema)]) -> BTreeMap<(ShardId, u32), UnlikeType> {
    let is_unlike = |name: &str| {
        let oids = |schema: &ShardSchema| schema.types.get(name).map(|known| (known.oid, known.array_oid));
        shards.iter().any(|(_, schema)| oids(schema) != oids(&shards[0].1))
    };
    let mut unlike = BTreeMap::new();
    for (id, schema) in shards {
        for (name, known) in schema.types.iter().filter(|(name, _)| is_unlike(name)) {
            let is_enum = known.kind == ENUM;
            unlike.insert((*id, known.oid), UnlikeType { name: name.clone(), is_enum });
            if let Some(array) = known.array_oid {
                unlike.insert((*id, array), UnlikeType { name: format!("{name}[]"), is_enum: false });
            }
        }
    }
    unlike
}
