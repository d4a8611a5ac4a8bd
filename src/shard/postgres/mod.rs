//! Postgres servers as shards.
//!
//! `target` says where one is, `dial` and `auth` reach it, `backend` is one connection, `pool` keeps them. Over a connection
//! goes a `conversation`: a `call` is written, its `exchange` is taken frame by frame, and `rows` leave as they came.
//! A `transaction` keeps its connection from the first statement to the end. `replica` serves what may be read there. [`PostgresShard`] is what the engine sees.
//!
//! A [`Backend`] gives the frames that came in and sends those that were written for it; whoever holds it knows from the
//! protocol's state whether the next client may have it.
//!
//! A session may keep connections of its own (`keeper`): for what it has there (`possessions`), and for what the server sends
//! it `unasked`.
//!
//! Invariant: a connection is handed to the next client only by [`Pooled::give_back`], with nothing in its buffers. Every
//! other way in which it can be let go of closes it.

mod auth;
mod backend;
mod call;
mod cancel;
mod certificate;
mod clean;
mod conversation;
mod copying;
mod dial;
mod exchange;
mod failure;
mod frames;
mod gathering;
pub mod guard;
mod hazards;
mod in_doubt;
mod keeper;
mod moving;
mod own_connection;
mod pass_through;
mod password;
mod pool;
mod possessions;
mod program;
mod replica;
mod rows;
pub mod schema;
mod session_state;
mod shard;
mod stream;
mod takers;
#[cfg(test)]
mod tests;
mod tls;
mod told;
mod transaction;
mod two_phase;
mod unasked;
mod work_lock;
mod worker;

use crate::topology::server as target;
pub use crate::topology::server::{Target, TargetError};
pub use backend::Backend;
pub use call::{Aftermath, Call, OnReplica, StatementName, Way};
pub use cancel::CancelTarget;
pub use copying::CopyStream;
pub use frames::{Frame, Header, Next, next_frame};
pub use gathering::{Gathering, Load};
pub use hazards::Hazards;
pub use in_doubt::{DecisionRow, InDoubt, LockWait, Outcome};
pub use keeper::Keeper;
pub use moving::{Copied, Fate, MoveParts, PostgresMove, ShardedTable};
pub use own_connection::{OwnConnection, TextRows};
pub use pass_through::{Form, Looked, PassThrough};
pub use pool::{Pool, PoolLimits, PoolState, Pooled, Totals, Use};
pub use possessions::Possessions;
pub use program::{Description, Program};
pub use replica::{ReplicaState, Replicas};
pub use rows::RowStream;
pub use session_state::{SessionSettings, quoted};
pub use shard::{PostgresShard, TextTreatment, numbers_of};
pub use stream::Stream;
pub use told::Told;
pub use transaction::PostgresTransaction;
pub use two_phase::{DecidingTransaction, Decision, PreparedTransaction, Undecided, Unprepared};
pub use unasked::Notification;
pub use work_lock::WorkLock;
pub use worker::become_worker;
