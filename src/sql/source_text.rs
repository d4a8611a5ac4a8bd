//! The text of parts of a tree, by where they stand in the text that it was parsed from.
//!
//! A span of the tree's is the union of its leaves': it lacks NOT before them, parentheses around them, and what follows. So a
//! span tells only where a query or a call begins; the rest is read from the tokens.

use std::ops::Range;

use super::ast::{BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Select, Spanned};
use super::cursor::Cursor;
use super::layout::{Clause, Layout};
use super::lexer::TokenKind;
use super::outer::Outer;
use super::{Span, parse_expression};
use crate::error::Result;

/// A text that trees were parsed from, and its tokens.
#[derive(Debug)]
pub struct SourceText<'t> {
    cursor: Cursor<'t>,
}

/// The places of a call's parts among the tokens.
pub(super) struct CallText {
    /// From its name to its last parenthesis, FILTER's if it has one.
    pub(super) whole: Range<usize>,
    /// With their parentheses.
    pub(super) arguments: Range<usize>,
    /// Behind WHERE.
    pub(super) filter: Option<Range<usize>>,
}

impl<'t> SourceText<'t> {
    /// # Errors
    /// The text has a token that cannot be read.
    pub fn new(text: &'t str) -> Result<SourceText<'t>> {
        Ok(SourceText { cursor: Cursor::new(text)? })
    }

    pub(super) fn outer(&self) -> Outer<'t, '_> {
        Outer { text: self.cursor.text(), tokens: self.cursor.tokens() }
    }

    /// The conditions that AND joins in the WHERE of a SELECT, each with its text. What is not found is left out.
    pub fn conditions<'e>(&self, select: &'e Select) -> Vec<(&'e Expr, &'t str)> {
        let mut all = Vec::new();
        let outer = self.outer();
        let begin = place(&outer, select.select_token.0.span).filter(|at| outer.is(*at, "select"));
        let (Some(begin), Some(condition)) = (begin, &select.selection) else { return all };
        let layout = Layout::of(&outer, begin..outer.tokens.len());
        if let Some(tokens) = layout.get(Clause::Where) {
            joined_by_and(&outer, tokens.start + 1..tokens.end, condition, &mut all);
        }
        all.retain(|(condition, text)| is_text_of(text, condition));
        all
    }

    /// The arguments of a call, with their parentheses.
    pub fn arguments(&self, function: &Function) -> Option<&'t str> {
        let outer = self.outer();
        call(&outer, function).map(|call| outer.slice(call.arguments))
    }
}

/// Whether an expression is what this text means.
pub fn is_text_of(text: &str, expression: &Expr) -> bool {
    parse_expression(text).is_ok_and(|read| read == *expression)
}

/// The token at which a span begins.
pub(super) fn place(outer: &Outer<'_, '_>, span: Span) -> Option<usize> {
    let byte = u32::try_from(span.start.column.checked_sub(1)?).ok()?;
    outer.tokens.binary_search_by_key(&byte, |token| token.start).ok()
}

/// Where a call stands; `None` when it is written in another way than `name(...)`.
pub(super) fn call(outer: &Outer<'_, '_>, function: &Function) -> Option<CallText> {
    let begin = place(outer, function.name.0.first()?.span())?;
    let open = outer.name_end(begin)?;
    if open - begin != 2 * function.name.0.len() - 1 || outer.kind(open) != Some(TokenKind::LeftParen) {
        return None;
    }
    let close = outer.closed(open)?;
    let mut call = CallText { whole: begin..close + 1, arguments: open..close + 1, filter: None };
    if function.filter.is_some() {
        if !(outer.is(close + 1, "filter") && outer.is(close + 3, "where")) {
            return None;
        }
        let end = outer.closed(close + 2)?;
        call.filter = Some(close + 4..end);
        call.whole.end = end + 1;
    }
    Some(call)
}

/// The one argument of a call that has no more than that, and where it stands.
pub(super) fn only_argument<'f>(
    outer: &Outer<'_, '_>,
    function: &'f Function,
    call: &CallText,
) -> Option<(&'f Expr, Range<usize>)> {
    let FunctionArguments::List(list) = &function.args else { return None };
    let [FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))] = list.args.as_slice() else { return None };
    if !list.clauses.is_empty() {
        return None;
    }
    let begin = call.arguments.start + 1 + usize::from(list.duplicate_treatment.is_some());
    let (all, end) = (call.arguments.start + 1, call.arguments.end - 1);
    let says = outer.is_one_of(all, &["all", "distinct"]);
    (says == list.duplicate_treatment.is_some()).then_some((argument, begin..end))
}

/// Takes a condition apart at its ANDs, as far as they are joined by nothing else, and follows its parentheses.
fn joined_by_and<'e, 't>(
    outer: &Outer<'t, '_>,
    tokens: Range<usize>,
    condition: &'e Expr,
    all: &mut Vec<(&'e Expr, &'t str)>,
) {
    match condition {
        Expr::Nested(inner) => match outer.within_parens(tokens.clone()) {
            Some(within) => joined_by_and(outer, within, inner, all),
            // It is a BETWEEN SYMMETRIC that was written out.
            None => all.push((condition, outer.slice(tokens))),
        },
        Expr::BinaryOp { op: BinaryOperator::And, .. } => {
            let mut conditions = Vec::new();
            chained(condition, &mut conditions);
            let parts = split_at_and(outer, tokens);
            if parts.len() == conditions.len() {
                for (condition, tokens) in conditions.into_iter().zip(parts) {
                    joined_by_and(outer, tokens, condition, all);
                }
            }
        }
        other => all.push((other, outer.slice(tokens))),
    }
}

