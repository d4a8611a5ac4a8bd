//! The tables that shardd serves, with Postgres's types, whatever the shards are.
//!
//! There is one schema, `public`. It is the same on every shard; on SQLite shards it is stored beside the tables,
//! since SQLite's own types cannot express it. Postgres shards say it themselves, and may hold more than shardd serves:
//! types that it does not know are kept by their names, and relations that it cannot plan are kept with the reason.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Drift;
use crate::types::{KeyType, PgType};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Schema {
    /// By name, as the catalog stores it (folded unless it was quoted).
    pub tables: BTreeMap<String, Arc<Table>>,
    /// Relations that are there and cannot be planned. By name for those of `public`, by `schema.name` for the others.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub refused: BTreeMap<String, Refused>,
    /// Where the shards differ. Never stored: they say it themselves.
    #[serde(skip)]
    pub drift: Arc<Drift>,
    /// Those of the tables that are one session's own, and on one shard. Never stored, nor seen by others.
    #[serde(skip)]
    pub temporary: BTreeSet<String>,
    /// Of Postgres shards: the tables with columns that a sequence fills, by the sequence's `schema.name`, quoted where SQL
    /// needs it. Never stored: they say it themselves.
    #[serde(skip)]
    pub filled_by: BTreeMap<String, BTreeSet<String>>,
    /// Of Postgres shards: the tables with triggers that tell apart statements which write the same rows: those for each
    /// statement, of some columns, or with transition tables. Never stored.
    #[serde(skip)]
    pub fired_by_statement: BTreeSet<String>,
    /// Whether a table that a sequence fills is not served: looked up by each call of nextval(). Never stored.
    #[serde(skip)]
    pub fills_unserved: bool,
    /// A shard is being filled that is about to join: who writes to a reference table looks afterwards whether it has, even
    /// where there is one shard only. Never stored.
    #[serde(skip)]
    pub joining: bool,
}

/// Why a relation of the shards is not served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// What it is, as a message names it: `the view "cheap"`.
    pub what: String,
    /// What to do instead.
    pub hint: String,
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
    /// The base type of a domain; `unknown` where shardd does not know the type, which [`Column::named_type`] then names.
    pub data_type: PgType,
    /// Absent where `data_type` says it all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub named_type: Option<NamedType>,
    /// `atttypmod`: -1 when none was given; varchar(n) is n + 4, numeric(p,s) is ((p << 16) | s) + 4.
    pub modifier: i32,
    pub not_null: bool,
    /// A Postgres expression, as text; absent for identity and serial columns.
    pub default: Option<String>,
    pub identity: Option<Identity>,
    /// The expression that computes a generated column, as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generated: Option<String>,
    /// `schema.name` of a collation other than the database's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collation: Option<String>,
}

/// A type of the shards' own, which shardd has no code for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedType {
    /// As `format_type` prints it with an empty search path: `public.mood`, `inet`, `public.mood[]`.
    pub name: String,
    pub kind: NamedTypeKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NamedTypeKind {
    /// Of Postgres's or an extension's own: `inet`, `public.geometry`.
    Base,
    Enum,
    Domain,
    Composite,
    Range,
    Multirange,
    Array,
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

    /// Serves no table any more that is refused.
    pub fn hide_refused(&mut self) {
        self.tables.retain(|name, _| !self.refused.contains_key(name));
        self.fills_unserved = self.filled_by.values().flatten().any(|table| !self.tables.contains_key(table));
    }
}

impl Column {
    /// A column that takes NULL and fills itself with nothing.
    pub fn new(name: impl Into<String>, data_type: PgType) -> Column {
        Column {
            name: name.into(),
            data_type,
            named_type: None,
            modifier: -1,
            not_null: false,
            default: None,
            identity: None,
            generated: None,
            collation: None,
        }
    }

    /// The type that values have on their way to a client, when shardd knows it.
    pub fn known_type(&self) -> Option<PgType> {
        Some(self.data_type).filter(|data_type| *data_type != PgType::Unknown)
    }

    /// The type's name, as messages spell it.
    pub fn type_name(&self) -> &str {
        self.named_type.as_ref().map_or(self.data_type.sql_name(), |named| &named.name)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_that_was_stored_before_types_had_names_is_read_and_stays_as_it_was() {
        let stored =
            r#"{"name":"id","data_type":"int8","modifier":-1,"not_null":true,"default":null,"identity":"serial"}"#;
        let column: Column = serde_json::from_str(stored).unwrap();
        assert_eq!((column.known_type(), column.type_name()), (Some(PgType::Int8), "bigint"));
        assert_eq!(serde_json::to_string(&column).unwrap(), stored);
    }

    #[test]
    fn that_a_sequence_fills_a_table_which_is_not_served_is_known() {
        let mut schema = Schema::default();
        schema.hide_refused();
        assert!(!schema.fills_unserved);
        schema.filled_by.entry("public.s".to_owned()).or_default().insert("t".to_owned());
        schema.refused.insert("t".to_owned(), Refused { what: "the table \"t\"".to_owned(), hint: String::new() });
        schema.hide_refused();
        assert!(schema.fills_unserved);
    }

    #[test]
    fn a_type_that_only_the_shards_know_has_a_name() {
        let named_type = Some(NamedType { name: "public.mood".into(), kind: NamedTypeKind::Enum });
        let column = Column { named_type, ..Column::new("mood", PgType::Unknown) };
        assert_eq!((column.known_type(), column.type_name()), (None, "public.mood"));
        let stored = serde_json::to_string(&column).unwrap();
        assert_eq!(serde_json::from_str::<Column>(&stored).unwrap(), column);
    }
}
