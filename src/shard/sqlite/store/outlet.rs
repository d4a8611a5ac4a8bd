//! The way of a statement's rows to whoever asked: at once when they are few, as a stream when they are many.
//!
//! The stream is bounded: a statement waits for its receiver. Inside a transaction the client may send its next
//! statement while rows of the last are still on their way (a suspended portal); then the rest is taken into memory,
//! within a bound, so that the connection is free.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc, oneshot};

use super::cancel::{Gone, Watch};
use super::execute::{Ended, Sink};
use super::failure::Failure;
use super::limits::{BATCH_BYTES, STREAMED_BATCHES};
use super::pool::Seat;
use crate::error::{Error, Result, SqlState};
use crate::shard::Output;
use crate::shard::{RowBatch, Rows};

/// Tells a statement that streams that its connection is wanted for the next.
#[derive(Debug, Default)]
pub(super) struct Hurry {
    asked: AtomicBool,
    notify: Notify,
}

impl Hurry {
    pub(super) fn ask(&self) {
        self.asked.store(true, Ordering::Release);
        self.notify.notify_waiters();
    }

    pub(super) fn reset(&self) {
        self.asked.store(false, Ordering::Release);
    }

    async fn asked(&self) {
        loop {
            let notified = self.notify.notified();
            if self.asked.load(Ordering::Acquire) {
                return;
            }
            notified.await;
        }
    }
}

/// Set when whoever waits for a statement goes away.
#[derive(Clone, Debug, Default)]
pub(super) struct Interest(Arc<AtomicBool>);

impl Interest {
    /// Held by the one who waits.
    pub(super) fn guard(&self) -> InterestGuard {
        InterestGuard(self.clone())
    }

    pub(super) fn gone(&self) -> Gone {
        let lost = Arc::clone(&self.0);
        Box::new(move || lost.load(Ordering::Relaxed))
    }
}

pub(super) struct InterestGuard(Interest);

impl Drop for InterestGuard {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}

/// What an outlet may hold, and for how long it waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    pub(super) held_bytes: usize,
    pub(super) stalled: Duration,
}

pub(super) struct Outlet {
    state: State,
    hurry: Arc<Hurry>,
    patience: Patience,
    runtime: Handle,
    seat: Option<Arc<Seat>>,
}

/// How often a statement whose rows are not taken looks whether others want its connection.
const LOOK_AROUND: Duration = Duration::from_millis(50);

/// How long rows may stay untaken while others wait for a connection and no more can be opened for them.
const STALLED_WHILE_WANTED: Duration = Duration::from_secs(2);

enum State {
    /// Nothing was sent yet.
    Unanswered(oneshot::Sender<Result<Output>>),
    Streaming(mpsc::Sender<Result<RowBatch>>),
    /// The receiver takes its time, and the connection is wanted.
    Holding {
        stream: mpsc::Sender<Result<RowBatch>>,
        held: Vec<RowBatch>,
        bytes: usize,
    },
    Over,
}

impl Outlet {
    pub(super) fn new(
        reply: oneshot::Sender<Result<Output>>,
        hurry: Arc<Hurry>,
        patience: Patience,
        runtime: Handle,
    ) -> Outlet {
        Outlet { state: State::Unanswered(reply), hurry, patience, runtime, seat: None }
    }

    /// While its rows are not taken, the statement lets others have its place among the connections.
    pub(super) fn stepping_aside(self, seat: Arc<Seat>) -> Outlet {
        Outlet { seat: Some(seat), ..self }
    }

