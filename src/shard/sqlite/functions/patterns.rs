//! LIKE, ILIKE and regular expressions.
//!
//! Regular expressions run on the `regex` crate, which takes linear time whatever the pattern. It is used only where its
//! syntax and its choice of a match agree with Postgres's: back references, look-around, non-greedy quantifiers and
//! Postgres's own escapes are refused, and so is a match that is not the longest at its place.

use std::iter::Peekable;
use std::str::Chars;
use std::sync::Arc;

use regex::{Captures, Regex, RegexBuilder};
use regex_automata::nfa::thompson::{self, pikevm::PikeVM};
use regex_automata::util::syntax;
use regex_automata::{Anchored, Input, MatchKind};
use rusqlite::types::Value;

use super::call::{Arguments, Function, MAX_RESULT_BYTES, boolean, strict, text, too_large};
use crate::error::{Error, Result, SqlState};
use crate::shard::sqlite::storage;
use crate::types::Datum;

/// The memory that a compiled pattern may take.
const MAX_PATTERN_BYTES: usize = 1 << 20;

pub(super) const FUNCTIONS: &[Function] = &[
    strict("pg_like", 2, |a| like(a, false)),
    strict("pg_like", 3, |a| like(a, false)),
    strict("pg_ilike", 2, |a| like(a, true)),
    strict("pg_ilike", 3, |a| like(a, true)),
    strict("pg_regex", 3, |a| {
        let flags = if a.boolean(2)? { "i" } else { "" };
        Ok(boolean(compiled(a, flags)?.regex.is_match(a.text(0)?)))
    }),
    strict("pg_regexp_like", 3, |a| Ok(boolean(compiled(a, a.text(2)?)?.regex.is_match(a.text(0)?)))),
    strict("pg_regexp_match", 3, first_match),
    strict("pg_regexp_matches", 3, all_matches),
    strict("pg_regexp_replace", 4, replace),
    strict("pg_regexp_split", 3, split),
    strict("pg_substring_regex", 2, |a| {
        let expression = compiled(a, "")?;
        let found = expression.first(a.text(0)?)?;
        let group = usize::from(expression.regex.captures_len() > 1);
        Ok(found.and_then(|found| found.get(group)).map_or(Value::Null, |found| text(found.as_str())))
    }),
    strict("pg_similar", 3, |a| {
        let escape = escape_character(a.text(2)?)?;
        let kept = a.compiled(1, |pattern| Ok((escape, compile(&similar(pattern, escape), "")?)))?;
        let value = a.text(0)?;
        // The escape may be another row's.
        Ok(boolean(match kept.0 == escape {
            true => kept.1.regex.is_match(value),
            false => compile(&similar(a.text(1)?, escape), "")?.regex.is_match(value),
        }))
    }),
];

/// One piece of a LIKE pattern.
#[derive(Debug, PartialEq)]
enum Piece {
    Character(char),
    AnyOne,
    AnyMany,
    /// An escape with nothing after it: an error, if the pattern is met that far.
    Dangling,
}

fn pieces(pattern: &str, escape: Option<char>) -> Vec<Piece> {
    let mut pieces = Vec::with_capacity(pattern.len());
    let mut characters = pattern.chars();
    while let Some(c) = characters.next() {
        pieces.push(match c {
            c if Some(c) == escape => match characters.next() {
                Some(literal) => Piece::Character(literal),
                None => Piece::Dangling,
            },
            '%' if pieces.last() == Some(&Piece::AnyMany) => continue,
            '%' => Piece::AnyMany,
            '_' => Piece::AnyOne,
            c => Piece::Character(c),
        });
    }
    pieces
}

/// (text, pattern [, escape]); without an escape it is the backslash, an empty one is none.
fn like(arguments: &Arguments<'_>, fold: bool) -> Result<Value> {
    let escape = match arguments.optional_text(2)? {
        None => Some('\\'),
        Some(escape) => escape_character(escape)?,
    };
    let compiled = arguments.compiled(1, |pattern| Ok((escape, pieces(pattern, escape))))?;
    let matched = if compiled.0 == escape {
        matches(arguments.text(0)?, &compiled.1, fold)
    } else {
        // The pattern is the same for all rows, but not its escape.
        matches(arguments.text(0)?, &pieces(arguments.text(1)?, escape), fold)
    };
    Ok(boolean(matched?))
}

