//! The pools of connections to Postgres shards, as they count themselves, read when a scrape asks.

use std::collections::BTreeMap;

use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry};

use super::handles::register;

/// What a pool counts, by the names of `shardctl describe`, and the label's value that it has in a metric of several.
pub(super) const CONNECTIONS: [(&str, &str); 3] =
    [("connections_idle", "idle"), ("connections_active", "active"), ("connections_connecting", "connecting")];
const CONNECTS: [(&str, &str); 2] = [("connected", "ok"), ("connect_failures", "failed")];
const CLOSED: [(&str, &str); 3] =
    [("closed_unclean", "unclean"), ("closed_retired", "retired"), ("closed_stale", "stale")];
const REFUSED: [(&str, &str); 2] = [("refused_queue_full", "queue_full"), ("refused_too_late", "too_late")];

pub(super) struct PoolMetrics {
    connections: IntGaugeVec,
    waiting: IntGaugeVec,
    breaker_open: IntGaugeVec,
    checkouts: IntCounterVec,
    waits: IntCounterVec,
    connects: IntCounterVec,
    closed: IntCounterVec,
    refused: IntCounterVec,
}

impl PoolMetrics {
    pub(super) fn register(registry: &Registry) -> PoolMetrics {
        let gauges = |name: &str, help: &str, labels: &[&str]| {
            register(registry, IntGaugeVec::new(Opts::new(name, help), labels))
        };
        let counters = |name: &str, help: &str, labels: &[&str]| {
            register(registry, IntCounterVec::new(Opts::new(name, help), labels))
        };
        PoolMetrics {
            connections: gauges("shardd_pool_connections", "Connections to a Postgres shard.", &["shard", "state"]),
            waiting: gauges("shardd_pool_waiting", "Statements that wait for a connection.", &["shard"]),
            breaker_open: gauges(
                "shardd_pool_breaker_open",
                "1 while the last attempt to connect to the shard has failed.",
                &["shard"],
            ),
            checkouts: counters("shardd_pool_checkouts_total", "Connections that were given out.", &["shard"]),
            waits: counters("shardd_pool_waits_total", "Those that were given out after a wait.", &["shard"]),
            connects: counters("shardd_pool_connects_total", "Attempts to connect.", &["shard", "outcome"]),
            closed: counters("shardd_pool_closed_total", "Connections that were closed.", &["shard", "reason"]),
            refused: counters(
                "shardd_pool_refused_total",
                "Statements that got no connection though the shard is up.",
                &["shard", "reason"],
            ),
        }
    }

    /// Repeats what a shard's pool has counted; nothing for a shard that has none.
    pub(super) fn set(&self, shard: &str, counted: &BTreeMap<String, u64>) {
        if !counted.contains_key(CONNECTIONS[0].0) {
            return;
        }
        let value = |name: &str| counted.get(name).copied().unwrap_or(0);
        let gauge = |name: &str| i64::try_from(value(name)).unwrap_or(i64::MAX);
        // A counter's own value is the last scrape's.
        let count = |family: &IntCounterVec, labels: &[&str], name: &str| {
            let counter = family.with_label_values(labels);
            counter.inc_by(value(name).saturating_sub(counter.get()));
        };
        for (name, state) in CONNECTIONS {
            self.connections.with_label_values(&[shard, state]).set(gauge(name));
        }
        self.waiting.with_label_values(&[shard]).set(gauge("waiting"));
        self.breaker_open.with_label_values(&[shard]).set(gauge("breaker_open"));
        count(&self.checkouts, &[shard], "checkouts");
        count(&self.waits, &[shard], "checkouts_after_a_wait");
        for (family, parts) in [(&self.connects, &CONNECTS[..]), (&self.closed, &CLOSED), (&self.refused, &REFUSED)] {
            for (name, label) in parts {
                count(family, &[shard, label], name);
            }
        }
    }
}
