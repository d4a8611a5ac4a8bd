//! Shards that differ: what they differ in is found when their schemas are read, and statements that it would make wrong are
//! refused. Types whose OIDs are not the same everywhere are told to clients as text, or refused.

use std::sync::Arc;

use super::Engine;
use super::session::Execution;
use super::statement::Statement;
use crate::error::{Error, Fault, Result, SqlState};
use crate::shard::postgres::Description;
use crate::shard::postgres::schema::{ShardSchema, survey};
use crate::shard::{ForeignType, Output, OutputColumn, Program, Shard, ShardKind};
use crate::topology::{Drift, Finding, Keyspace, Misfit, Schema, Severity, UnlikeType};
use crate::types::{PgType, ShardId};

impl Engine {
    /// Reads the schemas of all open Postgres shards, and of those that are about to be opened. Those that cannot be read are
    /// told apart.
    pub(super) async fn read_schemas(
        &self,
        more: Option<&Arc<Shard>>,
        keyspaces: &[Arc<Keyspace>],
    ) -> Result<(Vec<(ShardId, ShardSchema)>, Vec<(ShardId, Error)>)> {
        let open = self.shards.load_full();
        let mut shards: Vec<&Arc<Shard>> = open.open.values().map(|open| &open.shard).chain(more).collect();
        shards.sort_by_key(|shard| shard.id());
        let (mut read, mut failed) = (Vec::new(), Vec::new());
        for shard in shards {
            match shard.postgres()?.shard_schema(keyspaces).await {
                Ok(schema) => read.push((shard.id(), schema)),
                Err(error) => failed.push((shard.id(), error)),
            }
        }
        Ok((read, failed))
    }

    /// Reads the schemas of the open Postgres shards anew, and plans by what they are now. Gives the differences.
    ///
    /// # Errors
    /// A shard cannot be read; another session is changing the schema.
    pub async fn review_schema(&self) -> Result<Arc<Drift>> {
        if self.kind == ShardKind::Sqlite {
            return Ok(Arc::clone(&self.live.snapshot().schema.drift));
        }
        let _schema_lock = self.lock_schema().await?;
        let topology = self.live.snapshot();
        let (read, failed) = self.read_schemas(None, &topology.keyspaces).await?;
        if let Some((_, error)) = failed.into_iter().next() {
            return Err(error);
        }
        // A migration that went round shardd may have made tables.
        self.mend_guards(&read, None, &topology).await;
        let schema = survey(&read, &topology.keyspaces);
        let drift = Arc::clone(&schema.drift);
        // An equal one leaves the plans that there are.
        if schema != *topology.schema {
            self.adopt_schema(Arc::new(schema))?;
        }
        Ok(drift)
    }

    /// A shard that has everything that the statement needs, where not all may have.
    pub(super) fn fitting_shard(&self, statement: &Statement) -> Option<ShardId> {
        let misfits = &statement.schema.drift.misfits;
        if misfits.is_empty() {
            return None;
        }
        let set = self.shards.load();
        let unfit = |id: &ShardId| misfits.iter().any(|misfit| misfit.shards.contains(id));
        set.open.keys().copied().find(|id| !unfit(id))
    }

    /// What a shard tells of a statement, in types that mean the same on all of them.
    ///
    /// # Errors
    /// 55000: it has a type that does not.
    pub(super) fn as_told(&self, shard: ShardId, mut told: Description, schema: &Schema) -> Result<Description> {
        if schema.drift.unlike_types.is_empty() {
            return Ok(told);
        }
        for index in 0..told.parameter_oids.len() {
            let Some(unlike) = schema.drift.unlike_types.get(&(shard, told.parameter_oids[index])) else { continue };
            if !unlike.is_enum {
                return Err(unlike_type(unlike, &format!("${}", index + 1)));
            }
            told.parameter_oids[index] = PgType::Text.oid();
            told.sent_oids[index] = 0;
        }
        if let Some(columns) = told.columns.take() {
            let translated = columns_as_told(shard, Arc::clone(&columns), schema)?;
            if !Arc::ptr_eq(&translated, &columns) {
                told.row_description = None;
            }
            told.columns = Some(translated);
        }
        Ok(told)
    }

