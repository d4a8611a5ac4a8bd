//! Changing what a table is: sharded by a column, or a reference table.
//!
//! Its rows are read, which bounds how large it can be; then every shard is emptied of them, learns the new kind, and is given
//! the rows that it has to have. All of it is one transaction over all shards, which hold the table locked meanwhile. Every
//! shard knows the kind by itself, so that none can be asked for rows by the wrong one after a crash.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::Engine;
use super::carrying::Inserting;
use super::down::Need;
use super::everywhere::refuse_what_cannot_be_sharded;
use super::givers::refuse_two_givers;
use super::guards::Changed;
use super::sequence::{next_own, number_of, set_apart};
use super::session::{Execution, Scope, Session};
use super::transaction::Opened;
use crate::error::{Error, Result, Retry, SqlState};
use crate::plan::Isolation;
use crate::shard::postgres::schema::{ShardSchema, survey};
use crate::shard::sqlite::store_table_statement;
use crate::shard::{Formats, RawParameters, ShardKind, TransactionMode};
use crate::sql::{self, ast, quote_identifier};
use crate::topology::{
    ForeignKey, Identity, KV_KEYSPACE, Keyspace, Placed, Placements, Refused, Schema, Table, TableKind, Topology,
    can_be_key,
};
use crate::types::ShardId;

/// How often the shards are asked what became of a change.
const READING_PAUSE: Duration = Duration::from_secs(2);

/// What a table is to become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KindChange {
    pub table: String,
    /// `None`: a reference table.
    pub key_column: Option<String>,
    /// Where the key column's name does not tell it.
    pub keyspace: Option<String>,
    /// All is done, and taken back.
    pub dry_run: bool,
}

impl Session {
    /// A snapshot has a table's rows as they lay before its kind was changed, or not at all: emptying a table is seen by all.
    /// What the transaction itself has changed, it sees: looked at is the schema that all see.
    ///
    /// # Errors
    /// 40001: it is older than a change of a kind.
    pub(super) fn refuse_kinds_after_snapshot(&self) -> Result<()> {
        let Some(transaction) = &self.transaction else { return Ok(()) };
        let now = &self.engine.live.snapshot().schema;
        let Some(seen) = transaction.seen_before(now) else {
            return Ok(());
        };
        let is_changed = |table: &&Arc<Table>| match seen.table(&table.name) {
            Some(before) => before.kind != table.kind || before.keyspace != table.keyspace,
            // It was hidden meanwhile.
            None => seen.refused.contains_key(&table.name),
        };
        match now.tables.values().find(is_changed) {
            None => Ok(()),
            Some(table) => Err(Error::new(
                SqlState::SERIALIZATION_FAILURE,
                format!(
                    "the table \"{}\" was made another kind after the transaction's snapshot was taken",
                    table.name
                ),
            )
            .retry(Retry::Safe)
            .hint("Roll back, and run the whole transaction again.")),
        }
    }

    /// Changes a table's kind. Gives how many rows it has.
    ///
    /// # Errors
    /// It cannot be of that kind, with the reason; 54000 when it is too large; a shard refused. Nothing has changed then.
    pub async fn change_kind(&mut self, change: &KindChange) -> Result<usize> {
        let engine = Arc::clone(&self.engine);
        let outcome = Box::pin(self.change_kind_within(change)).await;
        let Some(transaction) = self.transaction.take() else { return outcome };
        match outcome {
            Ok(rows) if !change.dry_run => {
                let committed = self.commit_transaction(transaction).await;
                if committed.as_ref().is_err_and(|error| error.get_retry() == Retry::Unknown) {
                    tokio::spawn(engine.show_when_known(change.table.clone()));
                }
                committed.map(|()| rows)
            }
            outcome => {
                self.roll_back(transaction).await;
                outcome
            }
        }
    }

