//! INSERT, UPDATE and DELETE.
//!
//! The table written keeps its own name in SQLite's text, since RETURNING knows no alias.

mod conflict;
mod delete;
mod insert;
mod update;

use std::sync::Arc;

use super::expression::{Clause, Place};
use super::names::{QualifiedName, fold, quote};
use super::query::ResultColumn;
use super::refusal;
use super::scope::{Item, Scope};
use super::typed::Typed;
use super::{Translator, Written};
use crate::error::{Error, Result, SqlState};
use crate::shard::sqlite::Effect;
use crate::shard::{OutputColumn, Tag};
use crate::sql::{Overriding, ast};
use crate::topology::{Column, Identity, Table};
use crate::types::PgType;

/// What stands in RETURNING's text for a column that SQLite cannot return.
const ELSEWHERE: &str = "\u{1}elsewhere";

impl Translator<'_> {
    /// The table that a statement writes, and how it is named in the statement.
    fn target(&mut self, name: &ast::ObjectName, alias: Option<&ast::Ident>) -> Result<(Arc<Table>, Item)> {
        let name = QualifiedName::new(name)?;
        let table = self.table(&name)?;
        let shown = alias.map_or_else(|| name.name.clone(), fold);
        let item = Item::of_table(&table, shown, &quote(&table.name));
        Ok((table, item))
    }

    /// A column of the table written.
    fn target_column<'t>(&self, table: &'t Table, name: &ast::Ident) -> Result<(usize, &'t Column)> {
        let folded = fold(name);
        table.column(&folded).ok_or_else(|| {
            let message = format!("column \"{folded}\" of relation \"{}\" does not exist", table.name);
            self.error_at(Error::new(SqlState::UNDEFINED_COLUMN, message), name.span)
        })
    }

    /// RETURNING: its text with a space before, and the result's columns.
    fn returning(
        &mut self,
        returning: Option<&[ast::SelectItem]>,
        scope: &Scope<'_>,
    ) -> Result<(String, Vec<OutputColumn>)> {
        let Some(items) = returning else { return Ok((String::new(), Vec::new())) };
        let outputs = self.outputs(items, scope, Clause::Returning)?;
        let mut texts = Vec::with_capacity(outputs.len());
        let mut columns = Vec::with_capacity(outputs.len());
        for mut output in outputs {
            if output.value.is_untyped() {
                output.value = self.implicit(output.value, PgType::Text)?;
            }
            if output.value.sql.contains(ELSEWHERE) {
                return Err(refusal::RETURNING_OTHER.error());
            }
            columns.push(OutputColumn::from(ResultColumn::from(&output)));
            texts.push(output.value.sql);
        }
        Ok((format!(" RETURNING {}", texts.join(", ")), columns))
    }

    /// The value of a column that a statement leaves out, or sets to DEFAULT.
    pub(super) fn default_value(&mut self, table: &Table, column: &Column) -> Result<Typed> {
        if column.identity.is_some() {
            let sql = format!(
                "pg_next_id({}, {})",
                super::names::quote_text(&table.name),
                super::names::quote_text(&column.name)
            );
            let mut id = Typed::computed(sql, PgType::Int8, []);
            id.origin = super::typed::Origin::Computed;
            id.facts.not_null = true;
            return self.assign(id, column);
        }
        let value = match &column.default {
            None => Typed::null(),
            Some(default) => {
                let expression = super::parse_expression(default)?;
                let scope = Scope::default();
                let text = std::mem::take(&mut self.text);
                let typed = self.expression(&expression, Place::new(&scope, Clause::Default));
                self.text = text;
                typed.map_err(Error::without_position)?
            }
        };
        self.assign(value, column)
    }

    /// SQLite would give a NULL in an integer primary key a value of its own.
    fn guard_row_id(&self, table: &Table, index: usize, value: Typed) -> Typed {
        if !is_row_id(table, index) || value.facts.not_null {
            return value;
        }
        let sql = format!(
            "pg_not_null({}, {}, {})",
            value.sql,
            super::names::quote_text(&table.name),
            super::names::quote_text(&table.columns[index].name)
        );
        Typed { sql, ..value }
    }

    fn written(sql: String, columns: Vec<OutputColumn>, tag: Tag) -> Written {
        Written { sql, columns, effect: Effect::Write, tag, point_read: false }
    }
}

/// Whether a column is its table's rowid.
pub(super) fn is_row_id(table: &Table, index: usize) -> bool {
    let alone = table.primary_key.as_ref().is_some_and(|key| key.columns == [index]);
    alone && matches!(table.columns[index].data_type, PgType::Int2 | PgType::Int4 | PgType::Int8)
}

/// `DEFAULT`, where a value may stand.
fn is_default(value: &ast::Expr) -> bool {
    matches!(value, ast::Expr::Identifier(name) if name.quote_style.is_none() && name.value.eq_ignore_ascii_case("default"))
}

/// Whether a value that is given for a column is left out, as OVERRIDING USER VALUE has it.
fn is_overridden(column: &Column, overriding: Option<Overriding>) -> bool {
    overriding == Some(Overriding::UserValue) && matches!(column.identity, Some(Identity::Always | Identity::ByDefault))
}

/// 428C9: an explicit value for a column that only counts by itself.
fn check_identity(column: &Column, update: bool) -> Result<()> {
    if column.identity != Some(Identity::Always) {
        return Ok(());
    }
    let detail = format!("Column \"{}\" is an identity column defined as GENERATED ALWAYS.", column.name);
    if update {
        let message = format!("column \"{}\" can only be updated to DEFAULT", column.name);
        return Err(Error::new(SqlState::GENERATED_ALWAYS, message).detail(detail));
    }
    let message = format!("cannot insert a non-DEFAULT value into column \"{}\"", column.name);
    Err(Error::new(SqlState::GENERATED_ALWAYS, message).detail(detail).hint("Use OVERRIDING SYSTEM VALUE to override."))
}
