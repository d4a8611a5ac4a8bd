//! What was acknowledged survives `kill -9`, and nothing is left half done.
//!
//! Writers run until the server dies under them; it is started again on the same directory, and every kind of write is
//! counted. A write whose answer never came may be there or not, but never in part.

use std::io;
use std::time::Duration;

use crate::support::frames;
use crate::support::{Answer, Client, Shardd};

const ROUNDS: u64 = 20;
/// Keys that spread over all four shards.
const KEYS: i64 = 16;
/// Writes that are sent before the first is answered, and how many of them in a row have one key.
const PIPELINE: i64 = 24;
const IN_A_ROW: i64 = 6;

const SCHEMA: &str = "
    CREATE TABLE entries (event_id bigint, writer int, number bigint, PRIMARY KEY (event_id, writer, number));
    CREATE TABLE pairs (event_id bigint, writer int, number bigint, part int, PRIMARY KEY (event_id, writer, number, part));
    CREATE TABLE batches (event_id bigint, writer int, number bigint, PRIMARY KEY (event_id, writer, number));
    CREATE TABLE counters (event_id bigint PRIMARY KEY, total bigint NOT NULL);
    CREATE TABLE notes (writer int, number bigint, body text, PRIMARY KEY (writer, number));
    CREATE TABLE anchors (event_id bigint PRIMARY KEY);
";

/// A kind of write. Each writer has one, and numbers its writes from 0 without a gap.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// One row, committed by itself.
    Entry,
    /// The same, many sent at once: what is there afterwards is a beginning of what was sent, over all shards.
    Pipeline,
    /// Two rows of one key, in a transaction.
    Pair,
    /// A row for every key, over all shards, in one statement.
    Batch,
    /// An increment: doing it twice shows.
    Counter,
    /// A row of a reference table, on every shard.
    Note,
}

const WRITERS: &[Kind] = &[
    Kind::Entry,
    Kind::Entry,
    Kind::Entry,
    Kind::Pipeline,
    Kind::Pipeline,
    Kind::Pair,
    Kind::Pair,
    Kind::Batch,
    Kind::Batch,
    Kind::Counter,
    Kind::Note,
    Kind::Note,
];

/// A writer's progress: how many of its writes were acknowledged.
struct Writer {
    id: usize,
    kind: Kind,
    next: i64,
}

impl Writer {
    /// Writes until the server is gone. An error that the server itself reports fails the test.
    fn run(&mut self, port: u16) {
        let Ok(mut client) = Client::connect(port) else { return };
        if matches!(self.kind, Kind::Pipeline) {
            let _ = self.run_pipelines(&mut client);
            return;
        }
        while let Ok(answers) = self.write(&mut client) {
            if !self.went_well(&answers) {
                return;
            }
            self.next += 1;
        }
    }

    fn run_pipelines(&mut self, client: &mut Client) -> io::Result<()> {
        let mut messages = frames::Writer::default();
        messages.parse("entry", "INSERT INTO entries VALUES ($1, $2, $3)", &[20, 23, 20]).sync();
        client.send(&messages)?;
        client.answers()?;
        loop {
            let mut messages = frames::Writer::default();
            for number in self.next..self.next + PIPELINE {
                let values = [number / IN_A_ROW % KEYS, i64::try_from(self.id).expect("a small number"), number];
                let values = values.map(|value| Some(value.to_string().into_bytes()));
                messages.bind("", "entry", &values, &[], &[]).execute("", 0).sync();
            }
            client.send(&messages)?;
            for _ in 0..PIPELINE {
                if !self.went_well(&client.answers()?) {
                    return Ok(());
                }
                self.next += 1;
            }
        }
    }

    fn went_well(&self, answers: &[Answer]) -> bool {
        let errors: Vec<_> = answers.iter().filter_map(|answer| answer.error.as_ref()).collect();
        for error in &errors {
            // While it dies, the server may still say that it does.
            let ends = ["57P01", "57P02", "57P03", "08006"].contains(&error.sqlstate());
            assert!(ends, "writer {} ({:?}): {error:?}", self.id, self.kind);
        }
        errors.is_empty()
    }

