//! Commits that span shards: a crash at each step, a shard that is added meanwhile.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::shardd::{Request, Shardd};
use crate::support::{Client, Stopping};

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
        let stopping = Stopping(&stop);
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
            add_shard(&shardd, number);
        }
        drop(stopping);
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

fn add_shard(shardd: &Shardd, number: usize) {
    let url = format!("sqlite:{}", shardd.data_dir().join(format!("more-{number}.db")).display());
    let shard = serde_json::json!({"shard": format!("shard-{number}"), "url": url}).to_string();
    let json = [("content-type", "application/json")];
    let added = shardd.admin(&Request::new("POST", "/v1/shards", &json, shard.as_bytes()));
    assert!(added.status < 300, "{}", added.text());
}

/// Reference tables with and without a primary key, whose rows have come and gone.
const WORN: &str = "
    CREATE TABLE plain (a int, b text);
    CREATE TABLE keyed (a text PRIMARY KEY, b int UNIQUE, c int);
    CREATE TABLE children (a text REFERENCES keyed, n int);
    INSERT INTO plain SELECT x, 'row ' || x FROM generate_series(1, 40) x;
    INSERT INTO keyed SELECT 'key ' || (x * 7 % 40), x, x % 3 FROM generate_series(1, 40) x;
    INSERT INTO children SELECT 'key ' || (x * 3 % 40), x FROM generate_series(1, 20) x;
    CREATE INDEX plain_b ON plain (b);
    CREATE INDEX keyed_c ON keyed (c);
    CREATE INDEX plain_a ON plain (a, b);
    DELETE FROM plain WHERE a % 3 = 1;
    DELETE FROM children WHERE n < 4;
    UPDATE plain SET b = 'changed ' || a WHERE a % 5 = 0;
    ALTER TABLE plain ADD COLUMN d int DEFAULT 5";

/// What is done once there is a shard more.
const WEAR: &str = "
    DELETE FROM plain WHERE a = 3;
    UPDATE plain SET b = 'late' WHERE a IN (9, 11, 40);
    INSERT INTO plain VALUES (3, 'again'), (50, 'new');
    DELETE FROM children WHERE n = 7;
    UPDATE keyed SET c = c + 1 WHERE b > 30;
    DROP INDEX plain_b;
    CREATE INDEX plain_d ON plain (d, b)";

/// Subqueries that leave it open which row they take.
const OPEN: &[&str] = &[
    "SELECT a || b FROM plain LIMIT 1",
    "SELECT b FROM plain WHERE a > 5 LIMIT 1",
    "SELECT b FROM plain WHERE d = 5 LIMIT 1",
    "SELECT b FROM plain ORDER BY d LIMIT 1 OFFSET 3",
    "SELECT a FROM keyed LIMIT 1",
    "SELECT a FROM keyed WHERE c = 2 LIMIT 1",
    "SELECT a FROM keyed ORDER BY c DESC LIMIT 1",
    "SELECT n FROM children JOIN keyed USING (a) LIMIT 1",
    "SELECT a FROM plain GROUP BY a, d LIMIT 1",
];

/// A statement on several shards may ask each for `(SELECT ... LIMIT 1)`: it must be one row, though any.
#[test]
fn copies_of_a_reference_table_have_their_rows_in_one_order() {
    let shardd = filled();
    let mut client = shardd.client();
    client.run(WORN);
    one_choice(&mut client);
    add_shard(&shardd, 5);
    client.run(WEAR);
    one_choice(&mut client);
    let files = shard_files(&shardd);
    assert_eq!(files.len(), 5, "{files:?}");
    for table in ["plain", "keyed", "children"] {
        let copies: Vec<_> = files.iter().map(|file| rows_in_order(file, table)).collect();
        assert!(copies.iter().all(|copy| *copy == copies[0]), "{table}: {copies:#?}");
    }
    for file in &files {
        let connection = rusqlite::Connection::open(file).expect("a shard's file");
        let statistics = "SELECT count(*) FROM sqlite_schema WHERE name LIKE 'sqlite_stat%'";
        let count: i64 = connection.query_row(statistics, [], |row| row.get(0)).expect("a count");
        assert_eq!(count, 0, "with statistics each shard would choose its own way");
    }
}

/// Every key's shard takes the same row.
fn one_choice(client: &mut Client) {
    for question in OPEN {
        let answer = client.query(&format!("SELECT DISTINCT ({question})::text FROM anchors"));
        let rows = answer.texts();
        assert!(rows.len() == 1 && rows[0][0].is_some(), "{question}: {answer:?}");
    }
}

/// As SQLite comes by them, with what tells equal rows apart.
fn rows_in_order(file: &std::path::Path, table: &str) -> Vec<String> {
    let connection = rusqlite::Connection::open(file).expect("a shard's file");
    let number = if table == "keyed" { "0" } else { "rowid" };
    let mut rows = connection.prepare(&format!("SELECT {number}, * FROM {table}")).expect("a query");
    let columns = rows.column_count();
    let shown = rows.query_map([], |row| {
        (0..columns).map(|column| Ok(format!("{:?}", row.get_ref(column)?))).collect::<rusqlite::Result<Vec<_>>>()
    });
    shown.expect("rows").map(|row| row.expect("a row").join(" ")).collect()
}

fn shard_files(shardd: &Shardd) -> Vec<std::path::PathBuf> {
    let files = std::fs::read_dir(shardd.data_dir()).expect("a data directory");
    let files = files.map(|file| file.expect("a file").path());
    let is_shard = |name: &str| (name.starts_with("shard-") || name.starts_with("more-")) && name.ends_with(".db");
    files.filter(|file| file.file_name().and_then(|name| name.to_str()).is_some_and(is_shard)).collect()
}
