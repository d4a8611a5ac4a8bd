//! The proleptic Gregorian calendar: day numbers, civil dates and clock readings.
//!
//! Days are counted from 2000-01-01 and microseconds from its midnight, as in Postgres. Years are astronomical: year 0
//! is 1 BC.

pub(crate) const MICROSECONDS_PER_SECOND: i64 = 1_000_000;
pub(crate) const MICROSECONDS_PER_MINUTE: i64 = 60 * MICROSECONDS_PER_SECOND;
pub(crate) const MICROSECONDS_PER_HOUR: i64 = 60 * MICROSECONDS_PER_MINUTE;
pub(crate) const MICROSECONDS_PER_DAY: i64 = 24 * MICROSECONDS_PER_HOUR;

/// Days from 1970-01-01 to 2000-01-01.
pub(crate) const UNIX_EPOCH_DAYS: i64 = 10_957;
/// Microseconds from 1970-01-01 to 2000-01-01.
pub(crate) const UNIX_EPOCH_MICROSECONDS: i64 = UNIX_EPOCH_DAYS * MICROSECONDS_PER_DAY;

/// The first day that a date or timestamp can hold: 4714-11-24 BC.
const FIRST_DAY: i64 = -2_451_545;
/// The day after the last that a date can hold, 5874897-12-31.
const DATE_END: i64 = 2_145_031_949;
/// The first microsecond past the last that a timestamp can hold, 294276-12-31 24:00.
const TIMESTAMP_END: i64 = 9_223_371_331_200_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Civil {
    pub(crate) year: i64,
    /// 1 to 12.
    pub(crate) month: u32,
    /// 1 to 31.
    pub(crate) day: u32,
}

impl Civil {
    /// Howard Hinnant's `civil_from_days`. <https://howardhinnant.github.io/date_algorithms.html>
    pub(crate) fn from_days(days: i64) -> Civil {
        let shifted = days + UNIX_EPOCH_DAYS + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let day = (day_of_year - (153 * shifted_month + 2) / 5 + 1) as u32;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 } as u32;
        Civil { year: year_of_era + era * 400 + i64::from(month <= 2), month, day }
    }

    /// The day's number. The month and day must exist; the year is any that a date can hold.
    pub(crate) fn to_days(self) -> i64 {
        let year = self.year - i64::from(self.month <= 2);
        let era = year.div_euclid(400);
        let year_of_era = year.rem_euclid(400);
        let shifted_month = i64::from((self.month + 9) % 12);
        let day_of_year = (153 * shifted_month + 2) / 5 + i64::from(self.day) - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        era * 146_097 + day_of_era - 719_468 - UNIX_EPOCH_DAYS
    }
}

pub(crate) fn is_leap_year(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

/// Days of a month, 1 to 12.
pub(crate) fn days_in_month(year: i64, month: u32) -> u32 {
    match month {
        2 if is_leap_year(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// 0 is Sunday.
pub(crate) fn day_of_week(days: i64) -> i64 {
    (days + 6).rem_euclid(7)
}

/// The ISO 8601 year and week (1 to 53) of a day.
pub(crate) fn iso_week(days: i64) -> (i64, i64) {
    // The week belongs to the year of its Thursday.
    let monday_based = (day_of_week(days) + 6) % 7;
    let thursday = days - monday_based + 3;
    let year = Civil::from_days(thursday).year;
    let first = Civil { year, month: 1, day: 1 }.to_days();
    (year, (thursday - first) / 7 + 1)
}

/// The day number of the Monday that begins an ISO week.
pub(crate) fn iso_week_start(year: i64, week: i64) -> i64 {
    let fourth = Civil { year, month: 1, day: 4 }.to_days();
    fourth - (day_of_week(fourth) + 6) % 7 + (week - 1) * 7
}

pub(crate) fn date_in_range(days: i64) -> bool {
    (FIRST_DAY..DATE_END).contains(&days)
}

pub(crate) fn timestamp_in_range(microseconds: i64) -> bool {
    (FIRST_DAY * MICROSECONDS_PER_DAY..TIMESTAMP_END).contains(&microseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_civil_dates_agree() {
        for (year, month, day, days) in
            [(2000, 1, 1, 0), (1970, 1, 1, -10_957), (2000, 2, 29, 59), (1999, 12, 31, -1), (-4713, 11, 24, -2_451_545)]
        {
            let civil = Civil { year, month, day };
            assert_eq!(civil.to_days(), days);
            assert_eq!(Civil::from_days(days), civil);
        }
        for days in (-2_451_545..3_000_000).step_by(37) {
            assert_eq!(Civil::from_days(days).to_days(), days);
        }
    }

    #[test]
    fn iso_weeks_belong_to_the_year_of_their_thursday() {
        let days = |year, month, day| Civil { year, month, day }.to_days();
        assert_eq!(iso_week(days(2005, 1, 1)), (2004, 53));
        assert_eq!(iso_week(days(2008, 12, 29)), (2009, 1));
        assert_eq!(iso_week_start(2009, 1), days(2008, 12, 29));
        assert_eq!(day_of_week(days(2000, 1, 1)), 6);
    }
}
