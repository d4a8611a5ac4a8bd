//! Values from and to Postgres's binary format.

use bytes::{BufMut, BytesMut};

use super::datum::Datum;
use super::interval::Interval;
use super::numeric::Numeric;
use super::pg_type::PgType;
use super::{array, calendar, datetime, json, scalar};
use crate::error::{Error, Result, SqlState};

impl Datum {
    /// Reads the binary form of a type. What Postgres would refuse, such as text that is not UTF-8 or a timestamp out of
    /// range, is refused here.
    pub fn from_binary(data_type: PgType, bytes: &[u8]) -> Result<Datum> {
        Ok(match data_type {
            PgType::Bool => Datum::Bool(fixed::<1>(bytes)?[0] != 0),
            PgType::Int2 => Datum::Int2(i16::from_be_bytes(fixed(bytes)?)),
            PgType::Int4 => Datum::Int4(i32::from_be_bytes(fixed(bytes)?)),
            PgType::Int8 => Datum::Int8(i64::from_be_bytes(fixed(bytes)?)),
            PgType::Oid => Datum::Oid(u32::from_be_bytes(fixed(bytes)?)),
            PgType::Float4 => Datum::Float4(f32::from_be_bytes(fixed(bytes)?)),
            PgType::Float8 => Datum::Float8(f64::from_be_bytes(fixed(bytes)?)),
            PgType::Numeric => Datum::Numeric(Numeric::from_binary(bytes)?),
            PgType::Text | PgType::Varchar | PgType::Bpchar | PgType::Unknown => Datum::Text(text(bytes)?.into()),
            PgType::Name => Datum::Text(scalar::truncate_name(text(bytes)?).into()),
            PgType::Char => Datum::Text(text(&fixed::<1>(bytes)?)?.into()),
            PgType::Bytea => Datum::Bytea(bytes.into()),
            PgType::Uuid => Datum::Uuid(fixed(bytes)?),
            PgType::Date => Datum::Date(date(i32::from_be_bytes(fixed(bytes)?))?),
            PgType::Time => Datum::Time(time(i64::from_be_bytes(fixed(bytes)?))?),
            PgType::Timestamp => Datum::Timestamp(timestamp(i64::from_be_bytes(fixed(bytes)?))?),
            PgType::Timestamptz => Datum::Timestamptz(timestamp(i64::from_be_bytes(fixed(bytes)?))?),
            PgType::Interval => Datum::Interval(Interval::from_binary(bytes)?),
            PgType::Json => {
                let text = text(bytes)?;
                json::check(text)?;
                Datum::Json(text.into())
            }
            PgType::Jsonb => match bytes.split_first() {
                Some((1, rest)) => Datum::Jsonb(json::canonical(text(rest)?)?.into()),
                Some((version, _)) => {
                    let message = format!("unsupported jsonb version number {version}");
                    return Err(Error::new(SqlState::INVALID_BINARY_REPRESENTATION, message));
                }
                None => return Err(invalid("insufficient data left in message")),
            },
            oid if oid == PgType::Xid || oid.is_reg() => Datum::Oid(u32::from_be_bytes(fixed(bytes)?)),
            PgType::Void => return Err(no_input(data_type)),
            own if own.is_catalogs_own() => return Err(no_input(data_type)),
            _ => match data_type.element() {
                Some(element) => array::from_binary(element, bytes)?,
                None => return Err(no_input(data_type)),
            },
        })
    }

    /// Appends the binary form. NULL has none and appends nothing: its length in a row is -1.
    pub fn write_binary(&self, out: &mut BytesMut) {
        match self {
            Datum::Null => {}
            Datum::Bool(value) => out.put_u8(u8::from(*value)),
            Datum::Int2(value) => out.put_i16(*value),
            Datum::Int4(value) | Datum::Date(value) => out.put_i32(*value),
            Datum::Int8(value) | Datum::Time(value) | Datum::Timestamp(value) | Datum::Timestamptz(value) => {
                out.put_i64(*value);
            }
            Datum::Oid(value) => out.put_u32(*value),
            Datum::Float4(value) => out.put_f32(*value),
            Datum::Float8(value) => out.put_f64(*value),
            Datum::Numeric(value) => value.write_binary(out),
            Datum::Text(text) | Datum::Json(text) => out.extend_from_slice(text.as_bytes()),
            Datum::Jsonb(text) => {
                out.put_u8(1);
                out.extend_from_slice(text.as_bytes());
            }
            Datum::Bytea(bytes) => out.extend_from_slice(bytes),
            Datum::Uuid(uuid) => out.extend_from_slice(uuid),
            Datum::Interval(interval) => out.extend_from_slice(&interval.to_binary()),
            Datum::Array { element, values } => array::write_binary(*element, values, out),
        }
    }
}

