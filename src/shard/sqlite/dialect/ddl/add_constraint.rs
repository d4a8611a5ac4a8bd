//! PRIMARY KEY, UNIQUE, CHECK and FOREIGN KEY, beside a column or after them.

use super::super::expression::Clause;
use super::super::names::{QualifiedName, fold};
use super::super::refusal;
use super::Change;
use super::column::Definition;
use super::constraint_name::{choose, joined};
use super::placement::{check_keyable, check_unique, unique_key};
use super::sqlite_table::{named_columns, schema_condition};
use super::text::text_of;
use crate::error::{Error, Result, SqlState};
use crate::sql::ast::{self, ColumnOption, TableConstraint};
use crate::topology::{Check, ForeignKey, ForeignKeyAction, Table, TableKind};
use crate::types::PgType;

impl Change<'_> {
    /// Adds a new table's constraints, keys first, as Postgres does.
    pub(super) fn add_constraints(
        &mut self,
        table: &mut Table,
        definitions: &[Definition<'_>],
        constraints: &[TableConstraint],
    ) -> Result<()> {
        let mut all = Vec::new();
        for definition in definitions {
            for (name, option) in &definition.constraints {
                all.push(beside_column(option, *name, &definition.column.name)?);
            }
        }
        all.extend(constraints.iter().cloned());
        let order = |constraint: &TableConstraint| match constraint {
            TableConstraint::PrimaryKey(_) => 0,
            TableConstraint::Unique(_) => 1,
            TableConstraint::Check(_) => 2,
            _ => 3,
        };
        all.sort_by_key(order);
        for constraint in &all {
            self.add_constraint(table, constraint)?;
        }
        Ok(())
    }

    /// Adds a constraint to a table's definition.
    pub(super) fn add_constraint(&mut self, table: &mut Table, constraint: &TableConstraint) -> Result<()> {
        match constraint {
            TableConstraint::PrimaryKey(key) => {
                check_plain(&key.characteristics)?;
                self.add_primary_key(table, key)
            }
            TableConstraint::Unique(key) => {
                check_plain(&key.characteristics)?;
                self.add_unique(table, key)
            }
            TableConstraint::Check(check) => self.add_check(table, check),
            TableConstraint::ForeignKey(foreign) => {
                check_plain(&foreign.characteristics)?;
                self.add_foreign_key(table, foreign)
            }
            TableConstraint::Exclude(_) => Err(refusal::EXCLUSION.error()),
            other => Err(Error::unsupported(
                format_args!("the constraint {other}"),
                "Use PRIMARY KEY, UNIQUE, CHECK or FOREIGN KEY.",
            )),
        }
    }

    fn add_primary_key(&mut self, table: &mut Table, key: &ast::PrimaryKeyConstraint) -> Result<()> {
        if table.primary_key.is_some() {
            let message = format!("multiple primary keys for table \"{}\" are not allowed", table.name);
            return Err(Error::new(SqlState::INVALID_TABLE_DEFINITION, message));
        }
        let columns = key_columns(table, &key.columns)?;
        check_unique(table, &columns, "PRIMARY KEY")?;
        let name = match &key.name {
            Some(name) => self.given_relation_name(table, name)?,
            None => choose(&table.name, "", "pkey", |name| self.is_taken(table, name)),
        };
        for index in &columns {
            table.columns[*index].not_null = true;
        }
        table.primary_key = Some(unique_key(name, columns));
        Ok(())
    }

    fn add_unique(&mut self, table: &mut Table, key: &ast::UniqueConstraint) -> Result<()> {
        if key.nulls_distinct == ast::NullsDistinctOption::NotDistinct {
            return Err(refusal::NULLS_NOT_DISTINCT.error());
        }
        let columns = key_columns(table, &key.columns)?;
        check_unique(table, &columns, "UNIQUE")?;
        let name = match &key.name {
            Some(name) => self.given_relation_name(table, name)?,
            None => {
                let names = joined(columns.iter().map(|index| table.columns[*index].name.as_str()));
                choose(&table.name, &names, "key", |name| self.is_taken(table, name))
            }
        };
        table.unique_keys.push(unique_key(name, columns));
        Ok(())
    }

    fn add_check(&mut self, table: &mut Table, check: &ast::CheckConstraint) -> Result<()> {
        schema_condition(&check.expr, table, &self.schema, Clause::Check)?;
        let name = match &check.name {
            Some(name) => given_name(table, name)?,
            None => {
                let columns = named_columns(&check.expr, table);
                let column = match columns.as_slice() {
                    [only] => table.columns[*only].name.clone(),
                    _ => String::new(),
                };
                choose(&table.name, &column, "check", |name| has_constraint(table, name))
            }
        };
        table.checks.push(Check { name, expression: text_of(&*check.expr) });
        Ok(())
    }

    fn add_foreign_key(&mut self, table: &mut Table, foreign: &ast::ForeignKeyConstraint) -> Result<()> {
        if !matches!(foreign.match_kind, None | Some(ast::ConstraintReferenceMatchKind::Simple)) {
            return Err(Error::unsupported("MATCH FULL and MATCH PARTIAL", "Use NOT NULL columns."));
        }
        let parent_name = QualifiedName::new(&foreign.foreign_table)?;
        let parent = if parent_name.is_public() && parent_name.name == table.name {
            table.clone()
        } else {
            (*self.table(&parent_name)?).clone()
        };
        let columns = foreign.columns.iter().map(|name| foreign_column(table, name)).collect::<Result<Vec<_>>>()?;
        let referenced = referenced_columns(&parent, &foreign.referred_columns)?;
        if columns.len() != referenced.len() {
            let message = "number of referencing and referenced columns for foreign key disagree";
            return Err(Error::new(SqlState::INVALID_FOREIGN_KEY, message));
        }
        let names = joined(columns.iter().map(|index| table.columns[*index].name.as_str()));
        let name = match &foreign.name {
            Some(name) => given_name(table, name)?,
            None => choose(&table.name, &names, "fkey", |name| has_constraint(table, name)),
        };
        check_pairs(table, &parent, &columns, &referenced, &name)?;
        check_placement(table, &parent, &columns, &referenced)?;
        table.foreign_keys.push(ForeignKey {
            name,
            columns,
            references: parent.name,
            referenced_columns: referenced,
            on_delete: action(foreign.on_delete.as_ref()),
            on_update: action(foreign.on_update.as_ref()),
        });
        Ok(())
    }

    /// A name for a key, which is an index too.
    fn given_relation_name(&self, table: &Table, name: &ast::Ident) -> Result<String> {
        let name = given_name(table, name)?;
        if self.is_taken(table, &name) {
            return Err(Error::new(SqlState::DUPLICATE_TABLE, format!("relation \"{name}\" already exists")));
        }
        Ok(name)
    }

    pub(super) fn is_taken(&self, table: &Table, name: &str) -> bool {
        table.name == name || self.relation_exists(name) || has_constraint(table, name)
    }
}

