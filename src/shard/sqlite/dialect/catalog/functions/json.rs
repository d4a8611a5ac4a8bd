//! Functions of json and jsonb.
//!
//! A subject of its own, so that the tables can be read side by side with the manual.

/// `name arguments result form`; see the parent for the notation.
pub(super) const TABLE: &str = "\
f array_to_json anyarray json -
f array_to_json anyarray,bool json -
f json_array_length json int4 pg_json_array_length({0})
f json_build_array () json '[]'
f json_build_array ...any json pg_json_build_array({json *})
f json_build_object () json '{}'
f json_build_object ...any json pg_json_build_object({json *})
f json_extract_path json,..._text json pg_json_get_path({0}, json_array({1 *}))
f json_extract_path_text json,..._text text pg_json_get_path_text({0}, json_array({1 *}))
f json_object _text json -
f json_object _text,_text json -
f json_populate_record anyelement,json,bool? anyelement -
f json_strip_nulls json json -
f json_typeof json text pg_json_typeof({0})
f jsonb_array_length jsonb int4 pg_json_array_length({0})
f jsonb_build_array () jsonb '[]'
f jsonb_build_array ...any jsonb pg_jsonb_build_array({jsonb *})
f jsonb_build_object () jsonb '{}'
f jsonb_build_object ...any jsonb pg_jsonb_build_object({jsonb *})
f jsonb_extract_path jsonb,..._text jsonb pg_jsonb_get_path({0}, json_array({1 *}))
f jsonb_extract_path_text jsonb,..._text text pg_jsonb_get_path_text({0}, json_array({1 *}))
f jsonb_insert jsonb,_text,jsonb,bool? jsonb pg_jsonb_insert({0}, {1}, {2}, {3})
f jsonb_object _text jsonb -
f jsonb_object _text,_text jsonb -
f jsonb_populate_record anyelement,jsonb anyelement -
f jsonb_pretty jsonb text pg_jsonb_pretty({0})
f jsonb_set jsonb,_text,jsonb,bool? jsonb pg_jsonb_set({0}, {1}, {2}, {3})
f jsonb_set_lax jsonb,_text,jsonb,bool?,text? jsonb -
f jsonb_strip_nulls jsonb jsonb pg_jsonb_strip_nulls({0})
f jsonb_typeof jsonb text pg_json_typeof({0})
f to_json anyelement json {json 0}
f to_jsonb anyelement jsonb {jsonb 0}
s json_array_elements json json pg_json_elements
s json_array_elements_text json text pg_json_elements_text
s json_object_keys json text pg_json_keys
s json_populate_recordset anyelement,json,bool? anyelement -
s jsonb_array_elements jsonb jsonb pg_json_elements
s jsonb_array_elements_text jsonb text pg_json_elements_text
s jsonb_object_keys jsonb text pg_json_keys
s jsonb_populate_recordset anyelement,jsonb anyelement -
";
