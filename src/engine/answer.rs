//! What a statement gives back: columns, rows as they stream, and a command tag.

use std::sync::Arc;

use bytes::BytesMut;

use crate::error::Result;
use crate::shard::sqlite::OutputColumn;

/// Whole DataRow frames, as the Postgres protocol writes them ('D', length, column count, columns), back to back.
#[derive(Debug, Default)]
pub struct RowBatch {
    pub frames: BytesMut,
    pub rows: usize,
}

impl RowBatch {
    /// Takes the first `rows` rows, leaving the rest here.
    pub fn split_rows(&mut self, rows: usize) -> RowBatch {
        if rows >= self.rows {
            return std::mem::take(self);
        }
        let mut end = 0;
        for _ in 0..rows {
            let length = u32::from_be_bytes([
                self.frames[end + 1],
                self.frames[end + 2],
                self.frames[end + 3],
                self.frames[end + 4],
            ]);
            end += 1 + length as usize;
        }
        self.rows -= rows;
        RowBatch { frames: self.frames.split_to(end), rows }
    }
}

/// Rows on their way.
#[derive(Debug)]
pub enum Rows {
    /// All of them (none, for a statement that returns no rows).
    Ready(RowBatch),
    /// Batches as the shards send them, in order.
    Stream(tokio::sync::mpsc::Receiver<Result<RowBatch>>),
}

/// A statement's answer. Dropping it ends the statement.
#[derive(Debug)]
pub struct Answer {
    /// `None` for a statement that returns no rows: no RowDescription is sent.
    pub columns: Option<Arc<[OutputColumn]>>,
    pub rows: Rows,
    /// The tag's words: `SELECT`, `INSERT 0`, `BEGIN`. The row count is added where `counts` says so.
    pub tag: &'static str,
    /// The number at the end of the tag: of rows written, when that is known now; the rows returned, otherwise.
    pub count: TagCount,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TagCount {
    None,
    Written(u64),
    Returned,
}

impl Answer {
    /// The next batch of rows, or `None` at the end.
    ///
    /// # Errors
    /// A shard failed after the answer had begun.
    pub async fn next(&mut self) -> Result<Option<RowBatch>> {
        match &mut self.rows {
            Rows::Ready(batch) if batch.rows == 0 => Ok(None),
            Rows::Ready(batch) => Ok(Some(std::mem::take(batch))),
            Rows::Stream(batches) => batches.recv().await.transpose(),
        }
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
