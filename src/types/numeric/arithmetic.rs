//! Sums, products, quotients and roundings, with the scales of Postgres.

use num_bigint::{BigInt, Sign};

use super::{
    Kind, MAX_RESULT_SCALE, MAX_SCALE, MIN_SIGNIFICANT_DIGITS, Numeric, digit_count, divide_rounding, overflow,
    power_of_ten, rescale,
};
use crate::error::{Error, Result, SqlState};

/// Which way a value is cut to a scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rounding {
    HalfAwayFromZero,
    TowardsZero,
    Up,
    Down,
}

impl Numeric {
    pub fn add(&self, other: &Numeric) -> Result<Numeric> {
        match (&self.0, &other.0) {
            (Kind::Finite { coefficient: a, scale: x }, Kind::Finite { coefficient: b, scale: y }) => {
                let scale = (*x).max(*y);
                let sum = if x == y { a + b } else { rescale(a, *x, scale) + rescale(b, *y, scale) };
                Numeric::checked(sum, scale)
            }
            (Kind::NaN, _)
            | (_, Kind::NaN)
            | (Kind::Infinity, Kind::NegativeInfinity)
            | (Kind::NegativeInfinity, Kind::Infinity) => Ok(Numeric::NAN),
            (Kind::Finite { .. }, _) => Ok(other.clone()),
            _ => Ok(self.clone()),
        }
    }

    pub fn sub(&self, other: &Numeric) -> Result<Numeric> {
        self.add(&other.neg())
    }

    pub fn mul(&self, other: &Numeric) -> Result<Numeric> {
        match (&self.0, &other.0) {
            (Kind::Finite { coefficient: a, scale: x }, Kind::Finite { coefficient: b, scale: y }) => {
                Numeric::checked(a * b, x + y)
            }
            (Kind::NaN, _) | (_, Kind::NaN) => Ok(Numeric::NAN),
            _ if self.is_zero() || other.is_zero() => Ok(Numeric::NAN),
            _ => Ok(Numeric::infinity(self.is_negative() != other.is_negative())),
        }
    }

    pub fn div(&self, other: &Numeric) -> Result<Numeric> {
        self.check_divisor(other)?;
        match (&self.0, &other.0) {
            (Kind::Finite { .. }, Kind::Finite { .. }) => self.divide_to_scale(other, self.quotient_scale(other)),
            (Kind::NaN, _) | (_, Kind::NaN) => Ok(Numeric::NAN),
            (Kind::Finite { .. }, _) => Ok(Numeric::zero()),
            (_, Kind::Finite { .. }) => Ok(Numeric::infinity(self.is_negative() != other.is_negative())),
            _ => Ok(Numeric::NAN),
        }
    }

    /// The quotient without its fraction: Postgres's `div(a, b)`.
    pub fn div_trunc(&self, other: &Numeric) -> Result<Numeric> {
        self.check_divisor(other)?;
        match (&self.0, &other.0) {
            (Kind::Finite { coefficient: a, scale: x }, Kind::Finite { coefficient: b, scale: y }) => {
                let common = (*x).max(*y);
                Numeric::checked(rescale(a, *x, common) / rescale(b, *y, common), 0)
            }
            _ => self.div(other),
        }
    }

    /// The remainder, with the sign of the dividend.
    pub fn rem(&self, other: &Numeric) -> Result<Numeric> {
        self.check_divisor(other)?;
        match (&self.0, &other.0) {
            (Kind::Finite { coefficient: a, scale: x }, Kind::Finite { coefficient: b, scale: y }) => {
                let common = (*x).max(*y);
                Ok(Numeric::finite(rescale(a, *x, common) % rescale(b, *y, common), common))
            }
            (Kind::Finite { .. }, Kind::Infinity | Kind::NegativeInfinity) => Ok(self.clone()),
            _ => Ok(Numeric::NAN),
        }
    }

    fn check_divisor(&self, divisor: &Numeric) -> Result<()> {
        match divisor.is_zero() && !self.is_nan() {
            true => Err(division_by_zero()),
            false => Ok(()),
        }
    }

