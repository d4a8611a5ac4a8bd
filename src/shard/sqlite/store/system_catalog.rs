//! The system catalog as a database in memory, where statements that ask it run.
//!
//! Each connection holds the catalog of one schema and one user; when another is asked for, its rows are replaced. There
//! are few connections, so what the catalogs take is bounded.

use std::sync::Arc;

use super::call::Call;
use super::connection::{Backend, Role};
use super::pool::{OwnedLease, Pool};
use super::reader::read_on_thread;
use super::scratch::quoted;
use super::shared::Shared;
use crate::error::{Error, Result};
use crate::shard::CancelFlag;
use crate::shard::Rows;
use crate::shard::sqlite::storage;
use crate::system_catalog::{Relation, Surroundings, contents, lookups, relations};
use crate::topology::Schema;
use crate::types::PgType;

/// Catalogs that are held at the same time.
const CATALOGS: usize = 8;

/// Whose catalog a connection holds.
#[derive(Clone, Debug)]
pub(super) struct Held {
    schema: Arc<Schema>,
    surroundings: Surroundings,
}

impl Held {
    fn is(&self, schema: &Arc<Schema>, surroundings: &Surroundings) -> bool {
        Arc::ptr_eq(&self.schema, schema) && self.surroundings == *surroundings
    }
}

pub(super) struct SystemCatalogs(Arc<Pool>);

impl SystemCatalogs {
    pub(super) fn new() -> SystemCatalogs {
        SystemCatalogs(Arc::new(Pool::new(Role::Scratch, CATALOGS, "system catalogs")))
    }

    /// Runs a statement over the catalog of a schema.
    pub(super) async fn run(
        &self,
        shared: &Arc<Shared>,
        call: Call,
        schema: Arc<Schema>,
        surroundings: Surroundings,
    ) -> Result<Rows> {
        let lease = self.lease(shared, &call.cancel, schema, surroundings).await?;
        read_on_thread(shared, call, lease, |_| ()).await
    }

    /// A connection that holds the catalog asked for.
    async fn lease(
        &self,
        shared: &Arc<Shared>,
        cancel: &CancelFlag,
        schema: Arc<Schema>,
        surroundings: Surroundings,
    ) -> Result<OwnedLease> {
        let lease = self.0.take(shared, cancel).await?.detach(&self.0);
        let held = lease.backend().catalog.lock().as_ref().is_some_and(|held| held.is(&schema, &surroundings));
        if held {
            return Ok(lease);
        }
        let told = Arc::clone(shared);
        let loading = shared.runtime.spawn_blocking(move || {
            load(lease.backend(), &told, Held { schema, surroundings })?;
            Ok(lease)
        });
        loading.await.map_err(|_| Error::internal("loading the system catalog ended by a defect"))?
    }
}

fn load(backend: &Backend, shared: &Shared, wanted: Held) -> Result<()> {
    let mut holds = backend.catalog.lock();
    let empty = holds.take().is_none();
    let connection = &backend.connection;
    let batch = |sql: &str| connection.execute_batch(sql).map_err(|error| shared.translate(&error));
    batch("BEGIN")?;
    let filled = batch(&if empty { declarations() } else { deletions() })
        .and_then(|()| fill(connection, shared, &contents(&wanted.schema, &wanted.surroundings)));
    if filled.is_err() {
        // The connection has no tables then, or those of before: the next one begins anew.
        batch("ROLLBACK")?;
        batch(&removals())?;
        return filled;
    }
    batch("COMMIT")?;
    *holds = Some(wanted);
    Ok(())
}

fn fill(connection: &rusqlite::Connection, shared: &Shared, filled: &[Relation]) -> Result<()> {
    let told = |error: rusqlite::Error| shared.translate(&error);
    for relation in filled {
        let width = relation.rows.first().map_or(0, Vec::len);
        let places: Vec<String> = (1..=width).map(|place| format!("?{place}")).collect();
        let sql = format!("INSERT INTO {} VALUES ({})", quoted(relation.name), places.join(", "));
        let mut insert = connection.prepare(&sql).map_err(told)?;
        for row in &relation.rows {
            for (index, value) in row.iter().enumerate() {
                insert.raw_bind_parameter(index + 1, storage::to_sqlite(value)?).map_err(told)?;
            }
            insert.raw_execute().map_err(told)?;
        }
    }
    Ok(())
}

fn declarations() -> String {
    let mut sql = String::new();
    for table in relations().tables.values() {
        let columns = table.columns.iter().map(|column| (column.name.as_str(), column.data_type));
        declare(&mut sql, &table.name, columns);
    }
    for lookup in lookups() {
        declare(&mut sql, lookup.name, lookup.columns.iter().copied());
    }
    sql
}

/// A table, found by its first column.
fn declare<'n>(sql: &mut String, name: &str, columns: impl Iterator<Item = (&'n str, PgType)>) {
    let columns: Vec<(&str, PgType)> = columns.collect();
    let list: Vec<String> =
        columns.iter().map(|(name, kind)| format!("{} {}", quoted(name), storage::column_type(*kind))).collect();
    sql.push_str(&format!("CREATE TABLE {} ({}) STRICT;", quoted(name), list.join(", ")));
    if let Some((first, _)) = columns.first() {
        let index = quoted(&format!("shardd by {name}"));
        sql.push_str(&format!("CREATE INDEX {index} ON {} ({});", quoted(name), quoted(first)));
    }
}

fn names() -> impl Iterator<Item = &'static str> {
    relations().tables.keys().map(String::as_str).chain(lookups().iter().map(|lookup| lookup.name))
}

fn deletions() -> String {
    names().map(|name| format!("DELETE FROM {};", quoted(name))).collect()
}

fn removals() -> String {
    names().map(|name| format!("DROP TABLE IF EXISTS {};", quoted(name))).collect()
}
