//! Every function against values taken from PostgreSQL 15.

use rusqlite::types::Value;
use rusqlite::{Connection, params};

use super::{raise, raised, register};
use crate::error::{Error, SqlState};
use crate::shard::sqlite::storage;
use crate::types::{Datum, PgType, TextStyle};

fn connection() -> Connection {
    let connection = Connection::open_in_memory().unwrap();
    register(&connection).unwrap();
    connection
}

/// The text form of an expression's value as a type.
fn shown(connection: &Connection, sql: &str, data_type: PgType) -> String {
    let row = connection.query_row(&format!("SELECT {sql}"), [], |row| {
        Ok(storage::from_sqlite(row.get_ref(0)?, data_type).unwrap_or_else(|error| panic!("{sql}: {error}")))
    });
    let datum = row.unwrap_or_else(|error| panic!("{sql}: {error}"));
    datum.to_text(&TextStyle::default()).unwrap_or_else(|| "NULL".to_owned())
}

fn all(data_type: PgType, cases: &[(&str, &str)]) {
    let connection = connection();
    for (sql, expected) in cases {
        assert_eq!(shown(&connection, sql, data_type), *expected, "{sql}");
    }
}

fn failure(connection: &Connection, sql: &str) -> Error {
    let result = connection.query_row(&format!("SELECT {sql}"), [], |row| row.get::<_, Value>(0));
    match result {
        Ok(value) => panic!("{sql} gave {value:?}"),
        Err(error) => raised(&error).unwrap_or_else(|| panic!("{sql}: {error}")),
    }
}

fn failures(cases: &[(&str, &str, &str)]) {
    let connection = connection();
    for (sql, code, message) in cases {
        let error = failure(&connection, sql);
        assert_eq!((error.sqlstate().code(), error.message()), (*code, *message), "{sql}");
    }
}

#[test]
fn an_error_survives_its_way_through_sqlite() {
    let error = Error::new(SqlState::DIVISION_BY_ZERO, "division by \u{1} zero").detail("d").hint("h");
    let back = raised(&raise(&error)).unwrap();
    assert_eq!(back.sqlstate(), SqlState::DIVISION_BY_ZERO);
    assert_eq!(back.message(), "division by \u{fffd} zero");
    assert_eq!((back.get_detail(), back.get_hint()), (Some("d"), Some("h")));
    assert!(raised(&rusqlite::Error::QueryReturnedNoRows).is_none());
}

#[test]
fn integers_are_checked() {
    all(
        PgType::Int8,
        &[
            ("pg_int4(2147483646 + 1)", "2147483647"),
            ("pg_int8_div(-7, 2)", "-3"),
            ("pg_int4_mod(-7, 2)", "-1"),
            ("pg_int8_mod(-9223372036854775807 - 1, -1)", "0"),
            ("pg_int8_gcd(12, -18)", "6"),
            ("pg_int8_lcm(4, 6)", "12"),
            ("pg_int4_shl(1, 33)", "2"),
            ("pg_int4_shr(-8, 1)", "-4"),
            ("pg_int4(NULL)", "NULL"),
            ("pg_oid(-1)", "4294967295"),
        ],
    );
    failures(&[
        ("pg_int4(2147483647 + 1)", "22003", "integer out of range"),
        ("pg_int2(32767 + 1)", "22003", "smallint out of range"),
        ("pg_int8(9223372036854775807 + 1)", "22003", "bigint out of range"),
        ("pg_int4_div(1, 0)", "22012", "division by zero"),
        ("pg_int8_mod(1, 0)", "22012", "division by zero"),
        ("pg_int4_div(-2147483648, -1)", "22003", "integer out of range"),
        ("pg_int8_div(-9223372036854775807 - 1, -1)", "22003", "bigint out of range"),
        ("pg_int8_abs(-9223372036854775807 - 1)", "22003", "bigint out of range"),
    ]);
    all(PgType::Text, &[("pg_to_hex(-1, 32)", "ffffffff"), ("pg_to_hex(255, 64)", "ff")]);
}

