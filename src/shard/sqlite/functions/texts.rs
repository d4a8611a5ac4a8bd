//! Text and bytea.

use md5::Digest;
use rusqlite::types::{Value, ValueRef};

use super::call::{Arguments, Function, MAX_RESULT_BYTES, boolean, lax, strict, text, too_large, volatile};
use crate::error::{Error, Result, SqlState};
use crate::sql::quote_identifier;
use crate::types::scalar;

pub(super) const FUNCTIONS: &[Function] = &[
    strict("pg_ascii", 1, |a| Ok(Value::Integer(a.text(0)?.chars().next().map_or(0, |c| i64::from(u32::from(c)))))),
    strict("pg_chr", 1, chr),
    lax("pg_concat", -1, |a| Ok(text(joined(a, 0, "")?))),
    lax("pg_concat_ws", -1, |a| match a.optional_text(0)? {
        Some(separator) => Ok(text(joined(a, 1, separator)?)),
        None => Ok(Value::Null),
    }),
    strict("pg_initcap", 1, |a| Ok(text(initcap(a.text(0)?)))),
    strict("pg_left", 2, |a| Ok(text(left(a.text(0)?, a.integer(1)?)))),
    strict("pg_right", 2, |a| Ok(text(right(a.text(0)?, a.integer(1)?)))),
    strict("pg_lpad", 3, |a| padded(a, true)),
    strict("pg_rpad", 3, |a| padded(a, false)),
    strict("pg_md5", 1, |a| {
        let digest = md5::Md5::digest(a.bytes(0)?);
        Ok(text(digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>()))
    }),
    strict("pg_sha256", 1, |a| Ok(Value::Blob(sha2::Sha256::digest(a.bytes(0)?).to_vec()))),
    strict("pg_overlay", 4, overlay),
    strict("pg_quote_ident", 1, |a| Ok(text(quote_identifier(a.text(0)?)))),
    strict("pg_quote_literal", 1, |a| Ok(text(quote_literal(a.text(0)?)))),
    lax("pg_quote_nullable", 1, |a| Ok(text(a.optional_text(0)?.map_or("NULL".to_owned(), quote_literal)))),
    strict("pg_repeat", 2, repeat),
    strict("pg_reverse", 1, |a| Ok(text(a.text(0)?.chars().rev().collect::<String>()))),
    strict("pg_split_part", 3, split_part),
    strict("pg_starts_with", 2, |a| Ok(boolean(a.text(0)?.starts_with(a.text(1)?)))),
    strict("pg_substring", 2, substring),
    strict("pg_substring", 3, substring),
    strict("pg_translate", 3, translate),
    strict("pg_bytea_concat", 2, |a| Ok(Value::Blob([a.bytes(0)?, a.bytes(1)?].concat()))),
    strict("pg_encode", 2, encode),
    strict("pg_decode", 2, decode),
    volatile("pg_gen_random_uuid", 0, random_uuid),
];

/// The arguments' text from `from` on, NULLs passed over. Booleans come as text already.
fn joined(arguments: &Arguments<'_>, from: usize, separator: &str) -> Result<String> {
    let mut out = String::new();
    let mut first = true;
    for index in from..arguments.len() {
        let part = match arguments.raw(index) {
            ValueRef::Null => continue,
            ValueRef::Integer(value) => value.to_string(),
            _ => arguments.text(index)?.to_owned(),
        };
        if !first {
            out.push_str(separator);
        }
        first = false;
        out.push_str(&part);
        if out.len() > MAX_RESULT_BYTES {
            return Err(too_large());
        }
    }
    Ok(out)
}

