-- Who may do what, and who owns what. The phases: taken away what a new object has, given, owned.
, objects AS (
    SELECT CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END AS kind, c.full_name AS name, c.relowner AS owner,
        c.relacl AS acl, ''::text AS attribute,
        NOT EXISTS (
            SELECT FROM pg_depend d
            WHERE c.relkind = 'S' AND d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype IN ('a', 'i')
                AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0
        ) AS owned_by_itself
    FROM relations c
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S')
    UNION ALL
    SELECT 'TABLE', c.full_name, c.relowner, a.attacl, quote_ident(a.attname), false
    FROM relations c
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attacl IS NOT NULL AND NOT a.attisdropped
    UNION ALL
    SELECT 'TYPE', t.full_name, t.typowner, t.typacl, '', true
    FROM types t
    LEFT JOIN pg_class c ON c.oid = t.typrelid
    WHERE t.typtype IN ('e', 'd', 'r') OR (t.typtype = 'c' AND c.relkind = 'c')
    UNION ALL
    SELECT 'ROUTINE', f.full_name, f.proowner, f.proacl, '', true
    FROM functions f
    UNION ALL
    SELECT 'SCHEMA', quote_ident(s.nspname), s.nspowner, s.nspacl, '', s.nspname <> 'public'
    FROM pg_namespace s
    JOIN namespaces n ON n.oid = s.oid
    WHERE NOT EXISTS (SELECT FROM members m WHERE m.classid = 'pg_namespace'::regclass AND m.objid = s.oid)
    UNION ALL
    SELECT 'STATISTICS', format('%I.%I', n.nspname, s.stxname), s.stxowner, NULL, '', true
    FROM pg_statistic_ext s
    JOIN namespaces n ON n.oid = s.stxnamespace
)
SELECT 'privilege' AS what, '1' AS phase, '' AS node, concat_ws(' ', lower(o.kind), o.name, NULLIF(o.attribute, '')) AS label,
    format('REVOKE ALL ON %s %s FROM PUBLIC, CURRENT_USER', o.kind, o.name) AS statement
FROM objects o
WHERE o.acl IS NOT NULL AND o.attribute = ''
UNION ALL
SELECT 'privilege', '2', CASE WHEN a.grantee IN (0, o.owner) THEN '' ELSE a.grantee::regrole::text END,
    concat_ws(' ', lower(o.kind), o.name, NULLIF(o.attribute, '')),
    format('GRANT %s ON %s %s TO %s%s',
        string_agg(a.privilege_type || CASE WHEN o.attribute <> '' THEN format(' (%s)', o.attribute) ELSE '' END, ', '
            ORDER BY a.privilege_type),
        o.kind, o.name,
        CASE
            WHEN a.grantee = 0 THEN 'PUBLIC'
            WHEN a.grantee = o.owner AND o.name <> 'public' THEN 'CURRENT_USER'
            ELSE a.grantee::regrole::text
        END,
        CASE WHEN a.is_grantable AND a.grantee <> o.owner THEN ' WITH GRANT OPTION' END)
FROM objects o
CROSS JOIN LATERAL aclexplode(o.acl) AS a
GROUP BY o.kind, o.name, o.attribute, o.owner, a.grantee, a.is_grantable
UNION ALL
SELECT 'privilege', '3', o.owner::regrole::text, concat_ws(' ', lower(o.kind), o.name),
    format('ALTER %s %s OWNER TO %s', o.kind, o.name, o.owner::regrole)
FROM objects o
WHERE o.owned_by_itself AND o.owner <> (SELECT r.oid FROM pg_roles r WHERE r.rolname = current_user)
ORDER BY label, phase, statement
