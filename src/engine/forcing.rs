//! Ending a transaction in doubt without its decision, where the shard that has it is lost for good.
//!
//! Nothing can tell whether the lost shard had committed. An operator who knows it, or has to choose, says so, and names the
//! lost shard; nobody else does. A shard that takes no statements here may still be there: it is asked first.

use super::Engine;
use super::gid::Gid;
use crate::error::{Error, Fault, Result, Retry, SqlState};
use crate::shard::ShardKind;
use crate::shard::postgres::{InDoubt, Outcome, PostgresShard};
use crate::types::ShardId;

/// Whoever answers at a lost server's address is taken for it.
const STANDS_IN: &str = "If the server is lost for good and another one stands in for it at its address, stop that one first: \
     it knows of no decision, and while it answers nothing is ended by force.";

impl Engine {
    /// Ends every part of a commit alike, by what one of them is prepared as. `lost`: the name of the shard that decides, by an
    /// operator's word that it is lost for good. Gives the shards on which a part was ended, and those that could not be asked,
    /// which may have one.
    ///
    /// # Errors
    /// 42704: it is not in doubt. 55000: its decision can still be read, or a process is about to end it. 22023: the shard that
    /// decides was not named. A shard refused.
    pub async fn force(
        &self,
        prepared: &str,
        outcome: Outcome,
        lost: Option<&str>,
    ) -> Result<(Vec<ShardId>, Vec<ShardId>)> {
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
        let trouble = self.refuse_while_decided(prepared, &gid).await?;
        let found = self.look_for_prepared().await;
        let is_part = |part: &InDoubt| Gid::of_prepared(&part.gid, &self.cluster).as_ref() == Some(&gid);
        let parts: Vec<(ShardId, &InDoubt)> =
            found.prepared.iter().filter(|(_, part)| is_part(part)).map(|(shard, part)| (*shard, part)).collect();
        if parts.is_empty() {
            return Err(unknown());
        }
        let decider = self.shard_name(gid.decider);
        if lost != Some(decider.as_str()) {
            return Err(not_named(prepared, &decider, &trouble, outcome));
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
                        decider,
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

    /// Gives why the shard that knows the decision cannot be reached.
    ///
    /// # Errors
    /// 55000: it is there.
    async fn refuse_while_decided(&self, prepared: &str, gid: &Gid) -> Result<Error> {
        let name = self.shard_name(gid.decider);
        let down = self.down().into_iter().find(|(id, _, _)| *id == gid.decider).map(|(_, _, reason)| reason);
        let without = "Run `shardctl transactions resolve` without --force";
        match (self.reach(gid.decider).await, down) {
            (Ok(()), None) => {
                let what = format!("can be ended as was decided: shard \"{name}\", which knows it, can be reached");
                Err(not_ready(prepared, &what).hint(format!("{without}. {STANDS_IN}")))
            }
            (Ok(()), Some(reason)) => {
                let what = format!(
                    "was decided by shard \"{name}\", whose server answers; it is down for another reason: {}",
                    reason.message()
                );
                Err(not_ready(prepared, &what)
                    .hint(format!("Mend that. {without} once the shard is open. {STANDS_IN}")))
            }
            (Err(error), _)
                if error.sqlstate() == SqlState::CONNECTION_FAILURE && error.get_fault() == Fault::Shard =>
            {
                Ok(error)
            }
            // It is there, and takes no question now; or shardd knocks at the wrong door.
            (Err(error), _) => {
                let what = format!("was decided by shard \"{name}\", which is not lost: {}", error.message());
                Err(not_ready(prepared, &what).hint(format!("{without} once it answers. {STANDS_IN}")))
            }
        }
    }

    /// Asks a shard's server for nothing, also where the shard is not open.
    ///
    /// # Errors
    /// 08006, the shard's fault: nobody answers there. Any other: somebody does, or nobody was asked.
    async fn reach(&self, id: ShardId) -> Result<()> {
        if let Ok(open) = self.shard(id) {
            return open.postgres()?.answers().await;
        }
        match self.live.snapshot().shard(id) {
            Some(shard) => PostgresShard::answers_at(&shard.name, &shard.url).await,
            None => {
                let message = format!("the topology has no shard number {id}");
                Err(Error::new(SqlState::CONNECTION_FAILURE, message).fault(Fault::Shard))
            }
        }
    }
}

fn not_ready(prepared: &str, why: &str) -> Error {
    Error::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, format!("the transaction {prepared} {why}"))
}

fn not_named(prepared: &str, decider: &str, trouble: &Error, outcome: Outcome) -> Error {
    let other = match outcome {
        Outcome::Commit => "rolled it back",
        Outcome::Abort => "committed it",
    };
    Error::new(
        SqlState::INVALID_PARAMETER_VALUE,
        format!(
            "shard \"{decider}\" alone knows what was decided about {prepared}, and cannot be reached now: {}",
            trouble.message()
        ),
    )
    .detail(format!(
        "If it has {other}, and its data comes back, the transaction is committed on some shards and rolled back on others, and \
         its client may have been told the other outcome. This cannot be undone."
    ))
    .hint(format!(
        "Wait for the shard: it is ended by itself then. Only where \"{decider}\" is lost for good, name it: --lost-shard \"{decider}\" \
         (lost_shard in the request)."
    ))
}
