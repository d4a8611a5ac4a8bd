//! The store on real files, with programs written by hand.

mod changes;
mod constraints;
mod groups;
mod kill;
mod opening;
mod reads;
mod scratch;
mod sequences;
mod transactions;

use std::sync::Arc;

use super::{
    Call, CancelFlag, Environment, Limits, Opening, ShardFile, SqliteShard, SqliteTransaction, SubmittedWrite,
    TransactionMode, Whereabouts, Written, store_table_statement,
};
use crate::error::{Error, Result};
use crate::metrics::Metrics;
use crate::shard::sqlite::{Effect, Program};
use crate::shard::{Formats, OutputColumn, Tag};
use crate::shard::{RowBatch, Rows};
use crate::topology::{Check, Column, ForeignKey, ForeignKeyAction, Identity, Schema, Table, TableKind, UniqueKey};
use crate::types::{Datum, KeyType, PgType, ShardId, TextStyle};

pub(super) struct Fixture {
    pub(super) shard: Arc<SqliteShard>,
    directory: tempfile::TempDir,
    number: u16,
}

/// A statement that never ends by itself.
const ENDLESS: &str = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n";

impl Fixture {
    pub(super) async fn new() -> Fixture {
        Fixture::with(1, |_| ()).await
    }

    /// A shard with the ticket tables.
    pub(super) async fn with(number: u16, change: impl FnOnce(&mut Limits)) -> Fixture {
        let directory = tempfile::tempdir().unwrap();
        let mut limits = Limits::default();
        change(&mut limits);
        let opening = opening(directory.path(), number, limits);
        let fixture = Fixture { shard: Arc::new(SqliteShard::open(opening).unwrap()), directory, number };
        let schema = ticket_schema();
        let mut statements: Vec<String> = TICKET_TABLES.iter().map(|sql| (*sql).to_owned()).collect();
        statements.extend(schema.tables.values().map(|table| store_table_statement(table).unwrap()));
        let mut transaction = fixture.begin(TransactionMode::Schema).await.unwrap();
        transaction.run_batch(statements).await.unwrap();
        transaction.commit().await.unwrap();
        fixture.shard.set_schema(Arc::new(schema));
        fixture
    }

    /// Closes the shard and opens its file again.
    pub(super) async fn reopen(self) -> Fixture {
        self.shard.shutdown().await;
        let opening = opening(self.directory.path(), self.number, Limits::default());
        Fixture { shard: Arc::new(SqliteShard::open(opening).unwrap()), ..self }
    }

    pub(super) async fn begin(&self, mode: TransactionMode) -> Result<SqliteTransaction> {
        self.shard.begin(mode, &CancelFlag::new()).await
    }

    pub(super) async fn write(&self, sql: &str, parameters: Vec<Datum>) -> Result<Written> {
        self.shard.write(call(write(sql), parameters)).await
    }

    pub(super) async fn number(&self, sql: &str) -> i64 {
        let rows = self.shard.read(call(read(sql, &[PgType::Int8]), Vec::new())).await.unwrap();
        numbers(&collect(rows).await.unwrap())[0]
    }

    pub(super) async fn texts(&self, sql: &str) -> Vec<String> {
        let rows = self.shard.read(call(read(sql, &[PgType::Text]), Vec::new())).await.unwrap();
        texts(&collect(rows).await.unwrap())
    }
}

fn opening(directory: &std::path::Path, number: u16, limits: Limits) -> Opening {
    Opening {
        name: format!("s{number}"),
        id: ShardId(number),
        cluster: "c1".to_owned(),
        path: directory.join("shard.db"),
        file: ShardFile::MayBeNew,
        limits,
        metrics: Metrics::new().shard("s"),
    }
}

const TICKET_TABLES: &[&str] = &[
    "CREATE TABLE venues (id INTEGER PRIMARY KEY, name TEXT NOT NULL CONSTRAINT venues_name_key UNIQUE) STRICT",
    "CREATE TABLE seats (event_id INTEGER NOT NULL, seat_id INTEGER NOT NULL, price INTEGER,
        label TEXT, PRIMARY KEY (event_id, seat_id),
        CONSTRAINT seats_price_check CHECK (price >= 0)) STRICT, WITHOUT ROWID",
    "CREATE TABLE orders (id INTEGER PRIMARY KEY, event_id INTEGER NOT NULL, seat_id INTEGER, venue_id INTEGER,
        CONSTRAINT orders_seat_fkey FOREIGN KEY (event_id, seat_id) REFERENCES seats (event_id, seat_id),
        CONSTRAINT orders_venue_id_fkey FOREIGN KEY (venue_id) REFERENCES venues (id) ON DELETE CASCADE) STRICT",
    "CREATE TABLE log (event_id INTEGER NOT NULL, body BLOB) STRICT",
];

fn column(name: &str, data_type: PgType, not_null: bool) -> Column {
    Column { not_null, ..Column::new(name, data_type) }
}

fn table(name: &str, kind: TableKind, columns: Vec<Column>, key: &[usize]) -> Table {
    let primary_key = (!key.is_empty()).then(|| UniqueKey { name: format!("{name}_pkey"), columns: key.to_vec() });
    Table {
        oid: 16_384,
        name: name.to_owned(),
        keyspace: "tickets".to_owned(),
        kind,
        columns,
        primary_key,
        unique_keys: Vec::new(),
        checks: Vec::new(),
        foreign_keys: Vec::new(),
        indexes: Vec::new(),
    }
}

