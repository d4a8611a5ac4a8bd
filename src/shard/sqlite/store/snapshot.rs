//! A snapshot that a reader keeps from one short read to the next, as long as nothing is committed.
//!
//! To begin and to end a snapshot costs a point read more than the read itself: locks of the file, and a look at the
//! log's head. One that was begun after the newest commit is as good as a new one.

use std::cell::Cell;

use rusqlite::Connection;

/// What a reader's connection keeps.
#[derive(Debug, Default)]
pub(super) struct KeptSnapshot(Cell<Kept>);

/// Commits are counted: see [`super::shared::Shared::committed`].
#[derive(Clone, Copy, Debug)]
enum Kept {
    /// Nothing: the last read saw this many commits, at least.
    Nothing { commits: u64 },
    /// An open transaction, begun when this many commits were visible.
    Open { commits: u64 },
}

impl Default for Kept {
    fn default() -> Kept {
        Kept::Nothing { commits: u64::MAX }
    }
}

impl KeptSnapshot {
    /// Before a read that must see `commits`: goes on with the snapshot that has them, or ends it. One is kept from the
    /// second read on that finds nothing new, so that nobody pays for it while others write.
    pub(super) fn renew(&self, connection: &Connection, commits: u64) -> rusqlite::Result<()> {
        match self.0.get() {
            Kept::Open { commits: seen } if seen == commits => Ok(()),
            Kept::Open { .. } => {
                self.end(connection)?;
                self.0.set(Kept::Nothing { commits });
                Ok(())
            }
            Kept::Nothing { commits: seen } if seen == commits => {
                connection.prepare_cached("BEGIN")?.execute([])?;
                self.0.set(Kept::Open { commits });
                Ok(())
            }
            Kept::Nothing { .. } => {
                self.0.set(Kept::Nothing { commits });
                Ok(())
            }
        }
    }

    /// Keeps nothing any more: the log can begin anew, and a statement of another kind its own transaction.
    pub(super) fn end(&self, connection: &Connection) -> rusqlite::Result<()> {
        if let Kept::Open { .. } = self.0.get() {
            connection.prepare_cached("COMMIT")?.execute([])?;
            self.0.set(Kept::default());
        }
        Ok(())
    }
}
