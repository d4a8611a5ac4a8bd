//! Moves as the admin door tells of them: shards by their names.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::admin::{MoveAction, MoveDescription, MovePlan, MoveRequest};
use crate::catalog::{Asked, NewMove, RecordedMove};
use crate::error::{Error, Result, SqlState};
use crate::rebalance::{Progress, Rebalancer, Wanted};
use crate::topology::Topology;
use crate::types::ShardId;

/// How many moves are listed.
const LISTED: u32 = 100;
const ACTOR: &str = "admin";

pub(super) async fn start(moves: &Rebalancer, topology: Arc<Topology>, request: MoveRequest) -> Result<Vec<MovePlan>> {
    let wanted = match request.slots {
        None => Wanted::Balance,
        Some(wanted) => Wanted::Slots {
            keyspace: wanted.keyspace,
            slots: wanted.slots.parse().map_err(|error: crate::topology::SlotSetError| {
                Error::new(SqlState::INVALID_PARAMETER_VALUE, error.to_string())
            })?,
            to: wanted.to,
        },
    };
    let planned = moves.plan(&wanted).await?;
    let ids = match request.dry_run {
        true => Vec::new(),
        false => {
            let all: Vec<NewMove> = planned.iter().map(|plan| plan.moved.clone()).collect();
            moves.start(&all, ACTOR).await?
        }
    };
    let plan = |(place, plan): (usize, crate::rebalance::PlannedMove)| MovePlan {
        id: ids.get(place).copied(),
        keyspace: plan.moved.keyspace,
        from: name(&topology, plan.moved.from),
        to: name(&topology, plan.moved.to),
        slots: plan.moved.slots.to_string(),
        slot_count: plan.moved.slots.len(),
        rows: plan.rows,
        bytes: plan.bytes,
    };
    Ok(planned.into_iter().enumerate().map(plan).collect())
}

pub(super) async fn list(moves: &Rebalancer, topology: Arc<Topology>) -> Result<Vec<MoveDescription>> {
    let listed = moves.moves(LISTED).await?;
    Ok(listed.into_iter().map(|(recorded, progress)| described(&topology, recorded, progress)).collect())
}

pub(super) async fn describe(moves: &Rebalancer, topology: Arc<Topology>, id: i64) -> Result<MoveDescription> {
    let (recorded, progress) = moves.one_move(id).await?;
    Ok(described(&topology, recorded, progress))
}

pub(super) async fn change(
    moves: &Rebalancer,
    topology: Arc<Topology>,
    id: i64,
    action: MoveAction,
) -> Result<MoveDescription> {
    let asked = match action {
        MoveAction::Pause => Asked::Pause,
        MoveAction::Resume => Asked::GoOn,
        MoveAction::Cancel => Asked::Cancel,
    };
    moves.ask(id, asked, ACTOR).await?;
    describe(moves, topology, id).await
}

fn described(topology: &Topology, recorded: RecordedMove, progress: Option<Progress>) -> MoveDescription {
    let (rows, bytes) = progress
        .as_ref()
        .map_or((recorded.rows_copied, recorded.bytes_copied), |progress| (progress.rows, progress.bytes));
    let until_us = match recorded.stage.has_ended() {
        true => recorded.changed_us,
        false => SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(recorded.changed_us, |now| i64::try_from(now.as_micros()).unwrap_or(i64::MAX)),
    };
    MoveDescription {
        id: recorded.id,
        from: name(topology, recorded.from),
        to: name(topology, recorded.to),
        slots: recorded.slots.to_string(),
        slot_count: recorded.slots.len(),
        stage: recorded.stage.name().to_owned(),
        asked: recorded.asked.name().to_owned(),
        reason: recorded.reason,
        rows_copied: rows,
        bytes_copied: bytes,
        percent: progress.as_ref().map(Progress::percent),
        rows_per_second: progress.as_ref().map(|progress| progress.rows_per_second),
        rows_behind: progress.as_ref().map(|progress| progress.rows_behind),
        held_ms: progress.and_then(|progress| progress.held_ms),
        attempts: recorded.attempt,
        seconds: until_us.saturating_sub(recorded.started_us).unsigned_abs() / 1_000_000,
        epoch: recorded.epoch.map(|epoch| epoch.0),
        keyspace: recorded.keyspace,
    }
}

fn name(topology: &Topology, id: ShardId) -> String {
    topology.shard(id).map_or_else(|| format!("number {id}"), |shard| shard.name.clone())
}
