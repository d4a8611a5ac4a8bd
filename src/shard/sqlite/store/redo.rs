//! A shard's part in a commit that spans shards: what to do again, and which parts were done.
//!
//! The record in the catalog holds each shard's steps as bytes. A shard notes the record's id in `shardd_applied` with
//! the same commit that does its part, so that doing it again does nothing.

use std::time::{SystemTime, UNIX_EPOCH};

use rusqlite::Connection;

use crate::error::{Error, Fault, Result, SqlState};

/// One step of a shard's part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedoStep {
    /// SQLite's text, as it is: a change of the schema.
    Statements(Vec<String>),
    /// A changeset of rows.
    Changes(Vec<u8>),
}

const STATEMENTS: u8 = b'S';
const CHANGES: u8 = b'C';

/// The layout of the bytes.
const VERSION: u8 = 1;

impl RedoStep {
    /// A version, then each step: its kind, how many pieces it has, and each piece with its length before it. Numbers
    /// are 64 bits wide, big endian.
    pub fn encode(steps: &[RedoStep]) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        for step in steps {
            match step {
                RedoStep::Statements(statements) => {
                    bytes.push(STATEMENTS);
                    put_number(&mut bytes, statements.len());
                    for statement in statements {
                        put_piece(&mut bytes, statement.as_bytes());
                    }
                }
                RedoStep::Changes(changes) => {
                    bytes.push(CHANGES);
                    put_number(&mut bytes, 1);
                    put_piece(&mut bytes, changes);
                }
            }
        }
        bytes
    }

    /// # Errors
    /// The bytes are not what [`RedoStep::encode`] writes.
    pub fn decode(bytes: &[u8]) -> Result<Vec<RedoStep>> {
        decode(bytes).ok_or_else(|| {
            Error::new(SqlState::DATA_CORRUPTED, "a redo record in the catalog cannot be read")
                .hint("Start the version of shardd that wrote it, or restore a backup of the whole data directory.")
                .fault(Fault::Shard)
        })
    }
}

fn put_number(bytes: &mut Vec<u8>, number: usize) {
    bytes.extend_from_slice(&(number as u64).to_be_bytes());
}

fn put_piece(bytes: &mut Vec<u8>, piece: &[u8]) {
    put_number(bytes, piece.len());
    bytes.extend_from_slice(piece);
}

fn decode(bytes: &[u8]) -> Option<Vec<RedoStep>> {
    let (&version, mut rest) = bytes.split_first()?;
    if version != VERSION {
        return None;
    }
    let mut steps = Vec::new();
    while let Some((&kind, after)) = rest.split_first() {
        rest = after;
        let count = take_number(&mut rest)?;
        match kind {
            STATEMENTS => {
                let mut statements = Vec::new();
                for _ in 0..count {
                    statements.push(String::from_utf8(take_piece(&mut rest)?.to_vec()).ok()?);
                }
                steps.push(RedoStep::Statements(statements));
            }
            CHANGES if count == 1 => steps.push(RedoStep::Changes(take_piece(&mut rest)?.to_vec())),
            _ => return None,
        }
    }
    Some(steps)
}

fn take_number(rest: &mut &[u8]) -> Option<usize> {
    let (number, after) = rest.split_first_chunk::<8>()?;
    *rest = after;
    usize::try_from(u64::from_be_bytes(*number)).ok()
}

fn take_piece<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = take_number(rest)?;
    let (piece, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(piece)
}

/// Notes `gid` in the open transaction. `false`: it was there.
pub(super) fn mark(connection: &Connection, gid: &str) -> rusqlite::Result<bool> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let inserted = connection
        .prepare_cached("INSERT INTO shardd_applied (gid, at) VALUES (?1, ?2) ON CONFLICT DO NOTHING")?
        .execute((gid, i64::try_from(now).unwrap_or(i64::MAX)))?;
    Ok(inserted > 0)
}

/// Forgets marks whose records are finished.
pub(super) fn forget(connection: &Connection, gids: &[String]) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached("DELETE FROM shardd_applied WHERE gid = ?1")?;
    for gid in gids {
        statement.execute([gid])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::RedoStep;

    #[test]
    fn steps_survive_their_bytes() {
        let steps = vec![
            RedoStep::Statements(vec!["CREATE TABLE a (x INTEGER)".to_owned(), String::new()]),
            RedoStep::Changes(vec![0, 1, 255]),
            RedoStep::Changes(Vec::new()),
            RedoStep::Statements(Vec::new()),
        ];
        let bytes = RedoStep::encode(&steps);
        assert_eq!(RedoStep::decode(&bytes).unwrap(), steps);
        assert_eq!(RedoStep::decode(&RedoStep::encode(&[])).unwrap(), []);
    }

    #[test]
    fn bytes_that_were_cut_or_changed_are_refused() {
        let whole = RedoStep::encode(&[RedoStep::Changes(vec![7; 20])]);
        for end in 0..whole.len() {
            // The version alone is a record without steps.
            assert!(end == 1 || RedoStep::decode(&whole[..end]).is_err(), "cut at {end}");
        }
        for (at, value) in [(0, 9), (1, b'X'), (2, 255), (10, 255)] {
            let mut changed = whole.clone();
            changed[at] = value;
            assert!(RedoStep::decode(&changed).is_err(), "{value} at {at}");
        }
    }
}
