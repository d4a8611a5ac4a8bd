//! A Postgres server that joins as a shard.
//!
//! One that is empty is given the others' tables and their reference rows, in one transaction of its own. One that has tables
//! must have the others', no rows of sharded ones, and reference rows that are theirs, or none, which are copied then. Nobody
//! writes to reference tables meanwhile. What a shard was given is remembered on it until the catalog has it, so that an attempt
//! that was interrupted is taken away by the next one.

mod leftovers;
mod making;
mod privileges;
mod publishing;
mod rows;

use std::sync::Arc;

use super::Engine;
use super::down::Need;
use crate::crash_point::{JoinStep, crash_point};
use crate::error::{Error, Fault, Result, Retry, SqlState};
use crate::shard::postgres::schema::{Aspect, Severity, ShardSchema, diff, survey};
use crate::shard::postgres::{PostgresShard, PostgresTransaction};
use crate::shard::{CancelFlag, Shard, ShardKind};
use crate::sql::quote_identifier;
use crate::topology::{KV_TABLES, Schema, ShardSpec, Spoils, Table, TableKind, Topology};
use crate::types::ShardId;

/// Tells two servers apart, and a server from its copy, under whatever names they are reached.
const IDENTITY: &str = "SELECT pg_catalog.pg_postmaster_start_time()::pg_catalog.text || ' ' || (SELECT oid FROM \
     pg_catalog.pg_database WHERE datname = pg_catalog.current_database())::pg_catalog.text";

const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE";

/// How many differences a refusal lists.
const MAX_LISTED: usize = 8;

/// A shard that has joined.
#[derive(Debug)]
pub struct Joined {
    pub topology: Arc<Topology>,
    /// For people.
    pub warnings: Vec<String>,
    pub copied: Copied,
}

/// What a shard was given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// Partitions included.
    pub tables: usize,
    pub reference_tables: usize,
    pub reference_rows: u64,
}

/// What is known of a shard once it is filled, before its transaction is committed.
struct Filled {
    schema: Schema,
    warnings: Vec<String>,
    copied: Copied,
}

/// One attempt.
struct Joining<'j> {
    engine: &'j Engine,
    spec: &'j ShardSpec,
    shard: &'j Arc<Shard>,
    /// One that has everything of every keyspace.
    source: Arc<Shard>,
    current: Arc<Topology>,
    planned: Topology,
    own_tables: &'j [&'j str],
}

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

    /// Adds an opened Postgres server as a shard that owns no slots yet, with the tables of the others and their reference rows.
    /// `own_tables` make shardd's own tables.
    ///
    /// # Errors
    /// It is not like the others and not empty, holds rows, or is one of them; it cannot be made like them; a shard is down.
    /// Nothing was added then.
    pub async fn join(
        &self,
        spec: &ShardSpec,
        shard: PostgresShard,
        own_tables: &[&str],
        actor: &str,
    ) -> Result<Joined> {
        let shard = Arc::new(Shard::Postgres(shard));
        let outcome = self.fill_and_admit(spec, &shard, own_tables, actor).await;
        if outcome.is_err() {
            shard.shutdown().await;
        }
        outcome
    }

    async fn fill_and_admit(
        &self,
        spec: &ShardSpec,
        shard: &Arc<Shard>,
        own_tables: &[&str],
        actor: &str,
    ) -> Result<Joined> {
        let _schema_lock = self.lock_schema().await?;
        self.require_all(Need::NewShard)?;
        if self.live.is_moving() {
            // Each step of a move is an epoch of its own, and the shard is added to the one that there is now.
            return Err(Error::new(SqlState::OBJECT_IN_USE, "a shard cannot join while slots move")
                .retry(Retry::Safe)
                .hint("`shardctl moves` shows the moves: try again when they have ended. Nothing was added."));
        }
        let current = self.live.snapshot();
        let planned = current.with_shard(spec.numbered(shard.id()), &[]).map_err(crate::catalog::CatalogError::from)?;
        self.refuse_same_server(shard).await?;
        let has_all = |id: &ShardId| current.keyspaces.iter().all(|keyspace| keyspace.shards.contains(id));
        let mut ids = current.shards.iter().map(|shard| shard.id);
        let source = ids.clone().find(has_all).or_else(|| ids.next());
        let source = self.shard(source.ok_or_else(|| Error::internal("the topology has no shards"))?)?;
        let joining = Joining { engine: self, spec, shard, source, current, planned, own_tables };
        joining.refuse_known().await?;
        joining.remove_leftovers().await?;
        let mut announced = Announced::announce(self, &joining.current).await?;
        // A reference table is written on all shards at once, so holding it on one holds it everywhere.
        let mut hold = joining.source.postgres()?.begin(BEGIN, &Arc::default(), None, &CancelFlag::new()).await?;
        let outcome = joining.fill_and_publish(&mut hold, actor).await;
        if outcome.is_ok() {
            announced.before = None;
        }
        hold.rollback().await;
        outcome
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

/// Where there is one shard, writes to reference tables go straight to it: from now on they look whether another one has joined.
/// When it goes, they need not any more.
struct Announced<'e> {
    engine: &'e Engine,
    before: Option<Arc<Schema>>,
}

