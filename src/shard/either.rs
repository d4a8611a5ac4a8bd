//! One shard, whichever database it is.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::postgres::{self, Keeper, PostgresShard, PostgresTransaction, SessionSettings};
use super::sqlite::{self, SqliteShard, SqliteTransaction};
use super::{CancelFlag, Output, Rows, Tag, TransactionMode, Written};
use crate::error::{Error, Result};
use crate::topology::{Keyspace, Schema};
use crate::types::ShardId;

/// What the shards of a cluster are: all of one kind, since a statement is made for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShardKind {
    Sqlite,
    Postgres,
}

/// A shard.
#[derive(Debug)]
pub enum Shard {
    Sqlite(SqliteShard),
    Postgres(PostgresShard),
}

/// A statement as a kind of shard runs it. Cached and shared.
#[derive(Clone, Debug)]
pub enum Program {
    Sqlite(Arc<sqlite::Program>),
    Postgres(Arc<postgres::Program>),
}

/// A program and its values.
#[derive(Clone, Debug)]
pub enum Call {
    Sqlite(sqlite::Call),
    Postgres(postgres::Call),
}

/// A shard's part of a transaction.
#[derive(Debug)]
pub enum ShardTransaction {
    Sqlite(SqliteTransaction),
    Postgres(PostgresTransaction),
}

/// How a transaction begins.
#[derive(Clone, Debug)]
pub struct Beginning<'a> {
    pub mode: TransactionMode,
    /// The statement that begins it on a Postgres shard.
    pub statement: &'static str,
    pub settings: Arc<SessionSettings>,
    /// What the session keeps on Postgres shards.
    pub keeper: Option<Arc<Keeper>>,
    /// It only reads, and a replica may answer.
    pub may_lag: bool,
    /// Ends the wait for its place.
    pub cancel: &'a CancelFlag,
}

impl Call {
    /// It reads, and a replica may answer.
    pub fn may_lag(&self) -> bool {
        matches!(self, Call::Postgres(call) if call.replica == postgres::OnReplica::May)
    }
}

impl Program {
    pub fn tag(&self) -> Tag {
        match self {
            Program::Sqlite(program) => program.tag,
            Program::Postgres(program) => program.tag,
        }
    }

    /// # Errors
    /// It is a Postgres shard's: a defect.
    pub fn sqlite(&self) -> Result<&Arc<sqlite::Program>> {
        match self {
            Program::Sqlite(program) => Ok(program),
            Program::Postgres(_) => Err(other_kind()),
        }
    }
}

impl Shard {
    pub fn name(&self) -> &str {
        match self {
            Shard::Sqlite(shard) => shard.name(),
            Shard::Postgres(shard) => shard.name(),
        }
    }

    pub fn id(&self) -> ShardId {
        match self {
            Shard::Sqlite(shard) => shard.id(),
            Shard::Postgres(shard) => shard.id(),
        }
    }

    /// # Errors
    /// It is a Postgres server: a defect.
    pub fn sqlite(&self) -> Result<&SqliteShard> {
        match self {
            Shard::Sqlite(shard) => Ok(shard),
            Shard::Postgres(_) => Err(other_kind()),
        }
    }

    /// # Errors
    /// It is a SQLite file: a defect.
    pub fn postgres(&self) -> Result<&PostgresShard> {
        match self {
            Shard::Postgres(shard) => Ok(shard),
            Shard::Sqlite(_) => Err(other_kind()),
        }
    }

