//! The durable topology: which shards there are, who owns each slot, and what must survive a crash.
//!
//! One SQLite file. Every change of the topology is one transaction that raises the epoch from the value it was planned
//! for: of two changes planned for the same epoch, one fails with [`CatalogError::Stale`] and changes nothing. The tables'
//! schema is not here: it lies on the shards, beside the tables.
//!
//! Invariant: what `load` gives was validated; a catalog that holds anything else is an error, never a guess.

mod audit;
mod data_directory;
mod error;
mod location;
mod moves;
mod redo;
mod topology_rows;

use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{SqlSafeStr, Sqlite, Transaction};

pub use audit::AuditEntry;
pub use data_directory::{DataDirectory, DataDirectoryError};
pub use error::CatalogError;
pub use moves::{Asked, MoveStage, NewMove, RecordedMove};
pub use redo::RedoPart;

use crate::topology::{ShardSpec, ShardUrl, Topology};
use crate::types::{Epoch, ShardId};
use location::DataPaths;

/// How long a statement waits for another process that holds the catalog (a backup, the sqlite3 shell).
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// The durable topology of one cluster. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Catalog {
    pool: SqlitePool,
    path: PathBuf,
    paths: DataPaths,
}

impl Catalog {
    /// Opens the catalog, creates it when it does not exist, and brings its tables up to date.
    ///
    /// `data_dir` is where relative ownership begins: SQLite shards below it are stored relative to it, so that the
    /// directory can be moved or mounted elsewhere.
    ///
    /// # Errors
    /// The URL is not `sqlite:PATH`, the file cannot be opened, or a newer shardd wrote it.
    pub async fn open(url: &str, data_dir: &Path) -> Result<Catalog, CatalogError> {
        let path = match ShardUrl::parse(url) {
            Ok(ShardUrl::Sqlite(path)) => path,
            Ok(ShardUrl::Postgres(_)) => return Err(CatalogError::PostgresUrl),
            Err(_) => return Err(CatalogError::Url),
        };
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT);
        // One connection: changes come one after the other, and nothing here is read per statement.
        let pool = SqlitePoolOptions::new().max_connections(1).idle_timeout(None).max_lifetime(None);
        let opened = pool.connect_with(options).await;
        let pool = opened.map_err(|source| CatalogError::Open { path: path.clone(), source })?;
        migrate(&pool, &path).await?;
        let paths = DataPaths::new(data_dir);
        Ok(Catalog { pool, path, paths })
    }

    /// The file that holds it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The topology, with an empty schema; `None` when nothing was seeded yet.
    ///
    /// # Errors
    /// The catalog cannot be read, or holds no valid topology.
    pub async fn load(&self) -> Result<Option<Topology>, CatalogError> {
        let mut transaction = self.pool.begin().await?;
        topology_rows::read(&mut transaction, &self.paths).await
    }

    /// The cluster's id: random, given when the catalog was seeded.
    ///
    /// # Errors
    /// The catalog cannot be read, or is empty.
    pub async fn cluster_id(&self) -> Result<String, CatalogError> {
        let id = sqlx::query_scalar("SELECT cluster_id FROM cluster").fetch_optional(&self.pool).await?;
        id.ok_or(CatalogError::Empty)
    }

    /// Writes the first topology of a cluster.
    ///
    /// # Errors
    /// There is one already.
    pub async fn seed(&self, topology: &Topology, actor: &str) -> Result<(), CatalogError> {
        let mut transaction = self.begin().await?;
        if topology_rows::epoch(&mut transaction).await?.is_some() {
            return Err(CatalogError::AlreadySeeded);
        }
        let cluster_id = format!("{:032x}", rand::random::<u128>());
        sqlx::query("INSERT INTO cluster (only_row, cluster_id, epoch) VALUES (1, ?, ?)")
            .bind(cluster_id)
            .bind(topology_rows::stored_epoch(topology.epoch)?)
            .execute(&mut *transaction)
            .await?;
        topology_rows::write(&mut transaction, topology, &self.paths).await?;
        let detail = format!("{} shards, {} keyspaces", topology.shards.len(), topology.keyspaces.len());
        audit::append(&mut transaction, actor, topology.epoch, "seed", &detail).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Adds a shard without slots to the named keyspaces (all, when none is named), if the topology is still at `expected`.
    /// Gives the shard's number for life and the new topology, with an empty schema.
    ///
    /// # Errors
    /// The topology has moved on, or the shard's name, URL or weight cannot be; nothing has changed then.
    pub async fn add_shard(
        &self,
        expected: Epoch,
        shard: &ShardSpec,
        keyspaces: &[String],
        actor: &str,
    ) -> Result<(ShardId, Topology), CatalogError> {
        let mut transaction = self.begin().await?;
        let number = topology_rows::next_shard_number(&mut transaction).await?;
        let after = self.add_numbered(transaction, expected, (number, shard), keyspaces, actor).await?;
        Ok((number, after))
    }

    /// The same for a shard that has its number already, in all keyspaces.
    ///
    /// # Errors
    /// Also when another shard has got that number.
    pub async fn add_shard_as(
        &self,
        expected: Epoch,
        number: ShardId,
        shard: &ShardSpec,
        actor: &str,
    ) -> Result<Topology, CatalogError> {
        let mut transaction = self.begin().await?;
        let found = topology_rows::next_shard_number(&mut transaction).await?;
        if found != number {
            return Err(CatalogError::OtherNumber { expected: number, found });
        }
        self.add_numbered(transaction, expected, (number, shard), &[], actor).await
    }

    async fn add_numbered(
        &self,
        mut transaction: Transaction<'_, Sqlite>,
        expected: Epoch,
        (number, shard): (ShardId, &ShardSpec),
        keyspaces: &[String],
        actor: &str,
    ) -> Result<Topology, CatalogError> {
        raise_epoch(&mut transaction, expected).await?;
        let before = topology_rows::read(&mut transaction, &self.paths).await?.ok_or(CatalogError::Empty)?;
        // The epoch in the catalog is raised already; the change itself is planned from the one before.
        let before = Topology { epoch: expected, ..before };
        let after = before.with_shard(shard.numbered(number), keyspaces)?;
        self.paths.check_distinct(&after.shards)?;
        topology_rows::add_shard(&mut transaction, &after, number, &self.paths).await?;
        let detail = format!("{} {} weight {}", shard.name, shard.url, shard.weight);
        audit::append(&mut transaction, actor, after.epoch, "add-shard", &detail).await?;
        transaction.commit().await?;
        Ok(after)
    }

    /// Gives a shard another weight, if the topology is still at `expected`. Gives the new topology, with an empty schema.
    ///
    /// # Errors
    /// The topology has moved on, or the weight cannot be; nothing has changed then.
    pub async fn set_weight(
        &self,
        expected: Epoch,
        shard: ShardId,
        weight: f64,
        actor: &str,
    ) -> Result<Topology, CatalogError> {
        let mut transaction = self.begin().await?;
        raise_epoch(&mut transaction, expected).await?;
        let before = topology_rows::read(&mut transaction, &self.paths).await?.ok_or(CatalogError::Empty)?;
        let after = Topology { epoch: expected, ..before }.with_weight(shard, weight)?;
        sqlx::query("UPDATE shards SET weight = ? WHERE number = ?")
            .bind(weight)
            .bind(i64::from(shard.0))
            .execute(&mut *transaction)
            .await?;
        let detail = format!("shard {shard} weight {weight}");
        audit::append(&mut transaction, actor, after.epoch, "set-weight", &detail).await?;
        transaction.commit().await?;
        Ok(after)
    }

    /// The number that [`Catalog::add_shard`] would give now.
    ///
    /// # Errors
    /// All numbers were given, or the catalog cannot be read.
    pub async fn next_shard_number(&self) -> Result<ShardId, CatalogError> {
        let mut transaction = self.begin().await?;
        topology_rows::next_shard_number(&mut transaction).await
    }

    /// Raises the epoch for a change that is stored elsewhere, if it is still `expected`; `action` says which (`create table`).
    ///
    /// # Errors
    /// The topology has moved on.
    pub async fn bump_epoch(
        &self,
        expected: Epoch,
        action: &str,
        detail: &str,
        actor: &str,
    ) -> Result<Epoch, CatalogError> {
        let mut transaction = self.begin().await?;
        let epoch = raise_epoch(&mut transaction, expected).await?;
        audit::append(&mut transaction, actor, epoch, action, detail).await?;
        transaction.commit().await?;
        Ok(epoch)
    }

    /// Closes the file; what was acknowledged is on disk whether or not this is called.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// A transaction that holds the writer's place from its beginning, so that what it reads is what it changes.
    async fn begin(&self) -> Result<Transaction<'static, Sqlite>, CatalogError> {
        Ok(self.pool.begin_with("BEGIN IMMEDIATE").await?)
    }
}

