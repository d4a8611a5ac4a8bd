//! Dates, times and timestamps: their text, and what can be computed with them.
//!
//! They are plain integers in Postgres's own counting (see [`super::Datum`]), so that a row's cell is also its binary
//! form; what the integers mean is said here alone.

mod arithmetic;
mod fields;
mod format;
mod parse;
mod print;
mod read_format;
mod truncate;

pub use arithmetic::{
    add_interval, age, bin, date_add_days, date_to_timestamp, local_to_timestamptz, make_date, make_time,
    make_timestamp, shift_timestamptz, subtract_timestamps, timestamp_to_date, timestamp_to_time,
    timestamptz_from_epoch, timestamptz_to_local,
};
pub use fields::{DateField, Extracted, extract_date, extract_interval, extract_time, extract_timestamp};
pub use format::{format_timestamp, format_timestamptz};
pub(crate) use parse::fraction_of_second;
pub use parse::{parse_date, parse_time, parse_timestamp, parse_timestamptz};
pub(crate) use print::{put_fraction, put_two};
pub use print::{write_date, write_time, write_timestamp, write_timestamptz};
pub use read_format::read_date;
pub use truncate::{truncate_interval, truncate_timestamp, truncate_timestamptz};

use crate::error::{Error, SqlState};

/// `infinity` of timestamps; dates have `i32::MAX`.
pub(crate) const INFINITY: i64 = i64::MAX;
pub(crate) const NEGATIVE_INFINITY: i64 = i64::MIN;
pub(crate) const DATE_INFINITY: i32 = i32::MAX;
pub(crate) const DATE_NEGATIVE_INFINITY: i32 = i32::MIN;

pub(crate) fn is_infinite(timestamp: i64) -> bool {
    timestamp == INFINITY || timestamp == NEGATIVE_INFINITY
}

pub(crate) fn timestamp_out_of_range() -> Error {
    Error::new(SqlState::DATETIME_FIELD_OVERFLOW, "timestamp out of range")
}
