//! Asking a statement of one server, and telling two answers apart.

use std::io;

use super::random::Random;
use super::values;
use crate::support::client::Column;
use crate::support::{Answer, Client};

/// How a statement is sent, and how its rows come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Simple,
    /// Parameters, text rows. The number chooses their declared types and formats.
    Text(u64),
    /// Parameters, binary rows.
    Binary(u64),
}

/// Sends one statement with marked literals.
pub fn ask(client: &mut Client, marked: &str, mode: Mode) -> io::Result<Answer> {
    match mode {
        Mode::Simple => {
            let mut answers = client.try_simple(&values::inline(marked))?;
            Ok(if answers.is_empty() { Answer::default() } else { answers.remove(0) })
        }
        Mode::Text(seed) | Mode::Binary(seed) => {
            let (sql, types, parameters) = values::parameters(marked, &mut Random::new(seed));
            client.try_extended(&sql, &types, &parameters, matches!(mode, Mode::Binary(_)))
        }
    }
}

/// What two answers to one statement have to do with each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Same,
    /// The same SQLSTATE; whether the message is the same too.
    SameError {
        same_message: bool,
    },
    /// shardd said 0A000.
    Refused(Refusal),
    /// The first difference, in words that are the same for differences of one kind.
    Different(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub construct: String,
    pub hint: String,
}

pub fn refusal(answer: &Answer) -> Option<Refusal> {
    let error = answer.error.as_ref().filter(|error| error.sqlstate() == "0A000")?;
    let construct = error.message().split(" is not supported by shardd").next().unwrap_or_default();
    Some(Refusal { construct: general(construct), hint: error.hint().to_owned() })
}

/// Compares what Postgres said with what shardd said.
pub fn compare(postgres: &Answer, shardd: &Answer, ordered: bool) -> Verdict {
    match (&postgres.error, &shardd.error) {
        (Some(expected), Some(got)) if expected.sqlstate() == got.sqlstate() => {
            return Verdict::SameError { same_message: expected.message() == got.message() };
        }
        (_, Some(_)) if let Some(refusal) = refusal(shardd) => return Verdict::Refused(refusal),
        (Some(expected), Some(got)) => {
            let (expected, code, message) = (expected.sqlstate(), got.sqlstate(), general(got.message()));
            return Verdict::Different(format!("SQLSTATE {code} instead of {expected}: {message}"));
        }
        (None, Some(got)) => {
            // A syntax error is known by its place: another one is another difference.
            let syntax = got.sqlstate() == "42601";
            let message = if syntax { got.message().to_owned() } else { general(got.message()) };
            return Verdict::Different(format!("fails with {}: {message}", got.sqlstate()));
        }
        (Some(expected), None) => {
            return Verdict::Different(format!(
                "answers instead of {}: {}",
                expected.sqlstate(),
                general(expected.message())
            ));
        }
        (None, None) => {}
    }
    difference(postgres, shardd, ordered).map_or(Verdict::Same, Verdict::Different)
}

fn difference(postgres: &Answer, shardd: &Answer, ordered: bool) -> Option<String> {
    if let Some(kind) = column_difference(postgres.columns.as_deref(), shardd.columns.as_deref()) {
        return Some(kind);
    }
    if postgres.parameter_types != shardd.parameter_types {
        return Some("parameter types".to_owned());
    }
    let (mut expected, mut got) = (postgres.rows.clone(), shardd.rows.clone());
    if expected.len() != got.len() {
        return Some("number of rows".to_owned());
    }
    let in_sequence = expected == got;
    expected.sort();
    got.sort();
    if expected != got {
        return Some(format!("values of {}", value_types(&expected, &got, postgres.columns.as_deref())));
    }
    if ordered && !in_sequence {
        return Some("order of rows".to_owned());
    }
    if postgres.tag != shardd.tag {
        return Some("command tag".to_owned());
    }
    None
}

