-- A database's schema as one JSON document. It is run with an empty search_path, so that every name from outside
-- pg_catalog is printed with its schema. Columns that some version lacks are taken from the row's JSON.
WITH
namespaces AS (
    SELECT n.oid, n.nspname
    FROM pg_catalog.pg_namespace n
    WHERE n.nspname NOT LIKE 'pg\_%' AND n.nspname NOT IN ('information_schema', 'shardd')
),
members AS (
    SELECT d.classid, d.objid, e.extname
    FROM pg_catalog.pg_depend d
    JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid
    WHERE d.deptype = 'e' AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass
),
relations AS (
    SELECT c.*, n.nspname, pg_catalog.format('%I.%I', n.nspname, c.relname) AS full_name
    FROM pg_catalog.pg_class c
    JOIN namespaces n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.relpersistence <> 't'
),
tables AS (
    SELECT * FROM relations WHERE relkind IN ('r', 'p') AND nspname = 'public'
),
columns AS (
    SELECT a.attrelid, pg_catalog.json_agg(pg_catalog.json_build_object(
        'number', a.attnum,
        'name', a.attname,
        'type', a.atttypid::pg_catalog.int8,
        'type_name', pg_catalog.format_type(a.atttypid, NULL),
        'shown', pg_catalog.format_type(a.atttypid, a.atttypmod),
        'kind', CASE WHEN t.typcategory = 'A' AND t.typtype = 'b' THEN 'a' ELSE t.typtype END,
        'modifier', a.atttypmod,
        'not_null', a.attnotnull,
        'identity', a.attidentity,
        'generated', a.attgenerated,
        'default', pg_catalog.pg_get_expr(d.adbin, d.adrelid),
        'sequence', (
            SELECT pg_catalog.min(s.refobjid::pg_catalog.int8)
            FROM pg_catalog.pg_depend s
            JOIN pg_catalog.pg_class q ON q.oid = s.refobjid AND q.relkind = 'S'
            WHERE s.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass AND s.objid = d.oid
                AND s.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
        ),
        'collation', CASE WHEN l.collname <> 'default' THEN pg_catalog.format('%I.%I', ln.nspname, l.collname) END,
        'deterministic', l.collisdeterministic
    ) ORDER BY a.attnum) AS list
    FROM pg_catalog.pg_attribute a
    JOIN tables c ON c.oid = a.attrelid
    JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
    LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    LEFT JOIN pg_catalog.pg_collation l ON l.oid = a.attcollation
    LEFT JOIN pg_catalog.pg_namespace ln ON ln.oid = l.collnamespace
    WHERE a.attnum > 0 AND NOT a.attisdropped
    GROUP BY a.attrelid
),
constraints AS (
    SELECT k.conrelid, pg_catalog.json_agg(pg_catalog.json_build_object(
        'name', k.conname,
        'kind', k.contype,
        'definition', pg_catalog.pg_get_constraintdef(k.oid),
        'expression', CASE WHEN k.contype = 'c' THEN pg_catalog.pg_get_expr(k.conbin, k.conrelid) END,
        'columns', k.conkey,
        'index', NULLIF(k.conindid, 0)::pg_catalog.int8,
        'references', NULLIF(k.confrelid, 0)::pg_catalog.int8,
        'referenced_columns', k.confkey,
        'on_delete', k.confdeltype,
        'on_update', k.confupdtype
    ) ORDER BY k.conname) AS list
    FROM pg_catalog.pg_constraint k
    JOIN tables c ON c.oid = k.conrelid
    -- A reference to a partitioned table has one constraint more for each partition, below its own.
    WHERE k.contype IN ('c', 'f', 'p', 'u', 'x') AND k.conparentid = 0
    GROUP BY k.conrelid
),
indexes AS (
    SELECT i.indrelid, pg_catalog.json_agg(pg_catalog.json_build_object(
        'oid', x.oid::pg_catalog.int8,
        'name', x.relname,
        'definition', pg_catalog.pg_get_indexdef(x.oid),
        'nameless', pg_catalog.replace(
            pg_catalog.pg_get_indexdef(x.oid), pg_catalog.format(' INDEX %I ON ', x.relname), ' INDEX ON '),
        'unique', i.indisunique,
        'valid', i.indisvalid,
        -- Without the columns of INCLUDE; 0 stands for an expression.
        'columns', (i.indkey::pg_catalog.int2[])[0:i.indnkeyatts - 1]
    ) ORDER BY x.relname) AS list
    FROM pg_catalog.pg_index i
    JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
    JOIN tables c ON c.oid = i.indrelid
    GROUP BY i.indrelid
),
triggers AS (
    SELECT g.tgrelid, pg_catalog.json_agg(pg_catalog.json_build_object(
        'name', g.tgname,
        'definition', pg_catalog.pg_get_triggerdef(g.oid),
        'enabled', g.tgenabled,
        'function', pg_catalog.md5(p.prosrc)
    ) ORDER BY g.tgname) AS list
    FROM pg_catalog.pg_trigger g
    JOIN tables c ON c.oid = g.tgrelid
    JOIN pg_catalog.pg_proc p ON p.oid = g.tgfoid
    JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
    WHERE NOT g.tgisinternal AND n.nspname <> 'shardd'
    GROUP BY g.tgrelid
),
-- shardd's own trigger. It has to fire always, on every partition too.
guards AS (
    SELECT c.oid AS relid, pg_catalog.json_build_object(
        'function', pg_catalog.format('%I.%I', n.nspname, p.proname),
        'body', pg_catalog.md5(p.prosrc),
        'resting', (
            SELECT pg_catalog.count(*)
            FROM (SELECT c.oid AS relid UNION SELECT part.relid FROM pg_catalog.pg_partition_tree(c.oid) AS part) AS tree
            WHERE NOT EXISTS (
                SELECT FROM pg_catalog.pg_trigger g
                WHERE g.tgrelid = tree.relid AND g.tgfoid = own.tgfoid AND g.tgenabled = 'A'
                    -- AFTER INSERT OR DELETE OR UPDATE, FOR EACH ROW.
                    AND g.tgtype = 29 AND g.tgqual IS NULL AND g.tgattr::pg_catalog.text = ''
            )
        )
    ) AS guard
    FROM tables c
    JOIN pg_catalog.pg_trigger own ON own.tgrelid = c.oid AND own.tgname = 'shardd_guard'
    JOIN pg_catalog.pg_proc p ON p.oid = own.tgfoid
    JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
),
rules AS (
    SELECT r.ev_class, pg_catalog.json_agg(pg_catalog.pg_get_ruledef(r.oid) ORDER BY r.rulename) AS list
    FROM pg_catalog.pg_rewrite r
    JOIN tables c ON c.oid = r.ev_class
    GROUP BY r.ev_class
),
policies AS (
    SELECT p.polrelid, pg_catalog.json_agg(pg_catalog.json_build_object(
        'name', p.polname,
        'definition', pg_catalog.concat_ws(' ',
            CASE WHEN p.polpermissive THEN 'permissive' ELSE 'restrictive' END,
            CASE p.polcmd WHEN 'r' THEN 'select' WHEN 'a' THEN 'insert' WHEN 'w' THEN 'update' WHEN 'd' THEN 'delete'
                ELSE 'all' END,
            'to', (
                SELECT pg_catalog.string_agg(COALESCE(u.rolname, 'public'), ', ' ORDER BY u.rolname)
                FROM pg_catalog.unnest(p.polroles) AS o (role)
                LEFT JOIN pg_catalog.pg_roles u ON u.oid = o.role
            ),
            'using (' || pg_catalog.pg_get_expr(p.polqual, p.polrelid) || ')',
            'with check (' || pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid) || ')')
    ) ORDER BY p.polname) AS list
    FROM pg_catalog.pg_policy p
    JOIN tables c ON c.oid = p.polrelid
    GROUP BY p.polrelid
),
partitions AS (
    SELECT h.inhparent, pg_catalog.json_agg(pg_catalog.json_build_object(
        'name', p.full_name,
        'bound', pg_catalog.pg_get_expr(p.relpartbound, p.oid)
    ) ORDER BY p.full_name) AS list
    FROM pg_catalog.pg_inherits h
    JOIN relations p ON p.oid = h.inhrelid AND p.relispartition
    GROUP BY h.inhparent
)
SELECT pg_catalog.json_build_object(
    'search_path', pg_catalog.current_setting('search_path'),
    'server', (
        SELECT pg_catalog.json_build_object(
            'version', pg_catalog.current_setting('server_version_num')::pg_catalog.int4,
            'encoding', pg_catalog.current_setting('server_encoding'),
            'max_prepared_transactions', pg_catalog.current_setting('max_prepared_transactions')::pg_catalog.int4,
            'wal_level', pg_catalog.current_setting('wal_level'),
            'integer_datetimes', pg_catalog.current_setting('integer_datetimes') = 'on',
            'in_recovery', pg_catalog.pg_is_in_recovery(),
            'collate', d.datcollate,
            'character_type', d.datctype,
            'locale_provider', COALESCE(pg_catalog.to_jsonb(d) ->> 'datlocprovider', 'c'),
            'locale', COALESCE(pg_catalog.to_jsonb(d) ->> 'datlocale', pg_catalog.to_jsonb(d) ->> 'daticulocale'),
            'collation_version', pg_catalog.to_jsonb(d) ->> 'datcollversion',
            'settings', pg_catalog.json_build_object(
                'default_text_search_config', pg_catalog.current_setting('default_text_search_config'),
                'default_transaction_isolation', pg_catalog.current_setting('default_transaction_isolation'),
                'lc_monetary', pg_catalog.current_setting('lc_monetary'),
                'session_replication_role', pg_catalog.current_setting('session_replication_role'),
                'standard_conforming_strings', pg_catalog.current_setting('standard_conforming_strings')
            )
        )
        FROM pg_catalog.pg_database d
        WHERE d.datname = pg_catalog.current_database()
    ),
    'schemas', (SELECT pg_catalog.json_agg(n.nspname ORDER BY n.nspname) FROM namespaces n),
    'extensions', (
        SELECT pg_catalog.json_agg(pg_catalog.json_build_object('name', e.extname, 'version', e.extversion)
            ORDER BY e.extname)
        FROM pg_catalog.pg_extension e
    ),
    'types', (
        SELECT pg_catalog.json_agg(pg_catalog.json_build_object(
            'oid', t.oid::pg_catalog.int8,
            'name', pg_catalog.format_type(t.oid, NULL),
            'kind', t.typtype,
            'array', NULLIF(t.typarray, 0)::pg_catalog.int8,
            'base', NULLIF(t.typbasetype, 0)::pg_catalog.int8,
            'modifier', t.typtypmod,
            'extension', m.extname,
            'definition', CASE t.typtype
                WHEN 'e' THEN (
                    SELECT pg_catalog.string_agg(pg_catalog.quote_literal(l.enumlabel), ', ' ORDER BY l.enumsortorder)
                    FROM pg_catalog.pg_enum l
                    WHERE l.enumtypid = t.oid
                )
                WHEN 'd' THEN pg_catalog.concat_ws(' ',
                    pg_catalog.format_type(t.typbasetype, t.typtypmod),
                    CASE WHEN t.typcollation NOT IN (0, 100) THEN 'COLLATE ' || (
                        SELECT pg_catalog.format('%I.%I', n.nspname, l.collname)
                        FROM pg_catalog.pg_collation l
                        JOIN pg_catalog.pg_namespace n ON n.oid = l.collnamespace
                        WHERE l.oid = t.typcollation
                    ) END,
                    'DEFAULT ' || t.typdefault,
                    CASE WHEN t.typnotnull THEN 'NOT NULL' END,
                    (
                        SELECT pg_catalog.string_agg(pg_catalog.pg_get_constraintdef(k.oid), ' ' ORDER BY k.conname)
                        FROM pg_catalog.pg_constraint k
                        WHERE k.contypid = t.oid AND k.contype = 'c'
                    ))
                WHEN 'c' THEN (
                    SELECT pg_catalog.string_agg(
                        pg_catalog.format('%I %s', a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod)), ', '
                        ORDER BY a.attnum)
                    FROM pg_catalog.pg_attribute a
                    WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
                )
                WHEN 'r' THEN (
                    SELECT pg_catalog.format_type(r.rngsubtype, NULL)
                    FROM pg_catalog.pg_range r
                    WHERE r.rngtypid = t.oid
                )
            END
        ) ORDER BY n.nspname, t.typname)
        FROM pg_catalog.pg_type t
        JOIN namespaces n ON n.oid = t.typnamespace
        LEFT JOIN pg_catalog.pg_class r ON r.oid = t.typrelid
        LEFT JOIN members m ON m.classid = 'pg_catalog.pg_type'::pg_catalog.regclass AND m.objid = t.oid
        -- A domain has its base's category.
        WHERE (t.typcategory <> 'A' OR t.typtype <> 'b') AND t.typtype <> 'p' AND (r.oid IS NULL OR r.relkind = 'c')
    ),
    'functions', (
        SELECT pg_catalog.json_agg(pg_catalog.json_build_object(
            'name', p.oid::pg_catalog.regprocedure,
            'kind', p.prokind,
            'volatility', p.provolatile,
            'result', pg_catalog.pg_get_function_result(p.oid),
            'definition', CASE WHEN p.prokind IN ('f', 'p') THEN pg_catalog.md5(pg_catalog.pg_get_functiondef(p.oid)) END
        ) ORDER BY p.oid::pg_catalog.regprocedure::pg_catalog.text)
        FROM pg_catalog.pg_proc p
        JOIN namespaces n ON n.oid = p.pronamespace
        LEFT JOIN members m ON m.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND m.objid = p.oid
        WHERE m.objid IS NULL
    ),
    -- Those whose tables were dropped, or are guarded by another.
    'unused_guards', (
        SELECT pg_catalog.json_agg(p.oid::pg_catalog.regprocedure::pg_catalog.text)
        FROM pg_catalog.pg_proc p
        JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
        WHERE n.nspname = 'shardd' AND p.proname LIKE 'guard\_%' AND p.pronargs = 0
            AND p.prorettype = 'pg_catalog.trigger'::pg_catalog.regtype
            AND NOT EXISTS (SELECT FROM pg_catalog.pg_trigger g WHERE g.tgfoid = p.oid)
    ),
    'placements', (
        SELECT pg_catalog.obj_description(n.oid, 'pg_namespace') FROM pg_catalog.pg_namespace n WHERE n.nspname = 'shardd'
    ),
    'sequences', (
        SELECT pg_catalog.json_agg(pg_catalog.json_build_object(
            'oid', c.oid::pg_catalog.int8,
            'name', pg_catalog.format('%I.%I', n.nspname, c.relname),
            'type', pg_catalog.format_type(s.seqtypid, NULL),
            'start', s.seqstart,
            'increment', s.seqincrement,
            'minimum', s.seqmin,
            'maximum', s.seqmax,
            'cycle', s.seqcycle,
            'readable', pg_catalog.has_sequence_privilege(c.oid, 'SELECT'),
            'owner', o.refobjid::pg_catalog.int8,
            'owner_column', o.refobjsubid
        ) ORDER BY n.nspname, c.relname)
        FROM pg_catalog.pg_sequence s
        JOIN pg_catalog.pg_class c ON c.oid = s.seqrelid
        JOIN namespaces n ON n.oid = c.relnamespace
        LEFT JOIN pg_catalog.pg_depend o
            ON o.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND o.objid = c.oid AND o.objsubid = 0
            AND o.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND o.refobjsubid > 0
            AND o.deptype IN ('a', 'i')
        WHERE c.relpersistence <> 't'
    ),
    'relations', (
        SELECT pg_catalog.json_agg(pg_catalog.json_build_object(
            'oid', c.oid::pg_catalog.int8,
            'schema', c.nspname,
            'name', c.relname,
            'kind', c.relkind,
            'unlogged', c.relpersistence = 'u',
            'partition', c.relispartition,
            'parents', (
                SELECT pg_catalog.json_agg(pg_catalog.format('%I.%I', pn.nspname, p.relname) ORDER BY h.inhseqno)
                FROM pg_catalog.pg_inherits h
                JOIN pg_catalog.pg_class p ON p.oid = h.inhparent
                JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace
                WHERE h.inhrelid = c.oid
            ),
            'has_children', EXISTS (SELECT FROM pg_catalog.pg_inherits h WHERE h.inhparent = c.oid),
            'row_security', c.relrowsecurity,
            'force_row_security', c.relforcerowsecurity,
            'partition_key', CASE WHEN c.relkind = 'p' THEN pg_catalog.pg_get_partkeydef(c.oid) END,
            'columns', columns.list,
            'constraints', constraints.list,
            'indexes', indexes.list,
            'triggers', triggers.list,
            'guard', guards.guard,
            -- Whether shardd's own role may alter it, whatever role the session has.
            'ours', pg_catalog.pg_has_role(session_user, c.relowner, 'USAGE'),
            'rules', rules.list,
            'policies', policies.list,
            'partitions', partitions.list
        ) ORDER BY c.nspname, c.relname)
        FROM relations c
        LEFT JOIN columns ON columns.attrelid = c.oid
        LEFT JOIN constraints ON constraints.conrelid = c.oid
        LEFT JOIN indexes ON indexes.indrelid = c.oid
        LEFT JOIN triggers ON triggers.tgrelid = c.oid
        LEFT JOIN guards ON guards.relid = c.oid
        LEFT JOIN rules ON rules.ev_class = c.oid
        LEFT JOIN policies ON policies.polrelid = c.oid
        LEFT JOIN partitions ON partitions.inhparent = c.oid
    )
)
