//! The parts of dates, timestamps and intervals: what `extract` gives, as numeric.

use super::is_infinite;
use crate::error::{Error, Result, SqlState};
use crate::types::calendar::{
    Civil, MICROSECONDS_PER_DAY, MICROSECONDS_PER_SECOND, UNIX_EPOCH_MICROSECONDS, day_of_week, iso_week,
};
use crate::types::interval::Interval;
use crate::types::numeric::Numeric;
use crate::types::pg_type::PgType;
use crate::types::zone::Zone;

/// A part of a date, time or interval, as `extract` and `date_trunc` name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DateField {
    Microseconds,
    Milliseconds,
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Quarter,
    Year,
    Decade,
    Century,
    Millennium,
    IsoYear,
    Julian,
    DayOfWeek,
    IsoDayOfWeek,
    DayOfYear,
    Epoch,
    Timezone,
    TimezoneHour,
    TimezoneMinute,
}

impl DateField {
    /// The part of this name; `data_type` is for the message of 22023.
    pub fn named(name: &str, data_type: PgType) -> Result<DateField> {
        let lower = name.to_ascii_lowercase();
        Ok(match lower.as_str() {
            "us" | "usec" | "usecs" | "useconds" | "microsecond" | "microseconds" | "microsecon" => {
                DateField::Microseconds
            }
            "ms" | "msec" | "msecs" | "mseconds" | "millisecond" | "milliseconds" | "millisecon" => {
                DateField::Milliseconds
            }
            "s" | "sec" | "secs" | "second" | "seconds" => DateField::Second,
            "m" | "min" | "mins" | "minute" | "minutes" => DateField::Minute,
            "h" | "hr" | "hrs" | "hour" | "hours" => DateField::Hour,
            "d" | "day" | "days" => DateField::Day,
            "w" | "week" | "weeks" => DateField::Week,
            "mon" | "mons" | "month" | "months" => DateField::Month,
            "qtr" | "quarter" => DateField::Quarter,
            "y" | "yr" | "yrs" | "year" | "years" => DateField::Year,
            "dec" | "decs" | "decade" | "decades" => DateField::Decade,
            "c" | "cent" | "century" | "centuries" => DateField::Century,
            "mil" | "mils" | "millennium" | "millennia" => DateField::Millennium,
            "isoyear" => DateField::IsoYear,
            "j" | "jd" | "julian" => DateField::Julian,
            "dow" => DateField::DayOfWeek,
            "isodow" => DateField::IsoDayOfWeek,
            "doy" => DateField::DayOfYear,
            "epoch" => DateField::Epoch,
            "timezone" => DateField::Timezone,
            "timezone_h" | "timezone_hour" => DateField::TimezoneHour,
            "timezone_m" | "timezone_minute" => DateField::TimezoneMinute,
            _ => {
                let message = format!("unit \"{lower}\" not recognized for type {data_type}");
                return Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, message));
            }
        })
    }

    /// Parts that grow for ever are infinite in an infinite timestamp; the others are NULL.
    fn is_monotonic(self) -> bool {
        matches!(
            self,
            DateField::Year
                | DateField::Decade
                | DateField::Century
                | DateField::Millennium
                | DateField::Julian
                | DateField::IsoYear
                | DateField::Epoch
        )
    }
}

/// The value of a part; `None` is NULL.
pub type Extracted = Option<Numeric>;

/// 0A000: a part that the type does not have.
pub(crate) fn unsupported_unit(name: &str, data_type: PgType) -> Error {
    let message = format!("unit \"{}\" not supported for type {data_type}", name.to_ascii_lowercase());
    Error::new(SqlState::FEATURE_NOT_SUPPORTED, message)
}

fn micro(microseconds: i128) -> Numeric {
    Numeric::from_parts(microseconds, 6)
}

