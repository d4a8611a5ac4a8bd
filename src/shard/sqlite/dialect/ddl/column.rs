//! A column's definition: its type, and what is said of it.

use super::super::data_type::{TypeName, type_name};
use super::super::names::{QualifiedName, fold};
use super::super::refusal;
use super::super::scope::Scope;
use super::schema_translator;
use super::sqlite_table::check_column_type;
use super::text::text_of;
use crate::error::{Error, Result, SqlState};
use crate::sql::ast::{self, ColumnOption};
use crate::sql::walk_expressions;
use crate::topology::{Column, Identity, Schema};
use crate::types::PgType;

/// A column, and the constraints that stand beside it.
pub(super) struct Definition<'d> {
    pub(super) column: Column,
    pub(super) constraints: Vec<(Option<&'d ast::Ident>, &'d ColumnOption)>,
}

/// Reads a column's definition. `table` is named in messages.
pub(super) fn read<'d>(written: &'d ast::ColumnDef, table: &str, schema: &Schema) -> Result<Definition<'d>> {
    let name = fold(&written.name);
    if matches!(name.as_str(), "tableoid" | "cmax" | "xmax" | "cmin" | "xmin" | "ctid") {
        let message = format!("column name \"{name}\" conflicts with a system column name");
        return Err(Error::new(SqlState::DUPLICATE_COLUMN, message));
    }
    let (typed, serial) = match serial(&written.data_type) {
        Some(data_type) => (TypeName::from(data_type), true),
        None => (type_name(&written.data_type)?, false),
    };
    check_column_type(typed.data_type)?;
    let mut column = Column {
        modifier: typed.modifier,
        not_null: serial,
        identity: serial.then_some(Identity::Serial),
        ..Column::new(name, typed.data_type)
    };
    let mut constraints = Vec::new();
    let (mut null, mut not_null) = (false, false);
    for option in &written.options {
        match &option.option {
            ColumnOption::Null => null = true,
            ColumnOption::NotNull => not_null = true,
            ColumnOption::Default(value) => set_default(&mut column, value, table, schema)?,
            ColumnOption::Generated { generated_as, generation_expr: None, .. } => {
                set_identity(&mut column, generated_as, table)?;
                not_null = true;
            }
            ColumnOption::Generated { .. } => return Err(refusal::GENERATED_COLUMNS.error()),
            ColumnOption::Collation(collation) => {
                let collation = QualifiedName::new(collation)?;
                if !matches!(collation.name.as_str(), "C" | "POSIX" | "default" | "ucs_basic") {
                    return Err(refusal::COLLATION.error());
                }
            }
            ColumnOption::PrimaryKey(_) => {
                not_null = true;
                constraints.push((option.name.as_ref(), &option.option));
            }
            ColumnOption::Unique(_) | ColumnOption::ForeignKey(_) | ColumnOption::Check(_) => {
                constraints.push((option.name.as_ref(), &option.option));
            }
            other => return Err(Error::unsupported(format_args!("{other} on a column"), "Leave it out.")),
        }
    }
    if null && (not_null || serial) {
        let message =
            format!("conflicting NULL/NOT NULL declarations for column \"{}\" of table \"{table}\"", column.name);
        return Err(Error::new(SqlState::SYNTAX_ERROR, message));
    }
    column.not_null |= not_null;
    Ok(Definition { column, constraints })
}

/// serial and its kin.
fn serial(data_type: &ast::DataType) -> Option<PgType> {
    let ast::DataType::Custom(name, modifiers) = data_type else { return None };
    if !modifiers.is_empty() {
        return None;
    }
    match QualifiedName::new(name).ok()?.name.as_str() {
        "smallserial" | "serial2" => Some(PgType::Int2),
        "serial" | "serial4" => Some(PgType::Int4),
        "bigserial" | "serial8" => Some(PgType::Int8),
        _ => None,
    }
}

/// GENERATED ... AS IDENTITY.
pub(super) fn set_identity(column: &mut Column, generated: &ast::GeneratedAs, table: &str) -> Result<()> {
    if !matches!(column.data_type, PgType::Int2 | PgType::Int4 | PgType::Int8) {
        return Err(Error::new(
            SqlState::INVALID_PARAMETER_VALUE,
            "identity column type must be smallint, integer, or bigint",
        ));
    }
    if column.identity.is_some() {
        let message = format!("multiple identity specifications for column \"{}\" of table \"{table}\"", column.name);
        return Err(Error::new(SqlState::SYNTAX_ERROR, message));
    }
    if column.default.is_some() {
        return Err(both(column, table));
    }
    column.identity = Some(match generated {
        ast::GeneratedAs::Always => Identity::Always,
        ast::GeneratedAs::ByDefault => Identity::ByDefault,
        ast::GeneratedAs::ExpStored => return Err(refusal::GENERATED_COLUMNS.error()),
    });
    Ok(())
}

fn both(column: &Column, table: &str) -> Error {
    let message = format!("both default and identity specified for column \"{}\" of table \"{table}\"", column.name);
    Error::new(SqlState::SYNTAX_ERROR, message)
}

/// DEFAULT: kept as text, once it is known to give a value of the column's type.
pub(super) fn set_default(column: &mut Column, value: &ast::Expr, table: &str, schema: &Schema) -> Result<()> {
    match column.identity {
        Some(Identity::Serial) => {
            let message =
                format!("multiple default values specified for column \"{}\" of table \"{table}\"", column.name);
            return Err(Error::new(SqlState::SYNTAX_ERROR, message));
        }
        Some(_) => return Err(both(column, table)),
        None => {}
    }
    check_default(column, value, schema)?;
    let null = matches!(value, ast::Expr::Value(value) if value.value == ast::Value::Null);
    column.default = (!null).then(|| text_of(value));
    Ok(())
}

fn check_default(column: &Column, value: &ast::Expr, schema: &Schema) -> Result<()> {
    let found = walk_expressions(value, |inner: &ast::Expr| match inner {
        ast::Expr::Subquery(_) | ast::Expr::Exists { .. } | ast::Expr::InSubquery { .. } => {
            std::ops::ControlFlow::Break("cannot use subquery in DEFAULT expression")
        }
        ast::Expr::Identifier(_) | ast::Expr::CompoundIdentifier(_) => {
            std::ops::ControlFlow::Break("cannot use column reference in DEFAULT expression")
        }
        _ => std::ops::ControlFlow::Continue(()),
    });
    if let std::ops::ControlFlow::Break(message) = found {
        return Err(Error::new(SqlState::FEATURE_NOT_SUPPORTED, message));
    }
    let mut translator = schema_translator(schema);
    let scope = Scope::default();
    let place = super::super::expression::Place::new(&scope, super::super::expression::Clause::Default);
    let typed = translator.expression(value, place)?;
    let found = typed.data_type;
    translator.assign(typed, column).map(drop).map_err(|error| {
        if error.sqlstate() != SqlState::DATATYPE_MISMATCH {
            return error;
        }
        let message = format!(
            "column \"{}\" is of type {} but default expression is of type {found}",
            column.name, column.data_type
        );
        Error::new(SqlState::DATATYPE_MISMATCH, message).hint("You will need to rewrite or cast the expression.")
    })
}
