//! Literals that stand in the tree.

use super::Translator;
use super::names::quote_text;
use super::typed::{Origin, Typed};
use crate::error::{Error, Result, SqlState};
use crate::sql::ast::{Value, ValueWithSpan};
use crate::types::PgType;

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
fn number(digits: &str) -> Result<Typed> {
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    if plain {
        if let Ok(value) = digits.parse::<i32>() {
            return Ok(Typed::constant(value.to_string(), PgType::Int4));
        }
        if let Ok(value) = digits.parse::<i64>() {
            return Ok(Typed::constant(value.to_string(), PgType::Int8));
        }
        return Ok(Typed::constant(quote_text(digits.trim_start_matches('0')), PgType::Numeric));
    }
    let valid = digits.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-'));
    if !valid {
        return Err(Error::new(
            SqlState::SYNTAX_ERROR,
            format!("trailing junk after numeric literal at or near \"{digits}\""),
        ));
    }
    Ok(Typed::constant(format!("pg_text_numeric({})", quote_text(digits)), PgType::Numeric))
}
