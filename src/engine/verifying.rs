//! Whether every shard holds what it should: sharded tables with their guards, and rows of the shard's own slots only.

use std::sync::Arc;

use super::Engine;
use super::guards::{self, Claims, Mended};
use super::merge::{column_slices, decode};
use super::shards::{plain_call, plain_program};
use super::side_by_side::side_by_side;
use crate::error::{Error, Result, SqlState};
use crate::shard::postgres::schema::{GuardState, ShardSchema};
use crate::shard::postgres::{PostgresShard, guard};
use crate::shard::sqlite::{Effect, SqliteShard};
use crate::shard::{CancelFlag, Shard, ShardKind};
use crate::sql::quote_identifier;
use crate::topology::{Schema, SlotSet, Table, TableKind, Topology};
use crate::types::{Datum, Format, KeyType, PgType, ShardId, Slot, TextStyle};

/// How many keys of rows that lie where they should not are shown.
const KEYS_SHOWN: usize = 5;
/// How often guards are looked at while moves alter them.
const GUARD_TRIES: usize = 3;
/// Shards whose rows are looked at at the same time.
const SHARDS_AT_ONCE: usize = 8;

/// What to look at, and whether to put right what can be.
#[derive(Clone, Debug, Default)]
pub struct Verify {
    /// All sharded tables, where none is named.
    pub table: Option<String>,
    /// Missing and altered guards are put right. Rows are never touched.
    pub repair: bool,
}

/// What was looked at, and what is wrong.
#[derive(Clone, Debug, Default)]
pub struct Verified {
    pub tables: usize,
    pub shards: usize,
    pub rows: u64,
    pub flaws: Vec<Flaw>,
}

/// One thing that is wrong.
#[derive(Clone, Debug)]
pub struct Flaw {
    pub shard: ShardId,
    /// `None`: the shard as a whole.
    pub table: Option<String>,
    pub kind: FlawKind,
    /// It was put right.
    pub repaired: bool,
}

#[derive(Clone, Debug)]
pub enum FlawKind {
    /// The shard, or the table on it, cannot be looked at.
    NotVerified(Error),
    GuardMissing,
    GuardDisabled,
    GuardAltered,
    /// A reference table has one.
    GuardSuperfluous,
    /// The guards and the topology do not agree on these slots, and more than one guard claims them.
    GuardsContested(SlotSet),
    /// The guard could not be put right.
    NotRepaired(Error),
    /// So many rows are of slots that the shard does not own. Some of their keys.
    RowsOutside(u64, Vec<String>),
    /// So many rows have no key.
    RowsWithoutKey(u64),
}

/// A table's rows on one shard.
struct Counted {
    rows: u64,
    keyless: u64,
    outside: u64,
    keys: Vec<String>,
}

/// A table to look at.
struct Subject<'t> {
    table: &'t Table,
    key_column: &'t str,
    key_type: KeyType,
    /// What may lie on the shard.
    slots: SlotSet,
}

impl Engine {
    /// Looks at the guards and the rows of all sharded tables on all shards. `cancel` ends it.
    ///
    /// # Errors
    /// 42P01: there is no such table; 55P03: another session is changing the schema; it was canceled.
    pub async fn verify(&self, asked: &Verify, cancel: &CancelFlag) -> Result<Verified> {
        if let Some(name) = &asked.table
            && self.live.snapshot().schema.table(name).is_none()
        {
            let message = format!("relation \"{name}\" does not exist");
            return Err(Error::new(SqlState::UNDEFINED_TABLE, message).hint("`shardctl tables` lists the tables."));
        }
        let concerns = |table: &str| asked.table.as_deref().is_none_or(|asked| asked == table);
        let mut verified = Verified::default();
        let not_verified =
            |shard, error| Flaw { shard, table: None, kind: FlawKind::NotVerified(error), repaired: false };
        verified.flaws.extend(self.down().into_iter().map(|(id, ..)| not_verified(id, self.not_open(id))));
        let flaws = match self.kind {
            ShardKind::Postgres => self.verify_guards(asked.repair).await?,
            ShardKind::Sqlite => self.verify_file_guards(asked.repair).await?,
        };
        verified.flaws.extend(flaws.into_iter().filter(|flaw| flaw.table.as_deref().is_none_or(concerns)));

        let topology = self.live.snapshot();
        let tables: Vec<&Arc<Table>> = topology.schema.tables.values().filter(|table| concerns(&table.name)).collect();
        verified.tables = tables.iter().filter(|table| table.key_column().is_some()).count();
        let open: Vec<Arc<Shard>> = self.shards.load().open.values().map(|open| Arc::clone(&open.shard)).collect();
        verified.shards = open.len();
        for some in open.chunks(SHARDS_AT_ONCE) {
            let work = some.iter().map(|shard| self.count_on(shard, &tables, cancel));
            for (rows, flaws) in side_by_side(work).await {
                verified.rows += rows;
                verified.flaws.extend(flaws);
            }
            if let Some(canceled) = cancel.error() {
                return Err(canceled);
            }
        }
        verified.flaws.sort_by(|a, b| (&a.table, a.shard).cmp(&(&b.table, b.shard)));
        Ok(verified)
    }

