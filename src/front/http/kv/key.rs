//! Keys of entries, the ranges that prefixes mean, and cursors.
//!
//! Keys are ordered by their bytes, which for UTF-8 is the order of their characters' code points.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::web::Problem;

/// The longest key, in bytes of UTF-8.
pub(crate) const KEY_MAX_BYTES: usize = 512;
/// Says how a cursor is made, so that a later version can tell its own from older ones.
const CURSOR_VERSION: u8 = 1;

/// A key that may name an entry.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Key(String);

impl Key {
    /// # Errors
    /// 400: it is empty, too long, or no URL or no database can hold it.
    pub(super) fn new(text: impl Into<String>) -> Result<Key, Problem> {
        let text = text.into();
        let complaint = match text.as_str() {
            "" => "a key has at least one character",
            "." | ".." => "a key cannot be . or .., which HTTP clients take for path segments",
            long if long.len() > KEY_MAX_BYTES => "a key has at most 512 bytes of UTF-8",
            zero if zero.contains('\0') => "a key cannot contain the character U+0000",
            _ => return Ok(Key(text)),
        };
        Err(Problem::new(axum::http::StatusCode::BAD_REQUEST, "invalid_key", complaint))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// The first string after all those that begin with `prefix`; `None` when there is none.
pub(super) fn end_of_prefix(prefix: &str) -> Option<String> {
    let mut end = prefix.to_owned();
    while let Some(last) = end.pop() {
        if let Some(next) = next_char(last) {
            end.push(next);
            return Some(end);
        }
    }
    None
}

fn next_char(character: char) -> Option<char> {
    const FIRST_SURROGATE: u32 = 0xD800;
    const AFTER_SURROGATES: u32 = 0xE000;
    match u32::from(character) + 1 {
        FIRST_SURROGATE => char::from_u32(AFTER_SURROGATES),
        next => char::from_u32(next),
    }
}

/// Where a listing goes on, for a client that need not know how.
pub(super) fn cursor_after(key: &str) -> String {
    let mut bytes = vec![CURSOR_VERSION];
    bytes.extend_from_slice(key.as_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The key that a cursor stands after.
///
/// # Errors
/// 400: it is no cursor of this listing.
pub(super) fn parse_cursor(cursor: &str, prefix: &str) -> Result<String, Problem> {
    let key = || {
        let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
        let (&version, key) = bytes.split_first()?;
        let key = String::from_utf8(key.to_vec()).ok().filter(|_| version == CURSOR_VERSION)?;
        (key.len() <= KEY_MAX_BYTES && !key.contains('\0') && key.starts_with(prefix)).then_some(key)
    };
    key().ok_or_else(|| {
        Problem::bad_request("the cursor is not one that this listing gave")
            .hint("Send next_cursor as it came, with the same prefix; or begin again without a cursor.")
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_have_limits() {
        assert!(Key::new("a/b c%").is_ok());
        assert!(Key::new("k".repeat(KEY_MAX_BYTES)).is_ok());
        for bad in ["", ".", "..", "a\0b", &"k".repeat(KEY_MAX_BYTES + 1), &"é".repeat(257)] {
            assert!(Key::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_end_of_a_prefix_skips_what_is_no_character() {
        assert_eq!(end_of_prefix("user:"), Some("user;".to_owned()));
        assert_eq!(end_of_prefix("\u{D7FF}"), Some("\u{E000}".to_owned()));
        assert_eq!(end_of_prefix("a\u{10FFFF}"), Some("b".to_owned()));
        assert_eq!(end_of_prefix("\u{10FFFF}"), None);
        assert_eq!(end_of_prefix(""), None);
    }

    proptest! {
        #[test]
        fn a_key_begins_with_a_prefix_if_and_only_if_it_lies_in_its_range(prefix in "\\PC{1,3}", key in "\\PC{0,5}") {
            let in_range = key.as_str() >= prefix.as_str()
                && end_of_prefix(&prefix).is_none_or(|end| key.as_str() < end.as_str());
            prop_assert_eq!(in_range, key.starts_with(&prefix));
        }

        #[test]
        fn a_cursor_gives_its_key_back(key in "\\PC{1,40}") {
            prop_assert_eq!(parse_cursor(&cursor_after(&key), "").unwrap(), key);
        }

        #[test]
        fn what_is_no_cursor_is_refused_without_a_panic(text in "\\PC{0,60}") {
            let _ = parse_cursor(&text, "");
        }
    }

    #[test]
    fn a_cursor_of_another_listing_is_refused() {
        assert!(parse_cursor(&cursor_after("user:1"), "user:").is_ok());
        assert!(parse_cursor(&cursor_after("user:1"), "order:").is_err());
        assert!(parse_cursor("", "").is_err());
        assert!(parse_cursor("%%%", "").is_err());
    }
}
