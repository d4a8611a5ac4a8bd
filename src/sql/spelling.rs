//! Spellings of Postgres that the parser does not know, as ones that mean the same to it.
//!
//! They are changed token by token, so that every other token keeps its place. What has no other spelling is refused
//! here, where it can still be named; the parser would only find a syntax error.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::Token as ParserToken;

use super::hidden::Hidden;
use super::lexer::{Token, TokenKind, position, syntax_error_at};
use super::value::{fold_name, quoted_word_value};
use crate::error::{Error, Result, SqlState};

/// How often a MERGE may say OVERRIDING: each is looked for from the begin of the text.
const MAX_OVERRIDING: usize = 8;

/// What is given to the parser in place of the next `taken` tokens.
pub(super) struct Respelled {
    pub(super) taken: usize,
    pub(super) tokens: Vec<ParserToken>,
    /// What the tree does not show then.
    pub(super) hides: Option<Hidden>,
}

impl Respelled {
    /// What means the same.
    pub(super) fn new(taken: usize, tokens: Vec<ParserToken>) -> Respelled {
        Respelled { taken, tokens, hides: None }
    }

    pub(super) fn dropped(taken: usize) -> Option<Respelled> {
        Some(Respelled::new(taken, Vec::new()))
    }
}

/// The other spelling of what begins at the token with this `index`.
///
/// # Errors
/// 42601 for what no statement can hold, 0A000 for what cannot be said to the parser.
pub(super) fn respell(text: &str, tokens: &[Token], index: usize) -> Result<Option<Respelled>> {
    let here = Here { text, tokens, index };
    match tokens[index].kind {
        TokenKind::Word => here.word(),
        TokenKind::ColonEquals => Ok(Some(Respelled::new(1, vec![ParserToken::RArrow]))),
        TokenKind::Operator => Ok(here.asterisk()),
        TokenKind::LeftBracket => here.subscripts_of_target(),
        kind if kind.is_string() && here.kind(-1).is_some_and(ends_value) => {
            // The parser would take it for a column's name.
            Err(syntax_error_at(text, tokens[index].start as usize, tokens[index].text(text)))
        }
        _ => Ok(None),
    }
}

fn ends_value(kind: TokenKind) -> bool {
    matches!(kind, TokenKind::Parameter | TokenKind::Integer | TokenKind::RadixInteger | TokenKind::Decimal)
}

/// A token among others, at whatever distance from it.
pub(super) struct Here<'t> {
    text: &'t str,
    tokens: &'t [Token],
    index: usize,
}

