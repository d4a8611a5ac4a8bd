//! The replicas of Postgres shards, read when a scrape asks.

use std::collections::BTreeMap;
use std::time::Duration;

use prometheus::{GaugeVec, IntCounterVec, IntGaugeVec, Opts, Registry};

use super::handles::register;
use super::pools::CONNECTIONS;

pub(super) struct ReplicaMetrics {
    up: IntGaugeVec,
    lag_seconds: GaugeVec,
    connections: IntGaugeVec,
    breaker_open: IntGaugeVec,
    checkouts: IntCounterVec,
    passed_over: IntCounterVec,
}

impl ReplicaMetrics {
    pub(super) fn register(registry: &Registry) -> ReplicaMetrics {
        let gauges = |name: &str, help: &str, labels: &[&str]| {
            register(registry, IntGaugeVec::new(Opts::new(name, help), labels))
        };
        let counters = |name: &str, help: &str, labels: &[&str]| {
            register(registry, IntCounterVec::new(Opts::new(name, help), labels))
        };
        let one = ["shard", "replica"];
        let lag = Opts::new("shardd_replica_lag_seconds", "How old what the replica shows is, as last found out.");
        ReplicaMetrics {
            up: gauges("shardd_replica_up", "1 while the replica is read where it may be.", &one),
            lag_seconds: register(registry, GaugeVec::new(lag, &one)),
            connections: gauges(
                "shardd_replica_connections",
                "Connections to a replica.",
                &["shard", "replica", "state"],
            ),
            breaker_open: gauges(
                "shardd_replica_breaker_open",
                "1 while the last attempt to connect to the replica has failed.",
                &one,
            ),
            checkouts: counters(
                "shardd_replica_checkouts_total",
                "Connections to a replica that were given out.",
                &one,
            ),
            passed_over: counters(
                "shardd_replica_passed_over_total",
                "Statements and transactions that might have been read from a replica, and were not.",
                &["shard"],
            ),
        }
    }

    pub(super) fn set(
        &self,
        shard: &str,
        replica: &str,
        up: bool,
        lag: Option<Duration>,
        counted: &BTreeMap<String, u64>,
    ) {
        let one = [shard, replica];
        let value = |name: &str| counted.get(name).copied().unwrap_or(0);
        let gauge = |name: &str| i64::try_from(value(name)).unwrap_or(i64::MAX);
        self.up.with_label_values(&one).set(i64::from(up));
        match lag {
            Some(lag) => self.lag_seconds.with_label_values(&one).set(lag.as_secs_f64()),
            // What is not known is no number.
            None => _ = self.lag_seconds.remove_label_values(&one),
        }
        for (name, state) in CONNECTIONS {
            self.connections.with_label_values(&[shard, replica, state]).set(gauge(name));
        }
        self.breaker_open.with_label_values(&one).set(gauge("breaker_open"));
        let checkouts = self.checkouts.with_label_values(&one);
        checkouts.inc_by(value("checkouts").saturating_sub(checkouts.get()));
    }

    pub(super) fn set_passed_over(&self, shard: &str, count: u64) {
        let counter = self.passed_over.with_label_values(&[shard]);
        counter.inc_by(count.saturating_sub(counter.get()));
    }
}
