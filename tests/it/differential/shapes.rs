//! Hand-made statements with holes: subqueries, CTEs, windows, set operations, errors, DDL and transactions.

/// A statement's text. `scope` is `alias=table` pairs whose columns fill the typed holes.
pub struct Shape {
    pub scope: &'static str,
    pub ordered: bool,
    pub text: &'static str,
}

const fn ordered(scope: &'static str, text: &'static str) -> Shape {
    Shape { scope, ordered: true, text }
}

const fn any_order(scope: &'static str, text: &'static str) -> Shape {
    Shape { scope, ordered: false, text }
}

#[rustfmt::skip]
pub const QUERIES: &[Shape] = &[
    // Subqueries.
    any_order("e=events", "SELECT e.event_id, e.title FROM events e WHERE e.event_id = {k} AND EXISTS (SELECT 1 FROM seats s WHERE s.event_id = e.event_id AND s.status = 'free')"),
    any_order("e=events", "SELECT e.event_id FROM events e WHERE EXISTS (SELECT 1 FROM seats s WHERE s.event_id = e.event_id AND s.price > {=n})"),
    any_order("e=events", "SELECT e.event_id, {t} FROM events e WHERE NOT EXISTS (SELECT FROM orders o WHERE o.event_id = e.event_id)"),
    any_order("s=seats", "SELECT s.seat_id, {b} FROM seats s WHERE s.event_id = {k} AND s.price >= (SELECT avg(price) FROM seats WHERE event_id = {k})"),
    any_order("s=seats", "SELECT s.seat_id, (SELECT e.title FROM events e WHERE e.event_id = s.event_id) AS title FROM seats s WHERE s.event_id = {k}"),
    any_order("", "SELECT event_id, (SELECT count(*) FROM seats s WHERE s.event_id = events.event_id) FROM events"),
    any_order("", "SELECT title FROM events WHERE event_id = {k} AND event_id IN (SELECT event_id FROM orders WHERE event_id = {k} AND total > 5)"),
    any_order("", "SELECT title FROM events WHERE venue_id IN (SELECT venue_id FROM venues WHERE capacity > 100)"),
    any_order("", "SELECT title FROM events WHERE venue_id NOT IN (SELECT venue_id FROM venues WHERE city IS NULL)"),
    any_order("", "SELECT name FROM venues WHERE rating = (SELECT max(rating) FROM venues)"),
    any_order("", "SELECT seat_id FROM seats WHERE event_id = {k} AND price > ALL (SELECT total FROM orders WHERE event_id = {k})"),
    any_order("", "SELECT seat_id FROM seats WHERE event_id = {k} AND price < ANY (SELECT total FROM orders WHERE event_id = {k})"),
    ordered("", "SELECT d.title, d.n FROM (SELECT title, length(title) AS n, event_id FROM events WHERE event_id = {k}) d ORDER BY d.event_id"),
    ordered("", "SELECT d.event_id, d.c FROM (SELECT event_id, count(*) AS c FROM seats GROUP BY event_id) AS d (event_id, c) WHERE d.c > 1 ORDER BY d.event_id"),
    ordered("", "SELECT e.event_id, x.top FROM events e JOIN LATERAL (SELECT max(price) AS top FROM seats s WHERE s.event_id = e.event_id) x ON true WHERE e.event_id = {k} ORDER BY 1"),
    any_order("", "SELECT (SELECT count(*) FROM events), (SELECT max(total) FROM orders)"),
    any_order("", "SELECT EXISTS (SELECT 1 FROM events WHERE event_id = {k}), 1 IN (SELECT venue_id FROM venues)"),
    any_order("", "SELECT ARRAY(SELECT seat_id FROM seats WHERE event_id = {k} ORDER BY seat_id)"),
    any_order("", "SELECT 1 FROM seats WHERE event_id = {k} HAVING count(*) > 0"),
    any_order("", "SELECT 'many' FROM seats HAVING count(*) > 1"),
    any_order("", "SELECT 1 FROM venues HAVING max(capacity) < 0"),
    // CTEs.
    ordered("", "WITH t AS (SELECT seat_id, price FROM seats WHERE event_id = {k}) SELECT seat_id, price * 2 FROM t ORDER BY seat_id"),
    ordered("", "WITH a AS (SELECT * FROM events WHERE event_id = {k}), b AS (SELECT * FROM seats WHERE event_id = {k}) SELECT a.title, b.seat_id FROM a JOIN b ON a.event_id = b.event_id ORDER BY b.seat_id"),
    ordered("", "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < {id}) SELECT i FROM n ORDER BY i"),
    ordered("", "WITH v (id, label) AS (VALUES (1, 'one'), (2, 'two')) SELECT v.label, venues.name FROM v JOIN venues ON venues.venue_id = v.id ORDER BY v.id"),
    any_order("", "WITH per AS MATERIALIZED (SELECT event_id, sum(total) AS sold FROM orders WHERE event_id = {k} GROUP BY event_id) SELECT e.title, per.sold FROM per JOIN events e ON e.event_id = per.event_id WHERE e.event_id = {k}"),
    // Windows.
    ordered("s=seats", "SELECT s.seat_id, row_number() OVER (ORDER BY s.price DESC, s.seat_id), {i4} FROM seats s WHERE s.event_id = {k} ORDER BY s.seat_id"),
    ordered("", "SELECT seat_id, rank() OVER (PARTITION BY section ORDER BY price), dense_rank() OVER (PARTITION BY section ORDER BY price) FROM seats WHERE event_id = {k} ORDER BY seat_id"),
    ordered("", "SELECT seat_id, sum(price) OVER (ORDER BY seat_id), count(*) OVER () FROM seats WHERE event_id = {k} ORDER BY seat_id"),
    ordered("", "SELECT event_id, seat_id, lag(price) OVER w, lead(status, 2, 'none') OVER w FROM seats WHERE event_id = {k} WINDOW w AS (PARTITION BY event_id ORDER BY seat_id) ORDER BY seat_id"),
    ordered("", "SELECT event_id, seat_id, row_number() OVER (PARTITION BY event_id ORDER BY seat_id DESC) FROM seats ORDER BY event_id, seat_id"),
    ordered("", "SELECT seat_id, first_value(status) OVER (ORDER BY seat_id), avg(price) OVER (ORDER BY seat_id ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM seats WHERE event_id = {k} ORDER BY seat_id"),
    ordered("", "SELECT order_id, ntile(2) OVER (ORDER BY order_id), percent_rank() OVER (ORDER BY order_id) FROM orders WHERE event_id = {k} ORDER BY order_id"),
    // DISTINCT ON.
    ordered("", "SELECT DISTINCT ON (section) section, seat_id, price FROM seats WHERE event_id = {k} ORDER BY section, price DESC NULLS LAST, seat_id"),
    ordered("", "SELECT DISTINCT ON (event_id) event_id, seat_id FROM seats ORDER BY event_id, seat_id DESC"),
    ordered("", "SELECT DISTINCT ON (status) status, event_id, seat_id FROM seats ORDER BY status, event_id DESC, seat_id LIMIT 2"),
    // Set operations.
    any_order("", "SELECT event_id FROM seats WHERE event_id = {k} UNION SELECT event_id FROM orders WHERE event_id = {k}"),
    ordered("", "SELECT seat_id FROM seats WHERE event_id = {k} UNION ALL SELECT order_id FROM orders WHERE event_id = {k} ORDER BY 1"),
    ordered("", "SELECT name FROM venues UNION SELECT city FROM venues ORDER BY 1 NULLS FIRST"),
    any_order("", "SELECT venue_id FROM venues EXCEPT SELECT 3"),
    any_order("", "SELECT venue_id FROM venues INTERSECT VALUES (1), (2), (99)"),
    ordered("", "VALUES (1, 'a'), (2, 'b'), (3, NULL) ORDER BY 1 DESC"),
    ordered("", "SELECT * FROM (VALUES (1, 'one'), (2, 'two')) AS t (n, word) ORDER BY n"),
    ordered("", "TABLE venues ORDER BY venue_id"),
    ordered("", "SELECT status FROM seats WHERE event_id = {k} EXCEPT ALL SELECT status FROM seats WHERE event_id = {k} AND seat_id < 3 ORDER BY 1"),
    ordered("", "SELECT price FROM seats INTERSECT ALL SELECT price FROM events ORDER BY 1"),
    ordered("", "SELECT section, status FROM seats EXCEPT ALL (SELECT section, status FROM seats WHERE seat_id = 1 UNION ALL VALUES (NULL, 'free')) ORDER BY 1, 2"),
    any_order("", "SELECT DISTINCT tags FROM events"),
    ordered("", "SELECT event_id, tags FROM events ORDER BY tags DESC NULLS LAST, event_id"),
    any_order("", "SELECT tags FROM events EXCEPT SELECT tags FROM events WHERE event_id = {k}"),
    any_order("", "SELECT interval '1 day' AS i UNION SELECT interval '24 hours' UNION ALL SELECT interval '2 days' INTERSECT ALL SELECT interval '48:00:00'"),
    // LATERAL.
    ordered("e=events", "SELECT e.event_id, x.seat_id, x.price, x.extra FROM events e LEFT JOIN LATERAL (SELECT s.*, {t} AS extra FROM seats s WHERE s.event_id = e.event_id ORDER BY s.price DESC NULLS LAST, s.seat_id LIMIT 2) x ON x.seat_id > 1 WHERE e.event_id = {k} ORDER BY 1, 2"),
    ordered("e=events", "SELECT e.event_id, x.a, x.b, y.c FROM events e, LATERAL (SELECT {ts} AS a, {f8} AS b) x, LATERAL (SELECT x.a AS c UNION ALL SELECT NULL) y ORDER BY 1, 4"),
    ordered("", "SELECT v.venue_id, x.n, x.total FROM venues v CROSS JOIN LATERAL (SELECT count(*) AS n, sum(e.price) AS total FROM events e WHERE e.venue_id = v.venue_id) x ORDER BY 1"),
    // generate_series.
    ordered("", "SELECT g, g * 2 FROM generate_series(1, {id}) g"),
    ordered("", "SELECT g::text FROM generate_series(10, 1, -3) AS g"),
    ordered("", "SELECT d::date FROM generate_series(timestamp '2026-01-01', '2026-01-05', interval '1 day') d ORDER BY 1"),
    ordered("", "SELECT n, seat_id FROM generate_series(1, 3) AS t(n) LEFT JOIN seats ON seat_id = n AND event_id = {k} ORDER BY n"),
    ordered("", "SELECT generate_series(1, 4)"),
    ordered("", "SELECT unnest(ARRAY[3, 1, 2]) AS x"),
    // Best available, and other things that ticket services ask.
    ordered("", "SELECT seat_id, price FROM seats WHERE event_id = {k} AND status = 'free' ORDER BY price NULLS LAST, seat_id LIMIT 2 FOR UPDATE SKIP LOCKED"),
    any_order("", "SELECT * FROM seats WHERE event_id = {k} FOR UPDATE"),
    any_order("", "SELECT seat_id FROM seats WHERE event_id = {k} FOR NO KEY UPDATE NOWAIT"),
    any_order("", "SELECT status, count(*) FROM seats WHERE event_id = {k} GROUP BY status"),
    ordered("", "SELECT v.city, count(*) AS shows, sum(e.price) FROM events e JOIN venues v USING (venue_id) GROUP BY v.city HAVING count(*) > 1 ORDER BY shows DESC, v.city"),
    ordered("", "SELECT date_trunc('month', placed_at) AS month, sum(total) FROM orders GROUP BY 1 ORDER BY 1"),
    ordered("", "SELECT event_id, title FROM events WHERE starts_at > now() - interval '100 years' ORDER BY event_id LIMIT 4"),
    ordered("", "SELECT event_id, seat_id FROM seats WHERE (event_id, seat_id) > ({k}, 2) ORDER BY event_id, seat_id LIMIT 5"),
    any_order("", "SELECT coalesce(sum(total), 0), count(*) FROM orders WHERE event_id = {k} AND day BETWEEN '2000-01-01' AND '2030-01-01'"),
    ordered("e=events", "SELECT e.*, {t} AS extra FROM events e WHERE e.event_id = {k} AND {b} ORDER BY e.event_id"),
    any_order("", "SELECT tags ->> 'a', tags -> 'b' -> 0, tags @> '{\"vip\": true}' FROM events WHERE tags IS NOT NULL"),
    any_order("", "SELECT s.event_id FROM seats s, events e WHERE s.event_id = e.event_id AND e.event_id = {k}"),
    any_order("", "SELECT count(*) FROM seats s CROSS JOIN venues v WHERE s.event_id = {k}"),
    any_order("", "SELECT DISTINCT status FROM seats"),
    any_order("", "SELECT count(DISTINCT section), count(DISTINCT status) FROM seats"),
    any_order("", "SELECT 1 AS one, 'a' AS \"Mixed Case\", NULL AS nothing, current_database(), current_schema()"),
    any_order("", "SELECT event_id % 3 AS bucket, min(title) FROM events GROUP BY event_id % 3"),
    any_order("", "SELECT s.seat_id, o.order_id FROM seats s FULL JOIN orders o ON o.event_id = s.event_id AND o.order_id = s.seat_id + 99 WHERE s.event_id = {k} AND o.event_id = {k}"),
    any_order("", "SELECT r.seat_id, e.title FROM seats r RIGHT JOIN events e ON e.event_id = r.event_id WHERE e.event_id = {k}"),
    any_order("", "SELECT count(*), status FROM seats GROUP BY ROLLUP (status)"),
    ordered("", "SELECT seat_id FROM seats WHERE event_id = {k} ORDER BY seat_id OFFSET 1 ROWS FETCH NEXT 2 ROWS ONLY"),
    // Spellings that are rarely met.
    any_order("s=seats", "SELECT s.seat_id, {t} LIKE ALL (ARRAY['%', {t}]), {t} NOT ILIKE ANY (ARRAY[{t}, 'x%']), {t} SIMILAR TO '%(a|e)_*', {i4} ISNULL, {t} NOTNULL FROM seats s WHERE s.event_id = {k}"),
    any_order("s=seats", "SELECT (ARRAY[s.seat_id, {i4}, 7])[2:], (ARRAY[{t}, 'x'])[{id}:2], (ARRAY[{i4}])[:{id}], array_replace(ARRAY[s.seat_id, 1], 1, {i4}) FROM seats s WHERE s.event_id = {k}"),
    any_order("", "SELECT tags['a'], tags['b'][0], tags['nope'][1] FROM events"),
    ordered("", "SELECT DISTINCT ON (1) section, seat_id AS s FROM seats WHERE event_id = {k} ORDER BY 1 NULLS FIRST, s DESC"),
    ordered("", "SELECT DISTINCT ON (sect) section AS sect, seat_id FROM seats WHERE event_id = {k} ORDER BY sect, seat_id"),
    ordered("", "SELECT seat_id, ntile({id}) OVER (ORDER BY seat_id), nth_value(seat_id, 2) OVER (ORDER BY seat_id), sum(seat_id) OVER (ORDER BY seat_id ROWS BETWEEN {id} PRECEDING AND CURRENT ROW EXCLUDE NO OTHERS) FROM seats WHERE event_id = {k} ORDER BY seat_id"),
    any_order("", "SELECT f, regexp_like('JAZZ', 'jazz', f), x, 'a!%' LIKE 'a!%' ESCAPE x FROM (VALUES ('i', '!'), ('c', '\\'), ('i', '!')) v (f, x)"),
    any_order("s=seats", "SELECT regexp_replace({t}, 'a*', '-', 'g'), regexp_split_to_array({t}, 'e*'), regexp_replace({t}, '[aeiou]?', '<\\&>', 'g') FROM seats s WHERE s.event_id = {k}"),
    ordered("", "TABLE venues UNION ALL TABLE venues ORDER BY venue_id, name LIMIT 3"),
    any_order("", "SELECT greatest(tags, '{}'), least(ARRAY[1], ARRAY[venue_id]) FROM events WHERE event_id = {k}"),
    any_order("", "SELECT - -5, -(-9223372036854775808), -(-(1.50)) FROM events"),
    any_order("", "SELECT -2147483648, - 2147483648, -9223372036854775808, abs(-2147483648)"),
    // Joins that shards cannot answer alone.
    any_order("", "SELECT count(*) FROM seats a JOIN seats b ON a.seat_id = b.seat_id"),
    any_order("", "SELECT count(*) FROM events e JOIN events f ON e.venue_id = f.venue_id"),
];

