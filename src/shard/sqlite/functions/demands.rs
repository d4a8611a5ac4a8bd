//! Errors that a translated statement raises itself, where SQLite would go on.

use rusqlite::types::Value;

use super::call::{Arguments, Function, lax, volatile};
use crate::error::{Error, Result, SqlState};

pub(super) const FUNCTIONS: &[Function] = &[
    lax("pg_not_null", 3, not_null),
    lax("pg_affects_once", 1, affects_once),
    lax("pg_limit", 1, |a| row_count(a, -1, "LIMIT", SqlState::INVALID_ROW_COUNT_IN_LIMIT_CLAUSE)),
    lax("pg_offset", 1, |a| row_count(a, 0, "OFFSET", SqlState::INVALID_ROW_COUNT_IN_RESULT_OFFSET_CLAUSE)),
    // Never computed ahead of the branch that it stands in.
    volatile("pg_raise", 2, |a| Err(Error::new(SqlState::from_code(a.text(0)?), a.text(1)?))),
];

/// (value, table, column): the value, or 23502 for NULL.
fn not_null(arguments: &Arguments<'_>) -> Result<Value> {
    if arguments.is_null(0) {
        let (table, column) = (arguments.text(1)?, arguments.text(2)?);
        let message = format!("null value in column \"{column}\" of relation \"{table}\" violates not-null constraint");
        return Err(Error::new(SqlState::NOT_NULL_VIOLATION, message));
    }
    arguments.raw(0).try_into().map_err(|_| Error::internal("a text is not UTF-8"))
}

/// (whether a key comes twice): true, or 21000.
fn affects_once(arguments: &Arguments<'_>) -> Result<Value> {
    match arguments.boolean(0)? {
        false => Ok(Value::Integer(1)),
        true => {
            let message = "ON CONFLICT DO UPDATE command cannot affect row a second time";
            Err(Error::new(SqlState::CARDINALITY_VIOLATION, message).hint(
                "Ensure that no rows proposed for insertion within the same command have duplicate constrained values.",
            ))
        }
    }
}

/// (count): the count, `unbounded` for NULL, or an error for a negative one.
fn row_count(arguments: &Arguments<'_>, unbounded: i64, clause: &str, negative: SqlState) -> Result<Value> {
    if arguments.is_null(0) {
        return Ok(Value::Integer(unbounded));
    }
    match arguments.integer(0)? {
        count if count < 0 => Err(Error::new(negative, format!("{clause} must not be negative"))),
        count => Ok(Value::Integer(count)),
    }
}
