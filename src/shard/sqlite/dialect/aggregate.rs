//! Aggregate functions: FILTER, DISTINCT and ORDER BY inside them.

use sqlparser::ast::Spanned;

use super::Translator;
use super::call::{Call, Resolved};
use super::expression::{Clause, Place};
use super::names::QualifiedName;
use super::operate::{collated, order_key};
use super::refusal;
use super::typed::{Origin, Typed};
use crate::error::{Error, Result, SqlState};
use crate::sql::ast::Expr;
use crate::types::PgType;

impl Translator<'_> {
    pub(super) fn aggregate(
        &mut self,
        name: &QualifiedName,
        call: &Call<'_>,
        filter: Option<&Expr>,
        place: Place<'_>,
    ) -> Result<Typed> {
        if place.in_aggregate {
            return Err(Error::new(SqlState::GROUPING_ERROR, "aggregate function calls cannot be nested"));
        }
        if !place.clause.allows_aggregates() {
            let message = format!("aggregate functions are not allowed in {}", place.clause.name());
            return Err(Error::new(SqlState::GROUPING_ERROR, message));
        }
        self.aggregating.push(place.scope.depth);
        let result = self.aggregate_of(name, call, filter, place);
        self.aggregating.pop();
        result
    }

    fn aggregate_of(
        &mut self,
        name: &QualifiedName,
        call: &Call<'_>,
        filter: Option<&Expr>,
        place: Place<'_>,
    ) -> Result<Typed> {
        let inside = Place { in_aggregate: true, filter: false, ..place };
        let arguments = self.arguments(&name.name, &call.arguments, inside)?;
        if arguments.iter().any(|argument| argument.facts.window) {
            return Err(Error::new(
                SqlState::GROUPING_ERROR,
                "aggregate function calls cannot contain window function calls",
            ));
        }
        let resolved = self.resolve_aggregate(name, call.star, arguments)?;
        let form = match self.form_of(name, &resolved)? {
            // Postgres begins a line for each value that has parts.
            "pg_json_agg({json 0})" if has_lines(&resolved.arguments[0]) => "pg_json_agg_lines({json 0})",
            form => form,
        };
        let order = self.aggregate_order(call, inside)?;
        let condition = filter.map(|filter| self.filter(filter, place)).transpose()?;
        let mut conditions: Vec<&str> = condition.iter().map(|condition| condition.sql.as_str()).collect();
        conditions.extend(place.scope.grouping.sets.as_ref().and_then(|sets| sets.present.as_deref()));
        let sql = self.aggregate_text(form, &resolved, call, &order, &conditions)?;
        let mut typed = Typed::computed(sql, resolved.result, resolved.arguments.iter().chain(&condition));
        if typed.facts.outer_columns && !typed.facts.own_columns {
            return Err(refusal::NESTED_OUTER_AGGREGATE.error());
        }
        typed.origin = Origin::Computed;
        typed.facts.aggregate = true;
        typed.facts.ungrouped = None;
        typed.facts.not_null = name.name == "count";
        Ok(typed)
    }

    pub(super) fn resolve_aggregate(
        &mut self,
        name: &QualifiedName,
        star: bool,
        arguments: Vec<Typed>,
    ) -> Result<Resolved> {
        if star && name.name != "count" {
            let message = format!("function {}() does not exist", name.display());
            return Err(Error::new(SqlState::UNDEFINED_FUNCTION, message).hint(
                "No function matches the given name and argument types. You might need to add explicit type casts.",
            ));
        }
        if name.name == "count" && !star && arguments.is_empty() {
            return Err(Error::new(
                SqlState::WRONG_OBJECT_TYPE,
                "count(*) must be used to call a parameterless aggregate function",
            ));
        }
        self.resolve(name, arguments)
    }

    pub(super) fn filter(&mut self, filter: &Expr, place: Place<'_>) -> Result<Typed> {
        let inside = Place { in_aggregate: true, clause: Clause::Filter, filter: true, ..place };
        let condition = self.expression(filter, inside)?;
        self.boolean(condition, "FILTER", filter.span())
    }

    fn aggregate_order(&mut self, call: &Call<'_>, inside: Place<'_>) -> Result<Vec<(String, String)>> {
        let mut order = Vec::with_capacity(call.order_by.len());
        for key in call.order_by {
            let typed = self.expression(&key.expr, inside)?;
            let typed = if typed.is_untyped() { self.implicit(typed, PgType::Text)? } else { typed };
            let text = self.sort_key(&typed, &key.options)?;
            if call.distinct && !call.arguments.iter().any(|argument| **argument == key.expr) {
                return Err(Error::new(
                    SqlState::INVALID_COLUMN_REFERENCE,
                    "in an aggregate with DISTINCT, ORDER BY expressions must appear in argument list",
                ));
            }
            order.push((typed.sql, text));
        }
        Ok(order)
    }

    fn aggregate_text(
        &mut self,
        form: &'static str,
        resolved: &Resolved,
        call: &Call<'_>,
        order: &[(String, String)],
        conditions: &[&str],
    ) -> Result<String> {
        let filter = match conditions {
            [] => String::new(),
            conditions => format!(" FILTER (WHERE {})", conditions.join(" AND ")),
        };
        if matches!(form, "min" | "max") {
            return Ok(self.extremum(form, &resolved.arguments[0])? + &filter);
        }
        let mut order_by: Vec<String> = order.iter().map(|(_, text)| text.clone()).collect();
        if let (true, [value, ..], true) = (call.distinct, resolved.arguments.as_slice(), order.is_empty())
            && keeps_order(form)
        {
            // Postgres finds duplicates by sorting.
            order_by.push(format!("{} NULLS LAST", collated(&value.sql, value.data_type)));
        }
        let order_by = if order_by.is_empty() { String::new() } else { format!(" ORDER BY {}", order_by.join(", ")) };
        if let (true, "string_agg", [value, delimiter]) =
            (call.distinct, resolved.signature.name, resolved.arguments.as_slice())
            && delimiter.is_constant()
            && value.data_type == PgType::Text
        {
            // SQLite's DISTINCT is for functions of one argument.
            let conditions: Vec<String> = conditions.iter().map(|condition| format!(" AND {condition}")).collect();
            return Ok(format!(
                "pg_array_to_string(pg_array_agg(DISTINCT {0}{order_by}) FILTER (WHERE {0} IS NOT NULL{1}), \
                 coalesce({2}, ''), NULL, 'text', NULL)",
                value.sql,
                conditions.concat(),
                delimiter.sql
            ));
        }
        let mut sql = self.fill(form, &resolved.arguments, 0)?;
        if call.distinct {
            sql = distinct_form(&sql, &resolved.arguments, resolved.signature.name)?;
        }
        if !order_by.is_empty() {
            let Some(open) = sql.strip_suffix(')') else { return Err(refusal::AGGREGATE_ORDER.error()) };
            sql = format!("{open}{order_by})");
        }
        Ok(sql + &filter)
    }

    /// min or max under the order of the type.
    pub(super) fn extremum(&mut self, form: &str, value: &Typed) -> Result<String> {
        Ok(match value.data_type {
            PgType::Interval => format!("pg_{form}_interval({})", value.sql),
            other => format!("{form}({})", collated(&value.sql, other)),
        })
    }
}

