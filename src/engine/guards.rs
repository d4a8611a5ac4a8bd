//! The guards of sharded tables on Postgres shards: each has one from the transaction that makes it, and when shards are opened
//! those that are missing or were altered are put there.
//!
//! What a shard may hold is decided on the shards, so that a map which is wrong (an old copy of the catalog) must not give two
//! of them the same slots: a guard is widened only by slots that no other one claims.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::Engine;
use super::down::Need;
use super::session::Session;
use super::side_by_side::side_by_side;
use super::transaction::Transaction;
use crate::error::{Error, Result, Retry, SqlState};
use crate::shard::postgres::guard;
use crate::shard::postgres::schema::{GuardState, ShardSchema, ShardTable, guarded};
use crate::shard::postgres::{PostgresShard, quoted};
use crate::shard::{Shard, TransactionMode};
use crate::sql::{self, ast, quote_identifier};
use crate::topology::{Keyspace, Schema, SlotSet, Table, Topology};
use crate::types::ShardId;

/// How long a table's lock is waited for. Writers that come meanwhile wait as long.
const LOCK_TIMEOUT_MS: u32 = 2_000;
/// How long one shard's tables may take together, where each waits for its lock.
const SHARD_TIME: Duration = Duration::from_secs(20);

/// Bodies of the functions of guards, by table.
const BODIES: &str = "SELECT c.relname, p.prosrc FROM pg_catalog.pg_trigger g JOIN pg_catalog.pg_proc p ON p.oid = g.tgfoid \
     JOIN pg_catalog.pg_class c ON c.oid = g.tgrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     WHERE g.tgname = 'shardd_guard' AND n.nspname = 'public'";

/// Of all guards' functions, also of those that no trigger calls.
const FUNCTIONS: &str = "SELECT pg_catalog.format('%I.%I', n.nspname, p.proname), pg_catalog.md5(p.prosrc) \
     FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace \
     WHERE n.nspname = 'shardd' AND p.pronargs = 0";

/// What was found wrong with a guard, and what was done.
#[derive(Clone, Debug)]
pub(super) struct Mended {
    pub(super) shard: ShardId,
    /// `None`: the shard's as a whole.
    pub(super) table: Option<String>,
    pub(super) state: GuardState,
    /// Slots that the topology gives to a shard, and another one's guard claims: they are left as they are.
    pub(super) contested: SlotSet,
    pub(super) outcome: Result<()>,
}

/// Slots whose owner a move is deciding: guards keep what they say of them.
pub(super) fn unsettled(keyspace: &Keyspace) -> SlotSet {
    keyspace.strays.iter().fold(keyspace.held.clone(), |all, strays| all.union(&strays.slots))
}

/// The slots that a shard owns of a table's keyspace.
fn owned(table: &ShardTable, shard: ShardId, topology: &Topology) -> SlotSet {
    topology.keyspace(&table.table.keyspace).map(|keyspace| keyspace.slots_of(shard)).unwrap_or_default()
}

/// Slots of a keyspace that a shard's guard may let through or not, when it was read between these two topologies.
pub(super) fn open_between(before: &Topology, after: &Topology, keyspace: &str, shard: ShardId) -> SlotSet {
    let slots = |topology: &Topology| match topology.keyspace(keyspace) {
        Some(keyspace) => (keyspace.slots_of(shard), unsettled(keyspace)),
        None => Default::default(),
    };
    let ((owned_before, open_before), (owned_after, open_after)) = (slots(before), slots(after));
    unlike(&owned_before, &owned_after).union(&open_before).union(&open_after)
}

fn unlike(one: &SlotSet, other: &SlotSet) -> SlotSet {
    one.difference(other).union(&other.difference(one))
}

/// What a guard is to let through, and what it does not get.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Settled {
    pub(super) slots: SlotSet,
    pub(super) contested: SlotSet,
}

