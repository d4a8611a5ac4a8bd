//! A read of several shards: what each runs, and how their rows are put together.

use super::aggregate;
use super::analysis::Analysis;
use super::canonical::{canonical, canonical_column};
use super::functions::volatile;
use super::key::strip;
use super::query::Output;
use super::scope::Scope;
use super::{Distinct, Merge, RowCount, Scatter, SortKey};
use crate::error::{Error, Result, SqlState};
use crate::sql::ast::{
    self, Expr, LimitClause, OrderByExpr, OrderByKind, OrderByOptions, OrderBySort, Query, Select, SelectItem, SetExpr,
    SetOperator, SetQuantifier, Statement, Value,
};
use crate::sql::{fold, ident, parse_expression, with_stack};

/// Plans a read for several shards.
///
/// # Errors
/// Why it cannot be, and what to write instead.
pub(super) fn build(analysis: &mut Analysis<'_>, query: &Query, output: &Output) -> Result<Scatter> {
    if let Some(reason) = &analysis.apart {
        return Err(reason.clone());
    }
    if output.anchor.is_none() {
        return Err(Error::unsupported(
            "a statement that reads sharded tables only in subqueries, across shards",
            "Give the key in the subqueries' WHERE.",
        ));
    }
    if let Some(name) = volatile(query) {
        return Err(Error::unsupported(
            format!("{name}() across shards"),
            "Compute it in the application, or give the key in WHERE.",
        ));
    }
    with_stack(|| match &*query.body {
        SetExpr::Select(select) => build_select(analysis, query, select, output),
        SetExpr::SetOperation { op, set_quantifier, .. } => build_set_operation(query, *op, *set_quantifier, output),
        SetExpr::Query(inner) if plain_outside(query) => build(analysis, inner, output),
        _ => Err(Error::unsupported(
            "this form of query across shards",
            "Write it as one SELECT, or give the key in WHERE.",
        )),
    })
}

/// Nothing is around the parentheses.
fn plain_outside(query: &Query) -> bool {
    query.with.is_none()
        && query.order_by.is_none()
        && query.limit_clause.is_none()
        && query.fetch.is_none()
        && query.locks.is_empty()
}

fn build_select(analysis: &mut Analysis<'_>, query: &Query, select: &Select, output: &Output) -> Result<Scatter> {
    let scope = Scope { source: &output.source, outer: None };
    let shape = analysis.shape(select, query, &scope);
    let anchor = output.anchor;
    let mut by_key = |keys: &[super::graph::Variable]| {
        keys.iter().any(|key| anchor.is_some_and(|anchor| analysis.graph.divides(*key, anchor)))
    };
    if shape.windows && !by_key(&shape.partitioned) {
        return Err(Error::unsupported(
            "a window function across shards",
            "Give the key in WHERE, or in PARTITION BY of every window.",
        ));
    }
    if shape.aggregates && !by_key(&shape.grouped) {
        return aggregate::build(query, select, &scope, analysis.deep).map(Scatter::Aggregate);
    }
    merge_select(query, select, &scope)
}

/// A column that the client sees.
pub(super) struct Visible {
    pub(super) name: String,
    /// What it is computed from, in canonical form.
    pub(super) canonical: Expr,
}

/// The client's columns, with `*` written out.
pub(super) fn visible_columns(select: &Select, scope: &Scope<'_>) -> Result<Vec<Visible>> {
    let mut visible = Vec::new();
    let whole =
        |column: &super::scope::Column| Visible { name: column.name.clone(), canonical: canonical_column(column) };
    for item in &select.projection {
        match item {
            SelectItem::UnnamedExpr(expression) => visible.push(Visible {
                name: super::column_name::column_name(expression),
                canonical: canonical(expression, scope),
            }),
            SelectItem::ExprWithAlias { expr, alias } => {
                visible.push(Visible { name: fold(alias).into_owned(), canonical: canonical(expr, scope) });
            }
            _ => visible.extend(super::shape::whole(item, scope).ok_or_else(unknown_columns)?.iter().map(whole)),
        }
    }
    Ok(visible)
}

