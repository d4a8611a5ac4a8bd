//! `format()`, and `to_char` of numbers.

use rusqlite::types::{Value, ValueRef};

use super::call::{Arguments, Function, MAX_RESULT_BYTES, lax, strict, text, too_large};
use super::texts::quote_literal;
use crate::error::{Error, Result, SqlState};
use crate::sql::quote_identifier;
use crate::types::Numeric;

pub(super) const FUNCTIONS: &[Function] = &[
    lax("pg_format", -1, |a| match a.optional_text(0)? {
        Some(template) => Ok(text(format(a, template)?)),
        None => Ok(Value::Null),
    }),
    strict("pg_to_char_numeric", 2, |a| Ok(text(format_number(&a.numeric(0)?, a.text(1)?)?))),
];

fn invalid(message: impl Into<String>) -> Error {
    Error::new(SqlState::INVALID_PARAMETER_VALUE, message)
}

/// `%[position$][-][width]type`, the type being s, I or L. The values come as text, in Postgres's output form.
fn format(arguments: &Arguments<'_>, template: &str) -> Result<String> {
    let mut out = String::with_capacity(template.len());
    let mut next_argument = 1usize;
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        if let Some(tail) = after.strip_prefix('%') {
            out.push('%');
            rest = tail;
            continue;
        }
        let directive = Directive::read(after)?;
        rest = directive.rest;
        if let Some(position) = directive.position {
            next_argument = position;
        }
        let mut width = directive.width;
        if directive.width_argument {
            width = match argument(arguments, next_argument)? {
                Some(text) => text.parse().map_err(|_| invalid("format width must be a number"))?,
                None => 0,
            };
            next_argument += 1;
        }
        let value = argument(arguments, next_argument)?;
        next_argument += 1;
        let shown = match (directive.kind, value) {
            ('s', value) => value.unwrap_or_default(),
            ('I', Some(value)) => quote_identifier(&value),
            ('I', None) => {
                return Err(Error::new(
                    SqlState::NULL_VALUE_NOT_ALLOWED,
                    "null values cannot be formatted as an SQL identifier",
                ));
            }
            ('L', value) => value.map_or("NULL".to_owned(), |value| quote_literal(&value)),
            (other, _) => {
                return Err(invalid(format!("unrecognized format() type specifier \"{other}\""))
                    .hint("For a single \"%\" use \"%%\"."));
            }
        };
        pad(&shown, width, directive.left || width < 0, &mut out)?;
    }
    out.push_str(rest);
    Ok(out)
}

fn pad(shown: &str, width: i64, left: bool, out: &mut String) -> Result<()> {
    let width = usize::try_from(width.unsigned_abs()).unwrap_or(usize::MAX);
    let missing = width.saturating_sub(shown.chars().count());
    if out.len() + shown.len() + missing > MAX_RESULT_BYTES {
        return Err(too_large());
    }
    let padding = " ".repeat(missing);
    out.push_str(if left { "" } else { &padding });
    out.push_str(shown);
    out.push_str(if left { &padding } else { "" });
    Ok(())
}

fn argument(arguments: &Arguments<'_>, position: usize) -> Result<Option<String>> {
    if position >= arguments.len() {
        return Err(invalid("too few arguments for format()"));
    }
    Ok(match arguments.raw(position) {
        ValueRef::Null => None,
        ValueRef::Integer(value) => Some(value.to_string()),
        _ => Some(arguments.text(position)?.to_owned()),
    })
}

struct Directive<'t> {
    position: Option<usize>,
    left: bool,
    width: i64,
    width_argument: bool,
    kind: char,
    rest: &'t str,
}

