//! Entries, as statements on the tables: read, listed, written.
//!
//! A write without preconditions and without an idempotency key is one statement, which shards commit together with
//! others. Any other write is a transaction on the key's shard that locks before it looks, so what it saw is what it
//! decided by.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::http::StatusCode;
use bytes::Bytes;
use parking_lot::Mutex;

use super::key::{Key, end_of_prefix};
use super::precondition::Preconditions;
use crate::engine::{Engine, Identity};
use crate::error::{Error, Result, Retry, SqlState};
use crate::front::http::statement::{Parameter, Row, Statements};
use crate::web::Problem;

/// How often a transaction that lost to another is tried again before its client is told.
const ATTEMPTS: u32 = 5;
const SWEEP_ROWS: i64 = 500;

const READ: &str = "SELECT value, content_type, version FROM shardd_kv WHERE key = $1";
const LOCK: &str = "SELECT version FROM shardd_kv WHERE key = $1 FOR UPDATE";
const PUT: &str = "INSERT INTO shardd_kv (key, value, content_type, revision, updated_at) \
     VALUES ($1, $2, $3, 1, now()) \
     ON CONFLICT (key) DO UPDATE SET value = excluded.value, content_type = excluded.content_type, \
     version = excluded.version, revision = shardd_kv.revision + 1, updated_at = excluded.updated_at \
     RETURNING version, revision";
const CREATE: &str = "INSERT INTO shardd_kv (key, value, content_type, revision, updated_at) \
     VALUES ($1, $2, $3, 1, now()) ON CONFLICT (key) DO NOTHING RETURNING version, revision";
const DELETE: &str = "DELETE FROM shardd_kv WHERE key = $1 RETURNING version";
const LIST: &str = "SELECT key, version, content_type, octet_length(value), updated_at FROM shardd_kv \
     WHERE key >= $1 AND key > $2 AND key < $3 ORDER BY key LIMIT $4";
/// For a prefix after which nothing comes.
const LIST_TO_THE_END: &str = "SELECT key, version, content_type, octet_length(value), updated_at FROM shardd_kv \
     WHERE key >= $1 AND key > $2 ORDER BY key LIMIT $3";
const RECALL: &str = "SELECT request_hash, status, version FROM shardd_kv_idempotency \
     WHERE key = $1 AND idempotency_key = $2 AND created_at >= $3";
const REMEMBER: &str = "INSERT INTO shardd_kv_idempotency \
     (key, idempotency_key, request_hash, status, version, created_at) VALUES ($1, $2, $3, $4, $5, now()) \
     ON CONFLICT (key, idempotency_key) DO UPDATE SET request_hash = excluded.request_hash, \
     status = excluded.status, version = excluded.version, created_at = excluded.created_at";
const EXPIRED: &str =
    "SELECT key, idempotency_key FROM shardd_kv_idempotency WHERE created_at < $1 ORDER BY created_at LIMIT $2";
const FORGET: &str = "DELETE FROM shardd_kv_idempotency WHERE key = $1 AND idempotency_key = $2 AND created_at < $3";

/// An entry, whole.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) value: Bytes,
    pub(super) content_type: String,
    pub(super) version: i64,
}

/// An entry in a listing.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Listed {
    pub(super) key: String,
    pub(super) version: i64,
    pub(super) content_type: String,
    pub(super) bytes: i32,
    /// Microseconds since 2000-01-01 UTC.
    pub(super) updated_at: i64,
}

#[derive(Clone, Debug)]
pub(super) enum Change {
    Put { value: Bytes, content_type: String },
    Delete,
}

/// A write and what it depends on.
#[derive(Clone, Debug)]
pub(super) struct Write {
    pub(super) key: Key,
    pub(super) change: Change,
    pub(super) conditions: Preconditions,
    pub(super) idempotency: Option<Idempotency>,
}

/// A client's name for one write, and the digest of everything that makes it this write.
#[derive(Clone, Debug)]
pub(super) struct Idempotency {
    pub(super) key: String,
    pub(super) request_hash: [u8; 32],
}

