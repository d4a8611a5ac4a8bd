//! The grammar of JSON. Recursive, with a bounded depth.

use super::lexer::{Lexer, Token, invalid};
use super::{Json, MAX_DEPTH};
use crate::error::{Error, Result, SqlState};
use crate::types::numeric::Numeric;

/// Reads a JSON text into a jsonb value.
pub fn parse(text: &str) -> Result<Json> {
    Parser::read(text, true)
}

/// Checks that a text is JSON, as the type `json` demands it.
pub fn check(text: &str) -> Result<()> {
    Parser::read(text, false).map(drop)
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    token: Token,
    depth: usize,
    /// False when only the syntax is of interest.
    build: bool,
}

impl<'a> Parser<'a> {
    fn read(text: &'a str, build: bool) -> Result<Json> {
        let mut parser = Parser { lexer: Lexer::new(text, build), token: Token::End, depth: 0, build };
        parser.advance()?;
        let value = parser.value()?;
        match parser.token {
            Token::End => Ok(value),
            _ => Err(parser.expected("end of input")),
        }
    }

    fn advance(&mut self) -> Result<()> {
        self.token = self.lexer.next()?;
        Ok(())
    }

    fn expected(&self, what: &str) -> Error {
        invalid(match self.token {
            Token::End => "The input string ended unexpectedly.".to_owned(),
            _ => format!("Expected {what}, but found \"{}\".", self.lexer.token_text()),
        })
    }

    fn value(&mut self) -> Result<Json> {
        let value = match &mut self.token {
            Token::OpenBrace => return self.nested(Parser::object),
            Token::OpenBracket => return self.nested(Parser::array),
            Token::String(text) => Json::String(std::mem::take(text).into()),
            Token::Number if self.build => Json::Number(number(self.lexer.token_text())?),
            Token::Number | Token::Null => Json::Null,
            Token::True => Json::Bool(true),
            Token::False => Json::Bool(false),
            _ => return Err(self.expected("JSON value")),
        };
        self.advance()?;
        Ok(value)
    }

    fn nested(&mut self, read: fn(&mut Parser<'a>) -> Result<Json>) -> Result<Json> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Error::new(SqlState::STATEMENT_TOO_COMPLEX, "stack depth limit exceeded")
                .detail(format!("JSON is nested more than {MAX_DEPTH} levels deep.")));
        }
        self.advance()?;
        let value = read(self)?;
        self.depth -= 1;
        self.advance()?;
        Ok(value)
    }

    /// After the opening brace; ends on the closing one.
    fn object(&mut self) -> Result<Json> {
        let mut members = Vec::new();
        if self.token == Token::CloseBrace {
            return Ok(Json::Object(members));
        }
        let mut expectation = "string or \"}\"";
        loop {
            let Token::String(key) = &mut self.token else { return Err(self.expected(expectation)) };
            let key = std::mem::take(key).into_boxed_str();
            self.advance()?;
            if self.token != Token::Colon {
                return Err(self.expected("\":\""));
            }
            self.advance()?;
            let value = self.value()?;
            if self.build {
                members.push((key, value));
            }
            match self.token {
                Token::Comma => self.advance()?,
                Token::CloseBrace => return Ok(Json::object(members)),
                _ => return Err(self.expected("\",\" or \"}\"")),
            }
            expectation = "string";
        }
    }

    /// After the opening bracket; ends on the closing one.
    fn array(&mut self) -> Result<Json> {
        let mut values = Vec::new();
        if self.token == Token::CloseBracket {
            return Ok(Json::Array(values));
        }
        loop {
            let value = self.value()?;
            if self.build {
                values.push(value);
            }
            match self.token {
                Token::Comma => self.advance()?,
                Token::CloseBracket => return Ok(Json::Array(values)),
                _ => return Err(self.expected("\",\" or \"]\"")),
            }
        }
    }
}

/// A JSON number as numeric prints it.
fn number(text: &str) -> Result<Box<str>> {
    let plain = !text.starts_with('-') && !text.contains(['e', 'E']) && text.len() < 1_000;
    Ok(match plain {
        true => text.into(),
        false => Numeric::parse(text)?.to_string().into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_json_says_so_as_postgres_does() {
        // Each taken from PostgreSQL 15.
        for (text, detail) in [
            ("{\"a\": 1,}", "Expected string, but found \"}\"."),
            ("", "The input string ended unexpectedly."),
            ("{\"a\" 1}", "Expected \":\", but found \"1\"."),
            ("{a:1}", "Token \"a\" is invalid."),
            ("[1,]", "Expected JSON value, but found \"]\"."),
            ("[1 2]", "Expected \",\" or \"]\", but found \"2\"."),
            ("1 2", "Expected end of input, but found \"2\"."),
            ("\"abc", "Token \"\"abc\" is invalid."),
            ("\"a\\qb\"", "Escape sequence \"\\q\" is invalid."),
            ("\"\\u00\"", "\"\\u\" must be followed by four hexadecimal digits."),
            ("01", "Token \"01\" is invalid."),
            ("1.", "Token \"1.\" is invalid."),
            ("-", "Token \"-\" is invalid."),
            ("\"a\tb\"", "Character with value 0x09 must be escaped."),
            ("{1:2}", "Expected string or \"}\", but found \"1\"."),
            ("{\"a\":1 \"b\"}", "Expected \",\" or \"}\", but found \"\"b\"\"."),
            ("nullx", "Token \"nullx\" is invalid."),
            ("+1", "Token \"+\" is invalid."),
            ("1a", "Token \"1a\" is invalid."),
            ("[}", "Expected JSON value, but found \"}\"."),
        ] {
            let error = check(text).unwrap_err();
            assert_eq!(error.message(), "invalid input syntax for type json");
            assert_eq!(error.get_detail(), Some(detail), "{text}");
        }
    }

    #[test]
    fn escapes_that_text_cannot_hold_are_json_but_not_jsonb() {
        for text in ["\"\\u0000\"", "\"\\ud800\"", "\"\\udc00\""] {
            check(text).unwrap();
            assert!(parse(text).is_err(), "{text}");
        }
        assert_eq!(parse("\"\\u0000\"").unwrap_err().sqlstate(), SqlState::UNTRANSLATABLE_CHARACTER);
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        check(&nested(MAX_DEPTH)).unwrap();
        assert_eq!(check(&nested(MAX_DEPTH + 1)).unwrap_err().sqlstate(), SqlState::STATEMENT_TOO_COMPLEX);
        assert!(check(&"[".repeat(1_000_000)).is_err());
    }

    #[test]
    fn keys_are_unique() {
        let Json::Object(members) = parse(r#"{"a":1,"a":2,"b":3,"a":4}"#).unwrap() else { panic!("no object") };
        assert_eq!(members.len(), 2);
        assert_eq!(members[0].1, Json::Number("4".into()));
    }
}
