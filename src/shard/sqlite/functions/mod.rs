//! What Postgres has and SQLite lacks, as functions of the connection. This page is the registry of their names.
//!
//! Arguments and results are cells (see [`super::storage`]): `i` INTEGER, `r` REAL, `n` numeric TEXT, `t` TEXT, `j` JSON
//! TEXT, `a` an array's cell, `v` an interval's BLOB, `b` a BLOB, `o` a boolean INTEGER, `x` anything. NULL in any argument
//! gives NULL unless `*` says otherwise. `zone` is a value of the setting TimeZone as [`crate::types::Zone::name`] gives it
//! (NULL is UTC); a zone that a user names goes through `pg_zone(t)` first, since abbreviations mean other things there.
//! All are deterministic but `pg_random`, `pg_gen_random_uuid` and `pg_clock_timestamp`. The store adds `pg_next_id`.
//!
//! **Integers.** `pg_int2(x) pg_int4(x) pg_int8(x) -> i` check the range of SQLite's own arithmetic (a REAL is an overflow);
//! `pg_oid(i)`; `pg_int{2,4,8}_div(i, i)`, `_mod`, `_shl`, `_shr`; `pg_int8_abs(i)`, `pg_int8_gcd(i, i)`, `pg_int8_lcm(i, i)`;
//! `pg_to_hex(i, bits) -> t`; `pg_ntile_buckets(i) -> i` and `pg_nth_place(i) -> i` (22014, 22016 for what is not
//! positive).
//!
//! **Floats.** `pg_float4_{add,sub,mul,div}(r, r)`, `pg_float8_{add,sub,mul,div,power,atan2}(r, r)`, `pg_float8_{sqrt,cbrt,
//! exp,ln,log10,ceil,floor,round,trunc,degrees,radians,sin,cos,tan,cot,asin,acos,atan,sinh,cosh,tanh}(r)`, `pg_random() -> r`.
//!
//! **Numerics.** `pg_numeric_{add,sub,mul,div,div_trunc,mod,power}(n, n) -> n`, `pg_numeric_log(base, n)`,
//! `pg_numeric_{log10,ln,exp,sqrt,neg,abs,sign,ceil,floor,trim_scale}(n) -> n`, `pg_numeric_{round,trunc}(n, places) -> n`,
//! `pg_numeric_{scale,min_scale}(n) -> i`, `pg_numeric_modifier(n, atttypmod) -> n`.
//!
//! **Casts.** `pg_FROM_TO(x [, zone])`, both by catalog name (`pg_text_int4`, `pg_float8_numeric`, `pg_timestamptz_date`),
//! arrays as `array_int4`: text and its kin from and to everything, numbers among themselves, numbers and booleans, dates
//! and timestamps, json and jsonb, jsonb to numbers and booleans. `pg_varchar(t, length, explicit)`, `pg_bpchar(t, length,
//! explicit)`, `pg_timestamp_precision(i, places)`, `pg_interval_modifier(v, atttypmod)`, `pg_array_modifier(a, 'type', atttypmod,
//! explicit)`, `pg_array_cast(a, 'from element', 'to element', zone)`.
//!
//! **Text.** `pg_ascii(t) -> i`, `pg_chr(i)`, `pg_concat(...)`*, `pg_concat_ws(t, ...)`*, `pg_initcap(t)`, `pg_left(t, i)`,
//! `pg_right(t, i)`, `pg_lpad(t, i, t)`, `pg_rpad(t, i, t)`, `pg_md5(t|b)`, `pg_sha256(t|b) -> b`, `pg_overlay(t, t, start, count)`,
//! `pg_quote_ident(t)`, `pg_quote_literal(t)`, `pg_quote_nullable(t)`*, `pg_repeat(t, i)`, `pg_reverse(t)`,
//! `pg_split_part(t, t, i)`, `pg_starts_with(t, t) -> o`, `pg_substring(t, start [, count])`, `pg_translate(t, t, t)`,
//! `pg_bytea_concat(b, b) -> b`, `pg_encode(b, t) -> t`, `pg_decode(t, t) -> b`,
//! `pg_bytea_substring(b, start [, count]) -> b`, `pg_bytea_position(b, b) -> i`, `pg_get_byte(b, i) -> i`,
//! `pg_convert_to(t, encoding) -> b`, `pg_convert_from(b, encoding) -> t`, `pg_gen_random_uuid() -> b`,
//! `pg_format(template, ...)`* (values as text), `pg_to_char_numeric(n, t)`. `upper`, `lower`, `length`, `replace`, `trim`, `instr`
//! are SQLite's own.
//!
//! **Patterns.** `pg_like(t, pattern [, escape])`, `pg_ilike(...) -> o`: without an escape it is the backslash, `''` is none;
//! `pg_regex(t, pattern, fold) -> o`, `pg_regexp_like(t, pattern, flags) -> o`, `pg_regexp_match(t, pattern, flags) -> a`,
//! `pg_regexp_matches(t, pattern, flags) -> JSON array of a as strings`, `pg_regexp_replace(t, pattern, t, flags)`,
//! `pg_regexp_split(t, pattern, flags) -> a`, `pg_substring_regex(t, pattern)`,
//! `pg_similar(t, pattern, escape) -> o`.
//!
//! **Dates.** `pg_timestamp_{add,sub}_interval(i, v)`, `pg_timestamptz_{add,sub}_interval(i, v, zone)`,
//! `pg_timestamp_diff(i, i) -> v`, `pg_date_add_days(i, i)`, `pg_date_diff(i, i)`, `pg_interval_{add,sub}(v, v)`, `pg_interval_neg(v)`,
//! `pg_interval_{mul,div}(v, r)`, `pg_interval_key(v) -> b` (sorts bytewise as intervals do), `pg_justify_{days,hours,interval}(v)`,
//! `pg_age(i, i) -> v`, `pg_age_timestamptz(i, i, zone)`, `pg_date_trunc_timestamp(t, i)`, `pg_date_trunc_timestamptz(t, i, zone)`,
//! `pg_date_trunc_interval(t, v)`, `pg_date_bin(v, i, i)`, `pg_extract(t, x, 'date'|'time'|'timestamp'|'timestamptz'|'interval',
//! zone)* -> n` and `pg_date_part(...)* -> r`, `pg_make_date(i, i, i)`, `pg_make_time(i, i, r)`, `pg_make_timestamp(i x 5, r)`,
//! `pg_make_timestamptz(i x 5, r, zone)`, `pg_make_interval(i x 6, r) -> v`, `pg_to_timestamp(r)`, `pg_timestamp_at_zone(i, t)`,
//! `pg_timestamptz_at_zone(i, t)` (t as a user names a zone), `pg_zone(t)`, `pg_interval_zone(v) -> zone`,
//! `pg_to_char_timestamp(i, t)`, `pg_to_char_timestamptz(i, t, zone)`, `pg_to_date(t, t)`, `pg_clock_timestamp()`.
//!
//! **JSON.** `pg_json_*` keep the text as written, `pg_jsonb_*` give the canonical form: `_get(j, t)`, `_get_text`, `_get_index(j, i)`,
//! `_get_index_text`, `_get_path(j, a)`, `_get_path_text`. `pg_jsonb_contains(j, j) -> o`, `pg_jsonb_exists(j, t)`,
//! `pg_jsonb_exists_any(j, a)`, `_exists_all`, `pg_jsonb_concat(j, j)`, `pg_jsonb_delete(j, t)`, `_delete_index(j, i)`,
//! `_delete_keys(j, a)`, `_delete_path(j, a)`, `pg_jsonb_set(j, a, j [, create])`, `pg_jsonb_insert(j, a, j [, after])`, `pg_jsonb_pretty(j)`,
//! `pg_jsonb_strip_nulls(j)`, `pg_jsonb_key(j) -> t` (equal where the values are), `pg_json_typeof(j)`, `pg_json_array_length(j)`,
//! `pg_to_json(x, 'type', zone)`, `pg_to_jsonb(...)`, `pg_json_build_array(j, ...)*`, `pg_jsonb_build_array`,
//! `pg_json_build_object(j, j, ...)*`, `pg_jsonb_build_object`, `pg_row_members(t, j, ...)*` (names and values). For `json_each`, given the name of Postgres's function for its messages:
//! `pg_json_elements(j, name) -> a` (of texts, each a JSON text), `pg_json_elements_text(j, name)`, `pg_json_keys(j, name)`,
//! `pg_json_each(j, name)` and `pg_json_each_text(j, name)` (a JSON array of pairs `["key", "value"]`).
//!
//! **Arrays.** `pg_array(x, ...)* -> a`, `pg_array_length(a, dimension)`, `pg_array_append(a, x)*`, `pg_array_prepend(x, a)*`,
//! `pg_array_cat(a, a)*`, `pg_array_slice(a, from, to)`, `pg_array_replace(a, x, x [, 'element'])*`,
//! `pg_array_positions(a, x [, 'element'])*`, `pg_array_position(a, x [, 'element'])*`, `pg_array_remove(a, x [, 'element'])*`,
//! `pg_array_contains(a, a [, 'element']) -> o`, `pg_array_overlap(a, a [, 'element']) -> o`, `pg_array_canonical(a)`, `pg_array_key(a, 'element') -> b` (equal
//! where the arrays are), `pg_array_to_string(a, t, t, 'element', zone)*`, `pg_string_to_array(t, t, t)* -> a`. The element type is
//! needed where cells of equal values differ: numeric.
//!
//! **Aggregates** (and window functions). `pg_sum_int4(i) -> i` (of int2 and int4), `pg_sum_int8(i) -> n`, `pg_avg_int(i) -> n`,
//! `pg_sum_numeric(n)`, `pg_avg_numeric(n)`, `pg_sum_float4(r)`, `pg_sum_float8(r)`, `pg_avg_float8(r)`, `pg_{sum,avg,min,max}_interval(v)`,
//! `pg_{var,stddev}_{samp,pop}_{numeric,float8}`, `pg_bit_{and,or,xor}(i)`, `pg_{corr,covar_pop,covar_samp,regr_*}(r, r)`, `pg_string_agg(t, t)`, `pg_bytea_agg(b, b)`, `pg_array_agg(x)*`,
//! `pg_json_agg(j)*`, `pg_json_agg_lines(j)*`, `pg_jsonb_agg(j)*`, `pg_json_object_agg(t, j)`, `pg_jsonb_object_agg(t, j)`, `pg_single(x)*` (21000 for a second row).
//!
//! **Ordered sets**, of an array in its order: `pg_percentile{disc,cont}(a, r)`, `pg_percentile{disc,cont}s(a, a) -> a`,
//! `pg_mode(a, 'element')`.
//!
//! **Series**, as arrays: `pg_generate_series(i, i, step) -> a`, `pg_generate_series_timestamp(i, i, v, zone or NULL)* -> a`.
//!
//! **Rows** as texts, without loss: `pg_row(x, ...)* -> t`, `pg_row_field(t, i)` counts from 0.
//!
//! **Collations**, by value: `pg_numeric`, `pg_jsonb`, and `pg_array_ELEMENT` by the element's catalog name.
//!
//! **Demands.** `pg_not_null(x, table, column)* -> x` (23502), `pg_affects_once(o)*` (21000 when a key comes twice),
//! `pg_raise(sqlstate, message)`, `pg_limit(i)*` and `pg_offset(i)*` (2201W, 2201X; NULL is none).
//!
//! **System catalog.** `pg_format_type(i, i)*`, `pg_qualified_name(t) -> t` (a name as identifiers are read; NULL for none),
//! `pg_reg_found(t, i, what)*`, `pg_reg_read(t, 'reg type') -> i`, `pg_reg_show(i, 'reg type') -> t`, `pg_to_regtype(t) -> i`,
//! `pg_vector_text(a) -> t`, `pg_subscripts(a, dimension) -> a`, `pg_subscripts_from_0(a, dimension)`, `pg_array_zip(a, ...)*`, `pg_expandarray(a)`,
//! `pg_size_pretty(i) -> t`, `pg_fixed_setting(t, zone) -> t`.
//!
//! **Keys.** `pg_slot(i|t|b) -> i`: the slot of a sharding key; `pg_in_slots(i|t|b, t) -> o`: whether it is one of a set. The store adds
//! `shardd_guard(t, x)` and `shardd_guard_old(t, x)`, which its guard's triggers call.

