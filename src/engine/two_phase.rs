//! A commit over several Postgres shards, in two phases.
//!
//! All participants but one are prepared. That one, the decider, writes the decision into its own transaction and commits it:
//! the decision and its work are one commit. Then the others are committed. Whoever finds a prepared transaction later asks the
//! decider (`resolver`); so a decision is written once, and nothing is committed anywhere before it is durable.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::Engine;
use super::deadlock::Party;
use super::gid::Gid;
use super::side_by_side::side_by_side;
use super::spanning::{Committed, SpanningPart};
use crate::crash_point::{TwoPhaseStep, crash_point};
use crate::error::{Error, Fault, Result, Retry, SqlState};
use crate::shard::ShardTransaction;
use crate::shard::postgres::{
    Decision, InDoubt, Outcome, PostgresTransaction, PreparedTransaction, Undecided, Unprepared,
};
use crate::types::ShardId;

/// How long a decision whose answer was lost is asked for, before the client is told that it is not known.
const ASKING_TIME: Duration = Duration::from_secs(10);
const ASKING_PAUSE: Duration = Duration::from_millis(200);

/// The commits over several Postgres shards of this process.
#[derive(Debug, Default)]
pub(super) struct TwoPhases {
    under_way: Mutex<HashSet<Gid>>,
    /// Held by whoever ends what is in doubt: the resolver, and who forces it.
    pub(super) ending: tokio::sync::Mutex<()>,
    /// Decisions that nobody asks for any more, by the shard that has them.
    done: Mutex<BTreeMap<ShardId, Vec<String>>>,
}

/// A commit that is under way, until it is dropped.
struct UnderWay<'e> {
    two_phases: &'e TwoPhases,
    gid: Gid,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.two_phases.under_way.lock().remove(&self.gid);
    }
}

impl TwoPhases {
    fn begin(&self, gid: Gid) -> UnderWay<'_> {
        self.under_way.lock().insert(gid.clone());
        UnderWay { two_phases: self, gid }
    }

    /// What the resolver must leave alone.
    pub(super) fn under_way(&self) -> HashSet<Gid> {
        self.under_way.lock().clone()
    }

    fn is_done(&self, gid: &Gid) {
        self.done.lock().entry(gid.decider).or_default().push(gid.to_string());
    }

    /// Decisions to be deleted, by the shard that has them.
    pub(super) fn take_done(&self) -> BTreeMap<ShardId, Vec<String>> {
        std::mem::take(&mut *self.done.lock())
    }
}

/// One shard's open transaction.
struct Open {
    shard: ShardId,
    transaction: PostgresTransaction,
    party: Option<Arc<Party>>,
}

type Prepared = (ShardId, PreparedTransaction);

impl Engine {
    /// Commits on all or none. `decider`: the shard that has what cannot be prepared. To be run to its end.
    ///
    /// # Errors
    /// Nothing was committed, unless the error's [`Retry`] is `Unknown`.
    pub(super) async fn commit_in_two_phases(
        &self,
        parts: Vec<SpanningPart>,
        decider: Option<ShardId>,
    ) -> Result<Committed> {
        let mut open = Vec::with_capacity(parts.len());
        for SpanningPart { shard, transaction, party, .. } in parts {
            match transaction {
                ShardTransaction::Postgres(transaction) if transaction.is_unused() => transaction.abandon(),
                ShardTransaction::Postgres(transaction) => open.push(Open { shard, transaction, party }),
                ShardTransaction::Sqlite(_) => return Err(Error::internal("a SQLite file was to be prepared")),
            }
        }
        if open.len() < 2 {
            return match open.pop() {
                Some(only) => only.transaction.commit().await.map(|()| Committed::Everywhere),
                None => Ok(Committed::Everywhere),
            };
        }
        let place = open.iter().position(|open| Some(open.shard) == decider).unwrap_or(0);
        let decider = open.remove(place);
        let under_way = self.two_phases.begin(Gid::new(&self.cluster, decider.shard, rand::random()));
        let gid = &under_way.gid;
        crash_point(TwoPhaseStep::Preparing);
        let prepared = match prepare_all(open, gid).await {
            Ok(prepared) => prepared,
            Err(Failed { error, prepared, unknown }) => {
                decider.transaction.rollback().await;
                roll_back(prepared).await;
                self.roll_back_unknown(unknown, gid).await;
                return Err(error);
            }
        };
        crash_point(TwoPhaseStep::PreparedAll);
        match self.decide(decider, gid).await {
            Ok(()) => {}
            Err(error) if error.get_retry() == Retry::Unknown => return Err(error),
            Err(error) => {
                roll_back(prepared).await;
                return Err(error);
            }
        }
        crash_point(TwoPhaseStep::Decided);
        Ok(self.commit_prepared(prepared, gid).await)
    }

