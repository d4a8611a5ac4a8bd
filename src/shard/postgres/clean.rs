//! How a connection is let go of, so that the next client's session equals a fresh one.

use std::time::Duration;

use super::call::Aftermath;
use super::conversation;
use super::pool::Pooled;
use crate::shard::CancelFlag;
use crate::wire::backend::Readiness;

/// How long a server may take to make a session as new.
const RESET_TIME: Duration = Duration::from_secs(5);

/// Lets go of a connection whose transaction has ended in step.
pub(super) fn release(mut connection: Pooled, aftermath: Aftermath) {
    match aftermath {
        Aftermath::Keep => connection.give_back(),
        // Being dropped closes it.
        Aftermath::Close => {}
        Aftermath::Reset => {
            tokio::spawn(async move {
                let name = connection.pool().name().to_owned();
                let cancel = CancelFlag::new();
                let reset = conversation::run_plain(&mut connection, "DISCARD ALL", &cancel, &name);
                if let Ok(Ok(Readiness::Idle)) = tokio::time::timeout(RESET_TIME, reset).await {
                    connection.state.is_as_new();
                    connection.give_back();
                }
            });
        }
    }
}
