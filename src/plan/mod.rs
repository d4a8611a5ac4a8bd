//! What to do with one statement. Pure: a tree and a schema in, a plan out.
//!
//! A [`Plan`] is cached with the statement's text and holds no values; [`Route::shards`] turns it into shards when the
//! parameters are known, with one topology snapshot. Keys come only from predicates that every result row must satisfy.

mod across;
mod aggregate;
mod analysis;
mod assigned;
mod canonical;
mod column_name;
mod copy;
mod explain;
mod from;
mod functions;
mod gather;
mod graph;
mod insert;
mod join;
mod key;
mod merge_into;
mod own_rows;
mod place;
mod predicate;
mod query;
mod read;
mod route;
mod row_by_row;
mod row_count;
mod row_locks;
mod scatter;
mod scope;
mod set_operation;
mod shape;
mod spoiled;
mod straight;
mod subquery;
mod system_relation;
mod table;
mod with;
mod write;

use std::sync::Arc;

pub use across::{Across, InsertAcross, MergeAcross, Move};
pub use aggregate::Aggregate;
pub use assigned::AssignedKey;
pub use copy::{Copy, CopyIn, Copying};
pub use explain::{Explanation, PlanKind, explain, explain_error};
pub use functions::is_known_aggregate;
pub use gather::{Brought, brought};
pub use insert::is_default;
pub use key::KeyExpression;
pub use own_rows::{OwnRows, own_rows};
pub use read::writes_within;
pub use route::{Keys, Pin, Route, Slots, Targets};
pub use row_by_row::{Found, RowByRow, Tail};
pub use scatter::{collated_by_bytes, orders_by_bytes};
pub use spoiled::{has_unlike_columns, spoiled};
pub use straight::Straight;

use crate::error::{Error, Result, SqlState};
pub use crate::sql::{AdvisoryLock, Concurrent, Discard, Isolation, Local, SequenceCall};
use crate::sql::{Parsed, Tree, ast, with_deep_stack};
use crate::topology::{Keyspace, Schema};
use crate::types::{Datum, Key, KeyType};

/// What to do with one statement.
#[derive(Debug)]
pub enum Plan {
    /// A SELECT (or VALUES, TABLE, WITH ... SELECT).
    Read(Box<Read>),
    /// INSERT ... VALUES into a sharded table: rows are split by the shard of their key.
    Insert(Box<Insert>),
    /// UPDATE, DELETE, MERGE, or INSERT ... SELECT: the statement runs as it is on every shard of its route.
    Write(Box<Write>),
    /// A write to a reference table: run on one shard, its effect copied to all.
    WriteReference(Box<ReferenceWrite>),
    /// A change of the schema: on every shard of the keyspace.
    Ddl(Box<ast::Statement>),
    /// COPY from or to the client.
    Copy(Box<Copy>),
    /// Answered by the session itself.
    Local(Box<Local>),
}

impl Plan {
    /// Whether it is EXECUTE: what the statement does is another's to say.
    pub(crate) fn is_execute(&self) -> bool {
        matches!(self, Plan::Local(local) if matches!(**local, Local::Execute { .. }))
    }

    /// Whether it may see rows of tables, and is no statement about another one: EXECUTE's has a plan of its own.
    pub(crate) fn may_read_rows(&self) -> bool {
        let Plan::Local(local) = self else { return true };
        matches!(
            **local,
            Local::Declare { .. } | Local::Explain { .. } | Local::OnKeyShard { .. } | Local::OnTemporaryTables { .. }
        )
    }
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
    /// No one shard may be taken to hold what it reads, however few there are.
    pub mixes_keyspaces: bool,
    pub source: ReadSource,
    /// The tables named, each once.
    pub tables: Vec<String>,
}

/// Where a read finds its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadSource {
    /// In tables, on shards.
    Shards,
    /// No table is named at all: needs no shard.
    Nowhere,
    /// In the system catalog, which needs no shard either.
    SystemCatalog,
}

#[derive(Debug)]
pub struct Write {
    pub route: Route,
    pub statement: ast::Statement,
    pub returning: bool,
    /// Whether it may run on several shards, each writing its own rows, or why not.
    pub several: Result<(), Error>,
    /// How it is done where that has a reason, if it can be.
    pub across: Option<Across>,
    /// No one shard may be taken to hold what it reads, however few there are.
    pub mixes_keyspaces: bool,
    /// Its table has a copy on every shard.
    pub to_reference: bool,
    /// The tables named, each once.
    pub tables: Vec<String>,
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
    key_type: KeyType,
    key_column: String,
    /// Of a `varchar(n)` key: how many characters are kept when only blanks are cut.
    key_length: Option<usize>,
    deep: bool,
}

