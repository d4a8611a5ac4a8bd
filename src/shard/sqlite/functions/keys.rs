//! Where a key lives: the hash that guards, copies and verifies select by.

use rusqlite::types::{Value, ValueRef};

use super::call::{Arguments, Function, strict};
use crate::error::{Error, Result, SqlState};
use crate::topology::{SlotSet, slot_of};
use crate::types::{Key, Slot};

pub(super) const FUNCTIONS: &[Function] = &[strict("pg_slot", 1, slot), strict("pg_in_slots", 2, in_slots)];

fn slot(arguments: &Arguments<'_>) -> Result<Value> {
    Ok(Value::Integer(i64::from(slot_in(arguments)?.number())))
}

/// Whether the slot of a key is one of a set, as sets of slots are written.
fn in_slots(arguments: &Arguments<'_>) -> Result<Value> {
    let slots = arguments.compiled(1, |text| {
        text.parse::<SlotSet>().map_err(|error| Error::new(SqlState::INVALID_TEXT_REPRESENTATION, error.to_string()))
    })?;
    Ok(Value::Integer(i64::from(slots.contains(slot_in(arguments)?))))
}

/// The slot of a key in its cell: an integer, a text, or a uuid's 16 bytes.
fn slot_in(arguments: &Arguments<'_>) -> Result<Slot> {
    let key = match arguments.raw(0) {
        ValueRef::Integer(value) => Key::Bigint(value),
        ValueRef::Text(_) => Key::Text(arguments.text(0)?.into()),
        ValueRef::Blob(bytes) => {
            Key::Uuid(bytes.try_into().map_err(|_| Error::internal("a uuid's cell has 16 bytes"))?)
        }
        _ => return Err(Error::internal("a floating-point value is no key")),
    };
    Ok(slot_of(&key))
}
