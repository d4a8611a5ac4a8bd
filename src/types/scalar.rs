//! Text of the plain types: booleans, integers, floats, uuid and bytea.
//!
//! The messages are Postgres's own, which drivers and tests compare.

use bytes::{BufMut, BytesMut};

use crate::error::{Error, Result, SqlState};

/// The longest name, in bytes: `NAMEDATALEN - 1`.
pub const MAX_NAME_LENGTH: usize = 63;

pub(crate) fn invalid_syntax(type_name: &str, text: &str) -> Error {
    Error::new(SqlState::INVALID_TEXT_REPRESENTATION, format!("invalid input syntax for type {type_name}: \"{text}\""))
}

pub(crate) fn out_of_range(type_name: &str, text: &str) -> Error {
    Error::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, format!("value \"{text}\" is out of range for type {type_name}"))
}

fn is_space(c: char) -> bool {
    c.is_ascii_whitespace() || c == '\u{b}'
}

/// Unique beginnings of true, false, yes, no, and on, off, 1, 0.
pub fn parse_bool(text: &str) -> Result<bool> {
    let word = text.trim_matches(is_space).to_ascii_lowercase();
    let begins = |whole: &str, least: usize| word.len() >= least && whole.starts_with(&word);
    match () {
        () if begins("true", 1) || begins("yes", 1) || word == "on" || word == "1" => Ok(true),
        () if begins("false", 1) || begins("no", 1) || begins("off", 2) || word == "0" => Ok(false),
        () => Err(invalid_syntax("boolean", text)),
    }
}

/// An integer type that text can be read as.
pub trait Integer: Copy + TryFrom<i64> {
    const SQL_NAME: &'static str;
}

impl Integer for i16 {
    const SQL_NAME: &'static str = "smallint";
}
impl Integer for i32 {
    const SQL_NAME: &'static str = "integer";
}
impl Integer for i64 {
    const SQL_NAME: &'static str = "bigint";
}

/// Decimal digits with a sign, blanks around. Not digits: 22P02; too many: 22003.
pub fn parse_integer<T: Integer>(text: &str) -> Result<T> {
    if let Some(value) = plain_digits(text.as_bytes()).and_then(|value| T::try_from(value).ok()) {
        return Ok(value);
    }
    let trimmed = text.trim_matches(is_space);
    let digits = trimmed.strip_prefix(['+', '-']).unwrap_or(trimmed);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(invalid_syntax(T::SQL_NAME, text));
    }
    let value: Option<i64> = trimmed.parse().ok();
    value.and_then(|value| T::try_from(value).ok()).ok_or_else(|| out_of_range(T::SQL_NAME, text))
}

/// Digits alone that surely fit, as almost all integers are written.
#[inline]
fn plain_digits(text: &[u8]) -> Option<i64> {
    if text.is_empty() || text.len() > 18 {
        return None;
    }
    text.iter().try_fold(0, |value, byte| byte.is_ascii_digit().then(|| value * 10 + i64::from(byte - b'0')))
}

/// oid: unsigned, though negative spellings wrap as in Postgres.
pub fn parse_oid(text: &str) -> Result<u32> {
    let trimmed = text.trim_matches(is_space);
    let digits = trimmed.strip_prefix(['+', '-']).unwrap_or(trimmed);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(invalid_syntax("oid", text));
    }
    match trimmed.parse::<i64>() {
        Ok(value) if value >= 0 => u32::try_from(value).map_err(|_| out_of_range("oid", text)),
        Ok(value) => i32::try_from(value).map(|value| value as u32).map_err(|_| out_of_range("oid", text)),
        Err(_) => Err(out_of_range("oid", text)),
    }
}

pub fn parse_f64(text: &str) -> Result<f64> {
    let (value, number) = read_float(text, "double precision")?;
    match number {
        Some(number) if value.is_infinite() || (value == 0.0 && !is_zero(number)) => Err(Error::new(
            SqlState::NUMERIC_VALUE_OUT_OF_RANGE,
            format!("\"{}\" is out of range for type double precision", number.trim()),
        )),
        _ => Ok(value),
    }
}

pub fn parse_f32(text: &str) -> Result<f32> {
    let (value, number) = read_float(text, "real")?;
    let Some(number) = number else { return Ok(value as f32) };
    // Read again: rounding twice is not rounding once.
    match number.parse::<f32>() {
        Ok(value) if value.is_finite() && (value != 0.0 || is_zero(number)) => Ok(value),
        _ => {
            Err(Error::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, format!("\"{number}\" is out of range for type real")))
        }
    }
}

