//! What is learned of a statement while its queries are read.
//!
//! Each use of a sharded table becomes a key in the [`Graph`]. A key given by a condition pins its table; tables that
//! are joined on their keys lie together. What cannot be done shard by shard is noted as the reason why the statement
//! cannot run on several shards; on one shard every statement can run as it is.
//!
//! The reading itself is in [`query`](super::query), [`with`](super::with), [`set_operation`](super::set_operation),
//! [`table`](super::table), [`join`](super::join), [`subquery`](super::subquery) and [`write`](super::write).

use std::sync::Arc;

use super::graph::{Graph, Variable};
use super::key::constant;
use super::predicate::{Facts, KeyColumn, facts};
use super::scope::{Scope, Source};
use super::write::Written;
use crate::error::{Error, Result, SqlState};
use crate::sql::ast::Expr;
use crate::sql::{Hidden, Overriding, Parsed};
use crate::topology::{Keyspace, Schema, Table, TableKind};
use crate::types::KeyType;

/// How many uses of sharded tables one statement may have; CTEs count each time they are named.
const MAX_TABLES: usize = 256;

/// How many queries are read for one statement, CTEs each time they are named.
const MAX_QUERIES: usize = 2_000;

#[derive(Debug)]
pub(super) struct Analysis<'a> {
    pub(super) schema: &'a Schema,
    pub(super) keyspaces: &'a [Arc<Keyspace>],
    pub(super) text: &'a str,
    pub(super) deep: bool,
    pub(super) overriding: Option<Overriding>,
    /// What the tree does not show.
    pub(super) hidden: Option<&'a Hidden>,
    pub(super) graph: Graph,
    pub(super) key_type: KeyType,
    pub(super) keyspace: Option<String>,
    /// The tables named, in order, each once.
    pub(super) tables: Vec<String>,
    pub(super) names_catalog: bool,
    pub(super) locks_rows: bool,
    /// Why the statement cannot be done shard by shard: the first reason found.
    pub(super) apart: Option<Error>,
    /// Its tables are of several keyspaces.
    pub(super) mixed: Option<Error>,
    /// What the statement itself writes, when it begins with WITH.
    pub(super) written: Option<Written>,
    queries: usize,
}

