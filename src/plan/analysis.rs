//! Reads a statement's queries for what they say about keys.
//!
//! Each use of a sharded table becomes a key in the [`Graph`]. A key given by a condition pins its table; tables that
//! are joined on their keys lie together. What cannot be done shard by shard is noted as the reason why the statement
//! cannot run on several shards; on one shard every statement can run as it is.

use std::collections::HashMap;
use std::ops::ControlFlow;

use super::functions::volatile;
use super::graph::{Graph, Variable};
use super::predicate::{Facts, KeyColumn, facts, key_column};
use super::scope::{Column, Relation, Scope, Source};
use crate::error::{Error, Result, SqlState};
use crate::sql::ast::{
    BinaryOperator, Cte, Expr, Query, Select, SetExpr, SetOperator, SetQuantifier, Statement, TableWithJoins, Visit,
};
use crate::sql::{Parsed, Span, Visitor, fold, name_parts, names_relation, walk, with_stack};
use crate::system_catalog;
use crate::topology::{Keyspace, Schema, Table, TableKind};
use crate::types::KeyType;

/// How many uses of sharded tables one statement may have; CTEs count each time they are named.
const MAX_TABLES: usize = 256;

/// How many queries are read for one statement, CTEs each time they are named.
const MAX_QUERIES: usize = 2_000;

/// The WITH queries that a name can mean, the nearest first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ctes<'e> {
    name: &'e str,
    meaning: CteMeaning<'e>,
    rest: Option<&'e Ctes<'e>>,
    /// What names around the WITH mean.
    outer: Option<&'e Scope<'e>>,
}

#[derive(Clone, Copy, Debug)]
enum CteMeaning<'e> {
    Query(&'e Cte),
    /// The query itself, within a recursive one, and the rows of a data-modifying one.
    Opaque(&'e Cte),
}

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

/// Why one statement cannot be done shard by shard.
pub(super) type Reason = Error;

#[derive(Debug)]
pub(super) struct Analysis<'a> {
    pub(super) schema: &'a Schema,
    pub(super) keyspaces: &'a [std::sync::Arc<Keyspace>],
    pub(super) text: &'a str,
    pub(super) deep: bool,
    pub(super) graph: Graph,
    pub(super) key_type: KeyType,
    pub(super) keyspace: Option<String>,
    /// The tables named, in order, each once.
    pub(super) tables: Vec<String>,
    pub(super) names_catalog: bool,
    pub(super) locks_rows: bool,
    pub(super) apart: Option<Reason>,
    queries: usize,
}

