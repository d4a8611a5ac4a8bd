//! From text to a statement that can run: lift literals, look in the cache, parse, plan, translate.
//!
//! Texts that differ only in inline values share one [`Statement`]. It belongs to one version of the schema; when a
//! newer one is published it is made again from its text.

use std::borrow::Cow;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, OnceLock};
use std::time::Instant;

use bytes::Bytes;

use super::advisory::session_call;
use super::apart::Apart;
use super::by_key::is_passed_on;
use super::fills::Fills;
use super::notifying::refuse_on;
use super::passing_on::StatementNames;
use crate::error::{Error, Result, SqlState};
use crate::metrics::Metrics;
use crate::plan::{self, Local, Plan, ReadSource, Straight};
use crate::shard::postgres::StatementName;
use crate::shard::sqlite::dialect::{self, ParameterTypes};
use crate::shard::{OutputColumn, Program, ShardKind, Tag, postgres, sqlite};
use crate::sql::{self, Lifted, Literal, LiteralKind, Parsed, Tree, ast};
use crate::topology::{Keyspace, Misfit, Schema};
use crate::types::{Datum, PgType, TextStyle};

/// A statement that was parsed, planned and translated. Shared by all sessions; holds no values.
#[derive(Debug)]
pub(super) struct Statement {
    pub(super) parsed: Parsed,
    /// The version of the schema that it was made for.
    pub(super) schema: Arc<Schema>,
    pub(super) plan: Plan,
    /// The whole statement for one shard; `None` when the session answers it, and for DDL.
    pub(super) program: Option<Program>,
    /// What runs when a read comes to several shards: made when that first happens.
    pub(super) apart: Apart,
    /// The types of the client's parameters, then of the lifted literals.
    pub(super) placeholders: Box<[PgType]>,
    pub(super) columns: Option<Arc<[OutputColumn]>>,
    /// Where the shards differ in what makes it wrong.
    pub(super) misfits: Box<[Misfit]>,
    /// How it passes through, if it does.
    pub(super) straight: Option<Straight>,
    /// The numbers that it takes from sequences.
    pub(super) fills: Fills,
    /// Of one on temporary tables: where it could run if they were reference tables.
    pub(super) beneath: Option<Box<Plan>>,
}

impl Statement {
    /// # Errors
    /// The text cannot be parsed, planned or translated.
    pub(super) fn compile(
        text: &str,
        client_parameters: usize,
        lifted: &[LiteralKind],
        type_oids: &[u32],
        scope: PlanScope<'_>,
    ) -> Result<Statement> {
        let PlanScope { schema, keyspaces, kind, .. } = scope;
        let parsed = sql::parse(text, client_parameters, lifted.to_vec())?;
        if kind == ShardKind::Postgres
            && let Tree::Sql(tree) = &parsed.tree
            && let Some(local) = session_call(tree)
        {
            return Ok(Statement::as_written(parsed, Plan::Local(Box::new(local)), schema));
        }
        if let Some(hidden) = parsed.hidden.as_ref().filter(|_| kind == ShardKind::Sqlite) {
            return Err(hidden.refusal.clone());
        }
        let plan = plan::plan(&parsed, schema, keyspaces)?;
        refuse_on(kind, &plan)?;
        if kind == ShardKind::Postgres {
            let asks = || super::passing_on::asks_of_its_session(&parsed, &plan, type_oids);
            return match parsed.hidden.is_none().then(asks).flatten() {
                Some(program) => Ok(Statement::translated(parsed, plan, schema, program)),
                None => Ok(Statement::as_written(parsed, plan, schema)),
            };
        }
        let declared = &declared_types(type_oids)?;
        let types = ParameterTypes { text, declared, client_parameters, lifted, overriding: parsed.overriding };
        if let Some(tree) = whole_statement(&plan) {
            let program = sql::with_deep_stack(parsed.deep, || match &plan {
                Plan::Read(read) if read.source != ReadSource::Shards => dialect::translate_over_catalog(tree, types),
                _ => dialect::translate(tree, schema, types),
            });
            let program = program?;
            return Ok(Statement::translated(parsed, plan, schema, program));
        }
        let (placeholders, columns) = super::local::describe(&plan, client_parameters + lifted.len());
        Ok(Statement {
            parsed,
            schema: Arc::clone(schema),
            plan,
            program: None,
            apart: Apart::default(),
            placeholders: placeholders.into(),
            columns,
            misfits: Box::default(),
            straight: None,
            beneath: None,
            fills: Fills::Unclear,
        })
    }

