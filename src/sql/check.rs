//! What the parser accepts and Postgres does not, and trees that would mean something else than the text.
//!
//! The parser knows many dialects. Syntax of others that slips through is a syntax error here too; a precedence that
//! differs from Postgres's is refused rather than answered differently.

use std::ops::ControlFlow;

use sqlparser::ast::{
    BinaryOperator, Expr, Ident, ObjectName, ObjectNamePart, Query, Select, SetExpr, Spanned, Statement, UnaryOperator,
};

use super::lexer::syntax_error_at;
use super::parse::position_of;
use super::walk::{Visitor, walk};
use crate::error::{Error, Result, SqlState};

/// # Errors
/// 42601 or 0A000 for what Postgres would read otherwise or not at all.
pub(super) fn check(statement: &Statement, text: &str) -> Result<()> {
    let mut checker = Checker { text };
    match walk(statement, &mut checker) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(*error),
    }
}

struct Checker<'a> {
    text: &'a str,
}

impl Checker<'_> {
    fn foreign(&self, what: &str, span: sqlparser::tokenizer::Span) -> ControlFlow<Box<Error>> {
        let error = Error::new(SqlState::SYNTAX_ERROR, format!("syntax error: {what} is not Postgres's"));
        ControlFlow::Break(Box::new(match position_of(self.text, span) {
            Some(position) => error.position(position),
            None => error,
        }))
    }

    fn reserved(&self, name: &Ident) -> ControlFlow<Box<Error>> {
        let byte = usize::try_from(name.span.start.column.saturating_sub(1)).unwrap_or(0);
        ControlFlow::Break(Box::new(syntax_error_at(self.text, byte, &name.value)))
    }
}

/// Words that name nothing in Postgres unless they are quoted, but which the parser takes for names.
///
/// Some of [`KEYWORDS`](super::name::KEYWORDS), and not all of them: many of those do begin an expression (`NULL`, `ARRAY`,
/// `current_date`) or may name a table, a column or a function, and are quoted only to be read as that for sure.
const RESERVED: &[&str] = &[
    "all",
    "analyse",
    "analyze",
    "and",
    "as",
    "asc",
    "both",
    "case",
    "cast",
    "check",
    "collate",
    "column",
    "constraint",
    "create",
    "deferrable",
    "desc",
    "distinct",
    "do",
    "else",
    "end",
    "except",
    "fetch",
    "for",
    "foreign",
    "from",
    "grant",
    "group",
    "having",
    "in",
    "initially",
    "intersect",
    "into",
    "lateral",
    "leading",
    "limit",
    "not",
    "offset",
    "on",
    "or",
    "order",
    "placing",
    "primary",
    "references",
    "returning",
    "select",
    "some",
    "symmetric",
    "table",
    "then",
    "to",
    "trailing",
    "union",
    "unique",
    "using",
    "variadic",
    "when",
    "where",
    "window",
    "with",
];

fn is_reserved(name: &Ident) -> bool {
    name.quote_style.is_none()
        && name.value.len() <= 11
        && RESERVED.binary_search(&name.value.to_ascii_lowercase().as_str()).is_ok()
}

fn is_comparison(op: &BinaryOperator) -> bool {
    use BinaryOperator::{Eq, Gt, GtEq, Lt, LtEq, NotEq};
    matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq)
}

