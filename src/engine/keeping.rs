//! What a session keeps on Postgres shards: connections, and what it has on them.
//!
//! A client of the listener that pools by session keeps every connection that it uses. One of the other listener keeps those
//! on which it has an advisory lock, until it has given the lock back. What a session has is never guessed: the server is asked
//! after whatever may have changed it.
//!
//! Which shard: the one of `shardd.key` where that is set. Without a key, locks and LISTEN are on *every* shard, so that they
//! meet those who name a key; see `advisory` and `notifying`.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::session::{Execution, Session};
use super::temporary::Temporaries;
use super::transaction::{Opened, Transaction};
use super::write::held;
use crate::error::{Error, Result, SqlState};
use crate::metrics::{Door, PinReason};
use crate::shard::postgres::{self, Keeper, Notification, Possessions};
use crate::shard::{Call, CancelFlag, Output, OutputColumn, Rows, ShardKind, ShardTransaction, TransactionMode};
use crate::types::ShardId;

/// What one session keeps.
pub(super) struct Keeping {
    pub(super) keeper: Arc<Keeper>,
    /// Every connection, until it ends.
    by_session: bool,
    /// What it was last found to have.
    pub(super) found: BTreeMap<ShardId, Possessions>,
    pub(super) temporaries: Temporaries,
    /// Of cursors that outlive their transactions.
    pub(super) held_columns: BTreeMap<String, Arc<[OutputColumn]>>,
}

impl Keeping {
    pub(super) fn new(by_session: bool) -> Box<Keeping> {
        let keeper = Keeper::new(by_session);
        Box::new(Keeping {
            keeper,
            by_session,
            found: BTreeMap::new(),
            temporaries: Temporaries::default(),
            held_columns: BTreeMap::new(),
        })
    }
}

impl Drop for Keeping {
    fn drop(&mut self) {
        self.keeper.end();
    }
}

impl Session {
    /// The session of a client that keeps its connections until it ends.
    pub(super) fn keeping_of(door: Door, kind: ShardKind) -> Option<Box<Keeping>> {
        (door == Door::PostgresSession && kind == ShardKind::Postgres).then(|| Keeping::new(true))
    }

    pub(super) fn keeper(&self) -> Option<&Arc<Keeper>> {
        self.kept.as_ref().map(|kept| &kept.keeper)
    }

    pub(super) fn pools_by_session(&self) -> bool {
        self.kept.as_ref().is_some_and(|kept| kept.by_session)
    }

    fn keeping(&mut self) -> &mut Keeping {
        self.kept.get_or_insert_with(|| Keeping::new(false))
    }

    /// Whether it keeps connections, on which something may arrive at any time: see [`Session::event`].
    pub fn keeps_connections(&self) -> bool {
        self.kept.is_some()
    }

    /// Completes when [`Session::take_notifications`] or [`Session::broken`] has something to tell, while nothing runs. Safe to
    /// abandon.
    pub async fn event(&self) {
        match self.keeper() {
            Some(keeper) => keeper.event().await,
            None => std::future::pending().await,
        }
    }

    /// Notifications that came for the client: the number of the process that sent each, as this client knows it, and the rest.
    pub fn take_notifications(&mut self) -> VecDeque<(i32, bytes::Bytes)> {
        let told = |Notification { process, body }| (process.unwrap_or(self.identity.backend_pid), body);
        self.keeper().map(|keeper| keeper.take_notifications().into_iter().map(told).collect()).unwrap_or_default()
    }

    /// Why the session cannot go on: it had something on a connection that was lost.
    pub fn broken(&self) -> Option<Error> {
        self.keeper()?.broken()
    }

    /// # Errors
    /// 0A000: the session gives its connections back after each transaction.
    pub(super) fn require_session_pooling(&self, what: &str) -> Result<()> {
        if self.pools_by_session() {
            return Ok(());
        }
        Err(Error::unsupported(
            format!("{what} on this listener"),
            "It would belong to one connection, and the next statement may be on another: connect to the listener that \
             pools by session (listen.postgres_session, port 6433 unless it is configured).",
        ))
    }

    /// # Errors
    /// 0A000: nothing of this session's outlives its request.
    pub(super) fn require_connection(&self, what: &str) -> Result<()> {
        if matches!(self.door, Door::Postgres | Door::PostgresSession) {
            return Ok(());
        }
        Err(Error::unsupported(format!("{what} at this door"), "Connect with the Postgres protocol."))
    }

    pub(super) fn new_transaction(&self, opened: Opened) -> Transaction {
        Transaction::new(opened, &self.settings, &self.cancel).with_keeper(self.keeper().cloned())
    }

    /// All shards, in the order in which everybody takes them.
    ///
    /// # Errors
    /// 08006: one of them is not open.
    pub(super) fn every_shard(&self) -> Result<Vec<ShardId>> {
        let mut shards: Vec<ShardId> = self.engine.live.snapshot().shards.iter().map(|shard| shard.id).collect();
        shards.sort_unstable();
        shards.iter().try_for_each(|shard| self.engine.shard(*shard).map(|_| ()))?;
        Ok(shards)
    }

    /// The shard of what belongs to no key and has to be on one shard: the same for everybody.
    pub(super) fn home_shard(&self) -> Result<ShardId> {
        self.engine.live.snapshot().home_shard().ok_or_else(|| Error::internal("there are no shards"))
    }

    /// Runs the client's own text on the connection that the session keeps to a shard from now on: in the open transaction, or
    /// by itself. All its rows are taken.
    pub(super) async fn run_kept(&mut self, shard: ShardId, execution: &Execution) -> Result<Output> {
        match self.call(execution, execution.whole_program()?)? {
            Call::Postgres(call) => self.run_call_kept(shard, call).await,
            Call::Sqlite(_) => Err(Error::internal("a statement for Postgres shards came to another kind")),
        }
    }

