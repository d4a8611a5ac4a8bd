//! One SELECT: its list, WHERE, GROUP BY with sets, HAVING, DISTINCT, windows.

use super::grammar::Grammar;
use super::language::STABLE;
use super::schema::{CUSTOMERS, event};
use super::sources::Source;
use crate::differential::expressions::Reference;
use crate::differential::values::{Type, mark};

/// A SELECT, or several of them put together, without ORDER BY.
pub struct Core {
    pub text: String,
    pub items: Vec<(String, Type)>,
    /// Two equal rows look the same, and all values have an order.
    pub stable: bool,
    pub distinct_rows: bool,
    /// What it reads, where ORDER BY may name its columns.
    pub source: Option<Source>,
    /// The only ORDER BY that fits.
    pub order: Option<String>,
}

/// An item of a list, its type, and whether equal values look the same.
type Item = (String, Type, bool);

#[rustfmt::skip]
const AGGREGATES: &[(&str, Type, bool)] = &[
    ("count(*)", Type::Int8, true), ("count({t})", Type::Int8, true), ("count(DISTINCT {i4})", Type::Int8, true), ("count(DISTINCT {tl})", Type::Int8, true), ("sum({i4})", Type::Int8, true),
    ("avg({i4})", Type::Numeric, false), ("sum({n})", Type::Numeric, false), ("avg({n})", Type::Numeric, false), ("sum({n} * {i4})", Type::Numeric, false), ("max({i4})", Type::Int4, true),
    ("min({i8})", Type::Int8, true), ("max({t})", Type::Text, true), ("min({tl})", Type::Local, true), ("max(({tl}) COLLATE \"C\")", Type::Text, true), ("min({st})", Type::State, true),
    ("max({d})", Type::Date, true), ("min({ts})", Type::Timestamp, true), ("max({tz})", Type::Timestamptz, true), ("bool_and({b})", Type::Bool, true), ("bool_or({b})", Type::Bool, true),
    ("every({b})", Type::Bool, true), ("count(*) FILTER (WHERE {b})", Type::Int8, true), ("sum({i4}) FILTER (WHERE {b})", Type::Int8, true), ("sum(DISTINCT {i4})", Type::Int8, true),
    ("stddev({i4})", Type::Numeric, false), ("variance({n})", Type::Numeric, false), ("stddev_pop({n})", Type::Numeric, false), ("var_samp({i4})", Type::Numeric, false), ("bit_or({i4})", Type::Int4, true), ("bit_and({i4})", Type::Int4, true),
    ("percentile_disc(0.5) WITHIN GROUP (ORDER BY {i4})", Type::Int4, true), ("percentile_cont(0.5) WITHIN GROUP (ORDER BY {i4})", Type::Float8, false), ("mode() WITHIN GROUP (ORDER BY {t})", Type::Text, true),
    ("rank(3) WITHIN GROUP (ORDER BY {i4})", Type::Int8, true), ("percentile_disc(0.25) WITHIN GROUP (ORDER BY {d} DESC)", Type::Date, true),
    ("array_agg(DISTINCT {i4})", Type::IntArray, true), ("array_agg(DISTINCT {t})", Type::TextArray, true), ("string_agg(DISTINCT {t}, ',')", Type::Text, true),
    ("coalesce(sum({i4}), 0)", Type::Int8, true), ("max({i4}) - min({i4})", Type::Int4, true), ("count(*) > 2", Type::Bool, true), ("round(avg({n}), 2)", Type::Numeric, true), ("count({b}) + count({t})", Type::Int8, true),
    ("CASE WHEN count(*) > 3 THEN max({t}) ELSE 'few' END", Type::Text, true), ("sum({i4})::text || ' in all'", Type::Text, true), ("sum({n}) / count(*)", Type::Numeric, false),
];

/// Arguments of these must be a column that names a row to order by: `{x}` stands for the argument, `{o}` for the order.
#[rustfmt::skip]
const ORDERED_AGGREGATES: &[(&str, Type, Type)] = &[
    ("string_agg({x}, ',' ORDER BY {o})", Type::Text, Type::Text), ("array_agg({x} ORDER BY {o})", Type::Int4, Type::IntArray), ("array_agg({x} ORDER BY {o})", Type::Text, Type::TextArray),
    ("jsonb_agg({x} ORDER BY {o})", Type::Numeric, Type::Jsonb), ("json_agg({x} ORDER BY {o})", Type::Int4, Type::Json), ("json_agg({x} ORDER BY {o})", Type::Jsonb, Type::Json),
    ("jsonb_object_agg(coalesce({x}, ''), 1 ORDER BY {o})", Type::Text, Type::Jsonb), ("array_agg({x} ORDER BY {o}) FILTER (WHERE {x} IS NOT NULL)", Type::Int4, Type::IntArray),
    ("string_agg({x}, '/' ORDER BY {x} DESC NULLS LAST, {o})", Type::Local, Type::Text),
];

