//! COPY FROM STDIN: rows are split by their key and sent on as they come, in one transaction over their shards.
//!
//! A Postgres shard runs the client's own COPY, begun when its first row comes: of a row nothing is read but its end and its
//! key. SQLite shards get INSERTs of many rows. A client that goes away leaves an open transaction, which nobody commits.

use std::sync::Arc;

use bytes::Bytes;

use super::answer::{Answer, Copying, Rows, TagCount};
use super::copy_rows::{Router, kept};
use super::deadlock::Party;
use super::down::Need;
use super::everywhere::{copies_differ, refuse_different_effects, refuse_new_shards, unless_new_shards};
use super::participant::watched;
use super::recording::{RanOn, Recording};
use super::session::{Execution, Session};
use super::side_by_side::side_by_side;
use super::statement::Statement;
use crate::copying::{self, Form, Item, Lines, Splitter, Style};
use crate::error::{Error, Result, SqlState};
use crate::metrics::{Door, Outcome};
use crate::plan::{self, Copy, Plan};
use crate::shard::postgres::CopyStream;
use crate::shard::{Formats, RawParameters, ShardKind};
use crate::sql::quote_identifier;
use crate::types::{Format, ShardId};

/// How much one INSERT for SQLite shards carries.
const INSERT_ROWS: usize = 256;
const INSERT_VALUES: usize = 8_192;
const INSERT_BYTES: usize = 1 << 20;

/// Rows on their way in.
#[derive(Debug)]
pub struct CopyIn {
    statement: Arc<Statement>,
    /// As the client wrote it.
    text: Arc<str>,
    splitter: Splitter,
    target: Target,
    /// The transaction is its own.
    own: bool,
    recording: Option<Recording>,
}

#[derive(Debug)]
enum Target {
    /// Each row has its shard.
    Sharded {
        router: Router,
        /// What the rows of each shard begin with.
        header: Vec<u8>,
        streams: Streams,
    },
    /// Every shard gets all.
    Reference(Streams),
    Inserts(Inserts),
}

#[derive(Debug, Default)]
struct Streams {
    open: Vec<(ShardId, CopyStream)>,
    /// What each was sent, where it is not all.
    lines: Vec<Lines>,
    /// Once there are several.
    party: Option<Arc<Party>>,
}

/// Rows that wait for their INSERT.
#[derive(Debug, Default)]
struct Inserts {
    values: Vec<Option<Bytes>>,
    rows: usize,
    bytes: usize,
    written: u64,
}

impl Session {
    /// Begins a COPY.
    pub(super) async fn copy(&mut self, copy: &Copy, execution: &Execution) -> Result<Answer> {
        if !matches!(self.door, Door::Postgres | Door::PostgresSession) {
            return Err(Error::unsupported("COPY over HTTP", "Use the Postgres protocol, or a batch of writes."));
        }
        match &copy.way {
            plan::Copying::In(rows) => self.copy_in(rows, &copy.style, execution).await,
            plan::Copying::Out { query } => self.copy_out(query, &copy.style, execution).await,
        }
    }

    async fn copy_in(&mut self, rows: &plan::CopyIn, style: &Style, execution: &Execution) -> Result<Answer> {
        let engine = Arc::clone(&self.engine);
        let topology = engine.live.snapshot();
        let keyspace = topology.keyspace(&rows.table.keyspace);
        let keyspace = keyspace.ok_or_else(|| Error::internal("a table's keyspace is not in the topology"))?;
        let names = rows.names();
        let key = rows.key.filter(|_| engine.kind == ShardKind::Postgres);
        let target = match (engine.kind, rows.key) {
            (ShardKind::Sqlite, _) if rows.filter.is_some() => {
                return Err(Error::unsupported("COPY ... WHERE on SQLite shards", "Leave rows out in the client."));
            }
            (ShardKind::Sqlite, _) => Target::Inserts(Inserts::default()),
            (ShardKind::Postgres, Some(_)) => Target::Sharded {
                router: Router::new(rows, keyspace, style.form, self.settings.text_style()),
                header: Vec::new(),
                streams: Streams::default(),
            },
            (ShardKind::Postgres, None) => {
                refuse_different_effects(&rows.insert, Some(&rows.table))?;
                if let Some(filter) = &rows.filter {
                    let filter = filter.as_ref().map_err(Clone::clone)?;
                    refuse_different_effects(filter, None)?;
                    if plan::calls_clock(filter) {
                        return Err(Error::unsupported(
                            "the transaction's time in COPY ... WHERE for a reference table",
                            "Write the time as a constant: every shard would take another one.",
                        ));
                    }
                }
                engine.require(&keyspace.shards, Need::ReferenceWrite)?;
                Target::Reference(Streams::default())
            }
        };
        let mut copy = CopyIn {
            statement: Arc::clone(&execution.statement),
            text: Arc::clone(&execution.prepared.text),
            splitter: Splitter::new(style.clone(), names, key),
            target,
            own: self.open_spanning(execution)?,
            recording: None,
        };
        if let Target::Reference(_) = copy.target {
            let mut shards = keyspace.shards.clone();
            // In one order by everybody, so that nobody waits in a circle.
            shards.sort_unstable();
            let opened = self.open_all(&mut copy, &shards).await;
            if let Err(error) = unless_new_shards(&engine, &keyspace.name, shards.len(), opened) {
                return Err(self.take_copy_back(copy, error).await);
            }
        }
        let answer = Answer::new(None, Rows::none(), "COPY", TagCount::Written(0));
        Ok(Answer { copy: Some(Copying::In(Box::new(copy))), ..answer })
    }

