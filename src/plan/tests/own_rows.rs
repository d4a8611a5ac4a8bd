//! Where a shard that holds rows of others has to leave them out.

use super::super::own_rows;
use super::{schema, spliced};
use crate::sql::{Derived, KeyColumn, Place, with_conditions, with_deep_stack};

fn condition(key: &KeyColumn) -> String {
    format!("own({})", key.name)
}

/// The text with its conditions, which must mean what the tree with them means.
pub(super) fn with_own_rows(text: &str) -> String {
    let read = Derived::read(text.to_owned()).unwrap_or_else(|error| panic!("{text}: {error:?}"));
    with_deep_stack(true, || {
        let own = own_rows(&read.tree, &schema(), &["main", "people", "things"], &condition)
            .unwrap_or_else(|error| panic!("{text}: {error:?}"));
        let written = with_conditions(text, &own.places, &condition).unwrap();
        let written = written.unwrap_or_else(|| panic!("{text}: {:?} are not found", own.places));
        let again = Derived::read(written.clone()).unwrap_or_else(|error| panic!("{written}: {error:?}"));
        assert!(again.tree == own.tree, "{text}\n     got: {written}\n  wanted: {}", own.tree);
        written
    })
}

fn check(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        assert_eq!(with_own_rows(text), *expected, "{text}");
    }
}

#[test]
fn conditions_stand_in_where() {
    check(&[
        ("SELECT count(*) FROM events", "SELECT count(*) FROM events WHERE (own(events.event_id))"),
        (
            "SELECT name FROM events e -- all\n WHERE e.day > $1 OR name = 'x' -- or\n ORDER BY 1 LIMIT 2;",
            "SELECT name FROM events e -- all\n WHERE (e.day > $1 OR name = 'x') AND (own(e.event_id)) -- or\n ORDER BY 1 LIMIT 2;",
        ),
        ("SELECT 1 FROM venues", "SELECT 1 FROM venues"),
        (
            "SELECT 1 FROM public.\"Odd\" AS o (id, b) GROUP BY b FOR UPDATE OF o",
            "SELECT 1 FROM public.\"Odd\" AS o (id, b) WHERE (own(o.id)) GROUP BY b FOR UPDATE OF o",
        ),
        (
            "SELECT a.name FROM events a, users WHERE a.name = users.name",
            "SELECT a.name FROM events a, users WHERE (a.name = users.name) AND (own(a.event_id) AND own(users.email))",
        ),
        (
            "SELECT name FROM events UNION ALL (SELECT status FROM seats LIMIT 1) ORDER BY 1",
            "SELECT name FROM events WHERE (own(events.event_id)) UNION ALL (SELECT status FROM seats WHERE (own(seats.event_id)) LIMIT 1) ORDER BY 1",
        ),
        (
            "SELECT 1 FROM (SELECT DISTINCT name FROM events WHERE day IS DISTINCT FROM $1) x HAVING count(*) > 1",
            "SELECT 1 FROM (SELECT DISTINCT name FROM events WHERE (day IS DISTINCT FROM $1) AND (own(events.event_id))) x HAVING count(*) > 1",
        ),
        ("TABLE events ORDER BY 1", "SELECT * FROM events WHERE (own(events.event_id)) ORDER BY 1"),
    ]);
}

