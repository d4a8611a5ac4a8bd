//! GROUPING SETS, ROLLUP and CUBE.
//!
//! SQLite groups by one list. So each row of FROM and WHERE comes once for each set, with the set's number, and with NULL for the
//! expressions that the set leaves out; the rows are grouped by the number and the expressions. Aggregates read the columns of
//! the row, everything else the expressions. The empty set has a group without rows, too: for it comes a row that
//! aggregates pass over.

use super::Translator;
use super::expression::Place;
use super::group::determined_relations;
use super::operate::order_key;
use super::scope::Scope;
use super::typed::{Origin, Typed};
use crate::error::{Error, Result, SqlState};
use crate::sql::ast::{self, Expr};
use crate::types::PgType;

/// As in Postgres.
const MAX_SETS: usize = 4096;
const MAX_CUBE_ELEMENTS: usize = 12;
const MAX_GROUPING_ARGUMENTS: usize = 31;

/// The grouping sets of one query.
#[derive(Clone, Debug)]
pub(super) struct Sets {
    /// By their place among the grouping's expressions.
    pub(super) keys: Vec<SetKey>,
    /// Whether a row is one of FROM, where there are others.
    pub(super) present: Option<String>,
    count: usize,
    /// The numbers of the empty sets.
    empty: Vec<usize>,
}

/// A grouped expression.
#[derive(Clone, Debug)]
pub(super) struct SetKey {
    /// What it is called where rows are grouped.
    pub(super) sql: String,
    /// Whether the row's set leaves it out; none when no set does.
    pub(super) absent: Option<String>,
    /// Its name, and the value that it has in the rows of the sets that have it.
    definition: String,
}

/// The columns of FROM, renamed.
pub(super) struct Columns<'s> {
    alias: String,
    /// The select list that renames them.
    list: Vec<String>,
    /// The scope with the names before, which WHERE has.
    pub(super) before: Scope<'s>,
}

/// An expression of GROUP BY, while the sets are read.
struct Found<'e> {
    expression: &'e Expr,
    typed: Typed,
    text: String,
}

/// Whether an item of GROUP BY is the number of a result column.
fn is_position(item: &Expr) -> bool {
    matches!(item, Expr::Value(value) if matches!(value.value, ast::Value::Number(..)))
}

/// Whether a GROUP BY clause is more than a list of expressions.
pub(super) fn has_sets(group_by: &ast::GroupByExpr) -> bool {
    let ast::GroupByExpr::Expressions(keys, _) = group_by else { return false };
    keys.iter().any(|key| matches!(key, Expr::GroupingSets(_) | Expr::Cube(_) | Expr::Rollup(_)))
}

