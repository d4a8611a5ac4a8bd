//! The keys of ORDER BY, and LIMIT, OFFSET and FETCH.
//!
//! One place for what a name or a number in ORDER BY means to a whole query, and for the order of NULLs.

use sqlparser::ast::Spanned;

use super::Translator;
use super::coerce::Context;
use super::expression::{Clause, Place};
use super::names::fold;
use super::operate::collated;
use super::query::ResultColumn;
use super::scope::Scope;
use super::typed::Typed;
use crate::error::{Error, Result, SqlState};
use crate::sql::ast;
use crate::types::PgType;

impl Translator<'_> {
    /// The result column that ORDER BY of a set operation means: by name or by number.
    pub(super) fn output_column(&mut self, key: &ast::Expr, columns: &[ResultColumn]) -> Result<usize> {
        match key {
            ast::Expr::Identifier(name) => {
                let folded = fold(name);
                let mut found = columns.iter().enumerate().filter(|(_, column)| column.name == folded);
                match (found.next(), found.next()) {
                    (Some((index, _)), None) => Ok(index),
                    (Some(_), Some(_)) => {
                        let message = format!("ORDER BY \"{folded}\" is ambiguous");
                        Err(self.error_at(Error::new(SqlState::AMBIGUOUS_COLUMN, message), name.span))
                    }
                    _ => {
                        let message = format!("column \"{folded}\" does not exist");
                        Err(self.error_at(Error::new(SqlState::UNDEFINED_COLUMN, message), name.span))
                    }
                }
            }
            ast::Expr::Value(value) => ordinal(&value.value, columns.len(), "ORDER BY")
                .and_then(|index| {
                    index.ok_or_else(|| Error::new(SqlState::SYNTAX_ERROR, "non-integer constant in ORDER BY"))
                })
                .map_err(|error| self.error_at(error, value.span)),
            other => {
                let error =
                    Error::new(SqlState::FEATURE_NOT_SUPPORTED, "invalid UNION/INTERSECT/EXCEPT ORDER BY clause")
                        .detail("Only result column names can be used, not expressions or functions.")
                        .hint("Add the expression/function to every SELECT, or move the UNION into a FROM clause.");
                Err(self.error_at(error, other.span()))
            }
        }
    }

    /// LIMIT, OFFSET and FETCH.
    pub(super) fn limit(&mut self, query: &ast::Query, scope: &Scope<'_>) -> Result<Limit> {
        let mut ties = false;
        let (mut count, mut offset) = match &query.limit_clause {
            None => (None, None),
            Some(ast::LimitClause::LimitOffset { limit, offset, limit_by }) if limit_by.is_empty() => {
                (limit.as_ref(), offset.as_ref().map(|offset| &offset.value))
            }
            Some(_) => {
                return Err(Error::new(SqlState::SYNTAX_ERROR, "LIMIT #,# syntax is not supported")
                    .hint("Use separate LIMIT and OFFSET clauses."));
            }
        };
        let one = ast::Expr::value(ast::Value::Number("1".to_owned(), false));
        if let Some(fetch) = &query.fetch {
            ties = fetch.with_ties;
            if ties && query.order_by.is_none() {
                let message = "WITH TIES cannot be specified without ORDER BY clause";
                return Err(Error::new(SqlState::SYNTAX_ERROR, message));
            }
            if fetch.percent || count.is_some() {
                return Err(Error::new(SqlState::SYNTAX_ERROR, "syntax error at or near \"FETCH\""));
            }
            count = Some(fetch.quantity.as_ref().unwrap_or(&one));
        }
        if matches!(count, Some(ast::Expr::Identifier(all)) if all.value.eq_ignore_ascii_case("all")) {
            count = None;
        }
        if count.is_none() && offset.is_none() {
            return Ok(Limit::default());
        }
        let single = matches!(count, Some(ast::Expr::Value(value)) if value.value.to_string() == "1");
        let count = count.map(|count| self.row_count(count, Clause::Limit, scope)).transpose()?;
        let offset = offset.take().map(|offset| self.row_count(offset, Clause::Offset, scope)).transpose()?;
        if ties && let Some(count) = count {
            return Ok(Limit { ties: Some(Ties { count, offset }), ..Limit::default() });
        }
        let mut sql = format!(" LIMIT {}", count.as_deref().unwrap_or("-1"));
        if let Some(offset) = offset {
            sql.push_str(&format!(" OFFSET {offset}"));
        }
        Ok(Limit { sql, one: single, ties: None })
    }

    fn row_count(&mut self, value: &ast::Expr, clause: Clause, scope: &Scope<'_>) -> Result<String> {
        let typed = self.expression(value, Place::new(scope, clause))?;
        if typed.facts.own_columns || typed.facts.outer_columns {
            let message = format!("argument of {} must not contain variables", clause.name());
            return Err(self.error_at(Error::new(SqlState::INVALID_COLUMN_REFERENCE, message), value.span()));
        }
        let found = typed.data_type;
        let Some(typed) = self.try_cast(typed, PgType::Int8.into(), Context::Assignment)? else {
            let message = format!("argument of {} must be type bigint, not type {found}", clause.name());
            return Err(self.error_at(Error::new(SqlState::DATATYPE_MISMATCH, message), value.span()));
        };
        if typed.sql.bytes().all(|byte| byte.is_ascii_digit()) {
            return Ok(typed.sql);
        }
        Ok(format!("pg_{}({})", clause.name().to_lowercase(), typed.sql))
    }

    /// A key of ORDER BY: its text, with Postgres's order of NULLs.
    pub(super) fn sort_key(&mut self, value: &Typed, options: &ast::OrderByOptions) -> Result<String> {
        self.sort_key_as(&collated(&value.sql, value.data_type), value, options)
    }

    /// A key of ORDER BY that is named by `text`.
    pub(super) fn sort_key_as(&mut self, text: &str, value: &Typed, options: &ast::OrderByOptions) -> Result<String> {
        if value.data_type == PgType::Json {
            return Err(Error::new(
                SqlState::UNDEFINED_FUNCTION,
                format!("could not identify an ordering operator for type {}", value.data_type),
            )
            .hint("Use an explicit ordering operator or modify the query."));
        }
        let descending = match &options.sort {
            None | Some(ast::OrderBySort::Asc) => false,
            Some(ast::OrderBySort::Desc) => true,
            Some(_) => return Err(Error::unsupported("ORDER BY ... USING", "Use ASC or DESC.")),
        };
        let nulls_first = options.nulls_first.unwrap_or(descending);
        let direction = if descending { " DESC" } else { "" };
        let nulls = match (value.facts.not_null, nulls_first) {
            (true, _) => "",
            (false, true) => " NULLS FIRST",
            (false, false) => " NULLS LAST",
        };
        Ok(format!("{text}{direction}{nulls}"))
    }
}

