//! Aggregates across shards: each shard aggregates its own rows, a finishing statement aggregates what they send.
//!
//! A shard returns its groups and, for each aggregate, what can be put together exactly: counts and sums add up, extremes
//! are extremes of extremes, an average is a sum and a count. The finishing statement runs over these rows as the table
//! [`Aggregate::PARTIAL`], in the same dialect, so that its arithmetic and its result types are Postgres's.

use std::ops::ControlFlow;

use super::canonical::canonical;
use super::functions::{arguments, calls, is_aggregate};
use super::key::strip;
use super::scatter::{Sorted, Visible, order_items, sorted_by, visible_columns};
use super::scope::Scope;
use super::shape::output_reference;
use crate::error::{Error, Result, SqlState};
use crate::sql::ast::{
    self, CastKind, DataType, Distinct, DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArguments, GroupByExpr, Ident, OrderByExpr, OrderByKind, Query, Select, SelectItem, SetExpr, Statement,
    Value,
};
use crate::sql::{
    Visitor, VisitorMut, fold, function_name, ident, parse_expression, walk, walk_mut, with_deep_stack, with_stack,
};
use crate::types::PgType;

/// Stand for an aggregate in the finishing statement until the types of the partial columns are known.
const SUM_MARK: &str = "shardd_sum";
const AVERAGE_MARK: &str = "shardd_average";

#[derive(Debug)]
pub struct Aggregate {
    /// What each shard runs.
    pub statement: Statement,
    /// The finishing statement, with marks where it depends on types.
    template: Statement,
    columns: usize,
    deep: bool,
}

impl Aggregate {
    /// The table that the finishing statement reads; its columns are the shards' statement's.
    pub const PARTIAL: &'static str = "partial";

    /// The statement over [`Aggregate::PARTIAL`] that gives the client's rows. `partial`: the types of the shards' columns.
    ///
    /// # Errors
    /// XX000 when `partial` is not of the shards' statement.
    pub fn finish(&self, partial: &[PgType]) -> Result<Statement> {
        if partial.len() != self.columns {
            return Err(Error::internal(format!(
                "shards sent {} partial columns where {} were planned",
                partial.len(),
                self.columns
            )));
        }
        with_deep_stack(self.deep, || {
            let mut statement = self.template.clone();
            match walk_mut(&mut statement, &mut Finisher { partial }) {
                ControlFlow::Continue(()) => Ok(statement),
                ControlFlow::Break(error) => Err(*error),
            }
        })
    }
}

/// The name of a partial column, from 0.
fn column_name(number: usize) -> String {
    format!("c{}", number + 1)
}

/// A partial column in the finishing statement. Qualified, so that no alias of the client's is meant.
fn column_text(number: usize) -> String {
    format!("{}.{}", Aggregate::PARTIAL, column_name(number))
}

fn column(number: usize) -> Expr {
    let plain = |value: String| Ident { value, quote_style: None, span: crate::sql::Span::empty() };
    Expr::CompoundIdentifier(vec![plain(Aggregate::PARTIAL.into()), plain(column_name(number))])
}

/// Replaces the marks.
struct Finisher<'p> {
    partial: &'p [PgType],
}

