//! Time zones: the offset from UTC at an instant, and the instant that a wall clock means.
//!
//! The rules are those bundled with `jiff`, so that every machine answers alike; UTC and fixed offsets never ask it.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};

use super::calendar::{MICROSECONDS_PER_SECOND, UNIX_EPOCH_MICROSECONDS};
use crate::error::{Error, Result, SqlState};

/// Microseconds of the 400 years after which the calendar, and so every zone's rules, repeat.
const CYCLE: i64 = 146_097 * 86_400 * MICROSECONDS_PER_SECOND;
/// Instants past this are looked up some cycles earlier: the zone database ends with year 9999.
const LOOKUP_END: i64 = 2 * CYCLE;

/// A time zone. Cheap to clone.
#[derive(Clone, Default)]
pub struct Zone(Rules);

#[derive(Clone, Default)]
enum Rules {
    #[default]
    Utc,
    /// Seconds east of Greenwich.
    Fixed {
        offset: i32,
        name: Arc<str>,
    },
    Named {
        zone: TimeZone,
        name: Arc<str>,
    },
}

impl Zone {
    pub const UTC: Zone = Zone(Rules::Utc);

    /// A zone that is always this many seconds east of Greenwich.
    pub fn fixed(offset_seconds: i32) -> Zone {
        let sign = if offset_seconds < 0 { '-' } else { '+' };
        let (hours, minutes) = (offset_seconds.abs() / 3600, offset_seconds.abs() / 60 % 60);
        let inverse = if offset_seconds < 0 { '+' } else { '-' };
        let tail = match (minutes, offset_seconds.abs() % 60) {
            (0, 0) => String::new(),
            (_, 0) => format!(":{minutes:02}"),
            (_, seconds) => format!(":{minutes:02}:{seconds:02}"),
        };
        let name = format!("<{sign}{hours:02}{tail}>{inverse}{hours:02}{tail}");
        Zone(Rules::Fixed { offset: offset_seconds, name: name.into() })
    }

    /// A value of the setting TimeZone: a name, or a number of hours east of Greenwich (`+02`, `-3.5`).
    pub fn from_setting(value: &str) -> Result<Zone> {
        if let Ok(hours) = value.trim().parse::<f64>()
            && hours.abs() <= 168.0
        {
            return Ok(Zone::fixed((hours * 3600.0) as i32));
        }
        Zone::lookup(value).ok_or_else(|| {
            Error::new(
                SqlState::INVALID_PARAMETER_VALUE,
                format!("invalid value for parameter \"TimeZone\": \"{value}\""),
            )
        })
    }

    /// The zone that `AT TIME ZONE` means: an abbreviation, an IANA name or a POSIX offset (whose sign is the other way
    /// round: `+02` is west of Greenwich).
    pub fn named(name: &str) -> Result<Zone> {
        Zone::abbreviated(name).or_else(|| Zone::lookup(name)).ok_or_else(|| {
            Error::new(SqlState::INVALID_PARAMETER_VALUE, format!("time zone \"{name}\" not recognized"))
        })
    }

    /// An IANA name or a POSIX offset such as `UTC+3` or `<+02>-02`.
    pub(crate) fn lookup(name: &str) -> Option<Zone> {
        if name.len() > 255 {
            return None;
        }
        if ["utc", "etc/utc", "z", "zulu", "universal", "uct"].iter().any(|utc| name.eq_ignore_ascii_case(utc)) {
            return Some(match name.eq_ignore_ascii_case("utc") {
                true => Zone::UTC,
                false => Zone(Rules::Fixed { offset: 0, name: canonical_name(name)?.into() }),
            });
        }
        if name.eq_ignore_ascii_case("gmt") {
            return Some(Zone(Rules::Fixed { offset: 0, name: "GMT".into() }));
        }
        if let Ok(zone) = TimeZone::get(name) {
            let name = zone.iana_name().unwrap_or(name).into();
            return Some(Zone(Rules::Named { zone, name }));
        }
        let offset = posix_offset(name)?;
        Some(Zone(Rules::Fixed { offset, name: name.into() }))
    }

    /// One of Postgres's default abbreviations, of a fixed offset.
    pub(crate) fn abbreviated(name: &str) -> Option<Zone> {
        let upper = name.to_ascii_uppercase();
        let (_, minutes) = ABBREVIATIONS.iter().find(|(abbreviation, _)| *abbreviation == upper)?;
        Some(match upper.as_str() {
            "UTC" => Zone::UTC,
            _ => Zone(Rules::Fixed { offset: minutes * 60, name: upper.into() }),
        })
    }

    pub fn name(&self) -> &str {
        match &self.0 {
            Rules::Utc => "UTC",
            Rules::Fixed { name, .. } | Rules::Named { name, .. } => name,
        }
    }

