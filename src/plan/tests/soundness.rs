//! Statements that look as if shards could answer them, each alone, and could not; and their sound neighbours.

use super::super::{Plan, Scatter};
use super::{check, planned};

#[test]
fn keys_that_only_a_subquery_joins_do_not_lie_together_outside() {
    let pair = "SELECT count(*) FROM events e1, events e2 WHERE";
    check(&[
        // NOT EXISTS keeps the pairs that nothing joins.
        (
            &format!(
                "{pair} NOT EXISTS (SELECT 1 FROM seats s JOIN orders t ON s.event_id = e1.event_id AND \
                 t.event_id = e2.event_id WHERE s.event_id = t.event_id)"
            ),
            "every | 0A000 a join...",
        ),
        (
            &format!(
                "{pair} NOT EXISTS (SELECT 1 FROM (SELECT * FROM seats s WHERE s.event_id = e1.event_id) s JOIN \
                 (SELECT * FROM orders o WHERE o.event_id = e2.event_id) t USING (event_id))"
            ),
            "every | 0A000 a join...",
        ),
        (
            "SELECT * FROM events e1 WHERE EXISTS (SELECT 1 FROM events e2 WHERE NOT EXISTS (SELECT 1 FROM seats s \
             WHERE s.event_id = e2.event_id AND s.event_id = e1.event_id))",
            "every | 0A000 a subquery...",
        ),
        (
            "SELECT * FROM events e1 WHERE NOT EXISTS (SELECT 1 FROM seats s WHERE s.event_id = e1.event_id AND \
             EXISTS (SELECT 1 FROM orders o WHERE o.event_id = s.event_id AND o.event_id = e1.event_id))",
            "every | merge",
        ),
    ]);
}

#[test]
fn a_side_that_may_be_missing_does_not_tie_the_other_to_a_row_outside() {
    check(&[
        (
            "SELECT * FROM events e WHERE NOT EXISTS (SELECT 1 FROM orders o LEFT JOIN (SELECT * FROM seats s WHERE \
             s.event_id = e.event_id) x ON x.event_id = o.event_id WHERE o.paid)",
            "every | 0A000 a join...",
        ),
        (
            "SELECT * FROM events e WHERE NOT EXISTS (SELECT 1 FROM (SELECT * FROM seats s WHERE s.event_id = \
             e.event_id) x FULL JOIN orders o USING (event_id))",
            "every | 0A000 a join...",
        ),
        (
            "SELECT * FROM events e WHERE NOT EXISTS (SELECT 1 FROM (SELECT * FROM seats s WHERE s.event_id = \
             e.event_id) x LEFT JOIN orders o USING (event_id))",
            "every | merge",
        ),
        (
            "SELECT * FROM events e, orders o LEFT JOIN LATERAL (SELECT * FROM seats s WHERE s.event_id = e.event_id) x \
             ON x.event_id = o.event_id",
            "every | 0A000 a join...",
        ),
        (
            "SELECT * FROM events e LEFT JOIN LATERAL (SELECT * FROM seats s WHERE s.event_id = e.event_id LIMIT 1) x \
             ON true",
            "every | merge",
        ),
    ]);
}

#[test]
fn each_side_of_a_set_operation_is_joined_on_the_key() {
    check(&[
        (
            "SELECT * FROM events e WHERE EXISTS (SELECT 1 FROM seats s WHERE s.event_id = e.event_id UNION ALL \
             SELECT 1 FROM seats)",
            "every | 0A000 a set operation in a subquery...",
        ),
        (
            "SELECT * FROM events e, LATERAL (SELECT seat_id FROM seats UNION ALL SELECT seat_id FROM seats s \
             WHERE s.event_id = e.event_id) x",
            "every | 0A000 a set operation in a subquery...",
        ),
        (
            "SELECT * FROM events e WHERE EXISTS (SELECT 1 FROM seats s WHERE s.event_id = e.event_id UNION ALL \
             SELECT 1 FROM orders o WHERE o.event_id = e.event_id)",
            "every | merge",
        ),
        (
            "SELECT * FROM events e JOIN (SELECT event_id FROM seats UNION ALL SELECT event_id FROM orders) u \
             USING (event_id)",
            "every | merge",
        ),
    ]);
}

