//! What two shards' schemas differ in, in words, and what it does to statements.

use std::collections::BTreeSet;

use super::fact::{Aspect, Facts};
use super::{Severity, ShardSchema, ShardTable, quoted};
use crate::topology::Spoils;

/// One thing that is not the same on two shards.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Difference {
    pub severity: Severity,
    /// None when it is the database's as a whole.
    pub table: Option<String>,
    pub aspect: Aspect,
    /// The column that it is about, or the type whose OID it is.
    pub column: Option<String>,
    /// `table "orders": column "price" is numeric(10,2) on s1 and bigint on s2`
    pub message: String,
}

impl Difference {
    /// The statements that would be wrong on one of the two shards.
    pub(super) fn spoils(&self) -> Spoils {
        if self.severity != Severity::WritesWouldBeWrong {
            return Spoils::Nothing;
        }
        let column = || self.column.clone().unwrap_or_default();
        match self.aspect {
            Aspect::Table => Spoils::Everything,
            Aspect::Default | Aspect::Identity => Spoils::Filling(column()),
            Aspect::Column | Aspect::ColumnType => Spoils::Value(column()),
            Aspect::ColumnOrder => Spoils::Order,
            Aspect::NotNull => Spoils::NewValues(vec![column()]),
            Aspect::Generated | Aspect::Constraint | Aspect::UniqueIndex | Aspect::Partition => Spoils::NewRows,
            Aspect::ReferencedBy => Spoils::OldRows,
            _ => Spoils::Writes,
        }
    }
}

/// Everything that differs, database first, then table by table.
pub fn diff(a: &ShardSchema, b: &ShardSchema) -> Vec<Difference> {
    let mut differences = diff_database(a, b);
    let names: BTreeSet<&String> = a.tables.keys().chain(b.tables.keys()).collect();
    differences.extend(names.into_iter().flat_map(|name| diff_table(name, a, b)));
    differences
}

/// What differs of everything but the tables.
pub(super) fn diff_database(a: &ShardSchema, b: &ShardSchema) -> Vec<Difference> {
    let mut differences = Vec::new();
    Pair { a, b }.compare(&a.facts(), &b.facts(), None, &mut differences);
    differences
}

/// What differs of one table.
pub(super) fn diff_table(name: &str, a: &ShardSchema, b: &ShardSchema) -> Vec<Difference> {
    let mut differences = Vec::new();
    match (a.tables.get(name), b.tables.get(name)) {
        (Some(left), Some(right)) => Pair { a, b }.compare(&left.facts, &right.facts, Some(name), &mut differences),
        (Some(left), None) => differences.extend(missing_table(left, a, b)),
        (None, right) => differences.extend(right.and_then(|right| missing_table(right, b, a))),
    }
    differences
}

struct Pair<'s> {
    a: &'s ShardSchema,
    b: &'s ShardSchema,
}

impl Pair<'_> {
    fn compare(&self, a: &Facts, b: &Facts, table: Option<&str>, differences: &mut Vec<Difference>) {
        let keys: BTreeSet<&(Aspect, String)> = a.keys().chain(b.keys()).collect();
        for key in keys {
            let (aspect, which) = (key.0, key.1.as_str());
            let (severity, told) = match (a.get(key), b.get(key)) {
                (Some(left), Some(right)) if left == right => continue,
                // That a column is missing was said already.
                (Some(_), Some(_)) if aspect == Aspect::ColumnOrder && !same_columns(a, b) => continue,
                (Some(left), Some(right)) => (aspect.severity_of_change(), self.changed(aspect, which, left, right)),
                _ if aspect.is_columns() || aspect == Aspect::TypeOid => continue,
                (Some(value), _) => (aspect.severity_of_absence(), missing(aspect, which, value, &self.b.shard)),
                (None, value) => {
                    let value = value.map_or("", String::as_str);
                    (aspect.severity_of_absence(), missing(aspect, which, value, &self.a.shard))
                }
            };
            let message = table.map_or_else(|| told.clone(), |table| format!("table {}: {told}", quoted(table)));
            let column =
                (aspect.is_columns() || matches!(aspect, Aspect::Column | Aspect::TypeOid)).then(|| which.to_owned());
            differences.push(Difference { severity, table: table.map(str::to_owned), aspect, column, message });
        }
    }

    fn changed(&self, aspect: Aspect, which: &str, left: &str, right: &str) -> String {
        let named = if aspect.is_known_by_definition() { " named" } else { "" };
        let subject = aspect.subject(which);
        format!("{subject} is{named} {left} on {} and {right} on {}", self.a.shard, self.b.shard)
    }
}

fn missing(aspect: Aspect, which: &str, value: &str, shard: &str) -> String {
    let name = if aspect.is_known_by_definition() { format!(" ({value})") } else { String::new() };
    format!("{}{name} is missing on {shard}", aspect.subject(which))
}

fn same_columns(a: &Facts, b: &Facts) -> bool {
    let columns = |facts: &Facts| -> BTreeSet<String> {
        let columns = facts.keys().filter(|(aspect, _)| *aspect == Aspect::Column);
        columns.map(|(_, name)| name.clone()).collect()
    };
    columns(a) == columns(b)
}

/// `None` when it is not for the other shard to have it.
fn missing_table(table: &ShardTable, here: &ShardSchema, there: &ShardSchema) -> Option<Difference> {
    if !there.keyspaces.contains(&table.table.keyspace) {
        return None;
    }
    let name = &table.table.name;
    let told = match there.refused.get(name) {
        Some(refused) => format!(
            "is served on {} and not on {}: there it is {}",
            here.shard,
            there.shard,
            refused.what.trim_end_matches(',')
        ),
        None => format!("is missing on {}", there.shard),
    };
    Some(Difference {
        severity: Severity::WritesWouldBeWrong,
        table: Some(name.to_owned()),
        aspect: Aspect::Table,
        column: None,
        message: format!("table {} {told}", quoted(name)),
    })
}
