//! What it costs to find the shard of a key: hash, slot, owner.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use shardd::topology::{Keyspace, Shard};
use shardd::types::{Key, KeyType, ShardId};

/// Keys looked up by one iteration, so that a measurement is not one branch predicted for ever.
const KEYS: usize = 1_024;

fn keyspace(key_type: KeyType) -> Keyspace {
    let shards: Vec<Shard> = (1..=4)
        .map(|number| Shard {
            id: ShardId(number),
            name: format!("shard-{number}"),
            url: format!("sqlite:shard-{number}.db"),
            weight: 1.0,
        })
        .collect();
    Keyspace::create("tickets", "event_id", key_type, &shards).expect("a keyspace")
}

fn owner_of_a_key(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("owner_of_a_key");
    group.throughput(Throughput::Elements(KEYS as u64));
    type KeyOf = fn(usize) -> Key;
    let cases: [(&str, KeyType, KeyOf); 3] = [
        ("bigint", KeyType::Bigint, |number| Key::Bigint(number as i64 * 7_919)),
        ("text_of_20_bytes", KeyType::Text, |number| Key::Text(format!("customer:{number:011}").into())),
        ("uuid", KeyType::Uuid, |number| Key::Uuid((number as u128 * 0x9e37_79b9_7f4a_7c15).to_be_bytes())),
    ];
    for (name, key_type, key) in cases {
        let keyspace = keyspace(key_type);
        let keys: Vec<Key> = (0..KEYS).map(key).collect();
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                keys.iter().map(|key| u32::from(black_box(&keyspace).owner_of(black_box(key)).0)).sum::<u32>()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, owner_of_a_key);
criterion_main!(benches);
