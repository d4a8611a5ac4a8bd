//! SQLite without a file: statements that name no table, and tables that live for one statement.
//!
//! When several shards aggregate, their partial rows are loaded into such a table and a finishing statement runs over it,
//! so that one implementation of Postgres's functions serves both.

use std::sync::Arc;

use rusqlite::types::ToSqlOutput;

use super::call::Call;
use super::connection::{Backend, Role};
use super::limits::Limits;
use super::pool::{OwnedLease, Pool, Seat};
use super::reader::{Held, Readers, read_on_thread};
use super::shared::Shared;
use super::system_catalog::SystemCatalogs;
use super::{Opening, ShardFile};
use crate::error::{Error, Result, SqlState};
use crate::metrics::ShardMetrics;
use crate::shard::CancelFlag;
use crate::shard::OutputColumn;
use crate::shard::sqlite::storage;
use crate::shard::{RowBatch, Rows};
use crate::system_catalog::Surroundings;
use crate::topology::{Column, Schema, Table, TableKind};
use crate::types::{Datum, PgType, ShardId};

/// Connections without a file.
pub struct Scratch {
    shared: Arc<Shared>,
    readers: Readers,
    tables: Arc<Pool>,
    catalogs: SystemCatalogs,
}

/// Tables that live at the same time.
const TABLES: usize = 32;

impl Scratch {
    /// Needs a tokio runtime around it. `metrics`: where statements that need no shard are counted.
    ///
    /// # Errors
    /// SQLite cannot open a database in memory.
    pub fn open(metrics: Arc<ShardMetrics>) -> Result<Scratch> {
        let runtime = tokio::runtime::Handle::try_current()
            .map_err(|_| Error::internal("a scratch database was opened outside of a runtime"))?;
        let opening = Opening {
            name: "scratch".to_owned(),
            id: ShardId(0),
            cluster: String::new(),
            path: Default::default(),
            file: ShardFile::MayBeNew,
            limits: Limits::default(),
            metrics,
        };
        let shared = Arc::new(Shared::new(&opening, runtime));
        let pool = Arc::new(Pool::new(Role::Scratch, shared.limits.readers, "scratch connections"));
        pool.fill(&shared).map_err(|error| shared.translate(&error))?;
        let tables = Arc::new(Pool::new(Role::Scratch, TABLES, "scratch tables"));
        Ok(Scratch { readers: Readers::new(pool), shared, tables, catalogs: SystemCatalogs::new() })
    }

    /// Runs a statement that names no table.
    pub async fn run(&self, call: Call) -> Result<Rows> {
        self.readers.read(&self.shared, call).await
    }

    /// Runs a statement over the system catalog of a schema.
    pub async fn run_over_catalog(&self, call: Call, schema: Arc<Schema>, surroundings: Surroundings) -> Result<Rows> {
        self.catalogs.run(&self.shared, call, schema, surroundings).await
    }

    /// An empty table with these columns, which may take `max_bytes`.
    pub async fn table(
        &self,
        name: &str,
        columns: &[OutputColumn],
        max_bytes: usize,
        cancel: &CancelFlag,
    ) -> Result<ScratchTables> {
        self.tables(vec![declare(name, columns)?], max_bytes, cancel).await
    }

    /// Empty tables, which may take `max_bytes` together.
    pub async fn tables(&self, tables: Vec<Table>, max_bytes: usize, cancel: &CancelFlag) -> Result<ScratchTables> {
        let lease = self.tables.take(&self.shared, cancel).await?.detach(&self.tables);
        let mut made = "BEGIN".to_owned();
        let mut insertions = Vec::with_capacity(tables.len());
        for table in &tables {
            let columns: Vec<String> = table.columns.iter().map(column_definition).collect();
            made += &format!("; CREATE TABLE {} ({}) STRICT", quoted(&table.name), columns.join(", "));
            let places: Vec<String> = (1..=columns.len()).map(|place| format!("?{place}")).collect();
            insertions.push(Insertion {
                text: format!("INSERT INTO {} VALUES ({})", quoted(&table.name), places.join(", ")),
                types: table.columns.iter().map(|column| column.data_type).collect(),
            });
        }
        let outcome = lease.backend().connection.execute_batch(&made);
        outcome.map_err(|error| self.shared.translate(&error))?;
        let tables = tables.into_iter().map(|table| (table.name.clone(), Arc::new(table))).collect();
        Ok(ScratchTables {
            shared: Arc::clone(&self.shared),
            lease: Emptied(lease),
            insertions,
            schema: Schema { tables, ..Schema::default() },
            bytes: 0,
            max_bytes,
        })
    }
}

impl std::fmt::Debug for Scratch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scratch").finish_non_exhaustive()
    }
}

