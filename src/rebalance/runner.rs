//! The one task that works on moves.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::backing_off::BackingOff;
use super::stages::{Stop, Work};
use super::{Rebalancer, Shared};
use crate::catalog::{Asked, MoveStage, RecordedMove};
use crate::error::{Error, Result, Retry};

/// How long nothing is looked at while there is nothing to do, and nobody says that there is.
const REST: Duration = Duration::from_secs(1);
/// Pauses after a failure.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How work on a move has ended for now.
enum Outcome {
    Ended,
    Paused,
    /// It is to be tried again.
    Failed(Error),
}

impl Rebalancer {
    /// Works on moves, one at a time, until the task is aborted.
    pub async fn keep_moving(self) {
        let mut pauses = BackingOff::new(FIRST_PAUSE, LONGEST_PAUSE);
        // Those that were left in order when they paused.
        let mut paused = BTreeSet::new();
        loop {
            let next = self.0.next_move(&mut paused).await;
            let outcome = match next {
                Ok(None) => {
                    let _ = tokio::time::timeout(REST, self.0.wake.notified()).await;
                    continue;
                }
                Ok(Some(moved)) => {
                    let id = moved.id;
                    match self.0.work_on(moved).await {
                        Outcome::Ended => Ok(()),
                        Outcome::Paused => {
                            paused.insert(id);
                            Ok(())
                        }
                        Outcome::Failed(error) => self.0.note(id, Some(error.message())).await.and(Err(error)),
                    }
                }
                Err(error) => Err(error),
            };
            match outcome {
                Ok(()) => pauses = BackingOff::new(FIRST_PAUSE, LONGEST_PAUSE),
                Err(error) => {
                    tracing::warn!(hint = error.get_hint(), "a move waits: {error}");
                    let _ = tokio::time::timeout(pauses.next(), self.0.wake.notified()).await;
                }
            }
        }
    }
}

impl Shared {
    /// The oldest move that is to go on. One that pauses has to be brought in order first, where a crash has interrupted it.
    async fn next_move(&self, paused: &mut BTreeSet<i64>) -> Result<Option<RecordedMove>> {
        let moves = self.catalog.unfinished_moves().await?;
        paused.retain(|id| moves.iter().any(|moved| moved.id == *id && moved.asked == Asked::Pause));
        let in_order = |moved: &RecordedMove| {
            moved.asked == Asked::Pause && (moved.stage != MoveStage::CutOver || paused.contains(&moved.id))
        };
        // What a paused move has begun on its shards is not to be met by another one there.
        let pausing: Vec<&RecordedMove> =
            moves.iter().filter(|moved| in_order(moved) && moved.stage != MoveStage::Prepare).collect();
        let meets = |moved: &&RecordedMove, paused: &&RecordedMove| {
            [paused.from, paused.to].iter().any(|shard| [moved.from, moved.to].contains(shard))
        };
        let mut ready = moves.iter().filter(|moved| !in_order(moved));
        let Some(next) = ready.next() else { return Ok(None) };
        match pausing.iter().find(|paused| meets(&next, paused)) {
            None => Ok(Some(next.clone())),
            Some(_) if next.asked == Asked::Cancel && next.stage == MoveStage::Prepare => Ok(Some(next.clone())),
            Some(paused) => {
                self.note(next.id, Some(&format!("it waits for move {}, which is paused", paused.id))).await?;
                Ok(None)
            }
        }
    }

    async fn work_on(self: &Arc<Self>, moved: RecordedMove) -> Outcome {
        let id = moved.id;
        let mut work = match Work::new(self, moved) {
            Ok(work) => work,
            Err(error) => return Outcome::Failed(error),
        };
        let outcome = loop {
            let stop = match work.run().await {
                Ok(()) => break Outcome::Ended,
                Err(stop) => stop,
            };
            let reason = match stop {
                Stop::Paused => break Outcome::Paused,
                Stop::Cancelled => "an operator has cancelled it".to_owned(),
                Stop::Failed(error) if is_final(&error) && work.moved.stage.can_be_cancelled() => with_hint(&error),
                Stop::Failed(error) => break Outcome::Failed(error),
            };
            tracing::warn!(id, reason, "a move is given up");
            match work.give_up(&reason).await {
                Ok(()) => {}
                Err(Stop::Failed(error)) => break Outcome::Failed(error),
                Err(Stop::Paused | Stop::Cancelled) => break Outcome::Paused,
            }
        };
        work.shards.let_go().await;
        if !matches!(outcome, Outcome::Failed(_)) {
            let _ = self.note(id, work.moved.reason.as_deref()).await;
            self.progress.lock().remove(&id);
        }
        outcome
    }

    /// Notes why a move waits, and how much it has copied.
    pub(super) async fn note(&self, id: i64, reason: Option<&str>) -> Result<()> {
        let known = self.progress.lock().get(&id).map(|progress| (progress.rows, progress.bytes));
        let copied = match known {
            Some(copied) => copied,
            None => {
                let recorded = self.catalog.recorded_move(id).await?;
                (recorded.rows_copied, recorded.bytes_copied)
            }
        };
        Ok(self.catalog.note_move(id, reason, copied).await?)
    }
}

fn with_hint(error: &Error) -> String {
    match error.get_hint() {
        Some(hint) => format!("{}. {hint}", error.message()),
        None => error.message().to_owned(),
    }
}

/// Whether trying again would not help. What ends connections and what others' work may cause passes.
fn is_final(error: &Error) -> bool {
    let passes = ["08", "25", "40", "53", "57", "58"];
    let code = error.sqlstate();
    let code = code.code();
    error.get_retry() != Retry::Safe
        && !passes.iter().any(|class| code.starts_with(class))
        && !matches!(code, "55P03" | "55006" | "XX000")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::SqlState;

    #[test]
    fn a_move_is_given_up_for_what_stays_as_it_is() {
        let is_final = |state| is_final(&Error::new(state, "x"));
        assert!(is_final(SqlState::FEATURE_NOT_SUPPORTED) && is_final(SqlState::DATA_CORRUPTED));
        assert!(is_final(SqlState::INSUFFICIENT_PRIVILEGE) && is_final(SqlState::UNDEFINED_TABLE));
        assert!(!is_final(SqlState::CONNECTION_FAILURE) && !is_final(SqlState::LOCK_NOT_AVAILABLE));
        assert!(!is_final(SqlState::SERIALIZATION_FAILURE) && !is_final(SqlState::IO_ERROR));
    }
}
