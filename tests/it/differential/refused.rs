//! The list of what shardd refuses: `docs/sql-refused.md`, kept true by the statements that met it.

use std::collections::BTreeMap;

use super::pair::Refused;
use crate::support::{read, root};

pub const DOCUMENT: &str = "docs/sql-refused.md";

const HEAD: &str = "# What shardd refuses

These constructs are answered with SQLSTATE 0A000 where Postgres would answer them. Nothing is sent to a shard to mean
something else. Each line was met by the differential test, which fails when shardd refuses what is not listed here;
`SHARDD_UPDATE_DOCS=1 cargo test --test it differential` adds to it.

| Construct | For example | What to do |
|---|---|---|
";

/// The constructs that were refused and are not listed; with `SHARDD_UPDATE_DOCS` they are added instead.
pub fn check(refused: &[(&'static str, Refused)]) -> Vec<String> {
    let document = if root().join(DOCUMENT).exists() { read(DOCUMENT) } else { String::new() };
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
        std::fs::write(root().join(DOCUMENT), format!("{HEAD}{}\n", lines.join("\n"))).expect("the list is written");
    }
    unlisted
}

/// Text that does not break a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}
