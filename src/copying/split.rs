//! Rows out of a stream of bytes that is cut anywhere.

use std::borrow::Cow;

use super::field::{Fields, Forced, bad_format, binary_field, binary_fields, missing};
use super::{Form, Header, SIGNATURE, Style};
use crate::error::{Error, Result, SqlState};

/// A row that is longer is refused: it is held whole, to find its key.
const MAX_ROW_BYTES: usize = 64 << 20;
/// And what may stand between a binary header and the rows.
const MAX_EXTENSION_BYTES: usize = 1 << 16;
const FLAG_BYTES: usize = 4;
/// The only flag that says that the rows have another form: they have OIDs, as before Postgres 12.
const FLAG_WITH_OIDS: u32 = 1 << 16;
const CRITICAL_FLAGS: u32 = 0xffff_0000;

/// Finds rows. What it was given stays with it until its row has ended.
#[derive(Debug)]
pub struct Splitter {
    style: Style,
    /// The columns whose values the rows have, in order.
    columns: Vec<String>,
    /// The field that is looked for in each row.
    key: Option<(usize, Forced)>,
    buffer: Vec<u8>,
    /// Where the row begins that was not given yet, and how far its end was looked for.
    begin: usize,
    scanned: usize,
    state: State,
    ends: Option<LineEnd>,
    /// The lines that were given, header and all; in binary form rows.
    lines: u64,
    /// What has to come before rows.
    header_due: bool,
    /// The mark of the end was read.
    ended: bool,
    complete: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LineEnd {
    Lf,
    Cr,
    CrLf,
}

/// Where within a row a scan stopped.
#[derive(Clone, Copy, Debug, Default)]
struct State {
    in_quotes: bool,
    /// A `\.` stands in it.
    marked: bool,
}

/// What a stream holds.
#[derive(Debug, PartialEq, Eq)]
pub enum Item<'r> {
    /// What comes before the rows, as it was written: every shard's rows have to begin so.
    Header(&'r [u8]),
    Row(Row<'r>),
}

#[derive(Debug, PartialEq, Eq)]
pub struct Row<'r> {
    /// As it was written, with its end.
    pub bytes: &'r [u8],
    /// The value of the field that was asked for. `None`: it is NULL, or none was asked for.
    pub key: Option<Cow<'r, [u8]>>,
    /// Its line, from 1. In binary form the row's number.
    pub line: u64,
    /// How many lines it takes.
    pub lines: u64,
    /// How many bytes of `bytes` are its end.
    end_bytes: usize,
}

impl<'r> Row<'r> {
    /// An error that [`Splitter::with_context`] places at this row.
    pub fn at(&self, error: Error) -> Error {
        at_line(error, self.line)
    }

    /// The same for an error of its key, which is in this column.
    pub fn at_key(&self, error: Error, column: &str) -> Error {
        match self.key.as_deref() {
            Some(key) if key.len() <= MAX_SHOWN_BYTES && std::str::from_utf8(key).is_ok() => {
                let key = String::from_utf8_lossy(key);
                error.other(LINE_FIELD, format!("{}, column {column}: \"{key}\"", self.line))
            }
            _ => at_line(error, self.line),
        }
    }

    /// The row without its end.
    pub fn content(&self) -> &'r [u8] {
        &self.bytes[..self.bytes.len() - self.end_bytes]
    }
}

impl Splitter {
    /// `key`: which of the columns is looked for in each row.
    pub fn new(style: Style, columns: Vec<String>, key: Option<usize>) -> Splitter {
        let key = key.map(|key| (key, columns.get(key).map_or(Forced::default(), |name| Forced::of(&style, name))));
        Splitter {
            header_due: style.form == Form::Binary || style.header != Header::Absent,
            style,
            columns,
            key,
            buffer: Vec::new(),
            begin: 0,
            scanned: 0,
            state: State::default(),
            ends: None,
            lines: 0,
            ended: false,
            complete: false,
        }
    }

