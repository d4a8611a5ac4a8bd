//! Differences that can be told from all others by looking closer, so that `docs/sql-differences.md` can name them.
//!
//! Each is taken away from Postgres's answer; what remains must be shardd's. So nothing else hides behind them.

use super::compare::{Mode, Verdict, compare};
use super::values::inline;
use crate::support::{Answer, Client};

pub const FOLDED: &str = "modifier of an expression that Postgres computes while it plans";
const NEGATIVE_ZERO: &str = "sign of a zero";
const NULL_FLAG: &str = "flag of an array without NULL";
/// Rows of one INSERT that fail on two shards: each shard finds its own first, and neither waits for the other.
pub const TWO_FAULTS: &str = "which of two rows' violations is told";
pub const RETURNING_ORDER: &str = "order of RETURNING's rows after a conflict";

/// Two faults in one statement: Postgres asks for a parameter's type before it reads the value of any.
const UNTYPED: [&str; 2] = ["SQLSTATE 22P02 instead of 42P18", "SQLSTATE 22P02 instead of 42725"];
const BAD_VALUE: &str = ": invalid input syntax for type";

const FLOATS: [u32; 2] = [700, 701];
/// Their elements may be NULL, as a flag in their binary form says.
const ARRAYS: [u32; 17] =
    [199, 1000, 1001, 1005, 1007, 1009, 1014, 1015, 1016, 1021, 1022, 1115, 1182, 1185, 1187, 1231, 2951];

/// The kind of a known difference, or the one that was found.
pub fn kind(
    found: String,
    statement: &str,
    mode: Mode,
    [expected, got]: [&Answer; 2],
    ordered: bool,
    postgres: &mut Client,
) -> String {
    if let Some(beginning) = found.strip_suffix(": …").and_then(|message| message.split_once(BAD_VALUE))
        && UNTYPED.contains(&beginning.0)
    {
        return format!("{}{BAD_VALUE} …", beginning.0);
    }
    let is = |excused: &Answer, ordered: bool| compare(excused, got, ordered) == Verdict::Same;
    if found.starts_with("modifier ")
        && mode == Mode::Simple
        && let Some(columns) = described(postgres, &inline(statement))
        && is(&Answer { columns: Some(columns), ..expected.clone() }, ordered)
    {
        return FOLDED.to_owned();
    }
    if is(&with_values(expected, &FLOATS, positive), ordered) {
        return NEGATIVE_ZERO.to_owned();
    }
    if matches!(mode, Mode::Binary(_)) && is(&with_values(expected, &ARRAYS, without_null_flag), ordered) {
        return NULL_FLAG.to_owned();
    }
    let violations = found.starts_with("SQLSTATE 235") && found.contains(" instead of 235");
    if violations && statement.starts_with("INSERT ") && statement.contains("), (") {
        return TWO_FAULTS.to_owned();
    }
    if found == "order of rows" && leaves_rows_out(statement, got) && is(expected, false) {
        return RETURNING_ORDER.to_owned();
    }
    found
}

/// The columns as Postgres describes a prepared statement, before it plans it.
fn described(postgres: &mut Client, sql: &str) -> Option<Vec<crate::support::client::Column>> {
    // In an open transaction an error would end it; nothing that was answered can fail here.
    postgres.try_describe(sql).ok()?.columns
}

fn with_values(answer: &Answer, types: &[u32], change: fn(&[u8]) -> Option<Vec<u8>>) -> Answer {
    let mut answer = answer.clone();
    let columns = answer.columns.clone().unwrap_or_default();
    for row in &mut answer.rows {
        for (value, column) in row.iter_mut().zip(&columns) {
            if types.contains(&column.type_oid)
                && let Some(changed) = value.as_deref().and_then(change)
            {
                *value = Some(changed);
            }
        }
    }
    answer
}

fn positive(value: &[u8]) -> Option<Vec<u8>> {
    match value {
        b"-0" => Some(b"0".to_vec()),
        [0x80, rest @ ..] if matches!(rest.len(), 3 | 7) && rest.iter().all(|byte| *byte == 0) => {
            Some(vec![0; value.len()])
        }
        _ => None,
    }
}

/// A slice keeps the flag of the array that it was cut from.
fn without_null_flag(value: &[u8]) -> Option<Vec<u8>> {
    let mut value = value.to_vec();
    let flagged = value.get(4..8) == Some(&[0, 0, 0, 1]) && !has_null(value.get(20..).unwrap_or_default());
    if flagged {
        value[7] = 0;
    }
    flagged.then_some(value)
}

fn has_null(mut elements: &[u8]) -> bool {
    while let Some((length, rest)) = elements.split_first_chunk::<4>() {
        let length = i32::from_be_bytes(*length);
        let Ok(length) = usize::try_from(length) else { return true };
        elements = rest.get(length..).unwrap_or_default();
    }
    false
}

/// Whether an INSERT of several rows returned fewer than it was given.
fn leaves_rows_out(statement: &str, got: &Answer) -> bool {
    let Some((values, conflict)) = statement.split_once(" ON CONFLICT ") else { return false };
    let given = values.matches("), (").count() + 1;
    statement.starts_with("INSERT ") && conflict.contains(" RETURNING ") && got.rows.len() < given
}
