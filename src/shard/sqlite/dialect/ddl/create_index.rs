//! CREATE INDEX and ALTER INDEX.

use super::super::expression::Clause;
use super::super::names::{QualifiedName, fold, quote};
use super::super::operate::order_key;
use super::super::refusal;
use super::constraint_name::{choose, joined};
use super::placement::{check_keyable, check_unique};
use super::sqlite_table::{schema_condition, schema_expression};
use super::text::text_of;
use super::{Change, check_name};
use crate::error::{Error, Result, SqlState};
use crate::sql::ast::{self, Expr};
use crate::topology::{Index, Schema, Table};

impl Change<'_> {
    pub(super) fn create_index(&mut self, create: &ast::CreateIndex) -> Result<&'static str> {
        const TAG: &str = "CREATE INDEX";
        check_supported(create)?;
        let mut table = (*self.table(&QualifiedName::new(&create.table_name)?)?).clone();
        let name = match &create.name {
            Some(name) => {
                let name = QualifiedName::new(name)?.name;
                check_name(&name)?;
                name
            }
            None => choose(&table.name, &default_part(create), "idx", |name| self.is_taken(&table, name)),
        };
        if self.relation_exists(&name) {
            let message = format!("relation \"{name}\" already exists");
            if create.if_not_exists {
                self.notice(SqlState::DUPLICATE_TABLE, format!("{message}, skipping"));
                return Ok(TAG);
            }
            return Err(Error::new(SqlState::DUPLICATE_TABLE, message));
        }
        self.check_case(&name)?;
        if create.unique {
            check_unique(&table, &plain_columns(create, &table), "UNIQUE INDEX")?;
        }
        let mut stored = create.clone();
        stored.name = Some(ast::ObjectName::from(vec![ast::Ident::with_quote('"', &name)]));
        stored.if_not_exists = false;
        stored.concurrently = false;
        self.statements.push(index_statement(&stored, &table, &self.schema)?);
        let definition = text_of(&ast::Statement::CreateIndex(stored));
        table.indexes.push(Index { name, definition, unique: create.unique });
        self.store(table)?;
        Ok(TAG)
    }

    pub(super) fn alter_index(
        &mut self,
        name: &ast::ObjectName,
        operation: &ast::AlterIndexOperation,
    ) -> Result<&'static str> {
        let ast::AlterIndexOperation::RenameIndex { index_name } = operation;
        let (old, new) = (QualifiedName::new(name)?.name, QualifiedName::new(index_name)?.name);
        let Some(owner) = self.index_owner(&old) else {
            return Err(Error::new(SqlState::UNDEFINED_TABLE, format!("relation \"{old}\" does not exist")));
        };
        let mut table = (**owner).clone();
        check_name(&new)?;
        if self.relation_exists(&new) {
            return Err(Error::new(SqlState::DUPLICATE_TABLE, format!("relation \"{new}\" already exists")));
        }
        self.statements.push(format!("DROP INDEX {}", quote(&old)));
        for index in table.indexes.iter_mut().filter(|index| index.name == old) {
            let mut definition = read_definition(index)?;
            definition.name = Some(ast::ObjectName::from(vec![ast::Ident::with_quote('"', &new)]));
            new.clone_into(&mut index.name);
            index.definition = text_of(&ast::Statement::CreateIndex(definition));
        }
        for index in table.indexes.iter().filter(|index| index.name == new) {
            self.statements.push(index_statement(&read_definition(index)?, &table, &self.schema)?);
        }
        self.store(table)?;
        Ok("ALTER INDEX")
    }
}

/// The stored definition of an index.
pub(super) fn read_definition(index: &Index) -> Result<ast::CreateIndex> {
    let damaged = || Error::internal(format!("the definition of index \"{}\" cannot be read", index.name));
    let parsed = crate::sql::parse(&index.definition, 0, Vec::new())?;
    match parsed.tree {
        crate::sql::Tree::Sql(statement) => match *statement {
            ast::Statement::CreateIndex(definition) => Ok(definition),
            _ => Err(damaged()),
        },
        crate::sql::Tree::Local(_) => Err(damaged()),
    }
}

