//! What the planner must know of functions: which aggregate, which answer differently each time, which shardd refuses.

use std::ops::ControlFlow;

use crate::error::{Error, Result};
use crate::sql::ast::{Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Query, Statement, Visit};
use crate::sql::{Visitor, function_name, is_clock, position_of, walk, walk_expressions};

/// Postgres's aggregates.
const AGGREGATES: &[&str] = &[
    "any_value",
    "array_agg",
    "avg",
    "bit_and",
    "bit_or",
    "bit_xor",
    "bool_and",
    "bool_or",
    "corr",
    "count",
    "covar_pop",
    "covar_samp",
    "every",
    "json_agg",
    "json_object_agg",
    "jsonb_agg",
    "jsonb_object_agg",
    "max",
    "min",
    "mode",
    "percentile_cont",
    "percentile_disc",
    "range_agg",
    "range_intersect_agg",
    "regr_avgx",
    "regr_avgy",
    "regr_count",
    "regr_intercept",
    "regr_r2",
    "regr_slope",
    "regr_sxx",
    "regr_sxy",
    "regr_syy",
    "stddev",
    "stddev_pop",
    "stddev_samp",
    "string_agg",
    "sum",
    "var_pop",
    "var_samp",
    "variance",
    "xmlagg",
];

/// Whether this is the name of an aggregate that statements over several shards are planned with.
pub fn is_known_aggregate(name: &str) -> bool {
    AGGREGATES.binary_search(&name).is_ok()
}

/// Functions whose answer differs from call to call: several shards would not agree, or hand out the same twice.
const VOLATILE: &[&str] = &["clock_timestamp", "gen_random_uuid", "random", "random_normal", "setseed", "timeofday"];

/// Whether this is a call of an aggregate, not of a window function.
pub(super) fn is_aggregate(function: &Function) -> bool {
    let named = || function_name(&function.name).is_some_and(|name| AGGREGATES.binary_search(&name.as_ref()).is_ok());
    function.over.is_none() && (!function.within_group.is_empty() || function.filter.is_some() || named())
}

/// The plain arguments of a call; `None` when it has others (named ones, a subquery).
pub(super) fn arguments(function: &Function) -> Option<Vec<&FunctionArgExpr>> {
    match &function.args {
        FunctionArguments::None => Some(Vec::new()),
        FunctionArguments::Subquery(_) => None,
        FunctionArguments::List(list) => list
            .args
            .iter()
            .map(|argument| match argument {
                FunctionArg::Unnamed(argument) => Some(argument),
                _ => None,
            })
            .collect(),
    }
}

/// What was found in an expression, subqueries aside.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Calls {
    pub(super) aggregate: bool,
    pub(super) window: bool,
    pub(super) subquery: bool,
}

impl Calls {
    pub(super) fn or(self, other: Calls) -> Calls {
        Calls {
            aggregate: self.aggregate || other.aggregate,
            window: self.window || other.window,
            subquery: self.subquery || other.subquery,
        }
    }
}

/// Looks through an expression for aggregates, window functions and subqueries.
pub(super) fn calls<T: Visit>(tree: &T) -> Calls {
    let mut finder = CallFinder { calls: Calls::default(), depth: 0 };
    let _ = walk(tree, &mut finder);
    finder.calls
}

struct CallFinder {
    calls: Calls,
    depth: usize,
}

impl Visitor for CallFinder {
    type Break = ();

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.depth += 1;
        self.calls.subquery = true;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
        if let (0, Expr::Function(function)) = (self.depth, expression) {
            self.calls.aggregate |= is_aggregate(function);
            self.calls.window |= function.over.is_some();
        }
        ControlFlow::Continue(())
    }
}

/// Refuses functions that cannot keep their promise behind shardd, wherever they are called.
///
/// # Errors
/// 0A000 with what to do instead.
pub(super) fn refuse_forbidden(statement: &Statement, text: &str) -> Result<()> {
    let mut finder = ForbiddenFinder { text };
    match walk(statement, &mut finder) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(*error),
    }
}