    fn with_fills(self, kind: ShardKind) -> Statement {
        let fills = whole_statement(&self.plan).map_or(Fills::Nothing, |tree| Fills::of(&self, tree, kind));
        Statement { fills, ..self }
    }

    /// A statement that SQLite runs, whatever the shards are.
    fn translated(parsed: Parsed, plan: Plan, schema: &Arc<Schema>, program: sqlite::Program) -> Statement {
        // A SELECT without columns returns rows all the same.
        let returns_rows = program.tag == Tag::Select || !program.columns.is_empty();
        Statement {
            parsed,
            schema: Arc::clone(schema),
            plan,
            apart: Apart::default(),
            placeholders: program.parameters.clone().into(),
            columns: returns_rows.then(|| Arc::from(program.columns.as_slice())),
            program: Some(Program::Sqlite(Arc::new(program))),
            misfits: Box::default(),
            straight: None,
            beneath: None,
            fills: Fills::Unclear,
        }
    }

    /// A statement for Postgres shards, which are asked about its types when they are needed.
    pub(super) fn as_written(parsed: Parsed, plan: Plan, schema: &Arc<Schema>) -> Statement {
        let literals = parsed.lifted.iter().map(|kind| match kind {
            LiteralKind::Int4 => PgType::Int4,
            LiteralKind::Int8 => PgType::Int8,
            LiteralKind::Numeric => PgType::Numeric,
            LiteralKind::Text => PgType::Text,
        });
        let (placeholders, columns) = match &plan {
            Plan::Local(_) | Plan::Ddl(_) if !is_passed_on(&plan) => {
                super::local::describe(&plan, parsed.client_parameters + parsed.lifted.len())
            }
            _ => (std::iter::repeat_n(PgType::Unknown, parsed.client_parameters).chain(literals).collect(), None),
        };
        let unlike = plan::has_unlike_columns(&plan, schema) || !schema.drift.unlike_types.is_empty();
        let tag = whole_statement(&plan).map(tag_of);
        let misfits: Box<[Misfit]> = plan::spoiled(&plan, schema).into();
        let general = unlike || !misfits.is_empty() || parsed.current_of().is_some();
        let straight = if general { None } else { Straight::of(&plan) };
        Statement {
            misfits,
            straight,
            program: if is_passed_on(&plan) {
                Some(Statement::passed_on(&parsed))
            } else {
                tag.map(|tag| {
                    let calls = called_functions(&parsed);
                    let program = postgres::Program::as_written(tag, Arc::clone(&parsed.text), calls);
                    Program::Postgres(Arc::new(program.described_each_time(unlike)))
                })
            },
            parsed,
            schema: Arc::clone(schema),
            plan,
            apart: Apart::default(),
            placeholders: placeholders.into(),
            columns,
            beneath: None,
            fills: Fills::Unclear,
        }
    }

    /// What the statement returns, as far as it is known; `None`: nothing.
    pub(super) fn columns(&self) -> Option<&Arc<[OutputColumn]>> {
        self.columns.as_ref().or_else(|| self.description()?.columns.as_ref())
    }

    /// What a Postgres shard has told of it.
    pub(super) fn description(&self) -> Option<&postgres::Description> {
        match &self.program {
            Some(Program::Postgres(program)) => program.description(),
            _ => None,
        }
    }

    /// The OIDs of the types of the client's own parameters.
    pub(super) fn parameter_oids(&self) -> Vec<u32> {
        match self.description() {
            Some(description) => description.parameter_oids.clone(),
            None => self.parameters().iter().map(|data_type| data_type.oid()).collect(),
        }
    }