/// The value, and the text of it unless it is NaN or an infinity by name.
fn read_float<'a>(text: &'a str, type_name: &str) -> Result<(f64, Option<&'a str>)> {
    let trimmed = text.trim_matches(is_space);
    let unsigned = trimmed.strip_prefix(['+', '-']).unwrap_or(trimmed);
    let sign = if trimmed.starts_with('-') { -1.0 } else { 1.0 };
    if unsigned.eq_ignore_ascii_case("nan") && unsigned.len() == trimmed.len() {
        return Ok((f64::NAN, None));
    }
    if unsigned.eq_ignore_ascii_case("infinity") || unsigned.eq_ignore_ascii_case("inf") {
        return Ok((sign * f64::INFINITY, None));
    }
    let plain = unsigned.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-'));
    match trimmed.parse::<f64>() {
        Ok(value) if plain => Ok((value, Some(trimmed))),
        _ => Err(invalid_syntax(type_name, text)),
    }
}

fn is_zero(number: &str) -> bool {
    let mantissa = number.split(['e', 'E']).next().unwrap_or(number);
    !mantissa.bytes().any(|byte| matches!(byte, b'1'..=b'9'))
}

/// The shortest text that reads back as the same double: `0.1`, `1e+20`, `Infinity`.
pub fn write_f64(value: f64, out: &mut BytesMut) {
    match special(value) {
        Some(text) => out.extend_from_slice(text.as_bytes()),
        None => {
            match longer_than_shortest(value, value.next_up(), value.next_down(), 17, |text| text.parse() == Ok(value))
            {
                Some(text) => write_shortest(&text, 15, out),
                None => write_shortest(ryu::Buffer::new().format_finite(value), 15, out),
            }
        }
    }
}

pub fn write_f32(value: f32, out: &mut BytesMut) {
    match special(f64::from(value)) {
        Some(text) => out.extend_from_slice(text.as_bytes()),
        None => {
            let wide = f64::from(value);
            let (above, below) = (f64::from(value.next_up()), f64::from(value.next_down()));
            match longer_than_shortest(wide, above, below, 9, |text| text.parse() == Ok(value)) {
                Some(text) => write_shortest(&text, 6, out),
                None => write_shortest(ryu::Buffer::new().format_finite(value), 6, out),
            }
        }
    }
}

fn special(value: f64) -> Option<&'static str> {
    match value {
        _ if value.is_nan() => Some("NaN"),
        f64::INFINITY => Some("Infinity"),
        f64::NEG_INFINITY => Some("-Infinity"),
        _ => None,
    }
}

/// Postgres does not print a number that lies half-way to a neighbour, though it would read back by rounding to even. Only
/// integers past the mantissa can have such short forms. Gives the digits to print instead, in scientific form.
fn longer_than_shortest(
    value: f64,
    above: f64,
    below: f64,
    most_digits: usize,
    reads_back: impl Fn(&str) -> bool,
) -> Option<String> {
    if (above - value).abs() < 2.0 || value.abs() >= 1e38 {
        return None;
    }
    let integer = |value: f64| value.abs() as u128;
    let (far, near) = (integer(above).max(integer(below)), integer(above).min(integer(below)));
    let bounds = [integer(value) + far, integer(value) + near];
    // Twice the decimal, to be compared with the sum of two neighbours.
    let doubled = |text: &str| {
        text.parse::<super::Numeric>().ok().and_then(|decimal| decimal.abs().to_i128()).map(|d| d as u128 * 2)
    };
    let mut shortest = None;
    for digits in 1..=most_digits {
        let text = format!("{value:.places$e}", places = digits - 1);
        if reads_back(&text) {
            if doubled(&text).is_some_and(|doubled| !bounds.contains(&doubled)) {
                return shortest.map(|()| text);
            }
            shortest = Some(());
        }
    }
    None
}

/// From ryu's form to Postgres's: plain for exponents from -4 to below `plain_limit`. The digits are ryu's, which, unlike
/// the standard library's, end in an even digit where two are equally near, as Postgres's do.
fn write_shortest(text: &str, plain_limit: i32, out: &mut BytesMut) {
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let (sign, mantissa) = match mantissa.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", mantissa),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = [whole.as_bytes(), fraction.as_bytes()].concat();
    let zeros = digits.iter().take_while(|digit| **digit == b'0').count().min(digits.len() - 1);
    let exponent = exponent.parse().unwrap_or(0) + whole.len() as i32 - 1 - zeros as i32;
    let significant = digits[zeros..].iter().rposition(|digit| *digit != b'0').map_or(1, |last| last + 1);
    let digits = &digits[zeros..zeros + significant];
    let exponent = if digits == b"0" { 0 } else { exponent };
    out.extend_from_slice(sign.as_bytes());
    if exponent < -4 || exponent >= plain_limit {
        out.put_u8(digits[0]);
        if digits.len() > 1 {
            out.put_u8(b'.');
            out.extend_from_slice(&digits[1..]);
        }
        let sign = if exponent < 0 { '-' } else { '+' };
        out.extend_from_slice(format!("e{sign}{:02}", exponent.abs()).as_bytes());
        return;
    }
    if exponent < 0 {
        out.extend_from_slice(b"0.");
        out.put_bytes(b'0', (-exponent - 1) as usize);
        out.extend_from_slice(digits);
        return;
    }
    let point = exponent as usize + 1;
    if digits.len() <= point {
        out.extend_from_slice(digits);
        out.put_bytes(b'0', point - digits.len());
    } else {
        out.extend_from_slice(&digits[..point]);
        out.put_u8(b'.');
        out.extend_from_slice(&digits[point..]);
    }
}

