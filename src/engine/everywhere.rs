//! What every Postgres shard has to run: changes of the schema, and writes to reference tables.
//!
//! The client's text runs as it is on each of them, in one transaction each.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::Engine;
use super::ddl::{keep_entries, tag_of};
use super::down::Need;
use super::following::changing;
use super::givers::refuse_two_givers;
use super::guards::{Changed, refuse_guard};
use super::recording::RanOn;
use super::sequence::set_apart;
use super::session::{Execution, Session};
use super::transaction::Transaction;
use crate::error::{Error, Fault, Result, Retry, SqlState};
use crate::plan::{self, ReferenceWrite, is_default};
use crate::shard::postgres::schema::{Severity, ShardSchema, survey};
use crate::shard::{Call, TransactionMode, Written};
use crate::sql::{self, ast, function_name, walk_expressions};
use crate::topology::{Column, Placements, Schema, Table, Topology};
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
        let tables: Vec<String> = match tree {
            ast::Statement::AlterTable(alter) => sql::name_parts(&alter.name).and_then(|mut parts| parts.pop()),
            _ => None,
        }
        .into_iter()
        .map(std::borrow::Cow::into_owned)
        .collect();
        let restarts = matches!(tree, ast::Statement::Truncate(truncate)
            if truncate.identity == Some(ast::TruncateIdentityOption::Restart));
        let named = |_: &str, table: &str| restarts || tables.iter().any(|named| named == table);
        let before = self.schema();
        refuse_rows_of_each_shard(tree, &before)?;
        refuse_guard(tree)?;
        self.make_room_for_guard(text).await?;
        let renamed = renamed(tree);
        let names = renamed.as_ref().map(|(old, new)| (old.as_str(), new.as_str()));
        let tag = self.change_servers_by(text, tag_of(tree), names, named).await?;
        refuse_renamed_kind(names, &before, &self.schema())?;
        Ok(tag)
    }

    /// The same by its text. `renamed`: a table's old name and its new one. `named`: whether it may have changed a sequence,
    /// by that one's name and its table's.
    pub(super) async fn change_servers_by(
        &mut self,
        text: &str,
        tag: &'static str,
        renamed: Option<(&str, &str)>,
        named: impl Fn(&str, &str) -> bool + Sync,
    ) -> Result<&'static str> {
        let engine = Arc::clone(&self.engine);
        engine.require_all(Need::SchemaChange)?;
        let transaction = self.open_transaction()?;
        transaction.lock_schema(&engine).await?;
        engine.refuse_while_slots_move()?;
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
        let mut read = transaction.read_schemas(&engine, &shards, &topology).await?;
        if let Some((_, first)) = read.first() {
            let exists = |table: &str| read.iter().any(|(_, found)| found.relations.contains(table));
            // A table is what it was under another name; one that is made later by an old name is placed as any other.
            let placements = first.placements.following(exists, renamed);
            if placements != first.placements {
                transaction.remember(&engine, &shards, &placements).await?;
                read = transaction.read_schemas(&engine, &shards, &topology).await?;
            }
        }
        let apart = set_apart(&read, &before, &named);
        if !apart.is_empty() {
            for (shard, statements) in &apart {
                let participant = transaction.join_as_writer(&engine, *shard, TransactionMode::Schema).await?;
                participant.transaction.run_batch(statements).await?;
            }
            read = transaction.read_schemas(&engine, &shards, &topology).await?;
        }
        let after = survey(&read, &topology.keyspaces);
        keep_entries(&before, &after)?;
        refuse_other_kinds(&read, &before, &after)?;
        refuse_what_cannot_be_sharded(&read, &before, &after, &named)?;
        refuse_two_givers(&before, &after, &topology.keyspaces)?;
        let named = |table: &str| named("", table);
        let changed = Changed { before: &before, after: &after, topology: &topology, named: &named, placed_anew: None };
        notices.extend(transaction.guard_tables(&engine, &read, &changed).await?);
        transaction.schema = Some(Arc::new(after));
        self.notices.extend(notices);
        Ok(tag)
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
        execution: &Execution,
    ) -> Result<Written> {
        let engine = Arc::clone(&self.engine);
        let schema = self.schema();
        let table = schema.table(&write.table);
        let mut filled = None;
        let same = execution.statement.require_same_everywhere();
        if let Err(reason) = same.and(refuse_different_effects(&write.statement, table.map(|table| &**table))) {
            let (Some(table), Call::Postgres(call)) = (table, call) else { return Err(reason) };
            self.require_fillable(&write.statement, table, call, reason)?;
            filled = Some((table, call));
        }
        engine.require(shards, Need::ReferenceWrite)?;
        self.require_prepared(shards)?;
        self.ran_on = RanOn::Several;
        // In one order by everybody, so that nobody waits in a circle.
        let mut shards = shards.to_vec();
        shards.sort_unstable();
        let shards_written = shards.len();
        if let Some((table, call)) = filled {
            let written = match changing(&write.statement) {
                Some(changing) => self.change_and_follow((write, &changing), table, call, &shards, execution).await?,
                None => self.fill_and_copy(write, table, call, &shards, execution).await?,
            };
            refuse_new_shards(&engine, &write.keyspace, shards_written)?;
            return Ok(written);
        }
        let transaction = self.open_transaction()?;
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
    Err(Error::new(SqlState::SERIALIZATION_FAILURE, NEW_SHARD)
        .retry(Retry::Safe)
        .hint("Nothing was written: run the whole transaction again."))
}