/// `own`: what it lets through now, where it can be read; `others`: what those of other shards do. `all`: those are all.
pub(super) fn settle(
    owned: &SlotSet,
    own: Option<&SlotSet>,
    others: &SlotSet,
    all: bool,
    unsettled: &SlotSet,
) -> Settled {
    let nothing = SlotSet::default();
    let before = own.unwrap_or(&nothing);
    let lacking = owned.difference(before).difference(unsettled);
    // A shard that cannot be asked may claim any; without a guard at all, any is better.
    let gained = if all || own.is_none() { lacking.difference(others) } else { SlotSet::default() };
    // What another one does not let through would be nobody's.
    let lost = before.difference(owned).intersection(others).difference(unsettled);
    let slots = before.union(&gained).difference(&lost);
    let contested = owned.difference(&slots).union(&slots.difference(owned)).difference(unsettled);
    Settled { slots, contested }
}

/// A change of the schema, whose tables are to have their guards when it is committed.
pub(super) struct Changed<'c> {
    pub(super) before: &'c Schema,
    pub(super) after: &'c Schema,
    pub(super) topology: &'c Topology,
    /// Whether the change has named a table, which may have changed what its schema does not tell.
    pub(super) named: &'c (dyn Fn(&str) -> bool + Sync),
    /// A table whose rows are placed anew: its guard's slots are the topology's again.
    pub(super) placed_anew: Option<&'c str>,
}

impl Changed<'_> {
    fn concerns(&self, table: &str) -> bool {
        self.before.table(table) != self.after.table(table) || (self.named)(table)
    }

    fn retypes_key(&self, table: &Table) -> bool {
        let type_of = |table: &Table| {
            let column = &table.columns[table.key_column()?];
            Some((column.data_type, column.named_type.clone()))
        };
        self.before.table(&table.name).is_some_and(|before| type_of(before) != type_of(table))
    }
}

impl Transaction {
    /// Gives each sharded table its guard, after a change of the schema, and takes it from others. `read`: the schemas as the
    /// change has left them. Gives what must be told: a table that shardd's role cannot guard.
    ///
    /// # Errors
    /// A shard refused for another reason than its privileges.
    pub(super) async fn guard_tables(
        &mut self,
        engine: &Engine,
        read: &[(ShardId, ShardSchema)],
        changed: &Changed<'_>,
    ) -> Result<Option<Error>> {
        let mut told = None;
        for (shard, found) in read {
            for table in found.tables.values().filter(|table| changed.concerns(&table.table.name)) {
                let Some(change) = self.guarding(engine, *shard, table, changed).await? else { continue };
                let name = &table.table.name;
                let refused = match table.ours {
                    true => self.try_on(engine, *shard, &change).await?.map(|error| error.message().to_owned()),
                    false => Some(not_ours(name)),
                };
                if let Some(why) = refused {
                    let message = format!("the table \"{name}\" has no guard: {why}");
                    told = Some(Error::new(SqlState::WARNING, message).hint(HINT_UNGUARDED));
                }
            }
            let in_use: Vec<String> = found.tables.values().filter_map(function_of).collect();
            let unused = found.unused_guards.iter().filter(|unused| !in_use.contains(unused));
            let drop: Vec<String> = unused.map(|unused| format!("DROP FUNCTION IF EXISTS {unused}")).collect();
            if !drop.is_empty() {
                // One that another role has made is left.
                let _ = self.try_on(engine, *shard, &drop.join("; ")).await?;
            }
        }
        Ok(told)
    }

    /// What makes a table's guard what it should be, as text.
    async fn guarding(
        &mut self,
        engine: &Engine,
        shard: ShardId,
        table: &ShardTable,
        changed: &Changed<'_>,
    ) -> Result<Option<String>> {
        let (topology, name) = (changed.topology, &table.table.name);
        let mut slots = owned(table, shard, topology);
        let state = table.guard_state(&slots);
        let guarded = match (guarded(&table.table), state) {
            // Sessions that know its function hold on to the column's type until it is another one.
            (Some(guarded), GuardState::Right) if changed.retypes_key(&table.table) => {
                return Ok(Some(guard::define(&guarded, &slots)));
            }
            (_, GuardState::Right) => return Ok(None),
            (None, _) => return Ok(Some(guard::remove("public", name))),
            (Some(guarded), _) => guarded,
        };
        if let Some(keyspace) = topology.keyspace(&table.table.keyspace) {
            slots = slots.difference(&unsettled(keyspace));
        }
        if state == GuardState::Other && changed.placed_anew != Some(name) {
            // It has another name, or its column has. What it lets through is not for a change of the schema to decide.
            let participant = self.join_as_writer(engine, shard, TransactionMode::Schema).await?;
            let rows = participant.transaction.postgres()?.rows_of(BODIES, &Arc::default()).await?;
            slots = slots_of_bodies(&rows).remove(name).unwrap_or(slots);
        }
        Ok(Some(format!("{}; {}", guard::TOKENS, guard::install(&guarded, &slots))))
    }

