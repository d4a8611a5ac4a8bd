//! Writes that no shard can do by itself: rows are read, or taken out, where they are, and written where they belong.

use std::sync::Arc;

use super::analysis::Analysis;
use super::assigned::assigned;
use super::functions::calls;
use super::insert::is_default;
use super::key::{KeyExpression, Keys, type_name};
use super::row_by_row::{RowByRow, with_texts};
use super::{Route, cut_blanks};
use crate::error::{Error, Result};
use crate::sql::ast::{
    self, AssignmentTarget, Expr, ObjectName, OnConflictAction, OnInsert, SetExpr, TableFactor, Update,
};
use crate::sql::{Derived, fold, name_parts, quote_identifier, write_clauses};
use crate::topology::{Schema, Table, TableKind};
use crate::types::{Datum, Key, KeyType};

/// How a write is done that no shard can do by itself.
#[derive(Clone, Debug)]
pub enum Across {
    /// INSERT: its query is read, and what it gives is inserted where the rows' keys say.
    Insert(InsertAcross),
    /// UPDATE of the sharding key.
    Move(Box<Move>),
    /// MERGE: each row of its source is brought to the shard of its key.
    Merge(Box<MergeAcross>),
    /// UPDATE and DELETE that need rows of other shards.
    RowByRow(Box<RowByRow>),
    /// A SELECT over nothing but what one write within WITH returns: it runs in one place, over the rows of all shards.
    Returned,
}

#[derive(Clone, Debug)]
pub struct InsertAcross {
    pub table: Arc<Table>,
    /// The columns that the query's are for, as numbers of the table's.
    pub columns: Vec<usize>,
    /// ON CONFLICT DO UPDATE: all rows for one shard have to come in one statement, which tells when two are the same.
    pub updates: bool,
}

/// A MERGE whose source is read first. Each shard merges those of its rows whose key it has.
#[derive(Clone, Debug)]
pub struct MergeAcross {
    pub table: Arc<Table>,
    pub keyspace: String,
    /// The name of the source in the statement.
    pub source: String,
    /// Its column that the sharding key is compared with.
    pub key: String,
    pub key_type: KeyType,
}

/// Rows whose key changes: those that stay on their shard are updated there, the others taken out and inserted anew.
#[derive(Clone, Debug)]
pub struct Move {
    pub table: Arc<Table>,
    /// The name that the statement gives the table.
    pub alias: Option<String>,
    /// Where the rows are.
    pub route: Route,
    /// Where it needs rows of other shards, and is not on one: each row gets its new key by itself, if that can be done.
    pub apart: Option<Result<Box<RowByRow>, Error>>,
    /// Why no row can leave its shard.
    pub held: Option<Error>,
    /// Takes the rows out, and gives them as they have to be: the client's own text.
    pub taking: Derived,
    /// The columns that it gives, as numbers of the table's.
    pub columns: Vec<usize>,
    /// The new key, where it is the same for all rows.
    key: Option<KeyExpression>,
    key_type: KeyType,
    key_length: Option<usize>,
}

impl MergeAcross {
    /// The key of a row by the value that the sharding key is compared with; `None` for NULL, which equals none.
    ///
    /// # Errors
    /// 0A000: which key the value equals is for the database to say.
    pub fn key(&self, value: Datum) -> Result<Option<Key>> {
        match KeyExpression::Literal(value).keys(self.key_type, &[]) {
            Keys::These(keys) => Ok(keys.into_iter().next()),
            Keys::Unknown => Err(Error::unsupported(
                format!(
                    "a value for the sharding key of \"{}\" that is not of its type, across shards",
                    self.table.name
                ),
                format!("Cast the source's column \"{}\" to {}.", self.key, type_name(self.key_type)),
            )
            .table(&self.table.name)),
        }
    }
}

impl Move {
    /// The one key that all rows get; `None` where each has its own, or it can be none.
    pub fn key(&self, parameters: &[Datum]) -> Option<Key> {
        let key = self.key.as_ref()?.row_key(self.key_type, parameters).ok()??;
        Some(match (key, self.key_length) {
            (Key::Text(text), Some(length)) => Key::Text(cut_blanks(text, length)),
            (key, _) => key,
        })
    }
}

