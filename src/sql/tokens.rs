//! Our tokens as the parser's.
//!
//! The parser's own tokenizer is not used: where it differs from Postgres's lexer (continued strings, comments that end
//! at a carriage return, operators), a text would mean one thing to the router and another to the shard. Every token's
//! location is line 1 and the column of its byte, from 1, so that a place in the tree is a place in the text.

use sqlparser::ast::DollarQuotedString;
use sqlparser::tokenizer::{Location, Span, Token as ParserToken, TokenWithSpan};

use super::hidden::Hidden;
use super::lexer::{Token, TokenKind, position, syntax_error_at};
use super::spelling::respell;
use super::value::{integer_value, quoted_word_value, string_value};
use crate::error::{Error, Result, SqlState};

/// The most tokens that one statement may have: the tree takes some hundred bytes for each.
pub(super) const MAX_TOKENS: usize = 250_000;

/// The most operators that may follow one another, and the deepest nesting, in sum. The tree is hardly deeper: only BETWEEN SYMMETRIC,
/// once it is written out, adds to it.
pub(super) const MAX_DEPTH: usize = 1_000;

/// Trees no deeper than this need no special stack. Measured: a build without optimisation parses a nested query with up to
/// 190 KiB, which is much of a thread's 2 MiB.
const SHALLOW: usize = if cfg!(debug_assertions) { 4 } else { 24 };

/// What is given to the parser.
pub(super) struct ParserTokens {
    pub(super) tokens: Vec<TokenWithSpan>,
    /// The tree may be deep.
    pub(super) deep: bool,
    /// What it will not show.
    pub(super) hidden: Vec<Hidden>,
}

/// # Errors
/// 42601 for what no statement can hold, 54001 for a text that is too long or too deep.
pub(super) fn parser_tokens(text: &str, tokens: &[Token]) -> Result<ParserTokens> {
    if tokens.len() > MAX_TOKENS {
        return Err(Error::new(
            SqlState::PROGRAM_LIMIT_EXCEEDED,
            format!("statement has more than {MAX_TOKENS} tokens"),
        )
        .hint("Send fewer rows in one statement."));
    }
    let mut converted = Vec::with_capacity(tokens.len());
    let mut depth = Depth::default();
    let mut before: Option<Token> = None;
    let mut hidden = Vec::new();
    let mut next = 0;
    for (index, token) in tokens.iter().enumerate() {
        if index < next {
            continue;
        }
        depth.note(text, *token)?;
        if let Some(respelled) = respell(text, tokens, index)? {
            next = index + respelled.taken;
            hidden.extend(respelled.hides);
            converted.extend(respelled.tokens.into_iter().map(|other| TokenWithSpan::new(other, span(*token))));
            before = Some(*token);
            continue;
        }
        if token.kind.is_string() && before.is_some_and(|before| before.kind.is_string()) {
            // The parser would join them; Postgres does so only across lines, which made them one token.
            return Err(syntax_error_at(text, token.start as usize, token.text(text)));
        }
        converted.push(TokenWithSpan::new(parser_token(text, *token)?, span(*token)));
        before = Some(*token);
    }
    Ok(ParserTokens { tokens: converted, deep: depth.deepest > SHALLOW, hidden })
}

fn span(token: Token) -> Span {
    Span::new(Location::new(1, u64::from(token.start) + 1), Location::new(1, u64::from(token.end) + 1))
}

fn parser_token(text: &str, token: Token) -> Result<ParserToken> {
    let raw = token.text(text);
    Ok(match token.kind {
        TokenKind::Word => ParserToken::make_word(raw, None),
        TokenKind::QuotedWord | TokenKind::UnicodeWord => {
            ParserToken::make_word(&quoted_word_value(text, token)?, Some('"'))
        }
        TokenKind::DollarString => ParserToken::DollarQuotedString(DollarQuotedString {
            value: string_value(text, token)?.into_owned(),
            tag: raw[1..].split('$').next().filter(|tag| !tag.is_empty()).map(str::to_owned),
        }),
        kind if kind.is_string() => ParserToken::SingleQuotedString(string_value(text, token)?.into_owned()),
        TokenKind::BitString => ParserToken::SingleQuotedByteStringLiteral(raw[2..raw.len() - 1].to_owned()),
        TokenKind::HexString => ParserToken::HexStringLiteral(raw[2..raw.len() - 1].to_owned()),
        TokenKind::Integer => ParserToken::Number(raw.replace('_', ""), false),
        TokenKind::RadixInteger => match integer_value(raw) {
            Some(value) => ParserToken::Number(value.to_string(), false),
            None => {
                return Err(Error::unsupported("an integer past bigint in hexadecimal", "Write it in decimal.")
                    .position(position(text, token.start as usize)));
            }
        },
        TokenKind::Decimal => ParserToken::Number(raw.replace('_', ""), false),
        TokenKind::Parameter => {
            let number = super::lift::parameter_number(text, token)?;
            ParserToken::Placeholder(format!("${number}"))
        }
        TokenKind::Operator => operator(raw),
        TokenKind::LeftParen => ParserToken::LParen,
        TokenKind::RightParen => ParserToken::RParen,
        TokenKind::LeftBracket => ParserToken::LBracket,
        TokenKind::RightBracket => ParserToken::RBracket,
        TokenKind::Comma => ParserToken::Comma,
        TokenKind::Semicolon => ParserToken::SemiColon,
        TokenKind::Dot => ParserToken::Period,
        TokenKind::Colon => ParserToken::Colon,
        TokenKind::DoubleColon => ParserToken::DoubleColon,
        TokenKind::ColonEquals => ParserToken::Assignment,
        _ => return Err(Error::internal("a token of an unknown kind")),
    })
}

