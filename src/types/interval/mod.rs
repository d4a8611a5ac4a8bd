//! Postgres's interval: months, days and microseconds, kept apart.
//!
//! A month has no fixed length and neither has a day, so they are added to a timestamp one after the other; only for
//! comparison is a month 30 days and a day 24 hours.

mod arithmetic;
mod text;

pub(crate) use arithmetic::out_of_range;

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

use bytes::{Buf, BufMut};

use super::calendar::MICROSECONDS_PER_DAY;
use crate::error::{Error, Result, SqlState};

/// A value of type interval. Compared and hashed as Postgres does: `1 mon` equals `30 days`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Interval {
    pub months: i32,
    pub days: i32,
    pub microseconds: i64,
}

impl Interval {
    pub fn new(months: i32, days: i32, microseconds: i64) -> Interval {
        Interval { months, days, microseconds }
    }

    /// The length in microseconds that intervals are compared by.
    pub fn span(&self) -> i128 {
        let days = i128::from(self.months) * 30 + i128::from(self.days);
        days * i128::from(MICROSECONDS_PER_DAY) + i128::from(self.microseconds)
    }

    /// Postgres's binary format: microseconds, days, months.
    pub fn from_binary(bytes: &[u8]) -> Result<Interval> {
        let mut bytes = bytes;
        if bytes.len() != 16 {
            return Err(Error::new(SqlState::INVALID_BINARY_REPRESENTATION, "incorrect binary data format"));
        }
        let microseconds = bytes.get_i64();
        let days = bytes.get_i32();
        Ok(Interval { months: bytes.get_i32(), days, microseconds })
    }

    pub fn to_binary(self) -> [u8; 16] {
        let mut bytes = [0u8; 16];
        let mut out = &mut bytes[..];
        out.put_i64(self.microseconds);
        out.put_i32(self.days);
        out.put_i32(self.months);
        bytes
    }

    /// 16 bytes that sort bytewise as intervals compare, and are equal where these are.
    pub fn key(&self) -> [u8; 16] {
        let mut bytes = self.span().to_be_bytes();
        bytes[0] ^= 0x80;
        bytes
    }
}

impl Ord for Interval {
    fn cmp(&self, other: &Interval) -> Ordering {
        self.span().cmp(&other.span())
    }
}

impl PartialOrd for Interval {
    fn partial_cmp(&self, other: &Interval) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Interval {
    fn eq(&self, other: &Interval) -> bool {
        self.span() == other.span()
    }
}

impl Eq for Interval {}

impl Hash for Interval {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.span().hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_compare_with_months_of_thirty_days() {
        assert_eq!(Interval::new(1, 0, 0), Interval::new(0, 30, 0));
        assert_eq!(Interval::new(0, 1, 0), Interval::new(0, 0, MICROSECONDS_PER_DAY));
        assert!(Interval::new(0, 31, 0) > Interval::new(1, 0, 0));
        let ordered = [Interval::new(-1, 0, 0), Interval::new(0, 0, -1), Interval::default(), Interval::new(0, 1, 0)];
        assert!(ordered.windows(2).all(|pair| pair[0].key() < pair[1].key()));
    }

    #[test]
    fn binary_round_trips_without_folding_units() {
        let interval = Interval::new(-14, 3, 5);
        let read = Interval::from_binary(&interval.to_binary()).unwrap();
        assert_eq!((read.months, read.days, read.microseconds), (-14, 3, 5));
        assert!(Interval::from_binary(&[0; 15]).is_err());
    }
}
