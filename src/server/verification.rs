//! What was verified, in words for the operator.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::admin::{Pending, Verification, VerificationFlaw, VerifyRequest};
use crate::engine::{Engine, Flaw, FlawKind, Verified, Verify};
use crate::error::{Error, Result};
use crate::shard::CancelFlag;
use crate::types::ShardId;

/// Ends what runs for somebody who has gone.
struct CancelWhenDropped(CancelFlag);

impl Drop for CancelWhenDropped {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

pub(super) fn verify<'a>(engine: Arc<Engine>, request: VerifyRequest) -> Pending<'a, Result<Verification>> {
    Box::pin(async move {
        let cancel = CancelFlag::new();
        let _waiting = CancelWhenDropped(cancel.clone());
        let asked = Verify { table: request.table, repair: request.repair };
        let verifying = Arc::clone(&engine);
        // A connection whose query is dropped in its midst would be lost.
        let verified = tokio::spawn(async move { verifying.verify(&asked, &cancel).await });
        let verified = verified.await.map_err(|error| Error::internal(error.to_string()))??;
        let topology = engine.live_topology().snapshot();
        let names: BTreeMap<ShardId, String> =
            topology.shards.iter().map(|shard| (shard.id, shard.name.clone())).collect();
        Ok(described(verified, &names))
    })
}

fn described(verified: Verified, names: &BTreeMap<ShardId, String>) -> Verification {
    let Verified { tables, shards, rows, flaws } = verified;
    let right = flaws.iter().all(|flaw| flaw.repaired);
    let flaws = flaws.into_iter().map(|flaw| {
        let shard = names.get(&flaw.shard).cloned().unwrap_or_else(|| format!("number {}", flaw.shard));
        describe(shard, flaw)
    });
    Verification { right, tables, shards, rows, flaws: flaws.collect() }
}

const REPAIR: &str = "`shardctl verify --repair` puts it right.";

fn describe(shard: String, flaw: Flaw) -> VerificationFlaw {
    let Flaw { table, kind, repaired, .. } = flaw;
    let (mut rows, mut keys) = (None, Vec::new());
    let (problem, message, hint) = match kind {
        FlawKind::NotVerified(error) => (
            "not_verified",
            format!("cannot be looked at: {}", error.message()),
            error.get_hint().unwrap_or_default().to_owned(),
        ),
        FlawKind::GuardMissing => ("guard_missing", "it has no guard".to_owned(), REPAIR.to_owned()),
        FlawKind::GuardDisabled => {
            ("guard_disabled", "its guard is disabled, on it or on a partition".to_owned(), REPAIR.to_owned())
        }
        FlawKind::GuardAltered => (
            "guard_altered",
            "its guard lets other rows through than those of the shard's slots".to_owned(),
            REPAIR.to_owned(),
        ),
        FlawKind::GuardSuperfluous => {
            ("guard_superfluous", "it is a reference table, and has a guard".to_owned(), REPAIR.to_owned())
        }
        FlawKind::GuardsContested(slots) => (
            "guards_contested",
            format!("the topology and the guards do not agree on the slots {slots}, and another shard's guard may claim them"),
            "Nothing is changed for these. An old copy of the catalog may have been restored; or a shard is down."
                .to_owned(),
        ),
        FlawKind::NotRepaired(error) => (
            "not_repaired",
            format!("its guard cannot be put right: {}", error.message()),
            "Let shardd's role own the table, and create in the schema shardd; a lock that takes too long may be free later."
                .to_owned(),
        ),
        FlawKind::RowsOutside(count, examples) => {
            (rows, keys) = (Some(count), examples);
            (
                "rows_outside",
                format!("{} of slots that the shard does not own: no statement with their key finds them", rows_in_words(count)),
                "Look whether the owner has them (`shardctl route` names it); copy those that are missing there, and delete \
                 them here. docs/guard.md says how."
                    .to_owned(),
            )
        }
        FlawKind::RowsWithoutKey(count) => {
            rows = Some(count);
            (
                "rows_without_key",
                format!("{} without a key: no shard owns them", rows_in_words(count)),
                "Give them a key of this shard's, or delete them; then make the key column NOT NULL.".to_owned(),
            )
        }
    };
    let hint = if repaired { String::new() } else { hint };
    VerificationFlaw { shard, table, problem: problem.to_owned(), message, hint, rows, keys, repaired }
}

fn rows_in_words(count: u64) -> String {
    if count == 1 { "1 row is".to_owned() } else { format!("{count} rows are") }
}