fn operator(raw: &str) -> ParserToken {
    match raw {
        "=" => ParserToken::Eq,
        "<>" | "!=" => ParserToken::Neq,
        "<" => ParserToken::Lt,
        ">" => ParserToken::Gt,
        "<=" => ParserToken::LtEq,
        ">=" => ParserToken::GtEq,
        "+" => ParserToken::Plus,
        "-" => ParserToken::Minus,
        "*" => ParserToken::Mul,
        "/" => ParserToken::Div,
        "%" => ParserToken::Mod,
        "^" => ParserToken::Caret,
        "||" => ParserToken::StringConcat,
        "|" => ParserToken::Pipe,
        "&" => ParserToken::Ampersand,
        "#" => ParserToken::Sharp,
        "~" => ParserToken::Tilde,
        "~*" => ParserToken::TildeAsterisk,
        "!~" => ParserToken::ExclamationMarkTilde,
        "!~*" => ParserToken::ExclamationMarkTildeAsterisk,
        "~~" => ParserToken::DoubleTilde,
        "~~*" => ParserToken::DoubleTildeAsterisk,
        "!~~" => ParserToken::ExclamationMarkDoubleTilde,
        "!~~*" => ParserToken::ExclamationMarkDoubleTildeAsterisk,
        "<<" => ParserToken::ShiftLeft,
        ">>" => ParserToken::ShiftRight,
        "&&" => ParserToken::Overlap,
        "@" => ParserToken::AtSign,
        "^@" => ParserToken::CaretAt,
        "|/" => ParserToken::PGSquareRoot,
        "||/" => ParserToken::PGCubeRoot,
        "->" => ParserToken::Arrow,
        "->>" => ParserToken::LongArrow,
        "#>" => ParserToken::HashArrow,
        "#>>" => ParserToken::HashLongArrow,
        "#-" => ParserToken::HashMinus,
        "@>" => ParserToken::AtArrow,
        "<@" => ParserToken::ArrowAt,
        "@?" => ParserToken::AtQuestion,
        "@@" => ParserToken::AtAt,
        "?" => ParserToken::Question,
        "?&" => ParserToken::QuestionAnd,
        "?|" => ParserToken::QuestionPipe,
        "=>" => ParserToken::RArrow,
        other => ParserToken::CustomBinaryOperator(other.to_owned()),
    }
}

/// A bound on the depth of the tree, kept while tokens pass: operators chain to the left, parentheses nest.
#[derive(Debug, Default)]
struct Depth {
    levels: Vec<usize>,
    current: usize,
    total: usize,
    deepest: usize,
}

impl Depth {
    fn note(&mut self, text: &str, token: Token) -> Result<()> {
        match token.kind {
            TokenKind::LeftParen | TokenKind::LeftBracket => {
                if token.kind == TokenKind::LeftBracket {
                    // `a[1][2]`: also read as a type, which nests.
                    self.deeper(1);
                }
                self.levels.push(self.current);
                self.total += 1;
                self.current = 1;
            }
            TokenKind::RightParen | TokenKind::RightBracket => {
                self.total -= self.current;
                self.current = self.levels.pop().unwrap_or(0);
                self.total = self.total.max(self.current);
                // What follows may apply to the whole: `(...)::a::b`, `f(...)(...)`.
            }
            TokenKind::Comma => {
                // The parenthesis around it goes on.
                let around = usize::from(!self.levels.is_empty());
                self.total = self.total - self.current + around;
                self.current = around;
            }
            TokenKind::Operator | TokenKind::DoubleColon => self.deeper(1),
            TokenKind::Word => self.deeper(depth_of(token.text(text))),
            _ => {}
        }
        self.deepest = self.deepest.max(self.total);
        if self.total > MAX_DEPTH {
            return Err(Error::new(
                SqlState::STATEMENT_TOO_COMPLEX,
                "statement is nested too deeply or has too many operators in a row",
            )
            .hint("Use IN (...) or = ANY(...) in place of a long chain of OR.")
            .position(position(text, token.start as usize)));
        }
        Ok(())
    }

    fn deeper(&mut self, by: usize) {
        self.current += by;
        self.total += by;
    }
}

/// How much deeper a word makes the tree.
fn depth_of(word: &str) -> usize {
    /// The longest of them.
    const LONGEST: usize = 9;
    /// Words that chain or nest.
    const DEEPER: &[&str] = &[
        "and",
        "or",
        "not",
        "is",
        "isnull",
        "notnull",
        "in",
        "like",
        "ilike",
        "similar",
        "between",
        "collate",
        "at",
        "union",
        "except",
        "intersect",
        "case",
        "overlaps",
        "operator",
    ];
    if word.len() > LONGEST {
        return 0;
    }
    if word.eq_ignore_ascii_case("join") {
        // Joins without conditions nest, and the parser takes much stack for each.
        return 4;
    }
    usize::from(DEEPER.iter().any(|deeper| word.eq_ignore_ascii_case(deeper)))
}
