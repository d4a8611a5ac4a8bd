//! Whether a condition pins a whole key, so that there is one row at most.

use super::Translator;
use super::names::{QualifiedName, fold};
use super::scope::Scope;
use crate::sql::ast::{self, Expr};

impl Translator<'_> {
    /// The columns that a condition holds equal to constants: their relation's alias and name.
    pub(super) fn pinned_columns(&self, condition: &Expr, scope: &Scope<'_>) -> Vec<String> {
        let mut pinned = Vec::new();
        let mut conditions = vec![condition];
        while let Some(condition) = conditions.pop() {
            match condition {
                Expr::Nested(inner) => conditions.push(inner),
                Expr::BinaryOp { left, op: ast::BinaryOperator::And, right } => {
                    conditions.extend([left.as_ref(), right])
                }
                Expr::BinaryOp { left, op: ast::BinaryOperator::Eq, right } => {
                    for (column, value) in [(left, right), (right, left)] {
                        if is_constant(value) {
                            pinned.extend(own_column(column, scope));
                        }
                    }
                }
                _ => {}
            }
        }
        pinned
    }
}

/// Whether the only table's whole primary or unique key is pinned.
pub(super) fn is_point_read(scope: &Scope<'_>, pinned: &[String]) -> bool {
    let [item] = scope.items.as_slice() else { return false };
    let Some(table) = &item.table else { return false };
    let keys = table.primary_key.iter().chain(&table.unique_keys);
    keys.into_iter().any(|key| key.columns.iter().all(|column| pinned.contains(&item.columns[*column].sql)))
}

fn is_constant(value: &Expr) -> bool {
    match value {
        Expr::Value(_) | Expr::TypedString(_) => true,
        Expr::Nested(inner) | Expr::Cast { expr: inner, .. } => is_constant(inner),
        Expr::UnaryOp { op: ast::UnaryOperator::Minus, expr } => is_constant(expr),
        _ => false,
    }
}

/// The text of a column of the query's own tables.
fn own_column(expression: &Expr, scope: &Scope<'_>) -> Option<String> {
    let found = match expression {
        Expr::Identifier(name) => scope.column(&fold(name)).ok()??,
        Expr::CompoundIdentifier(parts) => {
            let [table, name] = parts.as_slice() else { return None };
            let qualifier = QualifiedName { schema: None, name: fold(table), span: table.span };
            let (item, level) = scope.item(&qualifier)?;
            let folded = fold(name);
            let column = item.columns.iter().find(|column| column.name == folded)?;
            super::scope::Found { column, level, qualifier: None }
        }
        Expr::Nested(inner) => return own_column(inner, scope),
        _ => return None,
    };
    (found.level == 0).then(|| found.column.sql.clone())
}
