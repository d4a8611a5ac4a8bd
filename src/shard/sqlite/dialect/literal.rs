//! Literals that stand in the tree.

use super::Translator;
use super::names::quote_text;
use super::typed::{Origin, Typed};
use crate::error::{Error, Result, SqlState};
use crate::sql::ast::{Value, ValueWithSpan};
use crate::types::{Datum, PgType, TextStyle};

impl Translator<'_> {
    pub(super) fn literal(&mut self, literal: &ValueWithSpan) -> Result<Typed> {
        match &literal.value {
            Value::Number(digits, _) => number(digits),
            Value::SingleQuotedString(text)
            | Value::EscapedStringLiteral(text)
            | Value::UnicodeStringLiteral(text)
            | Value::NationalStringLiteral(text) => Ok(quoted(text)),
            Value::DollarQuotedString(text) => Ok(quoted(&text.value)),
            Value::Boolean(value) => Ok(Typed::constant(if *value { "1" } else { "0" }, PgType::Bool)),
            Value::Null => Ok(Typed::null()),
            Value::Placeholder(name) => {
                let number = name.strip_prefix('$').and_then(|digits| digits.parse().ok());
                let Some(number) = number else {
                    let error = Error::new(SqlState::SYNTAX_ERROR, format!("syntax error at or near \"{name}\""));
                    return Err(self.error_at(error, literal.span));
                };
                self.parameters.reference(number).map_err(|error| self.error_at(error, literal.span))
            }
            other => {
                let error = Error::unsupported(format_args!("the literal {other}"), "Write it as a quoted string.");
                Err(self.error_at(error, literal.span))
            }
        }
    }
}

fn quoted(text: &str) -> Typed {
    let mut typed = Typed::constant(quote_text(text), PgType::Unknown);
    typed.origin = Origin::UntypedText(text.to_owned());
    typed
}

/// integer, bigint or numeric, as the value needs.
pub(super) fn number(digits: &str) -> Result<Typed> {
    let unsigned = digits.strip_prefix('-').unwrap_or(digits);
    let plain = unsigned.bytes().all(|byte| byte.is_ascii_digit());
    if plain {
        if let Ok(value) = digits.parse::<i32>() {
            return Ok(Typed::constant(value.to_string(), PgType::Int4));
        }
        if let Ok(value) = digits.parse::<i64>() {
            let sql = if value == i64::MIN { "(-9223372036854775807 - 1)".to_owned() } else { value.to_string() };
            return Ok(Typed::constant(sql, PgType::Int8));
        }
        let cell = cell(digits, PgType::Numeric)?.unwrap_or_default();
        return Ok(Typed::constant(cell, PgType::Numeric));
    }
    let valid = digits.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-'));
    if !valid {
        return Err(Error::new(
            SqlState::SYNTAX_ERROR,
            format!("trailing junk after numeric literal at or near \"{digits}\""),
        ));
    }
    let cell = cell(digits, PgType::Numeric)?.unwrap_or_default();
    Ok(Typed::constant(cell, PgType::Numeric))
}

/// The SQLite literal of a quoted literal's value, for the types whose text means the same in every session.
///
/// # Errors
/// As Postgres's input functions give them (22P02 and its kin).
pub(super) fn cell(text: &str, to: PgType) -> Result<Option<String>> {
    let relative = || {
        let lower = text.to_ascii_lowercase();
        ["now", "today", "tomorrow", "yesterday"].iter().any(|word| lower.contains(word))
    };
    let fixed = match to {
        PgType::Date | PgType::Timestamp => !relative(),
        PgType::Timestamptz | PgType::Unknown | PgType::Void => false,
        other => !other.is_array() && !other.is_catalogs_own(),
    };
    if !fixed {
        return Ok(None);
    }
    let datum = Datum::from_text(to, text, &TextStyle::default())?;
    Ok(Some(match datum {
        Datum::Null => "NULL".to_owned(),
        Datum::Bool(value) => i32::from(value).to_string(),
        Datum::Int2(value) => value.to_string(),
        Datum::Int4(value) | Datum::Date(value) => value.to_string(),
        // SQLite reads the least integer's digits as a REAL.
        Datum::Int8(i64::MIN) | Datum::Timestamp(i64::MIN) => "(-9223372036854775807 - 1)".to_owned(),
        Datum::Int8(value) | Datum::Time(value) | Datum::Timestamp(value) => value.to_string(),
        Datum::Oid(value) => value.to_string(),
        Datum::Float4(value) => return Ok(real(f64::from(value))),
        Datum::Float8(value) => return Ok(real(value)),
        Datum::Numeric(value) => quote_text(&value.to_string()),
        Datum::Text(text) | Datum::Json(text) | Datum::Jsonb(text) => quote_text(&text),
        Datum::Bytea(bytes) => blob(&bytes),
        Datum::Uuid(uuid) => blob(&uuid),
        Datum::Interval(interval) => blob(&interval.to_binary()),
        Datum::Timestamptz(_) | Datum::Array { .. } => return Ok(None),
    }))
}

/// None for what SQLite cannot hold: the function that is called instead says so.
fn real(value: f64) -> Option<String> {
    if value.is_nan() {
        None
    } else if value.is_infinite() {
        Some(if value > 0.0 { "9e999" } else { "-9e999" }.to_owned())
    } else {
        Some(format!("{value:e}"))
    }
}

fn blob(bytes: &[u8]) -> String {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("X'{digits}'")
}
