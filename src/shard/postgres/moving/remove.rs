//! What is left to do when a move has ended, either way: rows that are not the shard's are deleted, and nothing stays of what the
//! move has made.

use super::table::{KeyText, MovedTable, lines};
use super::{PostgresMove, capture, prepare};
use crate::error::{Error, Result, SqlState};

const BATCH_ROWS: u64 = 2_000;

/// One of a move's two shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Source,
    Target,
}

impl PostgresMove {
    /// Opens what is needed to end a move, of tables that may be gone or changed since it began.
    ///
    /// # Errors
    /// A shard's.
    pub async fn open_to_end(&mut self) -> Result<()> {
        self.token.take_over(&mut self.source).await?;
        self.token.take_over(&mut self.target).await?;
        for session in [&mut self.source, &mut self.target] {
            match session.be_replica().await {
                Err(error) if error.sqlstate() == SqlState::INSUFFICIENT_PRIVILEGE => {}
                outcome => outcome?,
            }
        }
        self.tables.clear();
        for table in self.wanted.clone() {
            match prepare::read(&mut self.source, std::slice::from_ref(&table)).await {
                Ok(read) => self.tables.extend(read),
                // It has gone, or changed so that nothing of it could be moved.
                Err(error) if is_of_table(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Takes back whatever transaction is open on either shard.
    pub async fn let_go(&mut self) {
        self.source.roll_back().await;
        self.target.roll_back().await;
    }

    /// Waits for whatever an earlier connection of the move has left running on either shard.
    ///
    /// # Errors
    /// A shard's.
    pub async fn take_over(&mut self) -> Result<()> {
        self.token.take_over(&mut self.source).await?;
        self.token.take_over(&mut self.target).await
    }

    /// Lets the giving shard note nothing more.
    ///
    /// # Errors
    /// 55P03: a table is in use for too long; try again.
    pub async fn stop_capture(&mut self) -> Result<()> {
        for table in &self.tables {
            self.token.begin(&mut self.source).await?;
            self.source
                .run(&format!("SET LOCAL lock_timeout = '200ms'; {}", capture::remove_triggers(self.id, table)))
                .await?;
            self.source.commit().await?;
        }
        for row in self.source.ask(&capture::leftovers(self.id)).await? {
            if let Some(text) = row.first().cloned().flatten() {
                self.source.ask(&text).await?;
            }
        }
        Ok(())
    }

    /// Whether anything was copied.
    ///
    /// # Errors
    /// The shard's.
    pub async fn has_copied(&mut self) -> Result<bool> {
        let query = format!("SELECT 1 FROM shardd.move_progress WHERE move = {} LIMIT 1", self.token.literal());
        Ok(!self.target.ask(&query).await?.is_empty())
    }

    /// Deletes the moving rows on the shard that gave them.
    ///
    /// # Errors
    /// The shard's.
    pub async fn delete_given(&mut self) -> Result<()> {
        self.delete(End::Source).await
    }

    /// Deletes the copies on the shard that was to take them.
    ///
    /// # Errors
    /// The shard's.
    pub async fn delete_copies(&mut self) -> Result<()> {
        self.delete(End::Target).await
    }

    /// Forgets the move on both shards: the last thing that is done there.
    ///
    /// # Errors
    /// A shard's.
    pub async fn forget(&mut self) -> Result<()> {
        self.token.forget(&mut self.source).await?;
        self.token.forget(&mut self.target).await
    }

    async fn delete(&mut self, end: End) -> Result<()> {
        for table in self.tables.clone() {
            let mut after: Option<KeyText> = None;
            loop {
                after = self.delete_batch(end, &table, after.as_ref()).await?;
                if after.is_none() {
                    break;
                }
            }
        }
        Ok(())
    }

    async fn delete_batch(&mut self, end: End, table: &MovedTable, after: Option<&KeyText>) -> Result<Option<KeyText>> {
        let session = match end {
            End::Source => &mut self.source,
            End::Target => &mut self.target,
        };
        let moving = table.in_slots("it", &self.slots);
        let begin = after.map_or("true".to_owned(), |key| table.key_compares("it", ">", key));
        self.token.begin(session).await?;
        let last = format!(
            "COPY (SELECT {} FROM {} it WHERE {begin} AND {moving} ORDER BY {} OFFSET {} LIMIT 1) TO STDOUT",
            table.columns("it"),
            table.sql_name(),
            table.key("it"),
            BATCH_ROWS - 1
        );
        let last = session.copy_out(&last, usize::MAX).await?.unwrap_or_default();
        let last: Option<KeyText> = lines(&last).next().map(|line| table.key_of_line(&line));
        let until = last.as_ref().map_or("true".to_owned(), |key| table.key_compares("it", "<=", key));
        session.run(&format!("DELETE FROM {} it WHERE {begin} AND {until} AND {moving}", table.sql_name())).await?;
        session.commit().await?;
        Ok(last)
    }
}

fn is_of_table(error: &Error) -> bool {
    matches!(error.sqlstate(), SqlState::FEATURE_NOT_SUPPORTED | SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE)
}
