//! What several shards run for one statement.
//!
//! Each is derived from the statement's tree and shares its parameters; it is made when it is first needed, and kept with the
//! statement.

use std::ops::ControlFlow;
use std::sync::{Arc, OnceLock};

use super::gather::Gathered;
use super::statement::{Statement, tag_of};
use crate::error::{Error, Result};
use crate::plan::{self, Insert, Read, Scatter};
use crate::shard::sqlite::dialect::{self, ParameterTypes};
use crate::shard::{Program, postgres, sqlite};
use crate::sql::{self, ast};
use crate::topology::{Keyspace, Schema};
use crate::types::PgType;

/// The statements that several shards run for one.
#[derive(Debug, Default)]
pub(super) struct Apart {
    scattered: OnceLock<Result<Program>>,
    gathered: OnceLock<Result<Arc<[Gathered]>>>,
}

impl Statement {
    /// The program that each shard runs when the rows of several are put together.
    ///
    /// # Errors
    /// The statement cannot be put together across shards; the reason and what to write instead.
    pub(super) fn scattered(&self, scatter: &Scatter) -> Result<Program> {
        let tree = match scatter {
            Scatter::Merge { statement, .. } => statement,
            Scatter::Aggregate(aggregate) => &aggregate.statement,
        };
        self.apart.scattered.get_or_init(|| self.derive(tree)).clone()
    }

    /// # Errors
    /// 0A000: each shard that runs it would do something else.
    pub(super) fn require_same_everywhere(&self) -> Result<()> {
        match &self.parsed.hidden {
            Some(hidden) if hidden.is_random => Err(hidden.refusal.clone()),
            _ => Ok(()),
        }
    }

    /// What shards are asked for when the rows of a read's tables are brought to one place.
    ///
    /// # Errors
    /// It has no translation.
    pub(super) fn gathered(&self, read: &Read, keyspaces: &[Arc<Keyspace>]) -> Result<Arc<[Gathered]>> {
        let make = || {
            if self.parsed.hidden.as_ref().is_some_and(|hidden| hidden.on_one_shard) {
                self.require_whole_tree()?;
            }
            let brought = plan::brought(read, &self.parsed, &self.schema, keyspaces)?;
            let gathered = brought.into_iter().map(|brought| {
                let program = self.derived(&brought.statement)?;
                Ok(Gathered { brought, program })
            });
            gathered.collect()
        };
        self.apart.gathered.get_or_init(make).clone()
    }

    /// Translates a statement for the database in memory that holds the partial rows of this one's shards.
    ///
    /// # Errors
    /// It has no translation.
    pub(super) fn translate_over(&self, tree: &ast::Statement, schema: &Schema) -> Result<sqlite::Program> {
        if let Some(description) = self.description() {
            return self.translate_as_described(tree, schema, description);
        }
        let declared = self.placeholder_types();
        let client_parameters = declared.len();
        let overriding = self.parsed.overriding;
        let types = ParameterTypes { text: "", declared: &declared, client_parameters, lifted: &[], overriding };
        sql::with_deep_stack(self.parsed.deep, || dialect::translate(tree, schema, types))
    }

    /// The client's parameters have the types that a shard told, and literals those that their context gives them.
    fn translate_as_described(
        &self,
        tree: &ast::Statement,
        schema: &Schema,
        description: &postgres::Description,
    ) -> Result<sqlite::Program> {
        let known: Vec<Option<PgType>> = description.parameter_oids.iter().map(|oid| PgType::from_oid(*oid)).collect();
        let unknown = sql::walk_expressions(tree, |expression| match sql::placeholder_number(expression) {
            Some(number) if known.get(number - 1) == Some(&None) => ControlFlow::Break(number),
            _ => ControlFlow::Continue(()),
        });
        if let ControlFlow::Break(number) = unknown {
            return Err(Error::unsupported(
                format!("parameter ${number} beside an aggregate across shards, since only the shards know its type"),
                "Cast it to text, or give the key in WHERE.",
            ));
        }
        let declared: Vec<_> = known.into_iter().map(|data_type| data_type.or(Some(PgType::Text))).collect();
        let types = ParameterTypes {
            text: "",
            declared: &declared,
            client_parameters: self.parsed.client_parameters,
            lifted: &self.parsed.lifted,
            overriding: None,
        };
        let translated = sql::with_deep_stack(self.parsed.deep, || dialect::translate(tree, schema, types));
        translated.map_err(Error::without_position)
    }

    /// The program of a statement that was derived from this one and shares its parameters.
    ///
    /// # Errors
    /// It has no translation, or the tree that it was derived from does not show all that this one means.
    pub(super) fn derive(&self, tree: &ast::Statement) -> Result<Program> {
        self.require_whole_tree()?;
        self.derived(tree)
    }

    /// # Errors
    /// The tree does not show all that the statement means.
    pub(super) fn require_whole_tree(&self) -> Result<()> {
        match &self.parsed.hidden {
            Some(hidden) => Err(hidden.refusal.clone()),
            None => Ok(()),
        }
    }

    /// INSERT ... VALUES with only these of its rows: cut out of the client's own text for Postgres shards.
    ///
    /// # Errors
    /// It has no translation.
    pub(super) fn insert_of(&self, insert: &Insert, rows: &[usize]) -> Result<Program> {
        let Some(Program::Postgres(whole)) = &self.program else { return self.derive(&insert.part(rows)) };
        let text = sql::insert_of_rows(&self.parsed.text, rows, insert.row_keys.len())?;
        let text = text.ok_or_else(|| Error::internal("the rows of an INSERT are not found in its text"))?;
        let derived = postgres::Program::derived(tag_of(&insert.statement), text, whole);
        Ok(Program::Postgres(Arc::new(derived.described_each_time(whole.described_each_time))))
    }

    /// The same for one of which only names and plain conditions are this one's.
    fn derived(&self, tree: &ast::Statement) -> Result<Program> {
        if let Some(Program::Postgres(whole)) = &self.program {
            let mut template = sql::with_deep_stack(self.parsed.deep, || tree.to_string());
            if let (Some(overriding), ast::Statement::Insert(_)) = (self.parsed.overriding, tree) {
                template = with_overriding(&template, overriding)?;
            }
            let derived = postgres::Program::derived(tag_of(tree), template, whole);
            return Ok(Program::Postgres(Arc::new(derived.described_each_time(whole.described_each_time))));
        }
        Ok(Program::Sqlite(Arc::new(self.translate_over(tree, &self.schema)?)))
    }
}

/// An INSERT that was printed from its tree, with the clause that trees have no place for.
fn with_overriding(printed: &str, overriding: sql::Overriding) -> Result<String> {
    let clauses = sql::insert_clauses(printed)?.ok_or_else(|| Error::internal("an INSERT has no rows"))?;
    let sql::InsertClauses { with, target, source, rest } = clauses;
    Ok(format!("{with} {target} {} {source} {rest}", overriding.clause()))
}
