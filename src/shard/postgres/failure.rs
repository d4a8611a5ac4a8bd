//! How a shard that cannot be reached, or that breaks the protocol, is told to a client.

use std::fmt;

use super::target::Target;
use crate::error::{Error, Fault, Retry, SqlState};

/// No connection could be made. Nothing was executed.
pub(super) fn unreachable(target: &Target, reason: impl fmt::Display) -> Error {
    Error::new(SqlState::CONNECTION_FAILURE, format!("cannot connect to {}: {reason}", target.address()))
        .fault(Fault::Shard)
        .retry(Retry::Safe)
}

/// shardd's own settings for a shard do not work.
pub(super) fn misconfigured(target: &Target, reason: impl fmt::Display) -> Error {
    Error::new(SqlState::CONNECTION_FAILURE, format!("cannot connect to {}: {reason}", target.address()))
        .fault(Fault::Proxy)
        .retry(Retry::Safe)
}

/// The server sent what no server may send here.
pub(super) fn violation(reason: impl fmt::Display) -> Error {
    Error::new(SqlState::PROTOCOL_VIOLATION, format!("the shard broke the Postgres protocol: {reason}"))
        .fault(Fault::Shard)
        .hint("The connection is closed. Check that the shard's URL leads to a Postgres server.")
}