/// How an INSERT is done across shards.
///
/// # Errors
/// 0A000: what is beside its rows needs other rows, too.
pub(super) fn insert_across(insert: &ast::Insert, table: &Arc<Table>) -> Result<InsertAcross> {
    let cannot = |what: &str, hint: &str| {
        let construct = format!("{what} in an INSERT into \"{}\" whose rows are read from several shards", table.name);
        Error::unsupported(construct, hint).table(&table.name)
    };
    let source = insert.source.as_ref().ok_or_else(|| Error::internal("an INSERT without rows reads some"))?;
    if let SetExpr::Values(values) = &*source.body
        && values.rows.iter().any(|row| row.content.iter().any(is_default))
    {
        return Err(cannot("DEFAULT", "Leave the column out."));
    }
    if calls(&insert.returning).subquery || calls(&insert.on).subquery {
        return Err(cannot("a subquery in RETURNING or ON CONFLICT", "Read it first, and give its value."));
    }
    let columns = match insert.columns.as_slice() {
        [] => (0..table.columns.len()).collect(),
        names => {
            let number = |name: &ObjectName| Some(table.column(&name_parts(name)?.pop()?)?.0);
            let all = names.iter().map(number).collect::<Option<_>>();
            all.ok_or_else(|| Error::internal("a column of INSERT was found, and is gone"))?
        }
    };
    let updates = matches!(&insert.on, Some(OnInsert::OnConflict(conflict))
        if matches!(conflict.action, OnConflictAction::DoUpdate(_)));
    Ok(InsertAcross { table: Arc::clone(table), columns, updates })
}

/// How rows are moved to the shards of their new keys.
///
/// # Errors
/// 0A000 for what has no form that moves rows.
pub(super) fn movement(update: &Update, table: &Arc<Table>, analysis: &Analysis<'_>) -> Result<Move> {
    let TableKind::Sharded { key_column, key_type } = table.kind else {
        return Err(Error::internal("a reference table has no sharding key"));
    };
    if update.returning.is_some() && (update.from.is_some() || calls(&update.returning).subquery) {
        return Err(cannot(table, "FROM or a subquery beside RETURNING"));
    }
    let alias = match &update.table.relation {
        TableFactor::Table { alias, .. } => alias.as_ref().map(|alias| fold(&alias.name).into_owned()),
        _ => None,
    };
    let clauses = write_clauses(analysis.text)?.ok_or_else(|| Error::internal("an UPDATE without its clauses"))?;
    let mut values = vec![None; table.columns.len()];
    for (column, value, text) in with_texts(assignments(update, table)?, &clauses)? {
        if let Some(place) = values.get_mut(column) {
            *place = Some((value, text));
        }
    }
    let columns: Vec<usize> =
        (0..table.columns.len()).filter(|number| table.columns[*number].generated.is_none()).collect();
    let name = quote_identifier(alias.as_deref().unwrap_or(&table.name));
    let given = columns.iter().map(|number| match values[*number] {
        Some((_, text)) => text.to_owned(),
        None => format!("{name}.{}", quote_identifier(&table.columns[*number].name)),
    });
    let given: Vec<String> = given.collect();
    let using = if clauses.others.is_empty() { String::new() } else { format!(" USING {}", clauses.others) };
    let taking = Derived::read(format!(
        "{}DELETE FROM {}{using}{} RETURNING {}",
        clauses.prefix(),
        clauses.target,
        clauses.filter(),
        given.join(", ")
    ))?;
    let key = values[key_column].and_then(|(value, _)| assigned(value, key_type));
    let key_length = super::key_length(table);
    Ok(Move {
        alias,
        route: Route { keyspace: analysis.keyspace_name(), keys: analysis.graph.keys() },
        apart: None,
        held: referring(table, analysis.schema),
        taking,
        columns,
        key,
        key_type,
        key_length,
        table: Arc::clone(table),
    })
}

/// Each column that is set, and its value.
fn assignments<'u>(update: &'u Update, table: &Table) -> Result<Vec<(usize, &'u Expr)>> {
    let mut all = Vec::new();
    let mut note = |name: &ObjectName, value: &'u Expr| {
        let column = match name_parts(name).as_deref() {
            Some([column]) => table.column(column).map(|(number, _)| number),
            _ => None,
        };
        match column {
            Some(column) if !is_default(value) => all.push((column, value)),
            _ => return Err(cannot(table, "a part of a column, or DEFAULT,")),
        }
        Ok(())
    };
    for assignment in &update.assignments {
        match (&assignment.target, &assignment.value) {
            (AssignmentTarget::ColumnName(name), value) => note(name, value)?,
            (AssignmentTarget::Tuple(names), Expr::Tuple(values)) if names.len() == values.len() => {
                names.iter().zip(values).try_for_each(|(name, value)| note(name, value))?;
            }
            (AssignmentTarget::Tuple(_), _) => return Err(cannot(table, "a list of columns set from one value")),
        }
    }
    Ok(all)
}

fn cannot(table: &Table, what: &str) -> Error {
    Error::unsupported(
        format!("{what} in an UPDATE of the sharding key of \"{}\"", table.name),
        "Insert the new row, then delete the old one.",
    )
    .table(&table.name)
}

/// A row that is taken out takes what refers to it along, or must not go.
fn referring(table: &Table, schema: &Schema) -> Option<Error> {
    let other =
        schema.tables.values().find(|other| other.foreign_keys.iter().any(|key| key.references == table.name))?;
    Some(
        Error::unsupported(
            format!(
                "moving rows of \"{}\", which \"{}\" refers to, to the shards of other keys by UPDATE",
                table.name, other.name
            ),
            "In one transaction: insert the new row, change what refers to it, and delete the old one.",
        )
        .table(&table.name),
    )
}
