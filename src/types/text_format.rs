//! Values from and to Postgres's text format.

use bytes::BytesMut;

use super::datum::Datum;
use super::interval::Interval;
use super::numeric::Numeric;
use super::pg_type::PgType;
use super::style::TextStyle;
use super::{array, datetime, json, scalar};
use crate::error::{Error, Result, SqlState};

impl Datum {
    /// Reads the text form of a type, with the errors of Postgres.
    pub fn from_text(data_type: PgType, text: &str, style: &TextStyle) -> Result<Datum> {
        if text.contains('\0') {
            return Err(invalid_byte());
        }
        Ok(match data_type {
            PgType::Bool => Datum::Bool(scalar::parse_bool(text)?),
            PgType::Int2 => Datum::Int2(scalar::parse_integer(text)?),
            PgType::Int4 => Datum::Int4(scalar::parse_integer(text)?),
            PgType::Int8 => Datum::Int8(scalar::parse_integer(text)?),
            PgType::Oid => Datum::Oid(scalar::parse_oid(text)?),
            PgType::Float4 => Datum::Float4(scalar::parse_f32(text)?),
            PgType::Float8 => Datum::Float8(scalar::parse_f64(text)?),
            PgType::Numeric => Datum::Numeric(Numeric::parse(text)?),
            PgType::Text | PgType::Varchar | PgType::Bpchar | PgType::Unknown => Datum::Text(text.into()),
            PgType::Name => Datum::Text(scalar::truncate_name(text).into()),
            PgType::Char => Datum::Text(text.chars().next().map_or_else(String::new, String::from).into()),
            PgType::Bytea => Datum::Bytea(scalar::parse_bytea(text)?.into()),
            PgType::Uuid => Datum::Uuid(scalar::parse_uuid(text)?),
            PgType::Date => Datum::Date(datetime::parse_date(text, style)?),
            PgType::Time => Datum::Time(datetime::parse_time(text, style)?),
            PgType::Timestamp => Datum::Timestamp(datetime::parse_timestamp(text, style)?),
            PgType::Timestamptz => Datum::Timestamptz(datetime::parse_timestamptz(text, style)?),
            PgType::Interval => Datum::Interval(Interval::parse(text)?),
            PgType::Json => {
                json::check(text)?;
                Datum::Json(text.into())
            }
            PgType::Jsonb => Datum::Jsonb(json::canonical(text)?.into()),
            PgType::Xid => Datum::Oid(scalar::parse_oid(text)?),
            PgType::Void => return Err(no_input(data_type)),
            own if own.is_catalogs_own() => return Err(no_input(data_type)),
            _ => match data_type.element() {
                Some(element) => array::parse(element, text, style)?,
                None => return Err(no_input(data_type)),
            },
        })
    }

    /// Appends the text form. NULL has none and appends nothing: its length in a row is -1.
    pub fn write_text(&self, style: &TextStyle, out: &mut BytesMut) {
        match self {
            Datum::Null => {}
            Datum::Bool(value) => out.extend_from_slice(if *value { b"t" } else { b"f" }),
            Datum::Int2(value) => scalar::write_integer(i64::from(*value), out),
            Datum::Int4(value) => scalar::write_integer(i64::from(*value), out),
            Datum::Int8(value) => scalar::write_integer(*value, out),
            Datum::Oid(value) => scalar::write_integer(i64::from(*value), out),
            Datum::Float4(value) => scalar::write_f32(*value, out),
            Datum::Float8(value) => scalar::write_f64(*value, out),
            Datum::Numeric(value) => out.extend_from_slice(value.to_string().as_bytes()),
            Datum::Text(text) | Datum::Json(text) | Datum::Jsonb(text) => out.extend_from_slice(text.as_bytes()),
            Datum::Bytea(bytes) => scalar::write_bytea(bytes, out),
            Datum::Uuid(uuid) => scalar::write_uuid(uuid, out),
            Datum::Date(days) => datetime::write_date(*days, out),
            Datum::Time(time) => datetime::write_time(*time, out),
            Datum::Timestamp(timestamp) => datetime::write_timestamp(*timestamp, out),
            Datum::Timestamptz(instant) => datetime::write_timestamptz(*instant, &style.zone, out),
            Datum::Interval(interval) => interval.write_text(out),
            Datum::Array { values, .. } => array::write_text(values, style, out),
        }
    }

    /// The text form as a string, `None` for NULL.
    pub fn to_text(&self, style: &TextStyle) -> Option<String> {
        if self.is_null() {
            return None;
        }
        let mut out = BytesMut::new();
        self.write_text(style, &mut out);
        Some(String::from_utf8_lossy(&out).into_owned())
    }
}

fn no_input(data_type: PgType) -> Error {
    Error::unsupported(format!("a value of type {data_type}"), "Use another type.")
}

fn invalid_byte() -> Error {
    Error::new(SqlState::CHARACTER_NOT_IN_REPERTOIRE, "invalid byte sequence for encoding \"UTF8\": 0x00")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips_for_every_type() {
        let style = TextStyle::default();
        for (data_type, text) in [
            (PgType::Bool, "t"),
            (PgType::Int2, "-32768"),
            (PgType::Int4, "2147483647"),
            (PgType::Int8, "-9223372036854775808"),
            (PgType::Oid, "4294967295"),
            (PgType::Float4, "1.5"),
            (PgType::Float8, "0.1"),
            (PgType::Numeric, "10.00"),
            (PgType::Text, " a "),
            (PgType::Bytea, "\\x00ff"),
            (PgType::Uuid, "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
            (PgType::Date, "2020-02-29"),
            (PgType::Time, "12:34:56.789"),
            (PgType::Timestamp, "2020-02-29 01:02:03.000004"),
            (PgType::Timestamptz, "infinity"),
            (PgType::Interval, "1 year -2 days +00:00:01"),
            (PgType::Json, "{\"b\" :1,\"a\":2}"),
            (PgType::Jsonb, "{\"a\": 2, \"b\": 1}"),
            (PgType::NumericArray, "{1.50,NULL,NaN}"),
            (PgType::TimestamptzArray, "{\"2020-01-01 00:00:00+00\"}"),
        ] {
            let datum = Datum::from_text(data_type, text, &style).unwrap();
            assert_eq!(datum.to_text(&style).as_deref(), Some(text));
            assert_eq!(datum.data_type(), Some(data_type));
        }
    }

    #[test]
    fn names_are_cut_and_zero_bytes_refused() {
        let style = TextStyle::default();
        let name = Datum::from_text(PgType::Name, &"x".repeat(70), &style).unwrap();
        assert_eq!(name, Datum::Text("x".repeat(63).into()));
        let error = Datum::from_text(PgType::Text, "a\0b", &style).unwrap_err();
        assert_eq!(error.sqlstate(), SqlState::CHARACTER_NOT_IN_REPERTOIRE);
    }
}
