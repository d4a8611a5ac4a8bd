//! Reads: from one shard untouched, from several merged, from none when no table is named.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::answer::{Answer, Rows, TagCount};
use super::by_key::no_key;
use super::down::Need;
use super::merge::{MergePlan, Merger};
use super::parameters;
use super::passing_on::is_out_of_reach;
use super::session::{Execution, Session};
use super::side_by_side::side_by_side;
use super::strays::{Reach, Runs};
use super::text_rules::TextRules;
use super::transaction::Opened;
use crate::error::{Error, Fault, Result, SqlState};
use crate::plan::{self, Aggregate, Isolation, Merge, Read, ReadSource, Scatter};
use crate::shard::sqlite::EnvironmentValue;
use crate::shard::{Call, Formats, Output, OutputColumn, Program, ShardKind, TransactionMode, schema_changed, sqlite};
use crate::system_catalog::Surroundings;
use crate::types::{Datum, Format, PgType, ShardId};

/// How many merged batches may wait for a slow client.
const MERGED_BATCHES_AHEAD: usize = 2;

/// What runs on several shards.
struct Apart<'a> {
    runs: &'a Runs,
    shards: &'a [ShardId],
    text: TextRules,
}

impl Session {
    pub(super) async fn read(&mut self, read: &Read, execution: &Execution) -> Result<Answer> {
        if self.kept.is_some() {
            // Rows of several portals may be on their way over one connection.
            self.join_batch(execution);
        }
        if let Some(transaction) = &mut self.transaction {
            transaction.used = true;
        }
        if read.locks_rows {
            self.permit_write("SELECT FOR UPDATE")?;
        }
        let program = execution.whole_program()?;
        if read.source != ReadSource::Shards {
            let output = match program {
                Program::Sqlite(program) => {
                    self.refuse_user_with_role(program)?;
                    self.look_around(program, execution).await?;
                    self.read_nowhere(read, program, execution).await?.into()
                }
                Program::Postgres(_) => self.read_anywhere(read.source, program, execution).await?,
            };
            return Ok(self.rows_answer(execution, output));
        }
        if read.mixes_keyspaces {
            self.refuse_reading_functions(program, execution)?;
            return Box::pin(self.gather(read, execution)).await;
        }
        let topology = self.engine.live.snapshot();
        let compared = execution.statement.compared_parameters(&execution.parameters);
        let mut targets = read.route.shards(&compared, &topology)?;
        // A lock is taken on one shard by everybody, or it would exclude nobody.
        if targets.touches_no_slot()
            && !read.locks_rows
            && let Some(shard) = topology.keyspace(&read.route.keyspace).and_then(|it| self.any_shard_of(it))
        {
            targets.shards = vec![shard];
        }
        execution.statement.refuse_misfits(&targets.shards, &self.engine)?;
        if let [shard] = targets.shards[..] {
            let output = self.read_one(shard, program, execution, execution.formats.clone(), read.locks_rows).await?;
            return Ok(self.rows_answer(execution, output));
        }
        self.refuse_reading_functions(program, execution)?;
        // To the plan it is a function of one row.
        let aggregates_otherwise = match program {
            Program::Postgres(program) => {
                program.calls_other_aggregate(&self.engine.servers.known().hazards, plan::is_known_aggregate)
            }
            Program::Sqlite(_) => false,
        };
        if aggregates_otherwise || read.locks_rows && !matches!(read.scatter, Ok(Scatter::Merge { .. })) {
            return Box::pin(self.gather(read, execution)).await;
        }
        if read.locks_rows {
            self.join_to_lock(targets.shards.clone()).await?;
        }
        let reach = Reach { topology: &topology, slots: &targets.slots };
        match Box::pin(self.scatter(read, &targets.shards, reach, execution)).await {
            // Why rows cannot be put together is told before any is asked for, or before one was passed on.
            // A primary key in GROUP BY stands for its row's columns in one place.
            Err(error)
                if error.sqlstate() == SqlState::FEATURE_NOT_SUPPORTED
                    || read.scatter.as_ref().is_err_and(|it| it.sqlstate() == SqlState::GROUPING_ERROR)
                    || error.sqlstate() == SqlState::GROUPING_ERROR && topology.is_moving() =>
            {
                match Box::pin(self.gather(read, execution)).await {
                    // It was the shard's own error.
                    Err(failed) if failed.sqlstate() == SqlState::IN_FAILED_SQL_TRANSACTION => Err(error),
                    answer => answer,
                }
            }
            answer => answer,
        }
    }

