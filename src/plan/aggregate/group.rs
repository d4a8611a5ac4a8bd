//! GROUP BY across shards.

use super::super::canonical::canonical;
use super::super::functions::calls;
use super::super::key::strip;
use super::super::scope::Scope;
use super::super::shape::output_reference;
use crate::error::{Error, Result, SqlState};
use crate::sql::ast::{Expr, GroupByExpr, Select, SelectItem};
use crate::sql::fold;

/// An expression that shards group by, and so does the finishing statement.
pub(super) struct Group {
    pub(super) expression: Expr,
    pub(super) canonical: Expr,
}

/// GROUP BY's expressions: ordinals and output names resolved.
pub(super) fn groups(select: &Select, scope: &Scope<'_>) -> Result<Vec<Group>> {
    let GroupByExpr::Expressions(expressions, modifiers) = &select.group_by else { return Ok(Vec::new()) };
    let sets = |group: &Expr| matches!(strip(group), Expr::Rollup(_) | Expr::Cube(_) | Expr::GroupingSets(_));
    if !modifiers.is_empty() || expressions.iter().any(sets) {
        return Err(Error::unsupported("GROUPING SETS, ROLLUP and CUBE across shards", "Use one GROUP BY for each."));
    }
    let mut groups: Vec<Group> = Vec::new();
    for expression in expressions {
        let expression = match output_reference(expression, select) {
            Some(selected) => selected,
            None => named_output(expression, select, scope).unwrap_or(expression),
        };
        let found = calls(expression);
        if found.aggregate {
            return Err(Error::new(SqlState::GROUPING_ERROR, "aggregate functions are not allowed in GROUP BY"));
        }
        if found.subquery {
            return Err(Error::unsupported("a subquery in GROUP BY across shards", "Give the key in WHERE."));
        }
        let canonical = canonical(expression, scope);
        if !groups.iter().any(|group| group.canonical == canonical) {
            groups.push(Group { expression: expression.clone(), canonical });
        }
    }
    Ok(groups)
}

/// A name in GROUP BY means a column of FROM first, then a column of the result.
fn named_output<'s>(expression: &Expr, select: &'s Select, scope: &Scope<'_>) -> Option<&'s Expr> {
    let Expr::Identifier(name) = strip(expression) else { return None };
    if scope.find(expression).is_some() {
        return None;
    }
    let name = fold(name);
    select.projection.iter().find_map(|item| match item {
        SelectItem::ExprWithAlias { expr, alias } if fold(alias) == name => Some(expr),
        _ => None,
    })
}
