//! Subqueries in FROM, also those that name the items to their left.
//!
//! SQLite's subqueries in FROM see no other item; the arguments of its table-valued functions do. So a LATERAL subquery is an
//! argument: a scalar subquery that packs all of its rows in one value, which `json_each` makes rows again.

use super::Translator;
use super::from::{Beside, Element, rename_columns};
use super::names::fold;
use super::query::Untyped;
use super::scope::{Item, Missing, Scope, ScopeColumn};
use super::typed::ColumnUse;
use crate::error::{Error, Result, SqlState};
use crate::sql::ast;

/// A call in SQLite has 127 at most.
pub(super) const MAX_ARGUMENTS: usize = 100;

impl Translator<'_> {
    /// A subquery in FROM.
    pub(super) fn derived(
        &mut self,
        query: &ast::Query,
        alias: Option<&ast::TableAlias>,
        lateral: bool,
        beside: Beside<'_>,
    ) -> Result<Element> {
        let Some(alias) = alias else {
            return Err(Error::new(SqlState::SYNTAX_ERROR, "subquery in FROM must have an alias")
                .hint("For example, FROM (SELECT ...) [AS] foo."));
        };
        // Without LATERAL it sees the WITH queries and the queries around, not the other items.
        let (parent, depth) = (beside.scope.parent, beside.scope.depth);
        let outside = if lateral { beside.seen() } else { Scope { parent, depth, ..Scope::default() } };
        let first_use = self.uses_of(&beside).len();
        let output = self.query(query, &outside, Untyped::Text)?;
        self.check_uses(&beside, first_use)?;
        let names_items = self.uses_of(&beside).len() > first_use;
        let own = self.alias();
        let (sql, texts) = match names_items {
            false => {
                let columns = output.column_names.iter().map(|name| format!("{own}.{name}")).collect();
                (format!("({}) AS {own}", output.sql), columns)
            }
            true => {
                let rows = self.alias();
                let columns: Vec<String> = output.column_names.iter().map(|name| format!("{rows}.{name}")).collect();
                packed(&columns, &format!("({}) AS {rows}", output.sql), &own)
            }
        };
        let columns = output.columns.iter().zip(texts).map(|(column, sql)| ScopeColumn {
            name: column.name.clone(),
            sql,
            data_type: column.data_type,
            modifier: column.modifier,
            not_null: column.not_null,
            table_oid: column.table_oid,
            attribute: column.attribute,
            relation: own.clone(),
        });
        let mut item = Item {
            name: Some(fold(&alias.name)),
            columns: columns.collect(),
            columns_visible: true,
            table: None,
            alias: own.clone(),
            scalar: false,
            missing: Missing::Never,
        };
        rename_columns(&mut item, alias)?;
        Ok((sql, vec![item]))
    }

    /// A join in parentheses, which in SQLite is a subquery: where it names items outside, its rows are packed.
    pub(super) fn parenthesized(&mut self, table: &ast::TableWithJoins, beside: Beside<'_>) -> Result<Element> {
        let before: Vec<Item> = beside.before.iter().chain(beside.joined).cloned().collect();
        let first_use = self.uses_of(&beside).len();
        let inside = Beside { before: &before, joined: &[], hides_joined: false, scope: beside.scope };
        let (sql, mut items) = self.joined(table, inside)?;
        self.check_uses(&beside, first_use)?;
        let names_outside = self.uses_of(&beside)[first_use..]
            .iter()
            .any(|column| beside.items().any(|item| has_relation(item, &column.relation)));
        if !names_outside {
            return Ok((format!("({sql})"), items));
        }
        let own = self.alias();
        let mut texts: Vec<String> = Vec::new();
        for column in items.iter().flat_map(|item| &item.columns) {
            if !texts.contains(&column.sql) {
                texts.push(column.sql.clone());
            }
        }
        let (sql, fields) = packed(&texts, &sql, &own);
        for item in &mut items {
            let place = |sql: &String| texts.iter().position(|text| text == sql);
            if let Missing::WithNull(sure) = &mut item.missing
                && let Some(place) = place(sure)
            {
                sure.clone_from(&fields[place]);
            }
        }
        for column in items.iter_mut().flat_map(|item| &mut item.columns) {
            if let Some(place) = texts.iter().position(|text| *text == column.sql) {
                column.sql.clone_from(&fields[place]);
            }
        }
        Ok((sql, items))
    }

    /// The columns of the query's own FROM that what is in it has named so far.
    pub(super) fn uses_of(&mut self, beside: &Beside<'_>) -> &[ColumnUse] {
        let depth = beside.scope.depth;
        if self.frames.len() <= depth {
            self.frames.resize_with(depth + 1, Vec::new);
        }
        &self.frames[depth]
    }

    /// # Errors
    /// 42P10: a column of an item was named that the join may give no row of.
    pub(super) fn check_uses(&mut self, beside: &Beside<'_>, first_use: usize) -> Result<()> {
        if !beside.hides_joined {
            return Ok(());
        }
        let is_hidden = |column: &&ColumnUse| beside.joined.iter().any(|item| has_relation(item, &column.relation));
        let Some(hidden) = self.uses_of(beside)[first_use..].iter().find(is_hidden) else { return Ok(()) };
        let table = hidden.display.split_once('.').map_or(hidden.display.as_str(), |(table, _)| table);
        let message = format!("invalid reference to FROM-clause entry for table \"{table}\"");
        let error = Error::new(SqlState::INVALID_COLUMN_REFERENCE, message)
            .detail("The combining JOIN type must be INNER or LEFT for a LATERAL reference.");
        Err(match hidden.position {
            Some(position) => error.position(position),
            None => error,
        })
    }
}

fn has_relation(item: &Item, relation: &str) -> bool {
    item.alias == relation || item.columns.iter().any(|column| column.relation == relation)
}

/// The rows of `from` as rows of a function named `own`, and the texts of the columns.
fn packed(columns: &[String], from: &str, own: &str) -> (String, Vec<String>) {
    // The texts of several parts, one after the other, are that of the whole.
    let parts: Vec<String> = columns.chunks(MAX_ARGUMENTS).map(|some| format!("pg_row({})", some.join(", "))).collect();
    let sql = format!("json_each((SELECT pg_array_agg({}) FROM {from})) AS {own}", parts.join(" || "));
    (sql, (0..columns.len()).map(|number| format!("pg_row_field({own}.value, {number})")).collect())
}
