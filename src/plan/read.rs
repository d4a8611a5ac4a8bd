//! SELECT, and what begins with it.

use super::analysis::Analysis;
use super::place::Place;
use super::query::Output;
use super::route::Keys;
use super::write::Whole;
use super::{Across, Plan, Read, ReadSource, Route, Scatter, Write};
use crate::error::{Error, Result};
use crate::sql::ast::{Expr, Function, FunctionArgExpr, ObjectName, Query, SelectItem, SetExpr, Statement, With};
use crate::sql::{Local, SettingCall, fold, function_name, name_parts, names_relation};

/// `SELECT set_config(...)` and other calls that are the session's own, by themselves.
///
/// # Errors
/// 0A000 for set_config with computed arguments.
pub(super) fn local_call(query: &Query) -> Result<Option<Local>> {
    let SetExpr::Select(select) = &*query.body else { return Ok(None) };
    let clauses = query.limit_clause.is_some() || query.fetch.is_some() || query.order_by.is_some();
    if query.with.is_some() || !select.from.is_empty() || select.selection.is_some() || clauses {
        return Ok(None);
    }
    let calls: Option<Vec<(&Function, String)>> = select.projection.iter().map(call_item).collect();
    let Some(calls) = calls else { return Ok(None) };
    if let [(call, column)] = calls.as_slice()
        && function_name(&call.name).is_some_and(|name| name == "pg_advisory_unlock_all")
    {
        return Ok(Some(Local::VoidCall { column: column.clone() }));
    }
    let mut settings = Vec::with_capacity(calls.len());
    for (call, column) in calls {
        match setting_call(call, column)? {
            Some(setting) => settings.push(setting),
            None => return Ok(None),
        }
    }
    Ok((!settings.is_empty()).then_some(Local::Settings(settings)))
}

/// A call in a select list, and its column's name.
fn call_item(item: &SelectItem) -> Option<(&Function, String)> {
    match item {
        SelectItem::UnnamedExpr(Expr::Function(call)) => {
            Some((call, function_name(&call.name).unwrap_or_default().into_owned()))
        }
        SelectItem::ExprWithAlias { expr: Expr::Function(call), alias } => Some((call, fold(alias).into_owned())),
        _ => None,
    }
}

fn setting_call(call: &Function, column: String) -> Result<Option<SettingCall>> {
    let Some(name) = function_name(&call.name) else { return Ok(None) };
    if !matches!(name.as_ref(), "current_setting" | "set_config") {
        return Ok(None);
    }
    let arguments: Option<Vec<Expr>> = super::functions::arguments(call).and_then(|arguments| {
        arguments
            .into_iter()
            .map(|argument| match argument {
                FunctionArgExpr::Expr(expression) if super::key::is_plain(expression) => Some(expression.clone()),
                _ => None,
            })
            .collect()
    });
    match (name.as_ref(), arguments.as_deref()) {
        ("set_config", Some([name, value, local])) => {
            let change = Some((value.clone(), local.clone()));
            Ok(Some(SettingCall { name: name.clone(), change, column }))
        }
        ("current_setting", Some([name])) => Ok(Some(SettingCall { name: name.clone(), change: None, column })),
        ("current_setting", _) => Ok(None),
        _ => Err(Error::unsupported(
            "set_config with computed arguments",
            "Give it constants or parameters, or use SET.",
        )),
    }
}

