//! What `percentile_cont`, `percentile_disc` and `mode` take from an array of ordered values.

use rusqlite::types::Value;

use super::arrays::cells;
use super::call::{Arguments, Function, strict, text};
use crate::error::{Error, Result, SqlState};
use crate::shard::sqlite::storage;
use crate::types::Datum;
use crate::types::json::Json;

/// (array, fraction, or fractions in an array)
pub(super) const FUNCTIONS: &[Function] = &[
    strict("pg_percentiledisc", 2, |a| Ok(value(&discrete(&cells(a.text(0)?)?, a.real(1)?)?))),
    strict("pg_percentilediscs", 2, |a| each(a, |values, fraction| Ok(discrete(values, fraction)?.to_string()))),
    strict("pg_percentilecont", 2, |a| Ok(Value::Real(continuous(&cells(a.text(0)?)?, a.real(1)?)?))),
    strict("pg_percentileconts", 2, |a| each(a, |values, fraction| Ok(shown(continuous(values, fraction)?)))),
    strict("pg_mode", 2, mode),
];

fn each(arguments: &Arguments<'_>, of: impl Fn(&[Json], f64) -> Result<String>) -> Result<Value> {
    let values = cells(arguments.text(0)?)?;
    let mut found = Vec::new();
    for fraction in cells(arguments.text(1)?)? {
        found.push(match fraction {
            Json::Null => "null".to_owned(),
            fraction => of(&values, number(&fraction)?)?,
        });
    }
    Ok(text(format!("[{}]", found.join(","))))
}

/// The first value that so large a part of all is not after.
fn discrete(values: &[Json], fraction: f64) -> Result<Json> {
    check(fraction)?;
    let place = (fraction * values.len() as f64).ceil() as usize;
    values.get(place.saturating_sub(1)).cloned().ok_or_else(|| Error::internal("a percentile of no values"))
}

fn continuous(values: &[Json], fraction: f64) -> Result<f64> {
    check(fraction)?;
    let place = fraction * values.len().saturating_sub(1) as f64;
    let at = |place: f64| match values.get(place as usize) {
        Some(value) => number(value),
        None => Err(Error::internal("a percentile of no values")),
    };
    let (low, high) = (at(place.floor())?, at(place.ceil())?);
    Ok(if place.floor() == place.ceil() { low } else { low + (place - place.floor()) * (high - low) })
}

fn check(fraction: f64) -> Result<()> {
    if (0.0..=1.0).contains(&fraction) {
        return Ok(());
    }
    let message = format!("percentile value {fraction} is not between 0 and 1");
    Err(Error::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, message))
}

/// (array, element type): the value that comes most often, the first of several.
fn mode(arguments: &Arguments<'_>) -> Result<Value> {
    let all = cells(arguments.text(0)?)?;
    let Datum::Array { values, .. } = storage::array_from_cell(arguments.text(0)?, arguments.data_type(1)?)? else {
        return Err(Error::internal("an array stays one"));
    };
    let (mut best, mut most, mut first) = (0, 0, 0);
    for index in 0..values.len() {
        if values[index].compare(&values[first]).is_ne() {
            first = index;
        }
        if index - first + 1 > most {
            (best, most) = (first, index - first + 1);
        }
    }
    all.get(best).map(value).ok_or_else(|| Error::internal("the mode of no values"))
}

fn number(value: &Json) -> Result<f64> {
    let Json::Number(digits) = value else { return Err(Error::internal("a float's cell is a number")) };
    digits.parse().map_err(|_| Error::internal("a float's cell is a number"))
}

/// As `json_extract` gives it.
fn value(cell: &Json) -> Value {
    match cell {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Integer(i64::from(*value)),
        Json::Number(digits) => match digits.parse() {
            Ok(integer) => Value::Integer(integer),
            Err(_) => digits.parse().map_or(Value::Null, Value::Real),
        },
        Json::String(value) => text(&**value),
        other => text(other.to_string()),
    }
}

/// A float in an array's cell.
fn shown(value: f64) -> String {
    match value.is_infinite() {
        true if value > 0.0 => "9e999".to_owned(),
        true => "-9e999".to_owned(),
        false => format!("{value:?}"),
    }
}
