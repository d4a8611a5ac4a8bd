//! Joins: which side may be missing, and what the condition says about keys.
//!
//! An inner join's condition holds for every row. An outer join's does not hold where a side is missing: it confines the
//! side that may be missing, never the side that is kept.

use super::analysis::Analysis;
use super::from::last_name;
use super::graph::Variable;
use super::place::Place;
use super::predicate::{KeyColumn, facts};
use super::scope::{Column, Scope, Source};
use crate::error::{Error, Result, SqlState};
use crate::sql::ast::{Expr, Join, JoinConstraint, JoinOperator};

/// Which sides of a join may be missing from a row.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kept {
    /// Neither.
    Inner,
    /// The right.
    Left,
    /// The left.
    Right,
    /// Either.
    Both,
}

/// A join while its condition is read.
struct Sides<'s> {
    kept: Kept,
    /// How many relations the left has: a column of a later one is the right's.
    left_relations: usize,
    left_keys: &'s [Variable],
    /// Keys of the parts of FROM before the join, which LATERAL may compare with.
    outside: &'s [Variable],
    /// Keys of both sides that are NULL in some of their rows as it is.
    missing: Vec<Variable>,
    /// Of the query that joins.
    level: usize,
}

impl Sides<'_> {
    fn is_left(&self, relation: usize) -> bool {
        relation < self.left_relations
    }

    /// Whether a side may be missing from a row where the other is not.
    fn may_miss(&self, left: bool) -> bool {
        match self.kept {
            Kept::Left => !left,
            Kept::Right => left,
            Kept::Inner | Kept::Both => false,
        }
    }
}

