//! The orders of types whose cells are text and do not lie in the order of their bytes.
//!
//! Collations rather than keys: what is compared stays the value that the query gives.

use std::cmp::Ordering;

use rusqlite::Connection;

use crate::shard::sqlite::storage;
use crate::types::{Datum, PgType, compare_numeric_texts};

pub(super) fn register(connection: &Connection) -> rusqlite::Result<()> {
    connection.create_collation("pg_numeric", compare_numeric_texts)?;
    connection
        .create_collation("pg_jsonb", |a: &str, b: &str| Datum::Jsonb(a.into()).compare(&Datum::Jsonb(b.into())))?;
    for element in PgType::ALL.iter().copied().filter(|element| element.array().is_some()) {
        let name = format!("pg_array_{}", element.name());
        connection.create_collation(&*name, move |a: &str, b: &str| compare_arrays(a, b, element))?;
    }
    Ok(())
}

/// A cell that is no array of the type, which no shard writes, is ordered by its bytes.
fn compare_arrays(a: &str, b: &str, element: PgType) -> Ordering {
    if a == b {
        return Ordering::Equal;
    }
    match (array(a, element), array(b, element)) {
        (Some(left), Some(right)) => left.compare(&right),
        _ => a.cmp(b),
    }
}

fn array(cell: &str, element: PgType) -> Option<Datum> {
    let mut array = storage::array_from_cell(cell, element).ok()?;
    if let (PgType::Bpchar, Datum::Array { values, .. }) = (element, &mut array) {
        for value in values {
            if let Datum::Text(text) = value {
                *text = Box::from(text.trim_end_matches(' '));
            }
        }
    }
    Some(array)
}
