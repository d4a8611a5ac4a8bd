//! SELECT, and what begins with it.

use super::analysis::Analysis;
use super::place::Place;
use super::route::Keys;
use super::{Plan, Read, Route, Write};
use crate::error::{Error, Result};
use crate::sql::ast::{Expr, Function, FunctionArgExpr, Query, SelectItem, SetExpr, Statement};
use crate::sql::{Local, fold, function_name};

/// `SELECT set_config(...)` and other calls that are the session's own, by themselves.
///
/// # Errors
/// 0A000 for set_config with computed arguments.
pub(super) fn local_call(query: &Query) -> Result<Option<Local>> {
    let SetExpr::Select(select) = &*query.body else { return Ok(None) };
    if query.with.is_some() || !select.from.is_empty() || select.selection.is_some() {
        return Ok(None);
    }
    let [item] = select.projection.as_slice() else { return Ok(None) };
    let (Expr::Function(call), alias) = (match item {
        SelectItem::UnnamedExpr(expression) => (expression, None),
        SelectItem::ExprWithAlias { expr, alias } => (expr, Some(fold(alias).into_owned())),
        _ => return Ok(None),
    }) else {
        return Ok(None);
    };
    let Some(name) = function_name(&call.name) else { return Ok(None) };
    let column = alias.unwrap_or_else(|| name.clone().into_owned());
    match name.as_ref() {
        "set_config" => set_config(call, column).map(Some),
        "pg_advisory_unlock_all" => Ok(Some(Local::VoidCall { column })),
        _ => Ok(None),
    }
}

fn set_config(call: &Function, column: String) -> Result<Local> {
    let arguments: Option<Vec<Expr>> = super::functions::arguments(call).and_then(|arguments| {
        arguments
            .into_iter()
            .map(|argument| match argument {
                FunctionArgExpr::Expr(expression) if super::key::is_plain(expression) => Some(expression.clone()),
                _ => None,
            })
            .collect()
    });
    match arguments.map(<[Expr; 3]>::try_from) {
        Some(Ok([name, value, local])) => Ok(Local::SetConfig { name, value, local, column }),
        _ => Err(Error::unsupported(
            "set_config with computed arguments",
            "Give it constants or parameters, or use SET.",
        )),
    }
}

/// Plans a query; also a write that begins with WITH.
pub(super) fn plan(mut analysis: Analysis<'_>, query: &Query) -> Result<Plan> {
    let output = analysis.query(query, Place::TOP)?;
    let route = Route { keyspace: analysis.keyspace_name(), keys: analysis.graph.keys() };
    let statement = Statement::Query(Box::new(query.clone()));
    if writes(query) {
        let (several, tables) = (analysis.apart.map_or(Ok(()), Err), analysis.tables);
        return Ok(Plan::Write(Box::new(Write { route, statement, returning: true, several, tables })));
    }
    let tableless = analysis.tables.is_empty() && !analysis.names_catalog;
    let (locks_rows, tables) = (analysis.locks_rows, analysis.tables.clone());
    let scatter = if route.keys == Keys::Any {
        Err(Error::internal("a statement without sharded tables was sent to several shards"))
    } else {
        super::scatter::build(&mut analysis, query, &output)
    };
    Ok(Plan::Read(Box::new(Read { route, statement, scatter, locks_rows, tableless, tables })))
}

fn writes(query: &Query) -> bool {
    let is_write = |body: &SetExpr| {
        matches!(body, SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_))
    };
    is_write(&query.body)
        || query.with.as_ref().is_some_and(|with| with.cte_tables.iter().any(|cte| is_write(&cte.query.body)))
}
