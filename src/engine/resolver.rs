//! Finishes commits over several Postgres shards that nobody finishes any more: after a crash, or while a shard was away.
//!
//! For each prepared transaction that is old enough and not under way here, it writes 'abort' at the decider *first*: whoever
//! writes first wins. Then it reads what was decided, and ends the transaction so. Any instance may do it, and several at once.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::Engine;
use super::gid::Gid;
use super::side_by_side::side_by_side;
use crate::crash_point::{TwoPhaseStep, crash_point};
use crate::error::{Error, Result, SqlState};
use crate::shard::postgres::{DecisionRow, InDoubt, Outcome};
use crate::shard::{Shard, ShardKind};
use crate::types::ShardId;

/// How often decisions that nobody asks for any more are deleted.
const FORGETTING_PAUSE: Duration = Duration::from_millis(500);
/// The pauses between looks at what is prepared.
const LOOKING_PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));
/// How old a decision has to be before it is deleted by somebody who has not made it: longer than anybody asks for it.
const COMMIT_KEPT: Duration = Duration::from_secs(120);
const ABORT_KEPT: Duration = Duration::from_secs(600);

/// A transaction that is prepared on one shard, and not under way in this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InDoubtTransaction {
    pub gid: String,
    pub shard: ShardId,
    /// The shard that knows what was decided; `None`: it is not in the topology.
    pub decider: Option<ShardId>,
    pub age: Duration,
    /// Why it could not be ended.
    pub trouble: Option<Error>,
}

/// What one look has found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) prepared: Vec<(ShardId, InDoubt)>,
    decisions: Vec<(ShardId, DecisionRow)>,
    /// Every shard of the topology was read.
    whole: bool,
    pub(super) unread: Vec<(ShardId, Error)>,
}

impl Engine {
    /// Goes on until it is dropped.
    pub async fn keep_resolving(self: Arc<Self>) {
        if self.kind != ShardKind::Postgres {
            return;
        }
        let (least, most) = LOOKING_PAUSES;
        let pause = (self.limits.resolve_after / 2).clamp(least, most);
        let mut since_look = Duration::ZERO;
        loop {
            tokio::time::sleep(FORGETTING_PAUSE).await;
            self.forget_done().await;
            since_look += FORGETTING_PAUSE;
            if since_look >= pause {
                since_look = Duration::ZERO;
                self.look_at_readiness().await;
                self.resolve(self.limits.resolve_after).await;
            }
        }
    }

    /// Before anything is served: this process has begun no commit yet.
    pub(super) async fn recover_prepared(&self) {
        for open in self.shards.load_full().open.values() {
            if let Shard::Postgres(shard) = &*open.shard
                && let Err(lacking) = shard.make_ready_to_prepare().await
            {
                tracing::warn!(
                    hint = lacking.get_hint(),
                    "{}. Transactions that write on several shards are refused there",
                    lacking.message()
                );
            }
        }
        let left = self.resolve(Duration::ZERO).await;
        for transaction in left {
            tracing::warn!(
                gid = transaction.gid,
                shard = self.shard_name(transaction.shard),
                "a transaction stays in doubt"
            );
        }
    }

    /// A server may have been given what it lacked.
    async fn look_at_readiness(&self) {
        for open in self.shards.load_full().open.values() {
            let Shard::Postgres(shard) = &*open.shard else { continue };
            if shard.can_prepare().is_err() && !shard.is_down() && shard.make_ready_to_prepare().await.is_ok() {
                tracing::info!(shard = shard.name(), "the shard can take part in commits over several shards now");
            }
        }
    }

    /// The transactions that are in doubt now, of all shards that can be asked.
    ///
    /// # Errors
    /// A shard cannot be asked.
    pub async fn in_doubt(&self) -> Result<Vec<InDoubtTransaction>> {
        if self.kind != ShardKind::Postgres {
            return Ok(Vec::new());
        }
        let under_way = self.two_phases.under_way();
        let found = self.look_for_prepared().await;
        if let Some((_, error)) = found.unread.into_iter().next() {
            return Err(error);
        }
        let described = found.prepared.iter().filter_map(|(shard, found)| self.described(*shard, found, &under_way));
        Ok(described.collect())
    }

    /// Ends what is in doubt, without waiting until it is old. Gives what could not be ended.
    pub async fn resolve_now(&self) -> Vec<InDoubtTransaction> {
        if self.kind != ShardKind::Postgres {
            return Vec::new();
        }
        self.resolve(Duration::ZERO).await
    }

    /// Ends what is prepared for so long, and not under way. Gives what is left.
    async fn resolve(&self, older_than: Duration) -> Vec<InDoubtTransaction> {
        // Before the look: what has begun since then is young.
        let under_way = self.two_phases.under_way();
        let found = self.look_for_prepared().await;
        for (shard, error) in &found.unread {
            tracing::debug!(shard = self.shard_name(*shard), %error, "a shard cannot be asked what is prepared there");
        }
        let (mut left, mut committed) = (Vec::new(), false);
        for (shard, prepared) in &found.prepared {
            let Some(mut transaction) = self.described(*shard, prepared, &under_way) else { continue };
            if prepared.age < older_than {
                left.push(transaction);
                continue;
            }
            let resolved = {
                let _ending = self.two_phases.ending.lock().await;
                self.resolve_one(*shard, prepared, transaction.decider).await
            };
            match resolved {
                Ok(outcome) => {
                    committed |= outcome == Outcome::Commit;
                    tracing::warn!(
                        gid = prepared.gid,
                        shard = self.shard_name(*shard),
                        ?outcome,
                        "ended a transaction in doubt"
                    );
                }
                Err(error) => {
                    tracing::warn!(gid = prepared.gid, shard = self.shard_name(*shard), %error, "a transaction stays in doubt");
                    transaction.trouble = Some(error);
                    left.push(transaction);
                }
            }
        }
        self.forget_old(&found).await;
        self.count(&left, &found);
        if committed && !self.live.snapshot().schema.tables.is_empty() {
            // It may have changed the schema.
            if let Err(error) = self.review_schema().await {
                tracing::warn!(%error, "the schemas cannot be read after a transaction in doubt was committed");
            }
        }
        left
    }

