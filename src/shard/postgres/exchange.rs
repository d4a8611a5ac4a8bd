//! What a shard answers to one statement, taken frame by frame.
//!
//! Every message that was sent has its answer, in order, up to the ReadyForQuery that ends the exchange: on this rests
//! that no row is ever taken for another statement's. Whatever does not fit ends the connection.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::time::Instant;

use super::backend::Backend;
use super::frames::{Next, next_frame};
use super::program::{Described, Description, Program};
use crate::error::{Error, Fault, Result, SqlState};
use crate::shard::{OutputColumn, RowBatch};
use crate::wire::backend::Readiness;
use crate::wire::response;

/// How far an exchange has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// More has to arrive.
    Going,
    /// The shard waits for rows.
    TakesRows,
    /// ReadyForQuery came.
    Ended,
}

/// One exchange under way.
#[derive(Debug)]
pub(super) struct Exchange {
    program: Option<Arc<Program>>,
    /// Commands that were sent before the statement, in the same exchange: BEGIN.
    before: u32,
    /// The prepared statement that a ParseComplete makes known.
    preparing: Option<u64>,
    /// The prepared statement that a CloseComplete makes forgotten.
    closing: Option<u64>,
    /// It is a COPY that the shard was asked for.
    takes_rows: bool,
    pub(super) described: Option<Described>,
    pub(super) parameter_oids: Option<Vec<u32>>,
    pub(super) affected: u64,
    /// What was to end a transaction has rolled it back.
    pub(super) rolled_back: bool,
    pub(super) notices: Vec<Error>,
    pub(super) error: Option<Error>,
    /// Of the ReadyForQuery, once it came.
    pub(super) status: Option<Readiness>,
    /// The shard was told to cancel it, and its answer is waited for until then.
    pub(super) give_up_at: Option<Instant>,
}

impl Exchange {
    pub(super) fn new(program: Option<Arc<Program>>) -> Exchange {
        Exchange {
            program,
            before: 0,
            preparing: None,
            closing: None,
            takes_rows: false,
            described: None,
            parameter_oids: None,
            affected: 0,
            rolled_back: false,
            notices: Vec::new(),
            error: None,
            status: None,
            give_up_at: None,
        }
    }

    /// After commands that go before the statement.
    pub(super) fn after(mut self, commands: u32) -> Exchange {
        self.before = commands;
        self
    }

    /// Its Parse gives the connection a prepared statement.
    pub(super) fn preparing(mut self, statement: u64) -> Exchange {
        self.preparing = Some(statement);
        self
    }

    /// It closes a prepared statement first.
    pub(super) fn closing(mut self, statement: u64) -> Exchange {
        self.closing = Some(statement);
        self
    }

    /// It is COPY FROM STDIN.
    pub(super) fn taking_rows(mut self) -> Exchange {
        self.takes_rows = true;
        self
    }

    pub(super) fn ended(&self) -> bool {
        self.status.is_some()
    }

    /// The statement's description, after one was asked for.
    pub(super) fn description(self) -> Description {
        let (columns, row_description) = self.columns();
        let parameter_oids = self.parameter_oids.unwrap_or_default();
        Description { sent_oids: parameter_oids.clone(), parameter_oids, columns, row_description }
    }

    /// Takes what has arrived, up to the end of the exchange; rows are added to `rows`.
    ///
    /// # Errors
    /// The shard broke the protocol: the connection has to be closed.
    pub(super) fn advance(&mut self, backend: &mut Backend, rows: &mut RowBatch) -> Result<Progress> {
        loop {
            let Next::Whole(header) = next_frame(&backend.input)? else { return Ok(Progress::Going) };
            if header.kind == b'D' && self.before == 0 {
                take_rows(&mut backend.input, rows)?;
                continue;
            }
            let frame = backend.input.split_to(header.frame_bytes);
            let body = &frame[5..];
            match header.kind {
                b'1' if self.before == 0 => {
                    if let Some(statement) = self.preparing.take() {
                        backend.state.prepared(statement);
                    }
                }
                b'3' => self.closing = None,
                b'1' | b'2' | b'n' => {}
                b'T' => self.described = Some(self.read_description(&frame)?),
                b't' => self.parameter_oids = Some(response::parameter_description(body)?),
                b'C' if self.before > 0 => self.before -= 1,
                b'C' => {
                    self.affected = response::affected_rows(body)?;
                    self.rolled_back = body == b"ROLLBACK\0";
                }
                b'I' => {}
                b'E' => {
                    let error = response::report(body);
                    self.error.get_or_insert(error);
                }
                b'N' => self.notices.push(response::report(body)),
                b'S' => _ = backend.note_parameter(body)?,
                b'A' => backend.note_notification(frame.freeze().slice(5..))?,
                b'G' if self.takes_rows => return Ok(Progress::TakesRows),
                b'Z' => {
                    self.status = Some(response::ready_for_query(body)?);
                    backend.due = backend.due.saturating_sub(1);
                    if let Some(statement) = self.closing.take() {
                        // An error before it had it passed over: the connection still knows the statement.
                        backend.state.prepared(statement);
                    }
                    return Ok(Progress::Ended);
                }
                other => return Err(unexpected(other)),
            }
        }
    }

    fn read_description(&self, frame: &[u8]) -> Result<Described> {
        match &self.program {
            Some(program) => program.described(frame),
            None => Described::read(frame),
        }
    }

    /// What the rows' columns are, to be told with them.
    pub(super) fn columns(&self) -> (Option<Arc<[OutputColumn]>>, Option<Bytes>) {
        match &self.described {
            Some(Described { frame, columns }) => (Some(Arc::clone(columns)), Some(frame.clone())),
            None => (None, None),
        }
    }
}

/// Moves the whole rows at the front of the input, which are left where they lie.
fn take_rows(input: &mut BytesMut, rows: &mut RowBatch) -> Result<()> {
    let mut end = 0;
    let mut count = 0;
    while let Next::Whole(header) = next_frame(&input[end..])? {
        if header.kind != b'D' {
            break;
        }
        end += header.frame_bytes;
        count += 1;
    }
    let frames = input.split_to(end);
    if rows.frames.is_empty() {
        rows.frames = frames;
    } else {
        rows.frames.unsplit(frames);
    }
    rows.rows += count;
    Ok(())
}

/// A client's COPY is never sent.
fn unexpected(kind: u8) -> Error {
    Error::new(
        SqlState::PROTOCOL_VIOLATION,
        format!("a shard sent a message of type '{}' that nothing had asked for", kind.escape_ascii()),
    )
    .fault(Fault::Shard)
    .hint("The connection to it was closed. Please report the statement that caused it.")
}