/// The conditions of a chain of AND, which leans to the left.
fn chained<'e>(condition: &'e Expr, all: &mut Vec<&'e Expr>) {
    let mut at = condition;
    let begin = all.len();
    while let Expr::BinaryOp { left, op: BinaryOperator::And, right } = at {
        all.push(right);
        at = left;
    }
    all.push(at);
    all[begin..].reverse();
}

/// What lies between the ANDs that are in no parentheses, in no CASE, and no BETWEEN's.
fn split_at_and(outer: &Outer<'_, '_>, tokens: Range<usize>) -> Vec<Range<usize>> {
    let mut joining = Vec::new();
    let (mut cases, mut betweens) = (0_usize, 0_usize);
    let mut depth = 0_usize;
    for at in tokens.clone() {
        match outer.kind(at) {
            Some(TokenKind::LeftParen | TokenKind::LeftBracket) => depth += 1,
            Some(TokenKind::RightParen | TokenKind::RightBracket) => depth = depth.saturating_sub(1),
            Some(TokenKind::Word) if depth == 0 && outer.kind(at.wrapping_sub(1)) != Some(TokenKind::Dot) => {
                if outer.is(at, "case") {
                    cases += 1;
                } else if outer.is(at, "end") {
                    cases = cases.saturating_sub(1);
                } else if cases == 0 && outer.is(at, "between") {
                    betweens += 1;
                } else if cases == 0 && outer.is(at, "and") {
                    match betweens {
                        0 => joining.push(at),
                        _ => betweens -= 1,
                    }
                }
            }
            _ => {}
        }
    }
    outer.split(tokens, |at| joining.binary_search(&at).is_ok())
}

#[cfg(test)]
mod tests {
    use super::super::ast::SetExpr;
    use super::super::{ast, parse_query};
    use super::*;

    fn conditions(text: &str) -> Vec<String> {
        let query = parse_query(text).unwrap();
        let SetExpr::Select(select) = &*query.body else { panic!("{text}") };
        SourceText::new(text).unwrap().conditions(select).into_iter().map(|(_, text)| text.to_owned()).collect()
    }

    #[test]
    fn conditions_are_cut_where_and_joins_them() {
        for (condition, expected) in [
            ("a = 1", vec!["a = 1"]),
            ("a=1 and (b  =  2 AND NOT c) And d IS NULL", vec!["a=1", "b  =  2", "NOT c", "d IS NULL"]),
            (
                "a BETWEEN 1 AND 2 AND b NOT BETWEEN SYMMETRIC 3 AND 4",
                vec!["a BETWEEN 1 AND 2", "b NOT BETWEEN SYMMETRIC 3 AND 4"],
            ),
            ("a = 1 OR b = 2 AND c = 3", vec!["a = 1 OR b = 2 AND c = 3"]),
            ("(a = 1 OR b = 2) AND c = 3", vec!["a = 1 OR b = 2", "c = 3"]),
            (
                "CASE WHEN a AND b THEN c ELSE d BETWEEN 1 AND 2 END AND x.\"end\" AND @ -5 = 0xFF",
                vec!["CASE WHEN a AND b THEN c ELSE d BETWEEN 1 AND 2 END", "x.\"end\"", "@ -5 = 0xFF"],
            ),
            (
                "a = ' and ' /* and */ AND EXISTS (SELECT 1 WHERE a AND b) AND d::timestamp with time zone < e",
                vec!["a = ' and '", "EXISTS (SELECT 1 WHERE a AND b)", "d::timestamp with time zone < e"],
            ),
            ("((a)) AND (b)", vec!["a", "b"]),
            ("(a = 1) = (b AND c) AND d", vec!["(a = 1) = (b AND c)", "d"]),
        ] {
            assert_eq!(conditions(&format!("SELECT 1 FROM t WHERE {condition} ORDER BY 1")), expected, "{condition}");
        }
        assert_eq!(conditions("SELECT 1 FROM t"), Vec::<String>::new());
    }

    #[test]
    fn a_call_is_found_by_its_name() {
        let text = "SELECT a, \"pg_catalog\" . sum (ALL b -- )\n ) FILTER ( WHERE (c) ) FROM t";
        let query = parse_query(text).unwrap();
        let SetExpr::Select(select) = &*query.body else { panic!("{text}") };
        let Some(ast::SelectItem::UnnamedExpr(Expr::Function(function))) = select.projection.get(1) else { panic!() };
        let source = SourceText::new(text).unwrap();
        let outer = source.outer();
        let found = call(&outer, function).unwrap();
        let (_, argument) = only_argument(&outer, function, &found).unwrap();
        assert_eq!(outer.slice(argument), "b");
        assert_eq!(found.filter.map(|tokens| outer.slice(tokens)), Some("(c)"));
        assert_eq!(outer.slice(found.whole), "\"pg_catalog\" . sum (ALL b -- )\n ) FILTER ( WHERE (c) )");
        assert_eq!(source.arguments(function), Some("(ALL b -- )\n )"));
    }
}