    /// # Errors
    /// 0A000: a function of the user's would find the rows of one shard only.
    fn refuse_reading_functions(&self, program: &Program, execution: &Execution) -> Result<()> {
        let Program::Postgres(program) = program else { return Ok(()) };
        let schema = &execution.statement.schema;
        let is_sharded = |name: &str| schema.table(name).is_some_and(|table| table.key_column().is_some());
        match program.naming(&self.engine.servers.known().hazards, &is_sharded) {
            None => Ok(()),
            Some(function) => Err(Error::unsupported(
                format!("{function}(), which may read sharded tables, in a statement over several shards"),
                "Write what it reads into the statement, or give the key in WHERE.",
            )),
        }
    }

    /// Runs a read on several shards and puts their rows together as they come.
    async fn scatter(
        &mut self,
        read: &Read,
        shards: &[ShardId],
        reach: Reach<'_>,
        execution: &Execution,
    ) -> Result<Answer> {
        let scatter = read.scatter.as_ref().map_err(Clone::clone)?;
        self.engine.require(shards, Need::Read)?;
        if self.engine.kind == ShardKind::Postgres && scatter.reads_values() {
            self.settings.require_readable_values()?;
        }
        if execution.statement.asks_for_time() {
            // Its columns have the names that the client's own text gives them.
            self.describe_as(&execution.prepared, &execution.statement).await?;
        }
        let program = execution.statement.scattered(scatter)?;
        let runs = self.runs(execution, (&program, scatter.statement()), shards, reach)?;
        let text = self.text_rules(read, shards, &execution.statement)?;
        let apart = Apart { runs: &runs, shards, text };
        match scatter {
            Scatter::Merge { merge, .. } => Box::pin(self.merge(merge, apart, execution)).await,
            Scatter::Aggregate(aggregate) => Box::pin(self.aggregate(aggregate, apart, execution)).await,
        }
    }

    /// FOR UPDATE within a transaction: what the shards have locked stays so until all of them have committed.
    pub(super) async fn join_to_lock(&mut self, mut shards: Vec<ShardId>) -> Result<()> {
        if self.transaction.is_none() {
            return Ok(());
        }
        self.engine.require(&shards, Need::Write)?;
        self.require_prepared(&shards)?;
        // Writers are taken in one order by everybody.
        shards.sort_unstable();
        shards.dedup();
        for shard in shards {
            self.join_as_writer(shard).await?;
        }
        Ok(())
    }

    /// What is answered here knows the session's user, and not the role that it has on Postgres shards.
    fn refuse_user_with_role(&self, program: &sqlite::Program) -> Result<()> {
        let asks = program.environment.contains(&EnvironmentValue::User);
        if !asks || self.engine.kind == ShardKind::Sqlite || self.settings.show("role")? == "none" {
            return Ok(());
        }
        Err(Error::unsupported(
            "current_user beside current_database() or pg_backend_pid() after SET ROLE",
            "Ask for current_user in a statement of its own.",
        ))
    }

    /// Runs a read that needs no shard.
    async fn read_nowhere(&self, read: &Read, program: &Arc<sqlite::Program>, execution: &Execution) -> Result<Rows> {
        let call = self.sqlite_call(execution, program, execution.formats.clone());
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
        program: &Program,
        execution: &Execution,
        formats: Formats,
        locks_rows: bool,
    ) -> Result<Output> {
        let call = self.call_with_formats(execution, program, formats)?;
        let output = self.read_call(shard, call, locks_rows).await?;
        self.engine.output_as_told(shard, output, execution, program)
    }

