//! Intervals as text: Postgres's own style out, every style in.
//!
//! <https://www.postgresql.org/docs/current/datatype-datetime.html#DATATYPE-INTERVAL-INPUT>

use bytes::BytesMut;

use super::Interval;
use crate::error::{Error, Result, SqlState};
use crate::types::calendar::{
    MICROSECONDS_PER_DAY, MICROSECONDS_PER_HOUR, MICROSECONDS_PER_MINUTE, MICROSECONDS_PER_SECOND,
};
use crate::types::datetime::{fraction_of_second, put_fraction, put_two};

/// Longer texts are no interval: the bound of Postgres's own work area.
const MAX_LENGTH: usize = 256;

impl Interval {
    pub fn parse(text: &str) -> Result<Interval> {
        let invalid = || {
            Error::new(SqlState::INVALID_DATETIME_FORMAT, format!("invalid input syntax for type interval: \"{text}\""))
        };
        if text.len() > MAX_LENGTH || !text.is_ascii() {
            return Err(invalid());
        }
        let mut sum = Sum::default();
        let trimmed = text.trim();
        let read = match trimmed.strip_prefix('P') {
            Some(rest) => sum.iso_8601(rest),
            None => sum.fields(trimmed),
        };
        read.map_err(|problem| match problem {
            Problem::Syntax => invalid(),
            Problem::Range => {
                Error::new(SqlState::INTERVAL_FIELD_OVERFLOW, format!("interval field value out of range: \"{text}\""))
            }
        })?;
        sum.interval()
    }

    /// `1 year 2 mons -3 days +04:05:06.7`; zero is `00:00:00`.
    pub fn write_text(&self, out: &mut BytesMut) {
        let start = out.len();
        let mut negative_before = false;
        let (years, months) = (self.months / 12, self.months % 12);
        for (value, unit) in [(years, "year"), (months, "mon"), (self.days, "day")] {
            if value == 0 {
                continue;
            }
            let space = if out.len() > start { " " } else { "" };
            let sign = if negative_before && value > 0 { "+" } else { "" };
            let plural = if value == 1 { "" } else { "s" };
            out.extend_from_slice(format!("{space}{sign}{value} {unit}{plural}").as_bytes());
            negative_before = value < 0;
        }
        if self.microseconds == 0 && out.len() > start {
            return;
        }
        if out.len() > start {
            out.extend_from_slice(b" ");
        }
        if self.microseconds < 0 {
            out.extend_from_slice(b"-");
        } else if negative_before {
            out.extend_from_slice(b"+");
        }
        let time = self.microseconds.unsigned_abs();
        let seconds = time / MICROSECONDS_PER_SECOND as u64;
        match seconds / 3600 {
            hours @ 0..100 => put_two(hours as u32, out),
            hours => out.extend_from_slice(hours.to_string().as_bytes()),
        }
        out.extend_from_slice(b":");
        put_two((seconds / 60 % 60) as u32, out);
        out.extend_from_slice(b":");
        put_two((seconds % 60) as u32, out);
        put_fraction((time % MICROSECONDS_PER_SECOND as u64) as u32, out);
    }
}

enum Problem {
    Syntax,
    Range,
}

/// A unit of time, and how its whole and its fraction are added up.
#[derive(Clone, Copy, PartialEq)]
enum Unit {
    Microsecond,
    Millisecond,
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Year,
    Decade,
    Century,
    Millennium,
}

impl Unit {
    fn named(word: &str) -> Option<Unit> {
        Some(match word {
            "us" | "usec" | "usecs" | "usecond" | "useconds" | "microsecond" | "microseconds" | "microsecon" => {
                Unit::Microsecond
            }
            "ms" | "msec" | "msecs" | "msecond" | "mseconds" | "millisecond" | "milliseconds" | "millisecon" => {
                Unit::Millisecond
            }
            "s" | "sec" | "secs" | "second" | "seconds" => Unit::Second,
            "m" | "min" | "mins" | "minute" | "minutes" => Unit::Minute,
            "h" | "hr" | "hrs" | "hour" | "hours" => Unit::Hour,
            "d" | "day" | "days" => Unit::Day,
            "w" | "week" | "weeks" => Unit::Week,
            "mon" | "mons" | "month" | "months" => Unit::Month,
            "y" | "yr" | "yrs" | "year" | "years" => Unit::Year,
            "dec" | "decs" | "decade" | "decades" => Unit::Decade,
            "c" | "cent" | "century" | "centuries" => Unit::Century,
            "mil" | "mils" | "millennia" | "millennium" => Unit::Millennium,
            _ => return None,
        })
    }

