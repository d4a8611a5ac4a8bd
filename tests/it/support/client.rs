//! A client of the Postgres protocol that hides nothing: columns, rows as bytes, tags and every field of an error.

use std::collections::BTreeMap;
use std::io::{self, BufReader, Write};
use std::net::TcpStream;

use super::PATIENCE;
use super::frames::{Message, Reader, Writer};

/// The user and the database of every test, on shardd and on Postgres.
pub const USER: &str = "app";
pub const DATABASE: &str = "tickets";
/// What a connection to a server with users fails with.
pub const ASKS_FOR_A_PASSWORD: &str = "the server asks for a password";
/// What a connection fails with in the clear, where that is not allowed.
pub const WANTS_TLS: &str = "takes encrypted connections only";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    pub type_oid: u32,
    pub modifier: i32,
    /// `typlen`.
    pub size: i16,
    /// Whether it is read straight from a table; the table's number itself differs between databases.
    pub table_oid: u32,
    pub attribute: i16,
}

/// An ErrorResponse or NoticeResponse, by field letter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerError {
    pub fields: BTreeMap<char, String>,
}

impl ServerError {
    fn field(&self, letter: char) -> &str {
        self.fields.get(&letter).map_or("", String::as_str)
    }

    pub fn sqlstate(&self) -> &str {
        self.field('C')
    }

    pub fn message(&self) -> &str {
        self.field('M')
    }

    pub fn detail(&self) -> &str {
        self.field('D')
    }

    pub fn hint(&self) -> &str {
        self.field('H')
    }

    pub fn position(&self) -> &str {
        self.field('P')
    }
}

pub type Row = Vec<Option<Vec<u8>>>;

/// What came back for one statement.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    pub parameter_types: Option<Vec<u32>>,
    pub columns: Option<Vec<Column>>,
    pub rows: Vec<Row>,
    /// `None` after an error or a suspended portal; "" for an empty query.
    pub tag: Option<String>,
    pub suspended: bool,
    pub error: Option<ServerError>,
    pub notices: Vec<ServerError>,
}

impl Answer {
    /// The rows as text; a test that expects rows and finds an error fails with it.
    pub fn texts(&self) -> Vec<Vec<Option<String>>> {
        if let Some(error) = &self.error {
            panic!("expected rows, got {error:?}");
        }
        let text = |value: &Option<Vec<u8>>| value.as_ref().map(|value| String::from_utf8_lossy(value).into_owned());
        self.rows.iter().map(|row| row.iter().map(text).collect()).collect()
    }

    /// The single value of a single row, as text; NULL is "NULL".
    pub fn value(&self) -> String {
        let rows = self.texts();
        assert!(rows.len() == 1 && rows[0].len() == 1, "expected one value, got {rows:?}");
        rows[0][0].clone().unwrap_or_else(|| "NULL".to_owned())
    }

    /// The SQLSTATE of the error that must be there.
    pub fn sqlstate(&self) -> &str {
        self.error.as_ref().unwrap_or_else(|| panic!("expected an error, got {self:?}")).sqlstate()
    }

    pub fn expect_tag(&self, tag: &str) {
        assert_eq!(self.tag.as_deref(), Some(tag), "{:?}", self.error);
    }
}

/// A parameter: its bytes and format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Null,
    Text(String),
    Binary(Vec<u8>),
}

impl Value {
    pub fn text(value: impl ToString) -> Value {
        Value::Text(value.to_string())
    }

    fn format(&self) -> i16 {
        i16::from(matches!(self, Value::Binary(_)))
    }

    fn bytes(&self) -> Option<Vec<u8>> {
        match self {
            Value::Null => None,
            Value::Text(text) => Some(text.clone().into_bytes()),
            Value::Binary(bytes) => Some(bytes.clone()),
        }
    }
}

/// One connection.
pub struct Client {
    stream: BufReader<TcpStream>,
    /// ParameterStatus, as last reported.
    pub settings: BTreeMap<String, String>,
    /// BackendKeyData's body: process number, then the secret.
    pub cancel_key: Vec<u8>,
    /// ReadyForQuery's letter: I, T or E.
    pub status: char,
    /// NotificationResponse, as they came: the sender's process, the channel and the payload.
    pub notifications: Vec<(i32, String, String)>,
}

impl Client {
    /// A connection as the tests' user to their database, with TimeZone UTC.
    ///
    /// # Errors
    /// Nobody listens, or the server refuses.
    pub fn connect(port: u16) -> io::Result<Client> {
        Client::connect_with(port, &[("user", USER), ("database", DATABASE), ("TimeZone", "UTC")])
    }

