//! One value of a Postgres type, outside any frame or database.

use super::interval::Interval;
use super::numeric::Numeric;
use super::pg_type::PgType;

/// A decoded value. Dates count days and timestamps microseconds from 2000-01-01, as in Postgres's binary format;
/// `i32::MAX`/`i64::MAX` are `infinity` and the minima `-infinity`.
#[derive(Clone, Debug, PartialEq)]
pub enum Datum {
    Null,
    Bool(bool),
    Int2(i16),
    Int4(i32),
    Int8(i64),
    Oid(u32),
    Float4(f32),
    Float8(f64),
    Numeric(Numeric),
    /// text, varchar, bpchar, name, "char", unknown.
    Text(Box<str>),
    Bytea(Box<[u8]>),
    Uuid([u8; 16]),
    Date(i32),
    /// Microseconds since midnight.
    Time(i64),
    Timestamp(i64),
    /// Microseconds since 2000-01-01 00:00 UTC.
    Timestamptz(i64),
    Interval(Interval),
    /// The text as it came.
    Json(Box<str>),
    /// The canonical text: keys ordered and unique, as Postgres prints it.
    Jsonb(Box<str>),
    /// One dimension, lower bound 1. `element` is the scalar's type.
    Array {
        element: PgType,
        values: Vec<Datum>,
    },
}

/// How a value is written in a Bind or DataRow message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Format {
    #[default]
    Text,
    Binary,
}
impl Datum {
    /// The type of the value; `None` for NULL, which belongs to every type. Text is `text`, whatever it was declared as.
    pub fn data_type(&self) -> Option<PgType> {
        Some(match self {
            Datum::Null => return None,
            Datum::Bool(_) => PgType::Bool,
            Datum::Int2(_) => PgType::Int2,
            Datum::Int4(_) => PgType::Int4,
            Datum::Int8(_) => PgType::Int8,
            Datum::Oid(_) => PgType::Oid,
            Datum::Float4(_) => PgType::Float4,
            Datum::Float8(_) => PgType::Float8,
            Datum::Numeric(_) => PgType::Numeric,
            Datum::Text(_) => PgType::Text,
            Datum::Bytea(_) => PgType::Bytea,
            Datum::Uuid(_) => PgType::Uuid,
            Datum::Date(_) => PgType::Date,
            Datum::Time(_) => PgType::Time,
            Datum::Timestamp(_) => PgType::Timestamp,
            Datum::Timestamptz(_) => PgType::Timestamptz,
            Datum::Interval(_) => PgType::Interval,
            Datum::Json(_) => PgType::Json,
            Datum::Jsonb(_) => PgType::Jsonb,
            Datum::Array { element, .. } => element.array()?,
        })
    }

    pub fn is_null(&self) -> bool {
        matches!(self, Datum::Null)
    }
}
