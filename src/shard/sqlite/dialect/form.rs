//! SQLite's form of an operator or a function, filled with its arguments.

use super::Translator;
use super::coerce::Context;
use super::names::quote_text;
use super::typed::Typed;
use crate::error::{Error, Result};
use crate::shard::sqlite::EnvironmentValue;
use crate::types::PgType;

impl Translator<'_> {
    /// Fills a form of the catalog. `variadic` is the number of the first argument that `*` stands for.
    pub(super) fn fill(&mut self, form: &str, arguments: &[Typed], variadic: usize) -> Result<String> {
        let mut sql = String::with_capacity(form.len() + 16);
        let mut rest = form;
        while let Some((before, after)) = rest.split_once('{') {
            sql.push_str(before);
            let Some((hole, after)) = after.split_once('}') else { break };
            // `'{}'` is an empty JSON object.
            if hole.is_empty() {
                sql.push_str("{}");
            } else {
                sql.push_str(&self.hole(hole, arguments, variadic)?);
            }
            rest = after;
        }
        sql.push_str(rest);
        Ok(sql)
    }

    fn hole(&mut self, hole: &str, arguments: &[Typed], variadic: usize) -> Result<String> {
        if let Some(value) = self.session_value(hole) {
            return Ok(value);
        }
        let (how, which) = hole.split_once(' ').unwrap_or(("", hole));
        if which == "*" || how.bytes().all(|byte| byte.is_ascii_digit()) && !how.is_empty() {
            let repeated = &arguments[variadic.min(arguments.len())..];
            let how = if how.bytes().all(|byte| byte.is_ascii_digit()) { "" } else { how };
            if how == "count" || how == "nulls" {
                return Ok(count_nulls(how, repeated));
            }
            let parts = repeated.iter().map(|argument| self.argument(how, argument)).collect::<Result<Vec<_>>>()?;
            return Ok(parts.join(", "));
        }
        let number = which.parse::<usize>().ok().and_then(|number| arguments.get(number));
        let Some(argument) = number else {
            return Err(Error::internal(format!("the catalog's form has a hole {{{hole}}} without an argument")));
        };
        self.argument(how, argument)
    }

    fn session_value(&mut self, hole: &str) -> Option<String> {
        let environment = match hole {
            "tz" => EnvironmentValue::TimeZone,
            "now" => EnvironmentValue::TransactionTimestamp,
            "statement" => EnvironmentValue::StatementTimestamp,
            "user" => EnvironmentValue::User,
            "database" => EnvironmentValue::Database,
            "pid" => EnvironmentValue::BackendPid,
            "today" => return Some(self.today()),
            "version" => EnvironmentValue::Version,
            "schema" => EnvironmentValue::Schema,
            "schemas" => EnvironmentValue::Schemas,
            "all schemas" => EnvironmentValue::AllSchemas,
            _ => return None,
        };
        Some(self.parameters.environment(environment))
    }

    /// `current_date`.
    pub(super) fn today(&mut self) -> String {
        let now = self.parameters.environment(EnvironmentValue::TransactionTimestamp);
        let zone = self.parameters.environment(EnvironmentValue::TimeZone);
        format!("pg_timestamptz_date({now}, {zone})")
    }

    fn argument(&mut self, how: &str, argument: &Typed) -> Result<String> {
        Ok(match how {
            "" => argument.sql.clone(),
            "text" => self.cast(argument.clone(), PgType::Text.into(), Context::Explicit)?.sql,
            "out" => self.output(argument)?,
            "cell" => cell(argument),
            "element" => quote_text(argument.data_type.element().unwrap_or(argument.data_type).name()),
            "typeof" => argument.data_type.oid().to_string(),
            "json" => self.as_json(argument, "json"),
            "jsonb" => self.as_json(argument, "jsonb"),
            _ => return Err(Error::internal(format!("the catalog's form has a hole of the unknown kind {how}"))),
        })
    }

    /// The text that the type's output function gives: as a cast to text, but for booleans.
    fn output(&mut self, argument: &Typed) -> Result<String> {
        if argument.data_type == PgType::Bool {
            return Ok(format!("(CASE {} WHEN 1 THEN 't' WHEN 0 THEN 'f' END)", argument.sql));
        }
        Ok(self.cast(argument.clone(), PgType::Text.into(), Context::Explicit)?.sql)
    }

    pub(super) fn as_json(&mut self, argument: &Typed, form: &str) -> String {
        if argument.data_type == PgType::Record {
            return if form == "jsonb" { format!("pg_json_jsonb({})", argument.sql) } else { argument.sql.clone() };
        }
        let zone = self.parameters.environment(EnvironmentValue::TimeZone);
        format!("pg_to_{form}({}, '{}', {zone})", argument.sql, argument.data_type.name())
    }
}

fn count_nulls(how: &str, arguments: &[Typed]) -> String {
    let test = if how == "count" { "IS NOT NULL" } else { "IS NULL" };
    let parts: Vec<String> = arguments.iter().map(|argument| format!("({} {test})", argument.sql)).collect();
    if parts.is_empty() { "0".to_owned() } else { parts.join(" + ") }
}

/// A value as it stands in an array's JSON.
pub(super) fn cell(value: &Typed) -> String {
    match value.data_type {
        PgType::Uuid | PgType::Bytea | PgType::Interval => format!("lower(hex({}))", value.sql),
        _ => value.sql.clone(),
    }
}

/// The value in an array's JSON cell, as `json_each` and `json_extract` give it.
pub(super) fn from_cell(sql: &str, element: PgType) -> String {
    match element {
        PgType::Uuid | PgType::Bytea | PgType::Interval => format!("unhex({sql})"),
        PgType::Float4 | PgType::Float8 => format!("CAST({sql} AS REAL)"),
        _ => sql.to_owned(),
    }
}
