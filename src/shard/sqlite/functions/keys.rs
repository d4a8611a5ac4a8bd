//! Where a key lives: the hash that guards, copies and verifies select by.

use rusqlite::types::{Value, ValueRef};

use super::call::{Arguments, Function, strict};
use crate::error::{Error, Result};
use crate::topology::slot_of;
use crate::types::Key;

pub(super) const FUNCTIONS: &[Function] = &[strict("pg_slot", 1, slot)];

/// The slot of a key in its cell: an integer, a text, or a uuid's 16 bytes.
fn slot(arguments: &Arguments<'_>) -> Result<Value> {
    let key = match arguments.raw(0) {
        ValueRef::Integer(value) => Key::Bigint(value),
        ValueRef::Text(_) => Key::Text(arguments.text(0)?.into()),
        ValueRef::Blob(bytes) => {
            Key::Uuid(bytes.try_into().map_err(|_| Error::internal("a uuid's cell has 16 bytes"))?)
        }
        _ => return Err(Error::internal("a floating-point value is no key")),
    };
    Ok(Value::Integer(i64::from(slot_of(&key).number())))
}