#[rustfmt::skip]
pub const ERRORS: &[&str] = &[
    "SELECT 1 / 0", "SELECT 1 % 0", "SELECT 1.0 / 0", "SELECT 1::float8 / 0", "SELECT 2147483647 + 1", "SELECT 9223372036854775807 + 1", "SELECT 40000::smallint",
    "SELECT 3000000000::int", "SELECT 'abc'::int", "SELECT ''::bigint", "SELECT 'x'::numeric", "SELECT '1.2.3'::float8", "SELECT 'nope'::boolean", "SELECT '2026-13-01'::date",
    "SELECT '2026-02-30'::timestamp", "SELECT 'not a date'::date", "SELECT 'zz'::uuid", "SELECT '{bad'::jsonb", "SELECT '{\"a\":}'::json", "SELECT '\\xzz'::bytea",
    "SELECT 'toolong'::varchar(3) = 'too'", "SELECT nope", "SELECT nope FROM events", "SELECT e.nope FROM events e", "SELECT x.title FROM events e", "SELECT * FROM nowhere",
    "SELECT * FROM other.events", "SELECT no_such_function(1)", "SELECT upper(1)", "SELECT length(title, 1) FROM events", "SELECT 'a' + 1", "SELECT true + 1", "SELECT title + 1 FROM events WHERE event_id = 1",
    "SELECT event_id = 'x' FROM events", "SELECT title = 1 FROM events", "SELECT 1 WHERE 5", "SELECT * FROM events WHERE title", "SELECT NOT 1", "SELECT CASE WHEN 1 THEN 2 END",
    "SELECT CASE WHEN true THEN 1 ELSE 'a' END", "SELECT coalesce(1, 'x')", "SELECT FROM WHERE", "SELEC 1", "SELECT 1 +", "SELECT (1", "SELECT 'open", "SELECT * FROM", "INSERT INTO events", "UPDATE events",
    "SELECT event_id, count(*) FROM seats", "SELECT title FROM events GROUP BY event_id HAVING count(*) > 0 AND day > '2026-01-01'", "SELECT status FROM seats GROUP BY section", "SELECT sum(count(*)) FROM seats",
    "SELECT * FROM seats WHERE count(*) > 1", "SELECT sum(title) FROM events", "SELECT * FROM seats s JOIN events e ON s.event_id = e.event_id WHERE event_id = 1", "SELECT * FROM seats s, seats s",
    "SELECT 1 ORDER BY 2", "SELECT DISTINCT title FROM events ORDER BY event_id", "SELECT 1 LIMIT -1", "SELECT 1 OFFSET -1", "SELECT 1 LIMIT 'x'", "SELECT (SELECT 1, 2)", "SELECT (SELECT event_id FROM events)",
    "SELECT 1 UNION SELECT 'a'", "SELECT 1, 2 UNION SELECT 1", "VALUES (1), (2, 3)", "SELECT note FROM events ORDER BY note", "SELECT DISTINCT note FROM events", "SELECT note = '{}' FROM events",
    "INSERT INTO events (event_id, title, starts_at) VALUES (1, 'again', now())", "INSERT INTO events (event_id, starts_at) VALUES (900, now())", "INSERT INTO events (event_id, title, starts_at) VALUES (901, NULL, now())",
    "INSERT INTO seats (event_id, seat_id, status) VALUES (1, 900, 'broken')", "INSERT INTO seats (event_id, seat_id, section) VALUES (1, 901, 'far too long a section')",
    "INSERT INTO seats (event_id, seat_id, price) VALUES (1, 902, 123456789.00)", "INSERT INTO seats (event_id, seat_id, row_number) VALUES (1, 903, 70000)", "INSERT INTO seats (event_id, seat_id) VALUES (1, 'x')",
    "INSERT INTO seats (event_id, seat_id) VALUES (1)", "INSERT INTO seats (event_id, seat_id) VALUES (1, 2, 3)", "INSERT INTO seats (event_id, nope) VALUES (1, 2)", "INSERT INTO nowhere VALUES (1)",
    "INSERT INTO seats (event_id, event_id) VALUES (1, 2)", "INSERT INTO holds (event_id, hold_id) VALUES (777777, '00000000-0000-0000-0000-000000000001')", "INSERT INTO events (event_id, venue_id, title, starts_at) VALUES (905, 4711, 'x', now())",
    "INSERT INTO venues (venue_id, name, capacity) VALUES (50, 'x', -1)", "INSERT INTO venues (venue_id, name) VALUES (1, 'taken')", "INSERT INTO seats (seat_id) VALUES (1)", "INSERT INTO seats (event_id, seat_id) VALUES (NULL, 1)",
    "INSERT INTO orders (event_id, order_id, customer, total) VALUES (1, 1, 'x', 'y')", "INSERT INTO seats (event_id, seat_id, score) VALUES (1, 904, 'text'::text)", "INSERT INTO seats (event_id, seat_id, version) VALUES (1, 905, true)",
    "UPDATE seats SET nope = 1 WHERE event_id = 1", "UPDATE seats SET status = 'broken' WHERE event_id = 11", "UPDATE events SET title = NULL WHERE event_id = 1", "UPDATE seats SET seat_id = 1 WHERE event_id = 4",
    "UPDATE seats SET version = 'x' WHERE event_id = 1", "UPDATE nowhere SET a = 1", "UPDATE seats SET status = status, status = 'free' WHERE event_id = 1", "UPDATE events SET venue_id = 4711 WHERE event_id = 1",
    "DELETE FROM nowhere", "DELETE FROM seats WHERE event_id = 1 AND nope = 1", "DELETE FROM venues WHERE venue_id IN (SELECT venue_id FROM events WHERE event_id = 1)",
    "CREATE TABLE events (event_id bigint)", "CREATE TABLE broken (a int, a int)", "CREATE TABLE broken (a nosuchtype)", "DROP TABLE nowhere", "ALTER TABLE nowhere ADD COLUMN a int", "ALTER TABLE events ADD COLUMN title text",
    "ALTER TABLE events DROP COLUMN nope", "CREATE INDEX broken ON nowhere (a)", "CREATE INDEX broken ON events (nope)", "DROP INDEX nowhere", "ROLLBACK TO nowhere", "RELEASE nowhere", "SAVEPOINT outside", "EXECUTE nothing", "DEALLOCATE nothing",
    "SELECT $1", "SET no_such_setting = 1", "SHOW no_such_setting", "SELECT row_number() OVER () FROM seats WHERE row_number() OVER () > 1", "SELECT interval 'x'", "SELECT extract(nope from now())", "SELECT date_trunc('nope', now())",
    "SELECT substring('abc' from 1 for -1)", "SELECT sqrt(-1)", "SELECT ln(0)", "SELECT power(0, -1)", "SELECT chr(0)", "SELECT decode('x', 'nope')", "SELECT '[1,2'::jsonb -> 0", "SELECT jsonb_array_length('{}')", "SELECT ARRAY[1, 'x']",
    "SELECT ntile(0) OVER ()", "SELECT nth_value(1, 0) OVER ()", "SELECT sum(1) OVER (ROWS BETWEEN CURRENT ROW AND 1 PRECEDING)",
    "SELECT jsonb_set('{\"a\": 1}', ARRAY[NULL], '1')", "SELECT 1 'alias'", "SELECT DISTINCT ON (3) name FROM venues", "COMMENT ON TABLE nowhere IS 'x'", "COMMENT ON COLUMN venues.nope IS 'x'", "SELECT 'x' ~ '[a-c-e]'",
    "DELETE FROM venues WHERE venue_id = 1", "UPDATE venues SET venue_id = 77 WHERE venue_id = 2", "SELECT trim('a' 'b')", "SELECT 1 = ANY(5)", "SELECT * FROM generate_series(1, 3, 0)", "SELECT 'a' LIKE 'a\\'", "SELECT 'x' ~ '('", "SELECT abs('x'::text)", "SELECT max(tags) FROM events", "SELECT 1::nosuchtype", "SELECT 5::uuid", "SELECT true::date",
    "WITH a AS (SELECT 1) SELECT * FROM b", "SELECT e.title FROM events e WHERE e.event_id = (SELECT event_id FROM seats)", "SELECT repeat('x', -1) || lpad('a', -5)", "SELECT '99999999999'::int", "SELECT 1e400::float8", "SELECT '1e400'::float8", "SELECT (1e38::float4) * 10::float4",
];