/// Compare and set.
async fn raise_epoch(transaction: &mut Transaction<'_, Sqlite>, expected: Epoch) -> Result<Epoch, CatalogError> {
    let found = topology_rows::epoch(transaction).await?.ok_or(CatalogError::Empty)?;
    if found != expected {
        return Err(CatalogError::Stale { expected, found });
    }
    let next = expected.next();
    let next_stored = topology_rows::stored_epoch(next)?;
    sqlx::query("UPDATE cluster SET epoch = ?").bind(next_stored).execute(&mut **transaction).await?;
    Ok(next)
}

async fn migrate(pool: &SqlitePool, path: &Path) -> Result<(), CatalogError> {
    use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
    let step = |version, name: &'static str, sql: &'static str| {
        Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    let steps = vec![
        step(1, "catalog", include_str!("../../migrations/0001_catalog.sql")),
        step(2, "moves", include_str!("../../migrations/0002_moves.sql")),
    ];
    let migrated = Migrator::with_migrations(steps).run(pool).await;
    migrated.map_err(|error| match error {
        MigrateError::VersionMissing(_) | MigrateError::VersionMismatch(_) => {
            CatalogError::Newer { path: path.to_owned() }
        }
        other => CatalogError::Migrate { path: path.to_owned(), source: Box::new(other) },
    })
}

#[cfg(test)]
mod tests;
