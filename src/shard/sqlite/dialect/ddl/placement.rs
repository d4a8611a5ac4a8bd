//! Where a table lives: sharded by its keyspace's key, or a full copy on every shard.

use super::Change;
use crate::error::{Error, Result, SqlState};
use crate::topology::{self, Column, Table, TableKind, UniqueKey};
use crate::types::PgType;

impl Change<'_> {
    /// The keyspace and kind of a new table.
    pub(super) fn place(&mut self, table: &str, columns: &mut [Column]) -> Result<(String, TableKind)> {
        let Some(placement) = topology::place(table, columns, self.keyspaces) else {
            return Err(Error::internal("there is no keyspace to put a table in"));
        };
        for (keyspace, column) in &placement.mistyped {
            let column = &columns[*column];
            let message = format!(
                "table \"{table}\" has the key column \"{}\" of keyspace \"{}\", but of type {}: it becomes a reference \
                 table, with a full copy on every shard",
                column.name, keyspace.name, column.data_type
            );
            self.notice(SqlState::DATATYPE_MISMATCH, message);
        }
        if let TableKind::Sharded { key_column, .. } = placement.kind {
            // NULL is no key.
            columns[key_column].not_null = true;
        }
        Ok((placement.keyspace.name.clone(), placement.kind))
    }
}

/// Uniqueness can be held within one shard only: a unique key of a sharded table includes the key column.
///
/// # Errors
/// 0A000, with the reason. `what` names the constraint: `PRIMARY KEY`, `UNIQUE`.
pub(super) fn check_unique(table: &Table, columns: &[usize], what: &str) -> Result<()> {
    let Some(key) = table.key_column() else { return Ok(()) };
    if columns.contains(&key) {
        return Ok(());
    }
    let key = &table.columns[key].name;
    let listed: Vec<&str> =
        std::iter::once(key.as_str()).chain(columns.iter().map(|index| table.columns[*index].name.as_str())).collect();
    Err(Error::unsupported(
        format_args!("{what} on table \"{}\" without the key column \"{key}\"", table.name),
        format!("Include the key column: {what} ({}).", listed.join(", ")),
    )
    .detail("Rows with different keys live on different shards, and uniqueness can only be held within one shard.")
    .table(table.name.clone()))
}

/// Values whose equality in SQLite is not Postgres's cannot be held unique.
///
/// # Errors
/// 42704 or 0A000.
pub(super) fn check_keyable(column: &Column) -> Result<()> {
    match column.data_type {
        PgType::Json => Err(Error::new(
            SqlState::UNDEFINED_OBJECT,
            "data type json has no default operator class for access method \"btree\"",
        )
        .hint(
            "You must specify an operator class for the index or define a default operator class for the data type.",
        )),
        PgType::Interval | PgType::Jsonb => Err(Error::unsupported(
            format_args!("a unique or primary key on a column of type {}", column.data_type),
            "Use a column of another type.",
        )),
        _ => Ok(()),
    }
}

/// A key of these columns.
pub(super) fn unique_key(name: String, columns: Vec<usize>) -> UniqueKey {
    UniqueKey { name, columns }
}
