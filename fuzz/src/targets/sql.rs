//! SQL texts: tokens, the lifting of literals, statements apart, and trees.

use std::ops::ControlFlow;

use shardd::error::Result;
use shardd::sql::{self, Lexer, Lifted, LiteralKind, Template, Token, TokenKind, Tree};

/// What is compared token by token, each time over the whole text, is compared up to here.
const COMPARED_TOKENS: usize = 300;

/// One client's text.
pub fn sql_text(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(tokens) = tokens_of(text) {
        check_tokens(text, &tokens);
        if let Ok(lifted) = sql::lift(text) {
            check_lifted(text, &tokens, &lifted);
            check_template(text, &tokens, &lifted);
        }
        check_split(text, &tokens);
    }
    for statement in sql::split(text).unwrap_or_default() {
        parse(statement);
    }
}

fn tokens_of(text: &str) -> Result<Vec<Token>> {
    Lexer::new(text)?.collect()
}

fn texts<'t>(text: &'t str, tokens: &[Token]) -> Vec<(TokenKind, &'t str)> {
    tokens.iter().map(|token| (token.kind, token.text(text))).collect()
}

/// Tokens stand one behind the other, with nothing but blanks and comments between them, and each is one by itself.
fn check_tokens(text: &str, tokens: &[Token]) {
    let mut end = 0;
    for token in tokens {
        let (from, to) = (token.start as usize, token.end as usize);
        assert!(from < to && from >= end, "{token:?} after {end} in {text:?}");
        assert!(text.is_char_boundary(from) && text.is_char_boundary(to), "{token:?} cuts a character of {text:?}");
        assert!(is_blank(&text[end..from]), "{:?} is no token and no comment in {text:?}", &text[end..from]);
        end = to;
        let own = token.text(text);
        let alone = tokens_of(own).unwrap_or_else(|error| panic!("{own:?} in {text:?}: {error:?}"));
        assert_eq!(texts(own, &alone), [(token.kind, own)], "{own:?} in {text:?}");
    }
    assert!(is_blank(&text[end..]), "{:?} at the end of {text:?}", &text[end..]);
}

fn is_blank(mut text: &str) -> bool {
    loop {
        text = text.trim_start_matches([' ', '\t', '\n', '\r', '\u{b}', '\u{c}']);
        if text.is_empty() {
            return true;
        }
        if let Some(comment) = text.strip_prefix("--") {
            text = comment.find(['\n', '\r']).map_or("", |end| &comment[end..]);
            continue;
        }
        if !text.starts_with("/*") {
            return false;
        }
        let mut depth = 0_usize;
        loop {
            let Some(next) = text.find("/*").into_iter().chain(text.find("*/")).min() else { return false };
            depth = if text[next..].starts_with("/*") { depth + 1 } else { depth - 1 };
            text = &text[next + 2..];
            if depth == 0 {
                break;
            }
        }
    }
}

/// Literals became placeholders, each in its place and numbered in order; nothing else has changed, and it can be undone.
fn check_lifted(text: &str, tokens: &[Token], lifted: &Lifted<'_>) {
    let after = tokens_of(&lifted.text).unwrap_or_else(|error| panic!("{text:?} -> {:?}: {error:?}", lifted.text));
    assert_eq!(after.len(), tokens.len(), "{text:?} -> {:?}", lifted.text);
    let mut literals = 0;
    for (number, (before, after)) in tokens.iter().zip(&after).enumerate() {
        let (own, new) = (before.text(text), after.text(&lifted.text));
        if (before.kind, own) != (after.kind, new) {
            literals += 1;
            assert_eq!(after.kind, TokenKind::Parameter, "{text:?} -> {:?}", lifted.text);
            assert_eq!(new, format!("${}", lifted.client_parameters + literals), "{text:?} -> {:?}", lifted.text);
            assert_eq!(lifted.original(text, new), Some(own));
        }
        if number < COMPARED_TOKENS {
            let there = sql::position(&lifted.text, after.start as usize);
            let here = sql::position(text, before.start as usize);
            assert_eq!(lifted.original_position(text, there), here, "{own:?} in {text:?} -> {:?}", lifted.text);
        }
    }
    assert_eq!((literals, lifted.kinds().count()), (lifted.literals.len(), literals));

    let again = sql::lift(&lifted.text).unwrap_or_else(|error| panic!("{:?}: {error:?}", lifted.text));
    assert_eq!((again.literals.len(), &*again.text), (0, &*lifted.text), "{text:?} is lifted in two steps");
    assert_eq!(again.client_parameters, lifted.client_parameters + literals);

    let back = sql::put_literals_back(&lifted.text, text).unwrap_or_else(|error| panic!("{text:?}: {error:?}"));
    let back_tokens = tokens_of(&back).unwrap_or_else(|error| panic!("{text:?} -> {back:?}: {error:?}"));
    assert_eq!(texts(&back, &back_tokens), texts(text, tokens), "{text:?} -> {:?} -> {back:?}", lifted.text);
}

