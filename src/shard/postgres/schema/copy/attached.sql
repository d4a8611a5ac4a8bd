-- What belongs to tables: constraints, indexes, rules, triggers, policies, statistics; and comments.
SELECT 'object' AS what, CASE k.contype WHEN 'c' THEN '58' WHEN 'f' THEN '66' ELSE '60' END AS phase,
    format('%s:%s', 'pg_constraint'::regclass::oid, k.oid) AS node, format('constraint %I on %s', k.conname, c.full_name) AS label,
    concat_ws('; ',
        format('ALTER TABLE %s%s ADD CONSTRAINT %I %s', CASE WHEN k.contype IN ('p', 'u', 'x') THEN 'ONLY ' END, c.full_name,
            k.conname, pg_get_constraintdef(k.oid)),
        (
            SELECT format('ALTER INDEX %s SET (%s)', x.full_name, string_agg(
                format('%s=%L', split_part(o, '=', 1), substr(o, strpos(o, '=') + 1)), ', '))
            FROM relations x, unnest(x.reloptions) AS o
            WHERE x.oid = k.conindid AND k.contype IN ('p', 'u', 'x')
            GROUP BY x.full_name
        )) AS statement
FROM pg_constraint k
JOIN relations c ON c.oid = k.conrelid
-- Parts of a partitioned table's foreign key, and what a child has from its parent, come along.
WHERE k.contype IN ('p', 'u', 'x') OR (k.contype = 'c' AND k.conislocal) OR (k.contype = 'f' AND k.conparentid = 0)
UNION ALL
SELECT 'object', '62', x.node, 'index ' || x.full_name, pg_get_indexdef(i.indexrelid)
FROM pg_index i
JOIN relations x ON x.oid = i.indexrelid
JOIN relations c ON c.oid = i.indrelid
WHERE (i.indisvalid OR c.relkind = 'p') AND NOT EXISTS (
    SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid AND k.contype IN ('p', 'u', 'x')
)
UNION ALL
SELECT 'object', '64', 'attach:' || x.oid, 'partition ' || x.full_name,
    format('ALTER INDEX %s ATTACH PARTITION %s', p.full_name, x.full_name)
FROM relations x
JOIN pg_inherits h ON h.inhrelid = x.oid
JOIN relations p ON p.oid = h.inhparent
WHERE x.relkind IN ('i', 'I')
UNION ALL
SELECT 'object', '70', 'identity:' || c.oid, 'replica identity of ' || c.full_name, format('ALTER TABLE ONLY %s REPLICA IDENTITY %s',
    c.full_name, CASE c.relreplident WHEN 'f' THEN 'FULL' WHEN 'n' THEN 'NOTHING' ELSE format('USING INDEX %I', x.relname) END)
FROM relations c
LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisreplident
LEFT JOIN pg_class x ON x.oid = i.indexrelid
WHERE c.relkind IN ('r', 'p') AND (c.relreplident IN ('f', 'n') OR (c.relreplident = 'i' AND x.oid IS NOT NULL))
UNION ALL
SELECT 'object', '70', 'cluster:' || c.oid, 'clustering of ' || c.full_name,
    format('ALTER TABLE %s CLUSTER ON %I', c.full_name, x.relname)
FROM relations c
JOIN pg_index i ON i.indrelid = c.oid AND i.indisclustered
JOIN pg_class x ON x.oid = i.indexrelid
UNION ALL
SELECT 'object', '72', format('%s:%s', 'pg_rewrite'::regclass::oid, r.oid), format('rule %I on %s', r.rulename, c.full_name),
    concat_ws(' ', pg_get_ruledef(r.oid), 'ALTER TABLE ' || c.full_name || CASE r.ev_enabled
        WHEN 'D' THEN ' DISABLE' WHEN 'R' THEN ' ENABLE REPLICA' WHEN 'A' THEN ' ENABLE ALWAYS' END
        || ' RULE ' || quote_ident(r.rulename))
FROM pg_rewrite r
JOIN relations c ON c.oid = r.ev_class
WHERE r.rulename <> '_RETURN'
UNION ALL
SELECT 'object', '74', format('%s:%s', 'pg_trigger'::regclass::oid, g.oid), format('trigger %I on %s', g.tgname, c.full_name),
    concat_ws('; ', pg_get_triggerdef(g.oid), 'ALTER TABLE ' || c.full_name || CASE g.tgenabled
        WHEN 'D' THEN ' DISABLE' WHEN 'R' THEN ' ENABLE REPLICA' WHEN 'A' THEN ' ENABLE ALWAYS' END
        || ' TRIGGER ' || quote_ident(g.tgname))
FROM pg_trigger g
JOIN relations c ON c.oid = g.tgrelid
JOIN pg_proc p ON p.oid = g.tgfoid
JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE NOT g.tgisinternal AND n.nspname <> 'shardd' AND g.tgname <> 'shardd_guard'
    -- A partition has those of its table.
    AND NOT EXISTS (
        SELECT FROM pg_depend d
        WHERE d.classid = 'pg_trigger'::regclass AND d.objid = g.oid AND d.refclassid = 'pg_trigger'::regclass
    )