    async fn change_kind_within(&mut self, change: &KindChange) -> Result<usize> {
        let engine = Arc::clone(&self.engine);
        engine.require_all(Need::SchemaChange)?;
        let mut transaction = self.new_transaction(Opened::Statement);
        // By a snapshot of before, it would not see what it does itself, whatever the servers' default is.
        transaction.set(Some(Isolation::ReadCommitted), Some(false))?;
        self.transaction = Some(transaction);
        self.open_transaction()?.lock_schema(&engine).await?;
        engine.refuse_while_slots_move()?;
        let topology = engine.live.snapshot();
        let changed = changed(&topology.schema, &topology.keyspaces, change)?;
        let referring = referring(&topology.schema, &changed.name);
        let mut shards: Vec<ShardId> = topology.shards.iter().map(|shard| shard.id).collect();
        shards.sort_unstable();
        self.require_prepared(&shards)?;
        if engine.kind == ShardKind::Postgres {
            // A statement that waits for the table's lock would find the rows of another kind of table than it was planned for.
            self.open_transaction()?.schema = Some(Arc::clone(&topology.schema));
            let hidden = Hidden::hide(&engine, &topology.schema, &change.table)?;
            self.open_transaction()?.hidden = Some(hidden);
            engine.statements_have_ended().await?;
        }
        self.lock_tables(&changed, &referring, &shards).await?;

        let columns: Vec<usize> =
            (0..changed.columns.len()).filter(|number| changed.columns[*number].generated.is_none()).collect();
        let names: Vec<String> =
            columns.iter().map(|number| quote_identifier(&changed.columns[*number].name)).collect();
        let (names, quoted) = (names.join(", "), quote_identifier(&changed.name));
        let reading = format!("SELECT {names} FROM {quoted}");
        let prepared = Arc::new(self.prepare_checked(&reading, &[])?);
        let execution = Execution {
            statement: Arc::clone(&prepared.statement),
            prepared,
            raw: Arc::new(RawParameters::default()),
            parameters: Arc::from([]),
            formats: Formats::AllText,
            scope: Scope::Alone,
            environment: OnceLock::new(),
        };
        let carried = self.carried_by(&reading, &changed, &execution).await?;
        let rows = carried.rows().len();
        let attached = match engine.kind {
            ShardKind::Postgres => {
                let attached = self.open_transaction()?.take_off(&engine, &shards, &changed.name).await?;
                self.become_on_servers(&changed, &shards, &topology).await?;
                Some(attached)
            }
            // There foreign keys rest while the schema is changed, and are looked at before the commit.
            ShardKind::Sqlite => {
                self.become_on_files(&changed, &shards, &topology).await?;
                None
            }
        };
        let counts = changed.columns.iter().any(|column| column.identity == Some(Identity::Always));
        let overriding = if counts { " OVERRIDING SYSTEM VALUE" } else { "" };
        let head = format!("INSERT INTO {quoted} ({names}){overriding}");
        let into = Inserting { table: &changed, columns: &columns, head: &head, rest: "", at_once: false };
        self.insert_carried(carried, &into, &execution).await?;
        if let Some(attached) = attached {
            let transaction = self.open_transaction()?;
            transaction.put_back(&engine, attached).await?;
            let read = transaction.read_schemas(&engine, &shards, &topology).await?;
            transaction.schema = Some(Arc::new(survey(&read, &topology.keyspaces)));
        }
        Ok(rows)
    }

    /// Also those that refer to it, and before it, as who writes a row of theirs does. On SQLite shards the writers are taken.
    async fn lock_tables(&mut self, table: &Table, referring: &[&str], shards: &[ShardId]) -> Result<()> {
        let engine = Arc::clone(&self.engine);
        let wait_ms = engine.limits.lock_wait.as_millis();
        let all = referring.iter().copied().chain([table.name.as_str()]);
        let all: Vec<String> = all.map(|name| format!("public.{}", quote_identifier(name))).collect();
        let locking = [
            format!("SET LOCAL lock_timeout = {wait_ms}"),
            // Where a policy would hide rows from shardd's role, reading them fails.
            "SET LOCAL row_security = off".to_owned(),
            format!("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE", all.join(", ")),
        ];
        let transaction = self.open_transaction()?;
        for &shard in shards {
            let participant = transaction.join_as_writer(&engine, shard, TransactionMode::Schema).await?;
            if engine.kind == ShardKind::Postgres {
                participant.transaction.run_batch(&locking).await?;
            }
        }
        Ok(())
    }

