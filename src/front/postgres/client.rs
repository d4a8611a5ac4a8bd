//! An authenticated client's conversation: message in, call on the session, frames out.
//!
//! [`Client::run`] is the loop; the two ways to run statements are in `simple` and `extended`. After an error in the
//! extended protocol everything is skipped up to the next Sync, and every Sync or simple query is answered by exactly one
//! ReadyForQuery: on these two rules rests that no answer is ever taken for another statement's.

use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::time::Instant;
use tracing::debug;

use super::ahead::Ahead;
use super::alarm::Alarm;
use super::connection::{Connection, Ended};
use super::handshake::{Admitted, handshake};
use super::pass_through;
use super::peers::{Registration, Stage};
use super::portals::Portals;
use super::stream::Origin;
use super::{Arrival, Pooling, Shared};
use crate::engine::{CancelHandle, Identity, PassThrough, Prepared, Scope, Session, TransactionStatus};
use crate::error::{Error, Result, SqlState};
use crate::metrics::DoorMetrics;
use crate::wire::backend::{self, Readiness, Severity};
use crate::wire::frontend::{self, Message};
use crate::wire::startup::{Startup, Version};
use crate::wire::{Frame, Limits, next_is_sync, take_frame};

/// What is read ahead of a running statement, while waiting for it.
pub(super) const READ_AHEAD_BYTES: usize = 64 * 1024;
/// How much a refused client may still send before it has read why, and how long that may take.
const DISCARD_BYTES: usize = 1 << 20;
const FAREWELL: Duration = Duration::from_secs(2);
/// Cancel keys: four bytes are all that protocol 3.0 has room for.
const KEY_BYTES_3_0: usize = 4;
const KEY_BYTES: usize = 32;

/// Why a message could not be answered.
pub(super) enum Failure {
    /// The client is told, and the conversation goes on.
    Statement(Error),
    /// The conversation ends.
    Connection(Ended),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Statement(error)
    }
}

impl From<Ended> for Failure {
    fn from(ended: Ended) -> Failure {
        Failure::Connection(ended)
    }
}

/// One connection, from accept to close.
pub(super) async fn serve(arrival: Arrival, registration: Registration, shared: Arc<Shared>) {
    registration.wake_here().await;
    let Arrival { stream, origin, pooling } = arrival;
    let mut connection = Connection::new(stream, Arc::clone(&registration.peer));
    let ended = converse(&mut connection, (origin, pooling), &registration, &shared).await;
    match &ended {
        Ended::Quietly => {}
        Ended::Lost(error) => debug!(%origin, %error, "a Postgres client went away"),
        Ended::Fatal(error) => debug!(%origin, %error, "ending a Postgres client's connection"),
    }
    let _ = tokio::time::timeout(FAREWELL, say_goodbye(connection, &ended)).await;
}

async fn say_goodbye(mut connection: Connection, ended: &Ended) {
    let Ended::Fatal(error) = ended else { return };
    backend::error_response(&mut connection.output, Severity::Fatal, error);
    if connection.flush_last().await.is_ok() {
        // Only a client in the middle of sending could lose the message, and only a refused one is.
        let discard = if error.sqlstate() == SqlState::PROTOCOL_VIOLATION { DISCARD_BYTES } else { 0 };
        connection.close(discard).await;
    }
}

async fn converse(
    connection: &mut Connection,
    (origin, pooling): (Origin, Pooling),
    registration: &Registration,
    shared: &Shared,
) -> Ended {
    let (patience, metrics) = (shared.gate.settings.startup_timeout, shared.metrics(pooling));
    // Boxed, since its state would otherwise take room in every client's task for good.
    let admitted = tokio::time::timeout(patience, Box::pin(handshake(connection, origin, &shared.gate))).await;
    let Admitted { startup, seats, read_only } = match admitted {
        Ok(Ok(admitted)) => admitted,
        Ok(Err(ended)) => {
            if matches!(ended, Ended::Fatal(_)) {
                metrics.sessions_refused.inc();
            }
            return ended;
        }
        Err(_) => return Ended::Lost(std::io::ErrorKind::TimedOut.into()),
    };
    let _seats = seats;
    let _counted = CountedSession::new(metrics);
    let session = match Box::pin(open_session(connection, registration, shared, pooling, startup, read_only)).await {
        Ok(session) => session,
        Err(error) => return Ended::Fatal(error),
    };
    let cancel = session.cancel_handle();
    let mut client = Client {
        connection,
        session,
        cancel,
        portals: Portals::default(),
        unnamed: None,
        passing: None,
        passing_until: None,
        alarm: Alarm::default(),
        shared,
        ahead: Ahead::default(),
        skipping: false,
        in_batch: false,
    };
    client.connection.flush_due = true;
    client.run().await
}

