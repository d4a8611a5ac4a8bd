//! What shardd counts about itself, and the text that Prometheus scrapes.
//!
//! A low layer, so that the engine, the shards and the doors record into it without knowing who reads. Whoever records
//! resolves a handle once ([`Metrics::shard`], [`Metrics::door`]) and keeps it: recording is a few atomic additions,
//! with no lookup of labels. Labels are names of shards, keyspaces and fixed words.
//!
//! Invariant: never a key, a value or a statement's text in a label.

mod handles;
mod in_doubt;
mod pools;
mod process;
mod replicas;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus::{Histogram, IntCounter, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder};

pub use handles::{Door, DoorMetrics, InFlight, Kind, Outcome, PinGuard, PinReason, ShardMetrics};
use handles::{Families, histogram, register};

/// The content type of [`Metrics::render`].
pub const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

/// `shard` of a statement that ran on several.
pub const SEVERAL_SHARDS: &str = "(several)";
/// `shard` of a statement that needed none: `BEGIN`, `SHOW`, a refusal.
pub const NO_SHARD: &str = "(none)";

/// All metrics of one server. Cheap to share as an `Arc`.
pub struct Metrics {
    registry: Registry,
    families: Families,
    shards: Mutex<HashMap<String, Arc<ShardMetrics>>>,
    several: Arc<ShardMetrics>,
    none: Arc<ShardMetrics>,
    doors: [Arc<DoorMetrics>; Door::ALL.len()],
    slots: IntGaugeVec,
    topology_epoch: IntGauge,
    schema_findings: IntGaugeVec,
    process: process::ProcessMetrics,
    pools: pools::PoolMetrics,
    replicas: replicas::ReplicaMetrics,
    in_doubt: in_doubt::InDoubtMetrics,
    /// Statements whose parse, plan and translation were found in the cache.
    pub plan_cache_hits: IntCounter,
    /// Statements that had to be parsed, planned and translated.
    pub plan_cache_misses: IntCounter,
    pub plan_cache_entries: IntGauge,
    /// What the rows of cursors that are kept here take, of all sessions.
    pub cursor_bytes: IntGauge,
    /// Parsing, planning and translating one statement that was not in the cache.
    pub prepare_seconds: Histogram,
}

/// One line of `shardd_slots`.
#[derive(Clone, Copy, Debug)]
pub struct SlotCount<'a> {
    pub shard: &'a str,
    pub keyspace: &'a str,
    pub slots: u64,
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics::new()
    }
}

impl Metrics {
    /// # Panics
    /// Never: names and labels are constants, and a test builds this.
    pub fn new() -> Metrics {
        let registry = Registry::new();
        let families = Families::register(&registry);
        let build = register(
            &registry,
            IntGaugeVec::new(
                Opts::new("shardd_build_info", "Always 1; the version is the label."),
                &["version", "profile"],
            ),
        );
        let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
        build.with_label_values(&[env!("CARGO_PKG_VERSION"), profile]).set(1);
        Metrics {
            several: Arc::new(families.shard(SEVERAL_SHARDS)),
            none: Arc::new(families.shard(NO_SHARD)),
            doors: Door::ALL.map(|door| Arc::new(families.door(door))),
            shards: Mutex::default(),
            families,
            slots: register(
                &registry,
                IntGaugeVec::new(
                    Opts::new("shardd_slots", "Slots that a shard owns in a keyspace."),
                    &["shard", "keyspace"],
                ),
            ),
            topology_epoch: register(
                &registry,
                IntGauge::new("shardd_topology_epoch", "The epoch of the topology that statements are routed by."),
            ),
            schema_findings: register(
                &registry,
                IntGaugeVec::new(
                    Opts::new(
                        "shardd_schema_findings",
                        "Differences between the shards' schemas and problems of theirs, as last read.",
                    ),
                    &["severity"],
                ),
            ),
            process: process::ProcessMetrics::register(&registry),
            pools: pools::PoolMetrics::register(&registry),
            replicas: replicas::ReplicaMetrics::register(&registry),
            in_doubt: in_doubt::InDoubtMetrics::register(&registry),
            plan_cache_hits: register(
                &registry,
                IntCounter::new("shardd_plan_cache_hits_total", "Statements found parsed and planned."),
            ),
            plan_cache_misses: register(
                &registry,
                IntCounter::new("shardd_plan_cache_misses_total", "Statements that had to be parsed and planned."),
            ),
            plan_cache_entries: register(
                &registry,
                IntGauge::new("shardd_plan_cache_entries", "Statements in the plan cache."),
            ),
            cursor_bytes: register(
                &registry,
                IntGauge::new("shardd_cursor_bytes", "Rows of cursors that are kept here, of all sessions."),
            ),
            prepare_seconds: register(
                &registry,
                histogram("shardd_prepare_seconds", "Parsing and planning one statement.", 10e-6, 14),
            ),
            registry,
        }
    }

