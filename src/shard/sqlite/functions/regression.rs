//! The aggregates of two columns: correlation, covariance and linear regression.
//!
//! Sums are kept by the method of Youngs and Cramer, step by step as Postgres's `float8_regr_accum` keeps them, so that
//! results agree to the last digit.

use rusqlite::Connection;
use rusqlite::types::Value;

use super::aggregates::{Accumulator, add, no_moving_frame};
use super::call::Arguments;
use crate::error::{Error, Result, SqlState};

/// What is known of pairs (y, x).
#[derive(Clone, Copy, Default)]
struct Sums {
    count: f64,
    x: f64,
    xx: f64,
    y: f64,
    yy: f64,
    xy: f64,
}

impl Sums {
    fn add(&mut self, y: f64, x: f64) -> Result<()> {
        let before = *self;
        self.count += 1.0;
        self.x += x;
        self.y += y;
        if before.count == 0.0 {
            if !x.is_finite() {
                (self.xx, self.xy) = (f64::NAN, f64::NAN);
            }
            if !y.is_finite() {
                (self.yy, self.xy) = (f64::NAN, f64::NAN);
            }
            return Ok(());
        }
        let (from_x, from_y) = (x * self.count - self.x, y * self.count - self.y);
        let scale = 1.0 / (self.count * before.count);
        self.xx += from_x * from_x * scale;
        self.yy += from_y * from_y * scale;
        self.xy += from_x * from_y * scale;
        let (infinite_x, infinite_y) =
            (before.x.is_infinite() || x.is_infinite(), before.y.is_infinite() || y.is_infinite());
        let overflow = ((self.x.is_infinite() || self.xx.is_infinite()) && !infinite_x)
            || ((self.y.is_infinite() || self.yy.is_infinite()) && !infinite_y)
            || (self.xy.is_infinite() && !infinite_x && !infinite_y);
        if overflow {
            return Err(Error::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "value out of range: overflow"));
        }
        for sum in [&mut self.xx, &mut self.yy, &mut self.xy] {
            if sum.is_infinite() {
                *sum = f64::NAN;
            }
        }
        Ok(())
    }
}

/// By its place in [`KINDS`].
#[derive(Default)]
struct Regression<const KIND: usize>(Sums);

type Kind = (&'static str, fn(&Sums) -> Option<f64>);

const KINDS: [Kind; 11] = [
    ("pg_corr", |s| (s.xx != 0.0 && s.yy != 0.0).then(|| s.xy / (s.xx * s.yy).sqrt())),
    ("pg_covar_pop", |s| Some(s.xy / s.count)),
    ("pg_covar_samp", |s| (s.count > 1.0).then(|| s.xy / (s.count - 1.0))),
    ("pg_regr_avgx", |s| Some(s.x / s.count)),
    ("pg_regr_avgy", |s| Some(s.y / s.count)),
    ("pg_regr_intercept", |s| (s.xx != 0.0).then(|| (s.y - s.x * s.xy / s.xx) / s.count)),
    ("pg_regr_r2", |s| match (s.xx == 0.0, s.yy == 0.0) {
        (true, _) => None,
        (_, true) => Some(1.0),
        _ => Some((s.xy * s.xy) / (s.xx * s.yy)),
    }),
    ("pg_regr_slope", |s| (s.xx != 0.0).then(|| s.xy / s.xx)),
    ("pg_regr_sxx", |s| Some(s.xx)),
    ("pg_regr_sxy", |s| Some(s.xy)),
    ("pg_regr_syy", |s| Some(s.yy)),
];

impl<const KIND: usize> Accumulator for Regression<KIND> {
    fn step(&mut self, arguments: &Arguments<'_>) -> Result<()> {
        if arguments.is_null(1) {
            return Ok(());
        }
        self.0.add(arguments.real(0)?, arguments.real(1)?)
    }

    fn inverse(&mut self, _: &Arguments<'_>) -> Result<()> {
        Err(no_moving_frame(KINDS[KIND].0.trim_start_matches("pg_")))
    }

    fn value(&self) -> Result<Value> {
        let value = if self.0.count > 0.0 { KINDS[KIND].1(&self.0) } else { None };
        Ok(value.map_or(Value::Null, Value::Real))
    }
}

pub(super) fn register(connection: &Connection) -> rusqlite::Result<()> {
    fn one<const KIND: usize>(connection: &Connection) -> rusqlite::Result<()> {
        add::<Regression<KIND>>(connection, KINDS[KIND].0, 2)
    }
    one::<0>(connection)?;
    one::<1>(connection)?;
    one::<2>(connection)?;
    one::<3>(connection)?;
    one::<4>(connection)?;
    one::<5>(connection)?;
    one::<6>(connection)?;
    one::<7>(connection)?;
    one::<8>(connection)?;
    one::<9>(connection)?;
    one::<10>(connection)
}