#[test]
fn a_null_among_the_rows_of_in_is_every_shards_matter() {
    let held = "SELECT s.event_id FROM events e2 LEFT JOIN seats s ON s.event_id = e2.event_id AND s.status = 'held'";
    check(&[
        (&format!("SELECT * FROM events WHERE event_id NOT IN ({held})"), "every | 0A000 a subquery..."),
        (&format!("SELECT event_id IN ({held}) FROM events"), "every | 0A000 a subquery..."),
        (&format!("SELECT * FROM events WHERE event_id IN ({held})"), "every | merge"),
        (&format!("DELETE FROM orders WHERE event_id NOT IN ({held})"), "write every | 0A000 a subquery..."),
        // A row of another key, seen or not, decides whether a NULL is among the rows of this one.
        (
            "SELECT * FROM events WHERE event_id = 1 AND event_id NOT IN (SELECT s.event_id FROM events e2 LEFT JOIN \
             seats s ON s.status = e2.name WHERE e2.event_id = 1)",
            "every | 0A000 a join...",
        ),
        (
            "SELECT * FROM events e LEFT JOIN seats s ON s.event_id = e.event_id WHERE s.event_id NOT IN \
             (SELECT event_id FROM orders WHERE buyer = 'x')",
            "every | 0A000 a subquery...",
        ),
        ("SELECT * FROM events WHERE event_id NOT IN (SELECT event_id FROM orders)", "every | merge"),
    ]);
}

#[test]
fn a_copy_of_a_key_that_may_be_missing_may_be_missing() {
    check(&[(
        "SELECT count(*) FROM (SELECT DISTINCT s.event_id, row_number() OVER (PARTITION BY e.event_id) FROM events e \
         LEFT JOIN seats s USING (event_id)) x",
        "every | 0A000 DISTINCT in...",
    )]);
}

#[test]
fn distinct_on_a_name_means_the_result_first() {
    check(&[
        (
            "SELECT * FROM (SELECT DISTINCT ON (event_id) seat_id AS event_id, status FROM seats) x",
            "every | 0A000 DISTINCT ON in...",
        ),
        ("SELECT * FROM (SELECT DISTINCT ON (k) event_id AS k, status FROM seats) x WHERE k = 1", "{1} | merge"),
        ("SELECT * FROM (SELECT DISTINCT ON (1) event_id, status FROM seats) x WHERE event_id = 1", "{1} | merge"),
    ]);
}

#[test]
fn joins_under_an_alias_stay_on_their_side() {
    let join = "(seats s JOIN orders o ON s.event_id = o.event_id) AS j (k1, a, b, c, oid, k2)";
    check(&[
        (&format!("SELECT * FROM {join} LEFT JOIN events e ON j.k2 = 1 AND e.event_id = j.k1"), "every | merge"),
        (&format!("SELECT * FROM {join} LEFT JOIN events e ON e.event_id = j.k1 WHERE j.k2 = 1"), "{1} | merge"),
        ("SELECT * FROM (seats s JOIN orders o ON s.event_id = o.event_id) AS j WHERE j.event_id = 1", "every | merge"),
    ]);
}

#[test]
fn a_full_joins_merged_column_is_neither_sides() {
    let join = "FROM events e FULL JOIN seats s USING (event_id)";
    check(&[
        (&format!("SELECT e.event_id AS x {join} ORDER BY event_id"), "every | merge hidden 1 order 1"),
        (&format!("SELECT event_id AS x {join} ORDER BY event_id"), "every | merge order 0"),
        (
            &format!(
                "SELECT e.event_id AS x, max(status), count(DISTINCT price) {join} GROUP BY event_id + 0, event_id"
            ),
            "every | merge",
        ),
        (
            "SELECT event_id, count(*) FROM (SELECT s.event_id FROM events e LEFT JOIN seats s USING (event_id)) x FULL \
             JOIN orders o USING (event_id) GROUP BY event_id",
            "every | aggregate",
        ),
        (
            "SELECT v.venue_id, count(*) FROM (SELECT * FROM events) v FULL JOIN seats s ON s.event_id = v.event_id \
             GROUP BY v.venue_id",
            "every | aggregate",
        ),
        (
            "SELECT e.event_id AS x FROM events e RIGHT JOIN seats s USING (event_id) ORDER BY s.event_id, event_id",
            "every | merge hidden 2 order 1,2",
        ),
    ]);
}

