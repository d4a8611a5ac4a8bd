//! Answers as text for people. Pure.

use crate::admin::{
    CopiedSummary, InDoubtDescription, KeyspaceSlots, LogEntry, ReplicaDescription, ShardDescription, ShardSummary,
    Status, TableSummary,
};

/// Ranges shown of one keyspace; JSON has them all.
const RANGES_SHOWN: usize = 8;

/// A text with its control characters spelled out: names and messages come from elsewhere, and must not steer the terminal.
pub(super) fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character.is_control() {
            true => shown.extend(character.escape_default()),
            false => shown.push(character),
        }
    }
    shown
}

/// As [`visible`], over several lines.
pub(super) fn visible_lines(text: &str) -> String {
    text.lines().map(visible).collect::<Vec<_>>().join("\n")
}

pub(super) fn status_pairs(status: &Status) -> Vec<(&'static str, String)> {
    let listeners: Vec<String> = status.listeners.iter().map(|(door, address)| format!("{door} {address}")).collect();
    vec![
        ("State", format!("{} ({} of {} shards up)", status.state, status.shards_up, status.shards)),
        ("Version", status.version.clone()),
        ("Database", status.database.clone()),
        ("Epoch", status.epoch.to_string()),
        ("Uptime", duration(status.uptime_seconds)),
        ("Tables", status.tables.to_string()),
        ("Listens", listeners.join(", ")),
    ]
}

pub(super) const KEYSPACE_HEADER: [&str; 5] = ["KEYSPACE", "KEY", "TYPE", "SHARDS", "SLOTS"];

pub(super) fn keyspace_rows(status: &Status) -> Vec<Vec<String>> {
    let rows = status.keyspaces.iter().map(|keyspace| {
        let key = if keyspace.internal { "(HTTP entries)" } else { &keyspace.key_column };
        vec![
            keyspace.keyspace.clone(),
            key.to_owned(),
            keyspace.key_type.clone(),
            keyspace.shards.to_string(),
            keyspace.slots.to_string(),
        ]
    });
    rows.collect()
}

pub(super) const SHARD_HEADER: [&str; 6] = ["SHARD", "STATE", "SLOTS", "WEIGHT", "SIZE", "URL"];

pub(super) fn shard_row(shard: &ShardSummary) -> Vec<String> {
    vec![
        shard.shard.clone(),
        state(&shard.state, shard.error.as_deref()),
        slots(&shard.slots),
        shard.weight.to_string(),
        shard.size_bytes.map(bytes).unwrap_or_default(),
        shard.url.clone(),
    ]
}

/// What a shard was given.
pub(super) fn copied(copied: &CopiedSummary) -> String {
    let counted = |count: u64, one: &str| if count == 1 { format!("1 {one}") } else { format!("{count} {one}s") };
    let rows = format!(
        "the rows of {} ({})",
        counted(copied.reference_tables, "reference table"),
        counted(copied.reference_rows, "row")
    );
    match (copied.tables, copied.reference_tables) {
        (0, 0) => "nothing was copied: it had all tables and reference rows".to_owned(),
        (0, _) => format!("copied to it: {rows}"),
        (tables, 0) => format!("copied to it: {} with all that belongs to them", counted(tables, "table")),
        (tables, _) => format!("copied to it: {} with all that belongs to them, and {rows}", counted(tables, "table")),
    }
}

fn state(state: &str, error: Option<&str>) -> String {
    match error {
        Some(error) => format!("{state}: {error}"),
        None => state.to_owned(),
    }
}

fn slots(slots: &[KeyspaceSlots]) -> String {
    let texts: Vec<String> = slots.iter().map(|part| format!("{}:{}", part.keyspace, part.slots)).collect();
    texts.join(" ")
}

pub(super) fn description_pairs(shard: &ShardDescription) -> Vec<(&'static str, String)> {
    let mut pairs = vec![
        ("Shard", shard.shard.clone()),
        ("Number", shard.number.to_string()),
        ("State", state(&shard.state, shard.error.as_deref())),
        ("URL", shard.url.clone()),
        ("Weight", shard.weight.to_string()),
        ("Size", shard.size_bytes.map(bytes).unwrap_or_default()),
    ];
    for part in &shard.slots {
        let ranges = shard.ranges.get(&part.keyspace).map(Vec::as_slice).unwrap_or_default();
        pairs.push(("Slots", format!("{}: {} in {}", part.keyspace, part.slots, range_list(ranges))));
    }
    for (name, count) in &shard.statistics {
        pairs.push(("Counts", format!("{name} {count}")));
    }
    for replica in &shard.replicas {
        pairs.push(("Replica", replica_line(replica)));
    }
    if let Some(count) = shard.replicas_passed_over {
        pairs.push(("Replicas passed over", count.to_string()));
    }
    pairs
}

