//! INSERT: the key of each row decides where it goes, so it has to be known before the statement runs.

use super::analysis::Analysis;
use super::assigned::assigned;
use super::graph::Variable;
use super::key::{KeyExpression, type_name};
use super::place::Place;
use super::query::Output;
use super::scope::Scope;
use super::write::{Written, refuse_key_assignment, target};
use crate::error::{Error, Result, SqlState};
use crate::sql::ast::{self, Expr, OnConflictAction, OnInsert, Query, SelectItem, SetExpr, TableObject, Values};
use crate::sql::{Overriding, name_parts};
use crate::topology::{Table, TableKind};
use crate::types::{Datum, KeyType, PgType};

/// Reads an INSERT, by itself or within a WITH.
pub(super) fn analyse(
    analysis: &mut Analysis<'_>,
    insert: &ast::Insert,
    place: Place<'_>,
) -> Result<(Written, Output)> {
    refuse_foreign_insert(insert)?;
    let TableObject::TableName(name) = &insert.table else {
        return Err(Error::new(SqlState::SYNTAX_ERROR, "syntax error: INSERT needs a table's name"));
    };
    let alias = insert.table_alias.as_ref().map(|alias| &alias.alias);
    let (table, source, key) = target(analysis, name, alias, place.level)?;
    let scope = Scope { source: &source, outer: place.outer };
    let mut strays = Vec::new();
    if let Some(OnInsert::OnConflict(conflict)) = &insert.on
        && let OnConflictAction::DoUpdate(update) = &conflict.action
    {
        refuse_key_assignment(&table, &update.assignments)?;
        analysis.subqueries(&update.assignments, &scope, place, &[], &mut strays)?;
        analysis.subqueries(&update.selection, &scope, place, &[], &mut strays)?;
    }
    analysis.subqueries(&insert.returning, &scope, place, &[], &mut strays)?;
    refuse_overridden_key(analysis, &table)?;
    let key_place = key_place(&table, &insert.columns)?;
    let mut row_keys = None;
    match (&insert.source, key) {
        (None, None) => {}
        (Some(query), None) => {
            analysis.query(query, place.inside())?;
        }
        (source, Some(key)) => {
            let (Some(query), Some(key_place)) = (source, key_place) else { return Err(missing_key(&table)) };
            match plain_values(query) {
                Some(values) => {
                    analysis.subqueries(values, &scope, place, &[], &mut strays)?;
                    match row_keys_of(values, &table, key_place, analysis.key_type)? {
                        None => analysis.note_apart(computed_key(&table)),
                        Some(keys) if strays.is_empty() && place.level == 0 && place.ctes.is_none() => {
                            row_keys = Some(keys)
                        }
                        Some(keys) => {
                            pin_unless_cut(analysis, &table, key, keys);
                            analysis.cannot_scatter(
                                "INSERT of several keys' rows behind WITH or with a subquery, across shards",
                                "Give one key to all the rows and to the subquery, or read first and insert the values.",
                            );
                        }
                    }
                }
                None => rows_of_query(analysis, &table, key, key_place, query, place)?,
            }
        }
    }
    analysis.expect_together(&strays, key);
    let output = analysis.returning(insert.returning.as_deref(), &scope, key, place.level);
    Ok((Written { table, row_keys }, output))
}

/// VALUES by itself.
fn plain_values(query: &Query) -> Option<&Values> {
    match &*query.body {
        SetExpr::Values(values) if query.with.is_none() && query.limit_clause.is_none() && query.fetch.is_none() => {
            Some(values)
        }
        _ => None,
    }
}

