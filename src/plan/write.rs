//! Writes: whose rows they write, and what they may read for it. INSERT has a file of its own.

use std::sync::Arc;

use super::across::{Across, insert_across, movement};
use super::analysis::Analysis;
use super::graph::Variable;
use super::key::KeyExpression;
use super::merge_into::merge_across;
use super::place::Place;
use super::route::Keys;
use super::row_by_row::row_by_row;
use super::scope::{Scope, Source};
use super::{Insert, Plan, ReferenceWrite, Route, Write};
use crate::error::{Error, Result, SqlState};
use crate::sql::ast::{
    self, Assignment, AssignmentTarget, Delete, Expr, FromTable, ObjectName, Statement, TableFactor, TableWithJoins,
    Update, UpdateTableFromKind,
};
use crate::sql::{fold, name_parts};
use crate::topology::{Table, TableKind};

/// A write that was read.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) table: Arc<Table>,
    pub(super) returning: bool,
    /// INSERT ... VALUES into a sharded table, with nothing else to read: the keys of its rows.
    pub(super) row_keys: Option<Vec<KeyExpression>>,
}

/// Plans a write that is a statement by itself.
pub(super) fn plan(mut analysis: Analysis<'_>, statement: &Statement) -> Result<Plan> {
    let written = analyse(&mut analysis, statement, Place::TOP)?;
    analysis.refuse_catalog()?;
    let statement = statement.clone();
    let keyspace = analysis.keyspace_name();
    let Written { table, returning, row_keys } = written;
    let TableKind::Sharded { key_type, .. } = table.kind else {
        if analysis.schema.temporary.contains(&table.name) && analysis.graph.table_count() > 0 {
            // It has no copies: what is read decides where it can run.
            let route = Route { keyspace, keys: analysis.graph.keys() };
            let several = Err(Error::unsupported("a temporary table on several shards", "Give one key in WHERE."));
            let write = Write { route, statement, returning, several, across: None, tables: analysis.tables };
            return Ok(Plan::Write(Box::new(write)));
        }
        if analysis.graph.table_count() > 0 {
            let reason = reads_sharded(&table);
            let across = match &statement {
                Statement::Insert(insert) => {
                    insert_across(insert, &table).map(Across::Insert).ok_or_else(|| reason.clone())?
                }
                Statement::Merge(_) => return Err(reason),
                other => {
                    let plan = row_by_row(other, &table).map_err(|also| because(reason.clone(), &also))?;
                    Across::RowByRow(Box::new(plan))
                }
            };
            // Every copy is written, whatever is read.
            let route = Route { keyspace, keys: Keys::Every };
            let (several, tables) = (Err(reason), analysis.tables);
            let write = Write { route, statement, returning, several, across: Some(across), tables };
            return Ok(Plan::Write(Box::new(write)));
        }
        let reference = ReferenceWrite { keyspace, table: table.name.clone(), statement, returning };
        return Ok(Plan::WriteReference(Box::new(reference)));
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
    if let Statement::Update(update) = &statement
        && let Some(reason) = key_assignment(&table, &update.assignments)
    {
        let across = Some(Across::Move(Box::new(movement(update, &table, &analysis)?)));
        // Where the rows are is not where they belong afterwards.
        let route = Route { keyspace, keys: Keys::Every };
        let write = Write { route, statement, returning, several: Err(reason), across, tables: analysis.tables };
        return Ok(Plan::Write(Box::new(write)));
    }
    let across = match &statement {
        _ if analysis.apart.is_none() => Ok(None),
        Statement::Insert(insert) => Ok(insert_across(insert, &table).map(Across::Insert)),
        Statement::Merge(merge) => {
            merge_across(merge, &table, &mut analysis).map(|plan| Some(Across::Merge(Box::new(plan))))
        }
        other => row_by_row(other, &table).map(|plan| Some(Across::RowByRow(Box::new(plan)))),
    };
    let (across, apart) = match across {
        Ok(across) => (across, analysis.apart),
        Err(also) => (None, analysis.apart.map(|reason| because(reason, &also))),
    };
    let route = Route { keyspace, keys: analysis.graph.keys() };
    let (several, tables) = (apart.map_or(Ok(()), Err), analysis.tables);
    Ok(Plan::Write(Box::new(Write { route, statement, returning, several, across, tables })))
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
    Ok(())
}

/// Reads a write, by itself or within a WITH.
pub(super) fn analyse(analysis: &mut Analysis<'_>, statement: &Statement, place: Place<'_>) -> Result<Written> {
    let written = match statement {
        Statement::Insert(insert) => super::insert::analyse(analysis, insert, place)?,
        Statement::Update(update) => analyse_update(analysis, update, place)?,
        Statement::Delete(delete) => analyse_delete(analysis, delete, place)?,
        Statement::Merge(merge) => super::merge_into::analyse(analysis, merge, place)?,
        _ => return Err(Error::unsupported("this statement within WITH", "Use INSERT, UPDATE or DELETE.")),
    };
    // What a query's WITH is for is one level in.
    let is_main = place.level == 1
        && matches!(statement, Statement::Insert(_))
        && !analysis.schema.temporary.contains(&written.table.name);
    if (place.level > 0 || place.ctes.is_some()) && !is_main && written.table.kind == TableKind::Reference {
        return Err(Error::unsupported(
            format!("a write to the reference table \"{}\" within WITH", written.table.name),
            "Write it in a statement of its own.",
        ));
    }
    Ok(written)
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

fn analyse_update(analysis: &mut Analysis<'_>, update: &Update, place: Place<'_>) -> Result<Written> {
    let foreign =
        update.or.is_some() || update.output.is_some() || !update.order_by.is_empty() || update.limit.is_some();
    if foreign {
        return Err(Error::new(SqlState::SYNTAX_ERROR, "syntax error: this clause of UPDATE is not Postgres's"));
    }
    let (name, alias) = only_table(&update.table)?;
    let (table, source, key) = target(analysis, name, alias, place.level)?;
    if place.level > 0 || place.ctes.is_some() {
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
    Ok(Written { table, returning: update.returning.is_some(), row_keys: None })
}

fn analyse_delete(analysis: &mut Analysis<'_>, delete: &Delete, place: Place<'_>) -> Result<Written> {
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
    Ok(Written { table, returning: delete.returning.is_some(), row_keys: None })
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
