//! Literals out of the text, placeholders in: texts that differ only in inline values share one plan.
//!
//! Many drivers bind in the client, so that every text is unique; without this the plan cache would never be hit. What
//! is lifted must mean the same as a placeholder there. Where it would not (a type's modifier, an ordinal in ORDER BY,
//! the string of `interval '5 minutes'`, an expression that GROUP BY repeats) the literal stays.

use std::borrow::Cow;
use std::ops::Range;

use super::LiteralKind;
use super::lexer::{Lexer, Token, TokenKind, is_word_part, position};
use super::value::{integer_value, string_value};
use crate::error::{Error, Result, SqlState};

/// A statement with more literals than this keeps them: it is a bulk load, and no other text will equal it.
pub const MAX_LIFTED: usize = 1_000;

/// The highest `$n`, as in the protocol, whose count is 16 bits wide.
pub const MAX_PARAMETERS: usize = 65_535;

/// A literal that was taken out of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Literal<'a> {
    Int4(i32),
    Int8(i64),
    /// As it was written, without underscores: `1.50`, `.5`, `1e5`.
    Numeric(Cow<'a, str>),
    /// A quoted string, unescaped.
    Text(Cow<'a, str>),
}

impl Literal<'_> {
    pub fn kind(&self) -> LiteralKind {
        match self {
            Literal::Int4(_) => LiteralKind::Int4,
            Literal::Int8(_) => LiteralKind::Int8,
            Literal::Numeric(_) => LiteralKind::Numeric,
            Literal::Text(_) => LiteralKind::Text,
        }
    }
}

/// A text with its literals lifted out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lifted<'a> {
    /// The client's text with `$k` in place of `literals[k - client_parameters - 1]`; the client's own when none was lifted.
    pub text: Cow<'a, str>,
    pub literals: Vec<Literal<'a>>,
    /// The highest `$n` that the client wrote.
    pub client_parameters: usize,
    /// Where `text` differs from the client's: (bytes of `text`, bytes of the client's), in order.
    replaced: Vec<(Range<u32>, Range<u32>)>,
}

impl Lifted<'_> {
    pub fn kinds(&self) -> impl Iterator<Item = LiteralKind> + '_ {
        self.literals.iter().map(Literal::kind)
    }

    /// Where each of `literals` stands in the client's text.
    pub(super) fn written(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        self.replaced.iter().map(|(_, client)| client.start as usize..client.end as usize)
    }

    /// What the client wrote where `text` has this placeholder.
    pub fn original<'t>(&self, original: &'t str, placeholder: &str) -> Option<&'t str> {
        let number: usize = placeholder.strip_prefix('$')?.parse().ok()?;
        let (_, client) = self.replaced.get(number.checked_sub(self.client_parameters + 1)?)?;
        original.get(client.start as usize..client.end as usize)
    }

    /// The position of a literal in the client's text; `index` is its place in `literals`.
    pub fn position_of_literal(&self, original: &str, index: usize) -> Option<u32> {
        self.replaced.get(index).map(|(_, client)| position(original, client.start as usize))
    }

    /// An error's position in `text` as a position in the client's text.
    pub fn original_position(&self, original: &str, in_lifted: u32) -> u32 {
        let characters = in_lifted.saturating_sub(1) as usize;
        let byte = self.text.char_indices().nth(characters).map_or(self.text.len(), |(byte, _)| byte);
        let mut shift = 0_i64;
        for (lifted, client) in &self.replaced {
            if byte < lifted.start as usize {
                break;
            }
            if byte < lifted.end as usize {
                return position(original, client.start as usize);
            }
            shift = i64::from(client.end) - i64::from(lifted.end);
        }
        position(original, usize::try_from(byte as i64 + shift).unwrap_or(0))
    }
}