    /// Runs statements as shardd's own role, or nothing of them. Gives what the role may not do.
    async fn try_on(&mut self, engine: &Engine, shard: ShardId, text: &str) -> Result<Option<Error>> {
        let participant = self.join_as_writer(engine, shard, TransactionMode::Schema).await?;
        let transaction = participant.transaction.postgres()?;
        let guarded = format!("SAVEPOINT shardd_guarding; {text}; RELEASE SAVEPOINT shardd_guarding");
        match transaction.rows_of(&guarded, &Arc::default()).await {
            Ok(_) => Ok(None),
            Err(error) if error.sqlstate() == SqlState::INSUFFICIENT_PRIVILEGE => {
                let back = "ROLLBACK TO SAVEPOINT shardd_guarding; RELEASE SAVEPOINT shardd_guarding";
                transaction.rows_of(back, &Arc::default()).await?;
                Ok(Some(error))
            }
            Err(error) => Err(error),
        }
    }
}

impl Session {
    /// A table that becomes a partition gets its parent's guard, for which its own has to make room. `text`: the client's.
    ///
    /// # Errors
    /// A shard is down; the schema cannot be changed now.
    pub(super) async fn make_room_for_guard(&mut self, text: &str) -> Result<()> {
        let Some(table) = sql::attached_partition(text) else { return Ok(()) };
        let engine = Arc::clone(&self.engine);
        engine.require_all(Need::SchemaChange)?;
        let transaction = self.open_transaction()?;
        transaction.lock_schema(&engine).await?;
        engine.refuse_while_slots_move()?;
        let mut shards: Vec<ShardId> = engine.live.snapshot().shards.iter().map(|shard| shard.id).collect();
        shards.sort_unstable();
        for shard in shards {
            // Where the table is another role's, Postgres says what is in the way.
            let _ = transaction.try_on(&engine, shard, &guard::remove("public", &table)).await?;
        }
        Ok(())
    }
}

/// The guard is shardd's own, and stays.
pub(super) fn refuse_guard(tree: &ast::Statement) -> Result<()> {
    use ast::AlterTableOperation as Operation;
    let ast::Statement::AlterTable(alter) = tree else { return Ok(()) };
    let names_guard = |operation: &Operation| match operation {
        Operation::DisableTrigger { name }
        | Operation::EnableTrigger { name }
        | Operation::EnableAlwaysTrigger { name }
        | Operation::EnableReplicaTrigger { name } => sql::fold(name) == guard::TRIGGER,
        _ => false,
    };
    match alter.operations.iter().any(names_guard) {
        true => Err(guard_stays()),
        false => Ok(()),
    }
}

fn guard_stays() -> Error {
    Error::unsupported(
        format!("changing the trigger {}, which refuses rows of other shards,", guard::TRIGGER),
        "It stays. DISABLE TRIGGER USER is for the others: it leaves this one as it is.",
    )
}

const HINT_UNGUARDED: &str = "It is served without one. Let shardd's role own it (ALTER TABLE ... OWNER TO), and create in the schema \
     shardd; then run `shardctl verify --repair`.";

fn not_ours(table: &str) -> String {
    format!("shardd's role does not own \"{table}\"")
}

