//! How a Postgres value lies in a SQLite cell: the one place that says so.
//!
//! | Postgres | SQLite |
//! |---|---|
//! | bool, int2, int4, int8, oid | INTEGER |
//! | date | INTEGER, days since 2000-01-01 |
//! | time | INTEGER, microseconds since midnight |
//! | timestamp, timestamptz | INTEGER, microseconds since 2000-01-01 (UTC); the infinities are `i64::MAX` and `MIN` |
//! | float4, float8 | REAL; NaN cannot be stored |
//! | numeric | TEXT in Postgres's output form, under the collation `pg_numeric` |
//! | text and its kin, json | TEXT |
//! | jsonb | TEXT in Postgres's output form |
//! | uuid | BLOB of 16 bytes |
//! | bytea | BLOB |
//! | interval | BLOB of 16 bytes, Postgres's binary format |
//! | arrays | TEXT, a JSON array of cells; those of uuid, bytea and interval are lowercase hexadecimal strings |
//!
//! Rows are encoded straight from cells, without a [`Datum`], for all types whose cell is near their wire format.

use bytes::{BufMut, BytesMut};
use rusqlite::types::{ToSqlOutput, Value, ValueRef};

use crate::error::{Error, Result};
use crate::system_catalog;
use crate::types::json::{self, Json};
use crate::types::write_numeric_text_as_binary;
use crate::types::{Datum, Format, Interval, Numeric, PgType, TextStyle, datetime, out_of_range, scalar};

/// What a column of the type is declared with: its cells, and their order.
pub fn column_type(data_type: PgType) -> &'static str {
    match data_type {
        PgType::Bool
        | PgType::Int2
        | PgType::Int4
        | PgType::Int8
        | PgType::Oid
        | PgType::Xid
        | PgType::Date
        | PgType::Time
        | PgType::Timestamp
        | PgType::Timestamptz => "INTEGER",
        reg if reg.is_reg() => "INTEGER",
        PgType::Float4 | PgType::Float8 => "REAL",
        PgType::Numeric => "TEXT COLLATE pg_numeric",
        PgType::Bpchar => "TEXT COLLATE RTRIM",
        PgType::Uuid | PgType::Bytea | PgType::Interval => "BLOB",
        _ => "TEXT",
    }
}

/// The cell of a value, borrowed from it where that is possible.
///
/// # Errors
/// 0A000: NaN of a float, which SQLite would make NULL.
pub fn to_sqlite(datum: &Datum) -> Result<ToSqlOutput<'_>> {
    let value = match datum {
        Datum::Null => ValueRef::Null,
        Datum::Bool(value) => ValueRef::Integer(i64::from(*value)),
        Datum::Int2(value) => ValueRef::Integer(i64::from(*value)),
        Datum::Int4(value) | Datum::Date(value) => ValueRef::Integer(i64::from(*value)),
        Datum::Int8(value) | Datum::Time(value) | Datum::Timestamp(value) | Datum::Timestamptz(value) => {
            ValueRef::Integer(*value)
        }
        Datum::Oid(value) => ValueRef::Integer(i64::from(*value)),
        Datum::Float4(value) => ValueRef::Real(real(f64::from(*value))?),
        Datum::Float8(value) => ValueRef::Real(real(*value)?),
        Datum::Text(text) | Datum::Json(text) | Datum::Jsonb(text) => ValueRef::Text(text.as_bytes()),
        Datum::Bytea(bytes) => ValueRef::Blob(bytes),
        Datum::Uuid(uuid) => ValueRef::Blob(uuid),
        Datum::Numeric(value) => return Ok(ToSqlOutput::Owned(Value::Text(value.to_string()))),
        Datum::Interval(interval) => return Ok(ToSqlOutput::Owned(Value::Blob(interval.to_binary().to_vec()))),
        Datum::Array { values, .. } => return Ok(ToSqlOutput::Owned(Value::Text(array_to_cell(values)?))),
    };
    Ok(ToSqlOutput::Borrowed(value))
}

