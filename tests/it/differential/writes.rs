//! Generated writes, errors, changes of the schema, and transactions, as scripts of statements.

use super::expressions::{COMMON, Expressions, Reference};
use super::random::Random;
use super::reads::{self, key};
use super::schema::{EVENT_IDS, Table, column_value, table, uuid};
use super::shapes::{ERRORS, SCHEMA_SCRIPTS, TRANSACTION_BEGINS, TRANSACTION_ENDS, TRANSACTION_STEPS};
use super::values::{Type, mark};

/// One statement of a script, with marked literals.
#[derive(Clone, Debug)]
pub struct Step {
    pub sql: String,
    /// Its rows have one right order.
    pub ordered: bool,
    /// The table whose contents are compared afterwards.
    pub writes: Option<&'static str>,
}

/// Statements that run one after another on one connection.
#[derive(Clone, Debug)]
pub struct Script {
    pub family: &'static str,
    pub steps: Vec<Step>,
}

impl Script {
    /// Whether it may leave the rows changed.
    pub fn writes(&self) -> bool {
        self.steps.len() > 1 || self.steps.iter().any(|step| step.writes.is_some())
    }

    pub fn one(family: &'static str, sql: String, ordered: bool, writes: Option<&'static str>) -> Script {
        Script { family, steps: vec![Step { sql, ordered, writes }] }
    }

    /// The next script.
    pub fn generate(random: &mut Random, number: usize) -> Script {
        let query = |family, query: reads::Query| Script::one(family, query.sql, query.ordered, None);
        match random.below(100) {
            0..18 => query("read by key", reads::rows(random, false, true)),
            18..28 => query("join by key", reads::rows(random, true, true)),
            28..42 => {
                let joins = random.chance(30);
                query("scatter", reads::rows(random, joins, false))
            }
            42..54 => {
                let keyed = random.chance(25);
                query("aggregate", reads::aggregate(random, keyed))
            }
            54..66 => query("expression", reads::scalar(random)),
            66..75 => query("shape", reads::shaped(random)),
            75..79 => insert(random),
            79..81 => across(random),
            81..84 => update(random),
            84..86 => delete(random),
            86..88 => reference_write(random),
            88..94 => {
                let sql = (random.pick(ERRORS)).to_owned();
                Script::one("error", sql, false, None)
            }
            94..98 => transaction(random),
            _ => schema_script(random, number),
        }
    }
}

/// A seat or order number that the fixture does not have, mostly.
fn fresh(random: &mut Random) -> String {
    random.between(4, 5000).to_string()
}

fn insert(random: &mut Random) -> Script {
    let table = table(random.pick(&["seats", "orders", "holds", "events"]));
    let optional: Vec<_> = table.columns.iter().filter(|column| !table.key.contains(&column.name)).collect();
    let mut columns: Vec<&str> = table.key.to_vec();
    let chosen: Vec<_> = optional
        .into_iter()
        .filter(|column| !column.nullable && column.name != "version" || random.chance(50))
        .collect();
    columns.extend(chosen.iter().map(|column| column.name));
    let mut rows = Vec::new();
    for _ in 0..random.pick(&[1, 1, 1, 2, 3, 6]) {
        let mut values: Vec<String> = table.key.iter().map(|column| key_value(random, table, column)).collect();
        for column in &chosen {
            let default = column.name != "starts_at"
                && column.name != "title"
                && column.name != "total"
                && column.name != "customer";
            values.push(if default && random.chance(8) {
                "DEFAULT".to_owned()
            } else {
                column_value(random, table, column)
            });
        }
        rows.push(format!("({})", values.join(", ")));
    }
    let mut sql = format!("INSERT INTO {} ({}) VALUES {}", table.name, columns.join(", "), rows.join(", "));
    let settable: Vec<&str> = chosen.iter().map(|column| column.name).collect();
    match random.below(6) {
        0 => sql += " ON CONFLICT DO NOTHING",
        1 => sql += &format!(" ON CONFLICT ({}) DO NOTHING", table.key.join(", ")),
        2 | 3 if !settable.is_empty() => {
            let column = random.pick(&settable);
            sql += &format!(" ON CONFLICT ({}) DO UPDATE SET {column} = excluded.{column}", table.key.join(", "));
            if table.name == "seats" && random.chance(40) {
                sql += ", version = seats.version + 1 WHERE seats.status <> 'sold'";
            }
        }
        _ => {}
    }
    sql += &returning(random, table);
    Script::one("insert", sql, true, Some(table.name))
}

