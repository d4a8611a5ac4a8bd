//! A transaction as its session sees it: what it may do, which shards take part, and how it ends.
//!
//! BEGIN reaches a shard when the first statement that needs it does. At READ COMMITTED reads take no part: each sees
//! what was committed when it began, and only writing (or FOR UPDATE) takes the shard's writer, which is then held to
//! the end. Above it, the first read on a shard opens a snapshot there. What was written on several shards is committed on all
//! or none.

use std::sync::Arc;

use tokio::sync::OwnedMutexGuard;
use tokio::time::Instant;

use super::Engine;
use super::cursors::{Cursor, RowCursors};
use super::deadlock::{SCHEMA_LOCK, WriterParty};
use super::kind::Hidden;
use super::participant::Participant;
use super::session::microseconds_since_2000;
use super::settings::Settings;
use super::spanning::{Committed, SpanningPart};
use crate::error::{Error, Result, Retry, SqlState};
use crate::plan::Isolation;
use crate::shard::postgres::{Keeper, PostgresShard, SessionSettings, Told};
use crate::shard::{Beginning, CancelFlag, ShardKind, ShardTransaction, TransactionMode};
use crate::topology::{Schema, Topology};
use crate::types::ShardId;

/// Who opened a transaction, and so who ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opened {
    /// BEGIN: it ends with COMMIT or ROLLBACK.
    Client,
    /// Several statements between two synchronisation points: it ends with the second.
    Batch,
    /// One statement that writes on several shards: it ends with the statement.
    Statement,
}

#[derive(Debug)]
pub(super) struct Transaction {
    pub(super) opened: Opened,
    pub(super) isolation: Isolation,
    pub(super) read_only: bool,
    pub(super) failed: bool,
    /// A statement has run: the isolation level is settled.
    pub(super) used: bool,
    /// `now()`: microseconds since 2000-01-01 UTC.
    pub(super) now: i64,
    /// The schema as this transaction has changed it; nobody else sees it before the commit.
    pub(super) schema: Option<Arc<Schema>>,
    pub(super) participants: Vec<Participant>,
    /// Open savepoints, oldest first. Names may repeat; the newest is meant.
    savepoints: Vec<Savepoint>,
    /// What ROLLBACK brings back: the settings at BEGIN.
    pub(super) settings: Settings,
    /// Ends waits for a shard's writer.
    cancel: CancelFlag,
    /// What it hides from everybody else: let go of before the schema's lock is.
    pub(super) hidden: Option<Hidden>,
    /// Held from the first change of the schema to the end.
    schema_lock: Option<OwnedMutexGuard<()>>,
    pub(super) cursors: Vec<Cursor>,
    pub(super) row_cursors: RowCursors,
    /// SET LOCAL: what the end of the transaction brings back.
    pub(super) local_settings: Vec<(String, Option<super::settings::Set>)>,
    /// What its session keeps on Postgres shards.
    pub(super) keeper: Option<Arc<Keeper>>,
    /// The topology before its first snapshot was taken, where all its statements see the rows of that one.
    seen: Option<Arc<Topology>>,
    /// What it holds and waits for, of SQLite shards' writers.
    writers: Option<Arc<WriterParty>>,
}

#[derive(Debug)]
struct Savepoint {
    name: String,
    schema: Option<Arc<Schema>>,
    settings: Settings,
    /// How many redo steps each participant had; those that joined later had none.
    steps: Vec<usize>,
}

impl Transaction {
    pub(super) fn new(opened: Opened, settings: &Settings, cancel: &CancelFlag) -> Transaction {
        Transaction {
            opened,
            isolation: settings.default_isolation,
            read_only: settings.default_read_only,
            failed: false,
            used: false,
            now: microseconds_since_2000(),
            schema: None,
            participants: Vec::new(),
            savepoints: Vec::new(),
            settings: settings.clone(),
            cancel: cancel.clone(),
            hidden: None,
            schema_lock: None,
            cursors: Vec::new(),
            row_cursors: RowCursors::default(),
            local_settings: Vec::new(),
            keeper: None,
            seen: None,
            writers: None,
        }
    }

