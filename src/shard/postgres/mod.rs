//! A shard in a Postgres database.

pub mod schema;
