//! Arrays in their cell form: a JSON array of the elements' cells, which `json_each` reads too.
//!
//! Equality is that of the cells, unless an element type is given: numerics of different scales are equal by type only.

use bytes::BytesMut;
use rusqlite::types::{Value, ValueRef};

use super::call::{Arguments, Function, boolean, lax, strict, text};
use crate::error::{Error, Result};
use crate::shard::sqlite::storage;
use crate::types::json::{self, Json};
use crate::types::{Datum, PgType};

pub(super) const FUNCTIONS: &[Function] = &[
    lax("pg_array", -1, |a| Ok(made((0..a.len()).map(|index| cell(a, index)).collect::<Result<_>>()?))),
    strict("pg_array_length", 2, |a| {
        let count = cells(a.text(0)?)?.len() as i64;
        Ok(if a.integer(1)? == 1 && count > 0 { Value::Integer(count) } else { Value::Null })
    }),
    lax("pg_array_append", 2, |a| {
        let mut values = optional_cells(a, 0)?;
        values.push(cell(a, 1)?);
        Ok(made(values))
    }),
    lax("pg_array_prepend", 2, |a| {
        let mut values = vec![cell(a, 0)?];
        values.extend(optional_cells(a, 1)?);
        Ok(made(values))
    }),
    lax("pg_array_cat", 2, |a| match (a.is_null(0), a.is_null(1)) {
        (true, true) => Ok(Value::Null),
        _ => {
            let mut values = optional_cells(a, 0)?;
            values.extend(optional_cells(a, 1)?);
            Ok(made(values))
        }
    }),
    lax("pg_array_position", 2, position),
    lax("pg_array_position", 3, position),
    lax("pg_array_remove", 2, remove),
    lax("pg_array_remove", 3, remove),
    lax("pg_array_positions", 3, positions),
    lax("pg_array_replace", 4, replace),
    strict("pg_array_slice", 3, slice),
    strict("pg_array_contains", 2, |a| all_in(a, 0, 1)),
    strict("pg_array_contains", 3, |a| all_in(a, 0, 1)),
    strict("pg_array_overlap", 2, overlap),
    strict("pg_array_overlap", 3, overlap),
    strict("pg_array_key", 2, key),
    strict("pg_array_canonical", 1, |a| Ok(made(cells(a.text(0)?)?))),
    lax("pg_array_to_string", 5, to_string),
    lax("pg_string_to_array", 3, from_string),
];

/// The elements of an array's cell.
pub(super) fn cells(array: &str) -> Result<Vec<Json>> {
    match json::parse(array)? {
        Json::Array(values) => Ok(values),
        _ => Err(Error::internal("an array's cell is not a JSON array")),
    }
}

fn optional_cells(arguments: &Arguments<'_>, index: usize) -> Result<Vec<Json>> {
    if arguments.is_null(index) { Ok(Vec::new()) } else { cells(arguments.text(index)?) }
}

fn made(values: Vec<Json>) -> Value {
    let mut out = BytesMut::new();
    Json::Array(values).write(&mut out);
    text(String::from_utf8_lossy(&out))
}

/// An argument as an element's cell. Blobs must have been made hexadecimal before.
fn cell(arguments: &Arguments<'_>, index: usize) -> Result<Json> {
    Ok(match arguments.raw(index) {
        ValueRef::Null => Json::Null,
        ValueRef::Integer(value) => Json::Number(value.to_string().into()),
        ValueRef::Real(value) if value.is_finite() => Json::Number(format!("{value:?}").into()),
        ValueRef::Real(value) => Json::Number(if value > 0.0 { "9e999" } else { "-9e999" }.into()),
        ValueRef::Text(_) => Json::String(arguments.text(index)?.into()),
        ValueRef::Blob(bytes) => {
            Json::String(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into())
        }
    })
}

/// What two elements are compared by: themselves, or the key of their type where it is given.
fn comparable(value: &Json, element: Option<PgType>) -> Result<Json> {
    if element != Some(PgType::Numeric) {
        return Ok(value.clone());
    }
    let Json::String(number) = value else { return Ok(value.clone()) };
    let normal = crate::types::Numeric::parse(number)?.normalized();
    Ok(Json::String(normal.to_string().into()))
}

fn comparables(arguments: &Arguments<'_>, index: usize, element: Option<PgType>) -> Result<Vec<Json>> {
    cells(arguments.text(index)?)?.iter().map(|value| comparable(value, element)).collect()
}

fn element_type(arguments: &Arguments<'_>) -> Result<Option<PgType>> {
    if arguments.len() > 2 { arguments.data_type(2).map(Some) } else { Ok(None) }
}