    #[must_use]
    pub(super) fn with_keeper(self, keeper: Option<Arc<Keeper>>) -> Transaction {
        Transaction { keeper, ..self }
    }

    /// A new one of the same kind, for AND CHAIN.
    pub(super) fn like(&self, settings: &Settings) -> Transaction {
        Transaction {
            isolation: self.isolation,
            read_only: self.read_only,
            keeper: self.keeper.clone(),
            ..Transaction::new(self.opened, settings, &self.cancel)
        }
    }

    /// Waits until nobody else changes the schema.
    ///
    /// # Errors
    /// 55P03 when another's change takes too long; 40P01 when it waits for this transaction.
    pub(super) async fn lock_schema(&mut self, engine: &Engine) -> Result<()> {
        if self.schema_lock.is_some() {
            return Ok(());
        }
        if engine.kind != ShardKind::Sqlite {
            self.schema_lock = Some(engine.lock_schema().await?);
            return Ok(());
        }
        let writers = self.writer_party(engine);
        writers.wait_for(SCHEMA_LOCK)?;
        match engine.lock_schema().await {
            Ok(lock) => self.schema_lock = Some(lock),
            Err(error) => {
                writers.gave_up();
                return Err(error);
            }
        }
        writers.holds(SCHEMA_LOCK);
        Ok(())
    }

    /// Takes the writer of a shard. Whether the transaction may write there is the caller's to know.
    ///
    /// # Errors
    /// The shard is down, or its writer did not come free in time.
    pub(super) async fn join_as_writer(
        &mut self,
        engine: &Engine,
        shard: ShardId,
        mode: TransactionMode,
    ) -> Result<&mut Participant> {
        let holds = self.participant(shard).is_some_and(|participant| participant.writes);
        let writers = (engine.kind == ShardKind::Sqlite && !holds).then(|| self.writer_party(engine));
        if let Some(writers) = &writers {
            writers.wait_for(shard)?;
        }
        if let Some(participant) = self.participant(shard) {
            // A snapshot's first write waits within its statement.
            participant.taking = writers;
        } else {
            let participant = match (self.join(engine, shard, mode, false).await, &writers) {
                (Err(error), Some(writers)) => {
                    writers.gave_up();
                    return Err(error);
                }
                (joined, _) => joined?,
            };
            if let Some(writers) = writers {
                writers.holds(shard);
            }
            if let ShardTransaction::Sqlite(transaction) = &mut participant.transaction {
                transaction.record_changes().await?;
            }
        }
        let participant = self.participant(shard).ok_or_else(|| Error::internal("a participant is missing"))?;
        participant.writes = true;
        Ok(participant)
    }

    /// It is about to run something by this topology, or a newer one.
    pub(super) fn see(&mut self, topology: &Arc<Topology>) {
        if self.isolation != Isolation::ReadCommitted && self.seen.is_none() {
            self.seen = Some(Arc::clone(topology));
        }
    }

    /// The topology by which its rows are to be read.
    pub(super) fn seen_topology(&self) -> Option<&Arc<Topology>> {
        self.seen.as_ref()
    }

    /// The schema by which its rows are to be read, where that may be another than this one.
    pub(super) fn seen_before(&self, now: &Arc<Schema>) -> Option<&Arc<Schema>> {
        self.seen.as_ref().map(|seen| &seen.schema).filter(|seen| !Arc::ptr_eq(seen, now))
    }

    fn writer_party(&mut self, engine: &Engine) -> Arc<WriterParty> {
        Arc::clone(self.writers.get_or_insert_with(|| engine.waits.writer_party()))
    }

    /// What its Postgres shards will tell when they commit.
    pub(super) fn told(&mut self) -> Vec<Told> {
        let postgres = self.participants.iter_mut().filter_map(|participant| match &mut participant.transaction {
            ShardTransaction::Postgres(transaction) => Some(transaction.told()),
            ShardTransaction::Sqlite(_) => None,
        });
        postgres.collect()
    }

