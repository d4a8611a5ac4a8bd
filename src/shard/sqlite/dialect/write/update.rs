//! UPDATE.

use sqlparser::ast::Spanned;

use super::super::expression::{Clause, Place};
use super::super::names::{quote, quote_text};
use super::super::operate::order_key;
use super::super::query::Untyped;
use super::super::refusal;
use super::super::scope::Scope;
use super::super::typed::Typed;
use super::super::{Translator, Written};
use super::{ELSEWHERE, check_identity, is_default};
use crate::error::{Error, Result, SqlState};
use crate::shard::Tag;
use crate::sql::ast::{self, Expr};
use crate::topology::Table;
use crate::types::PgType;

impl Translator<'_> {
    pub(in super::super) fn update(&mut self, update: &ast::Update, parent: &Scope<'_>) -> Result<Written> {
        if update.or.is_some() || update.output.is_some() || !update.order_by.is_empty() || update.limit.is_some() {
            return Err(Error::new(SqlState::SYNTAX_ERROR, "a clause of UPDATE that is not Postgres's"));
        }
        let (name, alias) = plain_table(&update.table)?;
        let (table, item) = self.target(name, alias)?;
        let mut scope = Scope::inside(parent);
        self.frames.resize_with(self.frames.len().max(scope.depth + 1), Vec::new);
        scope.add(vec![item])?;
        let from = match &update.from {
            None => String::new(),
            Some(ast::UpdateTableFromKind::AfterSet(tables)) => self.tables_of(tables, &mut scope)?,
            Some(_) => return Err(Error::new(SqlState::SYNTAX_ERROR, "syntax error at or near \"FROM\"")),
        };
        let assignments = self.assignments(&update.assignments, &table, &scope)?;
        let condition = match &update.selection {
            None => String::new(),
            Some(condition) => {
                let typed = self.expression(condition, Place::condition(&scope, Clause::Where))?;
                format!(" WHERE {}", self.boolean(typed, "WHERE", condition.span())?.sql)
            }
        };
        let own_rows = assignments.iter().any(|assignment| assignment.contains("(SELECT "));
        let from = if from.is_empty() && own_rows {
            // SQLite computes all new values before it writes the first only when there is a FROM.
            format!(" FROM (SELECT 1) AS {}", self.alias())
        } else {
            from
        };
        let returned = returning_scope(&scope);
        let (returning, outputs) = self.returning(update.returning.as_deref(), &returned)?;
        let sql = format!("UPDATE {} SET {}{from}{condition}{returning}", quote(&table.name), assignments.join(", "));
        Ok(Self::written(sql, outputs, Tag::Update))
    }

    /// SET: `"column" = value`, each.
    pub(super) fn assignments(
        &mut self,
        assignments: &[ast::Assignment],
        table: &Table,
        scope: &Scope<'_>,
    ) -> Result<Vec<String>> {
        let mut texts = Vec::with_capacity(assignments.len());
        let mut set = Vec::new();
        for assignment in assignments {
            match &assignment.target {
                ast::AssignmentTarget::ColumnName(name) => {
                    let index = self.set_column(name, table, &mut set)?;
                    let value = self.set_value(&assignment.value, table, index, scope)?;
                    texts.push(format!("{} = {}", quote(&table.columns[index].name), value.sql));
                }
                ast::AssignmentTarget::Tuple(names) => {
                    let indexes =
                        names.iter().map(|name| self.set_column(name, table, &mut set)).collect::<Result<Vec<_>>>()?;
                    self.set_row(&indexes, &assignment.value, table, scope, &mut texts)?;
                }
            }
        }
        Ok(texts)
    }

    fn set_column(&mut self, name: &ast::ObjectName, table: &Table, set: &mut Vec<usize>) -> Result<usize> {
        let ident = match name.0.as_slice() {
            [ast::ObjectNamePart::Identifier(ident)] => ident,
            // `SET table.column`: Postgres takes the first part for the column.
            [ast::ObjectNamePart::Identifier(ident), ..] => {
                self.target_column(table, ident)?;
                return Err(refusal::UPDATE_SUBFIELD.error());
            }
            _ => return Err(refusal::UPDATE_SUBFIELD.error()),
        };
        let (index, column) = self.target_column(table, ident)?;
        if set.contains(&index) {
            let message = format!("multiple assignments to same column \"{}\"", column.name);
            return Err(Error::new(SqlState::SYNTAX_ERROR, message));
        }
        set.push(index);
        Ok(index)
    }

    fn set_value(&mut self, value: &Expr, table: &Table, index: usize, scope: &Scope<'_>) -> Result<Typed> {
        let column = &table.columns[index];
        if is_default(value) {
            let typed = self.default_value(table, column)?;
            return Ok(self.guard_row_id(table, index, typed));
        }
        check_identity(column, true)?;
        let typed = self.expression(value, Place::new(scope, Clause::Update))?;
        let typed = self.assign(typed, column).map_err(|error| self.error_at(error, value.span()))?;
        let typed = self.guard_row_id(table, index, typed);
        Ok(self.guard_copied_key(table, index, scope, typed))
    }

    /// Whether rows of other tables, on every shard, refer to this column of a reference table's primary key. Its copies
    /// learn of a new key as of a deleted row and an inserted one, so ON DELETE would happen there, not ON UPDATE.
    fn is_copied_key(&self, table: &Table, index: usize) -> bool {
        let in_key = table.primary_key.as_ref().is_some_and(|key| key.columns.contains(&index));
        let refers = |other: &Table| other.foreign_keys.iter().any(|key| key.references == table.name);
        table.key_column().is_none() && in_key && self.schema.tables.values().any(|other| refers(other))
    }

    fn guard_copied_key(&self, table: &Table, index: usize, scope: &Scope<'_>, mut typed: Typed) -> Typed {
        let old = scope.items.first().and_then(|item| item.columns.get(index)).map(|column| column.sql.clone());
        if let (true, Some(old)) = (self.is_copied_key(table, index), old) {
            let same = format!("{} IS {old}", order_key("new_key.x", typed.data_type));
            let message = quote_text(refusal::COPIED_KEY.error().message());
            // Computed once: what is compared is what is written.
            typed.sql = format!(
                "(WITH new_key(x) AS MATERIALIZED (SELECT {}) \
                 SELECT CASE WHEN {same} THEN x ELSE pg_raise('0A000', {message}) END FROM new_key)",
                typed.sql
            );
        }
        typed
    }

    /// `SET (a, b) = (x, y)`, or a subquery.
    fn set_row(
        &mut self,
        indexes: &[usize],
        value: &Expr,
        table: &Table,
        scope: &Scope<'_>,
        texts: &mut Vec<String>,
    ) -> Result<()> {
        let mismatch = || Error::new(SqlState::SYNTAX_ERROR, "number of columns does not match number of values");
        let values: Vec<&Expr> = match value {
            Expr::Tuple(values) => values.iter().collect(),
            Expr::Nested(value) => vec![value],
            Expr::Subquery(query) => return self.set_subquery(indexes, query, table, scope, texts),
            Expr::Function(function) if is_row_constructor(function) => match &function.args {
                ast::FunctionArguments::List(list) => list
                    .args
                    .iter()
                    .map(|argument| match argument {
                        ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(value)) => Ok(value),
                        _ => Err(mismatch()),
                    })
                    .collect::<Result<_>>()?,
                _ => return Err(mismatch()),
            },
            _ => {
                let message = "source for a multiple-column UPDATE item must be a sub-SELECT or ROW() expression";
                return Err(self.error_at(Error::new(SqlState::FEATURE_NOT_SUPPORTED, message), value.span()));
            }
        };
        if values.len() != indexes.len() {
            return Err(mismatch());
        }
        for (index, value) in indexes.iter().zip(values) {
            let value = self.set_value(value, table, *index, scope)?;
            texts.push(format!("{} = {}", quote(&table.columns[*index].name), value.sql));
        }
        Ok(())
    }

    fn set_subquery(
        &mut self,
        indexes: &[usize],
        query: &ast::Query,
        table: &Table,
        scope: &Scope<'_>,
        texts: &mut Vec<String>,
    ) -> Result<()> {
        let types: Vec<PgType> = indexes.iter().map(|index| table.columns[*index].data_type).collect();
        let output = self.query(query, scope, Untyped::As(&types))?;
        if output.columns.len() != indexes.len() {
            return Err(Error::new(SqlState::SYNTAX_ERROR, "number of columns does not match number of values"));
        }
        let alias = self.alias();
        let mut values = Vec::with_capacity(indexes.len());
        for (index, (source, name)) in indexes.iter().zip(output.columns.iter().zip(&output.column_names)) {
            let column = &table.columns[*index];
            check_identity(column, true)?;
            if self.is_copied_key(table, *index) {
                return Err(refusal::COPIED_KEY.error());
            }
            let mut value = Typed::computed(format!("{alias}.{name}"), source.data_type, []);
            value.origin = super::super::typed::Origin::Computed;
            value.modifier = source.modifier;
            values.push(format!("pg_single({})", self.assign(value, column)?.sql));
        }
        let names: Vec<String> = indexes.iter().map(|index| quote(&table.columns[*index].name)).collect();
        let row = format!("(SELECT {} FROM ({}) AS {alias})", values.join(", "), output.sql);
        texts.push(format!("({}) = {row}", names.join(", ")));
        Ok(())
    }
}

