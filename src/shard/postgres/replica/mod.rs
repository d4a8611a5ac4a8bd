//! Replicas of a shard: what its clients marked read-only is read there, while they are not too old.
//!
//! `history` judges how old, from what `watch` asks all of the servers again and again. Where it is not known, or too old,
//! or anything is wrong with a replica, its shard's own server answers.
//!
//! Invariant: a replica is read only while it is known to show everything that was committed longer ago than the allowed age,
//! and everything since the last change of the schema that was made through shardd.

mod history;
mod watch;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, timeout};

use super::pool::{Pool, PoolState, Pooled};
use super::session_state::SessionSettings;
use super::shard::PostgresShard;
use super::target::Target;
use super::transaction::PostgresTransaction;
use super::worker;
use crate::error::Result;
use crate::shard::CancelFlag;
use history::{History, Judgement, Seen};

/// How long a statement waits for a connection to a replica, when the shard's own server would do as well.
const PATIENCE: Duration = Duration::from_secs(1);

/// The replicas of one shard.
#[derive(Debug)]
pub struct Replicas {
    list: Box<[Replica]>,
    allowed_age: Duration,
    history: Mutex<History>,
    /// What moments are counted from.
    begin: Instant,
    turn: AtomicUsize,
    /// Statements that might have been read from a replica, and were not.
    passed_over: AtomicU64,
}

#[derive(Debug)]
struct Replica {
    /// Where it is, which is its name, too.
    address: String,
    /// Each worker's.
    pools: Box<[Arc<Pool>]>,
    /// Milliseconds after `begin`.
    readable_until_ms: AtomicU64,
    standing: Mutex<Standing>,
}

/// What was last found out.
#[derive(Clone, Debug, PartialEq)]
enum Standing {
    /// Not much.
    Unknown,
    /// It shows what was committed before that long ago.
    Follows { lag: Duration },
    /// Why it is not read.
    Trouble(String),
}

/// A replica at one moment.
#[derive(Clone, Debug)]
pub struct ReplicaState {
    pub address: String,
    /// It is read.
    pub readable: bool,
    pub lag: Option<Duration>,
    /// Why it is not read.
    pub trouble: Option<String>,
    pub pool: PoolState,
}

impl Replicas {
    /// `replicas`: their targets, and their pools as [`PostgresShard::new`] takes them. They are watched by tasks on this
    /// runtime, while they are there.
    pub fn start(
        shard: &str,
        primary: &Target,
        replicas: Vec<(Target, Vec<Arc<Pool>>)>,
        allowed_age: Duration,
    ) -> Arc<Replicas> {
        let targets: Vec<Target> = replicas.iter().map(|(target, _)| target.clone()).collect();
        let replica = |(target, pools): (Target, Vec<Arc<Pool>>)| Replica {
            address: target.address(),
            pools: pools.into(),
            readable_until_ms: AtomicU64::new(0),
            standing: Mutex::new(Standing::Unknown),
        };
        let all = Arc::new(Replicas {
            list: replicas.into_iter().map(replica).collect(),
            allowed_age,
            history: Mutex::new(History::new(allowed_age)),
            begin: Instant::now(),
            turn: AtomicUsize::new(0),
            passed_over: AtomicU64::new(0),
        });
        watch::start(&all, shard, primary, targets);
        all
    }

    /// The schema has changed: no replica is read before it shows that.
    pub(super) fn hold_back(&self) {
        let mut history = self.history.lock();
        history.begin_anew();
        for replica in &self.list {
            replica.readable_until_ms.store(0, Ordering::Release);
        }
    }

    /// Those that may be read now, beginning with another one each time.
    fn readable(&self) -> impl Iterator<Item = &Replica> {
        let now = self.milliseconds_at(Instant::now());
        let count = self.list.len();
        let turn = if count > 1 { self.turn.fetch_add(1, Ordering::Relaxed) % count } else { 0 };
        let in_turn = self.list.iter().cycle().skip(turn).take(count);
        in_turn.filter(move |replica| now < replica.readable_until_ms.load(Ordering::Acquire))
    }

