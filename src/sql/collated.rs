//! COLLATE behind a cast, which the parser reads only behind what needs no parentheses.
//!
//! It gets AT TIME ZONE in its place, which binds nearly as tightly, with a string that no text of a client's becomes; the tree
//! then says COLLATE.
//! <https://www.postgresql.org/docs/15/sql-syntax-lexical.html#SQL-PRECEDENCE>

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::Token as ParserToken;

use super::ast::{AccessExpr, CastKind, Expr, Ident, ObjectName, Value, VisitMut};
use super::lexer::{Token, TokenKind};
use super::spelling::{Here, Respelled, keyword};
use super::walk::walk_expressions_mut;
use crate::error::Result;

/// What no name holds.
const SEPARATOR: char = '\0';

impl Here<'_> {
    pub(super) fn follows_cast(&self) -> bool {
        self.kind(-2) == Some(TokenKind::DoubleColon)
    }

    /// `COLLATE name`, which begins here.
    ///
    /// # Errors
    /// 42601: no name follows.
    pub(super) fn collation_of_cast(&self) -> Result<Respelled> {
        let part = |at| self.name_at(at)?.ok_or_else(|| self.syntax_error(at));
        let (mut name, mut taken) = (part(1)?, 2);
        while self.kind(taken) == Some(TokenKind::Dot) {
            name.push(SEPARATOR);
            name.push_str(&part(taken + 1)?);
            taken += 2;
        }
        let words = [Keyword::AT, Keyword::TIME, Keyword::ZONE].map(keyword);
        let mark = ParserToken::NationalStringLiteral(name);
        Ok(Respelled::new(taken as usize, words.into_iter().chain([mark]).collect()))
    }
}

pub(super) fn may_be_collated(text: &str, tokens: &[Token]) -> bool {
    tokens.iter().any(|token| token.kind == TokenKind::Word && token.text(text).eq_ignore_ascii_case("collate"))
}

/// COLLATE in place of each.
pub(super) fn write_collations(tree: &mut impl VisitMut) {
    walk_expressions_mut(tree, |expression| {
        let Expr::AtTimeZone { timestamp, time_zone } = expression else { return };
        let Some((mark, name)) = mark(time_zone) else { return };
        let collation =
            ObjectName::from(name.split(SEPARATOR).map(|part| Ident::with_quote('"', part)).collect::<Vec<_>>());
        let operand = std::mem::replace(&mut **timestamp, placeholder());
        // What follows the collation's name follows the whole.
        *mark = match operand {
            // COLLATE binds tighter.
            Expr::AtTimeZone { timestamp, time_zone } => {
                Expr::AtTimeZone { timestamp, time_zone: Box::new(Expr::Collate { expr: time_zone, collation }) }
            }
            operand => Expr::Collate { expr: Box::new(operand), collation },
        };
        let whole = std::mem::replace(&mut **time_zone, placeholder());
        *expression = whole;
    });
}

/// The string that stands for a collation, with which an expression begins.
fn mark(mut expression: &mut Expr) -> Option<(&mut Expr, String)> {
    loop {
        match expression {
            Expr::Value(value) => {
                let Value::NationalStringLiteral(name) = &value.value else { return None };
                let name = name.clone();
                return Some((expression, name));
            }
            Expr::Cast { kind: CastKind::DoubleColon, expr, .. } | Expr::Collate { expr, .. } => expression = expr,
            Expr::CompoundFieldAccess { root, access_chain }
                if access_chain.iter().all(|access| matches!(access, AccessExpr::Subscript(_))) =>
            {
                expression = root;
            }
            _ => return None,
        }
    }
}

fn placeholder() -> Expr {
    Expr::Value(Value::Null.with_empty_span())
}

#[cfg(test)]
mod tests {
    use super::super::{parse, parse_expression};

    #[test]
    fn a_collation_is_of_the_cast_before_it() {
        for (text, tree) in [
            ("a::text COLLATE c = 'b'", "a::TEXT COLLATE \"c\" = 'b'"),
            ("a || b::text COLLATE pg_catalog.\"C\" || c", "a || b::TEXT COLLATE \"pg_catalog\".\"C\" || c"),
            ("a::text COLLATE \"C\"::name::text", "a::TEXT COLLATE \"C\"::name::TEXT"),
            ("a::text COLLATE \"C\" COLLATE \"D\"", "a::TEXT COLLATE \"C\" COLLATE \"D\""),
            ("a::text COLLATE \"C\"::text COLLATE \"D\"", "a::TEXT COLLATE \"C\"::TEXT COLLATE \"D\""),
            ("a AT TIME ZONE b::text COLLATE \"C\"", "a AT TIME ZONE b::TEXT COLLATE \"C\""),
            ("a::text COLLATE \"C\" AT TIME ZONE 'b'", "a::TEXT COLLATE \"C\" AT TIME ZONE 'b'"),
            ("a::text COLLATE \"C\" IS NULL", "a::TEXT COLLATE \"C\" IS NULL"),
            ("a AT TIME ZONE N'x'", "a AT TIME ZONE 'x'"),
        ] {
            assert_eq!(parse_expression(text).unwrap().to_string(), tree, "{text}");
        }
        for text in ["SELECT a::text COLLATE", "SELECT a::text COLLATE 'C'", "SELECT a::text COLLATE b."] {
            assert_eq!(parse(text, 0, Vec::new()).unwrap_err().sqlstate().code(), "42601", "{text}");
        }
        assert!(parse("SELECT a::text COLLATE b", 0, Vec::new()).unwrap().hidden.is_none());
    }
}
