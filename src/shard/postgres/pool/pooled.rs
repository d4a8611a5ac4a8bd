//! A connection that is given out, and how it comes back.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use tokio::time::Instant;

use super::Pool;
use crate::shard::postgres::Keeper;
use crate::shard::postgres::backend::Backend;
use crate::shard::postgres::call::Aftermath;
use crate::types::ShardId;

/// A connection and its dates.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) backend: Box<Backend>,
    /// It is not given out again after this.
    pub(super) expires: Option<Instant>,
    /// When it was last given back.
    pub(super) idle_since: Instant,
    /// Among all connections that this process ever made.
    pub(super) number: u64,
    /// How often it was given out.
    pub(super) uses: u64,
}

/// One use of one connection, from when it is given out until it is the next time: what a session left there is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Use {
    connection: u64,
    number: u64,
}

impl Held {
    pub(super) fn as_used(&self) -> Use {
        Use { connection: self.number, number: self.uses }
    }

    pub(super) fn is_expired(&self, now: Instant) -> bool {
        self.expires.is_some_and(|expires| now >= expires)
    }
}

/// A pool's connection in the hands of one client. Dropping it closes the connection, since nobody vouched for its
/// state, and cancels what it runs; [`Pooled::give_back`] is how the next client gets it.
#[derive(Debug)]
pub struct Pooled {
    pool: Arc<Pool>,
    /// Gone only while it is given back.
    held: Option<Held>,
    /// The session to which it comes back, and the shard's number there.
    keeper: Option<(Arc<Keeper>, ShardId)>,
}

impl Pooled {
    pub(super) fn new(pool: Arc<Pool>, mut held: Held) -> Pooled {
        held.uses += 1;
        Pooled { pool, held: Some(held), keeper: None }
    }

    /// For whoever used it last.
    pub(super) fn again(pool: Arc<Pool>, held: Held) -> Pooled {
        Pooled { pool, held: Some(held), keeper: None }
    }

    /// Which use of which connection this is.
    pub(in crate::shard::postgres) fn as_used(&self) -> Use {
        self.held.as_ref().expect("held until it is given back").as_used()
    }

    /// Whether another session may have had it before.
    pub(in crate::shard::postgres) fn was_used(&self) -> bool {
        self.held.as_ref().is_some_and(|held| held.uses > 1)
    }

    /// What its session left on it is gone.
    pub(in crate::shard::postgres) fn is_as_new(&mut self) {
        self.held.as_mut().expect("held until it is given back").uses += 1;
        self.state.is_as_new();
    }

    /// Returns the connection for the next client: its session equals a fresh one, no transaction is open, and every
    /// message that was due has been taken. A connection with bytes in its buffers is closed all the same.
    ///
    /// One that a session keeps goes back there instead, whatever its session is.
    pub fn give_back(self) {
        self.give_back_at(Instant::now());
    }

    /// As [`Pooled::give_back`], for who knows what time it is.
    #[inline]
    pub fn give_back_at(mut self, now: Instant) {
        if let Some((keeper, shard)) = self.keeper.take() {
            return keeper.receive(shard, self);
        }
        if let Some(held) = self.held.take() {
            self.pool.receive(held, now);
        }
    }

    pub fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// From now on it comes back to a session.
    pub(in crate::shard::postgres) fn is_kept_by(&mut self, keeper: &Arc<Keeper>, shard: ShardId) {
        self.unasked.get_or_insert_default();
        self.keeper = Some((Arc::clone(keeper), shard));
    }

    pub(in crate::shard::postgres) fn keeper(&self) -> Option<&(Arc<Keeper>, ShardId)> {
        self.keeper.as_ref()
    }

    /// Tells the session that keeps it, if one does, what a statement may have left. Whether one does.
    pub(in crate::shard::postgres) fn note(&self, aftermath: Aftermath) -> bool {
        if let Some((keeper, shard)) = &self.keeper {
            keeper.note(*shard, aftermath);
        }
        self.keeper.is_some()
    }
}

/// Counts a connection as kept, while it lives.
#[derive(Debug)]
pub(in crate::shard::postgres) struct KeptCount(Arc<Pool>);

impl Pool {
    pub(in crate::shard::postgres) fn count_kept(self: &Arc<Self>) -> KeptCount {
        self.state.lock().kept += 1;
        KeptCount(Arc::clone(self))
    }
}

impl Drop for KeptCount {
    fn drop(&mut self) {
        self.0.state.lock().kept -= 1;
    }
}

impl Deref for Pooled {
    type Target = Backend;

    fn deref(&self) -> &Backend {
        &self.held.as_ref().expect("held until it is given back").backend
    }
}

impl DerefMut for Pooled {
    fn deref_mut(&mut self) -> &mut Backend {
        &mut self.held.as_mut().expect("held until it is given back").backend
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        if let Some((keeper, shard)) = self.keeper.take() {
            keeper.forget(shard, None);
        }
        if let Some(held) = self.held.take() {
            self.pool.give_up(held);
        }
    }
}

/// A connection on its way to a client that waited. If the client has gone it is as clean as it was.
#[derive(Debug)]
pub(super) struct Granted(Option<Pooled>);

impl Granted {
    pub(super) fn new(pooled: Pooled) -> Granted {
        Granted(Some(pooled))
    }

    pub(super) fn into_pooled(mut self) -> Option<Pooled> {
        self.0.take()
    }

    pub(super) fn into_held(self) -> Option<Held> {
        self.into_pooled().and_then(|mut pooled| pooled.held.take())
    }
}

impl Drop for Granted {
    fn drop(&mut self) {
        if let Some(pooled) = self.0.take() {
            pooled.give_back();
        }
    }
}
