//! A statement's text into its tree, within bounds.
//!
//! Deep or long input is refused before the parser sees it, so that neither parsing, walking nor dropping a tree can
//! overflow a thread's stack.

use std::sync::Arc;

use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::{Parser, ParserError};

use super::clauses::overriding;
use super::collated::{may_be_collated, write_collations};
use super::cursor::Cursor;
use super::hidden::{Hidden, all_fields_are_outermost};
use super::lexer::{Token, TokenKind, position, syntax_error_at};
use super::local::{Local, parse_local};
use super::precedence::{
    bind_prefix_operators, may_have_operators_in_a_row, may_have_prefix_operators, set_operators_apart,
};
use super::stand_in::{cannot_be_read, stand_in};
use super::symmetric::{may_be_symmetric, write_out_symmetric};
use super::tokens::{ParserTokens, parser_tokens};
use super::{LiteralKind, Parsed, Tree, ast, check, with_deep_stack};
use crate::error::{Error, Result, SqlState};

/// How deep the parser may recurse. Its own stack grows when it must.
const RECURSION_LIMIT: usize = 250;

static DIALECT: PostgreSqlDialect = PostgreSqlDialect {};

/// Parses the one statement of `text`, which [`lift`](super::lift::lift) has normalised. Positions of errors are those in `text`.
///
/// # Errors
/// 42601 for a syntax error or more than one statement, 54001 past a limit, 0A000 for what is always refused.
pub fn parse(text: &str, client_parameters: usize, lifted: Vec<LiteralKind>) -> Result<Parsed> {
    let mut cursor = Cursor::new(text)?;
    if let Some(second) = cursor.tokens().iter().position(|token| token.kind == TokenKind::Semicolon)
        && cursor.tokens().get(second + 1).is_some()
    {
        return Err(Error::new(SqlState::SYNTAX_ERROR, "cannot insert multiple commands into a prepared statement"));
    }
    let overriding = overriding(text)?;
    let parsed = |tree, deep, hidden| Parsed {
        text: Arc::from(text),
        tree,
        client_parameters,
        lifted,
        overriding,
        deep,
        hidden,
    };
    if cursor.at_end() {
        return Ok(parsed(Tree::Local(Local::Empty), false, None));
    }
    if let Some(local) = parse_local(&mut cursor)? {
        return Ok(parsed(Tree::Local(local), false, None));
    }
    let read = parse_with(text, cursor.tokens(), |parser| parser.parse_statement().map(Box::new));
    let Read { tree, deep, hidden } = match read {
        Err(error) if error.sqlstate() == SqlState::SYNTAX_ERROR => stand_in(&cursor)
            .and_then(|plain| {
                let cursor = Cursor::new(&plain).ok()?;
                parse_with(&plain, cursor.tokens(), |parser| parser.parse_statement().map(Box::new)).ok()
            })
            .map(|read| Read { hidden: vec![Hidden::new(error.clone())], ..read })
            .ok_or_else(|| cannot_be_read(&cursor).unwrap_or(error))?,
        read => read?,
    };
    with_deep_stack(deep, || check::check(&tree, text))?;
    if let Some(fields) = hidden.iter().find(|hidden| hidden.is_all_fields)
        && !with_deep_stack(deep, || all_fields_are_outermost(&tree))
    {
        return Err(fields.refusal.clone());
    }
    let on_one_shard = hidden.iter().any(|hidden| hidden.on_one_shard);
    let is_random = hidden.iter().any(|hidden| hidden.is_random);
    let weight = |hidden: &Hidden| (hidden.current_of.is_none(), !hidden.on_one_shard);
    let hidden = hidden.into_iter().min_by_key(weight).map(|hidden| super::Hidden {
        refusal: hidden.refusal,
        on_one_shard,
        is_random,
        current_of: hidden.current_of,
    });
    Ok(parsed(Tree::Sql(tree), deep, hidden))
}

/// The expressions of a list: `1, 'a'`.
///
/// # Errors
/// 42601.
pub(super) fn parse_expressions(text: &str, tokens: &[Token]) -> Result<Vec<ast::Expr>> {
    parse_with(text, tokens, |parser| parser.parse_comma_separated(Parser::parse_expr)).map(|read| read.tree)
}

