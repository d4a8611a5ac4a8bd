//! Handles that are resolved once and recorded into without a lookup.
//!
//! A counter's series comes into being with its first event, so a scrape does not carry every combination of labels.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

use crate::error::{Error, Fault, SqlState};

/// Where a statement came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    Postgres,
    /// The Postgres door's listener that pools by session.
    PostgresSession,
    Http,
    Admin,
}

impl Door {
    pub const ALL: [Door; 4] = [Door::Postgres, Door::PostgresSession, Door::Http, Door::Admin];

    pub const fn label(self) -> &'static str {
        match self {
            Door::Postgres => "postgres",
            Door::PostgresSession => "postgres_session",
            Door::Http => "http",
            Door::Admin => "admin",
        }
    }

    /// The door with this label; the admin door for any other word.
    pub fn from_label(label: &str) -> Door {
        Door::ALL.into_iter().find(|door| door.label() == label).unwrap_or(Door::Admin)
    }
}

/// What a statement does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Read,
    Write,
    Ddl,
    /// BEGIN, COMMIT, ROLLBACK, savepoints.
    Transaction,
    /// SET, SHOW, DISCARD, DEALLOCATE, what could not be parsed.
    Other,
}

impl Kind {
    const COUNT: usize = 5;

    pub const fn label(self) -> &'static str {
        match self {
            Kind::Read => "read",
            Kind::Write => "write",
            Kind::Ddl => "ddl",
            Kind::Transaction => "transaction",
            Kind::Other => "other",
        }
    }
}

/// How a statement ended, by whose fault it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Ok,
    /// The statement, its values or its timing against another transaction.
    ClientError,
    /// 0A000: shardd does not do this.
    Refused,
    Canceled,
    ProxyError,
    ShardError,
}

impl Outcome {
    const COUNT: usize = 6;

    pub const fn label(self) -> &'static str {
        match self {
            Outcome::Ok => "ok",
            Outcome::ClientError => "client_error",
            Outcome::Refused => "refused",
            Outcome::Canceled => "canceled",
            Outcome::ProxyError => "proxy_error",
            Outcome::ShardError => "shard_error",
        }
    }

    pub fn of_error(error: &Error) -> Outcome {
        match (error.sqlstate(), error.get_fault()) {
            (SqlState::FEATURE_NOT_SUPPORTED, _) => Outcome::Refused,
            (SqlState::QUERY_CANCELED, _) => Outcome::Canceled,
            (_, Fault::Client) => Outcome::ClientError,
            (_, Fault::Proxy) => Outcome::ProxyError,
            (_, Fault::Shard) => Outcome::ShardError,
        }
    }

    pub fn of<T>(result: &Result<T, Error>) -> Outcome {
        result.as_ref().map_or_else(Outcome::of_error, |_| Outcome::Ok)
    }
}

/// Why a connection to a Postgres shard stays with one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PinReason {
    /// It came by the listener that pools by session.
    Session,
    AdvisoryLock,
    Listen,
    TemporaryTable,
    /// WITH HOLD.
    HeldCursor,
}

impl PinReason {
    pub const fn label(self) -> &'static str {
        match self {
            PinReason::Session => "session",
            PinReason::AdvisoryLock => "advisory_lock",
            PinReason::Listen => "listen",
            PinReason::TemporaryTable => "temporary_table",
            PinReason::HeldCursor => "held_cursor",
        }
    }

    /// In a message.
    pub const fn told(self) -> &'static str {
        match self {
            PinReason::Session => "its session",
            PinReason::AdvisoryLock => "advisory locks",
            PinReason::Listen => "channels that it listens to",
            PinReason::TemporaryTable => "temporary tables",
            PinReason::HeldCursor => "cursors WITH HOLD",
        }
    }
}

/// Counts a pin until it is dropped.
#[derive(Debug)]
pub struct PinGuard(IntGauge);

impl Drop for PinGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// The families whose members are handed out as handles.
pub(super) struct Families {
    queries: IntCounterVec,
    duration: HistogramVec,
    in_flight: IntGaugeVec,
    sessions: IntGaugeVec,
    sessions_total: IntCounterVec,
    sessions_refused: IntCounterVec,
    shard_up: IntGaugeVec,
    writer_queue: IntGaugeVec,
    group_commit_statements: HistogramVec,
    group_commit_seconds: HistogramVec,
    queue_wait_seconds: HistogramVec,
    pins: IntGaugeVec,
    pins_total: IntCounterVec,
}

