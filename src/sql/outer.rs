//! The tokens of a text, looked through for those that are in no parentheses.

use std::ops::Range;

use super::lexer::{Token, TokenKind};

/// Tokens and the text that they are of; places are indexes among the tokens.
#[derive(Clone, Copy)]
pub(super) struct Outer<'t, 's> {
    pub(super) text: &'t str,
    pub(super) tokens: &'s [Token],
}

impl<'t> Outer<'t, '_> {
    pub(super) fn all(&self) -> Range<usize> {
        0..self.tokens.len()
    }

    pub(super) fn kind(&self, at: usize) -> Option<TokenKind> {
        self.tokens.get(at).map(|token| token.kind)
    }

    pub(super) fn is(&self, at: usize, word: &str) -> bool {
        self.word(at).is_some_and(|own| own.eq_ignore_ascii_case(word))
    }

    /// The same of the token that stands so many places before.
    pub(super) fn is_before(&self, at: usize, places: usize, word: &str) -> bool {
        at.checked_sub(places).is_some_and(|before| self.is(before, word))
    }

    pub(super) fn is_one_of(&self, at: usize, words: &[&str]) -> bool {
        self.word(at).is_some_and(|own| words.iter().any(|word| own.eq_ignore_ascii_case(word)))
    }

    /// Whether a word here begins a clause: a reserved word does, unless it is a label behind AS.
    pub(super) fn begins(&self, at: usize, word: &str) -> bool {
        self.is(at, word) && !self.is_before(at, 1, "as")
    }

    /// A word without quotes. Behind a dot it is the name of something, whatever the word means elsewhere.
    pub(super) fn word(&self, at: usize) -> Option<&'t str> {
        let is_name = at.checked_sub(1).and_then(|before| self.kind(before)) == Some(TokenKind::Dot);
        let token = self.tokens.get(at).filter(|token| token.kind == TokenKind::Word && !is_name)?;
        Some(token.text(self.text))
    }

    pub(super) fn is_operator(&self, at: usize, operator: &str) -> bool {
        self.tokens.get(at).is_some_and(|token| token.kind == TokenKind::Operator && token.text(self.text) == operator)
    }

    /// Behind a name with or without a schema.
    pub(super) fn name_end(&self, mut at: usize) -> Option<usize> {
        loop {
            match self.kind(at)? {
                TokenKind::Word | TokenKind::QuotedWord | TokenKind::UnicodeWord => at += 1,
                _ => return None,
            }
            if self.kind(at) != Some(TokenKind::Dot) {
                return Some(at);
            }
            at += 1;
        }
    }

    /// The parenthesis that closes the one here.
    pub(super) fn closed(&self, open: usize) -> Option<usize> {
        let mut depth = 0_usize;
        for (at, token) in self.tokens.iter().enumerate().skip(open) {
            match token.kind {
                TokenKind::LeftParen => depth += 1,
                TokenKind::RightParen => depth = depth.checked_sub(1)?,
                _ => {}
            }
            if depth == 0 {
                return Some(at);
            }
        }
        None
    }

    /// What stands in the parentheses that open at the first token and close at the last.
    pub(super) fn within_parens(&self, around: Range<usize>) -> Option<Range<usize>> {
        let last = around.end.checked_sub(1)?;
        let opens = self.kind(around.start) == Some(TokenKind::LeftParen);
        (opens && self.closed(around.start) == Some(last)).then_some(around.start + 1..last)
    }

    /// The first token that is wanted and in no parentheses.
    pub(super) fn find(&self, within: Range<usize>, wanted: impl Fn(usize) -> bool) -> Option<usize> {
        let mut depth = 0_usize;
        for at in within {
            match self.kind(at)? {
                TokenKind::LeftParen | TokenKind::LeftBracket => depth += 1,
                TokenKind::RightParen | TokenKind::RightBracket => depth = depth.checked_sub(1)?,
                _ if depth == 0 && wanted(at) => return Some(at),
                _ => {}
            }
        }
        None
    }

    /// What lies between the tokens that are wanted and in no parentheses.
    pub(super) fn split(&self, within: Range<usize>, wanted: impl Fn(usize) -> bool) -> Vec<Range<usize>> {
        let mut parts = Vec::new();
        let mut begin = within.start;
        while let Some(at) = self.find(begin..within.end, &wanted) {
            parts.push(begin..at);
            begin = at + 1;
        }
        parts.push(begin..within.end);
        parts
    }

    /// The items of a list; none of an empty one.
    pub(super) fn items(&self, list: Range<usize>) -> Vec<Range<usize>> {
        if list.is_empty() {
            return Vec::new();
        }
        self.split(list, |at| self.kind(at) == Some(TokenKind::Comma))
    }

    /// Whether FROM here is a part of `IS DISTINCT FROM`.
    pub(super) fn compares_distinct(&self, from: usize) -> bool {
        let is = self.is_before(from, 2, "is") || (self.is_before(from, 2, "not") && self.is_before(from, 3, "is"));
        is && self.is_before(from, 1, "distinct")
    }

    /// From the first token's first byte to the last one's last: what is between them stays as it was written.
    pub(super) fn slice(&self, tokens: Range<usize>) -> &'t str {
        let first = self.tokens.get(tokens.start);
        let last =
            tokens.end.checked_sub(1).filter(|last| *last >= tokens.start).and_then(|last| self.tokens.get(last));
        let (Some(first), Some(last)) = (first, last) else { return "" };
        self.text.get(first.start as usize..last.end as usize).unwrap_or_default()
    }
}
