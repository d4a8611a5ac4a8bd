//! Casts between the types: `pg_FROM_TO(value [, zone])`, by the names of the catalog, arrays as `array_int4`.

use rusqlite::Connection;
use rusqlite::types::Value;

use super::call::{Arguments, Function, checked, flags, strict, text};
use super::raise::raise;
use crate::error::{Error, Result};
use crate::shard::sqlite::storage;
use crate::types::{Datum, PgType, apply_modifier};

pub(super) const FUNCTIONS: &[Function] = &[
    strict("pg_varchar", 3, |a| modified(a, PgType::Varchar)),
    strict("pg_bpchar", 3, |a| modified(a, PgType::Bpchar)),
    strict("pg_timestamp_precision", 2, timestamp_precision),
    strict("pg_interval_modifier", 2, interval_modifier),
    strict("pg_array_modifier", 4, array_modifier),
    super::call::lax("pg_array_cast", 4, array_cast),
];

/// Registers the cast of every pair of types, where Postgres has it or has it by way of text.
pub(super) fn register(connection: &Connection) -> rusqlite::Result<()> {
    for from in PgType::ALL.iter().copied().filter(|from| has_cell(*from)) {
        for to in PgType::ALL.iter().copied().filter(|to| has_cell(*to) && is_cast(from, *to)) {
            let name = format!("pg_{}_{}", in_name(from), in_name(to));
            for arguments in [1, 2] {
                connection.create_scalar_function(name.as_str(), arguments, flags(true), move |context| {
                    cast(&Arguments(context), from, to).and_then(checked).map_err(|error| raise(&error))
                })?;
            }
        }
    }
    Ok(())
}

/// Text and its kin to everything, everything to text, and the numbers, dates and JSON among themselves.
fn is_cast(from: PgType, to: PgType) -> bool {
    let is_text = |data_type| matches!(data_type, PgType::Text | PgType::Varchar | PgType::Bpchar | PgType::Name);
    let kind = |data_type| match data_type {
        PgType::Int2
        | PgType::Int4
        | PgType::Int8
        | PgType::Oid
        | PgType::Float4
        | PgType::Float8
        | PgType::Numeric => 1,
        PgType::Bool => 2,
        PgType::Date | PgType::Timestamp | PgType::Timestamptz => 3,
        PgType::Time => 4,
        PgType::Json | PgType::Jsonb => 5,
        _ => 0,
    };
    let (a, b) = (kind(from), kind(to));
    let text_like = is_text(from) || is_text(to) || from == PgType::Char || to == PgType::Char;
    from != to && (text_like || (a == b && a != 0) || (a == 1 && b == 2) || (a == 2 && b == 1) || (a == 3 && b == 4))
        || (from == PgType::Jsonb && (b == 1 || b == 2))
}

fn has_cell(data_type: PgType) -> bool {
    !matches!(data_type, PgType::Void | PgType::Unknown) && !data_type.is_catalogs_own()
}

/// `_int4` would read badly: it is `array_int4`.
fn in_name(data_type: PgType) -> String {
    match data_type.element() {
        Some(element) => format!("array_{}", element.name()),
        None => data_type.name().to_owned(),
    }
}

fn cast(arguments: &Arguments<'_>, from: PgType, to: PgType) -> Result<Value> {
    if arguments.is_null(0) {
        return Ok(Value::Null);
    }
    let style = arguments.style(1)?;
    let datum = match (from, arguments.datum(0, from)?) {
        // The padding is no part of the value.
        (PgType::Bpchar, Datum::Text(padded)) => Datum::Text(padded.trim_end_matches(' ').into()),
        (_, datum) => datum,
    };
    storage::to_value(&datum.cast(to, &style)?)
}

/// (value, length, explicit)
fn modified(arguments: &Arguments<'_>, data_type: PgType) -> Result<Value> {
    let datum = Datum::Text(arguments.text(0)?.into());
    let modifier = arguments.int4(1)?.saturating_add(4);
    storage::to_value(&apply_modifier(datum, data_type, modifier, arguments.boolean(2)?)?)
}

/// (value, places)
fn timestamp_precision(arguments: &Arguments<'_>) -> Result<Value> {
    let datum = Datum::Timestamp(arguments.integer(0)?);
    storage::to_value(&apply_modifier(datum, PgType::Timestamp, arguments.int4(1)?, false)?)
}

/// (value, modifier)
fn interval_modifier(arguments: &Arguments<'_>) -> Result<Value> {
    let datum = Datum::Interval(arguments.interval(0)?);
    storage::to_value(&apply_modifier(datum, PgType::Interval, arguments.int4(1)?, false)?)
}

/// (array, array type, modifier, explicit)
fn array_modifier(arguments: &Arguments<'_>) -> Result<Value> {
    let data_type = arguments.data_type(1)?;
    let Some(element) = data_type.element().or(Some(data_type)) else {
        return Err(Error::internal("an array has elements"));
    };
    let datum = storage::array_from_cell(arguments.text(0)?, element)?;
    let Datum::Array { values, .. } = datum else { return Err(Error::internal("an array stays one")) };
    let (modifier, explicit) = (arguments.int4(2)?, arguments.boolean(3)?);
    let values = values.into_iter().map(|value| apply_modifier(value, element, modifier, explicit));
    Ok(text(storage::array_to_cell(&values.collect::<Result<Vec<_>>>()?)?))
}

/// (array, element type, new element type, zone)
fn array_cast(arguments: &Arguments<'_>) -> Result<Value> {
    if arguments.is_null(0) {
        return Ok(Value::Null);
    }
    let (from, to) = (arguments.data_type(1)?, arguments.data_type(2)?);
    let style = arguments.style(3)?;
    let Datum::Array { values, .. } = storage::array_from_cell(arguments.text(0)?, from)? else {
        return Err(Error::internal("an array stays one"));
    };
    let values = values.into_iter().map(|value| value.cast(to, &style)).collect::<Result<Vec<_>>>()?;
    Ok(text(storage::array_to_cell(&values)?))
}
