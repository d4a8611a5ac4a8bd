//! Writes: on one shard by themselves or in the session's transaction; on several, on all or none.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::answer::{Answer, RowBatch, Rows, TagCount};
use super::down::Need;
use super::everywhere::{is_new_shard, unless_new_shards};
use super::participant::Participant;
use super::recording::RanOn;
use super::session::{Execution, Scope, Session};
use super::side_by_side::side_by_side;
use super::strays::{Reach, while_slots_move};
use super::transaction::{Opened, Transaction};
use crate::error::{Error, Result, SqlState};
use crate::plan::{Insert, Plan, ReferenceWrite, Write};
use crate::shard::{Call, Formats, Output, Program, ShardKind, Tag, TransactionMode, Written};
use crate::types::ShardId;

/// One shard's share of a statement.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) shard: ShardId,
    pub(super) program: Program,
    /// Of its rows; `None`: those that the client asked for.
    pub(super) formats: Option<Formats>,
}

impl Part {
    pub(super) fn new(shard: ShardId, program: Program) -> Part {
        Part { shard, program, formats: None }
    }
}

impl Session {
    /// INSERT ... VALUES: each row goes to the shard of its key.
    pub(super) async fn insert(&mut self, insert: &Insert, execution: &Execution) -> Result<Answer> {
        let rows_of = self.rows_by_shard(insert, execution)?;
        let whole = execution.whole_program()?;
        execution.statement.refuse_misfits(rows_of.keys(), &self.engine)?;
        if rows_of.len() == 1 {
            let (&shard, _) = rows_of.iter().next().expect("one entry was counted");
            let written = self.write_one(Part::new(shard, whole.clone()), execution).await?;
            return Ok(self.answer_of_write(execution, written));
        }
        let mut parts = Vec::with_capacity(rows_of.len());
        for (&shard, rows) in &rows_of {
            parts.push(Part::new(shard, execution.statement.insert_of(insert, rows)?));
        }
        let mut written = Box::pin(self.write_several(parts, execution)).await?;
        // The last row's numbers are the last.
        let last = rows_of.values().position(|rows| rows.contains(&(insert.row_keys.len() - 1)));
        let numbers = last.map(|last| std::mem::take(&mut written[last].numbers)).unwrap_or_default();
        let written = in_statement_order(written, rows_of.values(), insert.row_keys.len());
        Ok(self.answer_of_write(execution, Written { numbers, ..written }))
    }

    fn rows_by_shard(&self, insert: &Insert, execution: &Execution) -> Result<BTreeMap<ShardId, Vec<usize>>> {
        let topology = self.engine.live.snapshot();
        let keyspace = topology
            .keyspace(&insert.keyspace)
            .ok_or_else(|| Error::internal(format!("keyspace \"{}\" is not in the topology", insert.keyspace)))?;
        let mut rows_of: BTreeMap<ShardId, Vec<usize>> = BTreeMap::new();
        let parameters = execution.statement.assigned_parameters(&execution.parameters);
        for row in 0..insert.row_keys.len() {
            let key = insert.row_key(row, &parameters)?;
            rows_of.entry(keyspace.owner_of(&key)).or_default().push(row);
        }
        Ok(rows_of)
    }

    /// UPDATE, DELETE, INSERT ... SELECT: as it is, on every shard that it can touch.
    pub(super) async fn write(&mut self, write: &Write, execution: &Execution) -> Result<Answer> {
        let alone = self.transaction.is_none() && execution.scope == Scope::Alone;
        loop {
            match self.write_once(write, execution).await {
                // Nothing was written, and there is one shard more now: there are not many times to this.
                Err(error) if alone && is_new_shard(&error) => {}
                answer => return answer,
            }
        }
    }

    async fn write_once(&mut self, write: &Write, execution: &Execution) -> Result<Answer> {
        let topology = self.engine.live.snapshot();
        let targets = write.route.shards(&execution.statement.compared_parameters(&execution.parameters), &topology)?;
        let program = execution.whole_program()?;
        execution.statement.refuse_misfits(&targets.shards, &self.engine)?;
        let written = match targets.shards.as_slice() {
            &[shard] if write.to_reference && topology.schema.joining && !write.mixes_keyspaces => {
                let part = Part::new(shard, program.clone());
                Box::pin(self.write_only_copy(part, &write.route.keyspace, execution)).await?
            }
            &[shard] if !write.mixes_keyspaces => self.write_one(Part::new(shard, program.clone()), execution).await?,
            shards => {
                if let Err(reason) = &write.several {
                    return match &write.across {
                        Some(across) => Box::pin(self.write_across(write, across, execution)).await,
                        None => Err(reason.clone()),
                    };
                }
                let reach = Reach { topology: &topology, slots: &targets.slots };
                let runs = self.runs(execution, (program, &write.statement), shards, reach);
                let runs = runs.map_err(while_slots_move)?;
                let parts = shards.iter().map(|&shard| Part::new(shard, runs.on(shard).clone())).collect();
                together(Box::pin(self.write_several(parts, execution)).await?)
            }
        };
        Ok(self.answer_of_write(execution, written))
    }

