//! Functions of numbers.
//!
//! A subject of its own, so that the tables can be read side by side with the manual.

/// `name arguments result form`; see the parent for the notation.
pub(super) const TABLE: &str = "\
f abs float4 float4 (abs({0}) + 0.0)
f abs float8 float8 (abs({0}) + 0.0)
f abs int2 int2 pg_int2(abs({0}))
f abs int4 int4 pg_int4(abs({0}))
f abs int8 int8 pg_int8_abs({0})
f abs numeric numeric pg_numeric_abs({0})
f acos float8 float8 pg_float8_acos({0})
f acosd float8 float8 -
f acosh float8 float8 -
f asin float8 float8 pg_float8_asin({0})
f asind float8 float8 -
f asinh float8 float8 -
f atan float8 float8 pg_float8_atan({0})
f atan2 float8,float8 float8 pg_float8_atan2({0}, {1})
f atan2d float8,float8 float8 -
f atand float8 float8 -
f atanh float8 float8 -
f cbrt float8 float8 pg_float8_cbrt({0})
f ceil float8 float8 pg_float8_ceil({0})
f ceil numeric numeric pg_numeric_ceil({0})
f ceiling float8 float8 pg_float8_ceil({0})
f ceiling numeric numeric pg_numeric_ceil({0})
f chr int4 text pg_chr({0})
f cos float8 float8 pg_float8_cos({0})
f cosd float8 float8 -
f cosh float8 float8 pg_float8_cosh({0})
f cot float8 float8 pg_float8_cot({0})
f cotd float8 float8 -
f degrees float8 float8 pg_float8_degrees({0})
f div numeric,numeric numeric pg_numeric_div_trunc({0}, {1})
f exp float8 float8 pg_float8_exp({0})
f exp numeric numeric pg_numeric_exp({0})
f factorial int8 numeric -
f floor float8 float8 pg_float8_floor({0})
f floor numeric numeric pg_numeric_floor({0})
f gcd int4,int4 int4 pg_int4(pg_int8_gcd({0}, {1}))
f gcd int8,int8 int8 pg_int8_gcd({0}, {1})
f gcd numeric,numeric numeric -
f lcm int4,int4 int4 pg_int4(pg_int8_lcm({0}, {1}))
f lcm int8,int8 int8 pg_int8_lcm({0}, {1})
f lcm numeric,numeric numeric -
f ln float8 float8 pg_float8_ln({0})
f ln numeric numeric pg_numeric_ln({0})
f log float8 float8 pg_float8_log10({0})
f log numeric numeric pg_numeric_log10({0})
f log numeric,numeric numeric pg_numeric_log({0}, {1})
f log10 float8 float8 pg_float8_log10({0})
f log10 numeric numeric pg_numeric_log10({0})
f min_scale numeric int4 pg_numeric_min_scale({0})
f mod int2,int2 int2 pg_int2_mod({0}, {1})
f mod int4,int4 int4 pg_int4_mod({0}, {1})
f mod int8,int8 int8 pg_int8_mod({0}, {1})
f mod numeric,numeric numeric pg_numeric_mod({0}, {1})
f pg_advisory_lock int4,int4 void -
f pg_advisory_lock int8 void -
f pg_advisory_unlock int4,int4 bool -
f pg_advisory_unlock int8 bool -
f pg_advisory_xact_lock int4,int4 void -
f pg_advisory_xact_lock int8 void -
f pg_sleep float8 void -
f pg_try_advisory_lock int4,int4 bool -
f pg_try_advisory_lock int8 bool -
f pg_try_advisory_xact_lock int4,int4 bool -
f pg_try_advisory_xact_lock int8 bool -
f pi () float8 3.141592653589793
f pow float8,float8 float8 pg_float8_power({0}, {1})
f pow numeric,numeric numeric pg_numeric_power({0}, {1})
f power float8,float8 float8 pg_float8_power({0}, {1})
f power numeric,numeric numeric pg_numeric_power({0}, {1})
f radians float8 float8 pg_float8_radians({0})
f random () float8 pg_random()
f round float8 float8 pg_float8_round({0})
f round numeric numeric pg_numeric_round({0}, 0)
f round numeric,int4 numeric pg_numeric_round({0}, {1})
f scale numeric int4 pg_numeric_scale({0})
f setseed float8 void -
f sign float8 float8 CAST(sign({0}) AS REAL)
f sign numeric numeric pg_numeric_sign({0})
f sin float8 float8 pg_float8_sin({0})
f sind float8 float8 -
f sinh float8 float8 pg_float8_sinh({0})
f sqrt float8 float8 pg_float8_sqrt({0})
f sqrt numeric numeric pg_numeric_sqrt({0})
f tan float8 float8 pg_float8_tan({0})
f tand float8 float8 -
f tanh float8 float8 pg_float8_tanh({0})
f to_char float8,text text -
f to_char numeric,text text pg_to_char_numeric({0}, {1})
f to_hex int4 text pg_to_hex({0}, 32)
f to_hex int8 text pg_to_hex({0}, 64)
f trim_scale numeric numeric pg_numeric_trim_scale({0})
f trunc float8 float8 pg_float8_trunc({0})
f trunc numeric numeric pg_numeric_trunc({0}, 0)
f trunc numeric,int4 numeric pg_numeric_trunc({0}, {1})
f txid_status int8 text -
f width_bucket float8,float8,float8,int4 int4 -
f width_bucket numeric,numeric,numeric,int4 int4 -
s generate_series int4,int4 int4 int4
s generate_series int4,int4,int4 int4 int4
s generate_series int8,int8 int8 int8
s generate_series int8,int8,int8 int8 int8
s generate_series numeric,numeric numeric -
s generate_series numeric,numeric,numeric numeric -
";
