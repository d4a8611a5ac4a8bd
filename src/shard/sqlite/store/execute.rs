//! Runs one program on one connection: binds its values, steps it, and writes its rows as Postgres frames.

use bytes::{BufMut, BytesMut};
use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Row, Statement};

use super::call::Call;
use super::cancel::{Gone, Stopped, Watch, Watching};
use super::connection::Backend;
use super::failure::{Failure, parts, primary};
use super::limits::BATCH_BYTES;
use crate::shard::RowBatch;
use crate::shard::sqlite::{Effect, storage};

/// Where a statement's rows go.
pub(super) trait Sink {
    /// Takes a batch that is full. The statement goes on after it.
    fn full(&mut self, batch: &mut RowBatch, watch: &Watch) -> Result<(), Failure>;
}

/// What remains when a statement has ended: the last batch, which is not full.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) rest: RowBatch,
    pub(super) affected: u64,
}

/// Room for most single rows.
const ONE_ROW_BYTES: usize = 256;

/// Runs the call to its end. `budget` is in ticks.
pub(super) fn run(backend: &Backend, call: &Call, budget: Option<u32>, sink: &mut impl Sink) -> Result<Ended, Failure> {
    if let Some(error) = call.cancel.error() {
        return Err(error.into());
    }
    let watching = backend.watch.arm(&call.cancel, budget);
    let ended = prepare_and_step(backend, call, sink);
    explain_end(call, &watching, ended)
}

/// Runs the call to its end, as long as somebody waits for it.
pub(super) fn run_while(
    backend: &Backend,
    call: &Call,
    gone: Option<Gone>,
    sink: &mut impl Sink,
) -> Result<Ended, Failure> {
    if let Some(error) = call.cancel.error() {
        return Err(error.into());
    }
    let watching = backend.watch.arm(&call.cancel, None);
    if let Some(gone) = gone {
        backend.watch.until(gone);
    }
    let ended = prepare_and_step(backend, call, sink);
    explain_end(call, &watching, ended)
}

/// Puts the watch's reason in the place of SQLite's "interrupted".
fn explain_end(call: &Call, watching: &Watching<'_>, ended: Result<Ended, Failure>) -> Result<Ended, Failure> {
    match ended {
        Err(Failure::Sqlite(error)) if is_interrupt(&error) => Err(match watching.stopped() {
            Some(Stopped::Canceled) => call.cancel.error().map_or(Failure::Abandoned, Failure::Told),
            Some(Stopped::Budget) => Failure::TooLong,
            Some(Stopped::Abandoned) => Failure::Abandoned,
            None => Failure::Sqlite(error),
        }),
        ended => ended,
    }
}

fn is_interrupt(error: &rusqlite::Error) -> bool {
    parts(error).is_some_and(|(code, _)| primary(code) == rusqlite::ffi::SQLITE_INTERRUPT)
}

/// Without a watch.
pub(super) fn prepare_and_step(backend: &Backend, call: &Call, sink: &mut impl Sink) -> Result<Ended, Failure> {
    // What fails may fail because it meets tables of another schema.
    step(backend, call, sink).map_err(|failure| backend.check_snapshot(call).err().map_or(failure, Failure::Told))
}

fn step(backend: &Backend, call: &Call, sink: &mut impl Sink) -> Result<Ended, Failure> {
    let mut statement = backend.connection.prepare_cached(&call.program.sql)?;
    bind(&mut statement, call)?;
    let mut batch = RowBatch::default();
    let mut rows = statement.raw_query();
    let mut next = rows.next()?;
    // The first step fixed the snapshot; no row was given out yet.
    backend.check_snapshot(call)?;
    while let Some(row) = next {
        if batch.rows == 0 {
            batch.frames.reserve(ONE_ROW_BYTES);
        }
        if batch.frames.len() >= BATCH_BYTES {
            sink.full(&mut batch, &backend.watch)?;
        }
        encode_row(row, call, &mut batch)?;
        next = rows.next()?;
    }
    drop(rows);
    drop(statement);
    let affected = if call.program.effect == Effect::Write { backend.connection.changes() } else { 0 };
    Ok(Ended { rest: batch, affected })
}

/// Binds the parameters, then what the statement asks of its session.
pub(super) fn bind(statement: &mut Statement<'_>, call: &Call) -> Result<(), Failure> {
    let environment = call.program.environment.iter().map(|asked| call.environment.value(*asked));
    let expected = statement.parameter_count();
    let mut index = 0;
    for datum in call.parameters.iter() {
        index += 1;
        // A parameter that the text does not mention (behind the last that it does) has no place to be bound to.
        if index <= expected {
            statement.raw_bind_parameter(index, storage::to_sqlite(datum)?)?;
        }
    }
    for value in environment {
        index += 1;
        if index <= expected {
            statement.raw_bind_parameter(index, Borrowed(value))?;
        }
    }
    if index < expected {
        return Err(Failure::Told(crate::error::Error::internal(format!(
            "a statement of {expected} parameters was given {index}"
        ))));
    }
    Ok(())
}

struct Borrowed<'a>(ValueRef<'a>);

impl ToSql for Borrowed<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(self.0))
    }
}

/// Appends a DataRow.
fn encode_row(row: &Row<'_>, call: &Call, batch: &mut RowBatch) -> Result<(), Failure> {
    let columns = &call.program.columns;
    let frames = &mut batch.frames;
    let start = frames.len();
    frames.put_u8(b'D');
    frames.put_u32(0);
    frames.put_u16(u16::try_from(columns.len()).map_err(|_| too_many_columns())?);
    for (index, column) in columns.iter().enumerate() {
        let value = row.get_ref(index)?;
        storage::encode(value, column.data_type, call.formats.of(index), &call.style, frames)?;
    }
    patch_length(frames, start + 1, frames.len() - start - 1)?;
    batch.rows += 1;
    Ok(())
}

fn patch_length(frames: &mut BytesMut, at: usize, length: usize) -> Result<(), Failure> {
    let length = i32::try_from(length).map_err(|_| {
        crate::error::Error::new(crate::error::SqlState::PROGRAM_LIMIT_EXCEEDED, "a row is larger than 2 GiB")
    })?;
    frames[at..at + 4].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

fn too_many_columns() -> Failure {
    Failure::Told(crate::error::Error::new(crate::error::SqlState::TOO_MANY_COLUMNS, "too many columns"))
}