    fn milliseconds_at(&self, moment: Instant) -> u64 {
        u64::try_from(moment.saturating_duration_since(self.begin).as_millis()).unwrap_or(u64::MAX)
    }

    /// Takes over what a replica has said, or why it said nothing.
    fn note(&self, replica: &Replica, said: Result<Seen, String>) -> Standing {
        let now = Instant::now();
        // Under the lock, so that nothing that was judged before a change of the schema is noted after it.
        let history = self.history.lock();
        let judgement = said.map(|seen| history.judge(&seen, now));
        let (until, standing) = match judgement {
            Ok(Judgement::Follows { shows, lag }) => {
                (self.milliseconds_at(shows + self.allowed_age), Standing::Follows { lag })
            }
            Ok(Judgement::Behind { at_least }) => (0, Standing::Follows { lag: at_least }),
            Ok(Judgement::Unknown) => (0, Standing::Unknown),
            Ok(Judgement::Unfit(reason)) => (0, Standing::Trouble(reason.to_owned())),
            Err(reason) => (0, Standing::Trouble(reason)),
        };
        replica.readable_until_ms.store(until, Ordering::Release);
        std::mem::replace(&mut *replica.standing.lock(), standing)
    }

    /// How they are, in the order of the configuration.
    pub fn states(&self) -> Vec<ReplicaState> {
        let now = self.milliseconds_at(Instant::now());
        let state = |replica: &Replica| {
            let readable = now < replica.readable_until_ms.load(Ordering::Acquire);
            let (lag, trouble) = match &*replica.standing.lock() {
                Standing::Follows { lag } if readable => (Some(*lag), None),
                Standing::Follows { lag } => (Some(*lag), Some("what it shows is too old".to_owned())),
                Standing::Unknown => (None, Some("it is not known yet how old what it shows is".to_owned())),
                Standing::Trouble(reason) => (None, Some(reason.clone())),
            };
            let pool = replica.pools.iter().map(|pool| pool.state()).reduce(PoolState::and).unwrap_or_default();
            ReplicaState { address: replica.address.clone(), readable, lag, trouble, pool }
        };
        self.list.iter().map(state).collect()
    }

    /// Statements that might have been read from a replica, and were not.
    pub fn passed_over(&self) -> u64 {
        self.passed_over.load(Ordering::Relaxed)
    }

    pub(super) fn close(&self) {
        self.list.iter().flat_map(|replica| &replica.pools).for_each(|pool| pool.close());
    }
}

impl PostgresShard {
    /// As [`PostgresShard::begin`], for a transaction that only reads and may do that on a replica.
    ///
    /// # Errors
    /// No connection could be had.
    pub async fn begin_to_read(
        &self,
        begin: &'static str,
        settings: &Arc<SessionSettings>,
        cancel: &CancelFlag,
    ) -> Result<PostgresTransaction> {
        let connection = self.checkout_to_read(settings, cancel).await?;
        let is_own = self.pools().iter().any(|pool| Arc::ptr_eq(pool, connection.pool()));
        let transaction = self.transaction_on(connection, begin, cancel);
        if is_own {
            return Ok(transaction);
        }
        Ok(transaction.or_else_on(&self.pools()[worker::current() % self.pools().len()]))
    }