/// As [`to_sqlite`], owned.
pub(super) fn to_value(datum: &Datum) -> Result<Value> {
    Ok(match to_sqlite(datum)? {
        ToSqlOutput::Owned(value) => value,
        ToSqlOutput::Borrowed(value) => value.try_into().map_err(|_| Error::internal("a cell is not UTF-8"))?,
        _ => return Err(Error::internal("a value has no cell")),
    })
}

/// NaN is refused: SQLite would store NULL.
pub(super) fn real(value: f64) -> Result<f64> {
    match value.is_nan() {
        true => Err(Error::unsupported("the floating-point value NaN", "Use numeric, which can hold NaN.")),
        false => Ok(value),
    }
}

/// The value in a cell.
pub fn from_sqlite(value: ValueRef<'_>, data_type: PgType) -> Result<Datum> {
    let wrong = || wrong_cell(value, data_type);
    Ok(match (value, data_type) {
        (ValueRef::Null, _) => Datum::Null,
        (ValueRef::Integer(value), _) => match data_type {
            PgType::Bool => Datum::Bool(value != 0),
            PgType::Int2 => Datum::Int2(i16::try_from(value).map_err(|_| out_of_range(data_type))?),
            PgType::Int4 => Datum::Int4(i32::try_from(value).map_err(|_| out_of_range(data_type))?),
            PgType::Int8 => Datum::Int8(value),
            PgType::Oid | PgType::Xid => Datum::Oid(u32::try_from(value).map_err(|_| wrong())?),
            reg if reg.is_reg() => Datum::Oid(u32::try_from(value).map_err(|_| wrong())?),
            PgType::Float4 => Datum::Float4(value as f32),
            PgType::Float8 => Datum::Float8(value as f64),
            PgType::Numeric => Datum::Numeric(Numeric::from(value)),
            PgType::Date => Datum::Date(i32::try_from(value).map_err(|_| wrong())?),
            PgType::Time => Datum::Time(value),
            PgType::Timestamp => Datum::Timestamp(value),
            PgType::Timestamptz => Datum::Timestamptz(value),
            PgType::Void => Datum::Text("".into()),
            _ => return Err(wrong()),
        },
        (ValueRef::Real(value), PgType::Float4) => Datum::Float4(value as f32),
        (ValueRef::Real(value), PgType::Float8) => Datum::Float8(value),
        (ValueRef::Real(_), PgType::Int2 | PgType::Int4 | PgType::Int8) => return Err(out_of_range(data_type)),
        (ValueRef::Text(bytes), _) => {
            let text = std::str::from_utf8(bytes).map_err(|_| wrong())?;
            from_text_cell(text, data_type).ok_or_else(wrong)??
        }
        (ValueRef::Blob(bytes), PgType::Uuid) => Datum::Uuid(bytes.try_into().map_err(|_| wrong())?),
        (ValueRef::Blob(bytes), PgType::Bytea) => Datum::Bytea(bytes.into()),
        (ValueRef::Blob(bytes), PgType::Interval) => Datum::Interval(Interval::from_binary(bytes)?),
        _ => return Err(wrong()),
    })
}

fn from_text_cell(text: &str, data_type: PgType) -> Option<Result<Datum>> {
    Some(match data_type {
        PgType::Text | PgType::Varchar | PgType::Bpchar | PgType::Name | PgType::Char | PgType::Unknown => {
            Ok(Datum::Text(text.into()))
        }
        PgType::Numeric => Numeric::parse(text).map(Datum::Numeric),
        PgType::Json => Ok(Datum::Json(text.into())),
        PgType::Jsonb => Ok(Datum::Jsonb(text.into())),
        PgType::Void => Ok(Datum::Text("".into())),
        PgType::NodeTree | PgType::Aclitem | PgType::Record => Ok(Datum::Text(text.into())),
        _ => return data_type.element().map(|element| array_from_cell(text, element)),
    })
}

