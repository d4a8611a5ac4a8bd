//! The fields of one row.

use std::borrow::Cow;

use super::{Form, Style};
use crate::error::{Error, Result, SqlState};

/// A field as it lies in its row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Raw<'r> {
    pub(super) bytes: &'r [u8],
    /// CSV: it has quotes somewhere.
    quoted: bool,
}

/// How a field's column is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Forced {
    pub(super) not_null: bool,
    pub(super) null: bool,
}

impl Forced {
    pub(super) fn of(style: &Style, column: &str) -> Forced {
        Forced { not_null: style.force_not_null.contain(column), null: style.force_null.contain(column) }
    }
}

/// The fields of a row without its end, one after the other.
#[derive(Clone, Debug)]
pub(super) struct Fields<'r, 's> {
    style: &'s Style,
    row: &'r [u8],
    at: usize,
    /// The last one had no delimiter behind it.
    over: bool,
}

impl<'r, 's> Fields<'r, 's> {
    pub(super) fn new(row: &'r [u8], style: &'s Style) -> Fields<'r, 's> {
        Fields { style, row, at: 0, over: false }
    }

    /// The next field, as it lies there; `None` behind the last.
    ///
    /// # Errors
    /// 22P04: a quoted field does not end.
    pub(super) fn next(&mut self) -> Result<Option<Raw<'r>>> {
        if self.over {
            return Ok(None);
        }
        let begin = self.at;
        let (end, quoted) = match self.style.form {
            Form::Csv => self.end_of_csv()?,
            _ => (self.end_of_text(), false),
        };
        self.over = end == self.row.len();
        self.at = end + 1;
        Ok(Some(Raw { bytes: &self.row[begin..end], quoted }))
    }

    fn end_of_text(&self) -> usize {
        let mut at = self.at;
        while let Some(found) = self.row.get(at..).and_then(|rest| memchr::memchr2(self.style.delimiter, b'\\', rest)) {
            at += found;
            if self.row[at] != b'\\' {
                return at;
            }
            at += 2;
        }
        self.row.len()
    }

    fn end_of_csv(&self) -> Result<(usize, bool)> {
        let Style { delimiter, quote, escape, .. } = *self.style;
        let (mut at, mut quoted) = (self.at, false);
        loop {
            match self.row.get(at..).and_then(|rest| memchr::memchr2(delimiter, quote, rest)) {
                None => return Ok((self.row.len(), quoted)),
                Some(found) if self.row[at + found] == delimiter => return Ok((at + found, quoted)),
                Some(found) => at += found + 1,
            }
            quoted = true;
            loop {
                let found = self.row.get(at..).and_then(|rest| memchr::memchr2(quote, escape, rest));
                at += found.ok_or_else(|| bad_format("unterminated CSV quoted field"))?;
                let next = self.row.get(at + 1);
                if self.row[at] == escape && next.is_some_and(|next| *next == escape || *next == quote) {
                    at += 2;
                } else {
                    at += 1;
                    if self.row[at - 1] == quote {
                        break;
                    }
                }
            }
        }
    }
}

impl<'r> Raw<'r> {
    /// The value that a field stands for; `None` is NULL.
    pub(super) fn value(self, style: &Style, forced: Forced) -> Option<Cow<'r, [u8]>> {
        if style.form != Form::Csv {
            return (self.bytes != style.null.as_bytes()).then(|| unescaped_text(self.bytes));
        }
        let value = if self.quoted { unquoted(self.bytes, style) } else { Cow::Borrowed(self.bytes) };
        let is_null = *value == *style.null.as_bytes();
        match is_null && if self.quoted { forced.null } else { !forced.not_null } {
            true => None,
            false => Some(value),
        }
    }
}

