//! ON CONFLICT.

use std::sync::Arc;

use sqlparser::ast::Spanned;

use super::super::Translator;
use super::super::expression::{Clause, Place};
use super::super::names::{QualifiedName, quote};
use super::super::scope::{Item, Scope};
use crate::error::{Error, Result, SqlState};
use crate::sql::ast;
use crate::topology::Table;

/// ON CONFLICT's text, with a space before.
#[derive(Default)]
pub(super) struct Conflict {
    pub(super) sql: String,
    /// The key of DO UPDATE.
    pub(super) updated_key: Option<Vec<usize>>,
}

impl Translator<'_> {
    pub(super) fn on_conflict(
        &mut self,
        on: Option<&ast::OnInsert>,
        table: &Arc<Table>,
        item: &Item,
        scope: &Scope<'_>,
    ) -> Result<Conflict> {
        let on = match on {
            None => return Ok(Conflict::default()),
            Some(ast::OnInsert::OnConflict(on)) => on,
            Some(_) => return Err(Error::new(SqlState::SYNTAX_ERROR, "syntax error at or near \"DUPLICATE\"")),
        };
        let key = match &on.conflict_target {
            None => None,
            Some(ast::ConflictTarget::Columns(columns)) => Some(self.conflict_columns(columns, table)?),
            Some(ast::ConflictTarget::OnConstraint(name)) => Some(constraint_columns(name, table)?),
        };
        let target = match &key {
            None => String::new(),
            Some(columns) => {
                let names: Vec<String> = columns.iter().map(|index| quote(&table.columns[*index].name)).collect();
                format!(" ({})", names.join(", "))
            }
        };
        let update = match &on.action {
            ast::OnConflictAction::DoNothing => {
                return Ok(Conflict { sql: format!(" ON CONFLICT{target} DO NOTHING"), updated_key: None });
            }
            ast::OnConflictAction::DoUpdate(update) => update,
        };
        if key.is_none() {
            let message = "ON CONFLICT DO UPDATE requires inference specification or constraint name";
            return Err(Error::new(SqlState::SYNTAX_ERROR, message).hint("For example, ON CONFLICT (column_name)."));
        }
        let mut inner = Scope { parent: scope.parent, depth: scope.depth, ..Scope::default() };
        inner.add(vec![item.clone(), super::insert::excluded(table)])?;
        let assignments = self.assignments(&update.assignments, table, &inner)?;
        let mut sql = format!(" ON CONFLICT{target} DO UPDATE SET {}", assignments.join(", "));
        if let Some(condition) = &update.selection {
            let typed = self.expression(condition, Place::condition(&inner, Clause::Where))?;
            let typed = self.boolean(typed, "WHERE", condition.span())?;
            sql.push_str(&format!(" WHERE {}", typed.sql));
        }
        Ok(Conflict { sql, updated_key: key })
    }

    /// The key whose columns these are, in the key's order.
    fn conflict_columns(&mut self, names: &[ast::Ident], table: &Table) -> Result<Vec<usize>> {
        let mut wanted = Vec::with_capacity(names.len());
        for name in names {
            let folded = super::super::names::fold(name);
            let Some((index, _)) = table.column(&folded) else {
                let message = format!("column \"{folded}\" does not exist");
                return Err(self.error_at(Error::new(SqlState::UNDEFINED_COLUMN, message), name.span));
            };
            if !wanted.contains(&index) {
                wanted.push(index);
            }
        }
        let same =
            |columns: &Vec<usize>| columns.len() == wanted.len() && columns.iter().all(|index| wanted.contains(index));
        let keys = table.primary_key.iter().chain(&table.unique_keys).map(|key| key.columns.clone());
        let indexes = table.indexes.iter().filter(|index| index.unique).filter_map(|index| index_columns(index, table));
        keys.chain(indexes).find(same).ok_or_else(|| {
            Error::new(
                SqlState::INVALID_COLUMN_REFERENCE,
                "there is no unique or exclusion constraint matching the ON CONFLICT specification",
            )
        })
    }
}

fn constraint_columns(name: &ast::ObjectName, table: &Table) -> Result<Vec<usize>> {
    let name = QualifiedName::new(name)?;
    let mut keys = table.primary_key.iter().chain(&table.unique_keys);
    keys.find(|key| key.name == name.name).map(|key| key.columns.clone()).ok_or_else(|| {
        let message = format!("constraint \"{}\" for table \"{}\" does not exist", name.name, table.name);
        Error::new(SqlState::UNDEFINED_OBJECT, message)
    })
}

/// The columns of a unique index that is over plain columns and all rows.
fn index_columns(index: &crate::topology::Index, table: &Table) -> Option<Vec<usize>> {
    let statements =
        sqlparser::parser::Parser::parse_sql(&sqlparser::dialect::PostgreSqlDialect {}, &index.definition).ok()?;
    let [ast::Statement::CreateIndex(definition)] = statements.as_slice() else { return None };
    if definition.predicate.is_some() {
        return None;
    }
    let column = |key: &ast::IndexColumn| match &key.column.expr {
        ast::Expr::Identifier(name) => table.column(&super::super::names::fold(name)).map(|(index, _)| index),
        _ => None,
    };
    definition.columns.iter().map(column).collect()
}
