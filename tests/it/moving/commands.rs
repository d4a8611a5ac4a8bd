//! shardctl's commands for moves, as an operator and as a script use them.

use std::process::{Command, Stdio};

use serde_json::Value;

use super::{owned, start};
use crate::support::Shardd;

/// The exit code, and what was printed.
fn shardctl(shardd: &Shardd, arguments: &[&str]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shardctl"));
    command.args(arguments).env("SHARDCTL_URL", shardd.admin_url()).env("NO_COLOR", "1").stdin(Stdio::null());
    let output = command.output().expect("shardctl runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code().expect("an exit code"), text)
}

#[test]
fn slots_are_moved_and_balanced_from_the_command_line() {
    let shardd = start();
    let names = shardd.shard_names();
    let key = shardd.keys_on("counters", &names[0], 1)[0].to_string();
    let wanted = ["move", "--key", "counters", &key, "--to", &names[1]];
    let (code, text) = shardctl(&shardd, &[&wanted[..], &["--dry-run"]].concat());
    assert!(code == 0 && text.contains("ROWS (ABOUT)") && text.contains(&names[1]), "{code} {text}");
    let (code, text) = shardctl(&shardd, &wanted);
    assert!(code == 2 && text.contains("--yes"), "{code} {text}");
    assert_eq!(shardctl(&shardd, &["moves"]).1, "Nothing was moved yet.\n");

    let (code, text) = shardctl(&shardd, &[&wanted[..], &["--yes", "--watch"]].concat());
    assert!(code == 0 && text.contains("move 1: done"), "{code} {text}");
    assert_eq!(shardd.keys_on("counters", &names[1], 1).len(), 1);
    assert!(shardctl(&shardd, &["route", "counters", &key]).1.contains(&names[1]));
    let (code, text) = shardctl(&shardd, &["moves", "1", "-o", "json"]);
    let found: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((code, found["stage"].as_str(), found["slot_count"].as_u64()), (0, Some("done"), Some(1)), "{text}");
    assert!(shardctl(&shardd, &["moves"]).1.contains("done"));
    assert_eq!(shardctl(&shardd, &["cancel", "1"]).0, 1);
    assert_eq!(shardctl(&shardd, &["pause", "9"]).0, 4);

    assert_eq!(shardctl(&shardd, &["set-weight", &names[0], "-1"]).0, 2);
    assert_eq!(shardctl(&shardd, &["set-weight", "nobody", "1"]).0, 4);
    assert_eq!(shardctl(&shardd, &["set-weight", &names[0], "0"]).0, 0);
    let (code, text) = shardctl(&shardd, &["rebalance", "--yes", "--watch"]);
    assert_eq!(code, 0, "{text}");
    let owned = owned(&shardd);
    assert_eq!((owned[&names[0]].len(), owned[&names[1]].len()), (0, 8_192));
    assert!(shardctl(&shardd, &["rebalance", "--dry-run"]).1.contains("Nothing has to move."));
    assert_eq!(shardctl(&shardd, &["throttle", "0", "-o", "json"]).0, 0);
}
