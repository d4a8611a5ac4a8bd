//! A topology as the admin door's answers. Pure.

use std::collections::BTreeMap;

use super::answers::{
    KeyspaceSlots, KeyspaceStatus, ReplicaDescription, RouteAnswer, SchemaDiff, SchemaFinding, ShardDescription,
    ShardHealth, ShardSummary, TableSummary,
};
use crate::error::{Error, Result, SqlState};
use crate::metrics::SlotCount;
use crate::topology::{
    Drift, KV_KEYSPACE, Keyspace, Severity, Shard, Table, TableKind, Topology, redacted_url, slot_of,
};
use crate::types::{Datum, Key, KeyType, PgType, SLOTS, TextStyle};

pub(super) fn keyspaces(topology: &Topology) -> Vec<KeyspaceStatus> {
    let status = |keyspace: &Keyspace| KeyspaceStatus {
        keyspace: keyspace.name.clone(),
        key_column: keyspace.key_column.clone(),
        key_type: key_type_name(keyspace.key_type).to_owned(),
        shards: keyspace.shards.len(),
        slots: keyspace.owners.len(),
        internal: keyspace.name == KV_KEYSPACE,
    };
    topology.keyspaces.iter().map(|keyspace| status(keyspace)).collect()
}

pub(super) fn slots_of(topology: &Topology, shard: &Shard) -> Vec<KeyspaceSlots> {
    let counted = topology.keyspaces.iter().map(|keyspace| KeyspaceSlots {
        keyspace: keyspace.name.clone(),
        slots: keyspace.slot_counts().get(&shard.id).copied().map_or(0, u64::from),
    });
    counted.collect()
}

/// The lines of `shardd_slots`.
pub(super) fn slot_counts(topology: &Topology) -> Vec<SlotCount<'_>> {
    let mut counts = Vec::new();
    for keyspace in &topology.keyspaces {
        for (id, slots) in keyspace.slot_counts() {
            if let Some(shard) = topology.shard(id) {
                counts.push(SlotCount { shard: &shard.name, keyspace: &keyspace.name, slots: u64::from(slots) });
            }
        }
    }
    counts
}

pub(super) fn summary(
    topology: &Topology,
    shard: &Shard,
    health: ShardHealth,
    size_bytes: Option<u64>,
) -> ShardSummary {
    ShardSummary {
        shard: shard.name.clone(),
        number: shard.id.0,
        url: redacted_url(&shard.url),
        weight: shard.weight,
        state: if health.up { "up" } else { "down" }.to_owned(),
        error: health.error,
        slots: slots_of(topology, shard),
        size_bytes,
        warnings: Vec::new(),
        copied: None,
    }
}

pub(super) fn schema_diff(drift: &Drift) -> SchemaDiff {
    let findings = drift.findings.iter().map(|finding| SchemaFinding {
        severity: finding.severity.name().to_owned(),
        table: finding.table.clone(),
        shards: finding.shards.clone(),
        message: finding.message.clone(),
        hint: finding.hint.clone(),
    });
    SchemaDiff { alike: drift.count(Severity::Harmless) == drift.findings.len(), findings: findings.collect() }
}

/// What a shard's files take, of what it counts about itself.
pub(super) fn size_of(statistics: &BTreeMap<String, u64>) -> Option<u64> {
    let file_bytes = statistics.get("file_bytes")?;
    Some(file_bytes.saturating_add(statistics.get("log_bytes").copied().unwrap_or(0)))
}

pub(super) fn description(
    topology: &Topology,
    shard: &Shard,
    health: ShardHealth,
    statistics: BTreeMap<String, u64>,
    (replicas, passed_over): (Vec<ReplicaDescription>, u64),
) -> ShardDescription {
    let ranges = topology.keyspaces.iter().map(|keyspace| {
        let ranges = keyspace.ranges_of(shard.id);
        let texts = ranges.iter().map(|range| match range.first == range.last {
            true => range.first.to_string(),
            false => format!("{}-{}", range.first, range.last),
        });
        (keyspace.name.clone(), texts.collect())
    });
    let ranges = ranges.collect();
    let size_bytes = size_of(&statistics);
    let ShardSummary { shard, number, url, weight, state, error, slots, size_bytes, .. } =
        summary(topology, shard, health, size_bytes);
    let replicas_passed_over = (!replicas.is_empty()).then_some(passed_over);
    ShardDescription {
        shard,
        number,
        url,
        weight,
        state,
        error,
        size_bytes,
        slots,
        ranges,
        statistics,
        replicas,
        replicas_passed_over,
    }
}

