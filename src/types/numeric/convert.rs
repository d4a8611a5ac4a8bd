//! Numerics from and to Rust's numbers, and Postgres's integers and floats.

use num_bigint::{BigInt, Sign};

use super::{Kind, Numeric};
use crate::error::{Error, Result, SqlState};

macro_rules! from_integer {
    ($($integer:ty)*) => {$(
        impl From<$integer> for Numeric {
            fn from(value: $integer) -> Numeric {
                Numeric::finite(BigInt::from(value), 0)
            }
        }
    )*};
}

from_integer!(i16 i32 i64 i128 u32 u64);

impl Numeric {
    /// `coefficient / 10^scale`.
    pub fn from_parts(coefficient: i128, scale: u16) -> Numeric {
        Numeric::finite(BigInt::from(coefficient), u32::from(scale))
    }

    /// As Postgres casts double precision: 15 significant digits.
    pub fn from_f64(value: f64) -> Result<Numeric> {
        Numeric::from_float(value, 14)
    }

    /// As Postgres casts real: 6 significant digits.
    pub fn from_f32(value: f32) -> Result<Numeric> {
        Numeric::from_float(f64::from(value), 5)
    }

    fn from_float(value: f64, places: usize) -> Result<Numeric> {
        if value.is_nan() {
            return Ok(Numeric::NAN);
        }
        if value.is_infinite() {
            return Ok(Numeric::infinity(value < 0.0));
        }
        // What `%.15g` prints: the digits without trailing zeros.
        let text = format!("{value:.places$e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let mantissa = match mantissa.contains('.') {
            true => mantissa.trim_end_matches('0').trim_end_matches('.'),
            false => mantissa,
        };
        Numeric::parse(&format!("{mantissa}e{exponent}"))
    }

    /// The nearest double; too large is 22003.
    pub fn to_f64(&self) -> Result<f64> {
        match &self.0 {
            Kind::NaN => Ok(f64::NAN),
            Kind::Infinity => Ok(f64::INFINITY),
            Kind::NegativeInfinity => Ok(f64::NEG_INFINITY),
            Kind::Finite { .. } => {
                let text = self.to_string();
                match text.parse::<f64>() {
                    Ok(value) if value.is_finite() && (value != 0.0 || self.is_zero()) => Ok(value),
                    _ => Err(Error::new(
                        SqlState::NUMERIC_VALUE_OUT_OF_RANGE,
                        format!("\"{text}\" is out of range for type double precision"),
                    )),
                }
            }
        }
    }

    /// Rounded half away from zero; `None` when it does not fit, or for NaN and the infinities.
    pub fn to_i128(&self) -> Option<i128> {
        let Kind::Finite { coefficient, .. } = &self.round(0).0 else { return None };
        i128::try_from(coefficient).ok()
    }

    /// Rounded half away from zero, as Postgres casts numeric to an integer type named `type_name` ("bigint").
    pub fn to_integer<T: TryFrom<i128>>(&self, type_name: &str) -> Result<T> {
        let special = |what: &str| {
            Err(Error::new(SqlState::FEATURE_NOT_SUPPORTED, format!("cannot convert {what} to {type_name}")))
        };
        match &self.0 {
            Kind::NaN => return special("NaN"),
            Kind::Infinity | Kind::NegativeInfinity => return special("infinity"),
            Kind::Finite { .. } => {}
        }
        self.to_i128()
            .and_then(|value| T::try_from(value).ok())
            .ok_or_else(|| Error::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, format!("{type_name} out of range")))
    }

    /// The double nearest the value, or an infinity: for estimates.
    pub(super) fn estimate(&self) -> f64 {
        match &self.0 {
            Kind::Finite { .. } => self.to_string().parse().unwrap_or(f64::NAN),
            _ => f64::NAN,
        }
    }

    pub(super) fn is_odd_integer(&self) -> Option<bool> {
        match &self.normalized().0 {
            Kind::Finite { coefficient, scale: 0 } => Some(coefficient.bit(0) && coefficient.sign() != Sign::NoSign),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_become_numerics_of_fifteen_digits() {
        for (value, text) in [
            (0.1, "0.1"),
            (1e20, "100000000000000000000"),
            (1.0 / 3.0, "0.333333333333333"),
            (-2.5, "-2.5"),
            (0.0, "0"),
        ] {
            assert_eq!(Numeric::from_f64(value).unwrap().to_string(), text);
        }
        assert_eq!(Numeric::from_f32(0.1).unwrap().to_string(), "0.1");
    }

    #[test]
    fn integers_round_half_away_and_are_checked() {
        let integer = |text: &str| Numeric::parse(text).unwrap().to_integer::<i16>("smallint");
        assert_eq!(integer("2.5").unwrap(), 3);
        assert_eq!(integer("-2.5").unwrap(), -3);
        assert_eq!(integer("40000").unwrap_err().message(), "smallint out of range");
        assert_eq!(integer("NaN").unwrap_err().message(), "cannot convert NaN to smallint");
    }
}