    /// COMMIT: by itself on the one shard that it wrote on; by a redo record or in two phases when there are several. Gives a
    /// warning for the client.
    ///
    /// # Errors
    /// Nothing was committed, unless the error says that the outcome is unknown.
    pub(super) async fn commit(self, engine: &Arc<Engine>) -> Result<Option<Error>> {
        if !self.spans() && self.schema.is_none() {
            return self.commit_to_the_end(engine).await;
        }
        // A client that goes away must not leave a decided commit, or a schema that nobody knows of.
        let engine = Arc::clone(engine);
        let commit = tokio::spawn(async move { self.commit_to_the_end(&engine).await });
        commit.await.unwrap_or_else(|_| {
            Err(Error::internal("a commit ended by a defect; a restart of shardd finishes it").retry(Retry::Unknown))
        })
    }

    async fn commit_to_the_end(mut self, engine: &Engine) -> Result<Option<Error>> {
        let Some(schema) = self.schema.take() else { return self.commit_participants(engine).await?.whole() };
        // A move may have begun meanwhile: whoever runs it waits for this statement, and finds no change after it.
        if let Err(error) = engine.refuse_while_slots_move() {
            self.rollback().await;
            return Err(error);
        }
        let announced = match engine.announce_schema().await {
            Ok(announced) => announced,
            Err(error) => {
                self.rollback().await;
                return Err(error);
            }
        };
        // The schema's lock is held until the new one is published.
        let _lock = self.schema_lock.take();
        let hidden = self.hidden.take();
        let committed = self.commit_participants(engine).await;
        let is_undone = committed.as_ref().is_err_and(|error| error.get_retry() != Retry::Unknown);
        if let Some(hidden) = hidden.filter(|_| !is_undone) {
            hidden.let_go();
        }
        engine.publish_schema(announced, committed.is_ok().then_some(schema))?;
        committed?.whole()
    }

    /// Commits on every shard that was written on, and lets go of the others.
    async fn commit_participants(self, engine: &Engine) -> Result<Committed> {
        let decider = self.keeper.as_ref().and_then(|keeper| keeper.unpreparable());
        let (mut writers, readers): (Vec<_>, Vec<_>) = self.participants.into_iter().partition(|p| p.writes);
        for reader in readers {
            match reader.transaction {
                // A function may have written there, and a serializable transaction may fail at its end.
                ShardTransaction::Postgres(transaction) => transaction.commit().await?,
                transaction @ ShardTransaction::Sqlite(_) => transaction.rollback().await,
            }
        }
        match writers.len() {
            0 => Ok(Committed::Everywhere),
            1 => writers.remove(0).transaction.commit().await.map(|()| Committed::Everywhere),
            _ => commit_spanning(engine, writers, decider).await,
        }
    }

    /// ROLLBACK on every participant.
    pub(super) async fn rollback(self) {
        for participant in self.participants {
            participant.transaction.rollback().await;
        }
    }

    pub(super) fn participant(&mut self, shard: ShardId) -> Option<&mut Participant> {
        self.participants.iter_mut().find(|participant| participant.shard == shard)
    }

    /// The shards that it has written on.
    pub(super) fn writers(&self) -> impl Iterator<Item = ShardId> {
        self.participants.iter().filter(|participant| participant.writes).map(|participant| participant.shard)
    }

    /// Adds a shard, which catches up with the open savepoints so that each can be rolled back to. `may_lag`: on a replica, if
    /// one can be read.
    ///
    /// # Errors
    /// The shard failed.
    pub(super) async fn join(
        &mut self,
        engine: &Engine,
        shard: ShardId,
        mode: TransactionMode,
        may_lag: bool,
    ) -> Result<&mut Participant> {
        if self.isolation != Isolation::ReadCommitted {
            self.see(&engine.live.snapshot());
        }
        let beginning = Beginning {
            mode,
            statement: self.begin_statement(),
            settings: Arc::clone(self.settings.for_shards()),
            keeper: self.keeper.clone(),
            may_lag,
            cancel: &self.cancel,
        };
        let mut transaction = engine.shard(shard)?.begin(beginning).await?;
        for level in 0..self.savepoints.len() {
            transaction.savepoint(&level_name(level)).await?;
        }
        self.participants.push(Participant::new(engine, shard, transaction));
        if engine.kind == ShardKind::Postgres && self.participants.len() > 1 {
            self.form_party(engine)?;
        }
        Ok(self.participants.last_mut().expect("a participant was just added"))
    }