/// SQLite's CREATE INDEX. It has no order of NULLs: an index answers for either.
pub(super) fn index_statement(create: &ast::CreateIndex, table: &Table, schema: &Schema) -> Result<String> {
    let mut keys = Vec::with_capacity(create.columns.len());
    for column in &create.columns {
        let key = &column.column;
        let typed = match &key.expr {
            Expr::Identifier(name) if table.column(&fold(name)).is_none() => {
                let message = format!("column \"{}\" does not exist", fold(name));
                return Err(Error::new(SqlState::UNDEFINED_COLUMN, message));
            }
            expression => schema_expression(expression, table, schema, Clause::Index)?,
        };
        if typed.data_type == crate::types::PgType::Json {
            check_keyable(&crate::topology::Column::new("", typed.data_type))?;
        }
        let descending = match key.options.sort {
            None | Some(ast::OrderBySort::Asc) => "",
            Some(ast::OrderBySort::Desc) => " DESC",
            Some(_) => return Err(Error::new(SqlState::SYNTAX_ERROR, "syntax error at or near \"USING\"")),
        };
        let plain = matches!(key.expr, Expr::Identifier(_));
        // A column has its collation from the table.
        let text = match typed.data_type {
            crate::types::PgType::Numeric | crate::types::PgType::Bpchar if plain => typed.sql,
            other => order_key(&typed.sql, other),
        };
        keys.push(format!("{text}{descending}"));
    }
    let condition = match &create.predicate {
        None => String::new(),
        Some(predicate) => format!(" WHERE {}", schema_condition(predicate, table, schema, Clause::Index)?.sql),
    };
    let unique = if create.unique { "UNIQUE " } else { "" };
    let name = create.name.as_ref().map(QualifiedName::new).transpose()?.map(|name| name.name).unwrap_or_default();
    Ok(format!("CREATE {unique}INDEX {} ON {} ({}){condition}", quote(&name), quote(&table.name), keys.join(", ")))
}

/// The columns among an index's keys.
fn plain_columns(create: &ast::CreateIndex, table: &Table) -> Vec<usize> {
    let column = |key: &ast::IndexColumn| match &key.column.expr {
        Expr::Identifier(name) => table.column(&fold(name)).map(|(index, _)| index),
        _ => None,
    };
    create.columns.iter().filter_map(column).collect()
}

fn default_part(create: &ast::CreateIndex) -> String {
    let names: Vec<String> = create
        .columns
        .iter()
        .map(|key| match &key.column.expr {
            Expr::Identifier(name) => fold(name),
            Expr::Function(function) => match function.name.0.last() {
                Some(ast::ObjectNamePart::Identifier(name)) => fold(name),
                _ => "expr".to_owned(),
            },
            _ => "expr".to_owned(),
        })
        .collect();
    joined(names.iter().map(String::as_str))
}

fn check_supported(create: &ast::CreateIndex) -> Result<()> {
    match &create.using {
        None | Some(ast::IndexType::BTree | ast::IndexType::Hash) => {}
        Some(other) => {
            return Err(Error::unsupported(
                format_args!("an index USING {}", other.to_string().to_lowercase()),
                "Use a btree index.",
            ));
        }
    }
    if create.nulls_distinct == Some(false) {
        return Err(refusal::NULLS_NOT_DISTINCT.error());
    }
    let bytewise = |class: &ast::ObjectName| {
        QualifiedName::new(class).is_ok_and(|class| class.name.ends_with("_ops") && class.name.contains("pattern"))
    };
    if create.columns.iter().any(|key| key.operator_class.as_ref().is_some_and(|class| !bytewise(class))) {
        return Err(refusal::OPERATOR_CLASS.error());
    }
    Ok(())
}