impl Analysis<'_> {
    /// `left` and `right` joined. `outside`: keys of the parts of FROM before both. `strays`: keys of subqueries in the
    /// condition.
    pub(super) fn join(
        &mut self,
        left: Source,
        right: Source,
        join: &Join,
        outside: &[Variable],
        place: Place<'_>,
        strays: &mut Vec<Variable>,
    ) -> Result<Source> {
        let (kept, constraint) = match &join.join_operator {
            JoinOperator::Join(constraint) | JoinOperator::Inner(constraint) => (Kept::Inner, constraint),
            JoinOperator::CrossJoin(constraint) => (Kept::Inner, constraint),
            JoinOperator::Left(constraint) | JoinOperator::LeftOuter(constraint) => (Kept::Left, constraint),
            JoinOperator::Right(constraint) | JoinOperator::RightOuter(constraint) => (Kept::Right, constraint),
            JoinOperator::FullOuter(constraint) => (Kept::Both, constraint),
            _ => return Err(Error::new(SqlState::SYNTAX_ERROR, "syntax error: this kind of join is not Postgres's")),
        };
        self.expect_kept_side_drives(kept, &left, &right);
        let keys = left.visible.iter().chain(&right.visible).filter_map(|column| column.key);
        let missing = keys.filter(|key| self.graph.is_missing(*key)).collect();
        if matches!(kept, Kept::Left | Kept::Both) {
            self.may_be_missing(&right);
        }
        if matches!(kept, Kept::Right | Kept::Both) {
            self.may_be_missing(&left);
        }
        let (left_anchor, right_anchor) = (left.anchor, right.anchor);
        let merged = match constraint {
            JoinConstraint::Using(names) => names.iter().map(last_name).collect(),
            JoinConstraint::Natural => common_names(&left.visible, &right.visible),
            JoinConstraint::On(_) | JoinConstraint::None => Vec::new(),
        };
        let left_keys = left.keys.clone();
        let sides = Sides {
            kept,
            left_relations: left.relations.len(),
            left_keys: &left_keys,
            outside,
            missing,
            level: place.level,
        };
        let mut both = left.beside(right);
        if let JoinConstraint::On(condition) = constraint {
            let scope = Scope { source: &both, outer: place.outer };
            let positive = self.on(condition, &scope, &sides);
            self.subqueries(condition, &scope, place, &positive, strays)?;
        }
        self.merge_columns(&mut both, &merged, &sides);
        both.anchor = match kept {
            Kept::Inner | Kept::Both => left_anchor.or(right_anchor),
            Kept::Left => left_anchor,
            Kept::Right => right_anchor,
        };
        Ok(both)
    }

    fn may_be_missing(&mut self, side: &Source) {
        let columns = side.relations.iter().flat_map(|relation| &relation.columns).chain(&side.visible);
        for key in columns.filter_map(|column| column.key).chain(side.keys.iter().copied()) {
            self.graph.may_be_missing(key);
        }
    }

    /// Every shard has the reference table's rows: it would return those that a key's rows elsewhere match as unmatched.
    fn expect_kept_side_drives(&mut self, kept: Kept, left: &Source, right: &Source) {
        let lacks = |side: &Source, other: &Source| side.anchor.is_none() && !other.keys.is_empty();
        let wrong = match kept {
            Kept::Inner => false,
            Kept::Left => lacks(left, right),
            Kept::Right => lacks(right, left),
            Kept::Both => lacks(left, right) || lacks(right, left),
        };
        if wrong {
            self.cannot_scatter(
                "an outer join that keeps a reference table's rows, across shards",
                "Give the key in the join's condition, or join from the sharded table.",
            );
        }
    }

    /// The condition of a join; the subqueries that a key of every joined row must be in.
    fn on(&mut self, condition: &Expr, scope: &Scope<'_>, sides: &Sides<'_>) -> Vec<usize> {
        if sides.kept == Kept::Inner {
            return self.conditions(condition, scope, sides.level);
        }
        let found = facts(condition, scope, self.key_type);
        for (key, keys) in found.pinned {
            if !key.outer && sides.may_miss(sides.is_left(key.relation)) {
                self.graph.pin(key.variable, keys);
            }
        }
        for (one, other) in found.equal {
            self.outer_equal(one, other, sides);
        }
        Vec::new()
    }

    /// Equal keys in the condition of an outer join.
    fn outer_equal(&mut self, one: KeyColumn, other: KeyColumn, sides: &Sides<'_>) {
        let (one_left, other_left) = (sides.is_left(one.relation), sides.is_left(other.relation));
        match (one.outer, other.outer) {
            (true, true) => {}
            // A row out there: only the side that may be missing is confined by it.
            (true, false) if sides.may_miss(other_left) => self.graph.implies(one.variable, other.variable),
            (false, true) if sides.may_miss(one_left) => self.graph.implies(other.variable, one.variable),
            (true, false) | (false, true) => {}
            (false, false) if one_left == other_left => {
                if sides.may_miss(one_left) {
                    self.graph.implies(one.variable, other.variable);
                    self.graph.implies(other.variable, one.variable);
                }
            }
            (false, false) => {
                let (left, right) = if one_left { (one, other) } else { (other, one) };
                match sides.kept {
                    Kept::Left => self.graph.implies(left.variable, right.variable),
                    Kept::Right => self.graph.implies(right.variable, left.variable),
                    Kept::Inner | Kept::Both => {}
                }
                self.lie_together(left.variable, right.variable, sides);
            }
        }
    }

    /// Unites a key of the right with one of the left, once: two keys of the left that equal one of the right need not
    /// equal each other where the right is missing.
    ///
    /// A side that may be missing and belongs to a row out there brings nothing together: the rows of the side that is
    /// kept need not belong to that row.
    fn lie_together(&mut self, left: Variable, right: Variable, sides: &Sides<'_>) {
        let already = sides.left_keys.iter().any(|key| self.graph.together(*key, right));
        let may_miss: &[Variable] = match sides.kept {
            Kept::Inner => &[],
            Kept::Left => &[right],
            Kept::Right => &[left],
            Kept::Both => &[left, right],
        };
        if !already && !may_miss.iter().any(|key| self.reaches_out(*key, sides)) {
            self.graph.unite(right, left, sides.level);
        }
    }

    fn reaches_out(&mut self, key: Variable, sides: &Sides<'_>) -> bool {
        self.graph.level(key) < sides.level || sides.outside.iter().any(|other| self.graph.together(*other, key))
    }

    /// USING and NATURAL: the named columns are equal, and appear once, before the others.
    fn merge_columns(&mut self, both: &mut Source, names: &[String], sides: &Sides<'_>) {
        let mut merged = Vec::new();
        for name in names {
            let find = |left: bool| {
                let mut found =
                    both.visible.iter().filter(|column| column.name == *name && sides.is_left(column.relation) == left);
                found.next().filter(|_| found.next().is_none()).cloned()
            };
            let (Some(left), Some(right)) = (find(true), find(false)) else { continue };
            let key = match (left.key, right.key) {
                (Some(one), Some(other)) => Some(self.merged_key(one, other, sides)),
                (one, other) => match sides.kept {
                    Kept::Inner => one.or(other),
                    Kept::Left => one,
                    Kept::Right => other,
                    Kept::Both => None,
                },
            };
            let data_type = left.data_type.filter(|data_type| Some(*data_type) == right.data_type);
            // Where the left may be missing, the column is the right's.
            let from = if sides.kept == Kept::Right { &right } else { &left };
            let of_either = from.of_either || sides.kept == Kept::Both;
            merged.push(Column { name: name.clone(), key, data_type, relation: from.relation, of_either });
        }
        both.visible.retain(|column| !names.contains(&column.name));
        merged.append(&mut both.visible);
        both.visible = merged;
    }

    fn merged_key(&mut self, left: Variable, right: Variable, sides: &Sides<'_>) -> Variable {
        match sides.kept {
            Kept::Inner => {
                self.graph.equal(left, right, sides.level);
                left
            }
            Kept::Left => {
                self.graph.implies(left, right);
                self.lie_together(left, right, sides);
                left
            }
            Kept::Right => {
                self.graph.implies(right, left);
                self.lie_together(left, right, sides);
                right
            }
            Kept::Both => {
                // Whichever side is there: confining it confines both.
                self.lie_together(left, right, sides);
                let merged = self.graph.variable(sides.level);
                self.graph.unite(merged, left, sides.level);
                self.graph.implies(merged, left);
                self.graph.implies(merged, right);
                if sides.missing.contains(&left) || sides.missing.contains(&right) {
                    self.graph.may_be_missing(merged);
                }
                merged
            }
        }
    }
}

fn common_names(left: &[Column], right: &[Column]) -> Vec<String> {
    left.iter()
        .filter(|column| right.iter().any(|other| other.name == column.name))
        .map(|column| column.name.clone())
        .collect()
}
