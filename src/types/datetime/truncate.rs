//! `date_trunc`: a timestamp or interval without the parts below a unit.

use super::fields::{DateField, unsupported_unit};
use super::{is_infinite, timestamp_out_of_range};
use crate::error::Result;
use crate::types::calendar::{
    Civil, MICROSECONDS_PER_DAY, MICROSECONDS_PER_HOUR, MICROSECONDS_PER_MINUTE, MICROSECONDS_PER_SECOND, iso_week,
    iso_week_start, timestamp_in_range,
};
use crate::types::interval::Interval;
use crate::types::pg_type::PgType;
use crate::types::zone::Zone;

/// `date_trunc(unit, timestamp)`.
pub fn truncate_timestamp(unit: &str, timestamp: i64) -> Result<i64> {
    truncate(unit, timestamp, PgType::Timestamp)
}

/// `date_trunc(unit, timestamptz)` on the zone's wall clock.
pub fn truncate_timestamptz(unit: &str, instant: i64, zone: &Zone) -> Result<i64> {
    if is_infinite(instant) {
        return truncate(unit, instant, PgType::Timestamptz);
    }
    let offset = i64::from(zone.offset_at(instant)) * MICROSECONDS_PER_SECOND;
    let local = truncate(unit, instant.saturating_add(offset), PgType::Timestamptz)?;
    let field = DateField::named(unit, PgType::Timestamptz)?;
    // Below a day the offset stays; the beginning of a longer unit has an offset of its own.
    let truncated = match clock_unit(field) {
        Some(_) => local - offset,
        None => zone.to_instant(local),
    };
    if timestamp_in_range(truncated) { Ok(truncated) } else { Err(timestamp_out_of_range()) }
}

fn clock_unit(field: DateField) -> Option<i64> {
    Some(match field {
        DateField::Microseconds => 1,
        DateField::Milliseconds => 1_000,
        DateField::Second => MICROSECONDS_PER_SECOND,
        DateField::Minute => MICROSECONDS_PER_MINUTE,
        DateField::Hour => MICROSECONDS_PER_HOUR,
        _ => return None,
    })
}

fn truncate(unit: &str, timestamp: i64, data_type: PgType) -> Result<i64> {
    let field = DateField::named(unit, data_type)?;
    let days = timestamp.div_euclid(MICROSECONDS_PER_DAY);
    let civil = Civil::from_days(days);
    let year = civil.year;
    let beginning = |year: i64, month: u32| Civil { year, month, day: 1 }.to_days();
    let day = match field {
        _ if clock_unit(field).is_some() => {
            let size = clock_unit(field).unwrap_or(1);
            return Ok(if is_infinite(timestamp) { timestamp } else { timestamp - timestamp.rem_euclid(size) });
        }
        DateField::Day => days,
        DateField::Week => {
            let (iso_year, week) = iso_week(days);
            iso_week_start(iso_year, week)
        }
        DateField::Month => beginning(year, civil.month),
        DateField::Quarter => beginning(year, (civil.month - 1) / 3 * 3 + 1),
        DateField::Year => beginning(year, 1),
        DateField::Decade if year > 0 => beginning(year / 10 * 10, 1),
        DateField::Decade => beginning(-((8 - (year - 1)) / 10) * 10, 1),
        DateField::Century if year > 0 => beginning((year + 99) / 100 * 100 - 99, 1),
        DateField::Century => beginning(-((99 - (year - 1)) / 100) * 100 + 1, 1),
        DateField::Millennium if year > 0 => beginning((year + 999) / 1000 * 1000 - 999, 1),
        DateField::Millennium => beginning(-((999 - (year - 1)) / 1000) * 1000 + 1, 1),
        _ => return Err(unsupported_unit(unit, data_type)),
    };
    if is_infinite(timestamp) {
        return Ok(timestamp);
    }
    let truncated = day.checked_mul(MICROSECONDS_PER_DAY).filter(|truncated| timestamp_in_range(*truncated));
    truncated.ok_or_else(timestamp_out_of_range)
}

/// `date_trunc(unit, interval)`.
pub fn truncate_interval(unit: &str, interval: &Interval) -> Result<Interval> {
    let field = DateField::named(unit, PgType::Interval)?;
    if let Some(size) = clock_unit(field) {
        return Ok(Interval { microseconds: interval.microseconds / size * size, ..*interval });
    }
    let months = |size: i32| Interval::new(interval.months / size * size, 0, 0);
    Ok(match field {
        DateField::Day => Interval { microseconds: 0, ..*interval },
        DateField::Month => months(1),
        DateField::Quarter => months(3),
        DateField::Year => months(12),
        DateField::Decade => months(120),
        DateField::Century => months(1_200),
        DateField::Millennium => months(12_000),
        DateField::Week => {
            return Err(unsupported_unit(unit, PgType::Interval).detail("Months usually have fractional weeks."));
        }
        _ => return Err(unsupported_unit(unit, PgType::Interval)),
    })
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::super::{parse_timestamp, parse_timestamptz, write_timestamp, write_timestamptz};
    use super::*;
    use crate::types::TextStyle;

    #[test]
    fn timestamps_are_cut_as_postgres_cuts_them() {
        // Each taken from PostgreSQL 15.
        for (unit, text, expected) in [
            ("hour", "2001-02-16 20:38:40.12", "2001-02-16 20:00:00"),
            ("milliseconds", "2001-02-16 20:38:40.123456", "2001-02-16 20:38:40.123"),
            ("week", "2001-02-16 20:38:40", "2001-02-12 00:00:00"),
            ("week", "2005-01-01", "2004-12-27 00:00:00"),
            ("month", "2001-02-16", "2001-02-01 00:00:00"),
            ("quarter", "2001-06-16", "2001-04-01 00:00:00"),
            ("year", "1969-07-20", "1969-01-01 00:00:00"),
            ("decade", "1969-07-20", "1960-01-01 00:00:00"),
            ("century", "2000-07-20", "1901-01-01 00:00:00"),
            ("millennium", "2001-07-20", "2001-01-01 00:00:00"),
            ("century", "0055-08-10 BC", "0100-01-01 00:00:00 BC"),
            ("day", "infinity", "infinity"),
        ] {
            let timestamp = parse_timestamp(text, &TextStyle::default()).unwrap();
            let mut out = BytesMut::new();
            write_timestamp(truncate_timestamp(unit, timestamp).unwrap(), &mut out);
            assert_eq!(&out[..], expected.as_bytes(), "{unit} {text}");
        }
        assert!(truncate_timestamp("epoch", 0).is_err());
    }

    #[test]
    fn instants_are_cut_on_the_wall_clock() {
        let zone = Zone::from_setting("America/New_York").unwrap();
        let style = TextStyle { zone: zone.clone(), now: None };
        for (unit, text, expected) in [
            ("day", "2020-03-08 12:00-04", "2020-03-08 00:00:00-05"),
            ("month", "2020-03-31 23:00-04", "2020-03-01 00:00:00-05"),
            ("hour", "2020-11-01 01:30-04", "2020-11-01 01:00:00-04"),
        ] {
            let instant = parse_timestamptz(text, &style).unwrap();
            let mut out = BytesMut::new();
            write_timestamptz(truncate_timestamptz(unit, instant, &zone).unwrap(), &zone, &mut out);
            assert_eq!(&out[..], expected.as_bytes(), "{unit} {text}");
        }
    }
}