impl Finisher<'_> {
    fn replaced(&self, function: &Function) -> Result<Option<Expr>> {
        let Some(name) = function_name(&function.name) else { return Ok(None) };
        if name != SUM_MARK && name != AVERAGE_MARK {
            return Ok(None);
        }
        let numbers: Option<Vec<usize>> = arguments(function).and_then(|arguments| {
            arguments
                .into_iter()
                .map(|argument| match argument {
                    FunctionArgExpr::Expr(Expr::Value(value)) => match &value.value {
                        Value::Number(number, _) => number.parse().ok(),
                        _ => None,
                    },
                    _ => None,
                })
                .collect()
        });
        let numbers = numbers.unwrap_or_default();
        let type_of = |number: usize| {
            self.partial.get(number).copied().ok_or_else(|| Error::internal("a partial column's type is missing"))
        };
        let text = match *numbers.as_slice() {
            [sum] => format!("CAST(sum({}) AS {})", column_text(sum), type_of(sum)?.sql_name()),
            [sum, count] => {
                let (sum_type, sum) = (type_of(sum)?, column_text(sum));
                let count = format!("NULLIF(sum({}), 0)", column_text(count));
                match sum_type {
                    PgType::Float4 | PgType::Float8 | PgType::Interval => {
                        format!("(sum({sum}) / CAST({count} AS double precision))")
                    }
                    _ => format!("(CAST(sum({sum}) AS numeric) / CAST({count} AS numeric))"),
                }
            }
            _ => return Err(Error::internal("a mark in a finishing statement names no columns")),
        };
        parse_expression(&text).map(Some)
    }
}

impl VisitorMut for Finisher<'_> {
    type Break = Box<Error>;

    fn post_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<Box<Error>> {
        if let Expr::Function(function) = expression {
            match self.replaced(function) {
                Ok(Some(finished)) => *expression = finished,
                Ok(None) => {}
                Err(error) => return ControlFlow::Break(Box::new(error)),
            }
        }
        ControlFlow::Continue(())
    }
}

/// Plans a SELECT that aggregates rows of several keys.
///
/// # Errors
/// Why its aggregates cannot be put together from parts.
pub(super) fn build(query: &Query, select: &Select, scope: &Scope<'_>, deep: bool) -> Result<Aggregate> {
    if matches!(select.distinct, Some(Distinct::On(_))) {
        return Err(Error::unsupported("DISTINCT ON of aggregates across shards", "Give the key in WHERE."));
    }
    if calls(&select.projection).or(calls(&query.order_by)).window {
        return Err(Error::unsupported("a window function over aggregates across shards", "Give the key in WHERE."));
    }
    let mut splitter = Splitter { scope, groups: groups(select, scope)?, partial: Vec::new(), done: Vec::new() };
    splitter.partial = splitter.groups.iter().map(|group| group.expression.clone()).collect();
    let group_count = splitter.groups.len();

    let visible = visible_columns(select, scope).unwrap_or_default();
    let mut projection = Vec::with_capacity(select.projection.len());
    for item in &select.projection {
        let (expression, name) = match item {
            SelectItem::UnnamedExpr(expression) => (expression, super::column_name::column_name(expression)),
            SelectItem::ExprWithAlias { expr, alias } => (expr, fold(alias).into_owned()),
            _ => return Err(Error::unsupported("* with aggregates across shards", "Name the columns.")),
        };
        projection.push(SelectItem::ExprWithAlias { expr: splitter.split(expression)?, alias: ident(&name) });
    }
    let having = select.having.as_ref().map(|having| splitter.split(having)).transpose()?;
    let order_by = order(query, &visible, &mut splitter)?;

    let partial = std::mem::take(&mut splitter.partial);
    let extra: Vec<usize> = splitter.done.iter().filter(|done| done.distinct).map(|done| done.column).collect();
    let columns = partial.len();
    let statement = partial_statement(query, select, partial, (0..group_count).chain(extra))?;
    let template = template(query, select, projection, having, order_by, group_count)?;
    Ok(Aggregate { statement, template, columns, deep })
}

/// ORDER BY over the finished rows: by the client's columns, or by what is computed from the partial ones.
fn order(query: &Query, visible: &[Visible], splitter: &mut Splitter<'_, '_>) -> Result<Option<ast::OrderBy>> {
    let mut items = Vec::new();
    for item in order_items(query)? {
        let expr = match sorted_by(&item.expr, visible, Some(splitter.scope))? {
            Sorted::Column(column) => parse_expression(&(column + 1).to_string())?,
            Sorted::Expression => splitter.split(&item.expr)?,
        };
        items.push(OrderByExpr { expr, options: item.options.clone(), with_fill: None });
    }
    if items.is_empty() {
        return Ok(None);
    }
    Ok(Some(ast::OrderBy { kind: OrderByKind::Expressions(items), interpolate: None }))
}

