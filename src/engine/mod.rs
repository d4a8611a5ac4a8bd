//! A client's statements, from text to rows: parse, plan, execute, merge; transactions.
//!
//! The doors decode frames or JSON into calls on a [`Session`] and encode its [`Answer`]s. They know no shard.
//!
//! The path of a statement reads downward: `session` (prepare, execute), `statement` (text to plan, cached), then `read`,
//! `write`, `ddl`, `copy_in`, `copy_out` or `local` by its plan, `merge` for the rows of several shards, `transaction` for what holds several
//! statements together, `spanning` for what commits on several shards (`two_phase` on Postgres shards, where the `resolver`
//! finishes what was interrupted), `deadlock` for those that wait for each other. `keeping` is what a session has of its own on Postgres
//! shards (`advisory` locks, `temporary` tables, what `notifying` brings). `shards`, `down` and `agreement` keep the set of
//! shards; `strays` are what moves leave on them; `drift` refuses what their differences would make wrong; `connecting` answers what drivers ask first.
//! `sequence` is nextval and setval (`givers`: on which shards), `numbers` lastval and currval, from what INSERTs leave to sequences (`fills`). `filling`
//! and `following` are what one server answers for all, `returned` is what is put together behind a write within WITH,
//! `concurrently` what indexes need no lock for, `kind` what makes a table another kind (`attached`: what rests on it
//! meanwhile), `guards` what keeps each server's guards and `file_guards` each file's, `verifying` what looks at them and at the rows, `forcing` the end of what nobody can decide any more.

mod across;
mod advisory;
mod agreement;
mod ahead;
mod answer;
mod apart;
mod asking;
mod at_once;
mod attached;
mod by_key;
mod carrying;
mod concurrently;
mod connecting;
mod copy_in;
mod copy_out;
mod copy_rows;
mod cursor_memory;
mod cursor_rows;
mod cursors;
mod ddl;
mod deadlock;
mod down;
mod drift;
mod evaluate;
mod everywhere;
mod explain;
mod file_guards;
mod filling;
mod fills;
mod following;
mod forcing;
mod gather;
mod gid;
mod givers;
mod guards;
mod holding;
mod joining;
mod keeping;
mod kind;
mod local;
mod merge;
mod merge_into;
mod names;
mod notifying;
mod numbers;
mod parameters;
mod participant;
mod pass_through;
mod passing_on;
mod read;
mod recording;
mod resolver;
mod returned;
mod row_by_row;
mod sequence;
mod sequence_name;
mod servers;
mod session;
mod settings;
mod shards;
mod side_by_side;
mod spanning;
mod statement;
mod strays;
mod temporary;
mod text_rules;
mod transaction;
mod two_phase;
mod verifying;
mod write;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{OwnedMutexGuard, Semaphore};

pub use crate::shard::RawParameters;
pub use crate::shard::postgres::{Looked, StatementName};
pub use crate::shard::{Formats, OutputColumn};
pub use ahead::Submitted;
pub use answer::{Answer, Copying, RowBatch, Rows, TagCount};
pub use at_once::{Commit, Control, Ending};
pub use copy_in::CopyIn;
pub use joining::{Copied, Joined};
pub use kind::KindChange;
pub use pass_through::PassThrough;
pub use resolver::InDoubtTransaction;
pub use session::{CancelHandle, Identity, Scope, Session, TransactionStatus};
pub use statement::Prepared;
pub use verifying::{Flaw, FlawKind, Verified, Verify};

use crate::catalog::Catalog;
use crate::error::{Error, Result, Retry, SqlState};
use crate::live_topology::LiveTopology;
use crate::metrics::{Door, InFlight, Metrics, ShardMetrics};
use crate::shard::sqlite::{self, Scratch};
use crate::shard::{Shard, ShardKind};
use crate::topology::{Schema, Topology};
use crate::types::{Epoch, ShardId};
use cursor_memory::CursorMemory;
use deadlock::Waits;
use down::{DownShard, ShardSet};
use holding::Holding;
use passing_on::StatementNames;
use recording::RanOn;
use servers::Servers;
use statement::PlanCache;
use strays::StrayPrograms;
use two_phase::TwoPhases;

/// Reads whose rows are brought together at the same time.
const GATHERS: usize = 4;

