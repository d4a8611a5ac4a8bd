//! What a client of a session that keeps connections is told though it asked nothing: notifications, and that it has lost what
//! it had.
//!
//! <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-ASYNC>

use std::sync::Arc;

use super::client::Client;
use super::connection::Ended;
use super::peers::Stage;
use crate::engine::TransactionStatus;
use crate::error::{Error, SqlState};
use crate::wire::backend;

impl Client<'_> {
    /// Writes what has come. As in Postgres, nothing is told within a transaction.
    ///
    /// # Errors
    /// The session cannot go on: its client is told why.
    pub(super) fn tell_events(&mut self, status: TransactionStatus) -> Result<(), Ended> {
        if let Some(error) = self.session.broken() {
            return Err(Ended::Fatal(error));
        }
        if status == TransactionStatus::Idle {
            for (process, body) in self.session.take_notifications() {
                backend::notification_response(&mut self.connection.output, process, &body);
            }
        }
        Ok(())
    }

    /// Waits for the client's next message, between its transactions, and tells it meanwhile what comes for it.
    pub(super) async fn wait_for_input_or_event(&mut self) -> Result<(), Ended> {
        let limit = self.shared.sessions.idle_timeout;
        let peer = Arc::clone(&self.connection.peer);
        let deadline = limit.and_then(|limit| tokio::time::Instant::now().checked_add(limit));
        loop {
            self.tell_events(TransactionStatus::Idle)?;
            // A client that takes nothing is sent nothing more, and the server keeps the rest.
            self.connection.flush().await?;
            self.connection.rest();
            let wait = async {
                tokio::select! {
                    biased;
                    () = peer.reached(Stage::Draining) => Err(Ended::shutting_down()),
                    read = self.connection.read() => Ok(Some(read?)),
                    () = self.session.event() => Ok(None),
                }
            };
            let waited = match deadline {
                None => wait.await,
                Some(deadline) => {
                    tokio::time::timeout_at(deadline, wait).await.unwrap_or_else(|_| Err(idle_too_long()))
                }
            };
            if waited?.is_some() {
                return Ok(());
            }
        }
    }
}

fn idle_too_long() -> Ended {
    let message = "terminating connection due to idle-session timeout";
    Ended::Fatal(Error::new(SqlState::IDLE_SESSION_TIMEOUT, message))
}
