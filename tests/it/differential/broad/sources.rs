//! What stands after FROM: tables, joins of all kinds, queries, functions, VALUES.

use super::grammar::{Grammar, Kind};
use super::schema::{TABLES, table};
use crate::differential::expressions::Reference;
use crate::differential::values::Type;

/// What stands after FROM.
pub struct Source {
    pub text: String,
    pub columns: Vec<Reference>,
    /// Columns that together name one row, if any do.
    pub unique: Option<Vec<String>>,
    /// About how many rows it has.
    pub rows: usize,
    /// Sharding keys.
    pub keys: Vec<Reference>,
    /// The names that FOR UPDATE may give: what is a table, and not null-extended.
    pub lockable: Vec<String>,
    /// Nothing more can be joined: what follows a comma sees nothing before it.
    closed: bool,
}

/// Columns that refer to one another, whatever tables they are in.
const LINKS: &[&[&str]] = &[
    &["event_id", "show_id", "show"],
    &["customer_id", "buyer", "holder", "author", "referred_by"],
    &["venue_id", "home"],
    &["currency", "code"],
    &["seat_id", "review_id", "payment_id", "stars"],
];

/// Products with more rows than this are not generated.
const MOST_ROWS: usize = 3000;

fn column_name(reference: &Reference) -> &str {
    reference.text.rsplit('.').next().unwrap_or(&reference.text)
}

