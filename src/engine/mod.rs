//! A client's statements, from text to rows: parse, plan, execute, merge; transactions.
//!
//! The doors decode frames or JSON into calls on a [`Session`] and encode its [`Answer`]s. They know no shard.

mod answer;
mod session;

pub use crate::shard::sqlite::{Formats, OutputColumn};
pub use answer::{Answer, RowBatch, Rows, TagCount};
pub use session::{CancelHandle, Engine, Identity, Prepared, RawParameters, Scope, Session, TransactionStatus};
