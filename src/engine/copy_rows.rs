//! Where one row of a COPY goes.

use std::borrow::Cow;
use std::sync::Arc;

use crate::copying::Form;
use crate::error::{Error, Result, SqlState};
use crate::plan;
use crate::topology::{Keyspace, slot_of, slot_of_text};
use crate::types::{Datum, Key, KeyType, PgType, ShardId, TextStyle};

/// Reads the key of each row.
#[derive(Debug)]
pub(super) struct Router {
    keyspace: Arc<Keyspace>,
    form: Form,
    key_type: KeyType,
    data_type: PgType,
    /// Of a `varchar(n)` key.
    length: Option<usize>,
    style: TextStyle,
}

impl Router {
    pub(super) fn new(rows: &plan::CopyIn, keyspace: &Arc<Keyspace>, form: Form, style: &TextStyle) -> Router {
        let (key_type, data_type, length) = rows.key_type();
        Router { keyspace: Arc::clone(keyspace), form, key_type, data_type, length, style: style.clone() }
    }

    pub(super) fn form(&self) -> Form {
        self.form
    }

    /// The shard of a key as a row has it.
    ///
    /// # Errors
    /// 23502 for NULL; 22P02, 22P03 or 22003 for what is no value of the key's column.
    pub(super) fn shard(&self, key: Option<&[u8]>, rows: &plan::CopyIn) -> Result<ShardId> {
        let bytes = key.ok_or_else(|| rows.null_key())?;
        let slot = match (self.key_type, self.form) {
            (KeyType::Bigint, Form::Text | Form::Csv) if let Some(key) = plain_integer(bytes, self.data_type) => {
                slot_of(&Key::Bigint(key))
            }
            (KeyType::Text, _) if self.length.is_none() => slot_of_text(text(bytes)?),
            (_, Form::Binary) => slot_of(&self.key(&Datum::from_binary(self.data_type, bytes)?, rows)?),
            _ => slot_of(&self.key(&Datum::from_text(self.data_type, text(bytes)?, &self.style)?, rows)?),
        };
        Ok(self.keyspace.owner(slot))
    }

    fn key(&self, datum: &Datum, rows: &plan::CopyIn) -> Result<Key> {
        let key = Key::from_datum(datum).filter(|key| key.key_type() == self.key_type);
        let key = key.ok_or_else(|| Error::internal("a value of the key's type is no key"))?;
        Ok(rows.stored(key, self.length))
    }
}

/// The number of a few digits, as almost all are.
fn plain_integer(bytes: &[u8], data_type: PgType) -> Option<i64> {
    // So many fit into the type, whatever they are.
    let safe_digits = match data_type {
        PgType::Int2 => 4,
        PgType::Int4 => 9,
        PgType::Int8 => 18,
        _ => return None,
    };
    if bytes.is_empty() || bytes.len() > safe_digits {
        return None;
    }
    bytes.iter().try_fold(0_i64, |number, byte| match byte {
        b'0'..=b'9' => Some(number * 10 + i64::from(byte - b'0')),
        _ => None,
    })
}

fn text(bytes: &[u8]) -> Result<&str> {
    match std::str::from_utf8(bytes) {
        Ok(text) if memchr::memchr(0, bytes).is_none() => Ok(text),
        _ => Err(Error::new(SqlState::CHARACTER_NOT_IN_REPERTOIRE, "invalid byte sequence for encoding \"UTF8\"")),
    }
}

/// Bytes that stay.
pub(super) fn kept(value: Cow<'_, [u8]>) -> bytes::Bytes {
    bytes::Bytes::copy_from_slice(&value)
}