fn unknown_columns() -> Error {
    Error::unsupported("* across shards where columns are not known", "Name the columns.")
}

/// What ORDER BY sorts by.
pub(super) enum Sorted {
    /// The client's column, from 0.
    Column(usize),
    Expression,
}

/// Which of the client's columns an ORDER BY expression is: by ordinal, by name, or by being the same expression.
pub(super) fn sorted_by(expression: &Expr, visible: &[Visible], scope: Option<&Scope<'_>>) -> Result<Sorted> {
    let plain = strip(expression);
    if let Expr::Value(value) = plain {
        match &value.value {
            Value::Number(number, _) => {
                return match number.parse::<usize>() {
                    Ok(ordinal) if (1..=visible.len()).contains(&ordinal) => Ok(Sorted::Column(ordinal - 1)),
                    Ok(ordinal) => Err(Error::new(
                        SqlState::INVALID_COLUMN_REFERENCE,
                        format!("ORDER BY position {ordinal} is not in select list"),
                    )),
                    Err(_) => Err(Error::new(SqlState::SYNTAX_ERROR, "non-integer constant in ORDER BY")),
                };
            }
            Value::SingleQuotedString(_) => {
                return Err(Error::new(SqlState::SYNTAX_ERROR, "non-integer constant in ORDER BY"));
            }
            _ => {}
        }
    }
    if let Expr::Identifier(name) = plain {
        let name = fold(name);
        let mut named = visible.iter().enumerate().filter(|(_, column)| column.name == name);
        if let Some((number, first)) = named.next() {
            if named.any(|(_, other)| other.canonical != first.canonical) {
                return Err(Error::new(SqlState::AMBIGUOUS_COLUMN, format!("ORDER BY \"{name}\" is ambiguous")));
            }
            return Ok(Sorted::Column(number));
        }
    }
    let Some(scope) = scope else {
        return Err(Error::new(SqlState::FEATURE_NOT_SUPPORTED, "invalid UNION/INTERSECT/EXCEPT ORDER BY clause")
            .detail("Only result column names can be used, not expressions or functions."));
    };
    let wanted = canonical(plain, scope);
    match visible.iter().position(|column| column.canonical == wanted) {
        Some(number) => Ok(Sorted::Column(number)),
        None => Ok(Sorted::Expression),
    }
}

/// Columns that are added for the merge alone, and cut off again.
struct Hidden<'q> {
    projection: &'q mut Vec<SelectItem>,
    visible: usize,
    added: Vec<Expr>,
}

impl Hidden<'_> {
    fn add(&mut self, expression: &Expr) -> usize {
        if let Some(number) = self.added.iter().position(|before| before == expression) {
            return self.visible + number;
        }
        self.added.push(expression.clone());
        let alias = ident(&format!("shardd_hidden_{}", self.added.len()));
        self.projection.push(SelectItem::ExprWithAlias { expr: expression.clone(), alias });
        self.visible + self.added.len() - 1
    }
}

fn merge_select(query: &Query, select: &Select, scope: &Scope<'_>) -> Result<Scatter> {
    let visible = visible_columns(select, scope)?;
    let mut projection = select.projection.clone();
    let mut hidden = Hidden { projection: &mut projection, visible: visible.len(), added: Vec::new() };
    let plain_distinct = select.distinct == Some(ast::Distinct::Distinct);
    let mut order = Vec::new();
    for item in order_items(query)? {
        let column = match sorted_by(&item.expr, &visible, Some(scope))? {
            Sorted::Column(column) => column,
            Sorted::Expression if plain_distinct => {
                return Err(Error::new(
                    SqlState::INVALID_COLUMN_REFERENCE,
                    "for SELECT DISTINCT, ORDER BY expressions must appear in select list",
                ));
            }
            Sorted::Expression => hidden.add(&item.expr),
        };
        order.push(sort_key(column, item)?);
    }
    let mut order_by = query.order_by.clone();
    let distinct = match &select.distinct {
        None | Some(ast::Distinct::All) => Distinct::No,
        Some(ast::Distinct::Distinct) => Distinct::Rows,
        Some(ast::Distinct::On(expressions)) => {
            let columns = distinct_on(expressions, &visible, scope, &mut hidden)?;
            match_order(&columns, &mut order, expressions, &mut order_by)?;
            Distinct::On(columns)
        }
    };
    let hidden_columns = hidden.added.len();
    let mut statement = query.clone();
    if let SetExpr::Select(select) = &mut *statement.body {
        select.projection = projection;
    }
    statement.order_by = order_by;
    let (limit, offset) = push_limit(&mut statement)?;
    let merge = Merge { hidden_columns, order, distinct, limit, offset };
    Ok(Scatter::Merge { statement: Statement::Query(Box::new(statement)), merge })
}

