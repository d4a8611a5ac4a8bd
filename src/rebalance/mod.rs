//! Moves of slots from one shard to another, while clients read and write.
//!
//! A move is a row of the catalog with a stage, and one task works on moves, one after the other. A stage is written before
//! it acts and can be repeated, so a move goes on after any crash from where the catalog says it is: `stages` is read downward.
//! What a stage does on the shards is theirs ([`crate::shard::postgres::PostgresMove`]); that statements go where the rows are is the
//! engine's, which learns of it from the topology alone: which shard holds `strays`, and for which slots new work is `held`.
//!
//! - Invariant: what a shard may hold is decided on the shard. The catalog follows.
//! - Invariant: before the slots have changed hands the giving shard has every row, and a move can be given up. Afterwards it only
//!   goes forward.
//! - Invariant: moves are worked on one at a time, so that no two change the guards of one shard.

mod backing_off;
mod cut_over;
mod derived;
mod ending;
mod planning;
mod progress;
mod publishing;
mod runner;
mod stages;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::catalog::{Asked, Catalog, NewMove, RecordedMove};
use crate::error::Result;
use crate::live_topology::LiveTopology;

pub use derived::with_moves;
pub use planning::{PlannedMove, Wanted};
pub use progress::Progress;

/// What moves wait for, and how long.
#[derive(Clone, Copy, Debug)]
pub struct Waits {
    /// How long new work for slots is held while they change hands, at most: past it the cutover is tried again later.
    pub hold: Duration,
    /// How far behind its shard a replica may be that is read; zero where there are none.
    pub replica_lag: Duration,
}

/// Moves, as their operator meets them. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Rebalancer(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    catalog: Catalog,
    live: Arc<LiveTopology>,
    cluster: String,
    /// There is something to look at.
    wake: Notify,
    /// Of moves that this process works on.
    progress: Mutex<BTreeMap<i64, Progress>>,
    /// The most that copying may take; 0 is no bound.
    bytes_per_second: AtomicU64,
    waits: Waits,
}

impl Rebalancer {
    pub fn new(catalog: Catalog, live: Arc<LiveTopology>, cluster: String, waits: Waits) -> Rebalancer {
        Rebalancer(Arc::new(Shared {
            catalog,
            live,
            cluster,
            wake: Notify::new(),
            progress: Mutex::default(),
            bytes_per_second: AtomicU64::new(0),
            waits,
        }))
    }

    /// Records moves, all or none, and has them worked on in their order. Gives their ids.
    ///
    /// # Errors
    /// A slot does not belong to the shard that is to give it, or is moving already.
    pub async fn start(&self, moves: &[NewMove], actor: &str) -> Result<Vec<i64>> {
        let ids = self.0.catalog.add_moves(moves, actor).await?;
        self.0.wake.notify_one();
        Ok(ids)
    }

    /// The latest moves, newest first, with how far those are that are worked on here.
    ///
    /// # Errors
    /// The catalog cannot be read.
    pub async fn moves(&self, limit: u32) -> Result<Vec<(RecordedMove, Option<Progress>)>> {
        let moves = self.0.catalog.moves(limit).await?;
        let progress = self.0.progress.lock();
        Ok(moves.into_iter().map(|recorded| (recorded.clone(), progress.get(&recorded.id).cloned())).collect())
    }

    /// One move.
    ///
    /// # Errors
    /// There is none of this id.
    pub async fn one_move(&self, id: i64) -> Result<(RecordedMove, Option<Progress>)> {
        let recorded = self.0.catalog.recorded_move(id).await?;
        let progress = self.0.progress.lock().get(&id).cloned();
        Ok((recorded, progress))
    }

    /// Has a move pause, go on, or be cancelled.
    ///
    /// # Errors
    /// There is none of this id, it has ended, or it cannot be cancelled any more.
    pub async fn ask(&self, id: i64, asked: Asked, actor: &str) -> Result<()> {
        self.0.catalog.ask_of_move(id, asked, actor).await?;
        self.0.wake.notify_one();
        Ok(())
    }

    /// Gives a shard another share of the slots, which the next balancing of them goes by. Nothing moves by itself.
    ///
    /// # Errors
    /// There is no such shard, or the weight cannot be.
    pub async fn set_weight(&self, shard: &str, weight: f64, actor: &str) -> Result<()> {
        let found = self.0.live.snapshot();
        let found = found.shard_named(shard).ok_or_else(|| planning::unknown("shard", shard))?;
        self.0.weigh(found.id, weight, actor).await
    }

    /// Bounds how fast rows are copied, in bytes a second; 0 is no bound. Until this process ends.
    pub fn throttle(&self, bytes_per_second: u64) {
        self.0.bytes_per_second.store(bytes_per_second, Ordering::Relaxed);
    }
}
