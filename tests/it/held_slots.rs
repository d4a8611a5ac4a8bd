//! Statements while slots move: what waits, what does not, and what fails.

use std::time::{Duration, Instant};

use crate::support::{Client, Shardd};

/// When the slots are held, in milliseconds after the start, and until when.
const FROM_MS: u64 = 1_500;
const UNTIL_MS: u64 = 4_000;

/// A server of each kind with a table of events 1 to 20, started anew so that all slots are held for a while. `owner`: whose they
/// are then, as `:NUMBER`.
fn each_kind(move_hold_ms: u64, owner: &'static str) -> impl Iterator<Item = Shardd> {
    [Shardd::start_with, Shardd::start_over_postgres_with].into_iter().map(move |start| {
        let mut shardd = start(&format!("[limits]\nmove_hold_ms = {move_hold_ms}\n"));
        let mut client = shardd.client();
        client.run("CREATE TABLE events (event_id bigint PRIMARY KEY, name text)");
        let rows: Vec<String> = (1..=20).map(|event| format!("({event}, 'x')")).collect();
        client.run(&format!("INSERT INTO events VALUES {}", rows.join(", ")));
        shardd.stop();
        shardd.launch_with(&[("SHARDD_TEST_HELD", &format!("tickets:0-16383:{FROM_MS}:{UNTIL_MS}{owner}"))]);
        shardd
    })
}

/// Until a write by itself has to wait.
fn until_held(client: &mut Client) {
    let begin = Instant::now();
    loop {
        let asked = Instant::now();
        client.query("UPDATE events SET name = 'held' WHERE event_id = 1");
        if asked.elapsed() > Duration::from_millis(200) {
            return;
        }
        assert!(begin.elapsed() < Duration::from_secs(10), "no slot was held");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn statements_on_held_slots_wait_and_then_go_on() {
    for shardd in each_kind(20_000, "") {
        let statements = [
            "UPDATE events SET name = 'y' WHERE event_id = 3",
            "SELECT name FROM events WHERE event_id = 3",
            "UPDATE events SET name = 'z'",
            "INSERT INTO events VALUES (101, 'new'), (102, 'new'), (103, 'new')",
            "BEGIN; SELECT name FROM events WHERE event_id = 5 FOR UPDATE; COMMIT",
        ];
        let mut begun = shardd.client();
        begun.run("BEGIN");
        begun.run("UPDATE events SET name = 'begun' WHERE event_id = 7");
        let waited = std::thread::scope(|scope| {
            let waiting = statements.map(|statement| {
                let mut client = shardd.client();
                scope.spawn(move || {
                    // Known, so that it may pass through.
                    client.simple("SELECT name FROM events WHERE event_id = 3");
                    std::thread::sleep(Duration::from_millis(FROM_MS + 300));
                    let begin = Instant::now();
                    for answer in client.simple(statement) {
                        assert!(answer.error.is_none(), "{statement}: {:?}", answer.error);
                    }
                    begin.elapsed()
                })
            });
            std::thread::sleep(Duration::from_millis(FROM_MS + 500));
            let begin = Instant::now();
            assert_eq!(shardd.client().query("SELECT count(*) FROM events WHERE event_id <= 20").value(), "20");
            // It has used its shard already.
            begun.run("UPDATE events SET name = 'begun' WHERE event_id = 7");
            begun.run("COMMIT");
            assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
            waiting.map(|waiting| waiting.join().expect("it goes on"))
        });
        for (statement, waited) in statements.iter().zip(waited) {
            assert!(waited > Duration::from_millis(700), "{statement}: {waited:?}");
        }
        assert_eq!(shardd.client().query("SELECT count(*) FROM events").value(), "23");
    }
}

#[test]
fn a_statement_that_has_waited_too_long_fails_and_may_be_sent_again() {
    for shardd in each_kind(300, "") {
        let mut client = shardd.client();
        let begin = Instant::now();
        let failed = loop {
            let answer = client.query("UPDATE events SET name = 'y' WHERE event_id = 3");
            match answer.error {
                Some(error) => break error,
                None => std::thread::sleep(Duration::from_millis(20)),
            }
            assert!(begin.elapsed() < Duration::from_secs(10), "no slot was held");
        };
        assert_eq!(failed.sqlstate(), "40001", "{failed:?}");
        assert!(failed.hint().contains("run the whole transaction again"), "{failed:?}");
        let refused = client.query("CREATE TABLE other (a int)").error.expect("the schema stays as it is");
        assert_eq!(refused.sqlstate(), "55006", "{refused:?}");
        std::thread::sleep(Duration::from_millis(UNTIL_MS));
        client.query("UPDATE events SET name = 'y' WHERE event_id = 3").expect_tag("UPDATE 1");
    }
}

#[test]
fn a_snapshot_of_before_a_move_does_not_see_moved_rows() {
    for shardd in each_kind(20_000, ":1") {
        let mut old = shardd.client();
        let elsewhere = shardd.keys_on("events", &shardd.shard_names()[1], 2);
        let read = format!("SELECT name FROM events WHERE event_id = {}", elsewhere[0]);
        old.run("BEGIN ISOLATION LEVEL REPEATABLE READ");
        old.query(&read).expect_tag("SELECT 1");
        until_held(&mut shardd.client());
        let failed = old.query(&read).error.expect("the rows are elsewhere");
        assert_eq!(failed.sqlstate(), "40001", "{failed:?}");
        assert!(failed.message().contains("moved to another shard"), "{failed:?}");
        old.run("ROLLBACK");
        old.run("BEGIN ISOLATION LEVEL REPEATABLE READ");
        assert!(old.query("SELECT name FROM events WHERE event_id = 1").error.is_none());
        old.run("COMMIT");
    }
}
