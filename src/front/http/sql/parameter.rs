//! JSON values as parameters of a statement.
//!
//! A bare value is sent as its text, without a type, so that the statement gives it one, as drivers do that send text.
//! `{"type": "uuid", "value": "..."}` fixes the type.

use serde_json::{Map, Value};

use crate::types::PgType;
use crate::web::Problem;

/// How deep arrays may lie in each other.
const ARRAY_DEPTH_MAX: usize = 6;

/// A parameter: the type it was given, if it was given one, and its text; `None` is NULL.
#[derive(Debug, PartialEq)]
pub(super) struct TextParameter {
    pub(super) data_type: Option<PgType>,
    pub(super) text: Option<String>,
}

/// # Errors
/// 400: the value is no parameter; `number` (from 1) says which.
pub(super) fn parameter(number: usize, value: &Value) -> Result<TextParameter, Problem> {
    let refused = |why: String| {
        Problem::bad_request(format!("parameter {number}: {why}")).hint(
            "A parameter is null, true or false, a number, a string, an array of these, or {\"type\": ..., \"value\": ...}.",
        )
    };
    let (data_type, value) = match value {
        Value::Object(members) => {
            let (name, value) = typed(members).ok_or_else(|| refused("an object needs a type and a value".into()))?;
            let data_type = type_named(name).ok_or_else(|| refused(format!("there is no type \"{name}\"")))?;
            (Some(data_type), value)
        }
        bare => (None, bare),
    };
    let text = match (data_type, value) {
        (_, Value::Null) => None,
        (Some(PgType::Json | PgType::Jsonb), json) => Some(json.to_string()),
        (_, value) => Some(text_of(value, 0).map_err(refused)?),
    };
    Ok(TextParameter { data_type, text })
}

fn typed(members: &Map<String, Value>) -> Option<(&str, &Value)> {
    let (Some(Value::String(name)), Some(value), 2) = (members.get("type"), members.get("value"), members.len()) else {
        return None;
    };
    Some((name, value))
}

/// A type by the catalog's name, SQL's name, or either with `[]`.
fn type_named(name: &str) -> Option<PgType> {
    let name = name.trim().to_ascii_lowercase();
    let scalar = |name: &str| {
        let found = PgType::ALL.iter().find(|known| known.name() == name || known.sql_name() == name);
        found.copied().filter(|known| !matches!(known, PgType::Unknown | PgType::Void))
    };
    match (scalar(&name), name.as_str(), name.strip_suffix("[]")) {
        (Some(found), _, _) => Some(found),
        (None, "decimal", _) => Some(PgType::Numeric),
        (None, _, Some(element)) => scalar(element)?.array(),
        (None, _, None) => None,
    }
}

fn text_of(value: &Value, depth: usize) -> Result<String, String> {
    match value {
        Value::Null => Ok("NULL".to_owned()),
        Value::Bool(value) => Ok(value.to_string()),
        Value::Number(number) => Ok(number.to_string()),
        Value::String(text) => Ok(text.clone()),
        Value::Array(_) if depth == ARRAY_DEPTH_MAX => Err("the array lies too deep".into()),
        Value::Array(items) => {
            let elements: Result<Vec<String>, String> = items
                .iter()
                .map(|item| match item {
                    Value::String(text) => Ok(quoted(text)),
                    other => text_of(other, depth + 1),
                })
                .collect();
            Ok(format!("{{{}}}", elements?.join(",")))
        }
        Value::Object(_) => Err("an object stands where a value is expected".into()),
    }
}

/// An element of an array's text, which may hold anything between quotes.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        if matches!(character, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(character);
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn text(value: Value) -> Option<String> {
        parameter(1, &value).unwrap().text
    }

    #[test]
    fn bare_values_are_their_text_without_a_type() {
        assert_eq!(parameter(1, &Value::Null).unwrap(), TextParameter { data_type: None, text: None });
        assert_eq!(text(json!(true)), Some("true".into()));
        assert_eq!(text(json!("a 'b'")), Some("a 'b'".into()));
        assert_eq!(
            text(serde_json::from_str("123456789012345678901.50").unwrap()),
            Some("123456789012345678901.50".into())
        );
        assert_eq!(text(json!([1, null, "a,\"b\\", true])), Some(r#"{1,NULL,"a,\"b\\",true}"#.into()));
    }

    #[test]
    fn a_type_may_be_given_by_any_of_its_names() {
        for name in ["int8", "bigint", "BIGINT"] {
            let parameter = parameter(1, &json!({"type": name, "value": 7})).unwrap();
            assert_eq!(parameter, TextParameter { data_type: Some(PgType::Int8), text: Some("7".into()) });
        }
        for name in ["int8[]", "_int8", "bigint[]"] {
            assert_eq!(type_named(name), Some(PgType::Int8Array), "{name}");
        }
        assert_eq!(type_named("timestamp with time zone"), Some(PgType::Timestamptz));
    }

    #[test]
    fn a_value_of_a_json_type_is_the_json_itself() {
        assert_eq!(text(json!({"type": "jsonb", "value": {"a": [1]}})), Some(r#"{"a":[1]}"#.into()));
        assert_eq!(text(json!({"type": "json", "value": "x"})), Some("\"x\"".into()));
        assert_eq!(text(json!({"type": "json", "value": null})), None);
    }

    #[test]
    fn what_is_no_parameter_is_refused() {
        let deep = (0..8).fold(json!(1), |inner, _| json!([inner]));
        for bad in [
            json!({"a": 1}),
            json!({"type": "int8"}),
            json!({"type": "int8", "value": 1, "x": 1}),
            json!({"type": "money", "value": 1}),
            json!({"type": "unknown", "value": 1}),
            json!([{"a": 1}]),
            deep,
        ] {
            assert_eq!(parameter(3, &bad).unwrap_err().status, 400, "{bad}");
        }
        assert!(parameter(3, &json!({})).unwrap_err().detail.starts_with("parameter 3"));
    }
}
