//! Takes the fields of a message's body off its front, one after another.
//!
//! Whatever a peer sent, reading past the end is an error and never a panic: a frame's own length is already checked, but
//! the counts and lengths inside it are the peer's word.

use bytes::{Buf, Bytes};

use crate::error::{Error, Result, SqlState};

/// What is left of a body. Cheap to copy: it borrows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Body<'a> {
    /// The memory that the body lies in, where it is shared.
    frame: Option<&'a Bytes>,
    rest: &'a [u8],
}

pub(super) fn violation(message: &'static str) -> Error {
    Error::new(SqlState::PROTOCOL_VIOLATION, message)
}

impl<'a> Body<'a> {
    pub(super) fn new(frame: &'a Bytes) -> Body<'a> {
        Body { frame: Some(frame), rest: frame }
    }

    /// A body in memory that is not shared.
    pub(super) fn of_slice(body: &'a [u8]) -> Body<'a> {
        Body { frame: None, rest: body }
    }

    pub(super) fn remaining(&self) -> usize {
        self.rest.len()
    }

    pub(super) fn bytes(&mut self, length: usize) -> Result<&'a [u8]> {
        let Some((taken, rest)) = self.rest.split_at_checked(length) else {
            return Err(violation("insufficient data left in message"));
        };
        self.rest = rest;
        Ok(taken)
    }

    /// As [`Body::bytes`], sharing the frame's memory where it can be shared.
    pub(super) fn shared(&mut self, length: usize) -> Result<Bytes> {
        let taken = self.bytes(length)?;
        Ok(self.frame.map_or_else(|| Bytes::copy_from_slice(taken), |frame| frame.slice_ref(taken)))
    }

    pub(super) fn u8(&mut self) -> Result<u8> {
        Ok(self.bytes(1)?[0])
    }

    pub(super) fn u16(&mut self) -> Result<u16> {
        Ok(self.bytes(2)?.get_u16())
    }

    /// A count of things that follow. Postgres writes it in 16 bits and takes it as unsigned where it may be large.
    pub(super) fn count(&mut self) -> Result<usize> {
        Ok(usize::from(self.bytes(2)?.get_u16()))
    }

    pub(super) fn i32(&mut self) -> Result<i32> {
        Ok(self.bytes(4)?.get_i32())
    }

    pub(super) fn u32(&mut self) -> Result<u32> {
        Ok(self.bytes(4)?.get_u32())
    }

    /// A text that a zero byte ends.
    pub(super) fn text(&mut self) -> Result<&'a str> {
        let Some(end) = memchr::memchr(0, self.rest) else {
            return Err(violation("invalid string in message"));
        };
        let text = &self.rest[..end];
        self.rest = &self.rest[end + 1..];
        std::str::from_utf8(text).map_err(|error| invalid_utf8(text, error))
    }

    /// The message must end here.
    pub(super) fn end(&self) -> Result<()> {
        if self.rest.is_empty() { Ok(()) } else { Err(violation("invalid message format")) }
    }
}

/// As Postgres words it, with the first bytes that are no character.
fn invalid_utf8(text: &[u8], error: std::str::Utf8Error) -> Error {
    let begin = error.valid_up_to();
    let length = error.error_len().unwrap_or(text.len() - begin);
    let bytes = text[begin..].iter().take(length.max(1)).map(|byte| format!("0x{byte:02x}")).collect::<Vec<_>>();
    let message = format!("invalid byte sequence for encoding \"UTF8\": {}", bytes.join(" "));
    Error::new(SqlState::CHARACTER_NOT_IN_REPERTOIRE, message)
}
