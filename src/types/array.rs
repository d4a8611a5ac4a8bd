//! Arrays of one dimension, as text (`{1,NULL,"a b"}`) and in Postgres's binary format.
//!
//! <https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO>

use bytes::{Buf, BufMut, BytesMut};

use super::datum::Datum;
use super::pg_type::PgType;
use super::style::TextStyle;
use crate::error::{Error, Result, SqlState};

/// Reads Postgres's text form. More than one dimension is refused.
pub(crate) fn parse(element: PgType, text: &str, style: &TextStyle) -> Result<Datum> {
    let mut values = Vec::new();
    let malformed = |detail: &str| {
        Error::new(SqlState::INVALID_TEXT_REPRESENTATION, format!("malformed array literal: \"{text}\""))
            .detail(detail.to_owned())
    };
    let trimmed = text.trim_matches(is_blank_character);
    if trimmed.starts_with('[') {
        return Err(Error::unsupported("an array with explicit bounds", "Write the array without its bounds."));
    }
    let Some(mut rest) = trimmed.strip_prefix('{') else {
        return Err(malformed("Array value must start with \"{\" or dimension information."));
    };
    rest = rest.trim_start_matches(is_blank_character);
    if let Some(tail) = rest.strip_prefix('}') {
        return match tail.is_empty() {
            true => Ok(Datum::Array { element, values }),
            false => Err(malformed("Junk after closing right brace.")),
        };
    }
    loop {
        if rest.starts_with('{') {
            return Err(multidimensional());
        }
        let (item, tail) = parse_item(rest).map_err(malformed)?;
        values.push(match item {
            None => Datum::Null,
            Some(item) => Datum::from_text(element, &item, style)?,
        });
        rest = tail.trim_start_matches(is_blank_character);
        if let Some(tail) = rest.strip_prefix(',') {
            rest = tail.trim_start_matches(is_blank_character);
        } else if let Some(tail) = rest.strip_prefix('}') {
            return match tail.is_empty() {
                true => Ok(Datum::Array { element, values }),
                false => Err(malformed("Junk after closing right brace.")),
            };
        } else {
            return Err(malformed("Unexpected end of input."));
        }
    }
}

/// One element, `None` for NULL, and what follows it.
fn parse_item(text: &str) -> std::result::Result<(Option<String>, &str), &'static str> {
    let mut item = String::new();
    let mut characters = text.char_indices();
    if text.starts_with('"') {
        characters.next();
        while let Some((at, c)) = characters.next() {
            match c {
                '"' => {
                    let tail = text[at + 1..].trim_start_matches(is_blank_character);
                    return match tail.starts_with([',', '}']) {
                        true => Ok((Some(item), tail)),
                        false if tail.is_empty() => Err("Unexpected end of input."),
                        false => Err("Unexpected array element."),
                    };
                }
                '\\' => item.push(characters.next().ok_or("Unexpected end of input.")?.1),
                _ => item.push(c),
            }
        }
        return Err("Unexpected end of input.");
    }
    let mut escaped = false;
    // Blanks at the end do not count, unless they were escaped.
    let mut kept = 0;
    while let Some((at, c)) = characters.next() {
        match c {
            ',' | '}' => {
                item.truncate(kept);
                return match item.as_str() {
                    "" if !escaped => {
                        Err(if c == ',' { "Unexpected \",\" character." } else { "Unexpected \"}\" character." })
                    }
                    _ if !escaped && item.eq_ignore_ascii_case("null") => Ok((None, &text[at..])),
                    _ => Ok((Some(item), &text[at..])),
                };
            }
            '{' => return Err("Unexpected \"{\" character."),
            '"' => return Err("Unexpected array element."),
            '\\' => {
                item.push(characters.next().ok_or("Unexpected end of input.")?.1);
                escaped = true;
                kept = item.len();
            }
            _ => {
                item.push(c);
                if !is_blank_character(c) {
                    kept = item.len();
                }
            }
        }
    }
    Err("Unexpected end of input.")
}

pub(crate) fn write_text(values: &[Datum], style: &TextStyle, out: &mut BytesMut) {
    out.put_u8(b'{');
    let mut item = BytesMut::new();
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            out.put_u8(b',');
        }
        if matches!(value, Datum::Null) {
            out.extend_from_slice(b"NULL");
            continue;
        }
        item.clear();
        value.write_text(style, &mut item);
        write_item(&item, out);
    }
    out.put_u8(b'}');
}

/// An element's text, quoted where it must be.
pub(crate) fn write_item(item: &[u8], out: &mut BytesMut) {
    let special = |byte: &u8| matches!(byte, b'"' | b'\\' | b'{' | b'}' | b',') || is_blank(*byte);
    if !item.is_empty() && !item.eq_ignore_ascii_case(b"null") && !item.iter().any(special) {
        out.extend_from_slice(item);
        return;
    }
    out.put_u8(b'"');
    for byte in item {
        if matches!(byte, b'"' | b'\\') {
            out.put_u8(b'\\');
        }
        out.put_u8(*byte);
    }
    out.put_u8(b'"');
}

