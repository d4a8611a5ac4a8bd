//! The support itself, tried on Postgres: a test tool that misreads answers would hide what it should show.

use crate::support::{Postgres, Value};

#[test]
fn the_client_shows_rows_types_tags_and_errors() {
    let postgres = Postgres::start();
    let mut client = postgres.client();
    assert_eq!(client.settings["TimeZone"], "UTC");

    let answers =
        client.simple("SELECT 1 AS one, 'x'::varchar(5); CREATE TABLE t (a int); INSERT INTO t VALUES (1), (2)");
    let columns = answers[0].columns.as_ref().expect("columns");
    assert_eq!((columns[0].name.as_str(), columns[0].type_oid, columns[1].modifier), ("one", 23, 9));
    assert_eq!(answers[0].texts(), [[Some("1".to_owned()), Some("x".to_owned())]]);
    answers[2].expect_tag("INSERT 0 2");

    let error = client.query("SELECT nope FROM t");
    assert_eq!((error.sqlstate(), client.status), ("42703", 'I'));

    let answer = client.try_extended("SELECT $1::int + 1", &[], &[Value::text(41)], true).expect("an answer");
    assert_eq!(answer.parameter_types, Some(vec![23]));
    assert_eq!(answer.rows, [[Some(vec![0, 0, 0, 42])]]);
}
