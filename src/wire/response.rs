//! The messages that a server sends, read: what a Postgres shard answers.
//!
//! A shard is trusted with its rows and not with shardd's memory or its other clients: every length is checked, and
//! what cannot be read ends that connection.
//!
//! <https://www.postgresql.org/docs/current/protocol-message-formats.html>

use super::backend::Readiness;
use super::body::Body;
use crate::error::{Error, Fault, Result, SqlState};
use crate::types::Format;

/// A column of a RowDescription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    pub name: &'a str,
    pub table_oid: u32,
    pub attribute: i16,
    pub type_oid: u32,
    pub type_size: i16,
    pub modifier: i32,
    pub format: Format,
}

/// # Errors
/// The body is no ReadyForQuery's.
pub fn ready_for_query(body: &[u8]) -> Result<Readiness> {
    match body {
        b"I" => Ok(Readiness::Idle),
        b"T" => Ok(Readiness::InTransaction),
        b"E" => Ok(Readiness::InFailedTransaction),
        _ => Err(unreadable("ReadyForQuery")),
    }
}

/// The fields of an ErrorResponse or NoticeResponse. Whose fault it is, its class tells: the shard's own troubles (its
/// disk, its memory, its end) are the shard's, all else the statement's. A server may report in another encoding before
/// it knows the client's: what is no UTF-8 is replaced. What is cut short is read as far as it goes.
pub fn report(body: &[u8]) -> Error {
    let mut error = Error::new(SqlState::INTERNAL_ERROR, "a shard reported an error without a message");
    let mut rest = body;
    while let Some((&letter, after)) = rest.split_first() {
        if letter == 0 {
            break;
        }
        let end = memchr::memchr(0, after).unwrap_or(after.len());
        let value = String::from_utf8_lossy(&after[..end]);
        rest = after.get(end + 1..).unwrap_or_default();
        error = match letter {
            b'C' => error.with_sqlstate(SqlState::from_code(&value)),
            b'M' => error.with_message(value),
            b'D' => error.detail(value),
            b'H' => error.hint(value),
            b'P' => match value.parse() {
                Ok(position) => error.position(position),
                Err(_) => error,
            },
            b't' => error.table(value),
            b'c' => error.column(value),
            b'n' => error.constraint(value),
            // The severity, which is translated in the first form.
            b'S' | b'V' => error,
            other => error.other(other, value),
        };
    }
    error.with_fault_of_class()
}

