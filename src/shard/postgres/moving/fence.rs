//! The slots change hands: the giving shard's guards are closed, the decision is written on the taking shard, and where it says
//! no the guards are opened again.
//!
//! Why nothing is lost: a write to the moving rows holds its table's lock until it ends. So it has ended before the fence, and is
//! noted, or it meets the new guard and fails. After the fence nothing more is noted, so nothing noted means that both shards
//! have the same rows. The taking shard takes clients only after `own`, the giving one again only after `refused`, and one
//! primary key has room for one of them.

use std::time::Duration;

use super::super::guard;
use super::table;
use super::{PostgresMove, ShardedTable, capture, token};
use crate::error::{Error, Result, Retry, SqlState};
use crate::topology::SlotSet;

/// What has become of one attempt to cut over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The giving shard has its slots, and nothing is decided.
    Open,
    /// The giving shard refuses writes to the slots; nothing is decided.
    Fenced,
    /// The slots are the taking shard's.
    Own,
    /// The slots stay the giving shard's, which may still refuse writes to them.
    Refused,
}

impl PostgresMove {
    /// What has become of an attempt.
    ///
    /// # Errors
    /// A shard's.
    pub async fn fate(&mut self, attempt: u32) -> Result<Fate> {
        let name = self.token.literal();
        let decision = format!("SELECT outcome FROM shardd.move_decision WHERE move = {name} AND attempt = {attempt}");
        match self.target.ask(&decision).await?.first().and_then(|row| row.first()?.as_deref()) {
            Some("own") => return Ok(Fate::Own),
            Some(_) => return Ok(Fate::Refused),
            None => {}
        }
        let fence = self.source.ask(&format!("SELECT 1 FROM shardd.move_fence WHERE move = {name}")).await?;
        Ok(if fence.is_empty() { Fate::Open } else { Fate::Fenced })
    }

    /// Closes the giving shard's guards for the moving slots, once nobody is writing there. `left`: the slots that it keeps.
    ///
    /// # Errors
    /// 55P03: a transaction is in the way for longer than `wait`. 55000: a table has changed since the move began. Where the
    /// connection was lost, it may have happened: [`PostgresMove::fate`] tells.
    pub async fn fence(&mut self, attempt: u32, left: &SlotSet, wait: Duration) -> Result<()> {
        let fenced = self.lock_and_fence(attempt, left, wait).await;
        if fenced.is_err() {
            // The tables' locks are let go of at once.
            self.source.roll_back().await;
        }
        fenced
    }