/// `{p}` is PARTITION BY or nothing, `{u}` an order that names a row, `{c}` a column.
#[rustfmt::skip]
const WINDOWS: &[(&str, Type, bool)] = &[
    ("row_number() OVER ({p} ORDER BY {c} DESC, {u})", Type::Int8, true), ("rank() OVER ({p} ORDER BY {c})", Type::Int8, true), ("dense_rank() OVER ({p} ORDER BY {c} NULLS FIRST)", Type::Int8, true),
    ("ntile(3) OVER ({p} ORDER BY {u})", Type::Int4, true), ("count(*) OVER ({p})", Type::Int8, true), ("sum({i4}) OVER ({p} ORDER BY {u})", Type::Int8, true),
    ("sum({i4}) OVER ({p} ORDER BY {u} ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING)", Type::Int8, true), ("max({i4}) OVER ({p} ORDER BY {c} RANGE UNBOUNDED PRECEDING)", Type::Int4, true),
    ("min({i4}) OVER ({p} ORDER BY {c} GROUPS BETWEEN CURRENT ROW AND 1 FOLLOWING)", Type::Int4, true), ("count({t}) OVER ({p} ORDER BY {c} GROUPS 1 PRECEDING)", Type::Int8, true),
    ("sum({i4}) OVER ({p} ORDER BY {u} ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING EXCLUDE CURRENT ROW)", Type::Int8, true), ("count(*) OVER ({p} ORDER BY {c} GROUPS 1 PRECEDING EXCLUDE TIES)", Type::Int8, true),
    ("lag({t}) OVER ({p} ORDER BY {u})", Type::Text, true), ("lead({i4}, 2, 0) OVER ({p} ORDER BY {u})", Type::Int4, true), ("first_value({t}) OVER ({p} ORDER BY {c}, {u})", Type::Text, true),
    ("last_value({i4}) OVER ({p} ORDER BY {u} ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)", Type::Int4, true), ("nth_value({t}, 2) OVER ({p} ORDER BY {u})", Type::Text, true),
    ("avg({n}) OVER ({p})", Type::Numeric, false), ("cume_dist() OVER ({p} ORDER BY {c})", Type::Float8, false), ("percent_rank() OVER ({p} ORDER BY {c})", Type::Float8, false),
    ("sum({i4}) FILTER (WHERE {b}) OVER ({p} ORDER BY {u})", Type::Int8, true), ("array_agg({i4}) OVER ({p} ORDER BY {u} ROWS 2 PRECEDING)", Type::IntArray, true),
    ("sum({n}) OVER (ORDER BY {u} ROWS BETWEEN 2 PRECEDING AND CURRENT ROW)", Type::Numeric, false),
];

