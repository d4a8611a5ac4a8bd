//! Tokens of JSON, with the messages of Postgres's `jsonapi.c`.

use crate::error::{Error, Result, SqlState};

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    OpenBrace,
    CloseBrace,
    OpenBracket,
    CloseBracket,
    Comma,
    Colon,
    String(String),
    Number,
    True,
    False,
    Null,
    End,
}

pub(super) struct Lexer<'a> {
    text: &'a str,
    /// Where the current token begins and ends.
    pub(super) start: usize,
    pub(super) end: usize,
    /// Escapes must stand for characters that text can hold: true for jsonb.
    unescape: bool,
}

pub(super) fn invalid(detail: impl Into<String>) -> Error {
    Error::new(SqlState::INVALID_TEXT_REPRESENTATION, "invalid input syntax for type json").detail(detail)
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str, unescape: bool) -> Lexer<'a> {
        Lexer { text, start: 0, end: 0, unescape }
    }

    pub(super) fn token_text(&self) -> &'a str {
        &self.text[self.start..self.end]
    }

    pub(super) fn next(&mut self) -> Result<Token> {
        let bytes = self.text.as_bytes();
        self.start = self.end;
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = bytes.get(self.start) {
            self.start += 1;
        }
        self.end = self.start + 1;
        Ok(match bytes.get(self.start) {
            None => {
                self.end = self.start;
                Token::End
            }
            Some(b'{') => Token::OpenBrace,
            Some(b'}') => Token::CloseBrace,
            Some(b'[') => Token::OpenBracket,
            Some(b']') => Token::CloseBracket,
            Some(b',') => Token::Comma,
            Some(b':') => Token::Colon,
            Some(b'"') => return self.string(),
            Some(b'-' | b'0'..=b'9') => return self.number(),
            Some(_) => return self.word(),
        })
    }

    fn word(&mut self) -> Result<Token> {
        let rest = &self.text.as_bytes()[self.start..];
        let length = rest.iter().take_while(|byte| is_word_byte(**byte)).count();
        if length == 0 {
            // Not the beginning of any token: the character alone is named.
            let length = self.text[self.start..].chars().next().map_or(1, char::len_utf8);
            self.end = self.start + length;
            return Err(self.invalid_token());
        }
        self.end = self.start + length;
        match self.token_text() {
            "true" => Ok(Token::True),
            "false" => Ok(Token::False),
            "null" => Ok(Token::Null),
            _ => Err(self.invalid_token()),
        }
    }

    fn invalid_token(&self) -> Error {
        invalid(format!("Token \"{}\" is invalid.", self.token_text()))
    }

    fn number(&mut self) -> Result<Token> {
        let bytes = self.text.as_bytes();
        let mut at = self.start + usize::from(bytes[self.start] == b'-');
        let digits = |from: usize| bytes[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let whole = digits(at);
        let mut valid = whole > 0 && (bytes[at] != b'0' || whole == 1);
        // As Postgres: after a leading zero, further digits belong to the garbage.
        at += whole;
        if bytes.get(at) == Some(&b'.') {
            let fraction = digits(at + 1);
            valid &= fraction > 0;
            at += 1 + fraction;
        }
        if let Some(b'e' | b'E') = bytes.get(at) {
            at += 1;
            if let Some(b'+' | b'-') = bytes.get(at) {
                at += 1;
            }
            let exponent = digits(at);
            valid &= exponent > 0;
            at += exponent;
        }
        let garbage = bytes[at..].iter().take_while(|byte| is_word_byte(**byte)).count();
        self.end = at + garbage;
        if valid && garbage == 0 { Ok(Token::Number) } else { Err(self.invalid_token()) }
    }

    fn string(&mut self) -> Result<Token> {
        let mut value = String::new();
        let bytes = self.text.as_bytes();
        let mut at = self.start + 1;
        let mut high: Option<u32> = None;
        loop {
            let run = bytes[at..].iter().take_while(|byte| !matches!(byte, b'"' | b'\\' | 0..0x20)).count();
            if run > 0 {
                self.no_pending(high)?;
                value.push_str(&self.text[at..at + run]);
                at += run;
            }
            match bytes.get(at) {
                None => {
                    self.end = self.text.len();
                    return Err(self.invalid_token());
                }
                Some(b'"') => {
                    self.no_pending(high)?;
                    self.end = at + 1;
                    return Ok(Token::String(value));
                }
                Some(b'\\') => at = self.escape(at + 1, &mut value, &mut high)?,
                Some(byte) => return Err(invalid(format!("Character with value 0x{byte:02x} must be escaped."))),
            }
        }
    }

    fn no_pending(&self, high: Option<u32>) -> Result<()> {
        match high.is_some() && self.unescape {
            true => Err(invalid("Unicode low surrogate must follow a high surrogate.")),
            false => Ok(()),
        }
    }

    /// Reads the escape after its backslash; gives the place behind it.
    fn escape(&mut self, at: usize, value: &mut String, high: &mut Option<u32>) -> Result<usize> {
        let Some(c) = self.text[at..].chars().next() else {
            self.end = self.text.len();
            return Err(self.invalid_token());
        };
        if c == 'u' {
            return self.unicode_escape(at + 1, value, high);
        }
        self.no_pending(*high)?;
        value.push(match c {
            '"' | '\\' | '/' => c,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            _ => return Err(invalid(format!("Escape sequence \"\\{c}\" is invalid."))),
        });
        Ok(at + c.len_utf8())
    }

    fn unicode_escape(&mut self, at: usize, value: &mut String, high: &mut Option<u32>) -> Result<usize> {
        let digits = self.text.as_bytes().get(at..at + 4).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let Some(digits) = digits else {
            return Err(invalid("\"\\u\" must be followed by four hexadecimal digits."));
        };
        let code = digits.iter().fold(0, |sum, digit| sum * 16 + char::from(*digit).to_digit(16).unwrap_or(0));
        if !self.unescape {
            return Ok(at + 4);
        }
        let character = match (code, high.take()) {
            (0, None) => {
                return Err(Error::new(SqlState::UNTRANSLATABLE_CHARACTER, "unsupported Unicode escape sequence")
                    .detail("\\u0000 cannot be converted to text."));
            }
            (0xD800..0xDC00, None) => {
                *high = Some(code);
                return Ok(at + 4);
            }
            (0xD800..0xDC00, Some(_)) => {
                return Err(invalid("Unicode high surrogate must not follow a high surrogate."));
            }
            (0xDC00..0xE000, Some(high)) => 0x10000 + ((high - 0xD800) << 10) + (code - 0xDC00),
            (0xDC00..0xE000, None) | (_, Some(_)) => {
                return Err(invalid("Unicode low surrogate must follow a high surrogate."));
            }
            (_, None) => code,
        };
        value.extend(char::from_u32(character));
        Ok(at + 4)
    }
}

/// The bytes that Postgres takes for part of one wrong word.
fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}