#[test]
fn columns_after_unknown_ones_have_no_place() {
    let numbers = "WITH RECURSIVE r (a, b) AS (SELECT 1, 2 UNION ALL SELECT a + 1, b FROM r WHERE a < 5)";
    check(&[
        (&format!("{numbers} SELECT * FROM (SELECT * FROM r, seats) x (a, b, k) WHERE x.a = 5"), "every | ..."),
        (&format!("{numbers} SELECT * FROM (SELECT * FROM r, seats) x (a, b, k) WHERE x.k = 5"), "every | ..."),
        (&format!("{numbers} SELECT * FROM (SELECT seats.* FROM r, seats) x (k) WHERE x.k = 5"), "{5} | merge"),
        (
            "SELECT * FROM (SELECT * FROM jsonb_each('{}'), seats) x (a, b) WHERE x.b = 5",
            "every | 0A000 * across shards...",
        ),
        ("SELECT * FROM (SELECT * FROM unnest(ARRAY[1]) u, seats) x (a, b) WHERE x.b = 5", "{5} | merge"),
        (
            "SELECT * FROM (SELECT * FROM unnest(ARRAY[1], ARRAY[2]) u, seats) x (a, b) WHERE x.b = 5",
            "every | 0A000 ...",
        ),
    ]);
}

#[test]
fn recursive_queries_name_only_what_stands_before_them() {
    check(&[
        (
            "WITH RECURSIVE a AS (SELECT * FROM seats), seats AS (SELECT 1 AS event_id) SELECT * FROM a",
            "0A000 WITH RECURSIVE where \"a\" names a query that comes after it...",
        ),
        ("WITH a AS (SELECT * FROM seats), seats AS (SELECT 1 AS event_id) SELECT * FROM a", "every | merge"),
        ("WITH RECURSIVE a AS (SELECT * FROM seats), b AS (SELECT * FROM a) SELECT * FROM b", "every | merge"),
    ]);
}

#[test]
fn what_is_computed_once_for_a_statement_is_not_computed_once_for_each_shard() {
    check(&[
        ("UPDATE orders SET buyer = (SELECT gen_random_uuid()::text)", "write every | 0A000 gen_random_uuid()..."),
        ("UPDATE orders SET buyer = u FROM (SELECT random()::text AS u) x", "write every | 0A000 random()..."),
        ("UPDATE orders SET buyer = u FROM (VALUES (random()::text)) x (u)", "write every | 0A000 random()..."),
        ("UPDATE orders SET buyer = u FROM gen_random_uuid() u", "write every | 0A000 gen_random_uuid()..."),
        ("UPDATE orders SET total = n FROM generate_series(1, random()::int) n", "write every | 0A000 random()..."),
        ("SELECT * FROM seats, gen_random_uuid() u", "every | 0A000 gen_random_uuid()..."),
        ("UPDATE orders SET buyer = gen_random_uuid()::text", "write every"),
        ("UPDATE orders SET buyer = (SELECT gen_random_uuid()::text) WHERE event_id = 1", "write {1} | 0A000 ..."),
    ]);
}

