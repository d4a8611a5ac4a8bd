//! One spelling for what Postgres prints in two.
//!
//! `status IN ('a', 'b')` on a varchar column is printed as a cast of the whole array where it was written so, and as casts of
//! its elements once that has been read again, by a dump or by a copy. Shards that differ in nothing else are alike.

use std::borrow::Cow;

const BEGIN: &str = "(ARRAY['";
const END: &str = ")::text[]";
const ELEMENT: &str = "::character varying";

/// The text with the casts at the elements.
pub(super) fn canonical(text: &str) -> Cow<'_, str> {
    if !text.contains(BEGIN) {
        return Cow::Borrowed(text);
    }
    let mut written = String::with_capacity(text.len() + 64);
    let mut rest = text;
    while let Some(at) = rest.find(BEGIN) {
        let elements = &rest[at + BEGIN.len() - 1..];
        match array(elements) {
            Some((list, after)) => {
                written.push_str(&rest[..at]);
                written.push_str("ARRAY[");
                for (number, element) in list.iter().enumerate() {
                    let comma = if number > 0 { ", " } else { "" };
                    written.push_str(&format!("{comma}({element})::text"));
                }
                written.push(']');
                rest = &elements[after..];
            }
            None => {
                written.push_str(&rest[..at + BEGIN.len()]);
                rest = &elements[1..];
            }
        }
    }
    written.push_str(rest);
    Cow::Owned(written)
}

/// The elements of an array of varchar literals that is cast to text[], and where it ends.
fn array(text: &str) -> Option<(Vec<&str>, usize)> {
    let mut elements = Vec::new();
    let mut at = 0;
    loop {
        let end = at + literal(&text[at..])?;
        text[end..].strip_prefix(ELEMENT)?;
        let end = end + ELEMENT.len();
        elements.push(&text[at..end]);
        if text[end..].starts_with(", ") {
            at = end + 2;
        } else {
            let after = text[end..].strip_prefix(']')?.strip_prefix(END)?;
            return Some((elements, text.len() - after.len()));
        }
    }
}

/// Where a literal in quotes ends.
fn literal(text: &str) -> Option<usize> {
    let mut rest = text.strip_prefix('\'')?;
    loop {
        rest = &rest[rest.find('\'')? + 1..];
        match rest.strip_prefix('\'') {
            Some(doubled) => rest = doubled,
            None => return Some(text.len() - rest.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_of_a_list_of_varchars_are_one() {
        let first = "((status)::text = ANY ((ARRAY['it''s'::character varying, 'b]'::character varying])::text[]))";
        let again =
            "((status)::text = ANY (ARRAY[('it''s'::character varying)::text, ('b]'::character varying)::text]))";
        assert_eq!(canonical(first), again);
        assert_eq!(canonical(again), again);
        for other in [
            "x = ANY ((ARRAY['a'::character varying, upper('b')])::text[])",
            "x = ANY ((ARRAY['a'::text])::text[]) AND y = (ARRAY['",
            "x = ANY ((ARRAY['a'::character varying])::bpchar[])",
        ] {
            assert_eq!(canonical(other), other);
        }
    }
}
