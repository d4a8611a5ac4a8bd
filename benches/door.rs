//! What the whole server does over the Postgres door, against what SQLite does in this process, in one run.
//!
//! `cargo bench --bench door`. Rounds alternate between the two, so that both meet the same machine; the medians and
//! their ratios are printed as the table of `docs/performance.md`. The client is lean: messages are encoded
//! beforehand, and answers are only counted, so that it costs little of what is measured.
//! Beside them: the processor microseconds that shardd and its clients take for an operation, of user and of system time.
//! `SHARDD_BENCH_ROUNDS` (7) and `SHARDD_BENCH_MS` (2000, for each measurement) change the effort, `SHARDD_BENCH_ONLY`
//! picks the rows whose name contains it.

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
const WRITE_PIPELINE: usize = 16;
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
    println!(
        "| What | Clients | rusqlite | shardd | shardd / rusqlite | shardd: user, system us | clients: user, system us |"
    );
    println!("|---|---|---|---|---|---|---|");
    let next_id = AtomicU64::new(1);
    let everywhere: Vec<i64> = (1..=EVENTS).collect();
    let together = events_of_one_shard(&shardd);
    let rows = Rows { rounds, server: shardd.pid(), only: std::env::var("SHARDD_BENCH_ONLY").unwrap_or_default() };
    for (where_to, events) in [("one shard", &together), ("four shards", &everywhere)] {
        for depth in [1, WRITE_PIPELINE] {
            let what = format!("durable single-row INSERT on {where_to}, {}", in_words(depth));
            rows.row(&what, WRITERS, &mut || sqlite_writes(&file, time, events, &next_id), &mut || {
                over_the_door(&shardd, WRITERS, time, &Requests::Writes { events, next_id: &next_id, depth })
            });
        }
    }
    for clients in [cores, 8, 32] {
        for depth in [1, PIPELINE] {
            let what = format!("point read, {}", in_words(depth));
            rows.row(&what, clients, &mut || sqlite_reads(&file, clients, time), &mut || {
                over_the_door(&shardd, clients, time, &Requests::Reads { depth })
            });
        }
    }
}

fn in_words(depth: usize) -> String {
    if depth == 1 { "one at a time".to_owned() } else { format!("{depth} in a pipeline") }
}

struct Rows {
    rounds: u64,
    /// The process of shardd.
    server: u32,
    only: String,
}

impl Rows {
    /// Measures both in turn, and prints their medians.
    fn row(&self, what: &str, clients: usize, sqlite: &mut dyn FnMut() -> f64, shardd: &mut dyn FnMut() -> Rate) {
        if !what.contains(&self.only) {
            return;
        }
        let (mut theirs, mut ours) = (Vec::new(), Vec::new());
        let mut times: [Vec<f64>; 4] = Default::default();
        for _ in 0..self.rounds {
            theirs.push(sqlite());
            let before = self.processor_us();
            let rate = shardd();
            for (index, after) in self.processor_us().into_iter().enumerate() {
                times[index].push((after - before[index]) / rate.operations as f64);
            }
            ours.push(rate.per_second);
        }
        let (theirs, ours) = (median(theirs), median(ours));
        let [user, system, client_user, client_system] = times.map(median);
        println!(
            "| {what} | {clients} | {theirs:.0} | {ours:.0} | {:.2} | {user:.1}, {system:.1} | {client_user:.1}, {client_system:.1} |",
            ours / theirs
        );
    }

    /// User and system time of the server, then of this process.
    fn processor_us(&self) -> [f64; 4] {
        let [user, system] = processor_us(&self.server.to_string());
        let [own_user, own_system] = processor_us("self");
        [user, system, own_user, own_system]
    }
}

/// From `/proc/PID/stat`, whose unit is a hundredth of a second.
fn processor_us(process: &str) -> [f64; 2] {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    [11, 12].map(|at| fields[at].parse::<f64>().unwrap() * 10_000.0)
}

/// What clients did together.
struct Rate {
    operations: u64,
    per_second: f64,
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
    let rate = measure(threads, time, |thread, stop| {
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
    });
    rate.per_second
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
    /// Single rows, in the same way.
    Writes { events: &'a [i64], next_id: &'a AtomicU64, depth: usize },
}

/// `clients` connections that run a prepared statement.
fn over_the_door(shardd: &Shardd, clients: usize, time: Duration, requests: &Requests<'_>) -> Rate {
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
        Requests::Writes { events, next_id, depth } => {
            let mut connection = LeanConnection::open(port, WRITE);
            let mut done = 0;
            let mut requests = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                requests.clear();
                for _ in 0..*depth {
                    let id = next_id.fetch_add(1, Ordering::Relaxed).cast_signed();
                    requests.extend_from_slice(&request(event_of(id, events), id));
                }
                connection.ask(&requests, *depth);
                done += *depth as u64;
            }
            done
        }
    })
}

/// Operations per second of so many threads, all together.
fn measure(threads: usize, time: Duration, work: impl Fn(usize, &AtomicBool) -> u64 + Sync) -> Rate {
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
    let operations = done.load(Ordering::Relaxed);
    Rate { operations, per_second: operations as f64 / begin.elapsed().as_secs_f64() }
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
