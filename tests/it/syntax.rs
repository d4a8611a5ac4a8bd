//! Valid Postgres, in all the forms that its manual's synopses give: each is answered as by one Postgres over Postgres shards,
//! or refused in words that say what it is. None is a syntax error.

use std::panic::AssertUnwindSafe;

use crate::support::both::{agree, told};
use crate::support::{Answer, Both};

/// Reads, on one shard and over several.
const READS: &[&str] = &[
    // Operators and literals.
    "SELECT @ -5, @ rank, |/ 25.0, ||/ 27.0 FROM events WHERE event_id = 3",
    "SELECT 0.5, .5, 5., 1e3, -1.5e-2",
    "SELECT event_id, @ (rank - 2), rank # 1, ~ rank, rank << 2 FROM events ORDER BY 1",
    "SELECT event_id FROM events WHERE rank OPERATOR(pg_catalog.=) 2 ORDER BY 1",
    "SELECT U&'d\\0061t', U&'d!0061t' UESCAPE '!', E'a\\tb', $q$it's$q$, B'101', X'1F'",
    "SELECT 'ab'\n'cd', N'nat'",
    "SELECT interval '1' year, interval '2-3' year to month, interval(3) '1.23456 s', interval '90' minute",
    "SELECT date '2026-01-01', time '10:00', timestamp(0) '2026-01-01 10:00:00.7', timestamptz '2026-01-01 00:00+02'",
    "SELECT time with time zone '10:00+01', timestamp without time zone '2026-01-01', double precision '1.5', bit '101', char 'x'",
    "SELECT cast(5 AS numeric(4,1)), 5::float4, '1'::bit(3), CAST('a' AS character varying(3)), 'x'::pg_catalog.text",
    "SELECT (5)::int4::text::varchar(1), float8 '2', int2 '7', bool 'yes'",
    "SELECT rank IS TRUE FROM (SELECT rank > 1 AS rank FROM events) x ORDER BY 1",
    "SELECT count(*) FROM events WHERE venue_id ISNULL OR rank NOTNULL AND venue_id IS NOT NULL",
    "SELECT count(*) FROM events WHERE (rank > 1) IS NOT UNKNOWN",
    "SELECT count(*) FROM events WHERE event_id BETWEEN SYMMETRIC 9 AND 4",
    "SELECT count(*) FROM events WHERE event_id NOT BETWEEN SYMMETRIC 9 AND 4 AND rank = 1",
    "SELECT count(*) FROM events WHERE event_id BETWEEN ASYMMETRIC 4 AND 9",
    "SELECT title FROM events WHERE event_id BETWEEN SYMMETRIC 3 + 0 AND 3 AND title LIKE 'e%'",
    "SELECT count(*) FROM events WHERE title SIMILAR TO 'event (1|2)' AND title NOT SIMILAR TO 'x%' ESCAPE '!'",
    "SELECT count(*) FROM events WHERE title LIKE 'event!_1' ESCAPE '!' OR title NOT ILIKE 'EVENT%'",
    "SELECT count(*) FROM events WHERE title LIKE ANY (ARRAY['event 1', '%2']) AND title NOT LIKE ALL (ARRAY['x'])",
    "SELECT count(*) FROM events WHERE title ^@ 'ev' AND title ~* 'EV' AND title !~ 'x' AND starts_with(title, 'e')",
    "SELECT '2026-01-01'::timestamptz AT TIME ZONE 'UTC', timestamp '2026-01-01' AT TIME ZONE interval '1 hour'",
    "SELECT (date '2026-01-01', date '2026-02-01') OVERLAPS (date '2026-01-15', date '2026-03-01')",
    "SELECT ROW(1, 'a') = ROW(1, 'a'), (1, 2) < (1, 3), ROW(1, NULL) IS NULL, ROW(1, 2) IS DISTINCT FROM ROW(1, 3)",
    "SELECT 2 = SOME (ARRAY[1, 2]), 2 > ALL ('{1}'::int[]), 1 <> ANY (SELECT rank FROM events WHERE event_id = 1)",
    "SELECT ARRAY[1, 2] || 3, (ARRAY[[1, 2], [3, 4]])[2][1], (ARRAY[1, 2, 3])[2:], (ARRAY[1, 2, 3])[:2], ARRAY[]::int[], '{1,2}'::int[] @> ARRAY[1]",
    "SELECT ('{\"a\": [1, 2]}'::jsonb)['a'][1], '{\"a\": 1}'::json -> 'a', '[1, 2]'::jsonb @? '$[*] ? (@ > 1)', '{\"a\": 1}'::jsonb ?| ARRAY['a'], '{\"a\": 1}'::jsonb #- '{a}'",
    "SELECT extract(epoch FROM interval '1 hour'), date_part('dow', date '2026-01-01'), extract(isodow FROM date '2026-01-01')",
    "SELECT position('b' IN 'abc'), substring('abc' FROM 2), substring('abc' FROM 2 FOR 1), substring('abc' FOR 2), substring('abc' FROM '.b'), substring('foobar' SIMILAR '%#\"o_b#\"%' ESCAPE '#')",
    "SELECT overlay('abcdef' PLACING 'x' FROM 2 FOR 3), overlay('abc' PLACING 'x' FROM 2), trim(BOTH 'x' FROM 'xax'), trim(LEADING FROM ' a'), trim('  a '), trim(TRAILING 'a' FROM 'ba'), trim('x' FROM 'xb'), trim(BOTH FROM ' b ')",
    "SELECT normalize('a', NFC), 'a' IS NORMALIZED, 'a' IS NFC NORMALIZED, 'a' IS NOT NFKD NORMALIZED",
    "SELECT collation for ('a' COLLATE \"C\"), 'a' COLLATE \"C\" < 'b', 'a' COLLATE pg_catalog.\"C\"",
    "SELECT make_interval(days => 3), make_interval(hours := 2), concat_ws(',', VARIADIC ARRAY['a', 'b'])",
    "SELECT coalesce(NULL, 1), nullif(1, 2), greatest(1, 2), least('a', 'b'), num_nulls(1, NULL)",
    "SELECT current_role, current_user, session_user, user, current_catalog = current_database(), current_schema",
    "SELECT xmlelement(name a, xmlattributes(1 AS b), 'c')::text",
    "SELECT xmlforest('a' AS b)::text",
    "SELECT xmlconcat('<a/>', '<b/>')::text, xmlpi(name php)::text",
    "SELECT xmlparse(CONTENT '<a/>')::text, xmlserialize(CONTENT '<a/>'::xml AS text)",
    "SELECT '<a/>'::xml IS DOCUMENT, '<a/>'::xml IS NOT DOCUMENT",
    "SELECT event_id, xmlelement(name e, title)::text FROM events ORDER BY 1 LIMIT 3",
    "SELECT treat(1 AS int)",
    "SELECT CASE rank WHEN 1 THEN 'a' WHEN 2 THEN 'b' ELSE 'c' END, CASE WHEN rank > 1 THEN 1 END FROM events ORDER BY event_id",
    "SELECT (SELECT e FROM events e WHERE event_id = 3).title",
    "SELECT (e).title, (e).* FROM events e WHERE event_id = 3",
    "SELECT (jsonb_each_text('{\"a\": 1, \"b\": 2}')).*",
    "SELECT (pg_catalog.json_each('{\"a\": 1}')).key, (ROW(1, 2)).f1",
    "SELECT e.* FROM events AS e (k, v) WHERE k = 3",
    "SELECT title \"Title\", rank AS \"select\", price amount, day AS day, event_id AS value FROM events WHERE event_id = 3",
    "SELECT rank AS year, title label, price key FROM events WHERE event_id = 3",
    // FROM.
    "SELECT * FROM ROWS FROM (generate_series(1, 2), unnest(ARRAY['a'])) AS t (n, l)",
    "SELECT * FROM ROWS FROM (generate_series(1, 2), jsonb_to_recordset('[{\"a\": 1}]') AS (a int)) WITH ORDINALITY",
    "SELECT e.event_id, x.n FROM events e, ROWS FROM (generate_series(1, e.rank)) AS x (n) WHERE e.event_id = 3 ORDER BY 2",
    "SELECT count(*) FROM events e, LATERAL ROWS FROM (generate_series(1, e.rank)) AS x (n)",
    "SELECT * FROM jsonb_to_recordset('[{\"a\": 1, \"b\": \"x\"}]') AS t (a int, b text)",
    "SELECT * FROM json_to_record('{\"a\": 1}') AS (a int)",
    "SELECT * FROM generate_series(1, 2) WITH ORDINALITY",
    "SELECT * FROM generate_series(1, 3) AS n WHERE n > 1",
    "SELECT * FROM unnest(ARRAY[1, 2], ARRAY['a', 'b']) AS t (a, b)",
    "SELECT * FROM (VALUES (1, 'a'), (2, 'b')) AS t (n, l) ORDER BY 1",
    "SELECT count(*) FROM ONLY (events) WHERE event_id = 3",
    "SELECT count(*) FROM events *",
    "SELECT event_id FROM events TABLESAMPLE BERNOULLI (100) REPEATABLE (7) WHERE event_id = 3",
    "SELECT count(*) FROM events e CROSS JOIN venues v",
    "SELECT count(*) FROM (events e JOIN seats s USING (event_id)) JOIN venues v ON v.venue_id = e.venue_id",
    "SELECT count(*) FROM (events e JOIN seats s USING (event_id)) AS j WHERE j.rank = 1",
    "SELECT count(*) FROM events NATURAL JOIN seats",
    "SELECT count(*) FROM events NATURAL FULL OUTER JOIN seats",
    // Clauses.
    "TABLE events ORDER BY event_id LIMIT 2",
    "(TABLE venues) ORDER BY 1",
    "(SELECT event_id FROM events) ORDER BY 1 LIMIT 2",
    "((SELECT event_id FROM events WHERE event_id = 3))",
    "VALUES (1, 'a'), (2, 'b') ORDER BY 1 DESC LIMIT 1",
    "SELECT ALL rank FROM events ORDER BY event_id LIMIT 2",
    "SELECT DISTINCT ON (rank, venue_id IS NULL) rank FROM events ORDER BY rank, venue_id IS NULL, event_id",
    "SELECT FROM events",
    "SELECT WHERE false",
    "SELECT rank FROM events GROUP BY rank ORDER BY rank USING >",
    "SELECT event_id FROM events ORDER BY title COLLATE \"C\" DESC NULLS LAST, event_id LIMIT 3",
    "SELECT title FROM events ORDER BY title USING <, event_id LIMIT 3",
    "SELECT max(event_id) FROM events GROUP BY ()",
    "SELECT rank, count(*) FROM events GROUP BY DISTINCT rank ORDER BY 1",
    "SELECT rank, venue_id, count(*) FROM events GROUP BY GROUPING SETS ((rank, venue_id), (rank), ()) ORDER BY 1, 2, 3",
    "SELECT rank, venue_id, count(*) FROM events GROUP BY ALL ROLLUP (rank, venue_id) ORDER BY 1, 2, 3",
    "SELECT rank, venue_id, count(*) FROM events GROUP BY DISTINCT ROLLUP (rank), CUBE (rank, venue_id) ORDER BY 1, 2, 3",
    "SELECT grouping(rank), rank, sum(price) FROM events GROUP BY ROLLUP (rank) HAVING sum(price) > 40 ORDER BY 1, 2",
    "SELECT event_id FROM events ORDER BY event_id FETCH NEXT 2 ROWS ONLY",
    "SELECT event_id FROM events ORDER BY event_id OFFSET 3 ROWS FETCH FIRST (1 + 1) ROWS ONLY",
    "SELECT event_id FROM events ORDER BY event_id OFFSET 1 ROW FETCH FIRST ROW ONLY",
    "SELECT price FROM events ORDER BY price FETCH FIRST 3 ROWS WITH TIES",
    "SELECT event_id FROM events ORDER BY event_id LIMIT ALL",
    "SELECT event_id FROM events OFFSET 24 LIMIT 5",
    "SELECT event_id FROM events WHERE event_id = 3 FOR NO KEY UPDATE",
    "SELECT event_id FROM events WHERE event_id = 3 FOR KEY SHARE OF events NOWAIT",
    "SELECT event_id FROM events e WHERE event_id = 3 FOR UPDATE OF e SKIP LOCKED",
    "SELECT event_id FROM events e JOIN seats s USING (event_id) WHERE event_id = 3 ORDER BY seat_id FOR SHARE OF e FOR UPDATE OF s",
    "SELECT event_id FROM events WHERE event_id = 3 FOR READ ONLY",
    "SELECT event_id FROM events WHERE event_id IN (1, 2, 3) ORDER BY 1 FOR NO KEY UPDATE",
    "SELECT event_id FROM events WHERE event_id = 3 FOR UPDATE LIMIT 1",
    // WITH.
    "WITH a AS NOT MATERIALIZED (SELECT 1 AS n) SELECT * FROM a",
    "WITH a (x, y) AS (VALUES (1, 2)), b AS (TABLE a) SELECT * FROM b",
    "WITH RECURSIVE t (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM t WHERE n < 3) SELECT sum(n) FROM t",
    "WITH RECURSIVE t (n, m) AS (VALUES (1, 2) UNION SELECT n + 1, m FROM t WHERE n < 3) SEARCH DEPTH FIRST BY n SET o SELECT n, o FROM t ORDER BY o",
    "WITH RECURSIVE t (n) AS (VALUES (1) UNION ALL SELECT 3 - n FROM t) CYCLE n SET is_cycle USING path SELECT n, is_cycle, path FROM t ORDER BY 3",
    "WITH RECURSIVE t (n) AS (VALUES (1) UNION ALL SELECT 3 - n FROM t) CYCLE n SET c TO 'Y' DEFAULT 'N' USING p SELECT n, c FROM t ORDER BY p",
    // Aggregates and windows.
    "SELECT count(ALL rank), count(DISTINCT rank), string_agg(ALL title, ',' ORDER BY title DESC, event_id) FROM events",
    "SELECT percentile_cont(ARRAY[0.25, 0.5]) WITHIN GROUP (ORDER BY price), rank(2) WITHIN GROUP (ORDER BY rank) FROM events",
    "SELECT mode() WITHIN GROUP (ORDER BY rank DESC) FILTER (WHERE rank < 3) FROM events",
    "SELECT event_id, sum(rank) OVER (ORDER BY event_id ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING EXCLUDE CURRENT ROW) FROM events ORDER BY 1",
    "SELECT event_id, sum(rank) OVER (ORDER BY title GROUPS BETWEEN 1 PRECEDING AND CURRENT ROW EXCLUDE TIES) FROM events WHERE event_id = 3",
    "SELECT event_id, sum(rank) OVER (ORDER BY rank RANGE BETWEEN 1 PRECEDING AND 1 FOLLOWING EXCLUDE GROUP) FROM events ORDER BY 1",
    "SELECT event_id, sum(rank) OVER (ORDER BY rank, event_id ROWS UNBOUNDED PRECEDING EXCLUDE NO OTHERS) FROM events ORDER BY 1",
    "SELECT event_id, sum(rank) OVER (w RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW), first_value(rank) OVER w FROM events WINDOW w AS (ORDER BY day, event_id), v AS (w) ORDER BY 1",
    "SELECT event_id, sum(rank) OVER (ORDER BY day RANGE BETWEEN interval '1 day' PRECEDING AND CURRENT ROW) FROM events ORDER BY 1",
    "SELECT nth_value(title, 2) OVER (PARTITION BY rank ORDER BY event_id), event_id FROM events ORDER BY 2",
    "SELECT event_id, count(*) FILTER (WHERE rank = 1) OVER (PARTITION BY venue_id) FROM events ORDER BY 1",
    "SELECT json_object_agg(event_id, title ORDER BY event_id) FROM events WHERE event_id < 4",
    "SELECT json_agg(e ORDER BY event_id) FROM events e WHERE event_id = 3",
];

