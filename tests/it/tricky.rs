//! Statements that sharding proxies get wrong, each on one Postgres and over shards: the same rows in the same order, the same
//! types, or the same error.
//!
//! Beside those of `gather`, which are about rows that have to be in one place.

use crate::support::{Both, Postgres, Shardd};

/// What each of them is about is told by its group.
const STATEMENTS: &[(&str, &[&str])] = &[
    (
        "a limit holds for all shards together, and after the offset",
        &[
            "SELECT count(*) FROM (SELECT 1 FROM events LIMIT 5) x",
            "SELECT event_id FROM events ORDER BY event_id LIMIT 3",
            "SELECT event_id FROM events ORDER BY event_id DESC LIMIT 3 OFFSET 20",
            "SELECT event_id FROM events ORDER BY event_id OFFSET 22",
            "SELECT event_id FROM events ORDER BY event_id LIMIT 0",
            "SELECT event_id FROM events ORDER BY event_id LIMIT ALL OFFSET 23",
            "SELECT event_id FROM events ORDER BY event_id LIMIT NULL OFFSET 23",
            "SELECT event_id FROM events ORDER BY event_id LIMIT 1 + 1",
            "SELECT event_id FROM events ORDER BY event_id OFFSET 100",
            "SELECT event_id FROM events ORDER BY event_id LIMIT -1",
            "SELECT event_id FROM events ORDER BY event_id FETCH FIRST ROW ONLY",
            "SELECT rank, count(*) FROM events GROUP BY rank ORDER BY 2 DESC, 1 LIMIT 2 OFFSET 1",
            "SELECT event_id FROM events WHERE event_id IN (1, 9, 17) ORDER BY event_id DESC LIMIT 2",
        ],
    ),
    (
        "HAVING judges whole groups",
        &[
            "SELECT venue_id, count(*) FROM events GROUP BY venue_id HAVING count(*) > 4 ORDER BY 1",
            "SELECT rank FROM events GROUP BY rank HAVING max(price) - min(price) > 12 ORDER BY rank",
            "SELECT sum(rank) FROM events HAVING count(*) = 24",
            "SELECT sum(rank) FROM events HAVING count(*) < 24",
            "SELECT 1 FROM events HAVING max(event_id) > 3",
            "SELECT title FROM events GROUP BY title HAVING count(*) = (SELECT 4) ORDER BY 1",
            "SELECT section FROM seats GROUP BY section HAVING section IS NULL OR count(DISTINCT seat_id) > 3 ORDER BY 1",
        ],
    ),
    (
        "rows are ordered by what is not returned, and as they are returned",
        &[
            "SELECT title FROM events ORDER BY price, event_id",
            "SELECT title FROM events ORDER BY -rank, event_id DESC LIMIT 7",
            "SELECT venue_id FROM events ORDER BY venue_id NULLS FIRST, event_id",
            "SELECT venue_id FROM events ORDER BY venue_id DESC NULLS LAST, event_id",
            "SELECT event_id AS price FROM events ORDER BY price",
            "SELECT event_id % 3 AS m, event_id FROM events ORDER BY m, 2 DESC",
            "SELECT rank AS venue_id, venue_id AS rank, event_id FROM events ORDER BY venue_id, rank, event_id",
            "SELECT title || section FROM events JOIN seats USING (event_id) ORDER BY held, event_id, seat_id",
            "SELECT day FROM events ORDER BY CASE WHEN rank = 1 THEN 0 ELSE 1 END, day, event_id",
            "SELECT count(*) FROM events GROUP BY rank ORDER BY rank DESC",
            "SELECT rank FROM events GROUP BY rank ORDER BY sum(price), rank",
            "SELECT price FROM events ORDER BY 3",
            "SELECT DISTINCT title FROM events ORDER BY price",
        ],
    ),
    (
        "a key is what every row must have, and nothing else",
        &[
            "SELECT event_id FROM events WHERE event_id = 1 UNION SELECT event_id FROM events WHERE event_id = 2 ORDER BY 1",
            "SELECT title FROM events WHERE event_id = 1 UNION ALL SELECT title FROM events WHERE event_id = 7 ORDER BY 1",
            "SELECT event_id FROM events WHERE event_id = 1 OR rank = 3 ORDER BY 1",
            "SELECT event_id FROM events WHERE event_id = 1 AND event_id = 2",
            "SELECT count(*), max(title) FROM events WHERE event_id = 1 AND event_id = 2",
            "SELECT count(*) FROM events WHERE NOT event_id = 1",
            "SELECT count(*) FROM events WHERE event_id <> 1",
            "SELECT count(*) FROM events WHERE event_id = NULL",
            "SELECT event_id FROM events WHERE event_id = '007'",
            "SELECT event_id FROM events WHERE event_id = 7.0",
            "SELECT event_id FROM events WHERE event_id = 7.5",
            "SELECT event_id FROM events WHERE event_id = 99999999999999999999",
            "SELECT event_id FROM events WHERE event_id BETWEEN 5 AND 5",
            "SELECT event_id FROM events WHERE event_id + 0 = 5",
            "SELECT event_id FROM events WHERE -event_id = -5",
            "SELECT event_id FROM events WHERE 5 = event_id AND 5 = rank + 4",
            "SELECT event_id FROM events WHERE (event_id = 3) IS TRUE",
            "SELECT count(*) FROM events WHERE (event_id = 3) IS NOT TRUE",
            "SELECT event_id FROM events WHERE event_id IN (SELECT 3 UNION SELECT 4) ORDER BY 1",
            "SELECT event_id FROM events WHERE event_id = (SELECT 3)",
            "SELECT CASE WHEN event_id = 3 THEN 'yes' ELSE 'no' END, count(*) FROM events GROUP BY 1 ORDER BY 1",
            "SELECT count(*) FROM events WHERE CASE WHEN rank = 1 THEN event_id = 5 ELSE true END",
            "SELECT event_id FROM events WHERE event_id = 3 AND rank IS NOT NULL OR event_id = 4 ORDER BY 1",
            "SELECT event_id FROM events WHERE event_id = ANY (ARRAY[3, 4, NULL]) ORDER BY 1",
            "SELECT count(*) FROM events WHERE event_id <> ALL (ARRAY[3, 4])",
            "SELECT count(*) FROM events WHERE event_id NOT IN (3, NULL)",
            "SELECT event_id FROM events WHERE (event_id, rank) IN ((1, 1), (2, 3)) ORDER BY 1",
            "SELECT event_id FROM events e WHERE event_id = coalesce(NULL, 4)",
        ],
    ),
    (
        "the side of an outer join that may be missing gives no key",
        &[
            "SELECT count(*) FROM events e LEFT JOIN seats s ON s.event_id = e.event_id AND s.event_id = 3",
            "SELECT e.event_id, s.seat_id FROM events e LEFT JOIN seats s ON s.event_id = e.event_id AND e.event_id = 3 ORDER BY 1, 2 LIMIT 9",
            "SELECT count(*) FROM events e LEFT JOIN seats s ON s.event_id = e.event_id WHERE s.event_id IS NULL OR s.event_id = 3",
            "SELECT count(*) FROM seats s RIGHT JOIN events e ON s.event_id = e.event_id AND s.seat_id = 9 WHERE e.event_id IN (2, 5)",
            "SELECT count(*) FROM events e FULL JOIN seats s ON s.event_id = e.event_id AND s.event_id = 3 AND e.event_id = 3",
            "SELECT v.venue_id, count(e.event_id) FROM venues v LEFT JOIN events e ON e.venue_id = v.venue_id AND e.event_id = 3 GROUP BY 1 ORDER BY 1",
            "SELECT event_id, title, seat_id FROM events NATURAL LEFT JOIN seats ORDER BY 1, 3 LIMIT 6",
            "SELECT e.event_id FROM events e LEFT JOIN seats s USING (event_id) WHERE event_id = 4 ORDER BY s.seat_id",
        ],
    ),
    (
        "a name means what is nearest",
        &[
            "WITH events AS (SELECT seat_id AS event_id FROM seats WHERE event_id = 3) SELECT count(*), max(event_id) FROM events",
            "WITH e AS (SELECT * FROM events WHERE event_id = 3) SELECT count(*) FROM events, e",
            "SELECT (SELECT max(event_id) FROM seats WHERE event_id = events.event_id) FROM events WHERE event_id IN (3, 4) ORDER BY 1",
            "SELECT count(*) FROM events WHERE EXISTS (SELECT 1 FROM seats WHERE event_id = event_id AND seat_id = 5)",
            "SELECT event_id FROM events events WHERE events.event_id = 2",
            "SELECT x.event_id FROM (SELECT rank AS event_id FROM events) x WHERE x.event_id = 2 ORDER BY 1",
            "SELECT x.k FROM (SELECT event_id AS k, rank AS event_id FROM events) x WHERE x.event_id = 2 ORDER BY 1",
            "SELECT a.event_id FROM events a JOIN events b ON a.event_id = b.rank WHERE b.event_id = 3",
            "SELECT a.event_id, b.event_id FROM events a, events b WHERE a.event_id = 1 AND b.event_id = 2",
            "WITH a AS (SELECT event_id FROM events), b AS (SELECT event_id FROM a WHERE event_id = 5) SELECT a.event_id FROM a JOIN b USING (event_id)",
        ],
    ),
    (
        "aggregates of parts are aggregates of the whole, in the same type",
        &[
            "SELECT avg(rank), avg(price), avg(event_id) FROM events",
            "SELECT sum(rank), sum(event_id), sum(price), sum(1.5) FROM events",
            "SELECT count(*), count(venue_id), count(DISTINCT venue_id), count(*) FILTER (WHERE rank = 1) FROM events",
            "SELECT sum(price), avg(price), max(price), count(price) FROM events WHERE event_id < 0",
            "SELECT max(venue_id), min(title), max(day) FROM events WHERE venue_id IS NULL",
            "SELECT bool_and(rank < 3), bool_or(rank = 3), every(price > 0) FROM events",
            "SELECT count(DISTINCT rank), sum(DISTINCT rank), count(DISTINCT title) FROM events",
            "SELECT rank, round(avg(price), 3) * 2 + count(*) FROM events GROUP BY rank ORDER BY 1",
            "SELECT venue_id IS NULL, count(*) FROM events GROUP BY venue_id IS NULL ORDER BY 1",
            "SELECT extract(day FROM day), sum(price) FROM events GROUP BY 1 ORDER BY 1",
            "SELECT coalesce(section, '-'), count(*), sum(price) / count(*) FROM seats GROUP BY coalesce(section, '-') ORDER BY 1",
            "SELECT max(e.price - s.price), min(s.held) FROM events e JOIN seats s USING (event_id)",
            "SELECT count(*), count(v.city) FROM events e JOIN venues v USING (venue_id)",
            "SELECT rank + 1 AS rank, count(*) FROM events GROUP BY rank ORDER BY rank",
            "SELECT 1 / (count(*) - 24) FROM events",
            "SELECT rank, title FROM events GROUP BY rank",
        ],
    ),
    (
        "what is the same is told once",
        &[
            "SELECT DISTINCT venue_id FROM events ORDER BY 1",
            "SELECT DISTINCT title, rank FROM events ORDER BY rank, title LIMIT 5 OFFSET 2",
            "SELECT DISTINCT price * 2 FROM events ORDER BY 1 DESC LIMIT 4",
            "SELECT DISTINCT ON (rank) rank, event_id FROM events ORDER BY rank, price DESC, event_id",
            "SELECT count(*) FROM (SELECT DISTINCT title FROM events) x",
            "SELECT rank FROM events UNION SELECT seat_id FROM seats ORDER BY 1 DESC",
            "SELECT title, NULL FROM events WHERE rank = 1 UNION ALL SELECT NULL, section FROM seats WHERE seat_id = 4 ORDER BY 1, 2 LIMIT 8",
            "(SELECT event_id FROM events ORDER BY event_id LIMIT 2) UNION ALL (SELECT event_id FROM events ORDER BY event_id DESC LIMIT 2) ORDER BY 1",
            "SELECT event_id FROM events EXCEPT SELECT event_id FROM seats WHERE seat_id > 1 ORDER BY 1",
            "SELECT event_id FROM events INTERSECT SELECT event_id FROM seats WHERE seat_id = 4 ORDER BY 1",
            "SELECT venue_id FROM events WHERE event_id = 3 UNION SELECT venue_id FROM venues ORDER BY 1",
        ],
    ),
    (
        "NULL is neither in a list nor out of it",
        &[
            "SELECT count(*) FROM events WHERE venue_id NOT IN (SELECT venue_id FROM events WHERE rank = 3)",
            "SELECT count(*) FROM events WHERE venue_id NOT IN (SELECT venue_id FROM events WHERE venue_id > 2)",
            "SELECT name FROM venues WHERE venue_id NOT IN (SELECT rank FROM events) ORDER BY 1",
            "SELECT count(*) FROM events a WHERE NOT EXISTS (SELECT 1 FROM events b WHERE b.venue_id = a.venue_id AND b.event_id <> a.event_id)",
            "SELECT count(*) FROM events WHERE venue_id IS DISTINCT FROM 2",
            "SELECT count(*) FROM events WHERE (venue_id > 2) IS UNKNOWN",
            "SELECT event_id FROM events WHERE venue_id > ALL (SELECT venue_id FROM events WHERE event_id < 0) AND event_id < 5 ORDER BY 1",
        ],
    ),
    (
        "a construct means the same whatever it is made of",
        &[
            "SELECT FROM events WHERE rank = 1",
            "SELECT event_id FROM events ORDER BY (SELECT count(*) FROM seats s WHERE s.event_id = events.event_id) DESC, event_id LIMIT 5",
            "SELECT event_id FROM events ORDER BY event_id LIMIT (SELECT count(*) FROM venues)",
            "SELECT event_id FROM events ORDER BY event_id OFFSET (SELECT max(event_id) - 2 FROM events)",
            "SELECT event_id FROM events ORDER BY event_id FETCH FIRST 2 + 1 ROWS ONLY",
            "SELECT event_id FROM events ORDER BY event_id FETCH FIRST (1 + 1) ROWS ONLY",
            "SELECT venue_id, rank, count(*) FROM events GROUP BY GROUPING SETS ((venue_id), (rank), ()) ORDER BY 1, 2, 3",
            "SELECT grouping(rank), rank, sum(price) FROM events GROUP BY ROLLUP (rank) HAVING sum(price) > 40 ORDER BY 1, 2",
            "SELECT e.event_id, s.seat_id FROM events e CROSS JOIN LATERAL (SELECT * FROM seats s WHERE s.event_id = e.event_id ORDER BY s.price DESC, s.seat_id LIMIT 1) s ORDER BY 1",
            "SELECT e.event_id, n FROM events e, generate_series(1, e.rank) n ORDER BY 1, 2",
            "SELECT x.n, count(e.event_id) FROM generate_series(0, 5) x(n) LEFT JOIN events e ON e.rank = x.n GROUP BY x.n ORDER BY 1",
            "SELECT t.k, e.title FROM (VALUES (3, 'c'), (4, 'd'), (99, 'x')) t(k, l) LEFT JOIN events e ON e.event_id = t.k ORDER BY 1",
            "SELECT t.k, e.title FROM unnest(ARRAY[9, 3]) WITH ORDINALITY t(k, place) JOIN events e ON e.event_id = t.k ORDER BY t.place",
            "SELECT array_agg(DISTINCT rank ORDER BY rank DESC), array_length(array_agg(event_id), 1) FROM events",
            "SELECT (array_agg(event_id ORDER BY price DESC, event_id))[1:3] FROM events",
            "SELECT jsonb_object_agg(event_id, title ORDER BY event_id) FROM events WHERE rank = 2",
            "SELECT sum(price) FILTER (WHERE rank = 1) / sum(price), count(*) FILTER (WHERE venue_id IS NULL) FROM events",
            "SELECT bit_or(rank), bit_and(rank), bool_and(price > 0) FROM events",
            "SELECT rank, event_id, row_number() OVER w, sum(price) OVER (w ROWS UNBOUNDED PRECEDING) FROM events WINDOW w AS (PARTITION BY rank ORDER BY event_id) ORDER BY 1, 2",
            "SELECT DISTINCT ON (lower(title)) lower(title), event_id FROM events ORDER BY lower(title), event_id DESC",
            "SELECT event_id FROM events WHERE (rank, price) > (2, 5) ORDER BY event_id",
            "SELECT event_id FROM events WHERE event_id BETWEEN SYMMETRIC 5 AND 5",
            "SELECT rank FROM events UNION ALL SELECT seat_id FROM seats WHERE event_id = 3 EXCEPT ALL SELECT rank FROM events WHERE rank > 0 ORDER BY 1",
            "SELECT venue_id FROM events INTERSECT ALL SELECT rank FROM events ORDER BY 1",
            "WITH RECURSIVE chain AS (SELECT event_id, rank, 1 AS depth FROM events WHERE event_id = 24 UNION ALL SELECT e.event_id, e.rank, c.depth + 1 FROM chain c JOIN events e ON e.event_id = c.event_id - 3 WHERE c.depth < 9) SELECT * FROM chain ORDER BY depth",
            "WITH top AS MATERIALIZED (SELECT event_id FROM events ORDER BY price DESC, event_id LIMIT 3) SELECT a.event_id, b.event_id FROM top a, top b WHERE a.event_id <> b.event_id ORDER BY 1, 2",
            "TABLE venues ORDER BY venue_id",
            "TABLE events ORDER BY event_id LIMIT 2",
            "VALUES ((SELECT count(*) FROM events)), (1), (2) ORDER BY 1",
            "SELECT to_jsonb(e) - 'day' FROM events e WHERE rank = 3 ORDER BY event_id",
            "SELECT event_id FROM events WHERE title SIMILAR TO 'event (1|2)' AND title ~ '1$' ORDER BY 1",
            "SELECT 'a' 'b'",
            "SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY price), regr_slope(price, rank)::numeric(10, 6) FROM events",
            "SELECT event_id FROM events WHERE event_id = $$7$$",
            "SELECT event_id FROM events WHERE event_id = E'\\x37'::bytea::text::int",
            "SELECT e.event_id FROM events e JOIN seats s ON (e.event_id, e.rank) = (s.event_id, s.seat_id) ORDER BY 1",
            "SELECT CASE event_id WHEN 3 THEN title END FROM events WHERE event_id IN (3, 4) ORDER BY event_id",
            "SELECT max(event_id) FROM events GROUP BY () ",
            "SELECT s.event_id FROM seats s WHERE s.event_id = ANY (SELECT event_id FROM events WHERE rank = 3) AND s.seat_id = 4 ORDER BY 1",
        ],
    ),
];

