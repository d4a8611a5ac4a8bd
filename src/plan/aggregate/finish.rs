//! The finishing statement, once the types of the partial columns are known.

use std::ops::ControlFlow;

use super::super::functions::arguments;
use crate::error::{Error, Result};
use crate::sql::ast::{Expr, Function, FunctionArgExpr, Ident, Statement, Value};
use crate::sql::{VisitorMut, function_name, parse_expression, walk_mut, with_deep_stack};
use crate::types::PgType;

/// Stand for an aggregate in the finishing statement until the types of the partial columns are known.
pub(super) const SUM_MARK: &str = "shardd_sum";
pub(super) const AVERAGE_MARK: &str = "shardd_average";

#[derive(Debug)]
pub struct Aggregate {
    /// What each shard runs.
    pub statement: Statement,
    /// The finishing statement, with marks where it depends on types.
    pub(super) template: Statement,
    pub(super) columns: usize,
    pub(super) deep: bool,
}

impl Aggregate {
    /// The table that the finishing statement reads; its columns are the shards' statement's.
    pub const PARTIAL: &'static str = "partial";

    /// The statement over [`Aggregate::PARTIAL`] that gives the client's rows. `partial`: the types of the shards' columns.
    ///
    /// # Errors
    /// XX000 when `partial` is not of the shards' statement.
    pub fn finish(&self, partial: &[PgType]) -> Result<Statement> {
        if partial.len() != self.columns {
            return Err(Error::internal(format!(
                "shards sent {} partial columns where {} were planned",
                partial.len(),
                self.columns
            )));
        }
        with_deep_stack(self.deep, || {
            let mut statement = self.template.clone();
            match walk_mut(&mut statement, &mut Finisher { partial }) {
                ControlFlow::Continue(()) => Ok(statement),
                ControlFlow::Break(error) => Err(*error),
            }
        })
    }
}

/// The name of a partial column, from 0.
pub(super) fn column_name(number: usize) -> String {
    format!("c{}", number + 1)
}

/// A partial column in the finishing statement. Qualified, so that no alias of the client's is meant.
pub(super) fn column_text(number: usize) -> String {
    format!("{}.{}", Aggregate::PARTIAL, column_name(number))
}

pub(super) fn column(number: usize) -> Expr {
    let plain = |value: String| Ident { value, quote_style: None, span: crate::sql::Span::empty() };
    Expr::CompoundIdentifier(vec![plain(Aggregate::PARTIAL.into()), plain(column_name(number))])
}

/// Replaces the marks.
struct Finisher<'p> {
    partial: &'p [PgType],
}

impl Finisher<'_> {
    fn replaced(&self, function: &Function) -> Result<Option<Expr>> {
        let Some(name) = function_name(&function.name) else { return Ok(None) };
        if name != SUM_MARK && name != AVERAGE_MARK {
            return Ok(None);
        }
        let numbers: Option<Vec<usize>> = arguments(function).and_then(|arguments| {
            arguments
                .into_iter()
                .map(|argument| match argument {
                    FunctionArgExpr::Expr(Expr::Value(value)) => match &value.value {
                        Value::Number(number, _) => number.parse().ok(),
                        _ => None,
                    },
                    _ => None,
                })
                .collect()
        });
        let numbers = numbers.unwrap_or_default();
        let type_of = |number: usize| {
            self.partial.get(number).copied().ok_or_else(|| Error::internal("a partial column's type is missing"))
        };
        let text = match *numbers.as_slice() {
            [sum] => format!("CAST(sum({}) AS {})", column_text(sum), type_of(sum)?.sql_name()),
            [sum, count] => {
                let (sum_type, sum) = (type_of(sum)?, column_text(sum));
                let count = format!("NULLIF(sum({}), 0)", column_text(count));
                match sum_type {
                    PgType::Float4 | PgType::Float8 | PgType::Interval => {
                        format!("(sum({sum}) / CAST({count} AS double precision))")
                    }
                    _ => format!("(CAST(sum({sum}) AS numeric) / CAST({count} AS numeric))"),
                }
            }
            _ => return Err(Error::internal("a mark in a finishing statement names no columns")),
        };
        parse_expression(&text).map(Some)
    }
}

impl VisitorMut for Finisher<'_> {
    type Break = Box<Error>;

    fn post_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<Box<Error>> {
        if let Expr::Function(function) = expression {
            match self.replaced(function) {
                Ok(Some(finished)) => *expression = finished,
                Ok(None) => {}
                Err(error) => return ControlFlow::Break(Box::new(error)),
            }
        }
        ControlFlow::Continue(())
    }
}
