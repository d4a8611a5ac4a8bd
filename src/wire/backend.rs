//! The messages that a server sends, written one after another into one buffer.
//!
//! DataRow is not among them: the shards write rows as whole frames.
//!
//! <https://www.postgresql.org/docs/current/protocol-message-formats.html>

use bytes::{BufMut, BytesMut};

use super::startup::Version;
use crate::error::{Error, SqlState};
use crate::types::Format;

/// The answer to a request for encryption that will not be had.
pub const ENCRYPTION_REFUSED: u8 = b'N';
/// The answer to a request for encryption that begins now.
pub const ENCRYPTION_ACCEPTED: u8 = b'S';

/// What ReadyForQuery tells of the transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    Idle,
    InTransaction,
    InFailedTransaction,
}

/// How bad an error is: whether the connection survives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    Error,
    /// The connection ends after it.
    Fatal,
}

/// One column of a RowDescription.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Field<'a> {
    pub name: &'a str,
    pub table_oid: u32,
    pub attribute: i16,
    pub type_oid: u32,
    pub type_size: i16,
    pub modifier: i32,
    pub format: Format,
}

/// Writes a message whose body `write` gives, and its length.
pub(super) fn message(out: &mut BytesMut, kind: u8, write: impl FnOnce(&mut BytesMut)) {
    out.put_u8(kind);
    let begin = out.len();
    out.put_u32(0);
    write(out);
    // A server's own message is far shorter than 4 GiB: its parts were limited when they came in.
    let length = (out.len() - begin) as u32;
    out[begin..begin + 4].copy_from_slice(&length.to_be_bytes());
}

/// A text and its zero byte. A zero inside would end it early and shift every field after it.
pub(super) fn put_text(out: &mut BytesMut, text: &str) {
    if memchr::memchr(0, text.as_bytes()).is_none() {
        out.put_slice(text.as_bytes());
    } else {
        out.extend(text.bytes().filter(|byte| *byte != 0));
    }
    out.put_u8(0);
}

pub fn authentication_ok(out: &mut BytesMut) {
    out.put_slice(b"R\0\0\0\x08\0\0\0\0");
}

pub fn authentication_md5(out: &mut BytesMut, salt: &[u8; 4]) {
    message(out, b'R', |out| {
        out.put_u32(5);
        out.put_slice(salt);
    });
}

/// Offers SASL mechanisms, the preferred one first.
pub fn authentication_sasl(out: &mut BytesMut, mechanisms: &[&str]) {
    message(out, b'R', |out| {
        out.put_u32(10);
        for mechanism in mechanisms {
            put_text(out, mechanism);
        }
        out.put_u8(0);
    });
}

pub fn authentication_sasl_continue(out: &mut BytesMut, data: &str) {
    message(out, b'R', |out| {
        out.put_u32(11);
        out.put_slice(data.as_bytes());
    });
}

pub fn authentication_sasl_final(out: &mut BytesMut, data: &str) {
    message(out, b'R', |out| {
        out.put_u32(12);
        out.put_slice(data.as_bytes());
    });
}

/// Tells a client the version that is spoken instead of the one it asked for, and which of its extensions are unknown.
/// Like Postgres's own, it carries the whole version and not the minor number alone.
pub fn negotiate_protocol_version(out: &mut BytesMut, version: Version, unknown_options: &[String]) {
    message(out, b'v', |out| {
        out.put_u32(version.number());
        out.put_u32(unknown_options.len() as u32);
        for option in unknown_options {
            put_text(out, option);
        }
    });
}

pub fn parameter_status(out: &mut BytesMut, name: &str, value: &str) {
    message(out, b'S', |out| {
        put_text(out, name);
        put_text(out, value);
    });
}

/// Passes on what a NOTIFY sent: channel and payload, each with its zero byte.
pub fn notification_response(out: &mut BytesMut, process: i32, channel_and_payload: &[u8]) {
    message(out, b'A', |out| {
        out.put_i32(process);
        out.put_slice(channel_and_payload);
    });
}

pub fn backend_key_data(out: &mut BytesMut, process: i32, key: &[u8]) {
    message(out, b'K', |out| {
        out.put_i32(process);
        out.put_slice(key);
    });
}

pub fn ready_for_query(out: &mut BytesMut, readiness: Readiness) {
    out.put_slice(match readiness {
        Readiness::Idle => b"Z\0\0\0\x05I",
        Readiness::InTransaction => b"Z\0\0\0\x05T",
        Readiness::InFailedTransaction => b"Z\0\0\0\x05E",
    });
}

pub fn parse_complete(out: &mut BytesMut) {
    out.put_slice(b"1\0\0\0\x04");
}

pub fn bind_complete(out: &mut BytesMut) {
    out.put_slice(b"2\0\0\0\x04");
}

