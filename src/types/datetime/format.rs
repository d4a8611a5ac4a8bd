//! `to_char` of timestamps.
//!
//! <https://www.postgresql.org/docs/current/functions-formatting.html>

use super::is_infinite;
use super::parse::{MONTHS, WEEKDAYS};
use crate::error::{Error, Result};
use crate::types::calendar::{
    Civil, MICROSECONDS_PER_DAY, MICROSECONDS_PER_SECOND, day_of_week, iso_week, iso_week_start,
};
use crate::types::zone::Zone;

/// `to_char(timestamp, format)`; `None` is NULL, which infinities give.
pub fn format_timestamp(timestamp: i64, format: &str) -> Result<Option<String>> {
    format_at(timestamp, format, None)
}

/// `to_char(timestamptz, format)` on the zone's wall clock.
pub fn format_timestamptz(instant: i64, format: &str, zone: &Zone) -> Result<Option<String>> {
    format_at(instant, format, Some(zone))
}

/// The patterns, longer ones before their beginnings.
pub(super) const PATTERNS: &[&str] = &[
    "SSSSS", "Y,YYY", "MONTH", "Month", "month", "HH24", "HH12", "IDDD", "IYYY", "YYYY", "A.D.", "a.d.", "B.C.",
    "b.c.", "A.M.", "a.m.", "P.M.", "p.m.", "SSSS", "DDD", "DAY", "Day", "day", "IYY", "YYY", "MON", "Mon", "mon",
    "TZH", "TZM", "FF1", "FF2", "FF3", "FF4", "FF5", "FF6", "AD", "ad", "BC", "bc", "AM", "am", "PM", "pm", "CC", "DD",
    "DY", "Dy", "dy", "HH", "ID", "IW", "IY", "MI", "MM", "MS", "OF", "RM", "rm", "SS", "TZ", "tz", "US", "WW", "YY",
    "D", "I", "J", "Q", "W", "Y",
];

/// The pattern at the beginning of a text. Patterns of digits can also be written in lower case.
pub(super) fn pattern_at(text: &str) -> Option<&'static str> {
    let exact = PATTERNS.iter().find(|pattern| text.starts_with(**pattern));
    exact.copied().or_else(|| {
        PATTERNS.iter().copied().find(|pattern| {
            let lower = pattern.to_ascii_lowercase();
            let has_lower_form = PATTERNS.contains(&lower.as_str());
            !has_lower_form && text.starts_with(&lower)
        })
    })
}

struct Moment<'a> {
    days: i64,
    /// Microseconds since midnight.
    time: i64,
    instant: i64,
    zone: Option<&'a Zone>,
}

fn format_at(timestamp: i64, format: &str, zone: Option<&Zone>) -> Result<Option<String>> {
    if is_infinite(timestamp) || format.is_empty() {
        return Ok(None);
    }
    let local = zone.map_or(timestamp, |zone| zone.to_local(timestamp));
    let moment = Moment {
        days: local.div_euclid(MICROSECONDS_PER_DAY),
        time: local.rem_euclid(MICROSECONDS_PER_DAY),
        instant: timestamp,
        zone,
    };
    let mut out = String::with_capacity(format.len() + 8);
    let mut rest = format;
    while let Some(c) = rest.chars().next() {
        if c == '"' {
            rest = copy_quoted(&rest[1..], &mut out);
            continue;
        }
        if let Some(tail) = rest.strip_prefix("\\\"") {
            out.push('"');
            rest = tail;
            continue;
        }
        if rest.starts_with("TM") || rest.starts_with("tm") {
            return Err(Error::unsupported("the prefix TM in to_char", "Leave it out: names are English."));
        }
        let fill = !(rest.starts_with("FM") || rest.starts_with("fm"));
        let begin = if fill { rest } else { &rest[2..] };
        let Some(pattern) = pattern_at(begin) else {
            if fill {
                out.push(c);
                rest = &rest[c.len_utf8()..];
            } else {
                rest = begin;
            }
            continue;
        };
        let mut text = moment.pattern(pattern, fill)?;
        rest = &begin[pattern.len()..];
        if let Some(suffix) = rest.get(..2).filter(|suffix| matches!(*suffix, "TH" | "th"))
            && text.ends_with(|c: char| c.is_ascii_digit())
        {
            text.push_str(ordinal(&text, suffix == "TH"));
            rest = &rest[2..];
        }
        out.push_str(&text);
    }
    Ok(Some(out))
}

/// Copies up to the closing quote; gives what follows it.
fn copy_quoted<'t>(text: &'t str, out: &mut String) -> &'t str {
    let mut characters = text.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return &text[at + 1..],
            '\\' => out.extend(characters.next().map(|(_, c)| c)),
            _ => out.push(c),
        }
    }
    ""
}

