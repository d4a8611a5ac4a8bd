//! Subqueries in expressions: EXISTS, IN, = ANY, and those that give a value.

use std::collections::HashMap;
use std::ops::ControlFlow;

use super::analysis::Analysis;
use super::graph::Variable;
use super::place::Place;
use super::predicate::key_column;
use super::scope::Scope;
use crate::error::{Error, Result};
use crate::sql::ast::{BinaryOperator, Expr, Query, Visit};
use crate::sql::{Visitor, walk};

impl Analysis<'_> {
    /// Reads the subqueries in a part of the tree; the keys of those that have sharded tables are added to `strays`.
    /// `positive`: the subqueries that a key of the row must be in.
    pub(super) fn subqueries<T: Visit>(
        &mut self,
        tree: &T,
        scope: &Scope<'_>,
        place: Place<'_>,
        positive: &[usize],
        strays: &mut Vec<Variable>,
    ) -> Result<()> {
        let place = Place { outer: Some(scope), ..place.inside() };
        let mut reader = Reader { analysis: self, place, positive, depth: 0, compared: HashMap::new(), strays };
        match walk(tree, &mut reader) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(error) => Err(*error),
        }
    }
}

struct Reader<'v, 'a, 's> {
    analysis: &'v mut Analysis<'a>,
    /// Where the subqueries stand.
    place: Place<'s>,
    positive: &'v [usize],
    depth: usize,
    /// The key that is compared with a subquery's rows, by the subquery's address.
    compared: HashMap<usize, Variable>,
    strays: &'v mut Vec<Variable>,
}

impl Reader<'_, '_, '_> {
    fn read(&mut self, query: &Query) -> Result<()> {
        let output = self.analysis.query(query, self.place)?;
        self.strays.extend(output.anchor);
        let address = std::ptr::from_ref(query) as usize;
        let (Some(&key), [column]) = (self.compared.get(&address), output.columns.as_slice()) else { return Ok(()) };
        let Some(inner) = column.key else { return Ok(()) };
        let positive = self.positive.contains(&address);
        let graph = &mut self.analysis.graph;
        // Rows of other keys do not matter to IN, except that a NULL among them, or a NULL that is looked for among any,
        // turns "false" into NULL.
        if !positive && (graph.is_missing(key) || graph.is_missing(inner)) {
            return Ok(());
        }
        graph.implies(key, inner);
        graph.unite(inner, key, self.place.level);
        if positive {
            graph.implies(inner, key);
        }
        Ok(())
    }

    fn compare(&mut self, left: &Expr, query: &Query) {
        let scope = self.place.outer;
        if let Some(key) = scope.and_then(|scope| key_column(left, scope, self.analysis.key_type))
            && !key.outer
        {
            self.compared.insert(std::ptr::from_ref(query) as usize, key.variable);
        }
    }
}

impl Visitor for Reader<'_, '_, '_> {
    type Break = Box<Error>;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Box<Error>> {
        self.depth += 1;
        if self.depth == 1
            && let Err(error) = self.read(query)
        {
            return ControlFlow::Break(Box::new(error));
        }
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<Box<Error>> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<Box<Error>> {
        if self.depth == 0 {
            match expression {
                Expr::InSubquery { expr, subquery, .. } => self.compare(expr, subquery),
                Expr::AnyOp { left, compare_op: BinaryOperator::Eq, right, .. } => {
                    if let Expr::Subquery(query) = super::key::strip(right) {
                        self.compare(left, query);
                    }
                }
                _ => {}
            }
        }
        ControlFlow::Continue(())
    }
}
