//! Function calls: how one is read and resolved, plain functions, and those that have a syntax of their own.

use sqlparser::ast::Spanned;
use sqlparser::tokenizer::Span;

use super::Translator;
use super::array_query::function_name;
use super::catalog::functions::{Kind, functions};
use super::catalog::{Argument, Candidate, Choice, Signature, choose, is_postgres_function, polymorphic};
use super::coerce::{Context, common_type};
use super::expression::{Place, common_modifier};
use super::names::{QualifiedName, quote_text};
use super::refusal;
use super::typed::Typed;
use super::whole_row::row_to_json;
use crate::error::{Error, Result, SqlState};
use crate::shard::sqlite::EnvironmentValue;
use crate::sql::ast::{self, Expr};
use crate::types::PgType;

/// A call's parts, as the tree has them.
#[derive(Default)]
pub(super) struct Call<'e> {
    pub(super) arguments: Vec<&'e Expr>,
    pub(super) star: bool,
    pub(super) distinct: bool,
    pub(super) order_by: &'e [ast::OrderByExpr],
}

/// A function that was chosen, and what its types come to.
pub(super) struct Resolved {
    pub(super) kind: Kind,
    pub(super) signature: &'static Signature,
    pub(super) arguments: Vec<Typed>,
    pub(super) result: PgType,
}

