//! Roots, logarithms and powers of numerics.
//!
//! The number of places follows Postgres's rules (`numeric.c`); the digits are computed in fixed point with guard digits,
//! so they are the correctly rounded ones.

use std::f64::consts::LOG10_E;

use num_bigint::{BigInt, Sign};

use super::arithmetic::division_by_zero;
use super::{
    Kind, MAX_INTEGER_DIGITS, MAX_RESULT_SCALE, MIN_SIGNIFICANT_DIGITS, Numeric, digit_count, divide_rounding,
    overflow, power_of_ten, rescale,
};
use crate::error::{Error, Result, SqlState};

/// Beyond this, e to the power of it is past every limit of the format.
const MAX_EXPONENT: f64 = 6_000.0;
/// Digits computed past those that are shown.
const GUARD_DIGITS: u32 = 20;

impl Numeric {
    pub fn sqrt(&self) -> Result<Numeric> {
        if self.is_negative() {
            return Err(Error::new(
                SqlState::INVALID_ARGUMENT_FOR_POWER_FUNCTION,
                "cannot take square root of a negative number",
            ));
        }
        let (weight, _) = self.leading_digit();
        let root_weight = (weight + 1) * 4 / 2 - 1;
        self.sqrt_to_scale(result_scale(MIN_SIGNIFICANT_DIGITS - root_weight, &[self]))
    }

    /// The root of a value that is not negative, rounded to `places`.
    pub fn sqrt_to_scale(&self, places: u32) -> Result<Numeric> {
        let Kind::Finite { coefficient, scale } = &self.0 else { return Ok(self.clone()) };
        // One digit more than shown, then a sticky digit, so that the rounding sees on which side of a half it is.
        let wanted = 2 * (places + 1);
        let radicand = match wanted >= *scale {
            true => coefficient * power_of_ten(wanted - scale),
            false => coefficient / power_of_ten(scale - wanted),
        };
        let root = radicand.sqrt();
        Numeric::checked(rescale(&root, places + 1, places), places)
    }

    pub fn ln(&self) -> Result<Numeric> {
        self.check_logarithm()?;
        if !self.is_finite() {
            return Ok(self.clone());
        }
        let places = result_scale(MIN_SIGNIFICANT_DIGITS - self.ln_weight(), &[self]);
        Ok(self.ln_to_scale(places))
    }

    /// The logarithm of `self` to the given base; `log(x)` has base 10.
    pub fn log(&self, base: &Numeric) -> Result<Numeric> {
        if self.is_nan() || base.is_nan() {
            return Ok(Numeric::NAN);
        }
        base.check_logarithm()?;
        self.check_logarithm()?;
        match (self.is_finite(), base.is_finite()) {
            (true, true) => {}
            (true, false) => return Ok(Numeric::zero()),
            (false, true) => return Ok(Numeric::INFINITY),
            (false, false) => return Ok(Numeric::NAN),
        }
        let (base_weight, weight) = (base.ln_weight(), self.ln_weight());
        let result_weight = weight - base_weight;
        let places = result_scale(MIN_SIGNIFICANT_DIGITS - result_weight, &[self, base]);
        let digits = |weight: i64| (i64::from(places) + result_weight - weight + 12).max(0) as u32;
        let base_logarithm = base.ln_to_scale(digits(base_weight));
        self.ln_to_scale(digits(weight)).divide_to_scale(&base_logarithm, places)
    }

    pub fn exp(&self) -> Result<Numeric> {
        match &self.0 {
            Kind::NegativeInfinity => return Ok(Numeric::zero()),
            Kind::Infinity | Kind::NaN => return Ok(self.clone()),
            Kind::Finite { .. } => {}
        }
        let weight = (self.estimate() * LOG10_E).clamp(-2_000.0, 2_000.0) as i64;
        self.exp_to_scale(result_scale(MIN_SIGNIFICANT_DIGITS - weight, &[self]))
    }

