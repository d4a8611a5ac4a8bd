//! What can go wrong with the catalog, and what to do about it.

use std::path::PathBuf;

use crate::error::{Error, Fault, Retry, SqlState};
use crate::topology::TopologyError;
use crate::types::{Epoch, ShardId};

#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    #[error("the catalog's URL cannot be used: write sqlite:PATH, as in sqlite:data/catalog.db")]
    Url,
    #[error("the catalog's URL names a Postgres server, which is not supported yet: write sqlite:PATH")]
    PostgresUrl,
    #[error("cannot open the catalog {}: check that its directory exists and can be written", .path.display())]
    Open { path: PathBuf, source: sqlx::Error },
    #[error("the catalog {} was written by a newer shardd: run that version, or restore a backup", .path.display())]
    Newer { path: PathBuf },
    #[error("cannot bring the catalog {} up to date", .path.display())]
    Migrate { path: PathBuf, source: Box<sqlx::migrate::MigrateError> },
    #[error("the catalog failed: check the disk it is on")]
    Database(#[from] sqlx::Error),
    #[error("the catalog holds something that cannot be ({0}): restore it from a backup")]
    Corrupt(String),
    #[error(
        "the topology is at epoch {found}, and the change was planned for epoch {expected}: look again, then repeat it"
    )]
    Stale { expected: Epoch, found: Epoch },
    #[error("the shard was to be number {expected}, and the next one is {found} now: repeat the command")]
    OtherNumber { expected: ShardId, found: ShardId },
    #[error("the catalog is empty: it is seeded from the configuration when shardd starts")]
    Empty,
    #[error("the catalog already has a topology, which rules: change it with shardctl")]
    AlreadySeeded,
    #[error("all 1024 shard numbers have been given, and none is given twice: start a second cluster")]
    NumbersExhausted,
    #[error("there is no redo record {gid} for shard {shard}")]
    NoRedoRecord { gid: String, shard: u16 },
    #[error("there is a redo record {0} already: every statement needs an id of its own")]
    RedoRecordExists(String),
    #[error("there is no move {0}: `shardctl moves` lists them")]
    NoMove(i64),
    #[error("{0}")]
    CannotMove(String),
    #[error(transparent)]
    Topology(#[from] TopologyError),
}

impl From<CatalogError> for Error {
    fn from(error: CatalogError) -> Error {
        let with_source = |error: &dyn std::error::Error| match error.source() {
            Some(source) => format!("{error} ({source})"),
            None => error.to_string(),
        };
        let message = with_source(&error);
        match error {
            CatalogError::Topology(_) | CatalogError::AlreadySeeded | CatalogError::NumbersExhausted => {
                Error::new(SqlState::INVALID_PARAMETER_VALUE, message)
            }
            CatalogError::NoMove(_) => Error::new(SqlState::UNDEFINED_OBJECT, message),
            CatalogError::CannotMove(_) => Error::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, message),
            CatalogError::Stale { .. } | CatalogError::OtherNumber { .. } => {
                Error::new(SqlState::SERIALIZATION_FAILURE, message).retry(Retry::Safe)
            }
            CatalogError::Corrupt(_) => Error::new(SqlState::DATA_CORRUPTED, message).fault(Fault::Proxy),
            CatalogError::Url
            | CatalogError::PostgresUrl
            | CatalogError::Empty
            | CatalogError::NoRedoRecord { .. }
            | CatalogError::RedoRecordExists(_) => Error::internal(message),
            // Whether the write arrived is not known: the disk failed in the midst of it.
            CatalogError::Open { .. }
            | CatalogError::Newer { .. }
            | CatalogError::Migrate { .. }
            | CatalogError::Database(_) => {
                Error::new(SqlState::IO_ERROR, message).fault(Fault::Proxy).retry(Retry::Unknown)
            }
        }
    }
}