    /// A connection with exactly these start-up settings, on a server that trusts it.
    ///
    /// # Errors
    /// Nobody listens, or the server refuses.
    pub fn connect_with(port: u16, settings: &[(&str, &str)]) -> io::Result<Client> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        let mut client = Client {
            stream: BufReader::with_capacity(64 * 1024, stream),
            settings: BTreeMap::new(),
            cancel_key: Vec::new(),
            status: ' ',
            notifications: Vec::new(),
        };
        let mut writer = Writer::default();
        writer.startup(settings);
        client.send(&writer)?;
        loop {
            let message = client.receive()?;
            match message.kind {
                b'R' if message.body == [0; 4] => {}
                b'R' => return Err(io::Error::other(ASKS_FOR_A_PASSWORD)),
                b'S' => client.note_setting(&message),
                b'K' => client.cancel_key = message.body,
                b'Z' => {
                    client.status = message.body[0] as char;
                    return Ok(client);
                }
                b'E' => {
                    let error = server_error(&message);
                    return Err(io::Error::other(format!("{}: {}", error.sqlstate(), error.message())));
                }
                b'N' | b'v' => {}
                other => return Err(io::Error::other(format!("unexpected message {:?}", other as char))),
            }
        }
    }

    /// Sends messages as they are.
    ///
    /// # Errors
    /// The connection ended.
    pub fn send(&mut self, writer: &Writer) -> io::Result<()> {
        self.stream.get_mut().write_all(&writer.bytes)
    }

    /// The next message, whatever it is.
    ///
    /// # Errors
    /// The connection ended or stayed silent.
    pub fn receive(&mut self) -> io::Result<Message> {
        Message::read(&mut self.stream)
    }

    /// The process number that the server told the client.
    pub fn process(&self) -> i32 {
        i32::from_be_bytes(self.cancel_key[..4].try_into().expect("four bytes"))
    }

    /// Waits for a notification while nothing was asked: its channel and payload.
    pub fn notified(&mut self) -> (i32, String, String) {
        if self.notifications.is_empty() {
            let message = self.receive().expect("a notification");
            assert_eq!(message.kind as char, 'A', "{message:?}");
            self.note_notification(&message);
        }
        self.notifications.remove(0)
    }

    fn note_notification(&mut self, message: &Message) {
        let mut reader = message.reader();
        self.notifications.push((reader.i32(), reader.string(), reader.string()));
    }

    /// What the server says as it ends the connection, and that it does.
    pub fn farewell(&mut self) -> ServerError {
        let message = self.receive().expect("an error");
        assert_eq!(message.kind as char, 'E', "{message:?}");
        assert!(self.receive().is_err(), "the connection ends");
        server_error(&message)
    }

    fn note_setting(&mut self, message: &Message) {
        let mut reader = message.reader();
        self.settings.insert(reader.string(), reader.string());
    }

    /// The answers to all statements of a simple query, up to ReadyForQuery.
    ///
    /// # Errors
    /// The connection ended.
    pub fn try_simple(&mut self, sql: &str) -> io::Result<Vec<Answer>> {
        let mut writer = Writer::default();
        writer.query(sql);
        self.send(&writer)?;
        self.answers()
    }

    /// The answers to all statements of a simple query.
    pub fn simple(&mut self, sql: &str) -> Vec<Answer> {
        self.try_simple(sql).unwrap_or_else(|error| panic!("{sql}\n{error}"))
    }

    /// The answer to the one statement of a simple query.
    pub fn query(&mut self, sql: &str) -> Answer {
        let mut answers = self.simple(sql);
        assert_eq!(answers.len(), 1, "{sql}\n{answers:?}");
        answers.remove(0)
    }

    /// Runs statements that must succeed.
    pub fn run(&mut self, sql: &str) {
        for answer in self.simple(sql) {
            assert!(answer.error.is_none(), "{sql}\n{:?}", answer.error);
        }
    }

    /// Parse, Describe, Bind, Execute and Sync of one statement, sent together. `types` may be shorter than `values`:
    /// the server infers the rest.
    ///
    /// # Errors
    /// The connection ended.
    pub fn try_extended(
        &mut self,
        sql: &str,
        types: &[u32],
        values: &[Value],
        binary_results: bool,
    ) -> io::Result<Answer> {
        let mut writer = Writer::default();
        let bytes: Vec<_> = values.iter().map(Value::bytes).collect();
        let formats: Vec<_> = values.iter().map(Value::format).collect();
        writer.parse("", sql, types).describe(b'S', "");
        writer.bind("", "", &bytes, &formats, &[i16::from(binary_results)]).execute("", 0).sync();
        self.send(&writer)?;
        let mut answers = self.answers()?;
        if answers.len() != 1 {
            return Err(io::Error::other(format!("expected one answer, got {answers:?}")));
        }
        Ok(answers.remove(0))
    }

    /// What a statement would return, by Parse and Describe alone.
    ///
    /// # Errors
    /// The connection ended, or the statement cannot be prepared.
    pub fn try_describe(&mut self, sql: &str) -> io::Result<Answer> {
        let mut writer = Writer::default();
        writer.parse("", sql, &[]).describe(b'S', "").sync();
        self.send(&writer)?;
        match self.answers()?.into_iter().next() {
            Some(answer) if answer.error.is_none() => Ok(answer),
            other => Err(io::Error::other(format!("cannot describe it: {other:?}"))),
        }
    }

    /// As [`Client::try_extended`], with all types inferred and text results.
    pub fn extended(&mut self, sql: &str, values: &[Value]) -> Answer {
        self.try_extended(sql, &[], values, false).unwrap_or_else(|error| panic!("{sql}\n{error}"))
    }

    /// Runs a COPY FROM STDIN: these pieces are its rows.
    pub fn copy_in(&mut self, sql: &str, pieces: &[&[u8]]) -> Answer {
        let mut writer = Writer::default();
        writer.query(sql);
        self.send(&writer).expect("sent");
        if let Some(refused) = self.until_rows_are_taken() {
            return refused;
        }
        for piece in pieces {
            let mut writer = Writer::default();
            writer.message(b'd', |body| body.extend(*piece));
            self.send(&writer).expect("sent");
        }
        let mut writer = Writer::default();
        writer.message(b'c', |_| ());
        self.send(&writer).expect("sent");
        self.answers().expect("answered").remove(0)
    }

    /// Waits for CopyInResponse; an error comes back instead, with what follows it.
    pub fn until_rows_are_taken(&mut self) -> Option<Answer> {
        loop {
            let message = self.receive().expect("an answer");
            match message.kind {
                b'G' => return None,
                b'E' => {
                    let error = Some(server_error(&message));
                    self.answers().expect("ready");
                    return Some(Answer { error, ..Answer::default() });
                }
                b'1' | b'2' | b'n' | b't' | b'S' | b'N' => {}
                other => panic!("unexpected message {:?}", other as char),
            }
        }
    }

    /// Runs a COPY TO STDOUT: its answer, and what came.
    pub fn copy_out(&mut self, sql: &str) -> (Answer, Vec<u8>) {
        let mut writer = Writer::default();
        writer.query(sql);
        self.send(&writer).expect("sent");
        let (mut answer, mut bytes) = (Answer::default(), Vec::new());
        loop {
            let message = self.receive().expect("an answer");
            match message.kind {
                b'H' | b'c' | b'S' => {}
                b'N' => answer.notices.push(server_error(&message)),
                b'd' => bytes.extend(message.body),
                b'C' => answer.tag = Some(message.reader().string()),
                b'E' => answer.error = Some(server_error(&message)),
                b'Z' => {
                    self.status = message.body[0] as char;
                    return (answer, bytes);
                }
                other => panic!("unexpected message {:?}", other as char),
            }
        }
    }

    /// Everything up to the next ReadyForQuery, as answers: each ends at its tag, error, or suspension.
    ///
    /// # Errors
    /// The connection ended.
    pub fn answers(&mut self) -> io::Result<Vec<Answer>> {
        let mut answers = Vec::new();
        let mut current = Answer::default();
        loop {
            let message = self.receive()?;
            match message.kind {
                b'Z' => {
                    self.status = message.body[0] as char;
                    if current != Answer::default() {
                        answers.push(current);
                    }
                    return Ok(answers);
                }
                b'S' => self.note_setting(&message),
                b'A' => self.note_notification(&message),
                b'T' => current.columns = Some(columns(&message)),
                b't' => current.parameter_types = Some(parameter_types(&message)),
                b'D' => current.rows.push(row(&message)),
                b'N' => current.notices.push(server_error(&message)),
                b'C' => current.tag = Some(message.reader().string()),
                b'I' => current.tag = Some(String::new()),
                b's' => current.suspended = true,
                b'E' => current.error = Some(server_error(&message)),
                b'1' | b'2' | b'3' | b'n' => {}
                other => return Err(io::Error::other(format!("unexpected message {:?}", other as char))),
            }
            if matches!(message.kind, b'C' | b'I' | b's' | b'E') {
                answers.push(std::mem::take(&mut current));
            }
        }
    }
}

fn columns(message: &Message) -> Vec<Column> {
    let mut reader = message.reader();
    let count = reader.i16();
    (0..count)
        .map(|_| {
            let name = reader.string();
            let (table_oid, attribute) = (reader.u32(), reader.i16());
            let (type_oid, size, modifier) = (reader.u32(), reader.i16(), reader.i32());
            let _format = reader.i16();
            Column { name, type_oid, modifier, size, table_oid, attribute }
        })
        .collect()
}

fn parameter_types(message: &Message) -> Vec<u32> {
    let mut reader = message.reader();
    let count = reader.i16();
    (0..count).map(|_| reader.u32()).collect()
}

fn row(message: &Message) -> Row {
    let mut reader = message.reader();
    let count = reader.i16();
    (0..count)
        .map(|_| match reader.i32() {
            -1 => None,
            length => Some(reader.bytes(usize::try_from(length).expect("a length")).to_vec()),
        })
        .collect()
}

pub fn server_error(message: &Message) -> ServerError {
    let mut reader: Reader<'_> = message.reader();
    let mut fields = BTreeMap::new();
    loop {
        match reader.u8() {
            0 => return ServerError { fields },
            letter => fields.insert(letter as char, reader.string()),
        };
    }
}
