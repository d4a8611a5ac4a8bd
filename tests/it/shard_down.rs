//! A start with a shard that cannot be opened: the others serve, what needs it is told so, and it comes back by itself.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::support::shardd::{Ports, Request, Response, Shardd};
use crate::support::{Answer, Client, PATIENCE, Stopping};

const SCHEMA: &str = "
    CREATE TABLE t (event_id bigint PRIMARY KEY, n int);
    CREATE TABLE notes (id int PRIMARY KEY, body text);
    INSERT INTO notes VALUES (1, 'first')";

/// Keys that spread over all four shards.
const KEYS: usize = 16;

/// A server with rows on every shard.
fn filled() -> Shardd {
    let shardd = Shardd::start();
    let rows: Vec<String> = (1..=KEYS).map(|key| format!("({key}, 0)")).collect();
    shardd.client().run(&format!("{SCHEMA}; INSERT INTO t VALUES {}", rows.join(", ")));
    shardd
}

fn file(shardd: &Shardd, shard: &str) -> PathBuf {
    shardd.data_dir().join(format!("{shard}.db"))
}

/// Where a file waits until it is put back.
fn aside(shardd: &Shardd, shard: &str) -> PathBuf {
    shardd.directory().join(format!("{shard}.aside"))
}

fn move_away(shardd: &Shardd, shard: &str) {
    fs::rename(file(shardd, shard), aside(shardd, shard)).expect("moved away");
}

fn put_back(shardd: &Shardd, shard: &str) {
    fs::rename(aside(shardd, shard), file(shardd, shard)).expect("put back");
}

