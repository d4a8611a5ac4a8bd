//! Writes of a pipeline that are handed to their shard before the last was answered.
//!
//! A client that sends Bind, Execute and Sync again and again without waiting for the answers would otherwise wait for the
//! disk once for each. The answers are put together in the order of the messages.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;

use super::client::Client;
use super::connection::Ended;
use super::extended::command_complete;
use super::peers::Stage;
use crate::engine::{Prepared, RawParameters, Submitted};
use crate::wire::backend::{self, Severity};
use crate::wire::next_is_sync;

/// Writes that one client may have handed on.
const AHEAD_LIMIT: usize = 64;

/// A Sync is its kind and its length.
const SYNC_BYTES: usize = 5;

/// Writes that are not answered yet, and how much of the output comes before each one's answer.
pub(super) type Ahead = VecDeque<(usize, Submitted)>;

/// Bind, Describe, Execute, Close and Sync: what they answer does not depend on the outcome of the writes before them.
fn goes_along(kind: u8) -> bool {
    matches!(kind, b'B' | b'C' | b'D' | b'E' | b'S')
}

impl Client<'_> {
    /// Hands a write on, if the client has sent more behind its Sync already and nothing forbids it.
    ///
    /// # Errors
    /// The parameters: it is to be run in its turn.
    pub(super) async fn hand_on(
        &mut self,
        prepared: &Arc<Prepared>,
        parameters: RawParameters,
    ) -> Result<Result<(), RawParameters>, Ended> {
        if !self.is_pipelined() || !self.session.may_submit(prepared) {
            return Ok(Err(parameters));
        }
        if self.ahead.is_empty() {
            // The client may wait for what was answered before, and need not wait for the disk.
            self.connection.flush_if_due().await?;
        }
        let last = self.ahead.back().map(|(_, submitted)| submitted);
        let submitted = self.session.submit(prepared, parameters, last);
        Ok(submitted.map(|submitted| self.ahead.push_back((self.connection.output.len(), submitted))))
    }

    /// More comes behind this statement and its Sync, or came before it.
    fn is_pipelined(&self) -> bool {
        let input = &self.connection.input;
        (!self.ahead.is_empty() || input.len() > SYNC_BYTES)
            && next_is_sync(input)
            && !self.in_batch
            && self.ahead.len() < AHEAD_LIMIT
            && self.statement_deadline().is_none()
    }

    /// Before a message that does not go along with writes that were handed on.
    pub(super) async fn settle_before(&mut self, kind: u8) -> Result<(), Ended> {
        if self.ahead.is_empty() || goes_along(kind) { Ok(()) } else { self.settle().await }
    }

    /// Waits for the writes that were handed on, and puts their answers where they belong.
    pub(super) async fn settle(&mut self) -> Result<(), Ended> {
        if self.ahead.is_empty() {
            return Ok(());
        }
        // Its state would otherwise take room in every client's task.
        Box::pin(self.settle_all()).await
    }

    /// Nobody looks whether the client is still there: its writes were sent, and are done.
    async fn settle_all(&mut self) -> Result<(), Ended> {
        let written = self.connection.output.split();
        let (mut at, mut closing) = (0, false);
        while let Some((end, submitted)) = self.ahead.pop_front() {
            self.connection.output.extend_from_slice(&written[at..end]);
            at = end;
            let mut settling = pin!(self.session.settle(submitted));
            let answered = loop {
                tokio::select! {
                    biased;
                    answered = &mut settling => break answered,
                    () = self.connection.peer.reached(Stage::Closing), if !closing => {
                        closing = true;
                        self.cancel.cancel();
                    }
                }
            };
            let output = &mut self.connection.output;
            match answered {
                Ok(answer) => command_complete(output, &answer, 0),
                Err(error) => backend::error_response(output, Severity::Error, &error),
            }
        }
        self.connection.output.extend_from_slice(&written[at..]);
        if closing { Err(Ended::shutting_down()) } else { Ok(()) }
    }
}
