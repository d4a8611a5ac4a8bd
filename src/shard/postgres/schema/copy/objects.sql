-- Schemas, extensions, types, functions and sequences.
SELECT 'object' AS what, '10' AS phase, format('%s:%s', 'pg_namespace'::regclass::oid, n.oid) AS node,
    'schema ' || quote_ident(n.nspname) AS label, format('CREATE SCHEMA IF NOT EXISTS %I', n.nspname) AS statement
FROM namespaces n
WHERE NOT EXISTS (SELECT FROM members m WHERE m.classid = 'pg_namespace'::regclass AND m.objid = n.oid)
UNION ALL
SELECT 'object', '15', format('%s:%s', 'pg_extension'::regclass::oid, e.oid), 'extension ' || quote_ident(e.extname),
    format('CREATE EXTENSION IF NOT EXISTS %I WITH SCHEMA %I VERSION %L', e.extname, n.nspname, e.extversion)
FROM pg_extension e
JOIN pg_namespace n ON n.oid = e.extnamespace
UNION ALL
SELECT 'object', '20', t.node, 'type ' || t.full_name, format('CREATE TYPE %s AS ENUM (%s)', t.full_name, (
    SELECT string_agg(quote_literal(l.enumlabel), ', ' ORDER BY l.enumsortorder)
    FROM pg_enum l
    WHERE l.enumtypid = t.oid
))
FROM types t
WHERE t.typtype = 'e'
UNION ALL
SELECT 'object', '20', t.node, 'domain ' || t.full_name, concat(
    'CREATE DOMAIN ', t.full_name, ' AS ', format_type(t.typbasetype, t.typtypmod),
    (
        SELECT format(' COLLATE %I.%I', n.nspname, l.collname)
        FROM pg_collation l
        JOIN pg_namespace n ON n.oid = l.collnamespace
        JOIN pg_type b ON b.oid = t.typbasetype
        WHERE l.oid = t.typcollation AND t.typcollation <> b.typcollation
    ),
    ' DEFAULT ' || COALESCE(pg_get_expr(t.typdefaultbin, 0), t.typdefault),
    CASE WHEN t.typnotnull THEN ' NOT NULL' END,
    (
        SELECT string_agg(
            format('; ALTER DOMAIN %s ADD CONSTRAINT %I %s', t.full_name, k.conname, pg_get_constraintdef(k.oid)), ''
            ORDER BY k.conname)
        FROM pg_constraint k
        WHERE k.contypid = t.oid AND k.contype = 'c'
    ))
FROM types t
WHERE t.typtype = 'd'
UNION ALL
SELECT 'object', '20', t.node, 'type ' || t.full_name, format('CREATE TYPE %s AS (%s)', t.full_name, (
    SELECT string_agg(concat(format('%I %s', a.attname, format_type(a.atttypid, a.atttypmod)), (
            SELECT format(' COLLATE %I.%I', n.nspname, l.collname)
            FROM pg_collation l
            JOIN pg_namespace n ON n.oid = l.collnamespace
            JOIN pg_type b ON b.oid = a.atttypid
            WHERE l.oid = a.attcollation AND a.attcollation <> b.typcollation
        )), ', ' ORDER BY a.attnum)
    FROM pg_attribute a
    WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
))
FROM types t
JOIN pg_class c ON c.oid = t.typrelid AND c.relkind = 'c'
WHERE t.typtype = 'c'
UNION ALL
SELECT 'object', '20', t.node, 'type ' || t.full_name, format('CREATE TYPE %s AS RANGE (%s)', t.full_name, concat_ws(', ',
    'SUBTYPE = ' || format_type(r.rngsubtype, NULL),
    'SUBTYPE_OPCLASS = ' || (
        SELECT format('%I.%I', n.nspname, o.opcname)
        FROM pg_opclass o
        JOIN pg_namespace n ON n.oid = o.opcnamespace
        WHERE o.oid = r.rngsubopc AND NOT o.opcdefault
    ),
    'COLLATION = ' || (
        SELECT format('%I.%I', n.nspname, l.collname)
        FROM pg_collation l
        JOIN pg_namespace n ON n.oid = l.collnamespace
        JOIN pg_type b ON b.oid = r.rngsubtype
        WHERE l.oid = r.rngcollation AND r.rngcollation <> b.typcollation
    ),
    'SUBTYPE_DIFF = ' || CASE WHEN r.rngsubdiff::oid <> 0 THEN r.rngsubdiff::regproc::text END,
    'MULTIRANGE_TYPE_NAME = ' || (
        SELECT format_type(m.oid, NULL) FROM pg_type m WHERE m.oid = (to_jsonb(r) ->> 'rngmultitypid')::oid
    )))
