//! json and jsonb, which lie in TEXT cells: json as it was written, jsonb in its canonical form.

use bytes::BytesMut;
use rusqlite::types::Value;

use super::arrays;
use super::call::{Arguments, Function, boolean, lax, strict, text};
use crate::error::{Error, Result, SqlState};
use crate::shard::sqlite::storage;
use crate::types::Datum;
use crate::types::json::{self, Json, raw};

pub(super) const FUNCTIONS: &[Function] = &[
    strict("pg_json_get", 2, |a| Ok(optional(raw::member(a.text(0)?, a.text(1)?)?))),
    strict("pg_json_get_text", 2, |a| raw_text(raw::member(a.text(0)?, a.text(1)?)?)),
    strict("pg_json_get_index", 2, |a| Ok(optional(raw::element(a.text(0)?, a.integer(1)?)?))),
    strict("pg_json_get_index_text", 2, |a| raw_text(raw::element(a.text(0)?, a.integer(1)?)?)),
    strict("pg_json_get_path", 2, |a| Ok(optional(raw_path(a)?))),
    strict("pg_json_get_path_text", 2, |a| raw_text(raw_path(a)?)),
    strict("pg_jsonb_get", 2, |a| Ok(shown(jsonb(a, 0)?.get(a.text(1)?)))),
    strict("pg_jsonb_get_text", 2, |a| Ok(plain(jsonb(a, 0)?.get(a.text(1)?)))),
    strict("pg_jsonb_get_index", 2, |a| Ok(shown(indexed(a)?.element(a.integer(1)?)))),
    strict("pg_jsonb_get_index_text", 2, |a| Ok(plain(indexed(a)?.element(a.integer(1)?)))),
    strict("pg_jsonb_get_path", 2, |a| with_path(a, |value, path| Ok(shown(value.at_path(path))))),
    strict("pg_jsonb_get_path_text", 2, |a| with_path(a, |value, path| Ok(plain(value.at_path(path))))),
    strict("pg_jsonb_contains", 2, |a| Ok(boolean(jsonb(a, 0)?.contains(&jsonb(a, 1)?)))),
    strict("pg_jsonb_exists", 2, |a| Ok(boolean(jsonb(a, 0)?.has_key(a.text(1)?)))),
    strict("pg_jsonb_exists_any", 2, |a| {
        let value = jsonb(a, 0)?;
        Ok(boolean(strings(a, 1)?.iter().flatten().any(|key| value.has_key(key))))
    }),
    strict("pg_jsonb_exists_all", 2, |a| {
        let value = jsonb(a, 0)?;
        Ok(boolean(strings(a, 1)?.iter().flatten().all(|key| value.has_key(key))))
    }),
    strict("pg_jsonb_concat", 2, |a| Ok(text(jsonb(a, 0)?.concat(jsonb(a, 1)?).to_string()))),
    strict("pg_jsonb_delete", 2, |a| Ok(text(jsonb(a, 0)?.without_key(a.text(1)?)?.to_string()))),
    strict("pg_jsonb_delete_index", 2, |a| Ok(text(jsonb(a, 0)?.without_index(a.integer(1)?)?.to_string()))),
    strict("pg_jsonb_delete_keys", 2, |a| {
        let keys = strings(a, 1)?;
        let deleted = keys.iter().flatten().try_fold(jsonb(a, 0)?, |value, key| value.without_key(key))?;
        Ok(text(deleted.to_string()))
    }),
    strict("pg_jsonb_delete_path", 2, |a| Ok(text(jsonb(a, 0)?.without_path(&full_path(a)?)?.to_string()))),
    strict("pg_jsonb_set", 3, |a| set(a, true)),
    strict("pg_jsonb_set", 4, |a| set(a, a.boolean(3)?)),
    strict("pg_jsonb_insert", 3, |a| insert(a, false)),
    strict("pg_jsonb_insert", 4, |a| insert(a, a.boolean(3)?)),
    strict("pg_jsonb_pretty", 1, |a| Ok(text(jsonb(a, 0)?.pretty()))),
    strict("pg_jsonb_strip_nulls", 1, |a| Ok(text(jsonb(a, 0)?.without_nulls().to_string()))),
    strict("pg_jsonb_key", 1, |a| {
        let mut key = BytesMut::new();
        jsonb(a, 0)?.write_key(&mut key);
        Ok(text(String::from_utf8_lossy(&key)))
    }),
    lax("pg_row_members", -1, |a| {
        let values = values(a)?;
        let members =
            (0..a.len() / 2).map(|index| Ok(format!("{}:{}", quoted(a.text(index * 2)?), values[index * 2 + 1])));
        Ok(text(members.collect::<Result<Vec<_>>>()?.join(",")))
    }),
    strict("pg_json_typeof", 1, |a| Ok(text(type_name(a.text(0)?)))),
    strict("pg_json_array_length", 1, array_length),
    strict("pg_json_elements", 2, |a| elements(a, false)),
    strict("pg_json_elements_text", 2, |a| elements(a, true)),
    strict("pg_json_keys", 2, keys),
    strict("pg_json_each", 2, |a| each(a, false)),
    strict("pg_json_each_text", 2, |a| each(a, true)),
    lax("pg_to_json", 3, |a| to_json(a, false)),
    lax("pg_to_jsonb", 3, |a| to_json(a, true)),
    lax("pg_json_build_array", -1, |a| Ok(text(format!("[{}]", values(a)?.join(", "))))),
    lax("pg_jsonb_build_array", -1, |a| Ok(text(json::canonical(&format!("[{}]", values(a)?.join(", ")))?))),
    lax("pg_json_build_object", -1, |a| Ok(text(object(a, "json")?))),
    lax("pg_jsonb_build_object", -1, |a| Ok(text(json::canonical(&object(a, "jsonb")?)?))),
];

