//! SQLite's broken constraints as Postgres tells of them: which constraint, of which table, and the values that broke it.

use rusqlite::Connection;
use rusqlite::ffi;
use rusqlite::types::Value;

use super::call::Call;
use super::changeset::Applying;
use super::connection::Backend;
use super::diagnosis::{self, BrokenKey};
use super::failure::{Failure, parts, primary};
use super::row_text::{key_text, row_text};
use super::shared::Shared;
use crate::error::{Error, SqlState};
use crate::shard::sqlite::functions;
use crate::topology::{Schema, Table};
use crate::types::TextStyle;

/// What the client of a statement that failed is told. The statement's changes were taken back; its transaction is open.
pub(super) fn told(shared: &Shared, backend: &Backend, call: &Call, failure: Failure) -> Error {
    match failure {
        Failure::Sqlite(error) => match Broken::of(&error, &shared.schema.load()) {
            Some(broken) => broken.explained(shared, backend, call),
            None => shared.translate(&error),
        },
        other => super::reader::told(shared, other),
    }
}

/// Without a statement to look at: of a change of the schema.
pub(super) fn told_of_batch(shared: &Shared, failure: Failure) -> Error {
    match failure {
        Failure::Sqlite(error) => match Broken::of(&error, &shared.schema.load()) {
            Some(broken) => broken.error(None, &TextStyle::default()),
            None => shared.translate(&error),
        },
        other => super::reader::told(shared, other),
    }
}

/// What another shard's changes of reference tables break here.
pub(super) fn told_of_changes(shared: &Shared, backend: &Backend, changes: &[u8]) -> Error {
    let broken = diagnosis::broken_key(backend, &shared.schema.load(), || {
        let is_reference = |table: &str| shared.sequences.is_reference(table);
        super::changeset::apply(&backend.connection, changes, Applying::Trial, &is_reference).is_ok()
    });
    foreign_key_error(broken, &TextStyle::default())
}

/// A row without its parent, found after tables were rebuilt.
pub(super) fn broken_foreign_key(table: &str, parent: &str) -> Error {
    Error::new(
        SqlState::FOREIGN_KEY_VIOLATION,
        format!("insert or update on table \"{table}\" violates a foreign key constraint"),
    )
    .detail(format!("A row has no match in table \"{parent}\"."))
    .table(table)
}

/// What SQLite says of a broken constraint.
enum Broken {
    Unique {
        table: String,
        columns: Vec<String>,
    },
    /// On expressions: only the index has a name.
    UniqueIndex {
        index: String,
    },
    NotNull {
        table: String,
        column: String,
    },
    Check {
        name: String,
    },
    ForeignKey,
    Other {
        text: String,
    },
}

impl Broken {
    fn of(error: &rusqlite::Error, schema: &Schema) -> Option<Broken> {
        let (extended, text) = parts(error)?;
        if primary(extended) != ffi::SQLITE_CONSTRAINT || functions::raised(error).is_some() {
            return None;
        }
        let what = text.split_once(" failed: ").map_or("", |(_, what)| what);
        Some(match extended {
            ffi::SQLITE_CONSTRAINT_UNIQUE | ffi::SQLITE_CONSTRAINT_PRIMARYKEY | ffi::SQLITE_CONSTRAINT_ROWID => {
                match what.strip_prefix("index '").and_then(|index| index.strip_suffix('\'')) {
                    Some(index) => Broken::UniqueIndex { index: index.to_owned() },
                    None => {
                        let (table, columns) = table_and_columns(what, schema);
                        Broken::Unique { table, columns }
                    }
                }
            }
            ffi::SQLITE_CONSTRAINT_NOTNULL => {
                let (table, mut columns) = table_and_columns(what, schema);
                Broken::NotNull { table, column: columns.pop().unwrap_or_default() }
            }
            ffi::SQLITE_CONSTRAINT_CHECK => Broken::Check { name: what.to_owned() },
            _ if text == "FOREIGN KEY constraint failed" => Broken::ForeignKey,
            _ => Broken::Other { text: text.to_owned() },
        })
    }

