//! Postgres's dialect into SQLite's. Pure: a tree and a schema in, a program out.

use crate::error::Result;
use crate::shard::sqlite::Program;
use crate::sql::{LiteralKind, ast};
use crate::topology::Schema;
use crate::types::PgType;

/// What is known of a statement's placeholders before it is translated.
#[derive(Clone, Copy, Debug)]
pub struct ParameterTypes<'a> {
    /// The types that the client declared, `None` where it left them to be inferred. `$1` is the first. May be shorter
    /// than the client's parameters.
    pub declared: &'a [Option<PgType>],
    /// How many of the placeholders are the client's own.
    pub client_parameters: usize,
    /// What the placeholders after them stand for.
    pub lifted: &'a [LiteralKind],
    /// The text that the tree was parsed from, which the positions of errors count in; empty when there is none.
    pub text: &'a str,
}

/// Translates a query or a write.
pub fn translate(_statement: &ast::Statement, _schema: &Schema, _parameters: ParameterTypes<'_>) -> Result<Program> {
    todo!()
}
