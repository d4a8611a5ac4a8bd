//! The targets' bodies.

mod client;
mod copy;
mod shard;
mod sql;
mod stream;
mod values;

pub use client::{client_session, client_startup};
pub use copy::copy_rows;
pub use shard::shard_answers;
pub use sql::sql_text;
pub use values::client_values;
