//! What every Postgres shard has to run: changes of the schema, and writes to reference tables.
//!
//! The client's text runs as it is on each of them, in one transaction each.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::Engine;
use super::ddl::keep_entries;
use super::down::Need;
use super::recording::RanOn;
use super::session::Session;
use crate::error::{Error, Fault, Result, Retry, SqlState};
use crate::plan::ReferenceWrite;
use crate::shard::postgres::schema::{Severity, ShardSchema, survey};
use crate::shard::{Call, TransactionMode, Written};
use crate::sql::{self, ast, function_name, walk_expressions};
use crate::topology::{Schema, Table};
use crate::types::ShardId;

/// Functions that answer the same on every shard, whenever they are called.
const SAME_EVERYWHERE: &[&str] = &[
    "abs",
    "array_append",
    "array_cat",
    "array_dims",
    "array_length",
    "array_lower",
    "array_ndims",
    "array_position",
    "array_positions",
    "array_prepend",
    "array_remove",
    "array_replace",
    "array_to_string",
    "array_upper",
    "ascii",
    "bit_length",
    "btrim",
    "cardinality",
    "ceil",
    "ceiling",
    "char_length",
    "character_length",
    "chr",
    "coalesce",
    "concat",
    "concat_ws",
    "date_bin",
    "date_part",
    "date_trunc",
    "decode",
    "div",
    "encode",
    "factorial",
    "floor",
    "format",
    "gcd",
    "greatest",
    "initcap",
    "isfinite",
    "jsonb_array_element",
    "jsonb_array_length",
    "jsonb_build_array",
    "jsonb_build_object",
    "jsonb_extract_path",
    "jsonb_extract_path_text",
    "jsonb_insert",
    "jsonb_object",
    "jsonb_path_exists",
    "jsonb_path_match",
    "jsonb_path_query_array",
    "jsonb_path_query_first",
    "jsonb_pretty",
    "jsonb_set",
    "jsonb_set_lax",
    "jsonb_strip_nulls",
    "jsonb_typeof",
    "justify_days",
    "justify_hours",
    "justify_interval",
    "lcm",
    "least",
    "left",
    "length",
    "lower",
    "lpad",
    "ltrim",
    "make_date",
    "make_interval",
    "make_time",
    "make_timestamp",
    "md5",
    "min_scale",
    "mod",
    "normalize",
    "nullif",
    "num_nonnulls",
    "num_nulls",
    "octet_length",
    "overlay",
    "parse_ident",
    "position",
    "quote_ident",
    "quote_literal",
    "quote_nullable",
    "regexp_count",
    "regexp_instr",
    "regexp_like",
    "regexp_match",
    "regexp_replace",
    "regexp_split_to_array",
    "regexp_substr",
    "repeat",
    "replace",
    "reverse",
    "right",
    "round",
    "rpad",
    "rtrim",
    "scale",
    "sha224",
    "sha256",
    "sha384",
    "sha512",
    "sign",
    "split_part",
    "sqrt",
    "starts_with",
    "string_to_array",
    "strpos",
    "substr",
    "substring",
    "to_hex",
    "to_jsonb",
    "translate",
    "trim",
    "trim_array",
    "trim_scale",
    "trunc",
    "unistr",
    "upper",
    "width_bucket",
];

