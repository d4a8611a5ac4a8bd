//! Expressions as `pg_get_expr` prints them: with the types that Postgres found, and its parentheses.
//!
//! A schema keeps defaults, CHECKs and index keys as they were written; Postgres keeps what it understood. The rules are
//! those of its `ruleutils.c` for what a schema's expressions are mostly made of; anything else is shown as it was written.

use std::ops::ControlFlow;

use crate::sql::ast::{self, BinaryOperator, Expr, UnaryOperator, Value};
use crate::sql::{fold, function_name, quote_identifier, walk_expressions};
use crate::topology::Table;
use crate::types::{Datum, PgType, TextStyle};

pub(super) use crate::sql::quote_identifier as quoted;

/// An expression's text as `pg_get_expr` gives it, plain and pretty. `wanted`: the type that its place has.
pub(super) fn both(expression: &Expr, table: &Table, wanted: Option<PgType>) -> [String; 2] {
    [false, true].map(|pretty| {
        let printer = Printer { table, pretty };
        let printed = printer.print(expression);
        printer.settled(printed, wanted.unwrap_or(PgType::Text)).text
    })
}

/// The columns that an expression names, each once, in their order.
pub(super) fn columns(expression: &Expr, table: &Table) -> Vec<usize> {
    let mut found = std::collections::BTreeSet::new();
    let _ = walk_expressions(expression, |part: &Expr| {
        let column = match part {
            Expr::Identifier(name) => table.column(&fold(name)),
            Expr::CompoundIdentifier(parts) => parts.last().and_then(|name| table.column(&fold(name))),
            _ => None,
        };
        found.extend(column.map(|(index, _)| index));
        ControlFlow::<()>::Continue(())
    });
    found.into_iter().collect()
}

/// The type of an expression over a table's columns.
pub(super) fn data_type(expression: &Expr, table: &Table) -> PgType {
    match (Printer { table, pretty: false }).print(expression).data_type {
        PgType::Unknown => PgType::Text,
        known => known,
    }
}

/// What an index calls the column of an expression.
pub(super) fn column_name(expression: &Expr) -> String {
    match expression {
        Expr::Nested(inner) => column_name(inner),
        Expr::Function(function) => function_name(&function.name).unwrap_or_default().into_owned(),
        _ => "expr".to_owned(),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Needs parentheses nowhere.
    Simple,
    /// A constant: casts of it need none either.
    Constant,
    /// `a + b`, by its operator.
    Operator(char),
    And,
    Or,
    Not,
    /// `a = ANY (...)`, `a IS NULL`.
    Test,
}

#[derive(Clone, Debug)]
struct Printed {
    text: String,
    kind: Kind,
    /// `Unknown` for a string that its place gives a type.
    data_type: PgType,
    /// The string itself, for one that has no type yet.
    untyped: Option<String>,
}

impl Printed {
    fn new(text: String, kind: Kind, data_type: PgType) -> Printed {
        Printed { text, kind, data_type, untyped: None }
    }
}

struct Printer<'a> {
    table: &'a Table,
    pretty: bool,
}

