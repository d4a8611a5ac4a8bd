//! Sums, multiples and justifications of intervals, as in Postgres's `timestamp.c`.

use super::Interval;
use crate::error::{Error, Result, SqlState};
use crate::types::calendar::{MICROSECONDS_PER_DAY, MICROSECONDS_PER_SECOND};

const SECONDS_PER_DAY: f64 = 86_400.0;
const DAYS_PER_MONTH: f64 = 30.0;

impl Interval {
    pub fn checked_add(&self, other: &Interval) -> Result<Interval> {
        let sum = || {
            Some(Interval {
                months: self.months.checked_add(other.months)?,
                days: self.days.checked_add(other.days)?,
                microseconds: self.microseconds.checked_add(other.microseconds)?,
            })
        };
        sum().ok_or_else(out_of_range)
    }

    pub fn checked_sub(&self, other: &Interval) -> Result<Interval> {
        self.checked_add(&other.checked_neg()?)
    }

    pub fn checked_neg(&self) -> Result<Interval> {
        let negated = || {
            Some(Interval {
                months: self.months.checked_neg()?,
                days: self.days.checked_neg()?,
                microseconds: self.microseconds.checked_neg()?,
            })
        };
        negated().ok_or_else(out_of_range)
    }

    /// Fractions of months spill into days, and those of days into microseconds.
    pub fn multiply(&self, factor: f64) -> Result<Interval> {
        self.scale(|value| value * factor)
    }

    pub fn divide(&self, divisor: f64) -> Result<Interval> {
        if divisor == 0.0 {
            return Err(Error::new(SqlState::DIVISION_BY_ZERO, "division by zero"));
        }
        self.scale(|value| value / divisor)
    }

    fn scale(&self, by: impl Fn(f64) -> f64) -> Result<Interval> {
        let months = by(f64::from(self.months));
        let days = by(f64::from(self.days));
        let (whole_months, whole_days) = (to_i32(months)?, to_i32(days)?);
        // The months' fraction in days, rounded to microseconds lest binary fractions show.
        let month_remainder = round_to_microseconds((months - f64::from(whole_months)) * DAYS_PER_MONTH);
        let mut seconds = (days - f64::from(whole_days) + month_remainder - month_remainder.trunc()) * SECONDS_PER_DAY;
        seconds = round_to_microseconds(seconds);
        let mut result_days = i64::from(whole_days);
        if seconds.abs() >= SECONDS_PER_DAY {
            result_days += (seconds / SECONDS_PER_DAY) as i64;
            seconds -= (seconds / SECONDS_PER_DAY).trunc() * SECONDS_PER_DAY;
        }
        result_days += month_remainder as i64;
        let microseconds = (by(self.microseconds as f64) + seconds * MICROSECONDS_PER_SECOND as f64).round_ties_even();
        if !(-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&microseconds) {
            return Err(out_of_range());
        }
        Ok(Interval {
            months: whole_months,
            days: i32::try_from(result_days).map_err(|_| out_of_range())?,
            microseconds: microseconds as i64,
        })
    }

    /// 24 hours become a day.
    pub fn justify_hours(&self) -> Result<Interval> {
        let whole = self.microseconds / MICROSECONDS_PER_DAY;
        let mut days = i64::from(self.days) + whole;
        let mut microseconds = self.microseconds - whole * MICROSECONDS_PER_DAY;
        if days > 0 && microseconds < 0 {
            microseconds += MICROSECONDS_PER_DAY;
            days -= 1;
        } else if days < 0 && microseconds > 0 {
            microseconds -= MICROSECONDS_PER_DAY;
            days += 1;
        }
        let days = i32::try_from(days).map_err(|_| out_of_range())?;
        Ok(Interval { months: self.months, days, microseconds })
    }

    /// 30 days become a month.
    pub fn justify_days(&self) -> Result<Interval> {
        let whole = self.days / 30;
        let mut months = i64::from(self.months) + i64::from(whole);
        let mut days = self.days - whole * 30;
        if months > 0 && days < 0 {
            days += 30;
            months -= 1;
        } else if months < 0 && days > 0 {
            days -= 30;
            months += 1;
        }
        let months = i32::try_from(months).map_err(|_| out_of_range())?;
        Ok(Interval { months, days, microseconds: self.microseconds })
    }

    /// Both, and all parts brought to one sign.
    pub fn justify(&self) -> Result<Interval> {
        let mut result = self.justify_hours_only()?.justify_days_only()?;
        if result.months > 0 && (result.days < 0 || (result.days == 0 && result.microseconds < 0)) {
            result.days += 30;
            result.months -= 1;
        } else if result.months < 0 && (result.days > 0 || (result.days == 0 && result.microseconds > 0)) {
            result.days -= 30;
            result.months += 1;
        }
        if result.days > 0 && result.microseconds < 0 {
            result.microseconds += MICROSECONDS_PER_DAY;
            result.days -= 1;
        } else if result.days < 0 && result.microseconds > 0 {
            result.microseconds -= MICROSECONDS_PER_DAY;
            result.days += 1;
        }
        Ok(result)
    }

    fn justify_hours_only(&self) -> Result<Interval> {
        let whole = self.microseconds / MICROSECONDS_PER_DAY;
        let days = i32::try_from(i64::from(self.days) + whole).map_err(|_| out_of_range())?;
        Ok(Interval { months: self.months, days, microseconds: self.microseconds % MICROSECONDS_PER_DAY })
    }

    fn justify_days_only(&self) -> Result<Interval> {
        let months = self.months.checked_add(self.days / 30).ok_or_else(out_of_range)?;
        Ok(Interval { months, days: self.days % 30, microseconds: self.microseconds })
    }
}

pub(crate) fn out_of_range() -> Error {
    Error::new(SqlState::DATETIME_FIELD_OVERFLOW, "interval out of range")
}

fn to_i32(value: f64) -> Result<i32> {
    match value > f64::from(i32::MIN) - 1.0 && value < f64::from(i32::MAX) + 1.0 {
        true => Ok(value as i32),
        false => Err(out_of_range()),
    }
}

fn round_to_microseconds(value: f64) -> f64 {
    (value * 1e6).round_ties_even() / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(interval: Interval) -> String {
        let mut out = bytes::BytesMut::new();
        interval.write_text(&mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    fn i(text: &str) -> Interval {
        Interval::parse(text).unwrap()
    }

    // Each expected text was taken from PostgreSQL 15.

    #[test]
    fn multiples_spill_downwards() {
        assert_eq!(shown(i("1 day 25:00:00").multiply(1.5).unwrap()), "1 day 49:30:00");
        assert_eq!(shown(i("1 month").divide(3.0).unwrap()), "10 days");
        assert_eq!(shown(i("1 year").multiply(0.3).unwrap()), "3 mons 18 days");
        assert_eq!(shown(i("1 mon -2 days 3:00").checked_neg().unwrap()), "-1 mons +2 days -03:00:00");
        assert_eq!(i("1 day").divide(0.0).unwrap_err().sqlstate(), SqlState::DIVISION_BY_ZERO);
    }

    #[test]
    fn justifying_folds_units_upwards() {
        assert_eq!(shown(i("36 hours").justify_hours().unwrap()), "1 day 12:00:00");
        assert_eq!(shown(i("35 days").justify_days().unwrap()), "1 mon 5 days");
        assert_eq!(shown(i("1 mon -1 hour").justify().unwrap()), "29 days 23:00:00");
    }
}
