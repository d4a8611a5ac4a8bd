//! Rows are found wherever the stream is cut, and what was written is read.

use bytes::BytesMut;
use proptest::prelude::*;

use super::*;
use crate::error::Result;

fn columns(count: usize) -> Vec<String> {
    (1..=count).map(|number| format!("c{number}")).collect()
}

/// Rows and their keys; NULL is `None`.
type Found = Vec<(Vec<u8>, Option<Vec<u8>>, u64)>;

/// What a splitter finds in pieces.
fn split(style: &Style, count: usize, key: usize, pieces: &[&[u8]]) -> Result<Found> {
    let mut splitter = Splitter::new(style.clone(), columns(count), Some(key));
    let mut found = Vec::new();
    let mut take = |splitter: &mut Splitter| -> Result<()> {
        while let Some(item) = splitter.next_item()? {
            if let Item::Row(row) = item {
                found.push((row.content().to_vec(), row.key.as_deref().map(<[u8]>::to_vec), row.line));
            }
        }
        Ok(())
    };
    for piece in pieces {
        splitter.feed(piece)?;
        take(&mut splitter)?;
    }
    splitter.end();
    take(&mut splitter)?;
    Ok(found)
}

fn keys(style: &Style, count: usize, key: usize, text: &str) -> Vec<Option<String>> {
    let found = split(style, count, key, &[text.as_bytes()]).unwrap();
    let text = |key: Option<Vec<u8>>| key.map(|key| String::from_utf8(key).unwrap());
    found.into_iter().map(|(_, key, _)| text(key)).collect()
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[test]
fn keys_of_text_rows_are_unescaped() {
    let style = Style::of(Form::Text);
    assert_eq!(keys(&style, 2, 0, "7\ta\n8\tb\n"), [some("7"), some("8")]);
    assert_eq!(keys(&style, 2, 1, "7\ta\\tb\n8\t\\N\n9\t\\\\N\nx\t"), [some("a\tb"), None, some("\\N"), some("")]);
    assert_eq!(keys(&style, 1, 0, "\\x41\\102\\q\\\n\\b\n"), [some("ABq\n\u{8}")]);
    assert_eq!(keys(&style, 1, 0, "a\\\nb\nc\n"), [some("a\nb"), some("c")]);
    assert_eq!(keys(&style, 1, 0, "a\r\nb\r\n"), [some("a"), some("b")]);
    assert_eq!(keys(&style, 1, 0, "a\rb\r"), [some("a"), some("b")]);
    assert_eq!(keys(&style, 1, 0, "a\n\\.\nb\n"), [some("a")]);
    assert_eq!(keys(&style, 1, 0, "\n"), [some("")]);
    assert!(keys(&style, 1, 0, "").is_empty());
}

#[test]
fn keys_of_csv_rows_are_unquoted() {
    let style = Style { header: Header::Present, ..Style::of(Form::Csv) };
    assert_eq!(
        keys(&style, 2, 1, "c1,c2\n1,\"a\"\"b\"\n2,\n3,\"\"\n4,x\"y,\"z\n"),
        [some("a\"b"), None, some(""), some("xy,z")]
    );
    assert_eq!(keys(&style, 2, 1, "\"c\n1\",c2\n\"1\n2\",x\n"), [some("x")]);
    let style = Style { quote: b'\'', escape: b'\\', null: "-".to_owned(), ..Style::of(Form::Csv) };
    assert_eq!(keys(&style, 1, 0, "'a\\'b\\\\'\n-\n'-'\n"), [some("a'b\\"), None, some("-")]);
    let style = Style {
        force_null: Columns::Named(columns(1)),
        force_not_null: Columns::Named(columns(2).split_off(1)),
        ..Style::of(Form::Csv)
    };
    assert_eq!(keys(&style, 2, 0, "\"\",x\n"), [None]);
    assert_eq!(keys(&style, 2, 1, "x,\n"), [some("")]);
}

#[test]
fn lines_are_counted_as_postgres_does() {
    let style = Style { header: Header::Present, ..Style::of(Form::Csv) };
    let found = split(&style, 2, 0, &[b"a,b\n1,\"x\ny\"\n2,z\n"]).unwrap();
    assert_eq!(found.iter().map(|(_, _, line)| *line).collect::<Vec<_>>(), [2, 4]);
}

#[test]
fn what_is_no_row_is_refused_with_its_line() {
    let context = |style: &Style, text: &str| {
        let error = split(style, 2, 1, &[text.as_bytes()]).unwrap_err();
        let error = Splitter::with_context(error, "t");
        let context = error.get_others().iter().find(|(letter, _)| *letter == b'W').map(|(_, text)| text.clone());
        format!("{} {} {}", error.code(), error.message(), context.unwrap_or_default())
    };
    let (text, csv) = (Style::of(Form::Text), Style::of(Form::Csv));
    assert_eq!(context(&text, "a\tb\nc\n"), "22P04 missing data for column \"c2\" COPY t, line 2");
    assert_eq!(context(&text, "a\tb\nc\rd\n"), "22P04 literal carriage return found in data COPY t, line 2");
    assert_eq!(context(&text, "a\tb\r\nc\td\n"), "22P04 literal newline found in data COPY t, line 2");
    assert_eq!(context(&text, "a\\.b\t\n"), "22P04 end-of-copy marker corrupt COPY t, line 1");
    assert_eq!(context(&csv, "a,b\nc\rd\n"), "22P04 unquoted carriage return found in data COPY t, line 2");
    assert_eq!(context(&csv, "a,\"b\n"), "22P04 unterminated CSV quoted field COPY t, line 1");
}

/// A binary row of these values.
fn tuple(values: &[Option<&[u8]>]) -> Vec<u8> {
    let mut row = i16::try_from(values.len()).unwrap().to_be_bytes().to_vec();
    for value in values {
        match value {
            None => row.extend((-1_i32).to_be_bytes()),
            Some(value) => {
                row.extend(i32::try_from(value.len()).unwrap().to_be_bytes());
                row.extend_from_slice(value);
            }
        }
    }
    row
}

#[test]
fn binary_rows_are_found_and_what_is_none_is_refused() {
    let style = Style::of(Form::Binary);
    let header = [&SIGNATURE[..], &[0; 8]].concat();
    let rows = [tuple(&[Some(b"ab"), None]), tuple(&[None, Some(b"key")])];
    let whole = [&header[..], &rows[0], &rows[1], &[0xff, 0xff]].concat();
    let expected: Found = vec![(rows[0].clone(), None, 1), (rows[1].clone(), Some(b"key".to_vec()), 2)];
    for cut in 0..whole.len() {
        assert_eq!(split(&style, 2, 1, &[&whole[..cut], &whole[cut..]]).unwrap(), expected, "{cut}");
    }
    assert_eq!(split(&style, 2, 1, &[&whole[..whole.len() - 2]]).unwrap(), expected, "without the mark of the end");
    let of = |count: i16| [&header[..], &count.to_be_bytes()].concat();
    for wrong in [
        b"no binary rows at all".to_vec(),
        header[..5].to_vec(),
        Vec::new(),
        of(3),
        of(-2),
        [&of(2)[..], &[0xff, 0xff, 0xff, 0xfe]].concat(),
        [&of(2)[..], &[0x7f, 0xff, 0xff, 0xff]].concat(),
        [&whole[..], b"x"].concat(),
        [&SIGNATURE[..], &[0, 1, 0, 0, 0, 0, 0, 0]].concat(),
        [&SIGNATURE[..], &[0, 0, 0, 0, 0x7f, 0, 0, 0]].concat(),
    ] {
        assert_eq!(split(&style, 2, 1, &[&wrong]).expect_err(&format!("{wrong:?}")).code(), "22P04");
    }
}

fn data_rows(rows: &[Vec<Option<Vec<u8>>>]) -> Vec<u8> {
    let mut frames = Vec::new();
    for row in rows {
        let values: Vec<Option<&[u8]>> = row.iter().map(Option::as_deref).collect();
        let body = tuple(&values);
        frames.push(b'D');
        frames.extend(u32::try_from(body.len() + 4).unwrap().to_be_bytes());
        frames.extend(body);
    }
    frames
}

/// What a client gets, without the frames around it.
fn written(style: &Style, rows: &[Vec<Option<Vec<u8>>>], count: usize) -> Vec<u8> {
    let mut encoder = Encoder::new(style.clone(), columns(count));
    let mut out = BytesMut::new();
    encoder.rows(&data_rows(rows), &mut out).unwrap();
    encoder.end(&mut out);
    let (mut bytes, mut rest) = (Vec::new(), &out[..]);
    while let [b'd', a, b, c, d, after @ ..] = rest {
        let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize - 4;
        bytes.extend_from_slice(&after[..length]);
        rest = &after[length..];
    }
    assert!(rest.is_empty());
    bytes
}

#[test]
fn rows_are_written_as_postgres_writes_them() {
    let row =
        |values: &[Option<&str>]| values.iter().map(|value| value.map(|value| value.as_bytes().to_vec())).collect();
    let rows: Vec<Vec<Option<Vec<u8>>>> = vec![
        row(&[Some("a\tb\\c\nd\u{1}é"), None]),
        row(&[Some(""), Some("x,\"y\"")]),
        row(&[Some("\\N"), Some("\\.")]),
    ];
    let text =
        |style: &Style, rows: &[Vec<Option<Vec<u8>>>], count| String::from_utf8(written(style, rows, count)).unwrap();
    assert_eq!(text(&Style::of(Form::Text), &rows, 2), "a\\tb\\\\c\\nd\u{1}é\t\\N\n\tx,\"y\"\n\\\\N\t\\\\.\n");
    let style = Style { header: Header::Present, ..Style::of(Form::Csv) };
    assert_eq!(text(&style, &rows, 2), "c1,c2\n\"a\tb\\c\nd\u{1}é\",\n\"\",\"x,\"\"y\"\"\"\n\\N,\\.\n");
    assert_eq!(text(&Style::of(Form::Csv), &[row(&[Some("\\.")])], 1), "\"\\.\"\n");
    let style = Style { force_quote: Columns::All, ..Style::of(Form::Csv) };
    assert_eq!(text(&style, &[row(&[Some("1"), None])], 2), "\"1\",\n");
    assert_eq!(text(&Style { header: Header::Present, ..Style::of(Form::Text) }, &[], 2), "c1\tc2\n");
}

fn styles() -> impl Strategy<Value = Style> {
    let csv = (prop::sample::select(&b",;|\t"[..]), prop::sample::select(&b"\"'"[..]), any::<bool>()).prop_map(
        |(delimiter, quote, escaped)| Style {
            delimiter,
            quote,
            escape: if escaped { b'\\' } else { quote },
            ..Style::of(Form::Csv)
        },
    );
    prop_oneof![
        prop::sample::select(&b"\t|,"[..]).prop_map(|delimiter| Style { delimiter, ..Style::of(Form::Text) }),
        csv,
        Just(Style::of(Form::Binary)),
    ]
}

/// Bytes that mean something, and others.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop_oneof![prop::sample::select(&b"\\\n\r\t,;|\"'N.x41\xff\0"[..]), any::<u8>()], 0..12)
}