fn key_value(random: &mut Random, table: &Table, column: &str) -> String {
    match (table.name, column) {
        ("events", "event_id") => mark(Type::Int8, &random.between(300, 400).to_string(), true),
        (_, "event_id") => key(random),
        (_, "hold_id") => mark(Type::Uuid, &uuid(random), true),
        (_, "seat_id") => {
            let seat = if random.chance(30) { random.between(1, 4).to_string() } else { fresh(random) };
            mark(Type::Int4, &seat, true)
        }
        _ => mark(Type::Int8, &fresh(random), true),
    }
}

fn references(table: &'static Table) -> Vec<Reference> {
    let columns = table.columns.iter();
    columns.map(|column| Reference { text: column.name.to_owned(), data_type: column.data_type }).collect()
}

fn returning(random: &mut Random, table: &'static Table) -> String {
    let columns = references(table);
    match random.below(6) {
        0 => " RETURNING *".to_owned(),
        1 => format!(" RETURNING {}", table.key.join(", ")),
        2 => {
            let mut expressions = Expressions { random, columns: &columns, language: &COMMON };
            format!(" RETURNING {}, {} AS x", expressions.any(1).0, expressions.any(2).0)
        }
        _ => String::new(),
    }
}

/// A condition that names one key, several, or none.
fn condition(random: &mut Random, table: &'static Table) -> String {
    let columns = references(table);
    let (one, two) = (key(random), key(random));
    let mut conditions = match random.below(10) {
        0 => vec![format!("event_id IN ({one}, {two})")],
        1 => vec![format!("event_id = ANY(ARRAY[{one}::bigint, {two}])")],
        2 => vec![],
        _ => vec![format!("event_id = {one}")],
    };
    if random.chance(55) || conditions.is_empty() {
        conditions.push(Expressions { random, columns: &columns, language: &COMMON }.predicate(2));
    }
    conditions.join(" AND ")
}

fn update(random: &mut Random) -> Script {
    let table = table(random.pick(&["seats", "orders", "holds", "events"]));
    let columns = references(table);
    let settable: Vec<_> =
        table.columns.iter().filter(|column| !table.key.contains(&column.name) && column.name != "venue_id").collect();
    let mut assignments: Vec<String> = Vec::new();
    for _ in 0..1 + random.below(2) {
        let column = random.pick(&settable);
        let prefix = format!("{} = ", column.name);
        if assignments.iter().any(|assignment| assignment.starts_with(&prefix)) {
            continue;
        }
        let plain = matches!(column.name, "status" | "section" | "idempotency_key") || random.chance(40);
        let value = if plain {
            column_value(random, table, column)
        } else {
            Expressions { random, columns: &columns, language: &COMMON }.of(column.data_type, 2)
        };
        assignments.push(prefix + &value);
    }
    let mut sql = format!("UPDATE {} SET {} WHERE {}", table.name, assignments.join(", "), condition(random, table));
    if random.chance(15) && table.name == "seats" {
        sql = format!(
            "UPDATE seats SET price = e.price, version = seats.version + 1 FROM events e WHERE e.event_id = seats.event_id AND seats.event_id = {}",
            key(random)
        );
    } else {
        sql += &returning(random, table);
    }
    Script::one("update", sql, false, Some(table.name))
}