/// What stands behind ESCAPE: one character, or none.
fn escape_character(escape: &str) -> Result<Option<char>> {
    let mut characters = escape.chars();
    match (characters.next(), characters.next()) {
        (first, None) => Ok(first),
        _ => Err(Error::new(SqlState::INVALID_ESCAPE_SEQUENCE, "invalid escape string")
            .hint("Escape string must be empty or one character.")),
    }
}

/// A pattern of SIMILAR TO as a regular expression, as Postgres's `similar_to_escape` makes it.
fn similar(pattern: &str, escape: Option<char>) -> String {
    let mut out = String::from("^(?:");
    let mut in_bracket = false;
    let mut characters = pattern.chars();
    while let Some(c) = characters.next() {
        match c {
            c if Some(c) == escape => match characters.next() {
                Some(literal) => out.extend(['\\', literal]),
                None => break,
            },
            '\\' => out.push_str("\\\\"),
            c if in_bracket => {
                in_bracket = c != ']';
                out.push(c);
            }
            '[' => {
                in_bracket = true;
                out.push(c);
            }
            '%' => out.push_str(".*"),
            '_' => out.push('.'),
            '(' => out.push_str("(?:"),
            '.' | '^' | '$' => out.extend(['\\', c]),
            c => out.push(c),
        }
    }
    out.push_str(")$");
    out
}

/// The usual walk that goes back to the last `%` only: at most text times pattern steps.
fn matches(value: &str, pieces: &[Piece], fold: bool) -> Result<bool> {
    let same = |a: char, b: char| a == b || (fold && a.eq_ignore_ascii_case(&b));
    let mut rest = value.chars();
    let mut at = 0;
    let mut retry: Option<(usize, std::str::Chars<'_>)> = None;
    loop {
        let mut ahead = rest.clone();
        let next = ahead.next();
        match (pieces.get(at), next) {
            (Some(Piece::AnyMany), _) => {
                at += 1;
                if at == pieces.len() {
                    return Ok(true);
                }
                retry = Some((at, rest.clone()));
                continue;
            }
            (Some(Piece::AnyOne), Some(_)) => {}
            (Some(Piece::Character(wanted)), Some(c)) if same(*wanted, c) => {}
            (Some(Piece::Dangling), Some(_)) => {
                let message = "LIKE pattern must not end with escape character";
                return Err(Error::new(SqlState::INVALID_ESCAPE_SEQUENCE, message));
            }
            (None, None) => return Ok(true),
            (_, None) => return Ok(false),
            _ => match &mut retry {
                Some((place, from)) => {
                    from.next();
                    rest = from.clone();
                    at = *place;
                    continue;
                }
                None => return Ok(false),
            },
        }
        rest = ahead;
        at += 1;
    }
}

/// An expression for tests and matches.
struct Expression {
    regex: Regex,
    /// Finds the longest match, which is Postgres's; the regex crate's is the one found first.
    longest: PikeVM,
    has_alternatives: bool,
    flags: String,
}

/// The expression in argument 1, kept while the statement runs.
fn compiled(arguments: &Arguments<'_>, flags: &str) -> Result<Arc<Expression>> {
    let kept = arguments.compiled(1, |pattern| compile(pattern, flags))?;
    // The flags may be another row's.
    if kept.flags == flags { Ok(kept) } else { compile(arguments.text(1)?, flags).map(Arc::new) }
}

fn compile(pattern: &str, flags: &str) -> Result<Expression> {
    let (mut fold, mut lines) = (false, false);
    for flag in flags.chars() {
        match flag {
            'i' => fold = true,
            'c' => fold = false,
            'n' | 'm' => lines = true,
            's' => lines = false,
            'g' => {}
            _ => return Err(refused(&format!("the regular expression flag \"{flag}\""))),
        }
    }
    let translated = Translation::of(pattern, fold)?;
    let invalid = |message: &str| {
        let message = format!("invalid regular expression: {message}");
        Error::new(SqlState::INVALID_REGULAR_EXPRESSION, message)
    };
    let mut builder = RegexBuilder::new(&translated.text);
    builder.size_limit(MAX_PATTERN_BYTES).multi_line(lines).dot_matches_new_line(!lines);
    let regex = builder.build().map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => invalid("regular expression is too complex"),
        _ => invalid(reason(pattern)),
    })?;
    let syntax = syntax::Config::new().multi_line(lines).dot_matches_new_line(!lines);
    let longest = PikeVM::builder()
        .syntax(syntax)
        .thompson(thompson::Config::new().nfa_size_limit(Some(MAX_PATTERN_BYTES)))
        .configure(PikeVM::config().match_kind(MatchKind::All))
        .build(&translated.text)
        .map_err(|_| invalid("regular expression is too complex"))?;
    Ok(Expression { regex, longest, has_alternatives: translated.has_alternatives, flags: flags.to_owned() })
}

