//! A schema with its rows, and the scripts that run over it.

use super::random::Random;
use super::schema::{TABLES, fixture, table};
use super::writes::Script;

pub struct World {
    /// Statements that make the schema; they run once.
    pub schema: fn() -> Vec<String>,
    /// Statements that make its rows anew, whatever is there.
    pub rows: fn() -> Vec<String>,
    pub tables: fn() -> Vec<&'static str>,
    /// A query for all rows of a table, in one order.
    pub contents: fn(&str) -> String,
    /// The script of a seed.
    pub script: fn(&mut Random, usize) -> Script,
    /// It has types that each database numbers by itself; over shards that number them differently they are told as text.
    pub own_types: bool,
    /// Reads are asked by every protocol and in every format, and not by one of them each.
    pub in_all_modes: bool,
}

/// The ticket schema, which all kinds of shards can hold.
pub const TICKETS: World = World {
    schema: Vec::new,
    rows: fixture,
    tables: || TABLES.iter().map(|table| table.name).collect(),
    contents: |name| table(name).contents(),
    script: Script::generate,
    own_types: false,
    in_all_modes: true,
};
