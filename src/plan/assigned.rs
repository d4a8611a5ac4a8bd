//! Keys of rows to be written, as assigning them to the key column makes them: 1.4 is stored under the key 1.
//!
//! A predicate compares the value as it is, so that it finds no key in 1.4; see [`super::key`].

use super::key::{KeyExpression, constant, negated, parameter, type_name};
use crate::error::{Error, Result, SqlState};
use crate::sql::ast::{CastKind, DataType, ExactNumberInfo, Expr, UnaryOperator, Value, ValueWithSpan};
use crate::types::{Datum, Key, KeyType, Numeric, PgType, TextStyle, out_of_range};

/// A constant that is no key yet: of a type that is cast to the key's.
#[derive(Clone, Debug, PartialEq)]
pub enum AssignedKey {
    Value(KeyExpression),
    Negated(Box<AssignedKey>),
    Cast(Box<AssignedKey>, PgType),
}

/// The key of a row to be written, where the expression is a constant.
pub(super) fn assigned(expression: &Expr, key_type: KeyType) -> Option<KeyExpression> {
    if let Some(key) = constant(expression, key_type) {
        return Some(key);
    }
    match key_type {
        KeyType::Bigint => Some(KeyExpression::Assigned(Box::new(number(expression)?))),
        KeyType::Text => match super::key::strip(expression) {
            Expr::Value(ValueWithSpan { value: Value::Boolean(value), .. }) => {
                Some(KeyExpression::Literal(Datum::Bool(*value)))
            }
            _ => Some(KeyExpression::Assigned(Box::new(number(expression)?))),
        },
        KeyType::Uuid => None,
    }
}

/// Numbers of any type, cast from one to another.
fn number(expression: &Expr) -> Option<AssignedKey> {
    let datum = |datum| Some(AssignedKey::Value(KeyExpression::Literal(datum)));
    match super::key::strip(expression) {
        Expr::Value(value) => match &value.value {
            Value::Number(number, _) => datum(Datum::Numeric(Numeric::parse(number).ok()?)),
            Value::SingleQuotedString(text) => datum(Datum::Text(text.as_str().into())),
            _ => Some(AssignedKey::Value(constant(expression, KeyType::Bigint)?)),
        },
        Expr::UnaryOp { op: UnaryOperator::Plus, expr } => number(expr),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => match number(expr)? {
            // Its operator decides its type.
            AssignedKey::Value(KeyExpression::Literal(Datum::Text(_))) => None,
            inner => Some(AssignedKey::Negated(Box::new(inner))),
        },
        Expr::Cast { kind: CastKind::Cast | CastKind::DoubleColon, expr, data_type, .. } => {
            Some(AssignedKey::Cast(Box::new(number(expr)?), number_type(data_type)?))
        }
        Expr::TypedString(typed) => {
            let Value::SingleQuotedString(text) = &typed.value.value else { return None };
            Some(AssignedKey::Cast(Box::new(datum(Datum::Text(text.as_str().into()))?), number_type(&typed.data_type)?))
        }
        _ => None,
    }
}

fn number_type(data_type: &DataType) -> Option<PgType> {
    use DataType::*;
    Some(match data_type {
        SmallInt(None) | Int2(None) => PgType::Int2,
        Int(None) | Int4(None) | Integer(None) => PgType::Int4,
        BigInt(None) | Int8(None) => PgType::Int8,
        Real | Float4 => PgType::Float4,
        Double(ExactNumberInfo::None) | DoublePrecision | Float8 => PgType::Float8,
        Numeric(ExactNumberInfo::None) | Decimal(ExactNumberInfo::None) | Dec(ExactNumberInfo::None) => PgType::Numeric,
        _ => return None,
    })
}

impl AssignedKey {
    fn value(&self, parameters: &[Datum]) -> Result<Option<Datum>> {
        match self {
            AssignedKey::Value(expression) => value(expression, parameters),
            AssignedKey::Negated(inner) => match inner.value(parameters)? {
                Some(datum) => {
                    let data_type = datum.data_type().unwrap_or(PgType::Int8);
                    negated(&datum).ok_or_else(|| out_of_range(data_type)).map(Some)
                }
                None => Ok(None),
            },
            AssignedKey::Cast(inner, to) => {
                inner.value(parameters)?.map(|datum| datum.cast(*to, &TextStyle::default())).transpose()
            }
        }
    }

    /// Shown by EXPLAIN.
    pub(super) fn describe(&self) -> String {
        match self {
            AssignedKey::Value(KeyExpression::Literal(Datum::Numeric(value))) => value.to_string(),
            AssignedKey::Value(KeyExpression::Literal(Datum::Text(text))) => format!("'{}'", text.replace('\'', "''")),
            AssignedKey::Value(expression) => expression.describe(),
            AssignedKey::Negated(inner) => format!("-({})", inner.describe()),
            AssignedKey::Cast(inner, to) => format!("({})::{to}", inner.describe()),
        }
    }

    /// The highest `$n` in it.
    pub(super) fn parameter(&self) -> Option<usize> {
        match self {
            AssignedKey::Value(KeyExpression::Parameter(number) | KeyExpression::NegatedParameter(number)) => {
                Some(*number)
            }
            AssignedKey::Value(_) => None,
            AssignedKey::Negated(inner) | AssignedKey::Cast(inner, _) => inner.parameter(),
        }
    }
}