    /// The statement's end: its last rows, or its error.
    pub(super) fn finish(mut self, ended: Result<Ended>) {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Unanswered(reply) => {
                // The receiver may be gone; then nobody wants to know.
                let _ = reply.send(ended.map(|e| Output {
                    rows: Rows::Ready(e.rest),
                    affected: e.affected,
                    ..Output::default()
                }));
            }
            State::Streaming(stream) => self.send_later(stream, Vec::new(), ended),
            State::Holding { stream, held, .. } => self.send_later(stream, held, ended),
            State::Over => {}
        }
    }

    fn send_later(&self, stream: mpsc::Sender<Result<RowBatch>>, held: Vec<RowBatch>, ended: Result<Ended>) {
        let last = match ended {
            Ok(ended) if ended.rest.rows == 0 => None,
            Ok(ended) => Some(Ok(ended.rest)),
            Err(error) => Some(Err(error)),
        };
        let all = held.into_iter().map(Ok).chain(last);
        self.runtime.spawn(async move {
            for batch in all {
                if stream.send(batch).await.is_err() {
                    return;
                }
            }
        });
    }

    /// Waits until the receiver has room. `false`: the connection is wanted first.
    fn wait_for_room(&self, stream: &mpsc::Sender<Result<RowBatch>>) -> Result<bool, Failure> {
        let since = Instant::now();
        self.runtime.block_on(async {
            loop {
                tokio::select! {
                    biased;
                    room = stream.reserve() => return room.map(|_| true).map_err(|_| Failure::Abandoned),
                    () = self.hurry.asked() => return Ok(false),
                    () = tokio::time::sleep(LOOK_AROUND.min(self.patience.stalled)) => self.make_way(since.elapsed())?,
                }
            }
        })
    }

    /// A client that takes its time keeps nobody else from the shard, and none takes it for ever.
    fn make_way(&self, stalled: Duration) -> Result<(), Failure> {
        let in_the_way = self.seat.as_ref().is_some_and(|seat| seat.is_wanted() && !seat.step_aside());
        let patience = if in_the_way { self.patience.stalled.min(STALLED_WHILE_WANTED) } else { self.patience.stalled };
        if stalled < patience {
            return Ok(());
        }
        let error = Error::new(SqlState::QUERY_CANCELED, "canceling statement because its rows were not taken");
        Err(Failure::Told(error.detail(format!("No rows were read for {} s.", stalled.as_secs()))))
    }
}

impl Sink for Outlet {
    fn full(&mut self, batch: &mut RowBatch, watch: &Watch) -> Result<(), Failure> {
        let full = std::mem::replace(batch, RowBatch { frames: bytes::BytesMut::with_capacity(BATCH_BYTES), rows: 0 });
        loop {
            match std::mem::replace(&mut self.state, State::Over) {
                State::Unanswered(reply) => {
                    let (stream, receiver) = mpsc::channel(STREAMED_BATCHES);
                    reply.send(Ok(Rows::Stream(receiver).into())).map_err(|_| Failure::Abandoned)?;
                    let looked_at = stream.clone();
                    watch.until(Box::new(move || looked_at.is_closed()));
                    self.state = State::Streaming(stream);
                }
                State::Streaming(stream) => {
                    match self.wait_for_room(&stream) {
                        Ok(true) => {
                            // Only this thread sends, so the room is still there.
                            let sent = stream.try_send(Ok(full)).map_err(|_| Failure::Abandoned);
                            self.state = State::Streaming(stream);
                            return sent;
                        }
                        Ok(false) => self.state = State::Holding { stream, held: Vec::new(), bytes: 0 },
                        Err(failure) => {
                            // The error itself goes the same way.
                            self.state = State::Streaming(stream);
                            return Err(failure);
                        }
                    }
                }
                State::Holding { stream, mut held, bytes } => {
                    let bytes = bytes + full.frames.len();
                    held.push(full);
                    self.state = State::Holding { stream, held, bytes };
                    return check_held(bytes, self.patience.held_bytes).map_err(Failure::Told);
                }
                State::Over => return Err(Failure::Abandoned),
            }
        }
    }
}

/// Rows that cannot stream stay in the batch, within a bound.
pub(super) struct Held {
    pub(super) limit: usize,
}

impl Sink for Held {
    fn full(&mut self, batch: &mut RowBatch, _watch: &Watch) -> Result<(), Failure> {
        check_held(batch.frames.len(), self.limit).map_err(Failure::Told)
    }
}

fn check_held(bytes: usize, limit: usize) -> Result<()> {
    if bytes <= limit {
        return Ok(());
    }
    Err(Error::new(
        SqlState::CONFIGURATION_LIMIT_EXCEEDED,
        format!("the statement's rows take more than {limit} bytes, and cannot be streamed"),
    )
    .hint("Return fewer rows at a time: leave RETURNING out, add a LIMIT, or read a cursor to its end before the next statement."))
}

/// A read on a thread that must not be kept returns one batch.
pub(super) struct OneBatch;

impl Sink for OneBatch {
    fn full(&mut self, _batch: &mut RowBatch, _watch: &Watch) -> Result<(), Failure> {
        Err(Failure::TooLong)
    }
}
