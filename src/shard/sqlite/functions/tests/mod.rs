//! Every function against values taken from PostgreSQL 15.

mod aggregates;
mod numbers;
mod texts;
mod values;

use rusqlite::Connection;
use rusqlite::types::Value;

use super::{raise, raised, register};
use crate::error::{Error, SqlState};
use crate::shard::sqlite::storage;
use crate::types::{Datum, PgType, TextStyle};

fn connection() -> Connection {
    let connection = Connection::open_in_memory().unwrap();
    register(&connection).unwrap();
    connection
}

/// The text form of an expression's value as a type.
fn shown(connection: &Connection, sql: &str, data_type: PgType) -> String {
    let row = connection.query_row(&format!("SELECT {sql}"), [], |row| {
        Ok(storage::from_sqlite(row.get_ref(0)?, data_type).unwrap_or_else(|error| panic!("{sql}: {error}")))
    });
    let datum = row.unwrap_or_else(|error| panic!("{sql}: {error}"));
    datum.to_text(&TextStyle::default()).unwrap_or_else(|| "NULL".to_owned())
}

fn all(data_type: PgType, cases: &[(&str, &str)]) {
    let connection = connection();
    for (sql, expected) in cases {
        assert_eq!(shown(&connection, sql, data_type), *expected, "{sql}");
    }
}

fn failure(connection: &Connection, sql: &str) -> Error {
    let result = connection.query_row(&format!("SELECT {sql}"), [], |row| row.get::<_, Value>(0));
    match result {
        Ok(value) => panic!("{sql} gave {value:?}"),
        Err(error) => raised(&error).unwrap_or_else(|| panic!("{sql}: {error}")),
    }
}

fn failures(cases: &[(&str, &str, &str)]) {
    let connection = connection();
    for (sql, code, message) in cases {
        let error = failure(&connection, sql);
        assert_eq!((error.sqlstate().code(), error.message()), (*code, *message), "{sql}");
    }
}

#[test]
fn an_error_survives_its_way_through_sqlite() {
    let error = Error::new(SqlState::DIVISION_BY_ZERO, "division by \u{1} zero").detail("d").hint("h");
    let back = raised(&raise(&error)).unwrap();
    assert_eq!(back.sqlstate(), SqlState::DIVISION_BY_ZERO);
    assert_eq!(back.message(), "division by \u{fffd} zero");
    assert_eq!((back.get_detail(), back.get_hint()), (Some("d"), Some("h")));
    assert!(raised(&rusqlite::Error::QueryReturnedNoRows).is_none());
}

#[test]
fn demands_raise_what_they_are_told() {
    all(PgType::Int4, &[("pg_not_null(5, 't', 'c')", "5"), ("pg_affects_once(0)", "1")]);
    failures(&[
        (
            "pg_not_null(NULL, 't', 'c')",
            "23502",
            "null value in column \"c\" of relation \"t\" violates not-null constraint",
        ),
        ("pg_affects_once(1)", "21000", "ON CONFLICT DO UPDATE command cannot affect row a second time"),
        ("CASE WHEN 1 THEN pg_raise('42804', 'no') ELSE 1 END", "42804", "no"),
    ]);
    all(PgType::Int4, &[("CASE WHEN 0 THEN pg_raise('42804', 'no') ELSE 1 END", "1")]);
}

#[test]
fn slots_are_those_of_the_topology() {
    use crate::topology::slot_of;
    use crate::types::Key;
    let connection = connection();
    let slot = |sql: &str| shown(&connection, sql, PgType::Int4);
    assert_eq!(slot("pg_slot(42)"), slot_of(&Key::Bigint(42)).to_string());
    assert_eq!(slot("pg_slot('abc')"), slot_of(&Key::Text("abc".into())).to_string());
    assert_eq!(slot("pg_slot(zeroblob(16))"), slot_of(&Key::Uuid([0; 16])).to_string());
    assert_eq!(slot("pg_slot(NULL)"), "NULL");
    let number = slot_of(&Key::Bigint(42)).number();
    assert_eq!(slot(&format!("pg_in_slots(42, '7,{number}')")), "1");
    assert_eq!(slot(&format!("pg_in_slots(43, '{number}')")), "0");
}

#[test]
fn random_uuids_are_of_version_four() {
    let connection = connection();
    let uuid = shown(&connection, "pg_gen_random_uuid()", PgType::Uuid);
    assert_eq!(uuid.as_bytes()[14], b'4', "{uuid}");
    assert_ne!(uuid, shown(&connection, "pg_gen_random_uuid()", PgType::Uuid));
    assert!(matches!(storage::from_sqlite(rusqlite::types::ValueRef::Null, PgType::Uuid), Ok(Datum::Null)));
}
