//! A call of a registered function: its arguments out of cells, its answer or error back into SQLite.

use std::sync::Arc;

use rusqlite::Connection;
use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::{Value, ValueRef};

use super::raise::raise;
use crate::error::{Error, Result, SqlState};
use crate::shard::sqlite::storage;
use crate::types::{Datum, Interval, Numeric, PgType, TextStyle, Zone};

/// No text or blob that a function makes is longer: Postgres's own limit is 1 GiB.
pub(super) const MAX_RESULT_BYTES: usize = 256 * 1024 * 1024;

/// One line of a table of functions.
pub(super) struct Function {
    name: &'static str,
    /// -1: any number.
    arguments: i32,
    /// NULL in any argument gives NULL, without a call.
    strict: bool,
    deterministic: bool,
    body: fn(&Arguments<'_>) -> Result<Value>,
}

/// NULL in, NULL out.
pub(super) const fn strict(name: &'static str, arguments: i32, body: fn(&Arguments<'_>) -> Result<Value>) -> Function {
    Function { name, arguments, strict: true, deterministic: true, body }
}

/// Called for NULLs too.
pub(super) const fn lax(name: &'static str, arguments: i32, body: fn(&Arguments<'_>) -> Result<Value>) -> Function {
    Function { name, arguments, strict: false, deterministic: true, body }
}

/// Another answer at every call.
pub(super) const fn volatile(
    name: &'static str,
    arguments: i32,
    body: fn(&Arguments<'_>) -> Result<Value>,
) -> Function {
    Function { name, arguments, strict: true, deterministic: false, body }
}

/// Innocuous: defaults, CHECKs and indexes of the shard's own schema may call them.
pub(super) fn flags(deterministic: bool) -> FunctionFlags {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_INNOCUOUS;
    if deterministic { flags | FunctionFlags::SQLITE_DETERMINISTIC } else { flags }
}

impl Function {
    pub(super) fn register(&self, connection: &Connection) -> rusqlite::Result<()> {
        let (strict, body) = (self.strict, self.body);
        connection.create_scalar_function(self.name, self.arguments, flags(self.deterministic), move |context| {
            let arguments = Arguments(context);
            if strict && arguments.any_null() {
                return Ok(Value::Null);
            }
            body(&arguments).and_then(checked).map_err(|error| raise(&error))
        })
    }
}

/// What SQLite would silently change is an error: NaN becomes NULL there.
pub(super) fn checked(value: Value) -> Result<Value> {
    match &value {
        Value::Real(real) => storage::real(*real).map(Value::Real),
        Value::Text(text) if text.len() > MAX_RESULT_BYTES => Err(too_large()),
        _ => Ok(value),
    }
}

pub(super) fn too_large() -> Error {
    Error::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "requested length too large")
}

/// The arguments of one call.
pub(super) struct Arguments<'a>(pub(super) &'a Context<'a>);

