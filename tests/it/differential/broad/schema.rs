//! Eight tables in two keyspaces: five sharded by a show, three by a customer or copied to every shard, with NULLs, arrays, an
//! enum, jsonb, text in two collations, partial and expression indexes.
//!
//! Values are few, so that joins and groups meet. Numerics have two digits after the point and floating-point values are multiples of a
//! quarter: equal values look the same, and sums do not depend on the order of the rows.

use crate::differential::random::Random;
use crate::differential::schema::{Column, Table, columns, contains};
use crate::differential::values::{Type, mark};

/// Beside these stands the keyspace of `event_id`.
pub const KEYSPACES: &str = "
[[keyspaces]]
name = \"shows\"
key_column = \"event_id\"
key_columns = { reviews = \"show_id\" }

[[keyspaces]]
name = \"people\"
key_column = \"customer_id\"
key_type = \"text\"
";

const TYPES: &[&str] = &["CREATE TYPE show_state AS ENUM ('draft', 'open', 'sold', 'closed')"];

const INDEXES: &[&str] = &[
    "CREATE INDEX seats_free ON seats (event_id, section) WHERE holder IS NULL",
    "CREATE UNIQUE INDEX seats_holder ON seats (event_id, holder) WHERE holder IS NOT NULL AND version = 0",
    "CREATE INDEX events_title ON events (lower(title))",
    "CREATE UNIQUE INDEX orders_reference ON orders (event_id, lower(reference))",
    "CREATE INDEX customers_name ON customers (name_local DESC NULLS LAST)",
    "CREATE INDEX events_tags ON events USING gin (tags)",
];

pub const TABLES: &[Table] = &[
    Table {
        name: "venues",
        sharded: false,
        columns: columns! {
            venue_id Int4 "int PRIMARY KEY",
            name Text "text NOT NULL",
            city Local "text COLLATE \"und-x-icu\"",
            capacity Int4 "int CHECK (capacity >= 0)",
            rating Numeric "numeric(8,2)",
            tags TextArray "text[]",
            opened Date "date",
        },
        key: &["venue_id"],
        constraints: "",
    },
    Table {
        name: "currencies",
        sharded: false,
        columns: columns! {
            code Text "text PRIMARY KEY",
            rate Numeric "numeric(8,2) NOT NULL",
            active Bool "boolean DEFAULT true",
            notes Jsonb "jsonb",
        },
        key: &["code"],
        constraints: "",
    },
    Table {
        name: "events",
        sharded: true,
        columns: columns! {
            event_id Int8 "bigint PRIMARY KEY",
            venue_id Int4 "int REFERENCES venues (venue_id)",
            title Text "text NOT NULL",
            title_local Local "text COLLATE \"und-x-icu\"",
            starts_at Timestamptz "timestamptz",
            doors Timestamp "timestamp",
            price Numeric "numeric(8,2)",
            popularity Float8 "float8",
            state State "show_state NOT NULL DEFAULT 'draft'",
            tags TextArray "text[]",
            ages IntArray "int[]",
            details Jsonb "jsonb",
            day Date "date",
        },
        key: &["event_id"],
        constraints: "",
    },
    Table {
        name: "seats",
        sharded: true,
        columns: columns! {
            event_id Int8 "bigint NOT NULL REFERENCES events (event_id) ON DELETE CASCADE",
            seat_id Int4 "int NOT NULL",
            section Text "text COLLATE \"C\"",
            status State "show_state",
            price Numeric "numeric(8,2)",
            score Float8 "float8",
            holder Text "text",
            version Int4 "int NOT NULL DEFAULT 0",
            marks IntArray "int[]",
        },
        key: &["event_id", "seat_id"],
        constraints: ", PRIMARY KEY (event_id, seat_id), CONSTRAINT seats_price CHECK (price >= 0)",
    },
    Table {
        name: "orders",
        sharded: true,
        columns: columns! {
            event_id Int8 "bigint NOT NULL",
            order_id Int8 "bigint NOT NULL",
            buyer Text "text NOT NULL",
            reference Text "text",
            total Numeric "numeric(8,2) NOT NULL",
            seats IntArray "int[]",
            items Jsonb "jsonb",
            placed_at Timestamp "timestamp",
            paid Bool "boolean",
        },
        key: &["event_id", "order_id"],
        constraints: ", PRIMARY KEY (event_id, order_id), CHECK (total > -1000)",
    },
    Table {
        name: "reviews",
        sharded: true,
        columns: columns! {
            show_id Int8 "bigint NOT NULL",
            review_id Int4 "int NOT NULL",
            stars Int4 "int",
            body Local "text COLLATE \"und-x-icu\"",
            author Text "text",
            written Timestamptz "timestamptz",
        },
        key: &["show_id", "review_id"],
        constraints: ", PRIMARY KEY (show_id, review_id)",
    },
    Table {
        name: "customers",
        sharded: true,
        columns: columns! {
            customer_id Text "text PRIMARY KEY",
            name Text "text NOT NULL",
            name_local Local "text COLLATE \"und-x-icu\"",
            born Date "date",
            balance Numeric "numeric(8,2) NOT NULL DEFAULT 0",
            vip Bool "boolean",
            level State "show_state",
            phones TextArray "text[]",
            profile Jsonb "jsonb",
            referred_by Text "text",
            home Int4 "int REFERENCES venues (venue_id)",
        },
        key: &["customer_id"],
        constraints: ", CHECK (balance >= -500)",
    },
    Table {
        name: "payments",
        sharded: true,
        columns: columns! {
            customer_id Text "text NOT NULL REFERENCES customers (customer_id)",
            payment_id Int4 "int NOT NULL",
            amount Numeric "numeric(8,2)",
            currency Text "text REFERENCES currencies (code)",
            show Int8 "bigint",
            paid_at Timestamptz "timestamptz",
            parts IntArray "int[]",
            score Float8 "float8",
        },
        key: &["customer_id", "payment_id"],
        constraints: ", PRIMARY KEY (customer_id, payment_id)",
    },
];

pub const EVENT_IDS: &[i64] = &[
    1,
    2,
    3,
    4,
    5,
    6,
    7,
    8,
    9,
    10,
    11,
    12,
    13,
    14,
    15,
    16,
    17,
    18,
    19,
    20,
    0,
    -5,
    9_000_000_001,
    9_007_199_254_740_993,
];
pub const CUSTOMERS: &[&str] =
    &["ann", "Ann", "bob", "cleo", "dora", "emil", "fritz", "gül", "hans", "", "日本", "o'neil", "joe", "kim"];
const CURRENCIES: &[&str] = &["EUR", "USD", "GBP", "CHF"];
const VENUES: i64 = 6;

pub fn table(name: &str) -> &'static Table {
    TABLES.iter().find(|table| table.name == name).expect("a table of the schema")
}

