//! Each aggregate: what shards compute of it, and how that is put together.

use std::ops::ControlFlow;

use super::super::functions::{arguments, calls};
use super::super::key::strip;
use super::super::scope::Scope;
use super::finish::{AVERAGE_MARK, SUM_MARK, column_text};
use super::split::Splitter;
use crate::error::{Error, Result, SqlState};
use crate::sql::ast::{
    self, CastKind, DataType, DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments,
    Ident,
};
use crate::sql::{Visitor, function_name, parse_expression, walk};
use crate::types::PgType;

impl Splitter<'_, '_> {
    /// Shards group by the argument as well, so that each value comes from each at most once.
    pub(super) fn distinct(&mut self, call: &Call<'_>) -> Result<(Expr, bool, usize)> {
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

    pub(super) fn combined(&mut self, call: &Call<'_>) -> Result<(Expr, bool, usize)> {
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
pub(super) struct Call<'f> {
    function: &'f Function,
    /// As shards compute it.
    partial: Expr,
    name: String,
    pub(super) distinct: bool,
    /// `None` for `*`.
    argument: Option<&'f Expr>,
    filter: Option<&'f Expr>,
}

impl<'f> Call<'f> {
    pub(super) fn read(function: &'f Function) -> Result<Call<'f>> {
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
