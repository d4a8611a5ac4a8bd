//! Reads: which keys, and how several shards are put together.

use super::{check, planned};

#[test]
fn relations_that_cannot_be_planned_are_refused_with_the_reason() {
    check(&[
        ("SELECT * FROM cheap", "0A000 the view \"cheap\" is not supported by shardd"),
        (
            "SELECT * FROM seats JOIN public.cheap USING (event_id)",
            "0A000 the view \"cheap\" is not supported by shardd",
        ),
        ("DELETE FROM cheap WHERE event_id = 1", "0A000 the view \"cheap\" is not supported by shardd"),
        ("INSERT INTO audit.log VALUES (1)", "0A000 the table \"audit.log\" outside of the schema public is not ..."),
        ("SELECT * FROM log", "42P01 relation \"log\" does not exist"),
        ("SELECT * FROM audit.cheap", "42P01 relation \"audit.cheap\" does not exist"),
        ("WITH cheap AS (SELECT * FROM seats WHERE event_id = 5) SELECT * FROM cheap", "{5} | ..."),
    ]);
    let error = planned("SELECT 1 FROM cheap").unwrap_err();
    assert_eq!((error.get_hint(), error.get_position()), (Some("Query the tables."), Some(15)));
}

#[test]
fn keys_come_from_equality_however_it_is_written() {
    check(&[
        ("SELECT * FROM seats WHERE event_id = 7", "{7} | ..."),
        ("SELECT * FROM seats WHERE 7 = event_id", "{7} | ..."),
        ("SELECT * FROM seats WHERE event_id = 007", "{7} | ..."),
        ("SELECT * FROM seats WHERE event_id = '7'", "{7} | ..."),
        ("SELECT * FROM seats WHERE event_id = $1", "{$1} | ..."),
        ("SELECT * FROM seats WHERE event_id = -$1", "{-$1} | ..."),
        ("SELECT * FROM seats WHERE (event_id) = (($1)::bigint)", "{$1} | ..."),
        ("SELECT * FROM seats WHERE event_id::bigint = CAST($1 AS int)", "{$1} | ..."),
        ("SELECT * FROM seats WHERE status = 'x' AND (seat_id = 1 AND event_id = 5)", "{5} | ..."),
        ("SELECT * FROM seats s WHERE s.event_id = 5", "{5} | ..."),
        ("SELECT * FROM public.seats WHERE seats.event_id = 5", "{5} | ..."),
        ("SELECT * FROM public.seats WHERE public.seats.event_id = 5", "{5} | ..."),
        ("SELECT * FROM SEATS WHERE EVENT_ID = 5", "{5} | ..."),
        ("SELECT * FROM \"Odd\" WHERE \"event_id\" = 5", "{5} | ..."),
        ("SELECT * FROM U&\"se\\0061ts\" WHERE event_id = 5", "{5} | ..."),
        ("SELECT * FROM seats WHERE event_id IN (1, 2, $1)", "{1,2,$1} | ..."),
        ("SELECT * FROM seats WHERE event_id = ANY($1)", "{ANY($1)} | ..."),
        ("SELECT * FROM seats WHERE event_id = ANY($1::bigint[])", "{ANY($1)} | ..."),
        ("SELECT * FROM seats WHERE event_id = ANY(ARRAY[1,2])", "{1,2} | ..."),
        ("SELECT * FROM seats WHERE event_id = ANY('{1,2}')", "{1,2} | ..."),
        ("SELECT * FROM seats WHERE (event_id, seat_id) = (1, 2)", "{1} | ..."),
        ("SELECT * FROM seats WHERE (seat_id, event_id) IN ((1, 2), (3, 4))", "{2,4} | ..."),
        ("SELECT * FROM seats WHERE event_id = 1 OR event_id = 2", "{1,2} | ..."),
        (
            "SELECT * FROM seats WHERE (event_id = 1 AND seat_id = 3) OR (seat_id = 4 AND event_id IN (2, 3))",
            "{1,2,3} | ...",
        ),
        ("SELECT * FROM seats WHERE event_id = NULL", "{NULL} | ..."),
        ("SELECT * FROM seats WHERE event_id = 1 AND event_id = 2", "{1}&{2} | ..."),
        ("SELECT * FROM users WHERE email = 'a''b'", "{'a''b'} | ..."),
        ("SELECT * FROM users WHERE email = E'a\\'b'", "{'a''b'} | ..."),
        ("SELECT * FROM users WHERE email = $$a'b$$", "{'a''b'} | ..."),
        ("SELECT * FROM users WHERE email = U&'\\0061'", "{'a'} | ..."),
        (
            "SELECT * FROM sessions WHERE id = 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'",
            "{'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'} | ...",
        ),
        ("TABLE seats", "every | ..."),
        ("SELECT * FROM ONLY (seats) s WHERE s.event_id = 1", "{1} | 0A000 ONLY..."),
        ("SELECT * FROM seats WHERE event_id BETWEEN SYMMETRIC 1 AND 1", "every | ..."),
        ("SELECT * FROM seats WHERE event_id = 1 AND seat_id BETWEEN SYMMETRIC 9 AND 2", "{1} | ..."),
    ]);
}