#[test]
fn floats_report_what_does_not_fit() {
    all(
        PgType::Float8,
        &[
            ("pg_float8_add(0.1, 0.2)", "0.30000000000000004"),
            ("pg_float8_round(2.5)", "2"),
            ("pg_float8_power(2, 0.5)", "1.4142135623730951"),
            ("pg_float8_degrees(3.141592653589793)", "180"),
            ("pg_float8_cbrt(27)", "3"),
        ],
    );
    all(PgType::Float4, &[("pg_float4_add(0.1, 0.2)", "0.3"), ("pg_float4_mul(1.1, 1.1)", "1.21")]);
    failures(&[
        ("pg_float8_div(1.0, 0.0)", "22012", "division by zero"),
        ("pg_float8_mul(1e300, 1e300)", "22003", "value out of range: overflow"),
        ("pg_float8_mul(1e-300, 1e-300)", "22003", "value out of range: underflow"),
        ("pg_float8_ln(0.0)", "2201E", "cannot take logarithm of zero"),
        ("pg_float8_sqrt(-1.0)", "2201F", "cannot take square root of a negative number"),
        (
            "pg_float8_power(-8.0, 0.5)",
            "2201F",
            "a negative number raised to a non-integer power yields a complex result",
        ),
        ("pg_float8_asin(2.0)", "22003", "input is out of range"),
    ]);
}

