//! Whether a move can be done, and what it needs on both shards before the first row is copied.

use super::super::guard;
use super::session::MovingSession;
use super::table::{self, MovedTable, ShardedTable};
use super::{PostgresMove, capture};
use crate::error::{Error, Result, SqlState};
use crate::topology::SlotSet;

/// How long making a trigger may make a table's writers wait.
const LOCK_TIMEOUT: &str = "SET LOCAL lock_timeout = '200ms'";

impl PostgresMove {
    /// Takes the move over on both shards, so that nobody who ran it before writes any more, and reads the tables.
    ///
    /// # Errors
    /// 0A000: a table cannot be moved. 55000: the shards differ, or the role may not do what a move does. Others may pass.
    pub async fn open(&mut self) -> Result<()> {
        self.token.take_over(&mut self.source).await?;
        self.token.take_over(&mut self.target).await?;
        let here = read(&mut self.source, &self.wanted).await?;
        let there = read(&mut self.target, &self.wanted).await?;
        if let Some((table, _)) = here.iter().zip(&there).find(|(here, there)| !here.is_like(there)) {
            let message = format!(
                "table \"{}\" has other columns, or another primary key, on shard \"{}\" than on shard \"{}\"",
                table.table.name,
                self.source.shard(),
                self.target.shard()
            );
            return Err(Error::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, message)
                .hint("`shardctl schema diff` shows how they differ."));
        }
        for (session, tables) in [(&mut self.source, &here), (&mut self.target, &there)] {
            let acts = tables.iter().find(|table| table.has_triggers);
            match (session.be_replica().await, acts) {
                (Err(error), Some(table)) if error.sqlstate() == SqlState::INSUFFICIENT_PRIVILEGE => {
                    return Err(may_not(session.shard(), &table.table.name));
                }
                // Nothing would act on what is written.
                (Err(error), None) if error.sqlstate() == SqlState::INSUFFICIENT_PRIVILEGE => {}
                (outcome, _) => outcome?,
            }
        }
        self.tables = here;
        Ok(())
    }

    /// Looks whether the taking shard has rows of the moving slots, puts guards where there are none, and makes the giving
    /// shard note changes. `owned`: the slots of the giving and the taking shard.
    ///
    /// # Errors
    /// 55000: it has such rows. 55P03: a table is written by a transaction that does not end; try again.
    pub async fn prepare(&mut self, owned: (&SlotSet, &SlotSet)) -> Result<()> {
        for table in &self.tables {
            let condition = table.in_slots("it", &self.slots);
            let query = format!("SELECT 1 FROM {} it WHERE {condition} LIMIT 1", table.sql_name());
            if !self.target.ask(&query).await?.is_empty() {
                let message = format!(
                    "shard \"{}\" has rows in table \"{}\" already that belong to shard \"{}\"",
                    self.target.shard(),
                    table.table.name,
                    self.source.shard()
                );
                return Err(Error::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, message)
                    .hint("`shardctl verify` finds rows that are not where they belong."));
            }
        }
        let unguarded = read(&mut self.target, &self.wanted).await?;
        guard_tables(&mut self.source, &self.tables, owned.0).await?;
        guard_tables(&mut self.target, &unguarded, owned.1).await?;
        for table in &self.tables {
            if self.source.ask(&capture::is_installed(self.id, table)).await?.is_empty() {
                self.token.begin(&mut self.source).await?;
                self.source.run(&format!("{LOCK_TIMEOUT}; {}", capture::install(self.id, table, &self.slots))).await?;
                self.source.commit().await?;
            }
        }
        Ok(())
    }

    /// Whether both shards' tables are still as they were read.
    ///
    /// # Errors
    /// A shard's.
    pub async fn tables_are_as_before(&mut self) -> Result<bool> {
        for session in [&mut self.source, &mut self.target] {
            let now = read(session, &self.wanted).await?;
            if !self.tables.iter().zip(&now).all(|(before, now)| before.is_like(now)) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// An estimate of how many rows and bytes the moving slots have, by the server's own statistics. `owned`: the slots of
    /// the giving shard.
    ///
    /// # Errors
    /// The shard's.
    pub async fn estimate(&mut self, owned: &SlotSet) -> Result<(u64, u64)> {
        let names: Vec<String> =
            self.wanted.iter().map(|table| super::super::session_state::quoted(&table.name)).collect();
        let query = format!(
            "SELECT COALESCE(sum(GREATEST(c.reltuples, 0)), 0)::int8, COALESCE(sum(pg_table_size(c.oid)), 0)::int8 FROM pg_class c \
             WHERE c.relnamespace = '{}'::regnamespace AND c.relkind = 'r' AND c.relname = ANY (ARRAY[{}]::text[])",
            table::SCHEMA,
            names.join(", ")
        );
        let rows = self.source.ask(&query).await?;
        let number = |place: usize| -> u64 {
            rows.first().and_then(|row| row.get(place)?.as_deref()?.parse().ok()).unwrap_or(0)
        };
        let share = |all: u64| all * u64::from(self.slots.len()) / u64::from(owned.len().max(1));
        Ok((share(number(0)), share(number(1))))
    }
}

pub(super) async fn read(session: &mut MovingSession, tables: &[ShardedTable]) -> Result<Vec<MovedTable>> {
    if tables.is_empty() {
        return Ok(Vec::new());
    }
    let rows = session.ask(&table::describe(tables)).await?;
    table::read(session.shard(), tables, &rows)
}

async fn guard_tables(session: &mut MovingSession, tables: &[MovedTable], owned: &SlotSet) -> Result<()> {
    for table in tables.iter().filter(|table| !table.is_guarded) {
        session.begin("BEGIN").await?;
        session.run(&format!("{LOCK_TIMEOUT}; {}", guard::install(&table.guarded(), owned))).await?;
        session.commit().await?;
    }
    Ok(())
}

fn may_not(shard: &str, table: &str) -> Error {
    let message = format!(
        "shard \"{shard}\" does not let a move keep the foreign keys and triggers of table \"{table}\" from acting on what it copies"
    );
    Error::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, message).hint(
        "GRANT SET ON PARAMETER session_replication_role to the role that shardd logs in as (Postgres 15 and later), or let it be \
         a superuser.",
    )
}
