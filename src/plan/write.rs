//! Writes: whose rows they write, and what they may read for it. INSERT has a file of its own.

use std::sync::Arc;

use super::across::{Across, Move, insert_across, movement};
use super::analysis::Analysis;
use super::graph::Variable;
use super::key::KeyExpression;
use super::merge_into::merge_across;
use super::place::Place;
use super::query::Output;
use super::route::Keys;
use super::row_by_row::row_by_row;
use super::scope::{Scope, Source};
use super::{Insert, Plan, ReferenceWrite, Route, Write};
use crate::error::{Error, Result, SqlState};
use crate::sql::ast::{
    self, Assignment, AssignmentTarget, Delete, Expr, FromTable, ObjectName, Statement, TableFactor, TableWithJoins,
    Update, UpdateTableFromKind, With,
};
use crate::sql::{fold, name_parts};
use crate::topology::{Table, TableKind};

/// A write that was read.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) table: Arc<Table>,
    /// INSERT ... VALUES into a sharded table, with nothing else to read: the keys of its rows.
    pub(super) row_keys: Option<Vec<KeyExpression>>,
}

/// A write as a statement: with the WITH that it may have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Whole<'s> {
    /// As the client wrote it.
    pub(super) statement: &'s Statement,
    /// The write itself.
    pub(super) write: &'s Statement,
    pub(super) with: Option<&'s With>,
}

/// Plans a write that is a statement by itself.
pub(super) fn plan(mut analysis: Analysis<'_>, statement: &Statement) -> Result<Plan> {
    let (written, _) = analyse(&mut analysis, statement, Place::TOP)?;
    plan_written(analysis, Whole { statement, write: statement, with: None }, written)
}

/// Plans a write that was read.
pub(super) fn plan_written(mut analysis: Analysis<'_>, whole: Whole<'_>, written: Written) -> Result<Plan> {
    analysis.refuse_catalog()?;
    let statement = whole.statement.clone();
    let Written { table, row_keys } = written;
    let keyspace = table.keyspace.clone();
    let returning = returns(whole.write);
    if let Some(reason) = analysis.mixed.take() {
        let across = across(whole, analysis.text, &table).map_err(|also| because(reason.clone(), &also))?;
        let route = Route { keyspace, keys: Keys::Every };
        let (several, across) = (Err(reason), Some(across));
        let tables = analysis.tables;
        let (to_reference, mixes_keyspaces) = (table.kind == TableKind::Reference, true);
        let write = Write { route, statement, returning, several, across, mixes_keyspaces, to_reference, tables };
        return Ok(Plan::Write(Box::new(write)));
    }
    let (mixes_keyspaces, to_reference) = (false, false);
    let TableKind::Sharded { key_type, .. } = table.kind else {
        return plan_unsharded(analysis, whole, &table);
    };
    if let Some(row_keys) = row_keys {
        let key_column = table.key_column().and_then(|number| table.columns.get(number));
        let key_length = super::key_length(&table);
        let key_column = key_column.map(|column| column.name.clone()).unwrap_or_default();
        let table = table.name.clone();
        return Ok(Plan::Insert(Box::new(Insert {
            keyspace,
            table,
            statement,
            row_keys,
            returning,
            key_type,
            key_column,
            key_length,
            deep: analysis.deep,
        })));
    }
    if let Statement::Update(update) = whole.write
        && let Some(reason) = key_assignment(&table, &update.assignments)
    {
        refuse_write_in_with(whole.with)?;
        let across = Some(Across::Move(Box::new(moved(update, whole, &table, &mut analysis)?)));
        // Where the rows are is not where they belong afterwards.
        let route = Route { keyspace, keys: Keys::Every };
        let (several, tables) = (Err(reason), analysis.tables);
        let write = Write { route, statement, returning, several, across, mixes_keyspaces, to_reference, tables };
        return Ok(Plan::Write(Box::new(write)));
    }
    let route = Route { keyspace, keys: analysis.graph.keys() };
    let (several, across) = match analysis.apart.take() {
        None => (Ok(()), None),
        Some(reason) => match across(whole, analysis.text, &table) {
            Ok(across) => (Err(reason), Some(across)),
            Err(also) => (Err(because(reason, &also)), None),
        },
    };
    let tables = analysis.tables;
    Ok(Plan::Write(Box::new(Write {
        route,
        statement,
        returning,
        several,
        across,
        mixes_keyspaces,
        to_reference,
        tables,
    })))
}

