//! Whether text may be put together here: rows of several shards are ordered and told apart by the bytes of their text.
//!
//! A Postgres database orders text as its collation says, and a column or an expression may have another one. What would
//! come out otherwise is refused, and so are values of types that only the shards can compare.

use std::ops::ControlFlow;

use super::merge::MergePlan;
use super::session::Session;
use super::statement::Statement;
use crate::error::{Error, Result};
use crate::plan::{Aggregate, Distinct, Read, collated_by_bytes, orders_by_bytes};
use crate::shard::{OutputColumn, ShardKind};
use crate::sql::ast::{self, Expr, OrderByKind, SelectItem, SetExpr, Value};
use crate::sql::walk_expressions;
use crate::types::{PgType, ShardId};

/// How the shards of one statement treat text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TextRules {
    /// Texts are ordered by their bytes.
    pub(super) order_by_bytes: bool,
    /// Texts are equal only when their bytes are.
    pub(super) equal_by_bytes: bool,
    /// `upper`, `lower` and their kin know the letters of ASCII only.
    pub(super) plain_letters: bool,
}

const BY_BYTES: TextRules = TextRules { order_by_bytes: true, equal_by_bytes: true, plain_letters: true };

impl Session {
    /// How these shards treat the text of a read.
    ///
    /// # Errors
    /// A shard is not open.
    pub(super) fn text_rules(&self, read: &Read, shards: &[ShardId], statement: &Statement) -> Result<TextRules> {
        if self.engine.kind == ShardKind::Sqlite {
            return Ok(BY_BYTES);
        }
        let tables = read.tables.iter().filter_map(|name| statement.schema.table(name));
        let mut collations = tables.flat_map(|table| &table.columns).filter_map(|column| column.collation.as_deref());
        let foreign_collation = collations.any(|name| !is_by_bytes(name)) || names_collation(&read.statement);
        let mut rules = TextRules {
            order_by_bytes: !foreign_collation,
            // Whether a collation is deterministic, its name does not tell.
            equal_by_bytes: !foreign_collation,
            plain_letters: !foreign_collation,
        };
        for &shard in shards {
            let text = self.engine.shard(shard)?.postgres()?.text();
            rules.order_by_bytes &= text.ordered_by_bytes;
            rules.plain_letters &= text.plain_letters;
        }
        Ok(rules)
    }
}

/// `pg_catalog."C"` and others that order by bytes, as the schema names them.
fn is_by_bytes(collation: &str) -> bool {
    matches!(collation, "pg_catalog.\"C\"" | "pg_catalog.\"POSIX\"" | "pg_catalog.ucs_basic")
}

/// Whether the statement names a collation that may not order by bytes.
fn names_collation(statement: &ast::Statement) -> bool {
    walk_expressions(statement, |expression| match expression {
        Expr::Collate { collation, .. } if !orders_by_bytes(collation) => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    })
    .is_break()
}

impl TextRules {
    /// # Errors
    /// 0A000: the order, or which rows are equal, would come out otherwise than a shard has it.
    pub(super) fn permit_merge(self, plan: &MergePlan) -> Result<()> {
        let column = |number: usize| plan.columns.get(number);
        for key in &plan.order {
            let Some(column) = column(key.column) else { continue };
            permit_type(column)?;
            if has_text(column) && !self.order_by_bytes && !key.by_bytes {
                return Err(other_order());
            }
        }
        let told_apart: Vec<usize> = match &plan.distinct {
            Distinct::No => return Ok(()),
            Distinct::Rows => (0..plan.visible_columns).collect(),
            Distinct::On(columns) => columns.clone(),
        };
        told_apart.into_iter().filter_map(column).try_for_each(|column| self.permit_equality(column))
    }

    /// # Errors
    /// 0A000: a group, or what is computed from the shards' partial rows, would come out otherwise than a shard has it.
    /// `finish` reads columns of these types.
    pub(super) fn permit_aggregate(self, columns: &[OutputColumn], finish: &ast::Statement) -> Result<()> {
        columns.iter().try_for_each(|column| self.permit_equality(column))?;
        if self == BY_BYTES || !columns.iter().any(has_text) {
            return Ok(());
        }
        let ast::Statement::Query(query) = finish else { return Ok(()) };
        let SetExpr::Select(select) = &*query.body else { return Ok(()) };
        let is_text =
            |expression: &Expr| column_number(expression).and_then(|at| columns.get(at)).is_some_and(has_text);
        let mentions = |expression: &Expr| {
            walk_expressions(
                expression,
                |part| if is_text(part) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) },
            )
            .is_break()
        };
        let selected: Vec<&Expr> = select.projection.iter().filter_map(selected).collect();
        if selected.iter().any(|expression| !is_text(expression) && mentions(expression)) {
            return Err(computed());
        }
        if select.having.as_ref().is_some_and(mentions) {
            return Err(computed());
        }
        let Some(OrderByKind::Expressions(items)) = query.order_by.as_ref().map(|order| &order.kind) else {
            return Ok(());
        };
        let sorted = items.iter().map(|item| ordinal(&item.expr, &selected).unwrap_or(&item.expr));
        for expression in sorted {
            if is_text(expression) && !self.order_by_bytes {
                return Err(other_order());
            }
            if !is_text(expression) && !collated_by_bytes(expression) && mentions(expression) {
                return Err(computed());
            }
        }
        Ok(())
    }

    fn permit_equality(self, column: &OutputColumn) -> Result<()> {
        permit_type(column)?;
        if has_text(column) && !self.equal_by_bytes {
            return Err(Error::unsupported(
                "telling text apart across shards under a collation of its own",
                "Give the key in WHERE, or put COLLATE \"C\" behind the text, in the table or in the statement.",
            ));
        }
        Ok(())
    }
}