impl Session {
    /// Changes the schema of all servers. Gives the command tag.
    ///
    /// # Errors
    /// A shard refused it, or it would make tables that cannot be sharded.
    pub(super) async fn change_servers(&mut self, tree: &ast::Statement, text: &str) -> Result<&'static str> {
        refuse_outside_of_transactions(tree)?;
        let engine = Arc::clone(&self.engine);
        engine.require_all(Need::SchemaChange)?;
        let transaction = self.open_transaction()?;
        transaction.lock_schema(&engine).await?;
        let topology = engine.live.snapshot();
        let before = transaction.schema.clone().unwrap_or_else(|| Arc::clone(&topology.schema));
        let mut shards: Vec<ShardId> = topology.shards.iter().map(|shard| shard.id).collect();
        shards.sort_unstable();
        let mut notices = Vec::new();
        for &shard in &shards {
            let participant = transaction.join_as_writer(&engine, shard, TransactionMode::Schema).await?;
            let told = participant.run_told(text).await?;
            // All say the same.
            if shard == shards[0] {
                notices = told;
            }
        }
        let first = shards.first().copied().ok_or_else(|| Error::internal("there are no shards"))?;
        let participant = transaction.join_as_writer(&engine, first, TransactionMode::Schema).await?;
        let mut found = participant.transaction.postgres()?.schema(&topology.keyspaces).await?;
        let statements = sequences_to_set_apart(&found, &before);
        if !statements.is_empty() {
            for &shard in &shards {
                let own: Vec<String> = statements.iter().map(|(name, from)| set_apart(name, *from, shard)).collect();
                let participant = transaction.join_as_writer(&engine, shard, TransactionMode::Schema).await?;
                participant.transaction.run_batch(&own).await?;
            }
            let participant = transaction.join_as_writer(&engine, first, TransactionMode::Schema).await?;
            found = participant.transaction.postgres()?.schema(&topology.keyspaces).await?;
        }
        let mut read = Vec::with_capacity(shards.len());
        for &shard in &shards {
            let participant = transaction.join_as_writer(&engine, shard, TransactionMode::Schema).await?;
            read.push((shard, participant.transaction.postgres()?.schema(&topology.keyspaces).await?));
        }
        let after = survey(&read, &topology.keyspaces);
        keep_entries(&before, &after)?;
        refuse_what_cannot_be_sharded(&found, &before, &after, first)?;
        transaction.schema = Some(Arc::new(after));
        self.notices.extend(notices);
        Ok(tag_of(tree))
    }

    /// Writes to a reference table, alike on every server.
    ///
    /// # Errors
    /// The statement could do something else on each; a shard refused it.
    pub(super) async fn run_everywhere(
        &mut self,
        write: &ReferenceWrite,
        call: &Call,
        shards: &[ShardId],
    ) -> Result<Written> {
        let engine = Arc::clone(&self.engine);
        let schema = Arc::clone(&engine.live.snapshot().schema);
        refuse_different_effects(&write.statement, schema.table(&write.table).map(|table| &**table))?;
        engine.require(shards, Need::ReferenceWrite)?;
        self.require_prepared(shards)?;
        self.ran_on = RanOn::Several;
        let transaction = self.open_transaction()?;
        // In one order by everybody, so that nobody waits in a circle.
        let mut shards = shards.to_vec();
        shards.sort_unstable();
        let shards_written = shards.len();
        let mut first: Option<Written> = None;
        for shard in shards {
            let participant = transaction.join_as_writer(&engine, shard, TransactionMode::Write).await?;
            let written = super::write::held(participant.run(call.clone()).await?).await?;
            match &first {
                Some(first) if first.affected != written.affected => {
                    return Err(copies_differ(&write.table, &engine.shard_name(shard)));
                }
                Some(_) => {}
                None => first = Some(written),
            }
        }
        refuse_new_shards(&engine, &write.keyspace, shards_written)?;
        first.ok_or_else(|| Error::internal("there are no shards"))
    }
}

/// A shard that joins waits for those that have written already, and holds the others back until it is in.
pub(super) fn refuse_new_shards(engine: &Engine, keyspace: &str, written: usize) -> Result<()> {
    if engine.live.snapshot().keyspace(keyspace).is_none_or(|keyspace| keyspace.shards.len() == written) {
        return Ok(());
    }
    Err(Error::new(SqlState::SERIALIZATION_FAILURE, "a shard joined while the reference table was written")
        .retry(Retry::Safe)
        .hint("Nothing was written: run the whole transaction again."))
}

pub(super) fn copies_differ(table: &str, shard: &str) -> Error {
    Error::new(
        SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
        format!("the copies of reference table \"{table}\" differ: shard \"{shard}\" would write other rows"),
    )
    .fault(Fault::Shard)
    .hint("Nothing was written. Make the copies equal on the servers first.")
}

