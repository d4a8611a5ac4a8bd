//! Dates and times in every form that PostgreSQL 15 reads.

use bytes::BytesMut;

use super::super::{write_date, write_time, write_timestamp, write_timestamptz};
use super::*;

fn timestamp(text: &str) -> Result<String> {
    let mut out = BytesMut::new();
    write_timestamp(parse_timestamp(text, &TextStyle::default())?, &mut out);
    Ok(String::from_utf8(out.to_vec()).unwrap())
}

fn timestamptz(text: &str, zone: &str) -> String {
    let style = TextStyle { zone: Zone::from_setting(zone).unwrap(), now: None };
    let mut out = BytesMut::new();
    write_timestamptz(parse_timestamptz(text, &style).unwrap(), &style.zone, &mut out);
    String::from_utf8(out.to_vec()).unwrap()
}

fn date(text: &str) -> Result<String> {
    let mut out = BytesMut::new();
    write_date(parse_date(text, &TextStyle::default())?, &mut out);
    Ok(String::from_utf8(out.to_vec()).unwrap())
}

// Every expected text was taken from PostgreSQL 15.

#[test]
fn timestamps_are_read_in_every_form() {
    for (text, expected) in [
        ("2020-01-01 24:00", "2020-01-02 00:00:00"),
        ("2020-01-01 23:59:60", "2020-01-02 00:00:00"),
        ("2020-01-01 12:00:00.1234567", "2020-01-01 12:00:00.123457"),
        ("0001-01-01 BC", "0001-01-01 00:00:00 BC"),
        ("20200101T040506", "2020-01-01 04:05:06"),
        ("20200101 040506", "2020-01-01 04:05:06"),
        ("Jan 5, 2020 3:04 pm", "2020-01-05 15:04:00"),
        ("epoch", "1970-01-01 00:00:00"),
        ("-infinity", "-infinity"),
        ("Wed Dec 17 07:37:16 1997 PST", "1997-12-17 07:37:16"),
        ("2020-01-01 10:00+05", "2020-01-01 10:00:00"),
        ("2020-01-01", "2020-01-01 00:00:00"),
        ("2020-01-01 1:2:3", "2020-01-01 01:02:03"),
        ("2020-01-01T10:00:00+0530", "2020-01-01 10:00:00"),
        ("2020-01-01 12:00:00.", "2020-01-01 12:00:00"),
        ("2020-1-1 12:00 AM", "2020-01-01 00:00:00"),
        ("2020-1-1 12:00 PM", "2020-01-01 12:00:00"),
        ("2026-03-01 +00", "2026-03-01 00:00:00"),
        ("294276-12-31 23:59:59.999999", "294276-12-31 23:59:59.999999"),
    ] {
        assert_eq!(timestamp(text).unwrap(), expected, "{text}");
    }
}

#[test]
fn dates_are_read_in_every_form() {
    for (text, expected) in [
        ("5 january 2020", "2020-01-05"),
        // With an offset and without a clock, as pgjdbc sends dates.
        ("2026-03-01 +00", "2026-03-01"),
        ("2026-03-01+05:30", "2026-03-01"),
        ("2026-03-01 -08", "2026-03-01"),
        ("2026-03-01Z", "2026-03-01"),
        ("+5 2026-03-01", "2026-03-01"),
        ("1/2/03", "2003-01-02"),
        ("20200102", "2020-01-02"),
        ("2020.123", "2020-05-02"),
        ("January 8, 99 BC", "0099-01-08 BC"),
        ("J2451187", "1999-01-08"),
        ("12020-01-01", "12020-01-01"),
        ("2020-01-01 10:00:00+05", "2020-01-01"),
        ("infinity", "infinity"),
        ("1999-Jan-08", "1999-01-08"),
        ("Jan-08-1999", "1999-01-08"),
        ("08-Jan-1999", "1999-01-08"),
        ("2020-001", "2020-01-01"),
        ("990108", "1999-01-08"),
    ] {
        assert_eq!(date(text).unwrap(), expected, "{text}");
    }
}

