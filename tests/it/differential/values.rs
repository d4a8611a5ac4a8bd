//! Types and literals of the generated statements.
//!
//! A literal is written between marks, with its type, so that one generated text can be run with inline values and,
//! with `$n` in their place, with parameters.

use super::random::Random;
use crate::support::Value;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Type {
    Bool,
    Int2,
    Int4,
    Int8,
    Float4,
    Float8,
    Numeric,
    Text,
    Varchar,
    Uuid,
    Bytea,
    Date,
    Timestamp,
    Timestamptz,
    Interval,
    Json,
    Jsonb,
    /// Text in the order of a language.
    Local,
    IntArray,
    TextArray,
    /// An enum.
    State,
}

/// Types that can be compared, ordered and grouped.
pub const COMPARABLE: &[Type] = &[
    Type::Bool,
    Type::Int2,
    Type::Int4,
    Type::Int8,
    Type::Float4,
    Type::Float8,
    Type::Numeric,
    Type::Text,
    Type::Varchar,
    Type::Uuid,
    Type::Bytea,
    Type::Date,
    Type::Timestamp,
    Type::Timestamptz,
    Type::Interval,
    Type::Jsonb,
];

impl Type {
    pub fn name(self) -> &'static str {
        match self {
            Type::Bool => "boolean",
            Type::Int2 => "smallint",
            Type::Int4 => "integer",
            Type::Int8 => "bigint",
            Type::Float4 => "real",
            Type::Float8 => "double precision",
            Type::Numeric => "numeric",
            Type::Text => "text",
            Type::Varchar => "varchar",
            Type::Uuid => "uuid",
            Type::Bytea => "bytea",
            Type::Date => "date",
            Type::Timestamp => "timestamp",
            Type::Timestamptz => "timestamptz",
            Type::Interval => "interval",
            Type::Json => "json",
            Type::Jsonb => "jsonb",
            Type::Local => "text",
            Type::IntArray => "integer[]",
            Type::TextArray => "text[]",
            Type::State => "show_state",
        }
    }

    /// 0 for a type whose number each database gives out by itself.
    pub fn oid(self) -> u32 {
        match self {
            Type::Bool => 16,
            Type::Int2 => 21,
            Type::Int4 => 23,
            Type::Int8 => 20,
            Type::Float4 => 700,
            Type::Float8 => 701,
            Type::Numeric => 1700,
            Type::Text | Type::Local => 25,
            Type::Varchar => 1043,
            Type::Uuid => 2950,
            Type::Bytea => 17,
            Type::Date => 1082,
            Type::Timestamp => 1114,
            Type::Timestamptz => 1184,
            Type::Interval => 1186,
            Type::Json => 114,
            Type::Jsonb => 3802,
            Type::IntArray => 1007,
            Type::TextArray => 1009,
            Type::State => 0,
        }
    }

    fn from_name(name: &str) -> Type {
        let others = [Type::Json, Type::IntArray, Type::TextArray, Type::State];
        *[COMPARABLE, &others].concat().iter().find(|data_type| data_type.name() == name).expect("a type's name")
    }

    fn samples(self) -> &'static [&'static str] {
        match self {
            Type::Bool => &["true", "false"],
            Type::Int2 => &["0", "1", "2", "7", "-3", "40"],
            Type::Int4 => &["0", "1", "2", "3", "5", "10", "-1", "42", "1000"],
            Type::Int8 => &["1", "2", "3", "7", "12", "-5", "9000000001"],
            Type::Float4 => &["0", "1.5", "-2.25", "100", "0.25"],
            Type::Float8 => &["0", "1.5", "-2.75", "1024", "300000", "0.25", "3"],
            Type::Numeric => &["0", "1.5", "19.99", "150.50", "0.01", "-5.25", "100", "7.0", "2500"],
            Type::Text | Type::Varchar => &[
                "Jazz Night",
                "opera",
                "",
                "O'Reilly",
                "a_b%c",
                "ZEBRA",
                "zebra",
                "Ünïcode",
                "日本",
                " padded ",
                "10",
                "free",
            ],
            Type::Uuid => &[
                "0f0e0d0c-0b0a-0908-0706-050403020100",
                "a1b2c3d4-e5f6-4711-8899-aabbccddeeff",
                "00000000-0000-0000-0000-000000000000",
                "ffffffff-ffff-ffff-ffff-ffffffffffff",
            ],
            Type::Bytea => &["\\x", "\\x00", "\\xdeadbeef", "\\x00ff10", "\\x61626364"],
            Type::Date => &["2026-03-01", "2026-12-31", "1999-12-31", "2024-02-29", "1969-07-20"],
            Type::Timestamp => {
                &["2026-03-01 20:00:00", "2026-12-31 23:59:59.999999", "1999-12-31 00:00:00", "2024-02-29 12:30:00.5"]
            }
            Type::Timestamptz => &[
                "2026-03-01 20:00:00+00",
                "2026-07-01 18:30:00.25+02",
                "1999-12-31 23:00:00+00",
                "1969-07-20 20:17:40+00",
            ],
            Type::Interval => {
                &["1 day", "2 hours 30 minutes", "1 month", "-3 days", "1 year 2 months 3 days 04:05:06.789", "0"]
            }
            Type::Json => &["{\"a\": 1,  \"b\": [1, 2]}", "[]", "\"text\"", "null", "{\"a\":1,\"a\":2}"],
            Type::Jsonb => &[
                "{\"a\": 1, \"b\": [1, 2, 3]}",
                "{\"vip\": true, \"name\": \"Ann\"}",
                "{\"nested\": {\"k\": \"v\"}, \"n\": 12.50}",
                "{\"a\": null}",
                "{}",
            ],
            Type::Local => &["äpfel", "Apfel", "zebra", "Zebra", "apfel", "éclair", "", "Ost"],
            Type::IntArray => &["{1,2}", "{}", "{3}", "{2,NULL,5}", "{1,2,3,4}"],
            Type::TextArray => &["{jazz}", "{jazz,late}", "{}", "{rock,NULL}", "{opera,jazz}"],
            Type::State => &["draft", "open", "sold", "closed"],
        }
    }
}