/// Sequences of new sharded tables that would give the same numbers on every shard, and where they stand.
pub(super) fn sequences_to_set_apart(found: &ShardSchema, before: &Schema) -> Vec<(String, i64)> {
    let new = found.tables.iter().filter(|(name, table)| {
        before.table(name).is_none_or(|known| known.columns.len() != table.table.columns.len())
            && table.table.key_column().is_some()
    });
    let names = new.flat_map(|(_, table)| table.sequences.values());
    let sequences = names.filter_map(|name| Some((name, found.sequences.get(name)?)));
    sequences
        .filter(|(_, sequence)| sequence.increment == 1)
        .map(|(name, sequence)| (name.clone(), sequence.position.unwrap_or(sequence.start)))
        .collect()
}

/// The statement that makes a sequence count what is `shard`'s alone: its number, and every 1,024th after it.
pub(super) fn set_apart(name: &str, from: i64, shard: ShardId) -> String {
    let step = i64::from(crate::topology::SHARD_NUMBER_MAX);
    let ahead = (i64::from(shard.0) - from).rem_euclid(step);
    let start = from.saturating_add(ahead);
    format!("ALTER SEQUENCE {name} INCREMENT BY {step} MINVALUE 1 START WITH {start} RESTART WITH {start}")
}

/// A change that leaves a table with what would be wrong on several shards is taken back.
fn refuse_what_cannot_be_sharded(found: &ShardSchema, before: &Schema, after: &Schema, shard: ShardId) -> Result<()> {
    let changed = |name: &str| before.table(name) != after.table(name);
    let wrong = found.problems(shard.0).into_iter().find(|problem| {
        problem.severity == Severity::WritesWouldBeWrong && problem.table.as_deref().is_some_and(changed)
    });
    match wrong {
        None => Ok(()),
        Some(problem) => Err(Error::new(SqlState::FEATURE_NOT_SUPPORTED, problem.message).hint(problem.hint)),
    }
}

fn refuse_outside_of_transactions(tree: &ast::Statement) -> Result<()> {
    match tree {
        ast::Statement::CreateIndex(index) if index.concurrently => Err(Error::unsupported(
            "CREATE INDEX CONCURRENTLY",
            "Create the index without CONCURRENTLY, or with it on each server directly.",
        )),
        // Those that say so by TEMPORARY are made elsewhere.
        _ if tree.to_string().to_ascii_lowercase().contains("pg_temp") => Err(temporary()),
        _ => Ok(()),
    }
}

fn temporary() -> Error {
    Error::unsupported(
        "a temporary table, view or sequence that is named by pg_temp",
        "Write CREATE TEMPORARY TABLE, and the name alone.",
    )
}

/// The copies stay equal only if the statement does the same to each.
pub(super) fn refuse_different_effects(statement: &ast::Statement, table: Option<&Table>) -> Result<()> {
    let called = walk_expressions(statement, |expression| match expression {
        ast::Expr::Function(function) => {
            let name = function_name(&function.name).map(|name| name.into_owned()).unwrap_or_default();
            let is_same = SAME_EVERYWHERE.contains(&name.as_str()) || sql::is_clock(&name);
            if is_same { ControlFlow::Continue(()) } else { ControlFlow::Break(name) }
        }
        ast::Expr::Subquery(_) | ast::Expr::Exists { .. } | ast::Expr::InSubquery { .. } => {
            ControlFlow::Break("a subquery".to_owned())
        }
        _ => ControlFlow::Continue(()),
    });
    if let ControlFlow::Break(name) = called {
        return Err(Error::unsupported(
            format!("{name} in a write to a reference table, which every shard would answer by itself"),
            "Compute the value first, and write it as a value.",
        ));
    }
    let (ast::Statement::Insert(insert), Some(table)) = (statement, table) else { return Ok(()) };
    let given: Vec<String> = match insert.columns.as_slice() {
        [] => table.columns.iter().map(|column| column.name.clone()).collect(),
        columns => columns.iter().map(|column| column.to_string().trim_matches('"').to_owned()).collect(),
    };
    let filled = table.columns.iter().find(|column| {
        let is_computed = |text: &str| text.contains('(') || sql::is_clock(&text.to_ascii_lowercase());
        let computed = column.identity.is_some() || column.default.as_deref().is_some_and(is_computed);
        computed && !given.contains(&column.name)
    });
    match filled {
        None => Ok(()),
        Some(column) => Err(Error::unsupported(
            format!("a computed default (column \"{}\") in a reference table", column.name),
            "Give the column's value: every shard would compute another one.",
        )),
    }
}

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
