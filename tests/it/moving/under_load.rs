//! Nothing that was acknowledged is lost, and nothing is there twice, while slots move to and fro.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::{KEYS, all_where_they_belong, moved, nothing_is_left, start};
use crate::support::{Client, Stopping};

const CLIENTS: usize = 8;
const ROUNDS_IN_CI: usize = 4;

/// What one client was told.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// (key, number)
    pub(super) entries: Vec<(i64, i64)>,
    pub(super) increments: BTreeMap<i64, u64>,
    /// Of what it does not know whether it was done: (key, number) of inserts, and keys of increments.
    pub(super) unknown: (Vec<(i64, i64)>, BTreeMap<i64, u64>),
    pub(super) next: i64,
}

/// What all clients were told, and how often they were refused.
#[derive(Debug, Default)]
pub(super) struct Load {
    pub(super) told: Vec<Mutex<Told>>,
    pub(super) refused: AtomicU64,
}

impl Load {
    pub(super) fn new() -> Load {
        Load { told: (0..CLIENTS).map(|_| Mutex::default()).collect(), refused: AtomicU64::new(0) }
    }

    pub(super) fn clients(&self) -> std::ops::Range<usize> {
        0..self.told.len()
    }

    /// Inserts, increments and reads, by one key and by two in a transaction, until it is stopped or the server is gone.
    pub(super) fn run(&self, client: usize, port: u16, stop: &AtomicBool) {
        let Ok(mut connection) = Client::connect(port) else { return };
        let mut told = self.told[client].lock().expect("locked");
        while !stop.load(Ordering::Relaxed) {
            let number = told.next;
            told.next += 1;
            let key = (number * 7 + client as i64 * 13) % KEYS.count() as i64 + 1;
            let other = (number * 11 + client as i64 * 5) % KEYS.count() as i64 + 1;
            let goes_on = match number % 3 {
                0 => self.insert(&mut connection, client, key, number, &mut told),
                1 => self.transaction(&mut connection, client, (key, other), number, &mut told),
                _ => self.read(&mut connection, key),
            };
            if !goes_on {
                return;
            }
        }
    }

    fn insert(&self, connection: &mut Client, client: usize, key: i64, number: i64, told: &mut Told) -> bool {
        match outcome(connection, &format!("INSERT INTO entries VALUES ({key}, {client}, {number})")) {
            Some(true) => told.entries.push((key, number)),
            Some(false) => _ = self.refused.fetch_add(1, Ordering::Relaxed),
            None => {
                told.unknown.0.push((key, number));
                return false;
            }
        }
        true
    }

    fn transaction(
        &self,
        connection: &mut Client,
        client: usize,
        (key, other): (i64, i64),
        number: i64,
        told: &mut Told,
    ) -> bool {
        let statements = [
            "BEGIN".to_owned(),
            format!("UPDATE counters SET total = total + 1 WHERE event_id = {key}"),
            format!("INSERT INTO entries VALUES ({other}, {client}, {number})"),
        ];
        for statement in &statements {
            match outcome(connection, statement) {
                Some(true) => {}
                Some(false) => {
                    self.refused.fetch_add(1, Ordering::Relaxed);
                    return outcome(connection, "ROLLBACK").is_some();
                }
                None => return false,
            }
        }
        match outcome(connection, "COMMIT") {
            Some(true) => {
                told.entries.push((other, number));
                *told.increments.entry(key).or_default() += 1;
                true
            }
            Some(false) => {
                self.refused.fetch_add(1, Ordering::Relaxed);
                true
            }
            None => {
                told.unknown.0.push((other, number));
                *told.unknown.1.entry(key).or_default() += 1;
                false
            }
        }
    }

    fn read(&self, connection: &mut Client, key: i64) -> bool {
        let Ok(answers) = connection.try_simple(&format!("SELECT total FROM counters WHERE event_id = {key}")) else {
            return false;
        };
        let answer = answers.last().expect("an answer");
        if answer.error.is_some() {
            self.refused.fetch_add(1, Ordering::Relaxed);
        } else {
            assert_eq!(answer.texts().len(), 1, "the counter of key {key} is there once");
        }
        true
    }

