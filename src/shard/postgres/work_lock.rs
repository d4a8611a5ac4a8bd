//! A lock on one server for work that no transaction can hold together, as building an index CONCURRENTLY.
//!
//! It is a session's advisory lock on a connection of its own: it ends with that connection, whatever becomes of shardd, and
//! holds no snapshot that the work itself would have to wait for.

use std::time::Duration;

use super::own_connection::OwnConnection;
use super::shard::PostgresShard;
use crate::error::Result;

/// How long the server may take to answer.
const TIME: Duration = Duration::from_secs(5);
/// Keeps these locks apart from those that clients take by numbers of their own.
const SEED: u64 = 0x7368_6172_6464;

/// An idle session may have a limit, from Postgres 14 on: this one is idle as long as the work takes.
const LOCK: &str = "SELECT pg_catalog.pg_try_advisory_lock($1::pg_catalog.int8), \
     (SELECT pg_catalog.set_config(name, '0', false) FROM pg_catalog.pg_settings WHERE name = 'idle_session_timeout')";

const UNLOCK: &str = "SELECT pg_catalog.pg_advisory_unlock($1::pg_catalog.int8)";

/// Held until it is released, or, when it is dropped, until the server notices that the connection is closed.
#[derive(Debug)]
pub struct WorkLock {
    connection: OwnConnection,
    key: String,
}

impl WorkLock {
    /// Gives it back: whoever asks next gets it. Where the server cannot be asked, it notices that the connection is closed.
    pub async fn release(mut self) {
        if let Err(error) = self.connection.ask(UNLOCK, &[&self.key], 1, TIME).await {
            tracing::warn!(%error, "a lock on work cannot be given back: the server ends it with its connection");
        }
    }
}

impl PostgresShard {
    /// The lock on work of this name; `None` while somebody else has it.
    ///
    /// # Errors
    /// The shard cannot be asked.
    pub async fn lock_work(&self, name: &str) -> Result<Option<WorkLock>> {
        let mut connection = self.own_connection();
        let key = xxhash_rust::xxh3::xxh3_64_with_seed(name.as_bytes(), SEED).cast_signed().to_string();
        let rows = connection.ask(LOCK, &[&key], 1, TIME).await?;
        let is_locked = rows.first().and_then(|row| row.first()?.as_deref()) == Some("t");
        Ok(is_locked.then_some(WorkLock { connection, key }))
    }
}