/// Lifts the literals of a query or a write; any other statement's text stays as it is.
///
/// # Errors
/// What the lexer refuses, and 42P02 for a parameter's number that cannot be.
pub fn lift(text: &str) -> Result<Lifted<'_>> {
    let mut client_parameters = 0;
    let mut facts = Facts::default();
    let mut tokens = Vec::with_capacity(text.len() / 4 + 4);
    for token in Lexer::new(text)? {
        let token = token?;
        match token.kind {
            TokenKind::Parameter => client_parameters = client_parameters.max(parameter_number(text, token)?),
            TokenKind::Word => facts.note_word(token.text(text)),
            kind if kind.is_string() => facts.literals += 1,
            TokenKind::Integer | TokenKind::Decimal | TokenKind::RadixInteger => facts.literals += 1,
            _ => {}
        }
        tokens.push(token);
    }
    let liftable = facts.literals > 0
        && facts.literals <= MAX_LIFTED
        && client_parameters + facts.literals <= MAX_PARAMETERS
        && tokens
            .iter()
            .find(|token| token.kind != TokenKind::LeftParen)
            .is_some_and(|token| begins_query(text, *token));
    if !liftable {
        return Ok(Lifted { text: Cow::Borrowed(text), literals: Vec::new(), client_parameters, replaced: Vec::new() });
    }
    Lifter::new(text, client_parameters, facts).run(&tokens)
}

/// A text that was derived from a lifted one, with the client's own literals in place of the placeholders that stand for
/// them.
///
/// # Errors
/// One of the texts cannot be read, which each was before.
pub fn put_literals_back(derived: &str, client: &str) -> Result<String> {
    let lifted = lift(client)?;
    let mut text = String::with_capacity(derived.len() + client.len());
    let mut copied = 0;
    for token in Lexer::new(derived)? {
        let token = token?;
        if token.kind != TokenKind::Parameter {
            continue;
        }
        if let Some(literal) = lifted.original(client, token.text(derived)) {
            text.push_str(&derived[copied..token.start as usize]);
            // Beside a minus sign a negative number would begin a comment.
            text.push(' ');
            text.push_str(literal);
            copied = token.end as usize;
        }
    }
    text.push_str(&derived[copied..]);
    Ok(text)
}

/// The number of a `$n` token.
///
/// # Errors
/// 42P02 when it is 0 or past [`MAX_PARAMETERS`].
pub(super) fn parameter_number(text: &str, token: Token) -> Result<usize> {
    let raw = token.text(text);
    match raw[1..].parse::<usize>() {
        Ok(number) if (1..=MAX_PARAMETERS).contains(&number) => Ok(number),
        _ => Err(Error::new(SqlState::UNDEFINED_PARAMETER, format!("there is no parameter {raw}"))
            .position(position(text, token.start as usize))),
    }
}

fn begins_query(text: &str, token: Token) -> bool {
    token.kind == TokenKind::Word
        && matches!(
            Keyword::of(token.text(text)),
            Keyword::Select | Keyword::Insert | Keyword::Update | Keyword::Delete | Keyword::With | Keyword::Values
        )
}

/// What the first pass sees.
#[derive(Clone, Copy, Debug, Default)]
struct Facts {
    literals: usize,
    /// GROUP or DISTINCT is among the words: expressions of the select list may have to equal others.
    compares_expressions: bool,
}

impl Facts {
    fn note_word(&mut self, word: &str) {
        if matches!(word.len(), 5 | 8) && (word.eq_ignore_ascii_case("group") || word.eq_ignore_ascii_case("distinct"))
        {
            self.compares_expressions = true;
        }
    }
}

macro_rules! keywords {
    ($($variant:ident $word:literal)*) => {
        /// The words that decide what a literal near them means.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        enum Keyword { Other, $($variant,)* }

        impl Keyword {
            fn of(word: &str) -> Keyword {
                /// The longest of them.
                const LONGEST: usize = 11;
                /// By first letter, a bit for each length that one of them has.
                const LENGTHS: [u16; 32] = {
                    let mut lengths = [0; 32];
                    $(lengths[($word[0] & 31) as usize] |= 1 << $word.len();)*
                    lengths
                };
                let bytes = word.as_bytes();
                let Some(first) = bytes.first() else { return Keyword::Other };
                if bytes.len() > LONGEST || LENGTHS[usize::from(first & 31)] & (1 << bytes.len()) == 0 {
                    return Keyword::Other;
                }
                let mut lower = [0_u8; LONGEST];
                for (to, from) in lower.iter_mut().zip(word.bytes()) {
                    *to = from.to_ascii_lowercase();
                }
                match &lower[..word.len()] {
                    $($word => Keyword::$variant,)*
                    _ => Keyword::Other,
                }
            }
        }
    };
}

