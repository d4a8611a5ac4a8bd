//! A row in one text, so that a subquery's rows can come through `json_each`, one after the other.
//!
//! Each field is a letter for its kind, the length of what follows in bytes, a colon, and that. Not JSON, which would
//! lose what is a blob and round what is a float.

use rusqlite::types::{Value, ValueRef};

use super::call::{Arguments, Function, lax, strict, text};
use crate::error::{Error, Result};
use crate::types::scalar;

pub(super) const FUNCTIONS: &[Function] = &[lax("pg_row", -1, pack), strict("pg_row_field", 2, field)];

fn pack(arguments: &Arguments<'_>) -> Result<Value> {
    let mut row = String::new();
    for index in 0..arguments.len() {
        let (kind, written) = match arguments.raw(index) {
            ValueRef::Null => ('n', String::new()),
            ValueRef::Integer(value) => ('i', value.to_string()),
            ValueRef::Real(value) => ('r', value.to_bits().to_string()),
            ValueRef::Text(_) => ('t', arguments.text(index)?.to_owned()),
            ValueRef::Blob(bytes) => ('b', bytes.iter().map(|byte| format!("{byte:02x}")).collect()),
        };
        row.push_str(&format!("{kind}{}:{written}", written.len()));
    }
    Ok(text(row))
}

/// (row, number from 0)
fn field(arguments: &Arguments<'_>) -> Result<Value> {
    let number = usize::try_from(arguments.integer(1)?).unwrap_or(usize::MAX);
    find(arguments.text(0)?, number).ok_or_else(|| Error::internal("a row's text is not one"))
}

fn find(row: &str, number: usize) -> Option<Value> {
    let mut rest = row;
    for _ in 0..number {
        rest = take(rest)?.2;
    }
    let (kind, written, _) = take(rest)?;
    Some(match kind {
        "n" => Value::Null,
        "i" => Value::Integer(written.parse().ok()?),
        "r" => Value::Real(f64::from_bits(written.parse().ok()?)),
        "t" => text(written.to_owned()),
        "b" => Value::Blob(scalar::parse_hex(written).ok()?),
        _ => return None,
    })
}

/// The first field's kind and text, and what comes after it.
fn take(row: &str) -> Option<(&str, &str, &str)> {
    let (head, rest) = row.split_once(':')?;
    let (kind, length) = head.split_at_checked(1)?;
    let (written, after) = rest.split_at_checked(length.parse().ok()?)?;
    Some((kind, written, after))
}
