//! What the two HTTP doors share: a bounded listener, request ids, problem+json, and who may come in.
//!
//! Knows nothing of SQL or shards. The doors give it a router; everything around it (bounds, ids, the log line, errors
//! as problem+json) is the same for clients and for operators.

mod access;
mod frame;
mod listener;
mod problem;
mod time;

pub use access::{AllowedHosts, Secret};
pub use frame::{Frame, OwnBody, RequestId, read_body, read_json};
pub use listener::{ConnectionLimits, Listener};
pub use problem::{PROBLEM_JSON, Problem, ProblemFields};
pub use time::rfc3339;