/// Writes, each from the same rows.
const WRITES: &[&str] = &[
    "INSERT INTO events AS e DEFAULT VALUES",
    "INSERT INTO notes (event_id) VALUES (90), (91 + 1) RETURNING *, event_id AS \"Key\"",
    "INSERT INTO notes VALUES (90, DEFAULT, DEFAULT, NULL, true)",
    "INSERT INTO notes (event_id, body) VALUES (90, 'a') ON CONFLICT (event_id) WHERE true DO NOTHING",
    "INSERT INTO notes (event_id, body) VALUES (1, 'a'), (90, 'b'), (2, 'c'), (91, 'd') ON CONFLICT (event_id) WHERE event_id > 0 DO UPDATE SET body = excluded.body || '!' RETURNING body",
    "INSERT INTO arrays (event_id, a[1], b[2]) VALUES (90, 1, 2), (91, 3, 4), (92, 5, 6)",
    "INSERT INTO notes (event_id, body) VALUES (90, 'a') ON CONFLICT ON CONSTRAINT notes_pkey DO UPDATE SET (body, score) = (excluded.body, 2) WHERE notes.score > 1",
    "INSERT INTO notes (event_id, body) VALUES (90, 'a') ON CONFLICT (event_id) DO UPDATE SET body = DEFAULT, score = (SELECT 3) RETURNING body",
    "INSERT INTO notes (event_id, body) VALUES (90, 'a') ON CONFLICT (event_id COLLATE \"C\" int8_ops) DO NOTHING",
    "INSERT INTO notes (event_id, body) (SELECT venue_id + 50, name FROM venues) RETURNING event_id",
    "INSERT INTO notes (event_id, body) WITH v AS (SELECT * FROM venues) SELECT venue_id + 50, name FROM v",
    "UPDATE ONLY events SET rank = 9 WHERE event_id = 3",
    "UPDATE events * SET rank = 9 WHERE event_id = 3 RETURNING events.*",
    "UPDATE events AS e SET (rank, title) = ROW(8, 'x') WHERE e.event_id = 3",
    "UPDATE events SET (rank, title) = (SELECT 7, 'y') WHERE event_id = 3",
    "UPDATE events SET rank = rank + 1 WHERE event_id BETWEEN SYMMETRIC 5 AND 2",
    "UPDATE notes SET tags['a'] = '1' WHERE event_id = 1",
    "UPDATE arrays SET a[2] = 5, b[1:2] = '{7,8}' WHERE event_id = 1",
    "UPDATE arrays SET a[2] = 5",
    "DELETE FROM ONLY seats WHERE event_id = 3",
    "DELETE FROM seats AS s USING events e WHERE e.event_id = s.event_id AND e.rank = 1 AND s.event_id IN (1, 5)",
    "DELETE FROM seats * WHERE event_id = 3 RETURNING seat_id AS n",
    "TRUNCATE seats",
    "TRUNCATE TABLE ONLY seats, notes CONTINUE IDENTITY RESTRICT",
    "TRUNCATE seats * RESTART IDENTITY CASCADE",
];

