//! What the whole server does over the Postgres door, against what SQLite does in this process, in one run.
//!
//! `cargo bench --bench door`. Rounds alternate between the two, so that both meet the same machine; the medians and
//! their ratios are printed as the table of `docs/performance.md`. The client is lean: messages are encoded
//! beforehand, and answers are only counted, so that it costs little of what is measured.
//! `SHARDD_BENCH_ROUNDS` (7) and `SHARDD_BENCH_MS` (2000, for each measurement) change the effort.

#![allow(unreachable_pub, reason = "nobody is outside of a benchmark")]
#![allow(clippy::unwrap_used, reason = "a benchmark that meets an error has no result")]

#[path = "../tests/it/support/mod.rs"]
mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use support::Shardd;
use support::frames::Writer;
use support::shardd::Request;

const EVENTS: i64 = 100;
const SEATS_PER_EVENT: i64 = 100;
const WRITERS: usize = 32;
const PIPELINE: usize = 64;
/// Of each client's prepared requests; it goes round and round through them.
const REQUESTS: usize = 2048;

const TABLES: &str = "
    CREATE TABLE seats (event_id bigint NOT NULL, seat_id bigint NOT NULL, status text NOT NULL, price bigint, version int NOT NULL, PRIMARY KEY (event_id, seat_id));
    CREATE TABLE log (event_id bigint NOT NULL, entry_id bigint NOT NULL, note text NOT NULL, PRIMARY KEY (event_id, entry_id));
";
const READ: &str = "SELECT seat_id, status, price, version FROM seats WHERE event_id = $1 AND seat_id = $2";
const WRITE: &str = "INSERT INTO log (event_id, entry_id, note) VALUES ($1, $2, 'a seat was held')";
/// Types of both statements' parameters.
const BIGINTS: &[u32] = &[20, 20];

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

fn main() {
    // `cargo test --benches` passes --test: build it, but measure nothing.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let rounds = number("SHARDD_BENCH_ROUNDS", 7);
    let time = Duration::from_millis(number("SHARDD_BENCH_MS", 2000));
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("baseline.db");
    let shardd = Shardd::start();
    fill_sqlite(&file);
    fill_shardd(&shardd);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);

    println!("{cores} cores, {rounds} rounds of {} ms, medians of operations per second\n", time.as_millis());
    println!("| What | Clients | rusqlite | shardd | shardd / rusqlite |\n|---|---|---|---|---|");
    let next_id = AtomicU64::new(1);
    let everywhere: Vec<i64> = (1..=EVENTS).collect();
    let together = events_of_one_shard(&shardd);
    for (where_to, events) in [("one shard", &together), ("four shards", &everywhere)] {
        let what = format!("durable single-row INSERT on {where_to}, against one connection");
        row(&what, WRITERS, rounds, &mut || sqlite_writes(&file, time, events, &next_id), &mut || {
            over_the_door(&shardd, WRITERS, time, &Requests::Writes { events, next_id: &next_id })
        });
    }
    for clients in [cores, 8, 32] {
        row("point read", clients, rounds, &mut || sqlite_reads(&file, clients, time), &mut || {
            over_the_door(&shardd, clients, time, &Requests::Reads { depth: 1 })
        });
        let what = format!("point read, {PIPELINE} in a pipeline");
        row(&what, clients, rounds, &mut || sqlite_reads(&file, clients, time), &mut || {
            over_the_door(&shardd, clients, time, &Requests::Reads { depth: PIPELINE })
        });
    }
}

/// Measures both in turn, and prints their medians.
fn row(what: &str, clients: usize, rounds: u64, sqlite: &mut dyn FnMut() -> f64, shardd: &mut dyn FnMut() -> f64) {
    let (mut theirs, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        theirs.push(sqlite());
        ours.push(shardd());
    }
    let (theirs, ours) = (median(theirs), median(ours));
    println!("| {what} | {clients} | {theirs:.0} | {ours:.0} | {:.2} |", ours / theirs);
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn open(file: &Path) -> Connection {
    let connection = Connection::open(file).unwrap();
    // As shardd's own shards: an acknowledged write is on the disk.
    connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;").unwrap();
    connection
}

fn fill_sqlite(file: &Path) {
    let connection = open(file);
    connection.execute_batch(&TABLES.replace(");\n", ") WITHOUT ROWID;\n")).unwrap();
    connection.execute_batch("BEGIN").unwrap();
    for event in 1..=EVENTS {
        for seat in 1..=SEATS_PER_EVENT {
            connection.execute("INSERT INTO seats VALUES (?1, ?2, 'free', 1050, 0)", (event, seat)).unwrap();
        }
    }
    connection.execute_batch("COMMIT").unwrap();
}

fn fill_shardd(shardd: &Shardd) {
    let mut client = shardd.client();
    client.run(TABLES);
    for event in 1..=EVENTS {
        let rows: Vec<String> =
            (1..=SEATS_PER_EVENT).map(|seat| format!("({event}, {seat}, 'free', 1050, 0)")).collect();
        client.run(&format!("INSERT INTO seats VALUES {}", rows.join(", ")));
    }
}

fn sqlite_writes(file: &Path, time: Duration, events: &[i64], next_id: &AtomicU64) -> f64 {
    let connection = open(file);
    let mut statement = connection.prepare(&WRITE.replace('$', "?")).unwrap();
    let begin = Instant::now();
    let mut done = 0_u32;
    while begin.elapsed() < time {
        let id = next_id.fetch_add(1, Ordering::Relaxed).cast_signed();
        statement.execute((event_of(id, events), id)).unwrap();
        done += 1;
    }
    f64::from(done) / begin.elapsed().as_secs_f64()
}

fn sqlite_reads(file: &Path, threads: usize, time: Duration) -> f64 {
    measure(threads, time, |thread, stop| {
        let connection = open(file);
        let mut statement = connection.prepare(&READ.replace('$', "?")).unwrap();
        let mut done = 0;
        let mut key = Keys::new(thread);
        while !stop.load(Ordering::Relaxed) {
            let (event, seat) = key.next();
            statement
                .query_row((event, seat), |row| {
                    // What a client would do with the row: take its values.
                    let status: String = row.get(1)?;
                    Ok((row.get::<_, i64>(0)?, status, row.get::<_, Option<i64>>(2)?, row.get::<_, i64>(3)?))
                })
                .map(std::hint::black_box)
                .unwrap();
            done += 1;
        }
        done
    })
}

/// Rows come to the events in turn.
fn event_of(id: i64, events: &[i64]) -> i64 {
    events[id.unsigned_abs() as usize % events.len()]
}

/// The events whose rows are where those of the first are.
fn events_of_one_shard(shardd: &Shardd) -> Vec<i64> {
    let shard_of = |event: i64| {
        let route = shardd.admin(&Request::get(&format!("/v1/route?table=log&key={event}"))).json();
        route["shard"].as_str().unwrap().to_owned()
    };
    let first = shard_of(1);
    (1..=EVENTS).filter(|event| shard_of(*event) == first).collect()
}

/// What clients ask for.
enum Requests<'a> {
    /// Points, `depth` of them before the client waits for the answers.
    Reads { depth: usize },
    /// One row at a time.
    Writes { events: &'a [i64], next_id: &'a AtomicU64 },
}

