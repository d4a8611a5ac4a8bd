//! Transactions that wait for each other on several shards, where no shard sees the whole circle.
//!
//! SQLite shards' writers are taken within this process, so who holds and who waits is known, and whoever would close a circle is
//! refused at once. Postgres shards are asked: a statement of a transaction over several that takes longer than a second has a
//! look at who waits for whom on each, and the youngest of a circle gives way. What no look can tell ends by the clock.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

use super::side_by_side::side_by_side;
use crate::error::Result;
use crate::shard::postgres::LockWait;
use crate::shard::{CancelFlag, Shard, deadlock};
use crate::types::ShardId;

/// How long a statement runs before the first look, as Postgres's `deadlock_timeout` has it, and until the next.
const FIRST_LOOK: Duration = Duration::from_secs(1);
const NEXT_LOOK: Duration = Duration::from_millis(500);
/// The same after a circle was seen.
const SECOND_LOOK: Duration = Duration::from_millis(100);
/// How long others may use what one has seen.
const FRESH: Duration = Duration::from_millis(50);
/// A circle is believed when it was seen so often: its edges are not of one moment. The one who has to give way does so then; after
/// one time more it is told to.
const BELIEVED: u32 = 2;
/// Stands for the lock on the schema among the shards' writers: no shard has this number.
pub(super) const SCHEMA_LOCK: ShardId = ShardId(0);

/// Who waits for whom, of one engine's transactions.
#[derive(Debug)]
pub(super) struct Waits {
    limit: Duration,
    next: AtomicU64,
    parties: Mutex<BTreeMap<u64, Registered>>,
    seen: tokio::sync::Mutex<Option<(Instant, Arc<Edges>)>>,
    writers: Mutex<Writers>,
}

/// A transaction over several Postgres shards.
#[derive(Debug)]
struct Registered {
    members: Vec<(Arc<Shard>, Option<i32>)>,
    cancel: CancelFlag,
}

/// A transaction over several Postgres shards, while it lasts. A later one has a higher number.
#[derive(Debug)]
pub(super) struct Party {
    waits: Arc<Waits>,
    number: u64,
    cancel: CancelFlag,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Node {
    Party(u64),
    /// Somebody else: a statement on its own, a transaction on one shard, another program's.
    Process(ShardId, i32),
}

type Edges = HashMap<Node, Vec<Node>>;

impl Waits {
    /// `limit`: how long a lock is waited for at most, by transactions over several Postgres shards.
    pub(super) fn new(limit: Duration) -> Arc<Waits> {
        Arc::new(Waits {
            limit,
            next: AtomicU64::new(1),
            parties: Mutex::default(),
            seen: tokio::sync::Mutex::default(),
            writers: Mutex::default(),
        })
    }

    pub(super) fn party(self: &Arc<Self>, cancel: &CancelFlag) -> Arc<Party> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.parties.lock().insert(number, Registered { members: Vec::new(), cancel: cancel.clone() });
        Arc::new(Party { waits: Arc::clone(self), number, cancel: cancel.clone() })
    }

    pub(super) fn writer_party(self: &Arc<Self>) -> Arc<WriterParty> {
        Arc::new(WriterParty { waits: Arc::clone(self), number: self.next.fetch_add(1, Ordering::Relaxed) })
    }

    /// Asks the shards on which transactions over several are, unless somebody has just done so.
    async fn look(&self) -> (Instant, Arc<Edges>) {
        let mut seen = self.seen.lock().await;
        if let Some((when, edges)) = &*seen
            && when.elapsed() < FRESH
        {
            return (*when, Arc::clone(edges));
        }
        let (mut shards, mut parties) = (BTreeMap::new(), HashMap::new());
        for (number, registered) in &*self.parties.lock() {
            for (shard, process) in &registered.members {
                shards.insert(shard.id(), Arc::clone(shard));
                parties.extend(process.map(|process| ((shard.id(), process), *number)));
            }
        }
        let asking = shards.into_iter().map(|(id, shard)| async move {
            let waits = match shard.postgres() {
                Ok(postgres) => postgres.lock_waits().await,
                Err(error) => Err(error),
            };
            (id, waits)
        });
        let mut edges = Edges::new();
        for (shard, waits) in side_by_side(asking).await {
            match waits {
                Ok(waits) => add_edges(&mut edges, shard, &waits, &parties),
                Err(error) => tracing::debug!(%error, "a shard cannot be asked who waits for whom"),
            }
        }
        let found = (Instant::now(), Arc::new(edges));
        *seen = Some((found.0, Arc::clone(&found.1)));
        found
    }
}

