//! `generate_series`, as an array's cell for `json_each`.

use rusqlite::types::Value;

use super::call::{Arguments, Function, MAX_RESULT_BYTES, strict, text};
use crate::error::{Error, Result, SqlState};
use crate::types::{Interval, datetime};

pub(super) const FUNCTIONS: &[Function] =
    &[strict("pg_generate_series", 3, integers), super::call::lax("pg_generate_series_timestamp", 4, timestamps)];

fn zero_step() -> Error {
    Error::new(SqlState::INVALID_PARAMETER_VALUE, "step size cannot equal zero")
}

fn too_long() -> Error {
    Error::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "the series is too long")
        .hint("shardd holds a series of generate_series in memory: ask for fewer values at a time.")
}

/// Numbers with commas between, in brackets; bounded.
struct Cells(String);

impl Cells {
    fn new() -> Cells {
        Cells("[".to_owned())
    }

    fn push(&mut self, value: i64) -> Result<()> {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        self.0.push_str(&value.to_string());
        if self.0.len() > MAX_RESULT_BYTES { Err(too_long()) } else { Ok(()) }
    }

    fn value(mut self) -> Value {
        self.0.push(']');
        text(self.0)
    }
}

/// (start, stop, step)
fn integers(arguments: &Arguments<'_>) -> Result<Value> {
    let (start, stop, step) = (arguments.integer(0)?, arguments.integer(1)?, arguments.integer(2)?);
    if step == 0 {
        return Err(zero_step());
    }
    // Each takes two bytes at least: what cannot fit is refused before it is begun.
    let count = (i128::from(stop) - i128::from(start)) / i128::from(step);
    if count > MAX_RESULT_BYTES as i128 / 2 {
        return Err(too_long());
    }
    let mut cells = Cells::new();
    let mut next = Some(start);
    while let Some(value) = next.filter(|value| if step > 0 { *value <= stop } else { *value >= stop }) {
        cells.push(value)?;
        next = value.checked_add(step);
    }
    Ok(cells.value())
}

/// (start, stop, step, zone or NULL): without a zone, of timestamps. Each value is the step added to the one before.
fn timestamps(arguments: &Arguments<'_>) -> Result<Value> {
    if (0..3).any(|index| arguments.is_null(index)) {
        return Ok(Value::Null);
    }
    let (start, stop, step) = (arguments.integer(0)?, arguments.integer(1)?, arguments.interval(2)?);
    let zone = if arguments.is_null(3) { None } else { Some(arguments.zone(3)?) };
    let direction = step.cmp(&Interval::default());
    if direction.is_eq() {
        return Err(zero_step());
    }
    if datetime::is_infinite(start) || datetime::is_infinite(stop) {
        return Err(Error::unsupported("a series of infinite length", "Give generate_series finite bounds."));
    }
    let mut cells = Cells::new();
    let mut value = start;
    while if direction.is_gt() { value <= stop } else { value >= stop } {
        cells.push(value)?;
        let next = match &zone {
            Some(zone) => datetime::shift_timestamptz(value, &step, zone)?,
            None => datetime::add_interval(value, &step)?,
        };
        if next == value {
            return Err(Error::unsupported("a series whose step stands still", "Give generate_series a larger step."));
        }
        value = next;
    }
    Ok(cells.value())
}
