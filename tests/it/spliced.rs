//! What several Postgres shards run for one statement is the client's own text: forms that a tree has no place for, or would be
//! printed in another way, mean over shards what they mean to one Postgres.

use std::panic::AssertUnwindSafe;

use crate::support::Both;
use crate::support::both::told;

/// Reads whose rows are put together as they come, each with a part of the text that every shard is asked for.
const SCATTERED: &[(&str, &str)] = &[
    // Rows that are merged.
    (
        "SELECT event_id, @ -rank FROM events ORDER BY @ -rank DESC, event_id",
        "@ -rank FROM events ORDER BY @ -rank DESC",
    ),
    (
        "SELECT title FROM events WHERE rank OPERATOR(pg_catalog.+) 1 > 2 ORDER BY price OPERATOR ( pg_catalog.- ) 3, event_id",
        "price OPERATOR ( pg_catalog.- ) 3 AS \"shardd_hidden_1\", event_id AS \"shardd_hidden_2\" FROM events WHERE rank OPERATOR(pg_catalog.+)",
    ),
    (
        "SELECT title IS NFC NORMALIZED, title IS NOT NFKD NORMALIZED FROM events ORDER BY title IS NFC NORMALIZED, event_id",
        "SELECT title IS NFC NORMALIZED, title IS NOT NFKD NORMALIZED, event_id AS",
    ),
    (
        "SELECT event_id FROM events ORDER BY 'x'::text || title COLLATE pg_catalog.\"C\" DESC NULLS LAST, event_id",
        "'x'::text || title COLLATE pg_catalog.\"C\" AS",
    ),
    (
        "SELECT (ARRAY[rank, 2, 3])[2:], event_id FROM events ORDER BY (ARRAY[rank, event_id::int])[:1], event_id",
        "(ARRAY[rank, event_id::int])[:1] AS",
    ),
    (
        "SELECT day + interval '1' day FROM events ORDER BY day - interval '1-2' year to month, event_id",
        "day - interval '1-2' year to month AS",
    ),
    (
        "SELECT event_id FROM events WHERE rank BETWEEN SYMMETRIC 3 AND 1 ORDER BY event_id LIMIT 3 OFFSET 1",
        "BETWEEN SYMMETRIC",
    ),
    (
        "SELECT event_id FROM events WHERE title LIKE ANY (ARRAY['%1', '%2']) OR title NOT LIKE ALL ('{x}') ORDER BY event_id",
        "LIKE ANY",
    ),
    (
        "SELECT seat_id FROM seats WHERE section ISNULL ORDER BY held AT TIME ZONE interval '1 hour', event_id, seat_id",
        "ISNULL",
    ),
    (
        "SELECT title FROM events WHERE (day, date '2027-01-01') OVERLAPS (date '2026-01-05', interval '1' month) ORDER BY event_id * 2",
        "OVERLAPS",
    ),
    (
        "SELECT DISTINCT ON (@ -rank, extract(dow FROM day)) event_id FROM events ORDER BY @ -rank, extract(dow FROM day), event_id",
        "extract(dow FROM day) AS",
    ),
    ("SELECT DISTINCT ON (rank % 2) rank % 2 FROM events", "ORDER BY rank % 2"),
    ("TABLE events ORDER BY @ -price, event_id", "SELECT *, @ -price AS"),
    (
        "((SELECT event_id FROM events ORDER BY overlay(title PLACING '*' FROM 2 FOR 4), event_id FETCH FIRST 4 ROWS ONLY))",
        "overlay(title PLACING '*' FROM 2 FOR 4) AS",
    ),
    (
        "WITH v (n) AS MATERIALIZED (SELECT venue_id FROM venues ORDER BY @ -venue_id LIMIT 2) SELECT title, n FROM events, v \
         WHERE venue_id = n ORDER BY trim(LEADING 'e' FROM title), event_id",
        "AS MATERIALIZED (SELECT venue_id FROM venues ORDER BY @ -venue_id LIMIT",
    ),
    (
        "SELECT /* FROM nowhere */ event_id AS from, 'LIMIT 1' \"order by\" FROM events -- ORDER BY nothing\n ORDER BY price, event_id LIMIT 2 OFFSET 3",
        "SELECT /* FROM nowhere */ event_id AS from",
    ),
    (
        "SELECT event_id FROM events UNION SELECT event_id FROM seats WHERE @ -event_id > 20 ORDER BY 1 LIMIT 3 OFFSET 1",
        "@ -event_id",
    ),
    (
        "SELECT E'a\\'b' || title, U&'d!0061t' UESCAPE '!', $x$it's$x$, B'101', X'1F' FROM events ORDER BY price || $$ $$, event_id",
        "X'1F'",
    ),
    ("SELECT event_id FROM events ORDER BY price USING >, title USING <, event_id FETCH NEXT ROW ONLY", "USING >"),
    // Aggregates that are put together.
    (
        "SELECT sum(@ -price), max(title COLLATE \"C\"), avg(@ -rank) FROM events",
        "sum(@ -price) AS c1, max(title COLLATE \"C\") AS c2, sum(@ -rank) AS c3",
    ),
    (
        "SELECT rank OPERATOR(pg_catalog.%) 2 AS half, count(*) FILTER (WHERE title IS NFC NORMALIZED), avg(ALL price) FILTER (WHERE @ -rank > 1) \
         FROM events GROUP BY half HAVING count(*) > 1 ORDER BY half",
        "count(*) FILTER (WHERE title IS NFC NORMALIZED) AS",
    ),
    (
        "SELECT count(DISTINCT (ARRAY[rank, 2])[1:1]), pg_catalog.min(day - interval '1' day) FROM events WHERE rank BETWEEN SYMMETRIC 3 AND 1",
        "(ARRAY[rank,",
    ),
    (
        "SELECT day, bool_or(title LIKE ANY (ARRAY['%1'])) FROM events GROUP BY 1 ORDER BY 1 DESC NULLS LAST LIMIT 4",
        "LIKE ANY",
    ),
    (
        "SELECT extract(month FROM held), sum(price) FROM seats GROUP BY extract(month FROM held)",
        "extract(month FROM held) AS c1",
    ),
];

