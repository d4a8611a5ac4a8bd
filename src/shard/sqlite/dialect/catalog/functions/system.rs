//! Functions of the system catalog. Those that look something up there run where it is (`shardd_...` are its lookups).
//!
//! Everybody may do everything, and nothing has a comment, a view's text or a size that is known.

/// `name arguments result form`; see the parent for the notation.
pub(super) const TABLE: &str = "\
f array_lower int2vector,int4 int4 (CASE WHEN pg_array_length({0}, {1}) IS NULL THEN NULL ELSE 0 END)
f array_lower oidvector,int4 int4 (CASE WHEN pg_array_length({0}, {1}) IS NULL THEN NULL ELSE 0 END)
f array_upper int2vector,int4 int4 (pg_array_length({0}, {1}) - 1)
f array_upper oidvector,int4 int4 (pg_array_length({0}, {1}) - 1)
f array_position int2vector,int2 int4 (pg_array_position({0}, {1}) - 1)
f array_position oidvector,oid int4 (pg_array_position({0}, {1}) - 1)
f col_description oid,int4 text NULL
f current_schemas bool _name (CASE {0} WHEN 1 THEN {all schemas} WHEN 0 THEN {schemas} END)
f current_setting text text pg_fixed_setting({0}, {tz})
f current_setting text,bool text pg_fixed_setting({0}, {tz})
f format_type oid,int4 text pg_format_type({0}, {1})
f has_any_column_privilege name,oid,text bool 1
f has_any_column_privilege name,text,text bool 1
f has_any_column_privilege oid,text bool 1
f has_any_column_privilege text,text bool 1
f has_column_privilege oid,int2,text bool 1
f has_column_privilege oid,text,text bool 1
f has_column_privilege text,text,text bool 1
f has_database_privilege name,text,text bool 1
f has_database_privilege oid,text bool 1
f has_database_privilege text,text bool 1
f has_function_privilege oid,text bool 1
f has_function_privilege text,text bool 1
f has_schema_privilege name,oid,text bool 1
f has_schema_privilege name,text,text bool 1
f has_schema_privilege oid,text bool 1
f has_schema_privilege text,text bool 1
f has_sequence_privilege oid,text bool 1
f has_sequence_privilege text,text bool 1
f has_table_privilege name,oid,text bool 1
f has_table_privilege name,text,text bool 1
f has_table_privilege oid,text bool 1
f has_table_privilege text,text bool 1
f has_type_privilege oid,text bool 1
f has_type_privilege text,text bool 1
f obj_description oid text NULL
f obj_description oid,name text NULL
f pg_char_to_encoding name int4 (CASE upper({0}) WHEN 'UTF8' THEN 6 ELSE -1 END)
f pg_collation_is_visible oid bool (SELECT 1 FROM pg_collation WHERE oid = {0})
f pg_database_size name int8 NULL
f pg_database_size oid int8 NULL
f pg_encoding_to_char int4 name (CASE {0} WHEN 6 THEN 'UTF8' ELSE '' END)
f pg_function_is_visible oid bool (SELECT 1 FROM pg_proc WHERE oid = {0})
f pg_get_constraintdef oid text (SELECT plain FROM shardd_constraint WHERE oid = {0})
f pg_get_constraintdef oid,bool text (SELECT CASE {1} WHEN 1 THEN pretty ELSE plain END FROM shardd_constraint WHERE oid = {0})
f pg_get_expr pg_node_tree,oid text json_extract({0}, '$[0]')
f pg_get_expr pg_node_tree,oid,bool text json_extract({0}, CASE {2} WHEN 1 THEN '$[1]' ELSE '$[0]' END)
f pg_get_function_arg_default oid,int4 text NULL
f pg_get_function_arguments oid text NULL
f pg_get_function_identity_arguments oid text NULL
f pg_get_function_result oid text NULL
f pg_get_functiondef oid text NULL
f pg_get_indexdef oid text (SELECT plain FROM shardd_index WHERE oid = {0} AND number = 0)
f pg_get_indexdef oid,int4,bool text (SELECT CASE {2} WHEN 1 THEN pretty ELSE plain END FROM shardd_index WHERE oid = {0} AND number = {1})
f pg_get_partkeydef oid text NULL
f pg_get_ruledef oid text NULL
f pg_get_ruledef oid,bool text NULL
f pg_get_serial_sequence text,text text (SELECT 'public.' || pg_quote_ident(s.relname) FROM shardd_relation r, pg_depend d, pg_attribute a, pg_class s WHERE r.name = pg_qualified_name({0}) AND a.attrelid = r.oid AND a.attname = {1} AND d.refobjid = r.oid AND d.refobjsubid = a.attnum AND d.deptype IN ('a', 'i') AND s.oid = d.objid AND s.relkind = 'S')
f pg_get_statisticsobjdef oid text NULL
f pg_get_statisticsobjdef_columns oid text NULL
f pg_get_triggerdef oid text NULL
f pg_get_triggerdef oid,bool text NULL
f pg_get_userbyid oid name coalesce((SELECT rolname FROM pg_authid WHERE oid = {0}), 'unknown (OID=' || {0} || ')')
f pg_get_viewdef oid text NULL
f pg_get_viewdef oid,bool text NULL
f pg_get_viewdef oid,int4 text NULL
f pg_get_viewdef text text NULL
f pg_indexes_size regclass int8 NULL
f pg_is_in_recovery () bool 0
f pg_is_other_temp_schema oid bool 0
f pg_my_temp_schema () oid 0
f pg_opclass_is_visible oid bool (SELECT 1 FROM pg_opclass WHERE oid = {0})
f pg_operator_is_visible oid bool (SELECT 1 FROM pg_operator WHERE oid = {0})
f pg_relation_is_publishable regclass bool (SELECT relkind = 'r' FROM pg_class WHERE oid = {0})
f pg_relation_size regclass int8 NULL
f pg_relation_size regclass,text int8 NULL
f pg_sequence_last_value regclass int8 NULL
f pg_size_pretty int8 text pg_size_pretty({0})
f pg_statistics_obj_is_visible oid bool (SELECT 1 FROM pg_statistic_ext WHERE oid = {0})
f pg_table_is_visible oid bool (SELECT relnamespace <> 13207 FROM pg_class WHERE oid = {0})
f pg_table_size regclass int8 NULL
f pg_tablespace_location oid text (SELECT '' FROM pg_tablespace WHERE oid = {0})
f pg_total_relation_size regclass int8 NULL
f pg_type_is_visible oid bool (SELECT 1 FROM pg_type WHERE oid = {0})
f pg_typeof any regtype {typeof 0}
f shobj_description oid,name text NULL
f to_regclass text regclass (SELECT oid FROM shardd_relation WHERE name = pg_qualified_name({0}))
f to_regnamespace text regnamespace (SELECT oid FROM pg_namespace WHERE nspname = {0})
f to_regtype text regtype pg_to_regtype({0})
s _pg_expandarray anyarray record pg_expandarray
s pg_partition_ancestors regclass regclass none
s generate_subscripts anyarray,int4 int4 pg_subscripts
s generate_subscripts int2vector,int4 int4 pg_subscripts_from_0
s generate_subscripts oidvector,int4 int4 pg_subscripts_from_0
";