    pub fn style(&self) -> &Style {
        &self.style
    }

    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// What has been given and was not taken as rows.
    pub fn held_bytes(&self) -> usize {
        self.buffer.len() - self.begin
    }

    /// Adds what has arrived. To be called when [`Splitter::next_item`] had no more.
    ///
    /// # Errors
    /// 54000: one row is too long.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<()> {
        if self.ended {
            // What follows the mark of the end is passed over, as Postgres does.
            return Ok(());
        }
        if self.begin > 0 {
            self.buffer.drain(..self.begin);
            self.scanned = self.scanned.saturating_sub(self.begin);
            self.begin = 0;
        }
        if self.buffer.len().saturating_add(bytes.len()) > MAX_ROW_BYTES {
            let message = format!("one row of a COPY takes more than {MAX_ROW_BYTES} bytes");
            return Err(
                Error::new(SqlState::PROGRAM_LIMIT_EXCEEDED, message).hint("Send rows that are so long with INSERT.")
            );
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    /// No more will arrive: what is left is the last row.
    pub fn end(&mut self) {
        self.complete = true;
    }

    /// The next row; `None`: more has to arrive.
    ///
    /// # Errors
    /// 22P04: what has arrived is no row.
    pub fn next_item(&mut self) -> Result<Option<Item<'_>>> {
        if self.ended {
            return Ok(None);
        }
        match self.style.form {
            Form::Binary => self.next_binary(),
            Form::Text | Form::Csv => self.next_line(),
        }
    }