impl Printer<'_> {
    fn print(&self, expression: &Expr) -> Printed {
        crate::sql::with_stack(|| match expression {
            Expr::Nested(inner) => self.print(inner),
            Expr::Identifier(name) => self.column(name, expression),
            Expr::CompoundIdentifier(parts) => match parts.last() {
                Some(name) => self.column(name, expression),
                None => as_written(expression),
            },
            Expr::Value(value) => literal(&value.value, expression),
            Expr::UnaryOp { op, expr } => self.prefix(*op, expr, expression),
            Expr::BinaryOp { left, op, right } => self.binary(left, op, right, expression),
            Expr::InList { expr, list, negated } => self.in_list(expr, list, *negated),
            Expr::Between { expr, negated, low, high } => self.between(expr, *negated, low, high),
            Expr::Like { negated, any: false, expr, pattern, escape_char: None } => {
                self.operator(self.print(expr), if *negated { "!~~" } else { "~~" }, self.print(pattern))
            }
            Expr::ILike { negated, any: false, expr, pattern, escape_char: None } => {
                self.operator(self.print(expr), if *negated { "!~~*" } else { "~~*" }, self.print(pattern))
            }
            Expr::IsNull(value) => self.test(value, "IS NULL"),
            Expr::IsNotNull(value) => self.test(value, "IS NOT NULL"),
            Expr::IsTrue(value) => self.test(value, "IS TRUE"),
            Expr::IsNotTrue(value) => self.test(value, "IS NOT TRUE"),
            Expr::IsFalse(value) => self.test(value, "IS FALSE"),
            Expr::IsNotFalse(value) => self.test(value, "IS NOT FALSE"),
            Expr::Cast { expr, data_type, .. } => match cast_type(data_type) {
                Some((to, shown)) => self.explicit_cast(self.print(expr), to, &shown),
                None => as_written(expression),
            },
            Expr::TypedString(typed) => match (cast_type(&typed.data_type), &typed.value.value) {
                (Some((to, shown)), Value::SingleQuotedString(text)) => constant(text, to, &shown),
                _ => as_written(expression),
            },
            Expr::Interval(interval) if interval.leading_field.is_none() => {
                self.explicit_cast(self.print(&interval.value), PgType::Interval, "interval")
            }
            Expr::Function(function) => self.function(function, expression),
            _ => as_written(expression),
        })
    }

    /// A value in a place of one type: strings get it, and an implicit cast is not shown.
    fn settled(&self, value: Printed, to: PgType) -> Printed {
        match &value.untyped {
            Some(text) => constant(text, to, to.sql_name()),
            None => value,
        }
    }

    /// A value as an operand or an argument of one type, where implicit casts are shown.
    fn coerced(&self, value: Printed, to: PgType) -> Printed {
        if value.untyped.is_some() || value.data_type == to || value.data_type == PgType::Unknown {
            return self.settled(value, to);
        }
        self.cast(value, to, to.sql_name())
    }

    fn cast(&self, value: Printed, to: PgType, shown: &str) -> Printed {
        let text = match (self.pretty, value.kind) {
            (true, Kind::Simple | Kind::Constant) => format!("{}::{shown}", value.text),
            _ => format!("({})::{shown}", value.text),
        };
        Printed::new(text, Kind::Simple, to)
    }

    fn explicit_cast(&self, value: Printed, to: PgType, shown: &str) -> Printed {
        match &value.untyped {
            Some(text) => constant(text, to, shown),
            None if value.data_type == to && shown == to.sql_name() => value,
            None => self.cast(value, to, shown),
        }
    }

    fn column(&self, name: &ast::Ident, expression: &Expr) -> Printed {
        match self.table.column(&fold(name)) {
            Some((_, column)) => Printed::new(quoted(&column.name), Kind::Simple, column.data_type),
            None => match fold(name).as_ref() {
                "current_timestamp" => Printed::new("CURRENT_TIMESTAMP".into(), Kind::Simple, PgType::Timestamptz),
                "current_date" => Printed::new("CURRENT_DATE".into(), Kind::Simple, PgType::Date),
                "localtimestamp" => Printed::new("LOCALTIMESTAMP".into(), Kind::Simple, PgType::Timestamp),
                word @ ("current_user" | "session_user" | "current_catalog" | "current_schema") => {
                    Printed::new(word.to_uppercase(), Kind::Simple, PgType::Name)
                }
                _ => as_written(expression),
            },
        }
    }

    fn prefix(&self, op: UnaryOperator, operand: &Expr, expression: &Expr) -> Printed {
        match (op, operand) {
            (UnaryOperator::Minus, Expr::Value(value)) => match &value.value {
                Value::Number(digits, _) => number(&format!("-{digits}")),
                _ => as_written(expression),
            },
            (UnaryOperator::Not, _) => {
                let value = self.settled(self.print(operand), PgType::Bool);
                let text = format!("NOT {}", self.operand(&value, Kind::Not, true));
                self.closed(text, Kind::Not, PgType::Bool)
            }
            (UnaryOperator::Minus, _) => {
                let value = self.print(operand);
                let text = format!("- {}", self.operand(&value, Kind::Operator('-'), false));
                self.closed(text, Kind::Operator(' '), value.data_type)
            }
            _ => as_written(expression),
        }
    }

    fn binary(&self, left: &Expr, op: &BinaryOperator, right: &Expr, expression: &Expr) -> Printed {
        match op {
            BinaryOperator::And => self.junction(left, right, Kind::And),
            BinaryOperator::Or => self.junction(left, right, Kind::Or),
            BinaryOperator::NotEq => self.operator(self.print(left), "<>", self.print(right)),
            BinaryOperator::PGLikeMatch => self.operator(self.print(left), "~~", self.print(right)),
            BinaryOperator::PGILikeMatch => self.operator(self.print(left), "~~*", self.print(right)),
            BinaryOperator::PGCustomBinaryOperator(_) | BinaryOperator::Overlaps => as_written(expression),
            other => self.operator(self.print(left), &other.to_string(), self.print(right)),
        }
    }

    /// `a AND b AND c` is one junction of three.
    fn junction(&self, left: &Expr, right: &Expr, kind: Kind) -> Printed {
        let mut terms = Vec::new();
        self.terms(left, kind, &mut terms);
        self.terms(right, kind, &mut terms);
        let texts: Vec<String> = terms.iter().map(|term| self.operand(term, kind, true)).collect();
        let word = if kind == Kind::And { " AND " } else { " OR " };
        self.closed(texts.join(word), kind, PgType::Bool)
    }

    fn terms(&self, expression: &Expr, kind: Kind, terms: &mut Vec<Printed>) {
        let op = if kind == Kind::And { BinaryOperator::And } else { BinaryOperator::Or };
        match expression {
            Expr::BinaryOp { left, op: own, right } if *own == op => {
                self.terms(left, kind, terms);
                self.terms(right, kind, terms);
            }
            Expr::Nested(inner) => self.terms(inner, kind, terms),
            Expr::Between { expr, negated: false, low, high } if kind == Kind::And => {
                terms.push(self.operator(self.print(expr), ">=", self.print(low)));
                terms.push(self.operator(self.print(expr), "<=", self.print(high)));
            }
            other => terms.push(self.settled(self.print(other), PgType::Bool)),
        }
    }

    fn between(&self, value: &Expr, negated: bool, low: &Expr, high: &Expr) -> Printed {
        let (first, second, kind, word) =
            if negated { ("<", ">", Kind::Or, "OR") } else { (">=", "<=", Kind::And, "AND") };
        let low = self.operator(self.print(value), first, self.print(low));
        let high = self.operator(self.print(value), second, self.print(high));
        self.closed(format!("{} {word} {}", low.text, high.text), kind, PgType::Bool)
    }

    fn in_list(&self, value: &Expr, list: &[Expr], negated: bool) -> Printed {
        let left = self.print(value);
        let mut items: Vec<Printed> = list.iter().map(|item| self.print(item)).collect();
        if let [_] = items.as_slice() {
            let only = items.remove(0);
            return self.operator(left, if negated { "<>" } else { "=" }, only);
        }
        let common = items.iter().fold(left.data_type, |common, item| wider(common, item.data_type));
        let texts: Vec<String> = items.into_iter().map(|item| self.coerced(item, common).text).collect();
        let mut array = format!("ARRAY[{}]", texts.join(", "));
        // varchar is compared as text.
        let compared = if common == PgType::Varchar { PgType::Text } else { common };
        if compared != common {
            array = if self.pretty { format!("{array}::text[]") } else { format!("({array})::text[]") };
        }
        let left = match (left.data_type, compared) {
            (PgType::Int2 | PgType::Int4 | PgType::Int8, PgType::Int2 | PgType::Int4 | PgType::Int8) => left,
            _ => self.coerced(left, compared),
        };
        let left = self.operand(&left, Kind::Test, false);
        let (op, word) = if negated { ("<>", "ALL") } else { ("=", "ANY") };
        self.closed(format!("{left} {op} {word} ({array})"), Kind::Test, PgType::Bool)
    }

    fn test(&self, value: &Expr, test: &str) -> Printed {
        let value = self.settled(self.print(value), PgType::Text);
        self.closed(format!("{} {test}", self.operand(&value, Kind::Test, false)), Kind::Test, PgType::Bool)
    }

    fn operator(&self, left: Printed, op: &str, right: Printed) -> Printed {
        let operands = operand_types(left.data_type, op, right.data_type);
        let (left, right) = (self.coerced(left, operands[0]), self.coerced(right, operands[1]));
        let own = Kind::Operator(op.chars().next().filter(|_| op.len() == 1).unwrap_or(' '));
        let text = format!("{} {op} {}", self.operand(&left, own, true), self.operand(&right, own, false));
        let arithmetic = matches!(op, "+" | "-" | "*" | "/" | "%" | "||" | "&" | "|" | "->" | "#>");
        let result = match op {
            "->>" | "#>>" => PgType::Text,
            _ if arithmetic => wider(operands[0], operands[1]),
            _ => PgType::Bool,
        };
        self.closed(text, own, result)
    }

    fn function(&self, function: &ast::Function, expression: &Expr) -> Printed {
        let (Some(name), Some(arguments)) = (function_name(&function.name), arguments(function)) else {
            return as_written(expression);
        };
        let printed: Vec<Printed> = arguments.into_iter().map(|argument| self.print(argument)).collect();
        if name == "coalesce" {
            let common = printed.iter().fold(PgType::Unknown, |common, value| wider(common, value.data_type));
            let texts: Vec<String> = printed.into_iter().map(|value| self.coerced(value, common).text).collect();
            return Printed::new(format!("COALESCE({})", texts.join(", ")), Kind::Simple, common);
        }
        let own = printed.first().map_or(PgType::Unknown, |value| value.data_type);
        let printed = printed.into_iter();
        let Some((result, parameters)) = signature(&name) else {
            let texts: Vec<String> = printed.map(|value| self.settled(value, PgType::Text).text).collect();
            return Printed::new(format!("{}({})", quoted(&name), texts.join(", ")), Kind::Simple, PgType::Unknown);
        };
        let texts: Vec<String> = match parameters {
            Some(to) => printed.map(|value| self.coerced(value, to).text).collect(),
            None => printed.map(|value| self.settled(value, PgType::Text).text).collect(),
        };
        let result = if matches!(&*name, "abs" | "floor" | "ceil" | "round") { own } else { result };
        Printed::new(format!("{name}({})", texts.join(", ")), Kind::Simple, result)
    }

    /// A part's text inside an expression of the given kind, in parentheses where those are needed.
    fn operand(&self, part: &Printed, parent: Kind, first: bool) -> String {
        if self.pretty && !is_simple(part.kind, parent, first) { format!("({})", part.text) } else { part.text.clone() }
    }

    /// Not pretty: in parentheses, whatever it stands in.
    fn closed(&self, text: String, kind: Kind, data_type: PgType) -> Printed {
        Printed::new(if self.pretty { text } else { format!("({text})") }, kind, data_type)
    }
}