impl<'a> Analysis<'a> {
    pub(super) fn new(
        statement: &'a Parsed,
        schema: &'a Schema,
        keyspaces: &'a [std::sync::Arc<Keyspace>],
    ) -> Analysis<'a> {
        Analysis {
            schema,
            keyspaces,
            text: &statement.text,
            deep: statement.deep,
            graph: Graph::default(),
            key_type: KeyType::Bigint,
            keyspace: None,
            tables: Vec::new(),
            names_catalog: false,
            locks_rows: false,
            apart: None,
            queries: 0,
        }
    }

    /// Notes the first reason why the statement cannot run on several shards.
    pub(super) fn cannot_scatter(&mut self, construct: &str, hint: &str) {
        if self.apart.is_none() {
            self.apart = Some(Error::unsupported(construct, hint));
        }
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
                return Err(Error::unsupported(
                    format!("a statement on tables of keyspaces \"{keyspace}\" and \"{}\"", table.keyspace),
                    "Read them in two statements.",
                ));
            }
            Some(_) => {}
            None => self.keyspace = Some(table.keyspace.clone()),
        }
        if !self.tables.contains(&table.name) {
            self.tables.push(table.name.clone());
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

    /// Reads a query. `level` is how many queries are around it.
    pub(super) fn query(
        &mut self,
        query: &Query,
        ctes: Option<&Ctes<'_>>,
        outer: Option<&Scope<'_>>,
        level: usize,
    ) -> Result<Output> {
        self.queries += 1;
        if self.queries > MAX_QUERIES {
            return Err(Error::new(
                SqlState::STATEMENT_TOO_COMPLEX,
                format!("a statement has more than {MAX_QUERIES} queries"),
            ));
        }
        with_stack(|| self.query_with(query, 0, ctes, outer, level))
    }

    /// Binds the WITH queries from the given one on, then reads the body.
    fn query_with(
        &mut self,
        query: &Query,
        from: usize,
        ctes: Option<&Ctes<'_>>,
        outer: Option<&Scope<'_>>,
        level: usize,
    ) -> Result<Output> {
        let Some((with, cte)) = query.with.as_ref().and_then(|with| Some((with, with.cte_tables.get(from)?))) else {
            return self.body(query, ctes, outer, level);
        };
        let name = fold(&cte.alias.name);
        let writes = matches!(
            &*cte.query.body,
            SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_)
        );
        if writes {
            // Runs once, whether it is named or not.
            self.query(&cte.query, ctes, outer, level + 1)?;
        }
        let recursive = with.recursive && names_table(&cte.query, &name);
        let meaning = if writes || recursive { CteMeaning::Opaque(cte) } else { CteMeaning::Query(cte) };
        let bound = Ctes { name: &name, meaning, rest: ctes, outer };
        if recursive {
            let output = self.query(&cte.query, Some(&bound), outer, level + 1)?;
            if output.anchor.is_some() {
                self.cannot_scatter(
                    "WITH RECURSIVE across shards",
                    "Give the key in every part of the recursive query.",
                );
            }
        }
        with_stack(|| self.query_with(query, from + 1, Some(&bound), outer, level))
    }

    fn body(
        &mut self,
        query: &Query,
        ctes: Option<&Ctes<'_>>,
        outer: Option<&Scope<'_>>,
        level: usize,
    ) -> Result<Output> {
        self.locks_rows |= !query.locks.is_empty();
        let limited = query.limit_clause.is_some() || query.fetch.is_some();
        let output = match &*query.body {
            SetExpr::Select(select) => self.select(select, query, ctes, outer, level, limited)?,
            SetExpr::Query(inner) => {
                let output = self.query(inner, ctes, outer, level)?;
                self.opaque_if(limited, output, level)
            }
            SetExpr::SetOperation { op, set_quantifier, left, right } => {
                let output = self.set_operation(*op, *set_quantifier, left, right, ctes, outer, level)?;
                self.opaque_if(limited, output, level)
            }
            SetExpr::Values(values) => self.values(values, ctes, outer, level)?,
            SetExpr::Table(_) => return Err(Error::unsupported("TABLE", "Write SELECT * FROM the table.")),
            SetExpr::Insert(statement) | SetExpr::Update(statement) | SetExpr::Delete(statement) => {
                self.cannot_scatter(
                    "a data-modifying WITH across shards",
                    "Give the key in every part of the statement.",
                );
                self.write(statement, ctes, outer, level + 1)?;
                Output::default()
            }
            SetExpr::Merge(_) => return Err(Error::unsupported("MERGE", "Use INSERT ... ON CONFLICT.")),
        };
        let empty = Source::default();
        let scope = Scope { source: &empty, outer };
        let mut strays = Vec::new();
        self.subqueries(&query.limit_clause, &scope, ctes, level, &[], &mut strays)?;
        self.subqueries(&query.fetch, &scope, ctes, level, &[], &mut strays)?;
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

    /// A key that is confined as another is, without confining it.
    pub(super) fn copy_of(&mut self, key: Variable, level: usize) -> Variable {
        let copy = self.graph.variable(level);
        self.graph.unite(copy, key);
        self.graph.implies(key, copy);
        copy
    }

    /// Within another query, what mixes rows of several keys must belong to one row of that query, or stay on one shard.
    fn expect_key_local(&mut self, anchor: Option<Variable>, level: usize, mixes: Option<&str>) {
        let (Some(anchor), Some(what), true) = (anchor, mixes, level > 0) else { return };
        if self.graph.level(anchor) >= level {
            self.cannot_scatter(
                &format!("{what} in a subquery across shards"),
                "Give the key in the subquery's WHERE, or join it to the outer query on the key.",
            );
        }
    }

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

    #[allow(clippy::too_many_arguments)]
    fn set_operation(
        &mut self,
        op: SetOperator,
        quantifier: SetQuantifier,
        left: &SetExpr,
        right: &SetExpr,
        ctes: Option<&Ctes<'_>>,
        outer: Option<&Scope<'_>>,
        level: usize,
    ) -> Result<Output> {
        // Each side is a query within this one: shards must be able to do it alone.
        let all = op == SetOperator::Union && quantifier == SetQuantifier::All;
        let distinct = op == SetOperator::Union && !all;
        let left = self.side(left, distinct, ctes, outer, level + 1)?;
        let right = self.side(right, distinct, ctes, outer, level + 1)?;
        let (one, other) = match (left.anchor, right.anchor) {
            (None, None) => return Ok(Output { columns: left.columns, complete: left.complete, ..Output::default() }),
            (Some(one), Some(other)) => (one, other),
            _ => {
                self.cannot_scatter(
                    "a set operation of a sharded table with others, across shards",
                    "Give the key, so that one shard answers.",
                );
                return Ok(Output { anchor: left.anchor.or(right.anchor), ..Output::default() });
            }
        };
        let mut by_key = false;
        let mut columns = Vec::new();
        for (left, right) in left.columns.into_iter().zip(right.columns) {
            let key = match (left.key, right.key) {
                (Some(left), Some(right)) if left_and_right(&mut self.graph, (left, one), (right, other)) => {
                    let both = self.graph.variable(level);
                    if self.graph.is_missing(left) || self.graph.is_missing(right) {
                        self.graph.may_be_missing(both);
                    } else {
                        by_key = true;
                    }
                    self.graph.unite(both, left);
                    self.graph.implies(both, left);
                    self.graph.implies(both, right);
                    Some(both)
                }
                _ => None,
            };
            columns.push(Column { key, relation: 0, ..left });
        }
        if !all && !by_key && level > 0 {
            self.cannot_scatter(
                &format!("{op} in a subquery across shards"),
                "Return the key on both sides, or give it in WHERE.",
            );
        }
        if !all && !by_key && op != SetOperator::Union {
            self.cannot_scatter(&format!("{op} across shards"), "Return the key on both sides, or give it in WHERE.");
        }
        self.graph.unite(one, other);
        Ok(Output { columns, complete: true, anchor: Some(one), source: Source::default() })
    }

    fn side(
        &mut self,
        side: &SetExpr,
        distinct: bool,
        ctes: Option<&Ctes<'_>>,
        outer: Option<&Scope<'_>>,
        level: usize,
    ) -> Result<Output> {
        with_stack(|| match side {
            SetExpr::Query(query) => self.query(query, ctes, outer, level),
            SetExpr::SetOperation { op, set_quantifier, left, right } => {
                // A UNION within a UNION need not remove duplicates: the outer one does.
                let within = distinct && *op == SetOperator::Union;
                let quantifier = if within { SetQuantifier::All } else { *set_quantifier };
                self.set_operation(*op, quantifier, left, right, ctes, outer, level)
            }
            other => self.query(&bare_query(other), ctes, outer, level),
        })
    }

    fn values(
        &mut self,
        values: &crate::sql::ast::Values,
        ctes: Option<&Ctes<'_>>,
        outer: Option<&Scope<'_>>,
        level: usize,
    ) -> Result<Output> {
        let empty = Source::default();
        let scope = Scope { source: &empty, outer };
        let mut strays = Vec::new();
        self.subqueries(values, &scope, ctes, level, &[], &mut strays)?;
        self.expect_together(&strays, None);
        let width = values.rows.first().map_or(0, |row| row.content.len());
        let columns = (1..=width)
            .map(|number| Column { name: format!("column{number}"), key: None, data_type: None, relation: 0 })
            .collect();
        Ok(Output { columns, complete: true, ..Output::default() })
    }

    fn select(
        &mut self,
        select: &Select,
        query: &Query,
        ctes: Option<&Ctes<'_>>,
        outer: Option<&Scope<'_>>,
        level: usize,
        limited: bool,
    ) -> Result<Output> {
        if select.into.is_some() {
            return Err(Error::unsupported("SELECT INTO", "Use CREATE TABLE and INSERT ... SELECT of one key."));
        }
        let mut strays = Vec::new();
        let source = self.from(&select.from, ctes, outer, level, &mut strays)?;
        let scope = Scope { source: &source, outer };
        let mut positive = Vec::new();
        if let Some(condition) = &select.selection {
            positive = self.conditions(condition, &scope);
        }
        self.subqueries(&select.selection, &scope, ctes, level, &positive, &mut strays)?;
        self.subqueries(&select.projection, &scope, ctes, level, &[], &mut strays)?;
        self.subqueries(&select.group_by, &scope, ctes, level, &[], &mut strays)?;
        self.subqueries(&select.having, &scope, ctes, level, &[], &mut strays)?;
        self.subqueries(&select.distinct, &scope, ctes, level, &[], &mut strays)?;
        self.subqueries(&select.named_window, &scope, ctes, level, &[], &mut strays)?;
        self.subqueries(&query.order_by, &scope, ctes, level, &[], &mut strays)?;
        self.expect_joined(&source);
        self.expect_together(&strays, source.anchor);

        let shape = self.shape(select, query, &scope);
        let columns = self.outputs(select, &scope, limited, &shape, level);
        let mixes = if limited { Some("LIMIT") } else { self.mixes(&shape, &columns, source.anchor) };
        self.expect_key_local(source.anchor, level, mixes);
        if level > 0
            && source.anchor.is_some()
            && let Some(name) = volatile(select)
        {
            self.cannot_scatter(&format!("{name}() in a subquery across shards"), "Compute it in the application.");
        }
        Ok(Output { columns, complete: source.complete(), anchor: source.anchor, source })
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

    /// Notes what a WHERE or an inner join's ON says; the subqueries that a key must be in.
    pub(super) fn conditions(&mut self, condition: &Expr, scope: &Scope<'_>) -> Vec<usize> {
        let Facts { equal, pinned, within } = facts(condition, scope, self.key_type);
        for (key, keys) in pinned {
            if !key.outer {
                self.graph.pin(key.variable, keys);
            }
        }
        for (one, other) in &equal {
            if !one.outer && !other.outer {
                self.graph.equal(one.variable, other.variable);
            }
        }
        for (one, other) in equal {
            match (one.outer, other.outer) {
                (false, true) => self.attach(one, other),
                (true, false) => self.attach(other, one),
                _ => {}
            }
        }
        within
    }

    /// A key of a subquery equals one of the query around it: for each row out there, only rows of its key matter.
    fn attach(&mut self, inner: KeyColumn, outer: KeyColumn) {
        self.graph.implies(outer.variable, inner.variable);
        // One only: two outer keys that equal one inner key need not equal each other where the inner row is missing.
        if self.graph.level(inner.variable) > self.graph.level(outer.variable) {
            self.graph.unite(inner.variable, outer.variable);
        }
    }

    /// Reads the subqueries in a part of the tree; the keys of those that have sharded tables are added to `strays`.
    /// `positive`: the subqueries that a key of the row must be in.
    pub(super) fn subqueries<T: Visit>(
        &mut self,
        tree: &T,
        scope: &Scope<'_>,
        ctes: Option<&Ctes<'_>>,
        level: usize,
        positive: &[usize],
        strays: &mut Vec<Variable>,
    ) -> Result<()> {
        let mut finder =
            Subqueries { analysis: self, scope, ctes, level, positive, depth: 0, compared: HashMap::new(), strays };
        match walk(tree, &mut finder) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(error) => Err(*error),
        }
    }
}

