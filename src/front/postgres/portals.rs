//! A client's portals: statements with their parameters, ready to run or half read.
//!
//! The unnamed one, which almost every driver uses alone, costs no lookup. Portals end with their transaction.

use std::collections::HashMap;
use std::sync::Arc;

use crate::engine::{Answer, Formats, Prepared, RawParameters, RowBatch};
use crate::error::{Error, Result, SqlState};

/// Named portals that one client may hold open.
const PORTALS_LIMIT: usize = 1_000;

#[derive(Debug)]
pub(super) struct Portal {
    pub(super) prepared: Arc<Prepared>,
    pub(super) formats: Formats,
    pub(super) state: State,
}

#[derive(Debug)]
pub(super) enum State {
    Bound(RawParameters),
    /// Its row limit was reached: the rest comes from here.
    Suspended(Suspended),
    Finished,
}

#[derive(Debug)]
pub(super) struct Suspended {
    pub(super) answer: Answer,
    /// Rows that had arrived and were over the limit.
    pub(super) held: RowBatch,
}

#[derive(Debug, Default)]
pub(super) struct Portals {
    unnamed: Option<Portal>,
    named: HashMap<Box<str>, Portal>,
}

impl Portals {
    /// A Bind: the unnamed portal is replaced, a named one must be new.
    pub(super) fn bind(&mut self, name: &str, portal: Portal) -> Result<()> {
        if name.is_empty() {
            self.unnamed = Some(portal);
            return Ok(());
        }
        if self.named.contains_key(name) {
            return Err(Error::new(SqlState::DUPLICATE_CURSOR, format!("cursor \"{name}\" already exists")));
        }
        if self.named.len() >= PORTALS_LIMIT {
            let message = format!("too many open portals; the limit is {PORTALS_LIMIT}");
            return Err(Error::new(SqlState::CONFIGURATION_LIMIT_EXCEEDED, message).hint("Close portals after use."));
        }
        self.named.insert(name.into(), portal);
        Ok(())
    }

    pub(super) fn get(&self, name: &str) -> Result<&Portal> {
        let portal = if name.is_empty() { self.unnamed.as_ref() } else { self.named.get(name) };
        portal.ok_or_else(|| unknown(name))
    }

    /// Takes a portal out to run it; [`Portals::put_back`] keeps it.
    pub(super) fn take(&mut self, name: &str) -> Result<Portal> {
        self.close(name).ok_or_else(|| unknown(name))
    }

    pub(super) fn put_back(&mut self, name: &str, portal: Portal) {
        if name.is_empty() {
            self.unnamed = Some(portal);
        } else {
            self.named.insert(name.into(), portal);
        }
    }

    pub(super) fn close(&mut self, name: &str) -> Option<Portal> {
        if name.is_empty() { self.unnamed.take() } else { self.named.remove(name) }
    }

    /// The transaction ended.
    pub(super) fn clear(&mut self) {
        self.unnamed = None;
        if !self.named.is_empty() {
            self.named = HashMap::new();
        }
    }
}

fn unknown(name: &str) -> Error {
    Error::new(SqlState::INVALID_CURSOR_NAME, format!("portal \"{name}\" does not exist"))
}
