//! Sums, averages, extremes, variances and deviations, in the types and with the digits of Postgres.

use std::collections::BTreeMap;

use rusqlite::Connection;
use rusqlite::types::Value;

use super::aggregates::{Accumulator, add, no_moving_frame};
use super::call::{Arguments, interval, numeric};
use crate::error::{Error, Result, SqlState};
use crate::types::{Interval, Numeric, PgType, out_of_range};

pub(super) fn register(connection: &Connection) -> rusqlite::Result<()> {
    add::<SumInt4>(connection, "pg_sum_int4", 1)?;
    add::<SumInt8>(connection, "pg_sum_int8", 1)?;
    add::<AvgInt>(connection, "pg_avg_int", 1)?;
    add::<SumNumeric>(connection, "pg_sum_numeric", 1)?;
    add::<AvgNumeric>(connection, "pg_avg_numeric", 1)?;
    add::<SumFloat4>(connection, "pg_sum_float4", 1)?;
    add::<SumFloat8>(connection, "pg_sum_float8", 1)?;
    add::<AvgFloat8>(connection, "pg_avg_float8", 1)?;
    add::<SumInterval>(connection, "pg_sum_interval", 1)?;
    add::<AvgInterval>(connection, "pg_avg_interval", 1)?;
    add::<Extreme<false>>(connection, "pg_min_interval", 1)?;
    add::<Extreme<true>>(connection, "pg_max_interval", 1)?;
    add::<NumericSpread<true, false>>(connection, "pg_var_samp_numeric", 1)?;
    add::<NumericSpread<false, false>>(connection, "pg_var_pop_numeric", 1)?;
    add::<NumericSpread<true, true>>(connection, "pg_stddev_samp_numeric", 1)?;
    add::<NumericSpread<false, true>>(connection, "pg_stddev_pop_numeric", 1)?;
    add::<FloatSpread<true, false>>(connection, "pg_var_samp_float8", 1)?;
    add::<FloatSpread<false, false>>(connection, "pg_var_pop_float8", 1)?;
    add::<FloatSpread<true, true>>(connection, "pg_stddev_samp_float8", 1)?;
    add::<FloatSpread<false, true>>(connection, "pg_stddev_pop_float8", 1)
}

/// Integers and how many: an i128 holds the sum of more rows than a table can have.
#[derive(Default)]
struct IntegerSum {
    sum: i128,
    count: i64,
}

impl IntegerSum {
    fn add(&mut self, arguments: &Arguments<'_>, sign: i128) -> Result<()> {
        self.sum += sign * i128::from(arguments.integer(0)?);
        self.count += sign as i64;
        Ok(())
    }
}

macro_rules! integers {
    ($name:ident, $value:expr) => {
        #[derive(Default)]
        struct $name(IntegerSum);

        impl Accumulator for $name {
            fn step(&mut self, arguments: &Arguments<'_>) -> Result<()> {
                self.0.add(arguments, 1)
            }

            fn inverse(&mut self, arguments: &Arguments<'_>) -> Result<()> {
                self.0.add(arguments, -1)
            }

            fn value(&self) -> Result<Value> {
                if self.0.count == 0 {
                    return Ok(Value::Null);
                }
                $value(&self.0)
            }
        }
    };
}

// sum(smallint), sum(integer): a bigint.
integers!(SumInt4, |state: &IntegerSum| {
    i64::try_from(state.sum).map(Value::Integer).map_err(|_| out_of_range(PgType::Int8))
});
// sum(bigint): a numeric.
integers!(SumInt8, |state: &IntegerSum| Ok(numeric(&Numeric::from(state.sum))));
integers!(AvgInt, |state: &IntegerSum| { Ok(numeric(&Numeric::from(state.sum).div(&Numeric::from(state.count))?)) });

/// The sum of numerics. Its scale is the largest of those that are in it, so these are counted.
#[derive(Default)]
struct NumericSum {
    sum: Option<Numeric>,
    /// NaN, Infinity and -Infinity, which cannot be taken out of a sum again.
    specials: [u64; 3],
    /// How many values of each scale there are.
    scales: BTreeMap<u32, u64>,
    count: u64,
}

impl NumericSum {
    fn add(&mut self, value: &Numeric) -> Result<()> {
        self.count += 1;
        match value.scale() {
            Some(scale) => {
                *self.scales.entry(scale).or_default() += 1;
                self.sum = Some(match &self.sum {
                    Some(sum) => sum.add(value)?,
                    None => value.clone(),
                });
            }
            None => self.specials[special(value)] += 1,
        }
        Ok(())
    }