    async fn lock_and_fence(&mut self, attempt: u32, left: &SlotSet, wait: Duration) -> Result<()> {
        self.token.begin(&mut self.source).await?;
        self.source
            .run(&format!("SET LOCAL lock_timeout = {}; {}", wait.as_millis().max(1), lock(&self.tables)))
            .await?;
        self.refuse_advisory_locks().await?;
        let rows = self.source.run(&table::describe(&self.wanted)).await?;
        let now = table::read(self.source.shard(), &self.wanted, &rows)?;
        let is_same = |(before, now): (&table::MovedTable, &table::MovedTable)| before.is_like(now) && now.is_guarded;
        if !self.tables.iter().zip(&now).all(is_same) || !self.still_notes_changes().await? {
            let message = format!("tables of shard \"{}\" have changed since the move began", self.source.shard());
            return Err(Error::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, message)
                .hint("Start the move again when their definitions stay as they are."));
        }
        for table in &self.tables {
            self.source.run(&guard::define(&table.guarded(), left)).await?;
        }
        self.source
            .run(&format!(
                "INSERT INTO shardd.move_fence (move, attempt) VALUES ({}, {attempt}) \
                 ON CONFLICT (move) DO UPDATE SET attempt = excluded.attempt",
                self.token.literal()
            ))
            .await?;
        self.source.commit().await
    }

    /// Within the transaction that has locked the tables.
    async fn still_notes_changes(&mut self) -> Result<bool> {
        for table in &self.tables {
            if self.source.run(&capture::is_installed(self.id, table)).await?.is_empty() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Who holds one beside a key must not meet another who takes it on the other shard.
    async fn refuse_advisory_locks(&mut self) -> Result<()> {
        let held = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND granted AND pid <> pg_backend_pid() \
             AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) LIMIT 1";
        match self.source.run(held).await?.is_empty() {
            true => Ok(()),
            false => Err(Error::new(SqlState::LOCK_NOT_AVAILABLE, "an advisory lock is in the way").retry(Retry::Safe)),
        }
    }

    /// Decides that the slots are the taking shard's, and opens its guards for them. `owned`: the slots that it has then. Gives
    /// what is decided: it may be the other before.
    ///
    /// # Errors
    /// As [`PostgresMove::fence`].
    pub async fn decide_to_own(&mut self, attempt: u32, owned: &SlotSet) -> Result<Fate> {
        let outcome = self.decide(attempt, "own").await?;
        if outcome == Fate::Own {
            for table in &self.tables {
                self.target.run(&guard::define(&table.guarded(), owned)).await?;
            }
        }
        self.target.commit().await?;
        Ok(outcome)
    }

    /// Decides that the slots stay where they are, unless it is decided otherwise. Gives what is decided.
    ///
    /// # Errors
    /// As [`PostgresMove::fence`].
    pub async fn refuse(&mut self, attempt: u32) -> Result<Fate> {
        let outcome = self.decide(attempt, "refused").await?;
        self.target.commit().await?;
        Ok(outcome)
    }

    /// Opens the giving shard's guards again, after `refused` was read. `owned`: its slots.
    ///
    /// # Errors
    /// As [`PostgresMove::fence`].
    pub async fn take_back(&mut self, owned: &SlotSet) -> Result<()> {
        self.token.begin(&mut self.source).await?;
        for table in &self.tables {
            self.source.run(&guard::define(&table.guarded(), owned)).await?;
        }
        self.source.run(&format!("DELETE FROM shardd.move_fence WHERE move = {}", self.token.literal())).await?;
        self.source.commit().await
    }

    /// Makes the guards what the catalog says once the slots have changed hands, whatever was made of them meanwhile: the giving
    /// shard keeps `left`, the taking one has `owned`. Then nothing more is noted, ever.
    ///
    /// # Errors
    /// 55P03: a transaction is in the way; try again. 55000: rows were written on the giving shard after the slots had changed
    /// hands, round shardd: they are not deleted.
    pub async fn confirm(&mut self, left: &SlotSet, owned: &SlotSet) -> Result<()> {
        self.token.begin(&mut self.source).await?;
        self.source.run(&format!("SET LOCAL lock_timeout = '200ms'; {}", lock(&self.tables))).await?;
        for table in &self.tables {
            self.source.run(&guard::define(&table.guarded(), left)).await?;
        }
        self.source.commit().await?;
        self.token.begin(&mut self.target).await?;
        for table in &self.tables {
            self.target.run(&guard::define(&table.guarded(), owned)).await?;
        }
        self.target.commit().await?;
        if self.is_capturing().await? && !self.is_caught_up().await? {
            let message = format!("shard \"{}\" was written to after it had given its slots away", self.source.shard());
            return Err(Error::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, message)
                .hint("The keys of the rows are in its schema shardd. Somebody has changed the guards there."));
        }
        Ok(())
    }

    /// Gives tables that were made during the move guards with all slots of their shards: until now nobody's guard had the moving
    /// ones there. `owned`: the slots of the giving and the taking shard.
    ///
    /// # Errors
    /// A shard's.
    pub async fn guard_new(&mut self, tables: &[ShardedTable], owned: (&SlotSet, &SlotSet)) -> Result<()> {
        let new: Vec<_> = tables.iter().filter(|table| !self.wanted.contains(table)).collect();
        for (session, slots) in [(&mut self.source, owned.0), (&mut self.target, owned.1)] {
            for table in &new {
                self.token.begin(session).await?;
                session.run(&guard::define(&table.guarded(), slots)).await?;
                session.commit().await?;
            }
        }
        Ok(())
    }

    /// In a transaction that stays open.
    async fn decide(&mut self, attempt: u32, outcome: &str) -> Result<Fate> {
        self.token.begin(&mut self.target).await?;
        let name = self.token.literal();
        self.target
            .run(&format!(
                "INSERT INTO shardd.move_decision (move, attempt, outcome) VALUES ({name}, {attempt}, '{outcome}') \
                 ON CONFLICT DO NOTHING"
            ))
            .await?;
        let read = format!("SELECT outcome FROM shardd.move_decision WHERE move = {name} AND attempt = {attempt}");
        match self.target.run(&read).await?.first().and_then(|row| row.first()?.as_deref()) {
            Some("own") => Ok(Fate::Own),
            Some(_) => Ok(Fate::Refused),
            None => Err(token::taken_over(&self.token.name)),
        }
    }
}

/// Waits for all who write, and lets nobody write until the transaction ends; readers are let be.
fn lock(tables: &[table::MovedTable]) -> String {
    let names: Vec<String> = tables.iter().map(table::MovedTable::sql_name).collect();
    match names.is_empty() {
        true => "SELECT".to_owned(),
        false => format!("LOCK TABLE {} IN EXCLUSIVE MODE", names.join(", ")),
    }
}
