//! A Postgres server that joins as a shard: it must hold the others' tables, no rows of its own, and their reference rows.

use std::sync::Arc;

use super::Engine;
use super::down::Need;
use super::sequence::set_apart;
use crate::error::{Error, Fault, Result, SqlState};
use crate::shard::postgres::PostgresShard;
use crate::shard::postgres::schema::{Aspect, Severity, ShardSchema, diff, survey};
use crate::shard::{CancelFlag, Shard, ShardKind};
use crate::sql::quote_identifier;
use crate::topology::{KV_TABLES, Schema, ShardSpec, Spoils, Table, TableKind, Topology};
use crate::types::ShardId;

/// Tells two servers apart, and a server from its copy, under whatever names they are reached.
const IDENTITY: &str = "SELECT pg_catalog.pg_postmaster_start_time()::pg_catalog.text || ' ' || (SELECT oid FROM \
     pg_catalog.pg_database WHERE datname = pg_catalog.current_database())::pg_catalog.text";

/// How many differences a refusal lists.
const MAX_LISTED: usize = 8;

impl Engine {
    /// What the shards are.
    pub fn kind(&self) -> ShardKind {
        self.kind
    }

    /// The number that the next shard gets.
    ///
    /// # Errors
    /// All were given, or the catalog cannot be read.
    pub async fn next_shard_number(&self) -> Result<ShardId> {
        Ok(self.catalog.next_shard_number().await?)
    }

    /// Adds an opened Postgres server as a shard that owns no slots yet. Gives what must be known of it, too.
    /// `own_tables` make shardd's own tables.
    ///
    /// # Errors
    /// It is not like the others, holds rows, or is one of them; a shard is down. Nothing was added then.
    pub async fn join(
        &self,
        spec: &ShardSpec,
        shard: PostgresShard,
        own_tables: &[&str],
        actor: &str,
    ) -> Result<(Arc<Topology>, Vec<String>)> {
        let shard = Arc::new(Shard::Postgres(shard));
        let outcome = self.examine_and_admit(spec, &shard, own_tables, actor).await;
        if outcome.is_err() {
            shard.shutdown().await;
        }
        outcome
    }

    async fn examine_and_admit(
        &self,
        spec: &ShardSpec,
        shard: &Arc<Shard>,
        own_tables: &[&str],
        actor: &str,
    ) -> Result<(Arc<Topology>, Vec<String>)> {
        let _schema_lock = self.lock_schema().await?;
        self.require_all(Need::NewShard)?;
        let current = self.live.snapshot();
        let planned = current.with_shard(spec.numbered(shard.id()), &[]).map_err(crate::catalog::CatalogError::from)?;
        self.refuse_same_server(shard).await?;
        let mut read = self.read_with(shard, &planned).await?;
        if let Some((_, first)) = read.iter().find(|(id, found)| *id != shard.id() && !found.placements.is_empty()) {
            // Which tables are of another kind than their columns say.
            let remembering = super::kind::remembering(&first.placements)?;
            shard.postgres()?.make_ready_to_prepare().await?;
            shard.postgres()?.rows_of(&remembering).await?;
            read = self.read_with(shard, &planned).await?;
        }
        if !has_own_tables(shard.id(), &read) {
            examine(shard.id(), &read, Examined::UsersTables)?;
            make_own_tables(shard.postgres()?, own_tables, &planned).await?;
            read = self.read_with(shard, &planned).await?;
        }
        let schema = survey(&read, &planned.keyspaces);
        let mut warnings = examine(shard.id(), &read, Examined::Everything)?;
        if let Err(lacking) = shard.postgres()?.make_ready_to_prepare().await {
            let hint = lacking.get_hint().unwrap_or_default();
            warnings
                .push(format!("{}: statements that write on it and on others are refused. {hint}", lacking.message()));
        }
        let first = current.shards.first().ok_or_else(|| Error::internal("the topology has no shards"))?;
        let source = self.shard(first.id)?;
        let reference: Vec<&str> = tables(&schema, |table| table.kind == TableKind::Reference);
        // A reference table is written on all shards at once, so holding it on one holds it everywhere.
        let cancel = CancelFlag::new();
        let begin = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE";
        let mut hold = source.postgres()?.begin(begin, &Arc::default(), None, &cancel).await?;
        let outcome = async {
            hold.run_batch(&holding(&reference, self.limits.lock_wait.as_millis())).await?;
            refuse_rows(shard.postgres()?, &tables(&schema, |table| table.kind != TableKind::Reference)).await?;
            for table in &reference {
                refuse_other_rows(source.postgres()?, shard.postgres()?, table).await?;
            }
            // It owns no slots yet, and lets no row of a sharded table in.
            for mended in self.mend_guards(&read, Some(shard), &planned).await {
                if let Err(error) = mended.outcome {
                    let table = mended.table.unwrap_or_default();
                    warnings.push(format!("the table \"{table}\" has no guard there: {}", error.message()));
                }
            }
            let (number, next) = self.catalog.add_shard(current.epoch, spec, &[], actor).await?;
            if number != shard.id() {
                return Err(Error::internal(format!("the shard was to be number {}, and became {number}", shard.id())));
            }
            let judged = Topology { schema: Arc::new(schema.clone()), ..(*current).clone() };
            self.open_to_statements(shard, next, &Arc::new(judged))
        }
        .await;
        hold.rollback().await;
        Ok((outcome?, warnings))
    }

    async fn read_with(&self, shard: &Arc<Shard>, planned: &Topology) -> Result<Vec<(ShardId, ShardSchema)>> {
        let (read, failed) = self.read_schemas(Some(shard), &planned.keyspaces).await?;
        failed.into_iter().next().map_or(Ok(read), |(_, error)| Err(error))
    }