    pub fn power(&self, exponent: &Numeric) -> Result<Numeric> {
        if let Some(result) = self.special_power(exponent)? {
            return Ok(result);
        }
        if self.is_zero() && exponent.is_negative() {
            return Err(power_error("zero raised to a negative power is undefined"));
        }
        let odd = exponent.is_odd_integer();
        if self.is_negative() && odd.is_none() {
            return Err(power_error("a negative number raised to a non-integer power yields a complex result"));
        }
        if let (Some(_), Some(Ok(integer))) = (odd, exponent.to_i128().map(i32::try_from)) {
            return self.power_integer(integer);
        }
        if self.is_zero() {
            return Ok(Numeric::finite(BigInt::ZERO, MIN_SIGNIFICANT_DIGITS as u32));
        }
        let magnitude = self.abs();
        let rough = magnitude.ln_to_scale((8 - magnitude.ln_weight()).max(0) as u32).mul(exponent)?.estimate();
        if rough.abs() > MAX_EXPONENT * 1.0034 {
            return match rough > 0.0 {
                true => Err(overflow()),
                false => Ok(Numeric::finite(BigInt::ZERO, MAX_RESULT_SCALE as u32)),
            };
        }
        let weight = (rough * LOG10_E) as i64;
        let places = result_scale(MIN_SIGNIFICANT_DIGITS - weight, &[self, exponent]);
        let (exponent_weight, _) = exponent.leading_digit();
        let digits = i64::from(places) + weight.max(0) + exponent_weight.max(0) * 4 + i64::from(GUARD_DIGITS);
        let result = magnitude.ln_to_scale(digits as u32).mul(exponent)?.exp_to_scale(places)?;
        Ok(if self.is_negative() && odd == Some(true) { result.neg() } else { result })
    }

    /// Powers that involve NaN or an infinity.
    fn special_power(&self, exponent: &Numeric) -> Result<Option<Numeric>> {
        if self.is_finite() && exponent.is_finite() {
            return Ok(None);
        }
        let one = Numeric::from(1i64);
        if (self.is_nan() && exponent.is_zero()) || (*self == one && exponent.is_nan()) {
            return Ok(Some(one));
        }
        if self.is_nan() || exponent.is_nan() {
            return Ok(Some(Numeric::NAN));
        }
        if self.is_zero() && exponent.is_negative() {
            return Err(power_error("zero raised to a negative power is undefined"));
        }
        if exponent.is_zero() || *self == one {
            return Ok(Some(one));
        }
        if self.is_zero() {
            return Ok(Some(Numeric::zero()));
        }
        if exponent.is_finite() {
            if self.is_negative() && exponent.is_odd_integer().is_none() {
                return Err(power_error("a negative number raised to a non-integer power yields a complex result"));
            }
            let negative = self.is_negative() && exponent.is_odd_integer() == Some(true);
            return Ok(Some(if exponent.is_negative() { Numeric::zero() } else { Numeric::infinity(negative) }));
        }
        let magnitude = self.abs();
        Ok(Some(match magnitude.cmp(&one) {
            std::cmp::Ordering::Equal => one,
            order if (order.is_gt()) != exponent.is_negative() => Numeric::INFINITY,
            _ => Numeric::zero(),
        }))
    }

    fn power_integer(&self, exponent: i32) -> Result<Numeric> {
        let Kind::Finite { coefficient, scale } = &self.0 else { return Ok(Numeric::NAN) };
        let zero = coefficient.sign() == Sign::NoSign;
        let weight = if zero { 0.0 } else { f64::from(exponent) * self.log10_estimate() };
        if weight > MAX_INTEGER_DIGITS as f64 {
            return Err(overflow());
        }
        let places = result_scale(MIN_SIGNIFICANT_DIGITS, &[self]);
        match exponent {
            _ if weight + 2.0 < -f64::from(places) => return Ok(Numeric::finite(BigInt::ZERO, places)),
            0 => return Ok(Numeric::finite(power_of_ten(places), places)),
            1 => return Ok(self.round(places as i32)),
            -1 => return Numeric::from(1i64).divide_to_scale(self, places),
            _ if zero && exponent < 0 => return Err(division_by_zero()),
            _ if zero => return Ok(Numeric::finite(BigInt::ZERO, places)),
            _ => {}
        }
        let digits = (i64::from(places) + weight.max(0.0) as i64).max(0) + 12 + i64::from(GUARD_DIGITS);
        let power = Floating { mantissa: coefficient.clone(), exponent: -i64::from(*scale) }
            .power(exponent.unsigned_abs(), digits as u32);
        power.to_numeric(exponent < 0, places)
    }

    fn log10_estimate(&self) -> f64 {
        let Kind::Finite { coefficient, scale } = &self.0 else { return f64::NAN };
        let digits = coefficient.magnitude().to_string();
        let kept = digits.len().min(17);
        let leading: f64 = digits[..kept].parse().unwrap_or(1.0);
        leading.log10() + (digits.len() - kept) as f64 - f64::from(*scale)
    }

