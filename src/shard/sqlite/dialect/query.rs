//! Whole queries: WITH, set operations, VALUES, ORDER BY and LIMIT.

use sqlparser::ast::Spanned;

use super::coerce::{Context, common_type};
use super::expression::{Clause, Place};
use super::names::fold;
use super::operate::order_key;
use super::refusal;
use super::scope::{Cte, CteColumn, Scope};
use super::select::SelectBody;
use super::typed::{Facts, Origin, Typed};
use super::{Translator, Written};
use crate::error::{Error, Result, SqlState};
use crate::shard::sqlite::{Effect, OutputColumn, Tag};
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

    /// WITH: its text, and its queries' names in the scope.
    fn with(&mut self, with: Option<&ast::With>, scope: &mut Scope<'_>) -> Result<String> {
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

    fn body<'s>(&mut self, body: &SetExpr, scope: &'s Scope<'s>) -> Result<Body<'s>> {
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

    /// UNION, INTERSECT and EXCEPT. A long chain leans to the left, so it is walked.
    fn set_operation<'s>(&mut self, body: &SetExpr, scope: &'s Scope<'s>) -> Result<Body<'s>> {
        let mut steps = Vec::new();
        let mut first = body;
        while let SetExpr::SetOperation { left, op, set_quantifier, right } = first {
            steps.push((*op, *set_quantifier, right.as_ref()));
            first = left;
        }
        let mut left = self.body(first, scope)?;
        for (op, quantifier, right) in steps.into_iter().rev() {
            let right = self.body(right, scope)?;
            left = Body::Output(self.combine(left, (op, quantifier), right)?);
        }
        Ok(left)
    }

    fn combine(
        &mut self,
        left: Body<'_>,
        (op, quantifier): (ast::SetOperator, ast::SetQuantifier),
        right: Body<'_>,
    ) -> Result<QueryOutput> {
        let name = match op {
            ast::SetOperator::Union => "UNION",
            ast::SetOperator::Intersect => "INTERSECT",
            ast::SetOperator::Except | ast::SetOperator::Minus => "EXCEPT",
        };
        let all = match quantifier {
            ast::SetQuantifier::All => true,
            ast::SetQuantifier::None | ast::SetQuantifier::Distinct => false,
            _ => return Err(Error::new(SqlState::SYNTAX_ERROR, "syntax error at or near \"BY\"")),
        };
        if all && op != ast::SetOperator::Union {
            return Err(Error::unsupported(format_args!("{name} ALL"), format!("Use {name}, or EXISTS.")));
        }
        let (left_types, right_types) = (probes(&left), probes(&right));
        if left_types.len() != right_types.len() {
            let message = format!("each {name} query must have the same number of columns");
            return Err(Error::new(SqlState::SYNTAX_ERROR, message));
        }
        let mut types = Vec::with_capacity(left_types.len());
        for pair in left_types.iter().zip(&right_types) {
            types.push(common_type([pair.0, pair.1], name)?);
        }
        if !all {
            for data_type in &types {
                check_distinct(*data_type)?;
            }
        }
        let left = self.operand(left, &types, !all)?;
        let right = self.operand(right, &types, !all)?;
        let right_sql = if right.compound { wrap(&right, &types, !all) } else { right.sql };
        let word = if all { "UNION ALL" } else { name };
        let sql = format!("{} {word} {right_sql}", left.sql);
        let columns = left.columns.iter().zip(&right.columns);
        let columns = columns
            .map(|(left, right)| ResultColumn {
                name: left.name.clone(),
                data_type: left.data_type,
                modifier: if left.modifier == right.modifier { left.modifier } else { -1 },
                table_oid: 0,
                attribute: 0,
                not_null: left.not_null && right.not_null,
            })
            .collect();
        Ok(QueryOutput {
            sql,
            columns,
            column_names: left.column_names,
            single_row: false,
            point_read: false,
            compound: true,
            closed: false,
        })
    }

    /// One side of a set operation, its columns brought to the common types.
    fn operand(&mut self, body: Body<'_>, types: &[PgType], keyed: bool) -> Result<QueryOutput> {
        match body {
            Body::Select(mut select) => {
                select.keyed = keyed;
                self.finish_select(*select, &[], &Limit::default(), Untyped::Exactly(types))
            }
            Body::Values(_) => {
                let output = self.finish_body(body, &Limit::default(), Untyped::Exactly(types))?;
                let sql = wrap(&output, types, keyed);
                Ok(QueryOutput { sql, column_names: numbered(types.len()), compound: false, closed: false, ..output })
            }
            Body::Output(output) => {
                let same = output.columns.iter().zip(types).all(|(column, data_type)| column.data_type == *data_type);
                let plain =
                    !keyed || !types.iter().any(|data_type| matches!(data_type, PgType::Numeric | PgType::Bpchar));
                if same && output.compound && !output.closed && plain {
                    return Ok(output);
                }
                self.recast(output, types, keyed)
            }
        }
    }

    /// A query around another, to cast its columns.
    fn recast(&mut self, output: QueryOutput, types: &[PgType], keyed: bool) -> Result<QueryOutput> {
        let alias = self.alias();
        let mut list = Vec::with_capacity(types.len());
        let mut columns = output.columns.clone();
        for (index, column) in columns.iter_mut().enumerate() {
            let mut value = Typed::computed(format!("{alias}.{}", output.column_names[index]), column.data_type, []);
            value.modifier = column.modifier;
            value.origin = Origin::Computed;
            let value = self.cast(value, types[index].into(), Context::Implicit)?;
            column.data_type = types[index];
            let sql = if keyed { order_key(&value.sql, types[index]) } else { value.sql };
            list.push(format!("{sql} AS c{}", index + 1));
        }
        let sql = format!("SELECT {} FROM ({}) AS {alias}", list.join(", "), output.sql);
        Ok(QueryOutput {
            sql,
            column_names: numbered(columns.len()),
            columns,
            compound: false,
            closed: false,
            ..output
        })
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
        let list: Vec<String> = output
            .column_names
            .iter()
            .enumerate()
            .map(|(index, name)| format!("{alias}.{name} AS c{}", index + 1))
            .collect();
        let order_by = if keys.is_empty() { String::new() } else { format!(" ORDER BY {}", keys.join(", ")) };
        output.sql = format!("SELECT {} FROM ({}) AS {alias}{order_by}{}", list.join(", "), output.sql, limit.sql);
        output.column_names = numbered(output.columns.len());
        output.compound = false;
        output.closed = true;
        Ok(output)
    }

    /// The result column that ORDER BY of a set operation means: by name or by number.
    fn output_column(&mut self, key: &ast::Expr, columns: &[ResultColumn]) -> Result<usize> {
        match key {
            ast::Expr::Identifier(name) => {
                let folded = fold(name);
                let mut found = columns.iter().enumerate().filter(|(_, column)| column.name == folded);
                match (found.next(), found.next()) {
                    (Some((index, _)), None) => Ok(index),
                    (Some(_), Some(_)) => {
                        let message = format!("ORDER BY \"{folded}\" is ambiguous");
                        Err(self.error_at(Error::new(SqlState::AMBIGUOUS_COLUMN, message), name.span))
                    }
                    _ => {
                        let message = format!("column \"{folded}\" does not exist");
                        Err(self.error_at(Error::new(SqlState::UNDEFINED_COLUMN, message), name.span))
                    }
                }
            }
            ast::Expr::Value(value) => ordinal(&value.value, columns.len(), "ORDER BY")
                .and_then(|index| {
                    index.ok_or_else(|| Error::new(SqlState::SYNTAX_ERROR, "non-integer constant in ORDER BY"))
                })
                .map_err(|error| self.error_at(error, value.span)),
            other => {
                let error =
                    Error::new(SqlState::FEATURE_NOT_SUPPORTED, "invalid UNION/INTERSECT/EXCEPT ORDER BY clause")
                        .detail("Only result column names can be used, not expressions or functions.")
                        .hint("Add the expression/function to every SELECT, or move the UNION into a FROM clause.");
                Err(self.error_at(error, other.span()))
            }
        }
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

    /// LIMIT, OFFSET and FETCH.
    fn limit(&mut self, query: &ast::Query, scope: &Scope<'_>) -> Result<Limit> {
        let (mut count, mut offset) = match &query.limit_clause {
            None => (None, None),
            Some(ast::LimitClause::LimitOffset { limit, offset, limit_by }) if limit_by.is_empty() => {
                (limit.as_ref(), offset.as_ref().map(|offset| &offset.value))
            }
            Some(_) => {
                return Err(Error::new(SqlState::SYNTAX_ERROR, "LIMIT #,# syntax is not supported")
                    .hint("Use separate LIMIT and OFFSET clauses."));
            }
        };
        let one = ast::Expr::value(ast::Value::Number("1".to_owned(), false));
        if let Some(fetch) = &query.fetch {
            if fetch.with_ties {
                return Err(refusal::WITH_TIES.error());
            }
            if fetch.percent || count.is_some() {
                return Err(Error::new(SqlState::SYNTAX_ERROR, "syntax error at or near \"FETCH\""));
            }
            count = Some(fetch.quantity.as_ref().unwrap_or(&one));
        }
        if matches!(count, Some(ast::Expr::Identifier(all)) if all.value.eq_ignore_ascii_case("all")) {
            count = None;
        }
        if count.is_none() && offset.is_none() {
            return Ok(Limit::default());
        }
        let single = matches!(count, Some(ast::Expr::Value(value)) if value.value.to_string() == "1");
        let count = count.map(|count| self.row_count(count, Clause::Limit, scope)).transpose()?;
        let offset = offset.take().map(|offset| self.row_count(offset, Clause::Offset, scope)).transpose()?;
        let mut sql = format!(" LIMIT {}", count.as_deref().unwrap_or("-1"));
        if let Some(offset) = offset {
            sql.push_str(&format!(" OFFSET {offset}"));
        }
        Ok(Limit { sql, one: single })
    }

    fn row_count(&mut self, value: &ast::Expr, clause: Clause, scope: &Scope<'_>) -> Result<String> {
        let typed = self.expression(value, Place::new(scope, clause))?;
        if typed.facts.own_columns || typed.facts.outer_columns {
            let message = format!("argument of {} must not contain variables", clause.name());
            return Err(self.error_at(Error::new(SqlState::INVALID_COLUMN_REFERENCE, message), value.span()));
        }
        let found = typed.data_type;
        let Some(typed) = self.try_cast(typed, PgType::Int8.into(), Context::Assignment)? else {
            let message = format!("argument of {} must be type bigint, not type {found}", clause.name());
            return Err(self.error_at(Error::new(SqlState::DATATYPE_MISMATCH, message), value.span()));
        };
        if typed.sql.bytes().all(|byte| byte.is_ascii_digit()) {
            return Ok(typed.sql);
        }
        Ok(format!("pg_{}({})", clause.name().to_lowercase(), typed.sql))
    }

    /// A key of ORDER BY: its text, with Postgres's order of NULLs.
    pub(super) fn sort_key(&mut self, value: &Typed, options: &ast::OrderByOptions) -> Result<String> {
        self.sort_key_as(&order_key(&value.sql, value.data_type), value, options)
    }

    /// A key of ORDER BY that is named by `text`.
    pub(super) fn sort_key_as(&mut self, text: &str, value: &Typed, options: &ast::OrderByOptions) -> Result<String> {
        if value.data_type == PgType::Json {
            return Err(Error::new(
                SqlState::UNDEFINED_FUNCTION,
                format!("could not identify an ordering operator for type {}", value.data_type),
            )
            .hint("Use an explicit ordering operator or modify the query."));
        }
        if value.data_type.is_array() {
            return Err(Error::unsupported("the order of arrays", "Order by the elements."));
        }
        let descending = match &options.sort {
            None | Some(ast::OrderBySort::Asc) => false,
            Some(ast::OrderBySort::Desc) => true,
            Some(_) => return Err(Error::unsupported("ORDER BY ... USING", "Use ASC or DESC.")),
        };
        let nulls_first = options.nulls_first.unwrap_or(descending);
        let direction = if descending { " DESC" } else { "" };
        let nulls = match (value.facts.not_null, nulls_first) {
            (true, _) => "",
            (false, true) => " NULLS FIRST",
            (false, false) => " NULLS LAST",
        };
        Ok(format!("{text}{direction}{nulls}"))
    }
}

/// LIMIT and OFFSET in SQLite's text, with a space before.
#[derive(Clone, Debug, Default)]
pub(super) struct Limit {
    pub(super) sql: String,
    /// At most one row.
    pub(super) one: bool,
}

impl Limit {
    pub(super) fn is_none(&self) -> bool {
        self.sql.is_empty()
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

/// The result column that an integer in ORDER BY or GROUP BY means; none for what is no integer constant.
pub(super) fn ordinal(value: &ast::Value, columns: usize, clause: &str) -> Result<Option<usize>> {
    let ast::Value::Number(digits, _) = value else {
        return match value {
            ast::Value::Placeholder(_) => Ok(None),
            ast::Value::Null => Ok(None),
            _ => Err(Error::new(SqlState::SYNTAX_ERROR, format!("non-integer constant in {clause}"))),
        };
    };
    let Ok(number) = digits.parse::<usize>() else {
        return Err(Error::new(SqlState::SYNTAX_ERROR, format!("non-integer constant in {clause}")));
    };
    if number == 0 || number > columns {
        let message = format!("{clause} position {number} is not in select list");
        return Err(Error::new(SqlState::INVALID_COLUMN_REFERENCE, message));
    }
    Ok(Some(number - 1))
}

/// `c1`, `c2`, ...: what result columns are called in SQLite's text.
pub(super) fn numbered(count: usize) -> Vec<String> {
    (1..=count).map(|number| format!("c{number}")).collect()
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

/// The types of a body's columns, as values to find a common type of.
fn probes(body: &Body<'_>) -> Vec<Typed> {
    match body {
        Body::Select(select) => select.outputs.iter().map(|output| output.value.clone()).collect(),
        Body::Values(rows) => {
            let width = rows.first().map_or(0, Vec::len);
            let typed = |index: usize| {
                let data_type = common_type(rows.iter().map(|row| &row[index]), "VALUES").unwrap_or(PgType::Unknown);
                let untyped = rows.iter().all(|row| row[index].is_untyped());
                Typed::computed(String::new(), if untyped { PgType::Unknown } else { data_type }, [])
            };
            (0..width).map(typed).collect()
        }
        Body::Output(output) => {
            output.columns.iter().map(|column| Typed::computed(String::new(), column.data_type, [])).collect()
        }
    }
}

/// A query around another, under the types' equality.
fn wrap(output: &QueryOutput, types: &[PgType], keyed: bool) -> String {
    let list: Vec<String> = output
        .column_names
        .iter()
        .zip(types)
        .enumerate()
        .map(|(index, (name, data_type))| {
            let value = if keyed { order_key(name, *data_type) } else { name.clone() };
            format!("{value} AS c{}", index + 1)
        })
        .collect();
    format!("SELECT {} FROM ({})", list.join(", "), output.sql)
}

/// Whether duplicates can be found among values of a type.
pub(super) fn check_distinct(data_type: PgType) -> Result<()> {
    match data_type {
        PgType::Json => Err(Error::new(
            SqlState::UNDEFINED_FUNCTION,
            format!("could not identify an equality operator for type {data_type}"),
        )),
        PgType::Interval | PgType::Jsonb => Err(Error::unsupported(
            format_args!("removing duplicates of type {data_type}"),
            "Use GROUP BY, or cast to text.",
        )),
        other if other.is_array() => {
            Err(Error::unsupported("removing duplicates of arrays", "Use the elements, or array_to_string()."))
        }
        _ => Ok(()),
    }
}

/// Whether a WITH query's text names `name` as a table.
fn mentions(query: &ast::Query, name: &str) -> bool {
    use std::ops::ControlFlow;
    let found = ast::visit_relations(query, |relation| match relation.0.as_slice() {
        [ast::ObjectNamePart::Identifier(ident)] if fold(ident) == name => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    found.is_break()
}
