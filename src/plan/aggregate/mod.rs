//! Aggregates across shards: each shard aggregates its own rows, a finishing statement aggregates what they send.
//!
//! A shard returns its groups and, for each aggregate, what can be put together exactly: counts and sums add up, extremes
//! are extremes of extremes, an average is a sum and a count. The finishing statement runs over these rows as the table
//! [`Aggregate::PARTIAL`], in the same dialect, so that its arithmetic and its result types are Postgres's.

mod combine;
mod finish;
mod group;
mod split;

pub use finish::Aggregate;

use self::finish::{column, column_name};
use self::split::{Partial, Splitter};
use super::functions::calls;
use super::scatter::{Sorted, Visible, order_items, sorted_by, visible_columns};
use super::scope::Scope;
use crate::error::{Error, Result};
use crate::sql::ast::{
    self, Distinct, Expr, GroupByExpr, Ident, OrderByExpr, OrderByKind, Query, Select, SelectItem, SetExpr, Statement,
};
use crate::sql::{fold, ident, parse_expression};

/// Plans a SELECT that aggregates rows of several keys.
///
/// # Errors
/// Why its aggregates cannot be put together from parts.
pub(super) fn build(query: &Query, select: &Select, scope: &Scope<'_>, deep: bool) -> Result<Aggregate> {
    if matches!(select.distinct, Some(Distinct::On(_))) {
        return Err(Error::unsupported("DISTINCT ON of aggregates across shards", "Give the key in WHERE."));
    }
    if calls(&select.projection).or(calls(&query.order_by)).window {
        return Err(Error::unsupported("a window function over aggregates across shards", "Give the key in WHERE."));
    }
    let mut splitter = Splitter::new(scope, group::groups(select, scope)?);
    let visible = visible_columns(select, scope).unwrap_or_default();
    let mut projection = Vec::with_capacity(select.projection.len());
    for item in &select.projection {
        let (expression, name) = match item {
            SelectItem::UnnamedExpr(expression) => (expression, super::column_name::column_name(expression)),
            SelectItem::ExprWithAlias { expr, alias } => (expr, fold(alias).into_owned()),
            _ => return Err(Error::unsupported("* with aggregates across shards", "Name the columns.")),
        };
        projection.push(SelectItem::ExprWithAlias { expr: splitter.split(expression)?, alias: ident(&name) });
    }
    let having = select.having.as_ref().map(|having| splitter.split(having)).transpose()?;
    let order_by = order(query, &visible, &mut splitter)?;

    let partial = splitter.into_partial();
    let columns = partial.columns.len();
    let template = template(query, select, projection, having, order_by, partial.groups)?;
    let statement = partial_statement(query, select, partial)?;
    Ok(Aggregate { statement, template, columns, deep })
}

/// ORDER BY over the finished rows: by the client's columns, or by what is computed from the partial ones.
fn order(query: &Query, visible: &[Visible], splitter: &mut Splitter<'_, '_>) -> Result<Option<ast::OrderBy>> {
    let mut items = Vec::new();
    for item in order_items(query)? {
        let expr = match sorted_by(&item.expr, visible, Some(splitter.scope))? {
            Sorted::Column(column) => parse_expression(&(column + 1).to_string())?,
            Sorted::Expression => splitter.split(&item.expr)?,
        };
        items.push(OrderByExpr { expr, options: item.options.clone(), with_fill: None });
    }
    if items.is_empty() {
        return Ok(None);
    }
    Ok(Some(ast::OrderBy { kind: OrderByKind::Expressions(items), interpolate: None }))
}

/// What shards run: groups and partial aggregates, nothing ordered or cut.
fn partial_statement(query: &Query, select: &Select, partial: Partial) -> Result<Statement> {
    let mut select = select.clone();
    select.distinct = None;
    select.projection = partial
        .columns
        .into_iter()
        .enumerate()
        .map(|(number, expr)| SelectItem::ExprWithAlias { expr, alias: Ident::new(column_name(number)) })
        .collect();
    let ordinal = |number: &usize| parse_expression(&(number + 1).to_string());
    select.group_by = GroupByExpr::Expressions(partial.grouped.iter().map(ordinal).collect::<Result<_>>()?, Vec::new());
    select.having = None;
    if select.projection.is_empty() {
        // Neither groups nor aggregates (HAVING of a constant): the finishing statement needs a row all the same.
        return Err(Error::unsupported("HAVING without an aggregate, across shards", "Give the key in WHERE."));
    }
    let mut statement = query.clone();
    *statement.body = SetExpr::Select(Box::new(select));
    statement.order_by = None;
    statement.limit_clause = None;
    statement.fetch = None;
    Ok(Statement::Query(Box::new(statement)))
}

/// The finishing statement.
fn template(
    query: &Query,
    select: &Select,
    projection: Vec<SelectItem>,
    having: Option<Expr>,
    order_by: Option<ast::OrderBy>,
    group_count: usize,
) -> Result<Statement> {
    let mut select = select.clone();
    select.projection = projection;
    select.selection = None;
    select.named_window = Vec::new();
    select.from = vec![ast::TableWithJoins {
        relation: ast::TableFactor::Table {
            name: ast::ObjectName(vec![ast::ObjectNamePart::Identifier(Ident::new(Aggregate::PARTIAL))]),
            alias: None,
            args: None,
            with_hints: Vec::new(),
            version: None,
            with_ordinality: false,
            partitions: Vec::new(),
            json_path: None,
            sample: None,
            index_hints: Vec::new(),
        },
        joins: Vec::new(),
    }];
    select.group_by = GroupByExpr::Expressions((0..group_count).map(column).collect(), Vec::new());
    select.having = having;
    let mut statement = query.clone();
    *statement.body = SetExpr::Select(Box::new(select));
    statement.with = None;
    statement.locks = Vec::new();
    statement.order_by = order_by;
    Ok(Statement::Query(Box::new(statement)))
}
