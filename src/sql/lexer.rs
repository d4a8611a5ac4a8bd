//! Postgres's lexer: bytes in, spans of tokens out, nothing allocated.
//!
//! It runs for every simple query before the plan cache is asked, so it must be fast; and it decides where literals,
//! comments and statements end, so it must agree with Postgres on every byte. The parser is fed from these tokens too,
//! so that the house has one opinion of where a string ends.
//!
//! <https://www.postgresql.org/docs/current/sql-syntax-lexical.html>

use crate::error::{Error, Result, SqlState};

/// The longest statement text that is read, in bytes.
pub const MAX_TEXT_BYTES: usize = 64 << 20;

/// What a token is. Whitespace and comments are no tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TokenKind {
    /// An identifier or keyword without quotes.
    Word,
    /// `"..."`
    QuotedWord,
    /// `U&"..."`, with its UESCAPE.
    UnicodeWord,
    /// `'...'`, also when continued on the next line.
    String,
    /// `E'...'`
    EscapeString,
    /// `$tag$...$tag$`
    DollarString,
    /// `U&'...'`, with its UESCAPE.
    UnicodeString,
    /// `N'...'`
    NationalString,
    /// `B'...'`
    BitString,
    /// `X'...'`
    HexString,
    /// Digits only, `_` between them included.
    Integer,
    /// `0x1f`, `0o17`, `0b1`
    RadixInteger,
    /// With a point or an exponent.
    Decimal,
    /// `$1`
    Parameter,
    /// One operator, of any length.
    Operator,
    LeftParen,
    RightParen,
    LeftBracket,
    RightBracket,
    Comma,
    Semicolon,
    Dot,
    Colon,
    DoubleColon,
    ColonEquals,
}

impl TokenKind {
    /// A string constant that has no type of its own.
    pub fn is_string(self) -> bool {
        use TokenKind::{DollarString, EscapeString, NationalString, String, UnicodeString};
        matches!(self, String | EscapeString | DollarString | UnicodeString | NationalString)
    }
}

/// A span of the text, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    pub kind: TokenKind,
    pub start: u32,
    pub end: u32,
}

impl Token {
    pub fn text(self, text: &str) -> &str {
        text.get(self.start as usize..self.end as usize).unwrap_or_default()
    }
}

/// Reads tokens one by one.
#[derive(Clone, Debug)]
pub struct Lexer<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
}

/// The position that an error tells: 1-based, in characters.
pub fn position(text: &str, byte: usize) -> u32 {
    let before = text.as_bytes().get(..byte).unwrap_or(text.as_bytes());
    let characters = before.iter().filter(|byte| **byte & 0xC0 != 0x80).count();
    u32::try_from(characters + 1).unwrap_or(u32::MAX)
}

/// 42601 with Postgres's words, at a byte of the text.
pub fn syntax_error_at(text: &str, byte: usize, near: &str) -> Error {
    if near.is_empty() {
        return Error::new(SqlState::SYNTAX_ERROR, "syntax error at end of input").position(position(text, byte));
    }
    lexical_error(text, byte, near, "syntax error")
}

fn lexical_error(text: &str, byte: usize, near: &str, what: &str) -> Error {
    /// An error message quotes no more of a long text than this.
    const MAX_QUOTED: usize = 500;
    let mut end = near.len().min(MAX_QUOTED);
    while !near.is_char_boundary(end) {
        end -= 1;
    }
    Error::new(SqlState::SYNTAX_ERROR, format!("{what} at or near \"{}\"", &near[..end])).position(position(text, byte))
}

const SPACE: u8 = 1;
const WORD_START: u8 = 2;
const WORD_PART: u8 = 4;
const OPERATOR: u8 = 8;

/// What each byte can be.
const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut at = 0;
    while at < classes.len() {
        let byte = at as u8;
        let letter = byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80;
        if letter {
            classes[at] |= WORD_START;
        }
        if letter || byte.is_ascii_digit() || byte == b'$' {
            classes[at] |= WORD_PART;
        }
        if matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0B | 0x0C) {
            classes[at] |= SPACE;
        }
        if matches!(
            byte,
            b'+' | b'-'
                | b'*'
                | b'/'
                | b'<'
                | b'>'
                | b'='
                | b'~'
                | b'!'
                | b'@'
                | b'#'
                | b'%'
                | b'^'
                | b'&'
                | b'|'
                | b'`'
                | b'?'
        ) {
            classes[at] |= OPERATOR;
        }
        at += 1;
    }
    classes
};

