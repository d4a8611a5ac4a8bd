//! A session's prepared statements by their names: found for less than it takes to run one.

use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::session::Session;
use super::statement::Prepared;
use crate::error::{Error, Result, SqlState};

/// Hashes names from a start that nobody knows: without it, nobody can choose names that meet. A session may have thousands.
#[derive(Clone, Debug)]
pub(super) struct ByName {
    seed: u64,
}

impl Default for ByName {
    fn default() -> ByName {
        ByName { seed: rand::random() }
    }
}

impl BuildHasher for ByName {
    type Hasher = NameHasher;

    #[inline]
    fn build_hasher(&self) -> NameHasher {
        NameHasher(self.seed)
    }
}

#[derive(Debug)]
pub(super) struct NameHasher(u64);

impl Hasher for NameHasher {
    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }

    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64_with_seed(bytes, self.0);
    }

    /// A text's end.
    #[inline]
    fn write_u8(&mut self, _: u8) {}
}

impl Session {
    /// Keeps a statement under a name, which SQL's PREPARE and the protocol's Parse share. The unnamed one is "" and is
    /// replaced freely.
    ///
    /// # Errors
    /// 42P05 when the name is taken.
    pub fn store_statement(&mut self, name: &str, prepared: Arc<Prepared>) -> Result<()> {
        if !name.is_empty() && self.statements.contains_key(name) {
            self.fail();
            return Err(Error::new(
                SqlState::DUPLICATE_PREPARED_STATEMENT,
                format!("prepared statement \"{name}\" already exists"),
            ));
        }
        let limit = self.engine.limits.prepared_statements_per_session;
        if self.statements.len() >= limit {
            self.fail();
            return Err(Error::new(
                SqlState::CONFIGURATION_LIMIT_EXCEEDED,
                format!("a session can hold {limit} prepared statements"),
            )
            .hint(
                "Close or DEALLOCATE those that are no longer used, or raise limits.prepared_statements_per_session.",
            ));
        }
        prepared.name();
        self.statements.insert(name.to_owned(), prepared);
        Ok(())
    }

    /// # Errors
    /// 26000 for an unknown name.
    pub fn statement(&self, name: &str) -> Result<Arc<Prepared>> {
        self.statements.get(name).cloned().ok_or_else(|| {
            let message = match name {
                "" => "unnamed prepared statement does not exist".to_owned(),
                name => format!("prepared statement \"{name}\" does not exist"),
            };
            Error::new(SqlState::INVALID_SQL_STATEMENT_NAME, message)
        })
    }

    /// The same, where an unknown one is told elsewhere.
    pub fn known_statement(&self, name: &str) -> Option<&Arc<Prepared>> {
        self.statements.get(name)
    }

    /// Closing a name that does not exist is no error, as in the protocol.
    pub fn close_statement(&mut self, name: &str) {
        self.statements.remove(name);
    }
}
