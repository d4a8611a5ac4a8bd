//! From text to a statement that can run: lift literals, look in the cache, parse, plan, translate.
//!
//! Texts that differ only in inline values share one [`Statement`]. It belongs to one version of the schema; when a
//! newer one is published it is made again from its text.

use std::borrow::Cow;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use crate::error::{Error, Result, SqlState};
use crate::metrics::Metrics;
use crate::plan::{self, Local, Plan, ReadSource, Scatter};
use crate::shard::sqlite::Program;
use crate::shard::sqlite::dialect::{self, ParameterTypes};
use crate::shard::{OutputColumn, Tag};
use crate::sql::{self, Lifted, Literal, LiteralKind, Parsed, ast};
use crate::topology::{Keyspace, Schema};
use crate::types::{Datum, PgType, TextStyle};

/// A statement that was parsed, planned and translated. Shared by all sessions; holds no values.
#[derive(Debug)]
pub(super) struct Statement {
    pub(super) parsed: Parsed,
    /// The version of the schema that it was made for.
    pub(super) schema: Arc<Schema>,
    pub(super) plan: Plan,
    /// The whole statement for one shard; `None` when the session answers it, and for DDL.
    pub(super) program: Option<Arc<Program>>,
    /// What runs when a read comes to several shards: made when that first happens.
    scattered: OnceLock<Result<Arc<Program>>>,
    /// The types of the client's parameters, then of the lifted literals.
    pub(super) placeholders: Box<[PgType]>,
    pub(super) columns: Option<Arc<[OutputColumn]>>,
}

impl Statement {
    /// # Errors
    /// The text cannot be parsed, planned or translated.
    pub(super) fn compile(
        text: &str,
        client_parameters: usize,
        lifted: &[LiteralKind],
        declared: &[Option<PgType>],
        schema: &Arc<Schema>,
        keyspaces: &[Arc<Keyspace>],
    ) -> Result<Statement> {
        let parsed = sql::parse(text, client_parameters, lifted.to_vec())?;
        let plan = plan::plan(&parsed, schema, keyspaces)?;
        let types = ParameterTypes { text, declared, client_parameters, lifted };
        let program = match whole_statement(&plan) {
            Some(tree) => {
                let translated = sql::with_deep_stack(parsed.deep, || match &plan {
                    Plan::Read(read) if read.source != ReadSource::Shards => {
                        dialect::translate_over_catalog(tree, types)
                    }
                    _ => dialect::translate(tree, schema, types),
                });
                Some(Arc::new(translated?))
            }
            None => None,
        };
        let (placeholders, columns) = match &program {
            Some(program) => {
                // A SELECT without columns returns rows all the same.
                let returns_rows = program.tag == Tag::Select || !program.columns.is_empty();
                let columns = returns_rows.then(|| Arc::from(program.columns.as_slice()));
                (program.parameters.clone(), columns)
            }
            None => super::local::describe(&plan, client_parameters + lifted.len()),
        };
        Ok(Statement {
            parsed,
            schema: Arc::clone(schema),
            plan,
            program,
            scattered: OnceLock::new(),
            placeholders: placeholders.into(),
            columns,
        })
    }

    /// The program that each shard runs when the rows of several are put together.
    ///
    /// # Errors
    /// The statement cannot be put together across shards; the reason and what to write instead.
    pub(super) fn scattered(&self, scatter: &Scatter) -> Result<Arc<Program>> {
        let tree = match scatter {
            Scatter::Merge { statement, .. } => statement,
            Scatter::Aggregate(aggregate) => &aggregate.statement,
        };
        self.scattered.get_or_init(|| self.translate(tree).map(Arc::new)).clone()
    }

    /// Translates a statement over the partial rows of this one's shards.
    ///
    /// # Errors
    /// It has no translation.
    pub(super) fn translate_over(&self, tree: &ast::Statement, schema: &Schema) -> Result<Program> {
        let declared = self.placeholder_types();
        let client_parameters = declared.len();
        let types = ParameterTypes { text: "", declared: &declared, client_parameters, lifted: &[] };
        sql::with_deep_stack(self.parsed.deep, || dialect::translate(tree, schema, types))
    }

    /// Translates a statement that was derived from this one and shares its parameters.
    ///
    /// # Errors
    /// It has no translation.
    pub(super) fn translate(&self, tree: &ast::Statement) -> Result<Program> {
        self.translate_over(tree, &self.schema)
    }

    /// The types of the client's own parameters.
    pub(super) fn parameters(&self) -> &[PgType] {
        &self.placeholders[..self.parsed.client_parameters.min(self.placeholders.len())]
    }