    async fn become_on_servers(&mut self, table: &Table, shards: &[ShardId], topology: &Topology) -> Result<()> {
        let engine = Arc::clone(&self.engine);
        let transaction = self.open_transaction()?;
        let mut read = transaction.read_schemas(&engine, shards, topology).await?;
        if read.iter().any(|(_, found)| !found.relations.contains(&table.name)) {
            let hint = "`shardctl schema diff` shows the differences.";
            return Err(cannot(table, "while it is not on every shard", hint));
        }
        refuse_shared_sequences(table, &read, topology)?;
        let mut placements = read.first().map(|(_, found)| found.placements.clone()).unwrap_or_default();
        let key_column = table.key_column().map(|key| table.columns[key].name.clone());
        placements.insert(table.name.clone(), Placed { keyspace: table.keyspace.clone(), key_column });
        let emptied = [format!("TRUNCATE TABLE public.{}", quote_identifier(&table.name)), remembering(&placements)?];
        for (shard, found) in &read {
            let sequences = found.tables.get(&table.name).map(|known| &known.sequences);
            // Changes nothing, and takes the lock that nextval() and setval() wait for: where it stands now, it stays.
            let holding = sequences.into_iter().flat_map(|all| all.values()).filter_map(|name| {
                let increment = found.sequences.get(name)?.increment;
                Some(format!("ALTER SEQUENCE {name} INCREMENT BY {increment}"))
            });
            let statements: Vec<String> = emptied.iter().cloned().chain(holding).collect();
            let participant = transaction.join_as_writer(&engine, *shard, TransactionMode::Schema).await?;
            participant.transaction.run_batch(&statements).await?;
        }
        read = transaction.read_schemas(&engine, shards, topology).await?;
        let named = |_: &str, of: &str| of == table.name;
        let sequences = match table.kind {
            TableKind::Sharded { .. } => set_apart(&read, &topology.schema, named),
            TableKind::Reference => {
                let known = read.iter().find_map(|(_, found)| found.tables.get(&table.name));
                let all = known.map(|known| &known.sequences);
                let together = all.into_iter().flat_map(|all| all.values()).filter_map(|name| {
                    let next =
                        read.iter().filter_map(|(_, found)| found.sequences.get(name)).map(|one| one.next()).max()?;
                    Some(format!("ALTER SEQUENCE {name} INCREMENT BY 1 START WITH 1 RESTART WITH {next}"))
                });
                let together: Vec<String> = together.collect();
                shards.iter().map(|shard| (*shard, together.clone())).collect()
            }
        };
        for (shard, statements) in sequences.iter().filter(|(_, statements)| !statements.is_empty()) {
            let participant = transaction.join_as_writer(&engine, *shard, TransactionMode::Schema).await?;
            participant.transaction.run_batch(statements).await?;
        }
        read = transaction.read_schemas(&engine, shards, topology).await?;
        let after = survey(&read, &topology.keyspaces);
        if after.table(&table.name).map(|after| after.kind) != Some(table.kind) {
            return Err(Error::internal(format!("the table \"{}\" did not become what it was told to be", table.name)));
        }
        refuse_what_cannot_be_sharded(&read, &topology.schema, &after, named)?;
        refuse_two_givers(&topology.schema, &after, &topology.keyspaces)?;
        let changed = Changed {
            before: &topology.schema,
            after: &after,
            topology,
            named: &|_| false,
            placed_anew: Some(&table.name),
        };
        // That it has none is told when the table's shards are opened, and by `verify`.
        let _ = transaction.guard_tables(&engine, &read, &changed).await?;
        transaction.schema = Some(Arc::new(after));
        Ok(())
    }

