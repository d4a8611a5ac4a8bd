//! A simple query's text into its statements.
//!
//! A semicolon inside a string, a dollar quote, a comment or parentheses ends nothing.

use super::lexer::{Lexer, TokenKind};
use crate::error::{Error, Result};

/// The statements of a text, without their semicolons; empty ones are left out, so a text without any gives none.
///
/// Each is a slice of `text`: its offset is that of its first byte.
///
/// # Errors
/// What the lexer refuses, and 0A000 for a function body of the form BEGIN ATOMIC.
pub fn split(text: &str) -> Result<Vec<&str>> {
    if let Some(only) = only_statement(text) {
        return Ok(vec![only]);
    }
    let mut statements = Vec::new();
    let mut first: Option<usize> = None;
    let mut last = 0;
    let mut depth = 0_usize;
    let mut after_begin = false;
    for token in Lexer::new(text)? {
        let token = token?;
        if token.kind == TokenKind::Semicolon && depth == 0 {
            if let Some(start) = first.take() {
                statements.push(&text[start..last]);
            }
            after_begin = false;
            continue;
        }
        match token.kind {
            TokenKind::LeftParen => depth += 1,
            TokenKind::RightParen => depth = depth.saturating_sub(1),
            TokenKind::Word => {
                let word = token.text(text);
                if after_begin && word.eq_ignore_ascii_case("atomic") {
                    return Err(Error::unsupported(
                        "a function body of the form BEGIN ATOMIC",
                        "Create functions on each shard directly.",
                    ));
                }
                after_begin = word.eq_ignore_ascii_case("begin");
            }
            _ => {}
        }
        first.get_or_insert(token.start as usize);
        last = token.end as usize;
    }
    if let Some(start) = first {
        statements.push(&text[start..last]);
    }
    Ok(statements)
}

/// The statement of a text that shows at a glance to hold one: it begins with a word, and its only semicolon, if it has one,
/// is its end, whatever that is part of. A comment behind it stays with it.
fn only_statement(text: &str) -> Option<&str> {
    let statement = match memchr::memchr(b';', text.as_bytes()) {
        None => text,
        Some(at) if text[at + 1..].bytes().all(|byte| byte.is_ascii_whitespace()) => &text[..at],
        Some(_) => return None,
    };
    let statement = statement.trim_matches(|character: char| character.is_ascii_whitespace());
    statement.starts_with(|first: char| first.is_ascii_alphabetic()).then_some(statement)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_end_at_semicolons_only() {
        assert_eq!(
            split("select 1; select ';' ; -- ;\n select $$;$$ /* ; */").unwrap(),
            ["select 1", "select ';'", "select $$;$$"]
        );
        assert_eq!(split("create rule r as on insert to t do (a; b); x").unwrap().len(), 2);
    }

    #[test]
    fn empty_statements_are_none() {
        for text in ["", " ", ";", " ;; -- x", "/* nothing */"] {
            assert!(split(text).unwrap().is_empty(), "{text}");
        }
        assert_eq!(split(";;select 1;;").unwrap(), ["select 1"]);
    }

    #[test]
    fn standard_function_bodies_are_refused() {
        let text = "create function f() returns int begin atomic select 1; end";
        assert_eq!(split(text).unwrap_err().sqlstate().code(), "0A000");
    }
}