    /// Whether it asks for its transaction's time.
    pub(super) fn asks_for_time(&self) -> bool {
        match &self.parsed.tree {
            Tree::Sql(tree) => sql::with_deep_stack(self.parsed.deep, || plan::calls_clock(tree)),
            Tree::Local(_) => false,
        }
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
        Plan::Ddl(_) | Plan::Local(_) | Plan::Copy(_) => None,
    }
}

/// Most clients declare none.
fn shared_oids(type_oids: &[u32]) -> Arc<[u32]> {
    static NONE: LazyLock<Arc<[u32]>> = LazyLock::new(|| Arc::from([]));
    if type_oids.is_empty() { Arc::clone(&NONE) } else { type_oids.into() }
}

pub(super) fn tag_of(tree: &ast::Statement) -> Tag {
    match tree {
        ast::Statement::Insert(_) => Tag::Insert,
        ast::Statement::Update(_) => Tag::Update,
        ast::Statement::Delete(_) => Tag::Delete,
        ast::Statement::Merge(_) => Tag::Merge,
        ast::Statement::Query(query) => match &*query.body {
            ast::SetExpr::Insert(write)
            | ast::SetExpr::Update(write)
            | ast::SetExpr::Delete(write)
            | ast::SetExpr::Merge(write) => tag_of(write),
            _ if plan::writes_within(query) => Tag::SelectAndWrite,
            _ => Tag::Select,
        },
        _ => Tag::Select,
    }
}

/// The functions that a statement calls by their names.
fn called_functions(parsed: &Parsed) -> Box<[Box<str>]> {
    let Tree::Sql(tree) = &parsed.tree else { return Box::default() };
    let mut names = std::collections::BTreeSet::new();
    let _ = sql::with_deep_stack(parsed.deep, || {
        sql::walk_expressions::<()>(&**tree, |expression| {
            if let ast::Expr::Function(function) = expression
                && let Some(name) = sql::name_parts(&function.name).and_then(|mut parts| parts.pop())
            {
                names.insert(Box::from(&*name));
            }
            std::ops::ControlFlow::Continue(())
        })
    });
    names.into_iter().collect()
}

/// The types that a client declared for its parameters; 0 leaves one to be inferred.
pub(super) fn declared_types(type_oids: &[u32]) -> Result<Vec<Option<PgType>>> {
    let declared = type_oids.iter().map(|&oid| {
        if oid == 0 {
            return Ok(None);
        }
        PgType::from_oid(oid).map(Some).ok_or_else(|| {
            let hint = "Send the parameter as text, without a type, and cast it in the statement.";
            Error::unsupported(format_args!("a parameter of the type with OID {oid}"), hint)
        })
    });
    declared.collect()
}

/// A statement as one client prepared it: the shared part, and the literals of this client's text.
#[derive(Debug)]
pub struct Prepared {
    pub(super) text: Arc<str>,
    pub(super) statement: Arc<Statement>,
    /// The OIDs of the types that the client declared; 0 where it left one to be inferred.
    pub(super) type_oids: Arc<[u32]>,
    pub(super) literals: Vec<Datum>,
    /// Its client may know its columns already, so they must stay what they are.
    pub(super) describable: bool,
    /// It was kept under a name: connections to Postgres shards keep it, too.
    pub(super) named: AtomicBool,
    /// The name that they keep it under.
    pub(super) name_on_shards: OnceLock<Arc<StatementName>>,
}

impl Prepared {
    pub(super) fn name(&self) {
        self.named.store(true, Ordering::Relaxed);
    }

    pub(super) fn named(&self) -> bool {
        self.named.load(Ordering::Relaxed)
    }

    pub(super) fn name_on_shards(&self, names: &StatementNames) -> &Arc<StatementName> {
        self.name_on_shards.get_or_init(|| names.name(self, &self.statement))
    }

    /// Whether it may pass through.
    pub fn may_pass(&self) -> bool {
        self.statement.straight.is_some()
    }

    /// How many parameters its client has to give.
    pub fn parameter_count(&self) -> usize {
        self.statement.parameters().len()
    }

