//! A move from its first stage to its last. Read downward: each function is a stage, and leads to the next.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::Shared;
use super::progress::Progress;
use crate::catalog::{Asked, CatalogError, MoveStage, RecordedMove};
use crate::crash_point::{MoveStep, crash_point};
use crate::error::{Error, Result, SqlState};
use crate::shard::postgres::{Fate, MoveParts, PostgresMove, ShardedTable, Target};
use crate::topology::{Keyspace, Misfit, ShardUrl, SlotSet, Spoils, TableKind, Topology};
use crate::types::ShardId;

/// The copy is close behind: what is left takes the cutover a moment.
pub(super) const CLOSE_KEYS: u64 = 500;
/// How often the copy is brought up before it is taken as it is: writers may be faster.
pub(super) const CATCH_UP_ROUNDS: u32 = 20;
/// How long statements and transactions of an earlier epoch are waited for before it is said that they are.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often an operator's wishes are looked at while nothing is done.
const LOOKING_PAUSE: Duration = Duration::from_millis(200);

/// Why a stage has not come to its end.
#[derive(Debug)]
pub(super) enum Stop {
    /// An operator wants it to pause.
    Paused,
    /// An operator wants it to be given up.
    Cancelled,
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Failed(error)
    }
}

impl From<CatalogError> for Stop {
    fn from(error: CatalogError) -> Stop {
        Stop::Failed(error.into())
    }
}

pub(super) type Step<T = ()> = std::result::Result<T, Stop>;

/// A move that is worked on.
pub(super) struct Work {
    pub(super) shared: Arc<Shared>,
    pub(super) moved: RecordedMove,
    pub(super) shards: PostgresMove,
}

impl Work {
    /// # Errors
    /// 0A000: the shards are no Postgres servers. 55000: a shard or the keyspace is gone.
    pub(super) fn new(shared: &Arc<Shared>, moved: RecordedMove) -> Result<Work> {
        let topology = shared.live.snapshot();
        let parts = MoveParts {
            id: moved.id,
            cluster: shared.cluster.clone(),
            keyspace: moved.keyspace.clone(),
            token: format!("{:032x}", rand::random::<u128>()),
            from: server(&topology, moved.from)?,
            to: server(&topology, moved.to)?,
            slots: moved.slots.clone(),
            tables: sharded_tables(&topology, &moved.keyspace),
        };
        Ok(Work { shared: Arc::clone(shared), moved, shards: PostgresMove::new(parts) })
    }

    /// Goes on from the stage that the catalog says, to the end.
    pub(super) async fn run(&mut self) -> Step {
        match self.moved.stage {
            MoveStage::Prepare => {}
            MoveStage::CleanUp | MoveStage::Undo => self.shards.open_to_end().await?,
            _ => {
                self.shards.open().await?;
                if !self.shards.is_capturing().await? && self.shards.fate(self.moved.attempt).await? == Fate::Open {
                    return Err(unnoted().into());
                }
                self.begin_progress().await?;
            }
        }
        loop {
            match self.moved.stage {
                MoveStage::Prepare => self.prepare().await?,
                MoveStage::Copy => self.copy().await?,
                MoveStage::CatchUp => self.catch_up().await?,
                MoveStage::Verify => self.verify().await?,
                MoveStage::CutOver => self.cut_over().await?,
                MoveStage::CleanUp => self.clean_up().await?,
                MoveStage::Undo => self.undo().await?,
                MoveStage::Done | MoveStage::Cancelled => return Ok(()),
            }
        }
    }

    async fn prepare(&mut self) -> Step {
        crash_point(MoveStep::Preparing);
        self.shared.schemas_are_alike()?;
        self.shards.open().await?;
        let keyspace = self.keyspace()?;
        let (here, there) = (keyspace.slots_of(self.moved.from), keyspace.slots_of(self.moved.to));
        self.shards.prepare((&here, &there)).await?;
        self.begin_progress().await?;
        crash_point(MoveStep::Prepared);
        self.enter(MoveStage::Copy, None).await
    }

