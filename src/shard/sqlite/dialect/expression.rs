//! Expressions: from Postgres's tree to SQLite's text, with their types.

use sqlparser::ast::Spanned;

use super::Translator;
use super::coerce::{Context, common_type};
use super::form::cell;
use super::group::without_alias_numbers;
use super::names::{QualifiedName, fold, quote_text};
use super::refusal;
use super::scope::Scope;
use super::typed::{Facts, Origin, Typed};
use crate::error::{Error, Result, SqlState};
use crate::sql::ast::{self, Expr};
use crate::types::PgType;

/// The part of a statement that an expression stands in: what it may contain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Clause {
    Select,
    JoinCondition,
    FunctionInFrom,
    Where,
    GroupBy,
    Having,
    OrderBy,
    Window,
    Filter,
    Limit,
    Offset,
    Values,
    Update,
    Returning,
    Check,
    Default,
    Index,
}

impl Clause {
    /// As messages name it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Clause::Select => "SELECT",
            Clause::JoinCondition => "JOIN conditions",
            Clause::FunctionInFrom => "functions in FROM",
            Clause::Where => "WHERE",
            Clause::GroupBy => "GROUP BY",
            Clause::Having => "HAVING",
            Clause::OrderBy => "ORDER BY",
            Clause::Window => "window definitions",
            Clause::Filter => "FILTER",
            Clause::Limit => "LIMIT",
            Clause::Offset => "OFFSET",
            Clause::Values => "VALUES",
            Clause::Update => "UPDATE",
            Clause::Returning => "RETURNING",
            Clause::Check => "check constraints",
            Clause::Default => "DEFAULT expressions",
            Clause::Index => "index expressions",
        }
    }

    pub(super) fn allows_aggregates(self) -> bool {
        matches!(self, Clause::Select | Clause::Having | Clause::OrderBy | Clause::Window)
    }
}

/// Where an expression stands.
#[derive(Clone, Copy)]
pub(super) struct Place<'s> {
    pub(super) scope: &'s Scope<'s>,
    pub(super) clause: Clause,
    pub(super) in_aggregate: bool,
    /// NULL and false come to the same here.
    pub(super) filter: bool,
}

impl<'s> Place<'s> {
    pub(super) fn new(scope: &'s Scope<'s>, clause: Clause) -> Place<'s> {
        Place { scope, clause, in_aggregate: false, filter: false }
    }

    /// A condition, whose NULL counts as false.
    pub(super) fn condition(scope: &'s Scope<'s>, clause: Clause) -> Place<'s> {
        Place { filter: true, ..Place::new(scope, clause) }
    }

    pub(super) fn value(self) -> Place<'s> {
        Place { filter: false, ..self }
    }
}