pub(crate) fn ordinal(digits: &str, upper: bool) -> &'static str {
    let teen = digits.len() > 1 && digits.as_bytes()[digits.len() - 2] == b'1';
    match (digits.as_bytes().last(), teen, upper) {
        (Some(b'1'), false, true) => "ST",
        (Some(b'1'), false, false) => "st",
        (Some(b'2'), false, true) => "ND",
        (Some(b'2'), false, false) => "nd",
        (Some(b'3'), false, true) => "RD",
        (Some(b'3'), false, false) => "rd",
        (_, _, true) => "TH",
        (_, _, false) => "th",
    }
}

impl Moment<'_> {
    fn pattern(&self, pattern: &'static str, fill: bool) -> Result<String> {
        let civil = Civil::from_days(self.days);
        let seconds = self.time / MICROSECONDS_PER_SECOND;
        let (hour, minute) = (seconds / 3600, seconds / 60 % 60);
        let twelve = if hour % 12 == 0 { 12 } else { hour % 12 };
        let day_of_year = self.days - Civil { year: civil.year, month: 1, day: 1 }.to_days() + 1;
        let number = |value: i64, width: usize| {
            // The sign does not take a digit's place.
            let width = if fill { width + usize::from(value < 0) } else { 0 };
            format!("{value:0width$}")
        };
        Ok(match pattern {
            "HH24" => number(hour, 2),
            "HH12" | "HH" => number(twelve, 2),
            "MI" => number(minute, 2),
            "SS" => number(seconds % 60, 2),
            "SSSS" | "SSSSS" => number(seconds, 0),
            "MS" => number(self.fraction() / 1_000, 3),
            "US" => number(self.fraction(), 6),
            "DD" => number(i64::from(civil.day), 2),
            "DDD" => number(day_of_year, 3),
            "MM" => number(i64::from(civil.month), 2),
            "D" => number(day_of_week(self.days) + 1, 0),
            "ID" => number((day_of_week(self.days) + 6) % 7 + 1, 0),
            "IDDD" => number(self.days - iso_week_start(iso_week(self.days).0, 1) + 1, 3),
            "WW" => number((day_of_year - 1) / 7 + 1, 2),
            "IW" => number(iso_week(self.days).1, 2),
            "W" => number((i64::from(civil.day) - 1) / 7 + 1, 0),
            "Q" => number((i64::from(civil.month) - 1) / 3 + 1, 0),
            "J" => number(self.days + 2_451_545, 0),
            "CC" => number(century(civil.year), 2),
            _ if pattern.starts_with("FF") => {
                let places = usize::from(pattern.as_bytes()[2] - b'0');
                format!("{:06}", self.fraction())[..places].to_owned()
            }
            _ => match self.year_pattern(pattern, civil, fill) {
                Some(text) => text,
                None => match self.zone_pattern(pattern)? {
                    Some(text) => text,
                    None => self.word_pattern(pattern, civil, hour, fill),
                },
            },
        })
    }

    fn fraction(&self) -> i64 {
        self.time % MICROSECONDS_PER_SECOND
    }

    fn year_pattern(&self, pattern: &str, civil: Civil, fill: bool) -> Option<String> {
        let written = |year: i64| if year > 0 { year } else { 1 - year };
        let year = match pattern {
            "Y,YYY" | "YYYY" | "YYY" | "YY" | "Y" => written(civil.year),
            "IYYY" | "IYY" | "IY" | "I" => written(iso_week(self.days).0),
            _ => return None,
        };
        let digits = pattern.trim_start_matches('I').len().max(1);
        let digits = if pattern == "I" {
            1
        } else if pattern.starts_with('I') {
            digits + 1
        } else {
            digits
        };
        Some(match pattern {
            "Y,YYY" => format!("{},{:03}", year / 1000, year % 1000),
            "YYYY" | "IYYY" if fill => format!("{year:04}"),
            "YYYY" | "IYYY" => year.to_string(),
            _ => {
                let digits = digits.min(pattern.len());
                let part = year % 10i64.pow(digits as u32);
                if fill { format!("{part:0digits$}") } else { part.to_string() }
            }
        })
    }

    fn zone_pattern(&self, pattern: &str) -> Result<Option<String>> {
        let Some(zone) = self.zone else {
            return match pattern {
                "TZ" | "tz" => Ok(Some(String::new())),
                "TZH" | "TZM" | "OF" => Err(Error::new(
                    crate::error::SqlState::INVALID_DATETIME_FORMAT,
                    format!("formatting field \"{pattern}\" is only supported in to_char with timestamptz"),
                )),
                _ => Ok(None),
            };
        };
        let offset = zone.offset_at(self.instant);
        let sign = if offset < 0 { '-' } else { '+' };
        let (hours, minutes) = (offset.abs() / 3600, offset.abs() / 60 % 60);
        Ok(Some(match pattern {
            "TZ" => zone.abbreviation_at(self.instant).to_uppercase(),
            "tz" => zone.abbreviation_at(self.instant).to_lowercase(),
            "TZH" => format!("{sign}{hours:02}"),
            "TZM" => format!("{minutes:02}"),
            "OF" if minutes == 0 => format!("{sign}{hours:02}"),
            "OF" => format!("{sign}{hours:02}:{minutes:02}"),
            _ => return Ok(None),
        }))
    }

    fn word_pattern(&self, pattern: &str, civil: Civil, hour: i64, fill: bool) -> String {
        let month = MONTHS[civil.month as usize - 1];
        let day = WEEKDAYS[day_of_week(self.days) as usize];
        let (afternoon, before_christ) = (hour >= 12, civil.year <= 0);
        let padded = |text: String| if fill { format!("{text:9}") } else { text };
        match pattern {
            "MONTH" => padded(month.to_uppercase()),
            "Month" => padded(capitalized(month)),
            "month" => padded(month.to_owned()),
            "MON" => month[..3].to_uppercase(),
            "Mon" => capitalized(&month[..3]),
            "mon" => month[..3].to_owned(),
            "DAY" => padded(day.to_uppercase()),
            "Day" => padded(capitalized(day)),
            "day" => padded(day.to_owned()),
            "DY" => day[..3].to_uppercase(),
            "Dy" => capitalized(&day[..3]),
            "dy" => day[..3].to_owned(),
            "AM" | "PM" => if afternoon { "PM" } else { "AM" }.to_owned(),
            "am" | "pm" => if afternoon { "pm" } else { "am" }.to_owned(),
            "A.M." | "P.M." => if afternoon { "P.M." } else { "A.M." }.to_owned(),
            "a.m." | "p.m." => if afternoon { "p.m." } else { "a.m." }.to_owned(),
            "AD" | "BC" => if before_christ { "BC" } else { "AD" }.to_owned(),
            "ad" | "bc" => if before_christ { "bc" } else { "ad" }.to_owned(),
            "A.D." | "B.C." => if before_christ { "B.C." } else { "A.D." }.to_owned(),
            "a.d." | "b.c." => if before_christ { "b.c." } else { "a.d." }.to_owned(),
            _ => {
                let roman = ["I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII"];
                let text = roman[civil.month as usize - 1];
                let text = if pattern == "rm" { text.to_lowercase() } else { text.to_owned() };
                if fill { format!("{text:4}") } else { text }
            }
        }
    }
}