    /// A value of the setting TimeZone that means this zone: unlike [`Zone::name`], never an abbreviation, which as a
    /// setting may name a zone with summer time (`CET`).
    pub fn setting(&self) -> String {
        match &self.0 {
            Rules::Fixed { offset, name } if posix_offset(name) != Some(*offset) => {
                Zone::fixed(*offset).name().to_owned()
            }
            _ => self.name().to_owned(),
        }
    }

    /// Seconds east of Greenwich at an instant, in microseconds since 2000-01-01 UTC.
    pub fn offset_at(&self, instant: i64) -> i32 {
        match &self.0 {
            Rules::Utc => 0,
            Rules::Fixed { offset, .. } => *offset,
            Rules::Named { zone, .. } => {
                let microseconds = within_lookup(instant) + UNIX_EPOCH_MICROSECONDS;
                Timestamp::from_microsecond(microseconds).map_or(0, |instant| zone.to_offset(instant).seconds())
            }
        }
    }

    /// What the zone is called at an instant: `EST`, `EDT`.
    pub fn abbreviation_at(&self, instant: i64) -> String {
        match &self.0 {
            Rules::Utc => "UTC".to_owned(),
            // `<+02>-02` is called `+02`.
            Rules::Fixed { name, .. } => match name.strip_prefix('<').and_then(|rest| rest.split_once('>')) {
                Some((inner, _)) => inner.to_owned(),
                None => name.to_string(),
            },
            Rules::Named { zone, .. } => {
                let microseconds = within_lookup(instant) + UNIX_EPOCH_MICROSECONDS;
                Timestamp::from_microsecond(microseconds)
                    .map_or_else(|_| String::new(), |instant| zone.to_offset_info(instant).abbreviation().to_owned())
            }
        }
    }

    /// Seconds east of Greenwich when this zone's wall clock shows `local` (microseconds since 2000-01-01 00:00 on it).
    /// Clock times that are skipped or repeated are taken as standard time, as Postgres does.
    pub fn offset_of_local(&self, local: i64) -> i32 {
        match &self.0 {
            Rules::Utc => 0,
            Rules::Fixed { offset, .. } => *offset,
            Rules::Named { zone, .. } => match civil(within_lookup(local)) {
                None => 0,
                Some(civil) => match zone.to_ambiguous_timestamp(civil).offset() {
                    AmbiguousOffset::Unambiguous { offset } => offset.seconds(),
                    AmbiguousOffset::Gap { before, .. } => before.seconds(),
                    AmbiguousOffset::Fold { after, .. } => after.seconds(),
                },
            },
        }
    }

    /// What this zone's wall clock shows at an instant. Saturates at the ends of the range.
    pub fn to_local(&self, instant: i64) -> i64 {
        instant.saturating_add(i64::from(self.offset_at(instant)) * MICROSECONDS_PER_SECOND)
    }

    /// The instant at which this zone's wall clock shows `local`.
    pub fn to_instant(&self, local: i64) -> i64 {
        local.saturating_sub(i64::from(self.offset_of_local(local)) * MICROSECONDS_PER_SECOND)
    }
}

fn within_lookup(microseconds: i64) -> i64 {
    match microseconds > LOOKUP_END {
        true => microseconds.rem_euclid(CYCLE) + CYCLE,
        false => microseconds,
    }
}

fn civil(local: i64) -> Option<DateTime> {
    let instant = Timestamp::from_microsecond(local + UNIX_EPOCH_MICROSECONDS).ok()?;
    Some(jiff::tz::Offset::UTC.to_datetime(instant))
}

fn canonical_name(name: &str) -> Option<String> {
    TimeZone::get(name).ok().and_then(|zone| zone.iana_name().map(str::to_owned))
}

/// Seconds east of Greenwich of `XXX+h[:mm[:ss]]`, whose sign counts westwards. Rules for summer time are not read.
fn posix_offset(name: &str) -> Option<i32> {
    let rest = match name.strip_prefix('<') {
        Some(quoted) => quoted.split_once('>')?.1,
        None => name.trim_start_matches(|c: char| c.is_ascii_alphabetic()),
    };
    let (sign, digits) = match rest.as_bytes().first()? {
        b'-' => (1, &rest[1..]),
        b'+' => (-1, &rest[1..]),
        _ => (-1, rest),
    };
    let mut seconds = 0;
    let mut parts = digits.split(':');
    for unit in [3600, 60, 1] {
        let Some(part) = parts.next() else { break };
        let limit = if unit == 3600 { 167 } else { 59 };
        if part.is_empty() || part.len() > 3 || !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let value: i32 = part.parse().ok().filter(|value| *value <= limit)?;
        seconds += value * unit;
    }
    parts.next().is_none().then_some(sign * seconds)
}

