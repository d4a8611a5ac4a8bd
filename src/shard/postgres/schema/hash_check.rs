//! Whether a shard hashes keys as shardd does.
//!
//! Rows are routed by shardd's own hash, and selected, guarded and moved by the shard's. A server whose answers differ
//! (another version's function, a big-endian machine, a database that is not Postgres) can be no shard.

use std::fmt::Write as _;

use super::TextRow;
use crate::error::{Error, Fault, Result, SqlState};
use crate::topology::hash::{SLOT_HASH_SEED, hash_bigint, hash_text, hash_uuid};

const BIGINTS: [i64; 10] =
    [0, 1, -1, 7, 42, i64::MIN, i64::MAX, i32::MIN as i64, i32::MAX as i64, 0x0123_4567_89ab_cdef];

/// Every length of the hash's tail, more than one block, and characters of one to four bytes.
const TEXTS: [&str; 16] = [
    "",
    "a",
    "ab",
    "abc",
    "abcd",
    "abcde",
    "abcdef",
    "abcdefg",
    "abcdefgh",
    "abcdefghi",
    "abcdefghij",
    "abcdefghijk",
    "abcdefghijkl",
    "abcdefghijklmnopqrstuvwxyz",
    "\u{e9}\u{20ac}\u{1f3ab}",
    "O'Neill \"and\" Straße",
];

const UUIDS: [u128; 4] =
    [0, u128::MAX, 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef, 0xa0ee_bc99_9c0b_4ef8_bb6d_6bb9_bd38_0a11];

/// One row for each test key: (type, key, hash).
pub fn query() -> String {
    let mut query = String::new();
    for (key_type, key, _) in expected() {
        let union = if query.is_empty() { "" } else { " UNION ALL " };
        let _ = write!(query, "{union}SELECT '{key_type}', '{key}', ({})::pg_catalog.text", hashed(key_type, &key));
    }
    query
}

/// The shard's hash of a key, which is hexadecimal except for bigints: no encoding or quote can change it on its way.
fn hashed(key_type: &str, key: &str) -> String {
    match key_type {
        "bigint" => format!("pg_catalog.hashint8extended('{key}'::pg_catalog.int8, {SLOT_HASH_SEED})"),
        "text" => format!(
            "pg_catalog.hashtextextended(pg_catalog.convert_from(pg_catalog.decode('{key}', 'hex'), 'UTF8') \
             COLLATE pg_catalog.\"C\", {SLOT_HASH_SEED})"
        ),
        _ => format!("pg_catalog.uuid_hash_extended('{key}'::pg_catalog.uuid, {SLOT_HASH_SEED})"),
    }
}

/// (type, key, hash), in the order of the query.
fn expected() -> impl Iterator<Item = (&'static str, String, i64)> {
    let bigints = BIGINTS.into_iter().map(|key| ("bigint", key.to_string(), hash_bigint(key)));
    let texts = TEXTS.into_iter().map(|key| ("text", hexadecimal(key.as_bytes()), hash_text(key)));
    let uuids = UUIDS.into_iter().map(u128::to_be_bytes).map(|key| ("uuid", hexadecimal(&key), hash_uuid(&key)));
    bigints.chain(texts).chain(uuids).map(|(key_type, key, hash)| (key_type, key, hash as i64))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Compares the rows of [`query`] with shardd's own hashes.
///
/// # Errors
/// 55000, the shard's fault: a hash differs or is missing.
pub fn check(shard: &str, rows: &[TextRow]) -> Result<()> {
    let wrong = |what: String| {
        Error::new(
            SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("the database of shard \"{shard}\" does not hash keys as shardd does: {what}"),
        )
        .hint("Rows would be looked for where they are not, so it cannot be a shard. Use a Postgres server of version 12 or later.")
        .fault(Fault::Shard)
    };
    let count = expected().count();
    if rows.len() != count {
        return Err(wrong(format!("it answered with {} hashes instead of {count}", rows.len())));
    }
    for (row, (key_type, key, hash)) in rows.iter().zip(expected()) {
        let [Some(found_type), Some(found_key), Some(found)] = row.as_slice() else {
            return Err(wrong(format!("it has no hash of the {key_type} {key}")));
        };
        if (found_type.as_str(), found_key) != (key_type, &key) || *found != hash.to_string() {
            return Err(wrong(format!("the hash of the {key_type} {key} is {found} there and {hash} here")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn right() -> Vec<TextRow> {
        let rows = expected().map(|(key_type, key, hash)| [key_type.to_owned(), key, hash.to_string()]);
        rows.map(|row| row.into_iter().map(Some).collect()).collect()
    }

    #[test]
    fn a_shard_that_hashes_alike_passes() {
        assert_eq!(check("s1", &right()), Ok(()));
    }

    #[test]
    fn one_other_hash_refuses_the_shard() {
        let mut rows = right();
        rows[3][2] = Some("12".to_owned());
        let error = check("s1", &rows).unwrap_err();
        assert!(
            error.message().contains("the hash of the bigint 7 is 12 there and 490696581844638801 here"),
            "{error}"
        );
        assert_eq!(error.get_fault(), Fault::Shard);
        assert!(check("s1", &right()[1..]).is_err());
        rows[3][2] = None;
        assert!(check("s1", &rows).is_err());
    }
}
