//! Where a query stands in its statement.

use super::scope::Scope;
use super::with::Ctes;

/// What names mean around a query.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'p> {
    /// The WITH queries that it may name.
    pub(super) ctes: Option<&'p Ctes<'p>>,
    /// The FROM of the query around it.
    pub(super) outer: Option<&'p Scope<'p>>,
    /// How many queries are around it.
    pub(super) level: usize,
}

impl<'p> Place<'p> {
    /// The statement's own query.
    pub(super) const TOP: Place<'static> = Place { ctes: None, outer: None, level: 0 };

    /// One query further in, which sees the same names.
    pub(super) fn inside(self) -> Place<'p> {
        Place { level: self.level + 1, ..self }
    }
}