    async fn resolve_one(&self, shard: ShardId, prepared: &InDoubt, decider: Option<ShardId>) -> Result<Outcome> {
        let gid = Gid::of_prepared(&prepared.gid, &self.cluster);
        let (Some(gid), Some(decider)) = (gid, decider) else {
            return Err(Error::internal(format!("the shard that decides {} is not in the topology", prepared.gid)));
        };
        let outcome = self.shard(decider)?.postgres()?.settle(&gid.to_string()).await?;
        crash_point(TwoPhaseStep::Resolving);
        let open = self.shard(shard)?;
        let postgres = open.postgres()?;
        match postgres.end_prepared(prepared, outcome).await {
            // Somebody else was faster, if it is really gone.
            Err(error) if error.sqlstate() == SqlState::UNDEFINED_OBJECT => {
                let again = postgres.in_doubt(&prepared.gid).await?;
                if again.iter().any(|found| found.gid == prepared.gid) { Err(error) } else { Ok(outcome) }
            }
            ended => ended.map(|()| outcome),
        }
    }

    /// `None`: it is under way, or not this cluster's.
    fn described(&self, shard: ShardId, found: &InDoubt, under_way: &HashSet<Gid>) -> Option<InDoubtTransaction> {
        let gid = Gid::of_prepared(&found.gid, &self.cluster)?;
        if under_way.contains(&gid) {
            return None;
        }
        let decider = self.live.snapshot().shard(gid.decider).map(|shard| shard.id);
        Some(InDoubtTransaction { gid: found.gid.clone(), shard, decider, age: found.age, trouble: None })
    }

    /// Decisions first: what belongs to one was prepared before it, and so is found by the second look if it is still there.
    pub(super) async fn look_for_prepared(&self) -> Found {
        let names = Gid::of_cluster(&self.cluster);
        let set = self.shards.load_full();
        let shards: Vec<(ShardId, Arc<Shard>)> =
            set.open.iter().map(|(id, open)| (*id, Arc::clone(&open.shard))).collect();
        let mut found = Found::default();
        let decisions = shards.iter().map(|(id, shard)| {
            let names = &names;
            async move { (*id, asked(shard.postgres().map(|shard| shard.decisions(names))).await) }
        });
        for (shard, decisions) in side_by_side(decisions).await {
            // Without the table there are none.
            found.decisions.extend(decisions.unwrap_or_default().into_iter().map(|row| (shard, row)));
        }
        let prepared = shards.iter().map(|(id, shard)| {
            let names = &names;
            async move { (*id, asked(shard.postgres().map(|shard| shard.in_doubt(names))).await) }
        });
        for (shard, prepared) in side_by_side(prepared).await {
            match prepared {
                Ok(prepared) => found.prepared.extend(prepared.into_iter().map(|prepared| (shard, prepared))),
                Err(error) => found.unread.push((shard, error)),
            }
        }
        let all = self.live.snapshot().shards.len();
        found.whole = found.unread.is_empty() && shards.len() == all;
        found
    }

    /// Decisions of commits that nobody finishes any more, or that were never begun.
    async fn forget_old(&self, found: &Found) {
        let prepared: HashSet<String> = found
            .prepared
            .iter()
            .filter_map(|(_, prepared)| Gid::of_prepared(&prepared.gid, &self.cluster))
            .map(|gid| gid.to_string())
            .collect();
        let under_way: HashSet<String> = self.two_phases.under_way().iter().map(ToString::to_string).collect();
        let mut old: BTreeMap<ShardId, Vec<String>> = BTreeMap::new();
        for (shard, row) in &found.decisions {
            let over = match row.outcome {
                Outcome::Commit => row.age >= COMMIT_KEPT,
                Outcome::Abort => row.age >= ABORT_KEPT && row.outlived,
            };
            if over && found.whole && !prepared.contains(&row.gid) && !under_way.contains(&row.gid) {
                old.entry(*shard).or_default().push(row.gid.clone());
            }
        }
        self.forget_decisions(old).await;
    }

    async fn forget_done(&self) {
        self.forget_decisions(self.two_phases.take_done()).await;
    }

    /// What cannot be deleted now is old one day.
    async fn forget_decisions(&self, decisions: BTreeMap<ShardId, Vec<String>>) {
        for (shard, gids) in decisions {
            let Ok(open) = self.shard(shard) else { continue };
            let Ok(postgres) = open.postgres() else { continue };
            match postgres.forget_decisions(&gids).await {
                Ok(()) => crash_point(TwoPhaseStep::Forgotten),
                Err(error) => tracing::debug!(shard = open.name(), %error, "decisions stay in their table for now"),
            }
        }
    }

    fn count(&self, left: &[InDoubtTransaction], found: &Found) {
        for id in self.shards.load().open.keys() {
            if found.unread.iter().any(|(unread, _)| unread == id) {
                continue;
            }
            let ages = left.iter().filter(|transaction| transaction.shard == *id).map(|transaction| transaction.age);
            self.metrics.set_in_doubt(&self.shard_name(*id), ages.clone().count(), ages.max().unwrap_or_default());
        }
    }
}

async fn asked<T>(asking: Result<impl Future<Output = Result<T>>>) -> Result<T> {
    asking?.await
}
