//! Text to date, time and timestamp, in every form that Postgres reads under `DateStyle = ISO, MDY`.
//!
//! The text is cut into fields (a date, a clock, an offset, words), each of which may come once, and then put together.
//! `now`, `today` and their kin need the caller's clock.
//!
//! <https://www.postgresql.org/docs/current/datetime-input-rules.html>

use super::{DATE_INFINITY, DATE_NEGATIVE_INFINITY, INFINITY, NEGATIVE_INFINITY};
use crate::error::{Error, Result, SqlState};
use crate::types::calendar::{
    Civil, MICROSECONDS_PER_DAY, MICROSECONDS_PER_HOUR, MICROSECONDS_PER_MINUTE, MICROSECONDS_PER_SECOND,
    UNIX_EPOCH_MICROSECONDS, date_in_range, days_in_month, timestamp_in_range,
};
use crate::types::style::TextStyle;
use crate::types::zone::Zone;

/// Longer texts are no date: the bound of Postgres's own work area.
const MAX_LENGTH: usize = 150;

/// Days since 2000-01-01.
pub fn parse_date(text: &str, style: &TextStyle) -> Result<i32> {
    let reader = Reader::read(text, "date", style)?;
    let days = match reader.special {
        Some(Special::Infinity) => return Ok(DATE_INFINITY),
        Some(Special::NegativeInfinity) => return Ok(DATE_NEGATIVE_INFINITY),
        Some(Special::Instant(instant)) => style.zone.to_local(instant).div_euclid(MICROSECONDS_PER_DAY),
        Some(Special::Day(days)) => days,
        None => reader.days()?,
    };
    match date_in_range(days) {
        true => Ok(days as i32),
        false => Err(reader.out_of_range("date")),
    }
}

/// Microseconds since midnight.
pub fn parse_time(text: &str, style: &TextStyle) -> Result<i64> {
    let reader = Reader::read(text, "time", style)?;
    match (&reader.special, reader.clock) {
        (Some(Special::Instant(instant)), _) => Ok(style.zone.to_local(*instant).rem_euclid(MICROSECONDS_PER_DAY)),
        (None, Some(_)) => reader.time(),
        _ => Err(reader.invalid()),
    }
}

/// Microseconds since 2000-01-01 00:00; an offset in the text is read and ignored.
pub fn parse_timestamp(text: &str, style: &TextStyle) -> Result<i64> {
    let reader = Reader::read(text, "timestamp", style)?;
    match reader.special {
        Some(Special::Instant(instant)) => Ok(style.zone.to_local(instant)),
        _ => reader.local(),
    }
}

/// Microseconds since 2000-01-01 00:00 UTC; without an offset in the text, the clock is the style's zone's.
pub fn parse_timestamptz(text: &str, style: &TextStyle) -> Result<i64> {
    let reader = Reader::read(text, "timestamp with time zone", style)?;
    if let Some(Special::Instant(instant)) = reader.special {
        return Ok(instant);
    }
    let local = reader.local()?;
    if super::is_infinite(local) {
        return Ok(local);
    }
    let instant = reader.zone.as_ref().unwrap_or(&style.zone).to_instant(local);
    match timestamp_in_range(instant) {
        true => Ok(instant),
        false => Err(reader.out_of_range("timestamp")),
    }
}

/// Words that are a value by themselves.
enum Special {
    Infinity,
    NegativeInfinity,
    Instant(i64),
    Day(i64),
}

/// What has been read so far.
struct Reader<'a> {
    text: &'a str,
    type_name: &'static str,
    special: Option<Special>,
    year: Option<i64>,
    /// The year was written with two digits: it is one of 1970 to 2069, unless it is BC.
    short_year: bool,
    month: Option<u32>,
    day: Option<u32>,
    day_of_year: Option<i64>,
    julian: Option<i64>,
    /// Hours as written, and the microseconds of the rest.
    clock: Option<(i64, i64)>,
    afternoon: Option<bool>,
    before_christ: Option<bool>,
    zone: Option<Zone>,
}