fn wrong_cell(value: ValueRef<'_>, data_type: PgType) -> Error {
    Error::internal(format!("a SQLite cell of type {} cannot hold a {data_type}", value.data_type()))
}

/// An array's cell.
pub(super) fn array_to_cell(values: &[Datum]) -> Result<String> {
    let mut out = BytesMut::with_capacity(values.len() * 8 + 2);
    out.put_u8(b'[');
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            out.put_u8(b',');
        }
        write_element(value, &mut out)?;
    }
    out.put_u8(b']');
    String::from_utf8(out.to_vec()).map_err(|_| Error::internal("an array's cell is not UTF-8"))
}

fn write_element(value: &Datum, out: &mut BytesMut) -> Result<()> {
    let hexadecimal = |bytes: &[u8], out: &mut BytesMut| {
        out.put_u8(b'"');
        bytes.iter().for_each(|byte| scalar::put_hex(*byte, out));
        out.put_u8(b'"');
    };
    match value {
        Datum::Null => out.extend_from_slice(b"null"),
        Datum::Uuid(uuid) => hexadecimal(uuid, out),
        Datum::Bytea(bytes) => hexadecimal(bytes, out),
        Datum::Interval(interval) => hexadecimal(&interval.to_binary(), out),
        Datum::Numeric(value) => json::write_string(&value.to_string(), out),
        Datum::Text(text) | Datum::Json(text) | Datum::Jsonb(text) => json::write_string(text, out),
        other => match to_sqlite(other)? {
            ToSqlOutput::Borrowed(ValueRef::Integer(value)) => scalar::write_integer(value, out),
            // SQLite's JSON has no infinity; this is what it makes of a number too large.
            ToSqlOutput::Borrowed(ValueRef::Real(f64::INFINITY)) => out.extend_from_slice(b"9e999"),
            ToSqlOutput::Borrowed(ValueRef::Real(f64::NEG_INFINITY)) => out.extend_from_slice(b"-9e999"),
            ToSqlOutput::Borrowed(ValueRef::Real(value)) => out.extend_from_slice(format!("{value:?}").as_bytes()),
            _ => return Err(Error::unsupported("an array in an array", "Use an array of one dimension, or jsonb.")),
        },
    }
    Ok(())
}

/// The array in a cell.
pub(super) fn array_from_cell(text: &str, element: PgType) -> Result<Datum> {
    let Json::Array(cells) = json::parse(text)? else {
        return Err(Error::internal("an array's cell is not a JSON array"));
    };
    let values = cells.into_iter().map(|cell| element_from_cell(cell, element)).collect::<Result<_>>()?;
    Ok(Datum::Array { element, values })
}

fn element_from_cell(cell: Json, element: PgType) -> Result<Datum> {
    let value = match &cell {
        Json::Null => return Ok(Datum::Null),
        Json::Bool(value) => ValueRef::Integer(i64::from(*value)),
        Json::Number(number) => match (number.parse::<i64>(), number.parse::<f64>()) {
            (Ok(value), _) => ValueRef::Integer(value),
            (_, Ok(value)) => ValueRef::Real(value),
            _ => return Err(Error::internal("an array's cell holds a number out of range")),
        },
        Json::String(text) => match element {
            PgType::Uuid | PgType::Bytea | PgType::Interval => {
                return from_sqlite(ValueRef::Blob(&scalar::parse_hex(text)?), element);
            }
            _ => ValueRef::Text(text.as_bytes()),
        },
        // Built by SQLite's JSON functions from a json value.
        other => return from_sqlite(ValueRef::Text(other.to_string().as_bytes()), element),
    };
    from_sqlite(value, element)
}