pub fn close_complete(out: &mut BytesMut) {
    out.put_slice(b"3\0\0\0\x04");
}

pub fn no_data(out: &mut BytesMut) {
    out.put_slice(b"n\0\0\0\x04");
}

pub fn portal_suspended(out: &mut BytesMut) {
    out.put_slice(b"s\0\0\0\x04");
}

pub fn empty_query_response(out: &mut BytesMut) {
    out.put_slice(b"I\0\0\0\x04");
}

pub fn parameter_description(out: &mut BytesMut, type_oids: impl ExactSizeIterator<Item = u32>) {
    message(out, b't', |out| {
        out.put_u16(type_oids.len() as u16);
        for oid in type_oids {
            out.put_u32(oid);
        }
    });
}

pub fn row_description<'a>(out: &mut BytesMut, fields: impl ExactSizeIterator<Item = Field<'a>>) {
    message(out, b'T', |out| {
        out.put_u16(fields.len() as u16);
        for field in fields {
            put_text(out, field.name);
            out.put_u32(field.table_oid);
            out.put_i16(field.attribute);
            out.put_u32(field.type_oid);
            out.put_i16(field.type_size);
            out.put_i32(field.modifier);
            out.put_u16(match field.format {
                Format::Text => 0,
                Format::Binary => 1,
            });
        }
    });
}

/// The server takes rows: of so many columns, all in one format.
pub fn copy_in_response(out: &mut BytesMut, format: Format, columns: usize) {
    copy_response(out, b'G', format, columns);
}

/// The server gives rows.
pub fn copy_out_response(out: &mut BytesMut, format: Format, columns: usize) {
    copy_response(out, b'H', format, columns);
}

fn copy_response(out: &mut BytesMut, kind: u8, format: Format, columns: usize) {
    let code = u8::from(format == Format::Binary);
    message(out, kind, |out| {
        out.put_u8(code);
        out.put_u16(columns as u16);
        for _ in 0..columns {
            out.put_u16(u16::from(code));
        }
    });
}

pub fn copy_done(out: &mut BytesMut) {
    out.put_slice(b"c\0\0\0\x04");
}

/// The tag's words, and its row count where it has one.
pub fn command_complete(out: &mut BytesMut, tag: &str, rows: Option<u64>) {
    message(out, b'C', |out| {
        out.put_slice(tag.as_bytes());
        if let Some(rows) = rows {
            out.put_u8(b' ');
            put_decimal(out, rows);
        }
        out.put_u8(0);
    });
}

/// `fmt` would cost more than the rest of the message.
fn put_decimal(out: &mut BytesMut, mut number: u64) {
    let mut digits = [0u8; 20];
    let mut begin = digits.len();
    loop {
        begin -= 1;
        digits[begin] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.put_slice(&digits[begin..]);
}

pub fn error_response(out: &mut BytesMut, severity: Severity, error: &Error) {
    let severity = match severity {
        Severity::Error => "ERROR",
        Severity::Fatal => "FATAL",
    };
    message(out, b'E', |out| put_report(out, severity, error));
}

/// A notice or a warning, which its SQLSTATE's class tells apart as Postgres does.
pub fn notice_response(out: &mut BytesMut, notice: &Error) {
    message(out, b'N', |out| put_report(out, notice_severity(notice.sqlstate()), notice));
}

fn notice_severity(sqlstate: SqlState) -> &'static str {
    if sqlstate.is_warning() { "WARNING" } else { "NOTICE" }
}

fn put_report(out: &mut BytesMut, severity: &str, error: &Error) {
    let mut field = |letter: u8, value: &str| {
        out.put_u8(letter);
        put_text(out, value);
    };
    let reported = |letter| error.get_others().iter().any(|(other, _)| *other == letter);
    field(b'S', severity);
    field(b'V', severity);
    field(b'C', error.sqlstate().code());
    field(b'M', error.message());
    let optional = [(b'D', error.get_detail()), (b'H', error.get_hint())];
    for (letter, value) in optional {
        if let Some(value) = value {
            field(letter, value);
        }
    }
    if let Some(position) = error.get_position() {
        field(b'P', &position.to_string());
    }
    if let Some(table) = error.get_table() {
        if !reported(b's') {
            field(b's', "public");
        }
        field(b't', table);
    }
    let optional = [(b'c', error.get_column()), (b'n', error.get_constraint())];
    for (letter, value) in optional {
        if let Some(value) = value {
            field(letter, value);
        }
    }
    for (letter, value) in error.get_others() {
        field(*letter, value);
    }
    out.put_u8(0);
}

#[cfg(test)]
mod tests {
    use postgres_protocol::message::backend::Message;

    use super::*;
    use crate::types::PgType;

