//! How a SELECT puts rows together, and what its columns are to the query around it.
//!
//! A query that aggregates or cuts rows of several keys cannot be done shard by shard, and a condition on its result
//! must not be taken for one on its rows.

use std::ops::ControlFlow;

use super::analysis::Analysis;
use super::functions::calls;
use super::graph::Variable;
use super::predicate::key_column;
use super::query::Output;
use super::scope::{Column, Scope};
use crate::sql::ast::{
    Distinct, Expr, Function, GroupByExpr, Query, Select, SelectItem, SelectItemQualifiedWildcardKind, WindowType,
};
use crate::sql::{Visitor, fold, walk};
use crate::types::KeyType;

/// How a SELECT puts rows together.
#[derive(Debug, Default)]
pub(super) struct Shape {
    pub(super) aggregates: bool,
    pub(super) windows: bool,
    distinct: bool,
    /// The keys among GROUP BY's expressions.
    pub(super) grouped: Vec<Variable>,
    /// The keys that every window is partitioned by.
    pub(super) partitioned: Vec<Variable>,
    /// The keys among DISTINCT ON's expressions, when there are such.
    distinct_on: Option<Vec<Variable>>,
}

impl Analysis<'_> {
    pub(super) fn shape(&mut self, select: &Select, query: &Query, scope: &Scope<'_>) -> Shape {
        let found = calls(&select.projection).or(calls(&select.having)).or(calls(&query.order_by));
        let GroupByExpr::Expressions(grouped, modifiers) = &select.group_by else { return Shape::default() };
        let grouped_by_sets = !modifiers.is_empty()
            || grouped.iter().any(|group| matches!(group, Expr::Rollup(_) | Expr::Cube(_) | Expr::GroupingSets(_)));
        let key = |expression: &Expr| {
            key_column(expression, scope, self.key_type).filter(|key| !key.outer).map(|key| key.variable)
        };
        let grouped_keys = || {
            grouped
                .iter()
                .filter_map(|expression| key(output_reference(expression, select).unwrap_or(expression)))
                .collect()
        };
        let distinct_keys = |expressions: &[Expr]| {
            expressions.iter().filter_map(|expression| key(sorted_expression(expression, select))).collect()
        };
        Shape {
            aggregates: found.aggregate || !grouped.is_empty() || select.having.is_some(),
            windows: found.window,
            distinct: select.distinct == Some(Distinct::Distinct),
            grouped: if grouped_by_sets { Vec::new() } else { grouped_keys() },
            partitioned: if found.window { self.partitions(select, query, scope) } else { Vec::new() },
            distinct_on: match &select.distinct {
                Some(Distinct::On(expressions)) => Some(distinct_keys(expressions)),
                _ => None,
            },
        }
    }

    /// The keys that every window of a query is partitioned by.
    fn partitions(&self, select: &Select, query: &Query, scope: &Scope<'_>) -> Vec<Variable> {
        struct Finder<'f> {
            scope: &'f Scope<'f>,
            key_type: KeyType,
            common: Option<Vec<Variable>>,
            depth: usize,
        }
        impl Visitor for Finder<'_> {
            type Break = ();
            fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
                self.depth += 1;
                ControlFlow::Continue(())
            }
            fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
                self.depth -= 1;
                ControlFlow::Continue(())
            }
            fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
                let (0, Expr::Function(Function { over: Some(over), .. })) = (self.depth, expression) else {
                    return ControlFlow::Continue(());
                };
                let keys: Vec<Variable> = match over {
                    WindowType::WindowSpec(spec) => spec
                        .partition_by
                        .iter()
                        .filter_map(|expression| key_column(expression, self.scope, self.key_type))
                        .filter(|key| !key.outer)
                        .map(|key| key.variable)
                        .collect(),
                    WindowType::NamedWindow(_) => Vec::new(),
                };
                self.common = Some(match self.common.take() {
                    None => keys,
                    Some(before) => before.into_iter().filter(|key| keys.contains(key)).collect(),
                });
                ControlFlow::Continue(())
            }
        }
        let mut finder = Finder { scope, key_type: self.key_type, common: None, depth: 0 };
        let _ = walk(&select.projection, &mut finder);
        let _ = walk(&query.order_by, &mut finder);
        finder.common.unwrap_or_default()
    }

    /// What of a SELECT mixes rows of several keys, so that shards cannot do it alone.
    pub(super) fn mixes(
        &mut self,
        shape: &Shape,
        columns: &[Column],
        anchor: Option<Variable>,
    ) -> Option<&'static str> {
        let anchor = anchor?;
        if shape.aggregates && !shape.grouped.iter().any(|key| self.graph.divides(*key, anchor)) {
            return Some("an aggregate");
        }
        if shape.windows && !shape.partitioned.iter().any(|key| self.graph.divides(*key, anchor)) {
            return Some("a window function");
        }
        if shape.distinct && !columns.iter().filter_map(|column| column.key).any(|key| self.graph.divides(key, anchor))
        {
            return Some("DISTINCT");
        }
        match &shape.distinct_on {
            Some(keys) if !keys.iter().any(|key| self.graph.divides(*key, anchor)) => Some("DISTINCT ON"),
            _ => None,
        }
    }

    /// The columns of a SELECT, as far as they are known, and whether all are. A key that conditions from outside must not
    /// reach through is a copy.
    pub(super) fn outputs(
        &mut self,
        select: &Select,
        scope: &Scope<'_>,
        limited: bool,
        shape: &Shape,
        level: usize,
    ) -> (Vec<Column>, bool) {
        let (mut columns, complete) = self.columns(&select.projection, scope, level);
        for column in &mut columns {
            let Some(key) = column.key else { continue };
            let reaches = !limited
                && (!shape.aggregates || shape.grouped.contains(&key))
                && (!shape.windows || shape.partitioned.contains(&key))
                && shape.distinct_on.as_ref().is_none_or(|keys| keys.contains(&key));
            if !reaches {
                column.key = Some(self.copy_of(key, level));
            }
        }
        (columns, complete)
    }

    /// What a write returns to the query around it; `key` is that of the rows that it writes.
    pub(super) fn returning(
        &mut self,
        items: Option<&[SelectItem]>,
        scope: &Scope<'_>,
        key: Option<Variable>,
        level: usize,
    ) -> Output {
        let (columns, complete) = self.columns(items.unwrap_or_default(), scope, level);
        Output { columns, complete, anchor: key, ..Output::default() }
    }

    /// The columns of a list, as far as they are known, and whether all are.
    fn columns(&mut self, items: &[SelectItem], scope: &Scope<'_>, level: usize) -> (Vec<Column>, bool) {
        let mut columns = Vec::new();
        for item in items {
            match item {
                SelectItem::UnnamedExpr(expression) => columns.push(self.output(expression, None, scope, level)),
                SelectItem::ExprWithAlias { expr, alias } => {
                    columns.push(self.output(expr, Some(fold(alias).into_owned()), scope, level));
                }
                _ => match whole(item, scope) {
                    Some(all) => columns.extend_from_slice(all),
                    // Where the columns after it are, nobody knows.
                    None => return (columns.into_iter().map(Column::hidden).collect(), false),
                },
            }
        }
        (columns.into_iter().map(Column::hidden).collect(), true)
    }

    fn output(&mut self, expression: &Expr, alias: Option<String>, scope: &Scope<'_>, level: usize) -> Column {
        let found = scope.find(expression).filter(|found| !found.outer).map(|found| found.column);
        let key = key_column(expression, scope, self.key_type).filter(|key| !key.outer).map(|key| key.variable);
        let key = key.or_else(|| self.constant_column(std::iter::once(Some(expression)), level));
        let name = alias.unwrap_or_else(|| super::column_name::column_name(expression));
        Column::new(name, key, found.and_then(|column| column.data_type))
    }
}

