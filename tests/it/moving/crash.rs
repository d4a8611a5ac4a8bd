//! A server that dies at any step of a move goes on with it, or gives it up, when it starts again; no write is lost.

use std::sync::atomic::AtomicBool;

use super::under_load::Load;
use super::{all_where_they_belong, begin, look, nothing_is_left, start, until};
use crate::support::shardd::Shardd;

/// Every step, and what becomes of a move that is interrupted there.
const STEPS: &[&str] = &[
    "move-preparing",
    "move-prepared",
    "move-copying",
    "move-copied-one",
    "move-copied-all",
    "move-caught-up",
    "move-verified",
    "move-holding",
    "move-fenced",
    "move-drained",
    "move-decided",
    "move-given",
    "move-deleted",
    "move-forgotten",
];

/// Runs clients until the server dies, which it does at this step of a move.
fn die_at(shardd: &mut Shardd, step: &str, work: impl FnOnce(&Shardd)) -> Load {
    shardd.stop();
    shardd.launch_with(&[("SHARDD_CRASH_AT", step)]);
    let load = Load::new();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for client in load.clients() {
            let (load, stop, port) = (&load, &stop, shardd.ports.postgres);
            scope.spawn(move || load.run(client, port, stop));
        }
        work(shardd);
    });
    shardd.crashed();
    load
}

#[test]
fn a_move_goes_on_after_a_crash_at_any_step() {
    for step in STEPS {
        let mut shardd = start();
        let to = shardd.shard_names().remove(2);
        // Enough rows for several chunks.
        shardd.client().run("INSERT INTO entries SELECT n % 60 + 1, 100, n FROM generate_series(1, 9000) n");
        let load = die_at(&mut shardd, step, |shardd| drop(begin(shardd, "0-8191", &to)));
        shardd.launch();
        for id in 1..=2 {
            let found = until(&shardd, id, &["done", "cancelled"]);
            assert_eq!(found["stage"], "done", "{step}: {found}");
        }
        shardd.client().query("DELETE FROM entries WHERE client = 100").expect_tag("DELETE 9000");
        load.check(&all_where_they_belong(&shardd, "entries"), &all_where_they_belong(&shardd, "counters"));
        nothing_is_left(&shardd);
    }
}

#[test]
fn a_move_that_is_given_up_is_undone_after_a_crash() {
    for step in ["move-undoing", "move-undone"] {
        let mut shardd = start();
        let to = shardd.shard_names().remove(2);
        shardd.client().run("INSERT INTO entries SELECT n % 60 + 1, 100, n FROM generate_series(1, 9000) n");
        let load = die_at(&mut shardd, step, |shardd| {
            super::post(shardd, "/v1/throttle", &serde_json::json!({"bytes_per_second": 1_000}));
            let id = begin(shardd, "0-8191", &to)[0];
            until(shardd, id, &["copy"]);
            while look(shardd, id)["rows_copied"] == 0 {
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
            super::post(shardd, &format!("/v1/moves/{id}/cancel"), &serde_json::json!({}));
        });
        shardd.launch();
        assert_eq!(until(&shardd, 1, &["cancelled"])["reason"], "an operator has cancelled it");
        until(&shardd, 2, &["done"]);
        assert_eq!(look(&shardd, 2)["stage"], "done");
        shardd.client().query("DELETE FROM entries WHERE client = 100").expect_tag("DELETE 9000");
        load.check(&all_where_they_belong(&shardd, "entries"), &all_where_they_belong(&shardd, "counters"));
        nothing_is_left(&shardd);
    }
}
