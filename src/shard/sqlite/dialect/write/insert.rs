//! INSERT.

use std::sync::Arc;

use sqlparser::ast::Spanned;

use super::super::expression::{Clause, Place};
use super::super::names::quote;
use super::super::query::Untyped;
use super::super::scope::{Item, Scope};
use super::super::typed::Typed;
use super::super::{Translator, Written};
use super::{check_identity, is_default, is_overridden, is_row_id};
use crate::error::{Error, Result, SqlState};
use crate::shard::Tag;
use crate::sql::ast::{self, SetExpr};
use crate::topology::Table;
use crate::types::PgType;

/// The columns that a row is written in: those that the statement gives, then those that it leaves out.
struct Columns {
    given: Vec<usize>,
    left_out: Vec<usize>,
}

/// The rows to insert: their text, and the query around the source that ON CONFLICT DO UPDATE checks.
struct Source {
    sql: String,
    /// Several rows: those of one statement must not conflict with one another.
    several: bool,
}

impl Translator<'_> {
    pub(in super::super) fn insert(&mut self, insert: &ast::Insert, parent: &Scope<'_>) -> Result<Written> {
        check_plain(insert)?;
        let ast::TableObject::TableName(name) = &insert.table else {
            return Err(Error::new(SqlState::SYNTAX_ERROR, "INSERT needs the name of a table"));
        };
        let alias = insert.table_alias.as_ref().map(|alias| &alias.alias);
        let (table, item) = self.target(name, alias)?;
        let given = self.insert_columns(insert, &table)?;
        let mut scope = Scope::inside(parent);
        self.frames.resize_with(self.frames.len().max(scope.depth + 1), Vec::new);
        let (columns, source) = self.source(insert, &table, given, &scope)?;
        let written = columns.given.iter().chain(&columns.left_out);
        let names: Vec<String> = written.map(|index| quote(&table.columns[*index].name)).collect();
        let conflict = self.on_conflict(insert.on.as_ref(), &table, &item, &scope)?;
        let rows = match (&conflict.updated_key, source.several) {
            (Some(key), true) => {
                let all: Vec<usize> = columns.given.iter().chain(&columns.left_out).copied().collect();
                self.once_only(&table, &source.sql, &all, key)?
            }
            _ if conflict.sql.is_empty() || source.sql.starts_with("VALUES ") => source.sql,
            // SQLite needs a WHERE between a SELECT and ON CONFLICT.
            _ => format!("SELECT * FROM ({}) WHERE 1", source.sql),
        };
        scope.add(vec![item])?;
        let (returning, outputs) = self.returning(insert.returning.as_deref(), &scope)?;
        let sql =
            format!("INSERT INTO {} ({}) {rows}{}{returning}", quote(&table.name), names.join(", "), conflict.sql);
        Ok(Self::written(sql, outputs, Tag::Insert))
    }

    /// The columns that the statement names; none when it names none.
    fn insert_columns(&mut self, insert: &ast::Insert, table: &Table) -> Result<Option<Vec<usize>>> {
        if insert.columns.is_empty() {
            return Ok(None);
        }
        let mut given = Vec::with_capacity(insert.columns.len());
        for name in &insert.columns {
            let [ast::ObjectNamePart::Identifier(ident)] = name.0.as_slice() else {
                return Err(super::super::refusal::UPDATE_SUBFIELD.error());
            };
            let (index, column) = self.target_column(table, ident)?;
            if given.contains(&index) {
                let message = format!("column \"{}\" specified more than once", column.name);
                return Err(self.error_at(Error::new(SqlState::DUPLICATE_COLUMN, message), ident.span));
            }
            given.push(index);
        }
        Ok(Some(given))
    }

    fn source(
        &mut self,
        insert: &ast::Insert,
        table: &Arc<Table>,
        given: Option<Vec<usize>>,
        scope: &Scope<'_>,
    ) -> Result<(Columns, Source)> {
        let Some(query) = &insert.source else {
            let columns = columns_of(table, given.unwrap_or_default());
            let row = self.row(table, &columns, &[], scope)?;
            return Ok((columns, Source { sql: format!("VALUES ({row})"), several: false }));
        };
        if let Some(rows) = plain_values(query) {
            let width = rows.first().map_or(0, |row| row.content.len());
            let given = self.fit(table, given, width, insert)?;
            let columns = columns_of(table, given);
            let mut texts = Vec::with_capacity(rows.len());
            for row in rows {
                if row.content.len() != width {
                    return Err(Error::new(SqlState::SYNTAX_ERROR, "VALUES lists must all be the same length"));
                }
                texts.push(format!("({})", self.row(table, &columns, &row.content, scope)?));
            }
            return Ok((columns, Source { sql: format!("VALUES {}", texts.join(", ")), several: rows.len() > 1 }));
        }
        self.selected(query, table, given, insert, scope)
    }

    /// INSERT ... SELECT: a query around the query casts its columns and adds those left out.
    fn selected(
        &mut self,
        query: &ast::Query,
        table: &Arc<Table>,
        given: Option<Vec<usize>>,
        insert: &ast::Insert,
        scope: &Scope<'_>,
    ) -> Result<(Columns, Source)> {
        let wanted: Vec<usize> = given.clone().unwrap_or_else(|| (0..table.columns.len()).collect());
        let types: Vec<PgType> = wanted.iter().map(|index| table.columns[*index].data_type).collect();
        let output = self.query(query, scope, Untyped::As(&types))?;
        let given = self.fit(table, given, output.columns.len(), insert)?;
        let columns = columns_of(table, given);
        let alias = self.alias();
        let mut texts = Vec::with_capacity(columns.given.len() + columns.left_out.len());
        for (index, (source, name)) in columns.given.iter().zip(output.columns.iter().zip(&output.column_names)) {
            let column = &table.columns[*index];
            if is_overridden(column, self.overriding) {
                let value = self.default_value(table, column)?;
                texts.push(self.guard_row_id(table, *index, value).sql);
                continue;
            }
            if self.overriding.is_none() {
                check_identity(column, false)?;
            }
            let mut value = Typed::computed(format!("{alias}.{name}"), source.data_type, []);
            value.origin = super::super::typed::Origin::Computed;
            value.modifier = source.modifier;
            let value = self.assign(value, &table.columns[*index])?;
            texts.push(self.guard_row_id(table, *index, value).sql);
        }
        for index in &columns.left_out {
            let value = self.default_value(table, &table.columns[*index])?;
            texts.push(self.guard_row_id(table, *index, value).sql);
        }
        let sql = format!("SELECT {} FROM ({}) AS {alias}", texts.join(", "), output.sql);
        Ok((columns, Source { sql, several: !output.single_row }))
    }

    /// As many columns as the rows are wide.
    fn fit(
        &mut self,
        table: &Table,
        given: Option<Vec<usize>>,
        width: usize,
        insert: &ast::Insert,
    ) -> Result<Vec<usize>> {
        let listed = given.as_ref().map_or(table.columns.len(), Vec::len);
        let message = if width > listed {
            "INSERT has more expressions than target columns"
        } else if given.is_some() && width < listed {
            "INSERT has more target columns than expressions"
        } else {
            return Ok(given.unwrap_or_else(|| (0..width).collect()));
        };
        let error = Error::new(SqlState::SYNTAX_ERROR, message);
        Err(match insert.columns.get(width) {
            Some(column) if width < listed => self.error_at(error, column.span()),
            _ => error,
        })
    }

    /// One row of values, in the order of the columns.
    fn row(&mut self, table: &Table, columns: &Columns, values: &[ast::Expr], scope: &Scope<'_>) -> Result<String> {
        let place = Place::new(scope, Clause::Values);
        let mut cells = Vec::with_capacity(columns.given.len() + columns.left_out.len());
        for (index, value) in columns.given.iter().zip(values) {
            let column = &table.columns[*index];
            let typed = if is_default(value) || is_overridden(column, self.overriding) {
                self.default_value(table, column)?
            } else {
                if self.overriding.is_none() {
                    check_identity(column, false)?;
                }
                let typed = self.expression(value, place)?;
                self.assign(typed, column).map_err(|error| self.error_at(error, value.span()))?
            };
            cells.push(self.guard_row_id(table, *index, typed).sql);
        }
        for index in &columns.left_out {
            let typed = self.default_value(table, &table.columns[*index])?;
            cells.push(self.guard_row_id(table, *index, typed).sql);
        }
        Ok(cells.join(", "))
    }

    /// The rows, or 21000 when two of them have one key: ON CONFLICT DO UPDATE would change a row twice.
    fn once_only(&mut self, table: &Table, rows: &str, columns: &[usize], key: &[usize]) -> Result<String> {
        let alias = self.alias();
        let names: Vec<String> = super::super::query::numbered(columns.len());
        let mut keys = Vec::with_capacity(key.len());
        let mut present = Vec::with_capacity(key.len());
        for part in key {
            let Some(place) = columns.iter().position(|column| column == part) else {
                return Ok(format!("SELECT * FROM ({rows}) WHERE 1"));
            };
            keys.push(super::super::operate::order_key(&names[place], table.columns[*part].data_type));
            present.push(format!("{} IS NOT NULL", names[place]));
        }
        Ok(format!(
            "SELECT * FROM (WITH {alias}({}) AS MATERIALIZED ({rows}) SELECT * FROM {alias} WHERE pg_affects_once(\
             EXISTS (SELECT 1 FROM {alias} WHERE {} GROUP BY {} HAVING count(*) > 1))) WHERE 1",
            names.join(", "),
            present.join(" AND "),
            keys.join(", ")
        ))
    }
}

