//! Reads: from one shard untouched, from several merged, from none when no table is named.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::answer::{Answer, Rows, TagCount};
use super::merge::{MergePlan, Merger};
use super::session::{Execution, Session};
use super::transaction::Opened;
use crate::error::{Error, Result};
use crate::plan::{Aggregate, Isolation, Merge, Read, ReadSource, Scatter};
use crate::shard::TransactionMode;
use crate::shard::sqlite::Program;
use crate::shard::{Formats, OutputColumn};
use crate::system_catalog::Surroundings;
use crate::types::ShardId;

/// How many merged batches may wait for a slow client.
const MERGED_BATCHES_AHEAD: usize = 2;

impl Session {
    pub(super) async fn read(&mut self, read: &Read, execution: &Execution) -> Result<Answer> {
        if let Some(transaction) = &mut self.transaction {
            transaction.used = true;
        }
        if read.locks_rows {
            self.permit_write("SELECT FOR UPDATE")?;
        }
        let program = execution.whole_program()?;
        if read.source != ReadSource::Shards {
            let rows = self.read_nowhere(read, program, execution).await?;
            return Ok(rows_answer(execution, rows));
        }
        let topology = self.engine.live.snapshot();
        let targets = read.route.shards(&execution.statement.compared_parameters(&execution.parameters), &topology)?;
        if let [shard] = targets.shards[..] {
            let program = Arc::clone(program);
            let rows = self.read_one(shard, &program, execution, execution.formats.clone(), read.locks_rows).await?;
            return Ok(rows_answer(execution, rows));
        }
        if read.locks_rows && self.transaction.is_some() {
            return Err(Error::unsupported(
                "FOR UPDATE across shards",
                "Give the key in WHERE, so that the rows to lock are on one shard.",
            ));
        }
        let scatter = read.scatter.as_ref().map_err(Clone::clone)?;
        let program = execution.statement.scattered(scatter)?;
        match scatter {
            Scatter::Merge { merge, .. } => Box::pin(self.merge(merge, &program, &targets.shards, execution)).await,
            Scatter::Aggregate(aggregate) => {
                Box::pin(self.aggregate(aggregate, &program, &targets.shards, execution)).await
            }
        }
    }

    /// Runs a read that needs no shard.
    async fn read_nowhere(&self, read: &Read, program: &Arc<Program>, execution: &Execution) -> Result<Rows> {
        let call = self.call(execution, program);
        if read.source == ReadSource::Nowhere && !program.reads_catalog {
            return self.engine.scratch.run(call).await;
        }
        let surroundings =
            Surroundings { database: self.engine.database.to_string(), user: self.identity.user.clone() };
        self.engine.scratch.run_over_catalog(call, Arc::clone(&execution.statement.schema), surroundings).await
    }

    /// Runs a read on one shard: in this transaction's own there when it has one, or needs one.
    pub(super) async fn read_one(
        &mut self,
        shard: ShardId,
        program: &Arc<Program>,
        execution: &Execution,
        formats: Formats,
        locks_rows: bool,
    ) -> Result<Rows> {
        self.ran_on.add(shard);
        let call = self.call_with_formats(execution, program, formats);
        let Some(transaction) = &mut self.transaction else {
            return self.engine.shard(shard)?.read(call).await;
        };
        let mode = match (transaction.isolation, locks_rows && transaction.opened == Opened::Client) {
            (_, true) => Some(TransactionMode::Write),
            (Isolation::ReadCommitted, false) => None,
            (Isolation::RepeatableRead | Isolation::Serializable, false) => Some(TransactionMode::Snapshot),
        };
        if let Some(participant) = transaction.participant(shard) {
            return Ok(participant.transaction.run(call).await?.rows);
        }
        match mode {
            None => self.engine.shard(shard)?.read(call).await,
            Some(TransactionMode::Write) => {
                let participant = self.join_as_writer(shard).await?;
                Ok(participant.transaction.run(call).await?.rows)
            }
            Some(mode) => {
                let opened = self.engine.shard(shard)?.begin(mode, &self.cancel).await?;
                let participant = transaction.join(shard, opened).await?;
                Ok(participant.transaction.run(call).await?.rows)
            }
        }
    }

