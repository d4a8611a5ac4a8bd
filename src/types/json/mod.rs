//! JSON as Postgres reads it, and jsonb's canonical form.
//!
//! A `json` value keeps its text and is only checked. A `jsonb` value is kept as the text that Postgres prints for it:
//! keys ordered by length, then bytes, the last of equal keys winning, numbers as numeric prints them. Two jsonb values
//! with equal texts are equal; equal values can still differ in a number's scale (`1.0`, `1.00`), see [`Json::write_key`].

mod lexer;
mod make;
mod operate;
mod order;
mod parser;
pub mod raw;

use bytes::{BufMut, BytesMut};

use crate::error::Result;

pub use make::write_datum;
pub use parser::{check, parse};

/// Deeper nesting is refused: every walk over a value recurses.
pub const MAX_DEPTH: usize = 1_000;

/// A jsonb value.
#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    Null,
    Bool(bool),
    /// The number as numeric prints it.
    Number(Box<str>),
    String(Box<str>),
    Array(Vec<Json>),
    /// Keys ordered by length, then bytes; unique.
    Object(Vec<(Box<str>, Json)>),
}

/// The text that Postgres prints for a JSON text cast to jsonb.
pub fn canonical(text: &str) -> Result<String> {
    Ok(parse(text)?.to_string())
}

impl Json {
    /// An object of these members: ordered, the last of equal keys kept.
    pub fn object(mut members: Vec<(Box<str>, Json)>) -> Json {
        // Stable, so that among equal keys the last one written stays last.
        members.sort_by(|a, b| compare_keys(&a.0, &b.0));
        let mut unique: Vec<(Box<str>, Json)> = Vec::with_capacity(members.len());
        for member in members {
            match unique.last_mut() {
                Some(last) if last.0 == member.0 => *last = member,
                _ => unique.push(member),
            }
        }
        Json::Object(unique)
    }

    /// The member of this name, of an object.
    pub fn get(&self, key: &str) -> Option<&Json> {
        let Json::Object(members) = self else { return None };
        let at = members.binary_search_by(|(name, _)| compare_keys(name, key)).ok()?;
        Some(&members[at].1)
    }

    /// The element at this place, counted from the end when it is negative, of an array.
    pub fn element(&self, index: i64) -> Option<&Json> {
        let Json::Array(values) = self else { return None };
        let index = if index < 0 { index.checked_add(values.len() as i64)? } else { index };
        values.get(usize::try_from(index).ok()?)
    }

    /// `object`, `array`, `string`, `number`, `boolean` or `null`.
    pub fn type_name(&self) -> &'static str {
        match self {
            Json::Null => "null",
            Json::Bool(_) => "boolean",
            Json::Number(_) => "number",
            Json::String(_) => "string",
            Json::Array(_) => "array",
            Json::Object(_) => "object",
        }
    }

    /// jsonb's output form.
    pub fn write(&self, out: &mut BytesMut) {
        match self {
            Json::Null => out.extend_from_slice(b"null"),
            Json::Bool(value) => out.extend_from_slice(if *value { b"true" } else { b"false" }),
            Json::Number(text) => out.extend_from_slice(text.as_bytes()),
            Json::String(text) => write_string(text, out),
            Json::Array(values) => {
                out.put_u8(b'[');
                for (index, value) in values.iter().enumerate() {
                    if index > 0 {
                        out.extend_from_slice(b", ");
                    }
                    value.write(out);
                }
                out.put_u8(b']');
            }
            Json::Object(members) => {
                out.put_u8(b'{');
                for (index, (key, value)) in members.iter().enumerate() {
                    if index > 0 {
                        out.extend_from_slice(b", ");
                    }
                    write_string(key, out);
                    out.extend_from_slice(b": ");
                    value.write(out);
                }
                out.put_u8(b'}');
            }
        }
    }

    /// What `->>` gives: a string without its quotes, the output form of others; `None` for null.
    pub fn to_text(&self) -> Option<String> {
        match self {
            Json::Null => None,
            Json::String(text) => Some(text.to_string()),
            other => Some(other.to_string()),
        }
    }
}

impl std::fmt::Display for Json {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut out = BytesMut::new();
        self.write(&mut out);
        f.write_str(&String::from_utf8_lossy(&out))
    }
}

/// By length, then bytes: the order in which jsonb keeps keys.
pub(crate) fn compare_keys(a: &str, b: &str) -> std::cmp::Ordering {
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

/// A JSON string with Postgres's choice of escapes.
pub fn write_string(text: &str, out: &mut BytesMut) {
    out.put_u8(b'"');
    for byte in text.bytes() {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0..0x20 => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => out.put_u8(byte),
        }
    }
    out.put_u8(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_canonical_form_is_the_one_of_postgres() {
        // Each taken from PostgreSQL 15.
        for (text, expected) in [
            ("1e5", "100000"),
            ("1.50", "1.50"),
            ("-0", "0"),
            ("1E+2", "100"),
            ("1e-3", "0.001"),
            ("-0.0", "0.0"),
            ("1.0e1", "10"),
            (r#"{"b":1,"a":2,"aa":3,"b":4}"#, r#"{"a": 2, "b": 4, "aa": 3}"#),
            (r#" "\u00e9\n\/\t\u0001" "#, r#""é\n/\t\u0001""#),
            ("[1,[],{}]", "[1, [], {}]"),
            (r#""😀\ud83d\ude00""#, "\"😀😀\""),
        ] {
            assert_eq!(canonical(text).unwrap(), expected, "{text}");
            assert_eq!(canonical(expected).unwrap(), expected);
        }
    }

    #[test]
    fn members_and_elements_are_found() {
        let json = parse(r#"{"a": [1, 2, {"bb": null}], "ccc": "x"}"#).unwrap();
        assert_eq!(json.get("ccc").and_then(Json::to_text).as_deref(), Some("x"));
        assert_eq!(json.get("a").and_then(|a| a.element(-3)), Some(&Json::Number("1".into())));
        assert_eq!(json.get("b"), None);
        assert_eq!(json.get("a").and_then(|a| a.element(3)), None);
    }
}