fn column_difference(postgres: Option<&[Column]>, shardd: Option<&[Column]>) -> Option<String> {
    let (expected, got) = match (postgres, shardd) {
        (None, None) => return None,
        (Some(expected), Some(got)) if expected.len() == got.len() => (expected, got),
        _ => return Some("number of columns".to_owned()),
    };
    for (expected, got) in expected.iter().zip(got) {
        if expected.name != got.name {
            return Some("column name".to_owned());
        }
        if expected.type_oid != got.type_oid {
            return Some(format!("type: {} instead of {}", got.type_oid, expected.type_oid));
        }
        if expected.modifier != got.modifier {
            return Some(format!(
                "modifier of type {}: {} instead of {}",
                got.type_oid, got.modifier, expected.modifier
            ));
        }
        if expected.size != got.size {
            return Some(format!("size of type {}", got.type_oid));
        }
        // A column of a table says so. Its number may differ: Postgres goes on counting after DROP COLUMN.
        if (expected.table_oid == 0) != (got.table_oid == 0) {
            return Some("origin of a column".to_owned());
        }
    }
    None
}

/// The types of the columns where the first differing rows differ.
fn value_types(expected: &[Vec<Option<Vec<u8>>>], got: &[Vec<Option<Vec<u8>>>], columns: Option<&[Column]>) -> String {
    let columns = columns.unwrap_or_default();
    let Some((expected, got)) = expected.iter().zip(got).find(|(expected, got)| expected != got) else {
        return String::new();
    };
    let differing = expected.iter().zip(got).position(|(expected, got)| expected != got).unwrap_or(0);
    columns.get(differing).map_or_else(String::new, |column| format!("type {}", column.type_oid))
}

/// A message without what differs from statement to statement: quoted names, values and numbers.
pub fn general(message: &str) -> String {
    let mut text = String::new();
    let mut quote = None;
    for character in message.chars() {
        match (quote, character) {
            (None, '"' | '\'') => {
                quote = Some(character);
                text.push('…');
            }
            (Some(open), _) => {
                if character == open {
                    quote = None;
                }
            }
            (None, _) if character.is_ascii_digit() => {
                if !text.ends_with('#') {
                    text.push('#');
                }
            }
            (None, _) => text.push(character),
        }
    }
    text
}

/// An answer for people.
pub fn show(answer: &Answer, binary: bool) -> String {
    if let Some(error) = &answer.error {
        let mut text = format!("ERROR {}: {}", error.sqlstate(), error.message());
        for (label, field) in [("DETAIL", error.detail()), ("HINT", error.hint())] {
            if !field.is_empty() {
                text += &format!("\n    {label}: {field}");
            }
        }
        return text;
    }
    let mut text = String::new();
    if let Some(types) = &answer.parameter_types
        && !types.is_empty()
    {
        text += &format!("parameters {types:?}; ");
    }
    if let Some(columns) = &answer.columns {
        let columns: Vec<String> = columns
            .iter()
            .map(|column| format!("{} {}/{} @{}", column.name, column.type_oid, column.modifier, column.attribute))
            .collect();
        text += &format!("[{}]", columns.join(", "));
    }
    for row in answer.rows.iter().take(12) {
        let values: Vec<String> = row
            .iter()
            .map(|value| value.as_ref().map_or("NULL".to_owned(), |value| show_value(value, binary)))
            .collect();
        text += &format!("\n    ({})", values.join(", "));
    }
    if answer.rows.len() > 12 {
        text += &format!("\n    ... {} rows in all", answer.rows.len());
    }
    text + &format!("\n    {}", answer.tag.as_deref().unwrap_or("no tag"))
}

fn show_value(value: &[u8], binary: bool) -> String {
    match std::str::from_utf8(value) {
        Ok(text) if !binary || text.chars().all(|character| !character.is_control()) => format!("{text:?}"),
        _ => value.iter().fold("0x".to_owned(), |text, byte| format!("{text}{byte:02x}")),
    }
}
