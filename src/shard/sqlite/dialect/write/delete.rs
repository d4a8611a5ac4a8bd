//! DELETE.

use sqlparser::ast::Spanned;

use super::super::expression::{Clause, Place};
use super::super::names::quote;
use super::super::scope::Scope;
use super::super::{Translator, Written};
use super::update::{plain_table, returning_scope};
use crate::error::{Error, Result, SqlState};
use crate::shard::Tag;
use crate::sql::ast;

impl Translator<'_> {
    pub(in super::super) fn delete(&mut self, delete: &ast::Delete, parent: &Scope<'_>) -> Result<Written> {
        let foreign = !delete.tables.is_empty()
            || delete.output.is_some()
            || !delete.order_by.is_empty()
            || delete.limit.is_some();
        let ast::FromTable::WithFromKeyword(tables) = &delete.from else {
            return Err(Error::new(SqlState::SYNTAX_ERROR, "DELETE needs FROM"));
        };
        let ([table], false) = (tables.as_slice(), foreign) else {
            return Err(Error::new(SqlState::SYNTAX_ERROR, "a clause of DELETE that is not Postgres's"));
        };
        let (name, alias) = plain_table(table)?;
        let (table, item) = self.target(name, alias)?;
        let mut scope = Scope::inside(parent);
        self.frames.resize_with(self.frames.len().max(scope.depth + 1), Vec::new);
        scope.add(vec![item])?;
        let using = match &delete.using {
            None => String::new(),
            Some(tables) => self.tables_of(tables, &mut scope)?,
        };
        let condition = match &delete.selection {
            None => String::new(),
            Some(condition) => {
                let typed = self.expression(condition, Place::condition(&scope, Clause::Where))?;
                format!(" WHERE {}", self.boolean(typed, "WHERE", condition.span())?.sql)
            }
        };
        // A row is deleted once, however many rows of the other tables fit.
        let condition =
            if using.is_empty() { condition } else { format!(" WHERE EXISTS (SELECT 1{using}{condition})") };
        let returned = returning_scope(&scope);
        let (returning, outputs) = self.returning(delete.returning.as_deref(), &returned)?;
        let sql = format!("DELETE FROM {}{condition}{returning}", quote(&table.name));
        Ok(Self::written(sql, outputs, Tag::Delete))
    }
}
