//! Texts: characters, LIKE, regular expressions.

use super::{all, connection, failure, failures, shown};
use crate::error::SqlState;
use crate::types::PgType;

#[test]
fn text_functions_count_characters() {
    all(
        PgType::Text,
        &[
            ("pg_initcap('hELLO wORLD éa_b 1a')", "Hello World éA_B 1a"),
            ("pg_left('abc', -1)", "ab"),
            ("pg_right('abc', -1)", "bc"),
            ("pg_right('añb', 2)", "ñb"),
            ("pg_lpad('abc', 5, 'xy')", "xyabc"),
            ("pg_rpad('abc', 2, ' ')", "ab"),
            ("pg_lpad('a', 3, '')", "a"),
            ("pg_overlay('abcdef', 'XX', 3, 2)", "abXXef"),
            ("pg_split_part('a,b,c', ',', -1)", "c"),
            ("pg_split_part('a,b', ',', 5)", ""),
            ("pg_substring('abcdef', -1, 4)", "ab"),
            ("pg_substring('abcdef', 0, 2)", "a"),
            ("pg_substring('abc', 10)", ""),
            ("pg_substring('abc', -5, 2)", ""),
            ("pg_translate('12345', '143', 'ax')", "a2x5"),
            ("pg_reverse('añb')", "bña"),
            ("pg_repeat('ab', -1)", ""),
            ("pg_concat('a', NULL, '1')", "a1"),
            ("pg_concat_ws(',', 'a', NULL, 'b')", "a,b"),
            ("pg_concat_ws(NULL, 'a')", "NULL"),
            ("pg_md5('abc')", "900150983cd24fb0d6963f7d28e17f72"),
            ("pg_quote_literal('a\\b')", "E'a\\\\b'"),
            ("pg_quote_ident('select')", "\"select\""),
            ("pg_quote_ident('abc')", "abc"),
            ("pg_quote_nullable(NULL)", "NULL"),
            ("pg_encode(x'00ff5c41', 'escape')", "\\000\\377\\\\A"),
            ("pg_encode('abc', 'base64')", "YWJj"),
            ("pg_chr(233)", "é"),
            (
                "pg_format('%s|%10s|%-10s|%I|%L|%%|%2$s|%1$s', 'a', 'b', 'c', 'D e', 'it''s')",
                "a|         b|c         |\"D e\"|'it''s'|%|b|a",
            ),
            ("pg_to_char_numeric('12.0', 'FM999.99')", "12."),
            ("pg_to_char_numeric('-0.5', 'FM999.99')", "-.5"),
            ("pg_to_char_numeric('1234567.891', 'FM9,999,999.00')", "1,234,567.89"),
            ("pg_to_char_numeric('5', 'FM000')", "005"),
        ],
    );
    failures(&[
        ("pg_substring('abc', 1, -1)", "22011", "negative substring length not allowed"),
        ("pg_split_part('a', ',', 0)", "22023", "field position must not be zero"),
        ("pg_chr(0)", "54000", "null character not permitted"),
        ("pg_format('%s')", "22023", "too few arguments for format()"),
        ("pg_format('%q', 1)", "22023", "unrecognized format() type specifier \"q\""),
        ("pg_repeat('abc', 1000000000)", "54000", "requested length too large"),
        ("pg_decode('zz', 'foo')", "22023", "unrecognized encoding: \"foo\""),
    ]);
    all(PgType::Int4, &[("pg_ascii('é')", "233"), ("pg_ascii('')", "0")]);
}

#[test]
fn like_is_the_one_of_postgres() {
    all(
        PgType::Bool,
        &[
            ("pg_like('a%c', 'a\\%c')", "t"),
            ("pg_like('abc', 'a_c')", "t"),
            ("pg_like('ABC', 'a%')", "f"),
            ("pg_ilike('ABC', 'a%')", "t"),
            ("pg_ilike('É', 'é')", "f"),
            ("pg_like('abc', 'a!%', '!')", "f"),
            ("pg_like('', '%')", "t"),
            ("pg_like('', '')", "t"),
            ("pg_like('aXbXc', '%X%c')", "t"),
            ("pg_like('ab', 'a%b%c')", "f"),
            ("pg_like('ñ', '_')", "t"),
            ("pg_like('a\\c', 'a\\c', '')", "t"),
            ("pg_like(NULL, 'a')", "NULL"),
        ],
    );
    failures(&[
        ("pg_like('abc', 'a\\')", "22025", "LIKE pattern must not end with escape character"),
        ("pg_like('abc', 'x', 'ab')", "22025", "invalid escape string"),
    ]);
}

