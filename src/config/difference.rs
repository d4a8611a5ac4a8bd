//! Where the file and the catalog say different things.
//!
//! The file's shards and keyspaces seed an empty catalog; afterwards the catalog rules. Each difference is a warning that
//! says what settles it.

use std::collections::BTreeMap;

use super::Config;
use super::show::key_type_name;
use crate::topology::{KV_KEYSPACE, Topology, redacted_url};

/// What the file says and the catalog does not, and the other way round. Defaults are compared with nothing.
pub fn differences(config: &Config, topology: &Topology) -> Vec<String> {
    let mut found = Vec::new();
    if config.names_shards() {
        shards(config, topology, &mut found);
    }
    if config.names_keyspaces() {
        keyspaces(config, topology, &mut found);
    }
    found
}

/// What a running server reads again.
const READ_AGAIN: [&str; 4] = ["users[", "tokens[", "auth_query.", "limits.auth_query_"];

/// The keys that hold other values than before, of those that only a restart takes.
pub fn needing_a_restart(before: &Config, after: &Config) -> Vec<String> {
    let values = |config: &Config| {
        let shown = config.shown().into_iter();
        let read_again = |key: &str| READ_AGAIN.iter().any(|prefix| key.starts_with(prefix));
        shown.filter(|line| !read_again(&line.key)).map(|line| (line.key, line.value)).collect::<BTreeMap<_, _>>()
    };
    let (before, after) = (values(before), values(after));
    let mut keys: Vec<String> =
        before.keys().chain(after.keys()).filter(|key| before.get(*key) != after.get(*key)).cloned().collect();
    keys.sort();
    keys.dedup();
    keys
}

fn shards(config: &Config, topology: &Topology, found: &mut Vec<String>) {
    for spec in &config.shards {
        let name = &spec.name;
        let Some(shard) = topology.shard_named(name) else {
            found.push(format!(
                "shard {name} is in the configuration and not in the catalog, which rules: add it with \
                 `shardctl add-shard {name} {} --weight {}`, or take it out of the file",
                spec.url, spec.weight
            ));
            continue;
        };
        let absolute = |url: &str| match url.strip_prefix("sqlite:") {
            Some(path) => std::path::absolute(path).map_or_else(|_| path.to_owned(), |path| path.display().to_string()),
            None => url.to_owned(),
        };
        if absolute(&shard.url) != absolute(&spec.url.to_text()) {
            found.push(format!(
                "shard {name} is at {} in the catalog, which rules, and at {} in the configuration: correct the file",
                redacted_url(&shard.url),
                spec.url
            ));
        }
        if shard.weight != spec.weight {
            found.push(format!(
                "shard {name} has the weight {} in the catalog, which rules, and {} in the configuration: correct the file",
                shard.weight, spec.weight
            ));
        }
    }
    for shard in &topology.shards {
        if !config.shards.iter().any(|spec| spec.name == shard.name) {
            found.push(format!(
                "shard {} is in the catalog, which rules, and not in the configuration: add it to the file \
                 (`shardctl describe {}` shows it)",
                shard.name, shard.name
            ));
        }
    }
}

fn keyspaces(config: &Config, topology: &Topology, found: &mut Vec<String>) {
    for spec in &config.keyspaces {
        let name = &spec.name;
        let Some(keyspace) = topology.keyspace(name) else {
            found.push(format!(
                "keyspace \"{name}\" is in the configuration and not in the catalog, which rules: keyspaces are made when the \
                 catalog is seeded; take it out of the file"
            ));
            continue;
        };
        let mut key_columns = keyspace.key_columns.clone();
        key_columns.sort();
        let same = keyspace.key_column == spec.key_column
            && keyspace.key_type == spec.key_type
            && key_columns == spec.key_columns;
        if !same {
            found.push(format!(
                "keyspace \"{name}\" shards by {} ({}) in the catalog, which rules, and its key columns differ in the \
                 configuration: correct the file",
                keyspace.key_column,
                key_type_name(keyspace.key_type)
            ));
        }
    }
    for keyspace in &topology.keyspaces {
        if keyspace.name != KV_KEYSPACE && !config.keyspaces.iter().any(|spec| spec.name == keyspace.name) {
            found.push(format!(
                "keyspace \"{}\" is in the catalog, which rules, and not in the configuration: add it to the file",
                keyspace.name
            ));
        }
    }
}
