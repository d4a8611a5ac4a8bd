//! Postgres's dialect into SQLite's. Pure: a tree and a schema in, a program out.
//!
//! A small compiler in one pass: names are resolved against the schema (`scope`), expressions typed by Postgres's rules
//! (`catalog`, `coerce`) and written as SQLite's text (`expression`, `select`, `write`) at once. What Postgres would refuse is
//! refused with its SQLSTATE; what it would answer and SQLite cannot is refused with 0A000 and listed in [`REFUSALS`].

mod aggregate;
mod array_query;
mod call;
mod catalog;
mod coerce;
mod column_name;
mod data_type;
mod ddl;
mod distinct;
mod expression;
mod form;
mod from;
mod group;
mod grouping_sets;
mod lateral;
mod literal;
mod membership;
mod names;
mod operate;
mod order;
mod ordered_set;
mod parameters;
mod point_read;
mod query;
mod refusal;
mod reg;
mod scope;
mod select;
mod set_operation;
mod subscript;
mod typed;
mod whole_row;
mod window;
mod with;
mod write;

#[cfg(test)]
mod tests;

pub use ddl::{SchemaChange, change, create_all, drop_all};
pub use refusal::{REFUSALS, Refusal};

use crate::error::{Error, Result, SqlState};
use crate::shard::sqlite::{Effect, Program};
use crate::shard::{OutputColumn, Tag};
use crate::sql::{LiteralKind, Overriding, ast};
use crate::system_catalog;
use crate::topology::Schema;
use crate::types::PgType;

/// How deep expressions and queries may be nested: bounds the stack.
const MAX_DEPTH: usize = 120;

/// What is known of a statement's placeholders before it is translated.
#[derive(Clone, Copy, Debug)]
pub struct ParameterTypes<'a> {
    /// The types that the client declared, `None` where it left them to be inferred. `$1` is the first. May be shorter
    /// than the client's parameters.
    pub declared: &'a [Option<PgType>],
    /// How many of the placeholders are the client's own.
    pub client_parameters: usize,
    /// What the placeholders after them stand for.
    pub lifted: &'a [LiteralKind],
    /// The text that the tree was parsed from, which the positions of errors count in; empty when there is none.
    pub text: &'a str,
    /// Of an INSERT.
    pub overriding: Option<Overriding>,
}

/// The type that PREPARE gives a parameter.
///
/// # Errors
/// 42704 or 0A000 for a type that is not known here.
pub fn parameter_type(written: &ast::DataType) -> Result<PgType> {
    data_type::type_name(written).map(|name| name.data_type)
}

/// Translates a query or a write.
///
/// Lifted literals are typed as they would be in the text, but one placeholder is never equal to another: a statement
/// that is refused (42803, 42P10) may be accepted when its literals stand in the tree.
///
/// # Errors
/// As Postgres's parser and analyser give them, and 0A000 for what SQLite shards do not do.
pub fn translate(statement: &ast::Statement, schema: &Schema, parameters: ParameterTypes<'_>) -> Result<Program> {
    finished(statement, Translator::new(schema, parameters))
}

/// As [`translate`], for a query that names no table, or relations of the system catalog: it runs where those are.
///
/// # Errors
/// As those of [`translate`].
pub fn translate_over_catalog(statement: &ast::Statement, parameters: ParameterTypes<'_>) -> Result<Program> {
    let translator = Translator::new(system_catalog::relations(), parameters);
    finished(statement, Translator { catalog: CatalogUse::None, ..translator })
}

fn finished(statement: &ast::Statement, mut translator: Translator<'_>) -> Result<Program> {
    let written = translator.statement(statement)?;
    let reads_catalog = translator.catalog == CatalogUse::LooksUp;
    let (parameters, environment) = translator.parameters.finish()?;
    Ok(Program {
        sql: written.sql,
        parameters,
        environment,
        columns: written.columns,
        effect: written.effect,
        tag: written.tag,
        point_read: written.point_read,
        reads_catalog,
    })
}

/// What a statement has to do with the system catalog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CatalogUse {
    /// It runs where there is none.
    Absent,
    /// It could look something up there, and does not so far.
    None,
    LooksUp,
}

