//! Names of tables without the schema that was written before them.

use std::borrow::Cow;

use super::lexer::{Lexer, Token, TokenKind};
use super::value::{fold_name, quoted_word_value};
use crate::error::Result;

/// The text with blanks in place of each `schema.` that stands before one of the `names`: every other byte keeps its place.
///
/// # Errors
/// The text has a token that cannot be read.
pub fn without_schema<'t>(text: &'t str, schema: &str, names: &dyn Fn(&str) -> bool) -> Result<Cow<'t, str>> {
    let tokens: Vec<Token> = Lexer::new(text)?.collect::<Result<_>>()?;
    let mut changed = Cow::Borrowed(text);
    for (at, window) in tokens.windows(3).enumerate() {
        let [qualifier, dot, name] = window else { continue };
        // `other.public.events` is a column of a table named public.
        let follows_dot = at.checked_sub(1).is_some_and(|before| tokens[before].kind == TokenKind::Dot);
        let is_name =
            |token: &Token, wanted: &dyn Fn(&str) -> bool| word(*token, text).is_some_and(|word| wanted(&word));
        if !follows_dot
            && dot.kind == TokenKind::Dot
            && is_name(qualifier, &|word| word == schema)
            && is_name(name, names)
        {
            let (start, end) = (qualifier.start as usize, name.start as usize);
            changed.to_mut().replace_range(start..end, &" ".repeat(end - start));
        }
    }
    Ok(changed)
}

fn word(token: Token, text: &str) -> Option<Cow<'_, str>> {
    match token.kind {
        TokenKind::Word => Some(fold_name(token.text(text))),
        TokenKind::QuotedWord | TokenKind::UnicodeWord => quoted_word_value(text, token).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(text: &str) -> String {
        without_schema(text, "public", &|name| name == "events").unwrap().into_owned()
    }

    #[test]
    fn a_table_loses_its_schema_and_nothing_else_moves() {
        for (text, expected) in [
            ("SELECT * FROM public.events", "SELECT * FROM        events"),
            ("SELECT public.events.id FROM PUBLIC.Events", "SELECT        events.id FROM        Events"),
            ("SELECT 1 FROM \"public\" . \"events\" e", "SELECT 1 FROM            \"events\" e"),
        ] {
            assert_eq!(changed(text), expected);
        }
    }

    #[test]
    fn other_names_and_texts_stay() {
        for text in [
            "SELECT * FROM events",
            "SELECT * FROM public.seats",
            "SELECT * FROM audit.events",
            "SELECT 'public.events' FROM events",
            "SELECT e.public.events FROM e",
            "SELECT * FROM \"Public\".events",
        ] {
            assert_eq!(changed(text), text);
        }
    }
}