/// The same for what came of a write. One that waited for the shard to join was canceled when it had.
pub(super) fn unless_new_shards<T>(engine: &Engine, keyspace: &str, written: usize, outcome: Result<T>) -> Result<T> {
    match &outcome {
        Err(error) if error.sqlstate() != SqlState::QUERY_CANCELED => outcome,
        _ => refuse_new_shards(engine, keyspace, written).and(outcome),
    }
}

const NEW_SHARD: &str = "a shard joined while the reference table was written";

pub(super) fn is_new_shard(error: &Error) -> bool {
    error.sqlstate() == SqlState::SERIALIZATION_FAILURE && error.message() == NEW_SHARD
}

pub(super) fn copies_differ(table: &str, shard: &str) -> Error {
    Error::new(
        SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
        format!("the copies of reference table \"{table}\" differ: shard \"{shard}\" would write other rows"),
    )
    .fault(Fault::Shard)
    .hint("Nothing was written. Make the copies equal on the servers first.")
}

/// A change that leaves a table with what would be wrong on several shards is taken back.
pub(super) fn refuse_what_cannot_be_sharded(
    read: &[(ShardId, ShardSchema)],
    before: &Schema,
    after: &Schema,
    named: impl Fn(&str, &str) -> bool,
) -> Result<()> {
    let changed = |name: &str| before.table(name) != after.table(name);
    for (shard, found) in read {
        let is_named = |name: &str| {
            let table = found.tables.get(name);
            table.is_some_and(|table| table.sequences.values().any(|sequence| named(sequence, name)))
        };
        let wrong = found.problems(shard.0).into_iter().find(|problem| {
            let about = problem.table.as_deref().is_some_and(|table| changed(table) || is_named(table));
            problem.severity == Severity::WritesWouldBeWrong && about
        });
        if let Some(problem) = wrong {
            return Err(Error::new(SqlState::FEATURE_NOT_SUPPORTED, problem.message).hint(problem.hint));
        }
    }
    Ok(())
}

/// A table that gets, loses or renames the key column would be another kind of table, with the rows of the one that it was.
fn refuse_other_kinds(read: &[(ShardId, ShardSchema)], before: &Schema, after: &Schema) -> Result<()> {
    let changed = before.tables.values().find(|table| match after.table(&table.name) {
        Some(after) => key_of(after) != key_of(table) || after.keyspace != table.keyspace,
        None => read.iter().any(|(_, found)| found.misplaced.contains(&table.name)),
    });
    match changed {
        None => Ok(()),
        Some(table) => Err(other_kind(&table.name)),
    }
}