fn add_edges(edges: &mut Edges, shard: ShardId, waits: &[LockWait], parties: &HashMap<(ShardId, i32), u64>) {
    let node = |process: i32| match parties.get(&(shard, process)) {
        Some(party) => Node::Party(*party),
        None => Node::Process(shard, process),
    };
    for wait in waits {
        let blockers = wait.blockers.iter().map(|process| node(*process));
        edges.entry(node(wait.process)).or_default().extend(blockers);
    }
}

/// The transactions on a way that leads from one back to itself, in their order.
fn circle_of(start: u64, edges: &Edges) -> Option<Vec<u64>> {
    let start = Node::Party(start);
    let mut visited = HashSet::new();
    let mut way: Vec<(Node, usize)> = vec![(start, 0)];
    while let Some((node, place)) = way.last_mut() {
        let Some(next) = edges.get(node).and_then(|next| next.get(*place)).copied() else {
            way.pop();
            continue;
        };
        *place += 1;
        if next == start {
            let mut parties: Vec<u64> = way
                .iter()
                .filter_map(|(node, _)| match node {
                    Node::Party(number) => Some(*number),
                    Node::Process(..) => None,
                })
                .collect();
            parties.sort_unstable();
            return Some(parties);
        }
        if visited.insert(next) {
            way.push((next, 0));
        }
    }
    None
}

impl Party {
    /// A shard takes part from now on.
    pub(super) fn join(&self, shard: Arc<Shard>) {
        if let Some(registered) = self.waits.parties.lock().get_mut(&self.number) {
            registered.members.push((shard, None));
        }
    }

    /// The process in which the transaction runs on a shard; `None`: as it was.
    pub(super) fn note(&self, shard: ShardId, process: Option<i32>) {
        if let Some(registered) = self.waits.parties.lock().get_mut(&self.number)
            && let Some((_, known)) = registered.members.iter_mut().find(|(member, _)| member.id() == shard)
        {
            *known = process.or(*known);
        }
    }

    /// What a shard says of a statement that was canceled is not why it was.
    pub(super) fn reason_of(&self, error: crate::error::Error) -> crate::error::Error {
        self.cancel.reason_of(error)
    }

    /// Runs what may wait for a lock. It is canceled when it waits in a circle and this is the youngest, or for too long.
    pub(super) async fn watch<F: Future>(&self, work: F) -> F::Output {
        let mut work = pin!(work);
        let mut pause = FIRST_LOOK;
        let mut watched = Watched::default();
        loop {
            tokio::select! {
                biased;
                output = &mut work => return output,
                () = sleep(pause) => {}
            }
            let (when, edges) = tokio::select! {
                biased;
                output = &mut work => return output,
                seen = self.waits.look() => seen,
            };
            self.judge(&mut watched, when, &edges);
            pause = if watched.circle.is_empty() { NEXT_LOOK } else { SECOND_LOOK };
        }
    }

    fn judge(&self, watched: &mut Watched, when: Instant, edges: &Edges) {
        if !edges.contains_key(&Node::Party(self.number)) {
            *watched = Watched::default();
            return;
        }
        let since = *watched.waiting_since.get_or_insert(when);
        if when.duration_since(since) >= self.waits.limit {
            tracing::warn!(
                "a transaction over several shards waited too long for a lock, and was taken for a deadlock"
            );
            self.cancel.deadlock();
            return;
        }
        let circle = circle_of(self.number, edges).unwrap_or_default();
        if circle.is_empty() || watched.circle != circle {
            (watched.circle, watched.times, watched.last) = (circle, 1, Some(when));
            return;
        }
        if watched.last.replace(when) != Some(when) {
            watched.times += 1;
        }
        match watched.circle.last() {
            Some(youngest) if *youngest == self.number && watched.times >= BELIEVED => self.cancel.deadlock(),
            // It may wait where nobody looks.
            Some(youngest) if watched.times > BELIEVED => {
                if let Some(registered) = self.waits.parties.lock().get(youngest) {
                    registered.cancel.deadlock();
                }
            }
            _ => {}
        }
    }
}

/// What one statement's looks have shown.
#[derive(Debug, Default)]
struct Watched {
    waiting_since: Option<Instant>,
    circle: Vec<u64>,
    times: u32,
    last: Option<Instant>,
}

impl Drop for Party {
    fn drop(&mut self) {
        self.waits.parties.lock().remove(&self.number);
    }
}