impl Grammar<'_> {
    /// A SELECT, of these types where they are given; equal rows look the same then.
    pub fn select(&mut self, depth: usize, wanted: Option<&[Type]>) -> Core {
        let source = self.source(depth);
        let condition = self.condition(&source, depth);
        match wanted {
            None if self.random.chance(35) => self.grouped(source, &condition),
            _ => self.plain(source, &condition, depth, wanted),
        }
    }

    /// WHERE, or nothing.
    pub fn condition(&mut self, source: &Source, depth: usize) -> String {
        let mut conditions = Vec::new();
        if !source.keys.is_empty() && self.random.chance(40) {
            let key = source.keys[self.random.below(source.keys.len())].clone();
            conditions.push(self.key_condition(&key));
        }
        if self.random.chance(45) {
            conditions.push(self.predicate(&source.columns, 2));
        }
        if depth > 0 && self.random.chance(25) {
            conditions.push(self.subquery_predicate(source));
        }
        if conditions.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) }
    }

    pub fn key_condition(&mut self, key: &Reference) -> String {
        let column = &key.text;
        let mut value = || match key.data_type {
            Type::Text => mark(Type::Text, self.random.pick(CUSTOMERS), true),
            _ => mark(Type::Int8, &event(self.random), self.random.chance(60)),
        };
        let (one, two, three) = (value(), value(), value());
        let name = key.data_type.name();
        match self.random.below(12) {
            0 => format!("{column} IN ({one}, {two}, {three})"),
            1 => format!("{column} = ANY(ARRAY[{one}::{name}, {two}])"),
            2 => format!("{one} = {column}"),
            3 => format!("({column} = {one} OR {column} = {two})"),
            4 => format!("{column} <> {one}"),
            5 => format!("{column} BETWEEN {one} AND {two}"),
            6 => format!("({column} = {one} AND {column} = {two})"),
            _ => format!("{column} = {one}"),
        }
    }

    fn plain(&mut self, source: Source, condition: &str, depth: usize, wanted: Option<&[Type]>) -> Core {
        let mut items: Vec<Item> = Vec::new();
        match wanted {
            Some(types) => {
                for data_type in types {
                    items.push((self.expressions(&source.columns).of(*data_type, 1), *data_type, true));
                }
            }
            None => {
                for _ in 0..1 + self.random.below(4) {
                    items.push(self.item_of(&source, depth));
                }
            }
        }
        let stable = items.iter().all(|item| item.2);
        let texts: Vec<&str> = items.iter().map(|item| item.0.as_str()).collect();
        let has_window = texts.iter().any(|text| text.contains(" OVER "));
        let tail = format!("FROM {}{condition}", source.text);
        let types = items.iter().map(|item| (item.0.clone(), item.1)).collect();
        if wanted.is_none() && stable && self.random.chance(15) {
            let text = format!("SELECT DISTINCT {} {tail}", texts.join(", "));
            return Core { text, items: types, stable, distinct_rows: true, source: None, order: None };
        }
        if wanted.is_none()
            && !has_window
            && self.random.chance(8)
            && let Some(unique) = source.unique.clone()
        {
            let on = source.columns[self.random.below(source.columns.len())].text.clone();
            let direction = self.random.pick(&["", " DESC", " NULLS FIRST"]);
            let order = format!("{on}{direction}, {}", unique.join(", "));
            let text = format!("SELECT DISTINCT ON ({on}) {} {tail}", texts.join(", "));
            // Without its order any row may stand for the others.
            let text = format!("{text} ORDER BY {order}");
            return Core { text, items: types, stable: false, distinct_rows: false, source: None, order: None };
        }
        let text = format!("SELECT {} {tail}", self.named(&texts));
        Core { text, items: types, stable, distinct_rows: false, source: Some(source), order: None }
    }

    /// Some get a name.
    fn named(&mut self, items: &[&str]) -> String {
        let named = items.iter().enumerate().map(|(position, item)| match self.random.below(4) {
            0 => format!("{item} AS x{position}"),
            _ => (*item).to_owned(),
        });
        named.collect::<Vec<_>>().join(", ")
    }

    fn item_of(&mut self, source: &Source, depth: usize) -> Item {
        match self.random.below(20) {
            0 | 1 if source.unique.is_some() => self.window(source),
            2 if depth > 0 => self.scalar_subquery(source),
            _ => {
                let (text, data_type) = self.expressions(&source.columns).any(1);
                let stable = is_stable(&text, data_type, &source.columns);
                (text, data_type, stable)
            }
        }
    }

    fn window(&mut self, source: &Source) -> Item {
        let (template, data_type, stable) = self.random.pick(WINDOWS);
        let unique = source.unique.clone().unwrap_or_default().join(", ");
        let (one, other) = (self.column(source), self.column(source));
        let partition = if self.random.chance(50) { format!("PARTITION BY {one}") } else { String::new() };
        let text = template.replace("{p}", &partition).replace("{u}", &unique).replace("{c}", &other);
        let text = self.expressions(&source.columns).fill(&text, 0).replace("( ORDER", "(ORDER");
        (text, data_type, stable)
    }

    fn column(&mut self, source: &Source) -> String {
        source.columns[self.random.below(source.columns.len())].text.clone()
    }

    fn grouped(&mut self, source: Source, condition: &str) -> Core {
        let groups: Vec<Item> = (0..self.random.below(4)).filter_map(|_| self.group(&source)).collect();
        let mut items = groups.clone();
        for _ in 0..1 + self.random.below(3) {
            items.push(self.aggregate(&source));
        }
        let texts: Vec<String> = groups.iter().map(|group| group.0.clone()).collect();
        let (by, plain) = match (texts.len(), self.random.below(10)) {
            (0, _) => (String::new(), true),
            (_, 0) => (format!(" GROUP BY ROLLUP ({})", texts.join(", ")), false),
            (_, 1) => (format!(" GROUP BY CUBE ({})", texts.join(", ")), false),
            (_, 2) => {
                let sets = format!("(({}), ({}), ())", texts.join(", "), texts[0]);
                (format!(" GROUP BY GROUPING SETS {sets}"), false)
            }
            (_, 3) => {
                let positions: Vec<String> = (1..=texts.len()).map(|position| position.to_string()).collect();
                (format!(" GROUP BY {}", positions.join(", ")), true)
            }
            _ => (format!(" GROUP BY {}", texts.join(", ")), true),
        };
        if !plain {
            items.push((format!("grouping({})", texts[0]), Type::Int4, true));
        } else if !texts.is_empty() && self.random.chance(8) {
            items.push(("rank() OVER (ORDER BY count(*) DESC)".to_owned(), Type::Int8, true));
        }
        let having = if self.random.chance(20) {
            let template = self.random.pick(&[
                "count(*) > 1",
                "max({i4}) > 1",
                "min({t}) IS NOT NULL",
                "sum({n}) BETWEEN 5 AND 100",
                "count(DISTINCT {i4}) < 5",
            ]);
            format!(" HAVING {}", self.expressions(&source.columns).fill(template, 0))
        } else {
            String::new()
        };
        let stable = items.iter().all(|item| item.2);
        let list: Vec<&str> = items.iter().map(|item| item.0.as_str()).collect();
        let text = format!("SELECT {} FROM {}{condition}{by}{having}", self.named(&list), source.text);
        let items = items.iter().map(|item| (item.0.clone(), item.1)).collect();
        // What groups leave is ordered by them, whatever else there is.
        let order = (plain && !texts.is_empty()).then(|| texts.join(", "));
        Core { text, items, stable, distinct_rows: plain && stable, source: None, order }
    }

    /// A column, or an expression of one and nothing else: as a parameter a literal would be another one in each place.
    fn group(&mut self, source: &Source) -> Option<Item> {
        let columns: Vec<&Reference> =
            source.columns.iter().filter(|column| is_stable(&column.text, column.data_type, &source.columns)).collect();
        if columns.is_empty() {
            return None;
        }
        let column = self.random.pick(&columns);
        let text = &column.text;
        let plain = (text.clone(), column.data_type, true);
        if self.random.chance(70) {
            return Some(plain);
        }
        Some(match column.data_type {
            Type::Text | Type::Local => (format!("lower({text})"), column.data_type, true),
            Type::Int4 | Type::Int8 => (format!("{text} % 3"), column.data_type, true),
            Type::Date => (format!("extract(year from {text})::int"), Type::Int4, true),
            Type::Timestamp | Type::Timestamptz => (format!("date_trunc('month', {text})"), column.data_type, true),
            Type::TextArray | Type::IntArray => (format!("cardinality({text})"), Type::Int4, true),
            _ => plain,
        })
    }

    fn aggregate(&mut self, source: &Source) -> Item {
        if self.random.chance(20)
            && let Some(unique) = &source.unique
        {
            let (template, argument, data_type) = self.random.pick(ORDERED_AGGREGATES);
            let argument = self.expressions(&source.columns).of(argument, 0);
            let text = template.replace("{x}", &argument).replace("{o}", &unique.join(", "));
            return (text, data_type, data_type != Type::Json && data_type != Type::Jsonb);
        }
        let floats: Vec<&Reference> = source
            .columns
            .iter()
            .filter(|column| {
                column.data_type == Type::Float8 && is_stable(&column.text, column.data_type, &source.columns)
            })
            .collect();
        if !floats.is_empty() && self.random.chance(8) {
            let (function, column) = (self.random.pick(&["sum", "avg", "max"]), self.random.pick(&floats));
            return (format!("{function}({})", column.text), Type::Float8, false);
        }
        let (template, data_type, stable) = self.random.pick(AGGREGATES);
        (self.expressions(&source.columns).fill(template, 0), data_type, stable)
    }
}

/// Whether equal values look the same. Columns of a table do; what a query has computed may not.
pub fn is_stable(text: &str, data_type: Type, columns: &[Reference]) -> bool {
    if STABLE.contains(&data_type) {
        return true;
    }
    let computed = text.rsplit('.').next().is_some_and(|name| {
        name.strip_prefix('c').is_some_and(|number| number.chars().all(|letter| letter.is_ascii_digit()))
    });
    !computed && columns.iter().any(|column| column.text == text)
}
