//! Rows in the details of errors, as Postgres writes them.

use rusqlite::types::{Value, ValueRef};

use crate::shard::sqlite::storage;
use crate::topology::{Column, Table};
use crate::types::TextStyle;

/// Bytes of a value that a row's text shows.
const SHOWN: usize = 64;

/// `(1, 2, null, ...)`.
pub(super) fn row_text(table: &Table, values: &[Value], style: &TextStyle) -> Option<String> {
    let texts = table.columns.iter().zip(values).map(|(column, value)| value_text(column, value, style).map(clip));
    Some(format!("({})", texts.collect::<Option<Vec<_>>>()?.join(", ")))
}

/// `Key (event_id, seat_id)=(1, 2)`.
pub(super) fn key_text(table: &Table, columns: &[usize], values: &[Value], style: &TextStyle) -> Option<String> {
    let mut names = Vec::with_capacity(columns.len());
    let mut texts = Vec::with_capacity(columns.len());
    for &index in columns {
        let column = table.columns.get(index)?;
        names.push(column.name.as_str());
        texts.push(value_text(column, values.get(index)?, style)?);
    }
    Some(format!("Key ({})=({})", names.join(", "), texts.join(", ")))
}

fn value_text(column: &Column, value: &Value, style: &TextStyle) -> Option<String> {
    let value = ValueRef::from(value);
    if matches!(value, ValueRef::Null) {
        return Some("null".to_owned());
    }
    storage::from_sqlite(value, column.data_type).ok()?.to_text(style)
}

fn clip(mut text: String) -> String {
    if text.len() > SHOWN {
        text.truncate(text.floor_char_boundary(SHOWN));
        text.push_str("...");
    }
    text
}
