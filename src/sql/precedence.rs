//! Prefix operators (`~ a`) as Postgres binds them: less tightly than `+` and `-`, so that `~ a + b` is `~ (a + b)`.
//!
//! The parser has no say in how tightly it binds them, so its tree is mended. Nor does it print what it read when two of
//! them meet: `- - a` would become a comment, so the inner one gets parentheses.
//! <https://www.postgresql.org/docs/15/sql-syntax-lexical.html#SQL-PRECEDENCE>

use super::ast::{BinaryOperator, CastKind, Expr, UnaryOperator, Value, VisitMut};
use super::lexer::{Token, TokenKind};
use super::walk::walk_expressions_mut;

/// Whether a statement may have one of them.
pub(super) fn may_have_prefix_operators(text: &str, tokens: &[Token]) -> bool {
    tokens
        .iter()
        .any(|token| token.kind == TokenKind::Operator && matches!(token.text(text), "~" | "@" | "|/" | "||/" | "!!"))
}

/// Whether two operators follow each other, as in `- - a`.
pub(super) fn may_have_operators_in_a_row(tokens: &[Token]) -> bool {
    tokens.windows(2).any(|pair| pair.iter().all(|token| token.kind == TokenKind::Operator))
}

/// Puts parentheses round an operand that begins with an operator itself.
pub(super) fn set_operators_apart(tree: &mut impl VisitMut) {
    walk_expressions_mut(tree, |expression| {
        // NOT is a word: what follows it stays what it was.
        if let Expr::UnaryOp { expr, op } = expression
            && *op != UnaryOperator::Not
            && begins_with_operator(expr)
        {
            let inner = std::mem::replace(&mut **expr, Expr::Value(Value::Null.with_empty_span()));
            **expr = Expr::Nested(Box::new(inner));
        }
    });
}

fn begins_with_operator(expression: &Expr) -> bool {
    match expression {
        Expr::UnaryOp { .. } => true,
        Expr::BinaryOp { left, .. } => begins_with_operator(left),
        Expr::Cast { expr, kind: CastKind::DoubleColon, .. }
        | Expr::Collate { expr, .. }
        | Expr::AtTimeZone { timestamp: expr, .. }
        | Expr::CompoundFieldAccess { root: expr, .. } => begins_with_operator(expr),
        _ => false,
    }
}

/// Takes sums into the operand of the prefix operator that stands before them. Inner ones come first, so that a longer
/// sum is taken in term by term.
pub(super) fn bind_prefix_operators(tree: &mut impl VisitMut) {
    walk_expressions_mut(tree, |expression| {
        let Expr::BinaryOp { left, op: BinaryOperator::Plus | BinaryOperator::Minus, .. } = expression else { return };
        let Some(steps) = steps_to_operand(left) else { return };
        let placeholder = || Expr::Value(Value::Null.with_empty_span());
        let Expr::BinaryOp { mut left, op, right } = std::mem::replace(expression, placeholder()) else { return };
        let operand = rightmost(&mut left, steps);
        let first = Box::new(std::mem::replace(operand, placeholder()));
        *operand = Expr::BinaryOp { left: first, op, right };
        *expression = *left;
    });
}

/// How many steps to the right lead to the operand of the last prefix operator that nothing follows but its operand.
fn steps_to_operand(expression: &Expr) -> Option<usize> {
    let (mut at, mut steps, mut found) = (expression, 0, None);
    loop {
        steps += 1;
        at = match at {
            Expr::UnaryOp { op, expr } => {
                if binds_loosely(*op) {
                    found = Some(steps);
                }
                expr
            }
            Expr::BinaryOp { right, .. } => right,
            _ => return found,
        };
    }
}

fn rightmost(mut expression: &mut Expr, steps: usize) -> &mut Expr {
    for _ in 0..steps {
        expression = match expression {
            Expr::UnaryOp { expr, .. } => expr,
            Expr::BinaryOp { right, .. } => right,
            other => return other,
        };
    }
    expression
}

fn binds_loosely(op: UnaryOperator) -> bool {
    use UnaryOperator::{BitwiseNot, PGAbs, PGCubeRoot, PGPrefixFactorial, PGSquareRoot};
    matches!(op, BitwiseNot | PGAbs | PGCubeRoot | PGPrefixFactorial | PGSquareRoot)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::parse_expression;

    #[test]
    fn what_is_printed_is_read_as_the_same_again() {
        for text in
            ["- -5", "- - a", "~ - a", "- ~ a + 1", "- - -5::int", "1 - -5", "@ -a", "- (-a)", "~ ~ a", "- -a[1]"]
        {
            let tree = parse_expression(text).unwrap();
            let printed = tree.to_string();
            assert_eq!(parse_expression(&printed).unwrap(), tree, "{text}: {printed}");
            assert!(!printed.contains("--"), "{printed}");
        }
    }

    #[test]
    fn sums_belong_to_the_prefix_operator_before_them() {
        for (text, meant) in [
            ("~ a - 2", "~(a - 2)"),
            ("~ a + b - c", "~(a + b - c)"),
            ("~ a * b", "~(a * b)"),
            ("2 ^ ~ a + 1", "2 ^ (~(a + 1))"),
            ("- ~ a + 1", "-(~(a + 1))"),
            ("~ ~ a + 1", "~(~(a + 1))"),
            ("~ - a + 1", "~((-a) + 1)"),
            ("@ a + |/ b + c", "@(a + (|/(b + c)))"),
            ("~ a & b", "(~a) & b"),
            ("~ a < b + c", "(~a) < (b + c)"),
            ("b + ~ a + c", "b + (~(a + c))"),
            ("(~ a) + b", "((~a) + b)"),
        ] {
            let tree = |text: &str| {
                let mut tree = parse_expression(text).unwrap();
                walk_expressions_mut(&mut tree, |expression| {
                    if let Expr::Nested(inner) = expression {
                        *expression = (**inner).clone();
                    }
                });
                tree
            };
            assert_eq!(tree(text), tree(meant), "{text}");
        }
    }
}