    /// The handle of a shard, by name. Takes a lock: resolve once, keep it.
    pub fn shard(&self, name: &str) -> Arc<ShardMetrics> {
        let mut shards = self.shards.lock();
        if let Some(found) = shards.get(name) {
            return Arc::clone(found);
        }
        let made = Arc::new(self.families.shard(name));
        made.register_gauges();
        shards.insert(name.to_owned(), Arc::clone(&made));
        made
    }

    /// Where statements that ran on several shards are counted.
    pub fn several_shards(&self) -> &Arc<ShardMetrics> {
        &self.several
    }

    /// Where statements that needed no shard are counted.
    pub fn no_shard(&self) -> &Arc<ShardMetrics> {
        &self.none
    }

    pub fn door(&self, door: Door) -> &Arc<DoorMetrics> {
        &self.doors[door as usize]
    }

    /// Replaces what is said of the topology. Called before a scrape, or when an epoch is published.
    pub fn set_topology(&self, epoch: u64, slots: &[SlotCount<'_>]) {
        self.topology_epoch.set(i64::try_from(epoch).unwrap_or(i64::MAX));
        self.slots.reset();
        for line in slots {
            let count = i64::try_from(line.slots).unwrap_or(i64::MAX);
            self.slots.with_label_values(&[line.shard, line.keyspace]).set(count);
        }
    }

    /// Takes over what the pool of a shard has counted, by name. Called before a scrape; a SQLite shard has no pool.
    pub fn set_pool(&self, shard: &str, counted: &BTreeMap<String, u64>) {
        self.pools.set(shard, counted);
    }

    /// Takes over how a shard's replica is, by its address, and what its pool has counted. Called before a scrape.
    pub fn set_replica(
        &self,
        shard: &str,
        replica: &str,
        up: bool,
        lag: Option<Duration>,
        counted: &BTreeMap<String, u64>,
    ) {
        self.replicas.set(shard, replica, up, lag, counted);
    }

    /// Takes over how many statements might have been read from a shard's replicas, and were not.
    pub fn set_replicas_passed_over(&self, shard: &str, count: u64) {
        self.replicas.set_passed_over(shard, count);
    }

    /// How many transactions are in doubt on a shard, and how old the oldest is.
    pub fn set_in_doubt(&self, shard: &str, count: usize, oldest: Duration) {
        self.in_doubt.set(shard, count, oldest);
    }

    /// How many findings of each severity the shards' schemas have.
    pub fn set_schema_findings(&self, severity: &str, count: usize) {
        self.schema_findings.with_label_values(&[severity]).set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// The text that `/metrics` answers.
    pub fn render(&self) -> String {
        self.process.refresh();
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_default()
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recorded_query_is_scraped_with_its_labels() {
        let metrics = Metrics::new();
        let shard = metrics.shard("s1");
        shard.query(Door::Postgres, Kind::Read, Outcome::Ok, Duration::from_micros(80));
        shard.query(Door::Postgres, Kind::Read, Outcome::Ok, Duration::from_micros(80));
        let text = metrics.render();
        assert!(
            text.contains("shardd_queries_total{door=\"postgres\",kind=\"read\",outcome=\"ok\",shard=\"s1\"} 2"),
            "{text}"
        );
        assert!(text.contains("shardd_query_duration_seconds_count{kind=\"read\",shard=\"s1\"} 2"), "{text}");
    }

    #[test]
    fn what_never_happened_has_no_series() {
        let metrics = Metrics::new();
        metrics.shard("s1");
        assert!(!metrics.render().contains("shardd_queries_total"), "{}", metrics.render());
    }

    #[test]
    fn the_same_shard_gives_the_same_handle() {
        let metrics = Metrics::new();
        assert!(Arc::ptr_eq(&metrics.shard("s1"), &metrics.shard("s1")));
        assert!(!Arc::ptr_eq(&metrics.shard("s1"), &metrics.shard("s2")));
    }

    #[test]
    fn in_flight_falls_when_its_guard_is_dropped() {
        let metrics = Metrics::new();
        let guard = metrics.door(Door::Http).start();
        assert!(metrics.render().contains("shardd_in_flight{door=\"http\"} 1"));
        drop(guard);
        assert!(metrics.render().contains("shardd_in_flight{door=\"http\"} 0"));
    }

    #[test]
    fn what_a_pool_counts_is_scraped_as_it_counts_it() {
        let metrics = Metrics::new();
        let counted = |checkouts| {
            BTreeMap::from([("connections_idle", 3), ("checkouts", checkouts)].map(|(name, n)| (name.to_owned(), n)))
        };
        metrics.set_pool("s1", &counted(7));
        metrics.set_pool("s1", &counted(9));
        metrics.set_pool("s2", &BTreeMap::from([("file_bytes".to_owned(), 1)]));
        let text = metrics.render();
        assert!(text.contains("shardd_pool_checkouts_total{shard=\"s1\"} 9"), "{text}");
        assert!(text.contains("shardd_pool_connections{shard=\"s1\",state=\"idle\"} 3"), "{text}");
        assert!(!text.contains("shard=\"s2\""), "{text}");
    }

    #[test]
    fn a_replica_whose_age_is_not_known_has_no_lag() {
        let metrics = Metrics::new();
        let labels = "{replica=\"db-2:5432\",shard=\"s1\"}";
        let lag = |lag: Option<Duration>| {
            metrics.set_replica("s1", "db-2:5432", lag.is_some(), lag, &BTreeMap::new());
            metrics.render()
        };
        assert!(lag(Some(Duration::from_millis(1_500))).contains(&format!("shardd_replica_lag_seconds{labels} 1.5")));
        let text = lag(None);
        assert!(!text.contains("shardd_replica_lag_seconds{"), "{text}");
        assert!(text.contains(&format!("shardd_replica_up{labels} 0")), "{text}");
    }

    #[test]
    fn slots_of_a_shard_that_left_are_forgotten() {
        let metrics = Metrics::new();
        metrics.set_topology(3, &[SlotCount { shard: "s1", keyspace: "default", slots: 9 }]);
        metrics.set_topology(4, &[SlotCount { shard: "s2", keyspace: "default", slots: 7 }]);
        let text = metrics.render();
        assert!(text.contains("shardd_topology_epoch 4"));
        assert!(text.contains("shardd_slots{keyspace=\"default\",shard=\"s2\"} 7"));
        assert!(!text.contains("shard=\"s1\""));
    }

    #[test]
    fn the_reference_has_every_metric_with_its_type_and_no_other() {
        let metrics = Metrics::new();
        let shard = metrics.shard("s1");
        shard.query(Door::Http, Kind::Write, Outcome::Ok, Duration::ZERO);
        shard.set_up(true);
        shard.group_commit(1, Duration::ZERO);
        shard.queue_wait(Duration::ZERO);
        drop(shard.pin(PinReason::Session));
        metrics.set_topology(1, &[SlotCount { shard: "s1", keyspace: "default", slots: 1 }]);
        metrics.set_pool("s1", &BTreeMap::from([("connections_idle".to_owned(), 1)]));
        metrics.set_replica("s1", "db-2:5432", true, Some(Duration::ZERO), &BTreeMap::new());
        metrics.set_replicas_passed_over("s1", 1);
        metrics.set_schema_findings("harmless", 1);
        metrics.set_in_doubt("s1", 1, Duration::ZERO);
        let text = metrics.render();
        let told: std::collections::BTreeSet<(&str, &str)> =
            text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
        let reference = include_str!("../../docs/metrics.md");
        let rows = reference.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
        let described = rows.map(|(name, rest)| (name, rest.split(' ').next().unwrap_or_default())).collect();
        assert_eq!(told, described);
    }
}
