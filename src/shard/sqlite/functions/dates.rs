//! Dates, timestamps and intervals: INTEGER and BLOB cells.

use rusqlite::types::Value;

use super::call::{Arguments, Function, interval, lax, numeric, strict, text, volatile};
use crate::error::{Error, Result, SqlState};
use crate::types::{Interval, Numeric, Zone, datetime};

pub(super) const FUNCTIONS: &[Function] = &[
    strict("pg_timestamp_add_interval", 2, |a| integer(datetime::add_interval(a.integer(0)?, &a.interval(1)?))),
    strict("pg_timestamp_sub_interval", 2, |a| {
        integer(datetime::add_interval(a.integer(0)?, &a.interval(1)?.checked_neg()?))
    }),
    strict("pg_timestamptz_add_interval", 3, |a| {
        integer(datetime::shift_timestamptz(a.integer(0)?, &a.interval(1)?, &a.zone(2)?))
    }),
    strict("pg_timestamptz_sub_interval", 3, |a| {
        integer(datetime::shift_timestamptz(a.integer(0)?, &a.interval(1)?.checked_neg()?, &a.zone(2)?))
    }),
    strict("pg_timestamp_diff", 2, |a| Ok(interval(datetime::subtract_timestamps(a.integer(0)?, a.integer(1)?)?))),
    strict("pg_date_add_days", 2, |a| {
        Ok(Value::Integer(i64::from(datetime::date_add_days(a.int4(0)?, a.integer(1)?)?)))
    }),
    strict("pg_date_diff", 2, date_difference),
    strict("pg_interval_add", 2, |a| Ok(interval(a.interval(0)?.checked_add(&a.interval(1)?)?))),
    strict("pg_interval_sub", 2, |a| Ok(interval(a.interval(0)?.checked_sub(&a.interval(1)?)?))),
    strict("pg_interval_neg", 1, |a| Ok(interval(a.interval(0)?.checked_neg()?))),
    strict("pg_interval_mul", 2, |a| Ok(interval(a.interval(0)?.multiply(a.real(1)?)?))),
    strict("pg_interval_div", 2, |a| Ok(interval(a.interval(0)?.divide(a.real(1)?)?))),
    strict("pg_interval_key", 1, |a| Ok(Value::Blob(a.interval(0)?.key().to_vec()))),
    strict("pg_justify_days", 1, |a| Ok(interval(a.interval(0)?.justify_days()?))),
    strict("pg_justify_hours", 1, |a| Ok(interval(a.interval(0)?.justify_hours()?))),
    strict("pg_justify_interval", 1, |a| Ok(interval(a.interval(0)?.justify()?))),
    strict("pg_age", 2, |a| Ok(interval(datetime::age(a.integer(0)?, a.integer(1)?)?))),
    strict("pg_age_timestamptz", 3, |a| {
        let zone = a.zone(2)?;
        let local = |index| Ok::<_, Error>(datetime::timestamptz_to_local(a.integer(index)?, &zone));
        Ok(interval(datetime::age(local(0)?, local(1)?)?))
    }),
    strict("pg_date_trunc_timestamp", 2, |a| integer(datetime::truncate_timestamp(a.text(0)?, a.integer(1)?))),
    strict("pg_date_trunc_timestamptz", 3, |a| {
        integer(datetime::truncate_timestamptz(a.text(0)?, a.integer(1)?, &a.zone(2)?))
    }),
    strict("pg_date_trunc_interval", 2, |a| Ok(interval(datetime::truncate_interval(a.text(0)?, &a.interval(1)?)?))),
    strict("pg_date_bin", 3, |a| integer(datetime::bin(&a.interval(0)?, a.integer(1)?, a.integer(2)?))),
    lax("pg_extract", 4, |a| Ok(part(a)?.map_or(Value::Null, |part| numeric(&part)))),
    lax("pg_date_part", 4, |a| match part(a)? {
        Some(part) => Ok(Value::Real(part.to_f64()?)),
        None => Ok(Value::Null),
    }),
    strict("pg_make_date", 3, |a| {
        Ok(Value::Integer(i64::from(datetime::make_date(a.integer(0)?, a.integer(1)?, a.integer(2)?)?)))
    }),
    strict("pg_make_time", 3, |a| integer(datetime::make_time(a.integer(0)?, a.integer(1)?, a.real(2)?))),
    strict("pg_make_timestamp", 6, |a| integer(made_timestamp(a))),
    strict("pg_make_timestamptz", 7, |a| integer(datetime::local_to_timestamptz(made_timestamp(a)?, &a.zone(6)?))),
    strict("pg_make_interval", 7, make_interval),
    strict("pg_to_timestamp", 1, |a| integer(datetime::timestamptz_from_epoch(a.real(0)?))),
    strict("pg_timestamp_at_zone", 2, |a| integer(datetime::local_to_timestamptz(a.integer(0)?, &named_zone(a, 1)?))),
    strict("pg_timestamptz_at_zone", 2, |a| {
        Ok(Value::Integer(datetime::timestamptz_to_local(a.integer(0)?, &named_zone(a, 1)?)))
    }),
    strict("pg_zone", 1, |a| Ok(text(named_zone(a, 0)?.setting()))),
    strict("pg_interval_zone", 1, interval_zone),
    strict("pg_to_char_timestamp", 2, |a| {
        Ok(datetime::format_timestamp(a.integer(0)?, a.text(1)?)?.map_or(Value::Null, Value::Text))
    }),
    strict("pg_to_char_timestamptz", 3, |a| {
        Ok(datetime::format_timestamptz(a.integer(0)?, a.text(1)?, &a.zone(2)?)?.map_or(Value::Null, Value::Text))
    }),
    strict("pg_to_date", 2, |a| Ok(Value::Integer(i64::from(datetime::read_date(a.text(0)?, a.text(1)?)?)))),
    volatile("pg_clock_timestamp", 0, clock_timestamp),
];

