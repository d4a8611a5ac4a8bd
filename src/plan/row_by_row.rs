//! UPDATE and DELETE whose rows are chosen, or whose values are computed, with rows of other keys: a SELECT tells which rows
//! and what becomes of them, and each is written by its primary key.
//!
//! Between the two another transaction may change a row. So the SELECT also tells what the statement has looked at in it,
//! and a row that is not the same any more is not written.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::functions::calls;
use super::insert::is_default;
use crate::error::{Error, Result};
use crate::sql::ast::{
    self, AssignmentTarget, Delete, Expr, FromTable, SelectItem, SelectItemQualifiedWildcardKind, Statement,
    TableFactor, TableWithJoins, Update,
};
use crate::sql::{WriteClauses, fold, is_text_of, name_parts, quote_identifier, walk_expressions, write_clauses};
use crate::topology::Table;
use crate::types::PgType;

/// What is read first, and how each row is written then.
#[derive(Clone, Debug)]
pub struct RowByRow {
    pub table: Arc<Table>,
    /// A SELECT of the client's own text, with placeholders for its literals: for each row the columns of `found`, then the
    /// values of `set`.
    pub reading: String,
    /// What a row is found by: its primary key, then what the statement has looked at in it.
    pub found: Vec<Found>,
    /// The columns that get a value, as numbers of the table's.
    pub set: Vec<usize>,
    /// The statement for one row, up to the values of `set`.
    pub head: String,
    pub tail: Tail,
}

/// A column that a row is found by.
#[derive(Clone, Debug)]
pub struct Found {
    pub column: usize,
    /// The column in the statement.
    pub name: String,
    pub is_key: bool,
    /// Compared as text: its type has no equality, or is the shards' own.
    pub as_text: bool,
}

/// What follows the values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    Update,
    Delete,
}

/// The parts of an UPDATE or DELETE.
struct Parts<'s> {
    target: &'s TableWithJoins,
    /// There is no other table.
    alone: bool,
    returning: &'s [SelectItem],
}

/// `text`: what the statement was parsed from.
///
/// # Errors
/// 0A000: the table has no primary key, or the statement a part that has no such form.
pub(super) fn row_by_row(statement: &Statement, text: &str, table: &Arc<Table>) -> Result<RowByRow> {
    let parts = match statement {
        Statement::Update(update) => parts_of_update(update),
        Statement::Delete(delete) => parts_of_delete(delete),
        _ => None,
    };
    let parts = parts.ok_or_else(|| Error::internal("no UPDATE or DELETE"))?;
    let Some(key) = &table.primary_key else {
        return Err(cannot(table, "a table without a primary key", "Declare one."));
    };
    let alias = match &parts.target.relation {
        TableFactor::Table { alias: Some(alias), .. } => Some(fold(&alias.name).into_owned()),
        _ => None,
    };
    let name = alias.as_deref().unwrap_or(&table.name);
    if !is_of_row(parts.returning, name, table, parts.alone) {
        let hint = "Return columns of the table that is written, or leave RETURNING out.";
        return Err(cannot(table, "RETURNING of more than the row that is written", hint));
    }
    let looked_at = looked_at(statement, table, name);
    let found = |column: usize, is_key| {
        let described = &table.columns[column];
        let as_text =
            described.known_type().is_none_or(|data_type| matches!(data_type, PgType::Json | PgType::JsonArray));
        let name = format!("{}.{}", quote_identifier(name), quote_identifier(&described.name));
        Found { column, name, is_key, as_text }
    };
    let mut all: Vec<Found> = key.columns.iter().map(|column| found(*column, true)).collect();
    all.extend(looked_at.into_iter().filter(|column| !key.columns.contains(column)).map(|column| found(column, false)));
    let mut items: Vec<String> = all.iter().map(Found::text).collect();
    let clauses = write_clauses(text)?.ok_or_else(|| Error::internal("an UPDATE or DELETE without its clauses"))?;
    let (mut set, mut assigned) = (Vec::new(), Vec::new());
    if let Statement::Update(update) = statement {
        for (column, value, text) in with_texts(assignments(update, table)?, &clauses)? {
            let quoted = quote_identifier(&table.columns[column].name);
            if is_default(value) {
                assigned.push(format!("{quoted} = DEFAULT"));
            } else {
                items.push(text.to_owned());
                set.push(column);
            }
        }
    }
    let comma = if clauses.others.is_empty() { "" } else { ", " };
    let (target, others) = (clauses.target, clauses.others);
    let reading =
        format!("{}SELECT {} FROM {target}{comma}{others}{}", clauses.prefix(), items.join(", "), clauses.filter());
    let target = match &alias {
        Some(alias) => format!("{} AS {}", quote_identifier(&table.name), quote_identifier(alias)),
        None => quote_identifier(&table.name),
    };
    let (head, tail) = match statement {
        Statement::Update(_) => {
            let defaults = assigned.join(", ");
            let comma = if defaults.is_empty() || set.is_empty() { "" } else { ", " };
            (format!("UPDATE {target} SET {defaults}{comma}"), Tail::Update)
        }
        _ => (format!("DELETE FROM {target}"), Tail::Delete),
    };
    Ok(RowByRow { table: Arc::clone(table), reading, found: all, set, head, tail })
}

