//! The Postgres protocol as bytes: what clients send, decoded, and what a server answers, encoded; and, for Postgres
//! shards, the other way round (`request`, `response`).
//!
//! It knows no SQL, no socket, no clock and no randomness, so that every way in which a hostile peer can bend a frame is
//! tested here, without a server. Lengths are checked against a limit before anything is allocated for them, and a
//! decoded message borrows from the frame that it came in.
//!
//! <https://www.postgresql.org/docs/current/protocol.html>

pub mod backend;
mod body;
pub mod certificate;
mod frame;
pub mod frontend;
pub mod md5;
pub mod request;
pub mod response;
pub mod scram;
pub mod startup;

pub use frame::{Frame, Limits, STARTUP_LIMIT_BYTES, next_is_sync, take_frame, take_startup_packet, whole_frame};
