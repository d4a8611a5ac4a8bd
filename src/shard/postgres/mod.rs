//! Postgres servers as shards: how to reach one, one connection, and the pool that keeps them.
//!
//! What is said over a connection is not decided here. A [`Backend`] gives the frames that came in and sends those that
//! were written for it; whoever holds it knows from the protocol's state whether the next client may have it.
//!
//! Invariant: a connection is handed to the next client only by [`Pooled::give_back`], with nothing in its buffers. Every
//! other way in which it can be let go of closes it.

mod auth;
mod backend;
mod cancel;
mod certificate;
mod dial;
mod failure;
mod frames;
mod password;
mod pool;
mod stream;
mod target;
mod target_url;
#[cfg(test)]
mod tests;
mod tls;

pub use backend::{Backend, Moved};
pub use cancel::CancelTarget;
pub use frames::{Frame, Header, Next, next_frame};
pub use pool::{Pool, PoolLimits, PoolState, Pooled, Totals};
pub use stream::Stream;
pub use target::{Target, TargetError};
