//! CREATE INDEX, DROP INDEX and REINDEX with CONCURRENTLY on Postgres shards.
//!
//! They cannot run in a transaction, so there is none over several shards: each shard does it by itself, all at the same
//! time. Where some fail, the others keep what they have done; the error names both, and the same statement goes on from
//! there. An index that a failed attempt has left invalid is dropped and built anew, by one session at a time.

use std::sync::Arc;

use super::answer::Answer;
use super::down::Need;
use super::recording::RanOn;
use super::session::{Execution, Session};
use super::side_by_side::side_by_side;
use super::write::held;
use crate::error::{Error, Result, Retry, SqlState};
use crate::plan::Concurrent;
use crate::shard::postgres::WorkLock;
use crate::shard::{Call, Shard};
use crate::sql::{self, ast, quote_identifier};
use crate::types::ShardId;

const CREATE: &str = "CREATE INDEX CONCURRENTLY";

/// An index of a name on one shard.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    valid: bool,
    definition: String,
    table: String,
    /// Somebody builds it.
    in_work: bool,
}

impl Session {
    /// CREATE INDEX CONCURRENTLY.
    pub(super) async fn create_index_concurrently(
        &mut self,
        index: &ast::CreateIndex,
        execution: &Execution,
    ) -> Result<Answer> {
        let shards = self.begin_concurrently(CREATE)?;
        let named = |name: &ast::ObjectName| {
            sql::name_parts(name).and_then(|mut parts| parts.pop()).map(|part| part.into_owned())
        };
        let Some(name) = index.name.as_ref().and_then(named) else {
            return Err(Error::unsupported(
                "CREATE INDEX CONCURRENTLY without a name",
                "Name the index: by its name shardd finds the shards that have it already, should some fail.",
            ));
        };
        let table = named(&index.table_name).unwrap_or_default();
        self.refuse_unique_without_key(index, &table)?;
        let lock = self.lock_index(&shards, &name).await?;
        let created = self.create_where_missing(index, &shards, (&name, &table), execution).await;
        lock.release().await;
        created
    }

    /// On the shards that do not have it.
    async fn create_where_missing(
        &mut self,
        index: &ast::CreateIndex,
        shards: &[ShardId],
        (name, table): (&str, &str),
        execution: &Execution,
    ) -> Result<Answer> {
        let found = self.find_indexes(shards, name).await?;
        let mut missing = Vec::new();
        for (shard, found) in shards.iter().zip(&found) {
            match found {
                None => missing.push(*shard),
                Some(found) if found.in_work => return Err(self.in_work(name, *shard)),
                Some(found) if !found.valid && found.table == table => missing.push(*shard),
                Some(_) => {}
            }
        }
        if missing.is_empty() && !index.if_not_exists {
            return Err(exists(name));
        }
        for (shard, found) in shards.iter().zip(&found) {
            let on = self.engine.shard_name(*shard);
            match found {
                Some(found) if found.valid => self.note(
                    SqlState::DUPLICATE_TABLE,
                    format!("relation \"{name}\" already exists on shard \"{on}\", skipping"),
                ),
                Some(found) if missing.contains(shard) => {
                    self.note(
                        SqlState::SUCCESSFUL_COMPLETION,
                        format!("index \"{name}\" on shard \"{on}\" is invalid: it is dropped and built anew"),
                    );
                    let drop = format!("DROP INDEX CONCURRENTLY IF EXISTS public.{}", quote_identifier(name));
                    tracing::warn!(index = name, shard = on, definition = found.definition, "dropped an invalid index");
                    self.run_on_each(&[*shard], &drop, CREATE, &[]).await?;
                }
                _ => {}
            }
        }
        let had: Vec<ShardId> = shards.iter().copied().filter(|shard| !missing.contains(shard)).collect();
        let built = self.run_on_each(&missing, &execution.prepared.text, CREATE, &had).await;
        self.review_after_change().await;
        built?;
        let definitions = self.find_indexes(shards, name).await?;
        let mut all = shards.iter().zip(definitions).filter_map(|(shard, found)| Some((*shard, found?.definition)));
        if let Some((first, definition)) = all.next()
            && let Some((other, _)) = all.find(|(_, other)| *other != definition)
        {
            return Err(self.unlike(name, first, other));
        }
        Ok(Answer::command("CREATE INDEX"))
    }

