//! Reads that no merge can answer: the rows that they need are brought to one place, and they run there as their clients
//! wrote them.
//!
//! SQLite shards' rows come into a database in memory; those of Postgres shards into temporary tables on one of them, which
//! hide the tables of the same names. The answer is that database's own.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::answer::{Answer, Rows};
use super::down::Need;
use super::session::{Execution, Session};
use super::strays::Reach;
use crate::error::{Error, Result, SqlState};
use crate::plan::{Brought, Isolation, Keys, Read, Targets};
use crate::shard::postgres::{Aftermath, Gathering, OnReplica, StatementName, Way};
use crate::shard::{Call, Formats, Output, OutputColumn, Program, ShardKind, sqlite};
use crate::sql;
use crate::topology::{Table, Topology};

/// What one table gives to a read, and how its shards are asked for it.
#[derive(Debug)]
pub(super) struct Gathered {
    pub(super) brought: Brought,
    pub(super) program: Program,
}

impl Session {
    /// Answers a read whose shards' answers cannot be put together.
    ///
    /// # Errors
    /// It needs more rows than may be brought, or does more than reading.
    pub(super) async fn gather(&mut self, read: &Read, execution: &Execution) -> Result<Answer> {
        let topology = self.engine.live.snapshot();
        // Shards are asked with parameters of the types that the whole statement gives them.
        self.describe_as(&execution.prepared, &execution.statement).await?;
        let gathered = execution.statement.gathered(read, &topology.keyspaces)?;
        if read.locks_rows {
            let mut shards = Vec::new();
            for one in gathered.iter().filter(|one| one.brought.locks_rows) {
                shards.extend(self.targets_of(one, &topology, execution)?.shards);
            }
            self.join_to_lock(shards).await?;
        }
        let in_its_turn = Arc::clone(&self.engine.gathers);
        let turn = tokio::select! {
            biased;
            turn = in_its_turn.acquire_owned() => turn.map_err(|_| Error::internal("gathering has ended"))?,
            canceled = self.cancel.raised() => return Err(canceled),
        };
        let rows = match self.engine.kind {
            ShardKind::Sqlite => self.gather_in_memory(read, &gathered, execution).await?,
            ShardKind::Postgres => self.gather_on_shard(read, &gathered, execution).await?,
        };
        drop(turn);
        Ok(self.rows_answer(execution, Output { rows, ..Output::default() }))
    }

    async fn gather_in_memory(&mut self, read: &Read, gathered: &[Gathered], execution: &Execution) -> Result<Rows> {
        let max_bytes = self.engine.limits.gather_max_bytes;
        let tables = gathered.iter().map(|one| one.brought.as_table()).collect();
        let mut place = self.engine.scratch.tables(tables, max_bytes, &self.cancel).await?;
        for (number, one) in gathered.iter().enumerate() {
            for mut rows in self.rows_of(one, execution).await? {
                while let Some(batch) = rows.next().await? {
                    place.load(number, &batch).map_err(|error| match error.sqlstate() {
                        SqlState::PROGRAM_LIMIT_EXCEEDED => too_large(&one.brought, max_bytes),
                        _ => error,
                    })?;
                }
            }
        }
        let program = execution.statement.translate_over(&read.statement, place.schema())?;
        let call = self.sqlite_call(execution, &Arc::new(program), execution.formats.clone());
        place.finish(sqlite::Call { schema: None, ..call }).await
    }