fn invalid(message: impl Into<String>) -> Error {
    Error::new(SqlState::INVALID_PARAMETER_VALUE, message)
}

fn jsonb(arguments: &Arguments<'_>, index: usize) -> Result<Json> {
    json::parse(arguments.text(index)?)
}

fn optional(value: Option<&str>) -> Value {
    value.map_or(Value::Null, text)
}

fn raw_text(value: Option<&str>) -> Result<Value> {
    Ok(match value {
        Some(value) => raw::text_of(value)?.map_or(Value::Null, Value::Text),
        None => Value::Null,
    })
}

fn shown(value: Option<&Json>) -> Value {
    value.map_or(Value::Null, |value| text(value.to_string()))
}

fn plain(value: Option<&Json>) -> Value {
    value.and_then(Json::to_text).map_or(Value::Null, Value::Text)
}

/// A text[] cell.
fn strings(arguments: &Arguments<'_>, index: usize) -> Result<Vec<Option<String>>> {
    arrays::cells(arguments.text(index)?).map(|cells| cells.iter().map(Json::to_text).collect())
}

/// A NULL in the path leads nowhere.
fn with_path(a: &Arguments<'_>, operate: impl Fn(Json, &[String]) -> Result<Value>) -> Result<Value> {
    match strings(a, 1)?.into_iter().collect::<Option<Vec<String>>>() {
        Some(path) => operate(jsonb(a, 0)?, &path),
        None => Ok(Value::Null),
    }
}

/// The path of a value that is changed.
fn full_path(a: &Arguments<'_>) -> Result<Vec<String>> {
    let steps = strings(a, 1)?.into_iter().enumerate();
    let named = steps.map(|(index, step)| {
        let message = format!("path element at position {} is null", index + 1);
        step.ok_or_else(|| Error::new(SqlState::NULL_VALUE_NOT_ALLOWED, message))
    });
    named.collect()
}

fn raw_path<'a>(arguments: &Arguments<'a>) -> Result<Option<&'a str>> {
    let mut value = arguments.text(0)?.trim();
    for step in strings(arguments, 1)? {
        let Some(step) = step else { return Ok(None) };
        let next = match raw::parts(value)? {
            raw::Parts::Object(members) => {
                members.into_iter().rev().find(|(name, _)| *name == step).map(|(_, value)| value)
            }
            raw::Parts::Array(_) => match step.trim().parse() {
                Ok(index) => raw::element(value, index)?,
                Err(_) => None,
            },
            raw::Parts::Scalar => None,
        };
        match next {
            Some(next) => value = next,
            None => return Ok(None),
        }
    }
    Ok(Some(value))
}

fn set(a: &Arguments<'_>, create: bool) -> Result<Value> {
    Ok(text(jsonb(a, 0)?.with_path(&full_path(a)?, &jsonb(a, 2)?, create)?.to_string()))
}

fn insert(a: &Arguments<'_>, after: bool) -> Result<Value> {
    Ok(text(jsonb(a, 0)?.with_inserted(&full_path(a)?, &jsonb(a, 2)?, after)?.to_string()))
}

/// By the first character: the text is known to be JSON.
fn type_name(json: &str) -> &'static str {
    match json.trim_start().as_bytes().first() {
        Some(b'{') => "object",
        Some(b'[') => "array",
        Some(b'"') => "string",
        Some(b't' | b'f') => "boolean",
        Some(b'n') => "null",
        _ => "number",
    }
}

fn array_length(arguments: &Arguments<'_>) -> Result<Value> {
    match raw::parts(arguments.text(0)?)? {
        raw::Parts::Array(values) => Ok(Value::Integer(values.len() as i64)),
        raw::Parts::Object(_) => Err(invalid("cannot get array length of a non-array")),
        raw::Parts::Scalar => Err(invalid("cannot get array length of a scalar")),
    }
}

/// What `->` and `->>` take an index of: Postgres holds a scalar as an array of one.
fn indexed(arguments: &Arguments<'_>) -> Result<Json> {
    Ok(match jsonb(arguments, 0)? {
        value @ (Json::Array(_) | Json::Object(_)) => value,
        scalar => Json::Array(vec![scalar]),
    })
}