struct ForbiddenFinder<'a> {
    text: &'a str,
}

impl Visitor for ForbiddenFinder<'_> {
    type Break = Box<Error>;

    fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<Box<Error>> {
        let Expr::Function(function) = expression else { return ControlFlow::Continue(()) };
        let Some(name) = function_name(&function.name) else { return ControlFlow::Continue(()) };
        let Some(hint) = forbidden(&name) else { return ControlFlow::Continue(()) };
        let error = Error::unsupported(format!("function {name}()"), hint);
        let span = crate::sql::ast::Spanned::span(&function.name);
        ControlFlow::Break(Box::new(match position_of(self.text, span) {
            Some(position) => error.position(position),
            None => error,
        }))
    }
}

fn forbidden(name: &str) -> Option<&'static str> {
    if name.starts_with("pg_advisory_") || name.starts_with("pg_try_advisory_") {
        return Some(
            "Call it in a SELECT of its own, which shardd takes to the right shards (Postgres shards only); or lock a row of the \
             key with SELECT ... FOR UPDATE.",
        );
    }
    if name.starts_with("pg_sleep") {
        return Some("Sleep in the application: here it would hold a connection to a shard.");
    }
    if name.starts_with("lo_") || name.starts_with("dblink") {
        return Some("Connect to the shard directly.");
    }
    match name {
        "nextval" | "setval" => Some(
            "Call it in a SELECT of its own: it depends on the sequence on which shards it has to run. A serial or identity column \
             fills itself when it is left out.",
        ),
        "currval" | "lastval" => Some(
            "Call it in a SELECT of its own, and give its value; or use INSERT ... RETURNING: connections to the shards, which \
             remember it, are shared by sessions.",
        ),
        "pg_notify" => {
            Some("Call it in a SELECT of its own (Postgres shards only), or poll an outbox table by its key.")
        }
        "pg_cancel_backend" | "pg_terminate_backend" => Some("Cancel with the protocol's own request."),
        "set_config" => Some("Use SET, or SELECT set_config(...) by itself."),
        _ => None,
    }
}

/// Whether a function's answer differs from call to call.
pub(super) fn is_volatile(name: &str) -> bool {
    VOLATILE.contains(&name) || name.starts_with("uuid_generate_")
}

/// The first function whose answer differs from call to call.
pub(super) fn volatile<T: Visit>(tree: &T) -> Option<String> {
    let mut finder = VolatileFinder;
    match walk(tree, &mut finder) {
        ControlFlow::Continue(()) => None,
        ControlFlow::Break(name) => Some(name),
    }
}

/// Whether the time of the transaction is asked for.
pub(super) fn transaction_time<T: Visit>(tree: &T) -> bool {
    walk_expressions(tree, |expression| match expression {
        Expr::Function(function) if function_name(&function.name).is_some_and(|name| is_clock(&name)) => {
            ControlFlow::Break(())
        }
        _ => ControlFlow::Continue(()),
    })
    .is_break()
}

struct VolatileFinder;

impl Visitor for VolatileFinder {
    type Break = String;

    fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<String> {
        match expression {
            Expr::Function(function) => match function_name(&function.name) {
                Some(name) if is_volatile(&name) => ControlFlow::Break(name.into_owned()),
                _ => ControlFlow::Continue(()),
            },
            _ => ControlFlow::Continue(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::parse_expression;

    #[test]
    fn aggregates_are_looked_up_in_order() {
        assert!(AGGREGATES.is_sorted());
        for (text, aggregate, window, subquery) in [
            ("count(*) + 1", true, false, false),
            ("COUNT(x) OVER ()", false, true, false),
            ("(SELECT count(*) FROM t)", false, false, true),
            ("pg_catalog.sum(x)", true, false, false),
            ("lower(x)", false, false, false),
        ] {
            let calls = calls(&parse_expression(text).unwrap());
            assert_eq!((calls.aggregate, calls.window, calls.subquery), (aggregate, window, subquery), "{text}");
        }
    }
}