#[test]
fn numerics_keep_their_digits() {
    all(
        PgType::Numeric,
        &[
            ("pg_numeric_div('1', '3')", "0.33333333333333333333"),
            ("pg_numeric_mul('1.10', '2.30')", "2.5300"),
            ("pg_numeric_sub('0.3', '0.1')", "0.2"),
            ("pg_numeric_round('1.005', 2)", "1.01"),
            ("pg_numeric_log('2.0', '64.0')", "6.0000000000000000"),
            ("pg_numeric_log10('100.0')", "2.0000000000000000"),
            ("pg_numeric_modifier('1.005', 655366)", "1.01"),
            ("pg_numeric_trim_scale('1.500')", "1.5"),
            ("pg_numeric_div_trunc('7.5', '2')", "3"),
            ("pg_float8_numeric(0.1)", "0.1"),
            ("pg_int4_numeric(5)", "5"),
        ],
    );
    failures(&[
        ("pg_numeric_div('1', '0')", "22012", "division by zero"),
        ("pg_numeric_modifier('123456789', 327686)", "22003", "numeric field overflow"),
        ("pg_numeric_int4('3000000000')", "22003", "integer out of range"),
    ]);
    let connection = connection();
    let ordered: String = connection
        .query_row(
            "SELECT group_concat(n, ' ') FROM (SELECT column1 AS n FROM (VALUES ('10'), ('NaN'), ('-1'), ('9.50')) \
             ORDER BY n COLLATE pg_numeric)",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(ordered, "-1 9.50 10 NaN");
    assert_eq!(shown(&connection, "'1.0' = '1.00' COLLATE pg_numeric", PgType::Bool), "t");
}

#[test]
fn casts_go_by_the_names_of_their_types() {
    let connection = connection();
    for (sql, data_type, expected) in [
        ("pg_text_int4(' 12 ')", PgType::Int4, "12"),
        ("pg_text_bool('yes')", PgType::Bool, "t"),
        ("pg_bool_text(1)", PgType::Text, "true"),
        ("pg_text_date('2020-01-31', 'UTC')", PgType::Date, "2020-01-31"),
        ("pg_text_timestamptz('2020-01-31 12:00', 'America/New_York')", PgType::Timestamptz, "2020-01-31 17:00:00+00"),
        ("pg_timestamptz_text(0, 'America/New_York')", PgType::Text, "1999-12-31 19:00:00-05"),
        ("pg_timestamptz_date(0, 'America/New_York')", PgType::Date, "1999-12-31"),
        ("pg_date_timestamp(1)", PgType::Timestamp, "2000-01-02 00:00:00"),
        (
            "pg_uuid_text(pg_text_uuid('a0eebc999c0b4ef8bb6d6bb9bd380a11'))",
            PgType::Text,
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
        ),
        ("pg_interval_text(pg_text_interval('1 day 2 hours'))", PgType::Text, "1 day 02:00:00"),
        ("pg_json_jsonb('{\"b\":1,\"a\":2}')", PgType::Jsonb, "{\"a\": 2, \"b\": 1}"),
        ("pg_jsonb_int4('2.5')", PgType::Int4, "3"),
        ("pg_text_array_int4('{1,NULL}')", PgType::Int4Array, "{1,NULL}"),
        ("pg_array_int4_text('[1,null]')", PgType::Text, "{1,NULL}"),
        ("pg_array_cast('[1,2]', 'int4', 'text', 'UTC')", PgType::TextArray, "{1,2}"),
        ("pg_varchar('abcdef', 3, 1)", PgType::Text, "abc"),
        ("pg_bpchar('ab', 4, 0)", PgType::Text, "ab  "),
        ("pg_float8_int4(2.5)", PgType::Int4, "2"),
        ("pg_numeric_float8('0.1')", PgType::Float8, "0.1"),
        ("pg_float8_text(1e20)", PgType::Text, "1e+20"),
        ("pg_timestamp_precision(1500000, 0)", PgType::Timestamp, "2000-01-01 00:00:02"),
        ("pg_text_int4(NULL)", PgType::Int4, "NULL"),
    ] {
        assert_eq!(shown(&connection, sql, data_type), expected, "{sql}");
    }
    failures(&[
        ("pg_text_int4('abc')", "22P02", "invalid input syntax for type integer: \"abc\""),
        ("pg_varchar('abcdef', 3, 0)", "22001", "value too long for type character varying(3)"),
        ("pg_text_jsonb('{')", "22P02", "invalid input syntax for type json"),
        ("pg_text_float8('NaN')", "0A000", "the floating-point value NaN is not supported by shardd"),
    ]);
}

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

#[test]
fn dates_are_computed() {
    let connection = connection();
    connection
        .execute_batch(
            "CREATE TEMP TABLE v AS SELECT pg_text_timestamp('2020-01-31 13:00') AS t, pg_text_interval('1 mon 1 day') AS i",
        )
        .unwrap();
    for (sql, data_type, expected) in [
        ("pg_timestamp_add_interval(t, i) FROM v", PgType::Timestamp, "2020-03-01 13:00:00"),
        ("pg_timestamp_sub_interval(t, i) FROM v", PgType::Timestamp, "2019-12-30 13:00:00"),
        ("pg_timestamptz_add_interval(t, i, 'America/New_York') FROM v", PgType::Timestamptz, "2020-03-01 13:00:00+00"),
        ("pg_timestamp_diff(t, 0) FROM v", PgType::Interval, "7335 days 13:00:00"),
        ("pg_date_add_days(0, 31)", PgType::Date, "2000-02-01"),
        ("pg_date_diff(5, 7)", PgType::Int4, "-2"),
        ("pg_interval_mul(i, 1.5) FROM v", PgType::Interval, "1 mon 16 days 12:00:00"),
        ("pg_extract('month', t, 'timestamp', NULL) FROM v", PgType::Numeric, "1"),
        ("pg_extract('epoch', t, 'timestamptz', 'UTC') FROM v", PgType::Numeric, "1580475600.000000"),
        ("pg_extract('hour', t, 'timestamptz', 'America/New_York') FROM v", PgType::Numeric, "8"),
        ("pg_date_part('second', 1500000, 'timestamp', NULL)", PgType::Float8, "1.5"),
        ("pg_date_trunc_timestamp('month', t) FROM v", PgType::Timestamp, "2020-01-01 00:00:00"),
        (
            "pg_date_trunc_timestamptz('day', t, 'America/New_York') FROM v",
            PgType::Timestamptz,
            "2020-01-31 05:00:00+00",
        ),
        ("pg_age(t, 0) FROM v", PgType::Interval, "20 years 30 days 13:00:00"),
        ("pg_make_date(2020, 2, 29)", PgType::Date, "2020-02-29"),
        ("pg_make_interval(1, 2, 3, 4, 5, 6, 7.5)", PgType::Interval, "1 year 2 mons 25 days 05:06:07.5"),
        ("pg_to_timestamp(1.5)", PgType::Timestamptz, "1970-01-01 00:00:01.5+00"),
        ("pg_timestamp_at_zone(t, 'PST') FROM v", PgType::Timestamptz, "2020-01-31 21:00:00+00"),
        ("pg_timestamptz_at_zone(t, 'America/New_York') FROM v", PgType::Timestamp, "2020-01-31 08:00:00"),
        ("pg_zone('CET')", PgType::Text, "<+01>-01"),
        ("pg_interval_zone(pg_text_interval('2 hours'))", PgType::Text, "<+02>-02"),
        ("pg_to_char_timestamp(t, 'YYYY-MM-DD HH24:MI') FROM v", PgType::Text, "2020-01-31 13:00"),
        ("pg_to_date('31/01/2020', 'DD/MM/YYYY')", PgType::Date, "2020-01-31"),
        (
            "pg_interval_key(pg_text_interval('1 mon')) = pg_interval_key(pg_text_interval('30 days'))",
            PgType::Bool,
            "t",
        ),
        ("pg_interval_key(pg_text_interval('-1 day')) < pg_interval_key(pg_text_interval('1 us'))", PgType::Bool, "t"),
        ("pg_clock_timestamp() > 800000000000000", PgType::Bool, "t"),
    ] {
        assert_eq!(shown(&connection, sql, data_type), expected, "{sql}");
    }
    failures(&[
        ("pg_timestamptz_at_zone(0, 'nope')", "22023", "time zone \"nope\" not recognized"),
        (
            "pg_date_trunc_timestamp('foo', 0)",
            "22023",
            "unit \"foo\" not recognized for type timestamp without time zone",
        ),
        ("pg_make_date(2021, 2, 29)", "22008", "date field value out of range: 2021-02-29"),
        ("pg_date_diff(2147483647, 0)", "22008", "cannot subtract infinite dates"),
    ]);
}

#[test]
fn json_is_read_and_changed() {
    all(
        PgType::Text,
        &[
            (r#"pg_json_get('{"a":  {"x" :1}, "a" : 1.00}', 'a')"#, "1.00"),
            (r#"pg_json_get('{"a":  {"x" :1}}', 'a')"#, r#"{"x" :1}"#),
            ("pg_json_get_index('[1, [2 ,3]]', 1)", "[2 ,3]"),
            (r#"pg_json_get_text('{"a":"x\u00e9"}', 'a')"#, "xé"),
            (r#"pg_json_get_text('{"a":null}', 'a')"#, "NULL"),
            (r#"pg_json_get('{"a":null}', 'a')"#, "null"),
            (r#"pg_json_get_path('{"a":[1,{"b":2}]}', '["a","1","b"]')"#, "2"),
            (r#"pg_json_get_path('{"a":1}', '[]')"#, r#"{"a":1}"#),
            (r#"pg_jsonb_get('{"a": {"b": 1}}', 'a')"#, r#"{"b": 1}"#),
            (r#"pg_jsonb_get_index_text('["x", 1]', -2)"#, "x"),
            (r#"pg_jsonb_get_path_text('"x"', '[]')"#, "x"),
            (r#"pg_jsonb_concat('{"a": 1}', '{"b": 2}')"#, r#"{"a": 1, "b": 2}"#),
            (r#"pg_jsonb_delete_keys('{"a": 1, "b": 2}', '["a","c"]')"#, r#"{"b": 2}"#),
            (r#"pg_jsonb_set('{"a": [1, 2]}', '["a","0"]', '9')"#, r#"{"a": [9, 2]}"#),
            (r#"pg_jsonb_set('{"a": 1}', '["b"]', '2', 0)"#, r#"{"a": 1}"#),
            (r#"pg_jsonb_insert('[1, 2]', '["0"]', '9', 1)"#, "[1, 9, 2]"),
            (r#"pg_jsonb_strip_nulls('{"a": null, "b": [null]}')"#, r#"{"b": [null]}"#),
            ("pg_json_typeof(' [1]')", "array"),
            ("pg_to_json(0, 'timestamptz', 'UTC')", "\"2000-01-01T00:00:00+00:00\""),
            ("pg_to_jsonb('[1,2]', '_int4', 'UTC')", "[1, 2]"),
            ("pg_to_json('[1,2]', '_int4', 'UTC')", "[1,2]"),
            ("pg_json_build_array('1', NULL, '\"x\"')", "[1, null, \"x\"]"),
            ("pg_json_build_object('\"a\"', '1', '3', NULL)", "{\"a\" : 1, \"3\" : null}"),
            ("pg_jsonb_build_object('\"b\"', '1', '\"a\"', '2')", "{\"a\": 2, \"b\": 1}"),
            (
                "(SELECT group_concat(value, ';') FROM json_each(pg_json_elements('[1, {\"a\":2}, \"x\"]', 'jsonb_array_elements')))",
                "1;{\"a\":2};\"x\"",
            ),
            (
                "(SELECT group_concat(value, ';') FROM json_each(pg_json_elements_text('[1, \"x\"]', 'jsonb_array_elements_text')))",
                "1;x",
            ),
            (
                "(SELECT group_concat(json_extract(value, '$[0]') || '=' || json_extract(value, '$[1]'), ';') \
                 FROM json_each(pg_json_each('{\"a\": 1, \"b\": \"x\"}', 'jsonb_each')))",
                "a=1;b=\"x\"",
            ),
        ],
    );
    all(
        PgType::Bool,
        &[
            (r#"pg_jsonb_contains('{"a": [1, 2]}', '{"a": [1]}')"#, "t"),
            (r#"pg_jsonb_exists('{"a": 1}', 'b')"#, "f"),
            (r#"pg_jsonb_exists_any('{"a": 1}', '["b","a"]')"#, "t"),
            (r#"pg_jsonb_exists_all('{"a": 1}', '["b","a"]')"#, "f"),
            ("pg_jsonb_key('1.0') = pg_jsonb_key('1.00')", "t"),
        ],
    );
    failures(&[
        ("pg_json_array_length('{}')", "22023", "cannot get array length of a non-array"),
        ("pg_jsonb_delete('1', 'a')", "22023", "cannot delete from scalar"),
        ("pg_json_build_object('\"a\"')", "22023", "argument list must have even number of elements"),
        ("pg_json_build_object(NULL, '1')", "22023", "argument 1 cannot be null"),
        ("pg_json_build_object('[1]', '1')", "22023", "key value must be scalar, not array, composite, or json"),
        ("pg_json_elements('{}', 'jsonb_array_elements')", "22023", "cannot extract elements from an object"),
        ("pg_json_keys('[]', 'jsonb_object_keys')", "22023", "cannot call jsonb_object_keys on an array"),
    ]);
}

#[test]
fn arrays_are_json_arrays_of_cells() {
    let connection = connection();
    for (sql, data_type, expected) in [
        ("pg_array(1, NULL, 3)", PgType::Int4Array, "{1,NULL,3}"),
        ("pg_array('a', 'b \"c\"')", PgType::TextArray, "{a,\"b \\\"c\\\"\"}"),
        ("pg_array_length('[1,2]', 1)", PgType::Int4, "2"),
        ("pg_array_length('[]', 1)", PgType::Int4, "NULL"),
        ("pg_array_append(NULL, 1)", PgType::Int4Array, "{1}"),
        ("pg_array_prepend('x', '[\"y\"]')", PgType::TextArray, "{x,y}"),
        ("pg_array_cat('[1]', NULL)", PgType::Int4Array, "{1}"),
        ("pg_array_position('[1,2]', 2)", PgType::Int4, "2"),
        ("pg_array_position('[\"1.0\"]', '1.00', 'numeric')", PgType::Int4, "1"),
        ("pg_array_remove('[1,2,1]', 1)", PgType::Int4Array, "{2}"),
        ("pg_array_contains('[1,2]', '[2,2]')", PgType::Bool, "t"),
        ("pg_array_contains('[1,null]', '[null]')", PgType::Bool, "f"),
        ("pg_array_overlap('[1,2]', '[3]')", PgType::Bool, "f"),
        ("pg_array_key('[\"1.0\"]', 'numeric') = pg_array_key('[\"1.00\"]', 'numeric')", PgType::Bool, "t"),
        ("pg_array_to_string('[\"a\",null,\"b\"]', ',', NULL, 'text', 'UTC')", PgType::Text, "a,b"),
        ("pg_array_to_string('[\"a\",null,\"b\"]', ',', '*', 'text', 'UTC')", PgType::Text, "a,*,b"),
        ("pg_string_to_array('a,b,,c', ',', '')", PgType::TextArray, "{a,b,NULL,c}"),
        ("pg_string_to_array('abc', NULL, NULL)", PgType::TextArray, "{a,b,c}"),
        ("pg_string_to_array('', ',', NULL)", PgType::TextArray, "{}"),
        ("(SELECT sum(value) FROM json_each(pg_array(1, 2, 3)))", PgType::Int8, "6"),
    ] {
        assert_eq!(shown(&connection, sql, data_type), expected, "{sql}");
    }
}

#[test]
fn aggregates_have_the_types_and_digits_of_postgres() {
    let connection = connection();
    connection
        .execute_batch(
            "CREATE TEMP TABLE v(i INTEGER, n TEXT, r REAL, t TEXT, d BLOB); \
             INSERT INTO v SELECT column1, column2, column3, column4, pg_text_interval(column5) FROM (VALUES \
             (1, '1.5', 0.1, 'a', '1 day'), (2, '2.25', 0.2, 'b', '36 hours'), (4, '3', 0.7, NULL, '1 mon'), \
             (NULL, NULL, NULL, NULL, NULL))",
        )
        .unwrap();
    for (sql, data_type, expected) in [
        ("pg_sum_int4(i)", PgType::Int8, "7"),
        ("pg_sum_int8(i)", PgType::Numeric, "7"),
        ("pg_avg_int(i)", PgType::Numeric, "2.3333333333333333"),
        ("pg_sum_numeric(n)", PgType::Numeric, "6.75"),
        ("pg_avg_numeric(n)", PgType::Numeric, "2.2500000000000000"),
        ("pg_sum_float8(r)", PgType::Float8, "1"),
        ("pg_avg_float8(r)", PgType::Float8, "0.3333333333333333"),
        ("pg_sum_float4(r)", PgType::Float4, "1"),
        ("pg_var_samp_numeric(n)", PgType::Numeric, "0.56250000000000000000"),
        ("pg_stddev_samp_numeric(n)", PgType::Numeric, "0.75000000000000000000"),
        ("pg_var_pop_numeric(n)", PgType::Numeric, "0.37500000000000000000"),
        ("pg_stddev_pop_numeric(CAST(i AS TEXT))", PgType::Numeric, "1.2472191289246471"),
        ("pg_stddev_samp_float8(r)", PgType::Float8, "0.3214550253664317"),
        ("pg_var_pop_float8(r)", PgType::Float8, "0.06888888888888885"),
        ("pg_sum_interval(d)", PgType::Interval, "1 mon 1 day 36:00:00"),
        ("pg_avg_interval(d)", PgType::Interval, "10 days 20:00:00"),
        ("pg_min_interval(d)", PgType::Interval, "1 day"),
        ("pg_max_interval(d)", PgType::Interval, "1 mon"),
        ("pg_bit_or(i)", PgType::Int4, "7"),
        ("pg_bit_and(i)", PgType::Int4, "0"),
        ("pg_string_agg(t, ', ')", PgType::Text, "a, b"),
        ("pg_string_agg(t, ', ' ORDER BY t DESC)", PgType::Text, "b, a"),
        ("pg_array_agg(i)", PgType::Int4Array, "{1,2,4,NULL}"),
        ("pg_json_agg(pg_to_json(i, 'int4', 'UTC'))", PgType::Json, "[1, 2, 4, null]"),
        ("pg_jsonb_agg(pg_to_jsonb(t, 'text', 'UTC'))", PgType::Jsonb, "[\"a\", \"b\", null, null]"),
        ("pg_sum_numeric(n) FILTER (WHERE i > 100)", PgType::Numeric, "NULL"),
    ] {
        assert_eq!(shown(&connection, &format!("{sql} FROM v"), data_type), expected, "{sql}");
    }
    let object = shown(&connection, "pg_json_object_agg(t, CAST(i AS TEXT)) FROM v WHERE t IS NOT NULL", PgType::Json);
    assert_eq!(object, "{ \"a\" : 1, \"b\" : 2 }");
    let error = failure(&connection, "pg_single(i) FROM v");
    assert_eq!(error.message(), "more than one row returned by a subquery used as an expression");
    assert_eq!(shown(&connection, "pg_single(i) FROM v WHERE i = 4", PgType::Int4), "4");
    assert_eq!(shown(&connection, "pg_single(i) FROM v WHERE i = 5", PgType::Int4), "NULL");
}

#[test]
fn aggregates_follow_a_moving_frame() {
    let connection = connection();
    connection.execute_batch("CREATE TEMP TABLE v(i INTEGER, n TEXT)").unwrap();
    for (i, n) in [(1, "1.50"), (2, "2"), (3, "NaN"), (4, "3")] {
        connection.execute("INSERT INTO v VALUES (?1, ?2)", params![i, n]).unwrap();
    }
    let moving = |aggregate: &str| -> Vec<Option<String>> {
        let sql =
            format!("SELECT {aggregate} OVER (ORDER BY i ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM v ORDER BY i");
        let mut statement = connection.prepare(&sql).unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().map(|row| row.unwrap()).collect()
    };
    let texts = |expected: [&str; 4]| expected.map(|text| Some(text.to_owned())).to_vec();
    assert_eq!(moving("pg_sum_numeric(n)"), texts(["1.50", "3.50", "NaN", "NaN"]));
    assert_eq!(moving("pg_sum_int8(i)"), texts(["1", "3", "5", "7"]));
    assert_eq!(moving("pg_string_agg(n, '-')"), texts(["1.50", "1.50-2", "2-NaN", "NaN-3"]));
    assert_eq!(moving("pg_array_agg(i)"), texts(["[1]", "[1,2]", "[2,3]", "[3,4]"]));
}

#[test]
fn series_are_arrays() {
    let connection = connection();
    connection.execute_batch("CREATE TEMP TABLE v AS SELECT pg_text_interval('1 mon') AS i").unwrap();
    for (sql, data_type, expected) in [
        ("pg_generate_series(1, 5, 2)", PgType::Int4Array, "{1,3,5}"),
        ("pg_generate_series(3, 1, -1)", PgType::Int4Array, "{3,2,1}"),
        ("pg_generate_series(3, 1, 1)", PgType::Int4Array, "{}"),
        (
            "pg_generate_series(9223372036854775806, 9223372036854775807, 1)",
            PgType::Int8Array,
            "{9223372036854775806,9223372036854775807}",
        ),
        ("pg_generate_series(NULL, 1, 1)", PgType::Int4Array, "NULL"),
        (
            "pg_generate_series_timestamp(pg_text_timestamp('2020-01-31'), pg_text_timestamp('2020-04-30'), i, NULL) FROM v",
            PgType::TimestampArray,
            "{\"2020-01-31 00:00:00\",\"2020-02-29 00:00:00\",\"2020-03-29 00:00:00\",\"2020-04-29 00:00:00\"}",
        ),
    ] {
        assert_eq!(shown(&connection, sql, data_type), expected, "{sql}");
    }
    failures(&[
        ("pg_generate_series(1, 3, 0)", "22023", "step size cannot equal zero"),
        ("pg_generate_series(1, 1000000000000, 1)", "54000", "requested length too large"),
    ]);
}

#[test]
fn demands_raise_what_they_are_told() {
    all(PgType::Int4, &[("pg_not_null(5, 't', 'c')", "5"), ("pg_affects_once(0)", "1")]);
    failures(&[
        (
            "pg_not_null(NULL, 't', 'c')",
            "23502",
            "null value in column \"c\" of relation \"t\" violates not-null constraint",
        ),
        ("pg_affects_once(1)", "21000", "ON CONFLICT DO UPDATE command cannot affect row a second time"),
        ("CASE WHEN 1 THEN pg_raise('42804', 'no') ELSE 1 END", "42804", "no"),
    ]);
    all(PgType::Int4, &[("CASE WHEN 0 THEN pg_raise('42804', 'no') ELSE 1 END", "1")]);
}

#[test]
fn slots_are_those_of_the_topology() {
    use crate::topology::slot_of;
    use crate::types::Key;
    let connection = connection();
    let slot = |sql: &str| shown(&connection, sql, PgType::Int4);
    assert_eq!(slot("pg_slot(42)"), slot_of(&Key::Bigint(42)).to_string());
    assert_eq!(slot("pg_slot('abc')"), slot_of(&Key::Text("abc".into())).to_string());
    assert_eq!(slot("pg_slot(zeroblob(16))"), slot_of(&Key::Uuid([0; 16])).to_string());
    assert_eq!(slot("pg_slot(NULL)"), "NULL");
}

#[test]
fn random_uuids_are_of_version_four() {
    let connection = connection();
    let uuid = shown(&connection, "pg_gen_random_uuid()", PgType::Uuid);
    assert_eq!(uuid.as_bytes()[14], b'4', "{uuid}");
    assert_ne!(uuid, shown(&connection, "pg_gen_random_uuid()", PgType::Uuid));
    assert!(matches!(storage::from_sqlite(rusqlite::types::ValueRef::Null, PgType::Uuid), Ok(Datum::Null)));
}
