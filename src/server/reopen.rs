//! Tries the shards that were down at the start again, until each is open.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::open::ShardOpener;
use crate::engine::Engine;
use crate::error::Result;
use crate::shard::sqlite::ShardFile;
use crate::topology::Shard;

/// The first pause; each is twice as long as the one before.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause: how long a mended shard may wait.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Ends when no shard is down any more. To be aborted before the engine is closed.
pub(super) async fn until_all_are_open(engine: Arc<Engine>, opener: ShardOpener) {
    let topology = engine.live_topology().snapshot();
    let mut shards = JoinSet::new();
    for (id, ..) in engine.down() {
        if let Some(shard) = topology.shard(id) {
            shards.spawn(until_open(Arc::clone(&engine), opener.clone(), shard.clone()));
        }
    }
    while shards.join_next().await.is_some() {}
}

async fn until_open(engine: Arc<Engine>, opener: ShardOpener, shard: Shard) {
    let mut pause = FIRST_PAUSE;
    loop {
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
        match open(&engine, &opener, &shard).await {
            Ok(()) => {
                tracing::info!(shard = %shard.name, "the shard is open again, and its keys are served");
                return;
            }
            // The same reason every half minute would bury the rest of the log.
            Err(reason) if !engine.note_down(shard.id, &reason) => {}
            Err(reason) => {
                tracing::error!(shard = %shard.name, hint = reason.get_hint(), "{}", engine.not_open(shard.id).message());
            }
        }
    }
}

async fn open(engine: &Engine, opener: &ShardOpener, shard: &Shard) -> Result<()> {
    // What a shard held before must be there: its file is never made anew.
    engine.let_in(opener.open(shard, ShardFile::Known).await?).await
}
