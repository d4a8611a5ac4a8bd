//! Whole queries: WITH, set operations, VALUES, ORDER BY and LIMIT.

use super::coerce::common_type;
use super::expression::{Clause, Place};
use super::order::Limit;
use super::scope::Scope;
use super::select::SelectBody;
use super::typed::{Facts, Typed};
use super::{Translator, Written, refusal};
use crate::error::{Error, Result, SqlState};
use crate::shard::sqlite::Effect;
use crate::shard::{OutputColumn, Tag};
use crate::sql::ast::{self, SetExpr};
use crate::types::PgType;

/// A column of a query's result.
#[derive(Clone, Debug)]
pub(super) struct ResultColumn {
    pub(super) name: String,
    pub(super) data_type: PgType,
    pub(super) modifier: i32,
    pub(super) table_oid: u32,
    pub(super) attribute: i16,
    pub(super) not_null: bool,
}

/// A translated query.
#[derive(Clone, Debug)]
pub(super) struct QueryOutput {
    pub(super) sql: String,
    pub(super) columns: Vec<ResultColumn>,
    /// What the columns are called in SQLite, when the query stands in a FROM clause.
    pub(super) column_names: Vec<String>,
    /// It cannot return more than one row.
    pub(super) single_row: bool,
    pub(super) point_read: bool,
    /// It is made of several SELECTs: cannot be an operand on the right as it is.
    pub(super) compound: bool,
    /// It has WITH, ORDER BY or LIMIT: cannot be an operand at all as it is.
    pub(super) closed: bool,
}

/// A query without its ORDER BY and LIMIT, whose untyped columns may still be given types.
pub(super) enum Body<'s> {
    Select(Box<SelectBody<'s>>),
    Values(Vec<Vec<Typed>>),
    Output(QueryOutput),
}

