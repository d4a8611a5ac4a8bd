//! The expressions of the eight tables.
//!
//! None fails on any row: an error would depend on which rows were looked at. Statements that fail are a family of their own.

use crate::differential::expressions::Language;
use crate::differential::values::Type;

pub const LANGUAGE: Language = Language { templates: TEMPLATES, types: TYPES, json_percent: 0 };

const TYPES: &[Type] = &[
    Type::Bool,
    Type::Int4,
    Type::Int8,
    Type::Float8,
    Type::Numeric,
    Type::Text,
    Type::Local,
    Type::Date,
    Type::Timestamp,
    Type::Timestamptz,
    Type::Jsonb,
    Type::IntArray,
    Type::TextArray,
    Type::State,
];

/// Types of which two equal values always look the same, whatever made them.
pub const STABLE: &[Type] = &[
    Type::Bool,
    Type::Int4,
    Type::Int8,
    Type::Text,
    Type::Local,
    Type::Date,
    Type::Timestamp,
    Type::Timestamptz,
    Type::IntArray,
    Type::TextArray,
    Type::State,
];

#[rustfmt::skip]
const TEMPLATES: &[(Type, &[&str])] = &[
    (Type::Bool, &[
        "{b} AND {b}", "{b} OR {b}", "NOT {b}", "{b} IS NOT TRUE", "{b} IS UNKNOWN", "coalesce({b}, false)", "{t} LIKE '%a%'", "{t} NOT ILIKE 'j%'",
        "{t} ~ '^[A-Z]'", "({t}) COLLATE \"und-x-icu\" > 'm'", "{tl} > 'm'", "({tl}) COLLATE \"C\" < 'a'", "{t} IN ({=t}, {=t}, {=t})", "{t} IS NOT DISTINCT FROM {t}",
        "({i4}, {t}) < (3, 'm')", "({i4}, {i4}) = (1, {=i4})", "{i4} BETWEEN 1 AND 5", "{i4} BETWEEN SYMMETRIC 5 AND 1", "{d} NOT BETWEEN SYMMETRIC '2026-12-31' AND '2026-06-01'", "{i4} IN (1, 2, NULL)", "{i4} NOT IN (5, 6)",
        "{i4} = ANY({ai})", "{i4} <> ALL({ai})", "{i4} > SOME({ai})", "{=t} = ANY({at})", "{ai} && ARRAY[1, 2]", "{at} @> ARRAY['jazz']", "{ai} <@ '{1,2,3,4}'::int[]",
        "{ai} = '{}'", "{jb} ? 'vip'", "{jb} @> '{\"a\": 1}'", "{jb} ?| ARRAY['a', 'n']", "{jb} -> 'a' IS NULL", "{jb} @? '$.b[*] ? (@ > 2)'", "{st} = 'open'", "{st} > 'draft'",
        "{st} IN ('open', 'sold')", "{st} IS NULL", "{d} BETWEEN '2026-01-01' AND '2026-12-31'", "{d} > {ts}", "{tz} < '2026-06-01'", "{n} BETWEEN 1 AND 20",
        "{n} > {i4}", "{f8} < {n}", "{n} IN ({=n}, 5.50)", "{i8} % 2 = 0", "CASE WHEN {b} THEN {b} ELSE {i4} > 2 END", "({d}, {d}) OVERLAPS (date '2026-01-01', date '2026-12-31')",
        "starts_with({t}, 'J')", "{t} SIMILAR TO '(o|O)%'", "num_nulls({t}, {i4}, {n}) = 1", "{t} < {t}", "{i4} = {i8}", "cardinality({at}) > 1",
    ]),
    (Type::Int4, &[
        "{i4} + {i4}", "{i4} - 1", "{i4} * 2", "{i4} / 2", "{i4} % 3", "abs({i4})", "-({i4})", "length({t})", "coalesce({i4}, 0)", "nullif({i4}, 2)", "greatest({i4}, {i4})",
        "least({i4}, 3)", "CASE WHEN {b} THEN {i4} ELSE {i4} END", "CASE {i4} WHEN 1 THEN 10 WHEN 2 THEN 20 END", "cardinality({ai})", "array_length({at}, 1)", "({ai})[1]",
        "extract(year from {d})::int", "{d} - date '2026-01-01'", "({jb} ->> 'a')::int", "position('a' in {t})", "array_position({at}, 'jazz')", "{b}::int", "num_nonnulls({t}, {n}, {d})",
        "{i4} & 6", "{i4} # 5", "ascii({t})", "octet_length({tl})", "sign({i4})::int", "array_upper({ai}, 1)",
    ]),
    (Type::Int8, &["{i4}::bigint", "{i8} + {i4}", "{i8} - {i4}", "{i8} % 4", "{i8} / 2", "coalesce({i8}, {i4})", "nullif({i8}, 3)", "CASE WHEN {b} THEN {i8} END", "greatest({i8}, {i4})"]),
    (Type::Float8, &["{f8} + {f8}", "{f8} * 2", "{f8} - 1", "{i4}::float8", "{n}::float8", "coalesce({f8}, 0)", "abs({f8})", "floor({f8})", "CASE WHEN {b} THEN {f8} END", "{f8} * {i4}"]),
    (Type::Numeric, &[
        "{n} + {n}", "{n} * {n}", "{n} - {n}", "round({n}, 1)", "{i4} * {n}", "coalesce({n}, 0)", "{n} / 4", "({jb} ->> 'n')::numeric", "trunc({n})", "greatest({n}, {i4})", "ceil({n})",
        "{n}::numeric(12,3)", "extract(epoch from {ts})", "nullif({n}, 5.5)", "CASE WHEN {b} THEN {n} ELSE {i4} END", "{n} % 3", "-({n})", "{i8} + {n}", "width_bucket({n}, 0, 100, 5)::numeric",
    ]),
    (Type::Text, &[
        "upper({t})", "lower({t})", "{t} || '-' || {i4}", "coalesce({t}, 'none')", "left({t}, 2)", "substring({t} from 2 for 3)", "{i4}::text", "{n}::text", "{st}::text", "{jb} ->> 'name'",
        "{ai}::text", "array_to_string({at}, '|', '-')", "({tl}) COLLATE \"C\"", "CASE WHEN {b} THEN {t} ELSE 'other' END", "replace({t}, 'a', 'bb')", "concat_ws('/', {t}, {i4}, {d})",
        "{d}::text", "to_char({ts}, 'YYYY-MM-DD')", "jsonb_typeof({jb})", "md5({t})", "split_part({t}, ' ', 1)", "({at})[1]", "nullif({t}, {=t})", "format('%s:%s', {t}, {i4})",
        "lpad({t}, 6, '.')", "reverse({t})", "initcap({t})", "{jb} #>> '{nested,k}'", "trim({t})", "regexp_replace({t}, '[aeiou]', '*', 'g')", "{tz}::text", "greatest({t}, {t})", "{b}::text",
    ]),
    (Type::Local, &["upper({tl})", "lower({tl})", "coalesce({tl}, 'x')", "({t}) COLLATE \"und-x-icu\"", "{tl} || '!'", "CASE WHEN {b} THEN {tl} END", "left({tl}, 1)"]),
    (Type::Date, &["{d} + 3", "{d} - {i4}", "{ts}::date", "coalesce({d}, {=d})", "greatest({d}, {d})", "({tz} AT TIME ZONE 'UTC')::date", "CASE WHEN {b} THEN {d} END"]),
    (Type::Timestamp, &["{ts} + interval '1 day'", "date_trunc('day', {ts})", "{d}::timestamp", "coalesce({ts}, {d})", "{tz} AT TIME ZONE 'UTC'", "{d} + time '12:30'", "date_trunc('month', {ts})"]),
    (Type::Timestamptz, &["{tz} - interval '2 hours'", "date_trunc('month', {tz})", "coalesce({tz}, {=tz})", "{ts} AT TIME ZONE 'UTC'", "least({tz}, {tz})", "to_timestamp({i4})"]),
    (Type::Jsonb, &[
        "{jb} || '{\"z\": 1}'", "{jb} - 'a'", "jsonb_build_object('k', {i4}, 't', {t})", "jsonb_strip_nulls({jb})", "coalesce({jb}, '{}')", "jsonb_set({jb}, '{z}', '5')", "CASE WHEN {b} THEN {jb} END",
        "jsonb_build_object('d', {d}, 'x', {ai})",
    ]),
    (Type::IntArray, &["{ai} || {i4}", "ARRAY[{i4}, {i4}]", "coalesce({ai}, '{}')", "({ai})[1:2]", "array_remove({ai}, 2)", "array_append({ai}, 7)", "{ai} || {ai}", "array_replace({ai}, 1, 9)"]),
    (Type::TextArray, &["ARRAY[{t}, {t}]", "{at} || 'x'::text", "string_to_array({t}, ' ')", "array_remove({at}, 'jazz')", "coalesce({at}, '{}')", "({at})[1:1]"]),
    (Type::State, &["coalesce({st}, 'draft')", "CASE WHEN {b} THEN {st} ELSE 'sold' END", "greatest({st}, {st})", "'open'::show_state", "nullif({st}, 'open')"]),
];
