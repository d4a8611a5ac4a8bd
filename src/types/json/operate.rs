//! Operators of jsonb: containment, concatenation, removal and replacement by path.

use super::Json;
use crate::error::{Error, Result, SqlState};
use crate::types::numeric::compare_texts;

fn invalid(message: &str) -> Error {
    Error::new(SqlState::INVALID_PARAMETER_VALUE, message)
}

/// What happens at the end of a path.
#[derive(Clone, Copy, PartialEq)]
enum Change<'a> {
    /// `create`: a key or place that is missing is added.
    Set {
        value: &'a Json,
        create: bool,
    },
    Insert {
        value: &'a Json,
        after: bool,
    },
    Delete,
}

impl Json {
    fn is_scalar(&self) -> bool {
        !matches!(self, Json::Array(_) | Json::Object(_))
    }

    fn same(&self, other: &Json) -> bool {
        match (self, other) {
            (Json::Number(a), Json::Number(b)) => compare_texts(a, b).is_eq(),
            (a, b) => a == b,
        }
    }

    /// `@>`: a scalar is contained in an array at the top that has it.
    pub fn contains(&self, other: &Json) -> bool {
        match (self, other) {
            (Json::Array(values), scalar) if scalar.is_scalar() => values.iter().any(|value| value.same(scalar)),
            _ => self.contains_deep(other),
        }
    }

    fn contains_deep(&self, other: &Json) -> bool {
        match (self, other) {
            (Json::Object(_), Json::Object(members)) => {
                members.iter().all(|(key, value)| self.get(key).is_some_and(|mine| mine.contains_deep(value)))
            }
            (Json::Array(values), Json::Array(others)) => {
                others.iter().all(|other| values.iter().any(|value| value.contains_deep(other)))
            }
            (a, b) if a.is_scalar() && b.is_scalar() => a.same(b),
            _ => false,
        }
    }

    /// `?`: a key of an object, a string of an array, or the string itself.
    pub fn has_key(&self, key: &str) -> bool {
        match self {
            Json::Object(_) => self.get(key).is_some(),
            Json::Array(values) => {
                values.iter().any(|value| matches!(value, Json::String(text) if text.as_ref() == key))
            }
            Json::String(text) => text.as_ref() == key,
            _ => false,
        }
    }

    /// `||`: objects are merged, everything else is joined as arrays.
    #[must_use]
    pub fn concat(self, other: Json) -> Json {
        match (self, other) {
            (Json::Object(mut members), Json::Object(others)) => {
                members.extend(others);
                Json::object(members)
            }
            (a, b) => {
                let list = |value| match value {
                    Json::Array(values) => values,
                    single => vec![single],
                };
                let mut values = list(a);
                values.extend(list(b));
                Json::Array(values)
            }
        }
    }

    /// `- text`
    pub fn without_key(self, key: &str) -> Result<Json> {
        match self {
            Json::Object(mut members) => {
                members.retain(|(name, _)| name.as_ref() != key);
                Ok(Json::Object(members))
            }
            Json::Array(mut values) => {
                values.retain(|value| !matches!(value, Json::String(text) if text.as_ref() == key));
                Ok(Json::Array(values))
            }
            _ => Err(invalid("cannot delete from scalar")),
        }
    }

    /// `- integer`
    pub fn without_index(self, index: i64) -> Result<Json> {
        match self {
            Json::Array(mut values) => {
                let index = if index < 0 { index.saturating_add(values.len() as i64) } else { index };
                if let Some(index) = usize::try_from(index).ok().filter(|index| *index < values.len()) {
                    values.remove(index);
                }
                Ok(Json::Array(values))
            }
            Json::Object(_) => Err(invalid("cannot delete from object using integer index")),
            _ => Err(invalid("cannot delete from scalar")),
        }
    }

    /// `#-`
    pub fn without_path(self, path: &[String]) -> Result<Json> {
        if self.is_scalar() {
            return Err(invalid("cannot delete path in scalar"));
        }
        self.change(path, 0, Change::Delete)
    }

    /// `jsonb_set`
    pub fn with_path(self, path: &[String], value: &Json, create: bool) -> Result<Json> {
        if self.is_scalar() {
            return Err(invalid("cannot set path in scalar"));
        }
        self.change(path, 0, Change::Set { value, create })
    }

