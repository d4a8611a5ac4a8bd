//! Opens the catalog and the shards, and makes them one engine.
//!
//! A shard that cannot be opened is down, and the others are served; `reopen` tries it again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::StartError;
use super::workers::Workers;
use crate::catalog::{Catalog, DataDirectory};
use crate::config::{Config, differences};
use crate::engine::{self, Engine};
use crate::error::{Error, Fault, SqlState};
use crate::live_topology::LiveTopology;
use crate::metrics::Metrics;
use crate::rebalance::{Rebalancer, Waits, with_moves};
use crate::shard::postgres::{Pool, PoolLimits, PostgresShard, Replicas, Target};
use crate::shard::sqlite::{self, Opening, ShardFile, SqliteShard};
use crate::shard::{self, ShardKind};
use crate::topology::{Shard, ShardUrl, Topology};
use crate::types::{Epoch, ShardId};

type Opened = BTreeMap<ShardId, Arc<shard::Shard>>;
type Down = BTreeMap<ShardId, Error>;

/// The epoch of a cluster whose first start has not come to its end.
const FIRST_EPOCH: Epoch = Epoch(1);

/// How long the start waits for a shard when another one is open.
const OPENING_TIME: Duration = Duration::from_secs(30);

/// An engine that may serve: on its open shards every decided commit is applied, and they hold the same tables.
pub(super) async fn engine(
    config: &Config,
    directory: &DataDirectory,
    metrics: &Arc<Metrics>,
) -> Result<(Arc<Engine>, ShardOpener, Rebalancer), StartError> {
    let catalog = Catalog::open(&config.catalog_url.to_text(), directory.path()).await?;
    let topology = load_or_seed(&catalog, config).await?;
    for warning in config.warnings.iter().chain(&differences(config, &topology)) {
        tracing::warn!("{warning}");
    }
    let topology = with_moves(topology, &catalog.unfinished_moves().await?);
    #[cfg(debug_assertions)]
    let topology = super::planted::with_strays(topology);
    let cluster = catalog.cluster_id().await?;
    let kind = kind_of(&topology)?;
    let opener = ShardOpener {
        cluster: cluster.clone(),
        limits: shard_limits(config),
        metrics: Arc::clone(metrics),
        workers: Arc::new(Workers::start(worker_count(config, kind)).map_err(StartError::Threads)?),
        pool: pool_limits(config),
        replicas: Arc::new(config.replicas.clone()),
        replica_max_lag: Duration::from_millis(config.limits.replica_max_lag_ms),
    };
    let (shards, down) = open_all(&opener, &topology).await?;
    let live = Arc::new(LiveTopology::new(topology));
    let moves = Rebalancer::new(catalog.clone(), Arc::clone(&live), cluster.clone(), waits(config));
    let parts = engine::Parts {
        database: config.database.clone(),
        cluster,
        live,
        kind,
        shards,
        down,
        catalog,
        limits: limits(config),
        shard_limits: shard_limits(config),
        metrics: Arc::clone(metrics),
    };
    let engine = Engine::new(parts)?;
    engine.recover().await?;
    engine.agree_on_schema().await?;
    engine.forget_joinings().await;
    #[cfg(debug_assertions)]
    super::planted::hold(engine.live_topology());
    if !engine.any_open() {
        return Err(no_shard(&engine));
    }
    for (id, shard, _) in engine.down() {
        let told = engine.not_open(id);
        tracing::error!(%shard, detail = told.get_detail(), hint = told.get_hint(), "{}", told.message());
    }
    Ok((engine, opener, moves))
}

/// A cutover has ended, or was given up, before the statements that it holds wait no longer.
fn waits(config: &Config) -> Waits {
    let replica_lag = if config.replicas.is_empty() { 0 } else { config.limits.replica_max_lag_ms };
    Waits {
        hold: Duration::from_millis(config.limits.move_hold_ms) * 3 / 5,
        replica_lag: Duration::from_millis(replica_lag),
    }
}