/// Whether a part needs no parentheses in its parent: `isSimpleNode` of Postgres.
fn is_simple(part: Kind, parent: Kind, first: bool) -> bool {
    match (part, parent) {
        (Kind::Simple | Kind::Constant, _) => true,
        (Kind::Operator(own), Kind::Operator(outer)) => {
            let (low, high) = (|op: char| "+-".contains(op), |op: char| "*/%".contains(op));
            if !(low(own) || high(own)) || !(low(outer) || high(outer)) {
                return false;
            }
            (high(own) && low(outer)) || (low(own) == low(outer) && first)
        }
        (Kind::Operator(_) | Kind::Test, Kind::And | Kind::Or | Kind::Not) => true,
        (Kind::Not | Kind::And, Kind::And | Kind::Or) => true,
        (Kind::Or, Kind::Or) => true,
        _ => false,
    }
}

/// What an operator takes, for operands of these types: they are brought to one type unless there is one for both.
fn operand_types(left: PgType, op: &str, right: PgType) -> [PgType; 2] {
    use PgType as T;
    let text = |data_type| if data_type == T::Varchar { T::Text } else { data_type };
    let integer = |data_type| matches!(data_type, T::Int2 | T::Int4 | T::Int8);
    match (text(left), text(right)) {
        (T::Unknown, T::Unknown) => [T::Text, T::Text],
        (T::Json | T::Jsonb, T::Unknown) if matches!(op, "->" | "->>" | "?") => [left, T::Text],
        (T::Date, T::Unknown) if matches!(op, "+" | "-") => [left, left],
        (T::Timestamp | T::Timestamptz, T::Unknown) if op == "+" => [left, T::Interval],
        (T::Unknown, known) => [known, known],
        (known, T::Unknown) => [known, known],
        (a, b) if a == b || (integer(a) && integer(b)) => [a, b],
        (a, b) => {
            let common = wider(a, b);
            if common == a || common == b { [common, common] } else { [a, b] }
        }
    }
}

