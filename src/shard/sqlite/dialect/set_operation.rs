//! UNION, INTERSECT and EXCEPT.
//!
//! The columns of both sides are brought to common types, which gives untyped literals theirs.

use super::Translator;
use super::coerce::{Context, common_type};
use super::operate::{collated, order_key};
use super::order::Limit;
use super::query::{Body, QueryOutput, ResultColumn, Untyped, numbered};
use super::scope::Scope;
use super::typed::{Origin, Typed};
use crate::error::{Error, Result, SqlState};
use crate::sql::ast::{self, SetExpr};
use crate::types::PgType;

impl Translator<'_> {
    /// UNION, INTERSECT and EXCEPT. A long chain leans to the left, so it is walked.
    pub(super) fn set_operation<'s>(&mut self, body: &SetExpr, scope: &'s Scope<'s>) -> Result<Body<'s>> {
        let mut steps = Vec::new();
        let mut first = body;
        while let SetExpr::SetOperation { left, op, set_quantifier, right } = first {
            steps.push((*op, *set_quantifier, right.as_ref()));
            first = left;
        }
        let mut left = self.body(first, scope)?;
        for (op, quantifier, right) in steps.into_iter().rev() {
            let right = self.body(right, scope)?;
            left = Body::Output(self.combine(left, (op, quantifier), right)?);
        }
        Ok(left)
    }

    fn combine(
        &mut self,
        left: Body<'_>,
        (op, quantifier): (ast::SetOperator, ast::SetQuantifier),
        right: Body<'_>,
    ) -> Result<QueryOutput> {
        let name = match op {
            ast::SetOperator::Union => "UNION",
            ast::SetOperator::Intersect => "INTERSECT",
            ast::SetOperator::Except | ast::SetOperator::Minus => "EXCEPT",
        };
        let all = match quantifier {
            ast::SetQuantifier::All => true,
            ast::SetQuantifier::None | ast::SetQuantifier::Distinct => false,
            _ => return Err(Error::new(SqlState::SYNTAX_ERROR, "syntax error at or near \"BY\"")),
        };
        let (left_types, right_types) = (probes(&left), probes(&right));
        if left_types.len() != right_types.len() {
            let message = format!("each {name} query must have the same number of columns");
            return Err(Error::new(SqlState::SYNTAX_ERROR, message));
        }
        let mut types = Vec::with_capacity(left_types.len());
        for pair in left_types.iter().zip(&right_types) {
            types.push(common_type([pair.0, pair.1], name)?);
        }
        let union_all = all && op == ast::SetOperator::Union;
        if !union_all {
            types.iter().try_for_each(|data_type| check_distinct(*data_type))?;
        }
        // SQLite has neither INTERSECT ALL nor EXCEPT ALL.
        let counted = !union_all && (all || by_key(types.iter().copied()));
        let keyed = !union_all && !counted;
        let left = self.operand(left, &types, keyed)?;
        let right = self.operand(right, &types, keyed)?;
        let columns = left.columns.iter().zip(&right.columns);
        let columns = columns
            .map(|(left, right)| ResultColumn {
                name: left.name.clone(),
                data_type: left.data_type,
                modifier: if left.modifier == right.modifier { left.modifier } else { -1 },
                table_oid: 0,
                attribute: 0,
                not_null: left.not_null && right.not_null,
            })
            .collect();
        let (sql, column_names) = if counted {
            (self.counted(&left, (op, all), &right, &types), numbered(types.len()))
        } else {
            let right_sql = if right.compound { wrap(&right, &types, keyed) } else { right.sql };
            let word = if union_all { "UNION ALL" } else { name };
            (format!("{} {word} {right_sql}", left.sql), left.column_names)
        };
        let compound = !counted;
        Ok(QueryOutput { sql, columns, column_names, single_row: false, point_read: false, compound, closed: false })
    }

    /// The rows of both sides, each with its place among the equal ones of its side and how many the right side has.
    fn counted(
        &mut self,
        left: &QueryOutput,
        (op, all): (ast::SetOperator, bool),
        right: &QueryOutput,
        types: &[PgType],
    ) -> String {
        let (rows, alias) = (self.alias(), self.alias());
        let side = |output: &QueryOutput, number: usize| {
            let columns = output.column_names.iter().enumerate();
            let list: Vec<String> = columns.map(|(index, name)| format!("{name} AS c{}", index + 1)).collect();
            format!("SELECT {}, {number} AS side FROM ({})", list.join(", "), output.sql)
        };
        let names = numbered(types.len());
        let keys: Vec<String> =
            names.iter().zip(types).map(|(name, of)| order_key(&format!("{rows}.{name}"), *of)).collect();
        let keys = keys.join(", ");
        let (place_in, kept) = match (op, all) {
            (ast::SetOperator::Union, _) => ("", "place = 1"),
            (ast::SetOperator::Intersect, true) => ("side, ", "side = 0 AND place <= opposite"),
            (ast::SetOperator::Intersect, false) => ("side, ", "side = 0 AND place = 1 AND opposite > 0"),
            (_, true) => ("side, ", "side = 0 AND place > opposite"),
            (_, false) => ("side, ", "side = 0 AND place = 1 AND opposite = 0"),
        };
        let list: Vec<String> = names.iter().map(|name| format!("{alias}.{name} AS {name}")).collect();
        format!(
            "SELECT {} FROM (SELECT {rows}.*, row_number() OVER (PARTITION BY {place_in}{keys}) AS place, \
             count(*) FILTER (WHERE side = 1) OVER (PARTITION BY {keys}) AS opposite \
             FROM ({} UNION ALL {}) AS {rows}) AS {alias} WHERE {kept}",
            list.join(", "),
            side(left, 0),
            side(right, 1)
        )
    }

    /// One side of a set operation, its columns brought to the common types.
    fn operand(&mut self, body: Body<'_>, types: &[PgType], keyed: bool) -> Result<QueryOutput> {
        match body {
            Body::Select(mut select) => {
                select.keyed = keyed;
                self.finish_select(*select, &[], &Limit::default(), Untyped::Exactly(types))
            }
            Body::Values(_) => {
                let output = self.finish_body(body, &Limit::default(), Untyped::Exactly(types))?;
                let sql = wrap(&output, types, keyed);
                Ok(QueryOutput { sql, column_names: numbered(types.len()), compound: false, closed: false, ..output })
            }
            Body::Output(output) => {
                let same = output.columns.iter().zip(types).all(|(column, data_type)| column.data_type == *data_type);
                let plain = !keyed || types.iter().all(|data_type| collated("", *data_type).is_empty());
                if same && output.compound && !output.closed && plain {
                    return Ok(output);
                }
                self.recast(output, types, keyed)
            }
        }
    }

    /// A query around another, to cast its columns.
    fn recast(&mut self, output: QueryOutput, types: &[PgType], keyed: bool) -> Result<QueryOutput> {
        let alias = self.alias();
        let mut list = Vec::with_capacity(types.len());
        let mut columns = output.columns.clone();
        for (index, column) in columns.iter_mut().enumerate() {
            let mut value = Typed::computed(format!("{alias}.{}", output.column_names[index]), column.data_type, []);
            value.modifier = column.modifier;
            value.origin = Origin::Computed;
            let value = self.cast(value, types[index].into(), Context::Implicit)?;
            column.data_type = types[index];
            let sql = if keyed { collated(&value.sql, types[index]) } else { value.sql };
            list.push(format!("{sql} AS c{}", index + 1));
        }
        let sql = format!("SELECT {} FROM ({}) AS {alias}", list.join(", "), output.sql);
        Ok(QueryOutput {
            sql,
            column_names: numbered(columns.len()),
            columns,
            compound: false,
            closed: false,
            ..output
        })
    }
}

