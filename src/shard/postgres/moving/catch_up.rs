//! Bringing the taking shard up to what has changed on the giving one.
//!
//! The noted keys are taken, and in a later statement, which sees all that was committed before it, their rows are read as they
//! are now. The taking shard gets exactly those; its transaction is committed first. So a crash between the two does all of it
//! again, to the same end.

use super::PostgresMove;
use super::capture;
use super::copy::MOST_CHUNK_BYTES;
use super::table::MovedTable;
use crate::error::Result;

const FIRST_BATCH_KEYS: u64 = 5_000;

/// A table of the connection's own, for keys or rows of one batch.
fn make(name: &str, columns: &str, table: &MovedTable) -> String {
    format!(
        "CREATE TEMP TABLE IF NOT EXISTS {name} ON COMMIT DELETE ROWS AS SELECT {columns} FROM {} WITH NO DATA",
        table.sql_name()
    )
}

impl PostgresMove {
    /// Brings every table up once to what was noted before. Gives how many keys were noted.
    ///
    /// # Errors
    /// A shard's, or somebody else has taken the move over.
    pub async fn catch_up(&mut self) -> Result<u64> {
        let mut all = 0;
        for table in self.tables.clone() {
            let mut most = FIRST_BATCH_KEYS;
            loop {
                match self.catch_up_batch(&table, most).await? {
                    // Their rows are too large together.
                    None => most = (most / 8).max(1),
                    Some(0) => break,
                    Some(keys) => {
                        all += keys;
                        if keys < most {
                            break;
                        }
                    }
                }
            }
        }
        Ok(all)
    }

    /// Whether nothing is noted that the taking shard does not have.
    ///
    /// # Errors
    /// The shard's.
    pub async fn is_caught_up(&mut self) -> Result<bool> {
        for table in &self.tables {
            let query = format!("SELECT 1 FROM {} LIMIT 1", capture::dirty_table(self.id, table));
            if !self.source.ask(&query).await?.is_empty() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether what notes changes is there for all tables.
    ///
    /// # Errors
    /// The shard's.
    pub async fn is_capturing(&mut self) -> Result<bool> {
        for table in &self.tables {
            if self.source.ask(&capture::is_installed(self.id, table)).await?.is_empty() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn catch_up_batch(&mut self, table: &MovedTable, most: u64) -> Result<Option<u64>> {
        let dirty = capture::dirty_table(self.id, table);
        if self.source.ask(&format!("SELECT 1 FROM {dirty} LIMIT 1")).await?.is_empty() {
            return Ok(Some(0));
        }
        let (keys, rows) = (format!("pg_temp.keys_{}", table.tag), format!("pg_temp.rows_{}", table.tag));
        let key = table.key("");
        self.source.ask(&make(&keys, &key, table)).await?;
        self.target.ask(&format!("{}; {}", make(&keys, &key, table), make(&rows, &table.columns(""), table))).await?;

        self.token.begin(&mut self.source).await?;
        let take = format!(
            "WITH gone AS (DELETE FROM {dirty} WHERE ctid = ANY (ARRAY(SELECT ctid FROM {dirty} LIMIT {most})) RETURNING *) \
             INSERT INTO {keys} SELECT * FROM gone"
        );
        let noted = self.source.change(&take).await?;
        let Some(taken) =
            self.source.copy_out(&format!("COPY (SELECT DISTINCT * FROM {keys}) TO STDOUT"), usize::MAX).await?
        else {
            return Ok(None);
        };
        let read = format!(
            "COPY (SELECT {} FROM {} it JOIN (SELECT DISTINCT * FROM {keys}) k ON {} WHERE {}) TO STDOUT",
            table.columns("it"),
            table.sql_name(),
            table.same_key("it", "k"),
            table.in_slots("it", &self.slots),
        );
        let most_bytes = if most == 1 { usize::MAX } else { MOST_CHUNK_BYTES };
        let Some(now) = self.source.copy_out(&read, most_bytes).await? else { return Ok(None) };

        self.token.begin(&mut self.target).await?;
        self.target.copy_in(&format!("COPY {keys} FROM STDIN"), &taken).await?;
        if !now.is_empty() {
            self.target.copy_in(&format!("COPY {rows} FROM STDIN"), &now).await?;
        }
        let name = table.sql_name();
        // Only copies: where a primary key is without the sharding key, a row that has it may be the taking shard's own by now.
        let copies = format!(
            "DELETE FROM {name} it USING {keys} k WHERE {} AND {}",
            table.same_key("it", "k"),
            table.in_slots("it", &self.slots)
        );
        self.target.run(&copies).await?;
        self.target
            .run(&format!(
                "INSERT INTO {name} ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} FROM {rows} ON CONFLICT DO NOTHING",
                columns = table.columns("")
            ))
            .await?;
        // A row of before that is in the way of a new one is noted itself, here or later: the new one comes after it.
        let left = format!(
            "COPY (SELECT {} FROM {rows} r WHERE NOT EXISTS (SELECT FROM {name} it WHERE {})) TO STDOUT",
            table.key("r"),
            table.same_key("it", "r"),
        );
        let left = self.target.copy_out(&left, usize::MAX).await?.unwrap_or_default();
        self.target.commit().await?;
        if !left.is_empty() {
            self.source.copy_in(&format!("COPY {dirty} FROM STDIN"), &left).await?;
        }
        self.source.commit().await?;
        Ok(Some(noted))
    }
}
