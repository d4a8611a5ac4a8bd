//! The whole schema at once: for a shard that is added.

use super::super::names::quote;
use super::create_index::{index_statement, read_definition};
use super::sqlite_table::create_statement;
use crate::error::Result;
use crate::shard::sqlite::{forget_table_statements, store_table_statement};
use crate::topology::Schema;

/// What makes every table and index on a shard that has none.
///
/// # Errors
/// A table's definition cannot be written for SQLite.
pub fn create_all(schema: &Schema) -> Result<Vec<String>> {
    let mut statements = Vec::new();
    for table in schema.tables.values() {
        statements.push(create_statement(table, schema, &table.name)?);
        statements.push(store_table_statement(table)?);
        for index in &table.indexes {
            statements.push(index_statement(&read_definition(index)?, table, schema)?);
        }
    }
    Ok(statements)
}

/// What takes every table away.
pub fn drop_all(schema: &Schema) -> Vec<String> {
    let drop = |name: &String| {
        let forget = forget_table_statements(name);
        std::iter::once(format!("DROP TABLE {}", quote(name))).chain(forget)
    };
    schema.tables.keys().flat_map(drop).collect()
}
