//! The codec on the hot path: what a cached prepared statement costs before and after the engine.

use std::hint::black_box;

use bytes::{BufMut, BytesMut};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use shardd::wire::backend::{self, Readiness};
use shardd::wire::frontend::{self, Message};
use shardd::wire::{Limits, next_is_sync, take_frame};

const LIMITS: Limits = Limits::Session { message_bytes: 1 << 20 };

/// Bind (two parameters), Execute and Sync, as drivers send them for each run of a prepared statement.
fn request() -> Vec<u8> {
    let bind = b"\0s1\0\0\x01\0\x01\0\x02\0\0\0\x08\0\0\0\0\0\0\0\x07\0\0\0\x05hello\0\x01\0\x01";
    let mut bytes = Vec::new();
    for (kind, body) in [(b'B', &bind[..]), (b'E', b"\0\0\0\0\0"), (b'S', b"")] {
        bytes.push(kind);
        bytes.extend((body.len() as u32 + 4).to_be_bytes());
        bytes.extend(body);
    }
    bytes
}

fn decode(criterion: &mut Criterion) {
    let request = request();
    let mut group = criterion.benchmark_group("wire");
    group.throughput(Throughput::Bytes(request.len() as u64));
    let mut input = BytesMut::with_capacity(4096);
    group.bench_function("bind_execute_sync", |bencher| {
        bencher.iter(|| {
            input.reserve(4096);
            input.put_slice(&request);
            while let Some(frame) = take_frame(&mut input, LIMITS).expect("valid") {
                let message = frontend::decode(&frame).expect("valid");
                if matches!(message, Message::Execute { .. }) {
                    assert!(next_is_sync(&input));
                }
                black_box(&message);
            }
        });
    });
    group.finish();
}

fn encode(criterion: &mut Criterion) {
    let row = b"D\0\0\0\x12\0\x01\0\0\0\x08\0\0\0\0\0\0\0\x07";
    let mut output = BytesMut::with_capacity(4096);
    criterion.bench_function("wire/answer_of_one_row", |bencher| {
        bencher.iter(|| {
            output.clear();
            backend::bind_complete(&mut output);
            output.put_slice(row);
            backend::command_complete(&mut output, "SELECT", Some(1));
            backend::ready_for_query(&mut output, Readiness::Idle);
            black_box(&output);
        });
    });
}

criterion_group!(benches, decode, encode);
criterion_main!(benches);
