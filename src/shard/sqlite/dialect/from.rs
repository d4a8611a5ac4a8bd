//! FROM: tables, joins, subqueries and functions.

use sqlparser::ast::Spanned;

use super::Translator;
use super::catalog::functions::Kind;
use super::coerce::{Context, common_type};
use super::expression::{Clause, Place};
use super::form::from_cell;
use super::names::{QualifiedName, fold, quote, quote_text};
use super::refusal;
use super::scope::{Item, Missing, Scope, ScopeColumn};
use super::typed::Typed;
use crate::error::{Error, Result, SqlState};
use crate::sql::ast::{self, JoinConstraint, JoinOperator, TableFactor};
use crate::system_catalog;
use crate::types::PgType;

/// A FROM element: its text and what can be named of it.
pub(super) type Element = (String, Vec<Item>);

/// What an element of FROM stands beside.
#[derive(Clone, Copy)]
pub(super) struct Beside<'b> {
    pub(super) scope: &'b Scope<'b>,
    /// The items to the left of the join that the element is in, but those of `scope`.
    pub(super) before: &'b [Item],
    /// Those to its left in the join itself.
    pub(super) joined: &'b [Item],
    /// The join keeps rows of the element that it finds no partner for, so that `joined` must not be named.
    pub(super) hides_joined: bool,
}

impl<'b> Beside<'b> {
    fn new(scope: &'b Scope<'b>, before: &'b [Item]) -> Beside<'b> {
        Beside { scope, before, joined: &[], hides_joined: false }
    }

    pub(super) fn items(&self) -> impl Iterator<Item = &'b Item> {
        self.scope.items.iter().chain(self.before).chain(self.joined)
    }

    /// A scope that sees these items, and what is around the query.
    pub(super) fn seen(&self) -> Scope<'b> {
        let items = self.items().cloned().collect();
        Scope { parent: self.scope.parent, depth: self.scope.depth, items, ..Scope::default() }
    }
}

/// The set-returning functions of one select list, which give their rows side by side.
#[derive(Debug, Default)]
pub(super) struct ListedSeries {
    /// The table's name in SQLite's text; empty while there is no function.
    alias: String,
    /// What each function gives, as an array.
    arrays: Vec<String>,
}

impl ListedSeries {
    /// The table whose rows have a value of each function; none when there is no function.
    pub(super) fn table(&self) -> Option<String> {
        let arrays = self.arrays.join(", ");
        (!self.arrays.is_empty()).then(|| format!("json_each(pg_array_zip({arrays})) AS {}", self.alias))
    }
}

/// The rows of a set-returning function: an array, and what an element of it is.
pub(super) struct Series {
    array: String,
    element: PgType,
    arguments: Vec<Typed>,
}

impl Series {
    /// The function's value, where an element's cell is `sql`.
    fn value(&self, sql: &str) -> Typed {
        let mut typed = Typed::computed(from_cell(sql, self.element), self.element, &self.arguments);
        typed.origin = super::typed::Origin::Computed;
        typed
    }
}

/// The kinds of join, as SQLite writes them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kinds {
    Inner,
    Left,
    Right,
    Full,
}