/// A part of a timestamp; with a zone, of an instant on the zone's wall clock.
pub fn extract_timestamp(name: &str, timestamp: i64, zone: Option<&Zone>) -> Result<Extracted> {
    let data_type = if zone.is_some() { PgType::Timestamptz } else { PgType::Timestamp };
    let field = DateField::named(name, data_type)?;
    let zoned = matches!(field, DateField::Timezone | DateField::TimezoneHour | DateField::TimezoneMinute);
    if zoned && zone.is_none() {
        return Err(unsupported_unit(name, data_type));
    }
    if is_infinite(timestamp) {
        let infinity = if timestamp > 0 { Numeric::INFINITY } else { Numeric::NEGATIVE_INFINITY };
        return Ok(field.is_monotonic().then_some(infinity));
    }
    let offset = zone.map_or(0, |zone| zone.offset_at(timestamp));
    if field == DateField::Epoch {
        return Ok(Some(micro(i128::from(timestamp) + i128::from(UNIX_EPOCH_MICROSECONDS))));
    }
    let local = timestamp.saturating_add(i64::from(offset) * MICROSECONDS_PER_SECOND);
    let (days, time) = (local.div_euclid(MICROSECONDS_PER_DAY), local.rem_euclid(MICROSECONDS_PER_DAY));
    Ok(Some(match field {
        DateField::Timezone => Numeric::from(offset),
        DateField::TimezoneHour => Numeric::from(offset / 3600),
        DateField::TimezoneMinute => Numeric::from(offset / 60 % 60),
        DateField::Julian => {
            let whole = i128::from(days) + 2_451_545;
            let parts = Numeric::from(i128::from(time)).div(&Numeric::from(MICROSECONDS_PER_DAY))?;
            Numeric::from(whole).add(&parts)?
        }
        _ => match clock_part(field, time) {
            Some(part) => part,
            None => day_part(field, days),
        },
    }))
}

/// A part of a date.
pub fn extract_date(name: &str, days: i32) -> Result<Extracted> {
    let field = DateField::named(name, PgType::Date)?;
    let clock = clock_part(field, 0).is_some();
    if clock || matches!(field, DateField::Timezone | DateField::TimezoneHour | DateField::TimezoneMinute) {
        return Err(unsupported_unit(name, PgType::Date));
    }
    if days == super::DATE_INFINITY || days == super::DATE_NEGATIVE_INFINITY {
        let infinity = if days > 0 { Numeric::INFINITY } else { Numeric::NEGATIVE_INFINITY };
        return Ok(field.is_monotonic().then_some(infinity));
    }
    let days = i64::from(days);
    Ok(Some(match field {
        DateField::Epoch => Numeric::from((days + crate::types::calendar::UNIX_EPOCH_DAYS) * 86_400),
        DateField::Julian => Numeric::from(days + 2_451_545),
        _ => day_part(field, days),
    }))
}

/// A part of a time of day.
pub fn extract_time(name: &str, time: i64) -> Result<Extracted> {
    let field = DateField::named(name, PgType::Time)?;
    match field {
        DateField::Epoch => Ok(Some(micro(i128::from(time)))),
        _ => clock_part(field, time).map(Some).ok_or_else(|| unsupported_unit(name, PgType::Time)),
    }
}

/// A part of an interval.
pub fn extract_interval(name: &str, interval: &Interval) -> Result<Extracted> {
    let field = DateField::named(name, PgType::Interval)?;
    let (years, months) = (interval.months / 12, interval.months % 12);
    Ok(Some(match field {
        DateField::Hour => Numeric::from(interval.microseconds / (3600 * MICROSECONDS_PER_SECOND)),
        DateField::Day => Numeric::from(interval.days),
        DateField::Month => Numeric::from(months),
        DateField::Quarter => Numeric::from(months / 3 + 1),
        DateField::Year => Numeric::from(years),
        DateField::Decade => Numeric::from(years / 10),
        DateField::Century => Numeric::from(years / 100),
        DateField::Millennium => Numeric::from(years / 1000),
        DateField::Epoch => {
            let quarter_days = i128::from(years) * 1461 + i128::from(months) * 120 + i128::from(interval.days) * 4;
            micro(quarter_days * 21_600 * 1_000_000 + i128::from(interval.microseconds))
        }
        _ => clock_part(field, interval.microseconds).ok_or_else(|| unsupported_unit(name, PgType::Interval))?,
    }))
}

/// The parts below a day.
fn clock_part(field: DateField, time: i64) -> Option<Numeric> {
    let minute = time % (60 * MICROSECONDS_PER_SECOND);
    Some(match field {
        DateField::Microseconds => Numeric::from(minute),
        DateField::Milliseconds => Numeric::from_parts(i128::from(minute), 3),
        DateField::Second => micro(i128::from(minute)),
        DateField::Minute => Numeric::from(time / (60 * MICROSECONDS_PER_SECOND) % 60),
        DateField::Hour => Numeric::from(time / (3600 * MICROSECONDS_PER_SECOND)),
        _ => return None,
    })
}

