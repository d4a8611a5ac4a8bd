//! What a statement says about keys: which columns are keys, which are equal, which are given.
//!
//! Two questions are kept apart. *Which rows matter*: an edge from one key to another means that when rows of the first
//! outside some keys cannot influence the answer, neither can those of the second; a pin gives such keys. *What lies
//! together*: keys of one class are equal in every row that is put together, so that each shard can do its part alone.
//! An outer join's condition gives the first in one direction only, and the second only for the side that may be missing.

use super::key::KeyExpression;
use super::route::{Keys, Pin};

/// A key: of one use of a sharded table, or of a column computed from such.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Variable(usize);

#[derive(Debug, Default)]
pub(super) struct Graph {
    /// The class that each variable points to.
    parents: Vec<usize>,
    /// For the root of a class: how far out the outermost of its variables' queries is.
    levels: Vec<usize>,
    edges: Vec<(Variable, Variable)>,
    pins: Vec<(Variable, Vec<KeyExpression>)>,
    tables: Vec<Variable>,
    /// By variable: it is NULL in rows where an outer join found none for its side.
    missing: Vec<bool>,
}

impl Graph {
    pub(super) fn variable(&mut self, level: usize) -> Variable {
        self.parents.push(self.parents.len());
        self.levels.push(level);
        self.missing.push(false);
        Variable(self.parents.len() - 1)
    }

    /// The key of one use of a sharded table.
    pub(super) fn table(&mut self, level: usize) -> Variable {
        let variable = self.variable(level);
        self.tables.push(variable);
        variable
    }

    pub(super) fn table_count(&self) -> usize {
        self.tables.len()
    }

    fn root(&mut self, variable: Variable) -> usize {
        let mut at = variable.0;
        while self.parents[at] != at {
            self.parents[at] = self.parents[self.parents[at]];
            at = self.parents[at];
        }
        at
    }

    pub(super) fn together(&mut self, one: Variable, other: Variable) -> bool {
        self.root(one) == self.root(other)
    }

    /// The key's side of an outer join may be missing: the key is NULL there, on any shard.
    pub(super) fn may_be_missing(&mut self, variable: Variable) {
        self.missing[variable.0] = true;
    }

    pub(super) fn is_missing(&self, variable: Variable) -> bool {
        self.missing[variable.0]
    }

    /// Rows that are equal in this key are on one shard, for a query whose rows lie where `anchor` says: each shard can
    /// group by it alone. NULLs are on several.
    pub(super) fn divides(&mut self, key: Variable, anchor: Variable) -> bool {
        !self.is_missing(key) && self.together(key, anchor)
    }

    /// The level of the outermost query that the class reaches into.
    pub(super) fn level(&mut self, variable: Variable) -> usize {
        let root = self.root(variable);
        self.levels[root]
    }

    /// Says that keys lie together in every row that a query of this level puts together.
    ///
    /// Not when both reach into queries around it: two keys out there need not be equal because rows in here join them.
    /// `NOT EXISTS` keeps the rows out there for which nothing in here is joined.
    pub(super) fn unite(&mut self, one: Variable, other: Variable, level: usize) {
        let (one, other) = (self.root(one), self.root(other));
        if one == other || (self.levels[one] < level && self.levels[other] < level) {
            return;
        }
        self.parents[one] = other;
        self.levels[other] = self.levels[other].min(self.levels[one]);
    }

    /// Equal in every row that survives a query of this level.
    pub(super) fn equal(&mut self, one: Variable, other: Variable, level: usize) {
        self.unite(one, other, level);
        self.edges.push((one, other));
        self.edges.push((other, one));
    }

    /// Rows of `to` matter only for rows of `from` with an equal key.
    pub(super) fn implies(&mut self, from: Variable, to: Variable) {
        self.edges.push((from, to));
    }

    /// Only rows of these keys matter.
    pub(super) fn pin(&mut self, variable: Variable, keys: Vec<KeyExpression>) {
        self.pins.push((variable, keys));
    }

    /// The unions that the rows of a key are confined to.
    pub(super) fn pin_of(&self, variable: Variable) -> Pin {
        let mut seen = vec![false; self.parents.len()];
        let mut pending = vec![variable];
        seen[variable.0] = true;
        let mut all_of: Vec<Vec<KeyExpression>> = Vec::new();
        while let Some(at) = pending.pop() {
            for (_, keys) in self.pins.iter().filter(|(pinned, _)| *pinned == at) {
                if !all_of.contains(keys) {
                    all_of.push(keys.clone());
                }
            }
            for (from, to) in &self.edges {
                if *to == at && !seen[from.0] {
                    seen[from.0] = true;
                    pending.push(*from);
                }
            }
        }
        Pin { all_of }
    }

    /// The keys of all the tables' rows that matter.
    pub(super) fn keys(&self) -> Keys {
        if self.tables.is_empty() {
            return Keys::Any;
        }
        let mut pins: Vec<Pin> = Vec::new();
        for table in &self.tables {
            let mut pin = self.pin_of(*table);
            if pin.all_of.is_empty() {
                return Keys::Every;
            }
            pin.all_of.sort_by_cached_key(|keys| format!("{keys:?}"));
            if !pins.contains(&pin) {
                pins.push(pin);
            }
        }
        Keys::Of(pins)
    }
}