/// The types of a body's columns, as values to find a common type of.
fn probes(body: &Body<'_>) -> Vec<Typed> {
    match body {
        Body::Select(select) => select.outputs.iter().map(|output| output.value.clone()).collect(),
        Body::Values(rows) => {
            let width = rows.first().map_or(0, Vec::len);
            let typed = |index: usize| {
                let data_type = common_type(rows.iter().map(|row| &row[index]), "VALUES").unwrap_or(PgType::Unknown);
                let untyped = rows.iter().all(|row| row[index].is_untyped());
                Typed::computed(String::new(), if untyped { PgType::Unknown } else { data_type }, [])
            };
            (0..width).map(typed).collect()
        }
        Body::Output(output) => {
            output.columns.iter().map(|column| Typed::computed(String::new(), column.data_type, [])).collect()
        }
    }
}

/// A query around another, under the types' equality.
fn wrap(output: &QueryOutput, types: &[PgType], keyed: bool) -> String {
    let list: Vec<String> = output
        .column_names
        .iter()
        .zip(types)
        .enumerate()
        .map(|(index, (name, data_type))| {
            let value = if keyed { collated(name, *data_type) } else { name.clone() };
            format!("{value} AS c{}", index + 1)
        })
        .collect();
    format!("SELECT {} FROM ({})", list.join(", "), output.sql)
}

/// Whether duplicates can be found among values of a type.
pub(super) fn check_distinct(data_type: PgType) -> Result<()> {
    match data_type {
        PgType::Json | PgType::JsonArray => Err(Error::new(
            SqlState::UNDEFINED_FUNCTION,
            format!("could not identify an equality operator for type {data_type}"),
        )),
        _ => Ok(()),
    }
}

/// Whether duplicates have to be found by a key beside the values: those of interval differ in their cells where they are equal.
pub(super) fn by_key(types: impl IntoIterator<Item = PgType>) -> bool {
    types.into_iter().any(|data_type| data_type == PgType::Interval)
}
