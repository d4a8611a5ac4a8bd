//! `to_date`: a date read by a format. Patterns that are not of dates are refused.

use super::format::pattern_at;
use super::make_date;
use super::parse::MONTHS;
use crate::error::{Error, Result, SqlState};

/// `to_date(text, format)`: days since 2000-01-01.
pub fn read_date(text: &str, format: &str) -> Result<i32> {
    let (mut year, mut month, mut day) = (1i64, 1i64, 1i64);
    let mut input = text.trim_start();
    let mut rest = format;
    while let Some(c) = rest.chars().next() {
        let unprefixed = rest.strip_prefix("FM").or_else(|| rest.strip_prefix("fm")).unwrap_or(rest);
        let Some(pattern) = pattern_at(unprefixed) else {
            rest = &rest[c.len_utf8()..];
            // Separators match any separators, and may be missing.
            input = input.trim_start_matches(|c: char| !c.is_alphanumeric());
            continue;
        };
        rest = &unprefixed[pattern.len()..];
        input = input.trim_start();
        let upper = pattern.to_ascii_uppercase();
        let width = match upper.as_str() {
            "YYYY" | "YYY" | "YY" | "Y" | "MM" | "DD" => {
                // A number that nothing but another number follows is read to its width.
                let followed = pattern_at(rest).is_some();
                if followed { upper.len() } else { if upper.starts_with('Y') { 9 } else { 2 } }
            }
            "MON" | "MONTH" => {
                (month, input) = read_month(input, text, upper.len() == 3)?;
                continue;
            }
            _ => {
                let construct = format!("the pattern {pattern} in to_date");
                return Err(Error::unsupported(construct, "Use YYYY, MM, DD and Mon, or a cast from ISO text."));
            }
        };
        let digits = input.bytes().take(width).take_while(u8::is_ascii_digit).count();
        let Ok(value) = input[..digits].parse::<i64>() else {
            return Err(invalid(input, pattern));
        };
        input = &input[digits..];
        match upper.as_bytes()[0] {
            b'Y' => year = if digits < 4 && upper.len() < 4 { full_year(value) } else { value },
            b'M' => month = value,
            _ => day = value,
        }
    }
    make_date(year, month, day).map_err(|_| {
        Error::new(SqlState::DATETIME_FIELD_OVERFLOW, format!("date/time field value out of range: \"{text}\""))
    })
}

fn read_month<'t>(input: &'t str, text: &str, short: bool) -> Result<(i64, &'t str)> {
    let lower = input.to_ascii_lowercase();
    for (index, month) in MONTHS.iter().enumerate() {
        let name = if short { &month[..3] } else { month };
        if lower.starts_with(name) {
            return Ok((index as i64 + 1, &input[name.len()..]));
        }
    }
    Err(invalid(text, if short { "Mon" } else { "Month" }))
}

/// The year nearest 2020 that ends in these digits.
fn full_year(value: i64) -> i64 {
    match value {
        0..70 => value + 2000,
        70..100 => value + 1900,
        100..520 => value + 2000,
        520..1000 => value + 1000,
        _ => value,
    }
}

fn invalid(input: &str, pattern: &str) -> Error {
    let shown: String = input.chars().take(pattern.len()).collect();
    Error::new(SqlState::INVALID_DATETIME_FORMAT, format!("invalid value \"{shown}\" for \"{pattern}\""))
        .detail("Value must be an integer.")
}

#[cfg(test)]
mod tests {
    use super::super::parse_date;
    use super::*;
    use crate::types::TextStyle;

    #[test]
    fn dates_are_read_by_their_format() {
        for (text, format, expected) in [
            ("2020-01-05", "YYYY-MM-DD", "2020-01-05"),
            ("20200105", "YYYYMMDD", "2020-01-05"),
            ("05 Dec 2000", "DD Mon YYYY", "2000-12-05"),
            ("1/2/99", "MM/DD/YY", "1999-01-02"),
            ("5 january 2020", "DD Month YYYY", "2020-01-05"),
        ] {
            assert_eq!(
                read_date(text, format).unwrap(),
                parse_date(expected, &TextStyle::default()).unwrap(),
                "{text}"
            );
        }
        assert_eq!(read_date("2020-13-01", "YYYY-MM-DD").unwrap_err().sqlstate(), SqlState::DATETIME_FIELD_OVERFLOW);
        assert_eq!(read_date("x", "YYYY").unwrap_err().sqlstate(), SqlState::INVALID_DATETIME_FORMAT);
        assert_eq!(read_date("1", "HH24").unwrap_err().sqlstate(), SqlState::FEATURE_NOT_SUPPORTED);
    }
}