/// Registers a metric that was made from constants.
pub(super) fn register<C: Collector + Clone + 'static>(registry: &Registry, made: prometheus::Result<C>) -> C {
    let collector = made.expect("names and labels are constants");
    registry.register(Box::new(collector.clone())).expect("each name is registered once");
    collector
}

/// A histogram of seconds whose buckets double from `start`.
pub(super) fn histogram(name: &str, help: &str, start: f64, buckets: usize) -> prometheus::Result<Histogram> {
    Histogram::with_opts(options(name, help, start, buckets)?)
}

fn options(name: &str, help: &str, start: f64, buckets: usize) -> prometheus::Result<HistogramOpts> {
    Ok(HistogramOpts::new(name, help).buckets(prometheus::exponential_buckets(start, 2.0, buckets)?))
}

impl Families {
    pub(super) fn register(registry: &Registry) -> Families {
        let counters = |name: &str, help: &str, labels: &[&str]| {
            register(registry, IntCounterVec::new(Opts::new(name, help), labels))
        };
        let gauges = |name: &str, help: &str, labels: &[&str]| {
            register(registry, IntGaugeVec::new(Opts::new(name, help), labels))
        };
        let histograms = |name: &str, help: &str, labels: &[&str], start: f64, buckets: usize| {
            let made = options(name, help, start, buckets).and_then(|options| HistogramVec::new(options, labels));
            register(registry, made)
        };
        Families {
            queries: counters(
                "shardd_queries_total",
                "Statements that ended, by the shard that ran them.",
                &["shard", "kind", "door", "outcome"],
            ),
            duration: histograms(
                "shardd_query_duration_seconds",
                "From the beginning of a statement's execution to the end of its answer.",
                &["shard", "kind"],
                25e-6,
                20,
            ),
            in_flight: gauges("shardd_in_flight", "Statements being answered.", &["door"]),
            sessions: gauges("shardd_sessions", "Clients that are connected.", &["door"]),
            sessions_total: counters("shardd_sessions_total", "Clients that connected.", &["door"]),
            sessions_refused: counters(
                "shardd_sessions_refused_total",
                "Clients that were turned away: over the limit, or not authenticated.",
                &["door"],
            ),
            shard_up: gauges("shardd_shard_up", "1 when a shard answers, 0 when it does not.", &["shard"]),
            writer_queue: gauges("shardd_writer_queue", "Writes that wait for a shard's writer.", &["shard"]),
            group_commit_statements: histograms(
                "shardd_group_commit_statements",
                "Writes that one durable commit carried.",
                &["shard"],
                1.0,
                11,
            ),
            group_commit_seconds: histograms(
                "shardd_group_commit_seconds",
                "The durable commit of a group, from COMMIT to the disk's word.",
                &["shard"],
                100e-6,
                16,
            ),
            queue_wait_seconds: histograms(
                "shardd_queue_wait_seconds",
                "How long a statement waited for its shard.",
                &["shard"],
                10e-6,
                20,
            ),
            pins: gauges("shardd_pins", "Connections to Postgres shards that stay with one session.", &["reason"]),
            pins_total: counters(
                "shardd_pins_total",
                "Times that a connection began to stay with one session.",
                &["shard", "reason"],
            ),
        }
    }

    pub(super) fn shard(&self, name: &str) -> ShardMetrics {
        ShardMetrics {
            name: name.to_owned(),
            queries: self.queries.clone(),
            counters: Default::default(),
            duration: self.duration.clone(),
            durations: Default::default(),
            up: Lazy::new(self.shard_up.clone()),
            writer_queue: Lazy::new(self.writer_queue.clone()),
            group_commit_statements: Lazy::new(self.group_commit_statements.clone()),
            group_commit_seconds: Lazy::new(self.group_commit_seconds.clone()),
            queue_wait_seconds: Lazy::new(self.queue_wait_seconds.clone()),
            pins: self.pins.clone(),
            pins_total: self.pins_total.clone(),
        }
    }

    pub(super) fn door(&self, door: Door) -> DoorMetrics {
        let label = [door.label()];
        DoorMetrics {
            in_flight: self.in_flight.with_label_values(&label),
            sessions: self.sessions.with_label_values(&label),
            sessions_total: self.sessions_total.with_label_values(&label),
            sessions_refused: self.sessions_refused.with_label_values(&label),
        }
    }
}

/// A family's member that comes into being when it is first used.
struct Lazy<Family, Member> {
    family: Family,
    member: OnceLock<Member>,
}

impl<Family, Member> Lazy<Family, Member> {
    fn new(family: Family) -> Lazy<Family, Member> {
        Lazy { family, member: OnceLock::new() }
    }
}

