//! Writes: whose rows, and what is refused.

use super::super::{Insert, Plan};
use super::{check, planned, planned_lifted};
use crate::types::{Datum, Key};

#[test]
fn rows_go_by_their_keys() {
    check(&[
        ("INSERT INTO seats VALUES (1, 2, 'free', 10)", "insert 1"),
        ("INSERT INTO seats (seat_id, event_id) VALUES (1, $1), (2, -3), (3, '4'), (4, 5::bigint)", "insert $1 -3 4 5"),
        ("INSERT INTO orders VALUES (1, 2, 'x')", "insert 2"),
        ("INSERT INTO orders (buyer, event_id) VALUES ('x', 9) RETURNING order_id", "insert 9"),
        ("INSERT INTO seats VALUES (1, 2) ON CONFLICT DO NOTHING", "insert 1"),
        (
            "INSERT INTO seats VALUES (1, 2) ON CONFLICT (event_id, seat_id) DO UPDATE SET status = excluded.status",
            "insert 1",
        ),
        ("INSERT INTO seats VALUES (1, (SELECT max(venue_id) FROM venues))", "insert 1"),
        ("INSERT INTO venues VALUES (1, 'x')", "reference venues"),
        ("INSERT INTO venues SELECT * FROM venues", "reference venues"),
        ("INSERT INTO users VALUES ('a@b', 'x')", "insert 'a@b'"),
    ]);
}

#[test]
fn keys_that_cannot_be_told_are_refused() {
    check(&[
        (
            "INSERT INTO seats VALUES (NULL, 2)",
            "23502 null value in column \"event_id\" of relation \"seats\" violates not-null constraint",
        ),
        ("INSERT INTO seats (seat_id) VALUES (2)", "23502 ..."),
        ("INSERT INTO seats VALUES (DEFAULT, 2)", "23502 ..."),
        ("INSERT INTO seats DEFAULT VALUES", "23502 ..."),
        ("INSERT INTO generated (name) VALUES ('x')", "0A000 INSERT into \"generated\" without its sharding key..."),
        (
            "INSERT INTO seats VALUES (1 + 1, 2)",
            "write every | 0A000 a computed value for the sharding key \"event_id\" of \"seats\"...",
        ),
        ("INSERT INTO seats VALUES (abs(1), 2)", "write every | 0A000 a computed value..."),
        ("INSERT INTO seats VALUES ((SELECT 1), 2)", "write every | 0A000 a computed value..."),
        ("INSERT INTO seats VALUES (nextval('x'), 2)", "0A000 function nextval()..."),
        (
            "INSERT INTO seats (seat_id, nothing) VALUES (1, 2)",
            "42703 column \"nothing\" of relation \"seats\" does not exist",
        ),
        ("INSERT INTO nowhere VALUES (1)", "42P01 ..."),
        (
            "INSERT INTO seats VALUES (1, 2) ON CONFLICT (event_id) DO UPDATE SET event_id = 3",
            "0A000 changing the sharding key...",
        ),
        ("INSERT OR REPLACE INTO seats VALUES (1, 2)", "42601 ..."),
    ]);
}

#[test]
fn inserts_from_queries_stay_with_their_key() {
    check(&[
        ("INSERT INTO seats SELECT 1, venue_id FROM venues", "write {1} | 0A000 ..."),
        ("INSERT INTO seats SELECT $1, n, 'free', 5 FROM generate_series(1, 100) n", "write {$1} | 0A000 ..."),
        (
            "INSERT INTO seats (seat_id, event_id) SELECT seat_id, 2 FROM seats WHERE event_id = 1",
            "write {2} + {1} | 0A000 ...",
        ),
        ("INSERT INTO orders (event_id, buyer) SELECT event_id, status FROM seats WHERE event_id = 1", "write {1}"),
        ("INSERT INTO orders (event_id, buyer) SELECT event_id, status FROM seats", "write every"),
        (
            "INSERT INTO orders (event_id, total) SELECT event_id, sum(price) FROM seats GROUP BY event_id",
            "write every",
        ),
        (
            "INSERT INTO orders (event_id, total) SELECT max(event_id), sum(price) FROM seats",
            "write every | 0A000 an aggregate in a subquery...",
        ),
        (
            "INSERT INTO orders (event_id, buyer) SELECT event_id, status FROM seats LIMIT 5",
            "write every | 0A000 LIMIT...",
        ),
        ("INSERT INTO seats SELECT venue_id, 1 FROM venues", "write every | 0A000 a computed value..."),
        ("INSERT INTO seats SELECT n, 1 FROM generate_series(1, 5) n", "write every | 0A000 a computed value..."),
        (
            "INSERT INTO seats SELECT seat_id, event_id FROM seats WHERE event_id = 1",
            "write every | 0A000 a computed value...",
        ),
        ("INSERT INTO venues SELECT venue_id FROM events", "write every | 0A000 a write to the reference table..."),
        ("INSERT INTO seats VALUES (1, (SELECT count(*) FROM orders WHERE event_id = 1))", "write {1} | 0A000 ..."),
        (
            "INSERT INTO seats VALUES (1, (SELECT count(*) FROM orders WHERE event_id = 2))",
            "write {1} + {2} | 0A000 ...",
        ),
    ]);
}