/// Writes whose rows are read on other shards than those that they are written on.
fn across(random: &mut Random) -> Script {
    let number = |random: &mut Random| fresh(random);
    let (one, two) = (key(random), key(random));
    let (sql, writes) = match random.below(10) {
        0 => (
            format!(
                "INSERT INTO seats (event_id, seat_id, section) SELECT {one}, {} + row_number() OVER (ORDER BY event_id), 'X' FROM events WHERE event_id < 40",
                number(random)
            ),
            "seats",
        ),
        1 => (
            format!(
                "INSERT INTO orders (event_id, order_id, customer, total) SELECT event_id, {} + count(*), 'many', sum(price) FROM seats WHERE event_id IN ({one}, {two}) GROUP BY event_id ON CONFLICT DO NOTHING",
                number(random)
            ),
            "orders",
        ),
        2 => (
            format!(
                "INSERT INTO seats (event_id, seat_id) SELECT s.event_id, {} + s.seat_id FROM seats s JOIN events e ON e.venue_id = s.seat_id AND e.event_id = {one} WHERE s.event_id IN ({one}, {two}) ON CONFLICT DO NOTHING RETURNING event_id, seat_id",
                number(random)
            ),
            "seats",
        ),
        3 => (format!("UPDATE seats SET event_id = {two} WHERE event_id = {one} AND seat_id > 3 RETURNING *"), "seats"),
        4 => (
            format!(
                "UPDATE seats SET event_id = {two}, section = 'M' WHERE event_id IN ({one}, {two}) AND seat_id = 1"
            ),
            "seats",
        ),
        5 => (
            format!(
                "UPDATE seats SET version = version + (SELECT count(*) FROM orders WHERE event_id = {two}) WHERE event_id = {one}"
            ),
            "seats",
        ),
        6 => (
            format!(
                "UPDATE seats SET section = 'T' WHERE price = (SELECT max(price) FROM seats) AND event_id <> {one} RETURNING event_id, seat_id"
            ),
            "seats",
        ),
        7 => (
            format!(
                "DELETE FROM holds USING events e WHERE e.event_id <> holds.event_id AND e.event_id = {one} AND holds.event_id = {two}"
            ),
            "holds",
        ),
        8 => (
            "UPDATE venues SET capacity = (SELECT count(*) FROM events e WHERE e.venue_id = venues.venue_id)"
                .to_owned(),
            "venues",
        ),
        _ => (
            format!(
                "DELETE FROM orders WHERE order_id IN (SELECT order_id FROM orders WHERE event_id <> {one} ORDER BY order_id DESC, event_id LIMIT 2)"
            ),
            "orders",
        ),
    };
    Script::one("write across", sql, false, Some(writes))
}

fn delete(random: &mut Random) -> Script {
    let table = table(random.pick(&["seats", "orders", "holds", "events"]));
    let condition = condition(random, table);
    let sql = if random.chance(15) && table.name == "holds" {
        format!(
            "DELETE FROM holds USING events e WHERE e.event_id = holds.event_id AND holds.event_id = {}",
            key(random)
        )
    } else {
        format!("DELETE FROM {} WHERE {condition}{}", table.name, returning(random, table))
    };
    Script::one("delete", sql, false, Some(table.name))
}

fn reference_write(random: &mut Random) -> Script {
    let id = mark(Type::Int4, &random.between(1, 30).to_string(), true);
    let columns = references(table("venues"));
    let sql = match random.below(5) {
        0 | 1 => format!(
            "INSERT INTO venues (venue_id, name, city) VALUES ({id}, 'Hall', 'Köln') ON CONFLICT (venue_id) DO UPDATE SET name = excluded.name || venues.name RETURNING venue_id, name"
        ),
        2 => format!(
            "UPDATE venues SET capacity = coalesce(capacity, 1) + 1, rating = rating * 1.10 WHERE venue_id = {id} RETURNING *"
        ),
        3 => format!(
            "UPDATE venues SET details = details || '{{\"seen\": true}}' WHERE {}",
            Expressions { random, columns: &columns, language: &COMMON }.predicate(1)
        ),
        _ => format!("DELETE FROM venues WHERE venue_id = {id} AND venue_id > 6"),
    };
    Script::one("reference write", sql, false, Some("venues"))
}

fn transaction(random: &mut Random) -> Script {
    let key = random.pick(EVENT_IDS).to_string();
    let step = |sql: &str| Step { sql: sql.to_owned(), ordered: false, writes: None };
    let mut steps = vec![step(random.pick(TRANSACTION_BEGINS))];
    for _ in 0..1 + random.below(7) {
        let text = random.pick(TRANSACTION_STEPS);
        let text = text.replace("{k}", &mark(Type::Int8, &key, true));
        steps.push(step(&text.replace("{fresh}", &mark(Type::Int4, &fresh(random), true))));
    }
    steps.push(step(random.pick(TRANSACTION_ENDS)));
    for table in ["seats", "orders", "events"] {
        steps.push(Step { sql: format!("SELECT count(*) FROM {table}"), ordered: true, writes: Some(table) });
    }
    Script { family: "transaction", steps }
}

fn schema_script(random: &mut Random, number: usize) -> Script {
    let name = format!("made_{number}");
    let statements = random.pick(SCHEMA_SCRIPTS);
    let step = |sql: &&str| Step { sql: sql.replace("{x}", &name), ordered: sql.contains("ORDER BY"), writes: None };
    Script { family: "schema", steps: statements.iter().map(step).collect() }
}