/// Plans a query; also a write that begins with WITH.
pub(super) fn plan(mut analysis: Analysis<'_>, query: &Query) -> Result<Plan> {
    let output = analysis.query(query, Place::TOP)?;
    if writes_within(query) && analysis.hidden.is_some_and(|hidden| hidden.current_of.is_some()) {
        return Err(Error::unsupported(
            "WHERE CURRENT OF in a statement with a write within WITH",
            "Write them in two statements of one transaction.",
        ));
    }
    let mut route = Route { keyspace: analysis.keyspace_name(), keys: analysis.graph.keys() };
    let statement = Statement::Query(Box::new(query.clone()));
    if let Some(written) = analysis.written.take()
        && let SetExpr::Insert(write) | SetExpr::Update(write) | SetExpr::Delete(write) | SetExpr::Merge(write) =
            &*query.body
    {
        let whole = Whole { statement: &statement, write, with: query.with.as_ref() };
        return super::write::plan_written(analysis, whole, written);
    }
    if writes(query) {
        analysis.refuse_catalog()?;
        if let Some(mixed) = analysis.mixed {
            return Err(mixed);
        }
        return Ok(plan_write(analysis, query, &output, statement, route));
    }
    analysis.refuse_mixture()?;
    let source = match (analysis.names_catalog, analysis.tables.as_slice()) {
        (true, _) => ReadSource::SystemCatalog,
        (false, []) => ReadSource::Nowhere,
        (false, _) => ReadSource::Shards,
    };
    let (locks_rows, tables) = (analysis.locks_rows, analysis.tables.clone());
    let mixed = analysis.mixed.take();
    let mixes_keyspaces = mixed.is_some();
    let scatter = if let Some(mixed) = mixed {
        route.keys = Keys::Every;
        Err(mixed)
    } else if route.keys == Keys::Any {
        Err(Error::internal("a statement without sharded tables was sent to several shards"))
    } else if let Some(hidden) = analysis.hidden {
        Err(hidden.refusal.clone())
    } else {
        super::scatter::build(&mut analysis, query, &output)
    };
    Ok(Plan::Read(Box::new(Read { route, statement, scatter, locks_rows, source, tables, mixes_keyspaces })))
}

/// A SELECT with a write in its WITH.
fn plan_write(mut analysis: Analysis<'_>, query: &Query, output: &Output, statement: Statement, route: Route) -> Plan {
    if analysis.apart.is_none() {
        let puts_together = match super::scatter::build(&mut analysis, query, output) {
            Ok(Scatter::Merge { merge, .. }) => !merge.is_rows_as_they_come(),
            Ok(Scatter::Aggregate(_)) | Err(_) => true,
        };
        if puts_together {
            analysis.cannot_scatter(
                "a SELECT that puts rows of several shards together behind a write within WITH",
                "Write with RETURNING, and put together what comes back; or give the key.",
            );
        }
    }
    // By itself the write may be done in ways that its statement as a whole cannot.
    let is_apart = analysis.apart.is_some() && analysis.hidden.is_none();
    let across = (is_apart && reads_returned_only(query)).then_some(Across::Returned);
    let several = analysis.apart.map_or(Ok(()), Err);
    let tables = analysis.tables;
    let (mixes_keyspaces, to_reference) = (false, false);
    let returning = true;
    Plan::Write(Box::new(Write { route, statement, returning, several, across, mixes_keyspaces, to_reference, tables }))
}

/// Whether a query has one query within WITH, and is over nothing but what that returns.
fn reads_returned_only(query: &Query) -> bool {
    let Some(with) = query.with.as_ref().filter(|with| !with.recursive) else { return false };
    let [only] = with.cte_tables.as_slice() else { return false };
    let own = fold(&only.alias.name);
    let is_own = |name: &ObjectName| matches!(name_parts(name).as_deref(), Some([name]) if *name == own);
    let rest = Query { with: None, ..query.clone() };
    is_write(&only.query.body) && query.locks.is_empty() && !names_relation(&rest, |name| !is_own(name))
}

fn is_write(body: &SetExpr) -> bool {
    matches!(body, SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_))
}

/// Whether one of the queries of a WITH writes.
pub(super) fn writes_in(with: &With) -> bool {
    with.cte_tables.iter().any(|cte| is_write(&cte.query.body))
}

/// Whether a query has a write in its WITH.
pub fn writes_within(query: &Query) -> bool {
    query.with.as_ref().is_some_and(writes_in)
}

fn writes(query: &Query) -> bool {
    is_write(&query.body) || writes_within(query)
}