    fn next_line(&mut self) -> Result<Option<Item<'_>>> {
        let end = match self.style.form {
            Form::Csv => self.end_of_csv_line()?,
            _ => self.end_of_text_line()?,
        };
        let (end, end_bytes) = match end {
            Some(found) => found,
            None if self.complete && self.begin < self.buffer.len() => {
                // The last line may lack its end, or end in a carriage return that something could have followed.
                (self.buffer.len(), usize::from(self.buffer.get(self.scanned..) == Some(b"\r")))
            }
            None => return Ok(None),
        };
        let begin = std::mem::replace(&mut self.begin, end);
        self.scanned = end;
        let marked = std::mem::take(&mut self.state).marked;
        self.lines += 1;
        let content = &self.buffer[begin..end - end_bytes];
        if content == b"\\." {
            self.ended = true;
            return Ok(None);
        }
        if marked {
            return Err(self.at_line(bad_format("end-of-copy marker corrupt")));
        }
        let bytes = &self.buffer[begin..end];
        if std::mem::take(&mut self.header_due) {
            return Ok(Some(Item::Header(bytes)));
        }
        let line = self.lines;
        if self.style.form == Form::Csv {
            self.lines += embedded_lines(content, self.ends);
        }
        let lines = self.lines - line + 1;
        let key = self.key_of(content).map_err(|error| at_line(error, line))?;
        Ok(Some(Item::Row(Row { bytes, key, line, lines, end_bytes })))
    }

    fn key_of<'r>(&self, content: &'r [u8]) -> Result<Option<Cow<'r, [u8]>>> {
        let Some((key, forced)) = self.key else { return Ok(None) };
        let mut fields = Fields::new(content, &self.style);
        for number in 0..=key {
            let Some(raw) = fields.next()? else {
                return Err(missing(self.columns.get(number).map_or("", |name| name)));
            };
            if number == key {
                return Ok(raw.value(&self.style, forced));
            }
        }
        Ok(None)
    }

    /// Where the text line ends that begins the buffer, and how many bytes of it its end takes.
    fn end_of_text_line(&mut self) -> Result<Option<(usize, usize)>> {
        let mut at = self.scanned;
        while let Some(found) = self.buffer.get(at..).and_then(|rest| memchr::memchr3(b'\\', b'\n', b'\r', rest)) {
            at += found;
            if self.buffer[at] != b'\\' {
                return self.line_end(at);
            }
            let Some(escaped) = self.buffer.get(at + 1) else {
                self.scanned = at;
                return Ok(None);
            };
            self.state.marked |= *escaped == b'.';
            at += 2;
        }
        self.scanned = at.min(self.buffer.len());
        Ok(None)
    }

    fn end_of_csv_line(&mut self) -> Result<Option<(usize, usize)>> {
        let Style { quote, escape, .. } = self.style;
        let mut at = self.scanned;
        while let Some(rest) = self.buffer.get(at..) {
            if !self.state.in_quotes {
                let Some(found) = memchr::memchr3(quote, b'\n', b'\r', rest) else { break };
                at += found;
                if self.buffer[at] != quote {
                    return self.line_end(at);
                }
                self.state.in_quotes = true;
                at += 1;
                continue;
            }
            let Some(found) = memchr::memchr2(quote, escape, rest) else { break };
            at += found;
            if self.buffer[at] == escape {
                match self.buffer.get(at + 1) {
                    None if !self.complete => {
                        self.scanned = at;
                        return Ok(None);
                    }
                    Some(&next) if next == escape || next == quote => {
                        at += 2;
                        continue;
                    }
                    _ => {}
                }
            }
            self.state.in_quotes = self.buffer[at] != quote;
            at += 1;
        }
        self.scanned = self.buffer.len();
        Ok(None)
    }

    /// Judges a line feed or carriage return that ends a line. All lines of a stream end alike.
    fn line_end(&mut self, at: usize) -> Result<Option<(usize, usize)>> {
        if self.buffer[at] == b'\n' {
            if matches!(self.ends, Some(LineEnd::Cr | LineEnd::CrLf)) {
                return Err(self.wrong_end("newline", "\\n"));
            }
            self.ends = Some(LineEnd::Lf);
            return Ok(Some((at + 1, 1)));
        }
        match (self.ends, self.buffer.get(at + 1)) {
            (Some(LineEnd::Cr), _) => Ok(Some((at + 1, 1))),
            (None | Some(LineEnd::CrLf), Some(b'\n')) => {
                self.ends = Some(LineEnd::CrLf);
                Ok(Some((at + 2, 2)))
            }
            (None | Some(LineEnd::CrLf), None) => {
                self.scanned = at;
                Ok(None)
            }
            (None, Some(_)) => {
                self.ends = Some(LineEnd::Cr);
                Ok(Some((at + 1, 1)))
            }
            (Some(LineEnd::Lf | LineEnd::CrLf), _) => Err(self.wrong_end("carriage return", "\\r")),
        }
    }

    #[cold]
    fn wrong_end(&mut self, which: &str, escaped: &str) -> Error {
        self.lines += 1;
        let (kind, hint) = match self.style.form {
            Form::Csv => ("unquoted", format!("Use quoted CSV field to represent {which}.")),
            _ => ("literal", format!("Use \"{escaped}\" to represent {which}.")),
        };
        self.at_line(bad_format(format!("{kind} {which} found in data")).hint(hint))
    }

    fn next_binary(&mut self) -> Result<Option<Item<'_>>> {
        if self.header_due {
            let Some(length) = header_bytes(&self.buffer[self.begin..])? else {
                return if self.complete { Err(bad_format("COPY file signature not recognized")) } else { Ok(None) };
            };
            self.header_due = false;
            let end = self.begin + length;
            let begin = std::mem::replace(&mut self.begin, end);
            return Ok(Some(Item::Header(&self.buffer[begin..self.begin])));
        }
        let rest = &self.buffer[self.begin..];
        if rest.starts_with(&(-1_i16).to_be_bytes()) {
            if rest.len() > 2 {
                return Err(bad_format("received copy data after EOF marker"));
            }
            self.ended = self.complete;
            return Ok(None);
        }
        if rest.len() < 2 {
            return match rest {
                [_, ..] if self.complete => Err(bad_format("unexpected EOF in COPY data")),
                _ => Ok(None),
            };
        }
        let line = self.lines + 1;
        let Some(length) = self.binary_row(rest).map_err(|error| at_line(error, line))? else {
            return if self.complete {
                Err(at_line(bad_format("unexpected EOF in COPY data"), line))
            } else {
                Ok(None)
            };
        };
        self.lines = line;
        let end = self.begin + length;
        let begin = std::mem::replace(&mut self.begin, end);
        let bytes = &self.buffer[begin..self.begin];
        let key = self.binary_key(bytes)?;
        Ok(Some(Item::Row(Row { bytes, key, line, lines: 1, end_bytes: 0 })))
    }

    /// How long the row is that begins `rest`; `None`: it has not arrived whole.
    fn binary_row(&self, rest: &[u8]) -> Result<Option<usize>> {
        let mut left = binary_fields(rest, self.columns.len())?;
        for _ in 0..self.columns.len() {
            match binary_field(left)? {
                Some((_, after)) => left = after,
                None => return Ok(None),
            }
        }
        Ok(Some(rest.len() - left.len()))
    }

    fn binary_key<'r>(&self, row: &'r [u8]) -> Result<Option<Cow<'r, [u8]>>> {
        let Some((key, _)) = self.key else { return Ok(None) };
        let mut left = binary_fields(row, self.columns.len())?;
        for number in 0..=key {
            let Some((value, after)) = binary_field(left)? else { break };
            if number == key {
                return Ok(value.map(Cow::Borrowed));
            }
            left = after;
        }
        Ok(None)
    }

    fn at_line(&self, error: Error) -> Error {
        at_line(error, self.lines)
    }
}

