//! What a statement gives back: columns, rows as they stream, and a command tag.

use std::sync::Arc;

use bytes::Bytes;

use super::copy_in::CopyIn;
use super::recording::Recording;
use crate::error::{Error, Result};
use crate::shard::{Numbers, OutputColumn, Written};
pub use crate::shard::{RowBatch, Rows};
use crate::types::Format;

/// A statement's answer. Dropping it ends the statement.
#[derive(Debug)]
pub struct Answer {
    /// `None` for a statement that returns no rows: no RowDescription is sent.
    pub columns: Option<Arc<[OutputColumn]>>,
    /// The whole frame that describes them in the formats asked for, where a shard has sent it.
    pub row_description: Option<Bytes>,
    pub rows: Rows,
    /// The tag's words: `SELECT`, `INSERT 0`, `BEGIN`. The row count is added where `counts` says so.
    pub tag: &'static str,
    /// The number at the end of the tag: of rows written, when that is known now; the rows returned, otherwise.
    pub count: TagCount,
    /// It is a COPY, which goes on between its door and its client.
    pub copy: Option<Copying>,
    /// Counts the statement when the answer is dropped.
    pub(super) recording: Option<Recording>,
}

/// What a COPY's client does next.
#[derive(Debug)]
pub enum Copying {
    /// It sends rows, for [`Session::copy_data`](super::Session::copy_data).
    In(Box<CopyIn>),
    /// It is sent the answer's rows, which are CopyData messages.
    Out { columns: usize, format: Format },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TagCount {
    None,
    Written(u64),
    Returned,
}

impl Answer {
    /// All of a write's answer.
    ///
    /// # Errors
    /// The shard failed after the rows had begun; it is no write's.
    pub(super) async fn into_written(mut self) -> Result<Written> {
        let mut rows = RowBatch::default();
        while let Some(batch) = self.next().await? {
            rows.frames.unsplit(batch.frames);
            rows.rows += batch.rows;
        }
        let TagCount::Written(affected) = self.count else {
            return Err(Error::internal("a write does not tell how many rows it wrote"));
        };
        let numbers = Numbers::Untold;
        Ok(Written { rows, affected, columns: self.columns, row_description: self.row_description, numbers })
    }

    /// An answer that nobody counts.
    pub fn new(columns: Option<Arc<[OutputColumn]>>, rows: Rows, tag: &'static str, count: TagCount) -> Answer {
        Answer { columns, row_description: None, rows, tag, count, recording: None, copy: None }
    }

    /// A text with no statement in it.
    pub(super) fn empty() -> Answer {
        Answer::command("")
    }

    /// A statement that returns nothing but its tag.
    pub(super) fn command(tag: &'static str) -> Answer {
        Answer::new(None, Rows::Ready(RowBatch::default()), tag, TagCount::None)
    }

    /// The next batch of rows, when it can be told without waiting.
    pub fn at_hand(&mut self) -> Option<Option<RowBatch>> {
        match &mut self.rows {
            Rows::Ready(batch) if batch.rows == 0 => Some(None),
            Rows::Ready(batch) => Some(Some(std::mem::take(batch))),
            _ => None,
        }
    }

    /// The next batch of rows, or `None` at the end.
    ///
    /// # Errors
    /// A shard failed after the answer had begun.
    pub async fn next(&mut self) -> Result<Option<RowBatch>> {
        self.rows.next().await
    }

    /// The command tag, once `returned` rows were sent.
    pub fn tag(&self, returned: u64) -> String {
        match self.count {
            TagCount::None => self.tag.to_owned(),
            TagCount::Written(rows) => format!("{} {rows}", self.tag),
            TagCount::Returned => format!("{} {returned}", self.tag),
        }
    }
}