/// The engine's bounds. Each has a documented default in the configuration.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Statements whose plan is kept.
    pub plan_cache_statements: usize,
    /// What putting the rows of several shards together may take in memory: DISTINCT's keys, partial aggregates.
    pub merge_max_bytes: usize,
    /// What may be brought to one place for one read.
    pub gather_max_bytes: usize,
    /// What the rows of all sessions' cursors may take in memory.
    pub cursors_max_bytes: usize,
    pub prepared_statements_per_session: usize,
    /// How long a statement waits for another's change of the schema.
    pub lock_wait: Duration,
    /// How long a transaction over several shards waits for a lock, before it is taken for a deadlock.
    pub deadlock_wait: Duration,
    /// How old a prepared transaction is that nobody seems to finish.
    pub resolve_after: Duration,
    /// How long a statement waits for rows that change their shard.
    pub move_hold: Duration,
    /// How many may.
    pub move_held_statements: usize,
}

/// What all sessions share.
pub struct Engine {
    database: Arc<str>,
    cluster: String,
    live: Arc<LiveTopology>,
    /// What the shards are, all of them.
    kind: ShardKind,
    shards: Arc<ArcSwap<ShardSet>>,
    /// Whose turn it is among the shards, for what any can answer.
    turn: AtomicUsize,
    statement_names: StatementNames,
    servers: Servers,
    catalog: Catalog,
    plans: PlanCache,
    stray_programs: StrayPrograms,
    scratch: Scratch,
    /// Turns of reads whose rows are brought together: each holds one connection while it waits for others.
    gathers: Arc<Semaphore>,
    cursor_memory: Arc<CursorMemory>,
    limits: Limits,
    shard_limits: sqlite::Limits,
    metrics: Arc<Metrics>,
    /// Held by whoever changes the schema or the set of shards, from the first statement to the commit.
    schema_change: Arc<tokio::sync::Mutex<()>>,
    two_phases: TwoPhases,
    /// The transactions that wait for each other.
    waits: Arc<Waits>,
    /// The statements that wait for a move.
    holding: Holding,
}

/// A shard, and where it is counted.
#[derive(Clone)]
struct OpenShard {
    shard: Arc<Shard>,
    metrics: Arc<ShardMetrics>,
}

/// An epoch of the catalog's that waits for its change of the schema.
#[derive(Debug)]
struct Announced(Epoch);

/// What an engine is made of.
pub struct Parts {
    /// The one database name that clients may ask for.
    pub database: String,
    /// The cluster's identity: a shard's file that belongs to another is refused.
    pub cluster: String,
    pub live: Arc<LiveTopology>,
    pub kind: ShardKind,
    pub shards: BTreeMap<ShardId, Arc<Shard>>,
    /// The topology's other shards, and why they could not be opened.
    pub down: BTreeMap<ShardId, Error>,
    pub catalog: Catalog,
    pub limits: Limits,
    /// Of shards that are added later.
    pub shard_limits: sqlite::Limits,
    pub metrics: Arc<Metrics>,
}

impl Engine {
    /// An engine over opened shards. Nothing is served before [`Engine::recover`] and [`Engine::agree_on_schema`] have run.
    ///
    /// # Errors
    /// The in-memory database for merging cannot be opened.
    pub fn new(parts: Parts) -> Result<Arc<Engine>> {
        let topology = parts.live.snapshot();
        let metrics = |id| parts.metrics.shard(topology.shard(id).map_or("?", |shard| &shard.name));
        let open = |(id, shard)| (id, OpenShard { metrics: metrics(id), shard });
        let down = |(id, reason)| (id, DownShard { metrics: metrics(id), reason });
        let shards = ShardSet {
            open: parts.shards.into_iter().map(open).collect(),
            down: parts.down.into_iter().map(down).collect(),
        };
        Ok(Arc::new(Engine {
            database: parts.database.into(),
            cluster: parts.cluster,
            live: parts.live,
            kind: parts.kind,
            turn: AtomicUsize::new(0),
            statement_names: StatementNames::default(),
            servers: Servers::default(),
            shards: Arc::new(ArcSwap::from_pointee(shards)),
            catalog: parts.catalog,
            plans: PlanCache::new(parts.limits.plan_cache_statements, Arc::clone(&parts.metrics)),
            stray_programs: StrayPrograms::default(),
            scratch: Scratch::open(Arc::clone(parts.metrics.no_shard()))?,
            gathers: Arc::new(Semaphore::new(GATHERS)),
            cursor_memory: CursorMemory::new(parts.limits.cursors_max_bytes, Arc::clone(&parts.metrics)),
            waits: Waits::new(parts.limits.deadlock_wait),
            two_phases: TwoPhases::default(),
            holding: Holding::new(parts.limits.move_held_statements),
            limits: parts.limits,
            shard_limits: parts.shard_limits,
            metrics: parts.metrics,
            schema_change: Arc::default(),
        }))
    }

