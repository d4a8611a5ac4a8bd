//! The guard of a shard's file: triggers that refuse rows of slots which the shard does not own.
//!
//! Which slots those are says the table `shardd_guard`, by keyspace. The triggers call functions that only shardd's own
//! connections have, so that no other program writes to the tables. What the functions go by is the table as it was last
//! committed: there is one writer, and the thread that commits a change of the table reads it before it does anything else. A
//! transaction that changes the slots has its own rows judged by those of before.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rusqlite::Connection;
use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::ValueRef;

use crate::error::{Error, Result, Retry, SqlState};
use crate::shard::sqlite::functions;
use crate::topology::{SlotSet, Table};
use crate::types::{SLOTS, Slot};

/// Where the slots are kept: a bit for each, as [`SlotSet::to_bytes`] has them.
pub(super) const TABLE: &str =
    "CREATE TABLE IF NOT EXISTS shardd_guard (keyspace TEXT PRIMARY KEY, slots BLOB NOT NULL) STRICT, WITHOUT ROWID";

/// The message of a refusal. Its SQLSTATE is 40001.
const REFUSAL: &str = "shardd: this row belongs to another shard";

/// What a file holds of its guard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredGuard {
    /// By keyspace. One whose slots cannot be read is left out.
    pub slots: BTreeMap<String, SlotSet>,
    /// The triggers' definitions, by name.
    pub triggers: BTreeMap<String, String>,
}

/// The slots as they were last committed, by keyspace.
#[derive(Debug, Default)]
pub(super) struct Guards(ArcSwap<BTreeMap<String, SlotSet>>);

impl Guards {
    /// Makes `shardd_guard('keyspace', new key)` and `shardd_guard_old('keyspace', old key)` known to a connection that writes.
    /// The one refuses NULL; the other lets it through, so that a row without a key can be deleted or given one.
    pub(super) fn register(self: &Arc<Guards>, connection: &Connection) -> rusqlite::Result<()> {
        let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_INNOCUOUS;
        for (name, keyless) in [("shardd_guard", false), ("shardd_guard_old", true)] {
            let guards = Arc::clone(self);
            connection.create_scalar_function(name, 2, flags, move |context| {
                guards.judge(context, keyless).map(|()| true).map_err(|error| functions::raise(&error))
            })?;
        }
        Ok(())
    }

    fn judge(&self, context: &Context<'_>, keyless: bool) -> Result<()> {
        let key = context.get_raw(1);
        if key == ValueRef::Null {
            let none =
                || Error::new(SqlState::NOT_NULL_VIOLATION, "shardd: this row has no key, and so belongs to no shard");
            return if keyless { Ok(()) } else { Err(none()) };
        }
        let slot = functions::slot_of_cell(key)?;
        let slots = self.0.load();
        let keyspace = context.get_raw(0).as_str().unwrap_or_default();
        match slots.get(keyspace).is_some_and(|owned| owned.contains(slot)) {
            true => Ok(()),
            false => Err(refusal(slot)),
        }
    }

    /// Reads what is committed. Where it cannot be read, no row is let through.
    pub(super) fn reload(&self, connection: &Connection) -> rusqlite::Result<()> {
        let read = read_slots(connection);
        self.0.store(Arc::new(read.as_ref().cloned().unwrap_or_default()));
        read.map(|_| ())
    }
}

fn refusal(slot: Slot) -> Error {
    Error::new(SqlState::SERIALIZATION_FAILURE, REFUSAL)
        .detail(format!("The slot of its key is {slot}."))
        .hint("The rows of the slot may just have been moved: run the whole transaction again.")
        .retry(Retry::Safe)
}

fn read_slots(connection: &Connection) -> rusqlite::Result<BTreeMap<String, SlotSet>> {
    let mut statement = connection.prepare_cached("SELECT keyspace, slots FROM shardd_guard")?;
    let mut rows = statement.query([])?;
    let mut slots = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let bytes = row.get_ref(1)?.as_blob()?;
        if bytes.len() == usize::from(SLOTS) / 8 {
            let owned = |slot: &Slot| bytes[usize::from(slot.number()) / 8] >> (slot.number() % 8) & 1 == 1;
            slots.insert(row.get(0)?, Slot::all().filter(owned).collect());
        }
    }
    Ok(slots)
}

pub(super) fn read(connection: &Connection) -> rusqlite::Result<StoredGuard> {
    let sql =
        "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' AND name LIKE 'shardd\\_guard\\_%' ESCAPE '\\'";
    let mut statement = connection.prepare_cached(sql)?;
    let triggers = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<rusqlite::Result<_>>()?;
    Ok(StoredGuard { slots: read_slots(connection)?, triggers })
}

/// The statement that stores which slots of a keyspace the shard owns.
pub fn store_slots_statement(keyspace: &str, owned: &SlotSet) -> String {
    let digits: String = owned.to_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    format!(
        "INSERT INTO shardd_guard (keyspace, slots) VALUES ({}, x'{digits}') \
         ON CONFLICT DO UPDATE SET slots = excluded.slots",
        super::schema::quoted(keyspace)
    )
}

/// A table's triggers, by name: none for a reference table.
pub fn guard_triggers(table: &Table) -> BTreeMap<String, String> {
    let Some(key) = table.key_column() else { return BTreeMap::new() };
    let (name, key) = (identifier(&table.name), identifier(&table.columns[key].name));
    let keyspace = super::schema::quoted(&table.keyspace);
    let new = format!("shardd_guard({keyspace}, NEW.{key})");
    let old = format!("shardd_guard_old({keyspace}, OLD.{key})");
    let trigger = |event: &str, judged: String| {
        let own = trigger_name(&table.name, event);
        let text = format!("CREATE TRIGGER {} AFTER {event} ON {name} BEGIN SELECT {judged}; END", identifier(&own));
        (own, text)
    };
    [trigger("INSERT", new.clone()), trigger("UPDATE", format!("{old}, {new}")), trigger("DELETE", old)].into()
}

/// What takes the triggers of a table's name away, whether they are there or not.
pub fn drop_guard_statements(table: &str) -> Vec<String> {
    let events = ["INSERT", "UPDATE", "DELETE"];
    events.map(|event| format!("DROP TRIGGER IF EXISTS {}", identifier(&trigger_name(table, event)))).into()
}

fn trigger_name(table: &str, event: &str) -> String {
    format!("shardd_guard_{table}_{}", event.to_ascii_lowercase())
}

fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
