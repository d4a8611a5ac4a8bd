//! DROP TABLE, DROP INDEX, TRUNCATE.

use super::super::names::{QualifiedName, quote, quote_text};
use super::Change;
use super::rebuild::Copy;
use crate::error::{Error, Result, SqlState};
use crate::shard::sqlite::forget_table_statements;
use crate::sql::ast;
use crate::topology::Table;

impl Change<'_> {
    pub(super) fn drop_tables(
        &mut self,
        names: &[ast::ObjectName],
        if_exists: bool,
        cascade: bool,
    ) -> Result<&'static str> {
        let mut dropped: Vec<String> = Vec::new();
        for name in names {
            let name = QualifiedName::new(name)?;
            if name.is_public() && self.schema.table(&name.name).is_some() {
                if !dropped.contains(&name.name) {
                    dropped.push(name.name);
                }
                continue;
            }
            if name.is_public() && self.index_owner(&name.name).is_some() {
                let message = format!("\"{}\" is not a table", name.name);
                return Err(Error::new(SqlState::WRONG_OBJECT_TYPE, message).hint("Use DROP INDEX to remove an index."));
            }
            if !if_exists {
                let message = format!("table \"{}\" does not exist", name.display());
                return Err(Error::new(SqlState::UNDEFINED_TABLE, message));
            }
            self.notice(
                SqlState::SUCCESSFUL_COMPLETION,
                format!("table \"{}\" does not exist, skipping", name.display()),
            );
        }
        self.release(&dropped, cascade)?;
        for name in &dropped {
            self.schema.tables.remove(name);
            self.statements.push(format!("DROP TABLE {}", quote(name)));
            self.statements.extend(forget_table_statements(name));
        }
        Ok("DROP TABLE")
    }

    /// Foreign keys of other tables that refer to tables about to go: dropped too, or in the way.
    fn release(&mut self, dropped: &[String], cascade: bool) -> Result<()> {
        let referring: Vec<Table> = self
            .schema
            .tables
            .values()
            .filter(|table| !dropped.contains(&table.name))
            .filter(|table| table.foreign_keys.iter().any(|foreign| dropped.contains(&foreign.references)))
            .map(|table| (**table).clone())
            .collect();
        if !cascade && let Some((table, foreign)) = first_reference(&referring, dropped) {
            return Err(dependent(
                format!("cannot drop table {} because other objects depend on it", foreign.1),
                format!("constraint {} on table {table} depends on table {}", foreign.0, foreign.1),
            ));
        }
        for mut table in referring {
            for foreign in table.foreign_keys.iter().filter(|foreign| dropped.contains(&foreign.references)) {
                let message = format!("drop cascades to constraint {} on table {}", foreign.name, table.name);
                self.notices.push(Error::new(SqlState::SUCCESSFUL_COMPLETION, message));
            }
            table.foreign_keys.retain(|foreign| !dropped.contains(&foreign.references));
            self.rebuild(&table, &Copy::of(&table))?;
            self.store(table)?;
        }
        Ok(())
    }

    pub(super) fn drop_indexes(&mut self, names: &[ast::ObjectName], if_exists: bool) -> Result<&'static str> {
        for name in names {
            let name = QualifiedName::new(name)?;
            let owner = if name.is_public() { self.index_owner(&name.name).cloned() } else { None };
            let Some(owner) = owner else {
                self.check_index_name(&name)?;
                if !if_exists {
                    let message = format!("index \"{}\" does not exist", name.display());
                    return Err(Error::new(SqlState::UNDEFINED_OBJECT, message));
                }
                let message = format!("index \"{}\" does not exist, skipping", name.display());
                self.notice(SqlState::SUCCESSFUL_COMPLETION, message);
                continue;
            };
            let mut table = (*owner).clone();
            table.indexes.retain(|index| index.name != name.name);
            self.statements.push(format!("DROP INDEX {}", quote(&name.name)));
            self.store(table)?;
        }
        Ok("DROP INDEX")
    }

    /// A constraint's index goes with the constraint; a table is no index.
    fn check_index_name(&self, name: &QualifiedName) -> Result<()> {
        if self.schema.table(&name.name).is_some() {
            let message = format!("\"{}\" is not an index", name.name);
            return Err(Error::new(SqlState::WRONG_OBJECT_TYPE, message).hint("Use DROP TABLE to remove a table."));
        }
        for table in self.schema.tables.values() {
            if table.primary_key.iter().chain(&table.unique_keys).any(|key| key.name == name.name) {
                let message = format!(
                    "cannot drop index {0} because constraint {0} on table {1} requires it",
                    name.name, table.name
                );
                return Err(Error::new(SqlState::DEPENDENT_OBJECTS_STILL_EXIST, message)
                    .hint(format!("You can drop constraint {} on table {} instead.", name.name, table.name)));
            }
        }
        Ok(())
    }

    pub(super) fn truncate(&mut self, truncate: &ast::Truncate) -> Result<&'static str> {
        let mut emptied: Vec<String> = Vec::new();
        for target in &truncate.table_names {
            let table = self.table(&QualifiedName::new(&target.name)?)?;
            if !emptied.contains(&table.name) {
                emptied.push(table.name.clone());
            }
        }
        let cascade = matches!(truncate.cascade, Some(ast::CascadeOption::Cascade));
        loop {
            let referring = self.schema.tables.values().find_map(|table| {
                let foreign = table.foreign_keys.iter().find(|foreign| emptied.contains(&foreign.references))?;
                (!emptied.contains(&table.name)).then(|| (table.name.clone(), foreign.references.clone()))
            });
            let Some((table, parent)) = referring else { break };
            if !cascade {
                return Err(Error::new(
                    SqlState::FEATURE_NOT_SUPPORTED,
                    "cannot truncate a table referenced in a foreign key constraint",
                )
                .detail(format!("Table \"{table}\" references \"{parent}\"."))
                .hint(format!("Truncate table \"{table}\" at the same time, or use TRUNCATE ... CASCADE.")));
            }
            self.notice(SqlState::SUCCESSFUL_COMPLETION, format!("truncate cascades to table \"{table}\""));
            emptied.push(table);
        }
        for name in &emptied {
            self.statements.push(format!("DELETE FROM {}", quote(name)));
            if matches!(truncate.identity, Some(ast::TruncateIdentityOption::Restart)) {
                self.statements.push(format!("DELETE FROM shardd_sequence WHERE table_name = {}", quote_text(name)));
            }
        }
        Ok("TRUNCATE TABLE")
    }
}

fn first_reference<'t>(referring: &'t [Table], dropped: &[String]) -> Option<(&'t str, (&'t str, &'t str))> {
    referring.iter().find_map(|table| {
        let foreign = table.foreign_keys.iter().find(|foreign| dropped.contains(&foreign.references))?;
        Some((table.name.as_str(), (foreign.name.as_str(), foreign.references.as_str())))
    })
}

/// 2BP01.
pub(super) fn dependent(message: String, detail: String) -> Error {
    Error::new(SqlState::DEPENDENT_OBJECTS_STILL_EXIST, message)
        .detail(detail)
        .hint("Use DROP ... CASCADE to drop the dependent objects too.")
}