/// The old and the new name of a table that is given another.
fn renamed(tree: &ast::Statement) -> Option<(String, String)> {
    let ast::Statement::AlterTable(alter) = tree else { return None };
    let last = |name: &ast::ObjectName| Some(sql::name_parts(name)?.pop()?.into_owned());
    alter.operations.iter().find_map(|operation| match operation {
        ast::AlterTableOperation::RenameTable {
            table_name: ast::RenameTableNameKind::As(name) | ast::RenameTableNameKind::To(name),
        } => Some((last(&alter.name)?, last(name)?)),
        _ => None,
    })
}

/// A table's name may say what it is.
fn refuse_renamed_kind(renamed: Option<(&str, &str)>, before: &Schema, after: &Schema) -> Result<()> {
    let Some((old, new)) = renamed else { return Ok(()) };
    match (before.table(old), after.table(new)) {
        (Some(old), Some(new)) if key_of(old) != key_of(new) || old.keyspace != new.keyspace => {
            Err(other_kind(&old.name))
        }
        _ => Ok(()),
    }
}

fn key_of(table: &Table) -> Option<&str> {
    table.key_column().map(|key| table.columns[key].name.as_str())
}

fn other_kind(table: &str) -> Error {
    Error::unsupported(
        format!("a change of the schema that makes table \"{table}\" sharded, or no longer sharded as it is,"),
        "Its rows would have to move: make a new table and INSERT ... SELECT, or see `shardctl table --help` for small ones.",
    )
    .table(table)
}

impl Transaction {
    /// Makes servers know which tables were made another kind.
    pub(super) async fn remember(
        &mut self,
        engine: &Engine,
        shards: &[ShardId],
        placements: &Placements,
    ) -> Result<()> {
        let statement = [super::kind::remembering(placements)?];
        for &shard in shards {
            let participant = self.join_as_writer(engine, shard, TransactionMode::Schema).await?;
            participant.transaction.run_batch(&statement).await?;
        }
        Ok(())
    }

    /// The schemas of servers, as this transaction sees them.
    pub(super) async fn read_schemas(
        &mut self,
        engine: &Engine,
        shards: &[ShardId],
        topology: &Topology,
    ) -> Result<Vec<(ShardId, ShardSchema)>> {
        let mut read = Vec::with_capacity(shards.len());
        for &shard in shards {
            let participant = self.join_as_writer(engine, shard, TransactionMode::Schema).await?;
            read.push((shard, participant.transaction.postgres()?.schema(&topology.keyspaces).await?));
        }
        Ok(read)
    }
}

fn refuse_outside_of_transactions(tree: &ast::Statement) -> Result<()> {
    match tree {
        // Those that say so by TEMPORARY are made elsewhere.
        _ if tree.to_string().to_ascii_lowercase().contains("pg_temp") => Err(temporary()),
        _ => Ok(()),
    }
}

/// # Errors
/// 0A000: what is named by these parts would be in a connection's own schema.
pub(super) fn refuse_temporary(name: &[String]) -> Result<()> {
    if name.iter().any(|part| part.starts_with("pg_temp")) { Err(temporary()) } else { Ok(()) }
}

