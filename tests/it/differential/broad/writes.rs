//! Writes, transactions and statements that must fail.

use super::grammar::{Grammar, Kind, query};
use super::schema::{CUSTOMERS, TABLES, column_value, event, table};
use super::shapes::{ERRORS, QUERIES};
use crate::differential::expressions::Reference;
use crate::differential::random::Random;
use crate::differential::schema::{Column, Table};
use crate::differential::values::{Type, mark};
use crate::differential::writes::{Script, Step};

/// The script of a seed.
pub fn script(random: &mut Random, _seed: usize) -> Script {
    match random.below(100) {
        0..58 => {
            let query = query(random);
            Script::one("query", query.sql, query.ordered, None)
        }
        58..66 => {
            let (text, ordered) = random.pick(QUERIES);
            Script::one("query shape", holes(random, text), ordered, None)
        }
        66..69 => Script { family: "error", steps: vec![error(random)] },
        69..72 => Script { family: "insert from query", steps: vec![insert_from_query(random)] },
        72..79 => Script { family: "insert", steps: vec![insert(random)] },
        79..86 => Script { family: "update", steps: vec![update(random)] },
        86..89 => Script { family: "delete", steps: vec![delete(random)] },
        89..91 => Script { family: "merge and with", steps: vec![merge_or_with(random)] },
        _ => transaction(random),
    }
}

fn holes(random: &mut Random, text: &str) -> String {
    let key = |random: &mut Random| mark(Type::Int8, &event(random), true);
    let (one, other) = (key(random), key(random));
    let customer = mark(Type::Text, random.pick(CUSTOMERS), true);
    text.replace("{k}", &one).replace("{l}", &other).replace("{c}", &customer)
}

fn error(random: &mut Random) -> Step {
    let text = random.pick(ERRORS);
    Step { sql: holes(random, text), ordered: false, writes: written(text) }
}

/// The table that a statement of a fixed text writes to.
fn written(text: &str) -> Option<&'static str> {
    let beginnings = ["INSERT INTO ", "UPDATE ", "DELETE FROM ", "TRUNCATE "];
    let name = beginnings.iter().find_map(|beginning| text.strip_prefix(beginning))?.split([' ', '(']).next()?;
    TABLES.iter().map(|table| table.name).find(|table| *table == name)
}

/// Those that are written to without many other rows going with them.
const WRITTEN: &[&str] = &[
    "seats",
    "seats",
    "orders",
    "orders",
    "reviews",
    "payments",
    "payments",
    "customers",
    "events",
    "venues",
    "currencies",
];

fn key_value(random: &mut Random, table: &Table, column: &Column) -> String {
    let new = !random.chance(35);
    match (table.name, column.name) {
        ("events", "event_id") if new => random.between(300, 420).to_string(),
        ("customers", "customer_id") if new => mark(Type::Text, &format!("new{}", random.below(80)), true),
        ("currencies", _) if new => mark(Type::Text, &format!("C{}", random.below(60)), true),
        ("venues", _) => random.between(if new { 20 } else { 1 }, 80).to_string(),
        (_, "seat_id" | "review_id" | "payment_id" | "order_id") if new => random.between(10, 3000).to_string(),
        _ => column_value(random, table, column),
    }
}

fn references(table: &'static Table, qualifier: &str) -> Vec<Reference> {
    let reference =
        |column: &Column| Reference { text: format!("{qualifier}{}", column.name), data_type: column.data_type };
    table.columns.iter().map(reference).collect()
}

fn insert(random: &mut Random) -> Step {
    let table = table(random.pick(WRITTEN));
    let (mut columns, mut chosen) = (Vec::new(), Vec::new());
    for column in table.columns {
        let key = table.key.contains(&column.name);
        let needed = key || !column.nullable && !column.definition.contains("DEFAULT");
        if needed || random.chance(55) {
            columns.push(column.name);
            chosen.push((column, key));
        }
    }
    let mut rows = Vec::new();
    for _ in 0..random.pick(&[1, 1, 1, 2, 3, 5]) {
        let mut values = Vec::new();
        for (column, key) in &chosen {
            let value = if *key {
                key_value(random, table, column)
            } else if random.chance(6) && (column.nullable || column.definition.contains("DEFAULT")) {
                "DEFAULT".to_owned()
            } else {
                column_value(random, table, column)
            };
            values.push(value);
        }
        rows.push(format!("({})", values.join(", ")));
    }
    let mut sql = format!("INSERT INTO {} ({}) VALUES {}", table.name, columns.join(", "), rows.join(", "));
    sql += &conflict(random, table, &columns);
    sql += &returning(random, table, "");
    Step { sql, ordered: true, writes: Some(table.name) }
}

