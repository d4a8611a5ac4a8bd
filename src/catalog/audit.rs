//! Who changed the topology, when, and how: appended in the transaction of the change itself.

use std::time::{SystemTime, UNIX_EPOCH};

use sqlx::{Sqlite, Transaction};

use super::{Catalog, CatalogError, topology_rows};
use crate::types::Epoch;

/// One change of the topology.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct AuditEntry {
    /// Microseconds since 1970, UTC.
    pub at_us: i64,
    /// Who asked for it: a user of the admin door, or `shardd` itself.
    pub actor: String,
    /// The epoch that the change made.
    pub epoch: u64,
    pub action: String,
    pub detail: String,
}

impl Catalog {
    /// The latest changes, newest first, at most `limit`.
    ///
    /// # Errors
    /// The catalog cannot be read.
    pub async fn audit_log(&self, limit: u32) -> Result<Vec<AuditEntry>, CatalogError> {
        let rows: Vec<(i64, String, i64, String, String)> =
            sqlx::query_as("SELECT at_us, actor, epoch, action, detail FROM audit ORDER BY id DESC LIMIT ?")
                .bind(i64::from(limit))
                .fetch_all(&self.pool)
                .await?;
        let entry = |(at_us, actor, epoch, action, detail): (i64, String, i64, String, String)| AuditEntry {
            at_us,
            actor,
            epoch: epoch.unsigned_abs(),
            action,
            detail,
        };
        Ok(rows.into_iter().map(entry).collect())
    }
}

pub(super) async fn append(
    transaction: &mut Transaction<'_, Sqlite>,
    actor: &str,
    epoch: Epoch,
    action: &str,
    detail: &str,
) -> Result<(), CatalogError> {
    sqlx::query("INSERT INTO audit (at_us, actor, epoch, action, detail) VALUES (?, ?, ?, ?, ?)")
        .bind(now_us())
        .bind(actor)
        .bind(topology_rows::stored_epoch(epoch)?)
        .bind(action)
        .bind(detail)
        .execute(&mut **transaction)
        .await?;
    Ok(())
}

/// Microseconds since 1970, UTC.
pub(super) fn now_us() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_micros()).unwrap_or(i64::MAX)
}