    /// The schema that the shard holds.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn schema(&self, keyspaces: &[Arc<Keyspace>]) -> Result<Schema> {
        match self {
            Shard::Sqlite(shard) => shard.schema().await,
            Shard::Postgres(shard) => shard.schema(keyspaces).await,
        }
    }

    /// Whether the shard can do its work.
    ///
    /// # Errors
    /// What is wrong.
    pub async fn inspect(&self) -> Result<()> {
        match self {
            Shard::Sqlite(shard) => shard.inspect().await,
            Shard::Postgres(shard) => shard.inspect().await,
        }
    }

    /// Whether nothing is known that keeps statements from it: to be preferred where another would do as well.
    pub fn is_reachable(&self) -> bool {
        match self {
            Shard::Sqlite(_) => true,
            Shard::Postgres(shard) => !shard.is_down(),
        }
    }

    /// What it counts about itself, by name.
    pub fn statistics(&self) -> BTreeMap<String, u64> {
        match self {
            Shard::Sqlite(shard) => match serde_json::to_value(shard.statistics()) {
                Ok(serde_json::Value::Object(members)) => {
                    members.into_iter().filter_map(|(name, value)| Some((name, value.as_u64()?))).collect()
                }
                _ => BTreeMap::new(),
            },
            Shard::Postgres(shard) => {
                shard.pool_state().counted().into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
            }
        }
    }

    /// Ends what waits, finishes what runs, and closes its files or connections.
    pub async fn shutdown(&self) {
        match self {
            Shard::Sqlite(shard) => shard.shutdown().await,
            Shard::Postgres(shard) => shard.shutdown(),
        }
    }

    /// A new version of the schema is published.
    pub fn set_schema(&self, schema: Arc<Schema>) {
        match self {
            Shard::Sqlite(shard) => shard.set_schema(schema),
            Shard::Postgres(shard) => shard.schema_changed(),
        }
    }

    /// How its replicas are, and how many statements might have been read from one and were not.
    pub fn replicas(&self) -> (Vec<postgres::ReplicaState>, u64) {
        let replicas = match self {
            Shard::Postgres(shard) => shard.replicas(),
            Shard::Sqlite(_) => None,
        };
        replicas.map(|replicas| (replicas.states(), replicas.passed_over())).unwrap_or_default()
    }

    /// Runs a read that stands alone.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn read(&self, call: Call) -> Result<Output> {
        match (self, call) {
            (Shard::Sqlite(shard), Call::Sqlite(call)) => Ok(shard.read(call).await?.into()),
            (Shard::Postgres(shard), Call::Postgres(call)) => shard.run(call).await,
            _ => Err(other_kind()),
        }
    }

    /// Runs a write and commits it. When it returns, it is durable.
    ///
    /// # Errors
    /// Nothing was written, unless the error's `Retry` is `Unknown`.
    pub async fn write(&self, call: Call) -> Result<Output> {
        match (self, call) {
            (Shard::Sqlite(shard), Call::Sqlite(call)) => {
                let Written { rows, affected, numbers, .. } = shard.write(call).await?;
                Ok(Output { rows: Rows::Ready(rows), affected, numbers, ..Output::default() })
            }
            (Shard::Postgres(shard), Call::Postgres(call)) => shard.run(call).await,
            _ => Err(other_kind()),
        }
    }

    /// Begins a transaction.
    ///
    /// # Errors
    /// Its place did not come free.
    pub async fn begin(&self, beginning: Beginning<'_>) -> Result<ShardTransaction> {
        let Beginning { mode, statement, settings, keeper, may_lag, cancel } = beginning;
        Ok(match self {
            Shard::Sqlite(shard) => ShardTransaction::Sqlite(shard.begin(mode, cancel).await?),
            Shard::Postgres(shard) => ShardTransaction::Postgres(match may_lag {
                true => Box::pin(shard.begin_to_read(statement, &settings, cancel)).await?,
                false => shard.begin(statement, &settings, keeper.as_ref(), cancel).await?,
            }),
        })
    }
}

impl ShardTransaction {
    /// Runs one statement.
    ///
    /// # Errors
    /// The statement failed. What it had changed may still be there: only a rollback, whole or to a savepoint, may follow.
    pub async fn run(&mut self, call: Call) -> Result<Output> {
        match (self, call) {
            (ShardTransaction::Sqlite(transaction), Call::Sqlite(call)) => transaction.run(call).await,
            (ShardTransaction::Postgres(transaction), Call::Postgres(call)) => transaction.run(call).await,
            _ => Err(other_kind()),
        }
    }

    /// Runs statements in the shard's own text: a change of the schema.
    ///
    /// # Errors
    /// The shard refused one.
    pub async fn run_batch(&mut self, statements: &[String]) -> Result<()> {
        match self {
            ShardTransaction::Sqlite(transaction) => transaction.run_batch(statements.to_vec()).await,
            ShardTransaction::Postgres(transaction) => transaction.run_batch(statements).await,
        }
    }

    /// # Errors
    /// The shard failed.
    pub async fn savepoint(&mut self, name: &str) -> Result<()> {
        match self {
            ShardTransaction::Sqlite(transaction) => transaction.savepoint(name).await,
            ShardTransaction::Postgres(transaction) => transaction.savepoint(name).await,
        }
    }

    /// # Errors
    /// The shard failed.
    pub async fn rollback_to(&mut self, name: &str) -> Result<()> {
        match self {
            ShardTransaction::Sqlite(transaction) => transaction.rollback_to(name).await,
            ShardTransaction::Postgres(transaction) => transaction.rollback_to(name).await,
        }
    }

    /// # Errors
    /// The shard failed.
    pub async fn release(&mut self, name: &str) -> Result<()> {
        match self {
            ShardTransaction::Sqlite(transaction) => transaction.release(name).await,
            ShardTransaction::Postgres(transaction) => transaction.release(name).await,
        }
    }

    /// # Errors
    /// Nothing was committed, unless the error's `Retry` is `Unknown`.
    pub async fn commit(self) -> Result<()> {
        match self {
            ShardTransaction::Sqlite(transaction) => transaction.commit().await,
            ShardTransaction::Postgres(transaction) => transaction.commit().await,
        }
    }

    /// Takes everything back. If the shard cannot answer, it does so by itself.
    pub async fn rollback(self) {
        match self {
            ShardTransaction::Sqlite(transaction) => transaction.rollback().await,
            ShardTransaction::Postgres(transaction) => transaction.rollback().await,
        }
    }

    /// # Errors
    /// It is on a SQLite file: a defect.
    pub fn postgres(&mut self) -> Result<&mut PostgresTransaction> {
        match self {
            ShardTransaction::Postgres(transaction) => Ok(transaction),
            ShardTransaction::Sqlite(_) => Err(other_kind()),
        }
    }

    /// # Errors
    /// It is on a Postgres server: a defect.
    pub fn sqlite(&mut self) -> Result<&mut SqliteTransaction> {
        match self {
            ShardTransaction::Sqlite(transaction) => Ok(transaction),
            ShardTransaction::Postgres(_) => Err(other_kind()),
        }
    }
}

impl From<Rows> for Output {
    fn from(rows: Rows) -> Output {
        Output { rows, ..Output::default() }
    }
}

/// All shards of a cluster are of one kind, and so are its programs.
fn other_kind() -> Error {
    Error::internal("a statement for one kind of shard came to another")
}