fn conflict(random: &mut Random, table: &'static Table, columns: &[&str]) -> String {
    let key = table.key.join(", ");
    let settable: Vec<&str> = columns.iter().copied().filter(|column| !table.key.contains(column)).collect();
    match random.below(6) {
        0 => " ON CONFLICT DO NOTHING".to_owned(),
        1 => format!(" ON CONFLICT ({key}) DO NOTHING"),
        2 | 3 if !settable.is_empty() => {
            let column = random.pick(&settable);
            let name = table.name;
            let condition = match random.below(3) {
                0 => format!(" WHERE {name}.{column} IS DISTINCT FROM excluded.{column}"),
                _ => String::new(),
            };
            format!(" ON CONFLICT ({key}) DO UPDATE SET {column} = excluded.{column}{condition}")
        }
        _ => String::new(),
    }
}

fn returning(random: &mut Random, table: &'static Table, qualifier: &str) -> String {
    let columns = references(table, qualifier);
    match random.below(6) {
        0 if qualifier.is_empty() => " RETURNING *".to_owned(),
        1 => {
            let key: Vec<String> = table.key.iter().map(|column| format!("{qualifier}{column}")).collect();
            format!(" RETURNING {}", key.join(", "))
        }
        2 => {
            let mut grammar = Grammar::new(random);
            let mut expressions = grammar.expressions(&columns);
            format!(" RETURNING {}, {} AS x", expressions.any(1).0, expressions.any(1).0)
        }
        _ => String::new(),
    }
}

fn insert_from_query(random: &mut Random) -> Step {
    let mut grammar = Grammar::new(random);
    let (table_name, columns, sql) = match grammar.random.below(7) {
        0 => {
            let source = grammar.base("seats");
            let condition = grammar.condition(&source, 1);
            let alias = &source.lockable[0];
            let query = format!(
                "SELECT {alias}.event_id, {alias}.seat_id + 5000, {alias}.section, {alias}.price FROM {}{condition}",
                source.text
            );
            ("seats", "event_id, seat_id, section, price", query)
        }
        1 => {
            let source = grammar.base("events");
            let condition = grammar.condition(&source, 1);
            let alias = &source.lockable[0];
            ("reviews", "show_id, review_id, stars, body", format!("SELECT {alias}.event_id, 6000, length({alias}.title), {alias}.title_local FROM {}{condition}", source.text))
        }
        2 => {
            let key = event(grammar.random);
            ("orders", "event_id, order_id, buyer, total", format!("SELECT {key}, 7000 + row_number() OVER (ORDER BY customer_id, payment_id), customer_id, coalesce(amount, 0) FROM payments"))
        }
        3 => ("payments", "customer_id, payment_id, amount, currency", "SELECT buyer, 8000 + max(order_id), sum(total), 'EUR' FROM orders WHERE buyer IN (SELECT customer_id FROM customers) GROUP BY buyer".to_owned()),
        4 => ("currencies", "code, rate", "SELECT 'v' || venue_id, count(*) FROM events WHERE venue_id IS NOT NULL GROUP BY venue_id".to_owned()),
        5 => ("events", "event_id, title, venue_id, state", "SELECT 1000 + venue_id, name, venue_id, 'open' FROM venues WHERE venue_id < 20".to_owned()),
        _ => {
            let query = grammar.query(1, Kind::Derived);
            ("orders", "event_id, order_id, buyer, total", format!("SELECT 1 + (row_number() OVER ()) % 2, 9000 + row_number() OVER (), 'x', 1 FROM ({}) x", query.sql))
        }
    };
    let conflict = random.pick(&["", " ON CONFLICT DO NOTHING", " ON CONFLICT DO NOTHING"]);
    let returning = returning(random, table(table_name), "");
    Step {
        sql: format!("INSERT INTO {table_name} ({columns}) {sql}{conflict}{returning}"),
        ordered: false,
        writes: Some(table_name),
    }
}