    /// # Errors
    /// Nothing is committed; or, where the error's [`Retry`] is `Unknown`, it is not known.
    async fn decide(&self, decider: Open, gid: &Gid) -> Result<()> {
        let Open { transaction, party, .. } = decider;
        let name = gid.to_string();
        let deciding = match &party {
            Some(party) => party.watch(transaction.decide(&name)).await,
            None => transaction.decide(&name).await,
        };
        let deciding = match deciding {
            Ok(deciding) => deciding,
            Err(Undecided::Failed(error)) => {
                let error = party.map_or(error.clone(), |party| party.reason_of(error));
                return Err(error.retry(Retry::Safe));
            }
            Err(Undecided::Forestalled) => return Err(forestalled()),
        };
        crash_point(TwoPhaseStep::Deciding);
        match deciding.commit().await {
            Decision::Committed => Ok(()),
            Decision::Failed(error) => Err(error.retry(Retry::Safe)),
            Decision::Unknown(error) => self.ask_for_decision(gid, error).await,
        }
    }

    /// The decider's answer was lost: its table says what it was, once its transaction is over.
    async fn ask_for_decision(&self, gid: &Gid, lost: Error) -> Result<()> {
        let until = Instant::now() + ASKING_TIME;
        let name = self.shard_name(gid.decider);
        loop {
            let asked = match self.shard(gid.decider) {
                Ok(shard) => shard.postgres()?.settle(&gid.to_string()).await,
                Err(error) => Err(error),
            };
            match asked {
                Ok(Outcome::Commit) => return Ok(()),
                Ok(Outcome::Abort) => {
                    let hint = "The transaction was rolled back on every shard: run the whole of it again.";
                    return Err(lost.retry(Retry::Safe).hint(hint));
                }
                Err(error) if Instant::now() > until => {
                    tracing::error!(shard = name, %gid, %error, "what became of a commit over several shards is not known");
                    return Err(unknown(&name, &lost));
                }
                Err(_) => tokio::time::sleep(ASKING_PAUSE).await,
            }
        }
    }

    /// The second phase: what fails here is committed all the same, by the resolver.
    async fn commit_prepared(&self, prepared: Vec<Prepared>, gid: &Gid) -> Committed {
        let commits = prepared.into_iter().map(|(shard, prepared)| async move {
            let committed = match prepared.commit().await {
                Err(error) if error.sqlstate() == SqlState::UNDEFINED_OBJECT => self.was_ended(shard, gid).await,
                committed => committed,
            };
            crash_point(TwoPhaseStep::CommittedOne);
            (shard, committed)
        });
        let mut late = None;
        for (shard, committed) in side_by_side(commits).await {
            if let Err(error) = committed {
                let name = self.shard_name(shard);
                tracing::warn!(shard = name, %gid, %error, "a decided commit is not known to be done on one shard");
                late.get_or_insert_with(|| committed_late(&name, &error));
            }
        }
        match late {
            Some(warning) => Committed::Late(warning),
            None => {
                crash_point(TwoPhaseStep::CommittedAll);
                self.two_phases.is_done(gid);
                Committed::Everywhere
            }
        }
    }

    /// Whether what "does not exist" was ended by somebody else.
    async fn was_ended(&self, shard: ShardId, gid: &Gid) -> Result<()> {
        let name = gid.on(shard);
        let found = self.shard(shard)?.postgres()?.in_doubt(&name).await?;
        if found.iter().any(|found| found.gid == name) {
            return Err(Error::internal(format!("{name} is prepared, and cannot be found")));
        }
        Ok(())
    }

