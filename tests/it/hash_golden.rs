//! The slot hash, compared with Postgres's own: 10,000 random values of each key type.
//!
//! The committed vectors (`tests/fixtures/slot_hashes.tsv`) hold everywhere; this test shows that a real server still agrees.

use shardd::topology::hash::{SLOT_HASH_SEED, hash_bigint, hash_text, hash_uuid};
use shardd::topology::slot_of;
use shardd::types::Key;

use crate::support::Postgres;
use crate::support::client::Client;

const VALUES: usize = 10_000;
const BATCH: usize = 1_000;

/// SplitMix64: the same values in every run, so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Of every magnitude, negative ones too.
    fn bigint(&mut self) -> i64 {
        let shift = self.next() % 64;
        (self.next() as i64) >> shift
    }

    /// 0 to 40 characters of one to four bytes.
    fn text(&mut self) -> String {
        let length = self.next() % 41;
        (0..length)
            .map(|_| {
                let limit = [0x7f, 0x7f, 0x7ff, 0xffff, 0x10_ffff][(self.next() % 5) as usize];
                char::from_u32(1 + (self.next() % limit) as u32).unwrap_or('\'')
            })
            .collect()
    }

    fn uuid(&mut self) -> [u8; 16] {
        (u128::from(self.next()) << 64 | u128::from(self.next())).to_be_bytes()
    }
}

/// Postgres's hashes of the literals, in order.
fn hashes_of(client: &mut Client, expression: &str, literals: &[String]) -> Vec<u64> {
    let mut hashes = Vec::new();
    for batch in literals.chunks(BATCH) {
        let rows: Vec<String> =
            batch.iter().enumerate().map(|(number, literal)| format!("({number}, {literal})")).collect();
        let answer = client.query(&format!(
            "SELECT {expression} FROM (VALUES {}) AS t (number, key) ORDER BY number",
            rows.join(", ")
        ));
        hashes.extend(answer.texts().into_iter().map(|row| {
            let hash: i64 = row[0].as_ref().expect("a hash").parse().expect("a bigint");
            hash as u64
        }));
    }
    assert_eq!(hashes.len(), literals.len());
    hashes
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn slots_hash_as_postgres_hashes() {
    let postgres = Postgres::start();
    let mut client = postgres.client();
    let mut random = Random(SLOT_HASH_SEED);

    let mut bigints = vec![0, 1, -1, 7, i64::MIN, i64::MAX, i64::from(i32::MIN), i64::from(i32::MAX)];
    bigints.resize_with(VALUES, || random.bigint());
    let literals: Vec<String> = bigints.iter().map(|key| format!("'{key}'::bigint")).collect();
    let expected = hashes_of(&mut client, &format!("hashint8extended(key, {SLOT_HASH_SEED})"), &literals);
    for (key, expected) in bigints.iter().zip(expected) {
        assert_eq!(hash_bigint(*key), expected, "bigint {key}");
    }

    // Smaller integers must find the same slot through Postgres's own functions for them.
    for (type_name, function) in [("integer", "hashint4extended"), ("smallint", "hashint2extended")] {
        let small: Vec<i16> = (0..BATCH).map(|_| random.next() as i16).collect();
        let literals: Vec<String> = small.iter().map(|key| format!("'{key}'::{type_name}")).collect();
        let expected = hashes_of(&mut client, &format!("{function}(key, {SLOT_HASH_SEED})"), &literals);
        for (key, expected) in small.iter().zip(expected) {
            assert_eq!(hash_bigint(i64::from(*key)), expected, "{type_name} {key}");
        }
    }

    let mut texts = vec![String::new(), "a".to_owned(), "é".to_owned(), "x".repeat(100_000)];
    texts.resize_with(VALUES, || random.text());
    let literals: Vec<String> = texts.iter().map(|key| quoted(key)).collect();
    let expression = format!("hashtextextended(key COLLATE \"C\", {SLOT_HASH_SEED})");
    for (key, expected) in texts.iter().zip(hashes_of(&mut client, &expression, &literals)) {
        assert_eq!(hash_text(key), expected, "text {key:?}");
    }

    let mut uuids = vec![[0; 16], [0xff; 16]];
    uuids.resize_with(VALUES, || random.uuid());
    let literals: Vec<String> = uuids.iter().map(|key| format!("'{}'::uuid", hex(key))).collect();
    let expression = format!("uuid_hash_extended(key, {SLOT_HASH_SEED})");
    for (key, expected) in uuids.iter().zip(hashes_of(&mut client, &expression, &literals)) {
        assert_eq!(hash_uuid(key), expected, "uuid {}", hex(key));
    }
}

#[test]
fn a_slot_can_be_selected_in_plain_sql() {
    let postgres = Postgres::start();
    let mut client = postgres.client();
    let slot = slot_of(&Key::Bigint(42));
    // Shifting right keeps the sign: the mask takes it off.
    let answer = client.query(&format!(
        "SELECT min(key) FROM generate_series(42, 100000) AS key
         WHERE (hashint8extended(key, {SLOT_HASH_SEED}) >> 50) & 16383 = {slot}"
    ));
    assert_eq!(answer.value(), "42");
}