impl Engine {
    /// Puts guards that are missing or were altered right, on the open shards or on `only` one that is about to be opened. `read`:
    /// the schemas of all that can be read. Gives what was wrong.
    pub(super) async fn mend_guards(
        &self,
        read: &[(ShardId, ShardSchema)],
        only: Option<&Arc<Shard>>,
        topology: &Topology,
    ) -> Vec<Mended> {
        let is_wrong = |(id, found): &(ShardId, ShardSchema)| {
            let state = |table| ShardTable::guard_state(table, &owned(table, *id, topology));
            found.tables.values().any(|table| state(table) != GuardState::Right)
        };
        if !read.iter().any(is_wrong) {
            return Vec::new();
        }
        let claims = self.claims(read, only, topology).await;
        // Moves do not wait for the schema's lock. What begins after this is seen by the functions that it alters.
        let meanwhile = match self.live.snapshot().epoch > topology.epoch {
            true => Meanwhile::Moved,
            false if topology.is_moving() || self.live.is_moving() => Meanwhile::Moving,
            false => Meanwhile::Nothing,
        };
        let to_mend = read.iter().filter(|(id, _)| only.is_none_or(|only| only.id() == *id));
        let work = to_mend.filter_map(|(id, found)| Some((self.open_or(only, *id)?, found)));
        let work = work.map(|(shard, found)| {
            let claims = &claims;
            async move {
                match shard.postgres() {
                    Ok(shard) => mend(shard, found, claims, topology, meanwhile).await,
                    Err(_) => Vec::new(),
                }
            }
        });
        let mended: Vec<Mended> = side_by_side(work).await.into_iter().flatten().collect();
        mended.iter().for_each(|mended| self.log_mended(mended));
        mended
    }

    fn open_or(&self, only: Option<&Arc<Shard>>, id: ShardId) -> Option<Arc<Shard>> {
        match only {
            Some(only) if only.id() == id => Some(Arc::clone(only)),
            _ => self.shard(id).ok(),
        }
    }

    /// What the guards let through, of those shards and `only` one that is about to be opened.
    pub(super) async fn claims(
        &self,
        read: &[(ShardId, ShardSchema)],
        only: Option<&Arc<Shard>>,
        topology: &Topology,
    ) -> Claims {
        let mut claims = Claims::default();
        for (id, found) in read {
            if let Some(shard) = self.open_or(only, *id)
                && let Ok(shard) = shard.postgres()
            {
                claims.read(shard, found, topology).await;
            }
        }
        claims
    }

    pub(super) fn log_mended(&self, mended: &Mended) {
        let (shard, table) = (self.shard_name(mended.shard), mended.table.as_deref());
        let contested = (!mended.contested.is_empty()).then(|| mended.contested.to_string());
        if let Some(slots) = contested {
            tracing::error!(
                shard,
                table,
                slots,
                "the guards do not agree with the topology, and other shards' claim the same slots: nothing was changed for \
                 these. Was an old copy of the catalog restored?"
            );
        }
        match (&mended.outcome, mended.state) {
            (Err(error), _) => tracing::warn!(
                shard,
                table,
                hint = HINT_UNGUARDED,
                "the guard is not what it should be, and cannot be put right now: {}",
                error.message()
            ),
            // A new file's slots.
            (Ok(()), GuardState::Missing) if table.is_none() => {
                tracing::debug!(shard, "the guard's slots were missing, and are there now");
            }
            (Ok(()), GuardState::Missing) => tracing::info!(shard, table, "the guard was missing, and is there now"),
            (Ok(()), GuardState::Superfluous) => tracing::info!(shard, table, "a guard that nothing needs was removed"),
            (Ok(()), GuardState::Resting) => {
                tracing::warn!(shard, table, "the guard was disabled, and is enabled again")
            }
            (Ok(()), _) => tracing::warn!(shard, table, "the guard had been altered, and was put right"),
        }
    }
}

/// What moves have done since the topology was looked at by which guards are mended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meanwhile {
    Nothing,
    /// Guards may be fences.
    Moving,
    Moved,
}

impl Meanwhile {
    /// # Errors
    /// 55006, 55P03: the guard is not to be touched now.
    fn allows(self, state: GuardState) -> Result<()> {
        let (sqlstate, message) = match (self, state) {
            (Meanwhile::Nothing, _) | (Meanwhile::Moving, GuardState::Missing) => return Ok(()),
            (Meanwhile::Moving, _) => (SqlState::OBJECT_IN_USE, "rows move between shards"),
            (Meanwhile::Moved, _) => {
                (SqlState::LOCK_NOT_AVAILABLE, "rows have begun to move, or have moved, meanwhile")
            }
        };
        Err(Error::new(sqlstate, message).retry(Retry::Safe))
    }
}

