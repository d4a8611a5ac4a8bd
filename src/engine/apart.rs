//! What several shards run for one statement.
//!
//! Each is derived from the statement's tree and shares its parameters; it is made when it is first needed, and kept with the
//! statement. SQLite shards run what its tree is translated to; Postgres shards run the client's own text, with other words
//! only where the trees differ.

use std::ops::ControlFlow;
use std::sync::{Arc, OnceLock};

use super::gather::Gathered;
use super::statement::{Statement, tag_of};
use crate::error::{Error, Result};
use crate::plan::{self, Insert, Read, Scatter};
use crate::shard::sqlite::dialect::{self, ParameterTypes};
use crate::shard::{Program, postgres, sqlite};
use crate::sql::{self, Derived, Tree, ast};
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
        self.apart.scattered.get_or_init(|| self.spliced(scatter.statement())).clone()
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
                let program = self.put_together(&brought.statement)?;
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

    /// The program of a statement that was put together from parts of this one's text, and shares its parameters.
    ///
    /// # Errors
    /// It has no translation, or the tree does not show all that this one means.
    pub(super) fn derive(&self, derived: &Derived) -> Result<Program> {
        self.require_whole_tree()?;
        self.put_together(derived)
    }

    /// The same for one of which only names and plain conditions are this one's.
    fn put_together(&self, derived: &Derived) -> Result<Program> {
        match &self.program {
            Some(Program::Postgres(whole)) => Ok(with_text(&derived.tree, derived.text.clone(), whole)),
            _ => self.translated_part(&derived.tree),
        }
    }

    /// The program of a statement whose tree was derived from this one's.
    ///
    /// # Errors
    /// It has no translation, its parts are not found in this one's text, or the tree does not show all that this one means.
    fn spliced(&self, tree: &ast::Statement) -> Result<Program> {
        self.require_whole_tree()?;
        let (Some(Program::Postgres(whole)), Tree::Sql(original)) = (&self.program, &self.parsed.tree) else {
            return self.translated_part(tree);
        };
        let spliced = sql::with_deep_stack(self.parsed.deep, || sql::spliced(&self.parsed.text, original, tree))?;
        match spliced {
            Some(text) => Ok(with_text(tree, text, whole)),
            None => Err(Error::unsupported(
                "putting together what shards answer to a statement that is written like this",
                "Write it in a plainer form, or give the key in WHERE.",
            )),
        }
    }

    pub(super) fn translated_part(&self, tree: &ast::Statement) -> Result<Program> {
        Ok(Program::Sqlite(Arc::new(self.translate_over(tree, &self.schema)?)))
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
        let Some(Program::Postgres(whole)) = &self.program else {
            self.require_whole_tree()?;
            return self.translated_part(&insert.part(rows));
        };
        let text = sql::insert_of_rows(&self.parsed.text, rows, insert.row_keys.len())?;
        let text = text.ok_or_else(|| Error::internal("the rows of an INSERT are not found in its text"))?;
        Ok(with_text(&insert.statement, text, whole))
    }
}

/// A statement of Postgres shards that is derived from a whole one.
pub(super) fn with_text(tree: &ast::Statement, text: String, whole: &postgres::Program) -> Program {
    let derived = postgres::Program::derived(tag_of(tree), text, whole);
    Program::Postgres(Arc::new(derived.described_each_time(whole.described_each_time)))
}
