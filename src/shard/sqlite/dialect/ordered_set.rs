//! Aggregates over ordered rows: `percentile_cont(0.5) WITHIN GROUP (ORDER BY price)`.
//!
//! The values are brought into an array in their order; a function of one row takes the answer from it.

use super::Translator;
use super::coerce::Context;
use super::expression::Place;
use super::form::{cell, from_cell};
use super::names::{QualifiedName, quote_text};
use super::refusal;
use super::typed::{Origin, Typed};
use crate::error::{Error, Result, SqlState};
use crate::sql::ast;
use crate::types::PgType;

impl Translator<'_> {
    pub(super) fn ordered_set(
        &mut self,
        name: &QualifiedName,
        function: &ast::Function,
        place: Place<'_>,
    ) -> Result<Typed> {
        let ([key], ast::FunctionArguments::List(list)) = (function.within_group.as_slice(), &function.args) else {
            return Err(refusal::ORDERED_SET.error());
        };
        if place.in_aggregate {
            return Err(Error::new(SqlState::GROUPING_ERROR, "aggregate function calls cannot be nested"));
        }
        if !place.clause.allows_aggregates() {
            let message = format!("aggregate functions are not allowed in {}", place.clause.name());
            return Err(Error::new(SqlState::GROUPING_ERROR, message));
        }
        let direct = match (name.name.as_str(), list.args.as_slice()) {
            ("mode", []) => None,
            (
                "percentile_cont" | "percentile_disc",
                [ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(fraction))],
            ) => Some(self.expression(fraction, place.value())?),
            _ => return Err(refusal::ORDERED_SET.error()),
        };
        self.aggregating.push(place.scope.depth);
        let values = self.ordered_values(name, function, key, place);
        self.aggregating.pop();
        let (value, values) = values?;
        let mut typed = match direct {
            None => {
                let of = quote_text(value.data_type.name());
                let sql = from_cell(&format!("pg_mode({values}, {of})"), value.data_type);
                Typed::computed(sql, value.data_type, [&value])
            }
            Some(fraction) => self.percentile(name, (&value, &values), fraction)?,
        };
        typed.origin = Origin::Computed;
        typed.facts.aggregate = true;
        typed.facts.not_null = false;
        Ok(typed)
    }

    /// What is ordered, and an array of all of it.
    fn ordered_values(
        &mut self,
        name: &QualifiedName,
        function: &ast::Function,
        key: &ast::OrderByExpr,
        place: Place<'_>,
    ) -> Result<(Typed, String)> {
        let inside = Place { in_aggregate: true, filter: false, ..place };
        let value = self.expression(&key.expr, inside)?;
        let value = match (name.name.as_str(), value.data_type) {
            ("percentile_cont", PgType::Interval) => return Err(refusal::ORDERED_SET.error()),
            ("percentile_cont", _) => match self.try_cast(value.clone(), PgType::Float8.into(), Context::Implicit)? {
                Some(cast) => cast,
                None => {
                    let message =
                        format!("function percentile_cont(double precision, {}) does not exist", value.data_type);
                    return Err(Error::new(SqlState::UNDEFINED_FUNCTION, message));
                }
            },
            (_, PgType::Unknown) => self.implicit(value, PgType::Text)?,
            _ => value,
        };
        if value.data_type.is_array() {
            return Err(refusal::ORDERED_SET.error());
        }
        let order = self.sort_key(&value, &key.options)?;
        let condition = function.filter.as_deref().map(|filter| self.filter(filter, place)).transpose()?;
        let mut conditions = vec![format!("{} IS NOT NULL", value.sql)];
        conditions.extend(condition.map(|condition| condition.sql));
        conditions.extend(place.scope.grouping.sets.as_ref().and_then(|sets| sets.present.clone()));
        let values =
            format!("pg_array_agg({} ORDER BY {order}) FILTER (WHERE {})", cell(&value), conditions.join(" AND "));
        Ok((value, values))
    }

    fn percentile(&mut self, name: &QualifiedName, (value, values): (&Typed, &str), fraction: Typed) -> Result<Typed> {
        let several = fraction.data_type.is_array();
        let to = if several { PgType::Float8Array } else { PgType::Float8 };
        let given = fraction.data_type;
        let Some(fraction) = self.try_cast(fraction, to.into(), Context::Implicit)? else {
            let message = format!("function {}({given}, {}) does not exist", name.name, value.data_type);
            return Err(Error::new(SqlState::UNDEFINED_FUNCTION, message));
        };
        let many = if several { "s" } else { "" };
        let sql = format!("pg_{}{many}({values}, {})", name.name.replace("percentile_", "percentile"), fraction.sql);
        let parts = [value, &fraction];
        match several {
            false => Ok(Typed::computed(from_cell(&sql, value.data_type), value.data_type, parts)),
            true => {
                let array = value.data_type.array().ok_or_else(|| refusal::ORDERED_SET.error())?;
                Ok(Typed::computed(sql, array, parts))
            }
        }
    }
}
