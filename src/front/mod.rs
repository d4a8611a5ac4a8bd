//! The clients' doors: they decode frames or JSON into statements of an `engine::Session`, and know no shard.

pub mod http;
pub mod postgres;