/// Opens the shards side by side: one that is locked makes the others wait for nothing.
async fn open_all(opener: &ShardOpener, topology: &Topology) -> Result<(Opened, Down), StartError> {
    // Only a new cluster makes its shards' files. Later a missing one was lost, or its disk is not mounted, and an empty
    // one in its place would answer as if its rows had never been.
    let new = topology.epoch == FIRST_EPOCH;
    let file = if new { ShardFile::MayBeNew } else { ShardFile::Known };
    let mut openings = JoinSet::new();
    for shard in topology.shards.clone() {
        let opener = opener.clone();
        openings.spawn(async move { (shard.id, opener.open(&shard, file).await) });
    }
    let (shards, mut down) = opened_in_time(openings, OPENING_TIME).await?;
    for shard in topology.shards.iter().filter(|shard| !shards.contains_key(&shard.id)) {
        down.entry(shard.id).or_insert_with(|| too_slow(&shard.name));
    }
    // A new cluster has nothing yet that could be served without the shard.
    if new && let Some((_, error)) = down.pop_first() {
        return Err(error.into());
    }
    Ok((shards.into_iter().map(|(id, shard)| (id, Arc::new(shard))).collect(), down))
}

/// What was opened, and what could not be. Once one is open the others have no more time than `patience`.
async fn opened_in_time<T: 'static>(
    mut openings: JoinSet<(ShardId, Result<T, Error>)>,
    patience: Duration,
) -> Result<(BTreeMap<ShardId, T>, Down), StartError> {
    let deadline = Instant::now() + patience;
    let (mut shards, mut down) = (BTreeMap::new(), Down::new());
    loop {
        let next = openings.join_next();
        let joined = if shards.is_empty() { Ok(next.await) } else { timeout_at(deadline, next).await };
        let Ok(Some(joined)) = joined else { return Ok((shards, down)) };
        let (id, outcome) =
            joined.map_err(|error| Error::internal(format!("opening a shard ended unexpectedly: {error}")))?;
        match outcome {
            Ok(shard) => {
                shards.insert(id, shard);
            }
            Err(error) => {
                down.insert(id, error);
            }
        }
    }
}

fn too_slow(shard: &str) -> Error {
    let seconds = OPENING_TIME.as_secs();
    Error::new(SqlState::IO_ERROR, format!("shard \"{shard}\" could not be opened within {seconds} s"))
        .hint("Its disk may hang, or its log may be long.")
        .fault(Fault::Shard)
}

fn no_shard(engine: &Engine) -> StartError {
    let reason = |(_, _, error): &(ShardId, String, Error)| {
        let hint = error.get_hint().map(|hint| format!(". {hint}")).unwrap_or_default();
        format!("{}{hint}", error.message())
    };
    StartError::NoShard(engine.down().iter().map(reason).collect::<Vec<_>>().join("\n  "))
}

async fn load_or_seed(catalog: &Catalog, config: &Config) -> Result<Topology, StartError> {
    if let Some(topology) = catalog.load().await? {
        return Ok(topology);
    }
    let topology = Topology::first(&config.shards, &config.keyspaces).map_err(crate::catalog::CatalogError::from)?;
    catalog.seed(&topology, "configuration").await?;
    tracing::info!(shards = topology.shards.len(), "made a new cluster");
    Ok(topology)
}

/// Opens shards: at the start, and those that were down then.
#[derive(Clone)]
pub(super) struct ShardOpener {
    cluster: String,
    limits: sqlite::Limits,
    metrics: Arc<Metrics>,
    workers: Arc<Workers>,
    /// Of all workers together.
    pool: PoolLimits,
    /// By the shard's name.
    replicas: Arc<BTreeMap<String, Vec<ShardUrl>>>,
    replica_max_lag: Duration,
}