impl<'e> Announced<'e> {
    /// # Errors
    /// 55P03: a statement from before takes too long.
    async fn announce(engine: &'e Engine, current: &Topology) -> Result<Announced<'e>> {
        let mut announced = Announced { engine, before: None };
        if current.keyspaces.iter().any(|keyspace| keyspace.shards.len() == 1) {
            engine.adopt_schema(Arc::new(Schema { joining: true, ..Schema::clone(&current.schema) }))?;
            announced.before = Some(Arc::clone(&current.schema));
            engine.statements_have_ended().await?;
        }
        Ok(announced)
    }
}

impl Drop for Announced<'_> {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.before.take().map(|before| self.engine.adopt_schema(before)) {
            tracing::error!(%error, "writes to reference tables go on looking for a shard that is about to join");
        }
    }
}

impl Joining<'_> {
    /// Fills the shard, commits that, and only then tells the catalog; `hold` keeps reference rows as they are until the end.
    async fn fill_and_publish(&self, hold: &mut PostgresTransaction, actor: &str) -> Result<Joined> {
        let new = self.shard.postgres()?;
        let is_empty = self.is_empty().await?;
        if !is_empty {
            self.remember_kinds().await?;
            self.make_own_tables().await?;
        }
        let mut filling = new.begin(BEGIN, &Arc::default(), None, &CancelFlag::new()).await?;
        let filled = match is_empty {
            true => self.make_and_fill(&mut filling, hold).await,
            false => self.compare_and_fill(&mut filling, hold).await,
        };
        let Filled { schema, mut warnings, copied } = match filled {
            Ok(filled) => filled,
            Err(error) => {
                filling.rollback().await;
                return Err(error);
            }
        };
        crash_point(JoinStep::Filled);
        filling.commit().await?;
        crash_point(JoinStep::Committed);
        if let Err(lacking) = new.make_ready_to_prepare().await {
            let hint = lacking.get_hint().unwrap_or_default();
            warnings
                .push(format!("{}: statements that write on it and on others are refused. {hint}", lacking.message()));
        }
        warnings.extend(self.guard().await?);
        let (topology, unsure) = self.publish(hold, schema, actor).await?;
        warnings.extend(unsure);
        leftovers::forget(new).await;
        Ok(Joined { topology, warnings, copied })
    }

    /// The new shard owns no slots yet, and lets no row of a sharded table in. Gives what went wrong, for people.
    async fn guard(&self) -> Result<Vec<String>> {
        let read = self.engine.read_with(self.shard, &self.planned).await?;
        let mended = self.engine.mend_guards(&read, Some(self.shard), &self.planned).await;
        let failed = mended.into_iter().filter_map(|mended| Some((mended.table, mended.outcome.err()?)));
        let told = |(table, error): (Option<String>, Error)| {
            format!("the table \"{}\" has no guard there: {}", table.unwrap_or_default(), error.message())
        };
        Ok(failed.map(told).collect())
    }

    /// A shard that has tables: they are compared. Reference tables that are empty there are filled.
    async fn compare_and_fill(
        &self,
        filling: &mut PostgresTransaction,
        hold: &mut PostgresTransaction,
    ) -> Result<Filled> {
        let id = self.shard.id();
        let read = self.engine.read_with(self.shard, &self.planned).await?;
        let warnings = examine((id, self.source.id()), &read, Examined::Everything)?;
        let schema = survey(&read, &self.planned.keyspaces);
        refuse_rows(self.shard.postgres()?, &tables(&schema, |table| table.kind != TableKind::Reference)).await?;
        let copied = self.fill_empty(filling, hold, &schema).await?;
        Ok(Filled { schema, warnings, copied })
    }

    /// Which tables are of another kind than their columns say.
    async fn remember_kinds(&self) -> Result<()> {
        let first = self.source.postgres()?.shard_schema(&self.planned.keyspaces).await?;
        if !first.placements.is_empty() {
            self.shard.postgres()?.make_ready_to_prepare().await?;
            self.shard.postgres()?.rows_of(&super::kind::remembering(&first.placements)?).await?;
        }
        Ok(())
    }

    /// Makes shardd's own tables, which no migration of a user's makes, with sequences that count the shard's own numbers.
    async fn make_own_tables(&self) -> Result<()> {
        let read = self.engine.read_with(self.shard, &self.planned).await?;
        if has_own_tables(self.shard.id(), &read) {
            return Ok(());
        }
        examine((self.shard.id(), self.source.id()), &read, Examined::UsersTables)?;
        let shard = self.shard.postgres()?;
        let before = shard.schema(&self.planned.keyspaces).await?;
        let mut transaction = shard.begin(BEGIN, &Arc::default(), None, &CancelFlag::new()).await?;
        transaction.run_batch(&self.own_tables()).await?;
        let found = transaction.schema(&self.planned.keyspaces).await?;
        for (_, apart) in super::sequence::set_apart(&[(shard.id(), found)], &before, |_, _| false) {
            transaction.run_batch(&apart).await?;
        }
        transaction.commit().await
    }

    fn own_tables(&self) -> Vec<String> {
        self.own_tables.iter().map(|text| (*text).to_owned()).collect()
    }
}

