//! What `varchar(n)`, `char(n)`, `numeric(p,s)`, `timestamp(p)` and their kin do to a value.

use super::datum::Datum;
use super::interval::Interval;
use super::pg_type::PgType;
use super::{calendar, datetime};
use crate::error::{Error, Result, SqlState};

/// Brings a value to its column's declared size. `modifier` is `atttypmod`, -1 for none. An explicit cast cuts text that
/// is too long; an assignment refuses it unless only blanks are cut.
pub fn apply_modifier(datum: Datum, data_type: PgType, modifier: i32, explicit_cast: bool) -> Result<Datum> {
    Ok(match (data_type, datum) {
        (PgType::Varchar, Datum::Text(text)) if modifier >= 4 => {
            Datum::Text(fit_varchar(&text, (modifier - 4) as usize, explicit_cast)?.into())
        }
        (PgType::Bpchar, Datum::Text(text)) => Datum::Text(fit_bpchar(&text, modifier, explicit_cast)?.into()),
        (PgType::Numeric, Datum::Numeric(value)) if modifier >= 4 => {
            let (precision, scale) = numeric_precision(modifier);
            Datum::Numeric(value.with_precision(precision, scale)?)
        }
        (PgType::Timestamp, Datum::Timestamp(value)) => Datum::Timestamp(round_timestamp(value, modifier)?),
        (PgType::Timestamptz, Datum::Timestamptz(value)) => Datum::Timestamptz(round_timestamp(value, modifier)?),
        (PgType::Time, Datum::Time(value)) => Datum::Time(round_microseconds(value, modifier)),
        (PgType::Interval, Datum::Interval(value)) if modifier >= 0 => {
            let microseconds = round_microseconds(value.microseconds, modifier & 0xFFFF);
            Datum::Interval(Interval { microseconds, ..value })
        }
        (_, Datum::Array { element, values }) if modifier >= 0 => {
            let values = values.into_iter().map(|value| apply_modifier(value, element, modifier, explicit_cast));
            Datum::Array { element, values: values.collect::<Result<_>>()? }
        }
        (_, datum) => datum,
    })
}

/// The precision and scale that a numeric's `atttypmod` holds. The scale has 11 bits and a sign.
pub fn numeric_precision(modifier: i32) -> (u32, i32) {
    let packed = modifier - 4;
    let scale = packed & 0x7FF;
    ((packed >> 16) as u32 & 0xFFFF, (scale ^ 1024) - 1024)
}

/// The text cut to `length` characters.
pub(crate) fn fit_varchar(text: &str, length: usize, explicit_cast: bool) -> Result<&str> {
    let Some((at, _)) = text.char_indices().nth(length) else { return Ok(text) };
    if !explicit_cast && !text[at..].bytes().all(|byte| byte == b' ') {
        return Err(Error::new(
            SqlState::STRING_DATA_RIGHT_TRUNCATION,
            format!("value too long for type character varying({length})"),
        ));
    }
    Ok(&text[..at])
}

/// A `char(n)`, padded to its length; without a length, as it is.
pub(crate) fn fit_bpchar(text: &str, modifier: i32, explicit_cast: bool) -> Result<String> {
    if modifier < 4 {
        return Ok(text.to_owned());
    }
    let length = (modifier - 4) as usize;
    let Some((at, _)) = text.char_indices().nth(length) else {
        let missing = length - text.chars().count();
        return Ok(format!("{text}{:missing$}", ""));
    };
    if !explicit_cast && !text[at..].bytes().all(|byte| byte == b' ') {
        return Err(Error::new(
            SqlState::STRING_DATA_RIGHT_TRUNCATION,
            format!("value too long for type character({length})"),
        ));
    }
    Ok(text[..at].to_owned())
}

fn round_timestamp(value: i64, modifier: i32) -> Result<i64> {
    if datetime::is_infinite(value) {
        return Ok(value);
    }
    let rounded = round_microseconds(value, modifier);
    match calendar::timestamp_in_range(rounded) {
        true => Ok(rounded),
        false => Err(datetime::timestamp_out_of_range()),
    }
}

/// Half away from zero, to `places` of a second; 0 to 5.
fn round_microseconds(value: i64, places: i32) -> i64 {
    let Some(unit) = u32::try_from(places).ok().filter(|places| *places < 6).map(|places| 10i64.pow(6 - places)) else {
        return value;
    };
    match value >= 0 {
        true => value.saturating_add(unit / 2) / unit * unit,
        false => -((-value).saturating_add(unit / 2) / unit * unit),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::TextStyle;

    fn apply(data_type: PgType, text: &str, modifier: i32, explicit: bool) -> Result<String> {
        let datum = Datum::from_text(data_type, text, &TextStyle::default()).unwrap();
        let datum = apply_modifier(datum, data_type, modifier, explicit)?;
        Ok(datum.to_text(&TextStyle::default()).unwrap())
    }

    #[test]
    fn text_too_long_is_cut_by_casts_and_refused_by_assignments() {
        assert_eq!(apply(PgType::Varchar, "abc  ", 4 + 3, false).unwrap(), "abc");
        assert_eq!(apply(PgType::Varchar, "äbcd", 4 + 3, true).unwrap(), "äbc");
        let error = apply(PgType::Varchar, "abcd", 4 + 3, false).unwrap_err();
        assert_eq!(error.sqlstate(), SqlState::STRING_DATA_RIGHT_TRUNCATION);
        assert_eq!(error.message(), "value too long for type character varying(3)");
        assert_eq!(apply(PgType::Bpchar, "ab", 4 + 3, false).unwrap(), "ab ");
        assert_eq!(
            apply(PgType::Bpchar, "abcd", 4 + 3, false).unwrap_err().message(),
            "value too long for type character(3)"
        );
    }

    #[test]
    fn numbers_and_timestamps_are_rounded() {
        assert_eq!(apply(PgType::Numeric, "1.005", ((10 << 16) | 2) + 4, false).unwrap(), "1.01");
        assert_eq!(numeric_precision(((5 << 16) | (2045)) + 4), (5, -3));
        assert_eq!(apply(PgType::Timestamp, "2020-01-01 00:00:00.5", 0, false).unwrap(), "2020-01-01 00:00:01");
        assert_eq!(apply(PgType::Timestamp, "1999-01-01 00:00:00.1236", 3, false).unwrap(), "1999-01-01 00:00:00.124");
        assert_eq!(apply(PgType::Timestamp, "infinity", 0, false).unwrap(), "infinity");
        assert_eq!(apply(PgType::Interval, "00:00:01.55", 1, false).unwrap(), "00:00:01.6");
    }
}
