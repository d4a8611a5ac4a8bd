//! The end of a move: what it has left behind is deleted, on the one shard or on the other.

use super::stages::{Step, Work, sharded_tables};
use crate::catalog::MoveStage;
use crate::crash_point::{MoveStep, crash_point};
use crate::error::{Error, Result};

impl Work {
    /// The slots have changed hands: the rows go from the shard that gave them, once nobody can read them there.
    pub(super) async fn clean_up(&mut self) -> Step {
        if !self.slots_have_changed_hands()? {
            // The catalog has it, and this process was kept from publishing it.
            self.shared.follow_catalog().await?;
        }
        if !self.slots_have_changed_hands()? {
            return Err(
                Error::internal("a move is to be cleaned up after whose slots are not the taking shard's").into()
            );
        }
        let keyspace = self.keyspace()?;
        let (here, there) = (keyspace.slots_of(self.moved.from), keyspace.slots_of(self.moved.to));
        self.earlier_readers_have_ended().await?;
        self.shards.confirm(&here, &there).await?;
        self.shards.stop_capture().await?;
        self.shards.delete_given().await?;
        crash_point(MoveStep::Deleted);
        // Whose snapshot is older than the deletion would see the rows when they are no longer known as strays.
        self.transactions_have_ended(self.moved.from).await?;
        self.replicas_have_followed().await;
        self.guard_new().await?;
        self.shards.forget().await?;
        crash_point(MoveStep::Forgotten);
        self.enter(MoveStage::Done, None).await
    }

    /// The move is given up: the copies go.
    pub(super) async fn undo(&mut self) -> Step {
        crash_point(MoveStep::Undoing);
        self.shared.publish(None).await?;
        self.shards.stop_capture().await?;
        if self.shards.has_copied().await? {
            self.shards.delete_copies().await?;
            crash_point(MoveStep::Undone);
            self.transactions_have_ended(self.moved.to).await?;
            self.replicas_have_followed().await;
        }
        self.guard_new().await?;
        self.shards.forget().await?;
        let reason = self.moved.reason.clone();
        self.enter(MoveStage::Cancelled, reason.as_deref()).await
    }

    /// Begins to give the move up, unless its slots have changed hands: then it goes on.
    pub(super) async fn give_up(&mut self, reason: &str) -> Step {
        self.shards.let_go().await;
        self.shards.open_to_end().await?;
        if self.moved.stage == MoveStage::CutOver && self.moved.attempt > 0 && self.settle().await? {
            return self.hand_over().await;
        }
        self.enter(MoveStage::Undo, Some(reason)).await
    }

    fn slots_have_changed_hands(&self) -> Result<bool> {
        let keyspace = self.keyspace()?;
        Ok(self.moved.slots.iter().all(|slot| keyspace.owner(slot) == self.moved.to))
    }

    /// Tables that were made meanwhile are nobody's for the moving slots.
    async fn guard_new(&mut self) -> Step {
        let tables = sharded_tables(&self.shared.live.snapshot(), &self.moved.keyspace);
        let keyspace = self.keyspace()?;
        let (here, there) = (keyspace.slots_of(self.moved.from), keyspace.slots_of(self.moved.to));
        Ok(self.shards.guard_new(&tables, (&here, &there)).await?)
    }

    /// Replicas are not read while slots move. One that is read afterwards is not so far behind that it has not seen the deletion.
    async fn replicas_have_followed(&self) {
        tokio::time::sleep(self.shared.waits.replica_lag).await;
    }

    /// Waits for who may read the moved rows where they were.
    async fn earlier_readers_have_ended(&self) -> Step {
        self.earlier_statements_have_ended().await?;
        self.transactions_have_ended(self.moved.from).await
    }
}
