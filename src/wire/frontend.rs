//! The messages of a session, as clients send them.
//!
//! A decoded message borrows from its frame; values that outlive it share the frame's memory.
//!
//! <https://www.postgresql.org/docs/current/protocol-message-formats.html>

use bytes::Bytes;

use super::body::{Body, violation};
use super::frame::Frame;
use crate::error::{Error, Result, SqlState};
use crate::types::Format;

/// How long messages of a type may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Size {
    Small,
    Large,
}

/// `None`: no frontend message has this type.
pub(super) fn size_of(kind: u8) -> Option<Size> {
    match kind {
        b'Q' | b'P' | b'B' | b'F' | b'd' => Some(Size::Large),
        b'D' | b'E' | b'C' | b'H' | b'S' | b'X' | b'c' | b'f' | b'p' => Some(Size::Small),
        _ => None,
    }
}

/// Whether Describe or Close means a statement or a portal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    Statement,
    Portal,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Message<'a> {
    Query {
        text: &'a str,
    },
    Parse {
        name: &'a str,
        text: &'a str,
        /// Type OIDs; 0 leaves a parameter to be inferred.
        types: Oids<'a>,
    },
    Bind(Bind<'a>),
    Describe {
        target: Target,
        name: &'a str,
    },
    Execute {
        portal: &'a str,
        /// 0: all rows.
        row_limit: usize,
    },
    Close {
        target: Target,
        name: &'a str,
    },
    Flush,
    Sync,
    Terminate,
    /// A call of a function by its OID, which nothing but old versions of libpq's large objects sends.
    FunctionCall,
    /// CopyData, CopyDone or CopyFail.
    Copy,
    /// PasswordMessage, SASLInitialResponse or SASLResponse: what it is depends on what was asked.
    Password,
}

/// A Bind message: values for a statement's parameters, and how its rows shall be written.
#[derive(Clone, Debug, PartialEq)]
pub struct Bind<'a> {
    pub portal: &'a str,
    pub statement: &'a str,
    /// None: all text. One: for all. Otherwise one for each.
    pub parameter_formats: Vec<Format>,
    /// `None` is NULL.
    pub values: Vec<Option<Bytes>>,
    /// None: all text. One: for all. Otherwise one for each.
    pub result_formats: FormatCodes<'a>,
}

/// What a Query's body holds before its end, which is not known to be a text.
pub fn query_bytes(body: &[u8]) -> Option<&[u8]> {
    body.strip_suffix(&[0])
}

/// A Parse message that stays where it is.
#[derive(Clone, Copy, Debug)]
pub struct ParseInPlace<'a> {
    pub name: &'a str,
    pub text: &'a str,
    pub types: Oids<'a>,
}

impl<'a> ParseInPlace<'a> {
    /// `None` where [`decode`] has to say what is wrong.
    pub fn read(body: &'a [u8]) -> Option<ParseInPlace<'a>> {
        let (name, body) = text(body)?;
        let (text, body) = text(body)?;
        let (count, types) = body.split_first_chunk::<2>()?;
        let fits = types.len() == usize::from(u16::from_be_bytes(*count)) * 4;
        fits.then_some(ParseInPlace { name, text, types: Oids(types) })
    }
}

/// A Bind message whose values stay where they are. What it was made of can be sent on under another statement's name.
#[derive(Clone, Copy, Debug)]
pub struct BindInPlace<'a> {
    pub portal: &'a str,
    pub statement: &'a str,
    /// Everything behind the statement's name.
    pub rest: &'a [u8],
    formats: &'a [u8],
    values: &'a [u8],
    count: usize,
    /// The format of all result columns; `None` when each has its own.
    pub result_format: Option<Format>,
}