impl<'t> Directive<'t> {
    fn read(text: &'t str) -> Result<Directive<'t>> {
        let unterminated = || invalid("unterminated format() type specifier").hint("For a single \"%\" use \"%%\".");
        let number = |text: &'t str| {
            let length = text.bytes().take_while(u8::is_ascii_digit).count();
            (text[..length].parse::<i64>().ok(), &text[length..])
        };
        let (mut position, mut rest) = (None, text);
        if let (Some(value), tail) = number(rest)
            && let Some(tail) = tail.strip_prefix('$')
        {
            if value == 0 {
                return Err(invalid("format specifies argument 0, but arguments are numbered from 1"));
            }
            (position, rest) = (usize::try_from(value).ok(), tail);
        }
        let left = rest.starts_with('-');
        rest = rest.trim_start_matches('-');
        let width_argument = rest.starts_with('*');
        let (width, tail) = if width_argument { (None, &rest[1..]) } else { number(rest) };
        rest = tail;
        if width_argument && rest.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(Error::unsupported("a width of format() by position", "Give the width as a number."));
        }
        let kind = rest.chars().next().ok_or_else(unterminated)?;
        let width = width.unwrap_or(0);
        Ok(Directive { position, left, width, width_argument, kind, rest: &rest[kind.len_utf8()..] })
    }
}

/// A template of `to_char`, taken apart.
#[derive(Default)]
struct Picture {
    /// `9`, `0`, `,` and literals, in order, before and after the point.
    items: Vec<Item>,
    integers: usize,
    decimals: usize,
    /// The first digit position that is always shown.
    zero_from: Option<usize>,
    /// How many decimals are shown even if they are zeros.
    zero_decimals: usize,
    point: bool,
    fill: bool,
    sign: Sign,
}

#[derive(Clone, Copy, PartialEq)]
enum Item {
    Digit,
    Comma,
    Point,
    Literal(char),
}

#[derive(Clone, Copy, Default, PartialEq)]
enum Sign {
    #[default]
    Minus,
    /// `S` or `SG` at the front: always shown.
    Anchored,
    /// `S` at the end.
    Trailing,
    /// `MI` at the end.
    TrailingMinus,
}

fn picture(template: &str) -> Result<Picture> {
    let mut picture = Picture { fill: true, ..Picture::default() };
    let mut rest = template;
    while let Some(c) = rest.chars().next() {
        let upper = rest.get(..2).map(str::to_ascii_uppercase).unwrap_or_default();
        let mut length = c.len_utf8();
        match (c, upper.as_str()) {
            (_, "FM") => {
                picture.fill = false;
                length = 2;
            }
            (_, "MI") if picture.integers > 0 => {
                picture.sign = Sign::TrailingMinus;
                length = 2;
            }
            (_, "PR" | "TH" | "RN" | "EE" | "SG" | "PL" | "MI") => return Err(refused(&upper)),
            ('9' | '0', _) => {
                let place = picture.integers + picture.decimals;
                if c == '0' && picture.zero_from.is_none() && !picture.point {
                    picture.zero_from = Some(place);
                }
                if picture.point {
                    picture.decimals += 1;
                    picture.zero_decimals = if c == '0' { picture.decimals } else { picture.zero_decimals };
                } else {
                    picture.integers += 1;
                }
                picture.items.push(Item::Digit);
            }
            (',' | 'G' | 'g', _) => picture.items.push(Item::Comma),
            ('.' | 'D' | 'd', _) if !picture.point => {
                picture.point = true;
                picture.items.push(Item::Point);
            }
            ('.', _) => return Err(Error::new(SqlState::SYNTAX_ERROR, "multiple decimal points")),
            ('S' | 's', _) if picture.integers == 0 => picture.sign = Sign::Anchored,
            ('S' | 's', _) => picture.sign = Sign::Trailing,
            ('"', _) => {
                let end = rest[1..].find('"').map_or(rest.len(), |at| at + 2);
                let inner = &rest[1..end.max(2) - 1];
                picture.items.extend(inner.chars().map(Item::Literal));
                length = end;
            }
            _ if c.is_ascii_alphabetic() => return Err(refused(&c.to_string())),
            _ => picture.items.push(Item::Literal(c)),
        }
        rest = &rest[length..];
    }
    Ok(picture)
}

fn refused(pattern: &str) -> Error {
    Error::unsupported(
        format!("the pattern {pattern} in to_char of a number"),
        "Use 9, 0, a point, commas, S, MI and FM.",
    )
}