/// Changes of the schema, each after those before it.
const DDL: &[&str] = &[
    "CREATE TABLE a1 (event_id bigint PRIMARY KEY USING INDEX TABLESPACE pg_default, b text COLLATE \"C\" NOT NULL DEFAULT 'x' CHECK (b <> ''), c int GENERATED ALWAYS AS (length(b)) STORED)",
    "CREATE TABLE a2 (event_id bigint, n int, CONSTRAINT p PRIMARY KEY (event_id, n) INCLUDE (m), m int, UNIQUE (event_id, m)) WITH (fillfactor = 70)",
    "CREATE UNLOGGED TABLE a3 (event_id bigint PRIMARY KEY, d numeric(4, 1)[] DEFAULT '{}', e interval day to second(3), f bit varying(5), g timestamp(3) with time zone)",
    "CREATE TABLE a4 (LIKE a1 INCLUDING ALL EXCLUDING CONSTRAINTS)",
    "CREATE TABLE a5 (event_id bigint PRIMARY KEY, x int, FOREIGN KEY (event_id) REFERENCES a1 (event_id) MATCH SIMPLE ON DELETE CASCADE ON UPDATE NO ACTION DEFERRABLE INITIALLY DEFERRED)",
    "CREATE TABLE a6 (event_id bigint NOT NULL, at date NOT NULL, PRIMARY KEY (event_id, at)) PARTITION BY RANGE (at)",
    "CREATE TABLE a6_1 PARTITION OF a6 FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')",
    "CREATE TABLE a6_d PARTITION OF a6 DEFAULT",
    "CREATE TABLE a7 (event_id bigint PRIMARY KEY, n int NOT NULL, s smallserial)",
    "CREATE TABLE a9 (event_id bigint NOT NULL) USING heap WITHOUT OIDS TABLESPACE pg_default",
    "CREATE TABLE b3 (event_id bigint NOT NULL, c text COMPRESSION pglz)",
    "CREATE TYPE mood AS ENUM ('sad', 'ok')",
    "ALTER TYPE mood ADD VALUE IF NOT EXISTS 'happy' AFTER 'ok'",
    "ALTER TYPE mood RENAME VALUE 'sad' TO 'blue'",
    "CREATE TYPE pair AS (a int, b text)",
    "ALTER TYPE pair ADD ATTRIBUTE c int, DROP ATTRIBUTE b",
    "CREATE TYPE span AS RANGE (subtype = float8, subtype_diff = float8mi)",
    "CREATE DOMAIN positive AS int NOT NULL DEFAULT 1 CONSTRAINT is_positive CHECK (VALUE > 0)",
    "CREATE SEQUENCE s1 AS int INCREMENT BY 2 MINVALUE 1 MAXVALUE 100 START WITH 5 CACHE 1 NO CYCLE OWNED BY NONE",
    "CREATE INDEX ON events (rank)",
    "CREATE INDEX IF NOT EXISTS i1 ON events USING btree (title text_pattern_ops DESC NULLS LAST, lower(title) COLLATE \"C\") INCLUDE (price) WHERE rank > 0",
    "CREATE UNIQUE INDEX i2 ON events (event_id, rank) NULLS NOT DISTINCT WITH (fillfactor = 80) TABLESPACE pg_default",
    "CREATE INDEX i3 ON ONLY notes USING gin (tags jsonb_path_ops)",
    "CREATE INDEX i4 ON events USING hash (title)",
    "CREATE INDEX i5 ON events ((rank + 1), (title || 'x'))",
    "CREATE INDEX i6 ON events USING brin (day) WITH (pages_per_range = 4)",
    "ALTER INDEX i1 RENAME TO i1b",
    "ALTER INDEX i1b SET (fillfactor = 60)",
    "ALTER INDEX IF EXISTS i6 RESET (pages_per_range)",
    "ALTER INDEX i5 ALTER COLUMN 1 SET STATISTICS 100",
    "ALTER TABLE ONLY a1 ADD COLUMN IF NOT EXISTS d int DEFAULT 3 NOT NULL CHECK (d > 0)",
    "ALTER TABLE a1 ADD e text, ADD COLUMN f int[] DEFAULT ARRAY[1], DROP COLUMN IF EXISTS nope",
    "ALTER TABLE a1 ALTER d TYPE bigint USING d * 2, ALTER COLUMN e SET DEFAULT 'y', ALTER e SET NOT NULL",
    "ALTER TABLE a1 ALTER e DROP NOT NULL, ALTER e DROP DEFAULT, ALTER COLUMN e SET DATA TYPE varchar(9) COLLATE \"C\"",
    "ALTER TABLE a1 ALTER COLUMN b SET STATISTICS 200, ALTER b SET STORAGE EXTERNAL, ALTER b SET (n_distinct = 5), ALTER b RESET (n_distinct)",
    "ALTER TABLE counted ALTER COLUMN n SET GENERATED BY DEFAULT",
    "ALTER TABLE a7 ALTER COLUMN n DROP IDENTITY IF EXISTS",
    "ALTER TABLE a1 ALTER COLUMN c DROP EXPRESSION IF EXISTS",
    "ALTER TABLE a1 ADD CONSTRAINT big CHECK (f IS NOT NULL) NOT VALID",
    "ALTER TABLE a1 VALIDATE CONSTRAINT big",
    "ALTER TABLE a1 RENAME CONSTRAINT big TO bigger",
    "ALTER TABLE a1 DROP CONSTRAINT IF EXISTS bigger RESTRICT",
    "ALTER TABLE a5 ALTER CONSTRAINT a5_event_id_fkey NOT DEFERRABLE",
    "CREATE UNIQUE INDEX a2_u2 ON a2 (event_id, n, m)",
    "ALTER TABLE a2 ADD CONSTRAINT u2 UNIQUE USING INDEX a2_u2 DEFERRABLE",
    "ALTER TABLE a2 CLUSTER ON p",
    "ALTER TABLE a2 SET WITHOUT CLUSTER",
    "ALTER TABLE a2 SET (autovacuum_enabled = false, toast.autovacuum_enabled = false)",
    "ALTER TABLE a2 RESET (autovacuum_enabled)",
    "ALTER TABLE a3 SET LOGGED",
    "ALTER TABLE a3 REPLICA IDENTITY FULL",
    "ALTER TABLE a3 OWNER TO CURRENT_USER",
    "ALTER TABLE a3 DISABLE TRIGGER USER",
    "ALTER TABLE a3 ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
    "ALTER TABLE a3 DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY",
    "ALTER TABLE a6 DETACH PARTITION a6_d",
    "ALTER TABLE a6 ATTACH PARTITION a6_d DEFAULT",
    "ALTER TABLE a3 RENAME d TO d2",
    "ALTER TABLE IF EXISTS a3 RENAME TO a3b",
    "ALTER TABLE a3b SET TABLESPACE pg_default",
    "COMMENT ON TABLE a1 IS 'one'",
    "COMMENT ON COLUMN a1.b IS NULL",
    "COMMENT ON INDEX i2 IS 'x'",
    "COMMENT ON CONSTRAINT p ON a2 IS 'key'",
    "COMMENT ON TYPE mood IS 'feelings'",
    "CREATE SCHEMA IF NOT EXISTS other",
    "CREATE SCHEMA third AUTHORIZATION CURRENT_USER",
    "CREATE EXTENSION IF NOT EXISTS plpgsql WITH SCHEMA pg_catalog",
    "CREATE VIEW v1 (k, t) WITH (security_barrier) AS SELECT event_id, title FROM events WITH CHECK OPTION",
    "CREATE OR REPLACE RECURSIVE VIEW v2 (n) AS VALUES (1) UNION ALL SELECT n + 1 FROM v2 WHERE n < 3",
    "DROP INDEX IF EXISTS i4, i5 CASCADE",
    "DROP TABLE IF EXISTS a5, a4 RESTRICT",
    "DROP SEQUENCE s1",
    "DROP TYPE IF EXISTS span CASCADE",
    "DROP DOMAIN positive",
    "DROP SCHEMA IF EXISTS other2 CASCADE",
    "DROP VIEW IF EXISTS v1, v2",
];