mod aggregates;
mod arrays;
mod bytes;
mod call;
mod casts;
mod collations;
mod dates;
mod demands;
mod floats;
mod format;
mod integers;
mod jsons;
mod keys;
mod numerics;
mod patterns;
mod percentiles;
mod raise;
mod regression;
mod rows;
mod series;
mod statistics;
mod system;
mod texts;

#[cfg(test)]
mod tests;

use rusqlite::Connection;

pub use keys::slot_of_cell;
pub use raise::{raise, raised};

const TABLES: &[&[call::Function]] = &[
    arrays::FUNCTIONS,
    bytes::FUNCTIONS,
    casts::FUNCTIONS,
    dates::FUNCTIONS,
    demands::FUNCTIONS,
    floats::FUNCTIONS,
    format::FUNCTIONS,
    integers::FUNCTIONS,
    jsons::FUNCTIONS,
    keys::FUNCTIONS,
    numerics::FUNCTIONS,
    rows::FUNCTIONS,
    patterns::FUNCTIONS,
    percentiles::FUNCTIONS,
    series::FUNCTIONS,
    system::FUNCTIONS,
    texts::FUNCTIONS,
];

/// Gives a connection all of the functions above, and the collations.
pub fn register(connection: &Connection) -> rusqlite::Result<()> {
    collations::register(connection)?;
    for function in TABLES.iter().copied().flatten() {
        function.register(connection)?;
    }
    casts::register(connection)?;
    aggregates::register(connection)
}
