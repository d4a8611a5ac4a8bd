//! Rows of several shards in one place: temporary tables, in a transaction that is never committed.

use std::sync::Arc;

use bytes::BufMut;

use super::call::Call;
use super::conversation::{self, lost_in_transaction};
use super::exchange::Exchange;
use super::pool::Pooled;
use super::session_state::SessionSettings;
use super::shard::PostgresShard;
use super::transaction::PostgresTransaction;
use crate::error::{Error, Result};
use crate::shard::{CancelFlag, Output, RowBatch};
use crate::sql::quote_identifier;
use crate::topology::Table;
use crate::wire::request;

/// Rows are told to the planner from here on: it plans without statistics otherwise.
const ROWS_TO_ANALYZE: usize = 1_000;
/// What is written before the connection is given time to send it.
const WRITTEN_AHEAD: usize = 256 << 10;

/// A place for rows, which hide the shard's own tables of the same names. Dropping it takes everything back.
#[derive(Debug)]
pub struct Gathering {
    transaction: PostgresTransaction,
    cancel: CancelFlag,
    shard: Arc<str>,
    tables: Vec<Filled>,
}

#[derive(Debug)]
struct Filled {
    /// Its name, in quotes.
    name: String,
    /// The columns of its primary key, in quotes.
    key: Vec<String>,
    rows: usize,
}

/// Rows on their way into a table.
#[derive(Debug)]
pub struct Load<'g> {
    gathering: &'g mut Gathering,
    connection: Option<Pooled>,
    exchange: Exchange,
}

impl Gathering {
    /// # Errors
    /// No connection could be had.
    pub async fn begin(
        shard: &PostgresShard,
        settings: &Arc<SessionSettings>,
        cancel: &CancelFlag,
    ) -> Result<Gathering> {
        let begin = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE";
        let transaction = shard.begin(begin, settings, None, cancel).await?;
        Ok(Gathering { transaction, cancel: cancel.clone(), shard: shard.name().into(), tables: Vec::new() })
    }

    /// Makes an empty table with these columns (numbers of the table's).
    ///
    /// # Errors
    /// The role may not.
    pub async fn add_table(&mut self, table: &Table, columns: &[usize]) -> Result<()> {
        let name = quote_identifier(&table.name);
        let list = quoted(table, columns).join(", ");
        let make =
            format!("CREATE TEMPORARY TABLE {name} ON COMMIT DROP AS SELECT {list} FROM public.{name} WITH NO DATA");
        self.make(table, make).await
    }

    /// The same where the shard's own table cannot be looked at: `definitions` has a type for each column.
    ///
    /// # Errors
    /// The role may not, or a type is not there.
    pub async fn add_table_as(&mut self, table: &Table, columns: &[usize], definitions: &[String]) -> Result<()> {
        let defined = quoted(table, columns).into_iter().zip(definitions);
        let list: Vec<String> = defined.map(|(column, definition)| format!("{column} {definition}")).collect();
        let name = quote_identifier(&table.name);
        self.make(table, format!("CREATE TEMPORARY TABLE {name} ({}) ON COMMIT DROP", list.join(", "))).await
    }

    async fn make(&mut self, table: &Table, statement: String) -> Result<()> {
        let name = quote_identifier(&table.name);
        self.transaction.run_batch(&[statement]).await?;
        let quoted = |number: &usize| table.columns.get(*number).map(|column| quote_identifier(&column.name));
        let key = table.primary_key.iter().flat_map(|key| &key.columns).filter_map(quoted).collect();
        self.tables.push(Filled { name, key, rows: 0 });
        Ok(())
    }