impl Translator<'_> {
    /// Gives all columns of FROM the names of one relation.
    pub(super) fn rename_all<'s>(&mut self, scope: &mut Scope<'s>) -> Columns<'s> {
        let alias = self.alias();
        let before = Scope { items: scope.items.clone(), parent: scope.parent, depth: scope.depth, ..Scope::default() };
        let mut texts: Vec<String> = Vec::new();
        for column in scope.items.iter_mut().flat_map(|item| &mut item.columns) {
            let place = texts.iter().position(|text| *text == column.sql).unwrap_or(texts.len());
            if place == texts.len() {
                texts.push(column.sql.clone());
            }
            column.sql = format!("{alias}.c{}", place + 1);
        }
        for item in &mut scope.items {
            if let super::scope::Missing::WithNull(sure) = &mut item.missing
                && let Some(place) = texts.iter().position(|text| text == sure)
            {
                *sure = format!("{alias}.c{}", place + 1);
            }
        }
        let list = texts.into_iter().enumerate().map(|(index, text)| format!("{text} AS c{}", index + 1)).collect();
        Columns { alias, list, before }
    }

    /// Reads a GROUP BY clause with grouping sets: what its rows are grouped by.
    pub(super) fn grouping_sets(
        &mut self,
        keys: &[Expr],
        select: &ast::Select,
        scope: &mut Scope<'_>,
        columns: &Columns<'_>,
    ) -> Result<Vec<String>> {
        let relation = &columns.alias;
        let mut found: Vec<Found<'_>> = Vec::new();
        let mut sets: Vec<Vec<usize>> = vec![Vec::new()];
        for key in keys {
            let own = self.sets_of(key, select, scope, &mut found)?;
            check_count(sets.len() * own.len())?;
            sets = sets.iter().flat_map(|set| own.iter().map(|own| [set.as_slice(), own].concat())).collect();
        }
        let empty: Vec<usize> = (0..sets.len()).filter(|number| sets[*number].is_empty()).collect();
        let present = (!empty.is_empty()).then(|| format!("{relation}.here"));
        scope.grouping.sets = Some(Box::new(Sets { keys: Vec::new(), present, count: sets.len(), empty }));
        let mut group = vec![format!("{relation}.g")];
        let mut common = Vec::new();
        // An expression may hold another one: the shorter first, so that its text is what it has elsewhere.
        let mut order: Vec<usize> = (0..found.len()).collect();
        order.sort_by_key(|index| found[*index].text.len());
        for index in order {
            let Found { expression, typed, text } = &found[index];
            let (_, elsewhere) = self.group_value(expression, select, scope)?;
            let within: Vec<String> =
                (0..sets.len()).filter(|set| sets[*set].contains(&index)).map(|set| set.to_string()).collect();
            let everywhere = within.len() == sets.len();
            if everywhere {
                common.push(text.clone());
            }
            let within = within.join(", ");
            let name = format!("k{}", index + 1);
            let sql = format!("{relation}.{name}");
            group.push(order_key(&sql, typed.data_type));
            let (absent, definition) = match everywhere {
                true => (None, format!("{} AS {name}", typed.sql)),
                false => (
                    Some(format!("({relation}.g NOT IN ({within}))")),
                    format!("iif({relation}_sets.value IN ({within}), {}, NULL) AS {name}", typed.sql),
                ),
            };
            scope.grouping.expressions.push(elsewhere);
            if let Some(sets) = &mut scope.grouping.sets {
                sets.keys.push(SetKey { sql, absent, definition });
            }
        }
        scope.grouping.relations = determined_relations(scope, &common);
        Ok(group)
    }

    /// The sets that an item of GROUP BY stands for, as places in `found`.
    fn sets_of<'e>(
        &mut self,
        item: &'e Expr,
        select: &ast::Select,
        scope: &Scope<'_>,
        found: &mut Vec<Found<'e>>,
    ) -> Result<Vec<Vec<usize>>> {
        let mut element = |translator: &mut Self, parts: &mut dyn Iterator<Item = &'e Expr>| -> Result<Vec<usize>> {
            let mut set = Vec::new();
            for part in parts {
                translator.set_element(part, select, scope, found, &mut set)?;
            }
            Ok(set)
        };
        match item {
            Expr::Rollup(elements) => {
                let elements: Vec<Vec<usize>> =
                    elements.iter().map(|parts| element(self, &mut parts.iter())).collect::<Result<_>>()?;
                check_count(elements.len() + 1)?;
                Ok(rollup(&elements))
            }
            Expr::Cube(elements) => {
                let elements: Vec<Vec<usize>> =
                    elements.iter().map(|parts| element(self, &mut parts.iter())).collect::<Result<_>>()?;
                cube(&elements)
            }
            Expr::Function(function) if written_sets(function).is_some() => {
                let arguments: Vec<&Expr> = written_sets(function).unwrap_or_default();
                let elements: Vec<Vec<usize>> = arguments
                    .into_iter()
                    .map(|part| element(self, &mut std::iter::once(part)))
                    .collect::<Result<_>>()?;
                match function.name.to_string().eq_ignore_ascii_case("cube") {
                    true => cube(&elements),
                    false => Ok(rollup(&elements)),
                }
            }
            Expr::GroupingSets(elements) => {
                let mut sets = Vec::new();
                for parts in elements {
                    match parts.as_slice() {
                        [part @ Expr::Function(function)] if written_sets(function).is_some() => {
                            sets.extend(self.sets_of(part, select, scope, found)?);
                        }
                        parts => {
                            let mut set = Vec::new();
                            for part in parts {
                                self.set_element(part, select, scope, found, &mut set)?;
                            }
                            sets.push(set);
                        }
                    }
                    check_count(sets.len())?;
                }
                Ok(sets)
            }
            other => Ok(vec![element(self, &mut std::iter::once(other))?]),
        }
    }

    /// Adds an expression, or those of a row, to a set.
    fn set_element<'e>(
        &mut self,
        part: &'e Expr,
        select: &ast::Select,
        scope: &Scope<'_>,
        found: &mut Vec<Found<'e>>,
        set: &mut Vec<usize>,
    ) -> Result<()> {
        if let Expr::Tuple(parts) = part {
            return parts.iter().try_for_each(|part| self.set_element(part, select, scope, found, set));
        }
        let (typed, text) = self.group_value(part, select, scope)?;
        let place = found.iter().position(|known| known.text == text).unwrap_or(found.len());
        match found.get(place) {
            None => found.push(Found { expression: part, typed, text }),
            // Postgres tells two columns of the result apart though they hold the same, and leaves each out by itself.
            Some(known) if known.expression != part && is_position(known.expression) && is_position(part) => {
                return Err(Error::unsupported(
                    "grouping sets of two result columns that are the same expression",
                    "Leave one of the columns out.",
                ));
            }
            Some(_) => {}
        }
        set.push(place);
        Ok(())
    }

    /// FROM: the rows of `from`, which is FROM and WHERE, for each set.
    pub(super) fn set_rows(&mut self, columns: &Columns<'_>, from: &str, scope: &Scope<'_>) -> String {
        let alias = &columns.alias;
        let Some(sets) = &scope.grouping.sets else { return from.to_owned() };
        let mut list = vec!["1 AS here".to_owned()];
        list.extend_from_slice(&columns.list);
        // LIMIT keeps SQLite from computing a row's columns again for each set: they may be random.
        let rows = format!("(SELECT {}{from} LIMIT -1) AS {alias}", list.join(", "));
        let numbers = format!("json_each(pg_generate_series(0, {}, 1)) AS {alias}_sets", sets.count - 1);
        let mut outer = vec![format!("{alias}.*"), format!("{alias}_sets.value AS g")];
        outer.extend(sets.keys.iter().map(|key| key.definition.clone()));
        let outer = outer.join(", ");
        if sets.empty.is_empty() {
            return format!(" FROM (SELECT {outer} FROM {rows} CROSS JOIN {numbers}) AS {alias}");
        }
        let empty: Vec<String> = sets.empty.iter().map(ToString::to_string).collect();
        format!(
            " FROM (SELECT {outer} FROM (SELECT 1) LEFT JOIN {rows} ON 1 CROSS JOIN {numbers} \
             WHERE {alias}.here IS NOT NULL OR {alias}_sets.value IN ({})) AS {alias}",
            empty.join(", ")
        )
    }

    /// `GROUPING(a, b)`: a bit for each expression that the row's set leaves out, the last one the lowest.
    pub(super) fn grouping(&mut self, arguments: &[&Expr], place: Place<'_>) -> Result<Typed> {
        if place.in_aggregate {
            return Err(Error::new(SqlState::GROUPING_ERROR, "aggregate function calls cannot be nested"));
        }
        if !place.clause.allows_aggregates() {
            let message = format!("grouping operations are not allowed in {}", place.clause.name());
            return Err(Error::new(SqlState::GROUPING_ERROR, message));
        }
        if arguments.len() > MAX_GROUPING_ARGUMENTS {
            return Err(Error::new(SqlState::TOO_MANY_ARGUMENTS, "GROUPING must have fewer than 32 arguments"));
        }
        let grouping = &place.scope.grouping;
        let mut bits = Vec::new();
        for (index, argument) in arguments.iter().enumerate() {
            let aliases_before = self.aliases;
            let typed = self.expression(argument, place)?;
            let weight = 1_i64 << (arguments.len() - 1 - index);
            let key = grouping.sets.as_ref().and_then(|sets| sets.keys.iter().find(|key| key.sql == typed.sql));
            let text = super::group::without_alias_numbers(&typed.sql, aliases_before);
            match key {
                Some(SetKey { absent: Some(absent), .. }) => bits.push(format!("{absent} * {weight}")),
                Some(_) => {}
                None if grouping.sets.is_none() && grouping.expressions.contains(&text) => {}
                None => {
                    let message = "arguments to GROUPING must be grouping expressions of the associated query level";
                    return Err(Error::new(SqlState::GROUPING_ERROR, message));
                }
            }
        }
        let sql = if bits.is_empty() { "0".to_owned() } else { format!("({})", bits.join(" + ")) };
        let mut typed = Typed::computed(sql, PgType::Int4, []).not_null();
        typed.origin = Origin::Computed;
        Ok(typed)
    }
}