/// Scripts around the schema itself; `{x}` is a name that nothing else has.
#[rustfmt::skip]
pub const SCHEMA_SCRIPTS: &[&[&str]] = &[
    &["CREATE TABLE {x}_ref (id serial PRIMARY KEY, name text)", "CREATE TABLE {x} (event_id bigint PRIMARY KEY, r int REFERENCES {x}_ref)", "INSERT INTO {x}_ref (name) VALUES ('a'), ('b') RETURNING id", "INSERT INTO {x} VALUES (1, 1), (2, 2)", "TRUNCATE {x}", "INSERT INTO {x} VALUES (1, 1), (2, 2)", "TRUNCATE {x}, {x}_ref RESTART IDENTITY", "INSERT INTO {x}_ref (name) VALUES ('c') RETURNING id", "INSERT INTO {x} VALUES (3, 1)", "SELECT * FROM {x}", "TRUNCATE {x}", "UPDATE {x}_ref SET name = 'd'", "SELECT * FROM {x}_ref", "DROP TABLE {x}", "DROP TABLE {x}_ref"],
    &["CREATE TABLE {x}_ref (id int PRIMARY KEY, name text)", "CREATE TABLE {x} (event_id bigint PRIMARY KEY, gone int REFERENCES {x}_ref ON DELETE CASCADE ON UPDATE CASCADE, empty int REFERENCES {x}_ref ON DELETE SET NULL, kept int REFERENCES {x}_ref)", "INSERT INTO {x}_ref VALUES (1, 'a'), (2, 'b'), (3, 'c')", "INSERT INTO {x} VALUES (1, 1, 2, 3), (2, 2, 1, 3), (3, 1, 1, 3), (4, 2, 2, NULL), (5, NULL, 2, 3), (6, 2, 2, 2)", "DELETE FROM {x}_ref WHERE id = 3", "DELETE FROM {x}_ref WHERE id = 2", "UPDATE {x}_ref SET id = 1, name = 'A' WHERE id = 1 RETURNING *", "INSERT INTO {x}_ref VALUES (1, 'AA') ON CONFLICT (id) DO UPDATE SET id = excluded.id, name = excluded.name RETURNING *", "UPDATE {x} SET kept = NULL WHERE event_id = 6", "DELETE FROM {x}_ref WHERE id = 2", "DELETE FROM {x}_ref WHERE id = 1", "SELECT * FROM {x} ORDER BY event_id", "DELETE FROM {x}_ref", "SELECT * FROM {x}_ref ORDER BY id", "DROP TABLE {x}", "DROP TABLE {x}_ref"],
    &[
        "CREATE TABLE {x} (event_id bigint NOT NULL, item int NOT NULL, label varchar(12) DEFAULT 'none', cost numeric(8,2) DEFAULT 1.50, made timestamptz, PRIMARY KEY (event_id, item))",
        "INSERT INTO {x} (event_id, item) VALUES (1, 1), (2, 1), (3, 1), (4, 1)", "SELECT * FROM {x} ORDER BY event_id", "ALTER TABLE {x} ADD COLUMN extra int DEFAULT 7", "SELECT * FROM {x} WHERE event_id = 2",
        "ALTER TABLE {x} RENAME COLUMN label TO tag", "SELECT tag, extra FROM {x} ORDER BY event_id", "ALTER TABLE {x} DROP COLUMN cost", "SELECT * FROM {x} ORDER BY event_id", "SELECT cost FROM {x}", "DROP TABLE {x}", "SELECT * FROM {x}",
    ],
    &["CREATE TABLE {x} (event_id bigint PRIMARY KEY, a int CHECK (a > 0), b text NOT NULL)", "INSERT INTO {x} VALUES (1, 0, 'x')", "INSERT INTO {x} VALUES (1, 1, NULL)", "INSERT INTO {x} VALUES (1, 1, 'x')", "INSERT INTO {x} VALUES (1, 2, 'y')", "CREATE INDEX {x}_a ON {x} (a)", "SELECT * FROM {x} WHERE a = 1", "DROP INDEX {x}_a", "TRUNCATE {x}", "SELECT count(*) FROM {x}", "DROP TABLE {x}"],
    &["CREATE TABLE IF NOT EXISTS {x} (id int PRIMARY KEY, name text)", "CREATE TABLE IF NOT EXISTS {x} (id int)", "CREATE TABLE {x} (id int)", "INSERT INTO {x} VALUES (1, 'a'), (2, 'b') RETURNING *", "INSERT INTO {x} VALUES (1, 'c') ON CONFLICT (id) DO UPDATE SET name = excluded.name RETURNING name", "SELECT * FROM {x} ORDER BY id", "ALTER TABLE {x} RENAME TO {x}_new", "SELECT name FROM {x}_new WHERE id = 1", "DROP TABLE {x}_new", "DROP TABLE IF EXISTS {x}"],
    &["CREATE TABLE {x} (event_id bigint, code text, PRIMARY KEY (event_id, code))", "CREATE UNIQUE INDEX {x}_u ON {x} (event_id, lower(code))", "INSERT INTO {x} VALUES (1, 'A')", "INSERT INTO {x} VALUES (1, 'a')", "ALTER TABLE {x} ALTER COLUMN code SET DEFAULT 'Z'", "INSERT INTO {x} (event_id) VALUES (5)", "SELECT * FROM {x} ORDER BY event_id", "ALTER TABLE {x} ALTER COLUMN code DROP DEFAULT", "INSERT INTO {x} (event_id) VALUES (6)", "DROP TABLE {x}"],
    &["CREATE TABLE {x} (event_id bigint NOT NULL, n int)", "ALTER TABLE {x} ADD CONSTRAINT {x}_positive CHECK (n > 0)", "INSERT INTO {x} VALUES (1, -1)", "INSERT INTO {x} VALUES (1, 1), (2, 2), (1, 1)", "UPDATE {x} SET n = n + 1 WHERE event_id = 1", "SELECT n FROM {x} ORDER BY n", "ALTER TABLE {x} DROP CONSTRAINT {x}_positive", "INSERT INTO {x} VALUES (1, -1)", "DELETE FROM {x} WHERE event_id = 1", "DROP TABLE {x}"],
    &["CREATE TABLE {x} (event_id bigint, e2 int, b bool, f float8, r real, t text, v varchar(4), c char(3), u uuid, y bytea, d date, ts timestamp, tz timestamptz, j json, jb jsonb, n numeric, n2 numeric(6,3), s smallint, PRIMARY KEY (event_id))", "INSERT INTO {x} VALUES (1, 2, true, 1.5, 2.5, 't', 'vvvv', 'c', '00000000-0000-0000-0000-000000000001', '\\x0102', '2026-01-02', '2026-01-02 03:04:05', '2026-01-02 03:04:05+00', '{ }', '{ }', 1.230, 1.2345, 7)", "SELECT * FROM {x} WHERE event_id = 1", "SELECT c || 'x', length(c), v || 'y' FROM {x}", "SELECT * FROM {x} WHERE c = 'c  '", "UPDATE {x} SET n2 = 9999.5 WHERE event_id = 1", "UPDATE {x} SET v = 'toolong' WHERE event_id = 1", "INSERT INTO {x} (event_id) VALUES (2) RETURNING *", "DROP TABLE {x}"],
    &["CREATE TABLE {x} (event_id bigint, id bigserial, t text, PRIMARY KEY (event_id, id))", "INSERT INTO {x} (event_id, t) VALUES (1, 'a'), (2, 'b') RETURNING event_id, t, id > 0", "SELECT event_id, t, id IS NOT NULL FROM {x} ORDER BY event_id", "INSERT INTO {x} (event_id, id, t) VALUES (1, 999999, 'c')", "SELECT max(id) FROM {x} WHERE event_id = 1", "DROP TABLE {x}"],
    &["CREATE TABLE {x} (event_id bigint, id bigint GENERATED ALWAYS AS IDENTITY, t text, PRIMARY KEY (event_id, id))", "INSERT INTO {x} (event_id, t) VALUES (1, 'a') RETURNING event_id, t", "INSERT INTO {x} (event_id, id, t) VALUES (1, 5, 'b')", "SELECT count(*), count(DISTINCT id) FROM {x}", "DROP TABLE {x}"],
];