    /// What the shards have is what the clients were told, or may have been about to be told.
    pub(super) fn check(&self, entries: &[Vec<Option<String>>], counters: &[Vec<Option<String>>]) {
        let number = |text: &Option<String>| text.as_deref().expect("a value").parse::<i64>().expect("a number");
        let mut there: BTreeMap<(i64, i64, i64), u32> = BTreeMap::new();
        for row in entries {
            *there.entry((number(&row[0]), number(&row[1]), number(&row[2]))).or_default() += 1;
        }
        let totals: BTreeMap<i64, i64> = counters.iter().map(|row| (number(&row[0]), number(&row[1]))).collect();
        assert_eq!(counters.len(), KEYS.count(), "every counter is there once");
        let (mut least, mut most): (BTreeMap<i64, i64>, BTreeMap<i64, i64>) = Default::default();
        for (client, told) in self.told.iter().enumerate() {
            let told = told.lock().expect("locked");
            for (key, number) in &told.entries {
                let found = there.remove(&(*key, client as i64, *number));
                assert_eq!(found, Some(1), "entry {number} of client {client} for key {key}");
            }
            for (key, number) in &told.unknown.0 {
                let found = there.remove(&(*key, client as i64, *number));
                assert!(found.is_none_or(|count| count == 1), "entry {number} of client {client} for key {key}");
            }
            for (key, count) in &told.increments {
                *least.entry(*key).or_default() += *count as i64;
                *most.entry(*key).or_default() += *count as i64;
            }
            for (key, count) in &told.unknown.1 {
                *most.entry(*key).or_default() += *count as i64;
            }
        }
        assert!(there.is_empty(), "rows that nobody was told of: {there:?}");
        for key in KEYS {
            let (least, most) = (least.get(&key).copied().unwrap_or(0), most.get(&key).copied().unwrap_or(0));
            let total = totals.get(&key).copied().expect("a counter");
            assert!((least..=most).contains(&total), "key {key} counts {total}, and was to count {least} to {most}");
        }
    }

    pub(super) fn acknowledged(&self) -> usize {
        self.told.iter().map(|told| told.lock().expect("locked").entries.len()).sum()
    }
}

/// Whether a statement was done; `None`: the connection is lost.
fn outcome(connection: &mut Client, statement: &str) -> Option<bool> {
    let answers = connection.try_simple(statement).ok()?;
    let answer = answers.last()?;
    match &answer.error {
        // What was done is not known: the server says so before it goes.
        Some(error) if ["08007", "40003", "57P01"].contains(&error.sqlstate()) => None,
        Some(_) => Some(false),
        None => Some(answer.tag.as_deref() != Some("ROLLBACK") || statement == "ROLLBACK"),
    }
}

#[test]
fn nothing_is_lost_while_slots_move_to_and_fro() {
    let shardd = start();
    let load = Load::new();
    let stop = AtomicBool::new(false);
    let rounds = std::env::var("SHARDD_MOVE_ROUNDS").ok().and_then(|rounds| rounds.parse().ok());
    std::thread::scope(|scope| {
        let _stopping = Stopping(&stop);
        for client in load.clients() {
            let (load, stop, port) = (&load, &stop, shardd.ports.postgres);
            scope.spawn(move || load.run(client, port, stop));
        }
        let shards = shardd.shard_names();
        for round in 0..rounds.unwrap_or(ROUNDS_IN_CI) {
            let slots = if round % 2 == 0 { "0-8191" } else { "4096-12287" };
            moved(&shardd, slots, &shards[round % shards.len()]);
        }
    });
    assert!(load.acknowledged() > 100, "{} writes only", load.acknowledged());
    load.check(&all_where_they_belong(&shardd, "entries"), &all_where_they_belong(&shardd, "counters"));
    nothing_is_left(&shardd);
    eprintln!("{} entries, {} refused", load.acknowledged(), load.refused.load(Ordering::Relaxed));
}
