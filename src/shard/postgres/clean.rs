//! How a connection is let go of, so that the next client's session equals a fresh one.

use std::sync::Arc;
use std::time::Duration;

use super::call::Aftermath;
use super::conversation;
use super::pool::Pooled;
use crate::shard::CancelFlag;
use crate::wire::backend::Readiness;

/// How long a server may take to make a session as new.
const RESET_TIME: Duration = Duration::from_secs(5);

/// Lets go of a connection whose transaction has ended in step.
pub(super) fn release(connection: Pooled, aftermath: Aftermath) {
    match aftermath {
        Aftermath::Keep => connection.give_back(),
        // Its session goes on, with whatever the statement has left.
        _ if connection.note(aftermath) => connection.give_back(),
        aftermath => let_go(connection, aftermath),
    }
}

/// Lets go of a connection that no transaction is open on, and that its session has no more need of.
pub(super) fn let_go(mut connection: Pooled, aftermath: Aftermath) {
    // Being dropped closes it.
    if aftermath == Aftermath::Close {
        return;
    }
    let pool = Arc::clone(connection.pool());
    pool.spawn(async move {
        let name = connection.pool().name().to_owned();
        let cancel = CancelFlag::new();
        let reset = conversation::run_plain(&mut connection, "DISCARD ALL", &cancel, &name);
        if let Ok(Ok(Readiness::Idle)) = tokio::time::timeout(RESET_TIME, reset).await {
            connection.is_as_new();
            // What came until then was the last session's; from here on nobody listens.
            connection.unasked = None;
            connection.give_back();
        }
    });
}