fn position(arguments: &Arguments<'_>) -> Result<Value> {
    if arguments.is_null(0) {
        return Ok(Value::Null);
    }
    let element = element_type(arguments)?;
    let wanted = comparable(&cell(arguments, 1)?, element)?;
    let place = comparables(arguments, 0, element)?.iter().position(|value| *value == wanted);
    Ok(place.map_or(Value::Null, |place| Value::Integer(place as i64 + 1)))
}

fn remove(arguments: &Arguments<'_>) -> Result<Value> {
    if arguments.is_null(0) {
        return Ok(Value::Null);
    }
    let element = element_type(arguments)?;
    let unwanted = comparable(&cell(arguments, 1)?, element)?;
    let mut kept = Vec::new();
    for value in cells(arguments.text(0)?)? {
        if comparable(&value, element)? != unwanted {
            kept.push(value);
        }
    }
    Ok(made(kept))
}

fn positions(arguments: &Arguments<'_>) -> Result<Value> {
    if arguments.is_null(0) {
        return Ok(Value::Null);
    }
    let element = element_type(arguments)?;
    let wanted = comparable(&cell(arguments, 1)?, element)?;
    let values = comparables(arguments, 0, element)?.into_iter().enumerate();
    let places = values.filter(|(_, value)| *value == wanted);
    Ok(made(places.map(|(place, _)| Json::Number((place + 1).to_string().into())).collect()))
}

/// (array, what, by what, element type)
fn replace(arguments: &Arguments<'_>) -> Result<Value> {
    if arguments.is_null(0) {
        return Ok(Value::Null);
    }
    let element = Some(arguments.data_type(3)?);
    let (old, new) = (comparable(&cell(arguments, 1)?, element)?, cell(arguments, 2)?);
    let mut values = cells(arguments.text(0)?)?;
    for value in &mut values {
        if comparable(value, element)? == old {
            *value = new.clone();
        }
    }
    Ok(made(values))
}

/// (array, first, last)
fn slice(arguments: &Arguments<'_>) -> Result<Value> {
    let values = cells(arguments.text(0)?)?;
    let (first, last) = (arguments.integer(1)?.max(1), arguments.integer(2)?);
    let from = usize::try_from(first - 1).unwrap_or(usize::MAX);
    let count = usize::try_from(last.saturating_sub(first - 1)).unwrap_or(0);
    Ok(made(values.into_iter().skip(from).take(count).collect()))
}

/// Whether the array `container` has every element of the array `contained`; NULLs are in none.
fn all_in(arguments: &Arguments<'_>, container: usize, contained: usize) -> Result<Value> {
    let element = element_type(arguments)?;
    let values = comparables(arguments, container, element)?;
    let wanted = comparables(arguments, contained, element)?;
    Ok(boolean(wanted.iter().all(|value| *value != Json::Null && values.contains(value))))
}

fn overlap(arguments: &Arguments<'_>) -> Result<Value> {
    let element = element_type(arguments)?;
    let (left, right) = (comparables(arguments, 0, element)?, comparables(arguments, 1, element)?);
    Ok(boolean(left.iter().any(|value| *value != Json::Null && right.contains(value))))
}

/// (array, element type): bytes that are equal where the arrays are.
fn key(arguments: &Arguments<'_>) -> Result<Value> {
    let mut key = BytesMut::new();
    storage::array_from_cell(arguments.text(0)?, arguments.data_type(1)?)?.write_key(&mut key);
    Ok(Value::Blob(key.to_vec()))
}

/// (array, separator, text for NULLs or NULL, element type, zone)
fn to_string(arguments: &Arguments<'_>) -> Result<Value> {
    if arguments.is_null(0) || arguments.is_null(1) {
        return Ok(Value::Null);
    }
    let (separator, null) = (arguments.text(1)?, arguments.optional_text(2)?);
    let style = arguments.style(4)?;
    let array = storage::array_from_cell(arguments.text(0)?, arguments.data_type(3)?)?;
    let Datum::Array { values, .. } = array else { return Err(Error::internal("an array stays one")) };
    let shown = values.iter().filter_map(|value| value.to_text(&style).or_else(|| null.map(str::to_owned)));
    Ok(text(shown.collect::<Vec<_>>().join(separator)))
}

/// (text, separator or NULL, text that means NULL or NULL): NULL separates every character.
fn from_string(arguments: &Arguments<'_>) -> Result<Value> {
    let Some(value) = arguments.optional_text(0)? else { return Ok(Value::Null) };
    let null = arguments.optional_text(2)?;
    let parts: Vec<String> = match arguments.optional_text(1)? {
        _ if value.is_empty() => Vec::new(),
        None => value.chars().map(String::from).collect(),
        Some("") => vec![value.to_owned()],
        Some(separator) => value.split(separator).map(str::to_owned).collect(),
    };
    let cell = |part: String| if Some(part.as_str()) == null { Json::Null } else { Json::String(part.into()) };
    Ok(made(parts.into_iter().map(cell).collect()))
}