struct Group {
    expression: Expr,
    canonical: Expr,
}

/// GROUP BY's expressions: ordinals and output names resolved.
fn groups(select: &Select, scope: &Scope<'_>) -> Result<Vec<Group>> {
    let GroupByExpr::Expressions(expressions, modifiers) = &select.group_by else { return Ok(Vec::new()) };
    let sets = |group: &Expr| matches!(strip(group), Expr::Rollup(_) | Expr::Cube(_) | Expr::GroupingSets(_));
    if !modifiers.is_empty() || expressions.iter().any(sets) {
        return Err(Error::unsupported("GROUPING SETS, ROLLUP and CUBE across shards", "Use one GROUP BY for each."));
    }
    let mut groups: Vec<Group> = Vec::new();
    for expression in expressions {
        let expression = match output_reference(expression, select) {
            Some(selected) => selected,
            None => named_output(expression, select, scope).unwrap_or(expression),
        };
        let found = calls(expression);
        if found.aggregate {
            return Err(Error::new(SqlState::GROUPING_ERROR, "aggregate functions are not allowed in GROUP BY"));
        }
        if found.subquery {
            return Err(Error::unsupported("a subquery in GROUP BY across shards", "Give the key in WHERE."));
        }
        let canonical = canonical(expression, scope);
        if !groups.iter().any(|group| group.canonical == canonical) {
            groups.push(Group { expression: expression.clone(), canonical });
        }
    }
    Ok(groups)
}

/// A name in GROUP BY means a column of FROM first, then a column of the result.
fn named_output<'s>(expression: &Expr, select: &'s Select, scope: &Scope<'_>) -> Option<&'s Expr> {
    let Expr::Identifier(name) = strip(expression) else { return None };
    if scope.find(expression).is_some() {
        return None;
    }
    let name = fold(name);
    select.projection.iter().find_map(|item| match item {
        SelectItem::ExprWithAlias { expr, alias } if fold(alias) == name => Some(expr),
        _ => None,
    })
}

/// An aggregate that has its partial columns.
struct Done {
    canonical: Expr,
    finished: Expr,
    /// Its argument is a column by which shards group as well.
    distinct: bool,
    column: usize,
}

/// Takes expressions apart into partial columns and what is computed from them.
struct Splitter<'p, 's> {
    scope: &'p Scope<'s>,
    groups: Vec<Group>,
    partial: Vec<Expr>,
    done: Vec<Done>,
}

impl Splitter<'_, '_> {
    fn split(&mut self, expression: &Expr) -> Result<Expr> {
        if calls(expression).subquery {
            return Err(Error::unsupported("a subquery beside aggregates across shards", "Give the key in WHERE."));
        }
        with_stack(|| {
            let mut copy = expression.clone();
            let mut visitor = SplitVisitor { splitter: self, finished: Vec::new() };
            match walk_mut(&mut copy, &mut visitor) {
                ControlFlow::Break(error) => return Err(*error),
                ControlFlow::Continue(()) => {}
            }
            let finished = visitor.finished;
            let _ = walk_mut(&mut copy, &mut Placer { finished: &finished });
            Ok(copy)
        })
    }

    /// What a node is in terms of partial columns, when it is a group or an aggregate.
    fn known(&mut self, expression: &Expr) -> Result<Option<Expr>> {
        if !self.groups.is_empty() && !matches!(expression, Expr::Value(_)) {
            let wanted = canonical(expression, self.scope);
            if let Some(number) = self.groups.iter().position(|group| group.canonical == wanted) {
                return Ok(Some(column(number)));
            }
        }
        match expression {
            Expr::Function(function) if is_aggregate(function) => self.aggregate(function).map(Some),
            Expr::Identifier(_) | Expr::CompoundIdentifier(_) => Err(Error::new(
                SqlState::GROUPING_ERROR,
                format!(
                    "column \"{expression}\" must appear in the GROUP BY clause or be used in an aggregate function"
                ),
            )
            .hint("Across shards a primary key in GROUP BY does not stand for the other columns: name them all.")),
            _ => Ok(None),
        }
    }