fn chr(arguments: &Arguments<'_>) -> Result<Value> {
    let code = arguments.integer(0)?;
    if code == 0 {
        return Err(Error::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "null character not permitted"));
    }
    if code < 0 {
        return Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, "character number must be positive"));
    }
    let character = u32::try_from(code).ok().filter(|code| *code <= 0x10_FFFF);
    match character.map(char::from_u32) {
        Some(Some(character)) => Ok(text(character.to_string())),
        Some(None) => Err(Error::new(
            SqlState::PROGRAM_LIMIT_EXCEEDED,
            "requested character not valid for encoding: ".to_owned() + &code.to_string(),
        )),
        None => Err(Error::new(
            SqlState::PROGRAM_LIMIT_EXCEEDED,
            format!("requested character too large for encoding: {code}"),
        )),
    }
}

/// Words of ASCII letters and digits get a capital; other bytes are no part of a word under "C".
fn initcap(value: &str) -> String {
    let mut inside = false;
    let change = |c: char| {
        let changed = if inside { c.to_ascii_lowercase() } else { c.to_ascii_uppercase() };
        inside = c.is_ascii_alphanumeric();
        changed
    };
    value.chars().map(change).collect()
}

/// The byte at which the character of this number begins; the length when there are fewer.
fn byte_of(value: &str, characters: usize) -> usize {
    value.char_indices().nth(characters).map_or(value.len(), |(at, _)| at)
}

/// How many characters to keep: a negative count leaves out that many.
fn kept(value: &str, count: i64) -> usize {
    match usize::try_from(count) {
        Ok(count) => count,
        Err(_) => value.chars().count().saturating_sub(usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX)),
    }
}

fn left(value: &str, count: i64) -> &str {
    &value[..byte_of(value, kept(value, count))]
}

fn right(value: &str, count: i64) -> &str {
    let length = value.chars().count();
    &value[byte_of(value, length.saturating_sub(kept(value, count)))..]
}

fn padded(arguments: &Arguments<'_>, before: bool) -> Result<Value> {
    let (value, fill) = (arguments.text(0)?, arguments.text(2)?);
    let wanted = usize::try_from(arguments.integer(1)?).unwrap_or(0);
    if wanted.saturating_mul(4) > MAX_RESULT_BYTES {
        return Err(too_large());
    }
    let length = value.chars().count();
    if length >= wanted || fill.is_empty() {
        return Ok(text(&value[..byte_of(value, wanted)]));
    }
    let padding: String = fill.chars().cycle().take(wanted - length).collect();
    Ok(text(if before { padding + value } else { value.to_owned() + &padding }))
}

/// (text, replacement, start, count)
fn overlay(arguments: &Arguments<'_>) -> Result<Value> {
    let (value, replacement) = (arguments.text(0)?, arguments.text(1)?);
    let (start, count) = (arguments.integer(2)?, arguments.integer(3)?);
    if start <= 0 {
        return Err(negative_length());
    }
    let at = |position: i64| byte_of(value, usize::try_from(position.max(1) - 1).unwrap_or(usize::MAX));
    let end = start.checked_add(count).ok_or_else(|| crate::types::out_of_range(crate::types::PgType::Int4))?;
    Ok(text(format!("{}{replacement}{}", &value[..at(start)], &value[at(end)..])))
}

fn negative_length() -> Error {
    Error::new(SqlState::SUBSTRING_ERROR, "negative substring length not allowed")
}

/// (text, start [, count]): places before the first count, but hold nothing.
fn substring(arguments: &Arguments<'_>) -> Result<Value> {
    let (value, start) = (arguments.text(0)?, arguments.integer(1)?);
    let begin = usize::try_from(start.max(1) - 1).unwrap_or(0);
    let from = byte_of(value, begin);
    if arguments.len() == 2 {
        return Ok(text(&value[from..]));
    }
    let count = arguments.integer(2)?;
    if count < 0 {
        return Err(negative_length());
    }
    let end = usize::try_from((start + count).max(1) - 1).unwrap_or(0);
    let rest = &value[from..];
    Ok(text(&rest[..byte_of(rest, end.saturating_sub(begin))]))
}

fn repeat(arguments: &Arguments<'_>) -> Result<Value> {
    let (value, count) = (arguments.text(0)?, arguments.integer(1)?);
    let count = usize::try_from(count).unwrap_or(0);
    if value.len().saturating_mul(count) > MAX_RESULT_BYTES {
        return Err(too_large());
    }
    Ok(text(value.repeat(count)))
}

