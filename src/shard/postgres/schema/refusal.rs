//! Relations that are there and are not served, with the reason.

use super::catalog::{Column, Relation};
use crate::sql::quote_identifier;
use crate::topology::{Misplaced, Placement, Refused, TableKind};

/// The schema whose tables are served.
const PUBLIC: &str = "public";

/// The name under which a relation is found: statements name those of `public` alone.
pub(super) fn known_name(relation: &Relation) -> String {
    if relation.schema == PUBLIC { relation.name.clone() } else { format!("{}.{}", relation.schema, relation.name) }
}

/// Why a relation cannot be a table that statements are planned for; `None` when it can.
pub(super) fn of_relation(relation: &Relation) -> Option<Refused> {
    let name = known_name(relation);
    let refused = |what: String, hint: String| Some(Refused { what, hint });
    let parents = relation.parents.join(", ");
    match relation.kind {
        'v' => refused(
            format!("the view \"{name}\""),
            "Write the query that it stands for: a view's rows are put together on each shard alone.".to_owned(),
        ),
        'm' => refused(
            format!("the materialized view \"{name}\""),
            "Query the tables that it is made from: each shard's copy knows that shard's rows only.".to_owned(),
        ),
        'f' => refused(
            format!("the foreign table \"{name}\""),
            "Connect to the server that holds it: every shard would read the same rows, and write them again."
                .to_owned(),
        ),
        _ if relation.partition => refused(
            format!("the partition \"{name}\" by itself"),
            format!("Name the table that it is a part of: {parents}."),
        ),
        _ if relation.schema != PUBLIC => refused(
            format!("the table \"{name}\" outside of the schema public"),
            format!(
                "Move it: ALTER TABLE {}.{} SET SCHEMA public.",
                quote_identifier(&relation.schema),
                quote_identifier(&relation.name)
            ),
        ),
        _ if !parents.is_empty() => refused(
            format!("the table \"{name}\", which inherits from {parents},"),
            "Use partitions, or give each table its own columns: ALTER TABLE ... NO INHERIT.".to_owned(),
        ),
        'r' if relation.has_children => refused(
            format!("the table \"{name}\", from which others inherit,"),
            "Use partitions, or give each table its own columns: ALTER TABLE ... NO INHERIT.".to_owned(),
        ),
        _ if !relation.rules.is_empty() => refused(
            format!("the table \"{name}\", which has a rule that rewrites statements,"),
            "Use a trigger in place of the rule.".to_owned(),
        ),
        _ => None,
    }
}

/// Why a table can no longer be what it was made.
pub(super) fn of_misplaced(table: &str, lost: &Misplaced<'_>) -> Refused {
    let (why, hint) = match lost {
        Misplaced::NoKeyspace(keyspace) => (
            format!("was placed in keyspace \"{keyspace}\", which there is no more"),
            "Configure the keyspace again".to_owned(),
        ),
        Misplaced::NoKeyColumn(keyspace, column) => (
            format!("was sharded by \"{column}\" in keyspace \"{}\", a column that it has no more", keyspace.name),
            "Give the column its name back on the servers".to_owned(),
        ),
    };
    Refused {
        what: format!("the table \"{table}\", which {why},"),
        hint: format!("{hint}, or drop the table: its rows are found by nothing else."),
    }
}

/// Why a table cannot be placed where the keyspaces would have it; `None` when it can.
pub(super) fn of_placement(table: &str, columns: &[Column], placement: &Placement<'_>) -> Option<Refused> {
    let keyspace = &placement.keyspace.name;
    let refused = |column: &Column, why: String, hint: String| {
        let what = format!("the table \"{table}\", whose key column \"{}\" {why},", column.name);
        Some(Refused { what, hint })
    };
    if let Some((keyspace, number)) = placement.mistyped.first()
        && placement.kind == TableKind::Reference
    {
        // As a reference table, one shard's rows would be taken for all.
        let column = &columns[*number];
        return refused(
            column,
            format!("of keyspace \"{}\" has the type {}", keyspace.name, column.shown),
            format!(
                "Give the column a type that can be a key of the keyspace, name another column in \
                 keyspaces.{}.key_columns, or rename it.",
                keyspace.name
            ),
        );
    }
    let TableKind::Sharded { key_column, .. } = placement.kind else { return None };
    let column = &columns[key_column];
    if !column.generated.is_empty() {
        return refused(
            column,
            "is generated".to_owned(),
            format!(
                "Rows are placed by the key that a statement gives: name a plain column in \
                 keyspaces.{keyspace}.key_columns."
            ),
        );
    }
    if column.deterministic == Some(false) {
        return refused(
            column,
            format!("has the nondeterministic collation {}", column.collation.as_deref().unwrap_or("of its type")),
            format!(
                "Equal keys would lie on different shards: ALTER TABLE {} ALTER COLUMN {} TYPE {} COLLATE \"C\".",
                quote_identifier(table),
                quote_identifier(&column.name),
                column.shown
            ),
        );
    }
    None
}
