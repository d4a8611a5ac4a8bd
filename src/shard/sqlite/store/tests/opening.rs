//! Whose file it is.

use super::*;

#[tokio::test]
async fn what_was_written_is_found_after_opening_again() {
    let fixture = Fixture::new().await;
    fixture.write("INSERT INTO seats VALUES (1, 2, 3, 'a')", vec![]).await.unwrap();
    let fixture = fixture.reopen().await;
    assert_eq!(fixture.number("SELECT price FROM seats WHERE event_id = 1 AND seat_id = 2").await, 3);
    assert_eq!(fixture.shard.schema().await.unwrap(), ticket_schema());
}

#[tokio::test]
async fn a_file_of_another_cluster_or_shard_is_refused() {
    let fixture = Fixture::new().await;
    fixture.shard.shutdown().await;
    let of = |cluster: &str, number: u16| {
        let mut other = opening(fixture.directory.path(), number, Limits::default());
        other.cluster = cluster.to_owned();
        said(SqliteShard::open(other))
    };
    let (state, message, _) = of("c2", 1);
    assert_eq!(state, "55000");
    assert!(message.contains("belongs to the cluster c1, not c2"), "{message}");
    let (_, message, _) = of("c1", 2);
    assert!(message.contains("number 1, not 2"), "{message}");
}

#[tokio::test]
async fn a_file_with_somebody_elses_tables_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("shard.db");
    rusqlite::Connection::open(&path).unwrap().execute_batch("CREATE TABLE mine (x)").unwrap();
    let (state, message, _) = said(SqliteShard::open(opening(directory.path(), 1, Limits::default())));
    assert_eq!(state, "55000");
    assert!(message.contains("tables that shardd did not make"), "{message}");
    let connection = rusqlite::Connection::open(&path).unwrap();
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).unwrap();
    assert_eq!(tables, 1);
}

#[tokio::test]
async fn a_file_that_is_no_database_is_the_shards_fault() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("shard.db"), vec![b'x'; 8_192]).unwrap();
    let error = SqliteShard::open(opening(directory.path(), 1, Limits::default())).unwrap_err();
    assert_eq!(error.sqlstate().code(), "XX001");
    assert_eq!(error.get_fault(), crate::error::Fault::Shard);
    let missing = opening(&directory.path().join("nowhere"), 1, Limits::default());
    assert_eq!(SqliteShard::open(missing).unwrap_err().sqlstate().code(), "58030");
}

#[tokio::test]
async fn a_file_that_was_lost_is_not_made_anew() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("shard.db");
    let known = || Opening { file: ShardFile::Known, ..opening(directory.path(), 1, Limits::default()) };
    let (state, message, _) = said(SqliteShard::open(known()));
    assert_eq!(state, "58030");
    assert!(message.contains("is missing") && !path.exists(), "{message}");
    // SQLite would make an empty file a database, and throw the log beside it away.
    let log = directory.path().join("shard.db-wal");
    std::fs::write(&path, "").unwrap();
    std::fs::write(&log, "what was acknowledged last").unwrap();
    assert_eq!(said(SqliteShard::open(known())).0, "XX001");
    assert_eq!(std::fs::read(&path).unwrap(), b"");
    assert_eq!(std::fs::read(&log).unwrap(), b"what was acknowledged last");
    std::fs::remove_file(&log).unwrap();
    rusqlite::Connection::open(&path).unwrap().execute_batch("VACUUM").unwrap();
    let error = SqliteShard::open(known()).unwrap_err();
    assert_eq!(error.sqlstate().code(), "55000");
    assert!(error.message().contains("it is empty"), "{error}");
    assert!(error.get_hint().is_some_and(|hint| !hint.contains("Move the file away")), "{error:?}");
}

/// A file that was moved without its log lies beside another's: neither is changed by a look at them.
#[tokio::test]
async fn a_log_is_not_moved_into_a_file_that_is_refused() {
    let fixture = Fixture::new().await;
    fixture.write("INSERT INTO seats VALUES (1, 2, 3, 'a')", vec![]).await.unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let files = ["shard.db", "shard.db-wal"].map(|name| elsewhere.path().join(name));
    for file in &files {
        std::fs::copy(fixture.directory.path().join(file.file_name().unwrap()), file).unwrap();
    }
    let read = || files.each_ref().map(|file| std::fs::read(file).unwrap());
    let before = read();
    assert!(!before[1].is_empty(), "the test shows nothing");
    assert_eq!(said(SqliteShard::open(opening(elsewhere.path(), 2, Limits::default()))).0, "55000");
    assert!(read() == before);
}

#[tokio::test]
async fn a_shard_that_was_shut_down_answers_so() {
    let fixture = Fixture::new().await;
    fixture.shard.shutdown().await;
    let (state, ..) = said(fixture.write("DELETE FROM seats", vec![]).await);
    assert_eq!(state, "57P01");
    let (state, ..) = said(fixture.begin(TransactionMode::Write).await);
    assert_eq!(state, "57P01");
    let (state, ..) = said(fixture.shard.read(call(read("SELECT 1", &[PgType::Int8]), vec![])).await);
    assert_eq!(state, "57P01");
}
