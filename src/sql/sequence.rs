//! Calls of `nextval()`, `setval()`, `currval()` and `lastval()` that are a statement's only ones.
//!
//! A sequence is on every shard, so what such a call does depends on whom its numbers are for, which the session knows.

use std::ops::ControlFlow;

use super::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Query, SelectItem, SetExpr, TableFactor,
    TableWithJoins, Visit,
};
use super::cursor::Cursor;
use super::lexer::TokenKind;
use super::lift::parameter_number;
use super::name::{fold, function_name};
use super::outer::Outer;
use super::value::quoted_word_value;
use super::walk::{Visitor, walk};
use crate::error::Result;

/// A statement that does nothing but ask a sequence for numbers, set it, or ask what it gave last.
#[derive(Clone, Debug, PartialEq)]
pub enum SequenceCall {
    /// `SELECT nextval(...)`: for as many rows as FROM gives, which names no table.
    Next {
        /// There is no FROM.
        once: bool,
        /// Its rows are all the numbers that it takes, of one sequence, as they come.
        in_order: bool,
        column: String,
    },
    /// `SELECT setval(...)`, whose value may come from a query.
    Set { column: String },
    /// `SELECT currval(...)`
    Current { column: String },
    /// `SELECT lastval()`
    Last { column: String },
}

impl SequenceCall {
    /// The function that it calls.
    pub fn function(&self) -> &'static str {
        match self {
            SequenceCall::Next { .. } => "nextval",
            SequenceCall::Set { .. } => "setval",
            SequenceCall::Current { .. } => "currval",
            SequenceCall::Last { .. } => "lastval",
        }
    }

    /// Whether it only asks for what the session was given.
    pub fn asks_of_its_session(&self) -> bool {
        matches!(self, SequenceCall::Current { .. } | SequenceCall::Last { .. })
    }

    /// The name of the result's column.
    pub fn column(&self) -> &str {
        match self {
            SequenceCall::Next { column, .. }
            | SequenceCall::Set { column, .. }
            | SequenceCall::Current { column, .. }
            | SequenceCall::Last { column } => column,
        }
    }
}

/// `None` when it is another query.
pub fn sequence_call(query: &Query) -> Option<SequenceCall> {
    let SetExpr::Select(select) = &*query.body else { return None };
    let (call, column) = match select.projection.as_slice() {
        [SelectItem::UnnamedExpr(Expr::Function(call))] => (call, function_name(&call.name)?.into_owned()),
        [SelectItem::ExprWithAlias { expr: Expr::Function(call), alias }] => (call, fold(alias).into_owned()),
        _ => return None,
    };
    let arguments = plain_arguments(call)?;
    let whole = select.from.is_empty()
        && select.selection.is_none()
        && select.having.is_none()
        && query.limit_clause.is_none()
        && query.fetch.is_none();
    let named_alone =
        |sequence: &Expr| is_computed_alone(&Some(sequence.clone()).filter(|named| !is_named_by_table(named)));
    match (function_name(&call.name)?.as_ref(), arguments.as_slice()) {
        ("nextval", [sequence]) => {
            // As many numbers as are asked for, whatever the shards hold.
            let numbers = |from: &TableWithJoins| match &from.relation {
                TableFactor::Table { name, args: Some(args), .. } => {
                    from.joins.is_empty()
                        && function_name(name).is_some_and(|name| name == "generate_series")
                        && is_computed_alone(&args.args)
                }
                _ => false,
            };
            let alone = query.with.is_none()
                && select.from.iter().all(numbers)
                && named_alone(sequence)
                && is_computed_alone(&select.selection)
                && is_computed_alone(&query.limit_clause)
                && is_computed_alone(&query.fetch)
                && is_computed_alone(&query.order_by)
                && is_computed_alone(&select.having);
            let in_order = whole
                || (is_given(sequence)
                    && select.distinct.is_none()
                    && select.having.is_none()
                    && query.order_by.is_none()
                    && query.limit_clause.is_none()
                    && query.fetch.is_none());
            alone.then_some(SequenceCall::Next { once: whole, in_order, column })
        }
        ("setval", [_, _] | [_, _, _]) => Some(SequenceCall::Set { column }),
        ("currval", [sequence]) if whole && query.with.is_none() && named_alone(sequence) => {
            Some(SequenceCall::Current { column })
        }
        ("lastval", []) if whole && query.with.is_none() => Some(SequenceCall::Last { column }),
        _ => None,
    }
}