impl Translator<'_> {
    /// Translates an expression. Its text may be put between operators and commas as it is.
    pub(super) fn expression(&mut self, expression: &Expr, place: Place<'_>) -> Result<Typed> {
        let aliases_before = self.aliases;
        let typed = self.nested(|translator| translator.expression_at_depth(expression, place))?;
        Ok(settle_grouping(typed, place, aliases_before))
    }

    fn expression_at_depth(&mut self, expression: &Expr, place: Place<'_>) -> Result<Typed> {
        match expression {
            Expr::Identifier(name) => self.column(name, place),
            Expr::CompoundIdentifier(parts) => self.qualified_column(parts, place),
            Expr::Value(value) => self.literal(value),
            Expr::Nested(inner) => self.expression(inner, place),
            Expr::BinaryOp { .. } => self.operator_chain(expression, place),
            Expr::UnaryOp { op, expr } => self.prefix_operator(op, expr, place),
            Expr::Function(function) => self.function(function, place),
            Expr::Cast { kind, expr, data_type, format } => {
                if !matches!(kind, ast::CastKind::Cast | ast::CastKind::DoubleColon) || format.is_some() {
                    return Err(Error::new(SqlState::SYNTAX_ERROR, "syntax error in CAST"));
                }
                self.explicit_cast(expr, data_type, place)
            }
            Expr::TypedString(typed) => {
                let target = super::data_type::type_name(&typed.data_type)?;
                let value = self.literal(&typed.value)?;
                let result = self.cast(value, target, Context::Explicit);
                result.map_err(|error| self.error_at(error, typed.value.span))
            }
            Expr::Interval(interval) => self.interval(interval, place),
            Expr::Case { operand, conditions, else_result, .. } => {
                self.case(operand.as_deref(), conditions, else_result.as_deref(), place)
            }
            Expr::Subquery(query) => self.scalar_subquery(query, place),
            Expr::Exists { subquery, negated } => self.exists(subquery, *negated, place),
            Expr::Array(array) => self.array(&array.elem, place),
            Expr::CompoundFieldAccess { root, access_chain } => self.access(root, access_chain, place),
            Expr::Collate { expr, collation } => self.collate(expr, collation, place),
            Expr::AtTimeZone { timestamp, time_zone } => {
                let arguments =
                    [self.expression(time_zone, place.value())?, self.expression(timestamp, place.value())?];
                self.call_builtin("timezone", arguments.into())
            }
            _ if is_test(expression) => self.test(expression, place),
            _ => self.special_function(expression, place),
        }
    }

    /// A bare column name.
    fn column(&mut self, name: &ast::Ident, place: Place<'_>) -> Result<Typed> {
        let folded = fold(name);
        if name.quote_style.is_none()
            && matches!(folded.as_str(), "current_schema" | "current_role" | "current_catalog" | "session_user")
        {
            let name = QualifiedName { schema: None, name: folded, span: name.span };
            return self.bare_function(&name, place);
        }
        let found = place.scope.column(&folded).map_err(|error| self.error_at(error, name.span))?;
        if let Some(found) = found {
            let (typed, column_use) =
                found.column.reference(found.level, found.qualifier.as_deref(), self.position(name.span));
            return Ok(self.use_column(typed, column_use, found.level, place));
        }
        let bare = QualifiedName { schema: None, name: folded.clone(), span: name.span };
        if let Some((item, level)) = place.scope.item(&bare) {
            if let (true, Some(column)) = (item.scalar, item.columns.first()) {
                let (typed, column_use) = column.reference(level, Some(&folded), self.position(name.span));
                return Ok(self.use_column(typed, column_use, level, place));
            }
            return Err(self.error_at(refusal::WHOLE_ROW.error(), name.span));
        }
        if name.quote_style.is_none() && is_system_column(&folded) && !place.scope.items.is_empty() {
            return Err(self.error_at(refusal::SYSTEM_COLUMN.error(), name.span));
        }
        let error = Error::new(SqlState::UNDEFINED_COLUMN, format!("column \"{folded}\" does not exist"));
        Err(self.error_at(error, name.span))
    }

    /// `table.column` or `schema.table.column`.
    fn qualified_column(&mut self, parts: &[ast::Ident], place: Place<'_>) -> Result<Typed> {
        let (qualifier, name) = match parts {
            [table, name] => (QualifiedName { schema: None, name: fold(table), span: table.span }, name),
            [schema, table, name] => {
                (QualifiedName { schema: Some(fold(schema)), name: fold(table), span: schema.span }, name)
            }
            _ => {
                let written = parts.iter().map(|part| part.value.as_str()).collect::<Vec<_>>().join(".");
                let message = format!("cross-database references are not implemented: {written}");
                return Err(Error::new(SqlState::FEATURE_NOT_SUPPORTED, message));
            }
        };
        let Some((item, level)) = place.scope.item(&qualifier) else {
            return Err(self.error_at(place.scope.missing_item(&qualifier), qualifier.span));
        };
        let folded = fold(name);
        let mut columns = item.columns.iter().filter(|column| column.name == folded);
        let Some(column) = columns.next() else {
            if is_system_column(&folded) && item.table.is_some() {
                return Err(self.error_at(refusal::SYSTEM_COLUMN.error(), qualifier.span));
            }
            let message = format!("column {}.{folded} does not exist", qualifier.name);
            return Err(self.error_at(Error::new(SqlState::UNDEFINED_COLUMN, message), qualifier.span));
        };
        if columns.next().is_some() {
            let message = format!("column reference \"{folded}\" is ambiguous");
            return Err(self.error_at(Error::new(SqlState::AMBIGUOUS_COLUMN, message), qualifier.span));
        }
        let (typed, column_use) = column.reference(level, Some(&qualifier.name), self.position(qualifier.span));
        Ok(self.use_column(typed, column_use, level, place))
    }

    /// Notes that a column is used, for the checks that GROUP BY asks for.
    pub(super) fn use_column(
        &mut self,
        mut typed: Typed,
        column_use: super::typed::ColumnUse,
        level: usize,
        place: Place<'_>,
    ) -> Typed {
        if level > 0 {
            let depth = place.scope.depth.saturating_sub(level);
            let key = place.scope.out(level).and_then(|scope| scope.grouping.key(&column_use.sql));
            if let Some(key) = key.filter(|_| !self.aggregating.contains(&depth)) {
                typed.sql.clone_from(&key.sql);
                typed.facts.not_null &= key.absent.is_none();
            }
            if let Some(frame) = self.frames.get_mut(depth) {
                frame.push(column_use);
            }
        } else if !place.in_aggregate && !place.scope.grouping.gives(&column_use) {
            typed.facts.ungrouped = Some(column_use);
        }
        typed
    }

    fn explicit_cast(&mut self, expression: &Expr, data_type: &ast::DataType, place: Place<'_>) -> Result<Typed> {
        let target = super::data_type::type_name(data_type)?;
        if let Expr::Array(array) = expression {
            // `ARRAY[...]::type[]` gives its elements their type.
            if let Some(element) = target.data_type.element() {
                let typed = self.array_of(&array.elem, Some(element), place)?;
                return self.cast(typed, target, Context::Explicit);
            }
        }
        let value = self.expression(expression, place.value())?;
        let result = self.cast(value, target, Context::Explicit);
        result.map_err(|error| self.error_at(error, expression.span()))
    }

    /// `interval '5 minutes'`, and `interval '5' minute`.
    fn interval(&mut self, interval: &ast::Interval, place: Place<'_>) -> Result<Typed> {
        let value = self.expression(&interval.value, place.value())?;
        let precise = interval.leading_precision.is_some() || interval.fractional_seconds_precision.is_some();
        if interval.last_field.is_some() || precise {
            return Err(Error::unsupported("an interval with a range of fields", "Write the units inside the quotes."));
        }
        let Some(field) = &interval.leading_field else {
            return self.cast(value, PgType::Interval.into(), Context::Explicit);
        };
        let text = self.cast(value, PgType::Text.into(), Context::Explicit)?;
        let unit = quote_text(&format!(" {}", field.to_string().to_lowercase()));
        let with_unit = Typed::computed(format!("({} || {unit})", text.sql), PgType::Text, [&text]);
        self.cast(with_unit, PgType::Interval.into(), Context::Explicit)
    }

    fn case(
        &mut self,
        operand: Option<&Expr>,
        conditions: &[ast::CaseWhen],
        otherwise: Option<&Expr>,
        place: Place<'_>,
    ) -> Result<Typed> {
        let place = place.value();
        let operand = match operand {
            Some(operand) => {
                let typed = self.expression(operand, place)?;
                // An untyped operand is text.
                Some(if typed.is_untyped() { self.cast(typed, PgType::Text.into(), Context::Implicit)? } else { typed })
            }
            None => None,
        };
        let mut tests = Vec::with_capacity(conditions.len());
        let mut results = Vec::with_capacity(conditions.len() + 1);
        for condition in conditions {
            let test = match &operand {
                Some(operand) => {
                    let value = self.expression(&condition.condition, place)?;
                    self.operator("=", vec![operand.clone(), value], condition.condition.span())?
                }
                None => {
                    let test = self.expression(&condition.condition, Place { filter: true, ..place })?;
                    self.boolean(test, "CASE/WHEN", condition.condition.span())?
                }
            };
            tests.push(test);
            results.push(self.expression(&condition.result, place)?);
        }
        if let Some(otherwise) = otherwise {
            results.push(self.expression(otherwise, place)?);
        }
        // Postgres looks at ELSE first.
        let order = results[tests.len()..].iter().chain(&results[..tests.len()]);
        let common = common_type(order, "CASE")?;
        let modifier = common_modifier(&results, common, otherwise.is_some());
        let results = self.all_implicit(results, common)?;
        let mut sql = String::from("(CASE");
        for (test, result) in tests.iter().zip(&results) {
            sql.push_str(&format!(" WHEN {} THEN {}", test.sql, result.sql));
        }
        if let Some(otherwise) = results.get(tests.len()) {
            sql.push_str(&format!(" ELSE {}", otherwise.sql));
        }
        sql.push_str(" END)");
        let not_null = otherwise.is_some() && results.iter().all(|result| result.facts.not_null);
        let mut typed = Typed::computed(sql, common, tests.iter().chain(&results));
        typed.modifier = modifier;
        typed.facts.not_null = not_null;
        Ok(typed)
    }

    pub(super) fn all_implicit(&mut self, values: Vec<Typed>, to: PgType) -> Result<Vec<Typed>> {
        values.into_iter().map(|value| self.implicit(value, to)).collect()
    }

    /// A subquery's one value.
    fn scalar_subquery(&mut self, query: &ast::Query, place: Place<'_>) -> Result<Typed> {
        let (output, facts) = self.subquery(query, place)?;
        let [column] = output.columns.as_slice() else {
            return Err(Error::new(SqlState::SYNTAX_ERROR, "subquery must return only one column"));
        };
        let sql = if output.single_row {
            format!("({})", output.sql)
        } else {
            let alias = self.alias();
            let value = format!("{alias}.{}", output.column_names[0]);
            format!("(SELECT pg_single({value}) FROM ({}) AS {alias})", output.sql)
        };
        let mut typed = Typed::computed(sql, column.data_type, []);
        typed.origin = Origin::Computed;
        typed.modifier = column.modifier;
        typed.facts = facts;
        Ok(typed)
    }

    fn exists(&mut self, query: &ast::Query, negated: bool, place: Place<'_>) -> Result<Typed> {
        let (output, facts) = self.subquery(query, place)?;
        let not = if negated { "NOT " } else { "" };
        let mut typed = Typed::computed(format!("({not}EXISTS ({}))", output.sql), PgType::Bool, []);
        typed.origin = Origin::Computed;
        typed.facts = Facts { not_null: true, ..facts };
        Ok(typed)
    }

    fn array(&mut self, elements: &[Expr], place: Place<'_>) -> Result<Typed> {
        self.array_of(elements, None, place)
    }

    fn array_of(&mut self, elements: &[Expr], element: Option<PgType>, place: Place<'_>) -> Result<Typed> {
        let place = place.value();
        let values = elements.iter().map(|element| self.expression(element, place)).collect::<Result<Vec<_>>>()?;
        if values.iter().any(|value| value.data_type.is_array()) {
            return Err(Error::unsupported("an array of arrays", "Use an array of one dimension, or jsonb."));
        }
        let element = match element {
            Some(element) => element,
            None if values.is_empty() => {
                return Err(Error::new(SqlState::INDETERMINATE_DATATYPE, "cannot determine type of empty array")
                    .hint("Explicitly cast to the desired type, for example ARRAY[]::integer[]."));
            }
            None => common_type(&values, "ARRAY")?,
        };
        let Some(data_type) = element.array() else {
            let message = format!("could not find array type for data type {element}");
            return Err(Error::new(SqlState::UNDEFINED_OBJECT, message));
        };
        let mut cells = Vec::with_capacity(values.len());
        let mut cast = Vec::with_capacity(values.len());
        for value in values {
            let value = self.cast(value, element.into(), Context::Explicit)?;
            cells.push(cell(&value));
            cast.push(value);
        }
        // SQLite's own writes a REAL with 15 digits.
        let own = !matches!(element, PgType::Float4 | PgType::Float8);
        let function = if own { "json_array" } else { "pg_array" };
        Ok(Typed::computed(format!("{function}({})", cells.join(", ")), data_type, &cast).not_null())
    }

    fn collate(&mut self, expression: &Expr, collation: &ast::ObjectName, place: Place<'_>) -> Result<Typed> {
        let value = self.expression(expression, place.value())?;
        let value = if value.is_untyped() { self.cast(value, PgType::Text.into(), Context::Implicit)? } else { value };
        if super::coerce::category(value.data_type) != super::coerce::Category::String {
            let message = format!("collations are not supported by type {}", value.data_type);
            return Err(Error::new(SqlState::DATATYPE_MISMATCH, message));
        }
        let name = QualifiedName::new(collation)?;
        match name.name.as_str() {
            "C" | "POSIX" | "default" | "ucs_basic" if name.is_builtin() => Ok(value),
            _ => Err(refusal::COLLATION.error()),
        }
    }

    /// Demands a boolean. `construct` is as the message names it: `WHERE`, `AND`.
    pub(super) fn boolean(&mut self, value: Typed, construct: &str, span: sqlparser::tokenizer::Span) -> Result<Typed> {
        let found = value.data_type;
        match self.try_cast(value, PgType::Bool.into(), Context::Implicit)? {
            Some(typed) => Ok(typed),
            None => {
                let message = format!("argument of {construct} must be type boolean, not type {found}");
                Err(self.error_at(Error::new(SqlState::DATATYPE_MISMATCH, message), span))
            }
        }
    }
}