/// What stands in `ROLLUP (...)` or `CUBE (...)` where the parser takes it for a call.
fn written_sets(function: &ast::Function) -> Option<Vec<&Expr>> {
    let [ast::ObjectNamePart::Identifier(name)] = function.name.0.as_slice() else { return None };
    let is_word = ["rollup", "cube"].iter().any(|word| name.value.eq_ignore_ascii_case(word));
    let ast::FunctionArguments::List(list) = &function.args else { return None };
    if name.quote_style.is_some() || !is_word {
        return None;
    }
    let expressions = list.args.iter().map(|argument| match argument {
        ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(expression)) => Some(expression),
        _ => None,
    });
    expressions.collect()
}

fn rollup(elements: &[Vec<usize>]) -> Vec<Vec<usize>> {
    (0..=elements.len()).rev().map(|length| elements[..length].concat()).collect()
}

fn cube(elements: &[Vec<usize>]) -> Result<Vec<Vec<usize>>> {
    if elements.len() > MAX_CUBE_ELEMENTS {
        return Err(Error::new(SqlState::TOO_MANY_COLUMNS, "CUBE is limited to 12 elements"));
    }
    let subset = |bits: usize| {
        let kept = elements.iter().enumerate().filter(|(index, _)| bits & (1 << index) == 0);
        kept.flat_map(|(_, element)| element.iter().copied()).collect()
    };
    Ok((0..1_usize << elements.len()).map(subset).collect())
}

fn check_count(sets: usize) -> Result<()> {
    if sets <= MAX_SETS {
        return Ok(());
    }
    let message = format!("too many grouping sets present (maximum {MAX_SETS})");
    Err(Error::new(SqlState::STATEMENT_TOO_COMPLEX, message))
}