UNION ALL
SELECT 'object', '76', 'security:' || c.oid, 'row security of ' || c.full_name, concat_ws('; ',
    CASE WHEN c.relrowsecurity THEN format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', c.full_name) END,
    CASE WHEN c.relforcerowsecurity THEN format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', c.full_name) END)
FROM relations c
WHERE c.relrowsecurity OR c.relforcerowsecurity
UNION ALL
SELECT 'object', '76', format('%s:%s', 'pg_policy'::regclass::oid, p.oid), format('policy %I on %s', p.polname, c.full_name), concat(
    format('CREATE POLICY %I ON %s AS %s FOR %s TO %s', p.polname, c.full_name,
        CASE WHEN p.polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END,
        CASE p.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE' ELSE 'ALL' END,
        (
            SELECT string_agg(COALESCE(quote_ident(u.rolname), 'PUBLIC'), ', ' ORDER BY u.rolname)
            FROM unnest(p.polroles) AS o (role)
            LEFT JOIN pg_roles u ON u.oid = o.role
        )),
    ' USING (' || pg_get_expr(p.polqual, p.polrelid) || ')',
    ' WITH CHECK (' || pg_get_expr(p.polwithcheck, p.polrelid) || ')')
FROM pg_policy p
JOIN relations c ON c.oid = p.polrelid
UNION ALL
SELECT 'object', '78', format('%s:%s', 'pg_statistic_ext'::regclass::oid, s.oid),
    format('statistics %I.%I', n.nspname, s.stxname), concat_ws('; ', pg_get_statisticsobjdef(s.oid),
        format('ALTER STATISTICS %I.%I SET STATISTICS ', n.nspname, s.stxname)
        || CASE WHEN (to_jsonb(s) ->> 'stxstattarget')::int4 >= 0 THEN to_jsonb(s) ->> 'stxstattarget' END)
FROM pg_statistic_ext s
JOIN namespaces n ON n.oid = s.stxnamespace
JOIN relations c ON c.oid = s.stxrelid
UNION ALL
SELECT 'object', '80', format('comment:%s:%s:%s', d.classoid, d.objoid, d.objsubid), format('comment on %s %s', i.type, i.identity),
    format('COMMENT ON %s %s IS %L', CASE
            WHEN i.type LIKE '% column' THEN 'COLUMN'
            WHEN i.type LIKE '% constraint' THEN 'CONSTRAINT'
            WHEN i.type = 'statistics object' THEN 'STATISTICS'
            WHEN i.type = 'composite type' THEN 'TYPE'
            ELSE upper(i.type)
        END,
        CASE WHEN i.type = 'domain constraint' THEN (
            SELECT format('%I ON DOMAIN %s', k.conname, format_type(k.contypid, NULL)) FROM pg_constraint k WHERE k.oid = d.objoid
        ) ELSE i.identity END,
        d.description)
FROM pg_description d
CROSS JOIN LATERAL pg_identify_object(d.classoid, d.objoid, d.objsubid) AS i
WHERE CASE d.classoid
    WHEN 'pg_class'::regclass THEN EXISTS (SELECT FROM relations c WHERE c.oid = d.objoid)
    WHEN 'pg_type'::regclass THEN EXISTS (SELECT FROM types t WHERE t.oid = d.objoid)
    WHEN 'pg_proc'::regclass THEN EXISTS (SELECT FROM functions f WHERE f.oid = d.objoid)
    WHEN 'pg_namespace'::regclass THEN d.objoid >= 16384 AND EXISTS (SELECT FROM namespaces n WHERE n.oid = d.objoid)
    WHEN 'pg_statistic_ext'::regclass THEN EXISTS (
        SELECT FROM pg_statistic_ext s JOIN namespaces n ON n.oid = s.stxnamespace WHERE s.oid = d.objoid)
    WHEN 'pg_constraint'::regclass THEN EXISTS (
        SELECT FROM pg_constraint k
        WHERE k.oid = d.objoid
            AND (k.conrelid IN (SELECT c.oid FROM relations c) OR k.contypid IN (SELECT t.oid FROM types t)))
    WHEN 'pg_trigger'::regclass THEN EXISTS (
        SELECT FROM pg_trigger g JOIN relations c ON c.oid = g.tgrelid WHERE g.oid = d.objoid AND g.tgname <> 'shardd_guard')
    WHEN 'pg_rewrite'::regclass THEN EXISTS (
        SELECT FROM pg_rewrite r JOIN relations c ON c.oid = r.ev_class WHERE r.oid = d.objoid)
    WHEN 'pg_policy'::regclass THEN EXISTS (
        SELECT FROM pg_policy p JOIN relations c ON c.oid = p.polrelid WHERE p.oid = d.objoid)
    ELSE false
END
