//! No client ever gets another's answer, whatever happens to the connections that they share.
//!
//! Every query carries a tag that no other has and that its answer must carry, while statements are canceled, time out, are
//! sent many at once, and lose their connections, and clients leave without a word. `SHARDD_TEST_DESYNC_QUERIES` sets how many.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::Cluster;
use super::dropped::cancel;
use crate::support::frames::Writer;
use crate::support::{Answer, Client};

const CLIENTS: usize = 64;
const QUERIES: usize = 20_000;
/// What trouble may be told as.
const ALLOWED: [&str; 7] = ["57014", "08006", "08007", "40003", "25P02", "53300", "57P01"];

/// A generator of numbers that needs no state from elsewhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

#[derive(Default)]
struct Counts {
    asked: AtomicUsize,
    answered: AtomicUsize,
    failed: AtomicUsize,
    reconnected: AtomicUsize,
}

struct Tester<'a> {
    cluster: &'a Cluster,
    counts: &'a Counts,
    client: Client,
    keys: &'a std::sync::Mutex<Vec<Vec<u8>>>,
    number: usize,
    dice: Dice,
    asked: usize,
    prepared: bool,
}

const PREPARED: &str = "SELECT event_id, $2::text FROM seats WHERE event_id = $1";

impl Tester<'_> {
    fn tag(&mut self) -> String {
        self.asked += 1;
        self.counts.asked.fetch_add(1, Ordering::Relaxed);
        format!("c{}q{}", self.number, self.asked)
    }

    fn key(&mut self) -> u64 {
        1 + self.dice.roll(40)
    }

    fn reconnect(&mut self) {
        self.client = self.cluster.client();
        self.prepared = false;
        self.counts.reconnected.fetch_add(1, Ordering::Relaxed);
        self.keys.lock().expect("keys")[self.number] = self.client.cancel_key.clone();
    }

    /// One answer: rows with the query's own tag and key, or trouble.
    fn check(&self, answer: &Answer, tag: &str, key: Option<u64>) {
        if let Some(error) = &answer.error {
            assert!(ALLOWED.contains(&error.sqlstate()), "{tag}: {error:?}");
            self.counts.failed.fetch_add(1, Ordering::Relaxed);
        } else {
            assert!(!answer.rows.is_empty(), "{tag}: {answer:?}");
            self.counts.answered.fetch_add(1, Ordering::Relaxed);
        }
        for row in &answer.rows {
            let [got_key, got_tag] = &row[..2] else { panic!("{tag}: {answer:?}") };
            assert_eq!(got_tag.as_deref(), Some(tag.as_bytes()), "a foreign answer");
            if let Some(key) = key {
                assert_eq!(got_key.as_deref(), Some(key.to_string().as_bytes()), "a foreign answer");
            }
        }
    }

    fn simple(&mut self, scatter: bool) {
        let (tag, key) = (self.tag(), self.key());
        let (condition, limit) = match (scatter, self.dice.roll(2)) {
            (false, _) => (format!("event_id = {key}"), ""),
            (true, 0) => ("event_id > 0".to_owned(), " ORDER BY event_id LIMIT 3"),
            (true, _) => ("event_id > 0".to_owned(), " LIMIT 2"),
        };
        let sql = format!("SELECT event_id, '{tag}', repeat('x', 3000) FROM seats WHERE {condition}{limit}");
        match &self.client.simple(&sql)[..] {
            [answer] => self.check(answer, &tag, (!scatter).then_some(key)),
            answers => panic!("{tag}: {answers:?}"),
        }
    }

    /// Several statements, each with its own Sync, sent at once; some leave before they read the answers.
    fn pipeline(&mut self) {
        let mut writer = Writer::default();
        if !self.prepared {
            writer.parse("s", PREPARED, &[]).sync();
        }
        let count = 1 + self.dice.roll(8);
        let asked: Vec<(String, u64)> = (0..count).map(|_| (self.tag(), self.key())).collect();
        for (tag, key) in &asked {
            let values = [Some(key.to_string().into_bytes()), Some(tag.clone().into_bytes())];
            let name = if self.dice.roll(3) == 0 { "" } else { "s" };
            if name.is_empty() {
                writer.parse("", PREPARED, &[]);
            }
            let limit = i32::from(self.dice.roll(4) == 0);
            writer.bind("", name, &values, &[], &[]).execute("", limit).sync();
        }
        self.client.send(&writer).expect("sent");
        if self.dice.roll(60) == 0 {
            return self.reconnect();
        }
        if !self.prepared {
            let prepared = self.client.answers().expect("prepared");
            self.prepared = prepared.iter().all(|answer| answer.error.is_none());
        }
        for (tag, key) in &asked {
            match &self.client.answers().expect("answered")[..] {
                [answer] if self.prepared => self.check(answer, tag, Some(*key)),
                // Its statement could not be prepared.
                [answer] => {
                    let known = answer.error.as_ref().is_none_or(|error| error.sqlstate() == "26000");
                    if !known || answer.error.is_none() {
                        self.check(answer, tag, Some(*key));
                    }
                }
                answers => panic!("{tag}: {answers:?}"),
            }
        }
    }

    fn transaction(&mut self) {
        let key = self.key();
        self.client.simple("BEGIN");
        for _ in 0..1 + self.dice.roll(3) {
            let tag = self.tag();
            let sql = match self.dice.roll(2) {
                0 => format!("SELECT event_id, '{tag}' FROM seats WHERE event_id = {key}"),
                _ => format!("UPDATE seats SET status = '{tag}' WHERE event_id = {key} RETURNING event_id, status"),
            };
            let answers = self.client.simple(&sql);
            self.check(&answers[0], &tag, Some(key));
        }
        let end = if self.dice.roll(2) == 0 { "COMMIT" } else { "ROLLBACK" };
        let answers = self.client.simple(end);
        if let Some(error) = &answers[0].error {
            assert!(ALLOWED.contains(&error.sqlstate()), "{error:?}");
        }
        assert_eq!(self.client.status, 'I');
    }

    /// A statement that takes longer than its time.
    fn timeout(&mut self) {
        let (tag, key) = (self.tag(), self.key());
        self.client.simple("SET statement_timeout = '10ms'");
        let bytes = self.dice.roll(4_000_000);
        let sql = format!("SELECT event_id, '{tag}', md5(repeat('x', {bytes})) FROM seats WHERE event_id = {key}");
        let answers = self.client.simple(&sql);
        self.check(&answers[0], &tag, Some(key));
        self.client.simple("SET statement_timeout = 0");
    }

    fn run(&mut self, queries: usize) {
        while self.asked < queries {
            match self.dice.roll(40) {
                0 => self.timeout(),
                1..3 => self.transaction(),
                3..6 => self.simple(true),
                6..16 => self.simple(false),
                _ => self.pipeline(),
            }
        }
    }
}

