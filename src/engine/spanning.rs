//! Commits that span shards, and the recovery that finishes them. On Postgres shards: `two_phase` and `resolver`. Here SQLite's.
//!
//! Every participant holds its writer, its work done and recorded. The redo record in the catalog is the decision: it is
//! durable before the first shard commits. Each shard's commit carries the record's id, so that recovery knows which
//! shards still lack it. Nobody writes on a participant between the decision and its commit: its writer is held, and a
//! shard whose commit failed answers nothing before its part was applied.

use std::sync::Arc;

use super::Engine;
use super::deadlock::Party;
use super::down::redo;
use crate::catalog::RedoPart;
use crate::crash_point::{CommitStep, crash_point};
use crate::error::{Error, Fault, Result, Retry, SqlState};
use crate::shard::sqlite::RedoStep;
use crate::shard::{Shard, ShardKind, ShardTransaction};
use crate::types::ShardId;

/// One shard's open transaction, and what it has to do again if its commit does not reach the disk.
pub(super) struct SpanningPart {
    pub(super) shard: ShardId,
    pub(super) transaction: ShardTransaction,
    pub(super) steps: Vec<RedoStep>,
    pub(super) party: Option<Arc<Party>>,
}

/// A commit that was decided.
#[derive(Debug)]
pub(super) enum Committed {
    Everywhere,
    /// It is committed, and a shard has yet to apply it: the error that its client is told.
    Behind(Error),
    /// It is committed, and a shard has yet to show it: the warning that its client is told.
    Late(Error),
}

impl Committed {
    /// A warning for the client.
    ///
    /// # Errors
    /// A shard has yet to apply it.
    pub(super) fn whole(self) -> Result<Option<Error>> {
        match self {
            Committed::Everywhere => Ok(None),
            Committed::Late(warning) => Ok(Some(warning)),
            Committed::Behind(error) => Err(error),
        }
    }
}

impl Engine {
    /// Commits on several shards, on all or none. To be run to its end: whoever waits for it may go away.
    ///
    /// # Errors
    /// Nothing was committed, since the record could not be written.
    pub(super) async fn commit_together(
        &self,
        parts: Vec<SpanningPart>,
        decider: Option<ShardId>,
    ) -> Result<Committed> {
        if self.kind == ShardKind::Postgres {
            // Rows are not written where it cannot be done, so this is a change of the schema.
            return match self.require_prepared(parts.iter().map(|part| part.shard)) {
                Ok(()) => self.commit_in_two_phases(parts, decider).await,
                Err(_) => self.commit_in_turn(parts).await,
            };
        }
        let id = format!("{:032x}", rand::random::<u128>());
        crash_point(CommitStep::Deciding);
        let payloads = parts.iter().map(|part| (part.shard, RedoStep::encode(&part.steps))).collect();
        if let Err(error) = self.catalog.record_redo(&id, payloads).await {
            return Err(self.take_decision_back(&id, parts, error.into()).await);
        }
        crash_point(CommitStep::Decided);
        let shards: Vec<ShardId> = parts.iter().map(|part| part.shard).collect();
        let mut behind = None;
        for part in parts {
            let committed = match part.transaction {
                ShardTransaction::Sqlite(transaction) => transaction.commit_as(&id).await,
                ShardTransaction::Postgres(transaction) => transaction.commit().await,
            };
            crash_point(CommitStep::CommittedOne);
            if let Err(error) = committed {
                tracing::error!(shard = self.shard_name(part.shard), %error, "a decided commit failed on one shard");
                if let Err(error) = self.apply_missed(part.shard, &id, part.steps).await {
                    behind.get_or_insert_with(|| committed_but_behind(&self.shard_name(part.shard), &error));
                }
            }
        }
        crash_point(CommitStep::CommittedAll);
        match behind {
            Some(error) => Ok(Committed::Behind(error)),
            None => {
                self.forget(&id, &shards).await;
                Ok(Committed::Everywhere)
            }
        }
    }

    /// Commits a change of the schema on Postgres shards of which one cannot prepare it, one after the other: no decision
    /// outlives a crash in between, and the schemas tell how they differ.
    async fn commit_in_turn(&self, parts: Vec<SpanningPart>) -> Result<Committed> {
        let mut done = Vec::new();
        let mut failed = None;
        for part in parts {
            let name = self.shard_name(part.shard);
            if done.is_empty() && failed.is_some() {
                // Nothing is committed anywhere yet, so nothing has to be.
                part.transaction.rollback().await;
                continue;
            }
            match part.transaction.commit().await {
                Ok(()) => done.push(name),
                Err(error) => failed = failed.or(Some((name, error))),
            }
        }
        match failed {
            None => Ok(Committed::Everywhere),
            Some((_, error)) if done.is_empty() => Err(error),
            Some((name, error)) => Ok(Committed::Behind(committed_in_part(&done, &name, &error))),
        }
    }