/// The parts of a day's date.
fn day_part(field: DateField, days: i64) -> Numeric {
    let civil = Civil::from_days(days);
    let year = civil.year;
    Numeric::from(match field {
        DateField::Day => i64::from(civil.day),
        DateField::Week => iso_week(days).1,
        DateField::Month => i64::from(civil.month),
        DateField::Quarter => (i64::from(civil.month) - 1) / 3 + 1,
        // There is no year 0: 1 BC is -1.
        DateField::Year if year > 0 => year,
        DateField::Year => year - 1,
        DateField::Decade if year >= 0 => year / 10,
        DateField::Decade => -((8 - (year - 1)) / 10),
        DateField::Century if year > 0 => (year + 99) / 100,
        DateField::Century => -((99 - (year - 1)) / 100),
        DateField::Millennium if year > 0 => (year + 999) / 1000,
        DateField::Millennium => -((999 - (year - 1)) / 1000),
        DateField::IsoYear => match iso_week(days).0 {
            year @ 1.. => year,
            year => year - 1,
        },
        DateField::DayOfWeek => day_of_week(days),
        DateField::IsoDayOfWeek => (day_of_week(days) + 6) % 7 + 1,
        _ => days - Civil { year, month: 1, day: 1 }.to_days() + 1,
    })
}

#[cfg(test)]
mod tests {
    use super::super::parse_timestamp;
    use super::*;
    use crate::types::TextStyle;

    fn part(name: &str, text: &str) -> String {
        let timestamp = parse_timestamp(text, &TextStyle::default()).unwrap();
        extract_timestamp(name, timestamp, None).unwrap().map_or("null".to_owned(), |part| part.to_string())
    }

    #[test]
    fn the_parts_of_a_timestamp_are_those_of_postgres() {
        // Each taken from PostgreSQL 15.
        let text = "2001-02-16 20:38:40.12";
        for (name, expected) in [
            ("century", "21"),
            ("day", "16"),
            ("decade", "200"),
            ("dow", "5"),
            ("doy", "47"),
            ("epoch", "982355920.120000"),
            ("hour", "20"),
            ("isodow", "5"),
            ("isoyear", "2001"),
            ("microseconds", "40120000"),
            ("millennium", "3"),
            ("milliseconds", "40120.000"),
            ("minute", "38"),
            ("month", "2"),
            ("quarter", "1"),
            ("second", "40.120000"),
            ("week", "7"),
            ("year", "2001"),
            ("julian", "2451957.86018657407407407407"),
        ] {
            assert_eq!(part(name, text), expected, "{name}");
        }
        assert_eq!(part("year", "0001-01-01 BC"), "-1");
        assert_eq!(part("century", "0001-01-01 BC"), "-1");
        assert_eq!(part("year", "infinity"), "Infinity");
        assert_eq!(part("month", "infinity"), "null");
    }

    #[test]
    fn parts_that_a_type_lacks_are_named() {
        let error = extract_date("hour", 0).unwrap_err();
        assert_eq!(error.message(), "unit \"hour\" not supported for type date");
        assert_eq!(error.sqlstate(), SqlState::FEATURE_NOT_SUPPORTED);
        let error = extract_timestamp("fortnight", 0, None).unwrap_err();
        assert_eq!(error.message(), "unit \"fortnight\" not recognized for type timestamp without time zone");
        assert_eq!(error.sqlstate(), SqlState::INVALID_PARAMETER_VALUE);
    }

    #[test]
    fn the_parts_of_an_interval_are_those_of_postgres() {
        let interval = Interval::parse("1 year 2 mons 3 days 25:06:07.8").unwrap();
        for (name, expected) in [
            ("epoch", "37091167.800000"),
            ("hour", "25"),
            ("second", "7.800000"),
            ("month", "2"),
            ("quarter", "1"),
            ("day", "3"),
        ] {
            assert_eq!(extract_interval(name, &interval).unwrap().unwrap().to_string(), expected, "{name}");
        }
        assert!(extract_interval("dow", &interval).is_err());
    }
}
