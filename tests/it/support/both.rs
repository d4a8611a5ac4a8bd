//! shardd beside one Postgres, with the same rows in both.

use super::{Answer, Client, Postgres, Shardd};

const SCHEMA: &[&str] = &[
    "CREATE TABLE venues (venue_id int PRIMARY KEY, name text NOT NULL, city text)",
    "CREATE TABLE events (event_id bigint PRIMARY KEY, venue_id int, title text NOT NULL, price numeric(10,2), day date, rank int)",
    "CREATE TABLE seats (event_id bigint, seat_id int, section text, price numeric(10,2), held timestamptz, \
     PRIMARY KEY (event_id, seat_id))",
    "CREATE TABLE notes (event_id bigint PRIMARY KEY, body text DEFAULT 'none', score double precision DEFAULT 1.5, tags jsonb, \
     flag boolean)",
];

/// Four venues on every shard, 24 events and their seats by key, with ties and NULLs; no notes.
pub fn fill(client: &mut Client) {
    SCHEMA.iter().for_each(|statement| client.run(statement));
    for (venue, city) in [(1, "'Bonn'"), (2, "'Cologne'"), (3, "NULL"), (4, "'Bonn'")] {
        client.run(&format!("INSERT INTO venues VALUES ({venue}, 'Hall {venue}', {city})"));
    }
    for event in 1..=24 {
        let venue = if event % 7 == 0 { "NULL".to_owned() } else { (event % 5).to_string() };
        client.run(&format!(
            "INSERT INTO events VALUES ({event}, {venue}, 'event {}', {}.50, '2026-01-{:02}', {})",
            event % 6,
            event * 3 % 17,
            event % 9 + 1,
            event % 4
        ));
        for seat in 1..=(event % 4 + 1) {
            let section = ["'A'", "'B'", "NULL"][(event + seat) as usize % 3];
            client.run(&format!(
                "INSERT INTO seats VALUES ({event}, {seat}, {section}, {}.25, '2026-02-{:02} 10:00+00')",
                (event * seat) % 11,
                seat
            ));
        }
    }
}

/// shardd over shards of one kind, and one Postgres by itself.
pub struct Both {
    pub expected: Client,
    pub got: Client,
    pub shardd: Shardd,
    pub postgres: Postgres,
    pub over_postgres: bool,
}

impl Both {
    pub fn of_each_kind() -> impl Iterator<Item = Both> {
        [true, false].into_iter().map(|over_postgres| Both::start_with(over_postgres, ""))
    }

    /// With the rows of [`fill`], and these lines in shardd's configuration.
    pub fn start_with(over_postgres: bool, configuration: &str) -> Both {
        let mut both = Both::empty(over_postgres, configuration);
        fill(&mut both.expected);
        fill(&mut both.got);
        both
    }

    /// Without any table.
    pub fn empty(over_postgres: bool, configuration: &str) -> Both {
        let postgres = Postgres::start();
        let databases = postgres.make_shards(4);
        let shardd = match over_postgres {
            true => Shardd::start_on(&postgres, &databases[..3], configuration),
            false => Shardd::start_with(configuration),
        };
        Both { expected: postgres.client_of(&databases[3]), got: shardd.client(), shardd, postgres, over_postgres }
    }

    /// On both, where it must go well.
    pub fn run(&mut self, statement: &str) {
        self.expected.run(statement);
        self.got.run(statement);
    }

    /// A read: the same rows in the same order, columns, types and tag, or the same error.
    pub fn agree_on(&mut self, statement: &str) {
        let (expected, got) = (self.expected.query(statement), self.got.query(statement));
        agree(statement, &expected, &got);
    }

    pub fn agree_on_rows(&mut self, after: &str) {
        for table in ["events", "seats", "notes", "venues"] {
            let all = format!("SELECT * FROM {table} ORDER BY 1, 2");
            let (expected, got) = (self.expected.query(&all), self.got.query(&all));
            assert_eq!(got.texts(), expected.texts(), "{table} after {after}");
        }
    }

    /// Every copy of the reference table holds the same.
    pub fn copies_agree(&mut self, after: &str) {
        if !self.over_postgres {
            return;
        }
        let all = "SELECT * FROM venues ORDER BY 1";
        let expected = self.expected.query(all).texts();
        for shard in self.shardd.shard_names() {
            assert_eq!(self.postgres.client_of(&shard).query(all).texts(), expected, "{shard} after {after}");
        }
    }
}

/// Two answers that must be the same. A row type has a number of its own in each database, and is not compared.
pub fn agree(statement: &str, expected: &Answer, got: &Answer) {
    const LAST_FIXED_OID: u32 = 16_383;
    let types = |answer: &Answer| {
        let columns = answer.columns.iter().flatten();
        columns.map(|column| (column.name.clone(), column.type_oid.min(LAST_FIXED_OID + 1))).collect::<Vec<_>>()
    };
    assert_eq!(told(got), told(expected), "{statement}");
    if expected.error.is_none() {
        assert_eq!(got.texts(), expected.texts(), "{statement}");
        assert_eq!(types(got), types(expected), "{statement}");
        assert_eq!(got.tag, expected.tag, "{statement}");
    }
}

/// Both answer the same but for the order, and tell whether it went well.
pub fn agree_on_write(both: &mut Both, statement: &str) -> bool {
    let (expected, got) = (both.expected.query(statement), both.got.query(statement));
    assert_eq!(told(&got), told(&expected), "{statement}");
    if got.error.is_some() {
        return false;
    }
    let rows = |answer: &Answer| {
        let mut rows = answer.texts();
        rows.sort();
        rows
    };
    assert_eq!(rows(&got), rows(&expected), "{statement}");
    assert_eq!(got.tag, expected.tag, "{statement}");
    true
}

/// Alone, and in a transaction that is rolled back, and after a savepoint: the same is left.
pub fn agree_wherever(both: &mut Both, statement: &str) {
    both.run("BEGIN");
    both.run("UPDATE events SET rank = 7 WHERE event_id = 3");
    both.run("SAVEPOINT before");
    if agree_on_write(both, statement) {
        both.agree_on_rows(statement);
    }
    both.run("ROLLBACK TO SAVEPOINT before");
    both.agree_on_rows(&format!("taking back {statement}"));
    both.run("ROLLBACK");
    both.agree_on_rows(&format!("rolling back {statement}"));
    agree_on_write(both, statement);
    both.agree_on_rows(statement);
    both.copies_agree(statement);
}

/// What an answer says of a failure.
pub fn told(answer: &Answer) -> Option<(&str, &str)> {
    answer.error.as_ref().map(|error| (error.sqlstate(), error.message()))
}