/// The text form's backslashes, read.
fn unescaped_text(bytes: &[u8]) -> Cow<'_, [u8]> {
    let Some(first) = memchr::memchr(b'\\', bytes) else { return Cow::Borrowed(bytes) };
    let mut value = Vec::with_capacity(bytes.len());
    value.extend_from_slice(&bytes[..first]);
    let mut rest = bytes[first..].iter().copied().peekable();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            value.push(byte);
            continue;
        }
        let Some(escaped) = rest.next() else { break };
        value.push(match escaped {
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'v' => 11,
            b'0'..=b'7' => {
                let mut number = u32::from(escaped - b'0');
                for _ in 0..2 {
                    let Some(digit) = rest.next_if(|byte| matches!(byte, b'0'..=b'7')) else { break };
                    number = number << 3 | u32::from(digit - b'0');
                }
                number as u8
            }
            b'x' => {
                let hex = |byte: u8| (byte as char).to_digit(16);
                let mut number = None;
                for _ in 0..2 {
                    let Some(digit) = rest.next_if(|byte| hex(*byte).is_some()).and_then(hex) else { break };
                    number = Some(number.unwrap_or(0) << 4 | digit);
                }
                number.map_or(b'x', |number| number as u8)
            }
            other => other,
        });
    }
    Cow::Owned(value)
}

fn unquoted<'r>(bytes: &[u8], style: &Style) -> Cow<'r, [u8]> {
    let mut value = Vec::with_capacity(bytes.len());
    let (mut at, mut within) = (0, false);
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        if !within {
            if byte == style.quote {
                within = true;
            } else {
                value.push(byte);
            }
            continue;
        }
        if byte == style.escape
            && let Some(&next) = bytes.get(at)
            && (next == style.escape || next == style.quote)
        {
            value.push(next);
            at += 1;
        } else if byte == style.quote {
            within = false;
        } else {
            value.push(byte);
        }
    }
    Cow::Owned(value)
}

/// All the values of a row without its end, whose columns have these names. `None` is NULL.
///
/// # Errors
/// 22P04: it has fewer or more fields, or cannot be read.
pub fn fields<'r>(row: &'r [u8], style: &Style, columns: &[String]) -> Result<Vec<Option<Cow<'r, [u8]>>>> {
    let mut values = Vec::with_capacity(columns.len());
    if style.form == Form::Binary {
        let mut rest = binary_fields(row, columns.len())?;
        for _ in columns {
            let (value, after) = binary_field(rest)?.ok_or_else(|| bad_format("unexpected EOF in COPY data"))?;
            values.push(value.map(Cow::Borrowed));
            rest = after;
        }
        return Ok(values);
    }
    let mut fields = Fields::new(row, style);
    for column in columns {
        let Some(raw) = fields.next()? else { return Err(missing(column)) };
        values.push(raw.value(style, Forced::of(style, column)));
    }
    match fields.next()? {
        None => Ok(values),
        Some(_) => Err(bad_format("extra data after last expected column")),
    }
}

/// What follows the number of a row's fields, which must be `expected`.
///
/// # Errors
/// 22P04.
pub(super) fn binary_fields(row: &[u8], expected: usize) -> Result<&[u8]> {
    let Some((count, rest)) = row.split_first_chunk::<2>() else {
        return Err(bad_format("unexpected EOF in COPY data"));
    };
    let count = i16::from_be_bytes(*count);
    if usize::try_from(count).is_ok_and(|count| count == expected) {
        return Ok(rest);
    }
    Err(bad_format(format!("row field count is {count}, expected {expected}")))
}

/// A field's value (`None` is NULL) and what follows it; `None`: it has not arrived whole.
///
/// # Errors
/// 22P04: its length is none.
#[expect(clippy::type_complexity, reason = "a value that may be NULL, if it is there")]
pub(super) fn binary_field(bytes: &[u8]) -> Result<Option<(Option<&[u8]>, &[u8])>> {
    let Some((length, rest)) = bytes.split_first_chunk::<4>() else { return Ok(None) };
    match i32::from_be_bytes(*length) {
        -1 => Ok(Some((None, rest))),
        length => {
            let length = usize::try_from(length).map_err(|_| bad_format("invalid field size"))?;
            Ok(rest.split_at_checked(length).map(|(value, rest)| (Some(value), rest)))
        }
    }
}

pub(super) fn missing(column: &str) -> Error {
    bad_format(format!("missing data for column \"{column}\""))
}

/// 22P04.
pub(super) fn bad_format(message: impl Into<String>) -> Error {
    Error::new(SqlState::BAD_COPY_FILE_FORMAT, message)
}
