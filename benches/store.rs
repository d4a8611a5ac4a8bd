//! The store against SQLite itself, in this process: durable writes of many callers, and point reads.
//!
//! Each pair of numbers is taken in turns on the same disk, and the ratio of their medians is what counts.
//! `cargo bench --bench store`; `STORE_SECONDS` sets the time of each run (2), `STORE_DIRECTORY` where the files lie.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use shardd::metrics::Metrics;
use shardd::shard::Rows;
use shardd::shard::TransactionMode;
use shardd::shard::sqlite::{Call, Effect, Environment, Limits, Opening, Program, ShardFile, SqliteShard, Whereabouts};
use shardd::shard::sqlite::{guard_triggers, store_slots_statement};
use shardd::shard::{CancelFlag, Formats, OutputColumn, Tag};
use shardd::topology::{Column, Table, TableKind};
use shardd::types::{Datum, KeyType, PgType, ShardId, Slot, TextStyle};

const ROWS: i64 = 100_000;
const CALLERS: usize = 32;
const ROUNDS: usize = 5;
const TABLE: &str = "CREATE TABLE seats (event_id INTEGER NOT NULL, seat_id INTEGER NOT NULL, status TEXT NOT NULL,
    price INTEGER, PRIMARY KEY (event_id, seat_id)) STRICT, WITHOUT ROWID";
const INSERT: &str = "INSERT INTO seats (event_id, seat_id, status, price) VALUES (?1, ?2, 'free', ?3)";
const SELECT: &str = "SELECT event_id, seat_id, status, price FROM seats WHERE event_id = ?1 AND seat_id = ?2";

fn main() {
    let seconds = std::env::var("STORE_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(2.0);
    let time = Duration::from_secs_f64(seconds);
    let directory = std::env::var_os("STORE_DIRECTORY").map_or_else(std::env::temp_dir, PathBuf::from);
    let directory = tempfile::tempdir_in(directory).expect("a directory for the files");
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build().expect("a runtime");
    writes(&runtime, directory.path(), time);
    reads(&runtime, directory.path(), time, threads);
}

fn writes(runtime: &tokio::runtime::Runtime, directory: &Path, time: Duration) {
    let shard = runtime.block_on(open(&directory.join("writes.db")));
    let alone = bare(&directory.join("alone.db"));
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS as i64 {
        bare.push(bare_writes(&alone, time, round));
        ours.push(runtime.block_on(shard_writes(&shard, time, round)));
    }
    let statistics = shard.statistics();
    report("durable writes, 32 callers, against one connection that commits each", &ours, &bare);
    println!(
        "  writes in a group: {:.1} on average, {} at most",
        statistics.writes as f64 / statistics.groups as f64,
        statistics.largest_group
    );
    runtime.block_on(shard.shutdown());
}

fn reads(runtime: &tokio::runtime::Runtime, directory: &Path, time: Duration, threads: usize) {
    let path = directory.join("reads.db");
    let shard = runtime.block_on(open(&path));
    runtime.block_on(fill(&shard));
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        bare.push(bare_reads(&path, time, threads));
        ours.push(runtime.block_on(shard_reads(&shard, time, threads)));
    }
    report(&format!("point reads, {threads} threads, against a connection on each"), &ours, &bare);
    let statistics = shard.statistics();
    println!("  {} reads left their thread", statistics.moved_reads);
    runtime.block_on(shard.shutdown());
}

fn report(what: &str, ours: &[f64], bare: &[f64]) {
    let (ours, bare) = (median(ours), median(bare));
    println!("{what}: {ours:.0}/s against {bare:.0}/s, ratio {:.2}", ours / bare);
}

fn median(rates: &[f64]) -> f64 {
    let mut rates = rates.to_vec();
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

async fn open(path: &Path) -> Arc<SqliteShard> {
    let opening = Opening {
        name: "s1".to_owned(),
        id: ShardId(1),
        cluster: "bench".to_owned(),
        path: path.to_owned(),
        file: ShardFile::MayBeNew,
        limits: Limits::default(),
        metrics: Metrics::new().shard("s1"),
    };
    let shard = SqliteShard::open(opening).expect("a shard");
    let mut transaction = shard.begin(TransactionMode::Schema, &CancelFlag::new()).await.expect("the writer");
    let mut statements = vec![TABLE.to_owned()];
    // As every table is; `STORE_GUARD=off` tells what the guard costs.
    if std::env::var("STORE_GUARD").as_deref() != Ok("off") {
        statements.push(store_slots_statement("main", &Slot::all().collect()));
        statements.extend(guard_triggers(&guarded()).into_values());
    }
    transaction.run_batch(statements).await.expect("a table");
    transaction.commit().await.expect("a commit");
    Arc::new(shard)
}

/// What the guard needs to know of the table.
fn guarded() -> Table {
    Table {
        oid: 16_384,
        name: "seats".to_owned(),
        keyspace: "main".to_owned(),
        kind: TableKind::Sharded { key_column: 0, key_type: KeyType::Bigint },
        columns: vec![Column::new("event_id", PgType::Int8)],
        primary_key: None,
        unique_keys: Vec::new(),
        checks: Vec::new(),
        foreign_keys: Vec::new(),
        indexes: Vec::new(),
    }
}

fn bare(path: &Path) -> Connection {
    let connection = Connection::open(path).expect("a connection");
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(())).expect("WAL");
    connection.pragma_update(None, "synchronous", "FULL").expect("FULL");
    connection.execute_batch(&TABLE.replace("TABLE seats", "TABLE IF NOT EXISTS seats")).expect("a table");
    connection
}

