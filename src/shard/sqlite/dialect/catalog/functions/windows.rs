//! Window functions.
//!
//! They need OVER.

/// `name arguments result form`; see the parent for the notation.
pub(super) const TABLE: &str = "\
w cume_dist () float8 cume_dist()
w dense_rank () int8 dense_rank()
w first_value anyelement anyelement first_value({0})
w lag anycompatible,int4,anycompatible anycompatible lag({0}, {1}, {2})
w lag anyelement anyelement lag({0})
w lag anyelement,int4 anyelement lag({0}, {1})
w last_value anyelement anyelement last_value({0})
w lead anycompatible,int4,anycompatible anycompatible lead({0}, {1}, {2})
w lead anyelement anyelement lead({0})
w lead anyelement,int4 anyelement lead({0}, {1})
w nth_value anyelement,int4 anyelement nth_value({0}, pg_nth_place({1}))
w ntile int4 int4 ntile(pg_ntile_buckets({0}))
w percent_rank () float8 percent_rank()
w rank () int8 rank()
w row_number () int8 row_number()
";
