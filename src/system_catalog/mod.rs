//! The system catalog: what `pg_catalog` and `information_schema` say of a schema.
//!
//! Postgres keeps its catalog in tables; here it is computed: [`contents`] turns a [`Schema`] into the rows that Postgres
//! would have for the same tables. Relations that describe what shardd does not have are there and empty. Pure: whoever
//! answers questions loads the rows into a database and asks it.
//!
//! <https://www.postgresql.org/docs/15/catalogs.html>, <https://www.postgresql.org/docs/15/information-schema.html>

mod constraints;
mod expression;
mod fixed;
mod indexes;
mod information;
mod model;
mod relations;
mod rows;
mod tables;
mod views;

use crate::topology::{Column, KV_KEYSPACE, Schema, Table};
use crate::types::Datum;

pub use fixed::{namespace_name, procedure_name, procedure_oid, type_name};
pub use relations::{Lookup, find, is_system_schema, lookups, relations};

/// What a catalog says besides the schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Surroundings {
    pub database: String,
    /// Who asks. Every user may do everything, so everything is theirs.
    pub user: String,
}

/// The rows of one relation.
#[derive(Debug)]
pub struct Relation {
    pub name: &'static str,
    pub rows: Vec<Vec<Datum>>,
}

/// The rows of all relations and lookups, those without any left out.
pub fn contents(schema: &Schema, surroundings: &Surroundings) -> Vec<Relation> {
    let model = model::Model::new(schema);
    let mut rows = rows::Rows::default();
    fixed::add(&mut rows, surroundings);
    tables::add(&mut rows, &model);
    indexes::add(&mut rows, &model);
    constraints::add(&mut rows, &model);
    views::add(&mut rows, &model, surroundings);
    information::add(&mut rows, &model, surroundings);
    rows.finish()
}

/// The table and the column that a sequence of this name is of.
pub fn sequence_of<'s>(schema: &'s Schema, name: &str) -> Option<(&'s Table, &'s Column)> {
    let tables = schema.tables.values().filter(|table| table.keyspace != KV_KEYSPACE);
    let mut columns = tables.flat_map(|table| table.columns.iter().map(move |column| (&**table, column)));
    columns.find(|(table, column)| column.identity.is_some() && model::sequence_name(table, column) == name)
}

#[cfg(test)]
mod tests;