/// The Postgres schema of [`TICKET_TABLES`].
pub(super) fn ticket_schema() -> Schema {
    let sharded = |key_column| TableKind::Sharded { key_column, key_type: KeyType::Bigint };
    let serial = |name| Column { identity: Some(Identity::Serial), ..column(name, PgType::Int8, true) };
    let mut venues =
        table("venues", TableKind::Reference, vec![serial("id"), column("name", PgType::Text, true)], &[0]);
    venues.unique_keys.push(UniqueKey { name: "venues_name_key".to_owned(), columns: vec![1] });
    let mut seats = table(
        "seats",
        sharded(0),
        vec![
            column("event_id", PgType::Int8, true),
            column("seat_id", PgType::Int4, true),
            column("price", PgType::Int4, false),
            column("label", PgType::Text, false),
        ],
        &[0, 1],
    );
    seats.checks.push(Check { name: "seats_price_check".to_owned(), expression: "price >= 0".to_owned() });
    let mut orders = table(
        "orders",
        sharded(1),
        vec![
            serial("id"),
            column("event_id", PgType::Int8, true),
            column("seat_id", PgType::Int4, false),
            column("venue_id", PgType::Int8, false),
        ],
        &[0],
    );
    let key = |name: &str, columns: &[usize], references: &str, referenced: &[usize], on_delete| ForeignKey {
        name: name.to_owned(),
        columns: columns.to_vec(),
        references: references.to_owned(),
        referenced_columns: referenced.to_vec(),
        on_delete,
        on_update: ForeignKeyAction::NoAction,
    };
    orders.foreign_keys = vec![
        key("orders_seat_fkey", &[1, 2], "seats", &[0, 1], ForeignKeyAction::NoAction),
        key("orders_venue_id_fkey", &[3], "venues", &[0], ForeignKeyAction::Cascade),
    ];
    let log = table(
        "log",
        sharded(0),
        vec![column("event_id", PgType::Int8, true), column("body", PgType::Bytea, false)],
        &[],
    );
    let tables = [venues, seats, orders, log].map(|table| (table.name.clone(), Arc::new(table)));
    Schema { tables: tables.into(), ..Schema::default() }
}

fn program(sql: &str, columns: &[PgType], effect: Effect) -> Arc<Program> {
    let column = |data_type: &PgType| OutputColumn {
        name: "c".to_owned(),
        data_type: *data_type,
        modifier: -1,
        table_oid: 0,
        attribute: 0,
        foreign: None,
    };
    Arc::new(Program {
        sql: sql.to_owned(),
        parameters: Vec::new(),
        environment: Vec::new(),
        columns: columns.iter().map(column).collect(),
        effect,
        tag: if effect == Effect::Read { Tag::Select } else { Tag::Insert },
        point_read: false,
        reads_catalog: false,
    })
}

pub(super) fn read(sql: &str, columns: &[PgType]) -> Arc<Program> {
    program(sql, columns, Effect::Read)
}

pub(super) fn write(sql: &str) -> Arc<Program> {
    program(sql, &[], Effect::Write)
}

pub(super) fn write_returning(sql: &str, columns: &[PgType]) -> Arc<Program> {
    program(sql, columns, Effect::Write)
}

pub(super) fn call(program: Arc<Program>, parameters: Vec<Datum>) -> Call {
    Call {
        program,
        parameters: parameters.into(),
        formats: Formats::AllBinary,
        environment: Arc::new(Environment {
            transaction_timestamp: 1_000,
            statement_timestamp: 2_000,
            time_zone: "UTC".into(),
            user: "app".into(),
            database: "tickets".into(),
            backend_pid: 7,
            whereabouts: Whereabouts::own(),
        }),
        style: TextStyle::default(),
        cancel: CancelFlag::new(),
        schema: None,
    }
}

pub(super) async fn collect(mut rows: Rows) -> Result<RowBatch> {
    let mut all = RowBatch::default();
    while let Some(batch) = rows.next().await? {
        all.frames.unsplit(batch.frames);
        all.rows += batch.rows;
    }
    Ok(all)
}

/// The first column of each row, as bytes.
fn first_columns(batch: &RowBatch) -> Vec<Option<Vec<u8>>> {
    let mut values = Vec::new();
    let mut rest = &batch.frames[..];
    while !rest.is_empty() {
        assert_eq!(rest[0], b'D');
        let length = u32::from_be_bytes(rest[1..5].try_into().unwrap()) as usize;
        let row = &rest[5..=length];
        let size = i32::from_be_bytes(row[2..6].try_into().unwrap());
        values.push(usize::try_from(size).ok().map(|size| row[6..6 + size].to_vec()));
        rest = &rest[1 + length..];
    }
    assert_eq!(values.len(), batch.rows);
    values
}

pub(super) fn numbers(batch: &RowBatch) -> Vec<i64> {
    let number = |value: Option<Vec<u8>>| i64::from_be_bytes(value.unwrap().try_into().unwrap());
    first_columns(batch).into_iter().map(number).collect()
}

pub(super) fn texts(batch: &RowBatch) -> Vec<String> {
    first_columns(batch).into_iter().map(|value| String::from_utf8(value.unwrap()).unwrap()).collect()
}

pub(super) fn int(value: i64) -> Datum {
    Datum::Int8(value)
}

/// SQLSTATE, message, detail.
pub(super) fn said<T>(result: Result<T>) -> (String, String, String) {
    let error: Error = result.map(|_| ()).unwrap_err();
    (error.code().to_owned(), error.message().to_owned(), error.get_detail().unwrap_or("").to_owned())
}
