//! Redo records: the work of a statement that spans shards, kept until every shard has done it.
//!
//! A record is durable before any shard commits, and whoever finds it after a crash finishes it before serving. So all
//! shards do their part or, when the record was never written, none does. A part may be found although its shard did it
//! (the crash came before [`Catalog::redo_applied`]): applying must be repeatable, which the shard sees to.

use super::{Catalog, CatalogError};
use crate::types::ShardId;

/// One shard's part of a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedoPart {
    pub gid: String,
    pub shard: ShardId,
    pub payload: Vec<u8>,
}

impl Catalog {
    /// Records a statement's parts, all or none. Durable when it returns.
    ///
    /// # Errors
    /// There is a record of this id already, or it cannot be written.
    pub async fn record_redo(&self, gid: &str, parts: Vec<(ShardId, Vec<u8>)>) -> Result<(), CatalogError> {
        let mut transaction = self.begin().await?;
        for (shard, payload) in parts {
            sqlx::query("INSERT INTO redo (gid, shard, payload, state) VALUES (?, ?, ?, 'recorded')")
                .bind(gid)
                .bind(i64::from(shard.0))
                .bind(payload)
                .execute(&mut *transaction)
                .await
                .map_err(|error| match error.as_database_error() {
                    Some(database) if database.is_unique_violation() => CatalogError::RedoRecordExists(gid.to_owned()),
                    _ => CatalogError::Database(error),
                })?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// Parts that their shards may not have done, in the order in which they were recorded.
    ///
    /// # Errors
    /// The catalog cannot be read.
    pub async fn redo_undone(&self) -> Result<Vec<RedoPart>, CatalogError> {
        let rows: Vec<(String, i64, Vec<u8>)> =
            sqlx::query_as("SELECT gid, shard, payload FROM redo WHERE state = 'recorded' ORDER BY id")
                .fetch_all(&self.pool)
                .await?;
        let part = |(gid, shard, payload)| {
            let shard = u16::try_from(shard).map_err(|_| CatalogError::Corrupt(format!("redo for shard {shard}")))?;
            Ok(RedoPart { gid, shard: ShardId(shard), payload })
        };
        rows.into_iter().map(part).collect()
    }

    /// Notes that a shard has done its part, when its siblings could not yet. Repeatable.
    ///
    /// # Errors
    /// There is no such part.
    pub async fn redo_applied(&self, gid: &str, shard: ShardId) -> Result<(), CatalogError> {
        let changed = sqlx::query("UPDATE redo SET state = 'applied' WHERE gid = ? AND shard = ?")
            .bind(gid)
            .bind(i64::from(shard.0))
            .execute(&self.pool)
            .await?;
        if changed.rows_affected() == 0 {
            return Err(CatalogError::NoRedoRecord { gid: gid.to_owned(), shard: shard.0 });
        }
        Ok(())
    }

    /// Forgets the records whose every part is noted as applied. Repeatable.
    ///
    /// # Errors
    /// The catalog cannot be written.
    pub async fn forget_applied_redo(&self) -> Result<(), CatalogError> {
        sqlx::query("DELETE FROM redo WHERE gid NOT IN (SELECT gid FROM redo WHERE state = 'recorded')")
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Forgets a record, once every shard has done its part. Repeatable.
    ///
    /// # Errors
    /// The catalog cannot be written; the record is then found after the next start and its parts are applied again.
    pub async fn finish_redo(&self, gid: &str) -> Result<(), CatalogError> {
        sqlx::query("DELETE FROM redo WHERE gid = ?").bind(gid).execute(&self.pool).await?;
        Ok(())
    }
}
