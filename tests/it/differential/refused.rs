//! The lists of what shardd refuses, `docs/sql-refused.md` and `docs/sql-refused-postgres.md`, kept true by the statements that met it.

use std::collections::BTreeMap;

use super::pair::Refused;
use crate::support::{read, root};

/// One list.
#[derive(Clone, Copy, Debug)]
pub struct List {
    pub document: &'static str,
    head: &'static str,
}

pub const SQLITE: List = List {
    document: "docs/sql-refused.md",
    head: "# What shardd refuses

These constructs are answered with SQLSTATE 0A000 where Postgres would answer them. Nothing is sent to a shard to mean
something else. Each line was met by the differential test, which fails when shardd refuses what is not listed here;
`SHARDD_UPDATE_DOCS=1 cargo test --test it differential` adds to it. This is the list of SQLite shards; that of Postgres
shards is [shorter](sql-refused-postgres.md).

| Construct | For example | What to do |
|---|---|---|
",
};

pub const POSTGRES: List = List {
    document: "docs/sql-refused-postgres.md",
    head: "# What shardd refuses over Postgres shards

A statement whose rows are all of one shard runs there as its client wrote it, and whatever that Postgres answers is the
answer. These constructs need several shards, and are answered with SQLSTATE 0A000. Each line was met by the differential
test, which fails when shardd refuses what is not listed here; `SHARDD_UPDATE_DOCS=1 cargo test --test it differential` adds
to it.

Across shards, text is merged where the databases order it by its bytes (`LC_COLLATE` C, or `COLLATE \"C\"` in the statement).
Text of another collation, and values of types that only the shards know (enums, citext, those of extensions), are brought to one
of the servers to be ordered and told apart there, within `limits.gather_max_bytes`.

What belongs to a session (LISTEN, temporary tables, cursors WITH HOLD, LOAD, `SET shardd.key` for the session) is refused on port 6432 and works on
[port 6433](protocol.md#sessions-that-keep-their-connections), on a shard that is named.

| Construct | For example | What to do |
|---|---|---|
",
};

/// The constructs that were refused and are not listed; with `SHARDD_UPDATE_DOCS` they are added instead.
pub fn check(list: List, refused: &[(&'static str, Refused)]) -> Vec<String> {
    let document = if root().join(list.document).exists() { read(list.document) } else { String::new() };
    let mut rows: BTreeMap<String, String> = BTreeMap::new();
    for line in document.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| Construct")) {
        rows.insert(line.trim_start_matches("| ").split(" | ").next().unwrap_or_default().to_owned(), line.to_owned());
    }
    let mut unlisted = Vec::new();
    for (_, refused) in refused {
        let construct = cell(&refused.refusal.construct);
        if rows.contains_key(&construct) || unlisted.contains(&construct) {
            continue;
        }
        if std::env::var_os("SHARDD_UPDATE_DOCS").is_some() {
            let (statement, hint) = (cell(&refused.statement), cell(&refused.refusal.hint));
            rows.insert(construct.clone(), format!("| {construct} | `{statement}` | {hint} |"));
        } else {
            unlisted.push(construct);
        }
    }
    if std::env::var_os("SHARDD_UPDATE_DOCS").is_some() {
        let lines: Vec<String> = rows.into_values().collect();
        std::fs::write(root().join(list.document), format!("{}{}\n", list.head, lines.join("\n")))
            .expect("the list is written");
    }
    unlisted
}

/// Text that does not break a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}
