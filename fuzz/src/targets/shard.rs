//! What a Postgres shard answers.

use bytes::{Buf, BytesMut};
use shardd::shard::postgres::{Frame, Next, next_frame};
use shardd::types::Format;
use shardd::wire::backend::{self, Severity};
use shardd::wire::response;

use super::stream::taken;

/// A server's frames and what is in them.
pub fn shard_answers(data: &[u8]) {
    let (frames, _, _) = taken(data, |input| {
        let Next::Whole(header) = next_frame(input).map_err(drop)? else { return Ok(None) };
        assert!(header.frame_bytes > 4 && header.frame_bytes <= input.len());
        let mut body = input.split_to(header.frame_bytes).freeze();
        assert_eq!(body[0], header.kind);
        body.advance(5);
        Ok(Some(Frame { kind: header.kind, body }))
    });
    for Frame { kind, body } in &frames {
        match kind {
            b'E' | b'N' => check_report(body),
            b'T' => check_row_description(body),
            b'D' => check_row(body),
            b't' => _ = response::parameter_description(body).map(|oids| assert_eq!(oids.len() * 4 + 2, body.len())),
            b'C' => _ = response::affected_rows(body),
            b'S' => _ = response::parameter_status(body),
            b'Z' => _ = response::ready_for_query(body),
            _ => {}
        }
    }
}

/// A report that is passed on says the same again.
fn check_report(body: &[u8]) {
    let written = |error: &shardd::error::Error| {
        let mut out = BytesMut::new();
        backend::error_response(&mut out, Severity::Error, error);
        out.split_off(5)
    };
    let told = response::report(body);
    assert_eq!(told.code().len(), 5);
    // A table without a schema is in public from here on.
    let passed_on = response::report(&written(&told));
    assert_eq!((passed_on.code(), passed_on.message()), (told.code(), told.message()));
    assert_eq!((passed_on.get_hint(), passed_on.get_detail()), (told.get_hint(), told.get_detail()));
    assert_eq!(response::report(&written(&passed_on)), passed_on);
}

type Column = (String, u32, i16, u32, i16, i32, Format);

fn columns(body: &[u8]) -> Option<Vec<Column>> {
    let mut columns = Vec::new();
    let read = response::row_description(body, |field| {
        let response::Field { name, table_oid, attribute, type_oid, type_size, modifier, format } = field;
        columns.push((name.to_owned(), table_oid, attribute, type_oid, type_size, modifier, format));
    });
    read.ok().map(|()| columns)
}

fn check_row_description(body: &[u8]) {
    let Some(told) = columns(body) else { return };
    let fields =
        told.iter().map(|(name, table_oid, attribute, type_oid, type_size, modifier, format)| backend::Field {
            name,
            table_oid: *table_oid,
            attribute: *attribute,
            type_oid: *type_oid,
            type_size: *type_size,
            modifier: *modifier,
            format: *format,
        });
    let mut out = BytesMut::new();
    backend::row_description(&mut out, fields);
    assert_eq!(columns(&out[5..]), Some(told), "a description is passed on as it came");
}

fn check_row(body: &[u8]) {
    let frame = [&b"D\0\0\0\0"[..], body].concat();
    let Ok(values) = response::data_row(&frame) else { return };
    let values: usize = values.iter().map(|value| 4 + value.map_or(0, <[u8]>::len)).sum();
    assert!(values + 2 <= body.len(), "values are longer than the row that they came in");
}
