//! INSERT, UPDATE, DELETE and TRUNCATE: whose rows they write, and what they may read for it.

use std::sync::Arc;

use super::analysis::{Analysis, Ctes, names_system_relation};
use super::graph::Variable;
use super::key::{KeyExpression, constant, type_name};
use super::scope::{Column, Relation, Scope, Source};
use super::{Insert, Plan, ReferenceWrite, Route, Write};
use crate::error::{Error, Result, SqlState};
use crate::sql::ast::{
    self, Assignment, AssignmentTarget, Delete, Expr, FromTable, ObjectName, OnConflictAction, OnInsert, SelectItem,
    SetExpr, Spanned, Statement, TableFactor, TableObject, TableWithJoins, Update, UpdateTableFromKind, Value,
};
use crate::sql::{fold, name_parts};
use crate::topology::{Table, TableKind};
use crate::types::{Datum, KeyType};

/// A write that was read.
#[derive(Debug)]
pub(super) struct Written {
    table: Arc<Table>,
    returning: bool,
    /// INSERT ... VALUES into a sharded table, with nothing else to read: the keys of its rows.
    row_keys: Option<Vec<KeyExpression>>,
}

/// Plans a write that is a statement by itself.
pub(super) fn plan(mut analysis: Analysis<'_>, statement: &Statement) -> Result<Plan> {
    let written = analyse(&mut analysis, statement, None, None, 0)?;
    analysis.refuse_catalog()?;
    let statement = statement.clone();
    let keyspace = analysis.keyspace_name();
    let Written { table, returning, row_keys } = written;
    let TableKind::Sharded { key_type, .. } = table.kind else {
        if analysis.graph.table_count() > 0 {
            return Err(Error::unsupported(
                format!("a write to the reference table \"{}\" that reads sharded tables", table.name),
                "Read first, then write the values.",
            ));
        }
        let reference = ReferenceWrite { keyspace, table: table.name.clone(), statement, returning };
        return Ok(Plan::WriteReference(Box::new(reference)));
    };
    if let Some(row_keys) = row_keys {
        let key_column = table.key_column().and_then(|number| table.columns.get(number));
        let key_length = key_column
            .filter(|_| key_type == KeyType::Text)
            .and_then(|column| usize::try_from(column.modifier.checked_sub(4)?).ok());
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
    let route = Route { keyspace, keys: analysis.graph.keys() };
    let (several, tables) = (analysis.apart.map_or(Ok(()), Err), analysis.tables);
    Ok(Plan::Write(Box::new(Write { route, statement, returning, several, tables })))
}

/// TRUNCATE is done like a change of the schema: everywhere, on all shards or none.
pub(super) fn check_truncate(mut analysis: Analysis<'_>, truncate: &ast::Truncate) -> Result<()> {
    for target in &truncate.table_names {
        let table = find_table(&analysis, &target.name)?;
        analysis.use_table(&table, 0)?;
    }
    Ok(())
}

/// Reads a write, by itself or within a WITH.
pub(super) fn analyse(
    analysis: &mut Analysis<'_>,
    statement: &Statement,
    ctes: Option<&Ctes<'_>>,
    outer: Option<&Scope<'_>>,
    level: usize,
) -> Result<Written> {
    let written = match statement {
        Statement::Insert(insert) => analyse_insert(analysis, insert, ctes, outer, level)?,
        Statement::Update(update) => analyse_update(analysis, update, ctes, outer, level)?,
        Statement::Delete(delete) => analyse_delete(analysis, delete, ctes, outer, level)?,
        _ => return Err(Error::unsupported("this statement within WITH", "Use INSERT, UPDATE or DELETE.")),
    };
    if (level > 0 || ctes.is_some()) && written.table.kind == TableKind::Reference {
        return Err(Error::unsupported(
            format!("a write to the reference table \"{}\" within WITH", written.table.name),
            "Write it in a statement of its own.",
        ));
    }
    Ok(written)
}

fn find_table(analysis: &Analysis<'_>, name: &ObjectName) -> Result<Arc<Table>> {
    let parts = name_parts(name).unwrap_or_default();
    let (schema, table) = match parts.as_slice() {
        [table] => (None, table),
        [schema, table] => (Some(schema.as_ref()), table),
        _ => return Err(analysis.undefined_table(None, &name.to_string(), Some(name.span()))),
    };
    if names_system_relation(analysis.schema, schema, table) {
        return Err(Error::unsupported(
            format!("a write to the system catalog ({table})"),
            "It follows from the tables: change them with CREATE, ALTER and DROP.",
        ));
    }
    let found = if matches!(schema, None | Some("public")) { analysis.schema.table(table) } else { None };
    found.cloned().ok_or_else(|| analysis.undefined_table(schema, table, Some(name.span())))
}

/// The table that is written, as a part of FROM.
fn target(
    analysis: &mut Analysis<'_>,
    name: &ObjectName,
    alias: Option<&ast::Ident>,
    level: usize,
) -> Result<(Arc<Table>, Source, Option<Variable>)> {
    let table = find_table(analysis, name)?;
    let key = analysis.use_table(&table, level)?;
    let columns = table
        .columns
        .iter()
        .enumerate()
        .map(|(number, column)| Column {
            name: column.name.clone(),
            key: key.filter(|_| table.key_column() == Some(number)),
            data_type: Some(column.data_type),
            relation: 0,
        })
        .collect();
    let name = alias.map_or_else(|| table.name.clone(), |alias| fold(alias).into_owned());
    Ok((table, Source::of(Relation { name, columns, complete: true }, key), key))
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

fn analyse_update(
    analysis: &mut Analysis<'_>,
    update: &Update,
    ctes: Option<&Ctes<'_>>,
    outer: Option<&Scope<'_>>,
    level: usize,
) -> Result<Written> {
    let foreign =
        update.or.is_some() || update.output.is_some() || !update.order_by.is_empty() || update.limit.is_some();
    if foreign {
        return Err(Error::new(SqlState::SYNTAX_ERROR, "syntax error: this clause of UPDATE is not Postgres's"));
    }
    let (name, alias) = only_table(&update.table)?;
    let (table, source, key) = target(analysis, name, alias, level)?;
    refuse_key_assignment(&table, &update.assignments)?;
    let mut strays = Vec::new();
    let from = match &update.from {
        None => Source::default(),
        Some(UpdateTableFromKind::AfterSet(from) | UpdateTableFromKind::BeforeSet(from)) => {
            analysis.from(from, ctes, outer, level, &mut strays)?
        }
    };
    let source = source.beside(from);
    let scope = Scope { source: &source, outer };
    finish(analysis, &scope, key, update.selection.as_ref(), ctes, level, strays, |analysis, strays| {
        analysis.subqueries(&update.assignments, &scope, ctes, level, &[], strays)?;
        analysis.subqueries(&update.returning, &scope, ctes, level, &[], strays)
    })?;
    Ok(Written { table, returning: update.returning.is_some(), row_keys: None })
}

fn analyse_delete(
    analysis: &mut Analysis<'_>,
    delete: &Delete,
    ctes: Option<&Ctes<'_>>,
    outer: Option<&Scope<'_>>,
    level: usize,
) -> Result<Written> {
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
    let (table, source, key) = target(analysis, name, alias, level)?;
    let mut strays = Vec::new();
    let using = match &delete.using {
        None => Source::default(),
        Some(using) => analysis.from(using, ctes, outer, level, &mut strays)?,
    };
    let source = source.beside(using);
    let scope = Scope { source: &source, outer };
    finish(analysis, &scope, key, delete.selection.as_ref(), ctes, level, strays, |analysis, strays| {
        analysis.subqueries(&delete.returning, &scope, ctes, level, &[], strays)
    })?;
    Ok(Written { table, returning: delete.returning.is_some(), row_keys: None })
}

/// WHERE and whatever else reads, of UPDATE and DELETE.
#[allow(clippy::too_many_arguments)]
fn finish<'a>(
    analysis: &mut Analysis<'a>,
    scope: &Scope<'_>,
    key: Option<Variable>,
    selection: Option<&Expr>,
    ctes: Option<&Ctes<'_>>,
    level: usize,
    mut strays: Vec<Variable>,
    rest: impl FnOnce(&mut Analysis<'a>, &mut Vec<Variable>) -> Result<()>,
) -> Result<()> {
    if let Some(condition) = selection {
        let positive = analysis.conditions(condition, scope);
        analysis.subqueries(condition, scope, ctes, level, &positive, &mut strays)?;
    }
    rest(analysis, &mut strays)?;
    analysis.expect_joined(scope.source);
    analysis.expect_together(&strays, key);
    Ok(())
}

fn refuse_key_assignment(table: &Table, assignments: &[Assignment]) -> Result<()> {
    let Some(key) = table.key_column().and_then(|number| table.columns.get(number)) else { return Ok(()) };
    let is_key =
        |name: &ObjectName| name_parts(name).is_some_and(|parts| parts.last().is_some_and(|last| *last == key.name));
    let assigned = assignments.iter().any(|assignment| match &assignment.target {
        AssignmentTarget::ColumnName(name) => is_key(name),
        AssignmentTarget::Tuple(names) => names.iter().any(is_key),
    });
    if !assigned {
        return Ok(());
    }
    Err(Error::unsupported(
        format!("changing the sharding key \"{}\" of \"{}\" by UPDATE", key.name, table.name),
        "A row of another key may live on another shard: insert the new row, then delete the old one.",
    )
    .table(&table.name)
    .column(&key.name))
}

fn analyse_insert(
    analysis: &mut Analysis<'_>,
    insert: &ast::Insert,
    ctes: Option<&Ctes<'_>>,
    outer: Option<&Scope<'_>>,
    level: usize,
) -> Result<Written> {
    refuse_foreign_insert(insert)?;
    let TableObject::TableName(name) = &insert.table else {
        return Err(Error::new(SqlState::SYNTAX_ERROR, "syntax error: INSERT needs a table's name"));
    };
    let (table, source, key) = target(analysis, name, insert.table_alias.as_ref().map(|alias| &alias.alias), level)?;
    let scope = Scope { source: &source, outer };
    let mut strays = Vec::new();
    if let Some(OnInsert::OnConflict(conflict)) = &insert.on
        && let OnConflictAction::DoUpdate(update) = &conflict.action
    {
        refuse_key_assignment(&table, &update.assignments)?;
        analysis.subqueries(&update.assignments, &scope, ctes, level, &[], &mut strays)?;
        analysis.subqueries(&update.selection, &scope, ctes, level, &[], &mut strays)?;
    }
    analysis.subqueries(&insert.returning, &scope, ctes, level, &[], &mut strays)?;
    let place = key_place(&table, insert)?;
    let mut row_keys = None;
    match (&insert.source, key, place) {
        (None, None, _) => {}
        (None, Some(_), _) | (_, Some(_), None) => return Err(missing_key(&table)),
        (Some(query), key, place) => {
            let rows = match &*query.body {
                SetExpr::Values(values)
                    if query.with.is_none() && query.limit_clause.is_none() && query.fetch.is_none() =>
                {
                    Some(values)
                }
                _ => None,
            };
            match (rows, key, place) {
                (Some(values), Some(key), Some(place)) => {
                    let before = strays.len();
                    analysis.subqueries(values, &scope, ctes, level, &[], &mut strays)?;
                    let keys = values
                        .rows
                        .iter()
                        .map(|row| row_key(&table, row.content.get(place), analysis.key_type))
                        .collect::<Result<Vec<_>>>()?;
                    if before == strays.len() && strays.is_empty() && level == 0 {
                        row_keys = Some(keys);
                    } else {
                        analysis.graph.pin(key, keys);
                        analysis.cannot_scatter(
                            "INSERT with a subquery on a sharded table, across shards",
                            "Give one key to all the rows and to the subquery, or read first and insert the values.",
                        );
                    }
                }
                (_, Some(key), Some(place)) => {
                    insert_from_query(analysis, &table, key, place, query, ctes, outer, level)?
                }
                _ => {
                    analysis.query(query, ctes, outer, level + 1)?;
                }
            }
        }
    }
    analysis.expect_together(&strays, key);
    Ok(Written { table, returning: insert.returning.is_some(), row_keys })
}

fn refuse_foreign_insert(insert: &ast::Insert) -> Result<()> {
    let foreign = insert.or.is_some()
        || insert.ignore
        || insert.overwrite
        || !insert.into
        || !insert.assignments.is_empty()
        || insert.partitioned.is_some()
        || !insert.after_columns.is_empty()
        || insert.replace_into
        || insert.priority.is_some()
        || insert.insert_alias.is_some()
        || insert.output.is_some()
        || insert.multi_table_insert_type.is_some()
        || matches!(insert.on, Some(OnInsert::DuplicateKeyUpdate(_)));
    if foreign {
        return Err(Error::new(SqlState::SYNTAX_ERROR, "syntax error: this form of INSERT is not Postgres's"));
    }
    Ok(())
}

/// Which of the inserted values is the key; `None` when it is not given, or the table has none.
fn key_place(table: &Table, insert: &ast::Insert) -> Result<Option<usize>> {
    if insert.columns.is_empty() {
        return Ok(table.key_column());
    }
    let mut place = None;
    for (number, name) in insert.columns.iter().enumerate() {
        let column = name_parts(name).and_then(|mut parts| parts.pop()).unwrap_or_default().into_owned();
        let Some((found, _)) = table.column(&column) else {
            return Err(Error::new(
                SqlState::UNDEFINED_COLUMN,
                format!("column \"{column}\" of relation \"{}\" does not exist", table.name),
            ));
        };
        if Some(found) == table.key_column() {
            place = Some(number);
        }
    }
    Ok(place)
}

fn row_key(table: &Table, value: Option<&Expr>, key_type: KeyType) -> Result<KeyExpression> {
    let Some(value) = value else { return Err(missing_key(table)) };
    match constant(value, key_type) {
        Some(KeyExpression::Literal(Datum::Null)) => Err(null_key(table)),
        Some(key) => Ok(key),
        None if is_default(value) => Err(missing_key(table)),
        None => Err(computed_key(table)),
    }
}

fn is_default(value: &Expr) -> bool {
    matches!(value, Expr::Identifier(name) if name.quote_style.is_none() && name.value.eq_ignore_ascii_case("default"))
}

fn key_name(table: &Table) -> &str {
    table.key_column().and_then(|number| table.columns.get(number)).map_or("", |column| column.name.as_str())
}

/// 23502, as Postgres says it.
pub(super) fn null_key(table: &Table) -> Error {
    let key = key_name(table);
    super::null_key_error(&table.name, key)
}

/// The key is not given: its default is NULL, or is computed.
fn missing_key(table: &Table) -> Error {
    let Some(column) = table.key_column().and_then(|number| table.columns.get(number)) else {
        return Error::internal("a reference table has no sharding key");
    };
    if column.default.is_none() && column.identity.is_none() {
        return null_key(table);
    }
    Error::unsupported(
        format!("INSERT into \"{}\" without its sharding key \"{}\"", table.name, column.name),
        "The key decides the shard, so the application must give it: make it there, or from a sequence of a reference table.",
    )
    .table(&table.name)
    .column(&column.name)
}

fn computed_key(table: &Table) -> Error {
    let TableKind::Sharded { key_type, .. } = table.kind else {
        return Error::internal("a reference table has no key");
    };
    Error::unsupported(
        format!("a computed value for the sharding key \"{}\" of \"{}\"", key_name(table), table.name),
        format!("Give it as a constant or a parameter of type {}: compute it in the application.", type_name(key_type)),
    )
    .table(&table.name)
    .column(key_name(table))
}

/// INSERT ... SELECT: each row's key must be one constant, or the key of the row that it is made from.
#[allow(clippy::too_many_arguments)]
fn insert_from_query(
    analysis: &mut Analysis<'_>,
    table: &Table,
    key: Variable,
    place: usize,
    query: &ast::Query,
    ctes: Option<&Ctes<'_>>,
    outer: Option<&Scope<'_>>,
    level: usize,
) -> Result<()> {
    let output = analysis.query(query, ctes, outer, level + 1)?;
    if let Some(constant) = selected(query, place).and_then(|value| constant(value, analysis.key_type)) {
        if constant == KeyExpression::Literal(Datum::Null) {
            return Err(null_key(table));
        }
        analysis.graph.pin(key, vec![constant]);
        analysis.cannot_scatter(
            "INSERT ... SELECT of one key from rows of other keys",
            "Give the same key in the SELECT's WHERE, or read first and insert the values.",
        );
        return Ok(());
    }
    let from = output.columns.get(place).and_then(|column| column.key);
    match (from, output.anchor) {
        (Some(from), Some(anchor)) if output.complete && analysis.graph.divides(from, anchor) => {
            analysis.graph.equal(key, from);
            Ok(())
        }
        _ => Err(computed_key(table)),
    }
}

/// The expression at a place of a query's select list.
fn selected(query: &ast::Query, place: usize) -> Option<&Expr> {
    let SetExpr::Select(select) = &*query.body else { return None };
    let whole = |item: &SelectItem| !matches!(item, SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. });
    if select.projection.iter().take(place + 1).any(whole) {
        return None;
    }
    match select.projection.get(place)? {
        SelectItem::UnnamedExpr(expression) | SelectItem::ExprWithAlias { expr: expression, .. } => Some(expression),
        _ => None,
    }
}

/// A placeholder or constant by itself.
pub(super) fn is_plain(expression: &Expr) -> bool {
    matches!(super::key::strip(expression), Expr::Value(value) if !matches!(value.value, Value::DoubleQuotedString(_)))
}
