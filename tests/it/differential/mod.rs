//! Generated statements must get from shardd what they get from Postgres: with four SQLite shards, and with three Postgres
//! shards.
//!
//! Each statement is asked of both: through the simple and the extended protocol, with inline values and with
//! parameters, with text and with binary rows. Rows, column names, types, modifiers, command tags, SQLSTATEs, the
//! transaction's state and, after a write, the table's rows are compared. What shardd refuses (0A000) must be in
//! `docs/sql-refused.md`, or `docs/sql-refused-postgres.md` for Postgres shards. A difference is shrunk, shown with both answers, and fails the test.
//!
//! * `SHARDD_DIFFERENTIAL_STATEMENTS`: how many statements (2,000; 1,500 for Postgres shards).
//! * `SHARDD_DIFFERENTIAL_SEED`: where to begin (1); each script has a seed of its own, which the report names.
//! * `SHARDD_DIFFERENTIAL_FAMILY`: only scripts of this family, e.g. `aggregate`.
//! * `SHARDD_UPDATE_DOCS=1`: adds new refusals to the list instead of failing.
//!
//! The whole report is written to `target/tmp/differential.txt` and `target/tmp/differential-postgres.txt`.

pub mod compare;
mod expressions;
mod known;
mod pair;
pub mod random;
mod reads;
mod refused;
mod schema;
mod shapes;
mod shrink;
mod values;
mod writes;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use self::compare::{Mode, Verdict, compare};
use self::pair::{Mismatch, Outcome, Pair, Refused};
use self::random::Random;
use self::writes::Script;
use crate::support::{Postgres, Shardd};

/// Mismatches of one kind that are shrunk; the others are only counted.
const SHRUNK_PER_KIND: usize = 2;
const SHRUNK_IN_ALL: usize = 60;
/// Writes change the rows that later statements find: after so many scripts they are made anew.
const SCRIPTS_PER_FIXTURE: usize = 150;
/// A test whose statements are mostly refused would show nothing.
const MOST_REFUSED_PERCENT: usize = 15;

