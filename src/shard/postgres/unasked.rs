//! What a server sends without being asked, to a session that keeps its connection: notifications, reports of settings, and
//! that it ends.
//!
//! <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-ASYNC>

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes};

use super::backend::Backend;
use super::failure::violation;
use super::frames::Next;
use crate::error::{Error, Fault, Result, SqlState};
use crate::wire::response;

/// A notification's channel and payload together: Postgres allows 63 and 7,999 bytes.
const NOTIFICATION_LIMIT_BYTES: usize = 10_000;
/// What may come of them with one answer, while nobody can take any.
const WAITING_LIMIT_BYTES: usize = 16 << 20;
/// Notifications that are taken in one go at most, so that a stream of them ends somewhere.
const AT_ONCE: usize = 1_000;

/// A NOTIFY that the session listens for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// The server's process that sent it; `None`: the session's own.
    pub process: Option<i32>,
    /// Channel and payload, each with its zero byte, as the protocol has them.
    pub body: Bytes,
}

/// What came and was not taken yet.
#[derive(Debug, Default)]
pub(super) struct Unasked {
    notifications: Vec<Notification>,
    bytes: usize,
}

impl Backend {
    /// Takes a NotificationResponse.
    ///
    /// # Errors
    /// Nobody listens on this connection, there are too many, or it is malformed: it has to be closed.
    pub(super) fn note_notification(&mut self, mut body: Bytes) -> Result<()> {
        let own = self.process();
        let Some(unasked) = &mut self.unasked else { return Err(violation("a notification came, and nobody listens")) };
        if body.len() < 6 || body.len() > NOTIFICATION_LIMIT_BYTES {
            return Err(violation("a notification has a wrong length"));
        }
        unasked.bytes += body.len();
        if unasked.bytes > WAITING_LIMIT_BYTES {
            return Err(Error::new(
                SqlState::CONFIGURATION_LIMIT_EXCEEDED,
                format!("more than {WAITING_LIMIT_BYTES} bytes of notifications came while a statement ran"),
            )
            .fault(Fault::Proxy)
            .hint("Listen on a connection that runs no long statements."));
        }
        let process = body.get_i32();
        unasked.notifications.push(Notification { process: (process != own).then_some(process), body });
        Ok(())
    }

    /// What came since the last call.
    pub(super) fn take_unasked(&mut self) -> Vec<Notification> {
        self.unasked.as_mut().map(std::mem::take).unwrap_or_default().notifications
    }

    /// Takes the whole messages at the front of the input, while no answer is due.
    ///
    /// # Errors
    /// The server says that it ends the connection, or sent what nothing asked for.
    pub(super) fn absorb(&mut self) -> Result<()> {
        while let Next::Whole(_) = self.next()? {
            let Some(frame) = self.take_frame()? else { return Ok(()) };
            match frame.kind {
                b'A' => self.note_notification(frame.body)?,
                b'S' => _ = self.note_parameter(&frame.body)?,
                b'N' => {}
                b'E' => return Err(response::report(&frame.body)),
                kind => return Err(violation(format_args!("message {kind:#04x} came before any was due"))),
            }
        }
        Ok(())
    }

    /// Reads while nothing is due, as long as there is something to read. Ready when something was taken.
    pub(super) fn poll_unasked(&mut self, context: &mut Context<'_>) -> Poll<Result<()>> {
        loop {
            if let Err(error) = self.absorb() {
                return Poll::Ready(Err(error));
            }
            let taken = self.unasked.as_ref().map_or(0, |unasked| unasked.notifications.len());
            if taken >= AT_ONCE {
                return Poll::Ready(Ok(()));
            }
            let read = pin!(self.fill()).poll(context);
            match read {
                Poll::Ready(Ok(1..)) => {}
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(closed("the server closed the connection"))),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(closed(&error.to_string()))),
                Poll::Pending if taken > 0 => return Poll::Ready(Ok(())),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Takes what has come while nobody looked.
    ///
    /// # Errors
    /// The connection is lost.
    pub(super) fn settle(&mut self) -> Result<()> {
        match self.poll_unasked(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Err(error)) => Err(error),
            _ => Ok(()),
        }
    }
}

fn closed(reason: &str) -> Error {
    Error::new(SqlState::CONNECTION_FAILURE, reason).fault(Fault::Shard)
}
