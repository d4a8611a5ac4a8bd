//! Databases that hold rows. Each kind answers with rows in frames of the Postgres protocol.

mod call;
mod cancel;
mod either;
mod output;
pub mod postgres;
mod rows;
pub mod sqlite;

pub use call::{Given, Numbers, Output, RawParameters, TransactionMode, Written};
pub use cancel::{CancelFlag, deadlock};
pub use either::{Beginning, Call, Program, Shard, ShardKind, ShardTransaction};
pub use output::{ForeignType, Formats, OutputColumn, Tag};
pub use rows::{RowBatch, Rows};

use crate::error::{Error, Retry, SqlState};

const SCHEMA_CHANGED: &str = "the schema changed while the statement waited for its shard";

/// A write that was translated for a schema that is no longer the shard's. Nothing was executed: it is translated and
/// run again, so that it fills the columns that there are now.
pub fn schema_changed() -> Error {
    Error::new(SqlState::SERIALIZATION_FAILURE, SCHEMA_CHANGED).retry(Retry::Safe)
}

/// Whether an error is [`schema_changed`].
pub fn is_schema_changed(error: &Error) -> bool {
    error.sqlstate() == SqlState::SERIALIZATION_FAILURE && error.message() == SCHEMA_CHANGED
}