fn is(byte: u8, class: u8) -> bool {
    CLASSES[usize::from(byte)] & class != 0
}

pub(super) fn is_word_start(byte: u8) -> bool {
    is(byte, WORD_START)
}

pub(super) fn is_word_part(byte: u8) -> bool {
    is(byte, WORD_PART)
}

fn is_operator(byte: u8) -> bool {
    is(byte, OPERATOR)
}

fn is_space(byte: u8) -> bool {
    is(byte, SPACE)
}

impl<'a> Lexer<'a> {
    /// # Errors
    /// 54000 for a text past [`MAX_TEXT_BYTES`].
    pub fn new(text: &'a str) -> Result<Lexer<'a>> {
        if text.len() > MAX_TEXT_BYTES {
            return Err(Error::new(
                SqlState::PROGRAM_LIMIT_EXCEEDED,
                format!("statement text exceeds {} MiB", MAX_TEXT_BYTES >> 20),
            )
            .hint("Send large values as parameters, and many rows in several statements."));
        }
        Ok(Lexer { text, bytes: text.as_bytes(), at: 0 })
    }

    fn peek(&self, ahead: usize) -> u8 {
        self.bytes.get(self.at + ahead).copied().unwrap_or(0)
    }

    /// The next token, or `None` at the end.
    ///
    /// # Errors
    /// 42601 for what Postgres's lexer refuses: unterminated strings and comments, junk after a number.
    pub fn next_token(&mut self) -> Result<Option<Token>> {
        self.skip_blank()?;
        let Some(&first) = self.bytes.get(self.at) else { return Ok(None) };
        let start = self.at;
        let kind = self.scan(first)?;
        // A text is at most MAX_TEXT_BYTES long, so that offsets fit.
        Ok(Some(Token { kind, start: start as u32, end: self.at as u32 }))
    }

    fn scan(&mut self, first: u8) -> Result<TokenKind> {
        match first {
            b'u' | b'U' if self.peek(1) == b'&' && matches!(self.peek(2), b'\'' | b'"') => self.unicode(),
            b'e' | b'E' if self.peek(1) == b'\'' => self.prefixed(TokenKind::EscapeString),
            b'n' | b'N' if self.peek(1) == b'\'' => self.prefixed(TokenKind::NationalString),
            b'b' | b'B' if self.peek(1) == b'\'' => self.prefixed(TokenKind::BitString),
            b'x' | b'X' if self.peek(1) == b'\'' => self.prefixed(TokenKind::HexString),
            _ if is_word_start(first) => {
                let rest = &self.bytes[self.at..];
                self.at += rest.iter().position(|byte| !is_word_part(*byte)).unwrap_or(rest.len());
                Ok(TokenKind::Word)
            }
            b'\'' => self.string(TokenKind::String, self.at),
            b'"' => self.quoted_word(self.at),
            b'0'..=b'9' => self.number(),
            b'.' if self.peek(1).is_ascii_digit() => self.number(),
            b'$' => self.dollar(),
            _ if is_operator(first) => Ok(self.operator()),
            _ => self.punctuation(first),
        }
    }

    fn punctuation(&mut self, first: u8) -> Result<TokenKind> {
        let kind = match first {
            b'(' => TokenKind::LeftParen,
            b')' => TokenKind::RightParen,
            b'[' => TokenKind::LeftBracket,
            b']' => TokenKind::RightBracket,
            b',' => TokenKind::Comma,
            b';' => TokenKind::Semicolon,
            b'.' => TokenKind::Dot,
            b':' if self.peek(1) == b':' => {
                self.at += 1;
                TokenKind::DoubleColon
            }
            b':' if self.peek(1) == b'=' => {
                self.at += 1;
                TokenKind::ColonEquals
            }
            b':' => TokenKind::Colon,
            _ => return Err(syntax_error_at(self.text, self.at, &self.text[self.at..=self.at])),
        };
        self.at += 1;
        Ok(kind)
    }

    fn skip_blank(&mut self) -> Result<()> {
        loop {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            self.at += rest.iter().position(|byte| !is_space(*byte)).unwrap_or(rest.len());
            match self.peek(0) {
                b'-' if self.peek(1) == b'-' => self.line_comment(),
                b'/' if self.peek(1) == b'*' => self.block_comment()?,
                _ => return Ok(()),
            }
        }
    }

    fn line_comment(&mut self) {
        let rest = &self.bytes[self.at..];
        self.at += memchr::memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
    }

    fn block_comment(&mut self) -> Result<()> {
        let start = self.at;
        let mut depth = 0_usize;
        loop {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            let Some(found) = memchr::memchr2(b'*', b'/', rest) else {
                return Err(lexical_error(self.text, start, &self.text[start..], "unterminated /* comment"));
            };
            self.at += found;
            match (self.peek(0), self.peek(1)) {
                (b'/', b'*') => {
                    depth += 1;
                    self.at += 2;
                }
                (b'*', b'/') => {
                    depth -= 1;
                    self.at += 2;
                    if depth == 0 {
                        return Ok(());
                    }
                }
                _ => self.at += 1,
            }
        }
    }

    fn prefixed(&mut self, kind: TokenKind) -> Result<TokenKind> {
        let start = self.at;
        self.at += 1;
        self.string(kind, start)
    }

    /// A quoted string whose opening quote is at `self.at`, with its continuations on further lines.
    fn string(&mut self, kind: TokenKind, start: usize) -> Result<TokenKind> {
        self.string_body(kind, start)?;
        loop {
            // Only blanks with a newline among them, or line comments, may lie between the parts.
            let mut ahead = self.clone();
            let mut newline = false;
            loop {
                match ahead.peek(0) {
                    byte @ (b'\n' | b'\r') => {
                        newline |= byte == b'\n' || byte == b'\r';
                        ahead.at += 1;
                    }
                    byte if is_space(byte) => ahead.at += 1,
                    b'-' if newline && ahead.peek(1) == b'-' => ahead.line_comment(),
                    _ => break,
                }
            }
            if !newline || ahead.peek(0) != b'\'' {
                return Ok(kind);
            }
            self.at = ahead.at;
            self.string_body(kind, start)?;
        }
    }

    fn string_body(&mut self, kind: TokenKind, start: usize) -> Result<()> {
        self.at += 1;
        loop {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            let found = if kind == TokenKind::EscapeString {
                memchr::memchr2(b'\'', b'\\', rest)
            } else {
                memchr::memchr(b'\'', rest)
            };
            let Some(found) = found else {
                let what = match kind {
                    TokenKind::BitString => "unterminated bit string literal",
                    TokenKind::HexString => "unterminated hexadecimal string literal",
                    _ => "unterminated quoted string",
                };
                return Err(lexical_error(self.text, start, &self.text[start..], what));
            };
            self.at += found;
            match (self.peek(0), self.peek(1)) {
                (b'\\', _) | (b'\'', b'\'') => self.at += 2,
                _ => {
                    self.at += 1;
                    return Ok(());
                }
            }
        }
    }

    fn quoted_word(&mut self, start: usize) -> Result<TokenKind> {
        let opened = self.at;
        self.at += 1;
        loop {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            let Some(found) = memchr::memchr(b'"', rest) else {
                return Err(lexical_error(self.text, start, &self.text[start..], "unterminated quoted identifier"));
            };
            self.at += found + 1;
            if self.peek(0) != b'"' {
                break;
            }
            self.at += 1;
        }
        if self.at - opened == 2 {
            let near = &self.text[start..self.at];
            return Err(lexical_error(self.text, start, near, "zero-length delimited identifier"));
        }
        Ok(TokenKind::QuotedWord)
    }

    fn unicode(&mut self) -> Result<TokenKind> {
        let start = self.at;
        self.at += 2;
        let kind = if self.peek(0) == b'"' {
            self.quoted_word(start)?;
            TokenKind::UnicodeWord
        } else {
            self.string(TokenKind::UnicodeString, start)?
        };
        let mut ahead = self.clone();
        ahead.skip_blank()?;
        let word = ahead.bytes.get(ahead.at..ahead.at + 7).unwrap_or_default();
        if word.eq_ignore_ascii_case(b"uescape") && !is_word_part(ahead.peek(7)) {
            ahead.at += 7;
            ahead.skip_blank()?;
            let near = ahead.at;
            if ahead.peek(0) != b'\'' {
                let what = "UESCAPE must be followed by a simple string literal";
                return Err(lexical_error(self.text, near, self.text.get(near..).unwrap_or_default(), what));
            }
            ahead.string_body(TokenKind::String, near)?;
            self.at = ahead.at;
        }
        Ok(kind)
    }

    fn number(&mut self) -> Result<TokenKind> {
        let start = self.at;
        let mut kind = TokenKind::Integer;
        if self.peek(0) == b'0' && matches!(self.peek(1), b'x' | b'X' | b'o' | b'O' | b'b' | b'B') {
            kind = TokenKind::RadixInteger;
            let radix = match self.peek(1) {
                b'x' | b'X' => 16,
                b'o' | b'O' => 8,
                _ => 2,
            };
            self.at += 2;
            let digits = self.at;
            self.digits(radix);
            if self.at == digits {
                return Err(self.junk(start, "invalid integer literal"));
            }
        } else {
            self.digits(10);
            // `1..2` is no number: two dots end it.
            if self.peek(0) == b'.' && self.peek(1) != b'.' {
                kind = TokenKind::Decimal;
                self.at += 1;
                self.digits(10);
            }
            if matches!(self.peek(0), b'e' | b'E') {
                let sign = usize::from(matches!(self.peek(1), b'+' | b'-'));
                if self.peek(1 + sign).is_ascii_digit() {
                    kind = TokenKind::Decimal;
                    self.at += 1 + sign;
                    self.digits(10);
                }
            }
        }
        if is_word_start(self.peek(0)) {
            return Err(self.junk(start, "trailing junk after numeric literal"));
        }
        Ok(kind)
    }

    fn digits(&mut self, radix: u32) {
        loop {
            let skip = usize::from(self.peek(0) == b'_');
            if !char::from(self.peek(skip)).is_digit(radix) {
                return;
            }
            self.at += 1 + skip;
        }
    }

    fn junk(&mut self, start: usize, what: &str) -> Error {
        while is_word_part(self.peek(0)) {
            self.at += 1;
        }
        lexical_error(self.text, start, &self.text[start..self.at], what)
    }

    fn dollar(&mut self) -> Result<TokenKind> {
        let start = self.at;
        if self.peek(1).is_ascii_digit() {
            self.at += 1;
            while self.peek(0).is_ascii_digit() {
                self.at += 1;
            }
            if is_word_start(self.peek(0)) {
                return Err(self.junk(start, "trailing junk after parameter"));
            }
            return Ok(TokenKind::Parameter);
        }
        let mut end = start + 1;
        while self.bytes.get(end).is_some_and(|&byte| is_word_part(byte) && byte != b'$') {
            end += 1;
        }
        if self.bytes.get(end) != Some(&b'$') {
            return Err(syntax_error_at(self.text, start, "$"));
        }
        let tag = &self.bytes[start..=end];
        self.at = end + 1;
        let Some(found) = memchr::memmem::find(&self.bytes[self.at..], tag) else {
            let near = &self.text[start..];
            return Err(lexical_error(self.text, start, near, "unterminated dollar-quoted string"));
        };
        self.at += found + tag.len();
        Ok(TokenKind::DollarString)
    }

    fn operator(&mut self) -> TokenKind {
        let start = self.at;
        let mut end = start;
        while self.bytes.get(end).copied().is_some_and(is_operator) {
            let next = self.bytes.get(end + 1).copied().unwrap_or(0);
            // A comment ends an operator.
            if end > start && matches!((self.bytes[end], next), (b'-', b'-') | (b'/', b'*')) {
                break;
            }
            end += 1;
        }
        // A longer operator ends in + or - only when it has a character that standard SQL's operators lack.
        let special = |bytes: &[u8]| {
            bytes.iter().any(|byte| matches!(byte, b'~' | b'!' | b'@' | b'#' | b'^' | b'&' | b'|' | b'`' | b'?' | b'%'))
        };
        while end - start > 1 && matches!(self.bytes[end - 1], b'+' | b'-') && !special(&self.bytes[start..end]) {
            end -= 1;
        }
        self.at = end;
        TokenKind::Operator
    }
}

impl Iterator for Lexer<'_> {
    type Item = Result<Token>;