    async fn gather_on_shard(&mut self, read: &Read, gathered: &[Gathered], execution: &Execution) -> Result<Rows> {
        let Program::Postgres(program) = execution.whole_program()? else {
            return Err(Error::internal("a statement for Postgres shards was translated for SQLite"));
        };
        let known = self.engine.servers.known();
        if program.calls(&known.hazards) || program.aftermath(known.version, &known.hazards) != Aftermath::Keep {
            return Err(does_more_than_read());
        }
        // Tables that it has changed are locked for everybody else.
        let has_changed = self.transaction.as_ref().is_some_and(|transaction| transaction.schema.is_some());
        // What this transaction alone sees is seen through its own connections only.
        let sees_its_own = self.transaction.as_ref().is_some_and(|transaction| {
            transaction.isolation != Isolation::ReadCommitted || transaction.participants.iter().any(|it| it.writes)
        });
        let shard = self.any_shard()?;
        let engine = Arc::clone(&self.engine);
        let place = engine.shard(shard)?;
        let settings = Arc::clone(self.settings.for_shards());
        let mut gathering = Gathering::begin(place.postgres()?, &settings, &self.cancel).await?;
        let max_bytes = engine.limits.gather_max_bytes;
        let mut bytes = 0;
        // Copies of reference tables are there already, unless the transaction sees others, or they are of another keyspace.
        let topology = engine.live.snapshot();
        let missing = |one: &&Gathered| {
            if one.brought.unread {
                return has_changed;
            }
            let route = &one.brought.route;
            let is_here = || topology.keyspace(&route.keyspace).is_some_and(|it| it.shards.contains(&shard));
            sees_its_own || has_changed || read.locks_rows || route.keys != Keys::Any || !is_here()
        };
        for one in gathered.iter().filter(missing) {
            let Brought { table, columns, .. } = &one.brought;
            self.make_table(&mut gathering, table, columns, has_changed).await?;
            let sources = self.rows_of(one, execution).await?;
            let mut load = gathering.load(table).await?;
            for mut rows in sources {
                while let Some(batch) = rows.next().await? {
                    bytes += batch.frames.len();
                    if bytes > max_bytes {
                        return Err(too_large(&one.brought, max_bytes));
                    }
                    load.add(batch).await?;
                }
            }
            load.end().await?;
        }
        gathering.settle(execution.statement.parsed.text.to_ascii_lowercase().contains("group")).await?;
        let whole = execution.whole_program()?;
        let Call::Postgres(mut call) = self.call_apart(execution, whole, execution.formats.clone())? else {
            return Err(Error::internal("a statement for Postgres shards was translated for SQLite"));
        };
        let moved = |name: &str| gathered.iter().filter(missing).any(|one| one.brought.table.name == name);
        call.text = Arc::from(&*sql::without_schema(&call.text, "public", &moved)?);
        call.replica = OnReplica::Never;
        call.keeper = None;
        if let Way::Extended { name, .. } = &mut call.way {
            // What other connections know by its name reads the tables themselves.
            *name = None::<Arc<StatementName>>;
        }
        self.ran_on.add(shard);
        let output = gathering.run(call).await?;
        let output = engine.output_as_told(shard, output, execution, whole)?;
        self.notices.extend(output.notices);
        expect_types(execution, output.columns.as_deref())?;
        Ok(to_the_end(output.rows, gathering))
    }

    /// Makes a table for rows. `has_changed`: only this transaction may look at the shards' own.
    async fn make_table(
        &mut self,
        gathering: &mut Gathering,
        table: &Table,
        columns: &[usize],
        has_changed: bool,
    ) -> Result<()> {
        if !has_changed {
            return gathering.add_table(table, columns).await;
        }
        let own = self.transaction.as_mut().and_then(|transaction| transaction.participants.first_mut());
        let own = own.ok_or_else(|| Error::internal("a changed table is on no shard"))?;
        let definitions = own.transaction.postgres()?.definitions(table, columns).await?;
        gathering.add_table_as(table, columns, &definitions).await.map_err(|error| match error.sqlstate() {
            // A type of the transaction's own.
            SqlState::UNDEFINED_OBJECT => beside_a_change(),
            _ => error,
        })
    }

    /// The shards that one table's rows are asked of.
    fn targets_of(&self, one: &Gathered, topology: &Topology, execution: &Execution) -> Result<Targets> {
        let compared = execution.statement.compared_parameters(&execution.parameters);
        let route = &one.brought.route;
        let mut targets = route.shards(&compared, topology)?;
        // A lock is taken on one shard by everybody, or it would exclude nobody.
        if targets.touches_no_slot()
            && !one.brought.locks_rows
            && let Some(shard) = topology.keyspace(&route.keyspace).and_then(|it| self.any_shard_of(it))
        {
            targets.shards = vec![shard];
        }
        Ok(targets)
    }

