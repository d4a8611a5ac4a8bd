//! Crashes at every step of commits over several shards, under load, with shards that crash too.
//!
//! Each transaction increments one row on every shard and inserts a row that tells of it. At the end all shards tell the same;
//! what was acknowledged is there, what was refused is not, and nothing is there twice. `SHARDD_CRASH_ROUNDS=500` goes deep.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::{prepared, until};
use crate::support::client::USER;
use crate::support::shardd::Shardd;
use crate::support::{Client, Postgres};

const CLIENTS: usize = 8;
const ROUNDS_IN_CI: u64 = 12;

/// The steps on Postgres shards.
const TWO_PHASE: &[&str] = &[
    "two-phase-preparing",
    "two-phase-prepared-one",
    "two-phase-prepared-all",
    "two-phase-deciding",
    "two-phase-decided",
    "two-phase-committed-one",
    "two-phase-committed-all",
    "two-phase-forgotten",
];

/// The steps on SQLite shards.
const REDO: &[&str] =
    &["commit-deciding", "commit-decided", "commit-committed-one", "commit-committed-all", "commit-forgotten"];

const SCHEMA: &str = "
    CREATE TABLE counters (event_id bigint PRIMARY KEY, total bigint NOT NULL);
    CREATE TABLE entries (event_id bigint, client int, number bigint, PRIMARY KEY (event_id, client, number));
";

fn rounds() -> u64 {
    std::env::var("SHARDD_CRASH_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(ROUNDS_IN_CI)
}

/// What one client was told of its transactions, by their numbers.
#[derive(Default)]
struct Told {
    committed: BTreeSet<i64>,
    refused: BTreeSet<i64>,
    next: i64,
}

struct Load {
    keys: Vec<u32>,
    told: Vec<Mutex<Told>>,
    unknown: AtomicU64,
}

impl Load {
    /// Runs transactions until the server is gone.
    fn run(&self, client: usize, port: u16) {
        let Ok(mut connection) = Client::connect(port) else { return };
        let mut told = self.told[client].lock().expect("locked");
        loop {
            let number = told.next;
            told.next += 1;
            let mut statements = vec!["BEGIN".to_owned()];
            for key in &self.keys {
                statements.push(format!("UPDATE counters SET total = total + 1 WHERE event_id = {key}"));
                statements.push(format!("INSERT INTO entries VALUES ({key}, {client}, {number})"));
            }
            let work = statements.iter().find_map(|statement| failed(&mut connection, statement));
            let end = match work {
                Some(Some(_)) => {
                    told.refused.insert(number);
                    match failed(&mut connection, "ROLLBACK") {
                        None => continue,
                        Some(_) => return,
                    }
                }
                // The connection is lost, and COMMIT was not sent.
                Some(None) => {
                    told.refused.insert(number);
                    return;
                }
                None => failed(&mut connection, "COMMIT"),
            };
            match end {
                None => {
                    told.committed.insert(number);
                }
                Some(Some(state)) if ["08007", "40003", "57P01", "57P02"].contains(&state.as_str()) => {
                    self.unknown.fetch_add(1, Ordering::Relaxed);
                }
                Some(Some(_)) => {
                    told.refused.insert(number);
                }
                Some(None) => {
                    self.unknown.fetch_add(1, Ordering::Relaxed);
                    return;
                }
            }
        }
    }

    /// Every shard tells the same, and that is what the clients were told.
    fn check(&self, client: &mut Client, round: &str) {
        let mut entries: BTreeMap<u32, BTreeSet<(usize, i64)>> = BTreeMap::new();
        for key in &self.keys {
            let answer = client.query(&format!("SELECT client, number FROM entries WHERE event_id = {key}"));
            let number = |text: &Option<String>| text.as_deref().expect("a number").parse::<i64>().expect("a number");
            let rows = answer.texts().iter().map(|row| (number(&row[0]) as usize, number(&row[1]))).collect();
            entries.insert(*key, rows);
            let total = client.query(&format!("SELECT total FROM counters WHERE event_id = {key}")).value();
            assert_eq!(total, entries[key].len().to_string(), "{round}: something was done twice, or in part");
        }
        let first = &entries[&self.keys[0]];
        for (key, other) in &entries {
            let differ: Vec<_> = first.symmetric_difference(other).collect();
            assert!(differ.is_empty(), "{round}: the shard of key {key} differs: {differ:?}");
        }
        for (client, told) in self.told.iter().enumerate() {
            let told = told.lock().expect("locked");
            let there: BTreeSet<i64> =
                first.iter().filter(|(other, _)| *other == client).map(|(_, number)| *number).collect();
            let lost: Vec<_> = told.committed.difference(&there).collect();
            assert!(lost.is_empty(), "{round}: acknowledged commits of client {client} are missing: {lost:?}");
            let wrong: Vec<_> = told.refused.intersection(&there).collect();
            assert!(wrong.is_empty(), "{round}: client {client} was told that these failed: {wrong:?}");
        }
    }

    fn committed(&self) -> usize {
        self.told.iter().map(|told| told.lock().expect("locked").committed.len()).sum()
    }
}

/// `None`: it went well. Otherwise the SQLSTATE, or none when the connection is lost.
fn failed(client: &mut Client, statement: &str) -> Option<Option<String>> {
    match client.try_simple(statement) {
        Err(_) => Some(None),
        Ok(answers) => {
            answers.iter().find_map(|answer| answer.error.as_ref()).map(|error| Some(error.sqlstate().to_owned()))
        }
    }
}

fn load(shardd: &Shardd) -> Load {
    shardd.client().run(SCHEMA);
    let keys: Vec<u32> = shardd.shard_names().iter().map(|shard| shardd.keys_on("counters", shard, 1)[0]).collect();
    for key in &keys {
        shardd.client().run(&format!("INSERT INTO counters VALUES ({key}, 0)"));
    }
    Load { keys, told: (0..CLIENTS).map(|_| Mutex::default()).collect(), unknown: AtomicU64::new(0) }
}

/// Runs load against a server that is to crash at a step, until it has; `meanwhile` may do harm, too.
fn crash_under_load(shardd: &mut Shardd, load: &Load, at: &str, meanwhile: impl FnOnce() + Send) {
    shardd.stop();
    shardd.launch_with(&[("SHARDD_CRASH_AT", at)]);
    let port = shardd.ports.postgres;
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            scope.spawn(move || load.run(client, port));
        }
        scope.spawn(meanwhile);
    });
    shardd.ended();
    shardd.launch();
}

