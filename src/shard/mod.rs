//! Databases that hold rows. Each kind answers with rows in frames of the Postgres protocol.

mod rows;
pub mod sqlite;

pub use rows::{RowBatch, Rows};