    /// A session for an authenticated client. `settings` are the start-up message's (`TimeZone`, `application_name`, ...);
    /// unknown ones are kept and ignored.
    ///
    /// # Errors
    /// The database does not exist, or a setting has a value it cannot have.
    pub fn session(self: &Arc<Self>, identity: Identity, settings: &[(String, String)]) -> Result<Session> {
        if *identity.database != *self.database {
            return Err(Error::new(
                SqlState::INVALID_CATALOG_NAME,
                format!("database \"{}\" does not exist", identity.database),
            )
            .hint(format!("This server has one database: connect to \"{}\".", self.database)));
        }
        self.refresh_servers();
        Session::new(Arc::clone(self), identity, settings)
    }

    /// The database that clients connect to.
    pub fn database(&self) -> &str {
        &self.database
    }

    /// The cell where new epochs are published.
    pub fn live_topology(&self) -> &Arc<LiveTopology> {
        &self.live
    }

    pub(crate) fn shard(&self, id: ShardId) -> Result<Arc<Shard>> {
        let set = self.shards.load();
        set.open.get(&id).map(|open| Arc::clone(&open.shard)).ok_or_else(|| self.not_open(id))
    }

    pub(crate) fn shard_name(&self, id: ShardId) -> String {
        self.live.snapshot().shard(id).map_or_else(|| format!("number {id}"), |shard| shard.name.clone())
    }

    /// A statement begins to be answered.
    fn in_flight(&self, door: Door) -> InFlight {
        self.metrics.door(door).start().in_turn(self.live.turns().take())
    }

    /// Waits until every statement has been answered that may have been planned by an earlier schema than the one of now.
    ///
    /// # Errors
    /// 55P03: one takes too long.
    async fn statements_have_ended(&self) -> Result<()> {
        let earlier = self.live.turns().have_ended();
        tokio::time::timeout(self.limits.lock_wait, earlier).await.map_err(|_| {
            Error::new(SqlState::LOCK_NOT_AVAILABLE, "statements that began before are still being answered")
                .detail(format!("Waited {} ms.", self.limits.lock_wait.as_millis()))
                .retry(Retry::Safe)
                .hint("Try again when they have ended; a client that takes its rows slowly is one, too.")
        })
    }

    fn metrics_of(&self, ran_on: RanOn) -> Arc<ShardMetrics> {
        match ran_on {
            RanOn::Nowhere => Arc::clone(self.metrics.no_shard()),
            RanOn::Several => Arc::clone(self.metrics.several_shards()),
            RanOn::One(id) => {
                let set = self.shards.load();
                let open = set.open.get(&id).map(|open| &open.metrics);
                let metrics = open.or_else(|| set.down.get(&id).map(|down| &down.metrics));
                Arc::clone(metrics.unwrap_or(self.metrics.no_shard()))
            }
        }
    }

    async fn lock_schema(&self) -> Result<OwnedMutexGuard<()>> {
        let wait = self.limits.lock_wait;
        tokio::time::timeout(wait, Arc::clone(&self.schema_change).lock_owned()).await.map_err(|_| {
            Error::new(SqlState::LOCK_NOT_AVAILABLE, "another session is changing the schema")
                .detail(format!("Waited {} ms.", wait.as_millis()))
                .retry(Retry::Safe)
                .hint("Try again when the other change has committed or rolled back.")
        })
    }

    /// # Errors
    /// 55006: slots move, or are about to. A move copies tables as they are, and their rows.
    fn refuse_while_slots_move(&self) -> Result<()> {
        if !self.live.is_moving() {
            return Ok(());
        }
        Err(Error::new(SqlState::OBJECT_IN_USE, "the schema cannot be changed while rows move between shards")
            .retry(Retry::Safe)
            .hint("Try again when the move has ended: see `shardctl moves`."))
    }

    /// Raises the catalog's epoch for a change of the schema that is about to be committed. With the schema's lock held.
    ///
    /// # Errors
    /// The catalog failed: nothing may be committed.
    async fn announce_schema(&self) -> Result<Announced> {
        let epoch = self.live.snapshot().epoch;
        let announced = self.catalog.bump_epoch(epoch, "schema", "a change of the schema", "client").await?;
        Ok(Announced(announced))
    }

    /// Publishes a committed change of the schema; none, when the commit failed and only the epoch has moved on.
    fn publish_schema(&self, Announced(epoch): Announced, schema: Option<Arc<Schema>>) -> Result<()> {
        let current = self.live.snapshot();
        let schema = schema.unwrap_or_else(|| Arc::clone(&current.schema));
        drift::log(&current.schema.drift, &schema.drift);
        for open in self.shards.load().open.values() {
            open.shard.set_schema(Arc::clone(&schema));
        }
        let next = Topology { epoch, schema, ..(*current).clone() };
        self.live.publish(next).map_err(|error| Error::internal(error.to_string()))
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("database", &self.database).finish_non_exhaustive()
    }
}