    fn add(&mut self, expression: Expr) -> usize {
        self.partial.push(expression);
        self.partial.len() - 1
    }

    fn aggregate(&mut self, function: &Function) -> Result<Expr> {
        let canonical = canonical(&Expr::Function(function.clone()), self.scope);
        if let Some(done) = self.done.iter().find(|done| done.canonical == canonical) {
            return Ok(done.finished.clone());
        }
        let call = Call::read(function)?;
        let (finished, distinct, column) = if call.distinct { self.distinct(&call)? } else { self.combined(&call)? };
        self.done.push(Done { canonical, finished: finished.clone(), distinct, column });
        Ok(finished)
    }

    /// Shards group by the argument as well, so that each value comes from each at most once.
    fn distinct(&mut self, call: &Call<'_>) -> Result<(Expr, bool, usize)> {
        let Some(argument) = call.argument else {
            return Err(Error::new(SqlState::SYNTAX_ERROR, "DISTINCT needs an argument"));
        };
        if !matches!(call.name.as_str(), "count" | "sum" | "min" | "max" | "avg") {
            return Err(not_combinable(&format!("{}(DISTINCT ...)", call.name)));
        }
        let argument = match call.filter {
            None => argument.clone(),
            // Rows that do not count give NULL, which no aggregate counts.
            Some(filter) => case_when(filter, argument),
        };
        let column = self.add(argument);
        let finished = parse_expression(&format!("{}(DISTINCT {})", call.name, column_text(column)))?;
        Ok((finished, true, column))
    }

    fn combined(&mut self, call: &Call<'_>) -> Result<(Expr, bool, usize)> {
        if call.name == "avg" {
            return self.average(call);
        }
        let number = self.add(call.partial.clone());
        let column = column_text(number);
        let text = match call.name.as_str() {
            "count" => format!("COALESCE(CAST(sum({column}) AS bigint), 0)"),
            "sum" => format!("{SUM_MARK}({number})"),
            "min" => format!("min({column})"),
            "max" => format!("max({column})"),
            "bool_and" | "every" => format!("bool_and({column})"),
            "bool_or" => format!("bool_or({column})"),
            other => return Err(not_combinable(other)),
        };
        Ok((parse_expression(&text)?, false, number))
    }

    fn average(&mut self, call: &Call<'_>) -> Result<(Expr, bool, usize)> {
        let Some(argument) = call.argument else {
            return Err(Error::new(SqlState::UNDEFINED_FUNCTION, "function avg() does not exist"));
        };
        let argument = match self.reals(argument) {
            Reals::None => argument.clone(),
            // Postgres averages reals in double precision.
            Reals::Itself => cast(argument.clone(), DataType::DoublePrecision),
            Reals::Within => {
                return Err(Error::unsupported(
                    "avg() of an expression on real, across shards",
                    "Cast the argument: avg(CAST(... AS double precision)).",
                ));
            }
        };
        let rename = |name: &str| -> Expr {
            let mut function = call.function.clone();
            function.name = ast::ObjectName(vec![ast::ObjectNamePart::Identifier(Ident::new(name))]);
            if let FunctionArguments::List(list) = &mut function.args {
                list.args = vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(argument.clone()))];
            }
            Expr::Function(function)
        };
        let sum = self.add(rename("sum"));
        let count = self.add(rename("count"));
        Ok((parse_expression(&format!("{AVERAGE_MARK}({sum}, {count})"))?, false, sum))
    }

    /// Whether an expression is of type real, as far as it can be told without its types.
    fn reals(&self, expression: &Expr) -> Reals {
        let is_real = |data_type: &DataType| matches!(data_type, DataType::Real | DataType::Float4);
        match strip(expression) {
            Expr::Cast { data_type, .. } if is_real(data_type) => Reals::Itself,
            Expr::Cast { kind: CastKind::Cast | CastKind::DoubleColon, .. } => Reals::None,
            plain => match self.scope.find(plain) {
                Some(found) if found.column.data_type == Some(PgType::Float4) => Reals::Itself,
                Some(found) if found.column.data_type.is_some() => Reals::None,
                _ if mentions_real(plain, self.scope) => Reals::Within,
                _ => Reals::None,
            },
        }
    }
}

