//! Copying a table's moving rows, in chunks by primary key.
//!
//! How far it has come is stored on the taking shard, in the transaction that writes the chunk's rows: a chunk is there once,
//! whatever crashes.

use super::super::session_state::quoted;
use super::table::{KeyText, MovedTable, lines};
use super::{PostgresMove, capture};
use crate::error::{Error, Result, SqlState};

pub(super) const FIRST_CHUNK_ROWS: u64 = 200;
const MOST_CHUNK_ROWS: u64 = 20_000;
/// What a chunk should be.
const CHUNK_BYTES: usize = 4 << 20;
/// What it may be at most in memory, unless one row alone is more.
pub(super) const MOST_CHUNK_BYTES: usize = 64 << 20;

/// What one chunk has copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    pub rows: u64,
    pub bytes: u64,
    /// The table is copied.
    pub done: bool,
}

/// How far a table is copied.
#[derive(Debug, Default)]
struct Place {
    after: Option<KeyText>,
    done: bool,
}

impl PostgresMove {
    /// All that was copied before, of all tables: rows and bytes.
    ///
    /// # Errors
    /// The shard's.
    pub async fn copied(&mut self) -> Result<(u64, u64)> {
        let query = format!(
            "SELECT COALESCE(sum(rows), 0)::int8, COALESCE(sum(bytes), 0)::int8 FROM shardd.move_progress WHERE move = {}",
            self.token.literal()
        );
        let rows = self.target.ask(&query).await?;
        let number = |place: usize| rows.first().and_then(|row| row.get(place)?.as_deref()?.parse().ok()).unwrap_or(0);
        Ok((number(0), number(1)))
    }

    /// Copies the next chunk of a table.
    ///
    /// # Errors
    /// A shard's, or somebody else has taken the move over.
    pub async fn copy_chunk(&mut self, number: usize) -> Result<Copied> {
        let Some(table) = self.tables.get(number).cloned() else {
            return Ok(Copied { done: true, ..Copied::default() });
        };
        let place = self.place(&table).await?;
        if place.done {
            return Ok(Copied { done: true, ..Copied::default() });
        }
        let after = place.after.as_ref().map_or("true".to_owned(), |key| table.key_compares("it", ">", key));
        let (rows, copied) = loop {
            let rows = self.chunk_rows;
            let query = format!(
                "COPY (SELECT {} FROM {} it WHERE {after} AND {} ORDER BY {} LIMIT {rows}) TO STDOUT",
                table.columns("it"),
                table.sql_name(),
                table.in_slots("it", &self.slots),
                table.key("it"),
            );
            self.source.open().await?;
            // One row is taken whatever its size.
            let most = if rows == 1 { usize::MAX } else { MOST_CHUNK_BYTES };
            match self.source.copy_out(&query, most).await? {
                Some(copied) => break (rows, copied),
                None => self.chunk_rows = (rows / 8).max(1),
            }
        };
        let count = lines(&copied).count() as u64;
        let last = lines(&copied).last().map(|line| table.key_of_line(&line));
        let done = count < rows;
        let bytes = copied.len() as u64;
        let last = last.or(place.after);
        self.chunk_rows = next_rows(rows, copied.len());
        match self.write_chunk(&table, &copied, last.as_ref(), done).await {
            Err(error) if is_violation(&error) => {
                // A row that lies there with values of before is in the way; what changes them was noted, or will be.
                self.note_keys(&table, &copied).await?;
                self.write_chunk(&table, &[], last.as_ref(), done).await?;
            }
            written => written?,
        }
        Ok(Copied { rows: count, bytes, done })
    }

    async fn place(&mut self, table: &MovedTable) -> Result<Place> {
        let query = format!(
            "SELECT place, done FROM shardd.move_progress WHERE move = {} AND tbl = '{}'",
            self.token.literal(),
            table.tag
        );
        let rows = self.target.ask(&query).await?;
        let Some(row) = rows.first() else { return Ok(Place::default()) };
        let text = |place: usize| row.get(place).cloned().flatten();
        Ok(Place { after: text(0), done: text(1).as_deref() == Some("t") })
    }

    async fn write_chunk(&mut self, table: &MovedTable, rows: &[u8], last: Option<&KeyText>, done: bool) -> Result<()> {
        self.token.begin(&mut self.target).await?;
        let count = match rows.is_empty() {
            true => 0,
            false => {
                let text = format!("COPY {} ({}) FROM STDIN", table.sql_name(), table.columns(""));
                self.target.copy_in(&text, rows).await?
            }
        };
        let progress = format!(
            "INSERT INTO shardd.move_progress AS it (move, tbl, done, place, rows, bytes) \
             VALUES ({}, '{tag}', {done}, {}, {count}, {bytes}) \
             ON CONFLICT (move, tbl) DO UPDATE SET done = excluded.done, place = excluded.place, \
             rows = it.rows + excluded.rows, bytes = it.bytes + excluded.bytes",
            self.token.literal(),
            last.map_or("NULL".to_owned(), |key| quoted(key)),
            tag = table.tag,
            bytes = rows.len(),
        );
        self.target.run(&progress).await?;
        self.target.commit().await
    }

    /// Has the rows of a chunk copied when changes are caught up with.
    async fn note_keys(&mut self, table: &MovedTable, rows: &[u8]) -> Result<()> {
        let keys: String = lines(rows).map(|line| format!("{}\n", table.key_of_line(&line))).collect();
        self.token.begin(&mut self.source).await?;
        let text = format!("COPY {} FROM STDIN", capture::dirty_table(self.id, table));
        self.source.copy_in(&text, keys.as_bytes()).await?;
        self.source.commit().await
    }
}

/// How many rows the next chunk should have: a quarter to four times as many as the last.
pub(super) fn next_rows(rows: u64, bytes: usize) -> u64 {
    let wanted = rows * CHUNK_BYTES as u64 / (bytes as u64).max(1);
    wanted.clamp((rows / 4).max(1), rows * 4).min(MOST_CHUNK_ROWS)
}

/// Whether a row is refused because of another row.
fn is_violation(error: &Error) -> bool {
    /// Of an exclusion constraint.
    const EXCLUSION_VIOLATION: &str = "23P01";
    error.sqlstate() == SqlState::UNIQUE_VIOLATION || error.code() == EXCLUSION_VIOLATION
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_grow_and_shrink_with_their_rows() {
        assert_eq!(next_rows(200, 20_000), 800, "small rows: no more than four times as many at once");
        assert_eq!(next_rows(1_000, CHUNK_BYTES * 2), 500);
        assert_eq!(next_rows(1_000, CHUNK_BYTES * 100), 250, "no less than a quarter");
        assert_eq!(next_rows(1, usize::MAX), 1);
        assert_eq!(next_rows(20_000, 0), MOST_CHUNK_ROWS);
    }
}
