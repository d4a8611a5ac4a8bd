//! What an INSERT leaves to the sequences of its table: which numbers its session has surely been given.

use std::sync::Arc;

use super::everywhere::{is_given, sets_to_default};
use super::statement::Statement;
use crate::plan::{is_default, writes_within};
use crate::shard::ShardKind;
use crate::shard::postgres::quoted;
use crate::sql::{self, ast};
use crate::topology::Column;

/// What a statement leaves to the sequences of the table that it writes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum Fills {
    Nothing,
    /// Every column that has one, in every row.
    All {
        sequences: Box<[Arc<str>]>,
        /// There is a row, whatever the shards hold.
        has_rows: bool,
        returns: bool,
    },
    #[default]
    Unclear,
}

impl Fills {
    /// Whether one sequence fills the table, and nothing else.
    pub(super) fn is_of_one(&self) -> bool {
        matches!(self, Fills::All { sequences, .. } if sequences.len() == 1)
    }

    /// `tree`: what the client wrote.
    pub(super) fn of(statement: &Statement, tree: &ast::Statement, kind: ShardKind) -> Fills {
        match tree {
            ast::Statement::Insert(insert) => Fills::of_insert(statement, insert, kind),
            ast::Statement::Update(update) if sets_to_default(&update.assignments) => Fills::Unclear,
            ast::Statement::Update(_) | ast::Statement::Delete(_) => Fills::Nothing,
            ast::Statement::Query(query)
                if matches!(*query.body, ast::SetExpr::Select(_) | ast::SetExpr::Values(_))
                    && !writes_within(query) =>
            {
                Fills::Nothing
            }
            _ => Fills::Unclear,
        }
    }

    fn of_insert(statement: &Statement, insert: &ast::Insert, kind: ShardKind) -> Fills {
        let schema = &statement.schema;
        let name = match &insert.table {
            ast::TableObject::TableName(name) => sql::name_parts(name).and_then(|mut parts| parts.pop()),
            _ => None,
        };
        let Some(table) = name.and_then(|name| schema.table(&name)) else { return Fills::Unclear };
        let source = insert.source.as_deref();
        // What fills a temporary table's columns nobody here has read.
        let unclear = schema.temporary.contains(&table.name)
            || statement.parsed.overriding.is_some()
            || statement.parsed.hidden.is_some()
            || source.is_some_and(writes_within)
            || sets_to_default(&insert.on);
        if unclear {
            return Fills::Unclear;
        }
        let counts = |column: &Column| {
            column.identity.is_some() || column.default.as_deref().is_some_and(|default| default.contains("nextval("))
        };
        let counted = table.columns.iter().enumerate().filter(|(_, column)| counts(column));
        let rows = source.map(|source| &*source.body);
        let mut all = Vec::new();
        let (mut given, mut left) = (0, 0);
        for (number, column) in counted {
            given += usize::from(is_given(&insert.columns, rows, number, column));
            left += usize::from(is_left(&insert.columns, rows, number, &column.name));
            all.push(of_column(&table.name, &column.name));
        }
        if given == all.len() {
            return Fills::Nothing;
        }
        if kind == ShardKind::Postgres {
            let filling = schema.filled_by.iter().filter(|(_, tables)| tables.contains(&table.name));
            let sequences: Vec<Arc<str>> = filling.map(|(name, _)| Arc::from(name.as_str())).collect();
            if sequences.len() != all.len() {
                return Fills::Unclear;
            }
            all = sequences;
        }
        if left != all.len() {
            return Fills::Unclear;
        }
        let whole = source.is_none_or(|source| source.limit_clause.is_none() && source.fetch.is_none());
        let has_rows = whole && matches!(rows, None | Some(ast::SetExpr::Values(_)));
        Fills::All { sequences: all.into(), has_rows, returns: insert.returning.is_some() }
    }

    /// What a server can be asked for after it has written rows, where nobody is told otherwise.
    pub(super) fn question(&self) -> Option<String> {
        let Fills::All { sequences, returns: false, .. } = self else { return None };
        let each = sequences.iter().map(|name| format!(", {}", currval(name)));
        Some(format!("SELECT pg_catalog.lastval(){}", each.collect::<String>()))
    }
}

/// Whether none of the rows that are inserted gives a column (a number of the table's) a value.
fn is_left(columns: &[ast::ObjectName], rows: Option<&ast::SetExpr>, number: usize, name: &str) -> bool {
    let is_named = |named: &ast::ObjectName| {
        sql::name_parts(named).and_then(|mut parts| parts.pop()).is_some_and(|part| part == name)
    };
    let place = if columns.is_empty() { Some(number) } else { columns.iter().position(is_named) };
    match (place, rows) {
        (None, _) | (_, None) => true,
        (Some(place), Some(ast::SetExpr::Values(values))) => {
            values.rows.iter().all(|row| row.content.get(place).is_none_or(is_default))
        }
        (Some(_), Some(_)) => false,
    }
}

/// The name here of a SQLite shard's sequence.
pub(super) fn of_column(table: &str, column: &str) -> Arc<str> {
    format!("{table}\0{column}").into()
}

/// A call for a sequence by its name as SQL.
pub(super) fn currval(sequence: &str) -> String {
    format!("pg_catalog.currval({}::pg_catalog.regclass)", quoted(sequence))
}