    fn remove(&mut self, value: &Numeric) -> Result<()> {
        self.count -= 1;
        match value.scale() {
            Some(scale) => {
                if let Some(count) = self.scales.get_mut(&scale) {
                    *count -= 1;
                    if *count == 0 {
                        self.scales.remove(&scale);
                    }
                }
                if let Some(sum) = &self.sum {
                    self.sum = Some(sum.sub(value)?);
                }
            }
            None => self.specials[special(value)] -= 1,
        }
        Ok(())
    }

    /// `None` for no rows.
    fn total(&self) -> Option<Numeric> {
        if self.count == 0 {
            return None;
        }
        Some(match self.specials {
            [0, 0, 0] => {
                let scale = self.scales.keys().next_back().copied().unwrap_or(0);
                self.sum.clone().unwrap_or_else(Numeric::zero).round(scale as i32)
            }
            [0, _, 0] => Numeric::INFINITY,
            [0, 0, _] => Numeric::NEGATIVE_INFINITY,
            _ => Numeric::NAN,
        })
    }
}

fn special(value: &Numeric) -> usize {
    match (value.is_nan(), value.is_negative()) {
        (true, _) => 0,
        (_, false) => 1,
        (_, true) => 2,
    }
}

macro_rules! numerics {
    ($name:ident, $value:expr) => {
        #[derive(Default)]
        struct $name(NumericSum);

        impl Accumulator for $name {
            fn step(&mut self, arguments: &Arguments<'_>) -> Result<()> {
                self.0.add(&arguments.numeric(0)?)
            }

            fn inverse(&mut self, arguments: &Arguments<'_>) -> Result<()> {
                self.0.remove(&arguments.numeric(0)?)
            }

            fn value(&self) -> Result<Value> {
                match self.0.total() {
                    Some(total) => $value(&self.0, total),
                    None => Ok(Value::Null),
                }
            }
        }
    };
}

numerics!(SumNumeric, |_: &NumericSum, total: Numeric| Ok(numeric(&total)));
numerics!(AvgNumeric, |state: &NumericSum, total: Numeric| { Ok(numeric(&total.div(&Numeric::from(state.count))?)) });

/// Variance, or its root when `ROOT`; of a sample when `SAMPLE`. Exact until the last division.
#[derive(Default)]
struct NumericSpread<const SAMPLE: bool, const ROOT: bool> {
    values: NumericSum,
    squares: NumericSum,
}

impl<const SAMPLE: bool, const ROOT: bool> Accumulator for NumericSpread<SAMPLE, ROOT> {
    fn step(&mut self, arguments: &Arguments<'_>) -> Result<()> {
        let value = arguments.numeric(0)?;
        self.values.add(&value)?;
        self.squares.add(&value.mul(&value)?)
    }

    fn inverse(&mut self, arguments: &Arguments<'_>) -> Result<()> {
        let value = arguments.numeric(0)?;
        self.values.remove(&value)?;
        self.squares.remove(&value.mul(&value)?)
    }

    fn value(&self) -> Result<Value> {
        let count = self.values.count;
        let (Some(sum), Some(squares)) = (self.values.total(), self.squares.total()) else { return Ok(Value::Null) };
        if SAMPLE && count < 2 {
            return Ok(Value::Null);
        }
        if !sum.is_finite() {
            return Ok(numeric(&Numeric::NAN));
        }
        let n = Numeric::from(count);
        let numerator = n.mul(&squares)?.sub(&sum.mul(&sum)?)?;
        if numerator.is_zero() || numerator.is_negative() {
            return Ok(numeric(&Numeric::zero()));
        }
        let divisor = n.mul(&Numeric::from(if SAMPLE { count - 1 } else { count }))?;
        let variance = numerator.div(&divisor)?;
        match ROOT {
            true => Ok(numeric(&variance.sqrt_to_scale(variance.scale().unwrap_or(0))?)),
            false => Ok(numeric(&variance)),
        }
    }
}

fn overflow() -> Error {
    Error::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "value out of range: overflow")
}

macro_rules! float_sum {
    ($name:ident, $float:ty, $word:literal) => {
        /// Added one by one, as Postgres adds.
        #[derive(Default)]
        struct $name(Option<$float>);

        impl Accumulator for $name {
            fn step(&mut self, arguments: &Arguments<'_>) -> Result<()> {
                let value = arguments.real(0)? as $float;
                let Some(sum) = self.0 else {
                    self.0 = Some(value);
                    return Ok(());
                };
                let total = sum + value;
                if total.is_infinite() && sum.is_finite() && value.is_finite() {
                    return Err(overflow());
                }
                self.0 = Some(total);
                Ok(())
            }

            fn inverse(&mut self, _: &Arguments<'_>) -> Result<()> {
                Err(no_moving_frame($word))
            }

            fn value(&self) -> Result<Value> {
                Ok(self.0.map_or(Value::Null, |sum| Value::Real(f64::from(sum))))
            }
        }
    };
}