/// Valid statements that are refused, and what the refusal names.
const REFUSED: &[(&str, &str)] = &[
    ("SELECT count(*) FROM ONLY events", "ONLY"),
    ("SELECT event_id FROM events TABLESAMPLE SYSTEM (100) ORDER BY event_id", "TABLESAMPLE"),
    ("SELECT x.event_id FROM events e JOIN seats s USING (event_id) AS x ORDER BY 1 LIMIT 2", "the columns of USING"),
    (
        "SELECT * FROM xmltable('//a' PASSING CAST('<r><a>1</a></r>' AS xml) COLUMNS n int PATH '.', o FOR ORDINALITY)",
        "this kind of table in FROM",
    ),
    ("CREATE TABLE IF NOT EXISTS a4 (event_id bigint)", "takes NULL"),
    ("CREATE TABLE a8 (event_id bigint, r int4range, EXCLUDE USING gist (r WITH &&))", "takes NULL"),
    ("CREATE TABLE b1 AS SELECT event_id, title FROM events WHERE event_id = 3", "CREATE TABLE ... AS"),
    // It would be a reference table, with other rows on each shard.
    ("CREATE TABLE b1 AS SELECT title FROM events", "CREATE TABLE ... AS"),
    ("CREATE TABLE b1 AS WITH e AS (SELECT count(*) FROM public.events) TABLE e", "CREATE TABLE ... AS"),
    ("CREATE TABLE b1 AS SELECT random() AS r", "CREATE TABLE ... AS"),
    ("CREATE TABLE b2 (event_id, t) AS TABLE events WITH NO DATA", "CREATE TABLE"),
    (
        "CREATE TABLE a7 (event_id bigint PRIMARY KEY, n int GENERATED BY DEFAULT AS IDENTITY (START WITH 10 INCREMENT BY 2 CACHE 1), s smallserial)",
        "identity column with options",
    ),
    ("ALTER DOMAIN positive DROP NOT NULL", "ALTER DOMAIN"),
    ("ALTER DOMAIN positive ADD CONSTRAINT small CHECK (VALUE < 100) NOT VALID", "ALTER DOMAIN"),
    ("ALTER SCHEMA other RENAME TO other2", "ALTER SCHEMA"),
    ("CREATE STATISTICS st (dependencies) ON rank, venue_id FROM events", "CREATE STATISTICS"),
    (
        "CREATE FUNCTION one(x int DEFAULT 1, VARIADIC y int[] = '{}') RETURNS int LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT 1 $$",
        "CREATE FUNCTION",
    ),
    ("CREATE OR REPLACE PROCEDURE nothing() LANGUAGE plpgsql AS $$ BEGIN NULL; END $$", "CREATE PROCEDURE"),
    (
        "CREATE TRIGGER t1 BEFORE UPDATE OF rank ON events FOR EACH ROW WHEN (OLD.rank IS DISTINCT FROM NEW.rank) EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        "CREATE TRIGGER",
    ),
    ("CREATE RULE r1 AS ON UPDATE TO a9 DO INSTEAD NOTHING", "CREATE RULE"),
    ("CREATE MATERIALIZED VIEW m1 AS SELECT 1 AS n WITH NO DATA", "CREATE MATERIALIZED"),
    ("REFRESH MATERIALIZED VIEW m1", "REFRESH"),
    ("CREATE POLICY pol ON a1 FOR SELECT TO PUBLIC USING (true)", "CREATE POLICY"),
    ("CREATE AGGREGATE total (int) (sfunc = int4pl, stype = int)", "CREATE AGGREGATE"),
    ("CREATE OPERATOR === (leftarg = int, rightarg = int, function = int4eq)", "CREATE OPERATOR"),
    ("CREATE CAST (pair AS text) WITH INOUT", "CREATE CAST"),
    ("CREATE COLLATION german (provider = libc, locale = 'C')", "CREATE COLLATION"),
    ("CREATE ROLE somebody NOLOGIN", "CREATE ROLE"),
    ("GRANT SELECT (b), INSERT ON a1 TO PUBLIC", "GRANT"),
    ("REVOKE ALL ON TABLE a1 FROM PUBLIC", "GRANT/REVOKE"),
    ("ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO PUBLIC", "ALTER DEFAULT"),
    ("REINDEX TABLE a1", "maintenance"),
    ("ANALYZE events (rank, title)", "maintenance"),
    ("CLUSTER a2 USING p", "maintenance"),
    ("LOCK TABLE ONLY events IN ACCESS SHARE MODE NOWAIT", "LOCK TABLE"),
    ("DO $$ BEGIN PERFORM 1; END $$", "DO"),
    ("DO LANGUAGE plpgsql 'BEGIN END'", "DO"),
    ("CALL nothing()", "CALL"),
    ("SECURITY LABEL ON TABLE a1 IS NULL", "SECURITY"),
    ("SET CONSTRAINTS ALL IMMEDIATE", "SET CONSTRAINTS"),
    ("DROP STATISTICS IF EXISTS st", "DROP STATISTICS"),
    ("DROP FUNCTION IF EXISTS one(int, int[])", "DROP FUNCTION"),
    ("DROP TRIGGER IF EXISTS t1 ON events", "DROP TRIGGER"),
    (
        "SELECT title FROM events e WHERE event_id IN (SELECT (e).event_id FROM events e WHERE (SELECT (f).* FROM seats f LIMIT 1) IS NULL)",
        "(...).*",
    ),
];

