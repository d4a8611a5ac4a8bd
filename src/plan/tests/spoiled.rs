//! Statements that differences between shards make wrong, and those that go on.

use std::collections::BTreeSet;

use super::{keyspaces, schema};
use crate::plan::{plan, spoiled};
use crate::sql::{lift, parse};
use crate::topology::{Drift, Misfit, Spoils};
use crate::types::ShardId;

fn is_spoiled(text: &str, spoils: &Spoils) -> bool {
    let misfit = Misfit {
        table: Some("seats".into()),
        shards: BTreeSet::from([ShardId(2)]),
        spoils: spoils.clone(),
        message: String::new(),
        hint: String::new(),
    };
    let mut schema = schema();
    schema.drift = Drift { misfits: vec![misfit], ..Drift::default() }.into();
    let lifted = lift(text).unwrap();
    let parsed = parse(&lifted.text, lifted.client_parameters, lifted.kinds().collect()).unwrap();
    !spoiled(&plan(&parsed, &schema, &keyspaces()).unwrap(), &schema).is_empty()
}

#[test]
fn only_what_depends_on_the_difference_is_wrong() {
    let status = || "status".to_owned();
    let cases = [
        ("SELECT * FROM seats WHERE event_id = 1", "everything"),
        ("INSERT INTO seats (event_id, seat_id) VALUES (1, 2)", "everything writes new values filling"),
        ("INSERT INTO seats (event_id, status) VALUES (1, 'a')", "everything writes new values value"),
        ("INSERT INTO seats (event_id, status) VALUES (1, DEFAULT)", "everything writes new values value filling"),
        ("INSERT INTO seats VALUES (1, 2)", "everything writes new values filling order"),
        ("INSERT INTO seats VALUES (1, 2, 'a')", "everything writes new values value order"),
        (
            "INSERT INTO seats (event_id) VALUES (1) ON CONFLICT (event_id) DO UPDATE SET status = 'a'",
            "everything writes new old values value filling",
        ),
        ("UPDATE seats SET status = 'a' WHERE event_id = 1", "everything writes new old values value"),
        ("UPDATE seats SET status = DEFAULT WHERE event_id = 1", "everything writes new old values value filling"),
        ("UPDATE seats SET price = 1 WHERE event_id = 1", "everything writes new old"),
        ("DELETE FROM seats WHERE event_id = 1", "everything writes old"),
        ("DELETE FROM orders WHERE event_id = 1", ""),
        ("INSERT INTO venues (venue_id) VALUES (1)", ""),
    ];
    let all = [
        ("everything", Spoils::Everything),
        ("writes", Spoils::Writes),
        ("new", Spoils::NewRows),
        ("old", Spoils::OldRows),
        ("values", Spoils::NewValues(vec![status()])),
        ("value", Spoils::Value(status())),
        ("filling", Spoils::Filling(status())),
        ("order", Spoils::Order),
    ];
    for (text, expected) in cases {
        let hit: Vec<&str> = all.iter().filter(|(_, spoils)| is_spoiled(text, spoils)).map(|(name, _)| *name).collect();
        assert_eq!(hit.join(" "), expected, "{text}");
    }
}

#[test]
fn a_write_within_with_is_not_trusted() {
    let text = "WITH gone AS (DELETE FROM seats WHERE event_id = 1 RETURNING *) SELECT * FROM gone";
    assert!(is_spoiled(text, &Spoils::Order) && !is_spoiled(text, &Spoils::Nothing));
}