impl Lazy<IntGaugeVec, IntGauge> {
    fn of(&self, shard: &str) -> &IntGauge {
        self.member.get_or_init(|| self.family.with_label_values(&[shard]))
    }
}

impl Lazy<HistogramVec, Histogram> {
    fn of(&self, shard: &str) -> &Histogram {
        self.member.get_or_init(|| self.family.with_label_values(&[shard]))
    }
}

/// What is recorded of one shard.
pub struct ShardMetrics {
    name: String,
    queries: IntCounterVec,
    counters: [[[OnceLock<IntCounter>; Outcome::COUNT]; Kind::COUNT]; Door::ALL.len()],
    duration: HistogramVec,
    durations: [OnceLock<Histogram>; Kind::COUNT],
    up: Lazy<IntGaugeVec, IntGauge>,
    writer_queue: Lazy<IntGaugeVec, IntGauge>,
    group_commit_statements: Lazy<HistogramVec, Histogram>,
    group_commit_seconds: Lazy<HistogramVec, Histogram>,
    queue_wait_seconds: Lazy<HistogramVec, Histogram>,
    pins: IntGaugeVec,
    pins_total: IntCounterVec,
}

impl ShardMetrics {
    /// The shard's.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A connection stays with one session, until the guard is dropped.
    pub fn pin(&self, reason: PinReason) -> PinGuard {
        self.pins_total.with_label_values(&[self.name.as_str(), reason.label()]).inc();
        let gauge = self.pins.with_label_values(&[reason.label()]);
        gauge.inc();
        PinGuard(gauge)
    }

    /// A statement ended. Those that ran on several shards are recorded once, on `Metrics::several_shards`.
    pub fn query(&self, door: Door, kind: Kind, outcome: Outcome, elapsed: Duration) {
        self.count(door, kind, outcome);
        self.durations[kind as usize]
            .get_or_init(|| self.duration.with_label_values(&[self.name.as_str(), kind.label()]))
            .observe(elapsed.as_secs_f64());
    }

    /// A statement ended before it began to run: it has no time. Prepared statements that are all right read no clock.
    pub fn not_prepared(&self, door: Door, outcome: Outcome) {
        self.count(door, Kind::Other, outcome);
    }

    fn count(&self, door: Door, kind: Kind, outcome: Outcome) {
        self.counters[door as usize][kind as usize][outcome as usize]
            .get_or_init(|| self.queries.with_label_values(&[&self.name, kind.label(), door.label(), outcome.label()]))
            .inc();
    }

    pub fn set_up(&self, up: bool) {
        self.up.of(&self.name).set(i64::from(up));
    }

    /// Writes that wait for the shard's writer.
    pub fn writer_queue(&self) -> &IntGauge {
        self.writer_queue.of(&self.name)
    }

    /// A group of `statements` writes was made durable by one commit.
    pub fn group_commit(&self, statements: usize, elapsed: Duration) {
        self.group_commit_statements.of(&self.name).observe(statements as f64);
        self.group_commit_seconds.of(&self.name).observe(elapsed.as_secs_f64());
    }

    /// A statement waited this long for the shard's writer or a reader.
    pub fn queue_wait(&self, waited: Duration) {
        self.queue_wait_seconds.of(&self.name).observe(waited.as_secs_f64());
    }

    /// Gauges of a shard exist from the start, so that a scrape shows its zero.
    pub(super) fn register_gauges(&self) {
        self.writer_queue();
    }
}

impl std::fmt::Debug for ShardMetrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ShardMetrics").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What is recorded of one door.
#[derive(Debug)]
pub struct DoorMetrics {
    in_flight: IntGauge,
    pub sessions: IntGauge,
    pub sessions_total: IntCounter,
    pub sessions_refused: IntCounter,
}

impl DoorMetrics {
    /// Counts a statement as being answered until the guard is dropped.
    pub fn start(self: &Arc<Self>) -> InFlight {
        self.in_flight.inc();
        InFlight { door: Arc::clone(self), _turn: None }
    }
}

/// A statement that is being answered.
#[derive(Debug)]
pub struct InFlight {
    door: Arc<DoorMetrics>,
    _turn: Option<Arc<()>>,
}

impl InFlight {
    /// Holds something until the statement has been answered, so that it can be waited for.
    #[must_use]
    pub fn in_turn(self, turn: Arc<()>) -> InFlight {
        // Dropping `self` would count it as answered.
        let mut held = self;
        held._turn = Some(turn);
        held
    }

    /// Nobody has to wait for it for now.
    #[must_use]
    pub fn out_of_turn(self) -> InFlight {
        let mut free = self;
        free._turn = None;
        free
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.door.in_flight.dec();
    }
}
