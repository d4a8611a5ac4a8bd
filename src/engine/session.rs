//! One client's state, and the path of its statements.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::answer::Answer;
use crate::error::{Error, Result};
use crate::shard::sqlite::{Formats, OutputColumn};
use crate::types::{Format, PgType};

/// What all sessions share.
pub struct Engine {}

/// Who a session is for.
#[derive(Clone, Debug)]
pub struct Identity {
    pub user: String,
    pub database: String,
    /// The door, as a metric's label: `postgres`, `http`.
    pub door: &'static str,
    /// What `pg_backend_pid()` answers: the number that the client was given to cancel by, or 0.
    pub backend_pid: i32,
}

pub struct Session {}

/// A statement that was parsed, planned and translated, and the literals of the text it came from.
#[derive(Debug)]
pub struct Prepared {}

impl Prepared {
    /// The types of the client's own parameters, declared or inferred.
    pub fn parameters(&self) -> &[PgType] {
        todo!()
    }

    /// `None` when the statement returns no rows.
    pub fn columns(&self) -> Option<Arc<[OutputColumn]>> {
        todo!()
    }

    /// The text has no statement in it (`;`, or only a comment): answered by EmptyQueryResponse.
    pub fn is_empty(&self) -> bool {
        todo!()
    }
}

/// A Bind message's parameters, not yet decoded.
#[derive(Debug, Default)]
pub struct RawParameters {
    /// None: all text. One: for all. Otherwise one for each.
    pub formats: Vec<Format>,
    /// `None` is NULL.
    pub values: Vec<Option<Bytes>>,
}

/// Whether a statement stands alone between two synchronisation points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Outside BEGIN it commits by itself.
    Alone,
    /// Others may precede or follow it before the next [`Session::end_batch`]: outside BEGIN they are one transaction.
    Batch,
}

/// As ReadyForQuery tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionStatus {
    Idle,
    Active,
    Failed,
}

/// Ends a session's running statement with 57014, from any thread; nothing happens when none is running.
#[derive(Clone, Debug)]
pub struct CancelHandle {}

impl CancelHandle {
    pub fn cancel(&self) {
        todo!()
    }
}

impl Engine {
    /// A session for an authenticated client. `settings` are the start-up message's (`TimeZone`, `application_name`, ...);
    /// unknown ones are kept and ignored.
    ///
    /// # Errors
    /// The database does not exist, or a setting has a value it cannot have.
    pub fn session(self: &Arc<Self>, _identity: Identity, _settings: &[(String, String)]) -> Result<Session> {
        todo!()
    }
}

impl Session {
    pub fn status(&self) -> TransactionStatus {
        todo!()
    }

    pub fn cancel_handle(&self) -> CancelHandle {
        todo!()
    }

    /// The client's own `statement_timeout`, which the door applies. `None`: it set none; zero: no limit.
    pub fn statement_timeout(&self) -> Option<Duration> {
        todo!()
    }

    /// The client's own `idle_in_transaction_session_timeout`, as above.
    pub fn idle_in_transaction_timeout(&self) -> Option<Duration> {
        todo!()
    }

    /// Settings to report with ParameterStatus: all of them after start-up, then those that changed since the last call.
    pub fn take_changed_settings(&mut self) -> Vec<(String, String)> {
        todo!()
    }

    /// Notices and warnings since the last call (`there is no transaction in progress`), to send before the answer.
    pub fn take_notices(&mut self) -> Vec<Error> {
        todo!()
    }

    /// Splits a simple query's text into statements and prepares none of them yet.
    ///
    /// # Errors
    /// The text has a token that Postgres's lexer would refuse (an unterminated string).
    pub fn split<'a>(&self, _text: &'a str) -> Result<Vec<&'a str>> {
        todo!()
    }

    /// Parses, plans and translates one statement. In a failed transaction only its end can be prepared.
    pub async fn prepare(&mut self, _text: &str, _declared: &[Option<PgType>]) -> Result<Arc<Prepared>> {
        todo!()
    }

    /// Runs a statement. An error leaves an open transaction failed.
    pub async fn execute(
        &mut self,
        _prepared: &Arc<Prepared>,
        _parameters: RawParameters,
        _formats: Formats,
        _scope: Scope,
    ) -> Result<Answer> {
        todo!()
    }

    /// Sync, or the end of a simple query: commits what a batch wrote outside BEGIN, or rolls it back after a failure.
    pub async fn end_batch(&mut self) -> Result<()> {
        todo!()
    }

    /// The connection's named statements, which SQL's PREPARE and the protocol's Parse share. The unnamed one is "".
    pub fn store_statement(&mut self, _name: &str, _prepared: Arc<Prepared>) -> Result<()> {
        todo!()
    }

    pub fn statement(&self, _name: &str) -> Result<Arc<Prepared>> {
        todo!()
    }

    pub fn close_statement(&mut self, _name: &str) {
        todo!()
    }

    /// Marks an open transaction failed: the door met an error that the engine did not see.
    pub fn fail(&mut self) {
        todo!()
    }
}