    async fn become_on_files(&mut self, table: &Table, shards: &[ShardId], topology: &Topology) -> Result<()> {
        let engine = Arc::clone(&self.engine);
        let quoted = |name: &str| format!("'{}'", name.replace('\'', "''"));
        let mut together = Vec::new();
        if table.kind == TableKind::Reference {
            let counting = table.columns.iter().filter(|column| column.identity.is_some());
            for column in counting {
                let mut next = 1;
                for &shard in shards {
                    let transaction = self.open_transaction()?;
                    let participant = transaction.join_as_writer(&engine, shard, TransactionMode::Schema).await?;
                    next = next.max(number_of(participant, &table.name, &column.name).await?);
                }
                together.push(format!(
                    "INSERT INTO shardd_sequence (table_name, column_name, next, step) VALUES ({}, {}, {next}, 1) \
                     ON CONFLICT DO UPDATE SET next = excluded.next, step = excluded.step",
                    quoted(&table.name),
                    quoted(&column.name)
                ));
            }
        }
        for &shard in shards {
            let (mut statements, guards) = super::file_guards::remade(table);
            statements.push(format!("DELETE FROM \"{}\"", table.name.replace('"', "\"\"")));
            statements.push(store_table_statement(table)?);
            statements.extend(guards);
            statements.extend(together.iter().cloned());
            if table.kind != TableKind::Reference {
                let zero = next_own(0, shard);
                statements.push(format!(
                    "UPDATE shardd_sequence SET step = 1024, next = next + (({zero} - next) % 1024 + 1024) % 1024 \
                     WHERE table_name = {}",
                    quoted(&table.name)
                ));
            }
            let transaction = self.open_transaction()?;
            let participant = transaction.join_as_writer(&engine, shard, TransactionMode::Schema).await?;
            participant.run_ddl(&statements).await?;
        }
        let mut after = Schema::clone(&topology.schema);
        after.tables.insert(table.name.clone(), Arc::new(table.clone()));
        self.open_transaction()?.schema = Some(Arc::new(after));
        Ok(())
    }
}

/// What changes how a sequence counts would change it for the other tables that it fills.
fn refuse_shared_sequences(table: &Table, read: &[(ShardId, ShardSchema)], topology: &Topology) -> Result<()> {
    let own = read.iter().filter_map(|(_, found)| found.tables.get(&table.name));
    for name in own.flat_map(|known| known.sequences.values()) {
        let filled = topology.schema.filled_by.get(name).into_iter().flatten();
        let others = filled.filter_map(|other| topology.schema.table(other)).filter(|other| other.name != table.name);
        // Those of reference tables go on counting by any step.
        let mut sharded = others.filter(|other| other.key_column().is_some());
        if let Some(other) = sharded.next() {
            let why = format!("while the sequence {name} fills the sharded table \"{}\", too,", other.name);
            return Err(cannot(table, &why, "Give each table a sequence of its own."));
        }
    }
    Ok(())
}

/// A table that nobody sees while its kind is changed. Held with the schema's lock; when it goes, the table is seen again as
/// it was.
#[derive(Debug)]
pub(super) struct Hidden {
    engine: Arc<Engine>,
    before: Option<Arc<Schema>>,
}

impl Hidden {
    fn hide(engine: &Arc<Engine>, before: &Arc<Schema>, table: &str) -> Result<Hidden> {
        engine.adopt_schema(Arc::new(without(before, table)))?;
        Ok(Hidden { engine: Arc::clone(engine), before: Some(Arc::clone(before)) })
    }

    /// It is not what it was, or nobody knows.
    pub(super) fn let_go(mut self) {
        self.before = None;
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.before.take().map(|before| self.engine.adopt_schema(before)) {
            tracing::error!(%error, "a table whose kind was not changed stays hidden: run `shardctl schema diff`");
        }
    }
}