/// A condition of UPDATE or DELETE.
fn condition(random: &mut Random, table: &'static Table, columns: &[Reference]) -> String {
    let mut conditions = Vec::new();
    let mut grammar = Grammar::new(random);
    if grammar.random.chance(55) {
        conditions.push(grammar.key_condition(&columns[0]));
    }
    if grammar.random.chance(60) || conditions.is_empty() {
        conditions.push(grammar.predicate(columns, 2));
    }
    if grammar.random.chance(15) {
        let mut outer = grammar.base(table.name);
        outer.columns = columns.to_vec();
        conditions.push(grammar.subquery_predicate(&outer));
    }
    conditions.join(" AND ")
}

fn update(random: &mut Random) -> Step {
    let table = table(random.pick(WRITTEN));
    let name = table.name;
    match random.below(12) {
        0 => return update_from(random),
        1 => return new_key(random),
        _ => {}
    }
    let columns = references(table, "");
    let qualified = references(table, &format!("{name}."));
    let settable: Vec<&Column> = table
        .columns
        .iter()
        .filter(|column| !table.key.contains(&column.name) && !matches!(column.name, "reference" | "holder"))
        .collect();
    let mut assignments: Vec<String> = Vec::new();
    for _ in 0..1 + random.below(2) {
        let column = random.pick(&settable);
        if assignments.iter().any(|assignment| assignment.starts_with(&format!("{} = ", column.name))) {
            continue;
        }
        // Numerics keep two digits after the point by their type; floating-point values stay multiples of a quarter.
        let free = matches!(
            column.data_type,
            Type::Int4
                | Type::Text
                | Type::Local
                | Type::Bool
                | Type::Date
                | Type::State
                | Type::Jsonb
                | Type::IntArray
                | Type::TextArray
        );
        let bound = matches!(column.name, "venue_id" | "home" | "currency" | "capacity") || !column.nullable;
        let value = if free && !bound && random.chance(60) {
            Grammar::new(random).expressions(&columns).of(column.data_type, 1)
        } else if column.definition.contains("DEFAULT") && random.chance(10) {
            "DEFAULT".to_owned()
        } else {
            column_value(random, table, column)
        };
        assignments.push(format!("{} = {value}", column.name));
    }
    let condition = condition(random, table, &qualified);
    let returning = returning(random, table, "");
    let sql = format!("UPDATE {name} SET {} WHERE {condition}{returning}", assignments.join(", "));
    Step { sql, ordered: false, writes: Some(name) }
}

fn update_from(random: &mut Random) -> Step {
    let (text, name) = random.pick(&[
        ("UPDATE seats SET price = e.price, version = seats.version + 1 FROM events e WHERE e.event_id = seats.event_id AND e.state = 'open'", "seats"),
        ("UPDATE seats SET section = e.title FROM events e WHERE e.event_id = seats.event_id AND seats.event_id = {k} RETURNING seats.seat_id, e.title", "seats"),
        ("UPDATE orders SET paid = true FROM payments p WHERE p.customer_id = orders.buyer AND p.show = orders.event_id", "orders"),
        ("UPDATE events SET title = v.name FROM venues v WHERE v.venue_id = events.venue_id AND v.capacity > 60 RETURNING event_id, v.name", "events"),
        ("UPDATE payments SET amount = amount * 2 FROM customers c WHERE c.customer_id = payments.customer_id AND c.vip", "payments"),
        ("UPDATE customers SET level = 'sold' WHERE customer_id IN (SELECT buyer FROM orders WHERE event_id = {k}) RETURNING customer_id", "customers"),
        ("UPDATE venues SET capacity = (SELECT count(*) FROM events e WHERE e.venue_id = venues.venue_id)", "venues"),
        ("UPDATE venues SET (name, capacity) = ('x', (SELECT count(*) FROM seats)) WHERE venue_id = 2 RETURNING *", "venues"),
        ("UPDATE seats SET (price, section) = (SELECT e.price, 'S' FROM events e WHERE e.event_id = seats.event_id) WHERE event_id IN ({k}, {l})", "seats"),
        ("UPDATE seats SET score = 3 WHERE price = (SELECT max(price) FROM seats) RETURNING event_id, seat_id", "seats"),
        ("UPDATE reviews SET author = c.name FROM customers c WHERE c.customer_id = reviews.author", "reviews"),
    ]);
    Step { sql: holes(random, text), ordered: false, writes: Some(name) }
}