    async fn verify_file_guards(&self, repair: bool) -> Result<Vec<Flaw>> {
        let _schema_lock = match repair {
            true => Some(self.lock_schema().await?),
            false => None,
        };
        let topology = self.live.snapshot();
        let mended = self.mend_file_guards(None, repair, &topology.schema, &topology).await;
        if repair && !mended.is_empty() {
            // The files' schemas have changed, for who looks at them by what they were.
            self.adopt_schema(Arc::new(Schema::clone(&topology.schema)))?;
        }
        Ok(mended.into_iter().flat_map(|mended| flaws_of(mended, repair)).collect())
    }

    async fn verify_guards(&self, repair: bool) -> Result<Vec<Flaw>> {
        let _schema_lock = match repair {
            true => Some(self.lock_schema().await?),
            false => None,
        };
        for tries_left in (0..GUARD_TRIES).rev() {
            let before = self.live.snapshot();
            let (read, failed) = self.read_schemas(None, &before.keyspaces).await?;
            let not_verified =
                |(shard, error)| Flaw { shard, table: None, kind: FlawKind::NotVerified(error), repaired: false };
            let mut flaws: Vec<Flaw> = failed.into_iter().map(not_verified).collect();
            if repair {
                let mended = self.mend_guards(&read, None, &before).await;
                flaws.extend(mended.into_iter().flat_map(|mended| flaws_of(mended, true)));
                return Ok(flaws);
            }
            let claims = self.claims(&read, None, &before).await;
            let after = self.live.snapshot();
            flaws.extend(read.iter().flat_map(|(id, found)| flaws_found(*id, found, &claims, (&before, &after))));
            let moving = before.is_moving() || after.is_moving() || before.epoch != after.epoch;
            if flaws.is_empty() || !moving || tries_left == 0 {
                return Ok(flaws);
            }
        }
        Ok(Vec::new())
    }

    /// How many rows there are, and what is wrong with some.
    async fn count_on(&self, shard: &Arc<Shard>, tables: &[&Arc<Table>], cancel: &CancelFlag) -> (u64, Vec<Flaw>) {
        let (mut rows, mut flaws) = (0, Vec::new());
        let id = shard.id();
        for table in tables {
            let Some(counted) = self.count_rows(shard, table, cancel).await else { continue };
            let mut add = |kind| flaws.push(Flaw { shard: id, table: Some(table.name.clone()), kind, repaired: false });
            match counted {
                Err(error) => add(FlawKind::NotVerified(error)),
                Ok(counted) => {
                    rows += counted.rows;
                    if counted.outside > 0 {
                        add(FlawKind::RowsOutside(counted.outside, counted.keys));
                    }
                    if counted.keyless > 0 {
                        add(FlawKind::RowsWithoutKey(counted.keyless));
                    }
                }
            }
            if cancel.is_raised() {
                break;
            }
        }
        (rows, flaws)
    }

    /// `None`: the shard holds none of its rows.
    async fn count_rows(&self, shard: &Shard, table: &Table, cancel: &CancelFlag) -> Option<Result<Counted>> {
        let TableKind::Sharded { key_column, key_type } = table.kind else { return None };
        let key_column = &table.columns[key_column].name;
        let may_lie_there = || may_lie_on(&self.live.snapshot(), &table.keyspace, shard.id());
        let mut slots = may_lie_there()?;
        loop {
            let subject = Subject { table, key_column, key_type, slots };
            let counted = match shard {
                Shard::Postgres(shard) => count_on_server(shard, &subject, cancel).await,
                Shard::Sqlite(shard) => count_in_file(shard, &subject, cancel).await,
            };
            // Rows that have moved meanwhile may lie where a later topology wants them. The slots only get more.
            let also = subject.slots.union(&may_lie_there().unwrap_or_default());
            if also == subject.slots || !matches!(&counted, Ok(counted) if counted.outside > 0) {
                return Some(counted);
            }
            slots = also;
        }
    }
}

fn guard_flaw(state: GuardState) -> Option<FlawKind> {
    match state {
        GuardState::Right => None,
        GuardState::Missing => Some(FlawKind::GuardMissing),
        GuardState::Resting => Some(FlawKind::GuardDisabled),
        GuardState::Other => Some(FlawKind::GuardAltered),
        GuardState::Superfluous => Some(FlawKind::GuardSuperfluous),
    }
}

/// `between`: the topologies of before and after the guards were read.
fn flaws_found(
    shard: ShardId,
    found: &ShardSchema,
    claims: &Claims,
    between: (&Topology, &Topology),
) -> impl Iterator<Item = Flaw> {
    found.tables.iter().filter_map(move |(name, table)| {
        let open = guards::open_between(between.0, between.1, &table.table.keyspace, shard);
        let kind = guard_flaw(claims.state(table, shard, between.1, &open))?;
        Some(Flaw { shard, table: Some(name.clone()), kind, repaired: false })
    })
}

