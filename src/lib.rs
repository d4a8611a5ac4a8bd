//! shardd: a sharding proxy.

pub mod admin;
pub mod catalog;
pub mod config;
pub mod engine;
pub mod error;
pub mod front;
pub mod live_topology;
pub mod metrics;
pub mod plan;
pub mod server;
pub mod shard;
pub mod shardctl;
pub mod sql;
pub mod topology;
pub mod types;
pub mod web;
pub mod wire;

/// The Postgres version whose behaviour is served, as `server_version` and `version()` tell it.
pub const SERVER_VERSION: &str = "15.18";