    /// The record may or may not be there: it must not be, before the client is told that nothing happened.
    async fn take_decision_back(&self, id: &str, parts: Vec<SpanningPart>, error: Error) -> Error {
        let taken_back = self.catalog.finish_redo(id).await;
        for part in parts {
            part.transaction.rollback().await;
        }
        match taken_back {
            Ok(()) => error,
            Err(_) => Error::new(
                SqlState::STATEMENT_COMPLETION_UNKNOWN,
                format!("the catalog failed while a commit was decided: {error}"),
            )
            .fault(Fault::Proxy)
            .retry(Retry::Unknown)
            .hint("It is not applied now, and may be when shardd is started again. Read before you write it again."),
        }
    }

    /// Every shard has done its part: the record goes, then the shards' marks of it. A record that stays is found at the
    /// next start, where the marks say that there is nothing to do.
    async fn forget(&self, id: &str, shards: &[ShardId]) {
        if let Err(error) = self.catalog.finish_redo(id).await {
            tracing::warn!(record = id, %error, "the record of a finished commit stays in the catalog until the next start");
            return;
        }
        crash_point(CommitStep::Forgotten);
        let set = self.shards.load();
        for shard in shards.iter().filter_map(|shard| set.open.get(shard)) {
            if let Shard::Sqlite(shard) = &*shard.shard {
                shard.forget_redo(vec![id.to_owned()]);
            }
        }
    }

    /// Applies a shard's part of a decided commit, unless it has it. The shard answers nothing before.
    async fn apply_missed(&self, shard: ShardId, id: &str, steps: Vec<RedoStep>) -> Result<()> {
        let shard = self.shard(shard)?;
        let shard = shard.sqlite()?;
        if shard.apply_redo(id, steps).await? {
            tracing::warn!(shard = shard.name(), record = id, "applied a commit that had been interrupted");
        }
        shard.lift_quarantine();
        Ok(())
    }

    /// Finishes every commit that was decided and not applied everywhere, on the shards that are open. Runs once, before
    /// anything is served. A shard that fails is taken down; the parts of those that are down stay in the catalog.
    ///
    /// # Errors
    /// The catalog failed, or has a part for a shard that there is not: nothing may be served.
    pub async fn recover(&self) -> Result<()> {
        if self.kind == ShardKind::Postgres {
            self.recover_prepared().await;
            return Ok(());
        }
        let undone = self.catalog.redo_undone().await?;
        let topology = self.live.snapshot();
        if let Some(part) = undone.iter().find(|part| topology.shard(part.shard).is_none()) {
            return Err(Error::internal(format!("the catalog has a redo record for the unknown shard {}", part.shard)));
        }
        for (id, open) in &self.shards.load_full().open {
            let parts: Vec<RedoPart> = undone.iter().filter(|part| part.shard == *id).cloned().collect();
            let Shard::Sqlite(shard) = &*open.shard else { continue };
            match redo(shard, &parts).await {
                Ok(()) => self.note_applied(&parts).await?,
                Err(error) => self.take_down(*id, error).await,
            }
        }
        self.catalog.forget_applied_redo().await?;
        for (id, open) in &self.shards.load_full().open {
            let Shard::Sqlite(shard) = &*open.shard else { continue };
            if let Err(error) = shard.forget_all_redo().await {
                self.take_down(*id, error).await;
            }
        }
        Ok(())
    }
}

fn committed_in_part(done: &[String], missing: &str, error: &Error) -> Error {
    Error::new(
        SqlState::TRANSACTION_RESOLUTION_UNKNOWN,
        format!("the transaction is committed on {}, and failed on shard \"{missing}\": {error}", done.join(", ")),
    )
    .fault(Fault::Shard)
    .retry(Retry::Unknown)
    .hint("Run on that shard what is missing there; `shardctl schema diff` shows how its tables differ.")
}

fn committed_but_behind(shard: &str, error: &Error) -> Error {
    Error::new(
        SqlState::TRANSACTION_RESOLUTION_UNKNOWN,
        format!("the transaction is committed, but shard \"{shard}\" could not apply it yet: {error}"),
    )
    .fault(Fault::Shard)
    .retry(Retry::Unknown)
    .hint(
        "Do not send it again. The shard answers again once a restart of shardd has applied it; see the server's log.",
    )
}
