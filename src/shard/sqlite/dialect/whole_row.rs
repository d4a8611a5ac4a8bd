//! A row of FROM as one value: `to_jsonb(e)`, `json_agg(e)`, `count(e)`.
//!
//! There are no composite values here; what these functions make of a row is made of its columns.

use super::Translator;
use super::expression::{Place, take_key};
use super::lateral::MAX_ARGUMENTS;
use super::names::{QualifiedName, fold, quote_text};
use super::operate::order_key;
use super::refusal;
use super::scope::Missing;
use super::set_operation::check_distinct;
use super::typed::Typed;
use crate::error::Result;
use crate::sql::ast::Expr;
use crate::types::PgType;

impl Translator<'_> {
    /// The argument of a function that takes rows: a record whose cell is its JSON. None where it names no row.
    pub(super) fn whole_row(&mut self, function: &str, argument: &Expr, place: Place<'_>) -> Result<Option<Typed>> {
        if !matches!(function, "row_to_json" | "to_json" | "to_jsonb" | "json_agg" | "jsonb_agg" | "count") {
            return Ok(None);
        }
        let Expr::Identifier(name) = argument else { return Ok(None) };
        let folded = fold(name);
        if place.scope.column(&folded).map_err(|error| self.error_at(error, name.span))?.is_some() {
            return Ok(None);
        }
        let bare = QualifiedName { schema: None, name: folded.clone(), span: name.span };
        let Some((item, level)) = place.scope.item(&bare) else { return Ok(None) };
        if item.scalar {
            return Ok(None);
        }
        let (columns, missing) = (item.columns.clone(), item.missing.clone());
        let mut members = Vec::with_capacity(columns.len() * 2);
        let mut parts = Vec::with_capacity(columns.len());
        for column in &columns {
            let (typed, column_use) = column.reference(level, Some(&folded), self.position(name.span));
            let mut typed = self.use_column(typed, column_use, level, place);
            if level == 0 && !place.in_aggregate {
                take_key(&mut typed, place.scope, self.aliases);
            }
            members.push(format!("{}, {}", quote_text(&column.name), self.as_json(&typed, "json")));
            parts.push(typed);
        }
        let members: Vec<String> =
            members.chunks(MAX_ARGUMENTS / 2).map(|some| format!("pg_row_members({})", some.join(", "))).collect();
        let row = format!("('{{' || {} || '}}')", members.join(" || ',' || "));
        let sql = match missing {
            Missing::Never => row,
            Missing::WithNull(sure) => format!("(CASE WHEN {sure} IS NOT NULL THEN {row} END)"),
            Missing::Untold => return Err(self.error_at(refusal::WHOLE_ROW.error(), name.span)),
        };
        Ok(Some(Typed::computed(sql, PgType::Record, &parts)))
    }

    /// `count(DISTINCT (a, b))`: a text that two rows have in common where they are equal. A row of NULLs is not NULL.
    fn row_key(&mut self, parts: &[Expr], place: Place<'_>) -> Result<Typed> {
        let mut values = Vec::with_capacity(parts.len());
        for part in parts {
            let value = self.expression(part, place)?;
            values.push(if value.is_untyped() { self.implicit(value, PgType::Text)? } else { value });
        }
        let keys = values.iter().map(|value| {
            check_distinct(value.data_type)?;
            Ok(match value.data_type {
                PgType::Numeric => format!("pg_numeric_trim_scale({})", value.sql),
                PgType::Bpchar => format!("rtrim({}, ' ')", value.sql),
                // The zeros are one.
                PgType::Float4 | PgType::Float8 => format!("({} + 0.0)", value.sql),
                other => order_key(&value.sql, other),
            })
        });
        let keys = keys.collect::<Result<Vec<_>>>()?;
        Ok(Typed::computed(format!("pg_row({})", keys.join(", ")), PgType::Text, &values).not_null())
    }

    /// The arguments of a function, one of which may be a row.
    pub(super) fn arguments(&mut self, function: &str, arguments: &[&Expr], place: Place<'_>) -> Result<Vec<Typed>> {
        let mut typed = Vec::with_capacity(arguments.len());
        for argument in arguments {
            typed.push(match (self.whole_row(function, argument, place)?, argument) {
                (Some(row), _) => row,
                (None, Expr::Tuple(parts)) if function == "count" => self.row_key(parts, place)?,
                (None, argument) => self.expression(argument, place)?,
            });
        }
        Ok(typed)
    }
}

/// `row_to_json` of a row, which is its JSON already.
pub(super) fn row_to_json(function: &str, arguments: &[Typed]) -> Option<Typed> {
    match arguments {
        [row] if function == "row_to_json" && row.data_type == PgType::Record => {
            Some(Typed { data_type: PgType::Json, ..row.clone() })
        }
        _ => None,
    }
}
