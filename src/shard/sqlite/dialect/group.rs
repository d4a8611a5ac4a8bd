//! GROUP BY, and the check that every column outside aggregates has one value.
//!
//! Expressions are the same when their texts are; a whole primary key gives all columns of its table.

use sqlparser::ast::Spanned;

use super::Translator;
use super::column_name::column_name;
use super::expression::{Clause, Place};
use super::grouping_sets::Columns;
use super::names::fold;
use super::operate::order_key;
use super::order::ordinal;
use super::scope::{Grouping, Scope};
use super::typed::Typed;
use crate::error::{Error, Result, SqlState};
use crate::sql::ast::{self, Expr, SelectItem};
use crate::types::PgType;

impl Translator<'_> {
    /// GROUP BY: whether there is one, and its keys under their types' equality. `columns`: those of FROM, if there are
    /// grouping sets.
    pub(super) fn group_by(
        &mut self,
        select: &ast::Select,
        scope: &mut Scope<'_>,
        columns: Option<&Columns<'_>>,
    ) -> Result<(bool, Vec<String>)> {
        let keys = match &select.group_by {
            ast::GroupByExpr::Expressions(keys, modifiers) if modifiers.is_empty() => keys,
            _ => return Err(Error::new(SqlState::SYNTAX_ERROR, "a clause of GROUP BY that is not Postgres's")),
        };
        if let Some(columns) = columns {
            return Ok((true, self.grouping_sets(keys, select, scope, columns)?));
        }
        let mut texts = Vec::with_capacity(keys.len());
        let mut grouping = Grouping::default();
        for key in keys {
            if let Expr::Tuple(parts) = key {
                for part in parts {
                    self.group_key(part, select, scope, &mut grouping, &mut texts)?;
                }
                continue;
            }
            self.group_key(key, select, scope, &mut grouping, &mut texts)?;
        }
        grouping.relations = determined_relations(scope, &grouping.expressions);
        scope.grouping = grouping;
        Ok((!keys.is_empty(), texts))
    }

    fn group_key(
        &mut self,
        key: &Expr,
        select: &ast::Select,
        scope: &Scope<'_>,
        grouping: &mut Grouping,
        texts: &mut Vec<String>,
    ) -> Result<()> {
        let (typed, expression) = self.group_value(key, select, scope)?;
        // A number alone, whatever its sign, would be the place of a column.
        let text = if typed.sql.bytes().all(|byte| byte.is_ascii_digit() || b"+-() ".contains(&byte)) {
            format!("CAST({} AS INTEGER)", typed.sql)
        } else {
            order_key(&typed.sql, typed.data_type)
        };
        texts.push(text);
        grouping.expressions.push(expression);
        Ok(())
    }

    /// What an item of GROUP BY gives, and the text that the same expression has elsewhere.
    pub(super) fn group_value(
        &mut self,
        key: &Expr,
        select: &ast::Select,
        scope: &Scope<'_>,
    ) -> Result<(Typed, String)> {
        let place = Place::new(scope, Clause::GroupBy);
        let aliases_before = self.aliases;
        let meant = self.group_expression(key, select, scope)?;
        let typed = match meant {
            GroupKey::Expression(expression) => self.expression(expression, place)?,
            GroupKey::Column(index) => self.numbered_output(&select.projection, scope, index)?,
        };
        let typed = if typed.is_untyped() { self.implicit(typed, PgType::Text)? } else { typed };
        if typed.facts.window {
            return Err(Error::new(SqlState::WINDOWING_ERROR, "window functions are not allowed in GROUP BY"));
        }
        if typed.data_type == PgType::Json {
            let message = format!("could not identify an equality operator for type {}", typed.data_type);
            return Err(self.error_at(Error::new(SqlState::UNDEFINED_FUNCTION, message), key.span()));
        }
        let text = without_alias_numbers(&typed.sql, aliases_before);
        Ok((typed, text))
    }

    /// The result column of this number, from 0.
    fn numbered_output(&mut self, items: &[SelectItem], scope: &Scope<'_>, index: usize) -> Result<Typed> {
        let mut passed = 0;
        for item in items {
            if let SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. } = item
                && passed < index
            {
                passed += 1;
                continue;
            }
            let outputs = self.outputs(std::slice::from_ref(item), scope, Clause::GroupBy)?;
            let count = outputs.len();
            if let Some(output) = outputs.into_iter().nth(index - passed) {
                return Ok(output.value);
            }
            passed += count;
        }
        Err(position_out_of_list("GROUP BY", index + 1))
    }

    /// What a GROUP BY item means: an input column first, then an output column, then an expression.
    fn group_expression<'e>(
        &mut self,
        key: &'e Expr,
        select: &'e ast::Select,
        scope: &Scope<'_>,
    ) -> Result<GroupKey<'e>> {
        match key {
            Expr::Identifier(name) => {
                let folded = fold(name);
                let input = scope.items.iter().filter(|item| item.columns_visible);
                if input.flat_map(|item| &item.columns).any(|column| column.name == folded) {
                    return Ok(GroupKey::Expression(key));
                }
                let mut meant = None;
                for item in &select.projection {
                    let (expression, own) = match item {
                        SelectItem::ExprWithAlias { expr, alias } => (expr, fold(alias)),
                        SelectItem::UnnamedExpr(expr) => (expr, column_name(expr)),
                        _ => continue,
                    };
                    if own != folded {
                        continue;
                    }
                    if meant.is_some_and(|known: &Expr| known != expression) {
                        let message = format!("GROUP BY \"{folded}\" is ambiguous");
                        return Err(self.error_at(Error::new(SqlState::AMBIGUOUS_COLUMN, message), name.span));
                    }
                    meant = Some(expression);
                }
                Ok(GroupKey::Expression(meant.unwrap_or(key)))
            }
            Expr::Value(value) => {
                let index = ordinal(&value.value, usize::MAX, "GROUP BY");
                match index.map_err(|error| self.error_at(error, value.span))? {
                    Some(index) => Ok(GroupKey::Column(index)),
                    None => Ok(GroupKey::Expression(key)),
                }
            }
            _ => Ok(GroupKey::Expression(key)),
        }
    }
}