fn wait_until_up(shardd: &Shardd, shard: &str) {
    let begin = Instant::now();
    while !shardd.is_up(shard) {
        assert!(begin.elapsed() < PATIENCE, "{shard} does not come back: {}", shardd.log());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The statement failed since this shard is down, and says what to do. Gives the reason.
fn told_down(answer: &Answer, shard: &str) -> String {
    let error = answer.error.as_ref().unwrap_or_else(|| panic!("it was answered: {answer:?}"));
    assert_eq!(error.sqlstate(), "08006", "{error:?}");
    assert!(error.message().contains(&format!("shard \"{shard}\" is down: ")), "{error:?}");
    assert!(error.hint().contains("tries again"), "{error:?}");
    error.message().to_owned()
}

fn shardctl(shardd: &Shardd, arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shardctl"));
    let output = command.args(arguments).env("SHARDCTL_URL", shardd.admin_url()).output().expect("shardctl runs");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn add_shard(shardd: &Shardd, shard: &str) -> Response {
    let url = format!("sqlite:{}", file(shardd, shard).display());
    let body = serde_json::json!({"shard": shard, "url": url}).to_string();
    shardd.admin(&Request::new("POST", "/v1/shards", &[("content-type", "application/json")], body.as_bytes()))
}

/// Its own keys, and nothing else, suffer. The first shard is away, which answers for the reference tables otherwise.
#[test]
fn a_missing_shard_leaves_the_other_keys_alone() {
    let mut shardd = filled();
    let (lost, served) = (shardd.keys_on("t", "shard-1", 20), shardd.keys_on("t", "shard-3", 20));
    // The last of twenty has no row yet.
    let (new, served) = (format!("({}, 0), ({}, 0)", served[19], lost[19]), served[0]);
    assert!(shardd.stop().success());
    move_away(&shardd, "shard-1");
    shardd.launch();

    let mut client = shardd.client();
    client.run(&format!("UPDATE t SET n = 1 WHERE event_id = {served}"));
    assert_eq!(client.query(&format!("SELECT n FROM t WHERE event_id = {served}")).value(), "1");
    assert_eq!(client.query("SELECT body FROM notes").value(), "first", "every other shard has a copy");
    assert_eq!(client.query("SELECT count(*) FROM t WHERE event_id = NULL").value(), "0");
    client.run("CREATE TABLE IF NOT EXISTS t (event_id bigint PRIMARY KEY, n int)");
    client.run(&format!(
        "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT * FROM t WHERE event_id = {served}; SELECT * FROM notes; COMMIT"
    ));
    for statement in [
        format!("SELECT * FROM t WHERE event_id = {}", lost[0]),
        format!("UPDATE t SET n = 1 WHERE event_id = {}", lost[0]),
        format!("SELECT * FROM t WHERE event_id IN ({served}, {})", lost[0]),
        "SELECT * FROM t LIMIT 1".to_owned(),
        "SELECT count(*) FROM t".to_owned(),
        "UPDATE t SET n = 2".to_owned(),
        format!("INSERT INTO t VALUES {new}"),
        "INSERT INTO notes VALUES (2, 'second')".to_owned(),
        "CREATE TABLE more (event_id bigint PRIMARY KEY)".to_owned(),
        "SELECT * FROM notes FOR UPDATE".to_owned(),
    ] {
        let reason = told_down(&client.query(&statement), "shard-1");
        assert!(reason.contains("missing") && reason.contains("shard-1.db"), "{statement}: {reason}");
    }
    let own = shardd.data_dir();
    assert!(!own.join("shard-1.db").exists(), "no empty file takes its place");
    for number in 2..=4 {
        let connection = rusqlite::Connection::open(own.join(format!("shard-{number}.db"))).expect("a shard");
        let count = |sql| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).expect("a count");
        assert_eq!(count("SELECT count(*) FROM notes"), 1);
        assert_eq!(count("SELECT count(*) FROM t WHERE n = 2 OR event_id > 16"), 0);
        assert_eq!(count("SELECT count(*) FROM sqlite_schema WHERE name = 'more'"), 0);
    }
    let added = add_shard(&shardd, "extra");
    assert_eq!(added.status, 503, "{}", added.text());
    assert!(added.text().contains("is down") && !file(&shardd, "extra").exists(), "{}", added.text());

    // A transaction that was refused a change of the schema, and goes on to hold the lock, keeps the shard out no longer
    // than it lives.
    let mut refused = shardd.client();
    refused.run("BEGIN");
    told_down(&refused.query("CREATE TABLE more (event_id bigint PRIMARY KEY)"), "shard-1");
    put_back(&shardd, "shard-1");
    refused.run("ROLLBACK");
    wait_until_up(&shardd, "shard-1");
    assert_eq!(client.query("SELECT count(*) FROM t").value(), KEYS.to_string());
    client.run(&format!("UPDATE t SET n = 7 WHERE event_id = {}", lost[0]));
    client.run("INSERT INTO notes VALUES (2, 'second'); CREATE TABLE more (event_id bigint PRIMARY KEY)");
    assert_eq!(add_shard(&shardd, "extra").status, 201);
    assert!(shardd.stop().success());
    shardd.launch();
    assert_eq!(shardd.client().query(&format!("SELECT n FROM t WHERE event_id = {}", lost[0])).value(), "7");
}

#[test]
fn every_door_tells_that_a_shard_is_down_and_that_it_is_back() {
    let mut shardd = filled();
    let key = |shardd: &Shardd, shard: &str| {
        let named = |key: &u32| {
            let path = format!("/v1/route?table=shardd_kv&key=k{key}");
            shardd.admin(&Request::get(&path)).json()["shard"] == shard
        };
        format!("/v1/kv/k{}", (1..200).find(named).expect("every shard has keys"))
    };
    let (lost, served) = (key(&shardd, "shard-2"), key(&shardd, "shard-3"));
    for path in [&lost, &served] {
        assert!(shardd.http(&Request::new("PUT", path, &[], b"value")).status < 300);
    }
    assert!(shardd.stop().success());
    move_away(&shardd, "shard-2");
    shardd.launch();

    assert_eq!((shardd.is_up("shard-2"), shardd.is_up("shard-3")), (false, true));
    assert_eq!(shardd.admin(&Request::get("/readyz")).json()["state"], "degraded");
    assert!(shardctl(&shardd, &["status"]).contains("degraded (3 of 4 shards up)"));
    for arguments in [&["shards"][..], &["describe", "shard-2"]] {
        let said = shardctl(&shardd, arguments);
        assert!(said.contains("down: shard \"shard-2\" is down: its file is missing: "), "{said}");
    }
    let metrics = shardd.admin(&Request::get("/metrics")).text();
    assert!(metrics.contains("shardd_shard_up{shard=\"shard-2\"} 0"), "{metrics}");
    let log = shardd.log();
    assert!(log.contains("3 of 4 shards") && log.contains("DEGRADED: shard \"shard-2\" is down"), "{log}");
    assert!(log.lines().any(|line| line.contains("ERROR") && line.contains("shard-2")), "{log}");
    assert_eq!(shardd.http(&Request::get(&served)).text(), "value");
    let refused = shardd.http(&Request::get(&lost));
    assert_eq!((refused.status, refused.json()["code"].as_str()), (503, Some("08006")), "{}", refused.text());

    put_back(&shardd, "shard-2");
    wait_until_up(&shardd, "shard-2");
    assert_eq!(shardd.http(&Request::get(&lost)).text(), "value");
    assert!(shardctl(&shardd, &["status"]).contains("serving (4 of 4 shards up)"));
    let metrics = shardd.admin(&Request::get("/metrics")).text();
    assert!(metrics.contains("shardd_shard_up{shard=\"shard-2\"} 1"), "{metrics}");
    assert!(shardd.log().contains("is open again"), "{}", shardd.log());
}

/// An empty file in a shard's place is no shard, and the log beside it is kept: it may hold what was acknowledged last.
#[test]
fn a_damaged_file_is_not_touched() {
    let mut shardd = filled();
    let served = shardd.keys_on("t", "shard-3", 1)[0];
    shardd.kill();
    let (damaged, log) = (file(&shardd, "shard-2"), shardd.data_dir().join("shard-2.db-wal"));
    let (whole, logged) = (fs::read(&damaged).expect("a file"), fs::read(&log).expect("a log"));
    assert!(!logged.is_empty(), "the test shows nothing");
    let mut garbled = whole.clone();
    garbled[..64].fill(0xab);
    for content in [Vec::new(), b"no database".to_vec(), garbled] {
        fs::write(&damaged, &content).expect("written");
        shardd.launch();
        assert!(!shardd.is_up("shard-2"));
        let mut client = shardd.client();
        assert_eq!(client.query(&format!("SELECT count(*) FROM t WHERE event_id = {served}")).value(), "1");
        assert!(told_down(&client.query("SELECT count(*) FROM t"), "shard-2").contains("not a SQLite file"));
        assert!(shardd.stop().success());
        assert_eq!(fs::read(&damaged).expect("a file"), content);
        assert_eq!(fs::read(&log).expect("a log"), logged);
    }
    // An empty database is no shard either.
    fs::rename(&log, aside(&shardd, "log")).expect("moved");
    fs::remove_file(&damaged).expect("removed");
    rusqlite::Connection::open(&damaged).expect("opened").execute_batch("VACUUM").expect("an empty database");
    shardd.launch();
    assert!(told_down(&shardd.client().query("SELECT count(*) FROM t"), "shard-2").contains("it is empty"));
    let tables = rusqlite::Connection::open(&damaged).expect("opened");
    let tables = tables.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0));
    assert_eq!(tables.expect("a count"), 0, "nothing was made in it");
    // What was acknowledged is there when the file and its log are.
    assert!(shardd.stop().success());
    for leftover in ["shard-2.db-wal", "shard-2.db-shm"] {
        let _ = fs::remove_file(shardd.data_dir().join(leftover));
    }
    fs::rename(aside(&shardd, "log"), &log).expect("moved back");
    fs::write(&damaged, whole).expect("restored");
    shardd.launch();
    assert_eq!(shardd.client().query("SELECT count(*) FROM t").value(), KEYS.to_string());
}

