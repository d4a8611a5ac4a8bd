//! What a peer may send, read as shardd reads it: one function for each target, which panics where a promise is broken.
//!
//! Nothing here is about coverage or mutation, so that a plain test can run the same functions.

mod targets;

pub use targets::{client_session, client_startup, client_values, copy_rows, shard_answers, sql_text};