/// The types of a list: `int, text`.
///
/// # Errors
/// 42601.
pub(super) fn parse_data_types(text: &str, tokens: &[Token]) -> Result<Vec<ast::DataType>> {
    parse_with(text, tokens, |parser| parser.parse_comma_separated(Parser::parse_data_type)).map(|read| read.tree)
}

/// An expression by itself: a column's default, a CHECK's condition.
///
/// # Errors
/// 42601.
pub fn parse_expression(text: &str) -> Result<ast::Expr> {
    let cursor = Cursor::new(text)?;
    parse_with(text, cursor.tokens(), |parser| parser.parse_expr()).map(|read| read.tree)
}

/// A query by itself.
///
/// # Errors
/// 42601.
pub fn parse_query(text: &str) -> Result<ast::Query> {
    let cursor = Cursor::new(text)?;
    parse_with(text, cursor.tokens(), |parser| parser.parse_query()).map(|read| *read.tree)
}

/// A statement that was put together from parts of a client's text: what Postgres shards run, and what it was read as.
#[derive(Clone, Debug)]
pub struct Derived {
    pub text: String,
    pub tree: ast::Statement,
}

impl Derived {
    /// # Errors
    /// 42601.
    pub fn read(text: String) -> Result<Derived> {
        let cursor = Cursor::new(&text)?;
        let tree = parse_with(&text, cursor.tokens(), |parser| parser.parse_statement().map(Box::new))?.tree;
        Ok(Derived { tree: *tree, text })
    }
}

/// What the parser made of tokens.
struct Read<T> {
    tree: T,
    deep: bool,
    hidden: Vec<Hidden>,
}

fn parse_with<T: ast::VisitMut>(
    text: &str,
    tokens: &[Token],
    read: impl FnOnce(&mut Parser<'_>) -> Result<T, ParserError>,
) -> Result<Read<T>> {
    let ParserTokens { tokens: converted, deep, hidden } = parser_tokens(text, tokens)?;
    let mut parser = Parser::new(&DIALECT).with_recursion_limit(RECURSION_LIMIT).with_tokens_with_locations(converted);
    let mut tree = with_deep_stack(deep, || read(&mut parser)).map_err(|error| parse_error(text, tokens, &error))?;
    if may_be_collated(text, tokens) {
        with_deep_stack(deep, || write_collations(&mut tree));
    }
    if may_be_symmetric(text, tokens)? {
        with_deep_stack(deep, || write_out_symmetric(&mut tree))?;
    }
    if may_have_prefix_operators(text, tokens) {
        with_deep_stack(deep, || bind_prefix_operators(&mut tree));
    }
    if may_have_operators_in_a_row(tokens) {
        with_deep_stack(deep, || set_operators_apart(&mut tree));
    }
    let rest = parser.peek_token_ref();
    match (&rest.token, rest.span.start.column) {
        (sqlparser::tokenizer::Token::EOF, _) => Ok(Read { tree, deep, hidden }),
        (_, column) => Err(error_at(text, tokens, column)),
    }
}

fn parse_error(text: &str, tokens: &[Token], error: &ParserError) -> Error {
    match error {
        ParserError::RecursionLimitExceeded => {
            Error::new(SqlState::STATEMENT_TOO_COMPLEX, "statement is nested too deeply")
        }
        ParserError::TokenizerError(message) | ParserError::ParserError(message) => {
            // Places are told as `at Line: 1, Column: N`: N is the byte, from 1 (see `tokens`).
            let column = message.rsplit_once("Column: ").and_then(|(_, column)| column.trim().parse::<u64>().ok());
            match column {
                Some(column) => error_at(text, tokens, column),
                None if message.contains("found: EOF") => syntax_error_at(text, text.len(), ""),
                None => Error::new(SqlState::SYNTAX_ERROR, format!("syntax error: {message}")),
            }
        }
    }
}

fn error_at(text: &str, tokens: &[Token], column: u64) -> Error {
    let byte = usize::try_from(column.saturating_sub(1)).unwrap_or(usize::MAX);
    match tokens.iter().find(|token| token.start as usize >= byte) {
        Some(token) => syntax_error_at(text, token.start as usize, token.text(text)),
        None => syntax_error_at(text, text.len(), ""),
    }
}

/// The error position (1-based, in characters of the text) of a place in the tree.
pub fn position_of(text: &str, span: sqlparser::tokenizer::Span) -> Option<u32> {
    (span.start.line > 0).then(|| position(text, usize::try_from(span.start.column.saturating_sub(1)).unwrap_or(0)))
}
