//! Keys as a statement gives them, and what they are once its parameters are known.

use super::assigned::AssignedKey;
use crate::sql::ast::{self, CastKind, DataType, Expr, UnaryOperator, Value};
use crate::types::{Datum, Key, KeyType, Numeric};

/// A key as a statement gives it: a literal that was not lifted, or a placeholder.
#[derive(Clone, Debug, PartialEq)]
pub enum KeyExpression {
    Literal(Datum),
    /// `$n`, from 1.
    Parameter(usize),
    /// `-$n`.
    NegatedParameter(usize),
    /// `= ANY($n)`: every element.
    ArrayParameter(usize),
    /// A row's own: what the value is once the key column holds it.
    Assigned(Box<AssignedKey>),
}

/// What a key's value can equal.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Keys {
    /// Only rows of these keys; of none for NULL.
    These(Vec<Key>),
    /// The value is of a type whose equality with the key column is the database's to decide.
    Unknown,
}

impl KeyExpression {
    /// The keys that the expression's value equals.
    pub(super) fn keys(&self, key_type: KeyType, parameters: &[Datum]) -> Keys {
        match self {
            KeyExpression::Literal(datum) => keys_of(datum, key_type),
            KeyExpression::Parameter(number) => match parameter(*number, parameters) {
                Some(datum) => keys_of(datum, key_type),
                None => Keys::Unknown,
            },
            KeyExpression::NegatedParameter(number) => match parameter(*number, parameters).map(negated) {
                Some(Some(datum)) => keys_of(&datum, key_type),
                _ => Keys::Unknown,
            },
            KeyExpression::ArrayParameter(number) => match parameter(*number, parameters) {
                Some(Datum::Null) => Keys::These(Vec::new()),
                Some(Datum::Array { values, .. }) => {
                    let mut all = Vec::with_capacity(values.len());
                    for value in values {
                        match keys_of(value, key_type) {
                            Keys::These(keys) => all.extend(keys),
                            Keys::Unknown => return Keys::Unknown,
                        }
                    }
                    Keys::These(all)
                }
                _ => Keys::Unknown,
            },
            KeyExpression::Assigned(_) => match self.row_key(key_type, parameters) {
                Ok(key) => Keys::These(key.into_iter().collect()),
                Err(_) => Keys::Unknown,
            },
        }
    }

    /// Shown by EXPLAIN.
    pub(super) fn describe(&self) -> String {
        match self {
            KeyExpression::Literal(datum) => describe_datum(datum),
            KeyExpression::Parameter(number) => format!("${number}"),
            KeyExpression::NegatedParameter(number) => format!("-${number}"),
            KeyExpression::ArrayParameter(number) => format!("ANY(${number})"),
            KeyExpression::Assigned(key) => key.describe(),
        }
    }
}

fn describe_datum(datum: &Datum) -> String {
    match Key::from_datum(datum) {
        Some(key) => describe_key(&key),
        None => "NULL".into(),
    }
}

/// A key as SQL writes it.
pub(super) fn describe_key(key: &Key) -> String {
    match key {
        Key::Bigint(value) => value.to_string(),
        Key::Text(value) => format!("'{}'", value.replace('\'', "''")),
        Key::Uuid(bytes) => {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("'{}-{}-{}-{}-{}'", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
        }
    }
}

pub(super) fn type_name(key_type: KeyType) -> &'static str {
    match key_type {
        KeyType::Bigint => "bigint",
        KeyType::Text => "text",
        KeyType::Uuid => "uuid",
    }
}

pub(super) fn parameter(number: usize, parameters: &[Datum]) -> Option<&Datum> {
    parameters.get(number.checked_sub(1)?)
}

/// `None` for what has no negative, or none of its type.
pub(super) fn negated(datum: &Datum) -> Option<Datum> {
    match datum {
        Datum::Null => Some(Datum::Null),
        Datum::Int2(value) => Some(Datum::Int8(-i64::from(*value))),
        Datum::Int4(value) => Some(Datum::Int8(-i64::from(*value))),
        Datum::Int8(value) => value.checked_neg().map(Datum::Int8),
        Datum::Numeric(value) => Some(Datum::Numeric(value.neg())),
        Datum::Float4(value) => Some(Datum::Float4(-value)),
        Datum::Float8(value) => Some(Datum::Float8(-value)),
        _ => None,
    }
}

