//! The guard of a sharded table on a Postgres shard: a trigger that refuses rows of slots which the shard does not own.
//!
//! What a shard may hold is decided on the shard itself, so that neither a stale map nor a client that goes round the proxy can
//! put a row where nobody looks for it. The slots are a constant in the body of the trigger's function: read from a table they would be
//! those of the writer's snapshot, which may be older than a fence. Redefined while the table is locked, the function binds
//! every later write.
//!
//! Pure: text of SQL. All names in it are qualified, whatever the search path of who writes is; a SET clause would do the same
//! at a cost for each row.
//!
//! <https://www.postgresql.org/docs/current/plpgsql-trigger.html>

use xxhash_rust::xxh3::xxh3_64;

use super::session_state::quoted;
use crate::sql::quote_identifier;
use crate::topology::SlotSet;
use crate::topology::hash::SLOT_HASH_SEED;
use crate::types::KeyType;

/// The trigger's name, on every table.
pub const TRIGGER: &str = "shardd_guard";

/// How the message of a refusal begins. Its SQLSTATE is 40001.
pub const REFUSAL: &str = "shardd: this row belongs to another shard";

/// The setting whose value lets a session through, where it is one of the tokens of [`TOKENS`].
pub const MOVER_SETTING: &str = "shardd.mover";

/// Makes the schema, and the table of the tokens that let a session through.
pub const TOKENS: &str = "CREATE SCHEMA IF NOT EXISTS shardd; \
     CREATE TABLE IF NOT EXISTS shardd.mover (keyspace pg_catalog.text NOT NULL, move pg_catalog.text PRIMARY KEY, \
     token pg_catalog.text NOT NULL)";

/// More ranges than this are looked up in a bitmap.
const RANGES_COMPARED: usize = 4;

/// A sharded table of one Postgres shard, as its guard needs it. Names are as the catalog has them, without quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guarded<'a> {
    pub schema: &'a str,
    pub table: &'a str,
    pub key_column: &'a str,
    pub key_type: KeyType,
}

/// The definition of the guard's function: the rows that it lets through are those of the slots that the shard owns. One
/// statement. To bind writers that have begun, it has to run while the table's EXCLUSIVE lock is held.
pub fn define(table: &Guarded<'_>, owned: &SlotSet) -> String {
    format!(
        "CREATE OR REPLACE FUNCTION {}() RETURNS trigger LANGUAGE plpgsql AS {}",
        function_of(table.schema, table.table),
        quoted(&body(table, owned))
    )
}

/// The same, and the trigger, whatever there was: statements to run in one transaction. The schema `shardd` has to be there.
pub fn install(table: &Guarded<'_>, owned: &SlotSet) -> String {
    let define = define(table, owned);
    let function = function_of(table.schema, table.table);
    let table = format!("{}.{}", quote_identifier(table.schema), quote_identifier(table.table));
    format!(
        "{define}; DROP TRIGGER IF EXISTS {TRIGGER} ON {table}; \
         CREATE TRIGGER {TRIGGER} AFTER INSERT OR UPDATE OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION {function}(); \
         ALTER TABLE {table} ENABLE ALWAYS TRIGGER {TRIGGER}"
    )
}

/// The guard's function of a table, as SQL names it: also of a table whose name is too long for two of them.
pub fn function_of(schema: &str, table: &str) -> String {
    const NAME_BYTES: usize = 40;
    let hash = xxh3_64(format!("{schema}\0{table}").as_bytes());
    let mut shown = table;
    while shown.len() > NAME_BYTES {
        let last = shown.chars().next_back().map_or(1, char::len_utf8);
        shown = &shown[..shown.len() - last];
    }
    format!("shardd.{}", quote_identifier(&format!("guard_{shown}_{hash:016x}")))
}