    /// `jsonb_insert`
    pub fn with_inserted(self, path: &[String], value: &Json, after: bool) -> Result<Json> {
        if self.is_scalar() {
            return Err(invalid("cannot set path in scalar"));
        }
        self.change(path, 0, Change::Insert { value, after })
    }

    fn change(self, path: &[String], level: usize, change: Change<'_>) -> Result<Json> {
        let Some(step) = path.get(level) else { return Ok(self) };
        let last = level + 1 == path.len();
        match self {
            Json::Object(members) => change_object(members, step, path, level, last, change),
            Json::Array(values) => change_array(values, step, path, level, last, change),
            scalar => Ok(scalar),
        }
    }

    /// The value at the end of a path, `None` where it leads nowhere.
    pub fn at_path(&self, path: &[String]) -> Option<&Json> {
        let mut value = self;
        for step in path {
            value = match value {
                Json::Object(_) => value.get(step)?,
                Json::Array(_) => value.element(step.trim().parse().ok()?)?,
                _ => return None,
            };
        }
        Some(value)
    }

    /// Without the members of objects that are null, at every level.
    #[must_use]
    pub fn without_nulls(self) -> Json {
        match self {
            Json::Object(members) => {
                let kept = members.into_iter().filter(|(_, value)| *value != Json::Null);
                Json::Object(kept.map(|(key, value)| (key, value.without_nulls())).collect())
            }
            Json::Array(values) => Json::Array(values.into_iter().map(Json::without_nulls).collect()),
            scalar => scalar,
        }
    }

    /// `jsonb_pretty`: one value a line, four spaces a level.
    pub fn pretty(&self) -> String {
        let mut out = String::new();
        self.write_pretty(0, &mut out);
        out
    }

    fn write_pretty(&self, level: usize, out: &mut String) {
        let line = |level: usize, out: &mut String| {
            out.push('\n');
            out.push_str(&"    ".repeat(level));
        };
        let (open, close) = match self {
            Json::Array(_) => ('[', ']'),
            Json::Object(_) => ('{', '}'),
            scalar => {
                out.push_str(&scalar.to_string());
                return;
            }
        };
        out.push(open);
        if let Json::Array(values) = self {
            for (index, value) in values.iter().enumerate() {
                out.push_str(if index > 0 { "," } else { "" });
                line(level + 1, out);
                value.write_pretty(level + 1, out);
            }
        }
        if let Json::Object(members) = self {
            for (index, (key, value)) in members.iter().enumerate() {
                out.push_str(if index > 0 { "," } else { "" });
                line(level + 1, out);
                out.push_str(&Json::String(key.clone()).to_string());
                out.push_str(": ");
                value.write_pretty(level + 1, out);
            }
        }
        line(level, out);
        out.push(close);
    }
}

fn change_object(
    mut members: Vec<(Box<str>, Json)>,
    step: &str,
    path: &[String],
    level: usize,
    last: bool,
    change: Change<'_>,
) -> Result<Json> {
    let place = members.iter().position(|(key, _)| key.as_ref() == step);
    match (place, change) {
        (Some(place), Change::Delete) if last => {
            members.remove(place);
        }
        (Some(place), Change::Set { value, .. }) if last => members[place].1 = value.clone(),
        (Some(_), Change::Insert { .. }) if last => {
            return Err(
                invalid("cannot replace existing key").hint("Try using the function jsonb_set to replace key value.")
            );
        }
        (None, Change::Set { value, create: true } | Change::Insert { value, .. }) if last => {
            members.push((step.into(), value.clone()));
            return Ok(Json::object(members));
        }
        (Some(place), _) => {
            let inner = std::mem::replace(&mut members[place].1, Json::Null);
            members[place].1 = inner.change(path, level + 1, change)?;
        }
        (None, _) => {}
    }
    Ok(Json::Object(members))
}