fn split_part(arguments: &Arguments<'_>) -> Result<Value> {
    let (value, delimiter, field) = (arguments.text(0)?, arguments.text(1)?, arguments.integer(2)?);
    if field == 0 {
        return Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, "field position must not be zero"));
    }
    if value.is_empty() {
        return Ok(text(""));
    }
    if delimiter.is_empty() {
        return Ok(text(if field == 1 || field == -1 { value } else { "" }));
    }
    let place = usize::try_from(field.unsigned_abs() - 1).unwrap_or(usize::MAX);
    let part = match field > 0 {
        true => value.split(delimiter).nth(place),
        false => value.split(delimiter).collect::<Vec<_>>().into_iter().rev().nth(place),
    };
    Ok(text(part.unwrap_or("")))
}

fn translate(arguments: &Arguments<'_>) -> Result<Value> {
    let (from, to): (Vec<char>, Vec<char>) =
        (arguments.text(1)?.chars().collect(), arguments.text(2)?.chars().collect());
    let change = |c: char| match from.iter().position(|other| *other == c) {
        Some(at) => to.get(at).copied(),
        None => Some(c),
    };
    Ok(text(arguments.text(0)?.chars().filter_map(change).collect::<String>()))
}

/// Quoted unless it is a plain lower-case name that is no keyword.
pub(super) fn quote_literal(value: &str) -> String {
    let escape = if value.contains('\\') { "E" } else { "" };
    format!("{}'{}'", escape, value.replace('\'', "''").replace('\\', "\\\\"))
}

fn encode(arguments: &Arguments<'_>) -> Result<Value> {
    use base64::Engine as _;
    let bytes = arguments.bytes(0)?;
    Ok(text(match arguments.text(1)?.to_ascii_lowercase().as_str() {
        "hex" => bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>(),
        "base64" => {
            // Lines of 76 characters, as MIME has them.
            let encoded = base64::engine::general_purpose::STANDARD.encode(bytes);
            let lines: Vec<&str> =
                (0..encoded.len()).step_by(76).map(|at| &encoded[at..encoded.len().min(at + 76)]).collect();
            lines.join("\n")
        }
        "escape" => bytes
            .iter()
            .map(|byte| match byte {
                b'\\' => "\\\\".to_owned(),
                0 | 0x80.. => format!("\\{byte:03o}"),
                _ => char::from(*byte).to_string(),
            })
            .collect::<String>(),
        other => return Err(unrecognized_encoding(other)),
    }))
}

fn decode(arguments: &Arguments<'_>) -> Result<Value> {
    use base64::Engine as _;
    let value = arguments.text(0)?;
    Ok(Value::Blob(match arguments.text(1)?.to_ascii_lowercase().as_str() {
        "hex" => scalar::parse_hex(value)?,
        "base64" => {
            let packed: String = value.chars().filter(|c| !c.is_ascii_whitespace()).collect();
            let decoded = base64::engine::general_purpose::STANDARD.decode(packed);
            decoded.map_err(|_| Error::new(SqlState::INVALID_PARAMETER_VALUE, "invalid base64 end sequence"))?
        }
        "escape" => match value.starts_with("\\x") {
            true => value.as_bytes().to_vec(),
            false => scalar::parse_bytea(value)?,
        },
        other => return Err(unrecognized_encoding(other)),
    }))
}

fn unrecognized_encoding(name: &str) -> Error {
    Error::new(SqlState::INVALID_PARAMETER_VALUE, format!("unrecognized encoding: \"{name}\""))
}

/// Version 4, variant 1.
fn random_uuid(_: &Arguments<'_>) -> Result<Value> {
    let mut uuid: [u8; 16] = rand::random();
    uuid[6] = (uuid[6] & 0x0f) | 0x40;
    uuid[8] = (uuid[8] & 0x3f) | 0x80;
    Ok(Value::Blob(uuid.to_vec()))
}