/// An expression that GROUP BY gives has one value, whatever columns are in it. `aliases_before`: how many aliases there
/// were before its translation.
pub(super) fn settle_grouping(mut typed: Typed, place: Place<'_>, aliases_before: usize) -> Typed {
    let grouped = &place.scope.grouping.expressions;
    if place.scope.grouping.sets.is_some() {
        // A constant stays one; the select list sees to those that it gives.
        if !place.in_aggregate && !typed.is_constant() {
            take_key(&mut typed, place.scope, aliases_before);
        }
        return typed;
    }
    if typed.facts.ungrouped.is_some()
        && !grouped.is_empty()
        && grouped.contains(&without_alias_numbers(&typed.sql, aliases_before))
    {
        typed.facts.ungrouped = None;
    }
    typed
}

/// With grouping sets, a grouped expression is NULL in the sets that leave it out.
pub(super) fn take_key(typed: &mut Typed, scope: &Scope<'_>, aliases_before: usize) {
    if scope.grouping.sets.is_none() {
        return;
    }
    if let Some(key) = scope.grouping.key(&without_alias_numbers(&typed.sql, aliases_before)) {
        typed.sql.clone_from(&key.sql);
        typed.facts.ungrouped = None;
        typed.facts.not_null &= key.absent.is_none();
    }
}

