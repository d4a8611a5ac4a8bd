//! The ticket schema that the generated statements run over, and the rows that they find there.
//!
//! Floating-point values are multiples of a quarter, so that their sums do not depend on the order of the rows.

use super::random::Random;
use super::values::{Type, literal};

pub struct Column {
    pub name: &'static str,
    pub data_type: Type,
    /// As CREATE TABLE writes it: type and constraints.
    pub definition: &'static str,
    pub nullable: bool,
}

pub struct Table {
    pub name: &'static str,
    pub sharded: bool,
    pub columns: &'static [Column],
    /// Columns that together name one row.
    pub key: &'static [&'static str],
    pub constraints: &'static str,
}

macro_rules! columns {
    ($($name:ident $data_type:ident $definition:literal,)*) => {
        &[$(Column {
            name: stringify!($name),
            data_type: Type::$data_type,
            definition: $definition,
            nullable: !(contains($definition, "NOT NULL") || contains($definition, "PRIMARY KEY")),
        },)*]
    };
}

/// `str::contains`, for constants.
pub const fn contains(text: &str, part: &str) -> bool {
    let (text, part) = (text.as_bytes(), part.as_bytes());
    let mut start = 0;
    while start + part.len() <= text.len() {
        let mut length = 0;
        while length < part.len() && text[start + length] == part[length] {
            length += 1;
        }
        if length == part.len() {
            return true;
        }
        start += 1;
    }
    false
}

pub(in crate::differential) use columns;

pub const TABLES: &[Table] = &[
    Table {
        name: "venues",
        sharded: false,
        columns: columns! {
            venue_id Int4 "int PRIMARY KEY",
            name Text "text NOT NULL",
            city Varchar "varchar(30)",
            capacity Int4 "int CHECK (capacity > 0)",
            opened Date "date",
            rating Numeric "numeric",
            details Jsonb "jsonb",
        },
        key: &["venue_id"],
        constraints: "",
    },
    Table {
        name: "events",
        sharded: true,
        columns: columns! {
            event_id Int8 "bigint PRIMARY KEY",
            venue_id Int4 "int REFERENCES venues (venue_id)",
            title Text "text NOT NULL",
            starts_at Timestamptz "timestamptz NOT NULL",
            doors Timestamp "timestamp",
            price Numeric "numeric(10,2)",
            popularity Float8 "float8",
            grade Int2 "int2",
            tags Jsonb "jsonb",
            note Json "json",
            poster Bytea "bytea",
            public_id Uuid "uuid",
            on_sale Bool "boolean DEFAULT true",
            day Date "date",
        },
        key: &["event_id"],
        constraints: "",
    },
    Table {
        name: "seats",
        sharded: true,
        columns: columns! {
            event_id Int8 "bigint NOT NULL",
            seat_id Int4 "int NOT NULL",
            section Varchar "varchar(10)",
            row_number Int2 "smallint",
            status Text "text NOT NULL DEFAULT 'free'",
            hold_id Uuid "uuid",
            hold_expires_at Timestamptz "timestamptz",
            price Numeric "numeric(10,2)",
            score Float4 "real",
            version Int4 "int NOT NULL DEFAULT 0",
        },
        key: &["event_id", "seat_id"],
        constraints: ", PRIMARY KEY (event_id, seat_id), CONSTRAINT seats_status CHECK (status IN ('free', 'held', 'sold'))",
    },
    Table {
        name: "holds",
        sharded: true,
        columns: columns! {
            event_id Int8 "bigint NOT NULL REFERENCES events (event_id) ON DELETE CASCADE",
            hold_id Uuid "uuid NOT NULL",
            customer Text "text",
            quantity Int4 "int",
            amount Numeric "numeric",
            created_at Timestamptz "timestamptz",
            confirmed Bool "boolean",
        },
        key: &["event_id", "hold_id"],
        constraints: ", PRIMARY KEY (event_id, hold_id)",
    },
    Table {
        name: "orders",
        sharded: true,
        columns: columns! {
            event_id Int8 "bigint NOT NULL",
            order_id Int8 "bigint NOT NULL",
            customer Text "text NOT NULL",
            idempotency_key Varchar "varchar(40)",
            total Numeric "numeric(12,2) NOT NULL",
            discount Float8 "float8",
            items Jsonb "jsonb",
            placed_at Timestamp "timestamp",
            day Date "date",
        },
        key: &["event_id", "order_id"],
        constraints: ", PRIMARY KEY (event_id, order_id), UNIQUE (event_id, idempotency_key)",
    },
];

