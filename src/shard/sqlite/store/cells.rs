//! The types of SQLite's columns.

use crate::types::PgType;

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
