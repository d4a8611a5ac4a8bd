//! Names in a tree: how Postgres folds them, and which table a dotted name means.

use std::borrow::Cow;

use super::ast::{self, Ident, ObjectName, ObjectNamePart};
use super::value::{cut_name, fold_name};

/// An identifier as Postgres keeps it: lower case unless it was quoted, cut to 63 bytes.
pub fn fold(ident: &Ident) -> Cow<'_, str> {
    match ident.quote_style {
        None => fold_name(&ident.value),
        Some(_) => Cow::Borrowed(cut_name(&ident.value)),
    }
}

/// The parts of a dotted name, folded; `None` when a part is no plain identifier.
pub fn name_parts(name: &ObjectName) -> Option<Vec<Cow<'_, str>>> {
    name.0
        .iter()
        .map(|part| match part {
            ObjectNamePart::Identifier(ident) => Some(fold(ident)),
            ObjectNamePart::Function(_) => None,
        })
        .collect()
}

/// The name of a function without `pg_catalog.`, folded; `None` for one of another schema.
pub fn function_name(name: &ObjectName) -> Option<Cow<'_, str>> {
    let mut parts = name_parts(name)?;
    let last = parts.pop()?;
    match parts.as_slice() {
        [] => Some(last),
        [schema] if schema == "pg_catalog" => Some(last),
        _ => None,
    }
}

/// An identifier that names exactly `name`, whatever its letters: quoted where it must be.
pub fn ident(name: &str) -> Ident {
    Ident::with_quote('"', name)
}

/// The number of a placeholder (`$3` is 3); `None` for any other expression.
pub fn placeholder_number(expression: &ast::Expr) -> Option<usize> {
    let ast::Expr::Value(value) = expression else { return None };
    let ast::Value::Placeholder(text) = &value.value else { return None };
    text.strip_prefix('$')?.parse().ok().filter(|number| *number > 0)
}
