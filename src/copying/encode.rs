//! Rows that a query gave, as COPY TO writes them.

use bytes::{BufMut, BytesMut};

use super::{Form, Header, SIGNATURE, Style};
use crate::error::{Error, Result};

/// Makes CopyData messages of DataRow messages.
#[derive(Debug)]
pub struct Encoder {
    style: Style,
    columns: Vec<String>,
    /// CSV: the columns whose values are quoted whatever they are.
    quoted: Vec<bool>,
    header_due: bool,
    /// CSV: a value that has none of these needs no quotes.
    special: [bool; 256],
}

impl Encoder {
    pub fn new(style: Style, columns: Vec<String>) -> Encoder {
        let mut special = [false; 256];
        for byte in [style.delimiter, style.quote, b'\n', b'\r'] {
            special[usize::from(byte)] = true;
        }
        Encoder {
            quoted: columns.iter().map(|name| style.force_quote.contain(name)).collect(),
            header_due: style.form == Form::Binary || style.header != Header::Absent,
            style,
            columns,
            special,
        }
    }

    /// A row in binary form, or the mark of the end. As Postgres does, the first message begins with the header: psycopg
    /// takes what follows it there for the first row.
    fn binary(&mut self, row: &[u8], out: &mut BytesMut) {
        let first = std::mem::take(&mut self.header_due);
        message(out, |out| {
            if first {
                out.put_slice(SIGNATURE);
                out.put_u64(0);
            }
            out.put_slice(row);
        });
    }

    /// The line that goes before the first row.
    fn header(&mut self, out: &mut BytesMut) {
        if self.style.form == Form::Binary || !std::mem::take(&mut self.header_due) {
            return;
        }
        message(out, |out| {
            for (number, name) in self.columns.iter().enumerate() {
                if number > 0 {
                    out.put_u8(self.style.delimiter);
                }
                match self.style.form {
                    Form::Csv => self.put_csv(out, name.as_bytes(), false),
                    _ => put_text(out, name.as_bytes(), self.style.delimiter),
                }
            }
            out.put_u8(b'\n');
        });
    }

    /// Writes the rows of whole DataRow messages.
    ///
    /// # Errors
    /// They are none: a defect.
    pub fn rows(&mut self, frames: &[u8], out: &mut BytesMut) -> Result<()> {
        self.header(out);
        out.reserve(frames.len() + frames.len() / 8);
        let mut rest = frames;
        while let [b'D', after @ ..] = rest {
            let (length, after) = after.split_first_chunk::<4>().ok_or_else(cut)?;
            let length = (u32::from_be_bytes(*length) as usize).checked_sub(4).ok_or_else(cut)?;
            let (row, after) = after.split_at_checked(length).ok_or_else(cut)?;
            if self.style.form == Form::Binary {
                self.binary(row, out);
            } else {
                let mut failed = Ok(());
                message(out, |out| failed = self.line(row, out));
                failed?;
            }
            rest = after;
        }
        if rest.is_empty() { Ok(()) } else { Err(cut()) }
    }

    /// What goes after the last row.
    pub fn end(&mut self, out: &mut BytesMut) {
        self.header(out);
        if self.style.form == Form::Binary {
            self.binary(&(-1_i16).to_be_bytes(), out);
        }
    }

    fn line(&self, row: &[u8], out: &mut BytesMut) -> Result<()> {
        let (count, mut rest) = row.split_first_chunk::<2>().ok_or_else(cut)?;
        let count = usize::from(u16::from_be_bytes(*count));
        for number in 0..count {
            if number > 0 {
                out.put_u8(self.style.delimiter);
            }
            let (length, after) = rest.split_first_chunk::<4>().ok_or_else(cut)?;
            rest = after;
            let Ok(length) = usize::try_from(i32::from_be_bytes(*length)) else {
                out.put_slice(self.style.null.as_bytes());
                continue;
            };
            let (value, after) = rest.split_at_checked(length).ok_or_else(cut)?;
            rest = after;
            match self.style.form {
                Form::Csv => {
                    // A lone `\.` would be taken for the end of the rows.
                    let forced = self.quoted.get(number).copied().unwrap_or_default();
                    self.put_csv(out, value, forced || (count == 1 && value == b"\\."));
                }
                _ => put_text(out, value, self.style.delimiter),
            }
        }
        out.put_u8(b'\n');
        Ok(())
    }

    fn put_csv(&self, out: &mut BytesMut, value: &[u8], forced: bool) {
        let quoted = forced
            || *value == *self.style.null.as_bytes()
            || value.iter().any(|byte| self.special[usize::from(*byte)]);
        if !quoted {
            out.put_slice(value);
            return;
        }
        out.put_u8(self.style.quote);
        let mut rest = value;
        while let Some(at) = memchr::memchr2(self.style.quote, self.style.escape, rest) {
            out.put_slice(&rest[..at]);
            out.put_u8(self.style.escape);
            out.put_u8(rest[at]);
            rest = &rest[at + 1..];
        }
        out.put_slice(rest);
        out.put_u8(self.style.quote);
    }
}

/// The text form: control characters and backslashes are escaped, and the delimiter.
fn put_text(out: &mut BytesMut, value: &[u8], delimiter: u8) {
    let mut begin = 0;
    for (at, &byte) in value.iter().enumerate() {
        if byte >= 0x20 && byte != b'\\' && byte != delimiter {
            continue;
        }
        let escaped = match byte {
            8 => b'b',
            12 => b'f',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            11 => b'v',
            byte if byte == delimiter || byte == b'\\' => byte,
            _ => continue,
        };
        out.put_slice(&value[begin..at]);
        out.put_u8(b'\\');
        out.put_u8(escaped);
        begin = at + 1;
    }
    out.put_slice(&value[begin..]);
}

/// A CopyData message.
fn message(out: &mut BytesMut, write: impl FnOnce(&mut BytesMut)) {
    out.put_u8(b'd');
    let begin = out.len();
    out.put_u32(0);
    write(out);
    let length = (out.len() - begin) as u32;
    out[begin..begin + 4].copy_from_slice(&length.to_be_bytes());
}

#[cold]
fn cut() -> Error {
    Error::internal("a row's frame was cut")
}
