//! Corners in which shardd once differed from Postgres: each statement is asked of both.

use crate::differential::compare::{Mode, Verdict, ask, compare, show};
use crate::support::{Client, Postgres, Shardd, Value};

/// Runs scripts on both servers, statement by statement, and names every answer that differs.
struct Both {
    _servers: (Postgres, Shardd),
    postgres: Client,
    shardd: Client,
    wrong: Vec<String>,
}

impl Both {
    fn start() -> Both {
        Both::start_with("")
    }

    /// With these lines in shardd's configuration.
    fn start_with(configuration: &str) -> Both {
        let servers = (Postgres::start(), Shardd::start_with(configuration));
        let (postgres, shardd) = (servers.0.client(), servers.1.client());
        Both { _servers: servers, postgres, shardd, wrong: Vec::new() }
    }

    fn run(&mut self, statements: &[&str]) {
        for statement in statements {
            let expected = ask(&mut self.postgres, statement, Mode::Simple).expect("Postgres answers");
            let got = ask(&mut self.shardd, statement, Mode::Simple).expect("shardd answers");
            self.compare(statement, &expected, &got);
        }
    }

    /// One parameter of each of these types (by oid), as text.
    fn run_with(&mut self, statement: &str, parameters: &[(u32, &str)]) {
        let types: Vec<u32> = parameters.iter().map(|(oid, _)| *oid).collect();
        let values: Vec<Value> = parameters.iter().map(|(_, text)| Value::text(text)).collect();
        let ask = |client: &mut Client| client.try_extended(statement, &types, &values, false).expect("an answer");
        let (expected, got) = (ask(&mut self.postgres), ask(&mut self.shardd));
        self.compare(&format!("{statement} {parameters:?}"), &expected, &got);
    }

    fn compare(&mut self, statement: &str, expected: &crate::support::Answer, got: &crate::support::Answer) {
        match compare(expected, got, statement.contains("ORDER BY")) {
            Verdict::Same | Verdict::SameError { .. } => {}
            verdict => self.wrong.push(format!(
                "{statement}\n  {verdict:?}\n  Postgres: {}\n  shardd:   {}",
                show(expected, false),
                show(got, false)
            )),
        }
    }

    fn agree(self) {
        assert!(self.wrong.is_empty(), "{} answers:\n{}", self.wrong.len(), self.wrong.join("\n"));
    }
}

const SMALLINT: u32 = 21;
const BIGINT: u32 = 20;
const REAL: u32 = 700;
const DOUBLE: u32 = 701;
const NUMERIC: u32 = 1700;
const BOOLEAN: u32 = 16;
const INTEGER: u32 = 23;
const TEXT: u32 = 25;
const CHARACTERS: u32 = 1014;
const BPCHAR: u32 = 1042;
const VARCHAR: u32 = 1043;

const SEATS: &[&str] = &[
    "CREATE TABLE seats (event_id bigint, seat_id int, status text, price numeric(10,2), PRIMARY KEY (event_id, seat_id))",
    "INSERT INTO seats VALUES (1, 1, 'free', 1), (2, 1, 'held', 2), (3, 1, 'free', 3), (4, 1, 'sold', NULL), (5, 2, 'free', 0)",
];

#[test]
fn negative_row_counts_are_errors_across_shards() {
    let mut both = Both::start();
    both.run(SEATS);
    both.run(&[
        "SELECT * FROM seats LIMIT -1",
        "SELECT * FROM seats OFFSET -1",
        "SELECT * FROM seats LIMIT -1 OFFSET -1",
        "SELECT * FROM seats LIMIT -1 OFFSET 5",
        "SELECT * FROM seats LIMIT - -1 OFFSET -(-5)",
        "SELECT event_id FROM seats ORDER BY event_id LIMIT 1.5 OFFSET -0.4",
        "SELECT * FROM seats LIMIT -9223372036854775808",
        "SELECT * FROM seats LIMIT 9223372036854775808",
        "SELECT count(*) FROM seats GROUP BY status LIMIT -1",
        "SELECT event_id FROM seats UNION ALL SELECT event_id FROM seats LIMIT -1",
    ]);
    both.run_with("SELECT event_id FROM seats ORDER BY event_id LIMIT -$1::bigint", &[(BIGINT, "-2")]);
    both.run_with("SELECT event_id FROM seats ORDER BY event_id LIMIT $1", &[(BIGINT, "-2")]);
    both.agree();
}

