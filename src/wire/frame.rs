//! Cuts a stream of bytes into frames.
//!
//! A frame is taken only when all of it has arrived, and its length is judged as soon as its header has: memory grows with
//! what a peer has really sent, never with what it claims it will.
//!
//! <https://www.postgresql.org/docs/current/protocol-message-formats.html>

use bytes::{Buf, Bytes, BytesMut};

use super::frontend;
use crate::error::{Error, Result, SqlState};

/// A start-up packet may not be longer, as in Postgres (`MAX_STARTUP_PACKET_LENGTH`).
pub const STARTUP_LIMIT_BYTES: usize = 10_000;
/// Nor a message that carries no statement and no values (`PQ_SMALL_MESSAGE_LIMIT`).
const SMALL_MESSAGE_LIMIT_BYTES: usize = 10_000;
/// What SASL messages are allowed (`PG_MAX_SASL_MESSAGE_LENGTH`).
const PASSWORD_LIMIT_BYTES: usize = 1_024;

/// A frontend message: its type, and its body in the memory it was read into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub kind: u8,
    pub body: Bytes,
}

/// Which messages are accepted, and how long they may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limits {
    /// Only a password or SASL message, and a short one.
    Authenticating,
    /// Every message of a session; those with statements or values up to this many bytes.
    Session { message_bytes: usize },
}

impl Limits {
    /// The most that a message's length field may say.
    fn of(self, kind: u8) -> Result<usize> {
        match (self, kind) {
            (Limits::Authenticating, b'p') => Ok(PASSWORD_LIMIT_BYTES),
            (Limits::Authenticating, _) => Err(Error::new(
                SqlState::PROTOCOL_VIOLATION,
                format!("expected a password message, got message type {kind}"),
            )),
            (Limits::Session { message_bytes }, kind) => match frontend::size_of(kind) {
                Some(frontend::Size::Small) => Ok(SMALL_MESSAGE_LIMIT_BYTES),
                Some(frontend::Size::Large) => Ok(message_bytes),
                None => Err(Error::new(SqlState::PROTOCOL_VIOLATION, format!("invalid frontend message type {kind}"))),
            },
        }
    }
}

fn length_field(bytes: [u8; 4]) -> Option<usize> {
    usize::try_from(i32::from_be_bytes(bytes)).ok().filter(|length| *length >= 4)
}

/// Takes the next message off the front of `input`, or `None` when more bytes are needed.
///
/// # Errors
/// The header is that of no message, or of one that is too long: where the next one begins is unknown, so the
/// connection has to end.
pub fn take_frame(input: &mut BytesMut, limits: Limits) -> Result<Option<Frame>> {
    let Some(&[kind, a, b, c, d]) = input.first_chunk::<5>() else {
        // A wrong type is refused before its length arrives.
        return input.first().map_or(Ok(None), |kind| limits.of(*kind).map(|_| None));
    };
    let limit = limits.of(kind)?;
    let Some(length) = length_field([a, b, c, d]) else {
        return Err(Error::new(SqlState::PROTOCOL_VIOLATION, "invalid message length"));
    };
    if length > limit {
        return Err(too_long(length, limit, limits));
    }
    if input.len() < length + 1 {
        return Ok(None);
    }
    input.advance(5);
    let body = if length == 4 { Bytes::new() } else { input.split_to(length - 4).freeze() };
    Ok(Some(Frame { kind, body }))
}

/// The type of the message at the front of `input`, and its length with the header, when it is whole and within its limit:
/// it is left where it lies. `None` where [`take_frame`] waits or has to say what is wrong.
#[inline]
pub fn whole_frame(input: &[u8], limits: Limits) -> Option<(u8, usize)> {
    let &[kind, a, b, c, d] = input.first_chunk::<5>()?;
    let length = length_field([a, b, c, d])?;
    (length <= limits.of(kind).ok()? && input.len() > length).then_some((kind, length + 1))
}

/// Whether what has arrived goes on with a Sync, apart from messages that run nothing (Close, Flush).
pub fn next_is_sync(input: &[u8]) -> bool {
    const LOOK_AHEAD_MESSAGES: usize = 4;
    let mut rest = input;
    for _ in 0..LOOK_AHEAD_MESSAGES {
        let Some(&[kind, a, b, c, d]) = rest.first_chunk::<5>() else { return false };
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        match kind {
            b'S' => return length == 4,
            b'C' | b'H' => match rest.get(length.saturating_add(1)..) {
                Some(next) => rest = next,
                None => return false,
            },
            _ => return false,
        }
    }
    false
}

fn too_long(length: usize, limit: usize, limits: Limits) -> Error {
    let error = Error::new(SqlState::PROTOCOL_VIOLATION, "invalid message length")
        .detail(format!("The message claims {length} bytes; {limit} are allowed here."));
    match limits {
        Limits::Session { message_bytes } if limit == message_bytes => {
            error.hint("Send less in one statement, or raise the limit on messages in shardd's configuration.")
        }
        _ => error,
    }
}

