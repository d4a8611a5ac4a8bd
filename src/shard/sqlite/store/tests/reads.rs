//! Reads: short ones in place, long ones on a thread, streams that nobody takes.

use std::time::Duration;

use super::*;

async fn fill(fixture: &Fixture, rows: i64, bytes: i64) {
    let sql = "INSERT INTO log WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < ?1) \
               SELECT x, randomblob(?2) FROM n";
    fixture.write(sql, vec![int(rows), int(bytes)]).await.unwrap();
}

#[tokio::test]
async fn a_client_reads_what_it_wrote() {
    let fixture = Fixture::new().await;
    for seat in 0..100 {
        fixture.write("INSERT INTO seats (event_id, seat_id) VALUES (1, ?1)", vec![int(seat)]).await.unwrap();
        assert_eq!(fixture.number("SELECT count(*) FROM seats").await, seat + 1);
    }
}

#[tokio::test]
async fn nulls_texts_and_blobs_are_framed() {
    let fixture = Fixture::new().await;
    let sql = "SELECT NULL UNION ALL SELECT '' UNION ALL SELECT 'ä'";
    let rows = fixture.shard.read(call(read(sql, &[PgType::Text]), vec![])).await.unwrap();
    let batch = collect(rows).await.unwrap();
    assert_eq!(first_columns(&batch), [None, Some(vec![]), Some("ä".as_bytes().to_vec())]);
}