#[test]
fn a_shard_that_another_process_holds_is_served_when_it_lets_go() {
    let mut shardd = filled();
    // The first keeps readers out, too; the second is met only when what was decided is finished.
    for lock in ["PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE", "BEGIN IMMEDIATE"] {
        assert!(shardd.stop().success());
        let other = rusqlite::Connection::open(file(&shardd, "shard-4")).expect("opened");
        other.execute_batch(lock).expect("locked");
        shardd.launch();
        let reason = told_down(&shardd.client().query("SELECT count(*) FROM t"), "shard-4");
        assert!(reason.contains("locked by another process"), "{lock}: {reason}");
        drop(other);
        wait_until_up(&shardd, "shard-4");
        assert_eq!(shardd.client().query("SELECT count(*) FROM t").value(), KEYS.to_string());
    }
}

#[test]
fn a_file_that_is_not_the_shards_own_is_not_served() {
    let mut shardd = filled();
    let served = shardd.keys_on("t", "shard-1", 1)[0];
    assert!(shardd.stop().success());
    let swap = |shardd: &Shardd| {
        move_away(shardd, "shard-2");
        fs::rename(file(shardd, "shard-3"), file(shardd, "shard-2")).expect("moved");
        fs::rename(aside(shardd, "shard-2"), file(shardd, "shard-3")).expect("moved");
    };
    swap(&shardd);
    shardd.launch();
    let mut client = shardd.client();
    assert_eq!(client.query(&format!("SELECT count(*) FROM t WHERE event_id = {served}")).value(), "1");
    let reason = told_down(&client.query("SELECT count(*) FROM t"), "shard-2");
    assert!(reason.contains("not its own: it belongs to the shard with number 3, not 2"), "{reason}");
    assert!(!shardd.is_up("shard-3"));
    swap(&shardd);
    wait_until_up(&shardd, "shard-2");
    wait_until_up(&shardd, "shard-3");
    assert_eq!(client.query("SELECT count(*) FROM t").value(), KEYS.to_string());
}

