//! Changes of the schema: what it becomes, and what every shard runs for it.
//!
//! SQLite's tables are written anew from [`Table`] whenever its own ALTER TABLE cannot do a change, so that there is one
//! place that says how a table of Postgres's lies in SQLite (`sqlite_table`).

mod add_constraint;
mod alter;
mod alter_column;
mod column;
mod constraint_name;
mod create_index;
mod create_table;
mod drop;
mod placement;
mod rebuild;
mod rename;
mod sqlite_table;
mod text;
mod whole;

use std::collections::BTreeSet;
use std::sync::Arc;

pub use whole::{create_all, drop_all};

use super::names::QualifiedName;
use super::{ParameterTypes, Translator, refusal};
use crate::error::{Error, Result, SqlState};
use crate::shard::sqlite::store_table_statement;
use crate::sql::ast;
use crate::topology::{KV_TABLES, Keyspace, Schema, Table};

/// A change of the schema.
#[derive(Debug)]
pub struct SchemaChange {
    /// The command tag: `CREATE TABLE`, ...
    pub tag: &'static str,
    /// The schema after the change.
    pub schema: Schema,
    /// SQLite's statements, to run in order in one transaction on every shard, with foreign keys checked at its end. They
    /// keep `shardd_table` and `shardd_sequence` up to date too. Empty when there is nothing to do.
    pub statements: Vec<String>,
    /// Tables that are written anew, which takes their triggers away.
    pub rebuilt: BTreeSet<String>,
    /// What to tell the client besides (`relation "x" already exists, skipping`).
    pub notices: Vec<Error>,
}

/// What a statement makes of the schema. `now` is the transaction's time in microseconds since 2000-01-01 UTC, which
/// `ADD COLUMN ... DEFAULT now()` fills rows with.
///
/// # Errors
/// Postgres's own for what Postgres refuses; 0A000 for what cannot be held on shards or is not done.
pub fn change(
    statement: &ast::Statement,
    schema: &Schema,
    keyspaces: &[Arc<Keyspace>],
    now: i64,
) -> Result<SchemaChange> {
    let mut change = Change {
        schema: schema.clone(),
        keyspaces,
        now,
        statements: Vec::new(),
        rebuilt: BTreeSet::new(),
        notices: Vec::new(),
    };
    let tag = match statement {
        ast::Statement::CreateTable(create) => change.create_table(create)?,
        ast::Statement::CreateIndex(create) => change.create_index(create)?,
        ast::Statement::AlterTable(alter) => change.alter_table(alter)?,
        ast::Statement::AlterIndex { name, operation } => change.alter_index(name, operation)?,
        ast::Statement::Drop { object_type: ast::ObjectType::Table, if_exists, names, cascade, .. } => {
            change.drop_tables(names, *if_exists, *cascade)?
        }
        ast::Statement::Drop { object_type: ast::ObjectType::Index, if_exists, names, .. } => {
            change.drop_indexes(names, *if_exists)?
        }
        ast::Statement::Truncate(truncate) => change.truncate(truncate)?,
        ast::Statement::Comment { object_type, object_name, .. } => change.comment(*object_type, object_name)?,
        other => return Err(unsupported(other)),
    };
    let Change { schema, statements, rebuilt, notices, .. } = change;
    Ok(SchemaChange { tag, schema, statements, rebuilt, notices })
}

fn unsupported(statement: &ast::Statement) -> Error {
    match statement {
        ast::Statement::CreateSequence { .. } => refusal::SEQUENCES.error(),
        ast::Statement::Drop { object_type: ast::ObjectType::Sequence, .. } => refusal::SEQUENCES.error(),
        other => Error::unsupported(
            super::first_words(other),
            "Tables and indexes can be created, altered and dropped; docs/sql.md lists what is done.",
        ),
    }
}

/// A change while it is put together.
struct Change<'k> {
    schema: Schema,
    keyspaces: &'k [Arc<Keyspace>],
    now: i64,
    statements: Vec<String>,
    rebuilt: BTreeSet<String>,
    notices: Vec<Error>,
}