/// What RETURNING sees: other tables' columns only to refuse them.
pub(super) fn returning_scope<'s>(scope: &Scope<'s>) -> Scope<'s> {
    let mut returned = Scope { parent: scope.parent, depth: scope.depth, ..Scope::default() };
    returned.items = scope.items.clone();
    for item in returned.items.iter_mut().skip(1) {
        for column in &mut item.columns {
            column.sql = ELSEWHERE.to_owned();
        }
    }
    returned
}

/// The one table of UPDATE or DELETE, and its alias.
pub(super) fn plain_table(table: &ast::TableWithJoins) -> Result<(&ast::ObjectName, Option<&ast::Ident>)> {
    let refused = || refusal::UPDATE_ALIAS_COLUMNS.error();
    if !table.joins.is_empty() {
        return Err(refused());
    }
    match &table.relation {
        ast::TableFactor::Table { name, alias, args: None, .. } => match alias {
            None => Ok((name, None)),
            Some(alias) if alias.columns.is_empty() => Ok((name, Some(&alias.name))),
            Some(_) => Err(refused()),
        },
        _ => Err(refused()),
    }
}

fn is_row_constructor(function: &ast::Function) -> bool {
    matches!(function.name.0.as_slice(), [ast::ObjectNamePart::Identifier(name)] if name.value.eq_ignore_ascii_case("row"))
}
