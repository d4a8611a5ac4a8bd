//! The schema of a Postgres shard: read from its catalog, compared with the other shards', and judged.
//!
//! Pure: there is no connection here. Whoever has one runs [`BEGIN`], [`CATALOG`] and [`END`], gives the row to
//! [`ShardSchema::read`], and may then run [`ShardSchema::positions_query`]. [`hash_check`] is for a shard that joins, [`copy`] for one that is
//! empty.
//!
//! What is served is the tables of the schema `public`. Everything else that can be named in FROM (views, tables of other
//! schemas, partitions by themselves, ...) is known with the reason why it is refused, so that no statement is guessed at.
//!
//! <https://www.postgresql.org/docs/current/catalogs.html>

mod canonical;
mod catalog;
mod column_type;
pub mod copy;
mod diff;
mod fact;
mod guard_found;
pub mod hash_check;
mod problem;
mod refusal;
mod sequence;
mod survey;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use diff::{Difference, diff};
pub use fact::{Aspect, Fingerprint};
pub use guard_found::{Guard, GuardState, guarded};
pub use problem::Problem;
pub use sequence::Sequence;
pub use survey::survey;
pub use table::{ShardTable, UniqueIndex};

use crate::error::{Error, Fault, Result, SqlState};
pub use crate::topology::Severity;
use crate::topology::{Keyspace, Placements, Refused, Schema, Table};
use crate::types::ShardId;
use fact::Facts;

macro_rules! printed_alike {
    () => {
        "SET LOCAL search_path = ''; SET LOCAL TimeZone = 'UTC'; SET LOCAL DateStyle = 'ISO, MDY'; \
         SET LOCAL IntervalStyle = postgres; SET LOCAL extra_float_digits = 3; SET LOCAL bytea_output = hex;"
    };
}

/// Makes servers print definitions alike, whatever their settings are: names with their schemas, and constants in one form.
pub const PRINTED_ALIKE: &str = printed_alike!();

/// One transaction, so that [`CATALOG`] sees one state.
pub const BEGIN: &str = concat!("BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY; ", printed_alike!());

/// One row with one column: the whole schema as JSON. Postgres 12 to 18.
pub const CATALOG: &str = include_str!("catalog.sql");

pub const END: &str = "COMMIT";

/// The oldest version whose catalog has what is asked for.
const OLDEST_VERSION: u32 = 120_000;

/// A row of text values, as a simple query gives it.
pub type TextRow = Vec<Option<String>>;

/// What one shard's catalog says.
#[derive(Clone, Debug, PartialEq)]
pub struct ShardSchema {
    /// The shard's name.
    pub shard: String,
    /// The names of the keyspaces that the shard holds.
    pub keyspaces: BTreeSet<String>,
    pub server: Server,
    /// Without the system's and shardd's own.
    pub schemas: Vec<String>,
    /// Versions, by name.
    pub extensions: BTreeMap<String, String>,
    /// Types of the users' and of extensions, by the name that `format_type` prints: `public.mood`.
    pub types: BTreeMap<String, UserType>,
    /// By signature: `public.add(integer, integer)`. Without those of extensions.
    pub functions: BTreeMap<String, Function>,
    /// By `schema.name`, quoted where SQL needs it.
    pub sequences: BTreeMap<String, Sequence>,
    /// The tables that are served, by name: those of the shard's keyspaces.
    pub tables: BTreeMap<String, ShardTable>,
    /// What is there and not served: by name for the schema `public`, by `schema.name` for others.
    pub refused: BTreeMap<String, Refused>,
    /// Those of the refused that have lost what they were placed by.
    pub misplaced: BTreeSet<String>,
    /// Functions of guards that no table has any more, as DROP FUNCTION names them.
    pub unused_guards: Vec<String>,
    /// Everything of the schema `public` that is named as a table is, also what belongs to keyspaces of other shards.
    pub relations: BTreeSet<String>,
    /// The tables whose kind was changed.
    pub placements: Placements,
}

/// The server and the database as a whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Server {
    /// `server_version_num`: 150018 for 15.18.
    pub version: u32,
    pub encoding: String,
    pub max_prepared_transactions: u32,
    pub wal_level: String,
    pub integer_datetimes: bool,
    /// It follows another server and takes no writes.
    pub in_recovery: bool,
    /// How the database orders text, in words that differ where the order may.
    pub collation: String,
    /// Text without a COLLATE is ordered by its bytes.
    pub text_order_is_c: bool,
    /// What `upper`, `lower` and regular expressions go by.
    pub character_type: String,
    /// Settings that change answers.
    pub settings: BTreeMap<String, String>,
}

