//! Messages that pass through the door: a statement that goes straight to one shard is sent on from where it lies, and its
//! answer leaves as it came. BEGIN and COMMIT are answered so, too, where that can be.
//!
//! Nothing is taken off the input before the answer has come whole. Where it does not come so, the same messages are
//! answered one by one as any others are, and the statement that was sent waits in `passing` for its turn among them.
//!
//! A client whose statements all pass through never leaves [`Client::poll_passing`]: one function that knows what it waits
//! for, since each layer of futures between the runtime and a socket costs as much as reading a message does.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::Instant;

use super::client::{Client, READ_AHEAD_BYTES};
use super::connection::Ended;
use super::extended;
use super::in_place::{Asks, Form, InPlace};
use super::peers::Stage;
use crate::engine::{Commit, Control, Ending, Formats, Looked, PassThrough, TransactionStatus};
use crate::types::Format;
use crate::wire::backend::{self, Readiness};

const PARSE_COMPLETE: &[u8] = b"1\0\0\0\x04";
const BIND_COMPLETE: &[u8] = b"2\0\0\0\x04";
/// What BEGIN is answered.
const BEGUN: &[u8] = b"C\0\0\0\x0aBEGIN\0Z\0\0\0\x05T";

/// What is waited for while statements pass through. No more of it is kept while the client is served otherwise.
#[derive(Default)]
struct Passage {
    under_way: Option<UnderWay>,
    /// When the client has let its transaction wait for too long, while it is waited for.
    idle_until: Option<Instant>,
}

/// What a shard has to answer, and the messages that ask for it.
struct UnderWay {
    sent: Sent,
    messages: InPlace,
}

enum Sent {
    Statement(PassThrough),
    Commit(Commit),
}

