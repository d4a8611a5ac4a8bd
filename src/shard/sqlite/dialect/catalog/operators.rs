//! Postgres's operators for the types that shardd has (`pg_operator`), and SQLite's forms of them.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::{Argument, Signature};

/// Operators by name, with their operands: one for a prefix operator.
pub(in super::super) fn operators(name: &str, operands: usize) -> &'static [Signature] {
    static OPERATORS: LazyLock<HashMap<&str, [Vec<Signature>; 2]>> = LazyLock::new(read);
    let index = operands.saturating_sub(1).min(1);
    OPERATORS.get(name).map_or(&[], |by_operands| by_operands[index].as_slice())
}

/// What the form says of an operator that compares: how is for the types' order to say.
pub(in super::super) const COMPARISON: &str = "compare";

fn read() -> HashMap<&'static str, [Vec<Signature>; 2]> {
    let mut operators: HashMap<&str, [Vec<Signature>; 2]> = HashMap::new();
    for line in OPERATORS.lines().filter(|line| !line.is_empty()) {
        let mut words = line.splitn(5, ' ');
        let mut word = || words.next().unwrap_or_default();
        let (name, left, right, result, form) = (word(), word(), word(), word(), word());
        let arguments: Vec<Argument> = [left, right].into_iter().filter_map(Argument::read).collect();
        let Some(result) = Argument::read(result) else { continue };
        let form = (form != "-").then_some(form);
        let index = arguments.len() - 1;
        let signature = Signature { name, arguments, result, variadic: false, optional: 0, form };
        operators.entry(name).or_default()[index].push(signature);
    }
    for name in ["=", "<>", "<", "<=", ">", ">="] {
        let signatures = COMPARABLE.lines().filter_map(|line| {
            let (left, right) = line.split_once(' ')?;
            let arguments = vec![Argument::read(left)?, Argument::read(right)?];
            let result = Argument::read("bool")?;
            Some(Signature { name, arguments, result, variadic: false, optional: 0, form: Some(COMPARISON) })
        });
        operators.entry(name).or_default()[1].extend(signatures);
    }
    operators
}

/// The types that can be compared: `= <> < <= > >=`.
const COMPARABLE: &str = "\
anyarray anyarray
bool bool
bpchar bpchar
bytea bytea
char char
date date
date timestamp
date timestamptz
float4 float4
float4 float8
float8 float4
float8 float8
int2 int2
int2 int4
int2 int8
int4 int2
int4 int4
int4 int8
int8 int2
int8 int4
int8 int8
interval interval
jsonb jsonb
name name
name text
numeric numeric
oid oid
text name
text text
timestamp date
timestamp timestamp
timestamp timestamptz
timestamptz date
timestamptz timestamp
timestamptz timestamptz
uuid uuid
";

