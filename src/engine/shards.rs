//! The set of shards: what they hold, how they are, and how one is added.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::down::{Need, ShardSet};
use super::merge::{column_slices, decode};
use super::{Engine, OpenShard};
use crate::error::{Error, Fault, Result, SqlState};
use crate::shard::TransactionMode;
use crate::shard::postgres::ReplicaState;
use crate::shard::sqlite::{
    Call, Effect, Environment, Opening, Program, ShardFile, SqliteShard, SqliteTransaction, Whereabouts, dialect,
};
use crate::shard::{CancelFlag, Formats, OutputColumn, Shard, Tag};
use crate::topology::{KV_TABLES, Schema, ShardSpec, ShardUrl, Table, TableKind, Topology};
use crate::types::{Datum, Format, PgType, ShardId, TextStyle};

/// How long a shard may take to answer a ping.
const PING_TIME: Duration = Duration::from_secs(1);

impl Engine {
    /// Makes this the schema that statements are planned against: at the start, when the open shards were found to hold it.
    ///
    /// # Errors
    /// A newer epoch was published meanwhile.
    pub(super) fn adopt_schema(&self, schema: Arc<Schema>) -> Result<()> {
        for open in self.shards.load().open.values() {
            open.shard.set_schema(Arc::clone(&schema));
        }
        let current = self.live.snapshot();
        super::drift::log(&current.schema.drift, &schema.drift);
        self.live.complete(&current, schema).map_err(|error| Error::internal(error.to_string()))
    }

    /// Whether a shard can do its work, and does it in time.
    ///
    /// # Errors
    /// What is wrong.
    pub async fn ping(&self, id: ShardId) -> Result<()> {
        let shard = self.shard(id)?;
        tokio::time::timeout(PING_TIME, shard.inspect()).await.unwrap_or_else(|_| {
            Err(Error::new(
                SqlState::CONNECTION_FAILURE,
                format!("shard \"{}\" did not answer within {} ms", shard.name(), PING_TIME.as_millis()),
            )
            .fault(Fault::Shard)
            .hint("It may be slow or busy; see `shardctl logs`."))
        })
    }

    /// Whether the schema has this table.
    pub fn has_table(&self, name: &str) -> bool {
        self.live.snapshot().schema.table(name).is_some()
    }

    /// Whether the schema has the HTTP door's tables.
    pub fn has_kv_tables(&self) -> bool {
        let topology = self.live.snapshot();
        KV_TABLES.iter().all(|table| topology.schema.table(table).is_some())
    }

    /// Whether a table of the schema has this index.
    pub fn has_index(&self, table: &str, index: &str) -> bool {
        let schema = &self.live.snapshot().schema;
        schema.table(table).is_some_and(|table| table.indexes.iter().any(|known| known.name == index))
    }

    /// Whether the shards do not all have a table alike, as they were last read.
    pub fn differs(&self, table: &str) -> bool {
        let drift = &self.live.snapshot().schema.drift;
        drift.findings.iter().any(|finding| finding.table.as_deref() == Some(table))
    }

    /// What a shard counts about itself, by name.
    ///
    /// # Errors
    /// The shard is not open.
    pub fn statistics(&self, id: ShardId) -> Result<BTreeMap<String, u64>> {
        Ok(self.shard(id)?.statistics())
    }

    /// How a shard's replicas are, and how many statements might have been read from one and were not; none when the shard is
    /// not open.
    pub fn replicas(&self, id: ShardId) -> (Vec<ReplicaState>, u64) {
        self.shard(id).map(|shard| shard.replicas()).unwrap_or_default()
    }

    /// Closes every shard, then the catalog. Nothing is served after it.
    pub async fn close(&self) {
        for open in self.shards.load_full().open.values() {
            open.shard.shutdown().await;
        }
        self.catalog.close().await;
    }