/// The same of reads whose rows are brought to one place.
const GATHERED: &[(&str, &str)] = &[
    (
        "SELECT title, rank() OVER (ORDER BY event_id) FROM events e WHERE (e.rank BETWEEN SYMMETRIC 3 AND 1 AND NOT e.venue_id IS NULL) AND @ -price > 5 \
         AND e.day > '2026-01-02'::pg_catalog.date ORDER BY event_id",
        "FROM events AS e WHERE (e.rank BETWEEN SYMMETRIC",
    ),
    (
        "SELECT rank, rank() OVER (ORDER BY event_id) FROM events WHERE event_id = ANY ('{1,2,3}'::bigint[]) ORDER BY 2",
        "'{1,2,3}'::bigint[]",
    ),
];

/// Where they do not answer the same, or shards are not asked for this part of the text.
fn disagreed(both: &mut Both, (statement, asked): (&str, &str), plan: &str) -> Option<String> {
    let same = std::panic::catch_unwind(AssertUnwindSafe(|| both.agree_on(statement))).is_ok();
    let explained = both.got.query(&format!("EXPLAIN (SHARDD) {statement}")).texts();
    let lines: Vec<String> = explained.into_iter().flatten().flatten().collect();
    let mut pushed = lines.iter().filter(|line| line.contains("Each is asked:")).peekable();
    // What is sent as it was written is not shown.
    let is_asked = match pushed.peek() {
        Some(_) => pushed.any(|line| line.contains(asked)),
        None => statement.contains(asked),
    };
    let right = same && lines[0].starts_with(plan) && is_asked;
    (!right).then(|| format!("{statement}: {same} {lines:#?}"))
}

#[test]
fn reads_mean_what_they_mean_to_one_server() {
    let mut both = Both::start_with(true, "");
    let mut wrong = Vec::new();
    for (all, plan) in [(SCATTERED, "Scatter"), (GATHERED, "Gather")] {
        wrong.extend(all.iter().filter_map(|case| disagreed(&mut both, *case, plan)));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Alone, each from what those before it have left.
const WRITES: &[&str] = &[
    "UPDATE events SET rank = @ -v.n FROM (SELECT max(venue_id) AS n FROM events) v WHERE events.event_id OPERATOR(pg_catalog.>) 20",
    "UPDATE events AS e SET title = e.title || s.section, price = 1.5::numeric(5, 2) FROM seats s WHERE s.event_id = e.event_id + 1 AND s.seat_id = 1 AND s.section IS NFC NORMALIZED",
    "UPDATE events SET (rank, day) = (rank + 1, day + interval '1' day) WHERE price > (SELECT avg(@ -price) FROM events)",
    "WITH w AS (SELECT venue_id FROM venues WHERE @ -venue_id > 2) DELETE FROM seats USING w, events e WHERE e.venue_id = w.venue_id AND seats.event_id = e.event_id + 1",
    "UPDATE events SET event_id = event_id + 100, title = title COLLATE \"C\" || '=' WHERE rank BETWEEN SYMMETRIC 3 AND 1 AND title IS NFC NORMALIZED",
    "UPDATE notes AS n SET (event_id, body) = (@ -n.event_id, 'at = ' || v.name) FROM venues v WHERE v.venue_id = n.event_id AND n.body IS DISTINCT FROM v.name",
];

#[test]
fn writes_do_what_they_do_on_one_server() {
    let mut both = Both::start_with(true, "");
    both.run("INSERT INTO notes (event_id) VALUES (1), (2), (3), (4), (5)");
    for statement in WRITES {
        let (expected, got) = (both.expected.query(statement), both.got.query(statement));
        assert_eq!(told(&got), told(&expected), "{statement}");
        assert_eq!((got.error.is_none(), &got.tag), (true, &expected.tag), "{statement}: {got:?}");
        both.agree_on_rows(statement);
    }
}