    async fn open_all(&mut self, copy: &mut CopyIn, shards: &[ShardId]) -> Result<()> {
        self.require_prepared(shards)?;
        let CopyIn { statement, text, target: Target::Reference(streams), .. } = copy else { return Ok(()) };
        for shard in shards {
            self.open_copy(*shard, streams, statement, text).await?;
        }
        Ok(())
    }

    /// Has a shard begin.
    async fn open_copy(
        &mut self,
        shard: ShardId,
        streams: &mut Streams,
        statement: &Statement,
        text: &str,
    ) -> Result<()> {
        statement.refuse_misfits([&shard], &self.engine)?;
        self.ran_on.add(shard);
        let settings = Arc::clone(self.settings.for_shards());
        let participant = self.join_as_writer(shard).await?;
        streams.party = participant.party();
        if let Some(party) = &streams.party {
            for (shard, stream) in &streams.open {
                party.note(*shard, Some(stream.process()));
            }
        }
        let stream = participant.begin_copy(text, &settings).await?;
        if let Some(party) = &streams.party {
            party.note(shard, Some(stream.process()));
        }
        streams.open.push((shard, stream));
        streams.lines.push(Lines::default());
        Ok(())
    }

    /// Takes what has come from the client. After an error the rows are to be taken back by [`Session::copy_failed`].
    ///
    /// # Errors
    /// A row is none, or has no key; a shard has refused one; the client gives up.
    pub async fn copy_data(&mut self, copy: &mut CopyIn, bytes: &[u8]) -> Result<()> {
        if let Some(reason) = self.cancel.error() {
            return Err(reason);
        }
        if let Target::Reference(streams) = &mut copy.target {
            for number in 0..streams.open.len() {
                if streams.open[number].1.add(bytes) {
                    streams.push(number).await?;
                }
            }
            return Ok(());
        }
        copy.splitter.feed(bytes)?;
        self.copy_rows(copy).await.map_err(|error| copy.with_context(error))
    }

    async fn copy_rows(&mut self, copy: &mut CopyIn) -> Result<()> {
        let CopyIn { statement, text, splitter, target, .. } = copy;
        let Plan::Copy(planned) = &statement.plan else { return Err(no_copy()) };
        let plan::Copying::In(rows) = &planned.way else { return Err(no_copy()) };
        let (router, header, streams) = match target {
            Target::Sharded { router, header, streams } => (router, header, streams),
            Target::Inserts(inserts) => return self.insert_copied(rows, splitter, inserts).await,
            Target::Reference(_) => return Ok(()),
        };
        while let Some(item) = splitter.next_item()? {
            let row = match item {
                Item::Header(bytes) => {
                    header.extend_from_slice(bytes);
                    continue;
                }
                Item::Row(row) => row,
            };
            let shard = router.shard(row.key.as_deref(), rows).map_err(|error| row.at_key(error, rows.key_name()))?;
            let number = match streams.open.iter().position(|(open, _)| *open == shard) {
                Some(number) => number,
                None => {
                    self.open_copy(shard, streams, statement, text).await?;
                    let number = streams.open.len() - 1;
                    streams.begin_rows(number, header, router.form());
                    number
                }
            };
            streams.lines[number].sent(row.line, row.lines);
            if streams.open[number].1.add(row.bytes) {
                streams.push(number).await.map_err(|error| streams.at_client_line(number, error))?;
            }
        }
        Ok(())
    }