    /// With what is found out by looking at the statement again.
    fn explained(self, shared: &Shared, backend: &Backend, call: &Call) -> Error {
        let schema = shared.schema.load();
        if let Broken::ForeignKey = self {
            let broken =
                diagnosis::broken_key(backend, &schema, || diagnosis::run_again(shared, backend, call).is_ok());
            return foreign_key_error(broken, &call.style);
        }
        let tables: Vec<&Table> = self.tables(&backend.connection, &schema);
        let row = diagnosis::last_row(shared, backend, call, &tables);
        let found = row.and_then(|row| Some((*tables.get(row.table)?, row.values)));
        let error = self.error(found.as_ref().map(as_row), &call.style);
        let Broken::Unique { table, columns } = &self else { return error };
        let declared = schema.table(table).map(|table| &**table);
        match unique_name(&backend.connection, declared, table, columns) {
            Some(name) => error.with_message(unique_message(&name)).constraint(name),
            None => error,
        }
    }

    /// The tables that it can be about.
    fn tables<'s>(&self, connection: &Connection, schema: &'s Schema) -> Vec<&'s Table> {
        let named = |name: &str| schema.table(name).map(|table| &**table).into_iter().collect();
        match self {
            Broken::Unique { table, .. } | Broken::NotNull { table, .. } => named(table),
            Broken::UniqueIndex { index } => connection
                .query_row("SELECT tbl_name FROM sqlite_schema WHERE name = ?1", [index], |row| row.get::<_, String>(0))
                .map_or_else(|_| Vec::new(), |table| named(&table)),
            Broken::Check { name } => schema
                .tables
                .values()
                .map(|table| &**table)
                .filter(|table| table.checks.iter().any(|check| check.name == *name))
                .collect(),
            Broken::ForeignKey | Broken::Other { .. } => Vec::new(),
        }
    }

    fn error(&self, row: Option<Row<'_>>, style: &TextStyle) -> Error {
        match self {
            Broken::Unique { table, columns } => {
                let error = Error::new(SqlState::UNIQUE_VIOLATION, "duplicate key value violates unique constraint");
                let key = row.and_then(|row| {
                    let indexes = columns.iter().map(|name| row.table.column(name).map(|(index, _)| index));
                    key_text(row.table, &indexes.collect::<Option<Vec<_>>>()?, row.values, style)
                });
                match key {
                    Some(key) => error.detail(format!("{key} already exists.")),
                    None => error.detail(format!("A row with the same ({}) already exists.", columns.join(", "))),
                }
                .table(table)
            }
            Broken::UniqueIndex { index } => {
                let error = Error::new(SqlState::UNIQUE_VIOLATION, unique_message(index)).constraint(index);
                row.map_or(error.clone(), |row| error.table(&row.table.name))
            }
            Broken::NotNull { table, column } => failing_row(
                Error::new(
                    SqlState::NOT_NULL_VIOLATION,
                    format!("null value in column \"{column}\" of relation \"{table}\" violates not-null constraint"),
                )
                .table(table)
                .column(column),
                row,
                style,
            ),
            Broken::Check { name } => {
                let of = row.as_ref().map_or_else(String::new, |row| format!(" for relation \"{}\"", row.table.name));
                let message = format!("new row{of} violates check constraint \"{name}\"");
                let error = Error::new(SqlState::CHECK_VIOLATION, message).constraint(name);
                let error = row.as_ref().map_or(error.clone(), |row| error.table(&row.table.name));
                failing_row(error, row, style)
            }
            Broken::ForeignKey => foreign_key_error(None, style),
            Broken::Other { text } => {
                Error::new(SqlState::DATATYPE_MISMATCH, "a value cannot be stored in its column").detail(text)
            }
        }
    }
}