#[test]
fn updates_and_deletes_go_by_their_conditions() {
    check(&[
        ("UPDATE seats SET status = 'x' WHERE event_id = 1 AND seat_id = ANY($1) RETURNING seat_id", "write {1}"),
        ("UPDATE seats SET status = 'x' WHERE event_id IN (1, 2)", "write {1,2}"),
        ("UPDATE seats SET status = 'x'", "write every"),
        ("UPDATE seats AS s SET status = 'x' WHERE s.event_id = $1", "write {$1}"),
        (
            "UPDATE seats SET event_id = 2 WHERE event_id = 1",
            "write every | 0A000 changing the sharding key \"event_id\" of \"seats\" by UPDATE...",
        ),
        ("UPDATE seats SET (status, event_id) = ('x', 2)", "write every | 0A000 changing the sharding key..."),
        ("UPDATE seats s SET status = o.buyer FROM orders o WHERE o.event_id = s.event_id", "write every"),
        (
            "UPDATE seats s SET status = o.buyer FROM orders o WHERE o.event_id = s.event_id AND o.event_id = 1",
            "write {1}",
        ),
        ("UPDATE seats s SET status = o.buyer FROM orders o WHERE o.buyer = s.status", "write every | 0A000 a join..."),
        ("UPDATE seats s SET status = v.name FROM venues v WHERE v.venue_id = s.seat_id", "write every"),
        (
            "UPDATE seats SET status = (SELECT max(buyer) FROM orders o WHERE o.event_id = seats.event_id)",
            "write every",
        ),
        ("UPDATE seats SET status = (SELECT max(buyer) FROM orders)", "write every | 0A000 an aggregate..."),
        ("UPDATE venues SET name = 'x'", "reference venues"),
        (
            "UPDATE venues SET name = e.name FROM events e WHERE e.venue_id = venues.venue_id",
            "0A000 a write to the reference table...",
        ),
        ("DELETE FROM seats WHERE event_id = 1", "write {1}"),
        ("DELETE FROM seats", "write every"),
        ("DELETE FROM seats WHERE event_id = 1 OR event_id = 2", "write {1,2}"),
        ("DELETE FROM seats USING orders o WHERE o.event_id = seats.event_id AND o.buyer = 'x'", "write every"),
        ("DELETE FROM seats USING orders o WHERE o.buyer = seats.status", "write every | 0A000 a join..."),
        ("DELETE FROM seats WHERE event_id IN (SELECT event_id FROM orders WHERE buyer = 'x')", "write every"),
        ("DELETE FROM venues WHERE venue_id = 1", "reference venues"),
        (
            "DELETE FROM venues WHERE venue_id IN (SELECT venue_id FROM events)",
            "0A000 a write to the reference table...",
        ),
        ("TRUNCATE seats", "ddl"),
        ("TRUNCATE TABLE seats, orders", "ddl"),
        ("TRUNCATE venues", "ddl"),
        ("TRUNCATE venues, seats", "ddl"),
    ]);
}

#[test]
fn writes_within_with_that_meet_need_one_key() {
    check(&[
        (
            "WITH gone AS (DELETE FROM seats WHERE event_id = 1 RETURNING *) SELECT count(*) FROM gone",
            "write {1} | 0A000 a SELECT that puts rows...",
        ),
        (
            "WITH gone AS (DELETE FROM seats WHERE event_id = 1 RETURNING *) INSERT INTO orders (event_id) VALUES (2)",
            "write {1} + {2} | 0A000 INSERT of several keys...",
        ),
        ("WITH x AS (SELECT 5 AS n) UPDATE seats SET seat_id = n FROM x WHERE event_id = 1", "write {1}"),
        (
            "WITH x AS (INSERT INTO venues VALUES (1) RETURNING *) SELECT * FROM x",
            "0A000 a write to the reference table...",
        ),
    ]);
}