    /// Microseconds of the units below a day.
    fn microseconds(self) -> Option<i64> {
        Some(match self {
            Unit::Microsecond => 1,
            Unit::Millisecond => 1_000,
            Unit::Second => MICROSECONDS_PER_SECOND,
            Unit::Minute => MICROSECONDS_PER_MINUTE,
            Unit::Hour => MICROSECONDS_PER_HOUR,
            _ => return None,
        })
    }

    /// Months of the units above a month.
    fn months(self) -> i64 {
        match self {
            Unit::Year => 12,
            Unit::Decade => 120,
            Unit::Century => 1_200,
            Unit::Millennium => 12_000,
            _ => 1,
        }
    }
}

/// The parts of a number as written, its sign applied to both.
#[derive(Clone, Copy)]
struct Amount {
    whole: i64,
    fraction: f64,
}

#[derive(Default)]
struct Sum {
    months: i64,
    days: i64,
    microseconds: i64,
    /// The units that were given, one bit each: none may come twice.
    seen: u32,
}

impl Sum {
    fn interval(&self) -> Result<Interval> {
        match (i32::try_from(self.months), i32::try_from(self.days)) {
            (Ok(months), Ok(days)) => Ok(Interval { months, days, microseconds: self.microseconds }),
            _ => Err(Error::new(SqlState::DATETIME_FIELD_OVERFLOW, "interval out of range")),
        }
    }

    /// Numbers with units, clock readings, and `ago`.
    fn fields(&mut self, text: &str) -> Result<(), Problem> {
        let mut rest = text.trim_start_matches('@').trim_start();
        let mut pending: Option<Amount> = None;
        let (mut any, mut ago) = (false, false);
        while let Some(byte) = rest.bytes().next() {
            let length = match byte {
                _ if byte.is_ascii_whitespace() => 1,
                b'0'..=b'9' | b'+' | b'-' | b'.' => {
                    if let Some(days) = pending.take() {
                        // `1 2:03:04`: a number before a clock counts days.
                        self.add(Unit::Day, days)?;
                    }
                    any = true;
                    self.number(rest, &mut pending)?
                }
                _ if byte.is_ascii_alphabetic() => {
                    let length = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
                    let word = rest[..length].to_ascii_lowercase();
                    match (Unit::named(&word), pending.take()) {
                        (Some(unit), Some(amount)) => self.add(unit, amount)?,
                        (None, None) if word == "ago" && any && !ago => ago = true,
                        _ => return Err(Problem::Syntax),
                    }
                    length
                }
                _ => return Err(Problem::Syntax),
            };
            rest = &rest[length..];
        }
        match pending {
            Some(seconds) => self.add(Unit::Second, seconds)?,
            None if any => {}
            None => return Err(Problem::Syntax),
        }
        if ago { self.negate() } else { Ok(()) }
    }