impl Engine {
    /// A table whose change of kind may have been committed or not stays hidden until the shards tell which.
    async fn show_when_known(self: Arc<Self>, table: String) {
        loop {
            let known = match self.in_doubt().await {
                Ok(left) if left.is_empty() => self.review_schema().await.map(|_| true),
                Ok(_) => Ok(false),
                Err(error) => Err(error),
            };
            match known {
                Ok(true) => return,
                Ok(false) => tracing::warn!(table, "the change of a table's kind is in doubt: the table stays hidden"),
                Err(error) => tracing::warn!(
                    table, %error, "what became of the change of a table's kind cannot be read: the table stays hidden"
                ),
            }
            tokio::time::sleep(READING_PAUSE).await;
        }
    }
}

/// The schema for everybody else meanwhile.
fn without(schema: &Schema, table: &str) -> Schema {
    let mut hidden = Schema::clone(schema);
    let what = format!("the table \"{table}\", while it is made another kind,");
    hidden.refused.insert(table.to_owned(), Refused { what, hint: "Try again in a moment.".to_owned() });
    hidden.hide_refused();
    hidden
}

/// What makes a server remember the tables whose kind was changed.
pub(super) fn remembering(placements: &Placements) -> Result<String> {
    let text = placements.to_text().map_err(|error| Error::internal(error.to_string()))?;
    Ok(format!("COMMENT ON SCHEMA shardd IS '{}'", text.replace('\'', "''")))
}

/// The table as it is to be.
///
/// # Errors
/// It cannot be.
fn changed(schema: &Schema, keyspaces: &[Arc<Keyspace>], change: &KindChange) -> Result<Table> {
    let name = &change.table;
    let Some(table) = schema.table(name).filter(|table| table.keyspace != KV_KEYSPACE) else {
        return Err(Error::new(SqlState::UNDEFINED_TABLE, format!("relation \"{name}\" does not exist"))
            .hint("`shardctl tables` lists the tables."));
    };
    let mut changed = Table::clone(table);
    changed.kind = match &change.key_column {
        None => TableKind::Reference,
        Some(column) => {
            let keyspace = keyspace_for(column, keyspaces, change)?;
            changed.keyspace.clone_from(&keyspace.name);
            sharded(table, column, keyspace)?
        }
    };
    if changed.kind == table.kind && changed.keyspace == table.keyspace {
        return Err(Error::new(
            SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("the table \"{name}\" is that already"),
        )
        .hint("`shardctl tables` shows how each is sharded."));
    }
    let together = |from: &Table, to: &Table, key: &ForeignKey| stay_together(from, to, key, keyspaces);
    let target = |key: &ForeignKey| match key.references == *name {
        true => Some(&changed),
        false => schema.table(&key.references).map(|target| &**target),
    };
    let apart = changed.foreign_keys.iter().find(|key| target(key).is_some_and(|to| !together(&changed, to, key)));
    if let Some(key) = apart {
        let why = format!("whose foreign key \"{}\" refers to rows of other shards then", key.name);
        return Err(cannot(table, &why, "Drop the foreign key, or include the key columns of both tables in it."));
    }
    for other in referring(schema, name).iter().filter_map(|other| schema.table(other)) {
        let mut keys = other.foreign_keys.iter().filter(|key| key.references == *name);
        if let Some(key) = keys.find(|key| !together(other, &changed, key)) {
            let why = format!(
                "which the foreign key \"{}\" of \"{}\" refers to from other shards then",
                key.name, other.name
            );
            return Err(cannot(table, &why, "Drop that foreign key, or include the key columns of both tables in it."));
        }
    }
    Ok(changed)
}

/// The tables whose foreign keys refer to a table, beside itself.
fn referring<'s>(schema: &'s Schema, table: &str) -> Vec<&'s str> {
    let refers = |other: &&Arc<Table>| other.foreign_keys.iter().any(|key| key.references == table);
    let others = schema.tables.values().filter(|other| other.name != table).filter(refers);
    others.map(|other| other.name.as_str()).collect()
}