/// What was wrong with one guard, whether that was put right, and why not.
fn flaws_of(mended: Mended, repair: bool) -> Vec<Flaw> {
    let Mended { shard, table, state, contested, outcome } = mended;
    let flaw = |kind, repaired| Flaw { shard, table: table.clone(), kind, repaired };
    let agreed = contested.is_empty();
    let mut flaws: Vec<Flaw> =
        guard_flaw(state).map(|kind| flaw(kind, repair && outcome.is_ok() && agreed)).into_iter().collect();
    if !agreed {
        flaws.push(flaw(FlawKind::GuardsContested(contested), false));
    }
    if let Err(error) = outcome {
        flaws.push(flaw(FlawKind::NotRepaired(error), false));
    }
    flaws
}

/// The shard's own slots, and those of rows that a move has brought, or has still to take away. `None`: it is none of the
/// keyspace's shards.
fn may_lie_on(topology: &Topology, keyspace: &str, shard: ShardId) -> Option<SlotSet> {
    let keyspace = topology.keyspace(keyspace).filter(|keyspace| keyspace.shards.contains(&shard))?;
    Some(keyspace.slots_of(shard).union(&guards::unsettled(keyspace)))
}

async fn count_on_server(shard: &PostgresShard, subject: &Subject<'_>, cancel: &CancelFlag) -> Result<Counted> {
    let (table, key) = (quote_identifier(&subject.table.name), quote_identifier(subject.key_column));
    let own = guard::in_slots(&key, subject.key_type, &subject.slots);
    // Where a policy would hide rows from shardd's role, it fails.
    let all = "SET LOCAL row_security = off";
    let text = format!(
        "{all}; SELECT pg_catalog.count(*), pg_catalog.count(*) FILTER (WHERE {key} IS NULL), \
         pg_catalog.count(*) FILTER (WHERE {key} IS NOT NULL AND NOT {own}) FROM public.{table}"
    );
    let rows = shard.rows_with(&text, &Arc::default(), None, cancel).await?;
    let numbers = crate::shard::postgres::numbers_of(&rows);
    let Some([rows, keyless, outside]) = numbers.and_then(|numbers| <[i64; 3]>::try_from(numbers).ok()) else {
        return Err(Error::internal("a server's answer about rows is none"));
    };
    let mut keys = Vec::new();
    if outside > 0 {
        let text = format!(
            "{all}; SELECT {key}::pg_catalog.text FROM public.{table} WHERE {key} IS NOT NULL AND NOT {own} \
             LIMIT {KEYS_SHOWN}"
        );
        let rows = shard.rows_with(&text, &Arc::default(), None, cancel).await?;
        keys = rows.into_iter().filter_map(|mut row| row.pop().flatten()).collect();
        keys.sort();
        keys.dedup();
    }
    let count = |number: i64| u64::try_from(number).unwrap_or(0);
    Ok(Counted { rows: count(rows), keyless: count(keyless), outside: count(outside), keys })
}

/// By slot, since the slots that may lie there are many to write down.
async fn count_in_file(shard: &SqliteShard, subject: &Subject<'_>, cancel: &CancelFlag) -> Result<Counted> {
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let (table, key) = (quoted(&subject.table.name), quoted(subject.key_column));
    let example = match subject.key_type {
        KeyType::Bigint => format!("CAST(min({key}) AS TEXT)"),
        KeyType::Text => format!("min({key})"),
        KeyType::Uuid => format!("pg_uuid_text(min({key}))"),
    };
    let text = format!("SELECT pg_slot({key}), count(*), {example} FROM {table} GROUP BY 1");
    let columns = [("slot", PgType::Int8), ("rows", PgType::Int8), ("key", PgType::Text)];
    let program = Arc::new(plain_program(text, &columns, Effect::Read));
    let program = Arc::new(crate::shard::sqlite::Program { parameters: Vec::new(), ..(*program).clone() });
    let mut call = plain_call(&program, Vec::new());
    call.cancel = cancel.clone();
    let mut rows = shard.read(call).await?;
    let mut counted = Counted { rows: 0, keyless: 0, outside: 0, keys: Vec::new() };
    while let Some(batch) = rows.next().await? {
        for frame in batch.row_frames() {
            let cells = column_slices(frame)?.into_iter().zip(&program.columns);
            let values = cells.map(|(cell, column)| decode(cell, column, Format::Binary, &TextStyle::default()));
            let values: Vec<Datum> = values.collect::<Result<_>>()?;
            let [slot, Datum::Int8(count), key] = &values[..] else {
                return Err(Error::internal("a file's answer about rows is none"));
            };
            let count = u64::try_from(*count).unwrap_or(0);
            counted.rows += count;
            match slot {
                Datum::Int8(slot) => {
                    let slot = u16::try_from(*slot).ok().and_then(Slot::new);
                    if slot.is_none_or(|slot| !subject.slots.contains(slot)) {
                        counted.outside += count;
                        if let (Datum::Text(key), true) = (key, counted.keys.len() < KEYS_SHOWN) {
                            counted.keys.push(key.to_string());
                        }
                    }
                }
                _ => counted.keyless += count,
            }
        }
    }
    Ok(counted)
}
