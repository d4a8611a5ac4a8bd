//! Walks over syntax trees.
//!
//! The parser's own walk is compiled anew for each visitor, hundreds of kilobytes at a time. Here it is compiled once, for
//! a visitor behind a pointer, with the hooks that somebody needs.

use std::ops::ControlFlow;

use super::ast::{self, Expr, ObjectName, Query, Select, Visit, VisitMut};

/// What a walk does at the nodes of a tree.
pub trait Visitor {
    /// What a walk that ends early gives.
    type Break;

    fn pre_visit_query(&mut self, _query: &Query) -> ControlFlow<Self::Break> {
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &Query) -> ControlFlow<Self::Break> {
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, _select: &Select) -> ControlFlow<Self::Break> {
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, _relation: &ObjectName) -> ControlFlow<Self::Break> {
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, _expression: &Expr) -> ControlFlow<Self::Break> {
        ControlFlow::Continue(())
    }
}

/// What a walk that changes a tree does at its nodes.
pub trait VisitorMut {
    /// What a walk that ends early gives.
    type Break;

    fn pre_visit_query(&mut self, _query: &mut Query) -> ControlFlow<Self::Break> {
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &mut Query) -> ControlFlow<Self::Break> {
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, _expression: &mut Expr) -> ControlFlow<Self::Break> {
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, _expression: &mut Expr) -> ControlFlow<Self::Break> {
        ControlFlow::Continue(())
    }
}

/// Visits the nodes of a tree, outer ones first.
pub fn walk<V: Visitor>(tree: &impl Visit, visitor: &mut V) -> ControlFlow<V::Break> {
    let mut keeper = Keeper { visitor, broken: None };
    let _ = tree.visit(&mut Erased(&mut keeper));
    keeper.broken.map_or(ControlFlow::Continue(()), ControlFlow::Break)
}

/// Visits the nodes of a tree to change them.
pub fn walk_mut<V: VisitorMut>(tree: &mut impl VisitMut, visitor: &mut V) -> ControlFlow<V::Break> {
    let mut keeper = Keeper { visitor, broken: None };
    let _ = tree.visit(&mut ErasedMut(&mut keeper));
    keeper.broken.map_or(ControlFlow::Continue(()), ControlFlow::Break)
}

/// Visits every expression, outer ones first.
pub fn walk_expressions<B>(tree: &impl Visit, visit: impl FnMut(&Expr) -> ControlFlow<B>) -> ControlFlow<B> {
    struct Each<F>(F);
    impl<B, F: FnMut(&Expr) -> ControlFlow<B>> Visitor for Each<F> {
        type Break = B;
        fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<B> {
            self.0(expression)
        }
    }
    walk(tree, &mut Each(visit))
}

/// Visits every expression to change it, inner ones first.
pub fn walk_expressions_mut(tree: &mut impl VisitMut, visit: impl FnMut(&mut Expr)) {
    struct Each<F>(F);
    impl<F: FnMut(&mut Expr)> VisitorMut for Each<F> {
        type Break = std::convert::Infallible;
        fn post_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<Self::Break> {
            self.0(expression);
            ControlFlow::Continue(())
        }
    }
    let ControlFlow::Continue(()) = walk_mut(tree, &mut Each(visit));
}

/// Whether a name that stands for a relation, anywhere in the tree, is as asked.
pub fn names_relation(tree: &impl Visit, asked: impl Fn(&ObjectName) -> bool) -> bool {
    struct Finder<F>(F);
    impl<F: Fn(&ObjectName) -> bool> Visitor for Finder<F> {
        type Break = ();
        fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
            if self.0(relation) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
    }
    walk(tree, &mut Finder(asked)).is_break()
}

/// A visitor, and what it broke off with.
struct Keeper<'v, V, B> {
    visitor: &'v mut V,
    broken: Option<B>,
}

impl<V, B> Keeper<'_, V, B> {
    fn keep(broken: &mut Option<B>, flow: ControlFlow<B>) -> ControlFlow<()> {
        flow.map_break(|value| *broken = Some(value))
    }
}

impl<V: Visitor> Visitor for Keeper<'_, V, V::Break> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        Self::keep(&mut self.broken, self.visitor.pre_visit_query(query))
    }

    fn post_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        Self::keep(&mut self.broken, self.visitor.post_visit_query(query))
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        Self::keep(&mut self.broken, self.visitor.pre_visit_select(select))
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
        Self::keep(&mut self.broken, self.visitor.pre_visit_relation(relation))
    }

    fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
        Self::keep(&mut self.broken, self.visitor.pre_visit_expr(expression))
    }
}

impl<V: VisitorMut> VisitorMut for Keeper<'_, V, V::Break> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        Self::keep(&mut self.broken, self.visitor.pre_visit_query(query))
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        Self::keep(&mut self.broken, self.visitor.post_visit_query(query))
    }

    fn pre_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        Self::keep(&mut self.broken, self.visitor.pre_visit_expr(expression))
    }

    fn post_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        Self::keep(&mut self.broken, self.visitor.post_visit_expr(expression))
    }
}

/// The one visitor that the parser's walk is compiled for.
struct Erased<'v>(&'v mut dyn Visitor<Break = ()>);

impl ast::Visitor for Erased<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        self.0.pre_visit_query(query)
    }

    fn post_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        self.0.post_visit_query(query)
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        self.0.pre_visit_select(select)
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
        self.0.pre_visit_relation(relation)
    }

    fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
        self.0.pre_visit_expr(expression)
    }
}

/// The one that changes trees.
struct ErasedMut<'v>(&'v mut dyn VisitorMut<Break = ()>);

impl ast::VisitorMut for ErasedMut<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        self.0.pre_visit_query(query)
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        self.0.post_visit_query(query)
    }

    fn pre_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        self.0.pre_visit_expr(expression)
    }

    fn post_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        self.0.post_visit_expr(expression)
    }
}
