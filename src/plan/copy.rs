//! COPY: which rows go where, and the query whose rows come back.

use std::sync::Arc;

use super::insert::{missing_key, null_key};
use crate::copying::{Columns, Style};
use crate::error::{Error, Result, SqlState};
use crate::sql::{self, CopyWay, ast, quote_identifier};
use crate::topology::{Schema, Table, TableKind};
use crate::types::{Key, KeyType, PgType};

/// A COPY from or to the client.
#[derive(Debug)]
pub struct Copy {
    pub style: Style,
    pub way: Copying,
}

#[derive(Debug)]
pub enum Copying {
    In(Box<CopyIn>),
    /// The rows of this query.
    Out {
        query: String,
    },
}

/// Rows for a table.
#[derive(Debug)]
pub struct CopyIn {
    pub table: Arc<Table>,
    /// The table's columns that the rows have (numbers from 0), in their order.
    pub columns: Vec<usize>,
    /// Which of `columns` is the key; `None`: every shard gets every row.
    pub key: Option<usize>,
    /// The INSERT that does with one row what this does with each.
    pub insert: ast::Statement,
    /// A query with the condition that rows have to satisfy. An error: it cannot be read here.
    pub filter: Option<Result<ast::Statement>>,
}

/// Plans a COPY.
///
/// # Errors
/// 42P01 and 42703 for what does not exist; 0A000 or 23502 for rows without their key.
pub(super) fn plan(copy: &sql::Copy, client_parameters: usize, schema: &Schema) -> Result<Copy> {
    if client_parameters > 0 {
        return Err(Error::new(SqlState::UNDEFINED_PARAMETER, "there is no parameter $1"));
    }
    let way = match &copy.way {
        CopyWay::QueryOut { query } => Copying::Out { query: query.clone() },
        CopyWay::TableOut { table: name } => {
            let table = find(name, schema)?;
            let columns = columns(&table, copy)?;
            let names: Vec<String> = columns.iter().map(|number| quoted(&table, *number)).collect();
            let name: Vec<String> = name.iter().map(|part| quote_identifier(part)).collect();
            Copying::Out { query: format!("SELECT {} FROM {}", names.join(", "), name.join(".")) }
        }
        CopyWay::In { table, filter } => {
            let table = find(table, schema)?;
            let columns = columns(&table, copy)?;
            let key = table.key_column().map(|key| columns.iter().position(|column| *column == key));
            if key == Some(None) {
                return Err(missing_key(&table));
            }
            let insert = as_insert(&table, &columns, copy.columns.is_empty())?;
            let filter = filter.as_ref().map(|filter| statement(&format!("SELECT 1 WHERE ({filter}\n)")));
            Copying::In(Box::new(CopyIn { key: key.flatten(), table, columns, insert, filter }))
        }
    };
    Ok(Copy { style: copy.style.clone(), way })
}

fn quoted(table: &Table, number: usize) -> String {
    table.columns.get(number).map_or_else(String::new, |column| quote_identifier(&column.name))
}

fn find(name: &[String], schema: &Schema) -> Result<Arc<Table>> {
    let (found, refused) = match name {
        [table] => (schema.table(table), schema.refused.get(table)),
        [space, table] if space == "public" => (schema.table(table), schema.refused.get(table)),
        parts => (None, schema.refused.get(&parts.join("."))),
    };
    found.cloned().ok_or_else(|| match refused {
        Some(refused) => Error::unsupported(&refused.what, refused.hint.clone()),
        None => {
            let name = name.join(".");
            Error::new(SqlState::UNDEFINED_TABLE, format!("relation \"{name}\" does not exist"))
        }
    })
}

/// The columns that a COPY's rows have.
fn columns(table: &Table, copy: &sql::Copy) -> Result<Vec<usize>> {
    let mut numbers = Vec::with_capacity(table.columns.len());
    for name in &copy.columns {
        let (number, column) = table.column(name).ok_or_else(|| {
            let message = format!("column \"{name}\" of relation \"{}\" does not exist", table.name);
            Error::new(SqlState::UNDEFINED_COLUMN, message)
        })?;
        if column.generated.is_some() {
            let message = format!("column \"{name}\" is a generated column");
            return Err(Error::new(SqlState::INVALID_COLUMN_REFERENCE, message)
                .detail("Generated columns cannot be used in COPY."));
        }
        if numbers.contains(&number) {
            let message = format!("column \"{name}\" specified more than once");
            return Err(Error::new(SqlState::DUPLICATE_COLUMN, message));
        }
        numbers.push(number);
    }
    if copy.columns.is_empty() {
        let computed = |number: &usize| table.columns[*number].generated.is_some();
        numbers.extend((0..table.columns.len()).filter(|number| !computed(number)));
    }
    let Style { force_quote, force_not_null, force_null, .. } = &copy.style;
    for (option, forced) in
        [("FORCE_QUOTE", force_quote), ("FORCE_NOT_NULL", force_not_null), ("FORCE_NULL", force_null)]
    {
        let Columns::Named(names) = forced else { continue };
        let stranger = |name: &&String| !numbers.iter().any(|number| table.columns[*number].name == **name);
        if let Some(name) = names.iter().find(stranger) {
            let message = format!("{option} column \"{name}\" not referenced by COPY");
            return Err(Error::new(SqlState::INVALID_COLUMN_REFERENCE, message));
        }
    }
    Ok(numbers)
}

impl CopyIn {
    pub fn names(&self) -> Vec<String> {
        self.columns.iter().map(|number| self.table.columns[*number].name.clone()).collect()
    }

    /// The key column's name.
    pub fn key_name(&self) -> &str {
        self.key.map_or("", |key| &self.table.columns[self.columns[key]].name)
    }

    /// The type of the key column, and how many characters of a `varchar(n)` are kept when only blanks are cut.
    pub fn key_type(&self) -> (KeyType, PgType, Option<usize>) {
        let TableKind::Sharded { key_column, key_type } = self.table.kind else {
            return (KeyType::Bigint, PgType::Int8, None);
        };
        let column = &self.table.columns[key_column];
        let length = (column.data_type == PgType::Varchar && column.modifier >= 4).then(|| column.modifier - 4);
        (key_type, column.data_type, length.and_then(|length| usize::try_from(length).ok()))
    }

    /// A key as the table will hold it.
    pub fn stored(&self, key: Key, length: Option<usize>) -> Key {
        match (key, length) {
            (Key::Text(text), Some(length)) => Key::Text(super::cut_blanks(text, length)),
            (key, _) => key,
        }
    }

    /// 23502: a row has no key.
    pub fn null_key(&self) -> Error {
        null_key(&self.table)
    }
}

/// The INSERT that does with one row what a COPY does with each.
fn as_insert(table: &Table, columns: &[usize], all: bool) -> Result<ast::Statement> {
    let names: Vec<String> = columns.iter().map(|number| quoted(table, *number)).collect();
    let list = if all { String::new() } else { format!(" ({})", names.join(", ")) };
    let values = vec!["NULL"; names.len()].join(", ");
    statement(&format!("INSERT INTO {}{list} VALUES ({values})", quote_identifier(&table.name)))
}

fn statement(text: &str) -> Result<ast::Statement> {
    match sql::parse(text, 0, Vec::new())?.tree {
        sql::Tree::Sql(tree) => Ok(*tree),
        sql::Tree::Local(_) => Err(Error::internal("a statement was not read as one")),
    }
}