    /// The same for rows. They must be of the types that the client was told before.
    ///
    /// # Errors
    /// 55000: they are not.
    pub(super) fn output_as_told(
        &self,
        shard: ShardId,
        mut output: Output,
        execution: &Execution,
        program: &Program,
    ) -> Result<Output> {
        let Program::Postgres(postgres) = program else { return Ok(output) };
        if !postgres.described_each_time {
            return Ok(output);
        }
        let Some(columns) = output.columns.take() else { return Ok(output) };
        let statement = &execution.statement;
        let told = columns_as_told(shard, Arc::clone(&columns), &statement.schema)?;
        if !Arc::ptr_eq(&told, &columns) {
            output.row_description = None;
        }
        if postgres.template.is_none()
            && let Some(Some(before)) = statement.description().map(|description| description.columns.as_ref())
            && !before.iter().map(OutputColumn::type_oid).eq(told.iter().map(OutputColumn::type_oid))
        {
            return Err(other_columns(&self.shard_name(shard)));
        }
        output.columns = Some(told);
        Ok(output)
    }
}

/// A client that declares such a type has asked one shard for its OID.
///
/// # Errors
/// 55000.
pub(super) fn refuse_unlike_types(type_oids: &[u32], schema: &Schema) -> Result<()> {
    let unlike = &schema.drift.unlike_types;
    if unlike.is_empty() {
        return Ok(());
    }
    let found = type_oids.iter().find_map(|oid| unlike.iter().find(|((_, known), _)| known == oid));
    found.map_or(Ok(()), |(_, unlike)| Err(unlike_type(unlike, "$n")))
}

fn columns_as_told(shard: ShardId, columns: Arc<[OutputColumn]>, schema: &Schema) -> Result<Arc<[OutputColumn]>> {
    let unlike = |column: &OutputColumn| schema.drift.unlike_types.get(&(shard, column.foreign?.oid));
    if schema.drift.unlike_types.is_empty() || !columns.iter().any(|column| unlike(column).is_some()) {
        return Ok(columns);
    }
    let told = columns.iter().map(|column| match unlike(column) {
        None => Ok(column.clone()),
        // An enum's label is sent as a text is, but it has an order of its own: to shardd it stays an unknown type.
        Some(known) if known.is_enum => {
            let told = ForeignType { oid: PgType::Text.oid(), size: PgType::Text.size() };
            Ok(OutputColumn { foreign: Some(told), ..column.clone() })
        }
        Some(known) => Err(unlike_type(known, &column.name)),
    });
    told.collect()
}

fn unlike_type(unlike: &UnlikeType, value: &str) -> Error {
    Error::new(
        SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
        format!("the type {} has not the same OID on all shards, so that no client could tell it", unlike.name),
    )
    .hint(format!("Cast it where it meets the client: {value}::text, or $1::text::{} for a parameter.", unlike.name))
    .fault(Fault::Shard)
}

fn other_columns(shard: &str) -> Error {
    Error::new(
        SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
        format!("shard \"{shard}\" returns columns of other types than the client was told"),
    )
    .hint("The shards' tables differ: see `shardctl schema diff`.")
    .fault(Fault::Shard)
}

impl Statement {
    /// # Errors
    /// 55000: one of the shards is not as the others, in what this statement depends on.
    pub(super) fn refuse_misfits<'s>(
        &self,
        shards: impl IntoIterator<Item = &'s ShardId>,
        engine: &Engine,
    ) -> Result<()> {
        if self.misfits.is_empty() {
            return Ok(());
        }
        let mut shards = shards.into_iter();
        let found = shards.find_map(|id| Some((id, self.misfits.iter().find(|misfit| misfit.shards.contains(id))?)));
        found.map_or(Ok(()), |(id, misfit)| Err(misfit_error(&engine.shard_name(*id), misfit)))
    }
}

fn misfit_error(shard: &str, misfit: &Misfit) -> Error {
    let error = Error::new(
        SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
        format!("shard \"{shard}\" would do this statement wrong: {}", misfit.message),
    )
    .detail("Statements that do not depend on it go on. `shardctl schema diff` shows all that differs.")
    .hint(&misfit.hint)
    .fault(Fault::Shard);
    match &misfit.table {
        Some(table) => error.table(table),
        None => error,
    }
}

/// Tells what was not so before.
pub(super) fn log(before: &Drift, now: &Drift) {
    let is_new = |finding: &&Finding| !before.findings.contains(finding);
    for finding in now.findings.iter().filter(is_new) {
        let (severity, hint) = (finding.severity.name(), finding.hint.as_str());
        match finding.severity {
            Severity::WritesWouldBeWrong => tracing::error!(severity, hint, "{}", finding.message),
            Severity::ReadsWouldDiffer => tracing::warn!(severity, hint, "{}", finding.message),
            Severity::Harmless => tracing::info!(severity, hint, "{}", finding.message),
        }
    }
    if now.is_empty() && !before.is_empty() {
        tracing::info!("the schemas of all shards are alike again");
    }
}
