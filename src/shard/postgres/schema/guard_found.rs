//! The guard that a table was found to have, and whether it is the one that it should have.

use std::fmt::Write as _;

use md5::{Digest, Md5};

use super::{ShardTable, catalog};
use crate::shard::postgres::guard::{self, Guarded};
use crate::topology::{SlotSet, Table, TableKind};

/// A trigger of the guard's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guard {
    /// Its function, as SQL names it.
    function: String,
    /// The md5 of the function's body.
    body: String,
    /// Of the table and its partitions, those where it does not fire always.
    resting: u32,
}

/// What is to be said of a table's guard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuardState {
    Right,
    Missing,
    /// It is disabled, or does not fire for all, on the table or a partition.
    Resting,
    /// It lets other rows through: of other slots, or by another column.
    Other,
    /// There is one on a table that needs none.
    Superfluous,
}

impl Guard {
    pub(super) fn read(raw: &catalog::Guard) -> Guard {
        Guard { function: raw.function.clone(), body: raw.body.clone(), resting: raw.resting }
    }
}

impl ShardTable {
    /// How its guard is, on a shard that owns these slots of its keyspace.
    pub fn guard_state(&self, owned: &SlotSet) -> GuardState {
        match (guarded(&self.table), &self.guard) {
            (None, None) => GuardState::Right,
            (None, Some(_)) => GuardState::Superfluous,
            (Some(_), None) => GuardState::Missing,
            (Some(guarded), Some(found)) => {
                let is_it = found.function == guard::function_of(guarded.schema, guarded.table)
                    && found.body == md5_of(&guard::body(&guarded, owned));
                match (is_it, found.resting) {
                    (false, _) => GuardState::Other,
                    (true, 0) => GuardState::Right,
                    (true, _) => GuardState::Resting,
                }
            }
        }
    }
}

/// What the guard of a sharded table needs to know; `None`: it is a reference table.
pub fn guarded(table: &Table) -> Option<Guarded<'_>> {
    let TableKind::Sharded { key_column, key_type } = table.kind else { return None };
    Some(Guarded { schema: "public", table: &table.name, key_column: &table.columns[key_column].name, key_type })
}

fn md5_of(text: &str) -> String {
    Md5::digest(text.as_bytes()).iter().fold(String::with_capacity(32), |mut digits, byte| {
        let _ = write!(digits, "{byte:02x}");
        digits
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_written_as_postgres_writes_it() {
        assert_eq!(md5_of(""), "d41d8cd98f00b204e9800998ecf8427e");
    }
}