fn integer(result: Result<i64>) -> Result<Value> {
    result.map(Value::Integer)
}

fn date_difference(arguments: &Arguments<'_>) -> Result<Value> {
    let (left, right) = (arguments.int4(0)?, arguments.int4(1)?);
    let infinite = |days| days == i32::MAX || days == i32::MIN;
    if infinite(left) || infinite(right) {
        return Err(Error::new(SqlState::DATETIME_FIELD_OVERFLOW, "cannot subtract infinite dates"));
    }
    Ok(Value::Integer(i64::from(left) - i64::from(right)))
}

/// (unit, value, 'date' | 'time' | 'timestamp' | 'timestamptz' | 'interval', zone or NULL)
fn part(arguments: &Arguments<'_>) -> Result<Option<Numeric>> {
    if arguments.is_null(0) || arguments.is_null(1) {
        return Ok(None);
    }
    let unit = arguments.text(0)?;
    match arguments.text(2)? {
        "date" => datetime::extract_date(unit, arguments.int4(1)?),
        "time" => datetime::extract_time(unit, arguments.integer(1)?),
        "timestamp" => datetime::extract_timestamp(unit, arguments.integer(1)?, None),
        "timestamptz" => datetime::extract_timestamp(unit, arguments.integer(1)?, Some(&arguments.zone(3)?)),
        "interval" => datetime::extract_interval(unit, &arguments.interval(1)?),
        other => Err(Error::internal(format!("there is nothing to extract from {other}"))),
    }
}

fn made_timestamp(a: &Arguments<'_>) -> Result<i64> {
    datetime::make_timestamp(a.integer(0)?, a.integer(1)?, a.integer(2)?, a.integer(3)?, a.integer(4)?, a.real(5)?)
}

/// (years, months, weeks, days, hours, minutes, seconds)
fn make_interval(a: &Arguments<'_>) -> Result<Value> {
    let out_of_range = || Error::new(SqlState::DATETIME_FIELD_OVERFLOW, "interval out of range");
    let whole = |index: usize| a.integer(index).map(i128::from);
    let months = i32::try_from(whole(0)? * 12 + whole(1)?).map_err(|_| out_of_range())?;
    let days = i32::try_from(whole(2)? * 7 + whole(3)?).map_err(|_| out_of_range())?;
    let seconds = a.real(6)?;
    if !seconds.is_finite() || seconds.abs() > 9e12 {
        return Err(out_of_range());
    }
    let time = (whole(4)? * 3600 + whole(5)? * 60) * 1_000_000 + (seconds * 1e6).round_ties_even() as i128;
    Ok(interval(Interval::new(months, days, i64::try_from(time).map_err(|_| out_of_range())?)))
}

/// A zone as AT TIME ZONE names it: looked up once a statement.
fn named_zone(arguments: &Arguments<'_>, index: usize) -> Result<Zone> {
    arguments.compiled(index, Zone::named).map(|zone| Zone::clone(&zone))
}

/// The zone of an interval: AT TIME ZONE INTERVAL '2 hours'.
fn interval_zone(arguments: &Arguments<'_>) -> Result<Value> {
    let interval = arguments.interval(0)?;
    let seconds = interval.microseconds / 1_000_000;
    if interval.months != 0 || interval.days != 0 || seconds.abs() > 168 * 3600 {
        let message = "interval time zone must not include months or days";
        return Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, message));
    }
    Ok(text(Zone::fixed(seconds as i32).setting()))
}

fn clock_timestamp(_: &Arguments<'_>) -> Result<Value> {
    let since_1970 = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let microseconds = since_1970.ok().and_then(|duration| i64::try_from(duration.as_micros()).ok());
    let now = microseconds.and_then(|now| now.checked_sub(946_684_800_000_000));
    now.map(Value::Integer).ok_or_else(|| Error::internal("the clock is out of range"))
}
