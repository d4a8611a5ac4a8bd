//! Reference rows on their way to a shard that joins, and where sequences stand.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::BytesMut;

use super::{Copied, Joining, leftovers, tables};
use crate::copying::{Encoder, Form, Style};
use crate::error::{Error, Fault, Result, SqlState};
use crate::shard::postgres::schema::{PRINTED_ALIKE, ShardSchema};
use crate::shard::postgres::{Aftermath, Call, CopyStream, OnReplica, PostgresTransaction, Program, Way, quoted};
use crate::shard::{CancelFlag, Formats, Rows, Tag};
use crate::sql::quote_identifier;
use crate::topology::{Schema, Table, TableKind};
use crate::types::ShardId;

/// Both sides write values in the same way, and take as long as it takes.
const UNBOUNDED: [&str; 3] = [
    "SET LOCAL row_security = off",
    "SET LOCAL statement_timeout = 0",
    "SET LOCAL idle_in_transaction_session_timeout = 0",
];

const SAVEPOINT: &str = "shardd_role";

pub(super) fn same_text() -> Vec<String> {
    let alike = PRINTED_ALIKE.trim_end_matches(';').split("; ");
    alike.chain(UNBOUNDED).map(str::to_owned).collect()
}

impl Joining<'_> {
    /// Locks the reference tables of the source: nobody writes to them anywhere until `hold` ends.
    pub(super) async fn hold_reference_rows(&self, hold: &mut PostgresTransaction, reference: &[&Table]) -> Result<()> {
        let wait = self.engine.limits.lock_wait.as_millis();
        let mut statements = same_text();
        statements.push(format!("SET LOCAL lock_timeout = {wait}"));
        let named = |table: &&Table| format!("LOCK TABLE {} IN SHARE MODE", name_of(table));
        statements.extend(reference.iter().map(named));
        hold.run_batch(&statements).await.map_err(|error| match error.sqlstate() {
            SqlState::LOCK_NOT_AVAILABLE => error
                .with_message(format!("writes to the reference tables did not end within {wait} ms"))
                .hint("Try again when long transactions on them have ended. Nothing was added."),
            _ => error,
        })
    }

    /// Copies a table's rows, as they come. Gives how many.
    pub(super) async fn copy_rows(
        &self,
        hold: &mut PostgresTransaction,
        filling: &mut PostgresTransaction,
        table: &Table,
    ) -> Result<u64> {
        let stored = table.columns.iter().filter(|column| column.generated.is_none());
        let names: Vec<String> = stored.map(|column| quote_identifier(&column.name)).collect();
        let (names, of) = (names.join(", "), name_of(table));
        let list = if names.is_empty() { String::new() } else { format!(" ({names})") };
        let output = hold.run(reading(&format!("SELECT {names} FROM {of}"))).await?;
        let copied = async {
            let mut stream = filling.begin_copy(&format!("COPY {of}{list} FROM STDIN"), &Arc::default()).await?;
            let passed = pass(output.rows, &mut stream).await;
            if let Err(error) = &passed {
                stream.give_up(error).await;
            }
            filling.end_copy(stream);
            passed
        };
        copied.await.map_err(|error| {
            let message = format!(
                "the rows of the reference table \"{}\" could not be copied to shard \"{}\": {}",
                table.name,
                self.shard.name(),
                error.message()
            );
            super::making::with_cause(error.with_message(message))
        })
    }

    /// Whether the rows are the same on both, which is remembered of the new one.
    pub(super) async fn compare_rows(
        &self,
        hold: &mut PostgresTransaction,
        filling: &mut PostgresTransaction,
        reference: &[&Table],
    ) -> Result<()> {
        for table in reference {
            let name = name_of(table);
            let sum = sum_of(filling, &name).await?;
            if sum_of(hold, &name).await? != sum {
                return Err(self.other_rows(table));
            }
            leftovers::remember_rows(filling, &name, &sum).await?;
        }
        Ok(())
    }

    /// Compares reference rows with those of a shard that has tables, and copies those of tables that are empty there.
    pub(super) async fn fill_empty(
        &self,
        filling: &mut PostgresTransaction,
        hold: &mut PostgresTransaction,
        schema: &Schema,
    ) -> Result<Copied> {
        let reference = tables(schema, |table| table.kind == TableKind::Reference);
        self.hold_reference_rows(hold, &reference).await?;
        filling.run_batch(&same_text()).await?;
        let mut empty = Vec::new();
        for table in &reference {
            let name = name_of(table);
            if sum_of(hold, &name).await? == sum_of(filling, &name).await? {
                continue;
            }
            if !filling.rows_here(&format!("SELECT FROM {name} LIMIT 1")).await?.is_empty() {
                return Err(self.other_rows(table));
            }
            empty.push(*table);
        }
        let mut copied = Copied { reference_tables: empty.len(), ..Copied::default() };
        if empty.is_empty() {
            return Ok(copied);
        }
        leftovers::mark(filling, &self.engine.cluster, None).await?;
        quiet_triggers(filling, &empty.iter().map(|table| name_of(table)).collect::<Vec<_>>()).await?;
        for table in &empty {
            copied.reference_rows += self.copy_rows(hold, filling, table).await?;
        }
        self.compare_rows(hold, filling, &empty).await?;
        Ok(copied)
    }

    /// Sets all sequences but those of sharded tables as they stand on the source.
    pub(super) async fn set_sequences(
        &self,
        hold: &mut PostgresTransaction,
        filling: &mut PostgresTransaction,
        read: &[(ShardId, ShardSchema)],
    ) -> Result<()> {
        let of = |wanted: ShardId| read.iter().find(|(id, _)| *id == wanted).map(|(_, schema)| schema);
        let (Some(source), Some(new)) = (of(self.source.id()), of(self.shard.id())) else {
            return Err(Error::internal("a shard that joins was not read"));
        };
        let sharded = new.tables.values().filter(|table| table.table.key_column().is_some());
        let apart: BTreeSet<&String> = sharded.flat_map(|table| table.sequences.values()).collect();
        for (name, sequence) in source.sequences.iter().filter(|(name, _)| !apart.contains(name)) {
            if !sequence.readable || !new.sequences.contains_key(name) {
                continue;
            }
            let stands = hold.rows_here(&format!("SELECT last_value, is_called FROM {name}")).await?;
            let Some([Some(value), Some(called)]) = stands.first().map(Vec::as_slice) else { continue };
            let set = format!("SELECT setval({}::regclass, {value}, {})", quoted(name), called == "t");
            filling.rows_here(&set).await?;
        }
        Ok(())
    }

    fn other_rows(&self, table: &Table) -> Error {
        let message = format!(
            "the rows of the reference table \"{}\" on shard \"{}\" are not those on \"{}\"",
            table.name,
            self.shard.name(),
            self.source.name()
        );
        Error::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, message)
            .hint("Empty that table on the new server, and shardd copies the rows. Nothing was added.")
            .fault(Fault::Shard)
    }
}