const BEGIN: char = '\u{1}';
const END: char = '\u{2}';

/// A literal of a type. `bare` leaves its type to the context, where SQL lets it.
pub fn literal(random: &mut Random, data_type: Type, bare: bool) -> String {
    let sample = random.pick(data_type.samples());
    mark(data_type, sample, bare)
}

/// This value as a literal that may become a parameter.
pub fn mark(data_type: Type, value: &str, bare: bool) -> String {
    format!("{BEGIN}{}{}{BEGIN}{value}{END}", if bare { "" } else { "::" }, data_type.name())
}

/// The text with its literals inline.
pub fn inline(marked: &str) -> String {
    render(marked, |data_type, cast, value| {
        let text = match data_type {
            Type::Int2 | Type::Int4 | Type::Int8 | Type::Numeric if value.starts_with('-') => format!("({value})"),
            Type::Bool | Type::Int2 | Type::Int4 | Type::Int8 | Type::Numeric => value.to_owned(),
            _ => format!("'{}'", value.replace('\'', "''")),
        };
        if cast { format!("{text}::{}", data_type.name()) } else { text }
    })
}

/// The text with its literals as parameters, their declared types (0: to be inferred) and values.
pub fn parameters(marked: &str, random: &mut Random) -> (String, Vec<u32>, Vec<Value>) {
    let (mut types, mut values) = (Vec::new(), Vec::new());
    let text = render(marked, |data_type, cast, value| {
        let declared = random.chance(50);
        types.push(if declared { data_type.oid() } else { 0 });
        let binary = if declared && random.chance(60) { binary(data_type, value) } else { None };
        values.push(binary.map_or_else(|| Value::text(value), Value::Binary));
        if cast { format!("${}::{}", values.len(), data_type.name()) } else { format!("${}", values.len()) }
    });
    (text, types, values)
}

/// The value in Postgres's binary format, for the types that are simple to write.
fn binary(data_type: Type, value: &str) -> Option<Vec<u8>> {
    Some(match data_type {
        Type::Bool => vec![u8::from(value == "true")],
        Type::Int2 => value.parse::<i16>().ok()?.to_be_bytes().to_vec(),
        Type::Int4 => value.parse::<i32>().ok()?.to_be_bytes().to_vec(),
        Type::Int8 => value.parse::<i64>().ok()?.to_be_bytes().to_vec(),
        Type::Float4 => value.parse::<f32>().ok()?.to_be_bytes().to_vec(),
        Type::Float8 => value.parse::<f64>().ok()?.to_be_bytes().to_vec(),
        Type::Text | Type::Varchar | Type::Json => value.as_bytes().to_vec(),
        Type::Jsonb => [&[1], value.as_bytes()].concat(),
        Type::Uuid => hexadecimal(&value.replace('-', ""))?,
        Type::Bytea => hexadecimal(value.strip_prefix("\\x")?)?,
        _ => return None,
    })
}

fn hexadecimal(text: &str) -> Option<Vec<u8>> {
    (0..text.len() / 2).map(|byte| u8::from_str_radix(text.get(byte * 2..byte * 2 + 2)?, 16).ok()).collect()
}

fn render(marked: &str, mut literal: impl FnMut(Type, bool, &str) -> String) -> String {
    let mut text = String::with_capacity(marked.len());
    let mut rest = marked;
    while let Some(begin) = rest.find(BEGIN) {
        text.push_str(&rest[..begin]);
        let end = begin + rest[begin..].find(END).expect("an end");
        let (type_name, value) = rest[begin + 1..end].split_once(BEGIN).expect("a type and a value");
        let cast = type_name.strip_prefix("::");
        text.push_str(&literal(Type::from_name(cast.unwrap_or(type_name)), cast.is_some(), value));
        rest = &rest[end + END.len_utf8()..];
    }
    text + rest
}
