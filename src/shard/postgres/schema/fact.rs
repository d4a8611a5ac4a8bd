//! A schema as a list of facts, each of which can be compared by itself and told in words.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use xxhash_rust::xxh3::xxh3_64;

use super::catalog::{self, Constraint, Relation};
use super::table::plain_indexes;
use super::{Severity, ShardSchema, column_type, quoted};
use crate::topology::{Identity, Table, TableKind};

/// What a fact is about. The order is that in which differences are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Aspect {
    Version,
    Encoding,
    Collation,
    CharacterType,
    Setting,
    Extension,
    Type,
    TypeOid,
    Function,
    Sequence,
    Table,
    Placement,
    Persistence,
    Column,
    ColumnType,
    ColumnCollation,
    NotNull,
    Default,
    Identity,
    Generated,
    ColumnOrder,
    Constraint,
    UniqueIndex,
    Index,
    ReferencedBy,
    Trigger,
    RowSecurity,
    Policy,
    Partition,
}

/// By what it is about and which one of them: what is so.
pub(crate) type Facts = BTreeMap<(Aspect, String), String>;

/// Of all facts that matter to answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub u64);

impl std::fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Aspect {
    /// When both shards have it, and it is not the same.
    pub(super) fn severity_of_change(self) -> Severity {
        match self {
            Aspect::Constraint | Aspect::Index | Aspect::UniqueIndex | Aspect::ReferencedBy => Severity::Harmless,
            Aspect::Sequence => Severity::Harmless,
            Aspect::Version
            | Aspect::Collation
            | Aspect::CharacterType
            | Aspect::Setting
            | Aspect::Extension
            | Aspect::Type
            | Aspect::TypeOid
            | Aspect::Function
            | Aspect::ColumnCollation => Severity::ReadsWouldDiffer,
            _ => Severity::WritesWouldBeWrong,
        }
    }

    /// When one shard lacks it.
    pub(super) fn severity_of_absence(self) -> Severity {
        match self {
            // A row of no partition, or a type or function that is missing, is a clear error of that shard's.
            Aspect::Index
            | Aspect::Partition
            | Aspect::Sequence
            | Aspect::Function
            | Aspect::Type
            | Aspect::TypeOid => Severity::Harmless,
            Aspect::Extension => Severity::ReadsWouldDiffer,
            _ => Severity::WritesWouldBeWrong,
        }
    }

    /// It is about a column, whose own absence says enough.
    pub(super) fn is_columns(self) -> bool {
        matches!(
            self,
            Aspect::ColumnType
                | Aspect::ColumnCollation
                | Aspect::NotNull
                | Aspect::Default
                | Aspect::Identity
                | Aspect::Generated
        )
    }

    /// What its value is the name of: the thing itself is told by its definition.
    pub(super) fn is_known_by_definition(self) -> bool {
        matches!(self, Aspect::Constraint | Aspect::Index | Aspect::UniqueIndex | Aspect::ReferencedBy)
    }

    /// The subject of a sentence.
    pub(super) fn subject(self, which: &str) -> String {
        match self {
            Aspect::Version => "the version of Postgres".to_owned(),
            Aspect::Encoding => "the encoding".to_owned(),
            Aspect::Collation => "the order of text".to_owned(),
            Aspect::CharacterType => "the character type (LC_CTYPE)".to_owned(),
            Aspect::Setting => format!("the setting {which}"),
            Aspect::Extension => format!("the extension {which}"),
            Aspect::Type => format!("the type {which}"),
            Aspect::TypeOid => format!("the oid of the type {which}, which drivers remember,"),
            Aspect::Function => format!("the function {which}"),
            Aspect::Sequence => format!("the sequence {which}"),
            Aspect::Table | Aspect::Placement | Aspect::Persistence => "the table".to_owned(),
            Aspect::Column | Aspect::NotNull => format!("column {}", quoted(which)),
            Aspect::ColumnType => format!("the type of column {}", quoted(which)),
            Aspect::ColumnCollation => format!("the collation of column {}", quoted(which)),
            Aspect::Default => format!("the default of column {}", quoted(which)),
            Aspect::Identity => format!("what counts column {}", quoted(which)),
            Aspect::Generated => format!("the expression of column {}", quoted(which)),
            Aspect::ColumnOrder => "the order of the columns".to_owned(),
            Aspect::Constraint => format!("the constraint {which}"),
            Aspect::UniqueIndex | Aspect::Index => format!("the index {which}"),
            Aspect::ReferencedBy => format!("the reference from {which}"),
            Aspect::Trigger => format!("the trigger {}", quoted(which)),
            Aspect::RowSecurity => "row security".to_owned(),
            Aspect::Policy => format!("the policy {}", quoted(which)),
            Aspect::Partition => format!("the partition {which}"),
        }
    }
}

