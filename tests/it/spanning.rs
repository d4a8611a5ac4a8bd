//! Commits that span shards: a crash at each step, a shard that is added meanwhile.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::Client;
use crate::support::shardd::{Request, Shardd};

/// Keys that spread over all four shards.
const KEYS: i64 = 16;

/// Each step of the commit, and whether the statement is there after the restart. The server starts again after each.
const STEPS: &[(&str, bool)] = &[
    ("commit-deciding", false),
    ("commit-decided", true),
    ("commit-committed-one:1", true),
    ("commit-committed-one:2", true),
    ("commit-committed-one:3", true),
    ("commit-committed-one:4", true),
    ("commit-committed-all", true),
    ("commit-forgotten", true),
];

/// A statement that spans shards, and the question that tells how much of it is there.
struct Spanning {
    statement: fn(usize) -> String,
    question: fn(usize) -> String,
    whole: &'static str,
}

const SPANNING: &[Spanning] = &[
    Spanning {
        statement: |number| {
            let rows: Vec<String> = (0..KEYS).map(|key| format!("({key}, {number})")).collect();
            format!("INSERT INTO batches VALUES {}", rows.join(", "))
        },
        question: |number| format!("SELECT count(*) FROM batches WHERE number = {number}"),
        whole: "16",
    },
    Spanning {
        statement: |number| format!("INSERT INTO notes VALUES ({number}, 'note')"),
        // A copy for each key's shard.
        question: |number| {
            format!("SELECT count(*) FROM anchors a JOIN notes n ON true WHERE n.number = {number} AND a.event_id >= 0")
        },
        whole: "16",
    },
    Spanning {
        statement: |number| format!("CREATE TABLE made_{number} (event_id bigint PRIMARY KEY)"),
        question: |number| format!("INSERT INTO made_{number} VALUES (1), (2), (3), (4), (5), (6), (7), (8)"),
        whole: "INSERT 0 8",
    },
    Spanning {
        statement: |number| {
            format!(
                "BEGIN; ALTER TABLE anchors ADD COLUMN added_{number} int DEFAULT {number}; \
                 UPDATE anchors SET added_{number} = added_{number} + 1; COMMIT"
            )
        },
        question: |number| format!("SELECT count(*) FROM anchors WHERE added_{number} = {number} + 1"),
        whole: "16",
    },
];

fn filled() -> Shardd {
    let shardd = Shardd::start();
    let mut client = shardd.client();
    client.run(
        "CREATE TABLE batches (event_id bigint, number int, PRIMARY KEY (event_id, number));
         CREATE TABLE anchors (event_id bigint PRIMARY KEY);
         CREATE TABLE notes (number bigint PRIMARY KEY, body text)",
    );
    for key in 0..KEYS {
        client.run(&format!("INSERT INTO anchors VALUES ({key})"));
    }
    shardd
}

fn dies_at_every_step(spanning: &Spanning) {
    let mut shardd = filled();
    for (number, (step, done)) in STEPS.iter().enumerate() {
        shardd.stop();
        shardd.launch_with(&[("SHARDD_CRASH_AT", step)]);
        let statement = (spanning.statement)(number);
        let answer = shardd.client().try_simple(&statement);
        assert!(answer.is_err(), "{step}: {statement} was answered: {answer:?}");
        shardd.crashed();
        shardd.launch();
        let found = shardd.client().query(&(spanning.question)(number));
        match (done, &found.error) {
            (true, _) if spanning.whole.starts_with("INSERT") => found.expect_tag(spanning.whole),
            (true, _) => assert_eq!(found.value(), spanning.whole, "{step}: {statement}"),
            (false, Some(error)) => assert!(["42P01", "42703"].contains(&error.sqlstate()), "{step}: {error:?}"),
            (false, None) => assert_eq!(found.value(), "0", "{step}: {statement}"),
        }
    }
}

#[test]
fn a_crash_at_any_step_of_a_commit_over_shards_leaves_all_or_nothing() {
    std::thread::scope(|scope| {
        for spanning in SPANNING {
            scope.spawn(|| dies_at_every_step(spanning));
        }
    });
}

#[test]
fn a_reference_table_written_while_shards_are_added_is_the_same_everywhere() {
    let shardd = filled();
    let port = shardd.ports.postgres;
    let stop = AtomicBool::new(false);
    let written: i64 = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                let stop = &stop;
                scope.spawn(move || {
                    let mut client = Client::connect(port).expect("a client");
                    let mut written = 0;
                    while !stop.load(Ordering::Relaxed) {
                        let number = writer * 1_000_000 + written;
                        client.run(&format!("INSERT INTO notes VALUES ({number}, 'note')"));
                        written += 1;
                    }
                    written
                })
            })
            .collect();
        for number in 5..=8 {
            let url = format!("sqlite:{}", shardd.data_dir().join(format!("more-{number}.db")).display());
            let shard = serde_json::json!({"shard": format!("shard-{number}"), "url": url}).to_string();
            let json = [("content-type", "application/json")];
            let added = shardd.admin(&Request::new("POST", "/v1/shards", &json, shard.as_bytes()));
            assert!(added.status < 300, "{}", added.text());
        }
        stop.store(true, Ordering::Relaxed);
        writers.into_iter().map(|writer| writer.join().expect("a writer")).sum()
    });
    assert!(written > 0, "nothing was written: the test shows nothing");
    let mut copies = Vec::new();
    for file in shard_files(&shardd) {
        let connection = rusqlite::Connection::open(&file).expect("a shard's file");
        let count: i64 = connection.query_row("SELECT count(*) FROM notes", [], |row| row.get(0)).expect("a count");
        copies.push((file, count));
    }
    assert_eq!(copies.len(), 8, "{copies:?}");
    for (file, count) in copies {
        assert_eq!(count, written, "{}", file.display());
    }
}

fn shard_files(shardd: &Shardd) -> Vec<std::path::PathBuf> {
    let files = std::fs::read_dir(shardd.data_dir()).expect("a data directory");
    let files = files.map(|file| file.expect("a file").path());
    let is_shard = |name: &str| (name.starts_with("shard-") || name.starts_with("more-")) && name.ends_with(".db");
    files.filter(|file| file.file_name().and_then(|name| name.to_str()).is_some_and(is_shard)).collect()
}
