//! FROM: tables, subqueries, functions, and what joining them says about keys.
//!
//! An inner join's condition holds for every row. An outer join's does not hold where a side is missing: it confines the
//! side that may be missing, never the side that is kept.

use super::analysis::{Analysis, Ctes};
use super::graph::Variable;
use super::predicate::{KeyColumn, facts};
use super::scope::{Column, Relation, Scope, Source};
use crate::error::{Error, Result, SqlState};
use crate::sql::ast::{
    Expr, Join, JoinConstraint, JoinOperator, ObjectName, Query, Spanned, TableAlias, TableFactor, TableWithJoins,
};
use crate::sql::{fold, name_parts, with_stack};

/// Which sides of a join may be missing from a row.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kept {
    /// Neither.
    Inner,
    /// The right.
    Left,
    /// The left.
    Right,
    /// Either.
    Both,
}

/// Where a part of FROM stands.
#[derive(Clone, Copy)]
struct Place<'p> {
    /// What LATERAL and functions may name: the parts before.
    before: &'p Source,
    ctes: Option<&'p Ctes<'p>>,
    outer: Option<&'p Scope<'p>>,
    level: usize,
}

impl Analysis<'_> {
    /// A table with its joins. `before`: the parts of FROM to its left.
    pub(super) fn joined(
        &mut self,
        item: &TableWithJoins,
        before: &Source,
        ctes: Option<&Ctes<'_>>,
        outer: Option<&Scope<'_>>,
        level: usize,
        strays: &mut Vec<Variable>,
    ) -> Result<Source> {
        self.joined_at(item, Place { before, ctes, outer, level }, strays)
    }

    fn joined_at(&mut self, item: &TableWithJoins, place: Place<'_>, strays: &mut Vec<Variable>) -> Result<Source> {
        let mut left = self.factor(&item.relation, place, strays)?;
        for join in &item.joins {
            let before = place.before.clone().beside(left.clone());
            let right = self.factor(&join.relation, Place { before: &before, ..place }, strays)?;
            left = self.join(left, right, join, place, strays)?;
        }
        Ok(left)
    }

    fn factor(&mut self, factor: &TableFactor, place: Place<'_>, strays: &mut Vec<Variable>) -> Result<Source> {
        match factor {
            TableFactor::Table { name, alias, args: None, sample: None, with_ordinality: false, .. } => {
                self.table(name, alias.as_ref(), place)
            }
            TableFactor::Table { sample: Some(_), .. } => {
                Err(Error::unsupported("TABLESAMPLE", "Select rows by a condition on their key."))
            }
            TableFactor::Table { name, alias, args: Some(arguments), with_ordinality, .. } => {
                for argument in &arguments.args {
                    self.argument_subqueries(argument, place, strays)?;
                }
                Ok(function_source(last_name(name), alias.as_ref(), *with_ordinality))
            }
            TableFactor::Function { name, args, alias, with_ordinality, .. } => {
                for argument in args {
                    self.argument_subqueries(argument, place, strays)?;
                }
                Ok(function_source(last_name(name), alias.as_ref(), *with_ordinality))
            }
            TableFactor::TableFunction { expr, alias } => {
                self.argument_subqueries(expr, place, strays)?;
                Ok(function_source("table".into(), alias.as_ref(), false))
            }
            TableFactor::UNNEST { alias, array_exprs, with_ordinality, .. } => {
                for array in array_exprs {
                    self.argument_subqueries(array, place, strays)?;
                }
                Ok(function_source("unnest".into(), alias.as_ref(), *with_ordinality))
            }
            TableFactor::Derived { lateral, subquery, alias, .. } => {
                self.derived(*lateral, subquery, alias.as_ref(), place)
            }
            TableFactor::NestedJoin { table_with_joins, alias } => {
                with_stack(|| self.nested_join(table_with_joins, alias.as_ref(), place, strays))
            }
            _ => Err(Error::unsupported(
                "this kind of table in FROM",
                "Use tables, subqueries, VALUES or generate_series.",
            )),
        }
    }

    fn table(&mut self, name: &ObjectName, alias: Option<&TableAlias>, place: Place<'_>) -> Result<Source> {
        let parts = name_parts(name).unwrap_or_default();
        let span = Some(name.span());
        let source = match parts.as_slice() {
            [table] => self.named_table(None, table, span, place.ctes, place.level)?,
            [schema, table] => self.named_table(Some(schema), table, span, place.ctes, place.level)?,
            _ => return Err(self.undefined_table(None, &name.to_string(), span)),
        };
        Ok(aliased(source, alias))
    }

    fn derived(
        &mut self,
        lateral: bool,
        subquery: &Query,
        alias: Option<&TableAlias>,
        place: Place<'_>,
    ) -> Result<Source> {
        let around = Scope { source: place.before, outer: place.outer };
        let outer = if lateral { Some(&around) } else { place.outer };
        let output = self.query(subquery, place.ctes, outer, place.level + 1)?;
        let relation = Relation { name: String::new(), columns: output.columns, complete: output.complete };
        Ok(aliased(Source::of(relation, output.anchor), alias))
    }

    fn nested_join(
        &mut self,
        inner: &TableWithJoins,
        alias: Option<&TableAlias>,
        place: Place<'_>,
        strays: &mut Vec<Variable>,
    ) -> Result<Source> {
        if inner.joins.is_empty() && matches!(inner.relation, TableFactor::Table { .. }) {
            return Err(Error::new(SqlState::SYNTAX_ERROR, "syntax error: a table alone stands without parentheses"));
        }
        let source = self.joined_at(inner, place, strays)?;
        let Some(alias) = alias else { return Ok(source) };
        // Only the alias can be named outside.
        let relation = Relation { name: String::new(), columns: source.visible.clone(), complete: source.complete() };
        let mut hidden = aliased(Source::of(relation, None), Some(alias));
        hidden.keys = source.keys;
        hidden.anchor = source.anchor;
        Ok(hidden)
    }

    fn argument_subqueries<T: crate::sql::ast::Visit>(
        &mut self,
        argument: &T,
        place: Place<'_>,
        strays: &mut Vec<Variable>,
    ) -> Result<()> {
        let scope = Scope { source: place.before, outer: place.outer };
        self.subqueries(argument, &scope, place.ctes, place.level, &[], strays)
    }

    fn join(
        &mut self,
        left: Source,
        right: Source,
        join: &Join,
        place: Place<'_>,
        strays: &mut Vec<Variable>,
    ) -> Result<Source> {
        let (kept, constraint) = match &join.join_operator {
            JoinOperator::Join(constraint) | JoinOperator::Inner(constraint) => (Kept::Inner, constraint),
            JoinOperator::CrossJoin(constraint) => (Kept::Inner, constraint),
            JoinOperator::Left(constraint) | JoinOperator::LeftOuter(constraint) => (Kept::Left, constraint),
            JoinOperator::Right(constraint) | JoinOperator::RightOuter(constraint) => (Kept::Right, constraint),
            JoinOperator::FullOuter(constraint) => (Kept::Both, constraint),
            _ => return Err(Error::new(SqlState::SYNTAX_ERROR, "syntax error: this kind of join is not Postgres's")),
        };
        self.expect_kept_side_drives(kept, &left, &right);
        if matches!(kept, Kept::Left | Kept::Both) {
            self.may_be_missing(&right);
        }
        if matches!(kept, Kept::Right | Kept::Both) {
            self.may_be_missing(&left);
        }
        let left_relations = left.relations.len();
        let left_keys = left.keys.clone();
        let (left_anchor, right_anchor) = (left.anchor, right.anchor);
        let (left_visible, right_visible) = (left.visible.clone(), right.visible.clone());
        let mut both = left.beside(right);
        let merged = match constraint {
            JoinConstraint::On(condition) => {
                let scope = Scope { source: &both, outer: place.outer };
                self.on(condition, &scope, kept, left_relations, &left_keys, place, strays)?;
                Vec::new()
            }
            JoinConstraint::Using(names) => names.iter().map(last_name).collect(),
            JoinConstraint::Natural => common_names(&left_visible, &right_visible),
            JoinConstraint::None => Vec::new(),
        };
        self.merge_columns(&mut both, &merged, kept, left_relations, &left_keys, place.level);
        both.anchor = match kept {
            Kept::Inner | Kept::Both => left_anchor.or(right_anchor),
            Kept::Left => left_anchor,
            Kept::Right => right_anchor,
        };
        Ok(both)
    }

    fn may_be_missing(&mut self, side: &Source) {
        let columns = side.relations.iter().flat_map(|relation| &relation.columns).chain(&side.visible);
        for key in columns.filter_map(|column| column.key).chain(side.keys.iter().copied()) {
            self.graph.may_be_missing(key);
        }
    }

    /// Every shard has the reference table's rows: it would return those that a key's rows elsewhere match as unmatched.
    fn expect_kept_side_drives(&mut self, kept: Kept, left: &Source, right: &Source) {
        let lacks = |side: &Source, other: &Source| side.anchor.is_none() && !other.keys.is_empty();
        let wrong = match kept {
            Kept::Inner => false,
            Kept::Left => lacks(left, right),
            Kept::Right => lacks(right, left),
            Kept::Both => lacks(left, right) || lacks(right, left),
        };
        if wrong {
            self.cannot_scatter(
                "an outer join that keeps a reference table's rows, across shards",
                "Give the key in the join's condition, or join from the sharded table.",
            );
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn on(
        &mut self,
        condition: &Expr,
        scope: &Scope<'_>,
        kept: Kept,
        left_relations: usize,
        left_keys: &[Variable],
        place: Place<'_>,
        strays: &mut Vec<Variable>,
    ) -> Result<()> {
        let mut positive = Vec::new();
        if kept == Kept::Inner {
            positive = self.conditions(condition, scope);
        } else {
            let found = facts(condition, scope, self.key_type);
            let is_left = |key: &KeyColumn| key.relation < left_relations;
            let missing = |key: &KeyColumn| match kept {
                Kept::Left => !key.outer && !is_left(key),
                Kept::Right => !key.outer && is_left(key),
                Kept::Inner | Kept::Both => false,
            };
            for (key, keys) in found.pinned {
                if missing(&key) {
                    self.graph.pin(key.variable, keys);
                }
            }
            for (one, other) in found.equal {
                self.outer_equal(one, other, kept, is_left(&one), is_left(&other), left_keys);
            }
        }
        self.subqueries(condition, scope, place.ctes, place.level, &positive, strays)
    }

    /// Equal keys in the condition of an outer join.
    fn outer_equal(
        &mut self,
        one: KeyColumn,
        other: KeyColumn,
        kept: Kept,
        one_left: bool,
        other_left: bool,
        left_keys: &[Variable],
    ) {
        if one.outer || other.outer {
            // A row out there: only the side that may be missing is confined by it.
            let (inner, is_left, out) = if one.outer { (other, other_left, one) } else { (one, one_left, other) };
            if !inner.outer && ((kept == Kept::Left && !is_left) || (kept == Kept::Right && is_left)) {
                self.graph.implies(out.variable, inner.variable);
            }
            return;
        }
        if one_left == other_left {
            let missing = (kept == Kept::Left && !one_left) || (kept == Kept::Right && one_left);
            if missing {
                self.graph.implies(one.variable, other.variable);
                self.graph.implies(other.variable, one.variable);
            }
            return;
        }
        let (left, right) = if one_left { (one, other) } else { (other, one) };
        match kept {
            Kept::Left => self.graph.implies(left.variable, right.variable),
            Kept::Right => self.graph.implies(right.variable, left.variable),
            Kept::Inner | Kept::Both => {}
        }
        self.lie_together(left.variable, right.variable, left_keys);
    }

    /// Unites a key of the right with one of the left, once: two keys of the left that equal one of the right need not
    /// equal each other where the right is missing.
    fn lie_together(&mut self, left: Variable, right: Variable, left_keys: &[Variable]) {
        let already = left_keys.iter().any(|key| self.graph.together(*key, right));
        if !already {
            self.graph.unite(right, left);
        }
    }

    /// USING and NATURAL: the named columns are equal, and appear once, before the others.
    fn merge_columns(
        &mut self,
        both: &mut Source,
        names: &[String],
        kept: Kept,
        left_relations: usize,
        left_keys: &[Variable],
        level: usize,
    ) {
        let mut merged = Vec::new();
        for name in names {
            let find = |left: bool| {
                let mut found = both
                    .visible
                    .iter()
                    .filter(|column| column.name == *name && (column.relation < left_relations) == left);
                found.next().filter(|_| found.next().is_none()).cloned()
            };
            let (Some(left), Some(right)) = (find(true), find(false)) else { continue };
            let key = match (left.key, right.key) {
                (Some(one), Some(other)) => Some(self.merged_key(one, other, kept, left_keys, level)),
                _ => None,
            };
            let data_type = left.data_type.filter(|data_type| Some(*data_type) == right.data_type);
            // Where the left may be missing, the column is the right's.
            let from = if kept == Kept::Right { &right } else { &left };
            merged.push(Column { name: name.clone(), key, data_type, relation: from.relation });
        }
        both.visible.retain(|column| !names.contains(&column.name));
        merged.append(&mut both.visible);
        both.visible = merged;
    }

    fn merged_key(
        &mut self,
        left: Variable,
        right: Variable,
        kept: Kept,
        left_keys: &[Variable],
        level: usize,
    ) -> Variable {
        match kept {
            Kept::Inner => {
                self.graph.equal(left, right);
                left
            }
            Kept::Left => {
                self.graph.implies(left, right);
                self.lie_together(left, right, left_keys);
                left
            }
            Kept::Right => {
                self.graph.implies(right, left);
                self.lie_together(left, right, left_keys);
                right
            }
            Kept::Both => {
                // Whichever side is there: confining it confines both.
                self.lie_together(left, right, left_keys);
                let merged = self.graph.variable(level);
                self.graph.unite(merged, left);
                self.graph.implies(merged, left);
                self.graph.implies(merged, right);
                merged
            }
        }
    }
}

fn last_name(name: &ObjectName) -> String {
    name_parts(name).and_then(|mut parts| parts.pop().map(std::borrow::Cow::into_owned)).unwrap_or_default()
}

fn common_names(left: &[Column], right: &[Column]) -> Vec<String> {
    left.iter()
        .filter(|column| right.iter().any(|other| other.name == column.name))
        .map(|column| column.name.clone())
        .collect()
}

/// A source of one relation, under its alias.
fn aliased(mut source: Source, alias: Option<&TableAlias>) -> Source {
    if let Some(relation) = source.relations.pop() {
        let relation = relation.aliased(alias);
        source.visible = relation.columns.clone();
        source.relations.push(relation);
    }
    source
}

/// A function's rows: one column, named as the function or its alias, unless the alias names columns.
fn function_source(name: String, alias: Option<&TableAlias>, with_ordinality: bool) -> Source {
    let column = |name: String| Column { name, key: None, data_type: None, relation: 0 };
    let named = alias.map(|alias| fold(&alias.name).into_owned()).unwrap_or_else(|| name.clone());
    let mut columns = vec![column(named)];
    if let Some(alias) = alias.filter(|alias| !alias.columns.is_empty()) {
        columns = alias.columns.iter().map(|renamed| column(fold(&renamed.name).into_owned())).collect();
    } else if with_ordinality {
        columns.push(column("ordinality".into()));
    }
    aliased(Source::of(Relation { name, columns, complete: true }, None), alias)
}
