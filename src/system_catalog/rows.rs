//! Rows under way: values by column name, everything else as Postgres has it where there is nothing to say.

use std::collections::BTreeMap;

use super::Relation;
use super::relations::{definitions, lookups};
use crate::topology::Column;
use crate::types::{Datum, PgType};

/// The rows that were added so far, by relation.
#[derive(Debug, Default)]
pub(super) struct Rows(BTreeMap<&'static str, Vec<Vec<Datum>>>);

impl Rows {
    /// Adds a row. Columns that are not given are NULL, or zero, false or empty where they cannot be.
    pub(super) fn add(&mut self, relation: &'static str, values: &[(&str, Datum)]) {
        let Some(known) = definitions().get(relation) else {
            debug_assert!(false, "there is no relation {relation}");
            return;
        };
        let mut row: Vec<Datum> = known.table.columns.iter().map(nothing).collect();
        for (name, value) in values {
            match known.table.column(name) {
                Some((index, _)) => row[index] = value.clone(),
                None => debug_assert!(false, "{relation} has no column {name}"),
            }
        }
        self.0.entry(relation).or_default().push(row);
    }

    /// Adds a row of a lookup, complete.
    pub(super) fn add_lookup(&mut self, lookup: &'static str, row: Vec<Datum>) {
        debug_assert!(lookups().iter().any(|known| known.name == lookup && known.columns.len() == row.len()));
        self.0.entry(lookup).or_default().push(row);
    }

    pub(super) fn finish(self) -> Vec<Relation> {
        self.0.into_iter().map(|(name, rows)| Relation { name, rows }).collect()
    }
}

fn nothing(column: &Column) -> Datum {
    if !column.not_null {
        return Datum::Null;
    }
    match column.data_type {
        PgType::Bool => Datum::Bool(false),
        PgType::Int2 => Datum::Int2(0),
        PgType::Int4 => Datum::Int4(0),
        PgType::Int8 => Datum::Int8(0),
        PgType::Float4 => Datum::Float4(0.0),
        PgType::Oid | PgType::Xid => Datum::Oid(0),
        reg if reg.is_reg() => Datum::Oid(0),
        array if array.is_array() => {
            Datum::Array { element: array.element().unwrap_or(PgType::Text), values: Vec::new() }
        }
        _ => text(""),
    }
}

pub(super) fn text(value: impl AsRef<str>) -> Datum {
    Datum::Text(value.as_ref().into())
}

/// A value of type "char".
pub(super) fn letter(value: char) -> Datum {
    text(value.encode_utf8(&mut [0; 4]))
}

pub(super) fn oid(value: u32) -> Datum {
    Datum::Oid(value)
}

pub(super) fn flag(value: bool) -> Datum {
    Datum::Bool(value)
}

pub(super) fn int2(value: usize) -> Datum {
    Datum::Int2(i16::try_from(value).unwrap_or(i16::MAX))
}

pub(super) fn int4(value: i32) -> Datum {
    Datum::Int4(value)
}

pub(super) fn int2_array(values: impl IntoIterator<Item = usize>) -> Datum {
    Datum::Array { element: PgType::Int2, values: values.into_iter().map(int2).collect() }
}

pub(super) fn oid_array(values: impl IntoIterator<Item = u32>) -> Datum {
    Datum::Array { element: PgType::Oid, values: values.into_iter().map(oid).collect() }
}

/// information_schema's booleans.
pub(super) fn yes_or_no(value: bool) -> Datum {
    text(if value { "YES" } else { "NO" })
}