/// 32 hexadecimal digits, hyphens after any group of four, braces around.
pub fn parse_uuid(text: &str) -> Result<[u8; 16]> {
    let invalid = || invalid_syntax("uuid", text);
    let inner = match text.strip_prefix('{') {
        Some(rest) => rest.strip_suffix('}').ok_or_else(invalid)?,
        None => text,
    };
    let bytes = inner.as_bytes();
    let mut uuid = [0u8; 16];
    let mut at = 0;
    for (index, byte) in uuid.iter_mut().enumerate() {
        let pair = bytes.get(at..at + 2).ok_or_else(invalid)?;
        *byte = hex_pair(pair).ok_or_else(invalid)?;
        at += 2;
        if bytes.get(at) == Some(&b'-') && index % 2 == 1 && index < 15 {
            at += 1;
        }
    }
    if at == bytes.len() { Ok(uuid) } else { Err(invalid()) }
}

pub fn write_uuid(uuid: &[u8; 16], out: &mut BytesMut) {
    for (index, byte) in uuid.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            out.put_u8(b'-');
        }
        put_hex(*byte, out);
    }
}

pub(crate) fn put_hex(byte: u8, out: &mut BytesMut) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.extend_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
}

fn hex_pair(pair: &[u8]) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    Some((digit(*pair.first()?)? * 16 + digit(*pair.get(1)?)?) as u8)
}

/// The hex form (`\x0aff`) and the escape form (`a\\b\001`).
pub fn parse_bytea(text: &str) -> Result<Vec<u8>> {
    match text.strip_prefix("\\x") {
        Some(hex) => parse_hex(hex),
        None => parse_escaped(text),
    }
}

pub(crate) fn parse_hex(hex: &str) -> Result<Vec<u8>> {
    let error = |message: String| Error::new(SqlState::INVALID_PARAMETER_VALUE, message);
    let mut bytes = Vec::with_capacity(hex.len() / 2);
    let mut high: Option<u8> = None;
    for c in hex.chars() {
        let Some(digit) = c.to_digit(16) else {
            if is_space(c) && high.is_none() {
                continue;
            }
            return Err(error(format!("invalid hexadecimal digit: \"{c}\"")));
        };
        match high.take() {
            None => high = Some(digit as u8),
            Some(high) => bytes.push(high << 4 | digit as u8),
        }
    }
    match high {
        None => Ok(bytes),
        Some(_) => Err(error("invalid hexadecimal data: odd number of digits".to_owned())),
    }
}

fn parse_escaped(text: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, tail)) = rest.split_first() {
        if *byte != b'\\' {
            bytes.push(*byte);
            rest = tail;
            continue;
        }
        match tail {
            [b'\\', tail @ ..] => {
                bytes.push(b'\\');
                rest = tail;
            }
            [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', tail @ ..] => {
                bytes.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = tail;
            }
            _ => {
                let message = "invalid input syntax for type bytea";
                return Err(Error::new(SqlState::INVALID_TEXT_REPRESENTATION, message));
            }
        }
    }
    Ok(bytes)
}

pub fn write_bytea(bytes: &[u8], out: &mut BytesMut) {
    out.reserve(2 + bytes.len() * 2);
    out.extend_from_slice(b"\\x");
    for byte in bytes {
        put_hex(*byte, out);
    }
}

/// A name as Postgres keeps it: at most 63 bytes, cut between characters.
pub fn truncate_name(name: &str) -> &str {
    let mut end = name.len().min(MAX_NAME_LENGTH);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    &name[..end]
}