impl Translator<'_> {
    /// A FROM clause, with a space before; its items go to the scope.
    pub(super) fn tables_of(&mut self, tables: &[ast::TableWithJoins], scope: &mut Scope<'_>) -> Result<String> {
        let mut texts = Vec::with_capacity(tables.len());
        for (index, table) in tables.iter().enumerate() {
            let outer = table
                .joins
                .iter()
                .any(|join| !matches!(join_kind(&join.join_operator), Ok((Kinds::Inner | Kinds::Left, _))));
            let (sql, items) = match index > 0 && outer {
                true => self.parenthesized(table, Beside::new(scope, &[]))?,
                false => self.joined(table, Beside::new(scope, &[]))?,
            };
            texts.push(sql);
            scope.add(items)?;
        }
        Ok(if texts.is_empty() { String::new() } else { format!(" FROM {}", texts.join(", ")) })
    }

    /// A table and what is joined to it.
    pub(super) fn joined(&mut self, table: &ast::TableWithJoins, beside: Beside<'_>) -> Result<Element> {
        let scope = beside.scope;
        let (mut sql, mut items) = self.factor(&table.relation, beside)?;
        for join in &table.joins {
            if join.global {
                return Err(Error::new(SqlState::SYNTAX_ERROR, "syntax error at or near \"GLOBAL\""));
            }
            let (kind, constraint) = join_kind(&join.join_operator)?;
            let hides_joined = matches!(kind, Kinds::Right | Kinds::Full);
            let inside = Beside { joined: &items, hides_joined, ..beside };
            let (right_sql, right_items) = self.factor(&join.relation, inside)?;
            let (joined, condition) = self.join_items(items, right_items, kind, constraint, scope)?;
            items = joined;
            let word = match kind {
                Kinds::Inner => "JOIN",
                Kinds::Left => "LEFT JOIN",
                Kinds::Right => "RIGHT JOIN",
                Kinds::Full => "FULL JOIN",
            };
            sql = format!("{sql} {word} {right_sql}{condition}");
        }
        Ok((sql, items))
    }

    /// What can be named of a join, and its condition's text.
    fn join_items(
        &mut self,
        mut left: Vec<Item>,
        mut right: Vec<Item>,
        kind: Kinds,
        constraint: Option<&JoinConstraint>,
        scope: &Scope<'_>,
    ) -> Result<(Vec<Item>, String)> {
        if matches!(kind, Kinds::Right | Kinds::Full) {
            left.iter_mut().for_each(Item::make_nullable);
        }
        if matches!(kind, Kinds::Left | Kinds::Full) {
            right.iter_mut().for_each(Item::make_nullable);
        }
        let mut sides = Scope { parent: scope.parent, depth: scope.depth, ..Scope::default() };
        sides.add(left.clone())?;
        sides.add(right.clone())?;
        let names: Vec<String> = match constraint {
            None | Some(JoinConstraint::None) => {
                return Ok((sides.items, if kind == Kinds::Inner { String::new() } else { " ON 1".to_owned() }));
            }
            Some(JoinConstraint::On(condition)) => {
                let typed = self.expression(condition, Place::condition(&sides, Clause::JoinCondition))?;
                let typed = self.boolean(typed, "JOIN/ON", condition.span())?;
                return Ok((sides.items, format!(" ON {}", typed.sql)));
            }
            Some(JoinConstraint::Using(columns)) => {
                columns.iter().map(|name| QualifiedName::new(name).map(|name| name.name)).collect::<Result<_>>()?
            }
            Some(JoinConstraint::Natural) => {
                let right_names: Vec<&str> = visible(&right).map(|column| column.name.as_str()).collect();
                visible(&left)
                    .map(|column| column.name.clone())
                    .filter(|name| right_names.contains(&name.as_str()))
                    .collect()
            }
        };
        let (merged, condition) = self.merge_columns(&left, &right, kind, &names)?;
        let rest = |items: &[Item]| -> Vec<ScopeColumn> {
            visible(items).filter(|column| !names.contains(&column.name)).cloned().collect()
        };
        let mut columns = merged;
        columns.extend(rest(&left));
        columns.extend(rest(&right));
        let mut items = sides.items;
        for item in &mut items {
            item.columns_visible = false;
        }
        items.push(Item {
            name: None,
            columns,
            columns_visible: true,
            table: None,
            alias: String::new(),
            scalar: false,
            missing: Missing::Never,
        });
        let condition = match (condition.is_empty(), kind) {
            (true, Kinds::Inner) => String::new(),
            (true, _) => " ON 1".to_owned(),
            _ => format!(" ON {condition}"),
        };
        Ok((items, condition))
    }

    /// USING: the merged columns, and the equalities.
    fn merge_columns(
        &mut self,
        left: &[Item],
        right: &[Item],
        kind: Kinds,
        names: &[String],
    ) -> Result<(Vec<ScopeColumn>, String)> {
        let mut merged = Vec::with_capacity(names.len());
        let mut tests = Vec::with_capacity(names.len());
        for name in names {
            let left = one_column(left, name, "left")?;
            let right = one_column(right, name, "right")?;
            let (left_value, right_value) = (left.reference(0, None, None).0, right.reference(0, None, None).0);
            let common = common_type([&left_value, &right_value], "JOIN/USING")?;
            let test =
                self.operator("=", vec![left_value.clone(), right_value.clone()], sqlparser::tokenizer::Span::empty())?;
            tests.push(test.sql);
            let left_value = self.implicit(left_value, common)?;
            let right_value = self.implicit(right_value, common)?;
            let (value, source) = match kind {
                Kinds::Inner | Kinds::Left => (left_value.sql, left),
                Kinds::Right => (right_value.sql, right),
                Kinds::Full => (format!("coalesce({}, {})", left_value.sql, right_value.sql), left),
            };
            let plain = value == source.sql;
            merged.push(ScopeColumn {
                name: name.clone(),
                sql: value,
                data_type: common,
                modifier: if left.modifier == right.modifier { left.modifier } else { -1 },
                not_null: source.not_null && kind != Kinds::Full,
                table_oid: if plain { source.table_oid } else { 0 },
                attribute: if plain { source.attribute } else { 0 },
                relation: source.relation.clone(),
            });
        }
        Ok((merged, tests.join(" AND ")))
    }

    fn factor(&mut self, factor: &TableFactor, beside: Beside<'_>) -> Result<Element> {
        match factor {
            TableFactor::Table { name, alias, args: None, .. } => {
                check_plain(factor)?;
                self.named_relation(name, alias.as_ref(), beside.scope)
            }
            TableFactor::Table { name, alias, args: Some(args), with_ordinality, .. } => {
                let arguments = plain_arguments(&args.args)?;
                self.function_in_from(&QualifiedName::new(name)?, &arguments, alias.as_ref(), *with_ordinality, beside)
            }
            TableFactor::Function { lateral: _, name, args, with_ordinality, alias } => {
                let arguments = plain_arguments(args)?;
                self.function_in_from(&QualifiedName::new(name)?, &arguments, alias.as_ref(), *with_ordinality, beside)
            }
            TableFactor::UNNEST { alias, array_exprs, with_ordinality, with_offset: false, .. } => {
                let name = QualifiedName { schema: None, name: "unnest".to_owned(), span: factor.span() };
                let arguments: Vec<&ast::Expr> = array_exprs.iter().collect();
                self.function_in_from(&name, &arguments, alias.as_ref(), *with_ordinality, beside)
            }
            TableFactor::Derived { lateral, subquery, alias, sample } => {
                if sample.is_some() {
                    return Err(refusal::TABLESAMPLE.error());
                }
                self.derived(subquery, alias.as_ref(), *lateral, beside)
            }
            TableFactor::NestedJoin { table_with_joins, alias } => {
                let (sql, items) = self.nested(|translator| translator.parenthesized(table_with_joins, beside))?;
                let Some(alias) = alias else { return Ok((sql, items)) };
                aliased_join(&items, alias).map(|item| (sql, vec![item]))
            }
            other => {
                Err(Error::unsupported(format_args!("{other} in FROM"), "docs/sql.md lists what can stand there."))
            }
        }
    }

    /// A table or a WITH query.
    pub(super) fn named_relation(
        &mut self,
        name: &ast::ObjectName,
        alias: Option<&ast::TableAlias>,
        scope: &Scope<'_>,
    ) -> Result<Element> {
        let name = QualifiedName::new(name)?;
        let own = self.alias();
        let shown = alias.map_or_else(|| name.name.clone(), |alias| fold(&alias.name));
        let cte = name.schema.is_none().then(|| scope.cte(&name.name)).flatten();
        let (sql, mut item) = match cte {
            Some(cte) => {
                let columns = cte.columns.iter().enumerate().map(|(index, column)| ScopeColumn {
                    name: column.name.clone(),
                    sql: format!("{own}.c{}", index + 1),
                    data_type: column.data_type,
                    modifier: column.modifier,
                    not_null: column.not_null && !cte.open,
                    table_oid: if cte.open { 0 } else { column.table_oid },
                    attribute: if cte.open { 0 } else { column.attribute },
                    relation: own.clone(),
                });
                let item = Item {
                    name: Some(shown),
                    columns: columns.collect(),
                    columns_visible: true,
                    table: None,
                    alias: own.clone(),
                    scalar: false,
                    missing: Missing::Never,
                };
                (format!("{} AS {own}", cte.alias), item)
            }
            None => {
                let table = self.table(&name)?;
                (format!("{} AS {own}", quote(&table.name)), Item::of_table(&table, shown, &own))
            }
        };
        if let Some(alias) = alias {
            rename_columns(&mut item, alias)?;
        }
        Ok((sql, vec![item]))
    }

    /// The table of this name.
    ///
    /// # Errors
    /// 42P01: there is none.
    pub(super) fn table(&self, name: &QualifiedName) -> Result<std::sync::Arc<crate::topology::Table>> {
        let found = match self.catalog {
            super::CatalogUse::Absent if name.is_public() => self.schema.table(&name.name),
            super::CatalogUse::Absent => None,
            _ => system_catalog::find(name.schema.as_deref(), &name.name),
        };
        match found {
            Some(table) => Ok(std::sync::Arc::clone(table)),
            None => {
                let message = format!("relation \"{}\" does not exist", name.display());
                Err(self.error_at(Error::new(SqlState::UNDEFINED_TABLE, message), name.span))
            }
        }
    }

    fn function_in_from(
        &mut self,
        name: &QualifiedName,
        arguments: &[&ast::Expr],
        alias: Option<&ast::TableAlias>,
        ordinality: bool,
        beside: Beside<'_>,
    ) -> Result<Element> {
        // A function sees the items before it, as a subquery sees what is around it.
        let seen = beside.seen();
        let first_use = self.uses_of(&beside).len();
        let arguments = {
            let inside = Scope::inside(&seen);
            let place = Place::new(&inside, Clause::FunctionInFrom);
            arguments.iter().map(|argument| self.expression(argument, place)).collect::<Result<Vec<_>>>()?
        };
        self.check_uses(&beside, first_use)?;
        let own = self.alias();
        let (rows, values) = self.rows_of(name, arguments, &own).map_err(|error| self.error_at(error, name.span))?;
        let shown = alias.map_or_else(|| name.name.clone(), |alias| fold(&alias.name));
        let scalar = values.len() == 1 && !ordinality;
        let column = |value: Typed| ScopeColumn {
            // Some functions name their column.
            name: if name.name.contains("_array_elements") { "value".to_owned() } else { shown.clone() },
            sql: value.sql,
            data_type: value.data_type,
            modifier: -1,
            not_null: false,
            table_oid: 0,
            attribute: 0,
            relation: own.clone(),
        };
        let mut columns: Vec<ScopeColumn> = values.into_iter().map(column).collect();
        if ordinality {
            columns.push(ScopeColumn {
                name: "ordinality".to_owned(),
                sql: format!("({own}.key + 1)"),
                data_type: PgType::Int8,
                not_null: true,
                ..columns[0].clone()
            });
        }
        let mut item = Item {
            name: Some(shown),
            columns,
            columns_visible: true,
            table: None,
            alias: own,
            scalar,
            missing: Missing::Never,
        };
        if let Some(alias) = alias {
            rename_columns(&mut item, alias)?;
        }
        Ok((rows, vec![item]))
    }

    /// The rows of a function in FROM, named `own`, and the values of each: several for `unnest` of several arrays.
    fn rows_of(&mut self, name: &QualifiedName, arguments: Vec<Typed>, own: &str) -> Result<(String, Vec<Typed>)> {
        if name.name != "unnest" || arguments.len() < 2 {
            let series = self.series(name, arguments)?;
            return Ok((format!("json_each({}) AS {own}", series.array), vec![series.value(&format!("{own}.value"))]));
        }
        let mut arrays = Vec::with_capacity(arguments.len());
        let mut values = Vec::with_capacity(arguments.len());
        for (index, argument) in arguments.into_iter().enumerate() {
            let series = self.series(name, vec![argument])?;
            values.push(series.value(&format!("json_extract({own}.value, '$[{index}]')")));
            arrays.push(series.array);
        }
        Ok((format!("json_each(pg_array_zip({})) AS {own}", arrays.join(", ")), values))
    }

    /// A set-returning function's rows.
    fn series(&mut self, name: &QualifiedName, arguments: Vec<Typed>) -> Result<Series> {
        if !name.is_builtin() {
            return Err(self.no_function(name, &arguments));
        }
        let resolved = self.resolve(name, arguments)?;
        if resolved.kind != Kind::SetReturning {
            return Err(refusal::FUNCTION_IN_FROM.error());
        }
        let form = self.form_of(name, &resolved)?;
        let texts: Vec<&str> = resolved.arguments.iter().map(|argument| argument.sql.as_str()).collect();
        let array = match form {
            "unnest" => texts[0].to_owned(),
            "none" => "'[]'".to_owned(),
            "int4" | "int8" => {
                format!("pg_generate_series({}, {})", texts[..2].join(", "), texts.get(2).unwrap_or(&"1"))
            }
            "timestamp" => format!("pg_generate_series_timestamp({}, NULL)", texts.join(", ")),
            "timestamptz" => {
                let zone = self.parameters.environment(crate::shard::sqlite::EnvironmentValue::TimeZone);
                format!("pg_generate_series_timestamp({}, {zone})", texts.join(", "))
            }
            own if own.starts_with("pg_subscripts") || own == "pg_expandarray" => {
                format!("{own}({})", texts.join(", "))
            }
            other => format!("{other}({}, {})", texts.join(", "), quote_text(&name.name)),
        };
        Ok(Series { array, element: resolved.result, arguments: resolved.arguments })
    }

    /// A set-returning function in the select list.
    pub(super) fn series_in_list(
        &mut self,
        name: &QualifiedName,
        arguments: Vec<Typed>,
        place: Place<'_>,
    ) -> Result<Typed> {
        if place.clause != Clause::Select || place.in_aggregate || self.series.is_empty() {
            return Err(refusal::SET_RETURNING.error());
        }
        let own = self.alias();
        let series = self.series(name, arguments)?;
        let Some(listed) = self.series.last_mut() else { return Err(refusal::SET_RETURNING.error()) };
        if listed.alias.is_empty() {
            listed.alias = own;
        }
        let mut value = series.value(&format!("json_extract({}.value, '$[{}]')", listed.alias, listed.arrays.len()));
        listed.arrays.push(series.array);
        value.facts.set_returning = true;
        Ok(value)
    }

    /// Casts a value for a place that takes one type, by assignment.
    pub(super) fn assign(&mut self, value: Typed, column: &crate::topology::Column) -> Result<Typed> {
        let found = value.data_type;
        let to = super::data_type::TypeName { data_type: column.data_type, modifier: column.modifier };
        match self.try_cast(value, to, Context::Assignment)? {
            Some(cast) => Ok(cast),
            None => {
                let message = format!(
                    "column \"{}\" is of type {} but expression is of type {found}",
                    column.name, column.data_type
                );
                Err(Error::new(SqlState::DATATYPE_MISMATCH, message)
                    .hint("You will need to rewrite or cast the expression."))
            }
        }
    }
}

