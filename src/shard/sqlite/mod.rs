//! A shard in a SQLite file, which speaks Postgres: its statements, types, errors and rows are Postgres's.
//!
//! `dialect` translates a statement (pure), `functions` are what SQLite lacks, `storage` says how a Postgres value lies
//! in a SQLite cell, and `store` runs programs: one writer with group commit, several readers.

pub mod dialect;
pub mod functions;
mod program;
pub mod storage;
mod store;

pub use program::{Effect, EnvironmentValue, Program};
pub use store::{
    Call, Environment, Limits, Opening, RedoStep, STEP, Scratch, ScratchTables, ShardFile, SqliteShard,
    SqliteTransaction, Statistics, StoredGuard, SubmittedWrite, Whereabouts, drop_guard_statements,
    forget_table_statements, guard_triggers, store_slots_statement, store_table_statement,
};
