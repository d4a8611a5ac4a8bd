//! Messages of the Postgres protocol, written and read by hand: the tests must not share the code that they test.
//!
//! <https://www.postgresql.org/docs/current/protocol-message-formats.html>

use std::io::{self, Read};

/// A message as it came: its type and its body, without the length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub kind: u8,
    pub body: Vec<u8>,
}

impl Message {
    /// Reads one message.
    ///
    /// # Errors
    /// The connection ended, or stayed silent for too long.
    pub fn read(from: &mut impl Read) -> io::Result<Message> {
        let mut head = [0; 5];
        from.read_exact(&mut head)?;
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        if !(4..=1 << 30).contains(&length) {
            return Err(io::Error::other(format!("a message of type {:?} claims {length} bytes", head[0] as char)));
        }
        let mut body = vec![0; length - 4];
        from.read_exact(&mut body)?;
        Ok(Message { kind: head[0], body })
    }

    pub fn reader(&self) -> Reader<'_> {
        Reader { rest: &self.body }
    }
}

/// Takes fields off the front of a message's body. A test that meets a malformed message panics.
pub struct Reader<'a> {
    pub rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(count);
        self.rest = rest;
        taken
    }

    pub fn u8(&mut self) -> u8 {
        self.bytes(1)[0]
    }

    pub fn i16(&mut self) -> i16 {
        i16::from_be_bytes(self.bytes(2).try_into().expect("two bytes"))
    }

    pub fn i32(&mut self) -> i32 {
        i32::from_be_bytes(self.bytes(4).try_into().expect("four bytes"))
    }

    pub fn u32(&mut self) -> u32 {
        u32::from_be_bytes(self.bytes(4).try_into().expect("four bytes"))
    }

    pub fn string(&mut self) -> String {
        let end = self.rest.iter().position(|byte| *byte == 0).expect("a terminated string");
        let text = String::from_utf8(self.bytes(end).to_vec()).expect("UTF-8");
        self.bytes(1);
        text
    }
}

/// Messages to send, back to back.
#[derive(Default)]
pub struct Writer {
    pub bytes: Vec<u8>,
}

impl Writer {
    /// A start-up message for protocol 3.0 and these settings.
    pub fn startup(&mut self, settings: &[(&str, &str)]) -> &mut Self {
        self.untyped(|body| {
            body.extend(196_608_u32.to_be_bytes());
            for (name, value) in settings {
                string(body, name);
                string(body, value);
            }
            body.push(0);
        })
    }

    /// A message without a type byte, as before the start-up's end.
    pub fn untyped(&mut self, fill: impl FnOnce(&mut Vec<u8>)) -> &mut Self {
        let start = self.bytes.len();
        self.bytes.extend([0; 4]);
        fill(&mut self.bytes);
        let length = u32::try_from(self.bytes.len() - start).expect("a small message");
        self.bytes[start..start + 4].copy_from_slice(&length.to_be_bytes());
        self
    }

    pub fn message(&mut self, kind: u8, fill: impl FnOnce(&mut Vec<u8>)) -> &mut Self {
        self.bytes.push(kind);
        self.untyped(fill)
    }

    pub fn query(&mut self, sql: &str) -> &mut Self {
        self.message(b'Q', |body| string(body, sql))
    }

    pub fn parse(&mut self, name: &str, sql: &str, types: &[u32]) -> &mut Self {
        self.message(b'P', |body| {
            string(body, name);
            string(body, sql);
            count(body, types.len());
            for oid in types {
                body.extend(oid.to_be_bytes());
            }
        })
    }

    /// `formats` holds 0 for text and 1 for binary, for each value.
    pub fn bind(
        &mut self,
        portal: &str,
        statement: &str,
        values: &[Option<Vec<u8>>],
        formats: &[i16],
        result_formats: &[i16],
    ) -> &mut Self {
        self.message(b'B', |body| {
            string(body, portal);
            string(body, statement);
            count(body, formats.len());
            formats.iter().for_each(|format| body.extend(format.to_be_bytes()));
            count(body, values.len());
            for value in values {
                match value {
                    None => body.extend((-1_i32).to_be_bytes()),
                    Some(value) => {
                        body.extend(u32::try_from(value.len()).expect("a small value").to_be_bytes());
                        body.extend(value);
                    }
                }
            }
            count(body, result_formats.len());
            result_formats.iter().for_each(|format| body.extend(format.to_be_bytes()));
        })
    }

    /// `what` is `S` for a statement and `P` for a portal.
    pub fn describe(&mut self, what: u8, name: &str) -> &mut Self {
        self.message(b'D', |body| {
            body.push(what);
            string(body, name);
        })
    }

    pub fn close(&mut self, what: u8, name: &str) -> &mut Self {
        self.message(b'C', |body| {
            body.push(what);
            string(body, name);
        })
    }

    /// `row_limit` 0 means all rows.
    pub fn execute(&mut self, portal: &str, row_limit: i32) -> &mut Self {
        self.message(b'E', |body| {
            string(body, portal);
            body.extend(row_limit.to_be_bytes());
        })
    }

    pub fn sync(&mut self) -> &mut Self {
        self.message(b'S', |_| ())
    }

    pub fn flush(&mut self) -> &mut Self {
        self.message(b'H', |_| ())
    }

    pub fn terminate(&mut self) -> &mut Self {
        self.message(b'X', |_| ())
    }
}

fn string(body: &mut Vec<u8>, text: &str) {
    body.extend(text.as_bytes());
    body.push(0);
}

fn count(body: &mut Vec<u8>, items: usize) {
    body.extend(i16::try_from(items).expect("few items").to_be_bytes());
}