/// What a write did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Done {
    Created(i64),
    Replaced(i64),
    Deleted,
    /// There was nothing to delete.
    Missing,
    /// A precondition did not hold; the entry's version, if there is an entry.
    Failed(Option<i64>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) done: Done,
    /// Nothing was done now: this is the answer of an earlier request with the same idempotency key.
    pub(super) replayed: bool,
}

impl Done {
    pub(super) fn status(self) -> StatusCode {
        match self {
            Done::Created(_) => StatusCode::CREATED,
            Done::Replaced(_) => StatusCode::OK,
            Done::Deleted => StatusCode::NO_CONTENT,
            Done::Missing => StatusCode::NOT_FOUND,
            Done::Failed(_) => StatusCode::PRECONDITION_FAILED,
        }
    }

    fn version(self) -> Option<i64> {
        match self {
            Done::Created(version) | Done::Replaced(version) => Some(version),
            Done::Failed(version) => version,
            Done::Deleted | Done::Missing => None,
        }
    }

    /// What was recorded as a status and a version (0 for none).
    fn recorded(status: i64, version: i64) -> Option<Done> {
        let status = u16::try_from(status).ok().and_then(|status| StatusCode::from_u16(status).ok())?;
        Some(match status {
            StatusCode::CREATED => Done::Created(version),
            StatusCode::OK => Done::Replaced(version),
            StatusCode::NO_CONTENT => Done::Deleted,
            StatusCode::NOT_FOUND => Done::Missing,
            StatusCode::PRECONDITION_FAILED => Done::Failed((version != 0).then_some(version)),
            _ => return None,
        })
    }
}

/// The entries, for all requests.
pub(crate) struct Store {
    engine: Arc<Engine>,
    database: String,
    request_time: Duration,
    idempotency_time: Duration,
    /// Writes with an idempotency key that are being done here, by entry and idempotency key.
    under_way: Mutex<HashSet<(Key, String)>>,
}

/// Keeps a write's idempotency key to itself until the write has ended.
struct UnderWay<'a> {
    store: &'a Store,
    entry: (Key, String),
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.store.under_way.lock().remove(&self.entry);
    }
}

impl Store {
    pub(crate) fn new(
        engine: Arc<Engine>,
        database: String,
        request_time: Duration,
        idempotency_time: Duration,
    ) -> Store {
        Store { engine, database, request_time, idempotency_time, under_way: Mutex::default() }
    }

    /// # Errors
    /// 57P03: there are no tables yet.
    fn open(&self, user: &str) -> Result<Statements> {
        if !self.engine.has_kv_tables() {
            return Err(Error::new(SqlState::CANNOT_CONNECT_NOW, "the tables of keys and values are not made yet")
                .retry(Retry::Safe)
                .hint("shardd makes them as soon as every shard lets it, and its log says what keeps it from that."));
        }
        let identity =
            Identity { user: user.to_owned(), database: self.database.clone(), door: "http", backend_pid: 0 };
        Statements::open(&self.engine, identity, self.request_time)
    }

    /// # Errors
    /// The shard failed.
    pub(super) async fn read(&self, user: &str, key: &Key) -> Result<Option<Entry>> {
        let rows = self.open(user)?.rows(READ, vec![Parameter::text(key.as_str())]).await?;
        rows.first().map(entry_of).transpose()
    }

    /// Entries whose keys begin with `prefix` and come after `after`, in order of their keys.
    ///
    /// # Errors
    /// A shard failed.
    pub(super) async fn list(&self, user: &str, prefix: &str, after: &str, limit: i64) -> Result<Vec<Listed>> {
        let mut parameters = vec![Parameter::text(prefix), Parameter::text(after)];
        let text = match end_of_prefix(prefix) {
            Some(end) => {
                parameters.push(Parameter::text(end));
                LIST
            }
            None => LIST_TO_THE_END,
        };
        parameters.push(Parameter::Bigint(limit));
        let rows = self.open(user)?.rows(text, parameters).await?;
        rows.iter().map(listed_of).collect()
    }