impl Found {
    /// The column as it is read and compared.
    pub fn text(&self) -> String {
        if self.as_text { format!("{}::text", self.name) } else { self.name.clone() }
    }
}

fn parts_of_update(update: &Update) -> Option<Parts<'_>> {
    Some(Parts {
        target: &update.table,
        alone: update.from.is_none(),
        returning: update.returning.as_deref().unwrap_or_default(),
    })
}

fn parts_of_delete(delete: &Delete) -> Option<Parts<'_>> {
    let FromTable::WithFromKeyword(from) = &delete.from else { return None };
    Some(Parts {
        target: from.first()?,
        alone: delete.using.is_none(),
        returning: delete.returning.as_deref().unwrap_or_default(),
    })
}

/// Each column that is set, its value and the value's text.
///
/// # Errors
/// A value is not found in the text: a defect.
pub(super) fn with_texts<'u, 't>(
    values: Vec<(usize, &'u Expr)>,
    clauses: &WriteClauses<'t>,
) -> Result<Vec<(usize, &'u Expr, &'t str)>> {
    let same = |((_, value), text): (&(usize, &Expr), &&str)| is_default(value) || is_text_of(text, value);
    if values.len() != clauses.values.len() || !values.iter().zip(&clauses.values).all(same) {
        return Err(Error::internal("the values of an UPDATE are not found in its text"));
    }
    Ok(values.into_iter().zip(&clauses.values).map(|((column, value), text)| (column, value, *text)).collect())
}

/// Whether RETURNING names nothing but the row that is written. `alone`: there is no other table.
fn is_of_row(returning: &[SelectItem], name: &str, table: &Table, alone: bool) -> bool {
    let is_item = |item: &SelectItem| match item {
        SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. } => true,
        SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(of), _) => {
            alone || name_parts(of).is_some_and(|parts| parts.last().is_some_and(|last| last == name))
        }
        _ => alone,
    };
    let is_column = |column: &ast::Ident| table.column(&fold(column)).is_some();
    let is_own = |expression: &Expr| match expression {
        Expr::Identifier(column) => is_column(column),
        Expr::CompoundIdentifier(parts) => {
            matches!(parts.as_slice(), [of, column] if fold(of) == name && is_column(column))
        }
        _ => true,
    };
    let names_own = |item: &SelectItem| {
        let named = walk_expressions(item, |expression| match alone || is_own(expression) {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        });
        named.is_continue() && !calls(item).subquery
    };
    returning.iter().all(|item| is_item(item) && names_own(item))
}

/// The columns of the table that the statement may have looked at.
fn looked_at(statement: &Statement, table: &Table, name: &str) -> Vec<usize> {
    let mut names = HashSet::new();
    let _: ControlFlow<()> = walk_expressions(statement, |expression| {
        match expression {
            Expr::Identifier(ident) => _ = names.insert(fold(ident).into_owned()),
            Expr::CompoundIdentifier(parts) => names.extend(parts.last().map(|last| fold(last).into_owned())),
            Expr::Wildcard(_) | Expr::QualifiedWildcard(..) => _ = names.insert(name.to_owned()),
            _ => {}
        }
        ControlFlow::Continue(())
    });
    // The table as a value is a whole row.
    let whole = names.contains(name) || names.contains(&table.name);
    (0..table.columns.len()).filter(|number| whole || names.contains(&table.columns[*number].name)).collect()
}

/// Each column that is set, and its value.
fn assignments<'u>(update: &'u Update, table: &Table) -> Result<Vec<(usize, &'u Expr)>> {
    let column = |name: &ast::ObjectName| match name_parts(name).as_deref() {
        Some([column]) => table.column(column).map(|(number, _)| number),
        _ => None,
    };
    let whole = |name: &ast::ObjectName| {
        column(name).ok_or_else(|| cannot(table, "a part of a column", "Set the column as a whole."))
    };
    let mut all = Vec::new();
    for assignment in &update.assignments {
        match (&assignment.target, &assignment.value) {
            (AssignmentTarget::ColumnName(name), value) => all.push((whole(name)?, value)),
            (AssignmentTarget::Tuple(names), Expr::Tuple(values)) if names.len() == values.len() => {
                for (name, value) in names.iter().zip(values) {
                    all.push((whole(name)?, value));
                }
            }
            (AssignmentTarget::Tuple(_), _) => {
                return Err(cannot(table, "a list of columns set from one value", "Set each column by itself."));
            }
        }
    }
    Ok(all)
}

fn cannot(table: &Table, what: &str, hint: &str) -> Error {
    Error::unsupported(format!("{what} in a write to \"{}\" that needs rows of other shards", table.name), hint)
        .table(&table.name)
}
