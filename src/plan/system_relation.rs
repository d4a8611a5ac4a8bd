//! Relations of the system catalog: they follow from the schema, have no keys, and are read without any shard.

use std::sync::Arc;

use super::analysis::Analysis;
use super::scope::{Column, Relation, Source};
use crate::error::{Error, Result};
use crate::sql::ast::{ObjectName, Spanned};
use crate::sql::{name_parts, position_of};
use crate::system_catalog;
use crate::topology::{Schema, Table};

impl Analysis<'_> {
    /// A relation of the system catalog in FROM.
    pub(super) fn system_relation(&mut self, schema: Option<&str>, name: &str, written: &ObjectName) -> Result<Source> {
        let Some(table) = system_catalog::find(schema, name) else {
            let shown = schema.map_or_else(|| name.to_owned(), |schema| format!("{schema}.{name}"));
            let error = Error::unsupported(
                format_args!("the system relation {shown}"),
                "docs/system-catalog.md lists those that there are.",
            );
            return Err(match position_of(self.text, written.span()) {
                Some(position) => error.position(position),
                None => error,
            });
        };
        self.names_catalog = true;
        let columns = table.columns.iter().map(|column| Column::new(column.name.clone(), None, Some(column.data_type)));
        Ok(Source::of(Relation { name: name.to_owned(), columns: columns.collect(), complete: true }, None))
    }

    /// A table that a statement writes.
    ///
    /// # Errors
    /// 42P01 when there is none of this name; 0A000 for the system catalog.
    pub(super) fn written_table(&self, name: &ObjectName) -> Result<Arc<Table>> {
        let parts = name_parts(name).unwrap_or_default();
        let system = match parts.as_slice() {
            [table] => names_system_relation(self.schema, None, table),
            [schema, table] => names_system_relation(self.schema, Some(schema), table),
            _ => false,
        };
        if system {
            return Err(Error::unsupported(
                format!("a write to the system catalog ({})", parts.join(".")),
                "It follows from the tables: change them with CREATE, ALTER and DROP.",
            ));
        }
        self.find_table(name)
    }

    /// # Errors
    /// 0A000: the statement reads the system catalog together with tables.
    pub(super) fn refuse_mixture(&self) -> Result<()> {
        if self.tables.is_empty() { Ok(()) } else { self.refuse_catalog() }
    }

    /// # Errors
    /// 0A000: the statement reads the system catalog.
    pub(super) fn refuse_catalog(&self) -> Result<()> {
        if !self.names_catalog {
            return Ok(());
        }
        Err(Error::unsupported(
            "a statement on tables and the system catalog together",
            "Read the catalog in a statement of its own, and give its answer to the other as parameters.",
        ))
    }
}

/// Whether a name means a relation of the system catalog rather than a table.
pub(super) fn names_system_relation(tables: &Schema, schema: Option<&str>, name: &str) -> bool {
    match schema {
        Some(schema) => system_catalog::is_system_schema(schema),
        // The search path has pg_catalog first; a table may be called pg_something all the same.
        None => system_catalog::find(None, name).is_some() || (name.starts_with("pg_") && tables.table(name).is_none()),
    }
}
