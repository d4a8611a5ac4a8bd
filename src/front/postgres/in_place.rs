//! The messages at the front of the input, read where they lie: a simple query, or all that runs one statement, to its Sync.

use std::sync::Arc;

use bytes::BytesMut;
use tokio::time::Instant;

use super::extended;
use crate::engine::{Control, PassThrough, Prepared, Session, StatementName};
use crate::types::Format;
use crate::wire::frontend::{BindInPlace, ParseInPlace, query_bytes};
use crate::wire::{Limits, whole_frame};

const DESCRIBE_PORTAL: &[u8] = b"D\0\0\0\x06P\0";
const EXECUTE_AND_SYNC: &[u8] = b"E\0\0\0\x09\0\0\0\0\0S\0\0\0\x04";
/// ParseComplete, BindComplete and NoData.
const COMPLETIONS: &[u8] = b"1\0\0\0\x042\0\0\0\x04n\0\0\0\x04";

/// Messages that are answered where they lie.
pub(super) struct InPlace {
    /// What they take of the input.
    pub(super) bytes: usize,
    pub(super) form: Form,
    /// The format of the rows that are to be described.
    pub(super) described: Option<Format>,
}

pub(super) enum Asks {
    /// It was sent on.
    Statement(PassThrough),
    Control(Control),
}

/// How it is asked for.
pub(super) enum Form {
    /// As a simple query, which ends the unnamed statement.
    Simple,
    /// Parse makes this the unnamed statement.
    Unnamed(Arc<Prepared>),
    Named(Arc<Prepared>),
}

impl InPlace {
    /// What the messages at the front of the input ask for. A statement is sent on. `None`: they have to be taken one by one.
    pub(super) fn take(session: &mut Session, input: &[u8], limits: Limits, now: Instant) -> Option<(InPlace, Asks)> {
        let (kind, bytes) = whole_frame(input, limits)?;
        let (frame, rest) = input.split_at(bytes);
        match kind {
            b'Q' => {
                let text = query_bytes(&frame[5..])?;
                let asks = match Control::of_text(text) {
                    Some(control) => Asks::Control(control),
                    None => Asks::Statement(session.pass_text(text, frame, now)?),
                };
                Some((InPlace { bytes, form: Form::Simple, described: None }, asks))
            }
            b'P' => {
                let parse = ParseInPlace::read(&frame[5..]).filter(|parse| parse.name.is_empty())?;
                let prepared = session.remembered(parse.text, parse.types.iter().map(extended::declared_type))?;
                let execution =
                    Execution::read(rest, limits).filter(|execution| execution.bind.statement.is_empty())?;
                execution.run(session, input, bytes, Form::Unnamed(prepared), now)
            }
            b'B' => {
                let execution =
                    Execution::read(input, limits).filter(|execution| !execution.bind.statement.is_empty())?;
                let prepared = Arc::clone(session.known_statement(execution.bind.statement)?);
                execution.run(session, input, 0, Form::Named(prepared), now)
            }
            _ => None,
        }
    }

    /// What shows that the messages before the execution of something without rows went well.
    pub(super) fn completions(&self) -> &'static [u8] {
        let begin = match self.form {
            Form::Unnamed(_) => 0,
            Form::Named(_) => 5,
            Form::Simple => 10,
        };
        &COMPLETIONS[begin..if self.described.is_some() { 15 } else { 10 }]
    }

    /// A statement that is described, and how.
    pub(super) fn description(&self) -> Option<(&Arc<Prepared>, Format)> {
        match &self.form {
            Form::Unnamed(prepared) | Form::Named(prepared) => Some((prepared, self.described?)),
            Form::Simple => None,
        }
    }
}

/// Bind, perhaps Describe, Execute and Sync.
struct Execution<'a> {
    bind: BindInPlace<'a>,
    /// Of the Bind, with its header.
    bind_bytes: usize,
    is_described: bool,
    bytes: usize,
}

impl<'a> Execution<'a> {
    fn read(input: &'a [u8], limits: Limits) -> Option<Execution<'a>> {
        let (_, bytes) = whole_frame(input, limits).filter(|(kind, _)| *kind == b'B')?;
        let (whole, rest) = input.split_at(bytes);
        let bind = BindInPlace::read(&whole[5..]).filter(|bind| bind.portal.is_empty())?;
        let (is_described, rest) = match rest.strip_prefix(DESCRIBE_PORTAL) {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let rest = rest.strip_prefix(EXECUTE_AND_SYNC)?;
        Some(Execution { bind, bind_bytes: bytes, is_described, bytes: input.len() - rest.len() })
    }

    /// Behind `before` bytes of the input.
    fn run(
        self,
        session: &mut Session,
        input: &[u8],
        before: usize,
        form: Form,
        now: Instant,
    ) -> Option<(InPlace, Asks)> {
        let Execution { bind, bind_bytes, is_described, bytes } = self;
        let (Form::Unnamed(prepared) | Form::Named(prepared)) = &form else { return None };
        if bind.count() != prepared.parameter_count() {
            return None;
        }
        let described = match is_described {
            true => Some(bind.result_format?),
            false => None,
        };
        let asks = if prepared.may_pass() {
            let messages = &input[..before + bind_bytes];
            let write = |name: Option<&StatementName>, out: &mut BytesMut| {
                out.reserve(messages.len() + EXECUTE_AND_SYNC.len() + 32);
                match name {
                    None => out.extend_from_slice(messages),
                    Some(name) => name.write_bind(bind.rest, out),
                }
                out.extend_from_slice(EXECUTE_AND_SYNC);
            };
            Asks::Statement(session.pass_bound(prepared, |index| bind.value(index), write, now)?)
        } else {
            Asks::Control(Control::of(prepared)?)
        };
        Some((InPlace { bytes: before + bytes, form, described }, asks))
    }
}
