//! Moves that cannot be, are cancelled, pause, or wait.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{TABLES, all_where_they_belong, begin, look, moved, nothing_is_left, owned, post, start, until};
use crate::support::Client;
use crate::support::shardd::Shardd;

#[test]
fn a_table_without_a_primary_key_is_not_moved() {
    let shardd = start();
    shardd.client().run("CREATE TABLE notes (event_id bigint NOT NULL, text text)");
    let before = owned(&shardd);
    let to = shardd.shard_names().remove(2);
    for id in begin(&shardd, "0-99", &to) {
        let found = until(&shardd, id, &["done", "cancelled"]);
        assert_eq!(found["stage"], "cancelled");
        let reason = found["reason"].as_str().expect("a reason");
        assert!(reason.contains("\"notes\"") && reason.contains("no primary key"), "{reason}");
    }
    assert_eq!(owned(&shardd), before);
    nothing_is_left(&shardd);
}

#[test]
fn what_cannot_be_asked_for_is_refused() {
    let shardd = start();
    let refused = |body: serde_json::Value| {
        let (status, problem) = post(&shardd, "/v1/moves", &body);
        (status, problem["detail"].as_str().unwrap_or_default().to_owned())
    };
    let (status, detail) = refused(json!({"slots": {"slots": "0-99", "to": "nowhere"}}));
    assert!(status == 400 && detail.contains("no shard \"nowhere\""), "{status} {detail}");
    let (status, detail) = refused(json!({"slots": {"slots": "99-0", "to": "s1"}}));
    assert!(status == 400 && detail.contains("no set of slots"), "{status} {detail}");
    let (status, plans) = post(&shardd, "/v1/moves", &json!({"dry_run": true}));
    assert_eq!((status, plans), (200, json!([])), "the shards are balanced");
    assert_eq!(post(&shardd, "/v1/moves/7/cancel", &json!({})).0, 404);
    let sqlite = Shardd::start();
    sqlite.client().run("CREATE TABLE seats (event_id bigint PRIMARY KEY)");
    let wanted = json!({"slots": {"slots": "0-16383", "to": sqlite.shard_names().remove(0)}});
    let (status, problem) = post(&sqlite, "/v1/moves", &wanted);
    assert_eq!((status, problem["code"].as_str()), (422, Some("0A000")), "{problem}");
}

#[test]
fn a_move_can_pause_and_be_cancelled_before_its_slots_have_changed_hands() {
    let shardd = start();
    let mut client = shardd.client();
    client.run("INSERT INTO entries SELECT n % 60 + 1, 1, n FROM generate_series(1, 3000) n");
    let to = shardd.shard_names().remove(2);
    let before = owned(&shardd);
    post(&shardd, "/v1/throttle", &json!({"bytes_per_second": 2_000}));
    let ids = begin(&shardd, "0-16383", &to);
    until(&shardd, ids[0], &["copy"]);
    let (status, paused) = post(&shardd, &format!("/v1/moves/{}/pause", ids[0]), &json!({}));
    assert_eq!((status, paused["asked"].as_str()), (200, Some("pause")));
    for id in &ids {
        assert_eq!(post(&shardd, &format!("/v1/moves/{id}/cancel"), &json!({})).0, 200);
    }
    post(&shardd, "/v1/throttle", &json!({"bytes_per_second": 0}));
    for id in &ids {
        until(&shardd, *id, &["cancelled"]);
        assert_eq!(post(&shardd, &format!("/v1/moves/{id}/cancel"), &json!({})).0, 409);
    }
    assert_eq!(owned(&shardd), before);
    assert_eq!(all_where_they_belong(&shardd, "entries").len(), 3_000);
    nothing_is_left(&shardd);
    moved(&shardd, "0-16383", &to);
    assert_eq!(all_where_they_belong(&shardd, "entries").len(), 3_000);
    let (_, plans) = post(&shardd, "/v1/moves", &json!({}));
    for plan in plans.as_array().expect("plans") {
        until(&shardd, plan["id"].as_i64().expect("a number"), &["done"]);
    }
    assert!(owned(&shardd).values().all(|slots| slots.len() > 5_400), "they are balanced again");
    for table in TABLES {
        all_where_they_belong(&shardd, table);
    }
}

#[test]
fn rows_that_differ_are_found_before_the_slots_change_hands() {
    let shardd = start();
    shardd.client().run("INSERT INTO entries SELECT n % 60 + 1, 1, n FROM generate_series(1, 9000) n");
    let to = shardd.shard_names().remove(2);
    post(&shardd, "/v1/throttle", &json!({"bytes_per_second": 2_000}));
    let id = begin(&shardd, "0-8191", &to)[0];
    until(&shardd, id, &["copy"]);
    // Somebody changes a copy behind the move's back: the counters are copied first.
    let mut there = shardd.postgres().expect("Postgres").client_of(&to);
    let moving = format!("{} < 8192 AND total = 0", super::slot());
    std::thread::sleep(Duration::from_millis(300));
    there.run(&format!(
        "ALTER TABLE counters DISABLE TRIGGER shardd_guard; UPDATE counters SET total = 1 WHERE {moving}; \
         ALTER TABLE counters ENABLE ALWAYS TRIGGER shardd_guard"
    ));
    post(&shardd, "/v1/throttle", &json!({"bytes_per_second": 0}));
    let found = until(&shardd, id, &["cancelled", "done"]);
    assert_eq!(found["stage"], "cancelled", "{found}");
    let reason = found["reason"].as_str().expect("a reason");
    assert!(reason.contains("rows of table \"counters\""), "{reason}");
}

#[test]
fn a_long_transaction_delays_the_move_and_nobody_else() {
    let shardd = start();
    let names = shardd.shard_names();
    shardd.client().run("INSERT INTO entries SELECT n % 60 + 1, 1, n FROM generate_series(1, 9000) n");
    let keys = shardd.keys_on("counters", &names[0], 2);
    let slots = owned(&shardd)[&names[0]].to_string();
    post(&shardd, "/v1/throttle", &json!({"bytes_per_second": 2_000}));
    let id = begin(&shardd, &slots, &names[1])[0];
    until(&shardd, id, &["copy"]);
    let mut long = shardd.client();
    long.run("BEGIN");
    long.run(&format!("UPDATE counters SET total = 5 WHERE event_id = {}", keys[0]));
    post(&shardd, "/v1/throttle", &json!({"bytes_per_second": 0}));
    let begun = Instant::now();
    let (mut slowest, mut writes) = (Duration::ZERO, 0);
    let mut other = shardd.client();
    while look(&shardd, id)["attempts"].as_u64() < Some(3) {
        assert!(begun.elapsed() < super::PATIENCE, "{}", look(&shardd, id));
        let start = Instant::now();
        let answer = other.query(&format!("UPDATE counters SET total = total + 1 WHERE event_id = {}", keys[1]));
        slowest = slowest.max(start.elapsed());
        writes += u32::from(answer.error.is_none());
    }
    let found = look(&shardd, id);
    assert_eq!(found["stage"], "cut_over", "{found}");
    assert!(slowest < Duration::from_millis(1_500), "{slowest:?}");
    long.run("COMMIT");
    until(&shardd, id, &["done"]);
    let total = |client: &mut Client, key: u32| {
        client.query(&format!("SELECT total FROM counters WHERE event_id = {key}")).value()
    };
    assert_eq!(total(&mut long, keys[0]), "5");
    assert_eq!(total(&mut other, keys[1]), writes.to_string());
    nothing_is_left(&shardd);
}