impl ShardOpener {
    pub(super) fn workers(&self) -> Arc<Workers> {
        Arc::clone(&self.workers)
    }

    /// A pool for each worker, whose runtime then watches its connections.
    fn pools(&self, shard: &str, target: &Target) -> Vec<Arc<Pool>> {
        let handles = self.workers.handles();
        let share = |of_all: usize| of_all.div_ceil(handles.len().max(1));
        let all = self.pool;
        let limits = PoolLimits { size: share(all.size), minimum: share(all.minimum), queue: share(all.queue), ..all };
        let pool = |handle: &Handle| {
            let _inside = handle.enter();
            Pool::new(shard, target.clone(), limits)
        };
        handles.iter().map(pool).collect()
    }

    /// Whether they can be reached is found out later: a shard is served without them.
    fn replicas_of(&self, shard: &str, primary: &Target) -> Result<Option<Arc<Replicas>>, Error> {
        let Some(urls) = self.replicas.get(shard) else { return Ok(None) };
        let mut replicas = Vec::with_capacity(urls.len());
        for url in urls {
            let target = Target::parse(&url.to_text()).map_err(|error| bad_url(shard, &error))?;
            let name = format!("{shard}, replica {}", target.address());
            let pools = self.pools(&name, &target);
            replicas.push((target, pools));
        }
        Ok(Some(Replicas::start(shard, primary, replicas, self.replica_max_lag)))
    }

    pub(super) async fn open(&self, shard: &Shard, file: ShardFile) -> Result<shard::Shard, Error> {
        match ShardUrl::parse(&shard.url) {
            Ok(ShardUrl::Sqlite(path)) => {
                let opening = Opening {
                    name: shard.name.clone(),
                    id: shard.id,
                    cluster: self.cluster.clone(),
                    path,
                    file,
                    limits: self.limits.clone(),
                    metrics: self.metrics.shard(&shard.name),
                };
                let opened = tokio::task::spawn_blocking(move || SqliteShard::open(opening)).await;
                opened
                    .map_err(|error| Error::internal(format!("opening a shard failed: {error}")))?
                    .map(shard::Shard::Sqlite)
            }
            Ok(ShardUrl::Postgres(url)) => {
                let target = Target::parse(&url).map_err(|error| bad_url(&shard.name, &error))?;
                let pools = self.pools(&shard.name, &target);
                let opened = PostgresShard::new(&shard.name, shard.id, pools, self.metrics.shard(&shard.name));
                opened.check_hashes().await?;
                let opened = opened.with_replicas(self.replicas_of(&shard.name, &target)?);
                Ok(shard::Shard::Postgres(opened))
            }
            Err(error) => Err(bad_url(&shard.name, &error)),
        }
    }
}

/// SQLite runs in the threads that serve its clients. Postgres has a machine of its own, or takes its half of this one; and one
/// thread does more with the same processor time than two: it finds more to do whenever it looks.
fn worker_count(config: &Config, kind: ShardKind) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    match (size(config.limits.worker_threads), kind) {
        (0, ShardKind::Sqlite) => cores,
        (0, ShardKind::Postgres) => (cores / 2).max(1),
        (threads, _) => threads,
    }
}

fn bad_url(shard: &str, error: &dyn std::error::Error) -> Error {
    Error::new(SqlState::INVALID_PARAMETER_VALUE, format!("the URL of shard \"{shard}\" cannot be used: {error}"))
        .fault(Fault::Proxy)
}

/// All shards are of one kind: a statement is made for one.
fn kind_of(topology: &Topology) -> Result<ShardKind, StartError> {
    let is_postgres = |shard: &&Shard| matches!(ShardUrl::parse(&shard.url), Ok(ShardUrl::Postgres(_)));
    let postgres = topology.shards.iter().find(is_postgres);
    let sqlite = topology.shards.iter().find(|shard| !is_postgres(shard));
    match (postgres, sqlite) {
        (Some(postgres), Some(sqlite)) => {
            Err(StartError::MixedShards { postgres: postgres.name.clone(), sqlite: sqlite.name.clone() })
        }
        (Some(_), None) => Ok(ShardKind::Postgres),
        (None, _) => Ok(ShardKind::Sqlite),
    }
}

