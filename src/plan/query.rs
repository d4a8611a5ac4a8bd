//! A query, clause by clause, for what it says about keys.

use super::analysis::Analysis;
use super::functions::volatile;
use super::graph::Variable;
use super::place::Place;
use super::scope::{Column, Scope, Source};
use crate::error::{Error, Result};
use crate::sql::ast::{Query, Select, SetExpr, Values, Visit};
use crate::sql::with_stack;

/// What a query gives to the one around it.
#[derive(Debug, Default)]
pub(super) struct Output {
    pub(super) columns: Vec<Column>,
    pub(super) complete: bool,
    /// A key of its sharded tables, when it has any.
    pub(super) anchor: Option<Variable>,
    /// Of a plain SELECT: its FROM.
    pub(super) source: Source,
}

impl Analysis<'_> {
    /// Reads a query.
    pub(super) fn query(&mut self, query: &Query, place: Place<'_>) -> Result<Output> {
        self.count_query()?;
        with_stack(|| self.query_with(query, 0, place))
    }

    /// Reads a query whose WITH is bound.
    pub(super) fn body(&mut self, query: &Query, place: Place<'_>) -> Result<Output> {
        self.locks_rows |= !query.locks.is_empty();
        let limited = query.limit_clause.is_some() || query.fetch.is_some();
        let output = match &*query.body {
            SetExpr::Select(select) => self.select(select, query, place, limited)?,
            SetExpr::Query(inner) => {
                let output = self.query(inner, place)?;
                self.opaque_if(limited, output, place.level)
            }
            SetExpr::SetOperation { op, set_quantifier, left, right } => {
                let output = self.set_operation(*op, *set_quantifier, left, right, place)?;
                self.opaque_if(limited, output, place.level)
            }
            SetExpr::Values(values) => self.values(values, place)?,
            SetExpr::Table(_) => return Err(Error::unsupported("TABLE", "Write SELECT * FROM the table.")),
            SetExpr::Insert(statement)
            | SetExpr::Update(statement)
            | SetExpr::Delete(statement)
            | SetExpr::Merge(statement) => {
                let (written, output) = super::write::analyse(self, statement, place)?;
                if place.level == 0 {
                    self.written = Some(written);
                }
                output
            }
        };
        let empty = Source::default();
        let scope = Scope { source: &empty, outer: place.outer };
        let mut strays = Vec::new();
        self.subqueries(&query.limit_clause, &scope, place, &[], &mut strays)?;
        self.subqueries(&query.fetch, &scope, place, &[], &mut strays)?;
        self.expect_together(&strays, output.anchor);
        Ok(output)
    }

    /// LIMIT over several keys' rows: what is outside cannot reach in, and shards cannot do it by themselves.
    fn opaque_if(&mut self, limited: bool, mut output: Output, level: usize) -> Output {
        if limited {
            self.expect_key_local(output.anchor, level, Some("LIMIT"));
            for column in &mut output.columns {
                column.key = column.key.map(|key| self.copy_of(key, level));
            }
        }
        output
    }

    fn select(&mut self, select: &Select, query: &Query, place: Place<'_>, limited: bool) -> Result<Output> {
        if select.into.is_some() {
            return Err(Error::unsupported("SELECT INTO", "Use CREATE TABLE and INSERT ... SELECT of one key."));
        }
        let mut strays = Vec::new();
        let source = self.from(&select.from, place, &mut strays)?;
        let scope = Scope { source: &source, outer: place.outer };
        let mut positive = Vec::new();
        if let Some(condition) = &select.selection {
            positive = self.conditions(condition, &scope, place.level);
        }
        self.subqueries(&select.selection, &scope, place, &positive, &mut strays)?;
        self.subqueries(&select.projection, &scope, place, &[], &mut strays)?;
        self.subqueries(&select.group_by, &scope, place, &[], &mut strays)?;
        self.subqueries(&select.having, &scope, place, &[], &mut strays)?;
        self.subqueries(&select.distinct, &scope, place, &[], &mut strays)?;
        self.subqueries(&select.named_window, &scope, place, &[], &mut strays)?;
        self.subqueries(&query.order_by, &scope, place, &[], &mut strays)?;
        self.expect_joined(&source);
        self.expect_together(&strays, source.anchor);

        let level = place.level;
        let shape = self.shape(select, query, &scope);
        let (columns, complete) = self.outputs(select, &scope, limited, &shape, level);
        let mixes = if limited { Some("LIMIT") } else { self.mixes(&shape, &columns, source.anchor) };
        self.expect_key_local(source.anchor, level, mixes);
        self.expect_stable(select, level);
        Ok(Output { columns, complete, anchor: source.anchor, source })
    }

    /// A subquery may be evaluated once for the whole statement: shards would each have an answer of their own.
    pub(super) fn expect_stable<T: Visit>(&mut self, tree: &T, level: usize) {
        if level > 0
            && let Some(name) = volatile(tree)
        {
            self.cannot_scatter(&format!("{name}() in a subquery across shards"), "Compute it in the application.");
        }
    }

    fn values(&mut self, values: &Values, place: Place<'_>) -> Result<Output> {
        let empty = Source::default();
        let scope = Scope { source: &empty, outer: place.outer };
        let mut strays = Vec::new();
        self.subqueries(values, &scope, place, &[], &mut strays)?;
        self.expect_together(&strays, None);
        self.expect_stable(values, place.level);
        let width = values.rows.first().map_or(0, |row| row.content.len());
        let level = place.level;
        let columns = (0..width).map(|place| {
            let key = self.constant_column(values.rows.iter().map(|row| row.content.get(place)), level);
            Column::new(format!("column{}", place + 1), key, None)
        });
        let columns = columns.collect();
        Ok(Output { columns, complete: true, ..Output::default() })
    }
}