/// A row of a table.
struct Row<'a> {
    table: &'a Table,
    values: &'a [Value],
}

fn as_row<'a>((table, values): &'a (&'a Table, Vec<Value>)) -> Row<'a> {
    Row { table, values }
}

fn failing_row(error: Error, row: Option<Row<'_>>, style: &TextStyle) -> Error {
    match row.and_then(|row| row_text(row.table, row.values, style)) {
        Some(text) => error.detail(format!("Failing row contains {text}.")),
        None => error,
    }
}

fn unique_message(name: &str) -> String {
    format!("duplicate key value violates unique constraint \"{name}\"")
}

/// `t.a, t.b`, as SQLite writes them: without quotes, whatever the names hold.
fn table_and_columns(text: &str, schema: &Schema) -> (String, Vec<String>) {
    let columns_of = |table: &str| -> Option<Vec<String>> {
        let prefix = format!("{table}.");
        text.strip_prefix(&prefix).map(|rest| rest.split(&format!(", {prefix}")).map(str::to_owned).collect())
    };
    let known = schema.tables.values().find_map(|table| {
        let columns = columns_of(&table.name)?;
        columns.iter().all(|column| table.column(column).is_some()).then(|| (table.name.clone(), columns))
    });
    known.unwrap_or_else(|| {
        let table = text.split('.').next().unwrap_or(text).to_owned();
        let columns = columns_of(&table).unwrap_or_default();
        (table, columns)
    })
}

/// The name of the unique constraint, or of the unique index, with these columns.
fn unique_name(connection: &Connection, table: Option<&Table>, name: &str, columns: &[String]) -> Option<String> {
    let same = |key: &&crate::topology::UniqueKey| {
        let table = table.map(|table| &table.columns);
        let names = key.columns.iter().map(|index| table.and_then(|columns| columns.get(*index)).map(|c| &c.name));
        names.eq(columns.iter().map(Some))
    };
    let declared = table.and_then(|table| table.primary_key.iter().chain(&table.unique_keys).find(same));
    if let Some(key) = declared {
        return Some(key.name.clone());
    }
    let sql = "SELECT list.name FROM pragma_index_list(?1) AS list WHERE list.\"unique\" AND list.origin = 'c' AND \
               (SELECT group_concat(name, char(0)) FROM (SELECT name FROM pragma_index_info(list.name) ORDER BY seqno)) = ?2";
    connection.query_row(sql, (name, columns.join("\0")), |row| row.get(0)).ok()
}

pub(super) fn foreign_key_error(broken: Option<BrokenKey>, style: &TextStyle) -> Error {
    let Some(broken) = broken else {
        return Error::new(SqlState::FOREIGN_KEY_VIOLATION, "the statement violates a foreign key constraint")
            .detail("It could not be found out which one: the statement changes too many rows.");
    };
    match broken {
        BrokenKey::NoParent { table, key, values } => {
            let error = Error::new(
                SqlState::FOREIGN_KEY_VIOLATION,
                format!(
                    "insert or update on table \"{}\" violates foreign key constraint \"{}\"",
                    table.name, key.name
                ),
            );
            let error = match key_text(&table, &key.columns, &values, style) {
                Some(text) => error.detail(format!("{text} is not present in table \"{}\".", key.references)),
                None => error,
            };
            error.table(&table.name).constraint(key.name)
        }
        BrokenKey::HasChildren { parent, table, key, values } => {
            let error = Error::new(
                SqlState::FOREIGN_KEY_VIOLATION,
                format!(
                    "update or delete on table \"{}\" violates foreign key constraint \"{}\" on table \"{}\"",
                    parent.name, key.name, table.name
                ),
            );
            let error = match key_text(&parent, &key.referenced_columns, &values, style) {
                Some(text) => error.detail(format!("{text} is still referenced from table \"{}\".", table.name)),
                None => error,
            };
            error.table(&table.name).constraint(key.name)
        }
    }
}