keywords! {
    All b"all" And b"and" Array b"array" As b"as" Between b"between" Bit b"bit" Bpchar b"bpchar" By b"by" Case b"case"
    Char b"char" Character b"character" Conflict b"conflict" Dec b"dec" Decimal b"decimal" Delete b"delete"
    Distinct b"distinct" Else b"else" Except b"except" Extract b"extract" Fetch b"fetch" Float b"float" For b"for"
    From b"from" Group b"group" Having b"having" Ilike b"ilike" Insert b"insert" Intersect b"intersect"
    Interval b"interval" Like b"like" Limit b"limit" Nchar b"nchar" Not b"not" Numeric b"numeric" Offset b"offset" On b"on"
    Or b"or" Order b"order" Over b"over" Partition b"partition" Returning b"returning" Second b"second"
    Select b"select" Set b"set" Symmetric b"symmetric" Tablesample b"tablesample" Then b"then" Time b"time"
    Timestamp b"timestamp" Timestamptz b"timestamptz" Timetz b"timetz" To b"to" Union b"union" Update b"update"
    Values b"values" Varbit b"varbit" Varchar b"varchar" Varying b"varying" When b"when" Where b"where" Window b"window"
    With b"with" Within b"within"
}

/// What the literals of one level of parentheses are part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Clause {
    /// Lifted.
    Plain,
    /// The select list, RETURNING, HAVING: lifted unless expressions are compared.
    Output,
    /// ORDER BY, GROUP BY, type modifiers, windows, ON CONFLICT's target: stays.
    Stays,
}

#[derive(Clone, Copy, Debug)]
struct Level {
    clause: Clause,
    /// SELECT was read on this level: FROM, WHERE and the like are a query's clauses.
    query: bool,
    bracket: bool,
    /// `[...]` of ARRAY, where a placeholder may stand.
    array: bool,
}

struct Lifter<'a> {
    text: &'a str,
    client_parameters: usize,
    facts: Facts,
    levels: Vec<Level>,
    current: Level,
    output: String,
    copied: usize,
    literals: Vec<Literal<'a>>,
    replaced: Vec<(Range<u32>, Range<u32>)>,
}

/// The deepest nesting that is followed; deeper text is not lifted (and will be refused by the parser).
const MAX_LEVELS: usize = 1_000;

impl<'a> Lifter<'a> {
    fn new(text: &'a str, client_parameters: usize, facts: Facts) -> Lifter<'a> {
        Lifter {
            text,
            client_parameters,
            facts,
            levels: Vec::new(),
            current: Level { clause: Clause::Plain, query: false, bracket: false, array: false },
            output: String::with_capacity(text.len() + 8),
            copied: 0,
            literals: Vec::with_capacity(facts.literals),
            replaced: Vec::with_capacity(facts.literals),
        }
    }

    fn run(mut self, tokens: &[Token]) -> Result<Lifted<'a>> {
        let mut before = [(TokenKind::Semicolon, Keyword::Other); 2];
        for token in tokens {
            let mut keyword = Keyword::Other;
            match token.kind {
                TokenKind::Word => {
                    keyword = keyword_after(before[0], Keyword::of(token.text(self.text)));
                    self.enter_clause(keyword, before[0].1);
                }
                TokenKind::LeftParen | TokenKind::LeftBracket => self.open(token.kind, before),
                TokenKind::RightParen | TokenKind::RightBracket => {
                    if let Some(level) = self.levels.pop() {
                        self.current = level;
                    }
                }
                TokenKind::Integer | TokenKind::RadixInteger | TokenKind::Decimal
                    if self.may_lift() && number_may_follow(before) =>
                {
                    self.lift_number(*token);
                }
                kind if kind.is_string() && self.may_lift() && string_may_follow(before) => {
                    let value = string_value(self.text, *token)?;
                    self.replace(*token, Literal::Text(value));
                }
                _ => {}
            }
            before = [(token.kind, keyword), before[0]];
        }
        Ok(self.finish())
    }

