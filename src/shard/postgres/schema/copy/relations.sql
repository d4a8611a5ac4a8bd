-- Tables, their defaults and partitions, and views.
SELECT 'object' AS what, '35' AS phase, c.node, 'table ' || c.full_name AS label, concat_ws('; ', concat(
        'CREATE ', CASE c.relpersistence WHEN 'u' THEN 'UNLOGGED ' END, 'TABLE ', c.full_name, ' (', (
            SELECT string_agg(concat(
                format('%I %s', a.attname, format_type(a.atttypid, a.atttypmod)),
                (
                    SELECT format(' COLLATE %I.%I', n.nspname, l.collname)
                    FROM pg_collation l
                    JOIN pg_namespace n ON n.oid = l.collnamespace
                    WHERE l.oid = a.attcollation AND a.attcollation <> t.typcollation
                ),
                CASE a.attgenerated
                    WHEN 's' THEN format(' GENERATED ALWAYS AS (%s) STORED', pg_get_expr(d.adbin, d.adrelid))
                    WHEN 'v' THEN format(' GENERATED ALWAYS AS (%s)', pg_get_expr(d.adbin, d.adrelid))
                END,
                (
                    SELECT concat(
                        ' GENERATED ', CASE a.attidentity WHEN 'a' THEN 'ALWAYS' ELSE 'BY DEFAULT' END,
                        ' AS IDENTITY (SEQUENCE NAME ', q.full_name, ' INCREMENT BY ', s.seqincrement, ' MINVALUE ', s.seqmin,
                        ' MAXVALUE ', s.seqmax, ' START WITH ', s.seqstart, ' CACHE ', s.seqcache,
                        CASE WHEN s.seqcycle THEN ' CYCLE' END, ')')
                    FROM pg_depend i
                    JOIN relations q ON q.oid = i.objid AND q.relkind = 'S'
                    JOIN pg_sequence s ON s.seqrelid = q.oid
                    WHERE i.classid = 'pg_class'::regclass AND i.refclassid = 'pg_class'::regclass AND i.refobjid = c.oid
                        AND i.refobjsubid = a.attnum AND i.deptype = 'i'
                ),
                CASE WHEN a.attnotnull THEN ' NOT NULL' END), ', ' ORDER BY a.attnum)
            FROM pg_attribute a
            JOIN pg_type t ON t.oid = a.atttypid
            LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
            WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND (a.attislocal OR c.relispartition)
        ), ')',
        CASE WHEN NOT c.relispartition THEN (
            SELECT format(' INHERITS (%s)', string_agg(format('%I.%I', n.nspname, p.relname), ', ' ORDER BY h.inhseqno))
            FROM pg_inherits h
            JOIN pg_class p ON p.oid = h.inhparent
            JOIN pg_namespace n ON n.oid = p.relnamespace
            WHERE h.inhrelid = c.oid
            HAVING count(*) > 0
        ) END,
        CASE WHEN c.relkind = 'p' THEN ' PARTITION BY ' || pg_get_partkeydef(c.oid) END,
        (SELECT format(' USING %I', m.amname) FROM pg_am m WHERE m.oid = c.relam AND m.amname <> 'heap'),
        (
            SELECT format(' WITH (%s)', string_agg(o.text, ', '))
            FROM (
                SELECT format('%s=%L', split_part(o, '=', 1), substr(o, strpos(o, '=') + 1)) AS text
                FROM unnest(c.reloptions) AS o
                UNION ALL
                SELECT format('toast.%s=%L', split_part(o, '=', 1), substr(o, strpos(o, '=') + 1))
                FROM pg_class s, unnest(s.reloptions) AS o
                WHERE s.oid = c.reltoastrelid
            ) AS o
            HAVING count(*) > 0
        )
    ), (
        SELECT string_agg(format('ALTER TABLE ONLY %s ALTER COLUMN %I %s', c.full_name, a.attname, s.setting), '; '
            ORDER BY a.attnum, s.setting)
        FROM pg_attribute a
        JOIN pg_type t ON t.oid = a.atttypid
        CROSS JOIN LATERAL (VALUES
            (CASE WHEN NOT a.attislocal AND NOT c.relispartition AND a.attnotnull THEN 'SET NOT NULL' END),
            (CASE WHEN a.attstorage <> t.typstorage THEN 'SET STORAGE ' ||
                CASE a.attstorage WHEN 'p' THEN 'PLAIN' WHEN 'e' THEN 'EXTERNAL' WHEN 'm' THEN 'MAIN' ELSE 'EXTENDED' END END),
            (CASE to_jsonb(a) ->> 'attcompression' WHEN 'p' THEN 'SET COMPRESSION pglz' WHEN 'l' THEN 'SET COMPRESSION lz4' END),
            (CASE WHEN (to_jsonb(a) ->> 'attstattarget')::int4 >= 0 THEN
                'SET STATISTICS ' || (to_jsonb(a) ->> 'attstattarget') END),
            (format('SET (%s)', NULLIF(array_to_string(a.attoptions, ', '), '')))
        ) AS s (setting)
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND s.setting IS NOT NULL AND s.setting <> 'SET ()'
    )) AS statement
FROM relations c
WHERE c.relkind IN ('r', 'p')
UNION ALL
SELECT 'object', '40', 'attach:' || c.oid, 'partition ' || c.full_name,
    format('ALTER TABLE ONLY %s ATTACH PARTITION %s %s', p.full_name, c.full_name, pg_get_expr(c.relpartbound, c.oid))
FROM relations c
JOIN pg_inherits h ON h.inhrelid = c.oid
JOIN relations p ON p.oid = h.inhparent
WHERE c.relispartition AND c.relkind IN ('r', 'p')
UNION ALL
SELECT 'object', '42', format('%s:%s', 'pg_attrdef'::regclass::oid, d.oid),
    format('default of %s.%I', c.full_name, a.attname),
    format('ALTER TABLE ONLY %s ALTER COLUMN %I SET DEFAULT %s', c.full_name, a.attname, pg_get_expr(d.adbin, d.adrelid))
FROM pg_attrdef d
JOIN relations c ON c.oid = d.adrelid
JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum AND a.attgenerated = ''
UNION ALL
SELECT 'object', '45', c.node, CASE c.relkind WHEN 'v' THEN 'view ' ELSE 'materialized view ' END || c.full_name, concat(
    'CREATE ', CASE c.relkind WHEN 'v' THEN 'VIEW ' ELSE 'MATERIALIZED VIEW ' END, c.full_name,
    (SELECT format(' USING %I', m.amname) FROM pg_am m WHERE m.oid = c.relam AND m.amname <> 'heap'),
    (
        SELECT format(' WITH (%s)', string_agg(
            format('%s=%L', split_part(o, '=', 1), substr(o, strpos(o, '=') + 1)), ', '))
        FROM unnest(c.reloptions) AS o
        HAVING count(*) > 0
    ),
    ' AS ', rtrim(pg_get_viewdef(c.oid), ';'), CASE c.relkind WHEN 'm' THEN ' WITH NO DATA' END)
FROM relations c
WHERE c.relkind IN ('v', 'm')
UNION ALL
SELECT 'object', '79', 'filled:' || c.oid, 'rows of materialized view ' || c.full_name,
    'REFRESH MATERIALIZED VIEW ' || c.full_name
FROM relations c
WHERE c.relkind = 'm' AND c.relispopulated