/// MERGE, and writes behind and within WITH.
fn merge_or_with(random: &mut Random) -> Step {
    let (text, name) = random.pick(&[
        ("MERGE INTO seats t USING (VALUES ({k}, 1), ({l}, 2)) s (e, n) ON t.event_id = s.e AND t.seat_id = s.n WHEN MATCHED THEN UPDATE SET version = t.version + s.n WHEN NOT MATCHED THEN INSERT (event_id, seat_id) VALUES (s.e, s.n)", "seats"),
        ("MERGE INTO reviews r USING (SELECT {k}::bigint AS e, 3 AS n) s ON r.show_id = s.e AND r.review_id = s.n WHEN MATCHED AND r.stars > 2 THEN DELETE WHEN MATCHED THEN UPDATE SET stars = 4 WHEN NOT MATCHED THEN INSERT (show_id, review_id, stars) VALUES (s.e, s.n, 5)", "reviews"),
        ("MERGE INTO reviews r USING events e ON r.show_id = e.event_id WHEN MATCHED AND e.state = 'sold' THEN UPDATE SET body = e.title WHEN NOT MATCHED AND e.price > 20 THEN INSERT (show_id, review_id, body) VALUES (e.event_id, 77, e.title_local)", "reviews"),
        ("MERGE INTO orders o USING payments p ON o.event_id = p.show AND o.order_id = p.payment_id AND o.buyer = p.customer_id WHEN MATCHED THEN DO NOTHING WHEN NOT MATCHED AND p.show IS NOT NULL AND p.customer_id = 'ann' THEN INSERT (event_id, order_id, buyer, total) VALUES (p.show, 10000 + p.payment_id, p.customer_id, coalesce(p.amount, 1))", "orders"),
        ("MERGE INTO customers c USING (SELECT buyer, count(*) AS n FROM orders GROUP BY buyer) o ON c.customer_id = o.buyer WHEN MATCHED AND o.n > 2 THEN UPDATE SET balance = o.n WHEN NOT MATCHED AND o.n > 3 THEN INSERT (customer_id, name) VALUES (o.buyer, 'made')", "customers"),
        ("MERGE INTO venues v USING (VALUES (2, 'two'), (71, 'new')) s (n, name) ON v.venue_id = s.n WHEN MATCHED THEN UPDATE SET name = s.name WHEN NOT MATCHED THEN INSERT (venue_id, name) VALUES (s.n, s.name)", "venues"),
        ("WITH gone AS (DELETE FROM reviews WHERE stars = 1 AND show_id IN ({k}, {l}) RETURNING show_id, review_id) UPDATE seats SET version = version + 1 FROM gone WHERE gone.show_id = seats.event_id", "seats"),
        ("WITH paid AS (UPDATE orders SET paid = true WHERE total > 50 RETURNING event_id, order_id, total) INSERT INTO reviews (show_id, review_id, stars) SELECT event_id, 20000 + order_id::int, 1 FROM paid ON CONFLICT DO NOTHING RETURNING show_id, review_id", "reviews"),
        ("WITH dear AS (SELECT avg(price) AS p FROM seats) UPDATE events SET popularity = 2 FROM dear WHERE events.price > dear.p RETURNING event_id", "events"),
        ("WITH few AS (SELECT customer_id FROM payments GROUP BY customer_id HAVING count(*) < 3) DELETE FROM orders USING few WHERE few.customer_id = orders.buyer AND orders.event_id = {k}", "orders"),
        ("WITH n AS (SELECT {k}::bigint AS e) DELETE FROM reviews USING n WHERE reviews.show_id = n.e AND review_id > 2 RETURNING review_id", "reviews"),
    ]);
    Step { sql: holes(random, text), ordered: false, writes: Some(name) }
}

fn new_key(random: &mut Random) -> Step {
    let (text, name) = random.pick(&[
        (
            "UPDATE seats SET event_id = {k}, seat_id = seat_id + 100 WHERE event_id = {l} AND seat_id < 3 RETURNING *",
            "seats",
        ),
        (
            "UPDATE orders SET event_id = event_id + 1, order_id = order_id + 1000 WHERE event_id IN ({k}, {l})",
            "orders",
        ),
        ("UPDATE reviews SET show_id = {k} WHERE show_id = {l} AND stars > 2 RETURNING review_id", "reviews"),
        ("UPDATE payments SET customer_id = {c}, payment_id = payment_id + 50 WHERE customer_id = 'ann'", "payments"),
        ("UPDATE reviews SET show_id = show_id + 1 WHERE stars = 3", "reviews"),
        ("UPDATE orders SET event_id = NULL WHERE event_id = {k}", "orders"),
    ]);
    Step { sql: holes(random, text), ordered: false, writes: Some(name) }
}