#[test]
fn what_is_not_certain_gives_no_key() {
    check(&[
        ("SELECT * FROM seats", "every | ..."),
        ("SELECT * FROM seats WHERE event_id = 1 OR status = 'x'", "every | ..."),
        ("SELECT * FROM seats WHERE NOT event_id = 1", "every | ..."),
        ("SELECT * FROM seats WHERE event_id <> 1", "every | ..."),
        ("SELECT * FROM seats WHERE event_id NOT IN (1, 2)", "every | ..."),
        ("SELECT * FROM seats WHERE event_id IN (1, seat_id)", "every | ..."),
        ("SELECT * FROM seats WHERE event_id = ALL(ARRAY[1])", "every | ..."),
        ("SELECT * FROM seats WHERE CASE WHEN event_id = 1 THEN true ELSE false END", "every | ..."),
        ("SELECT * FROM seats WHERE (event_id = 1) IS NOT FALSE", "every | ..."),
        ("SELECT * FROM seats WHERE (event_id = 1) IS NULL", "every | ..."),
        ("SELECT * FROM seats WHERE coalesce(event_id = 1, true)", "every | ..."),
        ("SELECT * FROM seats WHERE event_id + 0 = 1", "every | ..."),
        ("SELECT * FROM seats WHERE event_id = 1.5", "every | ..."),
        ("SELECT * FROM seats WHERE event_id::text = '1'", "every | ..."),
        ("SELECT * FROM seats WHERE event_id IS NOT DISTINCT FROM 1", "every | ..."),
        ("SELECT event_id = 1 FROM seats", "every | ..."),
        ("SELECT 5 AS event_id FROM seats ORDER BY event_id", "every | ..."),
        ("SELECT * FROM seats WHERE seat_id = 1 /* event_id = 1 */ -- AND event_id = 2", "every | ..."),
        ("SELECT * FROM seats WHERE status = 'event_id = 1'", "every | ..."),
        ("/* shardd: event_id = 1 */ SELECT * FROM seats", "every | ..."),
        ("SELECT * FROM users WHERE email = $1::varchar(3)", "every | ..."),
    ]);
}