fn refused(what: &str) -> Error {
    Error::unsupported(what, "Use a simpler expression, or LIKE.")
}

impl Expression {
    /// The matches, each of which must be the longest at its place.
    fn captures_iter<'t>(&'t self, value: &'t str) -> Result<impl Iterator<Item = Result<Captures<'t>>> + 't> {
        if self.has_alternatives && self.regex.captures_len() > 1 {
            return Err(refused("a regular expression with groups and alternatives (|), whose match is returned,"));
        }
        let mut cache = self.longest.create_cache();
        let mut next = Some(0);
        Ok(std::iter::from_fn(move || {
            let captures = self.regex.captures_at(value, next?)?;
            let whole = captures.get(0)?;
            // Postgres looks on from the end of a match, and one character further when the match was empty. The regex
            // crate's own iterator passes over an empty match right behind another.
            next = match value[whole.end()..].chars().next() {
                _ if !whole.is_empty() => Some(whole.end()),
                Some(passed) => Some(whole.end() + passed.len_utf8()),
                None => None,
            };
            let input = Input::new(value).range(whole.start()..).anchored(Anchored::Yes);
            Some(match self.longest.find(&mut cache, input) {
                Some(longest) if longest.end() == whole.end() => Ok(captures),
                _ => Err(refused("a regular expression that can match in several ways here")),
            })
        }))
    }

    fn first<'t>(&'t self, value: &'t str) -> Result<Option<Captures<'t>>> {
        self.captures_iter(value)?.next().transpose()
    }
}

/// A pattern in the regex crate's syntax, with Postgres's meaning under "C": classes and case are ASCII's.
struct Translation {
    text: String,
    has_alternatives: bool,
}

impl Translation {
    /// 0A000: a construct that the two read differently, or that only Postgres has.
    fn of(pattern: &str, fold: bool) -> Result<Translation> {
        if pattern.starts_with("***") || pattern.starts_with("(?") && !pattern.starts_with("(?:") {
            return Err(refused("a regular expression with embedded options"));
        }
        let mut translation = Translation { text: String::with_capacity(pattern.len() + 8), has_alternatives: false };
        let mut characters = pattern.chars().peekable();
        let mut previous = ' ';
        while let Some(c) = characters.next() {
            match (c, characters.peek().copied()) {
                ('\\', Some(escaped)) => {
                    characters.next();
                    translation.escape(escaped)?;
                    previous = 'x';
                    continue;
                }
                ('[', _) => translation.bracket(&mut characters, fold)?,
                ('(', Some('?')) => {
                    characters.next();
                    if characters.next() != Some(':') {
                        return Err(refused("look-around in a regular expression"));
                    }
                    translation.text.push_str("(?:");
                }
                ('?' | '+' | '*', _) if matches!(previous, '*' | '+' | '?' | '}') => {
                    return Err(refused("a non-greedy or repeated quantifier"));
                }
                (letter, _) if fold && letter.is_ascii_alphabetic() => translation.both_cases(letter),
                _ => {
                    translation.has_alternatives |= c == '|';
                    translation.text.push(c);
                }
            }
            previous = if c == '[' { ']' } else { c };
        }
        Ok(translation)
    }

    fn both_cases(&mut self, letter: char) {
        self.text.extend(['[', letter.to_ascii_lowercase(), letter.to_ascii_uppercase(), ']']);
    }