pub(super) fn keys_of(datum: &Datum, key_type: KeyType) -> Keys {
    if *datum == Datum::Null {
        return Keys::These(Vec::new());
    }
    let key = match (datum, key_type) {
        // A string that no context gave a type: what the database's cast would make of it.
        (Datum::Text(text), KeyType::Bigint) => text.trim().parse().ok().map(Key::Bigint),
        (Datum::Text(text), KeyType::Uuid) => parse_uuid(text).map(Key::Uuid),
        // Equal to an integer, or to none; but a cast may have rounded it, so that other values stay unknown.
        (Datum::Numeric(value), KeyType::Bigint) => value
            .to_i128()
            .and_then(|integer| i64::try_from(integer).ok())
            .filter(|integer| Numeric::from_parts(i128::from(*integer), 0).cmp(value).is_eq())
            .map(Key::Bigint),
        _ => Key::from_datum(datum).filter(|key| key.key_type() == key_type),
    };
    key.map_or(Keys::Unknown, |key| Keys::These(vec![key]))
}

fn parse_uuid(text: &str) -> Option<[u8; 16]> {
    let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b'-').collect();
    if text.len() != 36 || digits.len() != 32 {
        return None;
    }
    let mut uuid = [0; 16];
    for (byte, pair) in uuid.iter_mut().zip(digits.chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(uuid)
}

/// The key that a constant expression stands for: a literal or a placeholder, signed, cast to the key's own type.
pub(super) fn constant(expression: &Expr, key_type: KeyType) -> Option<KeyExpression> {
    match strip(expression) {
        Expr::Value(value) => match &value.value {
            Value::Placeholder(name) => Some(KeyExpression::Parameter(placeholder(name)?)),
            value => literal(value, key_type).map(KeyExpression::Literal),
        },
        Expr::UnaryOp { op: UnaryOperator::Plus, expr } => constant(expr, key_type),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } if key_type == KeyType::Bigint => {
            // The sign is the constant's: the smallest bigint has no positive counterpart.
            if let Expr::Value(value) = expr.as_ref()
                && let Value::Number(number, _) = &value.value
            {
                return format!("-{number}").parse().ok().map(|key| KeyExpression::Literal(Datum::Int8(key)));
            }
            match constant(expr, key_type)? {
                KeyExpression::Literal(datum) => Some(KeyExpression::Literal(negated(&datum)?)),
                KeyExpression::Parameter(number) => Some(KeyExpression::NegatedParameter(number)),
                _ => None,
            }
        }
        Expr::Cast { kind: CastKind::Cast | CastKind::DoubleColon, expr, data_type, .. }
            if is_key_type(data_type, key_type) =>
        {
            constant(expr, key_type)
        }
        Expr::TypedString(typed) if is_key_type(&typed.data_type, key_type) => {
            literal(&typed.value.value, key_type).map(KeyExpression::Literal)
        }
        _ => None,
    }
}

/// The keys of the right side of `= ANY (...)`.
pub(super) fn constants_of_array(expression: &Expr, key_type: KeyType) -> Option<Vec<KeyExpression>> {
    match strip(expression) {
        Expr::Value(value) => match &value.value {
            Value::Placeholder(name) => Some(vec![KeyExpression::ArrayParameter(placeholder(name)?)]),
            Value::Null => Some(Vec::new()),
            Value::SingleQuotedString(text) => array_literal(text, key_type),
            _ => None,
        },
        Expr::Array(array) => array.elem.iter().map(|element| constant(element, key_type)).collect(),
        Expr::Cast {
            kind: CastKind::Cast | CastKind::DoubleColon, expr, data_type: DataType::Array(element), ..
        } => {
            let element = match element {
                ast::ArrayElemTypeDef::AngleBracket(element)
                | ast::ArrayElemTypeDef::SquareBracket(element, _)
                | ast::ArrayElemTypeDef::Parenthesis(element) => element,
                _ => return None,
            };
            if is_key_type(element, key_type) { constants_of_array(expr, key_type) } else { None }
        }
        _ => None,
    }
}

/// `{1,2}`: only what needs no quotes inside.
fn array_literal(text: &str, key_type: KeyType) -> Option<Vec<KeyExpression>> {
    let body = text.trim().strip_prefix('{')?.strip_suffix('}')?;
    if body.trim().is_empty() {
        return Some(Vec::new());
    }
    if body.contains(['"', '\\', '{', '}']) {
        return None;
    }
    body.split(',')
        .map(|element| {
            let element = element.trim();
            if element.eq_ignore_ascii_case("null") {
                return Some(KeyExpression::Literal(Datum::Null));
            }
            literal(&Value::SingleQuotedString(element.to_owned()), key_type).map(KeyExpression::Literal)
        })
        .collect()
}

fn literal(value: &Value, key_type: KeyType) -> Option<Datum> {
    match (value, key_type) {
        (Value::Null, _) => Some(Datum::Null),
        (Value::Number(number, _), KeyType::Bigint) => number.parse().ok().map(Datum::Int8),
        (Value::SingleQuotedString(text), KeyType::Bigint) => text.trim().parse().ok().map(Datum::Int8),
        (Value::SingleQuotedString(text), KeyType::Text) => Some(Datum::Text(text.as_str().into())),
        (Value::DollarQuotedString(text), KeyType::Text) => Some(Datum::Text(text.value.as_str().into())),
        (Value::SingleQuotedString(text), KeyType::Uuid) => parse_uuid(text).map(Datum::Uuid),
        _ => None,
    }
}