/// Statements of a transaction on one key, `{k}`; every use within one script is the same key.
#[rustfmt::skip]
pub const TRANSACTION_STEPS: &[&str] = &[
    "INSERT INTO seats (event_id, seat_id, price) VALUES ({k}, {fresh}, 12.5) RETURNING seat_id, status, version", "UPDATE seats SET status = 'held', version = version + 1 WHERE event_id = {k} AND status = 'free' RETURNING seat_id, version",
    "UPDATE seats SET status = 'sold' WHERE event_id = {k} AND seat_id = ANY(ARRAY[1, 2])", "DELETE FROM seats WHERE event_id = {k} AND seat_id = 1", "SELECT seat_id, status FROM seats WHERE event_id = {k}", "SELECT count(*) FROM orders WHERE event_id = {k}",
    "INSERT INTO orders (event_id, order_id, customer, total) VALUES ({k}, {fresh}, 'Ann', 10) ON CONFLICT DO NOTHING", "SELECT name FROM venues WHERE venue_id = 1", "UPDATE events SET on_sale = NOT on_sale WHERE event_id = {k} RETURNING on_sale",
    "SAVEPOINT a", "ROLLBACK TO SAVEPOINT a", "RELEASE SAVEPOINT a", "SAVEPOINT b", "ROLLBACK TO b", "SELECT 1 / 0", "SELECT nope", "INSERT INTO seats (event_id, seat_id, status) VALUES ({k}, {fresh}, 'broken')",
    "INSERT INTO seats (event_id, seat_id) VALUES ({k}, 1)", "SELECT sum(price) FROM seats WHERE event_id = {k}", "SELECT seat_id FROM seats WHERE event_id = {k} ORDER BY seat_id LIMIT 1 FOR UPDATE",
];

pub const TRANSACTION_BEGINS: &[&str] = &[
    "BEGIN",
    "BEGIN",
    "START TRANSACTION",
    "BEGIN ISOLATION LEVEL REPEATABLE READ",
    "BEGIN TRANSACTION ISOLATION LEVEL SERIALIZABLE",
    "BEGIN READ WRITE",
    "BEGIN READ ONLY",
];

pub const TRANSACTION_ENDS: &[&str] = &["COMMIT", "COMMIT", "ROLLBACK", "END", "ABORT", "COMMIT AND NO CHAIN"];