fn distinct_on(
    expressions: &[Expr],
    visible: &[Visible],
    scope: &Scope<'_>,
    hidden: &mut Hidden<'_>,
) -> Result<Vec<usize>> {
    expressions
        .iter()
        .map(|expression| {
            Ok(match sorted_by(expression, visible, Some(scope))? {
                Sorted::Column(column) => column,
                Sorted::Expression => hidden.add(expression),
            })
        })
        .collect()
}

/// DISTINCT ON keeps the first row of each group in the order: the order must begin with the group. Without ORDER BY
/// any row may be kept; ordering by the group brings equal ones of several shards together.
fn match_order(
    columns: &[usize],
    order: &mut Vec<SortKey>,
    expressions: &[Expr],
    order_by: &mut Option<ast::OrderBy>,
) -> Result<()> {
    if order.is_empty() {
        let plain = || OrderByOptions { sort: None, nulls_first: None };
        let by = |expr: &Expr| OrderByExpr { expr: expr.clone(), options: plain(), with_fill: None };
        *order = columns
            .iter()
            .map(|&column| SortKey { column, descending: false, nulls_first: false, by_bytes: false })
            .collect();
        let kind = OrderByKind::Expressions(expressions.iter().map(by).collect());
        *order_by = Some(ast::OrderBy { kind, interpolate: None });
        return Ok(());
    }
    let leading: Vec<usize> =
        order.iter().take_while(|key| columns.contains(&key.column)).map(|key| key.column).collect();
    let all_lead = columns.iter().all(|column| leading.contains(column));
    // Postgres lets ORDER BY be shorter; then rows of a group may lie apart here.
    if all_lead {
        return Ok(());
    }
    if leading.len() < order.len() {
        return Err(Error::new(
            SqlState::INVALID_COLUMN_REFERENCE,
            "SELECT DISTINCT ON expressions must match initial ORDER BY expressions",
        ));
    }
    Err(Error::unsupported(
        "DISTINCT ON with a shorter ORDER BY, across shards",
        "Order by all the expressions of DISTINCT ON.",
    ))
}

fn build_set_operation(query: &Query, op: SetOperator, quantifier: SetQuantifier, output: &Output) -> Result<Scatter> {
    let visible: Vec<Visible> = output
        .columns
        .iter()
        .map(|column| Visible { name: column.name.clone(), canonical: canonical_column(column) })
        .collect();
    let mut order = Vec::new();
    for item in order_items(query)? {
        if let Sorted::Column(column) = sorted_by(&item.expr, &visible, None)? {
            order.push(sort_key(column, item)?);
        }
    }
    let distinct =
        if op == SetOperator::Union && quantifier != SetQuantifier::All { Distinct::Rows } else { Distinct::No };
    let mut statement = query.clone();
    let (limit, offset) = push_limit(&mut statement)?;
    let merge = Merge { hidden_columns: 0, order, distinct, limit, offset };
    Ok(Scatter::Merge { statement: Statement::Query(Box::new(statement)), merge })
}

