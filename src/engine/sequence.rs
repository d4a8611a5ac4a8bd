//! Sequences: `nextval()`, `setval()` and `currval()` by themselves, and changes of a sequence.
//!
//! The sequence of a sharded table counts each shard's own numbers, so any shard can give the next one, and to set it is to
//! set every shard's past the value, or at it. The numbers of any other are its home shard's to give; its copies elsewhere are
//! set along with it.

use std::sync::Arc;

use bytes::{BufMut, BytesMut};

use super::answer::{Answer, RowBatch, Rows, TagCount};
use super::down::Need;
use super::merge::column_slices;
use super::participant::Participant;
use super::sequence_name::{Sequence, no_name};
use super::session::{Execution, Scope, Session};
use super::shards::{plain_call, plain_program};
use crate::error::{Error, Result, SqlState};
use crate::plan::{Plan, SequenceCall};
use crate::shard::postgres::schema::{self, ShardSchema};
use crate::shard::sqlite::Effect;
use crate::shard::{Call, Formats, Output, OutputColumn, ShardKind, Written};
use crate::sql::{self, quote_identifier};
use crate::topology::{SHARD_NUMBER_MAX, Schema};
use crate::types::{Format, PgType, ShardId};

/// How far apart a shard's numbers are.
const STEP: i64 = SHARD_NUMBER_MAX as i64;

impl Session {
    pub(super) async fn sequence(&mut self, call: &SequenceCall, execution: &Execution) -> Result<Answer> {
        match call {
            SequenceCall::Next { once, .. } => {
                self.permit_write("nextval()")?;
                match self.engine.kind {
                    ShardKind::Postgres => self.next_of_server(call, execution).await,
                    ShardKind::Sqlite if *once => self.next_of_file(call, execution).await,
                    ShardKind::Sqlite => Err(Error::unsupported(
                        "nextval() over rows on SQLite shards",
                        "Call it once for each number, without FROM.",
                    )),
                }
            }
            SequenceCall::Set { .. } => {
                self.permit_write("setval()")?;
                self.set_sequence(call, execution).await
            }
            SequenceCall::Current { .. } => self.current_of(call, execution).await,
            SequenceCall::Last { .. } => {
                let number = self.last_number().await?;
                self.one_number(Some(number), execution, call)
            }
        }
    }

    async fn current_of(&mut self, call: &SequenceCall, execution: &Execution) -> Result<Answer> {
        let text = self.sequence_text(call, execution)?.ok_or_else(no_name)?;
        if let Some(number) = self.current_kept(&text).await? {
            return self.one_number(number, execution, call);
        }
        self.name_all_written(call, execution).await?;
        let Some(sequence) = self.named_sequence(call, &text, execution).await? else {
            return self.one_number(None, execution, call);
        };
        let named = unqualified(&sequence.name);
        let number = self.current_number(&sequence.name, sequence.filled.as_ref(), &named).await?;
        self.one_number(Some(number), execution, call)
    }