/// `None` when one of them is computed.
fn row_keys_of(
    values: &Values,
    table: &Table,
    key_place: usize,
    key_type: KeyType,
) -> Result<Option<Vec<KeyExpression>>> {
    values.rows.iter().map(|row| row_key(table, row.content.get(key_place), key_type)).collect()
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

/// The row would have another key than the one that decides its shard.
pub(super) fn refuse_overridden_key(analysis: &Analysis<'_>, table: &Table) -> Result<()> {
    let key = table.key_column().and_then(|key| table.columns.get(key));
    match key.filter(|key| key.identity.is_some()) {
        Some(key) if analysis.overriding == Some(Overriding::UserValue) => Err(Error::unsupported(
            format!("OVERRIDING USER VALUE for \"{}\", the sharding key of \"{}\"", key.name, table.name),
            "The key decides the shard, so the application has to give it: leave the clause out.",
        )),
        _ => Ok(()),
    }
}

/// Which of the inserted values is the key; `None` when it is not given, or the table has none.
pub(super) fn key_place(table: &Table, columns: &[ast::ObjectName]) -> Result<Option<usize>> {
    if columns.is_empty() {
        return Ok(table.key_column());
    }
    let mut place = None;
    for (number, name) in columns.iter().enumerate() {
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

fn row_key(table: &Table, value: Option<&Expr>, key_type: KeyType) -> Result<Option<KeyExpression>> {
    let Some(value) = value else { return Err(missing_key(table)) };
    match assigned(value, key_type) {
        Some(KeyExpression::Literal(Datum::Null)) => Err(null_key(table)),
        Some(key) => Ok(Some(key)),
        None if is_default(value) => Err(missing_key(table)),
        None => Ok(None),
    }
}

/// The word DEFAULT in place of a value.
pub fn is_default(value: &Expr) -> bool {
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
pub(super) fn missing_key(table: &Table) -> Error {
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

pub(super) fn computed_key(table: &Table) -> Error {
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

/// `varchar(n)` drops blanks past its length, so that a key is another one once it is stored: `Some` says so.
pub(super) fn cut_key(table: &Table) -> Option<Error> {
    let column = table.key_column().and_then(|number| table.columns.get(number))?;
    (column.data_type == PgType::Varchar && column.modifier >= 0).then(|| {
        Error::unsupported(
            format!("INSERT from a query into \"{}\", whose sharding key has a length", table.name),
            "Read first and insert the values, or make the key column text.",
        )
        .table(&table.name)
        .column(&column.name)
    })
}

pub(super) fn pin_unless_cut(analysis: &mut Analysis<'_>, table: &Table, key: Variable, keys: Vec<KeyExpression>) {
    match cut_key(table) {
        None => analysis.graph.pin(key, keys),
        Some(reason) => analysis.note_apart(reason),
    }
}

/// INSERT ... SELECT: each row's key is one constant, or the key of the row that it is made from; or all rows have to be
/// read before anybody knows where they belong.
fn rows_of_query(
    analysis: &mut Analysis<'_>,
    table: &Table,
    key: Variable,
    key_place: usize,
    query: &Query,
    place: Place<'_>,
) -> Result<()> {
    let output = analysis.query(query, place.inside())?;
    if let Some(constant) = selected(query, key_place).and_then(|value| assigned(value, analysis.key_type)) {
        if constant == KeyExpression::Literal(Datum::Null) {
            return Err(null_key(table));
        }
        pin_unless_cut(analysis, table, key, vec![constant]);
        analysis.cannot_scatter(
            "INSERT ... SELECT of one key from rows of other keys",
            "Give the same key in the SELECT's WHERE, or read first and insert the values.",
        );
        return Ok(());
    }
    let from = output.columns.get(key_place).and_then(|column| column.key);
    match (from, output.anchor) {
        (Some(from), Some(anchor)) if output.complete && analysis.graph.divides(from, anchor) => match cut_key(table) {
            None => analysis.graph.equal(key, from, place.level),
            Some(reason) => analysis.note_apart(reason),
        },
        _ => analysis.note_apart(computed_key(table)),
    }
    Ok(())
}

/// The expression at a place of a query's select list.
fn selected(query: &Query, place: usize) -> Option<&Expr> {
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