fn delete(random: &mut Random) -> Step {
    if random.chance(20) {
        let (text, name) = random.pick(&[
            ("DELETE FROM seats USING events e WHERE e.event_id = seats.event_id AND e.state = 'closed' AND seats.event_id = {k} RETURNING seats.*", "seats"),
            ("DELETE FROM payments USING orders o WHERE o.buyer = payments.customer_id AND o.total > 100 AND payments.payment_id > 2", "payments"),
            ("DELETE FROM reviews WHERE show_id IN (SELECT event_id FROM events WHERE state = 'sold') AND stars < 2", "reviews"),
            ("DELETE FROM orders WHERE order_id IN (SELECT order_id FROM orders ORDER BY total DESC, event_id, order_id LIMIT 1)", "orders"),
            ("DELETE FROM currencies WHERE code NOT IN (SELECT currency FROM payments WHERE currency IS NOT NULL) AND rate > 50", "currencies"),
            ("DELETE FROM reviews r WHERE NOT EXISTS (SELECT 1 FROM customers c WHERE c.customer_id = r.author) AND r.review_id > 1 RETURNING r.show_id", "reviews"),
        ]);
        return Step { sql: holes(random, text), ordered: false, writes: Some(name) };
    }
    let table = table(random.pick(&["seats", "orders", "reviews", "payments", "payments", "events"]));
    let columns = references(table, &format!("{}.", table.name));
    let mut grammar = Grammar::new(random);
    let mut text = format!("{} AND {}", grammar.key_condition(&columns[0]), grammar.predicate(&columns, 1));
    if grammar.random.chance(10) {
        text = grammar.predicate(&columns, 1) + " AND " + &grammar.predicate(&columns, 1);
    }
    let returning = returning(random, table, "");
    Step {
        sql: format!("DELETE FROM {} WHERE {text}{returning}", table.name),
        ordered: false,
        writes: Some(table.name),
    }
}

fn transaction(random: &mut Random) -> Script {
    let control = |sql: &str| Step { sql: sql.to_owned(), ordered: true, writes: None };
    let mut steps =
        vec![control(random.pick(&["BEGIN", "BEGIN", "START TRANSACTION", "BEGIN ISOLATION LEVEL REPEATABLE READ"]))];
    for _ in 0..2 + random.below(6) {
        let step = match random.below(20) {
            0..4 => insert(random),
            4..7 => update(random),
            7..9 => delete(random),
            9 => insert_from_query(random),
            10..14 => {
                let query = query(random);
                Step { sql: query.sql, ordered: query.ordered, writes: None }
            }
            14 => {
                let (text, ordered) = random.pick(QUERIES);
                Step { sql: holes(random, text), ordered, writes: None }
            }
            15 => error(random),
            16 => control(random.pick(&["SAVEPOINT a", "SAVEPOINT b"])),
            17 => control(random.pick(&["ROLLBACK TO SAVEPOINT a", "ROLLBACK TO a", "RELEASE SAVEPOINT a"])),
            18 => Step {
                sql: random
                    .pick(&["TRUNCATE reviews", "TRUNCATE orders, reviews", "TRUNCATE seats", "TRUNCATE payments"])
                    .to_owned(),
                ordered: true,
                writes: None,
            },
            _ => control("SAVEPOINT a"),
        };
        steps.push(Step { writes: None, ..step });
    }
    let truncates = steps.iter().any(|step| step.sql.starts_with("TRUNCATE"));
    let ends = if truncates { ["ROLLBACK"; 3] } else { ["COMMIT", "END", "ROLLBACK"] };
    steps.push(control(random.pick(&ends)));
    for table in ["seats", "orders", "payments"] {
        steps.push(Step { sql: format!("SELECT count(*) FROM {table}"), ordered: true, writes: Some(table) });
    }
    Script { family: "transaction", steps }
}
