//! Values of parameters and literals: whatever can be read is written so that it is read again.

use bytes::BytesMut;
use shardd::error::SqlState;
use shardd::types::{Datum, PgType, TextStyle};

/// The first two bytes choose the type and the format.
pub fn client_values(data: &[u8]) {
    let &[low, high, ref value @ ..] = data else { return };
    let oid = u32::from(u16::from_le_bytes([low, high & 0x7f]));
    let Some(data_type) = PgType::from_oid(oid) else { return };
    if matches!(data_type, PgType::Char | PgType::CharArray) {
        // A byte of any value in Postgres, whose zero is the empty text. Only the catalog has it.
        return;
    }
    let style = TextStyle::default();
    let read = if high & 0x80 == 0 {
        std::str::from_utf8(value).ok().and_then(|text| Datum::from_text(data_type, text, &style).ok())
    } else {
        Datum::from_binary(data_type, value).ok()
    };
    let Some(datum) = read else { return };
    let mut binary = BytesMut::new();
    datum.write_binary(&mut binary);
    let again = Datum::from_binary(data_type, &binary);
    let mut twice = BytesMut::new();
    again.unwrap_or_else(|error| panic!("{data_type:?} {datum:?}: {error:?}")).write_binary(&mut twice);
    assert_eq!(twice, binary, "{data_type:?} {datum:?}");
    if let Some(text) = datum.to_text(&style) {
        match Datum::from_text(data_type, &text, &style) {
            Ok(again) => assert_eq!(again.to_text(&style), Some(text), "{data_type:?} {datum:?}"),
            // Types of the catalog's own come as numbers only.
            Err(error) if error.sqlstate() == SqlState::FEATURE_NOT_SUPPORTED => {}
            Err(error) => panic!("{data_type:?} {text:?}: {error:?}"),
        }
    }
}