impl Insert {
    /// The statement with only these rows (indexes into `row_keys`) of its VALUES.
    pub fn part(&self, rows: &[usize]) -> ast::Statement {
        with_deep_stack(self.deep, || {
            let mut statement = self.statement.clone();
            if let ast::Statement::Insert(insert) = &mut statement
                && let Some(ast::SetExpr::Values(values)) = insert.source.as_mut().map(|query| &mut *query.body)
            {
                let mut all: Vec<_> = std::mem::take(&mut values.rows).into_iter().map(Some).collect();
                values.rows = rows.iter().filter_map(|row| all.get_mut(*row)?.take()).collect();
            }
            statement
        })
    }

    /// The key of a row, as the table will hold it.
    ///
    /// # Errors
    /// 23502 for NULL, 22P02, 22003 or 42804 for a value that cannot be assigned to the key column.
    pub fn row_key(&self, row: usize, parameters: &[Datum]) -> Result<Key> {
        let expression = self
            .row_keys
            .get(row)
            .ok_or_else(|| Error::internal(format!("INSERT has no row {row} to find a shard for")))?;
        let key = expression
            .row_key(self.key_type, parameters)?
            .ok_or_else(|| null_key_error(&self.table, &self.key_column))?;
        Ok(match (key, self.key_length) {
            (Key::Text(text), Some(length)) => Key::Text(cut_blanks(text, length)),
            (key, _) => key,
        })
    }
}

/// Of a `varchar(n)` key: how many characters are kept when only blanks are cut.
fn key_length(table: &crate::topology::Table) -> Option<usize> {
    let column = table.key_column().and_then(|number| table.columns.get(number))?;
    let is_text = matches!(table.kind, crate::topology::TableKind::Sharded { key_type: KeyType::Text, .. });
    usize::try_from(column.modifier.checked_sub(4).filter(|_| is_text)?).ok()
}

/// `varchar(n)` drops blanks past its length; anything else there is an error of the shard's.
fn cut_blanks(text: Box<str>, length: usize) -> Box<str> {
    match text.char_indices().nth(length) {
        Some((end, _)) if text[end..].bytes().all(|byte| byte == b' ') => text[..end].into(),
        _ => text,
    }
}

fn null_key_error(table: &str, column: &str) -> Error {
    Error::new(
        SqlState::NOT_NULL_VIOLATION,
        format!("null value in column \"{column}\" of relation \"{table}\" violates not-null constraint"),
    )
    .detail("The column is the sharding key: every row needs one.")
    .table(table)
    .column(column)
}

/// How a read of several shards is put together.
#[derive(Debug)]
pub enum Scatter {
    /// Rows are merged as they stream.
    Merge { statement: ast::Statement, merge: Merge },
    /// Shards aggregate; their partial rows become the table [`Aggregate::PARTIAL`], over which a finishing statement runs.
    Aggregate(Aggregate),
}

impl Scatter {
    /// What each shard runs.
    pub fn statement(&self) -> &ast::Statement {
        match self {
            Scatter::Merge { statement, .. } => statement,
            Scatter::Aggregate(aggregate) => &aggregate.statement,
        }
    }