    /// From now on the transaction may wait for one that waits for it on another shard.
    fn form_party(&mut self, engine: &Engine) -> Result<()> {
        let known = self.participants.iter().find_map(|participant| participant.party.clone());
        let party = known.unwrap_or_else(|| engine.waits.party(&self.cancel));
        for participant in self.participants.iter_mut().filter(|participant| participant.party.is_none()) {
            party.join(engine.shard(participant.shard)?);
            participant.note_process(&party);
            participant.party = Some(Arc::clone(&party));
        }
        Ok(())
    }

    /// Adds a Postgres shard, or finds it, where that takes no waiting. `None`: it does, or it is a write beside another shard.
    pub(super) fn join_at_once(
        &mut self,
        engine: &Engine,
        shard: &PostgresShard,
        settings: &Arc<SessionSettings>,
        writes: bool,
        now: Instant,
    ) -> Option<&mut Participant> {
        let is_other = |participant: &Participant| participant.shard != shard.id();
        if writes && (self.read_only || self.participants.iter().any(is_other)) {
            return None;
        }
        self.used = true;
        // What was set since BEGIN is told to the shard within the transaction.
        if !Arc::ptr_eq(settings, self.settings.for_shards()) {
            return None;
        }
        let known = self.participants.iter().position(|participant| participant.shard == shard.id());
        let place = match known {
            Some(place) => place,
            // It may belong on a replica.
            None if self.read_only && shard.replicas().is_some() => return None,
            // With a second shard, who waits for whom has to be looked at.
            None if self.savepoints.is_empty() && self.participants.is_empty() => {
                let transaction = shard.begin_at_once(self.begin_statement(), settings, &self.cancel, now)?;
                let transaction = ShardTransaction::Postgres(transaction);
                self.participants.push(Participant::new(engine, shard.id(), transaction));
                self.participants.len() - 1
            }
            None => return None,
        };
        let participant = &mut self.participants[place];
        participant.writes |= writes;
        Some(participant)
    }

    /// Lets go of a shard that joined last and was sent nothing.
    pub(super) fn leave_unused(&mut self) {
        let unused = |participant: &mut Participant| match &participant.transaction {
            ShardTransaction::Postgres(transaction) => transaction.is_unused(),
            ShardTransaction::Sqlite(_) => false,
        };
        if let Some(Participant { transaction: ShardTransaction::Postgres(transaction), .. }) =
            self.participants.pop_if(unused)
        {
            transaction.abandon();
        }
    }