/// Whether an aggregate's value depends on the order of its rows.
fn keeps_order(form: &str) -> bool {
    ["pg_array_agg", "pg_json_agg", "pg_jsonb_agg", "pg_string_agg", "pg_bytea_agg"]
        .iter()
        .any(|name| form.starts_with(name))
}

/// DISTINCT inside an aggregate: duplicates by the type's equality.
fn distinct_form(sql: &str, arguments: &[Typed], name: &str) -> Result<String> {
    let Some((function, rest)) = sql.split_once('(') else { return Ok(sql.to_owned()) };
    let [value, others @ ..] = arguments else {
        return Err(Error::new(SqlState::SYNTAX_ERROR, format!("DISTINCT needs an argument of {name}")));
    };
    if !others.is_empty() {
        return Err(Error::unsupported(
            format_args!("DISTINCT in {name} with several arguments"),
            "Remove duplicates in a subquery.",
        ));
    }
    let whole = rest == format!("{})", value.sql);
    match value.data_type {
        PgType::Interval if name == "count" => {
            Ok(format!("{function}(DISTINCT {})", order_key(&value.sql, value.data_type)))
        }
        PgType::Record => Err(refusal::WHOLE_ROW.error()),
        PgType::Json | PgType::JsonArray => Err(Error::new(
            SqlState::UNDEFINED_FUNCTION,
            format!("could not identify an equality operator for type {}", value.data_type),
        )),
        other if whole && other != PgType::Interval => {
            Ok(format!("{function}(DISTINCT {})", collated(&value.sql, other)))
        }
        PgType::Interval | PgType::Jsonb | PgType::Numeric | PgType::Bpchar => Err(Error::unsupported(
            format_args!("DISTINCT in {name} of {}", value.data_type),
            "Remove duplicates in a subquery.",
        )),
        _ => Ok(format!("{function}(DISTINCT {rest}")),
    }
}

fn has_lines(value: &Typed) -> bool {
    value.data_type.is_array() || value.data_type == PgType::Record
}