fn limits(config: &Config) -> engine::Limits {
    let limits = &config.limits;
    engine::Limits {
        plan_cache_statements: size(limits.plan_cache_statements),
        merge_max_bytes: size(limits.merge_max_bytes),
        gather_max_bytes: size(limits.gather_max_bytes),
        cursors_max_bytes: size(limits.cursors_max_bytes),
        prepared_statements_per_session: size(limits.prepared_statements_per_session),
        lock_wait: Duration::from_millis(limits.lock_wait_ms),
        deadlock_wait: Duration::from_millis(limits.deadlock_wait_ms),
        resolve_after: Duration::from_millis(limits.resolve_after_ms),
        move_hold: Duration::from_millis(limits.move_hold_ms),
        move_held_statements: size(limits.move_held_statements),
    }
}

fn shard_limits(config: &Config) -> sqlite::Limits {
    let limits = &config.limits;
    let defaults = sqlite::Limits::default();
    let readers = match size(limits.readers_per_shard) {
        0 => defaults.readers,
        readers => readers,
    };
    let idle_in_transaction = match limits.idle_in_transaction_timeout_ms {
        // A day, where there is no limit: the writer is never given away for good.
        0 => Duration::from_secs(24 * 60 * 60),
        milliseconds => Duration::from_millis(milliseconds),
    };
    sqlite::Limits {
        readers,
        queued_writes: size(limits.write_queue_statements),
        queue_deadline: Duration::from_millis(limits.queue_wait_ms),
        idle_in_transaction,
        ..defaults
    }
}

fn pool_limits(config: &Config) -> PoolLimits {
    let pool = &config.pool;
    let optional = |milliseconds: u64| (milliseconds > 0).then(|| Duration::from_millis(milliseconds));
    PoolLimits {
        size: size(pool.size),
        minimum: size(pool.minimum),
        queue: size(pool.queue_clients),
        checkout_deadline: Duration::from_millis(pool.checkout_deadline_ms),
        connect_timeout: Duration::from_millis(pool.connect_timeout_ms),
        max_lifetime: optional(pool.max_lifetime_ms),
        idle_timeout: optional(pool.idle_timeout_ms),
    }
}

pub(super) fn size(limit: u64) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A shard that needs so long; `None` for one that never ends.
    async fn opening(id: u16, time_ms: Option<u64>) -> (ShardId, Result<u16, Error>) {
        match time_ms {
            Some(time_ms) => tokio::time::sleep(Duration::from_millis(time_ms)).await,
            None => std::future::pending().await,
        }
        (ShardId(id), if id < 9 { Ok(id) } else { Err(too_slow("x")) })
    }

    async fn opened(shards: &[(u16, Option<u64>)]) -> (Vec<u16>, Vec<u16>) {
        let mut openings = JoinSet::new();
        shards.iter().for_each(|(id, time_ms)| drop(openings.spawn(opening(*id, *time_ms))));
        let (shards, down) = opened_in_time(openings, Duration::from_millis(100)).await.unwrap();
        (shards.into_values().collect(), down.into_keys().map(|id| id.0).collect())
    }

    #[tokio::test]
    async fn a_shard_that_hangs_does_not_hold_the_others_back() {
        assert_eq!(opened(&[(1, Some(1)), (2, None), (9, Some(2))]).await, (vec![1], vec![9]));
    }

    #[tokio::test]
    async fn while_none_is_open_the_start_waits() {
        assert_eq!(opened(&[(1, Some(300)), (9, Some(1))]).await, (vec![1], vec![9]));
    }
}