/// A join in parentheses with an alias, which hides what is inside.
fn aliased_join(items: &[Item], alias: &ast::TableAlias) -> Result<Item> {
    let mut item = Item {
        name: Some(fold(&alias.name)),
        columns: visible(items).cloned().collect(),
        columns_visible: true,
        table: None,
        alias: String::new(),
        scalar: false,
        missing: Missing::Never,
    };
    rename_columns(&mut item, alias)?;
    Ok(item)
}

/// Clauses of a table that other dialects have.
fn check_plain(factor: &TableFactor) -> Result<()> {
    let TableFactor::Table { sample, with_hints, version, with_ordinality, partitions, json_path, index_hints, .. } =
        factor
    else {
        return Ok(());
    };
    if sample.is_some() {
        return Err(refusal::TABLESAMPLE.error());
    }
    let plain = with_hints.is_empty()
        && version.is_none()
        && !with_ordinality
        && partitions.is_empty()
        && json_path.is_none()
        && index_hints.is_empty();
    if plain { Ok(()) } else { Err(Error::new(SqlState::SYNTAX_ERROR, "a clause of FROM that is not Postgres's")) }
}

fn visible(items: &[Item]) -> impl Iterator<Item = &ScopeColumn> {
    items.iter().filter(|item| item.columns_visible).flat_map(|item| &item.columns)
}

