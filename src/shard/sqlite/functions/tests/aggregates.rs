//! Aggregates, also as windows.

use super::{connection, failure, shown};
use crate::types::PgType;
use rusqlite::params;

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
