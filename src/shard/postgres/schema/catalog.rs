//! The document of `catalog.sql`, field by field.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    pub(super) search_path: String,
    pub(super) server: Server,
    /// The comment on shardd's own schema, which tells what tables were made another kind.
    #[serde(default)]
    pub(super) placements: Option<String>,
    #[serde(default, deserialize_with = "list")]
    pub(super) unused_guards: Vec<String>,
    #[serde(deserialize_with = "list")]
    pub(super) schemas: Vec<String>,
    #[serde(deserialize_with = "list")]
    pub(super) extensions: Vec<Extension>,
    #[serde(deserialize_with = "list")]
    pub(super) types: Vec<Type>,
    #[serde(deserialize_with = "list")]
    pub(super) functions: Vec<Function>,
    #[serde(deserialize_with = "list")]
    pub(super) sequences: Vec<Sequence>,
    #[serde(deserialize_with = "list")]
    pub(super) relations: Vec<Relation>,
}

#[derive(Deserialize)]
pub(super) struct Server {
    pub(super) version: u32,
    pub(super) encoding: String,
    pub(super) max_prepared_transactions: u32,
    pub(super) wal_level: String,
    pub(super) integer_datetimes: bool,
    pub(super) in_recovery: bool,
    pub(super) collate: Option<String>,
    pub(super) character_type: Option<String>,
    /// b: built in, c: the C library's, i: ICU.
    pub(super) locale_provider: char,
    pub(super) locale: Option<String>,
    pub(super) collation_version: Option<String>,
    pub(super) settings: BTreeMap<String, String>,
}

#[derive(Deserialize)]
pub(super) struct Extension {
    pub(super) name: String,
    pub(super) version: String,
}

#[derive(Deserialize)]
pub(super) struct Type {
    pub(super) oid: u32,
    pub(super) name: String,
    /// `typtype`
    pub(super) kind: char,
    pub(super) array: Option<u32>,
    pub(super) base: Option<u32>,
    pub(super) modifier: i32,
    pub(super) extension: Option<String>,
    pub(super) definition: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Function {
    pub(super) name: String,
    pub(super) kind: char,
    pub(super) volatility: char,
    pub(super) result: Option<String>,
    pub(super) definition: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Sequence {
    pub(super) oid: u32,
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) data_type: String,
    pub(super) start: i64,
    pub(super) increment: i64,
    pub(super) minimum: i64,
    pub(super) maximum: i64,
    pub(super) cycle: bool,
    pub(super) readable: bool,
    pub(super) owner: Option<u32>,
    pub(super) owner_column: Option<i32>,
}

#[derive(Deserialize)]
pub(super) struct Relation {
    pub(super) oid: u32,
    pub(super) schema: String,
    pub(super) name: String,
    /// `relkind`
    pub(super) kind: char,
    pub(super) unlogged: bool,
    pub(super) partition: bool,
    #[serde(deserialize_with = "list")]
    pub(super) parents: Vec<String>,
    pub(super) has_children: bool,
    pub(super) row_security: bool,
    pub(super) force_row_security: bool,
    pub(super) partition_key: Option<String>,
    #[serde(deserialize_with = "list")]
    pub(super) columns: Vec<Column>,
    #[serde(deserialize_with = "list")]
    pub(super) constraints: Vec<Constraint>,
    #[serde(deserialize_with = "list")]
    pub(super) indexes: Vec<Index>,
    #[serde(deserialize_with = "list")]
    pub(super) triggers: Vec<Trigger>,
    #[serde(default)]
    pub(super) guard: Option<Guard>,
    #[serde(default)]
    pub(super) ours: bool,
    #[serde(deserialize_with = "list")]
    pub(super) rules: Vec<String>,
    #[serde(deserialize_with = "list")]
    pub(super) policies: Vec<Policy>,
    #[serde(deserialize_with = "list")]
    pub(super) partitions: Vec<Partition>,
}

#[derive(Deserialize)]
pub(super) struct Column {
    /// From 1; dropped columns leave gaps.
    pub(super) number: i32,
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) type_oid: u32,
    pub(super) type_name: String,
    /// With its modifier: `numeric(10,2)`.
    pub(super) shown: String,
    /// `typtype`, or a for arrays.
    pub(super) kind: char,
    pub(super) modifier: i32,
    pub(super) not_null: bool,
    pub(super) identity: String,
    pub(super) generated: String,
    pub(super) default: Option<String>,
    /// The sequence that the default takes numbers from.
    pub(super) sequence: Option<u32>,
    pub(super) collation: Option<String>,
    pub(super) deterministic: Option<bool>,
}

#[derive(Deserialize)]
pub(super) struct Constraint {
    pub(super) name: String,
    /// `contype`
    pub(super) kind: char,
    pub(super) definition: String,
    pub(super) expression: Option<String>,
    #[serde(deserialize_with = "list")]
    pub(super) columns: Vec<i32>,
    pub(super) index: Option<u32>,
    pub(super) references: Option<u32>,
    #[serde(deserialize_with = "list")]
    pub(super) referenced_columns: Vec<i32>,
    pub(super) on_delete: char,
    pub(super) on_update: char,
}

#[derive(Deserialize)]
pub(super) struct Index {
    pub(super) oid: u32,
    pub(super) name: String,
    pub(super) definition: String,
    /// The definition without the index's name.
    pub(super) nameless: String,
    pub(super) unique: bool,
    pub(super) valid: bool,
    #[serde(deserialize_with = "list")]
    pub(super) columns: Vec<i32>,
}

#[derive(Deserialize)]
pub(super) struct Trigger {
    pub(super) name: String,
    pub(super) definition: String,
    /// `tgenabled`
    pub(super) enabled: char,
    /// The md5 of its function's body.
    pub(super) function: String,
}

#[derive(Deserialize)]
pub(super) struct Guard {
    /// `schema.name`, quoted where SQL needs it.
    pub(super) function: String,
    /// The md5 of the function's body.
    pub(super) body: String,
    /// Of the table and its partitions, those where it does not fire always.
    pub(super) resting: u32,
}

#[derive(Deserialize)]
pub(super) struct Policy {
    pub(super) name: String,
    pub(super) definition: String,
}

#[derive(Deserialize)]
pub(super) struct Partition {
    pub(super) name: String,
    pub(super) bound: Option<String>,
}

/// `json_agg` of nothing is NULL.
fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}
