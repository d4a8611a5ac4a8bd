//! Messages that pass through the door: a statement that goes straight to one shard is sent on from where it lies, and its
//! answer leaves as it came.
//!
//! Nothing is taken off the input before the answer has come whole. Where it does not come so, the same messages are
//! answered one by one as any others are, and the statement that was sent waits in `passing` for its turn among them.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{BufMut, BytesMut};
use tokio::time::{Instant, Sleep};

use super::client::{Client, READ_AHEAD_BYTES};
use super::extended;
use super::peers::Stage;
use crate::engine::{Formats, Looked, PassThrough, Prepared, Session, StatementName, TransactionStatus};
use crate::types::Format;
use crate::wire::frontend::{BindInPlace, ParseInPlace, query_text};
use crate::wire::{Limits, whole_frame};

pub(super) const DESCRIBE_PORTAL: &[u8] = b"D\0\0\0\x06P\0";
pub(super) const EXECUTE: &[u8] = b"E\0\0\0\x09\0\0\0\0\0";
pub(super) const SYNC: &[u8] = b"S\0\0\0\x04";
pub(super) const PARSE_COMPLETE: &[u8] = b"1\0\0\0\x04";
pub(super) const BIND_COMPLETE: &[u8] = b"2\0\0\0\x04";

/// Messages that were sent on.
struct Sent {
    passing: PassThrough,
    /// What they take of the input.
    bytes: usize,
    unnamed: Unnamed,
    /// Whose rows have to be described, and in which formats.
    described: Option<(Arc<Prepared>, Formats)>,
}

/// What becomes of the unnamed statement.
enum Unnamed {
    Stays,
    Ends,
    Is(Arc<Prepared>),
}

impl Client<'_> {
    /// Answers the messages at the front of the input, if they pass through. `false`: they have to be taken one by one.
    pub(super) async fn pass_through(&mut self) -> bool {
        if self.skipping || self.in_batch || self.passing.is_some() || !self.session.may_pass() {
            return false;
        }
        let limits = self.limits();
        self.passing_until = self.statement_deadline();
        let Some(mut sent) = send_on(&mut self.session, &self.connection.input, limits) else {
            return self.control_at_once().await;
        };
        let looked =
            std::future::poll_fn(|context| self.poll_answer(&mut |context| sent.passing.poll(context), context)).await;
        match looked {
            Looked::Whole => self.answer_with(sent),
            Looked::Otherwise => self.passing = Some(sent.passing),
        }
        looked == Looked::Whole
    }

    /// Waits for the shard, and for whatever would end the statement early: that is dealt with elsewhere.
    pub(super) fn poll_answer(
        &mut self,
        answer: &mut impl FnMut(&mut Context<'_>) -> Poll<Looked>,
        context: &mut Context<'_>,
    ) -> Poll<Looked> {
        if let Poll::Ready(looked) = answer(context) {
            return Poll::Ready(looked);
        }
        let connection = &mut *self.connection;
        connection.send_now_if_due();
        if self.session.is_canceled() || connection.peer.has_reached(Stage::Closing) {
            return Poll::Ready(Looked::Otherwise);
        }
        if let Some(until) = self.passing_until
            && is_late(&mut self.alarm, until, context)
        {
            return Poll::Ready(Looked::Otherwise);
        }
        while connection.input.len() < READ_AHEAD_BYTES {
            match pin!(connection.read()).poll(context) {
                Poll::Pending => break,
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(Looked::Otherwise),
            }
        }
        Poll::Pending
    }

    fn answer_with(&mut self, sent: Sent) {
        let Sent { passing, bytes, unnamed, described } = sent;
        let connection = &mut *self.connection;
        connection.take_input(bytes);
        let answer = passing.answer();
        if let Some((prepared, formats)) = &described {
            let completions = [PARSE_COMPLETE, BIND_COMPLETE];
            let rest = completions.iter().fold(answer, |rest, complete| rest.strip_prefix(*complete).unwrap_or(rest));
            connection.output.extend_from_slice(&answer[..answer.len() - rest.len()]);
            match prepared.row_description().filter(|_| *formats == Formats::AllText) {
                Some(frame) => connection.output.extend_from_slice(frame),
                None => {
                    let columns = self.session.columns(prepared);
                    extended::describe_rows(&mut connection.output, columns.as_deref(), formats);
                }
            }
            connection.send_soon(rest);
        } else {
            connection.send_soon(answer);
        }
        match unnamed {
            Unnamed::Stays => {}
            Unnamed::Ends => self.unnamed = None,
            Unnamed::Is(prepared) => self.unnamed = Some(prepared),
        }
        // Named ones live as long as their transaction.
        match self.session.status() {
            TransactionStatus::Idle => self.portals.clear(),
            _ => drop(self.portals.close("")),
        }
        self.session.passed(passing);
    }
}