    /// Runs a read that any shard can answer: on another one when the first cannot be reached, since its trouble is that of
    /// its keys. What was sent is never sent again: it may be what brought the server down.
    async fn read_anywhere(&mut self, source: ReadSource, program: &Program, execution: &Execution) -> Result<Output> {
        let mut others = self.engine.shards.load().open.len().saturating_sub(1);
        let shard = loop {
            let shard = match source {
                ReadSource::SystemCatalog => self.catalog_shard()?,
                _ => self.shard_without_tables(execution)?,
            };
            if self.transaction.is_some() || self.keeper().is_some_and(|keeper| keeper.keeps(shard)) {
                break shard;
            }
            match self.engine.shard(shard)?.postgres()?.reach(&self.cancel).await {
                Err(error) if others > 0 && is_out_of_reach(&error) => others -= 1,
                Err(error) => return Err(error),
                Ok(()) => break shard,
            }
        };
        self.read_one(shard, program, execution, execution.formats.clone(), false).await
    }

    /// A statement that names no table: on the shard of the transaction's key, or any. What a volatile function of the
    /// user's does there may matter.
    fn shard_without_tables(&self, execution: &Execution) -> Result<ShardId> {
        if let Some(shard) = self.key_shard()? {
            return Ok(shard);
        }
        let several = self.engine.live.snapshot().shards.len() > 1;
        match execution.whole_program()? {
            Program::Postgres(program) if several && program.calls(&self.engine.servers.known().hazards) => {
                Err(no_key("a volatile function of the user's without a key"))
            }
            _ => self.any_shard(),
        }
    }

    pub(super) async fn read_call(&mut self, shard: ShardId, call: Call, locks_rows: bool) -> Result<Output> {
        self.ran_on.add(shard);
        let Some(transaction) = &mut self.transaction else {
            return self.engine.shard(shard)?.read(call).await;
        };
        // A statement's own transaction holds what one of its parts has locked.
        let locks_rows = locks_rows && transaction.opened != Opened::Batch;
        if let Some(participant) = transaction.participant(shard) {
            // What a Postgres shard has locked stays so until all is committed.
            return match locks_rows && self.engine.kind == ShardKind::Postgres {
                true => self.join_as_writer(shard).await?.run(call).await,
                false => participant.run(call).await,
            };
        }
        match self.engine.kind.mode_of_read(transaction.isolation, locks_rows) {
            None => self.engine.shard(shard)?.read(call).await,
            Some(TransactionMode::Write) => self.join_as_writer(shard).await?.run(call).await,
            Some(mode) => {
                let engine = Arc::clone(&self.engine);
                let transaction = self.open_transaction()?;
                transaction.join(&engine, shard, mode, call.may_lag()).await?.run(call).await
            }
        }
    }

    async fn merge(&mut self, merge: &Merge, apart: Apart<'_>, execution: &Execution) -> Result<Answer> {
        let Apart { runs, shards, text } = apart;
        let (limit, offset) = merge.row_counts(&execution.parameters)?;
        let formats = execution.formats.with_more(merge.hidden_columns);
        let (columns, sources) = self.read_each(shards, runs, execution, formats).await?;
        let plan = MergePlan {
            order: merge.order.clone(),
            distinct: merge.distinct.clone(),
            offset,
            limit,
            visible_columns: columns.len() - merge.hidden_columns,
            columns,
            formats: execution.formats.clone(),
            style: self.settings.text_style().clone(),
            max_bytes: self.engine.limits.merge_max_bytes,
        };
        text.permit_merge(&plan)?;
        let visible: Arc<[OutputColumn]> = plan.columns[..plan.visible_columns].into();
        expect_columns(execution, &visible)?;
        let rows = stream(Merger::new(plan, sources)).await?;
        let columns = execution.statement.columns().cloned().or(Some(visible));
        Ok(self.rows_answer(execution, Output { columns, rows, ..Output::default() }))
    }

    async fn aggregate(&mut self, aggregate: &Aggregate, apart: Apart<'_>, execution: &Execution) -> Result<Answer> {
        let Apart { runs, shards, text } = apart;
        // Only the whole statement tells the types and origins of its columns.
        self.describe_as(&execution.prepared, &execution.statement).await?;
        let max_bytes = self.engine.limits.merge_max_bytes;
        let (columns, sources) = self.read_each(shards, runs, execution, Formats::AllBinary).await?;
        let types: Vec<_> = columns.iter().map(|column| column.data_type).collect();
        let finish = aggregate.finish(&types)?;
        text.permit_aggregate(&columns, &finish)?;
        let mut partial = self.engine.scratch.table(Aggregate::PARTIAL, &columns, max_bytes, &self.cancel).await?;
        for mut rows in sources {
            while let Some(batch) = rows.next().await? {
                partial.load(0, &batch)?;
            }
        }
        let finish = execution.statement.translate_over(&finish, partial.schema())?;
        expect_columns(execution, &finish.columns)?;
        let known = execution.statement.columns().cloned();
        let columns = known.or_else(|| Some(Arc::from(finish.columns.as_slice())));
        let parameters = self.retyped(execution, &finish.parameters)?;
        let call = self.sqlite_call(execution, &Arc::new(finish), execution.formats.clone());
        let rows = partial.finish(sqlite::Call { parameters, ..call }).await?;
        Ok(self.rows_answer(execution, Output { columns, rows, ..Output::default() }))
    }