fn tables(schema: &Schema, wanted: impl Fn(&Table) -> bool) -> Vec<&Table> {
    schema.tables.values().map(|table| &**table).filter(|table| wanted(table)).collect()
}

fn has_own_tables(new: ShardId, read: &[(ShardId, ShardSchema)]) -> bool {
    let found = read.iter().find(|(id, _)| *id == new);
    found.is_none_or(|(_, schema)| KV_TABLES.iter().all(|table| schema.tables.contains_key(*table)))
}

#[derive(Clone, Copy, PartialEq)]
enum Examined {
    /// The tables are about to be made.
    Server,
    /// shardd's own are about to be made.
    UsersTables,
    Everything,
}

impl Examined {
    fn covers(self, table: Option<&str>, aspect: Option<Aspect>) -> bool {
        match self {
            Examined::Everything => true,
            Examined::UsersTables => !table.is_some_and(|table| KV_TABLES.contains(&table)),
            Examined::Server => {
                let of_server =
                    [Aspect::Version, Aspect::Encoding, Aspect::Collation, Aspect::CharacterType, Aspect::Setting];
                table.is_none() && aspect.is_none_or(|aspect| of_server.contains(&aspect))
            }
        }
    }
}

/// Compares the new shard with the one that it is to be like. Gives what is harmless, for people.
fn examine(
    (new, like): (ShardId, ShardId),
    read: &[(ShardId, ShardSchema)],
    examined: Examined,
) -> Result<Vec<String>> {
    let of = |wanted: ShardId| read.iter().find(|(id, _)| *id == wanted);
    let (Some((_, found)), Some((_, first))) = (of(new), of(like)) else {
        return Err(Error::internal("a shard that joins was not read"));
    };
    let (mut wrong, mut warnings) = (Vec::new(), Vec::new());
    let differences = diff(first, found).into_iter();
    for difference in differences.filter(|found| examined.covers(found.table.as_deref(), Some(found.aspect))) {
        // Such types are told to clients as text.
        let translated = difference.aspect == Aspect::TypeOid;
        let list = if difference.severity == Severity::Harmless || translated { &mut warnings } else { &mut wrong };
        list.push(difference.message);
    }
    let problems = found.problems(new.0).into_iter();
    for problem in problems.filter(|problem| examined.covers(problem.table.as_deref(), None)) {
        let told = format!("{}. {}", problem.message, problem.hint);
        match problem.spoils {
            Spoils::Writes | Spoils::Filling(_) => wrong.push(told),
            _ => warnings.push(told),
        }
    }
    if wrong.is_empty() {
        return Ok(warnings);
    }
    let hint = match examined {
        Examined::Server => "Give a database that was made as the others were: see `\\l` in psql.",
        _ => {
            "Give an empty database, and shardd makes the tables there; or make them first, by the migrations that made the \
             others' or with pg_dump --schema-only."
        }
    };
    Err(Error::new(
        SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
        format!("shard \"{}\" is not like the others: {}", found.shard, listed(&wrong)),
    )
    .detail("Nothing was added.")
    .hint(hint)
    .fault(Fault::Shard))
}

fn listed(all: &[String]) -> String {
    let more = all.len().saturating_sub(MAX_LISTED);
    let mut listed = all[..all.len() - more].join("; ");
    if more > 0 {
        listed.push_str(&format!("; and {more} more"));
    }
    listed
}

/// It owns no slots, so that rows of sharded tables would be nobody's.
async fn refuse_rows(shard: &PostgresShard, tables: &[&Table]) -> Result<()> {
    for table in tables {
        let query = format!("SELECT 1 FROM public.{} LIMIT 1", quote_identifier(&table.name));
        if !shard.rows_of(&query).await?.is_empty() {
            let message =
                format!("shard \"{}\" holds rows of the sharded table \"{}\" already", shard.name(), table.name);
            return Err(Error::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, message)
                .hint("A shard joins empty, and gets its rows from the others. Nothing was added.")
                .fault(Fault::Shard));
        }
    }
    Ok(())
}
