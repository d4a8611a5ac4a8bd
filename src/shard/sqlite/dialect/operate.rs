//! Operators: resolved as Postgres resolves them, compared as its types compare.

use sqlparser::ast::Spanned;
use sqlparser::tokenizer::Span;

use super::Translator;
use super::catalog::operators::{COMPARISON, operators};
use super::catalog::{Argument, Choice, Signature, choose, polymorphic};
use super::coerce::Context;
use super::expression::{Place, settle_grouping};
use super::refusal;
use super::typed::Typed;
use crate::error::{Error, Result, SqlState};
use crate::sql::ast::{self, BinaryOperator, Expr, UnaryOperator};
use crate::types::PgType;

impl Translator<'_> {
    /// `a op b op c ...`: the left side may be long, so it is walked rather than recursed into.
    pub(super) fn operator_chain(&mut self, expression: &Expr, place: Place<'_>) -> Result<Typed> {
        let aliases_before = self.aliases;
        let mut steps = Vec::new();
        let mut first = expression;
        while let Expr::BinaryOp { left, op, right } = first {
            // A row comparison takes its left side as it is.
            if matches!(left.as_ref(), Expr::Tuple(_)) {
                break;
            }
            steps.push((op, right.as_ref(), first));
            first = left;
        }
        steps.reverse();
        let mut steps = steps.into_iter().peekable();
        let mut value = match first {
            Expr::BinaryOp { left, op, right } => self.row_comparison(left, op, right, place)?,
            _ => {
                let logical = steps.peek().is_some_and(|(op, ..)| is_logical(op));
                self.expression(first, if logical { place } else { place.value() })?
            }
        };
        let mut first_span = first.span();
        while let Some((op, right, whole)) = steps.next() {
            if is_logical(op) {
                let mut terms = vec![(value, first_span), self.logical_term(right, place)?];
                while let Some((_, right, _)) = steps.next_if(|(next, ..)| *next == op) {
                    terms.push(self.logical_term(right, place)?);
                }
                value = self.junction(op, terms)?;
            } else {
                let name = operator_name(op)?;
                let inner = place.value();
                let right_value = self.expression(right, inner)?;
                value = self.operator(&name, vec![value, right_value], whole.span())?;
            }
            value = settle_grouping(value, place, aliases_before);
            first_span = whole.span();
        }
        Ok(value)
    }

    fn logical_term(&mut self, term: &Expr, place: Place<'_>) -> Result<(Typed, Span)> {
        Ok((self.expression(term, place)?, term.span()))
    }

    /// AND or OR of many terms, nested evenly so that SQLite's limit on depth is far.
    fn junction(&mut self, op: &BinaryOperator, terms: Vec<(Typed, Span)>) -> Result<Typed> {
        let word = if *op == BinaryOperator::And { "AND" } else { "OR" };
        let mut typed = Vec::with_capacity(terms.len());
        for (term, span) in terms {
            typed.push(self.boolean(term, word, span)?);
        }
        let texts: Vec<&str> = typed.iter().map(|term| term.sql.as_str()).collect();
        let mut result = Typed::computed(balanced(&texts, word), PgType::Bool, &typed);
        result.facts.not_null = typed.iter().all(|term| term.facts.not_null);
        Ok(result)
    }

    pub(super) fn prefix_operator(&mut self, op: &UnaryOperator, operand: &Expr, place: Place<'_>) -> Result<Typed> {
        if *op == UnaryOperator::Not {
            let value = self.expression(operand, place.value())?;
            let value = self.boolean(value, "NOT", operand.span())?;
            let mut result = Typed::computed(format!("(NOT {})", value.sql), PgType::Bool, [&value]);
            result.facts.not_null = value.facts.not_null;
            return Ok(result);
        }
        let name = match op {
            UnaryOperator::Plus => "+",
            UnaryOperator::Minus => "-",
            UnaryOperator::BitwiseNot => "~",
            UnaryOperator::PGAbs => "@",
            UnaryOperator::PGSquareRoot => "|/",
            UnaryOperator::PGCubeRoot => "||/",
            other => {
                return Err(Error::unsupported(format_args!("operator {other}"), "Use a function instead."));
            }
        };
        // Postgres's grammar takes the sign into the constant.
        if let (UnaryOperator::Minus, Some(digits)) = (op, signed_number(operand)) {
            return super::literal::number(&negated(&digits));
        }
        let value = self.expression(operand, place.value())?;
        self.operator(name, vec![value], operand.span())
    }

    /// Applies the operator of this name that Postgres would choose.
    ///
    /// # Errors
    /// 42883, 42725: there is none, or not one. 0A000: shardd does not have it.
    pub(super) fn operator(&mut self, name: &str, operands: Vec<Typed>, span: Span) -> Result<Typed> {
        let result = self.operator_unplaced(name, operands);
        result.map_err(|error| self.error_at(error, span))
    }

    fn operator_unplaced(&mut self, name: &str, operands: Vec<Typed>) -> Result<Typed> {
        let given: Vec<PgType> = operands.iter().map(|operand| operand.data_type).collect();
        if matches!(name, "@?" | "@@") && given.first() == Some(&PgType::Jsonb) {
            return Err(super::refusal::JSON_PATH.error());
        }
        let signature = resolve_operator(name, &given)?;
        let types = polymorphic(signature, &given)?;
        let Some(form) = signature.form else {
            return Err(Error::unsupported(
                format_args!("operator {}", spelled(name, &given)),
                "Use a function instead.",
            ));
        };
        let mut operands = operands;
        for (operand, (to, declared)) in operands.iter_mut().zip(types.arguments.iter().zip(&signature.arguments)) {
            if !matches!(declared, Argument::Any) {
                let value = std::mem::replace(operand, Typed::null());
                *operand = self.implicit(value, *to)?;
            }
        }
        if form == COMPARISON {
            let [left, right] =
                <[Typed; 2]>::try_from(operands).map_err(|_| Error::internal("a comparison has two operands"))?;
            return self.compare(name, left, right);
        }
        let sql = self.fill(form, &operands, 0)?;
        let mut result = Typed::computed(sql, types.result, &operands);
        // Only jsonb's and json's accessors give NULL for what is not.
        result.facts.not_null = !name.contains('>') && operands.iter().all(|operand| operand.facts.not_null);
        Ok(result)
    }

    /// A comparison of two values whose types can be compared.
    pub(super) fn compare(&mut self, op: &str, left: Typed, right: Typed) -> Result<Typed> {
        let (left, right) = self.alike(left, right)?;
        let facts_of = [&left, &right];
        let (left_sql, right_sql) = self.sides(op, &left, &right);
        let mut result = Typed::computed(format!("({left_sql} {op} {right_sql})"), PgType::Bool, facts_of);
        result.facts.not_null = left.facts.not_null && right.facts.not_null;
        Ok(result)
    }

    /// Brings dates and timestamps to one type; other types that can be compared lie alike in their cells.
    pub(super) fn alike(&mut self, left: Typed, right: Typed) -> Result<(Typed, Typed)> {
        use PgType::{Date, Timestamp, Timestamptz};
        let common = match (left.data_type, right.data_type) {
            (a, b) if a == b => return Ok((left, right)),
            (Timestamptz, Date | Timestamp) | (Date | Timestamp, Timestamptz) => Timestamptz,
            (Timestamp, Date) | (Date, Timestamp) => Timestamp,
            _ => return Ok((left, right)),
        };
        Ok((self.cast(left, common.into(), Context::Implicit)?, self.cast(right, common.into(), Context::Implicit)?))
    }

    /// The left side of a test for equality.
    pub(super) fn comparable(&self, value: &Typed) -> String {
        order_key(&value.sql, value.data_type)
    }

    /// The right side: the collation is given by the left.
    pub(super) fn comparable_right(&self, value: &Typed) -> String {
        match value.data_type {
            PgType::Numeric | PgType::Bpchar => value.sql.clone(),
            other => order_key(&value.sql, other),
        }
    }

    /// Both sides of a comparison. Keys, where a type has them, say what is equal, not what is less.
    fn sides(&self, op: &str, left: &Typed, right: &Typed) -> (String, String) {
        let keyed = matches!(op, "=" | "<>") || left.data_type == PgType::Interval;
        match keyed {
            true => (self.comparable(left), self.comparable_right(right)),
            false => (collated(&left.sql, left.data_type), right.sql.clone()),
        }
    }

    /// (a, b) op (c, d).
    fn row_comparison(&mut self, left: &Expr, op: &BinaryOperator, right: &Expr, place: Place<'_>) -> Result<Typed> {
        let (Expr::Tuple(left_parts), Expr::Tuple(right_parts)) = (left, right) else {
            if let (Expr::Tuple(_), Expr::Subquery(_)) = (left, right) {
                return Err(Error::unsupported(
                    "a row compared with a subquery",
                    "Use IN, or compare column by column.",
                ));
            }
            return Err(refusal::ROW_VALUE.error());
        };
        if left_parts.len() != right_parts.len() {
            return Err(self.error_at(
                Error::new(SqlState::SYNTAX_ERROR, "unequal number of entries in row expressions"),
                left.span(),
            ));
        }
        let name = operator_name(op)?;
        if !matches!(name.as_str(), "=" | "<>" | "<" | "<=" | ">" | ">=") {
            let message = format!("operator {name} cannot be applied to rows");
            return Err(Error::new(SqlState::FEATURE_NOT_SUPPORTED, message));
        }
        let place = place.value();
        let mut comparisons = Vec::new();
        for (left, right) in left_parts.iter().zip(right_parts) {
            let pair = [self.expression(left, place)?, self.expression(right, place)?];
            comparisons.push(self.comparison_operands(&name, pair)?);
        }
        let (lefts, rights): (Vec<String>, Vec<String>) =
            comparisons.iter().map(|pair| self.sides(&name, &pair.0, &pair.1)).unzip();
        let sql = match name.as_str() {
            "=" | "<>" => {
                let equal: Vec<String> =
                    lefts.iter().zip(&rights).map(|(left, right)| format!("({left} {name} {right})")).collect();
                let texts: Vec<&str> = equal.iter().map(String::as_str).collect();
                balanced(&texts, if name == "=" { "AND" } else { "OR" })
            }
            _ => format!("(({}) {name} ({}))", lefts.join(", "), rights.join(", ")),
        };
        Ok(Typed::computed(sql, PgType::Bool, comparisons.iter().flat_map(|pair| [&pair.0, &pair.1])))
    }

    /// The two sides of a comparison, cast as Postgres's operator asks.
    pub(super) fn comparison_operands(&mut self, name: &str, pair: [Typed; 2]) -> Result<(Typed, Typed)> {
        let given = [pair[0].data_type, pair[1].data_type];
        let signature = resolve_operator(name, &given)?;
        let types = polymorphic(signature, &given)?;
        let [left, right] = pair;
        let left = self.implicit(left, types.arguments[0])?;
        let right = self.implicit(right, types.arguments[1])?;
        self.alike(left, right)
    }
}

