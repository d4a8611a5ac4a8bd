//! The catalog gets a shard that is filled, and statements see it.

use std::sync::Arc;

use super::Joining;
use crate::catalog::CatalogError;
use crate::crash_point::{JoinStep, crash_point};
use crate::error::{Error, Result, Retry, SqlState};
use crate::shard::postgres::PostgresTransaction;
use crate::topology::{Schema, Topology};

/// Cancels whoever waits for the tables that are held, and may be about to write on one shard only. What goes through sessions
/// that know of the new shard is run again by them.
const CANCEL_WAITING: &str = "SELECT pg_cancel_backend(pid) FROM ( \
       SELECT DISTINCT waiting.pid FROM pg_locks held JOIN pg_locks waiting USING (locktype, database, relation) \
       JOIN pg_stat_activity a ON a.pid = waiting.pid \
       WHERE held.locktype = 'relation' AND held.pid = pg_backend_pid() AND held.mode = 'ShareLock' AND held.granted \
         AND NOT waiting.granted AND waiting.mode <> 'AccessShareLock' AND a.usename = session_user) AS found";

const RESTART: &str = "The catalog has the shard: restart shardd, which opens what the catalog has.";

impl Joining<'_> {
    /// The catalog may be ahead of what statements see. What a shard of the catalog's holds is no leftover.
    ///
    /// # Errors
    /// It has a shard of this name or URL, or has changed since.
    pub(super) async fn refuse_known(&self) -> Result<()> {
        let known = self.engine.catalog.load().await?.ok_or(CatalogError::Empty)?;
        if let Err(error) = known.with_shard(self.spec.numbered(self.shard.id()), &[]) {
            return Err(Error::from(CatalogError::from(error)).hint(RESTART));
        }
        let (expected, found) = (self.current.epoch, known.epoch);
        if found != expected {
            return Err(CatalogError::Stale { expected, found }.into());
        }
        Ok(())
    }

    /// Gives what is not sure, for people.
    pub(super) async fn publish(
        &self,
        hold: &mut PostgresTransaction,
        schema: Schema,
        actor: &str,
    ) -> Result<(Arc<Topology>, Option<String>)> {
        hold.rows_here("SELECT 1").await.map_err(|error| {
            let message = format!("the reference tables were not held to the end: {}", error.message());
            Error::new(SqlState::SERIALIZATION_FAILURE, message)
                .retry(Retry::Safe)
                .hint("Run the command again: it starts anew. Nothing was added.")
        })?;
        let next = self.add_to_catalog(actor).await?;
        crash_point(JoinStep::Added);
        let judged = Topology { schema: Arc::new(schema), ..(*self.current).clone() };
        let topology = self.engine.open_to_statements(self.shard, next, &Arc::new(judged));
        let topology = topology.map_err(|error| error.hint(RESTART))?;
        let canceled = hold.rows_here(CANCEL_WAITING).await;
        let unsure = canceled.err().map(|error| {
            let (shard, source) = (self.shard.name(), self.source.name());
            tracing::error!(shard, %error, "the reference tables may have been written on {source} only while the shard joined");
            format!(
                "the reference tables were not held to the end, and may have been written on {source} only: compare them with \
                 those on {shard}"
            )
        });
        Ok((topology, unsure))
    }

    async fn add_to_catalog(&self, actor: &str) -> Result<Topology> {
        let (id, catalog) = (self.shard.id(), &self.engine.catalog);
        let error = match catalog.add_shard_as(self.current.epoch, id, self.spec, actor).await {
            Err(CatalogError::Database(error)) => CatalogError::Database(error),
            added => return Ok(added?),
        };
        // Whether it was committed is not known.
        match catalog.load().await {
            Ok(Some(found)) if found.shard(id).is_some_and(|shard| shard.name == self.spec.name) => Ok(found),
            Ok(_) => Err(error.into()),
            Err(_) => Err(Error::from(error).hint("The catalog may have the shard: restart shardd, which tells.")),
        }
    }
}
