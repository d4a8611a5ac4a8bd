//! Subscripts: an element or a slice of an array, a member of jsonb.

use sqlparser::ast::Spanned;

use super::Translator;
use super::coerce::{Category, Context, category};
use super::expression::Place;
use super::form::from_cell;
use super::refusal;
use super::typed::Typed;
use crate::error::{Error, Result, SqlState};
use crate::sql::ast::{AccessExpr, Expr, Subscript};
use crate::types::PgType;

impl Translator<'_> {
    /// `array[index]`, `array[from:to]`, `jsonb['key'][0]`.
    pub(super) fn access(&mut self, root: &Expr, chain: &[AccessExpr], place: Place<'_>) -> Result<Typed> {
        let place = place.value();
        let mut subscripts = Vec::with_capacity(chain.len());
        for access in chain {
            // `schema.table.column` with a subscript, and fields of records.
            let AccessExpr::Subscript(subscript) = access else { return Err(refusal::FIELD_ACCESS.error()) };
            subscripts.push(subscript);
        }
        let mut value = self.expression(root, place)?;
        if value.data_type != PgType::Jsonb && subscripts.len() > 1 {
            return Err(refusal::SEVERAL_SUBSCRIPTS.error());
        }
        for subscript in subscripts {
            value = match (value.data_type.element(), subscript) {
                (_, Subscript::Index { index }) if value.data_type == PgType::Jsonb => {
                    self.json_member(value, index, place)?
                }
                (_, Subscript::Slice { .. }) if value.data_type == PgType::Jsonb => {
                    let message = "jsonb subscript does not support slices";
                    return Err(self.error_at(Error::new(SqlState::DATATYPE_MISMATCH, message), root.span()));
                }
                (Some(element), Subscript::Index { index }) => {
                    let index = self.array_bound(index, place)?;
                    let cell = format!("json_extract({}, '$[' || ({} - 1) || ']')", value.sql, index.sql);
                    let sql = format!("(CASE WHEN {} >= 1 THEN {} END)", index.sql, from_cell(&cell, element));
                    Typed::computed(sql, element, [&value, &index])
                }
                (Some(_), Subscript::Slice { lower_bound, upper_bound, stride: None }) => {
                    let one = Typed::constant("1", PgType::Int4);
                    let all = Typed::constant(i32::MAX.to_string(), PgType::Int4);
                    let lower = lower_bound.as_ref().map_or(Ok(one), |bound| self.array_bound(bound, place))?;
                    let upper = upper_bound.as_ref().map_or(Ok(all), |bound| self.array_bound(bound, place))?;
                    let sql = format!("pg_array_slice({}, {}, {})", value.sql, lower.sql, upper.sql);
                    Typed::computed(sql, value.data_type, [&value, &lower, &upper])
                }
                _ => {
                    let message =
                        format!("cannot subscript type {} because it does not support subscripting", value.data_type);
                    return Err(self.error_at(Error::new(SqlState::DATATYPE_MISMATCH, message), root.span()));
                }
            };
        }
        Ok(value)
    }

    fn array_bound(&mut self, index: &Expr, place: Place<'_>) -> Result<Typed> {
        let index = self.expression(index, place)?;
        self.cast(index, PgType::Int4.into(), Context::Assignment)
    }

    fn json_member(&mut self, value: Typed, index: &Expr, place: Place<'_>) -> Result<Typed> {
        let typed = self.expression(index, place)?;
        let by_text = typed.is_untyped() || category(typed.data_type) == Category::String;
        let to = if by_text { PgType::Text } else { PgType::Int4 };
        let typed = self.cast(typed, to.into(), Context::Assignment)?;
        self.operator("->", vec![value, typed], index.span())
    }
}
