//! Aggregate functions.
//!
//! They have a table of their own since FILTER, DISTINCT and ORDER BY apply to them alone.

/// `name arguments result form`; see the parent for the notation.
pub(super) const TABLE: &str = "\
a array_agg anyarray anyarray -
a array_agg anynonarray anyarray pg_array_agg({cell 0})
a avg float4 float8 pg_avg_float8({0})
a avg float8 float8 pg_avg_float8({0})
a avg int2 numeric pg_avg_int({0})
a avg int4 numeric pg_avg_int({0})
a avg int8 numeric pg_avg_int({0})
a avg interval interval pg_avg_interval({0})
a avg numeric numeric pg_avg_numeric({0})
a bit_and int2 int2 pg_bit_and({0})
a bit_and int4 int4 pg_bit_and({0})
a bit_and int8 int8 pg_bit_and({0})
a bit_or int2 int2 pg_bit_or({0})
a bit_or int4 int4 pg_bit_or({0})
a bit_or int8 int8 pg_bit_or({0})
a bit_xor int2 int2 pg_bit_xor({0})
a bit_xor int4 int4 pg_bit_xor({0})
a bit_xor int8 int8 pg_bit_xor({0})
a bool_and bool bool min({0})
a bool_or bool bool max({0})
a corr float8,float8 float8 pg_corr({0}, {1})
a count () int8 count(*)
a count any int8 count({0})
a covar_pop float8,float8 float8 pg_covar_pop({0}, {1})
a covar_samp float8,float8 float8 pg_covar_samp({0}, {1})
a cume_dist ...any float8 -
a dense_rank ...any int8 -
a every bool bool min({0})
a json_agg anyelement json pg_json_agg({json 0})
a json_object_agg any,any json pg_json_object_agg({text 0}, {json 1})
a jsonb_agg anyelement jsonb pg_jsonb_agg({jsonb 0})
a jsonb_object_agg any,any jsonb pg_jsonb_object_agg({text 0}, {jsonb 1})
a max anyarray anyarray max
a max bpchar bpchar max
a max date date max
a max float4 float4 max
a max float8 float8 max
a max int2 int2 max
a max int4 int4 max
a max int8 int8 max
a max interval interval max
a max numeric numeric max
a max oid oid max
a max text text max
a max time time -
a max timestamp timestamp max
a max timestamptz timestamptz max
a min anyarray anyarray min
a min bpchar bpchar min
a min date date min
a min float4 float4 min
a min float8 float8 min
a min int2 int2 min
a min int4 int4 min
a min int8 int8 min
a min interval interval min
a min numeric numeric min
a min oid oid min
a min text text min
a min time time -
a min timestamp timestamp min
a min timestamptz timestamptz min
a mode anyelement anyelement -
a percent_rank ...any float8 -
a percentile_cont _float8,float8 _float8 -
a percentile_cont _float8,interval _interval -
a percentile_cont float8,float8 float8 -
a percentile_cont float8,interval interval -
a percentile_disc _float8,anyelement anyarray -
a percentile_disc float8,anyelement anyelement -
a rank ...any int8 -
a regr_avgx float8,float8 float8 pg_regr_avgx({0}, {1})
a regr_avgy float8,float8 float8 pg_regr_avgy({0}, {1})
a regr_count float8,float8 int8 count(iif({0} IS NULL, NULL, {1}))
a regr_intercept float8,float8 float8 pg_regr_intercept({0}, {1})
a regr_r2 float8,float8 float8 pg_regr_r2({0}, {1})
a regr_slope float8,float8 float8 pg_regr_slope({0}, {1})
a regr_sxx float8,float8 float8 pg_regr_sxx({0}, {1})
a regr_sxy float8,float8 float8 pg_regr_sxy({0}, {1})
a regr_syy float8,float8 float8 pg_regr_syy({0}, {1})
a stddev float4 float8 pg_stddev_samp_float8({0})
a stddev float8 float8 pg_stddev_samp_float8({0})
a stddev int2 numeric pg_stddev_samp_numeric(CAST({0} AS TEXT))
a stddev int4 numeric pg_stddev_samp_numeric(CAST({0} AS TEXT))
a stddev int8 numeric pg_stddev_samp_numeric(CAST({0} AS TEXT))
a stddev numeric numeric pg_stddev_samp_numeric({0})
a stddev_pop float4 float8 pg_stddev_pop_float8({0})
a stddev_pop float8 float8 pg_stddev_pop_float8({0})
a stddev_pop int2 numeric pg_stddev_pop_numeric(CAST({0} AS TEXT))
a stddev_pop int4 numeric pg_stddev_pop_numeric(CAST({0} AS TEXT))
a stddev_pop int8 numeric pg_stddev_pop_numeric(CAST({0} AS TEXT))
a stddev_pop numeric numeric pg_stddev_pop_numeric({0})
a stddev_samp float4 float8 pg_stddev_samp_float8({0})
a stddev_samp float8 float8 pg_stddev_samp_float8({0})
a stddev_samp int2 numeric pg_stddev_samp_numeric(CAST({0} AS TEXT))
a stddev_samp int4 numeric pg_stddev_samp_numeric(CAST({0} AS TEXT))
a stddev_samp int8 numeric pg_stddev_samp_numeric(CAST({0} AS TEXT))
a stddev_samp numeric numeric pg_stddev_samp_numeric({0})
a string_agg bytea,bytea bytea pg_bytea_agg({0}, {1})
a string_agg text,text text pg_string_agg({0}, {1})
a sum float4 float4 pg_sum_float4({0})
a sum float8 float8 pg_sum_float8({0})
a sum int2 int8 pg_sum_int4({0})
a sum int4 int8 pg_sum_int4({0})
a sum int8 numeric pg_sum_int8({0})
a sum interval interval pg_sum_interval({0})
a sum numeric numeric pg_sum_numeric({0})
a var_pop float4 float8 pg_var_pop_float8({0})
a var_pop float8 float8 pg_var_pop_float8({0})
a var_pop int2 numeric pg_var_pop_numeric(CAST({0} AS TEXT))
a var_pop int4 numeric pg_var_pop_numeric(CAST({0} AS TEXT))
a var_pop int8 numeric pg_var_pop_numeric(CAST({0} AS TEXT))
a var_pop numeric numeric pg_var_pop_numeric({0})
a var_samp float4 float8 pg_var_samp_float8({0})
a var_samp float8 float8 pg_var_samp_float8({0})
a var_samp int2 numeric pg_var_samp_numeric(CAST({0} AS TEXT))
a var_samp int4 numeric pg_var_samp_numeric(CAST({0} AS TEXT))
a var_samp int8 numeric pg_var_samp_numeric(CAST({0} AS TEXT))
a var_samp numeric numeric pg_var_samp_numeric({0})
a variance float4 float8 pg_var_samp_float8({0})
a variance float8 float8 pg_var_samp_float8({0})
a variance int2 numeric pg_var_samp_numeric(CAST({0} AS TEXT))
a variance int4 numeric pg_var_samp_numeric(CAST({0} AS TEXT))
a variance int8 numeric pg_var_samp_numeric(CAST({0} AS TEXT))
a variance numeric numeric pg_var_samp_numeric({0})
";