/// Decimal digits without a formatter's machinery: the hot path of integers.
pub fn write_integer(value: i64, out: &mut BytesMut) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    let mut rest = value.unsigned_abs();
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if value < 0 {
        out.put_u8(b'-');
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_read_with_the_messages_of_postgres() {
        assert_eq!(parse_integer::<i32>(" -12 ").unwrap(), -12);
        assert_eq!(parse_integer::<i64>("+9223372036854775807").unwrap(), i64::MAX);
        for (text, message) in [
            ("abc", "invalid input syntax for type integer: \"abc\""),
            ("", "invalid input syntax for type integer: \"\""),
            ("1.5", "invalid input syntax for type integer: \"1.5\""),
            ("2147483648", "value \"2147483648\" is out of range for type integer"),
            ("99999999999999999999", "value \"99999999999999999999\" is out of range for type integer"),
        ] {
            assert_eq!(parse_integer::<i32>(text).unwrap_err().message(), message);
        }
    }

    #[test]
    fn floats_print_as_postgres_prints_them() {
        for (value, text) in [
            (0.1, "0.1"),
            (1e20, "1e+20"),
            (1e15, "1e+15"),
            (1e14, "100000000000000"),
            (123_456.789, "123456.789"),
            (1e-4, "0.0001"),
            (1e-5, "1e-05"),
            (1.5e-7, "1.5e-07"),
            (-0.0, "-0"),
            (1e300, "1e+300"),
            (f64::INFINITY, "Infinity"),
            (f64::NAN, "NaN"),
            (5e-324, "5e-324"),
            (1.0 / 3.0, "0.3333333333333333"),
            (1_203_384_780_460_105.2, "1.2033847804601052e+15"),
            (-44_732_829_064_286_224.0, "-4.4732829064286224e+16"),
            (100.0, "100"),
            (0.0, "0"),
        ] {
            let mut out = BytesMut::new();
            write_f64(value, &mut out);
            assert_eq!(&out[..], text.as_bytes());
        }
        for (value, text) in [(0.1f32, "0.1"), (1e6, "1e+06"), (123_456.0, "123456"), (16_777_216.0, "1.6777216e+07")] {
            let mut out = BytesMut::new();
            write_f32(value, &mut out);
            assert_eq!(&out[..], text.as_bytes());
        }
    }

    #[test]
    fn floats_are_read_or_refused() {
        assert_eq!(parse_f64(" 1e5 ").unwrap(), 100_000.0);
        assert_eq!(parse_f64("-inf").unwrap(), f64::NEG_INFINITY);
        assert_eq!(parse_f64("1e400").unwrap_err().message(), "\"1e400\" is out of range for type double precision");
        assert_eq!(parse_f64("1e-400").unwrap_err().sqlstate(), SqlState::NUMERIC_VALUE_OUT_OF_RANGE);
        assert_eq!(parse_f32("1e40").unwrap_err().message(), "\"1e40\" is out of range for type real");
        for text in ["", "abc", "1e", "1_0", "0x"] {
            assert_eq!(parse_f64(text).unwrap_err().sqlstate(), SqlState::INVALID_TEXT_REPRESENTATION, "{text}");
        }
    }

    #[test]
    fn booleans_have_many_spellings() {
        for text in ["t", "TRUE", "tr", " yes ", "y", "on", "1"] {
            assert!(parse_bool(text).unwrap());
        }
        for text in ["f", "fal", "no", "n", "off", "of", "0"] {
            assert!(!parse_bool(text).unwrap());
        }
        for text in ["", "o", "tru e", "2"] {
            assert!(parse_bool(text).is_err());
        }
    }

    #[test]
    fn uuids_are_read_with_and_without_hyphens() {
        let uuid = parse_uuid("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11").unwrap();
        for text in [
            "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11",
            "{a0eebc999c0b4ef8bb6d6bb9bd380a11}",
            "a0ee-bc99-9c0b-4ef8-bb6d-6bb9-bd38-0a11",
        ] {
            assert_eq!(parse_uuid(text).unwrap(), uuid);
        }
        for text in ["", "a0eebc99", "a0eebc999c0b4ef8bb6d6bb9bd380a11-", "g0eebc999c0b4ef8bb6d6bb9bd380a11"] {
            assert!(parse_uuid(text).is_err());
        }
    }

    #[test]
    fn bytea_is_read_in_both_forms() {
        assert_eq!(parse_bytea("\\x0aFf 00").unwrap(), [10, 255, 0]);
        assert_eq!(parse_bytea("a\\\\b\\001").unwrap(), b"a\\b\x01");
        assert_eq!(parse_bytea("\\x0").unwrap_err().sqlstate(), SqlState::INVALID_PARAMETER_VALUE);
        assert_eq!(parse_bytea("\\9").unwrap_err().sqlstate(), SqlState::INVALID_TEXT_REPRESENTATION);
    }

    #[test]
    fn names_are_cut_between_characters() {
        let name = "é".repeat(40);
        assert_eq!(truncate_name(&name).len(), 62);
        assert_eq!(truncate_name("short"), "short");
    }
}