    /// A number, which waits for its unit, or a clock reading or `years-months`. Gives the length read.
    fn number(&mut self, text: &str, pending: &mut Option<Amount>) -> Result<usize, Problem> {
        let sign_length = usize::from(text.starts_with(['+', '-']));
        let negative = text.starts_with('-');
        let blanks = text[sign_length..].bytes().take_while(u8::is_ascii_whitespace).count();
        let start = if sign_length > 0 { sign_length + blanks } else { 0 };
        let body = &text[start..];
        let length = body.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
        let (number, tail) = body.split_at(length);
        let sign = if negative { -1 } else { 1 };
        if tail.starts_with(':') {
            let length = body.bytes().take_while(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b':')).count();
            self.clock(&body[..length], sign)?;
            return Ok(start + length);
        }
        if tail.starts_with('-') && tail[1..].starts_with(|c: char| c.is_ascii_digit()) {
            let digits = tail[1..].bytes().take_while(u8::is_ascii_digit).count();
            let months: i64 = tail[1..=digits].parse().map_err(|_| Problem::Range)?;
            let years: i64 = number.parse().map_err(|_| Problem::Syntax)?;
            if months > 11 {
                return Err(Problem::Range);
            }
            self.add(Unit::Year, Amount { whole: sign * years, fraction: 0.0 })?;
            self.add(Unit::Month, Amount { whole: sign * months, fraction: 0.0 })?;
            return Ok(start + length + 1 + digits);
        }
        *pending = Some(amount(number, negative)?);
        Ok(start + length)
    }

    /// `h:mm`, `h:mm:ss[.f]` or `mm:ss.f`.
    fn clock(&mut self, text: &str, sign: i64) -> Result<(), Problem> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Problem::Syntax);
        }
        let mut parts = [0i64; 3];
        let mut count = 0;
        for part in whole.split(':') {
            if count == 3 || part.is_empty() || !part.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(Problem::Syntax);
            }
            parts[count] = part.parse().map_err(|_| Problem::Range)?;
            count += 1;
        }
        let [hours, minutes, seconds] = match count {
            2 if text.contains('.') => [0, parts[0], parts[1]],
            _ => parts,
        };
        if minutes > 59 || seconds > 60 {
            return Err(Problem::Range);
        }
        let bits = [Unit::Hour, Unit::Minute, Unit::Second, Unit::Millisecond, Unit::Microsecond];
        for unit in bits {
            self.mark(unit)?;
        }
        let rest = minutes * MICROSECONDS_PER_MINUTE + seconds * MICROSECONDS_PER_SECOND + fraction_of_second(fraction);
        let time = hours.checked_mul(MICROSECONDS_PER_HOUR).and_then(|time| time.checked_add(rest));
        let time = time.and_then(|time| self.microseconds.checked_add(sign * time)).ok_or(Problem::Range)?;
        self.microseconds = time;
        Ok(())
    }

    fn mark(&mut self, unit: Unit) -> Result<(), Problem> {
        let bit = 1 << unit as u32;
        if self.seen & bit != 0 {
            return Err(Problem::Syntax);
        }
        self.seen |= bit;
        Ok(())
    }

    fn add(&mut self, unit: Unit, amount: Amount) -> Result<(), Problem> {
        self.mark(unit)?;
        self.add_unmarked(unit, amount)
    }

    /// Fractions of months become days of 30 a month, and fractions of days hours.
    fn add_unmarked(&mut self, unit: Unit, amount: Amount) -> Result<(), Problem> {
        let Amount { whole, fraction } = amount;
        if let Some(size) = unit.microseconds() {
            let rounded = (fraction * size as f64).round_ties_even() as i64;
            let time = whole.checked_mul(size).and_then(|time| time.checked_add(rounded));
            self.microseconds = time.and_then(|time| self.microseconds.checked_add(time)).ok_or(Problem::Range)?;
            return Ok(());
        }
        match unit {
            Unit::Day => self.add_days(whole, fraction),
            Unit::Week => {
                let days = fraction * 7.0;
                self.add_days(whole.checked_mul(7).ok_or(Problem::Range)?, 0.0)?;
                self.add_days(days.trunc() as i64, days.fract())
            }
            Unit::Month => {
                let days = fraction * 30.0;
                self.add_months(whole, 1)?;
                self.add_days(days.trunc() as i64, days.fract())
            }
            _ => {
                self.add_months(whole, unit.months())?;
                self.add_months((fraction * unit.months() as f64).round_ties_even() as i64, 1)
            }
        }
    }

    fn add_months(&mut self, count: i64, size: i64) -> Result<(), Problem> {
        let months = count.checked_mul(size).and_then(|months| months.checked_add(self.months));
        // A single field past an int is refused as Postgres refuses it; their sum is checked at the end.
        self.months = months.filter(|_| i32::try_from(count).is_ok()).ok_or(Problem::Range)?;
        Ok(())
    }

    fn add_days(&mut self, days: i64, fraction: f64) -> Result<(), Problem> {
        let sum = self.days.checked_add(days).filter(|sum| i32::try_from(*sum).is_ok());
        self.days = sum.ok_or(Problem::Range)?;
        let time = (fraction * MICROSECONDS_PER_DAY as f64).round_ties_even() as i64;
        self.microseconds = self.microseconds.checked_add(time).ok_or(Problem::Range)?;
        Ok(())
    }

    fn negate(&mut self) -> Result<(), Problem> {
        self.months = -self.months;
        self.days = -self.days;
        self.microseconds = self.microseconds.checked_neg().ok_or(Problem::Range)?;
        Ok(())
    }

    /// After the `P`: units with designators, or `YYYY-MM-DDTHH:MM:SS`.
    fn iso_8601(&mut self, text: &str) -> Result<(), Problem> {
        if text.is_empty() {
            return Err(Problem::Syntax);
        }
        let (date, time) = match text.split_once('T') {
            Some((date, time)) => (date, Some(time)),
            None => (text, None),
        };
        if time == Some("") {
            return Err(Problem::Syntax);
        }
        if date.contains(|c: char| c.is_ascii_alphabetic()) || date.is_empty() {
            self.designated(date, false)?;
        } else {
            self.alternative_date(date)?;
        }
        match time {
            None => Ok(()),
            Some(time) if time.contains(|c: char| c.is_ascii_alphabetic()) => self.designated(time, true),
            Some(time) if time.contains(':') => self.clock(time, 1),
            Some(time) if time.len() == 6 && time.bytes().all(|byte| byte.is_ascii_digit()) => {
                self.clock(&format!("{}:{}:{}", &time[..2], &time[2..4], &time[4..]), 1)
            }
            Some(_) => Err(Problem::Syntax),
        }
    }

    fn designated(&mut self, text: &str, time: bool) -> Result<(), Problem> {
        let mut rest = text;
        while !rest.is_empty() {
            let at = rest.find(|c: char| c.is_ascii_alphabetic()).ok_or(Problem::Syntax)?;
            let unit = match (&rest[at..=at], time) {
                ("Y", false) => Unit::Year,
                ("M", false) => Unit::Month,
                ("W", false) => Unit::Week,
                ("D", false) => Unit::Day,
                ("H", true) => Unit::Hour,
                ("M", true) => Unit::Minute,
                ("S", true) => Unit::Second,
                _ => return Err(Problem::Syntax),
            };
            let number = &rest[..at];
            let unsigned = number.strip_prefix(['+', '-']).unwrap_or(number);
            self.add_unmarked(unit, amount(unsigned, number.starts_with('-'))?)?;
            rest = &rest[at + 1..];
        }
        Ok(())
    }

    fn alternative_date(&mut self, date: &str) -> Result<(), Problem> {
        let parts: Vec<&str> = match date.contains('-') {
            true => date.split('-').collect(),
            false if date.len() == 8 => vec![&date[..4], &date[4..6], &date[6..]],
            false => vec![date],
        };
        for (part, unit) in parts.iter().zip([Unit::Year, Unit::Month, Unit::Day]) {
            self.add_unmarked(unit, amount(part, false)?)?;
        }
        if parts.len() > 3 { Err(Problem::Syntax) } else { Ok(()) }
    }
}