/// The type that both can be brought to, among numbers; otherwise the first.
fn wider(left: PgType, right: PgType) -> PgType {
    const NUMBERS: [PgType; 6] =
        [PgType::Int2, PgType::Int4, PgType::Int8, PgType::Numeric, PgType::Float4, PgType::Float8];
    let rank = |data_type| NUMBERS.iter().position(|known| *known == data_type);
    match (rank(left), rank(right)) {
        (Some(a), Some(b)) => NUMBERS[a.max(b)],
        _ if left == PgType::Unknown => right,
        (None, None) if left == PgType::Varchar && right == PgType::Text => right,
        _ => left,
    }
}

/// What a function gives, and the one type that its arguments have.
fn signature(name: &str) -> Option<(PgType, Option<PgType>)> {
    use PgType as T;
    Some(match name {
        "lower" | "upper" | "btrim" | "ltrim" | "rtrim" | "md5" | "reverse" | "initcap" => (T::Text, Some(T::Text)),
        "length" | "char_length" | "character_length" | "octet_length" => (T::Int4, Some(T::Text)),
        "now" | "clock_timestamp" | "statement_timestamp" | "transaction_timestamp" => (T::Timestamptz, None),
        "gen_random_uuid" => (T::Uuid, None),
        "random" => (T::Float8, None),
        "abs" | "floor" | "ceil" | "round" => (T::Numeric, None),
        "jsonb_typeof" | "json_typeof" | "substr" | "left" | "right" => (T::Text, None),
        _ => return None,
    })
}

