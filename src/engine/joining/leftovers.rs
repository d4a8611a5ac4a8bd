//! What a shard was given while the catalog does not have it yet: remembered on the shard, and taken away when the attempt came to
//! nothing.
//!
//! The mark is committed together with what it tells of, object by object with their OIDs, and rows with a sum over them. What is
//! not in it, or is no longer what it was, is never dropped.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::rows::same_text;
use super::{BEGIN, Joining};
use crate::engine::Engine;
use crate::error::{Error, Fault, Result, SqlState};
use crate::shard::CancelFlag;
use crate::shard::postgres::schema::copy;
use crate::shard::postgres::{PostgresShard, PostgresTransaction, quoted};
use crate::topology::Placements;

/// It has one row.
pub(super) const TABLE: &str = "shardd.joining";

const IS_THERE: &str = "SELECT pg_catalog.to_regclass('shardd.joining') IS NOT NULL, \
     pg_catalog.to_regnamespace('shardd') IS NOT NULL";

/// Writes the mark into the transaction that fills a shard. `placements` are kept on every shard.
pub(super) async fn mark(
    filling: &mut PostgresTransaction,
    cluster: &str,
    placements: Option<&Placements>,
) -> Result<()> {
    let mut statements = Vec::new();
    let there = filling.rows_of(IS_THERE, &Arc::default()).await?;
    if !is_true(&there, 1) {
        statements.push("CREATE SCHEMA shardd".to_owned());
    }
    statements.push(format!(
        "CREATE TABLE {TABLE} (cluster pg_catalog.text NOT NULL, \
         begun_at pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(), \
         objects pg_catalog.jsonb NOT NULL DEFAULT '[]', sums pg_catalog.jsonb NOT NULL DEFAULT '{{}}')"
    ));
    statements.push(format!(
        "COMMENT ON TABLE {TABLE} IS 'What shardctl add-shard has copied here, until the shard has joined.'"
    ));
    statements.push(format!("INSERT INTO {TABLE} (cluster) VALUES ({})", quoted(cluster)));
    if let Some(placements) = placements {
        statements.push(crate::engine::kind::remembering(placements)?);
    }
    filling.run_batch(&statements).await
}

/// Remembers a table's rows: how many there are, and their sum.
pub(super) async fn remember_rows(filling: &mut PostgresTransaction, table: &str, sum: &str) -> Result<()> {
    let remembering = format!(
        "UPDATE {TABLE} SET sums = sums || pg_catalog.jsonb_build_object({}::pg_catalog.text, {}::pg_catalog.text)",
        quoted(table),
        quoted(sum)
    );
    filling.run_batch(&[remembering]).await
}

/// The shard has joined. A mark that stays does no harm: what a shard holds is not looked at again.
pub(super) async fn forget(shard: &PostgresShard) {
    let forgotten = async {
        if is_true(&shard.rows_of(IS_THERE).await?, 0) {
            shard.rows_of(&format!("DROP TABLE {TABLE}")).await?;
        }
        Ok::<_, Error>(())
    };
    if let Err(error) = forgotten.await {
        tracing::warn!(shard = shard.name(), %error, "the table {TABLE}, which is not needed any more, could not be dropped");
    }
}

impl Engine {
    /// Forgets what shards were given that have joined: shardd may have been ended just then.
    pub async fn forget_joinings(&self) {
        for open in self.shards.load_full().open.values() {
            if let Ok(shard) = open.shard.postgres() {
                forget(shard).await;
            }
        }
    }
}