/// What the guards of all shards let through, by table.
#[derive(Debug, Default)]
pub(super) struct Claims {
    slots: BTreeMap<String, BTreeMap<ShardId, SlotSet>>,
    /// The md5 of each function's body.
    functions: BTreeMap<ShardId, BTreeMap<String, String>>,
}

impl Claims {
    async fn read(&mut self, shard: &PostgresShard, found: &ShardSchema, topology: &Topology) {
        let functions = shard.rows_of(FUNCTIONS).await.unwrap_or_default().into_iter();
        let functions =
            functions.filter_map(|row| <[_; 2]>::try_from(row).ok()).filter_map(|[name, md5]| name.zip(md5));
        self.functions.insert(shard.id(), functions.collect());
        let mut bodies: Option<BTreeMap<String, SlotSet>> = None;
        for (name, table) in &found.tables {
            let owned = owned(table, shard.id(), topology);
            let slots = match table.guard_state(&owned) {
                GuardState::Right | GuardState::Resting => Some(owned),
                GuardState::Missing | GuardState::Superfluous => None,
                GuardState::Other => {
                    if bodies.is_none() {
                        bodies = Some(slots_of_bodies(&shard.rows_of(BODIES).await.unwrap_or_default()));
                    }
                    bodies.as_ref().and_then(|bodies| bodies.get(name)).cloned()
                }
            };
            if let Some(slots) = slots {
                self.slots.entry(name.clone()).or_default().insert(shard.id(), slots);
            }
        }
    }

    /// How a table's guard is on a shard, where it may say of `open` slots what it likes.
    pub(super) fn state(&self, table: &ShardTable, shard: ShardId, topology: &Topology, open: &SlotSet) -> GuardState {
        let owned = owned(table, shard, topology);
        match (table.guard_state(&owned), self.own(&table.table.name, shard)) {
            (GuardState::Other, Some(own)) if unlike(own, &owned).difference(open).is_empty() => table.guard_state(own),
            (state, _) => state,
        }
    }

    fn own(&self, table: &str, shard: ShardId) -> Option<&SlotSet> {
        self.slots.get(table)?.get(&shard)
    }

    fn of_others(&self, table: &str, shard: ShardId) -> SlotSet {
        let others = self.slots.get(table).into_iter().flatten().filter(|(other, _)| **other != shard);
        others.fold(SlotSet::default(), |all, (_, slots)| all.union(slots))
    }
}

/// By table. What cannot be read is not shardd's.
fn slots_of_bodies(rows: &[Vec<Option<String>>]) -> BTreeMap<String, SlotSet> {
    let read = rows.iter().filter_map(|row| match row.as_slice() {
        [Some(table), Some(body)] => Some((table.clone(), guard::owned_by(body)?)),
        _ => None,
    });
    read.collect()
}

/// As the list of unused functions names it.
fn function_of(table: &ShardTable) -> Option<String> {
    guarded(&table.table).map(|guarded| format!("{}()", guard::function_of(guarded.schema, guarded.table)))
}

/// Fails where the guard's function is not what was read: a fence has come, or was taken back.
fn unaltered(table: &str, shard: ShardId, claims: &Claims) -> String {
    let function = guard::function_of("public", table);
    let read = claims.functions.get(&shard).and_then(|functions| functions.get(&function));
    let read = read.map_or_else(|| "NULL".to_owned(), |md5| quoted(md5));
    let check = format!(
        "BEGIN IF (SELECT pg_catalog.md5(p.prosrc) FROM pg_catalog.pg_proc p \
         WHERE p.oid OPERATOR(pg_catalog.=) pg_catalog.to_regprocedure({})) IS DISTINCT FROM {read}::pg_catalog.text \
         THEN RAISE lock_not_available USING MESSAGE = 'its guard was altered meanwhile'; END IF; END",
        quoted(&format!("{function}()"))
    );
    format!("DO {}", quoted(&check))
}

