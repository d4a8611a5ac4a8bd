//! ALTER TABLE: its operations, one after the other.

use super::super::expression::Clause;
use super::super::names::{QualifiedName, fold, quote};
use super::super::operate::order_key;
use super::super::refusal;
use super::Change;
use super::create_index::read_definition;
use super::drop::dependent;
use super::rebuild::{Copy, Demand};
use super::sqlite_table::{named_columns, schema_condition};
use crate::error::{Error, Result, SqlState};
use crate::sql::ast::{self, AlterTableOperation, TableConstraint};
use crate::topology::Table;

impl Change<'_> {
    pub(super) fn alter_table(&mut self, alter: &ast::AlterTable) -> Result<&'static str> {
        const TAG: &str = "ALTER TABLE";
        let name = QualifiedName::new(&alter.name)?;
        let table = match self.table(&name) {
            Ok(table) => table,
            Err(error) if alter.if_exists && error.sqlstate() == SqlState::UNDEFINED_TABLE => {
                let message = format!("relation \"{}\" does not exist, skipping", name.display());
                self.notice(SqlState::SUCCESSFUL_COMPLETION, message);
                return Ok(TAG);
            }
            Err(error) => return Err(error),
        };
        let mut table = (*table).clone();
        for operation in &alter.operations {
            table = self.operation(table, operation)?;
            // Later operations see it, and so do the checks of foreign keys.
            self.schema.tables.insert(table.name.clone(), std::sync::Arc::new(table.clone()));
        }
        self.store(table)?;
        Ok(TAG)
    }

    fn operation(&mut self, table: Table, operation: &AlterTableOperation) -> Result<Table> {
        match operation {
            AlterTableOperation::AddColumn { if_not_exists, column_def, .. } => {
                self.add_column_to(table, column_def, *if_not_exists)
            }
            AlterTableOperation::DropColumn { column_names, if_exists, drop_behavior, .. } => {
                let cascade = *drop_behavior == Some(ast::DropBehavior::Cascade);
                let mut table = table;
                for name in column_names {
                    table = self.drop_column(table, name, *if_exists, cascade)?;
                }
                Ok(table)
            }
            AlterTableOperation::AlterColumn { column_name, op } => self.alter_column(table, column_name, op),
            AlterTableOperation::RenameColumn { old_column_name, new_column_name } => {
                self.rename_column(table, old_column_name, new_column_name)
            }
            AlterTableOperation::RenameTable { table_name: ast::RenameTableNameKind::To(new) } => {
                self.rename_table(table, new)
            }
            AlterTableOperation::RenameConstraint { old_name, new_name } => {
                self.rename_constraint(table, old_name, new_name)
            }
            AlterTableOperation::AddConstraint { constraint, .. } => self.add_constraint_to(table, constraint),
            AlterTableOperation::DropConstraint { if_exists, name, drop_behavior } => {
                let cascade = *drop_behavior == Some(ast::DropBehavior::Cascade);
                self.drop_constraint(table, name, *if_exists, cascade)
            }
            // Rows were checked when the constraint was made; there are no owners.
            AlterTableOperation::ValidateConstraint { .. }
            | AlterTableOperation::OwnerTo { .. }
            | AlterTableOperation::SetLogged
            | AlterTableOperation::SetUnlogged => Ok(table),
            _ => Err(refusal::ALTER_OTHER.error()),
        }
    }

    fn add_constraint_to(&mut self, mut table: Table, constraint: &TableConstraint) -> Result<Table> {
        let before = table.clone();
        self.add_constraint(&mut table, constraint)?;
        let mut copy = Copy::of(&table);
        for (old, new) in before.columns.iter().zip(&table.columns).filter(|(old, new)| old.not_null != new.not_null) {
            copy.demands.push(no_nulls(&table.name, &new.name));
            let _ = old;
        }
        if let Some(check) = table.checks.get(before.checks.len()) {
            let expression = super::super::parse_expression(&check.expression)?;
            let condition = schema_condition(&expression, &table, &self.schema, Clause::Check)?;
            copy.demands.push(Demand {
                wrong: format!("NOT ({})", condition.sql),
                sqlstate: SqlState::CHECK_VIOLATION,
                message: format!(
                    "check constraint \"{}\" of relation \"{}\" is violated by some row",
                    check.name, table.name
                ),
            });
        }
        let keys = table.primary_key.iter().skip(before.primary_key.iter().count());
        for key in keys.chain(table.unique_keys.iter().skip(before.unique_keys.len())) {
            copy.demands.push(no_duplicates(&table, key));
        }
        self.rebuild(&table, &copy)?;
        Ok(table)
    }

    fn drop_constraint(
        &mut self,
        mut table: Table,
        name: &ast::Ident,
        if_exists: bool,
        cascade: bool,
    ) -> Result<Table> {
        let name = fold(name);
        if !super::add_constraint::has_constraint(&table, &name) {
            let message = format!("constraint \"{name}\" of relation \"{}\" does not exist", table.name);
            if if_exists {
                self.notice(SqlState::SUCCESSFUL_COMPLETION, format!("{message}, skipping"));
                return Ok(table);
            }
            return Err(Error::new(SqlState::UNDEFINED_OBJECT, message));
        }
        let dropped = table.primary_key.iter().chain(&table.unique_keys).find(|key| key.name == name).cloned();
        if let Some(key) = &dropped {
            self.release_key(&mut table, &key.columns, &name, cascade)?;
        }
        table.primary_key = table.primary_key.filter(|key| key.name != name);
        table.unique_keys.retain(|key| key.name != name);
        table.checks.retain(|check| check.name != name);
        table.foreign_keys.retain(|foreign| foreign.name != name);
        self.rebuild(&table, &Copy::of(&table))?;
        Ok(table)
    }

    /// Foreign keys that need a key which is about to go.
    pub(super) fn release_key(&mut self, table: &mut Table, key: &[usize], name: &str, cascade: bool) -> Result<()> {
        let needs = |foreign: &crate::topology::ForeignKey, table: &str| {
            foreign.references == table
                && foreign.referenced_columns.len() == key.len()
                && foreign.referenced_columns.iter().all(|index| key.contains(index))
        };
        let referring: Vec<Table> = self
            .schema
            .tables
            .values()
            .filter(|other| other.foreign_keys.iter().any(|foreign| needs(foreign, &table.name)))
            .map(|other| (**other).clone())
            .collect();
        for mut other in referring {
            if !cascade {
                let constraint = other.foreign_keys.iter().find(|foreign| needs(foreign, &table.name));
                return Err(dependent(
                    format!("cannot drop constraint {name} on table {} because other objects depend on it", table.name),
                    format!(
                        "constraint {} on table {} depends on index {name}",
                        constraint.map_or("", |foreign| foreign.name.as_str()),
                        other.name
                    ),
                ));
            }
            if other.name == table.name {
                let own = table.name.clone();
                table.foreign_keys.retain(|foreign| !needs(foreign, &own));
                continue;
            }
            other.foreign_keys.retain(|foreign| !needs(foreign, &table.name));
            self.rebuild(&other, &Copy::of(&other))?;
            self.store(other)?;
        }
        Ok(())
    }

    fn drop_column(&mut self, mut table: Table, name: &ast::Ident, if_exists: bool, cascade: bool) -> Result<Table> {
        let folded = fold(name);
        let Some((index, _)) = table.column(&folded) else {
            let message = format!("column \"{folded}\" of relation \"{}\" does not exist", table.name);
            if if_exists {
                self.notice(SqlState::SUCCESSFUL_COMPLETION, format!("{message}, skipping"));
                return Ok(table);
            }
            return Err(Error::new(SqlState::UNDEFINED_COLUMN, message));
        };
        if table.key_column() == Some(index) {
            return Err(Error::unsupported("dropping the key column of a sharded table", "Drop the table."));
        }
        if table.columns.len() == 1 {
            return Err(Error::unsupported("a table without columns", "Drop the table."));
        }
        let keys: Vec<_> = table.primary_key.iter().chain(&table.unique_keys).cloned().collect();
        for key in keys.iter().filter(|key| key.columns.contains(&index)) {
            self.release_key(&mut table, &key.columns, &key.name, cascade)?;
        }
        forget_column(&mut table, index)?;
        let copy = Copy::of(&table);
        self.shift_references(&table.name, index)?;
        self.rebuild(&table, &copy)?;
        self.statements.push(format!(
            "DELETE FROM shardd_sequence WHERE table_name = {} AND column_name = {}",
            super::super::names::quote_text(&table.name),
            super::super::names::quote_text(&folded)
        ));
        Ok(table)
    }

    /// Other tables' foreign keys count the columns of this one.
    fn shift_references(&mut self, name: &str, dropped: usize) -> Result<()> {
        let referring: Vec<Table> = self
            .schema
            .tables
            .values()
            .filter(|other| other.name != name && other.foreign_keys.iter().any(|foreign| foreign.references == name))
            .map(|other| (**other).clone())
            .collect();
        for mut other in referring {
            for foreign in other.foreign_keys.iter_mut().filter(|foreign| foreign.references == name) {
                foreign.referenced_columns.iter_mut().for_each(|index| shift(index, dropped));
            }
            self.store(other)?;
        }
        Ok(())
    }
}

