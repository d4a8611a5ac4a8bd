//! WITH, and queries that refer to themselves.
//!
//! Of its own since the names it gives must be known before what is around it is read.

use super::names::fold;
use super::order::Limit;
use super::query::{QueryOutput, ResultColumn, Untyped, numbered};
use super::scope::{Cte, CteColumn, Scope};
use super::{Translator, refusal};
use crate::error::{Error, Result, SqlState};
use crate::sql::ast::{self, SetExpr};
use crate::sql::names_relation;
use crate::types::PgType;

impl Translator<'_> {
    /// WITH: its text, and its queries' names in the scope.
    pub(super) fn with(&mut self, with: Option<&ast::With>, scope: &mut Scope<'_>) -> Result<String> {
        let Some(with) = with else { return Ok(String::new()) };
        let mut texts = Vec::with_capacity(with.cte_tables.len());
        for cte in &with.cte_tables {
            let name = fold(&cte.alias.name);
            if scope.ctes.iter().any(|known| known.name == name) {
                let message = format!("WITH query name \"{name}\" specified more than once");
                return Err(self.error_at(Error::new(SqlState::DUPLICATE_ALIAS, message), cte.alias.name.span));
            }
            if matches!(cte.query.body.as_ref(), SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_)) {
                return Err(refusal::DATA_MODIFYING_WITH.error());
            }
            let alias = self.alias();
            let recursive = with.recursive && mentions(&cte.query, &name);
            let output = if recursive {
                self.recursive(cte, &name, &alias, scope)?
            } else {
                self.query(&cte.query, scope, Untyped::Text)?
            };
            let columns = cte_columns(&name, &output.columns, &cte.alias.columns)?;
            let hint = match cte.materialized {
                Some(ast::CteAsMaterialized::Materialized) => "MATERIALIZED ",
                Some(ast::CteAsMaterialized::NotMaterialized) => "NOT MATERIALIZED ",
                None => "",
            };
            let names = numbered(columns.len());
            texts.push(format!("{alias}({}) AS {hint}({})", names.join(", "), output.sql));
            scope.ctes.push(Cte { name, alias, columns, open: false });
        }
        let recursive = if with.recursive { "RECURSIVE " } else { "" };
        Ok(format!("WITH {recursive}{} ", texts.join(", ")))
    }

    /// A WITH query that refers to itself: its first part gives the types.
    fn recursive(&mut self, cte: &ast::Cte, name: &str, alias: &str, scope: &mut Scope<'_>) -> Result<QueryOutput> {
        let shape = || {
            let message = format!(
                "recursive query \"{name}\" does not have the form non-recursive-term UNION [ALL] recursive-term"
            );
            Error::new(SqlState::INVALID_RECURSION, message)
        };
        let query = &cte.query;
        let SetExpr::SetOperation { left, op: ast::SetOperator::Union, set_quantifier, right } = query.body.as_ref()
        else {
            return Err(shape());
        };
        if query.order_by.is_some() || query.limit_clause.is_some() || query.fetch.is_some() || query.with.is_some() {
            return Err(Error::unsupported(
                "ORDER BY, LIMIT or WITH in a recursive query",
                "Put it in the query that reads it.",
            ));
        }
        let inner = Scope::inside(scope);
        self.frames.resize_with(self.frames.len().max(inner.depth + 2), Vec::new);
        let first = self.body(left, &inner)?;
        let none = Limit::default();
        let first = self.finish_body(first, &none, Untyped::Text)?;
        let columns = cte_columns(name, &first.columns, &cte.alias.columns)?;
        scope.ctes.push(Cte { name: name.to_owned(), alias: alias.to_owned(), columns, open: true });
        let second = {
            let inner = Scope::inside(scope);
            let types: Vec<PgType> = first.columns.iter().map(|column| column.data_type).collect();
            let body = self.body(right, &inner)?;
            self.finish_body(body, &none, Untyped::As(&types))?
        };
        scope.ctes.pop();
        if second.columns.len() != first.columns.len() {
            return Err(Error::new(SqlState::SYNTAX_ERROR, "each UNION query must have the same number of columns"));
        }
        let pairs = first.columns.iter().zip(&second.columns).enumerate();
        for (index, (first, second)) in pairs {
            if first.data_type != second.data_type {
                let message = format!(
                    "recursive query \"{name}\" column {} has type {} in non-recursive term but type {} overall",
                    index + 1,
                    first.data_type,
                    second.data_type
                );
                return Err(Error::new(SqlState::DATATYPE_MISMATCH, message)
                    .hint("Cast the output of the non-recursive term to the correct type."));
            }
        }
        let word = if *set_quantifier == ast::SetQuantifier::All { "UNION ALL" } else { "UNION" };
        let second_sql =
            if second.compound || second.closed { format!("SELECT * FROM ({})", second.sql) } else { second.sql };
        let first_sql = if first.closed { format!("SELECT * FROM ({})", first.sql) } else { first.sql };
        let sql = format!("{first_sql} {word} {second_sql}");
        let mut columns = first.columns;
        for column in &mut columns {
            column.not_null = false;
        }
        let column_names = numbered(columns.len());
        Ok(QueryOutput {
            sql,
            columns,
            column_names,
            single_row: false,
            point_read: false,
            compound: true,
            closed: false,
        })
    }
}

fn cte_columns(name: &str, columns: &[ResultColumn], aliases: &[ast::TableAliasColumnDef]) -> Result<Vec<CteColumn>> {
    if aliases.len() > columns.len() {
        let message = format!(
            "WITH query \"{name}\" has {} columns available but {} columns specified",
            columns.len(),
            aliases.len()
        );
        return Err(Error::new(SqlState::INVALID_COLUMN_REFERENCE, message));
    }
    let named = |index: usize, own: &str| aliases.get(index).map_or_else(|| own.to_owned(), |alias| fold(&alias.name));
    Ok(columns
        .iter()
        .enumerate()
        .map(|(index, column)| CteColumn {
            name: named(index, &column.name),
            data_type: column.data_type,
            modifier: column.modifier,
            not_null: column.not_null,
            table_oid: column.table_oid,
            attribute: column.attribute,
        })
        .collect())
}

/// Whether a WITH query's text names `name` as a table.
fn mentions(query: &ast::Query, name: &str) -> bool {
    names_relation(
        query,
        |relation| matches!(relation.0.as_slice(), [ast::ObjectNamePart::Identifier(ident)] if fold(ident) == name),
    )
}