/// The rows of a plain VALUES list.
fn plain_values(query: &ast::Query) -> Option<&[ast::Parens<Vec<ast::Expr>>]> {
    let plain = query.with.is_none()
        && query.order_by.is_none()
        && query.limit_clause.is_none()
        && query.fetch.is_none()
        && query.locks.is_empty();
    match query.body.as_ref() {
        SetExpr::Values(values) if plain => Some(&values.rows),
        _ => None,
    }
}

/// Adds the columns that are filled though the statement leaves them out.
fn columns_of(table: &Table, given: Vec<usize>) -> Columns {
    let filled = |index: &usize| {
        let column = &table.columns[*index];
        column.default.is_some() || column.identity.is_some() || is_row_id(table, *index)
    };
    let mut left_out: Vec<usize> =
        (0..table.columns.len()).filter(|index| !given.contains(index)).filter(filled).collect();
    if given.is_empty() && left_out.is_empty() {
        // A row needs a column to be written.
        left_out.extend((!table.columns.is_empty()).then_some(0));
    }
    Columns { given, left_out }
}

/// Clauses that other dialects have.
fn check_plain(insert: &ast::Insert) -> Result<()> {
    let foreign = insert.or.is_some()
        || insert.ignore
        || !insert.into
        || insert.overwrite
        || !insert.assignments.is_empty()
        || insert.partitioned.is_some()
        || !insert.after_columns.is_empty()
        || insert.has_table_keyword
        || insert.output.is_some()
        || insert.replace_into
        || insert.priority.is_some()
        || insert.insert_alias.is_some()
        || insert.settings.is_some()
        || insert.format_clause.is_some()
        || insert.multi_table_insert_type.is_some();
    if foreign { Err(Error::new(SqlState::SYNTAX_ERROR, "a clause of INSERT that is not Postgres's")) } else { Ok(()) }
}

/// The row that ON CONFLICT DO UPDATE did not insert.
pub(super) fn excluded(table: &Arc<Table>) -> Item {
    Item::of_table(table, "excluded".to_owned(), "excluded")
}