    /// A reference table's copies are kept identical: the statement runs on one shard, and its effect on the others.
    pub(super) async fn write_reference(&mut self, write: &ReferenceWrite, execution: &Execution) -> Result<Answer> {
        let alone = self.transaction.is_none() && execution.scope == Scope::Alone;
        loop {
            match self.write_reference_once(write, execution).await {
                // Nothing was written, and there is one shard more now: there are not many times to this.
                Err(error) if alone && is_new_shard(&error) => {}
                answer => return answer,
            }
        }
    }

    async fn write_reference_once(&mut self, write: &ReferenceWrite, execution: &Execution) -> Result<Answer> {
        let topology = self.engine.live.snapshot();
        let keyspace = topology
            .keyspace(&write.keyspace)
            .ok_or_else(|| Error::internal(format!("keyspace \"{}\" is not in the topology", write.keyspace)))?;
        let program = execution.whole_program()?.clone();
        let shards = keyspace.shards.clone();
        execution.statement.refuse_misfits(&shards, &self.engine)?;
        let [first, others @ ..] = shards.as_slice() else {
            return Err(Error::internal(format!("keyspace \"{}\" has no shards", write.keyspace)));
        };
        if others.is_empty() {
            let part = Part::new(*first, program);
            let written = match topology.schema.joining {
                true => self.write_only_copy(part, &write.keyspace, execution).await?,
                false => self.write_one(part, execution).await?,
            };
            return Ok(self.answer_of_write(execution, written));
        }
        let call = self.call_apart(execution, &program, execution.formats.clone())?;
        let own = self.open_spanning(execution)?;
        let outcome = match self.engine.kind {
            ShardKind::Sqlite => self.copy_effect(call, *first, others).await,
            ShardKind::Postgres => self.run_everywhere(write, &call, &shards, execution).await,
        };
        let outcome = unless_new_shards(&self.engine, &write.keyspace, shards.len(), outcome);
        let written = self.close_spanning(own, outcome).await?;
        Ok(self.answer_of_write(execution, written))
    }

    /// A reference table is written on the only shard, while another one may join.
    async fn write_only_copy(&mut self, part: Part, keyspace: &str, execution: &Execution) -> Result<Written> {
        let own = self.open_spanning(execution)?;
        let outcome = self.write_one(part, execution).await;
        let outcome = unless_new_shards(&self.engine, keyspace, 1, outcome);
        self.close_spanning(own, outcome).await
    }

    /// After a write: the session has been given the numbers that it took.
    pub(super) fn answer_of_write(&mut self, execution: &Execution, mut written: Written) -> Answer {
        let numbers = std::mem::take(&mut written.numbers);
        self.note_numbers(&execution.statement, numbers, written.affected);
        written_answer(execution, written)
    }

    pub(super) async fn copy_effect(&mut self, call: Call, first: ShardId, others: &[ShardId]) -> Result<Written> {
        let engine = Arc::clone(&self.engine);
        self.ran_on = RanOn::Several;
        // Writers are taken in one order by everybody, so that nobody waits in a circle.
        let mut shards = [&[first], others].concat();
        shards.sort_unstable();
        engine.require(&shards, Need::ReferenceWrite)?;
        let transaction = self.open_transaction()?;
        for &shard in &shards {
            transaction.join_as_writer(&engine, shard, TransactionMode::Write).await?;
        }
        let (written, changes) =
            transaction.join_as_writer(&engine, first, TransactionMode::Write).await?.run_recorded(call).await?;
        for &shard in others {
            transaction.join_as_writer(&engine, shard, TransactionMode::Write).await?.copy(changes.clone()).await?;
        }
        Ok(written)
    }

    /// Writes on one shard: in the open transaction, or by itself.
    pub(super) async fn write_one(&mut self, part: Part, execution: &Execution) -> Result<Written> {
        if self.transaction.is_none() && execution.scope == Scope::Batch {
            self.transaction = Some(self.new_transaction(Opened::Batch));
        }
        self.permit_write(execution.word())?;
        self.ran_on.add(part.shard);
        let mut call = self.call(execution, &part.program)?;
        if let Call::Postgres(call) = &mut call {
            call.then_ask = self.question_after(&execution.statement);
        }
        let mut output = match self.transaction {
            None => self.engine.shard(part.shard)?.write(call).await?,
            Some(_) => self.join_as_writer(part.shard).await?.run(call).await?,
        };
        self.notices.append(&mut output.notices);
        let output = self.engine.output_as_told(part.shard, output, execution, &part.program)?;
        held(output).await
    }

