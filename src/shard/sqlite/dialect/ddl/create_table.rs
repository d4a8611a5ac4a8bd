//! CREATE TABLE.

use super::super::refusal;
use super::sqlite_table::create_statement;
use super::{Change, column, new_name};
use crate::error::{Error, Result, SqlState};
use crate::sql::ast;
use crate::topology::{Column, Table};

/// The most columns that a table of Postgres's has.
const MAX_COLUMNS: usize = 1_600;

impl Change<'_> {
    pub(super) fn create_table(&mut self, create: &ast::CreateTable) -> Result<&'static str> {
        check_supported(create)?;
        let name = new_name(&create.name)?.name;
        if self.relation_exists(&name) {
            if create.if_not_exists {
                self.notice(SqlState::DUPLICATE_TABLE, format!("relation \"{name}\" already exists, skipping"));
                return Ok("CREATE TABLE");
            }
            return Err(Error::new(SqlState::DUPLICATE_TABLE, format!("relation \"{name}\" already exists")));
        }
        self.check_case(&name)?;
        let definitions = create
            .columns
            .iter()
            .map(|written| column::read(written, &name, &self.schema))
            .collect::<Result<Vec<_>>>()?;
        let mut columns: Vec<Column> = Vec::with_capacity(definitions.len());
        for definition in &definitions {
            add_column(&mut columns, definition.column.clone())?;
        }
        if columns.is_empty() {
            return Err(Error::unsupported("a table without columns", "Give the table a column."));
        }
        let (keyspace, kind) = self.place(&name, &mut columns)?;
        let mut table = Table {
            oid: self.next_oid(),
            name,
            keyspace,
            kind,
            columns,
            primary_key: None,
            unique_keys: Vec::new(),
            checks: Vec::new(),
            foreign_keys: Vec::new(),
            indexes: Vec::new(),
        };
        self.add_constraints(&mut table, &definitions, &create.constraints)?;
        self.statements.push(create_statement(&table, &self.schema, &table.name)?);
        self.store(table)?;
        Ok("CREATE TABLE")
    }

    /// SQLite does not tell the case of names apart.
    pub(super) fn check_case(&self, name: &str) -> Result<()> {
        let indexes = self.schema.tables.values().flat_map(|table| table.indexes.iter().map(|index| &index.name));
        let mut names = self.schema.tables.keys().chain(indexes);
        match names.find(|known| known.eq_ignore_ascii_case(name)) {
            Some(known) => Err(Error::unsupported(
                format_args!("a name that differs from \"{known}\" in case only"),
                "Use another name.",
            )),
            None => Ok(()),
        }
    }
}

/// Adds a column.
///
/// # Errors
/// 42701, 54011; 0A000 for names that differ in case only.
pub(super) fn add_column(columns: &mut Vec<Column>, column: Column) -> Result<()> {
    if columns.iter().any(|known| known.name == column.name) {
        let message = format!("column \"{}\" specified more than once", column.name);
        return Err(Error::new(SqlState::DUPLICATE_COLUMN, message));
    }
    if let Some(known) = columns.iter().find(|known| known.name.eq_ignore_ascii_case(&column.name)) {
        return Err(Error::unsupported(
            format_args!("a column whose name differs from \"{}\" in case only", known.name),
            "Use another name.",
        ));
    }
    if columns.len() >= MAX_COLUMNS {
        let message = format!("tables can have at most {MAX_COLUMNS} columns");
        return Err(Error::new(SqlState::TOO_MANY_COLUMNS, message));
    }
    columns.push(column);
    Ok(())
}

fn check_supported(create: &ast::CreateTable) -> Result<()> {
    if create.temporary {
        return Err(refusal::TEMPORARY_TABLES.error());
    }
    if create.inherits.is_some() {
        return Err(refusal::INHERITANCE.error());
    }
    if create.partition_by.is_some() || create.partition_of.is_some() {
        return Err(refusal::PARTITIONS.error());
    }
    if create.query.is_some() {
        return Err(refusal::CREATE_TABLE_AS.error());
    }
    if create.like.is_some() {
        return Err(refusal::CREATE_TABLE_LIKE.error());
    }
    let foreign = create.or_replace || create.external || create.transient || create.volatile || create.clone.is_some();
    if foreign {
        Err(Error::new(SqlState::SYNTAX_ERROR, "a form of CREATE TABLE that is not Postgres's"))
    } else {
        Ok(())
    }
}
