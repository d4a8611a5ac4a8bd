//! Takes expressions apart into what shards compute and what is computed from it.

use std::ops::ControlFlow;

use super::super::canonical::canonical;
use super::super::functions::{calls, is_aggregate};
use super::super::scope::Scope;
use super::combine::Call;
use super::finish::column;
use super::group::Group;
use crate::error::{Error, Result, SqlState};
use crate::sql::ast::{Expr, Function, Ident};
use crate::sql::{VisitorMut, walk_mut, with_stack};

/// An aggregate that has its partial columns.
struct Done {
    canonical: Expr,
    finished: Expr,
    /// Its argument is a column by which shards group as well.
    distinct: bool,
    column: usize,
}

/// Takes expressions apart into partial columns and what is computed from them.
pub(super) struct Splitter<'p, 's> {
    pub(super) scope: &'p Scope<'s>,
    groups: Vec<Group>,
    partial: Vec<Expr>,
    done: Vec<Done>,
}

/// What shards compute.
pub(super) struct Partial {
    pub(super) columns: Vec<Expr>,
    /// The columns that shards group by: those of GROUP BY, then the arguments of DISTINCT aggregates.
    pub(super) grouped: Vec<usize>,
    /// How many of them are GROUP BY's.
    pub(super) groups: usize,
}

impl<'p, 's> Splitter<'p, 's> {
    pub(super) fn new(scope: &'p Scope<'s>, groups: Vec<Group>) -> Splitter<'p, 's> {
        let partial = groups.iter().map(|group| group.expression.clone()).collect();
        Splitter { scope, groups, partial, done: Vec::new() }
    }

    pub(super) fn into_partial(self) -> Partial {
        let groups = self.groups.len();
        let distinct = self.done.iter().filter(|done| done.distinct).map(|done| done.column);
        Partial { columns: self.partial, grouped: (0..groups).chain(distinct).collect(), groups }
    }

    /// An expression over the client's rows as one over the partial rows.
    ///
    /// # Errors
    /// It has a subquery, an aggregate that cannot be put together, or a column that is not grouped by.
    pub(super) fn split(&mut self, expression: &Expr) -> Result<Expr> {
        if calls(expression).subquery {
            return Err(Error::unsupported("a subquery beside aggregates across shards", "Give the key in WHERE."));
        }
        with_stack(|| {
            let mut copy = expression.clone();
            let mut visitor = SplitVisitor { splitter: self, finished: Vec::new() };
            match walk_mut(&mut copy, &mut visitor) {
                ControlFlow::Break(error) => return Err(*error),
                ControlFlow::Continue(()) => {}
            }
            let finished = visitor.finished;
            let _ = walk_mut(&mut copy, &mut Placer { finished: &finished });
            Ok(copy)
        })
    }

    /// What a node is in terms of partial columns, when it is a group or an aggregate.
    fn known(&mut self, expression: &Expr) -> Result<Option<Expr>> {
        if !self.groups.is_empty() && !matches!(expression, Expr::Value(_)) {
            let wanted = canonical(expression, self.scope);
            if let Some(number) = self.groups.iter().position(|group| group.canonical == wanted) {
                return Ok(Some(column(number)));
            }
        }
        match expression {
            Expr::Function(function) if is_aggregate(function) => self.aggregate(function).map(Some),
            Expr::Identifier(_) | Expr::CompoundIdentifier(_) => Err(Error::new(
                SqlState::GROUPING_ERROR,
                format!(
                    "column \"{expression}\" must appear in the GROUP BY clause or be used in an aggregate function"
                ),
            )
            .hint("Across shards a primary key in GROUP BY does not stand for the other columns: name them all.")),
            _ => Ok(None),
        }
    }

    pub(super) fn add(&mut self, expression: Expr) -> usize {
        self.partial.push(expression);
        self.partial.len() - 1
    }

    fn aggregate(&mut self, function: &Function) -> Result<Expr> {
        let canonical = canonical(&Expr::Function(function.clone()), self.scope);
        if let Some(done) = self.done.iter().find(|done| done.canonical == canonical) {
            return Ok(done.finished.clone());
        }
        let call = Call::read(function)?;
        let (finished, distinct, column) = if call.distinct { self.distinct(&call)? } else { self.combined(&call)? };
        self.done.push(Done { canonical, finished: finished.clone(), distinct, column });
        Ok(finished)
    }
}

/// The mark of a finished node while its surroundings are visited.
const PLACE: &str = "\u{1}shardd place ";

struct SplitVisitor<'v, 'p, 's> {
    splitter: &'v mut Splitter<'p, 's>,
    finished: Vec<Expr>,
}

fn place(number: usize) -> Expr {
    Expr::Identifier(Ident::with_quote('"', format!("{PLACE}{number}")))
}

fn place_of(expression: &Expr) -> Option<usize> {
    match expression {
        Expr::Identifier(name) => name.value.strip_prefix(PLACE)?.parse().ok(),
        _ => None,
    }
}

impl VisitorMut for SplitVisitor<'_, '_, '_> {
    type Break = Box<Error>;

    fn pre_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<Box<Error>> {
        if place_of(expression).is_some() {
            return ControlFlow::Continue(());
        }
        match self.splitter.known(expression) {
            Ok(None) => {}
            Ok(Some(finished)) => {
                self.finished.push(finished);
                *expression = place(self.finished.len() - 1);
            }
            Err(error) => return ControlFlow::Break(Box::new(error)),
        }
        ControlFlow::Continue(())
    }
}

/// Puts the finished nodes where their marks are.
struct Placer<'p> {
    finished: &'p [Expr],
}

impl VisitorMut for Placer<'_> {
    type Break = ();

    fn post_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        if let Some(finished) = place_of(expression).and_then(|number| self.finished.get(number)) {
            *expression = finished.clone();
        }
        ControlFlow::Continue(())
    }
}
