//! `BETWEEN SYMMETRIC`, which the parser does not know, as the two comparisons that Postgres makes of it.
//!
//! The parser gets an operator in place of the word, which no text of a client's becomes, before the lower end; the tree shows
//! where it was.
//! <https://www.postgresql.org/docs/15/functions-comparison.html>

use std::fmt::{Display, Write};

use super::ast::{BinaryOperator, CastKind, Expr, UnaryOperator, Value, VisitMut};
use super::lexer::{Token, TokenKind};
use super::walk::walk_expressions_mut;
use crate::error::{Error, Result, SqlState};

/// How many of them a statement may have: each is measured before it is written out, and adds to the depth of the tree.
const MAX_SYMMETRIC: usize = 8;

/// How many bytes, printed, they may add to a tree: each doubles what stands in it, and one may stand in another.
const MAX_ADDED_BYTES: usize = 256 << 10;

/// Whether a statement has one.
///
/// # Errors
/// 54001 when it has too many.
pub(super) fn may_be_symmetric(text: &str, tokens: &[Token]) -> Result<bool> {
    let is = |token: &Token, word: &str| token.kind == TokenKind::Word && token.text(text).eq_ignore_ascii_case(word);
    let mut pairs = tokens.windows(2).filter(|pair| is(&pair[1], "symmetric") && is(&pair[0], "between"));
    match pairs.by_ref().take(MAX_SYMMETRIC + 1).count() {
        0 => Ok(false),
        count if count <= MAX_SYMMETRIC => Ok(true),
        _ => Err(too_complex(format!("a statement has more than {MAX_SYMMETRIC} times BETWEEN SYMMETRIC"))),
    }
}

fn too_complex(message: impl Into<String>) -> Error {
    Error::new(SqlState::STATEMENT_TOO_COMPLEX, message).hint("Order the ends with least() and greatest().")
}

/// `x BETWEEN a AND b OR x BETWEEN b AND a` in place of each, in parentheses.
///
/// # Errors
/// 54001 when that would be too long.
pub(super) fn write_out_symmetric(tree: &mut impl VisitMut) -> Result<()> {
    let mut room = Room { left_bytes: MAX_ADDED_BYTES };
    let mut fits = true;
    walk_expressions_mut(tree, |expression| {
        let Expr::Between { low, .. } = expression else { return };
        if !fits || !take_mark(low) {
            return;
        }
        fits = room.has(expression);
        if !fits {
            return;
        }
        let Expr::Between { expr, negated, low, high } = std::mem::replace(expression, placeholder()) else { return };
        let one = Expr::Between { expr: expr.clone(), negated, low: low.clone(), high: high.clone() };
        let other = Expr::Between { expr, negated, low: high, high: low };
        let op = if negated { BinaryOperator::And } else { BinaryOperator::Or };
        let both = Expr::BinaryOp { left: Box::new(one), op, right: Box::new(other) };
        *expression = Expr::Nested(Box::new(both));
    });
    if fits { Ok(()) } else { Err(too_complex("what stands in BETWEEN SYMMETRIC is too long")) }
}

/// What may be added yet.
struct Room {
    left_bytes: usize,
}

impl Room {
    /// Takes as much as something is long, printed.
    fn has(&mut self, added: &impl Display) -> bool {
        write!(self, "{added}").is_ok()
    }
}

impl Write for Room {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.left_bytes = self.left_bytes.checked_sub(text.len()).ok_or(std::fmt::Error)?;
        Ok(())
    }
}

fn placeholder() -> Expr {
    Expr::Value(Value::Null.with_empty_span())
}

/// Takes the operator away with which an expression begins. Whether it was there.
fn take_mark(mut expression: &mut Expr) -> bool {
    loop {
        expression = match expression {
            Expr::UnaryOp { op: UnaryOperator::PGPrefixFactorial, expr } => {
                let inner = std::mem::replace(&mut **expr, placeholder());
                *expression = inner;
                return true;
            }
            Expr::BinaryOp { left, .. } => left,
            Expr::Cast { expr, kind: CastKind::DoubleColon, .. }
            | Expr::Collate { expr, .. }
            | Expr::AtTimeZone { timestamp: expr, .. }
            | Expr::CompoundFieldAccess { root: expr, .. } => expr,
            _ => return false,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::super::{parse, parse_expression};

    #[test]
    fn each_end_may_be_the_lower_one() {
        for (text, meant) in [
            ("a BETWEEN SYMMETRIC 9 AND 4", "(a BETWEEN 9 AND 4 OR a BETWEEN 4 AND 9)"),
            ("a NOT BETWEEN SYMMETRIC b AND c", "(a NOT BETWEEN b AND c AND a NOT BETWEEN c AND b)"),
            ("a BETWEEN SYMMETRIC -b + 1 AND c AND d", "(a BETWEEN -b + 1 AND c OR a BETWEEN c AND -b + 1) AND d"),
            ("a BETWEEN symmetric b::int ^ 2 AND c", "(a BETWEEN b::int ^ 2 AND c OR a BETWEEN c AND b::int ^ 2)"),
            ("a BETWEEN SYMMETRIC ~ b - 1 AND 2", "(a BETWEEN ~ (b - 1) AND 2 OR a BETWEEN 2 AND ~ (b - 1))"),
            ("a BETWEEN SYMMETRIC f(b)[1] AND 2", "(a BETWEEN f(b)[1] AND 2 OR a BETWEEN 2 AND f(b)[1])"),
        ] {
            let plain = |text: &str| parse_expression(text).unwrap().to_string().replace("~(b - 1)", "~b - 1");
            assert_eq!(plain(text), plain(meant), "{text}");
        }
    }

    #[test]
    fn their_number_is_bounded() {
        let of = |count: usize| format!("SELECT {}", vec!["1 BETWEEN SYMMETRIC 2 AND 3"; count].join(", "));
        assert!(parse(&of(8), 0, Vec::new()).is_ok());
        assert_eq!(parse(&of(9), 0, Vec::new()).unwrap_err().sqlstate().code(), "54001");
    }

    #[test]
    fn what_they_double_is_bounded() {
        let nested = |depth: usize, length: usize| {
            let (open, close) = ("(true BETWEEN SYMMETRIC ".repeat(depth), " AND false)".repeat(depth));
            format!("SELECT {open}(a IN (1{})){close}", ", 1".repeat(length))
        };
        let long = vec!["1"; 20_000].join(", ");
        assert!(parse(&nested(8, 10), 0, Vec::new()).is_ok());
        assert!(parse(&format!("{} WHERE b IN ({long})", nested(1, 10_000)), 0, Vec::new()).is_ok());
        assert_eq!(parse(&nested(8, 10_000), 0, Vec::new()).unwrap_err().sqlstate().code(), "54001");
    }
}
