//! FOR UPDATE over several shards, also where rows are brought together: what is read is locked where it lies.

use crate::support::{Client, Shardd};

const SCHEMA: &[&str] = &[
    "CREATE TABLE venues (venue_id int PRIMARY KEY, name text)",
    "CREATE TABLE events (event_id bigint PRIMARY KEY, venue_id int, title text)",
    "CREATE TABLE seats (event_id bigint, seat_id int, price int, PRIMARY KEY (event_id, seat_id))",
    "INSERT INTO venues VALUES (1, 'Hall'), (2, 'Club')",
    "INSERT INTO events SELECT n, n % 2 + 1, 'event ' || n FROM generate_series(1, 12) n",
    "INSERT INTO seats SELECT n, n % 3, n FROM generate_series(1, 12) n",
];

const LOCKED: &str = "55P03";

fn start() -> (Shardd, Client, Client) {
    let shardd = Shardd::start_over_postgres();
    let (mut one, other) = (shardd.client(), shardd.client());
    SCHEMA.iter().for_each(|statement| one.run(statement));
    (shardd, one, other)
}

/// Whether another client is kept from this row.
fn is_locked(other: &mut Client, row: &str) -> bool {
    let answer = other.query(&format!("SELECT 1 FROM {row} FOR UPDATE NOWAIT"));
    match &answer.error {
        None => false,
        Some(error) => {
            assert_eq!(error.sqlstate(), LOCKED, "{row}: {error:?}");
            true
        }
    }
}

#[test]
fn rows_that_are_brought_together_are_locked_until_the_transaction_ends() {
    let (_shardd, mut one, mut other) = start();
    one.run("BEGIN");
    let rows = one.query(
        "SELECT e.event_id, s.seat_id FROM events e JOIN seats s ON s.price = e.event_id + 1 \
         WHERE e.event_id < 9 ORDER BY 1 FOR UPDATE OF e",
    );
    assert_eq!(rows.texts().len(), 8);
    for event in 1..9 {
        assert!(is_locked(&mut other, &format!("events WHERE event_id = {event}")), "{event}");
    }
    assert!(!is_locked(&mut other, "events WHERE event_id = 9"));
    assert!(!is_locked(&mut other, "seats WHERE event_id = 2"), "only events are named");
    one.run("UPDATE events SET title = 'changed' WHERE event_id = 3");
    one.run("COMMIT");
    assert!(!is_locked(&mut other, "events WHERE event_id = 3"));
}

#[test]
fn copies_of_a_reference_table_are_locked_where_everybody_locks_them() {
    let (_shardd, mut one, mut other) = start();
    one.run("BEGIN");
    let locking = "SELECT v.name, count(e.n) FROM venues v, LATERAL (SELECT event_id AS n FROM events e \
        WHERE e.venue_id = v.venue_id LIMIT 1) e GROUP BY 1";
    assert_eq!(one.query(locking).texts().len(), 2);
    assert!(!is_locked(&mut other, "venues WHERE venue_id = 1"));
    let locking = "SELECT v.name FROM venues v JOIN events e ON e.venue_id = v.venue_id \
        WHERE e.event_id > (SELECT avg(price) FROM seats) AND v.venue_id = 1 FOR UPDATE OF v";
    assert_eq!(one.query(locking).texts().len(), 3);
    assert!(is_locked(&mut other, "venues WHERE venue_id = 1"));
    assert!(!is_locked(&mut other, "venues WHERE venue_id = 2"));
    one.run("ROLLBACK");
}

#[test]
fn rows_that_are_locked_already_are_refused_or_skipped_where_they_lie() {
    let (_shardd, mut one, mut other) = start();
    other.run("BEGIN; UPDATE events SET title = 'held' WHERE event_id IN (2, 5)");
    let read = "SELECT event_id FROM events e WHERE event_id < (SELECT avg(price) FROM seats) ORDER BY 1 FOR UPDATE";
    assert_eq!(one.query(&format!("{read} NOWAIT")).sqlstate(), LOCKED);
    let rows = one.query(&format!("{read} SKIP LOCKED")).texts();
    let rows: Vec<_> = rows.iter().filter_map(|row| row[0].as_deref()).collect();
    assert_eq!(rows, ["1", "3", "4", "6"]);
    // Those that are skipped would be missing in the average as well.
    let twice =
        "SELECT event_id FROM events e WHERE event_id < (SELECT avg(event_id) FROM events) FOR UPDATE SKIP LOCKED";
    assert_eq!(one.query(twice).sqlstate(), "0A000");
    other.run("ROLLBACK");
}

#[test]
fn a_read_sees_what_its_transaction_has_truncated_and_altered() {
    let (_shardd, mut one, _other) = start();
    one.run("BEGIN");
    one.run("TRUNCATE seats");
    let read = "SELECT count(*), max(e.title) FROM events e LEFT JOIN seats s ON s.price = e.event_id + 1";
    assert_eq!(one.query(read).texts(), [[Some("12".to_owned()), Some("event 9".to_owned())]]);
    let unused = "WITH unused AS (SELECT price FROM seats) SELECT rank() OVER (ORDER BY title) FROM events";
    assert_eq!(one.query(unused).texts().len(), 12);
    one.run("INSERT INTO seats VALUES (1, 1, 5)");
    one.run("ALTER TABLE seats ADD COLUMN note varchar(20) COLLATE \"und-x-icu\" DEFAULT 'new'");
    let read = "SELECT e.event_id, s.note FROM events e JOIN seats s ON s.price = e.event_id + 1";
    assert_eq!(one.query(read).texts(), [[Some("4".to_owned()), Some("new".to_owned())]]);
    one.run("CREATE TYPE mood AS ENUM ('good')");
    one.run("ALTER TABLE seats ADD COLUMN mood mood");
    let read = "SELECT e.event_id, s.mood FROM events e JOIN seats s ON s.price = e.event_id + 1";
    assert_eq!(one.query(read).sqlstate(), "0A000", "nobody else has the type");
    one.run("ROLLBACK");
}
