//! SQL cursors over several shards move and return as those of one Postgres.

use std::process::{Command, Stdio};

use crate::drivers::driver;
use crate::support::both::agree;
use crate::support::client::{DATABASE, USER};
use crate::support::shardd::{Request, Shardd};
use crate::support::{Both, Client, PATIENCE, Value};

const QUERIES: &[&str] = &[
    // Merged, gathered, aggregated, of one key, of none.
    "SELECT event_id, title, price FROM events ORDER BY event_id LIMIT 7",
    "SELECT event_id, rank() OVER (ORDER BY price DESC, event_id) FROM events ORDER BY 2",
    "SELECT rank, count(*), avg(price) FROM events GROUP BY rank ORDER BY rank",
    "SELECT seat_id, section FROM seats WHERE event_id = 3 ORDER BY seat_id",
    "SELECT event_id FROM events WHERE event_id < 0",
    "VALUES (1, 'a'), (2, NULL)",
];

const MOVES: &[&str] = &[
    "FETCH c",
    "FETCH NEXT FROM c",
    "FETCH 2 c",
    "FETCH 0 c",
    "FETCH PRIOR FROM c",
    "FETCH FIRST IN c",
    "FETCH LAST c",
    "FETCH NEXT c",
    "FETCH RELATIVE -2 FROM c",
    "FETCH ABSOLUTE 3 c",
    "MOVE 1 c",
    "FETCH FORWARD 0 c",
    "MOVE BACKWARD ALL c",
    "FETCH FORWARD ALL FROM c",
    "FETCH BACKWARD 3 c",
    "MOVE ABSOLUTE -2 c",
    "FETCH c",
    "MOVE RELATIVE 100 c",
    "FETCH c",
    "FETCH BACKWARD c",
    "FETCH -100 c",
    "MOVE FORWARD ALL c",
    "MOVE LAST c",
    "FETCH ALL c",
];

#[test]
fn cursors_move_as_on_one_database() {
    for mut both in Both::of_each_kind() {
        for query in QUERIES {
            both.run("BEGIN");
            both.agree_on(&format!("DECLARE c SCROLL CURSOR FOR {query}"));
            MOVES.iter().for_each(|statement| both.agree_on(statement));
            both.agree_on("CLOSE c");
            both.agree_on("FETCH c");
            both.run("ROLLBACK");
        }
    }
}

#[test]
fn cursors_end_as_on_one_database() {
    let declare = |name: &str| format!("DECLARE {name} CURSOR FOR SELECT event_id FROM events ORDER BY event_id");
    for mut both in Both::of_each_kind() {
        both.agree_on(&declare("c"));
        for (name, statements) in [
            ("declared twice", vec![declare("c"), declare("c")]),
            ("closed with all", vec![declare("c"), declare("d"), "CLOSE ALL".to_owned(), "FETCH d".to_owned()]),
            ("not there", vec!["CLOSE nowhere".to_owned()]),
            (
                "forward only",
                vec![
                    "DECLARE c NO SCROLL CURSOR FOR SELECT event_id FROM events ORDER BY event_id".to_owned(),
                    "FETCH 3 c".to_owned(),
                    "FETCH ABSOLUTE 5 c".to_owned(),
                    "FETCH PRIOR c".to_owned(),
                ],
            ),
            ("of what fails", vec!["DECLARE c CURSOR FOR SELECT nope FROM events".to_owned()]),
            (
                "rolled back to a savepoint",
                vec![
                    "SAVEPOINT a".to_owned(),
                    declare("c"),
                    "FETCH 2 c".to_owned(),
                    "SAVEPOINT b".to_owned(),
                    declare("d"),
                    "FETCH 2 c".to_owned(),
                    "ROLLBACK TO b".to_owned(),
                    "FETCH c".to_owned(),
                    declare("d"),
                    "RELEASE b".to_owned(),
                    "FETCH d".to_owned(),
                    "ROLLBACK TO a".to_owned(),
                    declare("c"),
                    "FETCH 2 c".to_owned(),
                    "FETCH d".to_owned(),
                ],
            ),
            (
                "not what is written later",
                vec![
                    declare("c"),
                    "DELETE FROM events WHERE event_id > 3".to_owned(),
                    "INSERT INTO events VALUES (1000, 1, 'x', 1, NULL, 1)".to_owned(),
                    "MOVE LAST c".to_owned(),
                    "FETCH PRIOR c".to_owned(),
                ],
            ),
        ] {
            both.run("BEGIN");
            statements.iter().for_each(|statement| both.agree_on(statement));
            assert_eq!(both.got.status, both.expected.status, "{name}");
            both.run("ROLLBACK");
            both.agree_on("FETCH c");
        }
    }
}

