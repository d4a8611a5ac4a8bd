//! Subscripts: an element or a slice of an array, a member of jsonb.

use sqlparser::ast::Spanned;

use super::Translator;
use super::coerce::{Category, Context, category};
use super::expression::Place;
use super::form::from_cell;
use super::refusal;
use super::typed::Typed;
use crate::error::{Error, Result, SqlState};
use crate::sql::ast::{AccessExpr, Expr, Ident, Subscript};
use crate::sql::fold;
use crate::types::PgType;

impl Translator<'_> {
    /// `array[index]`, `array[from:to]`, `jsonb['key'][0]`.
    pub(super) fn access(&mut self, root: &Expr, chain: &[AccessExpr], place: Place<'_>) -> Result<Typed> {
        let place = place.value();
        if let Some((column, rest)) = dotted(root, chain) {
            return match rest {
                [] => self.expression(&column, place),
                rest => self.access(&column, rest, place),
            };
        }
        if let [AccessExpr::Dot(Expr::Identifier(field))] = chain {
            return self.field(root, field, place);
        }
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
                    // int2vector and oidvector count from 0.
                    let first = i32::from(!value.data_type.is_vector());
                    let cell = format!("json_extract({}, '$[' || ({} - {first}) || ']')", value.sql, index.sql);
                    let sql = format!("(CASE WHEN {} >= {first} THEN {} END)", index.sql, from_cell(&cell, element));
                    Typed::computed(sql, element, [&value, &index])
                }
                (Some(_), Subscript::Slice { .. }) if value.data_type.is_vector() => {
                    return Err(refusal::VECTOR_SLICE.error());
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

    /// `(record).field`, of the only records that there are: an array's element `x` and its number `n`.
    fn field(&mut self, root: &Expr, field: &Ident, place: Place<'_>) -> Result<Typed> {
        let record = self.expression(root, place)?;
        if record.data_type != PgType::Record {
            return Err(refusal::FIELD_ACCESS.error());
        }
        let (index, data_type) = match fold(field).as_ref() {
            "x" => (0, PgType::Int8),
            "n" => (1, PgType::Int4),
            other => {
                let message = format!("could not identify column \"{other}\" in record data type");
                return Err(self.error_at(Error::new(SqlState::UNDEFINED_COLUMN, message), field.span));
            }
        };
        Ok(Typed::computed(format!("json_extract({}, '$[{index}]')", record.sql), data_type, [&record]))
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

/// `table.column` before a subscript, which the parser takes for the field of a column.
fn dotted<'c>(root: &Expr, chain: &'c [AccessExpr]) -> Option<(Expr, &'c [AccessExpr])> {
    let Expr::Identifier(first) = root else { return None };
    let mut parts = vec![first.clone()];
    for access in chain {
        let AccessExpr::Dot(Expr::Identifier(part)) = access else { break };
        parts.push(part.clone());
    }
    let rest = &chain[parts.len() - 1..];
    (parts.len() > 1).then_some((Expr::CompoundIdentifier(parts), rest))
}
