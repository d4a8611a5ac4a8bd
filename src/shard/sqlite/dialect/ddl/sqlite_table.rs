//! How a table of Postgres's lies in SQLite.
//!
//! Tables are STRICT. A single integer primary key is the rowid; other tables with a primary key have none. There are no
//! defaults: the dialect fills them in.

use super::super::expression::{Clause, Place};
use super::super::names::quote;
use super::super::refusal;
use super::super::scope::{Item, Scope};
use super::super::typed::Typed;
use super::super::write::is_row_id;
use super::schema_translator;
use crate::error::{Error, Result, SqlState};
use crate::shard::sqlite::storage;
use crate::sql::ast::Expr;
use crate::sql::walk_expressions;
use crate::topology::{ForeignKeyAction, Schema, Table, UniqueKey};
use crate::types::PgType;

/// CREATE TABLE for a table, under another name while it is rebuilt.
pub(super) fn create_statement(table: &Table, schema: &Schema, name: &str) -> Result<String> {
    let mut parts: Vec<String> = table
        .columns
        .iter()
        .map(|column| {
            let not_null = if column.not_null { " NOT NULL" } else { "" };
            format!("{} {}{not_null}", quote(&column.name), storage::column_type(column.data_type))
        })
        .collect();
    let columns = |indexes: &[usize]| {
        let names: Vec<String> = indexes.iter().map(|index| quote(&table.columns[*index].name)).collect();
        names.join(", ")
    };
    let key =
        |key: &UniqueKey, what: &str| format!("CONSTRAINT {} {what} ({})", quote(&key.name), columns(&key.columns));
    parts.extend(table.primary_key.iter().map(|primary| key(primary, "PRIMARY KEY")));
    parts.extend(table.unique_keys.iter().map(|unique| key(unique, "UNIQUE")));
    for check in &table.checks {
        let expression = super::super::parse_expression(&check.expression)?;
        let condition = schema_condition(&expression, table, schema, Clause::Check)?;
        parts.push(format!("CONSTRAINT {} CHECK ({})", quote(&check.name), condition.sql));
    }
    for foreign in &table.foreign_keys {
        let parent = if foreign.references == table.name {
            Some(table)
        } else {
            schema.table(&foreign.references).map(AsRef::as_ref)
        };
        let Some(parent) = parent else {
            return Err(Error::internal(format!("table \"{}\" refers to a table that is gone", table.name)));
        };
        let referenced: Vec<String> =
            foreign.referenced_columns.iter().map(|index| quote(&parent.columns[*index].name)).collect();
        parts.push(format!(
            "CONSTRAINT {} FOREIGN KEY ({}) REFERENCES {} ({}){}{}",
            quote(&foreign.name),
            columns(&foreign.columns),
            quote(&foreign.references),
            referenced.join(", "),
            action("DELETE", foreign.on_delete),
            action("UPDATE", foreign.on_update)
        ));
    }
    let rowless =
        table.primary_key.as_ref().is_some_and(|key| !is_row_id(table, key.columns[0]) || key.columns.len() > 1);
    let options = if rowless { "STRICT, WITHOUT ROWID" } else { "STRICT" };
    Ok(format!("CREATE TABLE {} ({}) {options}", quote(name), parts.join(", ")))
}

fn action(event: &str, action: ForeignKeyAction) -> String {
    let word = match action {
        ForeignKeyAction::NoAction => return String::new(),
        ForeignKeyAction::Restrict => "RESTRICT",
        ForeignKeyAction::Cascade => "CASCADE",
        ForeignKeyAction::SetNull => "SET NULL",
        ForeignKeyAction::SetDefault => "SET DEFAULT",
    };
    format!(" ON {event} {word}")
}

/// A condition over one table's columns that the schema holds: of a CHECK, or of a partial index.
pub(super) fn schema_condition(expression: &Expr, table: &Table, schema: &Schema, clause: Clause) -> Result<Typed> {
    let typed = schema_expression(expression, table, schema, clause)?;
    let what = if clause == Clause::Check { "CHECK" } else { "WHERE" };
    let mut translator = schema_translator(schema);
    translator.boolean(typed, what, sqlparser::tokenizer::Span::empty())
}

/// The columns of one table, by their own names.
pub(super) fn table_scope(table: &Table) -> Result<Scope<'static>> {
    let shared = std::sync::Arc::new(table.clone());
    let mut item = Item::of_table(&shared, table.name.clone(), "");
    for column in &mut item.columns {
        column.sql = quote(&column.name);
    }
    let mut scope = Scope::default();
    scope.add(vec![item])?;
    Ok(scope)
}

/// An expression over one table's columns that the schema holds.
pub(super) fn schema_expression(expression: &Expr, table: &Table, schema: &Schema, clause: Clause) -> Result<Typed> {
    if has_subquery(expression) {
        let what = if clause == Clause::Check { "check constraint" } else { "index expression" };
        return Err(Error::new(SqlState::FEATURE_NOT_SUPPORTED, format!("cannot use subquery in {what}")));
    }
    let scope = table_scope(table)?;
    let mut translator = schema_translator(schema);
    let typed = translator.expression(expression, Place::new(&scope, clause))?;
    if !translator.parameters.environment.is_empty() || is_volatile(&typed.sql) {
        return Err(if clause == Clause::Index {
            Error::new(SqlState::INVALID_OBJECT_DEFINITION, "functions in index expression must be marked IMMUTABLE")
        } else {
            Error::unsupported(
                "a CHECK that depends on the time or the session",
                "Compare columns with one another and with constants.",
            )
        });
    }
    Ok(typed)
}

/// Whether a text calls a function whose value changes from call to call.
pub(super) fn is_volatile(sql: &str) -> bool {
    ["pg_random(", "pg_gen_random_uuid(", "pg_clock_timestamp(", "pg_next_id("].iter().any(|call| sql.contains(call))
}

fn has_subquery(expression: &Expr) -> bool {
    let found = walk_expressions(expression, |inner: &Expr| match inner {
        Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. } => std::ops::ControlFlow::Break(()),
        _ => std::ops::ControlFlow::Continue(()),
    });
    found.is_break()
}

/// The columns that an expression names, each once, in order.
pub(super) fn named_columns(expression: &Expr, table: &Table) -> Vec<usize> {
    let mut named = Vec::new();
    let _ = walk_expressions(expression, |inner: &Expr| {
        let name = match inner {
            Expr::Identifier(name) => Some(name),
            Expr::CompoundIdentifier(parts) => parts.last(),
            _ => None,
        };
        let index = name.and_then(|name| table.column(&super::super::names::fold(name))).map(|(index, _)| index);
        if let Some(index) = index.filter(|index| !named.contains(index)) {
            named.push(index);
        }
        std::ops::ControlFlow::<()>::Continue(())
    });
    named
}

/// # Errors
/// 0A000: arrays have no column.
pub(super) fn check_column_type(data_type: PgType) -> Result<()> {
    match data_type {
        other if other.is_array() && !other.is_vector() => Err(refusal::ARRAY_COLUMN.error()),
        PgType::Unknown | PgType::Void => {
            Err(Error::new(SqlState::INVALID_TABLE_DEFINITION, format!("column has pseudo-type {data_type}")))
        }
        own if own.is_catalogs_own() => {
            Err(Error::unsupported(format_args!("a column of type {data_type}"), "Use text."))
        }
        _ => Ok(()),
    }
}