impl Translator<'_> {
    pub(super) fn function(&mut self, function: &ast::Function, place: Place<'_>) -> Result<Typed> {
        let name = function_name(&function.name)?;
        if matches!(function.args, ast::FunctionArguments::None) {
            return self.bare_function(&name, place);
        }
        if !function.within_group.is_empty() {
            let result = self.ordered_set(&name, function, place);
            return result.map_err(|error| self.error_at(error, name.span));
        }
        if function.null_treatment.is_some() {
            return Err(Error::new(SqlState::SYNTAX_ERROR, "syntax error at or near \"NULLS\""));
        }
        if let ast::FunctionArguments::Subquery(query) = &function.args {
            return self.array_query(&name, query, place.value());
        }
        let call = read_call(function)?;
        if name.schema.is_none()
            && let Some(typed) = self.keyword_function(&name.name, &call, place)?
        {
            return Ok(typed);
        }
        if let Some(schema) = name.schema.as_deref().filter(|schema| !matches!(*schema, "public" | "pg_catalog")) {
            let error = Error::new(SqlState::INVALID_SCHEMA_NAME, format!("schema \"{schema}\" does not exist"));
            return Err(self.error_at(error, name.span));
        }
        if !name.is_builtin() {
            return Err(self.error_at(self.no_function(&name, &[]), name.span));
        }
        let over = function.over.as_ref();
        let is_aggregate = functions(&name.name).iter().any(|(kind, _)| *kind == Kind::Aggregate);
        if is_aggregate && over.is_none() {
            let result = self.aggregate(&name, &call, function.filter.as_deref(), place);
            return result.map_err(|error| self.error_at(error, name.span));
        }
        if let Some(over) = over {
            let result = self.window_function(
                &name,
                (&call.arguments, call.star, call.distinct),
                function.filter.as_deref(),
                over,
                place,
            );
            return result.map_err(|error| self.error_at(error, name.span));
        }
        if call.distinct || !call.order_by.is_empty() || function.filter.is_some() || call.star {
            let what = if call.star {
                "(*)"
            } else if call.distinct {
                "DISTINCT"
            } else if function.filter.is_some() {
                "FILTER"
            } else {
                "ORDER BY"
            };
            if functions(&name.name).is_empty() {
                return Err(self.error_at(self.no_function(&name, &[]), name.span));
            }
            let message = format!("{what} specified, but {} is not an aggregate function", name.name);
            return Err(self.error_at(Error::new(SqlState::WRONG_OBJECT_TYPE, message), name.span));
        }
        let arguments = self.arguments(&name.name, &call.arguments, place.value())?;
        if let Some(row) = row_to_json(&name.name, &arguments) {
            return Ok(row);
        }
        if functions(&name.name).iter().any(|(kind, _)| *kind == Kind::SetReturning) {
            let result = self.series_in_list(&name, arguments, place);
            return result.map_err(|error| self.error_at(error, name.span));
        }
        self.call_named(&name, arguments)
    }

    /// A plain function of Postgres's own, by name.
    pub(super) fn call_builtin(&mut self, name: &str, arguments: Vec<Typed>) -> Result<Typed> {
        let name = QualifiedName { schema: None, name: name.to_owned(), span: Span::empty() };
        self.call_named(&name, arguments)
    }

    fn call_named(&mut self, name: &QualifiedName, arguments: Vec<Typed>) -> Result<Typed> {
        let result = self.call_unplaced(name, arguments);
        result.map_err(|error| self.error_at(error, name.span))
    }

    fn call_unplaced(&mut self, name: &QualifiedName, arguments: Vec<Typed>) -> Result<Typed> {
        if let Some(typed) = self.conversion(name, &arguments)? {
            return Ok(typed);
        }
        let resolved = self.resolve(name, arguments)?;
        match resolved.kind {
            Kind::Plain => {}
            Kind::SetReturning => return Err(refusal::SET_RETURNING.error()),
            Kind::Window => {
                let message = format!("window function {} requires an OVER clause", name.name);
                return Err(Error::new(SqlState::WRONG_OBJECT_TYPE, message));
            }
            Kind::Aggregate => return Err(Error::internal("an aggregate was taken for a plain function")),
        }
        let form = self.form_of(name, &resolved)?;
        if resolved.signature.looks_up() {
            self.look_up(&format!("function {}()", name.name))?;
        }
        let variadic = resolved.signature.arguments.len() - usize::from(resolved.signature.variadic);
        let sql = self.fill(form, &resolved.arguments, variadic)?;
        let mut typed = Typed::computed(sql, resolved.result, &resolved.arguments);
        if resolved.arguments.is_empty() {
            typed.facts.not_null = true;
        }
        if matches!(name.name.as_str(), "random" | "gen_random_uuid" | "clock_timestamp") {
            typed.origin = super::typed::Origin::Computed;
        }
        Ok(typed)
    }

    pub(super) fn form_of(&self, name: &QualifiedName, resolved: &Resolved) -> Result<&'static str> {
        resolved.signature.form.ok_or_else(|| {
            let types: Vec<&str> = resolved.arguments.iter().map(|argument| argument.data_type.sql_name()).collect();
            Error::unsupported(
                format_args!("function {}({})", name.name, types.join(", ")),
                "docs/sql.md lists the functions that are done.",
            )
        })
    }

    /// `type(value)`: a cast that looks like a call.
    fn conversion(&mut self, name: &QualifiedName, arguments: &[Typed]) -> Result<Option<Typed>> {
        let [value] = arguments else { return Ok(None) };
        if !functions(&name.name).is_empty() {
            return Ok(None);
        }
        let to = PgType::ALL.iter().copied().find(|known| known.name() == name.name);
        let Some(to) = to else { return Ok(None) };
        let result = self.try_cast(value.clone(), to.into(), Context::Explicit)?;
        if result.is_none() {
            return Err(self.no_function(name, arguments));
        }
        Ok(result)
    }

    /// Chooses among the functions of a name, and casts the arguments.
    pub(super) fn resolve(&mut self, name: &QualifiedName, arguments: Vec<Typed>) -> Result<Resolved> {
        let all = functions(&name.name);
        let given: Vec<PgType> = arguments.iter().map(|argument| argument.data_type).collect();
        let candidates: Vec<Candidate> = all
            .iter()
            .enumerate()
            .filter_map(|(index, (_, signature))| {
                let arguments = signature.arguments_for(given.len())?;
                Some(Candidate { index, arguments })
            })
            .collect();
        let (kind, signature) = match choose(&given, candidates) {
            Choice::One(index) => &all[index],
            Choice::None => return Err(self.no_function(name, &arguments)),
            Choice::Ambiguous => {
                let types: Vec<&str> = given.iter().map(|given| given.sql_name()).collect();
                let message = format!("function {}({}) is not unique", name.display(), types.join(", "));
                return Err(Error::new(SqlState::AMBIGUOUS_FUNCTION, message)
                    .hint("Could not choose a best candidate function. You might need to add explicit type casts."));
            }
        };
        let types = polymorphic(signature, &given)?;
        let mut cast = Vec::with_capacity(arguments.len());
        for (argument, to) in arguments.into_iter().zip(&types.arguments) {
            cast.push(self.implicit(argument, *to)?);
        }
        self.add_optional(signature, &mut cast)?;
        Ok(Resolved { kind: *kind, signature, arguments: cast, result: types.result })
    }

    /// The defaults of arguments that were left out.
    fn add_optional(&mut self, signature: &Signature, arguments: &mut Vec<Typed>) -> Result<()> {
        while !signature.variadic && arguments.len() < signature.arguments.len() {
            let default = match signature.arguments[arguments.len()] {
                Argument::Exact(PgType::Bool) => {
                    Typed::constant(if signature.name == "jsonb_set" { "1" } else { "0" }, PgType::Bool)
                }
                Argument::Exact(PgType::Float8) => Typed::constant("0.0", PgType::Float8),
                Argument::Exact(PgType::Text) => Typed::constant("'use_json_null'", PgType::Text),
                _ => Typed::constant("0", PgType::Int4),
            };
            arguments.push(default);
        }
        Ok(())
    }

    pub(super) fn no_function(&self, name: &QualifiedName, arguments: &[Typed]) -> Error {
        let known = name.is_builtin() && is_postgres_function(&name.name) && functions(&name.name).is_empty();
        if known {
            return Error::unsupported(
                format_args!("function {}()", name.name),
                "docs/sql.md lists the functions that are done.",
            );
        }
        let types: Vec<&str> = arguments.iter().map(|argument| argument.data_type.sql_name()).collect();
        let message = format!("function {}({}) does not exist", name.display(), types.join(", "));
        Error::new(SqlState::UNDEFINED_FUNCTION, message)
            .hint("No function matches the given name and argument types. You might need to add explicit type casts.")
    }

    /// CURRENT_DATE and others that are written without parentheses.
    pub(super) fn bare_function(&mut self, name: &QualifiedName, _place: Place<'_>) -> Result<Typed> {
        let constant = |sql: String, data_type| Ok(Typed::constant(sql, data_type));
        let environment = |translator: &mut Self, value| translator.parameters.environment(value);
        match name.name.as_str() {
            "current_timestamp" => {
                constant(environment(self, EnvironmentValue::TransactionTimestamp), PgType::Timestamptz)
            }
            "current_date" => constant(self.today(), PgType::Date),
            "localtimestamp" => {
                let now = environment(self, EnvironmentValue::TransactionTimestamp);
                let zone = environment(self, EnvironmentValue::TimeZone);
                constant(format!("pg_timestamptz_timestamp({now}, {zone})"), PgType::Timestamp)
            }
            "current_user" | "session_user" | "user" | "current_role" => {
                constant(environment(self, EnvironmentValue::User), PgType::Name)
            }
            "current_catalog" => constant(environment(self, EnvironmentValue::Database), PgType::Name),
            "current_schema" => constant(environment(self, EnvironmentValue::Schema), PgType::Name),
            other => Err(Error::unsupported(other.to_uppercase(), "Use now(), current_date or localtimestamp.")),
        }
    }

    /// COALESCE and others that the grammar knows: their arguments are brought to one type.
    fn keyword_function(&mut self, name: &str, call: &Call<'_>, place: Place<'_>) -> Result<Option<Typed>> {
        let place = place.value();
        let construct = match name {
            "coalesce" => "COALESCE",
            "greatest" => "GREATEST",
            "least" => "LEAST",
            "nullif" => return self.nullif(call, place).map(Some),
            "current_timestamp" | "localtimestamp" => {
                let bare = QualifiedName { schema: None, name: name.to_owned(), span: Span::empty() };
                return self.bare_function(&bare, place).map(Some);
            }
            "row" => return Err(refusal::ROW_VALUE.error()),
            "grouping" => return self.grouping(&call.arguments, place).map(Some),
            _ => return Ok(None),
        };
        let values =
            call.arguments.iter().map(|argument| self.expression(argument, place)).collect::<Result<Vec<_>>>()?;
        if values.is_empty() {
            return Err(Error::new(SqlState::SYNTAX_ERROR, "syntax error at or near \")\""));
        }
        let common = common_type(&values, construct)?;
        let modifier = common_modifier(&values, common, true);
        let values = self.all_implicit(values, common)?;
        let texts: Vec<&str> = values.iter().map(|value| value.sql.as_str()).collect();
        let sql = match (construct, texts.as_slice()) {
            (_, [only]) => (*only).to_owned(),
            ("COALESCE", texts) => format!("coalesce({})", texts.join(", ")),
            (_, texts) => self.greatest(if construct == "GREATEST" { "max" } else { "min" }, texts, common)?,
        };
        let mut typed = Typed::computed(sql, common, &values);
        typed.modifier = modifier;
        typed.facts.not_null = values.iter().any(|value| value.facts.not_null);
        Ok(Some(typed))
    }

    /// NULLs are passed over, as an aggregate does.
    fn greatest(&mut self, form: &str, texts: &[&str], common: PgType) -> Result<String> {
        // The same name each time, so that GROUP BY finds the expression again; it is seen nowhere else.
        let alias = "shardd_values";
        let column = Typed::computed(format!("{alias}.column1"), common, []);
        if common == PgType::Json {
            let message = "could not identify a comparison function for type json";
            return Err(Error::new(SqlState::UNDEFINED_FUNCTION, message));
        }
        // Not VALUES: SQLite does not name its columns when they refer to an outer query's.
        let rows: Vec<String> = texts.iter().map(|text| format!("SELECT ({text}) AS column1")).collect();
        Ok(format!("(SELECT {} FROM ({}) AS {alias})", self.extremum(form, &column)?, rows.join(" UNION ALL ")))
    }

    fn nullif(&mut self, call: &Call<'_>, place: Place<'_>) -> Result<Typed> {
        let [first, second] = call.arguments.as_slice() else {
            return Err(Error::new(SqlState::SYNTAX_ERROR, "NULLIF takes two arguments"));
        };
        let left = self.expression(first, place)?;
        let right = self.expression(second, place)?;
        let left = if left.is_untyped() && right.is_untyped() { self.implicit(left, PgType::Text)? } else { left };
        let pair = self.comparison_operands("=", [left, right]);
        let (left, right) = pair.map_err(|error| self.error_at(error, first.span()))?;
        let sql = format!(
            "(CASE WHEN {} = {} THEN NULL ELSE {} END)",
            self.comparable(&left),
            self.comparable_right(&right),
            left.sql
        );
        let mut typed = Typed::computed(sql, left.data_type, [&left, &right]);
        typed.modifier = left.modifier;
        Ok(typed)
    }

    /// Functions that SQL writes with words between the arguments.
    pub(super) fn special_function(&mut self, expression: &Expr, place: Place<'_>) -> Result<Typed> {
        let place = place.value();
        let (name, arguments): (&str, Vec<&Expr>) = match expression {
            Expr::Extract { field, expr, .. } => {
                let field =
                    Typed::constant(quote_text(&field.to_string().to_lowercase().replace('\'', "")), PgType::Text);
                let value = self.expression(expr, place)?;
                return self.call_builtin("extract", vec![field, value]);
            }
            Expr::Ceil { expr, field: ast::CeilFloorKind::DateTimeField(ast::DateTimeField::NoDateTime) } => {
                ("ceil", vec![expr])
            }
            Expr::Floor { expr, field: ast::CeilFloorKind::DateTimeField(ast::DateTimeField::NoDateTime) } => {
                ("floor", vec![expr])
            }
            Expr::Position { expr, r#in } => ("position", vec![r#in, expr]),
            Expr::Substring { expr, substring_from, substring_for, .. } => {
                if substring_from.is_none()
                    && let Some(length) = substring_for
                {
                    let value = self.expression(expr, place)?;
                    let length = self.expression(length, place)?;
                    let first = Typed::constant("1", PgType::Int4);
                    return self.call_builtin("substring", vec![value, first, length]);
                }
                let bounds = substring_from.iter().chain(substring_for).map(AsRef::as_ref);
                ("substring", std::iter::once(expr.as_ref()).chain(bounds).collect())
            }
            Expr::Trim { trim_where, trim_what, expr, trim_characters } => {
                let name = match trim_where {
                    Some(ast::TrimWhereField::Leading) => "ltrim",
                    Some(ast::TrimWhereField::Trailing) => "rtrim",
                    _ => "btrim",
                };
                let what = trim_what.iter().map(AsRef::as_ref).chain(trim_characters.iter().flatten());
                (name, std::iter::once(expr.as_ref()).chain(what).collect())
            }
            Expr::Overlay { expr, overlay_what, overlay_from, overlay_for } => {
                let mut arguments = vec![expr.as_ref(), overlay_what.as_ref(), overlay_from.as_ref()];
                arguments.extend(overlay_for.as_deref());
                ("overlay", arguments)
            }
            other => return Err(refused_expression(other)),
        };
        let arguments =
            arguments.into_iter().map(|argument| self.expression(argument, place)).collect::<Result<Vec<_>>>()?;
        let result = self.call_builtin(name, arguments);
        result.map_err(|error| self.error_at(error, expression.span()))
    }
}

