//! Writes that are committed together.

use std::time::Duration;

use super::*;

/// Holds the writer while `work` queues writes, so that they become one group.
async fn together<T: Send + 'static>(fixture: &Fixture, work: Vec<impl Future<Output = T> + Send + 'static>) -> Vec<T> {
    let holder = fixture.begin(TransactionMode::Write).await.unwrap();
    let count = work.len() as u64;
    let tasks: Vec<_> = work.into_iter().map(tokio::spawn).collect();
    while fixture.shard.statistics().waiting_writes < count {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    holder.rollback().await;
    let mut results = Vec::new();
    for task in tasks {
        results.push(task.await.unwrap());
    }
    results
}

fn insert(fixture: &Fixture, seat: i64, price: i64) -> impl Future<Output = Result<Written>> + Send + 'static {
    let shard = Arc::clone(&fixture.shard);
    let call =
        call(write("INSERT INTO seats (event_id, seat_id, price) VALUES (1, ?1, ?2)"), vec![int(seat), int(price)]);
    async move { shard.write(call).await }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_that_wait_share_one_commit() {
    let fixture = Fixture::new().await;
    let before = fixture.shard.statistics();
    let results = together(&fixture, (0..50).map(|seat| insert(&fixture, seat, 1)).collect()).await;
    assert!(results.iter().all(|result| result.as_ref().is_ok_and(|written| written.affected == 1)));
    let after = fixture.shard.statistics();
    assert_eq!(after.writes - before.writes, 50);
    // One, unless this machine was so busy that gathering took longer than a group may.
    assert!(after.groups - before.groups <= 5, "{} commits", after.groups - before.groups);
    assert_eq!(fixture.number("SELECT count(*) FROM seats").await, 50);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_fails_takes_back_only_itself() {
    let fixture = Fixture::new().await;
    let works = (0..10).map(|seat| insert(&fixture, seat / 2, if seat == 8 { -1 } else { seat })).collect();
    let results = together(&fixture, works).await;
    let failed: Vec<_> = results.iter().map(|result| result.as_ref().err().map(|error| error.code())).collect();
    // Two writes of one key: whichever came first stays, the other is told.
    for pair in failed[..8].chunks(2) {
        assert!(matches!(pair, [None, Some("23505")] | [Some("23505"), None]), "{failed:?}");
    }
    assert_eq!(failed[8..], [Some("23514"), None]);
    let stayed: i64 = (0..).zip(&failed).filter(|(_, failed)| failed.is_none()).map(|(seat, _)| seat).sum();
    assert_eq!(fixture.number("SELECT count(*) FROM seats").await, 5);
    assert_eq!(fixture.number("SELECT sum(price) FROM seats").await, stayed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_statement_of_several_rows_leaves_none() {
    let fixture = Fixture::new().await;
    let many = write("INSERT INTO seats (event_id, seat_id, price) VALUES (1, 1, 1), (1, 2, 2), (1, 3, -3)");
    let (state, ..) = said(fixture.shard.write(call(many, vec![])).await);
    assert_eq!(state, "23514");
    assert_eq!(fixture.number("SELECT count(*) FROM seats").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_others_run_again_when_one_is_canceled_in_its_midst() {
    let fixture = Fixture::new().await;
    let endless = call(
        write(&format!("INSERT INTO seats (event_id, seat_id, price) SELECT 2, x, x FROM ({ENDLESS_ROWS})")),
        vec![],
    );
    let cancel = endless.cancel.clone();
    let shard = Arc::clone(&fixture.shard);
    let mut works: Vec<std::pin::Pin<Box<dyn Future<Output = Result<Written>> + Send>>> = Vec::new();
    works.push(Box::pin(insert(&fixture, 1, 1)));
    works.push(Box::pin(async move { shard.write(endless).await }));
    works.push(Box::pin(insert(&fixture, 2, 2)));
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(300)).await;
        cancel.cancel();
    });
    let results = together(&fixture, works).await;
    let states: Vec<_> = results.iter().map(|result| result.as_ref().err().map(|error| error.code())).collect();
    let canceled = states.iter().filter(|state| **state == Some("57014")).count();
    assert_eq!(canceled, 1, "{states:?}");
    assert_eq!(states.iter().filter(|state| state.is_none()).count(), 2, "{states:?}");
    assert_eq!(fixture.number("SELECT count(*) FROM seats").await, 2);
    assert_eq!(fixture.number("SELECT sum(price) FROM seats").await, 3);
}

const ENDLESS_ROWS: &str = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x FROM n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_waits_for_the_writer_until_its_deadline() {
    let fixture = Fixture::with(1, |limits| limits.queue_deadline = Duration::from_millis(50)).await;
    let holder = fixture.begin(TransactionMode::Write).await.unwrap();
    let error = fixture.write("DELETE FROM seats", vec![]).await.unwrap_err();
    assert_eq!(error.code(), "55P03");
    assert_eq!(error.get_retry(), crate::error::Retry::Safe);
    assert!(error.message().contains("\"s1\""), "{error}");
    assert!(error.get_detail().is_some_and(|detail| detail.contains("ms")), "{error:?}");
    let (state, ..) = said(fixture.begin(TransactionMode::Write).await);
    assert_eq!(state, "55P03");
    holder.commit().await.unwrap();
    fixture.write("DELETE FROM seats", vec![]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_is_canceled_while_it_waits() {
    let fixture = Fixture::new().await;
    let holder = fixture.begin(TransactionMode::Write).await.unwrap();
    let waiting = call(write("INSERT INTO seats (event_id, seat_id) VALUES (1, 1)"), vec![]);
    let cancel = waiting.cancel.clone();
    let shard = Arc::clone(&fixture.shard);
    let task = tokio::spawn(async move { shard.write(waiting).await });
    tokio::time::sleep(Duration::from_millis(20)).await;
    cancel.time_out();
    let (state, message, _) = said(task.await.unwrap());
    assert_eq!((state.as_str(), message.as_str()), ("57014", "canceling statement due to statement timeout"));
    holder.rollback().await;
    fixture.write("DELETE FROM seats WHERE seat_id = 9", vec![]).await.unwrap();
    assert_eq!(fixture.number("SELECT count(*) FROM seats").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_line_has_an_end() {
    let fixture = Fixture::with(1, |limits| limits.queued_writes = 3).await;
    let holder = fixture.begin(TransactionMode::Write).await.unwrap();
    let waiting: Vec<_> = (0..3).map(|seat| tokio::spawn(insert(&fixture, seat, 1))).collect();
    while fixture.shard.statistics().waiting_writes < 3 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let (state, ..) = said(insert(&fixture, 9, 9).await);
    assert_eq!(state, "53300");
    // Whoever leaves makes room.
    waiting[0].abort();
    tokio::time::sleep(Duration::from_millis(20)).await;
    let last = tokio::spawn(insert(&fixture, 10, 10));
    tokio::time::sleep(Duration::from_millis(20)).await;
    holder.rollback().await;
    last.await.unwrap().unwrap();
    assert_eq!(fixture.number("SELECT count(*) FROM seats").await, 3);
}

#[tokio::test]
async fn returning_gives_its_rows_after_the_commit() {
    let fixture = Fixture::new().await;
    let sql = "INSERT INTO seats (event_id, seat_id, price) VALUES (1, 1, 5), (1, 2, 6) RETURNING price";
    let written = fixture.shard.write(call(write_returning(sql, &[PgType::Int8]), vec![])).await.unwrap();
    assert_eq!((written.affected, numbers(&written.rows)), (2, vec![5, 6]));
    let written = fixture.write("UPDATE seats SET price = 0 WHERE event_id = 7", vec![]).await.unwrap();
    assert_eq!(written.affected, 0);
}

#[tokio::test]
async fn returning_is_bounded_in_memory() {
    let fixture = Fixture::with(1, |limits| limits.held_bytes = 100_000).await;
    let sql = "INSERT INTO log SELECT 1, zeroblob(50000) FROM (SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3) RETURNING body";
    let (state, ..) = said(fixture.shard.write(call(write_returning(sql, &[PgType::Bytea]), vec![])).await);
    assert_eq!(state, "53400");
    assert_eq!(fixture.number("SELECT count(*) FROM log").await, 0);
}

fn submit(fixture: &Fixture, sql: &str, values: Vec<Datum>) -> SubmittedWrite {
    fixture.shard.submit(call(write(sql), values)).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_that_were_submitted_run_in_their_order() {
    let fixture = Fixture::new().await;
    let insert = "INSERT INTO seats (event_id, seat_id, price) VALUES (1, 1, ?1)";
    let mut submitted = vec![submit(&fixture, insert, vec![int(1)])];
    for step in 0..20 {
        submitted.push(submit(&fixture, "UPDATE seats SET price = price * 2 % 1000 + ?1", vec![int(step)]));
        submitted.push(submit(&fixture, insert, vec![int(step)]));
    }
    // Whoever is waited for first.
    for (place, write) in submitted.into_iter().enumerate().rev() {
        let outcome = write.written().await;
        let state = outcome.as_ref().err().map(Error::code);
        assert_eq!(state, if place > 0 && place % 2 == 0 { Some("23505") } else { None }, "{place}");
    }
    let price = (0..20).fold(1, |price, step| price * 2 % 1000 + step);
    assert_eq!(fixture.number("SELECT price FROM seats").await, price);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_submitted_write_that_nobody_waits_for_leaves_the_line() {
    let fixture = Fixture::new().await;
    let holder = fixture.begin(TransactionMode::Write).await.unwrap();
    let insert = "INSERT INTO seats (event_id, seat_id, price) VALUES (1, ?1, 1)";
    drop(submit(&fixture, insert, vec![int(1)]));
    let second = submit(&fixture, insert, vec![int(2)]);
    holder.commit().await.unwrap();
    second.written().await.unwrap();
    assert_eq!(fixture.number("SELECT sum(seat_id) FROM seats").await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn submitted_writes_wait_no_longer_than_one() {
    let fixture = Fixture::with(1, |limits| limits.queue_deadline = Duration::from_millis(200)).await;
    let holder = fixture.begin(TransactionMode::Write).await.unwrap();
    let since = std::time::Instant::now();
    let submitted: Vec<_> = (0..20).map(|_| submit(&fixture, "DELETE FROM seats", vec![])).collect();
    for write in submitted {
        assert_eq!(write.written().await.unwrap_err().code(), "55P03");
    }
    assert!(since.elapsed() < Duration::from_secs(2), "{:?}", since.elapsed());
    holder.commit().await.unwrap();
}