fn change_array(
    mut values: Vec<Json>,
    step: &str,
    path: &[String],
    level: usize,
    last: bool,
    change: Change<'_>,
) -> Result<Json> {
    let Ok(index) = step.trim().parse::<i32>() else {
        let message = format!("path element at position {} is not an integer: \"{step}\"", level + 1);
        return Err(Error::new(SqlState::INVALID_TEXT_REPRESENTATION, message));
    };
    let length = values.len() as i64;
    let from_start = if index < 0 { i64::from(index) + length } else { i64::from(index) };
    let place = usize::try_from(from_start).ok().filter(|place| *place < values.len());
    match (place, change) {
        (Some(place), Change::Delete) if last => {
            values.remove(place);
        }
        (Some(place), Change::Set { value, .. }) if last => values[place] = value.clone(),
        (Some(place), Change::Insert { value, after }) if last => {
            values.insert(place + usize::from(after), value.clone())
        }
        (None, Change::Set { value, create: true } | Change::Insert { value, .. }) if last => {
            values.insert(if from_start < 0 { 0 } else { values.len() }, value.clone());
        }
        (Some(place), _) => {
            let inner = std::mem::replace(&mut values[place], Json::Null);
            values[place] = inner.change(path, level + 1, change)?;
        }
        (None, _) => {}
    }
    Ok(Json::Array(values))
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    fn j(text: &str) -> Json {
        parse(text).unwrap()
    }

    fn path(text: &str) -> Vec<String> {
        text.split(',').filter(|step| !step.is_empty()).map(str::to_owned).collect()
    }

    // Every expectation was taken from PostgreSQL 15.

    #[test]
    fn containment_and_existence() {
        for (a, b, expected) in [
            ("[\"a\"]", "\"a\"", true),
            ("\"a\"", "[\"a\"]", false),
            ("[1,[2,3]]", "[[3]]", true),
            ("{\"a\":[1,2]}", "{\"a\":[1]}", true),
            ("{\"a\":{\"b\":1}}", "{\"a\":{}}", true),
            ("[1,2]", "[1,1]", true),
            ("{\"a\":[1]}", "{\"a\":1}", false),
            ("1", "1.0", true),
        ] {
            assert_eq!(j(a).contains(&j(b)), expected, "{a} @> {b}");
        }
        assert!(j("\"a\"").has_key("a") && j("[\"a\"]").has_key("a") && !j("{\"b\":1}").has_key("a"));
    }

    #[test]
    fn values_are_joined() {
        for (a, b, expected) in [
            ("{\"a\":1}", "1", "[{\"a\": 1}, 1]"),
            ("{\"a\":1}", "{\"a\":2,\"b\":3}", "{\"a\": 2, \"b\": 3}"),
            ("1", "2", "[1, 2]"),
            ("{}", "[]", "[{}]"),
            ("[1]", "null", "[1, null]"),
        ] {
            assert_eq!(j(a).concat(j(b)).to_string(), expected);
        }
    }

    #[test]
    fn paths_are_set_and_deleted() {
        for (value, at, new, create, expected) in [
            ("{\"a\":[1,2]}", "a,0", "9", true, "{\"a\": [9, 2]}"),
            ("{\"a\":1}", "b", "2", true, "{\"a\": 1, \"b\": 2}"),
            ("{\"a\":1}", "b", "2", false, "{\"a\": 1}"),
            ("{\"a\":1}", "b,c", "2", true, "{\"a\": 1}"),
            ("[1,2]", "5", "9", true, "[1, 2, 9]"),
            ("[1,2]", "-5", "9", true, "[9, 1, 2]"),
            ("[1,2]", "-1", "9", true, "[1, 9]"),
        ] {
            let set = j(value).with_path(&path(at), &j(new), create).unwrap();
            assert_eq!(set.to_string(), expected, "{value} {at}");
        }
        assert_eq!(j("[1,2]").with_inserted(&path("0"), &j("9"), true).unwrap().to_string(), "[1, 9, 2]");
        assert_eq!(j("{\"a\":[1,{\"b\":2}]}").without_path(&path("a,1,b")).unwrap().to_string(), "{\"a\": [1, {}]}");
        let error = j("[1]").with_path(&path("a"), &j("2"), true).unwrap_err();
        assert_eq!(error.message(), "path element at position 1 is not an integer: \"a\"");
        assert_eq!(j("1").without_key("a").unwrap_err().message(), "cannot delete from scalar");
    }

    #[test]
    fn values_are_shown_one_a_line() {
        let text = j("{\"a\":[1,{}],\"b\":[]}").pretty();
        assert_eq!(text, "{\n    \"a\": [\n        1,\n        {\n        }\n    ],\n    \"b\": [\n    ]\n}");
    }
}
