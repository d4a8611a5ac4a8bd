//! Slots that move between Postgres shards while clients read and write.

mod commands;
mod crash;
mod giving_up;
mod meeting;
mod rows;
mod under_load;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use shardd::topology::SlotSet;
use shardd::topology::hash::SLOT_HASH_SEED;

use crate::support::shardd::{Request, Shardd};
use crate::support::{Client, Postgres};

/// How long a move may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// A cutover has time on a machine that does much else.
const UNHURRIED: &str = "[limits]\nmove_hold_ms = 30000\n";

const SCHEMA: &str = "
    CREATE TABLE counters (event_id bigint PRIMARY KEY, total bigint NOT NULL);
    CREATE TABLE entries (event_id bigint, client int, number bigint, PRIMARY KEY (event_id, client, number));
";

const TABLES: [&str; 2] = ["counters", "entries"];

/// The keys that there are rows of.
const KEYS: std::ops::RangeInclusive<i64> = 1..=60;

/// A server over three Postgres shards, with a counter of every key.
fn start() -> Shardd {
    let shardd = Shardd::start_over_postgres_with(UNHURRIED);
    let mut client = shardd.client();
    client.simple(SCHEMA).iter().for_each(|answer| assert_eq!(answer.error.as_ref().map(|e| e.message()), None));
    let rows: Vec<String> = KEYS.map(|key| format!("({key}, 0)")).collect();
    client.run(&format!("INSERT INTO counters VALUES {}", rows.join(", ")));
    shardd
}

fn post(shardd: &Shardd, path: &str, body: &Value) -> (u16, Value) {
    let body = body.to_string();
    let headers = [("content-type", "application/json")];
    let answer = shardd.admin(&Request::new("POST", path, &headers, body.as_bytes()));
    (answer.status, answer.json())
}

/// Begins to move slots, wherever they are, and gives the moves' numbers.
fn begin(shardd: &Shardd, slots: &str, to: &str) -> Vec<i64> {
    let (status, plans) = post(shardd, "/v1/moves", &json!({"slots": {"slots": slots, "to": to}}));
    assert_eq!(status, 201, "{plans}");
    plans.as_array().expect("plans").iter().map(|plan| plan["id"].as_i64().expect("a number")).collect()
}

fn look(shardd: &Shardd, id: i64) -> Value {
    shardd.admin(&Request::get(&format!("/v1/moves/{id}"))).json()
}

/// Waits until a move is at one of these stages, and gives what is told of it then.
fn until(shardd: &Shardd, id: i64, stages: &[&str]) -> Value {
    let begun = Instant::now();
    loop {
        let found = look(shardd, id);
        if stages.iter().any(|stage| found["stage"] == *stage) {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "it is not at any of {stages:?}: {found}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Moves slots, wherever they are.
fn moved(shardd: &Shardd, slots: &str, to: &str) {
    for id in begin(shardd, slots, to) {
        let found = until(shardd, id, &["done", "cancelled"]);
        assert_eq!(found["stage"], "done", "{found}");
    }
}

/// The slots of every shard, of the user's keyspace.
fn owned(shardd: &Shardd) -> BTreeMap<String, SlotSet> {
    let status = shardd.admin(&Request::get("/v1/status")).json();
    let keyspaces = status["keyspaces"].as_array().expect("keyspaces");
    let own = keyspaces.iter().find(|keyspace| keyspace["internal"] == false).expect("one of the user's");
    let keyspace = own["keyspace"].as_str().expect("a name");
    let of = |shard: String| {
        let described = shardd.admin(&Request::get(&format!("/v1/shards/{shard}"))).json();
        let ranges = described["ranges"][keyspace].as_array().cloned().unwrap_or_default();
        let ranges: Vec<&str> = ranges.iter().filter_map(Value::as_str).collect();
        let slots = if ranges.is_empty() { SlotSet::default() } else { ranges.join(",").parse().expect("ranges") };
        (shard, slots)
    };
    shardd.shard_names().into_iter().map(of).collect()
}

/// Every row of every shard is of a slot that the shard owns. Gives the rows of all shards, as texts.
fn all_where_they_belong(shardd: &Shardd, table: &str) -> Vec<Vec<Option<String>>> {
    let postgres = shardd.postgres().expect("Postgres shards");
    let mut all = Vec::new();
    for (shard, slots) in owned(shardd) {
        let rows = postgres.client_of(&shard).query(&format!("SELECT {}, * FROM {table}", slot())).texts();
        for row in rows {
            let slot: u16 = row[0].as_deref().expect("a slot").parse().expect("a number");
            assert!(slots.iter().any(|own| own.number() == slot), "a row of {table} on {shard} is of slot {slot}");
            all.push(row[1..].to_vec());
        }
    }
    all
}

fn slot() -> String {
    format!("((hashint8extended(event_id, {SLOT_HASH_SEED}) >> 50) & 16383)")
}

/// Nothing of any move is left on the shards.
fn nothing_is_left(shardd: &Shardd) {
    let postgres: &Postgres = shardd.postgres().expect("Postgres shards");
    for shard in shardd.shard_names() {
        let mut client = postgres.client_of(&shard);
        let left = |client: &mut Client, query: &str| {
            assert_eq!(client.query(query).value(), "0", "{shard}: {query}");
        };
        left(
            &mut client,
            "SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'shardd\\_%' AND tgname <> 'shardd_guard'",
        );
        left(&mut client, "SELECT count(*) FROM pg_class WHERE relname LIKE 'moved\\_%'");
        left(&mut client, "SELECT count(*) FROM pg_proc WHERE proname LIKE 'capture\\_%'");
        if client.query("SELECT to_regclass('shardd.move_progress') IS NULL").value() == "f" {
            for table in ["mover", "move_progress", "move_fence", "move_decision"] {
                left(&mut client, &format!("SELECT count(*) FROM shardd.{table}"));
            }
        }
    }
}
