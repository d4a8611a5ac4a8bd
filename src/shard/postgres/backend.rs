//! One connection to a shard: its start-up, its buffers, and the frames in them.
//!
//! <https://www.postgresql.org/docs/current/protocol-flow.html>

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};

use super::auth::{Channel, Login};
use super::cancel::CancelTarget;
use super::dial::{DialError, Encryption, dial, timed_out};
use super::failure::{unreachable, violation};
use super::frames::{Frame, Header, Next, next_frame};
use super::session_state::ConnectionState;
use super::stream::Stream;
use super::target::Target;
use super::unasked::Unasked;
use crate::error::{Error, Fault, Result, Retry, SqlState};
use crate::wire::response;

/// Room that a read finds, about.
const READ_BYTES: usize = 16 << 10;
/// Room for what a server says while it is sent rows.
const SHORT_READ_BYTES: usize = 1 << 10;
/// Room that a read finds once reads fill theirs: a long answer takes fewer of them.
const LONG_READ_BYTES: usize = 128 << 10;
/// A buffer that has grown past this is given up when the connection rests.
const RESTING_BUFFER_BYTES: usize = 32 << 10;
/// A frame that is taken whole is not longer; a longer one is taken in parts.
pub(super) const WHOLE_FRAME_LIMIT_BYTES: usize = 16 << 20;
/// As many settings as a server may report: Postgres reports fourteen.
const PARAMETERS_LIMIT: usize = 256;

const PROTOCOL_VERSION_3_0: u32 = 3 << 16;
const TERMINATE: &[u8] = b"X\0\0\0\x04";

/// A connection that was logged in.
#[derive(Debug)]
pub struct Backend {
    stream: Stream,
    /// What came in and was not taken yet. Always begins at a frame, but while one is taken in parts.
    pub(in crate::shard::postgres) input: BytesMut,
    /// What [`Backend::flush`] sends.
    pub(in crate::shard::postgres) output: BytesMut,
    /// Room for the next read.
    read_bytes: usize,
    /// What the server last reported of its settings.
    parameters: Vec<(String, String)>,
    cancel: CancelTarget,
    /// What the sessions that used it have left on it.
    pub(super) state: ConnectionState,
    /// ReadyForQuery messages that have still to come.
    pub(super) due: u32,
    /// A read or a write failed, or the server closed it.
    lost: bool,
    /// What of a cancel request there may be on its way.
    canceling: Canceling,
    /// Notifications that came, while a session keeps the connection. `None`: none may come.
    pub(super) unasked: Option<Unasked>,
}

/// How far a request to cancel what the connection runs has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Canceling {
    /// None was sent, or it has arrived: what it could have hit has ended.
    Settled,
    /// Nobody knows where it is: it may yet hit what the connection runs then.
    Adrift,
}

impl Backend {
    /// Connects, logs in, and reads to the first ReadyForQuery.
    ///
    /// # Errors
    /// There is no such connection within `deadline` or the target's own `connect_timeout`. What the server itself said
    /// keeps its message and SQLSTATE.
    pub async fn connect(target: &Arc<Target>, deadline: Duration) -> Result<Backend> {
        let deadline = Instant::now() + target.connect_timeout.map_or(deadline, |own| own.min(deadline));
        let mut first: Option<Error> = None;
        for encryption in Encryption::attempts(target) {
            match Backend::attempt(target, *encryption, deadline).await {
                Ok(backend) => return Ok(backend),
                Err(DialError::Unreachable(error)) => return Err(first.unwrap_or(error)),
                Err(DialError::Tls(error)) => first = Some(first.unwrap_or(error)),
            }
        }
        Err(first.unwrap_or_else(|| Error::internal("no way to connect was tried")))
    }

    async fn attempt(target: &Arc<Target>, encryption: Encryption, deadline: Instant) -> Result<Backend, DialError> {
        let stream = dial(target, encryption, deadline).await?;
        // With sslmode=prefer the server may have said no.
        let encryption = if stream.is_encrypted() { Encryption::Tls } else { Encryption::Plain };
        let cancel = CancelTarget::new(Arc::clone(target), encryption, 0, Bytes::new());
        let mut backend = Backend {
            stream,
            input: BytesMut::with_capacity(READ_BYTES),
            output: BytesMut::new(),
            read_bytes: READ_BYTES,
            parameters: Vec::new(),
            cancel,
            state: ConnectionState::default(),
            due: 0,
            lost: false,
            canceling: Canceling::Settled,
            unasked: None,
        };
        let started = timeout_at(deadline, backend.start(target, encryption)).await;
        let error = match started.unwrap_or_else(|_| Err(timed_out(target, "logging in"))) {
            Ok(()) => return Ok(backend),
            Err(error) => error,
        };
        // pg_hba.conf may have a line for this login only without TLS.
        let for_want_of_a_line = error.sqlstate() == SqlState::INVALID_AUTHORIZATION_SPECIFICATION;
        if for_want_of_a_line && encryption == Encryption::Tls {
            Err(DialError::Tls(error))
        } else {
            Err(DialError::Unreachable(error))
        }
    }

