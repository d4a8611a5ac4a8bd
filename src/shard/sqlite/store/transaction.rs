//! A transaction that is told its statements one by one.
//!
//! It is served by a thread of its own for as long as it lasts: the writer's thread, which it holds, or a blocking
//! thread with a connection that keeps a snapshot. The client's side sends work over a channel and waits for each
//! answer; when it goes away, the channel closes and the transaction is rolled back.

use std::sync::mpsc;
use std::sync::{Arc, OnceLock};

use tokio::sync::oneshot;

use super::call::Call;
use super::changeset::Applying;
use super::outlet::{Hurry, Interest};
use super::redo::RedoStep;
use super::serving::Serving;
use super::shared::Shared;
use crate::error::{Error, Result};
use crate::shard::Output;

/// One piece of a transaction's work, done on the thread that serves it.
pub(super) type Work = Box<dyn FnOnce(&mut Serving<'_>) + Send>;

/// The client's side. Dropping it rolls back.
#[derive(Debug)]
pub struct SqliteTransaction {
    shared: Arc<Shared>,
    work: mpsc::Sender<Work>,
    /// Why the other side ended the transaction by itself.
    ended: Arc<OnceLock<Error>>,
    hurry: Arc<Hurry>,
}

/// The two ends of a transaction's channel.
pub(super) struct Ends {
    pub(super) transaction: SqliteTransaction,
    pub(super) work: mpsc::Receiver<Work>,
    pub(super) ended: Arc<OnceLock<Error>>,
}

impl SqliteTransaction {
    pub(super) fn ends(shared: &Arc<Shared>) -> Ends {
        let (sender, work) = mpsc::channel();
        let ended = Arc::<OnceLock<Error>>::default();
        let transaction = SqliteTransaction {
            shared: Arc::clone(shared),
            work: sender,
            ended: Arc::clone(&ended),
            hurry: Arc::default(),
        };
        Ends { transaction, work, ended }
    }

    /// Has a piece of work done, and waits for its result.
    async fn ask<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Serving<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        self.send(Box::new(move |serving| {
            let _ = reply.send(work(serving));
        }))?;
        answer.await.unwrap_or_else(|_| Err(self.gone()))
    }

    fn send(&self, work: Work) -> Result<()> {
        self.hurry.ask();
        self.work.send(work).map_err(|_| self.gone())
    }

    fn gone(&self) -> Error {
        self.ended.get().cloned().unwrap_or_else(|| self.shared.closing())
    }

    /// Runs one statement.
    ///
    /// # Errors
    /// The statement failed. What it had changed may still be there: only a rollback, whole or to a savepoint, may follow.
    pub async fn run(&mut self, call: Call) -> Result<Output> {
        let (reply, answer) = oneshot::channel();
        let interest = Interest::default();
        let gone = interest.gone();
        let hurry = Arc::clone(&self.hurry);
        self.send(Box::new(move |serving| serving.run(call, reply, gone, hurry)))?;
        let _waiting = interest.guard();
        answer.await.unwrap_or_else(|_| Err(self.gone()))
    }

    /// Runs SQLite statements as they are: a change of the schema. They are done again by themselves, so what they change is
    /// not recorded; take what was recorded before them first.
    pub async fn run_batch(&mut self, statements: Vec<String>) -> Result<()> {
        self.ask(move |serving| serving.run_batch(&statements)).await
    }

    pub async fn savepoint(&mut self, name: &str) -> Result<()> {
        let name = name.to_owned();
        self.ask(move |serving| serving.savepoint("SAVEPOINT", &name)).await
    }

    pub async fn rollback_to(&mut self, name: &str) -> Result<()> {
        let name = name.to_owned();
        self.ask(move |serving| serving.rollback_to(&name)).await
    }

    pub async fn release(&mut self, name: &str) -> Result<()> {
        let name = name.to_owned();
        self.ask(move |serving| serving.savepoint("RELEASE", &name)).await
    }

    /// From now on, records what is changed, for [`SqliteTransaction::take_changes`].
    pub async fn record_changes(&mut self) -> Result<()> {
        self.ask(|serving| serving.record_changes()).await
    }

    /// What was changed since the recording began, or since the last time; empty when nothing was. The recording goes on.
    pub async fn take_changes(&mut self) -> Result<Vec<u8>> {
        self.ask(|serving| serving.take_changes()).await
    }

    /// Whether it has written, or may: a snapshot takes the writer with its first write.
    ///
    /// # Errors
    /// The transaction was ended.
    pub async fn holds_writer(&mut self) -> Result<bool> {
        self.ask(|serving| Ok(serving.holds_writer())).await
    }

    /// Does to this shard's copies of reference tables what another shard recorded.
    ///
    /// # Errors
    /// The copies were not equal; nothing was changed.
    pub async fn apply_changes(&mut self, changes: Vec<u8>) -> Result<()> {
        self.ask(move |serving| serving.apply_changes(&changes, Applying::Copy)).await
    }

    /// Does what this shard recorded and lost. `false`: it had been done, and nothing was done now.
    pub(super) async fn redo(&mut self, gid: &str, steps: Vec<RedoStep>) -> Result<bool> {
        let gid = gid.to_owned();
        self.ask(move |serving| serving.redo(&gid, &steps)).await
    }

    /// # Errors
    /// Nothing was committed, unless the error's [`Retry`](crate::error::Retry) is `Unknown`.
    pub async fn commit(mut self) -> Result<()> {
        self.ask(|serving| serving.commit()).await
    }

    /// Commits a part of what was decided, under the record's id, so that recovery knows that it was done.
    ///
    /// # Errors
    /// The part is not done. The shard answers nothing until [`SqliteShard::apply_redo`](super::SqliteShard::apply_redo)
    /// has done it: its rows are not what they should be.
    pub async fn commit_as(mut self, gid: &str) -> Result<()> {
        let shared = Arc::clone(&self.shared);
        let gid = gid.to_owned();
        let committed = self.ask(move |serving| serving.commit_as(&gid)).await;
        if committed.is_err() {
            shared.suspend(Some(shared.incomplete()));
        }
        committed
    }

    /// Takes everything back. If the shard cannot answer, it does so by itself.
    pub async fn rollback(mut self) {
        let _ = self
            .ask(|serving| {
                serving.rollback();
                Ok(())
            })
            .await;
    }
}