    /// The parameters as a row's key is taken from them: a `character` loses its trailing blanks when a text is made of it.
    pub(super) fn assigned_parameters<'p>(&self, parameters: &'p [Datum]) -> Cow<'p, [Datum]> {
        self.with_characters(parameters, |text| Datum::Text(text.trim_end_matches(' ').into()))
    }

    /// The parameters as keys are compared with them: which blanks of a `character` count is up to the other side's type, so
    /// it is no key; bytes never are.
    pub(super) fn compared_parameters<'p>(&self, parameters: &'p [Datum]) -> Cow<'p, [Datum]> {
        self.with_characters(parameters, |text| Datum::Bytea(text.as_bytes().into()))
    }

    fn with_characters<'p>(&self, parameters: &'p [Datum], change: impl Fn(&str) -> Datum) -> Cow<'p, [Datum]> {
        let has_characters = |data_type: &PgType| matches!(data_type, PgType::Bpchar | PgType::BpcharArray);
        if !self.placeholders.iter().any(has_characters) {
            return Cow::Borrowed(parameters);
        }
        let changed = |datum: &Datum| match datum {
            Datum::Text(text) => change(text),
            datum => datum.clone(),
        };
        let all = parameters.iter().zip(&self.placeholders).map(|(datum, data_type)| match (datum, data_type) {
            (Datum::Array { element, values }, PgType::BpcharArray) => {
                Datum::Array { element: *element, values: values.iter().map(changed).collect() }
            }
            (datum, PgType::Bpchar) => changed(datum),
            (datum, _) => datum.clone(),
        });
        Cow::Owned(all.collect())
    }

    /// Every placeholder has the type that the whole statement gave it, though a part may not mention it.
    pub(super) fn placeholder_types(&self) -> Vec<Option<PgType>> {
        self.placeholders.iter().copied().map(Some).collect()
    }
}

/// The tree that describes the statement to its client, and runs when one shard holds all that it needs.
fn whole_statement(plan: &Plan) -> Option<&ast::Statement> {
    match plan {
        Plan::Read(read) => Some(&read.statement),
        Plan::Insert(insert) => Some(&insert.statement),
        Plan::Write(write) => Some(&write.statement),
        Plan::WriteReference(write) => Some(&write.statement),
        Plan::Ddl(_) | Plan::Local(_) => None,
    }
}

/// A statement as one client prepared it: the shared part, and the literals of this client's text.
#[derive(Debug)]
pub struct Prepared {
    pub(super) text: Arc<str>,
    pub(super) statement: Arc<Statement>,
    pub(super) declared: Box<[Option<PgType>]>,
    pub(super) literals: Vec<Datum>,
    /// Its client may know its columns already, so they must stay what they are.
    pub(super) describable: bool,
}

impl Prepared {
    /// The types of the client's own parameters, declared or inferred.
    pub fn parameters(&self) -> &[PgType] {
        self.statement.parameters()
    }

    /// `None` when the statement returns no rows.
    pub fn columns(&self) -> Option<Arc<[OutputColumn]>> {
        self.statement.columns.clone()
    }

    /// All that it does is to change the state of its session: a setting, a prepared statement.
    pub fn concerns_its_session_only(&self) -> bool {
        let Plan::Local(local) = &self.statement.plan else { return false };
        match &**local {
            Local::Set { .. } | Local::SetTransaction { .. } | Local::Prepare { .. } => true,
            Local::Settings(calls) => calls.iter().any(|call| call.change.is_some()),
            _ => false,
        }
    }

    /// The text has no statement in it (`;`, or only a comment): answered by EmptyQueryResponse.
    pub fn is_empty(&self) -> bool {
        matches!(&self.statement.plan, Plan::Local(local) if **local == Local::Empty)
    }
}

/// The statements of all sessions, by text and declared types; the least used make room.
#[derive(Debug)]
pub(super) struct PlanCache {
    statements: quick_cache::sync::Cache<CacheKey, Arc<Statement>>,
    metrics: Arc<Metrics>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct CacheKey {
    text: Box<str>,
    declared: Box<[Option<PgType>]>,
    lifted: Box<[LiteralKind]>,
}

/// A key that borrows, so that a look-up allocates nothing.
struct BorrowedKey<'a> {
    text: &'a str,
    declared: &'a [Option<PgType>],
    lifted: &'a [LiteralKind],
}

impl Hash for CacheKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        BorrowedKey { text: &self.text, declared: &self.declared, lifted: &self.lifted }.hash(state);
    }
}

impl Hash for BorrowedKey<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
        self.declared.hash(state);
        self.lifted.hash(state);
    }
}

impl quick_cache::Equivalent<CacheKey> for BorrowedKey<'_> {
    fn equivalent(&self, key: &CacheKey) -> bool {
        *self.text == *key.text && *self.declared == *key.declared && *self.lifted == *key.lifted
    }
}

/// What a statement is planned against.
#[derive(Clone, Copy, Debug)]
pub(super) struct PlanScope<'a> {
    pub(super) schema: &'a Arc<Schema>,
    pub(super) keyspaces: &'a [Arc<Keyspace>],
    /// Others see this schema too. Not so inside a transaction that changed it.
    pub(super) shared: bool,
}

impl PlanCache {
    pub(super) fn new(statements: usize, metrics: Arc<Metrics>) -> PlanCache {
        PlanCache { statements: quick_cache::sync::Cache::new(statements), metrics }
    }