fn invalid(message: &str) -> Error {
    Error::new(SqlState::INVALID_BINARY_REPRESENTATION, message)
}

fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N]> {
    bytes.try_into().map_err(|_| match bytes.len() < N {
        true => invalid("insufficient data left in message"),
        false => invalid("incorrect binary data format"),
    })
}

fn text(bytes: &[u8]) -> Result<&str> {
    let wrong = |byte: u8| {
        let message = format!("invalid byte sequence for encoding \"UTF8\": 0x{byte:02x}");
        Err(Error::new(SqlState::CHARACTER_NOT_IN_REPERTOIRE, message))
    };
    match std::str::from_utf8(bytes) {
        Ok(text) if memchr::memchr(0, bytes).is_none() => Ok(text),
        Ok(_) => wrong(0),
        Err(error) => wrong(bytes.get(error.valid_up_to()).copied().unwrap_or(0)),
    }
}

fn date(days: i32) -> Result<i32> {
    let infinite = days == datetime::DATE_INFINITY || days == datetime::DATE_NEGATIVE_INFINITY;
    match infinite || calendar::date_in_range(i64::from(days)) {
        true => Ok(days),
        false => Err(Error::new(SqlState::DATETIME_FIELD_OVERFLOW, "date out of range")),
    }
}

fn time(time: i64) -> Result<i64> {
    match (0..=calendar::MICROSECONDS_PER_DAY).contains(&time) {
        true => Ok(time),
        false => Err(Error::new(SqlState::DATETIME_FIELD_OVERFLOW, "time out of range")),
    }
}

fn timestamp(microseconds: i64) -> Result<i64> {
    match datetime::is_infinite(microseconds) || calendar::timestamp_in_range(microseconds) {
        true => Ok(microseconds),
        false => Err(datetime::timestamp_out_of_range()),
    }
}

fn no_input(data_type: PgType) -> Error {
    Error::unsupported(format!("a value of type {data_type}"), "Use another type.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::TextStyle;

    #[test]
    fn binary_round_trips_for_every_type() {
        for (data_type, text) in [
            (PgType::Bool, "t"),
            (PgType::Int2, "-2"),
            (PgType::Int4, "7"),
            (PgType::Int8, "-7"),
            (PgType::Oid, "4294967295"),
            (PgType::Float4, "1.5"),
            (PgType::Float8, "-0.1"),
            (PgType::Numeric, "-10.00"),
            (PgType::Text, "é"),
            (PgType::Bytea, "\\x00ff"),
            (PgType::Uuid, "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
            (PgType::Date, "-infinity"),
            (PgType::Time, "24:00:00"),
            (PgType::Timestamp, "1969-12-31 23:59:59.999999"),
            (PgType::Timestamptz, "2020-01-01 00:00:00+00"),
            (PgType::Interval, "1 mon -00:00:01"),
            (PgType::Json, "[1 ]"),
            (PgType::Jsonb, "[1]"),
            (PgType::UuidArray, "{}"),
            (PgType::TextArray, "{a,NULL,\"\"}"),
        ] {
            let datum = Datum::from_text(data_type, text, &TextStyle::default()).unwrap();
            let mut out = BytesMut::new();
            datum.write_binary(&mut out);
            let read = Datum::from_binary(data_type, &out).unwrap();
            assert_eq!(read.to_text(&TextStyle::default()).as_deref(), Some(text));
            assert_eq!(read, datum);
        }
    }

    #[test]
    fn malformed_bytes_are_errors() {
        let code = |data_type, bytes: &[u8]| Datum::from_binary(data_type, bytes).unwrap_err().code().to_owned();
        assert_eq!(code(PgType::Int4, &[1, 2, 3]), "22P03");
        assert_eq!(code(PgType::Int4, &[1, 2, 3, 4, 5]), "22P03");
        assert_eq!(code(PgType::Text, &[0xff]), "22021");
        assert_eq!(code(PgType::Text, b"a\0"), "22021");
        assert_eq!(code(PgType::Jsonb, &[2, b'1']), "22P03");
        assert_eq!(code(PgType::Timestamp, &(i64::MAX - 1).to_be_bytes()), "22008");
    }
}