/// Whether a table has a constraint of the name.
pub(super) fn has_constraint(table: &Table, name: &str) -> bool {
    table.primary_key.iter().chain(&table.unique_keys).any(|key| key.name == name)
        || table.checks.iter().any(|check| check.name == name)
        || table.foreign_keys.iter().any(|foreign| foreign.name == name)
}

fn given_name(table: &Table, name: &ast::Ident) -> Result<String> {
    let name = fold(name);
    super::check_name(&name)?;
    if has_constraint(table, &name) {
        let message = format!("constraint \"{name}\" for relation \"{}\" already exists", table.name);
        return Err(Error::new(SqlState::DUPLICATE_OBJECT, message));
    }
    Ok(name)
}

/// A constraint beside a column, as if it stood after the columns.
pub(super) fn beside_column(option: &ColumnOption, name: Option<&ast::Ident>, column: &str) -> Result<TableConstraint> {
    let ident = ast::Ident::with_quote('"', column);
    let key = || {
        let expr = ast::Expr::Identifier(ident.clone());
        let options = ast::OrderByOptions { sort: None, nulls_first: None };
        vec![ast::IndexColumn { column: ast::OrderByExpr { expr, options, with_fill: None }, operator_class: None }]
    };
    Ok(match option {
        ColumnOption::PrimaryKey(constraint) => TableConstraint::PrimaryKey(ast::PrimaryKeyConstraint {
            name: constraint.name.clone().or_else(|| name.cloned()),
            columns: key(),
            ..constraint.clone()
        }),
        ColumnOption::Unique(constraint) => TableConstraint::Unique(ast::UniqueConstraint {
            name: constraint.name.clone().or_else(|| name.cloned()),
            columns: key(),
            ..constraint.clone()
        }),
        ColumnOption::Check(constraint) => TableConstraint::Check(ast::CheckConstraint {
            name: constraint.name.clone().or_else(|| name.cloned()),
            ..constraint.clone()
        }),
        ColumnOption::ForeignKey(constraint) => TableConstraint::ForeignKey(ast::ForeignKeyConstraint {
            name: constraint.name.clone().or_else(|| name.cloned()),
            columns: vec![ident],
            ..constraint.clone()
        }),
        other => return Err(Error::internal(format!("{other} is no constraint"))),
    })
}

fn check_plain(characteristics: &Option<ast::ConstraintCharacteristics>) -> Result<()> {
    match characteristics {
        Some(given) if given.deferrable == Some(true) => Err(refusal::DEFERRABLE.error()),
        Some(given) if given.initially == Some(ast::DeferrableInitial::Deferred) => Err(refusal::DEFERRABLE.error()),
        _ => Ok(()),
    }
}

