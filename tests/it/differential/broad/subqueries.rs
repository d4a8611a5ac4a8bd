//! Subqueries in expressions: EXISTS, IN, ANY, ALL, scalar ones and ARRAY, most of which look at the row outside.

use super::grammar::Grammar;
use super::sources::Source;
use crate::differential::expressions::Reference;
use crate::differential::values::Type;

const TABLES: &[&str] =
    &["events", "seats", "orders", "reviews", "customers", "payments", "venues", "currencies", "events", "seats"];

/// Types whose values meet.
const COMPARED: &[Type] = &[Type::Int4, Type::Int8, Type::Text, Type::Numeric, Type::Date, Type::State];

impl Grammar<'_> {
    /// A table, and a condition that ties it to the row outside, mostly.
    fn inner(&mut self, outer: &Source) -> (Source, String) {
        let name = self.random.pick(TABLES);
        let inner = self.base(name);
        let mut conditions = Vec::new();
        if self.random.chance(70)
            && let Some(equality) = self.equality(outer, &inner)
        {
            conditions.push(equality);
        }
        if self.random.chance(40) {
            conditions.push(self.predicate(&inner.columns, 1));
        }
        let text = if conditions.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) };
        (inner, text)
    }

    /// A column outside and one inside, of one type.
    fn pair(&mut self, outer: &Source, inner: &Source) -> Option<(Reference, Reference)> {
        let pairs: Vec<(&Reference, &Reference)> = outer
            .columns
            .iter()
            .filter(|column| COMPARED.contains(&column.data_type))
            .flat_map(|one| {
                inner.columns.iter().filter(|other| other.data_type == one.data_type).map(move |other| (one, other))
            })
            .collect();
        if pairs.is_empty() {
            return None;
        }
        let (one, other) = self.random.pick(&pairs);
        Some((one.clone(), other.clone()))
    }

    pub fn subquery_predicate(&mut self, outer: &Source) -> String {
        let (inner, condition) = self.inner(outer);
        let not = self.random.pick(&["", "", "NOT "]);
        let from = format!("FROM {}{condition}", inner.text);
        let Some((one, other)) = self.pair(outer, &inner).filter(|_| self.random.chance(70)) else {
            return format!("{not}EXISTS (SELECT 1 {from})");
        };
        let (one, other) = (one.text, other.text);
        match self.random.below(8) {
            0..3 => format!("{one} {not}IN (SELECT {other} {from})"),
            3 => format!("{one} = ANY (SELECT {other} {from})"),
            4 => format!("{one} >= ALL (SELECT {other} {from})"),
            5 => format!("{one} <= (SELECT max({other}) {from})"),
            6 => format!("({one}, 1) {not}IN (SELECT {other}, 1 {from})"),
            _ => format!("(SELECT count(*) {from}) > 1"),
        }
    }

    /// A subquery for one value.
    pub fn scalar_subquery(&mut self, outer: &Source) -> (String, Type, bool) {
        let (inner, condition) = self.inner(outer);
        let from = format!("FROM {}{condition}", inner.text);
        let unique = inner.unique.clone().unwrap_or_default().join(", ");
        let of = |data_type: Type| inner.columns.iter().find(|column| column.data_type == data_type);
        match (self.random.below(5), of(Type::Int4), of(Type::Text)) {
            (0, Some(column), _) => (format!("(SELECT max({}) {from})", column.text), Type::Int4, true),
            (1, _, Some(column)) => {
                (format!("(SELECT {} {from} ORDER BY {unique} LIMIT 1)", column.text), Type::Text, true)
            }
            (2, Some(column), _) => {
                (format!("ARRAY(SELECT {} {from} ORDER BY {unique})", column.text), Type::IntArray, true)
            }
            (3, _, _) => (format!("EXISTS (SELECT {unique} {from})"), Type::Bool, true),
            _ => (format!("(SELECT count(*) {from})"), Type::Int8, true),
        }
    }
}
