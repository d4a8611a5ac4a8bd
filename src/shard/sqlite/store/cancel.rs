//! How a statement that SQLite runs is told to stop.
//!
//! SQLite asks a progress handler every thousand instructions whether to go on. It asks a [`Watch`], which belongs to
//! the connection and is armed for each statement: with the client's [`CancelFlag`], a budget for a read that runs on a
//! thread that must not be kept, and the stream whose receiver may have gone.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::shard::CancelFlag;

/// SQLite's instructions between two looks at the watch.
pub(super) const INSTRUCTIONS_PER_TICK: i32 = 1_000;

/// Why a watch ended a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stopped {
    Canceled,
    /// It used up its budget: a read, to be run again elsewhere.
    Budget,
    /// Nobody takes its rows any more.
    Abandoned,
}

/// A look at whoever waits for a statement: true once nobody does.
pub(super) type Gone = Box<dyn Fn() -> bool + Send>;

#[derive(Default)]
struct Armed {
    cancel: Option<CancelFlag>,
    gone: Option<Gone>,
    /// Ticks that are left; `None`: as many as it takes.
    budget: Option<u32>,
    stopped: Option<Stopped>,
}

/// A connection's progress handler, and what it looks at.
#[derive(Clone, Default)]
pub(super) struct Watch(Arc<Mutex<Armed>>);

impl Watch {
    pub(super) fn install(connection: &rusqlite::Connection) -> rusqlite::Result<Watch> {
        let watch = Watch::default();
        let handler = watch.clone();
        connection.progress_handler(INSTRUCTIONS_PER_TICK, Some(move || handler.must_stop()))?;
        Ok(watch)
    }

    /// Watches over the next statement, until the guard is dropped.
    pub(super) fn arm(&self, cancel: &CancelFlag, budget: Option<u32>) -> Watching<'_> {
        *self.0.lock() = Armed { cancel: Some(cancel.clone()), gone: None, budget, stopped: None };
        Watching(self)
    }

    /// From now on, ends the armed statement when `gone` says that nobody waits for it.
    pub(super) fn until(&self, gone: Gone) {
        self.0.lock().gone = Some(gone);
    }

    fn must_stop(&self) -> bool {
        let mut armed = self.0.lock();
        let Some(cancel) = &armed.cancel else { return false };
        if cancel.is_raised() {
            armed.stopped = Some(Stopped::Canceled);
        } else if armed.gone.as_ref().is_some_and(|gone| gone()) {
            armed.stopped = Some(Stopped::Abandoned);
        } else if let Some(left) = &mut armed.budget {
            match left.checked_sub(1) {
                Some(fewer) => *left = fewer,
                None => armed.stopped = Some(Stopped::Budget),
            }
        }
        armed.stopped.is_some()
    }
}

pub(super) struct Watching<'a>(&'a Watch);

impl Watching<'_> {
    /// Why the statement was ended, if it was the watch that ended it.
    pub(super) fn stopped(&self) -> Option<Stopped> {
        self.0.0.lock().stopped
    }
}

impl Drop for Watching<'_> {
    fn drop(&mut self) {
        *self.0.0.lock() = Armed::default();
    }
}