/// What `*` or `name.*` stands for; `None` when that is not known.
pub(super) fn whole<'s>(item: &SelectItem, scope: &'s Scope<'_>) -> Option<&'s [Column]> {
    match item {
        SelectItem::Wildcard(_) if scope.source.complete() => Some(&scope.source.visible),
        SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) => {
            let relation = name.0.last().and_then(|part| part.as_ident()).and_then(|name| scope.relation(name));
            relation.filter(|relation| relation.complete).map(|relation| relation.columns.as_slice())
        }
        _ => None,
    }
}

/// What an expression of ORDER BY or DISTINCT ON sorts by: a name is a column of the result first, then one of FROM.
fn sorted_expression<'s>(expression: &'s Expr, select: &'s Select) -> &'s Expr {
    if let Some(selected) = output_reference(expression, select) {
        return selected;
    }
    let Expr::Identifier(name) = super::key::strip(expression) else { return expression };
    let name = fold(name);
    let named = select.projection.iter().find_map(|item| match item {
        SelectItem::ExprWithAlias { expr, alias } if fold(alias) == name => Some(expr),
        SelectItem::UnnamedExpr(expr) if super::column_name::column_name(expr) == name => Some(expr),
        _ => None,
    });
    named.unwrap_or(expression)
}

/// The select list's expression that an ordinal means.
pub(super) fn output_reference<'s>(expression: &Expr, select: &'s Select) -> Option<&'s Expr> {
    let Expr::Value(value) = super::key::strip(expression) else { return None };
    let crate::sql::ast::Value::Number(number, _) = &value.value else { return None };
    match select.projection.get(number.parse::<usize>().ok()?.checked_sub(1)?)? {
        SelectItem::UnnamedExpr(expression) | SelectItem::ExprWithAlias { expr: expression, .. } => Some(expression),
        _ => None,
    }
}
