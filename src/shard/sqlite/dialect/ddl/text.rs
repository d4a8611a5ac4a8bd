//! The text of what a schema keeps: expressions and definitions, as they can be read again.

use std::fmt::Display;

use crate::sql::ast::{Expr, UnaryOperator, VisitMut};
use crate::sql::walk_expressions_mut;

/// A tree's text. Two signs side by side would begin a comment: the inner one gets parentheses.
pub(super) fn text_of(tree: &(impl VisitMut + Clone + Display)) -> String {
    let mut tree = tree.clone();
    walk_expressions_mut(&mut tree, |part| {
        if let Expr::UnaryOp { op: UnaryOperator::Minus, expr } = part
            && expr.to_string().starts_with('-')
        {
            let inner = std::mem::replace(&mut **expr, Expr::Tuple(Vec::new()));
            **expr = Expr::Nested(Box::new(inner));
        }
    });
    tree.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::parse_expression;

    #[test]
    fn signs_side_by_side_are_no_comment() {
        for (written, kept) in [("n > - -2", "n > -(-2)"), ("- - -n", "-(-(-n))"), ("n - -2", "n - -2"), ("-n", "-n")] {
            let text = text_of(&parse_expression(written).unwrap());
            assert_eq!(text, kept);
            assert_eq!(text_of(&parse_expression(&text).unwrap()), kept);
        }
    }
}
