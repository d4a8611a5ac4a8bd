//! The tables that shardd serves, with Postgres's types, whatever the shards are.
//!
//! There is one schema, `public`. It is the same on every shard; on SQLite shards it is stored beside the tables,
//! since SQLite's own types cannot express it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::types::{KeyType, PgType};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Schema {
    /// By name, as the catalog stores it (folded unless it was quoted).
    pub tables: BTreeMap<String, Arc<Table>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// Stable for the life of the table, from 16,384 up.
    pub oid: u32,
    pub name: String,
    /// The keyspace whose shards hold the table.
    pub keyspace: String,
    pub kind: TableKind,
    pub columns: Vec<Column>,
    /// Column numbers (from 0), in key order.
    pub primary_key: Option<UniqueKey>,
    pub unique_keys: Vec<UniqueKey>,
    pub checks: Vec<Check>,
    pub foreign_keys: Vec<ForeignKey>,
    pub indexes: Vec<Index>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TableKind {
    /// Every row lives on the shard that owns the slot of its key column.
    Sharded { key_column: usize, key_type: KeyType },
    /// Every shard of the keyspace holds a full copy.
    Reference,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Column {
    pub name: String,
    pub data_type: PgType,
    /// `atttypmod`: -1 when none was given; varchar(n) is n + 4, numeric(p,s) is ((p << 16) | s) + 4.
    pub modifier: i32,
    pub not_null: bool,
    /// A Postgres expression, as text; absent for identity and serial columns.
    pub default: Option<String>,
    pub identity: Option<Identity>,
}

/// Who fills a column that counts by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Identity {
    /// `serial` and `bigserial`: a default, which any explicit value replaces.
    Serial,
    ByDefault,
    Always,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UniqueKey {
    pub name: String,
    pub columns: Vec<usize>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Check {
    pub name: String,
    /// A Postgres expression, as text.
    pub expression: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ForeignKey {
    pub name: String,
    pub columns: Vec<usize>,
    pub references: String,
    pub referenced_columns: Vec<usize>,
    pub on_delete: ForeignKeyAction,
    pub on_update: ForeignKeyAction,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ForeignKeyAction {
    #[default]
    NoAction,
    Restrict,
    Cascade,
    SetNull,
    SetDefault,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Index {
    pub name: String,
    /// The statement that made it, in Postgres's dialect, as text.
    pub definition: String,
    pub unique: bool,
}

impl Schema {
    pub fn table(&self, name: &str) -> Option<&Arc<Table>> {
        self.tables.get(name)
    }
}

impl Table {
    pub fn column(&self, name: &str) -> Option<(usize, &Column)> {
        self.columns.iter().enumerate().find(|(_, column)| column.name == name)
    }

    pub fn key_column(&self) -> Option<usize> {
        match self.kind {
            TableKind::Sharded { key_column, .. } => Some(key_column),
            TableKind::Reference => None,
        }
    }
}
