//! Counts a statement and its time, when its answer has ended.

use std::sync::Arc;
use std::time::Instant;

use crate::metrics::{Door, InFlight, Kind, Outcome, ShardMetrics};
use crate::plan::{Copying, Local, Plan};
use crate::types::ShardId;

/// Where a statement ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum RanOn {
    #[default]
    Nowhere,
    One(ShardId),
    Several,
}

impl RanOn {
    /// The statement reached this shard, too.
    pub(super) fn add(&mut self, shard: ShardId) {
        *self = match *self {
            RanOn::Nowhere => RanOn::One(shard),
            RanOn::One(first) if first == shard => RanOn::One(shard),
            _ => RanOn::Several,
        };
    }
}

/// Held by an answer: what it counts when it ends.
pub(super) struct Recording {
    pub(super) shard: Arc<ShardMetrics>,
    pub(super) door: Door,
    pub(super) kind: Kind,
    pub(super) started: Instant,
    pub(super) outcome: Outcome,
    /// Counts the statement as being answered while the answer lives.
    pub(super) _in_flight: InFlight,
}

impl Drop for Recording {
    fn drop(&mut self) {
        self.shard.query(self.door, self.kind, self.outcome, self.started.elapsed());
    }
}

impl std::fmt::Debug for Recording {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recording").field("kind", &self.kind).field("outcome", &self.outcome).finish_non_exhaustive()
    }
}

/// What a statement is counted as.
pub(super) fn kind(plan: &Plan) -> Kind {
    match plan {
        Plan::Read(_) => Kind::Read,
        Plan::Insert(_) | Plan::Write(_) | Plan::WriteReference(_) => Kind::Write,
        Plan::Copy(copy) => match copy.way {
            Copying::In(_) => Kind::Write,
            Copying::Out { .. } => Kind::Read,
        },
        Plan::Ddl(_) => Kind::Ddl,
        Plan::Local(local) => match **local {
            Local::Begin { .. }
            | Local::Commit { .. }
            | Local::Rollback { .. }
            | Local::Savepoint(_)
            | Local::Release(_)
            | Local::RollbackTo(_)
            | Local::SetTransaction { .. } => Kind::Transaction,
            _ => Kind::Other,
        },
    }
}
