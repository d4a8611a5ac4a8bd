//! Changes of the schema that are read by hand: of sequences, and of indexes CONCURRENTLY.
//!
//! The parser knows them in part or not at all, and all that matters here is what they are about: the shards get the client's
//! own text.

use super::cursor::Cursor;
use super::lexer::TokenKind;
use super::local::Local;
use crate::error::Result;

/// A change of indexes that no transaction can hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Concurrent {
    DropIndex {
        /// Without its schema.
        name: String,
        if_exists: bool,
    },
    Reindex,
}

/// DROP INDEX CONCURRENTLY, REINDEX INDEX CONCURRENTLY and REINDEX TABLE CONCURRENTLY; `None` when it is something else.
pub(super) fn concurrent(cursor: &mut Cursor<'_>) -> Result<Option<Concurrent>> {
    let mut ahead = cursor.clone();
    if ahead.eat_words(&["drop", "index", "concurrently"]) {
        let if_exists = ahead.eat_words(&["if", "exists"]);
        let name = last_of_name(&mut ahead)?;
        let _ = ahead.eat_word("restrict");
        *cursor = ahead;
        return Ok(Some(Concurrent::DropIndex { name, if_exists }));
    }
    if ahead.eat_words(&["reindex", "index", "concurrently"]) || ahead.eat_words(&["reindex", "table", "concurrently"])
    {
        last_of_name(&mut ahead)?;
        *cursor = ahead;
        return Ok(Some(Concurrent::Reindex));
    }
    Ok(None)
}

fn last_of_name(cursor: &mut Cursor<'_>) -> Result<String> {
    let mut name = cursor.name()?;
    while cursor.eat(TokenKind::Dot) {
        name = cursor.name()?;
    }
    Ok(name)
}

/// What is said of it is the shards' to read.
pub(super) fn change_of_sequence(cursor: &mut Cursor<'_>, tag: &'static str) -> Result<Local> {
    cursor.advance();
    cursor.advance();
    let _ = cursor.eat_words(&["if", "exists"]) || cursor.eat_words(&["if", "not", "exists"]);
    let mut name = vec![cursor.name()?];
    while cursor.eat(TokenKind::Dot) {
        name.push(cursor.name()?);
    }
    Ok(Local::ChangeSequence { tag, name })
}

#[cfg(test)]
mod tests {
    use crate::sql::{Tree, parse};

    use super::*;

    #[test]
    fn a_change_is_read_for_what_it_is_about() {
        let read = |text: &str| match parse(text, 0, Vec::new()).expect(text).tree {
            Tree::Local(local) => Some(local),
            Tree::Sql(_) => None,
        };
        let sequence = |tag, name: &[&str]| {
            let name = name.iter().map(|part| (*part).to_owned()).collect();
            Some(Local::ChangeSequence { tag, name })
        };
        let dropped = |name: &str, if_exists| {
            Some(Local::Concurrently(Concurrent::DropIndex { name: name.to_owned(), if_exists }))
        };
        for (text, expected) in [
            ("CREATE SEQUENCE s START 5 INCREMENT 2", sequence("CREATE SEQUENCE", &["s"])),
            ("create sequence if not exists public.\"S\" as integer;", sequence("CREATE SEQUENCE", &["public", "S"])),
            ("ALTER SEQUENCE IF EXISTS s RESTART", sequence("ALTER SEQUENCE", &["s"])),
            ("DROP INDEX CONCURRENTLY IF EXISTS public.i RESTRICT", dropped("i", true)),
            ("DROP INDEX CONCURRENTLY I", dropped("i", false)),
            ("REINDEX TABLE CONCURRENTLY t", Some(Local::Concurrently(Concurrent::Reindex))),
            ("DROP INDEX i", None),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
        for text in ["ALTER SEQUENCE", "DROP INDEX CONCURRENTLY a, b", "REINDEX INDEX CONCURRENTLY"] {
            assert!(parse(text, 0, Vec::new()).is_err(), "{text}");
        }
    }
}