    async fn start(&mut self, target: &Arc<Target>, encryption: Encryption) -> Result<()> {
        put_startup(&mut self.output, target);
        self.log_in(target).await?;
        loop {
            let frame = self.next_of_startup(target).await?;
            match frame.kind {
                b'K' => {
                    let mut body = frame.body;
                    if !(8..=260).contains(&body.len()) {
                        return Err(violation("a cancel key has a wrong length"));
                    }
                    let process = body.get_u32();
                    self.cancel = CancelTarget::new(Arc::clone(target), encryption, process, body);
                }
                b'Z' if &frame.body[..] == b"I" => break,
                kind => return Err(violation(format_args!("message {kind:#04x} came at the start"))),
            }
        }
        self.pass_over_announcements()?;
        if self.parameter("client_encoding").is_some_and(|encoding| encoding != "UTF8") {
            return Err(unreachable(target, "the server does not speak UTF-8 with shardd")
                .hint("Create the shard's database with the encoding UTF8."));
        }
        Ok(())
    }

    async fn log_in(&mut self, target: &Target) -> Result<()> {
        let mut login = Login::new(target);
        loop {
            let frame = self.next_of_startup(target).await?;
            if frame.kind != b'R' {
                return Err(violation(format_args!("message {:#04x} came before the login was over", frame.kind)));
            }
            let channel = Channel { private: self.stream.is_private(), certificate: self.stream.server_certificate() };
            if login.take(&frame, channel, &mut self.output).await? {
                return Ok(());
            }
        }
    }

    /// What a server may send at any time, here right after its first ReadyForQuery.
    fn pass_over_announcements(&mut self) -> Result<()> {
        while let Some(frame) = self.take_frame()? {
            match frame.kind {
                b'S' => _ = self.note_parameter(&frame.body)?,
                b'N' => {}
                kind => return Err(violation(format_args!("message {kind:#04x} came before any was due"))),
            }
        }
        if self.input.is_empty() { Ok(()) } else { Err(violation("a message was cut short after the login")) }
    }

    /// The next message that is not a notice or a setting's report; an error message is the error.
    async fn next_of_startup(&mut self, target: &Target) -> Result<Frame> {
        let lost = |error: io::Error| unreachable(target, error);
        while !self.output.is_empty() {
            self.flush().await.map_err(lost)?;
        }
        loop {
            while let Some(frame) = self.take_frame()? {
                match frame.kind {
                    b'E' => return Err(refused(target, response::report(&frame.body))),
                    b'S' => _ = self.note_parameter(&frame.body)?,
                    b'N' => {}
                    b'v' => return Err(violation("the server wants to negotiate a version of the protocol")),
                    _ => return Ok(frame),
                }
            }
            if self.fill().await.map_err(lost)? == 0 {
                return Err(unreachable(target, "the server closed the connection during the login")
                    .hint("The server's log says why. Check that the shard's URL leads to a Postgres server."));
            }
        }
    }

