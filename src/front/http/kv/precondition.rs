//! If-Match and If-None-Match: what must hold of an entry before a request touches it.
//!
//! An ETag is the entry's version, an integer in quotes. A tag that is not one matches nothing, and is no error.
//!
//! <https://www.rfc-editor.org/rfc/rfc9110#name-preconditions>

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::web::Problem;

/// Tags in one header, or versions in one member of a batch's item. More is refused.
const TAGS_MAX: usize = 64;

/// What one of the two headers asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Tags {
    /// `*`: that the entry exists, whatever its version.
    Any,
    List(Vec<Tag>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tag {
    weak: bool,
    /// `None` when it is no version of shardd's: it matches nothing.
    version: Option<i64>,
}

/// What must hold of an entry. Both may be given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Preconditions {
    pub(super) if_match: Option<Tags>,
    pub(super) if_none_match: Option<Tags>,
}

/// What becomes of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadVerdict {
    Proceed,
    /// 304: the client has this version.
    NotModified,
    /// 412.
    Failed,
}

impl Preconditions {
    /// # Errors
    /// A header is malformed.
    pub(super) fn from_headers(headers: &HeaderMap) -> Result<Preconditions, Problem> {
        Ok(Preconditions {
            if_match: tags_of(headers, &header::IF_MATCH)?,
            if_none_match: tags_of(headers, &header::IF_NONE_MATCH)?,
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.if_match.is_none() && self.if_none_match.is_none()
    }

    /// Whether a write may go on; `version` is the entry's, `None` when there is none.
    pub(super) fn allow_write(&self, version: Option<i64>) -> bool {
        let matches = self.if_match.as_ref().is_none_or(|tags| tags.match_strongly(version));
        let no_match = self.if_none_match.as_ref().is_none_or(|tags| !tags.match_weakly(version));
        matches && no_match
    }

    pub(super) fn read_verdict(&self, version: Option<i64>) -> ReadVerdict {
        if self.if_match.as_ref().is_some_and(|tags| !tags.match_strongly(version)) {
            ReadVerdict::Failed
        } else if self.if_none_match.as_ref().is_some_and(|tags| tags.match_weakly(version)) {
            ReadVerdict::NotModified
        } else {
            ReadVerdict::Proceed
        }
    }
}

impl Tags {
    pub(super) fn versions(versions: Vec<i64>) -> Tags {
        Tags::List(versions.into_iter().map(|version| Tag { weak: false, version: Some(version) }).collect())
    }

    /// If-Match compares strongly: a weak tag matches nothing.
    fn match_strongly(&self, version: Option<i64>) -> bool {
        match self {
            Tags::Any => version.is_some(),
            Tags::List(tags) => version.is_some() && tags.iter().any(|tag| !tag.weak && tag.version == version),
        }
    }

    fn match_weakly(&self, version: Option<i64>) -> bool {
        match self {
            Tags::Any => version.is_some(),
            Tags::List(tags) => version.is_some() && tags.iter().any(|tag| tag.version == version),
        }
    }
}

/// The ETag of a version.
pub(super) fn etag(version: i64) -> HeaderValue {
    HeaderValue::from_str(&format!("\"{version}\"")).unwrap_or(HeaderValue::from_static("\"0\""))
}

fn tags_of(headers: &HeaderMap, name: &HeaderName) -> Result<Option<Tags>, Problem> {
    let mut found: Option<Tags> = None;
    for value in headers.get_all(name) {
        let parsed = value.to_str().ok().and_then(parse_tags);
        let parsed = parsed.ok_or_else(|| {
            Problem::bad_request(format!("the header {name} is neither * nor a list of ETags"))
                .hint("An ETag is sent with its quotes: \"42\".")
        })?;
        found = Some(match (found, parsed) {
            (None, tags) => tags,
            (Some(Tags::List(mut first)), Tags::List(second)) if first.len() + second.len() <= TAGS_MAX => {
                first.extend(second);
                Tags::List(first)
            }
            _ => return Err(Problem::bad_request(format!("the header {name} is given twice, or too long"))),
        });
    }
    Ok(found)
}

/// `*`, or a list of entity tags; `None` when it is neither. Empty elements are allowed, as in every list of HTTP.
fn parse_tags(text: &str) -> Option<Tags> {
    let mut rest = text.trim_matches([' ', '\t']);
    if rest == "*" {
        return Some(Tags::Any);
    }
    let mut tags = Vec::new();
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() {
            return (!tags.is_empty()).then_some(Tags::List(tags));
        }
        let (weak, quoted) = match rest.strip_prefix("W/") {
            Some(quoted) => (true, quoted),
            None => (false, rest),
        };
        let (opaque, after) = quoted.strip_prefix('"')?.split_once('"')?;
        if tags.len() == TAGS_MAX || opaque.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
            return None;
        }
        tags.push(Tag { weak, version: parse_version(opaque) });
        rest = after.trim_start_matches([' ', '\t']);
        if !rest.is_empty() && !rest.starts_with(',') {
            return None;
        }
    }
}