impl Joining<'_> {
    /// Takes away what an attempt of this cluster has left that did not come to its end.
    ///
    /// # Errors
    /// It is another cluster's; somebody has written to it, or made something that depends on it.
    pub(super) async fn remove_leftovers(&self) -> Result<()> {
        let shard = self.shard.postgres()?;
        if !is_true(&shard.rows_of(IS_THERE).await?, 0) {
            return Ok(());
        }
        let mut removing = shard.begin(BEGIN, &Arc::default(), None, &CancelFlag::new()).await?;
        match self.remove_within(&mut removing).await {
            Ok(count) => {
                removing.commit().await?;
                tracing::info!(shard = shard.name(), objects = count, "what an earlier attempt had copied was removed");
                Ok(())
            }
            Err(error) => {
                removing.rollback().await;
                Err(error)
            }
        }
    }

    async fn remove_within(&self, removing: &mut PostgresTransaction) -> Result<usize> {
        let wait = self.engine.limits.lock_wait.as_millis();
        let mut prepared = same_text();
        prepared.push(format!("SET LOCAL lock_timeout = {wait}"));
        prepared.push(format!("LOCK TABLE {TABLE} IN ACCESS EXCLUSIVE MODE"));
        removing.run_batch(&prepared).await?;
        let marks = removing.rows_here(&format!("SELECT cluster FROM {TABLE}")).await?;
        if marks.iter().any(|row| row.first().and_then(Option::as_deref) != Some(&self.engine.cluster)) {
            return Err(self.in_the_way("another cluster is adding it as a shard, or was interrupted in that"));
        }
        let made: Vec<(String, String)> =
            removing.rows_here(&copy::still_made(TABLE)).await?.into_iter().filter_map(pair).collect();
        let sums = format!("SELECT s.key, s.value FROM {TABLE}, jsonb_each_text(sums) AS s");
        let sums: BTreeMap<String, String> = removing.rows_here(&sums).await?.into_iter().filter_map(pair).collect();
        let tables: BTreeSet<&str> =
            made.iter().filter(|(kind, _)| kind == "TABLE").map(|(_, name)| name.as_str()).collect();
        self.refuse_written(removing, &tables, &sums).await?;
        for row in removing.rows_here(&references_among(&tables)).await? {
            if let Some((table, constraint)) = pair(row) {
                removing.run_batch(&[format!("ALTER TABLE {table} DROP CONSTRAINT {constraint}")]).await?;
            }
        }
        for (kind, name) in &made {
            let dropped = removing.run_batch(&[format!("DROP {kind} IF EXISTS {name}")]).await;
            dropped.map_err(|error| self.in_the_way(&format!("{name} cannot be dropped: {}", error.message())))?;
        }
        // Tables that were there before have got rows only.
        let filled: Vec<String> = sums.into_keys().filter(|table| !tables.contains(table.as_str())).collect();
        if !filled.is_empty() {
            super::rows::quiet_triggers(removing, &filled).await?;
        }
        for table in filled {
            removing.run_batch(&[format!("DELETE FROM {table}")]).await?;
        }
        removing.run_batch(&[format!("DROP TABLE {TABLE}"), "COMMENT ON SCHEMA shardd IS NULL".to_owned()]).await?;
        Ok(made.len())
    }

    /// Rows that were not copied are somebody's.
    async fn refuse_written(
        &self,
        removing: &mut PostgresTransaction,
        tables: &BTreeSet<&str>,
        sums: &BTreeMap<String, String>,
    ) -> Result<()> {
        let all: BTreeSet<&str> = tables.iter().copied().chain(sums.keys().map(String::as_str)).collect();
        for table in all {
            let is_partition =
                format!("SELECT relispartition FROM pg_class WHERE oid = to_regclass({})", quoted(table));
            let found = removing.rows_here(&is_partition).await?;
            // A partition's rows are its table's.
            if found.is_empty() || is_true(&found, 0) {
                continue;
            }
            removing.run_batch(&[format!("LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE")]).await?;
            let written = match sums.get(table) {
                Some(sum) => super::rows::sum_of(removing, table).await? != *sum,
                None => !removing.rows_here(&format!("SELECT FROM {table} LIMIT 1")).await?.is_empty(),
            };
            if written {
                return Err(self.in_the_way(&format!("{table} has been written to since")));
            }
        }
        Ok(())
    }

    fn in_the_way(&self, why: &str) -> Error {
        let message = format!(
            "the database of shard \"{}\" has what an earlier `shardctl add-shard` has copied, which is not removed: {why}",
            self.shard.name()
        );
        Error::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, message)
            .hint("Make a new, empty database, and give its URL. Nothing was added, and nothing removed.")
            .fault(Fault::Shard)
    }
}

/// Foreign keys, which may go in a circle.
fn references_among(tables: &BTreeSet<&str>) -> String {
    let names: Vec<String> = tables.iter().map(|table| quoted(table)).collect();
    format!(
        "SELECT conrelid::regclass, quote_ident(conname) FROM pg_constraint WHERE contype = 'f' AND conparentid = 0 \
         AND conrelid::regclass::text = ANY (ARRAY[{}]::text[])",
        names.join(", ")
    )
}

fn pair(row: Vec<Option<String>>) -> Option<(String, String)> {
    let mut values = row.into_iter();
    Some((values.next()??, values.next()??))
}

fn is_true(rows: &[Vec<Option<String>>], column: usize) -> bool {
    rows.first().and_then(|row| row.get(column)?.as_deref()) == Some("t")
}