    /// Adds a shard that owns no slots yet, with the tables of the others and their reference rows.
    ///
    /// # Errors
    /// The name or URL is taken or cannot be; the file belongs to another cluster; a shard is down. Nothing was added then.
    pub async fn add_shard(&self, spec: &ShardSpec, actor: &str) -> Result<Arc<Topology>> {
        let ShardUrl::Sqlite(path) = &spec.url else {
            return Err(Error::internal("a Postgres server was to be added as a SQLite shard"));
        };
        let _schema_lock = self.lock_schema().await?;
        self.require_all(Need::NewShard)?;
        let current = self.live.snapshot();
        let id = self.catalog.next_shard_number().await?;
        // Refused here, before a file is made.
        current.with_shard(spec.numbered(id), &[]).map_err(crate::catalog::CatalogError::from)?;
        let opening = Opening {
            name: spec.name.clone(),
            id,
            cluster: self.cluster.clone(),
            path: path.clone(),
            file: ShardFile::MayBeNew,
            limits: self.shard_limits.clone(),
            metrics: self.metrics.shard(&spec.name),
        };
        let source = current.shards.first().ok_or_else(|| Error::internal("the topology has no shards"))?;
        let source = self.shard(source.id)?;
        let source = source.sqlite()?;
        // A reference table is written on all shards at once, so holding one writer holds them all still.
        let hold = source.begin(TransactionMode::Write, &CancelFlag::new()).await?;
        let outcome = match filled(opening, source, &current).await {
            Ok(shard) => self.admit(shard, spec, &current, actor).await,
            Err(error) => Err(error),
        };
        hold.rollback().await;
        outcome
    }

    async fn admit(
        &self,
        shard: SqliteShard,
        spec: &ShardSpec,
        current: &Arc<Topology>,
        actor: &str,
    ) -> Result<Arc<Topology>> {
        match self.catalog.add_shard(current.epoch, spec, &[], actor).await {
            Ok((_, next)) => self.open_to_statements(&Arc::new(Shard::Sqlite(shard)), next, current),
            Err(error) => {
                shard.shutdown().await;
                Err(error.into())
            }
        }
    }

    pub(super) fn open_to_statements(
        &self,
        shard: &Arc<Shard>,
        next: Topology,
        current: &Arc<Topology>,
    ) -> Result<Arc<Topology>> {
        let open = OpenShard { metrics: self.metrics.shard(shard.name()), shard: Arc::clone(shard) };
        // A new version of the same schema: a write to a reference table that waits for its shards was planned for those
        // that there were, and is now planned again.
        let schema = Arc::new(Schema::clone(&current.schema));
        for open in self.shards.load().open.values().chain([&open]) {
            open.shard.set_schema(Arc::clone(&schema));
        }
        self.shards.rcu(|set| {
            let mut set = ShardSet::clone(set);
            set.open.insert(shard.id(), open.clone());
            set
        });
        let next = Topology { schema, ..next }.moving_as(current);
        self.live.publish(next).map_err(|error| Error::internal(error.to_string()))?;
        Ok(self.live.snapshot())
    }
}

/// Opens a shard that holds the others' tables and the reference tables' rows.
async fn filled(opening: Opening, source: &SqliteShard, current: &Topology) -> Result<SqliteShard> {
    let shard = SqliteShard::open(opening.clone())?;
    let outcome = fill(&shard, source, current).await;
    shard.shutdown().await;
    outcome?;
    // What was filled in below the shard, its sequences for one, is read when it is opened.
    SqliteShard::open(Opening { file: ShardFile::Known, ..opening })
}

/// Makes the tables and copies rows. What an earlier attempt left is replaced.
async fn fill(shard: &SqliteShard, source: &SqliteShard, current: &Topology) -> Result<()> {
    let schema = &*current.schema;
    let stale = shard.schema().await?;
    let mut transaction = shard.begin(TransactionMode::Schema, &CancelFlag::new()).await?;
    transaction.run_batch(dialect::drop_all(&stale)).await?;
    transaction.run_batch(dialect::create_all(schema)?).await?;
    for table in schema.tables.values().filter(|table| table.kind == TableKind::Reference) {
        let mut columns: Vec<_> = table.columns.iter().map(|column| (column.name.as_str(), column.data_type)).collect();
        columns.extend(row_id(table)?.map(|name| (name, PgType::Int8)));
        copy_rows(source, &mut transaction, &table.name, &columns, "").await?;
        let sequences = [
            ("table_name", PgType::Text),
            ("column_name", PgType::Text),
            ("next", PgType::Int8),
            ("step", PgType::Int8),
        ];
        let of_table = format!(" WHERE table_name = '{}'", table.name.replace('\'', "''"));
        copy_rows(source, &mut transaction, "shardd_sequence", &sequences, &of_table).await?;
    }
    transaction.run_batch(super::file_guards::of_new_shard(schema, current)).await?;
    transaction.commit().await
}