    /// A connection for what may be read from a replica: to one that may be read now, or else to the shard's own server.
    ///
    /// # Errors
    /// None can be had there, either. Nothing was sent.
    pub(super) async fn checkout_to_read(
        &self,
        settings: &Arc<SessionSettings>,
        cancel: &CancelFlag,
    ) -> Result<Pooled> {
        let Some(replicas) = self.replicas() else { return self.checkout(settings, None, cancel).await };
        for replica in replicas.readable() {
            let connecting = self.checkout_from(&replica.pools, settings, cancel);
            match timeout(PATIENCE, connecting).await {
                Ok(Ok(connection)) => return Ok(connection),
                Ok(Err(canceled)) if cancel.is_raised() => return Err(canceled),
                Ok(Err(_)) | Err(_) => {}
            }
        }
        replicas.passed_over.fetch_add(1, Ordering::Relaxed);
        self.checkout(settings, None, cancel).await
    }
}

#[cfg(test)]
mod tests {
    use super::history::{Lineage, LogPlace, Sample};
    use super::*;

    const AGE: Duration = Duration::from_millis(200);

    fn replicas(count: usize) -> Replicas {
        let replica = |number: usize| Replica {
            address: number.to_string(),
            pools: Box::default(),
            readable_until_ms: AtomicU64::new(0),
            standing: Mutex::new(Standing::Unknown),
        };
        Replicas {
            list: (0..count).map(replica).collect(),
            allowed_age: AGE,
            history: Mutex::new(History::new(AGE)),
            begin: Instant::now(),
            turn: AtomicUsize::new(0),
            passed_over: AtomicU64::new(0),
        }
    }

    fn lineage() -> Lineage {
        Lineage { system: "71".to_owned(), timeline: 1 }
    }

    /// What the shard's own server says now.
    fn sample(replicas: &Replicas) {
        let mut history = replicas.history.lock();
        let generation = history.generation;
        let end = LogPlace::parse("0/10");
        history.add(Sample { asked: Instant::now(), lineage: lineage(), end }, generation);
    }

    fn note(replicas: &Replicas, number: usize, replayed: &str) {
        let seen = Seen { lineage: lineage(), replayed: LogPlace::parse(replayed) };
        replicas.note(&replicas.list[number], Ok(seen));
    }

    fn read(replicas: &Replicas) -> Vec<&str> {
        replicas.readable().map(|replica| replica.address.as_str()).collect()
    }

    #[test]
    fn a_replica_is_read_for_as_long_as_what_is_known_of_it_allows() {
        let replicas = replicas(1);
        assert!(read(&replicas).is_empty());
        sample(&replicas);
        note(&replicas, 0, "0/F");
        assert!(read(&replicas).is_empty(), "it shows nothing that is known");
        note(&replicas, 0, "0/10");
        assert_eq!(read(&replicas), ["0"]);
        std::thread::sleep(AGE);
        assert!(read(&replicas).is_empty(), "nobody has said anything since");
        sample(&replicas);
        note(&replicas, 0, "0/10");
        assert_eq!(read(&replicas), ["0"]);
        replicas.note(&replicas.list[0], Err("gone".to_owned()));
        assert!(read(&replicas).is_empty());
        assert_eq!(replicas.states()[0].trouble.as_deref(), Some("gone"));
    }

    #[test]
    fn after_a_change_of_the_schema_it_is_read_when_its_server_was_asked_again() {
        let replicas = replicas(1);
        sample(&replicas);
        note(&replicas, 0, "0/10");
        replicas.hold_back();
        assert!(read(&replicas).is_empty());
        note(&replicas, 0, "0/10");
        assert!(read(&replicas).is_empty(), "what was known before the change says nothing of it");
        sample(&replicas);
        note(&replicas, 0, "0/10");
        assert_eq!(read(&replicas), ["0"]);
    }

    #[test]
    fn replicas_take_turns() {
        let replicas = replicas(3);
        sample(&replicas);
        [0, 2].into_iter().for_each(|number| note(&replicas, number, "0/10"));
        let first: Vec<&str> = (0..6).map(|_| read(&replicas)[0]).collect();
        assert_eq!(first.iter().filter(|address| **address == "0").count(), 2);
        assert!(!first.contains(&"1"));
        assert_eq!(read(&replicas).len(), 2);
    }
}