/// # Errors
/// 0A000 for a type that only the shards know.
fn declare(name: &str, columns: &[OutputColumn]) -> Result<Table> {
    if let Some(foreign) = columns.iter().find(|column| column.foreign.is_some()) {
        return Err(Error::unsupported(
            format!("an aggregate across shards over a type of the shards' own (column \"{}\")", foreign.name),
            "Cast the value to text, or give the key in WHERE.",
        ));
    }
    let column = |column: &OutputColumn| Column {
        modifier: column.modifier,
        ..Column::new(column.name.clone(), column.data_type)
    };
    Ok(Table {
        oid: 0,
        name: name.to_owned(),
        keyspace: String::new(),
        kind: TableKind::Reference,
        columns: columns.iter().map(column).collect(),
        primary_key: None,
        unique_keys: Vec::new(),
        checks: Vec::new(),
        foreign_keys: Vec::new(),
        indexes: Vec::new(),
    })
}

fn column_definition(column: &Column) -> String {
    format!("{} {}", quoted(&column.name), storage::column_type(column.data_type))
}

pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Tables that live for one statement. They are dropped with this.
pub struct ScratchTables {
    shared: Arc<Shared>,
    lease: Emptied,
    insertions: Vec<Insertion>,
    schema: Schema,
    bytes: usize,
    max_bytes: usize,
}

/// How a row comes into a table.
struct Insertion {
    text: String,
    types: Vec<PgType>,
}

/// Takes everything back before the connection goes to its pool.
struct Emptied(OwnedLease);

impl Held for Emptied {
    fn backend(&self) -> &Backend {
        self.0.backend()
    }

    fn seat(&self) -> Arc<Seat> {
        self.0.seat()
    }
}

impl Drop for Emptied {
    fn drop(&mut self) {
        let connection = &self.0.backend().connection;
        if !connection.is_autocommit() {
            let _ = connection.execute_batch("ROLLBACK");
        }
    }
}

impl ScratchTables {
    /// A schema with these tables alone, for translating the statement that reads them.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Adds rows in binary format to the table with this number.
    ///
    /// # Errors
    /// 54000 when the tables have grown too large.
    pub fn load(&mut self, table: usize, batch: &RowBatch) -> Result<()> {
        self.bytes += batch.frames.len();
        if self.bytes > self.max_bytes {
            return Err(Error::new(
                SqlState::PROGRAM_LIMIT_EXCEEDED,
                format!("putting the shards' rows together takes more than {} bytes", self.max_bytes),
            )
            .hint("Restrict the statement to fewer keys or fewer groups, or raise merge_max_bytes."));
        }
        let backend = self.lease.backend();
        let told = |error: rusqlite::Error| self.shared.translate(&error);
        let Insertion { text, types } =
            self.insertions.get(table).ok_or_else(|| Error::internal("rows came for a table that there is not"))?;
        let mut insert = backend.connection.prepare_cached(text).map_err(told)?;
        let mut frames = &batch.frames[..];
        while !frames.is_empty() {
            let row = take_frame(&mut frames).ok_or_else(misframed)?;
            for (place, value) in row_values(row, types)?.iter().enumerate() {
                let cell: ToSqlOutput<'_> = storage::to_sqlite(value)?;
                insert.raw_bind_parameter(place + 1, cell).map_err(told)?;
            }
            insert.raw_execute().map_err(told)?;
        }
        Ok(())
    }

    /// Runs the statement that reads the tables.
    pub async fn finish(self, call: Call) -> Result<Rows> {
        let ScratchTables { shared, lease, .. } = self;
        read_on_thread(&shared, call, lease, |_| ()).await
    }
}

impl std::fmt::Debug for ScratchTables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ScratchTables").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

/// The body of the next DataRow.
fn take_frame<'a>(frames: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (kind, rest) = frames.split_first()?;
    let length = usize::try_from(u32::from_be_bytes(*rest.first_chunk::<4>()?)).ok()?;
    let (frame, after) = rest.split_at_checked(length)?;
    *frames = after;
    (*kind == b'D').then(|| frame.get(4..))?
}

fn row_values(row: &[u8], types: &[PgType]) -> Result<Vec<Datum>> {
    let mut rest = row.get(2..).ok_or_else(misframed)?;
    let mut values = Vec::with_capacity(types.len());
    for data_type in types {
        let (length, after) = rest.split_first_chunk::<4>().ok_or_else(misframed)?;
        rest = after;
        let Ok(length) = usize::try_from(i32::from_be_bytes(*length)) else {
            values.push(Datum::Null);
            continue;
        };
        let (value, after) = rest.split_at_checked(length).ok_or_else(misframed)?;
        rest = after;
        values.push(Datum::from_binary(*data_type, value)?);
    }
    Ok(values)
}

fn misframed() -> Error {
    Error::internal("a shard's row is not a DataRow of its columns")
}
