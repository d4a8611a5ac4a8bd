//! Changes that are recorded, copied and done again.

use super::*;
use crate::shard::sqlite::RedoStep;

const ROWS: &str = "SELECT group_concat(line, ';') FROM (\
    SELECT 'v' || id || name AS line FROM venues \
    UNION ALL SELECT 's' || event_id || ',' || seat_id || ',' || coalesce(price, 'null') FROM seats \
    UNION ALL SELECT 'o' || id || ',' || coalesce(venue_id, 'null') FROM orders \
    UNION ALL SELECT 'l' || rowid || ',' || event_id || ',' || hex(body) FROM log)";

async fn rows(fixture: &Fixture) -> String {
    fixture.texts(ROWS).await.remove(0)
}

async fn run(transaction: &mut SqliteTransaction, sql: &str) {
    transaction.run(call(write(sql), vec![])).await.unwrap();
}

/// Two shards with the same rows.
async fn pair() -> [Fixture; 2] {
    let pair = [Fixture::with(1, |_| ()).await, Fixture::with(2, |_| ()).await];
    for fixture in &pair {
        for sql in BEFORE {
            fixture.write(sql, vec![]).await.unwrap();
        }
    }
    pair
}

const BEFORE: &[&str] = &[
    "INSERT INTO venues VALUES (1, 'a'), (2, 'b')",
    "INSERT INTO seats VALUES (1, 1, 10, NULL), (1, 2, 20, 'x'), (2, 1, NULL, NULL)",
    "INSERT INTO orders VALUES (51, 1, 1, 1), (52, 1, 2, 2)",
    "INSERT INTO log VALUES (1, x'00ff00'), (2, NULL), (2, x'')",
];

