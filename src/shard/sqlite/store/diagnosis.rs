//! Finds out which row broke a constraint, which SQLite does not say.
//!
//! The statement, which was taken back, runs once more inside a savepoint, with temporary triggers that tell the rows it
//! touches, and is taken back again. For a foreign key the check is put off to the commit that never comes, and the rows
//! are compared with their parents and children. Only statements that failed pay for it.

use std::sync::Arc;

use parking_lot::Mutex;
use rusqlite::functions::FunctionFlags;
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use super::call::Call;
use super::cancel::Watch;
use super::connection::Backend;
use super::execute::{self, Sink};
use super::failure::Failure;
use super::shared::Shared;
use crate::shard::RowBatch;
use crate::topology::{ForeignKey, ForeignKeyAction, Schema, Table};

/// Rows that are looked at before a diagnosis is given up.
const ROWS: usize = 20_000;

/// Bytes of them that are kept.
const BYTES: usize = 16 * 1024 * 1024;

/// What the triggers tell, for the connection that they run on.
#[derive(Clone, Default)]
pub(super) struct Witness(Arc<Mutex<Testimony>>);

#[derive(Default)]
struct Testimony {
    rows: Vec<Touched>,
    /// Keep the last row only.
    last_only: bool,
    seen: usize,
    bytes: usize,
}

/// A row that a statement wrote or took away.
pub(super) struct Touched {
    /// Which of the tables that were asked for.
    pub(super) table: usize,
    /// The row as it is after, or as it was before.
    pub(super) new: bool,
    pub(super) values: Vec<Value>,
}

impl Witness {
    /// Makes the function that the triggers call known.
    pub(super) fn register(connection: &Connection) -> rusqlite::Result<Witness> {
        let witness = Witness::default();
        let testimony = Arc::clone(&witness.0);
        let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_INNOCUOUS;
        connection.create_scalar_function("shardd_row", -1, flags, move |context| {
            let values = (2..context.len()).map(|index| context.get::<Value>(index)).collect::<Result<Vec<_>, _>>()?;
            let row = Touched { table: usize::from(context.get::<u16>(0)?), new: context.get(1)?, values };
            testimony.lock().add(row).map(|()| true).map_err(|full| rusqlite::Error::UserFunctionError(full.into()))
        })?;
        Ok(witness)
    }

    fn begin(&self, last_only: bool) {
        *self.0.lock() = Testimony { last_only, ..Testimony::default() };
    }

    fn end(&self) -> Vec<Touched> {
        std::mem::take(&mut *self.0.lock()).rows
    }
}

impl Testimony {
    /// Fails when the statement touches too many rows to be looked at, which ends it.
    fn add(&mut self, row: Touched) -> Result<(), &'static str> {
        self.seen += 1;
        self.bytes += row.values.iter().map(size).sum::<usize>();
        if self.last_only {
            self.rows.clear();
            self.bytes = 0;
        }
        self.rows.push(row);
        if self.seen > ROWS || self.bytes > BYTES { Err("too many rows for a diagnosis") } else { Ok(()) }
    }
}

fn size(value: &Value) -> usize {
    match value {
        Value::Text(text) => text.len(),
        Value::Blob(blob) => blob.len(),
        _ => size_of::<Value>(),
    }
}

/// The last row that the statement wrote before it failed.
pub(super) fn last_row(shared: &Shared, backend: &Backend, call: &Call, tables: &[&Table]) -> Option<Touched> {
    if tables.is_empty() {
        return None;
    }
    backend.witness.begin(true);
    let failed = in_savepoint(&backend.connection, || {
        watch_tables(&backend.connection, tables, false)?;
        let again = run_again(shared, backend, call);
        Ok(matches!(again, Err(Failure::Sqlite(_))))
    });
    let mut rows = backend.witness.end();
    (failed == Some(true)).then(|| rows.pop())?
}

/// The foreign key that a statement breaks.
pub(super) enum BrokenKey {
    NoParent { table: Arc<Table>, key: ForeignKey, values: Vec<Value> },
    HasChildren { parent: Arc<Table>, table: Arc<Table>, key: ForeignKey, values: Vec<Value> },
}

/// `again` does what was taken back, and says whether it could.
pub(super) fn broken_key(backend: &Backend, schema: &Schema, again: impl FnOnce() -> bool) -> Option<BrokenKey> {
    let tables: Vec<&Arc<Table>> = schema.tables.values().filter(|table| is_related(table, schema)).collect();
    let watched: Vec<&Table> = tables.iter().map(|table| &***table).collect();
    backend.witness.begin(false);
    in_savepoint(&backend.connection, || {
        backend.connection.pragma_update(None, "defer_foreign_keys", true)?;
        watch_tables(&backend.connection, &watched, true)?;
        if !again() {
            return Ok(None);
        }
        for row in backend.witness.end() {
            let Some(table) = tables.get(row.table) else { continue };
            let broken = if row.new {
                missing_parent(&backend.connection, table, &row.values, schema)?
            } else {
                left_children(&backend.connection, table, &row.values, schema)?
            };
            if broken.is_some() {
                return Ok(broken);
            }
        }
        Ok(None)
    })?
}

