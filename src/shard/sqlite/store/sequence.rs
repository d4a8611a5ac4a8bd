//! The numbers that serial and identity columns are filled with.
//!
//! Shards never ask each other: on a sharded table a shard counts from its own number in steps of [`STEP`], on a
//! reference table (which is written on one shard) from 1 in steps of 1. As in Postgres, a number is used up when it is
//! given out, whether or not its row stays; what is stored follows with the commit of the statement that took it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rusqlite::Connection;
use rusqlite::functions::FunctionFlags;

use super::schema;
use crate::error::{Error, SqlState};
use crate::shard::sqlite::functions;
use crate::shard::{Given, Numbers};
use crate::topology::{Schema, TableKind};
use crate::types::{PgType, ShardId};

/// How far apart a shard's ids on a sharded table are: more than shards can ever be.
pub const STEP: i64 = 1_024;

pub(super) struct Sequences {
    shard: ShardId,
    schema: Arc<ArcSwap<Schema>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    tables: HashMap<Box<str>, Vec<Sequence>>,
    /// Of tables whose transaction has not committed yet, too.
    stored: Schema,
    changed: bool,
    /// What the running statement was given.
    given: Vec<i64>,
    /// The last for each column; the latest at the end.
    last: Vec<Given>,
    /// What a statement that runs again is to be given.
    replayed: VecDeque<i64>,
}

/// Numbers of one statement that are remembered for its diagnosis.
const REMEMBERED: usize = 20_000;

struct Sequence {
    column: Box<str>,
    next: i64,
    step: i64,
    changed: bool,
}

impl Sequences {
    pub(super) fn new(shard: ShardId, schema: Arc<ArcSwap<Schema>>) -> Sequences {
        Sequences { shard, schema, state: Mutex::default() }
    }

    /// Makes `pg_next_id('table', 'column')` and `pg_set_next_id('table', 'column', number)` known to a connection that writes.
    pub(super) fn register(self: &Arc<Sequences>, connection: &Connection) -> rusqlite::Result<()> {
        let sequences = Arc::clone(self);
        connection.create_scalar_function("pg_set_next_id", 3, FunctionFlags::SQLITE_UTF8, move |context| {
            let table = context.get_raw(0).as_str().map_err(|e| rusqlite::Error::UserFunctionError(e.into()))?;
            let column = context.get_raw(1).as_str().map_err(|e| rusqlite::Error::UserFunctionError(e.into()))?;
            sequences.set(table, column, context.get(2)?).map_err(|error| functions::raise(&error))
        })?;
        let sequences = Arc::clone(self);
        connection.create_scalar_function("pg_next_id", 2, FunctionFlags::SQLITE_UTF8, move |context| {
            let table = context.get_raw(0).as_str().map_err(|e| rusqlite::Error::UserFunctionError(e.into()))?;
            let column = context.get_raw(1).as_str().map_err(|e| rusqlite::Error::UserFunctionError(e.into()))?;
            sequences.next(table, column).map_err(|error| functions::raise(&error))
        })
    }

    /// Takes the next number.
    pub(super) fn next(&self, table: &str, column: &str) -> Result<i64, Error> {
        let state = &mut *self.state.lock();
        if let Some(again) = state.replayed.pop_front() {
            // SQLite may evaluate a row twice when a trigger looks at it first.
            state.replayed.push_back(again);
            return Ok(again);
        }
        let sequence = self.entry(state, table, column)?;
        let value = sequence.next;
        sequence.next = value.checked_add(sequence.step).ok_or_else(|| exhausted(table, column, i64::MAX))?;
        sequence.changed = true;
        state.changed = true;
        if state.given.len() < REMEMBERED {
            state.given.push(value);
        }
        remember(&mut state.last, table, column, value);
        self.check_range(table, column, value).map(|()| value)
    }

    /// Makes a number the next one, and gives it.
    fn set(&self, table: &str, column: &str, next: i64) -> Result<i64, Error> {
        let state = &mut *self.state.lock();
        let sequence = self.entry(state, table, column)?;
        sequence.next = next;
        sequence.changed = true;
        state.changed = true;
        Ok(next)
    }

