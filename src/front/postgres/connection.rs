//! A client's socket and its two buffers.
//!
//! Answers are gathered and leave in as few writes as possible; rows are taken from the shards only as fast as the socket
//! takes them. Buffers grow with what has really arrived, and an idle client keeps none.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::coop::has_budget_remaining;

use super::peers::{Peer, Stage};
use super::spare;
use super::stream::Stream;
use crate::error::{Error, SqlState};

/// What is read at once, at least: most messages of most clients.
const READ_BYTES: usize = 4 * 1024;
/// And at most, when a client keeps filling what it is given.
const READ_LIMIT_BYTES: usize = 64 * 1024;
/// Answers are sent before they grow past this.
const OUTPUT_LIMIT_BYTES: usize = 64 * 1024;
/// Rows that come in batches of this size are sent from where they lie.
const COPY_LIMIT_BYTES: usize = 16 * 1024;

/// Why a connection ends.
#[derive(Debug)]
pub(super) enum Ended {
    /// The client said so, or was never one (a cancel request).
    Quietly,
    /// The client is gone.
    Lost(io::Error),
    /// The client is told why.
    Fatal(Error),
}

impl From<io::Error> for Ended {
    fn from(error: io::Error) -> Ended {
        Ended::Lost(error)
    }
}

impl Ended {
    pub(super) fn shutting_down() -> Ended {
        let message = "terminating connection due to administrator command";
        Ended::Fatal(Error::new(SqlState::ADMIN_SHUTDOWN, message))
    }

    pub(super) fn idle_in_transaction() -> Ended {
        let message = "terminating connection due to idle-in-transaction timeout";
        Ended::Fatal(Error::new(SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT, message))
    }
}

pub(super) struct Connection {
    pub(super) stream: Stream,
    pub(super) peer: Arc<Peer>,
    /// Received and not yet taken.
    pub(super) input: BytesMut,
    /// Written and not yet sent.
    pub(super) output: BytesMut,
    /// The client waits for what is in `output`: it is sent before this side waits for anything.
    pub(super) flush_due: bool,
    read_bytes: usize,
    /// The socket was found to have nothing, and wakes the client's task when something comes.
    watched: bool,
}

impl Connection {
    pub(super) fn new(stream: Stream, peer: Arc<Peer>) -> Connection {
        Connection {
            stream,
            peer,
            input: BytesMut::new(),
            output: BytesMut::new(),
            flush_due: false,
            read_bytes: READ_BYTES,
            watched: false,
        }
    }

    /// Reads what there is into `input`, for which room is made when something has come. Dropping the future loses nothing.
    ///
    /// # Errors
    /// The connection broke, or the client closed it (`UnexpectedEof`).
    pub(super) async fn read(&mut self) -> io::Result<()> {
        poll_fn(|context| self.poll_read(context)).await
    }