enum Reals {
    None,
    Itself,
    Within,
}

fn mentions_real(expression: &Expr, scope: &Scope<'_>) -> bool {
    struct Finder<'f>(&'f Scope<'f>);
    impl Visitor for Finder<'_> {
        type Break = ();
        fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
            let real = match expression {
                Expr::Cast { data_type: DataType::Real | DataType::Float4, .. } => true,
                Expr::Identifier(_) | Expr::CompoundIdentifier(_) => {
                    // A column whose type is not known here may be one.
                    self.0
                        .find(expression)
                        .is_none_or(|found| found.column.data_type.is_none_or(|data_type| data_type == PgType::Float4))
                }
                _ => false,
            };
            if real { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
    }
    walk(expression, &mut Finder(scope)).is_break()
}

fn not_combinable(name: &str) -> Error {
    Error::unsupported(
        format!("{name}() across shards"),
        "Only count, sum, min, max, avg, bool_and and bool_or are put together. Give the key in WHERE or in GROUP BY.",
    )
}

fn cast(expression: Expr, data_type: DataType) -> Expr {
    Expr::Cast { kind: CastKind::Cast, expr: Box::new(expression), data_type, format: None }
}

fn case_when(condition: &Expr, result: &Expr) -> Expr {
    let when = ast::CaseWhen { condition: condition.clone(), result: result.clone() };
    Expr::Case {
        case_token: ast::helpers::attached_token::AttachedToken::empty(),
        end_token: ast::helpers::attached_token::AttachedToken::empty(),
        operand: None,
        conditions: vec![when],
        else_result: None,
    }
}

/// An aggregate's call.
struct Call<'f> {
    function: &'f Function,
    /// As shards compute it.
    partial: Expr,
    name: String,
    distinct: bool,
    /// `None` for `*`.
    argument: Option<&'f Expr>,
    filter: Option<&'f Expr>,
}

impl<'f> Call<'f> {
    fn read(function: &'f Function) -> Result<Call<'f>> {
        let name = function_name(&function.name).unwrap_or_default().into_owned();
        let FunctionArguments::List(list) = &function.args else { return Err(not_combinable(&name)) };
        if !list.clauses.is_empty() || !function.within_group.is_empty() {
            return Err(not_combinable(&name));
        }
        let argument = match arguments(function).as_deref() {
            Some([FunctionArgExpr::Wildcard]) if name == "count" => None,
            Some([FunctionArgExpr::Expr(argument)]) if !matches!(strip(argument), Expr::Tuple(_)) => Some(argument),
            _ => return Err(not_combinable(&name)),
        };
        let within = argument.map(calls).unwrap_or_default();
        if within.aggregate {
            return Err(Error::new(SqlState::GROUPING_ERROR, "aggregate function calls cannot be nested"));
        }
        Ok(Call {
            function,
            partial: Expr::Function(function.clone()),
            name,
            distinct: list.duplicate_treatment == Some(DuplicateTreatment::Distinct),
            argument,
            filter: function.filter.as_deref(),
        })
    }
}

/// The mark of a finished node while its surroundings are visited.
const PLACE: &str = "\u{1}shardd place ";

struct SplitVisitor<'v, 'p, 's> {
    splitter: &'v mut Splitter<'p, 's>,
    finished: Vec<Expr>,
}

