//! A SELECT's text, which DISTINCT, DISTINCT ON and WITH TIES make a query around others.

use super::operate::{collated, order_key};
use super::order::{Limit, Ties};
use super::query::numbered;
use super::select::{SelectBody, list};
use super::set_operation::by_key;
use super::typed::Typed;
use super::{Translator, refusal};
use crate::error::{Error, Result, SqlState};
use crate::sql::ast;

#[derive(Debug)]
pub(super) enum Duplicates {
    Keep,
    Remove,
    /// DISTINCT ON.
    RemoveBy(Vec<Typed>),
}

/// A key of ORDER BY.
pub(super) struct OrderKey {
    pub(super) value: Typed,
    /// The output column that it is.
    pub(super) index: Option<usize>,
    pub(super) options: ast::OrderByOptions,
    pub(super) text: String,
}

impl Translator<'_> {
    pub(super) fn duplicates(&mut self, select: &ast::Select, body: &SelectBody<'_>) -> Result<Duplicates> {
        match &select.distinct {
            None | Some(ast::Distinct::All) => Ok(Duplicates::Keep),
            Some(ast::Distinct::Distinct) => Ok(Duplicates::Remove),
            Some(ast::Distinct::On(keys)) => {
                let mut typed = Vec::with_capacity(keys.len());
                for key in keys {
                    typed.push(self.order_value(key, body, "DISTINCT ON")?.0);
                }
                Ok(Duplicates::RemoveBy(typed))
            }
        }
    }

    /// The text of all but WITH TIES. `hidden`: what follows the select list of a SELECT that keeps duplicates.
    pub(super) fn select_text(
        &mut self,
        body: &SelectBody<'_>,
        keys: &[OrderKey],
        limit: &Limit,
        hidden: &str,
    ) -> Result<String> {
        let distinct = match &body.duplicates {
            Duplicates::RemoveBy(on) => return self.distinct_on(body, on, keys, limit),
            Duplicates::Remove if by_key(body.outputs.iter().map(|output| output.value.data_type)) => {
                return self.distinct_by_key(body, keys, limit);
            }
            Duplicates::Remove => "DISTINCT ",
            Duplicates::Keep => "",
        };
        let keyed = body.keyed || !distinct.is_empty();
        let texts: Vec<&str> = keys.iter().map(|key| key.text.as_str()).collect();
        let order_by = if texts.is_empty() { String::new() } else { format!(" ORDER BY {}", texts.join(", ")) };
        Ok(format!(
            "SELECT {distinct}{}{hidden}{}{}{order_by}{}",
            list(&body.outputs, keyed),
            body.from,
            body.group,
            limit.sql
        ))
    }

    /// As [`Translator::select_text`], for WITH TIES.
    pub(super) fn select_with_ties(&mut self, body: &SelectBody<'_>, keys: &[OrderKey], ties: &Ties) -> Result<String> {
        let rows = self.alias();
        let names = numbered(body.outputs.len());
        let keeps = matches!(body.duplicates, Duplicates::Keep);
        let mut hidden = String::new();
        let mut order = Vec::with_capacity(keys.len());
        for (index, key) in keys.iter().enumerate() {
            let name = if keeps {
                hidden.push_str(&format!(", {} AS k{}", key.value.sql, index + 1));
                format!("{rows}.k{}", index + 1)
            } else {
                let name = key.index.and_then(|index| names.get(index));
                format!("{rows}.{}", name.ok_or_else(|| refusal::WITH_TIES.error())?)
            };
            order.push(self.sort_key_as(&collated(&name, key.value.data_type), &key.value, &key.options)?);
        }
        let chosen = if matches!(body.duplicates, Duplicates::RemoveBy(_)) { keys } else { &[] };
        let inner = self.select_text(body, chosen, &Limit::default(), &hidden)?;
        Ok(self.with_ties(&format!("({inner}) AS {rows}"), &names, &order, ties))
    }

    /// The first rows of `from` in an order, and those that are level with the last of them.
    pub(super) fn with_ties(&mut self, from: &str, columns: &[String], order: &[String], ties: &Ties) -> String {
        let alias = self.alias();
        let order = order.join(", ");
        let Ties { count, offset } = ties;
        let offset = offset.as_deref().unwrap_or("0");
        let list: Vec<String> = columns.iter().map(|name| format!("{alias}.{name} AS {name}")).collect();
        format!(
            "SELECT {} FROM (SELECT *, row_number() OVER (ORDER BY {order}) AS place, rank() OVER (ORDER BY {order}) AS level \
             FROM {from}) AS {alias} WHERE {alias}.place > {offset} \
             AND ({count} < 0 OR ({count} > 0 AND {alias}.level <= {offset} + {count})) ORDER BY {alias}.place",
            list.join(", ")
        )
    }

    /// DISTINCT ON: the first row of each group, by a window.
    pub(super) fn distinct_on(
        &mut self,
        body: &SelectBody<'_>,
        on: &[Typed],
        keys: &[OrderKey],
        limit: &Limit,
    ) -> Result<String> {
        let leading = keys.iter().take(on.len());
        let unmatched = leading.filter(|key| !on.iter().any(|on| on.sql == key.value.sql)).count();
        if unmatched > 0 {
            return Err(Error::new(
                SqlState::INVALID_COLUMN_REFERENCE,
                "SELECT DISTINCT ON expressions must match initial ORDER BY expressions",
            ));
        }
        let partition: Vec<String> = on.iter().map(|on| order_key(&on.sql, on.data_type)).collect();
        let mut order = Vec::new();
        let mut hidden = String::new();
        let mut outer = Vec::new();
        let alias = self.alias();
        for (index, key) in keys.iter().enumerate() {
            order.push(self.sort_key(&key.value, &key.options)?);
            hidden.push_str(&format!(", {} AS k{}", key.value.sql, index + 1));
            let own = collated(&format!("{alias}.k{}", index + 1), key.value.data_type);
            outer.push(self.sort_key_as(&own, &key.value, &key.options)?);
        }
        let order_by = |keys: &[String]| {
            if keys.is_empty() { String::new() } else { format!(" ORDER BY {}", keys.join(", ")) }
        };
        let names = numbered(body.outputs.len());
        let columns = body.outputs.iter().zip(&names).map(|(output, name)| {
            let column = format!("{alias}.{name}");
            let column = if body.keyed { collated(&column, output.value.data_type) } else { column };
            format!("{column} AS {name}")
        });
        let columns: Vec<String> = columns.collect();
        Ok(format!(
            "SELECT {} FROM (SELECT {}{hidden}, row_number() OVER (PARTITION BY {}{}) AS n{}{}) AS {alias} WHERE {alias}.n = 1{}{}",
            columns.join(", "),
            list(&body.outputs, false),
            partition.join(", "),
            order_by(&order),
            body.from,
            body.group,
            order_by(&outer),
            limit.sql
        ))
    }

    /// DISTINCT where the equality of a type is that of a key.
    pub(super) fn distinct_by_key(
        &mut self,
        body: &SelectBody<'_>,
        keys: &[OrderKey],
        limit: &Limit,
    ) -> Result<String> {
        let (rows, alias) = (self.alias(), self.alias());
        let names = numbered(body.outputs.len());
        let partition = body.outputs.iter().zip(&names);
        let partition: Vec<String> =
            partition.map(|(output, name)| order_key(&format!("{rows}.{name}"), output.value.data_type)).collect();
        let mut order = Vec::with_capacity(keys.len());
        for key in keys {
            let Some(name) = key.index.and_then(|index| names.get(index)) else {
                return Err(Error::internal("DISTINCT is ordered by what it does not give"));
            };
            let own = collated(&format!("{alias}.{name}"), key.value.data_type);
            order.push(self.sort_key_as(&own, &key.value, &key.options)?);
        }
        let order_by = if order.is_empty() { String::new() } else { format!(" ORDER BY {}", order.join(", ")) };
        let columns: Vec<String> = names.iter().map(|name| format!("{alias}.{name} AS {name}")).collect();
        Ok(format!(
            "SELECT {} FROM (SELECT {rows}.*, row_number() OVER (PARTITION BY {}) AS n FROM (SELECT {}{}{}) AS {rows}) AS {alias} \
             WHERE {alias}.n = 1{order_by}{}",
            columns.join(", "),
            partition.join(", "),
            list(&body.outputs, false),
            body.from,
            body.group,
            limit.sql
        ))
    }
}
