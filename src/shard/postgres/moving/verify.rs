//! Comparing the moving rows of both shards, by checksums of ranges of the primary key, and row by row where those differ.
//!
//! What the giving shard says of a range is of one snapshot: its rows, and the keys that are noted and not caught up with. The
//! taking shard is changed by the move alone. So everything that differs and is not noted is a mistake, and no row has to be
//! looked at twice.

use std::collections::{BTreeMap, BTreeSet};

use super::table::{KeyText, MovedTable, lines};
use super::{PostgresMove, capture};
use crate::error::{Error, Fault, Result, SqlState};

const RANGE_ROWS: u64 = 10_000;

/// A snapshot that lasts for the statements on one range.
const SNAPSHOT: &str = "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY";

impl PostgresMove {
    /// Compares all rows. Only once every table is copied, and while nothing else works on the move.
    ///
    /// # Errors
    /// XX001: they differ, and where. Or a shard's.
    pub async fn verify(&mut self) -> Result<()> {
        for table in self.tables.clone() {
            let mut after: Option<KeyText> = None;
            loop {
                after = self.verify_range(&table, after.as_ref()).await?;
                if after.is_none() {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Compares the rows after a key. Gives the last one's key, if there may be more.
    async fn verify_range(&mut self, table: &MovedTable, after: Option<&KeyText>) -> Result<Option<KeyText>> {
        let moving = table.in_slots("it", &self.slots);
        let begin = after.map_or("true".to_owned(), |key| table.key_compares("it", ">", key));
        self.source.begin(SNAPSHOT).await?;
        let end = format!(
            "COPY (SELECT {} FROM {} it WHERE {begin} AND {moving} ORDER BY {} OFFSET {} LIMIT 1) TO STDOUT",
            table.columns("it"),
            table.sql_name(),
            table.key("it"),
            RANGE_ROWS - 1,
        );
        let end = self.source.copy_out(&end, usize::MAX).await?.unwrap_or_default();
        let end: Option<KeyText> = lines(&end).next().map(|line| table.key_of_line(&line));
        let until = end.as_ref().map_or("true".to_owned(), |key| table.key_compares("it", "<=", key));
        let range = format!("FROM {} it WHERE {begin} AND {until} AND {moving}", table.sql_name());
        let sum = format!("SELECT count(*), COALESCE(sum({}::numeric), 0) {range}", table.row_hash("it"));
        let here = self.source.run(&sum).await?;
        let there = self.target.ask(&sum).await?;
        if here != there {
            self.compare_rows(table, &begin, &until, &range).await?;
        }
        self.source.commit().await?;
        Ok(end)
    }

    async fn compare_rows(&mut self, table: &MovedTable, begin: &str, until: &str, range: &str) -> Result<()> {
        let rows = format!("COPY (SELECT {}, {} {range}) TO STDOUT", table.row_hash("it"), table.key("it"));
        let noted = format!(
            "COPY (SELECT DISTINCT {} FROM {} it WHERE {begin} AND {until}) TO STDOUT",
            table.key("it"),
            capture::dirty_table(self.id, table)
        );
        let here = self.source.copy_out(&rows, usize::MAX).await?.unwrap_or_default();
        let noted = self.source.copy_out(&noted, usize::MAX).await?.unwrap_or_default();
        self.target.open().await?;
        let there = self.target.copy_out(&rows, usize::MAX).await?.unwrap_or_default();
        let noted: BTreeSet<String> = lines(&noted).map(std::borrow::Cow::into_owned).collect();
        let (here, there) = (by_key(&here), by_key(&there));
        let differ = |key: &&String| here.get(*key) != there.get(*key) && !noted.contains(*key);
        let wrong: BTreeSet<&String> = here.keys().chain(there.keys()).filter(differ).collect();
        match wrong.first() {
            None => Ok(()),
            Some(first) => Err(self.unlike(table, wrong.len(), first)),
        }
    }

    fn unlike(&self, table: &MovedTable, count: usize, first: &str) -> Error {
        let message = format!(
            "{count} rows of table \"{}\" on shard \"{}\" are not what they are on shard \"{}\"; the first has the primary key ({})",
            table.table.name,
            self.target.shard(),
            self.source.shard(),
            first.replace('\t', ", ")
        );
        Error::new(SqlState::DATA_CORRUPTED, message).fault(Fault::Shard).hint(
            "The move was given up, and nothing is lost: the rows are served by the shard that they are on. Find out who else \
             writes to the other one.",
        )
    }
}

/// Hashes by key.
fn by_key(copied: &[u8]) -> BTreeMap<String, String> {
    let pair = |line: std::borrow::Cow<'_, str>| {
        let (hash, key) = line.split_once('\t')?;
        Some((key.to_owned(), hash.to_owned()))
    };
    lines(copied).filter_map(pair).collect()
}
