//! Postgres's binary format of numeric: base-10,000 digits.
//!
//! It is what drivers that ask for binary results decode, digit for digit, including the display scale.

use bytes::{Buf, BytesMut};
use num_bigint::{BigInt, BigUint, Sign};

use super::{MAX_SCALE, Numeric, power_of_ten, rescale, write_text_as_binary};
use crate::error::{Error, Result, SqlState};

impl Numeric {
    pub fn from_binary(bytes: &[u8]) -> Result<Numeric> {
        let mut bytes = bytes;
        if bytes.len() < 8 {
            return Err(invalid("insufficient data left in message"));
        }
        let count = usize::from(bytes.get_u16());
        let weight = i64::from(bytes.get_i16());
        let sign = bytes.get_u16();
        let scale = u32::from(bytes.get_u16());
        if bytes.len() < count * 2 {
            return Err(invalid("insufficient data left in message"));
        }
        if bytes.len() > count * 2 {
            return Err(invalid("incorrect binary data format"));
        }
        let sign = match sign {
            0x0000 => Sign::Plus,
            0x4000 => Sign::Minus,
            0xC000 => return Ok(Numeric::NAN),
            0xD000 => return Ok(Numeric::INFINITY),
            0xF000 => return Ok(Numeric::NEGATIVE_INFINITY),
            _ => return Err(invalid("invalid sign in external \"numeric\" value")),
        };
        if scale > MAX_SCALE {
            return Err(invalid("invalid scale in external \"numeric\" value"));
        }
        let mut digits = Vec::with_capacity(count * 4);
        while bytes.has_remaining() {
            let digit = bytes.get_i16();
            if !(0..10_000).contains(&digit) {
                return Err(invalid("invalid digit in external \"numeric\" value"));
            }
            digits.extend([digit / 1000, digit / 100 % 10, digit / 10 % 10, digit % 10].map(|d| d as u8));
        }
        let magnitude = BigUint::from_radix_be(&digits, 10).unwrap_or_default();
        // The last digit's exponent; digits below the display scale are cut off, as Postgres does.
        let places = (count as i64 - 1 - weight) * 4;
        let coefficient = BigInt::from_biguint(sign, magnitude);
        Ok(match places {
            ..0 => Numeric::checked(coefficient * power_of_ten((i64::from(scale) - places) as u32), scale)?,
            _ if places as u32 <= scale => Numeric::finite(rescale(&coefficient, places as u32, scale), scale),
            _ => Numeric::finite(coefficient / power_of_ten(places as u32 - scale), scale),
        })
    }

    pub fn write_binary(&self, out: &mut BytesMut) {
        write_text_as_binary(&self.to_string(), out);
    }
}

fn invalid(message: &str) -> Error {
    Error::new(SqlState::INVALID_BINARY_REPRESENTATION, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binary_round_trips_with_its_scale() {
        for text in [
            "0",
            "0.00",
            "-0.5",
            "1.10",
            "10000",
            "100000000",
            "1.00010000",
            "0.000012",
            "99999999.99990001",
            "NaN",
            "Infinity",
            "-Infinity",
            "123456789012345678901234567890.123456789",
            "12345678",
            "0.1000",
        ] {
            let mut out = BytesMut::new();
            Numeric::parse(text).unwrap().write_binary(&mut out);
            assert_eq!(Numeric::from_binary(&out).unwrap().to_string(), text);
        }
    }

    #[test]
    fn the_bytes_are_those_of_postgres() {
        let mut out = BytesMut::new();
        Numeric::parse("-12345.670").unwrap().write_binary(&mut out);
        assert_eq!(&out[..], [0, 3, 0, 1, 0x40, 0, 0, 3, 0, 1, 0x09, 0x29, 0x1a, 0x2c]);
    }

    #[test]
    fn malformed_bytes_are_errors() {
        for bytes in
            [&[0u8, 1][..], &[0, 1, 0, 0, 0, 0, 0, 0], &[0, 1, 0, 0, 0, 0, 0, 0, 0x27, 0x10], &[0, 0, 0, 0, 1, 0, 0, 0]]
        {
            assert_eq!(Numeric::from_binary(bytes).unwrap_err().sqlstate(), SqlState::INVALID_BINARY_REPRESENTATION);
        }
    }
}