/// The modifier that all values share; none when one is missing, is NULL or differs.
pub(super) fn common_modifier(values: &[Typed], data_type: PgType, complete: bool) -> i32 {
    let mut modifiers = values.iter().map(|value| if value.data_type == data_type { value.modifier } else { -1 });
    let first = modifiers.next().unwrap_or(-1);
    if complete && modifiers.all(|modifier| modifier == first) { first } else { -1 }
}

/// Tests and memberships: what gives a boolean by syntax of its own.
fn is_test(expression: &Expr) -> bool {
    matches!(
        expression,
        Expr::IsFalse(_)
            | Expr::IsNotFalse(_)
            | Expr::IsTrue(_)
            | Expr::IsNotTrue(_)
            | Expr::IsNull(_)
            | Expr::IsNotNull(_)
            | Expr::IsUnknown(_)
            | Expr::IsNotUnknown(_)
            | Expr::IsDistinctFrom(..)
            | Expr::IsNotDistinctFrom(..)
            | Expr::InList { .. }
            | Expr::InSubquery { .. }
            | Expr::InUnnest { .. }
            | Expr::Between { .. }
            | Expr::Like { .. }
            | Expr::ILike { .. }
            | Expr::SimilarTo { .. }
            | Expr::AnyOp { .. }
            | Expr::AllOp { .. }
    )
}

fn is_system_column(name: &str) -> bool {
    matches!(name, "ctid" | "xmin" | "xmax" | "cmin" | "cmax" | "tableoid")
}
