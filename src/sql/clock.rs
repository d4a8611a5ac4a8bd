//! The transaction's time as a constant: what several shards are asked for must mean one moment.

use std::borrow::Cow;
use std::fmt::Write as _;

use super::lexer::{Lexer, Token, TokenKind};
use crate::error::Result;

/// What a function of the transaction's time returns.
struct ClockFunction {
    name: &'static str,
    data_type: &'static str,
    /// It is called with parentheses; the others are without, or with a precision.
    is_called: bool,
}

const CLOCK: &[ClockFunction] = &[
    ClockFunction { name: "current_date", data_type: "date", is_called: false },
    ClockFunction { name: "current_time", data_type: "timetz", is_called: false },
    ClockFunction { name: "current_timestamp", data_type: "timestamptz", is_called: false },
    ClockFunction { name: "localtime", data_type: "time", is_called: false },
    ClockFunction { name: "localtimestamp", data_type: "timestamp", is_called: false },
    ClockFunction { name: "now", data_type: "timestamptz", is_called: true },
    ClockFunction { name: "transaction_timestamp", data_type: "timestamptz", is_called: true },
];

/// Whether a function of this name answers with its transaction's time.
pub fn is_clock(name: &str) -> bool {
    CLOCK.iter().any(|function| function.name == name)
}

/// The text with `moment`, a timestamptz as text, wherever it asks for its transaction's time.
///
/// # Errors
/// The text has a token that cannot be read.
pub fn at_moment<'t>(text: &'t str, moment: &str) -> Result<Cow<'t, str>> {
    let tokens: Vec<Token> = Lexer::new(text)?.collect::<Result<_>>()?;
    let mut changed = String::new();
    let mut copied = 0;
    let mut at = 0;
    while at < tokens.len() {
        let Some(call) = Call::at(text, &tokens, at) else {
            at += 1;
            continue;
        };
        let (first, last) = (tokens[call.first].start as usize, tokens[call.last].end as usize);
        changed.push_str(&text[copied..first]);
        let _ = write!(changed, "('{moment}'::timestamptz::{}{})", call.function.data_type, call.precision);
        copied = last;
        at = call.last + 1;
    }
    if copied == 0 {
        return Ok(Cow::Borrowed(text));
    }
    changed.push_str(&text[copied..]);
    Ok(Cow::Owned(changed))
}

/// One call: its tokens, first and last.
struct Call<'t> {
    function: &'static ClockFunction,
    first: usize,
    last: usize,
    /// `(3)`, or nothing.
    precision: &'t str,
}

impl<'t> Call<'t> {
    fn at(text: &'t str, tokens: &[Token], at: usize) -> Option<Call<'t>> {
        let word = |number: usize| tokens.get(number).filter(|it| it.kind == TokenKind::Word).map(|it| it.text(text));
        let kind = |number: usize| tokens.get(number).map(|token| token.kind);
        let name = word(at)?;
        let function = CLOCK.iter().find(|function| function.name.eq_ignore_ascii_case(name))?;
        let mut first = at;
        if at.checked_sub(1).and_then(kind) == Some(TokenKind::Dot) {
            // `pg_catalog.now()`; a column or another's function otherwise.
            first = at.checked_sub(2).filter(|it| word(*it).is_some_and(|it| it.eq_ignore_ascii_case("pg_catalog")))?;
        }
        // A label may be called like it.
        if first.checked_sub(1).and_then(word).is_some_and(|word| word.eq_ignore_ascii_case("as")) {
            return None;
        }
        let opens = kind(at + 1) == Some(TokenKind::LeftParen);
        if function.is_called {
            let empty = opens && kind(at + 2) == Some(TokenKind::RightParen);
            return empty.then_some(Call { function, first, last: at + 2, precision: "" });
        }
        let is_precise = opens
            && kind(at + 2) == Some(TokenKind::Integer)
            && kind(at + 3) == Some(TokenKind::RightParen)
            && function.data_type != "date";
        if is_precise {
            let precision = &text[tokens[at + 1].start as usize..tokens[at + 3].end as usize];
            return Some(Call { function, first, last: at + 3, precision });
        }
        Some(Call { function, first, last: at, precision: "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_ask_for_the_time_is_one_moment() {
        for (text, expected) in [
            ("SELECT now()", "SELECT ('T'::timestamptz::timestamptz)"),
            ("SELECT pg_catalog.NOW ( ), 1", "SELECT ('T'::timestamptz::timestamptz), 1"),
            ("WHERE a < Current_Timestamp - b", "WHERE a < ('T'::timestamptz::timestamptz) - b"),
            ("SELECT current_timestamp(3)", "SELECT ('T'::timestamptz::timestamptz(3))"),
            (
                "SELECT localtimestamp(0), localtime",
                "SELECT ('T'::timestamptz::timestamp(0)), ('T'::timestamptz::time)",
            ),
            ("SELECT current_date + 1", "SELECT ('T'::timestamptz::date) + 1"),
            ("SELECT transaction_timestamp()", "SELECT ('T'::timestamptz::timestamptz)"),
        ] {
            assert_eq!(at_moment(text, "T").unwrap(), expected);
        }
    }

    #[test]
    fn what_only_looks_like_it_stays() {
        for text in [
            "SELECT now FROM t",
            "SELECT t.now, x.now()",
            "SELECT 'now()', \"now\"()",
            "SELECT a AS current_date",
            "SELECT now(1)",
            "SELECT statement_timestamp()",
            "-- now()\nSELECT 1",
        ] {
            assert_eq!(at_moment(text, "T").unwrap(), text);
        }
    }
}
