//! What a constant or a name in the text stands for: quotes removed, escapes undone, integers read.
//!
//! Exact, since a lifted literal is bound as a value: a string that is off by a byte would be a wrong answer.

use std::borrow::Cow;

use super::lexer::{Token, TokenKind, position, syntax_error_at};
use crate::error::{Error, Result, SqlState};

/// The longest name, in bytes: Postgres's NAMEDATALEN less one. Longer ones are cut.
pub const MAX_NAME_BYTES: usize = 63;

/// The value of a string constant.
///
/// # Errors
/// 42601 or 22021 for an escape that Postgres refuses.
pub fn string_value<'a>(text: &'a str, token: Token) -> Result<Cow<'a, str>> {
    let raw = token.text(text);
    match token.kind {
        TokenKind::String => Ok(undouble(raw)),
        TokenKind::NationalString => Ok(undouble(&raw[1..])),
        TokenKind::DollarString => {
            let tag = raw[1..].find('$').map_or(raw.len(), |found| found + 2);
            Ok(Cow::Borrowed(raw.get(tag..raw.len() - tag).unwrap_or_default()))
        }
        TokenKind::EscapeString => escape_value(text, token, &parts(&raw[1..], true)).map(Cow::Owned),
        TokenKind::UnicodeString => {
            let (body, escape) = unicode_parts(text, token)?;
            unicode_value(text, token, &parts(body, false), '\'', escape).map(Cow::Owned)
        }
        _ => Err(Error::internal("a token that is no string was read as one")),
    }
}

/// The value of a quoted identifier, not yet cut to its length.
///
/// # Errors
/// 42601 for an escape that Postgres refuses.
pub fn quoted_word_value<'a>(text: &'a str, token: Token) -> Result<Cow<'a, str>> {
    let raw = token.text(text);
    if token.kind == TokenKind::UnicodeWord {
        let (body, escape) = unicode_parts(text, token)?;
        let body = body.get(1..body.len() - 1).unwrap_or_default();
        return unicode_value(text, token, &[body], '"', escape).map(Cow::Owned);
    }
    let body = raw.get(1..raw.len() - 1).unwrap_or_default();
    Ok(if body.contains("\"\"") { Cow::Owned(body.replace("\"\"", "\"")) } else { Cow::Borrowed(body) })
}

/// A name as Postgres keeps it when it was written without quotes: lower case (ASCII letters), cut to 63 bytes.
pub fn fold_name(name: &str) -> Cow<'_, str> {
    let name = cut_name(name);
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}

/// Cuts a name to [`MAX_NAME_BYTES`], at a character.
pub fn cut_name(name: &str) -> &str {
    let mut end = name.len().min(MAX_NAME_BYTES);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    &name[..end]
}

/// The value of an integer constant in any radix; `None` when it does not fit, and is numeric.
pub fn integer_value(raw: &str) -> Option<i64> {
    let (digits, radix) = match raw.as_bytes() {
        [b'0', b'x' | b'X', ..] => (&raw[2..], 16),
        [b'0', b'o' | b'O', ..] => (&raw[2..], 8),
        [b'0', b'b' | b'B', ..] => (&raw[2..], 2),
        _ => (raw, 10),
    };
    let mut value: i64 = 0;
    for digit in digits.chars().filter(|digit| *digit != '_') {
        value = value.checked_mul(i64::from(radix))?.checked_add(i64::from(digit.to_digit(radix)?))?;
    }
    Some(value)
}

/// The quoted parts of a string that may be continued on further lines, without their outer quotes.
fn parts(raw: &str, backslash: bool) -> Vec<&str> {
    let bytes = raw.as_bytes();
    let mut parts = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'\'' => {
                let start = at + 1;
                at = start;
                loop {
                    match (bytes.get(at), bytes.get(at + 1)) {
                        (Some(b'\''), Some(b'\'')) => at += 2,
                        (Some(b'\\'), Some(_)) if backslash => at += 2,
                        (Some(b'\'') | None, _) => break,
                        _ => at += 1,
                    }
                }
                parts.push(raw.get(start..at).unwrap_or_default());
                at += 1;
            }
            b'-' => at += memchr::memchr2(b'\n', b'\r', &bytes[at..]).unwrap_or(bytes.len() - at),
            _ => at += 1,
        }
    }
    parts
}

