//! Rows on their way from a shard to a client: whole Postgres frames, in batches.
//!
//! A shard writes the frames that the client's socket will carry, so that rows of one shard are never decoded between.

use bytes::{BufMut, BytesMut};
use tokio::sync::mpsc;

use super::postgres;
use crate::error::Result;

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

impl RowBatch {
    /// Each row's frame.
    pub fn row_frames(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest: &[u8] = &self.frames;
        std::iter::from_fn(move || {
            let length = rest.get(1..5)?;
            let length = 1 + u32::from_be_bytes([length[0], length[1], length[2], length[3]]) as usize;
            let (frame, after) = rest.split_at_checked(length)?;
            rest = after;
            Some(frame)
        })
    }

    /// Adds a row of texts.
    pub fn push_text_row(&mut self, values: &[impl AsRef<str>]) {
        let start = self.frames.len();
        self.frames.put_u8(b'D');
        self.frames.put_u32(0);
        self.frames.put_u16(values.len() as u16);
        for value in values {
            self.frames.put_u32(value.as_ref().len() as u32);
            self.frames.put_slice(value.as_ref().as_bytes());
        }
        let length = (self.frames.len() - start - 1) as u32;
        self.frames[start + 1..start + 5].copy_from_slice(&length.to_be_bytes());
        self.rows += 1;
    }
}

/// Rows on their way.
#[derive(Debug)]
pub enum Rows {
    /// All of them (none, for a statement that returns no rows).
    Ready(RowBatch),
    /// Batches as the shards send them, in order. Dropping the receiver ends the statement.
    Stream(mpsc::Receiver<Result<RowBatch>>),
    /// From a Postgres shard's connection.
    Postgres(Box<postgres::RowStream>),
}

impl Default for Rows {
    fn default() -> Rows {
        Rows::none()
    }
}

impl Rows {
    pub fn none() -> Rows {
        Rows::Ready(RowBatch::default())
    }

    /// The next batch of rows, or `None` at the end.
    ///
    /// # Errors
    /// The shard failed after the rows had begun.
    pub async fn next(&mut self) -> Result<Option<RowBatch>> {
        match self {
            Rows::Ready(batch) if batch.rows == 0 => Ok(None),
            Rows::Ready(batch) => Ok(Some(std::mem::take(batch))),
            Rows::Stream(batches) => batches.recv().await.transpose(),
            Rows::Postgres(rows) => rows.next().await,
        }
    }
}
