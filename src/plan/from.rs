//! FROM: tables, subqueries and functions, side by side or joined.

use super::analysis::Analysis;
use super::functions::is_volatile;
use super::graph::Variable;
use super::place::Place;
use super::scope::{Column, Relation, Scope, Source};
use crate::error::{Error, Result, SqlState};
use crate::sql::ast::{ObjectName, Query, TableAlias, TableFactor, TableWithJoins, Visit};
use crate::sql::{fold, function_name, name_parts, with_stack};

impl Analysis<'_> {
    /// The tables of FROM, as the comma joins them. `strays`: keys of subqueries within, which must lie with its rows.
    pub(super) fn from(
        &mut self,
        from: &[TableWithJoins],
        place: Place<'_>,
        strays: &mut Vec<Variable>,
    ) -> Result<Source> {
        let mut source = Source::default();
        for item in from {
            let next = self.joined(item, &source, place, strays)?;
            source = source.beside(next);
        }
        refuse_duplicate_names(&source)?;
        Ok(source)
    }

    /// A table with its joins. `before`: the parts of FROM to its left, which LATERAL and functions may name.
    fn joined(
        &mut self,
        item: &TableWithJoins,
        before: &Source,
        place: Place<'_>,
        strays: &mut Vec<Variable>,
    ) -> Result<Source> {
        let mut left = self.factor(&item.relation, before, place, strays)?;
        let outside = &before.keys;
        for join in &item.joins {
            let before = before.clone().beside(left.clone());
            let right = self.factor(&join.relation, &before, place, strays)?;
            left = self.join(left, right, join, outside, place, strays)?;
        }
        Ok(left)
    }

    fn factor(
        &mut self,
        factor: &TableFactor,
        before: &Source,
        place: Place<'_>,
        strays: &mut Vec<Variable>,
    ) -> Result<Source> {
        match factor {
            TableFactor::Table { name, alias, args: None, sample: None, with_ordinality: false, .. } => {
                Ok(aliased(self.named_table(name, place)?, alias.as_ref()))
            }
            TableFactor::Table { sample: Some(_), .. } => {
                Err(Error::unsupported("TABLESAMPLE", "Select rows by a condition on their key."))
            }
            TableFactor::Table { name, alias, args: Some(arguments), with_ordinality, .. } => {
                self.argument_subqueries(&arguments.args, before, place, strays)?;
                self.expect_stable_function(name);
                let call = FunctionRows {
                    name: last_name(name),
                    arguments: arguments.args.len(),
                    ordinality: *with_ordinality,
                };
                Ok(call.source(alias.as_ref()))
            }
            TableFactor::Function { name, args, alias, with_ordinality, .. } => {
                self.argument_subqueries(args, before, place, strays)?;
                self.expect_stable_function(name);
                let call = FunctionRows { name: last_name(name), arguments: args.len(), ordinality: *with_ordinality };
                Ok(call.source(alias.as_ref()))
            }
            TableFactor::TableFunction { expr, alias } => {
                self.argument_subqueries(expr, before, place, strays)?;
                let call = FunctionRows { name: "table".into(), arguments: 1, ordinality: false };
                Ok(call.source(alias.as_ref()))
            }
            TableFactor::UNNEST { alias, array_exprs, with_ordinality, .. } => {
                self.argument_subqueries(array_exprs, before, place, strays)?;
                let arguments = array_exprs.len();
                let call = FunctionRows { name: "unnest".into(), arguments, ordinality: *with_ordinality };
                Ok(call.source(alias.as_ref()))
            }
            TableFactor::Derived { lateral, subquery, alias, .. } => {
                self.derived(*lateral, subquery, alias.as_ref(), before, place)
            }
            TableFactor::NestedJoin { table_with_joins, alias } => {
                with_stack(|| self.nested_join(table_with_joins, alias.as_ref(), before, place, strays))
            }
            _ => Err(Error::unsupported(
                "this kind of table in FROM",
                "Use tables, subqueries, VALUES or generate_series.",
            )),
        }
    }

    fn derived(
        &mut self,
        lateral: bool,
        subquery: &Query,
        alias: Option<&TableAlias>,
        before: &Source,
        place: Place<'_>,
    ) -> Result<Source> {
        let around = Scope { source: before, outer: place.outer };
        let outer = if lateral { Some(&around) } else { place.outer };
        let output = self.query(subquery, Place { outer, ..place.inside() })?;
        let relation = Relation { name: String::new(), columns: output.columns, complete: output.complete };
        Ok(aliased(Source::of(relation, output.anchor), alias))
    }

    fn nested_join(
        &mut self,
        inner: &TableWithJoins,
        alias: Option<&TableAlias>,
        before: &Source,
        place: Place<'_>,
        strays: &mut Vec<Variable>,
    ) -> Result<Source> {
        if inner.joins.is_empty() && matches!(inner.relation, TableFactor::Table { .. }) {
            return Err(Error::new(SqlState::SYNTAX_ERROR, "syntax error: a table alone stands without parentheses"));
        }
        let source = self.joined(inner, before, place, strays)?;
        let Some(alias) = alias else { return Ok(source) };
        // Only the alias can be named outside.
        let complete = source.complete();
        let columns = source.visible.into_iter().map(Column::hidden).collect();
        let relation = Relation { name: String::new(), columns, complete };
        let mut hidden = aliased(Source::of(relation, None), Some(alias));
        hidden.keys = source.keys;
        hidden.anchor = source.anchor;
        Ok(hidden)
    }

    /// A function in FROM is called once for the whole statement: shards would each have an answer of their own.
    fn expect_stable_function(&mut self, name: &ObjectName) {
        if let Some(name) = function_name(name).filter(|name| is_volatile(name)) {
            self.cannot_scatter(&format!("{name}() in FROM across shards"), "Compute it in the application.");
        }
    }

    fn argument_subqueries<T: Visit>(
        &mut self,
        arguments: &T,
        before: &Source,
        place: Place<'_>,
        strays: &mut Vec<Variable>,
    ) -> Result<()> {
        self.expect_stable(arguments, place.level + 1);
        let scope = Scope { source: before, outer: place.outer };
        self.subqueries(arguments, &scope, place, &[], strays)
    }
}

