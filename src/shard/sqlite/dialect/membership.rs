//! Tests that have a syntax of their own: IS, BETWEEN, LIKE, IN, ANY, ALL.

use sqlparser::ast::Spanned;

use super::Translator;
use super::coerce::{Context, common_type};
use super::expression::{Clause, Place};
use super::form::from_cell;
use super::operate::{balanced, operator_name};
use super::query::QueryOutput;
use super::refusal;
use super::typed::{Facts, Typed};
use crate::error::{Error, Result, SqlState};
use crate::sql::ast::{self, BinaryOperator, Expr};
use crate::types::PgType;

impl Translator<'_> {
    pub(super) fn test(&mut self, expression: &Expr, place: Place<'_>) -> Result<Typed> {
        let place_of_value = place.value();
        match expression {
            Expr::IsNull(value) => self.is_null(value, "IS NULL", place_of_value),
            Expr::IsNotNull(value) => self.is_null(value, "IS NOT NULL", place_of_value),
            Expr::IsTrue(value) => self.is_boolean(value, "IS TRUE", place_of_value),
            Expr::IsNotTrue(value) => self.is_boolean(value, "IS NOT TRUE", place_of_value),
            Expr::IsFalse(value) => self.is_boolean(value, "IS FALSE", place_of_value),
            Expr::IsNotFalse(value) => self.is_boolean(value, "IS NOT FALSE", place_of_value),
            Expr::IsUnknown(value) => self.is_boolean(value, "IS UNKNOWN", place_of_value),
            Expr::IsNotUnknown(value) => self.is_boolean(value, "IS NOT UNKNOWN", place_of_value),
            Expr::IsDistinctFrom(left, right) => self.distinct_from(left, right, "IS NOT", place_of_value),
            Expr::IsNotDistinctFrom(left, right) => self.distinct_from(left, right, "IS", place_of_value),
            Expr::Between { expr, negated, low, high } => self.between(expr, *negated, low, high, place_of_value),
            Expr::Like { negated, any, expr, pattern, escape_char } => {
                self.like(("~~", *negated, *any), expr, pattern, escape_char.as_deref(), place_of_value)
            }
            Expr::ILike { negated, any, expr, pattern, escape_char } => {
                self.like(("~~*", *negated, *any), expr, pattern, escape_char.as_deref(), place_of_value)
            }
            Expr::SimilarTo { negated, expr, pattern, escape_char } => {
                self.similar(*negated, expr, pattern, escape_char.as_deref(), place_of_value)
            }
            Expr::InList { expr, list, negated } => self.in_list(expr, list, *negated, place_of_value),
            Expr::InSubquery { expr, subquery, negated } => self.in_subquery(expr, subquery, *negated, place_of_value),
            Expr::AnyOp { left, compare_op, right, .. } => self.quantified(left, compare_op, right, false, place),
            Expr::AllOp { left, compare_op, right } => self.quantified(left, compare_op, right, true, place),
            _ => Err(Error::new(SqlState::SYNTAX_ERROR, "syntax error in IN")),
        }
    }

    fn is_null(&mut self, value: &Expr, test: &str, place: Place<'_>) -> Result<Typed> {
        if let Expr::Tuple(parts) = value {
            let mut tests = Vec::with_capacity(parts.len());
            for part in parts {
                tests.push(self.is_null(part, test, place)?);
            }
            let texts: Vec<&str> = tests.iter().map(|test| test.sql.as_str()).collect();
            return Ok(Typed::computed(balanced(&texts, "AND"), PgType::Bool, &tests).not_null());
        }
        let mut value = self.expression(value, place)?;
        // IS NULL gives a parameter no type.
        if value.is_untyped() && !matches!(value.origin, super::typed::Origin::UntypedParameter(_)) {
            value = self.cast(value, PgType::Text.into(), Context::Implicit)?;
        }
        Ok(Typed::computed(format!("({} {test})", value.sql), PgType::Bool, [&value]).not_null())
    }

    fn is_boolean(&mut self, value: &Expr, test: &str, place: Place<'_>) -> Result<Typed> {
        let typed = self.expression(value, place)?;
        let typed = self.boolean(typed, test, value.span())?;
        let sqlite = match test {
            "IS UNKNOWN" => "IS NULL",
            "IS NOT UNKNOWN" => "IS NOT NULL",
            other => other,
        };
        Ok(Typed::computed(format!("({} {sqlite})", typed.sql), PgType::Bool, [&typed]).not_null())
    }

    fn distinct_from(&mut self, left: &Expr, right: &Expr, op: &str, place: Place<'_>) -> Result<Typed> {
        if let (Expr::Tuple(left), Expr::Tuple(right)) = (left, right) {
            if left.len() != right.len() {
                return Err(Error::new(SqlState::SYNTAX_ERROR, "unequal number of entries in row expressions"));
            }
            let pairs = left.iter().zip(right);
            let tests =
                pairs.map(|(left, right)| self.distinct_from(left, right, op, place)).collect::<Result<Vec<_>>>()?;
            let texts: Vec<&str> = tests.iter().map(|test| test.sql.as_str()).collect();
            let sql = balanced(&texts, if op == "IS" { "AND" } else { "OR" });
            return Ok(Typed::computed(sql, PgType::Bool, &tests).not_null());
        }
        let pair = [self.expression(left, place)?, self.expression(right, place)?];
        let (left, right) = self.comparison_operands("=", pair)?;
        let sql = format!("({} {op} {})", self.comparable(&left), self.comparable_right(&right));
        Ok(Typed::computed(sql, PgType::Bool, [&left, &right]).not_null())
    }

    fn between(&mut self, value: &Expr, negated: bool, low: &Expr, high: &Expr, place: Place<'_>) -> Result<Typed> {
        let value_typed = self.expression(value, place)?;
        let low_typed = self.expression(low, place)?;
        let low_test = self.operator(">=", vec![value_typed, low_typed], value.span())?;
        let value_typed = self.expression(value, place)?;
        let high_typed = self.expression(high, place)?;
        let high_test = self.operator("<=", vec![value_typed, high_typed], value.span())?;
        let not = if negated { "NOT " } else { "" };
        let sql = format!("({not}({} AND {}))", low_test.sql, high_test.sql);
        let mut typed = Typed::computed(sql, PgType::Bool, [&low_test, &high_test]);
        typed.facts.not_null = low_test.facts.not_null && high_test.facts.not_null;
        Ok(typed)
    }

    /// LIKE and ILIKE: the operator, whether it is negated, and whether it is `LIKE ANY`.
    /// SIMILAR TO. Postgres makes it `value ~ similar_to_escape(pattern, escape)`.
    fn similar(
        &mut self,
        negated: bool,
        value: &Expr,
        pattern: &Expr,
        escape: Option<&Expr>,
        place: Place<'_>,
    ) -> Result<Typed> {
        let typed = self.expression(value, place)?;
        let pattern = self.expression(pattern, place)?;
        let pattern = self.cast(pattern, PgType::Text.into(), Context::Implicit)?;
        let escape = match escape {
            Some(escape) => {
                let escape = self.expression(escape, place)?;
                self.cast(escape, PgType::Text.into(), Context::Implicit)?
            }
            None => Typed::constant("'\\'", PgType::Text),
        };
        let name = if negated { "!~" } else { "~" };
        // The operator checks the types.
        self.operator(name, vec![typed.clone(), pattern.clone()], value.span())?;
        let typed = if typed.is_untyped() { self.implicit(typed, PgType::Text)? } else { typed };
        let not = if negated { "NOT " } else { "" };
        let sql = format!("({not}pg_similar({}, {}, {}))", typed.sql, pattern.sql, escape.sql);
        Ok(Typed::computed(sql, PgType::Bool, [&typed, &pattern, &escape]))
    }

    fn like(
        &mut self,
        (name, negated, any): (&str, bool, bool),
        value: &Expr,
        pattern: &Expr,
        escape: Option<&Expr>,
        place: Place<'_>,
    ) -> Result<Typed> {
        if any {
            let name = if negated { format!("!{name}") } else { name.to_owned() };
            return self.quantified_by_name(value, &name, pattern, false, place);
        }
        let typed = self.expression(value, place)?;
        let pattern = self.expression(pattern, place)?;
        let matched = match escape {
            None => self.operator(name, vec![typed, pattern], value.span())?,
            Some(escape) => {
                // The operator checks the types; the escape is the function's third argument.
                let escape = self.expression(escape, place)?;
                let escape = self.cast(escape, PgType::Text.into(), Context::Implicit)?;
                let plain = self.operator(name, vec![typed, pattern], value.span())?;
                let call = plain.sql.strip_suffix(')').unwrap_or(&plain.sql);
                let sql = format!("{call}, {})", escape.sql);
                Typed::computed(sql, PgType::Bool, [&plain, &escape])
            }
        };
        if !negated {
            return Ok(matched);
        }
        Ok(Typed::computed(format!("(NOT {})", matched.sql), PgType::Bool, [&matched]))
    }

    fn in_list(&mut self, value: &Expr, list: &[Expr], negated: bool, place: Place<'_>) -> Result<Typed> {
        let not = if negated { "NOT " } else { "" };
        if let Expr::Tuple(parts) = value {
            return self.row_in_list(parts, list, negated, place);
        }
        let left = self.expression(value, place)?;
        let items = list.iter().map(|item| self.expression(item, place)).collect::<Result<Vec<_>>>()?;
        let common = common_type(std::iter::once(&left).chain(&items), "IN").ok();
        let uniform = match common {
            Some(common) => self.uniform_in(&left, &items, common)?,
            None => None,
        };
        if let Some((left, items)) = uniform {
            let texts: Vec<String> = items.iter().map(|item| self.comparable_right(item)).collect();
            let sql = format!("({} {not}IN ({}))", self.comparable(&left), texts.join(", "));
            let mut typed = Typed::computed(sql, PgType::Bool, std::iter::once(&left).chain(&items));
            typed.facts.not_null = left.facts.not_null && items.iter().all(|item| item.facts.not_null);
            return Ok(typed);
        }
        let mut tests = Vec::with_capacity(items.len());
        for item in items {
            tests.push(self.operator("=", vec![left.clone(), item], value.span())?);
        }
        let texts: Vec<&str> = tests.iter().map(|test| test.sql.as_str()).collect();
        Ok(Typed::computed(format!("({not}{})", balanced(&texts, "OR")), PgType::Bool, &tests))
    }

    /// The sides of an IN list whose items all compare as one type; none when they do not.
    fn uniform_in(&mut self, left: &Typed, items: &[Typed], common: PgType) -> Result<Option<(Typed, Vec<Typed>)>> {
        let probe = Typed::computed(String::new(), common, []);
        let left = if left.is_untyped() { self.implicit(left.clone(), common)? } else { left.clone() };
        let (left, probe) = match self.comparison_operands("=", [left, probe]) {
            Ok(pair) => pair,
            Err(error) if error.sqlstate() == SqlState::UNDEFINED_FUNCTION => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut cast = Vec::with_capacity(items.len());
        for item in items {
            let Some(item) = self.try_cast(item.clone(), common.into(), Context::Implicit)? else { return Ok(None) };
            cast.push(self.cast(item, probe.data_type.into(), Context::Implicit)?);
        }
        Ok(Some((left, cast)))
    }

    fn row_in_list(&mut self, parts: &[Expr], list: &[Expr], negated: bool, place: Place<'_>) -> Result<Typed> {
        let mut tests = Vec::with_capacity(list.len());
        for row in list {
            let Expr::Tuple(items) = row else { return Err(refusal::ROW_VALUE.error()) };
            if items.len() != parts.len() {
                let error = Error::new(SqlState::SYNTAX_ERROR, "unequal number of entries in row expressions");
                return Err(self.error_at(error, row.span()));
            }
            let mut equal = Vec::with_capacity(items.len());
            for (part, item) in parts.iter().zip(items) {
                let pair = vec![self.expression(part, place)?, self.expression(item, place)?];
                equal.push(self.operator("=", pair, item.span())?);
            }
            let texts: Vec<&str> = equal.iter().map(|test| test.sql.as_str()).collect();
            tests.push(Typed::computed(balanced(&texts, "AND"), PgType::Bool, &equal));
        }
        let texts: Vec<&str> = tests.iter().map(|test| test.sql.as_str()).collect();
        let not = if negated { "NOT " } else { "" };
        Ok(Typed::computed(format!("({not}{})", balanced(&texts, "OR")), PgType::Bool, &tests))
    }

    fn in_subquery(&mut self, value: &Expr, query: &ast::Query, negated: bool, place: Place<'_>) -> Result<Typed> {
        let parts: Vec<&Expr> = match value {
            Expr::Tuple(parts) => parts.iter().collect(),
            other => vec![other],
        };
        let (output, facts) = self.subquery(query, place)?;
        if output.columns.len() != parts.len() {
            let message = if output.columns.len() < parts.len() {
                "subquery has too few columns"
            } else {
                "subquery has too many columns"
            };
            return Err(self.error_at(Error::new(SqlState::SYNTAX_ERROR, message), value.span()));
        }
        let mut lefts = Vec::new();
        let mut typed_parts = Vec::new();
        let mut casts = Vec::new();
        let alias = self.alias();
        for (part, (column, name)) in parts.iter().zip(output.columns.iter().zip(&output.column_names)) {
            let left = self.expression(part, place)?;
            let mut right = Typed::computed(format!("{alias}.{name}"), column.data_type, []);
            right.facts.not_null = column.not_null;
            let plain = right.sql.clone();
            let (left, right) = self.comparison_operands("=", [left, right])?;
            lefts.push(self.comparable(&left));
            let right = self.comparable_right(&right);
            casts.push((right != plain, right));
            typed_parts.push(left);
        }
        let rows = if casts.iter().any(|(changed, _)| *changed) {
            let list: Vec<String> = casts.into_iter().map(|(_, sql)| sql).collect();
            format!("SELECT {} FROM ({}) AS {alias}", list.join(", "), output.sql)
        } else {
            output.sql
        };
        let left = if lefts.len() == 1 { lefts.remove(0) } else { format!("({})", lefts.join(", ")) };
        let not = if negated { "NOT " } else { "" };
        let mut result = Typed::computed(format!("({left} {not}IN ({rows}))"), PgType::Bool, &typed_parts);
        result.origin = super::typed::Origin::Computed;
        result.facts.add(&facts);
        Ok(result)
    }

    /// `left op ANY (right)` and `left op ALL (right)`.
    fn quantified(
        &mut self,
        left: &Expr,
        op: &BinaryOperator,
        right: &Expr,
        all: bool,
        place: Place<'_>,
    ) -> Result<Typed> {
        if let Expr::Subquery(query) = right {
            match (op, all) {
                (BinaryOperator::Eq, false) => return self.in_subquery(left, query, false, place.value()),
                (BinaryOperator::NotEq, true) => return self.in_subquery(left, query, true, place.value()),
                _ => {}
            }
        }
        let name = operator_name(op)?;
        self.quantified_by_name(left, &name, right, all, place)
    }

    fn quantified_by_name(
        &mut self,
        left: &Expr,
        name: &str,
        right: &Expr,
        all: bool,
        place: Place<'_>,
    ) -> Result<Typed> {
        let filter = place.filter;
        let place = place.value();
        let left_typed = self.expression(left, place)?;
        if let Expr::Subquery(query) = right {
            let (output, facts) = self.subquery(query, place)?;
            return self.quantified_subquery(left_typed, name, &output, facts, all, left.span());
        }
        let array = self.expression(right, place)?;
        let array = self.quantified_array(&left_typed, name, array, right)?;
        let Some(element) = array.data_type.element() else {
            let message = "op ANY/ALL (array) requires array on right side";
            return Err(self.error_at(Error::new(SqlState::WRONG_OBJECT_TYPE, message), right.span()));
        };
        if let (Clause::Check | Clause::Index, Some(elements)) = (place.clause, written_elements(right)) {
            return self.quantified_elements(&left_typed, name, (elements, element), all, place, left.span());
        }
        let alias = self.alias();
        let value = Typed::computed(from_cell(&format!("{alias}.value"), element), element, []);
        let rows = format!("json_each({}) AS {alias}", array.sql);
        let parts = [left_typed.clone(), array.clone()];
        let sql = match (name, all) {
            ("=", false) | ("<>", true) => {
                let (left, right) = self.comparison_operands("=", [left_typed, value])?;
                let not = if all { "NOT " } else { "" };
                let left_key = self.comparable(&left);
                let member = format!("({left_key} {not}IN (SELECT {} FROM {rows}))", self.comparable_right(&right));
                // An array that is NULL has no rows to find, which is NULL rather than false.
                if array.facts.not_null || (filter && !all) {
                    member
                } else if all {
                    format!("({member} AND ({} IS NOT NULL OR NULL))", array.sql)
                } else {
                    format!("({member} OR ({} IS NULL AND NULL))", array.sql)
                }
            }
            _ => {
                let test = self.operator(name, vec![left_typed, value], left.span())?;
                let found = quantify(&test.sql, &rows, all);
                format!("(CASE WHEN {} IS NOT NULL THEN {found} END)", array.sql)
            }
        };
        let mut typed = Typed::computed(sql, PgType::Bool, &parts);
        typed.facts.not_null = false;
        Ok(typed)
    }

    /// Test by test: the schema's own expressions hold no subqueries.
    fn quantified_elements(
        &mut self,
        left: &Typed,
        name: &str,
        (elements, data_type): (&[Expr], PgType),
        all: bool,
        place: Place<'_>,
        span: sqlparser::tokenizer::Span,
    ) -> Result<Typed> {
        let mut tests = Vec::with_capacity(elements.len());
        for element in elements {
            let value = self.expression(element, place)?;
            let value = self.cast(value, data_type.into(), Context::Explicit)?;
            tests.push(self.operator(name, vec![left.clone(), value], span)?);
        }
        let texts: Vec<&str> = tests.iter().map(|test| test.sql.as_str()).collect();
        let sql = match (texts.as_slice(), all) {
            ([], false) => "0".to_owned(),
            (texts, all) => balanced(texts, if all { "AND" } else { "OR" }),
        };
        let mut typed = Typed::computed(sql, PgType::Bool, &tests);
        typed.facts.not_null = false;
        Ok(typed)
    }

    /// An untyped array takes its element's type from the other side.
    fn quantified_array(&mut self, left: &Typed, name: &str, array: Typed, right: &Expr) -> Result<Typed> {
        if !array.is_untyped() {
            return Ok(array);
        }
        let element = match (left.data_type, name) {
            (PgType::Unknown, _) => PgType::Text,
            (PgType::Varchar, _) => PgType::Text,
            (known, _) => known,
        };
        match element.array() {
            Some(data_type) => self.cast(array, data_type.into(), Context::Implicit),
            None => {
                let message = format!("could not find array type for data type {element}");
                Err(self.error_at(Error::new(SqlState::UNDEFINED_OBJECT, message), right.span()))
            }
        }
    }

    fn quantified_subquery(
        &mut self,
        left: Typed,
        name: &str,
        output: &QueryOutput,
        facts: Facts,
        all: bool,
        span: sqlparser::tokenizer::Span,
    ) -> Result<Typed> {
        let [column] = output.columns.as_slice() else {
            return Err(Error::new(SqlState::SYNTAX_ERROR, "subquery has too many columns"));
        };
        let alias = self.alias();
        let value = Typed::computed(format!("{alias}.{}", output.column_names[0]), column.data_type, []);
        let test = self.operator(name, vec![left.clone(), value], span)?;
        let rows = format!("({}) AS {alias}", output.sql);
        let mut typed = Typed::computed(quantify(&test.sql, &rows, all), PgType::Bool, [&left]);
        typed.origin = super::typed::Origin::Computed;
        typed.facts.add(&facts);
        Ok(typed)
    }
}

/// The elements of an array that is written out: `ARRAY['a', 'b']::text[]`.
fn written_elements(array: &Expr) -> Option<&[Expr]> {
    match array {
        Expr::Array(array) => Some(&array.elem),
        Expr::Nested(inner) | Expr::Cast { expr: inner, .. } => written_elements(inner),
        _ => None,
    }
}

/// ANY: true if any test is true, else NULL if any is NULL, else false. ALL: the reverse.
fn quantify(test: &str, rows: &str, all: bool) -> String {
    let (aggregate, decided, otherwise) = if all { ("min", 0, 1) } else { ("max", 1, 0) };
    format!(
        "(SELECT CASE WHEN {aggregate}({test}) = {decided} THEN {decided} \
         WHEN count(*) = count({test}) THEN {otherwise} END FROM {rows})"
    )
}
