-- What is there and not copied: refused where statements may depend on it, told where they do not. And the roles that have to be
-- there.
SELECT 'refuse' AS what, '' AS phase, '' AS node, found.label, '' AS statement
FROM (
    SELECT 'foreign table ' || c.full_name AS label, c.oid, 'pg_class'::regclass AS class FROM relations c WHERE c.relkind = 'f'
    UNION ALL
    SELECT format('table %s of a type', c.full_name), c.oid, 'pg_class' FROM relations c WHERE c.reloftype <> 0
    UNION ALL
    SELECT 'base type ' || t.full_name, t.oid, 'pg_type' FROM types t
    WHERE (t.typtype = 'b' AND NOT EXISTS (SELECT FROM pg_type e WHERE e.typarray = t.oid)) OR t.typtype = 'p'
    UNION ALL
    SELECT format('range type %s with a canonical function', t.full_name), t.oid, 'pg_type'
    FROM types t JOIN pg_range r ON r.rngtypid = t.oid WHERE r.rngcanonical::oid <> 0
    UNION ALL
    SELECT 'event trigger ' || quote_ident(e.evtname), e.oid, 'pg_event_trigger' FROM pg_event_trigger e
    UNION ALL
    SELECT 'foreign server ' || quote_ident(s.srvname), s.oid, 'pg_foreign_server' FROM pg_foreign_server s
    UNION ALL
    SELECT 'foreign data wrapper ' || quote_ident(w.fdwname), w.oid, 'pg_foreign_data_wrapper' FROM pg_foreign_data_wrapper w
    UNION ALL
    SELECT format('text search configuration %I.%I', n.nspname, s.cfgname), s.oid, 'pg_ts_config'
    FROM pg_ts_config s JOIN namespaces n ON n.oid = s.cfgnamespace
    UNION ALL
    SELECT format('text search dictionary %I.%I', n.nspname, s.dictname), s.oid, 'pg_ts_dict'
    FROM pg_ts_dict s JOIN namespaces n ON n.oid = s.dictnamespace
    UNION ALL
    SELECT format('text search parser %I.%I', n.nspname, s.prsname), s.oid, 'pg_ts_parser'
    FROM pg_ts_parser s JOIN namespaces n ON n.oid = s.prsnamespace
    UNION ALL
    SELECT format('text search template %I.%I', n.nspname, s.tmplname), s.oid, 'pg_ts_template'
    FROM pg_ts_template s JOIN namespaces n ON n.oid = s.tmplnamespace
    UNION ALL
    SELECT 'operator ' || o.oid::regoperator, o.oid, 'pg_operator'
    FROM pg_operator o JOIN namespaces n ON n.oid = o.oprnamespace
    UNION ALL
    SELECT format('operator class %I.%I', n.nspname, o.opcname), o.oid, 'pg_opclass'
    FROM pg_opclass o JOIN namespaces n ON n.oid = o.opcnamespace
    UNION ALL
    SELECT format('operator family %I.%I', n.nspname, o.opfname), o.oid, 'pg_opfamily'
    FROM pg_opfamily o JOIN namespaces n ON n.oid = o.opfnamespace
    UNION ALL
    SELECT format('cast from %s to %s', format_type(k.castsource, NULL), format_type(k.casttarget, NULL)), k.oid, 'pg_cast'
    FROM pg_cast k
    -- A range type brings one to its multirange.
    WHERE NOT EXISTS (
        SELECT FROM pg_depend d WHERE d.classid = 'pg_cast'::regclass AND d.objid = k.oid AND d.deptype = 'i'
    )
    UNION ALL
    SELECT format('collation %I.%I', n.nspname, l.collname), l.oid, 'pg_collation'
    FROM pg_collation l JOIN namespaces n ON n.oid = l.collnamespace
    UNION ALL
    SELECT format('conversion %I.%I', n.nspname, v.conname), v.oid, 'pg_conversion'
    FROM pg_conversion v JOIN namespaces n ON n.oid = v.connamespace
    UNION ALL
    SELECT 'language ' || quote_ident(l.lanname), l.oid, 'pg_language' FROM pg_language l
    UNION ALL
    SELECT format('transform for %s', format_type(f.trftype, NULL)), f.oid, 'pg_transform' FROM pg_transform f
    UNION ALL
    SELECT 'access method ' || quote_ident(m.amname), m.oid, 'pg_am' FROM pg_am m
) AS found
WHERE found.oid >= 16384
    AND NOT EXISTS (SELECT FROM members m WHERE m.classid = found.class AND m.objid = found.oid)
UNION ALL
SELECT 'warn', '', '', found.label, ''
FROM (
    SELECT 'publication ' || quote_ident(p.pubname) AS label FROM pg_publication p
    UNION ALL
    SELECT 'subscription ' || quote_ident(s.subname) FROM pg_subscription s
    WHERE s.subdbid = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
    UNION ALL
    SELECT DISTINCT 'default privileges of ' || a.defaclrole::regrole FROM pg_default_acl a
    UNION ALL
    SELECT 'large objects' WHERE EXISTS (SELECT FROM pg_largeobject_metadata)
    UNION ALL
    SELECT 'security labels' WHERE EXISTS (SELECT FROM pg_seclabel)
    UNION ALL
    SELECT format('tablespace %I of %s', s.spcname, c.full_name)
    FROM relations c JOIN pg_tablespace s ON s.oid = c.reltablespace
    UNION ALL
    SELECT 'invalid index ' || x.full_name
    FROM pg_index i JOIN relations x ON x.oid = i.indexrelid WHERE NOT i.indisvalid AND x.relkind = 'i'
    UNION ALL
    SELECT 'rows of configuration tables of extension ' || quote_ident(e.extname) FROM pg_extension e WHERE e.extconfig IS NOT NULL
    UNION ALL
    SELECT 'setting of the database: ' || split_part(setting, '=', 1)
    FROM pg_db_role_setting s
    JOIN pg_database d ON d.oid = s.setdatabase AND d.datname = current_database()
    CROSS JOIN LATERAL unnest(s.setconfig) AS setting
    WHERE s.setrole = 0
) AS found
UNION ALL
SELECT DISTINCT 'role', '', u.rolname, format('policy %I on %s', p.polname, c.full_name), ''
FROM pg_policy p
JOIN relations c ON c.oid = p.polrelid
CROSS JOIN LATERAL unnest(p.polroles) AS o (role)
JOIN pg_roles u ON u.oid = o.role