impl<'a> BindInPlace<'a> {
    /// `None` where [`decode`] has to say what is wrong.
    pub fn read(body: &'a [u8]) -> Option<BindInPlace<'a>> {
        let (portal, body) = text(body)?;
        let (statement, rest) = text(body)?;
        let (formats, body) = codes(rest)?;
        let (count, body) = body.split_first_chunk::<2>()?;
        let count = usize::from(u16::from_be_bytes(*count));
        let values = body;
        let mut left = body;
        for _ in 0..count {
            left = value(left)?.1;
        }
        let (results, end) = codes(left)?;
        let result_format = match results {
            [] => Some(Format::Text),
            [_, code] => Some(format(*code)),
            _ => None,
        };
        let fits = end.is_empty() && (formats.len() <= 2 || formats.len() == count * 2);
        fits.then_some(BindInPlace { portal, statement, rest, formats, values, count, result_format })
    }

    /// How many values there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The value of a number, from 0, and its format. `None`: there is none, or it is NULL.
    pub fn value(&self, index: usize) -> Option<(Format, &'a [u8])> {
        if index >= self.count {
            return None;
        }
        let mut left = self.values;
        for _ in 0..index {
            left = value(left)?.1;
        }
        let format = match self.formats {
            [] => Format::Text,
            [_, code] => format(*code),
            codes => format(*codes.get(index * 2 + 1)?),
        };
        Some((format, value(left)?.0?))
    }
}

#[inline]
fn text(bytes: &[u8]) -> Option<(&str, &[u8])> {
    if let [0, rest @ ..] = bytes {
        return Some(("", rest));
    }
    let end = memchr::memchr(0, bytes)?;
    Some((std::str::from_utf8(&bytes[..end]).ok()?, &bytes[end + 1..]))
}

/// Format codes, two bytes each.
fn codes(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (count, rest) = bytes.split_first_chunk::<2>()?;
    let (codes, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*count)) * 2)?;
    codes.as_chunks::<2>().0.iter().all(|code| matches!(code, [0, 0 | 1])).then_some((codes, rest))
}

fn format(code: u8) -> Format {
    if code == 0 { Format::Text } else { Format::Binary }
}

/// A value with its length before it; `None` in it is NULL.
fn value(bytes: &[u8]) -> Option<(Option<&[u8]>, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    match i32::from_be_bytes(*length) {
        -1 => Some((None, rest)),
        length => {
            let (value, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
            Some((Some(value), rest))
        }
    }
}

/// Type OIDs, four bytes each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Oids<'a>(&'a [u8]);

impl<'a> Oids<'a> {
    pub fn iter(self) -> impl ExactSizeIterator<Item = u32> + 'a {
        self.0.as_chunks::<4>().0.iter().map(|bytes| u32::from_be_bytes(*bytes))
    }
}

/// Format codes that were checked, two bytes each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FormatCodes<'a>(&'a [u8]);

impl<'a> FormatCodes<'a> {
    pub fn iter(self) -> impl ExactSizeIterator<Item = Format> + 'a {
        let format = |code: &[u8; 2]| if code[1] == 0 { Format::Text } else { Format::Binary };
        self.0.as_chunks::<2>().0.iter().map(format)
    }
}

/// Decodes a frame.
///
/// # Errors
/// Its body is malformed. The next frame can still be read.
pub fn decode(frame: &Frame) -> Result<Message<'_>> {
    let mut body = Body::new(&frame.body);
    let message = match frame.kind {
        b'Q' => Message::Query { text: body.text()? },
        b'P' => {
            let (name, text) = (body.text()?, body.text()?);
            let count = body.count()?;
            Message::Parse { name, text, types: Oids(body.bytes(count * 4)?) }
        }
        b'B' => Message::Bind(bind(&mut body)?),
        b'D' => {
            Message::Describe { target: target(&mut body, "invalid DESCRIBE message subtype")?, name: body.text()? }
        }
        b'C' => Message::Close { target: target(&mut body, "invalid CLOSE message subtype")?, name: body.text()? },
        b'E' => {
            // A negative limit is none, as in Postgres.
            Message::Execute { portal: body.text()?, row_limit: usize::try_from(body.i32()?).unwrap_or(0) }
        }
        b'H' => Message::Flush,
        b'S' => Message::Sync,
        b'X' => return Ok(Message::Terminate),
        b'F' => return Ok(Message::FunctionCall),
        b'd' | b'c' | b'f' => return Ok(Message::Copy),
        b'p' => return Ok(Message::Password),
        _ => return Err(violation("invalid frontend message type")),
    };
    body.end()?;
    Ok(message)
}

