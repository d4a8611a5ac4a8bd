//! Generated queries: by key, over joins, over all shards, aggregated, and from hand-made shapes with random holes.
//!
//! A query with LIMIT always orders by something unique: otherwise Postgres itself has several right answers.

use super::expressions::{COMMON, Expressions, Reference};
use super::random::Random;
use super::schema::{EVENT_IDS, table};
use super::shapes::{QUERIES, Shape};
use super::values::{Type, literal, mark};

/// A query, and whether its rows have one right order.
pub struct Query {
    pub sql: String,
    pub ordered: bool,
}

/// What stands after FROM.
struct Source {
    text: String,
    /// A column that holds the key, if a sharded table is there.
    key: Option<String>,
    columns: Vec<Reference>,
    /// Columns that together name one row.
    unique: Vec<String>,
}

const SOURCES: &[(&str, &[(&str, &str)])] = &[
    ("events", &[("events", "")]),
    ("seats s", &[("seats", "s")]),
    ("events e", &[("events", "e")]),
    ("orders AS o", &[("orders", "o")]),
    ("holds h", &[("holds", "h")]),
    ("seats", &[("seats", "")]),
    ("seats s JOIN events e ON e.event_id = s.event_id", &[("seats", "s"), ("events", "e")]),
    ("seats s JOIN events e USING (event_id)", &[("seats", "s"), ("events", "e")]),
    ("events e LEFT JOIN seats s ON s.event_id = e.event_id", &[("events", "e"), ("seats", "s")]),
    ("events e LEFT JOIN orders o ON o.event_id = e.event_id AND o.total > 10", &[("events", "e"), ("orders", "o")]),
    ("events e JOIN venues v ON v.venue_id = e.venue_id", &[("events", "e"), ("venues", "v")]),
    ("events e LEFT JOIN venues v USING (venue_id)", &[("events", "e"), ("venues", "v")]),
    (
        "seats s JOIN events e ON s.event_id = e.event_id JOIN venues v ON v.venue_id = e.venue_id",
        &[("seats", "s"), ("events", "e"), ("venues", "v")],
    ),
    ("holds h JOIN seats s ON h.event_id = s.event_id AND s.seat_id < 3", &[("holds", "h"), ("seats", "s")]),
    (
        "orders o INNER JOIN (events e LEFT JOIN venues v ON v.venue_id = e.venue_id) ON e.event_id = o.event_id",
        &[("orders", "o"), ("events", "e"), ("venues", "v")],
    ),
];

/// `alias.name`, for all columns of a table.
fn references(table_name: &str, alias: &str) -> Vec<Reference> {
    let prefix = if alias.is_empty() { String::new() } else { format!("{alias}.") };
    let columns = table(table_name).columns.iter();
    columns.map(|column| Reference { text: format!("{prefix}{}", column.name), data_type: column.data_type }).collect()
}

fn source(random: &mut Random, joins: bool) -> Source {
    let (text, tables) = if joins { random.pick(&SOURCES[6..]) } else { random.pick(&SOURCES[..6]) };
    let mut source = Source { text: text.to_owned(), key: None, columns: Vec::new(), unique: Vec::new() };
    for (name, alias) in tables {
        source.columns.extend(references(name, alias));
        let prefix = if alias.is_empty() { String::new() } else { format!("{alias}.") };
        source.unique.extend(table(name).key.iter().map(|column| format!("{prefix}{column}")));
        if table(name).sharded && source.key.is_none() {
            source.key = Some(format!("{prefix}event_id"));
        }
    }
    source
}

/// A key of the fixture, mostly; sometimes one that is not there.
pub fn key(random: &mut Random) -> String {
    let key = if random.chance(92) { random.pick(EVENT_IDS) } else { random.between(100, 200) };
    mark(Type::Int8, &key.to_string(), random.chance(75))
}

/// A condition that names the key.
fn key_condition(random: &mut Random, column: &str) -> String {
    let (one, two, three) = (key(random), key(random), key(random));
    match random.below(12) {
        0 => format!("{column} IN ({one}, {two}, {three})"),
        1 => format!("{column} IN ({one})"),
        2 => format!("{column} = ANY(ARRAY[{one}::bigint, {two}])"),
        3 => format!("{one} = {column}"),
        4 => format!("({column} = {one} OR {column} = {two})"),
        _ => format!("{column} = {one}"),
    }
}

