//! From a client's text to its shards, when the plan is cached: what routing adds to every statement.

use std::hash::{Hash, Hasher};
use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use shardd::plan::{self, Plan};
use shardd::sql::{self, Literal};
use shardd::topology::{Column, Keyspace, Schema, Table, TableKind, Topology};
use shardd::types::{Datum, Epoch, KeyType, PgType, SLOTS, ShardId};
use xxhash_rust::xxh3::Xxh3;

fn schema() -> Schema {
    let column = |name: &str, data_type| Column { not_null: true, ..Column::new(name, data_type) };
    let seats = Table {
        oid: 16_384,
        name: "seats".into(),
        keyspace: "main".into(),
        kind: TableKind::Sharded { key_column: 0, key_type: KeyType::Bigint },
        columns: vec![
            column("event_id", PgType::Int8),
            column("seat_id", PgType::Int4),
            column("status", PgType::Text),
        ],
        primary_key: None,
        unique_keys: Vec::new(),
        checks: Vec::new(),
        foreign_keys: Vec::new(),
        indexes: Vec::new(),
    };
    let mut schema = Schema::default();
    schema.tables.insert("seats".into(), Arc::new(seats));
    schema
}

fn topology() -> Topology {
    let keyspace = Keyspace {
        name: "main".into(),
        key_column: "event_id".into(),
        key_type: KeyType::Bigint,
        key_columns: Vec::new(),
        shards: (1..=4).map(ShardId).collect(),
        owners: (0..SLOTS).map(|slot| ShardId(slot % 4 + 1)).collect(),
        strays: Vec::new(),
        held: shardd::topology::SlotSet::default(),
    };
    Topology { epoch: Epoch(1), shards: Vec::new(), keyspaces: vec![Arc::new(keyspace)], schema: Arc::new(schema()) }
}

/// As the plan cache's key is hashed: the text, and what kind of literal each placeholder stands for.
fn key_hash(lifted: &sql::Lifted<'_>) -> u64 {
    let mut hasher = Xxh3::new();
    lifted.text.hash(&mut hasher);
    lifted.kinds().for_each(|kind| kind.hash(&mut hasher));
    hasher.finish()
}

fn parameters(lifted: &sql::Lifted<'_>) -> Vec<Datum> {
    lifted
        .literals
        .iter()
        .map(|literal| match literal {
            Literal::Int4(value) => Datum::Int8(i64::from(*value)),
            Literal::Int8(value) => Datum::Int8(*value),
            Literal::Numeric(text) | Literal::Text(text) => Datum::Text(text.as_ref().into()),
        })
        .collect()
}

fn plan_of(text: &str, topology: &Topology) -> Plan {
    let lifted = sql::lift(text).expect("valid");
    let parsed = sql::parse(&lifted.text, lifted.client_parameters, lifted.kinds().collect()).expect("valid");
    plan::plan(&parsed, &topology.schema, &topology.keyspaces).expect("valid")
}

fn cached(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("plan");
    let topology = topology();
    let inline = "SELECT seat_id, status FROM seats WHERE event_id = 4711 AND seat_id = 17";
    let bound = "SELECT seat_id, status FROM seats WHERE event_id = $1 AND seat_id = $2";
    let Plan::Read(read) = plan_of(inline, &topology) else { panic!("a read") };
    group.bench_function("cached_point_read_inline", |bencher| {
        bencher.iter(|| {
            let lifted = sql::lift(black_box(inline)).expect("valid");
            let hash = key_hash(&lifted);
            let targets = read.route.shards(&parameters(&lifted), &topology).expect("routed");
            black_box((hash, targets))
        });
    });
    let values = [Datum::Int8(4711), Datum::Int4(17)];
    group.bench_function("cached_point_read_prepared", |bencher| {
        bencher.iter(|| black_box(read.route.shards(black_box(&values), &topology).expect("routed")));
    });
    group.bench_function("lift_inline", |bencher| bencher.iter(|| black_box(sql::lift(black_box(inline)))));
    group.bench_function("lift_bound", |bencher| bencher.iter(|| black_box(sql::lift(black_box(bound)))));
    group.bench_function("uncached", |bencher| bencher.iter(|| black_box(plan_of(black_box(inline), &topology))));
    group.finish();
}

criterion_group!(benches, cached);
criterion_main!(benches);