    /// The client has sent all. Commits them, unless more is to come in its transaction.
    ///
    /// # Errors
    /// As [`Session::copy_data`], with everything taken back; or the commit failed.
    pub async fn copy_done(&mut self, mut copy: Box<CopyIn>) -> Result<Answer> {
        let written = match self.finish_copy(&mut copy).await {
            Ok(written) => written,
            Err(error) => {
                let error = copy.with_context(error);
                return Err(self.take_copy_back(*copy, error).await);
            }
        };
        let CopyIn { own, mut recording, .. } = *copy;
        let closed = self.close_spanning(own, Ok(written)).await;
        if let Some(recording) = &mut recording {
            recording.shard = self.engine.metrics_of(self.ran_on);
            recording.outcome = closed.as_ref().map_or_else(Outcome::of_error, |_| recording.outcome);
        }
        let answer = Answer::new(None, Rows::none(), "COPY", TagCount::Written(closed?));
        Ok(Answer { recording, ..answer })
    }

    async fn finish_copy(&mut self, copy: &mut CopyIn) -> Result<u64> {
        copy.splitter.end();
        self.copy_rows(copy).await?;
        let engine = Arc::clone(&self.engine);
        let CopyIn { statement, text, target, .. } = copy;
        let Plan::Copy(planned) = &statement.plan else { return Err(no_copy()) };
        let plan::Copying::In(rows) = &planned.way else { return Err(no_copy()) };
        let reference = matches!(target, Target::Reference(_));
        let streams = match target {
            Target::Inserts(inserts) => {
                self.insert_batch(rows, planned.style.form, inserts).await?;
                return Ok(inserts.written);
            }
            Target::Reference(streams) => streams,
            Target::Sharded { header, streams, .. } => {
                if streams.open.is_empty() {
                    // What is wrong with it is told though it has no rows.
                    let shard = self.any_shard()?;
                    self.open_copy(shard, streams, statement, text).await?;
                    streams.begin_rows(0, header, planned.style.form);
                }
                streams
            }
        };
        let party = streams.party.clone();
        let finishing = streams.open.iter_mut().map(|(shard, stream)| {
            let party = party.as_deref();
            async move { (*shard, watched(party, stream.finish()).await) }
        });
        let finished = side_by_side(finishing).await;
        let (mut sum, mut first) = (0, None);
        for (number, (shard, outcome)) in finished.into_iter().enumerate() {
            let (taken, notices) = match outcome {
                Err(error) if !reference => return Err(streams.at_client_line(number, error)),
                outcome => outcome?,
            };
            self.notices.extend(notices);
            if reference && *first.get_or_insert(taken) != taken {
                return Err(copies_differ(&rows.table.name, &engine.shard_name(shard)));
            }
            sum += taken;
        }
        let opened = streams.open.len();
        self.end_streams(streams)?;
        if !reference {
            return Ok(sum);
        }
        refuse_new_shards(&engine, &rows.table.keyspace, opened)?;
        Ok(first.unwrap_or(0))
    }

    fn end_streams(&mut self, streams: &mut Streams) -> Result<()> {
        for (shard, stream) in streams.open.drain(..) {
            self.participant_of(shard)?.transaction.postgres()?.end_copy(stream);
        }
        Ok(())
    }

    /// Takes the rows back, since the client gave them up or one of them was wrong. Gives the error that it is told.
    pub async fn copy_failed(&mut self, copy: Box<CopyIn>, reason: Error) -> Error {
        self.take_copy_back(*copy, reason).await
    }

    async fn take_copy_back(&mut self, mut copy: CopyIn, reason: Error) -> Error {
        if let Target::Sharded { streams, .. } | Target::Reference(streams) = &mut copy.target {
            side_by_side(streams.open.iter_mut().map(|(_, stream)| stream.give_up(&reason))).await;
            let _ = self.end_streams(streams);
        }
        if let Some(recording) = &mut copy.recording {
            recording.shard = self.engine.metrics_of(self.ran_on);
            recording.outcome = Outcome::of_error(&reason);
        }
        self.fail();
        match self.close_spanning::<()>(copy.own, Err(reason.clone())).await {
            Err(error) => error,
            Ok(()) => reason,
        }
    }
}

/// Rows for SQLite shards.
impl Session {
    async fn insert_copied(
        &mut self,
        rows: &plan::CopyIn,
        splitter: &mut Splitter,
        inserts: &mut Inserts,
    ) -> Result<()> {
        let style = splitter.style().clone();
        let names = splitter.columns().to_vec();
        while let Some(item) = splitter.next_item()? {
            let row = match item {
                Item::Row(row) => row,
                Item::Header(bytes) => {
                    refuse_other_header(bytes, &style, &names)?;
                    continue;
                }
            };
            let values = copying::fields(row.content(), &style, &names).map_err(|error| row.at(error))?;
            inserts.bytes += row.bytes.len();
            inserts.rows += 1;
            inserts.values.extend(values.into_iter().map(|value| value.map(kept)));
            let values = inserts.values.len();
            if inserts.rows >= INSERT_ROWS || values >= INSERT_VALUES || inserts.bytes >= INSERT_BYTES {
                self.insert_batch(rows, style.form, inserts).await?;
            }
        }
        Ok(())
    }

