//! Moves as text for people. Pure.

use super::print::{bytes, duration};
use crate::admin::{MoveDescription, MovePlan};

/// Characters of a list of slots that a table has room for.
const SLOTS_SHOWN: usize = 40;

pub(super) const PLAN_HEADER: [&str; 7] = ["KEYSPACE", "FROM", "TO", "SLOTS", "COUNT", "ROWS (ABOUT)", "SIZE (ABOUT)"];

pub(super) fn plan_row(plan: &MovePlan) -> Vec<String> {
    vec![
        plan.keyspace.clone(),
        plan.from.clone(),
        plan.to.clone(),
        cut(&plan.slots),
        plan.slot_count.to_string(),
        plan.rows.to_string(),
        bytes(plan.bytes),
    ]
}

pub(super) const MOVE_HEADER: [&str; 9] =
    ["MOVE", "STAGE", "KEYSPACE", "FROM", "TO", "SLOTS", "ROWS", "TIME", "REASON"];

pub(super) fn move_row(found: &MoveDescription) -> Vec<String> {
    vec![
        found.id.to_string(),
        stage(found),
        found.keyspace.clone(),
        found.from.clone(),
        found.to.clone(),
        found.slot_count.to_string(),
        found.rows_copied.to_string(),
        duration(found.seconds),
        found.reason.clone().unwrap_or_default(),
    ]
}

pub(super) fn move_pairs(found: &MoveDescription) -> Vec<(&'static str, String)> {
    let mut pairs = vec![
        ("Move", found.id.to_string()),
        ("Stage", stage(found)),
        ("Keyspace", found.keyspace.clone()),
        ("From", found.from.clone()),
        ("To", found.to.clone()),
        ("Slots", format!("{} ({})", found.slot_count, cut(&found.slots))),
        ("Copied", format!("{} rows, {}", found.rows_copied, bytes(found.bytes_copied))),
        ("Time", duration(found.seconds)),
        ("Cutovers begun", found.attempts.to_string()),
    ];
    pairs.extend(found.rows_behind.map(|rows| ("Behind", format!("{rows} rows"))));
    pairs.extend(found.held_ms.map(|held| ("Held", format!("{held} ms"))));
    pairs.extend(found.epoch.map(|epoch| ("Epoch", epoch.to_string())));
    pairs.extend(found.reason.clone().map(|reason| ("Reason", reason)));
    pairs
}

/// One line of what is watched.
pub(super) fn move_line(found: &MoveDescription) -> String {
    let mut line =
        format!("move {}: {}, {} rows, {}", found.id, stage(found), found.rows_copied, bytes(found.bytes_copied));
    if let (Some(percent), "copy") = (found.percent, found.stage.as_str()) {
        line.push_str(&format!(", {percent} %, {} rows/s", found.rows_per_second.unwrap_or(0)));
    }
    if let Some(rows) = found.rows_behind {
        line.push_str(&format!(", {rows} rows behind"));
    }
    if let Some(held) = found.held_ms {
        line.push_str(&format!(", held {held} ms"));
    }
    if let Some(reason) = &found.reason {
        line.push_str(&format!(": {reason}"));
    }
    line
}

fn stage(found: &MoveDescription) -> String {
    let stage = found.stage.replace('_', " ");
    match found.asked.as_str() {
        "pause" => format!("{stage} (pauses)"),
        "cancel" if found.stage != "cancelled" => format!("{stage} (is cancelled)"),
        _ => stage,
    }
}

fn cut(slots: &str) -> String {
    match slots.len() > SLOTS_SHOWN {
        false => slots.to_owned(),
        true => format!("{}... (-o json)", slots.chars().take(SLOTS_SHOWN).collect::<String>()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_is_known_and_no_more() {
        let found = MoveDescription {
            id: 3,
            keyspace: "tickets".into(),
            from: "s1".into(),
            to: "s2".into(),
            slots: "0-9".into(),
            slot_count: 10,
            stage: "copy".into(),
            asked: "go_on".into(),
            reason: None,
            rows_copied: 500,
            bytes_copied: 2_048,
            percent: Some(40),
            rows_per_second: Some(100),
            rows_behind: None,
            held_ms: None,
            attempts: 0,
            seconds: 5,
            epoch: None,
        };
        assert_eq!(move_line(&found), "move 3: copy, 500 rows, 2.0 KiB, 40 %, 100 rows/s");
        let paused = MoveDescription { stage: "cut_over".into(), asked: "pause".into(), ..found };
        assert_eq!(move_line(&paused), "move 3: cut over (pauses), 500 rows, 2.0 KiB");
    }
}
