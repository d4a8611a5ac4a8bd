//! The tests that need a running server: one binary, a module for each subject.
//!
//! Each test starts its own shardd (and its own Postgres where it compares) in a temporary directory and on free ports,
//! so that all of them run at the same time and leave nothing behind. `support` holds what they share.

#![allow(unreachable_pub, reason = "nobody is outside of a test binary")]

mod support;

mod agreement;
mod cli;
mod concurrently;
mod connecting;
mod copies;
mod copy;
mod crash;
mod cursors;
mod deployment;
mod differential;
mod documents;
mod drivers;
mod faults;
mod fuzz;
mod gather;
mod guard;
mod guarded;
mod hash_golden;
mod held_slots;
mod http;
mod joining_empty;
mod kinds;
mod kinds_seen;
mod last_numbers;
mod lifecycle;
mod moving;
mod pass_through;
mod postgres_connections;
mod postgres_drift;
mod postgres_schema;
mod protocol;
mod replicas;
mod row_locks;
mod rust_drivers;
mod schema_change;
mod sequences;
mod session_leaks;
mod session_pooling;
mod shard_down;
mod spanning;
mod spliced;
mod support_works;
mod syntax;
mod system_catalog;
mod text_order;
mod tls_drivers;
mod tpch;
mod tricky;
mod two_phase;
mod writes_across;
