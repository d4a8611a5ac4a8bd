//! Conditions that every row must satisfy, and what they say about keys.
//!
//! Only what is certain counts: equality that is AND-ed at the top, lists of constants, and an OR whose every branch
//! gives keys. NOT, CASE and functions give nothing.

use super::graph::Variable;
use super::key::{KeyExpression, constant, constants_of_array, is_key_type, strip};
use super::scope::{Found, Scope};
use crate::sql::ast::{BinaryOperator, CastKind, Expr};
use crate::types::KeyType;

/// A key in a condition.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct KeyColumn {
    pub(super) variable: Variable,
    /// It belongs to a query around this one.
    pub(super) outer: bool,
    pub(super) relation: usize,
}

/// What a condition says.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) equal: Vec<(KeyColumn, KeyColumn)>,
    pub(super) pinned: Vec<(KeyColumn, Vec<KeyExpression>)>,
    /// The addresses of subqueries that a key is IN.
    pub(super) within: Vec<usize>,
}

/// The AND-ed conditions of an expression, parentheses removed.
pub(super) fn conjuncts(expression: &Expr) -> Vec<&Expr> {
    flatten(expression, &BinaryOperator::And)
}

fn flatten<'e>(expression: &'e Expr, operator: &BinaryOperator) -> Vec<&'e Expr> {
    let mut found = Vec::new();
    let mut pending = vec![expression];
    while let Some(next) = pending.pop() {
        match strip(next) {
            Expr::BinaryOp { left, op, right } if op == operator => {
                pending.push(right);
                pending.push(left);
            }
            other => found.push(other),
        }
    }
    found
}

/// The key that an expression is: a key column, maybe cast to its own type.
pub(super) fn key_column(expression: &Expr, scope: &Scope<'_>, key_type: KeyType) -> Option<KeyColumn> {
    let mut expression = strip(expression);
    while let Expr::Cast { kind: CastKind::Cast | CastKind::DoubleColon, expr, data_type, .. } = expression {
        if !is_key_type(data_type, key_type) {
            return None;
        }
        expression = strip(expr);
    }
    let Found { column, outer } = scope.find(expression)?;
    Some(KeyColumn { variable: column.key?, outer, relation: column.relation })
}

/// What a condition says about keys.
pub(super) fn facts(condition: &Expr, scope: &Scope<'_>, key_type: KeyType) -> Facts {
    let mut facts = Facts::default();
    for conjunct in conjuncts(condition) {
        note(conjunct, scope, key_type, &mut facts);
    }
    facts
}

fn note(conjunct: &Expr, scope: &Scope<'_>, key_type: KeyType, facts: &mut Facts) {
    match conjunct {
        Expr::BinaryOp { left, op: BinaryOperator::Eq, right } => note_equal(left, right, scope, key_type, facts),
        Expr::BinaryOp { op: BinaryOperator::Or, .. } => {
            crate::sql::with_stack(|| note_or(conjunct, scope, key_type, facts));
        }
        Expr::InList { expr, list, negated: false } => note_in(expr, list, scope, key_type, facts),
        Expr::AnyOp { left, compare_op: BinaryOperator::Eq, right, .. } => {
            if let Expr::Subquery(query) = strip(right) {
                facts.within.push(std::ptr::from_ref(&**query) as usize);
            } else if let (Some(key), Some(keys)) =
                (key_column(left, scope, key_type), constants_of_array(right, key_type))
            {
                facts.pinned.push((key, keys));
            }
        }
        Expr::InSubquery { subquery, negated: false, .. } => {
            facts.within.push(std::ptr::from_ref(&**subquery) as usize);
        }
        _ => {}
    }
}

fn note_equal(left: &Expr, right: &Expr, scope: &Scope<'_>, key_type: KeyType, facts: &mut Facts) {
    if let (Some(left), Some(right)) = (row(left), row(right)) {
        if left.len() == right.len() {
            for (left, right) in left.iter().zip(right) {
                note_equal_values(left, right, scope, key_type, facts);
            }
        }
        return;
    }
    note_equal_values(left, right, scope, key_type, facts);
}

fn note_equal_values(left: &Expr, right: &Expr, scope: &Scope<'_>, key_type: KeyType, facts: &mut Facts) {
    match (key_column(left, scope, key_type), key_column(right, scope, key_type)) {
        (Some(left), Some(right)) => facts.equal.push((left, right)),
        (Some(key), None) => facts.pinned.extend(constant(right, key_type).map(|value| (key, vec![value]))),
        (None, Some(key)) => facts.pinned.extend(constant(left, key_type).map(|value| (key, vec![value]))),
        (None, None) => {}
    }
}

/// `(a, b)` or `ROW(a, b)`.
fn row(expression: &Expr) -> Option<&[Expr]> {
    match strip(expression) {
        Expr::Tuple(values) => Some(values),
        _ => None,
    }
}

fn note_in(expr: &Expr, list: &[Expr], scope: &Scope<'_>, key_type: KeyType, facts: &mut Facts) {
    if let Some(key) = key_column(expr, scope, key_type) {
        facts
            .pinned
            .extend(list.iter().map(|value| constant(value, key_type)).collect::<Option<_>>().map(|keys| (key, keys)));
        return;
    }
    let Some(columns) = row(expr) else { return };
    for (place, column) in columns.iter().enumerate() {
        let Some(key) = key_column(column, scope, key_type) else { continue };
        let keys: Option<Vec<_>> = list
            .iter()
            .map(|value| {
                row(value).filter(|row| row.len() == columns.len()).and_then(|row| constant(&row[place], key_type))
            })
            .collect();
        facts.pinned.extend(keys.map(|keys| (key, keys)));
    }
}

/// Every branch must give keys of the same column; then the row has one of them.
fn note_or(condition: &Expr, scope: &Scope<'_>, key_type: KeyType, into: &mut Facts) {
    let mut common: Option<Vec<(KeyColumn, Vec<KeyExpression>)>> = None;
    for branch in flatten(condition, &BinaryOperator::Or) {
        let pinned = facts(branch, scope, key_type).pinned;
        common = Some(match common {
            None => pinned,
            Some(before) => before
                .into_iter()
                .filter_map(|(key, mut keys)| {
                    let (_, more) = pinned.iter().find(|(other, _)| *other == key)?;
                    keys.extend_from_slice(more);
                    Some((key, keys))
                })
                .collect(),
        });
    }
    into.pinned.extend(common.unwrap_or_default());
}