#[test]
fn the_row_of_a_cursor_is_written_by_a_statement_of_its_own() {
    let refused = "0A000 WHERE CURRENT OF in a statement with a write within WITH...";
    check(&[
        ("WITH d AS (DELETE FROM orders WHERE total = 0 RETURNING 1) DELETE FROM seats WHERE CURRENT OF c", refused),
        ("WITH d AS (DELETE FROM seats WHERE CURRENT OF c RETURNING *) SELECT * FROM orders", refused),
        ("WITH d AS (DELETE FROM seats WHERE CURRENT OF c RETURNING 1) DELETE FROM venues", refused),
        ("WITH d AS (SELECT 1) DELETE FROM seats WHERE CURRENT OF c", "write every"),
    ]);
}

#[test]
fn the_session_answers_what_is_its_own() {
    check(&[
        ("BEGIN", "Begin { tag: \"BEGIN\", isolation: None, read_only: None }"),
        ("begin work", "Begin { tag: \"BEGIN\", isolation: None, read_only: None }"),
        (
            "START TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY",
            "Begin { tag: \"START TRANSACTION\", isolation: Some(RepeatableRead), read_only: Some(true) }",
        ),
        (
            "BEGIN ISOLATION LEVEL SERIALIZABLE READ WRITE NOT DEFERRABLE",
            "Begin { tag: \"BEGIN\", isolation: Some(Serializable), read_only: Some(false) }",
        ),
        ("COMMIT", "Commit { chain: false }"),
        ("END TRANSACTION", "Commit { chain: false }"),
        ("COMMIT AND CHAIN", "Commit { chain: true }"),
        ("ROLLBACK AND NO CHAIN", "Rollback { chain: false }"),
        ("ABORT", "Rollback { chain: false }"),
        ("SAVEPOINT \"A b\"", "Savepoint(\"A b\")"),
        ("RELEASE SAVEPOINT Sp", "Release(\"sp\")"),
        ("ROLLBACK TO sp", "RollbackTo(\"sp\")"),
        ("ROLLBACK TRANSACTION TO SAVEPOINT sp", "RollbackTo(\"sp\")"),
        ("SET TRANSACTION READ ONLY", "SetTransaction { isolation: None, read_only: Some(true), session: false }"),
        (
            "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ UNCOMMITTED",
            "SetTransaction { isolation: Some(ReadCommitted), read_only: None, session: true }",
        ),
        ("SET application_name = 'x'", "Set { name: \"application_name\", value: Some(\"x\"), local: false }"),
        (
            "SET LOCAL statement_timeout TO 500",
            "Set { name: \"statement_timeout\", value: Some(\"500\"), local: true }",
        ),
        (
            "SET search_path = public, \"My\"",
            "Set { name: \"search_path\", value: Some(\"public, \\\"My\\\"\"), local: false }",
        ),
        ("SET SESSION a.B = -1", "Set { name: \"a.b\", value: Some(\"-1\"), local: false }"),
        ("SET TimeZone TO DEFAULT", "Set { name: \"timezone\", value: None, local: false }"),
        ("set time zone 'UTC'", "Set { name: \"timezone\", value: Some(\"UTC\"), local: false }"),
        ("SET TIME ZONE LOCAL", "Set { name: \"timezone\", value: None, local: false }"),
        ("SET NAMES 'utf8'", "Set { name: \"client_encoding\", value: Some(\"utf8\"), local: false }"),
        ("SHOW transaction isolation level", "Show(\"transaction_isolation\")"),
        ("show standard_conforming_strings", "Show(\"standard_conforming_strings\")"),
        ("SHOW ALL", "ShowAll"),
        ("RESET ALL", "Reset(None)"),
        ("RESET x", "Reset(Some(\"x\"))"),
        ("DISCARD ALL", "Discard(All)"),
        ("DEALLOCATE PREPARE \"S_1\"", "Deallocate(Some(\"S_1\"))"),
        ("DEALLOCATE ALL", "Deallocate(None)"),
        (
            "PREPARE p (int, text) AS SELECT $1, 'x'",
            "Prepare { name: \"p\", types: [Int(None), Text], text: \"SELECT $1, 'x'\" }",
        ),
        (
            "EXPLAIN (SHARDD) SELECT 1",
            "Explain { prefix: \"EXPLAIN (SHARDD) \", text: \"SELECT 1\", json: false, shardd: true, analyze: false }",
        ),
        (
            "EXPLAIN (VERBOSE, FORMAT JSON) EXECUTE sqlx_s_1",
            "Explain { prefix: \"EXPLAIN (VERBOSE, FORMAT JSON) \", text: \"EXECUTE sqlx_s_1\", json: true, ...",
        ),
        ("EXPLAIN VERBOSE SELECT 1", "Explain { prefix: \"EXPLAIN VERBOSE \", text: \"SELECT 1\", json: false, ..."),
        ("CLOSE ALL", "Close(None)"),
        ("UNLISTEN *", "Unlisten(None)"),
        ("", "Empty"),
        ("-- nothing", "Empty"),
        ("SELECT set_config('TimeZone', $1, false)", "Settings([..."),
        ("SELECT current_setting('jit') AS cur, set_config('jit', 'off', false) AS new", "Settings([..."),
        ("EXECUTE p (1, 'x')", "Execute { name: \"p\", arguments: [..."),
    ]);
}