impl<'a> Arguments<'a> {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn raw(&self, index: usize) -> ValueRef<'a> {
        if index < self.0.len() { self.0.get_raw(index) } else { ValueRef::Null }
    }

    pub(super) fn is_null(&self, index: usize) -> bool {
        matches!(self.raw(index), ValueRef::Null)
    }

    fn any_null(&self) -> bool {
        (0..self.len()).any(|index| self.is_null(index))
    }

    fn wrong<T>(&self, index: usize, what: &str) -> Result<T> {
        let found = self.raw(index).data_type();
        Err(Error::internal(format!("argument {} of a registered function is {found}, not {what}", index + 1)))
    }

    /// An integer. A REAL is what SQLite makes of a sum that overflowed.
    pub(super) fn integer(&self, index: usize) -> Result<i64> {
        match self.raw(index) {
            ValueRef::Integer(value) => Ok(value),
            ValueRef::Real(_) => Err(crate::types::out_of_range(PgType::Int8)),
            _ => self.wrong(index, "an integer"),
        }
    }

    pub(super) fn int4(&self, index: usize) -> Result<i32> {
        i32::try_from(self.integer(index)?).map_err(|_| crate::types::out_of_range(PgType::Int4))
    }

    pub(super) fn boolean(&self, index: usize) -> Result<bool> {
        Ok(self.integer(index)? != 0)
    }

    pub(super) fn real(&self, index: usize) -> Result<f64> {
        match self.raw(index) {
            ValueRef::Real(value) => Ok(value),
            ValueRef::Integer(value) => Ok(value as f64),
            _ => self.wrong(index, "a real"),
        }
    }

    pub(super) fn text(&self, index: usize) -> Result<&'a str> {
        match self.raw(index) {
            ValueRef::Text(bytes) => std::str::from_utf8(bytes).or_else(|_| self.wrong(index, "UTF-8")),
            _ => self.wrong(index, "text"),
        }
    }

    pub(super) fn optional_text(&self, index: usize) -> Result<Option<&'a str>> {
        if self.is_null(index) { Ok(None) } else { self.text(index).map(Some) }
    }

    /// The bytes of a blob, or of a text.
    pub(super) fn bytes(&self, index: usize) -> Result<&'a [u8]> {
        match self.raw(index) {
            ValueRef::Blob(bytes) | ValueRef::Text(bytes) => Ok(bytes),
            _ => self.wrong(index, "a blob"),
        }
    }

    pub(super) fn numeric(&self, index: usize) -> Result<Numeric> {
        match self.raw(index) {
            ValueRef::Integer(value) => Ok(Numeric::from(value)),
            _ => Numeric::parse(self.text(index)?),
        }
    }

    pub(super) fn interval(&self, index: usize) -> Result<Interval> {
        match self.raw(index) {
            ValueRef::Blob(bytes) => Interval::from_binary(bytes),
            _ => self.wrong(index, "an interval"),
        }
    }

    /// The session's time zone; NULL or no argument is UTC. Looked up once a statement.
    pub(super) fn zone(&self, index: usize) -> Result<Zone> {
        match self.raw(index) {
            ValueRef::Null => Ok(Zone::UTC),
            ValueRef::Text(b"UTC") => Ok(Zone::UTC),
            _ => self.compiled(index, Zone::from_setting).map(|zone| Zone::clone(&zone)),
        }
    }

    /// What a text argument means to `compile`: kept by SQLite while the argument is a constant of the statement.
    pub(super) fn compiled<T: Send + Sync + 'static>(
        &self,
        index: usize,
        compile: impl FnOnce(&str) -> Result<T>,
    ) -> Result<Arc<T>> {
        let place = i32::try_from(index).map_err(|_| Error::internal("too many arguments"))?;
        if let Ok(Some(known)) = self.0.get_aux::<T>(place) {
            return Ok(known);
        }
        let compiled = compile(self.text(index)?)?;
        self.0.set_aux(place, compiled).map_err(|error| Error::internal(error.to_string()))
    }

    pub(super) fn style(&self, zone: usize) -> Result<TextStyle> {
        Ok(TextStyle { zone: self.zone(zone)?, now: None })
    }

    pub(super) fn datum(&self, index: usize, data_type: PgType) -> Result<Datum> {
        storage::from_sqlite(self.raw(index), data_type)
    }

    /// A type, by its name in the catalog: `int4`, `_int4`.
    pub(super) fn data_type(&self, index: usize) -> Result<PgType> {
        let name = self.text(index)?;
        let known = PgType::ALL.iter().copied().find(|data_type| data_type.name() == name);
        known.ok_or_else(|| Error::internal(format!("there is no type {name}")))
    }
}

pub(super) fn numeric(value: &Numeric) -> Value {
    Value::Text(value.to_string())
}

pub(super) fn interval(value: Interval) -> Value {
    Value::Blob(value.to_binary().to_vec())
}

pub(super) fn text(value: impl Into<String>) -> Value {
    Value::Text(value.into())
}

pub(super) fn boolean(value: bool) -> Value {
    Value::Integer(i64::from(value))
}