    /// The OIDs of the types of the client's own parameters, declared or inferred.
    pub fn parameter_oids(&self) -> Vec<u32> {
        self.statement.parameter_oids()
    }

    /// The same, as types that shardd can make values of.
    ///
    /// # Errors
    /// 0A000 for a type that only the shards know.
    pub(super) fn parameter_types(&self) -> Result<Vec<PgType>> {
        let oids = self.parameter_oids();
        Ok(declared_types(&oids)?.into_iter().map(|data_type| data_type.unwrap_or(PgType::Text)).collect())
    }

    /// `None` when the statement returns no rows.
    pub fn columns(&self) -> Option<Arc<[OutputColumn]>> {
        self.statement.columns().cloned()
    }

    /// The frame that describes its rows in text, where a shard has told it.
    pub fn row_description(&self) -> Option<&Bytes> {
        self.statement.description()?.row_description.as_ref()
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
    type_oids: Box<[u32]>,
    lifted: Box<[LiteralKind]>,
}

/// A key that borrows, so that a look-up allocates nothing.
struct BorrowedKey<'a> {
    text: &'a str,
    type_oids: &'a [u32],
    lifted: &'a [LiteralKind],
}

impl Hash for CacheKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        BorrowedKey { text: &self.text, type_oids: &self.type_oids, lifted: &self.lifted }.hash(state);
    }
}

impl Hash for BorrowedKey<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
        self.type_oids.hash(state);
        self.lifted.hash(state);
    }
}

impl quick_cache::Equivalent<CacheKey> for BorrowedKey<'_> {
    fn equivalent(&self, key: &CacheKey) -> bool {
        *self.text == *key.text && *self.type_oids == *key.type_oids && *self.lifted == *key.lifted
    }
}

/// What a statement is planned against.
#[derive(Clone, Copy, Debug)]
pub(super) struct PlanScope<'a> {
    pub(super) schema: &'a Arc<Schema>,
    pub(super) keyspaces: &'a [Arc<Keyspace>],
    /// Others see this schema too. Not so inside a transaction that changed it.
    pub(super) shared: bool,
    pub(super) kind: ShardKind,
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
        type_oids: &[u32],
        schema: &Arc<Schema>,
    ) -> Option<Arc<Statement>> {
        let key = BorrowedKey { text: &lifted.text, type_oids, lifted: kinds };
        self.statements.get(&key).filter(|statement| Arc::ptr_eq(&statement.schema, schema))
    }

    fn insert(&self, lifted: &Lifted<'_>, kinds: &[LiteralKind], type_oids: &[u32], statement: &Arc<Statement>) {
        let key = CacheKey { text: lifted.text.as_ref().into(), type_oids: type_oids.into(), lifted: kinds.into() };
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
        type_oids: &[u32],
        scope: PlanScope<'_>,
        style: &TextStyle,
    ) -> Result<Prepared> {
        let PlanScope { schema, shared, .. } = scope;
        let lifted = sql::lift(text)?;
        let kinds: Vec<LiteralKind> = lifted.kinds().collect();
        let statement = match self.get(&lifted, &kinds, type_oids, schema) {
            Some(statement) => {
                self.metrics.plan_cache_hits.inc();
                statement
            }
            None => {
                self.metrics.plan_cache_misses.inc();
                let begun = Instant::now();
                let compiled = Statement::compile(&lifted.text, lifted.client_parameters, &kinds, type_oids, scope);
                self.metrics.prepare_seconds.observe(begun.elapsed().as_secs_f64());
                let compiled = compiled.map_err(|error| as_written(error, text, &lifted))?;
                let statement = Arc::new(compiled.with_fills(scope.kind));
                // What a cursor returns is not its text's to say.
                if shared && !is_passed_on(&statement.plan) {
                    self.insert(&lifted, &kinds, type_oids, &statement);
                }
                statement
            }
        };
        let literals = decode_literals(&statement, &lifted, style, text)?;
        Ok(Prepared {
            text: text.into(),
            statement,
            type_oids: shared_oids(type_oids),
            literals,
            describable: true,
            named: AtomicBool::new(false),
            name_on_shards: OnceLock::new(),
        })
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