    fn escape(&mut self, escaped: char) -> Result<()> {
        match escaped {
            'd' | 'w' | 's' => self.text.push_str(&format!("[{}]", class(escaped))),
            'D' | 'W' | 'S' => self.text.push_str(&format!("[^{}]", class(escaped.to_ascii_lowercase()))),
            'n' | 'r' | 't' | 'f' | 'v' => self.text.extend(['\\', escaped]),
            _ if escaped.is_ascii_alphanumeric() => return Err(refused("this escape in a regular expression")),
            _ => self.text.push_str(&regex::escape(&escaped.to_string())),
        }
        Ok(())
    }

    /// From behind the opening bracket to the closing one.
    fn bracket(&mut self, characters: &mut Peekable<Chars<'_>>, fold: bool) -> Result<()> {
        self.text.push('[');
        if characters.next_if_eq(&'^').is_some() {
            self.text.push('^');
        }
        if characters.peek() == Some(&']') {
            return Err(refused("] at the beginning of a bracket expression"));
        }
        while let Some(c) = characters.next() {
            match (c, characters.peek().copied()) {
                (']', _) => {
                    self.text.push(']');
                    return Ok(());
                }
                ('[', Some(':')) if !fold => {
                    self.text.push('[');
                    for inner in characters.by_ref() {
                        self.text.push(inner);
                        if inner == ']' {
                            break;
                        }
                    }
                }
                ('[', _) => return Err(refused("this bracket expression")),
                ('\\', Some(escaped @ ('d' | 'w' | 's'))) => {
                    characters.next();
                    self.text.push_str(class(escaped));
                }
                ('\\', Some(escaped)) if !escaped.is_ascii_alphanumeric() => {
                    characters.next();
                    self.text.extend(['\\', escaped]);
                }
                ('\\', _) => return Err(refused("this escape in a bracket expression")),
                (first, Some('-')) => self.range(first, characters, fold)?,
                (letter, _) if fold && letter.is_ascii_alphabetic() => {
                    self.text.extend([letter.to_ascii_lowercase(), letter.to_ascii_uppercase()]);
                }
                _ => self.member(c),
            }
        }
        // Unbalanced: the regex crate refuses it too.
        Ok(())
    }

    /// `a-z`, or the hyphen that ends a bracket.
    fn range(&mut self, first: char, characters: &mut Peekable<Chars<'_>>, fold: bool) -> Result<()> {
        characters.next();
        if characters.peek() == Some(&']') {
            let cases = if fold { [first.to_ascii_lowercase(), first.to_ascii_uppercase()] } else { [first, first] };
            cases.into_iter().for_each(|case| self.member(case));
            self.text.push_str("\\-");
            return Ok(());
        }
        let Some(last) = characters.next().filter(|last| last.is_alphanumeric() && first.is_alphanumeric()) else {
            return Err(refused("this range in a bracket expression"));
        };
        self.text.extend([first, '-', last]);
        let mut ahead = characters.clone();
        if ahead.next() == Some('-') && ahead.next() != Some(']') {
            let message = "invalid regular expression: invalid character range";
            return Err(Error::new(SqlState::INVALID_REGULAR_EXPRESSION, message));
        }
        if fold {
            let one_case = |lower: fn(&char) -> bool| lower(&first) && lower(&last);
            match () {
                () if one_case(char::is_ascii_digit) => {}
                () if one_case(char::is_ascii_lowercase) || one_case(char::is_ascii_uppercase) => {
                    let other =
                        |c: char| if c.is_ascii_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() };
                    self.text.extend([other(first), '-', other(last)]);
                }
                () => return Err(refused("this range in a case-insensitive bracket expression")),
            }
        }
        Ok(())
    }

    /// A member of a bracket, escaped where the regex crate would take it for an operator.
    fn member(&mut self, c: char) {
        if c.is_ascii_punctuation() {
            self.text.push('\\');
        }
        self.text.push(c);
    }
}

/// The members of `\d`, `\w` and `\s` under "C".
fn class(escape: char) -> &'static str {
    match escape {
        'd' => "0-9",
        'w' => "0-9A-Za-z_",
        _ => " \\t\\n\\x0b\\x0c\\r",
    }
}