#[test]
fn tables_that_are_joined_by_the_key_need_none_of_their_own() {
    check(&[
        (
            "SELECT 1 FROM events JOIN seats USING (event_id) JOIN orders o USING (event_id)",
            "SELECT 1 FROM events JOIN seats USING (event_id) JOIN orders o USING (event_id) WHERE (own(events.event_id))",
        ),
        (
            "SELECT 1 FROM events e LEFT JOIN seats s ON (s.event_id = e.event_id AND s.price > 1) LEFT JOIN orders o ON o.event_id = s.event_id",
            "SELECT 1 FROM events e LEFT JOIN seats s ON (s.event_id = e.event_id AND s.price > 1) LEFT JOIN orders o ON o.event_id = s.event_id \
             WHERE (own(e.event_id))",
        ),
        (
            "SELECT 1 FROM seats s JOIN orders o ON o.event_id = s.event_id RIGHT JOIN events e ON s.event_id = e.event_id",
            "SELECT 1 FROM seats s JOIN orders o ON o.event_id = s.event_id RIGHT JOIN events e ON s.event_id = e.event_id WHERE (own(e.event_id))",
        ),
        (
            "SELECT 1 FROM events e LEFT JOIN (seats s JOIN orders o ON o.event_id = s.event_id) ON s.event_id = e.event_id",
            "SELECT 1 FROM events e LEFT JOIN (seats s JOIN orders o ON o.event_id = s.event_id) ON s.event_id = e.event_id WHERE (own(e.event_id))",
        ),
    ]);
}

#[test]
fn tables_that_may_be_absent_are_subqueries() {
    check(&[
        (
            "SELECT 1 FROM events LEFT JOIN seats ON seats.status = name",
            "SELECT 1 FROM events LEFT JOIN (SELECT * FROM seats WHERE (own(seats.event_id))) AS seats ON seats.status = name \
             WHERE (own(events.event_id))",
        ),
        (
            "SELECT 1 FROM events e FULL JOIN public.seats AS s (id) ON s.id = e.event_id WHERE true",
            "SELECT 1 FROM (SELECT * FROM events WHERE (own(events.event_id))) e \
             FULL JOIN (SELECT * FROM public.seats WHERE (own(seats.event_id))) AS s (id) ON s.id = e.event_id WHERE true",
        ),
        (
            "SELECT 1 FROM venues NATURAL LEFT JOIN events",
            "SELECT 1 FROM venues NATURAL LEFT JOIN (SELECT * FROM events WHERE (own(events.event_id))) AS events",
        ),
        // The keys of the two are not compared.
        (
            "SELECT 1 FROM events e LEFT JOIN seats s ON s.event_id = e.venue_id",
            "SELECT 1 FROM events e LEFT JOIN (SELECT * FROM seats WHERE (own(seats.event_id))) s ON s.event_id = e.venue_id WHERE (own(e.event_id))",
        ),
        (
            "SELECT 1 FROM (events JOIN seats USING (event_id)) AS j",
            "SELECT 1 FROM ((SELECT * FROM events WHERE (own(events.event_id))) AS events \
             JOIN (SELECT * FROM seats WHERE (own(seats.event_id))) AS seats USING (event_id)) AS j",
        ),
        // What is on the right of a FULL JOIN's column may be another row's.
        (
            "SELECT 1 FROM venues FULL JOIN events USING (venue_id) LEFT JOIN seats USING (event_id)",
            "SELECT 1 FROM venues FULL JOIN (SELECT * FROM events WHERE (own(events.event_id))) AS events USING (venue_id) \
             LEFT JOIN (SELECT * FROM seats WHERE (own(seats.event_id))) AS seats USING (event_id)",
        ),
    ]);
}

#[test]
fn names_of_with_are_no_tables_where_they_hide_them() {
    check(&[
        (
            "WITH events AS (SELECT * FROM events) SELECT 1 FROM events",
            "WITH events AS (SELECT * FROM events WHERE (own(events.event_id))) SELECT 1 FROM events",
        ),
        (
            "WITH RECURSIVE events AS (SELECT 1 UNION SELECT 2 FROM events) SELECT 1 FROM events, public.events",
            "WITH RECURSIVE events AS (SELECT 1 UNION SELECT 2 FROM events) SELECT 1 FROM events, public.events WHERE (own(events.event_id))",
        ),
        (
            "WITH a AS (SELECT 1 FROM seats), seats AS (SELECT 1 FROM seats, a) SELECT 1 FROM seats WHERE 1 IN (SELECT 1 FROM seats)",
            "WITH a AS (SELECT 1 FROM seats WHERE (own(seats.event_id))), seats AS (SELECT 1 FROM seats, a WHERE (own(seats.event_id))) \
             SELECT 1 FROM seats WHERE 1 IN (SELECT 1 FROM seats)",
        ),
    ]);
}

