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
    while !cursor.eat_word("cursor") {
        if cursor.at_end() {
            return Err(cursor.error());
        }
        cursor.advance();
    }
    let hold = cursor.eat_words(&["with", "hold"]);
    if !hold {
        cursor.eat_words(&["without", "hold"]);
    }
    cursor.expect_word("for")?;
    Ok(Local::Declare { name, hold, query: cursor.rest()?.to_owned() })
}

/// The cursor's name is the last word; the shard reads what stands before it.
pub(super) fn fetch(cursor: &mut Cursor<'_>) -> Result<Local> {
    let moves = cursor.peek_word().is_some_and(|word| word.eq_ignore_ascii_case("move"));
    cursor.advance();
    loop {
        let before_last = cursor.clone();
        if cursor.at_end() {
            return Err(cursor.error());
        }
        cursor.advance();
        if cursor.at_end() {
            *cursor = before_last;
            return Ok(Local::Fetch { name: cursor.name()?, moves });
        }
    }
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
