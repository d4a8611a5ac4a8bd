//! Values of a result as JSON, without loss.
//!
//! By type, never by value: boolean, smallint, integer and oid are JSON booleans and numbers; real and double precision
//! are numbers, and strings where JSON has no number (NaN, Infinity); bigint and numeric are strings, since many readers
//! of JSON hold numbers as doubles; json and jsonb are the JSON itself; an array is an array of such values. Everything
//! else is a string in Postgres's text form, which is also how it goes in as a parameter.

use crate::types::PgType;

/// Appends a value, given in Postgres's text form, as JSON.
pub(super) fn write_value(out: &mut Vec<u8>, data_type: PgType, value: Option<&[u8]>) {
    let Some(bytes) = value else {
        out.extend_from_slice(b"null");
        return;
    };
    let text = String::from_utf8_lossy(bytes);
    match data_type.element() {
        Some(element) => match elements(&text) {
            Some(items) => write_array(out, element, &items),
            None => write_string(out, &text),
        },
        None => write_scalar(out, data_type, &text),
    }
}

fn write_array(out: &mut Vec<u8>, element: PgType, items: &[Option<String>]) {
    out.push(b'[');
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        match item {
            Some(text) => write_scalar(out, element, text),
            None => out.extend_from_slice(b"null"),
        }
    }
    out.push(b']');
}

fn write_scalar(out: &mut Vec<u8>, data_type: PgType, text: &str) {
    match data_type {
        PgType::Bool if text == "t" => out.extend_from_slice(b"true"),
        PgType::Bool if text == "f" => out.extend_from_slice(b"false"),
        PgType::Int2 | PgType::Int4 | PgType::Oid => out.extend_from_slice(text.as_bytes()),
        PgType::Float4 | PgType::Float8 if text.bytes().all(|byte| b"0123456789+-.e".contains(&byte)) => {
            out.extend_from_slice(text.as_bytes());
        }
        PgType::Json | PgType::Jsonb => out.extend_from_slice(text.as_bytes()),
        _ => write_string(out, text),
    }
}

pub(super) fn write_string(out: &mut Vec<u8>, text: &str) {
    // Writing to memory does not fail.
    let _ = serde_json::to_writer(out, text);
}

/// The elements of a one-dimensional array's text; `None` for any other array.
/// <https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO>
fn elements(text: &str) -> Option<Vec<Option<String>>> {
    let inner = text.strip_prefix('{')?.strip_suffix('}')?;
    let mut items = Vec::new();
    if inner.is_empty() {
        return Some(items);
    }
    let mut characters = inner.chars().peekable();
    loop {
        let quoted = characters.next_if_eq(&'"').is_some();
        let mut item = String::new();
        loop {
            match characters.peek() {
                Some('"') if quoted => break,
                Some(',') | None if !quoted => break,
                Some('{' | '}') if !quoted => return None,
                Some('\\') => {
                    characters.next();
                    item.push(characters.next()?);
                }
                Some(_) => item.extend(characters.next()),
                None => return None,
            }
        }
        if quoted {
            characters.next();
        }
        items.push(if !quoted && item == "NULL" { None } else { Some(item) });
        match characters.next() {
            None => return Some(items),
            Some(',') => {}
            Some(_) => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn value(data_type: PgType, text: &str) -> Value {
        let mut out = Vec::new();
        write_value(&mut out, data_type, Some(text.as_bytes()));
        serde_json::from_slice(&out).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&out)))
    }

    #[test]
    fn the_type_decides_the_json() {
        assert_eq!(value(PgType::Bool, "t"), json!(true));
        assert_eq!(value(PgType::Int4, "-7"), json!(-7));
        assert_eq!(value(PgType::Int8, "7"), json!("7"));
        assert_eq!(value(PgType::Numeric, "1.50"), json!("1.50"));
        assert_eq!(value(PgType::Text, "a\"\n\u{1}b"), json!("a\"\n\u{1}b"));
        assert_eq!(value(PgType::Jsonb, "{\"a\": [1, null]}"), json!({"a": [1, null]}));
        assert_eq!(value(PgType::Bytea, "\\x00ff"), json!("\\x00ff"));
        let mut out = Vec::new();
        write_value(&mut out, PgType::Text, None);
        assert_eq!(out, b"null");
    }

    #[test]
    fn floats_are_numbers_where_json_has_them() {
        for text in ["0.1", "1e+20", "-0", "1e-07", "5"] {
            assert!(value(PgType::Float8, text).is_number(), "{text}");
        }
        for text in ["NaN", "Infinity", "-Infinity"] {
            assert_eq!(value(PgType::Float8, text), json!(text));
        }
    }

    #[test]
    fn arrays_are_arrays() {
        assert_eq!(value(PgType::Int4Array, "{1,NULL,3}"), json!([1, null, 3]));
        assert_eq!(value(PgType::Int8Array, "{}"), json!([]));
        assert_eq!(value(PgType::TextArray, r#"{a,"NULL","b,\"c\\",""}"#), json!(["a", "NULL", "b,\"c\\", ""]));
        assert_eq!(value(PgType::JsonbArray, r#"{"{\"a\": 1}"}"#), json!([{"a": 1}]));
    }

    #[test]
    fn an_array_of_arrays_stays_text() {
        assert_eq!(value(PgType::Int4Array, "{{1,2},{3,4}}"), json!("{{1,2},{3,4}}"));
        assert_eq!(value(PgType::TextArray, "{\"open"), json!("{\"open"));
        assert_eq!(value(PgType::TextArray, "{\"a\"b}"), json!("{\"a\"b}"));
    }
}