fn century(year: i64) -> i64 {
    if year > 0 { (year + 99) / 100 } else { -((99 - (year - 1)) / 100) }
}

fn capitalized(word: &str) -> String {
    format!("{}{}", word[..1].to_uppercase(), &word[1..])
}

#[cfg(test)]
mod tests {
    use super::super::{parse_timestamp, parse_timestamptz};
    use super::*;
    use crate::types::TextStyle;

    #[test]
    fn timestamps_are_formatted_as_postgres_formats_them() {
        // Each taken from PostgreSQL 15.
        let timestamp = parse_timestamp("2020-01-05 15:04:05.678", &TextStyle::default()).unwrap();
        for (format, expected) in [
            ("YYYY-MM-DD HH24:MI:SS.MS US", "2020-01-05 15:04:05.678 678000"),
            ("FMDay, DD FMMonth YYYY HH12:MI AM", "Sunday, 05 January 2020 03:04 PM"),
            ("Dy DY dy Mon MON mon Month MONTH month", "Sun SUN sun Jan JAN jan January   JANUARY   january  "),
            ("D ID DDD J WW IW W Q CC", "1 7 005 2458854 01 01 1 1 21"),
            ("Y YY YYY Y,YYY IYYY SSSS FF3 FF6 HH", "0 20 020 2,020 2020 54245 678 678000 03"),
            ("A.M. p.m. ad B.C.", "P.M. p.m. ad A.D."),
            ("\"text YYYY\" YYYY\\\"x DDth DDTH FMDDth RM rm", "text YYYY 2020\"x 05th 05TH 5th I    i   "),
            ("Day|DAY|day|FMMM/FMDD", "Sunday   |SUNDAY   |sunday   |1/5"),
            ("yyyy-mm-dd hh24:mi:ss", "2020-01-05 15:04:05"),
        ] {
            assert_eq!(format_timestamp(timestamp, format).unwrap().as_deref(), Some(expected), "{format}");
        }
        assert_eq!(format_timestamp(i64::MAX, "YYYY").unwrap(), None);
        let ancient = parse_timestamp("0577-12-14 BC", &TextStyle::default()).unwrap();
        assert_eq!(format_timestamp(ancient, "YYYY CC BC").unwrap().as_deref(), Some("0577 -06 BC"));
    }

    #[test]
    fn zones_are_named() {
        let zone = Zone::from_setting("America/New_York").unwrap();
        let instant = parse_timestamptz("2020-01-05 15:04:05+00", &TextStyle::default()).unwrap();
        let text = format_timestamptz(instant, "HH24 TZ tz OF TZH:TZM", &zone).unwrap();
        assert_eq!(text.as_deref(), Some("10 EST est -05 -05:00"));
    }
}