const CHANGES: &[&str] = &[
    "UPDATE seats SET price = price + 1 WHERE event_id = 1",
    "DELETE FROM seats WHERE event_id = 2",
    "INSERT INTO seats VALUES (3, 1, 30, 'y')",
    "UPDATE seats SET seat_id = 9 WHERE event_id = 3",
    "INSERT INTO log VALUES (7, zeroblob(300))",
    "UPDATE log SET body = x'00' WHERE event_id = 2",
    "DELETE FROM log WHERE event_id = 1",
    "DELETE FROM venues WHERE id = 2",
    "INSERT INTO orders (id, event_id) VALUES (pg_next_id('orders', 'id'), 5)",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_that_were_lost_are_done_again_once() {
    let [first, lost] = pair().await;
    // Steps of the first shard are those that the second "lost": only their sequences differ.
    let mut transaction = first.begin(TransactionMode::Write).await.unwrap();
    transaction.record_changes().await.unwrap();
    for sql in &CHANGES[..5] {
        run(&mut transaction, sql).await;
    }
    let mut steps = vec![RedoStep::Changes(transaction.take_changes().await.unwrap())];
    let index = vec!["CREATE INDEX log_event ON log (event_id)".to_owned()];
    transaction.run_batch(index.clone()).await.unwrap();
    steps.push(RedoStep::Statements(index));
    for sql in &CHANGES[5..] {
        run(&mut transaction, sql).await;
    }
    steps.push(RedoStep::Changes(transaction.take_changes().await.unwrap()));
    transaction.commit_as("g1").await.unwrap();
    let steps = RedoStep::decode(&RedoStep::encode(&steps)).unwrap();
    assert!(lost.shard.apply_redo("g1", steps.clone()).await.unwrap());
    assert_eq!(rows(&lost).await, rows(&first).await);
    assert_eq!(lost.number("SELECT count(*) FROM sqlite_schema WHERE name = 'log_event'").await, 1);
    assert!(!lost.shard.apply_redo("g1", steps.clone()).await.unwrap());
    assert!(!first.shard.apply_redo("g1", steps).await.unwrap(), "commit_as left its mark");
    assert_eq!(rows(&lost).await, rows(&first).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_is_written_anew_is_not_recorded_row_by_row() {
    let [first, lost] = pair().await;
    let rebuild: Vec<String> = [
        "CREATE TABLE shardd_rebuild (event_id INTEGER, body BLOB, extra INTEGER) STRICT",
        "INSERT INTO shardd_rebuild SELECT event_id, body, 7 FROM log",
        "DROP TABLE log",
        "ALTER TABLE shardd_rebuild RENAME TO log",
        "ALTER TABLE seats ADD COLUMN extra INTEGER",
    ]
    .map(str::to_owned)
    .to_vec();
    let mut transaction = first.begin(TransactionMode::Write).await.unwrap();
    transaction.record_changes().await.unwrap();
    run(&mut transaction, "INSERT INTO log VALUES (9, x'01')").await;
    let mut steps = vec![RedoStep::Changes(transaction.take_changes().await.unwrap())];
    transaction.run_batch(rebuild.clone()).await.unwrap();
    assert!(transaction.take_changes().await.unwrap().is_empty(), "the statements are the record");
    steps.push(RedoStep::Statements(rebuild));
    run(&mut transaction, "INSERT INTO log VALUES (10, x'02', 8)").await;
    steps.push(RedoStep::Changes(transaction.take_changes().await.unwrap()));
    transaction.commit_as("g1").await.unwrap();
    assert!(lost.shard.apply_redo("g1", steps).await.unwrap());
    let extras = "SELECT group_concat(event_id || ':' || extra, ',') FROM (SELECT * FROM log ORDER BY event_id)";
    assert_eq!(lost.texts(extras).await, first.texts(extras).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redo_that_fails_leaves_nothing_of_itself() {
    let [first, other] = pair().await;
    let mut transaction = first.begin(TransactionMode::Write).await.unwrap();
    transaction.record_changes().await.unwrap();
    run(&mut transaction, "INSERT INTO seats VALUES (8, 8, 8, NULL)").await;
    run(&mut transaction, "UPDATE seats SET price = 0 WHERE event_id = 1").await;
    let steps = vec![RedoStep::Changes(transaction.take_changes().await.unwrap())];
    transaction.rollback().await;
    other.write("UPDATE seats SET price = 99 WHERE event_id = 1 AND seat_id = 2", vec![]).await.unwrap();
    let before = rows(&other).await;
    let (state, message, _) = said(other.shard.apply_redo("g1", steps).await);
    assert_eq!(state, "XX001");
    assert!(message.contains("\"seats\"") && message.contains("\"s2\""), "{message}");
    assert_eq!(rows(&other).await, before);
    assert_eq!(other.number("SELECT count(*) FROM shardd_applied").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_of_a_reference_table_stay_equal() {
    let [first, second] = pair().await;
    // Numbers of a sharded table that the first shard owes its file are none of the second's business.
    let failing = "INSERT INTO orders (id, event_id) VALUES (pg_next_id('orders', 'id'), NULL)";
    assert!(first.write(failing, vec![]).await.is_err());
    let mut transaction = first.begin(TransactionMode::Write).await.unwrap();
    transaction.record_changes().await.unwrap();
    for _ in 0..3 {
        run(&mut transaction, "INSERT INTO venues VALUES (100 + pg_next_id('venues', 'id'), hex(randomblob(4)))").await;
    }
    run(&mut transaction, "UPDATE venues SET name = name || 'z' WHERE id = 1").await;
    run(&mut transaction, "DELETE FROM venues WHERE id = 2").await;
    let changes = transaction.take_changes().await.unwrap();
    assert!(transaction.take_changes().await.unwrap().is_empty(), "nothing was changed since");
    let mut copy = second.begin(TransactionMode::Write).await.unwrap();
    copy.apply_changes(changes).await.unwrap();
    copy.commit().await.unwrap();
    transaction.commit().await.unwrap();
    let names = "SELECT group_concat(id || name, ',') FROM venues";
    assert_eq!(first.texts(names).await, second.texts(names).await);
    // The cascade reached the second shard's own rows.
    assert_eq!(second.number("SELECT count(*) FROM orders").await, 1);
    // The second goes on counting where the first was.
    let next = "INSERT INTO venues VALUES (pg_next_id('venues', 'id'), 'next') RETURNING id";
    let written = second.shard.write(call(write_returning(next, &[PgType::Int8]), vec![])).await.unwrap();
    assert_eq!(numbers(&written.rows), [4]);
    let next = "INSERT INTO orders (id, event_id) VALUES (1024 + pg_next_id('orders', 'id'), 1) RETURNING id";
    let written = second.shard.write(call(write_returning(next, &[PgType::Int8]), vec![])).await.unwrap();
    assert_eq!(numbers(&written.rows), [1_024 + 2], "the second shard's own first number");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_that_differ_are_an_error() {
    let [first, second] = pair().await;
    second.write("DELETE FROM venues WHERE id = 1", vec![]).await.unwrap();
    let mut transaction = first.begin(TransactionMode::Write).await.unwrap();
    transaction.record_changes().await.unwrap();
    run(&mut transaction, "UPDATE venues SET name = 'new' WHERE id = 1").await;
    let changes = transaction.take_changes().await.unwrap();
    let mut copy = second.begin(TransactionMode::Write).await.unwrap();
    let (state, message, _) = said(copy.apply_changes(changes).await);
    assert_eq!(state, "XX001");
    assert!(message.contains("\"venues\""), "{message}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_rolled_back_to_a_savepoint_is_not_in_the_changes() {
    let [first, second] = pair().await;
    let mut transaction = first.begin(TransactionMode::Write).await.unwrap();
    transaction.record_changes().await.unwrap();
    run(&mut transaction, "UPDATE venues SET name = 'kept' WHERE id = 1").await;
    transaction.savepoint("s").await.unwrap();
    run(&mut transaction, "UPDATE venues SET name = 'lost' WHERE id = 2").await;
    transaction.rollback_to("s").await.unwrap();
    let changes = transaction.take_changes().await.unwrap();
    transaction.rollback().await;
    let mut copy = second.begin(TransactionMode::Write).await.unwrap();
    copy.apply_changes(changes).await.unwrap();
    copy.commit().await.unwrap();
    assert_eq!(second.texts("SELECT name FROM venues ORDER BY id").await, ["kept", "b"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn marks_are_forgotten_when_their_records_are_finished() {
    let [first, _] = pair().await;
    for gid in ["g1", "g2"] {
        let transaction = first.begin(TransactionMode::Write).await.unwrap();
        transaction.commit_as(gid).await.unwrap();
    }
    first.shard.forget_redo(vec!["g1".to_owned()]);
    first.write("UPDATE seats SET price = 1", vec![]).await.unwrap();
    assert_eq!(first.texts("SELECT gid FROM shardd_applied").await, ["g2"]);
    first.shard.forget_all_redo().await.unwrap();
    assert_eq!(first.number("SELECT count(*) FROM shardd_applied").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_whose_decided_commit_failed_answers_nothing_until_it_is_done() {
    let [first, _] = pair().await;
    let mut transaction = first.begin(TransactionMode::Write).await.unwrap();
    transaction.record_changes().await.unwrap();
    run(&mut transaction, "UPDATE venues SET name = 'decided' WHERE id = 1").await;
    let steps = vec![RedoStep::Changes(transaction.take_changes().await.unwrap())];
    // The transaction is lost in the store's hands, as by a disk that fails.
    run(&mut transaction, "ROLLBACK").await;
    assert!(transaction.commit_as("g1").await.is_err());
    let (state, ..) = said(first.shard.read(call(read("SELECT 1", &[PgType::Int8]), vec![])).await);
    assert_eq!(state, "57P03");
    assert_eq!(said(first.write("DELETE FROM orders", vec![]).await).0, "57P03");
    assert!(first.shard.apply_redo("g1", steps).await.unwrap());
    first.shard.lift_quarantine();
    assert_eq!(first.texts("SELECT name FROM venues WHERE id = 1").await, ["decided"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_are_only_spelled_anew_are_done_again() {
    let [first, lost] = pair().await;
    let made: Vec<String> = [
        "CREATE TABLE rates (rate TEXT COLLATE pg_numeric, part TEXT, n INTEGER, PRIMARY KEY (rate, part)) STRICT, WITHOUT ROWID",
        "INSERT INTO rates VALUES ('1.0', 'a', 1), ('1.0', 'b', 2), ('2.0', 'a', 3), ('3.0', 'a', 4)",
    ]
    .map(str::to_owned)
    .to_vec();
    let mut transaction = first.begin(TransactionMode::Write).await.unwrap();
    transaction.record_changes().await.unwrap();
    transaction.run_batch(made.clone()).await.unwrap();
    assert!(transaction.take_changes().await.unwrap().is_empty(), "the statements are the record");
    for sql in [
        "UPDATE rates SET rate = '1.00', n = n + 10 WHERE rate = '1'",
        "UPDATE rates SET rate = '2.00' WHERE rate = '2'",
        "DELETE FROM rates WHERE rate = '3'",
        "INSERT INTO rates VALUES ('3.00', 'a', NULL), ('5.0', 'a', 5)",
        "UPDATE rates SET rate = '5.00' WHERE rate = '5'",
        "UPDATE rates SET rate = '5.000', n = 6 WHERE rate = '5'",
        "UPDATE rates SET rate = '7.0' WHERE rate = '1' AND part = 'b'",
    ] {
        run(&mut transaction, sql).await;
    }
    let steps = [RedoStep::Statements(made), RedoStep::Changes(transaction.take_changes().await.unwrap())];
    transaction.commit_as("g1").await.unwrap();
    assert!(lost.shard.apply_redo("g1", steps.to_vec()).await.unwrap());
    let all = "SELECT group_concat(rate || part || coalesce(n, 'null'), ',') FROM (SELECT * FROM rates ORDER BY 1, 2)";
    assert_eq!(first.texts(all).await, ["1.00a11,2.00a3,3.00anull,5.000a6,7.0b12"]);
    assert_eq!(lost.texts(all).await, first.texts(all).await);
}