/// The expressions of ORDER BY.
///
/// # Errors
/// Never for what the parser's check let through.
pub(super) fn order_items(query: &Query) -> Result<&[OrderByExpr]> {
    match query.order_by.as_ref().map(|order| &order.kind) {
        None => Ok(&[]),
        Some(OrderByKind::Expressions(items)) => Ok(items),
        Some(OrderByKind::All(_)) => Err(Error::new(SqlState::SYNTAX_ERROR, "ORDER BY ALL is not Postgres's")),
    }
}

fn sort_key(column: usize, item: &OrderByExpr) -> Result<SortKey> {
    let options = &item.options;
    let descending = match &options.sort {
        None | Some(OrderBySort::Asc) => false,
        Some(OrderBySort::Desc) => true,
        Some(OrderBySort::Using(operator)) => match operator.to_string().as_str() {
            "<" => false,
            ">" => true,
            _ => return Err(Error::unsupported("ORDER BY ... USING across shards", "Use ASC or DESC.")),
        },
    };
    Ok(SortKey {
        column,
        descending,
        nulls_first: options.nulls_first.unwrap_or(descending),
        by_bytes: collated_by_bytes(&item.expr),
    })
}

/// `... COLLATE "C"`.
pub fn collated_by_bytes(expression: &Expr) -> bool {
    matches!(strip(expression), Expr::Collate { collation, .. } if orders_by_bytes(collation))
}

/// A collation that orders text by its bytes wherever it is.
pub fn orders_by_bytes(collation: &ast::ObjectName) -> bool {
    let name = crate::sql::name_parts(collation).and_then(|mut parts| parts.pop());
    name.is_some_and(|name| matches!(&*name, "C" | "POSIX" | "ucs_basic"))
}

/// Takes LIMIT and OFFSET for the merge. Each shard sends as many rows as could be wanted of it alone: both together.
fn push_limit(statement: &mut Query) -> Result<(Option<RowCount>, Option<RowCount>)> {
    let (limit, offset) = limit_expressions(statement)?;
    let counts = (
        limit.as_ref().map(RowCount::of).transpose()?.flatten(),
        offset.as_ref().map(RowCount::of).transpose()?.flatten(),
    );
    statement.fetch = None;
    let pushed = match (limit, &counts) {
        (None, _) | (_, (None, _)) => None,
        (Some(limit), (_, None)) => Some(limit),
        (Some(_), (Some(RowCount::Constant(limit)), Some(RowCount::Constant(offset)))) => {
            Some(parse_expression(&limit.saturating_add(*offset).to_string())?)
        }
        (Some(_), (Some(limit), Some(offset))) => {
            // Half of the largest bigint at the most, so that the sum is one.
            let bounded = |count: &RowCount| format!("least(CAST({} AS bigint), {})", count, i64::MAX / 2);
            Some(parse_expression(&format!("{} + {}", bounded(limit), bounded(offset)))?)
        }
    };
    statement.limit_clause =
        pushed.map(|limit| LimitClause::LimitOffset { limit: Some(limit), offset: None, limit_by: Vec::new() });
    Ok(counts)
}

/// LIMIT and OFFSET, however they are written.
fn limit_expressions(query: &Query) -> Result<(Option<Expr>, Option<Expr>)> {
    let (mut limit, offset) = match &query.limit_clause {
        None => (None, None),
        Some(LimitClause::LimitOffset { limit, offset, .. }) => {
            (limit.clone(), offset.as_ref().map(|offset| offset.value.clone()))
        }
        Some(LimitClause::OffsetCommaLimit { .. }) => {
            return Err(Error::new(SqlState::SYNTAX_ERROR, "LIMIT #,# syntax is not supported"));
        }
    };
    if let Some(fetch) = &query.fetch {
        if fetch.with_ties || fetch.percent {
            return Err(Error::unsupported(
                "FETCH ... WITH TIES across shards",
                "Use LIMIT, or give the key in WHERE.",
            ));
        }
        limit = Some(match &fetch.quantity {
            Some(quantity) => quantity.clone(),
            None => parse_expression("1")?,
        });
    }
    Ok((limit, offset))
}
