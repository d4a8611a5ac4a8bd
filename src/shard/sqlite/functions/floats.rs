//! Floating-point arithmetic that reports overflow, underflow and division by zero, as Postgres's does.

use rusqlite::types::Value;

use super::call::{Arguments, Function, strict, volatile};
use crate::error::{Error, Result, SqlState};

pub(super) const FUNCTIONS: &[Function] = &[
    strict("pg_float4_add", 2, |a| narrow(a, |x, y| x + y, false)),
    strict("pg_float4_sub", 2, |a| narrow(a, |x, y| x - y, false)),
    strict("pg_float4_mul", 2, |a| narrow(a, |x, y| x * y, true)),
    strict("pg_float4_div", 2, |a| {
        check_divisor(a)?;
        narrow(a, |x, y| x / y, true)
    }),
    strict("pg_float8_add", 2, |a| wide(a, |x, y| x + y, false)),
    strict("pg_float8_sub", 2, |a| wide(a, |x, y| x - y, false)),
    strict("pg_float8_mul", 2, |a| wide(a, |x, y| x * y, true)),
    strict("pg_float8_div", 2, |a| {
        check_divisor(a)?;
        wide(a, |x, y| x / y, true)
    }),
    strict("pg_float8_power", 2, power),
    strict("pg_float8_sqrt", 1, square_root),
    strict("pg_float8_cbrt", 1, |a| Ok(Value::Real(a.real(0)?.cbrt()))),
    strict("pg_float8_exp", 1, exponential),
    strict("pg_float8_ln", 1, |a| logarithm(a, f64::ln)),
    strict("pg_float8_log10", 1, |a| logarithm(a, f64::log10)),
    strict("pg_float8_ceil", 1, |a| Ok(Value::Real(a.real(0)?.ceil()))),
    strict("pg_float8_floor", 1, |a| Ok(Value::Real(a.real(0)?.floor()))),
    strict("pg_float8_round", 1, |a| Ok(Value::Real(a.real(0)?.round_ties_even()))),
    strict("pg_float8_trunc", 1, |a| Ok(Value::Real(a.real(0)?.trunc()))),
    strict("pg_float8_degrees", 1, |a| overflow_checked(a.real(0)? / (std::f64::consts::PI / 180.0))),
    strict("pg_float8_radians", 1, |a| Ok(Value::Real(a.real(0)? * (std::f64::consts::PI / 180.0)))),
    strict("pg_float8_sin", 1, |a| circular(a, f64::sin)),
    strict("pg_float8_cos", 1, |a| circular(a, f64::cos)),
    strict("pg_float8_tan", 1, |a| circular(a, f64::tan)),
    strict("pg_float8_cot", 1, |a| circular(a, |x| 1.0 / x.tan())),
    strict("pg_float8_asin", 1, |a| inverse_circular(a, f64::asin)),
    strict("pg_float8_acos", 1, |a| inverse_circular(a, f64::acos)),
    strict("pg_float8_atan", 1, |a| Ok(Value::Real(a.real(0)?.atan()))),
    strict("pg_float8_atan2", 2, |a| Ok(Value::Real(a.real(0)?.atan2(a.real(1)?)))),
    strict("pg_float8_sinh", 1, |a| Ok(Value::Real(a.real(0)?.sinh()))),
    strict("pg_float8_cosh", 1, |a| Ok(Value::Real(a.real(0)?.cosh()))),
    strict("pg_float8_tanh", 1, |a| Ok(Value::Real(a.real(0)?.tanh()))),
    volatile("pg_random", 0, |_| Ok(Value::Real(rand::random::<f64>()))),
];

fn error(what: &str) -> Error {
    Error::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, format!("value out of range: {what}"))
}

fn check_divisor(arguments: &Arguments<'_>) -> Result<()> {
    match arguments.real(1)? == 0.0 && !arguments.real(0)?.is_nan() {
        true => Err(Error::new(SqlState::DIVISION_BY_ZERO, "division by zero")),
        false => Ok(()),
    }
}

/// `vanishes`: whether a zero that no operand is means an underflow.
fn wide(arguments: &Arguments<'_>, operate: fn(f64, f64) -> f64, vanishes: bool) -> Result<Value> {
    let (a, b) = (arguments.real(0)?, arguments.real(1)?);
    let result = operate(a, b);
    check(result, a, b, vanishes)
}

fn narrow(arguments: &Arguments<'_>, operate: fn(f32, f32) -> f32, vanishes: bool) -> Result<Value> {
    let (a, b) = (arguments.real(0)?, arguments.real(1)?);
    let result = f64::from(operate(a as f32, b as f32));
    check(result, a, b, vanishes)
}

fn check(result: f64, a: f64, b: f64, vanishes: bool) -> Result<Value> {
    if result.is_infinite() && a.is_finite() && b.is_finite() {
        return Err(error("overflow"));
    }
    if vanishes && result == 0.0 && a != 0.0 && b != 0.0 && b.is_finite() {
        return Err(error("underflow"));
    }
    Ok(Value::Real(result))
}

fn overflow_checked(result: f64) -> Result<Value> {
    if result.is_infinite() { Err(error("overflow")) } else { Ok(Value::Real(result)) }
}

fn power(arguments: &Arguments<'_>) -> Result<Value> {
    let (base, exponent) = (arguments.real(0)?, arguments.real(1)?);
    let invalid = |message: &str| Err(Error::new(SqlState::INVALID_ARGUMENT_FOR_POWER_FUNCTION, message));
    if base == 0.0 && exponent < 0.0 {
        return invalid("zero raised to a negative power is undefined");
    }
    if base < 0.0 && exponent.is_finite() && exponent.fract() != 0.0 {
        return invalid("a negative number raised to a non-integer power yields a complex result");
    }
    let result = base.powf(exponent);
    check(result, base, exponent, base.is_finite() && exponent.is_finite())
}

fn square_root(arguments: &Arguments<'_>) -> Result<Value> {
    let value = arguments.real(0)?;
    match value < 0.0 {
        true => Err(Error::new(
            SqlState::INVALID_ARGUMENT_FOR_POWER_FUNCTION,
            "cannot take square root of a negative number",
        )),
        false => Ok(Value::Real(value.sqrt())),
    }
}

fn exponential(arguments: &Arguments<'_>) -> Result<Value> {
    let value = arguments.real(0)?;
    let result = value.exp();
    match value.is_finite() {
        true if result.is_infinite() => Err(error("overflow")),
        true if result == 0.0 => Err(error("underflow")),
        _ => Ok(Value::Real(result)),
    }
}

fn logarithm(arguments: &Arguments<'_>, of: fn(f64) -> f64) -> Result<Value> {
    let value = arguments.real(0)?;
    let what = match value {
        0.0 => "cannot take logarithm of zero",
        _ if value < 0.0 => "cannot take logarithm of a negative number",
        _ => return Ok(Value::Real(of(value))),
    };
    Err(Error::new(SqlState::INVALID_ARGUMENT_FOR_LOGARITHM, what))
}

fn input_out_of_range() -> Error {
    Error::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "input is out of range")
}

fn circular(arguments: &Arguments<'_>, of: fn(f64) -> f64) -> Result<Value> {
    let value = arguments.real(0)?;
    if value.is_infinite() {
        return Err(input_out_of_range());
    }
    Ok(Value::Real(of(value)))
}

fn inverse_circular(arguments: &Arguments<'_>, of: fn(f64) -> f64) -> Result<Value> {
    let value = arguments.real(0)?;
    if !(-1.0..=1.0).contains(&value) {
        return Err(input_out_of_range());
    }
    Ok(Value::Real(of(value)))
}