/// A table that is made of a query's rows would have others on each shard.
fn refuse_rows_of_each_shard(tree: &ast::Statement, schema: &Schema) -> Result<()> {
    let ast::Statement::CreateTable(ast::CreateTable { query: Some(query), .. }) = tree else { return Ok(()) };
    let is_sharded = |name: &ast::ObjectName| {
        let name = sql::name_parts(name).and_then(|mut parts| parts.pop());
        name.and_then(|name| schema.table(&name)).is_some_and(|table| table.key_column().is_some())
    };
    if sql::names_relation(&**query, is_sharded) || plan::calls_volatile(tree) {
        return Err(Error::unsupported(
            "CREATE TABLE ... AS a query whose rows differ between shards",
            "Create the table, and INSERT INTO it what the query gives.",
        ));
    }
    Ok(())
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
    if cuts_rows_off(statement) {
        return Err(Error::unsupported(
            "LIMIT or DISTINCT ON in a write to a reference table, of which every shard could take other rows",
            "Read the rows first, and write their values.",
        ));
    }
    let Some(table) = table else { return Ok(()) };
    let is_computed = |column: &Column| {
        let is_computed = |text: &str| text.contains('(') || sql::is_clock(&text.to_ascii_lowercase());
        column.identity.is_some() || column.default.as_deref().is_some_and(is_computed)
    };
    let mut computed = table.columns.iter().enumerate().filter(|(_, column)| is_computed(column));
    let filled = computed.find(|(number, column)| match write_of(statement) {
        ast::Statement::Insert(insert) => {
            let rows = insert.source.as_ref().map(|source| &*source.body);
            !is_given(&insert.columns, rows, *number, column) || sets_to_default(&insert.on)
        }
        ast::Statement::Update(update) => sets_to_default(&update.assignments),
        ast::Statement::Merge(merge) => merge.clauses.iter().any(|clause| match &clause.action {
            ast::MergeAction::Insert(insert) => {
                let rows = match &insert.kind {
                    ast::MergeInsertKind::Values(values) => Some(ast::SetExpr::Values(values.clone())),
                    _ => None,
                };
                !is_given(&insert.columns, rows.as_ref(), *number, column)
            }
            ast::MergeAction::Update(update) => sets_to_default(update),
            _ => false,
        }),
        _ => false,
    });
    match filled {
        None => Ok(()),
        Some((_, column)) => Err(Error::unsupported(
            format!("a computed default (column \"{}\") in a reference table", column.name),
            "Give the column's value: every shard would compute another one.",
        )),
    }
}

/// Whether a query within takes some rows of many, and which ones may be for the database to choose.
fn cuts_rows_off(statement: &ast::Statement) -> bool {
    struct Finder;
    impl sql::Visitor for Finder {
        type Break = ();
        fn pre_visit_query(&mut self, query: &ast::Query) -> ControlFlow<()> {
            let picks = matches!(&*query.body, ast::SetExpr::Select(select) if matches!(select.distinct, Some(ast::Distinct::On(_))));
            match picks || query.limit_clause.is_some() || query.fetch.is_some() {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        }
    }
    sql::walk(statement, &mut Finder).is_break()
}

/// The write of a statement that may begin with WITH.
pub(super) fn write_of(statement: &ast::Statement) -> &ast::Statement {
    let ast::Statement::Query(query) = statement else { return statement };
    match &*query.body {
        ast::SetExpr::Insert(write)
        | ast::SetExpr::Update(write)
        | ast::SetExpr::Delete(write)
        | ast::SetExpr::Merge(write) => write,
        _ => statement,
    }
}

/// Whether every one of the rows that are inserted into `columns` (none: all) gives a column (a number of the table's) a value.
pub(super) fn is_given(
    columns: &[ast::ObjectName],
    rows: Option<&ast::SetExpr>,
    number: usize,
    column: &Column,
) -> bool {
    let is_named = |name: &ast::ObjectName| {
        sql::name_parts(name).and_then(|mut parts| parts.pop()).is_some_and(|name| name == column.name)
    };
    let place = if columns.is_empty() { Some(number) } else { columns.iter().position(is_named) };
    let (Some(place), Some(rows)) = (place, rows) else { return false };
    match rows {
        ast::SetExpr::Values(values) => {
            values.rows.iter().all(|row| row.content.get(place).is_some_and(|value| !is_default(value)))
        }
        // A query without a list may give fewer columns than there are.
        _ => !columns.is_empty(),
    }
}

/// Whether DEFAULT is assigned to any column.
pub(super) fn sets_to_default<T: ast::Visit>(assignments: &T) -> bool {
    walk_expressions(assignments, |expression| match is_default(expression) {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(()),
    })
    .is_break()
}
