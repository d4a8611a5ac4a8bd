//! A shard's schema as the statements that make it again on another server, read from its catalogs.
//!
//! Pure, as its parent: whoever has a connection runs [`query`] with an empty search path and gives the rows to
//! [`Script::read`]. The statements are what the server itself prints of its objects, in the order of their dependencies. Whether
//! they made the same again is found by reading the copy in the same way: [`Script::differences`].

mod order;
mod privileges;
mod uncopied;

use std::collections::BTreeMap;

pub use privileges::{Privilege, Privileges};
pub use uncopied::Uncopied;

use super::canonical::canonical;
use super::{TextRow, strange};
use crate::error::Result;

const COMMON: &str = include_str!("common.sql");
const OBJECTS: &str = include_str!("objects.sql");
const RELATIONS: &str = include_str!("relations.sql");
const ATTACHED: &str = include_str!("attached.sql");
const DEPENDENCIES: &str = include_str!("dependencies.sql");
const PRIVILEGES: &str = include_str!("privileges.sql");
const UNCOPIED: &str = include_str!("uncopied.sql");
const MADE: &str = include_str!("made.sql");

/// Tables' phase, and that of what has to come after rows: constraints, indexes and triggers would cost time for each row, or
/// refuse it because of others that come later.
const TABLES: u8 = 35;
const WITH_ROWS: u8 = 40;

/// The query whose rows [`Script::read`] takes: several statements, to be run in one snapshot.
pub fn query() -> String {
    [OBJECTS, RELATIONS, ATTACHED, DEPENDENCIES].map(|part| format!("{COMMON}\n{part}")).join(";\n")
}

/// The query whose rows [`Privileges::read`] takes.
pub fn privileges_query() -> String {
    format!("{COMMON}\n{PRIVILEGES}")
}

/// The query whose rows [`Uncopied::read`] takes.
pub fn uncopied_query() -> String {
    format!("{COMMON}\n{UNCOPIED}")
}

/// A query for one boolean: whether the database has nothing but schemas, extensions and shardd's own.
pub fn emptiness_query() -> String {
    format!(
        "{COMMON}\nSELECT NOT EXISTS (SELECT FROM relations c WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')) \
         AND NOT EXISTS (SELECT FROM relations c WHERE c.relkind = 'S' AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d \
             WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.deptype IN ('a', 'i') \
             AND d.refobjsubid > 0)) \
         AND NOT EXISTS (SELECT FROM types t LEFT JOIN pg_catalog.pg_class c ON c.oid = t.typrelid \
             WHERE (t.typcategory <> 'A' OR t.typtype <> 'b') AND (c.oid IS NULL OR c.relkind = 'c')) \
         AND NOT EXISTS (SELECT FROM functions)"
    )
}

/// A statement that remembers what this transaction has made, in `objects` of the one row of `table`.
pub fn remember_made(table: &str) -> String {
    format!(
        "{COMMON}\n{MADE}\nUPDATE {table} SET objects = COALESCE((SELECT jsonb_agg(jsonb_build_object(\
         'kind', m.kind, 'oid', m.oid::int8, 'name', m.name)) FROM made m \
         WHERE m.xmin::text = (txid_current() % 4294967296)::text), '[]')"
    )
}

/// A query for what is remembered there, and is still what it was: (kind, name) in each row, the newest first.
pub fn still_made(table: &str) -> String {
    format!(
        "{COMMON}\n{MADE}\nSELECT m.kind, m.name FROM {table}, jsonb_to_recordset(objects) AS r (kind text, oid int8, name text) \
         JOIN made m ON m.kind = r.kind AND m.oid::int8 = r.oid AND m.name = r.name ORDER BY m.oid DESC"
    )
}

/// One object, and what makes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    phase: u8,
    /// `table public.orders`
    pub label: String,
    /// One statement, or several.
    pub text: String,
}

/// All of a schema, in an order in which it can be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    objects: Vec<Object>,
}

impl Script {
    /// # Errors
    /// 08P01: the rows are not those of the query. 0A000: objects depend on one another in a circle.
    pub fn read(shard: &str, rows: &[TextRow]) -> Result<Script> {
        let (mut objects, mut aliases, mut needs) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        for row in rows {
            let [Some(what), Some(phase), Some(node), Some(label), Some(text)] = row.as_slice() else {
                return Err(strange(shard, format_args!("an object without a definition: {row:?}")));
            };
            match what.as_str() {
                "object" => {
                    let phase = phase.parse().map_err(|_| strange(shard, format_args!("phase {phase}")))?;
                    let text = text.trim_end_matches([';', ' ', '\n']).to_owned();
                    objects.insert(node.clone(), Object { phase, label: label.clone(), text });
                }
                "alias" => drop(aliases.insert(node.clone(), label.clone())),
                "needs" => needs.push((node.as_str(), label.as_str())),
                other => return Err(strange(shard, format_args!("a row of {other}"))),
            }
        }
        Ok(Script { objects: order::in_order(objects, &aliases, &needs)? })
    }