    /// DROP INDEX and REINDEX.
    pub(super) async fn concurrently(&mut self, change: &Concurrent, execution: &Execution) -> Result<Answer> {
        let (what, tag) = match change {
            Concurrent::DropIndex { .. } => ("DROP INDEX CONCURRENTLY", "DROP INDEX"),
            Concurrent::Reindex => ("REINDEX CONCURRENTLY", "REINDEX"),
        };
        let shards = self.begin_concurrently(what)?;
        let Concurrent::DropIndex { name, .. } = change else {
            return self.run_and_review(&shards, what, tag, execution).await;
        };
        let lock = self.lock_index(&shards, name).await?;
        let dropped = match self.holding(shards, name).await {
            Ok(holding) => self.run_and_review(&holding, what, tag, execution).await,
            Err(error) => Err(error),
        };
        lock.release().await;
        dropped
    }

    /// The shards that have an index; one of them where none has: what that means is the server's to say.
    async fn holding(&mut self, shards: Vec<ShardId>, name: &str) -> Result<Vec<ShardId>> {
        let found = self.find_indexes(&shards, name).await?;
        let holding: Vec<ShardId> =
            shards.iter().zip(&found).filter(|(_, found)| found.is_some()).map(|(shard, _)| *shard).collect();
        if holding.is_empty() {
            return Ok(shards.into_iter().take(1).collect());
        }
        for shard in shards.iter().filter(|shard| !holding.contains(shard)) {
            let on = self.engine.shard_name(*shard);
            self.note(
                SqlState::UNDEFINED_OBJECT,
                format!("index \"{name}\" does not exist on shard \"{on}\", skipping"),
            );
        }
        Ok(holding)
    }

    async fn run_and_review(
        &mut self,
        shards: &[ShardId],
        what: &str,
        tag: &'static str,
        execution: &Execution,
    ) -> Result<Answer> {
        let done = self.run_on_each(shards, &execution.prepared.text, what, &[]).await;
        self.review_after_change().await;
        done.map(|()| Answer::command(tag))
    }

    /// All shards.
    ///
    /// # Errors
    /// 25001 in a transaction; one of them is down.
    fn begin_concurrently(&mut self, what: &str) -> Result<Vec<ShardId>> {
        if self.transaction.is_some() {
            return Err(Error::new(
                SqlState::ACTIVE_SQL_TRANSACTION,
                format!("{what} cannot run inside a transaction block"),
            ));
        }
        self.permit_write(what)?;
        self.engine.require_all(Need::SchemaChange)?;
        self.ran_on = RanOn::Several;
        self.every_shard()
    }

    /// Whoever finds an index invalid drops it: it must not be one that another session, of any instance, is building.
    ///
    /// # Errors
    /// 55006: another session works on an index of this name.
    async fn lock_index(&self, shards: &[ShardId], name: &str) -> Result<WorkLock> {
        let first = *shards.iter().min().ok_or_else(|| Error::internal("there are no shards"))?;
        let lock = self.engine.shard(first)?.postgres()?.lock_work(&format!("index {name}")).await?;
        lock.ok_or_else(|| {
            let message = format!("another session is building or dropping the index \"{name}\"");
            Error::new(SqlState::OBJECT_IN_USE, message)
                .hint("Wait until that has ended, and run the same statement again.")
                .retry(Retry::Safe)
        })
    }

    async fn find_indexes(&self, shards: &[ShardId], name: &str) -> Result<Vec<Option<Found>>> {
        let text = format!(
            "SELECT i.indisvalid AND i.indisready, pg_catalog.pg_get_indexdef(c.oid), t.relname, \
             EXISTS (SELECT FROM pg_catalog.pg_stat_progress_create_index p WHERE p.index_relid = c.oid) \
             FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid JOIN pg_catalog.pg_class t ON t.oid = i.indrelid \
             WHERE n.nspname = 'public' AND c.relname = '{}'",
            name.replace('\'', "''")
        );
        let mut all = Vec::with_capacity(shards.len());
        for shard in shards {
            let rows = self.engine.shard(*shard)?.postgres()?.rows_of(&text).await?;
            let found = match rows.first().map(Vec::as_slice) {
                None => None,
                Some([Some(valid), Some(definition), Some(table), Some(in_work)]) => Some(Found {
                    valid: valid == "t",
                    definition: definition.clone(),
                    table: table.clone(),
                    in_work: in_work == "t",
                }),
                Some(_) => return Err(Error::internal("a server's answer about an index is none")),
            };
            all.push(found);
        }
        Ok(all)
    }