    /// # Errors
    /// The shard failed; 409 and 422 for an idempotency key that is in use or was used for another request.
    pub(super) async fn write(&self, user: &str, write: &Write) -> Result<Written, Problem> {
        if write.conditions.is_empty() && write.idempotency.is_none() {
            let done = apply(&mut self.open(user)?, write).await?;
            return Ok(Written { done, replayed: false });
        }
        let _under_way = write.idempotency.as_ref().map(|key| self.claim(write, key)).transpose()?;
        let mut attempt = 1;
        loop {
            match self.write_in_transaction(user, write).await {
                Err(Failure::Engine(error)) if error.get_retry() == Retry::Safe && attempt < ATTEMPTS => attempt += 1,
                Err(Failure::Engine(error)) => return Err(error.into()),
                Err(Failure::Reused) => return Err(reused()),
                Ok(written) => return Ok(written),
            }
        }
    }

    fn claim(&self, write: &Write, idempotency: &Idempotency) -> Result<UnderWay<'_>, Problem> {
        let entry = (write.key.clone(), idempotency.key.clone());
        if self.under_way.lock().insert(entry.clone()) {
            return Ok(UnderWay { store: self, entry });
        }
        Err(Problem::new(
            StatusCode::CONFLICT,
            "idempotency_in_progress",
            "a request with this Idempotency-Key is being worked on",
        )
        .hint("Send it again after the time in Retry-After to get the first request's answer.")
        .retry_later())
    }

    async fn write_in_transaction(&self, user: &str, write: &Write) -> Result<Written, Failure> {
        let mut statements = self.open(user)?;
        statements.rows("BEGIN", Vec::new()).await?;
        let written = self.decide(&mut statements, write).await;
        match written {
            Ok(written) => {
                statements.rows("COMMIT", Vec::new()).await?;
                Ok(written)
            }
            Err(failure) => {
                statements.roll_back().await;
                Err(failure)
            }
        }
    }

    /// The stages of a write that depends on what is there.
    async fn decide(&self, statements: &mut Statements, write: &Write) -> Result<Written, Failure> {
        let version = lock(statements, &write.key).await?;
        if let Some(idempotency) = &write.idempotency
            && let Some(done) = self.recall(statements, &write.key, idempotency).await?
        {
            return Ok(Written { done, replayed: true });
        }
        let done = match (write.conditions.allow_write(version), version) {
            (true, None) => apply_to_nothing(statements, write).await?,
            (true, Some(_)) => apply(statements, write).await?,
            (false, _) => Done::Failed(version),
        };
        if let Some(idempotency) = &write.idempotency {
            remember(statements, &write.key, idempotency, done).await?;
        }
        Ok(Written { done, replayed: false })
    }

    async fn recall(
        &self,
        statements: &mut Statements,
        key: &Key,
        idempotency: &Idempotency,
    ) -> Result<Option<Done>, Failure> {
        let parameters = vec![
            Parameter::text(key.as_str()),
            Parameter::text(&*idempotency.key),
            Parameter::Timestamptz(self.forgotten_before()),
        ];
        let rows = statements.rows(RECALL, parameters).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        if row.bytes(0)? != idempotency.request_hash[..] {
            return Err(Failure::Reused);
        }
        let done = Done::recorded(row.bigint(1)?, row.bigint(2)?);
        done.map(Some).ok_or_else(|| Error::internal("an idempotency record has an unknown status").into())
    }

    /// Deletes records of idempotency keys that are past their time, some at once.
    ///
    /// # Errors
    /// A shard failed.
    pub(crate) async fn sweep(&self) -> Result<usize> {
        let before = self.forgotten_before();
        let mut statements = self.open("shardd")?;
        let parameters = vec![Parameter::Timestamptz(before), Parameter::Bigint(SWEEP_ROWS)];
        let expired = statements.rows(EXPIRED, parameters).await?;
        for row in &expired {
            let parameters =
                vec![Parameter::Text(row.text(0)?), Parameter::Text(row.text(1)?), Parameter::Timestamptz(before)];
            statements.rows(FORGET, parameters).await?;
        }
        Ok(expired.len())
    }

    fn forgotten_before(&self) -> i64 {
        let ttl = i64::try_from(self.idempotency_time.as_micros()).unwrap_or(i64::MAX);
        now_microseconds().saturating_sub(ttl)
    }
}