/// The same over Postgres shards, in what the SQLite dialect does not speak, on one shard either.
const POSTGRES_STATEMENTS: &[&str] = &[
    "SELECT event_id, sum(rank) OVER (ORDER BY event_id ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING EXCLUDE CURRENT ROW) FROM events ORDER BY 1",
    "SELECT event_id, sum(rank) OVER (ORDER BY title GROUPS BETWEEN 1 PRECEDING AND CURRENT ROW EXCLUDE TIES) FROM events ORDER BY 1",
    "SELECT count(*) FROM events WHERE ROW(event_id, rank) IS NOT NULL AND event_id BETWEEN SYMMETRIC 9 AND 4",
    "SELECT (e).title, (e).rank FROM (SELECT events AS e FROM events WHERE rank = 1) x ORDER BY 1, (e).event_id",
    "SELECT count(*) FROM ONLY events WHERE event_id = 3",
    "SELECT event_id FROM events TABLESAMPLE SYSTEM (100) WHERE event_id = 3",
    "SELECT ctid FROM events WHERE event_id < 0",
    "SELECT event_id FROM events WHERE row(event_id) = row(4)",
    "SELECT * FROM ROWS FROM (generate_series(1, 2), unnest(ARRAY['a'])) AS t (n, l)",
];

/// What one shard, or two, make of keys that are computed.
const WRITES: &[&str] = &[
    "INSERT INTO events (event_id, title) VALUES (abs(-50), 'fifty'), (50 + 1, 'fifty-one')",
    "INSERT INTO events (event_id, title) VALUES (length('123') * 20, 'sixty'), (CASE WHEN 1 = 1 THEN 61 END, 'one')",
    "INSERT INTO events (event_id, title) SELECT max(event_id) + 1, 'last' FROM events",
    "INSERT INTO events (title, event_id) VALUES ('a', 70), ('b', 71), (NULL, 72)",
    "INSERT INTO events (event_id, title) VALUES (73, 'a'), (3, 'twice'), (74, 'c')",
    "UPDATE events SET title = 'found' WHERE event_id IN (50, 51, 60, 61, 62)",
    "UPDATE events SET rank = 1 / (event_id - 12) WHERE rank = 2",
    "DELETE FROM events WHERE event_id = 50 OR title = 'last'",
    "DELETE FROM seats WHERE (event_id, seat_id) IN ((3, 1), (4, 1))",
];