    /// Nothing is decided, and nobody will: where it is prepared now, it need not wait for the resolver.
    async fn roll_back_unknown(&self, shards: Vec<ShardId>, gid: &Gid) {
        for shard in shards {
            let Ok(open) = self.shard(shard) else { continue };
            let Ok(postgres) = open.postgres() else { continue };
            if let Err(error) = postgres.end_prepared(&InDoubt::named(gid.on(shard)), Outcome::Abort).await {
                tracing::debug!(shard = open.name(), %gid, %error, "a transaction that may be prepared is left to the resolver");
            }
        }
    }

    /// # Errors
    /// 55000: one of the shards can take no part in a commit over several.
    pub(super) fn require_prepared(&self, shards: impl IntoIterator<Item = ShardId>) -> Result<()> {
        for shard in shards {
            if let crate::shard::Shard::Postgres(shard) = &*self.shard(shard)? {
                shard.can_prepare()?;
            }
        }
        Ok(())
    }
}

/// Why not all were prepared, and what is to be rolled back.
struct Failed {
    error: Error,
    prepared: Vec<Prepared>,
    unknown: Vec<ShardId>,
}

/// Prepares all at the same time.
async fn prepare_all(open: Vec<Open>, gid: &Gid) -> std::result::Result<Vec<Prepared>, Failed> {
    let preparing = open.into_iter().map(|Open { shard, transaction, party }| async move {
        // What is deferred runs now, and may wait for a lock.
        let name = gid.on(shard);
        let prepared = match &party {
            Some(party) => party.watch(transaction.prepare(&name)).await.map_err(|unprepared| match unprepared {
                Unprepared::Refused(error) => Unprepared::Refused(party.reason_of(error)),
                unknown @ Unprepared::Unknown(_) => unknown,
            }),
            None => transaction.prepare(&name).await,
        };
        crash_point(TwoPhaseStep::PreparedOne);
        (shard, prepared)
    });
    let (mut prepared, mut unknown, mut failed) = (Vec::new(), Vec::new(), None);
    for (shard, outcome) in side_by_side(preparing).await {
        match outcome {
            Ok(transaction) => prepared.push((shard, transaction)),
            Err(Unprepared::Refused(error)) => failed = failed.or(Some(error)),
            Err(Unprepared::Unknown(error)) => {
                unknown.push(shard);
                failed = failed.or(Some(error));
            }
        }
    }
    match failed {
        None => Ok(prepared),
        Some(error) => Err(Failed { error: not_prepared(error), prepared, unknown }),
    }
}

async fn roll_back(prepared: Vec<Prepared>) {
    let rollbacks = prepared.into_iter().map(|(_, prepared)| prepared.rollback());
    for error in side_by_side(rollbacks).await.into_iter().filter_map(std::result::Result::err) {
        tracing::warn!(%error, "a prepared transaction is left to the resolver, which rolls it back");
    }
}

/// What the shard says, and what of it has to do with there being several.
fn not_prepared(error: Error) -> Error {
    let error = error.retry(Retry::Safe);
    match error.sqlstate() {
        SqlState::FEATURE_NOT_SUPPORTED if error.get_hint().is_none() => error.hint(
            "The transaction wrote on several shards, and was rolled back on all: temporary tables, LISTEN, NOTIFY and cursors \
             WITH HOLD belong into transactions on one shard.",
        ),
        _ => error,
    }
}

fn forestalled() -> Error {
    Error::new(SqlState::SERIALIZATION_FAILURE, "the commit over several shards took too long, and was given up")
        .detail("Another instance, or an operator, has decided that nothing of it is committed.")
        .hint("It was rolled back on every shard: run the whole transaction again.")
        .retry(Retry::Safe)
}

fn unknown(shard: &str, lost: &Error) -> Error {
    Error::new(
        SqlState::TRANSACTION_RESOLUTION_UNKNOWN,
        format!("shard \"{shard}\" was lost while it committed a transaction over several shards: {}", lost.message()),
    )
    .fault(Fault::Shard)
    .retry(Retry::Unknown)
    .hint("It becomes committed on every shard, or on none, once that shard answers: read before you run it again.")
}

fn committed_late(shard: &str, error: &Error) -> Error {
    Error::new(
        SqlState::WARNING,
        format!("the transaction is committed; shard \"{shard}\" does not show its part yet: {}", error.message()),
    )
    .hint("Do not run it again: the shard shows it as soon as it answers. `shardctl transactions list` shows what is left.")
}
