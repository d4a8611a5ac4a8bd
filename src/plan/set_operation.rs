//! UNION, INTERSECT and EXCEPT: two queries whose rows meet.

use super::analysis::Analysis;
use super::graph::{Graph, Variable};
use super::place::Place;
use super::query::Output;
use super::scope::{Column, Source};
use crate::error::Result;
use crate::sql::ast::{Query, SetExpr, SetOperator, SetQuantifier};
use crate::sql::with_stack;

impl Analysis<'_> {
    pub(super) fn set_operation(
        &mut self,
        op: SetOperator,
        quantifier: SetQuantifier,
        left: &SetExpr,
        right: &SetExpr,
        place: Place<'_>,
    ) -> Result<Output> {
        // Each side is a query within this one: shards must be able to do it alone.
        let all = op == SetOperator::Union && quantifier == SetQuantifier::All;
        let distinct = op == SetOperator::Union && !all;
        let left = self.side(left, distinct, place.inside())?;
        let right = self.side(right, distinct, place.inside())?;
        let (one, other) = match (left.anchor, right.anchor) {
            (None, None) => {
                let plain = |column: Column| Column { key: None, ..column };
                let columns = left.columns.into_iter().map(plain).collect();
                return Ok(Output { columns, complete: left.complete, ..Output::default() });
            }
            (Some(one), Some(other)) => (one, other),
            _ => {
                self.cannot_scatter(
                    "a set operation of a sharded table with others, across shards",
                    "Give the key, so that one shard answers.",
                );
                return Ok(Output { anchor: left.anchor.or(right.anchor), ..Output::default() });
            }
        };
        let complete = left.complete && right.complete;
        let mut by_key = false;
        let mut columns = Vec::new();
        for (left, right) in left.columns.into_iter().zip(right.columns) {
            let key = match (left.key, right.key) {
                (Some(left), Some(right)) if both_divide(&mut self.graph, (left, one), (right, other)) => {
                    let both = self.graph.variable(place.level);
                    if self.graph.is_missing(left) || self.graph.is_missing(right) {
                        self.graph.may_be_missing(both);
                    } else {
                        by_key = true;
                    }
                    self.graph.unite(both, left, place.level);
                    self.graph.implies(both, left);
                    self.graph.implies(both, right);
                    Some(both)
                }
                _ => None,
            };
            columns.push(Column { key, ..left.hidden() });
        }
        if !all && !by_key && place.level > 0 {
            self.cannot_scatter(
                &format!("{op} in a subquery across shards"),
                "Return the key on both sides, or give it in WHERE.",
            );
        }
        if !all && !by_key && op != SetOperator::Union {
            self.cannot_scatter(&format!("{op} across shards"), "Return the key on both sides, or give it in WHERE.");
        }
        self.lay_sides_together(one, other, place.level);
        Ok(Output { columns, complete, anchor: Some(one), source: Source::default() })
    }

    /// A side that belongs to a row of the query around them needs the other to belong to the same.
    fn lay_sides_together(&mut self, one: Variable, other: Variable, level: usize) {
        let reaches_out = self.graph.level(one) < level || self.graph.level(other) < level;
        if reaches_out && !self.graph.together(one, other) {
            self.cannot_scatter(
                "a set operation in a subquery that joins only one side on the key, across shards",
                "Compare the key of both sides with the outer query's.",
            );
        }
        self.graph.unite(one, other, level);
    }

    fn side(&mut self, side: &SetExpr, distinct: bool, place: Place<'_>) -> Result<Output> {
        with_stack(|| match side {
            SetExpr::Query(query) => self.query(query, place),
            SetExpr::SetOperation { op, set_quantifier, left, right } => {
                // A UNION within a UNION need not remove duplicates: the outer one does.
                let within = distinct && *op == SetOperator::Union;
                let quantifier = if within { SetQuantifier::All } else { *set_quantifier };
                self.set_operation(*op, quantifier, left, right, place)
            }
            other => self.query(&bare_query(other.clone()), place),
        })
    }
}

/// Both columns are their side's key, of the tables that drive.
fn both_divide(graph: &mut Graph, left: (Variable, Variable), right: (Variable, Variable)) -> bool {
    graph.together(left.0, left.1) && graph.together(right.0, right.1)
}

/// A body as a query of its own.
pub(super) fn bare_query(body: SetExpr) -> Query {
    Query {
        with: None,
        body: Box::new(body),
        order_by: None,
        limit_clause: None,
        fetch: None,
        locks: Vec::new(),
        for_clause: None,
        settings: None,
        format_clause: None,
        pipe_operators: Vec::new(),
    }
}
