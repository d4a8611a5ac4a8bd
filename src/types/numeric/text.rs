//! Numerics as text, and what can be done with that text alone.
//!
//! SQLite shards store numerics in Postgres's output form. Comparing and encoding them is on the path of every row, so
//! both work on the digits without making a big integer.

use std::cmp::Ordering;
use std::fmt;

use bytes::{BufMut, BytesMut};
use num_bigint::{BigInt, BigUint, Sign};

use super::{Kind, MAX_INTEGER_DIGITS, MAX_SCALE, Numeric, overflow, power_of_ten};
use crate::error::{Error, Result, SqlState};

impl Numeric {
    /// Reads what Postgres's `numeric_in` reads: decimals, exponents, `NaN`, `Infinity`, blanks around.
    pub fn parse(text: &str) -> Result<Numeric> {
        let invalid = || {
            Error::new(
                SqlState::INVALID_TEXT_REPRESENTATION,
                format!("invalid input syntax for type numeric: \"{text}\""),
            )
        };
        let trimmed = text.trim_matches(|c: char| c.is_ascii_whitespace() || c == '\u{b}');
        let (negative, unsigned) = match trimmed.as_bytes().first() {
            Some(b'-') => (true, &trimmed[1..]),
            Some(b'+') => (false, &trimmed[1..]),
            _ => (false, trimmed),
        };
        if unsigned.eq_ignore_ascii_case("nan") && unsigned.len() == trimmed.len() {
            return Ok(Numeric::NAN);
        }
        if unsigned.eq_ignore_ascii_case("infinity") || unsigned.eq_ignore_ascii_case("inf") {
            return Ok(if negative { Numeric::NEGATIVE_INFINITY } else { Numeric::INFINITY });
        }
        let parts = Parts::split(unsigned).ok_or_else(invalid)?;
        parts.number(negative)
    }
}

impl std::str::FromStr for Numeric {
    type Err = Error;

    fn from_str(text: &str) -> Result<Numeric> {
        Numeric::parse(text)
    }
}

/// The digits round the point, and the exponent.
struct Parts<'a> {
    integer: &'a str,
    fraction: &'a str,
    exponent: i64,
}

impl<'a> Parts<'a> {
    fn split(text: &'a str) -> Option<Parts<'a>> {
        let (mantissa, exponent) = match text.find(['e', 'E']) {
            Some(at) => (&text[..at], parse_exponent(&text[at + 1..])?),
            None => (text, 0),
        };
        let (integer, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if integer.len() + fraction.len() == 0 || !digits(integer) || !digits(fraction) {
            return None;
        }
        Some(Parts { integer, fraction, exponent })
    }

    fn number(&self, negative: bool) -> Result<Numeric> {
        let scale = self.fraction.len() as i64 - self.exponent;
        if scale > i64::from(MAX_SCALE) {
            return Err(overflow());
        }
        let integer = self.integer.trim_start_matches('0');
        let fraction = if integer.is_empty() { self.fraction.trim_start_matches('0') } else { self.fraction };
        if integer.is_empty() && fraction.is_empty() {
            return Ok(Numeric::finite(BigInt::ZERO, scale.max(0) as u32));
        }
        let digits = integer.len() as i64 + fraction.len() as i64;
        if digits - scale > MAX_INTEGER_DIGITS {
            return Err(overflow());
        }
        let mut magnitude = match digits {
            0..=38 => BigUint::from(join(integer, fraction)),
            _ => BigUint::parse_bytes(format!("{integer}{fraction}").as_bytes(), 10).ok_or_else(overflow)?,
        };
        if scale < 0 {
            magnitude *= power_of_ten(-scale as u32).magnitude();
        }
        let sign = if negative { Sign::Minus } else { Sign::Plus };
        Ok(Numeric::finite(BigInt::from_biguint(sign, magnitude), scale.max(0) as u32))
    }
}

fn join(integer: &str, fraction: &str) -> u128 {
    integer.bytes().chain(fraction.bytes()).fold(0, |sum, digit| sum * 10 + u128::from(digit - b'0'))
}

/// Bounded, so that hostile exponents cannot overflow the sums made with them.
fn parse_exponent(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let exponent: i64 = text.strip_prefix('+').unwrap_or(text).parse().ok()?;
    (exponent.abs() < i64::from(i32::MAX / 2)).then_some(exponent)
}

impl fmt::Display for Numeric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (coefficient, scale) = match &self.0 {
            Kind::NaN => return f.write_str("NaN"),
            Kind::Infinity => return f.write_str("Infinity"),
            Kind::NegativeInfinity => return f.write_str("-Infinity"),
            Kind::Finite { coefficient, scale } => (coefficient, *scale as usize),
        };
        if coefficient.sign() == Sign::Minus {
            f.write_str("-")?;
        }
        let digits = coefficient.magnitude().to_string();
        if scale == 0 {
            return f.write_str(&digits);
        }
        match digits.len().checked_sub(scale) {
            Some(point) if point > 0 => write!(f, "{}.{}", &digits[..point], &digits[point..]),
            _ => write!(f, "0.{digits:0>scale$}"),
        }
    }
}