pub(super) fn of_table(relation: &Relation, table: &Table, types: &BTreeMap<u32, &catalog::Type>) -> Facts {
    let mut facts = Facts::new();
    let mut add = |aspect: Aspect, which: &str, value: String| match facts.entry((aspect, which.to_owned())) {
        std::collections::btree_map::Entry::Vacant(entry) => drop(entry.insert(value)),
        std::collections::btree_map::Entry::Occupied(mut entry) => {
            let _ = write!(entry.get_mut(), ", {value}");
        }
    };
    add(Aspect::Placement, "", placement(relation, table));
    add(Aspect::Persistence, "", if relation.unlogged { "unlogged" } else { "logged" }.to_owned());
    let names: Vec<&str> = table.columns.iter().map(|column| column.name.as_str()).collect();
    add(Aspect::ColumnOrder, "", names.join(", "));
    for (raw, column) in relation.columns.iter().zip(&table.columns) {
        let none = || "none".to_owned();
        add(Aspect::Column, &raw.name, raw.shown.clone());
        if let Some(definition) = column_type::definition(raw.type_oid, types) {
            add(Aspect::ColumnType, &raw.name, format!("{} ({definition})", raw.type_name));
        }
        add(Aspect::ColumnCollation, &raw.name, raw.collation.clone().unwrap_or_else(|| "the database's".to_owned()));
        add(Aspect::NotNull, &raw.name, if raw.not_null { "NOT NULL" } else { "nullable" }.to_owned());
        add(Aspect::Default, &raw.name, column.default.clone().unwrap_or_else(none));
        add(Aspect::Identity, &raw.name, identity(column.identity).to_owned());
        let kind = if raw.generated == "v" { "VIRTUAL" } else { "STORED" };
        let generated = column.generated.as_ref().map_or_else(none, |expression| format!("{expression} {kind}"));
        add(Aspect::Generated, &raw.name, generated);
    }
    for constraint in &relation.constraints {
        add(Aspect::Constraint, &constraint.definition, quoted(&constraint.name));
    }
    for index in plain_indexes(relation) {
        let aspect = if index.unique { Aspect::UniqueIndex } else { Aspect::Index };
        let invalid = if index.valid { "" } else { " that is not valid" };
        add(aspect, &format!("{}{invalid}", index.nameless), quoted(&index.name));
    }
    for trigger in &relation.triggers {
        let enabled = match trigger.enabled {
            'D' => ", disabled",
            'R' => ", for replicas",
            'A' => ", always",
            _ => "",
        };
        let value = format!("{}{enabled} (function's md5 {})", trigger.definition, trigger.function);
        add(Aspect::Trigger, &trigger.name, value);
    }
    let row_security = match (relation.row_security, relation.force_row_security) {
        (true, true) => "on, and for the owner too",
        (true, false) => "on",
        (false, _) => "off",
    };
    add(Aspect::RowSecurity, "", row_security.to_owned());
    for policy in &relation.policies {
        add(Aspect::Policy, &policy.name, policy.definition.clone());
    }
    for partition in &relation.partitions {
        add(Aspect::Partition, &partition.name, partition.bound.clone().unwrap_or_default());
    }
    facts
}

pub(super) fn add_reference(facts: &mut Facts, from: &str, constraint: &Constraint) {
    let which = format!("table {}: {}", quoted(from), constraint.definition);
    facts.insert((Aspect::ReferencedBy, which), quoted(&constraint.name));
}

fn placement(relation: &Relation, table: &Table) -> String {
    let mut placement = match table.kind {
        TableKind::Sharded { key_column, .. } => format!("sharded by {}", table.columns[key_column].name),
        TableKind::Reference => "a reference table".to_owned(),
    };
    if let Some(key) = &relation.partition_key {
        let _ = write!(placement, ", partitioned by {key}");
    }
    placement
}

fn identity(identity: Option<Identity>) -> &'static str {
    match identity {
        None => "nothing",
        Some(Identity::Serial) => "a serial's sequence",
        Some(Identity::ByDefault) => "GENERATED BY DEFAULT AS IDENTITY",
        Some(Identity::Always) => "GENERATED ALWAYS AS IDENTITY",
    }
}

pub(super) fn of_database(schema: &ShardSchema) -> Facts {
    let server = &schema.server;
    let mut facts = Facts::new();
    let mut add = |aspect, which: &str, value: String| drop(facts.insert((aspect, which.to_owned()), value));
    // Releases of one version answer alike.
    add(Aspect::Version, "", (server.version / 10_000).to_string());
    add(Aspect::Encoding, "", server.encoding.clone());
    add(Aspect::Collation, "", server.collation.clone());
    add(Aspect::CharacterType, "", server.character_type.clone());
    for (name, value) in &server.settings {
        add(Aspect::Setting, name, quoted(value));
    }
    for (name, version) in &schema.extensions {
        add(Aspect::Extension, name, format!("of version {version}"));
    }
    for (name, known) in &schema.types {
        add(Aspect::Type, name, format!("{} ({})", known.kind, known.definition));
        let array = known.array_oid.map_or_else(String::new, |array| format!(" (its array's {array})"));
        add(Aspect::TypeOid, name, format!("{}{array}", known.oid));
    }
    for (name, function) in &schema.functions {
        let result = function.result.as_deref().unwrap_or("nothing");
        let definition = function.definition.as_deref().unwrap_or("none");
        let value = format!("one that returns {result} (volatility {}, md5 {definition})", function.volatility);
        add(Aspect::Function, name, value);
    }
    for (name, sequence) in &schema.sequences {
        add(Aspect::Sequence, name, sequence.data_type.clone());
    }
    facts
}

/// Of what matters: an index more, or a constraint of another name, changes nothing.
pub(super) fn fingerprint(facts: &Facts) -> Fingerprint {
    let mut text = String::new();
    for ((aspect, which), value) in facts {
        if aspect.severity_of_absence() == Severity::Harmless {
            continue;
        }
        let value = if aspect.severity_of_change() == Severity::Harmless { "" } else { value.as_str() };
        let _ = write!(text, "{aspect:?}\0{which}\0{value}\0");
    }
    Fingerprint(xxh3_64(text.as_bytes()))
}