impl Visitor for Checker<'_> {
    type Break = Box<Error>;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Self::Break> {
        let foreign = query.for_clause.is_some()
            || query.settings.is_some()
            || query.format_clause.is_some()
            || !query.pipe_operators.is_empty()
            || query.order_by.as_ref().is_some_and(|order| {
                order.interpolate.is_some() || matches!(order.kind, sqlparser::ast::OrderByKind::All(_))
            });
        if foreign {
            return self.foreign("this clause", query.span());
        }
        if let Some(sqlparser::ast::LimitClause::OffsetCommaLimit { .. }) = query.limit_clause {
            return ControlFlow::Break(Box::new(
                Error::new(SqlState::SYNTAX_ERROR, "LIMIT #,# syntax is not supported")
                    .hint("Use separate LIMIT and OFFSET clauses."),
            ));
        }
        if let SetExpr::SetOperation { op: sqlparser::ast::SetOperator::Minus, .. } = *query.body {
            return self.foreign("MINUS", query.span());
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<Self::Break> {
        let foreign = select.top.is_some()
            || select.exclude.is_some()
            || !select.lateral_views.is_empty()
            || select.prewhere.is_some()
            || !select.connect_by.is_empty()
            || !select.cluster_by.is_empty()
            || !select.distribute_by.is_empty()
            || !select.sort_by.is_empty()
            || select.qualify.is_some()
            || select.value_table_mode.is_some()
            || select.flavor != sqlparser::ast::SelectFlavor::Standard
            || matches!(select.group_by, sqlparser::ast::GroupByExpr::All(_));
        if foreign { self.foreign("this clause", select.span()) } else { ControlFlow::Continue(()) }
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<Self::Break> {
        match relation.0.last() {
            Some(ObjectNamePart::Identifier(name)) if is_reserved(name) => self.reserved(name),
            _ => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<Self::Break> {
        match expression {
            Expr::Identifier(name) if is_reserved(name) => self.reserved(name),
            Expr::BinaryOp { left, op, .. } if is_comparison(op) => {
                // Comparisons do not chain in Postgres: `a = b = c` is an error there.
                if matches!(&**left, Expr::BinaryOp { op, .. } if is_comparison(op)) {
                    return self.foreign("a chain of comparisons", expression.span());
                }
                ControlFlow::Continue(())
            }
            Expr::UnaryOp { op: UnaryOperator::Minus | UnaryOperator::Plus, expr } => match &**expr {
                // The parser lets `^` bind more tightly than a sign; Postgres does not.
                Expr::BinaryOp { op: BinaryOperator::PGExp, .. } => ControlFlow::Break(Box::new(
                    Error::unsupported("a sign before ^", "Write (-a) ^ b or -(a ^ b).")
                        .position(position_of(self.text, expression.span()).unwrap_or(1)),
                )),
                _ => ControlFlow::Continue(()),
            },
            Expr::BinaryOp {
                op:
                    BinaryOperator::Xor
                    | BinaryOperator::Spaceship
                    | BinaryOperator::DuckIntegerDivide
                    | BinaryOperator::MyIntegerDivide
                    | BinaryOperator::Match
                    | BinaryOperator::Regexp
                    | BinaryOperator::Glob
                    | BinaryOperator::Assignment,
                ..
            }
            | Expr::RLike { .. }
            | Expr::Convert { .. }
            | Expr::InUnnest { .. }
            | Expr::Struct { .. }
            | Expr::Dictionary(_)
            | Expr::Map(_)
            | Expr::Lambda(_)
            | Expr::MatchAgainst { .. }
            | Expr::OuterJoin(_)
            | Expr::Prior(_) => self.foreign("this expression", expression.span()),
            _ => ControlFlow::Continue(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::name::KEYWORDS;
    use super::super::parse;
    use super::RESERVED;

    #[test]
    fn reserved_words_are_looked_up_in_order() {
        assert!(RESERVED.is_sorted() && KEYWORDS.is_sorted());
    }

    #[test]
    fn what_names_nothing_is_quoted_where_it_is_a_name() {
        assert!(RESERVED.iter().all(|word| KEYWORDS.binary_search(word).is_ok()));
    }

    #[test]
    fn other_dialects_are_syntax_errors() {
        for (text, position) in [
            ("SELECT a FROM where", Some(15)),
            ("SELECT select FROM t", Some(8)),
            ("SELECT a = b = c FROM t", None),
            ("SELECT a FROM t QUALIFY b", None),
            ("SELECT a XOR b", None),
            ("SELECT a FROM t ORDER BY ALL", None),
            ("SELECT a FROM t GROUP BY ALL", None),
        ] {
            let error = parse(text, 0, Vec::new()).expect_err(text);
            assert_eq!(error.sqlstate().code(), "42601", "{text}");
            assert!(position.is_none() || error.get_position() == position, "{text}: {error:?}");
        }
        assert_eq!(parse("SELECT -a ^ 2", 0, Vec::new()).unwrap_err().sqlstate().code(), "0A000");
        for text in ["SELECT \"where\" FROM \"select\"", "SELECT a AS where FROM t", "SELECT current_date, (-a) ^ 2"] {
            assert!(parse(text, 0, Vec::new()).is_ok(), "{text}");
        }
    }
}
