//! What notes the changes of moving rows on the shard that gives them: a trigger on each table that appends the primary keys
//! of changed rows, old and new, to a table of the move's own.
//!
//! Append only, so that writers do not wait for each other there. The trigger sees what every writer does, also one whose
//! snapshot is older than it: making it waits for those who write.

use super::super::session_state::quoted;
use super::table::MovedTable;
use crate::topology::SlotSet;

/// How a move's triggers are called: what notes, and what refuses TRUNCATE. Another move of the shard's has its own.
fn triggers(id: i64) -> (String, String) {
    (format!("shardd_capture_{id}"), format!("shardd_no_truncate_{id}"))
}

/// The table of the keys of a table's changed rows.
pub(super) fn dirty_table(id: i64, table: &MovedTable) -> String {
    format!("shardd.moved_{id}_{}", table.tag)
}

fn function(id: i64, table: &MovedTable) -> String {
    format!("shardd.capture_{id}_{}", table.tag)
}

/// Statements for one transaction, repeatable. They wait for writers of the table, whom others then wait for: to be run with a
/// short `lock_timeout`. The functions run as their owner, so that whoever may write the table needs no right of shardd's.
pub(super) fn install(id: i64, table: &MovedTable, slots: &SlotSet) -> String {
    let (name, dirty, function) = (table.sql_name(), dirty_table(id, table), function(id, table));
    let (noting, refusing) = triggers(id);
    let (old, new) = (table.key("OLD"), table.key("NEW"));
    let (old_moves, new_moves) = (table.in_slots("OLD", slots), table.in_slots("NEW", slots));
    let body = format!(
        "BEGIN \
         IF {old_moves} THEN INSERT INTO {dirty} VALUES ({old}); END IF; \
         IF {new_moves} AND (ROW({new}) IS DISTINCT FROM ROW({old}) OR ({old_moves}) IS NOT TRUE) THEN INSERT INTO {dirty} VALUES ({new}); \
         END IF; RETURN NULL; END"
    );
    let refuse = format!(
        "BEGIN RAISE object_in_use USING MESSAGE = {}, HINT = {}; END",
        quoted(&format!(
            "table \"{}\" cannot be truncated while its rows are moved to another shard",
            table.table.name
        )),
        quoted("Use DELETE, or wait until the move has ended: `shardctl moves` shows it."),
    );
    format!(
        "CREATE TABLE IF NOT EXISTS {dirty} AS SELECT {key} FROM {name} WITH NO DATA; \
         CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER \
           SET search_path = pg_catalog, pg_temp AS {body}; \
         CREATE OR REPLACE FUNCTION {function}_truncate() RETURNS trigger LANGUAGE plpgsql AS {refuse}; \
         CREATE TRIGGER {noting} AFTER INSERT OR UPDATE OR DELETE ON {name} FOR EACH ROW EXECUTE FUNCTION {function}(); \
         CREATE TRIGGER {refusing} BEFORE TRUNCATE ON {name} FOR EACH STATEMENT EXECUTE FUNCTION {function}_truncate(); \
         ALTER TABLE {name} ENABLE ALWAYS TRIGGER {noting}, ENABLE ALWAYS TRIGGER {refusing}",
        key = table.key(""),
        body = quoted(&body),
        refuse = quoted(&refuse),
    )
}

/// One row where it is there and always fires.
pub(super) fn is_installed(id: i64, table: &MovedTable) -> String {
    format!(
        "SELECT 1 FROM pg_trigger WHERE tgrelid = {}::regclass AND tgname = '{}' AND tgenabled = 'A'",
        quoted(&table.sql_name()),
        triggers(id).0
    )
}

/// Statements for one transaction, repeatable: a table's triggers go. They wait as those of [`install`] do.
pub(super) fn remove_triggers(id: i64, table: &MovedTable) -> String {
    let (name, (noting, refusing)) = (table.sql_name(), triggers(id));
    format!("DROP TRIGGER IF EXISTS {noting} ON {name}; DROP TRIGGER IF EXISTS {refusing} ON {name}")
}

/// All that a move's capture has made beside triggers, also for tables that are gone: what to drop, one text a row.
pub(super) fn leftovers(id: i64) -> String {
    format!(
        "SELECT format('DROP TABLE shardd.%I', c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
           WHERE n.nspname = 'shardd' AND c.relkind = 'r' AND starts_with(c.relname, 'moved_{id}_') \
         UNION ALL SELECT format('DROP FUNCTION shardd.%I() CASCADE', p.proname) \
           FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace \
           WHERE n.nspname = 'shardd' AND starts_with(p.proname, 'capture_{id}_')"
    )
}
