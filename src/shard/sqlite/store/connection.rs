//! Opens a connection to a shard's file and sets it up for its role.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::{Connection, OpenFlags};

use super::ShardFile;
use super::call::Call;
use super::cancel::Watch;
use super::diagnosis::Witness;
use super::limits::Limits;
use super::shared::Shared;
use super::snapshot::KeptSnapshot;
use super::system_catalog::Held;
use crate::error::Result;
use crate::shard::sqlite::functions;
use crate::topology::Schema;

/// How long SQLite itself waits for a lock. Only another process can hold one, and the recovery of a file at its opening.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest statement text.
const SQL_BYTES: i32 = 16 * 1024 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// The one connection that writes.
    Writer,
    /// Reads, each in its own snapshot.
    Reader,
    /// One transaction's snapshot, which may become a writer.
    Snapshot,
    /// Has no file.
    Scratch,
}

/// A connection, and the watch over its statements.
pub(super) struct Backend {
    pub(super) connection: Connection,
    pub(super) watch: Watch,
    pub(super) witness: Witness,
    /// The shard's schema, for reads that stand alone: it may change until their snapshot is fixed.
    changing_schema: Option<Arc<ArcSwap<Schema>>>,
    /// The system catalog that it holds.
    pub(super) catalog: parking_lot::Mutex<Option<Held>>,
    /// Of a reader.
    snapshot: Option<KeptSnapshot>,
}

impl Backend {
    /// Opens the shard's file, which only the writer creates, if it may be new.
    pub(super) fn open(role: Role, shared: &Shared) -> rusqlite::Result<Backend> {
        let limits = &shared.limits;
        let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        if role == Role::Writer && shared.file == ShardFile::MayBeNew {
            flags |= OpenFlags::SQLITE_OPEN_CREATE;
        }
        let connection = match role {
            Role::Scratch => Connection::open_in_memory_with_flags(flags)?,
            _ => Connection::open_with_flags(&shared.path, flags)?,
        };
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.set_prepared_statement_cache_capacity(limits.statements);
        distrust(&connection, limits)?;
        functions::register(&connection)?;
        configure(&connection, role, limits)?;
        if matches!(role, Role::Writer | Role::Snapshot) {
            shared.sequences.register(&connection)?;
            shared.guards.register(&connection)?;
        }
        let watch = Watch::install(&connection)?;
        let witness = Witness::register(&connection)?;
        let changing_schema = (role == Role::Reader).then(|| Arc::clone(&shared.schema));
        let snapshot = (role == Role::Reader).then(KeptSnapshot::default);
        let catalog = parking_lot::Mutex::new(None);
        Ok(Backend { connection, watch, witness, changing_schema, snapshot, catalog })
    }

    /// Before a short read that must see so many commits: see [`KeptSnapshot`].
    pub(super) fn renew_snapshot(&self, commits: u64) -> rusqlite::Result<()> {
        self.snapshot.as_ref().map_or(Ok(()), |snapshot| snapshot.renew(&self.connection, commits))
    }

    pub(super) fn end_snapshot(&self) -> rusqlite::Result<()> {
        self.snapshot.as_ref().map_or(Ok(()), |snapshot| snapshot.end(&self.connection))
    }

    /// To be asked when the snapshot of a read is fixed. A commit that changes the schema says so before it is visible,
    /// so a snapshot of the old schema passes, and one of the new never does.
    ///
    /// # Errors
    /// The program was translated for another schema than this read's snapshot may have.
    pub(super) fn check_snapshot(&self, call: &Call) -> Result<()> {
        match &self.changing_schema {
            Some(schema) => call.check_schema(&schema.load()),
            None => Ok(()),
        }
    }
}

/// Neither the file's contents nor a statement may do more than read and write rows.
fn distrust(connection: &Connection, limits: &Limits) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    // A misspelt "column" must be an error, never a string.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DDL, false)?;
    connection.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0)?;
    connection.set_limit(Limit::SQLITE_LIMIT_SQL_LENGTH, SQL_BYTES)?;
    connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, i32::try_from(limits.value_bytes).unwrap_or(i32::MAX))?;
    Ok(())
}

fn configure(connection: &Connection, role: Role, limits: &Limits) -> rusqlite::Result<()> {
    if role == Role::Scratch {
        connection.pragma_update_and_check(None, "journal_mode", "MEMORY", |_| Ok(()))?;
        return Ok(());
    }
    if role == Role::Writer {
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    }
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "recursive_triggers", true)?;
    // The writer moves the log into the database after it has answered, not inside a commit.
    connection.pragma_update_and_check(None, "wal_autocheckpoint", 0, |_| Ok(()))?;
    let cache = if role == Role::Writer { limits.writer_cache_bytes } else { limits.reader_cache_bytes };
    connection.pragma_update(None, "cache_size", -i64::try_from(cache / 1024).unwrap_or(8_192))?;
    if role != Role::Writer {
        connection.pragma_update(None, "query_only", true)?;
    }
    Ok(())
}