    fn write(&self, client: &mut Client) -> io::Result<Vec<Answer>> {
        let (writer, number) = (self.id, self.next);
        let key = number % KEYS;
        client.try_simple(&match self.kind {
            Kind::Entry | Kind::Pipeline => format!("INSERT INTO entries VALUES ({key}, {writer}, {number})"),
            Kind::Counter => format!("UPDATE counters SET total = total + 1 WHERE event_id = {writer}"),
            Kind::Note => format!("INSERT INTO notes VALUES ({writer}, {number}, 'note')"),
            Kind::Batch => {
                let rows: Vec<String> = (0..KEYS).map(|key| format!("({key}, {writer}, {number})")).collect();
                format!("INSERT INTO batches VALUES {}", rows.join(", "))
            }
            Kind::Pair => format!(
                "BEGIN; INSERT INTO pairs VALUES ({key}, {writer}, {number}, 1); INSERT INTO pairs VALUES ({key}, {writer}, {number}, 2); COMMIT"
            ),
        })
    }

    /// Counts what is there, and takes it as the number to go on from.
    fn check(&mut self, client: &mut Client, round: u64) {
        let writer = self.id;
        let (table, rows_of_each) = match self.kind {
            Kind::Entry | Kind::Pipeline => ("entries", 1),
            Kind::Pair => ("pairs", 2),
            Kind::Batch => ("batches", KEYS),
            Kind::Note => ("notes", 1),
            Kind::Counter => {
                let total = client.query(&format!("SELECT total FROM counters WHERE event_id = {writer}")).value();
                self.settle(total.parse().expect("a number"), round);
                return;
            }
        };
        let answer = client.query(&format!(
            "SELECT number, count(*) FROM {table} WHERE writer = {writer} GROUP BY number ORDER BY number"
        ));
        let rows = answer.texts();
        for (position, row) in rows.iter().enumerate() {
            let (position, rows_of_each) = (position.to_string(), rows_of_each.to_string());
            let expected = [Some(position), Some(rows_of_each)];
            assert_eq!(row.as_slice(), expected, "round {round}: {table} of writer {writer} is lost or half there");
        }
        self.settle(i64::try_from(rows.len()).expect("few rows"), round);
    }

    /// What was sent last may have been done without an answer; no other may be more or less.
    fn settle(&mut self, found: i64, round: u64) {
        let acknowledged = self.next;
        let sent = if matches!(self.kind, Kind::Pipeline) { PIPELINE } else { 1 };
        assert!(
            (acknowledged..=acknowledged + sent).contains(&found),
            "round {round}: writer {} ({:?}) was acknowledged {acknowledged} writes, {found} are there",
            self.id,
            self.kind
        );
        self.next = found;
    }
}

/// Every shard's copy of the reference table, read where each key lives.
fn copies_are_equal(client: &mut Client, round: u64) {
    let mut copies = (0..KEYS).map(|key| {
        let sql = format!(
            "SELECT n.writer, count(*), max(n.number) FROM notes n JOIN anchors a ON a.event_id = {key} GROUP BY n.writer ORDER BY n.writer"
        );
        client.query(&sql).texts()
    });
    let first = copies.next().expect("a copy");
    for copy in copies {
        assert_eq!(copy, first, "round {round}: the shards' copies of a reference table differ");
    }
}

#[test]
fn acknowledged_writes_survive_twenty_kills() {
    let mut shardd = Shardd::start();
    let mut client = shardd.client();
    client.run(SCHEMA);
    for key in 0..KEYS {
        client.run(&format!("INSERT INTO anchors VALUES ({key}); INSERT INTO counters VALUES ({key}, 0)"));
    }
    let mut writers: Vec<Writer> =
        WRITERS.iter().enumerate().map(|(id, kind)| Writer { id, kind: *kind, next: 0 }).collect();
    for round in 1..=ROUNDS {
        let port = shardd.ports.postgres;
        std::thread::scope(|scope| {
            for writer in &mut writers {
                scope.spawn(|| writer.run(port));
            }
            // Another moment each time, so that every stage of a commit is met.
            std::thread::sleep(Duration::from_millis(80 + round * 37 % 260));
            shardd.kill();
        });
        shardd.launch();
        let mut client = shardd.client();
        for writer in &mut writers {
            writer.check(&mut client, round);
        }
        copies_are_equal(&mut client, round);
    }
    for writer in &writers {
        let (id, kind, next) = (writer.id, writer.kind, writer.next);
        assert!(next > 0, "writer {id} ({kind:?}) wrote nothing: the test shows nothing");
        println!("writer {id} ({kind:?}): {next} writes");
    }
}