    /// Decodes with another implementation of the protocol than this one.
    fn decoded(write: impl FnOnce(&mut BytesMut)) -> Message {
        let mut out = BytesMut::new();
        write(&mut out);
        let message = Message::parse(&mut out).expect("well-formed").expect("whole");
        assert!(out.is_empty(), "nothing is left over");
        message
    }

    fn bytes(write: impl FnOnce(&mut BytesMut)) -> Vec<u8> {
        let mut out = BytesMut::new();
        write(&mut out);
        out.to_vec()
    }

    fn fields(error: &Error) -> Vec<(u8, String)> {
        use fallible_iterator::FallibleIterator;
        let Message::ErrorResponse(body) = decoded(|out| error_response(out, Severity::Error, error)) else {
            panic!("an error");
        };
        body.fields()
            .map(|f| Ok((f.type_(), String::from_utf8_lossy(f.value_bytes()).into_owned())))
            .collect()
            .expect("fields")
    }

    #[test]
    fn an_error_carries_every_field_that_it_has() {
        let error = Error::new(SqlState::UNIQUE_VIOLATION, "duplicate key")
            .detail("Key (id)=(1) already exists.")
            .hint("try another")
            .position(15)
            .table("seats")
            .column("id")
            .constraint("seats_pkey");
        let letters: Vec<u8> = fields(&error).iter().map(|(letter, _)| *letter).collect();
        assert_eq!(letters, b"SVCMDHPstcn");
        assert!(fields(&error).contains(&(b'P', "15".to_owned())));
        let plain = Error::new(SqlState::SYNTAX_ERROR, "no");
        let expected = [(b'S', "ERROR"), (b'V', "ERROR"), (b'C', "42601"), (b'M', "no")];
        assert_eq!(fields(&plain), expected.map(|(letter, value)| (letter, value.to_owned())));
    }

    #[test]
    fn a_zero_byte_in_a_message_does_not_shift_its_fields() {
        let error = Error::new(SqlState::INVALID_TEXT_REPRESENTATION, "bad \"a\0b\"").hint("h");
        assert_eq!(fields(&error)[3..], [(b'M', "bad \"ab\"".to_owned()), (b'H', "h".to_owned())]);
    }

    #[test]
    fn warnings_and_notices_are_told_apart_by_their_class() {
        let severity = |state| notice_severity(state);
        assert_eq!(severity(SqlState::NO_ACTIVE_SQL_TRANSACTION), "WARNING");
        assert_eq!(severity(SqlState::DUPLICATE_TABLE), "NOTICE");
    }

    #[test]
    fn a_tag_ends_with_its_row_count() {
        for (rows, expected) in [(0, "0"), (9, "9"), (10, "10"), (u64::MAX, "18446744073709551615")] {
            let Message::CommandComplete(body) = decoded(|out| command_complete(out, "SELECT", Some(rows))) else {
                panic!("a tag");
            };
            assert_eq!(body.tag().expect("a tag"), format!("SELECT {expected}"));
        }
        assert_eq!(bytes(|out| command_complete(out, "BEGIN", None)), b"C\0\0\0\x0aBEGIN\0");
    }

    #[test]
    fn a_row_description_describes_each_column() {
        use fallible_iterator::FallibleIterator;
        let field = Field {
            name: "price",
            table_oid: 16_384,
            attribute: 3,
            type_oid: PgType::Numeric.oid(),
            type_size: PgType::Numeric.size(),
            modifier: 655_366,
            format: Format::Binary,
        };
        let Message::RowDescription(body) = decoded(|out| row_description(out, [field, field].into_iter())) else {
            panic!("a description");
        };
        let read = body
            .fields()
            .map(|f| Ok((f.name().to_owned(), f.type_oid(), f.type_size(), f.type_modifier(), f.format())));
        let expected = ("price".to_owned(), 1700, -1, 655_366, 1);
        assert_eq!(read.collect::<Vec<_>>().expect("fields"), [expected.clone(), expected]);
    }

    #[test]
    fn negotiation_names_the_version_in_full_and_echoes_every_option() {
        let options = ["_pq_.a".to_owned(), "_pq_.b".to_owned()];
        let sent = bytes(|out| negotiate_protocol_version(out, Version::V3_2, &options));
        assert_eq!(sent, b"v\0\0\0\x1a\0\x03\0\x02\0\0\0\x02_pq_.a\0_pq_.b\0");
    }

    #[test]
    fn fixed_messages_have_their_length() {
        let all: [fn(&mut BytesMut); 8] = [
            authentication_ok,
            parse_complete,
            bind_complete,
            close_complete,
            no_data,
            portal_suspended,
            empty_query_response,
            |out| ready_for_query(out, Readiness::InFailedTransaction),
        ];
        for write in all {
            decoded(write);
        }
    }
}