    async fn insert_batch(&mut self, rows: &plan::CopyIn, form: Form, inserts: &mut Inserts) -> Result<()> {
        if inserts.rows == 0 {
            return Ok(());
        }
        let columns = rows.columns.len();
        let names: Vec<String> = rows.names().iter().map(|name| quote_identifier(name)).collect();
        let tuple = |row: usize| {
            let places: Vec<String> = (1..=columns).map(|place| format!("${}", row * columns + place)).collect();
            format!("({})", places.join(", "))
        };
        let tuples: Vec<String> = (0..inserts.rows).map(tuple).collect();
        let table = quote_identifier(&rows.table.name);
        let text = format!("INSERT INTO {table} ({}) VALUES {}", names.join(", "), tuples.join(", "));
        let format = if form == Form::Binary { Format::Binary } else { Format::Text };
        let parameters = RawParameters { formats: vec![format], values: std::mem::take(&mut inserts.values) };
        (inserts.rows, inserts.bytes) = (0, 0);
        let prepared = Arc::new(self.prepare_checked(&text, &[])?);
        let scope = super::Scope::Alone;
        let answer = Box::pin(self.run(&prepared, parameters, Formats::AllText, scope)).await;
        match answer.map_err(Error::without_position)?.count {
            TagCount::Written(written) => inserts.written += written,
            _ => return Err(Error::internal("an INSERT did not tell how many rows it wrote")),
        }
        self.ran_on = RanOn::Several;
        Ok(())
    }
}

/// HEADER MATCH: the first line has to name the columns.
fn refuse_other_header(line: &[u8], style: &Style, names: &[String]) -> Result<()> {
    if style.header != copying::Header::Match {
        return Ok(());
    }
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let found = copying::fields(line, style, names)?;
    let differs = found.iter().zip(names).find(|(found, name)| found.as_deref() != Some(name.as_bytes()));
    differs.map_or(Ok(()), |(found, name)| {
        let found = found.as_deref().map(String::from_utf8_lossy).unwrap_or_default();
        let message = format!("column name mismatch in header line: got \"{found}\", expected \"{name}\"");
        Err(Error::new(SqlState::BAD_COPY_FILE_FORMAT, message))
    })
}

impl Streams {
    /// What has to come before a shard's first row.
    fn begin_rows(&mut self, number: usize, header: &[u8], form: Form) {
        self.open[number].1.add(header);
        if form != Form::Binary && !header.is_empty() {
            self.lines[number].sent(1, 1);
        }
    }

    /// A shard counts the lines that it was sent: its error tells the client's, as long as they are known.
    fn at_client_line(&self, number: usize, error: Error) -> Error {
        let context = error.get_others().iter().find(|(letter, _)| *letter == b'W').map(|(_, context)| context.clone());
        let Some(context) = context else { return error };
        // What a trigger did comes before it.
        let begin = if context.starts_with("COPY ") { Some(0) } else { context.find("\nCOPY ") };
        let Some(begin) = begin else { return error };
        let Some(digits) = context[begin..].find(", line ").map(|at| begin + at + ", line ".len()) else {
            return error;
        };
        let length = context[digits..].bytes().take_while(u8::is_ascii_digit).count();
        let (before, after) = context.split_at(digits + length);
        let line = before[digits..].parse().ok().and_then(|sent| self.lines.get(number)?.client_line(sent));
        let context = match line {
            Some(line) => format!("{}{line}{after}", &before[..digits]),
            None => format!("{before} of one shard's rows{after}"),
        };
        error.without_other(b'W').other(b'W', context)
    }

    /// Sends what was added for one shard, and waits where it does not follow.
    async fn push(&mut self, number: usize) -> Result<()> {
        let (_, stream) = &mut self.open[number];
        if stream.push()? {
            watched(self.party.as_deref(), stream.wait()).await?;
        }
        Ok(())
    }
}

impl CopyIn {
    /// As the client is told of them.
    pub fn columns(&self) -> usize {
        self.splitter.columns().len()
    }

    pub fn format(&self) -> Format {
        if self.splitter.style().form == Form::Binary { Format::Binary } else { Format::Text }
    }

    /// What the statement is counted by, until the rows are in.
    pub(super) fn record(&mut self, recording: Recording) {
        self.recording = Some(recording);
    }

    fn with_context(&self, error: Error) -> Error {
        match &self.statement.plan {
            Plan::Copy(copy) => match &copy.way {
                plan::Copying::In(rows) => Splitter::with_context(error, &rows.table.name),
                plan::Copying::Out { .. } => error,
            },
            _ => error,
        }
    }
}

fn no_copy() -> Error {
    Error::internal("rows came for a statement that is no COPY")
}
