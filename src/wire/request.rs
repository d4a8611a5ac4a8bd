//! The messages that a client sends, written one after another into one buffer: what shardd asks of a Postgres shard.
//!
//! <https://www.postgresql.org/docs/current/protocol-message-formats.html>

use bytes::{BufMut, Bytes, BytesMut};

use super::backend::{message, put_text};
use crate::error::{Error, Result};
use crate::types::Format;

/// A simple query.
pub fn query(out: &mut BytesMut, text: &str) {
    message(out, b'Q', |out| put_text(out, text));
}

/// The same as Parse, Bind, Describe, Execute and Sync.
pub fn text_to_sync(out: &mut BytesMut, text: &str) {
    parse(out, "", text, &[]);
    bind(out, "", Values { formats: &[], values: &[] }, &[]);
    describe_portal(out);
    execute(out);
    sync(out);
}

/// `type_oids`: 0 leaves a type to be inferred.
pub fn parse(out: &mut BytesMut, statement: &str, text: &str, type_oids: &[u32]) {
    message(out, b'P', |out| {
        put_text(out, statement);
        put_text(out, text);
        out.put_u16(type_oids.len() as u16);
        for oid in type_oids {
            out.put_u32(*oid);
        }
    });
}

/// The values of a Bind message.
#[derive(Clone, Copy, Debug)]
pub struct Values<'a> {
    /// None: all text. One: for all. Otherwise one for each.
    pub formats: &'a [Format],
    /// `None` is NULL.
    pub values: &'a [Option<Bytes>],
}

/// Binds the unnamed portal.
pub fn bind(out: &mut BytesMut, statement: &str, values: Values<'_>, result_formats: &[Format]) {
    message(out, b'B', |out| {
        put_text(out, "");
        put_text(out, statement);
        put_formats(out, values.formats);
        out.put_u16(values.values.len() as u16);
        for value in values.values {
            match value {
                None => out.put_i32(-1),
                Some(value) => {
                    out.put_u32(value.len() as u32);
                    out.put_slice(value);
                }
            }
        }
        put_formats(out, result_formats);
    });
}

fn put_formats(out: &mut BytesMut, formats: &[Format]) {
    out.put_u16(formats.len() as u16);
    for format in formats {
        out.put_u16(match format {
            Format::Text => 0,
            Format::Binary => 1,
        });
    }
}

pub fn describe_statement(out: &mut BytesMut, statement: &str) {
    message(out, b'D', |out| {
        out.put_u8(b'S');
        put_text(out, statement);
    });
}

/// Describes the unnamed portal.
pub fn describe_portal(out: &mut BytesMut) {
    out.put_slice(b"D\0\0\0\x06P\0");
}

/// Runs the unnamed portal to its end.
pub fn execute(out: &mut BytesMut) {
    out.put_slice(b"E\0\0\0\x09\0\0\0\0\0");
}

pub fn close_statement(out: &mut BytesMut, statement: &str) {
    message(out, b'C', |out| {
        out.put_u8(b'S');
        put_text(out, statement);
    });
}

pub fn sync(out: &mut BytesMut) {
    out.put_slice(b"S\0\0\0\x04");
}

/// What begins the rows of COPY FROM STDIN in binary form.
pub fn copy_header(out: &mut BytesMut) {
    message(out, b'd', |out| out.put_slice(b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0"));
}

/// Makes CopyData of DataRow frames in binary form: a row is written alike in both.
///
/// # Errors
/// They are no whole frames of rows.
pub fn rows_to_copy(frames: &mut [u8]) -> Result<()> {
    let mut rest = frames;
    while let [kind, length @ ..] = rest {
        let whole = length.first_chunk::<4>().map(|bytes| u32::from_be_bytes(*bytes) as usize + 1);
        if *kind != b'D' {
            return Err(Error::internal("a frame that is no row was to be copied"));
        }
        *kind = b'd';
        let whole = whole.filter(|whole| *whole >= 5).ok_or_else(|| Error::internal("a row's frame was cut"))?;
        rest = rest.get_mut(whole..).ok_or_else(|| Error::internal("a row's frame was cut"))?;
    }
    Ok(())
}

/// What ends rows that have no mark of their own.
pub fn copy_done(out: &mut BytesMut) {
    message(out, b'c', |_| {});
}

/// What takes them back.
pub fn copy_fail(out: &mut BytesMut, reason: &str) {
    message(out, b'f', |out| put_text(out, reason));
}

/// What ends the rows.
pub fn copy_end(out: &mut BytesMut) {
    message(out, b'd', |out| out.put_i16(-1));
    message(out, b'c', |_| {});
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::frontend::{self, Message};
    use crate::wire::{Limits, take_frame};

    /// What the door's own decoder makes of a message.
    fn decoded(write: impl FnOnce(&mut BytesMut), check: impl FnOnce(Message<'_>)) {
        let mut out = BytesMut::new();
        write(&mut out);
        let frame = take_frame(&mut out, Limits::Session { message_bytes: 1 << 20 }).unwrap().expect("whole");
        assert!(out.is_empty(), "nothing is left over");
        check(frontend::decode(&frame).unwrap());
    }

    #[test]
    fn rows_are_copied_as_they_are() {
        let mut rows = *b"D\0\0\0\x0b\0\x01\0\0\0\x017D\0\0\0\x0a\0\x01\xff\xff\xff\xff";
        rows_to_copy(&mut rows).unwrap();
        assert_eq!(&rows, b"d\0\0\0\x0b\0\x01\0\0\0\x017d\0\0\0\x0a\0\x01\xff\xff\xff\xff");
        for wrong in [&b"C\0\0\0\x04"[..], b"D\0\0\0\x0b\0", b"D\0\0", b"D\0\0\0\0"] {
            assert!(rows_to_copy(&mut wrong.to_vec()).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn what_is_written_is_what_a_server_reads() {
        decoded(|out| query(out, "SELECT 1"), |m| assert!(matches!(m, Message::Query { text: "SELECT 1" })));
        decoded(
            |out| parse(out, "s", "SELECT $1", &[20, 0]),
            |m| {
                let Message::Parse { name, text, types } = m else { panic!("a Parse") };
                assert_eq!((name, text, types.iter().collect::<Vec<_>>()), ("s", "SELECT $1", vec![20, 0]));
            },
        );
        let values = [Some(Bytes::from_static(b"7")), None];
        let formats = [Format::Text, Format::Binary];
        decoded(
            |out| bind(out, "s", Values { formats: &formats, values: &values }, &[Format::Binary]),
            |m| {
                let Message::Bind(bind) = m else { panic!("a Bind") };
                assert_eq!((bind.portal, bind.statement), ("", "s"));
                assert_eq!((bind.parameter_formats, bind.values), (formats.to_vec(), values.to_vec()));
                assert_eq!(bind.result_formats.iter().collect::<Vec<_>>(), [Format::Binary]);
            },
        );
        decoded(|out| describe_statement(out, "s"), |m| assert!(matches!(m, Message::Describe { name: "s", .. })));
        decoded(describe_portal, |m| assert!(matches!(m, Message::Describe { name: "", .. })));
        decoded(execute, |m| assert!(matches!(m, Message::Execute { portal: "", row_limit: 0 })));
        decoded(|out| close_statement(out, "s"), |m| assert!(matches!(m, Message::Close { name: "s", .. })));
        decoded(sync, |m| assert!(matches!(m, Message::Sync)));
    }
}