#[test]
fn cursors_and_roles_are_read_for_those_who_have_them() {
    check(&[
        (
            "DECLARE c NO SCROLL CURSOR FOR SELECT 1",
            "Declare { name: \"c\", hold: false, scroll: Some(false), binary: false, query: \"SELECT 1\" }",
        ),
        ("FETCH FORWARD 2 FROM \"C\";", "Fetch { name: \"C\", moves: false, direction: Rows(2) }"),
        ("MOVE c", "Fetch { name: \"c\", moves: true, direction: Rows(1) }"),
        ("SET ROLE x", "Set { name: \"role\", value: Some(\"x\"), local: false }"),
    ]);
}

#[test]
fn statements_without_a_place_are_refused_with_a_hint() {
    check(&[
        ("PREPARE TRANSACTION 'x'", "0A000 PREPARE TRANSACTION is not supported by shardd"),
        ("COMMIT PREPARED 'x'", "0A000 PREPARE TRANSACTION ..."),
        ("LISTEN x", "Listen"),
        ("NOTIFY x, 'y'", "Notify { tag: \"NOTIFY\" }"),
        ("NOTIFY x, y", "42601 syntax error at or near \"y\""),
        ("COPY seats FROM 'x'", "0A000 COPY from a file..."),
        ("LOCK TABLE \"__EFMigrationsHistory\" IN ACCESS EXCLUSIVE MODE", "0A000 LOCK TABLE..."),
        ("VACUUM", "0A000 maintenance..."),
        ("DO $$ BEGIN END $$", "0A000 DO ..."),
        ("CREATE TABLE x (event_id bigint)", "ddl"),
        ("CREATE UNIQUE INDEX i ON seats (event_id, seat_id)", "ddl"),
        ("ALTER TABLE seats ADD COLUMN x int", "ddl"),
        ("DROP TABLE IF EXISTS seats", "ddl"),
        ("KILL 5", "42601 syntax error at or near \"KILL\""),
        ("PRAGMA foreign_keys", "42601 ..."),
        ("ATTACH DATABASE 'x' AS y", "42601 ..."),
        ("IF true THEN SELECT 1; END IF", "42601 ..."),
        ("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'", "0A000 CREATE FUNCTION..."),
        ("ALTER SYSTEM SET x = 1", "0A000 ALTER SYSTEM..."),
        ("GRANT ALL ON seats TO x", "0A000 GRANT..."),
        ("BEGIN EXTRA", "42601 syntax error at or near \"EXTRA\""),
    ]);
}

fn insert(text: &str) -> Box<Insert> {
    match planned(text).unwrap() {
        Plan::Insert(insert) => insert,
        other => panic!("{other:?}"),
    }
}

#[test]
fn parts_of_an_insert_hold_their_rows_only() {
    let insert = insert("INSERT INTO seats (event_id) VALUES (1), (2), (3) ON CONFLICT DO NOTHING RETURNING *");
    assert_eq!(
        insert.part(&[2, 0]).to_string(),
        "INSERT INTO seats (event_id) VALUES (3), (1) ON CONFLICT DO NOTHING RETURNING *"
    );
}