#[test]
fn an_instant_is_read_and_shown_in_its_zone() {
    for (text, zone, expected) in [
        ("2020-01-01 00:00 +02:30:15", "UTC", "2019-12-31 21:29:45+00"),
        ("2020-01-01 00:00 America/New_York", "UTC", "2020-01-01 05:00:00+00"),
        ("2020-01-01T00:00Z", "UTC", "2020-01-01 00:00:00+00"),
        ("2020-01-01 00:00-0330", "UTC", "2020-01-01 03:30:00+00"),
        ("2020-01-01 10:00 EST", "UTC", "2020-01-01 15:00:00+00"),
        ("2020-01-01 10:00:00 -8", "UTC", "2020-01-01 18:00:00+00"),
        ("2020-07-01 10:00", "Europe/Berlin", "2020-07-01 10:00:00+02"),
        ("2020-07-01 10:00Z", "Asia/Kolkata", "2020-07-01 15:30:00+05:30"),
        ("0044-03-15 BC", "UTC", "0044-03-15 00:00:00+00 BC"),
    ] {
        assert_eq!(timestamptz(text, zone), expected, "{text}");
    }
}

#[test]
fn what_is_no_date_says_so_as_postgres_does() {
    for (text, code, message) in [
        ("abc", "22007", "invalid input syntax for type timestamp: \"abc\""),
        ("", "22007", "invalid input syntax for type timestamp: \"\""),
        ("2020-01-01 10", "22007", "invalid input syntax for type timestamp: \"2020-01-01 10\""),
        ("2020-01-01 10:00 AM PM", "22007", "invalid input syntax for type timestamp: \"2020-01-01 10:00 AM PM\""),
        ("2020-02-30", "22008", "date/time field value out of range: \"2020-02-30\""),
        ("2020-13-01", "22008", "date/time field value out of range: \"2020-13-01\""),
        ("42", "22008", "date/time field value out of range: \"42\""),
        ("12", "22007", "invalid input syntax for type timestamp: \"12\""),
        ("2020-01-01 25:00", "22008", "date/time field value out of range: \"2020-01-01 25:00\""),
        ("2020-01-01 12:60", "22008", "date/time field value out of range: \"2020-01-01 12:60\""),
        ("2020-01-01 13:00 PM", "22008", "date/time field value out of range: \"2020-01-01 13:00 PM\""),
        ("294277-01-01", "22008", "timestamp out of range: \"294277-01-01\""),
        ("2020-01-01 00:00+25", "22009", "time zone displacement out of range: \"2020-01-01 00:00+25\""),
    ] {
        let error = timestamp(text).unwrap_err();
        assert_eq!((error.sqlstate().code(), error.message()), (code, message));
    }
    assert_eq!(date("5874898-01-01").unwrap_err().message(), "date out of range: \"5874898-01-01\"");
    assert_eq!(date("0000-01-01").unwrap_err().sqlstate(), SqlState::DATETIME_FIELD_OVERFLOW);
    assert!(date("now").is_err());
}

#[test]
fn times_are_read_and_shown() {
    for (text, expected) in [("10:00", "10:00:00"), ("24:00:00", "24:00:00"), ("10:00:00.5 PM", "22:00:00.5")] {
        let mut out = BytesMut::new();
        write_time(parse_time(text, &TextStyle::default()).unwrap(), &mut out);
        assert_eq!(&out[..], expected.as_bytes());
    }
}

#[test]
fn an_offset_without_a_clock_moves_the_instant() {
    assert_eq!(timestamptz("2026-03-01 -08", "UTC"), "2026-03-01 08:00:00+00");
    assert_eq!(timestamptz("March 1 2026 +0530", "UTC"), "2026-02-28 18:30:00+00");
}
