//! Transactions that are told their statements one by one.

use std::time::Duration;

use super::*;

async fn run(transaction: &mut SqliteTransaction, sql: &str) -> Result<u64> {
    transaction.run(call(write(sql), vec![])).await.map(|output| output.affected)
}

async fn ask(transaction: &mut SqliteTransaction, sql: &str) -> Result<i64> {
    let output = transaction.run(call(read(sql, &[PgType::Int8]), vec![])).await?;
    Ok(numbers(&collect(output.rows).await?)[0])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_sees_a_transaction_before_its_commit() {
    let fixture = Fixture::new().await;
    let mut transaction = fixture.begin(TransactionMode::Write).await.unwrap();
    assert_eq!(run(&mut transaction, "INSERT INTO seats (event_id, seat_id) VALUES (1, 1), (1, 2)").await.unwrap(), 2);
    assert_eq!(ask(&mut transaction, "SELECT count(*) FROM seats").await.unwrap(), 2);
    assert_eq!(fixture.number("SELECT count(*) FROM seats").await, 0);
    transaction.commit().await.unwrap();
    assert_eq!(fixture.number("SELECT count(*) FROM seats").await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_goes_away_is_rolled_back() {
    let fixture = Fixture::new().await;
    let mut transaction = fixture.begin(TransactionMode::Write).await.unwrap();
    run(&mut transaction, "INSERT INTO seats (event_id, seat_id) VALUES (1, 1)").await.unwrap();
    drop(transaction);
    fixture.write("INSERT INTO seats (event_id, seat_id) VALUES (2, 2)", vec![]).await.unwrap();
    assert_eq!(fixture.number("SELECT sum(event_id) FROM seats").await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn savepoints_tell_case_apart_and_nest() {
    let fixture = Fixture::new().await;
    let mut transaction = fixture.begin(TransactionMode::Write).await.unwrap();
    let seat = |seat: i64| format!("INSERT INTO seats (event_id, seat_id, price) VALUES (1, {seat}, {seat})");
    run(&mut transaction, &seat(1)).await.unwrap();
    transaction.savepoint("a").await.unwrap();
    run(&mut transaction, &seat(2)).await.unwrap();
    transaction.savepoint("A\"").await.unwrap();
    run(&mut transaction, &seat(4)).await.unwrap();
    transaction.rollback_to("A\"").await.unwrap();
    transaction.release("a").await.unwrap();
    let (state, message, _) = said(transaction.release("A\"").await);
    assert_eq!((state.as_str(), message.as_str()), ("3B001", "savepoint \"A\"\" does not exist"));
    transaction.commit().await.unwrap();
    assert_eq!(fixture.number("SELECT sum(price) FROM seats").await, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_transaction_gives_the_writer_back() {
    let fixture = Fixture::with(1, |limits| limits.idle_in_transaction = Duration::from_millis(100)).await;
    let mut transaction = fixture.begin(TransactionMode::Write).await.unwrap();
    run(&mut transaction, "INSERT INTO seats (event_id, seat_id) VALUES (1, 1)").await.unwrap();
    fixture.write("INSERT INTO seats (event_id, seat_id) VALUES (2, 2)", vec![]).await.unwrap();
    let (state, ..) = said(run(&mut transaction, "DELETE FROM seats").await);
    assert_eq!(state, "25P03");
    assert_eq!(fixture.number("SELECT sum(event_id) FROM seats").await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_does_not_move() {
    let fixture = Fixture::new().await;
    let mut snapshot = fixture.begin(TransactionMode::Snapshot).await.unwrap();
    fixture.write("INSERT INTO seats (event_id, seat_id) VALUES (1, 1)", vec![]).await.unwrap();
    assert_eq!(ask(&mut snapshot, "SELECT count(*) FROM seats").await.unwrap(), 0);
    snapshot.commit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_becomes_a_writer_when_nobody_committed() {
    let fixture = Fixture::new().await;
    let mut snapshot = fixture.begin(TransactionMode::Snapshot).await.unwrap();
    assert_eq!(ask(&mut snapshot, "SELECT count(*) FROM seats").await.unwrap(), 0);
    run(&mut snapshot, "INSERT INTO seats (event_id, seat_id) VALUES (1, 1)").await.unwrap();
    // It holds the writer's place now.
    let shard = Arc::clone(&fixture.shard);
    let other =
        tokio::spawn(
            async move { shard.write(call(write("UPDATE seats SET price = 3"), vec![])).await.unwrap().affected },
        );
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(fixture.shard.statistics().waiting_writes, 1);
    snapshot.commit().await.unwrap();
    assert_eq!(other.await.unwrap(), 1);
    assert_eq!(fixture.number("SELECT price FROM seats").await, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_snapshot_cannot_write() {
    let fixture = Fixture::new().await;
    let mut snapshot = fixture.begin(TransactionMode::Snapshot).await.unwrap();
    fixture.write("INSERT INTO seats (event_id, seat_id) VALUES (1, 1)", vec![]).await.unwrap();
    let error = run(&mut snapshot, "UPDATE seats SET price = 1").await.unwrap_err();
    assert_eq!(error.sqlstate().code(), "40001");
    assert_eq!(error.message(), "could not serialize access due to concurrent update");
    assert_eq!(error.get_retry(), crate::error::Retry::Safe);
    snapshot.rollback().await;
    // The writer is free, and the connection reads again.
    fixture.write("UPDATE seats SET price = 2", vec![]).await.unwrap();
    let mut again = fixture.begin(TransactionMode::Snapshot).await.unwrap();
    assert_eq!(ask(&mut again, "SELECT sum(price) FROM seats").await.unwrap(), 2);
    run(&mut again, "UPDATE seats SET price = 5").await.unwrap();
    again.rollback().await;
    assert_eq!(fixture.number("SELECT sum(price) FROM seats").await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_canceled_write_ends_the_transaction_and_says_so() {
    let fixture = Fixture::new().await;
    let mut transaction = fixture.begin(TransactionMode::Write).await.unwrap();
    run(&mut transaction, "INSERT INTO seats (event_id, seat_id) VALUES (1, 1)").await.unwrap();
    transaction.savepoint("a").await.unwrap();
    let endless = call(
        write(
            "INSERT INTO seats (event_id, seat_id) WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT 2, x FROM n",
        ),
        vec![],
    );
    let cancel = endless.cancel.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(50)).await;
        cancel.cancel();
    });
    let (state, ..) = said(transaction.run(endless).await);
    assert_eq!(state, "57014");
    let (state, ..) = said(transaction.rollback_to("a").await);
    assert_eq!(state, "25P02");
    let (state, ..) = said(run(&mut transaction, "INSERT INTO seats (event_id, seat_id) VALUES (3, 3)").await);
    assert_eq!(state, "25P02");
    let (state, ..) = said(transaction.commit().await);
    assert_eq!(state, "25P02");
    assert_eq!(fixture.number("SELECT count(*) FROM seats").await, 0);
    fixture.write("INSERT INTO seats (event_id, seat_id) VALUES (4, 4)", vec![]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_that_is_canceled_leaves_the_transaction() {
    let fixture = Fixture::new().await;
    let mut transaction = fixture.begin(TransactionMode::Write).await.unwrap();
    run(&mut transaction, "INSERT INTO seats (event_id, seat_id) VALUES (1, 1)").await.unwrap();
    transaction.savepoint("a").await.unwrap();
    let endless = call(read(ENDLESS, &[PgType::Int8]), vec![]);
    let cancel = endless.cancel.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(50)).await;
        cancel.cancel();
    });
    let (state, ..) = said(transaction.run(endless).await);
    assert_eq!(state, "57014");
    transaction.rollback_to("a").await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(fixture.number("SELECT count(*) FROM seats").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_on_their_way_do_not_hold_up_the_next_statement() {
    let fixture = Fixture::new().await;
    let fill = "INSERT INTO log WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 5000) \
                SELECT x, randomblob(1000) FROM n";
    fixture.write(fill, vec![]).await.unwrap();
    for mode in [TransactionMode::Write, TransactionMode::Snapshot] {
        let mut transaction = fixture.begin(mode).await.unwrap();
        let portal = transaction.run(call(read("SELECT body FROM log", &[PgType::Bytea]), vec![])).await.unwrap();
        assert!(matches!(portal.rows, Rows::Stream(_)));
        assert_eq!(run(&mut transaction, "DELETE FROM log").await.unwrap(), 5_000);
        assert_eq!(collect(portal.rows).await.unwrap().rows, 5_000, "{mode:?}");
        transaction.rollback().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_on_their_way_are_held_within_a_bound() {
    let fixture = Fixture::with(1, |limits| limits.held_bytes = 1_000_000).await;
    let fill = "INSERT INTO log WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 5000) \
                SELECT x, randomblob(1000) FROM n";
    fixture.write(fill, vec![]).await.unwrap();
    let mut transaction = fixture.begin(TransactionMode::Write).await.unwrap();
    let portal = transaction.run(call(read("SELECT body FROM log", &[PgType::Bytea]), vec![])).await.unwrap();
    assert_eq!(ask(&mut transaction, "SELECT count(*) FROM log").await.unwrap(), 5_000);
    let (state, ..) = said(collect(portal.rows).await);
    assert_eq!(state, "53400");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_the_schema_is_a_transaction() {
    let fixture = Fixture::new().await;
    fixture.write("INSERT INTO seats (event_id, seat_id, price) VALUES (1, 1, 5)", vec![]).await.unwrap();
    fixture.write("INSERT INTO orders VALUES (1, 1, 1, NULL)", vec![]).await.unwrap();
    let mut transaction = fixture.begin(TransactionMode::Schema).await.unwrap();
    // Rebuilding a table that others refer to.
    let rebuild = [
        "CREATE TABLE seats_new (event_id INTEGER NOT NULL, seat_id INTEGER NOT NULL, price INTEGER, \
         PRIMARY KEY (event_id, seat_id)) STRICT, WITHOUT ROWID",
        "INSERT INTO seats_new SELECT event_id, seat_id, price FROM seats",
        "DROP TABLE seats",
        "ALTER TABLE seats_new RENAME TO seats",
        "PRAGMA foreign_key_check",
    ];
    transaction.run_batch(rebuild.map(str::to_owned).to_vec()).await.unwrap();
    assert_eq!(ask(&mut transaction, "SELECT price FROM seats").await.unwrap(), 5);
    transaction.savepoint("broken").await.unwrap();
    let broken = ["DELETE FROM seats", "PRAGMA foreign_key_check"];
    let (state, message, _) = said(transaction.run_batch(broken.map(str::to_owned).to_vec()).await);
    assert_eq!(state, "23503", "{message}");
    transaction.rollback_to("broken").await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(fixture.number("SELECT count(*) FROM orders JOIN seats USING (event_id, seat_id)").await, 1);
    // Foreign keys hold again.
    let (state, ..) = said(fixture.write("DELETE FROM seats", vec![]).await);
    assert_eq!(state, "23503");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_were_written_while_keys_rested_are_looked_at() {
    let fixture = Fixture::new().await;
    let mut transaction = fixture.begin(TransactionMode::Schema).await.unwrap();
    transaction.run_batch(vec!["CREATE TABLE notes (id INTEGER PRIMARY KEY) STRICT".to_owned()]).await.unwrap();
    run(&mut transaction, "INSERT INTO orders VALUES (1, 1, 1, NULL)").await.unwrap();
    let (state, message, _) = said(transaction.commit().await);
    assert_eq!(state, "23503", "{message}");
    assert_eq!(fixture.number("SELECT count(*) FROM sqlite_schema WHERE name = 'notes'").await, 0);
    // With its parent the row may stay.
    let mut transaction = fixture.begin(TransactionMode::Schema).await.unwrap();
    run(&mut transaction, "INSERT INTO orders VALUES (1, 1, 1, NULL)").await.unwrap();
    run(&mut transaction, "INSERT INTO seats VALUES (1, 1, 1, NULL)").await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(fixture.number("SELECT count(*) FROM orders").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebuilt_table_does_not_take_its_children_along() {
    let fixture = Fixture::new().await;
    fixture.write("INSERT INTO venues VALUES (1, 'a')", vec![]).await.unwrap();
    fixture.write("INSERT INTO orders VALUES (1, 1, NULL, 1)", vec![]).await.unwrap();
    let mut transaction = fixture.begin(TransactionMode::Write).await.unwrap();
    let (state, ..) = said(transaction.run_batch(vec!["DROP TABLE \"venues\"".to_owned()]).await);
    assert_eq!(state, "0A000");
    transaction.run_batch(vec!["DROP TABLE \"log\"".to_owned()]).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(fixture.number("SELECT count(*) FROM orders").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_records_what_it_writes() {
    let fixture = Fixture::new().await;
    let mut snapshot = fixture.begin(TransactionMode::Snapshot).await.unwrap();
    assert_eq!(ask(&mut snapshot, "SELECT count(*) FROM seats").await.unwrap(), 0);
    run(&mut snapshot, "INSERT INTO seats VALUES (1, 1, 1, NULL)").await.unwrap();
    assert!(!snapshot.take_changes().await.unwrap().is_empty());
    assert!(snapshot.take_changes().await.unwrap().is_empty());
    snapshot.commit().await.unwrap();
}