/// Both columns are their side's key, of the tables that drive.
fn left_and_right(graph: &mut Graph, left: (Variable, Variable), right: (Variable, Variable)) -> bool {
    graph.together(left.0, left.1) && graph.together(right.0, right.1)
}

/// A side of a set operation as a query of its own.
fn bare_query(body: &SetExpr) -> Query {
    Query {
        with: None,
        body: Box::new(body.clone()),
        order_by: None,
        limit_clause: None,
        fetch: None,
        locks: Vec::new(),
        for_clause: None,
        settings: None,
        format_clause: None,
        pipe_operators: Vec::new(),
    }
}

/// Whether a query names a table, anywhere.
fn names_table(query: &Query, name: &str) -> bool {
    names_relation(query, |relation| matches!(name_parts(relation).as_deref(), Some([only]) if only == name))
}

struct Subqueries<'v, 'a, 's> {
    analysis: &'v mut Analysis<'a>,
    scope: &'v Scope<'s>,
    ctes: Option<&'v Ctes<'v>>,
    level: usize,
    positive: &'v [usize],
    depth: usize,
    /// The key that is compared with a subquery's rows, by the subquery's address.
    compared: HashMap<usize, Variable>,
    strays: &'v mut Vec<Variable>,
}

impl Subqueries<'_, '_, '_> {
    fn read(&mut self, query: &Query) -> Result<()> {
        let level = self.level + 1;
        let output = self.analysis.query(query, self.ctes, Some(self.scope), level)?;
        self.strays.extend(output.anchor);
        let address = std::ptr::from_ref(query) as usize;
        let (Some(&key), [column]) = (self.compared.get(&address), output.columns.as_slice()) else { return Ok(()) };
        let Some(inner) = column.key else { return Ok(()) };
        let graph = &mut self.analysis.graph;
        graph.implies(key, inner);
        if graph.level(inner) >= level {
            graph.unite(inner, key);
        }
        if self.positive.contains(&address) {
            graph.implies(inner, key);
        }
        Ok(())
    }

    fn compare(&mut self, left: &Expr, query: &Query) {
        if let Some(key) = key_column(left, self.scope, self.analysis.key_type)
            && !key.outer
        {
            self.compared.insert(std::ptr::from_ref(query) as usize, key.variable);
        }
    }
}

