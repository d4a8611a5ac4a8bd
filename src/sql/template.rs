//! Texts that differ from a known one only in their values are recognised without being read again.
//!
//! The known text was read token by token once. Another that has the same bytes between its literals, and at each literal's
//! place one of the same kind, has the same tokens: lifting it would give the same text.

use super::lift::Lifted;
use super::{Literal, LiteralKind};

/// Digits of an integer that surely fits a bigint.
const DIGITS: usize = 18;
/// Integers that are not lifted, since they mean something else behind a minus sign.
const NOT_LIFTED: i64 = 2_147_483_648;

/// A text that was read, and where its values stand.
#[derive(Debug)]
pub struct Template {
    text: Box<str>,
    holes: Box<[Hole]>,
}

/// A literal that may be another.
#[derive(Clone, Copy, Debug)]
struct Hole {
    start: u32,
    end: u32,
    kind: LiteralKind,
}

impl Template {
    /// `lifted` was made of `text`. `None` when a literal is written in another form than plain digits (`7`, `1.50`) and
    /// plain strings.
    pub fn new(text: &str, lifted: &Lifted<'_>) -> Option<Template> {
        let literals = lifted.literals.iter().zip(lifted.written());
        let holes = literals.map(|(literal, written)| {
            let (found, length) = read(text.as_bytes().get(written.clone())?, literal.kind())?;
            let plain = length == written.len() && found == *literal;
            plain.then_some(Hole { start: written.start as u32, end: written.end as u32, kind: literal.kind() })
        });
        Some(Template { holes: holes.collect::<Option<_>>()?, text: text.into() })
    }

    /// Equal for all texts that the same template can stand for: of the bytes before the first that could be a value's.
    pub fn hash_of(text: &[u8]) -> u64 {
        let (words, rest) = text.as_chunks::<8>();
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        let mut hash = 0_u64;
        for word in words.iter().chain([&last]) {
            let word = u64::from_le_bytes(*word);
            let found = first_of_a_value(word);
            let before = word & !u64::MAX.checked_shl(found).unwrap_or(0);
            hash = (hash.rotate_left(5) ^ before).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            if found < u64::BITS {
                break;
            }
        }
        hash ^ (hash >> 32)
    }

    /// Whether `text` is this one with other values, and so is UTF-8. Gives the literal number `wanted` (from 0), if there are
    /// so many.
    #[inline]
    pub fn matches<'t>(&self, text: &'t [u8], wanted: usize) -> Option<Option<Literal<'t>>> {
        let mine = self.text.as_bytes();
        let (mut at, mut rest) = (0, text);
        let mut found = None;
        for (index, hole) in self.holes.iter().enumerate() {
            rest = rest.strip_prefix(&mine[at..hole.start as usize])?;
            let (literal, length) = read(rest, hole.kind)?;
            if index == wanted {
                found = Some(literal);
            }
            at = hole.end as usize;
            rest = &rest[length..];
        }
        (mine[at..] == *rest).then_some(found)
    }
}

/// Where the first byte of eight that is a digit or a quote begins, in bits; 64 when none is.
#[inline]
fn first_of_a_value(word: u64) -> u32 {
    const ONES: u64 = u64::MAX / 255;
    // Each sets the upper bit of the bytes that are less than `limit`, and perhaps of others behind the first such one.
    let less = |bytes: u64, limit: u64| bytes.wrapping_sub(ONES * limit) & !bytes & (ONES << 7);
    let digits = less(word ^ (ONES * u64::from(b'0')), 10);
    let quotes = less(word ^ (ONES * u64::from(b'\'')), 1);
    (digits | quotes).trailing_zeros() & !7
}

/// The literal of this kind at the front, in its plain form, and its length.
#[inline]
fn read(text: &[u8], kind: LiteralKind) -> Option<(Literal<'_>, usize)> {
    let (literal, length) = match kind {
        LiteralKind::Text => string(text).map(|(value, length)| (Literal::Text(value.into()), length))?,
        LiteralKind::Numeric => decimal(text).map(|value| (Literal::Numeric(value.into()), value.len()))?,
        LiteralKind::Int4 | LiteralKind::Int8 => {
            let (value, length) = integer(text)?;
            (i32::try_from(value).map_or(Literal::Int8(value), Literal::Int4), length)
        }
    };
    (literal.kind() == kind).then_some((literal, length))
}

