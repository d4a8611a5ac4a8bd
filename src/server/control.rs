//! The server as the admin door meets it.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::admin::{Control, NewShard, Pending};
use crate::engine::{Engine, Identity};
use crate::error::{Error, Result, SqlState};
use crate::topology::{SHARD_NAME_RULE, ShardSpec, ShardUrl, Topology, is_shard_name};
use crate::types::ShardId;

pub(super) struct EngineControl(pub(super) Arc<Engine>);

impl Control for EngineControl {
    fn topology(&self) -> Arc<Topology> {
        self.0.live_topology().snapshot()
    }

    fn ping(&self, shard: ShardId) -> Pending<'_, Result<()>> {
        Box::pin(self.0.ping(shard))
    }

    fn statistics(&self, shard: ShardId) -> BTreeMap<String, u64> {
        self.0.statistics(shard).unwrap_or_default()
    }

    fn explain(&self, statement: String) -> Pending<'_, Result<Vec<String>>> {
        Box::pin(async move {
            let identity = Identity {
                user: "shardd".to_owned(),
                database: self.0.database().to_owned(),
                door: "admin",
                backend_pid: 0,
            };
            Ok(self.0.session(identity, &[])?.explain_lines(&statement).await)
        })
    }

    fn add_shard(&self, shard: NewShard) -> Pending<'_, Result<ShardId>> {
        Box::pin(async move {
            let url = ShardUrl::parse(&shard.url).map_err(|error| {
                Error::new(SqlState::INVALID_PARAMETER_VALUE, format!("the shard's URL cannot be used: {error}"))
            })?;
            if !is_shard_name(&shard.shard) {
                let message = format!("\"{}\" is no name for a shard: {SHARD_NAME_RULE}", shard.shard);
                return Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, message));
            }
            if self.topology().shard_named(&shard.shard).is_some() {
                let message = format!("there is a shard named \"{}\" already", shard.shard);
                let hint = format!("`shardctl describe {}` shows it; give the new one another name.", shard.shard);
                return Err(Error::new(SqlState::DUPLICATE_OBJECT, message).hint(hint));
            }
            let spec = ShardSpec { name: shard.shard, url, weight: shard.weight };
            let topology = self.0.add_shard(&spec, "admin").await?;
            let added = topology.shard_named(&spec.name);
            added.map(|shard| shard.id).ok_or_else(|| Error::internal("the new shard is not in the topology"))
        })
    }
}
