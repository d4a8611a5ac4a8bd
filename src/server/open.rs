//! Opens the catalog and the shards, and makes them one engine.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::StartError;
use crate::catalog::{Catalog, DataDirectory};
use crate::config::{Config, differences};
use crate::engine::{self, Engine};
use crate::live_topology::LiveTopology;
use crate::metrics::Metrics;
use crate::shard::sqlite::{self, Opening, SqliteShard};
use crate::topology::{Schema, Shard, ShardUrl, Topology};
use crate::types::Epoch;

/// The epoch of a cluster whose first start has not come to its end.
const FIRST_EPOCH: Epoch = Epoch(1);

/// An engine that may serve: every decided commit is applied, and all shards hold the same tables.
pub(super) async fn engine(
    config: &Config,
    directory: &DataDirectory,
    metrics: &Arc<Metrics>,
) -> Result<Arc<Engine>, StartError> {
    let catalog = Catalog::open(&config.catalog_url.to_text(), directory.path()).await?;
    let topology = load_or_seed(&catalog, config).await?;
    for warning in config.warnings.iter().chain(&differences(config, &topology)) {
        tracing::warn!("{warning}");
    }
    let cluster = catalog.cluster_id().await?;
    let mut shards = BTreeMap::new();
    for shard in &topology.shards {
        check_file(shard, topology.epoch)?;
        shards.insert(shard.id, open_shard(shard, &cluster, config, metrics)?);
    }
    let live = Arc::new(LiveTopology::new(topology));
    let parts = engine::Parts {
        database: config.database.clone(),
        cluster,
        live: Arc::clone(&live),
        shards,
        catalog,
        limits: limits(config),
        shard_limits: shard_limits(config),
        metrics: Arc::clone(metrics),
    };
    let engine = Engine::new(parts)?;
    engine.recover().await?;
    engine.adopt_schema(same_schema(&engine).await?)?;
    Ok(engine)
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

/// Only a new cluster makes its shards' files. Later a missing one was lost, or its disk is not mounted, and an empty one
/// in its place would answer as if its rows had never been.
fn check_file(shard: &Shard, epoch: Epoch) -> Result<(), StartError> {
    match ShardUrl::parse(&shard.url) {
        Ok(ShardUrl::Sqlite(path)) if epoch > FIRST_EPOCH && !path.exists() => {
            Err(StartError::MissingShard { shard: shard.name.clone(), path })
        }
        _ => Ok(()),
    }
}

fn open_shard(
    shard: &Shard,
    cluster: &str,
    config: &Config,
    metrics: &Arc<Metrics>,
) -> Result<Arc<SqliteShard>, StartError> {
    let path = match ShardUrl::parse(&shard.url) {
        Ok(ShardUrl::Sqlite(path)) => path,
        _ => return Err(StartError::PostgresShard(shard.name.clone())),
    };
    let opening = Opening {
        name: shard.name.clone(),
        id: shard.id,
        cluster: cluster.to_owned(),
        path,
        limits: shard_limits(config),
        metrics: metrics.shard(&shard.name),
    };
    Ok(Arc::new(SqliteShard::open(opening)?))
}

/// The schema that every shard holds. Changes of it span all shards, so a difference means that a file was replaced.
async fn same_schema(engine: &Engine) -> Result<Arc<Schema>, StartError> {
    let mut first: Option<(String, Schema)> = None;
    for (_, name, schema) in engine.stored_schemas().await? {
        match &first {
            None => first = Some((name, schema)),
            Some((other, expected)) if *expected != schema => {
                return Err(StartError::SchemaDrift(describe_drift(other, expected, &name, &schema)));
            }
            Some(_) => {}
        }
    }
    Ok(Arc::new(first.map(|(_, schema)| schema).unwrap_or_default()))
}

fn describe_drift(first: &str, expected: &Schema, second: &str, found: &Schema) -> String {
    for (table, definition) in &expected.tables {
        match found.table(table) {
            None => return format!("table \"{table}\" is on {first} and not on {second}"),
            Some(other) if other != definition => {
                return format!("table \"{table}\" has another definition on {second} than on {first}");
            }
            Some(_) => {}
        }
    }
    let extra = found.tables.keys().find(|table| expected.table(table).is_none());
    format!("table \"{}\" is on {second} and not on {first}", extra.map_or("?", String::as_str))
}

fn limits(config: &Config) -> engine::Limits {
    let limits = &config.limits;
    engine::Limits {
        plan_cache_statements: size(limits.plan_cache_statements),
        merge_max_bytes: size(limits.merge_max_bytes),
        prepared_statements_per_session: size(limits.prepared_statements_per_session),
        lock_wait: Duration::from_millis(limits.lock_wait_ms),
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

pub(super) fn size(limit: u64) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}