/// A version in its one spelling: `042` and `+42` are no versions.
fn parse_version(text: &str) -> Option<i64> {
    let version: i64 = text.parse().ok()?;
    (version.to_string() == text).then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preconditions(pairs: &[(HeaderName, &'static str)]) -> Result<Preconditions, Problem> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name, HeaderValue::from_static(value));
        }
        Preconditions::from_headers(&headers)
    }

    fn if_match(value: &'static str) -> Preconditions {
        preconditions(&[(header::IF_MATCH, value)]).unwrap()
    }

    fn if_none_match(value: &'static str) -> Preconditions {
        preconditions(&[(header::IF_NONE_MATCH, value)]).unwrap()
    }

    #[test]
    fn without_preconditions_everything_proceeds() {
        let none = preconditions(&[]).unwrap();
        assert!(none.is_empty());
        assert!(none.allow_write(None) && none.allow_write(Some(1)));
        assert_eq!(none.read_verdict(Some(1)), ReadVerdict::Proceed);
    }

    #[test]
    fn if_match_wants_one_of_its_versions() {
        let list = if_match("\"1\", \"1025\" ,\"x\"");
        assert!(list.allow_write(Some(1)) && list.allow_write(Some(1025)));
        assert!(!list.allow_write(Some(2)));
        assert!(!list.allow_write(None));
        assert_eq!(list.read_verdict(Some(2)), ReadVerdict::Failed);
    }

    #[test]
    fn if_match_any_wants_an_entry() {
        assert!(if_match("*").allow_write(Some(9)));
        assert!(!if_match(" * ").allow_write(None));
    }

    #[test]
    fn a_weak_tag_never_matches_a_write_but_saves_a_read() {
        assert!(!if_match("W/\"7\"").allow_write(Some(7)));
        assert_eq!(if_none_match("W/\"7\"").read_verdict(Some(7)), ReadVerdict::NotModified);
    }

    #[test]
    fn if_none_match_any_only_creates() {
        assert!(if_none_match("*").allow_write(None));
        assert!(!if_none_match("*").allow_write(Some(1)));
        assert_eq!(if_none_match("*").read_verdict(Some(1)), ReadVerdict::NotModified);
        assert_eq!(if_none_match("*").read_verdict(None), ReadVerdict::Proceed);
    }

    #[test]
    fn both_must_hold() {
        let both = preconditions(&[(header::IF_MATCH, "\"5\""), (header::IF_NONE_MATCH, "\"5\"")]).unwrap();
        assert!(!both.allow_write(Some(5)));
    }

    #[test]
    fn lists_in_several_headers_are_one_list() {
        let two = preconditions(&[(header::IF_MATCH, "\"1\""), (header::IF_MATCH, "\"2\"")]).unwrap();
        assert!(two.allow_write(Some(1)) && two.allow_write(Some(2)));
    }

    #[test]
    fn a_foreign_spelling_of_a_version_matches_nothing() {
        for text in ["\"042\"", "\"+42\"", "\"42a\"", "\"\"", "\"99999999999999999999\""] {
            assert!(!if_match(text).allow_write(Some(42)), "{text}");
        }
    }

    #[test]
    fn malformed_headers_are_refused() {
        for text in ["", "42", "\"42", "\"1\" \"2\"", "*, \"1\"", "w/\"1\"", "\"a b\"", ","] {
            assert!(preconditions(&[(header::IF_MATCH, text)]).is_err(), "{text}");
        }
        assert!(preconditions(&[(header::IF_MATCH, "*"), (header::IF_MATCH, "\"1\"")]).is_err());
        assert_eq!(parse_tags(&"\"1\",".repeat(65)), None);
    }
}
