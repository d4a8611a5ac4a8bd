//! The name that Postgres gives a result column without an alias.
//!
//! Source: `FigureColname` in Postgres's `parse_target.c`.

use crate::sql::ast::{AccessExpr, DataType, Expr, FunctionArguments, ObjectNamePart, SelectItem, SetExpr};
use crate::sql::{fold, function_name, with_stack};

/// Postgres's name for what has none.
const UNNAMED: &str = "?column?";

pub(super) fn column_name(expression: &Expr) -> String {
    named(expression).map_or_else(|| UNNAMED.to_owned(), |(name, _)| name)
}

/// The name, and whether it is better than a type's.
fn named(expression: &Expr) -> Option<(String, bool)> {
    let strong = |name: &str| Some((name.to_owned(), true));
    match expression {
        Expr::Identifier(name) => Some((fold(name).into_owned(), true)),
        Expr::CompoundIdentifier(parts) => parts.last().map(|name| (fold(name).into_owned(), true)),
        Expr::CompoundFieldAccess { root, access_chain } => {
            let field = access_chain.iter().rev().find_map(|access| match access {
                AccessExpr::Dot(Expr::Identifier(field)) => Some((fold(field).into_owned(), true)),
                _ => None,
            });
            field.or_else(|| with_stack(|| named(root)))
        }
        Expr::Nested(inner) | Expr::Collate { expr: inner, .. } => with_stack(|| named(inner)),
        Expr::Cast { expr, data_type, .. } => match with_stack(|| named(expr)) {
            Some((name, true)) => Some((name, true)),
            _ => Some((type_name(data_type), false)),
        },
        Expr::TypedString(typed) => Some((type_name(&typed.data_type), false)),
        Expr::Interval(_) => Some(("interval".into(), false)),
        Expr::Function(function) => match function.args {
            FunctionArguments::Subquery(_) if is_array(&function.name) => strong("array"),
            _ => match function_name(&function.name) {
                Some(name) => Some((name.into_owned(), true)),
                None => match function.name.0.last() {
                    Some(ObjectNamePart::Identifier(name)) => Some((fold(name).into_owned(), true)),
                    _ => None,
                },
            },
        },
        Expr::Case { else_result, .. } => match else_result.as_ref().and_then(|result| with_stack(|| named(result))) {
            Some((name, true)) => Some((name, true)),
            _ => Some(("case".into(), false)),
        },
        Expr::Exists { negated: false, .. } => strong("exists"),
        Expr::Array(_) => strong("array"),
        Expr::Subquery(query) => match &*query.body {
            SetExpr::Select(select) => match select.projection.first()? {
                SelectItem::ExprWithAlias { alias, .. } => Some((fold(alias).into_owned(), true)),
                SelectItem::UnnamedExpr(expression) => with_stack(|| named(expression)),
                _ => None,
            },
            SetExpr::Values(_) => strong("column1"),
            _ => None,
        },
        Expr::Extract { .. } => strong("extract"),
        Expr::Position { .. } => strong("position"),
        Expr::Substring { .. } => strong("substring"),
        Expr::Overlay { .. } => strong("overlay"),
        Expr::AtTimeZone { .. } => strong("timezone"),
        Expr::Ceil { .. } => strong("ceil"),
        Expr::Floor { .. } => strong("floor"),
        Expr::Trim { trim_where, .. } => strong(match trim_where {
            Some(crate::sql::ast::TrimWhereField::Leading) => "ltrim",
            Some(crate::sql::ast::TrimWhereField::Trailing) => "rtrim",
            _ => "btrim",
        }),
        Expr::Tuple(_) => strong("row"),
        Expr::Value(value) => match value.value {
            crate::sql::ast::Value::Boolean(_) => Some(("bool".into(), false)),
            _ => None,
        },
        _ => None,
    }
}

fn is_array(name: &crate::sql::ast::ObjectName) -> bool {
    function_name(name).is_some_and(|name| name == "array")
}

/// `typname` of a type as it is written.
fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Array(element) => match element {
            crate::sql::ast::ArrayElemTypeDef::SquareBracket(element, _)
            | crate::sql::ast::ArrayElemTypeDef::AngleBracket(element)
            | crate::sql::ast::ArrayElemTypeDef::Parenthesis(element) => type_name(element),
            _ => "array".into(),
        },
        DataType::BigInt(_) | DataType::Int8(_) => "int8".into(),
        DataType::Int(_) | DataType::Integer(_) | DataType::Int4(_) => "int4".into(),
        DataType::SmallInt(_) | DataType::Int2(_) => "int2".into(),
        DataType::Real | DataType::Float4 => "float4".into(),
        DataType::DoublePrecision | DataType::Float8 | DataType::Double(_) | DataType::Float(_) => "float8".into(),
        DataType::Numeric(_) | DataType::Decimal(_) | DataType::Dec(_) => "numeric".into(),
        DataType::Boolean | DataType::Bool => "bool".into(),
        DataType::Varchar(_) | DataType::CharacterVarying(_) | DataType::CharVarying(_) => "varchar".into(),
        DataType::Char(_) | DataType::Character(_) => "bpchar".into(),
        DataType::Timestamp(_, zone) => zoned("timestamp", zone),
        DataType::Time(_, zone) => zoned("time", zone),
        DataType::Interval { .. } => "interval".into(),
        other => other.to_string().split(['(', ' ']).next().unwrap_or_default().to_ascii_lowercase(),
    }
}

fn zoned(name: &str, zone: &crate::sql::ast::TimezoneInfo) -> String {
    use crate::sql::ast::TimezoneInfo::{Tz, WithTimeZone};
    if matches!(zone, Tz | WithTimeZone) { format!("{name}tz") } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::parse_expression;

    #[test]
    fn columns_are_named_as_postgres_names_them() {
        for (text, name) in [
            ("a", "a"),
            ("t.\"B\"", "B"),
            ("count(*)", "count"),
            ("a + 1", "?column?"),
            ("5", "?column?"),
            ("a::text", "a"),
            ("a::text COLLATE \"C\"", "a"),
            ("'x'::text COLLATE \"C\"", "text"),
            ("5::text", "text"),
            ("sum(a)::int", "sum"),
            ("'x'::timestamptz", "timestamptz"),
            ("date '2020-01-01'", "date"),
            ("CASE WHEN a THEN 1 END", "case"),
            ("CASE WHEN a THEN 1 ELSE b END", "b"),
            ("coalesce(a, 1)", "coalesce"),
            ("(a)", "a"),
            ("EXISTS (SELECT 1)", "exists"),
            ("(SELECT max(x) FROM t)", "max"),
            ("extract(year FROM a)", "extract"),
            ("trim(a)", "btrim"),
            ("true", "bool"),
            ("-a", "?column?"),
        ] {
            assert_eq!(column_name(&parse_expression(text).unwrap()), name, "{text}");
        }
    }
}