const OPERATORS: &str = "\
+ int2 int2 int2 pg_int2({0} + {1})
+ int2 int4 int4 pg_int4({0} + {1})
+ int2 int8 int8 pg_int8({0} + {1})
+ int4 int2 int4 pg_int4({0} + {1})
+ int4 int4 int4 pg_int4({0} + {1})
+ int4 int8 int8 pg_int8({0} + {1})
+ int8 int2 int8 pg_int8({0} + {1})
+ int8 int4 int8 pg_int8({0} + {1})
+ int8 int8 int8 pg_int8({0} + {1})
- int2 int2 int2 pg_int2({0} - {1})
- int2 int4 int4 pg_int4({0} - {1})
- int2 int8 int8 pg_int8({0} - {1})
- int4 int2 int4 pg_int4({0} - {1})
- int4 int4 int4 pg_int4({0} - {1})
- int4 int8 int8 pg_int8({0} - {1})
- int8 int2 int8 pg_int8({0} - {1})
- int8 int4 int8 pg_int8({0} - {1})
- int8 int8 int8 pg_int8({0} - {1})
* int2 int2 int2 pg_int2({0} * {1})
* int2 int4 int4 pg_int4({0} * {1})
* int2 int8 int8 pg_int8({0} * {1})
* int4 int2 int4 pg_int4({0} * {1})
* int4 int4 int4 pg_int4({0} * {1})
* int4 int8 int8 pg_int8({0} * {1})
* int8 int2 int8 pg_int8({0} * {1})
* int8 int4 int8 pg_int8({0} * {1})
* int8 int8 int8 pg_int8({0} * {1})
/ int2 int2 int2 pg_int2_div({0}, {1})
/ int2 int4 int4 pg_int4_div({0}, {1})
/ int2 int8 int8 pg_int8_div({0}, {1})
/ int4 int2 int4 pg_int4_div({0}, {1})
/ int4 int4 int4 pg_int4_div({0}, {1})
/ int4 int8 int8 pg_int8_div({0}, {1})
/ int8 int2 int8 pg_int8_div({0}, {1})
/ int8 int4 int8 pg_int8_div({0}, {1})
/ int8 int8 int8 pg_int8_div({0}, {1})
% int2 int2 int2 pg_int2_mod({0}, {1})
% int4 int4 int4 pg_int4_mod({0}, {1})
% int8 int8 int8 pg_int8_mod({0}, {1})
+ float4 float4 float4 pg_float4_add({0}, {1})
+ float4 float8 float8 pg_float8_add({0}, {1})
+ float8 float4 float8 pg_float8_add({0}, {1})
+ float8 float8 float8 pg_float8_add({0}, {1})
+ numeric numeric numeric pg_numeric_add({0}, {1})
- float4 float4 float4 pg_float4_sub({0}, {1})
- float4 float8 float8 pg_float8_sub({0}, {1})
- float8 float4 float8 pg_float8_sub({0}, {1})
- float8 float8 float8 pg_float8_sub({0}, {1})
- numeric numeric numeric pg_numeric_sub({0}, {1})
* float4 float4 float4 pg_float4_mul({0}, {1})
* float4 float8 float8 pg_float8_mul({0}, {1})
* float8 float4 float8 pg_float8_mul({0}, {1})
* float8 float8 float8 pg_float8_mul({0}, {1})
* numeric numeric numeric pg_numeric_mul({0}, {1})
/ float4 float4 float4 pg_float4_div({0}, {1})
/ float4 float8 float8 pg_float8_div({0}, {1})
/ float8 float4 float8 pg_float8_div({0}, {1})
/ float8 float8 float8 pg_float8_div({0}, {1})
/ numeric numeric numeric pg_numeric_div({0}, {1})
% numeric numeric numeric pg_numeric_mod({0}, {1})
^ float8 float8 float8 pg_float8_power({0}, {1})
^ numeric numeric numeric pg_numeric_power({0}, {1})
+ - int2 int2 {0}
- - int2 int2 pg_int2(- {0})
@ - int2 int2 pg_int2(abs({0}))
~ - int2 int2 (~{0})
& int2 int2 int2 ({0} & {1})
| int2 int2 int2 ({0} | {1})
# int2 int2 int2 (({0} | {1}) - ({0} & {1}))
<< int2 int4 int2 pg_int2_shl({0}, {1})
>> int2 int4 int2 pg_int2_shr({0}, {1})
+ - int4 int4 {0}
- - int4 int4 pg_int4(- {0})
@ - int4 int4 pg_int4(abs({0}))
~ - int4 int4 (~{0})
& int4 int4 int4 ({0} & {1})
| int4 int4 int4 ({0} | {1})
# int4 int4 int4 (({0} | {1}) - ({0} & {1}))
<< int4 int4 int4 pg_int4_shl({0}, {1})
>> int4 int4 int4 pg_int4_shr({0}, {1})
+ - int8 int8 {0}
- - int8 int8 pg_int8(- {0})
@ - int8 int8 pg_int8_abs({0})
~ - int8 int8 (~{0})
& int8 int8 int8 ({0} & {1})
| int8 int8 int8 ({0} | {1})
# int8 int8 int8 (({0} | {1}) - ({0} & {1}))
<< int8 int4 int8 pg_int8_shl({0}, {1})
>> int8 int4 int8 pg_int8_shr({0}, {1})
+ - float4 float4 {0}
- - float4 float4 ({0} * -1.0)
@ - float4 float4 (abs({0}) + 0.0)
+ - float8 float8 {0}
- - float8 float8 ({0} * -1.0)
@ - float8 float8 (abs({0}) + 0.0)
+ - numeric numeric {0}
- - numeric numeric pg_numeric_neg({0})
@ - numeric numeric pg_numeric_abs({0})
- - interval interval pg_interval_neg({0})
|/ - float8 float8 pg_float8_sqrt({0})
||/ - float8 float8 pg_float8_cbrt({0})
+ date int4 date pg_date_add_days({0}, {1})
+ int4 date date pg_date_add_days({1}, {0})
- date int4 date pg_date_add_days({0}, - {1})
- date date int4 pg_date_diff({0}, {1})
+ date interval timestamp pg_timestamp_add_interval(pg_date_timestamp({0}), {1})
+ interval date timestamp pg_timestamp_add_interval(pg_date_timestamp({1}), {0})
- date interval timestamp pg_timestamp_sub_interval(pg_date_timestamp({0}), {1})
+ timestamp interval timestamp pg_timestamp_add_interval({0}, {1})
+ interval timestamp timestamp pg_timestamp_add_interval({1}, {0})
- timestamp interval timestamp pg_timestamp_sub_interval({0}, {1})
+ timestamptz interval timestamptz pg_timestamptz_add_interval({0}, {1}, {tz})
+ interval timestamptz timestamptz pg_timestamptz_add_interval({1}, {0}, {tz})
- timestamptz interval timestamptz pg_timestamptz_sub_interval({0}, {1}, {tz})
- timestamp timestamp interval pg_timestamp_diff({0}, {1})
- timestamptz timestamptz interval pg_timestamp_diff({0}, {1})
+ interval interval interval pg_interval_add({0}, {1})
- interval interval interval pg_interval_sub({0}, {1})
* interval float8 interval pg_interval_mul({0}, {1})
* float8 interval interval pg_interval_mul({1}, {0})
/ interval float8 interval pg_interval_div({0}, {1})
|| text text text ({0} || {1})
|| text anynonarray text ({0} || {text 1})
|| anynonarray text text ({text 0} || {1})
|| bytea bytea bytea pg_bytea_concat({0}, {1})
|| jsonb jsonb jsonb pg_jsonb_concat({0}, {1})
|| anycompatiblearray anycompatiblearray anycompatiblearray pg_array_cat({0}, {1})
|| anycompatiblearray anycompatible anycompatiblearray pg_array_append({0}, {cell 1})
|| anycompatible anycompatiblearray anycompatiblearray pg_array_prepend({cell 0}, {1})
&& anyarray anyarray bool pg_array_overlap({0}, {1}, {element 0})
@> anyarray anyarray bool pg_array_contains({0}, {1}, {element 0})
<@ anyarray anyarray bool pg_array_contains({1}, {0}, {element 0})
-> json int4 json pg_json_get_index({0}, {1})
-> json text json pg_json_get({0}, {1})
-> jsonb int4 jsonb pg_jsonb_get_index({0}, {1})
-> jsonb text jsonb pg_jsonb_get({0}, {1})
->> json int4 text pg_json_get_index_text({0}, {1})
->> json text text pg_json_get_text({0}, {1})
->> jsonb int4 text pg_jsonb_get_index_text({0}, {1})
->> jsonb text text pg_jsonb_get_text({0}, {1})
#> json _text json pg_json_get_path({0}, {1})
#> jsonb _text jsonb pg_jsonb_get_path({0}, {1})
#>> json _text text pg_json_get_path_text({0}, {1})
#>> jsonb _text text pg_jsonb_get_path_text({0}, {1})
@> jsonb jsonb bool pg_jsonb_contains({0}, {1})
<@ jsonb jsonb bool pg_jsonb_contains({1}, {0})
? jsonb text bool pg_jsonb_exists({0}, {1})
?| jsonb _text bool pg_jsonb_exists_any({0}, {1})
?& jsonb _text bool pg_jsonb_exists_all({0}, {1})
- jsonb text jsonb pg_jsonb_delete({0}, {1})
- jsonb int4 jsonb pg_jsonb_delete_index({0}, {1})
- jsonb _text jsonb pg_jsonb_delete_keys({0}, {1})
#- jsonb _text jsonb pg_jsonb_delete_path({0}, {1})
^@ text text bool pg_starts_with({0}, {1})
@@ text text bool -
~<~ text text bool -
~<=~ text text bool -
~>~ text text bool -
~>=~ text text bool -
~~ bpchar text bool pg_like({0}, {1})
~~ name text bool pg_like({0}, {1})
~~ text text bool pg_like({0}, {1})
~~ bytea bytea bool -
!~~ bpchar text bool (NOT pg_like({0}, {1}))
!~~ name text bool (NOT pg_like({0}, {1}))
!~~ text text bool (NOT pg_like({0}, {1}))
!~~ bytea bytea bool -
~~* bpchar text bool pg_ilike({0}, {1})
~~* name text bool pg_ilike({0}, {1})
~~* text text bool pg_ilike({0}, {1})
!~~* bpchar text bool (NOT pg_ilike({0}, {1}))
!~~* name text bool (NOT pg_ilike({0}, {1}))
!~~* text text bool (NOT pg_ilike({0}, {1}))
~ bpchar text bool pg_regex({0}, {1}, 0)
~ name text bool pg_regex({0}, {1}, 0)
~ text text bool pg_regex({0}, {1}, 0)
!~ bpchar text bool (NOT pg_regex({0}, {1}, 0))
!~ name text bool (NOT pg_regex({0}, {1}, 0))
!~ text text bool (NOT pg_regex({0}, {1}, 0))
~* bpchar text bool pg_regex({0}, {1}, 1)
~* name text bool pg_regex({0}, {1}, 1)
~* text text bool pg_regex({0}, {1}, 1)
!~* bpchar text bool (NOT pg_regex({0}, {1}, 1))
!~* name text bool (NOT pg_regex({0}, {1}, 1))
!~* text text bool (NOT pg_regex({0}, {1}, 1))
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_table_is_read() {
        for line in OPERATORS.lines() {
            // Before a negative constant it would begin a comment.
            assert!(!line.contains("-{"), "{line}");
            let words: Vec<&str> = line.splitn(5, ' ').collect();
            assert_eq!(words.len(), 5, "{line}");
            assert!(words[1] == "-" || Argument::read(words[1]).is_some(), "{line}");
            assert!(Argument::read(words[2]).is_some() && Argument::read(words[3]).is_some(), "{line}");
        }
        let lines = OPERATORS.lines().count() + 6 * COMPARABLE.lines().count();
        assert_eq!(read().values().flatten().map(Vec::len).sum::<usize>(), lines);
    }
}
