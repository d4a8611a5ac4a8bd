//! What goes to a shard and what comes back, whatever database it is.

use std::sync::Arc;

use bytes::Bytes;

use super::postgres::Use;
use super::{OutputColumn, RowBatch, Rows};
use crate::error::Error;
use crate::types::{Format, ShardId};

/// A Bind message's parameters, not yet decoded.
#[derive(Clone, Debug, Default)]
pub struct RawParameters {
    /// None: all text. One: for all. Otherwise one for each.
    pub formats: Vec<Format>,
    /// `None` is NULL.
    pub values: Vec<Option<Bytes>>,
}

/// What a shard tells of the numbers that a statement took from sequences.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Numbers {
    /// Nothing.
    #[default]
    Untold,
    /// A Postgres server remembers them for the connection that it ran on.
    Left(ShardId, Use),
    /// What the server remembered when it was asked, in the order of what was asked for.
    Told(Vec<i64>),
    /// The last that each column of a SQLite shard was given; the latest at the end.
    Given(Vec<Given>),
}

/// A number that a column was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    pub table: Box<str>,
    pub column: Box<str>,
    pub number: i64,
}

/// What an autocommitted write gave, once it is durable.
#[derive(Debug, Default)]
pub struct Written {
    /// Of RETURNING.
    pub rows: RowBatch,
    pub affected: u64,
    /// As in [`Output`].
    pub columns: Option<Arc<[OutputColumn]>>,
    /// As in [`Output`].
    pub row_description: Option<Bytes>,
    pub numbers: Numbers,
}

impl Written {
    /// Adds what the same statement gave elsewhere, or for other rows.
    pub fn append(&mut self, other: Written) {
        // All tell the same.
        self.columns = self.columns.take().or(other.columns);
        self.row_description = self.row_description.take().or(other.row_description);
        self.rows.frames.unsplit(other.rows.frames);
        self.rows.rows += other.rows.rows;
        self.affected += other.affected;
        if other.numbers != Numbers::Untold {
            self.numbers = other.numbers;
        }
    }
}

/// What a statement gave.
#[derive(Debug, Default)]
pub struct Output {
    /// As a Postgres shard told them with the rows; `None`: as they are known.
    pub columns: Option<Arc<[OutputColumn]>>,
    /// The RowDescription that told them, as a whole frame.
    pub row_description: Option<Bytes>,
    pub rows: Rows,
    /// Of a write.
    pub affected: u64,
    /// What the shard remarked.
    pub notices: Vec<Error>,
    pub numbers: Numbers,
}

/// What a transaction is begun for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionMode {
    /// Takes the writer before anything else: what it reads cannot change before it commits.
    Write,
    /// As `Write`, for changes of the schema: foreign keys are not enforced while tables are rebuilt.
    Schema,
    /// Reads one snapshot. Its first write takes the writer, and fails with 40001 when somebody committed since.
    Snapshot,
}
