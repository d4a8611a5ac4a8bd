//! The order and the equality of values of one type: those of Postgres's btree under "C".

use std::cmp::Ordering;

use bytes::{BufMut, BytesMut};

use super::datum::Datum;
use super::json;

impl Datum {
    /// Postgres's btree order for two values of one type. NaN is the greatest number and equals itself; NULL sorts last.
    /// bpchar values must have lost their trailing blanks. Values of different types are ordered by type.
    pub fn compare(&self, other: &Datum) -> Ordering {
        match (self, other) {
            (Datum::Null, Datum::Null) => Ordering::Equal,
            (Datum::Null, _) => Ordering::Greater,
            (_, Datum::Null) => Ordering::Less,
            (Datum::Bool(a), Datum::Bool(b)) => a.cmp(b),
            (Datum::Int2(a), Datum::Int2(b)) => a.cmp(b),
            (Datum::Int4(a), Datum::Int4(b)) | (Datum::Date(a), Datum::Date(b)) => a.cmp(b),
            (Datum::Int8(a), Datum::Int8(b))
            | (Datum::Time(a), Datum::Time(b))
            | (Datum::Timestamp(a), Datum::Timestamp(b))
            | (Datum::Timestamptz(a), Datum::Timestamptz(b)) => a.cmp(b),
            (Datum::Oid(a), Datum::Oid(b)) => a.cmp(b),
            (Datum::Float4(a), Datum::Float4(b)) => compare_floats(f64::from(*a), f64::from(*b)),
            (Datum::Float8(a), Datum::Float8(b)) => compare_floats(*a, *b),
            (Datum::Numeric(a), Datum::Numeric(b)) => a.cmp(b),
            (Datum::Text(a), Datum::Text(b)) | (Datum::Json(a), Datum::Json(b)) => a.cmp(b),
            (Datum::Bytea(a), Datum::Bytea(b)) => a.cmp(b),
            (Datum::Uuid(a), Datum::Uuid(b)) => a.cmp(b),
            (Datum::Interval(a), Datum::Interval(b)) => a.cmp(b),
            (Datum::Jsonb(a), Datum::Jsonb(b)) if a == b => Ordering::Equal,
            (Datum::Jsonb(a), Datum::Jsonb(b)) => match (json::parse(a), json::parse(b)) {
                (Ok(a), Ok(b)) => a.compare(&b),
                _ => a.cmp(b),
            },
            (Datum::Array { values: a, .. }, Datum::Array { values: b, .. }) => {
                let pairs = a.iter().zip(b).map(|(a, b)| a.compare(b));
                pairs.into_iter().find(|order| order.is_ne()).unwrap_or_else(|| a.len().cmp(&b.len()))
            }
            (a, b) => a.data_type().cmp(&b.data_type()),
        }
    }

    /// Appends bytes that are equal for two values of one type exactly when DISTINCT and GROUP BY take them for one;
    /// NULLs are one. Keys of several columns can be appended one after the other: each says its own length.
    pub fn write_key(&self, out: &mut BytesMut) {
        match self {
            Datum::Null => out.put_u8(0),
            Datum::Float4(value) => put_float(f64::from(*value), out),
            Datum::Float8(value) => put_float(*value, out),
            Datum::Numeric(value) => put_bytes(value.normalized().to_string().as_bytes(), out),
            Datum::Interval(interval) => put_bytes(&interval.key(), out),
            Datum::Text(text) | Datum::Json(text) => put_bytes(text.as_bytes(), out),
            Datum::Jsonb(text) => {
                let mut key = BytesMut::new();
                match json::parse(text) {
                    Ok(json) => json.write_key(&mut key),
                    Err(_) => key.extend_from_slice(text.as_bytes()),
                }
                put_bytes(&key, out);
            }
            Datum::Array { values, .. } => {
                out.put_u8(1);
                out.put_u32(values.len() as u32);
                values.iter().for_each(|value| value.write_key(out));
            }
            other => {
                out.put_u8(1);
                let start = out.len();
                out.put_u32(0);
                other.write_binary(out);
                let length = (out.len() - start - 4) as u32;
                out[start..start + 4].copy_from_slice(&length.to_be_bytes());
            }
        }
    }
}

/// NaN equals itself and is the greatest; the zeros are one.
pub(crate) fn compare_floats(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

fn put_float(value: f64, out: &mut BytesMut) {
    let canonical = match value {
        _ if value.is_nan() => f64::NAN,
        0.0 => 0.0,
        _ => value,
    };
    put_bytes(&canonical.to_be_bytes(), out);
}

fn put_bytes(bytes: &[u8], out: &mut BytesMut) {
    out.put_u8(1);
    out.put_u32(bytes.len() as u32);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{PgType, TextStyle};

    fn datum(data_type: PgType, text: &str) -> Datum {
        Datum::from_text(data_type, text, &TextStyle::default()).unwrap()
    }

    fn key(datum: &Datum) -> BytesMut {
        let mut out = BytesMut::new();
        datum.write_key(&mut out);
        out
    }

    #[test]
    fn values_in_order_have_keys_that_differ() {
        for (data_type, ordered) in [
            (PgType::Bool, &["f", "t"][..]),
            (PgType::Int4, &["-1", "0", "10", "9999"]),
            (PgType::Float8, &["-Infinity", "-1", "0", "Infinity", "NaN"]),
            (PgType::Numeric, &["-Infinity", "2", "10", "NaN"]),
            (PgType::Text, &["", "B", "a", "aa", "é"]),
            (PgType::Interval, &["-1 day", "23:00", "1 mon", "31 days"]),
            (PgType::Jsonb, &["null", "\"a\"", "2", "10", "true"]),
            (PgType::Int4Array, &["{}", "{1}", "{1,2}", "{1,NULL}", "{2}"]),
            (PgType::Date, &["-infinity", "1999-12-31", "infinity"]),
        ] {
            for (i, a) in ordered.iter().enumerate() {
                for (j, b) in ordered.iter().enumerate() {
                    let (x, y) = (datum(data_type, a), datum(data_type, b));
                    assert_eq!(x.compare(&y), i.cmp(&j), "{a} {b}");
                    assert_eq!(key(&x) == key(&y), i == j, "{a} {b}");
                }
            }
        }
    }

    #[test]
    fn equal_values_have_equal_keys_whatever_their_spelling() {
        for (data_type, a, b) in [
            (PgType::Numeric, "1.0", "1.00"),
            (PgType::Float8, "0", "-0"),
            (PgType::Interval, "1 mon", "30 days"),
            (PgType::Jsonb, "{\"a\":1.0}", "{\"a\":1}"),
        ] {
            let (a, b) = (datum(data_type, a), datum(data_type, b));
            assert!(a.compare(&b).is_eq());
            assert_eq!(key(&a), key(&b));
        }
    }
}
