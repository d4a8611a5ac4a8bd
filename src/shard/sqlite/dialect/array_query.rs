//! `ARRAY(SELECT ...)`: a subquery's one column as an array. It parses as a function that takes a query.

use super::Translator;
use super::expression::Place;
use super::form::cell;
use super::names::QualifiedName;
use super::typed::{Origin, Typed};
use crate::error::{Error, Result, SqlState};
use crate::sql::ast;

impl Translator<'_> {
    /// The only function that takes a query.
    pub(super) fn array_query(&mut self, name: &QualifiedName, query: &ast::Query, place: Place<'_>) -> Result<Typed> {
        if name.name != "array" || name.schema.is_some() {
            return Err(Error::new(SqlState::SYNTAX_ERROR, "syntax error at or near \"SELECT\""));
        }
        let (output, facts) = self.subquery(query, place)?;
        let [column] = output.columns.as_slice() else {
            return Err(Error::new(SqlState::SYNTAX_ERROR, "subquery must return only one column"));
        };
        let Some(data_type) = column.data_type.array() else {
            let message = format!("could not find array type for data type {}", column.data_type);
            return Err(Error::new(SqlState::UNDEFINED_OBJECT, message));
        };
        let alias = self.alias();
        let value = Typed::computed(format!("{alias}.{}", output.column_names[0]), column.data_type, []);
        // Without rows it is empty, not NULL.
        let sql = format!("coalesce((SELECT pg_array_agg({}) FROM ({}) AS {alias}), '[]')", cell(&value), output.sql);
        let mut typed = Typed::computed(sql, data_type, []);
        typed.origin = Origin::Computed;
        typed.facts = facts;
        typed.facts.not_null = true;
        Ok(typed)
    }
}

/// The name of a function that is called.
pub(super) fn function_name(written: &ast::ObjectName) -> Result<QualifiedName> {
    let mut name = QualifiedName::new(written)?;
    // The one function of information_schema that is asked for: JDBC finds primary keys with it.
    if name.name == "_pg_expandarray" && name.schema.as_deref() == Some("information_schema") {
        name.schema = None;
    }
    Ok(name)
}
