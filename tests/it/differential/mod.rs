//! Generated statements must get from shardd what they get from Postgres: with four SQLite shards, and with three Postgres
//! shards.
//!
//! Each statement is asked of both: through the simple and the extended protocol, with inline values and with
//! parameters, with text and with binary rows. Rows, column names, types, modifiers, command tags, SQLSTATEs, the
//! transaction's state and, after a write, the table's rows are compared. What shardd refuses (0A000) must be in
//! `docs/sql-refused.md`, or `docs/sql-refused-postgres.md` for Postgres shards. A difference is shrunk, with what was written before where it takes
//! that, shown with both answers, and fails the test.
//!
//! There are two worlds. The ticket schema is for both kinds of shards; `broad` has eight tables in two keyspaces over Postgres shards, a
//! grammar in place of templates, and no read that may be refused.
//!
//! * `SHARDD_DIFFERENTIAL_STATEMENTS`: how many statements (2,000; 1,500 for Postgres shards; 50,000 for the eight tables). 0 goes on until
//!   something differs.
//! * `SHARDD_DIFFERENTIAL_SEED`: where to begin (1); each script has a seed of its own, which the report names.
//! * `SHARDD_DIFFERENTIAL_FAMILY`: only scripts of this family, e.g. `aggregate`.
//! * `SHARDD_UPDATE_DOCS=1`: adds new refusals to the list instead of failing.
//!
//! The whole report is written to `target/tmp/differential.txt`, `target/tmp/differential-postgres.txt` and `target/tmp/differential-broad.txt`.

mod broad;
pub mod compare;
mod expressions;
mod known;
mod pair;
pub mod random;
mod reads;
mod refused;
mod run;
mod schema;
mod shapes;
mod shrink;
mod strays;
mod values;
mod world;
mod writes;

use self::broad::{BROAD, KEYSPACES};
use self::compare::{Verdict, compare};
use self::pair::Pair;
use self::run::{Share, Subject, compare_with, generate, read_known_differences, report};
use self::world::{TICKETS, World};
use crate::support::{Postgres, Shardd};

#[test]
fn shardd_answers_as_postgres_does() {
    let (postgres, shardd) = (Postgres::start(), Shardd::start());
    let subject = Subject {
        world: &TICKETS,
        ports: vec![(postgres.port, shardd.ports.postgres)],
        statements: 2000,
        report: "differential.txt",
        refused: refused::SQLITE,
        known: read_known_differences(),
        never_refused: &[],
        planting: Vec::new(),
    };
    compare_with(&subject);
}

/// Whatever shard answers is a Postgres itself: no difference is known.
#[test]
fn shardd_over_postgres_shards_answers_as_one_postgres_does() {
    let postgres = Postgres::start();
    let shardd = Shardd::start_over(&postgres);
    let subject = Subject {
        world: &TICKETS,
        ports: vec![(postgres.port, shardd.ports.postgres)],
        statements: 1500,
        report: "differential-postgres.txt",
        refused: refused::POSTGRES,
        known: vec![known::RETURNING_ORDER.to_owned()],
        never_refused: &[],
        planting: Vec::new(),
    };
    compare_with(&subject);
}

/// The tables of the ticket schema that are sharded.
fn sharded_tickets() -> Vec<&'static str> {
    schema::TABLES.iter().filter(|table| table.sharded).map(|table| table.name).collect()
}

#[test]
fn rows_that_lie_on_another_shard_while_slots_move_are_nobodys() {
    let (postgres, mut shardd) = (Postgres::start(), Shardd::start());
    strays::begin(strays::schema_of_tickets(), &postgres, &mut shardd);
    let files = shardd.shard_names().iter().map(|name| shardd.data_dir().join(format!("{name}.db"))).collect();
    let planting = strays::OnSqlite { files, tables: sharded_tickets() };
    let subject = Subject {
        world: &strays::STILL_TICKETS,
        ports: vec![(postgres.port, shardd.ports.postgres)],
        statements: 1000,
        report: "differential-strays.txt",
        refused: refused::SQLITE,
        known: read_known_differences(),
        never_refused: &[],
        planting: vec![&planting],
    };
    compare_with(&subject);
}

#[test]
fn rows_that_lie_on_another_postgres_shard_while_slots_move_are_nobodys() {
    let postgres = Postgres::start();
    let databases = postgres.make_shards(3);
    let mut shardd = Shardd::start_on(&postgres, &databases, "");
    strays::begin(strays::schema_of_tickets(), &postgres, &mut shardd);
    let planting = strays::OnPostgres { server: &postgres, databases, tables: sharded_tickets() };
    let subject = Subject {
        world: &strays::STILL_TICKETS,
        ports: vec![(postgres.port, shardd.ports.postgres)],
        statements: 1000,
        report: "differential-strays-postgres.txt",
        refused: refused::POSTGRES,
        known: vec![known::RETURNING_ORDER.to_owned()],
        never_refused: &[],
        planting: vec![&planting],
    };
    compare_with(&subject);
}