#[test]
fn joins_carry_keys_where_they_hold_for_every_row() {
    check(&[
        ("SELECT * FROM seats s JOIN events e ON e.event_id = s.event_id WHERE s.event_id = 1", "{1} | merge"),
        ("SELECT * FROM seats s, events e WHERE e.event_id = s.event_id AND e.event_id = 1", "{1} | merge"),
        ("SELECT * FROM seats JOIN events USING (event_id) WHERE event_id = 1", "{1} | merge"),
        ("SELECT * FROM seats NATURAL JOIN orders WHERE event_id = 1", "{1} | merge"),
        ("SELECT * FROM seats s JOIN events e ON e.event_id = s.event_id AND s.event_id = 1", "{1} | merge"),
        (
            "SELECT * FROM seats s JOIN (events e JOIN orders o USING (event_id)) ON e.event_id = s.event_id WHERE o.event_id = 1",
            "{1} | merge",
        ),
        ("SELECT * FROM seats s JOIN venues v ON v.venue_id = s.seat_id WHERE s.event_id = 1", "{1} | merge"),
        ("SELECT * FROM seats s, events e WHERE e.event_id = 1 AND s.event_id = 1", "{1} | 0A000 a join..."),
        ("SELECT * FROM seats s, events e WHERE e.event_id = 1 AND s.event_id = 2", "{2} + {1} | 0A000 a join..."),
        ("SELECT * FROM seats s, events e WHERE e.event_id = 1", "every | 0A000 a join..."),
        ("SELECT * FROM seats s JOIN events e ON e.venue_id = s.seat_id", "every | 0A000 a join..."),
        ("SELECT * FROM seats s JOIN events e ON e.event_id = s.event_id", "every | merge"),
        (
            "SELECT * FROM seats s JOIN events e ON e.event_id = s.event_id JOIN venues v USING (venue_id)",
            "every | merge",
        ),
        ("SELECT * FROM venues v JOIN events e USING (venue_id)", "every | merge"),
        ("SELECT * FROM venues, events", "every | merge"),
        ("SELECT * FROM seats a JOIN seats b ON a.event_id = b.event_id WHERE a.event_id IN (1, 2)", "{1,2} | merge"),
        (
            "SELECT * FROM seats a, seats b WHERE a.event_id IN (1, 2) AND b.event_id IN (1, 2)",
            "{1,2} | 0A000 a join...",
        ),
        ("SELECT * FROM seats a, events b WHERE (a.event_id, 1) = (b.event_id, a.seat_id)", "every | merge"),
    ]);
}

#[test]
fn a_key_that_an_outer_join_leaves_null_does_not_divide_rows_among_shards() {
    let join = "FROM events e LEFT JOIN seats s ON s.event_id = e.event_id";
    check(&[
        (&format!("SELECT e.event_id, count(*) {join} GROUP BY e.event_id"), "every | merge"),
        (&format!("SELECT s.event_id, count(*) {join} GROUP BY s.event_id"), "every | aggregate"),
        (&format!("SELECT row_number() OVER (PARTITION BY e.event_id ORDER BY seat_id) {join}"), "every | merge"),
        (
            &format!("SELECT row_number() OVER (PARTITION BY s.event_id ORDER BY seat_id) {join}"),
            "every | 0A000 a window...",
        ),
        (&format!("SELECT s.event_id {join} EXCEPT SELECT event_id FROM seats"), "every | 0A000 EXCEPT..."),
    ]);
}