/// Keeps the count of open sessions true, however they end.
struct CountedSession<'a>(&'a DoorMetrics);

impl CountedSession<'_> {
    fn new(metrics: &DoorMetrics) -> CountedSession<'_> {
        metrics.sessions.inc();
        metrics.sessions_total.inc();
        CountedSession(metrics)
    }
}

impl Drop for CountedSession<'_> {
    fn drop(&mut self) {
        self.0.sessions.dec();
    }
}

/// Everything from the session to the first ReadyForQuery.
async fn open_session(
    connection: &mut Connection,
    registration: &Registration,
    shared: &Shared,
    pooling: Pooling,
    startup: Startup,
    read_only: bool,
) -> Result<Session> {
    let version = startup.version();
    let backend_pid = registration.process;
    let door = pooling.door().label();
    let identity = Identity { user: startup.user, database: startup.database, door, backend_pid };
    let settings = [shared.gate.settings.session_defaults(read_only), startup.settings].concat();
    let mut session = shared.engine.session(identity, &settings)?;
    session.check_startup().await?;

    let mut key = vec![0; if version >= Version::V3_2 { KEY_BYTES } else { KEY_BYTES_3_0 }];
    rand::fill(&mut key[..]);
    for (name, value) in session.take_changed_settings().iter().flat_map(|all| all.iter()) {
        backend::parameter_status(&mut connection.output, name, value);
    }
    backend::backend_key_data(&mut connection.output, backend_pid, &key);
    registration.allow_cancel(key, session.cancel_handle());
    backend::ready_for_query(&mut connection.output, readiness(session.status()));
    Ok(session)
}

fn readiness(status: TransactionStatus) -> Readiness {
    match status {
        TransactionStatus::Idle => Readiness::Idle,
        TransactionStatus::Active => Readiness::InTransaction,
        TransactionStatus::Failed => Readiness::InFailedTransaction,
    }
}

pub(super) struct Client<'a> {
    pub(super) connection: &'a mut Connection,
    pub(super) session: Session,
    pub(super) cancel: CancelHandle,
    pub(super) portals: Portals,
    /// The unnamed statement, which SQL cannot name and the session need not know.
    pub(super) unnamed: Option<Arc<Prepared>>,
    /// The statement of those messages, which was sent to its shard already, when they are taken one by one.
    pub(super) passing: Option<PassThrough>,
    /// When either has run for too long.
    pub(super) passing_until: Option<Instant>,
    /// Of these two.
    pub(super) alarm: Alarm,
    pub(super) shared: &'a Shared,
    /// Writes that are under way. Whatever sends the output, or depends on their outcome, settles them first.
    pub(super) ahead: Ahead,
    /// An error was answered: what comes is skipped until Sync.
    pub(super) skipping: bool,
    /// Something ran or failed that [`Session::end_batch`] has to end.
    pub(super) in_batch: bool,
}

