//! One exchange whose answer leaves as it came: its frames are looked at, and not taken apart.
//!
//! Most statements end well and in one piece. Whatever else happens (an error, a long answer, a connection that is lost), the exchange goes on as any other does, with nothing taken of it yet: see
//! [`PostgresShard::go_on`](super::PostgresShard::go_on).

use std::pin::pin;
use std::task::{Context, Poll};

use tokio::time::Instant;

use super::backend::Backend;
use super::frames::{Next, next_frame};
use super::pool::{Pooled, Use};
use crate::wire::backend::Readiness;

/// What an answer may hold and still be passed on at once.
const ANSWER_BYTES: usize = 64 << 10;

const PARSE_COMPLETE: &[u8] = b"1\0\0\0\x04";
const BIND_COMPLETE: &[u8] = b"2\0\0\0\x04";
const NO_DATA: &[u8] = b"n\0\0\0\x04";
const BEGIN_COMPLETE: &[u8] = b"C\0\0\0\x0aBEGIN\0";

/// How a statement is sent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The client's own frames.
    AsItCame,
    /// A simple query as Parse to Sync, since BEGIN goes before it in the same exchange.
    Taken,
}

/// A statement that was sent, alone on its connection or in a transaction.
#[derive(Debug)]
pub struct PassThrough {
    pub(super) connection: Pooled,
    /// All of it has left this side.
    sent: bool,
    /// The answer was waited for.
    awaited: bool,
    /// What the connection's state is when it has ended well.
    ends: Readiness,
    /// BEGIN went before it.
    pub(super) begins: bool,
    form: Form,
    /// Where in the input the client's part begins.
    from: usize,
}

/// What has come of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Looked {
    /// All of it: the statement ended well.
    Whole,
    /// Something that has to be read.
    Otherwise,
}

impl PassThrough {
    /// Sends what is written to the connection's output, and takes it for one exchange. `None`: the connection is lost, and
    /// nothing was sent.
    pub(super) fn send(mut connection: Pooled, ends: Readiness, begins: bool, form: Form) -> Option<PassThrough> {
        connection.try_flush().ok()?;
        connection.due += 1;
        let sent = connection.output.is_empty();
        Some(PassThrough { connection, sent, awaited: false, ends, begins, form, from: 0 })
    }

    /// Ready once the answer can be passed on, or has to be taken apart.
    #[inline]
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<Looked> {
        let backend: &mut Backend = &mut self.connection;
        if !self.sent {
            match pin!(backend.flush()).poll(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) => self.sent = true,
                Poll::Ready(Err(_)) => return Poll::Ready(Looked::Otherwise),
            }
        }
        if !self.awaited {
            self.awaited = true;
            if backend.poll_readable(context).is_pending() {
                return Poll::Pending;
            }
        }
        loop {
            match backend.poll_fill(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(1..)) => {}
                Poll::Ready(_) => return Poll::Ready(Looked::Otherwise),
            }
            match look(&backend.input, self.ends) {
                None => {}
                Some(Looked::Whole) if self.begins => {
                    let own = own_part(&backend.input, self.form);
                    self.from = own.unwrap_or_default();
                    return Poll::Ready(own.map_or(Looked::Otherwise, |_| Looked::Whole));
                }
                Some(looked) => return Poll::Ready(looked),
            }
        }
    }

    /// What has come for the client.
    pub fn answer(&self) -> &[u8] {
        &self.connection.input[self.from..]
    }

    /// Which use of a connection it is.
    pub fn used(&self) -> Use {
        self.connection.as_used()
    }

    /// Its connection, after its whole answer was passed on.
    pub(super) fn into_connection(mut self) -> Pooled {
        self.connection.input.clear();
        self.connection.due -= 1;
        self.connection
    }

    /// Gives its connection back to its pool, after its whole answer was passed on, now.
    pub fn end(self, now: Instant) {
        self.into_connection().give_back_at(now);
    }
}

/// `None`: more has to come.
#[inline]
fn look(input: &[u8], ends: Readiness) -> Option<Looked> {
    let ends: &[u8] = match ends {
        Readiness::Idle => b"I",
        _ => b"T",
    };
    let mut at = 0;
    loop {
        match next_frame(&input[at..]) {
            Ok(Next::Whole(header)) => {
                match header.kind {
                    b'D' | b'T' | b'C' | b'N' | b'1' | b'2' | b'n' => {}
                    b'Z' if input.get(at + 5..) == Some(ends) => return Some(Looked::Whole),
                    _ => return Some(Looked::Otherwise),
                }
                at += header.frame_bytes;
            }
            Ok(Next::Partial(_) | Next::Short) if input.len() < ANSWER_BYTES => return None,
            _ => return Some(Looked::Otherwise),
        }
    }
}