FROM types t
JOIN pg_range r ON r.rngtypid = t.oid
WHERE t.typtype = 'r'
UNION ALL
SELECT 'object', '25', f.node, CASE f.prokind WHEN 'p' THEN 'procedure ' ELSE 'function ' END || f.full_name,
    pg_get_functiondef(f.oid)
FROM functions f
WHERE f.prokind <> 'a'
UNION ALL
SELECT 'object', '26', f.node, 'aggregate ' || f.full_name, format('CREATE AGGREGATE %I.%I(%s) (%s)', f.nspname, f.proname,
    CASE WHEN f.pronargs = 0 THEN '*' ELSE pg_get_function_arguments(f.oid) END,
    concat_ws(', ',
        'SFUNC = ' || a.aggtransfn::text,
        'STYPE = ' || format_type(a.aggtranstype, NULL),
        'SSPACE = ' || NULLIF(a.aggtransspace, 0),
        'FINALFUNC = ' || CASE WHEN a.aggfinalfn::oid <> 0 THEN a.aggfinalfn::text END,
        CASE WHEN a.aggfinalextra THEN 'FINALFUNC_EXTRA' END,
        'FINALFUNC_MODIFY = ' || CASE a.aggfinalmodify WHEN 'r' THEN 'READ_ONLY' WHEN 's' THEN 'SHAREABLE' ELSE 'READ_WRITE' END,
        'COMBINEFUNC = ' || CASE WHEN a.aggcombinefn::oid <> 0 THEN a.aggcombinefn::text END,
        'SERIALFUNC = ' || CASE WHEN a.aggserialfn::oid <> 0 THEN a.aggserialfn::text END,
        'DESERIALFUNC = ' || CASE WHEN a.aggdeserialfn::oid <> 0 THEN a.aggdeserialfn::text END,
        'INITCOND = ' || quote_literal(a.agginitval),
        'MSFUNC = ' || CASE WHEN a.aggmtransfn::oid <> 0 THEN a.aggmtransfn::text END,
        'MINVFUNC = ' || CASE WHEN a.aggminvtransfn::oid <> 0 THEN a.aggminvtransfn::text END,
        'MSTYPE = ' || CASE WHEN a.aggmtranstype <> 0 THEN format_type(a.aggmtranstype, NULL) END,
        'MSSPACE = ' || NULLIF(a.aggmtransspace, 0),
        'MFINALFUNC = ' || CASE WHEN a.aggmfinalfn::oid <> 0 THEN a.aggmfinalfn::text END,
        CASE WHEN a.aggmfinalextra THEN 'MFINALFUNC_EXTRA' END,
        'MFINALFUNC_MODIFY = ' || CASE
            WHEN a.aggmtransfn::oid = 0 THEN NULL
            WHEN a.aggmfinalmodify = 'r' THEN 'READ_ONLY'
            WHEN a.aggmfinalmodify = 's' THEN 'SHAREABLE'
            ELSE 'READ_WRITE'
        END,
        'MINITCOND = ' || quote_literal(a.aggminitval),
        'SORTOP = ' || (
            SELECT format('OPERATOR(%I.%s)', n.nspname, o.oprname)
            FROM pg_operator o
            JOIN pg_namespace n ON n.oid = o.oprnamespace
            WHERE o.oid = a.aggsortop
        ),
        'PARALLEL = ' || CASE f.proparallel WHEN 's' THEN 'SAFE' WHEN 'r' THEN 'RESTRICTED' END,
        CASE WHEN a.aggkind = 'h' THEN 'HYPOTHETICAL' END))
FROM functions f
JOIN pg_aggregate a ON a.aggfnoid = f.oid
UNION ALL
-- Those of identity columns are made with their tables.
SELECT 'object', '30', c.node, 'sequence ' || c.full_name, concat(
    'CREATE ', CASE c.relpersistence WHEN 'u' THEN 'UNLOGGED ' END, 'SEQUENCE ', c.full_name,
    ' AS ', format_type(s.seqtypid, NULL), ' INCREMENT BY ', s.seqincrement, ' MINVALUE ', s.seqmin, ' MAXVALUE ', s.seqmax,
    ' START WITH ', s.seqstart, ' CACHE ', s.seqcache, CASE WHEN s.seqcycle THEN ' CYCLE' END)
FROM relations c
JOIN pg_sequence s ON s.seqrelid = c.oid
WHERE NOT EXISTS (
    SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'i'
)
UNION ALL
SELECT 'object', '44', 'owned:' || c.oid, 'owner of sequence ' || c.full_name,
    format('ALTER SEQUENCE %s OWNED BY %s.%I', c.full_name, o.full_name, a.attname)
FROM relations c
JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.objsubid = 0 AND d.deptype = 'a'
    AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0
JOIN relations o ON o.oid = d.refobjid
JOIN pg_attribute a ON a.attrelid = o.oid AND a.attnum = d.refobjsubid
WHERE c.relkind = 'S'