#[test]
fn keys_are_rounded_as_they_are_assigned() {
    let mut both = Both::start();
    both.run(&[
        "CREATE TABLE marks (event_id bigint, name text)",
        "INSERT INTO marks VALUES (1.4, 'numeric') RETURNING *",
        "INSERT INTO marks (name, event_id) VALUES ('half', 2.5), ('negative', -2.5), ('small', 0.4) RETURNING *",
        "INSERT INTO marks VALUES (2.5::float8, 'double'), (3.5::double precision, 'double'), (-2.5::real, 'real')",
        "INSERT INTO marks VALUES (CAST(6.5 AS float8)::int, 'int'), (7.5::bigint, 'bigint'), ('8.5'::float8, 'text')",
        "INSERT INTO marks VALUES (2.5::float8::numeric, 'both'), (1e1, 'exponent'), (-(9.5), 'nested')",
        "INSERT INTO marks VALUES ('1.4', 'text')",
        "INSERT INTO marks VALUES (9223372036854775807.5, 'large')",
        "INSERT INTO marks VALUES (-9223372036854775808, 'smallest')",
        "INSERT INTO marks VALUES (1e30::float8, 'large')",
        "INSERT INTO marks VALUES ('NaN'::float8, 'nan')",
        "WITH one AS (SELECT 1) INSERT INTO marks VALUES (11.0, 'with')",
    ]);
    for (oid, value) in [(NUMERIC, "20.5"), (DOUBLE, "20.5"), (REAL, "21.5"), (BIGINT, "22"), (SMALLINT, "23")] {
        both.run_with("INSERT INTO marks VALUES ($1, 'parameter'), (-$1, 'negated') RETURNING *", &[(oid, value)]);
    }
    both.run_with("INSERT INTO marks VALUES ($1::float8, 'cast'), ($1::float8::numeric, 'cast')", &[(0, "30.5")]);
    both.run(&["SELECT * FROM marks ORDER BY event_id, name"]);
    // A row that went to another shard than its stored key's would not be found by it.
    for key in -25..35 {
        both.run(&[&format!("SELECT * FROM marks WHERE event_id = {key} ORDER BY name")]);
    }
    both.agree();
}

#[test]
fn text_keys_are_what_their_values_are_written_as() {
    let mut both = Both::start_with("[[keyspaces]]\nname = \"names\"\nkey_column = \"name\"\nkey_type = \"text\"\n");
    both.run(&[
        "CREATE TABLE marks (name text, n int)",
        "INSERT INTO marks VALUES (5, 1), (1.50, 2), (true, 3), ('x', 4), (-7, 5)",
    ]);
    let values =
        [(INTEGER, "77"), (NUMERIC, "8.80"), (BOOLEAN, "f"), (BPCHAR, "ab   "), (VARCHAR, "cd  "), (TEXT, "ef")];
    for value in values {
        both.run_with("INSERT INTO marks VALUES ($1, 6)", &[value]);
    }
    for value in [(BPCHAR, "ab  "), (VARCHAR, "cd"), (VARCHAR, "cd  "), (TEXT, "ab"), (TEXT, "ab   ")] {
        both.run_with("SELECT * FROM marks WHERE name = $1", &[value]);
        both.run_with("UPDATE marks SET n = n + 1 WHERE name = $1", &[value]);
    }
    both.run_with("SELECT * FROM marks WHERE name = ANY($1) ORDER BY name", &[(CHARACTERS, "{\"ab  \",ef,x}")]);
    for name in ["5", "1.50", "true", "x", "-7", "77", "8.80", "false", "f", "ab", "ab   ", "cd", "cd  ", "ef"] {
        both.run(&[&format!("SELECT * FROM marks WHERE name = '{name}'")]);
    }
    both.run(&["SELECT * FROM marks ORDER BY name"]);
    both.agree();
}

#[test]
fn sums_belong_to_the_prefix_operator_before_them() {
    let mut both = Both::start();
    both.run(SEATS);
    both.run(&[
        "SELECT ~2 - 2, ~2 + 1 - 4, 2 ^ ~1 + 1, - ~2 + 1, ~ ~2 + 1, 3 * ~ 2 + 1, (~2) - 2, ~2 & 6, ~2 < 3",
        "SELECT event_id FROM seats WHERE ~seat_id + 1 = -3 ORDER BY event_id",
        "SELECT ~seat_id - 1, count(*) FROM seats GROUP BY ~seat_id - 1 ORDER BY ~seat_id - 1",
    ]);
    both.agree();
}

