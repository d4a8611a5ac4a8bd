//! Reads an ErrorResponse or a NoticeResponse.
//!
//! <https://www.postgresql.org/docs/current/protocol-error-fields.html>

use crate::error::{Error, Fault, SqlState};

/// What a shard's report says, as an error of shardd's. Fields that it does not know are passed over; a SQLSTATE that it
/// does not know stands in the detail.
pub fn read_report(body: &[u8]) -> Error {
    let mut fields = Fields::default();
    let mut rest = body;
    while let Some((&letter, after)) = rest.split_first() {
        if letter == 0 {
            break;
        }
        let end = memchr::memchr(0, after).unwrap_or(after.len());
        let value = String::from_utf8_lossy(&after[..end]).into_owned();
        rest = after.get(end + 1..).unwrap_or_default();
        match letter {
            b'C' => fields.code = value,
            b'M' => fields.message = value,
            b'D' => fields.detail = Some(value),
            b'H' => fields.hint = Some(value),
            b'P' => fields.position = value.parse().ok(),
            b't' => fields.table = Some(value),
            b'c' => fields.column = Some(value),
            b'n' => fields.constraint = Some(value),
            _ => {}
        }
    }
    fields.into_error()
}

#[derive(Default)]
struct Fields {
    code: String,
    message: String,
    detail: Option<String>,
    hint: Option<String>,
    position: Option<u32>,
    table: Option<String>,
    column: Option<String>,
    constraint: Option<String>,
}

impl Fields {
    fn into_error(self) -> Error {
        let sqlstate = SqlState::from_code(&self.code);
        let mut error = Error::new(sqlstate, self.message).fault(Fault::Shard);
        let unknown = (sqlstate.code() != self.code).then(|| format!("The shard's SQLSTATE was {:?}.", self.code));
        let detail = [self.detail, unknown].into_iter().flatten().collect::<Vec<_>>();
        if !detail.is_empty() {
            error = error.detail(detail.join(" "));
        }
        if let Some(hint) = self.hint {
            error = error.hint(hint);
        }
        if let Some(position) = self.position {
            error = error.position(position);
        }
        if let Some(table) = self.table {
            error = error.table(table);
        }
        if let Some(column) = self.column {
            error = error.column(column);
        }
        if let Some(constraint) = self.constraint {
            error = error.constraint(constraint);
        }
        error
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_report_panics(body in proptest::collection::vec(prop_oneof![Just(0u8), Just(b'C'), Just(b'M'), any::<u8>()], 0..60)) {
            let _ = read_report(&body);
        }
    }

    #[test]
    fn a_report_gives_its_fields() {
        let error =
            read_report(b"SERROR\0VERROR\0C23505\0Mduplicate key\0DKey.\0Hhint\0P7\0tseats\0cid\0nseats_pkey\0\0");
        assert_eq!((error.sqlstate(), error.message()), (SqlState::UNIQUE_VIOLATION, "duplicate key"));
        assert_eq!((error.get_detail(), error.get_hint(), error.get_position()), (Some("Key."), Some("hint"), Some(7)));
        assert_eq!(error.get_constraint(), Some("seats_pkey"));
    }

    #[test]
    fn an_unknown_sqlstate_is_not_lost() {
        let error = read_report(b"CXX999\0Mboom\0\0");
        assert_eq!(error.sqlstate(), SqlState::INTERNAL_ERROR);
        assert!(error.get_detail().unwrap().contains("XX999"));
    }

    #[test]
    fn a_malformed_report_is_read_as_far_as_it_goes() {
        for body in [&b""[..], b"\0", b"M", b"Mx", b"C42601", b"M\xff\0", b"\0Mx\0"] {
            let _ = read_report(body);
        }
    }
}
