//! A statement's own text with further conditions on the rows of its tables.
//!
//! A [`Place`] says where the tree got one; here the same is written into the text, and every other byte stays as it was.

use super::Span;
use super::cursor::Cursor;
use super::lexer::TokenKind;
use super::outer::Outer;
use crate::error::Result;
use crate::types::KeyType;

/// The key column of a table whose rows are looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyColumn {
    pub keyspace: String,
    pub key_type: KeyType,
    /// As the condition has to name it: quoted where it must be, and qualified.
    pub name: String,
}

/// Where a statement has a further condition. Its spans are those of the tree that the text was read as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the WHERE of the SELECT, UPDATE or DELETE that begins here.
    Where { begin: Span, keys: Vec<KeyColumn> },
    /// In the ON of the MERGE that begins here.
    On { begin: Span, key: KeyColumn },
    /// Around a table's name in FROM, which begins here. `alias`: the one that it has to be given.
    Table { begin: Span, key: KeyColumn, alias: Option<String> },
}

/// The text with a condition at each place, as `condition` writes it. `None` when a place is not found.
///
/// # Errors
/// The text has a token that cannot be read.
pub fn with_conditions(
    text: &str,
    places: &[Place],
    condition: &dyn Fn(&KeyColumn) -> String,
) -> Result<Option<String>> {
    let cursor = Cursor::new(text)?;
    let outer = Outer { text, tokens: cursor.tokens() };
    let mut edits = Vec::new();
    for place in places {
        if outer.edit(place, condition, &mut edits).is_none() {
            return Ok(None);
        }
    }
    edits.sort_by_key(|edit| edit.at);
    let mut changed = String::with_capacity(text.len() + 64 * edits.len());
    let mut copied = 0;
    for Edit { at, skip, words } in &edits {
        let Some(before) = text.get(copied..*at) else { return Ok(None) };
        changed.push_str(before);
        changed.push_str(words);
        copied = at + skip;
    }
    changed.push_str(text.get(copied..).unwrap_or_default());
    Ok(Some(changed))
}

/// Words in place of some bytes.
struct Edit {
    at: usize,
    skip: usize,
    words: String,
}

/// All conditions that AND joins.
pub fn all_conditions(keys: &[KeyColumn], condition: &dyn Fn(&KeyColumn) -> String) -> String {
    keys.iter().map(condition).collect::<Vec<_>>().join(" AND ")
}

impl Outer<'_, '_> {
    fn edit(&self, place: &Place, condition: &dyn Fn(&KeyColumn) -> String, edits: &mut Vec<Edit>) -> Option<()> {
        match place {
            Place::Where { begin, keys } => {
                let begin = self.token_at(*begin)?;
                if self.begins(begin, "table") {
                    // TABLE, which means this, can have no WHERE.
                    let (at, end) = (self.tokens.get(begin)?.start as usize, self.tokens.get(begin)?.end as usize);
                    edits.push(Edit { at, skip: end - at, words: "SELECT * FROM".to_owned() });
                }
                let (found, end) = self.where_behind(begin)?;
                self.add(found, end, "WHERE", &all_conditions(keys, condition), edits)
            }
            Place::On { begin, key } => {
                let begin = self.token_at(*begin)?;
                let on = self.find(begin..self.tokens.len(), |at| self.begins(at, "on"))?;
                let end = self.end_of_on(on)?;
                self.add(Some(on), end, "ON", &condition(key), edits)
            }
            Place::Table { begin, key, alias } => {
                let begin = self.token_at(*begin)?;
                let end = self.name_end(begin)?;
                self.insert_before(begin, "(SELECT * FROM ".to_owned(), edits)?;
                let alias = alias.as_ref().map(|alias| format!(" AS {alias}")).unwrap_or_default();
                self.insert_behind(end, format!(" WHERE ({})){alias}", condition(key)), edits)
            }
        }
    }

