//! Sums and differences of dates, timestamps and intervals, as in Postgres's `timestamp.c` and `date.c`.

use super::{DATE_INFINITY, DATE_NEGATIVE_INFINITY, INFINITY, NEGATIVE_INFINITY, is_infinite, timestamp_out_of_range};
use crate::error::{Error, Result, SqlState};
use crate::types::calendar::{
    Civil, MICROSECONDS_PER_DAY, MICROSECONDS_PER_HOUR, MICROSECONDS_PER_MINUTE, MICROSECONDS_PER_SECOND,
    date_in_range, days_in_month, timestamp_in_range,
};
use crate::types::interval::Interval;
use crate::types::zone::Zone;

fn in_range(timestamp: Option<i64>) -> Result<i64> {
    timestamp.filter(|timestamp| timestamp_in_range(*timestamp)).ok_or_else(timestamp_out_of_range)
}

/// timestamp + interval: first the months, cut to the month's last day, then the days, then the time.
pub fn add_interval(timestamp: i64, interval: &Interval) -> Result<i64> {
    if is_infinite(timestamp) {
        return Ok(timestamp);
    }
    let moved = add_months(timestamp, interval.months)?;
    let moved = in_range(moved.checked_add(i64::from(interval.days) * MICROSECONDS_PER_DAY))?;
    in_range(moved.checked_add(interval.microseconds))
}

/// timestamptz + interval: months and days move the zone's wall clock, the time moves the instant.
pub fn shift_timestamptz(instant: i64, interval: &Interval, zone: &Zone) -> Result<i64> {
    if is_infinite(instant) {
        return Ok(instant);
    }
    let mut moved = instant;
    if interval.months != 0 {
        moved = zone.to_instant(add_months(zone.to_local(moved), interval.months)?);
    }
    if interval.days != 0 {
        let local = zone.to_local(moved).checked_add(i64::from(interval.days) * MICROSECONDS_PER_DAY);
        moved = zone.to_instant(in_range(local)?);
    }
    in_range(moved.checked_add(interval.microseconds))
}

fn add_months(timestamp: i64, months: i32) -> Result<i64> {
    if months == 0 {
        return Ok(timestamp);
    }
    let civil = Civil::from_days(timestamp.div_euclid(MICROSECONDS_PER_DAY));
    let count = civil.year * 12 + i64::from(civil.month) - 1 + i64::from(months);
    let (year, month) = (count.div_euclid(12), count.rem_euclid(12) as u32 + 1);
    let day = civil.day.min(days_in_month(year, month));
    let days = Civil { year, month, day }.to_days();
    let time = timestamp.rem_euclid(MICROSECONDS_PER_DAY);
    in_range(days.checked_mul(MICROSECONDS_PER_DAY).and_then(|day| day.checked_add(time)))
}

/// timestamp - timestamp, in days and time.
pub fn subtract_timestamps(left: i64, right: i64) -> Result<Interval> {
    if is_infinite(left) || is_infinite(right) {
        return Err(Error::new(SqlState::DATETIME_FIELD_OVERFLOW, "cannot subtract infinite timestamps"));
    }
    let difference = left.checked_sub(right).ok_or_else(crate::types::interval::out_of_range)?;
    Interval::new(0, 0, difference).justify_hours()
}

/// The difference in years, months, days and time: `age(left, right)`.
pub fn age(left: i64, right: i64) -> Result<Interval> {
    if is_infinite(left) || is_infinite(right) {
        return Err(timestamp_out_of_range());
    }
    let negative = left < right;
    let (later, earlier) = if negative { (right, left) } else { (left, right) };
    let (a, b) = (
        Civil::from_days(later.div_euclid(MICROSECONDS_PER_DAY)),
        Civil::from_days(earlier.div_euclid(MICROSECONDS_PER_DAY)),
    );
    let mut time = later.rem_euclid(MICROSECONDS_PER_DAY) - earlier.rem_euclid(MICROSECONDS_PER_DAY);
    let mut days = i64::from(a.day) - i64::from(b.day);
    let mut months = (a.year - b.year) * 12 + i64::from(a.month) - i64::from(b.month);
    if time < 0 {
        time += MICROSECONDS_PER_DAY;
        days -= 1;
    }
    // The days borrowed are those of the earlier date's month.
    while days < 0 {
        days += i64::from(days_in_month(b.year, b.month));
        months -= 1;
    }
    let interval = Interval::new(months as i32, days as i32, time);
    if negative { interval.checked_neg() } else { Ok(interval) }
}

/// date + integer.
pub fn date_add_days(date: i32, days: i64) -> Result<i32> {
    if date == DATE_INFINITY || date == DATE_NEGATIVE_INFINITY {
        return Ok(date);
    }
    let moved = i64::from(date).checked_add(days).filter(|days| date_in_range(*days));
    moved.map(|days| days as i32).ok_or_else(|| Error::new(SqlState::DATETIME_FIELD_OVERFLOW, "date out of range"))
}

