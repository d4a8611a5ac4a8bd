//! The connections that one session keeps: of each shard at most one.
//!
//! What a session has on a connection (advisory locks, temporary tables, channels, held cursors) lives and dies with it. So
//! its statements run on that connection, which comes back here after each of them and not to the pool; when the session
//! ends, or has nothing left there, it is made as new and given back.
//!
//! Invariant: a kept connection that is lost takes with it what the session had there, and nobody can tell it from outside:
//! the keeper is broken then, and its session has to end with the reason.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::call::Aftermath;
use super::clean;
use super::pool::{KeptCount, Pooled};
use super::unasked::Notification;
use crate::error::{Error, Fault, Result, Retry, SqlState};
use crate::metrics::{PinGuard, PinReason, ShardMetrics};
use crate::shard::CancelFlag;
use crate::types::ShardId;

/// The connections of one session.
#[derive(Debug)]
pub struct Keeper {
    /// It keeps whatever connection its session uses: the session is pooled as a whole.
    all: bool,
    content: Mutex<Content>,
    /// A connection came back, or was lost.
    changed: Notify,
}

#[derive(Debug, Default)]
struct Content {
    /// A session touches few shards.
    kept: Vec<Kept>,
    notifications: VecDeque<Notification>,
    broken: Option<Error>,
    /// The session has ended: what comes back is made as new.
    ended: bool,
}

/// One shard's connection.
#[derive(Debug)]
struct Kept {
    shard: ShardId,
    place: Place,
    metrics: Option<Arc<ShardMetrics>>,
    pins: Vec<(PinReason, PinGuard)>,
    /// What is to be done before anybody else may have it.
    aftermath: Aftermath,
    /// What the session has there may have changed since somebody looked.
    look_due: bool,
    /// Statements may have left what no look would find: settings that functions made, a seed.
    unseen: bool,
    counted: Option<KeptCount>,
}

#[derive(Debug)]
enum Place {
    /// It was not needed yet.
    Nowhere,
    Here(Pooled),
    /// With a statement, a transaction, or rows that are still on their way.
    InUse,
}

impl Keeper {
    /// `all`: of a session that keeps every connection it uses. Otherwise it keeps those of the shards that are claimed.
    pub fn new(all: bool) -> Arc<Keeper> {
        Arc::new(Keeper { all, content: Mutex::default(), changed: Notify::new() })
    }

    /// Whether the session's statements on this shard run on a connection that is kept.
    pub fn keeps(&self, shard: ShardId) -> bool {
        self.all || self.content.lock().find(shard).is_some()
    }

    /// From now on the session's connection to this shard is kept.
    pub fn claim(&self, shard: ShardId) {
        self.content.lock().find_or_insert(shard);
    }

    /// The shards to which there is a connection.
    pub fn shards(&self) -> Vec<ShardId> {
        let content = self.content.lock();
        content.kept.iter().filter(|kept| !matches!(kept.place, Place::Nowhere)).map(|kept| kept.shard).collect()
    }

    /// The shards whose connections are pinned for this reason.
    pub fn pinned_for(&self, reason: PinReason) -> Vec<ShardId> {
        let content = self.content.lock();
        let has = |kept: &&Kept| kept.pins.iter().any(|(known, _)| *known == reason);
        content.kept.iter().filter(has).map(|kept| kept.shard).collect()
    }

    /// A shard on which the session has what keeps a transaction from being prepared.
    pub fn unpreparable(&self) -> Option<ShardId> {
        let content = self.content.lock();
        let keeps = |reason: &PinReason| {
            matches!(
                reason,
                PinReason::TemporaryTable | PinReason::Listen | PinReason::HeldCursor | PinReason::AdvisoryLock
            )
        };
        let has = |kept: &&Kept| kept.pins.iter().any(|(known, _)| keeps(known));
        content.kept.iter().find(has).map(|kept| kept.shard)
    }

    /// Whether nothing is kept, nor has to be.
    pub fn is_idle(&self) -> bool {
        let content = self.content.lock();
        !self.all && content.kept.is_empty() && content.broken.is_none() && content.notifications.is_empty()
    }

    /// Why the session cannot go on.
    pub fn broken(&self) -> Option<Error> {
        self.content.lock().broken.clone()
    }

    /// Says that a look is due at what the session has on this shard.
    pub fn look_at(&self, shard: ShardId) {
        if let Some(kept) = self.content.lock().find(shard) {
            kept.look_due = true;
        }
    }