fn refused_expression(expression: &Expr) -> Error {
    match expression {
        Expr::Tuple(_) => refusal::ROW_VALUE.error(),
        Expr::IsJson { .. } => refusal::IS_JSON.error(),
        Expr::IsNormalized { .. } => refusal::NORMALIZED.error(),
        other => Error::unsupported(format_args!("the expression {other}"), "docs/sql.md lists what is done."),
    }
}

fn read_call(function: &ast::Function) -> Result<Call<'_>> {
    let ast::FunctionArguments::List(list) = &function.args else {
        return Err(Error::unsupported("ARRAY(SELECT ...)", "Aggregate the subquery's rows with array_agg()."));
    };
    let name = function.name.0.last().map(ToString::to_string).unwrap_or_default();
    if name.eq_ignore_ascii_case("make_interval") {
        return Ok(Call { arguments: interval_arguments(&list.args)?, ..Call::default() });
    }
    let mut call =
        Call { distinct: list.duplicate_treatment == Some(ast::DuplicateTreatment::Distinct), ..Call::default() };
    for argument in &list.args {
        match argument {
            ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(expression)) => call.arguments.push(expression),
            ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Wildcard) => call.star = true,
            ast::FunctionArg::Unnamed(_) => return Err(refusal::WHOLE_ROW.error()),
            _ => return Err(refusal::NAMED_ARGUMENTS.error()),
        }
    }
    for clause in &list.clauses {
        match clause {
            ast::FunctionArgumentClause::OrderBy(keys) => call.order_by = keys,
            other => return Err(Error::new(SqlState::SYNTAX_ERROR, format!("syntax error at or near \"{other}\""))),
        }
    }
    Ok(call)
}

