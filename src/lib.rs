//! shardd: one `DATABASE_URL` in front of many databases.
//!
//! Clients speak the Postgres protocol or HTTP to it. It maps every key to one of several shards, by a consistent-hash
//! ring that proposes and a topology that rules, and puts together what lives on several.
//!
//! # Layout
//!
//! Imports point down; `tests/architecture.rs` holds them there.
//!
//! ```text
//! server                          assembles everything, in the order in which it can fail
//! front::postgres  front::http    doors: accept, authenticate, frames or JSON <-> Session
//! admin            shardctl       the operator's door, and the tool that knows nothing else
//! engine                          Session: prepare -> execute -> merge; transactions; commits that span shards
//! rebalance                       moves of slots between shards, from stage to stage
//! shard::sqlite                   a SQLite file: dialect, functions, storage, store
//! shard::postgres                 a Postgres server: target, pool, conversation, transaction, schema
//! catalog  live_topology          the durable topology, and the one cell where an epoch is published
//! config   tls                    what an operator decides; certificates and keys, and their replacement
//! plan  system_catalog            pure: no IO, no clock, no randomness
//! sql   topology  wire  copying   pure, too
//! types  error                    vocabulary
//! ```
//!
//! # Life of a query
//!
//! 1. [`front::postgres`] authenticates a client, decodes its frames and owns its portals.
//! 2. [`engine::Session::prepare`]: [`sql`] lifts the literals out of the text, so that texts that differ only in values
//!    share one cached statement; otherwise it is parsed, [`plan`] decides which keys it can touch and how the rows of
//!    several shards are put together, and the shard's dialect translates it.
//! 3. [`engine::Session::execute`]: the parameters are decoded, and the plan's route becomes shards, with one snapshot
//!    of the topology.
//! 4. A Postgres shard gets the client's own text and values, where several run a part of it with other words spliced in, and its
//!    rows are passed on as they come ([`shard::postgres`]).
//!    [`shard::sqlite`] runs the translation and writes its rows as the frames that the client's socket will carry. One shard's rows
//!    are never decoded again; several shards' are merged as they stream, or grouped in a database in memory.
//! 5. What is written on several shards is committed on all or none. On SQLite shards it holds their writers, and records in
//!    the catalog what each has done; what a crash interrupts is finished on each shard before it serves again. On Postgres shards
//!    all but one prepare, that one commits the decision with its own work, and a resolver finishes what was interrupted.
//!
//! # Life of a move
//!
//! 1. [`rebalance::Rebalancer::start`] records it in the [`catalog`], with the first of its stages; its runner brings it from stage to stage
//!    (`rebalance::stages`), each written before it acts.
//! 2. Rows are copied between the shards over connections of the move's own, and what changes meanwhile is noted and copied again
//!    ([`shard::postgres::PostgresMove`]). The topology says that the copies are strays, and statements over several shards leave them out.
//! 3. The topology says that the slots are held: new statements wait. The giving shard's guards are closed, what was changed
//!    last is copied, and the taking shard decides that the slots are its own. The catalog and the topology follow.
//! 4. The rows are deleted where they were, once nobody can read them there.
//!
//! # Glossary
//!
//! - **slot**: one of 16,384 equal arcs of the hash space; the unit of ownership.
//! - **shard**: one database that holds rows. It has a name, a number for life, a URL and a weight.
//! - **ring**: the shards' points on the hash space; it proposes an owner for every slot.
//! - **move**: slots going from one shard to another. **strays**: rows of slots that their shard does not own, while a move runs.
//! - **topology**: the truth, numbered by **epoch**: slot -> shard, shards, keyspaces, tables.
//! - **keyspace**: tables that shard by the same key, and the shards that hold them.
//! - **strays**: rows on a shard that does not own their slots, while these move. Whatever reads or writes several shards leaves them
//!   out. **held** slots: new work on them waits, some moments, for their new owner.
//! - **sharded table**: has the keyspace's key column. **Reference table**: every shard has a full copy.
//! - **guard**: what refuses, on the shard itself, rows of slots that the shard does not own.
//! - **system catalog**: pg_catalog and information_schema, computed from the schema.
//! - **plan**: what to do with one statement. **route**: which keys it can touch. **scatter**: running it on several
//!   shards. **session**: one client's state. **door**: where clients or operators come in.
//! - **pin**: why a connection to a Postgres shard stays with one session: it pools by session, or has an advisory lock there, a
//!   temporary table, a channel that it listens to, a cursor.
//!
//! # Invariants
//!
//! - Invariant: no statement is answered approximately. What cannot be answered right is refused, with the reason.
//! - Invariant: a write is acknowledged only when it is on disk, and no write is ever sent twice.
//! - Invariant: a statement, and a transaction, that writes on several shards is applied on all or none, whatever crashes.
//! - Invariant: the file of a shard that held rows is never made anew, and a shard that is away misses nothing.
//! - Invariant: every sharded table carries its guard from the transaction that makes it, and no two shards' guards are given the
//!   same slot because a map says so.
//! - Invariant: a key is taken only from a predicate that every row of the answer must satisfy.
//! - Invariant: no key, value or statement's text is ever a metric's label; no secret reaches a log.

pub mod admin;
pub mod catalog;
pub mod config;
pub mod copying;
mod crash_point;
pub mod engine;
pub mod error;
pub mod front;
pub mod live_topology;
pub mod metrics;
pub mod plan;
pub mod rebalance;
pub mod server;
pub mod shard;
pub mod shardctl;
pub mod sql;
pub mod system_catalog;
pub mod tls;
pub mod topology;
pub mod types;
pub mod web;
pub mod wire;

/// The Postgres version whose behaviour is served, as `server_version` and `version()` tell it.
pub const SERVER_VERSION: &str = "15.18";