    /// Writes on several shards, on all or none.
    pub(super) async fn write_several(&mut self, parts: Vec<Part>, execution: &Execution) -> Result<Vec<Written>> {
        let shards: Vec<ShardId> = parts.iter().map(|part| part.shard).collect();
        self.engine.require(&shards, Need::Write)?;
        self.require_prepared(&shards)?;
        let own = self.open_spanning(execution)?;
        let outcome = self.run_parts(parts, execution).await;
        self.close_spanning(own, outcome).await
    }

    async fn run_parts(&mut self, parts: Vec<Part>, execution: &Execution) -> Result<Vec<Written>> {
        let engine = Arc::clone(&self.engine);
        self.ran_on = RanOn::Several;
        let mut calls = Vec::with_capacity(parts.len());
        for part in &parts {
            let formats = part.formats.as_ref().unwrap_or(&execution.formats).clone();
            calls.push((part.shard, self.call_apart(execution, &part.program, formats)?));
        }
        // Writers are taken in one order by everybody.
        calls.sort_unstable_by_key(|(shard, _)| *shard);
        let transaction = self.open_transaction()?;
        for (shard, _) in &calls {
            transaction.join_as_writer(&engine, *shard, TransactionMode::Write).await?;
        }
        let running = transaction.participants.iter_mut().filter_map(|participant| {
            let place = calls.iter().position(|(shard, _)| *shard == participant.shard)?;
            let (shard, call) = calls.swap_remove(place);
            Some(async move { (shard, participant.run(call).await) })
        });
        let mut written = Vec::with_capacity(parts.len());
        for (shard, output) in side_by_side(running).await {
            let mut output = output?;
            self.notices.append(&mut output.notices);
            written.push((shard, output));
        }
        let mut ordered = Vec::with_capacity(parts.len());
        for part in &parts {
            let place = written.iter().position(|(shard, _)| *shard == part.shard);
            let (shard, output) = written.swap_remove(place.ok_or_else(|| Error::internal("a part did not run"))?);
            ordered.push(held(engine.output_as_told(shard, output, execution, &part.program)?).await?);
        }
        Ok(ordered)
    }

    /// # Errors
    /// 55000: the open transaction would have written on several shards with one of these, and one of them can take no part in
    /// such a commit. None was touched.
    pub(super) fn require_prepared(&self, shards: &[ShardId]) -> Result<()> {
        if self.engine.kind != ShardKind::Postgres {
            return Ok(());
        }
        let mut all: Vec<ShardId> = self.transaction.iter().flat_map(Transaction::writers).collect();
        all.extend_from_slice(shards);
        all.sort_unstable();
        all.dedup();
        if all.len() < 2 { Ok(()) } else { self.engine.require_prepared(all) }
    }

    /// A transaction that may span shards: the open one, or one of this statement's own. Tells whether it is its own.
    pub(super) fn open_spanning(&mut self, execution: &Execution) -> Result<bool> {
        self.permit_write(execution.word())?;
        let own = self.transaction.is_none();
        if own {
            let opened = match execution.scope {
                Scope::Alone => Opened::Statement,
                Scope::Batch => Opened::Batch,
            };
            self.transaction = Some(self.new_transaction(opened));
        }
        Ok(own && execution.scope == Scope::Alone)
    }

    /// Ends a statement's own transaction as the statement ended.
    pub(super) async fn close_spanning<T>(&mut self, own: bool, outcome: Result<T>) -> Result<T> {
        let Some(transaction) = self.transaction.take_if(|_| own) else { return outcome };
        match outcome {
            Ok(value) => self.commit_transaction(transaction).await.map(|()| value),
            Err(error) => {
                transaction.rollback().await;
                Err(error)
            }
        }
    }

    /// # Errors
    /// 25006 in a read-only transaction.
    pub(super) fn permit_write(&mut self, word: &str) -> Result<()> {
        let read_only = match &mut self.transaction {
            Some(transaction) => {
                transaction.used = true;
                transaction.read_only
            }
            None => self.settings.default_read_only,
        };
        if !read_only {
            return Ok(());
        }
        Err(Error::new(
            SqlState::READ_ONLY_SQL_TRANSACTION,
            format!("cannot execute {word} in a read-only transaction"),
        ))
    }