/// What untyped columns become.
#[derive(Clone, Copy)]
pub(super) enum Untyped<'t> {
    Text,
    /// The types of the columns that they are inserted in, or that the other side of a set operation has.
    As(&'t [PgType]),
    /// Every column is brought to these types.
    Exactly(&'t [PgType]),
}

impl Translator<'_> {
    pub(super) fn query_statement(&mut self, query: &ast::Query, root: &Scope<'_>) -> Result<Written> {
        if let SetExpr::Insert(statement) | SetExpr::Update(statement) | SetExpr::Delete(statement) =
            query.body.as_ref()
        {
            return self.write_with(query.with.as_ref(), statement, root);
        }
        let output = self.query(query, root, Untyped::Text)?;
        let output = self.show_reg_columns(output)?;
        Ok(Written {
            sql: output.sql,
            columns: output.columns.into_iter().map(OutputColumn::from).collect(),
            effect: Effect::Read,
            tag: Tag::Select,
            point_read: output.point_read,
        })
    }

    /// WITH ... INSERT, UPDATE or DELETE.
    fn write_with(
        &mut self,
        with: Option<&ast::With>,
        statement: &ast::Statement,
        root: &Scope<'_>,
    ) -> Result<Written> {
        let mut scope = Scope::inside(root);
        let with = self.with(with, &mut scope)?;
        let mut written = match statement {
            ast::Statement::Insert(insert) => self.insert(insert, &scope)?,
            ast::Statement::Update(update) => self.update(update, &scope)?,
            ast::Statement::Delete(delete) => self.delete(delete, &scope)?,
            _ => return Err(refusal::MERGE.error()),
        };
        written.sql.insert_str(0, &with);
        Ok(written)
    }

    /// A query inside an expression, and what it uses of the queries around it.
    pub(super) fn subquery(&mut self, query: &ast::Query, place: Place<'_>) -> Result<(QueryOutput, Facts)> {
        let depth = place.scope.depth;
        if self.frames.len() <= depth {
            self.frames.resize_with(depth + 1, Vec::new);
        }
        let before = self.frames[depth].len();
        let output = self.query(query, place.scope, Untyped::Text)?;
        let used = &self.frames[depth][before..];
        let ungrouped = used.iter().find(|column| !place.in_aggregate && !place.scope.grouping.gives(column)).cloned();
        let facts = Facts { own_columns: !used.is_empty(), ungrouped, ..Facts::default() };
        Ok((output, facts))
    }

    pub(super) fn query(
        &mut self,
        query: &ast::Query,
        parent: &Scope<'_>,
        untyped: Untyped<'_>,
    ) -> Result<QueryOutput> {
        self.nested(|translator| translator.query_at_depth(query, parent, untyped))
    }

    fn query_at_depth(&mut self, query: &ast::Query, parent: &Scope<'_>, untyped: Untyped<'_>) -> Result<QueryOutput> {
        let foreign = query.for_clause.is_some()
            || query.settings.is_some()
            || query.format_clause.is_some()
            || !query.pipe_operators.is_empty();
        if foreign {
            return Err(Error::new(SqlState::SYNTAX_ERROR, "a clause that is not Postgres's"));
        }
        let mut scope = Scope::inside(parent);
        self.frames.resize_with(self.frames.len().max(scope.depth + 2), Vec::new);
        let with = self.with(query.with.as_ref(), &mut scope)?;
        let body = self.body(&query.body, &scope)?;
        let order = order_of(query)?;
        let limit = self.limit(query, &scope)?;
        let mut output = match body {
            Body::Select(select) => {
                if !query.locks.is_empty() {
                    select.check_locks(&query.locks)?;
                }
                self.finish_select(*select, order, &limit, untyped)?
            }
            other => self.finish_other(other, order, &limit, untyped)?,
        };
        output.sql.insert_str(0, &with);
        output.closed |= !with.is_empty();
        output.single_row |= limit.one;
        Ok(output)
    }

    pub(super) fn body<'s>(&mut self, body: &SetExpr, scope: &'s Scope<'s>) -> Result<Body<'s>> {
        match body {
            SetExpr::Select(select) => Ok(Body::Select(Box::new(self.begin_select(select, scope)?))),
            SetExpr::Values(values) => Ok(Body::Values(self.value_rows(&values.rows, scope)?)),
            SetExpr::Query(query) => Ok(Body::Output(self.query(query, scope, Untyped::Text)?)),
            SetExpr::SetOperation { .. } => self.nested(|translator| translator.set_operation(body, scope)),
            SetExpr::Table(table) => {
                let name = table.table_name.as_deref().unwrap_or_default();
                let mut parts = Vec::new();
                if let Some(schema) = &table.schema_name {
                    parts.push(ast::Ident::new(schema.clone()));
                }
                parts.push(ast::Ident::new(name));
                let body = self.whole_table(ast::ObjectName::from(parts), scope)?;
                Ok(Body::Select(Box::new(body)))
            }
            _ => Err(refusal::DATA_MODIFYING_WITH.error()),
        }
    }

    fn value_rows(&mut self, rows: &[ast::Parens<Vec<ast::Expr>>], scope: &Scope<'_>) -> Result<Vec<Vec<Typed>>> {
        let place = Place::new(scope, Clause::Values);
        let mut typed_rows: Vec<Vec<Typed>> = Vec::with_capacity(rows.len());
        for row in rows {
            let typed = row.content.iter().map(|value| self.expression(value, place)).collect::<Result<Vec<_>>>()?;
            if typed_rows.first().is_some_and(|first| first.len() != typed.len()) {
                return Err(Error::new(SqlState::SYNTAX_ERROR, "VALUES lists must all be the same length"));
            }
            typed_rows.push(typed);
        }
        Ok(typed_rows)
    }

    /// A body without ORDER BY.
    pub(super) fn finish_body(&mut self, body: Body<'_>, limit: &Limit, untyped: Untyped<'_>) -> Result<QueryOutput> {
        match body {
            Body::Select(select) => self.finish_select(*select, &[], limit, untyped),
            other => self.finish_other(other, &[], limit, untyped),
        }
    }

    /// VALUES, a set operation or a query in parentheses, with ORDER BY and LIMIT.
    fn finish_other(
        &mut self,
        body: Body<'_>,
        order: &[ast::OrderByExpr],
        limit: &Limit,
        untyped: Untyped<'_>,
    ) -> Result<QueryOutput> {
        let mut output = match body {
            Body::Values(rows) => self.values(rows, untyped)?,
            Body::Output(output) => output,
            Body::Select(select) => return self.finish_select(*select, order, limit, untyped),
        };
        if order.is_empty() && limit.is_none() {
            return Ok(output);
        }
        let alias = self.alias();
        let mut keys = Vec::with_capacity(order.len());
        for key in order {
            let index = self.output_column(&key.expr, &output.columns)?;
            let column = &output.columns[index];
            let mut typed = Typed::computed(format!("{alias}.{}", output.column_names[index]), column.data_type, []);
            typed.facts.not_null = column.not_null;
            keys.push(self.sort_key(&typed, &key.options)?);
        }
        output.compound = false;
        output.closed = true;
        if let Some(ties) = &limit.ties {
            let rows = format!("({}) AS {alias}", output.sql);
            output.sql = self.with_ties(&rows, &output.column_names, &keys, ties);
            return Ok(output);
        }
        let list: Vec<String> = output
            .column_names
            .iter()
            .enumerate()
            .map(|(index, name)| format!("{alias}.{name} AS c{}", index + 1))
            .collect();
        let order_by = if keys.is_empty() { String::new() } else { format!(" ORDER BY {}", keys.join(", ")) };
        output.sql = format!("SELECT {} FROM ({}) AS {alias}{order_by}{}", list.join(", "), output.sql, limit.sql);
        output.column_names = numbered(output.columns.len());
        Ok(output)
    }

    fn values(&mut self, rows: Vec<Vec<Typed>>, untyped: Untyped<'_>) -> Result<QueryOutput> {
        let width = rows.first().map_or(0, Vec::len);
        let mut types = Vec::with_capacity(width);
        for index in 0..width {
            let common = common_type(rows.iter().map(|row| &row[index]), "VALUES")?;
            let all_untyped = rows.iter().all(|row| row[index].is_untyped());
            types.push(match untyped {
                Untyped::Exactly(exact) => exact[index],
                Untyped::As(wanted) if all_untyped => wanted[index],
                _ => common,
            });
        }
        let mut not_null = vec![true; width];
        let single_row = rows.len() == 1;
        let mut texts = Vec::with_capacity(rows.len());
        for row in rows {
            let mut cells = Vec::with_capacity(width);
            for (index, value) in row.into_iter().enumerate() {
                not_null[index] &= value.facts.not_null;
                cells.push(self.implicit(value, types[index])?.sql);
            }
            texts.push(format!("({})", cells.join(", ")));
        }
        let columns = types.iter().enumerate().map(|(index, data_type)| ResultColumn {
            name: format!("column{}", index + 1),
            data_type: *data_type,
            modifier: -1,
            table_oid: 0,
            attribute: 0,
            not_null: not_null[index],
        });
        Ok(QueryOutput {
            sql: format!("VALUES {}", texts.join(", ")),
            columns: columns.collect(),
            column_names: (1..=width).map(|number| format!("column{number}")).collect(),
            single_row,
            point_read: false,
            compound: true,
            closed: false,
        })
    }
}

impl From<ResultColumn> for OutputColumn {
    fn from(column: ResultColumn) -> OutputColumn {
        OutputColumn {
            name: column.name,
            data_type: column.data_type,
            modifier: column.modifier,
            table_oid: column.table_oid,
            attribute: column.attribute,
            foreign: None,
        }
    }
}

fn order_of(query: &ast::Query) -> Result<&[ast::OrderByExpr]> {
    match &query.order_by {
        None => Ok(&[]),
        Some(ast::OrderBy { kind: ast::OrderByKind::Expressions(keys), interpolate: None }) => Ok(keys),
        Some(_) => Err(Error::new(SqlState::SYNTAX_ERROR, "syntax error in ORDER BY")),
    }
}

/// `c1`, `c2`, ...: what result columns are called in SQLite's text.
pub(super) fn numbered(count: usize) -> Vec<String> {
    (1..=count).map(|number| format!("c{number}")).collect()
}