/// What Postgres says of the commonest mistakes.
fn reason(pattern: &str) -> &'static str {
    let count = |wanted: char| pattern.matches(wanted).count();
    match () {
        () if count('(') != count(')') => "parentheses () not balanced",
        () if count('[') != count(']') => "brackets [] not balanced",
        () if count('{') != count('}') => "braces {} not balanced",
        () if pattern.ends_with('\\') => "invalid escape \\ sequence",
        () => "quantifier operand invalid",
    }
}

fn groups(captures: &Captures<'_>) -> Vec<Datum> {
    let from = usize::from(captures.len() > 1);
    let group = |index: usize| captures.get(index).map_or(Datum::Null, |group| Datum::Text(group.as_str().into()));
    (from..captures.len()).map(group).collect()
}

/// (text, pattern, flags): an array of the groups, or of the whole match.
fn first_match(arguments: &Arguments<'_>) -> Result<Value> {
    let flags = arguments.text(2)?;
    if flags.contains('g') {
        let message = "regexp_match() does not support the \"global\" option";
        return Err(
            Error::new(SqlState::INVALID_PARAMETER_VALUE, message).hint("Use the regexp_matches function instead.")
        );
    }
    match compiled(arguments, flags)?.first(arguments.text(0)?)? {
        Some(captures) => Ok(text(storage::array_to_cell(&groups(&captures))?)),
        None => Ok(Value::Null),
    }
}

/// (text, pattern, flags): a JSON array of array cells, for json_each.
fn all_matches(arguments: &Arguments<'_>) -> Result<Value> {
    let flags = arguments.text(2)?;
    let limit = if flags.contains('g') { usize::MAX } else { 1 };
    let expression = compiled(arguments, flags)?;
    let found = expression.captures_iter(arguments.text(0)?)?.take(limit);
    let cells = found.map(|captures| storage::array_to_cell(&groups(&captures?)).map(|cell| Datum::Text(cell.into())));
    Ok(text(storage::array_to_cell(&cells.collect::<Result<Vec<_>>>()?)?))
}

/// (text, pattern, replacement, flags)
fn replace(arguments: &Arguments<'_>) -> Result<Value> {
    let (value, replacement, flags) = (arguments.text(0)?, arguments.text(2)?, arguments.text(3)?);
    let expression = compiled(arguments, flags)?;
    let limit = if flags.contains('g') { usize::MAX } else { 1 };
    let mut out = String::with_capacity(value.len());
    let mut end = 0;
    for captures in expression.captures_iter(value)?.take(limit) {
        let captures = captures?;
        let Some(whole) = captures.get(0) else { continue };
        out.push_str(&value[end..whole.start()]);
        expand(replacement, &captures, &mut out);
        end = whole.end();
        if out.len() > MAX_RESULT_BYTES {
            return Err(too_large());
        }
    }
    out.push_str(&value[end..]);
    Ok(text(out))
}

/// `\1` to `\9` are groups, `\&` the whole match, `\\` a backslash.
fn expand(replacement: &str, captures: &Captures<'_>, out: &mut String) {
    let mut characters = replacement.chars().peekable();
    while let Some(c) = characters.next() {
        let group = match (c, characters.peek()) {
            ('\\', Some('&')) => 0,
            ('\\', Some(digit @ '1'..='9')) => *digit as usize - '0' as usize,
            ('\\', Some('\\')) => {
                characters.next();
                out.push('\\');
                continue;
            }
            _ => {
                out.push(c);
                continue;
            }
        };
        characters.next();
        out.push_str(captures.get(group).map_or("", |group| group.as_str()));
    }
}

/// (text, pattern, flags): an array of what is between the matches.
fn split(arguments: &Arguments<'_>) -> Result<Value> {
    let expression = compiled(arguments, arguments.text(2)?)?;
    let value = arguments.text(0)?;
    let mut parts = Vec::new();
    let (mut end, mut behind) = (0, 0);
    for captures in expression.captures_iter(value)? {
        let captures = captures?;
        let Some(found) = captures.get(0) else { continue };
        // Postgres passes over empty matches at the ends and right behind another.
        let degenerate = found.start() == value.len() || found.end() <= behind;
        behind = found.end();
        if !degenerate {
            parts.push(Datum::Text(value[end..found.start()].into()));
            end = found.end();
        }
    }
    parts.push(Datum::Text(value[end..].into()));
    Ok(text(storage::array_to_cell(&parts)?))
}