    fn may_lift(&self) -> bool {
        let clause = match self.current.clause {
            Clause::Plain => true,
            Clause::Output => !self.facts.compares_expressions,
            Clause::Stays => false,
        };
        clause && (!self.current.bracket || self.current.array)
    }

    fn enter_clause(&mut self, keyword: Keyword, previous: Keyword) {
        let in_query = self.current.query;
        self.current.clause = match keyword {
            Keyword::Select => {
                self.current.query = true;
                Clause::Output
            }
            Keyword::Returning => Clause::Output,
            Keyword::Having if in_query => Clause::Output,
            // Only of a query: `substring(x FROM 2)`, `count(*) FILTER (WHERE ...)` and `IS DISTINCT FROM` have them too.
            Keyword::From if in_query && previous != Keyword::Distinct => Clause::Plain,
            Keyword::Where | Keyword::Limit | Keyword::Offset | Keyword::Fetch if in_query => Clause::Plain,
            Keyword::Set if previous == Keyword::Update => Clause::Plain,
            Keyword::Union | Keyword::Except | Keyword::Intersect => Clause::Plain,
            Keyword::By if matches!(previous, Keyword::Order | Keyword::Group | Keyword::Partition) => Clause::Stays,
            Keyword::Window | Keyword::Tablesample | Keyword::Conflict => Clause::Stays,
            _ => return,
        };
    }

    fn open(&mut self, kind: TokenKind, before: [(TokenKind, Keyword); 2]) {
        if self.levels.len() == MAX_LEVELS {
            self.current.clause = Clause::Stays;
            return;
        }
        self.levels.push(self.current);
        let (previous, keyword) = before[0];
        if kind == TokenKind::LeftBracket {
            self.current.array = keyword == Keyword::Array
                || (self.current.array && matches!(previous, TokenKind::LeftBracket | TokenKind::Comma));
            self.current.bracket = true;
            return;
        }
        self.current = Level { clause: self.current.clause, query: false, bracket: false, array: false };
        let type_modifier =
            previous == TokenKind::Word && (is_modified_type(keyword) || before[1].0 == TokenKind::DoubleColon);
        let distinct_on = keyword == Keyword::On && before[1].1 == Keyword::Distinct;
        if type_modifier
            || distinct_on
            || matches!(keyword, Keyword::Over | Keyword::Conflict | Keyword::Extract | Keyword::Within)
        {
            self.current.clause = Clause::Stays;
        }
    }

    fn lift_number(&mut self, token: Token) {
        let raw = token.text(self.text);
        let literal = match token.kind {
            TokenKind::Decimal => Literal::Numeric(without_underscores(raw)),
            // Behind a minus sign they have a smaller type, which only the constant itself can show.
            _ if matches!(raw, "2147483648" | "9223372036854775808") => return,
            kind => match integer_value(raw) {
                Some(value) => i32::try_from(value).map_or(Literal::Int8(value), Literal::Int4),
                None if kind == TokenKind::Integer => Literal::Numeric(without_underscores(raw)),
                None => return,
            },
        };
        self.replace(token, literal);
    }

    fn replace(&mut self, token: Token, literal: Literal<'a>) {
        let (start, end) = (token.start as usize, token.end as usize);
        self.output.push_str(&self.text[self.copied..start]);
        // A `$` right after a word would be part of it.
        if self.output.as_bytes().last().is_some_and(|byte| is_word_part(*byte)) {
            self.output.push(' ');
        }
        let from = self.output.len() as u32;
        self.literals.push(literal);
        self.output.push('$');
        push_number(&mut self.output, self.client_parameters + self.literals.len());
        let to = self.output.len() as u32;
        if self.text.as_bytes().get(end).is_some_and(|byte| is_word_part(*byte) || *byte == b'.') {
            self.output.push(' ');
        }
        self.replaced.push((from..to.max(self.output.len() as u32), token.start..token.end));
        self.copied = end;
    }