    /// `select_div_scale`: at least 16 significant digits, and no fewer places than either operand shows.
    fn quotient_scale(&self, other: &Numeric) -> u32 {
        let (weight, first) = self.leading_digit();
        let (other_weight, other_first) = other.leading_digit();
        let quotient_weight = weight - other_weight - i64::from(first <= other_first);
        let scale = MIN_SIGNIFICANT_DIGITS - quotient_weight * 4;
        let shown = self.scale().unwrap_or(0).max(other.scale().unwrap_or(0));
        scale.max(i64::from(shown)).clamp(0, MAX_RESULT_SCALE) as u32
    }

    pub(super) fn divide_to_scale(&self, other: &Numeric, result_scale: u32) -> Result<Numeric> {
        let (Kind::Finite { coefficient: a, scale: x }, Kind::Finite { coefficient: b, scale: y }) =
            (&self.0, &other.0)
        else {
            return Ok(Numeric::NAN);
        };
        if b.sign() == Sign::NoSign {
            return Err(division_by_zero());
        }
        let shift = i64::from(result_scale) + i64::from(*y) - i64::from(*x);
        let quotient = match shift {
            0.. => divide_rounding(&(a * power_of_ten(shift as u32)), b),
            _ => divide_rounding(a, &(b * power_of_ten(-shift as u32))),
        };
        Numeric::checked(quotient, result_scale)
    }

    #[must_use]
    pub fn neg(&self) -> Numeric {
        match &self.0 {
            Kind::NaN => Numeric::NAN,
            Kind::Infinity => Numeric::NEGATIVE_INFINITY,
            Kind::NegativeInfinity => Numeric::INFINITY,
            Kind::Finite { coefficient, scale } => Numeric::finite(-coefficient, *scale),
        }
    }

    #[must_use]
    pub fn abs(&self) -> Numeric {
        if self.is_negative() { self.neg() } else { self.clone() }
    }

    /// -1, 0 or 1; NaN of NaN.
    #[must_use]
    pub fn signum(&self) -> Numeric {
        match &self.0 {
            Kind::NaN => Numeric::NAN,
            _ if self.is_zero() => Numeric::zero(),
            _ => Numeric::from(if self.is_negative() { -1i64 } else { 1 }),
        }
    }

    /// Rounded half away from zero to `places` after the point; negative places round before it.
    #[must_use]
    pub fn round(&self, places: i32) -> Numeric {
        self.cut(places, Rounding::HalfAwayFromZero)
    }

    #[must_use]
    pub fn trunc(&self, places: i32) -> Numeric {
        self.cut(places, Rounding::TowardsZero)
    }

    #[must_use]
    pub fn ceil(&self) -> Numeric {
        self.cut(0, Rounding::Up)
    }

    #[must_use]
    pub fn floor(&self) -> Numeric {
        self.cut(0, Rounding::Down)
    }

    fn cut(&self, places: i32, rounding: Rounding) -> Numeric {
        let Kind::Finite { coefficient, scale } = &self.0 else { return self.clone() };
        let places = places.clamp(-131_072, MAX_SCALE as i32);
        let shown = places.max(0) as u32;
        let dropped = i64::from(*scale) - i64::from(places);
        if dropped <= 0 {
            // Rounding never lowers the scale below what is asked, and shows the places that are asked for.
            let kept = if matches!(rounding, Rounding::Up | Rounding::Down) { 0 } else { shown };
            return Numeric::finite(rescale(coefficient, *scale, kept.max(*scale)), kept.max(*scale));
        }
        if dropped > digit_count(coefficient.magnitude()) + 1 && rounding != Rounding::Up && rounding != Rounding::Down
        {
            return Numeric::finite(BigInt::ZERO, shown);
        }
        let unit = power_of_ten(dropped as u32);
        let quotient = match rounding {
            Rounding::HalfAwayFromZero => divide_rounding(coefficient, &unit),
            Rounding::TowardsZero => coefficient / &unit,
            Rounding::Up | Rounding::Down => {
                let quotient = coefficient / &unit;
                let exact = &quotient * &unit == *coefficient;
                match (rounding, coefficient.sign()) {
                    (Rounding::Up, Sign::Plus) if !exact => quotient + 1,
                    (Rounding::Down, Sign::Minus) if !exact => quotient - 1,
                    _ => quotient,
                }
            }
        };
        let back = if places < 0 { power_of_ten(places.unsigned_abs()) } else { BigInt::from(1) };
        Numeric::finite(quotient * back, shown)
    }

    pub(super) fn infinity(negative: bool) -> Numeric {
        if negative { Numeric::NEGATIVE_INFINITY } else { Numeric::INFINITY }
    }

