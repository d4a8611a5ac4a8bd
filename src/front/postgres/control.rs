//! BEGIN and COMMIT at the front of the input, answered at once where that can be.

use std::sync::Arc;

use super::client::Client;
use super::extended;
use super::pass_through::{BIND_COMPLETE, DESCRIBE_PORTAL, EXECUTE, PARSE_COMPLETE, SYNC};
use crate::engine::{Control, Ending, Looked, Prepared, Session};
use crate::wire::backend::{self, Readiness};
use crate::wire::frontend::{BindInPlace, ParseInPlace, query_text};
use crate::wire::{Limits, whole_frame};

/// Messages that ask for it.
struct Asked {
    control: Control,
    /// What they take of the input.
    bytes: usize,
    form: Form,
    described: bool,
}

/// How it is asked for.
enum Form {
    /// As a simple query, which ends the unnamed statement.
    Simple,
    /// Parse makes this the unnamed statement.
    Unnamed(Arc<Prepared>),
    Named,
}

impl Client<'_> {
    /// Answers the messages at the front of the input. `false`: they have to be taken one by one.
    pub(super) async fn control_at_once(&mut self) -> bool {
        let Some(asked) = read(&self.session, &self.connection.input, self.limits()) else { return false };
        match asked.control {
            Control::Begin { tag, isolation, read_only } => {
                if !self.session.begin_at_once(isolation, read_only) {
                    return false;
                }
                self.completions(&asked);
                backend::command_complete(&mut self.connection.output, tag, None);
                backend::ready_for_query(&mut self.connection.output, Readiness::InTransaction);
                self.answered_at_once(asked, b"");
            }
            Control::Commit => match self.session.commit_at_once() {
                None => return false,
                Some(Ending::Done) => {
                    self.completions(&asked);
                    backend::command_complete(&mut self.connection.output, "COMMIT", None);
                    backend::ready_for_query(&mut self.connection.output, Readiness::Idle);
                    self.answered_at_once(asked, b"");
                }
                Some(Ending::Sent(mut commit)) => {
                    let looked =
                        std::future::poll_fn(|context| self.poll_answer(&mut |context| commit.poll(context), context));
                    if looked.await == Looked::Otherwise {
                        self.session.commit_goes_on(commit);
                        return false;
                    }
                    self.completions(&asked);
                    self.answered_at_once(asked, commit.answer());
                    self.session.committed(commit);
                }
            },
        }
        true
    }

    fn completions(&mut self, asked: &Asked) {
        match asked.form {
            Form::Simple => {}
            Form::Unnamed(_) => self.connection.output.extend_from_slice(&[PARSE_COMPLETE, BIND_COMPLETE].concat()),
            Form::Named => self.connection.output.extend_from_slice(BIND_COMPLETE),
        }
        if asked.described {
            backend::no_data(&mut self.connection.output);
        }
    }

    fn answered_at_once(&mut self, asked: Asked, answer: &[u8]) {
        self.connection.take_input(asked.bytes);
        self.connection.send_soon(answer);
        match asked.form {
            Form::Simple => self.unnamed = None,
            Form::Unnamed(prepared) => self.unnamed = Some(prepared),
            Form::Named => {}
        }
        match asked.control {
            Control::Commit => self.portals.clear(),
            Control::Begin { .. } => drop(self.portals.close("")),
        }
    }
}

fn read(session: &Session, input: &[u8], limits: Limits) -> Option<Asked> {
    let (kind, bytes) = whole_frame(input, limits)?;
    let body = &input[5..bytes];
    match kind {
        b'Q' => {
            let control = Control::of_text(query_text(body)?)?;
            Some(Asked { control, bytes, form: Form::Simple, described: false })
        }
        b'P' => {
            let parse = ParseInPlace::read(body).filter(|parse| parse.name.is_empty())?;
            let prepared = session.remembered(parse.text, parse.types.iter().map(extended::declared_type))?;
            let control = Control::of(&prepared)?;
            executed(control, Form::Unnamed(prepared), input, bytes, limits)
        }
        b'B' => {
            let bind = BindInPlace::read(body).filter(|bind| !bind.statement.is_empty())?;
            executed(session.control(bind.statement)?, Form::Named, input, 0, limits)
        }
        _ => None,
    }
}

/// Bind, perhaps Describe, Execute and Sync, behind `before` bytes of Parse.
fn executed(control: Control, form: Form, input: &[u8], before: usize, limits: Limits) -> Option<Asked> {
    let (_, bytes) = whole_frame(&input[before..], limits).filter(|(kind, _)| *kind == b'B')?;
    let bind = BindInPlace::read(&input[before + 5..before + bytes])?;
    let is_of_it = bind.statement.is_empty() == matches!(form, Form::Unnamed(_));
    if !bind.portal.is_empty() || !is_of_it || bind.count() != 0 {
        return None;
    }
    let rest = &input[before + bytes..];
    let (described, rest) = match rest.strip_prefix(DESCRIBE_PORTAL) {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    let rest = rest.strip_prefix(EXECUTE)?.strip_prefix(SYNC)?;
    Some(Asked { control, bytes: input.len() - rest.len(), form, described })
}
