//! What the admin door asks of the server, and what phase of its life the server is in.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use super::answers::{
    AnalyzedStatement, CopiedSummary, ForceRequest, Forced, InDoubtDescription, KindRequest, MoveAction,
    MoveDescription, MovePlan, MoveRequest, NewShard, ReplicaDescription, Verification, VerifyRequest,
};
use crate::error::Result;
use crate::topology::{Drift, Topology};
use crate::types::ShardId;

/// An answer that takes time.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The server, as its operator meets it.
pub trait Control: Send + Sync + 'static {
    fn topology(&self) -> Arc<Topology>;

    /// Whether a shard answers. Callers bound the wait.
    fn ping(&self, shard: ShardId) -> Pending<'_, Result<()>>;

    /// What a shard counts about itself, by name; empty when it is not open. `file_bytes` and
    /// `log_bytes` are its size.
    fn statistics(&self, shard: ShardId) -> BTreeMap<String, u64>;

    /// A shard's replicas, and how many statements might have been read from one and were not; none when it is not open.
    fn replicas(&self, shard: ShardId) -> (Vec<ReplicaDescription>, u64);

    /// The lines that `EXPLAIN (SHARDD)` prints.
    fn explain(&self, statement: String) -> Pending<'_, Result<Vec<String>>>;

    /// The plan of each statement of these texts.
    fn analyze(&self, texts: Vec<String>) -> Pending<'_, Result<Vec<AnalyzedStatement>>>;

    /// A new shard, which joins every keyspace and owns no slots yet.
    fn add_shard(&self, shard: NewShard) -> Pending<'_, Result<AddedShard>>;

    /// What the shards' schemas differ in, read from the shards now.
    fn schema_drift(&self) -> Pending<'_, Result<Arc<Drift>>>;

    /// The transactions that are prepared on shards, and that nobody here is about to end.
    fn in_doubt(&self) -> Pending<'_, Result<Vec<InDoubtDescription>>>;

    /// Ends them as was decided, or rolls them back where nothing was. Gives those that are left.
    fn resolve_in_doubt(&self) -> Pending<'_, Result<Vec<InDoubtDescription>>>;

    /// Looks whether every shard holds what it should. It ends when nobody waits for it any more.
    fn verify(&self, request: VerifyRequest) -> Pending<'_, Result<Verification>>;

    /// Makes a table sharded, or a reference table. Gives how many rows it has.
    fn change_kind(&self, table: String, request: KindRequest) -> Pending<'_, Result<usize>>;

    /// Ends one without its decision, which is lost with its shard.
    fn force_in_doubt(&self, request: ForceRequest) -> Pending<'_, Result<Forced>>;

    /// Has slots moved, or tells what would be.
    fn start_moves(&self, request: MoveRequest) -> Pending<'_, Result<Vec<MovePlan>>>;

    /// The latest moves, newest first.
    fn moves(&self) -> Pending<'_, Result<Vec<MoveDescription>>>;

    fn one_move(&self, id: i64) -> Pending<'_, Result<MoveDescription>>;

    /// Has a move pause, go on, or be cancelled.
    fn change_move(&self, id: i64, action: MoveAction) -> Pending<'_, Result<MoveDescription>>;

    /// Gives a shard another share of the slots. Nothing moves by itself.
    fn set_weight(&self, shard: String, weight: f64) -> Pending<'_, Result<()>>;

    /// Bounds how fast rows are copied, in bytes a second; 0 is no bound.
    fn throttle_moves(&self, bytes_per_second: u64);
}

/// A shard that has joined.
#[derive(Clone, Debug)]
pub struct AddedShard {
    pub id: ShardId,
    /// What must be known of it.
    pub warnings: Vec<String>,
    /// What was copied to it, where that is told.
    pub copied: Option<CopiedSummary>,
}

/// Where in its life the server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Starting,
    Serving,
    Draining,
}

/// The phase, told by the server and read by the health checks.
#[derive(Debug, Default)]
pub struct PhaseCell(AtomicU8);

impl PhaseCell {
    /// A server that is starting.
    pub fn new() -> PhaseCell {
        PhaseCell::default()
    }

    pub fn set(&self, phase: Phase) {
        self.0.store(phase as u8, Ordering::Release);
    }

    pub fn get(&self) -> Phase {
        match self.0.load(Ordering::Acquire) {
            0 => Phase::Starting,
            1 => Phase::Serving,
            _ => Phase::Draining,
        }
    }
}