impl Client<'_> {
    /// Answers messages until the connection ends.
    async fn run(&mut self) -> Ended {
        loop {
            if let Err(ended) = self.pass_along().await {
                return ended;
            }
            if self.connection.is_full() {
                match self.flush_if_full().await {
                    Ok(()) => continue,
                    Err(ended) => return ended,
                }
            }
            let frame = match self.next_frame().await {
                Ok(Some(frame)) => frame,
                Ok(None) => continue,
                Err(ended) => return ended,
            };
            if let Err(ended) = self.settle_before(frame.kind).await {
                return ended;
            }
            if self.skipping && !matches!(frame.kind, b'S' | b'X') {
                continue;
            }
            if let Err(ended) = self.answer(&frame).await {
                return ended;
            }
        }
    }

    /// What may wait for a shard is boxed: an idle client's task has no room for it.
    async fn answer(&mut self, frame: &Frame) -> Result<(), Ended> {
        self.connection.make_room();
        let message = match frontend::decode(frame) {
            Ok(message) => message,
            Err(error) => {
                self.report(error);
                return if matches!(frame.kind, b'Q' | b'S') { self.synchronise().await } else { self.skip_to_sync() };
            }
        };
        let answered = match message {
            Message::Query { text } => {
                match Box::pin(self.simple_query(text)).await {
                    Err(Failure::Statement(error)) => self.report(error),
                    Err(Failure::Connection(ended)) => return Err(ended),
                    Ok(()) => {}
                }
                return self.synchronise().await;
            }
            Message::FunctionCall => {
                self.report(Error::unsupported("the FunctionCall message", "Call functions in a SELECT."));
                return self.synchronise().await;
            }
            Message::Sync => return self.synchronise().await,
            Message::Flush => {
                self.connection.flush_due = true;
                return Ok(());
            }
            Message::Terminate => return Err(Ended::Quietly),
            // What a client had under way when its COPY was refused.
            Message::Copy => return Ok(()),
            Message::Password => {
                let error = Error::new(SqlState::PROTOCOL_VIOLATION, "unexpected password message");
                return Err(Ended::Fatal(error));
            }
            Message::Parse { name, text, types } => Box::pin(self.parse(name, text, types)).await,
            Message::Bind(bind) => self.bind(bind).map_err(Failure::Statement),
            Message::Describe { target, name } => self.describe(target, name).map_err(Failure::Statement),
            Message::Execute { portal, row_limit } => Box::pin(self.execute_portal(portal, row_limit)).await,
            Message::Close { target, name } => self.close(target, name),
        };
        match answered {
            Ok(()) => self.flush_if_full().await,
            Err(Failure::Statement(error)) => {
                self.report(error);
                self.skip_to_sync()
            }
            Err(Failure::Connection(ended)) => Err(ended),
        }
    }

    /// Sends an error. An open transaction has failed, whoever found the error.
    fn report(&mut self, error: Error) {
        self.session.fail();
        self.in_batch = true;
        self.send_notices();
        backend::error_response(&mut self.connection.output, Severity::Error, &error);
    }

    fn skip_to_sync(&mut self) -> Result<(), Ended> {
        self.skipping = true;
        // A client may wait for the error before it sends its Sync.
        self.connection.flush_due = true;
        Ok(())
    }

    pub(super) fn send_notices(&mut self) {
        for notice in self.session.take_notices() {
            backend::notice_response(&mut self.connection.output, &notice);
        }
    }

    /// The end of a simple query, or a Sync: ends an implicit transaction and says what state the session is in.
    async fn synchronise(&mut self) -> Result<(), Ended> {
        self.skipping = false;
        // One whose turn did not come is given up: its connection is closed.
        self.passing = None;
        match self.end_batch().await {
            Err(Failure::Connection(ended)) => return Err(ended),
            Err(Failure::Statement(error)) => {
                self.send_notices();
                backend::error_response(&mut self.connection.output, Severity::Error, &error);
            }
            Ok(()) => self.send_notices(),
        }
        let status = self.session.status();
        if status == TransactionStatus::Idle {
            self.portals.clear();
        }
        for (name, value) in self.session.take_changed_settings().iter().flat_map(|all| all.iter()) {
            backend::parameter_status(&mut self.connection.output, name, value);
        }
        if self.session.keeps_connections() {
            self.tell_events(status)?;
        }
        backend::ready_for_query(&mut self.connection.output, readiness(status));
        self.connection.flush_due = true;
        self.flush_if_full().await
    }

    async fn flush_if_full(&mut self) -> Result<(), Ended> {
        if self.connection.is_full() {
            self.settle().await?;
            self.connection.flush().await?;
        }
        Ok(())
    }

    /// Commits, or rolls back, what statements have done together outside BEGIN.
    pub(super) async fn end_batch(&mut self) -> Result<(), Failure> {
        if !std::mem::take(&mut self.in_batch) {
            return Ok(());
        }
        self.settle().await?;
        let deadline = self.statement_deadline();
        let Client { connection, session, cancel, .. } = self;
        Box::pin(watch(connection, cancel, deadline, session.end_batch())).await
    }

    /// The scope of a statement that `alone` says nothing follows.
    pub(super) fn scope(&mut self, alone: bool) -> Scope {
        if alone && !self.in_batch {
            return Scope::Alone;
        }
        self.in_batch = true;
        Scope::Batch
    }

    /// Whether the client has already sent a Sync behind the statement that is about to run.
    pub(super) fn sync_follows(&self) -> bool {
        next_is_sync(&self.connection.input)
    }

    /// When a statement that begins now, or passes through, has run for too long.
    pub(super) fn statement_deadline(&self) -> Option<Instant> {
        if self.passing.is_some() {
            return self.passing_until;
        }
        pass_through::deadline(Instant::now(), self.session.statement_timeout()?)
    }

    /// Runs `call` on the session, watching the client meanwhile.
    pub(super) async fn watched<T>(
        &mut self,
        deadline: Option<Instant>,
        call: impl AsyncFnOnce(&mut Session) -> Result<T>,
    ) -> Result<T, Failure> {
        let Client { connection, session, cancel, .. } = self;
        watch(connection, cancel, deadline, call(session)).await
    }

    /// As [`Client::watched`], for rows that no longer need the session.
    pub(super) async fn watched_rows<T>(
        &mut self,
        deadline: Option<Instant>,
        rows: impl Future<Output = Result<T>>,
    ) -> Result<T, Failure> {
        watch(self.connection, &self.cancel, deadline, rows).await
    }

    /// The next message; `None` when more of the input has come instead. What the client waits for is sent before this side
    /// waits for the client.
    async fn next_frame(&mut self) -> Result<Option<Frame>, Ended> {
        let limits = self.limits();
        match take_frame(&mut self.connection.input, limits) {
            Ok(Some(frame)) => return Ok(Some(frame)),
            Ok(None) => self.settle().await?,
            Err(error) => {
                self.settle().await?;
                return Err(Ended::Fatal(error));
            }
        }
        self.connection.flush_if_due().await?;
        self.wait_for_input().await?;
        Ok(None)
    }

    pub(super) fn limits(&self) -> Limits {
        Limits::Session { message_bytes: self.shared.gate.settings.message_limit_bytes }
    }

    async fn wait_for_input(&mut self) -> Result<(), Ended> {
        let outside_transaction = self.session.status() == TransactionStatus::Idle && !self.in_batch;
        let idle = outside_transaction && !self.skipping && self.connection.input.is_empty();
        if idle {
            self.connection.rest();
        }
        if idle && self.session.keeps_connections() {
            return Box::pin(self.wait_for_input_or_event()).await;
        }
        let leave = if idle { Stage::Draining } else { Stage::Closing };
        let limit = if outside_transaction { None } else { self.idle_in_transaction_limit() };
        let peer = Arc::clone(&self.connection.peer);
        let wait = async {
            tokio::select! {
                biased;
                () = peer.reached(leave) => Err(Ended::shutting_down()),
                read = self.connection.read() => Ok(read?),
            }
        };
        match limit {
            None => wait.await,
            Some(limit) => {
                tokio::time::timeout(limit, wait).await.unwrap_or_else(|_| Err(Ended::idle_in_transaction()))
            }
        }
    }

    pub(super) fn idle_in_transaction_limit(&self) -> Option<Duration> {
        self.session.idle_in_transaction_timeout().filter(|limit| !limit.is_zero())
    }
}