    /// What has to be there before rows come.
    pub fn before_rows(&self) -> &[Object] {
        &self.objects[..self.first_after_rows()]
    }

    /// The rest.
    pub fn after_rows(&self) -> &[Object] {
        &self.objects[self.first_after_rows()..]
    }

    fn first_after_rows(&self) -> usize {
        let takes_rows = |object: &Object| (TABLES..=WITH_ROWS).contains(&object.phase);
        self.objects.iter().rposition(takes_rows).map_or(0, |last| last + 1)
    }

    /// How many tables it has, partitions included.
    pub fn tables(&self) -> usize {
        self.objects.iter().filter(|object| object.phase == TABLES).count()
    }

    /// What the copy has not got, or has otherwise, in words.
    pub fn differences(&self, copy: &Script) -> Vec<String> {
        let of_copy: BTreeMap<&str, &str> = copy.labelled().collect();
        let own: BTreeMap<&str, &str> = self.labelled().collect();
        let mut differences = Vec::new();
        for (label, text) in &own {
            match of_copy.get(label) {
                None => differences.push(format!("{label} is missing")),
                Some(other) if canonical(other) != canonical(text) => {
                    differences.push(format!("{label} became `{other}` of `{text}`"));
                }
                Some(_) => {}
            }
        }
        // There may have been more schemas and extensions.
        let more = of_copy.keys().filter(|label| !own.contains_key(*label));
        let more = more.filter(|label| !label.starts_with("schema ") && !label.starts_with("extension "));
        differences.extend(more.map(|label| format!("{label} has come to be")));
        differences
    }

    fn labelled(&self) -> impl Iterator<Item = (&str, &str)> {
        self.objects.iter().map(|object| (object.label.as_str(), object.text.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(rows: &[[&str; 5]]) -> Vec<TextRow> {
        rows.iter().map(|row| row.iter().map(|value| Some((*value).to_owned())).collect()).collect()
    }

    fn labels(objects: &[Object]) -> Vec<&str> {
        objects.iter().map(|object| object.label.as_str()).collect()
    }

    #[test]
    fn objects_come_after_what_they_need() {
        let script = Script::read(
            "s1",
            &rows(&[
                ["object", "45", "c:3", "view v", "CREATE VIEW v"],
                ["object", "60", "k:1", "constraint k", "ALTER TABLE"],
                ["object", "35", "c:1", "table b", "CREATE TABLE b;"],
                ["object", "35", "c:2", "table a", "CREATE TABLE a"],
                ["object", "25", "p:1", "function f", "CREATE FUNCTION f"],
                ["object", "66", "k:2", "foreign key", "ALTER TABLE"],
                ["alias", "", "t:1", "c:1", ""],
                ["alias", "", "r:3", "c:3", ""],
                // The function takes rows of b, and the view needs a's key.
                ["needs", "", "p:1", "t:1", ""],
                ["needs", "", "r:3", "c:3", ""],
                ["needs", "", "r:3", "k:1", ""],
                ["needs", "", "k:1", "c:2", ""],
                ["needs", "", "k:2", "unknown", ""],
            ]),
        );
        let script = script.expect("an order");
        assert_eq!(labels(script.before_rows()), ["table a", "table b"]);
        assert_eq!(labels(script.after_rows()), ["function f", "constraint k", "view v", "foreign key"]);
        assert_eq!(script.before_rows()[1].text, "CREATE TABLE b");
        assert_eq!(script.tables(), 2);
    }

    #[test]
    fn a_circle_is_named() {
        let error = Script::read(
            "s1",
            &rows(&[
                ["object", "25", "p:1", "function f", "CREATE FUNCTION f"],
                ["object", "45", "c:3", "view v", "CREATE VIEW v"],
                ["needs", "", "p:1", "c:3", ""],
                ["needs", "", "c:3", "p:1", ""],
            ]),
        );
        let error = error.expect_err("a circle");
        assert!(error.message().contains("(view v, function f)"), "{error:?}");
    }

    #[test]
    fn a_copy_is_compared_with_what_it_is_of() {
        let read = |text: &str, more: &[[&str; 5]]| {
            let mut all =
                vec![["object", "35", "c:1", "table a", text], ["object", "10", "n:1", "schema x", "CREATE SCHEMA x"]];
            all.extend(more);
            Script::read("s1", &rows(&all)).expect("a script")
        };
        let own = read("CREATE TABLE a (b int)", &[["object", "62", "c:2", "index i", "CREATE INDEX i"]]);
        assert_eq!(own.differences(&own), Vec::<String>::new());
        let other = read(
            "CREATE TABLE a (b text)",
            &[["object", "10", "n:2", "schema y", "CREATE SCHEMA y"], ["object", "74", "g:1", "trigger g", "CREATE"]],
        );
        assert_eq!(
            own.differences(&other),
            [
                "index i is missing",
                "table a became `CREATE TABLE a (b text)` of `CREATE TABLE a (b int)`",
                "trigger g has come to be"
            ]
        );
    }
}