/// Whether a row and the row that it refers to are always on one shard.
fn stay_together(from: &Table, to: &Table, key: &ForeignKey, keyspaces: &[Arc<Keyspace>]) -> bool {
    let Some(to_key) = to.key_column() else {
        let shards = |name: &str| keyspaces.iter().find(|keyspace| keyspace.name == name).map(|found| &found.shards);
        let (from, to) = (shards(&from.keyspace), shards(&to.keyspace));
        return from.zip(to).is_some_and(|(from, to)| from.iter().all(|shard| to.contains(shard)));
    };
    let place = key.referenced_columns.iter().position(|column| *column == to_key);
    let own = place.and_then(|place| key.columns.get(place)).copied();
    from.keyspace == to.keyspace && own.is_some() && own == from.key_column()
}

fn keyspace_for<'k>(column: &str, keyspaces: &'k [Arc<Keyspace>], change: &KindChange) -> Result<&'k Keyspace> {
    let mut users = keyspaces.iter().filter(|keyspace| keyspace.name != KV_KEYSPACE);
    let found = match &change.keyspace {
        Some(name) => users.find(|keyspace| keyspace.name == *name),
        None if users.clone().count() == 1 => users.next(),
        None => users.find(|keyspace| keyspace.key_column == column),
    };
    found.map(|keyspace| &**keyspace).ok_or_else(|| {
        let message = match &change.keyspace {
            Some(name) => format!("there is no keyspace \"{name}\""),
            None => format!("no keyspace's key column is \"{column}\""),
        };
        Error::new(SqlState::INVALID_PARAMETER_VALUE, message)
            .hint("Name one with --keyspace; `shardctl status` lists them.")
    })
}

fn sharded(table: &Table, column: &str, keyspace: &Keyspace) -> Result<TableKind> {
    let Some((key_column, found)) = table.column(column) else {
        let message = format!("column \"{column}\" of relation \"{}\" does not exist", table.name);
        return Err(Error::new(SqlState::UNDEFINED_COLUMN, message));
    };
    if !can_be_key(found.data_type, keyspace.key_type) || found.generated.is_some() || found.collation.is_some() {
        let why = format!(
            "to sharded by \"{column}\" of type {}, which is no key of keyspace \"{}\",",
            found.type_name(),
            keyspace.name
        );
        return Err(cannot(
            table,
            &why,
            "The key is a plain column of the keyspace's type, in the database's own collation.",
        ));
    }
    if !found.not_null {
        return Err(cannot(
            table,
            &format!("to sharded by \"{column}\", which takes NULL,"),
            &format!(
                "ALTER TABLE {} ALTER COLUMN {} SET NOT NULL",
                quote_identifier(&table.name),
                quote_identifier(column)
            ),
        ));
    }
    let keys = table.primary_key.iter().chain(&table.unique_keys);
    let lacking = keys.filter(|key| !key.columns.contains(&key_column)).map(|key| &key.name);
    let indexes = table.indexes.iter().filter(|index| index.unique && !includes(&index.definition, column));
    if let Some(name) = lacking.chain(indexes.map(|index| &index.name)).next() {
        let why = format!("to sharded by \"{column}\", which the unique \"{name}\" does not include,");
        return Err(cannot(table, &why, "Uniqueness can be held within one shard only: include the key column in it."));
    }
    Ok(TableKind::Sharded { key_column, key_type: keyspace.key_type })
}

/// Whether an index is on the column itself, among others.
fn includes(definition: &str, column: &str) -> bool {
    let Ok(sql::Parsed { tree: sql::Tree::Sql(tree), .. }) = sql::parse(definition, 0, Vec::new()) else {
        return false;
    };
    let ast::Statement::CreateIndex(index) = &*tree else { return false };
    let is_it = |found: &ast::IndexColumn| matches!(&found.column.expr, ast::Expr::Identifier(name) if sql::fold(name) == column);
    index.columns.iter().any(is_it)
}

fn cannot(table: &Table, why: &str, hint: &str) -> Error {
    Error::unsupported(format!("changing the kind of table \"{}\" {why}", table.name), hint).table(&table.name)
}