fn undouble(raw: &str) -> Cow<'_, str> {
    let body = raw.get(1..raw.len() - 1).unwrap_or_default();
    if !body.contains('\'') {
        return Cow::Borrowed(body);
    }
    // A quote inside is doubled, or ends a part that goes on in a further line.
    let mut value = String::with_capacity(body.len());
    let mut rest = body;
    while let Some(quote) = rest.find('\'') {
        value.push_str(&rest[..quote]);
        rest = &rest[quote + 1..];
        if let Some(after) = rest.strip_prefix('\'') {
            value.push('\'');
            rest = after;
            continue;
        }
        rest = skip_to_next_part(rest);
    }
    value.push_str(rest);
    Cow::Owned(value)
}

/// Past the blanks and line comments between two parts, and the quote that opens the second.
fn skip_to_next_part(mut rest: &str) -> &str {
    loop {
        match rest.as_bytes().first() {
            Some(b'\'') => return &rest[1..],
            Some(b'-') => {
                let end = memchr::memchr2(b'\n', b'\r', rest.as_bytes()).unwrap_or(rest.len());
                rest = &rest[end..];
            }
            Some(_) => rest = &rest[1..],
            None => return rest,
        }
    }
}

fn escape_value(text: &str, token: Token, parts: &[&str]) -> Result<String> {
    let invalid =
        |message: &str| Error::new(SqlState::SYNTAX_ERROR, message).position(position(text, token.start as usize));
    let mut value: Vec<u8> = Vec::with_capacity(token.end as usize - token.start as usize);
    let mut high: Option<u32> = None;
    for part in parts {
        let bytes = part.as_bytes();
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            let escaped = bytes.get(at + 1).copied();
            if high.is_some() && !(byte == b'\\' && matches!(escaped, Some(b'u' | b'U'))) {
                return Err(invalid("invalid Unicode surrogate pair"));
            }
            at += 1;
            if byte == b'\'' {
                // Doubled, or it would have ended the part.
                value.push(b'\'');
                at += 1;
                continue;
            }
            let (b'\\', Some(escaped)) = (byte, escaped) else {
                value.push(byte);
                continue;
            };
            at += 1;
            match escaped {
                b'b' => value.push(8),
                b'f' => value.push(12),
                b'n' => value.push(b'\n'),
                b'r' => value.push(b'\r'),
                b't' => value.push(b'\t'),
                b'0'..=b'7' => {
                    let (number, length) = digits(&bytes[at - 1..], 8, 3);
                    at += length - 1;
                    value.push((number & 0xFF) as u8);
                }
                b'x' if bytes.get(at).is_some_and(u8::is_ascii_hexdigit) => {
                    let (number, length) = digits(&bytes[at..], 16, 2);
                    at += length;
                    value.push((number & 0xFF) as u8);
                }
                b'u' | b'U' => {
                    let wanted = if escaped == b'u' { 4 } else { 8 };
                    let (number, length) = digits(&bytes[at..], 16, wanted);
                    if length != wanted {
                        return Err(
                            invalid("invalid Unicode escape").hint("Unicode escapes must be \\uXXXX or \\UXXXXXXXX.")
                        );
                    }
                    at += length;
                    push_unicode(&mut value, &mut high, number).map_err(invalid)?;
                }
                other => value.push(other),
            }
        }
    }
    if high.is_some() {
        return Err(invalid("invalid Unicode surrogate pair"));
    }
    finish_bytes(value)
}

fn finish_bytes(value: Vec<u8>) -> Result<String> {
    let invalid = |byte: u8| {
        Error::new(
            SqlState::CHARACTER_NOT_IN_REPERTOIRE,
            format!("invalid byte sequence for encoding \"UTF8\": 0x{byte:02x}"),
        )
    };
    if value.contains(&0) {
        return Err(invalid(0));
    }
    String::from_utf8(value).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        invalid(error.as_bytes().get(at).copied().unwrap_or(0))
    })
}