    fn next(&mut self) -> Option<Result<Token>> {
        self.next_token().transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(text: &str) -> Vec<(TokenKind, &str)> {
        Lexer::new(text)
            .unwrap()
            .map(|token| token.map(|token| (token.kind, token.text(text))))
            .collect::<Result<_>>()
            .unwrap()
    }

    fn error(text: &str) -> (String, u32) {
        let error = Lexer::new(text).unwrap().collect::<Result<Vec<_>>>().unwrap_err();
        assert_eq!(error.sqlstate(), SqlState::SYNTAX_ERROR);
        (error.message().to_owned(), error.get_position().unwrap())
    }

    #[test]
    fn strings_end_where_postgres_ends_them() {
        use TokenKind::*;
        assert_eq!(tokens("'a''b' x"), [(String, "'a''b'"), (Word, "x")]);
        assert_eq!(tokens(r"'a\' x"), [(String, r"'a\'"), (Word, "x")]);
        assert_eq!(tokens(r"E'a\'b' x"), [(EscapeString, r"E'a\'b'"), (Word, "x")]);
        assert_eq!(tokens("$$a'b$$ $x$ $$ $x$"), [(DollarString, "$$a'b$$"), (DollarString, "$x$ $$ $x$")]);
        assert_eq!(tokens("U&'d!0061' UESCAPE '!' x"), [(UnicodeString, "U&'d!0061' UESCAPE '!'"), (Word, "x")]);
        assert_eq!(tokens("U&\"a\""), [(UnicodeWord, "U&\"a\"")]);
        assert_eq!(tokens("B'01' x'FF'"), [(BitString, "B'01'"), (HexString, "x'FF'")]);
        assert_eq!(tokens("'a' -- c\n 'b'"), [(String, "'a'"), (String, "'b'")]);
        assert_eq!(tokens("'a'\n -- c\n 'b'"), [(String, "'a'\n -- c\n 'b'")]);
        assert_eq!(tokens("'a' 'b'"), [(String, "'a'"), (String, "'b'")]);
    }

    #[test]
    fn numbers_and_parameters() {
        use TokenKind::*;
        assert_eq!(
            tokens("1 1.5 .5 1. 1e5 1e-5 0x1F 1_000"),
            [
                (Integer, "1"),
                (Decimal, "1.5"),
                (Decimal, ".5"),
                (Decimal, "1."),
                (Decimal, "1e5"),
                (Decimal, "1e-5"),
                (RadixInteger, "0x1F"),
                (Integer, "1_000")
            ]
        );
        assert_eq!(tokens("$1 $22"), [(Parameter, "$1"), (Parameter, "$22")]);
        assert_eq!(error("SELECT 1a"), ("trailing junk after numeric literal at or near \"1a\"".into(), 8));
        assert_eq!(error("SELECT $1a").0, "trailing junk after parameter at or near \"$1a\"");
    }

    #[test]
    fn operators_follow_the_rule_for_signs_and_comments() {
        use TokenKind::*;
        assert_eq!(tokens("a=-1"), [(Word, "a"), (Operator, "="), (Operator, "-"), (Integer, "1")]);
        assert_eq!(tokens("a@-1"), [(Word, "a"), (Operator, "@-"), (Integer, "1")]);
        assert_eq!(tokens("a+/*c*/b"), [(Word, "a"), (Operator, "+"), (Word, "b")]);
        assert_eq!(tokens("a<--c\nb"), [(Word, "a"), (Operator, "<"), (Word, "b")]);
        assert_eq!(tokens("a->>'k'"), [(Word, "a"), (Operator, "->>"), (String, "'k'")]);
        assert_eq!(
            tokens("a::b:=c"),
            [(Word, "a"), (DoubleColon, "::"), (Word, "b"), (ColonEquals, ":="), (Word, "c")]
        );
    }

    #[test]
    fn comments_nest() {
        assert_eq!(tokens("/* a /* b */ '; */ x -- y ' \n z").len(), 2);
        assert_eq!(error("x /* /* */").0, "unterminated /* comment at or near \"/* /* */\"");
    }

    #[test]
    fn unterminated_things_are_errors_with_a_position() {
        assert_eq!(error("SELECT 'ab"), ("unterminated quoted string at or near \"'ab\"".into(), 8));
        assert_eq!(error("ä \"ab"), ("unterminated quoted identifier at or near \"\"ab\"".into(), 3));
        assert_eq!(error("$a$ x $b$").0, "unterminated dollar-quoted string at or near \"$a$ x $b$\"");
        assert_eq!(error("E'\\").0, "unterminated quoted string at or near \"E'\\\"");
        assert_eq!(error("\"\"").0, "zero-length delimited identifier at or near \"\"\"\"");
        assert_eq!(error("a {").0, "syntax error at or near \"{\"");
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_lexer_panic(text in r#"(\PC|['"$\\/*-]|\$a\$|U&'|E'){0,60}"#) {
            let mut end = 0;
            for token in Lexer::new(&text).unwrap() {
                let Ok(token) = token else { break };
                assert!(token.start >= end && token.end > token.start);
                assert!(text.is_char_boundary(token.start as usize) && text.is_char_boundary(token.end as usize));
                end = token.end;
            }
        }
    }
}