    /// The value as a column `numeric(precision, scale)` holds it, or 22003.
    pub fn with_precision(&self, precision: u32, scale: i32) -> Result<Numeric> {
        let Kind::Finite { .. } = &self.0 else {
            return match self.is_nan() {
                true => Ok(self.clone()),
                false => Err(field_overflow(precision, scale, "cannot hold an infinite value")),
            };
        };
        let rounded = self.round(scale);
        let Kind::Finite { coefficient, scale: shown } = &rounded.0 else { return Err(overflow()) };
        let digits = match coefficient.sign() {
            Sign::NoSign => return Ok(rounded),
            _ => digit_count(coefficient.magnitude()) - i64::from(*shown),
        };
        let most = i64::from(precision) - i64::from(scale);
        if digits > most {
            let bound = if most == 0 { "1".to_owned() } else { format!("10^{most}") };
            let what = format!("must round to an absolute value less than {bound}");
            return Err(field_overflow(precision, scale, &what));
        }
        Ok(rounded)
    }
}

pub(super) fn division_by_zero() -> Error {
    Error::new(SqlState::DIVISION_BY_ZERO, "division by zero")
}

fn field_overflow(precision: u32, scale: i32, what: &str) -> Error {
    Error::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "numeric field overflow")
        .detail(format!("A field with precision {precision}, scale {scale} {what}."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn n(text: &str) -> Numeric {
        Numeric::parse(text).unwrap()
    }

    #[test]
    fn quotients_have_the_scale_of_postgres() {
        // Each taken from PostgreSQL 15.
        for (a, b, quotient) in [
            ("1", "3", "0.33333333333333333333"),
            ("10", "3", "3.3333333333333333"),
            ("100000", "3", "33333.333333333333"),
            ("1", "30000", "0.000033333333333333333333"),
            ("2", "2", "1.00000000000000000000"),
            ("1.50", "7", "0.21428571428571428571"),
            ("123456789012345678901234567890", "7", "17636684144620811271604938270"),
            ("-7", "2", "-3.5000000000000000"),
            ("0", "5", "0.00000000000000000000"),
        ] {
            assert_eq!(n(a).div(&n(b)).unwrap().to_string(), quotient, "{a}/{b}");
        }
        assert_eq!(n("1").div(&n("0.0")).unwrap_err().sqlstate(), SqlState::DIVISION_BY_ZERO);
        assert_eq!(n("NaN").div(&n("0")).unwrap().to_string(), "NaN");
    }

    #[test]
    fn sums_products_and_remainders_keep_scales() {
        assert_eq!(n("1.10").add(&n("2.345")).unwrap().to_string(), "3.445");
        assert_eq!(n("1.10").sub(&n("1.1")).unwrap().to_string(), "0.00");
        assert_eq!(n("1.10").mul(&n("2.30")).unwrap().to_string(), "2.5300");
        assert_eq!(n("-7.5").rem(&n("2")).unwrap().to_string(), "-1.5");
        assert_eq!(n("Infinity").sub(&n("Infinity")).unwrap().to_string(), "NaN");
    }

    #[test]
    fn roundings_are_half_away_from_zero() {
        for (value, places, rounded) in [
            ("2.5", 0, "3"),
            ("-2.5", 0, "-3"),
            ("1.005", 2, "1.01"),
            ("1", 2, "1.00"),
            ("1550", -2, "1600"),
            ("49", -2, "0"),
            ("50", -2, "100"),
            ("0.4", -3, "0"),
        ] {
            assert_eq!(n(value).round(places).to_string(), rounded, "{value} {places}");
        }
        assert_eq!(n("-1.59").trunc(1).to_string(), "-1.5");
        assert_eq!(n("-1.5").ceil().to_string(), "-1");
        assert_eq!(n("-1.5").floor().to_string(), "-2");
        assert_eq!(n("0.01").ceil().to_string(), "1");
    }

    #[test]
    fn a_column_rounds_then_refuses_what_does_not_fit() {
        assert_eq!(n("12.345").with_precision(5, 2).unwrap().to_string(), "12.35");
        let error = n("999.995").with_precision(5, 2).unwrap_err();
        assert_eq!(error.message(), "numeric field overflow");
        assert_eq!(
            error.get_detail(),
            Some("A field with precision 5, scale 2 must round to an absolute value less than 10^3.")
        );
    }
}