    fn finish(mut self) -> Lifted<'a> {
        if self.literals.is_empty() {
            let (text, client_parameters) = (Cow::Borrowed(self.text), self.client_parameters);
            return Lifted { text, literals: Vec::new(), client_parameters, replaced: Vec::new() };
        }
        self.output.push_str(&self.text[self.copied..]);
        Lifted {
            text: Cow::Owned(self.output),
            literals: self.literals,
            client_parameters: self.client_parameters,
            replaced: self.replaced,
        }
    }
}

fn push_number(output: &mut String, number: usize) {
    if number >= 10 {
        push_number(output, number / 10);
    }
    output.push(char::from(b'0' + (number % 10) as u8));
}

fn without_underscores(raw: &str) -> Cow<'_, str> {
    if raw.contains('_') { Cow::Owned(raw.replace('_', "")) } else { Cow::Borrowed(raw) }
}

/// A word after a dot or AS is a name, whatever it is elsewhere, but for the types of CAST.
fn keyword_after(before: (TokenKind, Keyword), keyword: Keyword) -> Keyword {
    match before {
        (TokenKind::Dot, _) => Keyword::Other,
        (_, Keyword::As) if !is_modified_type(keyword) => Keyword::Other,
        _ => keyword,
    }
}

/// Types that take a modifier in parentheses, none of which can name a function in Postgres (or need not be lifted in).
fn is_modified_type(keyword: Keyword) -> bool {
    use Keyword::*;
    matches!(
        keyword,
        Bit | Bpchar
            | Char
            | Character
            | Dec
            | Decimal
            | Float
            | Interval
            | Nchar
            | Numeric
            | Second
            | Time
            | Timestamp
            | Timestamptz
            | Timetz
            | Varbit
            | Varchar
            | Varying
    )
}

/// Whether a string here is a value by itself, not the text of a typed literal (`date '...'`) or a part of some syntax.
fn string_may_follow(before: [(TokenKind, Keyword); 2]) -> bool {
    use Keyword::*;
    match before[0].0 {
        TokenKind::LeftParen => before[1].1 != Extract,
        TokenKind::Comma | TokenKind::Operator | TokenKind::LeftBracket => true,
        TokenKind::Word => match before[0].1 {
            All | And | Between | Case | Distinct | Else | From | Having | Ilike | Like | Limit | Not | Offset | On
            | Or | Returning | Select | Symmetric | Then | To | When | Where => true,
            // A type's name, as far as can be told here; `ZONE` is the end of one, too.
            _ => false,
        },
        _ => false,
    }
}

