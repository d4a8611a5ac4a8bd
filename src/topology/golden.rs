//! Vectors that may never change: with them changed, rows would be looked for where they are not.

use xxhash_rust::xxh3::xxh3_64;

use super::*;

/// `tests/it/hash_golden.rs` shows that a running Postgres agrees.
const SLOT_HASHES: &str = include_str!("../../tests/fixtures/slot_hashes.tsv");

/// Weights of shards 1, 2, ...; slots owned by each; xxh3 of the owners as little-endian u16.
const ASSIGNMENTS: &str = include_str!("../../tests/fixtures/assignments.tsv");

#[test]
fn hashes_and_slots_are_postgres_own() {
    let mut lines = 0;
    for line in SLOT_HASHES.lines().filter(|line| !line.starts_with('#')) {
        let fields: Vec<&str> = line.split('\t').collect();
        let [key_type, key, hash, slot] = fields[..] else { panic!("{line}") };
        let (key, computed) = match key_type {
            "bigint" => (Key::Bigint(key.parse().unwrap()), hash::hash_bigint(key.parse().unwrap())),
            "text" => (Key::Text(key.into()), hash::hash_text(key)),
            _ => {
                let key = u128::from_str_radix(&key.replace('-', ""), 16).unwrap().to_be_bytes();
                (Key::Uuid(key), hash::hash_uuid(&key))
            }
        };
        assert_eq!((computed as i64).to_string(), hash, "{line}");
        assert_eq!(slot_of(&key).to_string(), slot, "{line}");
        lines += 1;
    }
    assert_eq!(lines, 43);
}

#[test]
fn the_same_shards_get_the_same_slots_on_every_machine() {
    let mut computed = String::new();
    for line in ASSIGNMENTS.lines() {
        let weights: Vec<Weight> = (1..)
            .zip(line.split('\t').next().unwrap().split(' '))
            .map(|(shard, weight)| Weight { shard: ShardId(shard), weight: weight.parse().unwrap() })
            .collect();
        let owners = assign(&weights).unwrap();
        let counts: Vec<String> = count(&owners).values().map(u16::to_string).collect();
        let bytes: Vec<u8> = owners.iter().flat_map(|owner| owner.0.to_le_bytes()).collect();
        let given: Vec<String> = weights.iter().map(|weight| weight.weight.to_string()).collect();
        computed.push_str(&format!("{}\t{}\t{:016x}\n", given.join(" "), counts.join(" "), xxh3_64(&bytes)));
    }
    assert_eq!(computed, ASSIGNMENTS);
    assert_eq!(computed.lines().count(), 10);
}
