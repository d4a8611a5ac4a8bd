//! What several Postgres shards run is the client's own text, with other words only where the plan needs them.

use std::sync::Arc;

use super::super::{Across, Plan, Read, Scatter, plan};
use super::{keyspaces, planned, planned_lifted, planned_parsed, schema};
use crate::sql::{Derived, Parsed, Tree, lift, parse, put_literals_back, spliced, with_deep_stack};
use crate::topology::UniqueKey;

/// The text that each shard runs; `None` when it was not found.
pub(super) fn of_shards(parsed: &Parsed, read: &Read) -> Option<String> {
    let Tree::Sql(original) = &parsed.tree else { panic!("it is no statement of the shards'") };
    let derived = match read.scatter.as_ref().unwrap() {
        Scatter::Merge { statement, .. } => statement,
        Scatter::Aggregate(aggregate) => &aggregate.statement,
    };
    with_deep_stack(parsed.deep, || {
        let text = spliced(&parsed.text, original, derived).unwrap()?;
        assert_eq!(&Derived::read(text.clone()).unwrap().tree, derived, "{text}");
        Some(text)
    })
}

fn shards_run(text: &str) -> String {
    let (parsed, planned) = planned_parsed(text);
    let Plan::Read(read) = planned.unwrap() else { panic!("{text} is no read") };
    match &read.scatter {
        Ok(_) => of_shards(&parsed, &read).unwrap_or_else(|| panic!("{text} is not found")),
        Err(error) => panic!("{text}: {error:?}"),
    }
}

fn check(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        assert_eq!(shards_run(text), *expected, "{text}");
    }
}

#[test]
fn what_is_not_changed_stays_as_it_was_written() {
    check(&[
        (
            "/*+ SeqScan(events) */ select  event_id,name /* a; */ from events -- all\n ;",
            "/*+ SeqScan(events) */ select  event_id,name /* a; */ from events",
        ),
        ("TABLE events", "TABLE events"),
        ("((SELECT 1 FROM events))", "SELECT 1 FROM events"),
        (
            "SELECT name FROM events WHERE @ -5 = 0x05 AND name = 'ORDER BY' ORDER BY name",
            "SELECT name FROM events WHERE @ -5 = 0x05 AND name = 'ORDER BY' ORDER BY name",
        ),
        (
            "SELECT event_id FROM events WHERE event_id OPERATOR(pg_catalog.+) 1 > 2 AND name IS NFC NORMALIZED",
            "SELECT event_id FROM events WHERE event_id OPERATOR(pg_catalog.+) 1 > 2 AND name IS NFC NORMALIZED",
        ),
        (
            "SELECT name FROM events WHERE venue_id BETWEEN SYMMETRIC 9 AND 4 FOR NO KEY UPDATE",
            "SELECT name FROM events WHERE venue_id BETWEEN SYMMETRIC 9 AND 4 FOR NO KEY UPDATE",
        ),
        (
            "WITH v AS (SELECT venue_id FROM venues ORDER BY name LIMIT 1) SELECT name FROM events e, v",
            "WITH v AS (SELECT venue_id FROM venues ORDER BY name LIMIT 1) SELECT name FROM events e, v",
        ),
    ]);
}

#[test]
fn columns_that_are_needed_for_the_order_are_added_behind_the_list() {
    check(&[
        (
            "SELECT name FROM events ORDER BY @ -venue_id DESC NULLS LAST, day USING <, name",
            "SELECT name, @ -venue_id AS \"shardd_hidden_1\", day AS \"shardd_hidden_2\" FROM events \
             ORDER BY @ -venue_id DESC NULLS LAST, day USING <, name",
        ),
        (
            "SELECT name from_name, 'FROM x' AS \"from\", 1 AS from FROM events ORDER BY lower(name) COLLATE \"C\"",
            "SELECT name from_name, 'FROM x' AS \"from\", 1 AS from, lower(name) COLLATE \"C\" AS \"shardd_hidden_1\" \
             FROM events ORDER BY lower(name) COLLATE \"C\"",
        ),
        (
            "/* 1 */ SELECT name -- the name,\n FROM/* 2 */events ORDER BY day /* 3 */, lower(name) -- LIMIT 2\n OFFSET 1 -- 4\n LIMIT 2 FOR SHARE",
            "/* 1 */ SELECT name, day AS \"shardd_hidden_1\", lower(name) AS \"shardd_hidden_2\" -- the name,\n FROM/* 2 */events \
             ORDER BY day /* 3 */, lower(name) LIMIT 3 -- LIMIT 2\n -- 4\n FOR SHARE",
        ),
        (
            "SELECT FROM events ORDER BY CASE WHEN day IS DISTINCT FROM '2026-01-01' THEN 1 END",
            "SELECT CASE WHEN day IS DISTINCT FROM '2026-01-01' THEN 1 END AS \"shardd_hidden_1\" FROM events \
             ORDER BY CASE WHEN day IS DISTINCT FROM '2026-01-01' THEN 1 END",
        ),
        (
            "table events order by venue_id + 0x1",
            "SELECT *, venue_id + 0x1 AS \"shardd_hidden_1\" FROM events order by venue_id + 0x1",
        ),
        (
            "(SELECT (SELECT max(name) FROM venues v ORDER BY 1 LIMIT 1) FROM events ORDER BY day, venue_id)",
            "SELECT (SELECT max(name) FROM venues v ORDER BY 1 LIMIT 1), day AS \"shardd_hidden_1\", \
             venue_id AS \"shardd_hidden_2\" FROM events ORDER BY day, venue_id",
        ),
        (
            "SELECT DISTINCT ON (venue_id, day) name FROM events",
            "SELECT DISTINCT ON (venue_id, day) name, venue_id AS \"shardd_hidden_1\", day AS \"shardd_hidden_2\" \
             FROM events ORDER BY venue_id, day",
        ),
        (
            "SELECT DISTINCT ON ( (venue_id) ) name FROM events ORDER BY (venue_id), day DESC FOR SHARE",
            "SELECT DISTINCT ON ( (venue_id) ) name, (venue_id) AS \"shardd_hidden_1\", day AS \"shardd_hidden_2\" \
             FROM events ORDER BY (venue_id), day DESC FOR SHARE",
        ),
    ]);
}

