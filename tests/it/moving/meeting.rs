//! Moves that meet other moves, and rows that go their own way meanwhile.

use serde_json::json;

use super::{all_where_they_belong, begin, look, nothing_is_left, owned, post, start, until};
use crate::support::shardd::Shardd;

fn throttle(shardd: &Shardd, bytes_per_second: u64) {
    post(shardd, "/v1/throttle", &json!({"bytes_per_second": bytes_per_second}));
}

#[test]
fn a_paused_move_is_met_by_no_other_of_its_shards_and_loses_nothing() {
    let shardd = start();
    let mut client = shardd.client();
    client.run("INSERT INTO entries SELECT n % 60 + 1, 1, n FROM generate_series(1, 6000) n");
    let slots = owned(&shardd)["s1"].clone();
    let middle = slots.ranges()[0].0 + (slots.ranges()[0].1 - slots.ranges()[0].0) / 2;
    let (first, others): (Vec<_>, Vec<_>) = slots.iter().partition(|slot| slot.number() <= middle);
    let text = |slots: Vec<shardd::types::Slot>| slots.into_iter().collect::<shardd::topology::SlotSet>().to_string();
    throttle(&shardd, 2_000);
    let paused = begin(&shardd, &text(first), "s2")[0];
    until(&shardd, paused, &["copy"]);
    assert_eq!(post(&shardd, &format!("/v1/moves/{paused}/pause"), &json!({})).0, 200);
    let other = begin(&shardd, &text(others), "s3")[0];
    let begun = std::time::Instant::now();
    while !look(&shardd, other)["reason"].as_str().is_some_and(|reason| reason.contains(&format!("move {paused}"))) {
        assert!(begun.elapsed() < super::PATIENCE, "{}", look(&shardd, other));
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(look(&shardd, other)["stage"], "prepare");
    client.run("UPDATE counters SET total = total + 7");
    client.run("DELETE FROM entries WHERE number % 3 = 0");
    throttle(&shardd, 0);
    assert_eq!(post(&shardd, &format!("/v1/moves/{paused}/resume"), &json!({})).0, 200);
    for id in [paused, other] {
        let found = until(&shardd, id, &["done", "cancelled"]);
        assert_eq!(found["stage"], "done", "{found}");
    }
    assert!(owned(&shardd)["s1"].is_empty());
    assert_eq!(all_where_they_belong(&shardd, "entries").len(), 4_000);
    let counters = all_where_they_belong(&shardd, "counters");
    assert!(counters.len() == 60 && counters.iter().all(|row| row[1].as_deref() == Some("7")), "{counters:?}");
    nothing_is_left(&shardd);
}

/// Its primary key has no sharding key: the row is another's on both shards, and the same.
#[test]
fn a_row_that_was_given_a_key_of_the_taking_shard_meanwhile_stays_there() {
    let shardd = start();
    let mut client = shardd.client();
    client.run("CREATE TABLE orders (id uuid PRIMARY KEY, event_id bigint NOT NULL, note text)");
    client.run("INSERT INTO entries SELECT n % 60 + 1, 1, n FROM generate_series(1, 6000) n");
    let (here, there) = (shardd.keys_on("counters", "s1", 6), shardd.keys_on("counters", "s3", 1)[0]);
    for (number, key) in here.iter().enumerate() {
        client.run(&format!("INSERT INTO orders VALUES (md5('{number}')::uuid, {key}, 'mine')"));
    }
    let slots = owned(&shardd)["s1"].to_string();
    throttle(&shardd, 2_000);
    let id = begin(&shardd, &slots, "s3")[0];
    until(&shardd, id, &["copy"]);
    for key in &here[..3] {
        client.run(&format!("UPDATE orders SET event_id = {there} WHERE event_id = {key}"));
    }
    throttle(&shardd, 0);
    let found = until(&shardd, id, &["done", "cancelled"]);
    assert_eq!(found["stage"], "done", "{found}");
    assert_eq!(all_where_they_belong(&shardd, "orders").len(), 6);
    assert_eq!(client.query(&format!("SELECT count(*) FROM orders WHERE event_id = {there}")).value(), "3");
    assert_eq!(client.query("SELECT count(*) FROM orders").value(), "6");
    nothing_is_left(&shardd);
}