/// SELECT of some expressions, from one table or a join, of one key or of all.
pub fn rows(random: &mut Random, joins: bool, keyed: bool) -> Query {
    let source = source(random, joins);
    let distinct = random.chance(12);
    let ordered = distinct || random.chance(60);
    let mut expressions = Expressions { random, columns: &source.columns, language: &COMMON };
    let count = 1 + expressions.random.below(5);
    let mut items: Vec<String> = Vec::new();
    for item in 0..count {
        let text = if distinct { stable(&mut expressions, 1) } else { expressions.any(2).0 };
        let named = expressions.random.chance(40);
        items.push(if named { format!("{text} AS c{item}") } else { text });
    }
    if !distinct && expressions.random.chance(10) {
        items = vec!["*".to_owned()];
    }
    let mut conditions = Vec::new();
    if keyed && let Some(key) = &source.key {
        conditions.push(key_condition(expressions.random, key));
    }
    if expressions.random.chance(60) {
        conditions.push(expressions.predicate(2));
    }
    let mut sql =
        format!("SELECT {}{} FROM {}", if distinct { "DISTINCT " } else { "" }, items.join(", "), source.text);
    if !conditions.is_empty() {
        sql += &format!(" WHERE {}", conditions.join(" AND "));
    }
    if distinct {
        let positions: Vec<String> = (1..=items.len()).map(|item| item.to_string()).collect();
        sql += &format!(" ORDER BY {}", positions.join(", "));
    } else if ordered {
        sql += &order(&mut expressions, &items, &source.unique);
    }
    if ordered {
        sql += &limit(random);
    }
    Query { sql, ordered }
}

/// An expression whose equal values look the same too: 1.5 and 1.50 are one group, and either may stand for it.
fn stable(expressions: &mut Expressions<'_>, depth: usize) -> String {
    loop {
        let (text, data_type) = expressions.comparable(depth);
        let is_column = expressions.columns.iter().any(|column| column.text == text);
        let varies = matches!(data_type, Type::Numeric | Type::Float4 | Type::Float8 | Type::Interval | Type::Jsonb);
        if is_column && data_type != Type::Jsonb || !varies && !is_column {
            return text;
        }
    }
}

fn order(expressions: &mut Expressions<'_>, items: &[String], unique: &[String]) -> String {
    let mut keys = Vec::new();
    for _ in 0..expressions.random.below(3) {
        let key = match expressions.random.below(4) {
            0 if items.len() > 1 => format!("{}", 1 + expressions.random.below(items.len())),
            1 => expressions.comparable(1).0,
            _ => {
                let columns: Vec<&Reference> =
                    expressions.columns.iter().filter(|column| column.data_type != Type::Json).collect();
                expressions.random.pick(&columns).text.clone()
            }
        };
        // A constant is no order, and a json value cannot be ordered: only columns are sure to be neither.
        let is_column = expressions.columns.iter().any(|column| column.text == key);
        let key = if is_column || key.contains('(') { key } else { unique[0].clone() };
        keys.push(format!(
            "{key}{}",
            expressions.random.pick(&["", "", " DESC", " ASC", " NULLS FIRST", " DESC NULLS LAST"])
        ));
    }
    keys.extend(unique.iter().cloned());
    format!(" ORDER BY {}", keys.join(", "))
}

fn limit(random: &mut Random) -> String {
    let count = mark(Type::Int8, &random.between(0, 12).to_string(), true);
    let offset = mark(Type::Int8, &random.between(0, 6).to_string(), true);
    match random.below(8) {
        0 => format!(" LIMIT {count}"),
        1 => format!(" LIMIT {count} OFFSET {offset}"),
        2 => format!(" OFFSET {offset}"),
        3 => " FETCH FIRST 3 ROWS ONLY".to_owned(),
        4 => " LIMIT 5".to_owned(),
        _ => String::new(),
    }
}

#[rustfmt::skip]
const AGGREGATES: &[&str] = &[
    "count(*)", "count({t})", "count(DISTINCT {i4})", "count(DISTINCT {t})", "sum({i4})", "sum({i2})", "sum({i8})", "sum({n})", "sum({n} * {i4})",
    "avg({i4})", "avg({n})", "avg({i2})", "avg({i8})", "min({t})", "max({t})", "min({i4})", "max({i4})", "max({d})", "min({ts})", "max({tz})", "max({i8})",
    "min({v})", "bool_and({b})", "bool_or({b})", "every({b})", "sum({i4}) FILTER (WHERE {b})", "count(*) FILTER (WHERE {b})", "sum(DISTINCT {i4})",
    "coalesce(sum({n}), 0)", "round(avg({n}), 2)", "max({i4}) - min({i4})", "count(*) > 2", "sum(CASE WHEN {b} THEN 1 ELSE 0 END)", "sum({n}) / count(*)",
    "avg({n})::float8", "count(*)::int", "sum({i4})::text || ' in all'", "avg(DISTINCT {i4})", "count({b}) + count({t})", "min({i2})", "avg({i4}) FILTER (WHERE {b})",
    "count(1)", "max({d}) - min({d})", "max({tz}) - min({tz})", "sum({i4}) * 1.5",
];

/// Aggregates whose argument must be a column: sums of other floating-point values depend on the order.
const COLUMN_AGGREGATES: &[(&str, Type)] = &[
    ("sum", Type::Float8),
    ("avg", Type::Float8),
    ("sum", Type::Float4),
    ("avg", Type::Float4),
    ("max", Type::Float8),
    ("min", Type::Numeric),
    ("max", Type::Numeric),
    ("min", Type::Float4),
];