#[test]
fn no_client_gets_another_s_answer() {
    let queries = std::env::var("SHARDD_TEST_DESYNC_QUERIES").ok().and_then(|count| count.parse().ok());
    let queries: usize = queries.unwrap_or(QUERIES);
    let cluster = Cluster::start("");
    let (counts, done) = (Counts::default(), AtomicBool::new(false));
    let clients: Vec<Client> = (0..CLIENTS).map(|_| cluster.client()).collect();
    let keys = std::sync::Mutex::new(clients.iter().map(|client| client.cancel_key.clone()).collect::<Vec<_>>());
    let (cancels, kills) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let begin = Instant::now();
    std::thread::scope(|scope| {
        let testers: Vec<_> = clients
            .into_iter()
            .enumerate()
            .map(|(number, client)| {
                let dice = Dice(0x9e37_79b9_7f4a_7c15 ^ (number as u64 + 1) << 20);
                let (cluster, counts, keys) = (&cluster, &counts, &keys);
                scope.spawn(move || {
                    let mut tester = Tester { cluster, counts, client, keys, number, dice, asked: 0, prepared: false };
                    tester.run(queries.div_ceil(CLIENTS));
                })
            })
            .collect();
        scope.spawn(|| {
            let mut dice = Dice(7);
            while !done.load(Ordering::Relaxed) {
                let key = keys.lock().expect("keys")[dice.roll(CLIENTS as u64) as usize].clone();
                cancel(&cluster.shardd, &key);
                cancels.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        scope.spawn(|| {
            let mut servers: Vec<Client> = cluster.servers.iter().map(|server| server.client()).collect();
            while !done.load(Ordering::Relaxed) {
                for server in &mut servers {
                    server.run(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                         WHERE application_name = 'shardd' ORDER BY random() LIMIT 1",
                    );
                    kills.fetch_add(1, Ordering::Relaxed);
                }
                std::thread::sleep(Duration::from_millis(60));
            }
        });
        let outcomes: Vec<_> = testers.into_iter().map(|tester| tester.join()).collect();
        done.store(true, Ordering::Relaxed);
        assert!(outcomes.iter().all(Result::is_ok), "a client found something wrong");
    });
    let count = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
    eprintln!(
        "{} queries in {:?}: {} answered, {} failed; {} cancels, {} connections killed, {} clients left",
        count(&counts.asked),
        begin.elapsed(),
        count(&counts.answered),
        count(&counts.failed),
        count(&cancels),
        count(&kills),
        count(&counts.reconnected)
    );
    assert!(count(&counts.answered) > count(&counts.asked) * 7 / 10, "most are answered");
    assert!(count(&counts.failed) > 0 && count(&counts.reconnected) > 0, "there was trouble");
}