    /// As [`Connection::read`]. To be polled by the client's task alone.
    #[inline]
    pub(super) fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.watched {
            if !self.stream.is_readable() {
                return Poll::Pending;
            }
        } else {
            // A task whose turn is over is not told to the socket.
            let may_watch = has_budget_remaining();
            if self.stream.poll_readable(context)?.is_pending() {
                self.watched = may_watch;
                return Poll::Pending;
            }
        }
        self.watched = false;
        self.poll_read_now(context)
    }

    fn poll_read_now(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.input.capacity() == 0 {
            self.input = spare::take();
        }
        self.input.reserve(self.read_bytes);
        let room = self.input.capacity() - self.input.len();
        match ready!(pin!(self.stream.read_buf(&mut self.input)).poll(context))? {
            0 => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            read => {
                if read == room {
                    self.read_bytes = (self.read_bytes * 2).min(READ_LIMIT_BYTES);
                }
                Poll::Ready(Ok(()))
            }
        }
    }

    /// Sends what is in `output`, and leaves it empty.
    pub(super) async fn flush(&mut self) -> Result<(), Ended> {
        self.flush_due = false;
        if self.output.is_empty() {
            return Ok(());
        }
        tokio::select! {
            biased;
            written = send(&mut self.stream, &self.output) => written?,
            () = self.peer.reached(Stage::Closing) => return Err(Ended::shutting_down()),
        }
        self.output.clear();
        Ok(())
    }

    /// Sends the last words, which a shutdown does not cut off.
    pub(super) async fn flush_last(&mut self) -> io::Result<()> {
        send(&mut self.stream, &self.output).await
    }

    pub(super) async fn flush_if_due(&mut self) -> Result<(), Ended> {
        if self.flush_due { self.flush().await } else { Ok(()) }
    }

    /// Takes what was answered off the input.
    pub(super) fn take_input(&mut self, bytes: usize) {
        if bytes == self.input.len() {
            self.input.clear();
        } else {
            self.input.advance(bytes);
        }
    }

    /// What has gathered is worth a write of its own.
    pub(super) fn is_full(&self) -> bool {
        self.output.len() >= OUTPUT_LIMIT_BYTES
    }

    /// Room for answers that are written here.
    pub(super) fn make_room(&mut self) {
        if self.output.capacity() == 0 {
            self.output = spare::take();
        }
    }

    /// Adds whole frames to the output; large ones are sent at once, with what was there before them.
    pub(super) async fn send_frames(&mut self, frames: &[u8]) -> Result<(), Ended> {
        if frames.len() < COPY_LIMIT_BYTES {
            self.output.extend_from_slice(frames);
            return if self.is_full() { self.flush().await } else { Ok(()) };
        }
        let mut both = Buf::chain(&self.output[..], frames);
        let stream = &mut self.stream;
        let sending = async {
            stream.write_all_buf(&mut both).await?;
            stream.flush().await
        };
        tokio::select! {
            biased;
            written = sending => written?,
            () = self.peer.reached(Stage::Closing) => return Err(Ended::shutting_down()),
        }
        self.output.clear();
        Ok(())
    }

    /// Sends what the socket takes at once of what the client waits for.
    pub(super) fn send_now_if_due(&mut self) {
        if self.flush_due {
            self.send_now();
        }
    }

    fn send_now(&mut self) {
        match self.stream.try_write(&self.output) {
            Ok(sent) if sent == self.output.len() => {
                self.output.clear();
                self.flush_due = false;
            }
            Ok(sent) => self.output.advance(sent),
            // A connection that broke is found so by whoever waits for it.
            Err(_) => {}
        }
    }

    /// Adds whole frames that the client waits for to the output. They leave now, unless the client has sent more already,
    /// whose answers can go with them.
    pub(super) fn send_soon(&mut self, frames: &[u8]) {
        self.flush_due = true;
        if !self.output.is_empty() || !self.input.is_empty() {
            self.output.extend_from_slice(frames);
            if self.input.is_empty() {
                self.send_now();
            }
            return;
        }
        match self.stream.try_write(frames) {
            Ok(sent) if sent == frames.len() => self.flush_due = false,
            Ok(sent) => self.output.extend_from_slice(&frames[sent..]),
            Err(_) => self.output.extend_from_slice(frames),
        }
    }

    /// Gives back its buffers. To be called when nothing is under way.
    pub(super) fn rest(&mut self) {
        if self.input.is_empty() {
            spare::give(&mut self.input);
        }
        if self.output.is_empty() {
            spare::give(&mut self.output);
        }
        self.read_bytes = READ_BYTES;
    }

    /// Closes in a way that lets the client read the last message: closing a socket that still has unread input would
    /// discard what was sent.
    pub(super) async fn close(mut self, discard_limit_bytes: usize) {
        let _ = self.stream.shutdown().await;
        let mut discarded = 0;
        while discarded < discard_limit_bytes {
            self.input.clear();
            self.input.reserve(READ_BYTES);
            match self.stream.read_buf(&mut self.input).await {
                Ok(0) | Err(_) => return,
                Ok(read) => discarded += read,
            }
        }
    }
}

/// Writes everything. TLS may keep a part of what it took, until it is flushed; sockets have nothing to flush.
async fn send(stream: &mut Stream, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes).await?;
    stream.flush().await
}