/// Whether it is a constant or a parameter: the same for every row.
fn is_given(sequence: &Expr) -> bool {
    match sequence {
        Expr::Cast { expr, .. } | Expr::Nested(expr) => is_given(expr),
        Expr::Value(_) => true,
        _ => false,
    }
}

/// `pg_get_serial_sequence('orders', 'order_id')`
fn is_named_by_table(sequence: &Expr) -> bool {
    let Expr::Function(call) = sequence else { return false };
    let plain =
        plain_arguments(call).is_some_and(|arguments| arguments.iter().all(|argument| is_computed_alone(*argument)));
    plain && function_name(&call.name).is_some_and(|name| name == "pg_get_serial_sequence")
}

/// Whether a part of a query calls nothing and reads nothing.
fn is_computed_alone<T: Visit>(part: &T) -> bool {
    struct Finder;
    impl Visitor for Finder {
        type Break = ();
        fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
            ControlFlow::Break(())
        }
        fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
            match expression {
                Expr::Function(_) => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        }
    }
    walk(part, &mut Finder).is_continue()
}

fn plain_arguments(call: &Function) -> Option<Vec<&Expr>> {
    let FunctionArguments::List(list) = &call.args else { return None };
    let argument = |argument| match argument {
        &FunctionArg::Unnamed(FunctionArgExpr::Expr(ref expression)) => Some(expression),
        _ => None,
    };
    list.args.iter().map(argument).collect()
}

/// How a client's `SELECT nextval(...)`, or another function of one argument, names its sequence; `None` when it does not call it.
///
/// # Errors
/// The text has a token that cannot be read.
pub fn named_by_call<'t>(function: &str, text: &'t str) -> Result<Option<&'t str>> {
    let cursor = Cursor::new(text)?;
    let outer = Outer { text, tokens: cursor.tokens() };
    let name = outer.find(outer.all(), |at| is_called(&outer, at, function));
    let end = name.and_then(|name| Some((name, outer.closed(name + 1)?)));
    Ok(end.map(|(name, end)| outer.slice(name + 2..end)))
}

/// A part of a text with its parameters' values in their place; `None` where `value` has none for one of them, whose number
/// begins at 1.
///
/// # Errors
/// The text has a token that cannot be read.
pub fn with_values_in(text: &str, value: impl Fn(usize) -> Option<String>) -> Result<Option<String>> {
    let mut whole = String::with_capacity(text.len());
    let mut copied = 0;
    for token in Cursor::new(text)?.tokens().iter().filter(|token| token.kind == TokenKind::Parameter) {
        let Some(value) = value(parameter_number(text, *token)?) else { return Ok(None) };
        whole.push_str(&text[copied..token.start as usize]);
        whole.push_str(&value);
        copied = token.end as usize;
    }
    whole.push_str(&text[copied..]);
    Ok(Some(whole))
}

/// Whether a function of this name is called here.
fn is_called(outer: &Outer<'_, '_>, at: usize, name: &str) -> bool {
    let Some(token) = outer.tokens.get(at) else { return false };
    let is_name = match token.kind {
        TokenKind::Word => token.text(outer.text).eq_ignore_ascii_case(name),
        TokenKind::QuotedWord | TokenKind::UnicodeWord => {
            quoted_word_value(outer.text, *token).is_ok_and(|value| value == name)
        }
        _ => false,
    };
    is_name && outer.kind(at + 1) == Some(TokenKind::LeftParen)
}

/// The parts of a client's `SELECT setval(...)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetvalParts<'t> {
    pub sequence: &'t str,
    /// The same query with the other arguments in place of the call.
    pub reading: String,
    /// Whether it says if the value has been given out.
    pub tells_called: bool,
}

/// Takes it apart; `None` when it is none.
///
/// # Errors
/// The text has a token that cannot be read.
pub fn setval_parts(text: &str) -> Result<Option<SetvalParts<'_>>> {
    let cursor = Cursor::new(text)?;
    let tokens = cursor.tokens();
    let outer = Outer { text, tokens };
    let mut depth = 0_usize;
    let (mut call, mut commas) = (None, Vec::new());
    for (at, token) in tokens.iter().enumerate() {
        match token.kind {
            TokenKind::LeftParen | TokenKind::LeftBracket => depth += 1,
            TokenKind::RightParen | TokenKind::RightBracket => {
                depth = depth.saturating_sub(1);
                let Some(name) = call.filter(|_| depth == 0) else { continue };
                return Ok(parts(text, &cursor, name, &commas, at));
            }
            TokenKind::Comma if depth == 1 && call.is_some() => commas.push(at),
            _ if depth == 0 && call.is_none() && is_called(&outer, at, "setval") => call = Some(at),
            _ => {}
        }
    }
    Ok(None)
}

