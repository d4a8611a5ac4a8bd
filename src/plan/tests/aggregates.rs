//! Aggregates across shards: what each shard runs, and what finishes.

use super::super::{Plan, Scatter};
use super::planned;
use crate::types::PgType;

/// The shards' statement and the finishing one, when the partial columns have these types.
fn aggregate(text: &str, types: &[PgType]) -> (String, String) {
    let Plan::Read(read) = planned(text).unwrap() else { panic!("{text} is no read") };
    match read.scatter {
        Ok(Scatter::Aggregate(aggregate)) => {
            (aggregate.statement.to_string(), aggregate.finish(types).unwrap().to_string())
        }
        other => panic!("{text}: {other:?}"),
    }
}

fn refused(text: &str) -> String {
    let Plan::Read(read) = planned(text).unwrap() else { panic!("{text} is no read") };
    read.scatter.unwrap_err().message().to_owned()
}

use PgType::{Float4, Float8, Int4, Int8, Numeric, Text};

#[test]
fn counts_and_sums_add_up_in_their_own_types() {
    assert_eq!(
        aggregate("SELECT count(*) FROM seats", &[Int8]),
        (
            "SELECT count(*) AS c1 FROM seats".into(),
            "SELECT COALESCE(CAST(sum(partial.c1) AS BIGINT), 0) AS \"count\" FROM partial".into()
        )
    );
    assert_eq!(aggregate("SELECT sum(price) AS total, max(status), bool_or(event_id > 5) FROM seats WHERE seat_id = 1", &[
        Numeric, Text, PgType::Bool
    ]), (
        "SELECT sum(price) AS c1, max(status) AS c2, bool_or(event_id > 5) AS c3 FROM seats WHERE seat_id = 1".into(),
        "SELECT CAST(sum(partial.c1) AS NUMERIC) AS \"total\", max(partial.c2) AS \"max\", bool_or(partial.c3) AS \"bool_or\" FROM partial".into()
    ));
    assert_eq!(
        aggregate("SELECT sum(seat_id) + 1 FROM seats", &[Int8]).1,
        "SELECT CAST(sum(partial.c1) AS BIGINT) + 1 AS \"?column?\" FROM partial"
    );
}

#[test]
fn averages_are_sums_and_counts() {
    assert_eq!(aggregate("SELECT avg(seat_id) FROM seats", &[Int8, Int8]), (
        "SELECT sum(seat_id) AS c1, count(seat_id) AS c2 FROM seats".into(),
        "SELECT (CAST(sum(partial.c1) AS NUMERIC) / CAST(NULLIF(sum(partial.c2), 0) AS NUMERIC)) AS \"avg\" FROM partial".into()
    ));
    let (partial, finish) = aggregate("SELECT avg(weight) FILTER (WHERE paid) FROM orders", &[Float8, Int8]);
    assert_eq!(
        partial,
        "SELECT sum(CAST(weight AS DOUBLE PRECISION)) FILTER (WHERE paid) AS c1, count(CAST(weight AS DOUBLE PRECISION)) FILTER (WHERE paid) AS c2 FROM orders"
    );
    assert_eq!(
        finish,
        "SELECT (sum(partial.c1) / CAST(NULLIF(sum(partial.c2), 0) AS DOUBLE PRECISION)) AS \"avg\" FROM partial"
    );
    assert_eq!(
        refused("SELECT avg(weight * 2) FROM orders"),
        "avg() of an expression on real, across shards is not supported by shardd"
    );
    assert_eq!(
        aggregate("SELECT sum(weight) FROM orders", &[Float4]).1,
        "SELECT CAST(sum(partial.c1) AS REAL) AS \"sum\" FROM partial"
    );
}