fn number(variable: &str, default: usize) -> usize {
    std::env::var(variable).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// What a run found.
#[derive(Default)]
struct Tally {
    statements: usize,
    errors: BTreeMap<String, usize>,
    families: BTreeMap<&'static str, usize>,
    refused: Vec<(&'static str, Refused)>,
    mismatches: BTreeMap<String, Vec<(usize, Mismatch)>>,
    other_words: BTreeMap<(String, String), usize>,
}

impl Tally {
    fn add(&mut self, seed: usize, script: &Script, outcome: Outcome) {
        self.statements += outcome.statements;
        for error in outcome.errors {
            *self.errors.entry(error).or_default() += 1;
        }
        *self.families.entry(script.family).or_default() += outcome.statements;
        for words in outcome.other_words {
            *self.other_words.entry(words).or_default() += 1;
        }
        if let Some(refused) = outcome.refused {
            self.refused.push((script.family, refused));
        }
        if let Some(mismatch) = outcome.mismatch {
            self.mismatches.entry(mismatch.kind.clone()).or_default().push((seed, mismatch));
        }
    }

    fn error_count(&self) -> usize {
        self.errors.values().sum()
    }

    fn mismatch_count(&self) -> usize {
        self.mismatches.values().map(Vec::len).sum()
    }
}

fn generate(pair: &mut Pair, first_seed: usize, statements: usize) -> Tally {
    let only = std::env::var("SHARDD_DIFFERENTIAL_FAMILY").ok();
    let mut tally = Tally::default();
    let mut scripts = 0;
    let mut seed = first_seed.wrapping_mul(1_000_000);
    while tally.statements < statements {
        seed += 1;
        let mut random = Random::new(seed as u64);
        let script = Script::generate(&mut random, seed);
        if only.as_deref().is_some_and(|family| family != script.family) {
            continue;
        }
        scripts += 1;
        if scripts % SCRIPTS_PER_FIXTURE == 0 {
            pair.mark_dirty();
        }
        pair.restore();
        let modes = [Mode::Simple, Mode::Text(random.next()), Mode::Binary(random.next())];
        if script.steps.len() == 1 && script.steps[0].writes.is_none() {
            // A read is asked in every way, and counts once.
            for (position, mode) in modes.into_iter().enumerate() {
                let mut outcome = pair.run(&script, mode);
                outcome.statements = usize::from(position == 0);
                let settled = outcome.refused.is_some() || outcome.mismatch.is_some();
                tally.add(seed, &script, outcome);
                if settled {
                    break;
                }
            }
        } else {
            let outcome = pair.run(&script, random.pick(&modes));
            tally.add(seed, &script, outcome);
        }
    }
    tally
}

fn report(pair: &mut Pair, tally: &Tally) -> String {
    let mut text = String::new();
    let families: Vec<String> = tally.families.iter().map(|(family, count)| format!("{family} {count}")).collect();
    let _ = writeln!(text, "{} statements ({})", tally.statements, families.join(", "));
    let _ = writeln!(text, "\n{} ended in the same error on both:", tally.error_count());
    for (error, count) in &tally.errors {
        let _ = writeln!(text, "{count:6}  {error}");
    }
    let mut constructs: BTreeMap<&str, (usize, &str)> = BTreeMap::new();
    for (_, refused) in &tally.refused {
        constructs.entry(&refused.refusal.construct).or_insert((0, &refused.statement)).0 += 1;
    }
    let _ = writeln!(text, "\n{} refused, by construct:", tally.refused.len());
    for (construct, (count, statement)) in constructs {
        let _ = writeln!(text, "{count:6}  {construct}    e.g. {statement}");
    }
    let _ = writeln!(text, "\n{} errors with other words:", tally.other_words.values().sum::<usize>());
    for ((expected, got), count) in &tally.other_words {
        let _ = writeln!(text, "{count:6}  {expected}\n        {got}");
    }
    let mut kinds: Vec<_> = tally.mismatches.iter().collect();
    kinds.sort_by_key(|(_, found)| std::cmp::Reverse(found.len()));
    let _ = writeln!(text, "\n{} mismatches, by kind:", tally.mismatch_count());
    for (kind, found) in &kinds {
        let _ = writeln!(text, "{:6}  {kind}", found.len());
    }
    let mut shrunk = 0;
    for (kind, found) in &kinds {
        let _ = writeln!(text, "\n=== {kind} ({})", found.len());
        for (seed, mismatch) in found.iter().take(SHRUNK_PER_KIND) {
            let mut mismatch = mismatch.clone();
            if shrunk < SHRUNK_IN_ALL {
                shrunk += 1;
                mismatch.mode = shrink::plainest_mode(pair, &mismatch);
                mismatch = shrink::shrink(pair, mismatch);
            }
            let _ = writeln!(text, "-- seed {seed}, {}\n{}", mismatch.family, mismatch.report());
        }
    }
    text
}

/// The kinds of differences that are known and described; every other one fails. What a kind is too wide for is told apart
/// in [`known`].
const DIFFERENCES: &str = "docs/sql-differences.md";

fn read_known_differences() -> Vec<String> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(DIFFERENCES);
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` |"))
        .map(|(kind, _)| kind.to_owned())
        .collect()
}

/// What is compared with Postgres.
struct Subject {
    port: u16,
    statements: usize,
    report: &'static str,
    refused: refused::List,
    /// The kinds of differences that are known.
    known: Vec<String>,
}

fn compare_with(postgres: &Postgres, subject: &Subject) {
    let mut pair = Pair::new(postgres.port, subject.port);
    let statements = number("SHARDD_DIFFERENTIAL_STATEMENTS", subject.statements);
    let tally = generate(&mut pair, number("SHARDD_DIFFERENTIAL_SEED", 1), statements);
    let text = report(&mut pair, &tally);
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(subject.report);
    std::fs::write(&path, &text).expect("the report is written");
    println!("{text}");
    let unlisted = refused::check(subject.refused, &tally.refused);
    let new: Vec<_> = tally.mismatches.keys().filter(|kind| !subject.known.contains(kind)).collect();
    assert!(new.is_empty(), "differences that {DIFFERENCES} does not know: {new:#?}; see {}", path.display());
    assert!(unlisted.is_empty(), "refused, but not in {}: {unlisted:#?}", subject.refused.document);
    let percent = tally.refused.len() * 100 / tally.statements;
    assert!(percent <= MOST_REFUSED_PERCENT, "{percent} % of the statements were refused");
}

#[test]
fn shardd_answers_as_postgres_does() {
    let (postgres, shardd) = (Postgres::start(), Shardd::start());
    let subject = Subject {
        port: shardd.ports.postgres,
        statements: 2000,
        report: "differential.txt",
        refused: refused::SQLITE,
        known: read_known_differences(),
    };
    compare_with(&postgres, &subject);
}

/// Whatever shard answers is a Postgres itself: no difference is known.
#[test]
fn shardd_over_postgres_shards_answers_as_one_postgres_does() {
    let postgres = Postgres::start();
    let shardd = Shardd::start_over(&postgres);
    let subject = Subject {
        port: shardd.ports.postgres,
        statements: 1500,
        report: "differential-postgres.txt",
        refused: refused::POSTGRES,
        known: vec![known::RETURNING_ORDER.to_owned()],
    };
    compare_with(&postgres, &subject);
}

/// Two Postgres databases must never differ: a generated statement has one right answer.
#[test]
fn generated_statements_have_one_right_answer() {
    let (one, other) = (Postgres::start(), Postgres::start());
    let mut pair = Pair::new(one.port, other.port);
    let statements = number("SHARDD_DIFFERENTIAL_STATEMENTS", 2000) / 2;
    let tally = generate(&mut pair, number("SHARDD_DIFFERENTIAL_SEED", 1) + 500, statements);
    let text = report(&mut pair, &tally);
    assert!(tally.mismatches.is_empty(), "{text}");
    let percent = tally.error_count() * 100 / (tally.statements * 2);
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