impl Change<'_> {
    /// COMMENT ON: comments are not kept, but must be of something.
    fn comment(&self, object: ast::CommentObject, name: &ast::ObjectName) -> Result<&'static str> {
        match object {
            ast::CommentObject::Table => {
                self.table(&QualifiedName::new(name)?)?;
            }
            ast::CommentObject::Column => {
                let Some(((ast::ObjectNamePart::Identifier(column), table), true)) =
                    name.0.split_last().map(|(column, table)| ((column, table), !table.is_empty()))
                else {
                    return Err(Error::new(SqlState::SYNTAX_ERROR, "column name must be qualified"));
                };
                let table = self.table(&QualifiedName::new(&ast::ObjectName(table.to_vec()))?)?;
                let column = super::names::fold(column);
                if table.columns.iter().all(|known| known.name != column) {
                    let message = format!("column \"{column}\" of relation \"{}\" does not exist", table.name);
                    return Err(Error::new(SqlState::UNDEFINED_COLUMN, message));
                }
            }
            _ => {}
        }
        Ok("COMMENT")
    }

    /// The table that a statement names.
    ///
    /// # Errors
    /// 42P01; 42809 when it is an index.
    fn table(&self, name: &QualifiedName) -> Result<Arc<Table>> {
        if name.is_public() {
            if let Some(table) = self.schema.table(&name.name) {
                return Ok(Arc::clone(table));
            }
            if self.index_owner(&name.name).is_some() {
                let message = format!("\"{}\" is not a table", name.name);
                return Err(Error::new(SqlState::WRONG_OBJECT_TYPE, message));
            }
        }
        Err(Error::new(SqlState::UNDEFINED_TABLE, format!("relation \"{}\" does not exist", name.display())))
    }

    /// The table that an index of this name is on.
    fn index_owner(&self, name: &str) -> Option<&Arc<Table>> {
        self.schema.tables.values().find(|table| table.indexes.iter().any(|index| index.name == name))
    }

    /// Whether a table, an index or a unique constraint has the name: Postgres keeps them in one namespace.
    fn relation_exists(&self, name: &str) -> bool {
        self.schema.tables.contains_key(name)
            || self.schema.tables.values().any(|table| {
                table.indexes.iter().any(|index| index.name == name)
                    || table.primary_key.iter().chain(&table.unique_keys).any(|key| key.name == name)
            })
    }

    /// Puts a table's new definition in the schema and in the statements.
    fn store(&mut self, table: Table) -> Result<()> {
        self.statements.push(store_table_statement(&table)?);
        self.schema.tables.insert(table.name.clone(), Arc::new(table));
        Ok(())
    }

    /// The number of the next table.
    fn next_oid(&self) -> u32 {
        self.schema.tables.values().map(|table| table.oid + 1).max().unwrap_or(FIRST_OID).max(FIRST_OID)
    }

    fn notice(&mut self, sqlstate: SqlState, message: String) {
        self.notices.push(Error::new(sqlstate, message));
    }
}

/// The first number that Postgres gives to a user's object.
const FIRST_OID: u32 = 16_384;

/// A translator for expressions that stand in the schema: there is no client, and nothing to bind.
fn schema_translator(schema: &Schema) -> Translator<'_> {
    Translator::new(
        schema,
        ParameterTypes { declared: &[], client_parameters: 0, lifted: &[], text: "", overriding: None },
    )
}

/// A name for a new relation.
///
/// # Errors
/// 3F000: not in the one schema that there is. 42602 or 0A000: a name that shardd or SQLite keeps for itself.
fn new_name(name: &ast::ObjectName) -> Result<QualifiedName> {
    let name = QualifiedName::new(name)?;
    if let Some(schema) = name.schema.as_deref().filter(|schema| *schema != "public") {
        return Err(Error::new(SqlState::INVALID_SCHEMA_NAME, format!("schema \"{schema}\" does not exist"))
            .hint("shardd has one schema, public."));
    }
    // The HTTP door's tables are ordinary ones, made through here when the server starts.
    if !KV_TABLES.contains(&name.name.as_str()) {
        check_name(&name.name)?;
    }
    Ok(name)
}

/// # Errors
/// 0A000: a name that shardd or SQLite keeps for itself.
fn check_name(name: &str) -> Result<()> {
    let lower = name.to_ascii_lowercase();
    match ["shardd_", "sqlite_"].into_iter().find(|prefix| lower.starts_with(prefix)) {
        Some(prefix) => Err(Error::unsupported(
            format_args!("the name \"{name}\""),
            format!("Names that begin with {prefix} are kept for the store's own tables. Use another name."),
        )),
        None => Ok(()),
    }
}