impl Client<'_> {
    /// Answers what passes through, as it comes, until something has come that has to be taken one by one.
    pub(super) async fn pass_along(&mut self) -> Result<(), Ended> {
        let mut passage = Passage::default();
        poll_fn(|context| self.poll_passing(&mut passage, context)).await
    }

    fn poll_passing(&mut self, passage: &mut Passage, context: &mut Context<'_>) -> Poll<Result<(), Ended>> {
        // When what is waited for began, if that is now.
        let mut begun = None;
        loop {
            if let Some(under_way) = &mut passage.under_way {
                let looked = ready!(self.poll_answer(under_way, begun, context));
                match (looked, passage.under_way.take()) {
                    (Looked::Whole, Some(under_way)) => begun = Some(self.pass_answer(under_way)),
                    (_, under_way) => {
                        self.leave(under_way);
                        return Poll::Ready(Ok(()));
                    }
                }
            }
            if self.connection.input.is_empty() && !ready!(self.poll_input(passage, begun, context))? {
                return Poll::Ready(Ok(()));
            }
            let now = Instant::now();
            // A client that does not read what it asked for is not answered further.
            if self.connection.is_full() || !self.begin_in_place(passage, now) {
                return Poll::Ready(Ok(()));
            }
            begun = Some(now);
        }
    }

    /// Waits for the client between its messages. `false`: it has to be waited for elsewhere. `now`: when the wait begins, if
    /// that is now.
    fn poll_input(
        &mut self,
        passage: &mut Passage,
        now: Option<Instant>,
        context: &mut Context<'_>,
    ) -> Poll<Result<bool, Ended>> {
        let is_idle = self.session.status() == TransactionStatus::Idle;
        let leave = if is_idle { Stage::Draining } else { Stage::Closing };
        let is_owed = self.connection.flush_due || !self.ahead.is_empty() || self.session.keeps_connections();
        if is_owed || !self.may_pass() || self.connection.peer.has_reached(leave) {
            return Poll::Ready(Ok(false));
        }
        if let Poll::Ready(read) = self.connection.poll_read(context) {
            passage.idle_until = None;
            return Poll::Ready(Ok(read.map(|()| true)?));
        }
        if is_idle {
            self.connection.rest();
            return Poll::Pending;
        }
        let Some(limit) = self.idle_in_transaction_limit() else { return Poll::Pending };
        match self.is_idle_too_long(&mut passage.idle_until, limit, now, context) {
            true => Poll::Ready(Err(Ended::idle_in_transaction())),
            false => Poll::Pending,
        }
    }

    fn is_idle_too_long(
        &mut self,
        idle_until: &mut Option<Instant>,
        limit: Duration,
        now: Option<Instant>,
        context: &mut Context<'_>,
    ) -> bool {
        let until = match *idle_until {
            Some(until) => until,
            None => {
                let now = now.unwrap_or_else(Instant::now);
                let Some(until) = now.checked_add(limit) else { return false };
                *idle_until = Some(until);
                if self.alarm.is_set_before(until, now) {
                    return false;
                }
                until
            }
        };
        self.alarm.is_late(until, context)
    }

    fn may_pass(&self) -> bool {
        !self.skipping && !self.in_batch && self.passing.is_none()
    }

    /// Begins what the messages at the front of the input ask for. `false`: they have to be taken one by one.
    fn begin_in_place(&mut self, passage: &mut Passage, now: Instant) -> bool {
        if !self.may_pass() || !self.session.may_pass() {
            return false;
        }
        let limits = self.limits();
        let Some((messages, asks)) = InPlace::take(&mut self.session, &self.connection.input, limits, now) else {
            return false;
        };
        let control = match asks {
            Asks::Statement(passing) => {
                self.passing_until = self.session.statement_timeout().and_then(|limit| deadline(now, limit));
                passage.under_way = Some(UnderWay { sent: Sent::Statement(passing), messages });
                return true;
            }
            Asks::Control(control) => control,
        };
        self.begin_control(passage, control, messages, now)
    }

    fn begin_control(&mut self, passage: &mut Passage, control: Control, messages: InPlace, now: Instant) -> bool {
        let (tag, readiness) = match control {
            Control::Begin { tag, isolation, read_only } => {
                if !self.session.begin_at_once(isolation, read_only) {
                    return false;
                }
                (tag, Readiness::InTransaction)
            }
            Control::Commit => match self.session.commit_at_once(now) {
                None => return false,
                Some(Ending::Done) => ("COMMIT", Readiness::Idle),
                Some(Ending::Sent(commit)) => {
                    self.passing_until = self.session.statement_timeout().and_then(|limit| deadline(now, limit));
                    passage.under_way = Some(UnderWay { sent: Sent::Commit(commit), messages });
                    return true;
                }
            },
        };
        self.complete(&messages);
        if tag == "BEGIN" {
            self.answer_in_place(messages, BEGUN);
        } else {
            self.connection.make_room();
            backend::command_complete(&mut self.connection.output, tag, None);
            backend::ready_for_query(&mut self.connection.output, readiness);
            self.answer_in_place(messages, b"");
        }
        if control == Control::Commit {
            self.portals.clear();
        }
        true
    }

    /// Waits for the shard, and for whatever would end the statement early: that is dealt with elsewhere. `now`: when the wait
    /// begins, if that is now.
    fn poll_answer(
        &mut self,
        under_way: &mut UnderWay,
        now: Option<Instant>,
        context: &mut Context<'_>,
    ) -> Poll<Looked> {
        let looked = match &mut under_way.sent {
            Sent::Statement(passing) => passing.poll(context),
            Sent::Commit(commit) => commit.poll(context),
        };
        if looked.is_ready() {
            return looked;
        }
        let connection = &mut *self.connection;
        connection.send_now_if_due();
        if self.session.is_canceled() || connection.peer.has_reached(Stage::Closing) {
            return Poll::Ready(Looked::Otherwise);
        }
        if let Some(until) = self.passing_until
            && !now.is_some_and(|now| self.alarm.is_set_before(until, now))
            && self.alarm.is_late(until, context)
        {
            return Poll::Ready(Looked::Otherwise);
        }
        while connection.input.len() < READ_AHEAD_BYTES {
            match connection.poll_read(context) {
                Poll::Pending => break,
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(Looked::Otherwise),
            }
        }
        Poll::Pending
    }

    /// The messages are taken one by one, and what was sent for them is found then.
    #[cold]
    fn leave(&mut self, under_way: Option<UnderWay>) {
        match under_way.map(|under_way| under_way.sent) {
            Some(Sent::Statement(passing)) => self.passing = Some(passing),
            Some(Sent::Commit(commit)) => self.session.commit_goes_on(commit),
            None => {}
        }
    }

    /// Passes a whole answer on. Gives when it was.
    fn pass_answer(&mut self, UnderWay { sent, messages }: UnderWay) -> Instant {
        match sent {
            Sent::Statement(passing) => {
                self.answer_statement(messages, passing.answer());
                let now = Instant::now();
                self.session.passed(passing, now);
                now
            }
            Sent::Commit(commit) => {
                self.complete(&messages);
                self.answer_in_place(messages, commit.answer());
                self.portals.clear();
                let now = Instant::now();
                self.session.committed(commit, now);
                now
            }
        }
    }

    fn answer_statement(&mut self, messages: InPlace, answer: &[u8]) {
        let mut rest = answer;
        if let Some((prepared, format)) = messages.description() {
            let connection = &mut *self.connection;
            for completion in [PARSE_COMPLETE, BIND_COMPLETE] {
                rest = rest.strip_prefix(completion).unwrap_or(rest);
            }
            connection.make_room();
            connection.output.extend_from_slice(&answer[..answer.len() - rest.len()]);
            match prepared.row_description().filter(|_| format == Format::Text) {
                Some(frame) => connection.output.extend_from_slice(frame),
                None => {
                    let columns = self.session.columns(prepared);
                    let formats = if format == Format::Text { Formats::AllText } else { Formats::AllBinary };
                    extended::describe_rows(&mut connection.output, columns.as_deref(), &formats);
                }
            }
        }
        self.answer_in_place(messages, rest);
    }

    fn complete(&mut self, messages: &InPlace) {
        let completions = messages.completions();
        if !completions.is_empty() {
            self.connection.make_room();
            self.connection.output.extend_from_slice(completions);
        }
    }

    /// Takes the messages off the input, and answers them with what was written and these frames.
    fn answer_in_place(&mut self, messages: InPlace, frames: &[u8]) {
        self.connection.take_input(messages.bytes);
        self.connection.send_soon(frames);
        match messages.form {
            Form::Simple => self.unnamed = None,
            Form::Unnamed(prepared) => self.unnamed = Some(prepared),
            Form::Named(_) => {}
        }
        // Named ones live as long as their transaction.
        match self.session.status() {
            TransactionStatus::Idle => self.portals.clear(),
            _ => drop(self.portals.close("")),
        }
    }
}

/// `None`: there is no limit.
pub(super) fn deadline(now: Instant, limit: Duration) -> Option<Instant> {
    if limit.is_zero() { None } else { now.checked_add(limit) }
}