/// Who ended a statement before it was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Interruption {
    Timeout,
    Shutdown,
}

/// Waits for the session's work and for what may end it early: the statement's deadline, a shutdown, and the client's
/// disappearance. The work is cancelled then, not dropped: what it holds is given back by whoever runs it.
async fn watch<T>(
    connection: &mut Connection,
    cancel: &CancelHandle,
    deadline: Option<Instant>,
    work: impl Future<Output = Result<T>>,
) -> Result<T, Failure> {
    let mut work = pin!(work);
    // Most work is done at once; nothing below is paid for then.
    if let Poll::Ready(done) = std::future::poll_fn(|context| Poll::Ready(work.as_mut().poll(context))).await {
        return done.map_err(Failure::Statement);
    }
    let peer = Arc::clone(&connection.peer);
    let mut lost = connection.flush_if_due().await.err();
    if lost.is_some() {
        cancel.cancel();
    }
    let mut watching = lost.is_none();
    let mut interruption = None;
    let mut timer = pin!(tokio::time::sleep_until(deadline.unwrap_or_else(Instant::now)));
    let done = loop {
        tokio::select! {
            biased;
            done = &mut work => break done,
            read = connection.read(), if watching => match read {
                Ok(()) => watching = connection.input.len() < READ_AHEAD_BYTES,
                Err(error) => {
                    watching = false;
                    // Messages that it sent before it left are still answered, a Terminate among them.
                    if connection.input.is_empty() {
                        lost = Some(Ended::Lost(error));
                        cancel.cancel();
                    }
                }
            },
            () = &mut timer, if deadline.is_some() && interruption.is_none() => {
                interruption = Some(Interruption::Timeout);
                cancel.cancel();
            }
            () = peer.reached(Stage::Closing), if interruption != Some(Interruption::Shutdown) => {
                interruption = Some(Interruption::Shutdown);
                cancel.cancel();
            }
        }
    };
    match (lost, interruption) {
        (Some(lost), _) => Err(lost.into()),
        (None, Some(Interruption::Shutdown)) => Err(Ended::shutting_down().into()),
        (None, Some(Interruption::Timeout)) => done.map_err(|error| timed_out(error).into()),
        (None, None) => done.map_err(Failure::Statement),
    }
}

/// A cancelled statement whose deadline had passed says that, and not that somebody asked for it.
fn timed_out(error: Error) -> Error {
    if error.sqlstate() == SqlState::QUERY_CANCELED {
        return error.with_message("canceling statement due to statement timeout");
    }
    error
}
