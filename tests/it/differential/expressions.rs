//! Expressions of a wanted type, from templates whose holes are expressions again.
//!
//! `{i4}` is an expression of type integer; `{=i4}` a literal of it. Templates avoid what Postgres itself leaves open:
//! errors that depend on the order of evaluation, and floating-point results that depend on the C library.

use super::random::Random;
use super::values::{COMPARABLE, Type, literal};

/// A column that an expression may name.
#[derive(Clone, Debug)]
pub struct Reference {
    /// As it is written: `s.price`.
    pub text: String,
    pub data_type: Type,
}

/// What expressions are made of.
pub struct Language {
    pub templates: &'static [(Type, &'static [&'static str])],
    /// The types that a statement may ask for where any would do; they can be compared and grouped.
    pub types: &'static [Type],
    /// How often in a hundred times json is asked for, which cannot be compared.
    pub json_percent: usize,
}

/// The expressions that both kinds of shards answer.
pub const COMMON: Language = Language { templates: TEMPLATES, types: COMPARABLE, json_percent: 5 };

#[rustfmt::skip]
const TEMPLATES: &[(Type, &[&str])] = &[
    (Type::Int2, &["{i4}::smallint", "coalesce({i2}, {=i2})", "abs({i2})", "nullif({i2}, {=i2})"]),
    (Type::Int4, &[
        "{i4} + {i4}", "{i4} - {i4}", "{i4} * 3", "{i4} / nullif({i4}, 0)", "{i4} % nullif({i4}, 0)", "abs({i4})",
        "length({t})", "char_length({v})", "octet_length({t})", "position('a' in {t})", "strpos({t}, {=t})", "-({i4})",
        "coalesce({i4}, {i4})", "nullif({i4}, {i4})", "greatest({i4}, {i4})", "least({i4}, {i4})", "{i2} + {i2}",
        "CASE WHEN {b} THEN {i4} ELSE {i4} END", "CASE {i4} WHEN 1 THEN 10 WHEN 2 THEN 20 END", "{i2}::int", "{b}::int",
        "{d} - {d}", "{i4} & 6", "{i4} | 8", "{i4} # 5", "~({i4})", "{i4} << 2", "{i4} >> 1", "mod({i4}, 7)",
        "extract(year from {ts})::int", "extract(dow from {d})::int", "length({y})", "jsonb_array_length({jb} -> 'b')",
        "cast({i2} as integer)", "ascii({t})", "round({n})::int", "bit_length({t})", "sign({i4})::int", "({jb} ->> 'a')::int",
    ]),
    (Type::Int8, &[
        "{i4}::bigint", "{i8} + {i4}", "{i8} - {i8}", "{i4}::bigint * {i4}", "coalesce({i8}, {=i8})", "abs({i8})",
        "{i8} / 2", "{i8} % 5", "CASE WHEN {b} THEN {i8} ELSE {=i8} END", "greatest({i8}, {i4})", "extract(epoch from {tz})::bigint",
        "trunc({n})::bigint", "nullif({i8}, 3)",
    ]),
    (Type::Float4, &["{f4} + {f4}", "{i2}::real", "coalesce({f4}, {=f4})", "{f4} * 2::real", "abs({f4})", "-({f4})"]),
    (Type::Float8, &[
        "{f8} + {f8}", "{f8} - {f8}", "{f8} * {f8}", "{f8} / nullif({f8}, 0)", "sqrt(abs({f8}))", "floor({f8})", "ceil({f8})",
        "round({f8})", "trunc({f8})", "{n}::float8", "{i4}::float8", "{f4}::float8", "abs({f8})", "coalesce({f8}, {=f8})",
        "{f8} * {i4}", "{f4} + {f8}", "power({f8}, 2)", "date_part('hour', {ts})", "greatest({f8}, {f8})", "sign({f8})",
        "CASE WHEN {b} THEN {f8} END", "date_part('epoch', {tz})", "-({f8})", "pi()", "1e10::float8 * {f8}",
    ]),
    (Type::Numeric, &[
        "{n} + {n}", "{n} - {n}", "{n} * {n}", "{n} / nullif({n}, 0)", "{n} % nullif({n}, 0)", "round({n}, 1)", "round({n})",
        "trunc({n}, 1)", "trunc({n})", "floor({n})", "ceil({n})", "ceiling({n})", "abs({n})", "{i4}::numeric", "{i4} * {n}",
        "{n} + {i8}", "{f8}::numeric", "{n}::numeric(12,3)", "coalesce({n}, {=n})", "greatest({n}, {n})", "-({n})", "sign({n})",
        "extract(epoch from {ts})", "extract(day from {iv})", "CASE WHEN {b} THEN {n} ELSE {i4} END", "nullif({n}, {=n})",
        "mod({n}, 7)", "extract(month from {d})", "extract(second from {tz})", "least({n}, {i4}, {=n})", "({jb} ->> 'n')::numeric",
        "div({n}, 3)", "extract(quarter from {ts})", "extract(isodow from {tz})", "1.10 + {n}", "{n} * 1.000",
    ]),
    (Type::Text, &[
        "upper({t})", "lower({t})", "{t} || {t}", "{t} || {i4}", "{n} || {t}", "concat({t}, {i4}, {b})", "concat_ws('-', {t}, {i4}, {t})",
        "substring({t} from 2 for 3)", "substring({t}, 3)", "substr({t}, 2, 2)", "left({t}, 2)", "left({t}, -1)", "right({t}, 3)",
        "trim({t})", "ltrim({t})", "rtrim({t}, 'o ')", "btrim({t}, 'xyz ')", "trim(both 'Z' from {t})", "replace({t}, 'a', 'bb')",
        "initcap({t})", "reverse({t})", "repeat({t}, 2)", "lpad({t}, 8, '*')", "rpad({t}, 4, '.')", "split_part({t}, ' ', 1)",
        "{i4}::text", "{i8}::text", "{n}::text", "{d}::text", "{ts}::text", "{tz}::text", "{b}::text", "{u}::text", "{jb}::text",
        "{f8}::text", "{f4}::text", "{iv}::text", "{y}::text", "coalesce({t}, {=t})", "nullif({t}, {=t})", "{v}::text",
        "CASE WHEN {b} THEN {t} ELSE {=t} END", "CASE {t} WHEN 'free' THEN 'f' WHEN 'held' THEN 'h' ELSE {t} END",
        "{jb} ->> 'a'", "{jb} #>> '{nested,k}'", "jsonb_typeof({jb})", "md5({t})", "to_char({ts}, 'YYYY-MM-DD HH24:MI:SS')",
        "to_char({d}, 'Mon DD, YYYY')", "translate({t}, 'abz', 'AB')", "greatest({t}, {t})", "least({t}, {=t})", "chr(65 + abs({i2}))",
        "encode({y}, 'hex')", "to_hex({i4})", "{j} ->> 'a'", "overlay({t} placing 'XX' from 2 for 1)", "quote_literal({t})",
        "{t} || NULL", "encode({y}, 'base64')", "to_char({n}, 'FM999990.00')", "format('%s/%s', {t}, {i4})", "{t}::varchar(3)::text",
        "regexp_replace({t}, '[aeiou]', '*', 'g')", "quote_ident({t})",
    ]),
    (Type::Varchar, &["{t}::varchar(5)", "{v}", "cast({t} as varchar)", "coalesce({v}, {v})", "{=v}"]),
    (Type::Bool, &[
        "{t} LIKE '%a%'", "{t} LIKE 'Z%'", "{t} ILIKE 'z%'", "{t} NOT LIKE '_p%'", "{t} NOT ILIKE '%E%'", "{v} LIKE 'B%'", "{t} LIKE 'a\\_b%'",
        "{b} AND {b}", "{b} OR {b}", "NOT {b}", "{i4} BETWEEN 1 AND 5", "{n} NOT BETWEEN {=n} AND {=n}", "{t} IN ({=t}, {=t})",
        "{i4} IN (1, 2, {=i4})", "{i4} NOT IN (5, 6)", "{i4} = ANY(ARRAY[1, 2, 3])", "{t} = ANY('{free,held}'::text[])",
        "{b} IS TRUE", "{b} IS NOT FALSE", "{b} IS UNKNOWN", "{jb} @> '{\"a\": 1}'", "{jb} ? 'a'", "{jb} <@ '{\"a\": 1, \"b\": [1, 2, 3]}'",
        "({i4}, {t}) = ({i4}, {=t})", "({i4}, {i4}) < ({i4}, 5)", "starts_with({t}, 'J')", "{t} ~ '^[A-Z]'", "{t} ~* 'jazz'", "{t} !~ 'o'",
        "coalesce({b}, false)", "{i4}::boolean", "{i4} <> ALL(ARRAY[1, 2])", "{d} BETWEEN '2026-01-01' AND '2026-12-31'",
        "{tz} < '2026-06-01'", "{ts} >= {d}", "{tz} > {=tz}", "{i4} > {n}", "{n} < {f8}", "{i2} = {i8}", "{t} = {v}", "CASE WHEN {b} THEN {b} END",
        "{t} SIMILAR TO '%a%'", "{jb} ?| ARRAY['a', 'vip']", "{d} = {ts}", "{iv} > interval '1 day'",
    ]),
    (Type::Uuid, &["coalesce({u}, {=u})", "md5({t})::uuid", "nullif({u}, {=u})", "CASE WHEN {b} THEN {u} ELSE {=u} END"]),
    (Type::Bytea, &["{y} || {y}", "decode(md5({t}), 'hex')", "coalesce({y}, {=y})", "substring({y} from 1 for 2)", "convert_to({t}, 'UTF8')", "sha256({y})"]),
    (Type::Date, &["{d} + 3", "{d} - {i2}", "{ts}::date", "{tz}::date", "coalesce({d}, {=d})", "greatest({d}, {=d})", "make_date(2026, 2, 3)", "to_date('2026-05-06', 'YYYY-MM-DD')"]),
    (Type::Timestamp, &[
        "{ts} + {iv}", "{ts} - {iv}", "date_trunc('hour', {ts})", "date_trunc('month', {ts})", "{d}::timestamp", "{tz} AT TIME ZONE 'UTC'",
        "coalesce({ts}, {=ts})", "{d} + {iv}", "greatest({ts}, {ts})", "date_trunc('week', {ts})", "{ts}::timestamp(0)",
    ]),
    (Type::Timestamptz, &[
        "{tz} + {iv}", "{tz} - {iv}", "date_trunc('day', {tz})", "{ts} AT TIME ZONE 'UTC'", "to_timestamp({i4})", "coalesce({tz}, {=tz})",
        "{ts}::timestamptz", "{d}::timestamptz", "least({tz}, {=tz})", "date_trunc('year', {tz})",
    ]),
    (Type::Interval, &["{=iv}", "{ts} - {ts}", "{tz} - {tz}", "{iv} * 2", "{iv} + {iv}", "make_interval(days => 3)", "-({iv})", "age({ts}, {ts})", "interval '90 minutes'"]),
    (Type::Json, &["{=j}", "{j} -> 'b'", "{jb}::json", "json_build_object('k', {i4})", "to_json({t})"]),
    (Type::Jsonb, &[
        "{jb} -> 'b'", "{jb} -> 'nested'", "{jb} || '{\"z\": 1}'", "{jb} - 'a'", "jsonb_build_object('k', {i4}, 't', {t})", "to_jsonb({t})",
        "to_jsonb({n})", "to_jsonb({i4})", "jsonb_set(jsonb_build_object('a', {i4}), '{a}', '5')", "{jb} #> '{b,0}'", "jsonb_build_array({i4}, {t}, {b})", "coalesce({jb}, '{}')",
        "{j}::jsonb", "jsonb_build_object('n', {n}, 'd', {d})", "jsonb_strip_nulls({jb})", "({jb} -> 'b') -> 0",
    ]),
];

/// Makes expressions over some columns.
pub struct Expressions<'a> {
    pub random: &'a mut Random,
    pub columns: &'a [Reference],
    pub language: &'static Language,
}