    fn check_logarithm(&self) -> Result<()> {
        let what = match () {
            () if self.is_negative() => "cannot take logarithm of a negative number",
            () if self.is_zero() => "cannot take logarithm of zero",
            () => return Ok(()),
        };
        Err(Error::new(SqlState::INVALID_ARGUMENT_FOR_LOGARITHM, what))
    }

    /// `estimate_ln_dweight`: the decimal weight of the natural logarithm.
    fn ln_weight(&self) -> i64 {
        let Kind::Finite { coefficient, scale } = &self.0 else { return 0 };
        let near = |digits: i128| Numeric::from_parts(digits, 1);
        if *self >= near(9) && *self <= near(11) {
            let distance = coefficient - power_of_ten(*scale);
            return match distance.sign() {
                Sign::NoSign => 0,
                _ => digit_count(distance.magnitude()) - 1 - i64::from(*scale),
            };
        }
        let logarithm = self.log10_estimate() * std::f64::consts::LN_10;
        logarithm.abs().log10() as i64
    }

    /// The natural logarithm of a positive value, correct to `places`.
    fn ln_to_scale(&self, places: u32) -> Numeric {
        let Kind::Finite { coefficient, scale } = &self.0 else { return Numeric::NAN };
        let precision = places + GUARD_DIGITS;
        let one = power_of_ten(precision);
        // self = mantissa * 10^exponent, the mantissa in [1, 10), then halved into [0.7, 1.4).
        let digits = digit_count(coefficient.magnitude());
        let exponent = digits - 1 - i64::from(*scale);
        let shift = i64::from(precision) - (digits - 1);
        let mut mantissa = match shift {
            0.. => coefficient * power_of_ten(shift as u32),
            _ => divide_rounding(coefficient, &power_of_ten(-shift as u32)),
        };
        let mut halvings = 0i64;
        let bound = &one * 14 / 10;
        while mantissa >= bound {
            mantissa >>= 1;
            halvings += 1;
        }
        let ratio = ((&mantissa - &one) * &one) / (&mantissa + &one);
        let (two, ten) = (ln_two(&one), ln_ten(&one));
        let sum = hyperbolic_arctangent(ratio, &one) * 2 + two * halvings + ten * exponent;
        Numeric::finite(rescale(&sum, precision, places), places)
    }

    /// e to the power of a finite value, correct to `places`.
    fn exp_to_scale(&self, places: u32) -> Result<Numeric> {
        let Kind::Finite { coefficient, scale } = &self.0 else { return Ok(Numeric::NAN) };
        let estimate = self.estimate();
        if estimate.abs() >= MAX_EXPONENT {
            return match estimate > 0.0 {
                true => Err(overflow()),
                false => Ok(Numeric::finite(BigInt::ZERO, places)),
            };
        }
        let precision = places + (estimate * LOG10_E).max(0.0) as u32 + GUARD_DIGITS;
        let one = power_of_ten(precision);
        let value = rescale(coefficient, *scale, precision);
        let two = ln_two(&one);
        let doublings = divide_rounding(&value, &two);
        let fraction = value - &doublings * &two;
        let (mut sum, mut term, mut n) = (one.clone(), one.clone(), 0u32);
        while term.sign() != Sign::NoSign {
            n += 1;
            term = term * &fraction / &one / n;
            sum += &term;
        }
        let doublings = i32::try_from(&doublings).unwrap_or(0);
        let sum = if doublings >= 0 { sum << doublings.unsigned_abs() } else { sum >> doublings.unsigned_abs() };
        Numeric::checked(rescale(&sum, precision, places), places)
    }
}

/// The places of a result: at least those that its arguments show, at most a thousand.
fn result_scale(scale: i64, arguments: &[&Numeric]) -> u32 {
    let shown = arguments.iter().filter_map(|argument| argument.scale()).max().unwrap_or(0);
    scale.max(i64::from(shown)).clamp(0, MAX_RESULT_SCALE) as u32
}

/// artanh in fixed point, by its power series.
fn hyperbolic_arctangent(value: BigInt, one: &BigInt) -> BigInt {
    let square = &value * &value / one;
    let (mut sum, mut power, mut n) = (value.clone(), value, 1u32);
    loop {
        power = power * &square / one;
        n += 2;
        let term = &power / n;
        if term.sign() == Sign::NoSign {
            return sum;
        }
        sum += term;
    }
}

fn ln_two(one: &BigInt) -> BigInt {
    hyperbolic_arctangent(one / 3, one) * 2
}