/// (json, name of Postgres's function): an array cell of the elements, as json or as their text.
fn elements(arguments: &Arguments<'_>, as_text: bool) -> Result<Value> {
    let (json, function) = (arguments.text(0)?, arguments.text(1)?);
    let values = match (raw::parts(json)?, function.starts_with("jsonb")) {
        (raw::Parts::Array(values), _) => values,
        (raw::Parts::Scalar, true) => return Err(invalid("cannot extract elements from a scalar")),
        (raw::Parts::Object(_), true) => return Err(invalid("cannot extract elements from an object")),
        (raw::Parts::Scalar, false) => return Err(invalid(format!("cannot call {function} on a scalar"))),
        (raw::Parts::Object(_), false) => return Err(invalid(format!("cannot call {function} on a non-array"))),
    };
    let values = values.into_iter().map(|value| part(value, as_text)).collect::<Result<Vec<_>>>()?;
    Ok(text(storage::array_to_cell(&values)?))
}

fn part(value: &str, as_text: bool) -> Result<Datum> {
    Ok(match as_text {
        false => Datum::Text(value.into()),
        true => raw::text_of(value)?.map_or(Datum::Null, |text| Datum::Text(text.into())),
    })
}

/// (json, name of Postgres's function): an array cell of the keys.
fn keys(arguments: &Arguments<'_>) -> Result<Value> {
    let (json, function) = (arguments.text(0)?, arguments.text(1)?);
    match raw::parts(json)? {
        raw::Parts::Object(members) => {
            let keys: Vec<Datum> = members.into_iter().map(|(key, _)| Datum::Text(key.into())).collect();
            Ok(text(storage::array_to_cell(&keys)?))
        }
        raw::Parts::Array(_) => Err(invalid(format!("cannot call {function} on an array"))),
        raw::Parts::Scalar => Err(invalid(format!("cannot call {function} on a scalar"))),
    }
}

/// (json, name of Postgres's function): a JSON array of pairs, each of a key and a value, both strings.
fn each(arguments: &Arguments<'_>, as_text: bool) -> Result<Value> {
    let (json, function) = (arguments.text(0)?, arguments.text(1)?);
    let members = match (raw::parts(json)?, function.starts_with("jsonb")) {
        (raw::Parts::Object(members), _) => members,
        (_, true) => return Err(invalid(format!("cannot call {function} on a non-object"))),
        (raw::Parts::Array(_), false) => return Err(invalid("cannot deconstruct an array as an object")),
        (raw::Parts::Scalar, false) => return Err(invalid("cannot deconstruct a scalar")),
    };
    let mut pairs = Vec::with_capacity(members.len());
    for (key, value) in members {
        pairs.push(storage::array_to_cell(&[Datum::Text(key.into()), part(value, as_text)?])?);
    }
    Ok(text(format!("[{}]", pairs.join(","))))
}

/// (value, type, zone)
fn to_json(arguments: &Arguments<'_>, canonical: bool) -> Result<Value> {
    if arguments.is_null(0) {
        return Ok(Value::Null);
    }
    let datum = arguments.datum(0, arguments.data_type(1)?)?;
    let mut out = BytesMut::new();
    json::write_datum(&datum, &arguments.style(2)?, &mut out);
    let made = String::from_utf8_lossy(&out).into_owned();
    Ok(text(if canonical { json::canonical(&made)? } else { made }))
}

/// The arguments are JSON already; NULL is null.
fn values(arguments: &Arguments<'_>) -> Result<Vec<String>> {
    (0..arguments.len()).map(|index| Ok(arguments.optional_text(index)?.unwrap_or("null").to_owned())).collect()
}

/// Keys and values by turns, all JSON already.
fn object(arguments: &Arguments<'_>, family: &str) -> Result<String> {
    if arguments.len() % 2 == 1 {
        return Err(invalid("argument list must have even number of elements")
            .hint(format!("The arguments of {family}_build_object() must consist of alternating keys and values.")));
    }
    let mut members = Vec::with_capacity(arguments.len() / 2);
    for index in (0..arguments.len()).step_by(2) {
        let Some(key) = arguments.optional_text(index)? else {
            return Err(match family {
                "json" => invalid(format!("argument {} cannot be null", index + 1)).hint("Object keys should be text."),
                _ => invalid(format!("argument {}: key must not be null", index + 1)),
            });
        };
        let value = arguments.optional_text(index + 1)?.unwrap_or("null");
        members.push(format!("{} : {value}", object_key(key)?));
    }
    Ok(format!("{{{}}}", members.join(", ")))
}

/// A scalar's JSON as a key: a string.
fn object_key(json: &str) -> Result<String> {
    match type_name(json) {
        "string" => Ok(json.to_owned()),
        "array" | "object" => Err(invalid("key value must be scalar, not array, composite, or json")),
        _ => Ok(format!("\"{json}\"")),
    }
}

/// A text as a JSON string.
pub(super) fn quoted(value: &str) -> String {
    let mut out = BytesMut::new();
    json::write_string(value, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}