    /// Reads once: how many bytes came; 0 when the server closed the connection. Safe to abandon.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn fill(&mut self) -> io::Result<usize> {
        poll_fn(|context| self.poll_fill(context)).await
    }

    /// As [`Backend::fill`].
    #[inline]
    pub(super) fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.input.capacity() - self.input.len() < self.read_bytes / 4 {
            self.input.reserve(self.read_bytes);
        }
        let read = ready!(pin!(self.stream.read_buf(&mut self.input)).poll(context));
        self.lost |= !matches!(read, Ok(1..));
        if self.input.len() == self.input.capacity() {
            self.read_bytes = LONG_READ_BYTES.min(self.read_bytes * 2);
        }
        Poll::Ready(read)
    }

    /// Ready when something may have come; otherwise the task is woken then.
    #[inline]
    pub(super) fn poll_readable(&self, context: &mut Context<'_>) -> Poll<()> {
        // A socket that cannot be watched is read, which says why.
        self.stream.poll_readable(context).map(|_| ())
    }

    /// Sends what `output` holds, in one write where the socket takes it. Safe to abandon: what was written has left
    /// `output`.
    ///
    /// # Errors
    /// The connection broke. What of the output has reached the server is unknown.
    #[inline]
    pub async fn flush(&mut self) -> io::Result<()> {
        let sent = self.send_output().await;
        self.lost |= sent.is_err();
        sent
    }

    /// Sends what the socket takes of `output` at once; the rest stays there. Under TLS all of it does.
    ///
    /// # Errors
    /// The connection broke. Nothing was sent.
    pub(super) fn try_flush(&mut self) -> io::Result<()> {
        match self.stream.try_write(&self.output) {
            Ok(sent) if sent == self.output.len() => self.output.clear(),
            Ok(sent) => self.output.advance(sent),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => {
                self.lost = true;
                return Err(error);
            }
        }
        Ok(())
    }

    /// Sends until no more than `low` bytes of `output` are left, or something has come. Safe to abandon.
    ///
    /// # Errors
    /// The connection broke, or the server closed it.
    pub(super) async fn write_down_to(&mut self, low: usize) -> io::Result<()> {
        let moved = poll_fn(|context| {
            while self.output.len() > low {
                match Pin::new(&mut self.stream).poll_write(context, &self.output) {
                    Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    Poll::Ready(Ok(written)) => self.output.advance(written),
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    // It may wait until what it says is taken.
                    Poll::Pending => return self.poll_read(context).map(|read| read.map(|_| ())),
                }
            }
            match Pin::new(&mut self.stream).poll_flush(context) {
                Poll::Pending => self.poll_read(context).map(|read| read.map(|_| ())),
                flushed => flushed,
            }
        });
        let moved = moved.await;
        self.lost |= moved.is_err();
        moved
    }

    /// Reads what has come already.
    ///
    /// # Errors
    /// The connection broke, or the server closed it.
    pub(super) fn read_at_once(&mut self) -> io::Result<()> {
        let mut context = Context::from_waker(Waker::noop());
        match self.poll_read(&mut context) {
            Poll::Ready(Err(error)) => {
                self.lost = true;
                Err(error)
            }
            _ => Ok(()),
        }
    }

    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.input.reserve(SHORT_READ_BYTES);
        match pin!(self.stream.read_buf(&mut self.input)).poll(context) {
            Poll::Ready(Ok(0)) => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            read => read,
        }
    }

    /// One buffer needs no vectored write, which costs more.
    async fn send_output(&mut self) -> io::Result<()> {
        while !self.output.is_empty() {
            match self.stream.write(&self.output).await? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                written => self.output.advance(written),
            }
        }
        self.stream.flush().await
    }

    /// What stands at the front of the input.
    ///
    /// # Errors
    /// No message begins so; the connection has to be closed.
    #[inline]
    pub fn next(&self) -> Result<Next> {
        next_frame(&self.input)
    }

    /// Takes the next message, once all of it is there. Its body shares the input's memory.
    ///
    /// # Errors
    /// No message begins so, or it is one that has to be taken in parts.
    pub fn take_frame(&mut self) -> Result<Option<Frame>> {
        match self.next()? {
            Next::Whole(Header { kind, frame_bytes }) => {
                let mut frame = self.input.split_to(frame_bytes).freeze();
                frame.advance(super::frames::HEADER_BYTES);
                Ok(Some(Frame { kind, body: frame }))
            }
            Next::Partial(header) if header.frame_bytes > WHOLE_FRAME_LIMIT_BYTES => {
                Err(violation(format_args!("a message of type '{}' is too long here", header.kind as char)))
            }
            Next::Partial(_) | Next::Short => Ok(None),
        }
    }

    /// How many bytes of whole frames stand at the front of the input before the first that `stop` names, and the header
    /// of that one, if it is there. A frame that has not arrived whole ends the run.
    ///
    /// # Errors
    /// One of them is no message; the connection has to be closed.
    #[inline]
    pub fn run(&self, mut stop: impl FnMut(u8) -> bool) -> Result<(usize, Next)> {
        let mut at = 0;
        loop {
            let next = next_frame(&self.input[at..])?;
            match next {
                Next::Whole(header) if !stop(header.kind) => at += header.frame_bytes,
                _ => return Ok((at, next)),
            }
        }
    }

    /// Takes up to `limit` bytes off the input, without copying: a run of frames, or a part of a long one.
    #[inline]
    pub fn take_bytes(&mut self, limit: usize) -> BytesMut {
        self.input.split_to(limit.min(self.input.len()))
    }

    /// Remembers a setting that the server reported (ParameterStatus). True: its value is new.
    ///
    /// # Errors
    /// The message is malformed.
    pub fn note_parameter(&mut self, body: &[u8]) -> Result<bool> {
        let (name, value) = response::parameter_status(body)?;
        if let Some((_, known)) = self.parameters.iter_mut().find(|(known, _)| known == name) {
            let is_new = known != value;
            value.clone_into(known);
            return Ok(is_new);
        }
        if self.parameters.len() == PARAMETERS_LIMIT {
            return Err(violation("too many settings are reported"));
        }
        self.parameters.push((name.to_owned(), value.to_owned()));
        Ok(true)
    }

    /// A setting's value, as the server last reported it.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// All settings that the server reports.
    pub fn parameters(&self) -> &[(String, String)] {
        &self.parameters
    }

    /// What to send a cancel request to.
    pub fn cancel_key(&self) -> CancelTarget {
        self.cancel.clone()
    }

    pub fn is_encrypted(&self) -> bool {
        self.stream.is_encrypted()
    }

    /// Where frames are written to be sent by [`Backend::flush`].
    pub fn output(&mut self) -> &mut BytesMut {
        &mut self.output
    }

    /// What came in and was not taken.
    pub fn input(&self) -> &[u8] {
        &self.input
    }

    /// Whether a read or a write failed, or the server closed the connection.
    pub fn is_lost(&self) -> bool {
        self.lost
    }

    /// The server's process that serves it.
    pub(super) fn process(&self) -> i32 {
        self.cancel.process().cast_signed()
    }

    /// Whether every message that was due has come and was taken. Behind them a session that listens may find notifications.
    pub(super) fn is_in_step(&self) -> bool {
        !self.lost && self.due == 0 && (self.input.is_empty() || self.unasked.is_some()) && self.output.is_empty()
    }

    /// Whether the connection holds nothing that the next client could take for its own, and nothing is on its way to it.
    pub(super) fn is_clean(&self) -> bool {
        self.is_in_step() && self.unasked.is_none() && self.canceling == Canceling::Settled
    }

    /// Whether the server still owes an answer that could be waited for.
    pub(super) fn is_busy(&self) -> bool {
        !self.lost && self.due > 0
    }

    /// Asks the server to cancel what the connection runs.
    ///
    /// # Errors
    /// The request is not known to have been passed on: the connection can end what it does, and is then closed.
    pub(super) async fn tell_to_cancel(&mut self, deadline: Duration) -> Result<()> {
        // Until it is known to have arrived, also when this is abandoned.
        self.canceling = Canceling::Adrift;
        self.cancel.send(deadline).await?;
        self.canceling = Canceling::Settled;
        Ok(())
    }

    /// Whether the server neither sent anything nor closed the connection while nobody used it. What came is lost.
    pub(super) fn is_quiet(&self) -> bool {
        self.stream.is_quiet()
    }

    /// Gives up what its buffers took for a large answer.
    pub(super) fn rest(&mut self) {
        self.read_bytes = READ_BYTES;
        for buffer in [&mut self.input, &mut self.output] {
            if buffer.capacity() > RESTING_BUFFER_BYTES {
                *buffer = BytesMut::new();
            }
        }
    }

    /// Closes the connection. A server that is told so does not log a lost client.
    pub(super) fn terminate(mut self) {
        if !self.lost && self.output.is_empty() {
            self.stream.write_now(TERMINATE);
        }
    }
}

