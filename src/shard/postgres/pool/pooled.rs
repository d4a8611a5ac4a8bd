//! A connection that is given out, and how it comes back.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use tokio::time::Instant;

use super::Pool;
use crate::shard::postgres::backend::Backend;

/// A connection and its dates.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) backend: Box<Backend>,
    /// It is not given out again after this.
    pub(super) expires: Option<Instant>,
    /// When it was last given back.
    pub(super) idle_since: Instant,
}

impl Held {
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
}

impl Pooled {
    pub(super) fn new(pool: Arc<Pool>, held: Held) -> Pooled {
        Pooled { pool, held: Some(held) }
    }

    /// Returns the connection for the next client: its session equals a fresh one, no transaction is open, and every
    /// message that was due has been taken. A connection with bytes in its buffers is closed all the same.
    pub fn give_back(mut self) {
        if let Some(held) = self.held.take() {
            self.pool.receive(held);
        }
    }

    pub fn pool(&self) -> &Arc<Pool> {
        &self.pool
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