/// LIMIT and OFFSET in SQLite's text, with a space before.
#[derive(Clone, Debug, Default)]
pub(super) struct Limit {
    pub(super) sql: String,
    /// At most one row.
    pub(super) one: bool,
    /// FETCH FIRST ... WITH TIES, which `sql` says nothing of.
    pub(super) ties: Option<Ties>,
}

/// So many rows, and those that ORDER BY tells from the last one by nothing.
#[derive(Clone, Debug)]
pub(super) struct Ties {
    pub(super) count: String,
    pub(super) offset: Option<String>,
}

/// The result column that an integer in ORDER BY or GROUP BY means; none for what is no integer constant.
pub(super) fn ordinal(value: &ast::Value, columns: usize, clause: &str) -> Result<Option<usize>> {
    let ast::Value::Number(digits, _) = value else {
        return match value {
            ast::Value::Placeholder(_) => Ok(None),
            ast::Value::Null => Ok(None),
            _ => Err(Error::new(SqlState::SYNTAX_ERROR, format!("non-integer constant in {clause}"))),
        };
    };
    let Ok(number) = digits.parse::<usize>() else {
        return Err(Error::new(SqlState::SYNTAX_ERROR, format!("non-integer constant in {clause}")));
    };
    if number == 0 || number > columns {
        let message = format!("{clause} position {number} is not in select list");
        return Err(Error::new(SqlState::INVALID_COLUMN_REFERENCE, message));
    }
    Ok(Some(number - 1))
}

impl Limit {
    pub(super) fn is_none(&self) -> bool {
        self.sql.is_empty() && self.ties.is_none()
    }
}