/// The body of the guard's function, as `pg_proc.prosrc` has it.
///
/// One expression decides on a row that is let through, for each costs about as much as the whole decision. OLD is NULL for
/// INSERT, as NEW is for DELETE. A row without a key is nobody's: it may be deleted or given a key, and none may be made.
pub fn body(table: &Guarded<'_>, owned: &SlotSet) -> String {
    let column = quote_identifier(table.key_column);
    let slot = |row: &str| slot_expression(&format!("{row}.{column}"), table.key_type);
    let owns = |row: &str| format!("pg_catalog.get_bit({}, {})", bitmap(owned), slot(row));
    format!(
        "BEGIN\n\
         IF ({new} OPERATOR(pg_catalog.=) 1 OR TG_OP OPERATOR(pg_catalog.=) 'DELETE')\n\
         AND COALESCE({old}, 1) OPERATOR(pg_catalog.=) 1 THEN RETURN NULL; END IF;\n\
         IF pg_catalog.current_setting('{MOVER_SETTING}', true) OPERATOR(pg_catalog.<>) '' THEN\n\
         IF EXISTS (SELECT FROM shardd.mover it WHERE it.token OPERATOR(pg_catalog.=) pg_catalog.current_setting('{MOVER_SETTING}'))\n\
         THEN RETURN NULL; END IF;\n\
         END IF;\n\
         IF NEW.{column} IS NULL AND TG_OP OPERATOR(pg_catalog.<>) 'DELETE' THEN\n\
         RAISE not_null_violation USING MESSAGE = 'shardd: this row has no key, and so belongs to no shard',\n\
         SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME, COLUMN = {column_text};\n\
         END IF;\n\
         RAISE serialization_failure USING MESSAGE = '{REFUSAL}',\n\
         DETAIL = pg_catalog.concat('The slot of its key is ', {new_slot}, CASE WHEN {new_slot} OPERATOR(pg_catalog.<>) {old_slot} \
         THEN ' and was ' END, NULLIF({old_slot}, {new_slot}), '.'),\n\
         HINT = 'The rows of the slot may just have been moved: run the whole transaction again, through shardd.',\n\
         SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME;\n\
         END",
        new = owns("NEW"),
        old = owns("OLD"),
        new_slot = slot("NEW"),
        old_slot = slot("OLD"),
        column_text = quoted(table.key_column),
    )
}

/// An expression of type integer: the slot of a key column, NULL where that is NULL. `column` is quoted, and qualified where
/// it has to be.
pub fn slot_expression(column: &str, key_type: KeyType) -> String {
    let hash = match key_type {
        KeyType::Bigint => format!("pg_catalog.hashint8extended({column}::pg_catalog.int8, {SLOT_HASH_SEED})"),
        KeyType::Text => {
            format!("pg_catalog.hashtextextended({column}::pg_catalog.text COLLATE pg_catalog.\"C\", {SLOT_HASH_SEED})")
        }
        KeyType::Uuid => format!("pg_catalog.uuid_hash_extended({column}::pg_catalog.uuid, {SLOT_HASH_SEED})"),
    };
    format!("(({hash} OPERATOR(pg_catalog.>>) 50) OPERATOR(pg_catalog.&) 16383)::pg_catalog.int4")
}

/// A condition that is true for rows of these slots, for WHERE; not for rows without a key. `column` is as for
/// [`slot_expression`].
pub fn in_slots(column: &str, key_type: KeyType, slots: &SlotSet) -> String {
    let slot = slot_expression(column, key_type);
    let compare = |(first, last): &(u16, u16)| match first == last {
        true => format!("{slot} OPERATOR(pg_catalog.=) {first}"),
        false => format!("({slot} OPERATOR(pg_catalog.>=) {first} AND {slot} OPERATOR(pg_catalog.<=) {last})"),
    };
    let ranges = slots.ranges();
    match ranges.len() {
        0 => "false".to_owned(),
        1..=RANGES_COMPARED => format!("({})", ranges.iter().map(compare).collect::<Vec<_>>().join(" OR ")),
        _ => format!("(pg_catalog.get_bit({}, {slot}) OPERATOR(pg_catalog.=) 1)", bitmap(slots)),
    }
}