/// The number of the partial column (from 0) that an expression is.
fn column_number(expression: &Expr) -> Option<usize> {
    let Expr::CompoundIdentifier(parts) = expression else { return None };
    let [table, column] = parts.as_slice() else { return None };
    let number = column.value.strip_prefix('c')?.parse::<usize>().ok()?;
    (table.value == Aggregate::PARTIAL).then(|| number.checked_sub(1))?
}

fn selected(item: &SelectItem) -> Option<&Expr> {
    match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Some(expr),
        _ => None,
    }
}

/// What `ORDER BY 1` sorts by.
fn ordinal<'e>(expression: &Expr, selected: &[&'e Expr]) -> Option<&'e Expr> {
    let Expr::Value(value) = expression else { return None };
    let Value::Number(number, _) = &value.value else { return None };
    selected.get(number.parse::<usize>().ok()?.checked_sub(1)?).copied()
}

/// Its order is a collation's.
fn has_text(column: &OutputColumn) -> bool {
    matches!(
        column.data_type,
        PgType::Text
            | PgType::Varchar
            | PgType::Bpchar
            | PgType::Jsonb
            | PgType::TextArray
            | PgType::VarcharArray
            | PgType::BpcharArray
            | PgType::JsonbArray
    )
}

fn permit_type(column: &OutputColumn) -> Result<()> {
    match column.foreign {
        None => Ok(()),
        Some(foreign) => Err(Error::unsupported(
            format!("comparing values of the type with OID {}, which only the shards know, across shards", foreign.oid),
            "Give the key in WHERE, or cast the value to text.",
        )),
    }
}

fn other_order() -> Error {
    Error::unsupported(
        "ordering text across shards whose databases do not order it by its bytes",
        "Give the key in WHERE, or order by the text with COLLATE \"C\".",
    )
}

fn computed() -> Error {
    Error::unsupported(
        "computing with text beside aggregates across shards whose databases do not treat it by its bytes",
        "Select the text as it is and compute in the application, or give the key in WHERE.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::{Tree, parse};

    fn column(data_type: PgType) -> OutputColumn {
        OutputColumn { name: "c".into(), data_type, modifier: -1, table_oid: 0, attribute: 0, foreign: None }
    }

    fn permitted(rules: TextRules, finish: &str) -> bool {
        let Tree::Sql(tree) = parse(finish, 0, Vec::new()).unwrap().tree else { panic!("{finish}") };
        rules.permit_aggregate(&[column(PgType::Text), column(PgType::Int8)], &tree).is_ok()
    }

    #[test]
    fn text_passes_through_an_aggregate_and_is_not_computed_with() {
        let rules = TextRules { order_by_bytes: false, plain_letters: false, ..BY_BYTES };
        for finish in [
            "SELECT partial.c1 AS a, sum(partial.c2) AS b FROM partial GROUP BY partial.c1",
            "SELECT partial.c1 AS a, sum(partial.c2) AS b FROM partial GROUP BY partial.c1 ORDER BY 2",
            "SELECT partial.c1 AS a FROM partial GROUP BY partial.c1 ORDER BY partial.c1 COLLATE \"C\"",
            "SELECT partial.c1 AS a FROM partial GROUP BY partial.c1 HAVING sum(partial.c2) > 1",
        ] {
            assert!(permitted(rules, finish), "{finish}");
        }
        for finish in [
            "SELECT min(partial.c1) AS a FROM partial",
            "SELECT upper(partial.c1) AS a FROM partial GROUP BY partial.c1",
            "SELECT partial.c1 AS a, sum(partial.c2) AS b FROM partial GROUP BY partial.c1 ORDER BY 1",
            "SELECT sum(partial.c2) AS b FROM partial GROUP BY partial.c1 ORDER BY partial.c1",
            "SELECT partial.c1 AS a FROM partial GROUP BY partial.c1 HAVING partial.c1 > 'm'",
        ] {
            assert!(!permitted(rules, finish), "{finish}");
            assert!(permitted(BY_BYTES, finish), "{finish}");
        }
    }

    #[test]
    fn texts_that_a_collation_may_hold_for_equal_are_not_grouped() {
        let rules = TextRules { equal_by_bytes: false, ..BY_BYTES };
        assert!(!permitted(rules, "SELECT sum(partial.c2) AS b FROM partial"));
    }
}
