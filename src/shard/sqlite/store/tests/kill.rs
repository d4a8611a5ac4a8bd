//! A process that is killed in the midst of its writes loses none that it answered.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::*;

const DIRECTORY: &str = "SHARDD_TEST_KILLED_DIRECTORY";
const ROUND: &str = "SHARDD_TEST_KILLED_ROUND";
const CALLERS: i64 = 16;
const ROUNDS: i64 = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answered_write_survives_the_death_of_the_process() {
    let fixture = Fixture::new().await;
    fixture.shard.shutdown().await;
    let mut answered = Vec::new();
    for round in 0..ROUNDS {
        let before = answered.len();
        let directory = fixture.directory.path().to_owned();
        answered.extend(tokio::task::spawn_blocking(move || kill_a_writer(&directory, round)).await.unwrap());
        assert!(answered.len() > before, "round {round}: nothing was answered");
        let opening = opening(fixture.directory.path(), 1, Limits::default());
        let shard = SqliteShard::open(opening).unwrap();
        let rows = shard.read(call(read("SELECT event_id * 1000000 + seat_id FROM seats", &[PgType::Int8]), vec![]));
        let found: std::collections::HashSet<i64> =
            numbers(&collect(rows.await.unwrap()).await.unwrap()).into_iter().collect();
        let lost: Vec<&i64> = answered.iter().filter(|row| !found.contains(row)).collect();
        assert!(lost.is_empty(), "round {round}: lost {lost:?} of {}", answered.len());
        // Both rows of a transaction, or none: transactions write pairs.
        let halves = "SELECT count(*) FROM (SELECT 1 FROM seats WHERE event_id % 16 = 0 \
                      GROUP BY event_id, seat_id / 2 HAVING count(*) <> 2)";
        let rows = shard.read(call(read(halves, &[PgType::Int8]), vec![])).await.unwrap();
        assert_eq!(numbers(&collect(rows).await.unwrap()), [0]);
        shard.shutdown().await;
    }
}

/// Runs [`writes_until_it_is_killed`] in a process, kills it, and gives the rows that it was answered for.
fn kill_a_writer(directory: &std::path::Path, round: i64) -> Vec<i64> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored", "--nocapture", "--test-threads=1"])
        .arg(concat!("shard::sqlite::store::tests::kill::", "writes_until_it_is_killed"))
        .env(DIRECTORY, directory)
        .env(ROUND, round.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut answered = Vec::new();
    let mut deadline = None;
    for line in lines.by_ref() {
        let line = line.unwrap();
        // The test harness writes lines of its own.
        let Some(row) = line.strip_prefix("answered ") else { continue };
        answered.extend(row.strip_suffix('.').and_then(|row| row.parse::<i64>().ok()));
        let until = *deadline.get_or_insert_with(|| Instant::now() + Duration::from_millis(200 + 37 * round as u64));
        if Instant::now() >= until {
            break;
        }
    }
    child.kill().unwrap();
    // What it said before it died counts, but for a line that was cut.
    let rest: Vec<String> = lines.map_while(Result::ok).collect();
    let whole = rest.iter().filter_map(|line| line.strip_prefix("answered ")?.strip_suffix('.'));
    answered.extend(whole.filter_map(|row| row.parse::<i64>().ok()));
    child.wait().unwrap();
    answered
}

#[test]
#[ignore = "runs until it is killed: the test above starts it in a process of its own"]
fn writes_until_it_is_killed() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let round: i64 = std::env::var(ROUND).unwrap().parse().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async move {
        let opening = opening(directory.as_ref(), 1, Limits { log_pages: 50, ..Limits::default() });
        let shard = Arc::new(SqliteShard::open(opening).unwrap());
        let tasks =
            (0..CALLERS).map(|caller| tokio::spawn(write_for_ever(Arc::clone(&shard), round * CALLERS + caller)));
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap();
        }
    });
}

async fn write_for_ever(shard: Arc<SqliteShard>, event: i64) {
    let insert = write("INSERT INTO seats (event_id, seat_id) VALUES (?1, ?2)");
    for pair in 0.. {
        let seats = [2 * pair, 2 * pair + 1];
        if event % CALLERS == 0 {
            let mut transaction = shard.begin(TransactionMode::Write, &CancelFlag::new()).await.unwrap();
            for seat in seats {
                transaction.run(call(Arc::clone(&insert), vec![int(event), int(seat)])).await.unwrap();
            }
            transaction.commit().await.unwrap();
            answered(event, &seats);
        } else {
            for seat in seats {
                shard.write(call(Arc::clone(&insert), vec![int(event), int(seat)])).await.unwrap();
                answered(event, &[seat]);
            }
        }
    }
}

fn answered(event: i64, seats: &[i64]) {
    let lines: String = seats.iter().map(|seat| format!("answered {}.\n", event * 1_000_000 + seat)).collect();
    std::io::stdout().lock().write_all(lines.as_bytes()).unwrap();
}
