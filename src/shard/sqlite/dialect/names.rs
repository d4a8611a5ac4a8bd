//! Names: Postgres's folding, SQLite's quoting.

use sqlparser::tokenizer::Span;

use crate::error::{Error, Result, SqlState};
use crate::sql::ast;

/// The longest name that Postgres keeps, in bytes (`NAMEDATALEN - 1`).
const NAME_BYTES: usize = 63;

/// A name as the catalog stores it: folded to lower case unless it was quoted, and cut to 63 bytes.
pub(super) fn fold(name: &ast::Ident) -> String {
    let mut folded = if name.quote_style.is_some() { name.value.clone() } else { name.value.to_ascii_lowercase() };
    cut(&mut folded, NAME_BYTES);
    folded
}

/// Cuts a name to at most `bytes`, at a character's edge.
pub(super) fn cut(name: &mut String, bytes: usize) {
    let mut end = bytes.min(name.len());
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name.truncate(end);
}

/// A name in SQLite's text.
pub(super) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A string in SQLite's text.
pub(super) fn quote_text(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A name with at most a schema before it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct QualifiedName {
    pub(super) schema: Option<String>,
    pub(super) name: String,
    pub(super) span: Span,
}

impl QualifiedName {
    /// # Errors
    /// 42601 or 0A000: the name has more parts than a schema and a name.
    pub(super) fn new(name: &ast::ObjectName) -> Result<QualifiedName> {
        let mut parts = Vec::with_capacity(2);
        for part in &name.0 {
            match part {
                ast::ObjectNamePart::Identifier(ident) => parts.push(ident),
                ast::ObjectNamePart::Function(_) => {
                    return Err(Error::new(SqlState::SYNTAX_ERROR, "a function call cannot be part of a name"));
                }
            }
        }
        match parts.as_slice() {
            [name] => Ok(QualifiedName { schema: None, name: fold(name), span: name.span }),
            [schema, name] => Ok(QualifiedName { schema: Some(fold(schema)), name: fold(name), span: schema.span }),
            _ => Err(Error::new(
                SqlState::FEATURE_NOT_SUPPORTED,
                format!("cross-database references are not implemented: {name}"),
            )),
        }
    }

    /// The name as messages print it.
    pub(super) fn display(&self) -> String {
        match &self.schema {
            Some(schema) => format!("{schema}.{}", self.name),
            None => self.name.clone(),
        }
    }

    /// In the one schema that there is, or in none.
    pub(super) fn is_public(&self) -> bool {
        self.schema.as_deref().is_none_or(|schema| schema == "public")
    }

    /// In Postgres's own schema, or in none.
    pub(super) fn is_builtin(&self) -> bool {
        self.schema.as_deref().is_none_or(|schema| schema == "pg_catalog")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_are_cut_at_a_character() {
        let mut name = "é".repeat(40);
        cut(&mut name, NAME_BYTES);
        assert_eq!(name.len(), 62);
    }
}