/// Up to `limit` digits: their value and how many there were.
fn digits(bytes: &[u8], radix: u32, limit: usize) -> (u32, usize) {
    let mut value = 0_u32;
    let mut length = 0;
    for &byte in bytes.iter().take(limit) {
        let Some(digit) = char::from(byte).to_digit(radix) else { break };
        value = value.wrapping_mul(radix).wrapping_add(digit);
        length += 1;
    }
    (value, length)
}

/// Adds one UTF-16 or UTF-32 unit, pairing surrogates.
fn push_unicode(value: &mut Vec<u8>, high: &mut Option<u32>, number: u32) -> Result<(), &'static str> {
    let number = match (high.take(), number) {
        (None, 0xD800..=0xDBFF) => {
            *high = Some(number);
            return Ok(());
        }
        (Some(first), 0xDC00..=0xDFFF) => 0x10000 + ((first & 0x3FF) << 10) + (number & 0x3FF),
        (Some(_), _) | (None, 0xDC00..=0xDFFF) => return Err("invalid Unicode surrogate pair"),
        (None, _) => number,
    };
    let character =
        char::from_u32(number).filter(|character| *character != '\0').ok_or("invalid Unicode escape value")?;
    value.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    Ok(())
}

/// The quoted part of `U&...`, and its escape character.
fn unicode_parts(text: &str, token: Token) -> Result<(&str, char)> {
    let raw = &token.text(text)[2..];
    // Outside the quotes there is no letter but UESCAPE's.
    let end = raw.rfind(['"', '\'']).unwrap_or(0);
    let Some(clause) = uescape_clause(raw) else { return Ok((raw, '\\')) };
    let mut characters = raw.get(clause..end).unwrap_or_default().rsplit('\'').next().unwrap_or_default().chars();
    match (characters.next(), characters.next()) {
        (Some(escape), None)
            if !escape.is_ascii_hexdigit() && !matches!(escape, '+' | '\'' | '"') && !escape.is_whitespace() =>
        {
            Ok((&raw[..clause], escape))
        }
        _ => Err(syntax_error_at(text, token.start as usize, "invalid Unicode escape character")),
    }
}

/// Where UESCAPE begins: after the closing quote of the body.
fn uescape_clause(raw: &str) -> Option<usize> {
    let quote = raw.chars().next()?;
    let bytes = raw.as_bytes();
    let mut at = 1;
    loop {
        at += memchr::memchr(quote as u8, bytes.get(at..)?)? + 1;
        if bytes.get(at) == Some(&(quote as u8)) {
            at += 1;
            continue;
        }
        // Either the end, a continuation, a comment, or UESCAPE.
        let mut next = at;
        loop {
            match bytes.get(next)? {
                b'u' | b'U' => return Some(at),
                b'\'' if quote == '\'' => break,
                b'-' => next += memchr::memchr2(b'\n', b'\r', &bytes[next..])?,
                _ => next += 1,
            }
        }
        at = next + 1;
    }
}