float_sum!(SumFloat4, f32, "sum of real");
float_sum!(SumFloat8, f64, "sum of double precision");

/// The Youngs-Cramer state of `float8_accum`: count, sum, and sum of squared differences from the mean.
#[derive(Default)]
struct Moments {
    count: f64,
    sum: f64,
    squares: f64,
}

impl Moments {
    fn add(&mut self, value: f64) -> Result<()> {
        let before = self.sum;
        self.count += 1.0;
        self.sum += value;
        if self.count > 1.0 {
            let distance = value * self.count - self.sum;
            self.squares += distance * distance / (self.count * (self.count - 1.0));
            if (self.sum.is_infinite() || self.squares.is_infinite()) && before.is_finite() && value.is_finite() {
                return Err(overflow());
            }
        } else if !value.is_finite() {
            self.squares = f64::NAN;
        }
        Ok(())
    }
}

#[derive(Default)]
struct AvgFloat8(Moments);

impl Accumulator for AvgFloat8 {
    fn step(&mut self, arguments: &Arguments<'_>) -> Result<()> {
        self.0.add(arguments.real(0)?)
    }

    fn inverse(&mut self, _: &Arguments<'_>) -> Result<()> {
        Err(no_moving_frame("avg of floating-point values"))
    }

    fn value(&self) -> Result<Value> {
        Ok(if self.0.count == 0.0 { Value::Null } else { Value::Real(self.0.sum / self.0.count) })
    }
}

#[derive(Default)]
struct FloatSpread<const SAMPLE: bool, const ROOT: bool>(Moments);

impl<const SAMPLE: bool, const ROOT: bool> Accumulator for FloatSpread<SAMPLE, ROOT> {
    fn step(&mut self, arguments: &Arguments<'_>) -> Result<()> {
        self.0.add(arguments.real(0)?)
    }

    fn inverse(&mut self, _: &Arguments<'_>) -> Result<()> {
        Err(no_moving_frame("a variance of floating-point values"))
    }

    fn value(&self) -> Result<Value> {
        let least = if SAMPLE { 2.0 } else { 1.0 };
        if self.0.count < least {
            return Ok(Value::Null);
        }
        let variance = self.0.squares / if SAMPLE { self.0.count - 1.0 } else { self.0.count };
        Ok(Value::Real(if ROOT { variance.sqrt() } else { variance }))
    }
}

#[derive(Default)]
struct IntervalSum {
    sum: Interval,
    count: i64,
}

impl IntervalSum {
    fn add(&mut self, arguments: &Arguments<'_>) -> Result<()> {
        self.sum = self.sum.checked_add(&arguments.interval(0)?)?;
        self.count += 1;
        Ok(())
    }

    fn remove(&mut self, arguments: &Arguments<'_>) -> Result<()> {
        self.sum = self.sum.checked_sub(&arguments.interval(0)?)?;
        self.count -= 1;
        Ok(())
    }
}

macro_rules! intervals {
    ($name:ident, $value:expr) => {
        #[derive(Default)]
        struct $name(IntervalSum);

        impl Accumulator for $name {
            fn step(&mut self, arguments: &Arguments<'_>) -> Result<()> {
                self.0.add(arguments)
            }

            fn inverse(&mut self, arguments: &Arguments<'_>) -> Result<()> {
                self.0.remove(arguments)
            }

            fn value(&self) -> Result<Value> {
                match self.0.count {
                    0 => Ok(Value::Null),
                    _ => $value(&self.0).map(interval),
                }
            }
        }
    };
}

intervals!(SumInterval, |state: &IntervalSum| Ok::<_, Error>(state.sum));
intervals!(AvgInterval, |state: &IntervalSum| state.sum.divide(state.count as f64));

/// min or max of intervals: how often each is in the frame, by key; of equal ones the first is shown.
#[derive(Default)]
struct Extreme<const GREATEST: bool>(BTreeMap<[u8; 16], (Vec<u8>, u64)>);

impl<const GREATEST: bool> Accumulator for Extreme<GREATEST> {
    fn step(&mut self, arguments: &Arguments<'_>) -> Result<()> {
        let value = arguments.interval(0)?;
        self.0.entry(value.key()).or_insert_with(|| (value.to_binary().to_vec(), 0)).1 += 1;
        Ok(())
    }

    fn inverse(&mut self, arguments: &Arguments<'_>) -> Result<()> {
        let key = arguments.interval(0)?.key();
        if let Some((_, count)) = self.0.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(&key);
            }
        }
        Ok(())
    }

    fn value(&self) -> Result<Value> {
        let extreme = if GREATEST { self.0.last_key_value() } else { self.0.first_key_value() };
        Ok(extreme.map_or(Value::Null, |(_, (bytes, _))| Value::Blob(bytes.clone())))
    }
}
