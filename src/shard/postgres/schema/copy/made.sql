-- What this transaction has made, so that it can be taken away again if the shard does not join. A row's xmin is the
-- transaction's own, unless it was changed within a savepoint.
, made AS (
    SELECT CASE c.relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END AS kind,
        c.oid, format('%I.%I', n.nspname, c.relname) AS name, c.xmin
    FROM pg_class c
    JOIN namespaces n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S') AND c.relpersistence <> 't' AND NOT EXISTS (
        SELECT FROM pg_depend d
        WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
            AND (d.deptype = 'e' OR (c.relkind = 'S' AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0))
    )
    UNION ALL
    SELECT CASE t.typtype WHEN 'd' THEN 'DOMAIN' ELSE 'TYPE' END, t.oid, t.full_name, t.xmin
    FROM types t
    LEFT JOIN pg_class c ON c.oid = t.typrelid
    WHERE t.typtype IN ('e', 'd', 'r') OR (t.typtype = 'c' AND c.relkind = 'c')
    UNION ALL
    SELECT 'ROUTINE', f.oid, f.full_name, f.xmin
    FROM functions f
    UNION ALL
    SELECT 'SCHEMA', s.oid, quote_ident(s.nspname), s.xmin
    FROM pg_namespace s
    JOIN namespaces n ON n.oid = s.oid
    WHERE NOT EXISTS (SELECT FROM members m WHERE m.classid = 'pg_namespace'::regclass AND m.objid = s.oid)
    UNION ALL
    SELECT 'EXTENSION', e.oid, quote_ident(e.extname), e.xmin
    FROM pg_extension e
)