/// GROUP BY, HAVING and aggregates, of one key or of all.
pub fn aggregate(random: &mut Random, keyed: bool) -> Query {
    let joins = random.chance(35);
    let source = source(random, joins);
    let mut expressions = Expressions { random, columns: &source.columns, language: &COMMON };
    let groups: Vec<String> = (0..expressions.random.below(3)).map(|_| stable(&mut expressions, 1)).collect();
    let groups: Vec<String> = groups.into_iter().filter(|group| has_column(group, &source.columns)).collect();
    let mut items = groups.clone();
    for item in 0..1 + expressions.random.below(4) {
        let text = one_aggregate(&mut expressions, &source);
        items.push(if expressions.random.chance(40) { format!("{text} AS a{item}") } else { text });
    }
    let mut sql = format!("SELECT {} FROM {}", items.join(", "), source.text);
    let mut conditions = Vec::new();
    if keyed && let Some(key) = &source.key {
        conditions.push(key_condition(expressions.random, key));
    }
    if expressions.random.chance(40) {
        conditions.push(expressions.predicate(1));
    }
    if !conditions.is_empty() {
        sql += &format!(" WHERE {}", conditions.join(" AND "));
    }
    let mut sets = false;
    if !groups.is_empty() {
        let positions: Vec<String> = (1..=groups.len()).map(|group| group.to_string()).collect();
        let by = if expressions.random.chance(30) { positions.join(", ") } else { groups.join(", ") };
        let by = match expressions.random.below(12) {
            0 => format!("ROLLUP ({by})"),
            1 => format!("CUBE ({by})"),
            2 => format!("GROUPING SETS (({by}), {}, (), ())", groups[0]),
            3 => format!("{}, ROLLUP ({by})", groups[0]),
            _ => by,
        };
        sets = by.contains(" (");
        if sets {
            let list = sql.find(" FROM ").unwrap_or(sql.len());
            sql.insert_str(list, &format!(", grouping({})", groups.join(", ")));
        }
        sql += &format!(" GROUP BY {by}");
    }
    if expressions.random.chance(25) {
        let template = expressions.random.pick(&[
            "count(*) > 1",
            "sum({i4}) > 3",
            "min({t}) IS NOT NULL",
            "max({d}) > '2000-01-01'",
            "count(DISTINCT {i4}) < 5",
        ]);
        sql += &format!(" HAVING {}", expressions.fill(template, 0));
    }
    let ordered = !sets && (groups.is_empty() || expressions.random.chance(60));
    if !groups.is_empty() && ordered {
        let first = if expressions.random.chance(30) { "count(*) DESC, " } else { "" };
        sql += &format!(" ORDER BY {first}{}", groups.join(", "));
        sql += &limit(random);
    }
    Query { sql, ordered }
}

/// A group by a constant is an error that would hide everything else.
fn has_column(text: &str, columns: &[Reference]) -> bool {
    columns.iter().any(|column| text.contains(column.text.as_str()))
}

fn one_aggregate(expressions: &mut Expressions<'_>, source: &Source) -> String {
    if expressions.random.chance(15) {
        let (function, data_type) = expressions.random.pick(COLUMN_AGGREGATES);
        let columns: Vec<&Reference> = source.columns.iter().filter(|column| column.data_type == data_type).collect();
        if !columns.is_empty() {
            return format!("{function}({})", expressions.random.pick(&columns).text);
        }
    }
    if expressions.random.chance(10) {
        let text = expressions.of(Type::Text, 1);
        let number = expressions.of(Type::Int4, 1);
        let order = source.unique.join(", ");
        return match expressions.random.below(3) {
            0 => format!("string_agg({text}, ',' ORDER BY {order})"),
            1 => format!("array_agg({number} ORDER BY {order})"),
            _ => format!("jsonb_agg({number} ORDER BY {order})"),
        };
    }
    let template = expressions.random.pick(AGGREGATES);
    expressions.fill(template, 1)
}

/// SELECT without FROM: what the functions and operators themselves do.
pub fn scalar(random: &mut Random) -> Query {
    let mut expressions = Expressions { random, columns: &[], language: &COMMON };
    let items: Vec<String> = (0..1 + expressions.random.below(3)).map(|_| expressions.any(3).0).collect();
    Query { sql: format!("SELECT {}", items.join(", ")), ordered: true }
}

/// A hand-made query with its holes filled.
pub fn shaped(random: &mut Random) -> Query {
    let shape = &QUERIES[random.below(QUERIES.len())];
    Query { sql: shape.sql(random), ordered: shape.ordered }
}

impl Shape {
    /// The text with `{k}` a key, `{id}` a small number, and other holes expressions over the shape's tables.
    pub fn sql(&self, random: &mut Random) -> String {
        let columns: Vec<Reference> = self
            .scope
            .split(' ')
            .filter_map(|pair| pair.split_once('='))
            .flat_map(|(alias, table)| references(table, alias))
            .collect();
        let mut text = self.text.to_owned();
        while let Some(at) = text.find("{k}") {
            text.replace_range(at..at + 3, &key(random));
        }
        while let Some(at) = text.find("{id}") {
            text.replace_range(at..at + 4, &literal(random, Type::Int4, true));
        }
        while let Some(at) = text.find("{uuid}") {
            text.replace_range(at..at + 6, &mark(Type::Uuid, &super::schema::uuid(random), true));
        }
        Expressions { random, columns: &columns, language: &COMMON }.fill(&text, 1)
    }
}