#[test]
fn writes_leave_strays_alone() {
    check(&[
        ("DELETE FROM events", "DELETE FROM events WHERE (own(events.event_id))"),
        (
            "UPDATE events e SET name = (SELECT max(status) FROM seats s WHERE s.event_id = e.event_id) WHERE day < $1 RETURNING *",
            "UPDATE events e SET name = (SELECT max(status) FROM seats s WHERE (s.event_id = e.event_id) AND (own(s.event_id))) \
             WHERE (day < $1) AND (own(e.event_id)) RETURNING *",
        ),
        (
            "UPDATE events SET name = 'x' FROM seats s LEFT JOIN orders o USING (event_id)",
            "UPDATE events SET name = 'x' FROM seats s LEFT JOIN orders o USING (event_id) WHERE (own(events.event_id) AND own(s.event_id))",
        ),
        (
            "INSERT INTO seats SELECT event_id, 1 FROM events ON CONFLICT DO NOTHING",
            "INSERT INTO seats SELECT event_id, 1 FROM events WHERE (own(events.event_id)) ON CONFLICT DO NOTHING",
        ),
        (
            "WITH gone AS (DELETE FROM seats USING events e WHERE e.event_id = seats.event_id RETURNING seat_id) SELECT * FROM gone",
            "WITH gone AS (DELETE FROM seats USING events e WHERE (e.event_id = seats.event_id) AND (own(seats.event_id) AND own(e.event_id)) \
             RETURNING seat_id) SELECT * FROM gone",
        ),
        (
            "MERGE INTO seats s USING events ON CASE WHEN s.price > 1 THEN true END AND s.event_id = events.event_id WHEN MATCHED THEN DELETE",
            "MERGE INTO seats s USING (SELECT * FROM events WHERE (own(events.event_id))) AS events \
             ON (CASE WHEN s.price > 1 THEN true END AND s.event_id = events.event_id) AND (own(s.event_id)) WHEN MATCHED THEN DELETE",
        ),
        (
            "MERGE INTO seats USING (VALUES ($1::bigint)) v (id) ON id = event_id WHEN MATCHED THEN DELETE",
            "MERGE INTO seats USING (VALUES ($1::bigint)) v (id) ON (id = event_id) AND (own(seats.event_id)) WHEN MATCHED THEN DELETE",
        ),
    ]);
}

#[test]
fn only_tables_of_the_keyspaces_that_move_are_looked_at() {
    let read = Derived::read("SELECT 1 FROM events e, users u, sessions s".to_owned()).unwrap();
    let own = own_rows(&read.tree, &schema(), &["people"], &condition).unwrap();
    let [Place::Where { keys, .. }] = own.places.as_slice() else { panic!("{:?}", own.places) };
    assert_eq!(keys.iter().map(|key| key.name.as_str()).collect::<Vec<_>>(), ["u.email"]);
}

#[test]
fn rows_that_no_source_has_cannot_be_told_from_strays() {
    let text = "MERGE INTO seats s USING events e ON s.event_id = e.event_id WHEN NOT MATCHED BY SOURCE THEN DELETE";
    let read = Derived::read(text.to_owned()).unwrap();
    let refused = own_rows(&read.tree, &schema(), &["main"], &condition).unwrap_err();
    assert_eq!(refused.sqlstate().code(), "0A000");
}

/// What each of several shards would run of a read.
pub(super) fn check_read(parsed: &crate::sql::Parsed, read: &super::super::Read) {
    if let Some(text) = spliced::of_shards(parsed, read) {
        with_own_rows(&text);
    }
}
