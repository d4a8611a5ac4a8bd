//! Aggregates, all of which can be window functions too.
//!
//! Each is a small state that takes a row in, takes the oldest row out (for frames that move), and gives its value.

use std::collections::VecDeque;
use std::marker::PhantomData;
use std::panic::{RefUnwindSafe, UnwindSafe};

use rusqlite::Connection;
use rusqlite::functions::{Aggregate, Context, WindowAggregate};
use rusqlite::types::Value;

use super::call::{Arguments, MAX_RESULT_BYTES, checked, flags, text, too_large};
use super::jsons::quoted;
use super::raise::raise;
use super::{regression, statistics};
use crate::error::{Error, Result, SqlState};
use crate::types::json;

/// The state of one group or frame.
pub(super) trait Accumulator: Default {
    /// Whether rows whose first argument is NULL are passed over.
    const SKIPS_NULLS: bool = true;

    fn step(&mut self, arguments: &Arguments<'_>) -> Result<()>;

    /// Takes the oldest row out again.
    fn inverse(&mut self, arguments: &Arguments<'_>) -> Result<()>;

    fn value(&self) -> Result<Value>;
}

/// Between an accumulator and SQLite.
struct Adapter<A>(PhantomData<fn() -> A>);

impl<A: Accumulator + UnwindSafe + RefUnwindSafe> Aggregate<A, Value> for Adapter<A> {
    fn init(&self, _: &mut Context<'_>) -> rusqlite::Result<A> {
        Ok(A::default())
    }

    fn step(&self, context: &mut Context<'_>, state: &mut A) -> rusqlite::Result<()> {
        let arguments = Arguments(context);
        if A::SKIPS_NULLS && arguments.is_null(0) {
            return Ok(());
        }
        state.step(&arguments).map_err(|error| raise(&error))
    }

    fn finalize(&self, _: &mut Context<'_>, state: Option<A>) -> rusqlite::Result<Value> {
        state.unwrap_or_default().value().and_then(checked).map_err(|error| raise(&error))
    }
}

impl<A: Accumulator + UnwindSafe + RefUnwindSafe> WindowAggregate<A, Value> for Adapter<A> {
    fn value(&self, state: Option<&mut A>) -> rusqlite::Result<Value> {
        let value = match state {
            Some(state) => state.value(),
            None => A::default().value(),
        };
        value.and_then(checked).map_err(|error| raise(&error))
    }

    fn inverse(&self, context: &mut Context<'_>, state: &mut A) -> rusqlite::Result<()> {
        let arguments = Arguments(context);
        if A::SKIPS_NULLS && arguments.is_null(0) {
            return Ok(());
        }
        state.inverse(&arguments).map_err(|error| raise(&error))
    }
}

pub(super) fn add<A>(connection: &Connection, name: &str, arguments: i32) -> rusqlite::Result<()>
where
    A: Accumulator + UnwindSafe + RefUnwindSafe + 'static,
{
    connection.create_window_function(name, arguments, flags(true), Adapter::<A>(PhantomData))
}

pub(super) fn register(connection: &Connection) -> rusqlite::Result<()> {
    statistics::register(connection)?;
    regression::register(connection)?;
    add::<BitAnd>(connection, "pg_bit_and", 1)?;
    add::<BitOr>(connection, "pg_bit_or", 1)?;
    add::<BitXor>(connection, "pg_bit_xor", 1)?;
    add::<StringAgg>(connection, "pg_string_agg", 2)?;
    add::<ByteaAgg>(connection, "pg_bytea_agg", 2)?;
    add::<ArrayAgg>(connection, "pg_array_agg", 1)?;
    add::<JsonAgg<false, false>>(connection, "pg_json_agg", 1)?;
    add::<JsonAgg<false, true>>(connection, "pg_json_agg_lines", 1)?;
    add::<JsonAgg<true, false>>(connection, "pg_jsonb_agg", 1)?;
    add::<ObjectAgg<false>>(connection, "pg_json_object_agg", 2)?;
    add::<ObjectAgg<true>>(connection, "pg_jsonb_object_agg", 2)?;
    add::<Single>(connection, "pg_single", 1)
}

/// 0A000: the state cannot lose a row and stay exact.
pub(super) fn no_moving_frame(name: &str) -> Error {
    Error::unsupported(
        format!("{name} over a window frame that moves"),
        "Use the default frame, or one that begins with UNBOUNDED PRECEDING.",
    )
}

#[derive(Default)]
struct BitAnd(Option<i64>);

#[derive(Default)]
struct BitOr(Option<i64>);

#[derive(Default)]
struct BitXor(Option<i64>);

macro_rules! bitwise {
    ($name:ident, $word:literal, $operate:expr) => {
        impl Accumulator for $name {
            fn step(&mut self, arguments: &Arguments<'_>) -> Result<()> {
                let value = arguments.integer(0)?;
                self.0 = Some(self.0.map_or(value, |bits| $operate(bits, value)));
                Ok(())
            }

            fn inverse(&mut self, _: &Arguments<'_>) -> Result<()> {
                Err(no_moving_frame($word))
            }

            fn value(&self) -> Result<Value> {
                Ok(self.0.map_or(Value::Null, Value::Integer))
            }
        }
    };
}

bitwise!(BitAnd, "bit_and", |a: i64, b: i64| a & b);
bitwise!(BitOr, "bit_or", |a: i64, b: i64| a | b);
bitwise!(BitXor, "bit_xor", |a: i64, b: i64| a ^ b);

/// The values and, before each, its delimiter; the first one's is not shown.
#[derive(Default)]
struct Joined {
    parts: VecDeque<(Vec<u8>, Vec<u8>)>,
    bytes: usize,
}

impl Joined {
    fn push(&mut self, arguments: &Arguments<'_>) -> Result<()> {
        let delimiter = if arguments.is_null(1) { Vec::new() } else { arguments.bytes(1)?.to_vec() };
        let value = arguments.bytes(0)?.to_vec();
        self.bytes += delimiter.len() + value.len();
        if self.bytes > MAX_RESULT_BYTES {
            return Err(too_large());
        }
        self.parts.push_back((delimiter, value));
        Ok(())
    }

    fn pop(&mut self) {
        if let Some((delimiter, value)) = self.parts.pop_front() {
            self.bytes -= delimiter.len() + value.len();
        }
    }

    fn joined(&self) -> Option<Vec<u8>> {
        let mut out = Vec::with_capacity(self.bytes);
        for (index, (delimiter, value)) in self.parts.iter().enumerate() {
            if index > 0 {
                out.extend_from_slice(delimiter);
            }
            out.extend_from_slice(value);
        }
        (!self.parts.is_empty()).then_some(out)
    }
}

#[derive(Default)]
struct StringAgg(Joined);

impl Accumulator for StringAgg {
    fn step(&mut self, arguments: &Arguments<'_>) -> Result<()> {
        self.0.push(arguments)
    }

    fn inverse(&mut self, _: &Arguments<'_>) -> Result<()> {
        self.0.pop();
        Ok(())
    }

    fn value(&self) -> Result<Value> {
        match self.0.joined().map(String::from_utf8) {
            None => Ok(Value::Null),
            Some(Ok(joined)) => Ok(Value::Text(joined)),
            Some(Err(_)) => Err(Error::internal("a text is not UTF-8")),
        }
    }
}

#[derive(Default)]
struct ByteaAgg(Joined);

impl Accumulator for ByteaAgg {
    fn step(&mut self, arguments: &Arguments<'_>) -> Result<()> {
        self.0.push(arguments)
    }

    fn inverse(&mut self, _: &Arguments<'_>) -> Result<()> {
        self.0.pop();
        Ok(())
    }

    fn value(&self) -> Result<Value> {
        Ok(self.0.joined().map_or(Value::Null, Value::Blob))
    }
}

/// JSON texts in a row, NULLs as null.
#[derive(Default)]
struct Items {
    items: VecDeque<String>,
    bytes: usize,
}

impl Items {
    fn push(&mut self, item: String) -> Result<()> {
        self.bytes += item.len() + 2;
        if self.bytes > MAX_RESULT_BYTES {
            return Err(too_large());
        }
        self.items.push_back(item);
        Ok(())
    }

    fn pop(&mut self) {
        self.bytes -= self.items.pop_front().map_or(0, |item| item.len() + 2);
    }

    fn joined(&self, open: &str, separator: &str, close: &str) -> Option<String> {
        let (front, back) = self.items.as_slices();
        let all = [front, back].concat();
        (!all.is_empty()).then(|| format!("{open}{}{close}", all.join(separator)))
    }
}

/// An array in its cell form.
#[derive(Default)]
struct ArrayAgg(Items);

impl Accumulator for ArrayAgg {
    const SKIPS_NULLS: bool = false;

    fn step(&mut self, arguments: &Arguments<'_>) -> Result<()> {
        use rusqlite::types::ValueRef;
        self.0.push(match arguments.raw(0) {
            ValueRef::Null => "null".to_owned(),
            ValueRef::Integer(value) => value.to_string(),
            ValueRef::Real(value) if value.is_infinite() => if value > 0.0 { "9e999" } else { "-9e999" }.to_owned(),
            ValueRef::Real(value) => format!("{value:?}"),
            ValueRef::Text(_) => quoted(arguments.text(0)?),
            ValueRef::Blob(bytes) => quoted(&bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()),
        })
    }

    fn inverse(&mut self, _: &Arguments<'_>) -> Result<()> {
        self.0.pop();
        Ok(())
    }

    fn value(&self) -> Result<Value> {
        Ok(self.0.joined("[", ",", "]").map_or(Value::Null, Value::Text))
    }
}

/// json_agg, with each value on a line of its own when `LINES`, or jsonb_agg when `CANONICAL`.
#[derive(Default)]
struct JsonAgg<const CANONICAL: bool, const LINES: bool>(Items);

impl<const CANONICAL: bool, const LINES: bool> Accumulator for JsonAgg<CANONICAL, LINES> {
    const SKIPS_NULLS: bool = false;

    fn step(&mut self, arguments: &Arguments<'_>) -> Result<()> {
        self.0.push(arguments.optional_text(0)?.unwrap_or("null").to_owned())
    }

    fn inverse(&mut self, _: &Arguments<'_>) -> Result<()> {
        self.0.pop();
        Ok(())
    }

    fn value(&self) -> Result<Value> {
        match self.0.joined("[", if LINES { ", \n " } else { ", " }, "]") {
            Some(array) if CANONICAL => Ok(text(json::canonical(&array)?)),
            array => Ok(array.map_or(Value::Null, Value::Text)),
        }
    }
}

/// json_object_agg, or jsonb_object_agg when `CANONICAL`: the key is text, the value JSON.
#[derive(Default)]
struct ObjectAgg<const CANONICAL: bool>(Items);

impl<const CANONICAL: bool> Accumulator for ObjectAgg<CANONICAL> {
    const SKIPS_NULLS: bool = false;

    fn step(&mut self, arguments: &Arguments<'_>) -> Result<()> {
        let Some(key) = arguments.optional_text(0)? else {
            return Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, "field name must not be null"));
        };
        self.0.push(format!("{} : {}", quoted(key), arguments.optional_text(1)?.unwrap_or("null")))
    }

    fn inverse(&mut self, _: &Arguments<'_>) -> Result<()> {
        self.0.pop();
        Ok(())
    }

    fn value(&self) -> Result<Value> {
        match self.0.joined("{ ", ", ", " }") {
            Some(object) if CANONICAL => Ok(text(json::canonical(&object)?)),
            object => Ok(object.map_or(Value::Null, Value::Text)),
        }
    }
}

/// The value of a subquery's only row.
#[derive(Default)]
struct Single(Option<Value>);

impl Accumulator for Single {
    const SKIPS_NULLS: bool = false;

    fn step(&mut self, arguments: &Arguments<'_>) -> Result<()> {
        if self.0.is_some() {
            let message = "more than one row returned by a subquery used as an expression";
            return Err(Error::new(SqlState::CARDINALITY_VIOLATION, message));
        }
        let value = arguments.raw(0).try_into().map_err(|_| Error::internal("a text is not UTF-8"))?;
        self.0 = Some(value);
        Ok(())
    }

    fn inverse(&mut self, _: &Arguments<'_>) -> Result<()> {
        self.0 = None;
        Ok(())
    }

    fn value(&self) -> Result<Value> {
        Ok(self.0.clone().unwrap_or(Value::Null))
    }
}