    /// As Postgres shards are told it.
    fn begin_statement(&self) -> &'static str {
        match (self.isolation, self.read_only) {
            (Isolation::ReadCommitted, false) => "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE",
            (Isolation::ReadCommitted, true) => "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY",
            (Isolation::RepeatableRead, false) => "BEGIN ISOLATION LEVEL REPEATABLE READ READ WRITE",
            (Isolation::RepeatableRead, true) => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
            (Isolation::Serializable, false) => "BEGIN ISOLATION LEVEL SERIALIZABLE READ WRITE",
            (Isolation::Serializable, true) => "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY",
        }
    }

    /// # Errors
    /// A shard failed.
    pub(super) async fn savepoint(&mut self, name: &str, settings: &Settings) -> Result<()> {
        let level = level_name(self.savepoints.len());
        for participant in &mut self.participants {
            // What was done before the savepoint stays in the redo record when it is rolled back to.
            if participant.writes {
                participant.settle_steps().await?;
            }
            participant.transaction.savepoint(&level).await?;
        }
        self.savepoints.push(Savepoint {
            name: name.to_owned(),
            schema: self.schema.clone(),
            settings: settings.clone(),
            steps: self.participants.iter().map(|participant| participant.steps.len()).collect(),
        });
        Ok(())
    }

    /// # Errors
    /// 3B001 for an unknown name; a shard failed.
    pub(super) async fn release(&mut self, name: &str) -> Result<()> {
        let level = self.level_of(name)?;
        for participant in &mut self.participants {
            participant.transaction.release(&level_name(level)).await?;
        }
        self.savepoints.truncate(level);
        self.row_cursors.released(level);
        self.cursors.iter_mut().for_each(|cursor| cursor.level = cursor.level.min(level));
        Ok(())
    }

    /// Undoes what came after the savepoint, and lets a failed transaction go on. Gives the settings of then.
    ///
    /// # Errors
    /// 3B001 for an unknown name; a shard failed, or had to roll its whole transaction back.
    pub(super) async fn rollback_to(&mut self, name: &str) -> Result<Settings> {
        let level = self.level_of(name)?;
        for participant in &mut self.participants {
            participant.transaction.rollback_to(&level_name(level)).await?;
        }
        self.savepoints.truncate(level + 1);
        self.row_cursors.rolled_back_to(level);
        self.cursors.retain(|cursor| cursor.level <= level);
        let savepoint = &self.savepoints[level];
        for (index, participant) in self.participants.iter_mut().enumerate() {
            participant.steps.truncate(savepoint.steps.get(index).copied().unwrap_or(0));
        }
        self.schema.clone_from(&savepoint.schema);
        self.failed = false;
        Ok(savepoint.settings.clone())
    }

    pub(super) fn savepoint_count(&self) -> usize {
        self.savepoints.len()
    }

    fn level_of(&self, name: &str) -> Result<usize> {
        self.savepoints
            .iter()
            .rposition(|savepoint| savepoint.name == name)
            .ok_or_else(|| Error::new(SqlState::SAVEPOINT_EXCEPTION, format!("savepoint \"{name}\" does not exist")))
    }

    /// # Errors
    /// 25001 once a statement has run.
    pub(super) fn set(&mut self, isolation: Option<Isolation>, read_only: Option<bool>) -> Result<()> {
        if let Some(isolation) = isolation {
            if self.used && isolation != self.isolation {
                return Err(Error::new(
                    SqlState::ACTIVE_SQL_TRANSACTION,
                    "SET TRANSACTION ISOLATION LEVEL must be called before any query",
                ));
            }
            self.isolation = isolation;
        }
        if let Some(read_only) = read_only {
            if self.used && self.read_only && !read_only {
                return Err(Error::new(
                    SqlState::ACTIVE_SQL_TRANSACTION,
                    "transaction read-write mode must be set before any query",
                ));
            }
            self.read_only = read_only;
        }
        Ok(())
    }

    /// It writes on several shards.
    pub(super) fn spans(&self) -> bool {
        self.writers().nth(1).is_some()
    }
}

/// A savepoint's name on the shards: names of the client's may repeat, levels do not.
fn level_name(level: usize) -> String {
    format!("level_{level}")
}

/// Commits on several shards, on all or none.
async fn commit_spanning(engine: &Engine, writers: Vec<Participant>, decider: Option<ShardId>) -> Result<Committed> {
    let (mut parts, mut readers) = (Vec::with_capacity(writers.len()), Vec::new());
    let mut _turns = Vec::with_capacity(writers.len());
    for mut writer in writers {
        writer.settle_steps().await?;
        let holds_writer = match &mut writer.transaction {
            ShardTransaction::Sqlite(transaction) => transaction.holds_writer().await?,
            ShardTransaction::Postgres(_) => true,
        };
        let Participant { shard, transaction, steps, party, turn, .. } = writer;
        _turns.push(turn);
        match holds_writer {
            true => parts.push(SpanningPart { shard, transaction, steps, party }),
            // A snapshot that was to write, and has not: whoever would write there now, would have to wait.
            false => readers.push(transaction),
        }
    }
    let committed = engine.commit_together(parts, decider).await;
    for reader in readers {
        reader.rollback().await;
    }
    committed
}