#[test]
fn a_key_in_using_counts_though_the_other_side_has_none() {
    check(&[
        ("SELECT * FROM seats JOIN (VALUES (1)) v (event_id) USING (event_id) WHERE event_id = 1", "{1} | merge"),
        ("SELECT * FROM (VALUES (1)) v (event_id) JOIN seats USING (event_id) WHERE event_id = 1", "{1} | merge"),
        ("SELECT * FROM seats LEFT JOIN (VALUES (1)) v (event_id) USING (event_id) WHERE event_id = 1", "{1} | merge"),
        ("SELECT * FROM (VALUES (1)) v (event_id) RIGHT JOIN seats USING (event_id) WHERE event_id = 1", "{1} | merge"),
        (
            "SELECT * FROM (VALUES (1)) v (event_id) LEFT JOIN seats USING (event_id) WHERE event_id = 1",
            "{1} | 0A000 an outer join...",
        ),
        (
            "SELECT * FROM seats FULL JOIN (VALUES (1)) v (event_id) USING (event_id) WHERE event_id = 1",
            "{1} | 0A000 an outer join...",
        ),
    ]);
}

#[test]
fn constants_of_a_column_confine_only_what_must_equal_them() {
    check(&[
        ("SELECT * FROM seats JOIN (VALUES (1), (2)) v (k) ON event_id = k", "{1,2} | merge"),
        ("SELECT * FROM seats JOIN (SELECT $1::bigint AS k) v ON event_id = k", "{$1} | merge"),
        ("WITH v (k) AS (VALUES (1)) SELECT * FROM seats, v WHERE event_id = k", "{1} | merge"),
        ("SELECT * FROM seats WHERE event_id IN (VALUES (1), (2))", "{1,2} | merge"),
        ("SELECT * FROM seats LEFT JOIN (VALUES (1)) v (k) ON event_id = k", "every | merge"),
        ("SELECT * FROM seats LEFT JOIN (VALUES (1)) v (k) ON event_id = k WHERE k = event_id", "{1} | merge"),
        ("SELECT * FROM (VALUES (1)) v (k) LEFT JOIN seats ON event_id = k", "{1} | 0A000 ..."),
        ("SELECT * FROM seats FULL JOIN (VALUES (1)) v (event_id) USING (event_id)", "every | 0A000 ..."),
        ("SELECT * FROM seats, (VALUES (1)) v (k) WHERE event_id = k OR status = 'x'", "every | merge"),
        ("SELECT * FROM seats JOIN (VALUES (1), (2.5)) v (k) ON event_id = k", "every | merge"),
        ("SELECT * FROM seats JOIN (VALUES (1, 7)) v (k, n) ON event_id = n", "{7} | merge"),
        ("SELECT * FROM seats WHERE event_id NOT IN (VALUES (1), (2))", "every | merge"),
        ("SELECT * FROM seats WHERE NOT EXISTS (SELECT 1 FROM (VALUES (1)) v (k) WHERE k = event_id)", "every | merge"),
        ("SELECT * FROM seats WHERE EXISTS (SELECT 1 FROM (VALUES (1)) v (k) WHERE k = event_id)", "every | merge"),
    ]);
}

#[test]
fn a_key_that_is_cut_when_it_is_stored_is_given_as_a_value() {
    check(&[
        (
            "INSERT INTO short_users SELECT email, name FROM users",
            "write every | 0A000 INSERT from a query into \"short_users\"...",
        ),
        ("INSERT INTO short_users SELECT 'abc  ', name FROM users", "write every | 0A000 INSERT from a query..."),
        (
            "WITH x AS (SELECT 1) INSERT INTO short_users VALUES ('abc  ', 'x')",
            "write every | 0A000 INSERT from a query...",
        ),
        ("INSERT INTO short_users VALUES ('abc  ', 'x')", "insert 'abc  '"),
        ("INSERT INTO users SELECT 'abc  ', name FROM short_users", "write every | 0A000 ..."),
    ]);
}

#[test]
fn limit_and_offset_together_are_no_larger_than_a_bigint() {
    let Plan::Read(read) = planned("SELECT * FROM seats LIMIT $1 OFFSET $2").unwrap() else { panic!() };
    let Ok(Scatter::Merge { statement, .. }) = read.scatter else { panic!() };
    assert_eq!(
        statement.to_string(),
        "SELECT * FROM seats LIMIT least(CAST($1 AS BIGINT), 4611686018427387903) + \
         least(CAST($2 AS BIGINT), 4611686018427387903)"
    );
}
