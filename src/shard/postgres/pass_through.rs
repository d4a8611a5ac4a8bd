//! One exchange whose answer leaves as it came: its frames are looked at, and not taken apart.
//!
//! Most statements end well and in one piece. Whatever else happens (an error, a notice, a long answer, a connection that is
//! lost), the exchange goes on as any other does, with nothing taken of it yet: see
//! [`PostgresShard::go_on`](super::PostgresShard::go_on).

use std::pin::pin;
use std::task::{Context, Poll};

use super::backend::Backend;
use super::frames::{Next, next_frame};
use super::pool::Pooled;

/// What an answer may hold and still be passed on at once.
const ANSWER_BYTES: usize = 64 << 10;

/// A statement that was sent, alone on its connection.
#[derive(Debug)]
pub struct PassThrough {
    pub(super) connection: Pooled,
    /// All of it has left this side.
    sent: bool,
}

/// What has come of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Looked {
    /// All of it: the statement ended well, and the connection is idle.
    Whole,
    /// Something that has to be read.
    Otherwise,
}

impl PassThrough {
    pub(super) fn new(connection: Pooled) -> PassThrough {
        PassThrough { connection, sent: false }
    }

    /// Sends what is written to the connection's output, and takes it for one exchange. `false`: the connection is lost, and
    /// nothing was sent.
    pub(super) fn send(&mut self) -> bool {
        let backend: &mut Backend = &mut self.connection;
        match backend.try_flush() {
            Ok(()) => {
                backend.due += 1;
                self.sent = backend.output.is_empty();
                true
            }
            Err(_) => false,
        }
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
        loop {
            match pin!(backend.fill()).poll(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(1..)) => {}
                Poll::Ready(_) => return Poll::Ready(Looked::Otherwise),
            }
            if let Some(looked) = look(&backend.input) {
                return Poll::Ready(looked);
            }
        }
    }

    /// What has come.
    pub fn answer(&self) -> &[u8] {
        &self.connection.input
    }

    /// Gives the connection back, after its whole answer was passed on.
    pub fn end(mut self) {
        self.connection.input.clear();
        self.connection.due -= 1;
        self.connection.give_back();
    }
}

/// `None`: more has to come.
#[inline]
fn look(input: &[u8]) -> Option<Looked> {
    let mut at = 0;
    loop {
        match next_frame(&input[at..]) {
            Ok(Next::Whole(header)) => {
                let end = at + header.frame_bytes;
                match header.kind {
                    b'D' | b'T' | b'C' | b'1' | b'2' => {}
                    b'Z' if input.get(at + 5..) == Some(b"I") => return Some(Looked::Whole),
                    _ => return Some(Looked::Otherwise),
                }
                at = end;
            }
            Ok(Next::Partial(_) | Next::Short) if input.len() < ANSWER_BYTES => return None,
            _ => return Some(Looked::Otherwise),
        }
    }
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
            assert_eq!(look(&whole[..cut]), None, "{cut}");
        }
        assert_eq!(look(&whole), Some(Looked::Whole));
    }

    #[test]
    fn whatever_is_not_a_plain_answer_has_to_be_read() {
        for other in [
            &b"E\0\0\0\x05\0"[..],
            b"N\0\0\0\x05\0",
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
            assert_eq!(look(&[ROW, other].concat()), Some(Looked::Otherwise), "{other:?}");
        }
        // More after the end than was asked for.
        assert_eq!(look(&[ROW, TAG, IDLE, IDLE].concat()), Some(Looked::Otherwise));
    }

    #[test]
    fn a_long_answer_is_not_waited_for() {
        let row = [&b"D\0\x01\0\0"[..], &[0; ANSWER_BYTES]].concat();
        assert_eq!(look(&row[..ANSWER_BYTES - 1]), None);
        assert_eq!(look(&row), Some(Looked::Otherwise));
    }
}
