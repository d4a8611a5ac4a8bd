//! Numbers, and casts between types.

use super::{all, connection, failures, shown};
use crate::types::PgType;

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