/// `clients` connections that run a prepared statement.
fn over_the_door(shardd: &Shardd, clients: usize, time: Duration, requests: &Requests<'_>) -> f64 {
    let port = shardd.ports.postgres;
    measure(clients, time, |client, stop| match requests {
        Requests::Reads { depth } => {
            let mut connection = LeanConnection::open(port, READ);
            let requests = read_requests(client);
            let (mut done, mut at) = (0, 0);
            while !stop.load(Ordering::Relaxed) {
                connection.ask(&requests[at..at + depth].concat(), *depth);
                at = (at + depth) % (REQUESTS - depth);
                done += *depth as u64;
            }
            done
        }
        Requests::Writes { events, next_id } => {
            let mut connection = LeanConnection::open(port, WRITE);
            let mut done = 0;
            while !stop.load(Ordering::Relaxed) {
                let id = next_id.fetch_add(1, Ordering::Relaxed).cast_signed();
                connection.ask(&request(event_of(id, events), id), 1);
                done += 1;
            }
            done
        }
    })
}

/// Operations per second of so many threads, all together.
fn measure(threads: usize, time: Duration, work: impl Fn(usize, &AtomicBool) -> u64 + Sync) -> f64 {
    let (stop, done) = (AtomicBool::new(false), AtomicU64::new(0));
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (stop, done, work) = (&stop, &done, &work);
            scope.spawn(move || done.fetch_add(work(thread, stop), Ordering::Relaxed));
        }
        std::thread::sleep(time);
        stop.store(true, Ordering::Relaxed);
    });
    done.load(Ordering::Relaxed) as f64 / begin.elapsed().as_secs_f64()
}

/// Keys in an order that no cache foresees.
struct Keys(u64);

impl Keys {
    fn new(thread: usize) -> Keys {
        Keys(0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(thread as u64 + 1))
    }

    fn next(&mut self) -> (i64, i64) {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let random = (self.0 >> 33).cast_signed();
        (1 + random % EVENTS, 1 + random / EVENTS % SEATS_PER_EVENT)
    }
}

fn read_requests(client: usize) -> Vec<Vec<u8>> {
    let mut keys = Keys::new(client);
    (0..REQUESTS).map(|_| keys.next()).map(|(event, seat)| request(event, seat)).collect()
}

/// Bind, Execute and Sync of the connection's statement, with binary values and rows.
fn request(one: i64, two: i64) -> Vec<u8> {
    let mut writer = Writer::default();
    let values = [Some(one.to_be_bytes().to_vec()), Some(two.to_be_bytes().to_vec())];
    writer.bind("", "s", &values, &[1], &[1]).execute("", 0).sync();
    writer.bytes
}

struct LeanConnection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl LeanConnection {
    fn open(port: u16, sql: &str) -> LeanConnection {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut connection = LeanConnection { stream, buffer: vec![0; 256 * 1024] };
        let mut writer = Writer::default();
        writer.startup(&[("user", "app"), ("database", "tickets")]);
        connection.ask(&writer.bytes, 1);
        let mut writer = Writer::default();
        writer.parse("s", sql, BIGINTS).sync();
        connection.ask(&writer.bytes, 1);
        connection
    }

    /// Sends messages and reads until so many ReadyForQuery have come. An error ends the benchmark.
    fn ask(&mut self, bytes: &[u8], ready: usize) {
        self.stream.write_all(bytes).unwrap();
        let (mut filled, mut seen) = (0, 0);
        while seen < ready {
            let count = self.stream.read(&mut self.buffer[filled..]).unwrap();
            assert!(count > 0, "the server closed the connection");
            filled += count;
            let mut at = 0;
            while filled - at >= 5 {
                let head = &self.buffer[at..at + 5];
                let length = 1 + u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
                if filled - at < length {
                    break;
                }
                assert_ne!(head[0], b'E', "{}", String::from_utf8_lossy(&self.buffer[at..at + length]));
                seen += usize::from(head[0] == b'Z');
                at += length;
            }
            self.buffer.copy_within(at..filled, 0);
            filled -= at;
        }
    }
}
