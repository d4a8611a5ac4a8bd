//! A statement as a SQLite shard runs it: SQLite's text, and Postgres's types for what goes in and comes out.

use crate::shard::{OutputColumn, Tag};
use crate::types::PgType;

/// A translated statement. Cached and shared; equal for all SQLite shards, since their schemas are equal.
#[derive(Clone, Debug, PartialEq)]
pub struct Program {
    /// SQLite's text. `?1` .. `?n` are the statement's parameters (the client's, then the lifted literals), and the
    /// values of `environment` are bound after them.
    pub sql: String,
    /// The types of the statement's parameters, inferred as Postgres infers them.
    pub parameters: Vec<PgType>,
    pub environment: Vec<EnvironmentValue>,
    /// The result's columns; empty for a statement that returns no rows.
    pub columns: Vec<OutputColumn>,
    pub effect: Effect,
    pub tag: Tag,
    /// A read that finds its rows by a whole primary or unique key: worth running without leaving the thread.
    pub point_read: bool,
    /// It looks something up in the system catalog: the name of an oid, a definition.
    pub reads_catalog: bool,
}

/// What a statement may ask of its session, bound as a parameter so that the text stays the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EnvironmentValue {
    /// `now()`: microseconds since 2000-01-01 UTC, as INTEGER.
    TransactionTimestamp,
    /// `statement_timestamp()`.
    StatementTimestamp,
    /// The session's TimeZone, as TEXT.
    TimeZone,
    /// `current_user`, `session_user`.
    User,
    /// `current_database()`.
    Database,
    /// `pg_backend_pid()`.
    BackendPid,
    /// `version()`.
    Version,
    /// `current_schema()`; NULL where the search path names none that exists.
    Schema,
    /// `current_schemas(false)`, as an array's JSON.
    Schemas,
    /// `current_schemas(true)`.
    AllSchemas,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    Read,
    Write,
}