#[test]
fn statements_that_are_easily_answered_wrongly_are_not() {
    let count: usize = STATEMENTS.iter().map(|(_, statements)| statements.len()).sum();
    assert!(count >= 60, "{count}");
    for mut both in Both::of_each_kind() {
        let mut statements: Vec<&str> = STATEMENTS.iter().flat_map(|(_, statements)| *statements).copied().collect();
        if both.over_postgres {
            statements.extend(POSTGRES_STATEMENTS);
        }
        statements.retain(|statement| {
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| both.agree_on(statement))).is_err()
        });
        assert!(statements.is_empty(), "over Postgres: {}: {statements:#?}", both.over_postgres);
    }
}

#[test]
fn rows_whose_keys_are_computed_are_found_by_them() {
    for mut both in Both::of_each_kind() {
        for statement in WRITES {
            both.agree_on(statement);
            both.agree_on_rows(statement);
        }
        for key in [51, 60, 61] {
            both.agree_on(&format!("SELECT title FROM events WHERE event_id = {key}"));
        }
    }
}

/// An aggregate of the user's looks like a function of one row, and so does one that only a newer server has.
#[test]
fn aggregates_that_shardd_does_not_know_aggregate_all_rows() {
    let postgres = Postgres::start();
    let databases = postgres.make_shards(4);
    for database in &databases {
        postgres
            .client_of(database)
            .run("CREATE AGGREGATE my_total(int) (SFUNC = int4pl, STYPE = int, INITCOND = '0')");
    }
    let shardd = Shardd::start_on(&postgres, &databases[..3], "");
    let (mut expected, mut got) = (postgres.client_of(&databases[3]), shardd.client());
    for client in [&mut expected, &mut got] {
        client.run("CREATE TABLE seats (event_id bigint, seat_id int, PRIMARY KEY (event_id, seat_id))");
        client.run("INSERT INTO seats SELECT n, n % 5 FROM generate_series(1, 40) n");
    }
    for statement in [
        "SELECT my_total(seat_id) FROM seats",
        "SELECT seat_id % 2, my_total(seat_id) FROM seats GROUP BY 1 ORDER BY 1",
        "SELECT my_total(seat_id) FROM seats WHERE event_id = 7",
        "SELECT event_id, my_total(seat_id) FROM seats GROUP BY event_id ORDER BY 1",
    ] {
        assert_eq!(got.query(statement).texts(), expected.query(statement).texts(), "{statement}");
    }
}