/// `to_char(numeric, template)`.
fn format_number(value: &Numeric, template: &str) -> Result<String> {
    let picture = picture(template)?;
    if !value.is_finite() {
        return Err(Error::unsupported("to_char of NaN and Infinity", "Test for them first."));
    }
    let rounded = value.round(picture.decimals as i32);
    let negative = rounded.is_negative();
    let digits = rounded.abs().to_string();
    let (integer, fraction) = digits.split_once('.').unwrap_or((&digits, ""));
    let integer = integer.trim_start_matches('0');
    let overflow = integer.len() > picture.integers;
    let body = body(&picture, integer, fraction, overflow);
    Ok(signed(&picture, &body, negative, overflow))
}

/// The digits under the template, blanks for leading zeros.
fn body(picture: &Picture, integer: &str, fraction: &str, overflow: bool) -> String {
    let missing = picture.integers.saturating_sub(integer.len());
    let first_shown = picture.zero_from.map_or(missing, |zero| zero.min(missing));
    // Without a 0 and with no integer digits, the last place shows a zero only when no decimals follow.
    let lone_zero = integer.is_empty() && picture.decimals == 0 && picture.zero_from.is_none();
    let (mut place, mut out) = (0usize, String::new());
    let mut fraction_digits = fraction.chars();
    let kept = match picture.fill {
        true => fraction.len(),
        false => fraction.trim_end_matches('0').len().max(picture.zero_decimals),
    };
    let mut after_point = 0;
    for item in &picture.items {
        let started = place > first_shown;
        match item {
            Item::Literal(c) => out.push(*c),
            Item::Point => {
                out.push('.');
                place = usize::MAX / 2;
            }
            Item::Comma if started => out.push(','),
            Item::Comma if picture.fill => out.push(' '),
            Item::Comma => {}
            Item::Digit if place >= usize::MAX / 2 => {
                let digit = fraction_digits.next().unwrap_or('0');
                after_point += 1;
                if after_point <= kept {
                    out.push(if overflow { '#' } else { digit });
                }
            }
            Item::Digit => {
                match place.checked_sub(missing) {
                    _ if overflow => out.push('#'),
                    Some(at) => out.push(char::from(integer.as_bytes()[at])),
                    None if place >= first_shown => out.push('0'),
                    None if lone_zero && place + 1 == picture.integers => out.push('0'),
                    None if picture.fill => out.push(' '),
                    None => {}
                }
                place += 1;
            }
        }
    }
    out
}

/// Puts the sign right before the first digit, or where the template anchors it.
fn signed(picture: &Picture, body: &str, negative: bool, overflow: bool) -> String {
    let blanks = body.len() - body.trim_start_matches(' ').len();
    let (padding, digits) = body.split_at(blanks);
    match picture.sign {
        Sign::Minus if negative => format!("{padding}-{digits}"),
        Sign::Minus if picture.fill => format!("{padding} {digits}"),
        Sign::Minus => {
            let _ = overflow;
            body.to_owned()
        }
        Sign::Anchored => format!("{padding}{}{digits}", if negative { '-' } else { '+' }),
        Sign::Trailing => format!("{body}{}", if negative { '-' } else { '+' }),
        Sign::TrailingMinus if negative => format!("{body}-"),
        Sign::TrailingMinus if picture.fill => format!("{body} "),
        Sign::TrailingMinus => body.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_formatted_as_postgres_formats_them() {
        // Each taken from PostgreSQL 15.
        for (value, template, expected) in [
            ("1234.5", "9,999.99", " 1,234.50"),
            ("-1234.5", "9,999.99", "-1,234.50"),
            ("1234567", "9,999", " #,###"),
            ("12", "9999", "   12"),
            ("12", "0000", " 0012"),
            ("12", "FM9999", "12"),
            ("0.5", "9.99", "  .50"),
            ("0.5", "0.99", " 0.50"),
            ("0.5", "FM990.00", "0.50"),
            ("12.5", "FM999.999", "12.5"),
            ("0", "999", "   0"),
            ("0", "FM999", "0"),
            ("12", "S999", " +12"),
            ("-12", "999S", " 12-"),
            ("-12", "999MI", " 12-"),
            ("12", "999MI", " 12 "),
            ("1234", "9G999", " 1,234"),
            ("12", "9,999", "    12"),
        ] {
            let number = Numeric::parse(value).unwrap();
            assert_eq!(format_number(&number, template).unwrap(), expected, "{value} {template}");
        }
    }
}