#[test]
fn regular_expressions_agree_with_postgres_or_are_refused() {
    let connection = connection();
    for (sql, data_type, expected) in [
        ("pg_regex('abc', '^a.c$', 0)", PgType::Bool, "t"),
        ("pg_regex('aé', '^\\w+$', 0)", PgType::Bool, "f"),
        ("pg_regex('ABC', 'b', 1)", PgType::Bool, "t"),
        ("pg_regex('É', 'é', 1)", PgType::Bool, "f"),
        ("pg_regex('٣', '\\d', 0)", PgType::Bool, "f"),
        ("pg_regex('a' || char(10) || 'b', 'a.b', 0)", PgType::Bool, "t"),
        ("pg_regex('a' || char(10) || 'b', '^b', 0)", PgType::Bool, "f"),
        ("pg_regexp_replace('foobar', 'o', 'X', '')", PgType::Text, "fXobar"),
        ("pg_regexp_replace('foobar', 'o', 'X', 'g')", PgType::Text, "fXXbar"),
        ("pg_regexp_replace('foobar', '(o+)(b)', '[\\2\\1\\&\\\\]', '')", PgType::Text, "f[boooob\\]ar"),
        ("pg_regexp_match('foobar', 'b(..)', '')", PgType::TextArray, "{ar}"),
        ("pg_regexp_match('foobar', 'bar', '')", PgType::TextArray, "{bar}"),
        ("pg_regexp_match('foobar', 'x', '')", PgType::TextArray, "NULL"),
        ("pg_regexp_split('a,b,', ',', '')", PgType::TextArray, "{a,b,\"\"}"),
        ("pg_regexp_split('the quick', '\\s*', '')", PgType::TextArray, "{t,h,e,q,u,i,c,k}"),
        ("pg_substring_regex('foobar', 'o(.)b')", PgType::Text, "o"),
        ("pg_substring_regex('foobar', 'o.b')", PgType::Text, "oob"),
        ("pg_substring_regex('foobar', 'ab|ba|o')", PgType::Text, "o"),
        ("pg_regex('ABC', '^[a-c]+$', 1)", PgType::Bool, "t"),
        ("pg_regex(char(8490), 'k', 1)", PgType::Bool, "f"),
        ("pg_regex('a1_', '^[[:alnum:]_]+$', 0)", PgType::Bool, "t"),
        ("pg_regex('x-1', '^[^\\d]-\\d$', 0)", PgType::Bool, "t"),
    ] {
        assert_eq!(shown(&connection, sql, data_type), expected, "{sql}");
    }
    failures(&[
        ("pg_regex('abc', '(', 0)", "2201B", "invalid regular expression: parentheses () not balanced"),
        ("pg_regex('abc', '[a', 0)", "2201B", "invalid regular expression: brackets [] not balanced"),
        ("pg_regex('abc', '*a', 0)", "2201B", "invalid regular expression: quantifier operand invalid"),
    ]);
    for pattern in ["(a)\\1", "a*?", "\\yfoo", "(?=a)", "(?i)a", "[[.a.]]", "\\ma"] {
        let error = failure(&connection, &format!("pg_regex('abc', '{pattern}', 0)"));
        assert_eq!(error.sqlstate(), SqlState::FEATURE_NOT_SUPPORTED, "{pattern}");
    }
    // Where the longest match is not the one found first, and where alternatives decide what a group holds.
    for pattern in ["a|ab", "a?(ab)?", "(a|b)"] {
        let error = failure(&connection, &format!("pg_substring_regex('ab', '{pattern}')"));
        assert_eq!(error.sqlstate(), SqlState::FEATURE_NOT_SUPPORTED, "{pattern}");
    }
}