/// The line goes with the error as a field that [`line_of`] reads.
fn at_line(error: Error, line: u64) -> Error {
    error.other(LINE_FIELD, line.to_string())
}

/// Values that are longer are not shown.
const MAX_SHOWN_BYTES: usize = 100;
/// No field of the protocol's.
const LINE_FIELD: u8 = b'#';

impl Splitter {
    /// An error with its CONTEXT, as Postgres tells where in a COPY it is.
    #[must_use]
    pub fn with_context(error: Error, table: &str) -> Error {
        let line = error.get_others().iter().find(|(letter, _)| *letter == LINE_FIELD).map(|(_, line)| line.clone());
        match line {
            Some(line) => error.without_other(LINE_FIELD).other(b'W', format!("COPY {table}, line {line}")),
            None => error,
        }
    }
}

/// Line ends within quotes, as Postgres counts them.
fn embedded_lines(content: &[u8], ends: Option<LineEnd>) -> u64 {
    let end = if ends == Some(LineEnd::Lf) { b'\n' } else { b'\r' };
    memchr::memchr_iter(end, content).count() as u64
}

/// How long a binary header is; `None`: it has not arrived whole.
fn header_bytes(bytes: &[u8]) -> Result<Option<usize>> {
    let signature = bytes.len().min(SIGNATURE.len());
    if bytes[..signature] != SIGNATURE[..signature] {
        return Err(bad_format("COPY file signature not recognized"));
    }
    let Some(rest) = bytes.get(SIGNATURE.len()..) else { return Ok(None) };
    let Some((flags, rest)) = rest.split_first_chunk::<FLAG_BYTES>() else { return Ok(None) };
    let flags = u32::from_be_bytes(*flags);
    if flags & FLAG_WITH_OIDS != 0 {
        return Err(bad_format("invalid COPY file header (WITH OIDS)"));
    }
    if flags & CRITICAL_FLAGS != 0 {
        return Err(bad_format("unrecognized critical flags in COPY file header"));
    }
    let Some((length, rest)) = rest.split_first_chunk::<4>() else { return Ok(None) };
    let length = usize::try_from(i32::from_be_bytes(*length)).ok().filter(|length| *length <= MAX_EXTENSION_BYTES);
    let length = length.ok_or_else(|| bad_format("invalid COPY file header (wrong length)"))?;
    Ok((rest.len() >= length).then_some(bytes.len() - rest.len() + length))
}