#[test]
fn what_is_grouped_by_is_known_again() {
    let mut both = Both::start();
    both.run(SEATS);
    both.run(&[
        "SELECT count(DISTINCT -1000) FROM seats GROUP BY status ORDER BY status",
        "SELECT count(DISTINCT (-1)), count(DISTINCT 7) FROM seats",
        "SELECT sum(DISTINCT seat_id) FROM seats HAVING count(DISTINCT (-1)) < 5",
        "SELECT status = ANY('{free,held}'), count(*) FROM seats GROUP BY status = ANY('{free,held}') ORDER BY 2",
        "SELECT count(*) FROM seats GROUP BY seat_id = ANY(ARRAY[1, 3]) ORDER BY (seat_id = ANY(ARRAY[1, 3]))",
        "SELECT seat_id = ANY(ARRAY[1, 3]), seat_id FROM seats WHERE event_id = 1 GROUP BY seat_id = ANY(ARRAY[1, 3])",
        "SELECT count(*) FROM seats a JOIN seats b USING (event_id) WHERE event_id = 1 \
         GROUP BY a.seat_id = ANY(ARRAY[1]) HAVING a.seat_id = ANY(ARRAY[1])",
        "SELECT count(*) FROM seats a JOIN seats b USING (event_id) WHERE event_id = 1 \
         GROUP BY a.seat_id = ANY(ARRAY[1]) HAVING b.seat_id = ANY(ARRAY[1])",
    ]);
    both.agree();
}

#[test]
fn modifiers_are_common_to_all_values_or_none() {
    let mut both = Both::start();
    both.run(SEATS);
    both.run(&[
        "SELECT CASE WHEN status = 'free' THEN price END AS x FROM seats WHERE event_id = 1",
        "SELECT CASE WHEN status = 'free' THEN price ELSE NULL END AS x FROM seats WHERE event_id = 1",
        "SELECT CASE WHEN status = 'free' THEN price ELSE price END AS x FROM seats WHERE event_id = 1",
        "SELECT greatest(price, price) AS x FROM seats WHERE event_id = 1",
    ]);
    both.run_with("SELECT coalesce(price, NULL) AS x FROM seats WHERE event_id = 1", &[]);
    both.agree();
}

#[test]
fn parameters_have_the_type_of_their_first_use() {
    let mut both = Both::start();
    both.run(SEATS);
    both.run_with("SELECT $1 + 1.5 AS x FROM seats WHERE event_id = $1", &[(0, "1")]);
    both.run_with("SELECT $1::text AS x FROM seats WHERE event_id = $1", &[(0, "1")]);
    both.run_with("SELECT sum(DISTINCT $1) FROM seats WHERE (CASE WHEN true THEN $2 END)", &[(0, "1"), (0, "true")]);
    both.agree();
}

/// Reference tables: each shard has a copy, and only the first one runs the statement.
#[test]
fn primary_keys_are_spelled_anew_on_every_copy() {
    let mut both = Both::start();
    both.run(&[
        "CREATE TABLE rates (rate numeric, name text UNIQUE, PRIMARY KEY (rate))",
        "INSERT INTO rates VALUES (1.0, 'a'), (2.0, 'b'), (3.0, 'c'), (4.0, 'd'), (5.0, NULL)",
        "UPDATE rates SET rate = 1.00 WHERE rate = 1",
        "UPDATE rates SET rate = 2.00, name = 'bb' WHERE rate = 2 RETURNING *",
        "UPDATE rates SET rate = 3.00 WHERE rate = 4",
        "SELECT * FROM rates ORDER BY rate",
        "UPDATE rates SET rate = round(rate, 4)",
        "SELECT * FROM rates ORDER BY rate",
        "BEGIN",
        "INSERT INTO rates VALUES (7.0, 'g')",
        "UPDATE rates SET rate = 7.00 WHERE rate = 7",
        "UPDATE rates SET rate = 7.000, name = NULL WHERE rate = 7",
        "DELETE FROM rates WHERE rate = 3",
        "INSERT INTO rates VALUES (3.00000, 'new')",
        "COMMIT",
        "CREATE TABLE pairs (one numeric, other numeric, name text, PRIMARY KEY (one, other))",
        "INSERT INTO pairs VALUES (1.0, 1.0, 'a'), (1.0, 2.0, 'b')",
        "UPDATE pairs SET other = other + 0.00, name = name || 'x'",
        "SELECT * FROM pairs ORDER BY one, other",
        "CREATE TABLE prices (event_id bigint, seat_id int, rate numeric REFERENCES rates, PRIMARY KEY (event_id, seat_id))",
        "INSERT INTO prices VALUES (1, 1, 1), (2, 1, 1), (3, 1, 2), (4, 1, 1), (5, 1, 7), (6, 1, 1), (7, 1, 2), (8, 1, 1)",
        "UPDATE rates SET rate = rate + 0.0000000, name = upper(name)",
        "SELECT * FROM rates ORDER BY rate",
        "SELECT * FROM prices ORDER BY event_id",
        "DELETE FROM rates WHERE rate = 1",
        "DELETE FROM rates WHERE rate = 4",
    ]);
    // The copy of each key's shard.
    for key in 1..9 {
        both.run(&[&format!(
            "SELECT rates.* FROM rates JOIN prices ON true WHERE event_id = {key} ORDER BY rates.rate"
        )]);
    }
    both.agree();
}