fn arguments(function: &ast::Function) -> Option<Vec<&Expr>> {
    if function.over.is_some() || function.filter.is_some() {
        return None;
    }
    let list = match &function.args {
        ast::FunctionArguments::List(list) => list,
        // CURRENT_TIMESTAMP and its kin are written without parentheses.
        _ => return None,
    };
    let plain = list.args.iter().map(|argument| match argument {
        ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(value)) => Some(value),
        _ => None,
    });
    plain.collect()
}

fn literal(value: &Value, expression: &Expr) -> Printed {
    match value {
        Value::Number(digits, _) => number(digits),
        Value::Boolean(value) => Printed::new(value.to_string(), Kind::Constant, PgType::Bool),
        Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text) => {
            Printed { untyped: Some(text.clone()), ..constant(text, PgType::Unknown, "unknown") }
        }
        Value::Null => Printed::new("NULL".to_owned(), Kind::Constant, PgType::Unknown),
        _ => as_written(expression),
    }
}

fn number(digits: &str) -> Printed {
    let quoted = digits.starts_with('-');
    if let Ok(value) = digits.parse::<i32>() {
        let text = if quoted { format!("'{value}'::integer") } else { value.to_string() };
        return Printed::new(text, Kind::Constant, PgType::Int4);
    }
    if let Ok(value) = digits.parse::<i64>() {
        return Printed::new(format!("'{value}'::bigint"), Kind::Constant, PgType::Int8);
    }
    let plain = !quoted && digits.contains(['.', 'e', 'E']);
    let text = if plain { digits.to_owned() } else { format!("'{digits}'::numeric") };
    Printed::new(text, Kind::Constant, PgType::Numeric)
}

/// A quoted value of a type, in the form that the type prints.
fn constant(text: &str, data_type: PgType, shown: &str) -> Printed {
    let style = TextStyle::default();
    let canonical = Datum::from_text(data_type, text, &style).ok().and_then(|value| value.to_text(&style));
    let canonical = canonical.unwrap_or_else(|| text.to_owned());
    let printed = match data_type {
        PgType::Bool => if canonical == "t" { "true" } else { "false" }.to_owned(),
        PgType::Int4 if !canonical.starts_with('-') => canonical,
        _ => {
            let escape = if canonical.contains('\\') { "E" } else { "" };
            format!("{escape}'{}'::{shown}", canonical.replace('\'', "''").replace('\\', "\\\\"))
        }
    };
    Printed::new(printed, Kind::Constant, data_type)
}

/// The type of a cast, and its name with the modifier.
fn cast_type(written: &ast::DataType) -> Option<(PgType, String)> {
    let text = written.to_string().to_ascii_lowercase();
    let (name, modifier) = match text.split_once('(') {
        Some((name, modifier)) => (name.trim(), format!("({modifier}")),
        None => (text.as_str(), String::new()),
    };
    let name = match name {
        "int" => "integer",
        "decimal" | "dec" => "numeric",
        "timestamp" => "timestamp without time zone",
        "char" => "character",
        "float" => "double precision",
        other => other,
    };
    let known = PgType::ALL.iter().find(|known| known.name() == name || known.sql_name() == name)?;
    Some((*known, format!("{}{modifier}", known.sql_name())))
}

fn as_written(expression: &Expr) -> Printed {
    Printed::new(expression.to_string(), Kind::Simple, PgType::Unknown)
}

/// `a, b`, quoted where they must be.
pub(super) fn names<'n>(names: impl IntoIterator<Item = &'n str>) -> String {
    names.into_iter().map(quote_identifier).collect::<Vec<_>>().join(", ")
}
