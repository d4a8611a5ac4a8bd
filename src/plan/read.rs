//! SELECT, and what begins with it.

use super::across::{Across, insert_across};
use super::analysis::Analysis;
use super::place::Place;
use super::route::Keys;
use super::{Plan, Read, ReadSource, Route, Write};
use crate::error::{Error, Result};
use crate::sql::ast::{Expr, Function, FunctionArgExpr, Query, SelectItem, SetExpr, Statement, TableObject};
use crate::sql::{Local, SettingCall, fold, function_name};
use crate::topology::TableKind;

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
    analysis.may_mix = !writes(query);
    let output = analysis.query(query, Place::TOP)?;
    let mut route = Route { keyspace: analysis.keyspace_name(), keys: analysis.graph.keys() };
    let statement = Statement::Query(Box::new(query.clone()));
    if writes(query) {
        analysis.refuse_catalog()?;
        return plan_write(analysis, query, statement, route);
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
    } else if let Some(hidden) = analysis.hidden.filter(|hidden| !hidden.on_postgres_only) {
        Err(hidden.refusal.clone())
    } else {
        super::scatter::build(&mut analysis, query, &output)
    };
    Ok(Plan::Read(Box::new(Read { route, statement, scatter, locks_rows, source, tables, mixes_keyspaces })))
}

/// A write that begins with WITH, or has one there.
fn plan_write(mut analysis: Analysis<'_>, query: &Query, statement: Statement, route: Route) -> Result<Plan> {
    let mut write = Write { route, statement, returning: true, several: Ok(()), across: None, tables: Vec::new() };
    if let SetExpr::Insert(Statement::Insert(insert)) = &*query.body
        && let TableObject::TableName(name) = &insert.table
    {
        let table = analysis.written_table(name)?;
        if !writes_in_with(query) {
            write.across = insert_across(insert, &table).map(Across::Insert);
        }
        if table.kind == TableKind::Reference {
            // Every copy is written, whatever is read.
            write.route.keys = Keys::Every;
            let reason = super::write::reads_sharded(&table);
            if write.across.is_none() {
                return Err(reason);
            }
            analysis.note_apart(reason);
        }
    }
    write.several = analysis.apart.map_or(Ok(()), Err);
    write.tables = analysis.tables;
    Ok(Plan::Write(Box::new(write)))
}

fn is_write(body: &SetExpr) -> bool {
    matches!(body, SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_))
}

fn writes_in_with(query: &Query) -> bool {
    query.with.as_ref().is_some_and(|with| with.cte_tables.iter().any(|cte| is_write(&cte.query.body)))
}

fn writes(query: &Query) -> bool {
    is_write(&query.body) || writes_in_with(query)
}
