//! What to do with one statement. Pure: a tree and a schema in, a plan out.
//!
//! A [`Plan`] is cached with the statement's text and holds no values; [`Route::shards`] turns it into shards when the
//! parameters are known, with one topology snapshot. Keys come only from predicates that every result row must satisfy.

use crate::error::Error;
use crate::sql::ast;
pub use crate::sql::{Discard, Isolation, Local};
use crate::types::Datum;

/// What to do with one statement.
#[derive(Debug)]
pub enum Plan {
    /// A SELECT (or VALUES, TABLE, WITH ... SELECT).
    Read(Box<Read>),
    /// INSERT ... VALUES into a sharded table: rows are split by the shard of their key.
    Insert(Box<Insert>),
    /// UPDATE, DELETE, or INSERT ... SELECT of one key: the statement runs as it is on every shard of its route.
    Write(Box<Write>),
    /// A write to a reference table: run on one shard, its effect copied to all.
    WriteReference(Box<ReferenceWrite>),
    /// A change of the schema: on every shard of the keyspace.
    Ddl(Box<ast::Statement>),
    /// Answered by the session itself.
    Local(Box<Local>),
}

#[derive(Debug)]
pub struct Read {
    pub route: Route,
    /// As the client wrote it: what runs when the route comes to one shard.
    pub statement: ast::Statement,
    /// What runs when it comes to several, or why it cannot.
    pub scatter: Result<Scatter, Error>,
    /// FOR UPDATE and its kin: takes the writer's place on the shard.
    pub locks_rows: bool,
    /// No table is named at all: needs no shard.
    pub tableless: bool,
}

#[derive(Debug)]
pub struct Write {
    pub route: Route,
    pub statement: ast::Statement,
    pub returning: bool,
}

#[derive(Debug)]
pub struct ReferenceWrite {
    pub keyspace: String,
    pub table: String,
    pub statement: ast::Statement,
    pub returning: bool,
}

#[derive(Debug)]
pub struct Insert {
    pub keyspace: String,
    pub table: String,
    /// The whole statement, as the client wrote it.
    pub statement: ast::Statement,
    /// The key of each VALUES row, in order.
    pub row_keys: Vec<KeyExpression>,
    pub returning: bool,
}

impl Insert {
    /// The statement with only these rows (indexes into `row_keys`) of its VALUES.
    pub fn part(&self, _rows: &[usize]) -> ast::Statement {
        todo!()
    }
}

/// Which rows of a keyspace a statement can touch.
#[derive(Clone, Debug)]
pub struct Route {
    pub keyspace: String,
    pub keys: Keys,
}

#[derive(Clone, Debug)]
pub enum Keys {
    /// Only reference tables, or none: every shard gives the same answer.
    Any,
    /// The rows whose key is in the intersection of these unions.
    AllOf(Vec<Vec<KeyExpression>>),
    /// Rows of any key.
    Every,
}

/// A key as a statement gives it: a literal that was not lifted, or a placeholder.
#[derive(Clone, Debug, PartialEq)]
pub enum KeyExpression {
    Literal(Datum),
    /// `$n`, from 1.
    Parameter(usize),
    /// `-$n`.
    NegatedParameter(usize),
    /// `= ANY($n)`: every element.
    ArrayParameter(usize),
}

/// How a read of several shards is put together.
#[derive(Debug)]
pub enum Scatter {
    /// Rows are merged as they stream.
    Merge { statement: ast::Statement, merge: Merge },
    /// Shards aggregate; their partial rows become the table [`Aggregate::PARTIAL`], over which a finishing statement runs.
    Aggregate(Aggregate),
}

#[derive(Clone, Debug)]
pub struct Merge {
    /// The shards' statement returns the client's columns first, then those added for ordering, which are cut off.
    pub hidden_columns: usize,
    pub order: Vec<SortKey>,
    pub distinct: Distinct,
    pub limit: Option<RowCount>,
    pub offset: Option<RowCount>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct SortKey {
    /// A column of the shards' statement, from 0.
    pub column: usize,
    pub descending: bool,
    pub nulls_first: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Distinct {
    No,
    /// All the client's columns.
    Rows,
    /// DISTINCT ON: the first row for each value of these columns.
    On(Vec<usize>),
}

#[derive(Clone, Debug, PartialEq)]
pub enum RowCount {
    Constant(u64),
    /// `$n`, from 1. NULL means no limit.
    Parameter(usize),
}

#[derive(Debug)]
pub struct Aggregate {
    /// What each shard runs.
    pub statement: ast::Statement,
}

impl Aggregate {
    /// The table that the finishing statement reads; its columns are the shards' statement's.
    pub const PARTIAL: &'static str = "partial";
}