    /// The cached statement of this version of the schema.
    fn get(
        &self,
        lifted: &Lifted<'_>,
        kinds: &[LiteralKind],
        declared: &[Option<PgType>],
        schema: &Arc<Schema>,
    ) -> Option<Arc<Statement>> {
        let key = BorrowedKey { text: &lifted.text, declared, lifted: kinds };
        self.statements.get(&key).filter(|statement| Arc::ptr_eq(&statement.schema, schema))
    }

    fn insert(
        &self,
        lifted: &Lifted<'_>,
        kinds: &[LiteralKind],
        declared: &[Option<PgType>],
        statement: &Arc<Statement>,
    ) {
        let key = CacheKey { text: lifted.text.as_ref().into(), declared: declared.into(), lifted: kinds.into() };
        self.statements.insert(key, Arc::clone(statement));
        self.metrics.plan_cache_entries.set(i64::try_from(self.statements.len()).unwrap_or(i64::MAX));
    }

    /// Whether a text can be parsed at all.
    ///
    /// # Errors
    /// 42601, at the client's own position.
    pub(super) fn check_syntax(&self, text: &str, schema: &Arc<Schema>) -> Result<()> {
        let lifted = sql::lift(text)?;
        let kinds: Vec<LiteralKind> = lifted.kinds().collect();
        if self.get(&lifted, &kinds, &[], schema).is_some() {
            return Ok(());
        }
        match sql::parse(&lifted.text, lifted.client_parameters, kinds) {
            Err(error) if error.sqlstate() == SqlState::SYNTAX_ERROR => Err(as_written(error, text, &lifted)),
            // Whatever else is wrong with it is told when its turn comes.
            _ => Ok(()),
        }
    }

    /// Prepares a client's text.
    ///
    /// # Errors
    /// The text cannot be parsed, planned or translated, or a literal is not of its type; positions are the client's.
    pub(super) fn prepare(
        &self,
        text: &str,
        declared: &[Option<PgType>],
        scope: PlanScope<'_>,
        style: &TextStyle,
    ) -> Result<Prepared> {
        let PlanScope { schema, keyspaces, shared } = scope;
        let lifted = sql::lift(text)?;
        let kinds: Vec<LiteralKind> = lifted.kinds().collect();
        let statement = match self.get(&lifted, &kinds, declared, schema) {
            Some(statement) => {
                self.metrics.plan_cache_hits.inc();
                statement
            }
            None => {
                self.metrics.plan_cache_misses.inc();
                let begun = Instant::now();
                let compiled =
                    Statement::compile(&lifted.text, lifted.client_parameters, &kinds, declared, schema, keyspaces);
                self.metrics.prepare_seconds.observe(begun.elapsed().as_secs_f64());
                let statement = Arc::new(compiled.map_err(|error| as_written(error, text, &lifted))?);
                if shared {
                    self.insert(&lifted, &kinds, declared, &statement);
                }
                statement
            }
        };
        let literals = decode_literals(&statement, &lifted, style, text)?;
        Ok(Prepared { text: text.into(), statement, declared: declared.into(), literals, describable: true })
    }
}

/// Literals have the type that their context gave the placeholder.
fn decode_literals(statement: &Statement, lifted: &Lifted<'_>, style: &TextStyle, text: &str) -> Result<Vec<Datum>> {
    let types = statement.placeholders.iter().skip(lifted.client_parameters);
    let literals = lifted.literals.iter().zip(types).enumerate();
    literals
        .map(|(index, (literal, data_type))| {
            let decoded = decode_literal(literal, *data_type, style);
            decoded.map_err(|error| match (literal, lifted.position_of_literal(text, index)) {
                // Postgres points at a string that is no value of its type, and not at a number out of range.
                (Literal::Text(_), Some(position)) => error.position(position),
                _ => error,
            })
        })
        .collect()
}

fn decode_literal(literal: &Literal<'_>, data_type: PgType, style: &TextStyle) -> Result<Datum> {
    match (literal, data_type) {
        (Literal::Int4(value), PgType::Int4) => Ok(Datum::Int4(*value)),
        (Literal::Int8(value), PgType::Int8) => Ok(Datum::Int8(*value)),
        (Literal::Int4(value), _) => Datum::from_text(data_type, &value.to_string(), style),
        (Literal::Int8(value), _) => Datum::from_text(data_type, &value.to_string(), style),
        (Literal::Numeric(text) | Literal::Text(text), _) => Datum::from_text(data_type, text, style),
    }
}

/// An error in the terms of the client's own text.
fn as_written(error: Error, text: &str, lifted: &Lifted<'_>) -> Error {
    let near = error.message().strip_prefix("syntax error at or near \"").and_then(|near| near.strip_suffix('"'));
    let written =
        near.and_then(|near| lifted.original(text, near)).map(|near| format!("syntax error at or near \"{near}\""));
    let error = match written {
        Some(message) => error.with_message(message),
        None => error,
    };
    match error.get_position() {
        Some(position) => error.position(lifted.original_position(text, position)),
        None => error,
    }
}