/// A number with its signs, through parentheses: Postgres's grammar makes one constant of them.
fn signed_number(expression: &Expr) -> Option<String> {
    match expression {
        Expr::Nested(inner) => signed_number(inner),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => signed_number(expr).map(|digits| negated(&digits)),
        Expr::Value(value) => match &value.value {
            ast::Value::Number(digits, _) => Some(digits.clone()),
            _ => None,
        },
        _ => None,
    }
}

fn negated(digits: &str) -> String {
    match digits.strip_prefix('-') {
        Some(positive) => positive.to_owned(),
        None => format!("-{digits}"),
    }
}

/// A value's text under the order and equality of its type.
pub(super) fn order_key(sql: &str, data_type: PgType) -> String {
    match data_type {
        PgType::Numeric => format!("{sql} COLLATE pg_numeric"),
        // Trailing spaces do not count.
        PgType::Bpchar => format!("{sql} COLLATE RTRIM"),
        PgType::Interval => format!("pg_interval_key({sql})"),
        PgType::Jsonb => format!("pg_jsonb_key({sql})"),
        other if other.is_array() => format!("pg_array_key({sql}, '{}')", other.element().map_or("", PgType::name)),
        _ => sql.to_owned(),
    }
}

/// The value itself under the order and equality of its type. Interval has none: its equal values differ in their cells, and
/// only a text can have a collation.
pub(super) fn collated(sql: &str, data_type: PgType) -> String {
    match data_type {
        PgType::Jsonb => format!("{sql} COLLATE pg_jsonb"),
        other => match other.element() {
            Some(element) => format!("{sql} COLLATE pg_array_{}", element.name()),
            None => order_key(sql, other),
        },
    }
}

