//! Numerics, which lie in TEXT cells.

use rusqlite::types::Value;

use super::call::{Arguments, Function, numeric, strict};
use crate::error::{Error, Result};
use crate::types::{Datum, Numeric, PgType, apply_modifier};

pub(super) const FUNCTIONS: &[Function] = &[
    strict("pg_numeric_add", 2, |a| two(a, Numeric::add)),
    strict("pg_numeric_sub", 2, |a| two(a, Numeric::sub)),
    strict("pg_numeric_mul", 2, |a| two(a, Numeric::mul)),
    strict("pg_numeric_div", 2, |a| two(a, Numeric::div)),
    strict("pg_numeric_div_trunc", 2, |a| two(a, Numeric::div_trunc)),
    strict("pg_numeric_mod", 2, |a| two(a, Numeric::rem)),
    strict("pg_numeric_power", 2, |a| two(a, Numeric::power)),
    strict("pg_numeric_log", 2, |a| two(a, |base, value| value.log(base))),
    strict("pg_numeric_log10", 1, |a| one(a, |value| value.log(&Numeric::from(10i64)))),
    strict("pg_numeric_ln", 1, |a| one(a, Numeric::ln)),
    strict("pg_numeric_exp", 1, |a| one(a, Numeric::exp)),
    strict("pg_numeric_sqrt", 1, |a| one(a, Numeric::sqrt)),
    strict("pg_numeric_neg", 1, |a| one(a, |value| Ok(value.neg()))),
    strict("pg_numeric_abs", 1, |a| one(a, |value| Ok(value.abs()))),
    strict("pg_numeric_sign", 1, |a| one(a, |value| Ok(value.signum()))),
    strict("pg_numeric_ceil", 1, |a| one(a, |value| Ok(value.ceil()))),
    strict("pg_numeric_floor", 1, |a| one(a, |value| Ok(value.floor()))),
    strict("pg_numeric_round", 2, |a| Ok(numeric(&a.numeric(0)?.round(a.int4(1)?)))),
    strict("pg_numeric_trunc", 2, |a| Ok(numeric(&a.numeric(0)?.trunc(a.int4(1)?)))),
    strict("pg_numeric_scale", 1, |a| Ok(scale(a.numeric(0)?.scale()))),
    strict("pg_numeric_min_scale", 1, |a| Ok(scale(a.numeric(0)?.normalized().scale()))),
    strict("pg_numeric_trim_scale", 1, |a| Ok(numeric(&a.numeric(0)?.normalized()))),
    strict("pg_numeric_modifier", 2, modifier),
];

fn one(arguments: &Arguments<'_>, operate: impl Fn(&Numeric) -> Result<Numeric>) -> Result<Value> {
    Ok(numeric(&operate(&arguments.numeric(0)?)?))
}

fn two(arguments: &Arguments<'_>, operate: fn(&Numeric, &Numeric) -> Result<Numeric>) -> Result<Value> {
    Ok(numeric(&operate(&arguments.numeric(0)?, &arguments.numeric(1)?)?))
}

fn scale(scale: Option<u32>) -> Value {
    scale.map_or(Value::Null, |scale| Value::Integer(i64::from(scale)))
}

/// numeric(p, s), by `atttypmod`.
fn modifier(arguments: &Arguments<'_>) -> Result<Value> {
    match apply_modifier(Datum::Numeric(arguments.numeric(0)?), PgType::Numeric, arguments.int4(1)?, false)? {
        Datum::Numeric(value) => Ok(numeric(&value)),
        _ => Err(Error::internal("a numeric stays one")),
    }
}
