//! The slots change hands.
//!
//! New work for them is held, what began before is waited for, and the giving shard is fenced. If anything is in the way for too
//! long the attempt is given up, held work goes on where it was, and another attempt is made after a while: a long transaction
//! delays the move, and nobody else.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::backing_off::BackingOff;
use super::stages::{Step, Stop, Work};
use crate::catalog::MoveStage;
use crate::crash_point::{MoveStep, crash_point};
use crate::error::{Error, Result, Retry, SqlState};
use crate::shard::postgres::Fate;

/// How long the giving shard's tables may be waited for; whoever comes meanwhile waits behind.
const FENCE_WAIT: Duration = Duration::from_millis(250);
/// Pauses between attempts.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(20);

impl Work {
    pub(super) async fn cut_over(&mut self) -> Step {
        if self.moved.attempt > 0 && self.settle().await? {
            return self.hand_over().await;
        }
        let mut pauses = BackingOff::new(FIRST_PAUSE, LONGEST_PAUSE);
        loop {
            self.come_close().await?;
            let began = Instant::now();
            let attempted = self.attempt(began).await;
            let held = began.elapsed();
            self.note_progress(|progress| progress.held_ms = u64::try_from(held.as_millis()).ok());
            let Err(stop) = attempted else { return self.hand_over().await };
            if self.settle().await? {
                return self.hand_over().await;
            }
            match stop {
                Stop::Failed(error) if is_in_the_way(&error) => {
                    tracing::info!(id = self.moved.id, %error, "a cutover is put off");
                    self.say(&format!("its cutover is tried again: {}", error.message())).await?;
                }
                stop => return Err(stop),
            }
            self.pause(pauses.next()).await?;
        }
    }

    /// Leaves the giving shard fenced, the taking one with all rows, and the decision written.
    async fn attempt(&mut self, began: Instant) -> Step {
        let hold = self.shared.waits.hold;
        self.moved.attempt = self.shared.catalog.next_attempt(self.moved.id).await?;
        let attempt = self.moved.attempt;
        self.shared.publish(Some(self.moved.id)).await?;
        crash_point(MoveStep::Holding);
        // Once nobody plans by an earlier schema, the tables stay those that are looked at here.
        within(hold / 2, self.shared.live.turns().have_ended(), "a statement that began before").await?;
        self.look().await?;
        let (here, there) = self.slots_afterwards()?;
        self.shards.fence(attempt, &here, FENCE_WAIT).await?;
        crash_point(MoveStep::Fenced);
        let left = hold.saturating_sub(began.elapsed());
        within(left, self.drain(), "what was changed last").await??;
        crash_point(MoveStep::Drained);
        match self.shards.decide_to_own(attempt, &there).await? {
            Fate::Own => {}
            Fate::Open | Fate::Fenced | Fate::Refused => return Err(in_the_way("an earlier decision").into()),
        }
        crash_point(MoveStep::Decided);
        Ok(())
    }

    /// The taking shard gets all that was noted; nothing more is.
    async fn drain(&mut self) -> Result<()> {
        loop {
            self.shards.catch_up().await?;
            if self.shards.is_caught_up().await? {
                return Ok(());
            }
        }
    }

    /// Finds out what has become of the last attempt, and ends it. True: the slots are the taking shard's. False: they are the
    /// giving shard's, which serves them again.
    pub(super) async fn settle(&mut self) -> Step<bool> {
        self.shards.let_go().await;
        // What a lost connection was about to commit, it has committed then, or never will.
        self.shards.take_over().await?;
        let mut fate = self.shards.fate(self.moved.attempt).await?;
        if fate == Fate::Fenced {
            fate = self.shards.refuse(self.moved.attempt).await?;
        }
        match fate {
            Fate::Own => return Ok(true),
            Fate::Open => {}
            Fate::Fenced | Fate::Refused => {
                let owned = self.keyspace()?.slots_of(self.moved.from);
                self.shards.take_back(&owned).await?;
            }
        }
        self.shared.publish(None).await?;
        Ok(false)
    }

    /// The catalog follows the shards.
    pub(super) async fn hand_over(&mut self) -> Step {
        self.shared.give(&self.moved).await?;
        crash_point(MoveStep::Given);
        tracing::info!(id = self.moved.id, slots = self.moved.slots.len(), "slots have changed hands");
        self.moved = self.shared.catalog.recorded_move(self.moved.id).await?;
        debug_assert_eq!(self.moved.stage, MoveStage::CleanUp);
        Ok(())
    }

    /// Waits, and does not fall behind meanwhile.
    async fn pause(&mut self, pause: Duration) -> Step {
        let until = Instant::now() + pause;
        while Instant::now() < until {
            self.look().await?;
            self.shards.catch_up().await?;
            tokio::time::sleep(FIRST_PAUSE.min(pause)).await;
        }
        Ok(())
    }
}

async fn within<T>(bound: Duration, wait: impl Future<Output = T>, what: &str) -> Result<T> {
    timeout(bound, wait).await.map_err(|_| in_the_way(what))
}

fn in_the_way(what: &str) -> Error {
    Error::new(SqlState::LOCK_NOT_AVAILABLE, format!("{what} is in the way")).retry(Retry::Safe)
}

/// Whether another attempt is all that is needed.
fn is_in_the_way(error: &Error) -> bool {
    matches!(error.sqlstate(), SqlState::LOCK_NOT_AVAILABLE | SqlState::DEADLOCK_DETECTED)
}