fn key_columns(table: &Table, written: &[ast::IndexColumn]) -> Result<Vec<usize>> {
    let mut columns = Vec::with_capacity(written.len());
    for column in written {
        let ast::Expr::Identifier(name) = &column.column.expr else {
            return Err(Error::new(SqlState::SYNTAX_ERROR, "a key is made of columns"));
        };
        let folded = fold(name);
        let Some((index, found)) = table.column(&folded) else {
            let message = format!("column \"{folded}\" named in key does not exist");
            return Err(Error::new(SqlState::UNDEFINED_COLUMN, message));
        };
        if columns.contains(&index) {
            let message = format!("column \"{folded}\" appears twice in primary key constraint");
            return Err(Error::new(SqlState::DUPLICATE_COLUMN, message));
        }
        check_keyable(found)?;
        columns.push(index);
    }
    Ok(columns)
}

fn foreign_column(table: &Table, name: &ast::Ident) -> Result<usize> {
    let folded = fold(name);
    table.column(&folded).map(|(index, _)| index).ok_or_else(|| {
        let message = format!("column \"{folded}\" referenced in foreign key constraint does not exist");
        Error::new(SqlState::UNDEFINED_COLUMN, message)
    })
}

fn referenced_columns(parent: &Table, names: &[ast::Ident]) -> Result<Vec<usize>> {
    if names.is_empty() {
        return parent.primary_key.as_ref().map(|key| key.columns.clone()).ok_or_else(|| {
            let message = format!("there is no primary key for referenced table \"{}\"", parent.name);
            Error::new(SqlState::UNDEFINED_OBJECT, message)
        });
    }
    let columns = names.iter().map(|name| foreign_column(parent, name)).collect::<Result<Vec<_>>>()?;
    let same = |key: &&crate::topology::UniqueKey| {
        key.columns.len() == columns.len() && key.columns.iter().all(|index| columns.contains(index))
    };
    if parent.primary_key.iter().chain(&parent.unique_keys).any(|key| same(&key)) {
        return Ok(columns);
    }
    let message = format!("there is no unique constraint matching given keys for referenced table \"{}\"", parent.name);
    Err(Error::new(SqlState::INVALID_FOREIGN_KEY, message))
}

/// The types of each pair can be compared, and lie alike in their cells.
fn check_pairs(table: &Table, parent: &Table, columns: &[usize], referenced: &[usize], name: &str) -> Result<()> {
    for (own, other) in columns.iter().zip(referenced) {
        let (own, other) = (&table.columns[*own], &parent.columns[*other]);
        let class = |data_type: PgType| match data_type {
            PgType::Int2 | PgType::Int4 | PgType::Int8 => 1,
            PgType::Text | PgType::Varchar => 2,
            PgType::Float4 | PgType::Float8 => 3,
            _ => 0,
        };
        let alike = class(own.data_type) != 0 && class(own.data_type) == class(other.data_type);
        if own.data_type == other.data_type || alike {
            continue;
        }
        let message = format!("foreign key constraint \"{name}\" cannot be implemented");
        return Err(Error::new(SqlState::DATATYPE_MISMATCH, message).detail(format!(
            "Key columns \"{}\" and \"{}\" are of incompatible types: {} and {}.",
            own.name, other.name, own.data_type, other.data_type
        )));
    }
    Ok(())
}

/// A row and the row that it refers to are always on one shard.
fn check_placement(table: &Table, parent: &Table, columns: &[usize], referenced: &[usize]) -> Result<()> {
    if table.keyspace != parent.keyspace {
        return Err(Error::unsupported(
            format_args!("a foreign key from keyspace \"{}\" to keyspace \"{}\"", table.keyspace, parent.keyspace),
            "Keep the two tables in one keyspace, or check in the application.",
        ));
    }
    match (table.kind, parent.kind) {
        (_, TableKind::Reference) => Ok(()),
        (TableKind::Reference, TableKind::Sharded { .. }) => Err(Error::unsupported(
            format_args!(
                "a foreign key from the reference table \"{}\" to the sharded table \"{}\"",
                table.name, parent.name
            ),
            "Every shard holds the whole reference table, but only its part of the sharded one.",
        )),
        (TableKind::Sharded { key_column: own, .. }, TableKind::Sharded { key_column: other, .. }) => {
            if columns.iter().zip(referenced).any(|pair| pair == (&own, &other)) {
                return Ok(());
            }
            Err(Error::unsupported(
                format_args!(
                    "a foreign key between sharded tables without the key column \"{}\"",
                    table.columns[own].name
                ),
                format!(
                    "Include it: FOREIGN KEY ({}, ...) REFERENCES {} ({}, ...).",
                    table.columns[own].name, parent.name, parent.columns[other].name
                ),
            )
            .detail("Rows with different keys live on different shards."))
        }
    }
}

fn action(written: Option<&ast::ReferentialAction>) -> ForeignKeyAction {
    match written {
        None | Some(ast::ReferentialAction::NoAction) => ForeignKeyAction::NoAction,
        Some(ast::ReferentialAction::Restrict) => ForeignKeyAction::Restrict,
        Some(ast::ReferentialAction::Cascade) => ForeignKeyAction::Cascade,
        Some(ast::ReferentialAction::SetNull) => ForeignKeyAction::SetNull,
        Some(ast::ReferentialAction::SetDefault) => ForeignKeyAction::SetDefault,
    }
}