    /// The rows that one table gives, shard by shard.
    async fn rows_of(&mut self, one: &Gathered, execution: &Execution) -> Result<Vec<Rows>> {
        let topology = self.engine.live.snapshot();
        let Targets { shards, slots } = self.targets_of(one, &topology, execution)?;
        self.engine.require(&shards, Need::Read)?;
        let reach = Reach { topology: &topology, slots: &slots };
        let runs = self.runs(execution, (&one.program, &one.brought.statement.tree), &shards, reach)?;
        let (_, sources) = self.read_each(&shards, &runs, execution, Formats::AllBinary).await?;
        Ok(sources)
    }
}

impl Brought {
    /// The table as it is where its rows are brought.
    fn as_table(&self) -> Table {
        let place = |number: &usize| self.columns.iter().position(|column| column == number);
        let key = self.table.primary_key.as_ref().and_then(|key| {
            let columns = key.columns.iter().map(place).collect::<Option<Vec<_>>>()?;
            Some(crate::topology::UniqueKey { name: key.name.clone(), columns })
        });
        Table {
            columns: self.columns.iter().map(|number| self.table.columns[*number].clone()).collect(),
            kind: crate::topology::TableKind::Reference,
            primary_key: key,
            unique_keys: Vec::new(),
            checks: Vec::new(),
            foreign_keys: Vec::new(),
            indexes: Vec::new(),
            ..Table::clone(&self.table)
        }
    }
}

/// Passes rows on; the place that they come from is taken away after them, or when nobody wants them any more.
fn to_the_end(mut rows: Rows, gathering: Gathering) -> Rows {
    if let Rows::Ready(_) = rows {
        tokio::spawn(gathering.end());
        return rows;
    }
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        while let Some(item) = rows.next().await.transpose() {
            let failed = item.is_err();
            if sender.send(item).await.is_err() || failed {
                break;
            }
        }
        drop(rows);
        gathering.end().await;
    });
    Rows::Stream(receiver)
}

/// The client was told what the statement returns where its own tables are.
pub(super) fn expect_types(execution: &Execution, columns: Option<&[OutputColumn]>) -> Result<()> {
    let (Some(told), Some(got)) = (execution.statement.columns(), columns) else { return Ok(()) };
    let alike = |(one, other): (&OutputColumn, &OutputColumn)| match (one.foreign, other.foreign) {
        (Some(one), Some(other)) => one.size == other.size,
        (None, None) => one.data_type == other.data_type,
        _ => false,
    };
    if told.len() == got.len() && told.iter().zip(got).all(alike) {
        return Ok(());
    }
    Err(Error::internal("a statement returns other types where its rows were brought together"))
}

/// `max_bytes` is what was left for it and those before it.
fn too_large(brought: &Brought, max_bytes: usize) -> Error {
    let table = &brought.table.name;
    Error::new(
        SqlState::PROGRAM_LIMIT_EXCEEDED,
        format!("the rows of table \"{table}\" that the statement needs take more than {max_bytes} bytes in one place"),
    )
    .table(table)
    .hint("Give the key in WHERE, or conditions that leave fewer rows of it, or raise limits.gather_max_bytes.")
}

/// The tables are locked until the change is committed, and another connection would wait for that.
fn beside_a_change() -> Error {
    Error::unsupported(
        "a read whose rows have to be brought together, in a transaction that has changed the schema",
        "Commit the change first, or give the key in WHERE.",
    )
}

fn does_more_than_read() -> Error {
    Error::unsupported(
        "a function that may change something, in a read whose rows have to be brought together from several shards",
        "Give the key in WHERE, or call the function in a statement of its own.",
    )
}