/// The arguments of make_interval, which are mostly given by name: `make_interval(mins => 5)`.
fn interval_arguments(arguments: &[ast::FunctionArg]) -> Result<Vec<&Expr>> {
    const NAMES: [&str; 7] = ["years", "months", "weeks", "days", "hours", "mins", "secs"];
    static ZERO: std::sync::LazyLock<Expr> =
        std::sync::LazyLock::new(|| Expr::value(ast::Value::Number("0".to_owned(), false)));
    let mut given: [Option<&Expr>; 7] = [None; 7];
    for (index, argument) in arguments.iter().enumerate() {
        let (place, value) = match argument {
            ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(value)) => (Some(index), value),
            ast::FunctionArg::Named { name, arg: ast::FunctionArgExpr::Expr(value), .. } => {
                (NAMES.iter().position(|known| name.value.eq_ignore_ascii_case(known)), value)
            }
            ast::FunctionArg::ExprNamed {
                name: Expr::Identifier(name),
                arg: ast::FunctionArgExpr::Expr(value),
                ..
            } => (NAMES.iter().position(|known| name.value.eq_ignore_ascii_case(known)), value),
            _ => (None, &*ZERO),
        };
        match place.and_then(|place| given.get_mut(place)) {
            Some(slot @ None) => *slot = Some(value),
            _ => return Err(refusal::NAMED_ARGUMENTS.error()),
        }
    }
    Ok(given.into_iter().map(|value| value.unwrap_or(&ZERO)).collect())
}