impl<'a> Analysis<'a> {
    pub(super) fn new(statement: &'a Parsed, schema: &'a Schema, keyspaces: &'a [Arc<Keyspace>]) -> Analysis<'a> {
        Analysis {
            schema,
            keyspaces,
            text: &statement.text,
            deep: statement.deep,
            overriding: statement.overriding,
            hidden: statement.hidden.as_ref(),
            graph: Graph::default(),
            key_type: keyspaces.first().map_or(KeyType::Bigint, |keyspace| keyspace.key_type),
            keyspace: None,
            tables: Vec::new(),
            names_catalog: false,
            locks_rows: false,
            apart: None,
            mixed: None,
            written: None,
            queries: 0,
        }
    }

    /// Notes the first reason why the statement cannot run on several shards.
    pub(super) fn cannot_scatter(&mut self, construct: &str, hint: &str) {
        if self.apart.is_none() {
            self.apart = Some(Error::unsupported(construct, hint));
        }
    }

    /// The same, with a reason that was written elsewhere.
    pub(super) fn note_apart(&mut self, reason: Error) {
        self.apart.get_or_insert(reason);
    }

    /// The keyspace of the statement: its tables', or the first.
    pub(super) fn keyspace_name(&self) -> String {
        self.keyspace
            .clone()
            .or_else(|| self.keyspaces.first().map(|keyspace| keyspace.name.clone()))
            .unwrap_or_default()
    }

    /// Notes that a table is used; its key, when it is sharded.
    pub(super) fn use_table(&mut self, table: &Table, level: usize) -> Result<Option<Variable>> {
        match &self.keyspace {
            Some(keyspace) if *keyspace != table.keyspace => {
                let mixed = Error::unsupported(
                    format!("a statement on tables of keyspaces \"{keyspace}\" and \"{}\"", table.keyspace),
                    "Read one of them first, and give its values to a statement on the other.",
                );
                self.mixed.get_or_insert(mixed);
            }
            Some(_) => {}
            None => self.keyspace = Some(table.keyspace.clone()),
        }
        if !self.tables.contains(&table.name) {
            self.tables.push(table.name.clone());
        }
        if self.mixed.is_some() {
            // Keys of one keyspace say nothing of another's.
            return Ok(None);
        }
        let TableKind::Sharded { key_type, .. } = table.kind else { return Ok(None) };
        if self.graph.table_count() == MAX_TABLES {
            return Err(Error::new(
                SqlState::STATEMENT_TOO_COMPLEX,
                format!("a statement uses more than {MAX_TABLES} tables"),
            ));
        }
        self.key_type = key_type;
        Ok(Some(self.graph.table(level)))
    }

    /// Counts a query that is read.
    ///
    /// # Errors
    /// 54001 when there are too many.
    pub(super) fn count_query(&mut self) -> Result<()> {
        self.queries += 1;
        if self.queries > MAX_QUERIES {
            return Err(Error::new(
                SqlState::STATEMENT_TOO_COMPLEX,
                format!("a statement has more than {MAX_QUERIES} queries"),
            ));
        }
        Ok(())
    }

    /// Notes what a WHERE or an inner join's ON says; the subqueries that a key must be in.
    pub(super) fn conditions(&mut self, condition: &Expr, scope: &Scope<'_>, level: usize) -> Vec<usize> {
        let Facts { equal, pinned, within } = facts(condition, scope, self.key_type);
        for (key, keys) in pinned {
            if !key.outer {
                self.graph.pin(key.variable, keys);
            }
        }
        for (one, other) in &equal {
            if !one.outer && !other.outer {
                self.graph.equal(one.variable, other.variable, level);
            }
        }
        for (one, other) in equal {
            match (one.outer, other.outer) {
                (false, true) => self.attach(one, other, level),
                (true, false) => self.attach(other, one, level),
                _ => {}
            }
        }
        within
    }

    /// A key of a subquery equals one of the query around it: for each row out there, only rows of its key matter.
    fn attach(&mut self, inner: KeyColumn, outer: KeyColumn, level: usize) {
        self.graph.implies(outer.variable, inner.variable);
        self.graph.unite(inner.variable, outer.variable, level);
    }

    /// A column of which each value is a constant that a key may be: what is equal to it is one of them.
    pub(super) fn constant_column<'e>(
        &mut self,
        values: impl Iterator<Item = Option<&'e Expr>>,
        level: usize,
    ) -> Option<Variable> {
        let keys = values.map(|value| constant(value?, self.key_type)).collect::<Option<Vec<_>>>()?;
        let variable = self.graph.variable(level);
        self.graph.pin(variable, keys);
        Some(variable)
    }

    /// A key that is confined as another is, without confining it.
    pub(super) fn copy_of(&mut self, key: Variable, level: usize) -> Variable {
        let copy = self.graph.variable(level);
        self.graph.unite(copy, key, level);
        self.graph.implies(key, copy);
        if self.graph.is_missing(key) {
            self.graph.may_be_missing(copy);
        }
        copy
    }

    /// Every sharded table of FROM must be joined on the key with the one that drives.
    pub(super) fn expect_joined(&mut self, source: &Source) {
        let Some(anchor) = source.anchor else { return };
        if source.keys.iter().any(|key| !self.graph.together(*key, anchor)) {
            self.cannot_scatter(
                "a join of sharded tables that does not compare their keys, across shards",
                "Join them on the key as well, or give one key to each.",
            );
        }
    }

    /// The sharded tables of subqueries must lie with the row that the subqueries are evaluated for.
    pub(super) fn expect_together(&mut self, strays: &[Variable], anchor: Option<Variable>) {
        for stray in strays {
            if !anchor.is_some_and(|anchor| self.graph.together(*stray, anchor)) {
                self.cannot_scatter(
                    "a subquery on a sharded table that is not joined on the key, across shards",
                    "Compare the subquery's key with the outer query's, or give one key to both.",
                );
            }
        }
    }

    /// Within another query, what mixes rows of several keys must belong to one row of that query, or stay on one shard.
    pub(super) fn expect_key_local(&mut self, anchor: Option<Variable>, level: usize, mixes: Option<&str>) {
        let (Some(anchor), Some(what), true) = (anchor, mixes, level > 0) else { return };
        if self.graph.level(anchor) >= level {
            self.cannot_scatter(
                &format!("{what} in a subquery across shards"),
                "Give the key in the subquery's WHERE, or join it to the outer query on the key.",
            );
        }
    }
}
