//! The name that Postgres gives a result column without an alias (`FigureColname`).

use super::names::fold;
use crate::sql::ast::{self, Expr};

/// The name of a result column.
pub(super) fn column_name(expression: &Expr) -> String {
    name_of(expression).map_or_else(|| "?column?".to_owned(), |(name, _)| name)
}

/// A name, and whether it is the expression's own rather than a stopgap such as its type's.
fn name_of(expression: &Expr) -> Option<(String, bool)> {
    let own = |name: &str| Some((name.to_owned(), true));
    match expression {
        Expr::Identifier(name) => Some((fold(name), true)),
        Expr::CompoundIdentifier(parts) => parts.last().map(|name| (fold(name), true)),
        Expr::CompoundFieldAccess { root, access_chain } => {
            let field = access_chain.iter().rev().find_map(|access| match access {
                ast::AccessExpr::Dot(Expr::Identifier(field)) => Some(fold(field)),
                _ => None,
            });
            field.map_or_else(|| name_of(root), |field| own(&field))
        }
        Expr::Nested(inner) | Expr::Collate { expr: inner, .. } => name_of(inner),
        Expr::Function(function) => {
            let name = match function.name.0.last() {
                Some(ast::ObjectNamePart::Identifier(name)) => fold(name),
                _ => return None,
            };
            Some((name, true))
        }
        Expr::Cast { expr, data_type, .. } => match name_of(expr) {
            Some((name, true)) => Some((name, true)),
            _ => Some((type_name(data_type), false)),
        },
        Expr::TypedString(typed) => Some((type_name(&typed.data_type), false)),
        Expr::Interval(_) => Some(("interval".to_owned(), false)),
        Expr::Value(_) => None,
        Expr::Case { else_result, .. } => match else_result.as_deref().and_then(name_of) {
            Some((name, true)) => Some((name, true)),
            _ => Some(("case".to_owned(), false)),
        },
        Expr::Exists { .. } => own("exists"),
        Expr::Array(_) => own("array"),
        Expr::Tuple(_) => own("row"),
        Expr::Extract { .. } => own("extract"),
        Expr::Ceil { .. } => own("ceil"),
        Expr::Floor { .. } => own("floor"),
        Expr::Position { .. } => own("position"),
        Expr::Substring { shorthand, .. } => own(if *shorthand { "substr" } else { "substring" }),
        Expr::Overlay { .. } => own("overlay"),
        Expr::Trim { trim_where, .. } => own(match trim_where {
            Some(ast::TrimWhereField::Leading) => "ltrim",
            Some(ast::TrimWhereField::Trailing) => "rtrim",
            _ => "btrim",
        }),
        Expr::AtTimeZone { .. } => own("timezone"),
        Expr::Subquery(query) => subquery_name(query),
        _ => None,
    }
}

fn subquery_name(query: &ast::Query) -> Option<(String, bool)> {
    let mut body = query.body.as_ref();
    loop {
        match body {
            ast::SetExpr::Query(inner) => body = inner.body.as_ref(),
            ast::SetExpr::SetOperation { left, .. } => body = left,
            ast::SetExpr::Values(_) => return Some(("column1".to_owned(), true)),
            ast::SetExpr::Select(select) => {
                return match select.projection.first()? {
                    ast::SelectItem::ExprWithAlias { alias, .. } => Some((fold(alias), true)),
                    ast::SelectItem::UnnamedExpr(expression) => name_of(expression),
                    _ => None,
                };
            }
            _ => return None,
        }
    }
}

fn type_name(data_type: &ast::DataType) -> String {
    match super::data_type::type_name(data_type) {
        Ok(known) => known.data_type.element().unwrap_or(known.data_type).name().to_owned(),
        Err(_) => "?column?".to_owned(),
    }
}