#[test]
fn row_keys_are_what_the_table_will_hold() {
    let insert = insert("INSERT INTO seats (event_id) VALUES ($1), (-$1), ($2), ($3), ($4), (1.4)");
    let parameters = [Datum::Int4(7), Datum::Null, Datum::Bool(true), Datum::Float8(2.5)];
    assert_eq!(insert.row_key(0, &parameters), Ok(Key::Bigint(7)));
    assert_eq!(insert.row_key(1, &parameters), Ok(Key::Bigint(-7)));
    assert_eq!(insert.row_key(2, &parameters).unwrap_err().sqlstate().code(), "23502");
    assert_eq!(insert.row_key(3, &parameters).unwrap_err().sqlstate().code(), "42804");
    assert_eq!(insert.row_key(4, &parameters), Ok(Key::Bigint(2)));
    assert_eq!(insert.row_key(5, &parameters), Ok(Key::Bigint(1)));
}

#[test]
fn lifted_texts_give_the_same_plans() {
    let Plan::Read(read) = planned_lifted("SELECT * FROM seats WHERE event_id = 7 AND status = 'x' LIMIT 5").unwrap()
    else {
        panic!()
    };
    assert_eq!(super::describe_keys(&read.route.keys), "{$1}");
    assert!(read.scatter.is_ok());
    let Plan::Write(write) = planned_lifted("UPDATE seats SET status = 'y' WHERE event_id = -7").unwrap() else {
        panic!()
    };
    assert_eq!(super::describe_keys(&write.route.keys), "{-$2}");
}

#[test]
fn a_merge_leaves_no_key_to_its_identity() {
    let merge = |clause: &str| {
        format!(
            "MERGE INTO generated g USING events e ON g.event_id = e.event_id \
             WHEN NOT MATCHED THEN INSERT (event_id, name) {clause} VALUES (e.event_id, 'x')"
        )
    };
    assert!(planned(&merge("OVERRIDING SYSTEM VALUE")).is_ok());
    let refused = planned(&merge("OVERRIDING USER VALUE")).unwrap_err();
    assert_eq!(
        refused.message(),
        planned("INSERT INTO generated OVERRIDING USER VALUE VALUES (1)").unwrap_err().message()
    );
}

#[test]
fn a_merge_runs_where_its_source_lies() {
    let on = "ON t.event_id = s.event_id AND t.seat_id = s.seat_id";
    let insert = "WHEN NOT MATCHED THEN INSERT (event_id, seat_id) VALUES (s.event_id, s.seat_id)";
    let other = "WHEN NOT MATCHED THEN INSERT (event_id, seat_id) VALUES (8, s.seat_id)";
    let update = "WHEN MATCHED THEN UPDATE SET status = 'x'";
    let across = "0A000 an outer join that keeps a reference table's rows, across shards is not supported by shardd";
    for (source, rest, expected) in [
        // Each row of the source lies with the rows that it meets.
        ("orders s", format!("ON t.event_id = s.event_id {update}"), "write every".to_owned()),
        ("(SELECT event_id, 1 AS seat_id FROM orders) s", format!("{on} {update} {insert}"), "write every".to_owned()),
        (
            "(SELECT event_id, 1 AS seat_id FROM orders WHERE event_id = 7) s",
            format!("{on} {update} {insert}"),
            "write {7}".to_owned(),
        ),
        // One key's rows, or the shards' own, of what lies nowhere.
        (
            "(SELECT $1::bigint AS event_id, $2::int AS seat_id) s",
            format!("{on} {update} {insert}"),
            format!("write {{$1}} | {across}"),
        ),
        ("(VALUES (5, 1)) s (event_id, seat_id)", format!("{on} {insert}"), format!("write {{5}} | {across}")),
        ("(VALUES (5, 1)) s (event_id, seat_id)", format!("{on} {update}"), "write {5}".to_owned()),
        ("venues s", format!("ON t.seat_id = s.venue_id {update}"), "write every".to_owned()),
        ("venues s", format!("ON t.event_id = 4 AND t.seat_id = s.venue_id {update}"), "write {4}".to_owned()),
        // The row that is inserted has a shard, too.
        ("(VALUES (5, 1)) s (event_id, seat_id)", format!("{on} {other}"), format!("write {{5}} + {{8}} | {across}")),
    ] {
        assert_eq!(super::line(&format!("MERGE INTO seats t USING {source} {rest}")), expected, "{source} {rest}");
    }
    check(&[
        (
            "MERGE INTO venues v USING (VALUES (1)) s (n) ON v.venue_id = s.n WHEN MATCHED THEN DELETE",
            "reference venues",
        ),
        (
            "MERGE INTO venues v USING seats s ON v.venue_id = s.seat_id WHEN MATCHED THEN DELETE",
            "0A000 a write to the reference table...",
        ),
        (
            "MERGE INTO seats t USING orders s ON t.event_id = s.event_id WHEN MATCHED THEN UPDATE SET event_id = 3",
            "0A000 changing the sharding key...",
        ),
        (
            "MERGE INTO seats t USING orders s ON t.event_id = s.event_id WHEN NOT MATCHED THEN INSERT (seat_id) VALUES (1)",
            "23502 ...",
        ),
        ("MERGE INTO seats t USING orders t ON true WHEN MATCHED THEN DELETE", "42712 ..."),
    ]);
}