    pub(super) fn participant_of(&mut self, shard: ShardId) -> Result<&mut Participant> {
        let participant = self.open_transaction()?.participant(shard);
        participant.ok_or_else(|| Error::internal("a participant is missing"))
    }

    pub(super) fn open_transaction(&mut self) -> Result<&mut Transaction> {
        self.transaction.as_mut().ok_or_else(|| Error::internal("a statement needs a transaction and none is open"))
    }

    /// Takes the shard's writer for the open transaction.
    ///
    /// # Errors
    /// As [`Session::require_prepared`]; the shard's.
    pub(super) async fn join_as_writer(&mut self, shard: ShardId) -> Result<&mut Participant> {
        self.require_prepared(&[shard])?;
        let engine = Arc::clone(&self.engine);
        self.open_transaction()?.join_as_writer(&engine, shard, TransactionMode::Write).await
    }
}

pub(super) fn tag_word(tag: Tag) -> &'static str {
    match tag {
        Tag::Select | Tag::SelectAndWrite => "SELECT",
        Tag::Insert => "INSERT",
        Tag::Update => "UPDATE",
        Tag::Delete => "DELETE",
        Tag::Merge => "MERGE",
    }
}

pub(super) fn written_answer(execution: &Execution, written: Written) -> Answer {
    let tag = match execution.statement.program.as_ref().map(Program::tag) {
        Some(Tag::Insert) => "INSERT 0",
        Some(tag) => tag_word(tag),
        None => "SELECT",
    };
    let columns = written.columns.or_else(|| execution.statement.columns().cloned());
    Answer {
        columns,
        row_description: written.row_description,
        rows: Rows::Ready(written.rows),
        tag,
        count: TagCount::Written(written.affected),
        recording: None,
        copy: None,
    }
}

/// A write's rows, all of them: the next statement may need its shard.
pub(super) async fn held(output: Output) -> Result<Written> {
    held_within(output, usize::MAX).await?.ok_or_else(|| Error::internal("rows without a bound are too many"))
}

/// The same; `None` when they are more than `max_bytes`. The shard's answer is read to its end, for what comes after it.
pub(super) async fn held_within(mut output: Output, max_bytes: usize) -> Result<Option<Written>> {
    let mut rows = RowBatch::default();
    let mut bytes = 0_usize;
    while let Some(batch) = output.rows.next().await? {
        bytes = bytes.saturating_add(batch.frames.len());
        if bytes > max_bytes {
            rows = RowBatch::default();
            continue;
        }
        rows.frames.unsplit(batch.frames);
        rows.rows += batch.rows;
    }
    if bytes > max_bytes {
        return Ok(None);
    }
    // Of many rows the number was not told yet when they began; what returns rows returns one for each.
    let affected = output.affected.max(rows.rows as u64);
    let Output { columns, row_description, numbers, .. } = output;
    Ok(Some(Written { rows, affected, columns, row_description, numbers }))
}

/// Several shards' results, shard after shard.
pub(super) fn together(written: Vec<Written>) -> Written {
    let mut all = Written::default();
    for part in written {
        all.append(part);
    }
    all
}

/// RETURNING's rows in the order of VALUES. When a conflict left rows out, nobody can tell which: shard after shard.
fn in_statement_order<'a>(
    mut written: Vec<Written>,
    rows_of: impl Iterator<Item = &'a Vec<usize>> + Clone,
    rows: usize,
) -> Written {
    let complete = written.iter().zip(rows_of.clone()).all(|(part, rows)| part.rows.rows == rows.len());
    if !complete {
        return together(written);
    }
    let mut part_of = vec![0; rows];
    for (part, rows) in rows_of.enumerate() {
        for &row in rows {
            part_of[row] = part;
        }
    }
    let mut all = Written { affected: written.iter().map(|part| part.affected).sum(), ..Written::default() };
    if let Some(first) = written.first_mut() {
        all.columns = first.columns.take();
        all.row_description = first.row_description.take();
    }
    for part in part_of {
        all.rows.frames.extend_from_slice(&written[part].rows.split_rows(1).frames);
        all.rows.rows += 1;
    }
    all
}

/// A statement whose program must exist, since only the session's own statements have none.
impl Execution {
    /// What the statement does, for messages.
    pub(super) fn word(&self) -> &'static str {
        if let Plan::Copy(_) = self.statement.plan {
            return "COPY FROM";
        }
        self.statement.program.as_ref().map_or("DDL", |program| tag_word(program.tag()))
    }

    pub(super) fn whole_program(&self) -> Result<&Program> {
        self.statement
            .program
            .as_ref()
            .ok_or_else(|| Error::new(SqlState::INTERNAL_ERROR, "a statement that needs a shard has no translation"))
    }
}