/// Whether a number here is a value: not glued to a word that makes it something else.
fn number_may_follow(before: [(TokenKind, Keyword); 2]) -> bool {
    use Keyword::*;
    match before[0].0 {
        TokenKind::LeftParen | TokenKind::Comma | TokenKind::Operator | TokenKind::LeftBracket => true,
        TokenKind::Word => matches!(
            before[0].1,
            All | And
                | Between
                | Case
                | Distinct
                | Else
                | For
                | From
                | Having
                | Limit
                | Not
                | Offset
                | On
                | Or
                | Returning
                | Select
                | Symmetric
                | Then
                | When
                | Where
                | Like
                | Ilike
        ),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lifted(text: &str) -> String {
        let lifted = lift(text).unwrap();
        assert_eq!(single_blanks(&substitute(&lifted)), single_blanks(text), "{text}");
        lifted.text.into_owned()
    }

    fn single_blanks(text: &str) -> String {
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// Puts the literals back.
    fn substitute(lifted: &Lifted<'_>) -> String {
        let mut text = String::new();
        let mut push = |piece: &str| {
            // Two strings side by side must not become one with a quote in it.
            if text.ends_with('\'') && piece.starts_with('\'') {
                text.push(' ');
            }
            text.push_str(piece);
        };
        let mut at = 0;
        for ((from, _), literal) in lifted.replaced.iter().zip(&lifted.literals) {
            push(&lifted.text[at..from.start as usize]);
            match literal {
                Literal::Int4(value) => push(&value.to_string()),
                Literal::Int8(value) => push(&value.to_string()),
                Literal::Numeric(value) => push(value),
                Literal::Text(value) => push(&format!("'{}'", value.replace('\'', "''"))),
            }
            at = from.end as usize;
        }
        push(&lifted.text[at..]);
        text
    }

    #[test]
    fn values_are_lifted_and_numbered_after_the_clients_parameters() {
        assert_eq!(lifted("SELECT * FROM seats WHERE event_id = 7"), "SELECT * FROM seats WHERE event_id = $1");
        assert_eq!(lifted("SELECT a FROM t WHERE k = $2 AND s = 'it''s'"), "SELECT a FROM t WHERE k = $2 AND s = $3");
        assert_eq!(lifted("INSERT INTO t VALUES (1, 'a', 2.5, NULL)"), "INSERT INTO t VALUES ($1, $2, $3, NULL)");
        assert_eq!(
            lifted("UPDATE t SET a = 5, b = 'x' WHERE k IN (1,2)"),
            "UPDATE t SET a = $1, b = $2 WHERE k IN ($3,$4)"
        );
        assert_eq!(lifted("SELECT a FROM t LIMIT 10 OFFSET 5"), "SELECT a FROM t LIMIT $1 OFFSET $2");
        assert_eq!(lifted("SELECT ARRAY[1,2], a[1] FROM t"), "SELECT ARRAY[$1,$2], a[1] FROM t");
    }

    #[test]
    fn what_would_mean_something_else_stays() {
        for text in [
            "SELECT interval '5 minutes', date '2020-01-01', timestamp with time zone '2020-01-01'",
            "SELECT a::numeric(10,2), CAST(b AS varchar(20)), c::character varying(3), d::foo(3) FROM t",
            "SELECT a FROM t ORDER BY 1, 2 DESC",
            "SELECT a, b FROM t GROUP BY 1, (2) ORDER BY 1",
            "SELECT DISTINCT ON (1) a FROM t ORDER BY 1",
            "SELECT substring(a FROM 2), count(*) FROM t GROUP BY substring(a FROM 2)",
            "SELECT a + 1, count(*) FILTER (WHERE b = 2) FROM t GROUP BY a + 1",
            "SELECT extract('year' FROM a) FROM t",
            "SELECT sum(a) OVER (ORDER BY b ROWS BETWEEN 1 PRECEDING AND 2 FOLLOWING) FROM t",
            "SELECT a FROM t WHERE b AT TIME ZONE 'UTC' = c",
            "SELECT a[1], a[1:2] FROM t",
            "SELECT x'FF', b'01'",
            "CREATE TABLE t (a numeric(10,2) DEFAULT 5)",
            "SET x = 5",
            "EXPLAIN SELECT 5",
        ] {
            assert_eq!(lifted(text), text);
        }
    }

    #[test]
    fn clauses_after_those_that_stay_are_lifted_again() {
        assert_eq!(
            lifted("SELECT a, 5 FROM t WHERE b = 6 GROUP BY 1 HAVING count(*) > 7 ORDER BY 2 LIMIT 8"),
            "SELECT a, 5 FROM t WHERE b = $1 GROUP BY 1 HAVING count(*) > 7 ORDER BY 2 LIMIT $2"
        );
        assert_eq!(
            lifted("INSERT INTO t VALUES (1) ON CONFLICT (a) DO UPDATE SET b = 2 WHERE t.c = 3"),
            "INSERT INTO t VALUES ($1) ON CONFLICT (a) DO UPDATE SET b = $2 WHERE t.c = $3"
        );
        assert_eq!(lifted("SELECT a AS limit, 5 AS \"from\" FROM t"), "SELECT a AS limit, $1 AS \"from\" FROM t");
        assert_eq!(lifted("SELECT a AS from, 5 FROM t GROUP BY a"), "SELECT a AS from, 5 FROM t GROUP BY a");
    }

    #[test]
    fn placeholders_never_touch_words() {
        assert_eq!(lift("SELECT'x'FROM t").unwrap().text, "SELECT $1 FROM t");
        assert_eq!(lift("SELECT 'x'as a").unwrap().text, "SELECT $1 as a");
    }

    #[test]
    fn literals_have_postgres_types() {
        let lifted = lift(
            "SELECT 1, 2147483649, 9223372036854775809, 1.50, 1e5, 007, 0x10, E'\\n', $$x$$, 'a'\n'b', - 2147483648",
        )
        .unwrap();
        assert_eq!(
            lifted.literals,
            [
                Literal::Int4(1),
                Literal::Int8(2_147_483_649),
                Literal::Numeric("9223372036854775809".into()),
                Literal::Numeric("1.50".into()),
                Literal::Numeric("1e5".into()),
                Literal::Int4(7),
                Literal::Int4(16),
                Literal::Text("\n".into()),
                Literal::Text("x".into()),
                Literal::Text("ab".into()),
            ]
        );
    }

    #[test]
    fn positions_map_back_to_the_clients_text() {
        let text = "SELECT 'ää', 12345 FROM nowhere WHERE b = 'x' AND nothing";
        let lifted = lift(text).unwrap();
        for name in ["FROM", "nowhere", "WHERE", "nothing"] {
            let there = position(&lifted.text, lifted.text.find(name).unwrap());
            assert_eq!(lifted.original_position(text, there), position(text, text.find(name).unwrap()), "{name}");
        }
        let literal = position(&lifted.text, lifted.text.find("$2").unwrap());
        assert_eq!(lifted.original_position(text, literal), position(text, text.find("12345").unwrap()));
        assert_eq!(lifted.original_position(text, 10_000), position(text, text.len()));
    }

    #[test]
    fn bulk_loads_keep_their_literals() {
        let text = format!("INSERT INTO t VALUES {}", vec!["(1)"; MAX_LIFTED + 1].join(","));
        assert!(lift(&text).unwrap().literals.is_empty());
        let text = format!("INSERT INTO t VALUES {}", vec!["(1)"; MAX_LIFTED].join(","));
        assert_eq!(lift(&text).unwrap().literals.len(), MAX_LIFTED);
    }

    #[test]
    fn impossible_parameters_are_refused() {
        for text in ["SELECT $0", "SELECT $65536", "SELECT $99999999999999999999"] {
            assert_eq!(lift(text).unwrap_err().sqlstate(), SqlState::UNDEFINED_PARAMETER);
        }
        assert_eq!(lift("SELECT $65535").unwrap().client_parameters, 65_535);
    }

    proptest::proptest! {
        #[test]
        fn putting_literals_back_gives_the_same_tokens(
            words in proptest::collection::vec(proptest::sample::select(vec![
                "SELECT", "FROM", "WHERE", "a", "AND", "1", "2.5", "'x'", "E'a\\nb'", "$1", "(", ")", ",", "=", "ORDER", "BY",
                "GROUP", "LIMIT", "::", "numeric", "date", "[", "]", "ARRAY", "IN", "VALUES", "-", "$$q$$", "DISTINCT", "ON", "9999999999",
            ]), 0..40),
            glue in proptest::sample::select(vec!["", " "]),
        ) {
            let text = format!("SELECT {}", words.join(glue));
            if let Ok(lifted) = lift(&text) {
                let again = substitute(&lifted);
                let kinds = |text: &str| -> Vec<(bool, String)> {
                    Lexer::new(text).unwrap().map(|token| token.unwrap()).map(|token| {
                        if token.kind.is_string() {
                            (true, string_value(text, token).unwrap().into_owned())
                        } else {
                            (false, token.text(text).to_owned())
                        }
                    }).collect()
                };
                proptest::prop_assert_eq!(kinds(&again), kinds(&text));
            }
        }
    }
}
