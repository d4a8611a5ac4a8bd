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

/// A name as it is written where it must mean exactly this: in quotes when it could be read otherwise.
pub fn quote_identifier(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    match plain && KEYWORDS.binary_search(&name).is_err() {
        true => name.to_owned(),
        false => format!("\"{}\"", name.replace('"', "\"\"")),
    }
}

/// Names that must be quoted: Postgres's keywords that are reserved, or are so for types, functions or columns.
///
/// More than the parser has to be stopped from taking for names, which [`check`](super::check) lists.
pub(super) const KEYWORDS: &[&str] = &[
    "all",
    "analyse",
    "analyze",
    "and",
    "any",
    "array",
    "as",
    "asc",
    "asymmetric",
    "authorization",
    "between",
    "bigint",
    "binary",
    "bit",
    "boolean",
    "both",
    "case",
    "cast",
    "char",
    "character",
    "check",
    "coalesce",
    "collate",
    "collation",
    "column",
    "concurrently",
    "constraint",
    "create",
    "cross",
    "current_catalog",
    "current_date",
    "current_role",
    "current_schema",
    "current_time",
    "current_timestamp",
    "current_user",
    "dec",
    "decimal",
    "default",
    "deferrable",
    "desc",
    "distinct",
    "do",
    "else",
    "end",
    "except",
    "exists",
    "extract",
    "false",
    "fetch",
    "float",
    "for",
    "foreign",
    "freeze",
    "from",
    "full",
    "grant",
    "greatest",
    "group",
    "grouping",
    "having",
    "ilike",
    "in",
    "initially",
    "inner",
    "inout",
    "int",
    "integer",
    "intersect",
    "interval",
    "into",
    "is",
    "isnull",
    "join",
    "lateral",
    "leading",
    "least",
    "left",
    "like",
    "limit",
    "localtime",
    "localtimestamp",
    "national",
    "natural",
    "nchar",
    "none",
    "normalize",
    "not",
    "notnull",
    "null",
    "nullif",
    "numeric",
    "offset",
    "on",
    "only",
    "or",
    "order",
    "out",
    "outer",
    "overlaps",
    "overlay",
    "placing",
    "position",
    "precision",
    "primary",
    "real",
    "references",
    "returning",
    "right",
    "row",
    "select",
    "session_user",
    "setof",
    "similar",
    "smallint",
    "some",
    "substring",
    "symmetric",
    "table",
    "tablesample",
    "then",
    "time",
    "timestamp",
    "to",
    "trailing",
    "treat",
    "trim",
    "true",
    "union",
    "unique",
    "user",
    "using",
    "values",
    "varchar",
    "variadic",
    "verbose",
    "when",
    "where",
    "window",
    "with",
    "xmlattributes",
    "xmlconcat",
    "xmlelement",
    "xmlexists",
    "xmlforest",
    "xmlnamespaces",
    "xmlparse",
    "xmlpi",
    "xmlroot",
    "xmlserialize",
    "xmltable",
];
