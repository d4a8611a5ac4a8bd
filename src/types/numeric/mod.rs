//! Postgres's numeric: exact decimals with a display scale.
//!
//! A number is a big integer and the count of its decimal places, so that sums and products are exact by construction.
//! The scale of every result, and where it is rounded, follow Postgres's `numeric.c`; clients see those digits.
//!
//! <https://www.postgresql.org/docs/current/datatype-numeric.html>

mod arithmetic;
mod binary;
mod convert;
mod functions;
mod text;

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

use num_bigint::{BigInt, BigUint, Sign};

use crate::error::{Error, Result, SqlState};

pub use text::compare_texts;
pub(crate) use text::write_text_as_binary;

/// Most decimal places that a value can show.
const MAX_SCALE: u32 = 16_383;
/// Most decimal digits before the point.
const MAX_INTEGER_DIGITS: i64 = 131_072;
/// Most decimal places of a quotient, root or logarithm.
const MAX_RESULT_SCALE: i64 = 1_000;
/// Digits that a quotient, root or logarithm shows at least.
const MIN_SIGNIFICANT_DIGITS: i64 = 16;

/// A value of type numeric. Compared and hashed by value: `1.0` equals `1.00`, NaN equals NaN and is the greatest.
#[derive(Clone, Debug)]
pub struct Numeric(Kind);

#[derive(Clone, Debug)]
enum Kind {
    NegativeInfinity,
    /// coefficient / 10^scale
    Finite {
        coefficient: BigInt,
        scale: u32,
    },
    Infinity,
    NaN,
}

impl Numeric {
    pub const NAN: Numeric = Numeric(Kind::NaN);
    pub const INFINITY: Numeric = Numeric(Kind::Infinity);
    pub const NEGATIVE_INFINITY: Numeric = Numeric(Kind::NegativeInfinity);

    /// `coefficient / 10^scale`, without a check of its size: for values that are known to be small.
    fn finite(coefficient: BigInt, scale: u32) -> Numeric {
        Numeric(Kind::Finite { coefficient, scale })
    }

    /// As `finite`, or 22003 when Postgres's format could not hold the result.
    fn checked(coefficient: BigInt, scale: u32) -> Result<Numeric> {
        let (mut coefficient, mut scale) = (coefficient, scale);
        if scale > MAX_SCALE {
            coefficient = rescale(&coefficient, scale, MAX_SCALE);
            scale = MAX_SCALE;
        }
        // 3.3219 bits a digit: only near the limit are the digits counted.
        if coefficient.bits() > 400_000 && digit_count(coefficient.magnitude()) - i64::from(scale) > MAX_INTEGER_DIGITS
        {
            return Err(overflow());
        }
        Ok(Numeric::finite(coefficient, scale))
    }

    pub fn zero() -> Numeric {
        Numeric::finite(BigInt::ZERO, 0)
    }

    pub fn is_nan(&self) -> bool {
        matches!(self.0, Kind::NaN)
    }

    pub fn is_finite(&self) -> bool {
        matches!(self.0, Kind::Finite { .. })
    }

    pub fn is_zero(&self) -> bool {
        matches!(&self.0, Kind::Finite { coefficient, .. } if coefficient.sign() == Sign::NoSign)
    }

    pub fn is_negative(&self) -> bool {
        match &self.0 {
            Kind::NegativeInfinity => true,
            Kind::Finite { coefficient, .. } => coefficient.sign() == Sign::Minus,
            Kind::Infinity | Kind::NaN => false,
        }
    }

    /// The decimal places that the value shows; `None` for NaN and the infinities.
    pub fn scale(&self) -> Option<u32> {
        match &self.0 {
            Kind::Finite { scale, .. } => Some(*scale),
            _ => None,
        }
    }

    /// The value without trailing zeros after the point.
    #[must_use]
    pub fn normalized(&self) -> Numeric {
        let Kind::Finite { coefficient, scale } = &self.0 else { return self.clone() };
        let (mut coefficient, mut scale) = (coefficient.clone(), *scale);
        if coefficient.sign() == Sign::NoSign {
            return Numeric::zero();
        }
        let ten = BigInt::from(10);
        while scale > 0 {
            let quotient = &coefficient / &ten;
            if &quotient * &ten != coefficient {
                break;
            }
            coefficient = quotient;
            scale -= 1;
        }
        Numeric::finite(coefficient, scale)
    }

