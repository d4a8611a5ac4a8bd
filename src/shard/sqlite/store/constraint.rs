//! SQLite's broken constraints as Postgres tells of them.

use super::call::Call;
use super::connection::Backend;
use super::failure::{Failure, parts, primary};
use super::shared::Shared;
use crate::error::{Error, SqlState};

/// What the client of a statement that failed is told. The statement's changes were taken back; its transaction is open.
pub(super) fn told(shared: &Shared, _backend: &Backend, _call: &Call, failure: Failure) -> Error {
    match failure {
        Failure::Sqlite(error) => told_of_batch(shared, &error),
        other => super::reader::told(shared, other),
    }
}

/// Without a call to look at.
pub(super) fn told_of_batch(shared: &Shared, error: &rusqlite::Error) -> Error {
    let Some((extended, text)) = parts(error) else { return shared.translate(error) };
    if primary(extended) != rusqlite::ffi::SQLITE_CONSTRAINT {
        return shared.translate(error);
    }
    let sqlstate = match extended {
        rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE
        | rusqlite::ffi::SQLITE_CONSTRAINT_PRIMARYKEY
        | rusqlite::ffi::SQLITE_CONSTRAINT_ROWID => SqlState::UNIQUE_VIOLATION,
        rusqlite::ffi::SQLITE_CONSTRAINT_NOTNULL => SqlState::NOT_NULL_VIOLATION,
        rusqlite::ffi::SQLITE_CONSTRAINT_CHECK => SqlState::CHECK_VIOLATION,
        rusqlite::ffi::SQLITE_CONSTRAINT_FOREIGNKEY | rusqlite::ffi::SQLITE_CONSTRAINT_TRIGGER => {
            SqlState::FOREIGN_KEY_VIOLATION
        }
        _ => SqlState::INTEGRITY_CONSTRAINT_VIOLATION,
    };
    Error::new(sqlstate, text)
}

/// A row that has no parent, found after tables were rebuilt.
pub(super) fn broken_foreign_key(table: &str, parent: &str) -> Error {
    Error::new(
        SqlState::FOREIGN_KEY_VIOLATION,
        format!("insert or update on table \"{table}\" violates a foreign key constraint"),
    )
    .detail(format!("A row has no match in table \"{parent}\"."))
    .table(table)
}