impl Grammar<'_> {
    /// One table or a join of some.
    pub fn source(&mut self, depth: usize) -> Source {
        let mut source = self.item(depth);
        let joins = self.random.pick(&[0, 0, 0, 1, 1, 1, 2]);
        for _ in 0..joins {
            source = self.join(source, depth);
        }
        source
    }

    pub fn base(&mut self, name: &str) -> Source {
        let alias = self.alias(&name[..1]);
        let table = table(name);
        let reference = |column: &str, data_type| Reference { text: format!("{alias}.{column}"), data_type };
        let columns: Vec<Reference> =
            table.columns.iter().map(|column| reference(column.name, column.data_type)).collect();
        let unique = table.key.iter().map(|column| format!("{alias}.{column}")).collect();
        let keys = if table.sharded { vec![columns[0].clone()] } else { Vec::new() };
        let rows = if table.sharded { 40 } else { 6 };
        let written = if self.random.chance(20) { format!("{name} AS {alias}") } else { format!("{name} {alias}") };
        Source { text: written, columns, unique: Some(unique), rows, keys, lockable: vec![alias], closed: false }
    }

    fn item(&mut self, depth: usize) -> Source {
        match self.random.below(20) {
            0..3 if depth > 0 => self.derived(depth - 1, ""),
            3..5 if !self.tables.is_empty() => self.common(),
            5 => self.values(),
            6 => self.series(),
            _ => {
                let name = self.random.pick(TABLES_BY_WEIGHT);
                self.base(name)
            }
        }
    }

    /// A query in parentheses.
    fn derived(&mut self, depth: usize, lateral: &str) -> Source {
        let query = self.query(depth, Kind::Derived);
        let alias = self.alias("q");
        let names: Vec<String> = (0..query.types.len()).map(|position| format!("c{position}")).collect();
        let references = |name: &String, data_type| Reference { text: format!("{alias}.{name}"), data_type };
        let columns: Vec<Reference> = names.iter().zip(&query.types).map(|(name, of)| references(name, *of)).collect();
        let unique = query.distinct_rows.then(|| columns.iter().map(|column| column.text.clone()).collect());
        let text = format!("{lateral}({}) AS {alias} ({})", query.sql, names.join(", "));
        Source { text, columns, unique, rows: 30, keys: Vec::new(), lockable: Vec::new(), closed: false }
    }

    /// A name of WITH.
    fn common(&mut self) -> Source {
        let position = self.random.below(self.tables.len());
        let alias = self.alias("w");
        let (name, types, distinct) = &self.tables[position];
        let reference = |position, data_type| Reference { text: format!("{alias}.c{position}"), data_type };
        let columns: Vec<Reference> = types.iter().enumerate().map(|(at, of)| reference(at, *of)).collect();
        let unique = distinct.then(|| columns.iter().map(|column| column.text.clone()).collect());
        let text = format!("{name} {alias}");
        Source { text, columns, unique, rows: 30, keys: Vec::new(), lockable: Vec::new(), closed: false }
    }

    fn values(&mut self) -> Source {
        let alias = self.alias("v");
        let columns = [("n", Type::Int4), ("name", Type::Text)];
        let text = self.random.pick(&[
            "(VALUES (1, 'ann'), (2, 'bob'), (3, NULL), (NULL, 'EUR'))",
            "(VALUES (2, 'opera'), (5, 'kim'))",
            "(SELECT 1, 'joe' UNION ALL SELECT 3, 'A')",
        ]);
        let text = format!("{text} AS {alias} (n, name)");
        let columns: Vec<Reference> = columns
            .iter()
            .map(|(name, data_type)| Reference { text: format!("{alias}.{name}"), data_type: *data_type })
            .collect();
        let unique = Some(columns.iter().map(|column| column.text.clone()).collect());
        Source { text, columns, unique, rows: 4, keys: Vec::new(), lockable: Vec::new(), closed: false }
    }

    fn series(&mut self) -> Source {
        let alias = self.alias("g");
        let text = self.random.pick(&["generate_series(1, 5)", "unnest(ARRAY[1, 2, 4, 8])"]);
        let column = Reference { text: format!("{alias}.n"), data_type: Type::Int4 };
        let unique = Some(vec![column.text.clone()]);
        let text = format!("{text} AS {alias} (n)");
        Source { text, columns: vec![column], unique, rows: 5, keys: Vec::new(), lockable: Vec::new(), closed: false }
    }

    fn join(&mut self, left: Source, depth: usize) -> Source {
        if left.closed {
            return left;
        }
        if self.random.chance(12) && depth > 0 {
            return self.lateral(left);
        }
        let right = if self.random.chance(70) { self.related(&left) } else { self.item(depth) };
        let product = left.rows * right.rows;
        if product <= MOST_ROWS && left.rows.min(right.rows) < 10 && self.random.chance(25) {
            let joined = self.random.pick(&[" CROSS JOIN ", ", "]);
            // A comma binds less than what follows it.
            let joined = if joined == ", " && left.text.contains(" JOIN ") { " CROSS JOIN " } else { joined };
            let text = format!("{}{joined}{}", left.text, right.text);
            return joined_source(text, left, right, product, [true, true]);
        }
        let Some(equality) = self.equality(&left, &right) else {
            if product > MOST_ROWS {
                return left;
            }
            let text = format!("{} CROSS JOIN {}", left.text, right.text);
            return joined_source(text, left, right, product, [true, true]);
        };
        let (word, kept) = self.random.pick(&[
            (" JOIN ", [true, true]),
            (" INNER JOIN ", [true, true]),
            (" LEFT JOIN ", [true, false]),
            (" LEFT OUTER JOIN ", [true, false]),
            (" RIGHT JOIN ", [false, true]),
            (" FULL JOIN ", [false, false]),
        ]);
        let mut condition = equality;
        if word != " FULL JOIN " && self.random.chance(30) {
            let columns = [left.columns.clone(), right.columns.clone()].concat();
            let more = self.predicate(&columns, 1);
            condition = format!("{condition} AND {more}");
        }
        let text = format!("{}{word}{} ON {condition}", left.text, right.text);
        let rows = left.rows.max(right.rows) * 3 / 2;
        joined_source(text, left, right, rows, kept)
    }

    /// A table that has a column for one of the columns of `left`.
    fn related(&mut self, left: &Source) -> Source {
        let linked = |column: &&str| {
            let links = LINKS.iter().find(|names| names.contains(column));
            links.is_some_and(|names| left.columns.iter().any(|other| names.contains(&column_name(other))))
        };
        let tables: Vec<&str> = TABLES
            .iter()
            .filter(|table| table.columns.iter().any(|column| linked(&column.name)))
            .map(|table| table.name)
            .collect();
        let name = if tables.is_empty() { self.random.pick(TABLES_BY_WEIGHT) } else { self.random.pick(&tables) };
        self.base(name)
    }

    /// `left.x = right.y`, of columns that mean the same or are at least of one type.
    pub fn equality(&mut self, left: &Source, right: &Source) -> Option<String> {
        let (mut linked, mut others) = (Vec::new(), Vec::new());
        for one in &left.columns {
            for other in &right.columns {
                let names = LINKS.iter().find(|names| names.contains(&column_name(one)));
                if names.is_some_and(|names| names.contains(&column_name(other))) {
                    linked.push((one, other));
                } else if one.data_type == other.data_type
                    && matches!(one.data_type, Type::Int4 | Type::Text | Type::Numeric | Type::State | Type::Date)
                {
                    others.push((one, other));
                }
            }
        }
        let small = left.rows * right.rows <= MOST_ROWS;
        let from = if !linked.is_empty() && (!small || self.random.chance(75)) { linked } else { others };
        if from.is_empty() {
            return None;
        }
        let (one, other) = self.random.pick(&from);
        Some(format!("{} = {}", one.text, other.text))
    }

    /// A query that sees what stands before it.
    fn lateral(&mut self, left: Source) -> Source {
        let inner = self.related(&left);
        let alias = self.alias("l");
        let condition = self.equality(&left, &inner).unwrap_or_else(|| "true".to_owned());
        let column = self.random.below(inner.columns.len());
        let column = inner.columns[column].clone();
        let unique = inner.unique.clone().unwrap_or_default().join(", ");
        let (query, columns) = if self.random.chance(50) {
            let text = format!("SELECT count(*), max({}) FROM {} WHERE {condition}", unique_first(&unique), inner.text);
            (text, vec![("c0", Type::Int8), ("c1", data_type_of(&inner, unique_first(&unique)))])
        } else {
            let limit = 1 + self.random.below(2);
            let text = format!(
                "SELECT {} FROM {} WHERE {condition} ORDER BY {}, {unique} LIMIT {limit}",
                column.text, inner.text, column.text
            );
            (text, vec![("c0", column.data_type)])
        };
        let columns: Vec<Reference> = columns
            .into_iter()
            .map(|(name, data_type)| Reference { text: format!("{alias}.{name}"), data_type })
            .collect();
        let names: Vec<&str> = columns.iter().map(column_name).collect();
        let (word, kept) = self.random.pick(&[
            (" CROSS JOIN LATERAL ", [true, true]),
            (" LEFT JOIN LATERAL ", [true, false]),
            (" JOIN LATERAL ", [true, true]),
        ]);
        let on = if word == " CROSS JOIN LATERAL " { "" } else { " ON true" };
        let text = format!("{}{word}({query}) {alias} ({}){on}", left.text, names.join(", "));
        let right = Source {
            text: String::new(),
            columns,
            unique: None,
            rows: 1,
            keys: Vec::new(),
            lockable: Vec::new(),
            closed: false,
        };
        let rows = left.rows * 2;
        joined_source(text, left, right, rows, kept)
    }
}

fn unique_first(unique: &str) -> &str {
    unique.split(", ").next().unwrap_or(unique)
}

fn data_type_of(source: &Source, column: &str) -> Type {
    source.columns.iter().find(|of| of.text == column).map_or(Type::Int8, |of| of.data_type)
}

fn joined_source(text: String, left: Source, right: Source, rows: usize, kept: [bool; 2]) -> Source {
    let lockable =
        [if kept[0] { left.lockable } else { Vec::new() }, if kept[1] { right.lockable } else { Vec::new() }];
    let closed = text.contains(", ") && text.starts_with(&format!("{}, ", left.text));
    Source {
        text,
        columns: [left.columns, right.columns].concat(),
        unique: left.unique.zip(right.unique).map(|(one, other)| [one, other].concat()),
        rows,
        keys: [left.keys, right.keys].concat(),
        lockable: lockable.concat(),
        closed,
    }
}

const TABLES_BY_WEIGHT: &[&str] = &[
    "events",
    "events",
    "events",
    "seats",
    "seats",
    "seats",
    "orders",
    "orders",
    "reviews",
    "reviews",
    "customers",
    "customers",
    "payments",
    "payments",
    "venues",
    "currencies",
];