pub fn schema() -> Vec<String> {
    let texts = |statements: &[&str]| statements.iter().map(|statement| (*statement).to_owned()).collect::<Vec<_>>();
    let tables = TABLES.iter().map(Table::definition).collect();
    [texts(TYPES), tables, texts(INDEXES)].concat()
}

/// Empties the tables and fills them, the same every time.
pub fn rows() -> Vec<String> {
    let mut random = Random::new(11);
    let random = &mut random;
    // Most of those that are referred to are emptied last.
    let mut statements: Vec<String> = TABLES.iter().rev().map(|table| format!("DELETE FROM {}", table.name)).collect();
    let mut fill = |name: &'static str, keys: Vec<Vec<String>>| {
        let table = table(name);
        let rows: Vec<String> = keys.into_iter().map(|key| row(random, table, key)).collect();
        statements.push(format!("INSERT INTO {name} VALUES {}", rows.join(", ")));
    };
    let pairs = |keys: &mut dyn Iterator<Item = String>, most: usize, first: usize| -> Vec<Vec<String>> {
        let counted = keys.enumerate().flat_map(|(position, key)| {
            (0..position * 7 % (most + 1)).map(move |number| vec![key.clone(), (first + number).to_string()])
        });
        counted.collect()
    };
    let events = || EVENT_IDS.iter().map(ToString::to_string);
    let customers = || CUSTOMERS.iter().map(|customer| mark(Type::Text, customer, true));
    fill("venues", (1..=VENUES).map(|venue| vec![venue.to_string()]).collect());
    fill("currencies", CURRENCIES.iter().map(|code| vec![mark(Type::Text, code, true)]).collect());
    fill("events", events().map(|event| vec![event]).collect());
    fill("seats", pairs(&mut events(), 4, 1));
    fill("orders", pairs(&mut events().skip(3), 2, 100));
    fill("reviews", pairs(&mut events().skip(1), 2, 1));
    fill("customers", customers().map(|customer| vec![customer]).collect());
    fill("payments", pairs(&mut customers(), 3, 1));
    statements
}