/// Who holds the writers of SQLite shards, and who waits for one.
#[derive(Debug, Default)]
struct Writers {
    holders: HashMap<ShardId, u64>,
    waiting: HashMap<u64, ShardId>,
}

impl Writers {
    fn closes_circle(&self, who: u64, shard: ShardId) -> bool {
        let mut shard = shard;
        // Each step is another transaction's.
        for _ in 0..=self.waiting.len() {
            let Some(holder) = self.holders.get(&shard) else { return false };
            if *holder == who {
                return true;
            }
            let Some(next) = self.waiting.get(holder) else { return false };
            shard = *next;
        }
        false
    }
}

/// A transaction that takes SQLite shards' writers, while it lasts.
#[derive(Debug)]
pub(super) struct WriterParty {
    waits: Arc<Waits>,
    number: u64,
}

impl WriterParty {
    /// To be told before a writer is waited for.
    ///
    /// # Errors
    /// 40P01: whoever holds it waits for this one.
    pub(super) fn wait_for(&self, shard: ShardId) -> Result<()> {
        let mut writers = self.waits.writers.lock();
        if writers.closes_circle(self.number, shard) {
            return Err(deadlock());
        }
        writers.waiting.insert(self.number, shard);
        Ok(())
    }

    /// The writer was granted.
    pub(super) fn holds(&self, shard: ShardId) {
        let mut writers = self.waits.writers.lock();
        writers.waiting.remove(&self.number);
        writers.holders.insert(shard, self.number);
    }

    /// The writer was not granted.
    pub(super) fn gave_up(&self) {
        self.waits.writers.lock().waiting.remove(&self.number);
    }
}

impl Drop for WriterParty {
    fn drop(&mut self) {
        let mut writers = self.waits.writers.lock();
        writers.waiting.remove(&self.number);
        writers.holders.retain(|_, holder| *holder != self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::SqlState;

    fn edges(list: &[(Node, Node)]) -> Edges {
        let mut edges = Edges::new();
        list.iter().for_each(|(from, to)| edges.entry(*from).or_default().push(*to));
        edges
    }

    #[test]
    fn a_circle_over_two_shards_is_found_from_each_of_its_transactions() {
        let (a, b, c) = (Node::Party(1), Node::Party(2), Node::Party(3));
        let single = Node::Process(ShardId(1), 77);
        let circle = edges(&[(c, a), (a, single), (single, b), (b, a)]);
        assert_eq!(circle_of(1, &circle), Some(vec![1, 2]));
        assert_eq!(circle_of(2, &circle), Some(vec![1, 2]));
        assert_eq!(circle_of(3, &circle), None, "it waits for a circle, and is in none");
        assert_eq!(circle_of(1, &edges(&[(a, b), (b, c)])), None);
        assert_eq!(circle_of(1, &edges(&[(a, b), (b, c), (c, b)])), None);
    }

    #[test]
    fn processes_are_told_apart_by_their_shard() {
        let parties = HashMap::from([((ShardId(1), 10), 1), ((ShardId(2), 10), 2)]);
        let mut edges = Edges::new();
        let wait = |process, blocker| [LockWait { process, blockers: vec![blocker] }];
        add_edges(&mut edges, ShardId(1), &wait(10, 11), &parties);
        add_edges(&mut edges, ShardId(2), &wait(10, 11), &parties);
        assert_eq!(edges[&Node::Party(1)], [Node::Process(ShardId(1), 11)]);
        assert_eq!(edges[&Node::Party(2)], [Node::Process(ShardId(2), 11)]);
    }

    #[test]
    fn whoever_would_close_a_circle_of_writers_is_refused() {
        let waits = Waits::new(Duration::from_secs(1));
        let (a, b, c) = (waits.writer_party(), waits.writer_party(), waits.writer_party());
        for (party, shard) in [(&a, 1), (&b, 2), (&c, 3)] {
            party.wait_for(ShardId(shard)).unwrap();
            party.holds(ShardId(shard));
        }
        a.wait_for(ShardId(2)).unwrap();
        b.wait_for(ShardId(3)).unwrap();
        assert_eq!(c.wait_for(ShardId(1)).unwrap_err().sqlstate(), SqlState::DEADLOCK_DETECTED);
        b.gave_up();
        drop(b);
        a.holds(ShardId(2));
        c.wait_for(ShardId(1)).unwrap();
        drop(a);
        c.holds(ShardId(1));
        assert!(waits.writers.lock().holders.values().all(|holder| *holder == c.number));
    }
}
