//! `/v1/kv`: values of any content type under keys, with versions, preconditions and idempotent writes.
//!
//! `routes` speaks HTTP, `batch` does many at once, `store` turns both into statements. `precondition` and `key` are
//! pure.

mod batch;
mod key;
mod precondition;
mod routes;
mod store;
mod tables;

pub(super) use batch::{BATCH_ITEMS_MAX, batch};
pub(super) use key::KEY_MAX_BYTES;
pub(super) use routes::{IDEMPOTENCY_KEY_MAX_BYTES, LIST_LIMIT_DEFAULT, LIST_LIMIT_MAX, delete, get, list, put};
pub(super) use store::Store;
pub use tables::{CREATE as CREATE_TABLES, ensure_schema};