/// `name` and `end`: the places of the function's name and of its closing parenthesis among the tokens.
fn parts<'t>(text: &'t str, cursor: &Cursor<'_>, name: usize, commas: &[usize], end: usize) -> Option<SetvalParts<'t>> {
    let tokens = cursor.tokens();
    let first = *commas.first()?;
    let qualified = name >= 2 && tokens[name - 1].kind == TokenKind::Dot;
    let begin = tokens[if qualified { name - 2 } else { name }].start as usize;
    let sequence = &text[tokens[name + 1].end as usize..tokens[first].start as usize];
    let others = &text[tokens[first].end as usize..tokens[end].start as usize];
    let reading = format!("{}{}{}", &text[..begin], others, &text[tokens[end].end as usize..]);
    Some(SetvalParts { sequence: sequence.trim(), reading, tells_called: commas.len() == 2 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::parse_query;

    #[test]
    fn only_a_call_by_itself_is_one() {
        let read = |text: &str| sequence_call(&parse_query(text).expect(text));
        assert!(matches!(read("SELECT nextval('s')"), Some(SequenceCall::Next { once: true, .. })));
        assert!(
            matches!(read("SELECT pg_catalog.nextval('s'::regclass) AS id"), Some(SequenceCall::Next { column, .. }) if column == "id")
        );
        assert!(matches!(
            read("SELECT nextval('s') FROM generate_series(1, 3)"),
            Some(SequenceCall::Next { once: false, .. })
        ));
        assert!(matches!(read("SELECT setval('s', max(a)) FROM t"), Some(SequenceCall::Set { .. })));
        assert!(matches!(read("SELECT LASTVAL() AS id"), Some(SequenceCall::Last { column }) if column == "id"));
        assert!(matches!(
            read("SELECT currval(pg_get_serial_sequence('t', 'id'))"),
            Some(SequenceCall::Current { column, .. }) if column == "currval"
        ));
        for other in [
            "SELECT nextval('s') FROM t",
            "SELECT nextval('s') FROM generate_series(1, 3), t",
            "SELECT nextval('s') WHERE EXISTS (SELECT 1 FROM t)",
            "SELECT nextval('s'), 1",
            "SELECT nextval('s') + 1",
            "SELECT other.nextval('s')",
            "SELECT setval('s')",
            "SELECT lastval(), 1",
            "SELECT lastval() FROM t",
            "SELECT currval('s') + 1",
            "SELECT currval((SELECT name FROM t))",
        ] {
            assert_eq!(read(other), None, "{other}");
        }
    }

    #[test]
    fn a_sequence_is_named_in_the_clients_own_text() {
        for (text, expected) in [
            ("SELECT nextval('s') AS id", Some("'s'")),
            (
                "SELECT pg_catalog.\"nextval\" ( 'a' || $1::text /* ) */ ) FROM generate_series(1, 2)",
                Some("'a' || $1::text"),
            ),
            ("SELECT U&\"n\\0065xtval\"(E's')", Some("E's'")),
            ("SELECT setval('s', 1)", None),
        ] {
            assert_eq!(named_by_call("nextval", text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn what_a_setval_reads_is_the_rest_of_its_text() {
        let read = |text| setval_parts(text).unwrap().map(|parts| (parts.sequence, parts.reading, parts.tells_called));
        let is = |sequence, reading: &str, called| Some((sequence, reading.to_owned(), called));
        for (text, expected) in [
            ("SELECT pg_catalog.setval('public.s', 42, true);", is("'public.s'", "SELECT  42, true;", true)),
            ("SELECT setval('s', (SELECT max(id) FROM t))", is("'s'", "SELECT  (SELECT max(id) FROM t)", false)),
            (
                "SELECT setval(pg_get_serial_sequence('\"t\"','id'), coalesce(max(\"id\"), 1), max(\"id\") IS NOT null) FROM \"t\"",
                is(
                    "pg_get_serial_sequence('\"t\"','id')",
                    "SELECT  coalesce(max(\"id\"), 1), max(\"id\") IS NOT null FROM \"t\"",
                    true,
                ),
            ),
            (
                "WITH m AS (SELECT setval('x', 1)) SELECT setval ('s', m) AS v FROM m",
                is("'s'", "WITH m AS (SELECT setval('x', 1)) SELECT  m AS v FROM m", false),
            ),
            ("SELECT 1", None),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }
}