#[test]
fn cursors_with_hold_outlive_their_transactions() {
    for mut both in Both::of_each_kind() {
        for statement in [
            "DECLARE h CURSOR WITH HOLD FOR SELECT event_id, title FROM events ORDER BY event_id",
            "FETCH 3 h",
            "BEGIN",
            "FETCH 2 h",
            "DECLARE c CURSOR WITH HOLD FOR SELECT rank FROM events GROUP BY rank ORDER BY rank",
            "DECLARE d CURSOR FOR SELECT rank FROM events ORDER BY event_id",
            "FETCH c",
            "COMMIT",
            "FETCH c",
            "FETCH d",
            "CLOSE h",
            "BEGIN",
            "DECLARE e CURSOR WITH HOLD FOR SELECT rank FROM events ORDER BY event_id",
            "ROLLBACK",
            "FETCH e",
            "FETCH c",
            "CLOSE ALL",
            "FETCH c",
            "DECLARE f CURSOR WITH HOLD FOR SELECT 1 / (event_id - 9) FROM events ORDER BY event_id",
        ] {
            both.agree_on(statement);
        }
        let declare = "DECLARE c CURSOR WITH HOLD FOR SELECT rank FROM events ORDER BY event_id FOR UPDATE";
        both.agree_on(declare);
        both.agree_on("DISCARD ALL");
        both.agree_on("CLOSE f");
    }
}

#[test]
fn the_row_of_a_cursor_is_written_where_it_is() {
    let mut both = Both::start_with(true, "");
    for statement in [
        "BEGIN",
        "DECLARE c CURSOR FOR SELECT * FROM seats WHERE event_id = 3 ORDER BY seat_id FOR UPDATE",
        "FETCH 2 c",
        "UPDATE seats SET section = 'here' WHERE CURRENT OF c RETURNING event_id, seat_id, section",
        "FETCH c",
        "DELETE FROM seats WHERE CURRENT OF c",
        "COMMIT",
        "SELECT * FROM seats ORDER BY event_id, seat_id",
        "UPDATE seats SET section = 'nowhere' WHERE CURRENT OF c",
    ] {
        both.agree_on(statement);
    }
    both.got.run("BEGIN");
    both.got.run("DECLARE one CURSOR FOR SELECT * FROM seats WHERE event_id = 3 FOR UPDATE");
    both.got.run("DECLARE many CURSOR FOR SELECT * FROM seats FOR UPDATE");
    both.got.run("FETCH one");
    both.got.run("FETCH many");
    for (statement, names) in [
        ("UPDATE seats SET section = 'x' WHERE CURRENT OF many", "several shards"),
        // It would leave its shard, or be written on one copy only.
        ("UPDATE seats SET event_id = 9 WHERE CURRENT OF one", "CURRENT OF"),
        ("UPDATE venues SET name = 'x' WHERE CURRENT OF one", "CURRENT OF"),
        ("DELETE FROM seats USING events e WHERE CURRENT OF one", "CURRENT OF"),
    ] {
        both.got.run("SAVEPOINT s");
        let refused = both.got.query(statement);
        assert_eq!(refused.sqlstate(), "0A000", "{statement}");
        let error = refused.error.expect("an error");
        assert!(error.message().contains(names) && !error.hint().is_empty(), "{statement}: {error:?}");
        both.got.run("ROLLBACK TO s");
    }
    both.got.run("ROLLBACK");
    assert_eq!(both.got.query("UPDATE seats SET section = 'x' WHERE CURRENT OF nobody").sqlstate(), "34000");
}

#[test]
fn drivers_fetch_with_parameters_and_in_binary() {
    for mut both in Both::of_each_kind() {
        let declare =
            "DECLARE c CURSOR FOR SELECT event_id, price, day, title FROM events WHERE rank = $1 ORDER BY event_id";
        for client in [&mut both.expected, &mut both.got] {
            client.run("BEGIN");
        }
        let values = [Value::text(2)];
        let (expected, got) = (both.expected.extended(declare, &values), both.got.extended(declare, &values));
        agree(declare, &expected, &got);
        for fetch in ["FETCH FORWARD 2 FROM c", "FETCH FORWARD 2 FROM c", "MOVE c", "FETCH ALL FROM c"] {
            let in_binary = |client: &mut Client| client.try_extended(fetch, &[], &[], true).expect("answered");
            let (expected, got) = (in_binary(&mut both.expected), in_binary(&mut both.got));
            assert_eq!(got.rows, expected.rows, "{fetch}");
            agree(fetch, &expected, &got);
        }
        both.run("COMMIT");
    }
}

