//! Eight tables over three Postgres shards beside one Postgres: a grammar of queries, writes and transactions.

mod grammar;
mod language;
mod schema;
mod select;
mod shapes;
mod sources;
mod subqueries;
mod writes;

pub use schema::KEYSPACES;

use super::world::World;

/// Eight tables in two keyspaces.
pub const BROAD: World = World {
    schema: schema::schema,
    rows: schema::rows,
    tables: || schema::TABLES.iter().map(|table| table.name).collect(),
    contents: |name| schema::table(name).contents(),
    script: writes::script,
    own_types: true,
    in_all_modes: false,
};

/// The names of those that are sharded.
pub fn sharded_tables() -> Vec<&'static str> {
    schema::TABLES.iter().filter(|table| table.sharded).map(|table| table.name).collect()
}