#[test]
fn rows_of_eight_tables_that_lie_on_another_shard_while_slots_move_are_nobodys() {
    let postgres = Postgres::start_set(&[NOT_COMPILED]);
    let databases = postgres.make_shards(3);
    let mut shardd = Shardd::start_on(&postgres, &databases, KEYSPACES);
    strays::begin((BROAD.schema)(), &postgres, &mut shardd);
    let tables = broad::sharded_tables();
    let planting = strays::OnPostgres { server: &postgres, databases, tables };
    let subject = Subject {
        world: &strays::STILL_BROAD,
        ports: vec![(postgres.port, shardd.ports.postgres)],
        statements: 3_000,
        report: "differential-strays-broad.txt",
        refused: refused::POSTGRES,
        known: [known::RETURNING_ORDER, known::FOLDED, known::TWO_FAULTS].map(str::to_owned).to_vec(),
        never_refused: &["query", "query shape"],
        planting: vec![&planting],
    };
    compare_with(&subject);
}

/// As many workers as a small machine has cores; each has its own servers.
const WORKERS: usize = 2;
/// Compiling a statement takes Postgres longer than running it over some rows, and tables without statistics look large.
const NOT_COMPILED: &str = "jit=off";

#[test]
fn eight_tables_over_postgres_shards_answer_as_one_postgres_does() {
    let servers: Vec<(Postgres, Shardd)> = (0..WORKERS)
        .map(|_| {
            let postgres = Postgres::start_set(&[NOT_COMPILED]);
            let shardd = Shardd::start_over_with(&postgres, KEYSPACES);
            (postgres, shardd)
        })
        .collect();
    let subject = Subject {
        world: &BROAD,
        ports: servers.iter().map(|(postgres, shardd)| (postgres.port, shardd.ports.postgres)).collect(),
        statements: 50_000,
        report: "differential-broad.txt",
        refused: refused::POSTGRES,
        known: [known::RETURNING_ORDER, known::FOLDED, known::TWO_FAULTS].map(str::to_owned).to_vec(),
        never_refused: &["query", "query shape"],
        planting: Vec::new(),
    };
    compare_with(&subject);
}

/// Two Postgres databases must never differ: a generated statement has one right answer.
#[test]
fn generated_statements_have_one_right_answer() {
    let (one, other) = (Postgres::start(), Postgres::start());
    have_one_right_answer(&TICKETS, [&one, &other], 1000);
}

/// However Postgres comes to it.
#[test]
fn statements_over_eight_tables_have_one_right_answer() {
    let other_plans =
        ["enable_hashagg=off", "enable_hashjoin=off", "enable_sort=off", "enable_memoize=off", NOT_COMPILED];
    let (one, other) = (Postgres::start_set(&[NOT_COMPILED]), Postgres::start_set(&other_plans));
    have_one_right_answer(&BROAD, [&one, &other], 3000);
}

fn have_one_right_answer(world: &'static World, [one, other]: [&Postgres; 2], statements: usize) {
    let mut pair = Pair::new(world, one.port, other.port);
    let share = Share::all(statements);
    let tally = generate(&mut pair, Share { seed: share.seed + 500, ..share });
    let text = report(&mut pair, &tally);
    assert!(tally.mismatches.is_empty(), "{text}");
    let percent = tally.error_count() * 100 / tally.asked;
    println!("{text}");
    assert!(percent < 25, "{percent} % of the generated statements are errors");
}

#[test]
fn a_different_answer_is_caught() {
    let postgres = Postgres::start();
    let mut client = postgres.client();
    client.run("CREATE TABLE t (a int, b text); INSERT INTO t VALUES (1, 'x'), (2, 'y')");
    let mut kind = |expected: &str, got: &str, ordered: bool| {
        let (expected, got) = (client.query(expected), client.query(got));
        match compare(&expected, &got, ordered) {
            Verdict::Different(kind) => kind,
            other => format!("{other:?}"),
        }
    };
    assert_eq!(kind("SELECT a FROM t", "SELECT a FROM t", true), "Same");
    assert_eq!(kind("SELECT a FROM t ORDER BY a", "SELECT a FROM t ORDER BY a DESC", false), "Same");
    assert_eq!(kind("SELECT a FROM t ORDER BY a", "SELECT a FROM t ORDER BY a DESC", true), "order of rows");
    assert_eq!(kind("SELECT a FROM t", "SELECT a FROM t LIMIT 1", true), "number of rows");
    assert_eq!(kind("SELECT 1 AS a", "SELECT 2 AS a", true), "values of type 23");
    assert_eq!(kind("SELECT 1 AS a", "SELECT NULL::int AS a", true), "values of type 23");
    assert_eq!(kind("SELECT 1.5 AS a", "SELECT 1.50 AS a", true), "values of type 1700");
    assert_eq!(kind("SELECT 1 AS a", "SELECT 1 AS b", true), "column name");
    assert_eq!(kind("SELECT 1 AS a", "SELECT 1::bigint AS a", true), "type: 20 instead of 23");
    assert_eq!(
        kind("SELECT 'x'::varchar(3) AS a", "SELECT 'x'::varchar AS a", true),
        "modifier of type 1043: -1 instead of 7"
    );
    assert_eq!(kind("SELECT a FROM t", "SELECT a + 0 AS a FROM t", true), "origin of a column");
    assert_eq!(kind("UPDATE t SET a = a", "DELETE FROM t WHERE a = 7", true), "command tag");
    assert_eq!(
        kind("SELECT 1 / 0", "SELECT 'x'::int", true),
        "SQLSTATE 22P02 instead of 22012: invalid input syntax for type integer: …"
    );
    assert_eq!(kind("SELECT 1", "SELECT nope", true), "fails with 42703: column … does not exist");
    assert_eq!(kind("SELECT nope", "SELECT 1", true), "answers instead of 42703: column … does not exist");
}