/// A constant, however backslashes are read.
fn bitmap(slots: &SlotSet) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(4_200);
    text.push_str("E'\\\\x");
    for byte in slots.to_bytes() {
        let _ = write!(text, "{byte:02x}");
    }
    text.push_str("'::pg_catalog.bytea");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seats() -> Guarded<'static> {
        Guarded { schema: "public", table: "seats", key_column: "event_id", key_type: KeyType::Bigint }
    }

    fn slots(text: &str) -> SlotSet {
        text.parse().unwrap()
    }

    #[test]
    fn every_table_has_a_function_of_its_own_whose_name_is_short_enough() {
        let long = "é".repeat(31);
        let long = long.as_str();
        let names =
            [("public", "seats"), ("a_b", "c"), ("a", "b_c"), ("public", long), ("other", long), ("public", "x\"y")];
        let functions: std::collections::BTreeSet<String> =
            names.iter().map(|(schema, table)| function_of(schema, table)).collect();
        assert_eq!(functions.len(), names.len());
        for function in &functions {
            let name = function.strip_prefix("shardd.").unwrap().trim_matches('"').replace("\"\"", "\"");
            assert!(name.len() <= 63, "{function}");
        }
        assert!(function_of("public", "seats").starts_with("shardd.guard_seats_"), "{functions:?}");
    }

    #[test]
    fn the_guard_is_defined_before_its_trigger_is_made_and_always_fires() {
        let text = install(&seats(), &slots("0-99"));
        let places =
            ["CREATE OR REPLACE FUNCTION", "DROP TRIGGER IF EXISTS", "CREATE TRIGGER", "ENABLE ALWAYS TRIGGER"];
        let places: Vec<usize> = places.iter().map(|part| text.find(part).unwrap()).collect();
        assert!(places.is_sorted(), "{places:?}");
        assert!(text.starts_with(&define(&seats(), &slots("0-99"))));
        assert!(!define(&seats(), &slots("0-99")).contains("TRIGGER shardd_guard"));
    }

    #[test]
    fn the_slots_are_a_constant_of_the_body() {
        let all = body(&seats(), &slots("0-16383"));
        assert!(all.contains(&format!("E'\\\\x{}'::pg_catalog.bytea", "ff".repeat(2_048))), "{all}");
        let first = body(&seats(), &slots("0"));
        assert!(first.contains(&format!("E'\\\\x01{}'::pg_catalog.bytea", "00".repeat(2_047))), "{first}");
    }

    #[test]
    fn names_that_would_end_a_text_do_not() {
        let strange = Guarded { schema: "public", table: "a'b\"c", key_column: "k'\\\"", key_type: KeyType::Text };
        let body = body(&strange, &slots("1"));
        assert!(body.contains("NEW.\"k'\\\"\"\"") && body.contains("COLUMN = E'k\\'\\\\\"'"), "{body}");
        let text = install(&strange, &slots("1"));
        assert!(text.contains("ON public.\"a'b\"\"c\" FOR EACH ROW"), "{text}");
    }

    #[test]
    fn few_ranges_are_compared_and_many_looked_up() {
        let of = |text| in_slots("t.id", KeyType::Uuid, &slots(text));
        let slot = slot_expression("t.id", KeyType::Uuid);
        assert_eq!(in_slots("t.id", KeyType::Uuid, &SlotSet::default()), "false");
        assert_eq!(of("7"), format!("({slot} OPERATOR(pg_catalog.=) 7)"));
        let range = format!("({slot} OPERATOR(pg_catalog.>=) 0 AND {slot} OPERATOR(pg_catalog.<=) 3)");
        assert_eq!(of("0-3,9"), format!("({range} OR {slot} OPERATOR(pg_catalog.=) 9)"));
        assert!(of("0,2,4,6,8").starts_with("(pg_catalog.get_bit(E'\\\\x5501"), "{}", of("0,2,4,6,8"));
    }
}