#[test]
fn outer_joins_confine_only_the_side_that_may_be_missing() {
    check(&[
        ("SELECT * FROM seats s LEFT JOIN orders o ON o.event_id = s.event_id WHERE s.event_id = 1", "{1} | merge"),
        ("SELECT * FROM seats LEFT JOIN orders USING (event_id) WHERE event_id = 1", "{1} | merge"),
        ("SELECT * FROM seats s LEFT JOIN orders o ON o.event_id = s.event_id AND o.event_id = 1", "every | merge"),
        ("SELECT * FROM seats s LEFT JOIN orders o ON o.event_id = s.event_id AND s.event_id = 1", "every | merge"),
        ("SELECT * FROM seats s LEFT JOIN orders o ON o.event_id = 1 WHERE s.event_id = 1", "{1} | 0A000 a join..."),
        ("SELECT * FROM seats s LEFT JOIN orders o ON s.event_id = 1 WHERE o.event_id = 1", "every | 0A000 a join..."),
        ("SELECT * FROM orders o RIGHT JOIN seats s ON o.event_id = s.event_id WHERE s.event_id = 1", "{1} | merge"),
        ("SELECT * FROM orders RIGHT JOIN seats USING (event_id) WHERE event_id = 1", "{1} | merge"),
        ("SELECT * FROM orders o RIGHT JOIN seats s ON o.event_id = s.event_id AND s.event_id = 1", "every | merge"),
        ("SELECT * FROM orders o FULL JOIN seats s ON o.event_id = s.event_id AND s.event_id = 1", "every | merge"),
        ("SELECT * FROM orders FULL JOIN seats USING (event_id) WHERE event_id = 1", "{1} | merge"),
        (
            "SELECT * FROM orders o FULL JOIN (SELECT * FROM seats WHERE event_id = 1) s USING (event_id)",
            "every | merge",
        ),
        (
            "SELECT * FROM orders o LEFT JOIN (SELECT * FROM seats WHERE event_id = 1) s USING (event_id)",
            "every | merge",
        ),
        ("SELECT * FROM seats s LEFT JOIN orders o ON o.buyer = s.status", "every | 0A000 a join..."),
        (
            "SELECT * FROM seats s LEFT JOIN orders o ON o.buyer = s.status WHERE o.event_id = s.event_id",
            "every | merge",
        ),
        ("SELECT * FROM venues v LEFT JOIN events e USING (venue_id)", "every | 0A000 an outer join..."),
        ("SELECT * FROM venues v LEFT JOIN events e ON e.event_id = 1", "{1} | 0A000 an outer join..."),
        ("SELECT * FROM events e LEFT JOIN venues v USING (venue_id)", "every | merge"),
        ("SELECT * FROM events e FULL JOIN venues v USING (venue_id)", "every | 0A000 an outer join..."),
        (
            "SELECT * FROM seats a LEFT JOIN orders b ON a.status = b.buyer LEFT JOIN events c ON c.event_id = b.event_id AND c.event_id = a.event_id",
            "every | 0A000 a join...",
        ),
        (
            "SELECT * FROM seats a LEFT JOIN orders b ON b.event_id = a.event_id LEFT JOIN events c ON c.event_id = b.event_id WHERE a.event_id = 1",
            "{1} | merge",
        ),
    ]);
}

