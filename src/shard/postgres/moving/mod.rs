//! A move's work on two Postgres shards: the one that gives rows, and the one that takes them.
//!
//! When each step is taken is decided above; what it does, and that it can be repeated, is here: one file for each. The
//! connections are the move's own. Every transaction that writes begins with the move's `token`.
//!
//! Invariant: what the taking shard has of the moving slots is what the giving shard has, but for the rows whose keys `capture`
//! has noted, once a table is copied.

mod capture;
mod catch_up;
mod copy;
mod fence;
mod prepare;
mod remove;
mod session;
mod table;
mod token;
mod verify;

pub use copy::Copied;
pub use fence::Fate;
pub use table::ShardedTable;

use super::target::Target;
use crate::topology::SlotSet;
use session::MovingSession;
use table::MovedTable;
use token::Token;

/// What is to be known to work on a move.
#[derive(Debug)]
pub struct MoveParts {
    pub id: i64,
    pub cluster: String,
    pub keyspace: String,
    /// Nobody else's.
    pub token: String,
    /// The giving shard's name and server.
    pub from: (String, Target),
    /// The taking shard's.
    pub to: (String, Target),
    pub slots: SlotSet,
    /// Every sharded table of the keyspace.
    pub tables: Vec<ShardedTable>,
}

/// A move, as its two shards see it.
#[derive(Debug)]
pub struct PostgresMove {
    id: i64,
    token: Token,
    source: MovingSession,
    target: MovingSession,
    slots: SlotSet,
    wanted: Vec<ShardedTable>,
    /// As both shards have them; empty before [`PostgresMove::open`].
    tables: Vec<MovedTable>,
    /// Rows of a chunk, as the last ones' sizes suggest.
    chunk_rows: u64,
}

impl PostgresMove {
    pub fn new(parts: MoveParts) -> PostgresMove {
        let name = format!("{}/{}", parts.cluster, parts.id);
        PostgresMove {
            id: parts.id,
            token: Token { keyspace: parts.keyspace, name, token: parts.token },
            source: MovingSession::new(&parts.from.0, parts.from.1),
            target: MovingSession::new(&parts.to.0, parts.to.1),
            slots: parts.slots,
            wanted: parts.tables,
            tables: Vec::new(),
            chunk_rows: copy::FIRST_CHUNK_ROWS,
        }
    }

    /// The tables' names, in the order of the numbers that the other functions take.
    pub fn table_names(&self) -> impl Iterator<Item = &str> {
        self.wanted.iter().map(|table| &*table.name)
    }

    pub fn table_count(&self) -> usize {
        self.wanted.len()
    }

    /// The sharded tables that it was made for.
    pub fn is_of(&self, tables: &[ShardedTable]) -> bool {
        self.wanted == tables
    }
}
