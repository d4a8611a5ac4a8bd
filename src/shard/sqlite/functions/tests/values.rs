//! Dates, JSON, arrays, and series.

use super::{all, connection, failures, shown};
use crate::types::PgType;

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
        ("pg_generate_series(1, 1000000000000, 1)", "54000", "the series is too long"),
    ]);
}
