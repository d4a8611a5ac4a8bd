//! LIMIT and OFFSET of a read of several shards: known without a row, and checked before any shard is asked.

use super::key::{is_key_type, negated, parameter, placeholder, strip};
use super::{Merge, RowCount};
use crate::error::{Error, Result, SqlState};
use crate::sql::ast::{CastKind, Expr, UnaryOperator, Value};
use crate::types::{Datum, KeyType, Numeric, PgType, TextStyle};

impl Merge {
    /// LIMIT and OFFSET; no LIMIT means all rows.
    ///
    /// # Errors
    /// 2201X or 2201W for a negative one, OFFSET's first, as in Postgres; 22003 for one that is no bigint.
    pub fn row_counts(&self, parameters: &[Datum]) -> Result<(Option<u64>, u64)> {
        let negative = |state, clause| Error::new(state, format!("{clause} must not be negative"));
        let offset = rows(self.offset.as_ref(), parameters)?.unwrap_or(0);
        let offset = u64::try_from(offset)
            .map_err(|_| negative(SqlState::INVALID_ROW_COUNT_IN_RESULT_OFFSET_CLAUSE, "OFFSET"))?;
        let limit = rows(self.limit.as_ref(), parameters)?.map(u64::try_from).transpose();
        let limit = limit.map_err(|_| negative(SqlState::INVALID_ROW_COUNT_IN_LIMIT_CLAUSE, "LIMIT"))?;
        Ok((limit, offset))
    }
}

/// `None` when none is given, or NULL.
fn rows(count: Option<&RowCount>, parameters: &[Datum]) -> Result<Option<i64>> {
    let given = |number: usize| {
        let value = parameter(number, parameters);
        value.ok_or_else(|| Error::internal(format!("a row count is ${number}, which is not given")))
    };
    let value = match count {
        None => return Ok(None),
        Some(RowCount::Constant(rows)) => return Ok(Some(*rows)),
        Some(RowCount::Parameter(number)) => given(*number)?.clone(),
        Some(RowCount::NegatedParameter(number)) => {
            negated(given(*number)?).ok_or_else(|| crate::types::out_of_range(PgType::Int8))?
        }
    };
    match value.cast(PgType::Int8, &TextStyle::default())? {
        Datum::Null => Ok(None),
        Datum::Int8(rows) => Ok(Some(rows)),
        other => Err(Error::internal(format!("a row count is {other:?}"))),
    }
}

impl RowCount {
    /// Reads a row count that is known without a row; `None` for NULL.
    ///
    /// # Errors
    /// 0A000 for a computed one, 22003 for a number that is no bigint.
    pub(super) fn of(expression: &Expr) -> Result<Option<RowCount>> {
        match strip(expression) {
            Expr::Value(value) => match &value.value {
                Value::Null => Ok(None),
                Value::Number(number, _) => constant(number).map(Some),
                Value::Placeholder(name) => Ok(Some(RowCount::Parameter(placeholder(name).ok_or_else(computed)?))),
                _ => Err(computed()),
            },
            Expr::UnaryOp { op: UnaryOperator::Plus, expr } => RowCount::of(expr),
            Expr::UnaryOp { op: UnaryOperator::Minus, expr } => match strip(expr) {
                // The sign is the constant's: the smallest bigint has no positive counterpart.
                Expr::Value(value) if matches!(value.value, Value::Number(..)) => {
                    constant(&format!("-{}", value.value)).map(Some)
                }
                expr => RowCount::of(expr)?.map(RowCount::negated).transpose(),
            },
            Expr::Cast { kind: CastKind::Cast | CastKind::DoubleColon, expr, data_type, .. }
                if is_key_type(data_type, KeyType::Bigint) =>
            {
                RowCount::of(expr)
            }
            _ => Err(computed()),
        }
    }

    fn negated(self) -> Result<RowCount> {
        Ok(match self {
            RowCount::Constant(rows) => {
                RowCount::Constant(rows.checked_neg().ok_or_else(|| crate::types::out_of_range(PgType::Int8))?)
            }
            RowCount::Parameter(number) => RowCount::NegatedParameter(number),
            RowCount::NegatedParameter(number) => RowCount::Parameter(number),
        })
    }
}

impl std::fmt::Display for RowCount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            RowCount::Constant(rows) => write!(f, "{rows}"),
            RowCount::Parameter(number) => write!(f, "${number}"),
            RowCount::NegatedParameter(number) => write!(f, "-${number}"),
        }
    }
}

/// A number is rounded as Postgres assigns it.
fn constant(number: &str) -> Result<RowCount> {
    match number.parse() {
        Ok(rows) => Ok(RowCount::Constant(rows)),
        Err(_) => Ok(RowCount::Constant(Numeric::parse(number)?.to_integer("bigint")?)),
    }
}

fn computed() -> Error {
    Error::unsupported("a computed LIMIT or OFFSET across shards", "Give it as a number or a parameter.")
}