/// Writes one column of a DataRow: the length, then the value in the format that was asked for.
///
/// # Errors
/// XX000 when the cell is of another type, after which `out` holds a partial column.
pub fn encode(
    value: ValueRef<'_>,
    data_type: PgType,
    format: Format,
    style: &TextStyle,
    out: &mut BytesMut,
) -> Result<()> {
    if matches!(value, ValueRef::Null) {
        out.put_i32(-1);
        return Ok(());
    }
    let start = out.len();
    out.put_i32(0);
    match format {
        Format::Text => encode_text(value, data_type, style, out)?,
        Format::Binary => encode_binary(value, data_type, out)?,
    }
    let length = i32::try_from(out.len() - start - 4).map_err(|_| Error::internal("a value is longer than 2 GiB"))?;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

fn encode_text(value: ValueRef<'_>, data_type: PgType, style: &TextStyle, out: &mut BytesMut) -> Result<()> {
    match (value, data_type) {
        (
            ValueRef::Integer(value),
            PgType::Int2 | PgType::Int4 | PgType::Int8 | PgType::Oid | PgType::Xid | PgType::Numeric,
        ) => {
            scalar::write_integer(narrowed(value, data_type)?, out);
        }
        (ValueRef::Integer(value), PgType::Bool) => out.put_u8(if value != 0 { b't' } else { b'f' }),
        (ValueRef::Integer(value), PgType::Date) => datetime::write_date(narrowed(value, PgType::Int4)? as i32, out),
        (ValueRef::Integer(value), PgType::Time) => datetime::write_time(value, out),
        (ValueRef::Integer(value), PgType::Timestamp) => datetime::write_timestamp(value, out),
        (ValueRef::Integer(value), PgType::Timestamptz) => datetime::write_timestamptz(value, &style.zone, out),
        (ValueRef::Integer(value), PgType::Float4 | PgType::Float8) => scalar::write_f64(value as f64, out),
        (ValueRef::Real(value), PgType::Float4) => scalar::write_f32(value as f32, out),
        (ValueRef::Real(value), PgType::Float8) => scalar::write_f64(value, out),
        (ValueRef::Text(text), _) if is_text_cell(data_type) => out.extend_from_slice(text),
        (ValueRef::Text(text), reg) if reg.is_reg() => out.extend_from_slice(shown_reg(text).1),
        (ValueRef::Integer(oid), reg) if reg.is_reg() => out.extend_from_slice(reg_text(oid, reg).as_bytes()),
        // `[1,2]`: as a row is written.
        (ValueRef::Text(cell), PgType::Record) => {
            out.put_u8(b'(');
            out.extend_from_slice(cell.strip_prefix(b"[").and_then(|cell| cell.strip_suffix(b"]")).unwrap_or(cell));
            out.put_u8(b')');
        }
        (ValueRef::Text(cell), vector) if vector.is_vector() => {
            out.extend_from_slice(vector_text(cell).ok_or_else(|| wrong_cell(value, data_type))?.as_bytes());
        }
        (ValueRef::Blob(bytes), PgType::Uuid) => {
            let uuid: &[u8; 16] = bytes.try_into().map_err(|_| wrong_cell(value, data_type))?;
            scalar::write_uuid(uuid, out);
        }
        (ValueRef::Blob(bytes), PgType::Bytea) => scalar::write_bytea(bytes, out),
        _ => from_sqlite(value, data_type)?.write_text(style, out),
    }
    Ok(())
}

fn encode_binary(value: ValueRef<'_>, data_type: PgType, out: &mut BytesMut) -> Result<()> {
    match (value, data_type) {
        (ValueRef::Integer(value), PgType::Int8 | PgType::Time | PgType::Timestamp | PgType::Timestamptz) => {
            out.put_i64(value);
        }
        (ValueRef::Integer(value), PgType::Int4 | PgType::Date) => {
            out.put_i32(narrowed(value, PgType::Int4)? as i32);
        }
        (ValueRef::Integer(value), PgType::Int2) => out.put_i16(narrowed(value, data_type)? as i16),
        (ValueRef::Integer(value), PgType::Bool) => out.put_u8(u8::from(value != 0)),
        (ValueRef::Integer(value), PgType::Float8) => out.put_f64(value as f64),
        (ValueRef::Real(value), PgType::Float8) => out.put_f64(value),
        (ValueRef::Real(value), PgType::Float4) => out.put_f32(value as f32),
        (ValueRef::Text(text), PgType::Jsonb) => {
            out.put_u8(1);
            out.extend_from_slice(text);
        }
        (ValueRef::Text(text), PgType::Numeric) => {
            let text = std::str::from_utf8(text).map_err(|_| wrong_cell(value, data_type))?;
            if !write_numeric_text_as_binary(text, out) {
                Numeric::parse(text)?.write_binary(out);
            }
        }
        (ValueRef::Text(text), _) if is_text_cell(data_type) => out.extend_from_slice(text),
        (ValueRef::Text(text), reg) if reg.is_reg() => {
            let oid = std::str::from_utf8(shown_reg(text).0).ok().and_then(|oid| oid.parse::<u32>().ok());
            out.put_u32(oid.ok_or_else(|| wrong_cell(value, data_type))?);
        }
        (ValueRef::Text(_), vector) if vector.is_vector() => {
            let start = out.len();
            from_sqlite(value, data_type)?.write_binary(out);
            // Vectors count from 0: the lower bound comes last in an array's head.
            if let Some(bound) = out.get_mut(start + 16..start + 20) {
                bound.copy_from_slice(&0_i32.to_be_bytes());
            }
        }
        (ValueRef::Blob(bytes), PgType::Bytea) => out.extend_from_slice(bytes),
        (ValueRef::Blob(bytes), PgType::Uuid | PgType::Interval) if bytes.len() == 16 => out.extend_from_slice(bytes),
        _ => from_sqlite(value, data_type)?.write_binary(out),
    }
    Ok(())
}

/// The types whose cell is their text format.
fn is_text_cell(data_type: PgType) -> bool {
    matches!(
        data_type,
        PgType::Text
            | PgType::Varchar
            | PgType::Bpchar
            | PgType::Name
            | PgType::Char
            | PgType::Unknown
            | PgType::Numeric
            | PgType::Json
            | PgType::Jsonb
            | PgType::NodeTree
            | PgType::Aclitem
    )
}

/// `oid name`: the cell of a `reg` type on its way to the client, where the name had to be looked up.
fn shown_reg(cell: &[u8]) -> (&[u8], &[u8]) {
    let at = cell.iter().position(|byte| *byte == b' ').unwrap_or(cell.len());
    (&cell[..at], cell.get(at + 1..).unwrap_or_default())
}

/// How an oid is shown whose name is the same everywhere.
pub(super) fn reg_text(oid: i64, data_type: PgType) -> String {
    let name = u32::try_from(oid).ok().and_then(|oid| match data_type {
        PgType::Regtype => system_catalog::type_name(oid),
        PgType::Regnamespace => system_catalog::namespace_name(oid),
        PgType::Regproc | PgType::Regprocedure => system_catalog::procedure_name(oid),
        _ => None,
    });
    match name {
        Some(name) => name.to_owned(),
        None if oid == 0 => "-".to_owned(),
        None => oid.to_string(),
    }
}

/// `1 2 3`
pub(super) fn vector_text(cell: &[u8]) -> Option<String> {
    let cell = std::str::from_utf8(cell).ok()?;
    Some(cell.strip_prefix('[')?.strip_suffix(']')?.split(',').map(str::trim).collect::<Vec<_>>().join(" "))
}

/// The integer, if the type can hold it: a cell that cannot be is an error, not another number.
fn narrowed(value: i64, data_type: PgType) -> Result<i64> {
    let fits = match data_type {
        PgType::Int2 => i16::try_from(value).is_ok(),
        PgType::Int4 => i32::try_from(value).is_ok(),
        PgType::Oid => u32::try_from(value).is_ok(),
        _ => true,
    };
    if fits { Ok(value) } else { Err(out_of_range(data_type)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUES: &[(PgType, &str)] = &[
        (PgType::Bool, "t"),
        (PgType::Int2, "-32768"),
        (PgType::Int4, "2147483647"),
        (PgType::Int8, "-9223372036854775808"),
        (PgType::Oid, "4294967295"),
        (PgType::Float4, "1.1"),
        (PgType::Float8, "-Infinity"),
        (PgType::Numeric, "12345.6700"),
        (PgType::Numeric, "NaN"),
        (PgType::Text, "é"),
        (PgType::Varchar, ""),
        (PgType::Json, "{\"b\" :1}"),
        (PgType::Jsonb, "{\"a\": [1, 2.50]}"),
        (PgType::Bytea, "\\x00ff"),
        (PgType::Uuid, "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        (PgType::Date, "infinity"),
        (PgType::Time, "01:02:03"),
        (PgType::Timestamp, "1999-12-31 23:59:59.5"),
        (PgType::Timestamptz, "2020-01-01 00:00:00+00"),
        (PgType::Interval, "1 mon -2 days +00:00:01"),
        (PgType::Int4Array, "{1,NULL,-3}"),
        (PgType::TextArray, "{a,\"b \\\"c\",NULL,\"\"}"),
        (PgType::BoolArray, "{t,f}"),
        (PgType::NumericArray, "{1.50,NaN}"),
        (PgType::UuidArray, "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}"),
        (PgType::IntervalArray, "{\"1 day\"}"),
        (PgType::Float8Array, "{0.1,Infinity,3}"),
        (PgType::TimestampArray, "{\"2020-01-01 00:00:00\"}"),
    ];

    fn value_ref<'a>(output: &'a ToSqlOutput<'a>) -> ValueRef<'a> {
        match output {
            ToSqlOutput::Borrowed(value) => *value,
            ToSqlOutput::Owned(value) => ValueRef::from(value),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn values_survive_their_cells() {
        let style = TextStyle::default();
        for (data_type, text) in VALUES {
            let datum = Datum::from_text(*data_type, text, &style).unwrap();
            let cell = to_sqlite(&datum).unwrap();
            let read = from_sqlite(value_ref(&cell), *data_type).unwrap();
            assert_eq!(read.to_text(&style).as_deref(), Some(*text));
        }
    }

    #[test]
    fn columns_are_encoded_as_the_values_themselves_are() {
        let style = TextStyle::default();
        for (data_type, text) in VALUES {
            let datum = Datum::from_text(*data_type, text, &style).unwrap();
            let cell = to_sqlite(&datum).unwrap();
            for format in [Format::Text, Format::Binary] {
                let mut expected = BytesMut::new();
                match format {
                    Format::Text => datum.write_text(&style, &mut expected),
                    Format::Binary => datum.write_binary(&mut expected),
                }
                let mut out = BytesMut::new();
                encode(value_ref(&cell), *data_type, format, &style, &mut out).unwrap();
                assert_eq!(out[..4], (expected.len() as i32).to_be_bytes(), "{data_type} {text}");
                assert_eq!(out[4..], expected[..], "{data_type} {text}");
            }
        }
    }

    #[test]
    fn cells_that_cannot_be_are_errors() {
        assert!(from_sqlite(ValueRef::Integer(40_000), PgType::Int2).is_err());
        assert!(from_sqlite(ValueRef::Blob(&[0; 15]), PgType::Uuid).is_err());
        assert!(from_sqlite(ValueRef::Integer(1), PgType::Text).is_err());
        assert!(to_sqlite(&Datum::Float8(f64::NAN)).is_err());
        let mut out = BytesMut::new();
        encode(ValueRef::Null, PgType::Int4, Format::Binary, &TextStyle::default(), &mut out).unwrap();
        assert_eq!(out[..], (-1i32).to_be_bytes());
        let style = TextStyle::default();
        assert!(encode(ValueRef::Integer(1 << 40), PgType::Int4, Format::Binary, &style, &mut out).is_err());
    }
}