#[tokio::test]
async fn a_statement_knows_its_session() {
    use crate::shard::sqlite::EnvironmentValue;
    let fixture = Fixture::new().await;
    let mut program = (*read("SELECT ?1 || ?2 || ' ' || ?3 || ' ' || ?4", &[PgType::Text])).clone();
    program.environment =
        vec![EnvironmentValue::User, EnvironmentValue::TransactionTimestamp, EnvironmentValue::BackendPid];
    let rows = fixture.shard.read(call(Arc::new(program), vec![Datum::Text("I am ".into())])).await.unwrap();
    assert_eq!(texts(&collect(rows).await.unwrap()), ["I am app 1000 7"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_read_leaves_the_thread_and_streams() {
    let fixture = Fixture::new().await;
    fill(&fixture, 2_000, 1_000).await;
    let rows = fixture.shard.read(call(read("SELECT body FROM log", &[PgType::Bytea]), vec![])).await.unwrap();
    assert!(matches!(rows, Rows::Stream(_)));
    assert_eq!(collect(rows).await.unwrap().rows, 2_000);
    assert_eq!(fixture.shard.statistics().moved_reads, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_receiver_costs_no_memory() {
    let fixture = Fixture::new().await;
    fill(&fixture, 20_000, 1_000).await;
    let mut rows = fixture.shard.read(call(read("SELECT body FROM log", &[PgType::Bytea]), vec![])).await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let Rows::Stream(receiver) = &mut rows else { panic!("20 MB in one batch") };
    assert!(receiver.len() <= super::super::limits::STREAMED_BATCHES);
    assert_eq!(collect(rows).await.unwrap().rows, 20_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_dropped_frees_its_reader() {
    let fixture = Fixture::with(1, |limits| {
        limits.readers = 1;
        limits.queue_deadline = Duration::from_secs(2);
    })
    .await;
    fill(&fixture, 20_000, 1_000).await;
    let rows = fixture.shard.read(call(read("SELECT body FROM log", &[PgType::Bytea]), vec![])).await.unwrap();
    drop(rows);
    assert_eq!(fixture.number("SELECT count(*) FROM seats").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_that_nobody_waits_for_ends() {
    let fixture = Fixture::with(1, |limits| {
        limits.readers = 1;
        limits.queue_deadline = Duration::from_secs(2);
    })
    .await;
    let shard = Arc::clone(&fixture.shard);
    let task = tokio::spawn(async move { shard.read(call(read(ENDLESS, &[PgType::Int8]), vec![])).await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    task.abort();
    assert_eq!(fixture.number("SELECT count(*) FROM seats").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_is_canceled_while_it_runs() {
    let fixture = Fixture::new().await;
    let endless = call(read(ENDLESS, &[PgType::Int8]), vec![]);
    let cancel = endless.cancel.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(50)).await;
        cancel.cancel();
    });
    let (state, message, _) = said(fixture.shard.read(endless).await);
    assert_eq!((state.as_str(), message.as_str()), ("57014", "canceling statement due to user request"));
    assert_eq!(fixture.number("SELECT count(*) FROM seats").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_waits_for_a_reader_until_its_deadline() {
    let fixture = Fixture::with(1, |limits| {
        limits.readers = 1;
        limits.queue_deadline = Duration::from_millis(50);
    })
    .await;
    let endless = call(read(ENDLESS, &[PgType::Int8]), vec![]);
    let cancel = endless.cancel.clone();
    let shard = Arc::clone(&fixture.shard);
    let task = tokio::spawn(async move { shard.read(endless).await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    let (state, message, _) = said(fixture.shard.read(call(read("SELECT 1", &[PgType::Int8]), vec![])).await);
    assert_eq!(state, "53300", "{message}");
    cancel.cancel();
    assert!(task.await.unwrap().is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_takes_no_rows_loses_its_stream() {
    let fixture = Fixture::with(1, |limits| limits.stalled_stream = Duration::from_millis(50)).await;
    fill(&fixture, 20_000, 1_000).await;
    let rows = fixture.shard.read(call(read("SELECT body FROM log", &[PgType::Bytea]), vec![])).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let (state, ..) = said(collect(rows).await);
    assert_eq!(state, "57014");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_take_their_time_keep_nobody_from_reading() {
    let fixture = Fixture::with(1, |limits| limits.readers = 1).await;
    fill(&fixture, 20_000, 1_000).await;
    let mut slow = Vec::new();
    for _ in 0..8 {
        slow.push(fixture.shard.read(call(read("SELECT body FROM log", &[PgType::Bytea]), vec![])).await.unwrap());
    }
    let since = std::time::Instant::now();
    assert_eq!(fixture.number("SELECT count(*) FROM seats").await, 0);
    assert!(since.elapsed() < Duration::from_secs(1), "{:?}", since.elapsed());
    for rows in slow {
        assert_eq!(collect(rows).await.unwrap().rows, 20_000, "they lose nothing by it");
    }
    assert_eq!(fixture.number("SELECT count(*) FROM seats").await, 0);
}

#[tokio::test]
async fn a_reader_cannot_write() {
    let fixture = Fixture::new().await;
    let program = read("INSERT INTO seats (event_id, seat_id) VALUES (1, 1)", &[]);
    assert!(fixture.shard.read(call(program, vec![])).await.is_err());
    assert_eq!(fixture.number("SELECT count(*) FROM seats").await, 0);
}

#[tokio::test]
async fn a_misspelt_column_is_no_string() {
    let fixture = Fixture::new().await;
    let (state, message, _) =
        said(fixture.shard.read(call(read("SELECT \"prise\" FROM seats", &[PgType::Text]), vec![])).await);
    assert_eq!((state.as_str(), message.as_str()), ("42703", "column \"prise\" does not exist"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_sees_every_write_that_was_answered_before_it() {
    let fixture = Arc::new(Fixture::new().await);
    let tasks = (0..8_i64).map(|task| {
        let fixture = Arc::clone(&fixture);
        tokio::spawn(async move {
            let own = format!("SELECT count(*) FROM log WHERE event_id = {task}");
            for written in 0..200 {
                // Twice and more: from the second on, a reader keeps its snapshot.
                for _ in 0..=written % 4 {
                    assert_eq!(fixture.number(&own).await, written, "task {task}");
                }
                if written % 2 == 0 {
                    fixture.write(&format!("INSERT INTO log VALUES ({task}, NULL)"), vec![]).await.unwrap();
                } else {
                    let mut transaction = fixture.begin(TransactionMode::Write).await.unwrap();
                    let insert = write(&format!("INSERT INTO log VALUES ({task}, NULL)"));
                    transaction.run(call(insert, vec![])).await.unwrap();
                    transaction.commit().await.unwrap();
                }
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
}

#[tokio::test]
async fn a_snapshot_that_idle_readers_keep_does_not_keep_the_log_growing() {
    let fixture = Fixture::with(1, |limits| limits.log_pages = 50).await;
    for round in 0..40 {
        for _ in 0..3 {
            assert_eq!(fixture.number("SELECT count(*) FROM log").await, round);
        }
        fixture.write("INSERT INTO log VALUES (1, zeroblob(40000))", vec![]).await.unwrap();
    }
    let log = std::fs::metadata(fixture.directory.path().join("shard.db-wal")).unwrap();
    // 40 writes are 400 pages of 4 KiB; a log that begins anew after 50 pages, or soon after, is shorter.
    assert!(log.len() < 250 * 4_096, "{} bytes", log.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_is_looked_at_is_not_taken_for_lent() {
    let fixture = Arc::new(
        Fixture::with(1, |limits| {
            limits.readers = 1;
            limits.queue_deadline = Duration::from_millis(300);
        })
        .await,
    );
    let over = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let (looked_at, until) = (Arc::clone(&fixture), Arc::clone(&over));
    let looking = std::thread::spawn(move || {
        while !until.load(std::sync::atomic::Ordering::Relaxed) {
            looked_at.shard.statistics();
        }
    });
    for _ in 0..20_000 {
        assert_eq!(fixture.number("SELECT count(*) FROM seats").await, 0);
    }
    over.store(true, std::sync::atomic::Ordering::Relaxed);
    looking.join().unwrap();
}