fn replica_line(replica: &ReplicaDescription) -> String {
    let count = |name: &str| replica.statistics.get(name).copied().unwrap_or(0);
    let lag = replica.lag_ms.map(|lag| format!(", {lag} ms behind")).unwrap_or_default();
    let state = match &replica.error {
        None => "is read".to_owned(),
        Some(error) => format!("is not read: {error}"),
    };
    let open = count("connections_idle") + count("connections_active");
    format!("{} {state}{lag}; {open} connections, {} checkouts", replica.replica, count("checkouts"))
}

fn range_list(ranges: &[String]) -> String {
    let shown = ranges.iter().take(RANGES_SHOWN).cloned().collect::<Vec<_>>().join(" ");
    match ranges.len() {
        0 => "no ranges".to_owned(),
        1 => format!("1 range: {shown}"),
        count if count > RANGES_SHOWN => {
            format!("{count} ranges: {shown} and {} more (-o json)", count - RANGES_SHOWN)
        }
        count => format!("{count} ranges: {shown}"),
    }
}

pub(super) const TABLE_HEADER: [&str; 6] = ["TABLE", "KIND", "KEYSPACE", "KEY", "COLUMNS", "INDEXES"];

pub(super) fn table_row(table: &TableSummary) -> Vec<String> {
    let key = match (&table.key_column, &table.key_type) {
        (Some(column), Some(key_type)) => format!("{column} ({key_type})"),
        _ => String::new(),
    };
    vec![
        table.table.clone(),
        table.kind.clone(),
        table.keyspace.clone(),
        key,
        table.columns.to_string(),
        table.indexes.to_string(),
    ]
}

pub(super) const IN_DOUBT_HEADER: [&str; 5] = ["SHARD", "AGE", "DECIDED BY", "TRANSACTION", "ERROR"];

pub(super) fn in_doubt_row(transaction: &InDoubtDescription) -> Vec<String> {
    vec![
        transaction.shard.clone(),
        duration(transaction.age_seconds),
        transaction.decided_by.clone().unwrap_or_else(|| "(unknown)".to_owned()),
        transaction.gid.clone(),
        transaction.error.clone().unwrap_or_default(),
    ]
}

pub(super) fn log_line(entry: &LogEntry) -> String {
    let mut line = format!("{} {:5} {}: {}", entry.time, entry.level.to_uppercase(), entry.target, entry.message);
    for (name, value) in &entry.fields {
        line.push_str(&format!(" {name}={value}"));
    }
    visible(&line)
}

pub(super) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut size = count as f64;
    let mut unit = 0;
    while size >= 1024.0 && unit < UNITS.len() - 1 {
        size /= 1024.0;
        unit += 1;
    }
    match unit {
        0 => format!("{count} B"),
        _ => format!("{size:.1} {}", UNITS[unit]),
    }
}

pub(super) fn duration(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, _, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_spelled_out() {
        assert_eq!(visible("a\u{1b}[31mb\u{9b}"), "a\\u{1b}[31mb\\u{9b}");
        assert_eq!(visible_lines("a\nb\r\n"), "a\nb");
        assert_eq!(visible("Zürich 🎟"), "Zürich 🎟");
    }

    #[test]
    fn sizes_and_times_are_short() {
        assert_eq!((bytes(0), bytes(1023), bytes(1536)), ("0 B".into(), "1023 B".into(), "1.5 KiB".into()));
        assert_eq!(bytes(u64::MAX), "16777216.0 TiB");
        assert_eq!((duration(59), duration(61)), ("59 s".into(), "1 min 1 s".into()));
        assert_eq!((duration(3_661), duration(90_000)), ("1 h 1 min".into(), "1 d 1 h".into()));
    }

    #[test]
    fn many_ranges_are_cut() {
        let ranges: Vec<String> = (0..10).map(|range| range.to_string()).collect();
        assert_eq!(range_list(&ranges), "10 ranges: 0 1 2 3 4 5 6 7 and 2 more (-o json)");
        assert_eq!(range_list(&ranges[..2]), "2 ranges: 0 1");
        assert_eq!(range_list(&[]), "no ranges");
    }
}