/// The date's midnight.
pub fn date_to_timestamp(date: i32) -> Result<i64> {
    match date {
        DATE_INFINITY => Ok(INFINITY),
        DATE_NEGATIVE_INFINITY => Ok(NEGATIVE_INFINITY),
        _ => {
            let timestamp =
                i64::from(date).checked_mul(MICROSECONDS_PER_DAY).filter(|value| timestamp_in_range(*value));
            timestamp.ok_or_else(|| Error::new(SqlState::DATETIME_FIELD_OVERFLOW, "date out of range for timestamp"))
        }
    }
}

/// The day of a timestamp.
pub fn timestamp_to_date(timestamp: i64) -> i32 {
    match timestamp {
        INFINITY => DATE_INFINITY,
        NEGATIVE_INFINITY => DATE_NEGATIVE_INFINITY,
        // Every timestamp in range is on a day that fits.
        _ => timestamp.div_euclid(MICROSECONDS_PER_DAY) as i32,
    }
}

/// The clock of a timestamp; `None` of an infinity.
pub fn timestamp_to_time(timestamp: i64) -> Option<i64> {
    (!is_infinite(timestamp)).then(|| timestamp.rem_euclid(MICROSECONDS_PER_DAY))
}

/// A zone's instant as its wall clock shows it, and back. Infinities stay.
pub fn timestamptz_to_local(instant: i64, zone: &Zone) -> i64 {
    if is_infinite(instant) { instant } else { zone.to_local(instant) }
}

pub fn local_to_timestamptz(local: i64, zone: &Zone) -> Result<i64> {
    if is_infinite(local) { Ok(local) } else { in_range(Some(zone.to_instant(local))) }
}

/// `make_date`; years before Christ are negative.
pub fn make_date(year: i64, month: i64, day: i64) -> Result<i32> {
    let error = || {
        let message = format!("date field value out of range: {year}-{month:02}-{day:02}");
        Error::new(SqlState::DATETIME_FIELD_OVERFLOW, message)
    };
    let astronomical = if year < 0 { year + 1 } else { year };
    let valid = year != 0 && (1..=12).contains(&month) && day >= 1 && year.abs() < 6_000_000;
    if !valid || day > i64::from(days_in_month(astronomical, month as u32)) {
        return Err(error());
    }
    let days = Civil { year: astronomical, month: month as u32, day: day as u32 }.to_days();
    if date_in_range(days) { Ok(days as i32) } else { Err(error()) }
}

/// `make_time`: microseconds since midnight.
pub fn make_time(hour: i64, minute: i64, second: f64) -> Result<i64> {
    let microseconds = (second * 1e6).round_ties_even();
    let valid = (0..=24).contains(&hour) && (0..60).contains(&minute) && (0.0..=60e6).contains(&microseconds);
    let time = hour * MICROSECONDS_PER_HOUR + minute * MICROSECONDS_PER_MINUTE + microseconds as i64;
    if !valid || time > MICROSECONDS_PER_DAY {
        let message = format!("time field value out of range: {hour}:{minute:02}:{second:02}");
        return Err(Error::new(SqlState::DATETIME_FIELD_OVERFLOW, message));
    }
    Ok(time)
}

/// `make_timestamp`.
pub fn make_timestamp(year: i64, month: i64, day: i64, hour: i64, minute: i64, second: f64) -> Result<i64> {
    let days = i64::from(make_date(year, month, day)?);
    in_range(
        days.checked_mul(MICROSECONDS_PER_DAY).and_then(|day| day.checked_add(make_time(hour, minute, second).ok()?)),
    )
    .and_then(|timestamp| make_time(hour, minute, second).map(|_| timestamp))
}

/// `to_timestamp(double precision)`: seconds since 1970-01-01 UTC.
pub fn timestamptz_from_epoch(seconds: f64) -> Result<i64> {
    let error = || Error::new(SqlState::DATETIME_FIELD_OVERFLOW, format!("timestamp out of range: \"{seconds}\""));
    match seconds {
        _ if seconds.is_nan() => Err(Error::new(SqlState::DATETIME_FIELD_OVERFLOW, "timestamp cannot be NaN")),
        f64::INFINITY => Ok(INFINITY),
        f64::NEG_INFINITY => Ok(NEGATIVE_INFINITY),
        _ => {
            let shifted = seconds - crate::types::calendar::UNIX_EPOCH_DAYS as f64 * 86_400.0;
            let microseconds = (shifted * MICROSECONDS_PER_SECOND as f64).round_ties_even();
            if !(-9.2e18..9.22e18).contains(&microseconds) || !timestamp_in_range(microseconds as i64) {
                return Err(error());
            }
            Ok(microseconds as i64)
        }
    }
}