    async fn merge(
        &mut self,
        merge: &Merge,
        program: &Arc<Program>,
        shards: &[ShardId],
        execution: &Execution,
    ) -> Result<Answer> {
        let (limit, offset) = merge.row_counts(&execution.parameters)?;
        let mut sources = Vec::with_capacity(shards.len());
        for &shard in shards {
            sources.push(self.read_one(shard, program, execution, execution.formats.clone(), false).await?);
        }
        let plan = MergePlan {
            order: merge.order.clone(),
            distinct: merge.distinct.clone(),
            offset,
            limit,
            columns: Arc::from(program.columns.as_slice()),
            visible_columns: program.columns.len() - merge.hidden_columns,
            formats: execution.formats.clone(),
            style: self.settings.text_style().clone(),
            max_bytes: self.engine.limits.merge_max_bytes,
        };
        expect_columns(execution, &program.columns[..plan.visible_columns])?;
        Ok(rows_answer(execution, stream(Merger::new(plan, sources)).await?))
    }

    async fn aggregate(
        &mut self,
        aggregate: &Aggregate,
        program: &Arc<Program>,
        shards: &[ShardId],
        execution: &Execution,
    ) -> Result<Answer> {
        let max_bytes = self.engine.limits.merge_max_bytes;
        let mut partial = self.engine.scratch.table(Aggregate::PARTIAL, program, max_bytes, &self.cancel).await?;
        for &shard in shards {
            let mut rows = self.read_one(shard, program, execution, Formats::AllBinary, false).await?;
            while let Some(batch) = rows.next().await? {
                partial.load(&batch)?;
            }
        }
        let types: Vec<_> = program.columns.iter().map(|column| column.data_type).collect();
        let finish = execution.statement.translate_over(&aggregate.finish(&types)?, partial.schema())?;
        expect_columns(execution, &finish.columns)?;
        let rows = partial.finish(self.call(execution, &Arc::new(finish))).await?;
        Ok(rows_answer(execution, rows))
    }
}

/// Merges what is at hand at once, and the rest as the client takes it.
async fn stream(mut merger: Merger) -> Result<Rows> {
    let Some(first) = merger.next().await? else { return Ok(Rows::Ready(Default::default())) };
    let (sender, receiver) = mpsc::channel(MERGED_BATCHES_AHEAD);
    let Some(second) = merger.next().await? else { return Ok(Rows::Ready(first)) };
    tokio::spawn(async move {
        let mut next = Ok(Some(first));
        let mut after = Some(second);
        while let Some(item) = next.transpose() {
            let failed = item.is_err();
            if sender.send(item).await.is_err() || failed {
                return;
            }
            next = match after.take() {
                Some(batch) => Ok(Some(batch)),
                None => merger.next().await,
            };
        }
    });
    Ok(Rows::Stream(receiver))
}

/// The client was told what the whole statement returns: rows that were put together must be of the same types.
fn expect_columns(execution: &Execution, columns: &[OutputColumn]) -> Result<()> {
    let types = |columns: &[OutputColumn]| columns.iter().map(|column| column.data_type).collect::<Vec<_>>();
    let (described, got) = (types(execution.statement.columns.as_deref().unwrap_or_default()), types(columns));
    if described == got {
        return Ok(());
    }
    Err(Error::internal(format!("rows of several shards have the types {got:?} where {described:?} were promised")))
}

fn rows_answer(execution: &Execution, rows: Rows) -> Answer {
    Answer {
        columns: execution.statement.columns.clone(),
        rows,
        tag: "SELECT",
        count: TagCount::Returned,
        recording: None,
    }
}