fn bare_writes(connection: &Connection, time: Duration, round: i64) -> f64 {
    let began = Instant::now();
    let mut done = 0;
    while began.elapsed() < time {
        let mut insert = connection.prepare_cached(INSERT).expect("a statement");
        insert.execute((round, done, 100)).expect("a write");
        done += 1;
    }
    done as f64 / began.elapsed().as_secs_f64()
}

async fn shard_writes(shard: &Arc<SqliteShard>, time: Duration, round: i64) -> f64 {
    let program = program(INSERT, &[], Effect::Write);
    let environment = environment();
    let began = Instant::now();
    let mut tasks = Vec::new();
    for caller in 0..CALLERS as i64 {
        let (shard, program, environment) = (Arc::clone(shard), Arc::clone(&program), Arc::clone(&environment));
        tasks.push(tokio::spawn(async move {
            let mut done = 0;
            while began.elapsed() < time {
                let parameters = vec![Datum::Int8(round * 1_000 + caller), Datum::Int8(done), Datum::Int8(100)];
                let written = shard.write(call(&program, &environment, parameters)).await.expect("a write");
                assert_eq!(written.affected, 1);
                done += 1;
            }
            done
        }));
    }
    let mut done = 0;
    for task in tasks {
        done += task.await.expect("a caller");
    }
    done as f64 / began.elapsed().as_secs_f64()
}

async fn fill(shard: &SqliteShard) {
    let many = format!(
        "INSERT INTO seats WITH RECURSIVE n(x) AS (SELECT 0 UNION ALL SELECT x + 1 FROM n WHERE x < {ROWS} - 1) \
         SELECT x % 100, x, 'free', 100 FROM n"
    );
    shard.write(call(&program(&many, &[], Effect::Write), &environment(), vec![])).await.expect("rows");
}

/// A seat that looks like any other, and differs from thread to thread.
fn seat(state: &mut u64) -> i64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) as i64 % ROWS
}

fn bare_reads(path: &Path, time: Duration, threads: usize) -> f64 {
    let stop = AtomicBool::new(false);
    let done = AtomicU64::new(0);
    let began = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (stop, done) = (&stop, &done);
            scope.spawn(move || {
                let connection = Connection::open(path).expect("a connection");
                let (mut state, mut count, mut sum) = (thread as u64, 0, 0);
                while !stop.load(Ordering::Relaxed) {
                    let seat = seat(&mut state);
                    let mut select = connection.prepare_cached(SELECT).expect("a statement");
                    sum += select
                        .query_row((seat % 100, seat), |row| {
                            let status: String = row.get(2)?;
                            Ok(row.get::<_, i64>(0)?
                                + row.get::<_, i64>(1)?
                                + row.get::<_, i64>(3)?
                                + status.len() as i64)
                        })
                        .expect("a row");
                    count += 1;
                }
                assert!(sum > 0);
                done.fetch_add(count, Ordering::Relaxed);
            });
        }
        std::thread::sleep(time);
        stop.store(true, Ordering::Relaxed);
    });
    done.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64()
}

async fn shard_reads(shard: &Arc<SqliteShard>, time: Duration, threads: usize) -> f64 {
    let program = program(SELECT, &[PgType::Int8, PgType::Int8, PgType::Text, PgType::Int8], Effect::Read);
    let environment = environment();
    let began = Instant::now();
    let mut tasks = Vec::new();
    for thread in 0..threads {
        let (shard, program, environment) = (Arc::clone(shard), Arc::clone(&program), Arc::clone(&environment));
        tasks.push(tokio::spawn(async move {
            let (mut state, mut count) = (thread as u64, 0u64);
            while began.elapsed() < time {
                for _ in 0..16 {
                    let seat = seat(&mut state);
                    let parameters = vec![Datum::Int8(seat % 100), Datum::Int8(seat)];
                    let rows = shard.read(call(&program, &environment, parameters)).await.expect("a read");
                    assert!(matches!(rows, Rows::Ready(batch) if batch.rows == 1));
                    count += 1;
                }
                tokio::task::yield_now().await;
            }
            count
        }));
    }
    let mut done = 0;
    for task in tasks {
        done += task.await.expect("a reader");
    }
    done as f64 / began.elapsed().as_secs_f64()
}

fn program(sql: &str, columns: &[PgType], effect: Effect) -> Arc<Program> {
    let column = |data_type: &PgType| OutputColumn {
        name: "c".to_owned(),
        data_type: *data_type,
        modifier: -1,
        table_oid: 0,
        attribute: 0,
        foreign: None,
    };
    Arc::new(Program {
        sql: sql.to_owned(),
        parameters: vec![PgType::Int8; sql.matches('?').count()],
        environment: Vec::new(),
        columns: columns.iter().map(column).collect(),
        effect,
        tag: if effect == Effect::Read { Tag::Select } else { Tag::Insert },
        point_read: effect == Effect::Read,
        reads_catalog: false,
    })
}

fn environment() -> Arc<Environment> {
    Arc::new(Environment {
        transaction_timestamp: 0,
        statement_timestamp: 0,
        time_zone: "UTC".into(),
        user: "app".into(),
        database: "tickets".into(),
        backend_pid: 0,
        whereabouts: Whereabouts::own(),
    })
}

fn call(program: &Arc<Program>, environment: &Arc<Environment>, parameters: Vec<Datum>) -> Call {
    Call {
        program: Arc::clone(program),
        parameters: parameters.into(),
        formats: Formats::AllBinary,
        environment: Arc::clone(environment),
        style: TextStyle::default(),
        cancel: CancelFlag::new(),
        schema: None,
    }
}