/// What may stand in the place of a literal.
const OTHERS: &[&str] = &[
    "7",
    "0",
    "007",
    "2147483647",
    "2147483648",
    "9223372036854775808",
    "123456789012345678",
    "1234567890123456789",
    "-1",
    "1.5",
    "1.",
    ".5",
    "1e5",
    "1.5e5",
    "0x1",
    "1_0",
    "7a",
    "''",
    "'x'",
    "'a''b'",
    "'a\\'",
    "E'x'",
    "U&'x'",
    "$$x$$",
    "'x' 'y'",
    "'x'\n'y'",
    "'x",
    "$1",
    "NULL",
    "'--'",
    "'/*'",
    "';'",
    "7--",
    "7/*",
    "",
];
/// Literals in whose place others are put.
const REPLACED_LITERALS: usize = 4;

/// A text that a template takes for another one with other values has the same tokens but for those values.
fn check_template(text: &str, tokens: &[Token], lifted: &Lifted<'_>) {
    let Some(template) = Template::new(text, lifted) else { return };
    assert_eq!(
        template.matches(text.as_bytes(), 0),
        Some(lifted.literals.first().cloned()),
        "{text:?} is not like itself"
    );
    let literals = tokens.iter().filter(|token| {
        let number = token.kind == TokenKind::Integer || token.kind == TokenKind::Decimal;
        number || token.kind == TokenKind::String
    });
    for token in literals.take(REPLACED_LITERALS) {
        for other in OTHERS {
            let (before, after) = (&text[..token.start as usize], &text[token.end as usize..]);
            let changed = format!("{before}{other}{after}");
            let found: Vec<_> =
                (0..lifted.literals.len()).filter_map(|number| template.matches(changed.as_bytes(), number)).collect();
            if found.is_empty() {
                continue;
            }
            let again = sql::lift(&changed).unwrap_or_else(|error| panic!("{text:?} ~ {changed:?}: {error:?}"));
            assert_eq!(again.text, lifted.text, "{text:?} ~ {changed:?}");
            let found: Vec<_> = found.into_iter().flatten().collect();
            assert_eq!(found, again.literals, "{text:?} ~ {changed:?}");
            assert_eq!(
                Template::hash_of(changed.as_bytes()),
                Template::hash_of(text.as_bytes()),
                "{text:?} ~ {changed:?}"
            );
        }
    }
}

/// Every token is in one statement, but for semicolons.
fn check_split(text: &str, tokens: &[Token]) {
    let Ok(statements) = sql::split(text) else { return };
    let without_semicolons = |text, tokens: &[Token]| {
        let mut all = texts(text, tokens);
        all.retain(|(kind, _)| *kind != TokenKind::Semicolon);
        all
    };
    let mut all = Vec::new();
    for statement in statements {
        let own = tokens_of(statement).unwrap_or_else(|error| panic!("{statement:?} of {text:?}: {error:?}"));
        assert!(!own.is_empty(), "an empty statement of {text:?}");
        all.extend(without_semicolons(statement, &own));
    }
    assert_eq!(all, without_semicolons(text, tokens), "{text:?}");
}

/// A statement that can be read can be walked, copied and printed on the stack of an ordinary thread; one that cannot says
/// where it is wrong.
fn parse(text: &str) {
    let Ok(lifted) = sql::lift(text) else { return };
    let kinds: Vec<LiteralKind> = lifted.kinds().collect();
    match sql::parse(&lifted.text, lifted.client_parameters, kinds) {
        Ok(parsed) => {
            let Tree::Sql(tree) = &parsed.tree else { return };
            sql::with_deep_stack(parsed.deep, || {
                let _ = sql::walk_expressions::<()>(&**tree, |expression| {
                    let number = sql::placeholder_number(expression);
                    assert!(number.is_none_or(|number| (1..=sql::MAX_PARAMETERS).contains(&number)));
                    ControlFlow::Continue(())
                });
                assert_eq!(tree.clone(), *tree);
                let _ = tree.to_string();
            });
        }
        Err(error) => {
            let characters = lifted.text.chars().count();
            let position = error.get_position().map_or(1, |position| position as usize);
            assert!((1..=characters + 1).contains(&position), "{error:?} for {text:?}");
        }
    }
}
