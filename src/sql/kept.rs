//! Statements on what a session keeps between others: cursors, channels that it listens to, libraries.

use super::Local;
use super::cursor::Cursor;
use super::lexer::TokenKind;
use crate::error::Result;

pub(super) fn close(cursor: &mut Cursor<'_>) -> Result<Local> {
    cursor.advance();
    if cursor.eat_word("all") {
        return Ok(Local::Close(None));
    }
    Ok(Local::Close(Some(cursor.name()?)))
}

pub(super) fn declare(cursor: &mut Cursor<'_>) -> Result<Local> {
    cursor.advance();
    let name = cursor.name()?;
    let (mut scroll, mut binary) = (None, false);
    while !cursor.eat_word("cursor") {
        if cursor.eat_words(&["no", "scroll"]) {
            scroll = Some(false);
        } else if cursor.eat_word("scroll") {
            scroll = Some(true);
        } else if cursor.eat_word("binary") {
            binary = true;
        } else if !cursor.eat_word("insensitive") && !cursor.eat_word("asensitive") {
            return Err(cursor.error());
        }
    }
    let hold = cursor.eat_words(&["with", "hold"]);
    if !hold {
        cursor.eat_words(&["without", "hold"]);
    }
    cursor.expect_word("for")?;
    Ok(Local::Declare { name, hold, scroll, binary, query: cursor.rest()?.to_owned() })
}

/// Which rows FETCH returns, and where MOVE goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// So many rows, backwards when it is negative; none: the current row again.
    Rows(i32),
    AllForward,
    AllBackward,
    /// The row with this number, from 1; from the end, -1 being the last, when it is negative.
    Absolute(i32),
    /// The row at this distance.
    Relative(i32),
}

pub(super) fn fetch(cursor: &mut Cursor<'_>) -> Result<Local> {
    let moves = cursor.peek_word().is_some_and(|word| word.eq_ignore_ascii_case("move"));
    cursor.advance();
    let mut only = cursor.clone();
    only.advance();
    // A cursor may be called NEXT.
    let direction = if only.at_end() { Direction::Rows(1) } else { direction(cursor)? };
    Ok(Local::Fetch { name: cursor.name()?, moves, direction })
}

fn direction(cursor: &mut Cursor<'_>) -> Result<Direction> {
    let begins = cursor.clone();
    let word = cursor.peek_word().unwrap_or_default().to_ascii_lowercase();
    let direction = match word.as_str() {
        "next" => Direction::Rows(1),
        "prior" => Direction::Rows(-1),
        "first" => Direction::Absolute(1),
        "last" => Direction::Absolute(-1),
        "all" => Direction::AllForward,
        "absolute" | "relative" | "forward" | "backward" => {
            cursor.advance();
            let count = count(cursor)?;
            let all = count.is_none() && matches!(word.as_str(), "forward" | "backward") && cursor.eat_word("all");
            let direction = match (word.as_str(), count) {
                ("absolute", Some(count)) => Direction::Absolute(count),
                ("relative", Some(count)) => Direction::Relative(count),
                ("absolute" | "relative", None) => return Err(cursor.error()),
                ("forward", _) if all => Direction::AllForward,
                ("backward", _) if all => Direction::AllBackward,
                ("forward", count) => Direction::Rows(count.unwrap_or(1)),
                (_, count) => Direction::Rows(count.unwrap_or(1).saturating_neg()),
            };
            let _ = cursor.eat_word("from") || cursor.eat_word("in");
            return Ok(direction);
        }
        "from" | "in" => Direction::Rows(1),
        _ => match count(cursor)? {
            Some(count) => {
                let _ = cursor.eat_word("from") || cursor.eat_word("in");
                return Ok(Direction::Rows(count));
            }
            None => return Err(begins.error()),
        },
    };
    cursor.advance();
    if !matches!(word.as_str(), "from" | "in") {
        let _ = cursor.eat_word("from") || cursor.eat_word("in");
    }
    Ok(direction)
}

/// `5`, `-5`; `None`: there is no number.
fn count(cursor: &mut Cursor<'_>) -> Result<Option<i32>> {
    let negative = cursor.eat_operator("-");
    if !negative {
        cursor.eat_operator("+");
    }
    let Some(token) = cursor.peek().filter(|token| token.kind == TokenKind::Integer) else {
        return if negative { Err(cursor.error()) } else { Ok(None) };
    };
    let count: i32 = token.text(cursor.text()).parse().map_err(|_| cursor.error())?;
    cursor.advance();
    Ok(Some(if negative { -count } else { count }))
}