    /// Runs a text on shards side by side. `had`: those that need it no more.
    ///
    /// # Errors
    /// The first shard's that failed, with all that did and did not.
    async fn run_on_each(&mut self, shards: &[ShardId], text: &str, what: &str, had: &[ShardId]) -> Result<()> {
        let mut calls: Vec<(ShardId, Arc<Shard>, Call)> = Vec::with_capacity(shards.len());
        for shard in shards {
            calls.push((*shard, self.engine.shard(*shard)?, Call::Postgres(self.own_call(text))));
        }
        let running = calls.into_iter().map(|(id, shard, call)| async move {
            let done = match shard.write(call).await {
                Ok(output) => {
                    let mut output = output;
                    let notices = std::mem::take(&mut output.notices);
                    held(output).await.map(|_| notices)
                }
                Err(error) => Err(error),
            };
            (id, done)
        });
        let (mut done, mut failed) = (had.to_vec(), Vec::new());
        for (id, outcome) in side_by_side(running).await {
            match outcome {
                Ok(notices) => {
                    self.notices.extend(notices);
                    done.push(id);
                    let on = self.engine.shard_name(id);
                    self.note(SqlState::SUCCESSFUL_COMPLETION, format!("{what} is done on shard \"{on}\""));
                }
                Err(error) => failed.push((id, error)),
            }
        }
        failed.sort_by_key(|(id, _)| *id);
        done.sort_unstable();
        let Some((_, first)) = failed.first() else { return Ok(()) };
        let told: Vec<String> = failed
            .iter()
            .map(|(id, error)| format!("shard \"{}\": {}", self.engine.shard_name(*id), error.message()))
            .collect();
        let names: Vec<String> = done.iter().map(|id| self.engine.shard_name(*id)).collect();
        let detail = match (names.is_empty(), first.get_detail()) {
            (true, None) => "No shard has done it.".to_owned(),
            (true, Some(detail)) => format!("{detail} No shard has done it."),
            (false, None) => format!("It is done on {}.", names.join(", ")),
            (false, Some(detail)) => format!("{detail} It is done on {}.", names.join(", ")),
        };
        let error = Error::new(first.sqlstate(), format!("{what} failed on {}", told.join("; ")));
        Err(error
            .fault(first.get_fault())
            .detail(detail)
            .hint("Run the same statement again once its reason is gone: it goes on where it is not done."))
    }

    async fn review_after_change(&self) {
        if let Err(error) = self.engine.review_schema().await {
            tracing::warn!(%error, "the schemas cannot be read after a change of indexes");
        }
    }

    /// Uniqueness is held within one shard only.
    fn refuse_unique_without_key(&self, index: &ast::CreateIndex, table: &str) -> Result<()> {
        let schema = self.schema();
        if let Some(refused) = schema.refused.get(table).filter(|_| index.unique) {
            return Err(Error::unsupported(&refused.what, refused.hint.clone()));
        }
        let Some(table) = schema.table(table) else { return Ok(()) };
        let Some(key) = table.key_column().filter(|_| index.unique).map(|key| &table.columns[key].name) else {
            return Ok(());
        };
        let is_key = |column: &ast::IndexColumn| matches!(&column.column.expr, ast::Expr::Identifier(name) if sql::fold(name) == key.as_str());
        if index.columns.iter().any(is_key) {
            return Ok(());
        }
        Err(Error::unsupported(
            format!("a unique index of \"{}\" without its key column \"{key}\"", table.name),
            "Include the key column: each shard sees its own rows only.",
        )
        .table(&table.name))
    }

    fn note(&mut self, sqlstate: SqlState, message: String) {
        self.notices.push(Error::new(sqlstate, message));
    }

    fn in_work(&self, name: &str, shard: ShardId) -> Error {
        let on = self.engine.shard_name(shard);
        Error::new(SqlState::OBJECT_IN_USE, format!("index \"{name}\" is being built on shard \"{on}\""))
            .hint("Wait until that has ended, and run the same statement again.")
    }

    fn unlike(&self, name: &str, first: ShardId, other: ShardId) -> Error {
        let (first, other) = (self.engine.shard_name(first), self.engine.shard_name(other));
        Error::new(
            SqlState::DUPLICATE_TABLE,
            format!(
                "index \"{name}\" is on every shard, and another one on shard \"{other}\" than on shard \"{first}\""
            ),
        )
        .hint("Drop it with DROP INDEX CONCURRENTLY, and create it again.")
    }
}

fn exists(name: &str) -> Error {
    Error::new(SqlState::DUPLICATE_TABLE, format!("relation \"{name}\" already exists"))
}