/// The keys that events have. They spread over four shards, and hold the odd ones.
pub const EVENT_IDS: &[i64] =
    &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 0, -5, 9_000_000_001, 9_007_199_254_740_993];

pub fn table(name: &str) -> &'static Table {
    TABLES.iter().find(|table| table.name == name).expect("a table of the schema")
}

impl Table {
    pub fn definition(&self) -> String {
        let columns: Vec<String> =
            self.columns.iter().map(|column| format!("{} {}", column.name, column.definition)).collect();
        format!("CREATE TABLE {} ({}{})", self.name, columns.join(", "), self.constraints)
    }

    /// A query for all rows, in the order of the key.
    pub fn contents(&self) -> String {
        format!("SELECT * FROM {} ORDER BY {}", self.name, self.key.join(", "))
    }
}

/// The statements that make the schema and its rows; the same every time.
pub fn fixture() -> Vec<String> {
    let mut random = Random::new(7);
    let mut statements: Vec<String> = Vec::new();
    for table in TABLES.iter().rev() {
        statements.push(format!("DROP TABLE IF EXISTS {}", table.name));
    }
    statements.extend(TABLES.iter().map(Table::definition));
    statements.push("CREATE INDEX seats_by_status ON seats (event_id, status)".to_owned());
    for venue in 1..=6 {
        statements.push(row(&mut random, table("venues"), &[venue.to_string()]));
    }
    for (position, event) in EVENT_IDS.iter().enumerate() {
        let event = event.to_string();
        statements.push(row(&mut random, table("events"), std::slice::from_ref(&event)));
        for seat in 0..position % 6 {
            statements.push(row(&mut random, table("seats"), &[event.clone(), (seat + 1).to_string()]));
        }
        for _ in 0..position % 3 {
            let hold = format!("'{}'", uuid(&mut random));
            statements.push(row(&mut random, table("holds"), &[event.clone(), hold]));
        }
        for order in 0..(position + 1) % 4 {
            statements.push(row(&mut random, table("orders"), &[event.clone(), (order + 100).to_string()]));
        }
    }
    statements
}

/// An INSERT of one row, with these values for the first columns.
fn row(random: &mut Random, table: &Table, first: &[String]) -> String {
    let mut values = first.to_vec();
    for column in &table.columns[first.len()..] {
        values.push(column_value(random, table, column));
    }
    format!("INSERT INTO {} VALUES ({})", table.name, values.join(", "))
}

/// A value that the column accepts, inline.
pub fn column_value(random: &mut Random, table: &Table, column: &Column) -> String {
    match (table.name, column.name) {
        ("venues", "capacity") => random.between(1, 500).to_string(),
        ("events", "venue_id") => random.between(1, 6).to_string(),
        ("seats", "status") => format!("'{}'", random.pick(&["free", "held", "sold"])),
        ("seats", "section") => format!("'{}'", random.pick(&["A", "B", "Balcony", "a"])),
        ("orders", "idempotency_key") => format!("'key-{}'", random.below(1_000_000)),
        _ if column.nullable && random.chance(20) => "NULL".to_owned(),
        _ => literal(random, column.data_type, true),
    }
}

pub fn uuid(random: &mut Random) -> String {
    let (a, b) = (random.next(), random.next());
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        a >> 32,
        (a >> 16) & 0xffff,
        a & 0xffff,
        b >> 48,
        b & 0xffff_ffff_ffff
    )
}