/// Plans a write to a table that has a copy on every shard, or is temporary.
fn plan_unsharded(analysis: Analysis<'_>, whole: Whole<'_>, table: &Arc<Table>) -> Result<Plan> {
    let statement = whole.statement.clone();
    let keyspace = table.keyspace.clone();
    let returning = returns(whole.write);
    let (mixes_keyspaces, to_reference) = (false, false);
    if analysis.schema.temporary.contains(&table.name) && analysis.graph.table_count() > 0 {
        // It has no copies: what is read decides where it can run.
        let route = Route { keyspace, keys: analysis.graph.keys() };
        let several = Err(Error::unsupported("a temporary table on several shards", "Give one key in WHERE."));
        let (across, tables) = (None, analysis.tables);
        let write = Write { route, statement, returning, several, across, mixes_keyspaces, to_reference, tables };
        return Ok(Plan::Write(Box::new(write)));
    }
    if analysis.graph.table_count() > 0 {
        let reason = reads_sharded(table);
        let across = across(whole, analysis.text, table).map_err(|also| because(reason.clone(), &also))?;
        // Every copy is written, whatever is read.
        let route = Route { keyspace, keys: Keys::Every };
        let (several, across, tables) = (Err(reason), Some(across), analysis.tables);
        let write = Write { route, statement, returning, several, across, mixes_keyspaces, to_reference: true, tables };
        return Ok(Plan::Write(Box::new(write)));
    }
    let reference = ReferenceWrite { keyspace, table: table.name.clone(), statement, returning };
    Ok(Plan::WriteReference(Box::new(reference)))
}

/// How rows move to the shards of the keys that they get.
///
/// # Errors
/// 0A000: they cannot.
fn moved(update: &Update, whole: Whole<'_>, table: &Arc<Table>, analysis: &mut Analysis<'_>) -> Result<Move> {
    let mut movement = movement(update, table, analysis)?;
    let text = analysis.text;
    let by_row = |reason| row_by_row(whole.write, text, table).map_err(|also| because(reason, &also));
    movement.apart = analysis.apart.take().map(|reason| by_row(reason).map(Box::new));
    Ok(movement)
}

/// How a write is done that no shard can do by itself.
///
/// # Errors
/// 0A000: it cannot.
fn across(whole: Whole<'_>, text: &str, table: &Arc<Table>) -> Result<Across> {
    refuse_write_in_with(whole.with)?;
    match whole.write {
        Statement::Insert(insert) => insert_across(insert, table).map(Across::Insert),
        Statement::Update(update) if key_assignment(table, &update.assignments).is_some() => Err(Error::unsupported(
            "an UPDATE of the sharding key that reads tables of another keyspace",
            "Read them first, and give the values.",
        )),
        Statement::Merge(merge) => merge_across(merge, table).map(|plan| Across::Merge(Box::new(plan))),
        other => row_by_row(other, text, table).map(|plan| Across::RowByRow(Box::new(plan))),
    }
}

fn refuse_write_in_with(with: Option<&With>) -> Result<()> {
    if with.is_some_and(super::read::writes_in) {
        return Err(Error::unsupported(
            "a write within WITH beside one that needs rows of other shards",
            "Write them in two statements of one transaction.",
        ));
    }
    Ok(())
}