    async fn copy(&mut self) -> Step {
        // Whoever reads several shards by an earlier epoch would see the copies, too.
        self.shared.publish(None).await?;
        self.earlier_statements_have_ended().await?;
        // From here on nobody changes them through shardd.
        if !self.shards.tables_are_as_before().await? {
            return Err(changed().into());
        }
        crash_point(MoveStep::Copying);
        for number in 0..self.shards.table_count() {
            loop {
                self.look().await?;
                let copied = self.shards.copy_chunk(number).await?;
                self.note_progress(|progress| progress.add(copied.rows, copied.bytes));
                if copied.done {
                    break;
                }
                crash_point(MoveStep::CopiedOne);
                self.pace(copied.bytes).await?;
            }
        }
        crash_point(MoveStep::CopiedAll);
        self.enter(MoveStage::CatchUp, None).await
    }

    async fn catch_up(&mut self) -> Step {
        self.come_close().await?;
        crash_point(MoveStep::CaughtUp);
        self.enter(MoveStage::Verify, None).await
    }

    async fn verify(&mut self) -> Step {
        self.shards.verify().await?;
        crash_point(MoveStep::Verified);
        self.enter(MoveStage::CutOver, None).await
    }

    /// Catches up until little is left.
    pub(super) async fn come_close(&mut self) -> Step {
        for _ in 0..CATCH_UP_ROUNDS {
            self.look().await?;
            let keys = self.shards.catch_up().await?;
            self.note_progress(|progress| progress.rows_behind = keys);
            if keys < CLOSE_KEYS {
                break;
            }
        }
        Ok(())
    }

    /// Whether an operator wants something else, or the tables are not those of before. Only where the move can be let be.
    pub(super) async fn look(&self) -> Step {
        match self.shared.catalog.recorded_move(self.moved.id).await?.asked {
            Asked::GoOn => {}
            Asked::Pause => return Err(Stop::Paused),
            Asked::Cancel => return Err(Stop::Cancelled),
        }
        let tables = sharded_tables(&self.shared.live.snapshot(), &self.moved.keyspace);
        match self.shards.is_of(&tables) {
            true => Ok(()),
            false => Err(changed().into()),
        }
    }

    /// Records the next stage and publishes what it means.
    pub(super) async fn enter(&mut self, stage: MoveStage, reason: Option<&str>) -> Step {
        self.shared.enter(&self.moved, stage, reason).await?;
        tracing::info!(id = self.moved.id, stage = stage.name(), "a move has come to its next stage");
        self.moved = self.shared.catalog.recorded_move(self.moved.id).await?;
        Ok(())
    }

    /// Waits for every statement that was planned by an earlier epoch than the one of now.
    pub(super) async fn earlier_statements_have_ended(&self) -> Step {
        while tokio::time::timeout(PATIENCE, self.shared.live.turns().have_ended()).await.is_err() {
            self.say("it waits for statements that began before").await?;
        }
        Ok(())
    }

    /// Waits for every transaction on a shard that may have read there by an earlier epoch.
    pub(super) async fn transactions_have_ended(&self, shard: ShardId) -> Step {
        let turns = self.shared.live.transactions(shard);
        while tokio::time::timeout(PATIENCE, turns.have_ended()).await.is_err() {
            self.say("it waits for transactions that began before").await?;
        }
        Ok(())
    }

    /// Tells why the move waits.
    pub(super) async fn say(&self, reason: &str) -> Step {
        self.shared.note(self.moved.id, Some(reason)).await?;
        Ok(())
    }

    pub(super) fn keyspace(&self) -> Result<Arc<Keyspace>> {
        let topology = self.shared.live.snapshot();
        topology.keyspace(&self.moved.keyspace).cloned().ok_or_else(|| gone("keyspace", &self.moved.keyspace))
    }