#[allow(clippy::too_many_lines, reason = "a table of statements and their plans")]
#[test]
fn subqueries_and_ctes_carry_keys() {
    check(&[
        ("SELECT * FROM (SELECT * FROM seats) s WHERE event_id = 1", "{1} | merge"),
        ("SELECT * FROM (SELECT * FROM seats WHERE event_id = 1) s", "{1} | merge"),
        ("SELECT * FROM (SELECT event_id AS e, status FROM seats) AS s (k) WHERE k = 1", "{1} | merge"),
        ("WITH s AS (SELECT * FROM seats) SELECT * FROM s WHERE event_id = 1", "{1} | merge"),
        ("WITH s AS (SELECT * FROM seats WHERE event_id = 1) SELECT * FROM s", "{1} | merge"),
        ("WITH s (k) AS (SELECT event_id FROM seats) SELECT * FROM s a JOIN s b USING (k) WHERE k = 1", "{1} | merge"),
        (
            "WITH s AS (SELECT * FROM seats) SELECT * FROM s a, s b WHERE a.event_id = 1 AND b.event_id = 2",
            "{1} + {2} | 0A000 a join...",
        ),
        ("WITH s AS (SELECT * FROM seats WHERE event_id = 1) SELECT 1", "tableless"),
        ("SELECT * FROM (SELECT * FROM seats LIMIT 5) s WHERE event_id = 1", "every | 0A000 LIMIT in a subquery..."),
        ("SELECT * FROM (SELECT * FROM seats WHERE event_id = 1 LIMIT 5) s", "{1} | 0A000 LIMIT in a subquery..."),
        ("SELECT * FROM (SELECT event_id, count(*) FROM seats GROUP BY event_id) s WHERE event_id = 1", "{1} | merge"),
        ("SELECT * FROM (SELECT event_id, count(*) AS n FROM seats GROUP BY event_id) s WHERE n > 1", "every | merge"),
        (
            "SELECT * FROM (SELECT max(event_id) AS event_id FROM seats) s WHERE event_id = 1",
            "every | 0A000 an aggregate in a subquery...",
        ),
        (
            "SELECT * FROM (SELECT DISTINCT ON (status) event_id FROM seats) s WHERE event_id = 1",
            "every | 0A000 DISTINCT ON in...",
        ),
        ("SELECT * FROM (SELECT DISTINCT event_id FROM seats) s WHERE event_id = 1", "{1} | merge"),
        ("SELECT * FROM (SELECT DISTINCT status FROM seats) s", "every | 0A000 DISTINCT in..."),
        (
            "SELECT * FROM (SELECT event_id, row_number() OVER (ORDER BY seat_id) FROM seats) s WHERE event_id = 1",
            "every | 0A000 a window...",
        ),
        (
            "SELECT * FROM (SELECT event_id, row_number() OVER (PARTITION BY event_id) FROM seats) s WHERE event_id = 1",
            "{1} | merge",
        ),
        (
            "SELECT * FROM seats s WHERE EXISTS (SELECT 1 FROM orders o WHERE o.event_id = s.event_id) AND s.event_id = 1",
            "{1} | merge",
        ),
        ("SELECT * FROM seats s WHERE EXISTS (SELECT 1 FROM orders o WHERE o.event_id = s.event_id)", "every | merge"),
        (
            "SELECT * FROM seats s WHERE NOT EXISTS (SELECT 1 FROM orders o WHERE o.event_id = s.event_id AND o.event_id = 1)",
            "every | merge",
        ),
        (
            "SELECT * FROM seats s WHERE EXISTS (SELECT 1 FROM orders o WHERE o.buyer = s.status)",
            "every | 0A000 a subquery...",
        ),
        (
            "SELECT * FROM seats s WHERE event_id = 1 AND EXISTS (SELECT 1 FROM orders o WHERE o.buyer = s.status)",
            "every | 0A000 a subquery...",
        ),
        (
            "SELECT * FROM seats s WHERE event_id = 1 AND EXISTS (SELECT 1 FROM orders o WHERE o.event_id = 1)",
            "{1} | 0A000 a subquery...",
        ),
        ("SELECT * FROM seats WHERE event_id IN (SELECT event_id FROM orders WHERE event_id = 1)", "{1} | merge"),
        ("SELECT * FROM seats WHERE event_id IN (SELECT event_id FROM orders WHERE buyer = 'x')", "every | merge"),
        ("SELECT * FROM seats WHERE event_id = ANY (SELECT event_id FROM orders) AND event_id = 1", "{1} | merge"),
        ("SELECT * FROM seats WHERE event_id NOT IN (SELECT event_id FROM orders WHERE event_id = 1)", "every | merge"),
        ("SELECT * FROM seats WHERE event_id IN (SELECT event_id FROM orders LIMIT 1)", "every | 0A000 LIMIT in..."),
        ("SELECT * FROM seats WHERE event_id = (SELECT max(event_id) FROM orders)", "every | 0A000 an aggregate in..."),
        (
            "SELECT *, (SELECT count(*) FROM orders o WHERE o.event_id = s.event_id) FROM seats s WHERE event_id = 1",
            "{1} | merge",
        ),
        ("SELECT *, (SELECT count(*) FROM orders o WHERE o.event_id = s.event_id) FROM seats s", "every | merge"),
        ("SELECT *, (SELECT count(*) FROM orders o) FROM seats s WHERE event_id = 1", "every | 0A000 an aggregate..."),
        (
            "SELECT * FROM events e, LATERAL (SELECT * FROM seats s WHERE s.event_id = e.event_id ORDER BY seat_id LIMIT 3) x",
            "every | merge",
        ),
        (
            "SELECT * FROM events e, LATERAL (SELECT * FROM seats s WHERE s.event_id = e.event_id LIMIT 3) x WHERE e.event_id = 1",
            "{1} | merge",
        ),
        (
            "SELECT * FROM venues WHERE EXISTS (SELECT 1 FROM events e WHERE e.venue_id = venues.venue_id)",
            "every | 0A000 a subquery...",
        ),
        (
            "SELECT * FROM venues WHERE venue_id IN (SELECT venue_id FROM events WHERE event_id = 1)",
            "{1} | 0A000 a subquery...",
        ),
        ("SELECT * FROM seats WHERE seat_id IN (SELECT venue_id FROM venues) AND event_id = 1", "{1} | merge"),
        ("VALUES (1, 2)", "tableless"),
        ("SELECT * FROM (VALUES (1), (2)) v (event_id) WHERE event_id = 1", "tableless"),
        ("SELECT s.* FROM seats s JOIN (VALUES (1), (2)) v (k) ON s.event_id = v.k", "{1,2} | merge"),
        (
            "WITH RECURSIVE t AS (SELECT seat_id FROM seats WHERE event_id = 1 UNION ALL SELECT s.seat_id FROM seats s JOIN t ON s.seat_id = t.seat_id + 1 WHERE s.event_id = 1) SELECT * FROM t",
            "{1} | 0A000 ...",
        ),
    ]);
}