fn unicode_value(text: &str, token: Token, parts: &[&str], quote: char, escape: char) -> Result<String> {
    let invalid =
        |message: &str| Error::new(SqlState::SYNTAX_ERROR, message).position(position(text, token.start as usize));
    let mut value = Vec::new();
    let mut high = None;
    for part in parts {
        let mut rest = *part;
        while let Some(character) = rest.chars().next() {
            rest = &rest[character.len_utf8()..];
            if character == escape && !rest.starts_with(escape) {
                let (skip, wanted) = if rest.starts_with('+') { (1, 6) } else { (0, 4) };
                let (number, length) = digits(rest.as_bytes().get(skip..).unwrap_or_default(), 16, wanted);
                if length != wanted {
                    return Err(invalid("invalid Unicode escape").hint("Unicode escapes must be \\XXXX or \\+XXXXXX."));
                }
                rest = &rest[skip + wanted..];
                push_unicode(&mut value, &mut high, number).map_err(invalid)?;
                continue;
            }
            if high.is_some() {
                return Err(invalid("invalid Unicode surrogate pair"));
            }
            if character == escape || character == quote {
                // Doubled.
                rest = rest.get(character.len_utf8()..).unwrap_or_default();
            }
            value.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
    if high.is_some() {
        return Err(invalid("invalid Unicode surrogate pair"));
    }
    finish_bytes(value)
}

#[cfg(test)]
mod tests {
    use super::super::lexer::Lexer;
    use super::*;

    fn value(text: &str) -> Result<String> {
        let token = Lexer::new(text).unwrap().next_token().unwrap().unwrap();
        assert_eq!(token.text(text), text, "one token");
        if token.kind.is_string() {
            string_value(text, token).map(Cow::into_owned)
        } else {
            quoted_word_value(text, token).map(Cow::into_owned)
        }
    }

    #[test]
    fn strings_have_exactly_postgres_values() {
        for (text, wanted) in [
            ("'it''s'", "it's"),
            (r"'a\nb'", r"a\nb"),
            ("''", ""),
            ("''''", "'"),
            ("'a'\n'b'", "ab"),
            ("'a' \n -- it's\n 'b''c'", "ab'c"),
            (r"E'a\nb\t\\\'\x41\101\u00e9\U0001F600'", "a\nb\t\\'AA\u{e9}\u{1F600}"),
            (r"E'\uD83D\uDE00'", "\u{1F600}"),
            (r"E'it''s\q'", "it'sq"),
            ("E'a\\n'\n'b\\t'", "a\nb\t"),
            (r"E'\xc3\xa9'", "\u{e9}"),
            ("$$it's$$", "it's"),
            ("$x$a$$b$x$", "a$$b"),
            ("N'a''b'", "a'b"),
            (r"U&'d\0061t\+000061'", "data"),
            (r"U&'a''b\\'", r"a'b\"),
            ("U&'d!0061t' UESCAPE '!'", "dat"),
            (r"U&'\D83D\DE00'", "\u{1F600}"),
            (r#"U&"d\0061t""#, "dat"),
            ("U&\"d!0061t\"  uescape '!'", "dat"),
            (r#""a""b""#, "a\"b"),
        ] {
            assert_eq!(value(text).unwrap(), wanted, "{text}");
        }
    }

    #[test]
    fn escapes_that_postgres_refuses_are_refused() {
        for (text, sqlstate) in [
            (r"E'\u00'", "42601"),
            (r"E'\uD83D'", "42601"),
            (r"E'\uD83Dx'", "42601"),
            (r"E'\000'", "22021"),
            (r"E'\xff'", "22021"),
            (r"E'\u0000'", "42601"),
            (r"U&'\00'", "42601"),
            (r"U&'a' UESCAPE '+'", "42601"),
        ] {
            assert_eq!(value(text).unwrap_err().sqlstate().code(), sqlstate, "{text}");
        }
    }

    #[test]
    fn names_fold_and_are_cut_at_a_character() {
        assert_eq!(fold_name("Seats"), "seats");
        assert_eq!(fold_name("Ünit"), "Ünit");
        assert_eq!(fold_name(&"é".repeat(40)).len(), 62);
    }

    #[test]
    fn integers_of_every_radix() {
        for (raw, wanted) in [
            ("007", Some(7)),
            ("0x1F", Some(31)),
            ("0b101", Some(5)),
            ("0o17", Some(15)),
            ("1_000", Some(1000)),
            ("9223372036854775807", Some(i64::MAX)),
            ("9223372036854775808", None),
        ] {
            assert_eq!(integer_value(raw), wanted, "{raw}");
        }
    }

    proptest::proptest! {
        #[test]
        fn quoting_a_string_and_reading_it_gives_it_back(content in "[^\0]{0,20}") {
            assert_eq!(value(&format!("'{}'", content.replace('\'', "''"))).unwrap(), content);
            let escaped = content.replace('\\', "\\\\").replace('\'', "\\'");
            assert_eq!(value(&format!("E'{escaped}'")).unwrap(), content);
        }

        #[test]
        fn no_string_makes_reading_panic(body in r#"[\\'u0-9a-fDxX+!\n -]{0,20}"#, prefix in "(E|U&|N|)") {
            let text = format!("{prefix}'{body}'");
            if let Ok(Some(token)) = Lexer::new(&text).unwrap().next_token() {
                let _ = string_value(&text, token);
            }
        }
    }
}