fn shift(index: &mut usize, dropped: usize) {
    if *index > dropped {
        *index -= 1;
    }
}

/// Takes a column out of a table, with the constraints and indexes that it is part of.
fn forget_column(table: &mut Table, index: usize) -> Result<()> {
    let parse = super::super::parse_expression;
    let mut checks = Vec::new();
    for check in std::mem::take(&mut table.checks) {
        if !named_columns(&parse(&check.expression)?, table).contains(&index) {
            checks.push(check);
        }
    }
    let mut indexes = Vec::new();
    for known in std::mem::take(&mut table.indexes) {
        let definition = read_definition(&known)?;
        let mut expressions = definition.columns.iter().map(|key| &key.column.expr).chain(&definition.predicate);
        if !expressions.any(|expression| named_columns(expression, table).contains(&index)) {
            indexes.push(known);
        }
    }
    (table.checks, table.indexes) = (checks, indexes);
    let keeps = |columns: &[usize]| !columns.contains(&index);
    table.primary_key = table.primary_key.take().filter(|key| keeps(&key.columns));
    table.unique_keys.retain(|key| keeps(&key.columns));
    let own = table.name.clone();
    table
        .foreign_keys
        .retain(|foreign| keeps(&foreign.columns) && (foreign.references != own || keeps(&foreign.referenced_columns)));
    table.columns.remove(index);
    for key in table.primary_key.iter_mut().chain(&mut table.unique_keys) {
        key.columns.iter_mut().for_each(|column| shift(column, index));
    }
    for foreign in &mut table.foreign_keys {
        foreign.columns.iter_mut().for_each(|column| shift(column, index));
        if foreign.references == own {
            foreign.referenced_columns.iter_mut().for_each(|column| shift(column, index));
        }
    }
    if let crate::topology::TableKind::Sharded { key_column, .. } = &mut table.kind {
        shift(key_column, index);
    }
    Ok(())
}

/// No row has NULL in a column.
pub(super) fn no_nulls(table: &str, column: &str) -> Demand {
    Demand {
        wrong: format!("{} IS NULL", quote(column)),
        sqlstate: SqlState::NOT_NULL_VIOLATION,
        message: format!("column \"{column}\" of relation \"{table}\" contains null values"),
    }
}

/// No two rows have the same key.
fn no_duplicates(table: &Table, key: &crate::topology::UniqueKey) -> Demand {
    let columns = || key.columns.iter().map(|index| &table.columns[*index]);
    let keys: Vec<String> = columns().map(|column| order_key(&quote(&column.name), column.data_type)).collect();
    let present: Vec<String> = columns().map(|column| format!("{} IS NOT NULL", quote(&column.name))).collect();
    Demand {
        wrong: format!(
            "EXISTS (SELECT 1 FROM {} WHERE {} GROUP BY {} HAVING count(*) > 1)",
            quote(&table.name),
            present.join(" AND "),
            keys.join(", ")
        ),
        sqlstate: SqlState::UNIQUE_VIOLATION,
        message: format!("could not create unique index \"{}\"", key.name),
    }
}
