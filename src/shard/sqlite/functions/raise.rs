//! How an error of ours passes through SQLite, which lets a function say one string.

use crate::error::{Error, SqlState};

/// An error as the one string that SQLite lets a function say: U+0001, then SQLSTATE, message, detail and hint, each
/// after a U+0001.
pub fn raise(error: &Error) -> rusqlite::Error {
    let mut text = String::new();
    let (detail, hint) = (error.get_detail().unwrap_or(""), error.get_hint().unwrap_or(""));
    for field in [error.sqlstate().code(), error.message(), detail, hint] {
        text.push('\u{1}');
        // What a user's value brought must not end a field, nor the string.
        text.push_str(&field.replace(['\u{1}', '\0'], "\u{fffd}"));
    }
    rusqlite::Error::UserFunctionError(text.into())
}

/// The error that a registered function raised, if this is one.
pub fn raised(error: &rusqlite::Error) -> Option<Error> {
    let text = match error {
        rusqlite::Error::SqliteFailure(_, Some(text)) => text.clone(),
        rusqlite::Error::SqlInputError { msg, .. } => msg.clone(),
        rusqlite::Error::UserFunctionError(error) => error.to_string(),
        _ => return None,
    };
    let mut fields = text.strip_prefix('\u{1}')?.splitn(4, '\u{1}');
    let error = Error::new(SqlState::from_code(fields.next()?), fields.next()?);
    let (detail, hint) = (fields.next().unwrap_or(""), fields.next().unwrap_or(""));
    let error = if detail.is_empty() { error } else { error.detail(detail) };
    Some(if hint.is_empty() { error } else { error.hint(hint) })
}