/// The number of a placeholder `$n`.
pub(super) fn placeholder(name: &str) -> Option<usize> {
    name.strip_prefix('$')?.parse().ok()
}

/// A placeholder or constant by itself.
pub(super) fn is_plain(expression: &Expr) -> bool {
    matches!(strip(expression), Expr::Value(value) if !matches!(value.value, Value::DoubleQuotedString(_)))
}

/// The expression inside parentheses.
pub(super) fn strip(mut expression: &Expr) -> &Expr {
    while let Expr::Nested(inner) = expression {
        expression = inner;
    }
    expression
}

/// Whether a cast to this type leaves a key what it is.
pub(super) fn is_key_type(data_type: &DataType, key_type: KeyType) -> bool {
    match key_type {
        KeyType::Bigint => is_integer(data_type),
        KeyType::Text => {
            matches!(data_type, DataType::Text | DataType::Varchar(None) | DataType::CharacterVarying(None))
        }
        KeyType::Uuid => matches!(data_type, DataType::Uuid),
    }
}

fn is_integer(data_type: &DataType) -> bool {
    use DataType::{BigInt, Int, Int2, Int4, Int8, Integer, SmallInt};
    matches!(
        data_type,
        BigInt(None) | Int8(None) | Int(None) | Int4(None) | Integer(None) | SmallInt(None) | Int2(None)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::parse_expression;

    fn key(text: &str, key_type: KeyType) -> Option<KeyExpression> {
        constant(&parse_expression(text).unwrap(), key_type)
    }

    #[test]
    fn one_value_is_one_key_however_it_is_written() {
        for text in ["7", "007", "'7'", "7::bigint", "CAST('7' AS int)", "bigint '7'", "(+7)", "-(-7)"] {
            assert_eq!(key(text, KeyType::Bigint), Some(KeyExpression::Literal(Datum::Int8(7))), "{text}");
        }
        assert_eq!(key("-$1::bigint", KeyType::Bigint), Some(KeyExpression::NegatedParameter(1)));
        for datum in [Datum::Int2(7), Datum::Int4(7), Datum::Int8(7), Datum::Text("007".into())] {
            let keys = KeyExpression::Parameter(1).keys(KeyType::Bigint, &[datum]);
            assert_eq!(keys, Keys::These(vec![Key::Bigint(7)]));
        }
    }

    #[test]
    fn casts_that_change_a_value_give_no_key() {
        assert_eq!(key("$1::text", KeyType::Bigint), None);
        assert_eq!(key("$1::varchar(3)", KeyType::Text), None);
        assert_eq!(key("7.0", KeyType::Bigint), None);
        assert_eq!(key("$1 + 1", KeyType::Bigint), None);
    }

    #[test]
    fn values_of_other_types_are_not_guessed() {
        assert_eq!(KeyExpression::Parameter(1).keys(KeyType::Bigint, &[Datum::Float8(7.0)]), Keys::Unknown);
        assert_eq!(KeyExpression::Parameter(1).keys(KeyType::Bigint, &[Datum::Null]), Keys::These(Vec::new()));
        assert_eq!(KeyExpression::Parameter(2).keys(KeyType::Bigint, &[Datum::Null]), Keys::Unknown);
        let numeric = |text: &str| [Datum::Numeric(Numeric::parse(text).unwrap())];
        for (text, key) in [("7", 7), ("7.00", 7), ("-7", -7)] {
            let keys = KeyExpression::Parameter(1).keys(KeyType::Bigint, &numeric(text));
            assert_eq!(keys, Keys::These(vec![Key::Bigint(key)]), "{text}");
        }
        for text in ["7.5", "NaN", "9223372036854775808"] {
            assert_eq!(KeyExpression::Parameter(1).keys(KeyType::Bigint, &numeric(text)), Keys::Unknown, "{text}");
        }
    }

    #[test]
    fn arrays_give_every_element() {
        let array = |text: &str| constants_of_array(&parse_expression(text).unwrap(), KeyType::Bigint);
        assert_eq!(array("$2::bigint[]"), Some(vec![KeyExpression::ArrayParameter(2)]));
        assert_eq!(
            array("ARRAY[1, $1]"),
            Some(vec![KeyExpression::Literal(Datum::Int8(1)), KeyExpression::Parameter(1)])
        );
        assert_eq!(
            array("'{1, NULL}'"),
            Some(vec![KeyExpression::Literal(Datum::Int8(1)), KeyExpression::Literal(Datum::Null)])
        );
        assert_eq!(array("'{{1}}'"), None);
    }
}
