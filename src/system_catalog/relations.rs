//! The relations of the system catalog, with Postgres's columns, types and numbers.
//!
//! `relations.txt` lists them as Postgres 15 has them: a line for each relation (schema and name, oid, relkind), then its
//! columns, `!` after those that are never NULL. A column of a type that shardd does not have (inet, anyarray) has text's.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use crate::topology::{Column, Schema, Table, TableKind};
use crate::types::PgType;

const RELATIONS: &str = include_str!("relations.txt");

/// The schemas whose relations these are, with Postgres's own oids.
pub(super) const PG_CATALOG: u32 = 11;
pub(super) const INFORMATION_SCHEMA: u32 = 13_207;
pub(super) const PUBLIC: u32 = 2_200;

/// A relation of the system catalog.
#[derive(Debug)]
pub(super) struct Definition {
    /// As [`find`] takes it: information_schema's with their schema before.
    pub(super) name: &'static str,
    pub(super) kind: char,
    pub(super) table: Arc<Table>,
}

impl Definition {
    pub(super) fn namespace(&self) -> u32 {
        if self.name.starts_with("information_schema.") { INFORMATION_SCHEMA } else { PG_CATALOG }
    }

    /// The name without its schema.
    pub(super) fn bare_name(&self) -> &'static str {
        self.name.strip_prefix("information_schema.").unwrap_or(self.name)
    }
}

/// All relations, by name: those of `information_schema` are called `information_schema.tables`.
pub fn relations() -> &'static Schema {
    static SCHEMA: LazyLock<Schema> = LazyLock::new(|| Schema {
        refused: Default::default(),
        drift: Arc::default(),
        temporary: Default::default(),
        filled_by: Default::default(),
        fired_by_statement: Default::default(),
        fills_unserved: false,
        joining: false,
        tables: definitions().values().map(|known| (known.name.to_owned(), Arc::clone(&known.table))).collect(),
    });
    &SCHEMA
}

/// Whether all relations of this schema are the system's.
pub fn is_system_schema(name: &str) -> bool {
    matches!(name, "pg_catalog" | "information_schema")
}

/// The relation of this name; unqualified names are looked for in pg_catalog, as Postgres does first.
pub fn find(schema: Option<&str>, name: &str) -> Option<&'static Arc<Table>> {
    let table = match schema {
        None | Some("pg_catalog") if !name.starts_with("information_schema.") => definitions().get(name),
        Some("information_schema") => definitions().get(format!("information_schema.{name}").as_str()),
        _ => None,
    };
    table.map(|known| &known.table)
}

pub(super) fn definitions() -> &'static BTreeMap<&'static str, Definition> {
    static DEFINITIONS: LazyLock<BTreeMap<&str, Definition>> = LazyLock::new(|| {
        let mut read = BTreeMap::new();
        let mut lines = RELATIONS.lines().peekable();
        while let Some(line) = lines.next() {
            let mut words = line.split(' ');
            let (Some(name), Some(oid), Some(kind)) = (words.next(), words.next(), words.next()) else { continue };
            let name = name.strip_prefix("pg_catalog.").unwrap_or(name);
            let mut columns = Vec::new();
            while let Some(line) = lines.next_if(|line| line.starts_with(' ')) {
                columns.extend(line.split_ascii_whitespace().filter_map(column));
            }
            let table = Arc::new(table(name, oid.parse().unwrap_or_default(), columns));
            read.insert(name, Definition { name, kind: kind.chars().next().unwrap_or('r'), table });
        }
        read
    });
    &DEFINITIONS
}

/// `name:type`, with `!` behind when it is never NULL.
fn column(word: &str) -> Option<Column> {
    let not_null = word.ends_with('!');
    let (name, written) = word.trim_end_matches('!').split_once(':')?;
    let (data_type, modifier) = match written {
        // The domains of information_schema.
        "varchar(3)" => (PgType::Varchar, 7),
        "timestamptz(2)" => (PgType::Timestamptz, 2),
        plain => (PgType::ALL.iter().copied().find(|known| known.name() == plain)?, -1),
    };
    Some(Column { modifier, not_null, ..Column::new(name, data_type) })
}

fn table(name: &str, oid: u32, columns: Vec<Column>) -> Table {
    Table {
        oid,
        name: name.to_owned(),
        keyspace: String::new(),
        kind: TableKind::Reference,
        columns,
        primary_key: None,
        unique_keys: Vec::new(),
        checks: Vec::new(),
        foreign_keys: Vec::new(),
        indexes: Vec::new(),
    }
}

/// A relation that Postgres does not have: what functions such as `pg_get_indexdef` look up. No statement can name it.
#[derive(Debug)]
pub struct Lookup {
    pub name: &'static str,
    /// The first is what it is looked up by.
    pub columns: &'static [(&'static str, PgType)],
}

/// All lookups.
pub fn lookups() -> &'static [Lookup] {
    &[
        // How an oid is shown as regclass.
        Lookup { name: "shardd_regclass", columns: &[("oid", PgType::Oid), ("shown", PgType::Text)] },
        // What a text means as regclass: names quoted as [`pg_quote_ident`] quotes them.
        Lookup { name: "shardd_relation", columns: &[("name", PgType::Text), ("oid", PgType::Oid)] },
        Lookup {
            name: "shardd_index",
            columns: &[
                ("oid", PgType::Oid),
                ("number", PgType::Int4),
                ("plain", PgType::Text),
                ("pretty", PgType::Text),
            ],
        },
        Lookup {
            name: "shardd_constraint",
            columns: &[("oid", PgType::Oid), ("plain", PgType::Text), ("pretty", PgType::Text)],
        },
    ]
}