#[test]
fn names_are_not_mistaken() {
    check(&[
        ("WITH seats AS (SELECT 1 AS event_id) SELECT * FROM seats WHERE event_id = 5", "tableless"),
        ("WITH seats AS (SELECT * FROM seats) SELECT * FROM seats WHERE event_id = 5", "{5} | merge"),
        ("SELECT * FROM venues seats WHERE seats.venue_id = 5", "any"),
        ("SELECT * FROM seats venues WHERE venues.event_id = 5", "{5} | merge"),
        ("SELECT * FROM seats s, orders o WHERE event_id = 5", "every | 0A000 a join..."),
        ("SELECT * FROM seats s WHERE seats.event_id = 5", "every | merge"),
        ("SELECT * FROM (SELECT seat_id AS event_id FROM seats) s WHERE event_id = 5", "every | merge"),
        ("SELECT * FROM seats AS s (event, event_id) WHERE event_id = 5", "every | merge"),
        ("SELECT * FROM seats AS s (event, event_id) WHERE event = 5", "{5} | merge"),
        ("SELECT * FROM seats \"S\" WHERE s.event_id = 5", "every | merge"),
        ("SELECT * FROM \"Seats\" WHERE event_id = 5", "42P01 relation \"Seats\" does not exist"),
        ("SELECT * FROM other.seats WHERE event_id = 5", "42P01 relation \"other.seats\" does not exist"),
        ("SELECT * FROM nowhere", "42P01 relation \"nowhere\" does not exist"),
        ("SELECT * FROM seats, seats", "42712 ..."),
        ("SELECT * FROM seats, users WHERE event_id = 1", "every | 0A000 a statement on tables of keyspaces..."),
        ("SELECT * FROM pg_type WHERE oid = 1", "system catalog"),
        ("SELECT * FROM information_schema.tables", "system catalog"),
        ("SELECT relname FROM pg_class", "system catalog"),
        ("SELECT * FROM pg_catalog.pg_nothing", "0A000 the system relation pg_catalog.pg_nothing..."),
        ("SELECT * FROM seats, pg_class", "0A000 a statement on tables and the system catalog together..."),
        ("SELECT * FROM generate_series(1, 5) seats WHERE seats = 3", "tableless"),
        (
            "SELECT (SELECT event_id FROM orders o WHERE o.event_id = s.event_id LIMIT 1) FROM seats s WHERE event_id = 1",
            "{1} | merge",
        ),
        // The inner event_id is the orders', not the seats'.
        ("SELECT * FROM seats s WHERE EXISTS (SELECT 1 FROM orders WHERE event_id = 1)", "every | 0A000 a subquery..."),
    ]);
}