impl Here<'_> {
    fn token(&self, offset: isize) -> Option<Token> {
        self.tokens.get(self.index.checked_add_signed(offset)?).copied()
    }

    pub(super) fn kind(&self, offset: isize) -> Option<TokenKind> {
        self.token(offset).map(|token| token.kind)
    }

    pub(super) fn is(&self, offset: isize, word: &str) -> bool {
        self.token(offset)
            .is_some_and(|token| token.kind == TokenKind::Word && token.text(self.text).eq_ignore_ascii_case(word))
    }

    pub(super) fn is_one_of(&self, offset: isize, words: &[&str]) -> bool {
        words.iter().any(|word| self.is(offset, word))
    }

    fn is_in_parentheses(&self) -> bool {
        let kinds = || self.tokens[..self.index].iter().map(|token| token.kind);
        let count = |wanted| kinds().filter(|kind| *kind == wanted).count();
        count(TokenKind::LeftParen) > count(TokenKind::RightParen)
    }

    /// The token's text; empty where there is none.
    pub(super) fn text_at(&self, offset: isize) -> &str {
        self.token(offset).map_or("", |token| token.text(self.text))
    }

    /// 42601 at a token, or at the end.
    pub(super) fn syntax_error(&self, offset: isize) -> Error {
        match self.token(offset) {
            Some(token) => syntax_error_at(self.text, token.start as usize, token.text(self.text)),
            None => syntax_error_at(self.text, self.text.len(), ""),
        }
    }

    /// The name at a place, folded unless it was quoted.
    pub(super) fn name_at(&self, offset: isize) -> Result<Option<String>> {
        let Some(token) = self.token(offset) else { return Ok(None) };
        Ok(match token.kind {
            TokenKind::Word => Some(fold_name(token.text(self.text)).into_owned()),
            TokenKind::QuotedWord => Some(quoted_word_value(self.text, token)?.into_owned()),
            _ => None,
        })
    }

    /// Whether the statement begins with one of these words.
    pub(super) fn first_is(&self, words: &[&str]) -> bool {
        let first = self.tokens.first().map(|token| token.text(self.text));
        first.is_some_and(|first| words.iter().any(|word| first.eq_ignore_ascii_case(word)))
    }

    pub(super) fn refuse(&self, construct: &str, hint: &str) -> Error {
        Error::unsupported(construct, hint).position(position(self.text, self.tokens[self.index].start as usize))
    }

    fn word(&self) -> Result<Option<Respelled>> {
        let word = self.tokens[self.index].text(self.text);
        Ok(match word.len() {
            2 | 3 if self.weakens_a_lock() => Respelled::dropped(1),
            3..=5 if self.compares_with_many() => self.like_operator(),
            4 if self.is(0, "from") && self.begins_trim() => Respelled::dropped(1),
            4 if self.is(0, "like") && self.begins_like_clause() => Some(self.like_clause()),
            5 if self.is(0, "where") && self.ends_conflict_target() => Some(self.conflict_condition()),
            5 if self.is(0, "table") && self.begins_table_query() => {
                Some(Respelled::new(1, vec![keyword(Keyword::SELECT), ParserToken::Mul, keyword(Keyword::FROM)]))
            }
            6 if self.is(0, "isnull") && self.follows_value() => {
                Some(Respelled::new(1, vec![keyword(Keyword::IS), keyword(Keyword::NULL)]))
            }
            7 if self.is(0, "collate") && self.follows_cast() => Some(self.collation_of_cast()?),
            7 if self.is(0, "exclude") => self.frame_exclusion(),
            8 if self.is(0, "identity") && self.is(-1, "as") => return self.identity_options(),
            9 if self.is(0, "symmetric") && self.is(-1, "between") => {
                Some(Respelled::new(1, vec![ParserToken::DoubleExclamationMark]))
            }
            10 if self.is(0, "overriding") && self.is_one_of(1, &["system", "user"]) && self.is(2, "value") => {
                if self.is_in_parentheses() {
                    return Err(self.refuse(
                        "OVERRIDING SYSTEM VALUE and OVERRIDING USER VALUE within WITH",
                        "Make it a statement of its own, or the column GENERATED BY DEFAULT.",
                    ));
                }
                self.refuse_several_overriding()?;
                // See `Parsed::overriding`.
                Respelled::dropped(3)
            }
            _ => return self.hidden(),
        })
    }

    /// Only a MERGE may say it several times.
    ///
    /// # Errors
    /// 42601; 0A000 for both kinds in one statement, which are told apart nowhere; 54001.
    fn refuse_several_overriding(&self) -> Result<()> {
        let is_earlier = |at: &isize| {
            self.is(*at, "overriding") && self.is_one_of(*at + 1, &["system", "user"]) && self.is(*at + 2, "value")
        };
        let begin = -(self.index as isize);
        let mut earlier = (begin..0).filter(is_earlier).take(MAX_OVERRIDING).peekable();
        if earlier.peek().is_none() {
            return Ok(());
        }
        if !(begin..0).any(|at| self.is(at, "merge")) {
            return Err(self.syntax_error(0));
        }
        let kind = self.text_at(1);
        let mut count = 0;
        for at in earlier {
            if !self.text_at(at + 1).eq_ignore_ascii_case(kind) {
                return Err(self.refuse(
                    "OVERRIDING SYSTEM VALUE beside OVERRIDING USER VALUE",
                    "Say the same in each INSERT of the MERGE.",
                ));
            }
            count += 1;
        }
        if count < MAX_OVERRIDING {
            return Ok(());
        }
        let message = format!("a statement says OVERRIDING more than {MAX_OVERRIDING} times");
        Err(Error::new(SqlState::STATEMENT_TOO_COMPLEX, message)
            .hint("Put the conditions of several WHEN into one, with CASE in its values."))
    }

    /// NO KEY of FOR NO KEY UPDATE, and KEY of FOR KEY SHARE: the stronger lock is right, too.
    fn weakens_a_lock(&self) -> bool {
        let no = self.is(-1, "for") && self.is(0, "no") && self.is(1, "key") && self.is(2, "update");
        let no_key = self.is(-2, "for") && self.is(-1, "no") && self.is(0, "key") && self.is(1, "update");
        let key = self.is(-1, "for") && self.is(0, "key") && self.is(1, "share");
        no || no_key || key
    }

    /// `LIKE ANY (...)` and its kin: `~~ ANY (...)`, as Postgres itself reads it.
    fn compares_with_many(&self) -> bool {
        let like = if self.is(0, "not") { 1 } else { 0 };
        self.is_one_of(like, &["like", "ilike"])
            && self.is_one_of(like + 1, &["any", "all", "some"])
            && self.kind(like + 2) == Some(TokenKind::LeftParen)
    }

    fn like_operator(&self) -> Option<Respelled> {
        let negated = self.is(0, "not");
        let like = isize::from(negated);
        let operator = match (negated, self.is(like, "ilike")) {
            (false, false) => ParserToken::DoubleTilde,
            (false, true) => ParserToken::DoubleTildeAsterisk,
            (true, false) => ParserToken::ExclamationMarkDoubleTilde,
            (true, true) => ParserToken::ExclamationMarkDoubleTildeAsterisk,
        };
        Some(Respelled::new(1 + usize::from(negated), vec![operator]))
    }

    /// `trim(FROM x)` and `trim(BOTH FROM x)`.
    fn begins_trim(&self) -> bool {
        let at = if self.is_one_of(-1, &["both", "leading", "trailing"]) { -2 } else { -1 };
        self.kind(at) == Some(TokenKind::LeftParen) && self.is(at - 1, "trim")
    }

    fn begins_like_clause(&self) -> bool {
        matches!(self.kind(-1), Some(TokenKind::LeftParen | TokenKind::Comma))
            && self.tokens.first().is_some_and(|first| first.text(self.text).eq_ignore_ascii_case("create"))
            && matches!(self.kind(1), Some(TokenKind::Word | TokenKind::QuotedWord))
    }

    /// One that has another table's columns is one with some column here.
    fn like_clause(&self) -> Respelled {
        let ends = |at: &isize| matches!(self.kind(*at), None | Some(TokenKind::Comma | TokenKind::RightParen));
        let taken = (1..).find(ends).unwrap_or(1);
        let mut hiding = self.hiding("CREATE TABLE ... (LIKE ...)", "Write the columns out.", taken as usize);
        hiding.tokens = vec![ParserToken::make_word("like", Some('"')), ParserToken::make_word("text", None)];
        hiding
    }

    /// TABLE where a query may begin: `TABLE t` is `SELECT * FROM t`.
    fn begins_table_query(&self) -> bool {
        let name_follows = matches!(self.kind(1), Some(TokenKind::Word | TokenKind::QuotedWord)) && !self.is(1, "only");
        let begins = match self.kind(-1) {
            None | Some(TokenKind::LeftParen) => true,
            Some(TokenKind::Word) if self.is_one_of(-1, &["union", "except", "intersect"]) => true,
            Some(TokenKind::Word) if self.is_one_of(-1, &["all", "distinct"]) => {
                self.is_one_of(-2, &["union", "except", "intersect"])
            }
            // The source of an INSERT, or what follows WITH.
            Some(TokenKind::Word | TokenKind::QuotedWord | TokenKind::RightParen) => {
                self.tokens.first().is_some_and(|first| {
                    ["insert", "with"].iter().any(|word| first.text(self.text).eq_ignore_ascii_case(word))
                })
            }
            _ => false,
        };
        name_follows && begins
    }

    /// Whether what is before ends `ON CONFLICT (...)`.
    fn ends_conflict_target(&self) -> bool {
        let mut depth = 0_i32;
        for (index, token) in self.tokens[..self.index].iter().enumerate().rev() {
            depth += match token.kind {
                TokenKind::RightParen => 1,
                TokenKind::LeftParen => -1,
                _ => 0,
            };
            if depth <= 0 {
                let before = index.checked_sub(1).and_then(|index| self.tokens.get(index));
                return depth == 0
                    && token.kind == TokenKind::LeftParen
                    && before.is_some_and(|before| before.text(self.text).eq_ignore_ascii_case("conflict"));
            }
        }
        false
    }

    /// ISNULL after a value; elsewhere it is a name.
    fn follows_value(&self) -> bool {
        let value = match self.kind(-1) {
            None | Some(TokenKind::Dot | TokenKind::Comma | TokenKind::LeftParen | TokenKind::Operator) => false,
            _ => !self.is(-1, "as"),
        };
        value && self.kind(1) != Some(TokenKind::LeftParen)
    }

    /// The condition of ON CONFLICT's target, to DO.
    fn conflict_condition(&self) -> Respelled {
        let taken = (1..).find(|at| self.kind(*at).is_none() || self.is(*at, "do")).unwrap_or(1);
        self.hiding(
            "a condition in ON CONFLICT's target",
            "Leave the target out (DO NOTHING), or name columns with a whole unique constraint.",
            taken as usize,
        )
    }

    fn frame_exclusion(&self) -> Option<Respelled> {
        if self.is(1, "no") && self.is(2, "others") {
            return Respelled::dropped(3);
        }
        let words = match (self.is(1, "current") && self.is(2, "row"), self.is_one_of(1, &["group", "ties"])) {
            (true, _) => 3,
            (_, true) => 2,
            _ => return None,
        };
        let in_frame = self.is_one_of(-1, &["row", "preceding", "following"]);
        in_frame.then(|| self.hiding("EXCLUDE in a window's frame", "Subtract the row's own value.", words))
    }

    /// The tree lacks the next `taken` tokens.
    fn hiding(&self, construct: &str, hint: &str, taken: usize) -> Respelled {
        let hides = Hidden::new(self.refuse(construct, hint));
        Respelled { taken, tokens: Vec::new(), hides: Some(hides) }
    }

    /// The options of an identity column: left out where they say what holds anyway, refused otherwise.
    fn identity_options(&self) -> Result<Option<Respelled>> {
        if self.kind(1) != Some(TokenKind::LeftParen) {
            return Ok(None);
        }
        let rest = self.tokens[self.index + 2..].iter();
        let options: Vec<String> = rest
            .take_while(|token| token.kind != TokenKind::RightParen)
            .map(|token| token.text(self.text).to_ascii_lowercase())
            .collect();
        let mut words = options.iter().map(String::as_str);
        while let Some(word) = words.next() {
            let default = match word {
                "start" | "increment" => match words.next() {
                    Some("with" | "by") => words.next() == Some("1"),
                    value => value == Some("1"),
                },
                "no" => matches!(words.next(), Some("minvalue" | "maxvalue" | "cycle")),
                "minvalue" => words.next() == Some("1"),
                "cache" => words.next().is_some(),
                _ => false,
            };
            if !default {
                return Err(self.refuse(
                    "an identity column with options",
                    "Leave them out: ids are unique, and step by 1,024 on sharded tables.",
                ));
            }
        }
        let keep = ParserToken::make_word(self.tokens[self.index].text(self.text), None);
        Ok(Some(Respelled::new(options.len() + 3, vec![keep])))
    }
}

pub(super) fn keyword(keyword: Keyword) -> ParserToken {
    ParserToken::make_keyword(&format!("{keyword:?}"))
}
