//! Sequences: what they count by, and whether two shards could give the same number.

use std::fmt::Write as _;

use super::{ShardSchema, TextRow, catalog, strange};
use crate::error::Result;
use crate::topology::SHARD_NUMBER_MAX;

/// What every shard's sequences step by: their remainders are the shards' numbers, so that no id is given twice.
const STEP: i64 = SHARD_NUMBER_MAX as i64;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sequence {
    pub data_type: String,
    pub start: i64,
    pub increment: i64,
    pub minimum: i64,
    pub maximum: i64,
    pub cycle: bool,
    /// shardd's user may read where it stands.
    pub readable: bool,
    /// Where it stands, once [`ShardSchema::set_positions`] told it.
    pub position: Option<i64>,
    /// The number where it stands was given out; told with it.
    pub given: bool,
}

impl Sequence {
    pub(super) fn read(raw: &catalog::Sequence) -> Sequence {
        Sequence {
            data_type: raw.data_type.clone(),
            start: raw.start,
            increment: raw.increment,
            minimum: raw.minimum,
            maximum: raw.maximum,
            cycle: raw.cycle,
            readable: raw.readable,
            position: None,
            given: false,
        }
    }

    /// Why this sequence can give a number that another shard's gives too; `None` when it cannot. `shard_number` is the
    /// shard's number for life.
    pub fn collides(&self, shard_number: u16) -> Option<String> {
        let wanted = i64::from(shard_number) % STEP;
        if self.increment % STEP != 0 {
            return Some(format!("steps by {}", self.increment));
        }
        // Before the position was asked for, it is where it began.
        let stands_at = self.position.unwrap_or(self.start);
        if stands_at.rem_euclid(STEP) != wanted {
            return Some(format!("stands at {stands_at}"));
        }
        let begins_again = if self.increment > 0 { self.minimum } else { self.maximum };
        (self.cycle && begins_again.rem_euclid(STEP) != wanted).then(|| format!("begins again at {begins_again}"))
    }

    /// How many numbers there are until the largest, at the step of ids.
    pub fn numbers_left(&self) -> i64 {
        let stands_at = self.position.unwrap_or(self.start);
        self.maximum.saturating_sub(stands_at) / STEP
    }

    /// The first number from where the sequence stands that is this shard's alone.
    pub fn next_own(&self, shard_number: u16) -> i64 {
        let stands_at = self.position.unwrap_or(self.start);
        let ahead = (i64::from(shard_number) - stands_at).rem_euclid(STEP);
        // One that stood at a number may have given it.
        stands_at.saturating_add(if ahead == 0 { STEP } else { ahead })
    }

    /// The first number that it has not given, whoever it is for.
    pub fn next(&self) -> i64 {
        self.position.unwrap_or(self.start).saturating_add(i64::from(self.given))
    }
}

impl ShardSchema {
    /// A query for where the sequences stand that fill columns: (name, position, whether that was given out) in each row.
    /// `None` when there are none that may be read.
    pub fn positions_query(&self) -> Option<String> {
        let used = self.tables.values().flat_map(|table| table.sequences.values());
        let readable = used.filter(|name| self.sequences.get(*name).is_some_and(|sequence| sequence.readable));
        let mut names: Vec<&String> = readable.collect();
        names.sort();
        names.dedup();
        let mut query = String::new();
        for name in names {
            let union = if query.is_empty() { "" } else { " UNION ALL " };
            // The name is quoted as an identifier already; as a string its quotes are doubled.
            let _ = write!(query, "{union}SELECT '{}', last_value, is_called FROM {name}", name.replace('\'', "''"));
        }
        (!query.is_empty()).then_some(query)
    }

    /// Takes the rows of [`ShardSchema::positions_query`].
    ///
    /// # Errors
    /// 08P01: the rows are not those of the query.
    pub fn set_positions(&mut self, rows: &[TextRow]) -> Result<()> {
        for row in rows {
            let [Some(name), Some(position), Some(given)] = row.as_slice() else {
                return Err(strange(&self.shard, "a sequence's position without name or value"));
            };
            let position = position.parse().map_err(|_| strange(&self.shard, format_args!("position {position}")))?;
            match self.sequences.get_mut(name) {
                Some(sequence) => {
                    sequence.position = Some(position);
                    sequence.given = given == "t";
                }
                None => return Err(strange(&self.shard, format_args!("a sequence {name}"))),
            }
        }
        Ok(())
    }
}