/// `digits[.digits]`, signed.
fn amount(text: &str, negative: bool) -> Result<Amount, Problem> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if whole.len() + fraction.len() == 0 || !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) {
        return Err(Problem::Syntax);
    }
    let whole: i64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| Problem::Range)? };
    let fraction: f64 = format!("0.{fraction}0").parse().map_err(|_| Problem::Syntax)?;
    Ok(match negative {
        true => Amount { whole: -whole, fraction: -fraction },
        false => Amount { whole, fraction },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let mut out = BytesMut::new();
        Interval::parse(text).unwrap_or_else(|error| panic!("{text}: {error}")).write_text(&mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn every_style_is_read_and_shown_as_postgres_shows_it() {
        // Each taken from PostgreSQL 15.
        for (text, expected) in [
            ("1 day 02:03:04", "1 day 02:03:04"),
            ("1-2", "1 year 2 mons"),
            ("1 2:03:04", "1 day 02:03:04"),
            ("P1Y2M3DT4H5M6.7S", "1 year 2 mons 3 days 04:05:06.7"),
            ("-1 day +2:03", "-1 days +02:03:00"),
            ("1.5 months", "1 mon 15 days"),
            ("1 day ago", "-1 days"),
            ("5", "00:00:05"),
            ("1.5 years", "1 year 6 mons"),
            ("@ 1 minute", "00:01:00"),
            ("1 week 2.5 days", "9 days 12:00:00"),
            ("04:05", "04:05:00"),
            ("1:2.5", "00:01:02.5"),
            ("-0:00:01.5", "-00:00:01.5"),
            ("10 us 5 ms", "00:00:00.00501"),
            ("P0001-02-03T04:05:06", "1 year 2 mons 3 days 04:05:06"),
            ("1y 2mon 3d 4h 5m 6s", "1 year 2 mons 3 days 04:05:06"),
            ("+1 -2:00", "1 day -02:00:00"),
            ("P1.5W", "10 days 12:00:00"),
            ("PT-5M", "-00:05:00"),
            ("3 centuries", "300 years"),
            ("1 decade 1 mil", "1010 years"),
            ("P1.1Y", "1 year 1 mon"),
            ("1.999999 mons", "1 mon 29 days 23:59:57.408"),
            ("100:00:00", "100:00:00"),
            ("1 day ago 2 hours", "-1 days -02:00:00"),
            ("1 years 2 months 3 days 4 hours 5 minutes 6 seconds ago", "-1 years -2 mons -3 days -04:05:06"),
            ("-1 mon +1 day", "-1 mons +1 day"),
            ("0", "00:00:00"),
            ("P20200102T030405", "2020 years 1 mon 2 days 03:04:05"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_interval_says_so_as_postgres_does() {
        for (text, code) in [
            ("abc", "22007"),
            ("", "22007"),
            ("1 foo", "22007"),
            ("1 day 1 day", "22007"),
            ("1 hour 1 min 1:00", "22007"),
            ("1:2:3:4", "22007"),
            ("P", "22007"),
            ("infinity", "22007"),
            ("25:61:00", "22015"),
            ("99999999999 days", "22015"),
            ("178956971 years", "22008"),
        ] {
            assert_eq!(Interval::parse(text).unwrap_err().sqlstate().code(), code, "{text}");
        }
    }
}