/// SQLite's name for the number of a row, where that tells rows apart: changes of a table without a primary key are copied
/// by it.
fn row_id(table: &Table) -> Result<Option<&'static str>> {
    if table.primary_key.is_some() {
        return Ok(None);
    }
    let is_column = |name: &&str| table.columns.iter().any(|column| column.name.eq_ignore_ascii_case(name));
    match ["_rowid_", "rowid", "oid"].into_iter().find(|name| !is_column(name)) {
        Some(name) => Ok(Some(name)),
        None => Err(Error::unsupported(
            format!(
                "adding a shard while \"{}\" has no primary key and columns of all of SQLite's names for it",
                table.name
            ),
            "Give the table a primary key, or rename one of the columns _rowid_, rowid and oid.",
        )),
    }
}

/// Copies a table's rows, as they come.
async fn copy_rows(
    source: &SqliteShard,
    transaction: &mut SqliteTransaction,
    table: &str,
    columns: &[(&str, PgType)],
    condition: &str,
) -> Result<()> {
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let table = quoted(table);
    let names: Vec<String> = columns.iter().map(|(name, _)| quoted(name)).collect();
    let places: Vec<String> = (1..=columns.len()).map(|place| format!("?{place}")).collect();
    let (names, places) = (names.join(", "), places.join(", "));
    let select = plain_program(format!("SELECT {names} FROM {table}{condition}"), columns, Effect::Read);
    let insert = format!("INSERT INTO {table} ({names}) VALUES ({places})");
    let insert = Arc::new(Program { columns: Vec::new(), ..plain_program(insert, columns, Effect::Write) });
    let mut rows = source.read(plain_call(&Arc::new(select.clone()), Vec::new())).await?;
    while let Some(batch) = rows.next().await? {
        for frame in batch.row_frames() {
            let cells = column_slices(frame)?.into_iter().zip(&select.columns);
            let values = cells.map(|(cell, column)| decode(cell, column, Format::Binary, &TextStyle::default()));
            transaction.run(plain_call(&insert, values.collect::<Result<_>>()?)).await?;
        }
    }
    Ok(())
}

/// A program in SQLite's own text, whose parameters are its columns.
pub(super) fn plain_program(sql: String, columns: &[(&str, PgType)], effect: Effect) -> Program {
    let column = |(name, data_type): &(&str, PgType)| OutputColumn {
        name: (*name).to_owned(),
        data_type: *data_type,
        modifier: -1,
        table_oid: 0,
        attribute: 0,
        foreign: None,
    };
    Program {
        sql,
        parameters: columns.iter().map(|(_, data_type)| *data_type).collect(),
        environment: Vec::new(),
        columns: columns.iter().map(column).collect(),
        effect,
        tag: Tag::Select,
        point_read: false,
        reads_catalog: false,
    }
}

/// A call that asks nothing of a session.
pub(super) fn plain_call(program: &Arc<Program>, parameters: Vec<Datum>) -> Call {
    Call {
        program: Arc::clone(program),
        parameters: parameters.into(),
        formats: Formats::AllBinary,
        environment: Arc::new(Environment {
            transaction_timestamp: 0,
            statement_timestamp: 0,
            time_zone: "UTC".into(),
            user: "shardd".into(),
            database: "".into(),
            backend_pid: 0,
            whereabouts: Whereabouts::own(),
        }),
        style: TextStyle::default(),
        cancel: CancelFlag::new(),
        schema: None,
    }
}
