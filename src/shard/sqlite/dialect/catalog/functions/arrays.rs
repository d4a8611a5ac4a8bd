//! Functions of arrays.
//!
//! A subject of its own, so that the tables can be read side by side with the manual.

/// `name arguments result form`; see the parent for the notation.
pub(super) const TABLE: &str = "\
f array_append anycompatiblearray,anycompatible anycompatiblearray pg_array_append({0}, {cell 1})
f array_cat anycompatiblearray,anycompatiblearray anycompatiblearray pg_array_cat({0}, {1})
f array_dims anyarray text (CASE WHEN json_array_length({0}) > 0 THEN '[1:' || json_array_length({0}) || ']' END)
f array_fill anyelement,_int4 anyarray -
f array_fill anyelement,_int4,_int4 anyarray -
f array_length anyarray,int4 int4 pg_array_length({0}, {1})
f array_lower anyarray,int4 int4 (CASE WHEN pg_array_length({0}, {1}) IS NULL THEN NULL ELSE 1 END)
f array_ndims anyarray int4 (CASE WHEN json_array_length({0}) > 0 THEN 1 END)
f array_position anycompatiblearray,anycompatible int4 pg_array_position({0}, {cell 1}, {element 0})
f array_position anycompatiblearray,anycompatible,int4 int4 -
f array_positions anycompatiblearray,anycompatible _int4 pg_array_positions({0}, {cell 1}, {element 0})
f array_prepend anycompatible,anycompatiblearray anycompatiblearray pg_array_prepend({cell 0}, {1})
f array_remove anycompatiblearray,anycompatible anycompatiblearray pg_array_remove({0}, {cell 1}, {element 0})
f array_replace anycompatiblearray,anycompatible,anycompatible anycompatiblearray pg_array_replace({0}, {cell 1}, {cell 2}, {element 0})
f array_to_string anyarray,text text pg_array_to_string({0}, {1}, NULL, {element 0}, {tz})
f array_to_string anyarray,text,text text pg_array_to_string({0}, {1}, {2}, {element 0}, {tz})
f array_upper anyarray,int4 int4 pg_array_length({0}, {1})
f cardinality anyarray int4 json_array_length({0})
f num_nonnulls ...any int4 ({count *})
f num_nulls ...any int4 ({nulls *})
f trim_array anyarray,int4 anyarray -
s generate_subscripts anyarray,int4,bool int4 -
s unnest anyarray anyelement unnest
";
