//! bytea: its parts, and text as bytes.

use rusqlite::types::Value;

use super::call::{Arguments, Function, strict, text};
use crate::error::{Error, Result, SqlState};

pub(super) const FUNCTIONS: &[Function] = &[
    strict("pg_bytea_substring", 2, substring),
    strict("pg_bytea_substring", 3, substring),
    strict("pg_bytea_position", 2, |a| {
        let (wanted, bytes) = (a.bytes(0)?, a.bytes(1)?);
        let place =
            if wanted.is_empty() { Some(0) } else { bytes.windows(wanted.len()).position(|part| part == wanted) };
        Ok(Value::Integer(place.map_or(0, |place| place as i64 + 1)))
    }),
    strict("pg_get_byte", 2, |a| {
        let (bytes, index) = (a.bytes(0)?, a.integer(1)?);
        match usize::try_from(index).ok().and_then(|index| bytes.get(index)) {
            Some(byte) => Ok(Value::Integer(i64::from(*byte))),
            None => {
                let message = format!("index {index} out of valid range, 0..{}", bytes.len() as i64 - 1);
                Err(Error::new(SqlState::ARRAY_SUBSCRIPT_ERROR, message))
            }
        }
    }),
    strict("pg_convert_to", 2, |a| {
        demand_utf8(a.text(1)?)?;
        Ok(Value::Blob(a.bytes(0)?.to_vec()))
    }),
    strict("pg_convert_from", 2, |a| {
        demand_utf8(a.text(1)?)?;
        let bytes = a.bytes(0)?;
        let wrong = match std::str::from_utf8(bytes) {
            Ok(valid) if !bytes.contains(&0) => return Ok(text(valid)),
            Ok(_) => 0,
            Err(error) => bytes.get(error.valid_up_to()).copied().unwrap_or(0),
        };
        let message = format!("invalid byte sequence for encoding \"UTF8\": 0x{wrong:02x}");
        Err(Error::new(SqlState::CHARACTER_NOT_IN_REPERTOIRE, message))
    }),
];

/// (bytes, start [, count]): places before the first count, but hold nothing.
fn substring(arguments: &Arguments<'_>) -> Result<Value> {
    let (bytes, start) = (arguments.bytes(0)?, arguments.integer(1)?);
    let count = if arguments.len() == 2 { i64::from(i32::MAX) } else { arguments.integer(2)? };
    if count < 0 {
        return Err(Error::new(SqlState::SUBSTRING_ERROR, "negative substring length not allowed"));
    }
    let place = |at: i64| usize::try_from(at.max(1) - 1).unwrap_or(usize::MAX).min(bytes.len());
    let (from, to) = (place(start), place(start.saturating_add(count)));
    Ok(Value::Blob(bytes.get(from..to).unwrap_or_default().to_vec()))
}

fn demand_utf8(encoding: &str) -> Result<()> {
    let plain: String = encoding.chars().filter(char::is_ascii_alphanumeric).collect();
    match plain.to_ascii_lowercase().as_str() {
        "utf8" | "unicode" => Ok(()),
        _ => Err(Error::unsupported(format_args!("the encoding \"{encoding}\""), "Text is UTF8 here.")),
    }
}