#[test]
fn limits_are_what_the_merge_needs() {
    check(&[
        ("SELECT name FROM events LIMIT 5", "SELECT name FROM events LIMIT 5"),
        ("SELECT name FROM events OFFSET 2 LIMIT 5 FOR UPDATE", "SELECT name FROM events LIMIT 7 FOR UPDATE"),
        ("SELECT name FROM events FOR UPDATE LIMIT 5", "SELECT name FROM events FOR UPDATE LIMIT 5"),
        ("SELECT name FROM events LIMIT ALL OFFSET 2", "SELECT name FROM events"),
        ("SELECT name FROM events OFFSET 2 ROWS", "SELECT name FROM events"),
        ("SELECT name FROM events FETCH FIRST 0x0A ROWS ONLY", "SELECT name FROM events LIMIT 0x0A"),
        ("SELECT name FROM events FETCH NEXT ROW ONLY", "SELECT name FROM events LIMIT 1"),
        ("SELECT name FROM events FETCH FIRST (3) ROWS ONLY", "SELECT name FROM events FETCH FIRST (3) ROWS ONLY"),
        (
            "SELECT name FROM events LIMIT $2 OFFSET $1::bigint",
            "SELECT name FROM events LIMIT least(CAST($2 AS BIGINT), 4611686018427387903) + \
             least(CAST($1 AS BIGINT), 4611686018427387903)",
        ),
        (
            "SELECT event_id FROM events WHERE name LIKE 'limit' UNION ALL (SELECT event_id FROM seats) ORDER BY 1 LIMIT 2 OFFSET 3",
            "SELECT event_id FROM events WHERE name LIKE 'limit' UNION ALL (SELECT event_id FROM seats) ORDER BY 1 LIMIT 5",
        ),
        (
            "WITH v AS (TABLE venues LIMIT 3) SELECT event_id FROM events UNION SELECT event_id FROM seats FETCH FIRST 2 ROWS ONLY",
            "WITH v AS (TABLE venues LIMIT 3) SELECT event_id FROM events UNION SELECT event_id FROM seats LIMIT 2",
        ),
    ]);
}

#[test]
fn aggregates_are_computed_from_the_clients_own_arguments() {
    check(&[
        ("SELECT count(*) FROM seats", "SELECT count(*) AS c1 FROM seats"),
        (
            "SELECT status, sum( price ) total, max(@ -price) FROM seats WHERE price > 0x10 GROUP BY status \
             HAVING count(*) > 1 ORDER BY sum(price) DESC LIMIT 3",
            "SELECT status AS c1, sum( price ) AS c2, max(@ -price) AS c3, count(*) AS c4 FROM seats WHERE price > 0x10 GROUP BY 1",
        ),
        (
            "SELECT avg(@ -price) FILTER (WHERE status <> ')' ) FROM seats",
            "SELECT sum(@ -price) FILTER (WHERE status <> ')') AS c1, count(@ -price) FILTER (WHERE status <> ')') AS c2 FROM seats",
        ),
        (
            "SELECT count(DISTINCT -- each\n status) FILTER (WHERE @ -price > 1), avg(ALL weight) FROM seats, orders o \
             WHERE seats.event_id = o.event_id",
            "SELECT CASE WHEN @ -price > 1 THEN status END AS c1, sum(ALL CAST(weight AS double precision)) AS c2, \
             count(ALL CAST(weight AS double precision)) AS c3 FROM seats, orders o WHERE seats.event_id = o.event_id GROUP BY 1",
        ),
        (
            "SELECT DISTINCT date_trunc('day', \"at\") AS day, bool_and(paid) FROM orders GROUP BY day",
            "SELECT date_trunc('day', \"at\") AS c1, bool_and(paid) AS c2 FROM orders GROUP BY 1",
        ),
        (
            "SELECT 1 + sum(seat_id) / count(*) FROM seats WHERE EXISTS (SELECT 1 FROM venues GROUP BY name ORDER BY 1)",
            "SELECT sum(seat_id) AS c1, count(*) AS c2 FROM seats WHERE EXISTS (SELECT 1 FROM venues GROUP BY name ORDER BY 1)",
        ),
        (
            "WITH v AS (SELECT name FROM venues ORDER BY 1) SELECT pg_catalog . max(v.name) FROM v, seats WINDOW w AS (ORDER BY 1)",
            "WITH v AS (SELECT name FROM venues ORDER BY 1) SELECT pg_catalog . max(v.name) AS c1 FROM v, seats WINDOW w AS (ORDER BY 1)",
        ),
        ("SELECT status FROM seats GROUP BY (status)", "SELECT (status) AS c1 FROM seats GROUP BY 1"),
    ]);
}