    /// The same for a text of shardd's own, which returns nothing.
    pub(super) async fn run_text_kept(&mut self, shard: ShardId, text: &str) -> Result<()> {
        let call = self.own_call(text);
        self.run_call_kept(shard, call).await.map(|_| ())
    }

    pub(super) async fn run_call_kept(&mut self, shard: ShardId, mut call: postgres::Call) -> Result<Output> {
        self.ran_on.add(shard);
        let keeper = Arc::clone(&self.keeping().keeper);
        keeper.claim(shard);
        keeper.look_at(shard);
        call.keeper = Some(Arc::clone(&keeper));
        let engine = Arc::clone(&self.engine);
        let open = engine.shard(shard)?;
        let output = match &mut self.transaction {
            None => open.read(Call::Postgres(call)).await?,
            Some(transaction) => {
                transaction.used = true;
                transaction.keeper = Some(Arc::clone(&keeper));
                match transaction.participant(shard) {
                    None => drop(transaction.join(&engine, shard, TransactionMode::Snapshot, false).await?),
                    Some(participant) => {
                        open.postgres()?.keep(participant.transaction.postgres()?, &keeper).await?;
                    }
                }
                let participant = transaction.participant(shard);
                let participant = participant.ok_or_else(|| Error::internal("a participant is missing"))?;
                participant.run(Call::Postgres(call)).await?
            }
        };
        keeper.look_at(shard);
        whole(output).await
    }

    /// Asks the servers what the session has, wherever that may have changed, and lets go of what it has no need of.
    pub(super) async fn look(&mut self) {
        let Some(keeper) = self.keeper().cloned() else { return };
        for shard in keeper.to_look_at() {
            match self.ask_possessions(shard, &keeper).await {
                Ok(Some(found)) => self.note_possessions(shard, found, &keeper),
                // After the end of the transaction, which has failed.
                Ok(None) => {}
                // The connection was lost, and the session is told so.
                Err(_) if keeper.broken().is_some() => return,
                Err(error) => {
                    tracing::warn!(shard = self.engine.shard_name(shard), %error, "a session cannot be asked what it has");
                }
            }
        }
        if keeper.is_idle() && self.transaction.is_none() {
            self.kept = None;
        }
    }

    async fn ask_possessions(&mut self, shard: ShardId, keeper: &Arc<Keeper>) -> Result<Option<Possessions>> {
        let settings = Arc::clone(self.settings.for_shards());
        if let Some(transaction) = &mut self.transaction {
            let failed = transaction.failed;
            if let Some(participant) = transaction.participant(shard) {
                let ShardTransaction::Postgres(own) = &mut participant.transaction else { return Ok(None) };
                if failed {
                    return Ok(None);
                }
                return match own.possessions(&settings).await {
                    Err(error) if error.sqlstate() == SqlState::IN_FAILED_SQL_TRANSACTION => Ok(None),
                    found => found.map(Some),
                };
            }
        }
        if !keeper.shards().contains(&shard) {
            return Ok(Some(Possessions::default()));
        }
        self.engine.shard(shard)?.postgres()?.possessions(&settings, keeper).await.map(Some)
    }

    fn note_possessions(&mut self, shard: ShardId, found: Possessions, keeper: &Keeper) {
        let reasons = found.reasons();
        keeper.pin(shard, &reasons);
        let in_use = self.transaction.as_mut().is_some_and(|transaction| transaction.participant(shard).is_some());
        if reasons.is_empty() && !in_use && !self.pools_by_session() {
            keeper.release(shard);
        } else if reasons.is_empty() && in_use {
            keeper.look_at(shard);
        }
        let Some(kept) = &mut self.kept else { return };
        let before = if reasons.is_empty() { kept.found.remove(&shard) } else { kept.found.insert(shard, found) };
        if before.as_ref() != kept.found.get(&shard) {
            kept.temporaries.forget();
            let cursors: Vec<&String> = kept.found.values().flat_map(|found| &found.cursors).collect();
            kept.held_columns.retain(|name, _| cursors.contains(&name));
        }
    }

    /// A transaction has ended: what it made is there to stay, or gone.
    pub(super) async fn look_after_transaction(&mut self) {
        let Some(kept) = &self.kept else { return };
        for shard in kept.found.keys() {
            kept.keeper.look_at(*shard);
        }
        Box::pin(self.look()).await;
    }

    /// The shards on which the session was found to have something.
    pub(super) fn pinned_for(&self, reason: PinReason) -> Vec<ShardId> {
        let mut shards = self.keeper().map(|keeper| keeper.pinned_for(reason)).unwrap_or_default();
        shards.sort_unstable();
        shards
    }

    /// DISCARD ALL: the session has nothing any more.
    pub(super) fn discard_kept(&mut self) {
        let Some(kept) = &mut self.kept else { return };
        kept.keeper.release_all();
        kept.found.clear();
        kept.held_columns.clear();
        kept.temporaries.forget();
        if kept.keeper.is_idle() {
            self.kept = None;
        }
    }

    /// A call that is not canceled with the session's statement: it takes back what that has done.
    pub(super) fn uncanceled(call: postgres::Call) -> postgres::Call {
        postgres::Call { cancel: CancelFlag::new(), ..call }
    }
}

/// All rows of a statement that returns few.
async fn whole(mut output: Output) -> Result<Output> {
    let notices = std::mem::take(&mut output.notices);
    let written = held(output).await?;
    Ok(Output {
        columns: written.columns,
        row_description: written.row_description,
        rows: Rows::Ready(written.rows),
        affected: written.affected,
        notices,
        numbers: written.numbers,
    })
}
