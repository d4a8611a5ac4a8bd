//! Values of other types as JSON: `to_json`.

use bytes::{BufMut, BytesMut};

use super::write_string;
use crate::types::style::TextStyle;
use crate::types::{Datum, datetime};

/// Appends the JSON of a value, as `to_json` prints it; NULL is null.
pub fn write_datum(datum: &Datum, style: &TextStyle, out: &mut BytesMut) {
    let mut text = BytesMut::new();
    match datum {
        Datum::Null => out.extend_from_slice(b"null"),
        Datum::Bool(value) => out.extend_from_slice(if *value { b"true" } else { b"false" }),
        Datum::Json(json) | Datum::Jsonb(json) => out.extend_from_slice(json.as_bytes()),
        Datum::Int2(_) | Datum::Int4(_) | Datum::Int8(_) => datum.write_text(style, out),
        Datum::Float4(_) | Datum::Float8(_) | Datum::Numeric(_) => {
            datum.write_text(style, &mut text);
            // NaN and the infinities are no JSON numbers.
            match text.last().is_some_and(u8::is_ascii_digit) {
                true => out.extend_from_slice(&text),
                false => write_string(&String::from_utf8_lossy(&text), out),
            }
        }
        Datum::Timestamp(_) | Datum::Timestamptz(_) => {
            let zoned = matches!(datum, Datum::Timestamptz(value) if !datetime::is_infinite(*value));
            let shown = datum.to_text(style).unwrap_or_default();
            write_string(&iso_8601(&shown, zoned), out);
        }
        Datum::Array { values, .. } => {
            out.put_u8(b'[');
            for (index, value) in values.iter().enumerate() {
                if index > 0 {
                    out.put_u8(b',');
                }
                write_datum(value, style, out);
            }
            out.put_u8(b']');
        }
        other => {
            other.write_text(style, &mut text);
            write_string(&String::from_utf8_lossy(&text), out);
        }
    }
}

/// `2020-01-01 00:00:00+00` becomes `2020-01-01T00:00:00+00:00`.
fn iso_8601(shown: &str, zoned: bool) -> String {
    let (date, rest) = shown.split_once(' ').unwrap_or((shown, ""));
    if rest.is_empty() {
        return shown.to_owned();
    }
    let (clock, era) = match rest.strip_suffix(" BC") {
        Some(clock) => (clock, " BC"),
        None => (rest, ""),
    };
    let offset = clock.rfind(['+', '-']).map_or("", |at| &clock[at..]);
    let minutes = if zoned && offset.len() == 3 { ":00" } else { "" };
    format!("{date}T{clock}{minutes}{era}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::PgType;

    #[test]
    fn values_become_the_json_of_postgres() {
        // Each taken from PostgreSQL 15.
        for (data_type, text, expected) in [
            (PgType::Int4Array, "{1,2}", "[1,2]"),
            (PgType::TextArray, "{a,NULL}", "[\"a\",null]"),
            (PgType::Timestamp, "2020-01-01 00:00:00.5", "\"2020-01-01T00:00:00.5\""),
            (PgType::Timestamptz, "2020-01-01 00:00+00", "\"2020-01-01T00:00:00+00:00\""),
            (PgType::Timestamp, "infinity", "\"infinity\""),
            (PgType::Numeric, "1.50", "1.50"),
            (PgType::Numeric, "NaN", "\"NaN\""),
            (PgType::Float8, "inf", "\"Infinity\""),
            (PgType::Float8, "1e20", "1e+20"),
            (PgType::Date, "2020-01-01", "\"2020-01-01\""),
            (PgType::Text, "a\"b", "\"a\\\"b\""),
            (PgType::Interval, "1 day", "\"1 day\""),
            (PgType::Json, "{\"b\" : 1}", "{\"b\" : 1}"),
            (PgType::Bytea, "\\xff", "\"\\\\xff\""),
            (PgType::Bool, "t", "true"),
        ] {
            let style = TextStyle::default();
            let datum = Datum::from_text(data_type, text, &style).unwrap();
            let mut out = BytesMut::new();
            write_datum(&datum, &style, &mut out);
            assert_eq!(String::from_utf8_lossy(&out), expected);
        }
    }
}