fn returns(write: &Statement) -> bool {
    match write {
        Statement::Insert(insert) => insert.returning.is_some(),
        Statement::Update(update) => update.returning.is_some(),
        Statement::Delete(delete) => delete.returning.is_some(),
        Statement::Merge(merge) => merge.output.is_some(),
        _ => true,
    }
}

/// Why a write cannot be done shard by shard, and why it cannot be done otherwise.
fn because(reason: Error, also: &Error) -> Error {
    let hints: Vec<&str> = [also.get_hint(), reason.get_hint()].into_iter().flatten().collect();
    let hint = hints.join(" ");
    reason.detail(format!("Nor can its rows be brought together first: {}.", also.message())).hint(hint)
}

pub(super) fn reads_sharded(table: &Table) -> Error {
    Error::unsupported(
        format!("a write to the reference table \"{}\" that reads sharded tables", table.name),
        "Read first, then write the values.",
    )
}

/// TRUNCATE is done like a change of the schema: everywhere, on all shards or none.
pub(super) fn check_truncate(mut analysis: Analysis<'_>, truncate: &ast::Truncate) -> Result<()> {
    for target in &truncate.table_names {
        let table = analysis.written_table(&target.name)?;
        analysis.use_table(&table, 0)?;
    }
    analysis.mixed.map_or(Ok(()), Err)
}

/// Reads a write, by itself or within a WITH.
pub(super) fn analyse(
    analysis: &mut Analysis<'_>,
    statement: &Statement,
    place: Place<'_>,
) -> Result<(Written, Output)> {
    let (written, output) = match statement {
        Statement::Insert(insert) => super::insert::analyse(analysis, insert, place)?,
        Statement::Update(update) => analyse_update(analysis, update, place)?,
        Statement::Delete(delete) => analyse_delete(analysis, delete, place)?,
        Statement::Merge(merge) => super::merge_into::analyse(analysis, merge, place)?,
        _ => return Err(Error::unsupported("this statement within WITH", "Use INSERT, UPDATE or DELETE.")),
    };
    if place.level > 0 && written.table.kind == TableKind::Reference {
        return Err(Error::unsupported(
            format!("a write to the reference table \"{}\" within WITH", written.table.name),
            "Write it in a statement of its own.",
        ));
    }
    Ok((written, output))
}

/// The table that is written, as a part of FROM; its key.
pub(super) fn target(
    analysis: &mut Analysis<'_>,
    name: &ObjectName,
    alias: Option<&ast::Ident>,
    level: usize,
) -> Result<(Arc<Table>, Source, Option<Variable>)> {
    let table = analysis.written_table(name)?;
    let name = alias.map_or_else(|| table.name.clone(), |alias| fold(alias).into_owned());
    let (source, key) = analysis.table_source(&table, name, level)?;
    Ok((table, source, key))
}

/// The table of UPDATE or DELETE, which stands alone.
fn only_table(item: &TableWithJoins) -> Result<(&ObjectName, Option<&ast::Ident>)> {
    match item {
        TableWithJoins { relation: TableFactor::Table { name, alias, args: None, .. }, joins } if joins.is_empty() => {
            Ok((name, alias.as_ref().map(|alias| &alias.name)))
        }
        _ => Err(Error::new(SqlState::SYNTAX_ERROR, "syntax error: only one table can be written")),
    }
}

