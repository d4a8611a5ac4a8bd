//! Text of Postgres shards whose databases do not order it by its bytes: never in a wrong order, never told apart wrongly. What
//! cannot be merged is brought to one place.

use crate::support::{Client, Postgres, Shardd};

/// Letters before case, and accents after both: not the order of the bytes.
const LINGUISTIC: &str = "TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en-US'";

const SCHEMA: &[&str] = &[
    "CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy')",
    "CREATE TABLE people (event_id bigint PRIMARY KEY, name text NOT NULL, mood mood, score int, born date)",
];

const NAMES: [&str; 8] = ["anna", "Bob", "ärger", "Zoe", "bob", "Anna", "zoe", "Über"];

fn fill(client: &mut Client) {
    SCHEMA.iter().for_each(|statement| client.run(statement));
    for (key, name) in NAMES.iter().enumerate() {
        let mood = ["sad", "happy", "ok"][key % 3];
        client.run(&format!("INSERT INTO people VALUES ({key}, '{name}', '{mood}', {key} % 4, '2000-01-01')"));
    }
}

/// shardd over databases that order text by a language, and one such database by itself.
struct Both {
    expected: Client,
    got: Client,
    _servers: (Shardd, Postgres),
}

impl Both {
    fn start(clauses: &str) -> Both {
        let postgres = Postgres::start();
        let databases = postgres.make_shards_with(4, clauses);
        let shardd = Shardd::start_on(&postgres, &databases[..3], "");
        let (mut expected, mut got) = (postgres.client_of(&databases[3]), shardd.client());
        fill(&mut expected);
        fill(&mut got);
        Both { expected, got, _servers: (shardd, postgres) }
    }

    fn agree_on(&mut self, statement: &str) {
        let mut answers = [&mut self.expected, &mut self.got].map(|client| client.query(statement).texts());
        if !statement.contains("ORDER BY") {
            answers.iter_mut().for_each(|rows| rows.sort());
        }
        let [expected, got] = answers;
        assert_eq!(got, expected, "{statement}");
    }
}

#[test]
fn text_that_a_language_orders_comes_in_its_order() {
    let mut both = Both::start(LINGUISTIC);
    for statement in [
        "SELECT name FROM people WHERE event_id = 3 ORDER BY name",
        "SELECT name FROM people ORDER BY event_id",
        "SELECT name FROM people ORDER BY name COLLATE \"C\"",
        "SELECT name, count(*) FROM people GROUP BY name ORDER BY name COLLATE \"C\"",
        "SELECT score, count(*) FROM people GROUP BY score HAVING count(*) > 1 ORDER BY score",
        "SELECT count(DISTINCT score), max(born) FROM people",
    ] {
        both.agree_on(statement);
    }
    // None of these is ordered, told apart or computed with here.
    for statement in [
        "SELECT name FROM people ORDER BY name",
        "SELECT name FROM people ORDER BY name DESC LIMIT 2",
        "SELECT DISTINCT ON (name) name, event_id FROM people ORDER BY name, event_id",
        "SELECT name, count(*) FROM people GROUP BY name ORDER BY name",
        "SELECT name, count(*) FROM people GROUP BY name ORDER BY 1",
        "SELECT min(name) FROM people",
        "SELECT upper(name), count(*) FROM people GROUP BY name",
        "SELECT name, count(*) FROM people GROUP BY name HAVING name > 'b'",
    ] {
        both.agree_on(statement);
    }
}

#[test]
fn text_that_is_ordered_by_its_bytes_is_merged_as_it_is() {
    let mut both = Both::start("");
    for statement in [
        "SELECT name FROM people ORDER BY name",
        "SELECT min(name), max(name) FROM people",
        "SELECT name, count(*) FROM people GROUP BY name HAVING name > 'b' ORDER BY 1 DESC",
        "SELECT DISTINCT ON (name) name, event_id FROM people ORDER BY name, event_id",
    ] {
        both.agree_on(statement);
    }
    both.agree_on("SELECT name FROM people ORDER BY name COLLATE \"en-US-x-icu\"");
    both.agree_on("SELECT DISTINCT name COLLATE \"en-US-x-icu\" FROM people");
}

#[test]
fn values_that_only_the_shards_can_compare_are_compared_by_one() {
    let mut both = Both::start("");
    for statement in [
        "SELECT mood FROM people ORDER BY event_id",
        "SELECT mood FROM people WHERE event_id = 1 ORDER BY mood",
        "SELECT mood::text, count(*) FROM people GROUP BY mood::text ORDER BY 1",
        "SELECT DISTINCT mood::text AS mood FROM people ORDER BY mood",
    ] {
        both.agree_on(statement);
    }
    for statement in [
        "SELECT mood FROM people ORDER BY mood",
        "SELECT DISTINCT mood FROM people",
        "SELECT mood, count(*) FROM people GROUP BY mood",
        "SELECT max(mood) FROM people",
    ] {
        both.agree_on(statement);
    }
}