    /// The shards where a look is due.
    pub fn to_look_at(&self) -> Vec<ShardId> {
        self.content.lock().kept.iter().filter(|kept| kept.look_due).map(|kept| kept.shard).collect()
    }

    /// What a look has found.
    pub fn pin(&self, shard: ShardId, reasons: &[PinReason]) {
        let all = self.all;
        let mut content = self.content.lock();
        let Some(kept) = content.find(shard) else { return };
        kept.look_due = false;
        kept.pins.retain(|(reason, _)| reasons.contains(reason) || (all && *reason == PinReason::Session));
        for reason in reasons {
            kept.add_pin(*reason);
        }
    }

    /// Lets go of a connection that nothing holds any more. One that is in use is let go of the next time.
    pub fn release(&self, shard: ShardId) {
        let mut content = self.content.lock();
        let Some(at) = content.kept.iter().position(|kept| kept.shard == shard) else { return };
        match std::mem::replace(&mut content.kept[at].place, Place::Nowhere) {
            Place::InUse => {
                content.kept[at].place = Place::InUse;
                content.kept[at].look_due = true;
            }
            Place::Nowhere => drop(content.kept.swap_remove(at)),
            Place::Here(connection) => {
                let aftermath = content.kept.swap_remove(at).aftermath;
                drop(content);
                clean::let_go(connection, aftermath);
            }
        }
    }

    /// Lets go of every connection that is not in use: DISCARD ALL.
    pub fn release_all(&self) {
        for shard in self.shards() {
            self.release(shard);
        }
    }

    /// The session has ended.
    pub fn end(&self) {
        let kept = {
            let mut content = self.content.lock();
            content.ended = true;
            std::mem::take(&mut content.kept)
        };
        for kept in kept {
            if let Place::Here(connection) = kept.place {
                clean::let_go(connection, kept.aftermath);
            }
        }
    }

    /// What came for the session since the last call.
    pub fn take_notifications(&self) -> VecDeque<Notification> {
        std::mem::take(&mut self.content.lock().notifications)
    }

    /// Completes when a notification has come while no statement runs, or a connection was lost. Safe to abandon.
    pub async fn event(&self) {
        loop {
            let changed = self.changed.notified();
            tokio::select! {
                biased;
                () = std::future::poll_fn(|context| self.poll_event(context)) => return,
                () = changed => {}
            }
        }
    }

    fn poll_event(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut lost = None;
        let mut content = self.content.lock();
        let mut arrived = Vec::new();
        for kept in &mut content.kept {
            let Place::Here(connection) = &mut kept.place else { continue };
            let outcome = connection.poll_unasked(context);
            arrived.extend(connection.take_unasked());
            if let Poll::Ready(Err(error)) = outcome {
                lost = Some((kept.shard, error));
                break;
            }
        }
        content.notifications.extend(arrived);
        let ready = !content.notifications.is_empty() || content.broken.is_some();
        drop(content);
        if let Some((shard, error)) = lost {
            self.forget(shard, Some(&error));
            return Poll::Ready(());
        }
        if ready { Poll::Ready(()) } else { Poll::Pending }
    }

    /// The session's connection to this shard, once what uses it has ended; `None`: there is none yet.
    ///
    /// # Errors
    /// The session is broken, or was canceled while it waited.
    pub(super) async fn take(self: &Arc<Self>, shard: ShardId, cancel: &CancelFlag) -> Result<Option<Pooled>> {
        loop {
            let changed = self.changed.notified();
            let taken = {
                let mut content = self.content.lock();
                if let Some(broken) = &content.broken {
                    return Err(broken.clone());
                }
                let Some(kept) = content.find(shard) else { return Ok(None) };
                match std::mem::replace(&mut kept.place, Place::InUse) {
                    Place::Nowhere => {
                        kept.place = Place::Nowhere;
                        return Ok(None);
                    }
                    Place::Here(connection) => Some(connection),
                    Place::InUse => None,
                }
            };
            match taken {
                Some(mut connection) => match connection.settle() {
                    Ok(()) => {
                        connection.is_kept_by(self, shard);
                        return Ok(Some(connection));
                    }
                    Err(error) => {
                        drop(connection);
                        self.forget(shard, Some(&error));
                    }
                },
                None => tokio::select! {
                    biased;
                    () = changed => {}
                    canceled = cancel.raised() => return Err(canceled),
                },
            }
        }
    }