#[test]
fn writes_within_with_run_on_each_shard_where_all_lies_together() {
    check(&[
        (
            "WITH d AS (DELETE FROM seats WHERE price = 0 RETURNING *) INSERT INTO orders (event_id, total) SELECT event_id, price FROM d",
            "write every",
        ),
        (
            "WITH d AS (DELETE FROM seats WHERE event_id = 3 RETURNING *) INSERT INTO orders (event_id, total) SELECT event_id, price FROM d",
            "write {3}",
        ),
        ("WITH d AS (DELETE FROM seats RETURNING event_id) SELECT * FROM d", "write every"),
        ("WITH d AS (DELETE FROM seats RETURNING event_id) SELECT * FROM d WHERE event_id = 4", "write every"),
        (
            "WITH d AS (UPDATE seats SET price = 1 RETURNING event_id AS e) UPDATE orders o SET total = 2 FROM d WHERE o.event_id = d.e",
            "write every",
        ),
        (
            "WITH d AS (UPDATE seats SET price = 1 WHERE event_id = 1) DELETE FROM orders WHERE event_id = 2",
            "write {1} + {2}",
        ),
        (
            "WITH d AS (SELECT event_id FROM seats WHERE price = 0) UPDATE orders SET total = 0 FROM d WHERE d.event_id = orders.event_id",
            "write every",
        ),
        // Two mentions are two rows, of two keys.
        (
            "WITH d AS (DELETE FROM seats RETURNING *) SELECT 1 FROM d a JOIN d b ON a.price = b.price",
            "write every | 0A000 a join...",
        ),
        (
            "WITH d AS (DELETE FROM seats RETURNING *) SELECT count(*) FROM d",
            "write every | 0A000 a SELECT that puts rows of several shards together...",
        ),
        ("WITH d AS (DELETE FROM seats RETURNING *) SELECT * FROM d ORDER BY price", "write every | 0A000 a SELECT..."),
        (
            "WITH d AS (DELETE FROM seats RETURNING price) INSERT INTO orders (event_id, total) SELECT price, 1 FROM d",
            "write every | 0A000 a computed value...",
        ),
        (
            "WITH d AS (DELETE FROM seats RETURNING event_id + 1 AS event_id) INSERT INTO orders (event_id) SELECT event_id FROM d",
            "write every | 0A000 a computed value...",
        ),
        ("WITH d AS (INSERT INTO seats VALUES (1, 2), (3, 4) RETURNING *) SELECT * FROM d", "write {1,3} | 0A000 ..."),
        ("WITH d AS (DELETE FROM venues RETURNING *) SELECT * FROM d", "0A000 a write to the reference table..."),
        ("WITH d AS (SELECT 1 AS n) DELETE FROM venues USING d WHERE venue_id = n", "reference venues"),
        ("WITH d AS (SELECT 1 AS n) INSERT INTO seats VALUES (1, 2), (3, 4)", "write {1,3} | 0A000 ..."),
    ]);
}

#[test]
fn no_shard_has_what_a_statement_on_two_keyspaces_needs() {
    for text in [
        "INSERT INTO orders (event_id, buyer) SELECT 7, email FROM users",
        "INSERT INTO users SELECT buyer, 'x' FROM orders WHERE event_id = 7",
        "SELECT * FROM users, orders WHERE email = 'a' AND event_id = 7",
    ] {
        let plan = planned(text).expect(text);
        assert_eq!(super::super::Straight::of(&plan), None, "{text}");
    }
}
