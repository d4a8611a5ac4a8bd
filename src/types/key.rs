//! A sharding key in its one canonical form.
//!
//! `7`, `007`, a binary int4 and an int8 are one key; NULL is no key.

use super::datum::Datum;

/// The type of a keyspace's key column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyType {
    /// smallint, integer and bigint: they hash alike.
    Bigint,
    /// text and varchar, compared bytewise.
    Text,
    Uuid,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    Bigint(i64),
    Text(Box<str>),
    Uuid([u8; 16]),
}

impl Key {
    /// The key that a value of the key column's type stands for; `None` for NULL and for values of other types.
    pub fn from_datum(datum: &Datum) -> Option<Key> {
        match datum {
            Datum::Int2(value) => Some(Key::Bigint(i64::from(*value))),
            Datum::Int4(value) => Some(Key::Bigint(i64::from(*value))),
            Datum::Int8(value) => Some(Key::Bigint(*value)),
            Datum::Text(value) => Some(Key::Text(value.clone())),
            Datum::Uuid(value) => Some(Key::Uuid(*value)),
            _ => None,
        }
    }

    pub fn key_type(&self) -> KeyType {
        match self {
            Key::Bigint(_) => KeyType::Bigint,
            Key::Text(_) => KeyType::Text,
            Key::Uuid(_) => KeyType::Uuid,
        }
    }
}