/// A text whose own aliases, those past the first `before`, are numbered from 1: so that one expression has one text,
/// wherever it stands.
pub(super) fn without_alias_numbers(sql: &str, before: usize) -> String {
    let mut text = String::with_capacity(sql.len());
    let mut rest = sql;
    let mut after_name = false;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '\'' | '"' => rest[1..].find(first).map_or(rest.len(), |end| end + 2),
            _ if first.is_alphanumeric() || first == '_' => {
                rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len())
            }
            _ => first.len_utf8(),
        };
        let (token, others) = rest.split_at(length);
        let number = token.strip_prefix('t').and_then(|digits| digits.parse::<usize>().ok());
        match number.and_then(|number| number.checked_sub(before)) {
            Some(own) if own > 0 && !after_name => text.push_str(&format!("t+{own}")),
            _ => text.push_str(token),
        }
        after_name = token == ".";
        rest = others;
    }
    text
}

enum GroupKey<'e> {
    Expression(&'e Expr),
    /// A result column, from 0.
    Column(usize),
}

/// 42803 for a column that GROUP BY gives no value.
pub(super) fn check_grouped(value: &Typed) -> Result<()> {
    let Some(column) = &value.facts.ungrouped else { return Ok(()) };
    let message = if column.in_subquery {
        format!("subquery uses ungrouped column \"{}\" from outer query", column.display)
    } else {
        format!("column \"{}\" must appear in the GROUP BY clause or be used in an aggregate function", column.display)
    };
    let error = Error::new(SqlState::GROUPING_ERROR, message);
    Err(match column.position {
        Some(position) => error.position(position),
        None => error,
    })
}

fn position_out_of_list(clause: &str, number: usize) -> Error {
    let message = format!("{clause} position {number} is not in select list");
    Error::new(SqlState::INVALID_COLUMN_REFERENCE, message)
}

/// Tables whose whole primary key is among the grouped expressions.
pub(super) fn determined_relations(scope: &Scope<'_>, grouped: &[String]) -> Vec<String> {
    let determined = scope.items.iter().filter(|item| {
        let Some(key) = item.table.as_ref().and_then(|table| table.primary_key.as_ref()) else { return false };
        key.columns.iter().all(|column| grouped.contains(&item.columns[*column].sql))
    });
    determined.map(|item| item.alias.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::without_alias_numbers;

    #[test]
    fn only_an_expressions_own_aliases_are_numbered_anew() {
        let text = "EXISTS (SELECT 1 FROM x(t1.t7) AS t7 WHERE t7.value = 't7' || \"t7\" || t12.t7 || at7)";
        let expected = "EXISTS (SELECT 1 FROM x(t1.t7) AS t+2 WHERE t+2.value = 't7' || \"t7\" || t+7.t7 || at7)";
        assert_eq!(without_alias_numbers(text, 5), expected);
    }
}