/// A type that is not built in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserType {
    pub oid: u32,
    /// The oid of its array type.
    pub array_oid: Option<u32>,
    /// `an enum`, `a domain`, ...
    pub kind: &'static str,
    /// An enum's labels in order, a domain's type and constraints, a composite's columns, a range's subtype.
    pub definition: String,
    pub extension: Option<String>,
}

/// A function or procedure of the users'.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// `prokind`: f, p, a, w.
    pub kind: char,
    /// `provolatile`: i, s, v.
    pub volatility: char,
    pub result: Option<String>,
    /// The md5 of its definition; none for aggregates.
    pub definition: Option<String>,
}

impl ShardSchema {
    /// The schema from the rows of [`CATALOG`]. `keyspaces` are all that there are, those of other shards too.
    ///
    /// # Errors
    /// 08P01 or 55000, the shard's fault: the rows are not those of the query, or the search path was not empty. 0A000: the
    /// server is too old.
    pub fn read(id: ShardId, shard: &str, rows: &[TextRow], keyspaces: &[Arc<Keyspace>]) -> Result<ShardSchema> {
        let [row] = rows else { return Err(strange(shard, format_args!("{} rows instead of one", rows.len()))) };
        let [Some(text)] = row.as_slice() else { return Err(strange(shard, "no JSON document")) };
        let document: catalog::Document =
            serde_json::from_str(&canonical::canonical(text)).map_err(|error| strange(shard, error))?;
        if !matches!(document.search_path.as_str(), "" | "\"\"") {
            return Err(Error::internal(format!(
                "the catalog of shard \"{shard}\" was read with the search path {}: it must be empty",
                document.search_path
            )));
        }
        if document.server.version < OLDEST_VERSION {
            let message = format!(
                "shard \"{shard}\" runs Postgres {}.{}, which is older than 12",
                document.server.version / 10_000,
                document.server.version % 10_000
            );
            let hint = "Upgrade the server: shardd serves Postgres 12 and later.";
            return Err(Error::new(SqlState::FEATURE_NOT_SUPPORTED, message).hint(hint).fault(Fault::Shard));
        }
        let placements = match document.placements.as_deref().and_then(Placements::read) {
            None => Placements::default(),
            Some(read) => read.map_err(|error| {
                let message = format!("the comment on schema shardd of shard \"{shard}\" is not what shardd wrote: {error}");
                Error::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, message)
                    .hint("It says which tables were made another kind: give it the text that it has on the other shards.")
                    .fault(Fault::Shard)
            })?,
        };
        Ok(table::assemble((id, shard), document, keyspaces, placements))
    }

    /// The schema that statements are planned by: the tables of all shards, each as the first that has it says. What is a
    /// table on one and cannot be planned on another is refused.
    pub fn combine<'s>(shards: impl IntoIterator<Item = &'s ShardSchema>) -> Schema {
        let mut schema = Schema::default();
        for shard in shards {
            for (name, table) in &shard.tables {
                // Each shard has OIDs of its own.
                let table = || Arc::new(Table { oid: 0, ..Table::clone(&table.table) });
                schema.tables.entry(name.clone()).or_insert_with(table);
            }
            for (name, table) in &shard.tables {
                for sequence in table.sequences.values() {
                    schema.filled_by.entry(sequence.clone()).or_default().insert(name.clone());
                }
            }
            let fired = shard.tables.iter().filter(|(_, table)| table.fired_by_statement);
            schema.fired_by_statement.extend(fired.map(|(name, _)| name.clone()));
            for (name, refused) in &shard.refused {
                schema.refused.entry(name.clone()).or_insert_with(|| refused.clone());
            }
        }
        schema.hide_refused();
        schema
    }

    /// What is to be compared between shards, of everything but the tables.
    pub(crate) fn facts(&self) -> Facts {
        fact::of_database(self)
    }
}

fn strange(shard: &str, what: impl std::fmt::Display) -> Error {
    Error::new(
        SqlState::PROTOCOL_VIOLATION,
        format!("shard \"{shard}\" answered the query for its schema with something else: {what}"),
    )
    .hint("Is it a Postgres server of version 12 to 18? If so, this is a defect in shardd: please report it.")
    .fault(Fault::Shard)
}

/// A name as a message shows it: as it is, in double quotes.
fn quoted(name: &str) -> String {
    format!("\"{name}\"")
}

#[cfg(test)]
mod tests;
