//! Statements on slots that are about to change their owner: they wait until an epoch is published that holds them no longer, and
//! are planned by that one.
//!
//! A transaction that has used the owner of before goes on there: who moves the slots waits for it, and so it must not wait itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use super::answer::Answer;
use super::session::{Execution, Scope, Session};
use super::statement::Prepared;
use crate::error::{Error, Result, Retry, SqlState};
use crate::metrics::InFlight;
use crate::plan::{Copying, Local, Plan, ReadSource, Route, Slots};
use crate::shard::{Formats, RawParameters};
use crate::topology::{Keyspace, Topology, slot_of};
use crate::types::{Epoch, ShardId, Slot};

/// The places of statements that wait.
#[derive(Debug)]
pub(super) struct Holding(Semaphore);

impl Holding {
    pub(super) fn new(statements: usize) -> Holding {
        Holding(Semaphore::new(statements.min(Semaphore::MAX_PERMITS)))
    }
}

/// What a statement touches.
struct Touched<'t> {
    /// `None`: tables of any.
    keyspace: Option<&'t Keyspace>,
    slots: Slots,
    /// It is for one shard, or may write.
    waits: bool,
}

impl<'t> Touched<'t> {
    fn keyspaces(&self, topology: &'t Topology) -> Vec<&'t Keyspace> {
        match self.keyspace {
            Some(keyspace) => vec![keyspace],
            None => topology.keyspaces.iter().map(|keyspace| &**keyspace).collect(),
        }
    }

    /// The owners of the slots that it would have to wait for.
    fn held_owners(&self, topology: &'t Topology) -> Vec<ShardId> {
        let held = |keyspace: &&Keyspace, slot: &Slot| keyspace.held.contains(*slot);
        let mut owners = Vec::new();
        for keyspace in self.keyspaces(topology) {
            let slots: Vec<Slot> = match &self.slots {
                Slots::Any => Vec::new(),
                Slots::These(slots) => slots.iter().copied().filter(|slot| held(&keyspace, slot)).collect(),
                Slots::All => keyspace.held.iter().collect(),
            };
            owners.extend(slots.into_iter().map(|slot| keyspace.owner(slot)));
        }
        owners.sort_unstable();
        owners.dedup();
        owners
    }

    /// Whether one of its slots had another owner by an earlier topology.
    fn has_moved(&self, before: &Topology, now: &'t Topology) -> bool {
        self.keyspaces(now).into_iter().any(|keyspace| match before.keyspace(&keyspace.name) {
            None => true,
            Some(before) => match &self.slots {
                Slots::Any => false,
                Slots::These(slots) => slots.iter().any(|slot| before.owner(*slot) != keyspace.owner(*slot)),
                Slots::All => before.owners != keyspace.owners,
            },
        })
    }
}

impl Session {
    /// Looks whether a statement may begin now, where slots are held or have changed owners.
    ///
    /// # Errors
    /// [`is_held`]: it has to wait. 40001: the transaction sees the rows of before a move. What makes the statement itself wrong is
    /// told where it runs.
    pub(super) fn look_at_moves(&mut self, execution: &Execution) -> Result<()> {
        let topology = self.engine.live.snapshot();
        let seen = self.transaction.as_ref().and_then(|transaction| transaction.seen_topology());
        let seen = seen.filter(|seen| seen.epoch != topology.epoch);
        if seen.is_none() && !self.may_be_held {
            return Ok(());
        }
        let Some(touched) = touched(execution, &topology) else { return Ok(()) };
        if seen.is_some_and(|seen| touched.has_moved(seen, &topology)) {
            return Err(moved_after_snapshot());
        }
        if !touched.waits || !self.may_be_held {
            return Ok(());
        }
        let owners = touched.held_owners(&topology);
        let has_used = |transaction: &super::transaction::Transaction| {
            transaction.participants.iter().any(|participant| owners.contains(&participant.shard))
        };
        if owners.is_empty() || self.transaction.as_ref().is_some_and(has_used) {
            return Ok(());
        }
        self.held_at = topology.epoch;
        Err(held())
    }

    /// The slots that a statement has touched may have changed owners while it ran: some of its shards were chosen before, others after.
    ///
    /// # Errors
    /// 40001: the transaction sees the rows of before a move.
    pub(super) fn refuse_moved_meanwhile(&self, execution: &Execution) -> Result<()> {
        let Some(seen) = self.transaction.as_ref().and_then(|transaction| transaction.seen_topology()) else {
            return Ok(());
        };
        let topology = self.engine.live.load();
        if seen.epoch == topology.epoch {
            return Ok(());
        }
        match touched(execution, &topology) {
            Some(touched) if touched.has_moved(seen, &topology) => Err(moved_after_snapshot()),
            _ => Ok(()),
        }
    }