#[test]
fn set_operations_reach_the_shards_of_every_side() {
    check(&[
        (
            "SELECT * FROM seats WHERE event_id = 1 UNION ALL SELECT * FROM seats WHERE event_id = 2",
            "{1} + {2} | merge",
        ),
        (
            "SELECT * FROM seats WHERE event_id = 1 UNION SELECT * FROM seats WHERE event_id = 2",
            "{1} + {2} | merge distinct",
        ),
        ("SELECT * FROM seats WHERE event_id = 1 UNION SELECT * FROM seats WHERE event_id = 1", "{1} | merge distinct"),
        (
            "SELECT status FROM seats UNION SELECT buyer FROM orders UNION SELECT name FROM events",
            "every | merge distinct",
        ),
        (
            "SELECT status FROM seats UNION ALL SELECT buyer FROM orders ORDER BY status DESC LIMIT 5",
            "every | merge order 0 desc limit 5",
        ),
        (
            "SELECT status FROM seats UNION ALL SELECT buyer FROM orders ORDER BY lower(status)",
            "every | 0A000 invalid UNION...",
        ),
        ("SELECT status FROM seats EXCEPT SELECT buyer FROM orders", "every | 0A000 EXCEPT across shards..."),
        ("SELECT event_id FROM seats EXCEPT SELECT event_id FROM orders", "every | merge"),
        ("SELECT event_id FROM seats INTERSECT SELECT event_id FROM orders", "every | merge"),
        ("SELECT status FROM seats UNION ALL SELECT name FROM venues", "every | 0A000 a set operation..."),
        (
            "SELECT * FROM (SELECT event_id FROM seats UNION SELECT event_id FROM orders) u WHERE event_id = 1",
            "{1} | merge",
        ),
        (
            "SELECT * FROM (SELECT status FROM seats UNION SELECT buyer FROM orders) u",
            "every | 0A000 UNION in a subquery...",
        ),
        ("SELECT count(*) FROM seats UNION ALL SELECT count(*) FROM orders", "every | 0A000 an aggregate..."),
        ("(SELECT status FROM seats ORDER BY 1 LIMIT 1) UNION ALL SELECT status FROM seats", "every | 0A000 LIMIT..."),
    ]);
}

