//! What a shard's file holds besides the users' tables: whose it is, and the tables' Postgres schema.

use std::sync::Arc;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension};

use super::shared::Shared;
use super::{Opening, ShardFile};
use crate::error::{Error, Fault, Result, SqlState};
use crate::topology::{Schema, Table};

/// The layout of shardd's own tables, and of the users' values in SQLite's cells.
const FORMAT: &str = "1";

const BOOKKEEPING: &str = "
    CREATE TABLE IF NOT EXISTS shardd_meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS shardd_table (name TEXT PRIMARY KEY, definition TEXT NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS shardd_sequence (
        table_name TEXT NOT NULL, column_name TEXT NOT NULL, next INTEGER NOT NULL, step INTEGER NOT NULL,
        PRIMARY KEY (table_name, column_name)) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS shardd_applied (gid TEXT PRIMARY KEY, at INTEGER NOT NULL) STRICT, WITHOUT ROWID;
";

/// Refuses somebody else's database before it is opened to be written: even setting it up would change it.
pub(super) fn recognise(opening: &Opening) -> Result<()> {
    // What cannot be read is found out, and told, when it is opened for good.
    let Ok(connection) = Connection::open_with_flags(&opening.path, OpenFlags::SQLITE_OPEN_READ_WRITE) else {
        return Ok(());
    };
    // Nor is a log moved into it that may not be its own.
    let _ = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
    let tables = "SELECT count(*), count(*) FILTER (WHERE name = 'shardd_meta') FROM sqlite_schema";
    match connection.query_row(tables, [], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))) {
        Ok((others, 0)) if others > 0 => Err(not_ours(opening)),
        _ => Ok(()),
    }
}

fn not_ours(opening: &Opening) -> Error {
    foreign(opening, "it holds tables that shardd did not make".to_owned())
}

/// Makes a new file this cluster's shard, or checks that it is. Nothing is written to a file that is not.
pub(super) fn claim(connection: &Connection, opening: &Opening) -> Result<(), Claim> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    claim_or_refuse(connection, opening)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
    Ok(())
}

fn claim_or_refuse(connection: &Connection, opening: &Opening) -> Result<(), Claim> {
    let number = opening.id.to_string();
    let known: bool =
        connection.query_row("SELECT count(*) FROM sqlite_schema WHERE name = 'shardd_meta'", [], |row| row.get(0))?;
    if !known {
        let others: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        if others > 0 {
            return Err(Claim::Refused(not_ours(opening)));
        }
        if opening.file == ShardFile::Known {
            return Err(Claim::Refused(foreign(opening, "it is empty, and the shard was not".to_owned())));
        }
        let transaction = connection.unchecked_transaction()?;
        transaction.execute_batch(BOOKKEEPING)?;
        transaction.execute_batch(super::guard::TABLE)?;
        for (key, value) in [("format", FORMAT), ("cluster", &opening.cluster), ("shard", &number)] {
            transaction.execute("INSERT INTO shardd_meta (key, value) VALUES (?1, ?2)", (key, value))?;
        }
        transaction.commit()?;
        return Ok(());
    }
    let wanted = [
        ("format", FORMAT, "it was written in format"),
        ("cluster", &opening.cluster, "it belongs to the cluster"),
        ("shard", &number, "it belongs to the shard with number"),
    ];
    for (key, value, what) in wanted {
        let found: Option<String> =
            connection.query_row("SELECT value FROM shardd_meta WHERE key = ?1", [key], |row| row.get(0)).optional()?;
        if found.as_deref() != Some(value) {
            let found = found.unwrap_or_else(|| "(none)".to_owned());
            return Err(Claim::Refused(foreign(opening, format!("{what} {found}, not {value}"))));
        }
    }
    // A file of before there were guards has none.
    connection.execute_batch(super::guard::TABLE)?;
    Ok(())
}

/// Why a file was not claimed.
#[derive(Debug)]
pub(super) enum Claim {
    Refused(Error),
    Sqlite(rusqlite::Error),
}

impl Claim {
    pub(super) fn error(self, shared: &Shared) -> Error {
        match self {
            Claim::Refused(error) => error,
            Claim::Sqlite(error) => shared.translate(&error),
        }
    }
}

impl From<rusqlite::Error> for Claim {
    fn from(error: rusqlite::Error) -> Claim {
        Claim::Sqlite(error)
    }
}

fn foreign(opening: &Opening, why: String) -> Error {
    let hint = match opening.file {
        ShardFile::MayBeNew => {
            "Check the shard's URL and the data directory. Move the file away if the shard should begin empty."
        }
        ShardFile::Known => {
            "Check the shard's URL and the data directory, or restore the file from the backup that belongs to the others."
        }
    };
    Error::new(
        SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
        format!("the file of shard \"{}\" is not its own: {why}", opening.name),
    )
    .hint(hint)
    .fault(Fault::Shard)
}

/// The statement that stores a table's definition, for a list of statements that changes the schema.
pub fn store_table_statement(table: &Table) -> Result<String> {
    let definition =
        serde_json::to_string(table).map_err(|error| Error::internal(format!("a table cannot be stored: {error}")))?;
    Ok(format!(
        "INSERT INTO shardd_table (name, definition) VALUES ({}, {}) ON CONFLICT DO UPDATE SET definition = excluded.definition",
        quoted(&table.name),
        quoted(&definition)
    ))
}

/// The statements that forget a table's definition and its sequences.
pub fn forget_table_statements(table: &str) -> [String; 2] {
    let table = quoted(table);
    [
        format!("DELETE FROM shardd_table WHERE name = {table}"),
        format!("DELETE FROM shardd_sequence WHERE table_name = {table}"),
    ]
}

pub(super) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// The stored schema.
pub(super) fn read(connection: &Connection) -> rusqlite::Result<Result<Schema>> {
    let mut schema = Schema::default();
    let mut statement = connection.prepare_cached("SELECT name, definition FROM shardd_table")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (name, definition): (String, String) = (row.get(0)?, row.get(1)?);
        match serde_json::from_str::<Table>(&definition) {
            Ok(table) => schema.tables.insert(name, Arc::new(table)),
            Err(error) => {
                return Ok(Err(Error::new(
                    SqlState::DATA_CORRUPTED,
                    format!("the stored definition of table \"{name}\" cannot be read: {error}"),
                )
                .fault(Fault::Shard)));
            }
        };
    }
    Ok(Ok(schema))
}

/// The definitions that can be read.
pub(super) fn read_lenient(connection: &Connection) -> rusqlite::Result<Schema> {
    Ok(read(connection)?.unwrap_or_default())
}
