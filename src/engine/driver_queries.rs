//! What drivers ask the catalog about types, in words that SQLite shards can answer.
//!
//! asyncpg asks for every array type that it meets, by a recursive query over `pg_type`, with `jit` turned off around it.
//! All types here are built in, so the answer needs no catalog: the question is recognised by its text and replaced by a
//! SELECT over a list of the types, with the same parameters and columns.

use std::borrow::Cow;
use std::fmt::Write;
use std::sync::OnceLock;

use crate::types::PgType;

/// The statement to prepare in place of this one.
pub(super) fn answerable(text: &str) -> Cow<'_, str> {
    if text.contains("typeinfo_tree(") && text.contains("pg_catalog.pg_type AS t") && text.contains("any($1::oid[])") {
        static TYPES: OnceLock<String> = OnceLock::new();
        return Cow::Borrowed(TYPES.get_or_init(types_by_oid));
    }
    if text.contains("set_config('jit'") && text.contains("current_setting('jit')") {
        // Shards have no jit: it is off before and after.
        return Cow::Borrowed("SELECT 'off'::text AS cur, 'off'::text AS new");
    }
    Cow::Borrowed(text)
}

/// The types asked for, after the element types of those that are arrays.
fn types_by_oid() -> String {
    let mut rows = String::new();
    for data_type in PgType::ALL {
        let element = data_type.element();
        let separator = if rows.is_empty() { "" } else { ", " };
        let (delimiter, name) = match element {
            Some(element) => ("','", format!("'{}'", element.sql_name())),
            None => ("NULL", "NULL".to_owned()),
        };
        // Writing to a String does not fail.
        let _ = write!(
            rows,
            "{separator}({}::oid, '{}'::name, {}::oid, {delimiter}::\"char\", {name}::text)",
            data_type.oid(),
            data_type.name(),
            element.map_or(0, PgType::oid),
        );
    }
    let columns = "t.oid, 'pg_catalog'::name AS ns, t.name, 'b'::\"char\" AS kind, NULL::oid AS basetype, t.elemtype, \
                   t.elemdelim, NULL::oid AS range_subtype, NULL::oid[] AS attrtypoids, NULL::text[] AS attrnames";
    let names = "NULL::text AS basetype_name, t.elemtype_name, NULL::text AS range_subtype_name";
    let shape = "AS t(oid, name, elemtype, elemdelim, elemtype_name)";
    format!(
        "SELECT {columns}, 1 AS depth, {names} FROM (VALUES {rows}) {shape} WHERE t.oid IN (SELECT a.elemtype FROM \
         (VALUES {rows}) AS a(oid, name, elemtype, elemdelim, elemtype_name) WHERE a.oid = ANY($1::oid[])) \
         UNION ALL SELECT {columns}, 0 AS depth, {names} FROM (VALUES {rows}) {shape} WHERE t.oid = ANY($1::oid[]) \
         ORDER BY depth DESC"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_drivers_own_questions_are_replaced() {
        let own = "SELECT * FROM t WHERE note = 'typeinfo_tree(' AND x = any($1::oid[])";
        assert_eq!(answerable(own), own);
        let jit = "\n  SELECT\n current_setting('jit') AS cur,\n set_config('jit', 'off', false) AS new\n";
        assert_eq!(answerable(jit), "SELECT 'off'::text AS cur, 'off'::text AS new");
    }

    #[test]
    fn every_array_type_names_its_element() {
        let text = types_by_oid();
        assert!(text.contains("(1016::oid, '_int8'::name, 20::oid, ','::\"char\", 'bigint'::text)"), "{text}");
    }
}
