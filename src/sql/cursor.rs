//! A place in a statement's tokens, for what is read by hand.

use super::lexer::{Lexer, Token, TokenKind, syntax_error_at};
use super::value::{cut_name, fold_name, quoted_word_value, string_value};
use crate::error::Result;

#[derive(Debug, Clone)]
pub(super) struct Cursor<'a> {
    text: &'a str,
    tokens: Vec<Token>,
    at: usize,
}

impl<'a> Cursor<'a> {
    /// All the tokens of a text; a semicolon at the end is left out.
    pub(super) fn new(text: &'a str) -> Result<Cursor<'a>> {
        let mut tokens = Vec::with_capacity(text.len() / 4 + 4);
        for token in Lexer::new(text)? {
            tokens.push(token?);
        }
        while tokens.last().is_some_and(|token| token.kind == TokenKind::Semicolon) {
            tokens.pop();
        }
        Ok(Cursor { text, tokens, at: 0 })
    }

    pub(super) fn text(&self) -> &'a str {
        self.text
    }

    pub(super) fn tokens(&self) -> &[Token] {
        &self.tokens
    }

    pub(super) fn peek(&self) -> Option<Token> {
        self.tokens.get(self.at).copied()
    }

    /// The next token's text, when it is a word without quotes.
    pub(super) fn peek_word(&self) -> Option<&'a str> {
        self.peek().filter(|token| token.kind == TokenKind::Word).map(|token| token.text(self.text))
    }

    pub(super) fn advance(&mut self) {
        self.at += 1;
    }

    pub(super) fn advance_text(&mut self) -> &'a str {
        let text = self.peek().map_or("", |token| token.text(self.text));
        self.at += 1;
        text
    }

    pub(super) fn at_end(&self) -> bool {
        self.at >= self.tokens.len()
    }

    /// 42601 at the next token.
    pub(super) fn error(&self) -> crate::error::Error {
        match self.peek() {
            Some(token) => syntax_error_at(self.text, token.start as usize, token.text(self.text)),
            None => syntax_error_at(self.text, self.text.len(), ""),
        }
    }

    pub(super) fn expect_end(&self) -> Result<()> {
        if self.at_end() { Ok(()) } else { Err(self.error()) }
    }

    pub(super) fn eat(&mut self, kind: TokenKind) -> bool {
        let found = self.peek().is_some_and(|token| token.kind == kind);
        self.at += usize::from(found);
        found
    }

    pub(super) fn eat_operator(&mut self, operator: &str) -> bool {
        let found =
            self.peek().is_some_and(|token| token.kind == TokenKind::Operator && token.text(self.text) == operator);
        self.at += usize::from(found);
        found
    }

    pub(super) fn eat_word(&mut self, word: &str) -> bool {
        let found = self.peek_word().is_some_and(|next| next.eq_ignore_ascii_case(word));
        self.at += usize::from(found);
        found
    }

    /// All of the words, or none.
    pub(super) fn eat_words(&mut self, words: &[&str]) -> bool {
        let start = self.at;
        if words.iter().all(|word| self.eat_word(word)) {
            return true;
        }
        self.at = start;
        false
    }

    pub(super) fn expect_word(&mut self, word: &str) -> Result<()> {
        if self.eat_word(word) { Ok(()) } else { Err(self.error()) }
    }

    /// An identifier, folded unless it was quoted.
    pub(super) fn name(&mut self) -> Result<String> {
        let token = self.peek().ok_or_else(|| self.error())?;
        let name = match token.kind {
            TokenKind::Word => fold_name(token.text(self.text)).into_owned(),
            TokenKind::QuotedWord | TokenKind::UnicodeWord => {
                cut_name(&quoted_word_value(self.text, token)?).to_owned()
            }
            _ => return Err(self.error()),
        };
        self.advance();
        Ok(name)
    }

    /// `a.b`, in lower case: settings' names ignore case.
    pub(super) fn dotted_name(&mut self) -> Result<String> {
        let mut name = self.name()?;
        while self.eat(TokenKind::Dot) {
            name.push('.');
            name.push_str(&self.name()?);
        }
        Ok(name.to_ascii_lowercase())
    }

    pub(super) fn string(&mut self) -> Result<String> {
        let token = self.peek().filter(|token| token.kind.is_string()).ok_or_else(|| self.error())?;
        let value = string_value(self.text, token)?.into_owned();
        self.advance();
        Ok(value)
    }

    /// The tokens between the parentheses that open here, if any do.
    pub(super) fn parenthesised(&mut self) -> Result<Option<Vec<Token>>> {
        if !self.eat(TokenKind::LeftParen) {
            return Ok(None);
        }
        let start = self.at;
        let mut depth = 1_usize;
        while let Some(token) = self.peek() {
            match token.kind {
                TokenKind::LeftParen => depth += 1,
                TokenKind::RightParen => depth -= 1,
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return Ok(Some(self.tokens[start..self.at - 1].to_vec()));
            }
        }
        Err(self.error())
    }

    /// The text from the next token to the end.
    pub(super) fn rest(&mut self) -> Result<&'a str> {
        let (Some(first), Some(last)) = (self.peek(), self.tokens.last()) else { return Err(self.error()) };
        self.at = self.tokens.len();
        Ok(self.text.get(first.start as usize..last.end as usize).unwrap_or_default())
    }
}