    /// The parameters and literals as values of the types that a finishing statement gives them: those of Postgres shards
    /// were decoded before anything was known of them.
    fn retyped(&self, execution: &Execution, types: &[PgType]) -> Result<Arc<[Datum]>> {
        if self.engine.kind == ShardKind::Sqlite {
            return Ok(Arc::clone(&execution.parameters));
        }
        let style = self.settings.text_style();
        let mut values = parameters::decode(&execution.statement, &execution.prepared, &execution.raw, style)?;
        values.extend_from_slice(execution.parameters.get(values.len()..).unwrap_or_default());
        let retyped = values.into_iter().zip(types).map(|(value, data_type)| match value {
            Datum::Text(text) => Datum::from_text(*data_type, &text, style),
            value => Ok(value),
        });
        retyped.collect()
    }

    /// Runs a statement on several shards. Gives its columns, which must be the same everywhere, and each shard's rows.
    pub(super) async fn read_each(
        &mut self,
        shards: &[ShardId],
        runs: &Runs,
        execution: &Execution,
        formats: Formats,
    ) -> Result<(Arc<[OutputColumn]>, Vec<Rows>)> {
        let mut columns: Option<Arc<[OutputColumn]>> = match runs.usual() {
            Program::Sqlite(program) => Some(program.columns.as_slice().into()),
            Program::Postgres(_) => None,
        };
        let mut sources = Vec::with_capacity(shards.len());
        let usual = self.call_apart(execution, runs.usual(), formats.clone())?;
        let mut calls = Vec::with_capacity(shards.len());
        for shard in shards {
            calls.push(match runs.other_on(*shard) {
                Some(program) => self.call_apart(execution, program, formats.clone())?,
                None => usual.clone(),
            });
        }
        for (&shard, output) in shards.iter().zip(self.read_side_by_side(shards, calls).await?) {
            let Output { columns: told, rows, notices, .. } =
                self.engine.output_as_told(shard, output?, execution, runs.on(shard))?;
            self.notices.extend(notices);
            match (&columns, told) {
                (Some(columns), Some(told)) if !same_types(columns, &told) => {
                    return Err(self.drifted(shards[0], shard, execution));
                }
                (Some(columns), Some(told)) => permit_forms(columns, &told, &formats)?,
                (None, told) => columns = told,
                _ => {}
            }
            sources.push(rows);
        }
        let columns = columns.ok_or_else(|| Error::internal("a shard returned rows without telling their columns"))?;
        Ok((columns, sources))
    }

    /// Runs a read on several shards at the same time, as [`Session::read_call`] runs it on one.
    async fn read_side_by_side(&mut self, shards: &[ShardId], calls: Vec<Call>) -> Result<Vec<Result<Output>>> {
        shards.iter().for_each(|shard| self.ran_on.add(*shard));
        let engine = Arc::clone(&self.engine);
        let alone = async |shard: ShardId, call: Call| engine.shard(shard)?.read(call).await;
        let Some(transaction) = &mut self.transaction else {
            return Ok(side_by_side(shards.iter().zip(calls).map(|(shard, call)| alone(*shard, call))).await);
        };
        let may_lag = calls.iter().all(Call::may_lag);
        if let Some(mode) = engine.kind.mode_of_read(transaction.isolation, false) {
            for &shard in shards {
                if transaction.participant(shard).is_none() {
                    transaction.join(&engine, shard, mode, may_lag).await?;
                }
            }
        }
        let mut within: Vec<_> = transaction.participants.iter_mut().collect();
        let reads = shards.iter().zip(calls).map(|(shard, call)| {
            let own = within.iter().position(|participant| participant.shard == *shard);
            let own = own.map(|place| within.swap_remove(place));
            let alone = &alone;
            async move {
                match own {
                    Some(participant) => participant.run(call).await,
                    None => alone(*shard, call).await,
                }
            }
        });
        Ok(side_by_side(reads).await)
    }

