//! Places where a test lets the whole process die, as if the power had failed there.
//!
//! `SHARDD_CRASH_AT=NAME` (or `NAME:N`, the Nth time that the place is reached) ends a debug build there, without a word
//! to anybody. Release builds have no such places.

use std::fmt::{self, Display};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// The steps of a commit that spans shards: before each, everything before it is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CommitStep {
    /// Every shard has done its work; the redo record is not written.
    Deciding,
    /// The redo record is durable; no shard has committed.
    Decided,
    /// One more shard has committed.
    CommittedOne,
    /// Every shard has committed; the record is still there.
    CommittedAll,
    /// The record is gone; the shards still have their marks of it.
    Forgotten,
}

impl Display for CommitStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CommitStep::Deciding => "commit-deciding",
            CommitStep::Decided => "commit-decided",
            CommitStep::CommittedOne => "commit-committed-one",
            CommitStep::CommittedAll => "commit-committed-all",
            CommitStep::Forgotten => "commit-forgotten",
        })
    }
}

/// The steps of a commit over several Postgres shards, and of what finishes it: before each, everything before it is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TwoPhaseStep {
    /// Every shard has done its work; none is prepared.
    Preparing,
    /// One more shard is prepared.
    PreparedOne,
    /// All but the decider are prepared; the decision is not written.
    PreparedAll,
    /// The decision is written, and not committed.
    Deciding,
    /// The decision is committed; none of the others is.
    Decided,
    /// One more of the others is committed.
    CommittedOne,
    /// All are committed; the decision is still kept.
    CommittedAll,
    /// The decision is deleted.
    Forgotten,
    /// The resolver knows what was decided of a prepared transaction, and has not ended it.
    Resolving,
}

impl Display for TwoPhaseStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TwoPhaseStep::Preparing => "two-phase-preparing",
            TwoPhaseStep::PreparedOne => "two-phase-prepared-one",
            TwoPhaseStep::PreparedAll => "two-phase-prepared-all",
            TwoPhaseStep::Deciding => "two-phase-deciding",
            TwoPhaseStep::Decided => "two-phase-decided",
            TwoPhaseStep::CommittedOne => "two-phase-committed-one",
            TwoPhaseStep::CommittedAll => "two-phase-committed-all",
            TwoPhaseStep::Forgotten => "two-phase-forgotten",
            TwoPhaseStep::Resolving => "two-phase-resolving",
        })
    }
}

/// The steps of a move of slots between two shards: before each, everything before it is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MoveStep {
    /// It is recorded; nothing is done.
    Preparing,
    /// Changes are noted on the giving shard; that it is prepared is not recorded.
    Prepared,
    /// Its copies are known to be strays; none is made.
    Copying,
    /// One more chunk of rows is copied.
    CopiedOne,
    /// All rows are copied.
    CopiedAll,
    /// What was noted is caught up with.
    CaughtUp,
    /// Both shards have the same rows.
    Verified,
    /// The slots are held.
    Holding,
    /// The giving shard refuses writes.
    Fenced,
    /// The taking shard has all that was written.
    Drained,
    /// The slots are the taking shard's; the catalog does not know.
    Decided,
    /// The catalog knows.
    Given,
    /// The rows are deleted where they were.
    Deleted,
    /// Both shards have forgotten the move; the catalog has not recorded its end.
    Forgotten,
    /// It is recorded that the move is given up.
    Undoing,
    /// The copies are deleted.
    Undone,
}

impl MoveStep {
    /// As `SHARDD_CRASH_AT` names it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            MoveStep::Preparing => "move-preparing",
            MoveStep::Prepared => "move-prepared",
            MoveStep::Copying => "move-copying",
            MoveStep::CopiedOne => "move-copied-one",
            MoveStep::CopiedAll => "move-copied-all",
            MoveStep::CaughtUp => "move-caught-up",
            MoveStep::Verified => "move-verified",
            MoveStep::Holding => "move-holding",
            MoveStep::Fenced => "move-fenced",
            MoveStep::Drained => "move-drained",
            MoveStep::Decided => "move-decided",
            MoveStep::Given => "move-given",
            MoveStep::Deleted => "move-deleted",
            MoveStep::Forgotten => "move-forgotten",
            MoveStep::Undoing => "move-undoing",
            MoveStep::Undone => "move-undone",
        }
    }
}

impl Display for MoveStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The steps of filling a Postgres shard that joins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JoinStep {
    /// Tables are made and not committed; no rows are copied.
    Made,
    /// All is copied, and not committed.
    Filled,
    /// All is committed; the catalog does not have the shard.
    Committed,
    /// The catalog has it; what was copied is still remembered on it.
    Added,
}

impl Display for JoinStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            JoinStep::Made => "join-made",
            JoinStep::Filled => "join-filled",
            JoinStep::Committed => "join-committed",
            JoinStep::Added => "join-added",
        })
    }
}

/// Dies here when it was asked to.
pub(crate) fn crash_point(place: impl Display) {
    if !cfg!(debug_assertions) {
        return;
    }
    static ASKED: OnceLock<Option<(String, u32)>> = OnceLock::new();
    static REACHED: AtomicU32 = AtomicU32::new(0);
    let asked = ASKED.get_or_init(|| std::env::var("SHARDD_CRASH_AT").ok().map(|asked| place_and_time(&asked)));
    if let Some((name, time)) = asked
        && *name == place.to_string()
        && REACHED.fetch_add(1, Ordering::SeqCst) + 1 == *time
    {
        std::process::abort();
    }
}

fn place_and_time(asked: &str) -> (String, u32) {
    match asked.rsplit_once(':') {
        Some((name, time)) => (name.to_owned(), time.parse().unwrap_or(1)),
        None => (asked.to_owned(), 1),
    }
}