fn place(number: usize) -> Expr {
    Expr::Identifier(Ident::with_quote('"', format!("{PLACE}{number}")))
}

fn place_of(expression: &Expr) -> Option<usize> {
    match expression {
        Expr::Identifier(name) => name.value.strip_prefix(PLACE)?.parse().ok(),
        _ => None,
    }
}

impl VisitorMut for SplitVisitor<'_, '_, '_> {
    type Break = Box<Error>;

    fn pre_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<Box<Error>> {
        if place_of(expression).is_some() {
            return ControlFlow::Continue(());
        }
        match self.splitter.known(expression) {
            Ok(None) => {}
            Ok(Some(finished)) => {
                self.finished.push(finished);
                *expression = place(self.finished.len() - 1);
            }
            Err(error) => return ControlFlow::Break(Box::new(error)),
        }
        ControlFlow::Continue(())
    }
}

/// Puts the finished nodes where their marks are.
struct Placer<'p> {
    finished: &'p [Expr],
}

impl VisitorMut for Placer<'_> {
    type Break = ();

    fn post_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        if let Some(finished) = place_of(expression).and_then(|number| self.finished.get(number)) {
            *expression = finished.clone();
        }
        ControlFlow::Continue(())
    }
}

fn ordinals(numbers: impl Iterator<Item = usize>) -> Result<GroupByExpr> {
    let ordinals = numbers.map(|number| parse_expression(&(number + 1).to_string())).collect::<Result<Vec<_>>>()?;
    Ok(GroupByExpr::Expressions(ordinals, Vec::new()))
}

/// What shards run: groups and partial aggregates, nothing ordered or cut.
fn partial_statement(
    query: &Query,
    select: &Select,
    partial: Vec<Expr>,
    grouped: impl Iterator<Item = usize>,
) -> Result<Statement> {
    let mut select = select.clone();
    select.distinct = None;
    select.projection = partial
        .into_iter()
        .enumerate()
        .map(|(number, expr)| SelectItem::ExprWithAlias { expr, alias: Ident::new(column_name(number)) })
        .collect();
    select.group_by = ordinals(grouped)?;
    select.having = None;
    if select.projection.is_empty() {
        // Neither groups nor aggregates (HAVING of a constant): the finishing statement needs a row all the same.
        return Err(Error::unsupported("HAVING without an aggregate, across shards", "Give the key in WHERE."));
    }
    let mut statement = query.clone();
    *statement.body = SetExpr::Select(Box::new(select));
    statement.order_by = None;
    statement.limit_clause = None;
    statement.fetch = None;
    Ok(Statement::Query(Box::new(statement)))
}

/// The finishing statement.
fn template(
    query: &Query,
    select: &Select,
    projection: Vec<SelectItem>,
    having: Option<Expr>,
    order_by: Option<ast::OrderBy>,
    group_count: usize,
) -> Result<Statement> {
    let mut select = select.clone();
    select.projection = projection;
    select.selection = None;
    select.named_window = Vec::new();
    select.from = vec![ast::TableWithJoins {
        relation: ast::TableFactor::Table {
            name: ast::ObjectName(vec![ast::ObjectNamePart::Identifier(Ident::new(Aggregate::PARTIAL))]),
            alias: None,
            args: None,
            with_hints: Vec::new(),
            version: None,
            with_ordinality: false,
            partitions: Vec::new(),
            json_path: None,
            sample: None,
            index_hints: Vec::new(),
        },
        joins: Vec::new(),
    }];
    select.group_by = GroupByExpr::Expressions((0..group_count).map(column).collect(), Vec::new());
    select.having = having;
    let mut statement = query.clone();
    *statement.body = SetExpr::Select(Box::new(select));
    statement.with = None;
    statement.locks = Vec::new();
    statement.order_by = order_by;
    Ok(Statement::Query(Box::new(statement)))
}