/// Takes a start-up packet (it has no type) off the front of `input`, without its length.
///
/// # Errors
/// Its length cannot be one. A TLS or an HTTP client is refused here too: its first bytes read as a huge length.
pub fn take_startup_packet(input: &mut BytesMut) -> Result<Option<Bytes>> {
    let Some(header) = input.first_chunk::<4>() else {
        return Ok(None);
    };
    let length = length_field(*header).filter(|length| (8..=STARTUP_LIMIT_BYTES).contains(length));
    let Some(length) = length else {
        return Err(Error::new(SqlState::PROTOCOL_VIOLATION, "invalid length of startup packet"));
    };
    if input.len() < length {
        return Ok(None);
    }
    input.advance(4);
    Ok(Some(input.split_to(length - 4).freeze()))
}

#[cfg(test)]
mod tests {
    use bytes::BufMut;

    use super::*;

    const SESSION: Limits = Limits::Session { message_bytes: 1 << 20 };

    fn header(kind: u8, length: i32) -> BytesMut {
        let mut input = BytesMut::new();
        input.put_u8(kind);
        input.put_i32(length);
        input
    }

    #[test]
    fn a_length_that_cannot_be_is_refused_from_the_header_alone() {
        for length in [-1, i32::MIN, 0, 3, (1 << 20) + 1, 1 << 30, i32::MAX] {
            let mut input = header(b'Q', length);
            assert!(take_frame(&mut input, SESSION).is_err(), "{length}");
            assert!(input.capacity() < 1024, "nothing is allocated for a claim");
        }
        for length in [4, 7, 8, 10_001, 1 << 20] {
            assert_eq!(take_frame(&mut header(b'Q', length), SESSION).is_ok_and(|frame| frame.is_none()), length != 4);
        }
    }

    #[test]
    fn a_message_without_statement_or_values_must_be_short() {
        for kind in *b"ESDCHXcp" {
            assert!(take_frame(&mut header(kind, 10_001), SESSION).is_err(), "{}", kind as char);
        }
    }

    #[test]
    fn an_unknown_type_is_refused_at_its_first_byte() {
        for kind in (0..=255u8).filter(|kind| !b"QPBDECHSXFdcfp".contains(kind)) {
            assert!(take_frame(&mut BytesMut::from(&[kind][..]), SESSION).is_err(), "{kind}");
        }
    }

    #[test]
    fn only_a_short_password_message_is_read_before_authentication() {
        for kind in (0..=255u8).filter(|kind| *kind != b'p') {
            let mut input = header(kind, 8);
            assert!(take_frame(&mut input, Limits::Authenticating).is_err(), "{kind}");
        }
        assert!(take_frame(&mut header(b'p', 1025), Limits::Authenticating).is_err());
        assert!(matches!(take_frame(&mut header(b'p', 1024), Limits::Authenticating), Ok(None)));
    }

    #[test]
    fn a_frame_is_taken_once_it_is_whole_and_leaves_the_next_one() {
        let whole = b"Q\0\0\0\x06;\0S\0\0\0\x04";
        for cut in 0..7 {
            assert_eq!(take_frame(&mut BytesMut::from(&whole[..cut]), SESSION).expect("valid so far"), None);
        }
        let mut input = BytesMut::from(&whole[..]);
        let query = take_frame(&mut input, SESSION).expect("valid").expect("whole");
        assert_eq!((query.kind, &query.body[..]), (b'Q', &b";\0"[..]));
        let sync = take_frame(&mut input, SESSION).expect("valid").expect("whole");
        assert_eq!((sync.kind, sync.body.len(), input.len()), (b'S', 0, 0));
    }

    #[test]
    fn a_sync_is_seen_behind_messages_that_run_nothing() {
        let (sync, close, flush) = (b"S\0\0\0\x04", b"C\0\0\0\x06P\0", b"H\0\0\0\x04");
        assert!(next_is_sync(sync));
        assert!(next_is_sync(&[&close[..], flush, sync, b"B"].concat()));
        for other in [
            &b""[..],
            b"S\0\0\0",
            b"S\0\0\0\x05x",
            b"B\0\0\0\x04",
            b"C\xff\xff\xff\xff",
            b"C\0\0\0\x06P\0",
            b"C\0\0\0\0",
        ] {
            assert!(!next_is_sync(other), "{other:?}");
        }
    }

    #[test]
    fn a_startup_packet_over_its_limit_is_refused() {
        for length in [-1i32, 0, 3, 4, 7, 10_001, 1 << 30, i32::MAX, 0x1603_0100, 0x4745_5420] {
            let mut input = BytesMut::from(&length.to_be_bytes()[..]);
            assert!(take_startup_packet(&mut input).is_err(), "{length}");
        }
        let mut input = BytesMut::from(&10_000i32.to_be_bytes()[..]);
        assert_eq!(take_startup_packet(&mut input).expect("allowed"), None);
        input.resize(10_001, 7);
        assert_eq!(take_startup_packet(&mut input).expect("allowed").map(|packet| packet.len()), Some(9_996));
        assert_eq!(&input[..], [7]);
    }
}
