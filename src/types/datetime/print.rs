//! Dates, times and timestamps as text, in the ISO style.

use bytes::BytesMut;

use super::{DATE_INFINITY, DATE_NEGATIVE_INFINITY, INFINITY, NEGATIVE_INFINITY};
use crate::types::calendar::{Civil, MICROSECONDS_PER_DAY, MICROSECONDS_PER_SECOND};
use crate::types::zone::Zone;

/// `days` since 2000-01-01.
pub fn write_date(days: i32, out: &mut BytesMut) {
    match days {
        DATE_INFINITY => out.extend_from_slice(b"infinity"),
        DATE_NEGATIVE_INFINITY => out.extend_from_slice(b"-infinity"),
        _ => {
            let civil = Civil::from_days(i64::from(days));
            put_civil(civil, out);
            put_era(civil, out);
        }
    }
}

/// Microseconds since midnight; 24:00:00 is a time of its own.
pub fn write_time(time: i64, out: &mut BytesMut) {
    put_clock(time, out);
}

/// Microseconds since 2000-01-01 00:00.
pub fn write_timestamp(timestamp: i64, out: &mut BytesMut) {
    if put_infinity(timestamp, out) {
        return;
    }
    let civil = put_local(timestamp, out);
    put_era(civil, out);
}

/// Microseconds since 2000-01-01 00:00 UTC, as the zone's wall clock shows it, with its offset.
pub fn write_timestamptz(instant: i64, zone: &Zone, out: &mut BytesMut) {
    if put_infinity(instant, out) {
        return;
    }
    let offset = zone.offset_at(instant);
    let civil = put_local(instant.saturating_add(i64::from(offset) * MICROSECONDS_PER_SECOND), out);
    put_offset(offset, out);
    put_era(civil, out);
}

fn put_infinity(timestamp: i64, out: &mut BytesMut) -> bool {
    match timestamp {
        INFINITY => out.extend_from_slice(b"infinity"),
        NEGATIVE_INFINITY => out.extend_from_slice(b"-infinity"),
        _ => return false,
    }
    true
}

fn put_local(local: i64, out: &mut BytesMut) -> Civil {
    let civil = Civil::from_days(local.div_euclid(MICROSECONDS_PER_DAY));
    put_civil(civil, out);
    out.extend_from_slice(b" ");
    put_clock(local.rem_euclid(MICROSECONDS_PER_DAY), out);
    civil
}

fn put_civil(civil: Civil, out: &mut BytesMut) {
    let year = if civil.year > 0 { civil.year } else { 1 - civil.year };
    if year < 10_000 {
        put_two((year / 100) as u32, out);
        put_two((year % 100) as u32, out);
    } else {
        out.extend_from_slice(year.to_string().as_bytes());
    }
    out.extend_from_slice(b"-");
    put_two(civil.month, out);
    out.extend_from_slice(b"-");
    put_two(civil.day, out);
}

fn put_era(civil: Civil, out: &mut BytesMut) {
    if civil.year <= 0 {
        out.extend_from_slice(b" BC");
    }
}

fn put_clock(time: i64, out: &mut BytesMut) {
    let seconds = time / MICROSECONDS_PER_SECOND;
    put_two((seconds / 3600) as u32, out);
    out.extend_from_slice(b":");
    put_two((seconds / 60 % 60) as u32, out);
    out.extend_from_slice(b":");
    put_two((seconds % 60) as u32, out);
    put_fraction((time % MICROSECONDS_PER_SECOND) as u32, out);
}

/// `.5` for 500,000: as many digits as are needed, none for zero.
pub(crate) fn put_fraction(microseconds: u32, out: &mut BytesMut) {
    if microseconds == 0 {
        return;
    }
    let mut digits = [0u8; 6];
    let mut rest = microseconds;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    let kept = 6 - digits.iter().rev().take_while(|digit| **digit == b'0').count();
    out.extend_from_slice(b".");
    out.extend_from_slice(&digits[..kept]);
}

fn put_offset(offset: i32, out: &mut BytesMut) {
    out.extend_from_slice(if offset < 0 { b"-" } else { b"+" });
    let seconds = offset.unsigned_abs();
    put_two(seconds / 3600, out);
    if !seconds.is_multiple_of(3600) {
        out.extend_from_slice(b":");
        put_two(seconds / 60 % 60, out);
    }
    if !seconds.is_multiple_of(60) {
        out.extend_from_slice(b":");
        put_two(seconds % 60, out);
    }
}

pub(crate) fn put_two(value: u32, out: &mut BytesMut) {
    match value {
        0..100 => out.extend_from_slice(&[b'0' + (value / 10) as u8, b'0' + (value % 10) as u8]),
        _ => out.extend_from_slice(value.to_string().as_bytes()),
    }
}