impl Expressions<'_> {
    /// An expression of the type, `depth` templates deep at most.
    pub fn of(&mut self, data_type: Type, depth: usize) -> String {
        if depth == 0 || self.random.chance(15) {
            return self.leaf(data_type);
        }
        if data_type == Type::Bool && self.random.chance(55) {
            return self.comparison(depth);
        }
        let (_, templates) =
            self.language.templates.iter().find(|(of, _)| *of == data_type).expect("templates of every type");
        let template = self.random.pick(templates);
        let text = self.fill(template, depth - 1);
        if text.contains(' ') { format!("({text})") } else { text }
    }

    /// An expression of any type, with that type.
    pub fn any(&mut self, depth: usize) -> (String, Type) {
        let json = self.random.chance(self.language.json_percent);
        let data_type = if json { Type::Json } else { self.random.pick(self.language.types) };
        // Most of what people select are columns.
        if !self.columns.is_empty() && self.random.chance(45) {
            let column = &self.columns[self.random.below(self.columns.len())];
            return (column.text.clone(), column.data_type);
        }
        (self.of(data_type, depth), data_type)
    }

    /// An expression of any type that can be compared and grouped.
    pub fn comparable(&mut self, depth: usize) -> (String, Type) {
        loop {
            let (text, data_type) = self.any(depth);
            if data_type != Type::Json {
                return (text, data_type);
            }
        }
    }

    pub fn predicate(&mut self, depth: usize) -> String {
        self.of(Type::Bool, depth)
    }

    fn leaf(&mut self, data_type: Type) -> String {
        let columns: Vec<&Reference> = self.columns.iter().filter(|column| column.data_type == data_type).collect();
        if !columns.is_empty() && self.random.chance(80) {
            return self.random.pick(&columns).text.clone();
        }
        if self.random.chance(4) {
            return format!("NULL::{}", data_type.name());
        }
        let bare = matches!(data_type, Type::Int4 | Type::Numeric | Type::Bool);
        literal(self.random, data_type, bare)
    }

    fn comparison(&mut self, depth: usize) -> String {
        let (left, data_type) = self.comparable(depth - 1);
        match self.random.below(10) {
            0 => return format!("({left} IS NULL)"),
            1 => return format!("({left} IS NOT NULL)"),
            2 => {
                let right = self.of(data_type, 0);
                return format!("({left} IS DISTINCT FROM {right})");
            }
            _ => {}
        }
        let operator = self.random.pick(&["=", "<>", "<", "<=", ">", ">=", "!="]);
        let right =
            if self.random.chance(60) { literal(self.random, data_type, true) } else { self.of(data_type, depth - 1) };
        format!("({left} {operator} {right})")
    }

    /// The template with its holes filled by expressions that are `depth` deep at most.
    pub fn fill(&mut self, template: &str, depth: usize) -> String {
        let mut text = String::new();
        let mut rest = template;
        while let Some(begin) = rest.find('{') {
            let hole = rest[begin + 1..]
                .find('}')
                .and_then(|end| hole(&rest[begin + 1..begin + 1 + end]).map(|hole| (hole, end)));
            text.push_str(&rest[..begin]);
            let Some(((data_type, only_literal), end)) = hole else {
                text.push('{');
                rest = &rest[begin + 1..];
                continue;
            };
            if only_literal {
                let bare = matches!(data_type, Type::Int4 | Type::Numeric | Type::Text);
                text.push_str(&literal(self.random, data_type, bare));
            } else {
                text.push_str(&self.of(data_type, depth));
            }
            rest = &rest[begin + end + 2..];
        }
        text + rest
    }
}

/// The type of a hole, and whether only a literal fits.
fn hole(name: &str) -> Option<(Type, bool)> {
    let (name, only_literal) = name.strip_prefix('=').map_or((name, false), |name| (name, true));
    let data_type = match name {
        "b" => Type::Bool,
        "i2" => Type::Int2,
        "i4" => Type::Int4,
        "i8" => Type::Int8,
        "f4" => Type::Float4,
        "f8" => Type::Float8,
        "n" => Type::Numeric,
        "t" => Type::Text,
        "v" => Type::Varchar,
        "u" => Type::Uuid,
        "y" => Type::Bytea,
        "d" => Type::Date,
        "ts" => Type::Timestamp,
        "tz" => Type::Timestamptz,
        "iv" => Type::Interval,
        "j" => Type::Json,
        "jb" => Type::Jsonb,
        "tl" => Type::Local,
        "ai" => Type::IntArray,
        "at" => Type::TextArray,
        "st" => Type::State,
        _ => return None,
    };
    Some((data_type, only_literal))
}