    /// Runs a statement that had to wait, when it has waited. What it holds for those who wait for older statements is let go of
    /// meanwhile.
    pub(super) async fn run_when_moved(
        &mut self,
        mut in_flight: InFlight,
        prepared: &Arc<Prepared>,
        parameters: &Arc<RawParameters>,
        formats: &Formats,
        scope: Scope,
    ) -> (InFlight, Result<Answer>) {
        let engine = Arc::clone(&self.engine);
        let Ok(_place) = engine.holding.0.try_acquire() else { return (in_flight, Err(too_many())) };
        let begun = Instant::now();
        loop {
            in_flight = in_flight.out_of_turn();
            if let Err(error) = self.wait_for_newer(self.held_at, begun).await {
                return (in_flight, Err(error));
            }
            in_flight = in_flight.in_turn(engine.live.turns().take());
            self.may_be_held = true;
            match self.run_with(prepared, parameters, formats, scope).await {
                Err(error) if is_held(&error) => {}
                answer => return (in_flight, answer),
            }
        }
    }

    async fn wait_for_newer(&self, epoch: Epoch, begun: Instant) -> Result<()> {
        let most = self.engine.limits.move_hold;
        let left = most.saturating_sub(begun.elapsed());
        let mut changed = self.engine.live.changed();
        if self.engine.live.load().epoch > epoch {
            return if left.is_zero() { Err(held_too_long(most)) } else { Ok(()) };
        }
        tokio::select! {
            biased;
            canceled = self.cancel.raised() => Err(canceled),
            _ = changed.changed() => Ok(()),
            () = tokio::time::sleep(left) => Err(held_too_long(most)),
        }
    }
}

/// `None`: no rows of sharded tables, or another statement within has to say.
fn touched<'t>(execution: &Execution, topology: &'t Topology) -> Option<Touched<'t>> {
    let statement = &execution.statement;
    let by_route = |route: &Route, mixes: bool, writes: bool| {
        if mixes {
            return Some(Touched { keyspace: None, slots: Slots::All, waits: writes });
        }
        let keyspace = &**topology.keyspace(&route.keyspace)?;
        let targets = route.shards(&statement.compared_parameters(&execution.parameters), topology).ok()?;
        let waits = writes || targets.shards.len() == 1;
        Some(Touched { keyspace: Some(keyspace), slots: targets.slots, waits })
    };
    match statement.planned() {
        Plan::Read(read) if read.source == ReadSource::Shards => {
            by_route(&read.route, read.mixes_keyspaces, read.locks_rows)
        }
        Plan::Write(write) => by_route(&write.route, write.mixes_keyspaces, true),
        Plan::Insert(insert) => {
            let keyspace = &**topology.keyspace(&insert.keyspace)?;
            let parameters = statement.assigned_parameters(&execution.parameters);
            let keys = (0..insert.row_keys.len()).map(|row| insert.row_key(row, &parameters));
            let slots = keys.map(|key| key.ok().map(|key| slot_of(&key))).collect::<Option<Vec<Slot>>>()?;
            Some(Touched { keyspace: Some(keyspace), slots: Slots::These(slots), waits: true })
        }
        Plan::Copy(copy) => match &copy.way {
            Copying::In(rows) => {
                rows.key?;
                let keyspace = &**topology.keyspace(&rows.table.keyspace)?;
                Some(Touched { keyspace: Some(keyspace), slots: Slots::All, waits: true })
            }
            Copying::Out { .. } => None,
        },
        Plan::Local(local) => match &**local {
            Local::OnKeyShard { .. } => Some(Touched { keyspace: None, slots: Slots::All, waits: true }),
            _ => None,
        },
        Plan::Read(_) | Plan::WriteReference(_) | Plan::Ddl(_) => None,
    }
}

const HELD: &str = "the rows that the statement needs are being moved to another shard";

fn held() -> Error {
    Error::new(SqlState::SERIALIZATION_FAILURE, HELD).retry(Retry::Safe)
}

/// Whether an error only says that its statement has to wait.
pub(super) fn is_held(error: &Error) -> bool {
    error.sqlstate() == SqlState::SERIALIZATION_FAILURE && error.message() == HELD && error.get_hint().is_none()
}

fn held_too_long(most: Duration) -> Error {
    held()
        .detail(format!("Waited {} ms.", most.as_millis()))
        .hint("Nothing was done: run the whole transaction again. limits.move_hold_ms says how long statements wait.")
}

fn too_many() -> Error {
    held()
        .detail("As many statements as may are waiting for it.")
        .hint("Nothing was done: run the whole transaction again. limits.move_held_statements says how many may wait.")
}

fn moved_after_snapshot() -> Error {
    let message =
        "rows that the statement needs were moved to another shard after the transaction's snapshot was taken";
    Error::new(SqlState::SERIALIZATION_FAILURE, message)
        .retry(Retry::Safe)
        .hint("Roll back, and run the whole transaction again.")
}