/// Whether it is `until` already; otherwise the task is woken then. The alarm is set anew only when it has gone off: a task
/// that is woken for nothing costs less than an alarm for each statement.
fn is_late(alarm: &mut Option<Pin<Box<Sleep>>>, until: Instant, context: &mut Context<'_>) -> bool {
    let alarm = alarm.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
    if alarm.is_elapsed() || alarm.deadline() > until {
        alarm.as_mut().reset(until);
    }
    while alarm.as_mut().poll(context).is_ready() {
        if Instant::now() >= until {
            return true;
        }
        alarm.as_mut().reset(until);
    }
    false
}

fn send_on(session: &mut Session, input: &[u8], limits: Limits) -> Option<Sent> {
    let (kind, bytes) = whole_frame(input, limits)?;
    match kind {
        b'Q' => {
            let frame = &input[..bytes];
            let passing = session.pass_text(query_text(&frame[5..])?, frame)?;
            Some(Sent { passing, bytes, unnamed: Unnamed::Ends, described: None })
        }
        b'P' => {
            let parse = ParseInPlace::read(&input[5..bytes]).filter(|parse| parse.name.is_empty())?;
            let prepared = session.remembered(parse.text, parse.types.iter().map(extended::declared_type))?;
            let sent = send_execution(session, &prepared, input, bytes, limits)?;
            Some(Sent { unnamed: Unnamed::Is(prepared), ..sent })
        }
        b'B' => {
            let bind = BindInPlace::read(&input[5..bytes]).filter(|bind| !bind.statement.is_empty())?;
            let prepared = session.named_statement(bind.statement)?;
            send_execution(session, &prepared, input, 0, limits)
        }
        _ => None,
    }
}

/// Bind, perhaps Describe, Execute and Sync, behind `before` bytes of Parse.
fn send_execution(
    session: &mut Session,
    prepared: &Arc<Prepared>,
    input: &[u8],
    before: usize,
    limits: Limits,
) -> Option<Sent> {
    let (parse, rest) = input.split_at(before);
    let (_, bytes) = whole_frame(rest, limits).filter(|(kind, _)| *kind == b'B')?;
    let (whole, rest) = rest.split_at(bytes);
    let bind = BindInPlace::read(&whole[5..])?;
    // A Parse's own statement is the unnamed one.
    if !bind.portal.is_empty() || bind.statement.is_empty() == parse.is_empty() {
        return None;
    }
    let (is_described, rest) = match rest.strip_prefix(DESCRIBE_PORTAL) {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    let rest = rest.strip_prefix(EXECUTE)?.strip_prefix(SYNC)?;
    if bind.count() != prepared.parameter_count() {
        return None;
    }
    let described = match (is_described, bind.result_format) {
        (false, _) => None,
        (true, Some(Format::Text)) => Some((Arc::clone(prepared), Formats::AllText)),
        (true, Some(Format::Binary)) => Some((Arc::clone(prepared), Formats::AllBinary)),
        (true, None) => return None,
    };
    let write = |name: Option<&StatementName>, out: &mut BytesMut| {
        out.reserve(parse.len() + whole.len() + EXECUTE.len() + SYNC.len() + 32);
        out.put_slice(parse);
        match name {
            None => out.put_slice(whole),
            Some(name) => {
                out.put_u8(b'B');
                out.put_u32((4 + 1 + name.text.len() + 1 + bind.rest.len()) as u32);
                out.put_u8(0);
                out.put_slice(name.text.as_bytes());
                out.put_u8(0);
                out.put_slice(bind.rest);
            }
        }
        out.put_slice(EXECUTE);
        out.put_slice(SYNC);
    };
    let passing = session.pass_bound(prepared, |index| bind.value(index), write)?;
    Some(Sent { passing, bytes: input.len() - rest.len(), unnamed: Unnamed::Stays, described })
}
