//! Parts of a JSON text as they were written: what `json`, unlike jsonb, keeps.

use super::lexer::{Lexer, Token};
use crate::error::{Error, Result};

/// The outermost level of a JSON text.
pub enum Parts<'t> {
    /// Members in the order written, repeated keys too.
    Object(Vec<(String, &'t str)>),
    Array(Vec<&'t str>),
    Scalar,
}

/// Takes apart a text that is known to be JSON.
pub fn parts(text: &str) -> Result<Parts<'_>> {
    let mut lexer = Lexer::new(text, false);
    match lexer.next()? {
        Token::OpenBracket => {
            let mut values = Vec::new();
            let mut token = lexer.next()?;
            while token != Token::CloseBracket {
                let (value, next) = value(&mut lexer, text, &token)?;
                values.push(value);
                token = if next == Token::Comma { lexer.next()? } else { next };
                end_is_an_error(&token)?;
            }
            Ok(Parts::Array(values))
        }
        Token::OpenBrace => {
            let mut members = Vec::new();
            let mut token = lexer.next()?;
            while token != Token::CloseBrace {
                let key = string(lexer.token_text())?;
                lexer.next()?;
                let begin = lexer.next()?;
                let (value, next) = value(&mut lexer, text, &begin)?;
                members.push((key, value));
                token = if next == Token::Comma { lexer.next()? } else { next };
                end_is_an_error(&token)?;
            }
            Ok(Parts::Object(members))
        }
        _ => Ok(Parts::Scalar),
    }
}

fn end_is_an_error(token: &Token) -> Result<()> {
    match token {
        Token::End => Err(Error::internal("a JSON text ends inside a value")),
        _ => Ok(()),
    }
}

/// The value that begins with the current token, and the token behind it.
fn value<'t>(lexer: &mut Lexer<'_>, text: &'t str, begin: &Token) -> Result<(&'t str, Token)> {
    let (start, mut depth, mut token) = (lexer.start, 0usize, begin.clone());
    loop {
        match token {
            Token::OpenBrace | Token::OpenBracket => depth += 1,
            Token::CloseBrace | Token::CloseBracket => depth = depth.saturating_sub(1),
            Token::End => return Err(Error::internal("a JSON text ends inside a value")),
            _ => {}
        }
        if depth == 0 {
            let end = lexer.end;
            return Ok((&text[start..end], lexer.next()?));
        }
        token = lexer.next()?;
    }
}

/// The characters that a JSON string stands for.
///
/// # Errors
/// 22P05: an escape that text cannot hold.
pub fn string(text: &str) -> Result<String> {
    match Lexer::new(text, true).next()? {
        Token::String(value) => Ok(value),
        _ => Err(Error::internal("a JSON string was expected")),
    }
}

/// What `->>` gives for a value as written: a string's characters, the text of others; `None` for null.
pub fn text_of(value: &str) -> Result<Option<String>> {
    match value.trim() {
        "null" => Ok(None),
        quoted if quoted.starts_with('"') => string(quoted).map(Some),
        other => Ok(Some(other.to_owned())),
    }
}

/// The last member of this name, of an object.
pub fn member<'t>(text: &'t str, key: &str) -> Result<Option<&'t str>> {
    Ok(match parts(text)? {
        Parts::Object(members) => members.into_iter().rev().find(|(name, _)| name == key).map(|(_, value)| value),
        _ => None,
    })
}

/// The element at this place, counted from the end when it is negative, of an array.
pub fn element(text: &str, index: i64) -> Result<Option<&str>> {
    Ok(match parts(text)? {
        Parts::Array(values) => {
            let index = if index < 0 { index.saturating_add(values.len() as i64) } else { index };
            usize::try_from(index).ok().and_then(|index| values.get(index).copied())
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_keep_their_spelling() {
        let text = r#" {"a":  {"x" :1}, "a" : 1.00, "b\u0041":[1, [2 ,3]]} "#;
        assert_eq!(member(text, "a").unwrap(), Some("1.00"));
        assert_eq!(member(text, "bA").unwrap(), Some("[1, [2 ,3]]"));
        assert_eq!(member(text, "c").unwrap(), None);
        assert_eq!(element("[1, [2 ,3]]", -1).unwrap(), Some("[2 ,3]"));
        assert_eq!(element("[]", 0).unwrap(), None);
        assert_eq!(element("\"x\"", 0).unwrap(), None);
        assert_eq!(text_of("\"x\\u00e9\"").unwrap().as_deref(), Some("xé"));
        assert_eq!(text_of("null").unwrap(), None);
    }
}
