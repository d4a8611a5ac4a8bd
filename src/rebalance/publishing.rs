//! New epochs, for what a move changes in what statements see.

use std::sync::Arc;
use std::time::Duration;

use super::Shared;
use super::derived::derive;
use crate::catalog::{CatalogError, MoveStage, RecordedMove};
use crate::error::{Error, Result};
use crate::topology::Topology;
use crate::types::{Epoch, ShardId};

/// How long a change of the topology by somebody else is waited for before it is looked at again.
const PAUSE: Duration = Duration::from_millis(20);
/// And how often.
const TRIES: u32 = 1_500;

/// What is written with an epoch.
#[derive(Clone, Copy, Debug)]
enum With<'w> {
    /// Which move's slots are held.
    Held(Option<i64>),
    Stage(&'w RecordedMove, MoveStage, Option<&'w str>),
    Owners(&'w RecordedMove),
    Weight(ShardId, f64, &'w str),
}

impl Shared {
    /// Publishes what the moves' stages mean, with the slots of this move held. Nothing, where that is published already.
    ///
    /// # Errors
    /// The catalog failed.
    pub(super) async fn publish(&self, held: Option<i64>) -> Result<()> {
        let moves = self.catalog.unfinished_moves().await?;
        let current = self.live.snapshot();
        let next = derive(Topology::clone(&current), &moves, held);
        let is_same = |(one, other): (&std::sync::Arc<_>, &std::sync::Arc<_>)| std::sync::Arc::ptr_eq(one, other);
        if current.keyspaces.iter().zip(&next.keyspaces).all(is_same) {
            return Ok(());
        }
        self.change(With::Held(held)).await
    }

    /// Brings a move to its next stage and publishes what that means.
    ///
    /// # Errors
    /// The catalog failed, or the move is not at its stage any more.
    pub(super) async fn enter(&self, moved: &RecordedMove, stage: MoveStage, reason: Option<&str>) -> Result<()> {
        self.change(With::Stage(moved, stage, reason)).await
    }

    /// Makes the taking shard the owner of a move's slots, and publishes it.
    ///
    /// # Errors
    /// As [`Shared::enter`].
    pub(super) async fn give(&self, moved: &RecordedMove) -> Result<()> {
        self.change(With::Owners(moved)).await
    }

    /// Gives a shard another weight, and publishes it.
    ///
    /// # Errors
    /// The catalog failed, or the weight cannot be.
    pub(super) async fn weigh(&self, shard: ShardId, weight: f64, actor: &str) -> Result<()> {
        self.change(With::Weight(shard, weight, actor)).await
    }

    async fn change(&self, with: With<'_>) -> Result<()> {
        for _ in 0..TRIES {
            let current = self.live.snapshot();
            match self.write(with, &current).await {
                Ok(next) => {
                    let next = match with {
                        // What is held stays so.
                        With::Weight(..) => next,
                        With::Held(held) => derive(next, &self.catalog.unfinished_moves().await?, held),
                        With::Stage(..) | With::Owners(_) => {
                            derive(next, &self.catalog.unfinished_moves().await?, None)
                        }
                    };
                    return self.live.publish(next).map_err(|error| Error::internal(error.to_string()));
                }
                // Somebody has raised the epoch, and is about to publish it.
                Err(CatalogError::Stale { .. }) => tokio::time::sleep(PAUSE).await,
                Err(error) => return Err(error.into()),
            }
        }
        self.follow_catalog().await?;
        Err(Error::internal("the catalog's epoch was not the published one for long"))
    }

    /// Publishes what the catalog says, where this process was kept from it after it had written it.
    ///
    /// # Errors
    /// The catalog cannot be read.
    pub(super) async fn follow_catalog(&self) -> Result<()> {
        let stored = self.catalog.load().await?.ok_or(CatalogError::Empty)?;
        let current = self.live.snapshot();
        if stored.epoch <= current.epoch {
            return Ok(());
        }
        tracing::warn!(published = %current.epoch, stored = %stored.epoch, "the catalog is ahead, and is followed");
        let stored = Topology { schema: Arc::clone(&current.schema), ..stored };
        let next = derive(stored, &self.catalog.unfinished_moves().await?, None);
        self.live.publish(next).map_err(|error| Error::internal(error.to_string()))
    }

    async fn write(&self, with: With<'_>, current: &Topology) -> std::result::Result<Topology, CatalogError> {
        let at = |epoch: Epoch| Topology { epoch, ..current.clone() };
        match with {
            With::Held(_) => {
                let epoch = self.catalog.bump_epoch(current.epoch, "move", "slots are held, or no longer", "shardd");
                Ok(at(epoch.await?))
            }
            With::Stage(moved, stage, reason) => {
                let steps = (moved.stage, stage);
                let epoch = self.catalog.set_move_stage(moved.id, steps, reason, Some(current.epoch)).await?;
                Ok(at(epoch.unwrap_or(current.epoch)))
            }
            With::Owners(moved) => {
                let given = self.catalog.give_slots(moved.id, current.epoch).await?;
                let next = Topology { epoch: given.epoch, keyspaces: given.keyspaces, ..current.clone() };
                Ok(next.moving_as(current))
            }
            With::Weight(shard, weight, actor) => {
                let weighed = self.catalog.set_weight(current.epoch, shard, weight, actor).await?;
                Ok(Topology { epoch: weighed.epoch, shards: weighed.shards, ..current.clone() })
            }
        }
    }
}