impl PartialEq for Zone {
    fn eq(&self, other: &Zone) -> bool {
        self.name() == other.name()
    }
}

impl Eq for Zone {}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Zone({})", self.name())
    }
}

/// From Postgres's `timezonesets/Default`: abbreviation, minutes east of Greenwich.
const ABBREVIATIONS: &[(&str, i32)] = &[
    ("UTC", 0),
    ("GMT", 0),
    ("Z", 0),
    ("UT", 0),
    ("UCT", 0),
    ("ZULU", 0),
    ("WET", 0),
    ("BST", 60),
    ("CET", 60),
    ("MET", 60),
    ("WEST", 60),
    ("WETDST", 60),
    ("BDST", 120),
    ("CEST", 120),
    ("CETDST", 120),
    ("MEST", 120),
    ("METDST", 120),
    ("MEZ", 60),
    ("MESZ", 120),
    ("EET", 120),
    ("EEST", 180),
    ("EETDST", 180),
    ("IST", 120),
    ("IDT", 180),
    ("SAST", 120),
    ("MSK", 180),
    ("MSD", 240),
    ("EAT", 180),
    ("PKT", 300),
    ("PKST", 360),
    ("NPT", 345),
    ("ICT", 420),
    ("KRAT", 420),
    ("CCT", 480),
    ("AWST", 480),
    ("HKT", 480),
    ("PHT", 480),
    ("SGT", 480),
    ("MYT", 480),
    ("JST", 540),
    ("KST", 540),
    ("ACST", 570),
    ("AEST", 600),
    ("EAST", -360),
    ("ACDT", 630),
    ("AEDT", 660),
    ("LIGT", 600),
    ("NZST", 720),
    ("NZT", 720),
    ("NZDT", 780),
    ("FNT", -120),
    ("BRT", -180),
    ("BRST", -120),
    ("ART", -180),
    ("NFT", -210),
    ("NST", -210),
    ("NDT", -150),
    ("AST", -240),
    ("ADT", -180),
    ("EST", -300),
    ("EDT", -240),
    ("CST", -360),
    ("CDT", -300),
    ("MST", -420),
    ("MDT", -360),
    ("PST", -480),
    ("PDT", -420),
    ("AKST", -540),
    ("AKDT", -480),
    ("HST", -600),
    ("CHAST", 765),
    ("CHADT", 825),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::calendar::{Civil, MICROSECONDS_PER_HOUR};

    fn at(year: i64, month: u32, day: u32, hour: i64, minute: i64) -> i64 {
        let days = Civil { year, month, day }.to_days();
        ((days * 24 + hour) * 60 + minute) * 60 * MICROSECONDS_PER_SECOND
    }

    #[test]
    fn names_are_looked_up_whatever_their_case() {
        let zone = Zone::from_setting("america/new_york").unwrap();
        assert_eq!(zone.name(), "America/New_York");
        assert_eq!(zone.offset_at(at(2020, 1, 1, 0, 0)), -5 * 3600);
        assert_eq!(zone.offset_at(at(2020, 7, 1, 0, 0)), -4 * 3600);
        // The rules go on after the zone database's last year.
        assert_eq!(zone.offset_at(at(29_020, 7, 1, 0, 0)), -4 * 3600);
        assert_eq!(Zone::from_setting("nope").unwrap_err().sqlstate(), SqlState::INVALID_PARAMETER_VALUE);
    }

    #[test]
    fn a_number_counts_east_in_the_setting_and_west_in_a_posix_name() {
        assert_eq!(Zone::from_setting("+02").unwrap().offset_at(0), 7200);
        assert_eq!(Zone::from_setting("+02").unwrap().name(), "<+02>-02");
        assert_eq!(Zone::named("+02").unwrap().offset_at(0), -7200);
        assert_eq!(Zone::named("UTC+3").unwrap().offset_at(0), -3 * 3600);
        assert_eq!(Zone::from_setting("<+02>-02").unwrap().offset_at(0), 7200);
        assert_eq!(Zone::named("PST").unwrap().offset_at(0), -8 * 3600);
        assert_eq!(Zone::named("PST").unwrap().setting(), "<-08>+08");
        assert_eq!(Zone::from_setting("UTC+3").unwrap().setting(), "UTC+3");
    }

    #[test]
    fn skipped_and_repeated_clock_times_are_standard_time() {
        let zone = Zone::from_setting("America/New_York").unwrap();
        assert_eq!(zone.offset_of_local(at(2020, 3, 8, 2, 30)), -5 * 3600);
        assert_eq!(zone.offset_of_local(at(2020, 11, 1, 1, 30)), -5 * 3600);
        assert_eq!(zone.to_instant(at(2020, 7, 1, 0, 0)), at(2020, 7, 1, 0, 0) + 4 * MICROSECONDS_PER_HOUR);
    }
}
