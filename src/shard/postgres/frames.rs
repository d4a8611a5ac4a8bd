//! Finds the frames in what a server has sent, and bounds what it may claim.
//!
//! <https://www.postgresql.org/docs/current/protocol-message-formats.html>

use bytes::Bytes;

use super::failure::violation;
use crate::error::Result;

pub(super) const HEADER_BYTES: usize = 5;
/// What libpq accepts from a server for messages that carry no data of a user's.
const SMALL_FRAME_LIMIT_BYTES: usize = 30_000;
/// A row or a piece of a COPY: Postgres makes none that is longer.
const LARGE_FRAME_LIMIT_BYTES: usize = (1 << 30) + 1024;
/// ParameterDescription: 65,535 types of 4 bytes.
const DESCRIPTION_LIMIT_BYTES: usize = 1 << 19;

/// A server's message: its type, and its body in the memory it was read into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub kind: u8,
    pub body: Bytes,
}

/// A frame's first five bytes, judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub kind: u8,
    /// With the header.
    pub frame_bytes: usize,
}

/// What stands at a place in the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// A frame that has arrived whole.
    Whole(Header),
    /// A frame whose end has not arrived.
    Partial(Header),
    /// Fewer bytes than a header has; perhaps none.
    Short,
}

/// Reads the header at the front of `input`.
///
/// # Errors
/// No server's message begins so: where the next one begins is unknown, so the connection has to be closed.
#[inline]
pub fn next_frame(input: &[u8]) -> Result<Next> {
    let Some(&[kind, a, b, c, d]) = input.first_chunk::<HEADER_BYTES>() else {
        return Ok(Next::Short);
    };
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    let limit = limit_of(kind);
    if length < 4 || length > limit {
        return Err(bad_header(kind, length, limit));
    }
    let header = Header { kind, frame_bytes: length + 1 };
    Ok(if input.len() >= header.frame_bytes { Next::Whole(header) } else { Next::Partial(header) })
}

/// The most that a frame's length field may say; 0 where there is no such frame.
#[inline]
fn limit_of(kind: u8) -> usize {
    match kind {
        b'D' | b'd' | b'T' | b'E' | b'N' | b'A' | b'V' => LARGE_FRAME_LIMIT_BYTES,
        b't' => DESCRIPTION_LIMIT_BYTES,
        b'C' | b'Z' | b'1' | b'2' | b'3' | b'n' | b's' | b'I' | b'S' | b'K' | b'R' | b'G' | b'H' | b'W' | b'c'
        | b'v' => SMALL_FRAME_LIMIT_BYTES,
        _ => 0,
    }
}

#[cold]
fn bad_header(kind: u8, length: usize, limit: usize) -> crate::error::Error {
    if limit == 0 {
        violation(format_args!("{kind:#04x} is no message's type"))
    } else {
        violation(format_args!("a message of type '{}' claims {length} bytes", kind as char))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::SqlState;

    fn header(kind: u8, length: u32) -> Vec<u8> {
        [&[kind][..], &length.to_be_bytes()].concat()
    }

    #[test]
    fn a_length_that_cannot_be_is_refused_from_the_header_alone() {
        for length in [0, 1, 3, 1 << 31, u32::MAX, (1 << 30) + 1025] {
            let error = next_frame(&header(b'D', length)).unwrap_err();
            assert_eq!(error.sqlstate(), SqlState::PROTOCOL_VIOLATION, "{length}");
        }
        for kind in *b"CZ123nsISKRGHWcv" {
            assert!(next_frame(&header(kind, 30_001)).is_err(), "{}", kind as char);
            assert!(next_frame(&header(kind, 30_000)).is_ok(), "{}", kind as char);
        }
    }

    #[test]
    fn what_no_server_sends_is_refused() {
        for kind in (0..=255u8).filter(|kind| !b"DdTENAVtCZ123nsISKRGHWcv".contains(kind)) {
            assert!(next_frame(&header(kind, 4)).is_err(), "{kind}");
        }
    }

    #[test]
    fn a_frame_is_whole_partial_or_short() {
        let frame = b"Z\0\0\0\x05I";
        let header = Header { kind: b'Z', frame_bytes: 6 };
        for cut in 0..5 {
            assert_eq!(next_frame(&frame[..cut]).unwrap(), Next::Short);
        }
        assert_eq!(next_frame(&frame[..5]).unwrap(), Next::Partial(header));
        assert_eq!(next_frame(frame).unwrap(), Next::Whole(header));
        assert_eq!(next_frame(&[&frame[..], b"junk"].concat()).unwrap(), Next::Whole(header));
    }
}