proptest! {
    #[test]
    fn rows_that_were_written_are_found_wherever_they_are_cut(
        style in styles(),
        rows in prop::collection::vec(prop::collection::vec(prop::option::of(bytes()), 3), 0..8),
        key in 0..3_usize,
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let whole = written(&style, &rows, 3);
        let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(whole.len() + 1)).collect();
        places.extend([0, whole.len()]);
        places.sort_unstable();
        let pieces: Vec<&[u8]> = places.windows(2).map(|pair| &whole[pair[0]..pair[1]]).collect();
        let found = split(&style, 3, key, &pieces).unwrap();
        let expected: Vec<_> = rows.iter().map(|row| row[key].clone()).collect();
        let got: Vec<_> = found.iter().map(|(_, key, _)| key.clone()).collect();
        prop_assert_eq!(got, expected);
        let names = columns(3);
        for ((content, ..), row) in found.iter().zip(&rows) {
            let values = fields(content, &style, &names).unwrap();
            let values: Vec<_> = values.into_iter().map(|value| value.map(std::borrow::Cow::into_owned)).collect();
            prop_assert_eq!(&values, row);
        }
    }

    #[test]
    fn a_cut_changes_nothing_of_what_is_found_in_any_bytes(
        style in styles(),
        pieces in prop::collection::vec(bytes(), 0..10),
        header in any::<bool>(),
    ) {
        let start = if style.form == Form::Binary && header { [&SIGNATURE[..], &[0; 8]].concat() } else { Vec::new() };
        let whole = [start, pieces.concat()].concat();
        let once = split(&style, 2, 1, &[&whole]).map_err(|error| error.message().to_owned());
        let single: Vec<&[u8]> = whole.chunks(1).collect();
        let bytewise = split(&style, 2, 1, &single).map_err(|error| error.message().to_owned());
        prop_assert_eq!(once, bytewise);
    }
}