    /// Whether values are read when rows are put together, and not only passed on.
    pub fn reads_values(&self) -> bool {
        match self {
            Scatter::Merge { merge, .. } => !merge.order.is_empty() || merge.distinct != Distinct::No,
            Scatter::Aggregate(_) => true,
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Merge {
    /// The shards' statement returns the client's columns first, then those added for ordering, which are cut off.
    pub hidden_columns: usize,
    pub order: Vec<SortKey>,
    pub distinct: Distinct,
    pub limit: Option<RowCount>,
    pub offset: Option<RowCount>,
}

impl Merge {
    /// Whether nothing is done with the rows but to pass them on.
    pub fn is_rows_as_they_come(&self) -> bool {
        self.hidden_columns == 0
            && self.order.is_empty()
            && self.distinct == Distinct::No
            && self.limit.is_none()
            && self.offset.is_none()
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct SortKey {
    /// A column of the shards' statement, from 0.
    pub column: usize,
    pub descending: bool,
    pub nulls_first: bool,
    /// Text is ordered by its bytes here, whatever the database does by itself: `ORDER BY name COLLATE "C"`.
    pub by_bytes: bool,
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
    /// A negative one is an error when the statement runs.
    Constant(i64),
    /// `$n`, from 1. NULL means no limit.
    Parameter(usize),
    /// `-$n`: what LIMIT -1 is once its literal was lifted.
    NegatedParameter(usize),
}

/// Decides what to do with a statement.
///
/// # Errors
/// 0A000 with a hint for what shardd refuses wherever it would run; 42P01 for a table that does not exist.
pub fn plan(statement: &Parsed, schema: &Schema, keyspaces: &[Arc<Keyspace>]) -> Result<Plan> {
    let tree = match &statement.tree {
        Tree::Local(Local::Copy(copy)) => {
            return copy::plan(copy, statement.client_parameters, schema).map(|copy| Plan::Copy(Box::new(copy)));
        }
        Tree::Local(local) => return Ok(Plan::Local(Box::new(local.clone()))),
        Tree::Sql(tree) => tree,
    };
    let planned =
        with_deep_stack(statement.deep, || plan_sql(tree, analysis::Analysis::new(statement, schema, keyspaces)))?;
    match (&statement.hidden, planned) {
        (Some(hidden), Plan::Write(write)) if hidden.is_random => {
            Ok(Plan::Write(Box::new(Write { several: Err(hidden.refusal.clone()), across: None, ..*write })))
        }
        (Some(hidden), Plan::Ddl(tree)) if hidden.is_random && makes_rows(&tree) => Err(hidden.refusal.clone()),
        (_, planned) => Ok(planned),
    }
}

/// CREATE TABLE ... AS
fn makes_rows(tree: &ast::Statement) -> bool {
    matches!(tree, ast::Statement::CreateTable(ast::CreateTable { query: Some(_), .. }))
}

fn plan_sql(tree: &ast::Statement, analysis: analysis::Analysis<'_>) -> Result<Plan> {
    match tree {
        ast::Statement::Query(query) => {
            if let Some(local) = read::local_call(query)? {
                return Ok(Plan::Local(Box::new(local)));
            }
            if let Some(call) = crate::sql::sequence_call(query) {
                return Ok(Plan::Local(Box::new(Local::Sequence(call))));
            }
            functions::refuse_forbidden(tree, analysis.text)?;
            read::plan(analysis, query)
        }
        ast::Statement::Insert(_)
        | ast::Statement::Update(_)
        | ast::Statement::Delete(_)
        | ast::Statement::Merge(_) => {
            functions::refuse_forbidden(tree, analysis.text)?;
            write::plan(analysis, tree)
        }
        ast::Statement::Truncate(truncate) => {
            write::check_truncate(analysis, truncate)?;
            Ok(Plan::Ddl(Box::new(tree.clone())))
        }
        ast::Statement::CreateTable(_)
        | ast::Statement::CreateIndex(_)
        | ast::Statement::CreateView(_)
        | ast::Statement::CreateSchema { .. }
        | ast::Statement::CreateSequence { .. }
        | ast::Statement::CreateExtension(_)
        | ast::Statement::CreateType { .. }
        | ast::Statement::CreateDomain(_)
        | ast::Statement::AlterTable(_)
        | ast::Statement::AlterIndex { .. }
        | ast::Statement::AlterType(_)
        | ast::Statement::AlterView { .. }
        | ast::Statement::Drop { .. }
        | ast::Statement::DropExtension(_)
        | ast::Statement::DropDomain(_)
        | ast::Statement::Comment { .. } => Ok(Plan::Ddl(Box::new(tree.clone()))),
        other => Err(refused(other)),
    }
}

/// Whether a statement calls a function whose answer differs from call to call.
pub fn calls_volatile(statement: &ast::Statement) -> bool {
    functions::volatile(statement).is_some()
}

/// Whether a statement asks for its transaction's time.
pub fn calls_clock(statement: &ast::Statement) -> bool {
    functions::transaction_time(statement)
}

fn refused(statement: &ast::Statement) -> Error {
    let text = statement.to_string();
    let words: Vec<&str> = text.split_whitespace().take(2).collect();
    Error::unsupported(words.join(" "), "Run it on each shard directly, if it is needed there.")
}

#[cfg(test)]
mod tests;