fn target(body: &mut Body<'_>, otherwise: &'static str) -> Result<Target> {
    match body.u8()? {
        b'S' => Ok(Target::Statement),
        b'P' => Ok(Target::Portal),
        _ => Err(violation(otherwise)),
    }
}

fn bind<'a>(body: &mut Body<'a>) -> Result<Bind<'a>> {
    let (portal, statement) = (body.text()?, body.text()?);
    let parameter_formats = formats(body)?.iter().collect();
    let count = body.count()?;
    // Each value has a length of its own, so the frame bounds how many there can be.
    if count > body.remaining() / 4 {
        return Err(violation("insufficient data left in message"));
    }
    let mut values = Vec::with_capacity(count);
    for _ in 0..count {
        values.push(match body.i32()? {
            -1 => None,
            length => {
                let length = usize::try_from(length).map_err(|_| violation("invalid parameter length in message"))?;
                Some(body.shared(length)?)
            }
        });
    }
    let result_formats = formats(body)?;
    Ok(Bind { portal, statement, parameter_formats, values, result_formats })
}

fn formats<'a>(body: &mut Body<'a>) -> Result<FormatCodes<'a>> {
    let count = body.count()?;
    let codes = body.bytes(count * 2)?;
    for code in codes.as_chunks::<2>().0 {
        if !matches!(code, [0, 0 | 1]) {
            let code = i16::from_be_bytes(*code);
            return Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, format!("unsupported format code: {code}")));
        }
    }
    Ok(FormatCodes(codes))
}

/// The start of an authentication exchange: the mechanism's name and the client's first message.
///
/// # Errors
/// The message is malformed.
pub fn sasl_initial_response(body: &Bytes) -> Result<(&str, &[u8])> {
    let mut body = Body::new(body);
    let mechanism = body.text()?;
    let data = match usize::try_from(body.i32()?) {
        Ok(length) => body.bytes(length)?,
        Err(_) => &[],
    };
    body.end()?;
    Ok((mechanism, data))
}

