//! The rows of COPY: their ends, their keys and their fields, in pieces of any size.

use shardd::copying::{Encoder, Form, Header, Item, Splitter, Style, fields};

const COLUMNS: usize = 3;

/// One client's rows; the first two bytes say how they are written and where they are cut.
pub fn copy_rows(data: &[u8]) {
    let [style, cut, rows @ ..] = data else { return };
    let form = [Form::Text, Form::Csv, Form::Binary][usize::from(style % 3)];
    let mut style_of = Style::of(form);
    if form != Form::Binary && style & 0x80 != 0 {
        style_of.header = Header::Present;
    }
    if form == Form::Csv && style & 0x40 != 0 {
        style_of.escape = b'\\';
    }
    let columns: Vec<String> = (0..COLUMNS).map(|number| format!("c{number}")).collect();
    let key = usize::from(style >> 2 & 3) % COLUMNS;
    let whole = split(&style_of, &columns, key, rows, rows.len().max(1));
    let parts = split(&style_of, &columns, key, rows, usize::from(*cut).max(1));
    assert_eq!(whole, parts, "cut every {cut} bytes");
    let taken: usize = whole.0.iter().map(|(bytes, _)| bytes.len()).sum();
    assert!(taken <= rows.len());
    // Whatever can be in a shard's frames, it is written or refused.
    let _ = Encoder::new(style_of, columns).rows(rows, &mut bytes::BytesMut::new());
}

/// The rows and their keys up to the first error, and that.
type Found = (Vec<(Vec<u8>, Option<Vec<u8>>)>, Option<String>);

fn split(style: &Style, columns: &[String], key: usize, rows: &[u8], size: usize) -> Found {
    let mut splitter = Splitter::new(style.clone(), columns.to_vec(), Some(key));
    let mut found = Vec::new();
    for piece in rows.chunks(size).map(Some).chain([None]) {
        match piece {
            Some(piece) => splitter.feed(piece).expect("it is short"),
            None => splitter.end(),
        }
        loop {
            match splitter.next_item() {
                Err(error) => return (found, Some(error.message().to_owned())),
                Ok(None) => break,
                Ok(Some(Item::Header(_))) => {}
                Ok(Some(Item::Row(row))) => {
                    if let Ok(values) = fields(row.content(), style, columns) {
                        assert_eq!(values[key], row.key, "a key is the field in its place");
                    }
                    found.push((row.bytes.to_vec(), row.key.as_deref().map(<[u8]>::to_vec)));
                }
            }
        }
    }
    (found, None)
}