/// `date_bin`: the beginning of the stride that a timestamp falls in, counted from the origin.
pub fn bin(stride: &Interval, source: i64, origin: i64) -> Result<i64> {
    if is_infinite(source) {
        return Ok(source);
    }
    if is_infinite(origin) {
        return Err(Error::new(SqlState::DATETIME_FIELD_OVERFLOW, "origin out of range"));
    }
    if stride.months != 0 {
        let message = "timestamps cannot be binned into intervals containing months or years";
        return Err(Error::new(SqlState::FEATURE_NOT_SUPPORTED, message));
    }
    let length = (i64::from(stride.days) * MICROSECONDS_PER_DAY).checked_add(stride.microseconds);
    let length = length.ok_or_else(crate::types::interval::out_of_range)?;
    if length <= 0 {
        return Err(Error::new(SqlState::DATETIME_FIELD_OVERFLOW, "stride must be greater than zero"));
    }
    let difference = source.checked_sub(origin).ok_or_else(crate::types::interval::out_of_range)?;
    in_range(source.checked_sub(difference.rem_euclid(length)))
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::super::{parse_timestamp, parse_timestamptz, write_timestamp, write_timestamptz};
    use super::*;
    use crate::types::TextStyle;

    fn ts(text: &str) -> i64 {
        parse_timestamp(text, &TextStyle::default()).unwrap()
    }

    fn i(text: &str) -> Interval {
        Interval::parse(text).unwrap()
    }

    fn shown(timestamp: i64) -> String {
        let mut out = BytesMut::new();
        write_timestamp(timestamp, &mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    fn shown_interval(interval: Interval) -> String {
        let mut out = BytesMut::new();
        interval.write_text(&mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    // Each expected text was taken from PostgreSQL 15.

    #[test]
    fn months_are_cut_to_the_last_day() {
        assert_eq!(shown(add_interval(ts("2020-01-31"), &i("1 month")).unwrap()), "2020-02-29 00:00:00");
        assert_eq!(shown(add_interval(ts("2020-03-31"), &i("-1 month")).unwrap()), "2020-02-29 00:00:00");
        assert_eq!(shown(add_interval(ts("2020-01-31"), &i("1 mon 1 day -01:00")).unwrap()), "2020-02-29 23:00:00");
        assert_eq!(shown(add_interval(ts("infinity"), &i("1 month")).unwrap()), "infinity");
        let error = add_interval(ts("294276-12-31"), &i("1 day")).unwrap_err();
        assert_eq!(error.message(), "timestamp out of range");
    }

    #[test]
    fn days_keep_the_wall_clock_across_summer_time() {
        let zone = Zone::from_setting("America/New_York").unwrap();
        let style = TextStyle { zone: zone.clone(), now: None };
        let before = parse_timestamptz("2020-03-07 12:00", &style).unwrap();
        let text = |interval: &str| {
            let mut out = BytesMut::new();
            write_timestamptz(shift_timestamptz(before, &i(interval), &zone).unwrap(), &zone, &mut out);
            String::from_utf8(out.to_vec()).unwrap()
        };
        assert_eq!(text("1 day"), "2020-03-08 12:00:00-04");
        assert_eq!(text("24 hours"), "2020-03-08 13:00:00-04");
    }

    #[test]
    fn differences_and_ages() {
        let difference = subtract_timestamps(ts("2020-03-01 12:00"), ts("2020-01-31 13:00")).unwrap();
        assert_eq!(shown_interval(difference), "29 days 23:00:00");
        let difference = subtract_timestamps(ts("2020-01-31 13:00"), ts("2020-03-01 12:00")).unwrap();
        assert_eq!(shown_interval(difference), "-29 days -23:00:00");
        for (left, right, expected) in [
            ("2001-04-10", "1957-06-13", "43 years 9 mons 27 days"),
            ("1957-06-13", "2001-04-10", "-43 years -9 mons -27 days"),
            ("2020-03-01", "2020-01-31", "1 mon 1 day"),
            ("2020-03-01 01:00", "2020-02-29 02:00", "23:00:00"),
        ] {
            assert_eq!(shown_interval(age(ts(left), ts(right)).unwrap()), expected, "{left} {right}");
        }
    }

    #[test]
    fn values_are_made_of_their_parts() {
        assert_eq!(shown(make_timestamp(2013, 7, 15, 8, 15, 23.5).unwrap()), "2013-07-15 08:15:23.5");
        assert_eq!(make_date(2021, 2, 29).unwrap_err().message(), "date field value out of range: 2021-02-29");
        assert_eq!(timestamptz_from_epoch(0.0).unwrap(), ts("1970-01-01"));
        let binned = bin(&i("15 minutes"), ts("2020-02-11 15:44:17"), ts("2001-01-01")).unwrap();
        assert_eq!(shown(binned), "2020-02-11 15:30:00");
    }
}