#[test]
fn sqlite_shards_agree_after_a_crash_at_any_step() {
    let mut shardd = Shardd::start();
    let load = load(&shardd);
    for round in 0..rounds() {
        let step = REDO[round as usize % REDO.len()];
        let at = format!("{step}:{}", 1 + round * 13 % 40);
        crash_under_load(&mut shardd, &load, &at, || {});
        load.check(&mut shardd.client(), &at);
    }
    assert!(load.committed() > 0, "nothing was committed: the test shows nothing");
}

#[test]
fn postgres_shards_agree_after_a_crash_at_any_step_and_of_any_shard() {
    let mut servers: Vec<Postgres> = (0..3).map(|_| Postgres::start()).collect();
    let mut configuration = "[limits]\nresolve_after_ms = 500\n".to_owned();
    for (number, server) in servers.iter().enumerate() {
        server.make_shards(1);
        let url = format!("postgres://{USER}@127.0.0.1:{}/s1", server.port);
        configuration += &format!("[[shards]]\nname = \"p{number}\"\nurl = \"{url}\"\n");
    }
    let mut shardd = Shardd::start_with(&configuration);
    let load = load(&shardd);
    for round in 0..rounds() {
        let step = TWO_PHASE[round as usize % TWO_PHASE.len()];
        let at = format!("{step}:{}", 1 + round * 13 % 30);
        let server = &mut servers[round as usize % 3];
        // Every other round a shard crashes before shardd does, or after.
        crash_under_load(&mut shardd, &load, &at, || {
            if round % 2 == 1 {
                std::thread::sleep(Duration::from_millis(40 + round * 37 % 200));
                server.kill();
                server.start_again();
            }
        });
        until("something stays prepared", || servers.iter().all(|server| prepared(server).is_empty()));
        let mut client = shardd.client();
        until("every shard answers", || client.query("SELECT count(*) FROM counters").error.is_none());
        load.check(&mut client, &at);
    }
    assert!(load.committed() > 0, "nothing was committed: the test shows nothing");
    println!("{} committed, {} of unknown outcome", load.committed(), load.unknown.load(Ordering::Relaxed));
}

/// Each step, and whether the statement is there after the restart.
const STEPS: &[(&str, bool)] = &[
    ("two-phase-preparing", false),
    ("two-phase-prepared-one", false),
    ("two-phase-prepared-all", false),
    ("two-phase-deciding", false),
    ("two-phase-decided", true),
    ("two-phase-committed-one", true),
    ("two-phase-committed-all", true),
];

/// A statement over all shards, and the question that tells whether it is there.
type Spanning = (fn(usize) -> String, fn(usize) -> String);

fn dies_at_every_step((statement, question): Spanning) {
    let mut shardd = Shardd::start_over_postgres();
    shardd.client().run(SCHEMA);
    shardd.client().run("CREATE TABLE notes (number bigint PRIMARY KEY, body text)");
    for (number, (step, done)) in STEPS.iter().enumerate() {
        shardd.stop();
        // The start commits nothing where all tables are there.
        let at = format!("{step}:1");
        shardd.launch_with(&[("SHARDD_CRASH_AT", &at)]);
        let answer = shardd.client().try_simple(&statement(number));
        assert!(answer.is_err(), "{at}: it was answered: {answer:?}");
        shardd.crashed();
        shardd.launch();
        let postgres = shardd.postgres().expect("a server");
        assert_eq!(prepared(postgres), Vec::<String>::new(), "{at}");
        for shard in shardd.shard_names() {
            let found = postgres.client_of(&shard).query(&question(number)).value();
            assert_eq!(found == "1", *done, "{at}: {} on {shard}: {found}", statement(number));
        }
    }
}

#[test]
fn a_crash_at_any_step_leaves_all_or_nothing_on_postgres_shards() {
    let spanning: [Spanning; 3] = [
        (
            |number| format!("CREATE TABLE made_{number} (event_id bigint PRIMARY KEY)"),
            |number| format!("SELECT count(*) FROM pg_class WHERE relname = 'made_{number}'"),
        ),
        (
            |number| format!("INSERT INTO notes VALUES ({number}, 'note')"),
            |number| format!("SELECT count(*) FROM notes WHERE number = {number}"),
        ),
        (
            |number| {
                let rows: Vec<String> = (0..40).map(|key| format!("({key}, {number}, {key})")).collect();
                format!("INSERT INTO entries VALUES {}", rows.join(", "))
            },
            |number| format!("SELECT count(DISTINCT client) FROM entries WHERE client = {number}"),
        ),
    ];
    std::thread::scope(|scope| {
        for spanning in spanning {
            scope.spawn(move || dies_at_every_step(spanning));
        }
    });
}