/// What every shard would choose by itself.
#[test]
fn the_copies_of_a_reference_table_stay_the_same_whatever_is_picked() {
    let mut both = Both::start_with(true, "");
    both.run("CREATE TABLE picked (venue_id int PRIMARY KEY, name text)");
    both.got.run("INSERT INTO picked SELECT venue_id, name FROM venues LIMIT 2");
    both.got.run("INSERT INTO picked SELECT venue_id + 100, name FROM venues TABLESAMPLE BERNOULLI (50)");
    both.got.run("INSERT INTO picked SELECT DISTINCT ON (city) venue_id + 200, name FROM venues");
    for statement in [
        "UPDATE picked SET name = 'x' WHERE venue_id IN (SELECT venue_id FROM venues LIMIT 1)",
        "UPDATE picked SET name = 'y' FROM venues v TABLESAMPLE BERNOULLI (50) WHERE v.venue_id = picked.venue_id",
    ] {
        both.got.run(statement);
    }
    let all = "SELECT * FROM picked ORDER BY 1";
    let copies: Vec<_> =
        both.shardd.shard_names().iter().map(|shard| both.postgres.client_of(shard).query(all).texts()).collect();
    assert!(copies.iter().all(|copy| *copy == copies[0]), "{copies:?}");
    for statement in [
        "CREATE TABLE sampled AS SELECT * FROM venues TABLESAMPLE BERNOULLI (50)",
        "DELETE FROM seats USING venues v TABLESAMPLE BERNOULLI (50) WHERE seats.seat_id = v.venue_id",
    ] {
        assert_eq!(both.got.query(statement).error.expect(statement).sqlstate(), "0A000", "{statement}");
    }
}

/// `char(n)` is filled up with blanks that its values do not have when they are compared.
#[test]
fn a_source_of_padded_keys_is_not_merged_by_its_blanks() {
    let shardd =
        Shardd::start_over_postgres_with("[[keyspaces]]\nname = \"main\"\nkey_column = \"k\"\nkey_type = \"text\"\n");
    let mut client = shardd.client();
    client.run("CREATE TABLE t (k text PRIMARY KEY, n int)");
    client.run("CREATE TABLE codes (code char(5) PRIMARY KEY)");
    client.run("INSERT INTO codes VALUES ('ab'), ('cd'), ('efg')");
    let merge = "MERGE INTO t USING codes s ON t.k = s.code WHEN NOT MATCHED THEN INSERT VALUES (s.code, 1)";
    let refused = client.query(merge);
    assert_eq!(refused.sqlstate(), "0A000", "{refused:?}");
    client.run(&merge.replace("codes s", "(SELECT code::text FROM codes) s"));
    for key in ["ab", "cd", "efg"] {
        assert_eq!(client.query(&format!("SELECT n FROM t WHERE k = '{key}'")).value(), "1");
    }
}