/// Terms joined by a word, nested evenly.
pub(super) fn balanced(terms: &[&str], word: &str) -> String {
    match terms {
        [] => "1".to_owned(),
        [only] => (*only).to_owned(),
        [_, ..] if terms.len() <= 16 => format!("({})", terms.join(&format!(" {word} "))),
        _ => {
            let (left, right) = terms.split_at(terms.len() / 2);
            format!("({} {word} {})", balanced(left, word), balanced(right, word))
        }
    }
}

fn resolve_operator(name: &str, given: &[PgType]) -> Result<&'static Signature> {
    let all = operators(name, given.len());
    if all.is_empty() && operators(name, 1).is_empty() && operators(name, 2).is_empty() && !is_postgres_operator(name) {
        return Err(no_operator(name, given));
    }
    // An untyped operand is first taken to be of the other's type.
    if let [left, right] = given {
        let assumed = match (left, right) {
            (PgType::Unknown, known) | (known, PgType::Unknown) => Some(Argument::Exact(*known)),
            _ => None,
        };
        let exact = |signature: &&Signature| {
            assumed.is_some_and(|assumed| signature.arguments.iter().all(|argument| *argument == assumed))
        };
        if let Some(signature) = all.iter().find(exact) {
            return Ok(signature);
        }
    }
    let candidates = all
        .iter()
        .enumerate()
        .map(|(index, signature)| super::catalog::Candidate { index, arguments: signature.arguments.clone() })
        .collect();
    match choose(given, candidates) {
        Choice::One(index) => Ok(&all[index]),
        Choice::None => Err(no_operator(name, given)),
        Choice::Ambiguous => {
            let message = format!("operator is not unique: {}", spelled(name, given));
            Err(Error::new(SqlState::AMBIGUOUS_FUNCTION, message)
                .hint("Could not choose a best candidate operator. You might need to add explicit type casts."))
        }
    }
}