impl<'a> Reader<'a> {
    fn read(text: &'a str, type_name: &'static str, style: &TextStyle) -> Result<Reader<'a>> {
        let mut reader = Reader {
            text,
            type_name,
            special: None,
            year: None,
            short_year: false,
            month: None,
            day: None,
            day_of_year: None,
            julian: None,
            clock: None,
            afternoon: None,
            before_christ: None,
            zone: None,
        };
        if text.len() > MAX_LENGTH || !text.is_ascii() {
            return Err(reader.invalid());
        }
        reader.fields(style)?;
        Ok(reader)
    }

    fn invalid(&self) -> Error {
        Error::new(
            SqlState::INVALID_DATETIME_FORMAT,
            format!("invalid input syntax for type {}: \"{}\"", self.type_name, self.text),
        )
    }

    fn field_out_of_range(&self) -> Error {
        Error::new(SqlState::DATETIME_FIELD_OVERFLOW, format!("date/time field value out of range: \"{}\"", self.text))
    }

    fn out_of_range(&self, what: &str) -> Error {
        Error::new(SqlState::DATETIME_FIELD_OVERFLOW, format!("{what} out of range: \"{}\"", self.text))
    }

    fn fields(&mut self, style: &TextStyle) -> Result<()> {
        let bytes = self.text.as_bytes();
        let mut at = 0;
        while let Some(byte) = bytes.get(at).copied() {
            let rest = &self.text[at..];
            at += match byte {
                b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c => 1,
                b',' if self.clock.is_none() => 1,
                b'0'..=b'9' => self.number(rest)?,
                b'+' | b'-' if rest[1..].starts_with(|c: char| c.is_ascii_digit()) => self.offset(rest)?,
                b'+' | b'-' => self.signed_word(rest)?,
                _ if byte.is_ascii_alphabetic() => self.word(rest, style)?,
                _ => return Err(self.invalid()),
            };
        }
        Ok(())
    }

    /// A field that begins with a digit; gives its length.
    fn number(&mut self, rest: &str) -> Result<usize> {
        let length = digits(rest);
        match rest.as_bytes().get(length) {
            Some(b':') => self.clock_field(rest),
            Some(b'-' | b'/' | b'.') if self.year.is_none() || self.month.is_none() => self.date_field(rest),
            _ => self.bare_number(&rest[..length]).map(|()| length),
        }
    }

    /// `h:mm[:ss[.fraction]]`
    fn clock_field(&mut self, rest: &str) -> Result<usize> {
        if self.clock.is_some() {
            return Err(self.invalid());
        }
        let bytes = rest.as_bytes();
        let mut at = 0;
        let mut parts = [0i64; 3];
        for (index, part) in parts.iter_mut().enumerate() {
            if index > 0 {
                if bytes.get(at) != Some(&b':') {
                    break;
                }
                at += 1;
            }
            let length = digits(&rest[at..]);
            if length == 0 {
                return Err(self.invalid());
            }
            *part = self.integer(&rest[at..at + length])?;
            at += length;
        }
        let mut fraction = 0;
        if bytes.get(at) == Some(&b'.') {
            let length = digits(&rest[at + 1..]);
            fraction = fraction_of_second(&rest[at + 1..at + 1 + length]);
            at += 1 + length;
        }
        if bytes.get(at) == Some(&b':') {
            return Err(self.invalid());
        }
        self.set_clock(parts[0], parts[1], parts[2], fraction)?;
        Ok(at)
    }

    fn set_clock(&mut self, hours: i64, minutes: i64, seconds: i64, fraction: i64) -> Result<()> {
        if minutes > 59 || seconds > 60 || hours > 24 {
            return Err(self.field_out_of_range());
        }
        self.clock = Some((hours, minutes * MICROSECONDS_PER_MINUTE + seconds * MICROSECONDS_PER_SECOND + fraction));
        Ok(())
    }

    /// Parts joined by `-`, `/` or `.`: `2020-01-31`, `1/31/2020`, `08-Jan-1999`, `2020-031`.
    fn date_field(&mut self, rest: &str) -> Result<usize> {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && !"-/.".contains(c)).unwrap_or(rest.len());
        let mut field = &rest[..end];
        // `2020-01-31T10:00`: the clock begins at the T.
        if let Some(at) = field.rfind(['T', 't'])
            && field[..at].ends_with(|c: char| c.is_ascii_digit())
            && field[at + 1..].starts_with(|c: char| c.is_ascii_digit())
        {
            field = &field[..at];
        }
        // `2020-01-31Z`
        if let Some(before) = field.strip_suffix(['Z', 'z'])
            && before.ends_with(|c: char| c.is_ascii_digit())
        {
            field = before;
        }
        let delimiter = field.chars().find(|c| "-/.".contains(*c)).unwrap_or('-');
        let parts: Vec<&str> = field.split(delimiter).collect();
        self.date_parts(&parts)?;
        Ok(field.len())
    }

    fn date_parts(&mut self, parts: &[&str]) -> Result<()> {
        if self.year.is_some() || self.day.is_some() || self.month.is_some() {
            return Err(self.invalid());
        }
        let named = parts.iter().position(|part| month_named(part).is_some());
        let numbers: Vec<&str> =
            parts.iter().enumerate().filter(|(index, _)| Some(*index) != named).map(|(_, part)| *part).collect();
        if numbers.iter().any(|part| part.is_empty() || digits(part) != part.len()) {
            return Err(self.invalid());
        }
        let (year, month, day) = match (named, numbers.as_slice()) {
            (None, [year, day]) if year.len() >= 3 && day.len() == 3 => {
                self.day_of_year = Some(self.integer(day)?);
                self.year = Some(self.integer(year)?);
                return Ok(());
            }
            (None, [a, b, c]) if a.len() >= 3 => (*a, self.integer(b)?, *c),
            (None, [a, b, c]) => (*c, self.integer(a)?, *b),
            (Some(at), [a, b]) => {
                let month = i64::from(month_named(parts[at]).unwrap_or(0));
                if a.len() >= 3 { (*a, month, *b) } else { (*b, month, *a) }
            }
            _ => return Err(self.invalid()),
        };
        self.set_year(year)?;
        self.month = Some(self.integer_u32(month)?);
        let day = self.integer(day)?;
        self.day = Some(self.integer_u32(day)?);
        if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
            return Err(self.field_out_of_range().hint("Perhaps you need a different \"datestyle\" setting."));
        }
        Ok(())
    }

    fn set_year(&mut self, digits: &str) -> Result<()> {
        self.year = Some(self.integer(digits)?);
        self.short_year = digits.len() <= 2;
        Ok(())
    }

    /// Digits alone: `20200131`, `040506`, a day or year beside a month's name.
    fn bare_number(&mut self, field: &str) -> Result<()> {
        let undated = self.year.is_none() && self.month.is_none() && self.day.is_none();
        match field.len() {
            8 if undated => self.compact_date(&field[..4], &field[4..6], &field[6..]),
            6 if undated && self.type_name != "time" => self.compact_date(&field[..2], &field[2..4], &field[4..]),
            4 | 6
                if self.clock.is_none()
                    && (self.type_name == "time" || (self.year.is_some() && self.day.is_some())) =>
            {
                let number = |range: std::ops::Range<usize>| self.integer(field.get(range).unwrap_or("0"));
                let (hours, minutes, seconds) = (number(0..2)?, number(2..4)?, number(4..6)?);
                self.set_clock(hours, minutes, seconds, 0)
            }
            1 | 2 if self.day.is_none() && (self.month.is_some() || undated) => {
                let day = self.integer(field)?;
                // By itself it would be a month.
                if self.text.trim() == field && self.type_name != "time" && !(1..=12).contains(&day) {
                    return Err(self.field_out_of_range().hint("Perhaps you need a different \"datestyle\" setting."));
                }
                self.day = Some(self.integer_u32(day)?);
                Ok(())
            }
            1.. if self.year.is_none() && self.day.is_some() && field.len() != 8 => self.set_year(field),
            _ => Err(self.invalid()),
        }
    }

    fn compact_date(&mut self, year: &str, month: &str, day: &str) -> Result<()> {
        // The year comes first whatever its length, unlike in `MM-DD-YY`.
        self.date_parts(&[&format!("{year:0>4}"), month, day])?;
        self.short_year = year.len() == 2;
        Ok(())
    }

    /// `+05`, `-0330`, `+05:30`, `+05:30:15`.
    fn offset(&mut self, rest: &str) -> Result<usize> {
        if self.zone.is_some() {
            return Err(self.invalid());
        }
        let end = rest[1..].find(|c: char| !c.is_ascii_digit() && c != ':').map_or(rest.len(), |at| at + 1);
        let body = &rest[1..end];
        let parts: Vec<&str> = body.split(':').collect();
        let (hours, minutes, seconds) = match parts.as_slice() {
            [joined] if joined.len() > 2 => (&joined[..joined.len() - 2], &joined[joined.len() - 2..], "0"),
            [hours] => (*hours, "0", "0"),
            [hours, minutes] => (*hours, *minutes, "0"),
            [hours, minutes, seconds] => (*hours, *minutes, *seconds),
            _ => return Err(self.invalid()),
        };
        if hours.is_empty() || minutes.is_empty() || seconds.is_empty() {
            return Err(self.invalid());
        }
        let (hours, minutes, seconds) = (self.integer(hours)?, self.integer(minutes)?, self.integer(seconds)?);
        if hours > 15 || minutes > 59 || seconds > 59 {
            return Err(Error::new(
                SqlState::INVALID_TIME_ZONE_DISPLACEMENT_VALUE,
                format!("time zone displacement out of range: \"{}\"", self.text),
            ));
        }
        let offset = (hours * 3600 + minutes * 60 + seconds) as i32;
        self.zone = Some(Zone::fixed(if rest.starts_with('-') { -offset } else { offset }));
        Ok(end)
    }

    fn signed_word(&mut self, rest: &str) -> Result<usize> {
        let word = &rest[..1 + letters(&rest[1..])];
        self.special = Some(match word.to_ascii_lowercase().as_str() {
            "-infinity" | "-inf" => Special::NegativeInfinity,
            "+infinity" | "+inf" => Special::Infinity,
            _ => return Err(self.invalid()),
        });
        Ok(word.len())
    }

    fn word(&mut self, rest: &str, style: &TextStyle) -> Result<usize> {
        let length = letters(rest);
        let word = rest[..length].to_ascii_lowercase();
        if let Some(special) = self.special_word(&word, style)? {
            let taken = self.special.is_some() || self.year.is_some() || self.clock.is_some();
            if taken {
                return Err(self.invalid());
            }
            self.special = Some(special);
            return Ok(length);
        }
        match word.as_str() {
            "t" if self.clock.is_none() && self.day.is_some() && digits(&rest[1..]) > 0 => return Ok(1),
            "j" | "jd" if digits(&rest[length..]) > 0 => {
                let end = length + digits(&rest[length..]);
                self.julian = Some(self.integer(&rest[length..end])?);
                return Ok(end);
            }
            "am" | "pm" if self.afternoon.is_none() && self.clock.is_some() => self.afternoon = Some(word == "pm"),
            "bc" | "ad" if self.before_christ.is_none() => self.before_christ = Some(word == "bc"),
            "at" | "on" => {}
            _ if weekday_named(&word) => {}
            _ => return self.month_or_zone(rest, length),
        }
        Ok(length)
    }

    fn special_word(&self, word: &str, style: &TextStyle) -> Result<Option<Special>> {
        let today = || -> Result<i64> {
            let now = style.now.ok_or_else(|| {
                Error::unsupported(
                    format!("the input '{word}' here"),
                    "Write the function now() or current_date instead.",
                )
            })?;
            Ok(style.zone.to_local(now).div_euclid(MICROSECONDS_PER_DAY))
        };
        Ok(Some(match word {
            "infinity" | "inf" => Special::Infinity,
            "epoch" => match self.type_name {
                "timestamp with time zone" => Special::Instant(-UNIX_EPOCH_MICROSECONDS),
                _ => Special::Day(-crate::types::calendar::UNIX_EPOCH_DAYS),
            },
            "now" => {
                today()?;
                Special::Instant(style.now.unwrap_or(0))
            }
            "today" => Special::Day(today()?),
            "tomorrow" => Special::Day(today()? + 1),
            "yesterday" => Special::Day(today()? - 1),
            _ => return Ok(None),
        }))
    }

    fn month_or_zone(&mut self, rest: &str, length: usize) -> Result<usize> {
        let word = &rest[..length];
        if let Some(month) = month_named(word).filter(|_| self.month.is_none()) {
            // `Jan-08-1999`
            if rest[length..].starts_with(['-', '/', '.']) && self.year.is_none() && self.day.is_none() {
                return self.date_field(rest);
            }
            self.month = Some(month);
            return Ok(length);
        }
        if self.zone.is_some() {
            return Err(self.invalid());
        }
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && !"/_+-".contains(c)).unwrap_or(rest.len());
        let name = &rest[..end];
        self.zone = Zone::abbreviated(name).or_else(|| Zone::lookup(name));
        match self.zone.is_some() && (self.clock.is_some() || self.day.is_some()) {
            true => Ok(end),
            false => Err(self.invalid()),
        }
    }

    fn integer(&self, digits: &str) -> Result<i64> {
        digits.parse().ok().filter(|value| *value <= i64::from(i32::MAX)).ok_or_else(|| self.field_out_of_range())
    }

    fn integer_u32(&self, value: i64) -> Result<u32> {
        u32::try_from(value).map_err(|_| self.field_out_of_range())
    }

    fn days(&self) -> Result<i64> {
        if let Some(julian) = self.julian {
            return Ok(julian - 2_451_545);
        }
        let (Some(year), true) = (self.year, self.special.is_none()) else { return Err(self.invalid()) };
        if year == 0 && !self.short_year {
            return Err(self.field_out_of_range());
        }
        let year = match self.before_christ {
            Some(true) => 1 - year,
            _ if self.short_year => year + if year < 70 { 2000 } else { 1900 },
            _ => year,
        };
        if let Some(day) = self.day_of_year {
            return match (1..=366).contains(&day) {
                true => Ok(Civil { year, month: 1, day: 1 }.to_days() + day - 1),
                false => Err(self.field_out_of_range()),
            };
        }
        let (Some(month), Some(day)) = (self.month, self.day) else { return Err(self.invalid()) };
        if !(1..=12).contains(&month) || day == 0 || day > days_in_month(year, month) {
            return Err(self.field_out_of_range());
        }
        Ok(Civil { year, month, day }.to_days())
    }

    /// Microseconds since midnight; up to 24:00:00, and one second more when 60 seconds were written.
    fn time(&self) -> Result<i64> {
        let (hours, rest) = self.clock.unwrap_or((0, 0));
        let hours = match self.afternoon {
            Some(_) if hours > 12 => return Err(self.field_out_of_range()),
            Some(afternoon) => hours % 12 + if afternoon { 12 } else { 0 },
            None => hours,
        };
        let time = hours * MICROSECONDS_PER_HOUR + rest;
        match time <= MICROSECONDS_PER_DAY {
            true => Ok(time),
            false => Err(self.field_out_of_range()),
        }
    }

    fn local(&self) -> Result<i64> {
        let days = match self.special {
            Some(Special::Infinity) => return Ok(INFINITY),
            Some(Special::NegativeInfinity) => return Ok(NEGATIVE_INFINITY),
            Some(Special::Instant(instant)) => return Ok(instant),
            Some(Special::Day(days)) => days,
            None => self.days()?,
        };
        let local = days.checked_mul(MICROSECONDS_PER_DAY).and_then(|day| day.checked_add(self.time().ok()?));
        self.time()?;
        local.filter(|local| timestamp_in_range(*local)).ok_or_else(|| self.out_of_range("timestamp"))
    }
}

fn digits(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

fn letters(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_alphabetic).count()
}

/// The digits after the point, rounded to microseconds.
pub(crate) fn fraction_of_second(digits: &str) -> i64 {
    if digits.is_empty() {
        return 0;
    }
    format!("0.{digits}").parse::<f64>().map_or(0, |fraction| (fraction * 1e6).round_ties_even() as i64)
}

pub(crate) const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

pub(crate) const WEEKDAYS: [&str; 7] = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"];

fn month_named(word: &str) -> Option<u32> {
    let word = word.to_ascii_lowercase();
    if word == "sept" {
        return Some(9);
    }
    let index = MONTHS.iter().position(|month| *month == word || (word.len() == 3 && month.starts_with(&word)))?;
    Some(index as u32 + 1)
}

fn weekday_named(word: &str) -> bool {
    WEEKDAYS.iter().any(|day| *day == word || (word.len() == 3 && day.starts_with(word)))
        || ["tues", "thur", "thurs", "weds"].contains(&word)
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;