#[test]
fn the_rows_of_cursors_are_bounded() {
    for over_postgres in [true, false] {
        let mut both = Both::start_with(over_postgres, "[limits]\ngather_max_bytes = 65536\n");
        for number in 0..40 {
            both.got.run(&format!("INSERT INTO notes VALUES ({}, repeat('x', 2000))", 1000 + number));
        }
        both.got.run("BEGIN");
        both.got.run("DECLARE a CURSOR FOR SELECT * FROM notes WHERE event_id < 1020 ORDER BY event_id");
        let refused =
            both.got.query("DECLARE b CURSOR FOR SELECT * FROM notes WHERE event_id >= 1020 ORDER BY event_id");
        assert_eq!(refused.sqlstate(), "54000", "{refused:?}");
        assert!(refused.error.expect("an error").hint().contains("gather_max_bytes"));
        both.got.run("ROLLBACK");
        both.got.run("BEGIN");
        both.got.run("DECLARE b CURSOR FOR SELECT * FROM notes WHERE event_id >= 1020 ORDER BY event_id");
        assert_eq!(both.got.query("FETCH ALL b").rows.len(), 20);
        both.got.run("COMMIT");
    }
}

#[test]
fn the_rows_of_all_sessions_cursors_are_bounded_together() {
    let counted = |shardd: &Shardd| {
        let text = shardd.admin(&Request::get("/metrics")).text();
        let line = text.lines().find(|line| line.starts_with("shardd_cursor_bytes ")).expect("a metric");
        line.rsplit(' ').next().expect("a number").parse::<u64>().expect("a number")
    };
    for shardd in Shardd::of_each_kind_with("[limits]\ncursors_max_bytes = 65536") {
        let mut first = shardd.client();
        first.run("CREATE TABLE notes (event_id bigint PRIMARY KEY, body text)");
        first.run("INSERT INTO notes SELECT n, repeat('x', 2000) FROM generate_series(1, 20) n");
        let declare = "DECLARE a CURSOR WITH HOLD FOR SELECT * FROM notes ORDER BY event_id";
        first.run(declare);
        assert!((40_000..60_000).contains(&counted(&shardd)), "{}", counted(&shardd));
        let mut second = shardd.client();
        let refused = second.query(declare);
        assert_eq!(refused.sqlstate(), "53200", "{refused:?}");
        assert!(refused.error.expect("an error").hint().contains("limits.cursors_max_bytes"));
        second.run("BEGIN");
        second.run("DECLARE few CURSOR FOR SELECT * FROM notes WHERE event_id < 5 ORDER BY event_id");
        second.run("ROLLBACK");
        assert_eq!(first.query("FETCH ALL a").rows.len(), 20);
        first.run("CLOSE a");
        assert_eq!(counted(&shardd), 0);
        // One without rows takes room, too.
        let mut declared = (0..2_000).map(|number| {
            first.query(&format!("DECLARE c{number} CURSOR WITH HOLD FOR SELECT * FROM notes WHERE body = 'none'"))
        });
        let refused = declared.find(|answer| answer.error.is_some()).expect("a bound");
        assert_eq!(refused.sqlstate(), "53200", "{refused:?}");
        first.run("CLOSE ALL");
        assert_eq!(counted(&shardd), 0);
        second.run(declare);
        drop(second);
        let begin = std::time::Instant::now();
        while counted(&shardd) > 0 {
            assert!(begin.elapsed() < PATIENCE, "the rows of a session that is over stay");
        }
        first.run(declare);
    }
}

/// psql asks for so many rows at a time.
#[test]
fn psql_fetches_by_count() {
    for mut both in Both::of_each_kind() {
        let ports = [both.postgres.port, both.shardd.ports.postgres];
        let outputs = ports.map(|port| {
            let database = if port == both.postgres.port { "s4" } else { DATABASE };
            let mut command = Command::new("psql");
            command.args([
                "-X",
                "-A",
                "-v",
                "ON_ERROR_STOP=1",
                "-v",
                "FETCH_COUNT=5",
                "-h",
                "127.0.0.1",
                "-U",
                USER,
                "-d",
                database,
            ]);
            command.args(["-p", &port.to_string()]);
            command.args(["-c", "SELECT event_id, count(*) OVER () AS n, title FROM events ORDER BY event_id"]);
            command.args(["-c", "SELECT rank, sum(price) FROM events GROUP BY rank ORDER BY rank"]);
            let output = command.stdin(Stdio::null()).output().expect("psql runs");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8_lossy(&output.stdout).into_owned()
        });
        assert_eq!(outputs[1], outputs[0]);
        assert!(outputs[0].lines().count() > 28, "{}", outputs[0]);
        both.agree_on("SELECT count(*) FROM events");
    }
}

/// psycopg's named cursors, within a transaction and beyond it.
#[test]
fn psycopg_fetches_by_name() {
    for both in Both::of_each_kind() {
        let output =
            driver("python", "psycopg_cursors.py").env("DATABASE_URL", both.shardd.url()).output().expect("it runs");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("flow complete"), "{text}{}", String::from_utf8_lossy(&output.stderr));
    }
}