enum Failure {
    Engine(Error),
    /// The idempotency key was used for another request.
    Reused,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Engine(error)
    }
}

fn reused() -> Problem {
    Problem::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "idempotency_key_reused",
        "this Idempotency-Key was used for another request on this key",
    )
    .hint(
        "A request is the same when its method, key, preconditions, content type and body are. Use a new \
         Idempotency-Key for each write that is meant to happen.",
    )
}

async fn lock(statements: &mut Statements, key: &Key) -> Result<Option<i64>> {
    let rows = statements.rows(LOCK, vec![Parameter::text(key.as_str())]).await?;
    rows.first().map(|row| row.bigint(0)).transpose()
}

async fn apply(statements: &mut Statements, write: &Write) -> Result<Done> {
    match &write.change {
        Change::Put { value, content_type } => {
            let done = put(statements, PUT, &write.key, value, content_type).await?;
            done.ok_or_else(|| Error::internal("a put returned no row"))
        }
        Change::Delete => {
            let rows = statements.rows(DELETE, vec![Parameter::text(write.key.as_str())]).await?;
            Ok(if rows.is_empty() { Done::Missing } else { Done::Deleted })
        }
    }
}

/// A write whose entry was looked for and not found. There was no row to lock, so another may have made it since.
async fn apply_to_nothing(statements: &mut Statements, write: &Write) -> Result<Done> {
    match &write.change {
        Change::Put { value, content_type } => {
            let done = put(statements, CREATE, &write.key, value, content_type).await?;
            done.ok_or_else(|| {
                Error::new(SqlState::SERIALIZATION_FAILURE, "another request created the entry at the same time")
                    .retry(Retry::Safe)
            })
        }
        Change::Delete => Ok(Done::Missing),
    }
}

async fn put(
    statements: &mut Statements,
    text: &str,
    key: &Key,
    value: &Bytes,
    content_type: &str,
) -> Result<Option<Done>> {
    let parameters =
        vec![Parameter::text(key.as_str()), Parameter::Bytea(value.clone()), Parameter::text(content_type)];
    let rows = statements.rows(text, parameters).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let version = row.bigint(0)?;
    Ok(Some(if row.bigint(1)? == 1 { Done::Created(version) } else { Done::Replaced(version) }))
}

async fn remember(statements: &mut Statements, key: &Key, idempotency: &Idempotency, done: Done) -> Result<()> {
    let parameters = vec![
        Parameter::text(key.as_str()),
        Parameter::text(&*idempotency.key),
        Parameter::Bytea(Bytes::copy_from_slice(&idempotency.request_hash)),
        Parameter::Bigint(i64::from(done.status().as_u16())),
        Parameter::Bigint(done.version().unwrap_or(0)),
    ];
    statements.rows(REMEMBER, parameters).await.map(|_| ())
}

fn entry_of(row: &Row) -> Result<Entry> {
    Ok(Entry { value: row.bytes(0)?, content_type: row.text(1)?, version: row.bigint(2)? })
}

fn listed_of(row: &Row) -> Result<Listed> {
    Ok(Listed {
        key: row.text(0)?,
        version: row.bigint(1)?,
        content_type: row.text(2)?,
        bytes: row.integer(3)?,
        updated_at: row.bigint(4)?,
    })
}

fn now_microseconds() -> i64 {
    const UNIX_TO_2000_US: i64 = 946_684_800_000_000;
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_1970.as_micros()).unwrap_or(i64::MAX) - UNIX_TO_2000_US
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_done_is_recorded_and_told_again() {
        for done in [
            Done::Created(7),
            Done::Replaced(8),
            Done::Deleted,
            Done::Missing,
            Done::Failed(None),
            Done::Failed(Some(9)),
        ] {
            let status = i64::from(done.status().as_u16());
            assert_eq!(Done::recorded(status, done.version().unwrap_or(0)), Some(done));
        }
        assert_eq!(Done::recorded(500, 0), None);
        assert_eq!(Done::recorded(-1, 0), None);
    }
}