pub(super) fn tables(topology: &Topology) -> Vec<TableSummary> {
    topology.schema.tables.values().map(|table| table_summary(table)).collect()
}

fn table_summary(table: &Table) -> TableSummary {
    let key = match table.kind {
        TableKind::Sharded { key_column, key_type } => table.columns.get(key_column).map(|column| (column, key_type)),
        TableKind::Reference => None,
    };
    TableSummary {
        table: table.name.clone(),
        keyspace: table.keyspace.clone(),
        kind: kind_name(&table.kind).to_owned(),
        key_column: key.map(|(column, _)| column.name.clone()),
        key_type: key.map(|(_, key_type)| key_type_name(key_type).to_owned()),
        columns: table.columns.len(),
        indexes: table.indexes.len(),
    }
}

/// Where the rows of `key` live.
///
/// # Errors
/// 42P01 for a table that is not there; 22P02 and its kin for a text that is no key of the table's type.
pub(super) fn route(topology: &Topology, table_name: &str, key_text: &str) -> Result<RouteAnswer> {
    let table = topology.schema.table(table_name).ok_or_else(|| {
        Error::new(SqlState::UNDEFINED_TABLE, format!("relation \"{table_name}\" does not exist"))
            .hint("`shardctl tables` lists the tables. Names are in lower case unless they were quoted when created.")
    })?;
    let answer = RouteAnswer {
        table: table.name.clone(),
        keyspace: table.keyspace.clone(),
        kind: kind_name(&table.kind).to_owned(),
        key: None,
        slot: None,
        shard: None,
        epoch: topology.epoch.0,
        why: String::new(),
    };
    let TableKind::Sharded { key_column, key_type } = table.kind else {
        let why = format!(
            "{} is a reference table: every shard of keyspace \"{}\" has a full copy, and any of them answers",
            table.name, table.keyspace
        );
        return Ok(RouteAnswer { why, ..answer });
    };
    let keyspace =
        topology.keyspace(&table.keyspace).ok_or_else(|| Error::internal("a table's keyspace is missing"))?;
    let key = parse_key(key_type, key_text)?;
    let slot = slot_of(&key);
    let shard = topology.shard(keyspace.owner(slot)).ok_or_else(|| Error::internal("a slot's owner is missing"))?;
    let column = table.columns.get(key_column).map_or("key", |column| &column.name);
    let why = format!(
        "the hash of {column} ({}) puts it in slot {} of {SLOTS}; epoch {} gives that slot of keyspace \"{}\" to {}",
        key_type_name(key_type),
        slot.number(),
        topology.epoch,
        keyspace.name,
        shard.name
    );
    Ok(RouteAnswer {
        key: Some(key_text_of(&key)),
        slot: Some(slot.number()),
        shard: Some(shard.name.clone()),
        why,
        ..answer
    })
}

fn parse_key(key_type: KeyType, text: &str) -> Result<Key> {
    let data_type = match key_type {
        KeyType::Bigint => PgType::Int8,
        KeyType::Text => PgType::Text,
        KeyType::Uuid => PgType::Uuid,
    };
    let datum = Datum::from_text(data_type, text, &TextStyle::default())?;
    Key::from_datum(&datum).ok_or_else(|| Error::internal("a value of the key's type is no key"))
}

fn key_text_of(key: &Key) -> String {
    match key {
        Key::Bigint(value) => value.to_string(),
        Key::Text(text) => text.to_string(),
        Key::Uuid(bytes) => {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
        }
    }
}

fn kind_name(kind: &TableKind) -> &'static str {
    match kind {
        TableKind::Sharded { .. } => "sharded",
        TableKind::Reference => "reference",
    }
}

fn key_type_name(key_type: KeyType) -> &'static str {
    match key_type {
        KeyType::Bigint => "bigint",
        KeyType::Text => "text",
        KeyType::Uuid => "uuid",
    }
}