    /// The slots that the two shards have once the slots have changed hands.
    pub(super) fn slots_afterwards(&self) -> Result<(SlotSet, SlotSet)> {
        let keyspace = self.keyspace()?;
        let here = keyspace.slots_of(self.moved.from).difference(&self.moved.slots);
        Ok((here, keyspace.slots_of(self.moved.to).union(&self.moved.slots)))
    }

    pub(super) fn note_progress(&self, change: impl FnOnce(&mut Progress)) {
        if let Some(progress) = self.shared.progress.lock().get_mut(&self.moved.id) {
            change(progress);
        }
    }

    async fn begin_progress(&mut self) -> Step {
        let owned = self.keyspace()?.slots_of(self.moved.from);
        let (rows, _) = self.shards.estimate(&owned).await?;
        let progress = Progress::new(rows, self.shards.copied().await?);
        self.shared.progress.lock().insert(self.moved.id, progress);
        Ok(())
    }

    /// Waits as long as the bound on copying asks for, as it is while it waits.
    async fn pace(&self, bytes: u64) -> Step {
        let begun = Instant::now();
        loop {
            let rate = self.shared.bytes_per_second.load(Ordering::Relaxed);
            let due = bytes.saturating_mul(1_000).checked_div(rate).map_or(Duration::ZERO, Duration::from_millis);
            let left = due.saturating_sub(begun.elapsed());
            if left.is_zero() {
                return Ok(());
            }
            tokio::time::sleep(left.min(LOOKING_PAUSE)).await;
            self.look().await?;
        }
    }
}

impl Shared {
    /// # Errors
    /// 55000: the shards' schemas differ so that statements are refused: rows that nobody can write anywhere stay where they are.
    fn schemas_are_alike(&self) -> Result<()> {
        let topology = self.live.snapshot();
        let spoils = |misfit: &&Misfit| matches!(misfit.spoils, Spoils::Everything | Spoils::Writes);
        let Some(misfit) = topology.schema.drift.misfits.iter().find(spoils) else { return Ok(()) };
        let message = format!("the shards' schemas differ: {}", misfit.message);
        Err(Error::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, message)
            .hint("`shardctl schema diff` shows all of it, and what to do."))
    }
}

/// The tables whose rows move with a keyspace's slots, by name.
pub(super) fn sharded_tables(topology: &Topology, keyspace: &str) -> Vec<ShardedTable> {
    let tables = topology.schema.tables.values().filter(|table| table.keyspace == keyspace);
    let sharded = tables.filter_map(|table| match table.kind {
        TableKind::Reference => None,
        TableKind::Sharded { key_column, key_type } => {
            let key_column = table.columns.get(key_column)?.name.clone();
            Some(ShardedTable { name: table.name.clone(), key_column, key_type })
        }
    });
    sharded.collect()
}

/// A shard's name and where its server is.
pub(super) fn server(topology: &Topology, id: ShardId) -> Result<(String, Target)> {
    let shard = topology.shard(id).ok_or_else(|| gone("shard number", id))?;
    match ShardUrl::parse(&shard.url) {
        Ok(ShardUrl::Postgres(url)) => {
            let target = Target::parse(&url).map_err(|error| gone("server", error))?;
            Ok((shard.name.clone(), target))
        }
        _ => {
            let message = "slots of SQLite shards cannot be moved yet";
            Err(Error::new(SqlState::FEATURE_NOT_SUPPORTED, message).hint("Moves work between Postgres shards."))
        }
    }
}

fn gone(what: &str, which: impl std::fmt::Display) -> Error {
    let message = format!("there is no {what} {which} for the move any more");
    Error::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, message)
}

fn unnoted() -> Error {
    let message = "changes of the moving rows were not noted all the while: a trigger of the move's is gone";
    Error::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, message).hint("Start the move again.")
}

fn changed() -> Error {
    let message = "the keyspace's tables have changed since the move began";
    Error::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, message)
        .hint("Start the move again when their definitions stay as they are.")
}
