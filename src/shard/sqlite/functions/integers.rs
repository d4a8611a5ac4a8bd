//! Integers that overflow as Postgres's do.
//!
//! SQLite makes a REAL of a sum that does not fit 64 bits, so a range check over SQLite's own arithmetic finds it.

use rusqlite::types::{Value, ValueRef};

use super::call::{Arguments, Function, lax, strict};
use crate::error::{Error, Result, SqlState};
use crate::types::{PgType, out_of_range};

pub(super) const FUNCTIONS: &[Function] = &[
    strict("pg_int2", 1, |a| checked(a, PgType::Int2)),
    strict("pg_int4", 1, |a| checked(a, PgType::Int4)),
    strict("pg_int8", 1, |a| checked(a, PgType::Int8)),
    strict("pg_oid", 1, oid),
    strict("pg_int2_div", 2, |a| divide(a, PgType::Int2)),
    strict("pg_int4_div", 2, |a| divide(a, PgType::Int4)),
    strict("pg_int8_div", 2, |a| divide(a, PgType::Int8)),
    strict("pg_int2_mod", 2, remainder),
    strict("pg_int4_mod", 2, remainder),
    strict("pg_int8_mod", 2, remainder),
    strict("pg_int8_abs", 1, |a| {
        a.integer(0)?.checked_abs().map(Value::Integer).ok_or_else(|| out_of_range(PgType::Int8))
    }),
    strict("pg_int8_gcd", 2, gcd),
    strict("pg_int8_lcm", 2, lcm),
    strict("pg_int2_shl", 2, |a| {
        Ok(Value::Integer(i64::from((a.integer(0)? as i32).wrapping_shl(a.integer(1)? as u32) as i16)))
    }),
    strict("pg_int4_shl", 2, |a| {
        Ok(Value::Integer(i64::from((a.integer(0)? as i32).wrapping_shl(a.integer(1)? as u32))))
    }),
    strict("pg_int8_shl", 2, |a| Ok(Value::Integer(a.integer(0)?.wrapping_shl(a.integer(1)? as u32)))),
    strict("pg_int2_shr", 2, |a| {
        Ok(Value::Integer(i64::from((a.integer(0)? as i32).wrapping_shr(a.integer(1)? as u32))))
    }),
    strict("pg_int4_shr", 2, |a| {
        Ok(Value::Integer(i64::from((a.integer(0)? as i32).wrapping_shr(a.integer(1)? as u32))))
    }),
    strict("pg_int8_shr", 2, |a| Ok(Value::Integer(a.integer(0)?.wrapping_shr(a.integer(1)? as u32)))),
    strict("pg_to_hex", 2, to_hex),
    lax("pg_ntile_buckets", 1, |a| positive(a, SqlState::INVALID_ARGUMENT_FOR_NTILE_FUNCTION, "ntile")),
    lax("pg_nth_place", 1, |a| positive(a, SqlState::INVALID_ARGUMENT_FOR_NTH_VALUE_FUNCTION, "nth_value")),
];

/// The argument of a window function.
fn positive(arguments: &Arguments<'_>, sqlstate: SqlState, function: &str) -> Result<Value> {
    if arguments.is_null(0) {
        return Err(Error::unsupported(format_args!("NULL as {function}'s number"), "Give a number."));
    }
    match arguments.integer(0)? {
        number @ 1.. => Ok(Value::Integer(number)),
        _ => Err(Error::new(sqlstate, format!("argument of {function} must be greater than zero"))),
    }
}

fn fit(value: i64, data_type: PgType) -> Result<Value> {
    let fits = match data_type {
        PgType::Int2 => i16::try_from(value).is_ok(),
        PgType::Int4 => i32::try_from(value).is_ok(),
        _ => true,
    };
    if fits { Ok(Value::Integer(value)) } else { Err(out_of_range(data_type)) }
}

fn checked(arguments: &Arguments<'_>, data_type: PgType) -> Result<Value> {
    match arguments.raw(0) {
        ValueRef::Integer(value) => fit(value, data_type),
        ValueRef::Real(_) => Err(out_of_range(data_type)),
        _ => arguments.integer(0).map(Value::Integer),
    }
}

/// A negative int4 is the oid of the same bits.
fn oid(arguments: &Arguments<'_>) -> Result<Value> {
    let value = arguments.integer(0)?;
    match (i32::try_from(value), u32::try_from(value)) {
        (_, Ok(value)) => Ok(Value::Integer(i64::from(value))),
        (Ok(value), _) => Ok(Value::Integer(i64::from(value as u32))),
        _ => Err(Error::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "OID out of range")),
    }
}

fn divide(arguments: &Arguments<'_>, data_type: PgType) -> Result<Value> {
    let (dividend, divisor) = (arguments.integer(0)?, arguments.integer(1)?);
    if divisor == 0 {
        return Err(Error::new(SqlState::DIVISION_BY_ZERO, "division by zero"));
    }
    fit(dividend.checked_div(divisor).ok_or_else(|| out_of_range(data_type))?, data_type)
}

fn remainder(arguments: &Arguments<'_>) -> Result<Value> {
    let (dividend, divisor) = (arguments.integer(0)?, arguments.integer(1)?);
    if divisor == 0 {
        return Err(Error::new(SqlState::DIVISION_BY_ZERO, "division by zero"));
    }
    Ok(Value::Integer(dividend.wrapping_rem(divisor)))
}

fn greatest_divisor(a: i64, b: i64) -> u64 {
    let (mut a, mut b) = (a.unsigned_abs(), b.unsigned_abs());
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

fn gcd(arguments: &Arguments<'_>) -> Result<Value> {
    let divisor = greatest_divisor(arguments.integer(0)?, arguments.integer(1)?);
    i64::try_from(divisor).map(Value::Integer).map_err(|_| out_of_range(PgType::Int8))
}

fn lcm(arguments: &Arguments<'_>) -> Result<Value> {
    let (a, b) = (arguments.integer(0)?, arguments.integer(1)?);
    if a == 0 || b == 0 {
        return Ok(Value::Integer(0));
    }
    let multiple = (a.unsigned_abs() / greatest_divisor(a, b)).checked_mul(b.unsigned_abs());
    let multiple = multiple.and_then(|multiple| i64::try_from(multiple).ok());
    multiple.map(Value::Integer).ok_or_else(|| out_of_range(PgType::Int8))
}

/// The second argument is the width of the type in bits.
fn to_hex(arguments: &Arguments<'_>) -> Result<Value> {
    let value = arguments.integer(0)?;
    Ok(Value::Text(match arguments.integer(1)? {
        32 => format!("{:x}", value as u32),
        _ => format!("{value:x}"),
    }))
}