    /// Adds a condition to the one behind a word, or writes both.
    fn add(&self, found: Option<usize>, end: usize, word: &str, condition: &str, edits: &mut Vec<Edit>) -> Option<()> {
        match found {
            Some(at) => {
                self.insert_before(at + 1, "(".to_owned(), edits)?;
                self.insert_behind(end, format!(") AND ({condition})"), edits)
            }
            None => self.insert_behind(end, format!(" {word} ({condition})"), edits),
        }
    }

    fn insert_before(&self, token: usize, words: String, edits: &mut Vec<Edit>) -> Option<()> {
        edits.push(Edit { at: self.tokens.get(token)?.start as usize, skip: 0, words });
        Some(())
    }

    /// Behind the token before this one.
    fn insert_behind(&self, token: usize, words: String, edits: &mut Vec<Edit>) -> Option<()> {
        edits.push(Edit { at: self.tokens.get(token.checked_sub(1)?)?.end as usize, skip: 0, words });
        Some(())
    }

    /// The token at the begin of a span, whose columns are bytes from 1.
    fn token_at(&self, span: Span) -> Option<usize> {
        let byte = u32::try_from(span.start.column.checked_sub(1)?).ok()?;
        self.tokens.binary_search_by_key(&byte, |token| token.start).ok()
    }

    /// WHERE of the SELECT, UPDATE or DELETE that begins here, and where it ends or would stand.
    fn where_behind(&self, begin: usize) -> Option<(Option<usize>, usize)> {
        let (mut depth, mut found) = (0_usize, None);
        for at in begin + 1..self.tokens.len() {
            match self.kind(at)? {
                TokenKind::LeftParen | TokenKind::LeftBracket => depth += 1,
                TokenKind::RightParen | TokenKind::RightBracket if depth == 0 => return Some((found, at)),
                TokenKind::RightParen | TokenKind::RightBracket => depth -= 1,
                TokenKind::Semicolon if depth == 0 => return Some((found, at)),
                TokenKind::Word if depth == 0 && found.is_none() && self.begins(at, "where") => found = Some(at),
                TokenKind::Word if depth == 0 && self.follows_where(at) => return Some((found, at)),
                _ => {}
            }
        }
        Some((found, self.tokens.len()))
    }

    /// Whether a clause begins here that stands behind WHERE.
    fn follows_where(&self, at: usize) -> bool {
        if self.is_before(at, 1, "as") {
            return false;
        }
        let words =
            ["having", "window", "limit", "offset", "fetch", "union", "intersect", "except", "returning"].as_slice();
        self.is_one_of(at, words)
            || (self.is_one_of(at, &["group", "order"]) && self.is(at + 1, "by") && !self.is_before(at, 1, "within"))
            || (self.is(at, "for") && self.is_one_of(at + 1, &["update", "no", "share", "key", "read"]))
            || (self.is(at, "on") && self.is(at + 1, "conflict") && self.is_conflict(at + 2))
    }

    /// Whether ON CONFLICT goes on here, which may be a comparison of a column of that name.
    fn is_conflict(&self, at: usize) -> bool {
        self.kind(at) == Some(TokenKind::LeftParen) || self.is_one_of(at, &["do", "on"])
    }

    /// Where the condition ends that stands behind this ON of a MERGE.
    fn end_of_on(&self, on: usize) -> Option<usize> {
        let mut cases = 0_usize;
        let mut depth = 0_usize;
        for at in on + 1..self.tokens.len() {
            match self.kind(at)? {
                TokenKind::LeftParen | TokenKind::LeftBracket => depth += 1,
                TokenKind::RightParen | TokenKind::RightBracket => depth = depth.checked_sub(1)?,
                TokenKind::Word if depth == 0 && self.begins(at, "case") => cases += 1,
                TokenKind::Word if depth == 0 && cases > 0 && self.begins(at, "end") => cases -= 1,
                TokenKind::Word if depth == 0 && cases == 0 && self.begins(at, "when") => return Some(at),
                _ => {}
            }
        }
        None
    }
}
