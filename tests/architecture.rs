//! The shape of the code: layers that point one way, files that say what they are, licences that are allowed.
//!
//! Inside one crate the compiler stops neither a cycle nor a core that does IO; these tests do.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What each part of the crate may name of the others. `server` assembles everything, so it may name all.
const ALLOWED: &[(&str, &[&str])] = &[
    // Vocabulary.
    ("error", &[]),
    ("types", &["error"]),
    // Pure: no IO, no clock, no randomness.
    ("wire", &["error", "types"]),
    ("copying", &["error"]),
    ("sql", &["copying", "error", "types"]),
    ("topology", &["error", "types"]),
    ("system_catalog", &["error", "sql", "topology", "types"]),
    ("plan", &["copying", "error", "sql", "system_catalog", "topology", "types"]),
    // What is where, and what happens there.
    ("crash_point", &[]),
    ("metrics", &["error", "types"]),
    ("live_topology", &["error", "topology", "types"]),
    ("catalog", &["error", "topology", "types"]),
    ("tls", &["wire"]),
    ("config", &["error", "tls", "topology", "types", "wire"]),
    ("shard", &["error", "metrics", "sql", "system_catalog", "topology", "types", "wire"]),
    // Moves. Never `engine`: the two meet at the topology only.
    (
        "rebalance",
        &["catalog", "crash_point", "error", "live_topology", "metrics", "shard", "sql", "topology", "types"],
    ),
    // Statements. Never `rebalance`: the two meet at the topology only.
    (
        "engine",
        &[
            "catalog",
            "copying",
            "crash_point",
            "error",
            "live_topology",
            "metrics",
            "plan",
            "shard",
            "sql",
            "system_catalog",
            "topology",
            "types",
            "wire",
        ],
    ),
    // Doors: they know no shard.
    ("web", &["error", "metrics", "types"]),
    ("front", &["engine", "error", "metrics", "tls", "types", "web", "wire"]),
    ("admin", &["catalog", "config", "engine", "error", "live_topology", "metrics", "topology", "types", "web"]),
    // The operator's tool knows the admin door's answers, and nothing else.
    ("shardctl", &["admin", "config", "error"]),
    ("bin", &["config", "error", "server", "shardctl"]),
];

/// Parts without IO, clocks and randomness, and the words that would bring them in.
const PURE: &[&str] = &["error", "types", "wire", "copying", "sql", "topology", "system_catalog", "plan"];
const IMPURE: &[&str] = &[
    "tokio::",
    "std::fs",
    "std::net",
    "std::io",
    "std::thread",
    "std::process",
    "std::env",
    "Instant::now",
    "SystemTime",
    "rand::",
];

/// Longer files are split by subject; there are no excuses.
const LONGEST_FILE: usize = 600;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// All Rust files under a directory, by their path from the root.
fn rust_files(directory: &str) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    let mut directories: Vec<PathBuf> = vec![root().join(directory)].into_iter().filter(|path| path.exists()).collect();
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(&directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root()).unwrap_or(Path::new("")).display().to_string();
                files.insert(name, std::fs::read_to_string(&path).expect("a file"));
            }
        }
    }
    files
}

/// The part of the crate that a file of `src` belongs to.
fn part_of(file: &str) -> &str {
    let path = file.trim_start_matches("src/");
    path.split(['/', '.']).next().unwrap_or(path)
}

/// A file's code: without comments, and without the tests at its end.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines().take_while(|line| line.trim() != "#[cfg(test)]").filter(|line| !line.trim_start().starts_with("//"))
}

/// The parts that a line names by `crate::part` or `shardd::part`, also in `use crate::{a, b::c}`.
fn named_parts(line: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    for prefix in ["crate::", "shardd::"] {
        for (at, _) in line.match_indices(prefix) {
            let rest = &line[at + prefix.len()..];
            let word = |text: &'_ str| text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
            match rest.strip_prefix('{') {
                None => parts.push(&rest[..word(rest)]),
                Some(list) => parts.extend(top_level(list).map(|item| &item[..word(item)])),
            }
        }
    }
    parts
}

/// The items of `a, b::{c, d}, e}`.
fn top_level(list: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0;
    list.split(move |c| {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        depth < 0 || (c == ',' && depth == 0)
    })
    .map(str::trim)
    .filter(|item| !item.is_empty() && *item != ";")
}

#[test]
fn the_parser_of_imports_sees_lists() {
    let parts = named_parts("use crate::{error::{Error, Result}, types, topology::Topology};");
    assert_eq!(parts, ["error", "types", "topology"]);
    assert_eq!(named_parts("    crate::engine::Session::new(shardd::server::run())"), ["engine", "server"]);
}