/// A statement's text, before its parameters are known.
struct Written {
    sql: String,
    columns: Vec<OutputColumn>,
    effect: Effect,
    tag: Tag,
    point_read: bool,
}

/// One statement's translation: what is gathered on the way.
struct Translator<'a> {
    schema: &'a Schema,
    text: &'a str,
    overriding: Option<Overriding>,
    parameters: parameters::Parameters<'a>,
    /// How many aliases were given out.
    aliases: usize,
    /// For each query around the present one: the columns of it that inner queries use.
    frames: Vec<Vec<typed::ColumnUse>>,
    /// The queries, by their depth, whose aggregates' arguments are being translated.
    aggregating: Vec<usize>,
    /// For each select list being translated: the set-returning functions in it.
    series: Vec<from::ListedSeries>,
    catalog: CatalogUse,
    depth: usize,
}

impl<'a> Translator<'a> {
    fn new(schema: &'a Schema, known: ParameterTypes<'a>) -> Translator<'a> {
        let (text, overriding) = (known.text, known.overriding);
        let parameters = parameters::Parameters::new(known);
        Translator {
            schema,
            text,
            overriding,
            parameters,
            aliases: 0,
            frames: Vec::new(),
            aggregating: Vec::new(),
            series: Vec::new(),
            catalog: CatalogUse::Absent,
            depth: 0,
        }
    }

    fn statement(&mut self, statement: &ast::Statement) -> Result<Written> {
        let root = scope::Scope::default();
        match statement {
            ast::Statement::Query(query) => self.query_statement(query, &root),
            ast::Statement::Insert(insert) => self.insert(insert, &root),
            ast::Statement::Update(update) => self.update(update, &root),
            ast::Statement::Delete(delete) => self.delete(delete, &root),
            ast::Statement::Merge(_) => Err(refusal::MERGE.error()),
            other => Err(Error::unsupported(
                format_args!("this statement ({})", first_words(other)),
                "Only queries, INSERT, UPDATE and DELETE run on a SQLite shard as they are.",
            )),
        }
    }

    /// A name for a relation that no other has in this statement.
    fn alias(&mut self) -> String {
        loop {
            self.aliases += 1;
            let alias = format!("t{}", self.aliases);
            // The table written goes by its own name.
            if self.schema.table(&alias).is_none() {
                return alias;
            }
        }
    }

    /// Notes that the statement looks something up in the system catalog.
    ///
    /// # Errors
    /// 0A000: it runs where there is none. `what` asks for it.
    fn look_up(&mut self, what: &str) -> Result<()> {
        if self.catalog == CatalogUse::Absent {
            return Err(Error::unsupported(
                format_args!("{what} in a statement on tables"),
                "Ask for it in a statement of its own.",
            ));
        }
        self.catalog = CatalogUse::LooksUp;
        Ok(())
    }

    fn position(&self, span: sqlparser::tokenizer::Span) -> Option<u32> {
        crate::sql::position_of(self.text, span).filter(|_| !self.text.is_empty())
    }

    /// An error at a place of the statement's text.
    fn error_at(&self, error: Error, span: sqlparser::tokenizer::Span) -> Error {
        match self.position(span) {
            Some(position) if error.get_position().is_none() => error.position(position),
            _ => error,
        }
    }

    /// Runs one level of a recursion.
    ///
    /// # Errors
    /// 54001: the statement is nested too deeply.
    fn nested<T>(&mut self, level: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.depth >= MAX_DEPTH {
            return Err(Error::new(SqlState::STATEMENT_TOO_COMPLEX, "stack depth limit exceeded")
                .hint("Write the statement with less nesting."));
        }
        self.depth += 1;
        let result = level(self);
        self.depth -= 1;
        result
    }
}

/// Parses an expression that the schema stores as text.
///
/// # Errors
/// The text is not what was stored.
fn parse_expression(text: &str) -> Result<ast::Expr> {
    crate::sql::parse_expression(text)
        .map_err(|error| Error::internal(format!("the schema's expression {text} cannot be read: {error}")))
}

/// The first words of a statement, to name it by.
fn first_words(statement: &ast::Statement) -> String {
    statement.to_string().split_whitespace().take(2).collect::<Vec<_>>().join(" ")
}