/// Where the answer to the client's own messages begins, behind BEGIN's.
fn own_part(input: &[u8], form: Form) -> Option<usize> {
    let rest = input.strip_prefix(PARSE_COMPLETE)?.strip_prefix(BIND_COMPLETE)?.strip_prefix(BEGIN_COMPLETE)?;
    let rest = match form {
        Form::AsItCame => rest,
        Form::Taken => {
            let rest = rest.strip_prefix(PARSE_COMPLETE)?.strip_prefix(BIND_COMPLETE)?;
            rest.strip_prefix(NO_DATA).unwrap_or(rest)
        }
    };
    Some(input.len() - rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: &[u8] = b"D\0\0\0\x0b\0\x01\0\0\0\x017";
    const TAG: &[u8] = b"C\0\0\0\x0dSELECT 1\0";
    const IDLE: &[u8] = b"Z\0\0\0\x05I";

    #[test]
    fn an_answer_is_whole_with_its_ready_for_query_and_not_before() {
        let whole = [ROW, TAG, IDLE].concat();
        for cut in 0..whole.len() {
            assert_eq!(look(&whole[..cut], Readiness::Idle), None, "{cut}");
        }
        assert_eq!(look(&whole, Readiness::Idle), Some(Looked::Whole));
        let told = [b"N\0\0\0\x05\0", ROW, TAG, IDLE].concat();
        assert_eq!(look(&told, Readiness::Idle), Some(Looked::Whole), "a notice is the client's, too");
    }

    #[test]
    fn whatever_is_not_a_plain_answer_has_to_be_read() {
        for other in [
            &b"E\0\0\0\x05\0"[..],
            b"S\0\0\0\x08a\0b\0",
            b"A\0\0\0\x0a\0\0\0\x01a\0",
            b"Z\0\0\0\x05T",
            b"Z\0\0\0\x05E",
            b"s\0\0\0\x04",
            b"G\0\0\0\x07\0\0\0",
            b"I\0\0\0\x04",
            b"\0\0\0\0\x04",
            b"D\xff\xff\xff\xff",
        ] {
            assert_eq!(look(&[ROW, other].concat(), Readiness::Idle), Some(Looked::Otherwise), "{other:?}");
        }
        // More after the end than was asked for.
        assert_eq!(look(&[ROW, TAG, IDLE, IDLE].concat(), Readiness::Idle), Some(Looked::Otherwise));
    }

    #[test]
    fn a_long_answer_is_not_waited_for() {
        let row = [&b"D\0\x01\0\0"[..], &[0; ANSWER_BYTES]].concat();
        assert_eq!(look(&row[..ANSWER_BYTES - 1], Readiness::Idle), None);
        assert_eq!(look(&row, Readiness::Idle), Some(Looked::Otherwise));
    }

    #[test]
    fn in_a_transaction_it_ends_within_it() {
        let within = [ROW, TAG, b"Z\0\0\0\x05T"].concat();
        assert_eq!(look(&within, Readiness::InTransaction), Some(Looked::Whole));
        for other in [IDLE, b"Z\0\0\0\x05E"] {
            assert_eq!(look(&[ROW, TAG, other].concat(), Readiness::InTransaction), Some(Looked::Otherwise));
        }
    }

    #[test]
    fn what_answers_begin_is_the_proxys_own() {
        let begun = [PARSE_COMPLETE, BIND_COMPLETE, BEGIN_COMPLETE].concat();
        let bound = [&begun, BIND_COMPLETE, ROW, TAG].concat();
        assert_eq!(own_part(&bound, Form::AsItCame), Some(begun.len()));
        let taken = [&begun, PARSE_COMPLETE, BIND_COMPLETE, ROW, TAG].concat();
        assert_eq!(own_part(&taken, Form::Taken), Some(begun.len() + 10));
        let written = [&begun, PARSE_COMPLETE, BIND_COMPLETE, NO_DATA, TAG].concat();
        assert_eq!(own_part(&written, Form::Taken), Some(begun.len() + 15));
        for other in [&begun[5..], &begun[..10], b""] {
            assert_eq!(own_part(other, Form::AsItCame), None);
        }
    }
}