fn put_startup(output: &mut BytesMut, target: &Target) {
    let begin = output.len();
    output.put_u32(0);
    output.put_u32(PROTOCOL_VERSION_3_0);
    let settings = [
        ("user", target.user.as_str()),
        ("database", &target.database),
        ("client_encoding", "UTF8"),
        ("application_name", &target.application_name),
        ("options", target.options.as_deref().unwrap_or_default()),
    ];
    for (name, value) in settings.into_iter().filter(|(_, value)| !value.is_empty()) {
        output.put_slice(name.as_bytes());
        output.put_u8(0);
        output.put_slice(value.as_bytes());
        output.put_u8(0);
    }
    output.put_u8(0);
    let length = (output.len() - begin) as u32;
    output[begin..begin + 4].copy_from_slice(&length.to_be_bytes());
}

/// The server's own words for why it serves no connection, and where to look.
fn refused(target: &Target, report: Error) -> Error {
    let sqlstate = report.sqlstate();
    let (fault, hint) = match sqlstate {
        SqlState::INVALID_PASSWORD => {
            (Fault::Proxy, "Check the user and the password (or password_file) in the shard's URL.")
        }
        SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
            (Fault::Proxy, "Check the user and sslmode in the shard's URL, and pg_hba.conf on the server.")
        }
        SqlState::INVALID_CATALOG_NAME => (Fault::Proxy, "Check the database's name in the shard's URL."),
        SqlState::TOO_MANY_CONNECTIONS => {
            (Fault::Shard, "Raise max_connections on the server, or lower the size of shardd's pool.")
        }
        _ => (Fault::Shard, "The server's log may say more."),
    };
    let told = format!("The server at {} said so when shardd connected.", target.address());
    let detail = report.get_detail().map_or(told.clone(), |detail| format!("{detail} {told}"));
    report.detail(detail).hint(hint).fault(fault).retry(Retry::Safe)
}
