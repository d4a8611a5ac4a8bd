//! Asks a shard's servers how far they are, each over a connection of its own, as long as somebody has the replicas.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::history::{Lineage, LogPlace, Sample, Seen};
use super::{Replica, Replicas, Standing};
use crate::shard::postgres::own_connection::{OwnConnection, TextRows};
use crate::shard::postgres::target::Target;

const SHORTEST_PERIOD: Duration = Duration::from_millis(50);
const LONGEST_PERIOD: Duration = Duration::from_secs(1);
/// How long a server may take to answer.
const ANSWER_TIME: Duration = Duration::from_secs(2);

/// Identity, timeline, and the place where the next record will begin; NULLs in recovery.
const OWN_SERVER: &str = "SELECT system_identifier::pg_catalog.text, \
     CASE WHEN NOT pg_catalog.pg_is_in_recovery() THEN \
       pg_catalog.substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()), 1, 8) END, \
     CASE WHEN NOT pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_current_wal_insert_lsn()::pg_catalog.text END \
     FROM pg_catalog.pg_control_system()";

/// Identity, the timeline that it has reached, and how far it has replayed; NULL out of recovery.
const REPLICA: &str = "SELECT system_identifier::pg_catalog.text, \
     pg_catalog.lpad(pg_catalog.to_hex(GREATEST( \
       (SELECT timeline_id FROM pg_catalog.pg_control_checkpoint()), \
       (SELECT min_recovery_end_timeline FROM pg_catalog.pg_control_recovery()))), 8, '0'), \
     CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn()::pg_catalog.text END \
     FROM pg_catalog.pg_control_system()";

pub(super) fn start(replicas: &Arc<Replicas>, shard: &str, own: &Target, targets: Vec<Target>) {
    let period = (replicas.allowed_age / 4).clamp(SHORTEST_PERIOD, LONGEST_PERIOD);
    let connection = |target: Target| OwnConnection::new(shard, target);
    tokio::spawn(watch_own(Arc::downgrade(replicas), connection(own.clone()), period, shard.to_owned()));
    for (number, target) in targets.into_iter().enumerate() {
        let replicas = Arc::downgrade(replicas);
        tokio::spawn(watch_replica(replicas, number, connection(target), period, shard.to_owned()));
    }
}

async fn watch_own(replicas: Weak<Replicas>, mut own: OwnConnection, period: Duration, shard: String) {
    let mut answered = true;
    loop {
        let Some(generation) = replicas.upgrade().map(|replicas| replicas.history.lock().generation) else { return };
        let asked = Instant::now();
        let said = own.ask(OWN_SERVER, &[], 1, ANSWER_TIME).await;
        let Some(replicas) = replicas.upgrade() else { return };
        match said.map(|rows| read(&rows)) {
            Ok(Some((lineage, place))) => {
                answered = true;
                let end = place.map(LogPlace::end_of_written);
                replicas.history.lock().add(Sample { asked, lineage, end }, generation);
            }
            // What it said last says less and less of the replicas, until they are not read any more.
            Ok(None) => log_once(&mut answered, &shard, &"its answer cannot be read"),
            Err(error) => log_once(&mut answered, &shard, &error),
        }
        drop(replicas);
        sleep(period).await;
    }
}

fn log_once(answered: &mut bool, shard: &str, reason: &dyn std::fmt::Display) {
    if std::mem::replace(answered, false) {
        tracing::warn!(shard, %reason, "the shard's own server does not say how far it is: its replicas are not read for long");
    }
}

async fn watch_replica(
    replicas: Weak<Replicas>,
    number: usize,
    mut connection: OwnConnection,
    period: Duration,
    shard: String,
) {
    loop {
        if replicas.strong_count() == 0 {
            return;
        }
        let said = connection.ask(REPLICA, &[], 1, ANSWER_TIME).await;
        let Some(replicas) = replicas.upgrade() else { return };
        let Some(replica) = replicas.list.get(number) else { return };
        let seen = said.map_err(|error| error.message().to_owned()).and_then(|rows| match read(&rows) {
            Some((lineage, replayed)) => Ok(Seen { lineage, replayed }),
            None => Err("its answer cannot be read".to_owned()),
        });
        let before = replicas.note(replica, seen);
        log_change(&before, replica, &shard);
        drop(replicas);
        sleep(period).await;
    }
}

fn log_change(before: &Standing, replica: &Replica, shard: &str) {
    let now = replica.standing.lock().clone();
    let replica = &replica.address;
    match (before, &now) {
        (Standing::Trouble(before), Standing::Trouble(now)) if before == now => {}
        (_, Standing::Trouble(reason)) => tracing::warn!(shard, %replica, %reason, "a replica is not read"),
        (Standing::Trouble(_) | Standing::Unknown, Standing::Follows { lag }) => {
            tracing::info!(shard, %replica, lag_ms = lag.as_millis(), "a replica follows");
        }
        _ => {}
    }
}

/// The lineage and the place that a server tells; `None` for an answer of another form.
fn read(rows: &TextRows) -> Option<(Lineage, Option<LogPlace>)> {
    let [row] = rows.as_slice() else { return None };
    let [Some(system), timeline, place] = row.as_slice() else { return None };
    let timeline = match timeline {
        Some(text) => u32::from_str_radix(text, 16).ok()?,
        None => 0,
    };
    let place = match place {
        Some(text) => Some(LogPlace::parse(text)?),
        None => None,
    };
    Some((Lineage { system: system.clone(), timeline }, place))
}
