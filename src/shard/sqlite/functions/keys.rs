//! Where a key lives: the hash that guards, copies and verifies select by.

use rusqlite::types::{Value, ValueRef};

use super::call::{Arguments, Function, strict};
use crate::error::{Error, Result, SqlState};
use crate::topology::{SlotSet, slot_of, slot_of_text};
use crate::types::{Key, Slot};

pub(super) const FUNCTIONS: &[Function] = &[strict("pg_slot", 1, slot), strict("pg_in_slots", 2, in_slots)];

fn slot(arguments: &Arguments<'_>) -> Result<Value> {
    Ok(Value::Integer(i64::from(slot_of_cell(arguments.raw(0))?.number())))
}

/// Whether the slot of a key is one of a set, as sets of slots are written.
fn in_slots(arguments: &Arguments<'_>) -> Result<Value> {
    let slots = arguments.compiled(1, |text| {
        text.parse::<SlotSet>().map_err(|error| Error::new(SqlState::INVALID_TEXT_REPRESENTATION, error.to_string()))
    })?;
    Ok(Value::Integer(i64::from(slots.contains(slot_of_cell(arguments.raw(0))?))))
}

/// The slot of a key in its cell: an integer, a text, or a uuid's 16 bytes.
///
/// # Errors
/// It is another kind of cell: a defect.
pub fn slot_of_cell(cell: ValueRef<'_>) -> Result<Slot> {
    let key = match cell {
        ValueRef::Integer(value) => Key::Bigint(value),
        ValueRef::Text(text) => match std::str::from_utf8(text) {
            Ok(text) => return Ok(slot_of_text(text)),
            Err(_) => return Err(Error::internal("a text's cell is UTF-8")),
        },
        ValueRef::Blob(bytes) => {
            Key::Uuid(bytes.try_into().map_err(|_| Error::internal("a uuid's cell has 16 bytes"))?)
        }
        _ => return Err(Error::internal("a floating-point value is no key")),
    };
    Ok(slot_of(&key))
}
