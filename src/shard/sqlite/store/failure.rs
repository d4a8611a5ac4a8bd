//! SQLite's errors as a client is told of them, but for broken constraints.
//!
//! <https://www.sqlite.org/rescode.html>

use rusqlite::ffi;

use crate::error::{Error, Fault, Retry, SqlState};
use crate::shard::sqlite::functions;

/// Why a statement did not run to its end.
#[derive(Debug)]
pub(super) enum Failure {
    /// Said by the store itself.
    Told(Error),
    /// Said by SQLite, which may know more if it is asked.
    Sqlite(rusqlite::Error),
    /// A read that takes too long for the thread it runs on, or returns too much.
    TooLong,
    /// Nobody takes its rows any more.
    Abandoned,
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Failure {
        Failure::Sqlite(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Told(error)
    }
}

/// The error's SQLite code (extended) and text.
pub(super) fn parts(error: &rusqlite::Error) -> Option<(i32, &str)> {
    match error {
        rusqlite::Error::SqliteFailure(code, text) => Some((code.extended_code, text.as_deref().unwrap_or(""))),
        rusqlite::Error::SqlInputError { error, msg, .. } => Some((error.extended_code, msg)),
        _ => None,
    }
}

/// The primary code of an extended one.
pub(super) fn primary(extended: i32) -> i32 {
    extended & 0xff
}

/// What a client of the shard called `shard` is told.
pub(super) fn translate(shard: &str, error: &rusqlite::Error) -> Error {
    if let Some(raised) = functions::raised(error) {
        return raised;
    }
    let Some((extended, text)) = parts(error) else {
        return Error::internal(format!("shard \"{shard}\": {error}"));
    };
    match primary(extended) {
        ffi::SQLITE_ERROR => statement_error(shard, text),
        ffi::SQLITE_TOOBIG => Error::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "a value or row is too large")
            .hint("Store less in one value, or raise the shard's limit value_bytes."),
        ffi::SQLITE_MISMATCH => {
            Error::new(SqlState::DATATYPE_MISMATCH, "a value does not have its column's type").detail(text)
        }
        ffi::SQLITE_BUSY if extended == ffi::SQLITE_BUSY_SNAPSHOT => {
            Error::new(SqlState::SERIALIZATION_FAILURE, "could not serialize access due to concurrent update")
                .retry(Retry::Safe)
        }
        code => shard_error(shard, code, text),
    }
}

/// SQLITE_ERROR: of the statement, in words only.
fn statement_error(shard: &str, text: &str) -> Error {
    if let Some(table) = text.strip_prefix("no such table: ") {
        let table = table.strip_prefix("main.").unwrap_or(table);
        return Error::new(SqlState::UNDEFINED_TABLE, format!("relation \"{table}\" does not exist"));
    }
    if let Some(column) = text.strip_prefix("no such column: ") {
        let column = column.split(" - should this be").next().unwrap_or(column).trim_matches('"');
        return Error::new(SqlState::UNDEFINED_COLUMN, format!("column \"{column}\" does not exist"));
    }
    if text == "integer overflow" {
        return Error::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "bigint out of range");
    }
    if text.starts_with("malformed JSON") {
        return Error::new(SqlState::INVALID_TEXT_REPRESENTATION, "invalid input syntax for type json");
    }
    if text.starts_with("subqueries prohibited in") {
        return Error::unsupported(
            "greatest, least or ANY of an array that is not written out, in a CHECK or an index,",
            "Use IN, or compare with AND and OR.",
        );
    }
    if let Some(which) = text.strip_suffix(" offset must be a non-negative integer") {
        let message = format!("{which} offset must not be negative");
        return Error::new(SqlState::INVALID_PRECEDING_OR_FOLLOWING_SIZE, message);
    }
    let too_complex = ["Expression tree is too large", "parser stack overflow", "too many terms in compound SELECT"];
    if too_complex.iter().any(|known| text.starts_with(known)) {
        return Error::new(SqlState::STATEMENT_TOO_COMPLEX, "the statement is too complex").detail(text);
    }
    if text.starts_with("too many") {
        return Error::new(SqlState::PROGRAM_LIMIT_EXCEEDED, text).hint("Split the statement into smaller ones.");
    }
    Error::internal(format!("shard \"{shard}\": {text}"))
}

/// The shard cannot do its work.
fn shard_error(shard: &str, code: i32, text: &str) -> Error {
    let (sqlstate, what, hint) = match code {
        ffi::SQLITE_FULL => (SqlState::DISK_FULL, "has no space left", "Free space on its disk; nothing was written."),
        ffi::SQLITE_NOMEM => {
            (SqlState::OUT_OF_MEMORY, "ran out of memory", "Give shardd more memory, or ask for less.")
        }
        ffi::SQLITE_CORRUPT => (
            SqlState::DATA_CORRUPTED,
            "is damaged",
            "Stop shardd, keep a copy of the file and its -wal file, and restore a backup.",
        ),
        ffi::SQLITE_NOTADB => (
            SqlState::DATA_CORRUPTED,
            "is not a SQLite file",
            "Check the shard's URL; restore a backup if it is right.",
        ),
        ffi::SQLITE_READONLY => (
            SqlState::READ_ONLY_SQL_TRANSACTION,
            "cannot be written",
            "Check the permissions of the file, its directory and its file system.",
        ),
        ffi::SQLITE_CANTOPEN => (
            SqlState::IO_ERROR,
            "cannot be opened",
            "Check that its directory exists, that it may be written, and the limit on open files.",
        ),
        ffi::SQLITE_BUSY | ffi::SQLITE_LOCKED | ffi::SQLITE_PROTOCOL => (
            SqlState::LOCK_NOT_AVAILABLE,
            "is locked by another process",
            "Only shardd may have a shard's file open: end the other program (a sqlite3 shell, a backup tool).",
        ),
        ffi::SQLITE_IOERR => {
            (SqlState::IO_ERROR, "failed to read or write its file", "Look into the disk and the system's log.")
        }
        _ => return Error::internal(format!("shard \"{shard}\": SQLite error {code}: {text}")),
    };
    let error = Error::new(sqlstate, format!("shard \"{shard}\" {what}")).hint(hint).fault(Fault::Shard);
    let error = if text.is_empty() { error } else { error.detail(text) };
    match code {
        ffi::SQLITE_FULL | ffi::SQLITE_BUSY | ffi::SQLITE_LOCKED | ffi::SQLITE_PROTOCOL => error.retry(Retry::Safe),
        _ => error,
    }
}