    /// Shards return different columns: one of them has committed a change of the schema that others have not, or their
    /// tables differ.
    fn drifted(&self, first: ShardId, other: ShardId, execution: &Execution) -> Error {
        let published = !Arc::ptr_eq(&self.engine.live.snapshot().schema, &execution.statement.schema);
        let own = self.transaction.as_ref().is_some_and(|transaction| transaction.schema.is_some());
        if !own && (published || self.engine.schema_change.try_lock().is_err()) {
            return schema_changed();
        }
        let (first, other) = (self.engine.shard_name(first), self.engine.shard_name(other));
        Error::new(
            SqlState::INVALID_TABLE_DEFINITION,
            format!("shards \"{first}\" and \"{other}\" return columns of different types"),
        )
        .fault(Fault::Shard)
        .hint("Their tables differ: see `shardctl schema diff`.")
    }

    pub(super) fn rows_answer(&mut self, execution: &Execution, output: Output) -> Answer {
        self.notices.extend(output.notices);
        Answer {
            columns: output.columns.or_else(|| execution.statement.columns().cloned()),
            row_description: output.row_description,
            rows: output.rows,
            tag: "SELECT",
            count: TagCount::Returned,
            recording: None,
            copy: None,
        }
    }
}

/// The shards' own types have a number on each; by their names they are the same, as the tables are.
fn same_types(columns: &[OutputColumn], others: &[OutputColumn]) -> bool {
    let same = |(one, other): (&OutputColumn, &OutputColumn)| match (one.foreign, other.foreign) {
        (Some(one), Some(other)) => one.size == other.size,
        _ => one.type_oid() == other.type_oid(),
    };
    columns.len() == others.len() && columns.iter().zip(others).all(same)
}

/// A type's number on a shard may stand within its values: in the binary form of arrays and composites.
///
/// # Errors
/// 0A000: the client would be told one shard's and get another's.
fn permit_forms(columns: &[OutputColumn], others: &[OutputColumn], formats: &Formats) -> Result<()> {
    let differs = columns.iter().zip(others).enumerate().find(|(number, (one, other))| {
        one.foreign != other.foreign
            && one.foreign.is_some_and(|foreign| foreign.size < 0)
            && formats.of(*number) == Format::Binary
    });
    match differs {
        None => Ok(()),
        Some((_, (column, _))) => Err(Error::unsupported(
            format!(
                "column \"{}\" in binary form, whose type has another number on each shard, across shards",
                column.name
            ),
            "Ask for the column as text, or give the key in WHERE.",
        )),
    }
}

impl ShardKind {
    /// How a read in a transaction takes part on a shard that the transaction has not touched; `None`: not at all. On
    /// SQLite a read at READ COMMITTED sees what was committed when it began, wherever it runs.
    fn mode_of_read(self, isolation: Isolation, locks_rows: bool) -> Option<TransactionMode> {
        match (self, isolation) {
            _ if locks_rows => Some(TransactionMode::Write),
            (ShardKind::Sqlite, Isolation::ReadCommitted) => None,
            _ => Some(TransactionMode::Snapshot),
        }
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
                None => tokio::select! {
                    biased;
                    next = merger.next() => next,
                    // A shard that is slow must not keep the others from being told that nobody waits.
                    () = sender.closed() => return,
                },
            };
        }
    });
    Ok(Rows::Stream(receiver))
}

/// The client was told what the whole statement returns: rows that were put together must be of the same types.
fn expect_columns(execution: &Execution, columns: &[OutputColumn]) -> Result<()> {
    let Some(described) = execution.statement.columns() else { return Ok(()) };
    let types = |columns: &[OutputColumn]| columns.iter().map(|column| column.data_type).collect::<Vec<_>>();
    let (described, got) = (types(described), types(columns));
    if described == got {
        return Ok(());
    }
    Err(Error::internal(format!("rows of several shards have the types {got:?} where {described:?} were promised")))
}