    /// Begins to fill the table that was added last, with rows in binary form.
    ///
    /// # Errors
    /// The shard refused.
    pub async fn load(&mut self, table: &Table) -> Result<Load<'_>> {
        let mut connection = self.transaction.take_connection().await?;
        let copy = format!("COPY pg_temp.{} FROM STDIN (FORMAT binary)", quote_identifier(&table.name));
        request::query(&mut connection.output, &copy);
        let mut exchange = Exchange::new(None).taking_rows();
        let begun = async {
            conversation::send(&mut connection, &self.cancel, &self.shard).await?;
            conversation::until_rows_are_taken(&mut connection, &mut exchange, &self.cancel, &self.shard).await
        };
        begun.await.map_err(lost_in_transaction)?;
        if exchange.ended() {
            self.transaction.put_connection(connection);
            return Err(exchange.error.unwrap_or_else(|| Error::internal("a COPY ended before it began")));
        }
        request::copy_header(&mut connection.output);
        Ok(Load { gathering: self, connection: Some(connection), exchange })
    }

    /// After the last table: `with_keys` declares primary keys, which GROUP BY may rest on.
    ///
    /// # Errors
    /// The session's `search_path` puts other tables first; the shard failed.
    pub async fn settle(&mut self, with_keys: bool) -> Result<()> {
        let mut statements = Vec::new();
        for Filled { name, key, rows } in &self.tables {
            if with_keys && !key.is_empty() {
                statements.push(format!("ALTER TABLE pg_temp.{name} ADD PRIMARY KEY ({})", key.join(", ")));
            }
            if *rows >= ROWS_TO_ANALYZE {
                statements.push(format!("ANALYZE pg_temp.{name}"));
            }
        }
        if !statements.is_empty() {
            self.transaction.run_batch(&statements).await?;
        }
        let literal = |name: &str| format!("'{}'", name.replace('\'', "''"));
        let seen = |Filled { name, .. }: &Filled| {
            format!("to_regclass({}) = to_regclass({})", literal(name), literal(&format!("pg_temp.{name}")))
        };
        let seen: Vec<String> = self.tables.iter().map(seen).collect();
        if seen.is_empty() {
            return Ok(());
        }
        let rows = self.transaction.rows_here(&format!("SELECT {}", seen.join(" AND "))).await?;
        match rows.first().and_then(|row| row.first()) {
            Some(Some(value)) if value == "t" => Ok(()),
            _ => Err(Error::unsupported(
                "a search_path that puts other schemas before pg_temp, in a read whose rows have to be brought together",
                "Leave pg_temp out of search_path.",
            )),
        }
    }

    /// Runs the statement that the rows are for.
    ///
    /// # Errors
    /// The statement failed.
    pub async fn run(&mut self, call: Call) -> Result<Output> {
        self.transaction.run(call).await
    }

    /// Takes everything back.
    pub async fn end(self) {
        self.transaction.rollback().await;
    }
}

fn quoted(table: &Table, columns: &[usize]) -> Vec<String> {
    let column = |number: &usize| table.columns.get(*number).map(|column| quote_identifier(&column.name));
    columns.iter().filter_map(column).collect()
}

impl PostgresTransaction {
    /// The types of a table's columns, with their modifiers and collations, as CREATE TABLE writes them.
    ///
    /// # Errors
    /// The shard failed, or has no such table.
    pub async fn definitions(&mut self, table: &Table, columns: &[usize]) -> Result<Vec<String>> {
        let literal = |text: &str| format!("'{}'", text.replace('\'', "''"));
        let names = columns.iter().filter_map(|number| table.columns.get(*number)).map(|column| literal(&column.name));
        let names: Vec<String> = names.collect();
        let relation = literal(&format!("public.{}", quote_identifier(&table.name)));
        let rows = self
            .rows_here(&format!(
                "SELECT pg_catalog.format_type(a.atttypid, a.atttypmod) || CASE WHEN a.attcollation <> t.typcollation \
                 THEN ' COLLATE ' || a.attcollation::pg_catalog.regcollation ELSE '' END \
                 FROM pg_catalog.unnest(ARRAY[{}]::pg_catalog.name[]) WITH ORDINALITY AS n (name, place) \
                 JOIN pg_catalog.pg_attribute a ON a.attname = n.name AND a.attrelid = {relation}::pg_catalog.regclass \
                 JOIN pg_catalog.pg_type t ON t.oid = a.atttypid ORDER BY n.place",
                names.join(", ")
            ))
            .await?;
        let definitions: Vec<String> = rows.into_iter().filter_map(|row| row.into_iter().next().flatten()).collect();
        match definitions.len() == columns.len() {
            true => Ok(definitions),
            false => Err(Error::internal(format!("the columns of table \"{}\" are not as they were", table.name))),
        }
    }
}

impl Load<'_> {
    /// # Errors
    /// The connection was lost.
    pub async fn add(&mut self, mut batch: RowBatch) -> Result<()> {
        let Load { gathering, connection, .. } = self;
        let Some(connection) = connection else { return Err(Error::internal("rows came after their end")) };
        if let Some(filled) = gathering.tables.last_mut() {
            filled.rows += batch.rows;
        }
        request::rows_to_copy(&mut batch.frames)?;
        connection.output.put_slice(&batch.frames);
        if connection.output.len() >= WRITTEN_AHEAD {
            let sent = conversation::send_rest(connection, &gathering.cancel, &gathering.shard).await;
            sent.map_err(lost_in_transaction)?;
        }
        Ok(())
    }

    /// # Errors
    /// The shard refused the rows.
    pub async fn end(mut self) -> Result<()> {
        let Load { gathering, connection, exchange } = &mut self;
        let Some(mut connection) = connection.take() else { return Err(Error::internal("rows ended twice")) };
        request::copy_end(&mut connection.output);
        let ended =
            async { conversation::finish_sent(&mut connection, exchange, &gathering.cancel, &gathering.shard).await };
        let ended = ended.await;
        if connection.is_in_step() {
            gathering.transaction.put_connection(connection);
        }
        ended.map(|_| ()).map_err(lost_in_transaction)
    }
}