fn start() -> Both {
    let mut both = Both::start_with(true, "");
    both.run("CREATE TABLE counted (event_id bigint, n int GENERATED ALWAYS AS IDENTITY, PRIMARY KEY (event_id, n))");
    both.run("CREATE TABLE arrays (event_id bigint PRIMARY KEY, a int[], b int[])");
    both.run("INSERT INTO arrays VALUES (1, '{1,2,3}', '{4,5}'), (2, NULL, '{}')");
    both.run("INSERT INTO notes (event_id) VALUES (1), (2)");
    both
}

/// Those of the statements that are not answered alike.
fn disagreed(both: &mut Both, statements: &[&'static str], alike: impl Fn(&mut Both, &str)) -> Vec<&'static str> {
    let mut left = statements.to_vec();
    left.retain(|statement| std::panic::catch_unwind(AssertUnwindSafe(|| alike(both, statement))).is_err());
    left
}

#[test]
fn reads_in_every_form_are_answered() {
    let mut both = start();
    assert_eq!(disagreed(&mut both, READS, |both, statement| both.agree_on(statement)), [""; 0]);
}

#[test]
fn writes_in_every_form_are_done() {
    let mut both = start();
    let alike = |both: &mut Both, statement: &str| {
        both.run("BEGIN");
        let (expected, got) = (both.expected.query(statement), both.got.query(statement));
        let rows = "SELECT * FROM arrays ORDER BY 1";
        let sorted = |answer: &Answer| {
            let mut rows = answer.rows.clone();
            rows.sort();
            rows
        };
        let same = (told(&got), sorted(&got), &got.tag) == (told(&expected), sorted(&expected), &expected.tag);
        let left_same = got.error.is_some() || {
            both.agree_on_rows(statement);
            both.got.query(rows).texts() == both.expected.query(rows).texts()
        };
        both.run("ROLLBACK");
        assert!(same && left_same, "{statement}: {got:?}\n{expected:?}");
    };
    assert_eq!(disagreed(&mut both, WRITES, alike), [""; 0]);
}

#[test]
fn changes_of_the_schema_in_every_form_are_made_on_every_shard() {
    let mut both = start();
    let alike = |both: &mut Both, statement: &str| {
        let (expected, got) = (both.expected.query(statement), both.got.query(statement));
        assert_eq!(told(&expected), None, "it is valid: {statement}");
        agree(statement, &expected, &got);
    };
    assert_eq!(disagreed(&mut both, DDL, alike), [""; 0]);
    both.run("CREATE TABLE b4 AS SELECT venue_id, upper(name) AS name FROM venues");
    both.agree_on("SELECT * FROM b4 ORDER BY 1");
    let names = "SELECT string_agg(relname || ' ' || relkind::text, ' ' ORDER BY relname) FROM pg_class \
                 WHERE relnamespace = 'public'::regnamespace AND relname !~ '^(shardd|kv_)'";
    let expected = both.expected.query(names).value();
    for shard in both.shardd.shard_names() {
        assert_eq!(both.postgres.client_of(&shard).query(names).value(), expected, "{shard}");
    }
}

#[test]
fn what_is_refused_is_named() {
    let mut both = start();
    for (statement, words) in REFUSED {
        let refused = both.got.query(statement);
        let error = refused.error.unwrap_or_else(|| panic!("{statement} is answered"));
        assert_eq!(error.sqlstate(), "0A000", "{statement}: {error:?}");
        assert!(error.message().contains(words) && !error.hint().is_empty(), "{statement}: {error:?}");
    }
}

#[test]
fn syntax_errors_stay_what_they_are() {
    let mut both = start();
    for statement in [
        "SELECT event_id FROM events WHERE event_id BETWEEN SYMMETRIC 1",
        "SELECT sum(rank) OVER (ORDER BY rank EXCLUDE) FROM events",
        "ALTER TABLE events NONSENSE",
        "CREATE INDEX ON events USING btree (title) WHATEVER",
        "CREATE TABLE nothing (event_id bigint PRIMARY KEY) NONSENSE",
        "SELECT * FROM ONLY",
    ] {
        both.agree_on(statement);
    }
}

/// What the parser would take for a table-valued function, whose rows no shard has.
#[test]
fn only_in_parentheses_is_no_function() {
    let mut both = start();
    both.agree_on("SELECT count(*) FROM ONLY (events) WHERE event_id = 3");
    both.agree_on("SELECT count(*) FROM ONLY (public.events) AS e WHERE e.event_id = 3");
    assert_eq!(both.got.query("SELECT count(*) FROM ONLY (events)").sqlstate(), "0A000");
}