/// The text of a password message that answers a question other than SASL's.
///
/// # Errors
/// The message is malformed.
pub fn password(body: &Bytes) -> Result<&str> {
    let mut body = Body::new(body);
    let password = body.text()?;
    body.end()?;
    Ok(password)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(kind: u8, body: &[u8]) -> Frame {
        Frame { kind, body: Bytes::copy_from_slice(body) }
    }

    fn sqlstate(frame: &Frame) -> SqlState {
        decode(frame).expect_err("malformed").sqlstate()
    }

    #[test]
    fn a_bind_shares_the_memory_of_its_frame() {
        let body = b"p\0s\0\0\x01\0\x01\0\x02\0\0\0\x03abc\xff\xff\xff\xff\0\x01\0\x01";
        let frame = frame(b'B', body);
        let Ok(Message::Bind(bind)) = decode(&frame) else { panic!("a bind") };
        assert_eq!((bind.portal, bind.statement), ("p", "s"));
        assert_eq!(bind.parameter_formats, [Format::Binary]);
        assert_eq!(bind.values, [Some(Bytes::from_static(b"abc")), None]);
        assert_eq!(bind.result_formats.iter().collect::<Vec<_>>(), [Format::Binary]);
        let value = bind.values[0].as_ref().expect("a value");
        assert!(frame.body.as_ptr_range().contains(&value.as_ptr()));
    }

    #[test]
    fn a_parse_gives_its_types_in_order() {
        let frame = frame(b'P', b"s1\0SELECT $1\0\0\x02\0\0\0\x17\0\0\0\0");
        let Ok(Message::Parse { name, text, types }) = decode(&frame) else { panic!("a parse") };
        assert_eq!((name, text, types.iter().collect::<Vec<_>>()), ("s1", "SELECT $1", vec![23, 0]));
    }

    #[test]
    fn a_negative_row_limit_is_none() {
        let unlimited = frame(b'E', b"\0\xff\xff\xff\xff");
        assert_eq!(decode(&unlimited).expect("valid"), Message::Execute { portal: "", row_limit: 0 });
        let limited = frame(b'E', b"c\0\0\0\0\x05");
        assert_eq!(decode(&limited).expect("valid"), Message::Execute { portal: "c", row_limit: 5 });
    }

    #[test]
    fn counts_and_lengths_beyond_the_frame_are_violations() {
        let cases: [(u8, &[u8]); 9] = [
            (b'Q', b"SELECT 1"),
            (b'Q', b"SELECT 1\0x"),
            (b'P', b"\0\0\xff\xff\0\0\0\0"),
            (b'B', b"\0\0\0\0\xff\xff"),
            (b'B', b"\0\0\0\0\0\x01\x7f\xff\xff\xff"),
            (b'B', b"\0\0\0\0\0\x01\xff\xff\xff\xfe\0\0"),
            (b'D', b"Xname\0"),
            (b'S', b"\0"),
            (b'E', b"\0\0\0"),
        ];
        for (kind, body) in cases {
            assert_eq!(sqlstate(&frame(kind, body)), SqlState::PROTOCOL_VIOLATION, "{} {body:?}", kind as char);
        }
    }

    #[test]
    fn a_text_that_is_no_utf8_is_named_by_its_bytes() {
        let error = decode(&frame(b'Q', b"SELECT '\xc3\x28'\0")).map(|_| ()).expect_err("no UTF-8");
        assert_eq!(error.sqlstate(), SqlState::CHARACTER_NOT_IN_REPERTOIRE);
        assert_eq!(error.message(), "invalid byte sequence for encoding \"UTF8\": 0xc3");
    }

    #[test]
    fn an_unknown_format_code_is_refused() {
        assert_eq!(sqlstate(&frame(b'B', b"\0\0\0\x01\0\x02\0\0\0\0")), SqlState::INVALID_PARAMETER_VALUE);
    }

    #[test]
    fn a_sasl_response_may_have_no_data() {
        let body = Bytes::from_static(b"SCRAM-SHA-256\0\xff\xff\xff\xff");
        assert_eq!(sasl_initial_response(&body).expect("valid"), ("SCRAM-SHA-256", &b""[..]));
        assert!(sasl_initial_response(&Bytes::from_static(b"SCRAM-SHA-256\0\0\0\0\x09n,,")).is_err());
    }

    proptest! {
        #[test]
        fn no_body_panics(kind in proptest::sample::select(&b"QPBDECHSXFdcfp"[..]),
                          body in proptest::collection::vec(prop_oneof![Just(0u8), Just(1u8), Just(0xff), any::<u8>()], 0..64)) {
            let _ = decode(&frame(kind, &body));
            let in_place = BindInPlace::read(&body);
            let whole = frame(b'B', &body);
            match (in_place, decode(&whole)) {
                (Some(in_place), Ok(Message::Bind(bind))) => {
                    prop_assert_eq!((in_place.portal, in_place.statement), (bind.portal, bind.statement));
                    prop_assert_eq!(in_place.count(), bind.values.len());
                    for (index, value) in bind.values.iter().enumerate() {
                        prop_assert_eq!(in_place.value(index).map(|(_, value)| value), value.as_deref());
                    }
                }
                (Some(in_place), _) => prop_assert!(false, "{in_place:?}"),
                (None, Ok(Message::Bind(bind))) => {
                    prop_assert!(bind.parameter_formats.len() > 1 && bind.parameter_formats.len() != bind.values.len());
                }
                (None, _) => {}
            }
            let body = Bytes::from(body);
            let _ = (sasl_initial_response(&body), password(&body));
        }
    }
}