#[test]
fn layers_point_one_way() {
    let allowed: BTreeMap<&str, &[&str]> = ALLOWED.iter().copied().collect();
    let mut wrong = Vec::new();
    for (file, text) in rust_files("src") {
        let part = part_of(&file);
        if part == "lib" || part == "server" {
            continue;
        }
        let Some(may) = allowed.get(part) else {
            wrong.push(format!("{file}: `{part}` is in no layer; give it a line in ALLOWED"));
            continue;
        };
        // An import may go over several lines.
        let code: String = code(&text).collect::<Vec<_>>().join("\n");
        for named in named_parts(&code) {
            if named != part && !may.contains(&named) && (allowed.contains_key(named) || named == "server") {
                wrong.push(format!("{file}: `{part}` may not name `{named}`"));
            }
        }
    }
    wrong.dedup();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Every part stands below those that name it: no cycle.
#[test]
fn the_table_of_layers_has_no_cycle() {
    let mut below: Vec<&str> = Vec::new();
    for (part, may) in ALLOWED {
        for named in *may {
            assert!(below.contains(named) || *named == "server", "`{part}` names `{named}`, which stands above it");
        }
        below.push(part);
    }
}

#[test]
fn the_core_is_pure() {
    let mut wrong = Vec::new();
    for (file, text) in rust_files("src") {
        // Tests may start threads.
        if PURE.contains(&part_of(&file)) && !file.contains("/tests/") {
            for line in code(&text) {
                wrong.extend(IMPURE.iter().filter(|word| line.contains(**word)).map(|word| format!("{file}: {word}")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_say_what_they_are_and_stay_readable() {
    let mut wrong = Vec::new();
    assert!(rust_files("src").len() > 20, "where is the code?");
    for (file, text) in rust_files("src").into_iter().chain(rust_files("tests")).chain(rust_files("benches")) {
        if !text.starts_with("//!") {
            wrong.push(format!("{file} does not open with what it is"));
        }
        // Unit tests at a file's end do not count.
        let lines = text.lines().take_while(|line| line.trim() != "#[cfg(test)]").count();
        if lines > LONGEST_FILE {
            wrong.push(format!("{file} has {lines} lines: split it by subject"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Licences and sources of all dependencies, by the same `deny.toml` that cargo-deny reads.
#[test]
fn dependencies_have_allowed_licences_and_one_source() {
    let rules = std::fs::read_to_string(root().join("deny.toml")).expect("deny.toml");
    let rules: toml::Table = rules.parse().expect("TOML");
    let allowed = strings(&rules["licenses"]["allow"]);
    let banned: Vec<String> = rules["bans"]["deny"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|rule| rule["crate"].as_str().map(str::to_owned))
        .collect();

    let mut command = std::process::Command::new(env!("CARGO"));
    command.args(["metadata", "--format-version=1", "--locked"]).current_dir(root());
    let output = command.output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let mut wrong = Vec::new();
    for package in metadata["packages"].as_array().expect("packages") {
        let name = package["name"].as_str().unwrap_or_default();
        let licence = package["license"].as_str().unwrap_or_default();
        if !satisfied(licence, &allowed) {
            wrong.push(format!("{name}: licence {licence:?}"));
        }
        if banned.iter().any(|banned| banned == name) {
            wrong.push(format!("{name} is banned"));
        }
        if !package["source"].as_str().is_none_or(|source| source.starts_with("registry+")) {
            wrong.push(format!("{name} comes from {}", package["source"]));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn strings(value: &toml::Value) -> Vec<String> {
    value.as_array().expect("a list").iter().filter_map(|item| item.as_str().map(str::to_owned)).collect()
}

/// Whether an SPDX expression can be met by the allowed licences. AND binds more tightly than OR.
fn satisfied(expression: &str, allowed: &[String]) -> bool {
    let expression = expression.replace('/', " OR ").replace(['(', ')'], " ");
    let every = |terms: &str| terms.split(" AND ").all(|licence| allowed.iter().any(|ok| ok == licence.trim()));
    // `(A OR B) AND C` becomes `A OR B AND C` here: stricter for A, never laxer than C alone for B.
    expression.split(" OR ").any(every)
}

#[test]
fn licence_expressions_are_read() {
    let allowed = ["MIT".to_owned(), "Apache-2.0".to_owned(), "ISC".to_owned()];
    assert!(satisfied("GPL-3.0 OR MIT", &allowed));
    assert!(satisfied("Unlicense/MIT", &allowed));
    assert!(satisfied("Apache-2.0 AND ISC", &allowed));
    assert!(!satisfied("Apache-2.0 AND GPL-3.0", &allowed));
    assert!(!satisfied("", &allowed));
}
