-- What has to be there before what. An alias is a part of another object, which is made with it.
SELECT 'alias' AS what, '' AS phase, format('%s:%s', 'pg_rewrite'::regclass::oid, r.oid) AS node, c.node AS label, '' AS statement
FROM pg_rewrite r
JOIN relations c ON c.oid = r.ev_class
WHERE r.rulename = '_RETURN'
UNION ALL
SELECT 'alias', '', t.node, c.node, ''
FROM types t
JOIN relations c ON c.oid = t.typrelid AND c.relkind <> 'c'
UNION ALL
SELECT 'alias', '', c.node, t.node, ''
FROM types t
JOIN relations c ON c.oid = t.typrelid AND c.relkind = 'c'
UNION ALL
SELECT 'alias', '', format('%s:%s', 'pg_type'::regclass::oid, t.typarray), t.node, ''
FROM types t
WHERE t.typarray <> 0
UNION ALL
SELECT 'alias', '', format('%s:%s', 'pg_type'::regclass::oid, to_jsonb(r) ->> 'rngmultitypid'), t.node, ''
FROM types t
JOIN pg_range r ON r.rngtypid = t.oid
UNION ALL
SELECT 'alias', '', format('%s:%s', 'pg_type'::regclass::oid, m.typarray), t.node, ''
FROM types t
JOIN pg_range r ON r.rngtypid = t.oid
JOIN pg_type m ON m.oid = (to_jsonb(r) ->> 'rngmultitypid')::oid
UNION ALL
SELECT 'alias', '', format('%s:%s', 'pg_constraint'::regclass::oid, k.oid), t.node, ''
FROM types t
JOIN pg_constraint k ON k.contypid = t.oid
UNION ALL
SELECT 'alias', '', format('%s:%s', 'pg_attrdef'::regclass::oid, d.oid), c.node, ''
FROM pg_attrdef d
JOIN relations c ON c.oid = d.adrelid
JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum AND a.attgenerated <> ''
UNION ALL
SELECT 'alias', '', x.node, format('%s:%s', 'pg_constraint'::regclass::oid, k.oid), ''
FROM pg_constraint k
JOIN relations x ON x.oid = k.conindid
WHERE k.contype IN ('p', 'u', 'x')
UNION ALL
SELECT 'alias', '', c.node, o.node, ''
FROM relations c
JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'i'
JOIN relations o ON d.refclassid = 'pg_class'::regclass AND o.oid = d.refobjid
WHERE c.relkind = 'S'
UNION ALL
SELECT 'alias', '', format('%s:%s', m.classid, m.objid), format('%s:%s', 'pg_extension'::regclass::oid, m.extension), ''
FROM members m
UNION ALL
SELECT DISTINCT 'needs', '', format('%s:%s', d.classid, d.objid), format('%s:%s', d.refclassid, d.refobjid), ''
FROM pg_depend d
WHERE d.deptype IN ('n', 'a', 'i', 'P', 'S') AND d.objid >= 16384 AND d.refobjid >= 16384
    -- A sequence is made before the table whose column owns it.
    AND NOT (d.deptype = 'a' AND d.classid = 'pg_class'::regclass AND EXISTS (
        SELECT FROM pg_class s WHERE s.oid = d.objid AND s.relkind = 'S'))
UNION ALL
SELECT 'needs', '', format('comment:%s:%s:%s', d.classoid, d.objoid, d.objsubid), format('%s:%s', d.classoid, d.objoid), ''
FROM pg_description d
WHERE d.objoid >= 16384
UNION ALL
SELECT 'needs', '', 'owned:' || d.objid, needed.node, ''
FROM pg_depend d
CROSS JOIN LATERAL (VALUES
    (format('%s:%s', 'pg_class'::regclass::oid, d.objid)), (format('%s:%s', 'pg_class'::regclass::oid, d.refobjid))
) AS needed (node)
WHERE d.classid = 'pg_class'::regclass AND d.deptype = 'a' AND d.refclassid = 'pg_class'::regclass
UNION ALL
SELECT 'needs', '', 'attach:' || h.inhrelid, needed.node, ''
FROM pg_inherits h
JOIN relations c ON c.oid = h.inhrelid
LEFT JOIN pg_index i ON i.indexrelid = h.inhrelid
CROSS JOIN LATERAL (VALUES
    (c.node), (format('%s:%s', 'pg_class'::regclass::oid, h.inhparent)), ('attach:' || i.indrelid)
) AS needed (node)
WHERE needed.node IS NOT NULL
UNION ALL
-- Otherwise attaching a partition makes indexes of other names.
SELECT 'needs', '', format('%s:%s', 'pg_class'::regclass::oid, i.indexrelid), 'attach:' || h.inhrelid, ''
FROM pg_index i
JOIN pg_inherits h ON h.inhparent = i.indrelid OR h.inhrelid = i.indrelid
JOIN relations c ON c.oid = h.inhrelid AND c.relispartition
UNION ALL
SELECT 'needs', '', special.kind || c.oid, c.node, ''
FROM relations c
CROSS JOIN (VALUES ('identity:'), ('cluster:'), ('security:'), ('filled:')) AS special (kind)
UNION ALL
SELECT 'needs', '', special.kind || i.indrelid, format('%s:%s', 'pg_class'::regclass::oid, i.indexrelid), ''
FROM pg_index i
JOIN relations c ON c.oid = i.indrelid
CROSS JOIN (VALUES ('identity:'), ('cluster:')) AS special (kind)
UNION ALL
-- A materialized view is filled when everything that it reads is.
SELECT 'needs', '', 'filled:' || r.ev_class, 'filled:' || d.refobjid, ''
FROM pg_rewrite r
JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid AND d.refclassid = 'pg_class'::regclass
WHERE d.refobjid <> r.ev_class