async fn mend(
    shard: &PostgresShard,
    found: &ShardSchema,
    claims: &Claims,
    topology: &Topology,
    meanwhile: Meanwhile,
) -> Vec<Mended> {
    let deadline = tokio::time::Instant::now() + SHARD_TIME;
    let mut mended = Vec::new();
    for table in found.tables.values() {
        let (name, owned) = (&table.table.name, owned(table, shard.id(), topology));
        let open = topology.keyspace(&table.table.keyspace).map(|keyspace| unsettled(keyspace)).unwrap_or_default();
        let state = claims.state(table, shard.id(), topology, &open);
        if state == GuardState::Right {
            continue;
        }
        if let Err(error) = meanwhile.allows(state) {
            let contested = SlotSet::default();
            mended.push(Mended { shard: shard.id(), table: Some(name.clone()), state, contested, outcome: Err(error) });
            continue;
        }
        let mut contested = SlotSet::default();
        let change = match (guarded(&table.table), topology.keyspace(&table.table.keyspace)) {
            (Some(guarded), Some(keyspace)) => {
                let own = claims.own(name, shard.id());
                let all = keyspace.shards.iter().all(|id| claims.own(name, *id).is_some());
                let settled = settle(&owned, own, &claims.of_others(name, shard.id()), all, &unsettled(keyspace));
                contested = settled.contested;
                guard::install(&guarded, &settled.slots)
            }
            _ => guard::remove("public", name),
        };
        let outcome = match (table.ours, tokio::time::Instant::now() < deadline) {
            (false, _) => Err(Error::new(SqlState::INSUFFICIENT_PRIVILEGE, not_ours(name))),
            (true, false) => Err(Error::new(SqlState::LOCK_NOT_AVAILABLE, "other tables' locks took too long")),
            (true, true) => {
                let locked = format!("LOCK TABLE public.{} IN EXCLUSIVE MODE", quote_identifier(name));
                let timeout = quoted(&format!("{LOCK_TIMEOUT_MS}ms"));
                let text = format!(
                    "SET LOCAL lock_timeout = {timeout}; {}; {locked}; {}; {change}",
                    guard::TOKENS,
                    unaltered(name, shard.id(), claims)
                );
                shard.rows_of(&text).await.map(|_| ())
            }
        };
        mended.push(Mended { shard: shard.id(), table: Some(name.clone()), state, contested, outcome });
    }
    mended
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots(text: &str) -> SlotSet {
        if text.is_empty() { SlotSet::default() } else { text.parse().unwrap() }
    }

    /// What a guard becomes, and what is contested.
    fn settled(owned: &str, own: Option<&str>, others: &str, all: bool, unsettled: &str) -> (String, String) {
        let own = own.map(slots);
        let settled = settle(&slots(owned), own.as_ref(), &slots(others), all, &slots(unsettled));
        (settled.slots.to_string(), settled.contested.to_string())
    }

    fn told(slots: &str, contested: &str) -> (String, String) {
        (slots.to_owned(), contested.to_owned())
    }

    #[test]
    fn one_that_was_altered_alone_is_put_right() {
        assert_eq!(settled("0-9", Some("0-20"), "10-30", true, ""), told("0-9", ""));
        assert_eq!(settled("0-9", Some("0-3"), "10-30", true, ""), told("0-9", ""));
        assert_eq!(settled("0-9", None, "10-30", false, ""), told("0-9", ""));
    }

    #[test]
    fn slots_that_another_one_claims_are_not_taken() {
        // The guards agree with one another, and the topology is older than they are.
        assert_eq!(settled("0-9", Some("0-4"), "5-30", true, ""), told("0-4", "5-9"));
        assert_eq!(settled("10-30", Some("5-30"), "0-4", true, ""), told("5-30", "5-9"));
        assert_eq!(settled("0-9", None, "5-30", true, ""), told("0-4", "5-9"));
    }

    #[test]
    fn what_a_shard_that_is_down_may_claim_is_not_taken() {
        assert_eq!(settled("0-9", Some("0-4"), "10-30", false, ""), told("0-4", "5-9"));
    }

    #[test]
    fn slots_that_a_move_decides_on_stay_as_the_guard_has_them() {
        assert_eq!(settled("0-9", Some("0-4"), "", true, "5-9"), told("0-4", ""));
        assert_eq!(settled("0-4", Some("0-9"), "5-9", true, "5-9"), told("0-9", ""));
        assert_eq!(settled("0-9", None, "", true, "5-9"), told("0-4", ""));
        assert_eq!(settled("0-9", Some("0-3,20"), "20", true, "5-9"), told("0-4", ""));
    }
}