fn row(random: &mut Random, table: &Table, key: Vec<String>) -> String {
    let mut values = key;
    for column in &table.columns[values.len()..] {
        values.push(column_value(random, table, column));
    }
    format!("({})", values.join(", "))
}

pub fn event(random: &mut Random) -> String {
    random.pick(EVENT_IDS).to_string()
}

/// A value that the column accepts, mostly one of a few.
pub fn column_value(random: &mut Random, table: &Table, column: &Column) -> String {
    let text = |value: &str| mark(Type::Text, value, true);
    let nullable = column.nullable;
    if nullable && random.chance(20) {
        return "NULL".to_owned();
    }
    match (table.name, column.name) {
        (_, "venue_id" | "home") => random.between(1, VENUES).to_string(),
        (_, "buyer" | "holder" | "author" | "customer_id" | "referred_by") => text(random.pick(CUSTOMERS)),
        (_, "currency" | "code") => text(random.pick(CURRENCIES)),
        (_, "event_id" | "show" | "show_id") => event(random),
        (_, "order_id") => random.between(100, 140).to_string(),
        ("orders", "reference") => text(&format!("Ref-{}", random.below(1_000_000))),
        ("orders", "seats") => mark(Type::IntArray, random.pick(&["{1,2}", "{1}", "{2,3}", "{}"]), true),
        (_, "section") => text(random.pick(&["A", "B", "a", "b", "Balcony"])),
        (_, "stars") => random.between(1, 5).to_string(),
        (_, "capacity") => random.pick(&["0", "50", "100", "500"]).to_owned(),
        (_, "version") => random.between(0, 3).to_string(),
        (_, "seat_id" | "review_id" | "payment_id") => random.between(1, 9).to_string(),
        _ => value(random, column.data_type),
    }
}

/// A value of the type, of a few.
fn value(random: &mut Random, data_type: Type) -> String {
    let value = match data_type {
        Type::Numeric => random.pick(&["0.00", "5.50", "5.50", "19.99", "7.00", "120.25"]),
        Type::Float8 => random.pick(&["0", "0.25", "1.5", "-2.75", "3"]),
        Type::Int4 => random.pick(&["0", "1", "2", "3", "5"]),
        Type::Text => random.pick(&["Jazz Night", "opera", "Opera", "zebra", "Ärger", "", "a_b%c"]),
        Type::Date => random.pick(&["2026-03-01", "2026-03-02", "2024-02-29", "1999-12-31"]),
        Type::Timestamp => random.pick(&["2026-03-01 20:00:00", "2026-03-01 20:00:00.5", "2024-02-29 12:30:00"]),
        Type::Timestamptz => {
            random.pick(&["2026-03-01 20:00:00+00", "2026-07-01 18:30:00+02", "1999-12-31 23:00:00+00"])
        }
        other => return crate::differential::values::literal(random, other, true),
    };
    mark(data_type, value, true)
}