impl Visitor for Subqueries<'_, '_, '_> {
    type Break = Box<Error>;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Box<Error>> {
        self.depth += 1;
        if self.depth == 1
            && let Err(error) = self.read(query)
        {
            return ControlFlow::Break(Box::new(error));
        }
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<Box<Error>> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<Box<Error>> {
        if self.depth == 0 {
            match expression {
                Expr::InSubquery { expr, subquery, .. } => self.compare(expr, subquery),
                Expr::AnyOp { left, compare_op: BinaryOperator::Eq, right, .. } => {
                    if let Expr::Subquery(query) = super::key::strip(right) {
                        self.compare(left, query);
                    }
                }
                _ => {}
            }
        }
        ControlFlow::Continue(())
    }
}

impl Analysis<'_> {
    /// The tables of FROM, as the comma joins them.
    pub(super) fn from(
        &mut self,
        from: &[TableWithJoins],
        ctes: Option<&Ctes<'_>>,
        outer: Option<&Scope<'_>>,
        level: usize,
        strays: &mut Vec<Variable>,
    ) -> Result<Source> {
        let mut source = Source::default();
        for item in from {
            let next = self.joined(item, &source, ctes, outer, level, strays)?;
            source = source.beside(next);
        }
        refuse_duplicate_names(&source)?;
        Ok(source)
    }

    /// A name in FROM: a WITH query, a table, or a table of the catalog.
    pub(super) fn named_table(
        &mut self,
        schema: Option<&str>,
        name: &str,
        span: Option<Span>,
        ctes: Option<&Ctes<'_>>,
        level: usize,
    ) -> Result<Source> {
        if schema.is_none()
            && let Some(found) = find_cte(ctes, name)
        {
            return self.cte(found, level);
        }
        if names_system_relation(self.schema, schema, name) {
            return self.system_relation(schema, name, span);
        }
        let table = match schema {
            None | Some("public") => self.schema.table(name),
            Some(_) => None,
        };
        let Some(table) = table else { return Err(self.undefined_table(schema, name, span)) };
        let key = self.use_table(table, level)?;
        let columns = table
            .columns
            .iter()
            .enumerate()
            .map(|(number, column)| Column {
                name: column.name.clone(),
                key: key.filter(|_| table.key_column() == Some(number)),
                data_type: Some(column.data_type),
                relation: 0,
            })
            .collect();
        Ok(Source::of(Relation { name: name.to_owned(), columns, complete: true }, key))
    }

    /// A relation of the system catalog: it has no keys.
    fn system_relation(&mut self, schema: Option<&str>, name: &str, span: Option<Span>) -> Result<Source> {
        let Some(table) = system_catalog::find(schema, name) else {
            let shown = schema.map_or_else(|| name.to_owned(), |schema| format!("{schema}.{name}"));
            let error = Error::unsupported(
                format_args!("the system relation {shown}"),
                "docs/system-catalog.md lists those that there are.",
            );
            return Err(match span.and_then(|span| crate::sql::position_of(self.text, span)) {
                Some(position) => error.position(position),
                None => error,
            });
        };
        self.names_catalog = true;
        let column = |column: &crate::topology::Column| Column {
            name: column.name.clone(),
            key: None,
            data_type: Some(column.data_type),
            relation: 0,
        };
        let columns = table.columns.iter().map(column).collect();
        Ok(Source::of(Relation { name: name.to_owned(), columns, complete: true }, None))
    }

    /// # Errors
    /// 0A000: the statement reads the system catalog together with tables.
    pub(super) fn refuse_mixture(&self) -> Result<()> {
        if self.tables.is_empty() { Ok(()) } else { self.refuse_catalog() }
    }

    /// # Errors
    /// 0A000: the statement reads the system catalog.
    pub(super) fn refuse_catalog(&self) -> Result<()> {
        if !self.names_catalog {
            return Ok(());
        }
        Err(Error::unsupported(
            "a statement on tables and the system catalog together",
            "Read the catalog in a statement of its own, and give its answer to the other as parameters.",
        ))
    }

    pub(super) fn undefined_table(&self, schema: Option<&str>, name: &str, span: Option<Span>) -> Error {
        if schema.is_none() && name == "only" {
            return Error::unsupported("ONLY", "Leave it out: tables have no children here.");
        }
        let name = schema.map_or_else(|| name.to_owned(), |schema| format!("{schema}.{name}"));
        let error = Error::new(SqlState::UNDEFINED_TABLE, format!("relation \"{name}\" does not exist"));
        match span.and_then(|span| crate::sql::position_of(self.text, span)) {
            Some(position) => error.position(position),
            None => error,
        }
    }

    /// A WITH query where it is named: read anew each time, since each use is confined by itself.
    fn cte(&mut self, found: &Ctes<'_>, level: usize) -> Result<Source> {
        let (cte, output) = match found.meaning {
            CteMeaning::Query(cte) => (cte, self.query(&cte.query, found.rest, found.outer, level + 1)?),
            CteMeaning::Opaque(cte) => (cte, Output::default()),
        };
        let mut relation = Relation { name: found.name.to_owned(), columns: output.columns, complete: output.complete };
        for (column, renamed) in relation.columns.iter_mut().zip(&cte.alias.columns) {
            column.name = fold(&renamed.name).into_owned();
        }
        Ok(Source::of(relation, output.anchor))
    }

    /// A write within a query, or by itself; see [`write`](super::write).
    fn write(
        &mut self,
        statement: &Statement,
        ctes: Option<&Ctes<'_>>,
        outer: Option<&Scope<'_>>,
        level: usize,
    ) -> Result<()> {
        super::write::analyse(self, statement, ctes, outer, level).map(|_| ())
    }
}

/// Whether a name means a relation of the system catalog rather than a table.
pub(super) fn names_system_relation(tables: &Schema, schema: Option<&str>, name: &str) -> bool {
    match schema {
        Some(schema) => system_catalog::is_system_schema(schema),
        // The search path has pg_catalog first; a table may be called pg_something all the same.
        None => system_catalog::find(None, name).is_some() || (name.starts_with("pg_") && tables.table(name).is_none()),
    }
}

fn find_cte<'e>(ctes: Option<&'e Ctes<'e>>, name: &str) -> Option<&'e Ctes<'e>> {
    let mut next = ctes;
    while let Some(here) = next {
        if here.name == name {
            return Some(here);
        }
        next = here.rest;
    }
    None
}

fn refuse_duplicate_names(source: &Source) -> Result<()> {
    for (number, relation) in source.relations.iter().enumerate() {
        if !relation.name.is_empty() && source.relations[..number].iter().any(|before| before.name == relation.name) {
            return Err(Error::new(
                SqlState::DUPLICATE_ALIAS,
                format!("table name \"{}\" specified more than once", relation.name),
            ));
        }
    }
    Ok(())
}
