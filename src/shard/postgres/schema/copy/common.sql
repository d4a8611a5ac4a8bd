-- What all of these queries begin with. They are run with an empty search_path: names of pg_catalog are found without their
-- schema then, and all others are printed with theirs.
WITH
namespaces AS (
    SELECT n.oid, n.nspname
    FROM pg_namespace n
    WHERE n.nspname NOT LIKE 'pg\_%' AND n.nspname NOT IN ('information_schema', 'shardd')
),
members AS (
    SELECT d.classid, d.objid, d.refobjid AS extension
    FROM pg_depend d
    WHERE d.deptype = 'e' AND d.refclassid = 'pg_extension'::regclass
),
-- shardd's own tables are made by itself.
relations AS (
    SELECT c.*, n.nspname, format('%I.%I', n.nspname, c.relname) AS full_name,
        format('%s:%s', 'pg_class'::regclass::oid, c.oid) AS node
    FROM pg_class c
    JOIN namespaces n ON n.oid = c.relnamespace
    WHERE c.relpersistence <> 't'
        AND NOT EXISTS (SELECT FROM members m WHERE m.classid = 'pg_class'::regclass AND m.objid = c.oid)
        AND NOT (n.nspname = 'public' AND c.relname IN ('shardd_kv', 'shardd_kv_idempotency'))
),
types AS (
    SELECT t.*, t.xmin, format_type(t.oid, NULL) AS full_name, format('%s:%s', 'pg_type'::regclass::oid, t.oid) AS node
    FROM pg_type t
    JOIN namespaces n ON n.oid = t.typnamespace
    WHERE NOT EXISTS (SELECT FROM members m WHERE m.classid = 'pg_type'::regclass AND m.objid = t.oid)
),
functions AS (
    SELECT p.*, p.xmin, n.nspname, p.oid::regprocedure::text AS full_name, format('%s:%s', 'pg_proc'::regclass::oid, p.oid) AS node
    FROM pg_proc p
    JOIN namespaces n ON n.oid = p.pronamespace
    WHERE NOT EXISTS (SELECT FROM members m WHERE m.classid = 'pg_proc'::regclass AND m.objid = p.oid)
        -- A range type brings its own.
        AND NOT EXISTS (
            SELECT FROM pg_depend d
            WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'i'
        )
)