/// The statement was answered, or failed since a shard is down or the schema changes all the time. `true`: answered.
fn done_or_down(answer: &Answer) -> bool {
    match &answer.error {
        None => true,
        Some(error) => {
            assert!(["08006", "40001"].contains(&error.sqlstate()), "{error:?}");
            false
        }
    }
}

/// Whatever runs when a shard comes back is done on all shards or refused.
#[test]
fn a_shard_comes_back_in_the_midst_of_everything() {
    let mut shardd = filled();
    assert!(shardd.stop().success());
    move_away(&shardd, "shard-1");
    shardd.launch();
    let port = shardd.ports.postgres;
    let stop = AtomicBool::new(false);
    let until_stopped = |work: &dyn Fn(&mut Client, usize) -> bool| {
        let mut client = Client::connect(port).expect("a client");
        let mut done = 0;
        for number in 0.. {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            done += usize::from(work(&mut client, number));
        }
        done
    };
    let (notes, changes) = std::thread::scope(|scope| {
        let stopping = Stopping(&stop);
        let writers: Vec<_> = (1..=3)
            .map(|writer| {
                let write = move |client: &mut Client, number: usize| {
                    let id = writer * 1_000_000 + number;
                    done_or_down(&client.query(&format!("INSERT INTO notes VALUES ({id}, 'more')")))
                };
                let until_stopped = &until_stopped;
                scope.spawn(move || until_stopped(&write))
            })
            .collect();
        let changer = scope.spawn(|| {
            until_stopped(&|client, number| {
                let change = format!("CREATE TABLE made_{number} (event_id bigint PRIMARY KEY)");
                done_or_down(&client.query(&change))
                    && done_or_down(&client.query(&format!("DROP TABLE made_{number}")))
            })
        });
        let reader = scope.spawn(|| {
            until_stopped(&|client, _| {
                let counted = client.query("SELECT count(*) FROM t");
                done_or_down(&counted) && counted.value() == KEYS.to_string()
            })
        });
        std::thread::sleep(Duration::from_millis(300));
        put_back(&shardd, "shard-1");
        wait_until_up(&shardd, "shard-1");
        std::thread::sleep(Duration::from_millis(500));
        drop(stopping);
        assert!(reader.join().expect("a reader") > 0, "the test shows nothing");
        let notes: usize = writers.into_iter().map(|writer| writer.join().expect("a writer")).sum();
        (notes, changer.join().expect("a changer"))
    });
    assert!(notes > 0 && changes > 0, "the test shows nothing: {notes} notes, {changes} changes");
    assert!(shardd.stop().success());
    for number in 1..=4 {
        let connection = rusqlite::Connection::open(file(&shardd, &format!("shard-{number}"))).expect("a shard");
        let count = |sql| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).expect("a count");
        assert_eq!(usize::try_from(count("SELECT count(*) FROM notes")), Ok(notes + 1), "shard-{number}");
    }
    shardd.launch();
    assert!((1..=4).all(|number| shardd.is_up(&format!("shard-{number}"))), "they hold the same tables");
}

/// Makes a shard's file hold other tables than it did, as an old backup would.
fn forget_table(shardd: &Shardd, shard: &str) {
    fs::copy(file(shardd, shard), aside(shardd, shard)).expect("copied");
    let connection = rusqlite::Connection::open(file(shardd, shard)).expect("opened");
    connection.execute_batch("DROP TABLE notes; DELETE FROM shardd_table WHERE name = 'notes'").expect("forgotten");
}

#[test]
fn the_odd_schema_is_kept_out_and_a_tie_stops_the_start() {
    let mut shardd = filled();
    assert!(shardd.stop().success());
    forget_table(&shardd, "shard-1");
    shardd.launch();
    let mut client = shardd.client();
    let reason = told_down(&client.query("SELECT count(*) FROM t"), "shard-1");
    assert!(reason.contains("it does not hold the same tables") && reason.contains("\"notes\""), "{reason}");
    assert_eq!(client.query("SELECT body FROM notes").value(), "first");
    // It is tried again, and kept out again.
    std::thread::sleep(Duration::from_millis(1_500));
    assert!(!shardd.is_up("shard-1"));
    assert!(shardd.stop().success());

    forget_table(&shardd, "shard-2");
    let said = refused(&shardd);
    assert!(said.contains("does not hold the same tables") && said.contains("\"notes\""), "{said}");
    put_back(&shardd, "shard-2");
    shardd.launch();
    fs::remove_file(file(&shardd, "shard-1")).expect("removed");
    put_back(&shardd, "shard-1");
    wait_until_up(&shardd, "shard-1");
    assert_eq!(shardd.client().query("SELECT count(*) FROM t").value(), KEYS.to_string());
}