    /// Keeps a connection that is in use.
    pub(super) fn bind(self: &Arc<Self>, shard: ShardId, connection: &mut Pooled, metrics: &Arc<ShardMetrics>) {
        let mut content = self.content.lock();
        let kept = content.find_or_insert(shard);
        kept.place = Place::InUse;
        kept.metrics = Some(Arc::clone(metrics));
        kept.counted = Some(connection.pool().count_kept());
        kept.aftermath = Aftermath::Reset;
        if self.all {
            kept.add_pin(PinReason::Session);
        }
        drop(content);
        connection.is_kept_by(self, shard);
    }

    /// Remembers what a statement may have left on a connection.
    pub(super) fn note(&self, shard: ShardId, aftermath: Aftermath) {
        if let Some(kept) = self.content.lock().find(shard) {
            kept.aftermath = kept.aftermath.max(aftermath);
            kept.look_due |= aftermath != Aftermath::Keep;
            kept.unseen |= aftermath != Aftermath::Keep;
        }
    }

    /// A connection comes back after a statement or a transaction.
    pub(super) fn receive(&self, shard: ShardId, mut connection: Pooled) {
        let usable = if connection.is_in_step() { connection.absorb().map_err(Some) } else { Err(None) };
        if let Err(told) = usable {
            drop(connection);
            return self.forget(shard, told.as_ref());
        }
        connection.rest();
        let mut content = self.content.lock();
        let arrived = connection.take_unasked();
        // Where the session has ended, nobody can tell any more what was done on it: it is closed by being dropped.
        if let Some(kept) = content.find(shard) {
            kept.place = Place::Here(connection);
            content.notifications.extend(arrived);
        }
        drop(content);
        self.changed.notify_waiters();
    }

    /// A connection was closed, or is not usable any more.
    pub(super) fn forget(&self, shard: ShardId, told: Option<&Error>) {
        let mut content = self.content.lock();
        if let Some(at) = content.kept.iter().position(|kept| kept.shard == shard) {
            let kept = content.kept.swap_remove(at);
            if !content.ended && kept.holds_something() {
                content.broken.get_or_insert_with(|| kept.lost(told));
            }
        }
        drop(content);
        self.changed.notify_waiters();
    }
}

impl Content {
    fn find(&mut self, shard: ShardId) -> Option<&mut Kept> {
        self.kept.iter_mut().find(|kept| kept.shard == shard)
    }

    fn find_or_insert(&mut self, shard: ShardId) -> &mut Kept {
        let at = self.kept.iter().position(|kept| kept.shard == shard).unwrap_or_else(|| {
            self.kept.push(Kept {
                shard,
                place: Place::Nowhere,
                metrics: None,
                pins: Vec::new(),
                aftermath: Aftermath::Keep,
                look_due: false,
                unseen: false,
                counted: None,
            });
            self.kept.len() - 1
        });
        &mut self.kept[at]
    }
}

impl Kept {
    fn add_pin(&mut self, reason: PinReason) {
        if let Some(metrics) = &self.metrics
            && !self.pins.iter().any(|(known, _)| *known == reason)
        {
            self.pins.push((reason, metrics.pin(reason)));
        }
    }

    /// Whether the session would miss the connection.
    fn holds_something(&self) -> bool {
        self.look_due || self.unseen || self.pins.iter().any(|(reason, _)| *reason != PinReason::Session)
    }

    fn lost(&self, told: Option<&Error>) -> Error {
        let pins = self.pins.iter().filter(|(reason, _)| *reason != PinReason::Session);
        let mut held: Vec<&str> = pins.map(|(reason, _)| reason.told()).collect();
        if self.look_due || self.unseen {
            held.push("what its statements may have left");
        }
        let shard = self.metrics.as_ref().map_or_else(|| self.shard.to_string(), |metrics| metrics.name().to_owned());
        let message = match told {
            Some(told) => format!("the connection to shard \"{shard}\" that this session keeps was lost: {told}"),
            None => format!("the connection to shard \"{shard}\" that this session keeps was lost"),
        };
        Error::new(SqlState::CONNECTION_FAILURE, message)
            .detail(format!("With it went what the session had there ({}).", held.join(", ")))
            .fault(Fault::Shard)
            .retry(Retry::Unknown)
            .hint("Connect again, and take the locks, or LISTEN, anew.")
    }
}