fn one_column<'i>(items: &'i [Item], name: &str, side: &str) -> Result<&'i ScopeColumn> {
    let mut found = visible(items).filter(|column| column.name == name);
    match (found.next(), found.next()) {
        (Some(column), None) => Ok(column),
        (Some(_), Some(_)) => Err(Error::new(
            SqlState::AMBIGUOUS_COLUMN,
            format!("common column name \"{name}\" appears more than once in {side} table"),
        )),
        _ => Err(Error::new(
            SqlState::UNDEFINED_COLUMN,
            format!("column \"{name}\" specified in USING clause does not exist in {side} table"),
        )),
    }
}

/// `AS alias (a, b, ...)`.
pub(super) fn rename_columns(item: &mut Item, alias: &ast::TableAlias) -> Result<()> {
    if alias.columns.len() > item.columns.len() {
        let message = format!(
            "table \"{}\" has {} columns available but {} columns specified",
            item.name.as_deref().unwrap_or_default(),
            item.columns.len(),
            alias.columns.len()
        );
        return Err(Error::new(SqlState::INVALID_COLUMN_REFERENCE, message));
    }
    for (column, new) in item.columns.iter_mut().zip(&alias.columns) {
        if new.data_type.is_some() {
            return Err(Error::unsupported("a column definition list in FROM", "Name the columns only."));
        }
        column.name = fold(&new.name);
    }
    Ok(())
}

fn plain_arguments(arguments: &[ast::FunctionArg]) -> Result<Vec<&ast::Expr>> {
    let plain = arguments.iter().map(|argument| match argument {
        ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(expression)) => Ok(expression),
        _ => Err(refusal::NAMED_ARGUMENTS.error()),
    });
    plain.collect()
}

fn join_kind(operator: &JoinOperator) -> Result<(Kinds, Option<&JoinConstraint>)> {
    Ok(match operator {
        JoinOperator::Join(constraint) | JoinOperator::Inner(constraint) => (Kinds::Inner, Some(constraint)),
        JoinOperator::CrossJoin(JoinConstraint::None) => (Kinds::Inner, None),
        JoinOperator::Left(constraint) | JoinOperator::LeftOuter(constraint) => (Kinds::Left, Some(constraint)),
        JoinOperator::Right(constraint) | JoinOperator::RightOuter(constraint) => (Kinds::Right, Some(constraint)),
        JoinOperator::FullOuter(constraint) => (Kinds::Full, Some(constraint)),
        _ => return Err(Error::new(SqlState::SYNTAX_ERROR, "a kind of join that is not Postgres's")),
    })
}