    fn entry<'s>(&self, state: &'s mut State, table: &str, column: &str) -> Result<&'s mut Sequence, Error> {
        let State { tables, stored, .. } = state;
        if !tables.contains_key(table) {
            tables.insert(table.into(), Vec::new());
        }
        let Some(sequences) = tables.get_mut(table) else { return Err(Error::internal("a sequence was lost")) };
        let at = match sequences.iter().position(|sequence| &*sequence.column == column) {
            Some(at) => at,
            None => {
                let (next, step) = self.beginning(stored, table)?;
                sequences.push(Sequence { column: column.into(), next, step, changed: false });
                sequences.len() - 1
            }
        };
        Ok(&mut sequences[at])
    }

    /// A statement begins: what it is given can be given again.
    pub(super) fn begin_statement(&self) {
        let state = &mut *self.state.lock();
        state.given.clear();
        state.last.clear();
    }

    /// What the last statement was given.
    pub(super) fn numbers(&self) -> Numbers {
        match std::mem::take(&mut self.state.lock().last) {
            none if none.is_empty() => Numbers::Untold,
            last => Numbers::Given(last),
        }
    }

    /// Until the guard is dropped, gives what the last statement was given.
    pub(super) fn replay(&self) -> Replay<'_> {
        let state = &mut *self.state.lock();
        state.replayed = state.given.iter().copied().collect();
        Replay(self)
    }

    /// First number and step of a table's columns.
    fn beginning(&self, stored: &Schema, table: &str) -> Result<(i64, i64), Error> {
        match self.kind(stored, table) {
            Some(TableKind::Sharded { .. }) => Ok((i64::from(self.shard.0), STEP)),
            Some(TableKind::Reference) => Ok((1, 1)),
            None => Err(Error::new(SqlState::UNDEFINED_TABLE, format!("relation \"{table}\" does not exist"))),
        }
    }

    fn kind(&self, stored: &Schema, table: &str) -> Option<TableKind> {
        let known = self.schema.load();
        stored.table(table).or_else(|| known.table(table)).map(|table| table.kind)
    }

    pub(super) fn is_reference(&self, table: &str) -> bool {
        self.kind(&self.state.lock().stored, table) == Some(TableKind::Reference)
    }

    fn check_range(&self, table: &str, column: &str, value: i64) -> Result<(), Error> {
        let schema = self.schema.load();
        let declared = schema.table(table).and_then(|table| table.column(column)).map(|(_, column)| column.data_type);
        let most = match declared {
            Some(PgType::Int2) => i64::from(i16::MAX),
            Some(PgType::Int4) => i64::from(i32::MAX),
            _ => i64::MAX,
        };
        if value > most { Err(exhausted(table, column, most)) } else { Ok(()) }
    }

    /// Writes what was given out since the last time, in the connection's open transaction.
    pub(super) fn store(&self, connection: &Connection) -> rusqlite::Result<()> {
        let state = &mut *self.state.lock();
        if !state.changed {
            return Ok(());
        }
        let mut statement = connection.prepare_cached(
            "INSERT INTO shardd_sequence (table_name, column_name, next, step) VALUES (?1, ?2, ?3, ?4) \
             ON CONFLICT DO UPDATE SET next = excluded.next, step = excluded.step",
        )?;
        for (table, sequences) in &state.tables {
            for sequence in sequences.iter().filter(|sequence| sequence.changed) {
                statement.execute((&**table, &*sequence.column, sequence.next, sequence.step))?;
            }
        }
        for sequence in state.tables.values_mut().flatten() {
            sequence.changed = false;
        }
        state.changed = false;
        Ok(())
    }

    /// What was stored was rolled back: it has to be stored again.
    pub(super) fn store_again(&self) {
        let state = &mut *self.state.lock();
        for sequence in state.tables.values_mut().flatten() {
            sequence.changed = true;
            state.changed = true;
        }
    }

    /// Forgets what it knows and reads it: tables were made or dropped, or rows came from another shard.
    pub(super) fn reload(&self, connection: &Connection) -> rusqlite::Result<()> {
        let mut read: HashMap<Box<str>, Vec<Sequence>> = HashMap::new();
        let mut statement =
            connection.prepare_cached("SELECT table_name, column_name, next, step FROM shardd_sequence")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let sequence = Sequence { column: row.get(1)?, next: row.get(2)?, step: row.get(3)?, changed: false };
            read.entry(row.get(0)?).or_default().push(sequence);
        }
        let stored = schema::read_lenient(connection)?;
        *self.state.lock() = State { tables: read, stored, ..State::default() };
        Ok(())
    }
}

/// A statement runs again.
pub(super) struct Replay<'a>(&'a Sequences);

impl Drop for Replay<'_> {
    fn drop(&mut self) {
        self.0.state.lock().replayed.clear();
    }
}

fn remember(last: &mut Vec<Given>, table: &str, column: &str, number: i64) {
    let known = last.iter().position(|given| *given.column == *column && *given.table == *table);
    let given = match known {
        Some(at) => Given { number, ..last.remove(at) },
        None => Given { table: table.into(), column: column.into(), number },
    };
    last.push(given);
}

fn exhausted(table: &str, column: &str, most: i64) -> Error {
    Error::new(
        SqlState::SEQUENCE_GENERATOR_LIMIT_EXCEEDED,
        format!("nextval: reached maximum value of sequence \"{table}_{column}_seq\" ({most})"),
    )
    .hint("Make the column a bigint.")
}
