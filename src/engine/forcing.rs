//! Ending a transaction in doubt without its decision, where the shard that has it is lost for good.
//!
//! Nothing can tell whether the lost shard had committed. An operator who knows it, or has to choose, says so; nobody else does.

use super::Engine;
use super::gid::Gid;
use crate::error::{Error, Fault, Result, Retry, SqlState};
use crate::shard::ShardKind;
use crate::shard::postgres::{InDoubt, Outcome};
use crate::types::ShardId;

impl Engine {
    /// Ends every part of a commit alike, by what one of them is prepared as. Gives the shards on which a part was ended, and
    /// those that could not be asked, which may have one.
    ///
    /// # Errors
    /// 42704: it is not in doubt. 55000: its decision can still be read, or a process is about to end it. A shard refused.
    pub async fn force(&self, prepared: &str, outcome: Outcome) -> Result<(Vec<ShardId>, Vec<ShardId>)> {
        let unknown = || {
            Error::new(SqlState::UNDEFINED_OBJECT, format!("no transaction {prepared} is in doubt"))
                .hint("`shardctl transactions list` shows those that are.")
        };
        let gid = Gid::of_prepared(prepared, &self.cluster).filter(|_| self.kind == ShardKind::Postgres);
        let gid = gid.ok_or_else(unknown)?;
        // What the resolver ends meanwhile, it ends as was decided.
        let _ending = self.two_phases.ending.lock().await;
        if self.two_phases.under_way().contains(&gid) {
            return Err(not_ready(prepared, "is being committed by this server"));
        }
        self.refuse_while_decided(prepared, &gid).await?;
        let found = self.look_for_prepared().await;
        let is_part = |part: &InDoubt| Gid::of_prepared(&part.gid, &self.cluster).as_ref() == Some(&gid);
        let parts: Vec<(ShardId, &InDoubt)> =
            found.prepared.iter().filter(|(_, part)| is_part(part)).map(|(shard, part)| (*shard, part)).collect();
        if parts.is_empty() {
            return Err(unknown());
        }
        let (mut ended, mut failed) = (Vec::new(), Vec::new());
        for (shard, part) in parts {
            let done = match self.shard(shard) {
                Ok(open) => open.postgres()?.end_prepared(part, outcome).await,
                Err(error) => Err(error),
            };
            let on = self.shard_name(shard);
            match done {
                Ok(()) => {
                    tracing::error!(
                        gid = part.gid,
                        shard = on,
                        decider = self.shard_name(gid.decider),
                        ?outcome,
                        "ended a transaction in doubt BY FORCE, without its decision"
                    );
                    ended.push(shard);
                }
                Err(error) => failed.push(format!("{on}: {}", error.message())),
            }
        }
        if outcome == Outcome::Commit
            && let Err(error) = self.review_schema().await
        {
            tracing::warn!(%error, "the schemas cannot be read after a transaction in doubt was committed");
        }
        if !failed.is_empty() {
            let done: Vec<String> = ended.iter().map(|shard| self.shard_name(*shard)).collect();
            return Err(Error::new(
                SqlState::TRANSACTION_RESOLUTION_UNKNOWN,
                format!("a part of {prepared} could not be ended on {}", failed.join("; ")),
            )
            .detail(format!("Ended on: {}.", if done.is_empty() { "none".to_owned() } else { done.join(", ") }))
            .fault(Fault::Shard)
            .retry(Retry::Safe)
            .hint("Run it again with the same outcome."));
        }
        let mut unread: Vec<ShardId> = found.unread.iter().map(|(shard, _)| *shard).collect();
        unread.extend(self.down().into_iter().map(|(shard, _, _)| shard));
        unread.retain(|shard| *shard != gid.decider);
        Ok((ended, unread))
    }

    /// # Errors
    /// 55000: the shard that knows the decision is there.
    async fn refuse_while_decided(&self, prepared: &str, gid: &Gid) -> Result<()> {
        let Ok(decider) = self.shard(gid.decider) else { return Ok(()) };
        let name = decider.name();
        let without = "Run `shardctl transactions resolve` without --force";
        match decider.postgres()?.answers().await {
            Ok(()) => {
                let what = format!("can be ended as was decided: shard \"{name}\", which knows it, can be reached");
                Err(not_ready(prepared, &what).hint(format!("{without}.")))
            }
            Err(error) if error.sqlstate() == SqlState::CONNECTION_FAILURE => Ok(()),
            // It is there, and takes no question now.
            Err(error) => {
                let what = format!("was decided by shard \"{name}\", which is not lost: {}", error.message());
                Err(not_ready(prepared, &what).hint(format!("{without} once it answers.")))
            }
        }
    }
}

fn not_ready(prepared: &str, why: &str) -> Error {
    Error::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, format!("the transaction {prepared} {why}"))
}
