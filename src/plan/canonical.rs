//! Whether two expressions are the same, however their names are written.

use std::ops::ControlFlow;

use super::scope::{Column, Scope};
use crate::sql::ast::{Expr, Function, Ident, ObjectName, ObjectNamePart, Query};
use crate::sql::{VisitorMut, function_name, walk_mut, with_stack};

/// An expression with its columns named by relation and its parentheses removed: equal ones mean the same.
pub(super) fn canonical(expression: &Expr, scope: &Scope<'_>) -> Expr {
    with_stack(|| {
        let mut copy = expression.clone();
        let _ = walk_mut(&mut copy, &mut Canonical { scope, depth: 0 });
        copy
    })
}

/// The canonical form of a column by itself.
pub(super) fn canonical_column(column: &Column) -> Expr {
    let ident = |value: String| Ident { value, quote_style: None, span: crate::sql::Span::empty() };
    // No relation's name begins with `#` unless it was quoted, and quoted names are not kept here.
    let relation =
        if column.of_either { format!("#full {}", column.relation) } else { format!("#{}", column.relation) };
    Expr::CompoundIdentifier(vec![ident(relation), ident(column.name.clone())])
}

struct Canonical<'c, 's> {
    scope: &'c Scope<'s>,
    depth: usize,
}

impl VisitorMut for Canonical<'_, '_> {
    type Break = ();

    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        if self.depth > 0 {
            return ControlFlow::Continue(());
        }
        match expression {
            Expr::Identifier(_) | Expr::CompoundIdentifier(_) => {
                if let Some(found) = self.scope.find(expression).filter(|found| !found.outer) {
                    *expression = canonical_column(&found.column);
                }
            }
            Expr::Nested(inner) => {
                let inner = std::mem::replace(&mut **inner, Expr::Tuple(Vec::new()));
                *expression = inner;
            }
            Expr::Function(Function { name, .. }) => {
                if let Some(folded) = function_name(name).map(std::borrow::Cow::into_owned) {
                    *name = ObjectName(vec![ObjectNamePart::Identifier(Ident {
                        value: folded,
                        quote_style: None,
                        span: crate::sql::Span::empty(),
                    })]);
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}