    /// What nextval() was called with may be the same sequence by another name.
    async fn name_all_written(&mut self, call: &SequenceCall, execution: &Execution) -> Result<()> {
        for (written, number, at) in self.take_written() {
            match self.named_sequence(call, &written, execution).await {
                Ok(Some(sequence)) => self.name_written(&sequence.name, number, at),
                Ok(None) => {}
                // It was dropped since.
                Err(error) if error.sqlstate() == SqlState::UNDEFINED_TABLE && self.transaction.is_none() => {}
                Err(error) => {
                    // The others are not looked at any more.
                    self.lose_numbers();
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    async fn next_of_server(&mut self, call: &SequenceCall, execution: &Execution) -> Result<Answer> {
        let home = self.home_shard()?;
        let shard = match self.is_asked_at_home(home) {
            true => home,
            false => match self.next_of_named(call, execution).await? {
                Some(sequence) => self.giving(&sequence, home)?,
                None => home,
            },
        };
        let text = self.sequence_text(call, execution)?;
        let asking = self.call(execution, execution.whole_program()?)?;
        let answered = match self.run_beside(shard, asking).await {
            Ok(mut output) => {
                let notices = std::mem::take(&mut output.notices);
                super::write::held(output).await.map(|written| (written, notices))
            }
            Err(error) => Err(error),
        };
        // It may have given numbers before it failed.
        let (written, notices) = answered.inspect_err(|_| self.lose_numbers())?;
        match call {
            SequenceCall::Next { in_order: false, .. } => self.lose_numbers(),
            _ => {
                if let Some(number) = last_number_of(&written.rows, execution.formats.of(0))? {
                    self.note_next(text, number);
                }
            }
        }
        let Written { columns, row_description, rows, .. } = written;
        let output = Output { columns, row_description, rows: Rows::Ready(rows), notices, ..Output::default() };
        Ok(self.passed_answer("SELECT", output))
    }

    /// Whether the home shard's numbers are nobody else's, whatever the sequence is for: to know that one costs a question.
    fn is_asked_at_home(&self, home: ShardId) -> bool {
        !self.schema().fills_unserved
            && self.engine.live.snapshot().keyspaces.iter().all(|keyspace| keyspace.shards.contains(&home))
            && self.engine.shard(home).is_ok_and(|home| home.is_reachable())
    }

    /// The shard that gives a sequence's next number: the one that fills its reference table's rows in, or, where each counts
    /// its own, one that can be asked.
    fn giving(&self, sequence: &Sequence, home: ShardId) -> Result<ShardId> {
        let shards = &sequence.shards;
        let first = *shards.first().ok_or_else(|| Error::internal("a keyspace has no shards"))?;
        if !sequence.apart {
            return Ok(first);
        }
        let joined = self.transaction.as_ref().and_then(|transaction| {
            let mut joined = transaction.participants.iter().map(|participant| participant.shard);
            joined.find(|shard| shards.contains(shard))
        });
        let is_reachable = |shard: &ShardId| self.engine.shard(*shard).is_ok_and(|open| open.is_reachable());
        let reachable =
            || std::iter::once(&home).chain(shards).find(|shard| shards.contains(shard) && is_reachable(shard));
        Ok(joined.or_else(|| reachable().copied()).unwrap_or(first))
    }

    async fn next_of_file(&mut self, call: &SequenceCall, execution: &Execution) -> Result<Answer> {
        let Some(sequence) = self.next_of_named(call, execution).await? else {
            return self.one_number(None, execution, call);
        };
        let asking = sequence.asking("pg_next_id", "")?;
        let output = match (sequence.apart, sequence.shards.as_slice()) {
            (true, _) => self.run_beside(self.any_shard()?, asking).await?,
            (false, [first, others @ ..]) if !others.is_empty() => {
                let own = self.open_spanning(execution)?;
                let outcome = self.copy_effect(asking, *first, others).await;
                let written = self.close_spanning(own, outcome).await?;
                Output { rows: Rows::Ready(written.rows), ..Output::default() }
            }
            (false, shards) => {
                let first = shards.first().copied().ok_or_else(|| Error::internal("a keyspace has no shards"))?;
                self.run_beside(first, asking).await?
            }
        };
        let number = only_number(output).await?;
        if let Some((table, column)) = &sequence.filled {
            self.note_next_of(table, column, number);
        }
        self.one_number(Some(number), execution, call)
    }

    async fn set_sequence(&mut self, call: &SequenceCall, execution: &Execution) -> Result<Answer> {
        let text = Arc::clone(&execution.prepared.text);
        let parts = sql::setval_parts(&text)?.ok_or_else(|| Error::internal("a setval() was not found in its text"))?;
        let Some((value, called)) = self.value_to_set(&parts, execution).await? else {
            return Ok(self.no_number(execution, call));
        };
        let sequence = self.named_sequence(call, parts.sequence, execution).await?;
        let (Some(sequence), Some(value), Some(called)) = (sequence, value, called) else {
            return self.one_number(None, execution, call);
        };
        if (sequence.apart && value < 1) || value > sequence.largest {
            return Err(out_of_bounds(&sequence, value));
        }
        self.engine.require(&sequence.shards, Need::Sequence)?;
        let first = value.saturating_add(i64::from(called));
        if self.engine.kind == ShardKind::Sqlite && !sequence.apart {
            let asking = sequence.asking("pg_set_next_id", &format!(", {first}"))?;
            let own = self.open_spanning(execution)?;
            let outcome = match sequence.shards.as_slice() {
                [only] => self.run_joined(*only, asking).await,
                [first, others @ ..] => self.copy_effect(asking, *first, others).await.map(|_| ()),
                [] => Err(Error::internal("a keyspace has no shards")),
            };
            self.close_spanning(own, outcome).await?;
        } else {
            self.set_each(&sequence, value, called).await?;
        }
        if called {
            let apart = sequence.apart && self.engine.kind == ShardKind::Postgres;
            self.note_set(&sequence.name, sequence.filled.as_ref(), value, apart);
        }
        self.one_number(Some(value), execution, call)
    }

    /// Sets every shard's. As in Postgres it is no part of a transaction; run again, it does the same.
    async fn set_each(&mut self, sequence: &Sequence, value: i64, called: bool) -> Result<()> {
        let first = value.saturating_add(i64::from(called));
        let mut set = Vec::new();
        for &shard in &sequence.shards {
            let asking = match (self.engine.kind, sequence.apart) {
                (ShardKind::Sqlite, _) => {
                    let first = next_own(first, shard);
                    sequence.asking("pg_set_next_id", &format!(", {first}"))?
                }
                (ShardKind::Postgres, true) => {
                    Call::Postgres(self.own_call(&sequence.setting(next_own(first, shard), false)))
                }
                (ShardKind::Postgres, false) => Call::Postgres(self.own_call(&sequence.setting(value, called))),
            };
            let done = match self.run_beside(shard, asking).await {
                Ok(output) => super::write::held(output).await.map(|_| ()),
                Err(error) => Err(error),
            };
            if let Err(error) = done {
                return Err(match set.is_empty() {
                    true => error,
                    false => {
                        error.hint(format!("The sequence was set on {} already: run the same again.", set.join(", ")))
                    }
                });
            }
            set.push(self.engine.shard_name(shard));
        }
        Ok(())
    }

    /// What a setval() is to set, and whether that number has been given; each `None` for NULL. `None`: its query gave no row.
    async fn value_to_set(
        &mut self,
        parts: &sql::SetvalParts<'_>,
        execution: &Execution,
    ) -> Result<Option<(Option<i64>, Option<bool>)>> {
        let (columns, rows) = self.read_within(&parts.reading, execution).await?;
        let is_number = |column: &OutputColumn| {
            matches!(column.data_type, PgType::Int2 | PgType::Int4 | PgType::Int8 | PgType::Unknown | PgType::Text)
        };
        if columns.first().is_none_or(|value| !is_number(value)) {
            let found = columns.first().map_or("unknown", |value| value.data_type.sql_name());
            return Err(Error::new(
                SqlState::UNDEFINED_FUNCTION,
                format!("function setval(unknown, {found}) does not exist"),
            )
            .hint("The value has to be a bigint: cast it."));
        }
        let row = match rows.as_slice() {
            [] => return Ok(None),
            [row] => row,
            _ => {
                return Err(Error::unsupported(
                    "setval() for several rows",
                    "Give it one value: max(...), or a row by its key.",
                ));
            }
        };
        let value = match row.first().and_then(Option::as_deref) {
            None => None,
            Some(text) => Some(text.trim().parse().map_err(|_| not_a_number(text))?),
        };
        let called = match row.get(1) {
            None if parts.tells_called => return Err(Error::internal("a setval()'s query gave one column")),
            None => Some(true),
            Some(called) => called.as_deref().map(|text| matches!(text, "t" | "true" | "on" | "1" | "yes")),
        };
        Ok(Some((value, called)))
    }

    /// The rows of a query that is a part of the client's statement, in text; two at most.
    pub(super) async fn read_within(
        &mut self,
        query: &str,
        execution: &Execution,
    ) -> Result<(Vec<OutputColumn>, Vec<Vec<Option<String>>>)> {
        const ENOUGH: usize = 2;
        let count = sql::lift(query)?.client_parameters;
        let (mut oids, raw) = super::carrying::first_parameters(execution, count);
        // One that the rest does not mention could have any type.
        oids.iter_mut().filter(|oid| **oid == 0).for_each(|oid| *oid = PgType::Text.oid());
        let prepared = self.prepare_checked(query, &oids).map_err(Error::without_position)?;
        if !matches!(prepared.statement.plan, Plan::Read(_)) {
            return Err(Error::unsupported("this form of query in setval()", "Read first, then give it the value."));
        }
        self.describe(&prepared).await.map_err(Error::without_position)?;
        let columns = prepared.columns().ok_or_else(|| Error::internal("a query gives no columns"))?.to_vec();
        let answer = Box::pin(self.run(&Arc::new(prepared), raw, Formats::AllText, Scope::Alone)).await;
        let mut answer = answer.map_err(Error::without_position)?;
        let columns = answer.columns.as_deref().map_or(columns, <[OutputColumn]>::to_vec);
        let mut rows = Vec::new();
        while let Some(batch) = answer.next().await? {
            for frame in batch.row_frames().take(ENOUGH - rows.len()) {
                let text = |value: Option<&[u8]>| value.map(|value| String::from_utf8_lossy(value).into_owned());
                rows.push(column_slices(frame)?.into_iter().map(text).collect());
            }
            if rows.len() == ENOUGH {
                break;
            }
        }
        Ok((columns, rows))
    }

    /// Runs a call that is no part of a transaction, on the connection that an open one has there, which may have made the
    /// sequence; or on another.
    async fn run_beside(&mut self, shard: ShardId, call: Call) -> Result<Output> {
        self.ran_on.add(shard);
        let joined = self.transaction.as_mut().is_some_and(|transaction| transaction.participant(shard).is_some());
        match (joined, self.engine.kind) {
            (false, _) => self.engine.shard(shard)?.write(call).await,
            (true, ShardKind::Postgres) => self.participant_of(shard)?.run(call).await,
            // The number is stored by its commit.
            (true, ShardKind::Sqlite) => self.join_as_writer(shard).await?.run(call).await,
        }
    }

    async fn run_joined(&mut self, shard: ShardId, call: Call) -> Result<()> {
        self.ran_on.add(shard);
        let output = self.join_as_writer(shard).await?.run(call).await?;
        super::write::held(output).await.map(|_| ())
    }

    fn one_number(&self, number: Option<i64>, execution: &Execution, call: &SequenceCall) -> Result<Answer> {
        let mut frames = BytesMut::new();
        let value = number.map(|number| match execution.formats.of(0) {
            Format::Text => number.to_string().into_bytes(),
            Format::Binary => number.to_be_bytes().to_vec(),
        });
        let length = |bytes: usize| i32::try_from(bytes).map_err(|_| Error::internal("a number is too long"));
        frames.put_u8(b'D');
        frames.put_i32(length(4 + 2 + 4 + value.as_ref().map_or(0, Vec::len))?);
        frames.put_i16(1);
        match value {
            None => frames.put_i32(-1),
            Some(value) => {
                frames.put_i32(length(value.len())?);
                frames.put_slice(&value);
            }
        }
        let rows = Rows::Ready(RowBatch { frames, rows: 1 });
        Ok(Answer { rows, ..self.no_number(execution, call) })
    }

    fn no_number(&self, execution: &Execution, call: &SequenceCall) -> Answer {
        let columns =
            execution.statement.columns().cloned().unwrap_or_else(|| Arc::from([number_column(call.column())]));
        Answer::new(Some(columns), Rows::Ready(RowBatch::default()), "SELECT", TagCount::Returned)
    }
}

impl Sequence {
    /// A call of a function of a SQLite shard's own for it.
    fn asking(&self, function: &str, more: &str) -> Result<Call> {
        let (table, column) = self.filled.as_ref().ok_or_else(|| Error::internal("a sequence of no table"))?;
        let text = |name: &str| name.replace('\'', "''");
        let statement = format!("SELECT {function}('{}', '{}'{more})", text(table), text(column));
        let program = plain_program(statement, &[("number", PgType::Int8)], Effect::Write);
        let program = crate::shard::sqlite::Program { parameters: Vec::new(), ..program };
        Ok(Call::Sqlite(crate::shard::sqlite::Call {
            formats: Formats::AllText,
            ..plain_call(&Arc::new(program), Vec::new())
        }))
    }

    fn setting(&self, value: i64, called: bool) -> String {
        format!("SELECT pg_catalog.setval('{}'::pg_catalog.regclass, {value}, {called})", self.name.replace('\'', "''"))
    }
}

/// The column of a nextval() or setval().
pub(super) fn number_column(name: &str) -> OutputColumn {
    OutputColumn { data_type: PgType::Int8, ..super::local::text_column(name) }
}

/// The next number of a SQLite shard's sequence, which is used up by it.
pub(super) async fn number_of(participant: &mut Participant, table: &str, column: &str) -> Result<i64> {
    let filled = Some((table.to_owned(), column.to_owned()));
    let sequence = Sequence { name: String::new(), filled, apart: false, shards: Vec::new(), largest: i64::MAX };
    only_number(participant.run(sequence.asking("pg_next_id", "")?).await?).await
}

async fn only_number(output: Output) -> Result<i64> {
    let not_told = || Error::internal("a shard was asked for a number and told none");
    let written = super::write::held(output).await?;
    let frame = written.rows.row_frames().next().ok_or_else(not_told)?;
    let value = column_slices(frame)?.into_iter().next().flatten().ok_or_else(not_told)?;
    String::from_utf8_lossy(value).parse().map_err(|_| not_told())
}

/// The number in the last of these rows, if it is not NULL.
fn last_number_of(rows: &RowBatch, format: Format) -> Result<Option<i64>> {
    let not_told = || Error::internal("nextval() gave no number");
    let Some(frame) = rows.row_frames().last() else { return Ok(None) };
    let Some(value) = column_slices(frame)?.into_iter().next().flatten() else { return Ok(None) };
    match format {
        Format::Text => String::from_utf8_lossy(value).parse().map(Some).map_err(|_| not_told()),
        Format::Binary => value.try_into().map(|bytes| Some(i64::from_be_bytes(bytes))).map_err(|_| not_told()),
    }
}

/// The first number from `from` on that is this shard's alone.
pub(super) fn next_own(from: i64, shard: ShardId) -> i64 {
    from.saturating_add((i64::from(shard.0) - from).rem_euclid(STEP))
}

/// What makes the sequences of sharded tables count what is each shard's alone, shard by shard: those of new tables, of those
/// that got a column, and those that are `named`.
pub(super) fn set_apart(
    read: &[(ShardId, ShardSchema)],
    before: &Schema,
    named: impl Fn(&str, &str) -> bool,
) -> Vec<(ShardId, Vec<String>)> {
    let all = read.iter().map(|(shard, found)| {
        let mut statements = Vec::new();
        for (name, table) in found.tables.iter().filter(|(_, table)| table.table.key_column().is_some()) {
            let known = before.table(name);
            let grown = known.is_none_or(|known| known.columns.len() != table.table.columns.len());
            for (column, sequence_name) in &table.sequences {
                let Some(sequence) = found.sequences.get(sequence_name) else { continue };
                let steps = sequence.increment == 1 || sequence.increment % STEP == 0;
                if !steps || !(grown || named(sequence_name, name)) || sequence.collides(shard.0).is_none() {
                    continue;
                }
                // Another shard may have given numbers already, and this one none.
                let stands = read.iter().filter_map(|(_, other)| other.sequences.get(sequence_name));
                let from = stands.map(schema::Sequence::next).max().unwrap_or(sequence.start);
                let (start, next) = (next_own(sequence.start, *shard), next_own(from, *shard));
                statements.push(format!(
                    "ALTER SEQUENCE {sequence_name} INCREMENT BY {STEP} MINVALUE 1 START WITH {start} RESTART WITH {next}"
                ));
                if known.is_some_and(|known| known.column(&table.table.columns[*column].name).is_none()) {
                    // The rows that were there have got numbers that other shards' have, too.
                    let column = quote_identifier(&table.table.columns[*column].name);
                    statements.push(format!("UPDATE public.{} SET {column} = DEFAULT", quote_identifier(name)));
                }
            }
        }
        (*shard, statements)
    });
    all.filter(|(_, statements)| !statements.is_empty()).collect()
}

/// As messages name it.
fn unqualified(name: &str) -> String {
    name.rsplit('.').next().unwrap_or(name).trim_matches('"').to_owned()
}

fn out_of_bounds(sequence: &Sequence, value: i64) -> Error {
    let name = unqualified(&sequence.name);
    Error::new(
        SqlState::NUMERIC_VALUE_OUT_OF_RANGE,
        format!("setval: value {value} is out of bounds for sequence \"{name}\" (1..{})", sequence.largest),
    )
}

/// Whom the numbers of a table's sequence are for is not known while the table is not served.
pub(super) fn not_served(schema: &Schema, table: &str, sequence: &str) -> Error {
    let what = format!("the sequence \"{sequence}\" of");
    match schema.refused.get(table) {
        Some(refused) => Error::unsupported(format!("{what} {}", refused.what), refused.hint.clone()),
        None => Error::internal(format!("{what} a table \"{table}\" that is not known")),
    }
}

fn not_a_number(text: &str) -> Error {
    Error::new(SqlState::INVALID_TEXT_REPRESENTATION, format!("invalid input syntax for type bigint: \"{text}\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_shards_never_meet() {
        for from in [0, 1, 2, 1023, 1024, 1025, 5000] {
            for shard in [1, 2, 1024] {
                let own = next_own(from, ShardId(shard));
                assert!(own >= from && own < from + STEP, "{from} on {shard}");
                assert_eq!(own.rem_euclid(STEP), i64::from(shard) % STEP);
            }
        }
    }
}