/// A number in Postgres's output form, taken apart without being computed.
enum Shape<'a> {
    NegativeInfinity,
    Finite { negative: bool, integer: &'a [u8], fraction: &'a [u8] },
    Infinity,
    NaN,
}

impl<'a> Shape<'a> {
    /// `None` when the text is not in the output form.
    fn of(text: &'a str) -> Option<Shape<'a>> {
        match text {
            "NaN" => return Some(Shape::NaN),
            "Infinity" => return Some(Shape::Infinity),
            "-Infinity" => return Some(Shape::NegativeInfinity),
            _ => {}
        }
        let (negative, unsigned) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let bytes = unsigned.as_bytes();
        let (integer, fraction) = match memchr::memchr(b'.', bytes) {
            Some(point) => (&bytes[..point], &bytes[point + 1..]),
            None => (bytes, &bytes[..0]),
        };
        if integer.is_empty() || !integer.iter().chain(fraction).all(u8::is_ascii_digit) {
            return None;
        }
        Some(Shape::Finite { negative, integer: strip_zeros(integer), fraction })
    }

    fn rank(&self) -> u8 {
        match self {
            Shape::NegativeInfinity => 0,
            Shape::Finite { .. } => 1,
            Shape::Infinity => 2,
            Shape::NaN => 3,
        }
    }
}

fn strip_zeros(digits: &[u8]) -> &[u8] {
    let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
    &digits[zeros..]
}

fn strip_trailing_zeros(digits: &[u8]) -> &[u8] {
    let zeros = digits.iter().rev().take_while(|digit| **digit == b'0').count();
    &digits[..digits.len() - zeros]
}

/// Compares two numerics in Postgres's output form by value, NaN greatest. Other text sorts after all numbers, bytewise.
pub fn compare_texts(left: &str, right: &str) -> Ordering {
    match (Shape::of(left), Shape::of(right)) {
        (
            Some(Shape::Finite { negative: a, integer: ai, fraction: af }),
            Some(Shape::Finite { negative: b, integer: bi, fraction: bf }),
        ) => {
            let (af, bf) = (strip_trailing_zeros(af), strip_trailing_zeros(bf));
            let (a_zero, b_zero) = (ai.is_empty() && af.is_empty(), bi.is_empty() && bf.is_empty());
            let (a, b) = (a && !a_zero, b && !b_zero);
            if a != b {
                return b.cmp(&a);
            }
            let order = ai.len().cmp(&bi.len()).then_with(|| ai.cmp(bi)).then_with(|| af.cmp(bf));
            if a { order.reverse() } else { order }
        }
        (Some(a), Some(b)) => a.rank().cmp(&b.rank()),
        (None, Some(_)) => Ordering::Greater,
        (Some(_), None) => Ordering::Less,
        (None, None) => left.cmp(right),
    }
}

/// Writes the binary form of a numeric that is given in Postgres's output form. False when it is not in that form.
pub(crate) fn write_text_as_binary(text: &str, out: &mut BytesMut) -> bool {
    let (negative, integer, fraction) = match Shape::of(text) {
        None => return false,
        Some(Shape::Finite { negative, integer, fraction }) => (negative, integer, fraction),
        Some(special) => {
            put_header(out, 0, 0, special_sign(&special), 0);
            return true;
        }
    };
    if fraction.len() > MAX_SCALE as usize || integer.len() as i64 > MAX_INTEGER_DIGITS {
        return false;
    }
    let start = out.len();
    put_header(out, 0, 0, 0, fraction.len() as u16);
    let mut weight = integer.len().div_ceil(4) as i32 - 1;
    let mut count = 0i16;
    let mut zeros = 0i16;
    let lead = integer.len() % 4;
    let groups = [&integer[..lead]].into_iter().filter(|group| !group.is_empty()).chain(integer[lead..].chunks(4));
    for digit in groups.map(group_value).chain(fraction.chunks(4).map(fraction_value)) {
        if digit == 0 {
            // Leading zeros lower the weight; zeros inside are written when a digit follows them.
            if count == 0 {
                weight -= 1
            } else {
                zeros += 1
            }
            continue;
        }
        for _ in 0..zeros {
            out.put_i16(0);
        }
        out.put_i16(digit);
        count += 1 + zeros;
        zeros = 0;
    }
    let (weight, sign) = if count == 0 { (0, 0) } else { (weight, if negative { 0x4000 } else { 0 }) };
    let mut header = BytesMut::with_capacity(8);
    put_header(&mut header, count, weight as i16, sign, fraction.len() as u16);
    out[start..start + 8].copy_from_slice(&header);
    true
}

fn special_sign(shape: &Shape<'_>) -> u16 {
    match shape {
        Shape::Infinity => 0xD000,
        Shape::NegativeInfinity => 0xF000,
        _ => 0xC000,
    }
}

fn put_header(out: &mut BytesMut, digits: i16, weight: i16, sign: u16, scale: u16) {
    out.put_i16(digits);
    out.put_i16(weight);
    out.put_u16(sign);
    out.put_u16(scale);
}

fn group_value(digits: &[u8]) -> i16 {
    digits.iter().fold(0, |sum, digit| sum * 10 + i16::from(digit - b'0'))
}

fn fraction_value(digits: &[u8]) -> i16 {
    group_value(digits) * [1, 1000, 100, 10, 1][digits.len().min(4)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips_with_its_scale() {
        for text in ["0", "0.00", "-0.5", "1.10", "123456789012345678901234567890.5", "NaN", "Infinity", "-Infinity"] {
            assert_eq!(Numeric::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn input_forms_are_those_of_postgres() {
        for (text, printed) in [
            (" 12 ", "12"),
            (".5", "0.5"),
            ("5.", "5"),
            ("1e3", "1000"),
            ("1.5e-3", "0.0015"),
            ("+1", "1"),
            ("inf", "Infinity"),
        ] {
            assert_eq!(Numeric::parse(text).unwrap().to_string(), printed, "{text}");
        }
        for text in ["", ".", "e5", "1e", "1.2.3", "--1", "0x10", "1 2", "-nan", "1e99999999999"] {
            let error = Numeric::parse(text).unwrap_err();
            assert_eq!(error.message(), format!("invalid input syntax for type numeric: \"{text}\""));
        }
        for text in ["1e131073", "1e-20000"] {
            assert_eq!(Numeric::parse(text).unwrap_err().sqlstate(), SqlState::NUMERIC_VALUE_OUT_OF_RANGE);
        }
    }
}