/// Calls `each` with every column.
///
/// # Errors
/// The body is no RowDescription's.
pub fn row_description(body: &[u8], mut each: impl FnMut(Field<'_>)) -> Result<()> {
    let mut body = Body::of_slice(body);
    let mut read = || -> Result<()> {
        let count = body.count()?;
        for _ in 0..count {
            each(Field {
                name: body.text()?,
                table_oid: body.u32()?,
                attribute: body.u16()?.cast_signed(),
                type_oid: body.u32()?,
                type_size: body.u16()?.cast_signed(),
                modifier: body.u32()?.cast_signed(),
                format: if body.u16()? == 1 { Format::Binary } else { Format::Text },
            });
        }
        body.end()
    };
    read().map_err(|_| unreadable("RowDescription"))
}

/// The types' OIDs.
///
/// # Errors
/// The body is no ParameterDescription's.
pub fn parameter_description(body: &[u8]) -> Result<Vec<u32>> {
    let mut body = Body::of_slice(body);
    let mut read = || -> Result<Vec<u32>> {
        let count = body.count()?;
        let oids = (0..count).map(|_| body.u32()).collect::<Result<_>>()?;
        body.end()?;
        Ok(oids)
    };
    read().map_err(|_| unreadable("ParameterDescription"))
}

/// The values of a whole DataRow frame; `None` is NULL.
///
/// # Errors
/// It is no whole DataRow.
pub fn data_row(frame: &[u8]) -> Result<Vec<Option<&[u8]>>> {
    let mut body = Body::of_slice(frame.get(5..).unwrap_or_default());
    let mut read = || -> Result<Vec<Option<&[u8]>>> {
        let count = body.count()?;
        // What is claimed takes no memory before it is found.
        let mut values = Vec::with_capacity(count.min(frame.len() / 4));
        for _ in 0..count {
            values.push(match usize::try_from(body.i32()?) {
                Err(_) => None,
                Ok(length) => Some(body.bytes(length)?),
            });
        }
        Ok(values)
    };
    read().map_err(|_| unreadable("DataRow"))
}

/// The rows that a command tag counts; 0 where it has no count.
///
/// # Errors
/// The body is no CommandComplete's.
pub fn affected_rows(body: &[u8]) -> Result<u64> {
    let tag = body.strip_suffix(b"\0").ok_or_else(|| unreadable("CommandComplete"))?;
    let digits = tag.rsplit(|byte| *byte == b' ').next().unwrap_or_default();
    Ok(digits
        .iter()
        .try_fold(0_u64, |number, byte| match byte {
            b'0'..=b'9' => number.checked_mul(10)?.checked_add(u64::from(byte - b'0')),
            _ => None,
        })
        .unwrap_or(0))
}

/// A ParameterStatus.
///
/// # Errors
/// The body is not one.
pub fn parameter_status(body: &[u8]) -> Result<(&str, &str)> {
    let mut body = Body::of_slice(body);
    let mut read = || Ok((body.text()?, body.text()?));
    read().map_err(|_: Error| unreadable("ParameterStatus"))
}

fn unreadable(message: &str) -> Error {
    Error::new(SqlState::PROTOCOL_VIOLATION, format!("a shard sent a {message} that cannot be read"))
        .fault(Fault::Shard)
        .hint("Is the shard's URL that of a Postgres server? See the server's log.")
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;
    use crate::wire::backend::{self, Severity};

    /// The body of the one message that `write` writes.
    fn body(write: impl FnOnce(&mut BytesMut)) -> Vec<u8> {
        let mut out = BytesMut::new();
        write(&mut out);
        out[5..].to_vec()
    }

    #[test]
    fn a_report_keeps_every_field() {
        let told = Error::new(SqlState::from_code("P0042"), "no")
            .detail("d")
            .hint("h")
            .position(3)
            .table("t")
            .column("c")
            .constraint("n")
            .other(b's', "app")
            .other(b'W', "PL/pgSQL function f()");
        let body = body(|out| backend::error_response(out, Severity::Error, &told));
        assert_eq!(report(&body), told);
    }

    #[test]
    fn what_is_cut_short_is_an_error_and_never_a_panic() {
        let told = Error::new(SqlState::SYNTAX_ERROR, "no").hint("h");
        let whole = body(|out| backend::error_response(out, Severity::Error, &told));
        for cut in 0..whole.len() {
            let _ = report(&whole[..cut]);
        }
        assert_eq!(report(b"M\xff\0").message(), "\u{fffd}");
        let described = b"\0\x01a\0\0\0\0\0\0\0\0\0\0\x17\0\x04\xff\xff\xff\xff\0\0";
        let mut fields = 0;
        row_description(described, |field| {
            assert_eq!((field.name, field.type_oid, field.type_size, field.modifier), ("a", 23, 4, -1));
            fields += 1;
        })
        .unwrap();
        assert_eq!(fields, 1);
        for cut in 0..described.len() {
            assert!(row_description(&described[..cut], |_| ()).is_err(), "{cut}");
        }
        assert!(parameter_description(b"\xff\xff\0\0").is_err());
        assert_eq!(parameter_description(b"\0\x01\0\0\0\x17").unwrap(), [23]);
        assert!(ready_for_query(b"x").is_err());
    }

    #[test]
    fn a_tag_counts_the_rows_at_its_end() {
        for (tag, rows) in [("INSERT 0 12", 12), ("UPDATE 3", 3), ("BEGIN", 0), ("SELECT 99999999999999999999", 0)] {
            assert_eq!(affected_rows(format!("{tag}\0").as_bytes()).unwrap(), rows, "{tag}");
        }
        assert!(affected_rows(b"SELECT 1").is_err());
    }
}