#[test]
fn groups_are_grouped_again() {
    assert_eq!(
        aggregate(
            "SELECT upper(status) AS s, count(*), sum(price) / count(*) FROM seats GROUP BY 1 HAVING count(*) > $1 ORDER BY 2 DESC, sum(price), s LIMIT 5 OFFSET $2",
            &[Text, Int8, Numeric]
        ),
        (
            "SELECT upper(status) AS c1, count(*) AS c2, sum(price) AS c3 FROM seats GROUP BY 1".into(),
            "SELECT partial.c1 AS \"s\", COALESCE(CAST(sum(partial.c2) AS BIGINT), 0) AS \"count\", \
             CAST(sum(partial.c3) AS NUMERIC) / COALESCE(CAST(sum(partial.c2) AS BIGINT), 0) AS \"?column?\" \
             FROM partial GROUP BY partial.c1 HAVING COALESCE(CAST(sum(partial.c2) AS BIGINT), 0) > $1 \
             ORDER BY 2 DESC, CAST(sum(partial.c3) AS NUMERIC), 1 LIMIT 5 OFFSET $2"
                .into()
        )
    );
    assert_eq!(
        aggregate("SELECT seats.status FROM seats GROUP BY Status", &[Text]),
        (
            "SELECT Status AS c1 FROM seats GROUP BY 1".into(),
            "SELECT partial.c1 AS \"status\" FROM partial GROUP BY partial.c1".into()
        )
    );
    assert_eq!(
        aggregate("SELECT lower(status) AS l, count(*) FROM seats GROUP BY l", &[Text, Int8]).0,
        "SELECT lower(status) AS c1, count(*) AS c2 FROM seats GROUP BY 1"
    );
}

#[test]
fn distinct_arguments_become_groups() {
    assert_eq!(aggregate("SELECT count(DISTINCT status), count(*) FROM seats", &[Text, Int8]), (
        "SELECT status AS c1, count(*) AS c2 FROM seats GROUP BY 1".into(),
        "SELECT count(DISTINCT partial.c1) AS \"count\", COALESCE(CAST(sum(partial.c2) AS BIGINT), 0) AS \"count\" FROM partial".into()
    ));
    assert_eq!(
        aggregate(
            "SELECT venue_id, count(DISTINCT name) FILTER (WHERE day > $1) FROM events GROUP BY venue_id",
            &[Int8, Text]
        )
        .0,
        "SELECT venue_id AS c1, CASE WHEN day > $1 THEN name END AS c2 FROM events GROUP BY 1, 2"
    );
}

#[test]
fn what_cannot_be_put_together_is_refused() {
    for (text, wanted) in [
        ("SELECT string_agg(status, ',') FROM seats", "string_agg() across shards"),
        ("SELECT array_agg(status) FROM seats", "array_agg() across shards"),
        ("SELECT stddev(price) FROM seats", "stddev() across shards"),
        ("SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY price) FROM seats", "percentile_cont() across shards"),
        ("SELECT status, count(*) FROM seats GROUP BY ROLLUP (status)", "GROUPING SETS, ROLLUP and CUBE across shards"),
        ("SELECT count(*), (SELECT 1) FROM seats", "a subquery beside aggregates across shards"),
        ("SELECT count(*), sum(count(*)) OVER () FROM seats", "a window function"),
        ("SELECT bool_and(DISTINCT paid) FROM orders", "bool_and(DISTINCT ...)() across shards"),
    ] {
        let got = refused(text);
        assert!(got.starts_with(wanted), "{text}: {got}");
    }
    assert_eq!(
        refused("SELECT status, price, count(*) FROM seats GROUP BY status"),
        "column \"price\" must appear in the GROUP BY clause or be used in an aggregate function"
    );
}

#[test]
fn wrong_partial_columns_are_noticed() {
    let Plan::Read(read) = planned("SELECT count(*) FROM seats").unwrap() else { panic!() };
    let Ok(Scatter::Aggregate(aggregate)) = read.scatter else { panic!() };
    assert!(aggregate.finish(&[Int4, Int4]).is_err());
}