/// Only those of ASCII: others are a part of what they stand beside.
fn is_blank_character(character: char) -> bool {
    u8::try_from(character).is_ok_and(is_blank)
}

fn is_blank(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0b
}

/// Reads Postgres's binary form; `element` is what the array's type says, and the bytes must agree.
pub(crate) fn from_binary(element: PgType, bytes: &[u8]) -> Result<Datum> {
    let mut bytes = bytes;
    let malformed = |message: &str| Error::new(SqlState::INVALID_BINARY_REPRESENTATION, message.to_owned());
    if bytes.len() < 12 {
        return Err(malformed("insufficient data left in message"));
    }
    let dimensions = bytes.get_i32();
    let _has_nulls = bytes.get_i32();
    let oid = bytes.get_u32();
    if oid != element.oid() {
        let message = format!("wrong element type: {oid} where {} ({}) is expected", element.oid(), element.sql_name());
        return Err(Error::new(SqlState::DATATYPE_MISMATCH, message));
    }
    match dimensions {
        0 => return Ok(Datum::Array { element, values: Vec::new() }),
        1 => {}
        2..=6 => return Err(multidimensional()),
        _ => return Err(malformed("invalid number of dimensions")),
    }
    if bytes.len() < 8 {
        return Err(malformed("insufficient data left in message"));
    }
    let count = bytes.get_i32();
    let lower_bound = bytes.get_i32();
    if lower_bound != 1 && count > 0 {
        return Err(Error::unsupported("an array whose lower bound is not 1", "Send the array with lower bound 1."));
    }
    // Each element has at least its length: the count is bounded by the bytes before memory is taken.
    if count < 0 || count as usize > bytes.len() / 4 {
        return Err(malformed("insufficient data left in message"));
    }
    let mut values = Vec::with_capacity(count as usize);
    for _ in 0..count {
        if bytes.len() < 4 {
            return Err(malformed("insufficient data left in message"));
        }
        let length = bytes.get_i32();
        if length == -1 {
            values.push(Datum::Null);
            continue;
        }
        let length = usize::try_from(length).map_err(|_| malformed("invalid length"))?;
        if bytes.len() < length {
            return Err(malformed("insufficient data left in message"));
        }
        values.push(Datum::from_binary(element, &bytes[..length])?);
        bytes.advance(length);
    }
    if bytes.is_empty() { Ok(Datum::Array { element, values }) } else { Err(malformed("incorrect binary data format")) }
}

pub(crate) fn write_binary(element: PgType, values: &[Datum], out: &mut BytesMut) {
    let has_nulls = values.iter().any(|value| matches!(value, Datum::Null));
    out.put_i32(i32::from(!values.is_empty()));
    out.put_i32(i32::from(has_nulls));
    out.put_u32(element.oid());
    if values.is_empty() {
        return;
    }
    out.put_i32(values.len() as i32);
    out.put_i32(1);
    for value in values {
        if matches!(value, Datum::Null) {
            out.put_i32(-1);
            continue;
        }
        let start = out.len();
        out.put_i32(0);
        value.write_binary(out);
        let length = (out.len() - start - 4) as i32;
        out[start..start + 4].copy_from_slice(&length.to_be_bytes());
    }
}

fn multidimensional() -> Error {
    Error::unsupported("an array of more than one dimension", "Use an array of one dimension, or jsonb.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(element: PgType, text: &str) -> String {
        let datum = parse(element, text, &TextStyle::default()).unwrap();
        let mut binary = BytesMut::new();
        datum.write_binary(&mut binary);
        assert_eq!(from_binary(element, &binary).unwrap(), datum);
        let mut out = BytesMut::new();
        datum.write_text(&TextStyle::default(), &mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn arrays_are_read_and_quoted_as_postgres_does() {
        assert_eq!(round_trip(PgType::Int4, "{1, NULL ,3}"), "{1,NULL,3}");
        assert_eq!(round_trip(PgType::Int4, " { } "), "{}");
        assert_eq!(
            round_trip(PgType::Text, r#"{a b,"c,d","NULL",null,"","x\"y"}"#),
            r#"{"a b","c,d","NULL",NULL,"","x\"y"}"#
        );
    }

    #[test]
    fn malformed_arrays_are_errors() {
        for text in ["", "1,2", "{1", "{1,}", "{,1}", "{1}x", "{\"a", "{\"a\"b}", "{a\"b}"] {
            let error = parse(PgType::Text, text, &TextStyle::default()).unwrap_err();
            assert_eq!(error.message(), format!("malformed array literal: \"{text}\""));
        }
        let nested = parse(PgType::Int4, "{{1},{2}}", &TextStyle::default()).unwrap_err();
        assert_eq!(nested.sqlstate(), SqlState::FEATURE_NOT_SUPPORTED);
    }

    #[test]
    fn binary_counts_are_checked_before_memory_is_taken() {
        let mut bytes = BytesMut::new();
        for word in [1, 0, PgType::Int4.oid() as i32, i32::MAX, 1] {
            bytes.put_i32(word);
        }
        assert_eq!(from_binary(PgType::Int4, &bytes).unwrap_err().sqlstate(), SqlState::INVALID_BINARY_REPRESENTATION);
    }
}