/// As in the engine, where values stand in the text as parameters and are put back.
#[test]
fn values_are_the_clients_own_too() {
    for (text, expected) in [
        (
            "SELECT name FROM events WHERE venue_id = 0x1F AND name <> E'a\\nb' ORDER BY day LIMIT 2 OFFSET 1",
            "SELECT name, day AS \"shardd_hidden_1\" FROM events WHERE venue_id =  0x1F AND name <>  E'a\\nb' ORDER BY day \
             LIMIT least(CAST( 2 AS BIGINT), 4611686018427387903) + least(CAST( 1 AS BIGINT), 4611686018427387903)",
        ),
        (
            "SELECT sum(price * 1.50) FROM seats WHERE status = $$x$$",
            "SELECT sum(price *  1.50) AS c1 FROM seats WHERE status =  $$x$$",
        ),
    ] {
        let lifted = lift(text).unwrap();
        let parsed = parse(&lifted.text, 0, lifted.kinds().collect()).unwrap();
        let Plan::Read(read) = planned_lifted(text).unwrap() else { panic!("{text}") };
        let derived = of_shards(&parsed, &read).unwrap();
        assert_eq!(put_literals_back(&derived, text).unwrap(), expected, "{text}");
    }
}

#[test]
fn rows_that_move_are_taken_out_by_the_clients_own_conditions() {
    let taking = |text: &str| {
        let Plan::Write(write) = planned(text).unwrap() else { panic!("{text} is no write") };
        let Some(Across::Move(movement)) = write.across else { panic!("{text} moves no rows") };
        movement.taking.text
    };
    for (text, expected) in [
        (
            "UPDATE events AS e SET event_id = e.event_id + 0x10, name = '=' || (SELECT max(name) FROM venues) WHERE @ -e.venue_id = 5",
            "DELETE FROM events AS e WHERE @ -e.venue_id = 5 \
             RETURNING e.event_id + 0x10, '=' || (SELECT max(name) FROM venues), e.venue_id, e.day",
        ),
        (
            "WITH v AS (SELECT 1 AS n) UPDATE events SET (day, event_id) = (NULL, v.n) FROM v WHERE venue_id IS DISTINCT FROM v.n",
            "WITH v AS (SELECT 1 AS n) DELETE FROM events USING v WHERE venue_id IS DISTINCT FROM v.n \
             RETURNING v.n, events.name, events.venue_id, NULL",
        ),
    ] {
        assert_eq!(taking(text), expected, "{text}");
    }
}

#[test]
fn rows_to_write_are_read_by_the_clients_own_conditions() {
    let mut schema = schema();
    let mut events = (**schema.table("events").unwrap()).clone();
    events.primary_key = Some(UniqueKey { name: "events_pkey".into(), columns: vec![0] });
    schema.tables.insert("events".into(), Arc::new(events));
    let reading = |text: &str| {
        let planned = plan(&parse(text, 0, Vec::new()).unwrap(), &schema, &keyspaces());
        let Plan::Write(write) = planned.unwrap() else { panic!("{text} is no write") };
        let Some(Across::RowByRow(rows)) = write.across else { panic!("{text} is not written row by row") };
        (rows.reading, rows.head)
    };
    for (text, wanted, head) in [
        (
            "UPDATE events SET name = o.buyer || '(', day = DEFAULT, venue_id = 0x5 FROM orders o WHERE o.order_id = @ -events.venue_id",
            "SELECT events.event_id, events.venue_id, o.buyer || '(', 0x5 FROM events, orders o \
             WHERE o.order_id = @ -events.venue_id",
            "UPDATE events SET day = DEFAULT, ",
        ),
        (
            "WITH x AS (SELECT 1) DELETE FROM events e USING x, (SELECT total FROM orders) AS o WHERE o.total > e.venue_id -- all\n",
            "WITH x AS (SELECT 1) SELECT e.event_id, e.venue_id FROM events e, x, (SELECT total FROM orders) AS o \
             WHERE o.total > e.venue_id",
            "DELETE FROM events AS e",
        ),
    ] {
        assert_eq!(reading(text), (wanted.to_owned(), head.to_owned()), "{text}");
    }
}
