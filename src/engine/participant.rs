//! A shard's part of a transaction: what runs there, and what it did.

use std::sync::Arc;

use super::Engine;
use super::deadlock::{Party, WriterParty};
use super::write::held;
use crate::error::{Error, Result};
use crate::shard::postgres::{CopyStream, SessionSettings};
use crate::shard::sqlite::RedoStep;
use crate::shard::{Call, Output, ShardTransaction, Written};
use crate::types::ShardId;

/// A shard that has an open transaction of its own for this one.
#[derive(Debug)]
pub(super) struct Participant {
    pub(super) shard: ShardId,
    pub(super) transaction: ShardTransaction,
    pub(super) writes: bool,
    /// What it did, in order, except what is still being recorded.
    pub(super) steps: Vec<RedoStep>,
    /// Once there are several participants on Postgres shards: who waits for whom is looked at.
    pub(super) party: Option<Arc<Party>>,
    /// A snapshot on a SQLite shard, whose next write takes the writer.
    pub(super) taking: Option<Arc<WriterParty>>,
    /// Its place among the shard's transactions.
    pub(super) turn: Arc<()>,
}

impl Participant {
    pub(super) fn new(engine: &Engine, shard: ShardId, transaction: ShardTransaction) -> Participant {
        let turn = engine.live.transactions(shard).take();
        Participant { shard, transaction, writes: false, steps: Vec::new(), party: None, taking: None, turn }
    }

    /// Runs one statement.
    ///
    /// # Errors
    /// As [`ShardTransaction::run`]; 40P01 when it waited for a transaction that waits for this one.
    pub(super) async fn run(&mut self, call: Call) -> Result<Output> {
        let Some(party) = self.party.clone() else {
            let output = self.transaction.run(call).await;
            if let Some(writers) = self.taking.take() {
                writers.holds(self.shard);
            }
            return output;
        };
        self.note_process(&party);
        Box::pin(party.watch(self.transaction.run(call))).await.map_err(|error| party.reason_of(error))
    }

    /// Runs a change of the schema in the client's own text, and gives the notices that it raised.
    ///
    /// # Errors
    /// As [`Participant::run`].
    pub(super) async fn run_told(&mut self, text: &str) -> Result<Vec<Error>> {
        let Some(party) = self.party.clone() else { return self.transaction.postgres()?.run_told(text).await };
        self.note_process(&party);
        let told = party.watch(self.transaction.postgres()?.run_told(text)).await;
        told.map_err(|error| party.reason_of(error))
    }

    /// Begins a COPY FROM STDIN in the client's own text.
    ///
    /// # Errors
    /// As [`Participant::run`].
    pub(super) async fn begin_copy(&mut self, text: &str, settings: &Arc<SessionSettings>) -> Result<CopyStream> {
        let party = self.party.clone();
        if let Some(party) = &party {
            self.note_process(party);
        }
        let beginning = self.transaction.postgres()?.begin_copy(text, settings);
        watched(party.as_deref(), beginning).await
    }

    /// Who looks for circles, once there are several participants on Postgres shards.
    pub(super) fn party(&self) -> Option<Arc<Party>> {
        self.party.clone()
    }

    /// Its connection may have been replaced before it began.
    pub(super) fn note_process(&self, party: &Party) {
        if let ShardTransaction::Postgres(transaction) = &self.transaction {
            party.note(self.shard, transaction.process());
        }
    }

    /// Runs a change of the schema.
    ///
    /// # Errors
    /// The shard refused it.
    pub(super) async fn run_ddl(&mut self, statements: &[String]) -> Result<()> {
        self.settle_steps().await?;
        self.transaction.run_batch(statements).await?;
        self.steps.push(RedoStep::Statements(statements.to_vec()));
        Ok(())
    }

    /// Writes what a statement on another shard changed.
    ///
    /// # Errors
    /// The shard's rows are not what they were there.
    pub(super) async fn copy(&mut self, changes: Vec<u8>) -> Result<()> {
        self.transaction.sqlite()?.apply_changes(changes).await
    }

    /// Runs a write, and gives what it changed.
    ///
    /// # Errors
    /// The shard refused it.
    pub(super) async fn run_recorded(&mut self, call: Call) -> Result<(Written, Vec<u8>)> {
        self.settle_steps().await?;
        let written = held(self.run(call).await?).await?;
        let changes = self.transaction.sqlite()?.take_changes().await?;
        self.steps.push(RedoStep::Changes(changes.clone()));
        Ok((written, changes))
    }

    /// Moves what was recorded until now into the steps.
    pub(super) async fn settle_steps(&mut self) -> Result<()> {
        let ShardTransaction::Sqlite(transaction) = &mut self.transaction else { return Ok(()) };
        let changes = transaction.take_changes().await?;
        if !changes.is_empty() {
            self.steps.push(RedoStep::Changes(changes));
        }
        Ok(())
    }
}

/// Waits for a shard, and for whoever finds that the wait is one of a circle.
pub(super) async fn watched<T>(party: Option<&Party>, work: impl Future<Output = Result<T>>) -> Result<T> {
    match party {
        None => work.await,
        Some(party) => Box::pin(party.watch(work)).await.map_err(|error| party.reason_of(error)),
    }
}