fn ln_ten(one: &BigInt) -> BigInt {
    ln_two(one) * 3 + hyperbolic_arctangent(one / 9, one) * 2
}

/// mantissa * 10^exponent, cut to a number of digits as it grows.
struct Floating {
    mantissa: BigInt,
    exponent: i64,
}

impl Floating {
    fn multiply(&self, other: &Floating, digits: u32) -> Floating {
        let mut product =
            Floating { mantissa: &self.mantissa * &other.mantissa, exponent: self.exponent + other.exponent };
        let excess = (product.mantissa.bits() as f64 * std::f64::consts::LOG10_2) as i64 - i64::from(digits);
        if excess > 0 {
            product.mantissa = divide_rounding(&product.mantissa, &power_of_ten(excess as u32));
            product.exponent += excess;
        }
        product
    }

    fn power(self, exponent: u32, digits: u32) -> Floating {
        let mut result = Floating { mantissa: BigInt::from(1), exponent: 0 };
        let mut base = self;
        let mut left = exponent;
        while left > 0 {
            if left & 1 == 1 {
                result = result.multiply(&base, digits);
            }
            left >>= 1;
            if left > 0 {
                base = base.multiply(&base, digits);
            }
        }
        result
    }

    fn to_numeric(&self, inverted: bool, places: u32) -> Result<Numeric> {
        // The places of the value, or of its inverse, before it is rounded to what is shown.
        let shift = i64::from(places) + if inverted { -self.exponent } else { self.exponent };
        let coefficient = match (inverted, shift) {
            (false, 0..) => &self.mantissa * power_of_ten(shift as u32),
            (false, _) => divide_rounding(&self.mantissa, &power_of_ten(-shift as u32)),
            (true, 0..) => divide_rounding(&power_of_ten(shift as u32), &self.mantissa),
            (true, _) => BigInt::ZERO,
        };
        Numeric::checked(coefficient, places)
    }
}

fn power_error(message: &str) -> Error {
    Error::new(SqlState::INVALID_ARGUMENT_FOR_POWER_FUNCTION, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn n(text: &str) -> Numeric {
        Numeric::parse(text).unwrap()
    }

    // Every expected text was taken from PostgreSQL 15.

    #[test]
    fn roots_and_logarithms_print_as_postgres_prints_them() {
        for (value, root) in [
            ("2", "1.414213562373095"),
            ("10000", "100.0000000000000"),
            ("0.0001", "0.01000000000000000"),
            ("0.0", "0.000000000000000"),
        ] {
            assert_eq!(n(value).sqrt().unwrap().to_string(), root, "sqrt {value}");
        }
        for (value, logarithm) in [
            ("2.0", "0.6931471805599453"),
            ("10", "2.3025850929940457"),
            ("0.00001", "-11.512925464970228"),
            ("1.0", "0.0000000000000000"),
        ] {
            assert_eq!(n(value).ln().unwrap().to_string(), logarithm, "ln {value}");
        }
        assert_eq!(n("100.0").log(&n("10")).unwrap().to_string(), "2.0000000000000000");
        assert_eq!(n("64.0").log(&n("2.0")).unwrap().to_string(), "6.0000000000000000");
    }

    #[test]
    fn powers_print_as_postgres_prints_them() {
        for (value, power) in [("1.0", "2.7182818284590452"), ("0.0", "1.0000000000000000")] {
            assert_eq!(n(value).exp().unwrap().to_string(), power, "exp {value}");
        }
        for (base, exponent, power) in [
            ("0.0", "0", "1.0000000000000000"),
            ("0", "0.5", "0.0000000000000000"),
            ("-2.0", "3", "-8.0000000000000000"),
            ("-2.0", "-3", "-0.1250000000000000"),
            ("1.0000001", "1000000", "1.1051709125497934"),
            ("0.1", "20", "0.0000000000000000"),
            ("10", "30", "1000000000000000000000000000000.0000000000000000"),
            ("2", "0.5", "1.4142135623730950"),
            ("1.5", "2.5", "2.7556759606310754"),
        ] {
            assert_eq!(n(base).power(&n(exponent)).unwrap().to_string(), power, "{base}^{exponent}");
        }
        assert_eq!(n("-8").power(&n("0.5")).unwrap_err().sqlstate(), SqlState::INVALID_ARGUMENT_FOR_POWER_FUNCTION);
        assert_eq!(n("7000").exp().unwrap_err().sqlstate(), SqlState::NUMERIC_VALUE_OUT_OF_RANGE);
    }
}