pub(super) fn listen(cursor: &mut Cursor<'_>) -> Result<Local> {
    cursor.advance();
    cursor.name()?;
    Ok(Local::Listen)
}

pub(super) fn unlisten(cursor: &mut Cursor<'_>) -> Result<Local> {
    cursor.advance();
    Ok(Local::Unlisten(if cursor.eat_operator("*") { None } else { Some(cursor.name()?) }))
}

pub(super) fn notify(cursor: &mut Cursor<'_>) -> Result<Local> {
    cursor.advance();
    cursor.name()?;
    if cursor.eat(TokenKind::Comma) {
        cursor.string()?;
    }
    Ok(Local::Notify { tag: "NOTIFY" })
}

pub(super) fn load(cursor: &mut Cursor<'_>) -> Result<Local> {
    cursor.advance();
    cursor.string()?;
    Ok(Local::Load)
}

#[cfg(test)]
mod tests {
    use super::super::{Direction, Local, Tree, parse};

    fn local(text: &str) -> Local {
        match parse(text, 0, Vec::new()).unwrap().tree {
            Tree::Local(local) => local,
            Tree::Sql(_) => panic!("{text}"),
        }
    }

    #[test]
    fn fetch_has_many_directions() {
        for (text, expected) in [
            ("c", Direction::Rows(1)),
            ("next", Direction::Rows(1)),
            ("FROM c", Direction::Rows(1)),
            ("IN c", Direction::Rows(1)),
            ("NEXT FROM c", Direction::Rows(1)),
            ("prior c", Direction::Rows(-1)),
            ("FIRST IN c", Direction::Absolute(1)),
            ("LAST c", Direction::Absolute(-1)),
            ("5 c", Direction::Rows(5)),
            ("-5 FROM c", Direction::Rows(-5)),
            ("+0 c", Direction::Rows(0)),
            ("ALL c", Direction::AllForward),
            ("FORWARD c", Direction::Rows(1)),
            ("FORWARD 3 FROM c", Direction::Rows(3)),
            ("FORWARD ALL c", Direction::AllForward),
            ("BACKWARD IN c", Direction::Rows(-1)),
            ("BACKWARD 2 c", Direction::Rows(-2)),
            ("BACKWARD ALL FROM c", Direction::AllBackward),
            ("ABSOLUTE -1 FROM c", Direction::Absolute(-1)),
            ("RELATIVE 0 c", Direction::Relative(0)),
        ] {
            for (word, is_move) in [("FETCH", false), ("MOVE", true)] {
                let Local::Fetch { name, moves, direction } = local(&format!("{word} {text}")) else {
                    panic!("{text}")
                };
                assert_eq!(
                    (name.as_str(), moves, direction),
                    (if text == "next" { text } else { "c" }, is_move, expected)
                );
            }
        }
        for text in ["FETCH", "FETCH ABSOLUTE c", "FETCH 99999999999 c", "FETCH - c", "FETCH NEXT 5 c", "FETCH c d"] {
            assert_eq!(parse(text, 0, Vec::new()).unwrap_err().sqlstate().code(), "42601", "{text}");
        }
    }

    #[test]
    fn cursors_are_declared_with_options() {
        let declared = local("DECLARE \"C\" BINARY INSENSITIVE NO SCROLL CURSOR WITHOUT HOLD FOR SELECT 1, 'x'");
        let query = "SELECT 1, 'x'".to_owned();
        assert_eq!(
            declared,
            Local::Declare { name: "C".into(), hold: false, scroll: Some(false), binary: true, query: query.clone() }
        );
        let declared = local("DECLARE c SCROLL CURSOR WITH HOLD FOR SELECT 1, 'x'");
        assert_eq!(declared, Local::Declare { name: "c".into(), hold: true, scroll: Some(true), binary: false, query });
        assert_eq!(parse("DECLARE c NOISY CURSOR FOR SELECT 1", 0, Vec::new()).unwrap_err().sqlstate().code(), "42601");
    }
}