/// The integer of the digits at the front, and how many they are.
#[inline]
fn integer(bytes: &[u8]) -> Option<(i64, usize)> {
    let mut value = 0_i64;
    let mut end = 0;
    while let Some(digit) = bytes.get(end).filter(|byte| byte.is_ascii_digit()) {
        if end == DIGITS {
            return None;
        }
        value = value * 10 + i64::from(digit - b'0');
        end += 1;
    }
    (end > 0 && value != NOT_LIFTED).then_some((value, end))
}

/// Digits, a point and digits.
fn decimal(text: &[u8]) -> Option<&str> {
    let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let whole = digits(text);
    let fraction = digits(text.get(whole..)?.strip_prefix(b".")?);
    if whole == 0 || fraction == 0 {
        return None;
    }
    std::str::from_utf8(&text[..whole + 1 + fraction]).ok()
}

/// The string in quotes at the front, when nothing is escaped in it, and its length with the quotes.
#[inline]
fn string(text: &[u8]) -> Option<(&str, usize)> {
    let inner = text.strip_prefix(b"'")?;
    let end = memchr::memchr3(b'\'', b'\\', 0, inner).filter(|end| inner[*end] == b'\'')?;
    Some((std::str::from_utf8(&inner[..end]).ok()?, end + 2))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sql::lift;

    fn template(text: &str) -> Template {
        Template::new(text, &lift(text).unwrap()).unwrap()
    }

    #[test]
    fn other_values_match_and_other_texts_do_not() {
        let known = template("SELECT v FROM kv WHERE id = 7 AND name = 'x' LIMIT 3;");
        let found = known.matches(b"SELECT v FROM kv WHERE id = 123456 AND name = 'y z' LIMIT 10;", 0);
        assert_eq!(found, Some(Some(Literal::Int4(123_456))));
        let found = known.matches(b"SELECT v FROM kv WHERE id = 1 AND name = '' LIMIT 10;", 1);
        assert_eq!(found, Some(Some(Literal::Text("".into()))));
        for other in [
            "SELECT v FROM kv WHERE id = 7 AND name = 'x' LIMIT 3",
            "SELECT v FROM kv WHERE id = 7 AND name = 'x' LIMIT 3;;",
            "SELECT v FROM kv WHERE id = 7 AND name = 'x' OR 'y' LIMIT 3;",
            "SELECT v FROM kv WHERE id = 7 AND name = 'x''y' LIMIT 3;",
            "SELECT v FROM kv WHERE id = 7 AND name = 'x\\' LIMIT 3;",
            "SELECT v FROM kv WHERE id = 7 AND name = E'x' LIMIT 3;",
            "SELECT v FROM kv WHERE id = 7.5 AND name = 'x' LIMIT 3;",
            "SELECT v FROM kv WHERE id = 7e1 AND name = 'x' LIMIT 3;",
            "SELECT v FROM kv WHERE id = 0x7 AND name = 'x' LIMIT 3;",
            "SELECT v FROM kv WHERE id = 7_0 AND name = 'x' LIMIT 3;",
            "SELECT v FROM kv WHERE id = -7 AND name = 'x' LIMIT 3;",
            "SELECT v FROM kv WHERE id = 2147483648 AND name = 'x' LIMIT 3;",
            "SELECT v FROM kv WHERE id = 2147483649 AND name = 'x' LIMIT 3;",
            "SELECT v FROM kv WHERE id = 1234567890123456789 AND name = 'x' LIMIT 3;",
            "SELECT v FROM kv WHERE id =  AND name = 'x' LIMIT 3;",
            "SELECT v FROM kv WHERE id = 7",
            "SELECT v FROM kv WHERE id = ",
            "SELECT v FROM kv WHERE id = 7 AND name = 'x\0' LIMIT 3;",
            "",
        ] {
            assert_eq!(known.matches(other.as_bytes(), 0), None, "{other}");
        }
    }

    #[test]
    fn a_text_that_matches_is_valid() {
        let known = template("SELECT v FROM kv WHERE id = 7 AND name = 'x'");
        assert!(known.matches("SELECT v FROM kv WHERE id = 7 AND name = 'é'".as_bytes(), 0).is_some());
        assert_eq!(known.matches(b"SELECT v FROM kv WHERE id = 7 AND name = '\xff'", 0), None);
        assert_eq!(known.matches(b"SELECT v FROM kv WHERE id = 7 AND name = '\xc3'", 0), None);
    }

    #[test]
    fn values_begin_at_the_first_digit_or_quote() {
        for (text, begin) in
            [("abcdefgh", 8), ("7bcdefgh", 0), ("/:;&(/09", 6), ("a'0ggggg", 1), ("\u{7f}\u{80}789\0\0", 3)]
        {
            let word: [u8; 8] = text.as_bytes()[..8].try_into().unwrap();
            let found = first_of_a_value(u64::from_le_bytes(word));
            assert_eq!(found, begin * 8, "{text}");
        }
        for byte in 0..=255_u8 {
            let word = [b'x', byte, b'x', b'x', 255, 255, 128, 0];
            let expected = if byte.is_ascii_digit() || byte == b'\'' { 8 } else { 64 };
            assert_eq!(first_of_a_value(u64::from_le_bytes(word)), expected, "{byte}");
        }
    }

    #[test]
    fn what_is_not_lifted_has_to_be_the_same() {
        let known = template("SELECT a::numeric(10, 2) FROM t WHERE id = 1 ORDER BY 1");
        assert!(known.matches(b"SELECT a::numeric(10, 2) FROM t WHERE id = 2 ORDER BY 1", 0).is_some());
        assert!(known.matches(b"SELECT a::numeric(10, 3) FROM t WHERE id = 1 ORDER BY 1", 0).is_none());
        assert!(known.matches(b"SELECT a::numeric(10, 2) FROM t WHERE id = 1 ORDER BY 2", 0).is_none());
    }

    /// Texts in which values and what stands beside them meet in many ways.
    fn pieces() -> impl Strategy<Value = Vec<(String, String)>> {
        let glue = prop_oneof![
            Just(" "),
            Just(" = "),
            Just(","),
            Just("("),
            Just(")"),
            Just("-"),
            Just("."),
            Just("a"),
            Just("E"),
            Just("x"),
            Just("::text"),
            Just(" -- "),
            Just("/*"),
            Just("*/"),
            Just("\n"),
            Just("$"),
            Just("'"),
            Just("\""),
            Just("\\"),
            Just(" AND "),
            Just("interval "),
            Just("LIMIT "),
            Just(" ORDER BY "),
            Just("_"),
            Just("b"),
            Just("U&"),
            Just("é"),
        ];
        let value = prop_oneof![
            "[0-9]{1,3}",
            "[0-9]{9,20}",
            "[0-9]{1,2}[.][0-9]{1,2}",
            "'[a-z0-9é ]{0,3}'",
            Just("2147483648".to_owned()),
            Just("''''".to_owned()),
            Just("0".to_owned()),
            Just(String::new()),
        ];
        proptest::collection::vec((glue.prop_map(str::to_owned), value), 1..8)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn a_text_that_matches_is_lifted_to_the_same(
            pieces in pieces(),
            others in proptest::collection::vec(prop_oneof![
                "[0-9]{1,3}", "[0-9]{9,20}", "[0-9]{1,2}[.][0-9]{1,2}", "'[a-z0-9é ]{0,3}'", Just("2147483648".to_owned()), Just("0".to_owned()),
            ], 8),
        ) {
            let text = |change: bool| -> String {
                let values = pieces.iter().enumerate().map(|(at, (glue, value))| {
                    format!("{glue}{}", if change && !value.is_empty() { &others[at] } else { value })
                });
                std::iter::once("SELECT ".to_owned()).chain(values).collect()
            };
            let (known, other) = (text(false), text(true));
            let Ok(lifted) = lift(&known) else { return Ok(()) };
            let Some(template) = Template::new(&known, &lifted) else { return Ok(()) };
            prop_assert!(template.matches(known.as_bytes(), 0).is_some());
            if template.matches(other.as_bytes(), 0).is_some() {
                prop_assert_eq!(Template::hash_of(known.as_bytes()), Template::hash_of(other.as_bytes()));
                let again = lift(&other).expect("it has the same tokens");
                prop_assert_eq!(&lifted.text, &again.text, "{} {}", known, other);
                prop_assert_eq!(lifted.kinds().collect::<Vec<_>>(), again.kinds().collect::<Vec<_>>());
                for index in 0..again.literals.len() {
                    if let Some(Some(literal)) = template.matches(other.as_bytes(), index) {
                        prop_assert_eq!(&literal, &again.literals[index]);
                    }
                }
            }
        }
    }
}