/// How many rows there are, and a sum over them. `table` is as SQL needs it.
pub(super) async fn sum_of(transaction: &mut PostgresTransaction, table: &str) -> Result<String> {
    let query = format!(
        "SELECT pg_catalog.concat_ws(' ', pg_catalog.count(*), \
         pg_catalog.sum(pg_catalog.hashtextextended(ROW(copied.*)::pg_catalog.text, 0))) FROM {table} AS copied"
    );
    let rows = transaction.rows_here(&query).await?;
    let sum = rows.into_iter().next().and_then(|row| row.into_iter().next().flatten());
    sum.ok_or_else(|| Error::internal("a table's rows have no sum"))
}

/// Rows are put into tables that have triggers and foreign keys already, which the source's rows have been through.
///
/// # Errors
/// 42501 where the role may not, and there are any; 0A000 where some fire all the same.
pub(super) async fn quiet_triggers(filling: &mut PostgresTransaction, tables: &[String]) -> Result<()> {
    let names: Vec<String> = tables.iter().map(|table| format!("{}::regclass", quoted(table))).collect();
    let fired = |condition: &str| {
        format!(
            "SELECT g.tgname, g.tgrelid::regclass FROM pg_trigger g JOIN pg_proc p ON p.oid = g.tgfoid \
             JOIN pg_namespace n ON n.oid = p.pronamespace \
             WHERE g.tgrelid IN ({}) AND n.nspname <> 'shardd' AND {condition} LIMIT 1",
            names.join(", ")
        )
    };
    let all_the_same = filling.rows_here(&fired("g.tgenabled IN ('A', 'R')")).await?;
    if let Some([Some(trigger), Some(table)]) = all_the_same.first().map(Vec::as_slice) {
        return Err(Error::unsupported(
            format!("copying rows into {table}, whose trigger \"{trigger}\" fires also for copied rows,"),
            "Copy the rows with pg_dump --data-only, or give an empty database: shardd makes triggers after rows there.",
        ));
    }
    filling.savepoint(SAVEPOINT).await?;
    let set = filling.run_batch(&["SET LOCAL session_replication_role = replica".to_owned()]).await;
    if let Err(error) = set {
        filling.rollback_to(SAVEPOINT).await?;
        let any = filling.rows_here(&fired("g.tgenabled <> 'D'")).await?;
        if let Some([Some(trigger), Some(table)]) = any.first().map(Vec::as_slice) {
            let message = format!(
                "{table} has the trigger \"{trigger}\", which must not fire for copied rows, and shardd's role may not set \
                 session_replication_role: {}",
                error.message()
            );
            return Err(Error::new(SqlState::INSUFFICIENT_PRIVILEGE, message)
                .hint("Give an empty database: shardd makes triggers and foreign keys after rows there. Nothing was added.")
                .fault(Fault::Shard));
        }
    }
    filling.release(SAVEPOINT).await
}

fn name_of(table: &Table) -> String {
    format!("public.{}", quote_identifier(&table.name))
}

/// Passes rows on as fast as they are taken.
async fn pass(mut rows: Rows, stream: &mut CopyStream) -> Result<u64> {
    let mut encoder = Encoder::new(Style::of(Form::Text), Vec::new());
    let mut messages = BytesMut::new();
    while let Some(batch) = rows.next().await? {
        encoder.rows(&batch.frames, &mut messages)?;
        let mut rest = &messages[..];
        while let Some((length, after)) = rest.get(1..).and_then(<[u8]>::split_first_chunk::<4>) {
            let length = (u32::from_be_bytes(*length) as usize).saturating_sub(4);
            let (line, after) = after.split_at_checked(length).ok_or_else(|| Error::internal("a line was cut"))?;
            rest = after;
            if stream.add(line) && stream.push()? {
                stream.wait().await?;
            }
        }
        messages.clear();
    }
    Ok(stream.finish().await?.0)
}

fn reading(text: &str) -> Call {
    let text: Arc<str> = text.into();
    Call {
        program: Arc::new(Program::as_written(Tag::Select, Arc::clone(&text), Box::default())),
        text,
        way: Way::Simple,
        formats: Formats::AllText,
        cancel: CancelFlag::new(),
        settings: Arc::default(),
        aftermath: Aftermath::Keep,
        keeper: None,
        replica: OnReplica::Never,
        calls_unknown: false,
        then_ask: None,
    }
}
