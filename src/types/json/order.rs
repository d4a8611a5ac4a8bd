//! The order of jsonb values, and a key that is equal where they are equal.

use std::cmp::Ordering;

use bytes::{BufMut, BytesMut};

use super::{Json, write_string};
use crate::types::numeric::compare_texts;

impl Json {
    /// jsonb's btree order: Object > Array > Boolean > Number > String > Null, larger containers above smaller ones.
    /// An empty array at the top sorts below everything: an old quirk of Postgres, kept for its indexes.
    pub fn compare(&self, other: &Json) -> Ordering {
        let empty_array = |value: &Json| matches!(value, Json::Array(values) if values.is_empty());
        match (empty_array(self), empty_array(other)) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
            (false, false) => self.compare_nested(other),
        }
    }

    fn compare_nested(&self, other: &Json) -> Ordering {
        match (self, other) {
            (Json::Bool(a), Json::Bool(b)) => a.cmp(b),
            (Json::Number(a), Json::Number(b)) => compare_texts(a, b),
            (Json::String(a), Json::String(b)) => a.cmp(b),
            (Json::Array(a), Json::Array(b)) => {
                let pairs = a.iter().zip(b).map(|(a, b)| a.compare_nested(b));
                a.len().cmp(&b.len()).then_with(|| first_difference(pairs))
            }
            (Json::Object(a), Json::Object(b)) => {
                let pairs = a.iter().zip(b).map(|((k, v), (l, w))| k.cmp(l).then_with(|| v.compare_nested(w)));
                a.len().cmp(&b.len()).then_with(|| first_difference(pairs))
            }
            _ => self.rank().cmp(&other.rank()),
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Json::Null => 0,
            Json::String(_) => 1,
            Json::Number(_) => 2,
            Json::Bool(_) => 3,
            Json::Array(_) => 4,
            Json::Object(_) => 5,
        }
    }

    /// Text that is equal for two values exactly when they are equal: numbers lose their trailing zeros.
    pub fn write_key(&self, out: &mut BytesMut) {
        match self {
            Json::Number(text) => {
                let kept = match text.contains('.') {
                    true => text.trim_end_matches('0').trim_end_matches('.'),
                    false => text,
                };
                out.extend_from_slice(if kept == "-0" { b"0" } else { kept.as_bytes() });
            }
            Json::Array(values) => {
                out.put_u8(b'[');
                for value in values {
                    value.write_key(out);
                    out.put_u8(b',');
                }
                out.put_u8(b']');
            }
            Json::Object(members) => {
                out.put_u8(b'{');
                for (key, value) in members {
                    write_string(key, out);
                    out.put_u8(b':');
                    value.write_key(out);
                    out.put_u8(b',');
                }
                out.put_u8(b'}');
            }
            other => other.write(out),
        }
    }
}

fn first_difference(mut orders: impl Iterator<Item = Ordering>) -> Ordering {
    orders.find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    #[test]
    fn values_are_ordered_as_postgres_orders_them() {
        let texts = [
            "[]",
            "null",
            "\"a\"",
            "\"b\"",
            "1",
            "1.5",
            "10",
            "false",
            "true",
            "[null]",
            "[1]",
            "[1, 2]",
            "{}",
            "{\"a\": 1}",
            "{\"b\": 0}",
            "{\"a\": 0, \"b\": 0}",
        ];
        let values = texts.map(|text| parse(text).unwrap());
        for (i, a) in values.iter().enumerate() {
            for (j, b) in values.iter().enumerate() {
                assert_eq!(a.compare(b), i.cmp(&j), "{a} {b}");
            }
        }
    }

    #[test]
    fn keys_are_equal_where_values_are() {
        let key = |text: &str| {
            let mut out = BytesMut::new();
            parse(text).unwrap().write_key(&mut out);
            out
        };
        assert_eq!(key("{\"a\": [1.0, \"1.0\"]}"), key("{\"a\": [1.00, \"1.0\"]}"));
        assert_ne!(key("[\"1.0\"]"), key("[\"1.00\"]"));
        assert_eq!(key("100"), key("1e2"));
        assert_ne!(key("100"), key("1"));
    }
}
