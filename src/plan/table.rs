//! Names of tables: what they mean, and what a table is to the query that names it.

use std::sync::Arc;

use super::analysis::Analysis;
use super::graph::Variable;
use super::place::Place;
use super::scope::{Column, Relation, Source};
use super::system_relation::names_system_relation;
use super::with::Ctes;
use crate::error::{Error, Result, SqlState};
use crate::sql::ast::{ObjectName, Spanned};
use crate::sql::{name_parts, position_of};
use crate::topology::Table;

impl Analysis<'_> {
    /// A name in FROM: a WITH query, a table, or a table of the catalog.
    pub(super) fn named_table(&mut self, name: &ObjectName, place: Place<'_>) -> Result<Source> {
        let parts = name_parts(name).unwrap_or_default();
        let (schema, table) = match parts.as_slice() {
            [table] => (None, table.as_ref()),
            [schema, table] => (Some(schema.as_ref()), table.as_ref()),
            _ => return Err(self.undefined_table(name)),
        };
        if schema.is_none()
            && let Some(found) = Ctes::find(place.ctes, table)
        {
            return self.cte(found, place.level);
        }
        if names_system_relation(self.schema, schema, table) {
            return self.system_relation(schema, table, name);
        }
        let table = self.find_table(name)?;
        Ok(self.table_source(&table, table.name.clone(), place.level)?.0)
    }

    /// A table of the user's.
    ///
    /// # Errors
    /// 42P01 when there is none of this name.
    pub(super) fn find_table(&self, name: &ObjectName) -> Result<Arc<Table>> {
        let found = match name_parts(name).unwrap_or_default().as_slice() {
            [table] => self.schema.table(table),
            [schema, table] if schema == "public" => self.schema.table(table),
            _ => None,
        };
        found.cloned().ok_or_else(|| self.refused_relation(name).unwrap_or_else(|| self.undefined_table(name)))
    }

    /// A relation that the shards have and that cannot be planned.
    fn refused_relation(&self, name: &ObjectName) -> Option<Error> {
        let refused = match name_parts(name)?.as_slice() {
            [table] => self.schema.refused.get(table.as_ref()),
            [schema, table] if schema == "public" => self.schema.refused.get(table.as_ref()),
            [schema, table] => self.schema.refused.get(&format!("{schema}.{table}")),
            _ => None,
        }?;
        let error = Error::unsupported(&refused.what, refused.hint.clone());
        Some(match position_of(self.text, name.span()) {
            Some(position) => error.position(position),
            None => error,
        })
    }

    /// A table as a part of FROM, under the name that it has there; its key, when it is sharded.
    pub(super) fn table_source(
        &mut self,
        table: &Table,
        name: String,
        level: usize,
    ) -> Result<(Source, Option<Variable>)> {
        let key = self.use_table(table, level)?;
        let column = |(number, column): (usize, &crate::topology::Column)| {
            let key = key.filter(|_| table.key_column() == Some(number));
            Column::new(column.name.clone(), key, column.known_type())
        };
        let columns = table.columns.iter().enumerate().map(column).collect();
        Ok((Source::of(Relation { name, columns, complete: true }, key), key))
    }

    fn undefined_table(&self, name: &ObjectName) -> Error {
        let parts = name_parts(name).unwrap_or_default();
        let text = if parts.is_empty() { name.to_string() } else { parts.join(".") };
        let error = Error::new(SqlState::UNDEFINED_TABLE, format!("relation \"{text}\" does not exist"));
        match position_of(self.text, name.span()) {
            Some(position) => error.position(position),
            None => error,
        }
    }
}
