//! ALTER TABLE ... ADD COLUMN and ALTER COLUMN.

use super::super::coerce::Context;
use super::super::data_type::type_name;
use super::super::expression::{Clause, Place};
use super::super::names::{fold, quote};
use super::super::typed::Typed;
use super::alter::no_nulls;
use super::rebuild::Copy;
use super::sqlite_table::{check_column_type, is_volatile, table_scope};
use super::{Change, column, schema_translator};
use crate::error::{Error, Result, SqlState};
use crate::shard::sqlite::EnvironmentValue;
use crate::sql::ast::{self, AlterColumnOperation};
use crate::topology::{Column, Table, TableKind};

impl Change<'_> {
    pub(super) fn add_column_to(
        &mut self,
        mut table: Table,
        written: &ast::ColumnDef,
        if_not_exists: bool,
    ) -> Result<Table> {
        let definition = column::read(written, &table.name, &self.schema)?;
        let name = definition.column.name.clone();
        if table.column(&name).is_some() {
            let message = format!("column \"{name}\" of relation \"{}\" already exists", table.name);
            if if_not_exists {
                self.notice(SqlState::DUPLICATE_COLUMN, format!("{message}, skipping"));
                return Ok(table);
            }
            return Err(Error::new(SqlState::DUPLICATE_COLUMN, message));
        }
        let becomes_key = self.keyspaces.iter().any(|keyspace| keyspace.key_column_of(&table.name) == name);
        if becomes_key && table.kind == TableKind::Reference {
            return Err(Error::unsupported(
                format_args!("adding the key column \"{name}\" to a table"),
                "Make a new table with the key column, and copy the rows.",
            ));
        }
        let mut copy = Copy::of(&table);
        super::create_table::add_column(&mut table.columns, definition.column.clone())?;
        let before = table.clone();
        for (constraint, option) in &definition.constraints {
            let constraint = super::add_constraint::beside_column(option, *constraint, &name)?;
            self.add_constraint(&mut table, &constraint)?;
        }
        let added = table.column(&name).map(|(_, column)| column.clone()).unwrap_or(definition.column);
        let value = self.fill(&before, &added)?;
        if added.not_null && !value.facts.not_null {
            let mut demand = no_nulls(&table.name, &name);
            demand.wrong = format!("{} IS NULL", value.sql);
            copy.demands.push(demand);
        }
        copy.values.push(value.sql);
        self.rebuild(&table, &copy)?;
        Ok(table)
    }

    /// The value of a new column in rows that there are.
    fn fill(&mut self, table: &Table, added: &Column) -> Result<Typed> {
        let mut translator = schema_translator(&self.schema);
        let mut value = translator.default_value(table, added)?;
        let environment = std::mem::take(&mut translator.parameters.environment);
        for (index, wanted) in environment.iter().enumerate() {
            if *wanted != EnvironmentValue::TransactionTimestamp {
                return Err(Error::unsupported(
                    "a new column's default that depends on the session",
                    "Add the column without a default, set the default, then update the rows.",
                ));
            }
            value.sql = value.sql.replace(&format!("?{}", index + 1), &self.now.to_string());
        }
        // Every shard fills its copy by itself.
        if table.kind == TableKind::Reference && is_volatile(&value.sql) {
            return Err(Error::unsupported(
                "a new column of a reference table whose default differs from row to row",
                "Add the column without a default, set the default, then update the rows.",
            ));
        }
        Ok(value)
    }

    pub(super) fn alter_column(
        &mut self,
        mut table: Table,
        name: &ast::Ident,
        operation: &AlterColumnOperation,
    ) -> Result<Table> {
        let folded = fold(name);
        let Some((index, _)) = table.column(&folded) else {
            let message = format!("column \"{folded}\" of relation \"{}\" does not exist", table.name);
            return Err(Error::new(SqlState::UNDEFINED_COLUMN, message));
        };
        match operation {
            AlterColumnOperation::SetNotNull => {
                if !table.columns[index].not_null {
                    let mut copy = Copy::of(&table);
                    copy.demands.push(no_nulls(&table.name, &folded));
                    table.columns[index].not_null = true;
                    self.rebuild(&table, &copy)?;
                }
            }
            AlterColumnOperation::DropNotNull => self.drop_not_null(&mut table, index)?,
            AlterColumnOperation::SetDefault { value } => {
                let column = &mut table.columns[index];
                if column.identity.is_some_and(|identity| identity != crate::topology::Identity::Serial) {
                    let message = format!("column \"{folded}\" of relation \"{}\" is an identity column", table.name);
                    return Err(Error::new(SqlState::SYNTAX_ERROR, message)
                        .hint("Use ALTER TABLE ... ALTER COLUMN ... DROP IDENTITY instead."));
                }
                let mut changed = Column { identity: None, default: None, ..column.clone() };
                column::set_default(&mut changed, value, &table.name, &self.schema)?;
                *column = changed;
            }
            AlterColumnOperation::DropDefault => {
                let column = &mut table.columns[index];
                column.default = None;
                column.identity = column.identity.filter(|identity| *identity != crate::topology::Identity::Serial);
            }
            AlterColumnOperation::SetDataType { data_type, using, .. } => {
                self.set_type(&mut table, index, data_type, using.as_ref())?;
            }
            AlterColumnOperation::AddGenerated { generated_as, .. } => {
                let generated = generated_as.unwrap_or(ast::GeneratedAs::ByDefault);
                if !table.columns[index].not_null {
                    let message = format!(
                        "column \"{folded}\" of relation \"{}\" must be declared NOT NULL before identity can be added",
                        table.name
                    );
                    return Err(Error::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, message));
                }
                let owner = table.name.clone();
                column::set_identity(&mut table.columns[index], &generated, &owner)?;
            }
        }
        Ok(table)
    }

    fn drop_not_null(&mut self, table: &mut Table, index: usize) -> Result<()> {
        let name = &table.columns[index].name;
        if table.primary_key.as_ref().is_some_and(|key| key.columns.contains(&index)) {
            return Err(Error::new(
                SqlState::INVALID_TABLE_DEFINITION,
                format!("column \"{name}\" is in a primary key"),
            ));
        }
        if table.key_column() == Some(index) {
            return Err(Error::unsupported(
                "NULL in the key column of a sharded table",
                "A row without a key would belong to no shard.",
            ));
        }
        if table.columns[index].identity.is_some_and(|identity| identity != crate::topology::Identity::Serial) {
            let message = format!("column \"{name}\" of relation \"{}\" is an identity column", table.name);
            return Err(Error::new(SqlState::SYNTAX_ERROR, message));
        }
        if table.columns[index].not_null {
            table.columns[index].not_null = false;
            let copy = Copy::of(table);
            self.rebuild(table, &copy)?;
        }
        Ok(())
    }

    fn set_type(
        &mut self,
        table: &mut Table,
        index: usize,
        data_type: &ast::DataType,
        using: Option<&ast::Expr>,
    ) -> Result<()> {
        let to = type_name(data_type)?;
        check_column_type(to.data_type)?;
        let column = table.columns[index].clone();
        // A key that becomes another belongs to another slot.
        let same_keys = to.data_type == column.data_type && to.modifier == column.modifier && using.is_none();
        if table.key_column() == Some(index) && !same_keys {
            return Err(Error::unsupported(
                "changing the type of the key column of a sharded table",
                "Make a new table, and copy the rows.",
            ));
        }
        if self.is_referenced(table, index) && to.data_type != column.data_type {
            return Err(Error::unsupported(
                "changing the type of a column that a foreign key is about",
                "Drop the constraint, change both columns, and add it again.",
            ));
        }
        let mut copy = Copy::of(table);
        let scope = table_scope(table)?;
        let mut translator = schema_translator(&self.schema);
        let source = match using {
            Some(using) => translator.expression(using, Place::new(&scope, Clause::Index))?,
            None => translator.expression(
                &ast::Expr::Identifier(ast::Ident::with_quote('"', &column.name)),
                Place::new(&scope, Clause::Index),
            )?,
        };
        let Some(value) = translator.try_cast(source, to, Context::Assignment)? else {
            let what = if using.is_some() { "result of USING clause for column" } else { "column" };
            let message = format!("{what} \"{}\" cannot be cast automatically to type {}", column.name, to.data_type);
            let error = Error::new(SqlState::DATATYPE_MISMATCH, message);
            return Err(match using {
                Some(_) => error.hint("You might need to add an explicit cast."),
                None => error.hint(format!(
                    "You might need to specify \"USING {}::{}\".",
                    quoted_if_needed(&column.name),
                    to.data_type
                )),
            });
        };
        if !translator.parameters.environment.is_empty() {
            return Err(Error::unsupported(
                "a change of type that depends on the session's time zone",
                format!("Say which: USING {} AT TIME ZONE 'UTC'.", column.name),
            ));
        }
        copy.values[index] = value.sql;
        let changed = Column { data_type: to.data_type, modifier: to.modifier, ..column };
        if let Some(default) = &changed.default {
            let mut checked = Column { default: None, identity: None, ..changed.clone() };
            let expression = super::super::parse_expression(default)?;
            column::set_default(&mut checked, &expression, &table.name, &self.schema).map_err(|_| {
                let message = format!(
                    "default for column \"{}\" cannot be cast automatically to type {}",
                    changed.name, changed.data_type
                );
                Error::new(SqlState::DATATYPE_MISMATCH, message)
            })?;
        }
        table.columns[index] = changed;
        self.rebuild(table, &copy)
    }

    fn is_referenced(&self, table: &Table, index: usize) -> bool {
        table.foreign_keys.iter().any(|foreign| foreign.columns.contains(&index))
            || self
                .schema
                .tables
                .values()
                .flat_map(|other| &other.foreign_keys)
                .any(|foreign| foreign.references == table.name && foreign.referenced_columns.contains(&index))
    }
}

fn quoted_if_needed(name: &str) -> String {
    let plain = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    if plain { name.to_owned() } else { quote(name) }
}
