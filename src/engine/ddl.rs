//! Changes of the schema: on every shard, on all or none, and seen by others when they are committed.

use std::sync::Arc;

use super::answer::Answer;
use super::down::Need;
use super::file_guards;
use super::session::{Execution, Session};
use crate::error::{Error, Result};
use crate::plan::Concurrent;
use crate::shard::sqlite::dialect;
use crate::shard::{ShardKind, TransactionMode};
use crate::sql::{self, ast, quote_identifier};
use crate::topology::{KV_TABLES, Schema, Table};
use crate::types::ShardId;

impl Session {
    pub(super) async fn change_schema(&mut self, tree: &ast::Statement, execution: &Execution) -> Result<Answer> {
        if self.engine.kind == ShardKind::Postgres
            && let Some(answer) = self.change_temporaries(tree, execution).await?
        {
            return Ok(answer);
        }
        if let (ShardKind::Postgres, ast::Statement::CreateIndex(index)) = (self.engine.kind, tree)
            && index.concurrently
        {
            self.engine.refuse_while_slots_move()?;
            return self.create_index_concurrently(index, execution).await;
        }
        let own = self.open_spanning(execution)?;
        let outcome = match self.engine.kind {
            ShardKind::Sqlite => self.change_everywhere(tree).await,
            ShardKind::Postgres => self.change_servers(tree, &execution.prepared.text).await,
        };
        self.close_spanning(own, outcome).await.map(Answer::command)
    }

    /// CREATE and ALTER SEQUENCE, in the client's own text.
    pub(super) async fn change_sequence(
        &mut self,
        tag: &'static str,
        name: &[String],
        execution: &Execution,
    ) -> Result<Answer> {
        if self.engine.kind == ShardKind::Sqlite {
            return Err(Error::unsupported(
                "sequences other than those of serial and identity columns",
                "Use a serial or identity column; SELECT setval('...', n) sets the number after which it goes on.",
            ));
        }
        super::everywhere::refuse_temporary(name)?;
        let own = self.open_spanning(execution)?;
        let named = |sequence: &str, _: &str| name.last().is_some_and(|name| is_last_part(sequence, name));
        let outcome = self.change_servers_by(&execution.prepared.text, tag, None, named).await;
        self.close_spanning(own, outcome).await.map(Answer::command)
    }

    /// DROP INDEX and REINDEX with CONCURRENTLY.
    pub(super) async fn change_concurrently(&mut self, change: &Concurrent, execution: &Execution) -> Result<Answer> {
        match (self.engine.kind, change) {
            (ShardKind::Postgres, _) => {
                self.engine.refuse_while_slots_move()?;
                self.concurrently(change, execution).await
            }
            (ShardKind::Sqlite, Concurrent::Reindex) => Err(Error::unsupported(
                "maintenance of tables by SQL",
                "Run it on each shard directly; SQLite shards need none.",
            )),
            (ShardKind::Sqlite, Concurrent::DropIndex { name, if_exists }) => {
                // Nobody waits for long on a SQLite shard: it is dropped as any other.
                let exists = if *if_exists { "IF EXISTS " } else { "" };
                let text = format!("DROP INDEX {exists}{}", quote_identifier(name));
                let sql::Tree::Sql(tree) = sql::parse(&text, 0, Vec::new())?.tree else {
                    return Err(Error::internal("a DROP INDEX was not read as one"));
                };
                self.change_schema(&tree, execution).await
            }
        }
    }

    /// Gives the command tag.
    async fn change_everywhere(&mut self, tree: &ast::Statement) -> Result<&'static str> {
        let engine = Arc::clone(&self.engine);
        let transaction = self.open_transaction()?;
        transaction.lock_schema(&engine).await?;
        engine.refuse_while_slots_move()?;
        let topology = engine.live.snapshot();
        let schema = transaction.schema.clone().unwrap_or_else(|| Arc::clone(&topology.schema));
        let change = dialect::change(tree, &schema, &topology.keyspaces, transaction.now)?;
        keep_entries(&schema, &change.schema)?;
        if !change.statements.is_empty() {
            let statements = file_guards::around(&schema, &change);
            let mut shards: Vec<ShardId> = topology.shards.iter().map(|shard| shard.id).collect();
            shards.sort_unstable();
            engine.require(&shards, Need::SchemaChange)?;
            for &shard in &shards {
                transaction.join_as_writer(&engine, shard, TransactionMode::Schema).await?;
            }
            for &shard in &shards {
                transaction.join_as_writer(&engine, shard, TransactionMode::Schema).await?.run_ddl(&statements).await?;
            }
            // Also when it is the same, after TRUNCATE: the shards wait for a new version of it to be published.
            transaction.schema = Some(Arc::new(change.schema));
        }
        self.notices.extend(change.notices);
        Ok(change.tag)
    }
}

/// Of a `schema.name` whose parts are quoted where SQL needs it.
fn is_last_part(whole: &str, name: &str) -> bool {
    whole.strip_suffix(&*quote_identifier(name)).is_some_and(|schema| schema.ends_with('.'))
}

/// The HTTP door's entries are in tables that a client may read and not change: without them the door answers nothing.
pub(super) fn keep_entries(before: &Schema, after: &Schema) -> Result<()> {
    let without_indexes = |schema: &Schema, name: &str| {
        schema.table(name).map(|table| Table { indexes: Vec::new(), ..Table::clone(table) })
    };
    let changed = KV_TABLES.iter().find(|name| {
        let before = without_indexes(before, name);
        before.is_some() && before != without_indexes(after, name)
    });
    match changed {
        None => Ok(()),
        Some(name) => Err(Error::unsupported(
            format!("changing or dropping \"{name}\", which holds the HTTP door's entries"),
            "Delete entries with DELETE, or at the HTTP door.",
        )),
    }
}

/// What its statement's answer says was done.
pub(super) fn tag_of(tree: &ast::Statement) -> &'static str {
    match tree {
        ast::Statement::CreateTable(_) => "CREATE TABLE",
        ast::Statement::CreateIndex(_) => "CREATE INDEX",
        ast::Statement::CreateView(_) => "CREATE VIEW",
        ast::Statement::CreateSchema { .. } => "CREATE SCHEMA",
        ast::Statement::CreateSequence { .. } => "CREATE SEQUENCE",
        ast::Statement::CreateExtension(_) => "CREATE EXTENSION",
        ast::Statement::CreateType { .. } => "CREATE TYPE",
        ast::Statement::CreateDomain(_) => "CREATE DOMAIN",
        ast::Statement::AlterTable(_) => "ALTER TABLE",
        ast::Statement::AlterIndex { .. } => "ALTER INDEX",
        ast::Statement::AlterType(_) => "ALTER TYPE",
        ast::Statement::AlterView { .. } => "ALTER VIEW",
        ast::Statement::Truncate(_) => "TRUNCATE TABLE",
        ast::Statement::DropExtension(_) => "DROP EXTENSION",
        ast::Statement::DropDomain(_) => "DROP DOMAIN",
        ast::Statement::Comment { .. } => "COMMENT",
        ast::Statement::Drop { object_type, .. } => match object_type {
            ast::ObjectType::Table => "DROP TABLE",
            ast::ObjectType::View => "DROP VIEW",
            ast::ObjectType::Index => "DROP INDEX",
            ast::ObjectType::Schema => "DROP SCHEMA",
            ast::ObjectType::Sequence => "DROP SEQUENCE",
            ast::ObjectType::Type => "DROP TYPE",
            _ => "DROP",
        },
        _ => "DDL",
    }
}