/// A constant's value; `None` when it is not one value, or its parameter is not given.
fn value(expression: &KeyExpression, parameters: &[Datum]) -> Result<Option<Datum>> {
    Ok(match expression {
        KeyExpression::Literal(datum) => Some(datum.clone()),
        KeyExpression::Parameter(number) => parameter(*number, parameters).cloned(),
        KeyExpression::NegatedParameter(number) => match parameter(*number, parameters) {
            Some(datum) => Some(negated(datum).ok_or_else(|| out_of_range(PgType::Int8))?),
            None => None,
        },
        KeyExpression::Assigned(assigned) => assigned.value(parameters)?,
        KeyExpression::ArrayParameter(_) => None,
    })
}

impl KeyExpression {
    /// The key of a row to be written; `None` for NULL.
    ///
    /// # Errors
    /// What Postgres says of a value that is none of the key's type (22P02, 22003); 42804 for one of a type that is not
    /// assigned to it.
    pub(super) fn row_key(&self, key_type: KeyType, parameters: &[Datum]) -> Result<Option<Key>> {
        let datum = value(self, parameters)?.ok_or_else(|| mismatch(key_type))?;
        let to = match key_type {
            KeyType::Bigint => PgType::Int8,
            KeyType::Text => PgType::Text,
            KeyType::Uuid => PgType::Uuid,
        };
        let assignable = match (&datum, key_type) {
            (Datum::Null | Datum::Text(_), _) | (Datum::Uuid(_), KeyType::Uuid | KeyType::Text) => true,
            (Datum::Int2(_) | Datum::Int4(_) | Datum::Int8(_) | Datum::Numeric(_), _) => key_type != KeyType::Uuid,
            (Datum::Float4(_) | Datum::Float8(_), KeyType::Bigint) | (Datum::Bool(_), KeyType::Text) => true,
            // The texts of other types depend on the session's settings.
            _ => false,
        };
        if !assignable {
            return Err(mismatch(key_type));
        }
        Ok(Key::from_datum(&datum.cast(to, &TextStyle::default())?))
    }
}

fn mismatch(key_type: KeyType) -> Error {
    let name = type_name(key_type);
    Error::new(SqlState::DATATYPE_MISMATCH, format!("the sharding key must be given as {name}"))
        .hint(format!("Cast the value: CAST(... AS {name})."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::parse_expression;

    fn row_key(text: &str, key_type: KeyType, parameters: &[Datum]) -> Result<Option<Key>> {
        assigned(&parse_expression(text).unwrap(), key_type).unwrap().row_key(key_type, parameters)
    }

    #[test]
    fn numbers_are_rounded_as_they_are_assigned() {
        for (text, key) in [
            ("1.4", 1),
            ("2.5", 3),
            ("-2.5", -3),
            ("(+0.4)", 0),
            ("2.5::float8", 2),
            ("CAST(3.5 AS double precision)", 4),
            ("-2.5::real", -2),
            ("2.5::float8::numeric", 3),
            ("float8 '2.5'", 2),
            ("2.5::bigint", 3),
            ("2.5::float8::int", 2),
            ("-9223372036854775808", i64::MIN),
            ("1e3", 1000),
        ] {
            assert_eq!(row_key(text, KeyType::Bigint, &[]), Ok(Some(Key::Bigint(key))), "{text}");
        }
    }

    #[test]
    fn parameters_are_rounded_by_their_types() {
        let numeric = Datum::Numeric(Numeric::parse("2.5").unwrap());
        for (datum, key) in [(numeric, 3), (Datum::Float8(2.5), 2), (Datum::Float4(3.5), 4), (Datum::Int2(7), 7)] {
            let parameters = [datum];
            assert_eq!(row_key("$1", KeyType::Bigint, &parameters), Ok(Some(Key::Bigint(key))));
            assert_eq!(row_key("-$1", KeyType::Bigint, &parameters), Ok(Some(Key::Bigint(-key))));
        }
        assert_eq!(row_key("$1", KeyType::Bigint, &[Datum::Null]), Ok(None));
    }

    #[test]
    fn numbers_become_texts() {
        let numeric = Datum::Numeric(Numeric::parse("1.50").unwrap());
        for (datum, key) in [(Datum::Int4(7), "7"), (numeric, "1.50"), (Datum::Bool(true), "true")] {
            assert_eq!(row_key("$1", KeyType::Text, &[datum]), Ok(Some(Key::Text(key.into()))));
        }
    }

    #[test]
    fn values_that_are_no_keys_are_refused() {
        for (text, code) in [
            ("'1.4'", "22P02"),
            ("9223372036854775807.5", "22003"),
            ("1e300::float8", "22003"),
            ("-$1", "22003"),
            ("$2", "42804"),
            ("$3", "42804"),
        ] {
            let parameters = [Datum::Int8(i64::MIN), Datum::Date(1)];
            let error = row_key(text, KeyType::Bigint, &parameters).unwrap_err();
            assert_eq!(error.sqlstate().code(), code, "{text}");
        }
        assert_eq!(row_key("$1", KeyType::Text, &[Datum::Float8(1.5)]).unwrap_err().sqlstate().code(), "42804");
        for (text, key) in [("007", "7"), ("1.50", "1.50"), ("-(2)", "-2"), ("false", "false")] {
            assert_eq!(row_key(text, KeyType::Text, &[]), Ok(Some(Key::Text(key.into()))));
        }
        assert!(assigned(&parse_expression("1.5 + 1").unwrap(), KeyType::Bigint).is_none());
        assert!(assigned(&parse_expression("1.5::numeric(3,1)").unwrap(), KeyType::Bigint).is_none());
    }
}