/// Whether a foreign key begins or ends at the table.
fn is_related(table: &Table, schema: &Schema) -> bool {
    !table.foreign_keys.is_empty()
        || schema.tables.values().any(|other| other.foreign_keys.iter().any(|key| key.references == table.name))
}

/// Does something of which nothing remains. `None`: it could not be done.
fn in_savepoint<T>(connection: &Connection, work: impl FnOnce() -> rusqlite::Result<T>) -> Option<T> {
    connection.prepare_cached("SAVEPOINT diagnosis").and_then(|mut statement| statement.execute([])).ok()?;
    let done = work();
    // The deferral of foreign keys ends with the transaction, and must not outlive the savepoint.
    let undone = connection.execute_batch("ROLLBACK TO diagnosis; RELEASE diagnosis; PRAGMA defer_foreign_keys = OFF;");
    undone.and(done).ok()
}

/// Temporary triggers that tell every row which is about to be written and, with `old`, every row that is about to go.
fn watch_tables(connection: &Connection, tables: &[&Table], old: bool) -> rusqlite::Result<()> {
    for (index, table) in tables.iter().enumerate() {
        let name = quoted(&table.name);
        let row = |alias: &str| {
            let columns = table.columns.iter().map(|column| format!(", {alias}.{}", quoted(&column.name)));
            let new = u8::from(alias == "NEW");
            format!("SELECT shardd_row({index}, {new}{});", columns.collect::<String>())
        };
        let both = if old { format!("{} {}", row("OLD"), row("NEW")) } else { row("NEW") };
        let mut sql = format!(
            "CREATE TEMP TRIGGER shardd_insert_{index} BEFORE INSERT ON main.{name} BEGIN {} END;
             CREATE TEMP TRIGGER shardd_update_{index} BEFORE UPDATE ON main.{name} BEGIN {both} END;",
            row("NEW")
        );
        if old {
            sql.push_str(&format!(
                "CREATE TEMP TRIGGER shardd_delete_{index} BEFORE DELETE ON main.{name} BEGIN {} END;",
                row("OLD")
            ));
        }
        connection.execute_batch(&sql)?;
    }
    Ok(())
}

/// The statement as it ran, with the same numbers from sequences. It is not watched: to interrupt a write would roll
/// the whole transaction back. The witness ends it when it grows long.
pub(super) fn run_again(shared: &Shared, backend: &Backend, call: &Call) -> Result<(), Failure> {
    let _replay = shared.sequences.replay();
    execute::prepare_and_step(backend, call, &mut Discarded).map(|_| ())
}

struct Discarded;

impl Sink for Discarded {
    fn full(&mut self, batch: &mut RowBatch, _watch: &Watch) -> Result<(), Failure> {
        *batch = RowBatch::default();
        Ok(())
    }
}

/// A foreign key of the row that leads nowhere.
fn missing_parent(
    connection: &Connection,
    table: &Arc<Table>,
    row: &[Value],
    schema: &Schema,
) -> rusqlite::Result<Option<BrokenKey>> {
    for key in &table.foreign_keys {
        let Some(values) = key_values(row, &key.columns) else { continue };
        let Some(parent) = schema.table(&key.references) else { continue };
        if !row_exists(connection, parent, &key.referenced_columns, &values)? {
            return Ok(Some(BrokenKey::NoParent { table: Arc::clone(table), key: key.clone(), values: row.to_vec() }));
        }
    }
    Ok(None)
}

/// A foreign key that leads to the row, which is gone.
fn left_children(
    connection: &Connection,
    parent: &Arc<Table>,
    row: &[Value],
    schema: &Schema,
) -> rusqlite::Result<Option<BrokenKey>> {
    for table in schema.tables.values() {
        for key in table.foreign_keys.iter().filter(|key| key.references == parent.name) {
            let refuses = matches!(key.on_delete, ForeignKeyAction::NoAction | ForeignKeyAction::Restrict)
                || matches!(key.on_update, ForeignKeyAction::NoAction | ForeignKeyAction::Restrict);
            let Some(values) = key_values(row, &key.referenced_columns).filter(|_| refuses) else { continue };
            let parent_is_there = row_exists(connection, parent, &key.referenced_columns, &values)?;
            if !parent_is_there && row_exists(connection, table, &key.columns, &values)? {
                return Ok(Some(BrokenKey::HasChildren {
                    parent: Arc::clone(parent),
                    table: Arc::clone(table),
                    key: key.clone(),
                    values: row.to_vec(),
                }));
            }
        }
    }
    Ok(None)
}

/// The values of a key, when none is NULL.
fn key_values(row: &[Value], columns: &[usize]) -> Option<Vec<Value>> {
    let values = columns.iter().map(|index| row.get(*index).filter(|value| **value != Value::Null).cloned());
    values.collect()
}

fn row_exists(connection: &Connection, table: &Table, columns: &[usize], values: &[Value]) -> rusqlite::Result<bool> {
    let names = columns.iter().filter_map(|index| table.columns.get(*index)).map(|column| quoted(&column.name));
    let conditions: Vec<String> = names.enumerate().map(|(place, name)| format!("{name} = ?{}", place + 1)).collect();
    let sql = format!("SELECT 1 FROM main.{} WHERE {} LIMIT 1", quoted(&table.name), conditions.join(" AND "));
    connection.prepare(&sql)?.exists(params_from_iter(values))
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