    /// The base-10,000 exponent of the first base-10,000 digit, and that digit; zero has (0, 0).
    fn leading_digit(&self) -> (i64, i64) {
        let Kind::Finite { coefficient, scale } = &self.0 else { return (0, 0) };
        if coefficient.sign() == Sign::NoSign {
            return (0, 0);
        }
        let digits = coefficient.magnitude().to_string();
        let exponent = digits.len() as i64 - 1 - i64::from(*scale);
        let weight = exponent.div_euclid(4);
        let wanted = (exponent - weight * 4 + 1) as usize;
        let mut first = 0i64;
        for index in 0..wanted {
            first = first * 10 + digits.as_bytes().get(index).map_or(0, |digit| i64::from(digit - b'0'));
        }
        (weight, first)
    }
}

impl Ord for Numeric {
    fn cmp(&self, other: &Numeric) -> Ordering {
        let rank = |kind: &Kind| match kind {
            Kind::NegativeInfinity => 0,
            Kind::Finite { .. } => 1,
            Kind::Infinity => 2,
            Kind::NaN => 3,
        };
        match (&self.0, &other.0) {
            (Kind::Finite { coefficient: a, scale: x }, Kind::Finite { coefficient: b, scale: y }) => {
                if x == y || a.sign() != b.sign() {
                    return a.cmp(b);
                }
                let common = (*x).max(*y);
                rescale(a, *x, common).cmp(&rescale(b, *y, common))
            }
            (a, b) => rank(a).cmp(&rank(b)),
        }
    }
}

impl PartialOrd for Numeric {
    fn partial_cmp(&self, other: &Numeric) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Numeric {
    fn eq(&self, other: &Numeric) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Numeric {}

impl Hash for Numeric {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self.normalized().0 {
            Kind::NegativeInfinity => 0u8.hash(state),
            Kind::Finite { coefficient, scale } => (1u8, coefficient, scale).hash(state),
            Kind::Infinity => 2u8.hash(state),
            Kind::NaN => 3u8.hash(state),
        }
    }
}

/// 10^exponent. Callers bound the exponent.
fn power_of_ten(exponent: u32) -> BigInt {
    match 10u128.checked_pow(exponent) {
        Some(power) => BigInt::from(power),
        None => BigInt::from(10).pow(exponent),
    }
}

/// The coefficient at another scale, rounded half away from zero when places are cut.
fn rescale(coefficient: &BigInt, from: u32, to: u32) -> BigInt {
    match from.cmp(&to) {
        Ordering::Equal => coefficient.clone(),
        Ordering::Less => coefficient * power_of_ten(to - from),
        Ordering::Greater => divide_rounding(coefficient, &power_of_ten(from - to)),
    }
}

/// The quotient rounded half away from zero. The divisor is not zero.
fn divide_rounding(dividend: &BigInt, divisor: &BigInt) -> BigInt {
    let quotient = dividend / divisor;
    let remainder = dividend - &quotient * divisor;
    if (remainder.magnitude() << 1u8) < *divisor.magnitude() {
        return quotient;
    }
    match dividend.sign() == divisor.sign() {
        true => quotient + 1,
        false => quotient - 1,
    }
}

fn digit_count(magnitude: &BigUint) -> i64 {
    magnitude.to_string().len() as i64
}

fn overflow() -> Error {
    Error::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "value overflows numeric format")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn n(text: &str) -> Numeric {
        Numeric::parse(text).unwrap()
    }

    #[test]
    fn order_is_by_value_with_nan_greatest() {
        let ordered = ["-Infinity", "-10", "-9.99", "0", "0.001", "1", "1e3", "Infinity", "NaN"];
        for (i, a) in ordered.iter().enumerate() {
            for (j, b) in ordered.iter().enumerate() {
                assert_eq!(n(a).cmp(&n(b)), i.cmp(&j), "{a} {b}");
                assert_eq!(compare_texts(&n(a).to_string(), &n(b).to_string()), i.cmp(&j), "{a} {b}");
            }
        }
        assert_eq!(n("1.0"), n("1.000"));
        assert_eq!(n("-0"), n("0.00"));
    }
}