pub(super) fn refuse_duplicate_names(source: &Source) -> Result<()> {
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

pub(super) fn last_name(name: &ObjectName) -> String {
    name_parts(name).and_then(|mut parts| parts.pop().map(std::borrow::Cow::into_owned)).unwrap_or_default()
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

/// Functions whose rows have one column; others may have several.
const GIVES_ONE_COLUMN: &[&str] = &[
    "generate_series",
    "generate_subscripts",
    "json_array_elements",
    "json_array_elements_text",
    "json_object_keys",
    "jsonb_array_elements",
    "jsonb_array_elements_text",
    "jsonb_object_keys",
    "regexp_split_to_table",
    "string_to_table",
    "unnest",
];

/// A function's rows in FROM.
struct FunctionRows {
    name: String,
    arguments: usize,
    ordinality: bool,
}

impl FunctionRows {
    /// One column, named as the function or its alias (or by the function), unless the alias names columns.
    fn source(self, alias: Option<&TableAlias>) -> Source {
        let column = |name: String| Column::new(name, None, None);
        let one_column =
            GIVES_ONE_COLUMN.contains(&self.name.as_str()) && (self.name != "unnest" || self.arguments == 1);
        let named = match alias {
            _ if self.name.contains("_array_elements") => "value".to_owned(),
            Some(alias) => fold(&alias.name).into_owned(),
            None => self.name.clone(),
        };
        let aliases = alias.map_or(&[][..], |alias| alias.columns.as_slice());
        // Their types are given where the function has none of its own.
        let all_defined = !aliases.is_empty() && aliases.iter().all(|column| column.data_type.is_some());
        let mut columns: Vec<Column> = aliases.iter().map(|alias| column(fold(&alias.name).into_owned())).collect();
        if columns.is_empty() {
            columns.push(column(named));
        }
        if one_column && columns.len() == 1 && self.ordinality {
            columns.push(column("ordinality".into()));
        }
        let relation = Relation { name: self.name, columns, complete: one_column || all_defined };
        aliased(Source::of(relation, None), alias)
    }
}
