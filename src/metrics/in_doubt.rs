//! Prepared transactions on Postgres shards that nobody is about to end, counted whenever they were looked for.

use std::time::Duration;

use prometheus::{GaugeVec, IntGaugeVec, Opts, Registry};

use super::handles::register;

pub(super) struct InDoubtMetrics {
    transactions: IntGaugeVec,
    age_seconds: GaugeVec,
}

impl InDoubtMetrics {
    pub(super) fn register(registry: &Registry) -> InDoubtMetrics {
        let transactions = Opts::new(
            "shardd_in_doubt_transactions",
            "Prepared transactions on a Postgres shard that are not under way here, as last looked.",
        );
        let age = Opts::new("shardd_in_doubt_age_seconds", "How long the oldest of them has been prepared.");
        InDoubtMetrics {
            transactions: register(registry, IntGaugeVec::new(transactions, &["shard"])),
            age_seconds: register(registry, GaugeVec::new(age, &["shard"])),
        }
    }

    pub(super) fn set(&self, shard: &str, count: usize, oldest: Duration) {
        self.transactions.with_label_values(&[shard]).set(i64::try_from(count).unwrap_or(i64::MAX));
        self.age_seconds.with_label_values(&[shard]).set(oldest.as_secs_f64());
    }
}
