//! Routes with their parameters: shards, and what EXPLAIN says.

use std::sync::Arc;

use super::super::{Explanation, Plan, PlanKind, Slots, Targets, explain};
use super::{keyspaces, planned, schema};
use crate::topology::{Shard, Topology, slot_of};
use crate::types::{Datum, Epoch, Key, PgType, SLOTS, ShardId};

fn topology() -> Topology {
    let shards = (1..=4)
        .map(|number| Shard {
            id: ShardId(number),
            name: format!("s{number}"),
            url: format!("sqlite:{number}"),
            weight: 1.0,
        })
        .collect();
    Topology { epoch: Epoch(1), shards, keyspaces: keyspaces(), schema: Arc::new(schema()) }
}

fn targets(text: &str, parameters: &[Datum]) -> Targets {
    match planned(text).unwrap() {
        Plan::Read(read) => read.route.shards(parameters, &topology()).unwrap(),
        Plan::Write(write) => write.route.shards(parameters, &topology()).unwrap(),
        other => panic!("{other:?}"),
    }
}

fn shard_of(key: i64) -> ShardId {
    ShardId(slot_of(&Key::Bigint(key)).number() / (SLOTS / 4) + 1)
}

fn shards_of(keys: &[i64]) -> Vec<ShardId> {
    let mut shards: Vec<ShardId> = keys.iter().map(|key| shard_of(*key)).collect();
    shards.sort();
    shards.dedup();
    shards
}

#[test]
fn one_key_is_one_shard() {
    for key in 0..50 {
        let found = targets("SELECT * FROM seats WHERE event_id = $1", &[Datum::Int8(key)]);
        assert_eq!(
            found,
            Targets { shards: vec![shard_of(key)], slots: Slots::These(vec![slot_of(&Key::Bigint(key))]) }
        );
    }
}

#[test]
fn lists_give_each_shard_once_in_order() {
    let keys: Vec<i64> = (0..40).collect();
    let array = Datum::Array { element: PgType::Int8, values: keys.iter().map(|key| Datum::Int8(*key)).collect() };
    let found = targets("SELECT * FROM seats WHERE event_id = ANY($1)", &[array]);
    assert_eq!(found.shards, shards_of(&keys));
    assert_eq!(found.shards.len(), 4);
    let found = targets("SELECT * FROM seats WHERE event_id IN ($1, $2, $1)", &[Datum::Int4(3), Datum::Int8(4)]);
    assert_eq!(found.shards, shards_of(&[3, 4]));
}

#[test]
fn contradictions_and_nulls_run_on_one_shard() {
    for (text, parameters) in [
        ("SELECT * FROM seats WHERE event_id = 1 AND event_id = 2", vec![]),
        ("SELECT * FROM seats WHERE event_id = $1", vec![Datum::Null]),
        ("SELECT * FROM seats WHERE event_id = ANY($1)", vec![Datum::Null]),
        ("SELECT * FROM seats WHERE event_id = ANY('{}')", vec![]),
    ] {
        let found = targets(text, &parameters);
        assert_eq!(found, Targets { shards: vec![ShardId(1)], slots: Slots::These(vec![]) }, "{text}");
    }
}

#[test]
fn intersections_keep_common_keys() {
    let many = Datum::Array { element: PgType::Int8, values: (0..1_000).map(Datum::Int8).collect() };
    let found = targets("SELECT * FROM seats WHERE event_id = ANY($1) AND event_id = 5", &[many]);
    assert_eq!(found.shards, [shard_of(5)]);
}

#[test]
fn values_that_are_no_keys_reach_every_shard() {
    for datum in [Datum::Float8(7.0), Datum::Bool(true), Datum::Text("x".into())] {
        assert_eq!(targets("SELECT * FROM seats WHERE event_id = $1", &[datum]).shards.len(), 4);
    }
}

#[test]
fn a_key_under_another_collation_reaches_every_shard() {
    for condition in [
        "email::text COLLATE \"ci\" = 'bob'",
        "'bob'::text COLLATE \"ci\" = email",
        "email IN ('bob'::text COLLATE \"ci\")",
    ] {
        let found = targets(&format!("SELECT * FROM users WHERE {condition}"), &[]);
        assert_eq!(found.shards.len(), 4, "{condition}");
    }
}

#[test]
fn two_sides_reach_both_shards() {
    let found = targets("SELECT * FROM seats WHERE event_id = 1 UNION ALL SELECT * FROM seats WHERE event_id = 2", &[]);
    assert_eq!(found.shards, shards_of(&[1, 2]));
}

fn explained(text: &str, parameters: &[Datum]) -> Explanation {
    explain(&planned(text).unwrap(), parameters, &topology())
}

#[test]
fn explanations_say_where_and_why() {
    let single = explained("SELECT * FROM seats WHERE event_id = 5", &[]);
    assert_eq!(single.kind, PlanKind::Single);
    assert_eq!(single.shards, [format!("s{}", shard_of(5))]);
    assert_eq!(single.keys, Some(vec!["5".to_owned()]));
    assert_eq!(
        single.lines(),
        [
            "Single shard: the key is on one shard".to_owned(),
            format!("  Shards: s{}", shard_of(5)),
            "  Keyspace: main".to_owned(),
            "  Tables: seats".to_owned(),
            "  Keys: 5".to_owned(),
            format!("  Slots: {}", slot_of(&Key::Bigint(5)))
        ]
    );
    let unknown = explained("SELECT * FROM seats WHERE event_id = $1", &[]);
    assert_eq!((unknown.kind, unknown.keys), (PlanKind::Single, Some(vec!["$1".to_owned()])));
    let scatter = explained("SELECT * FROM seats ORDER BY price LIMIT 5", &[]);
    assert_eq!((scatter.kind, scatter.shards.len()), (PlanKind::Scatter, 4));
    assert_eq!(scatter.reason, "rows merged in order, cut to LIMIT and OFFSET");
    let gathered = explained("SELECT string_agg(status, ',') FROM seats", &[]);
    assert_eq!(gathered.kind, PlanKind::Gather);
    assert_eq!(gathered.reason, "the rows come to one place, for string_agg() across shards");
    let locking = explained("SELECT 1 FROM seats a JOIN seats b ON a.price = b.price FOR UPDATE", &[]);
    assert_eq!(locking.kind, PlanKind::Gather);
    assert_eq!(explained("DELETE FROM seats", &[]).kind, PlanKind::AllShards);
    assert_eq!(explained("INSERT INTO seats VALUES (1), (2), (3), (4), (5), (6)", &[]).kind, PlanKind::Split);
    assert_eq!(explained("SELECT 1", &[]).kind, PlanKind::Local);
    assert_eq!(explained("BEGIN", &[]).kind, PlanKind::Local);
    assert_eq!(explained("CREATE TABLE x (event_id int)", &[]).shards.len(), 4);
    let json = serde_json::to_value(&single).unwrap();
    assert_eq!(json["kind"], "single");
    assert_eq!(json["slots"][0], slot_of(&Key::Bigint(5)).number());
}