/// Operators of Postgres's whose types shardd does not have at all.
fn is_postgres_operator(name: &str) -> bool {
    matches!(name, "<->" | "@?" | "&<" | "&>" | "-|-" | "##" | "@-@" | "!!" | "<<=" | ">>=" | "~=" | "<^" | ">^")
}

fn no_operator(name: &str, given: &[PgType]) -> Error {
    Error::new(SqlState::UNDEFINED_FUNCTION, format!("operator does not exist: {}", spelled(name, given)))
        .hint("No operator matches the given name and argument types. You might need to add explicit type casts.")
}

fn spelled(name: &str, given: &[PgType]) -> String {
    match given {
        [left, right] => format!("{left} {name} {right}"),
        [operand] => format!("{name} {operand}"),
        _ => name.to_owned(),
    }
}

fn is_logical(op: &BinaryOperator) -> bool {
    matches!(op, BinaryOperator::And | BinaryOperator::Or)
}

/// The name of an operator, as the catalog has it.
pub(super) fn operator_name(op: &BinaryOperator) -> Result<String> {
    let name = match op {
        BinaryOperator::NotEq => "<>",
        BinaryOperator::PGLikeMatch => "~~",
        BinaryOperator::PGILikeMatch => "~~*",
        BinaryOperator::PGNotLikeMatch => "!~~",
        BinaryOperator::PGNotILikeMatch => "!~~*",
        BinaryOperator::PGCustomBinaryOperator(parts) => match parts.as_slice() {
            [name] => name,
            [schema, name] if schema == "pg_catalog" => name,
            _ => {
                return Err(Error::new(
                    SqlState::UNDEFINED_FUNCTION,
                    format!("operator does not exist: {}", parts.join(".")),
                ));
            }
        },
        BinaryOperator::Overlaps => return Err(Error::unsupported("OVERLAPS", "Compare the ends with < and >.")),
        other => return Ok(other.to_string()),
    };
    Ok(name.to_owned())
}