    async fn refuse_same_server(&self, shard: &Arc<Shard>) -> Result<()> {
        let own = shard.postgres()?.rows_of(IDENTITY).await?;
        let open = self.shards.load_full();
        for other in open.open.values() {
            if other.shard.postgres()?.rows_of(IDENTITY).await? == own {
                let message = format!("the URL leads to the database of shard \"{}\"", other.shard.name());
                return Err(Error::new(SqlState::DUPLICATE_OBJECT, message)
                    .hint("Each shard is a database of its own: give another one's URL."));
            }
        }
        Ok(())
    }
}

fn tables(schema: &Schema, wanted: impl Fn(&Table) -> bool) -> Vec<&str> {
    schema.tables.values().filter(|table| wanted(table)).map(|table| table.name.as_str()).collect()
}

fn holding(tables: &[&str], lock_wait_ms: u128) -> Vec<String> {
    let mut statements = vec![format!("SET LOCAL lock_timeout = {lock_wait_ms}")];
    let named = |table: &&str| format!("LOCK TABLE public.{} IN SHARE MODE", quote_identifier(table));
    statements.extend(tables.iter().map(named));
    statements
}

#[derive(Clone, Copy, PartialEq)]
enum Examined {
    /// shardd's own are about to be made.
    UsersTables,
    Everything,
}

fn has_own_tables(new: ShardId, read: &[(ShardId, ShardSchema)]) -> bool {
    let found = read.iter().find(|(id, _)| *id == new);
    found.is_none_or(|(_, schema)| KV_TABLES.iter().all(|table| schema.tables.contains_key(*table)))
}

/// Makes shardd's own tables, which no migration of a user's makes, with sequences that count the shard's own numbers.
async fn make_own_tables(shard: &PostgresShard, statements: &[&str], planned: &Topology) -> Result<()> {
    let before = shard.schema(&planned.keyspaces).await?;
    let begin = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE";
    let mut transaction = shard.begin(begin, &Arc::default(), None, &CancelFlag::new()).await?;
    let statements: Vec<String> = statements.iter().map(|text| (*text).to_owned()).collect();
    transaction.run_batch(&statements).await?;
    let found = transaction.schema(&planned.keyspaces).await?;
    for (_, apart) in set_apart(&[(shard.id(), found)], &before, |_, _| false) {
        transaction.run_batch(&apart).await?;
    }
    transaction.commit().await
}

/// Compares the new shard with the first one. Gives what is harmless, for people.
fn examine(new: ShardId, read: &[(ShardId, ShardSchema)], examined: Examined) -> Result<Vec<String>> {
    let found = read.iter().find(|(id, _)| *id == new);
    let first = read.iter().find(|(id, _)| *id != new);
    let (Some((_, found)), Some((_, first))) = (found, first) else {
        return Err(Error::internal("a shard that joins was not read"));
    };
    let (mut wrong, mut warnings) = (Vec::new(), Vec::new());
    let is_own = |table: &Option<String>| table.as_deref().is_some_and(|table| KV_TABLES.contains(&table));
    for difference in diff(first, found) {
        if examined == Examined::UsersTables && is_own(&difference.table) {
            continue;
        }
        // Such types are told to clients as text.
        let translated = difference.aspect == Aspect::TypeOid;
        let list = if difference.severity == Severity::Harmless || translated { &mut warnings } else { &mut wrong };
        list.push(difference.message);
    }
    for problem in found.problems(new.0) {
        let told = format!("{}. {}", problem.message, problem.hint);
        match problem.spoils {
            Spoils::Writes | Spoils::Filling(_) => wrong.push(told),
            _ => warnings.push(told),
        }
    }
    if wrong.is_empty() {
        return Ok(warnings);
    }
    let more = wrong.len().saturating_sub(MAX_LISTED);
    let mut listed = wrong[..wrong.len().min(MAX_LISTED)].join("; ");
    if more > 0 {
        listed.push_str(&format!("; and {more} more"));
    }
    Err(Error::new(
        SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
        format!("shard \"{}\" is not like the others: {listed}", found.shard),
    )
    .detail("Nothing was added.")
    .hint("Make its tables first, by the migrations that made the others' or with pg_dump --schema-only.")
    .fault(Fault::Shard))
}

/// It owns no slots, so that rows of sharded tables would be nobody's.
async fn refuse_rows(shard: &PostgresShard, tables: &[&str]) -> Result<()> {
    for table in tables {
        let query = format!("SELECT 1 FROM public.{} LIMIT 1", quote_identifier(table));
        if !shard.rows_of(&query).await?.is_empty() {
            let message = format!("shard \"{}\" holds rows of the sharded table \"{table}\" already", shard.name());
            return Err(Error::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, message)
                .hint("A shard joins empty, and gets its rows from the others. Nothing was added.")
                .fault(Fault::Shard));
        }
    }
    Ok(())
}

async fn refuse_other_rows(source: &PostgresShard, shard: &PostgresShard, table: &str) -> Result<()> {
    let query = format!(
        "SELECT pg_catalog.count(*), pg_catalog.sum(pg_catalog.hashtextextended(copied::pg_catalog.text, 0)) FROM public.{} \
         AS copied",
        quote_identifier(table)
    );
    if source.rows_of(&query).await? == shard.rows_of(&query).await? {
        return Ok(());
    }
    let message = format!(
        "the rows of the reference table \"{table}\" on shard \"{}\" are not those on \"{}\"",
        shard.name(),
        source.name()
    );
    Err(Error::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, message)
        .hint(format!("Copy them first: pg_dump --data-only --table={table}. Nothing was added."))
        .fault(Fault::Shard))
}
