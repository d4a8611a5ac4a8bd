//! Values into SQLite's cells and cells into frames.

use bytes::{BufMut, BytesMut};
use rusqlite::types::{ToSqlOutput, ValueRef};

use crate::error::{Error, Result};
use crate::types::{Datum, Format, PgType, TextStyle};

pub(super) fn to_cell(datum: &Datum) -> Result<ToSqlOutput<'_>> {
    let value = match datum {
        Datum::Null => ValueRef::Null,
        Datum::Bool(value) => ValueRef::Integer(i64::from(*value)),
        Datum::Int2(value) => ValueRef::Integer(i64::from(*value)),
        Datum::Int4(value) => ValueRef::Integer(i64::from(*value)),
        Datum::Int8(value) | Datum::Timestamp(value) | Datum::Timestamptz(value) => ValueRef::Integer(*value),
        Datum::Text(value) | Datum::Json(value) | Datum::Jsonb(value) => ValueRef::Text(value.as_bytes()),
        Datum::Bytea(value) => ValueRef::Blob(value),
        Datum::Uuid(value) => ValueRef::Blob(value),
        other => return Err(Error::internal(format!("{other:?} has no cell"))),
    };
    Ok(ToSqlOutput::Borrowed(value))
}

pub(super) fn encode(
    value: ValueRef<'_>,
    data_type: PgType,
    format: Format,
    _style: &TextStyle,
    frames: &mut BytesMut,
) -> Result<()> {
    match (value, format) {
        (ValueRef::Integer(value), Format::Text) => frames.extend_from_slice(value.to_string().as_bytes()),
        (ValueRef::Integer(value), Format::Binary) if data_type == PgType::Int8 => frames.put_i64(value),
        (ValueRef::Integer(value), Format::Binary) if data_type == PgType::Int4 => frames.put_i32(value as i32),
        (ValueRef::Text(value), _) => frames.extend_from_slice(value),
        (ValueRef::Blob(value), Format::Binary) => frames.extend_from_slice(value),
        other => return Err(Error::internal(format!("{other:?} cannot be encoded as {data_type}"))),
    }
    Ok(())
}

/// The type that a column is declared with.
pub(super) fn column_type(data_type: PgType) -> &'static str {
    match data_type {
        PgType::Bool | PgType::Int2 | PgType::Int4 | PgType::Int8 | PgType::Oid => "INTEGER",
        PgType::Date | PgType::Time | PgType::Timestamp | PgType::Timestamptz => "INTEGER",
        PgType::Float4 | PgType::Float8 => "REAL",
        PgType::Numeric => "TEXT COLLATE pg_numeric",
        PgType::Bytea | PgType::Uuid | PgType::Interval => "BLOB",
        _ => "TEXT",
    }
}