fn analyse_update(analysis: &mut Analysis<'_>, update: &Update, place: Place<'_>) -> Result<(Written, Output)> {
    let foreign =
        update.or.is_some() || update.output.is_some() || !update.order_by.is_empty() || update.limit.is_some();
    if foreign {
        return Err(Error::new(SqlState::SYNTAX_ERROR, "syntax error: this clause of UPDATE is not Postgres's"));
    }
    let (name, alias) = only_table(&update.table)?;
    let (table, source, key) = target(analysis, name, alias, place.level)?;
    if place.level > 0 {
        refuse_key_assignment(&table, &update.assignments)?;
    }
    let mut strays = Vec::new();
    let from = match &update.from {
        None => Source::default(),
        Some(UpdateTableFromKind::AfterSet(from) | UpdateTableFromKind::BeforeSet(from)) => {
            analysis.from(from, place, &mut strays)?
        }
    };
    let source = source.beside(from);
    let scope = Scope { source: &source, outer: place.outer };
    condition(analysis, update.selection.as_ref(), &scope, place, &mut strays)?;
    analysis.subqueries(&update.assignments, &scope, place, &[], &mut strays)?;
    analysis.subqueries(&update.returning, &scope, place, &[], &mut strays)?;
    analysis.expect_joined(&source);
    analysis.expect_together(&strays, key);
    let output = analysis.returning(update.returning.as_deref(), &scope, key, place.level);
    Ok((Written { table, row_keys: None }, output))
}

fn analyse_delete(analysis: &mut Analysis<'_>, delete: &Delete, place: Place<'_>) -> Result<(Written, Output)> {
    let FromTable::WithFromKeyword(from) = &delete.from else {
        return Err(Error::new(SqlState::SYNTAX_ERROR, "syntax error: DELETE needs FROM"));
    };
    let foreign =
        !delete.tables.is_empty() || delete.output.is_some() || !delete.order_by.is_empty() || delete.limit.is_some();
    let [item] = from.as_slice() else {
        return Err(Error::new(SqlState::SYNTAX_ERROR, "syntax error: only one table can be written"));
    };
    if foreign {
        return Err(Error::new(SqlState::SYNTAX_ERROR, "syntax error: this clause of DELETE is not Postgres's"));
    }
    let (name, alias) = only_table(item)?;
    let (table, source, key) = target(analysis, name, alias, place.level)?;
    let mut strays = Vec::new();
    let using = match &delete.using {
        None => Source::default(),
        Some(using) => analysis.from(using, place, &mut strays)?,
    };
    let source = source.beside(using);
    let scope = Scope { source: &source, outer: place.outer };
    condition(analysis, delete.selection.as_ref(), &scope, place, &mut strays)?;
    analysis.subqueries(&delete.returning, &scope, place, &[], &mut strays)?;
    analysis.expect_joined(&source);
    analysis.expect_together(&strays, key);
    let output = analysis.returning(delete.returning.as_deref(), &scope, key, place.level);
    Ok((Written { table, row_keys: None }, output))
}

/// WHERE of UPDATE and DELETE.
fn condition(
    analysis: &mut Analysis<'_>,
    selection: Option<&Expr>,
    scope: &Scope<'_>,
    place: Place<'_>,
    strays: &mut Vec<Variable>,
) -> Result<()> {
    let Some(condition) = selection else { return Ok(()) };
    let positive = analysis.conditions(condition, scope, place.level);
    analysis.subqueries(condition, scope, place, &positive, strays)
}

/// # Errors
/// 0A000 when the key is assigned.
pub(super) fn refuse_key_assignment(table: &Table, assignments: &[Assignment]) -> Result<()> {
    key_assignment(table, assignments).map_or(Ok(()), Err)
}

/// Why the key cannot be assigned as other columns are, when it is.
fn key_assignment(table: &Table, assignments: &[Assignment]) -> Option<Error> {
    let key = table.key_column().and_then(|number| table.columns.get(number))?;
    let is_key =
        |name: &ObjectName| name_parts(name).is_some_and(|parts| parts.last().is_some_and(|last| *last == key.name));
    let assigned = assignments.iter().any(|assignment| match &assignment.target {
        AssignmentTarget::ColumnName(name) => is_key(name),
        AssignmentTarget::Tuple(names) => names.iter().any(is_key),
    });
    assigned.then(|| {
        Error::unsupported(
            format!("changing the sharding key \"{}\" of \"{}\" by UPDATE", key.name, table.name),
            "A row of another key may live on another shard: insert the new row, then delete the old one.",
        )
        .table(&table.name)
        .column(&key.name)
    })
}
