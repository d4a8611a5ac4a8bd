//! The fuzz targets without a fuzzer: over their corpus, over what the repository has of SQL, and over mutations of both.
//!
//! * `SHARDD_FUZZ_MUTATIONS`: how many inputs are made for each target, beside those that are kept.
//! * `SHARDD_FUZZ_SEED`: where to begin (1).
//!
//! A failure names the input; put it into the corpus (`fuzz/corpus`) under a name that says what it showed. Where the process
//! itself ends or hangs, the input is in `target/tmp/fuzz-<target>`.

mod mutate;
#[path = "../../../fuzz/src/targets/mod.rs"]
mod targets;

use std::io::{Seek, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use self::mutate::mutated;
use crate::differential::random::Random;
use crate::support::{read, root};

/// As small as the stacks on which clients are served.
const STACK_BYTES: usize = 2 << 20;

fn number(variable: &str, default: usize) -> usize {
    std::env::var(variable).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// The inputs that are kept, in the order of their names.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let directory = root().join("fuzz/corpus").join(target);
    let mut paths: Vec<_> = std::fs::read_dir(&directory)
        .unwrap_or_else(|error| panic!("{}: {error}", directory.display()))
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    let inputs: Vec<Vec<u8>> = paths.iter().map(|path| std::fs::read(path).expect("read")).collect();
    assert!(inputs.len() >= 10, "{} has too little to begin with", directory.display());
    inputs
}

/// Runs a target over its corpus, `more`, and mutations of both.
fn replay(target: &str, mutations: usize, more: Vec<Vec<u8>>, words: &'static [&'static [u8]], run: fn(&[u8])) {
    let mut inputs = corpus(target);
    inputs.extend(more);
    let (mutations, seed) = (number("SHARDD_FUZZ_MUTATIONS", mutations), number("SHARDD_FUZZ_SEED", 1));
    let last = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{target}"));
    let mut last = std::fs::File::create(last).expect("a file");
    let work = move || {
        let mut random = Random::new(seed as u64);
        let made = (0..mutations).map(|_| mutated(&inputs, words, &mut random));
        for input in inputs.iter().cloned().chain(made) {
            last.rewind().and_then(|()| last.set_len(0)).and_then(|()| last.write_all(&input)).expect("written");
            if catch_unwind(AssertUnwindSafe(|| run(&input))).is_err() {
                panic!("the input was b\"{}\"", input.escape_ascii());
            }
        }
    };
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(work).expect("a thread");
    assert!(thread.join().is_ok(), "see above");
}

/// Lengths and counts that are at a limit or past it.
const LENGTHS: &[&[u8]] = &[
    b"\0\0\0\0",
    b"\0\0\0\x03",
    b"\0\0\0\x04",
    b"\0\0\0\x05",
    b"\0\0\0\x08",
    b"\0\0\x27\x10",
    b"\0\0\x27\x11",
    b"\x40\0\0\0",
    b"\x7f\xff\xff\xff",
    b"\x80\0\0\0",
    b"\xff\xff\xff\xff",
    b"\0\0",
    b"\0\x01",
    b"\x7f\xff",
    b"\xff\xff",
    b"\0",
    b"\xc3\x28",
    b"\xc3\xa4",
];

/// What means something in one of COPY's forms.
const COPY_WORDS: &[&[u8]] = &[
    b"\t",
    b"\n",
    b"\r",
    b"\r\n",
    b"\\",
    b"\\N",
    b"\\.",
    b"\\.\n",
    b"\\x4",
    b"\\101",
    b",",
    b"\"",
    b"\"\"",
    b"\\\"",
    b"\0\x03",
    b"\0\0\0\x01",
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\xff\xff",
    b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0",
    b"D\0\0\0\x0a\0\x01\xff\xff\xff\xff",
];

const SQL_WORDS: &[&[u8]] = &[
    b"'",
    b"''",
    b"\\'",
    b"\"",
    b"E'",
    b"U&'",
    b"U&\"",
    b"N'",
    b"x'",
    b"b'",
    b"$$",
    b"$a$",
    b"$1",
    b"$0",
    b"$65536",
    b"--",
    b"\n",
    b"\r",
    b"/*",
    b"*/",
    b";",
    b"(",
    b")",
    b"[",
    b"]",
    b",",
    b".",
    b"..",
    b"::",
    b":=",
    b":",
    b"+",
    b"-",
    b"*",
    b"/",
    b"=",
    b"<>",
    b"||",
    b"->>",
    b"@>",
    b"?",
    b"0x",
    b"1e5",
    b"1_000",
    b".5",
    b"2147483648",
    b"-9223372036854775808",
    b" SELECT ",
    b" FROM ",
    b" WHERE ",
    b" AND ",
    b" NOT ",
    b" CASE WHEN ",
    b" IN (",
    b" ORDER BY ",
    b" GROUP BY ",
    b" LIMIT ",
    b" AS ",
    b" UNION ",
    b" interval '",
    b" date '",
    b" UESCAPE '!'",
    b" ARRAY[",
    b" VALUES (",
    b" INSERT INTO ",
    b" ON CONFLICT ",
    b" RETURNING ",
    b" BEGIN ATOMIC ",
    b" OVER (",
    b" numeric(",
    b"\xc3\xa4",
    b"\xf0\x9f\x8e\xab",
    b"\0",
    b" IS DISTINCT FROM ",
    b" SET ",
    b" SHOW ",
    b" EXPLAIN ",
    b" PREPARE a AS ",
    b" EXECUTE a(",
    b" DECLARE c CURSOR FOR ",
];

#[test]
fn what_opens_a_connection_is_read_or_refused() {
    replay("client_startup", 100_000, Vec::new(), LENGTHS, targets::client_startup);
}

#[test]
fn what_clients_send_is_read_or_refused() {
    replay("client_session", 100_000, Vec::new(), LENGTHS, targets::client_session);
}

#[test]
fn values_are_read_or_refused_and_read_again() {
    replay("client_values", 20_000, Vec::new(), LENGTHS, targets::client_values);
}

#[test]
fn rows_of_a_copy_are_found_wherever_they_are_cut() {
    replay("copy_rows", 50_000, Vec::new(), COPY_WORDS, targets::copy_rows);
}

#[test]
fn what_shards_answer_is_read_or_refused() {
    replay("shard_answers", 100_000, Vec::new(), LENGTHS, targets::shard_answers);
}

#[test]
fn texts_are_read_as_they_are_or_refused() {
    replay("sql_text", 5_000, sql_of_the_repository(), SQL_WORDS, targets::sql_text);
}

/// Statements that other tests run.
fn sql_of_the_repository() -> Vec<Vec<u8>> {
    let files = [
        "tests/drivers/schema.sql",
        "tests/fixtures/catalog_questions.sql",
        "tests/drivers/psql_flow.sql",
        "docs/sql.md",
    ];
    let texts = files.map(read);
    texts.iter().flat_map(|text| text.split("\n\n")).map(|text| text.as_bytes().to_vec()).collect()
}