/// Starts a server that must not come up, and gives what it said.
fn refused(shardd: &Shardd) -> String {
    let output = Shardd::command(shardd.directory(), Ports::free()).output().expect("shardd runs");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(!output.status.success(), "it should not have started:\n{said}");
    said
}

#[test]
fn without_any_shard_the_start_fails_with_one_error() {
    let mut shardd = filled();
    assert!(shardd.stop().success());
    (1..=4).for_each(|number| move_away(&shardd, &format!("shard-{number}")));
    let said = refused(&shardd);
    assert_eq!(said.matches("no shard can be opened").count(), 1, "{said}");
    for number in 1..=4 {
        assert_eq!(said.matches(&format!("shard \"shard-{number}\" is missing")).count(), 1, "{said}");
        assert!(!file(&shardd, &format!("shard-{number}")).exists());
    }
}

#[test]
fn a_new_cluster_begins_with_all_its_shards() {
    let directory = tempfile::tempdir().expect("a directory");
    fs::write(directory.path().join("shardd.toml"), "").expect("a configuration");
    // A directory is in the file's place.
    fs::create_dir_all(directory.path().join("data/shard-2.db")).expect("a directory");
    let output = Shardd::command(directory.path(), Ports::free()).output().expect("shardd runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("shard \"shard-2\" cannot be opened"), "{said}");
}

/// What was decided while all shards were there reaches the one that was away, whenever it comes back.
#[test]
fn a_shard_that_was_away_finishes_the_commits_that_were_decided() {
    let cases: &[(&str, &str)] = &[
        ("UPDATE t SET n = n + 5", "SELECT count(*) FROM t WHERE n = 5"),
        ("ALTER TABLE t ADD COLUMN added int DEFAULT 3", "SELECT count(*) FROM t WHERE added = 3"),
        (
            "UPDATE notes SET body = 'changed'",
            "SELECT count(*) FROM t JOIN notes ON true WHERE notes.body = 'changed' AND t.event_id > 0",
        ),
    ];
    std::thread::scope(|scope| {
        for (statement, question) in cases {
            for step in ["commit-decided", "commit-committed-one:2"] {
                scope.spawn(move || finishes(statement, question, step));
            }
        }
    });
}

fn finishes(statement: &str, question: &str, step: &str) {
    let mut shardd = filled();
    assert!(shardd.stop().success());
    shardd.launch_with(&[("SHARDD_CRASH_AT", step)]);
    assert!(shardd.client().try_simple(statement).is_err(), "{statement} was answered");
    shardd.crashed();
    // The log goes last and comes first: nobody opens the file without it.
    let (here, there) = (shardd.data_dir().join("shard-3.db"), shardd.directory().join("shard-3.aside"));
    let with = |path: &PathBuf, suffix: &str| PathBuf::from(format!("{}{suffix}", path.display()));
    for suffix in ["", "-wal"] {
        fs::rename(with(&here, suffix), with(&there, suffix)).expect("moved away");
    }
    // Twice: what is left to do is not forgotten by a start that cannot do it.
    for _ in 0..2 {
        shardd.launch();
        told_down(&shardd.client().query(question), "shard-3");
        assert!(shardd.stop().success());
    }
    shardd.launch();
    // Others' commits meanwhile leave it in its place.
    let served = [shardd.keys_on("t", "shard-1", 1)[0], shardd.keys_on("t", "shard-2", 1)[0]];
    shardd
        .client()
        .run(&format!("INSERT INTO t VALUES ({}, -1), ({}, -1) ON CONFLICT DO NOTHING", served[0], served[1]));
    for suffix in ["-wal", ""] {
        fs::rename(with(&there, suffix), with(&here, suffix)).expect("moved back");
    }
    wait_until_up(&shardd, "shard-3");
    assert_eq!(shardd.client().query(question).value(), KEYS.to_string(), "{statement} after {step}");
    assert!(shardd.stop().success());
    shardd.launch();
    assert_eq!(shardd.client().query(question).value(), KEYS.to_string(), "{statement}, not twice");
}