#[test]
fn merges_order_cut_and_remove_duplicates() {
    check(&[
        ("SELECT * FROM seats LIMIT 3", "every | merge limit 3"),
        ("SELECT * FROM seats LIMIT ALL", "every | merge"),
        ("SELECT * FROM seats LIMIT NULL OFFSET 2", "every | merge offset 2"),
        ("SELECT * FROM seats LIMIT $1 OFFSET $2", "every | merge limit $1 offset $2"),
        ("SELECT * FROM seats FETCH FIRST 5 ROWS ONLY", "every | merge limit 5"),
        ("SELECT * FROM seats FETCH FIRST ROW ONLY", "every | merge limit 1"),
        ("SELECT * FROM seats ORDER BY 1 FETCH FIRST 5 ROWS WITH TIES", "every | 0A000 FETCH ..."),
        ("SELECT * FROM seats LIMIT -1 OFFSET -(2)", "every | merge limit -1 offset -2"),
        ("SELECT * FROM seats LIMIT -$1 OFFSET - -$1", "every | merge limit -$1 offset $1"),
        ("SELECT * FROM seats LIMIT 2.5", "every | merge limit 3"),
        ("SELECT * FROM seats LIMIT 1e30", "every | 22003 bigint out of range"),
        ("SELECT * FROM seats LIMIT 1 + 1", "every | 0A000 a computed LIMIT..."),
        ("SELECT * FROM seats ORDER BY status", "every | merge order 2"),
        ("SELECT * FROM seats ORDER BY 2 DESC, seats.event_id", "every | merge order 1 desc,0"),
        (
            "SELECT * FROM seats ORDER BY status NULLS FIRST, price DESC NULLS LAST",
            "every | merge order 2 nulls first,3 desc nulls last",
        ),
        ("SELECT * FROM seats ORDER BY 9", "every | 42P10 ORDER BY position 9 is not in select list"),
        ("SELECT status FROM seats ORDER BY price", "every | merge hidden 1 order 1"),
        ("SELECT status AS price FROM seats ORDER BY price", "every | merge order 0"),
        ("SELECT status AS s FROM seats ORDER BY lower(status), s", "every | merge hidden 1 order 1,0"),
        ("SELECT lower(status) FROM seats ORDER BY lower(seats.STATUS)", "every | merge order 0"),
        ("SELECT status FROM seats ORDER BY price, price DESC", "every | merge hidden 1 order 1,1 desc"),
        ("SELECT DISTINCT status FROM seats ORDER BY status", "every | merge order 0 distinct"),
        ("SELECT DISTINCT status FROM seats ORDER BY price", "every | 42P10 ..."),
        (
            "SELECT DISTINCT ON (status) status, price FROM seats ORDER BY status, price DESC",
            "every | merge order 0,1 desc distinct on [0]",
        ),
        ("SELECT DISTINCT ON (event_id) price FROM seats", "every | merge hidden 1 order 1 distinct on [1]"),
        ("SELECT DISTINCT ON (status) price FROM seats ORDER BY price", "every | 42P10 ..."),
        ("SELECT * FROM seats JOIN events USING (event_id) ORDER BY name", "every | merge order 4"),
        ("SELECT e.* FROM seats s JOIN events e USING (event_id) ORDER BY s.price", "every | merge hidden 1 order 4"),
        ("SELECT row_number() OVER (ORDER BY price) FROM seats", "every | 0A000 a window function..."),
        ("SELECT row_number() OVER (PARTITION BY event_id) FROM seats", "every | merge"),
        ("SELECT random(), * FROM seats", "every | 0A000 random() across shards..."),
        ("SELECT now(), * FROM seats", "every | merge"),
        ("SELECT * FROM seats ORDER BY random()", "every | 0A000 random()..."),
        (
            "SELECT event_id, count(*) FROM seats GROUP BY event_id HAVING count(*) > 5 ORDER BY count(*) DESC LIMIT 3",
            "every | merge order 1 desc limit 3",
        ),
        ("SELECT * FROM seats WHERE event_id = 1 FOR UPDATE", "{1} | merge"),
    ]);
}

#[test]
fn what_shardd_cannot_keep_is_refused() {
    check(&[
        ("SELECT pg_advisory_lock(1)", "0A000 function pg_advisory_lock()..."),
        ("SELECT pg_try_advisory_xact_lock(1) FROM seats WHERE event_id = 1", "0A000 function pg_try..."),
        ("SELECT pg_catalog.pg_advisory_xact_lock(1)", "0A000 function pg_advisory_xact_lock()..."),
        ("SELECT nextval('x') + 1", "0A000 function nextval()..."),
        ("SELECT pg_sleep(1)", "0A000 function pg_sleep()..."),
        ("SELECT set_config('a', 'b', false) FROM seats", "0A000 function set_config()..."),
        ("SELECT * INTO x FROM seats", "0A000 SELECT INTO..."),
        ("SELECT * FROM seats TABLESAMPLE system (10) WHERE event_id = 1", "{1} | 0A000 TABLESAMPLE..."),
        (
            "SELECT sum(price) OVER (ORDER BY event_id ROWS 1 PRECEDING EXCLUDE TIES) FROM seats",
            "every | 0A000 EXCLUDE...",
        ),
        ("SELECT pg_advisory_unlock_all()", "VoidCall { column: \"pg_advisory_unlock_all\" }"),
        ("SELECT a = b = c FROM seats", "42601 ..."),
        ("SELECT 'a' 'b'", "42601 syntax error at or near \"'b'\""),
        ("SELECT TOP 5 * FROM seats", "42601 ..."),
        ("SELECT * FROM seats LIMIT 1, 2", "42601 ..."),
        ("SELECT 1; SELECT 2", "42601 cannot insert multiple commands into a prepared statement"),
        ("SELEC 1", "42601 syntax error at or near \"SELEC\""),
        ("SELECT FROM WHERE", "42601 ..."),
        ("SELECT * FROM seats WHERE", "42601 syntax error at end of input"),
    ]);
}
