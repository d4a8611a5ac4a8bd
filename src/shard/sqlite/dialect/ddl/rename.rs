//! Renaming tables, columns and constraints, wherever their names stand.

use super::super::names::{QualifiedName, fold, quote, quote_text};
use super::create_index::read_definition;
use super::rebuild::Copy;
use super::text::text_of;
use super::{Change, check_name};
use crate::error::{Error, Result, SqlState};
use crate::shard::sqlite::store_table_statement;
use crate::sql::ast::{self, Expr};
use crate::sql::walk_expressions_mut;
use crate::topology::Table;

impl Change<'_> {
    pub(super) fn rename_table(&mut self, mut table: Table, new: &ast::ObjectName) -> Result<Table> {
        let new = QualifiedName::new(new)?.name;
        check_name(&new)?;
        if self.relation_exists(&new) {
            return Err(Error::new(SqlState::DUPLICATE_TABLE, format!("relation \"{new}\" already exists")));
        }
        let old = std::mem::replace(&mut table.name, new.clone());
        if !old.eq_ignore_ascii_case(&new) {
            self.check_case(&new)?;
        }
        self.statements.push(format!("ALTER TABLE {} RENAME TO {}", quote(&old), quote(&new)));
        for check in &mut table.checks {
            check.expression = rewrite(&check.expression, |part| rename_qualifier(part, &old, &new))?;
        }
        for foreign in table.foreign_keys.iter_mut().filter(|foreign| foreign.references == old) {
            foreign.references.clone_from(&new);
        }
        for index in &mut table.indexes {
            let mut definition = read_definition(index)?;
            definition.table_name = ast::ObjectName::from(vec![ast::Ident::with_quote('"', &new)]);
            index.definition = text_of(&ast::Statement::CreateIndex(definition));
        }
        let referring: Vec<Table> = self
            .schema
            .tables
            .values()
            .filter(|other| other.name != old && other.foreign_keys.iter().any(|foreign| foreign.references == old))
            .map(|other| (**other).clone())
            .collect();
        for mut other in referring {
            for foreign in other.foreign_keys.iter_mut().filter(|foreign| foreign.references == old) {
                foreign.references.clone_from(&new);
            }
            self.store(other)?;
        }
        self.statements.push(format!("DELETE FROM shardd_table WHERE name = {}", quote_text(&old)));
        self.statements.push(format!(
            "UPDATE shardd_sequence SET table_name = {} WHERE table_name = {}",
            quote_text(&new),
            quote_text(&old)
        ));
        self.schema.tables.remove(&old);
        self.statements.push(store_table_statement(&table)?);
        Ok(table)
    }

    pub(super) fn rename_column(&mut self, mut table: Table, old: &ast::Ident, new: &ast::Ident) -> Result<Table> {
        let (old, new) = (fold(old), fold(new));
        let Some((index, _)) = table.column(&old) else {
            return Err(Error::new(SqlState::UNDEFINED_COLUMN, format!("column \"{old}\" does not exist")));
        };
        if table.columns.iter().any(|column| column.name.eq_ignore_ascii_case(&new) && column.name != old) {
            let message = format!("column \"{new}\" of relation \"{}\" already exists", table.name);
            return Err(Error::new(SqlState::DUPLICATE_COLUMN, message));
        }
        if table.key_column() == Some(index) {
            return Err(Error::unsupported(
                "renaming the key column of a sharded table",
                "The key column's name is the keyspace's. Use a view of the name in the application.",
            ));
        }
        self.statements.push(format!(
            "ALTER TABLE {} RENAME COLUMN {} TO {}",
            quote(&table.name),
            quote(&old),
            quote(&new)
        ));
        table.columns[index].name.clone_from(&new);
        for check in &mut table.checks {
            check.expression = rewrite(&check.expression, |part| rename_part(part, &old, &new))?;
        }
        for index in &mut table.indexes {
            let mut definition = read_definition(index)?;
            for key in &mut definition.columns {
                rename_in(&mut key.column.expr, &old, &new);
            }
            if let Some(predicate) = &mut definition.predicate {
                rename_in(predicate, &old, &new);
            }
            index.definition = text_of(&ast::Statement::CreateIndex(definition));
        }
        self.statements.push(format!(
            "UPDATE shardd_sequence SET column_name = {} WHERE table_name = {} AND column_name = {}",
            quote_text(&new),
            quote_text(&table.name),
            quote_text(&old)
        ));
        Ok(table)
    }

    pub(super) fn rename_constraint(&mut self, mut table: Table, old: &ast::Ident, new: &ast::Ident) -> Result<Table> {
        let (old, new) = (fold(old), fold(new));
        if super::add_constraint::has_constraint(&table, &new) {
            let message = format!("constraint \"{new}\" for relation \"{}\" already exists", table.name);
            return Err(Error::new(SqlState::DUPLICATE_OBJECT, message));
        }
        let keys = table.primary_key.iter_mut().chain(&mut table.unique_keys).map(|key| &mut key.name);
        let checks = table.checks.iter_mut().map(|check| &mut check.name);
        let foreign = table.foreign_keys.iter_mut().map(|foreign| &mut foreign.name);
        let Some(name) = keys.chain(checks).chain(foreign).find(|name| **name == old) else {
            let message = format!("constraint \"{old}\" for table \"{}\" does not exist", table.name);
            return Err(Error::new(SqlState::UNDEFINED_OBJECT, message));
        };
        new.clone_into(name);
        self.rebuild(&table, &Copy::of(&table))?;
        Ok(table)
    }
}

/// Changes names in a stored expression.
fn rewrite(text: &str, change: impl Fn(&mut Expr)) -> Result<String> {
    let mut expression = super::super::parse_expression(text)?;
    walk_expressions_mut(&mut expression, change);
    Ok(text_of(&expression))
}

fn rename_in(expression: &mut Expr, old: &str, new: &str) {
    walk_expressions_mut(expression, |part| rename_part(part, old, new));
}

fn rename_part(part: &mut Expr, old: &str, new: &str) {
    let name = match part {
        Expr::Identifier(name) => Some(name),
        Expr::CompoundIdentifier(parts) => parts.last_mut(),
        _ => None,
    };
    if let Some(name) = name.filter(|name| fold(name) == old) {
        *name = ast::Ident::with_quote('"', new);
    }
}

fn rename_qualifier(part: &mut Expr, old: &str, new: &str) {
    if let Expr::CompoundIdentifier(parts) = part {
        let at = parts.len().saturating_sub(2);
        if let Some(table) = parts.get_mut(at).filter(|table| fold(table) == old) {
            *table = ast::Ident::with_quote('"', new);
        }
    }
}
