//! Functions of the session and the system.
//!
//! What they give comes from the session, or is refused. `shardd_in_slots` is for conditions of shardd's own.

/// `name arguments result form`; see the parent for the notation.
pub(super) const TABLE: &str = "\
f concat ...any text pg_concat({out *})
f current_database () name {database}
f current_query () text -
f current_schema () name {schema}
f current_user () name {user}
f currval regclass int8 -
f gen_random_uuid () uuid pg_gen_random_uuid()
f getdatabaseencoding () name 'UTF8'
f getpgusername () name -
f lastval () int8 -
f nextval regclass int8 -
f pg_advisory_unlock_all () void -
f pg_backend_pid () int4 {pid}
f quote_literal anyelement text pg_quote_literal({text 0})
f quote_nullable anyelement text pg_quote_nullable({text 0})
f row_security_active oid bool -
f session_user () name {user}
f shardd_in_slots int8,text bool pg_in_slots({0}, {1})
f shardd_in_slots text,text bool pg_in_slots({0}, {1})
f shardd_in_slots uuid,text bool pg_in_slots({0}, {1})
f setval regclass,int8 int8 -
f setval regclass,int8,bool int8 -
f txid_current () int8 -
f txid_current_if_assigned () int8 -
f version () text {version}
f width_bucket anycompatible,anycompatiblearray int4 -
";
