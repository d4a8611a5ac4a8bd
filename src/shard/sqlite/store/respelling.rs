//! Rows whose primary key changes only in how it is written: 1.0 to 1.00.
//!
//! The session extension tells keys apart by their bytes and finds rows by their equality. Such a row is recorded as an
//! update of its key together with an insert of the row that it became; neither can be applied. Here it is an UPDATE.

use std::collections::HashSet;

use rusqlite::Connection;
use rusqlite::types::Value;

use super::changeset::Unapplied;

/// A primary key by its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key(Vec<u8>);

impl Key {
    pub(super) fn of<'v>(values: impl IntoIterator<Item = &'v Value>) -> Key {
        let mut bytes = Vec::new();
        for value in values {
            let (tag, content) = match value {
                Value::Null => (0, Vec::new()),
                Value::Integer(value) => (1, value.to_le_bytes().to_vec()),
                Value::Real(value) => (2, value.to_le_bytes().to_vec()),
                Value::Text(text) => (3, text.as_bytes().to_vec()),
                Value::Blob(blob) => (4, blob.clone()),
            };
            bytes.push(tag);
            bytes.extend_from_slice(&content.len().to_le_bytes());
            bytes.extend_from_slice(&content);
        }
        Key(bytes)
    }
}

/// Columns are numbered from 0.
#[derive(Debug)]
pub(super) struct Respelled {
    pub(super) table: String,
    /// The old key.
    pub(super) key: Vec<(usize, Value)>,
    /// All that changed, the key's columns among them.
    pub(super) changed: Vec<(usize, Value)>,
}

impl Respelled {
    fn new_key(&self) -> Key {
        let changed = |column: &usize| self.changed.iter().find(|(other, _)| other == column).map(|(_, value)| value);
        Key::of(self.key.iter().map(|(column, old)| changed(column).unwrap_or(old)))
    }
}

/// The respelled rows of one changeset.
#[derive(Debug, Default)]
pub(super) struct Respellings {
    rows: Vec<Respelled>,
    /// The keys of rows that need no insert (any more).
    present: HashSet<(String, Key)>,
}

impl Respellings {
    pub(super) fn add(&mut self, row: Respelled) {
        self.present.insert((row.table.clone(), row.new_key()));
        self.rows.push(row);
    }

    /// Whether an insert of this key is the first thing that makes the row: a row that was inserted and respelled is
    /// recorded twice.
    pub(super) fn is_first(&mut self, table: &str, key: Key) -> bool {
        self.present.insert((table.to_owned(), key))
    }

    /// Updates the rows of the tables that are taken.
    pub(super) fn apply(&self, connection: &Connection, takes: impl Fn(&str) -> bool) -> Result<(), Unapplied> {
        for row in self.rows.iter().filter(|row| takes(&row.table)) {
            if update(connection, row).map_err(Unapplied::Sqlite)? != 1 {
                return Err(Unapplied::Conflict { table: row.table.clone(), kind: "a row is missing" });
            }
        }
        Ok(())
    }
}

fn update(connection: &Connection, row: &Respelled) -> rusqlite::Result<usize> {
    let mut columns = connection.prepare_cached("SELECT name FROM pragma_table_info(?1) ORDER BY cid")?;
    let names: Vec<String> = columns.query_map([&row.table], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    let mut values = Vec::new();
    let mut equations = |cells: &[(usize, Value)]| {
        let mut texts = Vec::with_capacity(cells.len());
        for (column, value) in cells {
            values.push(value.clone());
            let name = names.get(*column).map_or("", String::as_str);
            texts.push(format!("{} = ?{}", quoted(name), values.len()));
        }
        texts
    };
    let (set, key) = (equations(&row.changed).join(", "), equations(&row.key).join(" AND "));
    let sql = format!("UPDATE main.{} SET {set} WHERE {key}", quoted(&row.table));
    connection.execute(&sql, rusqlite::params_from_iter(values))
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
